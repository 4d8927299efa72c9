"""Many jobs at once: those that match at one moment, and what people do to all of them (Q22).

Looking and acting are apart. A *look* reads the places where such jobs stand (the lines of a type, the set of a state, the
ids of a load), page by page, and keeps their ids. What is accepted, or ends, after its moment is not among them, nor is
what begins to match later. So their number is known before the first is touched, and does not change.

An *act* goes over these ids in calls of up to 50 jobs each: short ones, so that nobody waits for them, and numbered like
any verb, so that each job is acted on once whatever becomes of replies. The script itself looks again: a job is left alone
unless it still is in one of the states that were asked for, by the same end. So nothing is done to a job that has
moved on since, and what became of those is told.

Whoever is killed in the middle has done a part of it, and knows nothing of the rest; a new look finds what is left.
"""

from __future__ import annotations

import datetime as dt
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from seatline.producer.alike import alike
from seatline.producer.listing import load_ranges, ready_lines
from seatline.shared.calls import jobs as verbs
from seatline.shared.calls import scan
from seatline.shared.calls.base import Call
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput
from seatline.shared.job import check_priority
from seatline.shared.keys import STATES, Keys

if TYPE_CHECKING:
    from seatline.producer.queue import Queue

__all__ = ["ENDED", "LIVE", "Acted", "Picked", "Selection", "Wanted", "act", "look", "through"]

#: States in the order in which jobs pass through them: one that moves on meanwhile is met later again, not missed.
LIVE: Final = ("scheduled", "ready", "running")
ENDED: Final = STATES[3:]
#: Jobs of which fields are read in one round trip.
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs: all that is said must be so; see :meth:`seatline.producer.Queue.select`."""

    states: tuple[str, ...]
    type: str | None = None
    tenant: str | None = None
    tag: str | None = None
    error: str | None = None
    older_ms: int = 0

    @classmethod
    def of(
        cls,
        state: str | Sequence[str] | None,
        type_: str | None,
        tenant: str | None,
        tag: str | None,
        error: str | None,
        older_than: float | dt.timedelta | None,
    ) -> Wanted:
        """Check what was asked for."""
        states = LIVE if state is None else (state,) if isinstance(state, str) else tuple(state)
        if not states:
            raise InvalidInput("state: none is given. Name at least one, or leave it out for all that have not ended.")
        for each in states:
            if each not in STATES:
                raise InvalidInput(f"state: {each!r} is none of {', '.join(STATES)}.")
        if type_ is not None:
            check_name("type", type_)
        if tenant is not None:
            check_name("tenant", tenant)
        _check_text("tag", tag)
        _check_text("error", error)
        seconds = older_than.total_seconds() if isinstance(older_than, dt.timedelta) else older_than or 0
        if isinstance(seconds, bool) or not 0 <= seconds < 2**40:  # NaN is not, either
            raise InvalidInput(f"older_than: {older_than!r} is no time that has passed. Use seconds, or a timedelta.")
        return cls(
            tuple(each for each in (*LIVE, *ENDED) if each in states),
            type_,
            tenant,
            tag,
            None if error is None else error.strip().casefold(),
            int(seconds * 1000),
        )

    def fits(self, job: scan.Seen, *, ranged: bool) -> bool:
        """Whether a job is wanted; ``ranged``: that it has the tag is known."""
        return (
            job.state in self.states
            and (self.type is None or job.type == self.type)
            and (self.tenant is None or job.tenant == self.tenant)
            and (self.tag is None or ranged or self.tag in job.tags)
            and (self.error is None or self._errs(job))
        )

    def _errs(self, job: scan.Seen) -> bool:
        sought, said = self.error or "", job.error
        return sought in said.casefold() or (bool(said) and sought in alike(said, job.type).casefold())

    def asks(self, state: str, *, ranged: bool) -> bool:
        """Whether a job's fields must be read to know, beside that it stands where jobs of that state stand."""
        if self.tenant is not None or self.error is not None or (self.tag is not None and not ranged):
            return True
        return (self.type is not None and state != "ready") or (self.older_ms > 0 and state in LIVE)


