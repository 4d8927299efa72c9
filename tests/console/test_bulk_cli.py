"""Many jobs and orders at once, as it is typed: dry runs, kills, lost replies, Ctrl-C, what is said in the end (Q22, Q23)."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.snapshot import exact
from harness.processes import Child
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Chain, Job, Queue, Step
from seatline.shared.scripts import script

Cli = Callable[..., Any]
Spawn = Callable[..., Child]
Start = Callable[..., Child]

JOBS = 1000


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def crowd(queue: Queue) -> dict[str, list[str]]:
    """A thousand jobs to be acted on, and others."""
    return {
        "t": queue.enqueue_many(Job("t", tags=("night",)) for _ in range(JOBS)),
        "other": queue.enqueue_many(Job("other", tenant="east") for _ in range(20)),
    }


@pytest.fixture
def sha(redis: Redis) -> bytes:
    """The script is known to the server: a fault is for the call, not for its NOSCRIPT."""
    redis.script_load(script("cancel").text)
    return script("cancel").sha.encode()


@pytest.fixture
def start(spawn: Spawn, proxy: FaultProxy, namespace: str) -> Start:
    """Start a command line in a process of its own, behind the proxy."""

    def run(*words: str) -> Child:
        args = [sys.executable, "-m", "seatline.console.main", *words]
        return spawn(args, env={"SEATLINE_URL": proxy.url, "SEATLINE_NAMESPACE": namespace})

    return run


def cancels(queue: Queue, ids: list[str]) -> Counter[int]:
    """How many jobs have so many lines of a cancel in their history."""
    return Counter(sum("cancelled by" in line for line in queue.handle(each).history()) for each in ids)


def of_others(redis: Redis, namespace: str, ids: list[str]) -> dict[str, Any]:
    return {
        key: value for key, value in exact(redis, namespace).items() if key.split(":")[2:3] and key.split(":")[2] in ids
    }


@pytest.mark.parametrize("more", [["--dry-run"], []], ids=["dry run", "nobody to answer"])
def test_q22_nothing_is_changed(
    more: list[str], cli: Cli, crowd: dict[str, list[str]], redis: Redis, namespace: str
) -> None:
    """Q22: the number is said; not a key of the namespace is another."""
    before = exact(redis, namespace)
    for words in (["cancel", "--type", "t"], ["move", "--tag", "night", "--priority", "1"], ["cancel", "--all"],
                  ["remove", "--state", "ready", "--older-than", "0s"]):  # fmt: skip
        done = cli("jobs", *words, *more)
        assert done.code == (0 if more else 2)
        assert done.lines[0].startswith(f"{'1,020' if 'all' in words[-1] or '0s' in words else '1,000'} ready ")
        assert len(done.lines) == 1
    assert exact(redis, namespace) == before
    assert len(crowd["t"]) == JOBS


@pytest.mark.parametrize(("typed", "left", "code"), [(b"n\n", JOBS, 0), (b"y\n", 0, 0), (b"\x03", JOBS, 130)])
def test_q22_it_asks(
    typed: bytes, left: int, code: int, crowd: dict[str, list[str]], queue: Queue, server: RealServer, namespace: str
) -> None:
    """Q22: on a terminal, after the number was said; no, yes, Ctrl-C."""
    pid, terminal = pty.fork()
    if not pid:
        words = ("-u", server.url, "-n", namespace, "jobs", "cancel", "--type", "t")
        os.execv(sys.executable, [sys.executable, "-m", "seatline.console.main", *words])
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed
        while True:
            silent = not select.select([terminal], [], [], 1.0)[0]
            if not silent:
                shown += os.read(terminal, 65_536)
            # Whoever presses Ctrl-C just as the interpreter begins to read has to press it again.
            if shown.endswith(b"Go on? [y/N]: ") or (silent and b"Go on?" in shown):
                os.write(terminal, typed)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    assert b"1,000 ready or scheduled jobs of type t: 1, 2," in shown
    assert (b"cancelled 1,000 jobs" in shown) == (not left)
    assert len(queue.select(type="t")) == left
    assert len(list(queue.jobs(type="other"))) == len(crowd["other"])


def test_q22_killed_in_the_middle_and_repeated(
    start: Start, cli: Cli, queue: Queue, crowd: dict[str, list[str]], sha: bytes, proxy: FaultProxy, redis: Redis,
    namespace: str,
) -> None:  # fmt: skip
    """Q22, R2: four calls were executed, the reply of the last was never read; again, it goes on with the rest."""
    before = of_others(redis, namespace, crowd["other"])
    children: list[Child] = []

    def kill() -> None:
        children[0].kill()

    proxy.swallow_reply(sha, skip=3, hook=kill)
    children.append(start("jobs", "cancel", "--type", "t", "--yes"))
    assert children[0].wait(20) == -signal.SIGKILL
    assert cancels(queue, crowd["t"]) == {1: 200, 0: 800}
    done = cli("jobs", "cancel", "--type", "t", "--yes")
    assert (done.code, done.lines[-1]) == (0, "cancelled 800 jobs")
    assert cancels(queue, crowd["t"]) == {1: 1000}
    assert of_others(redis, namespace, crowd["other"]) == before
    assert cli("verify").code == 0


def test_q22_replies_are_lost(
    start: Start, queue: Queue, crowd: dict[str, list[str]], sha: bytes, proxy: FaultProxy
) -> None:
    """Q22, R2: of each kind of loss one; each job is cancelled once, and counted so."""
    proxy.swallow_reply(sha, skip=1)
    proxy.cut_mid_reply(sha, skip=2)
    proxy.cut_before(sha, skip=2)
    child = start("jobs", "cancel", "--tag", "night", "--yes")
    assert child.wait(30) == 0, child.errors()
    assert child.output().splitlines()[-1].startswith("cancelled 1,000 jobs")
    assert proxy.faults.total() == 3
    assert cancels(queue, crowd["t"]) == {1: 1000}


def test_q22_interrupted_from_the_keyboard(
    start: Start, queue: Queue, crowd: dict[str, list[str]], sha: bytes, proxy: FaultProxy
) -> None:
    """Q22: it says how far it came."""
    children: list[Child] = []
    proxy.delay(20, sha, skip=3, reply=True, hook=lambda: children[0].signal(signal.SIGINT))
    children.append(start("jobs", "cancel", "--type", "t", "--yes"))
    assert children[0].wait(20) == 130
    said = [line for line in children[0].errors().splitlines() if line]
    assert said[0].startswith(
        "seatline: stopped: cancelled 150 jobs, of 1,000; perhaps a few more. The same command again"
    )
    assert said[1:] == ["seatline: interrupted."]
    wait_until(lambda: cancels(queue, crowd["t"]) == {1: 200, 0: 800})


def test_q22_the_server_goes_away(start: Start, crowd: dict[str, list[str]], sha: bytes, proxy: FaultProxy) -> None:
    """Q22: so does it then, and that nobody knows of the last call."""

    def away() -> None:
        proxy.refuse()
        proxy.reset_all()

    proxy.swallow_reply(sha, skip=1, hook=away)
    child = start("jobs", "cancel", "--type", "t", "--yes")
    assert child.wait(30) == 1
    first, second = child.errors().splitlines()
    assert first.startswith("seatline: stopped: cancelled 50 jobs, of 1,000; perhaps a few more.")
    assert "may or may not have happened" in second
    assert len(crowd["t"]) == JOBS


def test_q22_what_moved_on_meanwhile_is_told(
    start: Start, queue: Queue, sha: bytes, proxy: FaultProxy, server: RealServer, namespace: str
) -> None:
    """Q22, Q23: between the look and the act jobs are started, ended, removed, run again; the last line says so."""
    ids = queue.enqueue_many(Job("t") for _ in range(9))
    with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}}, slots=4)) as worker:

        def moves_on() -> None:
            ran = worker.turn()
            worker.settle(*ran[:2])
            worker.settle(ran[2], outcome="failed")
            queue.handle(ids[8]).remove()

        proxy.delay(0, sha, hook=moves_on)
        child = start("jobs", "cancel", "--type", "t", "--yes")
        assert child.wait(20) == 0, child.errors()
        assert child.output().splitlines() == [
            "9 ready or scheduled jobs of type t: 1, 2, 3, 4, 5, 6, 7, 8, 9",
            "cancelled 4 jobs; left alone: 3 had ended meanwhile (2 succeeded, 1 failed), 1 is no longer there, 1 runs by now",
        ]
        worker.settle()
        worker.leave()


def test_q23_running_ones(cli: Cli, queue: Queue, server: RealServer, namespace: str) -> None:
    """Q23: asked, if they were chosen."""
    queue.enqueue_many(Job("t") for _ in range(3))
    with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}}, slots=2)) as worker:
        worker.turn()
        done = cli("jobs", "cancel", "--state", "running", "--state", "ready", "--yes")
        assert done.lines == ["3 running or ready jobs: 1, 2, 3", "cancelled 1 job, asked 2 that run to stop"]
        worker.settle(outcome="cancelled")
        worker.leave()


def test_q22_filters(cli: Cli, queue: Queue, server: RealServer, namespace: str) -> None:
    """Q22, Q26: by tenant (also of the environment), error, age; the first line says what was asked for."""
    queue.enqueue_many(Job("t", tenant=tenant) for tenant in ("east", "west", None))
    with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}}, slots=3)) as worker:
        for each in worker.turn():
            worker.turn(worker.report(each, "failed", "error_type", "OSError", "error", f"no \x1b[31m{each}"), want=0)
        worker.leave()
    look = ["jobs", "resubmit", "--dry-run"]
    assert cli(*look, "--all").lines == ["3 failed or interrupted jobs: 1, 2, 3"]
    assert cli(*look, "--all", "--tenant", "east").lines == ["1 failed or interrupted job of tenant east: 1"]
    assert cli(*look, "--all", SEATLINE_TENANT="west").lines == ["1 failed or interrupted job of tenant west: 2"]
    assert cli(*look, "--error", "OSERROR: NO").lines == [
        "3 failed or interrupted jobs with 'OSERROR: NO' in the error: 1, 2, 3"
    ]
    assert cli(*look, "--older-than", "2d").lines == ["0 failed or interrupted jobs older than 2d"]
    assert len(cli("jobs", "failures").lines) == 2
    (found,) = json.loads(cli("jobs", "failures", "-o", "json").out)
    assert {**found, "first": 0, "last": 0} == {
        "count": 3, "type": "t", "message": found["message"], "first": 0, "last": 0, "example": found["example"],
    }  # fmt: skip
    assert "\x1b" not in cli("jobs", "failures").out
    assert cli(*look, "--error", found["message"]).lines[0].startswith("3 failed or interrupted jobs with ")
    assert cli("jobs", "failures", "--type", "x").err == "No such jobs.\n"
    assert cli("jobs", "failures", "--state", "ready").code == 2
    assert cli("jobs", "failures", "--since", "soon").code == 2
    assert cli("jobs", "failures", "--since", "1d", "-o", "ndjson").out.count("\n") == 1


def test_q22_steps_of_orders_are_refused(cli: Cli, queue: Queue, server: RealServer, namespace: str) -> None:
    """Q22: that is worth an exit code, and a word where to go."""
    queue.define(Chain("c", [Step("one", "t")]))
    queue.start("c")
    with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}})) as worker:
        worker.turn()
        worker.settle(outcome="failed")
        worker.leave()
    done = cli("jobs", "resubmit", "--all", "--yes")
    assert done.code == 1
    assert done.lines[-1] == "resubmitted 0 jobs; left alone: 1 is a step of an order (such as job 2)"


class TestOrders:
    """The same for orders."""

    def test_q22_filters(self, cli: Cli, queue: Queue, server: RealServer, namespace: str) -> None:
        """Q22: by chain, state, error, age and tenant."""
        for chain in ("c", "d"):
            queue.define(Chain(chain, [Step("one", "t")]))
        for n in range(4):
            queue.start("cd"[n % 2], id=f"o{n}", tenant="east" if n < 2 else "west")
        with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}}, slots=4)) as worker:
            for n, each in enumerate(worker.turn()[:3]):
                worker.turn(worker.report(each, "failed", "error_type", "E", "error", f"no {n} vault"), want=0)
            look = ["orders", "resume", "--state", "failed", "--dry-run"]
            assert cli(*look).lines == ["3 failed orders: o0, o1, o2"]
            assert cli(*look, "--chain", "c").lines == ["2 failed orders of chain c: o0, o2"]
            assert cli(*look, "--error", "NO 1").lines == ["1 failed order with 'NO 1' in the error: o1"]
            assert cli(*look, "--older-than", "1h").lines == ["0 failed orders older than 1h"]
            assert cli(*look, "--tenant", "west").lines == ["1 failed order of tenant west: o2"]
            assert cli("orders", "remove", "--chain", "c", "--yes").code == 2  # of which state?
            done = cli("orders", "resume", "--state", "failed", "--error", "vault", "--yes")
            assert (done.code, done.lines[-1]) == (0, "resumed 3 orders")
            assert [queue.order(f"o{n}").state() for n in range(4)] == ["running"] * 4
            worker.turn()
            worker.settle()
            worker.leave()

    def test_q22_what_moved_on_meanwhile(self, start: Start, queue: Queue, redis: Redis, proxy: FaultProxy) -> None:
        """Q22: an order that was resumed and one that was removed meanwhile are left alone."""
        redis.script_load(script("order_act").text)
        queue.define(Chain("c", [Step("one", "t")]))
        for n in range(4):
            queue.start("c", id=f"o{n}").suspend()

        def moves_on() -> None:
            queue.order("o1").resume()
            queue.order("o2").remove()

        proxy.delay(0, script("order_act").sha.encode(), hook=moves_on)
        child = start("orders", "cancel", "--state", "suspended", "--yes")
        assert child.wait(20) == 0, child.errors()
        assert child.output().splitlines()[-1] == (
            "cancelled 2 orders; left alone: 1 is no longer there, 1 runs by now"
        )
        assert queue.order("o1").state() == "running"
