"""Handlers in child processes (C4, C12, C15): whatever a handler does, its job ends with a report and nobody else is hurt.

F9-F16 and F21 of the failure model: what a handler and its process may do, each with the outcome that it must have.
What children have of their worker's process, and whether they outlive it: test_children_and_worker.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.processes import no_child_left
from harness.waiting import wait_until
from worker.ward import Run, Ward, alive, daemonize, hang_in_c

from seatline.shared.codec import RESULT_MOST, unpack_value
from seatline.shared.errors import InvalidInput
from seatline.worker.children.attempt import Attempt
from seatline.worker.context import Context
from seatline.worker.handlers import Handlers
from seatline.worker.outcomes import NoSeat, Retry, Skip
from seatline.worker.sessions import Session
from seatline.worker.worker import memory

Make = Callable[..., Ward]


@pytest.fixture
def ward() -> Iterator[Make]:
    """Make children for some handlers; in the end no process may be left."""
    with no_child_left():
        made: list[Ward] = []

        def make(handlers: Handlers | None = None, **options: Any) -> Ward:
            made.append(Ward(handlers or standard(), **options).__enter__())
            return made[-1]

        yield make
        for each in made:
            each.__exit__()


def standard() -> Handlers:
    """Return handlers that most tests need."""
    handlers = Handlers()

    def handler(function: Callable[..., Any]) -> Callable[..., Any]:
        return handlers.handler(function.__name__, isolation="process", timeout=9)(function)

    @handler
    def pid(_: Context) -> int:
        return os.getpid()

    @handler
    def nap(ctx: Context, seconds: float = 60) -> str:
        try:
            ctx.log("asleep")
            time.sleep(seconds)
        finally:
            ctx.log("awake")
        return "slept"

    @handler
    def poll(ctx: Context) -> str:
        ctx.log("asleep")
        ctx.sleep(60)
        return "slept"

    @handler
    def stubborn(ctx: Context) -> None:
        while True:
            try:
                ctx.log("asleep")
                time.sleep(60)
            except BaseException as error:  # noqa: BLE001 - that is what it is here for
                ctx.log(f"ignored {type(error).__name__}")

    @handler
    def deaf(ctx: Context) -> None:
        try:
            ctx.log("asleep")
            hang_in_c()
        except BaseException:  # noqa: BLE001 - the stop came while it told us
            hang_in_c()

    @handler
    def end(_: Context, how: str) -> None:
        match how.split():
            case ["exit", code]:
                os._exit(int(code))
            case ["signal", name]:
                os.kill(os.getpid(), signal.Signals[name])
                time.sleep(10)
            case _:
                import ctypes

                ctypes.string_at(0)

    return handlers


# -- how a handler may end


def test_c12_a_handler_of_a_child_is_called_as_any_other(ward: Make) -> None:
    """C12: closures work (it is a fork, nothing is pickled), params bind, the record is there, the value comes back."""
    handlers, offset = Handlers(), 1000

    @handlers.handler("sum", isolation="process")
    def add(ctx: Context, a: int, *, b: int = 0) -> dict[str, Any]:
        return {"sum": a + b + offset, "pid": os.getpid(), "id": ctx.id, "tenant": ctx.tenant, "attempt": ctx.attempt}

    run = ward(handlers).run("sum", {"a": 1, "b": 2}, attempt=3, tenant="Engineering")
    assert run.outcome == "succeeded"
    assert run.result.pop("pid") != os.getpid()
    assert run.result == {
        "sum": 1003,
        "pid": run.result["pid"],
        "id": run.hold.id,
        "tenant": "Engineering",
        "attempt": 3,
    }
    assert run.report.token == run.hold.token
    assert run.notes == []


def test_c12_outcomes_are_those_of_any_executor(ward: Make) -> None:
    """C12, Q21, C16: an exception, a skip, a refused seat, a retry."""
    handlers = Handlers()

    @handlers.handler("raises", uses={"vault": 1}, retry=Retry(attempts=2, first=5, jitter=0))
    def raises(_: Context, what: str) -> None:
        if what == "skip":
            raise Skip("nothing to do")
        if what == "seat":
            raise NoSeat(pool="vault")
        raise ValueError(what)

    made = ward(handlers)
    last = made.run("raises", {"what": "broken"}, attempt=2)
    assert (last.outcome, last.error) == ("failed", ("ValueError", "broken"))
    assert "raise ValueError(what)" in last.field["traceback"]
    retried = made.run("raises", {"what": "broken"})
    assert (retried.outcome, retried.report.result_ms) == ("retry", 5000)
    skipped = made.run("raises", {"what": "skip"})
    assert (skipped.outcome, skipped.field) == ("skipped", {"reason": "nothing to do"})
    refused = made.run("raises", {"what": "seat"})
    assert (refused.outcome, refused.report.refused) == ("returned", ("vault",))
    assert made.run("raises", {"other": 1}).error[0] == "BadParams"
    assert len(made.children.pids) == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_f14_base_exceptions_fail_the_job_and_spare_the_child(ward: Make, kind: type[BaseException]) -> None:
    """F14: sys.exit and the like are failures, never "done"; the process goes on."""
    handlers = standard()

    @handlers.handler("leave", isolation="process")
    def leave(_: Context) -> None:
        raise kind

    made = ward(handlers)
    before = made.run("pid").result
    run = made.run("leave")
    assert (run.outcome, run.error[0]) == ("failed", kind.__name__)
    assert made.run("pid").result == before


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit 0", "exit code 0"),
        ("exit 3", "exit code 3"),
        ("signal SIGKILL", "killed by SIGKILL (out of memory?)"),
        ("segfault", "killed by SIGSEGV"),
        ("signal SIGABRT", "killed by SIGABRT"),
    ],
)
def test_c12_a_child_that_dies_fails_only_its_job(ward: Make, how: str, said: str) -> None:
    """C12, F11, F14: a failure that tells exit code or signal and counts as a loss; others go on, a new child comes."""
    made = ward()
    other = made.begin("poll").until("asleep")
    run = made.run("end", {"how": how}, losses=1)
    assert (run.outcome, run.error) == ("failed", ("HandlerDied", f"its process ended under it: {said}"))
    assert run.field["losses"] == 2
    replaced = made.run("pid")
    assert replaced.outcome == "succeeded"
    assert replaced.seconds < 1  # measured: 3 ms; C12 asks for 100 ms on a quiet machine
    assert len(made.children.pids) == 2
    other.hold.say("cancel")
    assert other.end().outcome == "cancelled"


def test_c12_a_crash_tells_where_it_was(ward: Make) -> None:
    """C12: the traceback of a job whose process crashed is what Python could still write down."""
    run = ward().run("end", {"how": "segfault"})
    assert "Segmentation fault" in run.field["traceback"]
    assert "in string_at" in run.field["traceback"]
    assert "test_children.py" in run.field["traceback"]


def test_f13_the_third_loss_interrupts(ward: Make) -> None:
    """F13: a job that kills its process each time is left to a person, whatever its rule says."""
    handlers = Handlers()

    @handlers.handler("poison", isolation="process", retry=Retry(attempts=9))
    def poison(_: Context) -> None:
        os._exit(9)

    made = ward(handlers)
    assert made.run("poison", losses=1).outcome == "retry"
    run = made.run("poison", losses=2)
    assert run.outcome == "interrupted"
    assert run.error == (
        "HandlerDied",
        "lost 3 times, the last time by worker w1: its process ended under it: exit code 9",
    )


def test_f21_results_that_cannot_be_stored_fail_the_job(ward: Make) -> None:
    """F21: too large, or of a kind that no other process could read; R4. The largest goes through."""
    handlers = standard()

    @handlers.handler("result", isolation="process")
    def result(_: Context, kind: str) -> Any:
        return {"huge": b"x" * RESULT_MOST, "large": b"x" * (RESULT_MOST - 5), "odd": object()}[kind]

    made = ward(handlers)
    assert "more than the limit" in made.run("result", {"kind": "huge"}).error[1]
    assert "cannot be stored" in made.run("result", {"kind": "odd"}).error[1]
    assert len(made.run("result", {"kind": "large"}).result) == RESULT_MOST - 5
    assert len(made.children.pids) == 1


def test_large_params_arrive(ward: Make) -> None:
    handlers = Handlers()
    handlers.handler("size", isolation="process")(lambda _, text: len(text))
    assert ward(handlers).run("size", {"text": "ä" * 130_000}).result == 130_000


# -- what it tells


def test_c17_what_a_handler_tells_passes_through(ward: Make) -> None:
    """C17: log lines in order, the newest progress, and what it enqueues with its end."""
    handlers = Handlers()

    @handlers.handler("tell", isolation="process")
    def tell(ctx: Context) -> None:
        ctx.log("one\ntwo")
        for done in range(1000):
            ctx.progress(done, 1000, "sheet")
        ctx.log("three")
        ctx.progress(1000, 1000)
        ctx.enqueue("mail", {"to": "x"}, priority=3)

    run = ward(handlers).run("tell")
    assert run.log == ["one", "two", "three"]
    told = [fields["progress"] for fields, _ in run.notes if fields]
    assert told[-1] == "1000/1000"
    assert told[:2] == ["0/1000 sheet", "1/1000 sheet"]
    assert len(told) < 40  # twenty at once, then ten a second: not one for each call
    (job,) = run.report.jobs
    assert unpack_value(job[-1]) == {"to": "x"}  # type: ignore[arg-type]
    assert {"mail", "priority", "3"} <= set(job)


def test_threads_of_a_handler_may_tell_too(ward: Make) -> None:
    """C17: whole frames arrive, whoever sends them, and a sleep ends although another thread hears of the end."""
    handlers = Handlers()

    @handlers.handler("many", isolation="process")
    def many(ctx: Context) -> None:
        def talk(name: int) -> None:
            for number in range(300):
                ctx.log(f"{name} {number}")

        threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        listener = threading.Thread(target=wait_until, args=(lambda: ctx.cancelled, 30))
        listener.start()
        ctx.log("asleep")
        try:
            ctx.sleep(60)
        finally:
            listener.join()

    run = ward(handlers, cancel_after=30).begin("many").until("asleep")
    run.hold.say("cancel")
    assert run.end().outcome == "cancelled"
    assert run.seconds < 10
    for name in range(4):
        assert [line for line in run.log if line.startswith(f"{name} ")] == [f"{name} {n}" for n in range(300)]


# -- sessions


def vault(trace: list[str] | None = None) -> Handlers:
    """Return handlers of types that use seats, and a login that says what happens."""
    handlers = standard()

    @handlers.login("vault")
    @contextmanager
    def login(session: Session) -> Iterator[Any]:
        if session.job and session.job.params.get("login") == "hang":
            time.sleep(60)
        yield {"pid": os.getpid(), "seats": session.seats}
        if session.job and session.job.params.get("logout") == "slow":
            time.sleep(0.3)
        if trace is not None:
            Path(trace[0]).write_text("logged out")

    @handlers.handler("use", uses={"vault": 2})
    def use(ctx: Context, do: str = "return", **_: Any) -> Any:
        client = ctx.session("vault").client
        ctx.log("in use")
        if do == "sleep":
            time.sleep(60)
        if do == "raise":
            raise ValueError(do)
        if do == "exit":
            os._exit(1)
        return dict(client) | {"here": os.getpid()}

    return handlers


LIFE = ["session-open vault", "execute", "session-close vault"]


@pytest.mark.parametrize("do", ["return", "raise"])
def test_c4_the_login_wraps_the_job_in_its_child(ward: Make, tmp_path: Path, do: str) -> None:
    """C4, C10: logged in and out in the child, and the worker hears of it."""
    run = ward(vault([str(tmp_path / "out")])).run("use", {"do": do})
    assert run.events == LIFE
    assert (tmp_path / "out").exists()
    if do == "return":
        assert run.result["pid"] == run.result["here"] != os.getpid()
        assert run.result["seats"] == 2
    else:
        assert run.error == ("ValueError", "raise")


@pytest.mark.parametrize(("why", "outcome"), [("late", "failed"), ("left", "abandoned"), ("cancel", "cancelled")])
def test_c10_a_stop_logs_out(ward: Make, tmp_path: Path, why: str, outcome: str) -> None:
    """C10, C15: the soft stop leaves the handler by an exception, so its log-out runs, to its end; its child lives on."""
    made = ward(vault([str(tmp_path / "out")]))
    child = made.run("pid").result
    run = made.begin("use", {"do": "sleep", "logout": "slow"}).until("in use")
    run.hold.say(why)
    assert run.end().outcome == outcome
    assert run.events == LIFE
    assert (tmp_path / "out").exists()
    assert made.run("pid").result == child


def test_c15_a_login_that_hangs_is_left_too(ward: Make) -> None:
    """C15: the handler does not run then, and nothing is logged out that was not logged in."""
    made = ward(vault())
    child = made.run("pid").result
    run = made.begin("use", {"login": "hang"})
    wait_until(lambda: run.events)
    run.hold.say("late")
    assert run.end().error[0] == "Timeout"
    assert run.events == ["session-open vault", "session-close vault"]
    assert run.log == []
    assert made.run("pid").result == child


def test_c10_a_login_that_is_none_is_told(ward: Make) -> None:
    """C10: as in a thread."""
    handlers = Handlers()
    handlers.login("vault")(lambda _: 5)
    handlers.handler("use", uses={"vault": 1})(lambda _: None)
    run = ward(handlers).run("use")
    assert "the login of pool vault returned 5" in run.error[1]


def test_c4_a_child_that_dies_takes_its_session_along(ward: Make) -> None:
    """C4: the job ends at once, and with it its seats."""
    run = ward(vault()).run("use", {"do": "exit"})
    assert (run.outcome, run.error[0]) == ("failed", "HandlerDied")
    assert run.seconds < 1


# -- stops


@pytest.mark.parametrize(
    ("why", "outcome"), [("late", "failed"), ("fenced", "abandoned"), ("left", "abandoned"), ("cancel", "cancelled")]
)
def test_c15_a_handler_is_stopped_softly(ward: Make, why: str, outcome: str) -> None:
    """C15, F9: it is left by an exception wherever it is; ``finally`` runs; the same child runs the next job."""
    made = ward(kill_after=9.0)
    child = made.run("pid").result
    run = made.begin("nap").until("asleep")
    said = time.monotonic()
    run.hold.say(why)
    run.end()
    assert run.outcome == outcome
    assert run.log == ["asleep", "awake"]
    assert time.monotonic() - said < 5  # it was not killed
    if why == "late":
        assert run.error == ("Timeout", "it ran longer than its timeout of 9 s")
        assert "in nap" in run.field["traceback"]
    assert made.run("pid").result == child


@pytest.mark.parametrize(
    ("why", "outcome"), [("late", "failed"), ("fenced", "abandoned"), ("left", "abandoned"), ("cancel", "cancelled")]
)
@pytest.mark.parametrize("type_", ["stubborn", "deaf"])
def test_c15_a_handler_that_does_not_listen_is_killed(ward: Make, type_: str, why: str, outcome: str) -> None:
    """C15, F9, F10: also one that swallows the exception, or holds the GIL in C code, whatever its worker waits for."""
    made = ward()
    run = made.begin(type_).until("asleep")
    child = made.children.pids[0]
    run.hold.say(why)
    run.end()
    assert run.outcome == outcome
    assert 0.3 < run.seconds < 5
    assert not alive(child)
    if type_ == "stubborn":
        assert run.log == ["asleep", "ignored Cancelled", "asleep"]
    if why == "late":
        assert run.error == ("Timeout", "it ran longer than its timeout of 9 s, and was killed")
        where = "in stubborn" if type_ == "stubborn" else "in hang_in_c"
        assert where in run.field["traceback"]  # F9: where it hung, even in C
        assert "losses" not in run.field
    assert made.run("pid").outcome == "succeeded"


def test_q23_a_cancel_is_heard_at_once_by_those_who_listen(ward: Make) -> None:
    """Q23, C17: ctx.sleep ends, ctx.cancelled is true; nothing is killed."""
    made = ward(cancel_after=60)
    child = made.run("pid").result
    run = made.begin("poll").until("asleep")
    said = time.monotonic()
    run.hold.say("cancel")
    assert run.end().outcome == "cancelled"
    assert time.monotonic() - said < 5
    assert made.run("pid").result == child


@pytest.mark.parametrize("why", ["late", "left", "fenced"])
def test_c15_who_has_heard_is_not_interrupted_again(ward: Make, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """C15, F16: the word wakes ctx.sleep, the signal comes behind it: what the handler does between runs to its end."""
    signal_ = Attempt._signal

    def later(attempt: Attempt, number: int) -> None:
        time.sleep(0.05)
        signal_(attempt, number)

    monkeypatch.setattr(Attempt, "_signal", later)
    handlers = standard()

    @handlers.handler("tidy", isolation="process")
    def tidy(ctx: Context) -> None:
        ctx.log("asleep")
        try:
            ctx.sleep(60)
        except BaseException:
            time.sleep(0.2)
            ctx.log("tidied")
            raise

    made = ward(handlers, kill_after=9.0)
    run = made.begin("tidy").until("asleep")
    run.hold.say(why)
    assert run.end().log == ["asleep", "tidied"]


def test_q23_a_success_before_the_handler_noticed_stands(ward: Make) -> None:
    """Q23: a cancelled handler that does not look may end its own way within cancel_after."""
    run = ward(cancel_after=60).begin("nap", {"seconds": 0.2}).until("asleep")
    run.hold.say("cancel")
    assert (run.end().outcome, run.result) == ("succeeded", "slept")


def test_c15_a_second_reason_is_heard_too(ward: Make) -> None:
    """C15: cancelled, then late: it is not waited for any longer."""
    run = ward(cancel_after=60).begin("nap").until("asleep")
    run.hold.say("cancel")
    run.hold.say("late")
    assert run.end().error[0] == "Timeout"


def test_q23_a_cancel_that_came_before_the_child_counts(ward: Make) -> None:
    """Q23: between the reservation and the start."""
    made = ward()
    run = Run(made, "poll", {}, {}, 1)
    run.hold.say("cancel")
    assert run.begin().end().outcome == "cancelled"


def test_c15_stops_at_any_moment_leave_one_report_and_a_sound_child(ward: Make) -> None:
    """C15: a stop may meet a job that is being sent, that runs, that writes a line, that has just ended."""
    handlers = standard()

    @handlers.handler("chatty", isolation="process")
    def chatty(ctx: Context) -> int:
        for number in range(200):
            ctx.log(f"line {number}")
            ctx.progress(number)
        return 200

    made = ward(handlers, kill_after=5.0)
    child, chance, outcomes = made.run("pid").result, random.Random(7), set[str]()
    for why in ["late", "left", "cancel"] * 60:
        run = made.begin("chatty")
        time.sleep(chance.random() * 0.004)
        run.hold.say(why)
        outcomes.add(run.end().outcome)
        assert run.log == [f"line {number}" for number in range(len(run.log))]
    assert outcomes >= {"succeeded", "failed", "abandoned"}
    assert made.run("pid").result == child
    assert made.children.pids == [child]


def test_c13_a_sigterm_that_the_worker_did_not_send_is_ignored(ward: Make) -> None:
    """C13, F16: who stops a service signals all its processes; the worker lets its jobs end, so must nursery and child."""
    made = ward()
    child = made.run("pid").result
    os.kill(child, signal.SIGTERM)
    os.kill(made.nursery, signal.SIGTERM)
    assert made.run("pid").result == child
    run = made.begin("nap", {"seconds": 0.3}).until("asleep")
    os.kill(child, signal.SIGTERM)
    os.kill(made.nursery, signal.SIGTERM)
    assert run.end().result == "slept"
    assert run.log == ["asleep", "SIGTERM ignored: its worker did not send it", "awake"]
    assert made.run("pid").result == child


# -- what it leaves behind


@pytest.mark.parametrize("kind", ["child", "session", "daemon"])
@pytest.mark.parametrize("end", ["return", "kill", "exit"])
def test_f12_no_process_is_left_of_a_job(ward: Make, tmp_path: Path, kind: str, end: str) -> None:
    """F12: when the job has ended, so have its processes: children, those of another session, those without a parent."""
    handlers, path = standard(), tmp_path / "pid"

    @handlers.handler("leave", isolation="process")
    def leave(ctx: Context) -> None:
        if kind == "daemon":
            daemonize(str(path))
        else:
            left = subprocess.Popen(["sleep", "1000"], start_new_session=kind == "session")
            path.write_text(str(left.pid))
        wait_until(lambda: path.exists() and path.read_text())
        ctx.log("left")
        if end == "exit":
            os._exit(1)
        if end == "kill":
            hang_in_c()

    made = ward(handlers)
    run = made.begin("leave").until("left")
    if end == "kill":
        run.hold.say("late")
    run.end()
    assert not alive(int(path.read_text()))
    assert run.outcome == ("succeeded" if end == "return" else "failed")
    if end == "return":
        assert run.log == ["left", "left running: 1 process, killed"]
    assert made.run("pid").outcome == "succeeded"


def test_f12_a_process_that_nobody_waited_for_is_no_matter(ward: Make) -> None:
    """F12: it has ended by itself; no warning."""
    handlers = standard()

    @handlers.handler("forget", isolation="process")
    def forget(_: Context) -> int:
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    made = ward(handlers)
    run = made.run("forget")
    assert run.outcome == "succeeded"
    assert run.log == []
    assert not Path(f"/proc/{run.result}").exists()


def test_f12_a_handler_that_forks_and_returns_twice_reports_once(ward: Make) -> None:
    """F12: the copy of the child that a fork in a handler makes is not the child."""
    handlers = standard()

    @handlers.handler("twice", isolation="process")
    def twice(ctx: Context) -> str:
        if os.fork() == 0:
            ctx.log("not me")
            ctx.progress(1)
            return "the copy"
        os.wait()
        return "the child"

    made = ward(handlers)
    child = made.run("pid").result
    run = made.run("twice")
    assert (run.result, run.log) == ("the child", [])
    assert made.run("pid").result == child


def test_multiprocessing_works_in_a_child(ward: Make) -> None:
    """F12: processes of a handler's own, ended in the usual way (by SIGTERM), are its own affair."""
    handlers = Handlers()

    @handlers.handler("pool", isolation="process")
    def pool(_: Context) -> list[int | None]:
        import multiprocessing

        fork = multiprocessing.get_context("fork")
        with fork.Pool(2) as workers:
            total = sum(workers.map(abs, range(-10, 0)))
        sleeper = fork.Process(target=time.sleep, args=(60,))
        sleeper.start()
        sleeper.terminate()
        sleeper.join(10)
        return [total, sleeper.exitcode]

    run = ward(handlers).run("pool")
    assert (run.outcome, run.result, run.log) == ("succeeded", [55, -signal.SIGTERM], [])


