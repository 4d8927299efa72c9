"""The worker's cycle: what comes when, what is held meanwhile, and the hooks (C1 to C3, C7 to C9)."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from harness.waiting import wait_until
from redis import Redis
from rules.support import EventLog, Gate, ProcessWorker, ThreadWorker, Trace, idle_slots

from seatline.producer import Queue
from seatline.shared.calls import reads
from seatline.shared.calls import workers as verbs
from seatline.shared.calls.reads import WorkerRecord
from seatline.shared.errors import InvalidInput
from seatline.worker import Context, Handlers, HookContext, Session, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]

INTERVAL = 1.0  # the shortest there is
AWAKE = ["wake", "server-login", "on_wake", "check"]
ASLEEP = ["server-logout", "on_sleep", "sleep"]


def job_lines(*numbers: int) -> list[str]:
    """Return what is told of jobs that use a seat, one after another."""
    return [f"{event} J{n}" for n in numbers for event in ("session-open", "execute", "session-close")]


def known(queue: Queue, worker_id: str) -> WorkerRecord:
    """Return a worker's presence, and the types of its offer."""
    offers = queue.store.read(reads.name_set(queue.store.keys, "offers"))
    return queue.store.read(reads.worker_records(queue.store.keys, [worker_id], offers))[0]


def sleeps(queue: Queue, worker_id: str) -> bool:
    return known(queue, worker_id).fields.get("state", "").startswith("sleeping until ")


def logins(redis: Redis) -> int:
    """Return how many workers are logged in: one may have several connections, which bear its name."""
    return len({client["name"] for client in redis.client_list() if client["name"].startswith("seatline:worker:")})


def seated(isolation: str) -> Handlers:
    """Declare a type ``a`` that uses a seat and logs in, run in one way or the other."""
    handlers = Handlers()

    @handlers.login("vault")
    @contextmanager
    def login(session: Session) -> Any:
        yield object()

    uses = {"vault": 1}
    if isolation == "async":

        @handlers.handler("a", uses=uses)
        async def later(ctx: Context) -> None: ...
    elif isolation == "shell":
        handlers.shell("a", ["true"], uses=uses)
    else:

        @handlers.handler("a", uses=uses, isolation="thread" if isolation == "thread" else None)
        def now(ctx: Context) -> None: ...

    return handlers


@pytest.mark.parametrize("isolation", ["thread", "process", "async", "shell"])
class TestTheLog:
    """C1: what is told, in which order."""

    def test_c1_a_classic_worker_with_two_jobs(self, queue: Queue, burst: Burst, isolation: str) -> None:
        """C1: exactly the original's events; the process has a beginning and an end round it."""
        queue.pools.set("vault", 1)
        for _ in range(2):
            queue.enqueue("a")
        log = EventLog()
        burst(seated(isolation), classic=True, sink=log)
        assert log.cycle == [*AWAKE, *job_lines(1, 2), *ASLEEP]
        assert log.lines[:2] == ["startup", "on_startup"]
        assert log.lines[-2:] == ["on_shutdown", "shutdown"]
        settled = [log.lines.index(line) for line in ("session-close J1", "settled J1", "session-open J2")]
        assert settled == sorted(settled), "J2 was begun before J1 was settled"

    def test_c1_a_normal_worker_with_two_jobs(self, queue: Queue, burst: Burst, isolation: str) -> None:
        """C1: in normal mode the worker stays logged in while it sleeps, and logs out when it goes."""
        queue.pools.set("vault", 1)
        for _ in range(2):
            queue.enqueue("a")
        log = EventLog()
        burst(seated(isolation), sink=log)
        assert log.cycle == [*AWAKE, *job_lines(1, 2), "on_sleep", "sleep", "server-logout"]


