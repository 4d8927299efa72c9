"""Several real worker processes at once, and their ends: killed, stopped, told to go. Q8, Q12 to Q14, Q24, C11 to C14."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import signal
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.handlers import handlers as process_handlers
from rules.support import (
    Gate,
    ProcessWorker,
    ThreadWorker,
    Trace,
    assert_one_place,
    idle_slots,
    job_hash,
    run_counts,
    run_lines,
)

from seatline.producer import Job, Queue
from seatline.shared.calls import reads
from seatline.shared.calls import workers as verbs
from seatline.shared.errors import HandlerDiffers, UnknownHandlers
from seatline.worker import Context, Handlers, Worker
from seatline.worker.handlers import load

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]
MS = dt.timedelta(milliseconds=1)


def jobs_for(folder: Path, type_: str, count: int) -> list[Job]:
    return [Job(type_, {"folder": str(folder)}) for _ in range(count)]


def begun(folder: Path, count: int) -> None:
    wait_until(lambda: len(run_lines(folder)) >= count, 15, f"{count} runs")


def sign(folder: Path, name: str = "go") -> None:
    (folder / name).touch()


class TestReserving:
    """Q8: every job is reserved exactly once, whoever asks at the same time."""

    def test_q8_every_job_is_reserved_once_by_one_of_many(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """Q8: three processes with four slots each, let loose at one moment on 600 jobs."""
        queue.pause()
        workers = {worker.id: worker for worker in [start_process("plain", slots=4) for _ in range(3)]}
        wait_until(lambda: idle_slots(queue) == 12, 15)
        ids = queue.enqueue_many(jobs_for(tmp_path, "plain", 600))
        assert run_lines(tmp_path) == [], "the gate did not hold"
        queue.resume()
        wait_until(lambda: not list(queue.jobs(limit=1)), 20)
        assert run_counts(tmp_path) == Counter(ids), "a job ran never or twice"
        assert_one_place(redis, namespace, 600)
        pids = {job_id: pid for job_id, _, pid in run_lines(tmp_path)}
        by: Counter[str] = Counter()
        for record in queue.jobs(state="succeeded"):
            assert record.worker is not None
            assert workers[record.worker].pid == pids[record.id] == record.result, "who"
            assert record.attempt == 1
            assert record.created is not None
            assert record.started is not None
            assert record.finished is not None
            assert record.created <= record.started <= record.finished, "when"
            by[record.worker] += 1
        assert by.keys() == workers.keys(), "one of them never got a job: nothing was tested"

    def test_q8_where_a_job_runs_is_recorded(self, queue: Queue, start_process: StartProcess, tmp_path: Path) -> None:
        """Q8: host and pid of the worker that has a job are known while it lives."""
        worker = start_process("hold.rerun")
        (job_id,) = queue.enqueue_many(jobs_for(tmp_path, "hold.rerun", 1))
        begun(tmp_path, 1)
        record = queue.job(job_id)
        assert record.worker == worker.id
        (known,) = queue.store.read(reads.worker_records(queue.store.keys, [worker.id], []))
        assert known.live
        assert (known.fields["host"], int(known.fields["pid"])) == (socket.gethostname(), worker.pid)
        sign(tmp_path)
        queue.handle(job_id).result(timeout=10)

    def test_q8_never_more_than_can_begin_at_once(
        self, queue: Queue, start_process: StartProcess, tmp_path: Path
    ) -> None:
        """Q8: what a worker has no free slot for stays in the common order."""
        start_process("hold.rerun", slots=2)
        queue.enqueue_many(jobs_for(tmp_path, "hold.rerun", 5))
        begun(tmp_path, 2)
        states = Counter(record.state for record in queue.jobs())
        assert states == {"running": 2, "ready": 3}
        other = start_process("hold.rerun", slots=3)
        begun(tmp_path, 5)
        assert Counter(pid for _, _, pid in run_lines(tmp_path))[other.pid] == 3
        sign(tmp_path)
        wait_until(lambda: not list(queue.jobs()))


class TestGivenBack:
    """Q12: a job given back is ready again with its original priority and sequence."""

    def test_q12_after_its_worker_was_killed(
        self, queue: Queue, start_process: StartProcess, start_worker: StartWorker, burst: Burst, tmp_path: Path
    ) -> None:
        """Q12: killed with a job of if_lost=rerun; a worker of other types reaps it, back in front of the later ones."""
        victim = start_process("hold.rerun", lease=1, renew=0.3)
        lost = queue.enqueue("hold.rerun", {"folder": str(tmp_path)}, priority=5)
        begun(tmp_path, 1)
        before = queue.enqueue("hold.rerun", {"folder": str(tmp_path)}, priority=4)
        after = queue.enqueue("hold.rerun", {"folder": str(tmp_path)}, priority=5)
        assert victim.child.kill() == -signal.SIGKILL
        assert lost.state() == "running", "the server cannot know yet"
        start_worker(Trace("other").handlers, lease=1, renew=0.3)
        wait_until(lambda: lost.state() == "ready", 5, "lease + 2 renewals")
        record = lost.record()
        assert (record.priority, record.losses, record.attempt) == (5, 1, 1)
        assert [record.id for record in queue.jobs(state="ready")] == [before.id, lost.id, after.id]
        assert lost.history()[-1].endswith(f" attempt 1 by {victim.id}: lost")
        sign(tmp_path)
        burst(process_handlers, types=["hold.rerun"])
        assert [job_id for job_id, _, _ in run_lines(tmp_path)] == [lost.id, before.id, lost.id, after.id]
        assert lost.result(timeout=1) == 2, "its second attempt"

    def test_q12_after_its_worker_was_drained(self, queue: Queue, start_process: StartProcess, tmp_path: Path) -> None:
        """Q12: handed back by a worker that goes, before the later ones, as if it had never run."""
        worker = start_process("deaf.rerun", grace=0)
        first, second = (queue.enqueue("deaf.rerun", {"folder": str(tmp_path)}, priority=7) for _ in range(2))
        begun(tmp_path, 1)
        worker.child.terminate()
        assert worker.wait()["handed_back"] == 1
        record = first.record()
        assert (record.state, record.priority, record.attempt, record.losses) == ("ready", 7, 0, 0)
        assert [record.id for record in queue.jobs(state="ready")] == [first.id, second.id]

    def test_q12_no_longer_after_three_losses(
        self, queue: Queue, start_process: StartProcess, start_worker: StartWorker, tmp_path: Path
    ) -> None:
        """Q12, DESIGN 5.5: a job whose workers die three times is interrupted whatever its if_lost says."""
        start_worker(Trace("other").handlers, lease=0.6, renew=0.2)
        handle = queue.enqueue("deaf.rerun", {"folder": str(tmp_path)})
        for run in range(1, 4):
            worker = start_process("deaf.rerun", lease=0.6, renew=0.2)
            begun(tmp_path, run)
            worker.child.kill()
            wait_until(lambda: handle.state() != "running", 5)
            assert handle.state() == ("ready" if run < 3 else "interrupted")
        assert "lost 3 times" in (handle.record().error or "")


class TestIdentity:
    """Q13, Q14: a job is its lease's, and nobody else's."""

    def test_q13_two_workers_of_a_host_keep_their_own(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """Q13: one of two is told to go and hands back; the other's job is not touched, and ends as usual."""
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        one = start_process("hold.rerun", grace=0)
        first = queue.enqueue("hold.rerun", {"folder": str(tmp_path / "a")})
        begun(tmp_path / "a", 1)
        two = start_process("hold.rerun")
        second = queue.enqueue("hold.rerun", {"folder": str(tmp_path / "b")})
        begun(tmp_path / "b", 1)
        assert one.id != two.id
        queue.pause()
        before = job_hash(redis, namespace, second.id)
        one.child.terminate()
        assert one.wait()["handed_back"] == 1
        assert first.state() == "ready"
        assert job_hash(redis, namespace, second.id) == before
        assert (second.record().worker, second.state()) == (two.id, "running")
        sign(tmp_path / "b")
        assert second.result(timeout=10) == 1

    def test_q13_a_process_that_follows_on_the_same_host_is_another(
        self, queue: Queue, start_process: StartProcess, tmp_path: Path
    ) -> None:
        """Q13: a restarted worker does not take over what its killed forerunner held before the lease has run out."""
        killed = start_process("hold.rerun", lease=2, renew=0.5)
        handle = queue.enqueue("hold.rerun", {"folder": str(tmp_path)})
        begun(tmp_path, 1)
        killed.child.kill()
        lease = handle.record().lease
        heir = start_process("hold.rerun", lease=2, renew=0.5)
        wait_until(lambda: idle_slots(queue) == 1, 15)
        assert (handle.record().lease, handle.state()) == (lease, "running")
        begun(tmp_path, 2)
        assert run_lines(tmp_path)[1] == (handle.id, 2, heir.pid)
        assert handle.record().lease != lease
        sign(tmp_path)
        assert handle.result(timeout=10) == 2

    @pytest.mark.parametrize("outcome", ["succeeded", "failed", "cancelled", "returned", "abandoned"])
    def test_q14_a_report_with_another_token_changes_nothing(
        self, queue: Queue, start_worker: StartWorker, redis: Redis, namespace: str, outcome: str
    ) -> None:
        """Q13, Q14: whatever a stale or foreign token reports is refused, byte for byte; a renewal is told "lost"."""
        queue.pools.set("vault", 1)
        gate, handlers = Gate(), Handlers()
        handlers.handler("gate", uses={"vault": 1}, if_lost="rerun", isolation="thread")(gate.run)
        worker = start_worker(handlers, lease=60, renew=20).worker
        handle = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        before = job_hash(redis, namespace, handle.id)
        token = before[b"token"].decode()
        other = Worker(handlers, queue.store.url, namespace=namespace)
        report = verbs.Report(handle.id, f"{token}0", outcome, ["error", "forged"], b"\xc0", 1000)
        words = {"lease_ms": 9000, "want": 0, "bell": "", "block_ms": 5000, "listed": False, "kept": verbs.Kept()}
        with contextlib.closing(other.store):
            turn = verbs.turn(worker=other.id, digest=handlers.digest(), reports=[report], **words)  # type: ignore[arg-type]
            assert other.store.run(turn).states == ["stale"]
            renewal = other.store.run(
                verbs.renew(
                    worker=worker.id, digest=handlers.digest(), lease_ms=9000, presence_ms=60_000, kept=verbs.Kept(),
                    fields={}, held=[(handle.id, f"{token}0")],
                )
            )  # fmt: skip
            assert renewal.words == ["lost"]
        assert job_hash(redis, namespace, handle.id) == before
        assert queue.pools["vault"].in_use == 1
        assert handle.state() == "running"
        gate.opened.set()
        assert handle.result(timeout=10) == "through"

    def test_q14_a_worker_that_was_stopped_too_long_is_fenced(
        self, queue: Queue, start_process: StartProcess, start_worker: StartWorker,
        redis: Redis, namespace: str, tmp_path: Path,
    ) -> None:  # fmt: skip
        """Q14: SIGSTOP for longer than the lease; another runs the job; continued, the first is refused and says so."""
        frozen = start_process("deaf.rerun", lease=1, renew=0.3)
        handle = queue.enqueue("deaf.rerun", {"folder": str(tmp_path)})
        begun(tmp_path, 1)
        frozen.child.signal(signal.SIGSTOP)
        start_worker(process_handlers, types=["deaf.rerun"], lease=1, renew=0.3)
        begun(tmp_path, 2)
        sign(tmp_path, "go2")
        assert handle.result(timeout=10) == 2
        ended = job_hash(redis, namespace, handle.id)
        frozen.child.signal(signal.SIGCONT)
        sign(tmp_path)
        wait_until(lambda: "changed nothing" in frozen.child.errors(), message="the word of the refused worker")
        frozen.child.terminate()
        summary = frozen.wait()
        assert (summary["stale"], summary["succeeded"]) == (1, 0)
        assert f"job {int(handle.id)}: its lease was taken back" in frozen.child.errors()
        assert job_hash(redis, namespace, handle.id) == ended
        assert handle.result(timeout=1) == 2

    def test_q14_a_worker_that_takes_its_own_lost_job_again(
        self, queue: Queue, start_worker: StartWorker, proxy: FaultProxy
    ) -> None:
        """Q14: cut off for longer than the lease, a worker gets its own job again while the first attempt still runs.

        The first attempt's late report is refused, and must not make the worker forget the second.
        """
        first, second, handlers = Gate(deaf=True), Gate(deaf=True), Handlers()

        @handlers.handler("a", if_lost="rerun")
        def run(ctx: Context) -> str:
            (first if ctx.attempt == 1 else second).run(ctx)
            return f"attempt {ctx.attempt}"

        start_worker(Trace("other").handlers, lease=0.8, renew=0.2)
        options = {"slots": 2, "lease": 0.8, "renew": 0.2, "timeout": 0.3}
        worker = start_worker(handlers, proxy.url, **options)
        handle = queue.enqueue("a")
        wait_until(lambda: first.begun)
        proxy.blackhole()
        wait_until(lambda: handle.state() == "ready", 5, "the loss of the lease")
        proxy.blackhole(on=False)
        wait_until(lambda: second.begun, 10, "the second attempt")
        first.opened.set()
        wait_until(lambda: worker.worker.summary.stale == 1, 5, "the refusal of the first attempt's report")
        second.opened.set()
        assert handle.result(timeout=5) == "attempt 2"
        assert handle.record().losses == 1
        assert worker.stop().succeeded == 1  # here, while the proxy still stands


