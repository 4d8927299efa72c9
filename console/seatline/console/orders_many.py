"""What ``seatline orders`` does to many orders: how they are chosen, and what is said of each and of all (Q22)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatline.console.many import Act, Kind, act_on, choosing
from seatline.console.target import Target

if TYPE_CHECKING:
    from seatline.producer import Acted, OrderHandle, OrderRecord, Queue

__all__ = ["act_on_orders", "order_shown", "some_orders"]

F = TypeVar("F", bound=Callable[..., Any])

#: Refusals that are told one by one; of more than that only the number.
TOLD = 10


def order_shown(order_id: str) -> str:
    """Return an order's id as people type it: a number without its zeros."""
    return str(int(order_id)) if order_id.isdigit() else order_id


def some_orders(*states: str) -> Callable[[F], F]:
    """Give a command ids of orders, or filters; ``states``: those of ``--all`` unless ``--state`` says others."""
    chain = click.option("--chain", metavar="NAME", help="All of this chain.")
    return choosing("order", *states, filters=(chain,))


def act_on_orders(
    target: Target, usual: Sequence[str], done: str, act: Callable[[OrderHandle], str], **chosen: Any
) -> None:
    """Do it to the orders that are named, or to all that match, of the ``usual`` states unless others are said.

    ``done`` is the word for what was done.
    """
    from seatline.shared.order import order_id  # noqa: PLC0415 - `seatline --help` stays fast

    kind: Kind[OrderHandle, _Orders] = Kind(
        noun="order",
        filters={"chain": "of chain"},
        read_id=order_id,
        shown=order_shown,
        handle=lambda queue, each: queue.order(each),
        look=_look,
        some=lambda found, most: found.ids[:most],
    )

    def told(acted: Acted) -> str:
        count = acted.done.total()
        return f"{done} {count:,} order{'' if count == 1 else 's'}"

    act_on(target, kind, Act(act, lambda found, on: found.each(act, on), told, usual), **chosen)


class _Orders:
    """Those that matched; each is acted on by itself, if it still is in one of the states that were asked for."""

    def __init__(self, queue: Queue, ids: Sequence[str], states: Sequence[str]) -> None:
        self._queue, self.ids, self._states = queue, ids, states

    def __len__(self) -> int:
        return len(self.ids)

    def each(self, act: Callable[[OrderHandle], str], on: Callable[[Acted], None]) -> Acted:
        """Act on each; refusals are told."""
        from seatline.producer import Acted  # noqa: PLC0415 - `seatline --help` stays fast
        from seatline.shared.errors import NoSuchOrder, Refused  # noqa: PLC0415 - as above

        acted = Acted(len(self.ids))
        for each in self.ids:
            handle = self._queue.order(each)
            try:
                if (state := handle.state()) in self._states:
                    act(handle)
                    acted.done["done"] += 1
                else:
                    acted.left[state] += 1
            except NoSuchOrder:
                acted.left["missing"] += 1
            except Refused as error:
                acted.left["refused"] += 1
                if acted.left["refused"] <= TOLD:
                    click.echo(f"seatline: {error}", err=True)
            on(acted)
        return acted


def _look(queue: Queue, states: Sequence[str], said: dict[str, Any], on: Callable[[int], None]) -> _Orders:
    from seatline.shared.calls import scan  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.orders import order_records  # noqa: PLC0415 - as above
    from seatline.shared.config import check_name  # noqa: PLC0415 - as above
    from seatline.shared.errors import InvalidInput  # noqa: PLC0415 - as above
    from seatline.shared.order import ORDER_STATES, OrderRecord  # noqa: PLC0415 - as above

    for state in states:
        if state not in ORDER_STATES:
            raise InvalidInput(f"state: {state!r} is none of {', '.join(ORDER_STATES)}.")
    if "chain" in said:
        check_name("chain", said["chain"])
    store = queue.store
    now, last = store.read(scan.start(store.keys))
    numbers: dict[str, int] = {}
    for state in states:
        cursor, first = 0, True
        while cursor or first:
            first = False
            cursor, members = store.read(scan.members(store.keys(f"orders:{state}"), cursor))
            ids = [order_id for order_id, _ in members]
            for each in store.read(order_records(store.keys, ids, whole=False)) if ids else ():
                if isinstance(each, OrderRecord) and each.number <= last and _fits(each, queue, states, said, now):
                    numbers[each.id] = each.number
            on(len(numbers))
    return _Orders(queue, sorted(numbers, key=lambda each: numbers[each]), states)


def _fits(order: OrderRecord, queue: Queue, states: Sequence[str], said: dict[str, Any], now: int) -> bool:
    since = order.finished or order.created
    age = 0.0 if since is None else now / 1000 - since.timestamp()
    return (
        order.state in states
        and said.get("chain") in {None, order.chain}
        and queue.settings.tenant in {None, order.tenant}
        and said.get("error", "").casefold() in (order.error or "").casefold()
        and age >= said.get("older_than", 0.0)
    )
