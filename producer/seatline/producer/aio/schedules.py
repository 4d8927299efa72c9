"""The schedules of a namespace, on an event loop."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seatline.producer import planning as asks
from seatline.producer.aio.handles import AsyncJobHandle, AsyncOrderHandle
from seatline.producer.planning import PlannedStart
from seatline.shared.calls.schedules import ScheduleRecord
from seatline.shared.job import DEFAULT_PRIORITY
from seatline.shared.times import Missed

if TYPE_CHECKING:
    from seatline.producer.aio.queue import AsyncQueue

__all__ = ["AsyncSchedules"]


class AsyncSchedules:
    """The schedules of a namespace: ``await queue.schedules["nightly"]`` shows one, ``add`` makes one.

    Any worker of the namespace fires them, whatever its types; while none is alive nothing fires (``unattended``).
    """

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue, self._store = queue, queue.store

    async def add(
        self,
        name: str,
        type: str | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        chain: str | None = None,
        cron: str | None = None,
        zone: str | None = None,
        every: float | dt.timedelta | None = None,
        after_end: bool = False,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        missed: Missed = "once",
        most: int = 100,
        replace: bool = False,
        priority: int = DEFAULT_PRIORITY,
        uses: Mapping[str, int] | None = None,
        tenant: str | None = None,
        title: str | None = None,
        tags: Sequence[str] = (),
        result_ttl: float | None = None,
        expires: float | dt.timedelta | None = None,
    ) -> bool:
        """Store a schedule; returns True if it is new (T6). See :meth:`seatline.producer.Schedules.add`."""
        rule = asks.Rule(
            name=name,
            type=type,
            params=params,
            chain=chain,
            cron=cron,
            zone=zone,
            every=every,
            after_end=after_end,
            start=start,
            end=end,
            missed=missed,
            most=most,
            replace=replace,
            priority=priority,
            uses=uses,
            tenant=self._queue.settings.tenant if tenant is None else tenant,
            title=title,
            tags=tags,
            result_ttl=result_ttl,
            expires=expires,
        )
        return await self._store.talk(asks.added(self._store.keys, rule, self._queue.by))

    async def __getitem__(self, name: str) -> ScheduleRecord:
        """Return a schedule.

        Raises:
            NoSuchSchedule: there is none.

        """
        return await self._store.talk(asks.schedule_record(self._store.keys, name))

    async def list(self) -> list[ScheduleRecord]:
        """Return all schedules, the next to come first, those without a next moment last."""
        return await self._store.talk(asks.schedule_records(self._store.keys))

    async def remove(self, name: str) -> None:
        """Forget it; what it has enqueued goes on. Raises NoSuchSchedule if there is none."""
        await self._store.run(asks.acted(name, "remove", self._queue.by))

    async def pause(self, name: str) -> bool:
        """Fire nothing until it is resumed; what it has enqueued goes on. Returns False if it was paused already."""
        return await self._store.run(asks.acted(name, "pause", self._queue.by)) == "now"

    async def resume(self, name: str) -> bool:
        """Go on with the next moment from now; those in between are left out. Returns False if it was not paused."""
        return await self._store.talk(asks.resumed(self._store.keys, name, self._queue.by))

    async def run(self, name: str) -> AsyncJobHandle | AsyncOrderHandle:
        """Enqueue its job, or start its order, once, now, beside its plan; also while it is paused.

        Raises:
            NoSuchSchedule: there is none. NoSuchChain: it starts orders, and their chain is not there.
            WrongState: it counts from the end of its last run, which has not ended.
            Closed, TenantRequired: as for a job.

        """
        run, is_order = await self._store.talk(asks.run_once(self._store.keys, name, self._queue.by))
        # Its number tells this order from one to come: it has no id of its own, so the two are the same.
        return AsyncOrderHandle(self._queue, run, run) if is_order else self._queue.handle(run)

    def next(
        self, until: dt.datetime | dt.timedelta | float = 86_400.0, *, limit: int | None = None
    ) -> AsyncIterator[PlannedStart]:
        """Iterate over all that is planned to start, of schedules, jobs and orders, by time (T10).

        Args:
            until: a moment with a time zone, or seconds from now; a day by default.
            limit: at most so many.

        """
        return self._store.walk(asks.planned(self._store.keys, until, limit))

    async def unattended(self) -> str | None:
        """Say what waits in vain, as no worker of the namespace is alive to see to it; None: somebody is, or nothing waits."""
        return await self._store.read(asks.unattended(self._store.keys))
