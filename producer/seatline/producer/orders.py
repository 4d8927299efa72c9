"""Orders: a handle for one, and their listing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from seatline.shared.calls import orders as verbs
from seatline.shared.calls import reads
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput, OrderCancelled, OrderFailed, OrderLost, PayloadError
from seatline.shared.order import LIVE, ORDER_STATES, OrderRecord, Run
from seatline.shared.store import Store

if TYPE_CHECKING:
    from seatline.producer.queue import Queue
    from seatline.producer.why import Obstacle

__all__ = ["OrderHandle", "orders_in"]

PAGE: Final = 100


class OrderHandle:
    """One order as its producer sees it.

    It remembers its number, so it never shows another order that got the same id later: it says
    :class:`~seatline.shared.errors.OrderLost` instead. What it does to the order is one atomic step each, and is in the
    order's history (O8).

    Attributes:
        id: its own, or its number in 16 digits.

    """

    __slots__ = ("_number", "_queue", "id")

    def __init__(self, queue: Queue, order_id: str, number: str | None = None) -> None:
        self._queue, self.id, self._number = queue, order_id, number

    def __repr__(self) -> str:
        return f"<OrderHandle {self.id}>"

    @property
    def _said(self) -> str:
        """Its id as people type it: a number without its zeros."""
        return str(int(self.id)) if self.id.isdigit() else self.id

    def record(self) -> OrderRecord:
        """Return a snapshot of the order, with its params and the outputs of its steps.

        Raises:
            NoSuchOrder: it was removed or trimmed.
            OrderLost: another order has its id now.
            PayloadError: its record cannot be read.

        """
        (found,) = self._queue.store.read(verbs.order_records(self._queue.store.keys, [self.id]))
        if found is None:
            raise verbs.no_order(self.id)
        if isinstance(found, PayloadError):
            raise found
        if self._number is not None and found.number != int(self._number):
            raise OrderLost(f"order {self._said}: another order has this id now; this one was removed or replaced.")
        return found

    def state(self) -> str:
        """Ask the server for the order's state."""
        return self.record().state

    def outputs(self) -> dict[str, Any]:
        """What its steps have returned so far, by name (O5)."""
        return self.record().outputs

    def why(self) -> list[Obstacle]:
        """Say everything that keeps the order from going on now, each with what to do; empty: nothing does (W1).

        Raises:
            NoSuchOrder: it was removed or trimmed. OrderLost: another order has its id now.

        """
        from seatline.producer.why_order import why_order  # noqa: PLC0415 - a question asked now and then

        return why_order(self._queue.store, self.record)

    def history(self) -> list[Run]:
        """What has become of it: every run of a step, and what people did; oldest first, the newest 1,000."""
        return self._queue.store.read(verbs.history(self._queue.store.keys, self.id))

    def suspend(self) -> str:
        """Let the running step end and go on no further (O6). Returns the state, as all that follow do."""
        return self._act("suspend")

    def resume(self, from_step: str | None = None) -> str:
        """Go on after a suspension, or where it failed; or from another step, whose followers then run again (O8).

        Raises:
            WrongState: it is neither suspended nor failed; or a step is under way, and another one was named.
            NoSuchStep: its chain has none of that name.

        """
        return self._act("resume", from_step)

    def skip(self, step: str) -> str:
        """Pass a step without running it, now or when it gets there. Raises WrongState if it is under way, or has ended."""
        return self._act("skip", step)

    def go_to(self, step: str) -> str:
        """Go on at a step, forward or back; refused while one is under way. One that is suspended waits in front of it."""
        return self._act("goto", step)

    def reset(self) -> str:
        """Begin again with the first step, without the outputs so far; refused while a step is under way."""
        return self._act("reset")

    def cancel(self) -> str:
        """End it: what waits at once, what runs is asked to stop (then 'asked' is returned)."""
        return self._act("cancel")

    def remove(self) -> str:
        """Forget it ('removed'); if a step is under way, once that has ended ('asked')."""
        return self._act("remove")

    def _act(self, verb: verbs.Act, step: str | None = None) -> str:
        if step is not None:
            check_name("step", step)
        return self._queue.store.run(verbs.act(self.id, verb, step, self._queue.by, self._number))

    def wait(self, timeout: float | None = None) -> OrderRecord:
        """Wait until it has succeeded, failed or was cancelled; on the server and not by polling.

        Args:
            timeout: seconds, or None for as long as it takes.

        Raises:
            TimeoutError: it has not ended by then; the order goes on.
            OrderLost: the server does not have it (any more).

        """
        end = None if timeout is None else time.monotonic() + timeout
        store, listener = self._queue.store, self._queue.listener()
        while True:
            answer = store.run(verbs.wait(self.id, self._number, listener.name))
            if isinstance(answer, OrderRecord):
                return answer
            if answer == "missing":
                raise OrderLost(
                    f"order {self._said}: the server does not have it: removed, replaced, trimmed, or lost."
                )
            left = 60.0 if end is None else end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"order {self._said} has not ended within {timeout} s; it goes on.")
            listener.wait_or_look(left)

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for its end and return the outputs of its steps, by name.

        Raises:
            OrderFailed: it failed; says at which step, and why. OrderCancelled, OrderLost: its kinds.
            TimeoutError: it has not ended by then; the order goes on.

        """
        record = self.wait(timeout)
        if record.state == "succeeded":
            return record.outputs
        if record.state == "cancelled":
            raise OrderCancelled(f"order {self._said} ({record.chain}) was cancelled.")
        raise OrderFailed(
            f"order {self._said} ({record.chain}) failed: {record.error}. `seatline orders resume {self._said}` goes on there.",
            step=record.error_step or "",
            error=record.error or "",
        )


def orders_in(
    store: Store, *, state: str | None, chain: str | None, limit: int | None
) -> Iterator[OrderRecord | PayloadError]:
    """Iterate over orders, page by page; see :meth:`seatline.producer.Queue.orders`."""
    if state is not None and state not in ORDER_STATES:
        raise InvalidInput(f"state: {state!r} is none of {', '.join(ORDER_STATES)}.")
    if chain is not None:
        check_name("chain", chain)
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit: {limit} is less than 0.")
    given = 0
    for each in [state] if state else LIVE:
        for found in _of_state(store, each):
            if chain is not None and isinstance(found, OrderRecord) and found.chain != chain:
                continue
            if limit is not None and given >= limit:
                return
            given += 1
            yield found


def _of_state(store: Store, state: str) -> Iterator[OrderRecord | PayloadError]:
    start, seen, newest = 0, set[str](), state not in LIVE
    while True:
        page = store.read(reads.page(store.keys, f"orders:{state}", start, PAGE, newest_first=newest))
        ids = [order_id for order_id, _ in page if order_id not in seen]
        for order_id, found in zip(
            ids, store.read(verbs.order_records(store.keys, ids, whole=False)) if ids else (), strict=True
        ):
            if found is None:
                yield PayloadError(f"order {order_id}: it is listed as {state}, but its record is gone.")
            elif isinstance(found, PayloadError) or found.state == state:
                yield found
        seen = {order_id for order_id, _ in page}
        if len(page) < PAGE:
            return
        start += PAGE