def test_q24_no_batch_job_starts_while_a_user_waits(
    queue: Queue, start_process: StartProcess, redis: Redis, namespace: str
) -> None:
    """Q24: 600 batch jobs at 100 on 4 slots, 30 users' jobs at 10 that arrive at random moments.

    Judged by the server's own order of events: submissions, and what each worker reserved one after another. A second
    worker that supports batch only may start batch jobs at any time.
    """
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    rng = random.Random(seed)
    both, batch_only = start_process("batch", "user", slots=4), start_process("batch", slots=1)
    supports = {both.id: {"batch", "user"}, batch_only.id: {"batch"}}
    wait_until(lambda: idle_slots(queue) == 5, 15)
    ids = queue.enqueue_many(Job("batch", priority=100) for _ in range(600))
    done = f"{{{namespace}}}:finished:succeeded"
    users: list[str] = []
    for moment in sorted(rng.sample(range(5, 560), 30)):
        wait_until(lambda moment=moment: redis.zcard(done) >= moment, 30)  # type: ignore[misc]
        users.append(queue.enqueue("user", priority=10).id)
    wait_until(lambda: not list(queue.jobs(limit=1)), 30)
    kinds = dict.fromkeys(ids, "batch") | dict.fromkeys(users, "user")
    assert redis.zcard(done) == len(kinds) == 630

    waiting: set[str] = set()
    started: Counter[str] = Counter()
    delayed = 0
    events = cast("list[tuple[bytes, dict[bytes, bytes]]]", redis.xrange(f"{{{namespace}}}:events"))
    for _, event in events:
        fields = {name.decode(): value.decode() for name, value in event.items()}
        if "submitted" in fields:
            first = int(fields["submitted"])
            waiting |= {f"{first + n:016}" for n in range(int(fields["count"]))}
        for job_id in fields.get("reserved", "").split():
            urgent = {i for i in waiting if kinds[i] == "user"} if "user" in supports[fields["worker"]] else set()
            assert kinds[job_id] == "user" or not urgent, f"{job_id} started while {urgent} waited"
            delayed += kinds[job_id] == "user" and any(kinds[i] == "batch" for i in waiting)
            waiting.remove(job_id)
            started[job_id] += 1
    assert started == Counter(list(kinds))
    assert not waiting
    assert delayed > 20, "the users' jobs met no waiting batch: nothing was tested"
    batch = [record for record in queue.jobs(state="succeeded", type="batch") if record.worker == both.id]
    for record in queue.jobs(state="succeeded", type="user"):
        assert record.created is not None
        assert record.started is not None
        # Times are whole milliseconds; what the events say within one is left to them.
        between = [job.id for job in batch if job.started and record.created + MS < job.started < record.started - MS]
        assert not between, f"{between} began after {record.id} came and before it began"


