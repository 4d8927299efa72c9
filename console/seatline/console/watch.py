"""``seatline watch``: make a job, or an order, of every file that comes into a folder, until told to stop."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import click

from seatline.console.command import Command
from seatline.console.target import DEADLINE, Target, pass_target
from seatline.console.values import duration, params_of

if TYPE_CHECKING:
    from seatline.producer.watch import Watch

__all__ = ["watch"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  seatline watch inbox --type drawing.check --pattern '*.dxf' --then move:done --failed move:broken
  seatline watch /mnt/scans --type scan.read --recursive --param file={path} --param kind=scan --priority 50
  seatline watch inbox --type drawing.check --by-content --once
  seatline watch inbox --chain release --pattern '*.dxf' --then move:done
""",
)
@click.argument("folder", type=click.Path())
@click.option("--type", "type_", metavar="TYPE", help="Files become jobs of this type ...")
@click.option("--chain", metavar="NAME", help="... or orders of this chain; one of both is needed.")
@click.option("--pattern", "patterns", multiple=True, metavar="GLOB", help="Only names that match; may be given again.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="GLOB",
    help="Names to pass over, in place of the usual ones: .* ~$* *.tmp *.part. '' for none.",
)
@click.option("--recursive", is_flag=True, help="The folders in it too; links to folders are not followed.")
@click.option(
    "--settle",
    type=duration,
    metavar="DURATION",
    help="A file counts when it has not changed for so long.  [default: 2s]",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=TEXT",
    help="A param, with {path} {name} {stem} {size} {mtime} {sha256} in it.  [default: path, name, size, mtime]",
)
@click.option("--priority", type=int, help="1 is the most urgent.  [default: 100]")
@click.option(
    "--title", metavar="TEXT", help="A line for people, with the same fields; '' for none.  [default: {name}]"
)
@click.option("--by-content", is_flag=True, help="One for each content, whatever its name and time; reads every file.")
@click.option("--then", metavar="move:DIR|delete|keep", help="What is done after success.  [default: keep]")
@click.option("--failed", metavar="move:DIR|keep", help="What is done after failure.  [default: keep]")
@click.option("--every", type=duration, metavar="DURATION", help="How often to look.  [default: 1s; 10s beside events]")
@click.option("--memory", metavar="FILE", help="Remembers what is done.  [default: watch.db in the state folder]")
@click.option("--once", is_flag=True, help="Take one settled look and end.")
@click.option(
    "--log",
    "kind",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to log, to stderr; json: one object a line.",
)
@pass_target
def watch(
    target: Target,
    folder: str,
    type_: str | None,
    chain: str | None,
    *,
    kind: Literal["text", "json"],
    once: bool,
    ignore: tuple[str, ...],
    params: tuple[str, ...],
    title: str | None,
    every: float | None,
    **options: Any,
) -> None:
    """Make a job of every file in a folder, or an order.

    Each version of a file becomes one job of TYPE, or one order of the chain NAME, also across restarts and several watchers.
    Files that are there already are taken too, the oldest first. A folder or server that is away is waited for. SIGTERM and
    Ctrl-C end it; files whose jobs or orders are not over are found again at the next start.

    Exit code 0: told to stop, or --once is done. 1: --once had to leave a file, or found no folder; or there is no such chain.
    2: an option is wrong. 69: no server at the start.
    """
    if (type_ is None) == (chain is None):
        raise click.UsageError(
            "a file becomes a job of a type, or an order of a chain: say --type or --chain, one of both."
        )
    from seatline.console.log_lines import log_lines  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer import Queue  # noqa: PLC0415 - as above
    from seatline.producer.watch import Watch  # noqa: PLC0415 - as above

    if ignore:
        options["ignore"] = [each for each in ignore if each]
    if title is not None:
        options["title"] = title
    given = {name: value for name, value in options.items() if value is not None}
    log_lines(kind, target.verbose)
    deadline = None if os.environ.get("SEATLINE_DEADLINE") else DEADLINE
    with Queue(target.url, namespace=target.namespace, tenant=target.tenant, deadline=deadline) as queue:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of each event
        given |= {"params": params_of(None, params) if params else None, "interval": every}
        watch: Watch[Any] = (
            Watch(queue, folder, type_, **given)
            if type_ is not None
            else Watch(queue, folder, chain=chain or "", **given)
        )
        with _stopping(watch):
            if not once:
                watch.run()
                return
            watch.look()
    click.get_current_context().exit(1 if watch.away or watch.complaints else 0)


@contextmanager
def _stopping(watch: Watch) -> Generator[None]:
    """Stop it on SIGTERM and SIGINT; a second one ends it where it is, which is as safe."""

    def told(number: int, _: FrameType | None) -> None:
        watch.stop()
        for each, handler in before.items():
            signal.signal(each, handler)
        with suppress(RuntimeError):  # it has interrupted the writing of another line
            logging.getLogger("seatline.console").info("%s: ending", signal.Signals(number).name)

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