def test_f15_closing_what_is_not_its_own_hurts_only_the_job(ward: Make) -> None:
    """F15: a handler closes all its file descriptors, the connection to its worker among them."""
    handlers = standard()

    @handlers.handler("close", isolation="process")
    def close(ctx: Context, then: float) -> None:
        ctx.log("here")
        os.closerange(0, 1000)
        time.sleep(then)

    made = ward(handlers)
    for then in (0, 60):
        run = made.run("close", {"then": then})
        assert run.error[0] == "HandlerDied"
        assert "it had closed its connection to the worker" in run.error[1]
        assert run.log == ["here"]
        assert made.run("pid").outcome == "succeeded"


@pytest.mark.parametrize("how", ["fd", "stream", "replace", "python"])
def test_f15_a_child_without_its_output_is_replaced(ward: Make, how: str) -> None:
    """F15: the job stands, the next one gets a new process; what only Python sees is put back."""
    handlers = standard()

    @handlers.handler("close", isolation="process")
    def close(_: Context) -> str:
        if how == "fd":
            os.close(1)
        elif how == "stream":
            sys.stdout.close()
        elif how == "replace":
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        else:
            sys.stdout = None
        return "done"

    @handlers.handler("print", isolation="process")
    def say(_: Context) -> None:
        sys.stdout.write("said\n")

    made = ward(handlers)
    child = made.run("pid").result
    assert made.run("close").result == "done"
    assert made.run("print").outcome == "succeeded"
    assert (made.run("pid").result == child) == (how == "python")


