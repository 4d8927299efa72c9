"""The slots of a worker: threads that run handlers, or wait for the child process that does.

A slot that has run its job asks ``ended`` what to do next. Often that is the next job, without any other thread in
between; else it waits for work from the common queue. A thread cannot be stopped from outside; what needs that runs in
a process (DESIGN 5.9). One whose handler ignores its timeout is replaced (``add``), and ends when that returns. Threads
are daemons: a worker that has handed its jobs back may exit although a handler still sleeps.
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
        self._ended, self._name = ended, name
        self._count = self._surplus = 0
        self._lock = threading.Lock()
        for _ in range(count):
            self._start()

    def give(self, work: Work) -> None:
        """Run this in the next free slot."""
        self._work.put(work)

    def poll(self) -> Work | None:
        """Return work that no thread has begun yet, if there is any."""
        try:
            return self._work.get_nowait()
        except Empty:
            return None

    def add(self) -> None:
        """Start one more thread, in place of one that does not come back; whichever ends its job next when it is, ends."""
        self._start()

    def remove(self) -> None:
        """One that was replaced has come back: one thread is too many."""
        with self._lock:
            self._surplus += 1

    def close(self) -> None:
        """Let every thread end after its present job; does not wait for those."""
        for _ in range(self._count):
            self._work.put(None)

    def _start(self) -> None:
        self._count += 1
        threading.Thread(target=self._serve, name=f"{self._name}-slot-{self._count}", daemon=True).start()

    def _serve(self) -> None:
        get, ended = self._work.get, self._ended
        while (work := get()) is not None:
            following: Work | None = work
            while following is not None:
                following = ended(following())
            if self._surplus and self._leaves():
                return

    def _leaves(self) -> bool:
        with self._lock:
            if not self._surplus:
                return False
            self._surplus -= 1
            return True
