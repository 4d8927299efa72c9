"""``seatline jobs why --type``: what keeps the jobs of a type, by what they use (W1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from seatline.console.target import Target

if TYPE_CHECKING:
    from seatline.producer.why_type import LineWhy

__all__ = ["show_type"]


def show_type(target: Target, name: str, output: str) -> None:
    """Print the next job of each line of a type with all that keeps it; ``output``: table or json."""
    from seatline.console.records import obstacle_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.why_type import why_type  # noqa: PLC0415 - as above

    with target.queue() as queue:
        lines = queue.store.talk(why_type(queue.store.keys, name))
    if output == "json":
        data = {
            "type": name,
            "waiting": sum(line.waiting for line in lines),
            "lines": [
                {
                    "uses": line.uses,
                    "waiting": line.waiting,
                    "next": line.next and line.next.id,
                    "why": [{**obstacle_data(each), **each.facts} for each in line.obstacles],
                }
                for line in lines
            ],
        }
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    _tell(name, lines)


def _tell(name: str, lines: Sequence[LineWhy]) -> None:
    from seatline.console.obstacles import lines_of  # noqa: PLC0415 - `seatline --help` stays fast

    for line in lines:
        if line.next is None:
            click.echo(
                f"type {name}: no job of it waits" + ("; what would keep one that came now:" if line.obstacles else "")
            )
            otherwise = "One that came now would start at once."
        else:
            what = "" if line.uses is None else f", using {line.uses.replace(',', ', ')}"
            waits = "1 job waits" if line.waiting == 1 else f"{line.waiting:,} jobs wait"
            click.echo(
                f"type {name}: {waits}{what}; the next is job {int(line.next.id)} (priority {line.next.priority})"
            )
            otherwise = "Nothing keeps it: the next worker that looks takes it."
        for told in lines_of(line.obstacles) or [f"  {otherwise}"]:
            click.echo(told)
