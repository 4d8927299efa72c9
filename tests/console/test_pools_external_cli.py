"""`seatline pools external`: seats used outside, as a person or a command says (S7, S8)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.producer import Queue

Cli = Callable[..., Any]
#: Prints what the file says; fails if it says "broken".
ASK = "import pathlib, sys; said = pathlib.Path(sys.argv[1]).read_text(); print(said); sys.exit(said == 'broken')"


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        queue.pools.set("vault", 5)
        yield queue


def asking(code: str) -> str:
    """Return a command line that runs Python."""
    return f"{sys.executable} -c {code!r}"


@pytest.fixture
def licences(tmp_path: Path) -> Path:
    """What the licence server says; written whole or not at all, as it is read at any moment."""
    return tmp_path / "licences"


def say(licences: Path, words: str) -> None:
    fresh = licences.with_suffix(".new")
    fresh.write_text(words)
    fresh.replace(licences)


@pytest.fixture
def start(server: RealServer, namespace: str, spawn: Callable[..., Child], licences: Path) -> Callable[..., Child]:
    """Ask the licence server every second, in a process of its own."""

    def run(*more: str) -> Child:
        command = f"{sys.executable} -c {ASK!r} {licences}"
        words = ["pools", "external", "vault", "--exec", command, "--every", "1s", *more]
        environ = {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace, "TZ": "UTC"}
        return spawn([sys.executable, "-m", "seatline.console.main", *words], env=environ)

    return run


class TestOnce:
    """S8: told once."""

    def test_s8_by_a_person(self, cli: Cli, queue: Queue) -> None:
        """S8: withheld, shown apart, until when; told anew it is that."""
        done = cli("pools", "external", "vault", "2", "--for", "10m")
        assert done.out.startswith("pool vault: 2 of 5 seats are withheld until ")
        pool = queue.pools["vault"]
        assert (pool.external, pool.free, pool.in_use) == (2, 3, 0)
        cli("pools", "external", "vault", "0")
        assert queue.pools["vault"].free == 5

    def test_s8_it_expires(self, cli: Cli, queue: Queue) -> None:
        """S8: what is not told again counts no more."""
        assert cli("pools", "external", "vault", "5", "--for", "1s").code == 0
        assert queue.pools["vault"].free == 0
        wait_until(lambda: queue.pools["vault"].free == 5)

    def test_s8_by_a_command(self, cli: Cli, queue: Queue) -> None:
        """S8: the number that it prints; what follows it, and its standard error, are no matter. No shell is there."""
        code = "import sys; sys.stderr.write('hello'); print(' 3\\nof 5')"
        assert cli("pools", "external", "vault", "--exec", asking(code)).code == 0
        assert queue.pools["vault"].external == 3
        done = cli("pools", "external", "vault", "--exec", "echo 4; echo 1")
        assert (done.code, "printed '4; echo 1'" in done.err) == (1, True)

    def test_s7_s8_what_is_kept_goes_with_it(self, cli: Cli, queue: Queue) -> None:
        """S7, S8: 5 seats, 2 kept for priority 5 and less, 2 used outside: who is less urgent has 1."""
        cli("pools", "set", "vault", "5", "--keep", "2", "--for", "5")
        cli("pools", "external", "vault", "2")
        bulk, urgent = (queue.enqueue("a", uses={"vault": 2}, priority=priority) for priority in (100, 5))
        assert [each.reason for each in urgent.why()] == ["no-worker"]
        (_, seats, _) = bulk.why()
        assert (
            seats.message == "pool vault: it needs 2 seats, the pool can give 1 (capacity 5, 2 used outside, 2 kept)."
        )

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("print('many')", "printed 'many', not a whole number"),
            ("print(-1)", "printed '-1', not a whole number"),
            ("print('2.5')", "printed '2.5', not a whole number"),
            ("pass", "printed '', not a whole number"),
            ("import sys; sys.exit('no licence server')", "failed with exit code 1: no licence server"),
            ("import os; os.kill(os.getpid(), 9)", "failed with signal 9"),
        ],
    )
    def test_s8_a_command_that_fails_changes_nothing(self, cli: Cli, queue: Queue, code: str, said: str) -> None:
        """S8: exit code 1, one line that says what is wrong; what was told last still counts."""
        cli("pools", "external", "vault", "2")
        done = cli("pools", "external", "vault", "--exec", asking(code))
        assert (done.code, done.out) == (1, "")
        assert said in done.err
        assert len(done.err.splitlines()) == 1
        assert queue.pools["vault"].external == 2

    @pytest.mark.usefixtures("queue")
    def test_s8_its_time_is_limited(self, cli: Cli, tmp_path: Path) -> None:
        """S8: a command that hangs is killed with all that it has started."""
        code = (
            "import os, pathlib, subprocess, sys, time; child = subprocess.Popen(['sleep', '600']);"
            f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid)); time.sleep(600)"
        )
        done = cli("pools", "external", "vault", "--exec", f'{sys.executable} -c "{code}"', "--timeout", "1500ms")
        assert (done.code, "has not answered within 1.5 s" in done.err) == (1, True)
        pid = int((tmp_path / "pid").read_text())
        wait_until(lambda: not alive(pid), 10, "the end of what the command has started")

    @pytest.mark.usefixtures("queue")
    def test_q18_it_is_not_told_how_to_log_in(self, cli: Cli) -> None:
        """Q18, S8: the server's URL and password are none of its business."""
        code = "import os; print(sum(name.startswith('SEATLINE_') for name in os.environ))"
        assert cli("pools", "external", "vault", "--exec", asking(code)).out.startswith("pool vault: 0 of 5")

    @pytest.mark.usefixtures("queue")
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "give SEATS, or --exec COMMAND that prints them"),
            (["2", "--exec", "true"], "give SEATS, or --exec COMMAND that prints them"),
            (["2", "--every", "5s"], "--every goes with --exec"),
            (["--exec", "true", "--every", "0.5s"], "--every is less than 1s"),
            (["--exec", "true", "--every", "1m", "--for", "1m"], "--for is not longer than --every"),
            (["--exec", "'"], "No closing quotation"),
            (["--exec", ""], "there is no command"),
            (["-1"], "No such option"),
            (["many"], "is not a valid integer"),
        ],
    )
    def test_s8_r4_bad_words(self, cli: Cli, words: list[str], said: str) -> None:
        """S8, R4: refused with what is wrong; nothing is run or told."""
        done = cli("pools", "external", "vault", *words)
        assert done.code == 2
        assert said in done.err

    @pytest.mark.usefixtures("queue")
    def test_s8_no_such_program_or_pool(self, cli: Cli) -> None:
        """S8: exit code 1, in one line."""
        assert "No such file" in cli("pools", "external", "vault", "--exec", "/nowhere/lmcount").err
        done = cli("pools", "external", "valt", "--exec", "echo 1")
        assert (done.code, "pool valt: no such pool" in done.err) == (1, True)


