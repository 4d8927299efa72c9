"""A worker that is paused, stopped or stuck (C13), and what it says of itself meanwhile."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pytest
from harness.processes import Child
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from rules.support import EventLog, Gate, ProcessWorker, ThreadWorker, Trace, idle_slots, run_lines

from seatline.producer import JobHandle, Queue
from seatline.shared.calls import reads
from seatline.shared.calls import workers as verbs
from seatline.shared.errors import InvalidInput, ServerError, WorkerStuck
from seatline.worker import Context, Handlers, Worker

StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]
Word = Literal["pause", "resume", "stop", "stop-now"]

STOCK: dict[str, Any] = {"lease": 30, "renew": 10}  # so that a renewal comes only when it is asked for
kinds = pytest.mark.parametrize("kind", ["thread", "async", "process"])


def ask(queue: Queue, worker: Worker, word: Word) -> None:
    queue.store.run(verbs.ask(worker.id, word, "anna@cad-01"))


def presence(queue: Queue, worker: Worker) -> dict[str, str]:
    """Return what a worker last said of itself."""
    return queue.store.read(reads.worker_records(queue.store.keys, [worker.id], []))[0].fields


def within_a_second(condition: Callable[[], object]) -> None:
    wait_until(condition, 1, "what was asked of the worker")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def gated(gate: Gate) -> Handlers:
    """A type that waits for the gate, and is handed back rather than interrupted."""
    handlers = Handlers()
    handlers.handler("a", if_lost="rerun")(gate.run)
    return handlers


class TestAsked:
    """C13: what people ask of a live worker happens within a second, by bell; its leases are the stock ones."""

    @pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
    def test_c13_pause_and_resume(
        self, queue: Queue, start_worker: StartWorker, gate: Gate, gated: Handlers, busy: bool
    ) -> None:
        """C13: what runs goes on, nothing begins; presence and ``why`` say so; resumed, it goes on in order."""
        log = EventLog()
        worker = start_worker(gated, sink=log, **STOCK).worker
        wait_until(lambda: idle_slots(queue) == 1)
        handles = [queue.enqueue("a")] if busy else []
        wait_until(lambda: len(gate.begun) == len(handles))
        ask(queue, worker, "pause")
        within_a_second(lambda: log.count("paused"))
        within_a_second(lambda: presence(queue, worker)["state"] == "paused")
        within_a_second(lambda: idle_slots(queue) == 0)
        handles += [queue.enqueue("a") for _ in range(2)]
        gate.opened.set()
        if busy:
            assert handles[0].result(timeout=2) == "through"
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 0.3, message="a while in which it could have begun one")
        assert [handle.state() for handle in handles[-2:]] == ["ready", "ready"]
        assert "paused" in " ".join(obstacle.message for obstacle in handles[-1].why())
        ask(queue, worker, "resume")
        within_a_second(lambda: handles[-1].state() == "succeeded")
        assert gate.begun == [handle.id for handle in handles]
        within_a_second(lambda: presence(queue, worker)["state"] == "awake")
        assert (log.count("paused"), log.count("resumed")) == (1, 1)

    @pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
    def test_c13_stop_lets_what_runs_end(
        self, queue: Queue, start_worker: StartWorker, gate: Gate, gated: Handlers, busy: bool
    ) -> None:
        """C13: nothing new begins; idle, it is gone at once."""
        log = EventLog()
        worker = start_worker(gated, sink=log, **STOCK)
        wait_until(lambda: idle_slots(queue) == 1)
        first = queue.enqueue("a") if busy else None
        wait_until(lambda: len(gate.begun) == busy)
        ask(queue, worker.worker, "stop")
        within_a_second(lambda: log.count("stopping"))
        second = queue.enqueue("a")
        if first:
            within_a_second(lambda: presence(queue, worker.worker).get("state") == "stopping")
            gate.opened.set()
            assert first.result(timeout=2) == "through"
        summary = worker.wait(1)
        assert (summary.succeeded, summary.handed_back) == (busy, 0)
        assert second.state() == "ready"
        assert presence(queue, worker.worker) == {}

    @kinds
    @pytest.mark.parametrize("way", ["stop-now", "stop, then stop-now"])
    def test_c13_stop_now_hands_back(self, queue: Queue, start_worker: StartWorker, kind: str, way: str) -> None:
        """C13: at once, whatever the grace; the attempt does not count, and is no loss."""
        handlers = Handlers()
        if kind == "async":
            handlers.handler("a", if_lost="rerun")(_wait)
        else:
            handlers.handler("a", if_lost="rerun", isolation=kind)(_sleep)  # type: ignore[call-overload]
        log = EventLog()
        worker = start_worker(handlers, sink=log, grace=60, **STOCK)
        handle = queue.enqueue("a")
        wait_until(lambda: log.count("execute"))
        if way != "stop-now":
            ask(queue, worker.worker, "stop")
            within_a_second(lambda: log.count("stopping"))
            assert handle.state() == "running"
        ask(queue, worker.worker, "stop-now")
        within_a_second(lambda: handle.state() == "ready")
        assert worker.wait(2).handed_back == 1
        record = handle.record()
        assert (record.attempt, record.losses, record.error) == (0, 0, None)

    def test_c13_a_paused_worker_can_be_stopped(
        self, queue: Queue, start_worker: StartWorker, gate: Gate, gated: Handlers
    ) -> None:
        """C13: the stop wins, and is not taken back by a resume."""
        worker = start_worker(gated, **STOCK)
        wait_until(lambda: idle_slots(queue) == 1)
        ask(queue, worker.worker, "pause")
        within_a_second(lambda: idle_slots(queue) == 0)
        handle = queue.enqueue("a")
        ask(queue, worker.worker, "stop")
        worker.wait(1)
        assert (handle.state(), gate.begun) == ("ready", [])

    def test_c13_only_the_one_that_was_asked(
        self, queue: Queue, start_worker: StartWorker, gate: Gate, gated: Handlers
    ) -> None:
        """C13: another worker of the same types goes on, and is rung for what comes."""
        paused, other = (start_worker(gated, **STOCK).worker for _ in range(2))
        wait_until(lambda: idle_slots(queue) == 2)
        ask(queue, paused, "pause")
        within_a_second(lambda: idle_slots(queue) == 1)
        gate.opened.set()
        handles = [queue.enqueue("a") for _ in range(5)]
        for handle in handles:
            assert handle.wait(timeout=2).worker == other.id
        assert paused.summary.done == 0


class TestByItself:
    """C13: the same from the program that runs the worker."""

    def test_c13_pause_resume_and_stop_are_methods(
        self, queue: Queue, start_worker: StartWorker, gate: Gate, gated: Handlers
    ) -> None:
        """C13: from any thread; said twice they are said once."""
        log = EventLog()
        worker = start_worker(gated, sink=log, **STOCK)
        wait_until(lambda: idle_slots(queue) == 1)
        for _ in range(2):
            worker.worker.pause()
        within_a_second(lambda: idle_slots(queue) == 0)
        assert worker.worker.state == "paused"
        handle = queue.enqueue("a")
        gate.opened.set()
        for _ in range(2):
            worker.worker.resume()
        assert handle.result(timeout=1) == "through"
        assert (log.count("paused"), log.count("resumed")) == (1, 1)
        assert worker.stop().succeeded == 1
        assert worker.worker.state == "stopping"

    def test_c13_paused_before_it_runs(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """C13: it registers, takes nothing, and begins when it is resumed."""
        trace = Trace("a")
        handle = queue.enqueue("a")
        worker = Worker(trace.handlers, server.url, namespace=namespace, **STOCK)
        worker.pause()
        running = ThreadWorker(worker)
        wait_until(lambda: presence(queue, worker))
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 0.2, message="a while in which it could have begun")
        assert handle.state() == "ready"
        worker.resume()
        assert handle.result(timeout=1) == handle.id
        running.stop()

    def test_c13_a_paused_burst_ends(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """C13: there is nothing that it may start."""
        trace = Trace("a")
        handle = queue.enqueue("a")
        worker = Worker(trace.handlers, server.url, namespace=namespace)
        worker.pause()
        assert worker.run(burst=True).done == 0
        assert handle.state() == "ready"

    @kinds
    @pytest.mark.parametrize("if_lost", ["rerun", "interrupt"])
    def test_c13_after_the_grace(
        self, queue: Queue, start_worker: StartWorker, kind: str, if_lost: Literal["rerun", "interrupt"]
    ) -> None:
        """C13, T4: what ends within it has ended; the rest goes back uncounted, or is interrupted and says where it ran."""
        handlers = Handlers()

        async def awork(ctx: Context, seconds: float) -> str:
            await asyncio.sleep(seconds)
            return "in time"

        def work(ctx: Context, seconds: float) -> str:
            ctx.sleep(seconds)
            return "in time"

        if kind == "async":
            handlers.handler("a", if_lost=if_lost)(awork)
        else:
            handlers.handler("a", if_lost=if_lost, isolation=kind)(work)  # type: ignore[call-overload]
        log = EventLog()
        worker = start_worker(handlers, slots=2, grace=0.5, sink=log)
        short, long = queue.enqueue("a", {"seconds": 0.3}), queue.enqueue("a", {"seconds": 30})
        wait_until(lambda: log.count("execute") == 2)
        began = time.monotonic()
        summary = worker.stop()
        assert 0.4 < time.monotonic() - began < 2
        assert short.result(timeout=1) == "in time"
        record = long.record()
        if if_lost == "rerun":
            assert (record.state, record.attempt, record.losses) == ("ready", 0, 0)
            assert (summary.handed_back, summary.interrupted) == (1, 0)
        else:
            assert (record.state, record.losses) == ("interrupted", 0)
            assert (summary.handed_back, summary.interrupted) == (0, 1)
            for word in (worker.worker.id, socket.gethostname(), "stopped before it had ended"):
                assert word in (record.error or "")
        assert log.lines[-2:] == ["on_shutdown", "shutdown"]

    def test_c13_what_had_not_begun_goes_back_whatever_its_type_says(
        self, queue: Queue, start_worker: StartWorker
    ) -> None:
        """C13: reserved while another handler blocked the loop: uncounted, to its place, although lost it is interrupted."""
        handlers, gate = Handlers(), Gate(deaf=True)

        @handlers.handler("blocks")
        async def block(ctx: Context) -> None:
            gate.run(ctx)

        @handlers.handler("a")
        async def run(ctx: Context) -> None: ...

        worker = start_worker(handlers, slots=2, grace=0.1, kill_after=5, lease=60, renew=20)
        queue.enqueue("blocks")
        wait_until(lambda: gate.begun)
        handle = queue.enqueue("a")
        wait_until(lambda: handle.state() == "running")
        worker.worker.stop()
        wait_until(lambda: all(hold.left for hold in list(worker.worker._turns.held.values())))
        gate.opened.set()
        worker.wait()
        record = handle.record()
        assert (record.state, record.attempt, record.losses, record.error) == ("ready", 0, 0, None)


def test_c13_a_signal_during_eight_running_jobs(queue: Queue, start_process: StartProcess, tmp_path: Path) -> None:
    """C13: SIGTERM; five end within the grace, three do not: two are handed back uncounted and end elsewhere, in order.

    The third is of a type that is not to run again by itself: interrupted.
    """
    first = start_process("hold.*", "deaf.*", slots=8, grace=1.0)
    types = ["hold.rerun", "hold.interrupt", "deaf.rerun", "deaf.interrupt", "hold.rerun"]
    types += ["hold.rerun", "deaf.rerun", "hold.interrupt"]  # these do not end in time
    handles: list[JobHandle] = []
    folders = [tmp_path / str(n) for n in range(8)]
    for folder, type_ in zip(folders, types, strict=True):
        folder.mkdir()
        handles.append(queue.enqueue(type_, {"folder": str(folder)}, priority=5))
    wait_until(lambda: all(run_lines(folder) for folder in folders), 10, "the start of all eight")
    first.child.terminate()
    wait_until(lambda: "SIGTERM: letting 8 running jobs end" in first.child.errors())
    for folder in folders[:5]:
        (folder / "go").touch()
    summary = first.wait(5)
    assert (summary["succeeded"], summary["handed_back"], summary["interrupted"]) == (5, 2, 1)
    assert [handle.state() for handle in handles] == ["succeeded"] * 5 + ["ready"] * 2 + ["interrupted"]
    assert [(handle.record().attempt, handle.record().losses) for handle in handles[5:7]] == [(0, 0)] * 2
    assert [record.id for record in queue.jobs(state="ready")] == [handle.id for handle in handles[5:7]]
    second = start_process("hold.*", "deaf.*", slots=8)
    for folder in folders:
        (folder / "go").touch()
    assert [handle.result(timeout=5) for handle in handles[:7]] == [1] * 7, "of each the first attempt that counts"
    assert {handle.record().worker for handle in handles[5:7]} == {second.id}
    assert [len(run_lines(folder)) for folder in folders] == [1] * 5 + [2] * 2 + [1]


def _sleep(ctx: Context) -> None:
    ctx.sleep(60)


async def _wait(ctx: Context) -> None:
    await asyncio.sleep(60)


class TestHealth:
    """What a worker says of itself, and the watchdog."""

    def test_presence_says_how_it_is(
        self, queue: Queue, start_worker: StartWorker, gate: Gate, gated: Handlers
    ) -> None:
        """C13, Q13: who and where it is, how many of its slots are busy, what it has done, its memory, its last error."""

        @gated.handler("fails")
        def fail(ctx: Context) -> None:
            raise ValueError(f"wrong with {ctx.id}\nsecond line")

        worker = start_worker(gated, slots=3).worker
        handles = [queue.enqueue("fails"), queue.enqueue("a"), queue.enqueue("a")]
        wait_until(lambda: len(gate.begun) == 2)
        handles[0].wait(timeout=2)
        wait_until(lambda: presence(queue, worker).get("failed") == "1")  # with its first renewal
        said = presence(queue, worker)
        assert (said["busy"], said["slots"], said["done"], said["overdue"]) == ("2", "3", "1", "0")
        assert said["last_error"] == f"job 1 ValueError: wrong with {handles[0].id}"
        assert (said["host"], said["version"]) == (socket.gethostname(), version("seatline"))
        assert said["python"] == ".".join(map(str, sys.version_info[:3]))
        assert int(said["memory"]) > 2**20
        assert int(said["pid"]) > 0
        assert abs(int(said["started"]) / 1000 - time.time()) < 60
        assert said["state"] == "awake"
        assert int(said["cycles"]) == worker._cycle.cycles >= 1
        gate.opened.set()
        for handle in handles[1:]:
            handle.result(timeout=2)
        wait_until(lambda: presence(queue, worker)["done"] == "3")
        assert presence(queue, worker)["busy"] == "0"

    @pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
    @pytest.mark.parametrize("way", ["SIGSTOP", "cut off", "refused"])
    def test_the_watchdog_ends_a_worker_that_reaches_nobody(
        self, private_server: Callable[..., RealServer], make_queue: Callable[..., Queue], start_worker: StartWorker,
        proxy_to: Callable[[RealServer], FaultProxy], gate: Gate, gated: Handlers, busy: bool, way: str,
    ) -> None:  # fmt: skip
        """C13, R3: no call has succeeded for so long: WorkerStuck, which names how long and where, with exit code 69."""
        private = private_server()
        owner, proxy = make_queue(private.url), proxy_to(private)
        options = {"lease": 3, "renew": 0.3, "timeout": 0.3, "connect_timeout": 0.3, "watchdog": 0.8}
        contexts: list[Context] = []

        @gated.handler("held")
        def hold(ctx: Context) -> None:
            contexts.append(ctx)
            gate.run(ctx)

        worker = start_worker(gated, proxy.url, **options)
        wait_until(lambda: idle_slots(owner) == 1)
        if busy:
            owner.enqueue("held")
            wait_until(lambda: gate.begun)
        began = time.monotonic()
        if way == "SIGSTOP":
            private.pause()
        elif way == "cut off":
            proxy.blackhole()
        else:
            proxy.refuse()
            proxy.reset_all()
        said = r"no call of this worker has succeeded for [1-3] s \(watchdog 0\.8 s\)"
        with pytest.raises(WorkerStuck, match=said) as caught:
            worker.wait(5)
        assert [ctx.fenced for ctx in contexts] == [True] * busy, "nobody renews its lease any more"
        assert 0.5 <= time.monotonic() - began < 3
        assert str(proxy.port) in str(caught.value)
        assert caught.value.exit_code == 69

    @pytest.mark.parametrize("classic", [False, True], ids=["normal", "classic"])
    def test_the_watchdog_watches_the_login_too(
        self, private_server: Callable[..., RealServer], start_worker: StartWorker, classic: bool
    ) -> None:
        """C13, R3: a server that is not there when the worker starts."""
        private = private_server()
        private.pause()
        trace = Trace("a")
        options = {"renew": 0.3, "timeout": 0.2, "connect_timeout": 0.2, "watchdog": 0.7, "classic": classic}
        with pytest.raises(WorkerStuck):
            start_worker(trace.handlers, private.url, **options).wait(5)

    def test_without_a_watchdog_it_waits_and_goes_on(
        self, private_server: Callable[..., RealServer], make_queue: Callable[..., Queue], start_worker: StartWorker
    ) -> None:
        """R3: however long the server is away; told to stop meanwhile, it says that the server did not hear."""
        private = private_server()
        owner, trace = make_queue(private.url, timeout=10), Trace("a")
        worker = start_worker(trace.handlers, private.url, timeout=0.2, connect_timeout=0.2)
        wait_until(lambda: idle_slots(owner) == 1)
        private.pause()
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 1.5, message="longer than its lease")
        private.resume()
        assert owner.enqueue("a").result(timeout=8) is not None
        private.pause()
        worker.worker.stop()
        with pytest.raises(ServerError, match="did not answer"):
            worker.wait(8)

    def test_the_watchdog_lets_a_classic_worker_sleep(self, start_worker: StartWorker) -> None:
        """C2: asleep it calls nobody, and that is as it should be."""
        trace, log = Trace("a"), EventLog()
        worker = start_worker(trace.handlers, classic=True, wake_interval=1.0, watchdog=0.7, renew=0.3, sink=log)
        wait_until(lambda: log.count("sleep") == 2, 5)
        worker.stop()

    def test_a_watchdog_that_would_bite_a_quiet_worker_is_refused(self, server: RealServer) -> None:
        """R4: an idle worker calls once a renewal."""
        handlers = Trace("a").handlers
        with pytest.raises(InvalidInput, match=r"watchdog: 15 s is too short.*Use 20 s or more, or 0"):
            Worker(handlers, server.url, watchdog=15)
        Worker(handlers, server.url, watchdog=20).store.close()

    def test_the_end_of_a_run_is_whole(
        self, queue: Queue, start_worker: StartWorker, gate: Gate, gated: Handlers
    ) -> None:
        """C13: nothing of a worker is left: no thread, no presence, no idle registration."""

        @gated.handler("later")
        async def later(ctx: Context) -> Any:
            await asyncio.sleep(0)
            ctx.log("done")

        before = set(threading.enumerate())
        worker = start_worker(gated, slots=4)
        gate.opened.set()
        for handle in [queue.enqueue(type_) for type_ in ("a", "later", "a")]:
            handle.wait(timeout=2)
        worker.stop()
        wait_until(lambda: not set(threading.enumerate()) - before, 3, "the end of all its threads")
        assert presence(queue, worker.worker) == {}
        assert idle_slots(queue) == 0


INTERRUPTED = """
import logging, os, signal, sys
from seatline.worker import Handlers, Worker