class TestEvents:
    def test_c1_cycles_of_a_normal_worker(self, queue: Queue, start_worker: StartWorker) -> None:
        """C1, C8: a cycle goes from the first job after idleness to the next idleness; the first one finds nothing."""
        trace, log = Trace("a"), EventLog()
        worker = start_worker(trace.handlers, sink=log, slots=2)
        wait_until(lambda: log.count("sleep") == 1)
        for cycle in (2, 3):
            queue.enqueue("a").result(timeout=5)
            wait_until(lambda cycle=cycle: log.count("sleep") == cycle)  # type: ignore[misc]
        worker.stop()
        assert log.cycle == [
            *AWAKE, "on_sleep", "sleep",
            "wake", "on_wake", "check", "execute J1", "on_sleep", "sleep",
            "wake", "on_wake", "check", "execute J2", "on_sleep", "sleep",
            "server-logout",
        ]  # fmt: skip
        assert [fields["cycle"] for event, fields in log.events if event == "wake"] == [1, 2, 3]

    def test_c1_no_params_and_no_results_are_told(
        self, queue: Queue, burst: Burst, caplog: pytest.LogCaptureFixture
    ) -> None:
        """C1: events carry the job's id, type and attempt, to the sink and to the log; never what it is about."""
        handlers, log = Handlers(), EventLog()

        @handlers.handler("a")
        def run(ctx: Context, password: str) -> str:
            return f"result-{password}"

        handle = queue.enqueue("a", {"password": "rosebud"})
        with caplog.at_level("DEBUG", logger="seatline.worker"):
            burst(handlers, sink=log)
        assert log.fields("execute") == {"job": handle.id, "type": "a", "attempt": 1}
        assert log.fields("settled")["state"] == "succeeded"
        assert "rosebud" not in f"{log.events}{caplog.text}"
        (record,) = (record for record in caplog.records if record.getMessage().startswith("execute"))
        assert record.seatline["job"] == handle.id  # type: ignore[attr-defined]
        assert record.seatline["event"] == "execute"  # type: ignore[attr-defined]

    def test_c1_a_sink_that_raises_stops_nobody(self, queue: Queue, burst: Burst) -> None:
        """C1: whoever watches cannot bring the worker down."""
        trace = Trace("a")

        def sink(_event: str, _fields: dict[str, object]) -> None:
            raise RuntimeError("the watcher is broken")

        handle = queue.enqueue("a")
        burst(trace.handlers, sink=sink)
        assert handle.result(timeout=1) == handle.id


