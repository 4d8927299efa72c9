"""``seatline jobs keep``: how long and how many ended jobs are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.shared.calls.keeping import Rule

__all__ = ["keep_jobs"]


@click.command("keep", cls=Command, epilog="Example: seatline jobs keep --state succeeded --for 7d --most 100000")
@click.option("--state", "states", multiple=True, metavar="STATE", help="Of this end; may be given several times.")
@click.option("--type", "type_", metavar="TYPE", help="Only jobs of this type; the others as their state says.")
@click.option("--for", "age", metavar="TIME", help="Trim those that ended longer ago: 36h, 7d.  [default: 7d]")
@click.option("--most", type=int, help="Keep so many, the newest.  [default: 100000]")
@click.option("--lift", is_flag=True, help="Have no such rule any more.")
@output_option
@pass_target
def keep_jobs(
    target: Target,
    *,
    states: tuple[str, ...],
    type_: str | None,
    age: str | None,
    most: int | None,
    lift: bool,
    output: str,
) -> None:
    """Show or set how long and how many ended jobs are kept.

    Workers trim what is older, or more, from their next turns on: with its result, log and history. Where nobody has set
    anything they keep 7 days and 100,000 of each end, and interrupted jobs until you remove them.
    """
    if states and lift == (age is not None or most is not None):
        raise click.UsageError("give --for, --most or both; or --lift alone")
    if not states and (type_ or age or most is not None or lift):
        raise click.UsageError("--state says of which ended jobs, such as --state succeeded")
    seconds = None if age is None else duration(age)
    with target.queue() as queue:
        for state in states:
            if lift:
                stood = queue.retention.lift(state, type_)
                click.echo(f"{_whose(state, type_)}: " + ("no rule any more" if stood else "there was no rule"))
            else:
                queue.retention.set(state, age=seconds, count=most, type=type_)
        if not lift:
            _show(
                [rule for rule in queue.retention if not states or (rule.state, rule.type) in _named(states, type_)],
                output,
            )


def _named(states: tuple[str, ...], type_: str | None) -> set[tuple[str, str | None]]:
    return {(state, type_) for state in states}


def _whose(state: str, type_: str | None) -> str:
    return f"{state} jobs" + (f" of type {type_}" if type_ else "")


def _show(rules: list[Rule], output: str) -> None:
    from seatline.console.output import Column, show, span  # noqa: PLC0415 - `seatline --help` stays fast

    columns: list[Column[Rule]] = [
        Column("STATE", lambda rule: rule.state),
        Column("TYPE", lambda rule: rule.type or "-"),
        Column("FOR", lambda rule: span(rule.age), right=True),
        Column("MOST", lambda rule: f"{rule.count:,}", right=True),
    ]

    def data(rule: Rule) -> dict[str, object]:
        return {"state": rule.state, "type": rule.type, "for": rule.age, "most": rule.count}

    if not show(rules, output, columns, data) and output == "table":
        click.echo("No rules: workers keep 7 days and 100,000 of each end, and interrupted jobs.", err=True)
