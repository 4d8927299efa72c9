"""``seatline jobs history``: all that happened to one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import Transition

__all__ = ["history"]


@click.command(cls=Command, epilog="Example: seatline jobs history 42 -o json")
@click.argument("job", metavar="ID")
@output_option
@pass_target
def history(target: Target, job: str, output: str) -> None:
    """Tell all that happened to a job, in the order of time.

    Its acceptance, each of its runs with the worker, what people did and why, its end. Of the runs that failed and after
    which it ran again the newest 20 are kept, of the rest the newest 100 lines.
    """
    from seatline.console.output import Column, local, show  # noqa: PLC0415 - `seatline --help` stays fast

    columns: list[Column[Transition]] = [
        Column("TIME", lambda each: local(each.at)),
        Column("WHAT", lambda each: each.what, cuts=True),
        Column("WORKER", lambda each: each.worker or "-", spare=True),
    ]
    with target.queue() as queue:
        show(queue.handle(queue.job(job).id).timeline(), output, columns, _data)


def _data(each: Transition) -> dict[str, Any]:
    return {"time": each.at, "what": each.what, "attempt": each.attempt, "worker": each.worker, "by": each.by}
