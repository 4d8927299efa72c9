"""Listings: page by page, in the order people mean. No listing reads a whole set, none uses KEYS or SCAN."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from seatline.shared.calls import loads, reads
from seatline.shared.calls.base import Read
from seatline.shared.calls.talk import Found, Talk, Walk, ask, found, merged, page_of
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput
from seatline.shared.job import JobRecord
from seatline.shared.keys import STATES, Keys

__all__ = ["jobs_in", "load_ranges", "ready_ids", "ready_lines"]

PAGE = 100
RANGES = 1_000


def jobs_in(
    keys: Keys,
    *,
    state: str | None,
    type_: str | None,
    tenant: str | None,
    tag: str | None = None,
    limit: int | None = None,
    since: int = 0,
) -> Walk[JobRecord]:
    """Walk over snapshots; see :meth:`seatline.producer.Queue.jobs`. Of ended jobs those since then (epoch ms)."""
    if state is not None and state not in STATES:
        raise InvalidInput(f"state: {state!r} is none of {', '.join(STATES)}.")
    if type_ is not None:
        check_name("type", type_)
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit: {limit} is less than 0.")

    def wanted(record: JobRecord) -> bool:
        if (type_ is not None and record.type != type_) or (tenant is not None and record.tenant != tenant):
            return False
        return tag is None or tag in record.tags

    return _matching(keys, [state] if state else ["running", "ready", "scheduled"], type_, tag, wanted, limit, since)


def _matching(
    keys: Keys,
    states: Sequence[str],
    type_: str | None,
    tag: str | None,
    wanted: Callable[[JobRecord], bool],
    limit: int | None,
    since: int,
) -> Walk[JobRecord]:
    given = 0
    ranges = yield from load_ranges(keys, tag)
    for state in states:
        walk = _ids(keys, state, type_, since)
        while ids := (yield from page_of(walk, PAGE)):
            if ranges:  # of a load it is known which ids are its own: others need not be read
                ids = [each for each in ids if _within(ranges, int(each))]
            for record in (yield from ask(reads.job_records(keys, ids))) if ids else ():
                # It may have moved on since its page was read: a listing is a walk, not a snapshot.
                if record is None or record.state != state or not wanted(record):
                    continue
                if limit is not None and given >= limit:
                    return
                given += 1
                yield Found(record)


def load_ranges(keys: Keys, tag: str | None) -> Talk[list[tuple[int, int]]]:
    """Return the ids of the load of that tag in ranges (first, last), ascending; none: it is no load's tag, or forgotten."""
    kind, _, name = (tag or "").partition(":")
    ranges: list[tuple[int, int]] = []
    while kind == "load" and name and len(ranges) % RANGES == 0:
        page = yield from ask(loads.id_ranges(keys, name, len(ranges), RANGES))
        if not page:
            break
        ranges += page
    return ranges


def _within(ranges: Sequence[tuple[int, int]], number: int) -> bool:
    at = bisect_right(ranges, number, key=lambda each: each[0]) - 1
    return at >= 0 and number <= ranges[at][1]


def _ids(keys: Keys, state: str, type_: str | None, since: int) -> Walk[str]:
    if state == "ready":
        lines = yield from ready_lines(keys, type_)
        waiting = ready_ids(keys, lines)
        while page := (yield from page_of(waiting, PAGE)):
            yield from found(job_id for _, job_id in page)
        return
    zset = state if state in {"scheduled", "running"} else f"finished:{state}"
    start, seen = 0, set[str]()
    while True:
        members = yield from ask(reads.page(keys, zset, start, PAGE, newest_first=zset.startswith("finished:")))
        members = [each for each in members if each[1] >= since]
        yield from found(member for member, _ in members if member not in seen)
        seen = {member for member, _ in members}
        if len(members) < PAGE:
            return
        start += PAGE


def ready_lines(keys: Keys, type_: str | None = None) -> Talk[list[str]]:
    """Return the keys of all lines (of one type)."""
    types = [type_] if type_ else (yield from ask(reads.name_set(keys, "types")))
    known = (yield from ask(reads.type_records(keys, types))) if types else []
    return [keys.ready(record.name, uses) for record in known for uses in record.lines]


def ready_ids(keys: Keys, lines: Sequence[str]) -> Walk[tuple[int, str]]:
    """Walk several lines in reserve order: (priority, id)."""
    if not lines:
        return
    firsts = yield from ask(_heads(lines))
    yield from merged(_walk(keys, line, first) for line, first in zip(lines, firsts, strict=True) if first)


def _heads(lines: Sequence[str]) -> Read[list[list[tuple[int, str]]]]:
    return Read(
        [("ZRANGE", line, 0, PAGE - 1, "WITHSCORES") for line in lines],
        lambda replies: [
            [(int(float(score)), member.decode()) for member, score in zip(flat[::2], flat[1::2], strict=True)]
            for flat in replies
        ],
    )


def _walk(keys: Keys, line: str, page: list[tuple[int, str]]) -> Walk[tuple[int, str]]:
    start = 0
    while True:
        yield from found(page)
        if len(page) < PAGE:
            return
        start += PAGE
        name = line.split("}:", 1)[1]
        members = yield from ask(reads.page(keys, name, start, PAGE))
        page = [(int(priority), job_id) for job_id, priority in members]
