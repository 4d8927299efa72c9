"""``seatline jobs log``: what a job's handler has logged (``ctx.log``), and with ``--follow`` what it logs on (C17).

The server keeps the newest 1,000 lines of a job, over all its attempts. A line's number is how many came before it, those
that were cut included; so lines that are cut while we follow are neither shown twice nor taken for others.
"""

from __future__ import annotations

import copy
import datetime as dt
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import Queue

__all__ = ["log_job", "logs_job"]

#: Seconds between two looks; the worker sends twice a second.
_LOOK: Final = 0.5
_INTERRUPTED: Final = 130

Line = tuple[dt.datetime, str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A job's log: its lines, the number of the first of them, and the state the job was in just before."""

    state: str
    first: int
    lines: Sequence[Line]

    def since(self, number: int) -> Sequence[Line]:
        """Return the lines from this number on."""
        return self.lines[max(0, number - self.first) :]

    @property
    def end(self) -> int:
        """The number of the line that comes next."""
        return self.first + len(self.lines)


@click.command(
    "log",
    cls=Command,
    epilog="""\b
Examples:
  seatline jobs log 42 -n 20
  seatline jobs log 42 --follow
""",
)
@click.argument("job", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    metavar="N",
    help="Only the last N lines; behind this command the namespace is --namespace.  [default: all]",
)
@output_option
@pass_target
def log_job(target: Target, job: str, *, follow: bool, lines: int | None, output: str) -> None:
    """Print what a job has logged, with local times.

    The newest 1,000 lines of a job are kept, over all its attempts. --follow waits for a job that has not started, and
    goes on through its retries. Ctrl-C ends it; the job goes on.
    """
    if follow and output == "json":
        raise click.UsageError(
            "--follow prints as it comes, json all at once; take -o ndjson.", click.get_current_context()
        )
    with target.queue() as queue:
        known = queue.handle(job).id
        seen = _look(queue, known)
        start = 0 if lines is None else seen.end - lines
        shown = seen.since(start)
        if seen.first and start < seen.first and output == "table":
            click.echo(f"seatline: {seen.first:,} older lines are no longer kept.", err=True)
        _show(shown, output)
        if follow:
            try:
                _follow(queue, known, seen, output)
            except KeyboardInterrupt:
                click.echo(err=True)
                click.get_current_context().exit(_INTERRUPTED)
        elif not shown and output == "table":
            click.echo(f"seatline: {_nothing(known, seen)}", err=True)


logs_job = copy.copy(log_job)
logs_job.name, logs_job.hidden = "logs", True


def _follow(queue: Queue, job: str, seen: _Seen, output: str) -> None:
    from seatline.console.waiting import ending  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.keys import STATES  # noqa: PLC0415 - as above

    if seen.state in {"ready", "scheduled"}:
        click.echo(f"seatline: job {int(job)} is {seen.state}; its lines come once it runs.", err=True)
    while seen.state not in STATES[3:]:
        time.sleep(_LOOK)
        before, seen = seen, _look(queue, job)
        missed = seen.first - before.end
        if missed > 0 and output == "table":
            click.echo(f"seatline: {missed:,} lines came and went meanwhile.", err=True)
        _show(seen.since(before.end), output)
    click.echo(f"seatline: {ending(queue.job(job))}", err=True)


def _look(queue: Queue, job: str) -> _Seen:
    """Read state and log; the state first, so that the log of an ended job is whole.

    Raises:
        NoSuchJob: it does not exist, or no longer.

    """
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.base import Read, text  # noqa: PLC0415 - as above
    from seatline.shared.job import no_such_job  # noqa: PLC0415 - as above

    keys = queue.store.keys
    log = reads.log_lines(keys, job)
    before: tuple[str, ...] = ("HMGET", keys.job(job), "state", "log_cut")

    def parse(replies: Sequence[Any]) -> tuple[Any, int, reads.JobLog]:
        return replies[0][0], int(replies[0][1] or 0), log.parse(replies[1:])

    while True:
        state, cut, kept = queue.store.read(Read([before, *log.commands], parse))
        if state is None:
            raise no_such_job(job)
        if cut == kept.cut:  # else lines were cut between the two: which ones are these?
            return _Seen(text(state), cut, kept.lines)


def _show(lines: Sequence[Line], output: str) -> None:
    from seatline.console.output import clean, print_json  # noqa: PLC0415 - `seatline --help` stays fast

    if output != "table":
        print_json(({"time": when, "line": line} for when, line in lines), output)
    for when, line in lines if output == "table" else ():
        mine = when.astimezone()
        stamp = click.style(f"{mine:%Y-%m-%d %H:%M:%S}.{mine.microsecond // 1000:03}", dim=True)
        click.echo(f"{stamp}  {clean(line)}")
    sys.stdout.flush()


def _nothing(job: str, seen: _Seen) -> str:
    if seen.lines:
        return f"job {int(job)} has {len(seen.lines):,} lines; -n 0 shows none of them."
    if seen.state in {"ready", "scheduled"}:
        return f"job {int(job)} is {seen.state}; it has logged nothing yet. --follow waits."
    return f"job {int(job)} ({seen.state}) has logged nothing."
