"""Reads for the report: jobs by the moment of their end, page by page, and of each what it is counted by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seatline.shared.calls.base import Command, Read, text
from seatline.shared.errors import PayloadError
from seatline.shared.job import Attempt, JobRecord
from seatline.shared.keys import STATES, Keys

__all__ = ["Ended", "Scene", "ended_between", "ended_jobs", "scene", "sizes"]

_ORDER_ENDS = ("succeeded", "failed", "cancelled")
_FIELDS = (
    "type", "state", "created", "due", "started", "finished", "attempt", "worker", "seats", "error_type", "error", "priority",
)  # fmt: skip
_NAMES = tuple(name.encode() for name in _FIELDS)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended, the lines of its history, and its earlier attempts."""

    job: JobRecord
    history: Sequence[tuple[dt.datetime, str]]
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is besides: how many orders ended in a period and how, how many jobs run and are scheduled now.

    ``gone``: of each end the latest end of the jobs that were trimmed (epoch ms). ``removed``: jobs and orders, ever.
    """

    orders: dict[str, int]
    running: int
    scheduled: int
    gone: dict[str, int]
    removed: int


def ended_between(keys: Keys, state: str, since: int, until: int, skip: int, count: int) -> Read[list[tuple[str, int]]]:
    """Return jobs that ended from one moment (epoch ms) until before another, the first to end first, with their ends."""
    command: Command = (
        "ZRANGEBYSCORE", keys(f"finished:{state}"), since, f"({until}", "WITHSCORES", "LIMIT", skip, count,
    )  # fmt: skip

    def parse(replies: Sequence[Any]) -> list[tuple[str, int]]:
        flat = replies[0]
        return [(text(member), int(float(score))) for member, score in zip(flat[::2], flat[1::2], strict=True)]

    return Read([command], parse)


def ended_jobs(keys: Keys, ids: Sequence[str]) -> Read[list[Ended]]:
    """Return what these jobs are counted by; those that are gone, or run again, are left out."""
    commands: list[Command] = []
    for job_id in ids:
        key = keys.job(job_id)
        commands += [
            ("HMGET", key, *_FIELDS),
            ("LRANGE", f"{key}:history", 0, -1),
            ("LRANGE", f"{key}:attempts", 0, -1),
        ]

    def parse(replies: Sequence[Any]) -> list[Ended]:
        found: list[Ended] = []
        for at, job_id in enumerate(ids):
            fields, history, attempts = replies[3 * at : 3 * at + 3]
            flat = [word for pair in zip(_NAMES, fields, strict=True) if pair[1] is not None for word in pair]
            job = JobRecord.read(job_id, flat)
            if job.finished is not None:
                found.append(Ended(job, [_line(line) for line in history], _attempts(attempts)))
        return found

    return Read(commands, parse)


def _line(line: bytes) -> tuple[dt.datetime, str]:
    ms, _, what = text(line).partition(" ")
    return dt.datetime.fromtimestamp(float(ms) / 1000, dt.UTC), what


def _attempts(entries: Sequence[bytes]) -> list[Attempt]:
    """Return those that can be read: what somebody else has written there is no run."""
    found: list[Attempt] = []
    for entry in entries:
        try:
            found.append(Attempt.read(text(entry)))
        except PayloadError:
            continue
    return found


def sizes(zsets: Sequence[str]) -> Read[list[int]]:
    """Return how many stand in each of these places (full names of keys)."""
    return Read([("ZCARD", zset) for zset in zsets], lambda replies: [int(size) for size in replies])


def scene(keys: Keys, since: int, until: int) -> Read[Scene]:
    """Return what there is besides the jobs that have ended."""
    ends = STATES[3:]
    commands: list[Command] = [("ZCOUNT", keys(f"orders:{state}"), since, f"({until}") for state in _ORDER_ENDS]
    commands += [("ZCARD", keys("running")), ("ZCARD", keys("scheduled"))]
    commands += [("HMGET", keys.about, "removed", *(f"gone.{state}" for state in ends))]

    def parse(replies: Sequence[Any]) -> Scene:
        *counts, running, scheduled, (removed, *gone) = replies
        return Scene(
            {state: int(count) for state, count in zip(_ORDER_ENDS, counts, strict=True)},
            int(running),
            int(scheduled),
            {state: int(ms) for state, ms in zip(ends, gone, strict=True) if ms},
            int(removed or 0),
        )

    return Read(commands, parse)
