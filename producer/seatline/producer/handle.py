"""A handle: the producer's end of one job."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from seatline.producer.timeline import Transition, for_people, timeline
from seatline.shared.calls import jobs as verbs
from seatline.shared.calls import reads
from seatline.shared.calls.base import Call
from seatline.shared.calls.talk import Talk, ask, rest
from seatline.shared.errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    JobInterrupted,
    JobLost,
    JobSkipped,
    ResultExpired,
)
from seatline.shared.job import Attempt, JobRecord, check_priority, no_such_job
from seatline.shared.keys import Keys

if TYPE_CHECKING:
    from seatline.producer.queue import Queue
    from seatline.producer.why import Obstacle

__all__ = [
    "JobHandle",
    "history_lines",
    "job_and_why",
    "job_end",
    "job_record",
    "job_timeline",
    "log_texts",
    "outcome",
    "plain_record",
    "until_ended",
    "why_job",
]

T = TypeVar("T")


class JobHandle:
    """One job as its producer sees it.

    It remembers what its submission was told, so it never shows another job that got the same id after a crash of the
    server: it says :class:`~seatline.shared.errors.JobLost` instead.

    Attributes:
        id: 16 digits.
        existed: True if the token stood for this job before (nothing new was stored).

    """

    __slots__ = ("_created", "_queue", "existed", "id")

    def __init__(self, queue: Queue, job_id: str, created: int | None = None, *, existed: bool = False) -> None:
        self._queue, self.id, self._created, self.existed = queue, job_id, created, existed

    def __repr__(self) -> str:
        return f"<JobHandle {int(self.id)}>"

    def record(self) -> JobRecord:
        """Return a snapshot of the job.

        Raises:
            NoSuchJob: it was removed or trimmed.
            JobLost: the server lost it.

        """
        return self._queue.store.talk(job_record(self._queue.store.keys, self.id, self._created))

    def state(self) -> str:
        """Ask the server for the job's state."""
        return self._queue.store.talk(plain_record(self._queue.store.keys, self.id, self._created)).state

    def why(self) -> list[Obstacle]:
        """Say everything that keeps the job from running now, each with what to do; empty: nothing does (W1)."""
        return self._queue.store.talk(why_job(self._queue.store.keys, self.id, self._created))

    def history(self) -> list[str]:
        """What people and losses did to the job, oldest first."""
        return history_lines(self._queue.store.read(reads.history(self._queue.store.keys, self.id)))

    def timeline(self) -> list[Transition]:
        """All that happened to the job, oldest first: each run with its worker, and what people did."""
        return self._queue.store.talk(job_timeline(self._queue.store.keys, self.id, self._created))

    def attempts(self) -> list[Attempt]:
        """The failed attempts after which it ran again, oldest first, at most 20; its record has the last error (C16)."""
        return self._queue.store.read(reads.attempts(self._queue.store.keys, self.id))

    def log(self) -> list[str]:
        """What its handler logged (``ctx.log``), oldest first, each line with its time; the newest 1,000 are kept (C17)."""
        return log_texts(self._queue.store.read(reads.log_lines(self._queue.store.keys, self.id)))

    def cancel(self) -> str:
        """End it if it waits ('cancelled'), ask it to stop if it runs ('asked').

        Raises:
            WrongState: it has already ended.

        """
        return self._queue.store.run(verbs.cancel(self.id, self._queue.by))

    def remove(self) -> str:
        """Forget it; refused while it runs. Returns the state it was in."""
        return self._queue.store.run(verbs.remove(self.id, self._queue.by))

    def resubmit(self) -> str:
        """Make it ready again after its end, with attempts counted anew. Returns the state it had ended in."""
        return self._queue.store.run(verbs.resubmit(self.id, self._queue.by))

    def move(self, *, priority: int) -> int:
        """Give it another priority while it waits, keeping its id and sequence (Q6).

        Returns how many jobs stand before it in its line, or -1 if it is not due yet.
        """
        return self._queue.store.run(verbs.move(self.id, self._queue.by, check_priority(priority)))[2]

    def wait(self, timeout: float | None = None) -> JobRecord:
        """Wait for its end, on the server and not by polling.

        Args:
            timeout: seconds, or None for as long as it takes.

        Raises:
            TimeoutError: it has not ended by then; the job goes on.
            JobLost: the server does not have it (any more).

        """
        return self._queue.store.talk(job_end(self.id, self._created, timeout), self._queue.listener())

    def result(self, timeout: float | None = None) -> Any:
        """Wait for its end and return what the handler returned.

        Args:
            timeout: seconds, or None for as long as it takes.

        Raises:
            JobFailed: it failed; with the remote traceback. JobCancelled, JobInterrupted, JobSkipped, JobExpired, JobLost:
                its kinds.
            ResultExpired: it succeeded, but the result is no longer kept.
            TimeoutError: it has not ended by then; the job goes on.

        """
        return outcome(self.wait(timeout))


