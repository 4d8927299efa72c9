"""The workers of a namespace as one look tells: who is there, what each says of itself, which jobs it runs.

Who is there is told by ``workers``: until when each counts as live. What a worker says of itself is as old as its last
renewal; so the jobs it runs are read from the jobs. One that went without a word stays listed for a day, as *lost*; if an
event has told of that, in ``lost``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from seatline.console.output import local
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.calls.reads import WorkerRecord
from seatline.shared.errors import NoSuchWorker
from seatline.shared.store import Store

__all__ = ["Fleet", "RunningJob", "Seen", "fleet_of", "worker_data"]

#: Workers and running jobs that one look reads, at most.
_MOST: Final = 10_000
_FIELDS: Final = ("worker", "type", "attempt", "started", "progress", "overdue", "title", "if_lost")
_SLEEPS: Final = "sleeping until "


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that a worker runs."""

    id: str
    worker: str
    type: str
    attempt: int
    started: dt.datetime | None
    progress: str | None
    overdue: bool
    title: str | None
    if_lost: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker as it was seen: its record, until when it counts as live, its jobs, and the server's time."""

    record: WorkerRecord
    until: dt.datetime
    jobs: tuple[RunningJob, ...]
    now: dt.datetime

    @property
    def id(self) -> str:
        """Its id, which begins with its host."""
        return self.record.id

    @property
    def live(self) -> bool:
        """Whether it has been heard of in time."""
        return self.record.live

    @property
    def state(self) -> str:
        """One word: awake, paused, stopping, sleeping; lost: it went without a word."""
        if not self.live:
            return "lost"
        said = self.text("state") or "awake"
        return "sleeping" if said.startswith(_SLEEPS) else said

    @property
    def wakes(self) -> dt.datetime | None:
        """When a sleeping one wakes."""
        if self.state != "sleeping":
            return None
        try:
            return dt.datetime.fromisoformat((self.text("state") or "").removeprefix(_SLEEPS))
        except ValueError:
            return None

    def state_shown(self) -> str:
        """Its state in words for people, times by this machine's clock."""
        return self.state if self.wakes is None else f"sleeping until {_clock(self.wakes, self.now)}"

    def text(self, name: str) -> str | None:
        """A field of its record, None if it is not known."""
        return self.record.fields.get(name) or None

    def number(self, name: str) -> int | None:
        """A field that is a number."""
        value = self.text(name)
        return int(value) if value and value.isdecimal() else None

    def moment(self, name: str) -> dt.datetime | None:
        """A field that is a moment."""
        value = self.number(name)
        return None if value is None else dt.datetime.fromtimestamp(value / 1000, dt.UTC)

    def seen(self) -> str:
        """How long ago it was heard of."""
        from seatline.console.output import span  # noqa: PLC0415 - beside its only use

        if self.record.last_seen:
            return f"{span((self.now - self.record.last_seen).total_seconds())} ago"
        return f"over {span((self.now - self.until).total_seconds())} ago"


@dataclass(frozen=True, slots=True)
class Fleet:
    """All workers: the live ones first, by host."""

    workers: Sequence[Seen]

    @property
    def live(self) -> list[Seen]:
        """Those that are there."""
        return [worker for worker in self.workers if worker.live]

    def named(self, name: str) -> Seen:
        """Return the worker with this id, or the only one whose id begins so.

        Raises:
            NoSuchWorker: there is none.
            click.UsageError: several begin so.

        """
        if not name:
            # As from an unset variable of a shell: every id begins so.
            raise click.UsageError("worker: the id is empty.", click.get_current_context(silent=True))
        found = [worker for worker in self.workers if worker.id.startswith(name)]
        exact = [worker for worker in found if worker.id == name]
        found = exact or [worker for worker in found if worker.live] or found
        if not found:
            raise NoSuchWorker(
                f"worker {name}: no worker's id is that or begins so; it has stopped, or never was. `seatline workers list` "
                "shows who is there."
            )
        if len(found) > 1:
            ids = ", ".join(worker.id for worker in found[:10]) + (", ..." if len(found) > 10 else "")  # noqa: PLR2004 - a line
            raise click.UsageError(
                f"worker {name}: {len(found)} ids begin so: {ids}. Type more of the one you mean.",
                click.get_current_context(silent=True),
            )
        return found[0]


def fleet_of(store: Store) -> Fleet:
    """Look at all workers, live and lost, and at what they run."""
    keys = store.keys
    there, lost = (store.read(reads.page(keys, name, 0, _MOST)) for name in ("workers", "lost"))
    listed = list({**dict(lost), **dict(there)}.items())
    offers = store.read(reads.name_set(keys, "offers"))
    records = store.read(reads.worker_records(keys, [worker for worker, _ in listed], offers))
    running = store.read(reads.page(keys, "running", 0, _MOST))
    jobs = _jobs(store, [job_id for job_id, _ in running])
    now = dt.datetime.fromtimestamp(store.read(reads.server_time()) / 1000, dt.UTC)
    workers = [
        Seen(
            record,
            dt.datetime.fromtimestamp(until / 1000, dt.UTC),
            tuple(job for job in jobs if job.worker == record.id),
            now,
        )
        for record, (_, until) in zip(records, listed, strict=True)
    ]
    workers.sort(key=lambda worker: (not worker.live, worker.text("host") or "", worker.id))
    return Fleet(workers)


def _jobs(store: Store, ids: Sequence[str]) -> list[RunningJob]:
    if not ids:
        return []
    looks: list[Command] = [("HMGET", store.keys.job(job_id), *_FIELDS) for job_id in ids]

    def parse(replies: Sequence[Any]) -> list[RunningJob]:
        jobs: list[RunningJob] = []
        for job_id, values in zip(ids, replies, strict=True):
            worker, type_, attempt, started, progress, overdue, title, if_lost = (v and text(v) for v in values)
            if worker:  # else it has been settled and removed meanwhile
                since = dt.datetime.fromtimestamp(int(started) / 1000, dt.UTC) if started else None
                number = int(attempt or 0)
                lost = if_lost or "interrupt"
                jobs.append(
                    RunningJob(job_id, worker, type_ or "?", number, since, progress, bool(overdue), title, lost)
                )
        return jobs

    return store.read(Read(looks, parse))


def _clock(moment: dt.datetime, now: dt.datetime) -> str:
    """Return a moment that is near as a time of day, by the second if it is very near; else with its date."""
    mine = moment.astimezone()
    if abs((moment - now).total_seconds()) < 60:  # noqa: PLR2004 - a minute
        return f"{mine:%H:%M:%S}"
    return f"{mine:%H:%M}" if mine.date() == now.astimezone().date() else local(moment)


def worker_data(worker: Seen) -> Mapping[str, Any]:
    """Return all that is known of a worker, for JSON."""
    return {
        "id": worker.id,
        "state": worker.state,
        "wakes": worker.wakes,
        "asked": worker.text("asked"),
        "asked_by": worker.text("asked_by"),
        "asked_at": worker.moment("asked_at"),
        "host": worker.text("host"),
        "pid": worker.number("pid"),
        "slots": worker.number("slots"),
        "busy": len(worker.jobs),
        "overdue": worker.number("overdue"),
        "done": worker.number("done"),
        "failed": worker.number("failed"),
        "cycles": worker.number("cycles"),
        "memory": worker.number("memory"),
        "last_error": worker.text("last_error"),
        "types": worker.record.types,
        "started": worker.moment("started"),
        "last_seen": worker.record.last_seen,
        "version": worker.text("version"),
        "python": worker.text("python"),
    }
