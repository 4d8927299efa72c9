"""`seatline worker`: handlers found or not (C14), log lines, exit codes (C13)."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.producer import Queue

MODULE = """\
import logging, time
from seatline.worker import Handlers

handlers = Handlers()
empty = Handlers()

@handlers.handler("count.words")
def count(ctx, text):
    logging.getLogger("mine").info("counting\\nin two lines")
    return len(text.split())

@handlers.handler("break.down")
def break_down(ctx):
    raise ValueError("no")

@handlers.handler("hold.on", if_lost="rerun")
def hold_on(ctx, seconds=30):
    ctx.sleep(seconds)

@handlers.handler("hold.tight")
def hold_tight(ctx, seconds=30):
    time.sleep(seconds)  # work
"""

Start = Callable[..., Child]


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def start(spawn: Callable[..., Child], server: RealServer, namespace: str, tmp_path: Path) -> Start:
    (tmp_path / "farm.py").write_text(MODULE)
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    (tmp_path / "twice.py").write_text(MODULE + MODULE.partition("empty = Handlers()\n")[2])

    def run(*words: str) -> Child:
        return spawn(
            [sys.executable, "-m", "seatline.console.main", "worker", *words],
            {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace, "PYTHONPATH": str(tmp_path)},
        )

    return run


def test_a_burst_runs_all_and_ends_well(queue: Queue, start: Start) -> None:
    """Exit code 0, also when jobs failed: they have ended here."""
    good, bad = queue.enqueue("count.words", {"text": "a b"}), queue.enqueue("break.down")
    child = start("farm", "--burst", "--slots", "2")
    assert child.wait(20) == 0
    assert (good.result(0), bad.state()) == (2, "failed")
    assert child.output() == ""
    lines = child.errors().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING) +\S", line) for line in lines), lines
    assert any("counting | in two lines" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "module 'nowhere' cannot be imported (ModuleNotFoundError"),
        ("wrong", "module 'wrong' cannot be imported (ZeroDivisionError: division by zero)"),
        ("farm:nothing", "farm has no Handlers() named 'nothing'"),
        ("farm:empty", "farm:empty declares no handler"),
        ("twice", "two handlers"),
    ],
)
def test_c14_handlers_that_cannot_be_had_are_exit_code_2(start: Start, name: str, said: str) -> None:
    """C14: a module that cannot be imported, or declares a type twice: error at start."""
    child = start(name)
    assert child.wait(20) == 2
    assert child.errors().startswith("seatline: ")
    assert said in child.errors()
    assert child.errors().count("\n") == 1


def test_c14_types_narrow_what_is_offered(queue: Queue, start: Start) -> None:
    """C14: only the types that match."""
    other, mine = queue.enqueue("break.down"), queue.enqueue("count.words", {"text": ""})
    assert start("farm", "--types", "count.*", "--burst").wait(20) == 0
    assert (other.state(), mine.state()) == ("ready", "succeeded")
    child = start("farm", "--types", "nope*", "--burst")
    assert child.wait(20) == 2
    assert "'nope*' matches none of break.down, count.words" in child.errors()


def test_c13_an_idle_worker_ends_at_once_with_0(queue: Queue, start: Start) -> None:
    """C13: nothing ran, nothing was handed back."""
    child = start("farm")
    wait_until(lambda: "startup: worker" in child.errors(), 20)
    child.signal(signal.SIGTERM)
    assert child.wait(20) == 0


@pytest.mark.parametrize(("type_", "state"), [("hold.on", "ready"), ("hold.tight", "interrupted")])
def test_c13_jobs_handed_back_are_exit_code_1(queue: Queue, start: Start, type_: str, state: str) -> None:
    """C13: after the grace period, ready again or interrupted as the type says; the exit code tells."""
    handle = queue.enqueue(type_)
    child = start("farm", "--grace", "200ms")
    wait_until(lambda: handle.state() == "running", 20)
    child.signal(signal.SIGINT)
    assert child.wait(20) == 1
    assert handle.state() == state
    back, interrupted = (1, 0) if state == "ready" else (0, 1)
    last = child.errors().splitlines()[-1]
    leaves = next(line for line in child.errors().splitlines() if "shutdown: " in line)
    assert leaves.endswith(f"0 jobs done, 1 {'handed back' if back else 'interrupted'}")
    assert last.startswith(f"seatline: 1 job did not end here: {back} handed back, {interrupted} interrupted")


def test_a_slot_too_many_is_usage(start: Start) -> None:
    child = start("farm", "--slots", "1000")
    assert child.wait(20) == 2
    assert "slots: 1000 is not a whole number from 1 to 256" in child.errors()
