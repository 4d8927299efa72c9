"""Turns: a worker's exchange with the server, one at a time, by whichever thread has something to tell.

One turn settles what ended and reserves for the free slots, in one round trip. It never reserves more than can begin at
once: what is not reserved is still in the common order, and holds no seat. The thread whose job has just ended takes the
turn itself if nobody else is taking one (``try_take``), and so settles its own job and gets the next without waking
another thread; reports that come meanwhile go with the next turn. All turns share one link and one lane.

The server away: a turn is sent again, under its number, until it is answered; said once. Told to stop, it gives up when
the grace period is over; then the leases run out by themselves. An answer that took longer than half a lease tells old
news: what it brings is renewed before it begins.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, TypeVar

from seatline.shared.calls import pools
from seatline.shared.calls import workers as verbs
from seatline.shared.calls.base import Call, Word
from seatline.shared.calls.workers import REPORTS_MOST, Kept, Report, Taken
from seatline.shared.errors import (
    LoginRefused,
    NoSuchPool,
    OutcomeUnknown,
    SeatlineError,
    ServerError,
    ServerRefused,
)
from seatline.shared.store import Patience, Store, Wire
from seatline.worker.context import Hold
from seatline.worker.events import Events
from seatline.worker.handlers import Handlers
from seatline.worker.leases import presence_ms
from seatline.worker.notes import Notes

__all__ = ["LOOK", "RunSummary", "Turns"]

T = TypeVar("T")
log = logging.getLogger("seatline.worker")

#: An idle worker looks by itself this often (seconds), should a bell have been lost.
LOOK: Final = 5.0
#: Jitter, no secret. Not the stream that everybody shares: a handler that seeds that one gets what it expects.
CHANCE: Final = random.Random()  # noqa: S311
#: Jobs that the reports of one turn enqueue.
JOBS_MOST: Final = 1_000
#: A pool that is refused again and again counts as full for no longer than this (seconds, C16).
REFUSED_MOST: Final = 300.0


@dataclass(slots=True)
class RunSummary:
    """What a run did: jobs by outcome, and those handed back at its end."""

    succeeded: int = 0
    skipped: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    stale: int = 0
    handed_back: int = 0
    interrupted: int = 0

    @property
    def done(self) -> int:
        """Jobs that ended here."""
        return self.succeeded + self.skipped + self.failed + self.cancelled

    def count(self, outcome: str, state: str, *, back: bool = False) -> None:
        """Add one settled report; ``back``: of a job that goes back to its place because its worker stops."""
        if state == "stale":
            self.stale += 1
        elif outcome == "retry" and state in {"scheduled", "ready"}:
            self.retried += 1
        elif state == "ready":
            self.handed_back += back or outcome == "abandoned"
        else:
            setattr(self, state, getattr(self, state) + 1)


class Turns:
    """Settles and reserves for one worker.

    Attributes:
        held: the jobs it holds, by (id, token): one that was lost and came back stands twice while its first attempt
            still runs. Shared with the renewing thread.
        look_at: when to look again if nothing rings (monotonic seconds).
        stopping: when patience ends (monotonic seconds), or None while nobody has said stop.
        again: the last turn did not see all that it might have: look again at once, in a burst too.
        paused: takes no new jobs until it is resumed.
        replaced: held jobs whose slot has been given to others: their handlers ignore their timeout.
        last_error: (id, type of error, first line) of the job that failed last.
        planned: told what schedules and windows are due; returns whether that has enqueued jobs by now.

    """

    def __init__(
        self, store: Store, worker: str, handlers: Handlers, slots: int, kept: Kept, notes: Notes, events: Events
    ) -> None:
        self._store, self._worker, self._handlers, self._slots, self._kept = store, worker, handlers, slots, kept
        self._notes, self._events = notes, events
        self.digest = handlers.digest()
        self.held: dict[tuple[str, str], Hold] = {}
        self.summary = RunSummary()
        self.look_at = 0.0
        self.stopping: float | None = None
        self.again = self.paused = False
        self.replaced: set[tuple[str, str]] = set()
        self.last_error = ""
        self.bell: Callable[[], str] = lambda: ""
        self.planned: Callable[[Sequence[str]], bool] = lambda _: False
        self._reports: deque[Report] = deque()
        self._wire, self._other = store.wire(), store.wire()
        self._lock = threading.Lock()
        self._listed = self._known = False

    # -- what others say

    def tell(self, report: Report) -> None:
        """Add a report for the next turn, unless one of this attempt was told already (it was handed back)."""
        hold = self.held.get((report.id, report.token))
        if hold and not hold.reported:
            hold.reported = True
            self._reports.append(self._left(report) if report.outcome == "abandoned" else report)

    @property
    def pending(self) -> bool:
        """Whether reports wait to be told."""
        return bool(self._reports)

    def forget_offer(self) -> None:
        """Register again before the next turn: the server has lost what this worker offers."""
        self._known = False

    def overdue(self) -> bool:
        """Whether it was told to stop and the grace period is over."""
        return self.stopping is not None and time.monotonic() > self.stopping

    def _enough(self) -> bool:
        """Whether to give up on a server that is away: told to stop, and out of time or with nothing left to tell."""
        self._events.tell_now()  # who says stop while it is away hears that this was heard
        return self.overdue() or (self.stopping is not None and not self.held)

    def abandon(self, *, also_stopped: bool) -> None:
        """Hand back all that still runs, with the next turn.

        A thread cannot be stopped: it is told, and its report no longer counts. What can be stopped (a child, a task) is,
        and reports by itself, so that it never runs twice; ``also_stopped``: hand it back nevertheless.
        """
        with self._lock:
            for hold in list(self.held.values()):
                if not hold.left:
                    hold.say("left")
                if also_stopped or hold.stop is None:
                    self.tell(Report(hold.id, hold.token, "abandoned" if hold.begun else "returned"))

    def give_back(self, jobs: Sequence[Taken]) -> None:
        """Give back, with the next turn, what was taken and not begun: uncounted, to its place."""
        for taken in jobs:
            self.tell(Report(taken.id, taken.token, "returned"))

    # -- exchanges

    def register(self) -> None:
        """Tell what this worker supports.

        Raises:
            HandlerDiffers: a live worker declares a type otherwise.

        """
        fields: dict[str, Word] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "slots": self._slots,
            "started": int(time.time() * 1000),
            "version": version("seatline"),
            "python": ".".join(map(str, sys.version_info[:3])),
            "state": "awake",
            "bell": self.bell(),
        }
        presence = presence_ms(self._store.settings)
        self._insist(verbs.offer(self._worker, self.digest, presence, fields, self._handlers.declared()))
        self._known = True

    def log_in(self) -> None:
        """Make the first contact, or the first after a sleep, and tell what this worker supports."""
        with self._lock:
            self.register()

    def take(self, most: int = REPORTS_MOST) -> list[Taken]:
        """Take a turn, waiting for one that another thread is taking; returns the jobs to begin, at most ``most``."""
        with self._lock:
            return self._exchange(most)

    def rest(self, seconds: float, until: str) -> None:
        """Log out until then, for a worker that sleeps: it still counts as live (C2); the connection is closed."""
        presence = presence_ms(self._store.settings)
        fields: dict[str, Word] = {"state": f"sleeping until {until}", "busy": 0}
        self._insist(verbs.sleep(self._worker, self.digest, int(seconds * 1000), presence, fields))
        self._known, self._listed = False, True

    def try_take(self) -> list[Taken] | None:
        """Take a turn unless another thread is taking one (None): that one looks for new reports when it has ended."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._exchange()
        finally:
            self._lock.release()

    def leave(self) -> None:
        """Say goodbye; unsaid, its presence runs out by itself."""
        try:
            self._store.run(verbs.leave(self._worker, self.digest, self.bell()), wire=self._wire)
        except SeatlineError as error:
            log.warning("the server did not hear the goodbye: %s", error)

    def _exchange(self, most: int = REPORTS_MOST) -> list[Taken]:
        while True:
            if not self._known:
                self.register()
            reports = self._reports_now()
            free = self._slots - len(self.held) + len(reports) + len(self.replaced)
            want = 0 if self.paused or self.stopping is not None else max(0, min(free, most))
            if not reports and not want and not self._listed:
                self.look_at = time.monotonic() + LOOK
                return []
            bell = self.bell() if want else ""
            call = verbs.turn(
                worker=self._worker,
                digest=self.digest,
                lease_ms=int(self._store.settings.lease * 1000),
                want=want,
                bell=bell,
                block_ms=int(LOOK * 1000),
                listed=self._listed,
                kept=self._kept,
                reports=reports,
            )
            asked = time.monotonic()
            try:
                told = self._insist(call)
            except OutcomeUnknown as unknown:
                # The server lost our lane. Tell all again: of what it still knows to be settled it says 'stale'.
                self._reports.extendleft(reversed(reports))
                if self.overdue():
                    raise
                log.warning("%s Whatever was reserved by it runs after its lease.", unknown)
                continue
            except ServerError:
                self._reports.extendleft(reversed(reports))
                raise
            if told.no_offer:
                self._reports.extendleft(reversed(reports))
                self._known = self._listed = False
                continue
            self._listed, self.again = bool(bell), told.due == 0
            for report, state in zip(reports, told.states, strict=True):
                self._settled(report, state)
            late = time.monotonic() - asked > self._store.settings.lease / 2
            jobs = self._still_ours(told.jobs) if late and told.jobs else list(told.jobs)
            for taken in jobs:
                self.held[taken.id, taken.token] = Hold(taken.id, taken.token, self._worker)
            pause = LOOK * CHANCE.uniform(0.9, 1.0) if told.due < 0 else told.due / 1000 + 0.001
            self.look_at = time.monotonic() + pause
            if told.planned and self.planned(told.planned) and not jobs:
                continue
            return jobs

    def _reports_now(self) -> list[Report]:
        """Take the reports of one turn; first what else they have to tell."""
        waiting, reports, jobs = self._reports, list[Report](), 0
        for _ in range(min(len(waiting), REPORTS_MOST)):
            report = waiting.popleft()
            if report.jobs or report.refused:
                jobs += len(report.jobs)
                if reports and jobs > JOBS_MOST:
                    waiting.appendleft(report)
                    break
                try:
                    if report.refused:
                        self._refused(report)
                except SeatlineError:
                    waiting.extendleft([report, *reversed(reports)])
                    raise
            reports.append(report)
        if self._notes.used:
            self._notes.flush((report.id, report.token) for report in reports)
        return reports

    def _refused(self, report: Report) -> None:
        """The real licence server refused: tell before the job goes back to its place, lest it be taken again at once."""
        (pool,), settings = report.refused, self._store.settings
        least, most = int(settings.refused * 1000), int(max(settings.refused, REFUSED_MOST) * 1000)
        try:
            self._insist(pools.refused_pool(pool, least, most, self._worker), self._other)
            self._events.tell("refused", f"job {int(report.id)}: no seat of {pool}", job=report.id, pool=pool)
        except NoSuchPool:
            log.warning("job %d: NoSeat names pool %s, which does not exist", int(report.id), pool)

    def _still_ours(self, jobs: Sequence[Taken]) -> list[Taken]:
        """Renew what a late reply has brought, before it begins: what was lost meanwhile may run elsewhere (Q14, S2).

        Nobody has renewed these jobs yet: the renewing thread knows only what is held.
        """
        settings = self._store.settings
        call = verbs.renew(
            worker=self._worker,
            digest=self.digest,
            lease_ms=int(settings.lease * 1000),
            presence_ms=presence_ms(settings),
            kept=self._kept,
            fields={},
            held=[(taken.id, taken.token) for taken in jobs],
        )
        ours: list[Taken] = []
        for taken, word in zip(jobs, self._insist(call).words, strict=True):
            if word == "lost":
                log.warning("job %d: its lease was taken back before it could begin", int(taken.id))
            else:
                ours.append(taken)
        return ours

    def _settled(self, report: Report, state: str) -> None:
        lease = (report.id, report.token)
        hold = self.held.pop(lease, None)
        if hold:
            hold.told = None  # a thread that does not end has nothing more to tell
        if self.replaced:
            self.replaced.discard(lease)
        if state == "succeeded":
            self.summary.succeeded += 1
            if self._events.detailed:
                self._tell_end(report, state, hold)
            return
        # Also one that a stop has met before its handler was called: it has not ended here.
        self.summary.count(report.outcome, state, back=self.stopping is not None and not report.refused)
        if state == "stale":
            said = f"job {int(report.id)}: its lease was taken back; the report ({report.outcome}) changed nothing"
            self._events.tell("stale", said, **_whose(report, hold), outcome=report.outcome)
        else:
            if report.error:
                self.last_error = f"job {int(report.id)} {report.error[0]}: {report.error[1].splitlines()[0][:200]}"
            self._tell_end(report, state, hold)

    def _tell_end(self, report: Report, state: str, hold: Hold | None) -> None:
        why = f": {report.error[0]}: {report.error[1].splitlines()[0]}" if report.error else ""
        event = state if state in {"failed", "interrupted"} else "settled"
        if report.outcome == "retry" and state in {"scheduled", "ready"}:
            event, why = "retry", f" in {report.result_ms / 1000:g} s{why}"
        said = f"job {int(report.id)} {state}{why}"
        error = {"error": report.error[0]} if report.error else {}
        self._events.tell(event, said, **_whose(report, hold), state=state, **error)

    def _left(self, report: Report) -> Report:
        """Say who left a job; kept only if it becomes interrupted (T4: where)."""
        left = f"its worker {self._worker} ({socket.gethostname()}, pid {os.getpid()}) stopped before it had ended"
        return Report(report.id, report.token, "abandoned", ["error", left])

    # -- patience

    def _insist(self, call: Call[T], wire: Wire | None = None) -> T:
        """Send until the server answers: a worker outlives its server. What no waiting mends is raised."""
        patience = Patience(
            None,
            enough=self._enough,
            waits=lambda why: log.warning("%s This worker waits and goes on by itself.", why),
            again=lambda: log.warning("the server is back; going on"),
        )
        pause, said = 0.1, False
        while True:
            try:
                return self._store.run(call, patience, wire or self._wire)
            except ServerError as error:
                # A password may be put right while this worker runs; when it starts, somebody is there to be told.
                mends = not isinstance(error, ServerRefused) or (isinstance(error, LoginRefused) and self._known)
                if not mends or self._enough():
                    raise
                if not said:
                    log.warning("%s This worker waits and goes on by itself.", error)
                said, pause = True, min(10.0, pause * 2)
                self._pause(pause * CHANCE.uniform(0.5, 1.0))

    def _pause(self, seconds: float) -> None:
        """Sleep, but not beyond the end of patience."""
        waiter = threading.Event()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._enough():
            waiter.wait(0.1)


def _whose(report: Report, hold: Hold | None) -> dict[str, object]:
    """Return the fields that name an attempt."""
    if hold is None or not hold.type:
        return {"job": report.id}
    return {"job": report.id, "type": hold.type, "attempt": hold.attempt}
