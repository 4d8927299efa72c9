"""``seatline``: where every command line begins and every error becomes one line and an exit code.

Commands are listed here by name and one line of help, and imported when they are called: ``seatline --help`` imports
neither the client library nor the commands. Exit codes: 0 done, 1 failed, 2 usage, 69 no server, 77 the login may not,
124 timed out, 130 interrupted from the keyboard. A reader of our output that goes away (``| head``) is told nothing, as
click does it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar, NoReturn

import click

from seatline.console.command import Group
from seatline.console.target import Target, target_of
from seatline.shared.streams import drop_unwritten_errors

__all__ = ["main", "seatline"]

FAILED, TIMED_OUT, INTERRUPTED = 1, 124, 130

#: Section -> name -> (where it is, its one line of help). A test compares the lines with the commands' own.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Work": {
        "enqueue": ("enqueue:enqueue", "Put a job on the queue."),
        "jobs": ("jobs:jobs", "List, explain, wait for and change jobs."),
        "load": ("load:load", "Put a job on the queue for each line of a file."),
        "orders": ("orders:orders", "Start, show, wait for and change orders."),
        "watch": ("watch:watch", "Make a job of every file in a folder, or an order."),
        "worker": ("worker:worker", "Run jobs with the handlers of a module."),
    },
    "Manage": {
        "chains": ("chains:chains", "List, define, stop and start the chains that orders run through."),
        "pools": ("pools:pools", "Show and set the pools of seats."),
        "schedules": ("schedules:schedules", "List, add and change what runs at times to come."),
        "triggers": ("triggers:triggers", "List, set and remove what events enqueue; emit events."),
        "types": ("types:types", "List, pause and resume job types."),
        "workers": ("workers:workers", "Show, pause and stop the workers."),
    },
    "Server": {
        "acl": ("acl:acl", "Make logins that may only look, add, work, or manage one namespace."),
        "audit": ("acts:audit", "Say who paused, set, stopped, cancelled, removed what, the newest first."),
        "cli": ("server:cli", "Open redis-cli on the current server."),
        "doctor": ("doctor:doctor", "Tell what is wrong with the server and the namespace, and what mends it."),
        "report": ("report:report", "Say what ran, failed and waited, and how many seat-hours it took."),
        "scripts": ("scripts:scripts", "Show the scripts that the server runs, and load them."),
        "server": ("server:server", "Start, stop or show the embedded server of this user."),
        "verify": ("verify:verify", "Check that nothing is lost, doubled or held twice."),
    },
    "Learn": {
        "demo": ("demo:demo", "Watch a queue with scarce seats at work."),
    },
}


class _Seatline(Group):
    """The root: its commands are imported when they are called."""

    _where: ClassVar = {name: where for section in SECTIONS.values() for name, (where, _) in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(self._where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._where:
            return None
        module, _, attribute = self._where[cmd_name].partition(":")
        try:
            found: click.Command = getattr(import_module(f"seatline.console.{module}"), attribute)
        except ModuleNotFoundError as missing:
            if missing.name != f"seatline.console.{module}":
                raise
            raise click.UsageError(f"this installation has no {cmd_name!r}.", ctx) from None
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                width = max(map(len, self._where))
                formatter.write_dl([(f"{name:<{width}}", line) for name, (_, line) in commands.items()])


@click.group(
    cls=_Seatline,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: seatline enqueue drawing.publish file=a.dwg --wait",
    shared_hidden=False,
)
@click.version_option(None, "-V", "--version", package_name="seatline", message="%(prog)s %(version)s")
@click.pass_context
def seatline(context: click.Context) -> None:
    """A job queue on Redis for work that needs a scarce seat.

    Without --url and SEATLINE_URL, an embedded server is used, and started if need be. The options below may also
    stand behind any command.
    """
    target = target_of(context)
    if target.url and context.invoked_subcommand == "cli":
        os.environ["SEATLINE_URL"] = target.url  # it reads its own option or this


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and exit."""
    target = Target()
    try:
        code = _run(words, target)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not trip over it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    drop_unwritten_errors()
    sys.exit(code)


def _run(words: Sequence[str] | None, target: Target) -> int:
    """Run it; every error becomes one line on stderr (and with -vv its traceback too)."""
    from seatline.shared.errors import SeatlineError  # noqa: PLC0415 - `seatline --help` stays fast

    try:
        done: Any = seatline.main(
            args=None if words is None else list(words), prog_name="seatline", obj=target, standalone_mode=False
        )
        return done if isinstance(done, int) else 0
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        return _say(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted.", INTERRUPTED)
    except BrokenPipeError:
        raise
    except SeatlineError as error:
        return _say(str(error), error.exit_code, target.verbose)
    except TimeoutError as error:
        return _say(str(error) or "not in time.", TIMED_OUT, target.verbose)
    except OSError as error:
        return _say(
            f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.", FAILED, target.verbose
        )
    except Exception as error:  # noqa: BLE001 - never a traceback unless it is asked for
        told = f"{type(error).__name__}: {error}"
        return _say(f"{told} This is a bug in Seatline; -vv shows where. Please report it.", FAILED, target.verbose)


def _usage(error: click.UsageError) -> int:
    """Say what is wrong with the words, on one line; a command that was called with none shows its help."""
    if error.ctx is None or type(error).__name__ == "NoArgsIsHelpError":
        with suppress(OSError):
            error.show()
        return error.exit_code
    message = error.format_message().rstrip(".")
    stop = "" if message.endswith("?") else "."
    return _say(f"{message}{stop} See `{error.ctx.command_path} --help`.", error.exit_code)


def _say(message: str, code: int, verbose: int = 0) -> int:
    if verbose > 1:
        import traceback  # noqa: PLC0415 - only who asks for it

        traceback.print_exc()
    lines = message.splitlines() or [""]
    with suppress(OSError):  # nowhere to write: the exit code still tells
        click.echo(f"seatline: {lines[0]}", err=True)
    return code


if __name__ == "__main__":
    main()
