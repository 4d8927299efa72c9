"""Orders: a handle for one, and their listing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from seatline.producer.handle import until_ended
from seatline.shared.calls import orders as verbs
from seatline.shared.calls import reads
from seatline.shared.calls.base import Call
from seatline.shared.calls.talk import Found, Talk, Walk, ask, page_of
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput, OrderCancelled, OrderFailed, OrderLost, PayloadError
from seatline.shared.keys import Keys
from seatline.shared.order import LIVE, ORDER_STATES, OrderRecord, Run

if TYPE_CHECKING:
    from seatline.producer.queue import Queue
    from seatline.producer.why import Obstacle

__all__ = ["OrderHandle", "act", "order_end", "order_record", "orders_in", "outputs", "why_not"]

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

    def record(self) -> OrderRecord:
        """Return a snapshot of the order, with its params and the outputs of its steps.

        Raises:
            NoSuchOrder: it was removed or trimmed.
            OrderLost: another order has its id now.
            PayloadError: its record cannot be read.

        """
        return self._queue.store.talk(order_record(self._queue.store.keys, self.id, self._number))

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
        return self._queue.store.talk(why_not(self._queue.store.keys, self.id, self._number))

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
        return self._queue.store.run(act(self.id, self._number, verb, step, self._queue.by))

    def wait(self, timeout: float | None = None) -> OrderRecord:
        """Wait until it has succeeded, failed or was cancelled; on the server and not by polling.

        Args:
            timeout: seconds, or None for as long as it takes.

        Raises:
            TimeoutError: it has not ended by then; the order goes on.
            OrderLost: the server does not have it (any more).

        """
        return self._queue.store.talk(order_end(self.id, self._number, timeout), self._queue.listener())

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for its end and return the outputs of its steps, by name.

        Raises:
            OrderFailed: it failed; says at which step, and why. OrderCancelled, OrderLost: its kinds.
            TimeoutError: it has not ended by then; the order goes on.

        """
        return outputs(self.wait(timeout))


def _said(order_id: str) -> str:
    """Return its id as people type it: a number without its zeros."""
    return str(int(order_id)) if order_id.isdigit() else order_id


def order_record(keys: Keys, order_id: str, number: str | None) -> Talk[OrderRecord]:
    """Return a snapshot of an order; ``number``: what its start was told."""
    (found,) = yield from ask(verbs.order_records(keys, [order_id]))
    if found is None:
        raise verbs.no_order(order_id)
    if isinstance(found, PayloadError):
        raise found
    if number is not None and found.number != int(number):
        raise OrderLost(f"order {_said(order_id)}: another order has this id now; this one was removed or replaced.")
    return found


def why_not(keys: Keys, order_id: str, number: str | None) -> Talk[list[Obstacle]]:
    """Say everything that keeps an order from going on now."""
    from seatline.producer.why_order import why_order  # noqa: PLC0415 - a question asked now and then
    from seatline.shared.calls.moment import at_one_moment  # noqa: PLC0415 - as above

    return at_one_moment(lambda: why_order(keys, lambda: order_record(keys, order_id, number)))


def act(order_id: str, number: str | None, verb: verbs.Act, step: str | None, by: str) -> Call[str]:
    """Check, and make the call of what a person does to an order."""
    if step is not None:
        check_name("step", step)
    return verbs.act(order_id, verb, step, by, number)


def order_end(order_id: str, number: str | None, timeout: float | None) -> Talk[OrderRecord]:
    """Wait for the end of an order."""
    name = f"order {_said(order_id)}"
    answer = yield from until_ended(name, lambda bell: verbs.wait(order_id, number, bell), timeout)
    if isinstance(answer, str):
        raise OrderLost(f"{name}: the server does not have it: removed, replaced, trimmed, or lost.")
    return answer


def outputs(record: OrderRecord) -> dict[str, Any]:
    """Return the outputs of an order that has succeeded, or raise what its state says."""
    if record.state == "succeeded":
        return record.outputs
    name = _said(record.id)
    if record.state == "cancelled":
        raise OrderCancelled(f"order {name} ({record.chain}) was cancelled.")
    raise OrderFailed(
        f"order {name} ({record.chain}) failed: {record.error}. `seatline orders resume {name}` goes on there.",
        step=record.error_step or "",
        error=record.error or "",
    )


def orders_in(
    keys: Keys, *, state: str | None, chain: str | None, limit: int | None
) -> Walk[OrderRecord | PayloadError]:
    """Walk over orders, page by page; see :meth:`seatline.producer.Queue.orders`."""
    if state is not None and state not in ORDER_STATES:
        raise InvalidInput(f"state: {state!r} is none of {', '.join(ORDER_STATES)}.")
    if chain is not None:
        check_name("chain", chain)
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit: {limit} is less than 0.")
    return _matching(keys, [state] if state else LIVE, chain, limit)


def _matching(
    keys: Keys, states: Sequence[str], chain: str | None, limit: int | None
) -> Walk[OrderRecord | PayloadError]:
    given = 0
    for state in states:
        walk = _of_state(keys, state)
        while page := (yield from page_of(walk, PAGE)):
            for found in page:
                if chain is not None and isinstance(found, OrderRecord) and found.chain != chain:
                    continue
                if limit is not None and given >= limit:
                    return
                given += 1
                yield Found(found)


def _of_state(keys: Keys, state: str) -> Walk[OrderRecord | PayloadError]:
    start, seen, newest = 0, set[str](), state not in LIVE
    while True:
        page = yield from ask(reads.page(keys, f"orders:{state}", start, PAGE, newest_first=newest))
        ids = [order_id for order_id, _ in page if order_id not in seen]
        records = (yield from ask(verbs.order_records(keys, ids, whole=False))) if ids else []
        for order_id, found in zip(ids, records, strict=True):
            if found is None:
                yield Found(PayloadError(f"order {order_id}: it is listed as {state}, but its record is gone."))
            elif isinstance(found, PayloadError) or found.state == state:
                yield Found(found)
        seen = {order_id for order_id, _ in page}
        if len(page) < PAGE:
            return
        start += PAGE
