"""Retention: how long and how many ended jobs a namespace keeps, on an event loop."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from seatline.producer import retention as asks
from seatline.shared.calls import keeping
from seatline.shared.calls.keeping import Rule

if TYPE_CHECKING:
    from seatline.producer.aio.queue import AsyncQueue

__all__ = ["AsyncRetention"]


class AsyncRetention:
    """How long and how many ended jobs are kept: :class:`seatline.producer.retention.Retention`, awaited."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue, self._store = queue, queue.store

    async def __aiter__(self) -> AsyncIterator[Rule]:
        """Iterate over the rules, by state and type."""
        for rule in await self._store.read(keeping.rules(self._store.keys)):
            yield rule

    async def set(
        self,
        state: str,
        *,
        age: float | dt.timedelta | None = None,
        count: int | None = None,
        type: str | None = None,
    ) -> Rule | None:
        """Say how long and how many; returns the rule that stood before.

        Args:
            state: an end, such as ``succeeded``.
            age: seconds (or a timedelta) since its end, 0 to ten years; 7 days by default.
            count: so many at most, the newest; 100,000 by default.
            type: of one type; the others are then kept as the state says.

        """
        return await self._store.run(asks.setting(state, age, count, type, self._queue.by))

    async def lift(self, state: str, type: str | None = None) -> Rule | None:
        """Have no rule any more; returns the one that stood, or None."""
        return await self._store.run(asks.lifted(state, type, self._queue.by))