def test_f15_folder_and_signals_are_put_back(ward: Make, tmp_path: Path) -> None:
    """F15: also from a folder that is gone; an alarm does not ring in the next job; a soft stop works again."""
    handlers, home = standard(), str(Path.cwd())

    @handlers.handler("move", isolation="process")
    def move(_: Context, path: str, remove: bool) -> None:
        os.chdir(path)
        if remove:
            Path(path).rmdir()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.alarm(1)

    handlers.handler("where", isolation="process")(lambda _: str(Path.cwd()))
    made = ward(handlers)
    child = made.run("pid").result
    (tmp_path / "gone").mkdir()
    for path, remove in ((tmp_path, False), (tmp_path / "gone", True)):
        assert made.run("move", {"path": str(path), "remove": remove}).outcome == "succeeded"
        assert made.run("where").result == home
    assert made.run("nap", {"seconds": 1.2}).result == "slept"
    run = made.begin("nap").until("asleep")
    run.hold.say("late")
    assert run.end().log == ["asleep", "awake"]
    assert made.run("pid").result == child


@pytest.mark.parametrize("daemon", [False, True])
def test_threads_left_running_cost_the_child(ward: Make, daemon: bool) -> None:
    """C12: work that goes on after its job is not let into the next one's process; daemons of libraries are."""
    handlers = standard()

    @handlers.handler("thread", isolation="process")
    def start(_: Context) -> None:
        threading.Thread(target=time.sleep, args=(1000,), name="busy", daemon=daemon).start()

    made = ward(handlers)
    child = made.run("pid").result
    run = made.run("thread")
    assert run.outcome == "succeeded"
    assert run.log == ([] if daemon else ["left running: thread busy"])
    assert (made.run("pid").result == child) == daemon


