"""`seatline demo`: the whole of Seatline in one terminal, on a server of its own, in less than half a minute.

The story is real from end to end: files of this Python's own library are compressed by two worker *processes*, each
job holding a seat of a licence for two, while an outside witness counts who is really there. Urgent jobs overtake a
batch, one worker is killed in the middle of a job, one job fails, and a table adds it all up. The exit code is 0 only
if every figure is right, so it is a smoke test of an installation too.

* ``plan.py``      what is enqueued, and every number of the story
* ``handlers.py``  what the workers run
* ``witness.py``   the licence server: a process of its own that counts and refuses
* ``stage.py``     the private folder, server and processes; whatever happens, nothing of it is left behind
* ``story.py``     the acts, in order
* ``figures.py``   what came of it, against what should have: pure
* ``show.py``      the live screen and the table
"""

from __future__ import annotations

import click

from seatline.console.command import Command

__all__ = ["demo"]


@click.command(cls=Command, epilog="Example: seatline demo --keep")
@click.option("--keep", is_flag=True, help="Leave the server, with all its jobs, for you to look at.")
@click.option("--licences", type=click.IntRange(min=0), hidden=True, help="Tell the licence server another capacity.")
def demo(keep: bool, licences: int | None) -> None:
    """Watch a queue with scarce seats at work.

    Two worker processes share two seats of a licence: a batch, urgent jobs that overtake it, a worker killed in
    mid-job, and a table that adds it all up. It takes about 15 seconds, on a server of its own in a temporary folder;
    nothing of yours is touched. Exit code 0: every figure is right. 1: one is not.
    """
    from seatline.console.demo.story import run  # noqa: PLC0415 - `seatline --help` stays fast

    click.get_current_context().exit(run(keep=keep, licences=licences))
