"""The life of a child: take a job, run its handler in the main thread, leave no trace of it, report, take the next.

Traces. What runs on after the handler is killed before the report goes out, so that a job that is told to have ended has
(F12). Folder, signals and ``sys.stdout`` are put back. What cannot be put back ends this child after its report, and the
worker gets a new one: closed or replaced standard output, threads that still run (daemons are left alone: libraries have
them), and of course age and size. Module globals and ``os.environ`` live on: that is what a long-lived process is for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from seatline.worker import system
from seatline.worker.children.frames import Frames
from seatline.worker.children.link import WHERE, ChildLink, EndedLink
from seatline.worker.context import Context
from seatline.worker.execute import execute
from seatline.worker.handlers import Handler, Handlers
from seatline.worker.sessions import Login, Session
from seatline.worker.steps import StepHandlers

__all__ = ["Child"]

#: How long (seconds) a child tries to end what a handler has left running.
CLEAR_MOST: Final = 1.0
#: Put back after each job. With SIGCHLD ignored, the next command would "succeed" whatever its exit code. Not all there
#: are: to look at each would cost as much as a job (measured: 55 us).
KEPT: Final = (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGALRM, signal.SIGPIPE, signal.SIGHUP)


class Child:
    """Serve one worker.

    Args:
        frames: the connection to it.
        words: the file for its last words (``nursery.py``).
        handlers: as they were when the nursery was forked.
        worker: its id.
        most_jobs: leave after so many.
        most_memory: leave when resident memory is above so many bytes after a job; None: never.

    """

    def __init__(
        self, frames: Frames, words: int, handlers: Handlers, worker: str, most_jobs: int, most_memory: int | None
    ) -> None:
        self._handlers, self._most_jobs, self._most_memory = handlers, most_jobs, most_memory
        self._link = ChildLink(frames, worker)
        self._words = words
        self._armed: dict[str, Handler] = {}
        self._steps = StepHandlers()
        self._logins = {pool: _interruptible(login, self._link) for pool, login in handlers.logins.items()}
        self._signals: list[tuple[signal.Signals, Any]] = []
        self._done = 0
        self._home = os.getcwd()  # noqa: PTH109 - compared after each job
        self._streams = sys.stdout, sys.stderr
        self._outputs = _outputs()
        self._page = os.sysconf("SC_PAGE_SIZE")

    def serve(self) -> None:
        """Run jobs until there is a reason to leave."""
        link = self._link
        signal.signal(signal.SIGTERM, link.on_sigterm)
        self._signals = [(number, signal.getsignal(number)) for number in KEPT]
        os.register_at_fork(
            before=link.before_fork, after_in_parent=link.after_fork_here, after_in_child=link.after_fork_there
        )
        faulthandler.enable(self._words)
        faulthandler.register(WHERE, self._words, chain=False)
        while (job := link.next_job()) is not None:
            if self._attempt(*job):
                return

    def _attempt(self, id_: str, token: str, attempt: int, type_: str, events: bool, flat: list[bytes]) -> str:
        """Run one job; returns why this child leaves, '' if it stays."""
        link = self._link
        link.begin(id_, token, events=events)
        handler = self._armed.get(type_) or self._arm(type_)
        ctx = Context(link, type_, attempt, flat)
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if b"order" in fields:
            handler = self._steps.of(handler, fields)
        report = execute(handler, self._logins, ctx, fields)
        if link.forked:
            return (
                "a process that the handler forked has come to the handler's end"  # its buffers are copies: not flushed
            )
        ended: Any = ctx
        ended._link = EndedLink(id_, token, link.worker)  # noqa: SLF001 - its worker's side
        self._done += 1
        leaves = self._tidy()
        link.end(
            [
                "done",
                report.outcome,
                report.fields,
                report.result,
                report.result_ms,
                report.error,
                report.jobs,
                report.refused,
                leaves,
            ]
        )
        return leaves

    def _arm(self, type_: str) -> Handler:
        """Return a type's handler so that a soft stop may interrupt it; a command stops its own way (``shell.py``)."""
        handler = self._handlers[type_]
        if handler.isolation != "shell":
            handler = dataclasses.replace(handler, function=_armed(handler.function, self._link))
        self._armed[type_] = handler
        return handler

    # -- leave no trace

    def _tidy(self) -> str:
        """Put back what the handler has changed; returns why this child leaves, if it does."""
        for number, kept in self._signals:
            if signal.getsignal(number) != kept:
                signal.signal(number, kept)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.alarm(0)
        if self._link.told:
            with contextlib.suppress(OSError):
                os.ftruncate(self._words, 0)  # it may have been asked where it is
        leaves = "" if self._cleared() else "something that its handler has left running cannot be ended"
        leaves = self._output_lost() or leaves
        try:
            if os.getcwd() != self._home:  # noqa: PTH109 - as above
                os.chdir(self._home)
        except OSError:
            leaves = self._went_home() or leaves
        if threading.active_count() > 1:
            main = threading.main_thread()
            names = [each.name for each in threading.enumerate() if each is not main and not each.daemon]
            if names:
                self._warn(f"left running: {'thread' if len(names) == 1 else 'threads'} {', '.join(names)[:200]}")
                leaves = "threads were left running"
        return leaves or self._spent()

    def _cleared(self) -> bool:
        """End all processes that were left running; usually there has been none, which takes one system call."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        killed, cleared = system.end_offspring(CLEAR_MOST)
        if killed:
            self._warn(f"left running: {killed} {'process' if killed == 1 else 'processes'}, killed")
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return cleared
        return False

    def _output_lost(self) -> str:
        sys.stdout, sys.stderr = self._streams
        try:
            for stream in self._streams:
                if stream:
                    stream.flush()
        except (OSError, ValueError) as error:
            return f"its standard output cannot be written ({error})"
        return "" if _outputs() == self._outputs else "its standard output was closed or replaced"

    def _went_home(self) -> str:
        """The folder that it stands in is gone; so may be the one that it came from."""
        try:
            os.chdir(self._home)
        except OSError as error:
            return f"its folder is gone ({error})"
        return ""

    def _spent(self) -> str:
        if self._done >= self._most_jobs:
            return f"it has run {self._done} jobs"
        if self._most_memory is not None and (size := self._resident()) > self._most_memory:
            return f"it has grown to {size:,} bytes"
        return ""

    def _resident(self) -> int:
        try:
            with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - after each job
                return int(file.read().split()[1]) * self._page
        except OSError:
            import resource  # noqa: PLC0415 - Unix only, and rarely

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _warn(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._link.note({}, text)


def _outputs() -> list[tuple[int, int] | None]:
    """Tell what the standard outputs are, to see whether they still are it."""
    found: list[tuple[int, int] | None] = []
    for number in (1, 2):
        try:
            stat = os.fstat(number)
            found.append((stat.st_dev, stat.st_ino))
        except OSError:
            found.append(None)
    return found


def _armed(function: Callable[..., Any], link: ChildLink) -> Callable[..., Any]:
    def call(ctx: Context, **params: Any) -> Any:
        link.arm()
        try:
            return function(ctx, **params)
        finally:
            link.disarm()

    return call


def _interruptible(login: Login, link: ChildLink) -> Login:
    """Return a login that a soft stop may interrupt while it logs in, never while it logs out."""

    def call(session: Session) -> Any:
        link.arm()
        try:
            made = login(session)
        finally:
            link.disarm()
        return _Login(made, link) if isinstance(made, AbstractContextManager) else made

    return call


class _Login:
    def __init__(self, manager: AbstractContextManager[Any], link: ChildLink) -> None:
        self._manager, self._link = manager, link

    def __enter__(self) -> Any:
        self._link.arm()
        try:
            return self._manager.__enter__()
        finally:
            self._link.disarm()

    def __exit__(self, *_: object) -> None:
        # The job's own error is not thrown into the login (``sessions.py``).
        self._manager.__exit__(None, None, None)
