"""``seatline jobs why``: everything that keeps a job from running, each with what to do about it (W1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import JobRecord

__all__ = ["why_job"]


@click.command("why", cls=Command, epilog="Example: seatline jobs why 42")
@click.argument("job", metavar="[ID]", required=False)
@click.option("--type", "type_", metavar="TYPE", help="Instead of one job: the next of each line of a type.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def why_job(target: Target, job: str | None, *, type_: str | None, output: str) -> None:
    """Explain why a job waits, or a whole type.

    Lists every obstacle: due, retry, expired, paused, window, no-worker, asleep (classic workers), no-pool, seats (with their
    holders), behind (jobs ahead of it); of a step of an order also stopped, full, orphaned. When the last one goes, the job
    starts.
    """
    if type_ is not None and job is None:
        from seatline.console.types_why import show_type  # noqa: PLC0415 - `seatline --help` stays fast

        show_type(target, type_, output)
        return
    if job is None or type_ is not None:
        raise click.UsageError("give the ID of a job, or --type TYPE", click.get_current_context())
    from seatline.console.obstacles import show_obstacles  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.handle import job_and_why  # noqa: PLC0415 - as above
    from seatline.shared.job import job_id  # noqa: PLC0415 - as above

    with target.queue() as queue:
        record, obstacles = queue.store.talk(job_and_why(queue.store.keys, job_id(job)))
    heading = f"job {int(record.id)} ({record.type}, priority {record.priority})"
    show_obstacles(record.id, record.state, heading, obstacles, _without(record), output)


def _without(job: JobRecord) -> str:
    """Say what is the matter with a job that nothing keeps."""
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import progress_shown  # noqa: PLC0415 - as above

    ended, error = local(job.finished), (job.error or "").partition("\n")[0]
    match job.state:
        case "ready":
            return "Nothing keeps it: the next worker that looks takes it."
        case "running":
            far = progress_shown(job.progress, overdue=job.overdue, full=True)
            return f"It runs since {local(job.started)} on worker {job.worker}{'' if far == '-' else f': {far}'}."
        case "interrupted":
            return f"It was interrupted at {ended}: {error}. `seatline jobs resubmit {int(job.id)}` runs it again."
        case "failed":
            return f"It failed at {ended}: {error}"
        case "skipped":
            return f"It was skipped at {ended}: {job.reason or 'there was nothing to do'}"
        case "expired":
            return f"It expired at {ended}: it was not to start after {local(job.expires)}."
        case _:
            return f"It ended at {ended}."
