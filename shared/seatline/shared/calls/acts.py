"""The audit: what people did to a namespace, as the scripts wrote it down (``_audit.lua``)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from seatline.shared.calls.base import Command, Read, text
from seatline.shared.keys import Keys

__all__ = ["STREAMS", "Act", "page"]

#: What only an admin may do, and what a producer or a worker may too.
STREAMS: Final = ("audit", "acts")
_BY: Final = re.compile(r"(?P<name>\S+) \((?P<comment>.*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did.

    Attributes:
        at: when, in UTC; of several, the last time.
        by: who, as the program that did it says: a name and a host.
        comment: why, or None.
        act: what, such as ``pause``.
        on: to what, such as ``type drawing.publish``.
        more: what else is to be said, or "".
        times: how often, or to how many jobs.
        entry: its id in its stream, by which acts stand in order.

    """

    at: dt.datetime
    by: str
    comment: str | None
    act: str
    on: str
    more: str
    times: int
    entry: tuple[int, int]


def page(keys: Keys, stream: str, before: tuple[int, int] | None, since: int, count: int) -> Read[list[Act]]:
    """Return acts of a stream, the newest first: those before an entry (None: the newest), not older than ``since`` (ms)."""
    end = "+" if before is None else f"({before[0]}-{before[1]}"
    command: Command = ("XREVRANGE", keys(stream), end, str(since), "COUNT", count)
    return Read([command], lambda replies: [_act(entry, flat) for entry, flat in replies[0]])


def _act(entry: bytes, flat: Sequence[Any]) -> Act:
    said = {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
    ms, _, number = text(entry).partition("-")
    found = _BY.fullmatch(said.get("by", ""))
    return Act(
        at=dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC),
        by=found["name"] if found else said.get("by", ""),
        comment=found["comment"] if found else None,
        act=said.get("act", "?"),
        on=said.get("on", "?"),
        more=said.get("more", ""),
        times=int(said.get("times", "1")),
        entry=(int(ms), int(number)),
    )
