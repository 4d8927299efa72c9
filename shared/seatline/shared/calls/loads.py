"""The verbs of loads: take the next jobs of one, see how far it has come, and which jobs it has made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seatline.shared.calls.base import Call, Read, Word, text
from seatline.shared.calls.jobs import lacking_told
from seatline.shared.errors import Closed
from seatline.shared.keys import Keys

__all__ = ["LOAD_LIFE", "Lines", "LoadRecord", "Position", "Unfit", "id_ranges", "load", "load_record"]

#: How long a load is remembered after its last line, in seconds: so long it is safe to repeat.
LOAD_LIFE: Final = 90 * 24 * 3600.0
_NEVER: Final = dt.datetime.fromtimestamp(0, dt.UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a load is: its last line, the digests of its lines so far and of its shape, and what became of them.

    ``jobs`` are new ones, ``existed`` lines whose own token or key stood for another job already. ``taken``: the call's lines
    were taken by it; else the load was elsewhere, or there already.
    """

    line: int
    mark: str
    shape: str
    jobs: int
    existed: int
    rejected: int
    lacking: tuple[str, ...] = ()
    taken: bool = True


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one call: those behind ``start``, of which ``before`` is the digest, up to ``end``."""

    start: int
    before: str
    end: int
    mark: str
    rejected: int
    last: bool


def _position(reply: Sequence[Any]) -> Position:
    words = list(map(text, reply[1:8]))
    line, jobs, existed, rejected = (int(words[at]) for at in (0, 3, 4, 5))
    return Position(line, words[1], words[2], jobs, existed, rejected, lacking_told(words[6]), text(reply[0]) == "ok")


@dataclass(frozen=True, slots=True)
class Unfit:
    """Nothing was done, because of the job at this index: ``word`` is tenant, token or duplicate, ``reason`` for people."""

    index: int
    word: str
    reason: str


def load(
    name: str,
    shape: str,
    by: str,
    lines: Lines,
    jobs: Sequence[Sequence[str | bytes]],
    frames: Sequence[Sequence[str | bytes]] = (),
) -> Call[Position | Unfit]:
    """Take the jobs of these lines, all or none, if the load is at ``lines.start``.

    Each job is as ``job_words`` wrote it, or ``=frame:pieces`` and the pieces of its params: all else is in its frame.

    Idempotent by nature: sent again, it finds the load at ``lines.end``.
    """
    words: list[Word] = [name, lines.start, lines.before, lines.end, lines.mark, shape, lines.rejected]
    words += ["1" if lines.last else "", by, int(LOAD_LIFE * 1000), len(jobs), len(frames)]
    for frame in frames:
        words += (len(frame), *frame)
    for job in jobs:
        words += job

    def unfit(reply: Sequence[Any]) -> Unfit:
        index, word = int(reply[1]), text(reply[0])
        token = text(jobs[index][2]).partition(" ")[0] if word == "token" else ""
        other = text(reply[2]) if len(reply) > 2 else ""  # noqa: PLR2004 - only a duplicate has more
        other = f"job {int(other)}" if other.isdigit() else "another line of the same batch"
        reasons = {
            "tenant": "tenant: the namespace requires one, and this job names none. Give one in the line, or --tenant.",
            "token": f"token: {token!r} was already used for a job with other content. Use a new one.",
            "duplicate": f"unique: {other} has that key, and waits or runs.",
        }
        return Unfit(index, word, reasons[word])

    also: dict[str, Callable[[Sequence[Any]], Position | Unfit]]
    also = {"at": _position, "tenant": unfit, "token": unfit, "duplicate": unfit}
    return Call("load", words, _position, {"closed": lambda _: Closed()}, numbered=False, also=also)


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """A load as the server knows it; moments in UTC. ``ended``: when its last line was taken, None: it was not."""

    name: str
    position: Position
    by: str
    started: dt.datetime
    changed: dt.datetime
    ended: dt.datetime | None


def load_record(keys: Keys, name: str) -> Read[LoadRecord | None]:
    """Return a load, or None: there was none of that name, or it is no longer remembered."""

    def parse(replies: Sequence[Any]) -> LoadRecord | None:
        flat = list(map(text, replies[0]))
        known = dict(zip(flat[::2], flat[1::2], strict=True))
        if not known:
            return None
        jobs, existed, rejected = (int(known[field]) for field in ("jobs", "existed", "rejected"))
        moments = [
            dt.datetime.fromtimestamp(int(known[field]) / 1000, dt.UTC) if field in known else None
            for field in ("started", "changed", "ended")
        ]
        started, changed = moments[0] or _NEVER, moments[1] or _NEVER
        position = Position(int(known["line"]), known["mark"], known["shape"], jobs, existed, rejected)
        return LoadRecord(name, position, known.get("by", "?"), started, changed, moments[2])

    return Read([("HGETALL", keys.load(name))], parse)


def id_ranges(keys: Keys, name: str, start: int, count: int) -> Read[list[tuple[int, int]]]:
    """Return one page of the ids that a load was given: (first, last), ascending."""

    def parse(replies: Sequence[Any]) -> list[tuple[int, int]]:
        return [(int(first), int(float(last))) for first, last in zip(replies[0][::2], replies[0][1::2], strict=True)]

    return Read([("ZRANGE", keys.load(name, "ids"), start, start + count - 1, "WITHSCORES")], parse)