def test_q14_a_thread_left_over_speaks_for_no_other_job(ward: Make) -> None:
    """Q14: to it everything is over, and its lines are not those of the job that runs now."""
    handlers, heard = standard(), list[Any]()

    @handlers.handler("leave", isolation="process")
    def leave(ctx: Context) -> None:
        def go_on() -> None:
            wait_until(lambda: heard)
            ctx.log("from before")
            ctx.progress(99)
            heard.append((ctx.cancelled, ctx.fenced))

        threading.Thread(target=go_on, daemon=True).start()

    @handlers.handler("listen", isolation="process")
    def listen(_: Context) -> list[Any]:
        heard.append("begun")
        return wait_until(lambda: heard[1:])

    made = ward(handlers)
    made.run("leave")
    run = made.run("listen")
    assert run.result == [(True, True)]
    assert run.notes == []


# -- their number and age


def test_children_are_made_as_needed_and_used_again(ward: Make) -> None:
    """C12: eight jobs at once run in eight processes; after them two run in two of those."""
    made = ward()
    runs = [made.begin("poll").until("asleep") for _ in range(8)]
    assert made.children.busy == len(set(made.children.pids)) == 8
    for run in runs:
        run.hold.say("cancel")
    assert {run.end().outcome for run in runs} == {"cancelled"}
    assert made.children.busy == 0
    before = set(made.children.pids)
    assert {made.run("pid").result, made.run("pid").result} < before
    assert len(made.children.pids) == 8


