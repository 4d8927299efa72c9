"""`seatline server` and `seatline cli`, in this process and as the programs that they become."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from seatline.console import server as console
from seatline.producer import Queue
from seatline.shared.embedded import ensure, status
from seatline.shared.embedded.folders import StateFolder
from seatline.shared.embedded.found import runs_from
from seatline.shared.embedded.resp import ErrorReply, StatusReply
from seatline.shared.errors import InvalidInput, NoEmbeddedServer, ServerRefused, ServerUnavailable
from seatline.worker import Handlers, Worker


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.005)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder by SEATLINE_STATE, short enough for sockets; its server is ended afterwards."""
    path = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp")).resolve()
    for name in [name for name in os.environ if name.startswith("SEATLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    monkeypatch.setenv("SEATLINE_STATE", str(path / "state"))
    yield path / "state"
    for pid_file in path.rglob("server.pid"):
        pid = int(pid_file.read_text())
        if runs_from(pid, StateFolder(pid_file.parent)):
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: not runs_from(pid, StateFolder(path / "state")))  # type: ignore[misc]
    shutil.rmtree(path)


def without_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.shutil, "which", lambda _: None)  # type: ignore[attr-defined]


def run(command: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a program of its own, where warnings are errors and a SeatlineError becomes its exit code."""
    code = (
        "import sys\n"
        "from seatline.shared.errors import SeatlineError\n"
        f"from seatline.console.server import {command} as command\n"
        "try: command()\n"
        "except SeatlineError as error: print(error, file=sys.stderr); sys.exit(error.exit_code)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    arguments = [sys.executable, "-W", "error", "-c", code, *words]
    return subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False, timeout=60)


# seatline server


def test_start_status_stop(folder: Path) -> None:
    runner = CliRunner()
    none = runner.invoke(console.server, ["status"])
    assert (none.exit_code, "`seatline server start`" in none.stdout) == (69, True)
    first = runner.invoke(console.server, ["start"])
    assert first.exit_code == 0
    assert first.stderr.count("\n") == 1
    assert "`seatline server stop` stops it" in first.stderr
    found = status()
    assert found
    assert found.cli_line() in first.stdout
    again = runner.invoke(console.server, ["start"])
    assert "runs already" in again.stderr
    shown = runner.invoke(console.server, ["status"])
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, first.stdout, "")
    assert runner.invoke(console.server, ["stop"]).stdout == "Stopped.\n"
    twice = runner.invoke(console.server, ["stop"])
    assert (twice.exit_code, twice.stdout) == (0, "No embedded server runs.\n")


def test_json_has_every_fact_but_the_password(folder: Path) -> None:
    runner = CliRunner()
    none = runner.invoke(console.server, ["status", "-o", "json"])
    assert (none.exit_code, json.loads(none.stdout)) == (69, {"running": False})
    facts = json.loads(runner.invoke(console.server, ["start", "-o", "json"]).stdout)
    found = ensure()
    assert facts == {
        "running": True,
        "flavour": found.flavour,
        "version": found.version,
        "pid": found.pid,
        "port": found.port,
        "socket": str(found.socket),
        "binary": str(found.binary),
        "folder": str(folder),
        "data": str(folder / found.flavour),
        "password_file": str(folder / "password"),
        "url": f"unix://{found.socket}?db=0",
        "cli": found.cli_line(),
    }
    shown = runner.invoke(console.server, ["status", "-o", "json"])
    assert json.loads(shown.stdout) == facts
    assert (folder / "password").read_text().strip() not in shown.output


def test_status_says_when_clients_use_another_server(folder: Path) -> None:
    ensure()
    shown = CliRunner().invoke(console.server, ["status"], env={"SEATLINE_URL": "redis://elsewhere/0"})
    assert "SEATLINE_URL is set" in shown.stderr


def test_start_where_it_is_forbidden_is_exit_code_69(folder: Path) -> None:
    shown = run("server", "start", SEATLINE_EMBEDDED="never")
    assert shown.returncode == 69
    assert "SEATLINE_EMBEDDED=never" in shown.stderr
    assert isinstance(
        CliRunner().invoke(console.server, ["start"], env={"SEATLINE_EMBEDDED": "never"}).exception, NoEmbeddedServer
    )


def test_the_server_outlives_the_command_that_started_it(folder: Path) -> None:
    shown = run("server", "start", "-o", "json")
    found = status()
    assert found
    assert found.pid == json.loads(shown.stdout)["pid"]


@pytest.mark.parametrize("words", [["--help"], ["start", "--help"], ["stop", "--help"], ["status", "--help"]])
def test_every_help_of_server_has_an_example(words: list[str]) -> None:
    assert "Example: " in CliRunner().invoke(console.server, words).stdout


def test_the_help_of_cli_has_an_example() -> None:
    assert "Example: seatline cli HGETALL" in CliRunner().invoke(console.cli, ["--help"]).stdout


def test_the_help_imports_no_client_and_no_launcher() -> None:
    code = (
        "import sys, seatline.console.server; "
        "print([n for n in ('redis', 'subprocess', 'seatline.shared.embedded') if n in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    shown = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_a_stop_tells_of_workers_that_will_start_it_again(folder: Path) -> None:
    """W3: who stops the server under a live worker is told so, with what to stop first; it stops all the same."""
    handlers, begun, go_on = Handlers(), threading.Event(), threading.Event()

    @handlers.handler("slow")
    def slow(ctx: object) -> None:
        begun.set()
        go_on.wait(30)

    with Queue(namespace="farm") as queue:
        queue.enqueue("slow")
        worker = Worker(handlers, namespace="farm", lease=5)
        thread = threading.Thread(target=worker.run, kwargs={"burst": True})
        thread.start()
        try:
            assert begun.wait(20)
            shown = CliRunner().invoke(console.server, ["stop"])
        finally:
            go_on.set()
            thread.join(60)
        assert (shown.exit_code, shown.stdout) == (0, "Stopped.\n")
        assert "1 worker lives and starts it again; 1 job runs." in shown.stderr
        assert "`seatline workers stop --all -n farm`" in shown.stderr
        assert queue.job(1).state == "succeeded"
    assert CliRunner().invoke(console.server, ["stop"]).stderr == ""


def test_the_url_line_can_be_pasted(folder: Path) -> None:
    shown = run("server", "start")
    (line,) = (line.partition(" ")[2].strip() for line in shown.stdout.splitlines() if line.startswith("url "))
    assert line.startswith("export SEATLINE_URL=")
    environ = {**os.environ, "SEATLINE_STATE": str(folder.parent / "none")}
    paste = f"{line}; {sys.executable} -m seatline.console.main pools set vault 3 && seatline_end=1"
    subprocess.run(["/bin/sh", "-c", paste], env=environ, check=True, timeout=60)
    assert not (folder.parent / "none").exists()
    with Queue() as queue:
        assert queue.pools["vault"].capacity == 3


# seatline cli, by redis-cli


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="no redis-cli here")
def test_cli_becomes_redis_cli_on_the_embedded_server_and_says_that_it_started_it(folder: Path) -> None:
    shown = run("cli", "SET", "greeting", "two words")
    assert (shown.returncode, shown.stdout) == (0, "OK\n")
    assert shown.stderr.startswith("Started an embedded ")
    shown = run("cli", "--no-raw", "GET", "greeting", REDISCLI_AUTH="wrong", VALKEYCLI_AUTH="wrong")
    assert (shown.stdout, shown.stderr) == ('"two words"\n', "")


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="no redis-cli here")
def test_cli_goes_to_the_server_that_seatline_url_names(folder: Path) -> None:
    found = ensure()
    password = found.password_file.read_text().strip()
    url = f"redis://:{password}@127.0.0.1:{found.port}/3"
    assert run("cli", "SET", "here", "1", SEATLINE_URL=url, SEATLINE_STATE=str(folder.parent / "none")).stdout == "OK\n"
    assert run("cli", "--url", f"unix://default@{found.socket}?db=3&password={password}", "GET", "here").stdout == "1\n"
    assert run("cli", "GET", "here").stdout == "\n"
    assert not (folder.parent / "none").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://host", ["redis-cli", "-h", "host", "-p", "6379", "-e", "PING"]),
        (
            "redis://me:se%2Fcret@host:7000/2",
            ["redis-cli", "-h", "host", "-p", "7000", "-n", "2", "--user", "me", "-e", "PING"],
        ),
        (
            "rediss://:se%2Fcret@host:7000?db=2",
            ["redis-cli", "-h", "host", "-p", "7000", "-n", "2", "--tls", "-e", "PING"],
        ),
        ("unix://:se%2Fcret@/run/a%20b.sock?db=1", ["redis-cli", "-s", "/run/a b.sock", "-n", "1", "-e", "PING"]),
    ],
)
def test_the_password_is_in_the_environment_and_not_in_the_command_line(
    url: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Became(Exception):
        pass

    def become(program: str, arguments: list[str], environment: dict[str, str]) -> None:
        assert program == "/bin/redis-cli"
        assert arguments == words
        assert environment.get("REDISCLI_AUTH") == ("se/cret" if "cret" in url else None)
        assert "VALKEYCLI_AUTH" not in environment
        raise Became

    monkeypatch.setenv("REDISCLI_AUTH", "another")
    monkeypatch.setenv("VALKEYCLI_AUTH", "another")
    monkeypatch.setattr(console.shutil, "which", lambda name: f"/bin/{name}")  # type: ignore[attr-defined]
    monkeypatch.setattr(console, "_tells_failure", lambda _: True)
    monkeypatch.setattr(os, "execve", become)
    assert isinstance(CliRunner().invoke(console.cli, ["--url", url, "PING"]).exception, Became)


@pytest.mark.parametrize("url", ["http://host", "redis://host:x", "redis://host/zero", "unix://", "host:6379"])
def test_a_url_that_names_no_server_is_refused_without_repeating_it(url: str) -> None:
    caught = CliRunner().invoke(console.cli, ["--url", url.replace("//", "//me:secret@"), "PING"]).exception
    assert isinstance(caught, InvalidInput)
    assert str(caught).startswith("SEATLINE_URL: ")
    assert "secret" not in str(caught)


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="no redis-cli here")
def test_a_command_that_the_server_refuses_is_exit_code_1(folder: Path) -> None:
    """Q18: what a login may not do is no success of `seatline cli`, nor is what the server cannot do."""
    assert run("cli", "ACL", "SETUSER", "me", "on", ">a-password-9", "~*", "+ping").returncode == 0
    (folder / "mine").write_text("a-password-9")
    login = {"SEATLINE_USER": "me", "SEATLINE_PASSWORD_FILE": str(folder / "mine")}
    refused = run("cli", "FLUSHALL", **login)
    assert (refused.returncode, "NOPERM" in refused.stderr) == (1, True)
    assert run("cli", "PING", **login).returncode == 0
    assert run("cli", "NOPE").returncode == 1


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="no redis-cli here")
def test_a_refused_login_does_not_go_on_as_the_default_user(folder: Path) -> None:
    """Q18: redis-cli itself goes on without a login, and whoever needs no password may do everything."""
    found = ensure()
    assert run("cli", "ACL", "SETUSER", "default", "nopass").returncode == 0
    (folder / "wrong").write_text("not-that-one-1")
    login = {"SEATLINE_USER": "me", "SEATLINE_PASSWORD_FILE": str(folder / "wrong")}
    open_to_all = f"redis://127.0.0.1:{found.port}/0"
    refused = run("cli", "SET", "a", "1", SEATLINE_URL=open_to_all, **login)
    assert (refused.returncode, "refused AUTH" in refused.stderr) == (69, True), refused
    nobody = run("cli", "SET", "a", "1", SEATLINE_URL=f"redis://me@127.0.0.1:{found.port}/0")
    assert (nobody.returncode, "no password was said" in nobody.stderr) == (69, True), nobody
    assert run("cli", "EXISTS", "a", SEATLINE_URL=open_to_all).stdout == "0\n"


@pytest.mark.parametrize(("version", "known"), [("redis-cli 6.2.14", False), ("redis-cli 7.0.0", True), ("", False)])
def test_an_old_redis_cli_is_not_given_what_it_does_not_know(version: str, known: bool, tmp_path: Path) -> None:
    program = tmp_path / "redis-cli"
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    assert console._tells_failure(str(program)) is known
    assert not console._tells_failure("/nowhere/redis-cli")


# seatline cli, without redis-cli


def test_one_command_without_redis_cli(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_cli(monkeypatch)
    runner = CliRunner()
    assert (
        runner.invoke(console.cli, ["HSET", "job", "type", "drawing.publish", "params", "\udcff"]).stdout
        == "(integer) 2\n"
    )
    shown = runner.invoke(console.cli, ["HGETALL", "job"])
    assert (shown.exit_code, shown.stdout) == (0, "1) type\n2) drawing.publish\n3) params\n4) b'\\xff'\n")
    failed = runner.invoke(console.cli, ["GET", "job"])
    assert failed.exit_code == 1
    assert failed.stdout.startswith("(error) WRONGTYPE")


def test_the_prompt_without_redis_cli(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure()
    without_cli(monkeypatch)
    typed = "PING\n\nSET a 'two words'\n\"open\nNOPE\nGET a"
    shown = CliRunner().invoke(console.cli, [], input=typed)
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[:3] == ["PONG", "OK", "(error) No closing quotation"]
    assert lines[3].startswith("(error) ERR unknown command")
    assert lines[4:] == ["two words"]


def test_without_redis_cli_the_database_is_selected_and_errors_are_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ensure()
    without_cli(monkeypatch)
    runner = CliRunner()
    good = found.url.replace("db=0", "db=2")
    assert runner.invoke(console.cli, ["--url", good, "SET", "a", "1"]).stdout == "OK\n"
    assert runner.invoke(console.cli, ["GET", "a"]).stdout == "(nil)\n"
    refused = runner.invoke(console.cli, ["--url", f"redis://me:wrong@127.0.0.1:{found.port}", "PING"]).exception
    assert isinstance(refused, ServerRefused)
    assert "refused AUTH: WRONGPASS" in str(refused)
    unreached = runner.invoke(console.cli, ["--url", "unix:///nowhere/at/all.sock", "PING"]).exception
    assert isinstance(unreached, ServerUnavailable)
    encrypted = runner.invoke(console.cli, ["--url", "rediss://host", "PING"]).exception
    assert isinstance(encrypted, InvalidInput)
    assert "redis-cli" in str(encrypted)


def test_a_connection_lost_at_the_prompt_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cli(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(100)

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        caught = CliRunner().invoke(console.cli, ["--url", url, "PING"]).exception
        thread.join(5)
    assert isinstance(caught, ServerUnavailable)
    assert "lost" in str(caught)


def test_replies_are_printed_for_people() -> None:
    assert console._lines([1, [None, b"a\r\nb"], [], StatusReply("OK"), ErrorReply("ERR no"), b"\x00"]) == [
        "1) (integer) 1",
        "2) 1) (nil)",
        "   2) a",
        "      b",
        "3) (empty)",
        "4) OK",
        "5) (error) ERR no",
        "6) b'\\x00'",
    ]


def test_both_are_click_commands() -> None:
    assert isinstance(console.server, click.Group)
    assert isinstance(console.cli, click.Command)
