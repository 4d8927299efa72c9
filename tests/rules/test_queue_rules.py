"""Order, priority, visibility, and what people do to jobs: rules Q1 to Q26 as far as no worker process is needed."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.support import Gate, ThreadWorker, Trace, assert_one_place, idle_slots, job_hash, places

from seatline.producer import Job, Queue
from seatline.shared.errors import InvalidInput, NoSuchJob, ServerRefused, WrongState
from seatline.worker import Context, Handlers, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]


def test_q1_the_least_number_is_the_most_urgent(queue: Queue, burst: Burst) -> None:
    """Q1: ready jobs with priorities 100, 1, 10 are reserved as 1, 10, 100."""
    ids = {priority: queue.enqueue("a", priority=priority).id for priority in (100, 1, 10)}
    trace = Trace("a")
    burst(trace.handlers)
    assert trace.ids == [ids[1], ids[10], ids[100]]


def test_q1_priorities_are_numbers_and_not_text(queue: Queue, burst: Burst) -> None:
    """Q1: 2 is before 10, and the largest priority that is allowed is told from the one before it."""
    order = [1, 2, 9, 10, 11, 99, 100, 1000, 2**53 - 2, 2**53 - 1]
    shuffled = random.Random(1).sample(order, len(order))
    priorities = {queue.enqueue("a", priority=priority).id: priority for priority in shuffled}
    trace = Trace("a")
    burst(trace.handlers)
    assert [priorities[job_id] for job_id in trace.ids] == order


def test_q2_one_thousand_of_one_priority_leave_in_order(queue: Queue, burst: Burst) -> None:
    """Q2: 1,000 jobs of one priority, enqueued one after another, are reserved exactly in that order."""
    handles = [queue.enqueue("a", {"n": n}) for n in range(1000)]
    records = [handle.record().created_ms for handle in handles]
    assert len(set(records)) < 1000, "some must share a millisecond, or the test does not tell a clock from a sequence"
    trace = Trace("a")
    burst(trace.handlers)
    assert trace.ids == [handle.id for handle in handles]


def test_q2_the_order_holds_over_several_producers(make_queue: Callable[..., Queue], burst: Burst) -> None:
    """Q2: what one client was told before another began comes before it, whoever asks, alone or in bulk."""
    clients = [make_queue() for _ in range(3)]
    ids: list[str] = []
    for turn in range(30):
        client = clients[turn % 3]
        ids += client.enqueue_many(Job("a") for _ in range(4)) if turn % 2 else [client.enqueue("a").id]
    trace = Trace("a")
    burst(trace.handlers, slots=1)
    assert trace.ids == ids == sorted(ids)


def test_q3_a_worker_for_one_type_leaves_the_other_alone(
    queue: Queue, burst: Burst, redis: Redis, namespace: str
) -> None:
    """Q3: a worker for b alone gets B; A, more urgent, is untouched: same state, same place."""
    a, b = queue.enqueue("a", priority=1), queue.enqueue("b", priority=7)
    before = job_hash(redis, namespace, a.id)
    trace = Trace("b")
    burst(trace.handlers)
    assert trace.ids == [b.id]
    assert job_hash(redis, namespace, a.id) == before
    assert places(redis, namespace)[a.id] == ["ready:a"]
    assert a.state() == "ready"


def test_q5_what_is_no_priority_is_refused(queue: Queue, redis: Redis) -> None:
    """Q5: 0, -1, 1.5, True, "high", 2^53 are refused before anything is stored; 1 is accepted."""
    bad: list[Any] = [0, -1, 1.5, 1.0, True, False, "high", "1", None, 2**53, float("nan")]
    for value in bad:
        with pytest.raises(InvalidInput, match=r"^priority: .* from 1 .*9,007,199,254,740,991; 10 is the default"):
            queue.enqueue("a", priority=value)
        with pytest.raises(InvalidInput, match=r"^priority: "):
            queue.enqueue_many([Job("a", priority=value)])
    assert redis.dbsize() == 0, "something was sent"
    handle = queue.enqueue("a", priority=1)
    assert handle.record().priority == 1
    for value in bad:
        with pytest.raises(InvalidInput, match=r"^priority: "):
            handle.move(priority=value)
    assert handle.record().priority == 1
    assert handle.history() == []


def test_q6_remove_and_enqueue_is_last_in_its_priority(queue: Queue, burst: Burst) -> None:
    """Q6: removed and enqueued again, a job has a new id and stands last in its priority."""
    first, second = queue.enqueue("a", {"n": 1}), queue.enqueue("a", {"n": 2})
    assert first.remove() == "ready"
    with pytest.raises(NoSuchJob):
        first.state()
    again = queue.enqueue("a", {"n": 1})
    assert again.id not in {first.id, second.id}
    trace = Trace("a")
    burst(trace.handlers)
    assert trace.ids == [second.id, again.id]


def test_q6_move_keeps_id_and_sequence_and_is_recorded(queue: Queue, burst: Burst) -> None:
    """Q6: move gives another priority in one step, keeps the sequence, says who and when, and where the job stands."""
    handles = [queue.enqueue("a", priority=priority) for priority in (5, 5, 5, 7, 7)]
    created = handles[3].record().created
    assert handles[3].move(priority=5) == 3, "behind the earlier three of that priority"
    assert handles[0].move(priority=7) == 3, "its sequence is still the first of the sevens, behind three fives"
    assert handles[4].move(priority=1) == 0
    moved = handles[3].record()
    assert (moved.priority, moved.created, moved.state) == (5, created, "ready")
    (line,) = handles[3].history()
    assert f"moved by {queue.by} from priority 7 to 5" in line
    assert line.startswith(f"{created:%Y-%m-%d}T")
    trace = Trace("a")
    burst(trace.handlers)
    assert trace.ids == [handles[n].id for n in (4, 1, 2, 3, 0)]


def test_q6_only_a_waiting_job_has_a_place(queue: Queue, start_worker: StartWorker) -> None:
    """Q6: a scheduled job can be moved and keeps its moment; one that runs or has ended is refused, unchanged."""
    scheduled = queue.enqueue("a", priority=9, delay=3600)
    due = scheduled.record().due
    assert scheduled.move(priority=2) == -1
    assert (scheduled.record().priority, scheduled.record().due) == (2, due)
    gate, handlers = Gate(), Handlers()
    handlers.handler("gate")(gate.run)
    start_worker(handlers)
    running = queue.enqueue("gate", priority=3)
    wait_until(lambda: gate.begun)
    with pytest.raises(WrongState, match=r"is running: it cannot be moved"):
        running.move(priority=1)
    gate.opened.set()
    assert running.result(timeout=10) == "through"
    with pytest.raises(WrongState, match=r"is succeeded: it cannot be moved"):
        running.move(priority=1)
    assert running.record().priority == 3
    with pytest.raises(NoSuchJob):
        queue.handle(999_999).move(priority=1)


def test_q7_priority_promises_nothing_across_workers(queue: Queue, burst: Burst) -> None:
    """Q7: A/1, B/2, C/3 and workers that specialise: C runs before B before A."""
    a, b, c = (queue.enqueue(type_, priority=n) for n, type_ in enumerate("abc", 1))
    trace = Trace("a", "b", "c")
    for type_ in ("c", "b", "a"):
        burst(trace.handlers, types=[type_])
    assert trace.ids == [c.id, b.id, a.id]


def test_q9_a_running_job_is_not_interrupted_and_the_urgent_one_is_next(
    queue: Queue, start_worker: StartWorker
) -> None:
    """Q9: while a job runs in the only slot a more urgent one waits; then it is next, before those that came earlier."""
    gate, trace, handlers = Gate(), Trace("a"), Handlers()
    handlers.handler("gate")(gate.run)
    handlers.handler("a")(trace.run)
    start_worker(handlers)
    running = queue.enqueue("gate", priority=100)
    wait_until(lambda: gate.begun)
    usual, urgent = queue.enqueue("a", priority=50), queue.enqueue("a", priority=1)
    renewed = running.record()
    assert (renewed.state, renewed.attempt, renewed.cancel_asked) == ("running", 1, False)
    assert urgent.state() == usual.state() == "ready"
    assert [obstacle.reason for obstacle in urgent.why()] == ["behind"]
    gate.opened.set()
    assert running.result(timeout=10) == "through"
    usual.result(timeout=10)
    assert trace.ids == [urgent.id, usual.id]


def test_q10_the_best_of_all_types_is_taken(queue: Queue, burst: Burst) -> None:
    """Q10: jobs a/5, b/3, a/1 go out as 1, 3, 5 whatever their types, and whatever line of a type they stand in."""
    queue.pools.set("vault", 9)
    jobs = [("a", 5, None), ("b", 3, None), ("a", 1, None), ("a", 4, {"vault": 1}), ("b", 2, {"vault": 2})]
    ids = {priority: queue.enqueue(type_, priority=priority, uses=uses).id for type_, priority, uses in jobs}
    trace = Trace("a", "b")
    burst(trace.handlers)
    assert trace.ids == [ids[priority] for priority in (1, 2, 3, 4, 5)]


def test_q10_one_turn_for_many_slots_takes_the_best_too(queue: Queue, start_worker: StartWorker) -> None:
    """Q10: eight free slots get the eight best of many lines, not the heads of each in turn."""
    rng = random.Random(10)
    jobs = {queue.enqueue(rng.choice("abcd"), priority=rng.randint(1, 30)).id for _ in range(60)}
    best = [record.id for record in queue.jobs(state="ready")][:8]
    gate, handlers = Gate(), Handlers()
    for type_ in "abcd":
        handlers.handler(type_)(gate.run)
    start_worker(handlers, slots=8)
    wait_until(lambda: len(gate.begun) >= 8)
    assert sorted(gate.begun) == sorted(best)
    assert len(list(queue.jobs(state="ready"))) == len(jobs) - 8
    gate.opened.set()
    wait_until(lambda: not list(queue.jobs()))


def test_q15_a_type_without_worker_is_accepted_and_flagged(
    queue: Queue, burst: Burst, redis: Redis, namespace: str
) -> None:
    """Q15: no live worker: the job is accepted, stays ready and is flagged, with its age; a worker then takes it."""
    burst(Trace("other").handlers)
    handle = queue.handle(queue.enqueue("rare").id)
    (flag,) = handle.why()
    assert flag.reason == "no-worker"
    assert "no live worker supports type rare" in flag.message
    assert "seatline worker" in flag.action
    now, _ = redis.time()
    redis.hset(f"{{{namespace}}}:job:{handle.id}", "created", (int(now) - 3 * 3600) * 1000)
    (flag,) = handle.why()
    assert "since 3 h" in flag.message
    assert handle.state() == "ready"
    trace = Trace("rare")
    burst(trace.handlers)
    assert trace.ids == [handle.id]
    assert handle.why() == []


def test_q15_a_worker_that_left_no_longer_counts(queue: Queue, start_worker: StartWorker) -> None:
    """Q15: the flag follows the live workers, not those that once were there."""
    worker = start_worker(Trace("a").handlers)
    wait_until(lambda: idle_slots(queue))
    queue.pause()
    handle = queue.enqueue("a")
    # Rung by the job the worker looks, finds the pause and is idle again; while it looks the job is also "behind".
    wait_until(lambda: [obstacle.reason for obstacle in handle.why()] == ["paused"])
    worker.stop()
    assert [obstacle.reason for obstacle in handle.why()] == ["paused", "no-worker"]


class TestResubmit:
    """Q22: what has ended can be made ready again."""

    def test_q22_a_failed_job_runs_again_as_it_was(self, queue: Queue, burst: Burst) -> None:
        """Q22: same id, params and priority; attempts counted anew; the old error is kept in the history."""
        attempts: list[tuple[int, dict[str, Any]]] = []
        handlers = Handlers()

        @handlers.handler("a")
        def fail_once(ctx: Context, **params: Any) -> str:
            attempts.append((ctx.attempt, params))
            if len(attempts) == 1:
                raise LookupError("the drawing is locked")
            return "published"

        handle = queue.enqueue("a", {"file": "x"}, priority=3)
        burst(handlers)
        failed = handle.record()
        assert (failed.state, failed.error_type, failed.error) == ("failed", "LookupError", "the drawing is locked")
        assert handle.resubmit() == "failed"
        ready = handle.record()
        assert (ready.state, ready.priority, ready.params, ready.attempt) == ("ready", 3, {"file": "x"}, 0)
        assert (ready.error, ready.error_type, ready.traceback, ready.finished) == (None, None, None, None)
        (line,) = handle.history()
        assert f"resubmitted by {queue.by} after failed at attempt 1: LookupError the drawing is locked" in line
        burst(handlers)
        assert attempts == [(1, {"file": "x"}), (1, {"file": "x"})]
        assert handle.result(timeout=1) == "published"

    def test_q22_the_old_result_does_not_outlive_it(self, queue: Queue, burst: Burst) -> None:
        """Q22: a success that is resubmitted has no result until it has run again; it stands at its old sequence."""
        first, second = queue.enqueue("a"), queue.enqueue("a")
        trace = Trace("a")
        burst(trace.handlers, types=["a"])
        for handle in (second, first):
            assert handle.resubmit() == "succeeded"
        assert first.record().result is None
        with pytest.raises(TimeoutError):
            first.result(timeout=0)
        burst(trace.handlers)
        assert trace.ids == [first.id, second.id] * 2

    def test_q22_only_what_has_ended(self, queue: Queue, start_worker: StartWorker) -> None:
        """Q22: a job that waits or runs is refused, unchanged; a cancelled one is not."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("gate")(gate.run)
        scheduled, ready = queue.enqueue("gate", delay=3600), queue.enqueue("a")
        for handle in (scheduled, ready):
            with pytest.raises(WrongState, match=r"cannot be resubmitted. Only a job that has ended"):
                handle.resubmit()
        start_worker(handlers)
        running = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        with pytest.raises(WrongState, match="is running"):
            running.resubmit()
        gate.opened.set()
        running.result(timeout=10)
        assert ready.cancel() == "cancelled"
        assert ready.resubmit() == "cancelled"
        assert ready.state() == "ready"
        with pytest.raises(NoSuchJob):
            queue.handle(999_999).resubmit()