class TestNoSeat:
    """C11: no free seat."""

    def test_c11_a_job_without_its_seat_waits_uncounted_and_says_why(
        self, queue: Queue, start_worker: StartWorker
    ) -> None:
        """C11: not reserved, not failed, not lost, no attempt; ``why`` names pool and holders; another type is taken."""
        queue.pools.set("vault", 1)
        gate, trace, handlers = Gate(), Trace("free"), Handlers()
        handlers.handler("seated", uses={"vault": 1}, isolation="thread")(gate.run)
        handlers.handler("free")(trace.run)
        start_worker(handlers, slots=3)
        holder = queue.enqueue("seated")
        wait_until(lambda: gate.begun == [holder.id])
        waiting = queue.enqueue("seated", priority=1)
        free = queue.enqueue("free", priority=100)
        assert free.result(timeout=5) == free.id
        record = waiting.record()
        assert (record.state, record.attempt, record.losses, record.error) == ("ready", 0, 0, None)
        (seats,) = (obstacle for obstacle in waiting.why() if obstacle.reason == "seats")
        assert f"pool vault: it needs 1, 0 of 1 are free; held by job {int(holder.id)} (1)" in seats.message
        assert "seatline pools show vault" in seats.action
        pool = queue.pools["vault"]
        assert (pool.in_use, [waiter for waiter, _ in pool.waiting]) == (1, [waiting.id])
        gate.opened.set()
        assert waiting.result(timeout=5) == "through"
        assert waiting.record().attempt == 1
        assert queue.pools["vault"].in_use == 0

    def test_c11_a_program_that_holds_the_seat_is_named_too(self, queue: Queue, start_worker: StartWorker) -> None:
        """C11: the holder is a program; when it leaves, the job starts by the bell and not by a later look."""
        queue.pools.set("vault", 2)
        trace = Trace("seated", uses={"vault": 2})
        start_worker(trace.handlers, lease=60, renew=20)
        with queue.pools.session("vault", name="drawing-desk"):
            handle = queue.enqueue("seated")
            wait_until(lambda: queue.pools["vault"].waiting)
            message = " ".join(obstacle.message for obstacle in handle.why())
            assert "it needs 2, 1 of 2 are free" in message
            assert "held by program drawing-desk (1)" in message
            assert handle.record().attempt == 0
        assert handle.result(timeout=2) == handle.id

    def test_c11_a_worker_asked_by_burst_leaves_it(self, queue: Queue, burst: Burst) -> None:
        """C11: a burst ends although the job still waits; the job is as it was."""
        queue.pools.set("vault", 0)
        handle = queue.enqueue("seated", uses={"vault": 1})
        assert burst(Trace("seated").handlers).summary.done == 0
        assert (handle.state(), handle.record().attempt) == ("ready", 0)


