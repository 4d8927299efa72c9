"""The daily report: what ran, failed, waited, and seat-hours; its sums equal the history (H1)."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import AsyncQueue, Job, Queue, Report
from seatline.shared.errors import InvalidInput
from seatline.shared.job import attempt_text
from seatline.shared.keys import STATES

ENDED = STATES[3:]
USES: dict[str, dict[str, int]] = {"a": {"vault": 1}, "b": {"vault": 2, "gpu": 1}, "c": {}}


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        queue.pools.set("vault", 30)
        queue.pools.set("gpu", 10)
        yield queue


def now_ms(redis: Redis) -> int:
    seconds, micros = redis.time()
    return seconds * 1000 + micros // 1000


class Night:
    """A night's work: jobs end in all ways, after runs that failed, were handed back, were lost, or were run again."""

    def __init__(self, queue: Queue, redis: Redis, seed: int) -> None:
        self.queue, self.redis, self.rng = queue, redis, random.Random(seed)
        settings = queue.settings
        #: Of each run of a job, in their order: whether its handler began.
        self.begun = defaultdict[str, list[bool]](list)
        self.worker = FakeWorker(settings.url or "", settings.namespace, USES, slots=25, if_lost="rerun", lease=0.5)

    def round(self) -> None:
        self.queue.enqueue_many(Job(self.rng.choice("abc"), uses=self.rng.choice([None, None, {}])) for _ in range(30))
        self.worker.turn()
        self.let_pass()
        for job_id in self.rng.sample(list(self.worker.held), len(self.worker.held) * 3 // 4):
            self.end(job_id)
        self.lose(self.rng.random() < 0.5)
        for state in ("failed", "succeeded"):
            for job in list(self.queue.jobs(state=state, limit=40)):
                if self.rng.random() < 0.1:
                    self.queue.handle(job.id).resubmit()
        for job in list(self.queue.jobs(state="ready", limit=10)):
            if self.rng.random() < 0.1:
                self.queue.handle(job.id).cancel()

    def end(self, job_id: str) -> None:
        outcome = self.rng.choice(
            ["succeeded"] * 4 + ["failed", "skipped", "retry", "returned", "abandoned", "interrupted"]
        )
        words, more = [], {}
        self.begun[job_id].append(outcome != "returned")
        if outcome in {"failed", "retry"}:
            kind, said = self.rng.choice([("OSError", f"no paper in tray {job_id}"), ("ValueError", "odd")])
            words = ["error_type", kind, "error", said]
            if outcome == "retry":
                attempt = self.worker.held[job_id].attempt
                more["result"] = attempt_text(attempt, self.worker.id, kind, said, "").encode()
        self.worker.turn(self.worker.report(job_id, outcome, *words, **more), want=0)

    def let_all_end(self) -> None:
        for job_id in self.worker.held:
            self.begun[job_id].append(True)
        self.worker.settle()

    def lose(self, really: bool) -> None:
        if not really or not self.worker.held:
            return self.let_all_end() if self.worker.held else None
        wait_until(lambda: now_ms(self.redis) > max(self.deadlines()), 10)
        held, self.worker.held = dict(self.worker.held), {}
        suspects = self.worker.renew().suspects
        assert len(suspects) == len(held)
        for job_id in held:
            self.begun[job_id].append(True)
        self.worker.reap(*suspects)
        return None

    def deadlines(self) -> list[float]:
        found: Any = self.redis.zrange(self.queue.store.keys("running"), 0, -1, withscores=True)
        return [score for _, score in found]

    def let_pass(self) -> None:
        until = now_ms(self.redis) + self.rng.randrange(2, 30)
        wait_until(lambda: now_ms(self.redis) >= until, 5)


def runs_told(queue: Queue, redis: Redis, night: Night) -> dict[str, list[tuple[int, int]]]:
    """Return from when until when each job ran, by the stream of events: what is counted from is not asked.

    What was handed back before its handler began is no run.
    """
    entries: Any = redis.xrange(queue.store.keys("events"))
    began, runs = dict[str, int](), defaultdict[str, list[tuple[int, int]]](list)
    for entry, fields in entries:
        ms = int(entry.split(b"-")[0])
        for word in (fields.get(b"settled") or fields.get(b"reaped") or b"").decode().split():
            job_id = word.partition(":")[0]
            if not word.endswith((":stale", ":alive")) and job_id in began:
                runs[job_id].append((began.pop(job_id), ms))
        for job_id in fields.get(b"reserved", b"").decode().split():
            began[job_id] = ms
    return {
        job_id: [run for run, begun in zip(found, night.begun[job_id], strict=True) if begun]
        for job_id, found in runs.items()
    }


def report_of(queue: Queue, since: int, until: int) -> Report:
    return queue.report(since / 1000, until / 1000)


@pytest.mark.parametrize("seed", range(3))
def test_h1_its_sums_equal_the_history(seed: int, queue: Queue, redis: Redis) -> None:
    """H1: counts, runs and seat-hours are those of the events and of the jobs' own records, summed up independently."""
    night, since = Night(queue, redis, seed), now_ms(redis)
    for _ in range(6):
        night.round()
    queue.enqueue("a", delay=3600)
    until = now_ms(redis) + 1
    found = report_of(queue, since, until)

    runs = defaultdict[str, list[tuple[int, int]]](list, runs_told(queue, redis, night))
    counts, ran, seats, each_runs = Counter[Any](), Counter[str](), Counter[Any](), Counter[str]()
    for state in ENDED:
        for job in queue.jobs(state=state):
            counts[job.type, state] += 1
            each_runs[job.type] += len(runs[job.id])
            ms = sum(end - began for began, end in runs[job.id])
            ran[job.type] += ms
            for pool, count in (USES[job.type] if job.uses is None else job.uses).items():
                seats[job.type, pool] += count * ms if runs[job.id] else 0
    assert {(each.type, state): count for each in found.types for state, count in each.ended.items()} == dict(counts)
    assert {each.type: each.runs for each in found.types} == {type_: each_runs[type_] for type_ in "abc"}
    assert sum(each_runs.values()) > sum(counts.values()) - counts["a", "cancelled"], "many ran more than once"
    for each in found.types:  # an event is written some microseconds after the clock was read
        assert each.ran_ms == pytest.approx(ran[each.type], abs=2 * each.runs)
        assert set(each.seat_ms) <= set(USES[each.type])
        for pool in USES[each.type]:
            assert each.seat_ms[pool] == pytest.approx(seats[each.type, pool], abs=4 * each.runs)
    assert {pool.pool: pool.seat_ms for pool in found.pools} == {
        pool: sum(each.seat_ms[pool] for each in found.types) for pool in ("gpu", "vault")
    }
    assert sum(kind.count for kind in found.failures) == found.ended["failed"]
    waiting = Counter(job.type for job in queue.jobs(state="ready"))
    assert {each.type: each.waiting for each in found.types if each.waiting} == dict(waiting)
    assert (found.running, found.scheduled) == (0, 1)
    assert found.gone == {}


def test_h1_two_periods_add_up(queue: Queue, redis: Redis) -> None:
    """H1: each job is in one period, whole, wherever the line is drawn."""
    night, since = Night(queue, redis, 7), now_ms(redis)
    for _ in range(5):
        night.round()
    until = now_ms(redis) + 1
    whole = report_of(queue, since, until)
    ends: list[float] = []
    for state in ENDED:
        flat: Any = redis.zrange(queue.store.keys(f"finished:{state}"), 0, -1, withscores=True)
        ends += [score for _, score in flat]
    for middle in random.Random(1).sample(sorted(set(ends)), 5):
        parts = [
            report_of(queue, *period)
            for period in ((since, int(middle)), (int(middle), until))
            if period[0] < period[1]
        ]
        assert sum((part.ended for part in parts), Counter[str]()) == whole.ended
        for name in ("runs", "ran_ms", "started", "waited_ms"):
            assert sum(getattr(each, name) for part in parts for each in part.types) == sum(
                getattr(each, name) for each in whole.types
            )
        for at in range(2):
            assert sum(part.pools[at].seat_ms for part in parts) == whole.pools[at].seat_ms


def test_h1_read_page_by_page_each_once(queue: Queue, redis: Redis) -> None:
    """H1: thousands that ended in one millisecond, and at the edges of pages, are counted once each."""
    worker = FakeWorker(queue.settings.url or "", queue.settings.namespace, {"c": {}}, slots=250)
    ids = queue.enqueue_many(Job("c") for _ in range(2_000))
    while worker.turn(*worker.held, want=250):
        pass
    place, base = queue.store.keys("finished:succeeded"), now_ms(redis)
    scores = {job_id: base + (0 if at < 1_300 else at % 7) for at, job_id in enumerate(ids)}
    redis.zadd(place, scores)
    for job_id, score in scores.items():
        redis.hset(queue.store.keys.job(job_id), "finished", score)
    assert report_of(queue, base - 60_000, base + 10).ended == {"succeeded": 2_000}
    some = sum(score in {base + 1, base + 2} for score in scores.values())
    assert report_of(queue, base + 1, base + 3).ended == {"succeeded": some}
    worker.close()


def test_h1_how_long_they_waited(queue: Queue, redis: Redis) -> None:
    """H1: from acceptance, or from the moment at which it was due, not from before it."""
    worker = FakeWorker(queue.settings.url or "", queue.settings.namespace, {"c": {}}, slots=5)
    soon, later = queue.enqueue("c"), queue.enqueue("c", delay=0.4)
    start = now_ms(redis)
    wait_until(lambda: now_ms(redis) > start + 300, 5)
    worker.turn()
    wait_until(lambda: (worker.turn(), len(worker.held) == 2)[1], 5)
    worker.settle()
    records = {handle.id: handle.record() for handle in (soon, later)}
    (found,) = report_of(queue, start - 1000, now_ms(redis) + 1).types
    first, second = records[soon.id], records[later.id]
    assert first.started
    assert first.created
    assert second.started
    assert second.due
    waits = [first.started - first.created, second.started - second.due]
    assert found.waited_ms == pytest.approx(sum(wait / dt.timedelta(milliseconds=1) for wait in waits), abs=2)
    assert found.waited_most_ms == pytest.approx(max(wait / dt.timedelta(milliseconds=1) for wait in waits), abs=2)
    assert found.started == 2
    worker.close()


def test_h1_what_was_trimmed_is_told(queue: Queue, redis: Redis) -> None:
    """H1: a report that cannot be whole says so, and up to when."""
    queue.retention.set("succeeded", count=20)
    worker = FakeWorker(queue.settings.url or "", queue.settings.namespace, {"c": {}}, slots=10)
    since = now_ms(redis)
    queue.enqueue_many(Job("c") for _ in range(50))
    while worker.turn(*worker.held, want=10):
        pass
    worker.renew()
    found = report_of(queue, since, now_ms(redis) + 1)
    assert found.ended == {"succeeded": 20}
    assert list(found.gone) == ["succeeded"]
    left: Any = redis.zrange(queue.store.keys("finished:succeeded"), 0, 0, withscores=True)
    assert found.gone["succeeded"].timestamp() * 1000 <= left[0][1]
    after = round(found.gone["succeeded"].timestamp() * 1000) + 1
    assert report_of(queue, after, now_ms(redis) + 2).gone == {}
    worker.close()


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        (2000.0, 1000.0, "since: .* is not before"),
        (-1, None, "since: -1"),
        (dt.datetime(2030, 1, 1), None, "no time zone"),  # noqa: DTZ001 - that is what is tried
        ("24h", None, "since: '24h'"),
        (0, True, "until: True"),
    ],
)
def test_r4_bad_periods(since: Any, until: Any, said: str, queue: Queue) -> None:
    with pytest.raises(InvalidInput, match=said):
        queue.report(since, until)


def test_h1_of_nothing_and_on_an_event_loop(server: RealServer, namespace: str, queue: Queue) -> None:
    async def main() -> Report:
        async with AsyncQueue(server.url, namespace=namespace) as other:
            return await other.report(0)

    found = asyncio.run(main())
    assert (found.types, found.failures, [pool.seat_ms for pool in found.pools]) == ([], [], [0, 0])
