"""``seatline jobs list``: jobs in the order in which they would be reserved, each with a word that says what keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.console.records import Line
    from seatline.producer import Queue
    from seatline.producer.why import Reasons

__all__ = ["list_jobs"]

#: Jobs of other types looked at, at most, before REASON is told for one type alone.
_LOOKED_AT = 1_000


@click.command(
    "list", cls=Command, epilog="Example: seatline jobs list --state failed --type drawing.publish -o ndjson"
)
@click.option("--state", metavar="STATE", help="ready, scheduled, running, succeeded, failed, ...; all: every state.")
@click.option("--type", "type_", metavar="TYPE", help="Only jobs of this type.")
@click.option("--tag", metavar="NAME", help="Only jobs of this tag, such as load:ID.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="At most so many; 0: all.")
@output_option
@pass_target
def list_jobs(
    target: Target, *, state: str | None, type_: str | None, tag: str | None, limit: int, output: str
) -> None:
    """List the jobs that run or wait.

    Waiting jobs stand in the order in which they would be reserved, over all types. REASON is the one word that keeps
    a job: due, retry, expired, paused, window, no-worker, no-pool, seats, behind, of a step of an order also stopped and
    full; - when nothing does. `seatline jobs why ID` tells all of it. PROGRESS is what a running job tells of itself, and
    which attempt of one that waits for a retry has failed. Ended jobs (with --state) come the newest first. --tenant lists
    the jobs of one tenant.
    """
    from seatline.console.output import show  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import JOB_COLUMNS, job_data  # noqa: PLC0415 - as above

    with target.queue() as queue:
        told = _told(queue, state, type_, tag)
        shown = show(islice(told, limit or None), output, JOB_COLUMNS, lambda line: job_data(line.job, line.reason))
        more = bool(limit) and shown == limit and next(told, None) is not None
        if not shown and output == "table":
            click.echo(
                "No job runs or waits; --state all lists ended ones too."
                if not (state or type_ or tag or queue.settings.tenant)
                else "No such jobs.",
                err=True,
            )
        if more:
            click.echo(_more(queue, shown, state, type_, tag), err=True)


def _told(queue: Queue, state: str | None, type_: str | None, tag: str | None) -> Iterator[Line]:
    from seatline.console.records import Line  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.why import Reasons, Scene  # noqa: PLC0415 - as above
    from seatline.shared.keys import STATES  # noqa: PLC0415 - as above

    scene = Scene.of(queue.store, chains=True)
    reasons = Reasons(scene)
    before = _reasons_before(queue, reasons, sum(map(sum, scene.free.values()))) if type_ or tag else {}
    tenant = queue.settings.tenant
    order = ("running", "ready", "scheduled", *STATES[3:]) if state == "all" else (state,)
    for each in order:
        for job in queue.jobs(state=each, type=type_, tag=tag):
            reason = before.get(job.id) or reasons.of(job)
            if tenant is None or job.tenant == tenant:
                yield Line(job, reason, scene.now)


def _reasons_before(queue: Queue, reasons: Reasons, slots: int) -> dict[str, str]:
    """Walk the jobs of all types until the idle slots are used up, so that REASON is right for those of one type."""
    told: dict[str, str] = {}
    taken = 0
    for job in queue.jobs(state="ready", limit=_LOOKED_AT) if slots else ():
        told[job.id] = reasons.of(job)
        taken += told[job.id] == "-"
        if taken == slots:
            break
    return told


def _more(queue: Queue, shown: int, state: str | None, type_: str | None, tag: str | None) -> str:
    """Say that there is more, and how much where that can be counted."""
    from seatline.producer.listing import ready_lines  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls import reads  # noqa: PLC0415 - as above
    from seatline.shared.calls.base import Read  # noqa: PLC0415 - as above

    if type_ or tag or queue.settings.tenant:
        return f"{shown} shown, there are more; --limit 0 lists all."
    store = queue.store
    lines = store.talk(ready_lines(store.keys))
    counts = {**store.read(reads.about(store.keys)).counts}
    counts["ready"] = store.read(Read([("ZCARD", line) for line in lines], lambda replies: sum(map(int, replies))))
    states = list(counts) if state == "all" else [state] if state else ["running", "ready", "scheduled"]
    total = sum(counts[each] for each in states)
    return f"{shown} of {max(total, shown + 1):,} shown; --limit 0 lists all."
