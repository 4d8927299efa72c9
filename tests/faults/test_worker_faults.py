"""Rows F1 to F22 of the failure model: what happens to workers and their handlers, and what must become of it.

Each row has a test named after it; its docstring is the row's words. Rows that other modules prove as well, or at
greater length:

    row          also proven by
    F2, F5       test_outages.TestConnections: replies of a turn and of a settling that are lost, worker alive
    F3           test_fencing.TestKilled.test_recovery_time
    F7, F8       test_fencing.TestZombie; TestSelfFencing for one that is cut off
    F9, F14      tests/worker/test_executor_table.py: `time out`, `os._exit`, `SIGSEGV`, `BaseException`
    F12          the same, `forks a grandchild`
    F13          test_fencing.TestKilled.test_three_times
    F16          tests/rules/test_worker_rules.py: TestGoing
    F18          tests/rules/test_worker_rules.py: TestIdentity
    F19          test_exactly_once.TestForksAndThreads, for producers
    F21          tests/worker/test_executor_table.py: `huge result`, `unserialisable result`
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from faults.abused import Yard
from faults.farm import Started
from faults.snapshot import exact
from harness.processes import Children, _parents
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.support import Gate, ThreadWorker

import seatline.shared
from seatline.producer import JobHandle, Queue
from seatline.shared.errors import JobInterrupted
from seatline.shared.scripts import names, script
from seatline.worker import Handlers, Worker

QueueAt = Callable[..., Queue]
SOON = 10.0
#: Of a worker that is to be lost: its lease ends soon.
FRAIL: Final[Mapping[str, Any]] = {"lease": 0.6, "renew": 0.2}
#: Of one that outlives it: it looks often and never seems lost.
STURDY: Final[Mapping[str, Any]] = {"lease": 6.0, "renew": 0.2}


def sha(name: str) -> bytes:
    return script(name).sha.encode()


@pytest.fixture(autouse=True)
def known_scripts(redis: Redis) -> None:
    """A fault is for the script, not for its NOSCRIPT."""
    for name in names():
        redis.script_load(script(name).text)


@pytest.fixture
def queue(queue_at: QueueAt, namespace: str, server: RealServer) -> Queue:
    made = queue_at(server.url, namespace)
    made.pools.set("vault", 1)
    return made


@pytest.fixture
def yard(namespace: str, tmp_path: Path) -> Iterator[Yard]:
    """Worker processes that are abused; in the end none of their family may be left."""
    with Children() as children:
        yield Yard(children, tmp_path)
        for child in children.all:
            if child.running:
                child.signal(signal.SIGCONT)
                child.kill()
        wait_until(lambda: not children.left(), message="the end of what the workers had started")


@pytest.fixture
def start(yard: Yard, server: RealServer, namespace: str) -> Callable[..., Started]:
    """Start a worker and wait until it has begun."""

    def ready(*types: str, url: str = "", **options: Any) -> Started:
        started = yard.worker(url or server.tcp_url, namespace, *types, **options)
        wait_until(lambda: started.child.output() or not started.child.running, SOON, "the start of a worker")
        assert started.child.output(), started.child.errors()
        return started

    return ready


def runs(yard: Yard, job: JobHandle) -> list[int]:
    """Return the processes that began this job, in order."""
    return [line["pid"] for line in yard.lines("begin", job.id)]


def begun(yard: Yard, *jobs: JobHandle) -> None:
    """Wait until these run."""
    wait_until(lambda: all(runs(yard, job) for job in jobs), SOON, "the begin of jobs")


def who(worker: Started) -> str:
    """Return a worker's id."""
    return str(json.loads(worker.child.output().splitlines()[0])["id"])


def summary(worker: Started) -> dict[str, int]:
    """Return what it did, once it has ended well."""
    assert worker.child.wait(SOON) == 0, worker.child.errors()
    return dict(json.loads(worker.child.output().splitlines()[-1]))


def failure(job: JobHandle) -> tuple[str | None, str | None]:
    """Wait for its end; it must have failed. Returns the type and text of its error."""
    record = job.wait(SOON)
    assert record.state == "failed", record
    return record.error_type, record.error