def _check_text(what: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise InvalidInput(f"{what}: {value!r} is no text to look for. Leave it out for any.")


@dataclass(frozen=True, slots=True)
class Picked:
    """What a look has found: ids as numbers, ascending; of which states they were to be; the moment, in epoch ms."""

    numbers: Sequence[int]
    states: tuple[str, ...]
    moment: int

    def ids(self) -> list[str]:
        """The ids in full."""
        return [f"{number:016}" for number in self.numbers]


@dataclass(slots=True)
class Acted:
    """What came of an act on many jobs, so far.

    Attributes:
        total: how many there are.
        done: how many were acted on, by what came of it: of a cancel ``cancelled`` and ``asked`` (they run, and are to stop);
            else by the state in which they were.
        left: how many were left alone, by the reason: ``missing`` (removed or trimmed since), the state in which they are
            now, ``order`` (steps of orders, which are not acted on by themselves), ``duplicate`` (another job has the key).
        examples: an id for each of these reasons.

    """

    total: int
    done: Counter[str] = field(default_factory=Counter[str])
    left: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, str] = field(default_factory=dict[str, str])

    def note(self, job_id: str, told: str) -> None:
        """Note what the server told of a job."""
        word, _, rest = told.partition(" ")
        if word == "ok":
            self.done[rest.partition(" ")[0]] += 1
            return
        reason = rest if word == "state" else word
        self.left[reason] += 1
        self.examples.setdefault(reason, job_id)


Shown = Callable[[int], object]
Told = Callable[[Acted], object]


class Selection:
    """The jobs that matched when it was made (:meth:`seatline.producer.Queue.select`); ``len()`` says how many.

    Each act goes over all of them, in calls of up to 50 jobs, each job exactly once. A job that is no longer as it was chosen
    is left alone, and counted. Repeated after a crash, an act is done to what is left: make a new selection.
    ``on`` is called after each call with what has come of it so far.

    Attributes:
        moment: the server's time when it was made, in UTC.

    """

    __slots__ = ("_picked", "_queue", "moment")

    def __init__(self, queue: Queue, picked: Picked) -> None:
        self._queue, self._picked = queue, picked
        self.moment = dt.datetime.fromtimestamp(picked.moment / 1000, dt.UTC)

    def __repr__(self) -> str:
        return f"<Selection of {len(self):,} jobs>"

    def __len__(self) -> int:
        return len(self._picked.numbers)

    @property
    def ids(self) -> list[str]:
        """Their ids, in the order in which they were accepted."""
        return self._picked.ids()

    def cancel(self, on: Told | None = None) -> Acted:
        """End those that wait, ask those that run to stop (Q23).

        Raises:
            ServerError: the server cannot do it now; what ``on`` was told is done.
            OutcomeUnknown: nobody can know whether the last call was executed.

        """
        return self._queue.store.talk(act(self._picked, lambda some: verbs.cancel_many(some, self._queue.by), on))

    def remove(self, on: Told | None = None) -> Acted:
        """Forget them, with their results and history; those that run are left alone. Errors are those of :meth:`cancel`."""
        return self._queue.store.talk(act(self._picked, lambda some: verbs.remove_many(some, self._queue.by), on))

    def resubmit(self, on: Told | None = None) -> Acted:
        """Make those that have ended ready again, attempts counted anew. Errors are those of :meth:`cancel`."""
        return self._queue.store.talk(act(self._picked, lambda some: verbs.resubmit_many(some, self._queue.by), on))

    def move(self, *, priority: int, on: Told | None = None) -> Acted:
        """Give those that wait another priority (Q6).

        Raises:
            InvalidInput: the priority is none; nothing was sent.
            ServerError, OutcomeUnknown: as for :meth:`cancel`.

        """
        check_priority(priority)
        return self._queue.store.talk(
            act(self._picked, lambda some: verbs.move_many(some, self._queue.by, priority), on)
        )


