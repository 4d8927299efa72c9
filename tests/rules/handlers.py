"""The handlers that the tests' worker processes run; they speak to the test through files in a folder.

Each run adds a line ``id attempt pid`` to ``runs``. A held one goes on when the test makes ``go``, or ``go<attempt>``.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.waiting import wait_until

from seatline.worker import Context, Handlers

__all__ = ["handlers"]

handlers = Handlers()

LONGEST = 60.0
SHORT = 0.004


def _note(ctx: Context, folder: str) -> None:
    with (Path(folder) / "runs").open("a") as runs:
        runs.write(f"{ctx.id} {ctx.attempt} {os.getpid()}\n")


def _hold(ctx: Context, folder: str, *, stubborn: bool) -> int:
    _note(ctx, folder)
    gates = Path(folder, "go"), Path(folder, f"go{ctx.attempt}")

    def open_or_told() -> bool:
        if not stubborn:
            ctx.check()
        return any(gate.exists() for gate in gates)

    wait_until(open_or_told, LONGEST, "the test's sign")
    return ctx.attempt


@handlers.handler("plain", if_lost="rerun")
def plain(ctx: Context, folder: str) -> int:
    """Run at once."""
    _note(ctx, folder)
    return os.getpid()


@handlers.handler("heard", if_lost="rerun")
def heard(ctx: Context, folder: str, **_event: object) -> None:
    """Run at once, because something has happened."""
    _note(ctx, folder)


@handlers.handler("hold.interrupt")
def hold(ctx: Context, folder: str) -> int:
    """Run until told, and stop when asked to."""
    return _hold(ctx, folder, stubborn=False)


@handlers.handler("hold.rerun", if_lost="rerun")
def hold_rerun(ctx: Context, folder: str) -> int:
    """Run until told, and stop when asked to; to be run again when lost."""
    return _hold(ctx, folder, stubborn=False)


@handlers.handler("deaf.interrupt")
def deaf(ctx: Context, folder: str) -> int:
    """Run until told; never look whether to stop."""
    return _hold(ctx, folder, stubborn=True)


@handlers.handler("deaf.rerun", if_lost="rerun")
def deaf_rerun(ctx: Context, folder: str) -> int:
    """Run until told; never look whether to stop; to be run again when lost."""
    return _hold(ctx, folder, stubborn=True)


#: Waits for the test's sign in a child of its own; tells the pids of both.
COMMAND = """
echo $$ >> "$1/pids"
sh -c 'echo $$ >> "$1/pids"; while ! [ -e "$1/go" ]; do sleep 0.02; done' sh "$1"
"""
handlers.shell("command", ["sh", "-c", COMMAND, "sh", "{folder}"], if_lost="rerun")


@handlers.handler("batch")
def batch(ctx: Context) -> None:
    """Do a moment's work."""
    ctx.sleep(SHORT)


@handlers.handler("user")
def user(ctx: Context) -> None:
    """Do a moment's work that somebody waits for."""
    ctx.sleep(SHORT)
