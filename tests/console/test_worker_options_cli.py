"""`seatline worker`: its options, its log lines for people and for machines, an exit code and a message for each end."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.console.log_lines import JsonLine, log_lines
from seatline.producer import Queue

MODULE = """\
import logging, os, signal, time, warnings
from seatline.worker import Handlers

handlers = Handlers()

@handlers.handler("say.it")
def say(ctx, secret="", seconds=0):
    logging.getLogger("mine").info("said\\nin two lines, \\u00fc")
    warnings.warn("old ways")
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("mine").exception("it broke")
    ctx.sleep(seconds)
    return {"echo": secret}

@handlers.handler("break.down")
def break_down(ctx):
    raise ValueError("no")

@handlers.handler("hold.on", if_lost="rerun")
def hold_on(ctx, seconds=60):
    ctx.log("begun")
    ctx.sleep(seconds)

@handlers.handler("hold.tight")
def hold_tight(ctx, seconds=60):
    ctx.log("begun")
    ctx.sleep(seconds)

@handlers.handler("who", isolation="process")
def who(ctx, mib=0):
    globals()["kept"] = bytearray(mib * 2**20)
    return os.getpid()

@handlers.handler("stubborn", isolation="process", if_lost="rerun")
def stubborn(ctx):
    ctx.log("begun")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(60)  # work
        except BaseException:
            pass
