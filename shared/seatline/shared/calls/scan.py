"""Reads for those who look at very many jobs: ids by ZSCAN, and of each job the few fields by which it is chosen.

ZSCAN gives whatever stays in a place from the first page to the last at least once, in no order, however much comes and
goes meanwhile: pages by rank would miss what the leaving of others has shifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from seatline.shared.calls.base import Read, text
from seatline.shared.keys import Keys

__all__ = ["MEMBERS", "Seen", "counts", "members", "seen", "start"]

#: Members asked for in one page of a place; a small place comes as a whole.
MEMBERS = 1000

_FIELDS = ("state", "type", "tenant", "tags", "created", "finished", "error_type", "error")


class Seen(NamedTuple):
    """What a job is chosen by; moments in epoch ms, 0: none. ``error``: its kind and message, '' if there is none."""

    id: str
    state: str
    type: str
    tenant: str
    tags: Sequence[str]
    created: int
    finished: int
    error: str


def start(keys: Keys) -> Read[tuple[int, int]]:
    """Return the server's time in epoch ms and the last sequence number it has given."""
    return Read(
        [("TIME",), ("GET", keys("seq"))], lambda r: (int(r[0][0]) * 1000 + int(r[0][1]) // 1000, int(r[1] or 0))
    )


def counts(places: Sequence[str]) -> Read[int]:
    """Return how many stand in these places (full names of keys) together."""
    return Read([("ZCARD", place) for place in places], lambda replies: sum(map(int, replies)))


def members(place: str, cursor: int) -> Read[tuple[int, list[tuple[str, float]]]]:
    """Return one page of a place (the full name of its key), and the cursor of the next one, 0 after the last."""

    def parse(replies: Sequence[Any]) -> tuple[int, list[tuple[str, float]]]:
        following, flat = replies[0]
        return int(following), [(text(a), float(b)) for a, b in zip(flat[::2], flat[1::2], strict=True)]

    return Read([("ZSCAN", place, cursor, "COUNT", MEMBERS)], parse)


def seen(keys: Keys, ids: Sequence[str]) -> Read[list[Seen]]:
    """Return what these jobs are chosen by; those that do not exist are left out."""

    def parse(replies: Sequence[Any]) -> list[Seen]:
        found: list[Seen] = []
        for job_id, fields in zip(ids, replies, strict=True):
            if fields[0] is not None:
                state, type_, tenant, tags, created, finished, kind, error = (text(each or b"") for each in fields)
                said = f"{kind}: {error}" if kind and error else kind or error
                found.append(
                    Seen(job_id, state, type_, tenant, tags.split(), int(created or 0), int(finished or 0), said)
                )
        return found

    return Read([("HMGET", keys.job(job_id), *_FIELDS) for job_id in ids], parse)
