"""A child's end of its connection to the worker: what its job's context speaks through.

The soft stop. The worker says *why* in a frame, then sends SIGTERM. The signal raises :class:`Cancelled` in the handler,
wherever it is, so that ``with`` and ``finally`` do their work (C10). Four rules keep that safe:

* it is raised only while *armed*: in a log-in or in the handler itself, never in what is ours, never in a log-out
* it is raised once: not in a handler that is on its way out because it has asked, and was told
* it is not raised while a frame is written or read (*shielded*), but right after: half a frame would end the connection
* a SIGTERM without a reason was not meant for this process: stopping a service signals all its processes at once, and
  the worker then lets its jobs end (C13). It is ignored, and said in the job's log
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from seatline.shared.calls.base import Word
from seatline.worker.children.frames import DONT_WAIT, Frames
from seatline.worker.context import Cancelled

__all__ = ["CONNECTION_LOST", "WHERE", "ChildLink", "EndedLink"]

#: Looking whether the worker has said something costs a system call: not more often than this (seconds).
LOOK_EVERY: Final = 0.001
#: A handler with several threads looks up from a sleep this often (seconds).
SLICE: Final = 0.25
#: Progress: so many at once, then one every so many seconds. The newest is kept until something else is sent.
BURST: Final = 20.0
PROGRESS_EVERY: Final = 0.1
#: Asks a child to write down where it is, before it is killed.
WHERE: Final[int] = getattr(signal, "SIGQUIT", 0)
#: The exit code of a child that cannot speak with its worker any more.
CONNECTION_LOST: Final = 71


class ChildLink:
    """Implements :class:`seatline.worker.context.Link`."""

    def __init__(self, frames: Frames, worker: str) -> None:
        self.id = self.token = ""
        self.worker = worker
        self.forked = False
        self._frames = frames
        self.told: set[str] = set()  # why its job is to stop
        self._events = False
        self._looked = 0.0
        self._fields: dict[str, Word] = {}
        self._lines: list[str] = []
        self._allowance, self._counted = BURST, 0.0
        self._gathering = False
        self._main = threading.get_ident()
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._armed = self._shielded = self._signalled = False

    # -- its job

    def next_job(self) -> list[Any] | None:
        """Wait for a job; None once the worker has no more for this process."""
        try:
            while (frame := self._frames.receive())[0] != "job":
                pass  # a stop that came too late for the job before
        except (EOFError, OSError):
            return None
        return frame[1:]

    def begin(self, id_: str, token: str, *, events: bool) -> None:
        """Speak for this job from now on."""
        self.id, self.token, self._events = id_, token, events
        self.told.clear()
        self._looked = time.monotonic()
        self._signalled = False

    def end(self, frame: list[Any]) -> None:
        """Send the report, with what was not told yet."""
        self.id = ""
        self._send(frame)

    # -- what the worker has said

    @property
    def over(self) -> bool:
        """Whether the handler should stop."""
        self._look()
        return bool(self.told)

    @property
    def fenced(self) -> bool:
        """Whether the lease may be somebody else's."""
        self._look()
        return "fenced" in self.told

    @property
    def cancel(self) -> bool:
        """Whether somebody asked the job to stop."""
        self._look()
        return "cancel" in self.told

    @property
    def late(self) -> bool:
        """Whether the attempt is past its timeout."""
        self._look()
        return "late" in self.told

    @property
    def left(self) -> bool:
        """Whether the worker stops and hands the job back."""
        self._look()
        return "left" in self.told

    def fileno(self) -> int:
        """Return what becomes readable when the worker says something."""
        return self._frames.sock.fileno()

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the moment from which the handler should stop."""
        self._flush()
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        self._look(now=True)  # what came together with the job has been read already: poll knows nothing of it
        while not self.told and (left := end - time.monotonic()) > 0:
            # Another thread may read what this one waits for.
            poll.poll(min(left, SLICE if threading.active_count() > 1 else 3600.0) * 1000)
            self._look(now=True)

    def _look(self, *, now: bool = False) -> None:
        moment = time.monotonic()
        if (moment - self._looked < LOOK_EVERY and not now) or self.forked:
            return
        self._looked = moment
        with self._shield(), self._reading:
            try:
                while True:
                    kind, *why = self._frames.receive(DONT_WAIT)
                    if kind == "stop":
                        self.told.update(why)
            except BlockingIOError:
                pass
            except (EOFError, OSError):
                self.told.add("fenced")  # the worker is gone, and its leases with it

    # -- the soft stop

    def arm(self) -> None:
        """From now on a stop may raise :class:`Cancelled`; one that came before does so at once."""
        self._armed = True
        if self._signalled:
            self._heed()

    def disarm(self) -> None:
        """End of that."""
        self._armed = False

    def on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        """Be the handler of SIGTERM."""
        self._signalled = True
        if self._armed and not self._shielded:
            self._heed()

    def before_fork(self) -> None:
        """Keep a SIGTERM for the process that the handler is forking until that has its usual meaning there."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def after_fork_here(self) -> None:
        """Hear of it again."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def after_fork_there(self) -> None:
        """In the process that the handler has forked: this connection is not its own, nor is the soft stop."""
        self.forked = True
        self._frames.sock.close()  # this copy only
        self._armed = False
        faulthandler.disable()  # its last words are not those of the child
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _heed(self) -> None:
        self._signalled = False
        self._look(now=True)
        if self.told:
            self._armed = False
            raise Cancelled
        self.note({}, "SIGTERM ignored: its worker did not send it")

    @contextmanager
    def _shield(self) -> Generator[None]:
        """Let nothing be raised inside; what a handler's own threads say is not interrupted by signals anyway."""
        if self._shielded or threading.get_ident() != self._main:
            yield
            return
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._signalled and self._armed:
            self._heed()

    # -- what it tells

    def note(self, fields: Mapping[str, Word], line: str) -> None:
        """Tell progress (fields) or a line for the job's log ('' = none)."""
        self._fields.update(fields)
        if line:
            self._lines.append(line)
        if not self._gathering and (line or self._allowed()):
            self._flush()

    def event(self, name: str, detail: str) -> None:
        """Tell a transition."""
        if self._events:
            self._send(["event", name, detail])

    @contextmanager
    def gathered(self) -> Generator[None]:
        """Send what is noted inside in one frame."""
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
            if self._lines or (self._fields and self._allowed()):
                self._flush()

    def _allowed(self) -> bool:
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._counted) / PROGRESS_EVERY)
        self._counted = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _flush(self) -> None:
        if self._fields or self._lines:
            self._send()

    def _send(self, *frames: list[Any]) -> None:
        if self.forked:
            return
        with self._shield(), self._writing:
            if self._fields or self._lines:
                fields, self._fields = self._fields, {}
                lines, self._lines = self._lines, []
                frames = (["note", fields, lines], *frames)
            try:
                self._frames.send(*frames)
            except OSError:
                # The worker is gone, or the handler has closed what is not its own: nobody is there to be told.
                os._exit(CONNECTION_LOST)


class EndedLink:
    """What a job's context speaks through when the job has ended: threads that were left over must not be taken for the next.

    To them everything is over, and what they tell is lost.
    """

    over = fenced = left = True
    cancel = late = False

    def __init__(self, id_: str, token: str, worker: str) -> None:
        self.id, self.token, self.worker = id_, token, worker

    def wait(self, _: float) -> None:
        """Do not wait."""

    def disarm(self) -> None:
        """Nothing here interrupts a handler."""

    def note(self, _fields: Mapping[str, Word], _line: str) -> None:
        """Nobody is told."""

    def event(self, _name: str, _detail: str) -> None:
        """Nobody is told."""
