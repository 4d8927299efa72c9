"""The verbs of workers: offer, turn, renew, note, reap, sleep, leave; and ask, by which people speak to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from seatline.shared.calls.base import Call, Word, text
from seatline.shared.errors import HandlerDiffers, InvalidInput, NoSuchWorker

__all__ = [
    "KEPT_BY_ORDER",
    "LINES_MOST",
    "LOSSES_MOST",
    "NOTES_MOST",
    "REPORTS_MOST",
    "Kept",
    "Note",
    "Renewal",
    "Report",
    "Suspect",
    "Taken",
    "Turn",
    "ask",
    "leave",
    "note",
    "offer",
    "reap",
    "renew",
    "sleep",
    "turn",
]

#: After so many losses a job is interrupted whatever its if_lost says (DESIGN 5.5).
LOSSES_MOST = 3
#: `Report.result_ms` of a step that ends well: it is for its order, not for so many ms.
KEPT_BY_ORDER = -1
#: Reports, and jobs reserved, in one turn.
REPORTS_MOST = 256
#: Jobs, and lines of their logs, in one note.
NOTES_MOST, LINES_MOST = 64, 1_000


@dataclass(frozen=True, slots=True)
class Kept:
    """Retention: finished jobs of each state are trimmed beyond this count, and when older than this age (seconds)."""

    age: float = 7 * 24 * 3600.0
    count: int = 100_000


def _empty() -> list[Any]:
    """Make what ``list[Word]()`` would, in a fifth of its time: one report is made for each job."""
    return []


@dataclass(slots=True)
class Report:
    """What became of one job.

    Attributes:
        outcome: a word of the turn script.
        fields: names and values for its hash.
        result: packed, kept for ``result_ms``; of a step, which ends well, `KEPT_BY_ORDER`.
        error: type and message, for the log of this process.
        jobs: what it enqueues if it ends well, each as :func:`~seatline.shared.job.job_words` wrote it.
        refused: pools whose licence server refused; for this process, not sent.

    """

    id: str
    token: str
    outcome: str
    fields: list[Word] = field(default_factory=_empty)
    result: bytes = b""
    result_ms: int = 0
    error: tuple[str, str] | None = None
    jobs: list[list[str | bytes]] = field(default_factory=_empty)
    refused: tuple[str, ...] = ()

    def words(self) -> list[Word]:
        """Write it as the turn script reads it."""
        words: list[Word] = [
            self.id,
            self.token,
            self.outcome,
            self.result_ms,
            self.result,
            len(self.fields),
            *self.fields,
            len(self.jobs),
        ]
        for job in self.jobs:
            words += job
        return words


@dataclass(frozen=True, slots=True)
class Taken:
    """A job reserved for this worker: its hash as it was, the attempt it is now, the token that proves the lease."""

    id: str
    token: str
    attempt: int
    flat: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Turn:
    """The reply of a turn; ``no_offer``: register the offer again. ``due``: ms until the next moment, or -1.

    ``planned``: schedules and windows (``window:<type>``) that are due and for a worker to compute.
    """

    now: int = 0
    due: int = -1
    states: Sequence[str] = ()
    jobs: Sequence[Taken] = ()
    no_offer: bool = False
    planned: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """What a running job tells: fields for its hash (``progress``, ``overdue``), lines for its log."""

    id: str
    token: str
    fields: Mapping[str, Word] = field(default_factory=dict[str, Word])
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Suspect:
    """A lease or session that seems expired: kind, two names, deadline; to be looked at again."""

    kind: str
    a: str
    b: str
    deadline: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """The reply of a renewal.

    Attributes:
        words: one a held job: ``held``, ``cancel`` (held, and asked to stop) or ``lost`` (not this worker's lease).
        suspects: what seems expired.
        known: whether the offer is still known; else register it again.
        asked: what people ask of this worker: ``pause``, ``stop``, ``stop-now`` or "".
        planned: as in :class:`Turn`.

    """

    words: Sequence[str]
    suspects: Sequence[Suspect]
    known: bool
    asked: str = ""
    planned: Sequence[str] = ()


def offer(
    worker: str, digest: str, presence_ms: int, fields: Mapping[str, Word], types: Mapping[str, tuple[str, str]]
) -> Call[None]:
    """Register the types a worker supports: type -> (uses text, if_lost)."""
    words: list[Word] = [worker, digest, presence_ms, 2 * len(fields)]
    for name, value in fields.items():
        words += (name, value)
    for type_, (uses, if_lost) in types.items():
        words += (type_, uses, if_lost)

    def differs(reply: Sequence[Any]) -> HandlerDiffers:
        _, type_, other, host, pid, says = (text(word) for word in reply)
        uses, if_lost = types[type_]
        return HandlerDiffers(
            f"type {type_}: this worker says uses {uses}, if_lost {if_lost}; the live worker {other} ({host}, pid {pid}) "
            f"says {says}. Deploy the same handlers everywhere, or stop the other first."
        )

    return Call("offer", words, lambda _: None, {"differs": differs}, numbered=False)


def turn(
    *,
    worker: str,
    digest: str,
    lease_ms: int,
    want: int,
    bell: str,
    block_ms: int,
    listed: bool,
    kept: Kept,
    reports: Sequence[Report],
) -> Call[Turn]:
    """Settle ``reports`` and reserve up to ``want`` jobs."""
    words: list[Word] = [worker, digest, lease_ms, want, bell, block_ms, 1 if listed else 0]
    words += [int(kept.age * 1000), kept.count, len(reports)]
    for report in reports:
        words += report.words()

    def parse(reply: Sequence[Any]) -> Turn:
        _, now, due, states, jobs, token, planned = reply
        token = token.decode()
        return Turn(
            int(now),
            int(due),
            [state.decode() for state in states],
            [Taken(job_id.decode(), token, int(attempt), flat) for job_id, attempt, flat in jobs],
            planned=[text(name) for name in planned] if planned else (),
        )

    return Call("turn", words, parse, also={"no-offer": lambda _: Turn(no_offer=True)})


def renew(
    *,
    worker: str,
    digest: str,
    lease_ms: int,
    presence_ms: int,
    kept: Kept,
    fields: Mapping[str, Word],
    held: Sequence[tuple[str, str]],
) -> Call[Renewal]:
    """Keep presence and leases; ``held`` are (id, token), at most 400."""
    words: list[Word] = [worker, digest, lease_ms, presence_ms, int(kept.age * 1000), kept.count, 2 * len(fields)]
    for name, value in fields.items():
        words += (name, value)
    for job_id, token in held:
        words += (job_id, token)

    def parse(reply: Sequence[Any]) -> Renewal:
        _, _, known, said, suspects, asked, planned = reply
        return Renewal(
            [text(word) for word in said],
            [Suspect(text(kind), text(a), text(b), int(deadline)) for kind, a, b, deadline in suspects],
            bool(int(known)),
            text(asked),
            [text(name) for name in planned],
        )

    return Call("renew", words, parse, numbered=False)


def note(notes: Sequence[Note]) -> Call[list[str]]:
    """Keep what running jobs tell; returns a word a note: ``kept``, or ``stale`` (not this worker's lease any more).

    A job keeps its newest 1,000 lines, each with the server's time in front. A full server refuses the call (ServerFull):
    nothing was kept.

    Raises:
        InvalidInput: more than 64 notes, or more than 1,000 lines in all.

    """
    count = sum(len(each.lines) for each in notes)
    if len(notes) > NOTES_MOST or count > LINES_MOST:
        raise InvalidInput(
            f"notes: {len(notes)} jobs with {count} lines; at most {NOTES_MOST} with {LINES_MOST:,} go into one call."
        )
    words: list[Word] = [len(notes)]
    for each in notes:
        words += (each.id, each.token, 2 * len(each.fields))
        for name, value in each.fields.items():
            words += (name, value)
        words += (len(each.lines), *each.lines)
    return Call("note", words, lambda reply: [text(word) for word in reply[1:]])


def reap(worker: str, suspects: Sequence[Suspect]) -> Call[list[str]]:
    """Take back what is still unchanged since the first look; returns a word a suspect."""
    words: list[Word] = [worker, LOSSES_MOST]
    for suspect in suspects:
        words += (suspect.kind, suspect.a, suspect.b, suspect.deadline)
    return Call("reap", words, lambda reply: [text(word) for word in reply[1]], numbered=False)


def ask(worker: str, word: Literal["pause", "resume", "stop", "stop-now"], by: str) -> Call[str]:
    """Tell a worker to pause, to resume or to stop; returns the word that stands.

    It is another one if the worker was told to stop before: that is not taken back, only hastened. The worker hears of
    it at once if it is awake, else when it wakes.

    Raises:
        NoSuchWorker: it is not there.

    """

    def missing(_: Sequence[Any]) -> NoSuchWorker:
        return NoSuchWorker(
            f"worker {worker}: no such worker; it has stopped, or was lost. `seatline workers list` shows who is there."
        )

    def stands(reply: Sequence[Any]) -> str:
        return text(reply[1])

    return Call("ask", (worker, word, by), stands, {"missing": missing}, numbered=False, also={"state": stands})


def sleep(
    worker: str, digest: str, sleep_ms: int, presence_ms: int, fields: Mapping[str, Word] | None = None
) -> Call[int]:
    """Let a classic worker be away for ``sleep_ms``; returns until when (epoch ms).

    Until then, and ``presence_ms`` longer, it counts as live, and what its jobs lacked of seats at this moment is claimed
    for them. It is not rung; what is asked of it meanwhile comes with its first renewal. When it wakes it makes its
    offer again, and its first turn must say ``listed=True``: that ends the registration made here.
    """
    words: list[Word] = [worker, digest, sleep_ms, presence_ms, 2 * len(fields or {})]
    for name, value in (fields or {}).items():
        words += (name, value)
    return Call("sleep", words, lambda reply: int(reply[1]), numbered=False)


def leave(worker: str, digest: str, bell: str) -> Call[None]:
    """Say goodbye."""
    return Call("leave", (worker, digest, bell), lambda _: None, numbered=False)
