"""Seats: who gets them, and that they come back exactly once (RULES S, C3).

Most tests drive the scripts with fake workers, step by step; where a rule is about processes, there are processes.
Who has the next claim on seats (S6): test_claim_rules.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Child
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.storm import FakeProgram
from rules.support import ProcessWorker, ThreadWorker, Trace, add, idle_slots, waiters

from seatline.producer import Job, Queue
from seatline.producer.why import Reasons, Scene
from seatline.shared.calls import pools as verbs
from seatline.shared.calls.workers import Suspect
from seatline.shared.errors import HandlerDiffers, InvalidInput, NoSuchPool, PoolBusy
from seatline.worker import Context, Handlers, Worker

TESTS = Path(__file__).parents[1]
FAR_BELOW_A_LOOK = 2.5  # an idle worker looks by itself every 5 s
LEASE, RENEW = 1.2, 0.3

Fakes = Callable[..., FakeWorker]


@pytest.fixture
def start_seats(
    server: RealServer, namespace: str, spawn: Callable[..., Child], tmp_path: Path
) -> Callable[..., ProcessWorker]:
    """Start worker processes: type -> what it uses."""

    def start(uses: dict[str, dict[str, int]], **options: Any) -> ProcessWorker:
        words = {"url": server.url, "namespace": namespace, "lease": LEASE, "renew": RENEW, "uses": uses, **options}
        args = [sys.executable, "-m", "rules.seat_worker", json.dumps(words)]
        return ProcessWorker(spawn(args, env={"PYTHONPATH": str(TESTS)}))

    return start


def runs(folder: Path) -> list[tuple[str, str]]:
    """Return what worker processes began, in order: type, id."""
    path = folder / "runs"
    return [(line.split()[0], line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []


def in_use(queue: Queue, *pools: str) -> list[int]:
    return [queue.pools[pool].in_use for pool in pools]


class TestAllOrNone:
    def test_s1_all_pools_or_none(self, queue: Queue, fake: Fakes) -> None:
        """S1: with one of three pools full, nothing is taken of the others; then all at once, and all back."""
        for pool in ("p", "q", "r"):
            queue.pools.set(pool, 2)
        worker = fake(a={"p": 1, "q": 2, "r": 1})
        job = add(queue, "a")
        with queue.pools.session("q"):
            assert worker.turn() == []
            assert in_use(queue, "p", "q", "r") == [0, 1, 0]
        assert worker.turn() == [job]
        assert in_use(queue, "p", "q", "r") == [1, 2, 1]
        worker.settle()
        assert in_use(queue, "p", "q", "r") == [0, 0, 0]

    @pytest.mark.parametrize("outcome", ["succeeded", "failed", "skipped", "cancelled", "returned", "abandoned"])
    def test_s1_every_end_gives_all_back(self, queue: Queue, fake: Fakes, outcome: str) -> None:
        """S1: whatever becomes of the job, the seats of all its pools are free in the same step."""
        queue.pools.set("p", 3)
        queue.pools.set("q", 3)
        worker = fake(a={"p": 1, "q": 2})
        job = add(queue, "a")
        assert worker.turn() == [job]
        worker.settle(outcome=outcome)
        assert in_use(queue, "p", "q") == [0, 0]
        assert [queue.pools[pool].counter for pool in ("p", "q")] == [0, 0]

    def test_s1_no_job_waits_holding_what_another_needs(self, queue: Queue, idle: Fakes) -> None:
        """S1: two jobs that claim the same two pools do not block each other, in whatever order seats come free."""
        for pool in ("p", "q"):
            queue.pools.set(pool, 1)
        first, second = idle(a={"p": 1, "q": 1}), idle(b={"p": 1, "q": 1})
        p, q = idle(p={"p": 1}), idle(q={"q": 1})
        held = [add(queue, "p", 90), add(queue, "q", 90)]
        assert [*p.turn(), *q.turn()] == held
        urgent, other = add(queue, "a", 1), add(queue, "b", 2)
        assert [*second.turn(), *first.turn()] == []
        assert p.turn(*p.held) == []
        assert [*second.turn(), *first.turn()] == []
        q.turn(*q.held)
        assert (first.rung(), second.rung()) == (True, False)
        assert [*second.turn(), *first.turn()] == [urgent]
        first.turn(urgent)
        assert second.rung()
        assert second.turn() == [other]


class TestNeverTooMany:
    def test_s2_in_use_is_the_sum_at_every_moment(
        self, server: RealServer, queue: Queue, start_worker: Callable[..., ThreadWorker]
    ) -> None:
        """S2: an observer sees in one transaction, over and over while workers and a program come and go, that the
        counter is the sum of the sessions and within the capacity."""
        queue.pools.set("p", 3)
        queue.pools.set("q", 2)
        keys, ended = queue.store.keys, threading.Event()
        looks: list[tuple[str, int | None, int]] = []

        def observe() -> None:
            client = server.client()
            while not ended.is_set():
                pipe = client.pipeline(transaction=True)
                for pool in ("p", "q"):
                    pipe.get(keys.pool(pool, "in_use"))
                    pipe.zrange(keys.pool(pool, "sessions"), 0, -1)
                found = pipe.execute()
                for pool, counter, members in (("p", *found[:2]), ("q", *found[2:])):
                    held = sum(int(member.rpartition(b"|")[2]) for member in members)
                    looks.append((pool, None if counter is None else int(counter), held))
            client.close()

        observer = threading.Thread(target=observe)
        observer.start()
        try:
            one, two, both = Trace("a", uses={"p": 1}), Trace("b", uses={"p": 2}), Trace("c", uses={"p": 1, "q": 1})
            for trace in (one, two, both):
                start_worker(trace.handlers, slots=2)
            handles = [queue.enqueue(type_) for type_ in "abcacb" * 30]
            for _ in range(10):
                with queue.pools.session("q", priority=1):
                    pass
            for handle in handles:
                handle.result(timeout=20)
        finally:
            ended.set()
            observer.join()
        assert len(looks) > 100
        assert {held for _, _, held in looks} >= {0, 1, 2}
        assert [look for look in looks if look[1] not in {None, look[2]}] == []
        assert all(0 <= held <= {"p": 3, "q": 2}[pool] for pool, _, held in looks)

    def test_s2_capacity_lowered_below_use(self, queue: Queue, fake: Fakes) -> None:
        """S2: nobody new gets in until what is held fits again; meanwhile it is shown."""
        queue.pools.set("vault", 3)
        worker = fake(a={"vault": 1}, slots=3)
        jobs = [add(queue, "a") for _ in range(5)]
        assert worker.turn() == jobs[:3]
        queue.pools.set("vault", 1)
        assert (queue.pools["vault"].in_use, queue.pools["vault"].capacity, queue.pools["vault"].free) == (3, 1, 0)
        assert worker.turn(jobs[0]) == []
        assert worker.turn(jobs[1]) == []
        assert worker.turn(jobs[2]) == [jobs[3]]
        assert worker.turn() == []

    @pytest.mark.parametrize("loss", ["deleted", "expired"])
    @pytest.mark.parametrize("overdue", [False, True])
    def test_s2_a_lost_counter_is_counted_anew(
        self, redis: Redis, queue: Queue, fake: Fakes, loss: str, overdue: bool
    ) -> None:
        """S2: a counter that is gone is never taken for zero; sessions count by being there, not by their deadline."""
        queue.pools.set("vault", 2)
        counter = queue.store.keys.pool("vault", "in_use")
        holder, other = fake(a={"vault": 1}, slots=2), fake(b={"vault": 1}, slots=2)
        if overdue:
            holder.lease_ms = 1
        held, late = [add(queue, "a"), add(queue, "a")], add(queue, "b")
        assert holder.turn() == held
        if overdue:
            wait_until(lambda: redis.zcount(queue.store.keys("running"), "-inf", _now(redis)) == 2)
        if loss == "deleted":
            redis.delete(counter)
        else:
            redis.pexpire(counter, 1)
            wait_until(lambda: not redis.exists(counter))
        assert other.turn() == []
        assert other.turn() == []
        holder.settle(held[0])
        assert other.turn() == [late]
        assert redis.get(counter) == b"2"


class TestHolderDies:
    def test_s3_seats_of_a_killed_worker_are_back_once(
        self, redis: Redis, queue: Queue, start_seats: Callable[..., ProcessWorker], tmp_path: Path
    ) -> None:
        """S3: a worker is killed; while others live its seats are back within lease + 2 renewal intervals, once."""
        queue.pools.set("vault", 2)
        holder = start_seats({"a": {"vault": 2}})
        lost = queue.enqueue("a", {"folder": str(tmp_path), "hold": True})
        wait_until(lambda: runs(tmp_path) == [("a", lost.id)], 10)
        for _ in range(2):
            start_seats({"b": {"vault": 1}})
        waiting = [queue.enqueue("b", {"folder": str(tmp_path)}) for _ in range(2)]
        wait_until(lambda: waiters(queue, "vault") == [waiting[0].id], 10, "the claim")
        holder.child.kill()
        margin = 1.0  # of a busy machine
        wait_until(lambda: len(runs(tmp_path)) == 3, LEASE + 2 * RENEW + margin, "both seats")
        for handle in waiting:
            handle.result(timeout=5)
        pool = queue.pools["vault"]
        assert (pool.in_use, pool.counter) == (0, 0)
        events: list[Any] = redis.xrange(queue.store.keys("events")) or []
        reaped = [entry[b"reaped"] for _, entry in events if b"reaped" in entry]
        assert reaped == [lost.id.encode() + b":ready"]
        assert lost.state() == "ready"

    def test_s3_reaped_twice_frees_once(self, queue: Queue, fake: Fakes) -> None:
        """S3: two workers that reap the same lease, and the late report of its holder, free its seats once."""
        queue.pools.set("vault", 2)
        holder, one, two = fake(a={"vault": 1}), fake(n={}), fake(a={"vault": 1}, slots=2)
        holder.lease_ms = 1
        lost, other = add(queue, "a"), add(queue, "a")
        assert holder.turn() == [lost]
        assert two.turn(want=1) == [other]
        wait_until(lambda: one.renew().suspects)
        suspects = one.renew().suspects
        assert one.reap(*suspects) == ["interrupted"]
        assert two.reap(*suspects) == ["alive"]
        holder.settle()
        assert holder.states == ["stale"]
        pool = queue.pools["vault"]
        assert (pool.in_use, pool.counter) == (1, 1)


class TestIdempotent:
    def test_s4_a_repeated_turn_takes_no_second_seat(self, queue: Queue, proxy: FaultProxy, idle: Fakes) -> None:
        """S4: the reply of a turn is lost and the turn is sent again: one job, one session, one seat; settled once."""
        queue.pools.set("vault", 5)
        worker = idle(a={"vault": 1}, url=proxy.url)
        job, _ = add(queue, "a"), add(queue, "a")
        proxy.swallow_reply(b"EVALSHA")
        assert worker.turn() == [job]
        assert proxy.faults["swallow_reply"] == 1
        assert in_use(queue, "vault") == [1]
        proxy.swallow_reply(b"EVALSHA")
        worker.settle()
        assert (worker.states, proxy.faults["swallow_reply"]) == (["succeeded"], 2)
        assert (queue.pools["vault"].in_use, queue.pools["vault"].counter) == (0, 0)

    def test_s4_a_program_that_asks_again_holds_the_same_session(
        self, queue: Queue, make_queue: Callable[..., Queue], proxy: FaultProxy
    ) -> None:
        """S4: by a repeat of the request, and by another request of the same owner."""
        queue.pools.set("vault", 5)
        far = make_queue(proxy.url)
        program = FakeProgram(far, "vault", 2, 10)
        far.pools["vault"]
        far.store.run(verbs.set_pool("vault", 5))
        proxy.swallow_reply(b"EVALSHA")
        assert program.ask()
        assert proxy.faults["swallow_reply"] >= 1
        assert program.ask()
        assert [(held.seats, held.kind) for held in queue.pools["vault"].holders] == [(2, "program")]
        assert queue.pools["vault"].counter == 2
        program.close()
        program.close()
        assert (queue.pools["vault"].in_use, queue.pools["vault"].counter) == (0, 0)


class TestNeverStartable:
    @pytest.mark.parametrize("obstacle", ["no pool", "capacity", "external"])
    def test_s5_accepted_and_flagged(self, queue: Queue, idle: Fakes, obstacle: str) -> None:
        """S5: a job that could not start is accepted, says why, claims nothing; others go on, and once it can start it
        does so by itself."""
        queue.pools.set("p", 2)
        if obstacle != "no pool":
            queue.pools.set("vault", 2 if obstacle == "external" else 1)
        if obstacle == "external":
            queue.pools.external("vault", 1)
        worker = idle(a={"p": 1}, slots=2)
        handle = queue.enqueue("a", priority=1, uses={"p": 1, "vault": 2})
        easy = add(queue, "a", 50)
        assert worker.turn() == [easy]
        assert waiters(queue, "p") == []
        (word,) = {"no-pool"} if obstacle == "no pool" else {"seats"}
        obstacles = [each for each in handle.why() if each.reason == word]
        assert obstacles
        assert "vault" in obstacles[0].message
        assert Reasons(Scene.of(queue.store)).of(handle.record()) == word
        if obstacle == "external":
            queue.pools.external("vault", 0)
        else:
            queue.pools.set("vault", 2)
        assert worker.rung()
        assert worker.turn() == [handle.id]

    def test_s5_the_number_of_seats_is_checked_at_enqueue(self, queue: Queue) -> None:
        """S5: what no pool could ever mean is refused."""
        for seats in (0, -1, 1.5, True, 10**9):
            with pytest.raises(InvalidInput, match="uses"):
                queue.enqueue("a", uses={"vault": seats})  # type: ignore[dict-item]


class TestKept:
    def test_s7_the_last_seats_go_to_the_urgent_only(self, queue: Queue, fake: Fakes) -> None:
        """S7: with 2 of 3 kept for priority 10, one less urgent job runs and urgent ones take the rest."""
        queue.pools.set("vault", 3, keep=2, keep_priority=10)
        worker = fake(a={"vault": 1}, slots=5)
        late = [add(queue, "a", 11), add(queue, "a", 11)]
        assert worker.turn() == late[:1]
        urgent = [add(queue, "a", 10), add(queue, "a", 1), add(queue, "a", 1)]
        assert worker.turn() == urgent[1:]


class TestExternal:
    def test_s8_seats_used_outside_are_withheld(self, queue: Queue, idle: Fakes) -> None:
        """S8: they are shown apart and nobody gets them, until another report says they are free."""
        queue.pools.set("vault", 3)
        worker = idle(a={"vault": 1}, slots=3)
        jobs = [add(queue, "a") for _ in range(3)]
        queue.pools.external("vault", 2)
        pool = queue.pools["vault"]
        assert (pool.capacity, pool.external, pool.in_use, pool.free) == (3, 2, 0, 1)
        assert worker.turn() == jobs[:1]
        queue.pools.external("vault", 3)
        assert queue.pools["vault"].free == 0
        queue.pools.external("vault", 1)
        assert worker.rung()
        assert worker.turn() == jobs[1:2]

    def test_s8_a_report_expires(self, queue: Queue, idle: Fakes) -> None:
        """S8: not reported again, the seats count as free."""
        queue.pools.set("vault", 1)
        worker = idle(a={"vault": 1})
        queue.store.run(verbs.set_external("vault", 1, 100))
        job = add(queue, "a")
        assert worker.turn() == []
        wait_until(lambda: worker.turn() == [job], 2)
        assert queue.pools["vault"].external in {0, 1}  # shown in whole seconds

    def test_s8_a_program_that_waits_is_told(self, queue: Queue) -> None:
        """S8: a waiting program is rung when seats are no longer used outside, as it is when a pool grows."""
        queue.pools.set("vault", 2)
        holder = FakeProgram(queue, "vault", 1, 10)
        assert holder.ask()
        queue.pools.external("vault", 0)
        program = FakeProgram(queue, "vault", 2, 10)
        assert not program.ask()
        queue.pools.set("vault", 3)
        assert queue.store.keys.bell(program.bell).encode() in _bells(queue)
        assert program.ask()
        program.close()
        holder.close()


class TestHandover:
    def test_s9_a_freed_seat_rings_who_claims_it(self, queue: Queue, idle: Fakes) -> None:
        """S9: the turn that gives a seat back rings the worker whose job is next for it, and nobody else."""
        queue.pools.set("vault", 1)
        holder = idle(h={"vault": 1})
        assert len([add(queue, "h"), *holder.turn()]) == 2
        later, sooner, deaf = idle(a={"vault": 1}), idle(b={"vault": 1}), idle(n={})
        add(queue, "a", 9)
        job = add(queue, "b", 5)
        assert [*later.turn(), *sooner.turn(), *deaf.turn()] == []
        holder.settle()
        assert (later.rung(), sooner.rung(), deaf.rung()) == (False, True, False)
        assert sooner.turn() == [job]

    def test_s9_many_handovers_need_no_look(
        self, queue: Queue, start_seats: Callable[..., ProcessWorker], tmp_path: Path
    ) -> None:
        """S9: one seat goes to and fro between two processes 100 times; were looks needed it would take minutes."""
        queue.pools.set("vault", 1)
        for type_ in "ab":
            start_seats({type_: {"vault": 1}})
        wait_until(lambda: idle_slots(queue) == 2, 10)
        with queue.pools.session("vault"):
            ids = queue.enqueue_many(Job(type_, {"folder": str(tmp_path)}) for type_ in "ab" * 50)
            wait_until(lambda: waiters(queue, "vault") == ids[:2], 10)
        wait_until(lambda: len(runs(tmp_path)) == len(ids), 8 * FAR_BELOW_A_LOOK)
        assert [job_id for _, job_id in runs(tmp_path)] == ids
        queue.handle(ids[-1]).result(timeout=5)


class TestPrograms:
    def test_s10_a_killed_program_gives_its_seat_back(
        self,
        server: RealServer,
        queue: Queue,
        namespace: str,
        spawn: Callable[..., Child],
        start_seats: Callable[..., ProcessWorker],
        tmp_path: Path,
    ) -> None:
        """S10: its session expires and is reaped by a worker; the job that waits for the seat starts."""
        queue.pools.set("vault", 1)
        args = [sys.executable, "-m", "rules.seat_program", server.url, namespace, "vault", "1"]
        program = spawn(args, env={"PYTHONPATH": str(TESTS)})
        wait_until(lambda: "holds" in program.output(), 10, "the program's session")
        start_seats({"a": {"vault": 1}})
        handle = queue.enqueue("a", {"folder": str(tmp_path)})
        wait_until(lambda: waiters(queue, "vault") == [handle.id], 10)
        assert [(held.kind, held.name) for held in queue.pools["vault"].holders] == [("program", "report")]
        program.kill()
        handle.result(timeout=1 + 2 * RENEW + 2)
        assert (queue.pools["vault"].in_use, queue.pools["vault"].counter) == (0, 0)

    def test_s10_a_session_renews_itself(self, redis: Redis, queue: Queue, idle: Fakes) -> None:
        """S10: longer than its ttl it is held, and nobody who looks can reap it; closed, the seat is free at once."""
        queue.pools.set("vault", 1)
        worker = idle(a={"vault": 1})
        with queue.pools.session("vault", ttl=1) as session:
            (first,) = [each.until.timestamp() * 1000 for each in queue.pools["vault"].holders]
            wait_until(lambda: _now(redis) > first, 3, "the first deadline")
            assert worker.renew().suspects == []
            session.check()
            job = add(queue, "a")
            assert worker.turn() == []
        assert worker.rung()
        assert worker.turn() == [job]

    def test_s10_one_that_was_reaped_is_told(self, queue: Queue, idle: Fakes) -> None:
        """S10: a program that was away too long learns it, and its close takes nothing from who holds the seat now."""
        queue.pools.set("vault", 1)
        worker = idle(a={"vault": 1})
        program = FakeProgram(queue, "vault", 1, 10)
        queue.store.run(verbs.open_session("vault", program.owner, 1, ttl_ms=1, priority=10))
        wait_until(lambda: worker.renew().suspects)
        (suspect,) = worker.renew().suspects
        assert worker.reap(suspect) == ["freed"]
        assert worker.reap(Suspect(suspect.kind, suspect.a, suspect.b, suspect.deadline)) == ["alive"]
        job = add(queue, "a")
        assert worker.turn() == [job]
        assert queue.store.run(verbs.renew_session("vault", program.owner, 1, 60_000)) == 0
        assert not queue.store.run(verbs.close_session("vault", program.owner, 1))
        assert in_use(queue, "vault") == [1]

    def test_s10_a_program_that_gives_up_lets_the_next_in(self, queue: Queue, idle: Fakes) -> None:
        """S10: its claim ends with it, by time-out too, and those behind it are rung."""
        queue.pools.set("vault", 2)
        worker = idle(a={"vault": 1})
        with queue.pools.session("vault", priority=50):
            waiting = FakeProgram(queue, "vault", 2, 1)
            assert not waiting.ask()
            job = add(queue, "a")
            assert worker.turn() == []
            assert not waiting.ask(now_or_never=True)
            assert worker.rung()
            assert worker.turn() == [job]
            worker.settle()
            with pytest.raises(TimeoutError):
                queue.pools.session("vault", seats=2, timeout=0.05).open()
            assert waiters(queue, "vault") == []

    def test_s10_the_claim_of_a_dead_program_lapses(self, queue: Queue, idle: Fakes) -> None:
        """S10: one that died while it waited keeps nobody out for longer than it would have asked again."""
        queue.pools.set("vault", 1)
        worker = idle(a={"vault": 1})
        program = FakeProgram(queue, "vault", 1, 1)
        with queue.pools.session("vault"):
            asked = verbs.open_session("vault", program.owner, 1, ttl_ms=1000, priority=1, asks_ms=200)
            assert queue.store.run(asked)[0] == "waits"
        job = add(queue, "a")
        assert worker.turn() == []
        wait_until(lambda: worker.turn() == [job], 2)
        assert waiters(queue, "vault") == []

    def test_c3_a_program_stands_in_one_line_with_jobs(self, queue: Queue, idle: Fakes) -> None:
        """C3, S10: (priority, arrival) decides, whoever waits: no worker takes a seat again past a waiting program."""
        queue.pools.set("vault", 1)
        worker = idle(a={"vault": 1})
        jobs = [add(queue, "a"), add(queue, "a")]
        assert worker.turn() == jobs[:1]
        equal, urgent = FakeProgram(queue, "vault", 1, 10), FakeProgram(queue, "vault", 1, 1)
        assert not equal.ask()
        last = add(queue, "a")
        assert not urgent.ask()
        assert worker.turn(jobs[0]) == []
        assert [key in _bells(queue) for key in _bell_keys(queue, urgent, equal)] == [True, False]
        assert worker.turn() == []
        assert not equal.ask()
        assert urgent.ask()
        urgent.close()
        assert worker.rung()
        assert not equal.ask()
        assert worker.turn() == jobs[1:]
        assert worker.turn(jobs[1]) == []
        assert equal.ask()
        equal.close()
        assert worker.turn() == [last]

    def test_c3_a_real_program_among_a_stream(self, queue: Queue, start_worker: Callable[..., ThreadWorker]) -> None:
        """C3: the worker that has just freed the seat does not take it again while a program waits."""
        queue.pools.set("vault", 1)
        began: list[str] = []
        ended = threading.Event()

        def work(ctx: Context) -> None:
            began.append(ctx.id)
            ended.wait(0.005)

        handlers = Handlers()
        handlers.handler("a", uses={"vault": 1}, isolation="thread")(work)
        start_worker(handlers)
        stream = queue.enqueue_many(Job("a") for _ in range(1000))
        wait_until(lambda: len(began) > 5)
        with queue.pools.session("vault", priority=1, timeout=FAR_BELOW_A_LOOK):
            seen = len(began)
            assert seen < len(stream)
            assert [each.kind for each in queue.pools["vault"].holders] == ["program"]
        ended.set()
        wait_until(lambda: len(began) == len(stream), 10)

    def test_s10_what_could_never_be_had_is_told_at_once(self, queue: Queue) -> None:
        """S10: more seats than there are, and a pool that does not exist; one that is held is not removed."""
        queue.pools.set("vault", 1)
        with pytest.raises(InvalidInput, match="can never be had"):
            queue.pools.session("vault", seats=2).open()
        with pytest.raises(NoSuchPool):
            queue.pools.session("none").open()
        with queue.pools.session("vault"), pytest.raises(PoolBusy):
            queue.pools.remove("vault")


class TestKeptUses:
    @pytest.mark.parametrize("way", ["returned", "abandoned", "reaped", "moved", "resubmitted"])
    def test_s11_what_comes_back_keeps_its_seats(self, queue: Queue, fake: Fakes, way: str) -> None:
        """S11: handed back, reaped, moved or resubmitted, the job takes what it was enqueued with."""
        queue.pools.set("vault", 3)
        worker = fake(a={"vault": 1}, if_lost="rerun")
        handle = queue.enqueue("a", uses={"vault": 3})
        if way == "moved":
            handle.move(priority=1)
        elif way == "reaped":
            worker.lease_ms, other = 1, fake(n={})
            worker.turn()
            wait_until(lambda: other.renew().suspects)
            assert other.reap(*other.renew().suspects) == ["ready"]
            worker.held.clear()
            worker.lease_ms = 60_000
        else:
            worker.turn()
            worker.settle(outcome="failed" if way == "resubmitted" else way)
            if way == "resubmitted":
                handle.resubmit()
        assert in_use(queue, "vault") == [0]
        assert worker.turn() == [handle.id]
        assert (handle.record().uses, handle.record().seats) == ({"vault": 3}, {"vault": 3})
        assert in_use(queue, "vault") == [3]

    def test_s11_seats_of_an_earlier_attempt_are_forgotten(self, queue: Queue, fake: Fakes) -> None:
        """S11: the type's handlers use nothing any more when the job runs again: its record says so."""
        queue.pools.set("vault", 1)
        before = fake(a={"vault": 1})
        handle = queue.enqueue("a")
        before.turn()
        before.settle(outcome="returned")
        before.leave()
        after = fake(a={})
        assert after.turn() == [handle.id]
        assert handle.record().seats == {}


