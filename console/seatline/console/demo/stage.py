"""The stage: a private folder, server, licence server and workers, and the promise that nothing of it is left behind.

Who ends what: only processes started here are ended, by their own pids. Each leads a session of its own, so that a
Ctrl-C in the terminal reaches this process alone, which then ends the others in order; they are told only once. While
one is being started the signal is kept back, for a process that was started and not yet written down would stay. While
the stage is being cleared it is ignored.

The temporary folder holds ``state`` (the server's), ``out`` (the files written) and ``log`` (what the workers said).
Where it is kept, the server and its state stay.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final, Self

from seatline.console.demo import witness
from seatline.console.demo.plan import LEASE, NAMESPACE, RENEW, SLOTS, WORKERS
from seatline.console.demo.witness import Counts
from seatline.producer import Queue
from seatline.shared import embedded
from seatline.shared.config import Settings
from seatline.shared.errors import SeatlineError

__all__ = ["Child", "LicenceServer", "Signals", "Stage", "Stopped", "not_our_settings"]

_PATIENCE: Final = 5.0
#: Windows knows no SIGHUP; there the demo says that it has no embedded server.
_SIGNALS: Final = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_HANDLERS: Final = "seatline.console.demo.handlers:handlers"


class Stopped(BaseException):
    """A signal to end came. Not an Exception: nobody on the way may take it for a fault."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Signals:
    """Turn SIGINT, SIGTERM and SIGHUP into :class:`Stopped`, but never between the start of a process and its first note."""

    def __init__(self) -> None:
        self._told = self._holds = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._tell) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _tell(self, number: int, _: FrameType | None) -> None:
        self._told = number
        if not self._holds:
            raise Stopped(number)

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep a signal back until the end of the block."""
        self._holds += 1
        try:
            yield
        except Exception as error:
            if self._told:  # it met what was being started, too: that is why this failed
                raise Stopped(self._told) from error
            raise
        finally:
            self._holds -= 1
        if self._told:
            raise Stopped(self._told)

    def ignore(self) -> None:
        """Take no more of them: what is done now must be done whole."""
        self._holds += 1


class Child:
    """A process of the demo, its errors in a file."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *arguments],
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def complaint(self) -> str:
        """Return the last lines it wrote to stderr."""
        return "\n".join(self._log.read_text("utf-8", errors="replace").splitlines()[-12:])

    def kill(self) -> None:
        """SIGKILL: no goodbye, no clean-up, as a crash of the machine would do it."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Ask it to end, and after 5 s do not ask any more."""
        with suppress(OSError):
            self._stdin().close()
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._stdout().close()

    def ask(self, question: str = "") -> str:
        """Write a line if there is one to write, and return the next line of the answer ('' if it is gone)."""
        if question:
            with suppress(OSError):
                self._stdin().write(question)
                self._stdin().flush()
        return self._stdout().readline()

    def _stdin(self) -> IO[str]:
        assert self._process.stdin  # noqa: S101 - it is a pipe
        return self._process.stdin

    def _stdout(self) -> IO[str]:
        assert self._process.stdout  # noqa: S101 - as above
        return self._process.stdout


class LicenceServer:
    """The witness as its owner sees it."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.port = child.ask().strip()
        if not self.port:
            raise SeatlineError(f"demo: the licence server did not start.\n{child.complaint()}")

    def counts(self) -> Counts:
        """Ask what it has seen so far."""
        answer = self._child.ask("counts\n")
        if not answer:
            raise SeatlineError(f"demo: the licence server is gone.\n{self._child.complaint()}")
        return Counts(**json.loads(answer))


class Stage:
    """Everything the demo runs on; leaving it ends the processes and removes the folder.

    Set ``kept`` to leave the server and its data; whoever sets it says so to the user.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self.kept = False
        self._cleared = ExitStack()
        self._children: list[Child] = []
        self.workers: list[Child] = []

    def __enter__(self) -> Self:
        with self._signals.held():
            self.folder = Path(tempfile.mkdtemp(prefix="seatline-demo-")).resolve()
            self._cleared.callback(self._remove)
            self.state, self.out, self._log = (self.folder / name for name in ("state", "out", "log"))
            self.out.mkdir()
            self._log.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._signals.ignore()
        for child in self._children if kind else []:
            child.kill()  # their jobs matter to nobody any more, and who pressed Ctrl-C waits
        self._cleared.close()

    def open(self, licences: int) -> None:
        """Start the server, the licence server and the workers.

        Raises:
            SeatlineError: one of them does not start.

        """
        with self._signals.held():
            self._cleared.callback(self._stop_server)
            self.server = embedded.ensure(self.state)
        with self._signals.held():
            self.queue = Queue(self.server.url, namespace=NAMESPACE)
            self._cleared.callback(self.queue.close)
        self.witness = LicenceServer(self._start(["-m", witness.__name__, str(licences)], {}, "licence"))
        arguments = ["-m", "seatline.console.main", "worker", _HANDLERS, "--slots", str(SLOTS), "--lease", str(LEASE)]
        environ = {
            "SEATLINE_URL": self.server.url,
            "SEATLINE_NAMESPACE": NAMESPACE,
            "SEATLINE_RENEW": str(RENEW),
            witness.ADDRESS: self.witness.port,
        }
        self.workers = [self._start(arguments, environ, f"worker-{n + 1}") for n in range(WORKERS)]

    def _start(self, arguments: Sequence[str], environ: Mapping[str, str], name: str) -> Child:
        with self._signals.held():
            child = Child(arguments, {**os.environ, **environ}, self._log / name)
            self._children.append(child)
            self._cleared.callback(child.end)
        return child

    def _stop_server(self) -> None:
        if not self.kept:
            embedded.stop(self.state)

    def _remove(self) -> None:
        for path in [self.out, self._log] if self.kept else [self.folder]:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def not_our_settings() -> Generator[None]:
    """Take the user's own SEATLINE_ settings out of the environment: they are meant for other servers than this one."""
    names = {f"SEATLINE_{each.name.upper()}" for each in fields(Settings)} & os.environ.keys()
    before = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(before)