"""

Start = Callable[..., Child]


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def start(spawn: Callable[..., Child], server: RealServer, namespace: str, tmp_path: Path) -> Start:
    (tmp_path / "farm.py").write_text(MODULE)

    def run(*words: str, **environ: str) -> Child:
        return spawn(
            [sys.executable, "-m", "seatline.console.main", "worker", *words],
            {
                "SEATLINE_URL": server.url,
                "SEATLINE_NAMESPACE": namespace,
                "PYTHONPATH": str(tmp_path),
                "PYTHONUTF8": "1",
                **environ,
            },
        )

    return run


def objects(child: Child) -> list[dict[str, Any]]:
    """Return the log as its objects: each line must be one."""
    return [json.loads(line) for line in child.errors().splitlines()]


class TestJson:
    def test_every_line_is_an_object_with_the_job_and_never_its_params(self, queue: Queue, start: Start) -> None:
        """C17, issue 3.7: time, level, logger, event, worker, job, type, attempt, message; tracebacks as a field."""
        handle = queue.enqueue("say.it", {"secret": "hush-hush"})
        queue.enqueue("break.down")
        child = start("farm", "--burst", "--log", "json", "-v")
        assert child.wait(20) == 0
        assert "hush-hush" not in child.errors()
        assert handle.result(0) == {"echo": "hush-hush"}
        lines = objects(child)
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)
        assert all({"level", "logger", "message"} <= line.keys() for line in lines)
        (begun,) = [line for line in lines if line.get("event") == "execute" and line.get("job") == handle.id]
        order = ["time", "level", "logger", "event", "worker", "job", "type", "attempt", "message"]
        assert list(begun)[: len(order)] == order
        assert (begun["type"], begun["attempt"]) == ("say.it", 1)
        own = {line["message"]: line for line in lines if line["logger"] == "mine"}
        assert own["said\nin two lines, ü"]["level"] == "INFO"
        assert own["it broke"]["traceback"].endswith("ZeroDivisionError: division by zero")
        assert [line for line in lines if line["logger"] == "py.warnings" and "old ways" in line["message"]]
        (failed,) = [line for line in lines if line["level"] == "WARNING" and "event" in line]
        assert (failed["event"], failed["type"], failed["attempt"]) == ("failed", "break.down", 1)
        (settled,) = [line for line in lines if line.get("event") == "settled"]
        assert (settled["job"], settled["type"], settled["attempt"]) == (handle.id, "say.it", 1)

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (("nowhere",), 2, "module 'nowhere' cannot be imported"),
            (("farm", "--slots", "0"), 2, "slots: 0 is not a whole number"),
            (("farm", "--lease", "1h", "--watchdog", "1m"), 2, "watchdog: 60 s is too short"),
        ],
    )
    def test_also_what_ends_it_is_one(self, start: Start, words: tuple[str, ...], code: int, said: str) -> None:
        child = start(*words, "--log", "json")
        assert child.wait(20) == code
        (line,) = objects(child)
        assert (line["level"], line["event"], line["exit_code"]) == ("ERROR", "exit", code)
        assert said in line["message"]

    def test_jobs_that_did_not_end_here_are_told_in_one(self, queue: Queue, start: Start) -> None:
        """C13: the exit code tells, and the last object."""
        handle = queue.enqueue("hold.on")
        child = start("farm", "--grace", "0s", "--log", "json")
        wait_until(lambda: handle.state() == "running", 20)
        child.signal(signal.SIGTERM)
        assert child.wait(20) == 1
        last = objects(child)[-1]
        assert (last["event"], last["exit_code"]) == ("exit", 1)
        assert last["message"].startswith("1 job did not end here: 1 handed back, 0 interrupted.")

    def test_a_stream_that_takes_no_umlaut_gets_an_escape(self) -> None:
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
        record = logging.LogRecord("mine", logging.INFO, "", 0, "Straße %s", ("ü",), None)
        before = logging.getLogger().handlers[:]
        try:
            log_lines("json", 0, stream)
            logging.getLogger().handle(record)
            stream.seek(0)
            assert json.loads(stream.read())["message"] == "Straße ü"
        finally:
            logging.getLogger().handlers[:] = before
            logging.captureWarnings(False)
            warnings.resetwarnings()
            warnings.simplefilter("error")

    def test_fields_cannot_take_the_place_of_what_every_line_has(self) -> None:
        """A field that JSON cannot hold is text; a record that carries something else is shown as it is."""
        record = logging.LogRecord("mine", logging.INFO, "", 0, "hello", None, None)
        record.seatline = {"event": "e", "level": "fake", "path": Path("x"), "job": None}
        line = json.loads(JsonLine().format(record))
        assert (line["level"], line["event"], line["path"], "job" in line) == ("INFO", "e", "x", False)
        record.seatline = "not ours"
        assert json.loads(JsonLine().format(record))["message"] == "hello"


def test_c1_verbose_is_one_line_a_transition(queue: Queue, start: Start) -> None:
    """C1, issue 3.7: a classic worker's timeline can be read from its log."""
    queue.enqueue("hold.on", {"seconds": 0})
    child = start("farm", "--classic", "--burst", "-v")
    assert child.wait(20) == 0
    lines = [line for line in child.errors().splitlines() if "no append-only file" not in line]  # R5: of this server
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO) +\S", line) for line in lines), lines
    told = [line.split(maxsplit=3)[3].partition(":")[0] for line in lines]
    assert [word for word in told if word not in {"startup", "on_startup", "on_shutdown", "shutdown"}] == [
        "wake", "server-login", "on_wake", "check", "execute", "settled", "server-logout", "on_sleep", "sleep",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--wake-interval", "5s"), "--wake-interval goes with --classic"),
        (("--classic", "--slots", "2"), "slots: a classic worker has 1, not 2"),
        (("--classic", "--wake-interval", "10ms"), "wake_interval: 0.01 is outside 1.0 to 86400.0 seconds"),
        (("--child-memory", "3"), "child_memory: 3 is not a whole number of MiB, 16 or more"),
        (("--child-jobs", "0"), "child_jobs: 0 is not a whole number from 1 to 1,000,000"),
        (("--watchdog", "10s"), "watchdog: 10 s is too short: a worker with nothing to do calls every 10 s only"),
        (("--kill-after", "1d"), "kill_after: 86400.0 is outside 0.0 to 300.0 seconds"),
        (("--log", "xml"), "'xml' is not one of 'text', 'json'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_cannot_be_are_exit_code_2(start: Start, words: tuple[str, ...], said: str) -> None:
    child = start("farm", *words)
    assert child.wait(20) == 2
    assert child.errors().startswith("seatline: ")
    assert said in child.errors()
    assert child.errors().count("\n") == 1


def test_c7_the_wake_interval_is_what_a_classic_worker_sleeps(queue: Queue, start: Start) -> None:
    """C7: enqueued while it sleeps, a job begins when it wakes."""
    child = start("farm", "--classic", "--wake-interval", "1s", "-v")
    wait_until(lambda: "sleep: until" in child.errors(), 20)
    handle = queue.enqueue("hold.on", {"seconds": 0})
    wait_until(lambda: handle.state() == "succeeded", 20)
    child.terminate()
    assert child.wait(20) == 0


def test_c12_child_jobs_says_when_a_child_is_replaced(queue: Queue, start: Start) -> None:
    """C12, issue 3.3: after so many jobs, or when it holds more than so much."""
    handles = [queue.enqueue("who") for _ in range(4)]
    assert start("farm", "--burst", "--child-jobs", "2").wait(20) == 0
    first, second, third, fourth = [handle.result(0) for handle in handles]
    assert first == second != third == fourth


def test_c12_child_memory_says_when_a_child_is_replaced(queue: Queue, start: Start) -> None:
    """C12, issue 3.3: a child that holds more after a job is replaced; one that holds less stays."""
    handles = [queue.enqueue("who", {"mib": mib}) for mib in (0, 300, 0)]
    assert start("farm", "--burst", "--child-memory", "250").wait(20) == 0
    small, large, after = [handle.result(0) for handle in handles]
    assert small == large != after


def test_c13_kill_after_is_all_the_time_a_stubborn_child_has(queue: Queue, start: Start) -> None:
    """C13, C15: it is killed then, and its job handed back."""
    handle = queue.enqueue("stubborn")
    child = start("farm", "--grace", "0s", "--kill-after", "100ms")
    wait_until(handle.log, 20)
    began = time.monotonic()
    child.terminate()
    assert child.wait(20) == 1
    assert time.monotonic() - began < 2.9, "the default alone is 3 s"
    assert handle.state() == "ready"


def test_c13_what_was_interrupted_has_a_message_of_its_own(queue: Queue, start: Start) -> None:
    """C13: one line says how many of each, and what to do about them."""
    handles = [queue.enqueue("hold.on"), queue.enqueue("hold.tight")]
    child = start("farm", "--slots", "2", "--grace", "0s")
    wait_until(lambda: all(handle.log() for handle in handles), 20)
    child.terminate()
    assert child.wait(20) == 1
    last = child.errors().splitlines()[-1]
    assert last.startswith("seatline: 2 jobs did not end here: 1 handed back, 1 interrupted.")
    assert "`seatline jobs resubmit ID` runs one again" in last


@pytest.mark.parametrize("from_the_start", [False, True])
@pytest.mark.parametrize("kind", [(), ("--classic",)])
def test_the_watchdog_ends_a_worker_whose_calls_do_not_succeed(
    private_server: Callable[..., RealServer], namespace: str, start: Start, kind: tuple[str, ...], from_the_start: bool
) -> None:
    """Issue 3.6: exit code 69 with the reason, so that a supervisor starts it again; also if it never gets in."""
    silent = private_server()
    environ = {"SEATLINE_URL": silent.url, "SEATLINE_TIMEOUT": "0.2"}
    with Queue(silent.url, namespace=namespace) as queue:
        handle = queue.enqueue("hold.on", {"seconds": 60})
        if from_the_start:
            silent.pause()
        child = start("farm", "--lease", "600ms", "--watchdog", "1s", *kind, **environ)
        if not from_the_start:
            wait_until(handle.log, 20)
            silent.pause()
    assert child.wait(30) == 69
    last = child.errors().splitlines()[-1]
    assert re.match(r"seatline: no call of this worker has succeeded for \d+ s \(watchdog 1 s\): it ends\. Is ", last)


def test_an_idle_worker_is_no_reason_for_its_watchdog(queue: Queue, start: Start) -> None:
    """Issue 3.6: two renewals are enough to live on."""
    child = start("farm", "--lease", "600ms", "--watchdog", "400ms")
    wait_until(lambda: "slot" in child.errors(), 20)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 2.0 or not child.running, 5)
    assert child.running, child.errors()
    child.terminate()
    assert child.wait(20) == 0


def test_a_stop_while_the_server_is_away_is_exit_code_69(
    private_server: Callable[..., RealServer], namespace: str, start: Start
) -> None:
    """C13: it cannot hand back, and says what becomes of what it held."""
    away = private_server()
    with Queue(away.url, namespace=namespace) as queue:
        handle = queue.enqueue("hold.on", {"seconds": 60})
        child = start("farm", "--grace", "300ms", SEATLINE_URL=away.url)
        wait_until(handle.log, 20)  # it knows of its job: the state alone may be news of which it has not heard
    away.kill()
    child.terminate()
    assert child.wait(30) == 69
    last = child.errors().splitlines()[-1]
    assert last.startswith("seatline: it was told to stop while ")
    assert "counts as lost when its leases have run out" in last
