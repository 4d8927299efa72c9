"""What has failed, by kind: jobs of one type whose messages are alike are one failure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from seatline.producer.alike import alike
from seatline.producer.selection import ENDED, Wanted, through
from seatline.shared.calls import scan
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.errors import InvalidInput
from seatline.shared.keys import Keys

__all__ = ["Failure", "failures_of"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Jobs of one type that have ended with messages that are alike.

    Attributes:
        type: of the jobs.
        message: the kind of error and the first line of what it says, with ``<n>``, ``<id>``, ``<path>``, ``<url>`` for
            what differs; ``queue.select(error=message)`` finds these jobs (and those of longer messages with that text).
        count: how many.
        first, last: when the first and the last of them ended, in UTC.
        example: the id of the last one.

    """

    type: str
    message: str
    count: int
    first: dt.datetime
    last: dt.datetime
    example: str


def failures_of(keys: Keys, wanted: Wanted, newer_than: float | dt.timedelta | None = None) -> Talk[list[Failure]]:
    """Return the failures among the jobs that are wanted, the most frequent first."""
    for state in wanted.states:
        if state not in ENDED:
            raise InvalidInput(f"state: {state!r} is no end. Use one of {', '.join(ENDED)}.")
    seconds = newer_than.total_seconds() if isinstance(newer_than, dt.timedelta) else newer_than
    if seconds is not None and not 0 < seconds < 2**40:
        raise InvalidInput(f"newer_than: {newer_than!r} is no length of time. Use seconds, or a timedelta.")
    moment, _ = yield from ask(scan.start(keys))
    since = 0 if seconds is None else moment - int(seconds * 1000)
    kinds: dict[tuple[str, str], dict[str, int]] = {}
    texts: dict[tuple[str, str], str] = {}

    def take(jobs: Sequence[scan.Seen | str]) -> None:
        for job in jobs:
            if isinstance(job, str) or job.finished < since:
                continue
            said = (job.type, job.error)
            if said not in texts:
                texts[said] = alike(job.error, job.type)
            kinds.setdefault((job.type, texts[said]), {})[job.id] = job.finished

    yield from through(keys, wanted, moment, take, whole=True)
    found = [_failure(type_, message, ends) for (type_, message), ends in kinds.items()]
    return sorted(found, key=lambda each: (-each.count, -each.last.timestamp(), each.type, each.message))


def _failure(type_: str, message: str, ends: dict[str, int]) -> Failure:
    last = max((finished, job_id) for job_id, finished in ends.items())
    first = min(ends.values())
    return Failure(type_, message, len(ends), _moment(first), _moment(last[0]), last[1])


def _moment(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
