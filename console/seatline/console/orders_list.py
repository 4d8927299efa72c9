"""``seatline orders list``: orders, and where each of them is."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import OrderRecord, Queue
    from seatline.shared.errors import PayloadError

__all__ = ["list_orders", "order_data"]


@dataclass(frozen=True, slots=True)
class Line:
    """An order of a listing, or why it cannot be read; how many steps its chain has; and the server's time."""

    order: OrderRecord | PayloadError
    flow: tuple[str, ...]
    now: dt.datetime

    def cell(self, what: str) -> str:
        """Return what a column says."""
        from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast
        from seatline.console.output import span  # noqa: PLC0415 - as above
        from seatline.shared.errors import PayloadError  # noqa: PLC0415 - as above

        if isinstance(self.order, PayloadError):
            own, reason = _orphan(self.order)
            return {"id": order_shown(own), "state": "orphaned", "title": reason}.get(what, "-")
        order = self.order
        match what:
            case "id":
                return order_shown(order.id)
            case "at":
                return " ".join(order.now) or "-"
            case "done":
                return f"{len({*self.flow} & {*order.ended})}/{len(self.flow)}" if self.flow else "-"
            case "age":
                return "-" if order.created is None else span((self.now - order.created).total_seconds())
            case "title":
                return order.title or ""
            case _:
                return str(getattr(order, what))

    def data(self) -> Mapping[str, Any]:
        """Return it for JSON."""
        from seatline.shared.errors import PayloadError  # noqa: PLC0415 - `seatline --help` stays fast

        if isinstance(self.order, PayloadError):
            own, reason = _orphan(self.order)
            return {"id": own, "state": "orphaned", "error": reason}
        return order_data(self.order)


def _orphan(error: PayloadError) -> tuple[str, str]:
    """Return whose record cannot be read, and why: the error begins with it (O13)."""
    found = re.fullmatch(r"order (\S+): (.*)", str(error), re.DOTALL)
    return (found[1], found[2]) if found else ("?", str(error))


def order_data(order: OrderRecord) -> dict[str, Any]:
    """Return an order for JSON, but for its params and outputs; ids as text."""
    from seatline.console.chains_show import mark_data  # noqa: PLC0415 - `seatline --help` stays fast

    return {
        "id": order.id,
        "chain": order.chain,
        "version": order.version,
        "state": order.state,
        "priority": order.priority,
        "at": order.now,
        "ended": order.ended,
        "setbacks": order.setbacks,
        "skips": order.skips,
        "title": order.title,
        "tenant": order.tenant,
        "suspended": mark_data(order.suspended),
        "leaving": order.leaving,
        "error": order.error,
        "error_step": order.error_step,
        "schedule": order.schedule,
        "planned": order.planned,
        "created": order.created,
        "due": order.due,
        "started": order.started,
        "finished": order.finished,
    }


@click.command("list", cls=Command, epilog="Example: seatline orders list --state failed --chain release")
@click.option("--state", metavar="STATE", help="running, suspended, waiting, scheduled, failed, ...; all: every state.")
@click.option("--chain", metavar="NAME", help="Only orders of this chain.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="At most so many; 0: all.")
@click.option("--since-restart", is_flag=True, help="What became of orders and jobs at the last restart of the server.")
@output_option
@pass_target
def list_orders(
    target: Target, *, state: str | None, chain: str | None, limit: int, since_restart: bool, output: str
) -> None:
    """List the orders that have not ended.

    AT is the step or steps at which an order stands, DONE how many steps of its chain have ended. A waiting one stands in
    front of its chain, which is stopped or full. One whose record cannot be read is orphaned. Ended ones (with --state) come
    the newest first. --tenant lists the orders of one tenant.

    --since-restart lists what was restored, started at once because its moment had passed, was interrupted, or is orphaned;
    jobs that were restored are only counted.
    """
    if since_restart:
        if state or chain:
            raise click.UsageError("--since-restart lists all orders, without --state or --chain")
        from seatline.console.orders_restart import show_restart  # noqa: PLC0415 - `seatline --help` stays fast

        show_restart(target, limit, output)
        return
    from seatline.console.output import Column, show  # noqa: PLC0415 - `seatline --help` stays fast

    columns: list[Column[Line]] = [
        Column("ID", lambda line: line.cell("id")),
        Column("CHAIN", lambda line: line.cell("chain")),
        Column("STATE", lambda line: line.cell("state")),
        Column("AT", lambda line: line.cell("at"), cuts=True),
        Column("DONE", lambda line: line.cell("done"), right=True),
        Column("PRIORITY", lambda line: line.cell("priority"), right=True),
        Column("AGE", lambda line: line.cell("age"), right=True),
        Column("TITLE", lambda line: line.cell("title"), cuts=True),
    ]
    with target.queue() as queue:
        told = _told(queue, state, chain)
        shown = show(islice(told, limit or None), output, columns, Line.data)
        more = bool(limit) and shown == limit and next(told, None) is not None
        if not shown and output == "table":
            lives = not (state or chain or queue.settings.tenant)
            click.echo(
                "No order is under way; --state all lists ended ones too." if lives else "No such orders.", err=True
            )
        if more:
            click.echo(f"{shown} shown, there are more; --limit 0 lists all.", err=True)


def _told(queue: Queue, state: str | None, chain: str | None) -> Iterator[Line]:
    from seatline.producer import OrderRecord, Plan  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls import orders as verbs  # noqa: PLC0415 - as above
    from seatline.shared.calls import reads  # noqa: PLC0415 - as above
    from seatline.shared.order import ORDER_STATES  # noqa: PLC0415 - as above

    flows: dict[tuple[str, int], tuple[str, ...]] = {}
    now = dt.datetime.fromtimestamp(queue.store.read(reads.server_time()) / 1000, dt.UTC)
    tenant = queue.settings.tenant
    for each in ORDER_STATES if state == "all" else (state,):
        for order in queue.orders(state=each, chain=chain):
            if not isinstance(order, OrderRecord):
                yield Line(order, (), now)
                continue
            if tenant not in {None, order.tenant}:
                continue
            version = order.chain, order.version
            if version not in flows:
                (plan,) = queue.store.read(verbs.plans(queue.store.keys, [version]))
                flow = [step.name for step in plan.steps if not step.aside] if isinstance(plan, Plan) else []
                flows[version] = tuple(flow)
            yield Line(order, flows[version], now)
