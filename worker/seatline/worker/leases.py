"""The renewing thread: keeps leases alive whatever handlers do, looks after others; its guard fences this worker in time.

Who is authoritative: the server, by token. The clock of this process may only make it *more* careful:

* every ``renew`` seconds one call renews all held jobs and brings back cancellations and lost leases
* no renewal confirmed for lease + one interval - margin (our monotonic clock): another worker may have the jobs by now,
  so handlers are told (fenced). What still has a valid token when the server is back is settled or handed back with it
* the same guard is the watchdog: no renewal confirmed for ``watchdog`` seconds ends the worker with an error, so that
  whoever supervises it starts it again
* what seems expired elsewhere is only noted; if one interval later, by our clock, nothing about it has changed, it is
  reaped. A call that failed or took longer than an interval forgets the notes: after a pause of the server, or a jump of
  its clock, everybody gets the time to renew first
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from seatline.shared.calls import workers as verbs
from seatline.shared.calls.base import Word
from seatline.shared.calls.workers import Kept, Suspect
from seatline.shared.config import Settings
from seatline.shared.errors import SeatlineError
from seatline.shared.store import Patience, Store
from seatline.worker.context import Hold

__all__ = ["Leases", "presence_ms"]

log = logging.getLogger("seatline.worker")

#: Jobs renewed in one call.
BITE = 400
MARGIN = 0.2


def presence_ms(settings: Settings) -> int:
    """Return how long a silent worker counts as live: three renewals (ms)."""
    return max(1000, int(3000 * settings.renew))


class Leases:
    """The jobs this worker holds, and the thread that keeps them."""

    def __init__(
        self,
        store: Store,
        worker: str,
        digest: str,
        kept: Kept,
        held: dict[tuple[str, str], Hold],
        *,
        presence: Callable[[], Mapping[str, Word]],
        forgotten: Callable[[], None],
        asked: Callable[[str], None],
        stuck: Callable[[float], None],
        planned: Callable[[Sequence[str]], object],
    ) -> None:
        self._store, self._settings = store, store.settings
        self._worker, self._digest, self._kept = worker, digest, kept
        self._presence, self._forgotten, self._asked, self._stuck = presence, forgotten, asked, stuck
        self._planned = planned
        self.held = held
        self._notes: dict[tuple[str, str], tuple[Suspect, float]] = {}
        self._confirmed = time.monotonic()
        self._stop = threading.Event()
        self._hurry, self._renewed = threading.Event(), threading.Event()
        self._heard = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin renewing; after :meth:`stop` it may begin again."""
        self._confirmed = time.monotonic()
        self._stop, self._hurry = threading.Event(), threading.Event()
        self._notes.clear()
        self._thread = threading.Thread(target=self._run, name=f"seatline-renew-{self._worker}", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name=f"seatline-guard-{self._worker}", daemon=True).start()

    def stop(self) -> None:
        """End the threads; a second call does nothing. Whatever is still held is fenced: nobody renews it any more."""
        self._stop.set()
        self._hurry.set()
        for hold in list(self.held.values()):
            hold.say("fenced")
        if self._thread:
            self._thread.join(timeout=self._settings.timeout + 1)
            self._thread = None

    def look(self) -> None:
        """Renew now: somebody has something to tell this worker."""
        self._hurry.set()

    def hear(self) -> None:
        """Renew now and wait for what is asked of this worker; not for long if the server is away again."""
        self._renewed.clear()
        self._hurry.set()
        self._renewed.wait(self._settings.timeout)

    def _run(self) -> None:
        stop, hurry = self._stop, self._hurry
        pause = self._settings.renew
        while not stop.is_set():
            hurry.wait(pause)
            hurry.clear()
            if stop.is_set():
                return
            began = time.monotonic()
            try:
                self._renew(began)
            except SeatlineError as error:
                log.debug("cannot renew: %s", error)
                self._notes.clear()
            except Exception:
                log.exception("the renewing thread met a bug; it goes on")
                self._notes.clear()
            self._renewed.set()
            pause = max(0.01, self._settings.renew - (time.monotonic() - began))

    def _renew(self, began: float) -> None:
        patience = Patience(self._settings.renew / 2, enough=self._stop.is_set)
        held = list(self.held.items())
        suspects: list[Suspect] = []
        planned: Sequence[str] = ()
        for start in range(0, max(1, len(held)), BITE):
            bite = held[start : start + BITE]
            renewal = self._store.run(
                verbs.renew(
                    worker=self._worker,
                    digest=self._digest,
                    lease_ms=int(self._settings.lease * 1000),
                    presence_ms=presence_ms(self._settings),
                    kept=self._kept,
                    fields=self._presence(),
                    held=[lease for lease, _ in bite],
                ),
                patience,
            )
            for (lease, hold), word in zip(bite, renewal.words, strict=True):
                if lease not in self.held:
                    continue  # settled meanwhile
                if word == "cancel" and not hold.cancel:
                    hold.say("cancel")
                elif word == "lost" and not hold.fenced:
                    log.warning("job %d: the lease was taken back; its report will be refused", int(hold.id))
                    hold.say("fenced")
            suspects, planned = list(renewal.suspects), renewal.planned
            if not renewal.known:
                self._forgotten()
            if renewal.asked != self._heard:
                self._heard = renewal.asked
                self._asked(renewal.asked)
                self._hurry.set()  # and tell at once how it is now
        self._confirmed = began
        self._planned(planned)
        if time.monotonic() - began > self._settings.renew:
            self._notes.clear()
            return
        self._look(suspects)

    def _look(self, suspects: list[Suspect]) -> None:
        now, before = time.monotonic(), self._notes
        self._notes, due = {}, list[Suspect]()
        for suspect in suspects:
            noted, since = before.get((suspect.a, suspect.b), (None, now))
            if noted != suspect:
                since = now
            elif now - since >= self._settings.renew * 0.9:
                due.append(suspect)
                continue
            self._notes[suspect.a, suspect.b] = (suspect, since)
        if due:
            words = self._store.run(verbs.reap(self._worker, due), Patience(0, enough=self._stop.is_set))
            for suspect, word in zip(due, words, strict=True):
                if word == "lost":
                    log.warning("worker %s is lost: nothing has been heard of it; its trigger is told", suspect.a)
                elif word != "alive":
                    name = int(suspect.a) if suspect.kind == "job" else suspect.a
                    log.warning("%s %s: its holder is gone; it is %s", suspect.kind, name, word)

    def _watch(self) -> None:
        """Fence in time, also while a renewal waits for an answer: hence a thread of its own. And be the watchdog."""
        stop, watchdog = self._stop, self._settings.watchdog
        limit = self._settings.lease + self._settings.renew * (1 - MARGIN)
        left = min(limit, watchdog or limit)
        while not stop.wait(left):
            silent = time.monotonic() - self._confirmed
            left = limit - silent
            if left <= 0:
                self._fence(limit)
                left = self._settings.renew / 10
            if watchdog and silent >= watchdog:
                self._stuck(silent)
                return
            if watchdog:
                left = min(left, watchdog - silent)

    def _fence(self, limit: float) -> None:
        for hold in list(self.held.values()):
            if not hold.fenced:
                log.warning("job %d: no renewal for %.1f s; its handler is told to stop", int(hold.id), limit)
                hold.say("fenced")
