"""``seatline worker``: run jobs in this process until told to stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.worker import RunSummary

__all__ = ["worker"]

log = logging.getLogger("seatline.console")


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  seatline worker farm.handlers --slots 4 --types 'drawing.*'
  seatline worker farm.handlers --watchdog 2m --log json
  seatline worker farm.handlers --classic --wake-interval 10m
""",
)
@click.argument("module_handlers", metavar="MODULE[:HANDLERS]")
@click.option("--slots", type=int, default=1, show_default=True, help="Jobs that run at the same time, 1 to 256.")
@click.option("--types", multiple=True, metavar="GLOB", help="Only the types that match; may be given again.")
@click.option("--burst", is_flag=True, help="Stop when nothing is left that it could start.")
@click.option("--classic", is_flag=True, help="One slot, woken by the clock, logged out while it sleeps.")
@click.option(
    "--wake-interval",
    type=duration,
    metavar="DURATION",
    help="With --classic: how long it sleeps when nothing is left.  [default: 10m]",
)
@click.option(
    "--lease", type=duration, metavar="DURATION", help="After so long a silence its jobs count as lost.  [default: 30s]"
)
@click.option(
    "--grace", type=duration, metavar="DURATION", help="How long running jobs may go on after a stop.  [default: 30s]"
)
@click.option(
    "--kill-after",
    type=duration,
    metavar="DURATION",
    help="How long a handler in a child has to log out once it must stop; then it is killed.  [default: 3s]",
)
@click.option(
    "--watchdog",
    type=duration,
    metavar="DURATION",
    help="End with exit code 69 when no call has succeeded for so long.  [default: never]",
)
@click.option("--child-jobs", type=int, metavar="N", help="A child is replaced after so many jobs.  [default: 1000]")
@click.option(
    "--child-memory", type=int, metavar="MIB", help="A child that holds more after a job is replaced.  [default: never]"
)
@click.option(
    "--log",
    "kind",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to log, to stderr; json: one object a line. With -v one line a transition.",
)
@pass_target
def worker(
    target: Target,
    module_handlers: str,
    *,
    kind: Literal["text", "json"],
    burst: bool,
    classic: bool,
    wake_interval: float | None,
    types: tuple[str, ...],
    child_jobs: int | None,
    **options: Any,
) -> None:
    """Run jobs with the handlers of a module.

    HANDLERS is the name of a Handlers() in MODULE, `handlers` if left out; the working folder is searched too. SIGTERM
    and Ctrl-C let running jobs end, for --grace; a second one does not. What has not ended then becomes interrupted, or with
    if_lost="rerun" goes back to its place in the queue.

    Every setting has a variable as well: SEATLINE_GRACE, SEATLINE_CANCEL_AFTER and so on, in seconds.

    Exit code 0: all jobs it took have ended here. 1: some were handed back unfinished, or interrupted. 2: the handlers
    cannot be imported, an option is wrong, or a live worker declares them otherwise. 69: no server, or the watchdog.
    """
    from seatline.console.log_lines import log_lines  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.errors import SeatlineError  # noqa: PLC0415 - as above

    context = click.get_current_context()
    if wake_interval is not None and not classic:
        raise click.UsageError("--wake-interval goes with --classic: another worker is woken by the queue.", context)
    if child_jobs is not None:
        options["child_jobs"] = child_jobs
    log_lines(kind, target.verbose)
    options.update(namespace=target.namespace, types=types or None, classic=classic, wake_interval=wake_interval)
    try:
        said = _end(_run(module_handlers, target.url, options, burst=burst))
        code = 1 if said else 0
    except SeatlineError as error:
        if kind == "text":
            raise
        said, code = str(error), error.exit_code
    if kind == "json" and said:
        log.error("%s", said, extra={"seatline": {"event": "exit", "exit_code": code}})
    elif said:
        click.echo(f"seatline: {said}", err=True)
    context.exit(code)


def _run(module_handlers: str, url: str | None, options: dict[str, Any], *, burst: bool) -> RunSummary:
    """Run until the end, and say what the end of one without a server means."""
    from seatline.shared.errors import OutcomeUnknown, ServerError, ServerUnavailable  # noqa: PLC0415 - as above
    from seatline.worker import Worker  # noqa: PLC0415 - as above
    from seatline.worker.handlers import load  # noqa: PLC0415 - as above

    made = Worker(load(module_handlers), url, **options)
    try:
        return made.run(burst=burst)
    except (OutcomeUnknown, ServerError) as error:
        if made.state != "stopping":
            raise
        raise ServerUnavailable(
            f"it was told to stop while {made.store.place} was away. What it held counts as lost when its leases have "
            "run out; another worker then runs or interrupts it, as its type says."
        ) from error


def _end(summary: RunSummary) -> str:
    """Say what did not end here; nothing if all did."""
    back, interrupted = summary.handed_back, summary.interrupted
    if not (back or interrupted):
        return ""
    count = back + interrupted
    said = f"{count} job{'s' if count > 1 else ''} did not end here: {back} handed back, {interrupted} interrupted."
    if back:
        said += " What was handed back stands at its old place in the queue."
    if interrupted:
        said += " `seatline jobs list --state interrupted` shows those; `seatline jobs resubmit ID` runs one again."
    return said
