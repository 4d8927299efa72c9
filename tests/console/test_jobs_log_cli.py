"""`seatline jobs log`: what a handler has logged, and what it logs on (C17)."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.producer import Queue
from seatline.shared.calls import reads
from seatline.worker import Context, Handlers, Retry, Worker

Cli = Callable[..., Any]
Start = Callable[..., Child]
handlers = Handlers()
go_on = threading.Event()


@handlers.handler("tell")
def tell(ctx: Context, lines: int = 3) -> None:
    for number in range(lines):
        ctx.log(f"line {number}")


@handlers.handler("tell.twice", retry=Retry(attempts=2, first=0.3, jitter=0))
def tell_twice(ctx: Context) -> None:
    ctx.log(f"attempt {ctx.attempt}")
    if ctx.attempt == 1:
        raise ValueError("once more")


@handlers.handler("tell.on")
def tell_on(ctx: Context) -> None:
    ctx.log("begun")
    go_on.wait(20)
    ctx.log("ended")


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def worker(queue: Queue) -> Iterator[Worker]:
    """A worker that runs in this process."""
    go_on.clear()
    worker = Worker(handlers, queue.settings.url, namespace=queue.settings.namespace)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: queue.store.read(reads.name_set(queue.store.keys, "offers")))
    yield worker
    go_on.set()
    worker.stop()
    thread.join(20)


@pytest.fixture
def start(spawn: Callable[..., Child], server: RealServer, namespace: str) -> Start:
    """Start a command line in a process of its own."""
    environ = {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace, "TZ": "UTC"}
    return lambda *words, **more: spawn([sys.executable, "-m", "seatline.console.main", *words], {**environ, **more})


def drain(queue: Queue) -> None:
    Worker(handlers, queue.settings.url, namespace=queue.settings.namespace).run(burst=True)


def told(done: Any) -> list[str]:
    """Return the lines without their times."""
    assert done.code == 0, done
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  ", line) for line in done.lines), done.out
    return [line[25:] for line in done.lines]


def test_c17_the_lines_are_printed_all_or_the_last(cli: Cli, queue: Queue) -> None:
    """C17: `ctx.log` is kept per job; `logs` is another name for it."""
    queue.enqueue("tell")
    drain(queue)
    assert told(cli("jobs", "log", "1")) == ["line 0", "line 1", "line 2"]
    assert told(cli("jobs", "logs", "1", "-n", "1")) == ["line 2"]
    assert told(cli("jobs", "log", "1", "-n", "9")) == ["line 0", "line 1", "line 2"]
    none = cli("jobs", "log", "1", "-n", "0")
    assert (none.code, none.out, none.err) == (0, "", "seatline: job 1 has 3 lines; -n 0 shows none of them.\n")
    elsewhere = cli("jobs", "log", "1", "-n", "1", "--namespace", queue.settings.namespace, SEATLINE_NAMESPACE="other")
    assert told(elsewhere) == ["line 2"]
    assert "Log  3 lines: `seatline jobs log 1`" in cli("jobs", "show", "1").out
    assert "logs " not in cli("jobs", "--help").out


def test_as_json(cli: Cli, queue: Queue) -> None:
    queue.enqueue("tell")
    drain(queue)
    lines = json.loads(cli("jobs", "log", "1", "-o", "json").out)
    assert [line["line"] for line in lines] == ["line 0", "line 1", "line 2"]
    assert all(line["time"].endswith("Z") for line in lines)
    assert [json.loads(line) for line in cli("jobs", "log", "1", "-o", "ndjson").lines] == lines
    queue.enqueue("tell", {"lines": 0})
    drain(queue)
    assert cli("jobs", "log", "2", "-o", "json").out == "[]\n"


def test_times_are_those_of_this_machine(queue: Queue, start: Start) -> None:
    queue.enqueue("tell", {"lines": 1})
    drain(queue)
    stamp, _, _ = queue.handle(1).log()[0].partition(" ")
    child = start("jobs", "log", "1", TZ="Asia/Tokyo")
    assert child.wait(20) == 0
    there = datetime.fromisoformat(stamp).replace(tzinfo=None) + timedelta(hours=9)
    assert child.output()[:23] == there.isoformat(" ", "milliseconds")


def test_c17_what_was_cut_is_told(cli: Cli, queue: Queue) -> None:
    """C17: capped; -n of what is there says nothing of it."""
    queue.enqueue("tell", {"lines": 1_200})
    drain(queue)
    done = cli("jobs", "log", "1")
    lines = told(done)
    assert lines[-1] == "line 1199"
    if done.err:
        assert re.fullmatch(r"seatline: \d+ older lines are no longer kept\.\n", done.err)
    assert done.err or any("lines cut here" in line for line in lines)
    last = cli("jobs", "log", "1", "-n", "2")
    assert (told(last), last.err) == (["line 1198", "line 1199"], "")


def test_what_could_steer_a_terminal_is_shown_as_an_escape(cli: Cli, queue: Queue, redis: Any) -> None:
    """`ctx.log` stores no such thing, but others may write there."""
    queue.enqueue("nobody")
    redis.rpush(queue.store.keys.job("0000000000000001") + ":log", "1785312030000 \x1b[31mred")
    assert told(cli("jobs", "log", "1")) == ["\\x1b[31mred"]


def test_jobs_that_have_none(cli: Cli, queue: Queue) -> None:
    queue.enqueue("nobody")
    done = cli("jobs", "log", "1")
    assert (done.code, done.out) == (0, "")
    assert done.err == "seatline: job 1 is ready; it has logged nothing yet. --follow waits.\n"
    queue.enqueue("tell", {"lines": 0})
    drain(queue)
    assert cli("jobs", "log", "2").err == "seatline: job 2 (succeeded) has logged nothing.\n"
    assert "Log  " not in cli("jobs", "show", "2").out


def test_follow_ends_with_the_job(queue: Queue, start: Start, worker: Worker) -> None:
    """C17: no line is lost or shown twice."""
    handle = queue.enqueue("tell.on")
    wait_until(handle.log, 10)
    child = start("jobs", "log", "1", "-f")
    wait_until(lambda: "begun" in child.output(), 10)
    go_on.set()
    assert child.wait(10) == 0
    assert [line[25:] for line in child.output().splitlines()] == ["begun", "ended"]
    assert child.errors() == "seatline: job 1 succeeded\n"


def test_follow_waits_for_the_start_and_goes_through_retries(queue: Queue, start: Start, worker: Worker) -> None:
    """C16, C17: the log is that of all attempts."""
    worker.pause()
    queue.enqueue("tell.twice")
    child = start("jobs", "log", "1", "--follow", "-o", "ndjson")
    wait_until(lambda: "its lines come once it runs" in child.errors(), 10)
    worker.resume()
    assert child.wait(20) == 0
    assert [json.loads(line)["line"] for line in child.output().splitlines()] == ["attempt 1", "attempt 2"]
    assert child.errors().endswith("seatline: job 1 succeeded\n")


def test_follow_shows_none_twice_while_older_lines_are_cut(queue: Queue, redis: Any, start: Start) -> None:
    """C17: a line has the number of those that came before it, cut ones included."""
    queue.enqueue("nobody")
    key = queue.store.keys.job("0000000000000001")

    def log(*numbers: int, cut: int) -> None:
        with redis.pipeline() as moment:
            moment.rpush(f"{key}:log", *(f"1785312030000 line {number}" for number in numbers))
            moment.ltrim(f"{key}:log", cut and -3, -1)
            moment.hset(key, "log_cut", cut)
            moment.execute()

    log(0, 1, 2, cut=0)
    child = start("jobs", "log", "1", "-n", "1", "--follow")
    wait_until(lambda: "line 2" in child.output(), 10)
    log(3, 4, cut=2)
    wait_until(lambda: "line 4" in child.output(), 10)
    log(5, 6, 7, 8, 9, cut=7)
    wait_until(lambda: "line 9" in child.output(), 10)
    assert [line[25:] for line in child.output().splitlines()] == [f"line {number}" for number in (2, 3, 4, 7, 8, 9)]
    assert "seatline: 2 lines came and went meanwhile.\n" in child.errors()
    queue.handle(1).cancel()
    assert child.wait(10) == 0


def test_ctrl_c_ends_it_without_a_word(queue: Queue, start: Start, worker: Worker) -> None:
    handle = queue.enqueue("tell.on")
    wait_until(handle.log, 10)
    child = start("jobs", "log", "1", "--follow")
    wait_until(lambda: "begun" in child.output(), 10)
    child.signal(signal.SIGINT)
    assert child.wait(10) == 130
    assert child.errors() == "\n"
    assert handle.state() == "running"


def test_a_job_that_is_removed_meanwhile(queue: Queue, start: Start) -> None:
    handle = queue.enqueue("nobody")
    child = start("jobs", "log", "1", "--follow")
    wait_until(lambda: "its lines come once it runs" in child.errors(), 10)
    handle.remove()
    assert child.wait(10) == 1
    assert "job 1: no such job" in child.errors().splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["99"], 1, "job 99: no such job."),
        (["4x"], 2, "id: '4x' is not a job id."),
        (["1", "-n", "-1"], 2, "Invalid value for '-n' / '--lines'"),
        (["1", "-f", "-o", "json"], 2, "--follow prints as it comes, json all at once; take -o ndjson."),
        ([], 2, "Missing argument 'ID'."),
    ],
)
def test_nonsense_is_one_line(cli: Cli, words: list[str], code: int, said: str) -> None:
    done = cli("jobs", "log", *words)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"seatline: {said}")
    assert done.err.count("\n") == 1
