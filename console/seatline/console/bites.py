"""Look at many things in bites, each bite one moment; what is broken is looked at again at once, and only then counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any

from seatline.console.violation import Violation
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.store import Store

__all__ = ["BITE", "Found", "confirmed", "record", "together"]

#: Things in one MULTI: some hundred commands, so that nobody waits for it.
BITE = 250

Found = dict[str, list[Violation]]


def confirmed(
    look: Callable[[Sequence[str]], Found], subjects: Collection[str] | Iterator[str], bite: int = BITE
) -> Iterator[Violation]:
    """Look at all of them in bites; only what is broken twice counts."""
    walked = iter(subjects)
    while taken := list(islice(walked, bite)):
        if not (found := look(taken)):
            continue
        for subject, violations in look(list(found)).items():
            rules = {violation.rule for violation in found.get(subject, [])}
            yield from (violation for violation in violations if violation.rule in rules)


def together(store: Store, commands: list[Command]) -> Iterator[Any]:
    """Return the answers to commands that are read in one MULTI."""
    replies: Sequence[Any] = store.read(Read([("MULTI",), *commands, ("EXEC",)], lambda replies: replies[-1]))
    return iter(replies)


def record(reply: Any, fields: Sequence[str]) -> dict[str, str]:
    """Return the fields that HMGET found; none of what is no hash."""
    if isinstance(reply, Exception):
        return {}
    return {name: text(value) for name, value in zip(fields, reply, strict=True) if value is not None}
