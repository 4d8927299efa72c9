"""What happened to one job: every transition there is a record of, in the order of time.

Nothing is kept for it but what is kept anyway. Its record has its acceptance, its last run and its end; ``:attempts`` has the
runs that failed and after which it ran again, at most 20; ``:history`` has the runs that ended otherwise (lost, handed back)
and what people did, at most 100 lines.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from seatline.shared.calls import reads
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.job import WAITING, Attempt, JobRecord
from seatline.shared.keys import Keys

__all__ = ["Transition", "for_people", "runs_of", "timeline"]

#: How the history tells that a worker gave a job back at once: the licence server refused, or it was told to stop.
NOT_BEGUN: Final = "not begun"
_RUN: Final = re.compile(r"attempt (?P<attempt>\d+) by (?P<worker>\S+) from (?P<began>\d+): (?P<what>.*)", re.DOTALL)
_BY: Final = re.compile(r"\bby (?P<by>\S+(?: \(.*?\))?)(?= |$)")


@dataclass(frozen=True, slots=True)
class Transition:
    """One thing that happened to a job.

    Attributes:
        at: when, in UTC.
        what: in words.
        attempt: of which attempt, or None.
        worker: which worker did it, or None.
        by: which person or program did it, with the comment in brackets, or None.

    """

    at: dt.datetime
    what: str
    attempt: int | None = None
    worker: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a job: from when until when (None: it goes on)."""

    attempt: int
    worker: str
    began: dt.datetime | None
    ended: dt.datetime | None
    what: str


def timeline(keys: Keys, record: JobRecord) -> Talk[list[Transition]]:
    """Return all that happened to a job, oldest first."""
    lines = yield from ask(reads.history(keys, record.id))
    attempts = yield from ask(reads.attempts(keys, record.id))
    found = [Transition(record.created, _accepted(record))] if record.created else []
    told = record.finished is None or any(
        when == record.finished and what.startswith(record.state) for when, what in lines
    )
    for run in _runs(record, lines, attempts):
        told = told or run.what == _ended(record)
        if run.began:
            found.append(Transition(run.began, f"attempt {run.attempt} begins", run.attempt, run.worker))
        if run.ended:
            what = run.what if run.ended == record.finished else f"attempt {run.attempt} {run.what}"
            found.append(Transition(run.ended, what, run.attempt, run.worker))
    for when, what in lines:
        if not _RUN.fullmatch(what):
            by = _BY.search(what)
            found.append(Transition(when, what, by=by["by"] if by else None))
    until = record.started or record.finished
    if record.due and record.state != "scheduled" and (until is None or record.due <= until):
        found.append(Transition(record.due, "due"))
    if record.finished and not told:
        found.append(Transition(record.finished, _ended(record)))
    return sorted(found, key=lambda each: each.at)


def runs_of(
    record: JobRecord, lines: Iterable[tuple[dt.datetime, str]], attempts: Sequence[Attempt]
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """Yield from when until when it ran: all of its runs that have ended, as far as they are known.

    What was handed back before its handler began is no run.
    """
    for run in _runs(record, lines, attempts):
        if run.began and run.ended and not run.what.endswith(NOT_BEGUN):
            yield run.began, run.ended


def for_people(line: str) -> str:
    """Return a line of a history without the moment (epoch ms) at which its run began."""
    found = _RUN.fullmatch(line)
    return f"attempt {found['attempt']} by {found['worker']}: {found['what']}" if found else line


def _runs(record: JobRecord, lines: Iterable[tuple[dt.datetime, str]], attempts: Sequence[Attempt]) -> Iterator[_Run]:
    """Yield each run once: an interrupted one that was run again is told of in both lists."""
    seen = set[dt.datetime]()
    for when, what in lines:
        if found := _RUN.fullmatch(what):
            began = dt.datetime.fromtimestamp(int(found["began"]) / 1000, dt.UTC)
            seen.add(began)
            yield _Run(int(found["attempt"]), found["worker"], began, when, found["what"])
    for each in attempts:
        if each.began not in seen:
            first = (each.error.splitlines() or [""])[0]
            yield _Run(each.attempt, each.worker, each.began, each.moment, f"failed: {each.error_type}: {first}")
            if each.began:
                seen.add(each.began)
    if record.attempt and record.started and record.started not in seen and record.state not in WAITING:
        worker = record.worker or "?"
        yield _Run(record.attempt, worker, record.started, record.finished, _ended(record))


def _accepted(record: JobRecord) -> str:
    words = [f"accepted at priority {record.priority}" if record.order is None else f"made for step {record.step}"]
    if record.order is not None:
        words.append(f"of order {record.order}")
    if record.schedule:
        words.append(f"by schedule {record.schedule}")
    if record.event:
        words.append(f"by event {record.event}")
    return ", ".join(words)


def _ended(record: JobRecord) -> str:
    error = f"{record.error_type}: {record.error}" if record.error_type else record.error
    why = record.reason or error
    return record.state + (f": {why.splitlines()[0]}" if why and record.state != "succeeded" else "")
