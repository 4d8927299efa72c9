"""Retention: how long and how many ended jobs a namespace keeps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from seatline.shared.calls import keeping
from seatline.shared.calls.base import Call
from seatline.shared.calls.keeping import Rule
from seatline.shared.calls.workers import Kept
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput
from seatline.shared.keys import STATES

if TYPE_CHECKING:
    from seatline.producer.queue import Queue

__all__ = ["Retention", "lifted", "setting"]

AGE_MOST: Final = 10 * 366 * 86_400.0
COUNT_MOST: Final = 10**9


class Retention:
    """How long and how many ended jobs of a namespace are kept: iterate over the rules, set them, lift them.

    Where there is none, workers keep jobs of each state for 7 days and at most 100,000 of them (``Worker(kept=)``), and
    interrupted ones until a person removes them.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue, self._store = queue, queue.store

    def __iter__(self) -> Iterator[Rule]:
        """Iterate over the rules, by state and type."""
        rules = self._store.read(keeping.rules(self._store.keys))
        return iter(rules)

    def set(
        self,
        state: str,
        *,
        age: float | dt.timedelta | None = None,
        count: int | None = None,
        type: str | None = None,
    ) -> Rule | None:
        """Say how long and how many; returns the rule that stood before. Workers trim by it from their next turns on.

        Args:
            state: an end, such as ``succeeded``.
            age: seconds (or a timedelta) since its end after which a job is trimmed, 0 to ten years; 7 days by default.
            count: so many at most are kept, the newest, 0 to 10^9; 100,000 by default.
            type: of one type; the others are then kept as the state says. Jobs that have ended before the type had a rule
                are kept by it too, but not less long than by that of the state.

        Raises:
            InvalidInput: an argument is outside its limits, or there are 256 rules already; nothing was changed.

        """
        return self._store.run(setting(state, age, count, type, self._queue.by))

    def lift(self, state: str, type: str | None = None) -> Rule | None:
        """Have no rule any more; returns the one that stood, or None."""
        return self._store.run(lifted(state, type, self._queue.by))


def setting(
    state: str, age: float | dt.timedelta | None, count: int | None, type_: str | None, by: str
) -> Call[Rule | None]:
    """Check, and make the call."""
    usual = Kept()
    seconds = age.total_seconds() if isinstance(age, dt.timedelta) else usual.age if age is None else age
    if type(seconds) not in {int, float} or not 0 <= seconds <= AGE_MOST:
        raise InvalidInput(f"age: {age!r} is not a number of seconds from 0 to ten years.")
    count = usual.count if count is None else count
    if type(count) is not int or not 0 <= count <= COUNT_MOST:
        raise InvalidInput(f"count: {count!r} is not a whole number from 0 to {COUNT_MOST:,}.")
    return keeping.keep(_end(state), "" if type_ is None else check_name("type", type_), seconds, count, by)


def lifted(state: str, type_: str | None, by: str) -> Call[Rule | None]:
    """Check, and make the call."""
    return keeping.keep(_end(state), "" if type_ is None else check_name("type", type_), None, None, by)


def _end(state: str) -> str:
    ends = STATES[3:]
    if state not in ends:
        raise InvalidInput(f"state: {state!r} is no end. Use one of {', '.join(ends)}.")
    return state
