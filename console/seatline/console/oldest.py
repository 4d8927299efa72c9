"""Since when the oldest job of each line waits, without reading the line (Q15)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from seatline.shared.calls.base import Command, Read
from seatline.shared.store import Store

__all__ = ["oldest_of"]


def oldest_of(store: Store, lines: Sequence[str], priorities: int = 32) -> dict[str, dt.datetime]:
    """Return when the oldest job of each line was enqueued: the first id of each of its (first 32) priorities.

    Ids follow the order of enqueuing, so within one priority the first is the oldest.
    """
    least: dict[str, str] = {}
    above = dict.fromkeys(lines, "-inf")
    for _ in range(priorities):
        looks: list[Command] = [
            ("ZRANGEBYSCORE", line, score, "+inf", "WITHSCORES", "LIMIT", 0, 1) for line, score in above.items()
        ]
        if not looks:
            break
        heads = store.read(Read(looks, list[Any]))
        for line, head in zip(list(above), heads, strict=True):
            if not head:
                del above[line]
                continue
            job_id = head[0].decode()
            least[line] = min(least.get(line, job_id), job_id)
            above[line] = f"({head[1].decode()}"
    moments: list[Command] = [("HGET", store.keys.job(job_id), "created") for job_id in least.values()]
    created = store.read(Read(moments, list[Any])) if least else []
    return {
        line: dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC) for line, ms in zip(least, created, strict=True) if ms
    }
