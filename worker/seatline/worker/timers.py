"""Timers: one thread that calls what is due; started with the first timer."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

__all__ = ["Timer", "Timers"]

log = logging.getLogger("seatline.worker")


class Timer:
    """One call to come; :meth:`cancel` takes it back."""

    __slots__ = ("at", "call")

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not call; after the call this does nothing."""
        self.call = None


class Timers:
    """Calls come from the timers' own thread, so they must be short; what one raises is logged."""

    def __init__(self, name: str) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._name = name

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call this in so many seconds."""
        timer = Timer(time.monotonic() + seconds, call)
        with self._changed:
            heapq.heappush(self._heap, (timer.at, next(self._order), timer))
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            elif self._heap[0][2] is timer:
                self._changed.notify()
        return timer

    def close(self) -> None:
        """End the thread; nothing is called any more."""
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._heap or self._heap[0][0] > time.monotonic()):
                    self._changed.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                    while self._heap and self._heap[0][2].call is None:
                        heapq.heappop(self._heap)
                if self._closed:
                    return
                timer = heapq.heappop(self._heap)[2]
            call, timer.call = timer.call, None
            if call:
                try:
                    call()
                except Exception:
                    log.exception("a timer met a bug; the others go on")
