"""The children of one worker: made when they are needed, used again, replaced when they end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from seatline.shared.calls.workers import Report
from seatline.shared.errors import HandlerDied, InvalidInput, SeatlineError, Timeout
from seatline.worker import system
from seatline.worker.children.attempt import Attempt, Patience
from seatline.worker.children.frames import Frames, close
from seatline.worker.children.link import CONNECTION_LOST
from seatline.worker.children.nursery import ANSWER, ASK, END, FORK, RETIRE, Nursery
from seatline.worker.context import Context, Hold
from seatline.worker.execute import failed
from seatline.worker.handlers import Handler, Handlers
from seatline.worker.timers import Timers

__all__ = ["Children"]

log = logging.getLogger("seatline.worker")

#: So many children may die in a row before one takes the job.
TRIES: Final = 3
#: The nursery answers within a few ms, or after it had to kill something; after so long (seconds) it is given up.
ANSWER_MOST: Final = 30.0
CLOSE_MOST: Final = 2.0
#: The system may lack memory or processes for a moment; then try again after so many seconds each.
FORK_PAUSES: Final = (0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    frames: Frames


@dataclass(frozen=True, slots=True)
class _End:
    """How a child ended, and where it was then, if Python could still write that down."""

    how: str
    words: str


class Children:
    """Run attempts in child processes.

    Args:
        handlers: what they run.
        worker: the worker's id.
        timers: of the worker.
        most_jobs: a child is replaced after so many jobs.
        most_memory: a child is replaced when its resident memory is above so many bytes after a job; None: never.
        kill_after: seconds between SIGTERM and SIGKILL.
        cancel_after: seconds that a handler may go on after its job was cancelled.
        broken: hears of an error that leaves this object useless.

    """

    def __init__(
        self,
        handlers: Handlers,
        worker: str,
        timers: Timers,
        *,
        most_jobs: int = 1000,
        most_memory: int | None = None,
        kill_after: float = 3.0,
        cancel_after: float = 10.0,
        broken: Callable[[SeatlineError], None] | None = None,
    ) -> None:
        self._handlers, self._worker, self._timers = handlers, worker, timers
        self._most_jobs, self._most_memory = most_jobs, most_memory
        self._patience = Patience(cancel_after, kill_after)
        self._broken = broken
        self._nursery = 0
        self._control: socket.socket | None = None
        self._asking = threading.Lock()
        self._idle: list[_Child] = []
        self._all: dict[int, _Child] = {}
        self._closing = False

    @property
    def pids(self) -> list[int]:
        """Its children."""
        return list(self._all)

    @property
    def busy(self) -> int:
        """How many of them run a job."""
        return max(0, len(self._all) - len(self._idle))

    # -- its life

    def start(self) -> None:
        """Fork the nursery: before this process has threads or connections.

        Raises:
            InvalidInput: this system cannot fork.
            SeatlineError: it can, but not now.

        """
        if not hasattr(os, "fork"):
            raise InvalidInput("isolation: this system cannot fork; declare the handlers with isolation='thread'.")
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()  # or the child would print it again
        _fill_standard()
        ours, theirs = socket.socketpair()
        worker_pid = os.getpid()
        try:
            with warnings.catch_warnings():
                # Python 3.12 and later warn of threads: those of the program that calls us, if it has any.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise SeatlineError(f"no child process can be made: {error.strerror}. Use isolation='thread'.") from None
        if not pid:
            ours.close()
            Nursery(theirs, worker_pid, self._handlers, self._worker, self._most_jobs, self._most_memory).live()
        theirs.close()
        ours.settimeout(ANSWER_MOST)
        self._nursery, self._control = pid, ours

    def close(self) -> None:
        """End all children, whatever they run, and the nursery; waits 2 s at most."""
        self._closing = True
        if not self._control:
            return
        with self._asking:
            control, self._control = self._control, None
            close(control)
        end = time.monotonic() + CLOSE_MOST
        try:
            while os.waitpid(self._nursery, os.WNOHANG) == (0, 0):
                if time.monotonic() > end:
                    os.kill(self._nursery, signal.SIGKILL)
                    os.waitpid(self._nursery, 0)
                    break
                time.sleep(0.002)
        except ChildProcessError:
            pass  # somebody else in this process waits for whatever ends
        while self._idle:
            self._idle.pop().frames.close()

    # -- a job

    def run(
        self, handler: Handler, hold: Hold, ctx: Context, fields: dict[bytes, bytes], flat: Sequence[bytes]
    ) -> Report:
        """Run one attempt in a child, in the calling thread; whatever becomes of the child, there is a report (C12).

        Args:
            handler: its declaration.
            hold: of the job; while it runs, :meth:`Hold.say` stops it.
            ctx: of the job, in this process.
            fields: the job's hash.
            flat: the same as it came.

        """
        job = ["job", hold.id, hold.token, ctx.attempt, ctx.type, hold.events is not None, list(flat)]
        for _ in range(TRIES):
            try:
                child = self._take()
            except SeatlineError as error:
                return self._not_begun(hold, error)
            attempt = Attempt(child.pid, child.frames, hold, self._timers, self._patience)
            report = attempt.run(job)
            if report is not None:
                self._give_back(child, attempt.leaves)
                return report
            end = self._bury(child)
            if attempt.begun or hold.over:
                return self._died(handler, hold, ctx, fields, end)
            log.warning("child %d had ended before it took job %d: %s", child.pid, int(hold.id), end and end.how)
        return failed(handler, ctx, fields, HandlerDied(f"{TRIES} processes in a row ended before they took it"))

    def _not_begun(self, hold: Hold, error: SeatlineError) -> Report:
        if not self._closing:
            log.error("job %d goes back: %s", int(hold.id), error)
        return Report(hold.id, hold.token, "returned")

    def _died(self, handler: Handler, hold: Hold, ctx: Context, fields: dict[bytes, bytes], end: _End | None) -> Report:
        """Say what became of a job whose child ended under it."""
        if end is None or ((hold.fenced or hold.left) and not hold.late):
            # Nothing that the handler has done: its worker leaves, or has lost the nursery, and the children with it.
            return Report(hold.id, hold.token, "abandoned")
        if hold.late:
            limit = handler.timeout or 0
            why = f"it ran longer than its timeout of {limit:g} s, and was killed"
            return failed(handler, ctx, fields, Timeout(why), told=end.words)
        if hold.cancel:
            return Report(hold.id, hold.token, "cancelled")
        log.debug("job %s: child ended under it: %s", hold.id, end.how)
        why = f"its process ended under it: {end.how}"
        return failed(handler, ctx, fields, HandlerDied(why), told=end.words, lost=True)

    # -- children

    def _take(self) -> _Child:
        try:
            return self._idle.pop()
        except IndexError:
            return self._new()

    def _give_back(self, child: _Child, leaves: str) -> None:
        if not leaves and not self._closing:
            self._idle.append(child)
            return
        log.debug("child %d leaves: %s", child.pid, leaves)
        self._all.pop(child.pid, None)
        child.frames.close()
        with contextlib.suppress(SeatlineError):  # whoever needs the next child says so
            self._ask(RETIRE, child.pid)

    def _new(self) -> _Child:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                pid = self._fork(theirs)
        except BaseException:
            ours.close()
            raise
        child = self._all[pid] = _Child(pid, Frames(ours))
        return child

    def _fork(self, end: socket.socket) -> int:
        pauses = iter(FORK_PAUSES)
        while True:
            pid, _, _, _ = self._ask(FORK, 0, end.fileno())
            if pid >= 0:
                return pid
            pause = next(pauses, None)
            if pause is None or self._closing:
                raise SeatlineError(f"no child process can be made: {os.strerror(-pid)}")
            time.sleep(pause)

    def _bury(self, child: _Child) -> _End | None:
        """Have it ended, if it has not; returns how it ended, None if nobody knows any more."""
        self._all.pop(child.pid, None)
        child.frames.close()
        try:
            _, status, by_itself, words = self._ask(END, child.pid)
        except SeatlineError:
            return None
        if by_itself and status != CONNECTION_LOST << 8:
            how = system.how_it_ended(status)
        else:
            how = "it had closed its connection to the worker (a file descriptor that is not the handler's)"
        return _End(how, words.decode("utf-8", "replace"))

    def _ask(self, what: bytes, pid: int, number: int | None = None) -> tuple[int, int, bool, bytes]:
        """Ask the nursery; returns a pid or minus an errno, a wait status, whether it ended by itself, its last words.

        Raises:
            SeatlineError: it is gone.

        """
        with self._asking:
            control = self._control
            try:
                if control is None:
                    raise OSError("it is closed")
                socket.send_fds(control, [ASK.pack(what, pid)], [] if number is None else [number])
                if what == RETIRE:
                    return 0, 0, False, b""
                pid, status, by_itself, length = ANSWER.unpack(_exactly(control, ANSWER.size))
                return pid, status, bool(by_itself), _exactly(control, length)
            except (OSError, EOFError) as error:
                gone = SeatlineError(
                    f"the process that makes this worker's child processes (pid {self._nursery}) is gone ({error}); "
                    "start the worker again."
                )
                first, self._control = control is not None, None
                if control:
                    close(control)
        for child in {pid, *self._all} - {0}:
            system.kill_group(child)  # they have died with the nursery; what their handlers started has not
        if first and not self._closing and self._broken:
            self._broken(gone)
        raise gone


def _fill_standard() -> None:
    """Give numbers 0 to 2 something to be, should they be closed: or what a handler prints would go to one of ours."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - standard error
        os.set_inheritable(number, True)
    os.close(number)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError("it has ended")
        data += more
    return data
