"""The verbs of jobs: submit, cancel, remove, resubmit, move, gate, wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from seatline.shared.calls.base import Call, Refusal, Word, text
from seatline.shared.errors import Closed, Conflict, Duplicate, SeatsLacking, TenantRequired, WrongState
from seatline.shared.job import JobRecord, no_such_job

__all__ = [
    "ACT_MOST",
    "SUBMIT_MOST",
    "Accepted",
    "Batch",
    "Chosen",
    "cancel",
    "cancel_many",
    "gate",
    "lacking_told",
    "move",
    "move_many",
    "remove",
    "remove_many",
    "resubmit",
    "resubmit_many",
    "submit",
    "wait",
]

T = TypeVar("T")

#: Jobs in one submit call.
SUBMIT_MOST = 1000
#: Jobs in one call of cancel, remove, resubmit or move: few enough that nobody waits for it, steps of orders too.
ACT_MOST = 50


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job as the server accepted it: ``created`` (epoch ms) tells it from another one that got its id later."""

    id: str
    created: int
    existed: bool = False


class Batch(list[Accepted]):
    """Accepted jobs, in order; ``lacking``: what they need of pools that could never give it, as they are (S5)."""

    lacking: tuple[str, ...] = ()


def lacking_told(said: str) -> tuple[str, ...]:
    """Tell for each pool what is wrong, and what to do."""
    told: list[str] = []
    for word in dict.fromkeys(said.split()):
        pool, _, numbers = word.partition("=")
        need, _, capacity = numbers.partition("/")
        wrong = "there is no such pool" if capacity == "-" else f"its capacity is {capacity}"
        told.append(
            f"pool {pool}: {need} seats are needed, {wrong}. `seatline pools set {pool} CAPACITY` puts that right"
        )
    return tuple(told)


def submit(jobs: Sequence[Sequence[str | bytes]], *, strict: bool = False) -> Call[Batch]:
    """Accept jobs (each as :func:`~seatline.shared.job.job_words` wrote it), all or none, in order.

    ``strict``: refuse jobs whose seats could never be had, which otherwise wait and are flagged (S5).
    """
    words: list[Word] = ["1" if strict else "", len(jobs)]
    newest = False
    for job in jobs:
        words += job
        newest = newest or "~" in text(job[2])
    count = len(jobs)

    def parse(reply: Sequence[Any]) -> Batch:
        batch = Batch(read(reply))
        batch.lacking = lacking_told(text(reply[4]))
        return batch

    def read(reply: Sequence[Any]) -> list[Accepted]:
        created, first = int(reply[1]), int(reply[2])
        existed = {
            int(reply[at]): Accepted(text(reply[at + 1]), int(reply[at + 2] or created), existed=True)
            for at in range(5, len(reply), 3)
        }
        if not existed:
            return [Accepted(f"{first + i:016}", created) for i in range(count)]
        accepted: list[Accepted] = []
        for i in range(count):
            if i in existed:
                accepted.append(existed[i])
            else:
                accepted.append(Accepted(f"{first:016}", created))
                first += 1
        return accepted

    def conflict(reply: Sequence[Any]) -> Conflict:
        token = text(jobs[int(reply[1])][2]).partition(" ")[0]
        return Conflict(
            f"token: {token!r} was already used for a job with other content; nothing was stored. Use a new one."
        )

    def duplicate(reply: Sequence[Any]) -> Duplicate:
        found = text(reply[2])
        said = f"job {int(found)}" if found.isdigit() else "another job of the same call"
        return Duplicate(
            f"unique: {said} has that key, and waits or runs; nothing was stored. Wait for its end, or give "
            'on_duplicate="return" to get that one.',
            id=found if found.isdigit() else "",
        )

    refusals: dict[str, Refusal] = {
        "closed": lambda _: Closed(),
        "token": conflict,
        "duplicate": duplicate,
        "tenant": lambda _: TenantRequired(),
        "seats": lambda reply: SeatsLacking(f"{'; '.join(lacking_told(text(reply[2])))}. Nothing was stored."),
    }
    return Call("supersede" if newest else "submit", words, parse, refusals)


