"""Repetition, medians and tables.

Systems take turns (A B C, A B C, ...), and so do placements: what the machine does to one round it does to all of that
round. Each figure is the median of the rounds, with the least and the greatest beside it. On a shared machine absolute
rates swing by half; the ratio of two systems in one run is what holds.
"""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

from bench.environment import Environment

Key = tuple[str, str]  # a placement and a system


@dataclass(frozen=True)
class Sample:
    """One figure of one round."""

    case: str
    system: str
    metric: str
    value: float
    round: int
    placement: str


@dataclass(frozen=True)
class Figure:
    """A metric over all rounds."""

    median: float
    least: float
    greatest: float


class Record:
    """All samples of a run; every sample is also written as a JSON line as soon as it is known."""

    def __init__(self, lines: TextIO | None = None) -> None:
        self.samples: list[Sample] = []
        self._lines = lines

    def describe(self, environment: Environment) -> None:
        """Write the environment as the first line."""
        self._write({"environment": asdict(environment)})

    def add(self, case: str, placement: str, system: str, metrics: Mapping[str, float], turn: int) -> None:
        """Take the metrics of one round."""
        for metric, value in metrics.items():
            sample = Sample(case, system, metric, value, turn, placement)
            self.samples.append(sample)
            self._write(asdict(sample))

    def figure(self, case: str, system: str, metric: str, placement: str) -> Figure | None:
        """Return a metric's median and spread, or None where it was not measured."""
        wanted = (case, system, metric, placement)
        found = [s.value for s in self.samples if (s.case, s.system, s.metric, s.placement) == wanted]
        return Figure(statistics.median(found), min(found), max(found)) if found else None

    def cases(self, prefix: str) -> list[str]:
        """Return the measured cases that begin with `prefix`, in the order of measurement."""
        return list(dict.fromkeys(s.case for s in self.samples if s.case.startswith(prefix)))

    def systems(self, cases: Sequence[str], placement: str) -> list[str]:
        """Return the systems that have samples in `cases`, in the order of measurement."""
        return list(dict.fromkeys(s.system for s in self.samples if s.case in cases and s.placement == placement))

    @property
    def placements(self) -> list[str]:
        """The measured placements, in the order of measurement."""
        return list(dict.fromkeys(s.placement for s in self.samples))

    def _write(self, line: dict[str, object]) -> None:
        if self._lines:
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()


def interleave(
    record: Record,
    case: str,
    measured: Mapping[Key, Callable[[], dict[str, float]]],
    rounds: int,
    say: Callable[[str], None],
) -> None:
    """Measure a case: every system in every placement once a round, for so many rounds."""
    for turn in range(1, rounds + 1):
        for (placement, system), measure in measured.items():
            say(f"{case}: {system}, {placement}, round {turn} of {rounds}")
            record.add(case, placement, system, measure(), turn)


def table(record: Record, case_prefix: str, metric: str, placement: str) -> str:
    """Return a markdown table of one metric: systems down, cases across.

    Args:
        record: The samples.
        case_prefix: Which cases; what follows it names the column.
        metric: The metric's name.
        placement: Of this placement.

    """
    measured = {s.case for s in record.samples if s.metric == metric and s.placement == placement}
    cases = [case for case in record.cases(case_prefix) if case in measured]
    heads = [case.removeprefix(case_prefix).strip() or metric for case in cases]
    rows = [["system", *heads]]
    for system in record.systems(cases, placement):
        figures = [record.figure(case, system, metric, placement) for case in cases]
        if any(figures):
            rows.append([system, *map(cell, figures)])
    return markdown(rows)


def cell(figure: Figure | None) -> str:
    """Return a figure as text: its median, and its spread if it has one."""
    if figure is None:
        return "n/a"
    middle, least, greatest = (number(value) for value in (figure.median, figure.least, figure.greatest))
    return middle if least == greatest else f"{middle} ({least} to {greatest})"


def number(value: float) -> str:
    """Return a number with three digits or so."""
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as a markdown table; the first one is its head."""
    head, *body = rows
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] + ["---:"] * (len(head) - 1), *body)]
    return "\n".join(lines)
