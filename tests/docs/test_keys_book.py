"""docs/keys.md: its table is that of keys.py, and each redis-cli line on it gives the answer that stands below it.

The lines are run as they stand, by a shell, against a private server that holds the page's scenario. In an answer a
moment (13 digits) stands for any moment, and a line ``...`` for any lines.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from harness.server import RealServer

from seatline.console.verify import check_namespace
from seatline.producer import Chain, Job, Queue, Step
from seatline.shared import keys
from seatline.shared.calls import pools as pool_verbs
from seatline.shared.calls import workers as verbs
from seatline.shared.calls.workers import Kept, Report, Turn
from seatline.shared.codec import pack_value
from seatline.shared.config import Settings
from seatline.shared.store import Store
from seatline.worker import Context, Handlers

PAGE = Path(__file__).parents[2] / "docs" / "keys.md"
WORKER = "k3v9m2hx0q7t"
LEASE = 3600.0
#: A moment, or the id of an entry of the stream, in a line that is escaped already.
MOMENT = re.compile(r"\b\d{13}(\\-\d+)?\b")
BULK = 36

Line = tuple[str, list[str]]

handlers = Handlers()


@handlers.handler("drawing.publish", uses={"vault": 1}, if_lost="rerun")
def publish(ctx: Context, file: str) -> None: ...


@handlers.handler("mail.send")
def send(ctx: Context, text: str) -> None: ...


class Actor:
    """The page's worker, whose exchanges happen here one by one so that every id and token is known."""

    def __init__(self, url: str) -> None:
        self.store = Store(Settings(url=url, namespace="farm", lease=LEASE), role="worker")
        self.store.client = WORKER  # what its tokens begin with
        self.listed = False
        fields: dict[str, str | int] = {"host": "cad-01", "pid": 4242, "slots": 4, "state": "awake"}
        self.store.run(verbs.offer(WORKER, handlers.digest(), int(LEASE * 1000), fields, handlers.declared()))

    def turn(self, want: int, reports: Sequence[Report] = ()) -> Turn:
        call = verbs.turn(
            worker=WORKER,
            digest=handlers.digest(),
            lease_ms=int(LEASE * 1000),
            want=want,
            bell="b5x8n1c4d7fg",
            block_ms=int(LEASE * 1000),
            listed=self.listed,
            kept=Kept(),
            reports=reports,
        )
        self.listed = True
        return self.store.run(call)

    def renew(self, turn: Turn) -> None:
        call = verbs.renew(
            worker=WORKER,
            digest=handlers.digest(),
            lease_ms=int(LEASE * 1000),
            presence_ms=int(LEASE * 1000),
            kept=Kept(),
            fields={"busy": 2, "done": 1, "failed": 1},
            held=[(taken.id, taken.token) for taken in turn.jobs if taken.id.endswith(("2", "3"))],
        )
        self.store.run(call)


def play(url: str) -> None:
    """Bring about what the page tells in its first paragraph."""
    with Queue(url, namespace="farm") as queue:
        queue.by = "operator@cad-01"
        queue.pools.set("vault", 3)
        queue.pools.set("gpu", 1)
        queue.pools.external("gpu", 1, ttl=LEASE)
        actor = Actor(url)
        queue.enqueue("mail.send", {"text": "hello"})
        queue.enqueue("drawing.publish", {"file": "2.dwg"})
        queue.enqueue("drawing.publish", {"file": "3.dwg"})
        begun = actor.turn(3)
        (failed,) = (taken for taken in begun.jobs if taken.id.endswith("1"))
        said = ["error_type", "ConnectionError", "error", "the mail server is away", "traceback", "..."]
        actor.turn(2, [Report(failed.id, failed.token, "failed", [*said])])
        nightly = "program:nightly:7c2r5w8zq1tb"
        queue.store.run(pool_verbs.open_session("vault", nightly, 1, ttl_ms=int(LEASE * 500), priority=10))
        queue.enqueue("report.daily")
        queue.enqueue("mail.send", {"text": "later"}, delay=LEASE)
        queue.enqueue_many(Job("drawing.publish", {"file": f"{n}.dwg"}, priority=100) for n in range(BULK))
        queue.enqueue("drawing.publish", {"file": "42.dwg"})
        urgent = queue.enqueue("drawing.publish", {"file": "43.dwg"}, priority=5)
        urgent.move(priority=1)
        queue.enqueue("drawing.publish", {"file": "44.dwg"}, uses={"gpu": 1})
        assert not actor.turn(2).jobs
        play_orders(queue, actor)
        actor.renew(begun)
        actor.store.close()


