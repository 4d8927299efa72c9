"""What ran, failed and waited in a period, and which seats it took (H1).

A job belongs to the period in which it *ended*, whole: with all its runs, also those that began before. So each job is
counted once, and the reports of two periods that follow each other add up to that of both. A run holds its seats from its
reservation to its report (what is handed back before its handler began is no run); seats times that, over all runs of the
jobs that ended, are the seat-hours, in the seats that the job used last.

It is a walk, page by page, over ``finished:<state>`` by time. What was trimmed is not there any more: up to when that is so is
said (``gone``).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from seatline.producer.alike import alike
from seatline.producer.listing import ready_lines
from seatline.producer.timeline import runs_of
from seatline.shared.calls import ended, reads
from seatline.shared.calls.talk import Found, Talk, Walk, ask, page_of
from seatline.shared.errors import InvalidInput
from seatline.shared.keys import STATES, Keys

__all__ = ["FailureReport", "PoolReport", "Report", "TypeReport", "report_of"]

PAGE: Final = 500
#: Kinds of failures that are told, the most frequent first.
FAILURES_MOST: Final = 20


@dataclass(slots=True)
class TypeReport:
    """Jobs of one type that ended in the period; lengths of time in ms.

    Attributes:
        type: of the jobs.
        ended: how many came to each end.
        runs: how many runs they took, retries and lost ones too.
        ran_ms, ran_most_ms: how long all runs took together, and the longest.
        started: how many of the jobs ran at all.
        waited_ms, waited_most_ms: how long these waited before their last run, together, and the longest: from their
            acceptance, their moment (``at``, ``delay``, a retry's), their run before or their resubmission.
        seat_ms: seats times ms, by pool.
        waiting: how many wait at the moment of the report.

    """

    type: str
    ended: Counter[str] = field(default_factory=Counter[str])
    runs: int = 0
    ran_ms: int = 0
    ran_most_ms: int = 0
    started: int = 0
    waited_ms: int = 0
    waited_most_ms: int = 0
    seat_ms: Counter[str] = field(default_factory=Counter[str])
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class PoolReport:
    """What a pool's seats did: seats times ms; ``capacity``: as it is now, None if there is no such pool (any more)."""

    pool: str
    seat_ms: int
    capacity: int | None

    def share(self, period_ms: int) -> float | None:
        """Return which part that is of the time of all its seats, as many as there are now; None if there are none."""
        return self.seat_ms / (self.capacity * period_ms) if self.capacity else None


@dataclass(frozen=True, slots=True)
class FailureReport:
    """Jobs of a type that failed with messages that are alike; ``example``: the id of the last one."""

    type: str
    message: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report; moments in UTC.

    Attributes:
        since, until: the period; what ended at ``until`` is not in it.
        types: those of which jobs ended or wait, by name.
        pools: by name.
        failures: kinds of failed jobs, the most frequent first, at most 20.
        orders: how many orders came to each end.
        running, scheduled: jobs, at the moment of the report.
        gone: ends of which jobs of this period were trimmed, with the latest end of these.
        removed: jobs and orders that people removed, ever; nothing tells when they had ended.

    """

    since: dt.datetime
    until: dt.datetime
    types: list[TypeReport]
    pools: list[PoolReport]
    failures: list[FailureReport]
    orders: dict[str, int]
    running: int
    scheduled: int
    gone: dict[str, dt.datetime]
    removed: int

    @property
    def ended(self) -> Counter[str]:
        """How many jobs came to each end."""
        return sum((each.ended for each in self.types), Counter[str]())

    @property
    def period_ms(self) -> int:
        """How long the period is."""
        return _ms(self.until) - _ms(self.since)


def report_of(keys: Keys, since: int, until: int | None) -> Talk[Report]:
    """Count what ended from a moment (epoch ms) until before another, or now."""
    if until is None:
        until = yield from ask(reads.server_time())
    if since >= until:
        raise InvalidInput(f"since: {_moment(since)} is not before {_moment(until)}, the end of the period.")
    types = defaultdict[str, TypeReport](lambda: TypeReport(""))
    kinds = defaultdict[tuple[str, str], list[str]](list)
    for state in STATES[3:]:
        walk = _walk(keys, state, since, until)
        while ids := (yield from page_of(walk, PAGE)):
            for each in (yield from ask(ended.ended_jobs(keys, ids))):
                if each.job.state != state:
                    continue  # it has been run again meanwhile
                _count(types[each.job.type], each)
                if state == "failed":
                    kinds[each.job.type, alike(_said(each), each.job.type)].append(each.job.id)
    for type_, waiting in (yield from _waiting(keys)).items():
        types[type_].waiting = waiting
    for type_, report in types.items():
        report.type = type_
    pools = yield from _pools(keys, types)
    scene = yield from ask(ended.scene(keys, since, until))
    most = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))[:FAILURES_MOST]
    return Report(
        since=_moment(since),
        until=_moment(until),
        types=sorted(types.values(), key=lambda report: report.type),
        pools=pools,
        failures=[FailureReport(type_, message, len(ids), max(ids)) for (type_, message), ids in most],
        orders=scene.orders,
        running=scene.running,
        scheduled=scene.scheduled,
        gone={state: _moment(ms) for state, ms in scene.gone.items() if ms >= since},
        removed=scene.removed,
    )


def _walk(keys: Keys, state: str, since: int, until: int) -> Walk[str]:
    """Walk over jobs by their end. A page goes on at the last one's moment, behind those of it that were seen."""
    at, seen = since, set[str]()
    while page := (yield from ask(ended.ended_between(keys, state, at, until, len(seen), PAGE))):
        for job_id, end in page:
            if end != at:
                at, seen = end, set[str]()
            if job_id not in seen:
                seen.add(job_id)
                yield Found(job_id)


def _count(into: TypeReport, each: ended.Ended) -> None:
    job, runs = each.job, sorted(runs_of(each.job, each.history, each.attempts))
    into.ended[job.state] += 1
    into.runs += len(runs)
    for began, end in runs:
        ms = max(0, _ms(end) - _ms(began))
        into.ran_ms += ms
        into.ran_most_ms = max(into.ran_most_ms, ms)
        for pool, seats in job.seats.items():
            into.seat_ms[pool] += seats * ms
    if runs:
        last = _ms(runs[-1][0])
        waited = last - max([moment for moment in _ready(each, runs) if moment <= last] or [last])
        into.started += 1
        into.waited_ms += waited
        into.waited_most_ms = max(into.waited_most_ms, waited)


def _ready(each: ended.Ended, runs: list[tuple[dt.datetime, dt.datetime]]) -> Iterator[int]:
    """Yield the moments from which on it may have waited for its last run."""
    yield each.job.created_ms
    if each.job.due:
        yield _ms(each.job.due)
    yield from (_ms(end) for _, end in runs[:-1])
    yield from (_ms(when) for when, what in each.history if what.startswith("resubmitted by "))


def _said(each: ended.Ended) -> str:
    first = (each.job.error or "").partition("\n")[0]
    return ": ".join(filter(None, [each.job.error_type, first]))


def _waiting(keys: Keys) -> Talk[dict[str, int]]:
    """Return how many jobs of each type wait, but for types of which none does."""
    lines, counts = (yield from ready_lines(keys)), Counter[str]()
    for start in range(0, len(lines), PAGE):
        some = lines[start : start + PAGE]
        for line, size in zip(some, (yield from ask(ended.sizes(some))), strict=True):
            counts[line.partition("}:ready:")[2].partition("|")[0]] += size
    return {type_: size for type_, size in counts.items() if size}


def _pools(keys: Keys, types: dict[str, TypeReport]) -> Talk[list[PoolReport]]:
    names = yield from ask(reads.name_set(keys, "pools"))
    records = (yield from ask(reads.pool_records(keys, names))) if names else []
    capacity = {record.name: record.capacity for record in records if record}
    taken = sum((report.seat_ms for report in types.values()), Counter[str]())
    return [PoolReport(name, taken[name], capacity.get(name)) for name in sorted({*names, *taken})]


def _ms(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
