"""Schedules: stored rules by which workers enqueue jobs, or start orders, at times to come; and all that is planned."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seatline.producer.orders import OrderHandle
from seatline.producer.planning import (
    PlannedStart,
    Rule,
    acted,
    added,
    planned,
    resumed,
    run_once,
    schedule_record,
    schedule_records,
    unattended,
)
from seatline.shared.calls.schedules import ScheduleRecord
from seatline.shared.job import DEFAULT_PRIORITY
from seatline.shared.times import Missed

if TYPE_CHECKING:
    from seatline.producer.handle import JobHandle
    from seatline.producer.queue import Queue

__all__ = ["PlannedStart", "Schedules"]


class Schedules:
    """The schedules of a namespace: ``queue.schedules["nightly"]`` shows one, ``add`` makes one.

    Any worker of the namespace fires them, whatever its types; while none is alive nothing fires (``unattended``).
    """

    def __init__(self, queue: Queue) -> None:
        self._queue, self._store = queue, queue.store

    def add(
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
        """Store a schedule of jobs, or of orders, in which ``cron`` or ``every`` says when; returns True if it is new (T6).

        Each of its jobs knows it: ``job.schedule`` is its name, ``job.planned`` the moment it was made for. So does each
        order's record.

        Args:
            name: of the schedule.
            type: of its jobs; or else ``chain``.
            params: of its jobs, or orders.
            chain: it starts orders of this chain, each of the version that is the newest then (O3, O13). They have params,
                priority, tenant and title; all else the chain's steps say.
            cron: minute, hour, day of month, month, day of week: ``"30 2 * * Mon-Fri"``. A time that the zone's clock
                skips in spring is the next valid minute, one that it shows twice in autumn is the first of both.
            zone: an IANA zone for ``cron``, such as ``Europe/Paris``; UTC by default.
            every: seconds, 1 to ten years: a fixed grid from ``start``, else from now; the first run is one interval from now.
            after_end: ``every`` counts from the end of the last run, so that its runs never overlap (T8).
            start: no run before it; with a time zone.
            end: no run after it; with a time zone.
            missed: moments more than a minute past, because nobody was there (T7): ``skip`` leaves them out, ``once`` makes
                one run of however many, ``all`` makes up for each, for at most the last ``most``.
            most: see ``missed``, 1 to 1,000.
            replace: put it in the place of one of that name, which stays paused if it is.
            priority: of its jobs or orders, as for :class:`~seatline.shared.job.Job`; likewise the rest.
            uses: seats of its jobs.
            tenant: of its jobs or orders.
            title: of its jobs or orders.
            tags: of its jobs.
            result_ttl: of its jobs.
            expires: seconds after which a job of it that has not started ends as expired.

        Raises:
            InvalidInput: an argument is not good, or no moment would ever come; nothing was stored.
            NoSuchChain: there is no chain of that name.
            ScheduleExists: there is one of that name.
            TenantRequired: the namespace requires a tenant, and there is none.

        """
        rule = Rule(
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
        return self._store.talk(added(self._store.keys, rule, self._queue.by))

    def __getitem__(self, name: str) -> ScheduleRecord:
        """Return a schedule.

        Raises:
            NoSuchSchedule: there is none.

        """
        return self._store.talk(schedule_record(self._store.keys, name))

    def list(self) -> list[ScheduleRecord]:
        """Return all schedules, the next to come first, those without a next moment last."""
        return self._store.talk(schedule_records(self._store.keys))

    def remove(self, name: str) -> None:
        """Forget it; what it has enqueued goes on. Raises NoSuchSchedule if there is none."""
        self._store.run(acted(name, "remove", self._queue.by))

    def pause(self, name: str) -> bool:
        """Fire nothing until it is resumed; what it has enqueued goes on. Returns False if it was paused already."""
        return self._store.run(acted(name, "pause", self._queue.by)) == "now"

    def resume(self, name: str) -> bool:
        """Go on with the next moment from now; those in between are left out. Returns False if it was not paused."""
        return self._store.talk(resumed(self._store.keys, name, self._queue.by))

    def run(self, name: str) -> JobHandle | OrderHandle:
        """Enqueue its job, or start its order, once, now, beside its plan; also while it is paused.

        Raises:
            NoSuchSchedule: there is none. NoSuchChain: it starts orders, and their chain is not there.
            WrongState: it counts from the end of its last run, which has not ended.
            Closed, TenantRequired: as for a job.

        """
        run, is_order = self._store.talk(run_once(self._store.keys, name, self._queue.by))
        # Its number tells this order from one to come: it has no id of its own, so the two are the same.
        return OrderHandle(self._queue, run, run) if is_order else self._queue.handle(run)

    def next(
        self, until: dt.datetime | dt.timedelta | float = 86_400.0, *, limit: int | None = None
    ) -> Iterator[PlannedStart]:
        """Iterate over all that is planned to start, of schedules, jobs and orders, by time (T10).

        Of a schedule that counts from the end of its runs only the next start is known.

        Args:
            until: a moment with a time zone, or seconds from now; a day by default.
            limit: at most so many.

        """
        return self._store.walk(planned(self._store.keys, until, limit))

    def unattended(self) -> str | None:
        """Say what waits in vain, as no worker of the namespace is alive to see to it; None: somebody is, or nothing waits."""
        return self._store.read(unattended(self._store.keys))
