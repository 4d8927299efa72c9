"""What the demo looks like: lines that tell the story, a live picture below them, in the end the table.

On a terminal the picture is redrawn in place. Where the output goes into a file or a pipe only the lines and the table
are written. Nothing needs more than 60 columns; commands to be pasted are never broken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from seatline.console.demo.figures import Figure, Row
from seatline.console.demo.witness import Counts

__all__ = ["Picture", "Screen", "WorkerLine"]

#: Wider than this the eye has to travel.
_WIDTH_MOST: Final = 100
_FRAMES: Final = 12


@dataclass(slots=True)
class WorkerLine:
    """A worker in the picture."""

    name: str
    pid: int
    running: list[str] = field(default_factory=list[str])
    killed: bool = False


@dataclass(slots=True)
class Picture:
    """What is live: bars (name -> done, total), seats, workers, and what is waited for."""

    bars: dict[str, tuple[int, int]]
    seats: Counts
    workers: list[WorkerLine]
    waiting: str = ""


class Screen:
    """The one terminal of the demo."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.console.width = min(self.console.width, _WIDTH_MOST)
        self._fine = (self.console.encoding or "").lower().startswith("utf")
        self._began = time.monotonic()
        self._live = Live(console=self.console, refresh_per_second=_FRAMES, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def title(self, text: str, more: str) -> None:
        """Begin."""
        self.console.print(Text.assemble((text, "bold"), "  ", (more, "dim")))
        self.console.print()

    def say(self, text: str, style: str = "") -> None:
        """Tell what happens, with the time."""
        line = Table.grid(padding=(0, 2), expand=False)
        line.add_column(justify="right", width=6, no_wrap=True, style="dim")
        line.add_column(overflow="fold")
        line.add_row(f"{self.seconds:.1f} s", Text(self._plain(text), style=style))
        self.console.print(line)

    def draw(self, picture: Picture) -> None:
        """Show the live picture, on a terminal."""
        if self._live.is_started:
            self._live.update(Group(Text(), self._bars(picture), Text(), *self._things(picture)))

    def table(self, rows: Sequence[Row], figures: Sequence[Figure]) -> None:
        """Print the end: jobs by state, then each figure."""
        self.console.print()
        self.console.print(_states(rows))
        self.console.print()
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=3, justify="right")
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for figure in figures:
            mark, style = (self._glyph("✓", "+"), "green") if figure.right else (self._glyph("✗", "X"), "bold red")
            text = Text(self._plain(figure.text), style="" if figure.right else "red")
            grid.add_row(Text(mark, style=style), Text(figure.name, style="bold"), text)
        self.console.print(grid)
        self.console.print()

    def verdict(self, text: str, *, good: bool) -> None:
        """Say how it ended."""
        self.console.print(Text(self._plain(text), style="bold green" if good else "bold red"))

    def commands(self, heading: str, *lines: str) -> None:
        """Print commands to paste: nothing else stands on their lines, for not every shell knows comments."""
        self.console.print(Text(heading, style="dim"))
        for line in lines:
            self.console.print(Text(f"  {line}", style="cyan"), soft_wrap=True)

    def _bars(self, picture: Picture) -> RenderableType:
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(justify="right", no_wrap=True)
        for name, (done, total) in picture.bars.items():
            bar = ProgressBar(total=max(1, total), completed=done, complete_style="cyan", finished_style="green")
            grid.add_row(f"  {name}", bar, Text(f"{done}/{total}", style="green" if done == total else ""))
        return grid

    def _things(self, picture: Picture) -> list[Text]:
        seats = picture.seats
        held, free = self._glyph("●", "#"), self._glyph("○", ".")
        marks = Text.assemble((held * seats.now, "yellow"), (free * max(0, seats.capacity - seats.now), "dim"))
        told = f"{seats.now} of {seats.capacity} in use, most ever {seats.peak}, refused {seats.refused}"
        lines = [Text.assemble(("  licence   ", "bold"), marks, "  ", told)]
        for worker in picture.workers:
            doing = (
                Text("killed", style="red") if worker.killed else Text(", ".join(worker.running) or "idle", style="dim")
            )
            lines.append(Text.assemble((f"  {worker.name}  ", "bold"), f"pid {worker.pid}  ", doing))
        lines.append(Text("  " + picture.waiting if picture.waiting else "", style="yellow"))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis" if self._fine else "crop"  # an ellipsis is not ASCII
        return lines

    def _glyph(self, fine: str, plain: str) -> str:
        return fine if self._fine else plain

    def _plain(self, text: str) -> str:
        return text if self._fine else text.encode("ascii", "replace").decode()


def _states(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("  jobs", no_wrap=True)
    for name in ("enqueued", "succeeded", "failed", "elsewhere"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = (row.enqueued, row.succeeded, row.failed, row.elsewhere)
        table.add_row(f"  {row.name}", *(f"{cell:,}" for cell in cells), style="bold" if row is rows[-1] else "")
    return table
