"""``seatline enqueue``: put one job on the queue, and follow it if asked to."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
import time
from typing import TYPE_CHECKING

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import duration, moment, moment_or_duration, params_of, uses_of

if TYPE_CHECKING:
    from seatline.producer import JobHandle, JobRecord, Queue

__all__ = ["enqueue"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  seatline enqueue drawing.publish file=a.dwg copies:=2 --uses vault=1
  seatline enqueue report --params '{"since": "monday"}' --delay 5m --title 'Weekly report'
  seatline enqueue news.mail --at 2030-01-31T08:00 --expires 2030-01-31T12:00
  seatline enqueue report --params - --wait --timeout 30s < report.json
""",
)
@click.argument("type_", metavar="TYPE")
@click.argument("words", metavar="[NAME=VALUE | NAME:=JSON]...", nargs=-1)
@click.option("--params", metavar="JSON", help="Params as a JSON object, or - to read it from stdin.")
@click.option("--priority", type=int, help="1 is the most urgent.  [default: 10]")
@click.option(
    "--uses",
    multiple=True,
    metavar="POOL=N",
    help="Seats it needs; cad: cad=1; none: none.  [default: its type's]",
)
@click.option("--at", type=moment, metavar="MOMENT", help="When it becomes due, such as 2030-01-31T18:00 (local time).")
@click.option("--delay", type=duration, metavar="DURATION", help="Become due after so long, such as 5m.")
@click.option(
    "--expires",
    type=moment_or_duration,
    metavar="DURATION|MOMENT",
    help="Not to be started after so long from now, such as 30m, or after a moment; then it ends as expired.",
)
@click.option("--token", metavar="NAME", help="Your own name for this submission: repeated, it is the same job.")
@click.option("--unique", metavar="KEY", help="While a job with this key waits or runs, that is the job.")
@click.option("--refuse", is_flag=True, help="With --unique: refuse this one instead, exit code 1.")
@click.option(
    "--supersede", metavar="KEY", help="Take the place of a waiting job with this key, which ends as skipped."
)
@click.option("--title", metavar="TEXT", help="A line for people.")
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="A name to filter by; may be given again.")
@click.option("--result-ttl", type=duration, metavar="DURATION", help="How long its result is kept.  [default: 1d]")
@click.option("--strict", is_flag=True, help="Refuse it if a pool could never give its seats.")
@click.option("--wait", is_flag=True, help="Wait for its end and print its result as JSON.")
@click.option(
    "--timeout",
    type=duration,
    metavar="DURATION",
    help="With --wait: for at most so long, then exit code 124; the job goes on.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def enqueue(
    target: Target,
    type_: str,
    words: tuple[str, ...],
    *,
    params: str | None,
    priority: int | None,
    uses: tuple[str, ...],
    at: dt.datetime | None,
    delay: float | None,
    expires: dt.datetime | float | None,
    token: str | None,
    unique: str | None,
    refuse: bool,
    supersede: str | None,
    title: str | None,
    tags: tuple[str, ...],
    result_ttl: float | None,
    strict: bool,
    wait: bool,
    timeout: float | None,
    output: str,
) -> None:
    """Put a job on the queue.

    Prints its id. A VALUE that reads as a number, true, false or null in JSON is that, anything else is text;
    NAME:=JSON takes any JSON.

    With --wait, prints its result instead. Exit code 0: it succeeded or was skipped. 1: it failed, was cancelled or
    interrupted, or expired. 124: not in time.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is of use with --wait only", click.get_current_context())
    if refuse and unique is None:
        raise click.UsageError("--refuse is of use with --unique only", click.get_current_context())
    values = params_of(sys.stdin.read() if params == "-" else params, words)
    from seatline.shared.job import DEFAULT_PRIORITY  # noqa: PLC0415 - `seatline --help` stays fast

    with target.queue(strict=strict) as queue:
        handle = queue.enqueue(
            type_,
            values,
            priority=DEFAULT_PRIORITY if priority is None else priority,
            uses=uses_of(uses),
            at=at,
            delay=delay,
            expires=expires,
            token=token,
            unique=unique,
            on_duplicate="refuse" if refuse else "return",
            supersede=supersede,
            title=title,
            tags=tags,
            result_ttl=result_ttl,
        )
        if handle.existed:
            name = f"token {token}" if token else f"key {unique}"
            click.echo(f"seatline: {name} stands for job {int(handle.id)} already; nothing new was stored.", err=True)
        else:
            _warn(queue, handle)
        if wait:
            _follow(handle, timeout, output)
        elif output == "json":
            click.echo(json.dumps({"id": handle.id, "existed": handle.existed}))
        else:
            click.echo(str(int(handle.id)))


def _warn(queue: Queue, handle: JobHandle) -> None:
    """Say at once that no worker would take the job (Q15); what seats it lacks, the queue itself has said (S5)."""
    from seatline.producer.why import Scene  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.errors import SeatlineError  # noqa: PLC0415 - as above
    from seatline.shared.job import WAITING  # noqa: PLC0415 - as above

    with contextlib.suppress(SeatlineError):  # it is stored; a login that may not read gets no warning
        record = handle.record()
        if record.state in WAITING and not Scene.of(queue.store, [record.type]).served(record.type):
            said = f"no live worker supports {record.type} yet; it waits for one."
            click.echo(f"seatline: job {int(record.id)}: {said}", err=True)


def _follow(handle: JobHandle, timeout: float | None, output: str) -> None:
    from seatline.console.output import plain_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.waiting import show_result, spinner, wait_for  # noqa: PLC0415 - as above

    with spinner(f"waiting for job {int(handle.id)}"):
        record: JobRecord = wait_for(handle, None if timeout is None else time.monotonic() + timeout)
    if output == "json":
        result = plain_data(record.result)
        click.echo(json.dumps({"id": record.id, "state": record.state, "result": result, "error": record.error}))
    good = (output == "json" and record.state == "succeeded") or show_result(record)
    click.get_current_context().exit(0 if good else 1)
