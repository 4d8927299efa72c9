"""``seatline workers``: who runs jobs, and who was lost; what is done to them is in the modules beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seatline.console.command import Group, output_option
from seatline.console.target import Target, pass_target
from seatline.console.workers_ask import pause, resume, stop
from seatline.console.workers_ping import ping
from seatline.console.workers_show import show_worker

if TYPE_CHECKING:
    from seatline.console.fleet import Seen

__all__ = ["workers"]


@click.group(cls=Group, epilog="Example: seatline workers list")
def workers() -> None:
    """Show, pause and stop the workers.

    An ID may be abbreviated to a beginning that only one worker has.
    """


for command in (show_worker, pause, resume, stop, ping):
    workers.add_command(command)


@workers.command("list", epilog="Example: seatline workers list -o json")
@output_option
@pass_target
def list_workers(target: Target, output: str) -> None:
    """List the workers that are there, and those lost in the last day.

    STATE is awake, paused, stopping, sleeping (a classic worker between two looks) or lost: it went without a word and
    its presence has expired; its jobs run again or wait as interrupted, as their types say. BUSY is the jobs it runs of
    the slots it has, MEMORY what its own process holds, without its children.
    """
    from seatline.console.fleet import fleet_of, worker_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.output import Column, show  # noqa: PLC0415 - as above

    columns: list[Column[Seen]] = [
        Column("ID", lambda worker: worker.id),
        Column("STATE", lambda worker: worker.state_shown()),
        Column("BUSY", _busy, right=True),
        Column("DONE", lambda worker: worker.text("done") or ("0" if worker.live else "-"), right=True),
        Column("LAST SEEN", lambda worker: worker.seen(), right=True, spare=True),
        Column("MEMORY", _memory, right=True, spare=True),
        Column("TYPES", lambda worker: ", ".join(worker.record.types) or "-", cuts=True),
    ]
    with target.queue() as queue:
        fleet = fleet_of(queue.store)
    show(fleet.workers, output, columns, worker_data)
    if not fleet.workers and output == "table":
        click.echo("No workers. `seatline worker MODULE:HANDLERS` starts one.", err=True)


def _busy(worker: Seen) -> str:
    return f"{len(worker.jobs)}/{worker.text('slots') or '?'}" if worker.live else "-"


def _memory(worker: Seen) -> str:
    from seatline.console.output import size  # noqa: PLC0415 - `seatline --help` stays fast

    memory = worker.number("memory")
    return size(memory) if memory else "-"
