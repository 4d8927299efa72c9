"""``seatline orders``: what people do to orders; looking is in the modules beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Group
from seatline.console.orders_list import list_orders
from seatline.console.orders_many import act_on_orders, some_orders
from seatline.console.orders_show import show_order
from seatline.console.orders_start import start_order
from seatline.console.orders_wait import wait_orders
from seatline.console.orders_why import why_order
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import OrderHandle

__all__ = ["orders"]

_step = click.argument("step", metavar="STEP")
_order = click.argument("order", metavar="ID")


@click.group(cls=Group, epilog="Example: seatline orders start release file=a.dwg")
def orders() -> None:
    """Start, show, wait for and change orders.

    An order is one run through a chain. An ID is the order's own, or its number, which may be typed without zeros: 42.
    """


for command in (start_order, list_orders, show_order, why_order, wait_orders):
    orders.add_command(command)


@orders.command(epilog="Example: seatline orders suspend --chain release --dry-run")
@some_orders("running", "waiting", "scheduled")
@pass_target
def suspend(target: Target, **chosen: Any) -> None:
    """Let orders go on no further; a step that runs ends first."""

    def act(handle: OrderHandle) -> str:
        handle.suspend()
        return "is suspended" + _until_it_ends(handle)

    act_on_orders(target, ("running", "waiting", "scheduled"), "suspended", act, **chosen)


def _until_it_ends(handle: OrderHandle) -> str:
    """Say which steps still run: what stands with a number, or with its elements, is under way."""
    under_way = [step for step, word in handle.record().now.items() if word.isdigit() or word == "each"]
    return f"; what runs of {', '.join(under_way)} ends first" if under_way else ""


@orders.command(epilog="Example: seatline orders resume 42 --from check")
@some_orders("suspended")
@click.option("--from", "--from-step", "step", metavar="STEP", help="Go on there; what follows it runs again.")
@pass_target
def resume(target: Target, *, step: str | None, **chosen: Any) -> None:
    """Go on after a suspension, or at the step that failed."""
    act_on_orders(
        target, ("suspended",), "resumed", lambda handle: f"goes on{_now(handle, handle.resume(step))}", **chosen
    )


@orders.command(epilog="Example: seatline orders reset 42")
@some_orders("failed")
@pass_target
def reset(target: Target, **chosen: Any) -> None:
    """Begin again with the first step, without the outputs so far.

    Refused while a step is under way.
    """
    act_on_orders(target, ("failed",), "reset", lambda handle: f"begins again{_now(handle, handle.reset())}", **chosen)


@orders.command(epilog="Example: seatline orders remove --state cancelled --older-than 30d")
@some_orders()
@pass_target
def remove(target: Target, **chosen: Any) -> None:
    """Forget orders, with their outputs and history; a step that runs ends first."""
    words = {"removed": "removed", "asked": "is removed once what runs of it has ended"}
    act_on_orders(target, (), "removed", lambda handle: words[handle.remove()], **chosen)


@orders.command(epilog="Example: seatline orders cancel 42")
@some_orders("running", "suspended", "waiting", "scheduled")
@pass_target
def cancel(target: Target, **chosen: Any) -> None:
    """End orders; a step that runs is asked to stop."""
    words = {"asked": "asked to stop; it is cancelled once what runs of it has ended"}

    def act(handle: OrderHandle) -> str:
        told = handle.cancel()
        return words.get(told, told)

    act_on_orders(target, ("running", "suspended", "waiting", "scheduled"), "cancelled", act, **chosen)


@orders.command(epilog="Example: seatline orders skip 42 announce")
@_order
@_step
@pass_target
def skip(target: Target, order: str, step: str) -> None:
    """Have an order pass a step without running it, now or when it gets there."""
    _one(target, order, lambda handle: f"passes step {step}{_now(handle, handle.skip(step))}")


@orders.command("goto", epilog="Example: seatline orders goto 42 check")
@_order
@_step
@pass_target
def go_to(target: Target, order: str, step: str) -> None:
    """Send an order to a step, forward or back.

    What follows that step runs again. Refused while a step is under way; a suspended order waits in front of it.
    """
    _one(target, order, lambda handle: f"is sent to step {step}{_now(handle, handle.go_to(step))}")


def _one(target: Target, order: str, act: Callable[[OrderHandle], str]) -> None:
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast

    with target.queue() as queue:
        handle = queue.order(order)
        click.echo(f"order {order_shown(handle.id)} {act(handle)}")


def _now(handle: OrderHandle, state: str) -> str:
    """Say where it is now."""
    if state != "running":
        return f"; it is {state}"
    places = ", ".join(handle.record().now)
    return f"; it is at {places}" if places else ""
