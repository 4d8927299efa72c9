"""The real licence server refuses: its pool is closed for a while, and opens again by itself (C16)."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import ThreadWorker, Trace, idle_slots

from seatline.producer import Queue
from seatline.producer.why import Reasons, Scene
from seatline.shared.calls import pools, reads
from seatline.shared.errors import NoSuchPool

LONG = 60_000

Fakes = Callable[..., FakeWorker]


@pytest.fixture
def fake(server: RealServer, namespace: str) -> Iterator[Fakes]:
    """Make fake workers: ``fake(a={"vault": 1}, slots=2)``."""
    with contextlib.ExitStack() as made:

        def make(*, slots: int = 1, **uses: dict[str, int]) -> FakeWorker:
            worker = FakeWorker(server.url, namespace, uses, slots=slots)
            made.callback(worker.close)
            return worker

        yield make


def refuse(queue: Queue, least_ms: int = LONG, most_ms: int = 10 * LONG, pool: str = "vault") -> int:
    return queue.store.run(pools.refused_pool(pool, least_ms, most_ms, "w1"))


def length(queue: Queue, redis: Redis) -> int:
    """Return how long the last refusal is or was (ms)."""
    return int((redis.get(queue.store.keys.pool("vault", "refused")) or b"0 0").split()[1])


def ended(queue: Queue, redis: Redis, *, ago: int) -> None:
    """Let the refusal have ended so long ago (ms): what it says of itself is set back, and nobody waits."""
    now = queue.store.read(reads.server_time())
    key = queue.store.keys.pool("vault", "refused")
    redis.set(key, f"{now - ago} {length(queue, redis)} w1", keepttl=True)


def passed(queue: Queue, until: int) -> None:
    """Wait until the server's clock is past a moment (epoch ms)."""
    wait_until(lambda: queue.store.read(reads.server_time()) > until)


class TestClosed:
    def test_c16_nobody_new_gets_in_and_holders_stay(self, queue: Queue, fake: Fakes) -> None:
        """C16, S2: who runs keeps its seats and settles; who waits goes on waiting, uncounted; others start."""
        queue.pools.set("vault", 3)
        worker = fake(a={"vault": 1}, b={}, slots=4)
        runs, waits = queue.enqueue("a"), queue.enqueue("a", priority=50)
        assert worker.turn(want=1) == [runs.id]
        refuse(queue)
        other = queue.enqueue("b", priority=90)
        assert worker.turn() == [other.id]
        assert queue.pools["vault"].in_use == 1
        assert worker.renew().words == ["held", "held"]
        assert worker.turn(runs.id) == []
        pool = queue.pools["vault"]
        assert (pool.in_use, pool.counter, pool.free, pool.capacity) == (0, 0, 0, 3)
        assert not worker.rung(), "a seat that comes free rings nobody: it cannot be had"
        assert (waits.state(), waits.record().attempt) == ("ready", 0)

    def test_c16_why_says_so(self, queue: Queue, fake: Fakes) -> None:
        """C16, W1: the obstacle names the pool and when it is tried again; only jobs that need it have it."""
        queue.pools.set("vault", 3)
        worker = fake(a={"vault": 1}, b={})
        needs, free = queue.enqueue("a"), queue.enqueue("b", priority=50)
        until = dt.datetime.fromtimestamp(refuse(queue) / 1000, dt.UTC)
        (obstacle,) = [each for each in needs.why() if each.reason == "seats"]
        assert obstacle.message == f"pool vault: the licence server refused; tried again at {until:%T} UTC."
        assert obstacle.action == "Wait; or, if it is mended: seatline pools set vault 3"
        assert "seats" not in {each.reason for each in free.why()}
        assert Reasons(Scene.of(queue.store)).of(needs.record()) == "seats"
        assert queue.pools["vault"].refused_until == until
        assert worker.turn() == [free.id]

    def test_c16_claims_lapse_while_it_lasts(self, queue: Queue, fake: Fakes) -> None:
        """C16, S6: who waits for a refused pool keeps no seats of another one from those behind; after it, it does again."""
        queue.pools.set("vault", 1)
        queue.pools.set("gpu", 1)
        both, behind = fake(a={"vault": 1, "gpu": 1}), fake(b={"gpu": 1})
        with queue.pools.session("vault"):
            urgent = queue.enqueue("a", priority=1)
            assert both.turn() == []
            later = queue.enqueue("b")
            assert behind.turn() == []
            behind.answer()
            refuse(queue)
            assert behind.rung()
            assert behind.turn() == [later.id]
        assert not both.rung()
        queue.pools.set("vault", 1)
        behind.turn(later.id)
        assert both.turn() == [urgent.id]

    def test_c16_a_program_waits(self, queue: Queue) -> None:
        """C16, S10: a program that asks meanwhile has its place in the line, and is not told 'never'."""
        queue.pools.set("vault", 1)
        until = refuse(queue, 200)
        with pytest.raises(TimeoutError):
            queue.pools.session("vault", timeout=0).open()
        asks: dict[str, Any] = {"ttl_ms": LONG, "priority": 10, "asks_ms": 8_000}
        word, place = queue.store.run(pools.open_session("vault", "program:p:tok", 1, **asks))
        assert word == "waits"
        passed(queue, until)
        late = queue.pools.session("vault", timeout=0)
        with pytest.raises(TimeoutError):
            late.open()
        word, _ = queue.store.run(pools.open_session("vault", "program:p:tok", 1, place=place, **asks))
        assert word == "ok"
        assert queue.store.run(pools.close_session("vault", "program:p:tok", 1))

    def test_c16_external_use_and_a_refusal_do_not_add_up(self, queue: Queue, fake: Fakes) -> None:
        """C16, S8: when the refusal is over the external report counts as before."""
        queue.pools.set("vault", 2)
        queue.pools.external("vault", 1)
        worker = fake(a={"vault": 1}, slots=2)
        first, _second = queue.enqueue("a"), queue.enqueue("a")
        until = refuse(queue, 100)
        assert worker.turn() == []
        assert (queue.pools["vault"].external, queue.pools["vault"].free) == (1, 0)
        passed(queue, until)
        assert queue.pools["vault"].free == 1
        assert worker.turn() == [first.id]

    def test_c16_a_pool_that_is_not_there(self, queue: Queue, redis: Redis) -> None:
        """C16: a refusal makes no pool."""
        with pytest.raises(NoSuchPool, match="pool vault: no such pool"):
            refuse(queue)
        assert not redis.exists(queue.store.keys.pool("vault"))


