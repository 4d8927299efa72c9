"""``seatline jobs list``: jobs in the order in which they would be reserved, each with a word that says what keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.console.output import Column
    from seatline.console.records import Line
    from seatline.producer import JobRecord, Queue
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
@click.option(
    "--since", type=duration, metavar="TIME", help="Jobs that have ended since then, the newest first: 24h, 7d."
)
@click.option("--count", is_flag=True, help="Only say how many there are.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="At most so many; 0: all.")
@output_option
@pass_target
def list_jobs(
    target: Target,
    *,
    state: str | None,
    type_: str | None,
    tag: str | None,
    since: float | None,
    count: bool,
    limit: int,
    output: str,
) -> None:
    """List the jobs that run or wait.

    Waiting jobs stand in the order in which they would be reserved, over all types. REASON is the one word that keeps
    a job: due, retry, expired, paused, window, no-worker, no-pool, seats, behind, of a step of an order also stopped and
    full; - when nothing does. `seatline jobs why ID` tells all of it. PROGRESS is what a running job tells of itself, and
    which attempt of one that waits for a retry has failed. Ended jobs (with --state or --since) come the newest first, with
    the first line of their ERROR. --tenant lists the jobs of one tenant.
    """
    from seatline.console.output import show  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import job_data  # noqa: PLC0415 - as above
    from seatline.shared.calls.reads import server_time  # noqa: PLC0415 - as above

    states = _states(state, ended=since is not None)
    with target.queue() as queue:
        moment = 0 if since is None else queue.store.read(server_time()) - int(since * 1000)
        if count:
            click.echo(_count(queue, states, type_, tag, moment))
            return
        told = _told(queue, states, type_, tag, moment)
        columns = _columns(states)
        shown = show(islice(told, limit or None), output, columns, lambda line: job_data(line.job, line.reason))
        more = bool(limit) and shown == limit and next(told, None) is not None
        if not shown and output == "table":
            click.echo(
                "No job runs or waits; --state all lists ended ones too."
                if not (state or type_ or tag or moment or queue.settings.tenant)
                else "No such jobs.",
                err=True,
            )
        if more:
            click.echo(_more(queue, shown, states, counted=not (type_ or tag or moment)), err=True)


def _states(state: str | None, *, ended: bool) -> tuple[str, ...]:
    """Return the states to list, in order; ``ended``: none of those in which a job has not."""
    from seatline.shared.keys import STATES  # noqa: PLC0415 - `seatline --help` stays fast

    live = ("running", "ready", "scheduled")
    if ended and state in live:
        raise click.UsageError(
            f"--since is of use with jobs that have ended, and {state} ones have not", click.get_current_context()
        )
    if state is not None and state != "all":
        if state not in STATES:
            raise click.UsageError(
                f"--state: {state!r} is none of {', '.join(STATES)}, all", click.get_current_context()
            )
        return (state,)
    return STATES[3:] if ended else live if state is None else (*live, *STATES[3:])


def _columns(states: Sequence[str]) -> list[Column[Line]]:
    from seatline.console.records import ENDED_COLUMN, ERROR_COLUMN, JOB_COLUMNS  # noqa: PLC0415 - as above
    from seatline.shared.keys import STATES  # noqa: PLC0415 - as above

    columns = list(JOB_COLUMNS)
    if set(states) & set(STATES[3:]):
        columns.insert([column.heading for column in columns].index("AGE") + 1, ENDED_COLUMN)
    if set(states) & {"failed", "interrupted"}:
        columns.insert(-1, ERROR_COLUMN)
    return columns


def _jobs(
    queue: Queue, states: Sequence[str], type_: str | None, tag: str | None, since: int, tenant: str | None = None
) -> Iterator[JobRecord]:
    """Walk over jobs state by state; those since a moment (epoch ms) of all states together, the newest end first."""
    from seatline.producer.listing import jobs_in  # noqa: PLC0415 - `seatline --help` stays fast

    store = queue.store
    walks = [
        store.walk(jobs_in(store.keys, state=each, type_=type_, tenant=tenant, tag=tag, since=since)) for each in states
    ]
    return merge(*walks, key=_end, reverse=True) if since else chain.from_iterable(walks)


def _end(job: JobRecord) -> float:
    return job.finished.timestamp() if job.finished else 0.0


def _count(queue: Queue, states: Sequence[str], type_: str | None, tag: str | None, since: int) -> int:
    """Count without reading a job where that can be had."""
    from seatline.shared.calls.base import Read  # noqa: PLC0415 - `seatline --help` stays fast

    tenant = queue.settings.tenant
    if type_ or tag or tenant:
        return sum(1 for _ in _jobs(queue, states, type_, tag, since, tenant))
    if not since:
        return _total(queue, states)
    keys = [queue.store.keys(f"finished:{each}") for each in states]
    return queue.store.read(
        Read([("ZCOUNT", key, since, "+inf") for key in keys], lambda counts: sum(map(int, counts)))
    )


def _told(queue: Queue, states: Sequence[str], type_: str | None, tag: str | None, since: int) -> Iterator[Line]:
    from seatline.console.records import Line  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.why import Reasons, Scene  # noqa: PLC0415 - as above

    scene = Scene.of(queue.store, chains=True)
    reasons = Reasons(scene)
    before = _reasons_before(queue, reasons, sum(map(sum, scene.free.values()))) if type_ or tag else {}
    tenant = queue.settings.tenant
    for job in _jobs(queue, states, type_, tag, since):
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


def _more(queue: Queue, shown: int, states: Sequence[str], *, counted: bool) -> str:
    """Say that there is more, and how much where that can be counted."""
    if not counted or queue.settings.tenant:
        return f"{shown} shown, there are more; --limit 0 lists all."
    return f"{shown} of {max(_total(queue, states), shown + 1):,} shown; --limit 0 lists all."


def _total(queue: Queue, states: Sequence[str]) -> int:
    """Return how many jobs are in these states."""
    from seatline.producer.listing import ready_lines  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls import reads  # noqa: PLC0415 - as above
    from seatline.shared.calls.base import Read  # noqa: PLC0415 - as above

    store = queue.store
    lines = store.talk(ready_lines(store.keys))
    counts = {**store.read(reads.about(store.keys)).counts}
    counts["ready"] = store.read(Read([("ZCARD", line) for line in lines], lambda replies: sum(map(int, replies))))
    return sum(counts[each] for each in states)