class TestNowAndThen:
    """S8: told again and again."""

    def test_s8_what_changes_is_told(self, queue: Queue, start: Callable[..., Child], licences: Path) -> None:
        """S8: the number follows the licence server; a line for each change; SIGTERM ends it with 0."""
        say(licences, "2")
        child = start()
        wait_until(lambda: queue.pools["vault"].external == 2, 20)
        first = queue.pools["vault"].external_until
        wait_until(lambda: queue.pools["vault"].external_until != first, 20, "a second report of the same")
        say(licences, "4")
        wait_until(lambda: queue.pools["vault"].external == 4, 20)
        wait_until(lambda: len(child.output().splitlines()) == 2, 20)
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(20) == 0
        assert [line.split()[:3] for line in child.output().splitlines()] == [
            ["pool", "vault:", "2"],
            ["pool", "vault:", "4"],
        ]

    def test_s8_it_fails_for_a_while(self, queue: Queue, start: Callable[..., Child], licences: Path) -> None:
        """S8: its last number counts for --for, then nothing does; each is said once; it goes on when it can."""
        say(licences, "3")
        child = start("--for", "3s")
        wait_until(lambda: queue.pools["vault"].external == 3, 20)
        say(licences, "broken")
        wait_until(lambda: "failed with exit code 1" in child.errors(), 20)
        assert "3 are withheld for " in child.errors()
        wait_until(lambda: queue.pools["vault"].external == 0, 20, "the end of the last report")
        wait_until(lambda: "its last report is over: nothing is withheld any more" in child.errors(), 20)
        say(licences, "soon")
        wait_until(lambda: "printed 'soon', not a whole number" in child.errors(), 20)
        assert len(child.errors().splitlines()) == 3
        say(licences, "1")
        wait_until(lambda: queue.pools["vault"].external == 1, 20)
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(20) == 130


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
