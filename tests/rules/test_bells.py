"""Bells: whoever is idle and could start something is rung, as many as can, and nobody has to look by himself (DESIGN 5.6).

Fake workers act only when the test says so; a worker that would start something without having been rung is a lost ring.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.storm import Storm
from rules.support import Gate, ThreadWorker, Trace, idle_slots

from seatline.producer import Job, Queue
from seatline.worker import Context, Handlers

FAR_BELOW_A_LOOK = 2.5  # an idle worker looks by itself every 5 s

Fakes = Callable[..., FakeWorker]


@pytest.fixture
def idle(server: RealServer, namespace: str) -> Iterator[Fakes]:
    """Make fake workers for types that use nothing, ``idle("a", "b", slots=2)``, that have looked and found nothing."""
    made: list[FakeWorker] = []

    def make(*types: str, **options: Any) -> FakeWorker:
        made.append(FakeWorker(server.url, namespace, {type_: {} for type_ in types}, **options))
        assert made[-1].turn() == []
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def rung(*workers: FakeWorker) -> int:
    return sum(worker.rung() for worker in workers)


def registrations(redis: Redis, queue: Queue, worker: FakeWorker) -> list[tuple[bytes, float]]:
    """Return who is registered idle for the worker's offer, with the slots that may be rung for."""
    found: Any = redis.zrange(queue.store.keys(f"idle:{worker.digest}"), 0, -1, withscores=True)
    return list(found)


