"""Acting on orders: by their ids, or on all that match.

Those are found first, all of them; then their number is said; then, if somebody agrees, each is acted on once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatline.console.target import Target

if TYPE_CHECKING:
    from seatline.producer import OrderHandle, Queue

__all__ = ["act_on", "order_shown", "which"]

F = TypeVar("F", bound=Callable[..., Any])
SHOWN = 10


def order_shown(order_id: str) -> str:
    """Return an order's id as people type it: a number without its zeros."""
    return str(int(order_id)) if order_id.isdigit() else order_id


def which(*states: str) -> Callable[[F], F]:
    """Give a command its ids, or ``--all`` with filters; ``states``: those of ``--all`` unless ``--state`` says others."""
    told = " or ".join(states) or "must be given"

    def declare(function: F) -> F:
        for option in reversed(
            (
                click.argument("ids", metavar="[ID...]", nargs=-1),
                click.option("--all", "everything", is_flag=True, help="All that match, instead of ids."),
                click.option(
                    "--state", "states", multiple=True, metavar="STATE", help=f"With --all.  [default: {told}]"
                ),
                click.option("--chain", metavar="NAME", help="With --all: of this chain."),
                click.option("--dry-run", is_flag=True, help="With --all: say how many match, and stop."),
                click.option("--yes", is_flag=True, help="With --all: do not ask."),
            )
        ):
            function = option(function)
        return function

    return declare


def act_on(
    target: Target,
    act: Callable[[OrderHandle], str],
    default_states: Sequence[str],
    *,
    ids: Iterable[str],
    everything: bool,
    states: Sequence[str],
    chain: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Do it to each order, one line each, or a sum for ``--all``; a refusal does not keep the others from it."""
    from seatline.shared.order import order_id  # noqa: PLC0415 - `seatline --help` stays fast

    known = [order_id(text) for text in ids]  # all are read before the first is touched
    context = click.get_current_context()
    if bool(known) == everything:
        raise click.UsageError("give order ids, or --all with filters, one of the two.", context)
    if not everything and (states or chain or dry_run or yes):
        raise click.UsageError("--state, --chain, --dry-run and --yes go with --all.", context)
    with target.queue() as queue:
        if everything:
            chosen = states or default_states
            if not chosen:
                raise click.UsageError("--all needs a --state here: what it forgets cannot be had back.", context)
            known = _matching(queue, chosen, chain, target.tenant)
            if not _agreed(known, " or ".join(chosen), chain, dry_run=dry_run, yes=yes):
                return
        refused = _act(queue, known, act, one_by_one=not everything)
    if refused:
        context.exit(1)


def _matching(queue: Queue, states: Sequence[str], chain: str | None, tenant: str | None) -> list[str]:
    from seatline.producer import OrderRecord  # noqa: PLC0415 - `seatline --help` stays fast

    found = (each for state in states for each in queue.orders(state=state, chain=chain))
    return [each.id for each in found if isinstance(each, OrderRecord) and tenant in {None, each.tenant}]


def _agreed(known: Sequence[str], states: str, chain: str | None, *, dry_run: bool, yes: bool) -> bool:
    """Say how many, and ask."""
    of_chain = f" of chain {chain}" if chain else ""
    some = ", ".join(map(order_shown, known[:SHOWN]))
    which_ones = f": {some}{', ...' if len(known) > SHOWN else ''}" if known else ""
    click.echo(f"{len(known):,} {states} orders{of_chain}{which_ones}")
    if dry_run or not known:
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(
            "--all asks before it acts; where nobody can answer, add --yes.", click.get_current_context()
        )
    return click.confirm("Go on?")


def _act(queue: Queue, known: Sequence[str], act: Callable[[OrderHandle], str], *, one_by_one: bool) -> bool:
    from seatline.shared.errors import Refused  # noqa: PLC0415 - `seatline --help` stays fast

    done = 0
    for each in known:
        try:
            said = act(queue.order(each))
        except Refused as error:
            click.echo(f"seatline: {error}", err=True)
            continue
        done += 1
        if one_by_one:
            click.echo(f"order {order_shown(each)} {said}")
    if not one_by_one:
        click.echo(f"{done:,} of {len(known):,} done")
    return done < len(known)
