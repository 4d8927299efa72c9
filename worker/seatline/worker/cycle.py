"""The cycle of a worker, step by step (rule C1).

::

    classic     wake, server-login, on_wake, check,
                    session-open J, execute J, session-close J,     for each job, one after another
                server-logout, on_sleep, sleep                      for the wake interval, from "nothing left for me"

    normal      wake, server-login (once), on_wake, check,
                    jobs, many at once, the next as soon as one ends
                on_sleep, sleep                                     until a bell brings a job: that is the next wake

The normal worker stays logged in while it sleeps, and is woken by its bell at once (C7); its cycle lasts from the first
job after idleness to the next idleness. The job that woke it goes back to its place while hooks of on_wake run: these come
before the check, and until then the worker holds no job and no seat (C6).

The classic worker does what the original did: it has no connection while it sleeps, only a presence that says until when
(C2), and it settles and reserves in two calls, so that between two jobs its seats are really free (C3). on_startup and
on_shutdown run once a process (C8), before and after all cycles.
"""

from __future__ import annotations

import datetime as dt
import time

from seatline.shared.calls.workers import Taken
from seatline.shared.config import Settings
from seatline.shared.store import Store
from seatline.worker.crew import Crew
from seatline.worker.events import Events
from seatline.worker.hooks import Hooks
from seatline.worker.leases import Leases

__all__ = ["Classic", "Normal"]


class Normal:
    """Wakes with a bell, runs many jobs at once, stays logged in."""

    def __init__(self, crew: Crew, hooks: Hooks, events: Events, leases: Leases) -> None:
        self._crew, self._hooks, self._events, self._leases = crew, hooks, events, leases
        self.cycles = 0

    def run(self, *, burst: bool) -> None:
        """Cycle until told to stop; with ``burst``, until nothing is left."""
        crew = self._crew
        self._wake(login=True)
        awake, told = True, False
        while True:
            jobs = crew.take()
            if jobs and not awake:
                jobs = self._wake_for(jobs)
                awake = True
            crew.give(jobs)
            if crew.idle:
                if awake:
                    self._sleep()
                    awake = False
                if crew.turns.stopping is not None or (burst and not crew.turns.again):
                    break
            crew.wait()
            if crew.turns.stopping is not None and not told:
                self._leases.look()  # others see at once that it stops
                told = True
        self._leases.stop()  # before the goodbye: a renewal after it would bring this worker's presence back
        crew.turns.leave()
        self._events.tell("server-logout")

    def _wake_for(self, jobs: list[Taken]) -> list[Taken]:
        """Wake for what the bell has brought; returns the jobs to begin."""
        crew = self._crew
        if not self._hooks.declared("on_wake"):
            self._wake()
            return jobs
        crew.turns.give_back(jobs)
        crew.take(0)
        self._wake()
        return crew.take()

    def _wake(self, *, login: bool = False) -> None:
        self.cycles += 1
        self._events.tell("wake", cycle=self.cycles)
        if login:
            self._crew.turns.log_in()
            self._leases.look()  # what it says of itself is whole from the start
            self._events.tell("server-login")
        self._hooks.run("on_wake")
        self._events.tell("check")

    def _sleep(self) -> None:
        self._hooks.run("on_sleep")
        self._events.tell("sleep")


class Classic:
    """Wakes by the clock, runs one job after another, logs out to sleep."""

    def __init__(
        self, crew: Crew, hooks: Hooks, events: Events, settings: Settings, leases: Leases, store: Store
    ) -> None:
        self._crew, self._hooks, self._events, self._settings = crew, hooks, events, settings
        self._leases, self._store = leases, store
        self.cycles = 0

    def run(self, *, burst: bool) -> None:
        """Cycle until told to stop; with ``burst``, once."""
        crew = self._crew
        while True:
            self._wake()
            while (jobs := crew.take(1)) or not crew.idle or crew.turns.again:
                crew.give(jobs)
                if jobs:
                    crew.finish()
                else:  # a thread that ignores its timeout keeps its seats until it returns (C4): awake, and renewed
                    crew.wait()
            ended = time.monotonic()
            self._sleep(last=burst)
            if burst or crew.sleep(ended + self._settings.wake_interval - time.monotonic()):
                break
        crew.turns.leave()

    def _wake(self) -> None:
        self.cycles += 1
        self._events.tell("wake", cycle=self.cycles)
        self._leases.start()  # first: a login waits for a server that is away, the watchdog does not
        self._crew.turns.log_in()
        self._leases.hear()  # what was asked of it while it slept, before it takes a job
        self._events.tell("server-login")
        self._hooks.run("on_wake")
        self._events.tell("check")

    def _sleep(self, *, last: bool) -> None:
        interval = 0.0 if last or self._crew.turns.stopping is not None else self._settings.wake_interval
        until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=interval)
        self._leases.stop()
        self._crew.turns.rest(interval, until.strftime("%Y-%m-%dT%H:%M:%SZ"))
        self._store.hang_up()
        self._events.tell("server-logout")
        self._hooks.run("on_sleep")
        self._events.tell("sleep", f"until {until:%H:%M:%S} UTC" if interval else "")
