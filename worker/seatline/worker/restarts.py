"""Tells of a restart of the server: a line in the log of each worker that meets it, with what became of jobs and orders (W3).

A worker meets it that lives through it, or starts within ten minutes of it. Where it has left nothing behind, nothing is said.
A contact says when the server was last seen to run anew (``contact.lua``). This actor compares that after each renewal of its
worker, in memory, so it costs nothing while nothing has happened; then it makes the report once, in a thread of its own.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from seatline.producer.restart import restart_report
from seatline.shared.errors import SeatlineError
from seatline.shared.store import Store
from seatline.worker.events import Events

__all__ = ["Restarts"]

log = logging.getLogger("seatline.worker")

#: For a worker that starts, a restart so long ago is no news (ms): it does not start together with the server.
NEWS: Final = 600_000
#: Orders, and jobs, of each state that it looks at.
MOST: Final = 5_000


class Restarts:
    """Looks for a restart, and tells of it once."""

    def __init__(self, store: Store, worker: str, events: Events) -> None:
        self._store, self._worker, self._events = store, worker, events
        self._met = False
        self._told: int | None = None
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """See whether the server runs anew; to be called from one thread at a time, after an exchange with it."""
        contact = self._store.contact
        if contact is None:
            return
        first, self._met = not self._met, True
        if contact.restarted is None or contact.restarted == self._told:
            return
        self._told = contact.restarted
        if first and contact.now - contact.restarted > NEWS:
            return
        self._thread = threading.Thread(target=self._tell, name=f"seatline-restart-{self._worker}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the line, if one is being made."""
        if self._thread:
            self._thread.join(timeout=self._store.settings.timeout + 1)

    def _tell(self) -> None:
        try:
            report = restart_report(self._store, most=MOST)
        except SeatlineError as error:
            log.debug("cannot say what became of jobs and orders after the restart: %s", error)
            return
        except Exception:
            log.exception("the report after a restart met a bug; the worker goes on")
            return
        if report is None:
            return
        counts = {
            "restored": len(report.restored),
            "jobs": sum(report.jobs.values()),
            "at_once": len(report.started),
            "interrupted": len(report.interrupted),
            "orphaned": len(report.orphaned),
        }
        if any(counts.values()):
            word = "restarted" if report.well else "restart-losses"
            self._events.tell(word, f"{report}. More: seatline orders list --since-restart", **counts)
