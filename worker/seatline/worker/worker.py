"""The worker: one process that reserves jobs for its types and runs them in its slots.

Who does what, each with threads of its own, so that none waits for another:

* the slots run handlers (``slots.py``); one whose job has ended takes the next *turn* with the server (``turns.py``)
* the renewing thread keeps leases and looks after others (``leases.py``)
* the ear waits on this worker's bell (``ear.py``)
* the thread that called ``run`` begins, waits for a bell, a signal or the next look, and ends

The life of a run reads: register, then again and again turn and wait, at last leave.
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
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

from seatline.shared.calls.base import Word
from seatline.shared.calls.workers import Kept, Report, Taken
from seatline.shared.config import Settings
from seatline.shared.errors import InvalidInput
from seatline.shared.store import Store
from seatline.shared.store.lane import client_id
from seatline.worker.context import Context, Hold
from seatline.worker.ear import Ear
from seatline.worker.execute import execute
from seatline.worker.handlers import Handlers
from seatline.worker.leases import Leases
from seatline.worker.slots import Slots, Work
from seatline.worker.turns import RunSummary, Turns

__all__ = ["RunSummary", "Worker"]

log = logging.getLogger("seatline.worker")

SLOTS_MOST: Final = 256


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
        self.slots, kept = slots, kept or Kept()
        self.id = _identity()
        self.store = Store(self.settings, role="worker")
        self._turns = Turns(self.store, self.id, self.handlers, slots, kept)
        self._leases = Leases(
            self.store, self.id, self._turns.digest, kept, self._turns.held, self._presence, self._offer_lost
        )
        self._woken: SimpleQueue[BaseException | None] = SimpleQueue()
        self._ear: Ear | None = None
        self._threads: Slots | None = None
        self._burst = self._nudged = False

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

        """
        self._burst = burst
        with self._signals():
            self._begin()
            try:
                while True:
                    self._nudged = False
                    self._give(self._turns.take())
                    if self._finished():
                        break
                    self._wait()
                self._turns.leave()
            finally:
                self._end()
        return self.summary

    def stop(self, *, now: bool = False) -> None:
        """Ask the run to end; from any thread or signal handler. ``now``, or a second call, hands back at once."""
        grace = 0.0 if now or self._turns.stopping is not None else self.settings.grace
        self._turns.stopping = time.monotonic() + grace
        self._woken.put(None)

    # -- steps

    def _begin(self) -> None:
        self._turns.register()
        types = ", ".join(self.handlers.types)
        log.info("worker %s: %d slots for %s at %s", self.id, self.slots, types, self.store.place)
        self._leases.start()
        if not self._burst:
            self._ear = Ear(self.store, lambda: self._woken.put(None))
            ear = self._ear
            self._turns.bell = lambda: ear.name
        self._threads = Slots(self.slots, self._ended, f"seatline-{self.id}")

    def _end(self) -> None:
        if self._threads:
            self._threads.close()
        self._leases.stop()
        if self._ear:
            self._ear.close()
        self.store.close()
        back = self.summary.handed_back + self.summary.interrupted
        log.info("worker %s leaves: %d jobs done, %d handed back", self.id, self.summary.done, back)

    def _give(self, jobs: Sequence[Taken]) -> None:
        for taken in jobs:
            if self._threads:
                self._threads.give(self._work(taken))

    def _ended(self, report: Report) -> Work | None:
        """Settle, in the thread of a slot; returns what that slot does next."""
        turns, mine = self._turns, None
        turns.tell(report)
        if self._threads and (work := self._threads.poll()):
            # Others are not awake yet: go on here, and let one turn tell what ends meanwhile.
            if not self._nudged:
                self._nudged = True
                self._woken.put(None)
            return work
        try:
            # Whoever holds the turn looks again when it has ended, so that no report stays behind.
            while turns.pending and (jobs := turns.try_take()) is not None:
                if jobs and mine is None:
                    mine, jobs = self._work(jobs[0]), jobs[1:]
                self._give(jobs)
        except BaseException as error:  # noqa: BLE001 - run() raises it in the caller's thread
            self._woken.put(error)
        if not turns.held or time.monotonic() + 1 > turns.look_at:
            self._woken.put(None)  # the end of a burst or a stop, or a look that is due sooner than was known
        return mine

    def _wait(self) -> None:
        """Wait for a ring, a signal, a job's end that matters here, or the next look."""
        turns = self._turns
        while not turns.pending:
            until = turns.look_at if turns.stopping is None else turns.stopping
            try:
                error = self._woken.get(timeout=max(0.0, until - time.monotonic()))
                if error is not None:
                    raise error
                break
            except Empty:
                if time.monotonic() >= (turns.look_at if turns.stopping is None else turns.stopping):
                    break
        if turns.overdue():
            turns.abandon()

    def _finished(self) -> bool:
        if self._turns.pending or self._turns.held:
            return False
        return self._turns.stopping is not None or self._burst

    def _work(self, taken: Taken) -> Work:
        """Make the work of one job; a record that speaks of no type of ours must not stop the worker."""
        fields = dict(zip(taken.flat[::2], taken.flat[1::2], strict=True))
        type_ = fields.get(b"type", b"?").decode("utf-8", "replace")
        hold = self._turns.held.get((taken.id, taken.token)) or Hold(taken.id, taken.token)
        ctx = Context(hold, type_, taken.attempt, taken.flat)
        if type_ not in self.handlers:
            return lambda: _damaged(ctx)
        handler = self.handlers[type_]
        log.debug("job %s %s: attempt %d begins", ctx.id, type_, ctx.attempt)
        return lambda: execute(handler, ctx, fields)

    # -- what others ask and say

    def _presence(self) -> dict[str, Word]:
        return {
            "busy": len(self._turns.held),
            "done": self.summary.done,
            "failed": self.summary.failed,
            "state": "awake" if self._turns.stopping is None else "stopping",
        }

    def _offer_lost(self) -> None:
        self._turns.forget_offer()
        self._woken.put(None)

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT while running, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def told(number: int, _: FrameType | None) -> None:
            again = self._turns.stopping is not None
            word = "handing back what runs" if again else f"letting {len(self._turns.held)} running jobs end"
            log.warning("%s: %s", signal.Signals(number).name, word)
            self.stop()

        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _identity() -> str:
    """Name this worker: where it runs, and something that no other process has (Q13)."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).strip(".-")[:40] or "host"
    return f"{host}.{os.getpid()}.{client_id()[:6]}"


def _damaged(ctx: Context) -> Report:
    """Report a job that was in a line, but whose record is gone or speaks of another type."""
    kind, message = "BrokenRecord", "its record is damaged: edited or removed by hand, or lost by the server"
    return Report(ctx.id, ctx.token, "failed", ["error_type", kind, "error", message], error=(kind, message))
