"""The one place that hears of every transition: the log, and whoever watches.

An event is a name and fields: the cycle's (wake, server-login, on_wake, check, server-logout, on_sleep, sleep, startup,
shutdown), an attempt's (session-open, execute, session-close, settled), the worker's (paused, resumed, stopping, ...), the
server's (restarted; restart-losses if jobs were interrupted then, or something is orphaned).
Params and results are never among the fields. Log records carry them as ``record.seatline``, a dict.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from seatline.worker.context import Context

__all__ = ["Events", "Sink"]

log = logging.getLogger("seatline.worker")

Sink = Callable[[str, dict[str, object]], None]

#: Told at this level; all else is for ``-v``.
_LEVELS: Final = {
    "startup": logging.INFO,
    "shutdown": logging.INFO,
    "restarted": logging.INFO,
    "restart-losses": logging.WARNING,
    "paused": logging.INFO,
    "resumed": logging.INFO,
    "stopping": logging.WARNING,
    "overdue": logging.WARNING,
    "failed": logging.WARNING,
    "interrupted": logging.WARNING,
    "retry": logging.WARNING,
    "refused": logging.WARNING,
    "stale": logging.WARNING,
    "hook-failed": logging.ERROR,
}


class Events:
    """Tells transitions of one worker.

    Attributes:
        detailed: whether somebody reads what is told of every job; if not, it need not be made.

    """

    def __init__(self, worker: str, sink: Sink | None) -> None:
        self._worker, self._sink = worker, sink
        self._soon: deque[tuple[str, str, dict[str, object]]] = deque()
        self.detailed = False
        self.begin()

    def begin(self) -> None:
        """Look anew whether details are wanted: logging may have been set up meanwhile."""
        self.detailed = self._sink is not None or log.isEnabledFor(logging.DEBUG)

    def tell(self, event: str, said: str = "", **fields: object) -> None:
        """Tell one; ``said`` is for people."""
        level = _LEVELS.get(event, logging.DEBUG)
        if log.isEnabledFor(level):
            text = f"{event}: {said}" if said else event
            log.log(level, "%s", text, extra={"seatline": {"event": event, "worker": self._worker, **fields}})
        if self._sink:
            try:
                self._sink(event, fields)
            except Exception:
                log.exception("the sink met a bug at %s; the worker goes on", event)

    def tell_soon(self, event: str, said: str = "", **fields: object) -> None:
        """Tell one from a signal handler: it may have interrupted the writing of a line, which cannot be begun twice."""
        self._soon.append((event, said, fields))

    def tell_now(self) -> None:
        """Tell what signal handlers had to say; from any thread, and outside of them."""
        while self._soon:
            with suppress(IndexError):  # another thread was quicker
                event, said, fields = self._soon.popleft()
                self.tell(event, said, **fields)

    def job(self, ctx: Context, event: str, detail: str = "") -> None:
        """Tell one of an attempt."""
        said = f"job {int(ctx.id)} {ctx.type}, attempt {ctx.attempt}" + (f": {detail}" if detail else "")
        more = {"pool": detail} if event.startswith("session-") else {"detail": detail} if detail else {}
        self.tell(event, said, job=ctx.id, type=ctx.type, attempt=ctx.attempt, **more)
