"""What the verbs of schedules ask of the server, and how they find the moments; free of I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from seatline.shared.calls import orders, reads
from seatline.shared.calls import schedules as verbs
from seatline.shared.calls.base import Call, Read, Word, text
from seatline.shared.calls.schedules import ScheduleRecord
from seatline.shared.calls.talk import Found, Talk, Walk, ask, following, found, merged
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput, NoSuchSchedule, OutcomeUnknown
from seatline.shared.job import Job, job_words
from seatline.shared.keys import Keys
from seatline.shared.order import order_words
from seatline.shared.times import MOST_KEPT, Cron, Every, Missed, Timing, Window

__all__ = [
    "PlannedStart",
    "Rule",
    "acted",
    "added",
    "planned",
    "resumed",
    "run_once",
    "schedule_record",
    "schedule_records",
    "unattended",
]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A schedule as somebody says it; see :meth:`seatline.producer.Schedules.add`."""

    name: str
    type: str | None
    params: Mapping[str, Any] | None
    chain: str | None
    cron: str | None
    zone: str | None
    every: float | dt.timedelta | None
    after_end: bool
    start: dt.datetime | None
    end: dt.datetime | None
    missed: Missed
    most: int
    replace: bool
    priority: int
    uses: Mapping[str, int] | None
    tenant: str | None
    title: str | None
    tags: Sequence[str]
    result_ttl: float | None
    expires: float | dt.timedelta | None

    def words(self) -> list[str | bytes]:
        """Check what it makes, and write one."""
        check_name("schedule", self.name)
        if (self.type is None) == (self.chain is None):
            raise InvalidInput("type, chain: give one of them: the type of its jobs, or chain=... to start orders.")
        if isinstance(self.expires, dt.datetime):
            raise InvalidInput(
                f"expires: {self.expires!r} is a moment; for a schedule give seconds from each of its starts."
            )
        params, tenant, title = self.params or {}, self.tenant, self.title
        if self.type is None:
            _of_steps_only(uses=self.uses, tags=self.tags or None, result_ttl=self.result_ttl, expires=self.expires)
            return order_words(self.chain or "", params, priority=self.priority, tenant=tenant, title=title)
        job = Job(
            self.type,
            params,
            self.priority,
            self.uses,
            tenant,
            title,
            self.tags,
            result_ttl=self.result_ttl,
            expires=self.expires,
        )
        return job_words(job)

    def bounds(self) -> tuple[int | None, int | None]:
        """Check when it begins and ends (epoch ms)."""
        bounds = _moment("start", self.start), _moment("end", self.end)
        if bounds[0] is not None and bounds[1] is not None and bounds[0] >= bounds[1]:
            raise InvalidInput(f"start: {self.start} is not before end: {self.end}.")
        return bounds


def added(keys: Keys, rule: Rule, by: str) -> Talk[bool]:
    """Store a schedule; returns True if it is new."""
    words, bounds = rule.words(), rule.bounds()
    _check_missed(rule.missed, rule.most)
    if rule.chain is not None and not (yield from ask(orders.chain_versions(keys, [rule.chain]))):
        raise orders.no_chain(rule.chain)
    now = yield from ask(reads.server_time())
    fields, clock = _clock(rule.cron, rule.zone, rule.every, now if bounds[0] is None else bounds[0])
    if rule.after_end and not isinstance(clock, Every):
        raise InvalidInput("after_end: it goes with every=..., not with cron: a cron never waits for an end.")
    first = Timing(clock, *bounds, rule.after_end).next_after(now)
    if first is None:
        raise InvalidInput(f"{'cron' if rule.cron else 'every'}, end: no moment would ever come. Give a later end.")
    fields += ("missed", rule.missed, "most", rule.most)
    for what, bound in zip(("start", "end"), bounds, strict=True):
        if bound is not None:
            fields += (what, bound)
    if rule.after_end:
        fields += ("after_end", 1)
    if rule.expires is not None:
        fields += ("expires_ms", str(words[1]).rpartition("+")[2])
    fields += words[5:]
    return (yield from ask(verbs.set_schedule(rule.name, fields, first, by, replace=rule.replace)))


def schedule_record(keys: Keys, name: str) -> Talk[ScheduleRecord]:
    """Return a schedule."""
    (record,) = yield from ask(verbs.schedule_records(keys, [check_name("schedule", name)]))
    if record is None:
        raise NoSuchSchedule(f"schedule {name}: no such schedule. `seatline schedules list` shows what there is.")
    return record


