"""The slots of a worker: threads that run handlers.

Each waits for work on one queue and puts its report on another, so the coordinator never waits for a handler. A thread
cannot be stopped from outside; what needs that runs in a process (DESIGN 5.9). Threads are daemons: a worker that has
handed its jobs back may exit although a handler still sleeps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from seatline.shared.calls.workers import Report

__all__ = ["Slots"]


class Slots:
    """``count`` threads; :meth:`give` work, and its report is handed to ``done``."""

    def __init__(self, count: int, done: Callable[[Report], None], name: str) -> None:
        self._work: SimpleQueue[Callable[[], Report] | None] = SimpleQueue()
        self._done = done
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-slot-{i + 1}", daemon=True) for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def give(self, work: Callable[[], Report]) -> None:
        """Run this in the next free slot."""
        self._work.put(work)

    def close(self) -> None:
        """Let every thread end after its present job; does not wait for those."""
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        get, done = self._work.get, self._done
        while (work := get()) is not None:
            done(work())