def look(keys: Keys, wanted: Wanted, on: Shown | None = None) -> Talk[Picked]:
    """Find the jobs that are wanted; ``on`` is told how many there are so far."""
    moment, last = yield from ask(scan.start(keys))
    found = set[int]()

    def take(jobs: Sequence[scan.Seen | str]) -> None:
        found.update(int(job if isinstance(job, str) else job.id) for job in jobs)
        if on is not None:
            on(len(found))

    yield from through(keys, wanted, moment, take)
    return Picked(array("Q", sorted(number for number in found if number <= last)), wanted.states, moment)


def through(
    keys: Keys, wanted: Wanted, moment: int, take: Callable[[Sequence[scan.Seen | str]], None], *, whole: bool = False
) -> Talk[None]:
    """Go through the jobs that are wanted, as they were at a moment, a page at a time; one may come twice.

    ``take`` is given what is known of them: the id alone where that is all there was to know, unless the ``whole`` is wanted.
    """
    ranges = yield from load_ranges(keys, wanted.tag)
    places = yield from _places(keys, wanted)
    few = sum(end - first + 1 for first, end in ranges)
    if ranges and few < (yield from ask(scan.counts([place for _, place in places]))):
        numbers = (number for first, end in ranges for number in range(first, end + 1))
        while page := [f"{number:016}" for number in islice(numbers, PAGE)]:
            take((yield from _fitting(keys, wanted, moment, page, ranged=True)))
        return
    for state, place in places:
        asks = whole or wanted.asks(state, ranged=bool(ranges))
        latest = moment - wanted.older_ms
        cursor, first = 0, True
        while cursor or first:
            first = False
            cursor, members = yield from ask(scan.members(place, cursor))
            ids = [
                job_id
                for job_id, score in members
                if (state in LIVE or score <= latest) and (not ranges or _within(ranges, int(job_id)))
            ]
            if not asks:
                take(ids)
                continue
            for at in range(0, len(ids), PAGE):
                take((yield from _fitting(keys, wanted, moment, ids[at : at + PAGE], ranged=bool(ranges))))


def _places(keys: Keys, wanted: Wanted) -> Talk[list[tuple[str, str]]]:
    places: list[tuple[str, str]] = []
    for state in wanted.states:
        if state == "ready":
            places += [(state, line) for line in (yield from ready_lines(keys, wanted.type))]
        else:
            places.append((state, keys(state if state in LIVE else f"finished:{state}")))
    return places


def _fitting(keys: Keys, wanted: Wanted, moment: int, ids: Sequence[str], *, ranged: bool) -> Talk[list[scan.Seen]]:
    jobs = (yield from ask(scan.seen(keys, ids))) if ids else []
    latest = moment - wanted.older_ms
    return [
        job
        for job in jobs
        if wanted.fits(job, ranged=ranged) and (job.created if job.state in LIVE else job.finished) <= latest
    ]


def _within(ranges: Sequence[tuple[int, int]], number: int) -> bool:
    at = bisect_right(ranges, number, key=lambda each: each[0]) - 1
    return at >= 0 and number <= ranges[at][1]


def act(picked: Picked, call: Callable[[verbs.Chosen], Call[list[str]]], on: Told | None) -> Talk[Acted]:
    """Do something to all of them; ``on`` is told after each call what has come of it so far."""
    acted = Acted(len(picked.numbers))
    for ids in _cut(picked):
        told = yield from ask(call(verbs.Chosen(ids, picked.states, picked.moment)))
        for job_id, said in zip(ids, told, strict=True):
            acted.note(job_id, said)
        if on is not None:
            on(acted)
    return acted


def _cut(picked: Picked) -> Iterator[list[str]]:
    for at in range(0, len(picked.numbers), verbs.ACT_MOST):
        yield [f"{number:016}" for number in picked.numbers[at : at + verbs.ACT_MOST]]
