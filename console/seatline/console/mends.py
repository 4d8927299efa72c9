"""What ``verify --repair`` would do about each kind of damage, as pure functions of what was read.

Authoritative are the records: those of jobs, orders, types, pools, schedules and chains. Places, seats, counters and lists are
made of them anew. A :class:`~seatline.shared.calls.repair.Mend` names all of what it was concluded from, so ``repair.lua``
makes it only while that is so; a record that is gone or cannot be read is never invented.

Seats are never given back on a guess: of two that differ about who holds one, the one that holds counts. A counter that was
wrong is taken away, and counted anew at the next grant.
"""

from __future__ import annotations

from collections.abc import Mapping

from seatline.shared.calls.repair import Mend, Part

__all__ = [
    "counted_anew",
    "fields",
    "gone",
    "line_of",
    "listed",
    "out_of",
    "place_bases",
    "placed",
    "release",
    "restore_session",
    "run_on",
    "shifted",
    "value_of",
]

#: What of a record a mend of a job's place is concluded from.
_PLACE = ("state", "type", "uses", "priority", "due", "finished")


def value_of(value: str | None) -> str:
    """Return what is expected of something that was read: None: there is none."""
    return "" if value is None else f"={value}"


def fields(key: str, record: Mapping[str, str], *names: str) -> tuple[Part, ...]:
    """Return the bases that these fields are as they were read."""
    return tuple(("field", key, name, value_of(record.get(name))) for name in names)


def _job(job_id: str, job: Mapping[str, str], *names: str) -> tuple[Part, ...]:
    return fields(f"job:{job_id}", job, *names)


def placed(key: str, member: str, score: float | str, *bases: Part, was: float | None = None) -> Mend:
    """Put a member where its record says, if it is not there, or stands there with the score ``was``."""
    number = score if isinstance(score, str) else f"{score:.0f}"
    says = f"it is put into {key}" if was is None else f"its score in {key} becomes {number}"
    before: Part = ("score", key, member, value_of(None if was is None else f"{was:.0f}"))
    return Mend(says, (*bases, before), (("zadd", key, member, number),))


def run_on(job_id: str, job: Mapping[str, str]) -> Mend:
    """Put a job that runs among those that do: its worker, if it lives, renews it; else it is taken back as any other."""
    bases = (*_job(job_id, job, "state", "worker"), ("score", "running", job_id, ""))
    return Mend("it is put into running", bases, (("lease", "running", job_id, job.get("worker", "")),))


def place_bases(job_id: str, job: Mapping[str, str]) -> tuple[Part, ...]:
    """Return what the place of a job is concluded from."""
    return _job(job_id, job, *_PLACE)


def line_of(job_id: str, job: Mapping[str, str], place: str, was: float | None) -> Mend | None:
    """Put a job into the place that its record names; None: the record does not say all of it."""
    state = job.get("state", "")
    if state == "running":
        return run_on(job_id, job)
    score = job.get({"ready": "priority", "scheduled": "due"}.get(state, "finished"))
    if score is None or not score.isdigit() or (state == "ready" and "type" not in job):
        return None
    return placed(place, job_id, score, *place_bases(job_id, job), was=was)


def out_of(key: str, member: str, *bases: Part) -> Mend:
    """Take a member out of where it does not belong."""
    return Mend(f"it is taken out of {key}", (*bases, ("score", key, member, "*")), (("zrem", key, member, ""),))


def gone(key: str, *bases: Part, says: str = "") -> Mend:
    """Delete a key that belongs to nothing, or that is made anew of the records."""
    return Mend(says or f"{key} is deleted", bases, (("del", key, "", ""),))


def listed(key: str, name: str, kind: str, record: str) -> Mend:
    """Enter a name in the set that lists all of its kind."""
    return Mend(
        f"it is entered in {key}", (("kind", record, "", kind), ("member", key, name, "")), (("sadd", key, name, ""),)
    )


def shifted(key: str, field: str, by: int, is_now: str | None) -> Mend:
    """Count on: by what the sum was out in one moment, so work that went on since makes no difference."""
    before = "" if is_now is None else f"={is_now}"
    return Mend(
        f"{field} of {key} is changed by {by:+}", (("field", key, field, before),), (("hincrby", key, field, str(by)),)
    )


def counted_anew(pool: str) -> Mend:
    """Take a counter away that is not the sum of the sessions: nobody takes a missing one for zero."""
    key = f"pool:{pool}:in_use"
    return Mend("its counter is taken away, and counted anew", (("kind", key, "", "string"),), (("del", key, "", ""),))


def release(pool: str, member: str, *bases: Part) -> Mend:
    """Give back the seats of a session that is nobody's."""
    key = f"pool:{pool}:sessions"
    writes: tuple[Part, ...] = (("zrem", key, member, ""), ("del", f"pool:{pool}:in_use", "", ""))
    return Mend("its seats are given back", (*bases, ("score", key, member, "*")), writes)


def restore_session(pool: str, member: str, worker: str | None, *bases: Part, deadline: float | None = None) -> Mend:
    """Enter a session anew: until a deadline, else of a job of this worker's."""
    key = f"pool:{pool}:sessions"
    write: Part = ("lease", key, member, worker or "") if deadline is None else ("zadd", key, member, f"{deadline:.0f}")
    return Mend(
        f"it holds its seats of pool {pool} again", (*bases, ("score", key, member, "")),
        (write, ("del", f"pool:{pool}:in_use", "", "")),
    )  # fmt: skip
