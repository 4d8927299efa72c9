"""``seatline orders list --since-restart``: what became of orders and jobs at the last restart of the server (W3)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from seatline.console.target import Target

if TYPE_CHECKING:
    from seatline.producer.restart import AfterRestart, RestartReport

__all__ = ["show_restart"]

Line = tuple[str, "AfterRestart"]


def show_restart(target: Target, limit: int, output: str) -> bool:
    """Print the report: the counts, and each order and job that it names, what is the matter with it first.

    Returns whether nothing was interrupted or orphaned.
    """
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.output import Column, show  # noqa: PLC0415 - as above
    from seatline.producer.restart import restart_report  # noqa: PLC0415 - as above
    from seatline.shared.errors import ServerFull, ServerReadOnly, ServerRefused  # noqa: PLC0415 - as above

    columns: list[Column[Line]] = [
        Column("WHAT", lambda line: line[0]),
        Column("KIND", lambda line: line[1].kind),
        Column("ID", lambda line: order_shown(line[1].id)),
        Column("OF", lambda line: line[1].of),
        Column("STATE", lambda line: line[1].state),
        Column("NOTE", lambda line: line[1].note or "-", cuts=True),
        Column("TITLE", lambda line: line[1].title, cuts=True),
    ]
    with target.queue() as queue:
        # Who may only look, or looks at a replica or a full server, sees what somebody else's contact has noticed.
        with contextlib.suppress(ServerRefused, ServerReadOnly, ServerFull):
            queue.store.meet()
        report = restart_report(queue.store)
    if report is None:
        click.echo("The server was not restarted since the namespace began, or nobody has met it since.", err=True)
        show([], output, columns, _data)
        return True
    lines = _lines(report)
    shown = show(islice(lines, limit or None), output, columns, _data)
    click.echo(f"{report}.", err=True)
    if next(lines, None) is not None:
        click.echo(f"{shown} shown, there are more; --limit 0 lists all.", err=True)
    return report.well


def _lines(report: RestartReport) -> Iterator[Line]:
    for what, found in (
        ("orphaned", report.orphaned),
        ("interrupted", report.interrupted),
        ("at once", report.started),
        ("restored", report.restored),
    ):
        for each in found:
            yield what, each


def _data(line: Line) -> dict[str, Any]:
    what, each = line
    return {
        "what": what,
        "kind": each.kind,
        "id": each.id,
        "of": each.of,
        "state": each.state,
        "title": each.title or None,
        "note": each.note or None,
    }
