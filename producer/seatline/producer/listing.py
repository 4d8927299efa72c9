"""Listings: page by page, in the order people mean. No listing reads a whole set, none uses KEYS or SCAN."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from seatline.shared.calls import reads
from seatline.shared.calls.base import Read
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput
from seatline.shared.job import JobRecord
from seatline.shared.keys import STATES
from seatline.shared.store import Store

__all__ = ["jobs_in", "ready_ids", "ready_lines"]

PAGE = 100


def jobs_in(
    store: Store, *, state: str | None, type_: str | None, tenant: str | None, limit: int | None
) -> Iterator[JobRecord]:
    """Iterate over snapshots; see :meth:`seatline.producer.Queue.jobs`."""
    if state is not None and state not in STATES:
        raise InvalidInput(f"state: {state!r} is none of {', '.join(STATES)}.")
    if type_ is not None:
        check_name("type", type_)
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit: {limit} is less than 0.")
    return _matching(store, [state] if state else ["running", "ready", "scheduled"], type_, tenant, limit)


def _matching(
    store: Store, states: Sequence[str], type_: str | None, tenant: str | None, limit: int | None
) -> Iterator[JobRecord]:
    given = 0
    for state in states:
        for ids in _paged(_ids(store, state, type_)):
            for record in store.read(reads.job_records(store.keys, ids)):
                # It may have moved on since its page was read: a listing is a walk, not a snapshot.
                if record is None or record.state != state:
                    continue
                if (type_ is not None and record.type != type_) or (tenant is not None and record.tenant != tenant):
                    continue
                if limit is not None and given >= limit:
                    return
                given += 1
                yield record


def _paged(ids: Iterator[str]) -> Iterator[list[str]]:
    page: list[str] = []
    for job_id in ids:
        page.append(job_id)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _ids(store: Store, state: str, type_: str | None) -> Iterator[str]:
    if state == "ready":
        yield from (job_id for _, job_id in ready_ids(store, ready_lines(store, type_)))
        return
    zset = state if state in {"scheduled", "running"} else f"finished:{state}"
    start, seen = 0, set[str]()
    while True:
        page = store.read(reads.page(store.keys, zset, start, PAGE, newest_first=zset.startswith("finished:")))
        for member, _ in page:
            if member not in seen:
                yield member
        seen = {member for member, _ in page}
        if len(page) < PAGE:
            return
        start += PAGE


def ready_lines(store: Store, type_: str | None = None) -> list[str]:
    """Return the keys of all lines (of one type)."""
    types = [type_] if type_ else store.read(reads.name_set(store.keys, "types"))
    known = store.read(reads.type_records(store.keys, types)) if types else []
    return [store.keys.ready(record.name, uses) for record in known for uses in record.lines]


def ready_ids(store: Store, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Walk several lines in reserve order: (priority, id)."""
    if not lines:
        return iter(())
    firsts = store.read(_heads(lines))
    walks = [_walk(store, line, first) for line, first in zip(lines, firsts, strict=True) if first]
    return heapq.merge(*walks)


def _heads(lines: Sequence[str]) -> Read[list[list[tuple[int, str]]]]:
    return Read(
        [("ZRANGE", line, 0, PAGE - 1, "WITHSCORES") for line in lines],
        lambda replies: [
            [(int(float(score)), member.decode()) for member, score in zip(flat[::2], flat[1::2], strict=True)]
            for flat in replies
        ],
    )


def _walk(store: Store, line: str, page: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    start = 0
    while True:
        yield from page
        if len(page) < PAGE:
            return
        start += PAGE
        name = line.split("}:", 1)[1]
        page = [(int(p), job_id) for job_id, p in store.read(reads.page(store.keys, name, start, PAGE))]