def family(worker: Started) -> list[int]:
    """Return a worker's process and its descendants."""
    parents, found = _parents(), [worker.pid]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def test_every_row_has_its_test() -> None:
    found = re.findall(r"def test_f(\d\d)_", Path(__file__).read_text())
    assert sorted({int(row) for row in found}) == list(range(1, 23))


class TestKilled:
    """F1 to F6: kill -9 at each phase of an exchange; what a lost worker held runs elsewhere, exactly as often as it must."""

    def test_f01_before_reserve_is_sent(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, namespace: str, proxy: FaultProxy, redis: Redis
    ) -> None:
        """kill -9 before reserve is sent: unchanged."""
        job = queue.enqueue("thread.note", uses={"vault": 1})
        before = content(redis, namespace)
        killed = start_to_kill(proxy.cut_before, "turn", lambda: yard.worker(proxy.url, namespace, **FRAIL))
        wait_until(lambda: not killed.child.running, SOON)
        assert content(redis, namespace) == before
        healthy = start(**STURDY)
        assert job.result(timeout=SOON) == healthy.pid
        assert (job.record().attempt, job.record().losses) == (1, 0)

    def test_f02_after_reserve_before_its_reply(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, namespace: str, proxy: FaultProxy
    ) -> None:
        """kill -9 after reserve executed, before its reply was read: orphan lease; after expiry back at its old sequence;
        seats returned once; counted lost, not handler failure."""
        first, second = (queue.enqueue("thread.note", uses={"vault": 1}) for _ in range(2))
        killed = start_to_kill(proxy.swallow_reply, "turn", lambda: yard.worker(proxy.url, namespace, **FRAIL))
        wait_until(lambda: not killed.child.running, SOON)
        assert (first.state(), second.state()) == ("running", "ready")
        assert (seats(queue), yard.lines()) == ((1, 1), [])
        healthy = start(**STURDY)
        assert [job.result(timeout=SOON) for job in (first, second)] == [healthy.pid, healthy.pid]
        assert [line["id"] for line in yard.lines("begin")] == [first.id, second.id]
        assert seats(queue) == (0, 0)
        lost_once(first)

    @pytest.mark.parametrize("isolation", ["thread", "process"])
    def test_f03_in_the_handler(self, start: Callable[..., Started], yard: Yard, queue: Queue, isolation: str) -> None:
        """kill -9 in the handler: the same; outside effects may repeat."""
        killed = start(**FRAIL)
        first = queue.enqueue(f"{isolation}.hold", uses={"vault": 1})
        begun(yard, first)
        second = queue.enqueue("thread.note", uses={"vault": 1})
        killed.child.kill()
        yard.release("2")
        start(**STURDY)
        assert first.result(timeout=SOON)
        assert second.result(timeout=SOON)
        assert [line["id"] for line in yard.lines("begin")] == [first.id, first.id, second.id]
        assert seats(queue) == (0, 0)
        lost_once(first)

    def test_f04_after_the_handler_before_complete_is_sent(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, proxy: FaultProxy
    ) -> None:
        """kill -9 after the handler, before complete is sent: the step runs again."""
        killed = start(url=proxy.url, **FRAIL)
        proxy.cut_before(reports, hook=killed.child.kill)
        job = queue.enqueue("thread.note", uses={"vault": 1})
        wait_until(lambda: not killed.child.running, SOON)
        assert (runs(yard, job), job.state()) == ([killed.pid], "running")
        healthy = start(**STURDY)
        assert job.result(timeout=SOON) == healthy.pid
        assert runs(yard, job) == [killed.pid, healthy.pid]
        lost_once(job)

    def test_f05_after_complete_before_its_reply(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, proxy: FaultProxy, redis: Redis
    ) -> None:
        """kill -9 after complete executed, before the reply: done once; never run again."""
        killed = start(url=proxy.url, **FRAIL)
        proxy.swallow_reply(reports, hook=killed.child.kill)
        job = queue.enqueue("thread.note", uses={"vault": 1})
        wait_until(lambda: not killed.child.running, SOON)
        assert (job.state(), job.result(), seats(queue)) == ("succeeded", killed.pid, (0, 0))
        start(**STURDY)
        wait_until(lambda: not redis.exists(queue.store.keys(f"worker:{who(killed)}")), SOON, "the end of its presence")
        assert (job.state(), runs(yard, job)) == ("succeeded", [killed.pid])

    @pytest.mark.parametrize("executed", [False, True], ids=["unheard", "executed"])
    def test_f06_during_a_heartbeat(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, proxy: FaultProxy, executed: bool
    ) -> None:
        """kill -9 during a heartbeat: as F3."""
        killed = start(url=proxy.url, **FRAIL)
        job = queue.enqueue("thread.hold", uses={"vault": 1})
        begun(yard, job)
        (proxy.swallow_reply if executed else proxy.cut_before)(sha("renew"), hook=killed.child.kill)
        wait_until(lambda: not killed.child.running, SOON)
        yard.release("2")
        healthy = start(**STURDY)
        assert job.result(timeout=SOON) == healthy.pid
        assert seats(queue) == (0, 0)
        lost_once(job)

    @pytest.mark.parametrize("verb", ["offer", "leave"])
    @pytest.mark.parametrize("executed", [False, True], ids=["unheard", "executed"])
    def test_f06_while_starting_or_stopping(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, namespace: str, proxy: FaultProxy, redis: Redis,
        verb: str, executed: bool,
    ) -> None:  # fmt: skip
        """kill -9 while starting or stopping: unchanged."""
        job = queue.enqueue("process.note", delay=0 if verb == "offer" else 60)
        before = content(redis, namespace)
        fault = proxy.swallow_reply if executed else proxy.cut_before
        killed = start_to_kill(fault, verb, lambda: yard.worker(proxy.url, namespace, **FRAIL))
        if verb == "leave":
            wait_until(lambda: killed.ready, SOON)
            killed.child.terminate()
        wait_until(lambda: not killed.child.running, SOON)
        assert content(redis, namespace) == before
        wait_until(lambda: not yard.alive, message="the end of its nursery")
        if verb == "offer":
            start(**STURDY)
            assert job.result(timeout=SOON)
        assert job.record().losses == 0


