"""A server that is away, refuses, is full, is a replica or hangs: one line, the next step, the exit code; in time."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.producer import Queue

Cli = Callable[..., Any]
#: Commands that read, and commands that write.
READS = [["jobs", "list"], ["jobs", "show", "1"], ["pools", "list"], ["types", "list"], ["workers", "list"], ["verify"]]
WRITES = [
    ["enqueue", "a"],
    ["jobs", "cancel", "1"],
    ["pools", "set", "vault", "1"],
    ["types", "pause", "a"],
    ["jobs", "close"],
]
QUICK = {"SEATLINE_DEADLINE": "0.2", "SEATLINE_TIMEOUT": "0.5", "SEATLINE_CONNECT_TIMEOUT": "0.5"}


def words(command: list[str]) -> str:
    return " ".join(command)


def one_line(done: Any, code: int, *said: str) -> None:
    assert done.code == code, done
    assert done.err.startswith("seatline: "), done.err
    assert done.err.count("\n") == 1, done.err
    for part in said:
        assert part in done.err, done.err


@pytest.mark.parametrize("command", READS + WRITES, ids=words)
def test_nobody_listens(bare_cli: Cli, command: list[str]) -> None:
    done = bare_cli(*command, SEATLINE_URL="redis://127.0.0.1:1/0", **QUICK)
    one_line(done, 69, "redis://127.0.0.1:1/0 cannot be reached", "Check the URL and that the server runs.")


@pytest.mark.parametrize("url", ["redis://no.such.host.invalid:6379/0", "unix:///no/such/socket"])
def test_there_is_no_such_place(bare_cli: Cli, url: str) -> None:
    one_line(bare_cli("jobs", "list", SEATLINE_URL=url, **QUICK), 69, url, "cannot be reached")


def test_without_a_word_it_gives_up_after_three_seconds(bare_cli: Cli) -> None:
    began = time.monotonic()
    one_line(bare_cli("jobs", "list", SEATLINE_URL="redis://127.0.0.1:1/0"), 69)
    assert 1 < time.monotonic() - began < 4


@pytest.mark.parametrize("command", [READS[0], WRITES[0]], ids=words)
def test_a_server_killed_between_two_commands(
    bare_cli: Cli, private_server: Callable[..., RealServer], command: list[str]
) -> None:
    server = private_server()
    assert bare_cli("enqueue", "a", SEATLINE_URL=server.url).code == 0
    server.kill()
    one_line(bare_cli(*command, SEATLINE_URL=server.url, **QUICK), 69, "cannot be reached")


@pytest.mark.parametrize("command", READS + WRITES, ids=words)
def test_a_wrong_password(bare_cli: Cli, locked: RealServer, command: list[str]) -> None:
    url = f"redis://:wrong@127.0.0.1:{locked.port}/0"
    done = bare_cli(*command, SEATLINE_URL=url, **QUICK)
    one_line(done, 69, "redis://:***@127.0.0.1", "refused", "Check user", "SEATLINE_URL")
    assert "wrong@" not in done.err


@pytest.mark.parametrize("command", [READS[0], WRITES[0]], ids=words)
def test_no_password(bare_cli: Cli, locked: RealServer, command: list[str]) -> None:
    done = bare_cli(*command, SEATLINE_URL=f"redis://127.0.0.1:{locked.port}/0", **QUICK)
    one_line(done, 69, "refused", "SEATLINE_URL")


@pytest.fixture(scope="module")
def locked() -> Iterator[RealServer]:
    with RealServer(password="sesame") as server:
        yield server


@pytest.fixture(scope="module")
def replica() -> Iterator[RealServer]:
    """A replica that has what its primary had, which is gone."""
    with RealServer() as primary, RealServer() as server:
        with Queue(primary.url) as queue:
            queue.enqueue("a")
            queue.pools.set("vault", 2)
        with primary.client() as raw:
            raw.config_set("repl-diskless-sync-delay", 0)  # it would wait 5 s for more replicas
        client = server.client()
        client.replicaof("127.0.0.1", str(primary.port))
        wait_until(lambda: client.exists("{default}:job:" + f"{1:016}"), 20)
        primary.stop()
        yield server
        client.close()


@pytest.mark.parametrize("command", READS, ids=words)
def test_a_replica_can_be_looked_at(bare_cli: Cli, replica: RealServer, command: list[str]) -> None:
    assert bare_cli(*command, SEATLINE_URL=replica.url, **QUICK).code == 0


@pytest.mark.parametrize("command", WRITES, ids=words)
def test_a_replica_takes_no_writes(bare_cli: Cli, replica: RealServer, command: list[str]) -> None:
    done = bare_cli(*command, SEATLINE_URL=replica.url, **QUICK)
    one_line(done, 69, "is a read-only replica. Use the address of the primary.")


def test_a_full_server_refuses_new_jobs_and_lets_old_ones_go(
    bare_cli: Cli, private_server: Callable[..., RealServer]
) -> None:
    server = private_server()
    given = {"SEATLINE_URL": server.url}
    assert bare_cli("enqueue", "a", **given).code == 0
    client = server.client()
    client.config_set("maxmemory", "1")
    one_line(bare_cli("enqueue", "a", **given), 69, "has no memory left", "raise maxmemory or let workers drain")
    assert bare_cli("jobs", "list", **given).code == 0
    assert bare_cli("jobs", "cancel", "1", **given).out == "job 1 cancelled\n"
    assert bare_cli("verify", **given).code == 0
    client.close()


def test_something_that_accepts_and_never_answers(bare_cli: Cli) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        listener.listen()
        done = bare_cli("jobs", "list", SEATLINE_URL=f"unix://{folder}/s", **QUICK)
    one_line(done, 69, "did not answer in time", "Is it overloaded or stopped?")


def test_something_that_is_no_redis(bare_cli: Cli) -> None:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        stop = threading.Event()

        def talk() -> None:
            while not stop.is_set():
                try:
                    accepted, _ = listener.accept()
                except TimeoutError:
                    continue
                with accepted:
                    accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        done = bare_cli("jobs", "list", SEATLINE_URL=f"redis://127.0.0.1:{listener.getsockname()[1]}/0", **QUICK)
        stop.set()
        thread.join(5)
    assert done.code == 69, done
    assert done.err.count("\n") == 1


def test_the_embedded_server_forbidden_and_none_named(bare_cli: Cli) -> None:
    done = bare_cli("jobs", "list", SEATLINE_EMBEDDED="never")
    one_line(done, 69, "SEATLINE_EMBEDDED=never", "Set SEATLINE_URL.")


def test_a_setting_that_is_none(cli: Cli) -> None:
    one_line(cli("jobs", "list", SEATLINE_TIMEOUT="soon"), 2, "SEATLINE_TIMEOUT: 'soon' is not a number of seconds.")


def test_a_worker_with_a_wrong_password_ends_with_69(
    spawn: Callable[..., Any], locked: RealServer, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("from seatline.worker import Handlers\nhandlers = Handlers()\n"
                                      "@handlers.handler('a')\ndef a(ctx): ...\n")  # fmt: skip
    child = spawn(
        [sys.executable, "-m", "seatline.console.main", "worker", "mine"],
        {"SEATLINE_URL": f"redis://:wrong@127.0.0.1:{locked.port}/0", "PYTHONPATH": str(tmp_path)},
    )
    assert child.wait(20) == 69
    assert child.errors().splitlines()[-1].startswith("seatline: redis://:***@127.0.0.1")


@pytest.mark.parametrize("url", ["redis://[::1", "redis://h/abc", "redis://h:port/0", "http://h", "redis//h"])
def test_a_url_that_cannot_be_read(url: str) -> None:
    """R4: one line that names the argument, exit code 2; nothing is connected to."""
    ran = subprocess.run(
        [sys.executable, "-m", "seatline.console.main", "-u", url, "jobs", "list"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("seatline: url: ")
    assert len(ran.stderr.splitlines()) == 1
