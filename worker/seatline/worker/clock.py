"""The clock: fires schedules, moves windows on, lets orders enter, makes jobs of what has happened (T6 to T9, O10, Q20).

There is no scheduler process and no leader. A turn or a renewal names what is due; this reads it, computes by the pure
rules of ``times.py`` what is to be fired and what comes next, and sends that back. The server compares before it writes:
of two workers that were told the same, one fires and the other hears ``past``. What happens at each failure:

* killed before the script: nothing has changed, whoever looks next fires it, late by a look at most
* killed after it: jobs and next moment are written together; nobody fires it again
* it cannot be computed here (an unknown zone, a damaged record): it says so in its ``error``, and is put off for a minute,
  for a worker that can

With events it is the same: a fact waits until a script has accepted its jobs and taken it, which one of two workers does.

A worker that is woken by a bell fires in a thread of this actor's own, so that its jobs do not wait for that; one that
works off a burst, or is classic, fires within its turn, so that what it has fired belongs to what it looks for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

from seatline.producer.triggers import facts_emitted
from seatline.shared.calls import orders
from seatline.shared.calls import schedules as verbs
from seatline.shared.calls.schedules import FIRED_MOST, ScheduleRecord, Shot
from seatline.shared.calls.triggers import EVENT
from seatline.shared.errors import InvalidInput, PayloadError, Refused, SeatlineError
from seatline.shared.store import Patience, Store
from seatline.shared.times import Plan, Window
from seatline.worker.events import Events

__all__ = ["Clock"]

log = logging.getLogger("seatline.worker")

#: Jobs, or orders, in one fire call.
JOBS_MOST: Final = 1_000
#: A window whose zone is not known here is said once; so many are remembered.
SAID_MOST: Final = 1_000
#: What waits for a damaged trigger is looked at so often (seconds).
DAMAGED_WAITS: Final = 10.0


class Clock:
    """Fires what turns and renewals name.

    Attributes:
        at_once: fire within the call that tells, instead of in a thread of its own.

    """

    def __init__(self, store: Store, worker: str, events: Events, enough: Callable[[], bool]) -> None:
        self._store, self._worker, self._events, self._enough = store, worker, events, enough
        self.at_once = False
        self._told: SimpleQueue[Sequence[str] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._said: set[tuple[str, str]] = set()
        self._waits: dict[str, float] = {}

    def tell(self, names: Sequence[str]) -> bool:
        """Hear what is due; returns whether jobs were enqueued, or orders started, by now."""
        if not names:
            return False
        if self.at_once:
            return self._fire_or_leave(names)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"seatline-clock-{self._worker}", daemon=True)
                self._thread.start()
        self._told.put(names)
        return False

    def close(self) -> None:
        """End the thread; what it was told and has not fired, others fire."""
        if self._thread:
            self._told.put(None)
            self._thread.join(timeout=self._store.settings.timeout + 1)

    def _run(self) -> None:
        while (names := self._told.get()) is not None:
            self._fire_or_leave(names)

    def _fire_or_leave(self, names: Sequence[str]) -> bool:
        try:
            return self.fire(names)
        except SeatlineError as error:
            log.debug("cannot fire now: %s", error)  # it stays due: whoever looks next fires it
        except Exception:
            log.exception("the clock met a bug; it goes on")
        return False

    def fire(self, names: Sequence[str]) -> bool:
        """Fire these, and what else is due then; returns whether jobs were enqueued, by this worker or another meanwhile.

        Raises:
            SeatlineError: the server did not answer, or refused; what was not fired stays due.

        """
        patience = Patience(self._store.settings.deadline, enough=self._enough)
        tried, fired = set[str](), False
        while names and not self._enough():
            tried.update(names)
            for chain in [name.removeprefix(orders.CHAIN) for name in names if name.startswith(orders.CHAIN)]:
                fired = True
                while self._store.run(orders.admit(chain), patience) and not self._enough():
                    pass
            due = self._store.read(verbs.due(self._store.keys, names), patience)
            for type_, window in due.windows.items():
                self._move_on(type_, window, due.now, patience)
            # Another thread or worker may have been first, since these were named: then there are jobs, too.
            named = sum(not name.startswith((verbs.WINDOW, orders.CHAIN, EVENT)) for name in names)
            more, fired = set[str](), fired or named > len(due.schedules)
            for shots in _calls([_shot(schedule, due.now) for schedule in due.schedules]):
                told = self._store.run(verbs.fire(self._worker, shots), patience)
                more.update(told.more)
                for shot, word, job_id in zip(shots, told.words, told.ids, strict=True):
                    fired |= job_id != "-" or word == "past"
                    self._tell(shot, word, job_id)
            for event in [name.removeprefix(EVENT) for name in names if name.startswith(EVENT)]:
                fired |= self._emit(event)
            names = sorted(more - tried)
        return fired

    def _emit(self, event: str) -> bool:
        """Make jobs of the facts that wait for an event's trigger; returns whether there are jobs by now."""
        emitted = False
        while self._waits.get(event, 0.0) < time.monotonic() and not self._enough():
            try:
                done = self._store.talk(facts_emitted(self._store.keys, event))
            except (Refused, PayloadError) as error:
                if isinstance(error, PayloadError):  # nobody else puts it off: it is due at every look
                    self._waits[event] = time.monotonic() + DAMAGED_WAITS
                self._say_once(f"event {event}", str(error), f"what has happened waits: {error}")
                break
            if done.why:
                self._say_once(f"event {event}", done.why, f"of what has happened no job can be made: {done.why}")
            if done.facts:
                said = f"event {event}: the jobs of {done.facts}"
                self._events.tell("triggered", said, name=event, count=done.facts)
            emitted = emitted or done.facts > 0 or done.others
            if not done.facts + done.missed:
                break
        return emitted

    def _tell(self, shot: Shot, word: str, job_id: str) -> None:
        name = shot.schedule.name
        if word == "fired" and job_id != "-":
            chain, count = shot.schedule.chain, len(shot.plan.moments)
            made = {"job": job_id} if chain is None else {"order": job_id, "chain": chain}
            what = "jobs" if chain is None else f"orders of {chain}"
            said = f"schedule {name}: {count} {what}, the last is {int(job_id)}"
            self._events.tell("fired", said, schedule=name, count=count, **made)
        elif word == "chain":
            log.warning("schedule %s: there is no chain %s; put off for a minute", name, shot.schedule.chain)
        elif word == "stuck":
            log.warning("schedule %s cannot be computed here; put off for a minute: %s", name, shot.error)
        elif word == "tenant":
            version = shot.schedule.fields.get("version", "")
            self._say_once(f"schedule {name}", version, "the namespace requires a tenant; it names none")

    def _move_on(self, type_: str, window: str, now: int, patience: Patience) -> None:
        """Set the next times of a window that has closed."""
        try:
            interval = Window(window).interval(now)
        except InvalidInput as error:
            self._say_once(f"schedule of the window of type {type_}", window, str(error))
            return
        self._store.run(verbs.set_window(type_, window, interval, ""), patience)

    def _say_once(self, name: str, version: str, why: str) -> None:
        if (name, version) not in self._said and len(self._said) < SAID_MOST:
            self._said.add((name, version))
            log.warning("%s: %s", name, why)


def _shot(schedule: ScheduleRecord, now: int) -> Shot:
    try:
        return Shot(schedule, schedule.plan(now))
    except InvalidInput as error:
        return Shot(schedule, Plan((), None), " ".join(str(error).split())[:500])


def _calls(shots: Sequence[Shot]) -> list[list[Shot]]:
    """Divide into calls of not too many schedules, nor jobs; one schedule never has more than a call takes."""
    calls: list[list[Shot]] = []
    jobs = 0
    for shot in shots:
        jobs += len(shot.plan.moments)
        if not calls or len(calls[-1]) == FIRED_MOST or jobs > JOBS_MOST:
            calls.append([])
            jobs = len(shot.plan.moments)
        calls[-1].append(shot)
    return calls