class TestCancel:
    """Q23: of cancel, settle and reap exactly one wins."""

    def test_q23_a_waiting_job_ends_at_once(self, queue: Queue, burst: Burst, redis: Redis, namespace: str) -> None:
        """Q23: ready or scheduled, it is cancelled and never runs; a second cancel says that it has ended."""
        for handle in (queue.enqueue("a"), queue.enqueue("a", delay=3600), queue.enqueue("a", uses={})):
            assert handle.cancel() == "cancelled"
            assert handle.state() == "cancelled"
            assert f"cancelled by {queue.by}" in handle.history()[-1]
            with pytest.raises(WrongState, match=r"is cancelled: it cannot be cancelled"):
                handle.cancel()
        assert_one_place(redis, namespace, 3)
        trace = Trace("a")
        burst(trace.handlers)
        assert trace.ids == []

    def test_q23_a_running_job_is_asked(self, queue: Queue, start_worker: StartWorker) -> None:
        """Q23: a running job is asked; its handler notices and it ends as cancelled."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("gate")(gate.run)
        worker = start_worker(handlers)
        handle = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        assert handle.cancel() == "asked"
        assert handle.record().cancel_asked
        assert handle.wait(timeout=10).state == "cancelled"
        assert worker.stop().cancelled == 1

    def test_q23_a_success_before_the_handler_noticed_stands(self, queue: Queue, start_worker: StartWorker) -> None:
        """Q23: the handler does not look; its success stands, and a later cancel is told that it has ended."""
        gate, handlers = Gate(deaf=True), Handlers()
        handlers.handler("gate")(gate.run)
        start_worker(handlers)
        handle = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        assert handle.cancel() == "asked"
        gate.opened.set()
        assert handle.result(timeout=10) == "through"
        with pytest.raises(WrongState, match="is succeeded"):
            handle.cancel()
        assert handle.state() == "succeeded"

    def test_q23_a_cancelled_job_that_is_handed_back_does_not_run_again(
        self, queue: Queue, start_worker: StartWorker
    ) -> None:
        """Q23: asked to stop and then handed back by its worker, a job is cancelled; as a reaped one would be."""
        gate, handlers = Gate(deaf=True), Handlers()
        handlers.handler("gate", if_lost="rerun")(gate.run)
        worker = start_worker(handlers, lease=20, renew=10)
        handle = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        assert handle.cancel() == "asked"
        worker.stop(now=True)
        gate.opened.set()
        assert handle.state() == "cancelled"

    def test_q23_removing_a_running_job_is_refused(self, queue: Queue, start_worker: StartWorker) -> None:
        """Q23: a running job is not removed; one that waits or has ended is, and then nobody knows it."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("gate")(gate.run)
        start_worker(handlers)
        running = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        with pytest.raises(WrongState, match=r"is running: it cannot be removed. Cancel it first"):
            running.remove()
        gate.opened.set()
        assert running.result(timeout=10) == "through"
        for handle, state in ((running, "succeeded"), (queue.enqueue("gate", delay=60), "scheduled")):
            assert handle.remove() == state
            with pytest.raises(NoSuchJob):
                handle.remove()
        assert list(queue.jobs()) == list(queue.jobs(state="succeeded")) == []

    def test_q23_exactly_one_wins_a_race(
        self, queue: Queue, start_worker: StartWorker, redis: Redis, namespace: str
    ) -> None:
        """Q23: 1,000 jobs are cancelled from one end while a worker takes them from the other: each has one fate."""
        queue.pause()
        ids = queue.enqueue_many(Job("a") for _ in range(1000))
        trace = Trace("a")
        start_worker(trace.handlers, slots=4)
        wait_until(lambda: idle_slots(queue) == 4)
        queue.resume()
        wait_until(lambda: len(trace.ids) > 104)
        said: dict[str, str] = {}
        for job_id in (each for pair in zip(reversed(ids), ids[100:], strict=False) for each in pair):
            if job_id not in said:
                try:
                    said[job_id] = queue.handle(job_id).cancel()
                except WrongState:
                    said[job_id] = "ended"
        wait_until(lambda: not list(queue.jobs()))
        assert_one_place(redis, namespace, 1000)
        began, states = set(trace.ids), {job_id: queue.job(job_id).state for job_id in ids}
        assert len(trace.ids) == len(began), "a job ran twice"
        for job_id, word in said.items():
            allowed = {"cancelled": {"cancelled"}, "asked": {"cancelled", "succeeded"}, "ended": {"succeeded"}}[word]
            assert states[job_id] in allowed
            # One that was asked may have been reserved and not begun: it is let go without.
            may_begin, must_begin = word != "cancelled", states[job_id] == "succeeded"
            assert must_begin <= (job_id in began) <= may_begin, f"{job_id}: {word}"
        assert {"cancelled", "ended"} <= set(said.values()), "the two never met: nothing was tested"


