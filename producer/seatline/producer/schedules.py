"""Schedules: stored rules by which workers enqueue jobs, or start orders, at times to come; and all that is planned."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from seatline.producer.orders import OrderHandle
from seatline.shared.calls import orders, reads
from seatline.shared.calls import schedules as verbs
from seatline.shared.calls.base import Read, Word, text
from seatline.shared.calls.schedules import ScheduleRecord
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput, NoSuchSchedule, OutcomeUnknown
from seatline.shared.job import DEFAULT_PRIORITY, Job, job_words
from seatline.shared.order import order_words
from seatline.shared.times import MOST_KEPT, Cron, Every, Missed, Timing, Window

if TYPE_CHECKING:
    from seatline.producer.handle import JobHandle
    from seatline.producer.queue import Queue

__all__ = ["PlannedStart", "Schedules"]

EVERY_MOST: Final = 3660 * 24 * 3600.0
PAGE: Final = 100
#: How often a change is tried again because somebody else changed the same schedule meanwhile.
TRIES: Final = 5
_MISSED: Final = ("skip", "once", "all")


@dataclass(frozen=True, slots=True, order=True)
class PlannedStart:
    """A start to come: when (UTC), of what, which type; ``opens``: its type is shut then, so it starts when that opens.

    ``kind`` is ``job`` (``name`` is its id), ``order`` (``name`` is its id, ``type`` that of the step that is due) or
    ``schedule`` (``name`` is the schedule's; one of orders has no ``type``). ``chain``: of the order, or ''.
    """

    moment: dt.datetime
    kind: str
    name: str
    type: str
    title: str = ""
    opens: dt.datetime | None = None
    chain: str = ""


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
        check_name("schedule", name)
        if (type is None) == (chain is None):
            raise InvalidInput("type, chain: give one of them: the type of its jobs, or chain=... to start orders.")
        if isinstance(expires, dt.datetime):
            raise InvalidInput(
                f"expires: {expires!r} is a moment; for a schedule give seconds from each of its starts."
            )
        tenant = self._queue.settings.tenant if tenant is None else tenant
        if type is not None:
            job = Job(type, params or {}, priority, uses, tenant, title, tags, result_ttl=result_ttl, expires=expires)
            words = job_words(job)
        else:
            _of_steps_only(uses=uses, tags=tags or None, result_ttl=result_ttl, expires=expires)
            words = order_words(chain or "", params or {}, priority=priority, tenant=tenant, title=title)
        bounds = _moment("start", start), _moment("end", end)
        if bounds[0] is not None and bounds[1] is not None and bounds[0] >= bounds[1]:
            raise InvalidInput(f"start: {start} is not before end: {end}.")
        _check_missed(missed, most)
        if chain is not None and not self._store.read(orders.chain_versions(self._store.keys, [chain])):
            raise orders.no_chain(chain)
        now = self._store.read(reads.server_time())
        fields, clock = _clock(cron, zone, every, now if bounds[0] is None else bounds[0])
        if after_end and not isinstance(clock, Every):
            raise InvalidInput("after_end: it goes with every=..., not with cron: a cron never waits for an end.")
        timing = Timing(clock, *bounds, after_end)
        first = timing.next_after(now)
        if first is None:
            raise InvalidInput(f"{'cron' if cron else 'every'}, end: no moment would ever come. Give a later end.")
        fields += ("missed", missed, "most", most)
        for what, bound in zip(("start", "end"), bounds, strict=True):
            if bound is not None:
                fields += (what, bound)
        if after_end:
            fields += ("after_end", 1)
        if expires is not None:
            fields += ("expires_ms", str(words[1]).rpartition("+")[2])
        fields += words[5:]
        return self._store.run(verbs.set_schedule(name, fields, first, self._queue.by, replace=replace))

    def __getitem__(self, name: str) -> ScheduleRecord:
        """Return a schedule.

        Raises:
            NoSuchSchedule: there is none.

        """
        (record,) = self._store.read(verbs.schedule_records(self._store.keys, [check_name("schedule", name)]))
        if record is None:
            raise NoSuchSchedule(f"schedule {name}: no such schedule. `seatline schedules list` shows what there is.")
        return record

    def list(self) -> list[ScheduleRecord]:
        """Return all schedules, the next to come first, those without a next moment last."""
        names, start = list[str](), 0
        while True:
            page = self._store.read(reads.page(self._store.keys, "schedules", start, PAGE))
            names += [name for name, _ in page if ":" not in name]
            if len(page) < PAGE:
                break
            start += PAGE
        names = list(dict.fromkeys(names))  # one that was fired meanwhile may stand on two pages
        found = list[ScheduleRecord]()
        for at in range(0, len(names), PAGE):
            records = self._store.read(verbs.schedule_records(self._store.keys, names[at : at + PAGE]))
            found += [record for record in records if record]
        return found

    def remove(self, name: str) -> None:
        """Forget it; what it has enqueued goes on. Raises NoSuchSchedule if there is none."""
        self._store.run(verbs.act(check_name("schedule", name), "remove", self._queue.by))

    def pause(self, name: str) -> bool:
        """Fire nothing until it is resumed; what it has enqueued goes on. Returns False if it was paused already."""
        return self._store.run(verbs.act(check_name("schedule", name), "pause", self._queue.by)) == "now"

    def resume(self, name: str) -> bool:
        """Go on with the next moment from now; those in between are left out. Returns False if it was not paused."""
        for _ in range(TRIES):
            record = self[name]
            now, timing = self._store.read(reads.server_time()), record.timing
            after = record.after_end and record.last_job is not None
            coming = timing.after_run(now) if after else timing.next_after(now)
            told = self._store.run(verbs.act(name, "resume", self._queue.by, record, coming))
            if told is not None:
                return told == "now"
        raise self._unsettled(name)

    def run(self, name: str) -> JobHandle | OrderHandle:
        """Enqueue its job, or start its order, once, now, beside its plan; also while it is paused.

        Raises:
            NoSuchSchedule: there is none. NoSuchChain: it starts orders, and their chain is not there.
            WrongState: it counts from the end of its last run, which has not ended.
            Closed, TenantRequired: as for a job.

        """
        for _ in range(TRIES):
            record = self[name]
            words = record.words(self._store.read(reads.server_time()))
            run = self._store.run(verbs.act(name, "run", self._queue.by, record, job=words))
            if run is not None:
                # Its number tells this order from one to come: it has no id of its own, so the two are the same.
                return self._queue.handle(run) if record.chain is None else OrderHandle(self._queue, run, run)
        raise self._unsettled(name)

    def next(
        self, until: dt.datetime | dt.timedelta | float = 86_400.0, *, limit: int | None = None
    ) -> Iterator[PlannedStart]:
        """Iterate over all that is planned to start, of schedules, jobs and orders, by time (T10).

        Of a schedule that counts from the end of its runs only the next start is known.

        Args:
            until: a moment with a time zone, or seconds from now; a day by default.
            limit: at most so many.

        """
        now = self._store.read(reads.server_time())
        last = _until(until, now)
        records = [record for record in self.list() if record.next is not None]
        types = reads.type_records(
            self._store.keys, sorted({record.job.type for record in records if record.chain is None})
        )
        shut = {record.name: Window(record.window) for record in self._store.read(types) if record.window}
        walks = [self._planned(record, last, shut) for record in records]
        return islice(heapq.merge(self._jobs(last), *walks), limit)

    def unattended(self) -> str | None:
        """Say what waits in vain, as no worker of the namespace is alive to see to it; None: somebody is, or nothing waits."""
        keys = self._store.keys
        look: Read[tuple[int, float, int, int]] = Read(
            [
                ("TIME",),
                ("ZREVRANGE", keys("workers"), 0, 0, "WITHSCORES"),
                ("ZCARD", keys("schedules")),
                ("ZCARD", keys("scheduled")),
            ],
            lambda r: (int(r[0][0]) * 1000, float(r[1][1]) if r[1] else 0.0, int(r[2]), int(r[3])),
        )
        now, latest, schedules, jobs = self._store.read(look)
        if latest > now or not (schedules or jobs):
            return None
        return (
            f"no worker is alive: {schedules} schedules and windows and {jobs} jobs of the future wait until one is. "
            "Start one: seatline worker."
        )

    def _planned(self, record: ScheduleRecord, last: int, shut: Mapping[str, Window]) -> Iterator[PlannedStart]:
        moment: int | None = int(record.fields["next"])
        type_ = record.job.type if record.chain is None else ""
        window = shut.get(type_)
        while moment is not None and moment <= last:
            opens = window.opens_at(moment) if window else moment
            yield PlannedStart(
                _utc(moment),
                "schedule",
                record.name,
                type_,
                record.job.title or "",
                _utc(opens) if opens > moment else None,
                record.chain or "",
            )
            moment = None if record.after_end else record.timing.next_after(moment)

    def _jobs(self, last: int) -> Iterator[PlannedStart]:
        start, keys = 0, self._store.keys
        while True:
            page = self._store.read(
                Read(
                    [("ZRANGEBYSCORE", keys("scheduled"), "-inf", last, "LIMIT", start, PAGE)],
                    lambda replies: [text(job_id) for job_id in replies[0]],
                )
            )
            for record in self._store.read(reads.job_records(keys, page)) if page else ():
                if record is not None and record.due is not None:
                    kind, name = ("job", record.id) if record.order is None else ("order", record.order)
                    yield PlannedStart(
                        record.due, kind, name, record.type, record.title or "", chain=record.chain or ""
                    )
            if len(page) < PAGE:
                return
            start += PAGE

    @staticmethod
    def _unsettled(name: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"schedule {name}: somebody else changes it again and again; nothing was done. Try again."
        )


def _utc(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


def _moment(what: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return max(1, int(value.timestamp() * 1000))
    raise InvalidInput(f"{what}: {value!r} is not a moment with a time zone. Use datetime(..., tzinfo=...).")


def _of_steps_only(**given: object) -> None:
    """Refuse what an order does not have: its steps are jobs, and say so themselves."""
    for name, value in given.items():
        if value is not None:
            raise InvalidInput(
                f"{name}: it goes with a type. Orders have none: the steps of their chain say such things."
            )


def _check_missed(missed: object, most: object) -> None:
    if missed not in _MISSED:
        raise InvalidInput(f"missed: {missed!r} is none of {', '.join(_MISSED)}.")
    if type(most) is not int or not 1 <= most <= MOST_KEPT:
        raise InvalidInput(f"most: {most!r} is not a whole number from 1 to {MOST_KEPT:,}.")


def _until(value: dt.datetime | dt.timedelta | float, now: int) -> int:
    if isinstance(value, dt.datetime):
        return _moment("until", value) or now
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else value
    if type(seconds) not in {int, float} or not 0 <= seconds <= EVERY_MOST:
        raise InvalidInput(f"until: {value!r} is neither a moment nor a number of seconds from 0 to ten years.")
    return now + int(seconds * 1000)


def _clock(
    cron: str | None, zone: str | None, every: float | dt.timedelta | None, anchor: int
) -> tuple[list[Word], Cron | Every]:
    """Return the words that are stored, and the clock."""
    if (cron is None) == (every is None):
        raise InvalidInput("cron, every: give one of them: cron='30 2 * * *', or every=seconds.")
    if cron is not None:
        clock = Cron(cron, "UTC" if zone is None else zone)
        return ["cron", clock.text, "zone", clock.zone], clock
    if zone is not None:
        raise InvalidInput("zone: it goes with cron=...; an interval is the same in every zone.")
    seconds = every.total_seconds() if isinstance(every, dt.timedelta) else every
    if type(seconds) not in {int, float} or not 1 <= (seconds or 0) <= EVERY_MOST:
        raise InvalidInput(f"every: {every!r} is not a number of seconds from 1 to ten years.")
    grid = Every(int((seconds or 0) * 1000), anchor)
    return ["every", grid.interval, "anchor", anchor], grid
