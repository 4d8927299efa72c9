"""What is kept of ended jobs, and for how long: by state, by type, by age and by count (R7, R1)."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from harness.server import RealServer
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.console.verify import check_namespace
from seatline.producer import AsyncQueue, Job, Queue
from seatline.shared.calls.workers import Kept
from seatline.shared.errors import InvalidInput, NoSuchJob

TYPES = "abc"


@pytest.fixture
def worker(server: RealServer, namespace: str) -> Iterator[FakeWorker]:
    worker = FakeWorker(server.url, namespace, {type_: {} for type_ in TYPES}, slots=50)
    yield worker
    worker.close()


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


def end(queue: Queue, worker: FakeWorker, type_: str, count: int, outcome: str = "succeeded") -> list[str]:
    """Let so many jobs of a type end; two of three have a token of their own."""
    ids = queue.enqueue_many(Job(type_, token=f"own-{random.getrandbits(60)}" if n % 3 else None) for n in range(count))
    while worker.turn(*worker.held, outcome=outcome, want=50):
        pass
    return ids


def earlier(redis: Redis, queue: Queue, ids: list[str], seconds: int) -> None:
    """Let these jobs have ended so much earlier, in every list that has them."""
    for key in redis.scan_iter(queue.store.keys("finished:*")):
        for job_id in ids:
            if redis.zscore(key, job_id) is not None:
                redis.zincrby(key, -seconds * 1000, job_id)
    redis.hdel(queue.store.keys.about, "passed.succeeded")  # time does not run back by itself
    for job_id in ids:
        redis.hincrby(queue.store.keys.job(job_id), "finished", -seconds * 1000)


def kept(queue: Queue, state: str = "succeeded") -> dict[str, int]:
    return dict(Counter(job.type for job in queue.jobs(state=state)))


def renew(worker: FakeWorker, times: int = 3) -> None:
    for _ in range(times):
        worker.renew()


def sound(queue: Queue) -> None:
    assert check_namespace(queue.settings.url or "", queue.settings.namespace) == []


def test_r7_by_count_and_by_age(queue: Queue, worker: FakeWorker, redis: Redis) -> None:
    """R7: a rule of the namespace counts in place of the workers' own; what is trimmed goes with all its keys."""
    ids = end(queue, worker, "a", 60)
    renew(worker)
    assert kept(queue) == {"a": 60}
    assert queue.retention.set("succeeded", count=20) is None
    renew(worker)
    assert {job.id for job in queue.jobs(state="succeeded")} == set(ids[40:])
    before = queue.retention.set("succeeded", age=dt.timedelta(hours=1))
    assert before is not None
    assert (before.age, before.count) == (7 * 86400, 20)
    earlier(redis, queue, ids[40:50], 3_700)
    renew(worker)
    assert {job.id for job in queue.jobs(state="succeeded")} == set(ids[50:])
    sound(queue)
    with pytest.raises(NoSuchJob):
        queue.job(ids[45])
    left = {key.decode().split(":")[2] for key in redis.scan_iter(queue.store.keys("job:*"))}
    assert left == set(ids[50:])
    assert sum(1 for _ in redis.scan_iter(queue.store.keys("token:*"))) == sum(n % 3 != 0 for n in range(50, 60))


def test_r7_turns_trim_too(queue: Queue, worker: FakeWorker) -> None:
    """R7: a busy worker trims within its turns as much as comes in."""
    queue.retention.set("succeeded", count=100)
    queue.retention.set("succeeded", type="b", count=10)
    for _ in range(5):
        end(queue, worker, "a", 300)
        end(queue, worker, "b", 300)
    found = kept(queue)
    assert 100 <= found["a"] <= 100 + 9 * 50
    assert 10 <= found["b"] <= 10 + 9 * 50
    sound(queue)


def test_r7_a_type_of_its_own(queue: Queue, worker: FakeWorker, redis: Redis) -> None:
    """R7: a type's rule is for its jobs only, longer or shorter; the others are counted without them."""
    queue.retention.set("succeeded", age=3600, count=30)
    queue.retention.set("succeeded", type="a", age=86400, count=50)
    queue.retention.set("succeeded", type="b", age=60, count=5)
    a, b, c = (end(queue, worker, type_, 40) for type_ in TYPES)
    renew(worker)
    assert kept(queue) == {"a": 40, "b": 5, "c": 30}
    assert {job.id for job in queue.jobs(state="succeeded", type="b")} == set(b[35:])
    earlier(redis, queue, [*a, *b[35:38], *c[10:20]], 7_200)
    renew(worker)
    assert kept(queue) == {"a": 40, "b": 2, "c": 20}
    earlier(redis, queue, a[:10], 86_400)
    renew(worker)
    assert kept(queue) == {"a": 30, "b": 2, "c": 20}
    more = end(queue, worker, "c", 15)
    renew(worker)
    assert kept(queue) == {"a": 30, "b": 2, "c": 30}
    assert set(more) <= {job.id for job in queue.jobs(state="succeeded", type="c")}
    sound(queue)


def test_r7_jobs_that_ended_before_their_type_had_a_rule(queue: Queue, worker: FakeWorker, redis: Redis) -> None:
    """R7: they come under it when they would be trimmed by the state's, so what is to be kept longer is."""
    a, b = end(queue, worker, "a", 30), end(queue, worker, "b", 30)
    queue.retention.set("succeeded", age=3600)
    queue.retention.set("succeeded", type="a", age=86400)
    earlier(redis, queue, [*a, *b[:10]], 7_200)
    renew(worker)
    assert kept(queue) == {"a": 30, "b": 20}
    earlier(redis, queue, a[:10], 86_400)
    renew(worker)
    assert kept(queue) == {"a": 20, "b": 20}
    queue.retention.lift("succeeded", "a")
    assert not redis.exists(queue.store.keys("finished:succeeded|a"))
    renew(worker)
    assert kept(queue) == {"b": 20}
    sound(queue)