def test_children_are_replaced_after_so_many_jobs(ward: Make) -> None:
    """F11: whatever leaks, leaks for so many jobs."""
    made = ward(most_jobs=3)
    pids = [made.run("pid").result for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
    wait_until(lambda: not [pid for pid in set(pids[:-1]) if Path(f"/proc/{pid}").exists()], message="their reaping")


def test_f11_children_are_replaced_when_they_have_grown(ward: Make) -> None:
    """F11: a leak is looked at after each job."""
    handlers, kept = standard(), list[bytes]()
    handlers.handler("leak", isolation="process")(lambda _: kept.append(bytes(os.urandom(1)) * 64_000_000))
    made = ward(handlers, most_memory=memory() + 40_000_000)  # a child begins with what this process holds
    child = made.run("pid").result
    assert made.run("pid").result == child
    assert made.run("leak").outcome == "succeeded"
    assert made.run("leak").outcome == "succeeded"
    assert made.run("pid").result != child


def test_c12_a_child_that_died_while_idle_costs_nobody_anything(ward: Make) -> None:
    """C12: its next job goes to another; it had not begun."""
    made = ward()
    for _ in range(3):
        child = made.run("pid").result
        os.kill(child, signal.SIGKILL)
        run = made.run("pid")
        assert run.outcome == "succeeded"
        assert run.result != child


def test_c12_a_job_that_no_child_takes_fails(ward: Make) -> None:
    """C12: three in a row die before they have read it."""
    made = ward()
    pids = [run.end().result for run in [made.begin("nap", {"seconds": 0.2}) for _ in range(4)]]
    assert len(pids) == 4
    pids = made.children.pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not [pid for pid in pids if alive(pid)])
    run = made.run("pid")
    assert run.error == ("HandlerDied", "3 processes in a row ended before they took it")
    assert made.run("pid").outcome == "succeeded"


