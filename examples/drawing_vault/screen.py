"""What a run looks like: lines that tell what happened, on a terminal a live picture below them, in the end the sum."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

WIDTH_MOST: Final = 110
STYLES: Final = {"failed": "red", "left": "red", "skipped": "yellow", "urgent": "cyan", "worker": "magenta"}
WORDS: Final = {"released": "green", "skipped": "yellow", "failed": "red"}


@dataclass(frozen=True, slots=True)
class State:
    """How far it is."""

    total: int
    counts: dict[str, int]
    seats: int
    capacity: int
    running: list[str]


class Screen:
    """The terminal of a run; where it is none, only the lines are written."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._console.width = min(self._console.width, WIDTH_MOST)
        self._fine = (self._console.encoding or "").lower().startswith("utf")
        self._began = time.monotonic()
        self._told = False
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def title(self, **facts: str) -> None:
        """Begin."""
        self._console.print(Text("Drawing vault", style="bold"))
        for name, fact in facts.items():
            self._console.print(Text.assemble((f"  {name:8}", "dim"), fact), soft_wrap=True)
        self._console.print()

    def say(self, what: str, text: str) -> None:
        """Tell what happened, with the seconds since the beginning."""
        self._told = True
        when = f"{time.monotonic() - self._began:.1f} s"
        if not self._console.is_terminal:
            self._console.print(Text(f"{when:>7}  {what:7}  {self._plain(text)}"), soft_wrap=True)
            return
        line = Table.grid(padding=(0, 2))
        line.add_column(width=7, justify="right", no_wrap=True, style="dim")
        line.add_column(width=7, no_wrap=True, style=STYLES.get(what, ""))
        line.add_column(overflow="fold")
        line.add_row(when, what, Text(self._plain(text)))
        self._console.print(line)

    def draw(self, state: State) -> None:
        """Show how far it is."""
        if not self._live.is_started:
            return
        done = sum(state.counts.values())
        bar = Table.grid(padding=(0, 2), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        told = f"{done}/{state.total} drawings"
        bar.add_row(" ", ProgressBar(total=max(1, state.total), completed=done, complete_style="cyan"), told)
        held, free = ("●", "○") if self._fine else ("#", ".")
        seats = Text.assemble(
            ("  cad seats  ", "dim"),
            (held * state.seats, "yellow"),
            (free * max(0, state.capacity - state.seats), "dim"),
        )
        sums = Text.assemble(("  so far     ", "dim"), *self._sums(state.counts))
        runs = Text.assemble(
            ("  running    ", "dim"), self._plain(", ".join(state.running) or "-"), overflow="ellipsis", no_wrap=True
        )
        self._live.update(Group(Text(), bar, sums, seats, runs))

    def summary(self, counts: dict[str, int], total: int, before: int, *, stopped: bool) -> None:
        """Say how it ended."""
        self._live.update(Text())
        done = sum(counts.values())
        ended = f"{'all' if done == total else f'{done} of'} {total} drawings have ended"
        if done == total == 1:
            ended = "the drawing has ended"
        if before:
            ended += f", {'all' if before == total else before} of them before"
        if done < total and stopped:
            ended += "; the next run goes on"
        if self._told:
            self._console.print()
        self._console.print(Text.assemble("  ", *self._sums(counts)))
        self._console.print(Text(f"  {ended} ({time.monotonic() - self._began:.1f} s)", style="bold"))
        self._console.print()

    def hint(self, name: str, text: str) -> None:
        """Name something to look at, or to type."""
        self._console.print(Text.assemble((f"  {name:8}", "dim"), (text, "cyan")), soft_wrap=True)

    def _sums(self, counts: dict[str, int]) -> list[tuple[str, str]]:
        parts: list[tuple[str, str]] = []
        for name, style in WORDS.items():
            parts += [(", ", "")] if parts else []
            parts.append((f"{counts[name]} {name}", style if counts[name] else "dim"))
        return parts

    def _plain(self, text: str) -> str:
        """Names come from strangers: nothing in them may steer the terminal."""
        return "".join(char if char.isprintable() else "?" for char in text)
