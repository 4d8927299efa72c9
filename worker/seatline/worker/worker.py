"""The worker: one process that reserves jobs for its types and runs them in its slots.

Who does what, each with threads of its own, so that none waits for another:

* the cycle says what comes when (``cycle.py``), in the thread that called ``run``
* the crew runs handlers (``crew.py``): slots, children, an event loop; whoever ends a job takes the next *turn* with the
  server (``turns.py``)
* the renewing thread keeps leases and looks after others; its guard fences, and is the watchdog (``leases.py``)
* the ear waits on this worker's bell (``ear.py``)
* the clock fires schedules that a turn or renewal names as due (``clock.py``)
* notes carry progress and log lines (``notes.py``), timers watch time-outs (``timers.py``)

Everything that happens is told to one place (``events.py``).
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from seatline.shared.calls.base import Word
from seatline.shared.calls.workers import Kept
from seatline.shared.config import Settings
from seatline.shared.errors import InvalidInput, WorkerStuck
from seatline.shared.store import Store
from seatline.shared.store.lane import client_id
from seatline.shared.streams import drop_unwritten_errors, fill_standard_streams
from seatline.worker.clock import Clock
from seatline.worker.crew import Crew
from seatline.worker.cycle import Classic, Normal
from seatline.worker.ear import Ear
from seatline.worker.events import Events, Sink
from seatline.worker.expansion import Expander
from seatline.worker.handlers import Handlers
from seatline.worker.hooks import Hooks
from seatline.worker.leases import Leases
from seatline.worker.notes import Notes
from seatline.worker.restarts import Restarts
from seatline.worker.turns import RunSummary, Turns

__all__ = ["RunSummary", "Worker"]

log = logging.getLogger("seatline.worker")

SLOTS_MOST: Final = 256
JOBS_MOST: Final = 1_000_000
MEMORY_LEAST: Final = 16


class Worker:
    """Reserve and run jobs; :meth:`run` blocks until it is told to stop.

    Args:
        handlers: what it can run.
        url: as for :class:`seatline.producer.Queue`.
        namespace: a name; else ``SEATLINE_NAMESPACE``, else ``default``.
        slots: jobs that run at the same time, 1 to 256.
        types: only the types that match one of these patterns (C14).
        kept: retention of finished jobs: 7 days, 100,000 of each state.
        classic: reproduce the original Job Processor: one slot, woken by the clock, logged out while it sleeps (C1 to C9).
        child_jobs: a child process is replaced after so many jobs, 1 to a million.
        child_memory: a child is replaced after a job when it holds more than so many MiB, 16 or more; None: never.
        user, password_file: as for :class:`seatline.producer.Queue`.
        sink: called with every transition, ``sink(event, fields)``, from the thread in which it happens.
        settings: further :class:`~seatline.shared.config.Settings`, in seconds: ``lease`` 30, ``renew`` a third of that,
            ``grace`` 30 (how long running jobs may go on after a stop), ``wake_interval`` 600 (classic), ``watchdog`` 0
            (never; else two renewals or more), ``refused`` 30, ``kill_after`` 3, ``cancel_after`` 10, ``timeout``,
            ``connect_timeout``, ``deadline``; ``allow_eviction`` False (use a server all the same that deletes keys when it is
            full).

    """

    def __init__(
        self,
        handlers: Handlers,
        url: str | None = None,
        *,
        namespace: str | None = None,
        slots: int = 1,
        types: Sequence[str] | None = None,
        kept: Kept | None = None,
        classic: bool = False,
        child_jobs: int = 1_000,
        child_memory: int | None = None,
        sink: Sink | None = None,
        user: str | None = None,
        password_file: str | None = None,
        **settings: float | None,
    ) -> None:
        if type(slots) is not int or not 1 <= slots <= SLOTS_MOST:
            raise InvalidInput(f"slots: {slots!r} is not a whole number from 1 to {SLOTS_MOST}.")
        if classic and slots != 1:
            raise InvalidInput(f"slots: a classic worker has 1, not {slots}. Start several, or leave classic out.")
        if type(child_jobs) is not int or not 1 <= child_jobs <= JOBS_MOST:
            raise InvalidInput(f"child_jobs: {child_jobs!r} is not a whole number from 1 to {JOBS_MOST:,}.")
        if child_memory is not None and (type(child_memory) is not int or child_memory < MEMORY_LEAST):
            raise InvalidInput(f"child_memory: {child_memory!r} is not a whole number of MiB, {MEMORY_LEAST} or more.")
        if isinstance(types, str):
            raise InvalidInput(f"types: {types!r} is one text. Give a list of patterns, such as [{types!r}].")
        self.handlers = handlers.narrowed(types) if types else handlers
        if not self.handlers:
            raise InvalidInput("handlers: there are none; declare some with @handlers.handler(type).")
        self.handlers.check_logins()
        self.settings = Settings.load(url=url, user=user, password_file=password_file, namespace=namespace, **settings)
        watchdog, renew = self.settings.watchdog, self.settings.renew
        if 0 < watchdog < 2 * renew:
            raise InvalidInput(
                f"watchdog: {watchdog:g} s is too short: a worker with nothing to do calls every {renew:g} s only (renew). "
                f"Use {2 * renew:g} s or more, or 0 for never."
            )
        self.slots, self.classic, kept = slots, classic, kept or Kept()
        self.id = _identity()
        self.store = Store(self.settings, role="worker")
        self._events = Events(self.id, sink)
        self._notes = Notes(self.store, f"seatline-{self.id}-notes")
        self._turns = Turns(self.store, self.id, self.handlers, slots, kept, self._notes, self._events)
        self._clock = Clock(self.store, self.id, self._events, lambda: self._turns.stopping is not None)
        self._clock.at_once = classic
        self._turns.planned = self._clock.tell
        self._restarts = Restarts(self.store, self.id, self._events)
        self._leases = Leases(
            self.store,
            self.id,
            self._turns.digest,
            kept,
            self._turns.held,
            presence=self._presence,
            forgotten=self._offer_lost,
            asked=self._asked,
            stuck=self._stuck,
            planned=self._renewed,
        )
        self._crew = Crew(
            self.id,
            self.handlers,
            self._turns,
            self._notes,
            self._events,
            self.settings,
            Expander(self.store),
            slots=slots,
            child_jobs=child_jobs,
            child_memory=child_memory and child_memory * 2**20,
            one_by_one=classic,
        )
        self._hooks = Hooks(self.id, self.settings, self.handlers, self._events, lambda: self.store.url)
        self._cycle: Normal | Classic = (
            Classic(self._crew, self._hooks, self._events, self.settings, self._leases, self.store)
            if classic
            else Normal(self._crew, self._hooks, self._events, self._leases)
        )
        self._ear: Ear | None = None
        self._ended_by: WorkerStuck | None = None

    @property
    def summary(self) -> RunSummary:
        """What the run has done so far."""
        return self._turns.summary

    # -- the main act

    def run(self, *, burst: bool = False) -> RunSummary:
        """Work until :meth:`stop`, SIGTERM or SIGINT; with ``burst``, until nothing is left that it could start.

        A stop lets running jobs end; after ``grace`` the others are handed back without costing an attempt, or are
        interrupted, as their type's ``if_lost`` says (C13). A second signal does that at once.

        Raises:
            ServerRefused, InvalidInput, HandlerDiffers: it cannot begin (or, later, the server refuses more than a login).
            ServerError: it was told to stop while the server was away; its leases run out by themselves.
            WorkerStuck: the watchdog ended it.
            SeatlineError: it can make no child processes any more; what it held was handed back.

        """
        self._events.begin()
        fill_standard_streams()
        self._clock.at_once = burst or self.classic
        self._crew.fork()  # first of all: children must share no thread and no connection with this process
        with self._signals():
            try:
                self._begin(burst=burst)
                self._cycle.run(burst=burst)
                if self._crew.broken:
                    raise self._crew.broken
            except Exception as error:
                if self._ended_by is not None and error is not self._ended_by:
                    raise self._ended_by from error
                raise
            finally:
                self._end()
        return self.summary

    def stop(self, *, now: bool = False) -> None:
        """Ask the run to end; from any thread or signal handler. ``now``, or a second call: without grace."""
        again = self._turns.stopping is not None
        self._turns.stopping = time.monotonic() + (0.0 if now or again else self.settings.grace)
        self._crew.woken.put(None)

    def pause(self) -> None:
        """Take no new jobs until :meth:`resume`; what runs goes on. `seatline workers pause ID` does it from elsewhere."""
        if not self._turns.paused:
            self._turns.paused = True
            self._events.tell("paused")
            self._crew.woken.put(None)

    def resume(self) -> None:
        """Take jobs again."""
        if self._turns.paused:
            self._turns.paused = False
            self._events.tell("resumed")
            self._crew.woken.put(None)

    # -- steps

    def _begin(self, *, burst: bool) -> None:
        types = ", ".join(self.handlers.types)
        kind = f"{self.slots} slot{'s' if self.slots > 1 else ''}{', classic,' if self.classic else ''}"
        said = f"worker {self.id}: {kind} for {types} at {self.store.place}"
        self._events.tell("startup", said, slots=self.slots, types=self.handlers.types, classic=self.classic)
        self._hooks.run("on_startup")
        if not self.classic:
            if not burst:
                self._ear = Ear(self.store, lambda: self._crew.woken.put(None), self._leases.look)
                ear = self._ear
                self._turns.bell = lambda: ear.name
            self._leases.start()  # before the login, which waits for a server that is away: the watchdog must not
        self._crew.start()

    def _end(self) -> None:
        self._events.tell_now()
        self._leases.stop()
        self._crew.close()
        self._clock.close()
        self._restarts.close()
        if self._ear:
            self._ear.close()
        self._notes.close()
        self._hooks.run("on_shutdown")
        self.store.close()
        self._events.tell_now()
        done, back, interrupted = self.summary.done, self.summary.handed_back, self.summary.interrupted
        said = f"worker {self.id} leaves: {done} job{'s' if done != 1 else ''} done"
        said += f", {back} handed back" if back or not interrupted else ""
        said += f", {interrupted} interrupted" if interrupted else ""
        self._events.tell("shutdown", said, done=done, handed_back=back, interrupted=interrupted)
        drop_unwritten_errors()

    # -- what others ask and say

    @property
    def state(self) -> str:
        """What it says of itself: awake, paused or stopping."""
        if self._turns.stopping is not None:
            return "stopping"
        return "paused" if self._turns.paused else "awake"

    def _presence(self) -> dict[str, Word]:
        return {
            "busy": len(self._turns.held),
            "overdue": self._crew.overdue,
            "done": self.summary.done,
            "failed": self.summary.failed,
            "cycles": self._cycle.cycles,
            "memory": memory(),
            "last_error": self._turns.last_error,
            "bell": self._turns.bell(),
            "state": self.state,
        }

    def _renewed(self, planned: Sequence[str]) -> None:
        """Hear what is due; and see whether the server has been restarted."""
        self._clock.tell(planned)
        self._restarts.look()

    def _offer_lost(self) -> None:
        self._turns.forget_offer()
        self._crew.woken.put(None)

    def _asked(self, word: str) -> None:
        """Do what was asked of this worker from elsewhere (`seatline workers ...`)."""
        if word == "pause":
            self.pause()
        elif word == "":
            self.resume()
        elif self._turns.stopping is None or word == "stop-now":
            self._events.tell("stopping", "asked to stop" + (" now" if word == "stop-now" else ""))
            self.stop(now=word == "stop-now")

    def _stuck(self, seconds: float) -> None:
        """The watchdog: a supervisor shall start this worker anew."""
        self._ended_by = WorkerStuck(
            f"no call of this worker has succeeded for {seconds:.0f} s (watchdog {self.settings.watchdog:g} s): it ends. "
            f"Is {self.store.place} reachable? What it holds runs again when its leases have run out."
        )
        self._turns.stopping = time.monotonic() - 1.0
        self._crew.woken.put(self._ended_by)

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT while running, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def told(number: int, _: FrameType | None) -> None:
            again = self._turns.stopping is not None
            word = f"letting {len(self._turns.held)} running jobs end"
            if again:
                word = "at once; what runs goes back to its place, or is interrupted, as its if_lost says"
            self._events.tell_soon("stopping", f"{signal.Signals(number).name}: {word}", signal=number)
            self.stop()

        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def memory() -> int:
    """Return the memory this process holds (bytes), or 0 where that is not told."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read at every renewal
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _identity() -> str:
    """Name this worker: where it runs, and something that no other process has (Q13)."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).strip(".-")[:40] or "host"
    return f"{host}.{os.getpid()}.{client_id()[:6]}"