class TestHowLong:
    def test_c16_it_doubles_up_to_the_most(self, queue: Queue, redis: Redis) -> None:
        """C16: 30 s, then 60, 120, 240, 300, 300; while one lasts another changes nothing."""
        queue.pools.set("vault", 1)
        lengths: list[int] = []
        for _ in range(6):
            until = refuse(queue, 30_000, 300_000)
            assert refuse(queue, 1, 1) == until
            lengths.append(length(queue, redis))
            ended(queue, redis, ago=1)
        assert lengths == [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]

    def test_c16_after_a_good_while_it_begins_anew(self, queue: Queue, redis: Redis) -> None:
        """C16: a refusal that comes later than the last one's own length is the first again."""
        queue.pools.set("vault", 1)
        refuse(queue)
        ended(queue, redis, ago=LONG - 5_000)
        refuse(queue)
        assert length(queue, redis) == 2 * LONG
        ended(queue, redis, ago=2 * LONG)
        refuse(queue)
        assert length(queue, redis) == LONG

    def test_c16_setting_the_pool_forgets_it(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C16: an operator who sets the pool says that it is good: idle workers are rung, and the next refusal is a first."""
        queue.pools.set("vault", 1)
        worker = fake(a={"vault": 1})
        handle = queue.enqueue("a")
        refuse(queue)
        assert worker.turn() == []
        assert not worker.rung()
        queue.pools.set("vault", 1)
        assert queue.pools["vault"].refused_until is None
        assert worker.rung()
        assert worker.turn() == [handle.id]
        refuse(queue, 77)
        assert length(queue, redis) == 77

    def test_c16_when_it_is_over_jobs_start_by_themselves(
        self, queue: Queue, start_worker: Callable[..., ThreadWorker]
    ) -> None:
        """C16, W2: nobody is rung for it; an idle worker finds out when it looks by itself, within 5 s."""
        queue.pools.set("vault", 1)
        trace = Trace("a", uses={"vault": 1})
        start_worker(trace.handlers)
        wait_until(lambda: idle_slots(queue) == 1)
        refuse(queue, 1_000)
        handle = queue.enqueue("a")
        assert handle.why()
        handle.wait(timeout=9)
        assert trace.ids == [handle.id]
        assert handle.record().attempt == 1
