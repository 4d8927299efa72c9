"""The worker: one process that reserves jobs for its types and runs them in its slots.

Four duties, each with a thread of its own, so that none waits for another:

* the coordinator (the thread that called ``run``) exchanges *turns* with the server: it settles what ended and reserves
  for the free slots in one round trip. It never reserves more than it can begin at once: what is not reserved is still in
  the common order, and holds no seat
* the slots run handlers (``slots.py``)
* the renewing thread keeps leases and looks after others (``leases.py``)
* the ear waits on this worker's bell. An idle worker sends nothing but a look every five seconds

The coordinator's life reads: register, then again and again ``gather`` (wait for an end, a bell, a signal), ``turn``,
``begin``; at last ``leave``. The server away: it waits with growing pauses, says so once, and goes on.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final, TypeVar

from seatline.shared.calls import workers as verbs
from seatline.shared.calls.base import Call, Word
from seatline.shared.calls.workers import REPORTS_MOST, Kept, Report, Taken
from seatline.shared.config import Settings
from seatline.shared.errors import InvalidInput, OutcomeUnknown, ServerError, ServerRefused
from seatline.shared.store import Patience, Store
from seatline.shared.store.lane import client_id
from seatline.worker.context import Context, Hold
from seatline.worker.ear import Ear
from seatline.worker.execute import execute
from seatline.worker.handlers import Handlers
from seatline.worker.leases import Leases, presence_ms
from seatline.worker.slots import Slots

__all__ = ["RunSummary", "Worker"]

T = TypeVar("T")
log = logging.getLogger("seatline.worker")

#: An idle worker looks by itself this often (seconds), should a bell have been lost.
LOOK: Final = 5.0
SLOTS_MOST: Final = 256
_BELL: Final = "bell"
_STOP: Final = "stop"


@dataclass(slots=True)
class RunSummary:
    """What a run did: jobs by outcome, and those handed back at its end."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    stale: int = 0
    handed_back: int = 0
    interrupted: int = 0

    @property
    def done(self) -> int:
        """Jobs that ended here."""
        return self.succeeded + self.failed + self.cancelled

    def count(self, outcome: str, state: str) -> None:
        """Add one settled report."""
        if state == "stale":
            self.stale += 1
        elif outcome in {"returned", "abandoned"}:
            self.handed_back += state == "ready"
            self.interrupted += state == "interrupted"
        else:
            setattr(self, state, getattr(self, state) + 1)


