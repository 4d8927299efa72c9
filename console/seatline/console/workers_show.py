"""``seatline workers show``: one worker: what it is, how it does, what it runs now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.console.fleet import RunningJob, Seen

__all__ = ["show_worker"]


@click.command("show", cls=Command, epilog="Example: seatline workers show build-7.4242")
@click.argument("worker", metavar="ID")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def show_worker(target: Target, worker: str, *, output: str) -> None:
    """Tell all about one worker.

    Whatever it says of itself is as old as its last renewal (LAST SEEN); the jobs it runs are as they are now.
    """
    from seatline.console.fleet import fleet_of, worker_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.output import plain_data  # noqa: PLC0415 - as above

    with target.queue() as queue:
        seen = fleet_of(queue.store).named(worker)
    if output == "json":
        data = {**worker_data(seen), "jobs": [_job_data(job) for job in seen.jobs]}
        click.echo(json.dumps(plain_data(data), indent=2, ensure_ascii=False))
        return
    _print(seen)


def _print(seen: Seen) -> None:
    from seatline.console.output import Column, clean, show, span  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import progress_shown  # noqa: PLC0415 - as above

    click.echo(click.style(f"Worker {clean(seen.id)}  {seen.state_shown()}", bold=True))
    for line in _facts(seen):
        click.echo(clean(line))
    if not seen.jobs:
        return
    columns: list[Column[RunningJob]] = [
        Column("  ID", lambda job: str(int(job.id)), right=True),
        Column("TYPE", lambda job: job.type),
        Column("ATTEMPT", lambda job: str(job.attempt), right=True),
        Column("SINCE", lambda job: "-" if not job.started else _ago(span((seen.now - job.started).total_seconds()))),
        Column("PROGRESS", lambda job: progress_shown(job.progress, overdue=job.overdue, full=True), cuts=True),
    ]
    click.echo(click.style("\nRuns now", bold=True))
    show(seen.jobs, "table", columns, _job_data)


def _ago(words: str) -> str:
    return f"{words} ago"


def _facts(seen: Seen) -> Iterator[str]:
    from seatline.console.output import local, size, span  # noqa: PLC0415 - `seatline --help` stays fast

    started, done, failed = seen.moment("started"), seen.number("done"), seen.number("failed")
    memory, asked, overdue = seen.number("memory"), seen.text("asked"), seen.number("overdue")
    since = f"  {span((seen.now - started).total_seconds())} ago" if started else ""
    facts = {
        "host": seen.text("host"),
        "pid": seen.text("pid"),
        "version": seen.text("version") and f"{seen.text('version')}, Python {seen.text('python')}",
        "started": started and local(started) + since,
        "last seen": seen.seen(),
        "asked": asked and f"to {asked.replace('-', ' ')} by {seen.text('asked_by')}, {local(seen.moment('asked_at'))}",
        "slots": seen.live and f"{len(seen.jobs)} of {seen.text('slots')} busy",
        "overdue": overdue and f"{overdue} of its handlers went on past the timeout and cannot be stopped",
        "jobs": done is not None and f"{done:,} done, {failed or 0:,} of them failed",
        "cycles": seen.text("cycles"),
        "memory": memory and f"{size(memory)}, without its children",
        "types": ", ".join(seen.record.types),
        "last error": seen.text("last_error"),
    }
    if not seen.live:
        yield "  It went without a word: its jobs run again or wait as interrupted, as their types say."
    for name, value in facts.items():
        if value:
            yield f"  {name:<10}  {value}"


def _job_data(job: RunningJob) -> dict[str, object]:
    return {
        "id": job.id,
        "type": job.type,
        "title": job.title,
        "attempt": job.attempt,
        "started": job.started,
        "progress": job.progress,
        "overdue": job.overdue,
    }