# -- who dies with whom


def test_close_ends_whatever_runs(ward: Make) -> None:
    """C13: also what does not listen; it is handed back."""
    made = ward()
    run = made.begin("deaf").until("asleep")
    begun = time.monotonic()
    made.children.close()
    assert time.monotonic() - begun < 2
    assert run.end().outcome == "abandoned"
    assert made.run("pid").outcome == "returned"
    assert made.broken == []


def test_two_workers_of_one_process_do_not_hold_each_other(ward: Make) -> None:
    """C13: the second nursery has copies of the first one's connections; that one ends at once all the same."""
    first = ward()
    child = first.run("pid").result
    second = ward()
    begun = time.monotonic()
    first.children.close()
    assert time.monotonic() - begun < 1.5
    assert not alive(child)
    assert second.run("pid").outcome == "succeeded"


def test_a_lost_nursery_is_said_and_costs_no_job(ward: Make) -> None:
    """C12: its children die with it; what ran is handed back as its type says, what did not run goes back."""
    made = ward()
    run = made.begin("poll").until("asleep")
    os.kill(made.nursery, signal.SIGKILL)
    assert run.end().outcome == "abandoned"
    assert made.run("pid").outcome == "returned"
    (error,) = made.broken
    assert "start the worker again" in str(error)


def test_a_system_that_cannot_fork_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """C14: said when the worker begins, with the way out."""
    made = Ward(standard())
    monkeypatch.delattr(os, "fork")
    with pytest.raises(InvalidInput, match="isolation='thread'"):
        made.children.start()
