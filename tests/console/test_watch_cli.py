"""`seatline watch`: real processes on a real folder; killed and started again, each version is one job (Q16)."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from console.conftest import Cli
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import Queue
from seatline.worker import Handlers, Worker

Start = Callable[..., Child]


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def start(spawn: Callable[..., Child], server: RealServer, namespace: str, inbox: Path, tmp_path: Path) -> Start:
    """Start watches of the inbox for the type ``t``, each with a state folder of its own unless told otherwise."""

    def run(*words: str, state: str = "state") -> Child:
        options = ["--type", "t", "--settle", "200ms", "--every", "50ms"]
        return spawn(
            [sys.executable, "-m", "seatline.console.main", "watch", str(inbox), *options, *words],
            {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace, "SEATLINE_STATE": str(tmp_path / state)},
        )

    return run


def versions(queue: Queue) -> Counter[str]:
    """Return how many jobs there are for each name and time, whatever their state."""
    return Counter(
        f"{record.params['name']} {record.params['mtime']:.0f}"
        for state in (None, "succeeded", "failed")
        for record in queue.jobs(state=state)
    )


def write(path: Path, text: str, mtime: int) -> None:
    """Put a file there with its time of change at once, as a program does that is careful."""
    hidden = path.with_name(f".{path.name}.part")
    hidden.write_text(text)
    os.utime(hidden, (mtime, mtime))
    hidden.rename(path)


def handlers_for(bad: str = "") -> Handlers:
    handlers = Handlers()

    @handlers.handler("t", isolation="thread")
    def run(_ctx: object, name: str, **_: object) -> None:
        if name == bad:
            raise ValueError("no such block")

    return handlers


def test_it_says_what_it_does_and_ends_when_told(
    queue: Queue, server: RealServer, namespace: str, start: Start, inbox: Path, tmp_path: Path
) -> None:
    """One line each, on standard error; SIGTERM: exit code 0."""
    write(inbox / "good.dxf", "x", 1000)
    write(inbox / "bad.dxf", "x", 2000)
    child = start("--then", f"move:{tmp_path / 'done'}", "--failed", f"move:{tmp_path / 'broken'}", "--priority", "7")
    wait_until(lambda: sum(1 for _ in queue.jobs()) == 2, 20)
    assert [record.priority for record in queue.jobs()] == [7, 7]
    Worker(handlers_for("bad.dxf"), server.url, namespace=namespace).run(burst=True)
    wait_until(lambda: not list(inbox.iterdir()), 20)
    child.terminate()
    assert child.wait(20) == 0
    assert (tmp_path / "done" / "good.dxf").exists()
    assert (tmp_path / "broken" / "bad.dxf").exists()
    assert child.output() == ""
    told = [line for line in child.errors().splitlines() if "no append-only file" not in line]  # R5: of this server
    lines = [re.sub(r"^\S+ \S+ (\w+) +", r"\1 ", line) for line in told]
    assert Counter(lines) == Counter(
        [
            f"INFO watching {inbox} for t",
            f"INFO {inbox}/good.dxf: taken as job 1",
            f"INFO {inbox}/bad.dxf: taken as job 2",
            f"INFO {inbox}/good.dxf: job 1 succeeded",
            f"INFO {inbox}/good.dxf: moved to {tmp_path}/done/good.dxf",
            f"WARNING {inbox}/bad.dxf: job 2 failed: ValueError: no such block",
            f"INFO {inbox}/bad.dxf: moved to {tmp_path}/broken/bad.dxf",
            "INFO SIGTERM: ending",
            "INFO stopped; 2 files were taken",
        ]
    )


def test_ctrl_c_ends_it(start: Start) -> None:
    child = start()
    wait_until(lambda: "watching" in child.errors(), 20)
    child.signal(signal.SIGINT)
    assert child.wait(20) == 0


def test_as_json(start: Start, inbox: Path, queue: Queue) -> None:
    write(inbox / "a.dxf", "x", 1000)
    child = start("--log", "json")
    wait_until(lambda: any(queue.jobs()), 20)
    child.terminate()
    assert child.wait(20) == 0
    lines = [json.loads(line) for line in child.errors().splitlines()]
    (taken,) = (line for line in lines if line.get("event") == "taken")
    assert (taken["path"], taken["type"], int(taken["job"])) == (str(inbox / "a.dxf"), "t", 1)


def test_once(queue: Queue, start: Start, inbox: Path) -> None:
    """Exit code 0; 1 if it had to leave a file, or there is no folder."""
    write(inbox / "a.dxf", "x", 1000)
    write(inbox / "b.txt", "x", 1000)
    assert start("--once", "--pattern", "*.dxf").wait(20) == 0
    assert versions(queue) == {"a.dxf 1000": 1}
    assert start("--once", "--pattern", "*.dxf", "--pattern", "*.txt").wait(20) == 0
    assert versions(queue) == {"a.dxf 1000": 1, "b.txt 1000": 1}
    os.close(os.open(os.fsencode(inbox) + b"/bad\xff", os.O_CREAT))
    child = start("--once")
    assert child.wait(20) == 1
    assert "is no Unicode text" in child.errors()
    inbox.rename(inbox.parent / "gone")
    child = start("--once")
    assert child.wait(20) == 1
    assert "cannot be read (No such file or directory); it is waited for" in child.errors()


def test_params_and_title(queue: Queue, start: Start, inbox: Path) -> None:
    write(inbox / "a.dxf", "12345", 1000)
    words = ["--param", "file={path}", "--param", "bytes={size}", "--param", "copies:=2", "--param", "kind=cad"]
    assert start("--once", *words, "--title", "{stem}", "--tenant", "north").wait(20) == 0
    (record,) = queue.jobs()
    assert record.params == {"file": str(inbox / "a.dxf"), "bytes": 5, "copies": 2, "kind": "cad"}
    assert (record.title, record.tenant, record.priority) == ("a", "north", 100)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a file becomes a job of a type, or an order of a chain: say --type or --chain, one of both."),
        (["--type", "t", "--chain", "c"], "a file becomes a job of a type, or an order of a chain"),
        (["--chain", "a b"], "chain: 'a b' is not a name"),
        (["--type", "a b"], "type: 'a b' is not a name"),
        (["--type", "t", "--then", "burn"], "then: 'burn' is neither keep nor move:DIR nor delete."),
        (["--type", "t", "--param", "x"], "'x' is neither name=value nor name:=JSON"),
        (["--type", "t", "--param", "x={y}"], "params: '{y}': there is {path}"),
        (["--type", "t", "--settle", "soon"], "Invalid value for '--settle'"),
    ],
)
def test_nonsense_is_exit_code_2(cli: Cli, tmp_path: Path, words: list[str], said: str) -> None:
    done = cli("watch", str(tmp_path), *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"seatline: {said}"), done.err


def test_without_a_server_it_is_69(spawn: Callable[..., Child], inbox: Path) -> None:
    words = [sys.executable, "-m", "seatline.console.main", "watch", str(inbox), "--type", "t"]
    child = spawn(words, {"SEATLINE_URL": "redis://127.0.0.1:1", "SEATLINE_DEADLINE": "0.1"})
    assert child.wait(20) == 69


def test_q16_killed_at_random_and_started_again_each_version_is_one_job(
    queue: Queue, server: RealServer, namespace: str, start: Start, inbox: Path, tmp_path: Path
) -> None:
    """Q16: ten kills of one of two watches, while files come, change, and are moved away after their jobs."""
    dice = random.Random(7)
    done = tmp_path / "done"
    words = ("--then", f"move:{done}")
    other = start(*words, state="other")
    written: set[str] = set()
    for round_ in range(10):
        child = start(*words)
        wait_until(lambda: "watching" in child.errors(), 20)  # noqa: B023
        before = sum(versions(queue).values())
        for number in range(6):
            mtime = 1000 * (round_ + 1) + number
            name = f"{round_}-{number}.dxf" if number < 4 else f"again-{number}.dxf"
            write(inbox / name, f"{name} {mtime}", mtime)
            written.add(f"{name} {mtime}")
        goal = before + dice.randrange(1, 7)
        wait_until(lambda: sum(versions(queue).values()) >= goal, 20)  # noqa: B023
        if dice.random() < 0.5:
            Worker(handlers_for(), server.url, namespace=namespace).run(burst=True)
        child.kill()
        if round_ % 3 == 2:
            other.kill()
            other = start(*words, state="other")
        wait_until(lambda: written <= versions(queue).keys(), 20)  # before a version is written over
    Worker(handlers_for(), server.url, namespace=namespace).run(burst=True)
    start(*words)
    wait_until(lambda: not [path for path in inbox.iterdir() if not path.name.startswith(".")], 20)
    assert versions(queue) == dict.fromkeys(written, 1)
    texts = Counter(path.read_text() for path in done.iterdir())
    assert max(texts.values()) == 1
    assert {f"{n}-{m}.dxf {1000 * (n + 1) + m}" for n in range(10) for m in range(4)} <= texts.keys()


def test_q16_killed_while_it_only_takes(queue: Queue, redis: Redis, namespace: str, start: Start, inbox: Path) -> None:
    """Q16: two thousand files, a watch that is killed after some of them, ten times over."""
    dice, most, cut = random.Random(11), 2000, 0
    for number in range(most):
        write(inbox / f"{number}.dxf", "x", 1000 + number)

    def taken() -> int:
        return redis.zcard(f"{{{namespace}}}:ready:t")

    for _ in range(10):
        child = start("--settle", "50ms")
        goal = min(most, taken() + dice.randrange(1, 80))
        wait_until(lambda: taken() >= goal, 20)  # noqa: B023
        child.kill()
        cut += taken() < most
    assert cut >= 3, "it was too quick to be killed in the middle"
    assert start("--once").wait(30) == 0
    assert versions(queue) == {f"{number}.dxf {1000 + number}": 1 for number in range(most)}
