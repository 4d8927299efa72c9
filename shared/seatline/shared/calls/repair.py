"""The verb of ``verify --repair``: writes that are made only if all that they were concluded from is still so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seatline.shared.calls.base import Call, Word, text

__all__ = ["REPAIR_MOST", "Mend", "repair"]

#: Mends in one call: few enough that nobody waits for it.
REPAIR_MOST = 50

#: Four words, of which the second is the name of a key without the namespace; ``repair.lua`` says what each kind means.
Part = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Mend:
    """What puts one thing right.

    Attributes:
        says: what it does, for people: ``it goes back to ready:a``.
        bases: what must be so for it to be right (kind, key, of what in it, what is expected).
        writes: what is written then (kind, key, of what in it, what).

    """

    says: str
    bases: tuple[Part, ...]
    writes: tuple[Part, ...]


def repair(mends: Sequence[Mend], by: str) -> Call[list[bool]]:
    """Make each mend whose bases still hold; returns for each whether it was made. At most :data:`REPAIR_MOST`."""
    words: list[Word] = [by]
    for mend in mends:
        words += [len(mend.bases), len(mend.writes)]
        words += [word for part in (*mend.bases, *mend.writes) for word in part]
    return Call("repair", words, lambda reply: [text(word) == "done" for word in reply[1:]])
