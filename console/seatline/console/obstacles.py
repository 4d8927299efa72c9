"""What ``jobs why`` and ``orders why`` print: what keeps a job or an order, and what to do about it (W1)."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from seatline.console.output import clean
from seatline.console.records import obstacle_data
from seatline.producer import JobRecord, Obstacle, OrderRecord

__all__ = ["show_obstacles"]


def show_obstacles(
    record: JobRecord | OrderRecord, heading: str, obstacles: Sequence[Obstacle], otherwise: str, output: str
) -> None:
    """Print the obstacles of a record below a heading, or what else is the matter with it; ``output``: table or json."""
    if output == "json":
        why = [obstacle_data(obstacle) for obstacle in obstacles]
        click.echo(json.dumps({"id": record.id, "state": record.state, "why": why}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{heading} is {record.state}")
    if not obstacles:
        click.echo(f"  {clean(otherwise)}")
    for obstacle in obstacles:
        click.echo(f"  {clean(f'{obstacle.reason:<9}  {obstacle.message}')}")
        click.echo(f"  {'':<9}  -> {clean(obstacle.action)}")