class Busy(logging.Handler):
    busy = signals = 0
    def emit(self, record):
        if self.busy:
            raise RuntimeError("reentrant call, as a full or slow standard error has it")
        self.busy = 1
        if record.getMessage().startswith("stopping") and not self.signals:
            self.signals = 1
            os.kill(os.getpid(), signal.SIGTERM)
        print(record.getMessage(), flush=True)
        self.busy = 0

logging.basicConfig(level=logging.INFO, handlers=[Busy()])
handlers = Handlers()
handlers.handler("a")(lambda ctx: None)
Worker(handlers, sys.argv[1], namespace=sys.argv[2]).run()
"""


def test_c13_a_signal_may_come_while_a_line_is_being_written(
    server: RealServer, namespace: str, spawn: Callable[..., Child]
) -> None:
    """C13: a second signal interrupts the writing of what the first one had to say: both count, and both are told."""
    worker = spawn([sys.executable, "-c", INTERRUPTED, server.url, namespace])
    wait_until(lambda: "startup" in worker.output(), 20, "the worker's start")
    worker.signal(signal.SIGTERM)
    assert worker.wait(20) == 0, worker.errors()
    assert [line.split(": ")[2] for line in worker.output().splitlines() if line.startswith("stopping")] == [
        "letting 0 running jobs end",
        "at once; what runs goes back to its place, or is interrupted, as its if_lost says",
    ]
    assert "shutdown" in worker.output()
