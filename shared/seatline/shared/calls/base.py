"""The two kinds of exchange with the server.

A :class:`Call` runs a script. Its reply begins with a status word; ``ok`` goes to ``parse``, every other word to
``refusals``, one table a verb, which says what to raise. A numbered call goes through a lane and is safe to repeat; an
unnumbered one is idempotent by nature. A :class:`Read` is a few plain commands sent together, which change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from seatline.shared.errors import SeatlineError

__all__ = ["Call", "Command", "Read", "Word", "text"]

T = TypeVar("T")
Word = bytes | str | int | float
Command = tuple[Word, ...]
Refusal = Callable[[Sequence[Any]], SeatlineError]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A script to run: its name, its words after the lane's two, how to read its reply."""

    script: str
    words: Sequence[Word]
    parse: Callable[[Sequence[Any]], T]
    refusals: Mapping[str, Refusal] = field(default_factory=dict[str, Refusal])
    numbered: bool = True
    also: Mapping[str, Callable[[Sequence[Any]], T]] = field(default_factory=dict[str, Callable[[Sequence[Any]], Any]])


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """Plain commands and how to read their replies, which come in order.

    ``lenient``: what the server refuses stands among the replies, as an exception; :class:`Store` only.
    """

    commands: Sequence[Command]
    parse: Callable[[Sequence[Any]], T]
    lenient: bool = False


def text(value: Any) -> str:
    """Return a reply word as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
