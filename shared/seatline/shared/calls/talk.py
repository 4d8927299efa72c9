"""What takes more than one exchange, written once and free of I/O.

A :class:`Call` or a :class:`Read` is one exchange. A *talk* is a generator that asks one after the other, is sent each
answer, and returns what came of it; an error of the server is raised where it asked. A *walk* asks in the same way and
finds things on its way (:class:`Found`). Stores hold them (:class:`Held`): ``Store`` waits for each answer, ``AsyncStore``
awaits it::

    def job(keys: Keys, id: str) -> Talk[JobRecord | None]:
        (record,) = yield from ask(reads.job_records(keys, [id]))
        ...

A talk that waits on a bell rests (:func:`rest`): whoever holds it brings the bell.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from seatline.shared.calls.base import Call, Read

__all__ = ["Ask", "Found", "Held", "Rest", "Talk", "Walk", "ask", "following", "found", "merged", "page_of", "rest"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rest:
    """Wait on the bell, for at most so many seconds; 0 only asks for its name."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """A thing that a walk has come to."""

    value: T


Ask = Call[Any] | Read[Any] | Rest
Talk = Generator[Ask, Any, T]
Walk = Generator[Ask | Found[T], Any, None]


class Held(Generic[T]):
    """A talk that is held: ``asked`` is its question, None once it has ended, and ``outcome`` what it has returned then."""

    asked: Ask | None
    outcome: T

    def __init__(self, talk: Talk[T]) -> None:
        self._talk = talk
        self.answer(None)

    def answer(self, answer: Any) -> None:
        """Answer what it asked."""
        self._go_on(self._talk.send, answer)

    def fail(self, error: BaseException) -> None:
        """Raise an error where it asked."""
        self._go_on(self._talk.throw, error)

    def _go_on(self, say: Callable[[Any], Ask], what: Any) -> None:
        try:
            self.asked = say(what)
        except StopIteration as end:
            self.asked, self.outcome = None, end.value


def ask(what: Call[T] | Read[T]) -> Talk[T]:
    """Ask, and return the answer."""
    answer: T = yield what
    return answer


def rest(seconds: float) -> Talk[str]:
    """Wait on the bell; returns its name from now on: what to register before the next rest."""
    name: str = yield Rest(seconds)
    return name


def found(values: Iterable[T]) -> Walk[T]:
    """Walk over what is here already."""
    for value in values:
        yield Found(value)


def merged(walks: Iterable[Walk[T]]) -> Walk[T]:
    """Merge walks, each of which is in order, into one that is; each is asked on only when its next thing is due."""
    heads: list[tuple[Any, int, Walk[T]]] = []
    for number, walk in enumerate(walks):
        first = yield from following(walk)
        heads.extend((head, number, walk) for head in first)  # the number: of equals the earlier walk's come first
    heapq.heapify(heads)
    while heads:
        value, number, walk = heads[0]
        yield Found(value)
        coming = yield from following(walk)
        if coming:
            heapq.heapreplace(heads, (coming[0], number, walk))
        else:
            heapq.heappop(heads)


def following(walk: Walk[T]) -> Talk[tuple[T, ...]]:
    """Go on to the next thing of a walk: a tuple of one, or of none at its end."""
    answer: Any = None
    while True:
        try:
            asked = walk.send(answer)
        except StopIteration:
            return ()
        if isinstance(asked, Found):
            return (asked.value,)
        answer = yield asked


def page_of(walk: Walk[T], most: int) -> Talk[list[T]]:
    """Return the next things of a walk, at most so many; none at its end."""
    page: list[T] = []
    while len(page) < most and (one := (yield from following(walk))):
        page += one
    return page