def plain_record(keys: Keys, job_id: str, created: int | None = None) -> Talk[JobRecord]:
    """Return a snapshot of a job, of a step's without what its order hands it; ``created``: what its submission was told."""
    (record,) = yield from ask(reads.job_records(keys, [job_id]))
    if record is None:
        raise no_such_job(job_id)
    if created is not None and record.created_ms != created:
        raise _lost(job_id)
    return record


def job_record(keys: Keys, job_id: str, created: int | None = None) -> Talk[JobRecord]:
    """Return a snapshot of a job."""
    record = yield from plain_record(keys, job_id, created)
    return (yield from ask(reads.handed(keys, record))) if record.lent else record


def why_job(keys: Keys, job_id: str, created: int | None) -> Talk[list[Obstacle]]:
    """Say everything that keeps a job from running now."""
    return (yield from job_and_why(keys, job_id, created))[1]


def job_and_why(keys: Keys, job_id: str, created: int | None = None) -> Talk[tuple[JobRecord, list[Obstacle]]]:
    """Return a job, of a step's without what its order hands it, and what keeps it, as both were at one moment."""
    from seatline.producer.why import why  # noqa: PLC0415 - a question asked now and then
    from seatline.shared.calls.moment import at_one_moment  # noqa: PLC0415 - as above

    def look() -> Talk[tuple[JobRecord, list[Obstacle]]]:
        record = yield from plain_record(keys, job_id, created)
        return record, (yield from why(keys, record))

    return (yield from at_one_moment(look))


def job_timeline(keys: Keys, job_id: str, created: int | None = None) -> Talk[list[Transition]]:
    """Return all that happened to a job."""
    record = yield from plain_record(keys, job_id, created)
    return (yield from timeline(keys, record))


def history_lines(lines: list[tuple[dt.datetime, str]]) -> list[str]:
    """Write a history for people."""
    return [f"{when.isoformat(timespec='seconds')} {for_people(what)}" for when, what in lines]


def log_texts(kept: reads.JobLog) -> list[str]:
    """Write a log for people."""
    lines = [f"{when.isoformat(timespec='milliseconds')} {line}" for when, line in kept.lines]
    return [f"... {kept.cut} older lines were cut", *lines] if kept.cut else lines


def job_end(job_id: str, created: int | None, timeout: float | None) -> Talk[JobRecord]:
    """Wait for the end of a job."""
    name = f"job {int(job_id)}"
    answer = yield from until_ended(name, lambda bell: verbs.wait(job_id, created, bell), timeout)
    if isinstance(answer, str):
        raise _lost(job_id)
    return answer


def until_ended(name: str, look: Callable[[str], Call[T | str]], timeout: float | None) -> Talk[T | str]:
    """Wait until ``look`` says something else than that it waits, and that its bell is registered.

    Args:
        name: what goes on, for people.
        look: looks at it, and registers a bell.
        timeout: seconds, or None for as long as it takes.

    Raises:
        TimeoutError: it has not ended by then.

    """
    end = None if timeout is None else time.monotonic() + timeout
    bell = yield from rest(0)
    while (answer := (yield from ask(look(bell)))) == "waits":
        left = 60.0 if end is None else end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{name} has not ended within {timeout} s; it goes on.")
        bell = yield from rest(left)
    return answer


def _lost(job_id: str) -> JobLost:
    return JobLost(
        f"job {int(job_id)}: the server does not have it: removed, trimmed by retention, or lost in a crash that lost "
        "its last writes. Enqueue it again (with token=... that is safe even if it was not lost)."
    )


def outcome(record: JobRecord) -> Any:
    """Return the result of an ended job, or raise what its state says."""
    name = f"job {int(record.id)} ({record.type})"
    match record.state:
        case "succeeded":
            if record.result_until is not None and not record.result_packed:
                raise ResultExpired(
                    f"{name} succeeded, but its result was kept only until {record.result_until:%F %T} UTC."
                )
            return record.result
        case "cancelled":
            raise JobCancelled(f"{name} was cancelled.")
        case "interrupted":
            raise JobInterrupted(
                f"{name} was interrupted: {record.error}. `seatline jobs resubmit {int(record.id)}` runs it."
            )
        case "skipped":
            reason = record.reason or "nothing to do"
            raise JobSkipped(f"{name} was skipped: {reason.rstrip('.')}.", error=reason)
        case "expired":
            until = f" after {record.expires:%F %T} UTC" if record.expires else " so late"
            last = f" Its last attempt had failed: {record.error_type}: {record.error}." if record.error else ""
            raise JobExpired(
                f"{name} expired: it was not to start{until}, and had not started by then.{last} "
                "Enqueue it again, or give it longer.",
                error_type=record.error_type or "",
                error=record.error or "",
                traceback=record.traceback or "",
            )
        case _:
            raise JobFailed(
                f"{name} {record.state}: {record.error_type or 'error'}: {record.error}\n{record.traceback or ''}".rstrip(),
                error_type=record.error_type or "",
                error=record.error or "",
                traceback=record.traceback or "",
            )
