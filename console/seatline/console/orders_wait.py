"""``seatline orders wait``: wait for orders, on the server and not by polling."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.producer import OrderHandle, OrderRecord

__all__ = ["wait_orders"]


@click.command("wait", cls=Command, epilog="Example: seatline orders wait 42 --timeout 1h && echo done")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--timeout", type=duration, metavar="DURATION", help="For all of them together; then exit code 124.")
@pass_target
def wait_orders(target: Target, ids: tuple[str, ...], *, timeout: float | None) -> None:
    """Wait for the end of orders, one line each.

    Exit code 0: all succeeded. 1: one failed, was cancelled or removed. 124: not in time; the orders go on. A suspended one
    has not ended.
    """
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.waiting import spinner  # noqa: PLC0415 - as above
    from seatline.shared.errors import OrderLost  # noqa: PLC0415 - as above
    from seatline.shared.order import order_id  # noqa: PLC0415 - as above

    end = None if timeout is None else time.monotonic() + timeout
    good = True
    known = [order_id(text) for text in ids]
    with target.queue() as queue:
        for each in known:
            try:
                with spinner(f"waiting for order {order_shown(each)}"):
                    record = _wait_for(queue.order(each), end)
            except OrderLost as error:
                good = False
                click.echo(f"seatline: {error}", err=True)
                continue
            good = good and record.state == "succeeded"
            click.echo(_ending(record))
    if not good:
        click.get_current_context().exit(1)


def _wait_for(handle: OrderHandle, end: float | None) -> OrderRecord:
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast

    try:
        return handle.wait(None if end is None else max(0.0, end - time.monotonic()))
    except TimeoutError:
        raise TimeoutError(f"order {order_shown(handle.id)} has not ended in time; it goes on.") from None


def _ending(order: OrderRecord) -> str:
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.output import clean  # noqa: PLC0415 - as above

    return clean(f"order {order_shown(order.id)} {order.state}{f': {order.error}' if order.error else ''}")