def play_orders(queue: Queue, actor: Actor) -> None:
    """One order has its first step behind it; then the chain is stopped, and another one stands in front of it."""
    queue.define(Chain("release", [Step("announce", "mail.send"), Step("publish", "drawing.publish")], max_orders=4))
    queue.start("release", {"file": "7.dwg", "text": "soon"}, id="release-7", priority=200)
    (step,) = actor.turn(2).jobs
    actor.turn(2, [Report(step.id, step.token, "succeeded", [], pack_value("result", {"to": "all"}), 1000)])
    queue.chains.stop("release")
    queue.start("release", {"file": "8.dwg", "text": "soon"}, id="release-8", priority=200)


@pytest.fixture(scope="module")
def farm() -> Iterator[RealServer]:
    with RealServer() as server:
        play(server.url)
        yield server


def lines_of(page: str) -> list[Line]:
    """Return the redis-cli lines of a page, each with the answer below it."""
    found: list[Line] = []
    for block in re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            elif line.strip():
                found[-1][1].append(line)
    return found


def pattern(answer: Sequence[str]) -> re.Pattern[str]:
    """Return what matches the answer: moments are any moments, ``...`` is any lines."""
    parts = [
        r"(?:.*\n)*?" if line.strip() == "..." else MOMENT.sub(lambda _: r"\d{13}(-\d+)?", re.escape(line)) + r"\n"
        for line in answer
    ]
    return re.compile("".join(parts))


LINES = lines_of(PAGE.read_text("utf-8"))


@pytest.fixture(scope="module")
def shell(farm: RealServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Run a line in a shell in which redis-cli speaks to the page's server, formatted as on a terminal."""
    real = shutil.which("redis-cli")
    assert real, "redis-cli is not on PATH (Debian: apt install redis-tools)"
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "redis-cli"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(real)} --no-raw -s {farm.socket} "$@"\n')
    script.chmod(0o755)

    def run(line: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())

    return run


@pytest.mark.parametrize(("line", "answer"), LINES, ids=[line for line, _ in LINES])
def test_a_line_gives_the_answer_below_it(line: str, answer: list[str], shell: Callable[[str], str]) -> None:
    assert line.startswith("redis-cli ")
    assert answer, "no answer stands below it"
    told = shell(line)
    assert pattern(answer).fullmatch(told), told


def test_the_book_answers_every_question() -> None:
    page = PAGE.read_text("utf-8")
    for question in (
        "Which jobs wait, in what order?",
        "Who holds the seats of vault?",
        "What failed in the last 24 hours?",
        "What is worker k3v9m2hx0q7t doing?",
        "What runs now, and until when is its lease?",
        "Which types have no worker?",
        "Why does job 42 wait?",
        "Where is order release-7, and what has become of it?",
        "Why does order release-8 wait?",
    ):
        (told,) = re.findall(rf"^### {re.escape(question)}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
        assert lines_of(told), question


def test_the_scenario_is_a_sound_namespace(farm: RealServer) -> None:
    assert not check_namespace(farm.url, "farm")


def test_the_table_is_that_of_the_code() -> None:
    drawn = re.split(r"^=[= ]+$", keys.__doc__ or "", flags=re.MULTILINE)[1]
    names = {name.strip() for line in drawn.splitlines() if line[:1].strip() for name in line[:38].split(",")}
    names = {name for name in names if name}
    table = PAGE.read_text("utf-8").split("| --- |", 1)[1].split("\n\n", 1)[0]
    shown = {name for line in table.splitlines()[1:] for name in re.findall(r"`([^`]+)`", line.split(" | ")[0])}
    assert {name.replace("\\|", "|") for name in shown} == names
