"""Events of the file system, if ``watchfiles`` is installed (``seatline[watch]``): they only say when to look.

Network shares send none, some are lost, and a folder that was replaced sends none any more; so a watch looks by itself too,
and nothing but that look decides.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

__all__ = ["FolderEvents"]

log = logging.getLogger("seatline.producer")

#: How long changes are gathered (ms), and how long without one ends that.
GATHERED: Final = 500
QUIET: Final = 50


class FolderEvents:
    """A thread that calls ``on`` whenever something has changed in a folder.

    Attributes:
        alive: whether events can come.

    """

    def __init__(self, path: str, on: Callable[[], None], *, recursive: bool) -> None:
        self._path, self._on, self._recursive = path, on, recursive
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether events can come."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self) -> None:
        """Begin, or begin anew: the folder may be another one now."""
        self.end()
        if find_spec("watchfiles") is None:
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(self._stop,), name="watch events", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the thread."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            thread.join()

    def _listen(self, stop: threading.Event) -> None:
        from watchfiles import watch  # noqa: PLC0415 - an extra

        try:
            for _ in watch(
                self._path,
                watch_filter=None,
                debounce=GATHERED,
                step=QUIET,
                stop_event=stop,
                recursive=self._recursive,
                ignore_permission_denied=True,
                raise_interrupt=False,
            ):
                self._on()
        except Exception as error:  # noqa: BLE001 - too many watches, no folder, ...: the looks go on, only more of them
            log.debug("no events from %s: %s", self._path, error)
        self._on()
