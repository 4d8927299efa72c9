"""``seatline pools``: the pools of seats, their holders and those who wait (S12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seatline.console.command import Group, output_option
from seatline.console.pools_external import external
from seatline.console.pools_show import show_pool
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.shared.calls.reads import PoolRecord

__all__ = ["pools"]

_name = click.argument("name", metavar="NAME")


@click.group(cls=Group, epilog="Example: seatline pools set vault 5")
def pools() -> None:
    """Show and set the pools of seats."""


for command in (show_pool, external):
    pools.add_command(command)


@pools.command("list", epilog="Example: seatline pools list")
@output_option
@pass_target
def list_pools(target: Target, output: str) -> None:
    """List all pools: capacity, seats in use, used outside, free, and how many wait."""
    from seatline.console.output import Column, show  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import pool_data  # noqa: PLC0415 - as above

    columns: list[Column[PoolRecord]] = [
        Column("POOL", lambda pool: pool.name),
        Column("CAPACITY", lambda pool: str(pool.capacity), right=True),
        Column("IN USE", lambda pool: str(pool.in_use), right=True),
        Column("EXTERNAL", lambda pool: str(pool.external), right=True),
        Column("FREE", lambda pool: str(pool.free), right=True),
        Column("WAITING", lambda pool: f"{len(pool.waiting)}{'+' if len(pool.waiting) == 100 else ''}", right=True),  # noqa: PLR2004
        Column("KEPT", lambda pool: f"{pool.keep} for <= {pool.keep_priority}" if pool.keep else "-"),
    ]
    with target.queue() as queue:
        records = queue.pools.list()
    show(records, output, columns, pool_data)
    if not records and output == "table":
        click.echo("No pools. `seatline pools set NAME CAPACITY` makes one.", err=True)


@pools.command("set", epilog="Example: seatline pools set vault 5 --keep 1 --for 10")
@_name
@click.argument("capacity", type=int)
@click.option("--keep", type=int, metavar="N", help="The last N seats are kept for urgent jobs; 0: none.")
@click.option("--for", "keep_priority", type=int, metavar="PRIORITY", help="Who may have them: this priority or less.")
@pass_target
def set_pool(target: Target, name: str, capacity: int, *, keep: int | None, keep_priority: int | None) -> None:
    """Make a pool, or change its capacity.

    Lowered below what is held, nobody new gets in until it fits.
    """
    if keep == 0 and keep_priority is None:
        keep_priority = 1
    if (keep is None) != (keep_priority is None):
        raise click.UsageError("--keep N and --for PRIORITY go together", click.get_current_context())
    with target.queue() as queue:
        new = queue.pools.set(name, capacity, keep=keep, keep_priority=keep_priority)
        pool = queue.pools[name]
    over = f"; {pool.in_use} are in use, so nobody new gets in until it fits" if pool.in_use > capacity else ""
    click.echo(f"pool {name} {'has' if new else 'now has'} {capacity} seats{over}")


@pools.command("remove", epilog="Example: seatline pools remove vault")
@_name
@pass_target
def remove_pool(target: Target, name: str) -> None:
    """Forget a pool that nobody holds seats of; jobs that need it wait until it is there again."""
    with target.queue() as queue:
        queue.pools.remove(name)
    click.echo(f"pool {name} removed")
