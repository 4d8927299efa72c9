"""The slots of a worker: threads that run handlers.

A slot that has run its job asks ``ended`` what to do next. Often that is the next job, without any other thread in
between; else it waits for work from the common queue. A thread cannot be stopped from outside; what needs that runs in
a process (DESIGN 5.9). Threads are daemons: a worker that has handed its jobs back may exit although a handler still
sleeps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from seatline.shared.calls.workers import Report

__all__ = ["Slots", "Work"]

Work = Callable[[], Report]


class Slots:
    """``count`` threads; :meth:`give` work. After each job, ``ended(report)`` returns the next for that slot, or None."""

    def __init__(self, count: int, ended: Callable[[Report], Work | None], name: str) -> None:
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._ended = ended
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-slot-{i + 1}", daemon=True) for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def give(self, work: Work) -> None:
        """Run this in the next free slot."""
        self._work.put(work)

    def poll(self) -> Work | None:
        """Return work that no thread has begun yet, if there is any."""
        try:
            return self._work.get_nowait()
        except Empty:
            return None

    def close(self) -> None:
        """Let every thread end after its present job; does not wait for those."""
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        get, ended = self._work.get, self._ended
        while (work := get()) is not None:
            following: Work | None = work
            while following is not None:
                following = ended(following())
