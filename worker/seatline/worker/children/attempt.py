"""One attempt in a child, seen from the worker: the thread of a slot waits for its end, any other thread may stop it.

How it is stopped, depending on why:

* somebody cancelled the job: the handler is told and may end in its own way; after ``cancel_after`` seconds as below
* it is late, fenced, or handed back: it is told, and the child gets SIGTERM (``link.py`` says what that does); if it has
  not ended ``kill_after`` seconds later, its whole process group is killed; just before, it is asked where it is
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from dataclasses import dataclass
from typing import Any, Final

from seatline.shared.calls.workers import Report
from seatline.shared.errors import PayloadError
from seatline.worker import system
from seatline.worker.children.frames import DONT_WAIT, Frames, packed
from seatline.worker.children.link import WHERE
from seatline.worker.context import Hold
from seatline.worker.timers import Timer, Timers

__all__ = ["Attempt", "Patience"]

log = logging.getLogger("seatline.worker")

#: So long (seconds) before it is killed, a child is asked where it is.
WHERE_BEFORE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """How long (seconds) a handler may go on after it was cancelled, and a child after SIGTERM."""

    cancel_after: float
    kill_after: float


class Attempt:
    """Run a job in the child ``pid`` behind ``frames``.

    Attributes:
        begun: whether the child had taken the job, as far as can be known.
        leaves: why the child leaves after this job, '' if it stays.

    """

    __slots__ = (
        "_frames",
        "_hold",
        "_lock",
        "_over",
        "_patience",
        "_pid",
        "_said",
        "_sent",
        "_soft",
        "_timer",
        "_timers",
        "begun",
        "leaves",
    )

    def __init__(self, pid: int, frames: Frames, hold: Hold, timers: Timers, patience: Patience) -> None:
        self._pid, self._frames, self._hold = pid, frames, hold
        self._timers, self._patience = timers, patience
        self._lock = threading.Lock()
        self._timer: Timer | None = None
        self._said: list[str] = []
        self._sent = self._over = self._soft = False
        self.begun = False
        self.leaves = ""

    def run(self, job: list[Any]) -> Report | None:
        """Send the job and wait for its end; None if the child has ended under it."""
        hold = self._hold
        hold.stop = self.stop
        try:
            self._frames.send(job)
            self._sent = True
            if hold.over:
                self.stop(hold)
            return self._listen()
        except ConnectionError:
            # It was closed with the job unread; or with our words about its end, which says nothing.
            self.begun = self.begun or bool(self._said)
        except (EOFError, OSError, PayloadError, TypeError, ValueError) as error:  # its end, or nothing that we say
            log.debug("job %s: child %d: %r", hold.id, self._pid, error)
            self.begun = True
        finally:
            hold.stop = None
            with self._lock:
                self._over = True
            if self._timer:
                self._timer.cancel()
        return None

    def _listen(self) -> Report:
        hold, receive = self._hold, self._frames.receive
        while True:
            kind, *words = receive()
            if kind == "done":
                outcome, fields, result, result_ms, error, jobs, refused, self.leaves = words
                error = None if error is None else (error[0], error[1])
                return Report(hold.id, hold.token, outcome, fields, result, result_ms, error, jobs, tuple(refused))
            self.begun = True
            try:
                if kind == "event":
                    hold.event(*words)
                elif kind == "note":
                    fields, lines = words
                    for line in lines[:-1]:
                        hold.note({}, line)
                    hold.note(fields, lines[-1] if lines else "")
            except Exception:
                log.exception("job %s: a note met a bug; the job goes on", hold.id)

    # -- from other threads

    def stop(self, _: Hold) -> None:
        """Have it end, as the hold says why; a second call is for a further reason. Never blocks."""
        with self._lock:
            if self._over:
                return
            hold = self._hold
            hard = hold.late or hold.fenced or hold.left
            said = [why for why in ("cancel", "fenced", "late", "left") if getattr(hold, why)]
            if self._sent and said != self._said:
                self._said = said
                with contextlib.suppress(OSError):  # a child that does not read is stopped without words
                    self._frames.sock.send(packed(["stop", *said]), DONT_WAIT)
                if hard:
                    self._signal(signal.SIGTERM)
            if hard:
                self._soften()
            elif self._timer is None:
                self._timer = self._timers.after(self._patience.cancel_after, self._insist)

    def _insist(self) -> None:
        """It was cancelled a while ago and goes on."""
        with self._lock:
            if not self._over:
                self._signal(signal.SIGTERM)
                self._soften()

    def _soften(self) -> None:
        if not self._soft:
            self._soft = True
            if self._timer:
                self._timer.cancel()
            self._timer = self._timers.after(max(0.0, self._patience.kill_after - WHERE_BEFORE), self._ask_where)

    def _ask_where(self) -> None:
        with self._lock:
            if not self._over:
                self._signal(WHERE)
                self._timer = self._timers.after(WHERE_BEFORE, self._kill)

    def _kill(self) -> None:
        with self._lock:
            if not self._over:
                log.warning("job %d: its child %d is killed: it did not stop", int(self._hold.id), self._pid)
                system.kill_group(self._pid)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self._pid, number)