def schedule_records(keys: Keys) -> Talk[list[ScheduleRecord]]:
    """Return all schedules, the next to come first, those without a next moment last."""
    names, start = list[str](), 0
    while True:
        page = yield from ask(reads.page(keys, "schedules", start, PAGE))
        names += [name for name, _ in page if ":" not in name]
        if len(page) < PAGE:
            break
        start += PAGE
    names = list(dict.fromkeys(names))  # one that was fired meanwhile may stand on two pages
    records = list[ScheduleRecord]()
    for at in range(0, len(names), PAGE):
        some = yield from ask(verbs.schedule_records(keys, names[at : at + PAGE]))
        records += [record for record in some if record]
    return records


def acted(name: str, verb: Literal["pause", "remove"], by: str) -> Call[str | None]:
    """Check, and make the call."""
    return verbs.act(check_name("schedule", name), verb, by)


def resumed(keys: Keys, name: str, by: str) -> Talk[bool]:
    """Go on with the next moment from now; returns False if it was not paused."""
    for _ in range(TRIES):
        record = yield from schedule_record(keys, name)
        now = yield from ask(reads.server_time())
        after, timing = record.after_end and record.last_job is not None, record.timing
        coming = timing.after_run(now) if after else timing.next_after(now)
        told = yield from ask(verbs.act(name, "resume", by, record, coming))
        if told is not None:
            return told == "now"
    raise _unsettled(name)


def run_once(keys: Keys, name: str, by: str) -> Talk[tuple[str, bool]]:
    """Enqueue its job, or start its order, now; returns the id, and whether it is an order's."""
    for _ in range(TRIES):
        record = yield from schedule_record(keys, name)
        now = yield from ask(reads.server_time())
        run = yield from ask(verbs.act(name, "run", by, record, job=record.words(now)))
        if run is not None:
            return run, record.chain is not None
    raise _unsettled(name)


def planned(keys: Keys, until: dt.datetime | dt.timedelta | float, limit: int | None) -> Walk[PlannedStart]:
    """Walk over all that is planned to start, by time."""
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit: {limit} is less than 0.")
    _until(until, 0)
    return _planned(keys, until, limit)


def _planned(keys: Keys, until: dt.datetime | dt.timedelta | float, limit: int | None) -> Walk[PlannedStart]:
    now = yield from ask(reads.server_time())
    last = _until(until, now)
    records = [record for record in (yield from schedule_records(keys)) if record.next is not None]
    names = sorted({record.job.type for record in records if record.chain is None})
    types = yield from ask(reads.type_records(keys, names))
    shut = {record.name: Window(record.window) for record in types if record.window}
    walk = merged([_jobs(keys, last), *(found(_starts(record, last, shut)) for record in records)])
    given = 0
    while limit is None or given < limit:
        one = yield from following(walk)
        if not one:
            return
        given += 1
        yield Found(one[0])


def unattended(keys: Keys) -> Read[str | None]:
    """Say what waits in vain, as no worker of the namespace is alive to see to it."""

    def parse(replies: Sequence[Any]) -> str | None:
        now, latest = int(replies[0][0]) * 1000, float(replies[1][1]) if replies[1] else 0.0
        schedules, jobs = int(replies[2]), int(replies[3])
        if latest > now or not (schedules or jobs):
            return None
        return (
            f"no worker is alive: {schedules} schedules and windows and {jobs} jobs of the future wait until one is. "
            "Start one: seatline worker."
        )

    return Read(
        [
            ("TIME",),
            ("ZREVRANGE", keys("workers"), 0, 0, "WITHSCORES"),
            ("ZCARD", keys("schedules")),
            ("ZCARD", keys("scheduled")),
        ],
        parse,
    )


def _starts(record: ScheduleRecord, last: int, shut: Mapping[str, Window]) -> Iterator[PlannedStart]:
    """Iterate over the moments of one schedule."""
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


def _jobs(keys: Keys, last: int) -> Walk[PlannedStart]:
    """Walk over the jobs, and steps of orders, that are due later."""
    start = 0
    while True:
        due: Read[list[str]] = Read(
            [("ZRANGEBYSCORE", keys("scheduled"), "-inf", last, "LIMIT", start, PAGE)],
            lambda replies: [text(job_id) for job_id in replies[0]],
        )
        page = yield from ask(due)
        for record in (yield from ask(reads.job_records(keys, page))) if page else ():
            if record is not None and record.due is not None:
                kind, name = ("job", record.id) if record.order is None else ("order", record.order)
                yield Found(
                    PlannedStart(record.due, kind, name, record.type, record.title or "", chain=record.chain or "")
                )
        if len(page) < PAGE:
            return
        start += PAGE


def _unsettled(name: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"schedule {name}: somebody else changes it again and again; nothing was done. Try again.")


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
