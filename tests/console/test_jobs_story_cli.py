"""`seatline jobs show` and `list`, `enqueue --expires`: what a job is going through, and what it has been through."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.console.records import progress_shown
from seatline.producer import Queue
from seatline.shared.calls import reads
from seatline.worker import Context, Handlers, Retry, Skip, Worker

Cli = Callable[..., Any]
handlers = Handlers()
go_on = threading.Event()


@handlers.handler("flaky", retry=Retry(attempts=3, first=0, jitter=0))
def flaky(ctx: Context) -> None:
    raise ConnectionError(f"attempt {ctx.attempt} broke\nin two lines")


@handlers.handler("later", retry=Retry(attempts=3, first=3600, jitter=0))
def later(ctx: Context) -> None:
    raise ConnectionError(f"attempt {ctx.attempt} broke")


@handlers.handler("none.new")
def none_new(ctx: Context) -> None:
    raise Skip("the entity has a newer version")


@handlers.handler("far")
def far(ctx: Context) -> None:
    ctx.progress(3, 10, "sheet 3")
    go_on.wait(20)


@handlers.handler("deaf", uses={"vault": 1}, timeout=0.1, isolation="thread")
def deaf(ctx: Context) -> None:
    go_on.wait(20)


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def worker(queue: Queue) -> Iterator[Worker]:
    """A worker with three slots that runs in this process."""
    go_on.clear()
    worker = Worker(handlers, queue.settings.url, namespace=queue.settings.namespace, slots=3, renew=0.3)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: queue.store.read(reads.name_set(queue.store.keys, "offers")))
    yield worker
    go_on.set()
    worker.stop()
    thread.join(20)


def test_c16_every_attempt_is_told_with_its_error(cli: Cli, queue: Queue, worker: Worker) -> None:
    """C16: when, which, by whom, why; tracebacks with -v."""
    handle = queue.enqueue("flaky")
    wait_until(lambda: handle.state() == "failed", 20)
    lines = cli("jobs", "show", "1").lines
    start = lines.index("Earlier attempts")
    for number, at in ((1, start + 1), (2, start + 4)):
        assert lines[at].endswith(f"attempt {number} by {worker.id}")
        assert lines[at + 1 : at + 3] == [f"    ConnectionError: attempt {number} broke", "    in two lines"]
    assert lines[start + 7] == "  -v shows their tracebacks."
    assert "  ConnectionError: attempt 3 broke" in lines[lines.index("Error") :]
    verbose = cli("jobs", "show", "1", "-v").out
    assert verbose.count("Traceback (most recent call last):") == 3
    assert "-v shows" not in verbose
    told = json.loads(cli("jobs", "show", "1", "-o", "json").out)["attempts"]
    assert [(each["attempt"], each["error_type"]) for each in told] == [(1, "ConnectionError"), (2, "ConnectionError")]
    assert told[0]["time"].endswith("Z")
    assert "Traceback" in told[0]["traceback"]


def test_c16_a_job_that_waits_for_its_retry(cli: Cli, queue: Queue, worker: Worker, screen: Cli) -> None:
    """C16, Q25: REASON retry, and which attempt has failed; its error is told once."""
    handle = queue.enqueue("later", title="x" * 90)
    wait_until(lambda: handle.state() == "scheduled", 20)
    row = cli("jobs", "list").lines[1].split()
    assert (row[3], row[4]) == ("scheduled", "retry")
    assert "attempt 1 failed" in cli("jobs", "list").lines[1]
    assert "attempt 1 failed" in screen(120, "jobs", "list").lines[1]
    narrow = screen(60, "jobs", "list").lines
    assert "PROGRESS" not in narrow[0]
    assert all(len(line) <= 60 for line in narrow)
    shown = cli("jobs", "show", "1")
    assert "Error of attempt 1" in shown.lines
    assert "Earlier attempts" not in shown.lines
    assert "for its next attempt" in shown.out
    assert cli("jobs", "why", "1").lines[1].split()[:4] == ["retry", "attempt", "1", "failed"]
    assert json.loads(cli("jobs", "list", "-o", "json").out)[0]["reason"] == "retry"


def test_c17_progress_is_told_while_it_runs(cli: Cli, queue: Queue, worker: Worker) -> None:
    """C17: in the list as much as there is room for, else with its words."""
    handle = queue.enqueue("far")
    wait_until(lambda: handle.record().progress, 20)
    assert cli("jobs", "list").lines[1].split()[-1] == "30%"
    assert "  progress  30% (3/10) sheet 3" in cli("jobs", "show", "1").lines
    assert ": 30% (3/10) sheet 3." in cli("jobs", "why", "1").out
    assert json.loads(cli("jobs", "list", "-o", "json").out)[0]["progress"] == "3/10 sheet 3"


def test_c4_an_overdue_job_is_told(cli: Cli, queue: Queue, worker: Worker) -> None:
    """C4: a thread that ignores its time-out keeps its seats, and everybody sees it."""
    queue.pools.set("vault", 1)
    handle = queue.enqueue("deaf")
    wait_until(lambda: handle.record().overdue, 20)
    assert cli("jobs", "list").lines[1].split()[-1] == "overdue"
    lines = cli("jobs", "show", "1").lines
    assert lines[0] == "Job 1  deaf  running (overdue)"
    assert "cannot be stopped" in lines[1]
    assert json.loads(cli("jobs", "show", "1", "-o", "json").out)["overdue"] is True


def test_q21_the_reason_of_a_skipped_job(cli: Cli, queue: Queue, worker: Worker) -> None:
    """Q21: listed apart, with its reason."""
    handle = queue.enqueue("none.new")
    wait_until(lambda: handle.state() == "skipped", 20)
    assert "Skipped  the entity has a newer version" in cli("jobs", "show", "1").lines
    assert ": the entity has a newer version" in cli("jobs", "why", "1").out
    assert cli("jobs", "wait", "1").out == "job 1 skipped: the entity has a newer version\n"


@pytest.mark.damaged
def test_attempts_that_cannot_be_read_hide_nothing_else(cli: Cli, queue: Queue, redis: Any) -> None:
    queue.enqueue("nobody")
    redis.rpush(queue.store.keys.job("0000000000000001") + ":attempts", "rubbish")
    shown = cli("jobs", "show", "1")
    assert shown.code == 0
    assert "  cannot be read: attempts: 'rubbish' is no entry of Seatline's." in shown.lines
    assert json.loads(cli("jobs", "show", "1", "-o", "json").out)["attempts"].startswith("cannot be read")


class TestExpires:
    def test_after_so_long_or_after_a_moment(self, cli: Cli, queue: Queue) -> None:
        """Issue 3.4: beside --at and --delay."""
        before = datetime.now(UTC)
        cli("enqueue", "a", "--expires", "90m", "--delay", "1h")
        cli("enqueue", "a", "--expires", "2030-01-31T18:00+01:00")
        cli("enqueue", "a", "--expires", "120")
        first, second, third = (queue.job(number).expires for number in (1, 2, 3))
        assert first is not None
        assert third is not None
        assert timedelta(minutes=89) < first - before < timedelta(minutes=91)
        assert second == datetime(2030, 1, 31, 17, tzinfo=UTC)
        assert timedelta(seconds=110) < third - before < timedelta(seconds=130)
        assert "it is not to start after that" in cli("jobs", "show", "2").out
        assert json.loads(cli("jobs", "show", "2", "-o", "json").out)["expires"] == "2030-01-31T17:00:00.000Z"

    def test_one_that_was_not_started_in_time(self, cli: Cli, worker: Worker) -> None:
        """Issue 3.4: it ends as expired; whoever waits for it is told."""
        worker.pause()
        done = cli("enqueue", "far", "--expires", "300ms", "--wait", "--timeout", "30s")
        assert (done.code, done.out) == (1, "")
        assert "seatline: job 1 expired: it was not to start after " in done.err
        assert "It expired at " in cli("jobs", "why", "1").out

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (
                ["--expires", "soon"],
                "Invalid value for '--expires': 'soon' is neither a duration such as 30m or 1d nor",
            ),
            (["--expires", "0s"], "expires: 0.0 is neither a number of seconds, more than 0"),
            (["--expires", "5m", "--delay", "1h"], "expires: 300.0 does not lie after delay: 3600.0"),
        ],
    )
    def test_nonsense_is_one_line_and_exit_code_2(self, cli: Cli, words: list[str], said: str) -> None:
        done = cli("enqueue", "a", *words)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"seatline: {said}")
        assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("stored", "short", "full"),
    [
        (None, "-", "-"),
        ("3/10 sheet 3", "30%", "30% (3/10) sheet 3"),
        ("3/10", "30%", "30% (3/10)"),
        ("7", "7", "7"),
        ("7 of many", "7", "7 of many"),
        ("1/0 odd", "1/0", "1/0 odd"),
        ("rubbish", "rubbish", "rubbish"),
        ("1.5/3", "50%", "50% (1.5/3)"),
    ],
)
def test_c17_progress_in_words(stored: str | None, short: str, full: str) -> None:
    """C17: a part of a whole is told in percent."""
    assert (progress_shown(stored), progress_shown(stored, full=True)) == (short, full)
    assert progress_shown(stored, overdue=True).startswith("overdue")
