"""The triggers of a namespace, on an event loop."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING

from seatline.producer import triggers as asks
from seatline.shared.calls import triggers as verbs
from seatline.shared.calls.triggers import TriggerRecord
from seatline.shared.config import check_name
from seatline.shared.job import BULK_PRIORITY, Job

if TYPE_CHECKING:
    from seatline.producer.aio.queue import AsyncQueue

__all__ = ["AsyncTriggers"]


class AsyncTriggers:
    """The triggers of a namespace: ``await queue.triggers["drawing.released"]`` shows one, ``set`` makes one."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue, self._store = queue, queue.store

    async def set(
        self,
        event: str,
        jobs: Iterable[Job],
        *,
        coalesce: str | float | dt.timedelta | None = None,
        priority: int = BULK_PRIORITY,
    ) -> bool:
        """Say which jobs an event enqueues; True if that was nothing before. See :meth:`seatline.producer.Triggers.set`.

        Raises:
            InvalidInput: an argument is not good; nothing was stored.

        """
        return await self._store.run(asks.trigger_call(event, jobs, coalesce, priority, self._queue.by))

    async def remove(self, event: str) -> int:
        """Forget what an event enqueues, and the facts that wait for it; returns how many these were.

        Raises:
            NoSuchTrigger: it enqueues nothing.

        """
        return await self._store.run(verbs.remove_trigger(check_name("event", event), self._queue.by))

    async def __getitem__(self, event: str) -> TriggerRecord:
        """Return what an event enqueues.

        Raises:
            NoSuchTrigger: nothing.
            PayloadError: its record is damaged.

        """
        return await self._store.talk(asks.trigger_record(self._store.keys, event))

    async def list(self) -> list[TriggerRecord]:
        """Return all triggers, by event."""
        return await self._store.talk(asks.trigger_records(self._store.keys))