class TestShown:
    def test_s12_holders_and_waiters_in_order(self, queue: Queue, idle: Fakes) -> None:
        """S12: a pool names who holds its seats, how many and until when, and who waits, the next first."""
        queue.pools.set("vault", 3)
        holder = idle(h={"vault": 2})
        held = add(queue, "h")
        assert holder.turn() == [held]
        with queue.pools.session("vault", name="nightly") as session:
            workers = [idle({type_: {"vault": 2}}) for type_ in "abc"]
            jobs = [add(queue, type_, priority) for type_, priority in (("a", 9), ("b", 5), ("c", 5))]
            assert [worker.turn() for worker in workers] == [[], [], []]
            program = FakeProgram(queue, "vault", 1, 7)
            assert not program.ask()
            pool = queue.pools["vault"]
            assert [(each.kind, each.name, each.seats) for each in pool.holders] == [
                ("job", held, 2),
                ("program", "nightly", 1),
            ] or [(each.kind, each.name, each.seats) for each in pool.holders] == [
                ("program", "nightly", 1),
                ("job", held, 2),
            ]
            assert all(each.until > queue.job(held).started for each in pool.holders)  # type: ignore[operator]
            assert waiters(queue, "vault") == [jobs[1], jobs[2], "p", jobs[0]]
            assert session.owner in {each.owner for each in pool.holders}
            assert [each.name for each in queue.pools.list()] == ["vault"]
            program.close()

    def test_s12_why_names_pool_and_holders(self, queue: Queue, idle: Fakes) -> None:
        """S12, C11: no free seat: the job waits, uncounted, and says which pool and who holds it."""
        queue.pools.set("vault", 1)
        worker = idle(a={"vault": 1}, n={})
        handle, other = queue.enqueue("a", priority=1), add(queue, "n", 50)
        with queue.pools.session("vault", name="nightly"):
            assert worker.turn() == [other]
            (obstacle,) = [each for each in handle.why() if each.reason == "seats"]
            assert "vault" in obstacle.message
            assert "nightly" in obstacle.message
            assert (handle.state(), handle.record().attempt) == ("ready", 0)


