"""What must be true of pools and of who holds their seats (S2, I3), as pure functions of a moment.

Each session has a living owner; the counter, where there is one, is the sum of the sessions; what no job holds is listed in
``programs``, for whoever takes back what is not renewed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from seatline.console import mends
from seatline.console.moment import Moment
from seatline.console.violation import Violation
from seatline.shared.job import uses_map

__all__ = ["seats", "without_session"]

_MEMBER = re.compile(r"(?P<owner>(?P<kind>job|worker|program):(?P<rest>.+))\|(?P<seats>\d+)")
_ID = re.compile(r"\d{16}", re.ASCII)


def seats(moment: Moment) -> Iterator[Violation]:
    """Judge all pools of a moment."""
    yield from _listed(moment)
    for pool, members in moment.sessions.items():
        yield from _sessions(moment, pool, members)
    for pool, counter in moment.counters.items():
        if counter and not moment.sessions.get(pool):
            yield Violation(
                "S2", f"pool {pool}", f"its counter says {counter} seats in use, and nobody holds any.",
                mends.counted_anew(pool),
            )  # fmt: skip
    yield from _programs(moment)


def without_session(job_id: str, job: Mapping[str, str], pool: str, count: int) -> Violation:
    """I3: a running job has a session for the seats that its record says."""
    member = f"job:{job_id}:{job.get('token')}|{count}"
    mend = None
    if job.get("token"):
        bases = mends.fields(f"job:{job_id}", job, "state", "token", "seats")
        mend = mends.restore_session(pool, member, job.get("worker"), *bases)
    said = f"it runs with {count} seats of pool {pool} and has no session there."
    return Violation("I3", f"job {int(job_id)}", said, mend, "it is without a token: see I4")


def _listed(moment: Moment) -> Iterator[Violation]:
    listed = moment.sets.get("pools", set[str]())
    for pool in sorted(listed ^ set(moment.pools)):
        if f"pool:{pool}" not in moment.asked:
            continue
        mend = None if pool in listed else mends.listed("pools", pool, "hash", f"pool:{pool}")
        yield Violation(
            "I13", f"pool {pool}", "it is in only one of pools and pool:<name>.", mend,
            f"its capacity is lost: seatline pools set {pool} CAPACITY, or, if nobody holds seats of it, seatline cli SREM",
        )  # fmt: skip


def _sessions(moment: Moment, pool: str, members: Mapping[str, float]) -> Iterator[Violation]:
    if members and pool not in moment.sets.get("pools", set[str]()) and pool not in moment.pools:
        yield Violation(
            "I3", f"pool {pool}", f"{len(members)} sessions hold seats of a pool that does not exist.",
            advice=f"seatline pools set {pool} CAPACITY makes it again",
        )  # fmt: skip
    held = 0
    for member in members:
        match = _MEMBER.fullmatch(member)
        if not match:
            yield Violation("I3", f"pool {pool}", f"{member} is no session.", mends.release(pool, member))
            continue
        held += int(match["seats"])
        yield from _owner(moment, pool, match)
    counter = moment.counters.get(pool)
    if counter is not None and counter != held:
        yield Violation(
            "S2", f"pool {pool}", f"its counter says {counter} seats in use, its sessions hold {held}.",
            mends.counted_anew(pool),
        )  # fmt: skip


def _owner(moment: Moment, pool: str, match: re.Match[str]) -> Iterator[Violation]:
    member, count = match[0], int(match["seats"])
    subject, key = f"pool {pool} {member}", f"pool:{pool}:sessions"
    if match["kind"] == "program" and f"{pool}|{member}" not in moment.programs:
        deadline = moment.sessions[pool][member]
        yield Violation(
            "I3", subject, "it is not in programs: nobody would take its seats back.",
            mends.placed("programs", f"{pool}|{member}", deadline, ("score", key, member, f"={deadline:.0f}")),
        )  # fmt: skip
    job_id, _, token = match["rest"].partition(":")
    if match["kind"] != "job" or (_ID.fullmatch(job_id) and f"job:{job_id}" not in moment.asked):
        return
    job = moment.jobs.get(job_id, {})
    mend = mends.release(pool, member, *mends.fields(f"job:{job_id}", job, "state", "token", "seats"))
    if job.get("state") != "running" or job.get("token") != token:
        said = f"it holds seats, and that lease is over ({job.get('state', 'no such job')})."
        yield Violation("I3", subject, said, mend)
    elif uses_map(job.get("seats", "")).get(pool) != count:
        yield Violation("I3", subject, f"it holds {count}, its job says {job.get('seats', 'none')}.", mend)


def _programs(moment: Moment) -> Iterator[Violation]:
    """I3: each program's session is listed in both places, with one deadline."""
    for entry, deadline in moment.programs.items():
        pool, _, member = entry.partition("|")
        own = moment.sessions.get(pool, {}).get(member)
        if own == deadline or f"pool:{pool}:sessions" not in moment.asked:
            continue
        if not _MEMBER.fullmatch(member) or not pool:
            mend = mends.out_of("programs", entry)
        elif own is None:
            listed = ("score", "programs", entry, f"={deadline:.0f}")
            mend = mends.restore_session(pool, member, None, listed, deadline=deadline)
        else:
            listed = ("score", f"pool:{pool}:sessions", member, f"={own:.0f}")
            mend = mends.placed("programs", entry, own, listed, was=deadline)
        said = f"programs lists {member}, the pool's sessions do not (with its deadline)."
        yield Violation("I3", f"pool {pool}", said, mend)
