"""``seatline orders start``: start one order of a chain, now or at a moment to come."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import duration, moment, params_of

__all__ = ["start_order"]

#: Obstacles that are told at once: waiting alone does not remove them (Q15).
TOLD = frozenset({"full", "no-pool", "no-worker", "paused", "stopped"})


@click.command(
    "start",
    cls=Command,
    epilog="""\b
Examples:
  seatline orders start release file=a.dwg copies:=2
  seatline orders start release --id release-a --params '{"file": "a.dwg"}' --priority 3
  seatline orders start release --params - --at 2030-01-31T18:00 < order.json
""",
)
@click.argument("chain", metavar="CHAIN")
@click.argument("words", metavar="[NAME=VALUE | NAME:=JSON]...", nargs=-1)
@click.option("--param", "more", multiple=True, metavar="NAME=VALUE", help="The same as a word behind CHAIN.")
@click.option("--params", metavar="JSON", help="Params as a JSON object, or - to read it from stdin.")
@click.option("--id", "own", metavar="NAME", help="A name of its own, with a letter in it.  [default: its number]")
@click.option("--priority", type=int, help="1 is the most urgent.  [default: 10]")
@click.option("--title", metavar="TEXT", help="A line for people.")
@click.option("--at", type=moment, metavar="MOMENT", help="When it starts, such as 2030-01-31T18:00 (local time).")
@click.option("--delay", type=duration, metavar="DURATION", help="Start after so long, such as 5m.")
@click.option("--replace", is_flag=True, help="With --id: put it in the place of an order of that id.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def start_order(
    target: Target,
    chain: str,
    words: tuple[str, ...],
    *,
    more: tuple[str, ...],
    params: str | None,
    own: str | None,
    priority: int | None,
    title: str | None,
    at: dt.datetime | None,
    delay: float | None,
    replace: bool,
    output: str,
) -> None:
    """Start an order of a chain.

    Prints its id. A VALUE that reads as a number, true, false or null in JSON is that, anything else is text;
    NAME:=JSON takes any JSON. --tenant is handed to its steps.
    """
    if replace and own is None:
        raise click.UsageError(
            "--replace goes with --id; without one every start is another order", click.get_current_context()
        )
    values = params_of(sys.stdin.read() if params == "-" else params, (*words, *more))
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.errors import SeatlineError  # noqa: PLC0415 - as above
    from seatline.shared.job import DEFAULT_PRIORITY  # noqa: PLC0415 - as above

    with target.queue() as queue:
        handle = queue.start(
            chain,
            values,
            id=own,
            priority=DEFAULT_PRIORITY if priority is None else priority,
            title=title,
            at=at,
            delay=delay,
            replace=replace,
        )
        click.echo(json.dumps({"id": handle.id}) if output == "json" else order_shown(handle.id))
        with contextlib.suppress(SeatlineError):  # it is stored; a login that may not read gets no warning
            for obstacle in handle.why():
                if obstacle.reason in TOLD:
                    said = f"{obstacle.message} {obstacle.action}"
                    click.echo(f"seatline: order {order_shown(handle.id)}: {said}", err=True)
