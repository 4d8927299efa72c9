"""What ``jobs why`` and ``orders why`` print: what keeps a job or an order, and what to do about it (W1)."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from seatline.console.output import clean
from seatline.console.records import obstacle_data
from seatline.producer import Obstacle

__all__ = ["lines_of", "show_obstacles"]


def show_obstacles(
    id: str, state: str, heading: str, obstacles: Sequence[Obstacle], otherwise: str, output: str
) -> None:
    """Print the obstacles of a job or an order below a heading, or what else is the matter; ``output``: table or json."""
    if output == "json":
        why = [{**obstacle_data(obstacle), **obstacle.facts} for obstacle in obstacles]
        click.echo(json.dumps({"id": id, "state": state, "why": why}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{heading} is {state}")
    for line in lines_of(obstacles) or [f"  {clean(otherwise)}"]:
        click.echo(line)


def lines_of(obstacles: Sequence[Obstacle]) -> list[str]:
    """Return two lines for each obstacle: what it is, and what to do about it."""
    return [
        line
        for each in obstacles
        for line in (f"  {clean(f'{each.reason:<9}  {each.message}')}", f"  {'':<9}  -> {clean(each.action)}")
    ]