class TestGoing:
    """C13: pause, drain, grace, a second signal."""

    def test_c13_a_pause_lets_running_jobs_end_and_starts_none(
        self, queue: Queue, start_process: StartProcess, tmp_path: Path
    ) -> None:
        """C13: paused, the running job ends, none begins; resumed, they go on in order."""
        start_process("hold.rerun")
        handles = [queue.enqueue("hold.rerun", {"folder": str(tmp_path)}) for _ in range(3)]
        begun(tmp_path, 1)
        assert queue.pause("hold.rerun")
        assert not queue.pause("hold.rerun")
        sign(tmp_path)
        assert handles[0].result(timeout=10) == 1
        wait_until(lambda: idle_slots(queue) == 1, message="a look that found nothing to start")
        assert [handle.state() for handle in handles[1:]] == ["ready", "ready"]
        assert [obstacle.reason for obstacle in handles[1].why()] == ["paused"]
        assert queue.resume("hold.rerun")
        handles[2].result(timeout=10)
        assert [job_id for job_id, _, _ in run_lines(tmp_path)] == [handle.id for handle in handles]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
    def test_c13_a_drain_lets_running_jobs_end_and_starts_none(
        self, queue: Queue, start_process: StartProcess, number: signal.Signals, tmp_path: Path
    ) -> None:
        """C13: told to go, a worker lets its two jobs end, takes no third, and leaves with nothing handed back."""
        worker = start_process("hold.rerun", slots=2)
        handles = [queue.enqueue("hold.rerun", {"folder": str(tmp_path)}) for _ in range(3)]
        begun(tmp_path, 2)
        worker.child.signal(number)
        wait_until(lambda: f"{number.name}: letting 2 running jobs end" in worker.child.errors())
        sign(tmp_path)
        summary = worker.wait()
        assert (summary["succeeded"], summary["handed_back"], summary["interrupted"]) == (2, 0, 0)
        assert [handle.state() for handle in handles] == ["succeeded", "succeeded", "ready"]
        assert len(run_lines(tmp_path)) == 2
        assert [obstacle.reason for obstacle in handles[2].why()] == ["no-worker"], "its presence is gone at once"

    def test_c13_after_the_grace_jobs_are_handed_back_or_interrupted(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """C13: what does not end within the grace goes back uncounted (rerun) or is interrupted, as its type says."""
        queue.pools.set("vault", 2)
        worker = start_process("deaf.*", slots=2, grace=0.4)
        params, uses = {"folder": str(tmp_path)}, {"vault": 1}
        rerun = queue.enqueue("deaf.rerun", params, uses=uses)
        interrupt = queue.enqueue("deaf.interrupt", params, uses=uses)
        begun(tmp_path, 2)
        assert queue.pools["vault"].in_use == 2
        worker.child.terminate()
        summary = worker.wait(5)
        assert (summary["handed_back"], summary["interrupted"], summary["succeeded"]) == (1, 1, 0)
        back, stopped = rerun.record(), interrupt.record()
        assert (back.state, back.attempt, back.losses) == ("ready", 0, 0)
        assert (stopped.state, stopped.losses) == ("interrupted", 0)
        for word in (worker.id, socket.gethostname(), f"pid {worker.pid}"):
            assert word in (stopped.error or ""), "where"
        assert queue.pools["vault"].in_use == 0
        assert_one_place(redis, namespace, 2)

    def test_c13_a_second_signal_stops_at_once_and_still_hands_back(
        self, queue: Queue, start_process: StartProcess, tmp_path: Path
    ) -> None:
        """C13: with a grace of a minute, the second signal hands back at once."""
        worker = start_process("deaf.rerun", grace=60)
        handle = queue.enqueue("deaf.rerun", {"folder": str(tmp_path)})
        begun(tmp_path, 1)
        worker.child.terminate()
        wait_until(lambda: "letting 1 running jobs end" in worker.child.errors())
        assert (handle.state(), worker.child.running) == ("running", True)
        worker.child.terminate()
        assert worker.wait(5)["handed_back"] == 1
        assert (handle.state(), handle.record().attempt) == ("ready", 0)


class TestOffers:
    """C14: what a worker offers, and what it refuses at its start."""

    def test_c14_types_are_those_of_the_handlers_narrowed_by_patterns(self, queue: Queue, burst: Burst) -> None:
        """C14: the patterns choose; the other jobs stay, and are flagged as long as nobody else supports them."""
        handlers, trace = Handlers(), Trace()
        for type_ in ("drawing.check", "drawing.publish", "report", "reports"):
            handlers.handler(type_)(trace.run)
        handles = {type_: queue.enqueue(type_) for type_ in handlers.types}
        assert burst(handlers, types=["drawing.*", "report"]).handlers.types == handlers.types[:3]
        assert trace.ids == [handles[type_].id for type_ in handlers.types[:3]]
        assert [obstacle.reason for obstacle in handles["reports"].why()] == ["no-worker"]
        with pytest.raises(UnknownHandlers, match=r"^types: 'drawings\.\*' matches none of drawing.check, drawing.pub"):
            burst(handlers, types=["report", "drawings.*"])

    def test_c14_two_handlers_of_a_type_are_an_error_at_load(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """C14: the second one is refused and both are named; loading such a module says so, with exit code 2."""
        source = "from seatline.worker import Handlers\nhandlers = Handlers()\n"
        (tmp_path / "twice.py").write_text(
            source + "@handlers.handler('a')\ndef one(ctx): ...\n@handlers.handler('a')\ndef two(ctx): ...\n"
        )
        (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
        (tmp_path / "bare.py").write_text(source)
        (tmp_path / "none.py").write_text("")
        (tmp_path / "folder").mkdir()
        (tmp_path / "good.py").write_text(source + "@handlers.handler('a')\ndef one(ctx): ...\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        for name, says in {
            "twice": "type a: two handlers, twice.one and twice.two. Keep one",
            "broken:handlers": "module 'broken' cannot be imported (ModuleNotFoundError: No module named 'no_such_m",
            "nowhere:handlers": "module 'nowhere' cannot be imported",
            "good:others": "good has no Handlers() named 'others'. It has good:handlers (imported from ",
            "good.py": "Leave out .py: good.",
            "good.py:handlers": "Leave out .py: good:handlers.",
            "deep/good.py": "Leave out .py: good. Give it from the folder deep.",
            "none": "none has no Handlers() named 'handlers'. It has none (imported from ",
            "folder": f"It is a folder without an __init__.py: {tmp_path / 'folder'}. Name a module in it",
            "bare": "bare declares no handler",
        }.items():
            with pytest.raises(UnknownHandlers) as caught:
                load(name)
            assert says in str(caught.value)
            assert caught.value.exit_code == 2
        assert load("good").types == load("good:handlers").types == ["a"]

    def test_c14_a_worker_whose_handler_differs_refuses_to_start(
        self, queue: Queue, start_worker: StartWorker, burst: Burst
    ) -> None:
        """C14, S13: other seats or another if_lost than a live worker's: refused, naming both; not once it has left."""
        first = start_worker(Trace("a", uses={"vault": 1}).handlers)
        wait_until(lambda: idle_slots(queue))
        for other in (Trace("a"), Trace("a", uses={"vault": 1}, if_lost="rerun")):
            with pytest.raises(HandlerDiffers, match="says uses vault=1, if_lost interrupt") as caught:
                burst(other.handlers)
            assert first.worker.id in str(caught.value)
            assert caught.value.exit_code == 2
        first.stop()
        assert burst(Trace("a").handlers).summary.done == 0


class TestKills:
    """R8: process kills and lost connections lose nothing."""

    def test_r8_kills_of_the_server_lose_nothing_with_always(
        self, durable_server: RealServer, make_queue: Callable[..., Queue], start_process: StartProcess,
        namespace: str, tmp_path: Path,
    ) -> None:  # fmt: skip
        """R8: the server is killed four times under load. Every accepted job runs, once."""
        owner = make_queue(durable_server.url)
        workers = [start_process("plain", url=durable_server.url, slots=2, lease=5, renew=1) for _ in range(2)]
        ids: list[str] = []
        for _ in range(4):
            for _ in range(40):
                ids.append(owner.enqueue("plain", {"folder": str(tmp_path)}, token=f"t{len(ids)}").id)
            ids += owner.enqueue_many(jobs_for(tmp_path, "plain", 60))
            durable_server.restart(kill=True)
        wait_until(lambda: not list(owner.jobs(limit=1)), 30, "the end of all jobs")
        assert len(set(ids)) == len(ids) == 400
        with contextlib.closing(durable_server.client()) as raw:
            assert_one_place(raw, namespace, 400)
        assert run_counts(tmp_path) == Counter(ids), "a job was lost or ran twice"
        assert {owner.job(job_id).state for job_id in ids} == {"succeeded"}
        for worker in workers:
            worker.child.terminate()
        assert sum(worker.wait()["succeeded"] for worker in workers) == 400

    def test_r8_kills_of_the_server_lose_nothing_that_everysec_has_written(
        self, private_server: Callable[..., RealServer], make_queue: Callable[..., Queue], burst: Burst, namespace: str
    ) -> None:
        """R8: with everysec a killed process loses nothing that it has handed to the system, synced or not."""
        private = private_server(appendonly=True, config=["appendfsync everysec"])
        owner, trace = make_queue(private.url), Trace("a")
        ids: list[str] = []
        for round_ in range(1, 5):
            ids += owner.enqueue_many(Job("a") for _ in range(100))
            ids.append(owner.enqueue("a", priority=1).id)
            if round_ % 2:
                burst(trace.handlers, private.url)
            with contextlib.closing(private.client()) as raw:
                wait_until(lambda raw=raw: raw.info("persistence")["aof_buffer_length"] == 0)  # type: ignore[misc]
            private.restart(kill=True)
            with contextlib.closing(private.client()) as raw:
                assert_one_place(raw, namespace, len(ids))
        burst(trace.handlers, private.url)
        assert sorted(trace.ids) == sorted(ids), "a job was lost or ran twice"

    def test_r8_kills_of_workers_lose_nothing(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """R8: workers are killed in the middle of their work; every job ends, none stands in two places meanwhile."""
        ids = queue.enqueue_many(jobs_for(tmp_path, "plain", 400))
        queue.enqueue_many(jobs_for(tmp_path, "hold.rerun", 2))
        for round_ in (1, 2):
            worker = start_process("plain", "hold.rerun", slots=4, lease=0.8, renew=0.2)
            begun(tmp_path, 100 * round_)
            worker.child.kill()
            assert_one_place(redis, namespace, 402)
        sign(tmp_path)
        start_process("plain", "hold.rerun", slots=4, lease=0.8, renew=0.2)
        wait_until(lambda: not list(queue.jobs(limit=1)), 20, "the end of all jobs")
        assert_one_place(redis, namespace, 402)
        assert {record.state for job_id in ids for record in [queue.job(job_id)]} == {"succeeded"}
        counts = run_counts(tmp_path)
        assert counts.keys() >= set(ids)
        assert sum(counts.values()) <= 402 + 2 * 4, "more was run again than the killed ones held"
