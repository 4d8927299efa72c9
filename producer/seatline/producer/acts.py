"""Who did what to a namespace: the audit, the newest act first."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from seatline.shared.calls import acts
from seatline.shared.calls.acts import Act
from seatline.shared.calls.talk import Found, Walk, ask, following, found, merged
from seatline.shared.errors import InvalidInput
from seatline.shared.keys import Keys

__all__ = ["acts_in", "moment_ms"]

SECONDS_MOST = 2**40

PAGE = 500


def moment_ms(what: str, value: float | dt.datetime | None) -> int:
    """Return a moment as epoch ms; None: 0."""
    if value is None:
        return 0
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise InvalidInput(f"{what}: {value!r} has no time zone. Use datetime(..., tzinfo=...).")
        return int(value.timestamp() * 1000)
    if type(value) in {int, float} and 0 <= value < SECONDS_MOST:
        return int(value * 1000)
    raise InvalidInput(f"{what}: {value!r} is neither a moment nor a number of seconds since 1970.")


def acts_in(keys: Keys, *, since_ms: int = 0, limit: int | None = None) -> Walk[Act]:
    """Walk over what people did, the newest first, page by page."""
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit: {limit} is less than 0.")
    walk = merged([_one(keys, stream, since_ms) for stream in acts.STREAMS])
    given = 0
    while (limit is None or given < limit) and (next_ := (yield from following(walk))):
        given += 1
        yield Found(next_[0].act)


@dataclass(frozen=True, slots=True, order=True)
class _Newest:
    """An act, in an order in which the newest comes first."""

    order: tuple[int, int]
    act: Act = field(compare=False)


def _one(keys: Keys, stream: str, since_ms: int) -> Walk[_Newest]:
    before = None
    while page := (yield from ask(acts.page(keys, stream, before, since_ms, PAGE))):
        yield from found(_Newest((-each.entry[0], -each.entry[1]), each) for each in page)
        if len(page) < PAGE:
            return
        before = page[-1].entry
