"""``seatline orders show``: one order: its chain with where it is, what went wrong, what it was given and has brought."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.console.orders_progress import At, Scene
    from seatline.console.output import Column
    from seatline.producer import Obstacle, OrderRecord, Run

__all__ = ["show_order"]

#: Characters of a param and of an output that are shown unless --full.
_SHOWN = 200

#: Columns of a terminal from which on workers are shown; --history tells them in any case.
WIDE = 100

_EPOCH = re.compile(r"\b\d{13}\b", re.ASCII)


@click.command("show", cls=Command, epilog="Example: seatline orders show 42 --history")
@click.argument("order", metavar="ID")
@click.option("--history", is_flag=True, help="Also all that has happened to it, the newest 1,000 lines.")
@click.option("--full", is_flag=True, help="Cut no params and outputs.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def show_order(target: Target, order: str, *, history: bool, full: bool, output: str) -> None:
    """Draw an order's chain with where the order is.

    > marks where it stands. STATE of a step is done, passed (without running), skipped (its handler found nothing to do),
    running, waiting (for a worker, or its time), held (the order stands in front of it), failed, or - if it was not reached.
    """
    from seatline.console.orders_progress import Scene  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.output import plain_data, show  # noqa: PLC0415 - as above

    with target.queue() as queue:
        handle = queue.order(order)
        scene, obstacles = Scene.of(queue, handle), handle.why()
    if output == "json":
        click.echo(json.dumps(plain_data(_data(scene, obstacles)), indent=2, ensure_ascii=False))
        return
    _print([*_header(scene), ""])
    show(scene.steps(), output, _columns(scene), lambda at: at.data())
    _print([*_trouble(scene.order, obstacles), *_payloads(scene.order, full=full), *_past(scene, history=history)])


def _print(lines: list[str]) -> None:
    from seatline.console.output import clean  # noqa: PLC0415 - `seatline --help` stays fast

    for line in lines:
        heading = bool(line) and not line.startswith(" ")
        click.echo(click.style(clean(line), bold=True) if heading else clean(line))


def _header(scene: Scene) -> Iterator[str]:
    from seatline.console.chains_show import mark_shown  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - as above
    from seatline.console.output import local, span  # noqa: PLC0415 - as above

    order = scene.order
    yield f"Order {order_shown(order.id)}  {order.chain}  {order.state}"
    newer = f" (the newest is {scene.chain.version})" if scene.chain and scene.chain.version != order.version else ""
    facts = {
        "title": order.title,
        "version": f"{order.version}{newer}" if newer else None,
        "priority": str(order.priority),
        "tenant": order.tenant,
        "schedule": order.schedule and f"{order.schedule}, planned for {local(order.planned)}",
        "created": local(order.created),
        "due": order.due and local(order.due),
        "started": order.started and local(order.started),
        "suspended": order.suspended and mark_shown(order.suspended).replace(" by step ", ": step ", 1),
        "ended": order.finished and local(order.finished),
        "leaving": order.leaving and f"to be {_LEAVING[order.leaving]} once what runs of it has ended",
    }
    if order.started and order.finished:
        facts["ended"] = f"{facts['ended']}  after {span((order.finished - order.started).total_seconds())}"
    if order.state == "waiting" and scene.chain:
        chain = scene.chain
        full = (
            f"{chain.started:,} of at most {chain.max_orders:,} orders of its chain are started"
            if chain.max_orders
            else ""
        )
        facts["waits"] = f"its chain is stopped {mark_shown(chain.stopped)}" if chain.stopped else full
    for name, value in facts.items():
        if value:
            yield f"  {name:<9}  {value}"


#: Obstacles that the lines above tell already.
TOLD = frozenset({"failed", "leaving", "suspended"})

_LEAVING = {"cancel": "cancelled", "remove": "removed"}


def _columns(scene: Scene) -> list[Column[At]]:
    from seatline.console.orders_progress import clock  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.output import Column  # noqa: PLC0415 - as above

    day = scene.order.started or scene.now
    columns: list[Column[At]] = [
        Column("  STEP", lambda at: f"{'>' if at.here else ' '} {at.drawn}"),
        Column("STATE", lambda at: at.state),
        Column("JOB", lambda at: "-" if at.job is None else str(at.job), right=True, spare=True),
        Column("ATTEMPT", lambda at: str(at.attempt or "-"), right=True, spare=True),
        Column("STARTED", lambda at: clock(at.started, day), spare=True),
        Column("TOOK", lambda at: at.took(scene.now), right=True, spare=True),
        Column("NOTE", lambda at: at.note, cuts=True, spare=True),
    ]
    if _wide():
        columns.insert(-1, Column("WORKER", lambda at: at.worker or "-", spare=True))
    return columns


def _wide() -> bool:
    """Whether there is room for who ran a step, beside what is to be said of it."""
    if not sys.stdout.isatty():
        return True
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    return Console().width >= WIDE


def _trouble(order: OrderRecord, obstacles: Sequence[Obstacle]) -> Iterator[str]:
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.order import ENDED  # noqa: PLC0415 - as above

    if order.error:
        yield from ("", "Error", *(f"  {line}" for line in order.error.splitlines()))
    if order.state == "failed":
        yield f"  -> seatline orders resume {order_shown(order.id)} goes on at that step."
    waits = [obstacle for obstacle in obstacles if obstacle.reason not in TOLD]
    if waits and order.state not in ENDED:
        yield from ("", "Why it waits", *(f"  {obstacle}" for obstacle in waits))


def _payloads(order: OrderRecord, *, full: bool) -> Iterator[str]:
    for heading, values in (("Params", _readable(lambda: order.params)), ("Outputs", _readable(lambda: order.outputs))):
        if isinstance(values, str):
            yield from ("", heading, f"  {values}")
        elif values:
            width = min(24, max(map(len, values)))
            yield from ("", heading)
            for name, value in values.items():
                yield f"  {name:<{width}}  {_cut(json.dumps(value, ensure_ascii=False), full=full)}"


def _cut(text: str, *, full: bool) -> str:
    left = 0 if full else len(text) - _SHOWN
    return text if left <= 0 else f"{text[:_SHOWN]} ... {left:,} characters more; --full shows them"


def _readable(read: Callable[[], Mapping[str, Any]]) -> dict[str, Any] | str:
    from seatline.console.output import plain_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.errors import SeatlineError  # noqa: PLC0415 - as above

    try:
        return {name: plain_data(value) for name, value in read().items()}
    except SeatlineError as error:
        return f"cannot be read: {error}"


def _past(scene: Scene, *, history: bool) -> Iterator[str]:
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast

    if history and scene.history:
        yield from ("", "History", *(f"  {local(line.ended)}  {_happened(line)}" for line in scene.history))


def _happened(line: Run) -> str:
    """Tell a line of the history."""
    from seatline.console.output import local, span  # noqa: PLC0415 - `seatline --help` stays fast

    def moment(found: re.Match[str]) -> str:
        return local(dt.datetime.fromtimestamp(int(found[0]) / 1000, dt.UTC))

    if line.step is None:
        return _EPOCH.sub(moment, line.text)
    element = "" if line.element is None else f"[{line.element}]"
    by = f" by {line.worker}" if line.worker else ""
    took = f" after {span((line.ended - line.started).total_seconds())}" if line.started else ""
    more = f": {line.text}" if line.text else ""
    return f"step {line.step}{element} {line.outcome}{took}, job {line.job} attempt {line.attempt}{by}{more}"


def _data(scene: Scene, obstacles: Sequence[Obstacle]) -> dict[str, Any]:
    from seatline.console.orders_list import order_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import obstacle_data  # noqa: PLC0415 - as above

    return order_data(scene.order) | {
        "steps": [at.data() for at in scene.steps()],
        "params": _readable(lambda: scene.order.params),
        "outputs": _readable(lambda: scene.order.outputs),
        "why": [obstacle_data(obstacle) for obstacle in obstacles],
        "history": [_line_data(line) for line in scene.history],
    }


def _line_data(line: Run) -> dict[str, Any]:
    return {
        "time": line.ended,
        "text": line.text,
        "step": line.step,
        "element": line.element,
        "job": None if line.job is None else f"{line.job:016}",
        "attempt": line.attempt or None,
        "worker": line.worker,
        "started": line.started,
        "outcome": line.outcome,
    }
