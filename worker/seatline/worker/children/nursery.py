"""The nursery: a process that makes child processes and ends them.

It is forked before the worker has threads or connections, so that a child has neither: a fork of a process with threads
may inherit a lock that nobody will release, and a socket that the worker still uses (F19). What was imported and declared
until then is shared by all children.

One thread, one loop: wait for a request, for the end of a child, or for the end of the worker. Requests come one at a
time, each of the same length::

    "f" and a socket     fork a child that serves it    answer: its pid, or minus an errno
    "e" and a pid        end it, with all it has left   answer: its wait status, whether it had ended by itself, last words
    "r" and a pid        it is about to leave by itself  no answer

Last words: a file in memory for each child, into which Python writes where it was when it crashed, or when the worker was
about to kill it (``faulthandler``, which needs neither the GIL nor memory).

A child that has ended stays a zombie until the worker has asked: so no signal of the worker can meet a stranger of the
same pid.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import struct
import tempfile
import time
import traceback
from typing import Final, NoReturn

from seatline.worker import system
from seatline.worker.children.child import Child
from seatline.worker.children.frames import Frames
from seatline.worker.children.secrets import forget_secrets
from seatline.worker.handlers import Handlers

__all__ = ["ANSWER", "ASK", "END", "FORK", "RETIRE", "Nursery"]

#: What is asked, a pid.
ASK: Final = struct.Struct("!cI")
#: A pid or minus an errno, a wait status, whether it ended by itself, how many bytes of last words follow.
ANSWER: Final = struct.Struct("!iiBI")
FORK, END, RETIRE = b"f", b"e", b"r"

#: A child whose connection has closed has so long (seconds) to be seen ended by itself; it is killed then.
BY_ITSELF: Final = 0.1
#: One that said that it leaves has so long.
RETIRED: Final = 2.0
#: The dead are waited for so long: longer only if the kernel cannot end them.
REAP_MOST: Final = 2.0
WORDS_MOST: Final = 12_000


class Nursery:
    """The process; :meth:`live` it, right after the fork.

    Args:
        control: its end of the connection to the worker.
        worker_pid: whose.
        handlers: what children run.
        worker: the worker's id.
        most_jobs: see :class:`Child`.
        most_memory: see :class:`Child`.

    """

    def __init__(
        self,
        control: socket.socket,
        worker_pid: int,
        handlers: Handlers,
        worker: str,
        most_jobs: int,
        most_memory: int | None,
    ) -> None:
        self._control, self._worker_pid = control, worker_pid
        self._handlers, self._worker = handlers, worker
        self._most_jobs, self._most_memory = most_jobs, most_memory
        self._children: dict[int, int] = {}  # pid -> the file of its last words
        self._ended: dict[int, int | None] = {}
        self._retired: dict[int, float] = {}
        self._pid = 0
        self._wake = self._woken = -1
        self._wakes = select.poll()

    def live(self) -> NoReturn:
        """Serve the worker until it is gone; never returns into the code of whoever forked."""
        status = 70
        try:
            self._settle_in()
            with contextlib.suppress(ConnectionError):  # the worker died while it asked
                self._serve()
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may get past this
            _tell()
        finally:
            self._close()
            os._exit(status)

    # -- its life

    def _settle_in(self) -> None:
        with contextlib.suppress(PermissionError):  # it leads a group already
            os.setsid()  # Ctrl-C at the terminal is for the worker
        system.rename("seat-nursery")
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._pid = os.getpid()
        self._wake, self._woken = os.pipe()
        for end in (self._wake, self._woken):
            os.set_blocking(end, False)
        self._wakes.register(self._wake, select.POLLIN)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _only_wake)
        system.adopt_orphans()
        system.die_with_parent(signal.SIGTERM)
        forget_secrets()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        if nothing:
            os.close(nothing)
        gc.freeze()  # or a child's first collection would copy every page, and finish off what is the worker's

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        # A SIGTERM that does not come from the worker's end was meant for the service as a whole: the worker decides.
        while os.getppid() == self._worker_pid:
            ready = poll.poll(1000 if self._retired else None)
            self._drain()
            self._look()
            if any(number == self._control.fileno() for number, _ in ready) and not self._answer():
                return

    def _close(self) -> None:
        for pid in self._children:
            system.kill_group(pid)
        system.end_offspring(REAP_MOST)

    def _answer(self) -> bool:
        """Do what is asked; False at the end of the connection."""
        said, given, _, _ = socket.recv_fds(self._control, ASK.size, 1)
        if len(said) < ASK.size:
            return False
        what, pid = ASK.unpack(said)
        if what == FORK:
            self._control.sendall(ANSWER.pack(self._fork(given[0]), 0, 0, 0))
        elif what == END:
            by_itself = self._end(pid)
            status, words = self._forget(pid)
            self._control.sendall(ANSWER.pack(pid, status, by_itself, len(words)) + words)
            self._look()
        else:
            self._retired[pid] = time.monotonic() + RETIRED
            self._look()
        return True

    # -- births

    def _fork(self, number: int) -> int:
        os.set_inheritable(number, False)
        words = -1
        try:
            words = _paper()
            pid = os.fork()
        except OSError as error:
            for each in (number, words):
                if each >= 0:
                    os.close(each)
            return -(error.errno or errno.EAGAIN)
        if not pid:
            self._be_child(number, words)
        os.close(number)
        self._children[pid] = words
        return pid

    def _be_child(self, number: int, words: int) -> NoReturn:
        status = 70
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            system.die_with_parent(signal.SIGKILL)
            if os.getppid() == self._pid:  # else it had died before
                system.adopt_orphans()
                system.go_first()
                system.rename("seat-child")
                self._control.close()
                for each in (self._wake, self._woken, *self._children.values()):
                    os.close(each)
                frames = Frames(socket.socket(fileno=number))
                Child(frames, words, self._handlers, self._worker, self._most_jobs, self._most_memory).serve()
            status = 0
        except BaseException:  # noqa: BLE001 - as above
            _tell()
        finally:
            os._exit(status)

    # -- ends

    def _look(self) -> None:
        """See which children have ended, and end what they have left."""
        died = [pid for pid in self._children if pid not in self._ended and self._has_ended(pid)]
        for pid in died:
            system.kill_group(pid)  # its group outlives it
        now = time.monotonic()
        for pid, until in list(self._retired.items()):
            if pid in self._ended:
                self._forget(pid)
            elif now > until:
                system.kill_group(pid)
        if died or (not self._children and system.offspring()):
            system.end_offspring(REAP_MOST, spare=self._children)

    def _has_ended(self, pid: int) -> bool:
        try:
            if hasattr(os, "waitid"):
                ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
                if ended:
                    self._ended[pid] = None
                return ended
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            found, status = pid, 0
        if found:
            self._ended[pid] = status
        return bool(found)

    def _end(self, pid: int) -> bool:
        """End a child; returns whether it had ended by itself."""
        if self._wait_for(pid, BY_ITSELF):
            return True
        system.kill_group(pid)
        self._wait_for(pid, REAP_MOST)
        return False

    def _wait_for(self, pid: int, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while True:
            self._look()
            if pid in self._ended or pid not in self._children:
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._wakes.poll(left * 1000)
            self._drain()

    def _forget(self, pid: int) -> tuple[int, bytes]:
        """Reap it; returns its wait status and its last words."""
        status, words = self._ended.pop(pid, None), b""
        if status is None:
            try:
                status = os.waitpid(pid, os.WNOHANG)[1]
            except ChildProcessError:
                status = 0
        self._retired.pop(pid, None)
        paper = self._children.pop(pid, None)
        if paper is not None:
            words = os.pread(paper, WORDS_MOST, 0)
            os.close(paper)
        return status, words

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 4096):
                pass


def _only_wake(_number: int, _frame: object) -> None:
    """Signals wake the loop; it looks for itself what has happened."""


def _paper() -> int:
    if hasattr(os, "memfd_create"):
        paper = os.memfd_create("last-words")
    else:
        with tempfile.TemporaryFile() as file:
            paper = os.dup(file.fileno())
    import fcntl  # noqa: PLC0415 - Unix only

    fcntl.fcntl(paper, fcntl.F_SETFL, os.O_APPEND)  # the child's and ours share one position
    return paper


def _tell() -> None:
    with contextlib.suppress(OSError):
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
