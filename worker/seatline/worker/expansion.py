"""Expansion: the first job of a step with ``each`` calls no handler; the worker itself makes a run of every element (O14).

Scripts cannot open params (R6), so a worker does: it merges them, takes the list and stores base (the params without the
list) and elements in the order, in bites; then it reports how many there are, and they become jobs. What happens at each
failure:

* killed, or told to hand its jobs back, in between: the next attempt stores the same again
* the lease was taken back: the script refuses the bite, nothing of it is stored
* there is no list, or too long a one: the step fails with ``BadParams``; the same again would end the same
* the server is away or full: it goes on trying for as long as it holds the job
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from seatline.shared.calls import orders as verbs
from seatline.shared.calls.base import Call
from seatline.shared.calls.workers import Report
from seatline.shared.codec import pack_value
from seatline.shared.errors import BadParams, ServerError, ServerRefused
from seatline.shared.order_params import Handed
from seatline.shared.store import Patience, Store
from seatline.worker.context import Context, Hold
from seatline.worker.execute import failed, unbegun
from seatline.worker.handlers import Handler

__all__ = ["Expander"]

log = logging.getLogger("seatline.worker")

ELEMENTS_MOST: Final = 10_000
#: Elements, and bytes of them, in one call.
BITE: Final = 1_000
BITE_BYTES: Final = 1024 * 1024
#: The longest pause (seconds) between two tries while the server refuses for now.
PAUSE_MOST: Final = 10.0


class Expander:
    """Expands the lists of steps, one at a time, over a connection of its own."""

    def __init__(self, store: Store) -> None:
        self._store, self._wire = store, store.wire()
        self._lock = threading.Lock()

    def run(self, handler: Handler, hold: Hold, ctx: Context, fields: dict[bytes, bytes]) -> Report:
        """Do the one attempt of such a job; never raises."""
        try:
            base, elements = _read(ctx, fields[b"expand"].decode())
            with self._lock:
                return self._store_all(hold, ctx, base, elements)
        except Exception as error:  # noqa: BLE001 - also a bug of ours ends the job, never the worker
            return _ended_early(hold) or failed(handler, ctx, fields, error)

    def _store_all(self, hold: Hold, ctx: Context, base: bytes, elements: list[bytes]) -> Report:
        order, step = ctx.job.order or "", ctx.job.step or ""
        for start, bite in _bites(elements):
            if early := _ended_early(hold):
                return early
            call = verbs.expand(hold.id, hold.token, order, step, start, None if start else base, bite)
            if not self._insist(call, hold):
                return Report(hold.id, hold.token, "abandoned")
        return Report(hold.id, hold.token, "succeeded", ["count", len(elements)])

    def _insist(self, call: Call[bool], hold: Hold) -> bool:
        """Send until the server answers, or the job is no longer to be done."""
        patience, pause = Patience(None, enough=lambda: hold.over), 0.1
        while True:
            try:
                return self._store.run(call, patience, self._wire)
            except ServerError as error:
                if isinstance(error, ServerRefused) or hold.over:
                    raise
                log.warning("job %d: %s Its list waits.", int(hold.id), error)
                pause = min(PAUSE_MOST, pause * 2)
                hold.wait(pause)


def _read(ctx: Context, name: str) -> tuple[bytes, list[bytes]]:
    """Return the params without the list, and its elements, packed."""
    handed = cast("Handed", ctx.job.handed)
    handed.check()
    params = handed.merged()
    where = f"each={name!r} of step {ctx.job.step}"
    if name not in params:
        raise BadParams(f"{where}: there is no such param (there are: {', '.join(sorted(params)) or 'none'}).")
    found = params.pop(name)
    if not isinstance(found, list | tuple):
        raise BadParams(f"{where}: the param is a {type(found).__name__}, not a list.")
    elements = cast("Sequence[Any]", found)
    if len(elements) > ELEMENTS_MOST:
        raise BadParams(
            f"{where}: {len(elements):,} elements are more than the limit of {ELEMENTS_MOST:,}. Let one element stand for "
            "several, or start several orders."
        )
    return pack_value("params", params), [pack_value(f"{name}[{at}]", value) for at, value in enumerate(elements)]


def _bites(elements: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Divide into calls: each with the number of its first; the first, which may be empty, is always made."""
    start = size = 0
    for at, element in enumerate(elements):
        if at > start and (at - start == BITE or size + len(element) > BITE_BYTES):
            yield start, elements[start:at]
            start, size = at, 0
        size += len(element)
    yield start, elements[start:]


def _ended_early(hold: Hold) -> Report | None:
    """Say what becomes of it if it is to stop: no handler has been called, so nothing is counted."""
    return unbegun(hold) if hold.over else None