class Worker:
    """Reserve and run jobs; :meth:`run` blocks until it is told to stop.

    Args:
        handlers: what it can run.
        url: as for :class:`seatline.producer.Queue`.
        namespace: a name; else ``SEATLINE_NAMESPACE``, else ``default``.
        slots: jobs that run at the same time, 1 to 256.
        types: only the types that match one of these patterns (C14).
        kept: retention of finished jobs: 7 days, 100,000 of each state.
        settings: further :class:`~seatline.shared.config.Settings`, in seconds: ``lease`` 30, ``renew`` a third of that,
            ``grace`` 30 (how long running jobs may go on after a stop), ``timeout``, ``connect_timeout``, ``deadline``.

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
        **settings: float | None,
    ) -> None:
        if type(slots) is not int or not 1 <= slots <= SLOTS_MOST:
            raise InvalidInput(f"slots: {slots!r} is not a whole number from 1 to {SLOTS_MOST}.")
        if isinstance(types, str):
            raise InvalidInput(f"types: {types!r} is one text. Give a list of patterns, such as [{types!r}].")
        self.handlers = handlers.narrowed(types) if types else handlers
        if not self.handlers:
            raise InvalidInput("handlers: there are none; declare some with @handlers.handler(type).")
        self.settings = Settings.load(url=url, namespace=namespace, **settings)
        self.slots, self.kept = slots, kept or Kept()
        self.id = client_id()
        self.summary = RunSummary()
        self.store = Store(self.settings, role="worker")
        self._digest = self.handlers.digest()
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._reports: list[Report] = []
        self._stopping: float | None = None
        self._listed = False
        self._offer_known = False
        self._burst = False
        self._wait = 0.0
        self._leases = Leases(self.store, self.id, self._digest, self.kept, self._presence, self._forget_offer)
        self._ear: Ear | None = None

    # -- the main act

    def run(self, *, burst: bool = False) -> RunSummary:
        """Work until :meth:`stop`, SIGTERM or SIGINT; with ``burst``, until nothing is left that it could start.

        A stop lets running jobs end; after ``grace`` the others are handed back without costing an attempt, or are
        interrupted, as their type's ``if_lost`` says (C13). A second signal does that at once.

        Raises:
            ServerRefused, InvalidInput, HandlerDiffers: it cannot begin.
            ServerError: it was told to stop while the server was away; its leases run out by themselves.

        """
        self._burst = burst
        slots = Slots(self.slots, self._events.put, f"seatline-{self.id}")
        with self._signals():
            self._register()
            self._leases.start()
            self._ear = None if burst else Ear(self.store, lambda: self._events.put(_BELL))
            try:
                while True:
                    self._turn(slots)
                    if self._finished():
                        break
                    self._gather()
                self._leave()
            finally:
                slots.close()
                self._leases.stop()
                if self._ear:
                    self._ear.close()
                self.store.close()
        return self.summary

    def stop(self, *, now: bool = False) -> None:
        """Ask the run to end; from any thread or signal handler. ``now``, or a second call, hands back at once."""
        grace = 0.0 if now or self._stopping is not None else self.settings.grace
        self._stopping = time.monotonic() + grace
        self._events.put(_STOP)

    # -- steps

    def _register(self) -> None:
        fields: dict[str, Word] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "slots": self.slots,
            "started": int(time.time() * 1000),
            "version": version("seatline"),
            "python": ".".join(map(str, sys.version_info[:3])),
            "state": "awake",
        }
        call = verbs.offer(self.id, self._digest, presence_ms(self.settings), fields, self.handlers.declared())
        self._insist(call)
        if not self._offer_known:
            log.info(
                "worker %s: %d slots for %s at %s",
                self.id,
                self.slots,
                ", ".join(self.handlers.types),
                self.store.place,
            )
        self._offer_known = True

    def _turn(self, slots: Slots) -> None:
        """Settle and reserve, until all reports are told and the free slots are filled or nothing is left."""
        while True:
            if not self._offer_known:
                self._register()
            self._overdue()
            held = self._leases.held
            reports, self._reports = self._reports[:REPORTS_MOST], self._reports[REPORTS_MOST:]
            running = len(held) - len(reports)
            want = 0 if self._stopping is not None else min(self.slots - running, REPORTS_MOST)
            if not reports and not want:
                return
            listens = self._ear is not None and want > 0
            call = verbs.turn(
                worker=self.id,
                digest=self._digest,
                lease_ms=int(self.settings.lease * 1000),
                want=want,
                bell=self._ear.name if self._ear and listens else "",
                block_ms=int(LOOK * 1000),
                listed=self._listed,
                kept=self.kept,
                reports=reports,
            )
            try:
                told = self._insist(call)
            except (ServerError, OutcomeUnknown):
                self._reports = reports + self._reports
                raise
            if told.no_offer:
                self._reports, self._offer_known, self._listed = reports + self._reports, False, False
                continue
            self._listed = listens
            self._settled(reports, told.states)
            for taken in told.jobs:
                self._begin(slots, taken)
            self._wait = LOOK * random.uniform(0.9, 1.0) if told.due < 0 else told.due / 1000 + 0.001  # noqa: S311
            if not self._reports:
                return

    def _begin(self, slots: Slots, taken: Taken) -> None:
        flat = taken.flat
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        hold = self._leases.held[taken.id] = Hold(taken.id, taken.token)
        ctx = Context(hold, fields[b"type"].decode(), taken.attempt, flat)
        handler = self.handlers[ctx.type]
        log.debug("job %s %s: attempt %d begins", ctx.id, ctx.type, ctx.attempt)
        slots.give(lambda: execute(handler, ctx, fields))

    def _settled(self, reports: Sequence[Report], states: Sequence[str]) -> None:
        for report, state in zip(reports, states, strict=True):
            self._leases.held.pop(report.id, None)
            self.summary.count(report.outcome, state)
            if state == "stale":
                log.warning(
                    "job %d: its lease was taken back; the report (%s) changed nothing", int(report.id), report.outcome
                )
            elif state in {"failed", "interrupted"}:
                log.warning("job %d %s%s", int(report.id), state, _why(report))
            else:
                log.debug("job %s %s", report.id, state)

    def _gather(self) -> None:
        """Wait for something to do, then take all there is."""
        if self._reports:
            return
        free = self.slots - len(self._leases.held)
        timeout: float | None = self._wait if free > 0 and self._stopping is None else None
        if self._burst and not self._leases.held:
            return
        if self._stopping is not None:
            timeout = max(0.0, self._stopping - time.monotonic())
        try:
            self._take(self._events.get(timeout=timeout))
            while True:
                self._take(self._events.get_nowait())
        except Empty:
            return

    def _take(self, event: Any) -> None:
        if isinstance(event, Report) and event.id in self._leases.held:
            self._reports.append(event if event.outcome != "abandoned" else self._abandoned(event.id, event.token))

    def _abandoned(self, job_id: str, token: str) -> Report:
        """Report a job that did not end here; what is said is kept only if it becomes interrupted (T4: where)."""
        left = f"its worker {self.id} ({socket.gethostname()}, pid {os.getpid()}) stopped before it had ended"
        return Report(job_id, token, "abandoned", ["error", left])

    def _overdue(self) -> None:
        """After the grace period, hand back what still runs."""
        if self._stopping is None or time.monotonic() < self._stopping:
            return
        told = {report.id for report in self._reports}
        for hold in list(self._leases.held.values()):
            hold.cancel = True  # a thread cannot be stopped: it is told, and its report no longer counts
            if hold.id not in told:
                self._reports.append(self._abandoned(hold.id, hold.token))

    def _finished(self) -> bool:
        if self._reports or self._leases.held:
            return False
        return self._stopping is not None or self._burst

    def _leave(self) -> None:
        bell = self._ear.name if self._ear else ""
        self.store.run(verbs.leave(self.id, self._digest, bell))
        summary = self.summary
        back = summary.handed_back + summary.interrupted
        log.info("worker %s leaves: %d jobs done, %d handed back", self.id, summary.done, back)

    # -- patience

    def _insist(self, call: Call[T]) -> T:
        """Send until the server answers: a worker outlives its server. What no waiting mends is raised."""
        patience = Patience(
            None,
            enough=lambda: self._stopping is not None and time.monotonic() > self._stopping,
            waits=lambda why: log.warning("%s This worker waits and goes on by itself.", why),
            again=lambda: log.warning("the server is back; going on"),
        )
        pause, said = 0.1, False
        while True:
            try:
                return self.store.run(call, patience)
            except (ServerRefused, OutcomeUnknown):
                raise
            except ServerError as error:
                if patience.enough():
                    raise
                if not said:
                    log.warning("%s This worker waits and goes on by itself.", error)
                said, pause = True, min(10.0, pause * 2)
                self._pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    def _pause(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        waiter = threading.Event()
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._stopping is None:
            waiter.wait(0.1)

    def _presence(self) -> dict[str, Word]:
        return {
            "busy": len(self._leases.held),
            "done": self.summary.done,
            "failed": self.summary.failed,
            "state": "awake" if self._stopping is None else "stopping",
        }

    def _forget_offer(self) -> None:
        self._offer_known = False
        self._events.put(_BELL)

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT while running, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def told(number: int, _: FrameType | None) -> None:
            again = self._stopping is not None
            word = "handing back what runs" if again else f"letting {len(self._leases.held)} running jobs end"
            log.warning("%s: %s", signal.Signals(number).name, word)
            self.stop()

        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _why(report: Report) -> str:
    if report.error:
        kind, message = report.error
        return f": {kind}: {message.splitlines()[0]}"
    return ""
