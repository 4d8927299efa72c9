"""Wait for jobs, and turn what became of them into words and an exit code."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from seatline.producer import JobHandle, JobRecord

__all__ = ["GOOD_ENDS", "ending", "show_result", "spinner", "wait_for"]

#: Ends that are no failure: a skipped job found nothing to do (Q21).
GOOD_ENDS = frozenset({"succeeded", "skipped"})


def wait_for(handle: JobHandle, end: float | None) -> JobRecord:
    """Wait for a job's end until ``end`` (by the monotonic clock).

    Raises:
        TimeoutError: not in time; the job goes on.

    """
    try:
        return handle.wait(None if end is None else max(0.0, end - time.monotonic()))
    except TimeoutError:
        raise TimeoutError(f"job {int(handle.id)} has not ended in time; it goes on.") from None


def ending(record: JobRecord) -> str:
    """Say on one line how a job ended."""
    from seatline.console.output import clean, local  # noqa: PLC0415 - beside its only use

    said = f"job {int(record.id)} {record.state}"
    if record.error or record.reason:
        first = (record.error or record.reason or "").splitlines() or [""]
        said += f": {record.error_type + ': ' if record.error_type else ''}{first[0]}"
    elif record.state == "expired" and record.expires:
        said += f": it was not to start after {local(record.expires)}"
    return clean(said)


def show_result(record: JobRecord) -> bool:
    """Print what an ended job returned, as JSON, or on stderr why there is nothing; returns whether that is a good end."""
    from seatline.console.output import plain_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.handle import outcome  # noqa: PLC0415 - as above
    from seatline.shared.errors import ResultExpired  # noqa: PLC0415 - as above

    good, said = record.state in GOOD_ENDS, ending(record)
    if record.state == "succeeded":
        try:
            click.echo(json.dumps(plain_data(outcome(record)), indent=2, ensure_ascii=False))
        except ResultExpired as gone:
            good, said = False, str(gone)
        else:
            return True
    elif not good:
        stop = "" if said.endswith((".", "!", "?", ":")) else "."
        said += f"{stop} `seatline jobs show {int(record.id)}` tells more."
    click.echo(f"seatline: {said}", err=True)
    return good


@contextlib.contextmanager
def spinner(what: str) -> Generator[Callable[[str], None]]:
    """Show that we wait, on a terminal only; yields what changes the words."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    console = Console(stderr=True, highlight=False)
    with console.status(what, spinner="dots") as status:
        yield status.update
