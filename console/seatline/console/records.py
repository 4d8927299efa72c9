"""Records as people and programs see them: a job's columns, and the JSON of jobs, obstacles and pools."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from seatline.console.output import Column, span
from seatline.producer.why import Obstacle
from seatline.shared.calls.reads import PoolRecord
from seatline.shared.errors import SeatlineError
from seatline.shared.job import JobRecord

__all__ = [
    "ENDED_COLUMN",
    "ERROR_COLUMN",
    "JOB_COLUMNS",
    "Line",
    "job_data",
    "obstacle_data",
    "pool_data",
    "progress_shown",
    "uses_shown",
]


@dataclass(frozen=True, slots=True)
class Line:
    """A job of a listing, what keeps it, and the server's time."""

    job: JobRecord
    reason: str
    now: dt.datetime

    def age(self) -> str:
        """How long ago it was enqueued."""
        return "-" if self.job.created is None else span((self.now - self.job.created).total_seconds())

    def ended(self) -> str:
        """How long ago it ended."""
        return "-" if self.job.finished is None else f"{span((self.now - self.job.finished).total_seconds())} ago"

    def error(self) -> str:
        """The kind of its error, and the first line of what it says."""
        first = (self.job.error or "").partition("\n")[0]
        return ": ".join(filter(None, (self.job.error_type, first))) or "-"

    def progress(self) -> str:
        """How far it is while it runs, and which attempt has failed while it waits for the next."""
        if self.job.state == "running":
            return progress_shown(self.job.progress, overdue=self.job.overdue)
        return f"attempt {self.job.attempt} failed" if self.reason == "retry" else "-"


JOB_COLUMNS: list[Column[Line]] = [
    Column("ID", lambda line: str(int(line.job.id)), right=True),
    Column("TYPE", lambda line: line.job.type),
    Column("PRIORITY", lambda line: str(line.job.priority), right=True),
    Column("STATE", lambda line: line.job.state),
    Column("REASON", lambda line: line.reason),
    Column("AGE", lambda line: line.age(), right=True),
    Column("PROGRESS", lambda line: line.progress(), spare=True),
    Column("TITLE", lambda line: line.job.title or "", cuts=True),
]
#: Beside them, of jobs that have ended, and of those that may have an error.
ENDED_COLUMN: Column[Line] = Column("ENDED", Line.ended, right=True)
ERROR_COLUMN: Column[Line] = Column("ERROR", Line.error, cuts=True, spare=True)


def progress_shown(progress: str | None, *, overdue: bool = False, full: bool = False) -> str:
    """Return how far a job is: ``30%`` (or how much is done, of nobody knows what); ``full``: also its words."""
    amount, _, words = (progress or "").partition(" ")
    done, _, total = amount.partition("/")
    try:
        shown = f"{float(done) / float(total):.0%}"
        shown += f" ({amount})" if full else ""
    except (ValueError, ZeroDivisionError):
        shown = amount
    return " ".join(filter(None, ("overdue" if overdue else "", shown, words if full else ""))) or "-"


def uses_shown(job: JobRecord, of_type: str | None) -> str:
    """Return the seats a job needs: its own, or what its type is known to use."""
    if job.uses is None:
        return f"{of_type.replace(',', ', ')} (its type's)" if of_type else "what its type uses; no worker has told yet"
    return ", ".join(f"{pool}={seats}" for pool, seats in job.uses.items()) or "none"


def _value(job: JobRecord, what: str) -> Any:
    try:
        return getattr(job, what)
    except SeatlineError as error:
        return {"unreadable": str(error)}


def job_data(job: JobRecord, reason: str | None = None) -> dict[str, Any]:
    """Return all that is known of a job, for JSON; ids as text, times still as moments."""
    data: dict[str, Any] = {
        "id": job.id,
        "type": job.type,
        "state": job.state,
        "priority": job.priority,
        "title": job.title,
        "tenant": job.tenant,
        "tags": list(job.tags),
        "token": job.token,
        "uses": job.uses,
        "seats": job.seats,
        "attempt": job.attempt,
        "losses": job.losses,
        "worker": job.worker,
        "if_lost": job.if_lost,
        "cancel_asked": job.cancel_asked,
        "created": job.created,
        "due": job.due,
        "expires": job.expires,
        "started": job.started,
        "finished": job.finished,
        "progress": job.progress,
        "overdue": job.overdue,
        "error_type": job.error_type,
        "error": job.error,
        "skip_reason": job.reason,
        "event": job.event,
        "depth": job.depth,
        "gathered": job.gathered,
        "schedule": job.schedule,
        "planned": job.planned,
        "order": job.order,
        "chain": job.chain,
        "step": job.step,
        "element": job.element,
        "params": _value(job, "params"),
    }
    return data if reason is None else {**data, "reason": reason}


def obstacle_data(obstacle: Obstacle) -> dict[str, str]:
    """Return an obstacle, for JSON."""
    return {"reason": obstacle.reason, "message": obstacle.message, "action": obstacle.action}


def pool_data(pool: PoolRecord) -> dict[str, Any]:
    """Return a pool, for JSON."""
    return {
        "name": pool.name,
        "capacity": pool.capacity,
        "in_use": pool.in_use,
        "external": pool.external,
        "external_until": pool.external_until,
        "refused_until": pool.refused_until,
        "free": pool.free,
        "keep": pool.keep,
        "keep_priority": pool.keep_priority,
        "waiting": len(pool.waiting),
    }