class TestAsManyAsNeeded:
    @pytest.mark.parametrize("jobs", [1, 3, 5, 9])
    def test_k_jobs_ring_k_workers(self, queue: Queue, idle: Fakes, jobs: int) -> None:
        """DESIGN 5.6: in one call, as many idle workers as there are jobs, and not all of them."""
        workers = [idle("a") for _ in range(5)]
        deaf = idle("b")
        queue.enqueue_many(Job("a") for _ in range(jobs))
        assert (rung(*workers), deaf.rung()) == (min(jobs, 5), False)

    def test_k_calls_ring_k_workers(self, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6: a ring takes slots off the announcement, so the next ring goes to the next worker."""
        workers = [idle("a") for _ in range(5)]
        for count in range(1, 6):
            queue.enqueue("a")
            assert rung(*workers) == count

    def test_a_worker_is_rung_for_all_its_slots(self, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6: four slots are one worker to ring, with most slots first."""
        wide, narrow = idle("a", slots=4), idle("a")
        ids = queue.enqueue_many(Job("a") for _ in range(4))
        assert (wide.rung(), narrow.rung()) == (True, False)
        assert wide.turn() == ids

    def test_a_bell_holds_one_ring_and_expires(self, redis: Redis, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6: a worker that does not hear does not collect rings."""
        worker = idle("a", slots=4)
        for _ in range(8):
            queue.enqueue("a")
        bell = queue.store.keys.bell(worker.bell)
        assert redis.llen(bell) == 1
        assert 0 < redis.pttl(bell) <= 30_000

    def test_several_offers_with_one_type(self, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6: workers that support other types besides are rung for those they share."""
        workers = [idle("a"), idle("a", "b"), idle("b", "c", "a")]
        queue.enqueue_many(Job("a") for _ in range(3))
        assert rung(*workers) == 3


class TestPassedOn:
    def test_a_turn_that_leaves_startable_work_rings_the_next(self, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6: rung for three slots, the worker takes one job; what is left is handed on from turn to turn."""
        wide, narrow = idle("a", slots=3), [idle("a"), idle("a")]
        ids = queue.enqueue_many(Job("a") for _ in range(3))
        assert (wide.rung(), rung(*narrow)) == (True, 0)
        assert wide.turn(want=1) == ids[:1]
        assert rung(*narrow) == 1
        narrow.sort(key=FakeWorker.rung, reverse=True)
        assert narrow[0].turn() == ids[1:2]
        assert narrow[1].rung()
        assert narrow[1].turn() == ids[2:]

    def test_a_ring_that_met_something_more_urgent(self, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6: rung for b, the worker takes an urgent a instead; the b is for the other who is idle, although the
        first job that is left, another a, is for nobody."""
        other = idle("b", "c")
        both = idle("a", "b")  # the offer told last is rung first
        left = queue.enqueue("b")
        assert (both.rung(), other.rung()) == (True, False)
        urgent, _ = queue.enqueue("a", priority=1), queue.enqueue("a", priority=1)
        assert both.turn() == [urgent.id]
        assert other.rung()
        assert other.turn() == [left.id]

    @pytest.mark.parametrize("more", [0, 40])
    def test_every_line_is_passed_on(self, queue: Queue, idle: Fakes, more: int) -> None:
        """DESIGN 5.6: of each kind of work that a turn leaves, one worker is rung; also by who is served from an index."""
        specialists = [idle("b"), idle("c"), idle("d")]
        generalist = idle("a", "b", "c", *(f"m{number}" for number in range(more)), slots=2)
        queue.enqueue_many([Job("b"), Job("c")])
        assert (generalist.rung(), rung(*specialists)) == (True, 0)
        queue.enqueue_many(Job("a", priority=1) for _ in range(3))
        assert len(generalist.turn()) == 2
        assert [worker.rung() for worker in specialists] == [True, True, False]

    def test_who_stops_hands_on_what_he_was_rung_for(self, queue: Queue, idle: Fakes) -> None:
        """C13, DESIGN 5.6: the last turn of a worker that stops takes nothing; the next is rung instead."""
        first, second = idle("a", slots=2), idle("a")
        job = queue.enqueue("a")
        assert (first.rung(), second.rung()) == (True, False)
        first.turn(want=0)
        assert second.rung()
        assert second.turn() == [job.id]

    def test_a_stopping_worker_is_not_rung(self, queue: Queue, start_worker: Callable[..., ThreadWorker]) -> None:
        """C13: while it lets its last job end, work is for others: it starts without anybody's look."""
        gate = Gate(deaf=True)
        stopping, other = Handlers(), Trace("a", "b")
        stopping.handler("hold")(gate.run)
        stopping.handler("a")(gate.run)
        leaving = start_worker(stopping, slots=8)
        held = queue.enqueue("hold")
        wait_until(lambda: gate.begun == [held.id] and idle_slots(queue) == 7)
        start_worker(other.handlers)
        wait_until(lambda: idle_slots(queue) == 8)
        leaving.worker.stop()
        wait_until(lambda: idle_slots(queue) == 1, FAR_BELOW_A_LOOK, "the stopping worker off the list")
        began = time.monotonic()
        for _ in range(5):
            queue.enqueue("a").result(timeout=5)
        assert time.monotonic() - began < FAR_BELOW_A_LOOK
        gate.opened.set()
        leaving.wait()

    def test_a_busy_worker_is_idle_itself(self, queue: Queue, start_worker: Callable[..., ThreadWorker]) -> None:
        """DESIGN 5.6: while all its slots work, a worker waits for their end; looks that are due meanwhile cost nothing."""
        gate = Gate(deaf=True)
        handlers = Handlers()

        @handlers.handler("hold")
        def hold(ctx: Context) -> None:
            gate.begun.append(ctx.id)
            gate.opened.wait(30)

        worker = start_worker(handlers, lease=30, renew=10)
        wait_until(lambda: idle_slots(queue) == 1)
        held = queue.enqueue("hold")
        wait_until(lambda: gate.begun == [held.id])
        worker.worker._turns.look_at = 0.0  # five seconds later
        worker.worker._crew.woken.put(None)
        before, cpu = time.monotonic(), time.process_time()
        gate.opened.wait(0.5)
        assert time.process_time() - cpu < 0.2 * (time.monotonic() - before)
        gate.opened.set()
        held.result(timeout=5)


class TestGone:
    def test_a_dead_registration_is_dropped(self, redis: Redis, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6: who has not looked again in time is gone: dropped, and the next one is rung instead."""
        dead, alive = idle("a", slots=4, block=0.01), idle("a")
        until = int(redis.hget(queue.store.keys(f"worker:{dead.id}"), "idle_until") or 0)
        wait_until(lambda: _now(redis) > until, 3)
        job = queue.enqueue("a")
        assert (dead.rung(), alive.rung()) == (False, True)
        assert [name for name, _ in registrations(redis, queue, dead)] == [alive.id.encode()]
        assert alive.turn() == [job.id]

    def test_a_rung_worker_stays_registered_until_it_looks(self, redis: Redis, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6, S6: with no slot to be rung for; its turn writes the registration anew or ends it."""
        worker = idle("a")
        first = queue.enqueue("a")
        assert registrations(redis, queue, worker) == [(worker.id.encode(), 0.0)]
        assert worker.turn() == [first.id]
        assert registrations(redis, queue, worker) == []
        assert worker.turn(first.id) == []
        assert registrations(redis, queue, worker) == [(worker.id.encode(), 1.0)]
        worker.leave()
        assert registrations(redis, queue, worker) == []


class TestGates:
    def test_a_paused_type_rings_nobody(self, queue: Queue, idle: Fakes) -> None:
        """Q19: jobs of a paused type wait in silence; resume rings as for new ones."""
        worker = idle("a", "b")
        queue.pause("a")
        job = queue.enqueue("a")
        assert not worker.rung()
        assert worker.turn() == []
        queue.resume("a")
        assert worker.rung()
        assert worker.turn() == [job.id]

    def test_a_paused_namespace_starts_nothing(self, queue: Queue, idle: Fakes) -> None:
        """Q19: resume rings everybody who is idle."""
        workers = [idle("a"), idle("b")]
        queue.pause()
        jobs = [queue.enqueue("a").id, queue.enqueue("b").id]
        assert [worker.turn() for worker in workers] == [[], []]
        queue.resume()
        assert rung(*workers) == 2
        assert [worker.turn() for worker in workers] == [jobs[:1], jobs[1:]]


class TestAlarm:
    def test_one_idle_worker_holds_the_alarm(self, queue: Queue, idle: Fakes) -> None:
        """DESIGN 5.6: of all who wait, one is told when the next job is due."""
        queue.enqueue("a", delay=30)
        first, second = idle("a"), idle("b")
        assert 0 < first.due <= 30_000
        assert second.due == -1
        assert first.turn() == []
        assert first.due > 0

    def test_a_due_job_starts_whoever_holds_the_alarm(self, queue: Queue, idle: Fakes) -> None:
        """T1: the holder's look moves it to its line and rings a worker that supports it."""
        queue.enqueue("a", delay=0.05)
        holder, worker = idle("b"), idle("a")
        wait_until(lambda: holder.turn() == [] and worker.rung(), 2)
        assert len(worker.turn()) == 1

    def test_an_earlier_due_job_rings_the_holder(self, queue: Queue, idle: Fakes) -> None:
        """T1: the alarm was set for later; whoever holds it sets it anew, nobody else is woken."""
        queue.enqueue("a", delay=40)
        holder, other = idle("a"), idle("a")
        queue.enqueue("a", delay=50)
        assert rung(holder, other) == 0
        queue.enqueue("a", delay=20)
        assert (holder.rung(), other.rung()) == (True, False)
        assert holder.turn() == []
        assert holder.due <= 20_000

    def test_the_first_due_job_finds_a_holder(self, queue: Queue, idle: Fakes) -> None:
        """T1: nothing was due soon when they went to sleep, so nobody holds the alarm: one is woken to hold it."""
        workers = [idle("a"), idle("b")]
        queue.enqueue("a", delay=20)
        assert rung(*workers) == 1
        (holder,) = [worker for worker in workers if worker.rung()]
        assert holder.turn() == []
        assert 0 < holder.due <= 20_000

    def test_a_holder_that_gets_work_hands_the_alarm_on(self, queue: Queue, idle: Fakes) -> None:
        """T1: who is busy would not look in time."""
        queue.enqueue("a", delay=30)
        holder, other = idle("a"), idle("b")
        job = queue.enqueue("a")
        assert holder.turn() == [job.id]
        assert other.rung()
        assert other.turn() == []
        assert other.due > 0

    @pytest.mark.parametrize("last_turn", [True, False])
    def test_a_holder_that_leaves_hands_the_alarm_on(self, queue: Queue, idle: Fakes, last_turn: bool) -> None:
        """T1: also to a worker of other types."""
        queue.enqueue("a", delay=30)
        holder, other = idle("a"), idle("b")
        holder.leave(last_turn=last_turn)
        assert other.rung()
        assert other.turn() == []
        assert other.due > 0

    def test_the_alarm_of_a_dead_holder_is_taken_over(self, queue: Queue, idle: Fakes) -> None:
        """T1: the alarm ends with the holder's look; the next who looks takes it."""
        queue.enqueue("a", delay=0.9)
        dead = idle("a", block=1.0)
        other = idle("a", block=10.0)
        assert (dead.due > 0, other.due) == (True, -1)
        found: list[str] = []

        def looks() -> list[str]:
            found.extend(other.turn())
            return found

        wait_until(looks, 3)

    def test_a_delayed_job_needs_no_look(self, queue: Queue, start_worker: Callable[..., ThreadWorker]) -> None:
        """T1: an idle worker with nothing scheduled sleeps for 5 s; jobs due sooner run when they are due."""
        trace = Trace("a")
        start_worker(trace.handlers)
        for _ in range(3):
            wait_until(lambda: idle_slots(queue) == 1)
            queue.enqueue("a", delay=0.2).result(timeout=FAR_BELOW_A_LOOK)


class TestWhateverHappens:
    @pytest.mark.parametrize("wide", [False, True])
    @pytest.mark.parametrize("seed", range(20))
    def test_no_ring_is_lost_and_no_claim_overtaken(
        self, server: RealServer, namespace: str, queue: Queue, redis: Redis, seed: int, wide: bool
    ) -> None:
        """DESIGN 5.2, 5.6, S2, S6, C3: a random run of everything that touches seats; see ``storm.py``."""
        storm = Storm(server.url, namespace, queue, redis, seed, wide=wide)
        try:
            storm.steps(60)
        finally:
            storm.close()


def _now(redis: Redis) -> int:
    seconds, micros = redis.time()
    return int(seconds) * 1000 + int(micros) // 1000