def test_r7_a_thousand_of_one_moment_are_passed_over(queue: Queue, worker: FakeWorker, redis: Redis) -> None:
    """R7: jobs that are to be kept do not keep the others, however many stand in front."""
    queue.retention.set("succeeded", age=3600)
    queue.retention.set("succeeded", type="a", age=86400)
    a, b = end(queue, worker, "a", 2200), end(queue, worker, "b", 50)
    place, ended = queue.store.keys("finished:succeeded"), (redis.time()[0] - 7_200) * 1000
    for places in (place, f"{place}|a"):
        redis.zadd(places, dict.fromkeys(a, ended))
    for job_id in a:
        redis.hset(queue.store.keys.job(job_id), "finished", ended)
    earlier(redis, queue, b[:20], 7_100)
    renew(worker, 5)
    assert kept(queue) == {"a": 2200, "b": 30}


def test_r7_a_clock_that_was_set_back(queue: Queue, worker: FakeWorker, redis: Redis) -> None:
    """R7: what ends before the moment up to which retention has looked is looked at all the same."""
    queue.retention.set("succeeded", count=10)
    queue.retention.set("succeeded", type="a", count=100)
    redis.hset(queue.store.keys.about, "passed.succeeded", (redis.time()[0] + 3600) * 1000)
    end(queue, worker, "b", 20)
    renew(worker)
    assert kept(queue) == {"b": 10}


def test_r7_interrupted_jobs_wait_for_a_person(
    queue: Queue, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R7, T4: they are trimmed only if somebody has said so, even where a worker hands back more than it keeps."""
    monkeypatch.setattr("rules.fake_worker.Kept", lambda: Kept(count=5))
    end(queue, worker, "a", 60, "interrupted")
    for _ in range(16):
        end(queue, worker, "b", 1, "interrupted")
    renew(worker)
    assert kept(queue, "interrupted") == {"a": 60, "b": 16}
    queue.retention.set("interrupted", type="a", count=5)
    end(queue, worker, "a", 6, "interrupted")
    renew(worker)
    assert kept(queue, "interrupted") == {"a": 65, "b": 16}
    queue.retention.set("interrupted", count=10)
    renew(worker)
    assert kept(queue, "interrupted")["a"] <= 65
    assert sum(kept(queue, "interrupted").values()) < 40
    sound(queue)


def test_r7_what_leaves_by_other_ways_leaves_its_list(queue: Queue, worker: FakeWorker, redis: Redis) -> None:
    """R7: removed, or run again, a job stands in no list of what has ended."""
    queue.retention.set("failed", type="a", count=10)
    ids = end(queue, worker, "a", 4, "failed")
    queue.handle(ids[0]).remove()
    queue.handle(ids[1]).resubmit()
    assert redis.zcard(queue.store.keys("finished:failed|a")) == 2
    worker.settle(*worker.turn(), outcome="failed")
    assert redis.zrank(queue.store.keys("finished:failed|a"), ids[1]) == 2
    sound(queue)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"state": "ready"}, "state: 'ready' is no end"),
        ({"state": "failed", "age": -1}, "age: -1"),
        ({"state": "failed", "age": True}, "age: True"),
        ({"state": "failed", "count": 1.5}, "count: 1.5"),
        ({"state": "failed", "type": "a b"}, "type: 'a b'"),
    ],
)
def test_r4_bad_rules(words: dict[str, object], said: str, queue: Queue) -> None:
    with pytest.raises(InvalidInput, match=said):
        queue.retention.set(**words)  # type: ignore[arg-type]
    assert list(queue.retention) == []


def test_r4_too_many_rules(queue: Queue) -> None:
    for number in range(256):
        queue.retention.set("failed", type=f"t{number}")
    with pytest.raises(InvalidInput, match="256 rules"):
        queue.retention.set("failed", type="one.more")
    assert len(list(queue.retention)) == 256
    assert queue.retention.set("failed", type="t7", count=1) is not None


def test_rules_of_asyncio(server: RealServer, namespace: str) -> None:
    async def main() -> None:
        async with AsyncQueue(server.url, namespace=namespace, comment="less is more") as queue:
            assert await queue.retention.set("failed", count=5) is None
            assert [(rule.state, rule.count) async for rule in queue.retention] == [("failed", 5)]
            stood = await queue.retention.lift("failed")
            assert stood is not None
            assert stood.count == 5
            assert [(act.act, act.on, act.comment) async for act in queue.acts(limit=1)] == [
                ("keep", "failed jobs", "less is more")
            ]

    asyncio.run(main())


@pytest.mark.soak
def test_r7_twenty_thousand(queue: Queue, worker: FakeWorker, redis: Redis) -> None:
    """R7: keys and memory return to within 5 % of the start; ``python -m bench.retention`` does it with a million."""
    queue.retention.set("succeeded", count=1_000)
    queue.retention.set("succeeded", type="b", count=500)

    def run(count: int) -> tuple[int, int]:
        for _ in range(count // 1_000):
            end(queue, worker, "a", 500)
            end(queue, worker, "b", 500)
        renew(worker)
        redis.xtrim(queue.store.keys("events"), 0, approximate=False)  # they are bounded by their own number
        return int(redis.dbsize()), int(redis.info("memory")["used_memory"])

    before, after = run(4_000), run(20_000)
    assert after[0] == pytest.approx(before[0], rel=0.05)
    assert after[1] == pytest.approx(before[1], rel=0.05)
    sound(queue)