class TestListing:
    """Q25: what people see of the queue."""

    def test_q25_waiting_jobs_in_reserve_order_over_all_types(self, queue: Queue, burst: Burst) -> None:
        """Q25: every waiting job with its priority, over types, lines and pages, as workers then reserve them."""
        rng = random.Random(25)
        queue.pools.set("vault", 3)
        uses: list[dict[str, int] | None] = [None, None, {}, {"vault": 1}, {"vault": 2}]
        urgency = (1, 2, 10, 10, 100)
        jobs = [Job(rng.choice("abc"), priority=rng.choice(urgency), uses=rng.choice(uses)) for _ in range(700)]
        ids = queue.enqueue_many(jobs)
        expected = sorted(zip((job.priority for job in jobs), ids, strict=True))
        assert [(record.priority, record.id) for record in queue.jobs(state="ready")] == expected
        of_b = [job_id for _, job_id in expected if jobs[ids.index(job_id)].type == "b"]
        assert [record.id for record in queue.jobs(state="ready", type="b")] == of_b
        first = [record.id for record in queue.jobs(state="ready", limit=101)]
        assert first == [job_id for _, job_id in expected[:101]]
        assert list(queue.jobs(limit=0)) == []
        trace = Trace("a", "b", "c")
        burst(trace.handlers)
        assert trace.ids == [job_id for _, job_id in expected]

    def test_q25_all_that_have_not_ended(self, queue: Queue, start_worker: StartWorker) -> None:
        """Q25: without a state: running, then ready in order, then scheduled by due time; finished newest first."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("gate")(gate.run)
        start_worker(handlers)
        done = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        waiting = [queue.enqueue("gate", priority=5), queue.enqueue("gate", priority=2)]
        scheduled = [queue.enqueue("gate", delay=delay) for delay in (7200, 3600)]
        listed = [record.id for record in queue.jobs()]
        assert listed == [done.id, *(h.id for h in waiting[::-1]), *(h.id for h in scheduled[::-1])]
        gate.opened.set()
        waiting[0].result(timeout=10)
        ended = [record.finished for record in queue.jobs(state="succeeded")]
        assert len(ended) == 3
        assert ended == sorted(ended, key=str, reverse=True)
        assert [record.state for record in queue.jobs()] == ["scheduled"] * 2

    def test_q25_a_viewer_sees_and_cannot_change(
        self, private_server: Callable[..., RealServer], make_queue: Callable[..., Queue]
    ) -> None:
        """Q25: with a login that may only read, the list is there, and the server itself refuses every change."""
        private = private_server()
        owner = make_queue(private.url)
        ids = [owner.enqueue("a", priority=n).id for n in (3, 1, 2)]
        with contextlib.closing(private.client()) as admin:
            rights = ["+@read", "+ping", "+time", "+multi", "+exec", "+client|setname"]
            admin.acl_setuser("viewer", enabled=True, passwords=["+look"], keys=["*"], commands=["-@all", *rights])
        viewer = make_queue(private.tcp_url.replace("://", "://viewer:look@"))
        assert [record.id for record in viewer.jobs()] == [ids[1], ids[2], ids[0]]
        handle = viewer.handle(ids[0])
        assert handle.why()[0].reason == "no-worker"
        for change in (handle.cancel, handle.remove, lambda: handle.move(priority=1), lambda: viewer.enqueue("a")):
            with pytest.raises(ServerRefused):
                change()
        assert [(record.id, record.priority) for record in owner.jobs()] == [(ids[1], 1), (ids[2], 2), (ids[0], 3)]


class TestTenant:
    """Q26: which vault, site or customer a job is for."""

    def test_q26_the_tenant_is_stored_filtered_and_given_to_the_handler(
        self, queue: Queue, make_queue: Callable[..., Queue], burst: Burst
    ) -> None:
        """Q26: the queue's tenant goes on every job that names none; a job's own wins; listings filter by it."""
        site = make_queue(tenant="Engineering")
        jobs = {
            site.enqueue("a").id: "Engineering",
            site.enqueue("a", tenant="Sales").id: "Sales",
            queue.enqueue("a").id: None,
            site.enqueue_many([Job("a"), Job("a", tenant="Sales")])[0]: "Engineering",
        }
        assert len(list(queue.jobs(tenant="Sales"))) == 2
        listed = [record.id for record in site.jobs(tenant="Engineering")]
        assert listed == [job_id for job_id, tenant in jobs.items() if tenant == "Engineering"]
        trace = Trace("a")
        burst(trace.handlers)
        seen = {ctx.id: ctx.tenant for ctx in trace.contexts}
        assert {job_id: seen[job_id] for job_id in jobs} == jobs
        assert len(list(queue.jobs(state="succeeded", tenant="Sales"))) == 2

    def test_q26_a_job_given_to_a_queue_stays_as_it_was(self, make_queue: Callable[..., Queue]) -> None:
        """Q26: the queue's tenant is put on what is stored, not on the caller's own Job, which may go elsewhere too."""
        job = Job("a")
        make_queue(tenant="Engineering").enqueue_many([job])
        assert job.tenant is None
        other = make_queue(tenant="Sales")
        (job_id,) = other.enqueue_many([job])
        assert other.job(job_id).tenant == "Sales"


def test_q8_threads_share_a_queue(queue: Queue, redis: Redis, namespace: str) -> None:
    """Q8, from the producers' side: eight threads on one queue; every id is given once and every job stored once."""
    ids: list[str] = []

    def produce() -> None:
        ids.extend(queue.enqueue("a", {"n": n}).id for n in range(25))
        ids.extend(queue.enqueue_many(Job("a") for _ in range(25)))

    threads = [threading.Thread(target=produce) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == len(ids) == 400
    assert_one_place(redis, namespace, 400)
