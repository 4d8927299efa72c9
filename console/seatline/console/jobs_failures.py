"""``seatline jobs failures``: what has failed, by kind."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.console.output import Column
    from seatline.producer import Failure

__all__ = ["failures"]


@click.command(cls=Command, epilog="Example: seatline jobs failures --since 24h --type drawing.publish")
@click.option("--type", "type_", metavar="TYPE", help="Only jobs of this type.")
@click.option("--tag", metavar="NAME", help="Only jobs of this tag, such as load:ID.")
@click.option("--error", metavar="TEXT", help="Only those whose error has this text in its kind or message.")
@click.option("--since", metavar="TIME", help="Only those that have ended since then: 24h, 7d.")
@click.option("--state", "states", multiple=True, metavar="STATE", help="Of this end.  [default: failed]")
@output_option
@pass_target
def failures(
    target: Target,
    *,
    type_: str | None,
    tag: str | None,
    error: str | None,
    since: str | None,
    states: tuple[str, ...],
    output: str,
) -> None:
    """Say what has failed, by kind, the most frequent first.

    A kind is a type and a message; <n>, <id>, <path> and <url> stand for what differs from job to job. EXAMPLE is the last
    one, for `seatline jobs show ID`. `seatline jobs resubmit --error TEXT` takes a message as it stands here.
    """
    from seatline.console.output import show  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.reads import server_time  # noqa: PLC0415 - as above

    newer = None if since is None else duration(since)
    with target.queue() as queue:
        found = queue.failures(
            state=states or "failed",
            type=type_,
            tenant=queue.settings.tenant,
            tag=tag,
            error=error,
            newer_than=newer,
        )
        now = dt.datetime.fromtimestamp(queue.store.read(server_time()) / 1000, dt.UTC)
    if not show(found, output, _columns(now), _data) and output == "table":
        click.echo("No such jobs.", err=True)


def _columns(now: dt.datetime) -> list[Column[Failure]]:
    from seatline.console.output import Column, span  # noqa: PLC0415 - `seatline --help` stays fast

    def ago(moment: dt.datetime) -> str:
        return f"{span((now - moment).total_seconds())} ago"

    return [
        Column("COUNT", lambda each: f"{each.count:,}", right=True),
        Column("TYPE", lambda each: each.type),
        Column("MESSAGE", lambda each: each.message or "-", cuts=True),
        Column("EXAMPLE", lambda each: str(int(each.example)), right=True),
        Column("LAST", lambda each: ago(each.last), right=True),
        Column("FIRST", lambda each: ago(each.first), right=True),
    ]


def _data(failure: Failure) -> dict[str, object]:
    return {
        "count": failure.count,
        "type": failure.type,
        "message": failure.message,
        "first": failure.first,
        "last": failure.last,
        "example": failure.example,
    }
