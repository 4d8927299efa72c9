"""``seatline worker``: run jobs in this process until told to stop."""

from __future__ import annotations

import logging
import sys

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

__all__ = ["worker"]


@click.command(
    cls=Command,
    epilog="Example: seatline worker farm.handlers --slots 4 --types 'drawing.*'",
)
@click.argument("module_handlers", metavar="MODULE[:HANDLERS]")
@click.option("--slots", type=int, default=1, show_default=True, help="Jobs that run at the same time, 1 to 256.")
@click.option("--types", multiple=True, metavar="GLOB", help="Only the types that match; may be given again.")
@click.option("--burst", is_flag=True, help="Stop when nothing is left that it could start.")
@click.option(
    "--lease", type=duration, metavar="DURATION", help="After so long a silence its jobs count as lost.  [default: 30s]"
)
@click.option(
    "--grace", type=duration, metavar="DURATION", help="How long running jobs may go on after a stop.  [default: 30s]"
)
@pass_target
def worker(
    target: Target,
    module_handlers: str,
    *,
    slots: int,
    types: tuple[str, ...],
    burst: bool,
    lease: float | None,
    grace: float | None,
) -> None:
    """Run jobs with the handlers of a module.

    HANDLERS is the name of a Handlers() in MODULE, `handlers` if left out; the working folder is searched too. SIGTERM
    and Ctrl-C let running jobs end; a second one hands them back at once.

    Exit code 0: all jobs it took have ended here. 1: some were handed back unfinished. 2: the handlers cannot be
    imported, or a live worker declares them otherwise. 69: no server.
    """
    from seatline.worker import Worker  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.worker.handlers import load  # noqa: PLC0415 - as above

    _log_lines(target.verbose)
    summary = Worker(
        load(module_handlers),
        target.url,
        namespace=target.namespace,
        slots=slots,
        types=types or None,
        lease=lease,
        grace=grace,
    ).run(burst=burst)
    if summary.handed_back or summary.interrupted:
        back = summary.handed_back + summary.interrupted
        click.echo(
            f"seatline: {back} job{'s' if back > 1 else ''} did not end here: {summary.handed_back} handed back, "
            f"{summary.interrupted} interrupted (`seatline jobs list --state interrupted`).",
            err=True,
        )
        click.get_current_context().exit(1)


class _OneLine(logging.Formatter):
    """Time, level, message on one line, whatever the message holds; a traceback follows below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Put it on one line."""
        record.message = " | ".join(record.message.splitlines())
        return super().formatMessage(record)


def _log_lines(verbose: int) -> None:
    """Log to stderr: Seatline's and the handlers' own messages."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    if verbose:
        logging.getLogger("seatline").setLevel(logging.DEBUG)
