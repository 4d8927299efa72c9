"""An order as it is stored, and what is said to start one. Pure: no I/O.

::

    scheduled -> waiting -> running -> succeeded | failed | cancelled
                             |   ^        (failed: resumed at the step where it failed)
                             v   |
                           suspended

``waiting``: in front of its chain, which is stopped or full (``max_orders``). Where it is in the chain, ``now`` says.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from seatline.shared.codec import join_pieces, unpack_value
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput, PayloadError
from seatline.shared.job import DEFAULT_PRIORITY, Job, job_words
from seatline.shared.keys import id_text

__all__ = [
    "ENDED",
    "LIVE",
    "ORDER_STATES",
    "OrderRecord",
    "Run",
    "order_id",
    "order_words",
    "own_order_id",
]

LIVE: Final = ("running", "suspended", "waiting", "scheduled")
ENDED: Final = ("failed", "succeeded", "cancelled")
ORDER_STATES: Final = (*LIVE, *ENDED)

_RUN: Final = re.compile(
    r"step (?P<step>[^\s\[]+)(?:\[(?P<element>\d+)\])? job (?P<job>\d+) attempt (?P<attempt>\d+) by (?P<worker>\S+) "
    r"from (?P<started>\d+|-): (?P<outcome>[a-z]+)(?:[:,] (?P<more>.*))?",
    re.ASCII,
)


def order_id(value: object) -> str:
    """Return the id of an order in full; people may type ``42`` for one that was given its number."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        try:
            return id_text(value)
        except ValueError:
            raise InvalidInput(f"id: {value!r} is not the number of an order: it has more than 16 digits.") from None
    return check_name("id", value)


def own_order_id(value: object) -> str:
    """Return an id that a user may give to an order: a name that is no number, for numbers are given by the server."""
    name = check_name("id", value)
    if name.isdigit():
        raise InvalidInput(f"id: {value!r} is a number, and numbers are given by the server. Put a letter in front.")
    return name


def order_words(
    chain: str,
    params: Mapping[str, Any],
    *,
    id: str | None = None,
    priority: int = DEFAULT_PRIORITY,
    tenant: str | None = None,
    title: str | None = None,
    at: dt.datetime | None = None,
    delay: float | dt.timedelta | None = None,
) -> list[str | bytes]:
    """Check an order and write it as ``_start.lua`` reads it: a job's words, with the chain in the place of its type.

    Raises:
        InvalidInput: an argument is outside its limits.

    """
    name = check_name("chain", chain)
    words = job_words(Job(name, params, priority, None, tenant, title, at=at, delay=delay))
    words[2] = "" if id is None else own_order_id(id)
    words[5] = "chain"
    return words


def _moment(ms: str | None) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC) if ms and ms.isdigit() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """A snapshot of an order; times in UTC.

    Attributes:
        id: its own, or its number in 16 digits.
        number: the place of its start in the sequence of all jobs and orders.
        version: of the chain, which it keeps (O13).
        now: where it is: step -> id of the job under way, ``each`` (a run for each element), ``held`` (in front of it),
            ``held@<epoch ms>`` (not before then), ``failed``.
        ended: the steps that ended well or were passed, in the order of their ends.
        setbacks: how often a step was set back, since it last ended well (O7).
        skips: steps to be passed when it gets there.
        leaving: ``remove`` or ``cancel``, once what is under way has ended.
        suspended: since when (epoch ms) and by whom, or None.
        schedule: which schedule started it, ``planned``: for which of its moments.

    """

    id: str
    number: int
    chain: str
    version: int
    state: str
    priority: int
    now: Mapping[str, str] = field(default_factory=dict[str, str])
    ended: tuple[str, ...] = ()
    setbacks: Mapping[str, int] = field(default_factory=dict[str, int])
    skips: tuple[str, ...] = ()
    tenant: str | None = None
    title: str | None = None
    leaving: str | None = None
    suspended: str | None = None
    error: str | None = None
    error_step: str | None = None
    schedule: str | None = None
    planned: dt.datetime | None = None
    created: dt.datetime | None = None
    due: dt.datetime | None = None
    started: dt.datetime | None = None
    finished: dt.datetime | None = None
    data: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)

    @property
    def params(self) -> dict[str, Any]:
        """The order's own params; empty if the record was read without them."""
        packed = join_pieces("params", self.data)
        value: object = unpack_value(packed) if packed else {}
        if not isinstance(value, dict):
            raise PayloadError(f"order {self.id}: its params are a {type(value).__name__}, not a mapping.")
        return cast("dict[str, Any]", value)

    @property
    def outputs(self) -> dict[str, Any]:
        """What its steps have returned, by name, in the order in which they ended (O5)."""
        return {
            step: unpack_value(self.data[f"out.{step}"]) if f"out.{step}" in self.data else None for step in self.ended
        }

    @classmethod
    def read(cls, order_id: str, flat: Sequence[bytes], data: Sequence[bytes] = ()) -> OrderRecord:
        """Build it from the flat lists that HGETALL returns.

        Raises:
            PayloadError: it cannot be read: the order is orphaned (O13).

        """
        text = {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for name, value in zip(flat[::2], flat[1::2], strict=True)
        }
        try:
            return cls(
                id=order_id,
                number=int(text["number"]),
                chain=text["chain"],
                version=int(text["version"]),
                state=text["state"],
                priority=int(text["priority"]),
                now=_pairs(text.get("now")),
                ended=tuple(text.get("ended", "").split()),
                setbacks={step: int(count) for step, count in _pairs(text.get("setbacks")).items()},
                skips=tuple(text.get("skips", "").split()),
                tenant=text.get("tenant"),
                title=text.get("title"),
                leaving=text.get("leaving"),
                suspended=text.get("suspended"),
                error=text.get("error"),
                error_step=text.get("error_step"),
                schedule=text.get("schedule"),
                planned=_moment(text.get("planned")),
                created=_moment(text.get("created")),
                due=_moment(text.get("due")),
                started=_moment(text.get("started")),
                finished=_moment(text.get("finished")),
                data={name.decode(): value for name, value in zip(data[::2], data[1::2], strict=True)},
            )
        except (KeyError, ValueError) as error:
            raise PayloadError(f"order {order_id}: its record cannot be read ({error!r:.80}).") from None


def _pairs(text: str | None) -> dict[str, str]:
    return {step: word for step, _, word in (pair.partition("=") for pair in (text or "").split())}


@dataclass(frozen=True, slots=True)
class Run:
    """A line of an order's history. Of a run of a step all is known; of anything else only ``ended`` and ``text``.

    ``outcome``: succeeded, skipped, failed, cancelled, interrupted; lost = it runs again, because its worker was lost. A
    failed run that is to be tried again says so in ``text``.
    """

    ended: dt.datetime
    text: str
    step: str | None = None
    element: int | None = None
    job: int | None = None
    attempt: int = 0
    worker: str | None = None
    started: dt.datetime | None = None
    outcome: str | None = None

    @classmethod
    def read(cls, ended: dt.datetime, line: str) -> Run:
        """Read what ``_runs.lua`` and the acts of people have written."""
        found = _RUN.fullmatch(line)
        if not found:
            return cls(ended, line)
        return cls(
            ended,
            found["more"] or "",
            found["step"],
            int(found["element"]) if found["element"] else None,
            int(found["job"]),
            int(found["attempt"]),
            None if found["worker"] == "-" else found["worker"],
            _moment(found["started"]),
            found["outcome"],
        )