def _not_in(number: int, state: str, verb: str, way_out: str) -> str:
    if state == "order":
        return (
            f"job {number} is a step of an order: it cannot be {verb} by itself. `seatline jobs show {number}` names the "
            "order, and `seatline orders` resumes, skips or cancels."
        )
    return f"job {number} is {state}: it cannot be {verb}. {way_out}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which jobs an act is for: those of ``ids`` (16 digits, at most :data:`ACT_MOST`) that still are as they were chosen.

    ``states``: one of which a job must be in; none: any. ``moment``: one that ended after it (epoch ms) is left alone.
    """

    ids: Sequence[str]
    states: Sequence[str] = ()
    moment: int | None = None

    def words(self, by: str, *more: Word) -> list[Word]:
        """Return the words of such a call; ``more`` in place of the moment."""
        return [by, " ".join(self.states), *(more or ["" if self.moment is None else self.moment]), *self.ids]


def cancel_many(chosen: Chosen, by: str) -> Call[list[str]]:
    """End jobs that wait, ask those that run to stop; returns what came of each, in order.

    That is ``ok cancelled``, ``ok asked``, ``missing``, or ``state`` and the one in which it is.
    """
    return Call("cancel", chosen.words(by), _each)


def remove_many(chosen: Chosen, by: str) -> Call[list[str]]:
    """Forget jobs; returns of each ``ok`` and the state it was in, ``missing``, ``order``, or ``state`` and which."""
    return Call("remove", chosen.words(by), _each)


def resubmit_many(chosen: Chosen, by: str) -> Call[list[str]]:
    """Make ended jobs ready again; returns of each ``ok`` and the state it had ended in, ``missing``, ``order``, ...

    ``duplicate`` and the id of the job that has its key, or ``state`` and the one in which it is.
    """
    return Call("resubmit", chosen.words(by), _each)


def move_many(chosen: Chosen, by: str, priority: int) -> Call[list[str]]:
    """Give waiting jobs another priority; returns of each ``ok`` and its state and so on, ``missing``, or ``state`` ..."""
    return Call("move", chosen.words(by, priority), _each)


def _each(reply: Sequence[Any]) -> list[str]:
    return [text(told) for told in reply[1:]]


def _one(job_id: str, many: Call[list[str]], read: Callable[[Sequence[str]], T], verb: str, way_out: str) -> Call[T]:
    """Make the call for one job: ``read`` is given the words behind ``ok``, and what is refused is raised."""
    number = int(job_id)

    def parse(reply: Sequence[Any]) -> T:
        word, *rest = text(reply[1]).split(" ")
        if word == "ok":
            return read(rest)
        if word == "missing":
            raise no_such_job(number)
        if word == "duplicate":
            told = f"job {number}: job {int(rest[0])} has its key (unique) now; wait for the end of that one."
            raise Duplicate(told, id=rest[0])
        raise WrongState(_not_in(number, rest[0] if rest else word, verb, way_out))

    return Call(many.script, many.words, parse)


def cancel(job_id: str, by: str) -> Call[str]:
    """End a waiting job at once ('cancelled'), ask a running one to stop ('asked')."""
    return _one(job_id, cancel_many(Chosen([job_id]), by), "".join, "cancelled", "It has already ended.")


def remove(job_id: str, by: str) -> Call[str]:
    """Forget a job; returns the state it was in."""
    return _one(job_id, remove_many(Chosen([job_id]), by), "".join, "removed", "Cancel it first, or wait for its end.")


def resubmit(job_id: str, by: str) -> Call[str]:
    """Make an ended job ready again; returns the state it had ended in."""
    many = resubmit_many(Chosen([job_id]), by)
    return _one(job_id, many, "".join, "resubmitted", "Only a job that has ended can be.")


def move(job_id: str, by: str, priority: int) -> Call[tuple[str, int, int]]:
    """Give a waiting job another priority; returns its state, the old priority, the jobs ahead in its line (-1: scheduled)."""
    many = move_many(Chosen([job_id]), by, priority)
    return _one(
        job_id, many, lambda told: (told[0], int(told[1]), int(told[2])), "moved", "Only a waiting job has a place."
    )


def gate(type_: str, kind: str, by: str, lifter: str = "") -> Call[bool]:
    """Set (``by`` someone) or lift (``by`` '') a gate: 'paused', 'closed' or 'tenant'; returns whether that changed anything.

    ``lifter``: who lifts it, for the audit.
    """
    return Call("gate", (type_, kind, by, lifter), lambda reply: text(reply[1]) == "now")


def wait(job_id: str, created: int | None, bell: str) -> Call[JobRecord | str]:
    """Return the ended job, or 'waits' once ``bell`` is registered, or 'missing'."""

    def ended(reply: Sequence[Any]) -> JobRecord | str:
        return JobRecord.read(job_id, reply[2], reply[3])

    def word(reply: Sequence[Any]) -> JobRecord | str:
        return text(reply[0])

    return Call(
        "wait",
        (job_id, "" if created is None else created, bell),
        ended,
        numbered=False,
        also={"ended": ended, "waits": word, "missing": word},
    )
