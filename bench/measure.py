"""Repetition, medians and tables.

Systems take turns (A B C, A B C, ...): what the machine does to one round it does to all systems of that round. Each
figure is the median of the rounds, with the least and the greatest beside it. On a shared machine absolute rates
swing by half; the ratio of two systems in one run is what holds.
"""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

from bench.environment import Environment


@dataclass(frozen=True)
class Sample:
    """One figure of one round."""

    case: str
    system: str
    metric: str
    value: float
    round: int


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

    def add(self, case: str, system: str, metrics: dict[str, float], turn: int) -> None:
        """Take the metrics of one round."""
        for metric, value in metrics.items():
            sample = Sample(case, system, metric, value, turn)
            self.samples.append(sample)
            self._write(asdict(sample))

    def figure(self, case: str, system: str, metric: str) -> Figure | None:
        """Return a metric's median and spread, or None where it was not measured."""
        found = [s.value for s in self.samples if (s.case, s.system, s.metric) == (case, system, metric)]
        return Figure(statistics.median(found), min(found), max(found)) if found else None

    def cases(self, prefix: str) -> list[str]:
        """Return the measured cases that begin with `prefix`, in the order of measurement."""
        return list(dict.fromkeys(s.case for s in self.samples if s.case.startswith(prefix)))

    def systems(self, cases: Sequence[str]) -> list[str]:
        """Return the systems that have samples in `cases`, in the order of measurement."""
        return list(dict.fromkeys(s.system for s in self.samples if s.case in cases))

    def _write(self, line: dict[str, object]) -> None:
        if self._lines:
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()


def interleave(
    record: Record,
    case: str,
    measured: dict[str, Callable[[], dict[str, float]]],
    rounds: int,
    say: Callable[[str], None],
) -> None:
    """Measure a case: every system once a round, for so many rounds."""
    for turn in range(1, rounds + 1):
        for system, measure in measured.items():
            say(f"{case}: {system}, round {turn} of {rounds}")
            record.add(case, system, measure(), turn)


def table(record: Record, case_prefix: str, metric: str, *, ours: str = "seatline", better: str = "high") -> str:
    """Return a markdown table of one metric: systems down, cases across, with our ratio where we were measured.

    Args:
        record: The samples.
        case_prefix: Which cases; what follows it names the column.
        metric: The metric's name.
        ours: The system that the ratio is about.
        better: ``high`` for ratios ours/theirs, ``low`` for theirs/ours: above 1 ours is better either way.

    """
    measured = {s.case for s in record.samples if s.metric == metric}
    cases = [case for case in record.cases(case_prefix) if case in measured]
    systems = record.systems(cases)
    heads = [case.removeprefix(case_prefix).strip() or metric for case in cases]
    rows = [["system", *heads]]
    for system in systems:
        row = [system]
        for case in cases:
            figure = record.figure(case, system, metric)
            own = record.figure(case, ours, metric) if system != ours else None
            row.append(_cell(figure) + _ratio(own, figure, better))
        rows.append(row)
    return _markdown(rows)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "n/a"
    middle, least, greatest = (_number(value) for value in (figure.median, figure.least, figure.greatest))
    return middle if least == greatest else f"{middle} ({least} to {greatest})"


def _ratio(own: Figure | None, theirs: Figure | None, better: str) -> str:
    if own is None or theirs is None or not own.median or not theirs.median:
        return ""
    ratio = own.median / theirs.median if better == "high" else theirs.median / own.median
    return f" **{ratio:.3g} x**"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] + ["---:"] * (len(head) - 1), *body)]
    return "\n".join(lines)