def start_to_kill(fault: Callable[..., None], verb: str, start: Callable[[], Started]) -> Started:
    """Start a worker that is killed as this fault strikes one of its requests."""
    started: list[Started] = []

    def kill() -> None:
        started[0].child.kill()

    fault(sha(verb), hook=kill)
    started.append(start())
    return started[0]


def reports(request: bytes) -> bool:
    """Whether a request settles a success."""
    return sha("turn") in request and b"succeeded" in request


def seats(queue: Queue) -> tuple[int, int | None]:
    pool = queue.pools["vault"]
    return pool.in_use, pool.counter


def content(redis: Redis, namespace: str) -> Any:
    """Return all of a namespace but who is there: presence and offers, which expire by themselves, and lanes."""
    there = exact(redis, namespace)
    passing = re.compile(r".*}:(worker|offer|idle|bell|lane|types?|about|alarm|events)")
    return {name: value for name, value in there.items() if not passing.match(name)}


def lost_once(job: JobHandle) -> None:
    """It was counted as a loss, not as a failed attempt."""
    record = job.record()
    assert (record.state, record.losses, record.error_type) == ("succeeded", 1, None)
    assert job.attempts() == []
    assert sum(line.endswith(": lost") for line in job.history()) == 1


class TestStopped:
    """F7, F8: SIGSTOP."""

    @pytest.mark.parametrize("isolation", ["thread", "process"])
    def test_f07_beyond_the_lease_its_handler_still_runs(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, redis: Redis, namespace: str, isolation: str
    ) -> None:
        """SIGSTOP beyond the lease, SIGCONT: heartbeat, progress, complete answer stale; no change; handler told (Q14)."""
        zombie = start(**FRAIL)
        job = queue.enqueue(f"{isolation}.hold", uses={"vault": 1})
        begun(yard, job)
        pids = family(zombie)
        signal_all(pids, signal.SIGSTOP)
        healthy = start(**STURDY)
        wait_until(lambda: len(runs(yard, job)) == 2, SOON, "the rerun")
        yard.release("2")
        mine = job.result(timeout=SOON)
        assert mine in family(healthy)
        before = job_content(redis, namespace, job)
        signal_all(pids, signal.SIGCONT)
        wait_until(lambda: zombie.said("the report (abandoned) changed nothing"), SOON)
        (told,) = yard.lines("told", job.id)
        assert (told["attempt"], told["fenced"]) == (1, True)
        assert job_content(redis, namespace, job) == before
        assert (job.result(), job.record().progress, job.log()) == (mine, None, [])
        assert seats(queue) == (0, 0)
        for each in (zombie, healthy):  # both work on
            each.child.terminate()
        assert (summary(zombie)["stale"], summary(healthy)["succeeded"]) == (1, 1)

    @pytest.mark.parametrize("isolation", ["thread", "process"])
    def test_f07_beyond_the_lease_its_handler_has_ended(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, redis: Redis, namespace: str, isolation: str
    ) -> None:
        """SIGSTOP beyond the lease: a success that comes too late is refused (Q14). Only the worker stops, not its child."""
        zombie = start(**FRAIL)
        job = queue.enqueue("thread.deaf" if isolation == "thread" else "process.hold")
        begun(yard, job)
        os.kill(zombie.pid, signal.SIGSTOP)
        yard.release("1")
        if isolation == "process":
            wait_until(lambda: yard.lines("end", job.id), SOON, "the end in the child")
        healthy = start(**STURDY)
        wait_until(lambda: len(runs(yard, job)) == 2, SOON, "the rerun")
        yard.release("2")
        mine = job.result(timeout=SOON)
        assert mine in family(healthy)
        before = job_content(redis, namespace, job)
        os.kill(zombie.pid, signal.SIGCONT)
        wait_until(lambda: zombie.said("the report (succeeded) changed nothing"), SOON)
        assert job_content(redis, namespace, job) == before
        assert job.result() == mine
        lost_once(job)

    def test_f08_for_less_than_the_lease(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """SIGSTOP shorter than the lease: nothing visible. All processes of a worker, as a paused container would."""
        worker, _ = start("process.*", **STURDY), start("process.*", **STURDY)
        job = queue.enqueue("process.hold")
        begun(yard, job)
        holder = next(each for each in (worker, _) if runs(yard, job)[0] in family(each))
        pids = family(holder)
        signal_all(pids, signal.SIGSTOP)
        paused = time.monotonic()
        wait_until(lambda: time.monotonic() > paused + 4 * STURDY["renew"], message="some renewals that are left out")
        signal_all(pids, signal.SIGCONT)
        yard.release("1")
        assert job.result(timeout=SOON) == runs(yard, job)[0]
        assert (len(runs(yard, job)), job.record().losses) == (1, 0)
        said = [line for line in holder.child.errors().splitlines() if "no append-only file" not in line]  # R5
        assert not any("WARNING" in line for line in said), said


class TestHandlers:
    """F9 to F15: what handlers do, or have done to them."""

    def test_f09_it_hangs(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """handler hangs while heartbeats go on: hard timeout, child killed, failure "timeout", seats free (C15)."""
        worker = start(slots=2, kill_after=0.2, **FRAIL)
        beside = queue.enqueue("process.hold", {"name": "beside"})
        job = queue.enqueue("process.hang", uses={"vault": 1})
        begun(yard, job, beside)
        assert failure(job) == ("Timeout", "it ran longer than its timeout of 1.2 s, and was killed")
        assert seats(queue) == (0, 0)
        assert (job.record().attempt, job.record().losses) == (1, 0)
        assert runs(yard, job)[0] not in yard.alive
        yard.release("beside")
        assert beside.result(timeout=SOON) in family(worker)

    def test_f10_it_holds_the_interpreter_lock(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """handler holds the GIL / a C call: heartbeats still go, from the parent process."""
        worker, _ = start("process.gil", lease=0.9, renew=0.2), start("thread.note", **STURDY)
        job = queue.enqueue("process.gil", {"seconds": 2})
        assert job.result(timeout=SOON) == 0, "another thread of the child has run: the lock was not held"
        record = job.record()
        assert (record.attempt, record.losses, len(runs(yard, job))) == (1, 0, 1)
        assert record.finished
        assert record.started
        assert (record.finished - record.started).total_seconds() > 2 * 0.9
        assert worker.said("stale") == worker.said("told to stop") == 0

    def test_f11_it_leaks(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """memory leak: a child that has grown beyond the limit is replaced after its job."""
        start("process.grow", child_memory=128)
        lean, same, grown, other = (
            queue.enqueue("process.grow", {"mib": mib}).result(timeout=SOON) for mib in (0, 8, 150, 0)
        )
        assert lean == same == grown != other
        wait_until(lambda: grown not in yard.alive, message="the end of the child that has grown")

    def test_f11_it_is_killed(self, start: Callable[..., Started], queue: Queue) -> None:
        """OOM killer: child dies, parent reports the signal; counts as a crash (C12)."""
        worker = start("process.*")
        job = queue.enqueue("process.end", {"how": "SIGKILL"}, uses={"vault": 1})
        assert failure(job) == ("HandlerDied", "its process ended under it: killed by SIGKILL (out of memory?)")
        assert job.record().losses == 1
        assert seats(queue) == (0, 0)
        assert queue.enqueue("process.note").result(timeout=SOON) in family(worker)

    def test_f11_it_has_a_limit(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """RLIMIT_AS: its own failure, told as such; nobody dies."""
        start("process.*")
        assert failure(queue.enqueue("process.starve"))[0] == "MemoryError"
        assert queue.enqueue("process.note").result(timeout=SOON) == yard.lines("begin")[0]["pid"]

    def test_f12_it_leaves_processes(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """fork bomb, grandchildren left over: none left after the job. Also in sessions of their own, of nobody's, that
        ignore SIGTERM, and that are always somebody else."""
        worker = start("process.*")
        usual = {queue.enqueue("process.note").result(timeout=SOON), *family(worker)}
        assert len(usual) == 3, "worker, nursery, child"
        for _ in range(3):
            job = queue.enqueue("process.bomb")
            assert job.result(timeout=SOON) in usual
            assert yard.alive == usual
            assert any("left running" in line for line in job.log())

    def test_f13_poison_for_its_child(self, start: Callable[..., Started], queue: Queue) -> None:
        """poison job kills its process each time: after 3 crashes interrupted, with worker, host, exit code (C12)."""
        worker = start("process.*")
        for how, said in (("SIGSEGV", "killed by SIGSEGV"), ("os._exit(0)", "exit code 0")):
            job = queue.enqueue("process.poison", {"how": how}, uses={"vault": 1})
            record = job.wait(SOON)
            assert (record.state, record.losses, record.attempt) == ("interrupted", 3, 3)
            last = f"lost 3 times, the last time by worker {who(worker)}: its process ended under it: {said}"
            assert record.error == last
            assert re.sub("[^A-Za-z0-9.-]", "-", socket.gethostname()) in last
            assert [each.error_type for each in job.attempts()] == ["HandlerDied"] * 2
            assert seats(queue) == (0, 0)

    def test_f13_poison_for_its_worker(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """poison job kills its worker each time: after 3 crashes interrupted, with worker and host; the fleet survives."""
        healthy = start("thread.note", **STURDY)
        job = queue.enqueue("thread.poison", {"how": "os._exit(0)"}, uses={"vault": 1})
        fleet = {each.pid: each for each in (start("thread.poison", lease=0.5, renew=0.2) for _ in range(3))}
        with pytest.raises(JobInterrupted):
            job.result(timeout=SOON)
        killed = runs(yard, job)
        assert sorted(killed) == sorted(fleet), "each once"
        assert {each.child.wait(SOON) for each in fleet.values()} == {0}, "and the job was never done"
        record = job.record()
        assert record.losses == 3
        assert f"its worker {who(fleet[killed[-1]])} on {socket.gethostname()} was lost" in (record.error or "")
        assert seats(queue) == (0, 0)
        assert healthy.child.running

    @pytest.mark.parametrize("isolation", ["thread", "process"])
    def test_f14_it_raises_what_is_no_error(self, start: Callable[..., Started], queue: Queue, isolation: str) -> None:
        """sys.exit, BaseException: failure with a clear reason, never "done"."""
        start(f"{isolation}.*")
        for how in ("sys.exit()", "sys.exit(0)", "KeyboardInterrupt", "GeneratorExit", "BaseException"):
            job = queue.enqueue(f"{isolation}.end", {"how": how}, uses={"vault": 1})
            assert failure(job)[0] == how.partition("(")[0].replace("sys.exit", "SystemExit")
            assert job.record().losses == 0
            assert seats(queue) == (0, 0)

    def test_f14_it_ends_its_process(self, start: Callable[..., Started], queue: Queue) -> None:
        """os._exit(0), segfault: failure with a clear reason, never "done". In a thread: see F13, for its worker."""
        start("process.*")
        ways = {"os._exit(0)": "exit code 0", "segfault": "killed by SIGSEGV", "SIGABRT": "killed by SIGABRT"}
        for how, said in ways.items():
            job = queue.enqueue("process.end", {"how": how})
            assert failure(job) == ("HandlerDied", f"its process ended under it: {said}")

    @pytest.mark.parametrize("how", ["descriptors", "folder", "signals", "binary"])
    def test_f15_it_spoils_its_process(self, start: Callable[..., Started], yard: Yard, queue: Queue, how: str) -> None:
        """handler closes fds, changes cwd, signals, prints binary: parent unaffected, and so is the next job."""
        worker = start("process.*", "shell.*", kill_after=0.3)
        job = queue.enqueue("process.spoil", {"how": how}, uses={"vault": 1})
        record = job.wait(SOON)
        if how == "descriptors":  # its end cannot be told any more
            assert (record.state, record.error_type) == ("failed", "HandlerDied")
        else:
            assert (record.state, record.error_type) == ("succeeded", None)
        found = queue.enqueue("process.look").result(timeout=SOON)
        assert found == {"folder": os.getcwd(), "ignored": [], "blocked": 0, "alarm": 0}  # noqa: PTH109
        assert failure(queue.enqueue("shell.fails")) == ("ExitCode", "exit code 3")
        late = queue.enqueue("process.limited", uses={"vault": 1})
        assert failure(late) == ("Timeout", "it ran longer than its timeout of 0.3 s")
        assert yard.lines("told", late.id), "the soft stop has reached it"
        assert seats(queue) == (0, 0)
        worker.child.terminate()
        assert summary(worker)["handed_back"] == 0


class TestWorkers:
    """F16 to F22: workers as a whole."""

    def test_f16_told_to_stop(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """SIGTERM: stops reserving, finishes in grace, else hands the lease back with no attempt counted (C13)."""
        queue.pools.set("vault", 8)
        worker = start(slots=8, grace=1.5, lease=6.0)
        quick, slow = (
            [
                queue.enqueue(f"{isolation}.hold", {"name": name}, uses={"vault": 1})
                for isolation in ("thread", "process")
                for _ in range(2)
            ]
            for name in ("quick", "slow")
        )
        begun(yard, *quick, *slow)
        more = queue.enqueue("thread.note")
        worker.child.terminate()
        wait_until(lambda: worker.said("letting 8 running jobs end"))
        yard.release("quick")
        told = summary(worker)
        assert (told["succeeded"], told["handed_back"], told["interrupted"]) == (4, 4, 0)
        assert [job.state() for job in (*quick, *slow, more)] == ["succeeded"] * 4 + ["ready"] * 5
        assert seats(queue) == (0, 0)
        assert not yard.alive
        assert {line["id"] for line in yard.lines("told")} == {job.id for job in slow}
        yard.release("slow")
        other = start(slots=8)
        for job in slow:
            assert job.result(timeout=SOON) in [other.pid, *runs(yard, job)[1:]]
            assert (job.record().attempt, job.record().losses, len(runs(yard, job))) == (1, 0, 2)

    def test_f17_killed_with_a_child_that_lives(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """parent killed, child alive: child dies, with all it has started; lease ends since heartbeats were the parent's."""
        killed = start(slots=2, **FRAIL)
        jobs = [queue.enqueue("process.family"), queue.enqueue("process.hold", uses={"vault": 1})]
        begun(yard, *jobs)
        wait_until(lambda: len(yard.alive) == 4 + 6, message="worker, nursery, two children, six of the handler's")
        killed.child.kill()
        wait_until(lambda: not yard.alive, 1.0, "the end of what a dead worker has left")
        yard.release("2")
        healthy = start(slots=2, **STURDY)
        for job in jobs:
            assert job.result(timeout=SOON) in family(healthy)
            lost_once(job)
        assert seats(queue) == (0, 0)

    def test_f17_its_nursery_is_killed(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """What makes the children is killed: they and what they started die, the worker says why and hands back what ran."""
        worker = start("process.*", lease=6.0)
        job = queue.enqueue("process.company", uses={"vault": 1})
        begun(yard, job)
        (nursery,) = [pid for pid, parent in _parents().items() if parent == worker.pid]
        os.kill(nursery, signal.SIGKILL)
        assert worker.child.wait(SOON) == 1
        assert worker.said("the process that makes this worker's child processes")
        assert not yard.alive
        assert (job.state(), seats(queue)) == ("ready", (0, 0))
        yard.release("1")
        start("process.*")
        assert job.result(timeout=SOON) == runs(yard, job)[1]
        assert (job.record().attempt, job.record().losses) == (1, 0)

    def test_f18_the_same_name_twice(
        self, request: pytest.FixtureRequest, queue: Queue, redis: Redis, namespace: str, server: RealServer
    ) -> None:
        """same worker name twice, pid reuse, cloned VM: identity = name + random instance; leases by token; both listed.

        Two workers of one process: host and pid are the same (Q13).
        """
        gates, workers, jobs = (Gate(), Gate()), list[ThreadWorker](), list[JobHandle]()
        for gate in gates:
            handlers = Handlers()
            handlers.handler("hold", if_lost="rerun")(gate.run)
            worker = ThreadWorker(Worker(handlers, server.tcp_url, namespace=namespace, **STURDY))
            request.addfinalizer(functools.partial(worker.worker.stop, now=True))
            workers.append(worker)
            jobs.append(queue.enqueue("hold"))
            wait_until(lambda gate=gate: gate.begun)  # type: ignore[misc]
        names = [each.worker.id for each in workers]
        assert len(set(names)) == 2
        assert len({name.rpartition(".")[0] for name in names}) == 1, "host and pid"
        records = [job.record() for job in jobs]
        assert [record.worker for record in records] == names
        assert set(redis.zrange(queue.store.keys("workers"), 0, -1)) == {name.encode() for name in names}
        assert workers[0].stop(now=True).handed_back == 1
        assert (jobs[0].state(), jobs[1].record()) == ("ready", records[1]), "it has handed back its own"
        gates[1].opened.set()
        assert [job.result(timeout=SOON) for job in jobs] == ["through", "through"]
        assert [job.record().worker for job in jobs] == [names[1], names[1]]
        workers[1].stop()

    def test_f19_a_handler_forks(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """fork after connect: child never uses the parent's socket. Here: of a worker's queue, by a handler."""
        worker = start(slots=2, **STURDY)
        for isolation in ("thread", "process", "async"):
            client, *ids = queue.enqueue(f"{isolation}.fork").result(timeout=SOON)
            other = ids.pop(6)
            assert client != other
            assert len({*ids}) == 11
            for each in ids:
                assert queue.handle(each).result(timeout=SOON) == worker.pid
                assert len(yard.lines("begin", each)) == 1

    @pytest.mark.parametrize("isolation", ["thread", "process", "async"])
    def test_f19_a_fork_comes_to_the_handlers_end(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, isolation: str
    ) -> None:
        """fork after connect: a handler's fork that returns from the handler is no second worker, nor its job's end."""
        worker = start(**STURDY)
        jobs = [queue.enqueue(f"{isolation}.fork", {"through": True}, uses={"vault": 1}) for _ in range(3)]
        for job in jobs:
            assert len(job.result(timeout=SOON)) == 13
        waiting = [job.id for job in queue.jobs(state="ready")]
        assert {queue.handle(each).result(timeout=SOON) for each in waiting} <= {worker.pid}
        assert len({line["pid"] for line in yard.lines("begin")}) == (2 if isolation == "process" else 1)
        wait_until(lambda: yard.alive == set(family(worker)), message="the end of what was forked")
        worker.child.terminate()
        assert summary(worker)["stale"] == 0

    @pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
    def test_f20_nowhere_to_log(
        self, yard: Yard, queue: Queue, server: RealServer, namespace: str, redirected: str
    ) -> None:
        """disk full for logs, or standard streams closed: job not failed by logging."""
        buffered = {"PYTHONUNBUFFERED": ""}  # as most start it; what could not be written is tried again at the end
        worker = yard.worker(server.tcp_url, namespace, shell=f'exec "$@" {redirected}', env=buffered, slots=2)
        jobs = [queue.enqueue(f"{isolation}.talk") for isolation in ("thread", "process") for _ in range(3)]
        assert [job.result(timeout=SOON) for job in jobs] == ["done"] * 6
        for job in jobs:
            assert [line.partition(" ")[2] for line in job.log()] == ["kept"]
            assert (job.record().progress, job.record().attempt) == ("1/2", 1)
        worker.child.terminate()
        assert worker.child.wait(SOON) == 0

    def test_f21_a_result_that_cannot_be_kept(self, start: Callable[..., Started], yard: Yard, queue: Queue) -> None:
        """result not serialisable / too large: failed with that reason, not tried again; lease and seats released."""
        start(slots=2)
        for isolation in ("thread", "process"):
            for what, said in (("odd", "result: a builtins.object cannot be stored"), ("large", "result: 8,388,6")):
                job = queue.enqueue(f"{isolation}.give", {"what": what}, uses={"vault": 1})
                kind, message = failure(job)
                assert kind == "InvalidInput"
                assert (message or "").startswith(said)
                assert (job.record().attempt, len(runs(yard, job)), job.attempts()) == (1, 1, [])
                assert seats(queue) == (0, 0)

    def test_f22_two_versions_of_the_scripts(
        self, start: Callable[..., Started], yard: Yard, queue: Queue, tmp_path: Path
    ) -> None:
        """rolling upgrade: old and new script versions at once: both run."""
        other = tmp_path / "seatline" / "shared"
        shutil.copytree(Path(seatline.shared.__file__).parent, other)
        for path in other.glob("lua/*.lua"):
            path.write_text(path.read_text() + "-- of another version\n")
        workers = [start("thread.hold"), start("thread.hold", env={"PYTHONPATH": str(tmp_path)})]
        digests = [json.loads(each.child.output().splitlines()[0])["turn"] for each in workers]
        assert digests[0] != digests[1]
        for round_ in range(2):
            jobs = [queue.enqueue("thread.hold", {"name": f"{round_}"}, uses={"vault": 1}) for _ in range(2)]
            queue.pools.set("vault", 2)
            begun(yard, *jobs)
            yard.release(f"{round_}")
            assert sorted(job.result(timeout=SOON) for job in jobs) == sorted(each.pid for each in workers)
        assert seats(queue) == (0, 0)

    @pytest.mark.damaged
    def test_f22_a_newer_schema(
        self, yard: Yard, queue: Queue, server: RealServer, namespace: str, redis: Redis
    ) -> None:
        """rolling upgrade: newer major schema refused at start, by worker and producer; nothing is changed."""
        queue.enqueue("thread.note")
        redis.hset(queue.store.keys.about, "schema", 2)
        before = exact(redis, namespace)
        worker = yard.worker(server.tcp_url, namespace)
        assert worker.child.wait(SOON) == 1
        assert "newer" in worker.child.errors().splitlines()[-1]
        assert exact(redis, namespace) == before
        assert yard.lines() == []


def job_content(redis: Redis, namespace: str, job: JobHandle) -> dict[str, bytes | None]:
    """Return all that is kept of a job."""
    return {name: redis.dump(name) for name in exact(redis, namespace) if job.id in name}
