"""``seatline audit``: who did what to a namespace."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.producer import Act

__all__ = ["audit"]


@click.command(cls=Command, epilog="Example: seatline audit --since 7d --on 'pool vault'")
@click.option("--since", metavar="TIME", help="Only what was done since then: 24h, 7d.")
@click.option("--by", metavar="TEXT", help="Only what was done by a name with this text in it.")
@click.option("--on", metavar="TEXT", help="Only what was done to something with this text: 'pool vault', orders.")
@click.option("-l", "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@output_option
@pass_target
def audit(target: Target, *, since: str | None, by: str | None, on: str | None, limit: int, output: str) -> None:
    """Say who paused, set, stopped, cancelled, removed what, the newest first.

    The same act again within a minute counts as one line, with how often. `--comment TEXT`, behind any command,
    says why something is done. About 10,000 acts are kept; BY is what the program says of itself, not a proof.
    """
    from seatline.console.output import Column, local, show  # noqa: PLC0415 - `seatline --help` stays fast

    columns: list[Column[Act]] = [
        Column("TIME", lambda act: local(act.at)),
        Column("BY", lambda act: act.by),
        Column("ACT", lambda act: act.act),
        Column("ON", _on),
        Column("MORE", lambda act: act.more or "-", cuts=True),
        Column("COMMENT", lambda act: act.comment or "-", cuts=True),
    ]
    with target.queue() as queue:
        found: list[Act] = []
        for act in queue.acts(since=None if since is None else time.time() - duration(since)):
            if (by or "") in act.by and (on or "") in act.on:
                found.append(act)
            if len(found) >= limit:
                break
    if not show(found, output, columns, _data) and output == "table":
        click.echo("No such acts.", err=True)


def _on(act: Act) -> str:
    if act.on == "jobs":
        return f"{act.times:,} jobs"
    return act.on + (f", {act.times:,} times" if act.times > 1 else "")


def _data(act: Act) -> dict[str, Any]:
    return {
        "time": act.at,
        "by": act.by,
        "comment": act.comment,
        "act": act.act,
        "on": act.on,
        "more": act.more,
        "times": act.times,
    }
