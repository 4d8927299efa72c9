"""How far something long is: a bar on a terminal, elsewhere a line on stderr now and then."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

import click

from seatline.console.output import span

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Bar"]

NOW_AND_THEN: Final = 10.0  # seconds
OFTEN: Final = 0.1  # seconds
WINDOW: Final = 30.0  # seconds over which the rate is taken


class Bar:
    """Counts up to ``total`` (None: nobody knows), with the rate of the last half minute and when it will end."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total = what, total
        self._seen: deque[tuple[float, int]] = deque()
        self._looked = 0.0
        self._next = time.monotonic() + NOW_AND_THEN
        self._progress: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
            from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - as above

            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"),
                console=Console(stderr=True, highlight=False), transient=True,
            )  # fmt: skip
            self._task = self._progress.add_task(self._what, total=self._total, said="")
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take it away; what comes of it is told by whoever showed it."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def show(self, done: int, total: int | None = None) -> None:
        """Show that so many are done."""
        now = time.monotonic()
        if now - self._looked < OFTEN:
            return
        self._looked = now
        self._total = self._total if total is None else total
        self._seen.append((now, done))
        while len(self._seen) > 1 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=self._total, said=self._told(done))
        elif now >= self._next:
            self._next = now + NOW_AND_THEN
            click.echo(f"seatline: {self._what}: {self._told(done)}", err=True)

    def _told(self, done: int) -> str:
        (began, first), (now, _) = self._seen[0], self._seen[-1]
        of = "" if self._total is None else f" of {self._total:,}"
        rate = (done - first) / (now - began) if now > began else 0.0
        if not rate:
            return f"{done:,}{of}"
        told = f"{done:,}{of}, {rate:,.0f}/s" if rate >= 10 else f"{done:,}{of}, {rate:.1f}/s"  # noqa: PLR2004 - tenths tell something
        if self._total is None:
            return told
        left = max(0.0, (self._total - done) / rate)
        end = dt.datetime.now().astimezone() + dt.timedelta(seconds=left)
        return f"{told}, {span(left)} left, until about {end:%H:%M:%S}"