class TestUses:
    def test_s13_own_uses_win_and_none_is_none(self, queue: Queue, fake: Fakes) -> None:
        """S13: absent = the type's, resolved at reserve, also for jobs enqueued before any worker was there."""
        queue.pools.set("p", 5)
        queue.pools.set("q", 5)
        types, own, none = queue.enqueue("a"), queue.enqueue("a", uses={"q": 2}), queue.enqueue("a", uses={})
        worker = fake(a={"p": 1}, slots=3)
        assert worker.turn() == [types.id, own.id, none.id]
        assert [each.record().seats for each in (types, own, none)] == [{"p": 1}, {"q": 2}, {}]
        assert in_use(queue, "p", "q") == [1, 2]

    def test_s13_own_lines_keep_the_common_order(self, queue: Queue, fake: Fakes) -> None:
        """S13: jobs that say what they use stand in lines of their own, and go out in the common order all the same."""
        queue.pools.set("p", 9)
        uses: list[dict[str, int] | None] = [None, {}, {"p": 2}, None, {"p": 1}, {}, {"p": 2}, None]
        jobs = [add(queue, "a", uses=each) for each in uses]
        worker = fake(a={"p": 1})
        order: list[str] = []
        while taken := worker.turn(*worker.held):
            order += taken
        assert order == jobs

    def test_s13_a_worker_that_differs_refuses_to_start(
        self, queue: Queue, server: RealServer, namespace: str, start_worker: Callable[..., ThreadWorker]
    ) -> None:
        """S13: the error names the type, what both say, and the live worker."""
        live, differs = Trace("a", "b", uses={"vault": 1}), Trace("a", uses={"vault": 2})
        running = start_worker(live.handlers)
        wait_until(lambda: queue.store.keys(f"worker:{running.worker.id}").encode() in _keys(queue))
        with pytest.raises(HandlerDiffers) as refused:
            Worker(differs.handlers, server.url, namespace=namespace).run(burst=True)
        for part in ("type a", "vault=2", "vault=1", running.worker.id, "pid"):
            assert part in str(refused.value)
        running.stop()
        Worker(differs.handlers, server.url, namespace=namespace).run(burst=True)

    @pytest.mark.parametrize("way", ["left", "died"])
    def test_s13_changed_uses_are_accepted_once_the_old_is_gone(self, queue: Queue, fake: Fakes, way: str) -> None:
        """S13: a worker that restarts with other handlers is accepted when the last one left, or its presence ended."""
        queue.pools.set("vault", 5)
        old = fake(a={"vault": 1})
        job = queue.enqueue("a")
        if way == "left":
            old.leave()
        else:
            with pytest.raises(HandlerDiffers):
                fake(a={"vault": 3})
            old.offer(presence=0.05)
            wait_until(lambda: queue.store.keys(f"worker:{old.id}").encode() not in _keys(queue))
        new = fake(a={"vault": 3})
        assert new.turn() == [job.id]
        assert in_use(queue, "vault") == [3]


def _now(redis: Redis) -> int:
    seconds, micros = redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


def _keys(queue: Queue) -> list[bytes]:
    with RedisOf(queue) as client:
        return list(map(_bytes, client.keys(queue.store.keys("*"))))


def _bytes(key: bytes | str) -> bytes:
    return key if isinstance(key, bytes) else key.encode()


def _bells(queue: Queue) -> list[bytes]:
    return [key for key in _keys(queue) if b"}:bell:" in key]


def _bell_keys(queue: Queue, *programs: FakeProgram) -> list[bytes]:
    return [queue.store.keys.bell(program.bell).encode() for program in programs]


class RedisOf:
    """A raw client of a queue's server, for one look."""

    def __init__(self, queue: Queue) -> None:
        self._client = Redis.from_url(queue.store.url, retry=None)

    def __enter__(self) -> Redis:
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()
