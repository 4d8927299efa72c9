"""Jobs of the future, and what a kill leaves of the present: rules T1 to T5."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.support import (
    Gate,
    ProcessWorker,
    ThreadWorker,
    Trace,
    assert_one_place,
    idle_slots,
    places,
    run_counts,
    run_lines,
)

from seatline.producer import Job, JobHandle, JobRecord, Queue
from seatline.shared.calls.base import Read
from seatline.shared.errors import JobInterrupted
from seatline.worker import Handlers, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]


def lateness(record: JobRecord) -> float:
    """Return how many seconds after its moment a job began."""
    assert record.due is not None
    assert record.started is not None
    return (record.started - record.due).total_seconds()


def scheduled_at(server: RealServer, namespace: str, handle: JobHandle) -> float | None:
    with contextlib.closing(server.client()) as raw:
        return raw.zscore(f"{{{namespace}}}:scheduled", handle.id)


class TestMoments:
    """T1, T2: a job for a future moment."""

    def test_t1_a_future_job_waits_for_its_moment(self, queue: Queue, start_worker: StartWorker) -> None:
        """T1: scheduled, with the obstacle said; not before its moment, soon after it, once, with its params."""
        trace = Trace("a")
        start_worker(trace.handlers)
        at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.6)
        handle = queue.enqueue("a", {"n": 1}, at=at.astimezone(dt.timezone(dt.timedelta(hours=9))))
        record = handle.record()
        assert record.state == "scheduled"
        assert record.due == at.replace(microsecond=at.microsecond // 1000 * 1000)
        assert handle.why()[0].reason == "due"
        assert handle.result(timeout=5) == handle.id
        assert 0 <= lateness(handle.record()) < 0.5
        assert trace.ids == [handle.id]
        assert handle.record().params == {"n": 1}

    def test_t1_a_moment_wakes_a_worker_that_was_idle_before(self, queue: Queue, start_worker: StartWorker) -> None:
        """T1, DESIGN 5.6: with the usual lease nobody looks for seconds; the alarm must wake an idle worker in time."""
        start_worker(Trace("a").handlers, lease=60, renew=20)
        wait_until(lambda: idle_slots(queue) == 1)
        handle = queue.enqueue("a", delay=0.5)
        handle.wait(timeout=10)
        assert lateness(handle.record()) < 0.4

    def test_t1_an_earlier_moment_moves_the_alarm(self, queue: Queue, start_worker: StartWorker) -> None:
        """T1, DESIGN 5.6: the alarm is set for a later job when one comes that is due before it."""
        start_worker(Trace("a").handlers, lease=60, renew=20)
        queue.enqueue("a", delay=4).cancel()
        later = queue.enqueue("a", delay=4)
        wait_until(lambda: idle_slots(queue) == 1)
        sooner = queue.enqueue("a", delay=0.4)
        sooner.wait(timeout=10)
        assert lateness(sooner.record()) < 0.4
        assert later.state() == "scheduled"

    def test_t1_the_alarm_passes_on_when_its_holder_is_busy(self, queue: Queue, start_worker: StartWorker) -> None:
        """T1, DESIGN 5.6: whoever holds the alarm begins a long job; the other idle worker is woken in time."""
        gate, both, trace = Gate(), Handlers(), Trace("a")
        both.handler("gate")(gate.run)
        both.handler("a")(trace.run)
        handle = queue.enqueue("a", delay=1)
        holder = start_worker(both, lease=60, renew=20)
        wait_until(lambda: queue.store.read(_alarm(queue)) == holder.worker.id)
        start_worker(trace.handlers, lease=60, renew=20)
        wait_until(lambda: idle_slots(queue) == 2)
        queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        handle.wait(timeout=10)
        assert lateness(handle.record()) < 0.5
        gate.opened.set()

    def test_t1_due_jobs_start_by_priority(self, queue: Queue, burst: Burst) -> None:
        """T1: jobs that became due together stand in the line like all others: by priority, then sequence."""
        now = dt.datetime.now(dt.UTC)
        late, early = (queue.enqueue("a", priority=5, at=now + dt.timedelta(milliseconds=ms)) for ms in (150, 100))
        urgent, ready = queue.enqueue("a", priority=1, delay=0.15), queue.enqueue("a", priority=3)
        wait_until(lambda: time.time() > now.timestamp() + 0.3)
        trace = Trace("a")
        burst(trace.handlers)
        assert trace.ids == [handle.id for handle in (urgent, ready, late, early)]

    def test_t2_a_delay_becomes_a_moment_at_submission(
        self, durable_server: RealServer, make_queue: Callable[..., Queue], namespace: str
    ) -> None:
        """T2: an hour's delay is a moment by the server's clock, stored, and the same after kill and restart."""
        owner = make_queue(durable_server.url)
        handle = owner.enqueue("report", delay=3600)
        same = owner.enqueue("report", delay=dt.timedelta(hours=1))
        record = handle.record()
        assert record.created is not None
        moment = record.created + dt.timedelta(hours=1)
        assert record.due == moment
        assert same.record().due == (same.record().created or moment) + dt.timedelta(hours=1)
        for kill in (True, False):
            durable_server.restart(kill=kill)
            assert handle.record().due == moment
            assert scheduled_at(durable_server, namespace, handle) == moment.timestamp() * 1000

    def test_t2_time_that_the_server_was_down_counts(
        self, durable_server: RealServer, make_queue: Callable[..., Queue], start_worker: StartWorker
    ) -> None:
        """T2: killed for most of the delay: what is left is left, and the delay does not begin anew."""
        owner = make_queue(durable_server.url)
        handle = owner.enqueue("a", delay=1.4)
        due = handle.record().due
        assert due is not None
        durable_server.kill()
        wait_until(lambda: time.time() > due.timestamp() - 0.4)
        durable_server.start()
        trace = Trace("a")
        start_worker(trace.handlers, durable_server.url)
        assert handle.result(timeout=5) == handle.id
        assert 0 <= lateness(handle.record()) < 0.7

    def test_t3_a_moment_that_passed_meanwhile_is_now(
        self, durable_server: RealServer, make_queue: Callable[..., Queue], burst: Burst
    ) -> None:
        """T3: due while everything was down: it runs at once, once; a moment in the past means now."""
        owner = make_queue(durable_server.url)
        handle = owner.enqueue("a", delay=0.2)
        past = owner.enqueue("a", at=dt.datetime(1999, 12, 31, tzinfo=dt.UTC))
        assert (past.state(), past.record().due) == ("ready", None)
        due = handle.record().due
        assert due is not None
        durable_server.kill()
        wait_until(lambda: time.time() > due.timestamp() + 0.1)
        durable_server.start()
        trace = Trace("a")
        burst(trace.handlers, durable_server.url)
        assert trace.ids == [handle.id, past.id]


def _alarm(queue: Queue) -> Read[str]:
    """Ask who holds the alarm."""
    return Read([("GET", queue.store.keys("alarm"))], lambda replies: (replies[0] or b"").decode())


class TestRunningAtAKill:
    """T4: what was running when its worker, and the server, were killed."""

    def test_t4_a_job_that_was_running_is_interrupted_and_not_run_again(
        self, durable_server: RealServer, make_queue: Callable[..., Queue],
        start_process: StartProcess, namespace: str, tmp_path: Path,
    ) -> None:  # fmt: skip
        """T4: worker and server killed and started again: interrupted, when and where; if_lost="rerun" opts out."""
        owner = make_queue(durable_server.url)
        types = ("hold.interrupt", "hold.rerun", "plain")
        worker = start_process(*types, url=durable_server.url, slots=2, lease=1, renew=0.3)
        params = {"folder": str(tmp_path)}
        alone, rerun = owner.enqueue("hold.interrupt", params), owner.enqueue("hold.rerun", params)
        wait_until(lambda: len(run_lines(tmp_path)) == 2, 10)
        waiting = owner.enqueue("plain", params)
        worker.child.kill()
        durable_server.restart(kill=True)
        heir = start_process(*types, url=durable_server.url, slots=2, lease=1, renew=0.3)
        assert owner.handle(waiting.id).result(timeout=10) == heir.pid, "what waited is not touched"
        with pytest.raises(JobInterrupted, match=f"seatline jobs resubmit {int(alone.id)}"):
            alone.result(timeout=10)
        record = alone.record()
        assert (record.state, record.attempt, record.losses, record.worker) == ("interrupted", 1, 1, worker.id)
        assert record.finished is not None
        assert record.started is not None
        assert record.finished > record.started, "when"
        assert worker.id in (record.error or "")
        wait_until(lambda: run_counts(tmp_path)[rerun.id] == 2, 10, "the second run of what declares rerun")
        assert run_counts(tmp_path)[alone.id] == 1
        (tmp_path / "go").touch()
        assert rerun.result(timeout=10) == 2
        assert alone.resubmit() == "interrupted"
        assert alone.result(timeout=10) == 1, "its attempts are counted anew"
        assert run_counts(tmp_path) == {alone.id: 2, rerun.id: 2, waiting.id: 1}
        with contextlib.closing(durable_server.client()) as raw:
            assert_one_place(raw, namespace, 3)

    def test_t4_where_it_was_running_is_said(
        self, queue: Queue, start_process: StartProcess, start_worker: StartWorker, tmp_path: Path
    ) -> None:
        """T4: an interrupted job names the host its worker ran on, when that worker itself can no longer be asked."""
        worker = start_process("hold.interrupt", lease=0.6, renew=0.2)
        handle = queue.enqueue("hold.interrupt", {"folder": str(tmp_path)})
        wait_until(lambda: run_lines(tmp_path), 10)
        worker.child.signal(signal.SIGKILL)
        start_worker(Trace("other").handlers, lease=0.6, renew=0.2)
        wait_until(lambda: handle.state() == "interrupted", 5)
        told = "\n".join([handle.record().error or "", handle.record().worker or "", *handle.history()])
        assert socket.gethostname() in told
        assert str(worker.pid) in told

    def test_t4_it_is_neither_failed_nor_succeeded(
        self, queue: Queue, start_process: StartProcess, start_worker: StartWorker, redis: Redis,
        namespace: str, tmp_path: Path,
    ) -> None:  # fmt: skip
        """T4: it stands with the interrupted ones alone, and its seats are free again (S3)."""
        queue.pools.set("vault", 1)
        worker = start_process("hold.interrupt", lease=0.6, renew=0.2)
        handle = queue.enqueue("hold.interrupt", {"folder": str(tmp_path)}, uses={"vault": 1})
        wait_until(lambda: run_lines(tmp_path), 10)
        worker.child.kill()
        assert queue.pools["vault"].in_use == 1
        start_worker(Trace("other").handlers, lease=0.6, renew=0.2)
        wait_until(lambda: handle.state() == "interrupted", 5)
        assert places(redis, namespace)[handle.id] == ["finished:interrupted"]
        assert queue.pools["vault"].in_use == 0
        assert [record.id for record in queue.jobs(state="interrupted")] == [handle.id]


class TestPromotion:
    """T5: nothing falls between due and ready; no id is given twice."""

    def test_t5_no_kill_between_due_and_ready_loses_or_doubles_a_job(
        self, durable_server: RealServer, make_queue: Callable[..., Queue],
        start_process: StartProcess, namespace: str, tmp_path: Path,
    ) -> None:  # fmt: skip
        """T5: 300 jobs become due within 1.5 seconds, while the server is killed again and again, and a worker once."""
        seed = random.randrange(10**6)
        print(f"seed {seed}")  # noqa: T201 - shown when it fails
        rng = random.Random(seed)
        owner = make_queue(durable_server.url)
        options = {"url": durable_server.url, "slots": 2, "lease": 1.5, "renew": 0.3}
        workers = [start_process("plain", **options) for _ in range(2)]
        params = {"folder": str(tmp_path)}
        ids = owner.enqueue_many(Job("plain", params, delay=0.2 + rng.random() * 1.3) for _ in range(300))
        for done in (30, 90, 150, 210):
            wait_until(lambda done=done: len(run_lines(tmp_path)) >= done, 15)  # type: ignore[misc]
            durable_server.kill()
            if done == 90:
                workers[0].child.kill()
            durable_server.start()
            with contextlib.closing(durable_server.client()) as raw:
                assert_one_place(raw, namespace, 300)
        wait_until(lambda: not list(owner.jobs(limit=1)), 20, "the end of all jobs")
        assert {owner.job(job_id).state for job_id in ids} == {"succeeded"}
        counts = run_counts(tmp_path)
        assert counts.keys() == set(ids)
        again = {job_id: count for job_id, count in counts.items() if count > 1}
        assert len(again) <= 2, f"{again} ran more often than the killed worker's two slots explain"
        with contextlib.closing(durable_server.client()) as raw:
            assert_one_place(raw, namespace, 300)

    def test_t5_ids_never_repeat(self, durable_server: RealServer, make_queue: Callable[..., Queue]) -> None:
        """T5, DESIGN 5.4: after a start that may have lost writes, ids go on far ahead of whatever was given before."""
        ids: list[str] = []
        for kill in (True, True, False):
            for client in (make_queue(durable_server.url), make_queue(durable_server.url)):
                ids += [client.enqueue("a").id, *client.enqueue_many([Job("a"), Job("a", delay=60)])]
            durable_server.restart(kill=kill)
        ids.append(make_queue(durable_server.url).enqueue("a").id)
        assert ids == sorted(set(ids))
        jumps = [int(b) - int(a) for a, b in itertools.pairwise(ids) if int(b) - int(a) > 1]
        assert jumps == [1_000_001] * 3, "one jump for each start, however many clients meet it"

    def test_t5_promotion_takes_each_once_though_all_look(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """T5: 400 jobs due at one moment, three processes that look: each is promoted and run once."""
        for _ in range(3):
            start_process("plain", slots=2)
        at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.7)
        ids = queue.enqueue_many(Job("plain", {"folder": str(tmp_path)}, at=at) for _ in range(400))
        wait_until(lambda: redis.zcard(f"{{{namespace}}}:finished:succeeded") == 400, 10)
        assert run_counts(tmp_path) == Counter(ids)
        assert_one_place(redis, namespace, 400)
