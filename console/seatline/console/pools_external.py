"""``seatline pools external``: seats of a pool that are used outside Seatline, as a person or a command says (S8).

The licence server itself knows best how many of its seats others hold, so a command may ask it: run once, or every now and
then. What it says is withheld until it says something else, for a while (``--for``). A command that fails changes nothing: its
last number counts until that while is over, and then none does, so that a broken command does not lock seats up for ever.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.producer import Queue

__all__ = ["external"]

#: How long a report counts unless somebody says (seconds): so long, and so many intervals at least.
LASTS: Final = 300.0
INTERVALS: Final = 3


class _CommandFailed(click.ClickException):
    """The command has not said how many seats are used; says why."""


@click.command(
    "external",
    cls=Command,
    epilog="""\b
Examples:
  seatline pools external vault 2 --for 10m
  seatline pools external vault --exec 'lmcount --feature vault --others' --every 30s --for 5m
""",
)
@click.argument("name", metavar="NAME")
@click.argument("seats", type=int, required=False)
@click.option("--exec", "command", metavar="COMMAND", help="Ask this command: it prints the number. No shell.")
@click.option("--every", type=duration, metavar="DURATION", help="Ask it again and again, until SIGTERM or Ctrl-C.")
@click.option(
    "--timeout",
    type=duration,
    metavar="DURATION",
    default=30.0,
    help="The command's time, then it is killed.  [default: 30s]",
)
@click.option(
    "--for",
    "ttl",
    type=duration,
    metavar="DURATION",
    help="Until told anew.  [default: 5m, and 3 times --every at least]",
)
@pass_target
def external(
    target: Target,
    name: str,
    seats: int | None,
    *,
    command: str | None,
    every: float | None,
    timeout: float,
    ttl: float | None,
) -> None:
    """Tell how many seats are used outside Seatline; they are withheld for a while.

    A command that fails or says no number changes nothing: what it said last counts until --for is over, then nothing is
    withheld, and both are said. What it prints after the number, and on its standard error, is not looked at while it
    succeeds. Without --every its failure is exit code 1.
    """
    context = click.get_current_context()
    if (seats is None) == (command is None):
        raise click.UsageError("give SEATS, or --exec COMMAND that prints them", context)
    if every is not None and command is None:
        raise click.UsageError("--every goes with --exec", context)
    if every is not None and every < 1:
        raise click.UsageError("--every is less than 1s", context)
    lasts = max(LASTS, INTERVALS * (every or 0)) if ttl is None else ttl
    if every is not None and lasts <= every:
        raise click.UsageError("--for is not longer than --every: each report would be over before the next", context)
    with target.queue() as queue:
        if command is None:
            _report(queue, name, seats or 0, lasts)
        elif every is None:
            _report(queue, name, _asked(_words(command), timeout), lasts)
        else:
            signal.signal(signal.SIGTERM, _leave)
            _Asking(queue, name, lasts).forever(_words(command), every, timeout)


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.BadParameter(f"--exec: {error}: {command!r}", click.get_current_context()) from None
    if not words:
        raise click.BadParameter("--exec: there is no command", click.get_current_context())
    return words


def _report(queue: Queue, name: str, seats: int, lasts: float) -> None:
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast

    queue.pools.external(name, seats, ttl=lasts)
    pool = queue.pools[name]
    click.echo(f"pool {name}: {pool.external} of {pool.capacity} seats are withheld until {local(pool.external_until)}")


class _Asking:
    """Asks a command now and then; says what has changed, and what has failed, once each."""

    def __init__(self, queue: Queue, name: str, lasts: float) -> None:
        self._queue, self._name, self._lasts = queue, name, lasts
        self._seats: int | None = None
        self._over: float | None = None
        self._failed = ""

    def forever(self, words: list[str], every: float, timeout: float) -> None:
        while True:
            begun = time.monotonic()
            self._once(words, timeout)
            time.sleep(max(0.0, begun + every - time.monotonic()))

    def _once(self, words: list[str], timeout: float) -> None:
        from seatline.shared.errors import ServerUnavailable  # noqa: PLC0415 - `seatline --help` stays fast

        failed = ""
        try:
            seats = _asked(words, timeout)
            if seats == self._seats and not self._failed:
                self._queue.pools.external(self._name, seats, ttl=self._lasts)
            else:
                _report(self._queue, self._name, seats, self._lasts)
            self._seats, self._over = seats, time.monotonic() + self._lasts
        except (_CommandFailed, ServerUnavailable) as error:
            failed = error.message if isinstance(error, _CommandFailed) else str(error)
        if self._over is not None and self._over <= time.monotonic():
            self._seats = self._over = None
            click.echo(f"seatline: pool {self._name}: its last report is over: nothing is withheld any more", err=True)
        if failed and failed != self._failed:
            last = (
                ""
                if self._over is None
                else f" {self._seats} are withheld for {self._over - time.monotonic():.0f} s more."
            )
            click.echo(f"seatline: {failed.rstrip('.')}.{last}", err=True)
        self._failed = failed


def _asked(words: list[str], timeout: float) -> int:
    """Run the command, and return the number that it prints.

    It has a process group of its own, so whatever it has started goes with it, and nothing of our settings: the server's
    password is none of its business.
    """
    shown = shlex.join(words)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SEATLINE_")}
    try:
        process = subprocess.Popen(  # noqa: S603 - it is what the operator has typed
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        raise _CommandFailed(f"{shown}: {error.strerror or error}.") from None
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise _CommandFailed(f"{shown} has not answered within {timeout:g} s.") from None
    finally:
        _end(process)
    if process.returncode:
        last = (errors.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit code {process.returncode}"
        raise _CommandFailed(f"{shown} failed with {how}{f': {last}' if last else ''}.")
    found = re.match(rb"\s*(\d{1,9})(?!\S)", out)
    if not found:
        raise _CommandFailed(f"{shown} printed {out[:60].decode('utf-8', 'replace').strip()!r}, not a whole number.")
    return int(found[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it has started; nothing if it has ended."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