class TestClassic:
    """C2, C3, C7: the worker that logs out to sleep."""

    def test_c2_logins_while_awake_and_asleep(self, queue: Queue, start_worker: StartWorker, redis: Redis) -> None:
        """C2: 0 logins asleep and in on_sleep, 1 in on_wake, one more of the job's own while that runs."""
        queue.pools.set("vault", 1)
        handlers, seen, at_the_vault = Handlers(), list[tuple[str, int, int]](), list[str]()

        def look(where: str) -> None:
            seen.append((where, logins(redis), len(at_the_vault)))

        @handlers.login("vault")
        @contextmanager
        def login(session: Session) -> Any:
            at_the_vault.append("me")
            yield at_the_vault
            at_the_vault.remove("me")

        @handlers.handler("a", uses={"vault": 1}, isolation="thread")
        def run(ctx: Context) -> None:
            look("job")

        @handlers.on_wake
        def wake(ctx: HookContext) -> None:
            look("on_wake")

        @handlers.on_sleep
        def sleep(ctx: HookContext) -> None:
            wait_until(lambda: not logins(redis), 1)  # the server sees the end a moment later
            look("on_sleep")

        queue.enqueue("a")
        worker = start_worker(handlers, classic=True, wake_interval=600, lease=60, renew=20)
        wait_until(lambda: sleeps(queue, worker.worker.id) and len(seen) == 3)
        look("asleep")
        assert seen == [("on_wake", 1, 0), ("job", 1, 1), ("on_sleep", 0, 0), ("asleep", 0, 0)]

    def test_c2_asleep_it_is_no_missing_worker_and_wakes_at_its_time(
        self, queue: Queue, start_worker: StartWorker
    ) -> None:
        """C2, Q15, W1, C7: its presence says until when; a job that comes meanwhile starts then, not earlier."""
        trace, log = Trace("a"), EventLog()
        worker = start_worker(trace.handlers, classic=True, wake_interval=INTERVAL, sink=log).worker
        wait_until(lambda: sleeps(queue, worker.id))
        record = known(queue, worker.id)
        assert (record.live, record.types) == (True, ("a",))
        assert record.fields["busy"] == "0"
        until = dt.datetime.strptime(record.fields["state"], "sleeping until %Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
        handle = queue.enqueue("a")
        obstacles = {obstacle.reason for obstacle in handle.why()}
        assert "no-worker" not in obstacles
        assert "paused" not in obstacles
        assert handle.state() == "ready"
        started = handle.wait(timeout=5).started
        assert started is not None
        assert dt.timedelta(0) <= started - until < dt.timedelta(seconds=2), "whole seconds are told"
        assert log.cycle[:12] == [*AWAKE, *ASLEEP, *AWAKE, "execute J1"]

    def test_c2_a_signal_ends_its_sleep_at_once(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str
    ) -> None:
        """C2, C13: SIGTERM while asleep for ten minutes: it wakes to say goodbye, and is gone."""
        worker = start_process("plain", classic=True, wake_interval=600)
        wait_until(lambda: sleeps(queue, worker.id), 10)
        began = time.monotonic()
        worker.child.terminate()
        worker.wait(5)
        assert time.monotonic() - began < 2
        assert not known(queue, worker.id).live
        assert redis.zscore(f"{{{namespace}}}:workers", worker.id) is None

    def test_c3_between_two_jobs_the_seat_is_free(self, queue: Queue, burst: Burst) -> None:
        """C3: settled and not yet reserved again, the pool's count is 0; while a job runs it is what that uses."""
        queue.pools.set("vault", 2)
        handlers, seen = Handlers(), list[tuple[str, int]]()

        @handlers.handler("a", isolation="thread")
        def run(ctx: Context) -> None:
            seen.append(("runs", queue.pools["vault"].in_use))

        def sink(event: str, fields: dict[str, object]) -> None:
            if event in {"check", "settled", "sleep"}:
                seen.append((event, queue.pools["vault"].in_use))

        for seats in (1, 2, 1):
            queue.enqueue("a", uses={"vault": seats})
        burst(handlers, classic=True, sink=sink)
        assert seen == [
            ("check", 0), ("runs", 1), ("settled", 0), ("runs", 2), ("settled", 0), ("runs", 1), ("settled", 0), ("sleep", 0)
        ]  # fmt: skip

    def test_c3_a_program_takes_the_seat_between_two_jobs(self, queue: Queue, start_worker: StartWorker) -> None:
        """C3, S10: a program that waits gets the seat that the first job leaves; the second job has it afterwards."""
        queue.pools.set("vault", 1)
        gate, log, order = Gate(), EventLog(), list[str]()
        handlers = Handlers()

        @handlers.handler("a", uses={"vault": 1}, isolation="thread")
        def run(ctx: Context) -> None:
            order.append(f"job {int(ctx.id)}")
            gate.run(ctx)

        first, second = queue.enqueue("a"), queue.enqueue("a")
        start_worker(handlers, classic=True, wake_interval=INTERVAL, sink=log)
        wait_until(lambda: gate.begun)

        def program() -> None:
            with queue.pools.session("vault", priority=5, name="desk"):
                order.append(f"program, {second.state()}")

        thread = threading.Thread(target=program)
        thread.start()
        wait_until(lambda: queue.pools["vault"].waiting)
        gate.opened.set()
        thread.join(5)
        assert first.wait(timeout=1).state == "succeeded"
        second.result(timeout=5)
        assert order == ["job 1", "program, ready", "job 2"]

    def test_c7_the_interval_counts_from_nothing_left(self, queue: Queue, start_worker: StartWorker) -> None:
        """C7: jobs follow one another at once; the interval begins when none is left, and on_sleep is within it."""
        moments = list[tuple[str, float]]()
        handlers = Handlers()

        def sink(event: str, _: dict[str, object]) -> None:
            moments.append((event, time.monotonic()))

        @handlers.handler("a", isolation="thread")
        def run(ctx: Context) -> None:
            ctx.sleep(0.2)

        @handlers.on_sleep
        def sleep(ctx: HookContext) -> None:
            threading.Event().wait(0.4)

        for _ in range(4):
            queue.enqueue("a")
        start_worker(handlers, classic=True, wake_interval=INTERVAL, sink=sink)
        wait_until(lambda: [event for event, _ in moments].count("wake") == 2, 10)

        def when(event: str) -> list[float]:
            return [moment for name, moment in moments if name == event]

        executed, settled = when("execute"), when("settled")
        assert len(executed) == 4
        assert all(later - end < 0.15 for end, later in zip(settled, executed[1:], strict=False)), "the next at once"
        assert when("sleep")[0] - settled[-1] >= 0.4, "the hook"
        assert INTERVAL - 0.01 <= when("wake")[1] - settled[-1] < INTERVAL + 0.3

    def test_c7_its_settings(self) -> None:
        """C7: ten minutes unless told otherwise, one second at least; one slot."""
        handlers = Trace("a").handlers
        url = "redis://127.0.0.1:1/0"
        assert Worker(handlers, url, classic=True).settings.wake_interval == 600
        with pytest.raises(InvalidInput, match=r"wake_interval: 0\.5 is outside 1\.0 to"):
            Worker(handlers, url, classic=True, wake_interval=0.5)
        with pytest.raises(InvalidInput, match="slots: a classic worker has 1, not 2"):
            Worker(handlers, url, classic=True, slots=2)

    def test_c13_what_was_asked_while_it_slept_is_heard_before_it_looks(
        self, queue: Queue, start_worker: StartWorker
    ) -> None:
        """C2, C13: told to pause while asleep, it wakes, hears of it, and takes no job; its renewals are far apart."""
        trace, log = Trace("a"), EventLog()
        worker = start_worker(trace.handlers, classic=True, wake_interval=INTERVAL, sink=log, lease=60, renew=20).worker
        wait_until(lambda: sleeps(queue, worker.id))
        queue.store.run(verbs.ask(worker.id, "pause", "me"))
        handle = queue.enqueue("a")
        wait_until(lambda: log.count("sleep") >= 2, 10)
        assert (handle.state(), trace.ids) == ("ready", [])
        assert log.count("paused") == 1


class TestNormal:
    def test_c7_the_bell_wakes_it_at_once(self, queue: Queue, start_worker: StartWorker) -> None:
        """C7: asleep, a normal worker starts a job when it comes, and not at its next look 5 s later."""
        trace, log = Trace("a"), EventLog()
        start_worker(trace.handlers, lease=60, renew=20, sink=log)
        wait_until(lambda: log.count("sleep") == 1 and idle_slots(queue))
        record = queue.enqueue("a").wait(timeout=5)
        assert record.started is not None
        assert record.created is not None
        assert record.started - record.created < dt.timedelta(seconds=0.5)

    def test_c3_a_waiting_program_is_not_passed_by(self, queue: Queue, start_worker: StartWorker) -> None:
        """C3: no worker of a stream takes the seat again past a more urgent program; less urgent, it waits its turn."""
        queue.pools.set("vault", 1)
        handlers, order, gate = Handlers(), list[str](), Gate()

        @handlers.handler("a", uses={"vault": 1}, isolation="thread")
        def run(ctx: Context) -> None:
            order.append(f"J{int(ctx.id)}")
            if int(ctx.id) == 1:
                gate.run(ctx)

        ids = [queue.enqueue("a", priority=50) for _ in range(3)]
        start_worker(handlers)
        wait_until(lambda: gate.begun)

        def program(name: str, priority: int) -> threading.Thread:
            def hold() -> None:
                with queue.pools.session("vault", priority=priority, name=name):
                    order.append(name)

            thread = threading.Thread(target=hold)
            thread.start()
            wait_until(lambda: any(name in member for member, _ in queue.pools["vault"].waiting))
            return thread

        threads = [program("late", 100), program("urgent", 10)]
        gate.opened.set()
        ids[-1].result(timeout=5)
        for thread in threads:
            thread.join(5)
        assert order == ["J1", "urgent", "J2", "J3", "late"]


HOOKS = ("on_startup", "on_wake", "on_sleep", "on_shutdown")


def counted(handlers: Handlers) -> dict[str, int]:
    """Declare all hooks; each call is counted."""
    calls = dict.fromkeys(HOOKS, 0)

    def count(ctx: HookContext) -> None:
        calls[ctx.name] += 1

    for name in HOOKS:
        getattr(handlers, name)(count)
    return calls


class TestHooks:
    """C8, C9."""

    def test_c8_once_a_cycle_and_once_a_process_in_normal_mode(self, queue: Queue, start_worker: StartWorker) -> None:
        """C8: a cycle that found nothing counts; further jobs of one cycle do not."""
        trace, log = Trace("a"), EventLog()
        calls = counted(trace.handlers)
        worker = start_worker(trace.handlers, sink=log)
        wait_until(lambda: log.count("sleep") == 1)
        assert calls == {"on_startup": 1, "on_wake": 1, "on_sleep": 1, "on_shutdown": 0}
        queue.pause()
        handles = [queue.enqueue("a") for _ in range(5)]
        queue.resume()
        handles[-1].result(timeout=5)
        wait_until(lambda: log.count("sleep") == 2)
        worker.stop()
        assert calls == {"on_startup": 1, "on_wake": 2, "on_sleep": 2, "on_shutdown": 1}

    def test_c8_once_a_cycle_and_once_a_process_in_classic_mode(self, start_worker: StartWorker) -> None:
        """C8: also when there was nothing."""
        trace, log = Trace("a"), EventLog()
        calls = counted(trace.handlers)
        worker = start_worker(trace.handlers, classic=True, wake_interval=INTERVAL, sink=log)
        wait_until(lambda: log.count("sleep") == 2, 10)
        worker.stop()
        assert calls == {"on_startup": 1, "on_wake": 2, "on_sleep": 2, "on_shutdown": 1}
        assert trace.ids == []

    @pytest.mark.parametrize("classic", [False, True], ids=["normal", "classic"])
    @pytest.mark.parametrize("error", [ValueError, SystemExit])
    def test_c8_a_hook_that_raises_is_told_and_stops_nobody(
        self, queue: Queue, burst: Burst, classic: bool, error: type[BaseException], caplog: pytest.LogCaptureFixture
    ) -> None:
        """C8: each is told by its name; the hooks declared after it, and the jobs, run all the same."""
        trace, log = Trace("a"), EventLog()

        def broken(ctx: HookContext) -> None:
            raise error(f"{ctx.name} is broken")

        for name in HOOKS:
            getattr(trace.handlers, name)(broken)
        calls = counted(trace.handlers)
        handle = queue.enqueue("a")
        burst(trace.handlers, classic=classic, sink=log)
        assert handle.result(timeout=1) == handle.id
        assert set(calls.values()) == {1}
        assert [fields["hook"] for event, fields in log.events if event == "hook-failed"] == list(HOOKS)
        assert f"hook-failed: on_wake: {error.__name__}: on_wake is broken" in caplog.text

    @pytest.mark.parametrize("classic", [False, True], ids=["normal", "classic"])
    def test_c9_what_on_sleep_enqueues_runs_in_the_next_cycle(
        self, start_worker: StartWorker, queue: Queue, classic: bool
    ) -> None:
        """C9: the hook's own queue; in normal mode the bell brings it, in classic mode the clock."""
        trace, log = Trace("a"), EventLog()
        sent: list[Any] = []

        @trace.handlers.on_sleep
        def sleep(ctx: HookContext) -> None:
            if not sent:
                sent.append(ctx.enqueue("a", {"n": 1}, priority=3))

        more = {"classic": True, "wake_interval": INTERVAL} if classic else {}
        start_worker(trace.handlers, lease=60, renew=20, sink=log, **more)
        wait_until(lambda: log.count("sleep") == 2, 4)
        cycles = "\n".join(log.cycle).split("wake\n")
        assert trace.ids == [sent[0].id]
        record = queue.job(sent[0].id)  # the hook's own queue is closed
        assert (record.priority, record.params) == (3, {"n": 1})
        assert log.cycle.index("execute J1") > log.cycle.index("sleep"), cycles
        assert log.cycle.count("wake") == 2

    def test_c8_hooks_are_plain_functions(self) -> None:
        """C8: an async def is refused when it is declared."""
        handlers = Handlers()

        async def later(ctx: HookContext) -> None: ...

        for name in HOOKS:
            with pytest.raises(InvalidInput, match=rf"{name}: .*later must be a plain function"):
                getattr(handlers, name)(later)

    @pytest.mark.parametrize("kind", ["thread", "process"])
    def test_c8_hooks_run_in_the_worker_itself(
        self, queue: Queue, burst: Burst, kind: Literal["thread", "process"]
    ) -> None:
        """C8: in the thread that called run, whatever the handlers run in."""
        handlers, seen = Handlers(), list[int]()
        handlers.handler("a", isolation=kind)(_nothing)
        for name in HOOKS:
            getattr(handlers, name)(lambda _: seen.append(threading.get_ident()))
        queue.enqueue("a")
        burst(handlers)
        assert seen == [threading.get_ident()] * 4


def _nothing(ctx: Context) -> None: ...
