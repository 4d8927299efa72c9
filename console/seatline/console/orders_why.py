"""``seatline orders why``: everything that keeps an order from going on, each with what to do about it (W1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import OrderRecord

__all__ = ["why_order"]


@click.command("why", cls=Command, epilog="Example: seatline orders why 42")
@click.argument("order", metavar="ID")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def why_order(target: Target, order: str, *, output: str) -> None:
    """Explain why an order does not go on.

    Lists every obstacle: due, stopped and full (its chain or step), suspended, failed, setback, leaving, orphaned; and
    those of the jobs that its steps are, as `seatline jobs why` does. When the last one goes, the order goes on.
    """
    from seatline.console.obstacles import show_obstacles  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - as above
    from seatline.shared.errors import PayloadError  # noqa: PLC0415 - as above

    with target.queue() as queue:
        handle = queue.order(order)
        obstacles = handle.why()
        try:
            record = handle.record()
        except PayloadError:  # it is orphaned: that is what keeps it (O13)
            show_obstacles(handle.id, "unreadable", f"order {order_shown(handle.id)}", obstacles, "", output)
            return
    heading = f"order {order_shown(record.id)} ({record.chain}, priority {record.priority})"
    show_obstacles(record.id, record.state, heading, obstacles, _without(record), output)


def _without(order: OrderRecord) -> str:
    """Say what is the matter with an order that nothing keeps."""
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast

    if order.finished:
        return f"It ended at {local(order.finished)}."
    return f"Nothing keeps it: it is at {', '.join(order.now)}." if order.now else "Nothing keeps it."
