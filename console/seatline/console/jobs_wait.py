"""``seatline jobs wait``: wait for jobs, on the server and not by polling."""

from __future__ import annotations

import time

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

__all__ = ["wait_jobs"]


@click.command("wait", cls=Command, epilog="Example: seatline jobs wait 42 43 --timeout 5m && echo done")
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--tag", metavar="NAME", help="All jobs of this tag, such as load:ID, instead of ids; shows a bar.")
@click.option("--result", is_flag=True, help="Print what each returned, as JSON, as `enqueue --wait` does.")
@click.option("--timeout", type=duration, metavar="DURATION", help="For all of them together; then exit code 124.")
@pass_target
def wait_jobs(target: Target, ids: tuple[str, ...], *, tag: str | None, result: bool, timeout: float | None) -> None:
    """Wait for the end of jobs, one line each; with --tag one line for all.

    With --result also of a job that has ended: its result, as JSON, and nothing else on stdout.

    Exit code 0: all succeeded or were skipped. 1: one failed, was cancelled, interrupted or removed, or expired. 124: not
    in time; the jobs go on.
    """
    from seatline.console.waiting import GOOD_ENDS, ending, show_result, spinner, wait_for  # noqa: PLC0415 - `--help` stays fast
    from seatline.shared.errors import JobLost  # noqa: PLC0415 - as above
    from seatline.shared.job import job_id  # noqa: PLC0415 - as above

    context = click.get_current_context()
    if bool(ids) == (tag is not None):
        raise click.UsageError("give job ids, or --tag, one of the two.", context)
    if result and tag is not None:
        raise click.UsageError("--result goes with job ids, not with --tag", context)
    if tag is not None:
        from seatline.console.jobs_tagged import wait_for_tag  # noqa: PLC0415 - as above

        with target.queue() as queue:
            context.exit(0 if wait_for_tag(queue, tag, timeout) else 1)
    end = None if timeout is None else time.monotonic() + timeout
    good = True
    known = [job_id(text) for text in ids]
    with target.queue() as queue:
        for each in known:
            try:
                with spinner(f"waiting for job {int(each)}"):
                    record = wait_for(queue.handle(each), end)
            except JobLost as error:
                good = False
                click.echo(f"seatline: {error}", err=True)
                continue
            if result:
                good = show_result(record) and good
                continue
            good = good and record.state in GOOD_ENDS
            click.echo(ending(record))
    if not good:
        context.exit(1)
