"""Notes: progress and log lines of running jobs, on their way to the server.

Handlers never wait for them: the newest progress and the lines are kept here and sent twice a second, for all jobs in one
call, fenced by each lease's token (C17). What is left of a job is sent before its end is told. The server away or full:
they wait here, the newest 999 lines a job, and never fail a job (F20).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from seatline.shared.calls import workers as verbs
from seatline.shared.calls.base import Word
from seatline.shared.calls.workers import Note
from seatline.shared.errors import SeatlineError
from seatline.shared.store import Patience, Store
from seatline.worker.context import Hold

__all__ = ["Notes"]

log = logging.getLogger("seatline.worker")

Lease = tuple[str, str]
#: Seconds between two sendings.
PACE: Final = 0.5
#: Beside them goes a line that tells how many are missing: a job keeps 1,000.
LINES_KEPT: Final = 999
#: Jobs and lines of one call.
JOBS_MOST: Final = 64
LINES_MOST: Final = 1_000


class _Waiting:
    """What one job has told and nobody has sent."""

    __slots__ = ("fields", "lines", "lost")

    def __init__(self) -> None:
        self.fields: dict[str, Word] = {}
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.lost = 0


class Notes:
    """Takes notes from any thread; a thread of its own sends them, started with the first."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self._waiting: dict[Lease, _Waiting] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._wire = store.wire()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, hold: Hold, fields: Mapping[str, Word], line: str) -> None:
        """Take a note of a job."""
        with self._lock:
            waiting = self._waiting.setdefault((hold.id, hold.token), _Waiting())
            waiting.fields.update(fields)
            if line:
                waiting.lost += len(waiting.lines) == LINES_KEPT
                waiting.lines.append(line)
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    @property
    def used(self) -> bool:
        """Whether any job has told anything so far."""
        return self._thread is not None

    def flush(self, leases: Iterable[Lease]) -> None:
        """Send what is left of these jobs now: their ends are about to be told."""
        with self._sending:  # a sending that is under way ends first
            if not self._store_notes([lease for lease in leases if lease in self._waiting], 2.0):
                log.warning("the last lines of some jobs' logs could not be stored")

    def close(self) -> None:
        """End the thread."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(PACE):
            with self._sending:
                self._store_notes(list(self._waiting), PACE)

    def _store_notes(self, leases: list[Lease], patience: float) -> bool:
        while leases:
            bite, room = list[Note](), LINES_MOST
            taken: list[tuple[Lease, _Waiting]] = []
            while leases and room > 0 and len(bite) < JOBS_MOST:
                with self._lock:
                    waiting = self._waiting.pop(leases[0], None)
                if waiting is None:
                    leases.pop(0)
                    continue
                lines = list(waiting.lines)
                if waiting.lost:
                    lines.insert(0, f"... {waiting.lost} lines cut here")
                now, later = lines[:room], lines[room:]
                room -= len(now)
                taken.append((leases[0], waiting))
                bite.append(Note(*leases[0], waiting.fields, now))
                if later:
                    waiting.lines = deque(now[bool(waiting.lost) :], maxlen=LINES_KEPT)
                    rest = _Waiting()
                    rest.lines.extend(later)
                    self._back(leases[0], rest)
                else:
                    leases.pop(0)
            if not bite:
                return True
            try:
                self._store.run(verbs.note(bite), Patience(patience, enough=self._stop.is_set), self._wire)
            except SeatlineError as error:
                log.debug("notes wait: %s", error)
                for lease, waiting in reversed(taken):
                    self._back(lease, waiting)
                return False
        return True

    def _back(self, lease: Lease, kept: _Waiting) -> None:
        """Put lines back before those that came meanwhile."""
        with self._lock:
            newer = self._waiting.get(lease)
            if newer:
                kept.fields.update(newer.fields)
                kept.lost += newer.lost + max(0, len(kept.lines) + len(newer.lines) - LINES_KEPT)
                kept.lines.extend(newer.lines)
            self._waiting[lease] = kept
