"""The event loop of a worker: one thread in which all ``async def`` handlers run at once.

An attempt is a task; it can be cancelled from outside, natively. What has ended is told in one go for each round of the
loop. If nothing else runs in the loop then, this thread takes the turn with the server itself, as a slot does; else the
worker's main thread does, so that no other handler waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from seatline.shared.calls.workers import Report
from seatline.worker.context import Hold
from seatline.worker.execute import unbegun

__all__ = ["Loop", "Task"]


class Task(NamedTuple):
    """An attempt to come: the hold on its job, and its coroutine."""

    hold: Hold
    attempt: Coroutine[Any, Any, Report]


class Loop:
    """Runs tasks; ``ended(reports, alone)`` is called in its thread with what has ended, and whether nothing else runs.

    It returns tasks to begin at once.
    """

    def __init__(self, ended: Callable[[list[Report], bool], Sequence[Task]], name: str) -> None:
        self._ended = ended
        self._loop = asyncio.new_event_loop()
        self._running: dict[Hold, asyncio.Task[None]] = {}
        self._done: list[Report] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def give(self, tasks: Sequence[Task]) -> None:
        """Begin these; from any thread."""
        self._loop.call_soon_threadsafe(self._begin, tasks)

    def close(self) -> None:
        """End the loop; what still runs is cancelled, and not waited for."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = list(self._running.values())
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=0.5))
        finally:
            self._loop.close()

    def _begin(self, tasks: Sequence[Task]) -> None:
        create, running = self._loop.create_task, self._running
        for hold, attempt in tasks:
            task = create(self._run_one(hold, attempt))
            running[hold] = task
            hold.stop = self._stop

    def _stop(self, hold: Hold) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel, hold)

    def _cancel(self, hold: Hold) -> None:
        # One that has not begun is not cancelled: it would never run, nor report. It looks for itself when it begins.
        if hold.begun and (task := self._running.get(hold)):
            task.cancel()

    async def _run_one(self, hold: Hold, attempt: Coroutine[Any, Any, Report]) -> None:
        try:
            if hold.over and (report := unbegun(hold)):
                attempt.close()
            else:
                hold.begun = True
                report = await attempt
        finally:
            del self._running[hold]
            hold.stop = None
        if not self._done:
            self._loop.call_soon(self._tell)
        self._done.append(report)

    def _tell(self) -> None:
        done, self._done = self._done, []
        self._begin(self._ended(done, not self._running))
