"""Child processes of a test: their output in files, their end guaranteed, and proof that none was left behind.

A worker's children may lead groups or sessions of their own and outlive their parent, so groups do not find them all.
Every child therefore carries a mark in its environment, which its own children inherit; whoever carries the mark or
descends from us belongs to the test. Nothing else is ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from harness.waiting import wait_until

__all__ = ["Child", "Children", "free_port", "no_child_left"]

MARK = "TEST_FAMILY_OF_SEATLINE"  # not SEATLINE_...: a worker's children forget those
PROC = Path("/proc")
GONE_SECONDS = 2.0


class Child:
    """A started process; it leads its own session and process group. Made by `Children.spawn`."""

    def __init__(self, args: Sequence[str | os.PathLike[str]], environ: Mapping[str, str], folder: Path) -> None:
        self.args = [os.fspath(argument) for argument in args]
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._process = subprocess.Popen(
                self.args, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the signal's number if one ended it, None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """Return what it wrote to stdout so far."""
        return self._stdout.read_text(errors="replace")

    def errors(self) -> str:
        """Return what it wrote to stderr so far."""
        return self._stderr.read_text(errors="replace")

    def wait(self, seconds: float = 10) -> int:
        """Return the exit code once it has ended; AssertionError with its stderr when it has not in time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.args} still runs after {seconds:g} s:\n{self.errors()[-2000:]}") from None

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the process, or to its whole group; nothing happens when it is gone."""
        if group:
            # The group may outlive its leader, and its id is not given again while it has members.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
        else:
            self._process.send_signal(number)

    def terminate(self, *, group: bool = False) -> None:
        """Ask it to end (SIGTERM)."""
        self.signal(signal.SIGTERM, group=group)

    def kill(self, *, group: bool = False) -> int:
        """SIGKILL it, or its whole group, and return its exit code."""
        self.signal(signal.SIGKILL, group=group)
        return self._process.wait()


class Children:
    """The processes of one test; leaving the context kills every one of them and all that they started."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.all: list[Child] = []
        self._folder = Path(tempfile.mkdtemp(prefix="seat-run-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def spawn(self, args: Sequence[str | os.PathLike[str]], env: Mapping[str, str] | None = None) -> Child:
        """Start ``args`` with our environment, less its SEATLINE_ variables, plus ``env``.

        The developer's own settings must not steer a test, hence the subtraction.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEATLINE_")}
        folder = self._folder / str(len(self.all))
        folder.mkdir()
        child = Child(args, {**inherited, **(env or {}), MARK: self.mark}, folder)
        self.all.append(child)
        return child

    def left(self) -> dict[int, str]:
        """Return whoever of this family still runs: process id -> command line."""
        return {pid: _command(pid) for pid in _carriers(self.mark)}

    def close(self) -> None:
        """Kill all, grandchildren too, and remove the captured output."""
        for child in self.all:
            if child.running:
                child.kill()
        wait_until(lambda: not self._strike(), message="the end of a test's child processes")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _strike(self) -> set[int]:
        carriers = _carriers(self.mark)  # again and again: one may fork while we look
        _kill(carriers)
        return carriers


@contextlib.contextmanager
def no_child_left(seconds: float = GONE_SECONDS) -> Iterator[Children]:
    """Assert that what was started inside has ended by the end, or within ``seconds`` of it.

    Covers processes of the `Children` it yields, with all their descendants, and any other new descendant of ours.
    Those that are left are killed, then named in the AssertionError.
    """
    before = _descendants()
    with Children() as children:
        yield children
        remaining: dict[int, str] = {}

        def gone() -> bool:
            remaining.clear()
            remaining.update({pid: _command(pid) for pid in (_descendants() - before) | _carriers(children.mark)})
            return not remaining

        try:
            wait_until(gone, seconds)
        except AssertionError:
            _kill(remaining)
            raise AssertionError(f"left running after {seconds:g} s: {remaining}") from None


def free_port() -> int:
    """Return a loopback port that nobody had a moment ago; whoever binds it must be ready to try another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kill(pids: Iterator[int] | set[int] | dict[int, str]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants() -> set[int]:
    """Our living descendants; zombies are left out, they have ended."""
    parents = _parents()
    found: set[int] = set()
    generation = {os.getpid()}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation}
        found |= generation
    return found


def _parents() -> dict[int, int]:
    """Map each living process to its parent."""
    if not PROC.is_dir():  # macOS
        listing = subprocess.run(["ps", "-axo", "pid=,ppid=,stat=,comm="], capture_output=True, text=True, check=True)
        rows = [line.split(None, 3) for line in listing.stdout.splitlines()]
        return {int(row[0]): int(row[1]) for row in rows if not row[2].startswith("Z") and row[3] != "ps"}
    parents = {}
    for path in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents[int(path.parent.name)] = int(parent)
    return parents


def _carriers(mark: str) -> set[int]:
    """Living processes with the mark in the environment they were started with."""
    entry = f"{MARK}={mark}"
    if not PROC.is_dir():  # macOS
        listing = subprocess.run(["ps", "-axEwwo", "pid=,command="], capture_output=True, text=True, check=True)
        return {int(line.split(None, 1)[0]) for line in listing.stdout.splitlines() if entry in line}
    found = set()
    for path in PROC.glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it ended, or is another user's
            if entry.encode() in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return "?"
