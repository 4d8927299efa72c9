"""`seatline workers`: real worker processes are shown, pinged, paused, resumed and stopped (C2, C13)."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.console.output import size
from seatline.console.workers_ping import host_part
from seatline.producer import Queue
from seatline.shared.calls import reads
from seatline.worker import worker as worker_module

MODULE = """\
import os, time
from seatline.worker import Handlers

handlers = Handlers()

@handlers.handler("drawing.publish", if_lost="rerun")
def publish(ctx, seconds=60):
    ctx.progress(3, 10, "sheet 3")
    ctx.sleep(seconds)

@handlers.handler("hold.tight")
def hold_tight(ctx):
    ctx.sleep(60)

@handlers.handler("break.down")
def break_down(ctx):
    raise ValueError("no paper")

@handlers.handler("deaf", timeout=0.2, uses={"vault": 1}, isolation="thread", if_lost="rerun")
def deaf(ctx, until):
    while not os.path.exists(until):
        time.sleep(0.05)
"""

Cli = Callable[..., Any]
Start = Callable[..., tuple[Child, str]]


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def start(
    spawn: Callable[..., Child], server: RealServer, queue: Queue, tmp_path: Path
) -> Start:  # fmt: skip
    """Start a worker; returns its process and its id, once it is there."""
    (tmp_path / "farm.py").write_text(MODULE)

    def known() -> set[str]:
        return {worker for worker, _ in queue.store.read(reads.page(queue.store.keys, "workers", 0, 100))}

    def run(*words: str) -> tuple[Child, str]:
        before = known()
        child = spawn(
            [sys.executable, "-m", "seatline.console.main", "worker", "farm", *words],
            {
                "SEATLINE_URL": server.url,
                "SEATLINE_NAMESPACE": queue.settings.namespace,
                "PYTHONPATH": str(tmp_path),
            },
        )
        (worker,) = wait_until(lambda: known() - before, 20, "the worker's presence")
        return child, worker

    return run


def states(cli: Cli) -> dict[str, str]:
    return {worker["id"]: worker["state"] for worker in json.loads(cli("workers", "list", "-o", "json").out)}


class TestAsking:
    def test_c13_pause_and_resume_are_heard_at_once(self, cli: Cli, queue: Queue, start: Start) -> None:
        """C13, issue 3.5: by the bell: its own renewals are 10 s apart."""
        child, worker = start()
        running = queue.enqueue("drawing.publish", {"seconds": 2})
        wait_until(lambda: running.state() == "running", 10)
        done = cli("workers", "pause", worker)
        assert (done.code, done.out) == (0, f"worker {worker} takes no new jobs; 1 running job goes on\n")
        wait_until(lambda: states(cli) == {worker: "paused"}, 3)
        waiting = queue.enqueue("drawing.publish", {"seconds": 0})
        wait_until(lambda: running.state() == "succeeded", 10)
        assert cli("workers", "pause", worker).out == f"worker {worker} was paused already\n"
        assert waiting.state() == "ready"
        assert cli("workers", "resume", "--all").out == f"worker {worker} takes jobs again\n"
        wait_until(lambda: waiting.state() == "succeeded", 3)
        wait_until(lambda: states(cli) == {worker: "awake"}, 3)
        assert cli("workers", "resume", worker).out == f"worker {worker} was not paused by anybody\n"
        assert "paused" in child.errors()
        assert "resumed" in child.errors()

    def test_c13_stop_lets_running_jobs_end(self, cli: Cli, queue: Queue, start: Start) -> None:
        """C13: --wait returns when it is gone; its own exit code is 0."""
        child, worker = start()
        running = queue.enqueue("drawing.publish", {"seconds": 1})
        wait_until(lambda: running.state() == "running", 10)
        done = cli("workers", "stop", worker, "--wait", "20s")
        assert done.code == 0
        assert done.out == (
            f"worker {worker} stops when 1 running job has ended, or its grace is over\nworker {worker} is gone\n"
        )
        assert running.state() == "succeeded"
        assert child.wait(10) == 0
        assert states(cli) == {}

    @pytest.mark.parametrize("how", ["a second stop", "--now", "--now after a stop"])
    def test_c13_a_second_stop_or_now_hands_back_at_once(self, cli: Cli, queue: Queue, start: Start, how: str) -> None:
        """C13, issue 3.5: without costing an attempt."""
        child, worker = start("--slots", "2")
        running = [queue.enqueue("drawing.publish") for _ in range(2)]
        wait_until(lambda: all(handle.state() == "running" for handle in running), 10)
        if how != "--now":
            cli("workers", "stop", worker)
            wait_until(lambda: states(cli) == {worker: "stopping"}, 3)
            refused = cli("workers", "resume", worker)
            assert (refused.code, refused.out) == (1, "")
            assert refused.err == f"seatline: worker {worker} was told to stop, which is not taken back.\n"
        now = ["--now"] if how.startswith("--now") else []
        began = time.monotonic()
        done = cli("workers", "stop", worker, *now, "--wait")
        assert time.monotonic() - began < 10, "its grace is 30 s"
        assert done.code == 0
        assert "stops at once; of 2 running jobs 2 go back to their place\n" in done.out
        assert ("was told to stop before" in done.out) == (how == "a second stop")
        assert child.wait(10) == 1
        assert [(handle.state(), handle.record().attempt) for handle in running] == [("ready", 0)] * 2

    def test_c13_a_stop_says_what_becomes_of_each_job(self, cli: Cli, queue: Queue, start: Start) -> None:
        """C13, Q12: with the default if_lost a job is interrupted, and nobody says that it was handed back."""
        child, worker = start("--slots", "2")
        tight = queue.enqueue("hold.tight")
        wait_until(lambda: tight.state() == "running", 10)
        back = queue.enqueue("drawing.publish")
        wait_until(lambda: back.state() == "running", 10)
        done = cli("workers", "stop", worker, "--now", "--wait")
        assert done.lines == [
            f"worker {worker} stops at once; of 2 running jobs 1 goes back to its place and 1 becomes interrupted (if_lost)",
            f"worker {worker} is gone",
        ]
        assert child.wait(10) == 1
        assert (tight.state(), back.state()) == ("interrupted", "ready")
        assert f"worker {worker} leaves: 0 jobs done, 1 handed back, 1 interrupted\n" in child.errors()

    def test_stop_now_was_said_already(self, cli: Cli, start: Start) -> None:
        child, worker = start()
        child.signal(signal.SIGSTOP)  # so that it does not go before we have spoken
        cli("workers", "stop", worker, "--now")
        assert cli("workers", "stop", worker).out == f"worker {worker} was told to stop at once already\n"
        child.signal(signal.SIGCONT)
        assert child.wait(10) == 0

    def test_wait_in_vain_is_exit_code_124(self, cli: Cli, queue: Queue, start: Start) -> None:
        _, worker = start()
        running = queue.enqueue("drawing.publish")
        wait_until(lambda: running.state() == "running", 10)
        done = cli("workers", "stop", worker, "--wait=300ms")
        assert done.code == 124
        assert done.err == f"seatline: 1 worker not gone in time: {worker}; it goes on stopping.\n"

    def test_c2_a_sleeping_worker_hears_when_it_wakes(self, cli: Cli, start: Start) -> None:
        """C2, C13: it is listed as sleeping, lives for a probe, and stops when it wakes."""
        child, worker = start("--classic", "--wake-interval", "3s")
        wait_until(lambda: states(cli) == {worker: "sleeping"}, 10)
        assert "sleeping until " in cli("workers", "list").out
        (told,) = json.loads(cli("workers", "list", "-o", "json").out)
        assert told["wakes"].endswith("Z")
        assert cli("workers", "ping", worker).code == 0
        done = cli("workers", "stop", worker, "--wait", "20s")
        assert done.code == 0
        assert f"worker {worker} is sleeping until " in done.out.splitlines()[0]
        assert done.out.splitlines()[0].endswith("; then it stops")
        assert child.wait(10) == 0


class TestNaming:
    def test_an_id_may_be_cut_short_while_only_one_begins_so(self, cli: Cli, start: Start) -> None:
        (_, first), (_, second) = start(), start()
        assert cli("workers", "pause", first[:-2], first).out == f"worker {first} takes no new jobs\n"
        common = first[: next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)]
        for words in (("pause", common), ("stop", common), ("show", common)):
            done = cli("workers", *words)
            assert (done.code, done.out) == (2, "")
            assert f"worker {common}: 2 ids begin so: " in done.err
            assert first in done.err
            assert second in done.err
        assert cli("workers", "ping", common).code == 1
        assert states(cli).keys() == {first, second}

    def test_one_that_is_not_there_keeps_no_other_from_it(self, cli: Cli, start: Start) -> None:
        _, worker = start()
        done = cli("workers", "pause", "nobody", worker)
        assert (done.code, done.out) == (1, f"worker {worker} takes no new jobs\n")
        assert done.err.startswith("seatline: worker nobody: no worker's id is that or begins so;")
        assert "`seatline workers list`" in done.err

    def test_a_lost_worker_cannot_be_told(self, cli: Cli, queue: Queue, redis: Any) -> None:
        redis.zadd(queue.store.keys("workers"), {"ghost.1.abc": redis.time()[0] * 1000 - 60_000})
        done = cli("workers", "stop", "ghost", "--wait")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("seatline: worker ghost.1.abc: no such worker; it has stopped, or was lost.")
        shown = cli("workers", "show", "ghost")
        assert shown.lines[0] == "Worker ghost.1.abc  lost"
        assert "went without a word" in shown.lines[1]
        probe = cli("workers", "ping", "--host", "ghost")
        assert (probe.code, probe.out) == (1, "")
        assert "worker of host ghost is lost: ghost.1.abc should have been heard of 1m" in probe.err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("pause",), "name workers (ids, or beginnings of theirs), or give --all for every one; one of the two."),
            (("resume", "--all", "x"), "name workers (ids, or beginnings of theirs), or give --all"),
            (("stop", ""), "worker: the id is empty."),
            (("stop", "--wait", "build-7"), "'build-7' is not a duration such as 5m; name workers before --wait"),
            (("ping", "a", "--host", "b"), "give an ID or --host, not both."),
            (("ping", ""), "the id or host is empty."),
            (("show",), "Missing argument 'ID'."),
            (("list", "-o", "xml"), "Invalid value for '-o' / '--output'"),
        ],
    )
    def test_nonsense_is_one_line_and_exit_code_2(self, cli: Cli, words: tuple[str, ...], said: str) -> None:
        done = cli("workers", *words)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert done.err.count("\n") == 1

    @pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
    def test_all_of_none_is_no_error(self, cli: Cli, verb: str) -> None:
        done = cli("workers", verb, "--all")
        assert (done.code, done.out, done.err) == (0, "", "No live workers.\n")


class TestLooking:
    def test_show_tells_what_it_is_does_and_runs(
        self, cli: Cli, queue: Queue, start: Start, tmp_path: Path, screen: Cli
    ) -> None:
        """Issue 3.6: slots, jobs done, memory, versions, last error; C4: what is overdue."""
        queue.pools.set("vault", 1)
        child, worker = start("--slots", "3")
        queue.enqueue("break.down")
        running = queue.enqueue("drawing.publish")
        ended = tmp_path / "ended"
        late = queue.enqueue("deaf", {"until": str(ended)})
        wait_until(lambda: late.record().overdue, 10)
        wait_until(lambda: running.record().progress, 10)
        cli("workers", "pause", worker)  # it tells anew how it is
        wait_until(lambda: states(cli) == {worker: "paused"}, 3)
        done = cli("workers", "show", worker)
        assert done.code == 0
        assert done.lines[0] == f"Worker {worker}  paused"
        facts = dict(line.split(maxsplit=1) for line in done.lines[1:] if line[:2] == "  " and line[2] != " ")
        assert facts["host"] == socket.gethostname()
        assert facts["pid"] == str(child.pid)
        assert facts["slots"] == "2 of 3 busy"
        assert facts["jobs"] == "1 done, 1 of them failed"
        assert facts["memory"].endswith("MiB, without its children")
        assert facts["overdue"].startswith("1 of its handlers")
        assert facts["asked"].startswith("to pause by ")
        assert "  last error  job 1 ValueError: no paper\n" in done.out
        assert next(line.split() for line in done.lines if "30% (3/10) sheet 3" in line)[:3] == [
            str(int(running.id)), "drawing.publish", "1",
        ]  # fmt: skip
        told = json.loads(cli("workers", "show", worker, "-o", "json").out)
        assert (told["state"], told["busy"], told["asked"], told["last_error"]) == (
            "paused", 2, "pause", "job 1 ValueError: no paper",
        )  # fmt: skip
        jobs = {job["id"]: job for job in told["jobs"]}
        assert (jobs[running.id]["progress"], jobs[running.id]["attempt"]) == ("3/10 sheet 3", 1)
        assert jobs[late.id]["overdue"] is True
        assert all(len(line) <= 80 for line in screen(80, "workers", "show", worker).lines)
        ended.touch()

    def test_a_narrow_list_leaves_out_what_matters_least(self, cli: Cli, start: Start, screen: Cli) -> None:
        _, worker = start()
        wide, narrow = screen(120, "workers", "list"), screen(len(worker) + 40, "workers", "list")
        assert wide.lines[0].split() == ["ID", "STATE", "BUSY", "DONE", "LAST", "SEEN", "MEMORY", "TYPES"]
        assert narrow.lines[0].split() == ["ID", "STATE", "BUSY", "DONE", "TYPES"]
        for shown in (wide, narrow):
            assert shown.lines[1].startswith(worker)
        assert narrow.lines[1].rstrip().endswith("…")
        assert cli("workers", "list").lines[0].split() == wide.lines[0].split()
        assert "MiB" in cli("workers", "list").lines[1]

    def test_a_wait_on_a_terminal_shows_for_whom(self, queue: Queue, start: Start, screen: Cli) -> None:
        _, worker = start()
        running = queue.enqueue("drawing.publish", {"seconds": 1})
        wait_until(lambda: running.state() == "running", 10)
        done = screen(120, "workers", "stop", worker, "--wait")
        assert done.code == 0
        assert f"waiting for 1 worker: {worker} (stopping, 1 busy)" in done.out
        assert f"worker {worker} is gone" in done.out

    @pytest.mark.parametrize(
        ("count", "shown"),
        [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (48 * 2**20, "48 MiB"),
            (3 * 2**30, "3.0 GiB"),
            (2**52, "4096 TiB"),
        ],
    )
    def test_sizes(self, count: int, shown: str) -> None:
        assert size(count) == shown


class TestPing:
    def test_a_worker_of_this_host_lives(self, cli: Cli, start: Start) -> None:
        """Issue 3.6: exit code 0 while one has been heard of in time."""
        none = cli("workers", "ping")
        assert (none.code, none.out) == (1, "")
        assert none.err.startswith(f"seatline: no worker of host {host_part(socket.gethostname())} is there: ")
        _, worker = start()
        assert (cli("workers", "ping").code, cli("workers", "ping").out) == (0, f"worker {worker} lives\n")
        assert cli("workers", "ping", "--host", socket.gethostname()).code == 0
        assert cli("workers", "ping", worker[:-1]).code == 0
        other = cli("workers", "ping", "--host", "elsewhere")
        assert (other.code, other.out) == (1, "")
        start()
        assert cli("workers", "ping").out.endswith(" lives, and 1 more here\n")

    def test_one_that_was_killed_does_not(self, cli: Cli, start: Start) -> None:
        """Issue 3.6: once three renewals are missing; the reason is told."""
        child, worker = start("--lease", "1s")
        assert cli("workers", "ping", worker).code == 0
        child.kill()
        wait_until(lambda: cli("workers", "ping", worker).code == 1, 10)
        assert f"worker {worker} is lost: {worker} should have been heard of" in cli("workers", "ping", worker).err
        assert cli("workers", "ping").code == 1
        assert states(cli) == {worker: "lost"}

    def test_no_server_is_exit_code_69(self, cli: Cli) -> None:
        done = cli("workers", "ping", SEATLINE_URL="redis://127.0.0.1:1/0", SEATLINE_DEADLINE="0.1")
        assert (done.code, done.out) == (69, "")

    def test_it_is_one_read(self, cli: Cli, redis: Any, start: Start) -> None:
        start()

        def calls() -> dict[str, int]:
            stats = redis.info("commandstats")
            return {name.removeprefix("cmdstat_"): told["calls"] for name, told in stats.items()}

        before = calls()
        assert cli("workers", "ping").code == 0
        after = calls()
        assert after["zrevrange"] - before.get("zrevrange", 0) == 1
        assert after.get("hgetall", 0) == before.get("hgetall", 0)

    @pytest.mark.parametrize("host", ["build-7", "build_7.example", ".hidden.", "é", "x" * 80, "a.b.c"])
    def test_a_host_is_found_in_ids_as_workers_write_it(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: host)
        assert worker_module._identity().rsplit(".", 2)[0] == host_part(host)
