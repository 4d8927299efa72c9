"""The ear: a thread that waits on this worker's bell, on a connection of its own."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Final

from seatline.shared.errors import SeatlineError
from seatline.shared.store import Store
from seatline.shared.store.link import Lost, NotNow
from seatline.shared.store.listener import LONGEST

__all__ = ["Ear"]

log = logging.getLogger("seatline.worker")

#: Jitter, no secret. Not the stream that everybody shares: a handler that seeds that one gets what it expects.
CHANCE: Final = random.Random()  # noqa: S311


class Ear:
    """Calls ``rung`` for every ring, ``look`` when somebody has something to tell this worker.

    After each reconnection it calls both: the bell has another name then, so look first.
    """

    def __init__(self, store: Store, rung: Callable[[], None], look: Callable[[], None]) -> None:
        self._listener, self._rung, self._look = store.listener(), rung, look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="seatline-ear", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The bell to register."""
        return self._listener.name

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._listener.close()

    def _listen(self) -> None:
        pause = 0.05
        while not self._stop.is_set():
            try:
                heard = self._listener.wait(LONGEST)
                if heard == "look":
                    self._look()
                elif heard:
                    self._rung()
                pause = 0.05
            except (Lost, NotNow, SeatlineError) as error:
                if self._stop.is_set():
                    return
                log.debug("the bell's connection: %s", error)
                self._stop.wait(pause * CHANCE.uniform(0.5, 1.0))
                pause = min(2.0, pause * 2)
                self._rung()
                self._look()
            except Exception:  # close() pulls the socket from under a wait
                if self._stop.is_set():
                    return
                log.exception("the ear met a bug; it goes on")
                self._stop.wait(1.0)
