"""``seatline workers pause``, ``resume`` and ``stop``: what people ask of workers, who hear of it at once (C13).

A worker is asked by the server, over its bell; one that sleeps (classic) hears of it when it wakes. A stop is not taken
back, only hastened.
"""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable, Sequence, Sized
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.console.fleet import Fleet, Seen
    from seatline.producer import Queue

__all__ = ["pause", "resume", "stop"]

F = TypeVar("F", bound=Callable[..., Any])
Word = Literal["pause", "resume", "stop", "stop-now"]
#: Seconds between two looks at who is still there.
_LOOK: Final = 0.2


def _which(function: F) -> F:
    function = click.option("--all", "everyone", is_flag=True, help="Every live worker, instead of ids.")(function)
    return click.argument("ids", metavar="[ID...]", nargs=-1)(function)


@click.command(cls=Command, epilog="Example: seatline workers pause build-7")
@_which
@pass_target
def pause(target: Target, ids: tuple[str, ...], *, everyone: bool) -> None:
    """Have workers take no new jobs; what they run goes on.

    They stay there until `seatline workers resume` or `stop`. Exit code 1: one of them is not there, or stops already.
    """
    with target.queue() as queue:
        _ask(queue, ids, "pause", everyone=everyone)


@click.command(cls=Command, epilog="Example: seatline workers resume --all")
@_which
@pass_target
def resume(target: Target, ids: tuple[str, ...], *, everyone: bool) -> None:
    """Have paused workers take jobs again.

    Exit code 1: one of them is not there, or stops already.
    """
    with target.queue() as queue:
        _ask(queue, ids, "resume", everyone=everyone)


def _limit(value: str) -> float:
    try:
        return duration(value) if value else float("inf")
    except click.BadParameter:
        raise click.BadParameter(
            f"{value!r} is not a duration such as 5m; name workers before --wait, or write --wait=5m"
        ) from None


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  seatline workers stop build-7 --wait 5m
  seatline workers stop --all --now
""",
)
@_which
@click.option("--now", is_flag=True, help="Without grace for what runs.")
@click.option(
    "--wait",
    type=_limit,
    is_flag=False,
    flag_value="",
    metavar="[DURATION]",
    help="Wait until they are gone, for at most so long; then exit code 124.",
)
@pass_target
def stop(target: Target, ids: tuple[str, ...], *, everyone: bool, now: bool, wait: float | None) -> None:
    """Have workers end: what they run may end first.

    After its grace period (30 s unless its --grace says otherwise) what still runs is stopped: a job becomes interrupted,
    and stays so until `seatline jobs resubmit`; with if_lost="rerun" it goes back to its place in the queue, without costing
    an attempt. --now, or a second stop of the same worker, does so at once.

    Exit code 0: all were told; with --wait, all are gone. 1: one of them is not there. 124: not gone in time; they go
    on stopping.
    """
    with target.queue() as queue:
        told, refused = _tell(queue, ids, "stop-now" if now else "stop", everyone=everyone)
        if wait is not None and told:
            _wait(queue, told, wait)
    if refused:
        click.get_current_context().exit(1)


def _ask(queue: Queue, ids: Sequence[str], word: Word, *, everyone: bool) -> None:
    if _tell(queue, ids, word, everyone=everyone)[1]:
        click.get_current_context().exit(1)


def _tell(queue: Queue, ids: Sequence[str], word: Word, *, everyone: bool) -> tuple[list[Seen], bool]:
    """Tell each, one line a worker; returns who was told, and whether one could not be."""
    from seatline.console.fleet import fleet_of  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls import workers as verbs  # noqa: PLC0415 - as above
    from seatline.shared.errors import NoSuchWorker  # noqa: PLC0415 - as above

    if bool(ids) == everyone:
        raise click.UsageError(
            "name workers (ids, or beginnings of theirs), or give --all for every one; one of the two.",
            click.get_current_context(),
        )
    fleet = fleet_of(queue.store)
    chosen, refused = _chosen(fleet, ids) if ids else (fleet.live, False)
    if not (chosen or refused):
        click.echo("No live workers.", err=True)
    told: list[Seen] = []
    for worker in chosen:
        again = word == "stop" and worker.text("asked") == "stop"
        asks: Word = "stop-now" if again else word
        try:
            stands = queue.store.run(verbs.ask(worker.id, asks, queue.by))
        except NoSuchWorker as gone:
            click.echo(f"seatline: {gone}", err=True)
            refused = True
            continue
        if stands == asks:
            click.echo(f"worker {worker.id} {_said(worker, asks, again=again)}")
            told.append(worker)
        elif asks == "stop":
            click.echo(f"worker {worker.id} was told to stop at once already")
            told.append(worker)
        else:
            click.echo(f"seatline: worker {worker.id} was told to stop, which is not taken back.", err=True)
            refused = True
    return told, refused


def _chosen(fleet: Fleet, ids: Sequence[str]) -> tuple[list[Seen], bool]:
    """Find all by their ids before the first is told; returns them, and whether one is not there."""
    from seatline.shared.errors import NoSuchWorker  # noqa: PLC0415 - `seatline --help` stays fast

    chosen: dict[str, Seen] = {}
    missing: list[NoSuchWorker] = []
    for name in ids:
        try:
            worker = fleet.named(name)
        except NoSuchWorker as gone:
            missing.append(gone)
        else:
            chosen[worker.id] = worker
    for error in missing:
        click.echo(f"seatline: {error}", err=True)
    return list(chosen.values()), bool(missing)


def _said(worker: Seen, word: Word, *, again: bool) -> str:
    """Say what becomes of it."""
    jobs = len(worker.jobs)
    some = f"{jobs} running job{'s' if jobs > 1 else ''}"
    match word:
        case "pause" if worker.text("asked") == "pause":
            return "was paused already"
        case "resume" if worker.text("asked") != "pause":
            return "was not paused by anybody"
        case "pause":
            said = "takes no new jobs" + (f"; {some} go{'' if jobs > 1 else 'es'} on" if jobs else "")
        case "resume":
            said = "takes jobs again"
        case "stop":
            said = "stops" + (
                f" when {some} {'have' if jobs > 1 else 'has'} ended, or its grace is over" if jobs else ""
            )
        case "stop-now":
            said = "stops at once" + (f"; of {some} {_becomes(worker)}" if jobs else "")
            if again and worker.state != "sleeping":
                said = f"was told to stop before: it {said}"
    return f"is {worker.state_shown()}; then it {said}" if worker.state == "sleeping" else said


def _becomes(worker: Seen) -> str:
    """Say what becomes of the jobs that it runs: a stop is no loss, but asks the same ``if_lost``."""
    back = sum(job.if_lost == "rerun" for job in worker.jobs)
    left = len(worker.jobs) - back
    words = [f"{back} go{'' if back > 1 else 'es'} back to {'their' if back > 1 else 'its'} place"] if back else []
    words += [f"{left} become{'' if left > 1 else 's'} interrupted (if_lost)"] if left else []
    return " and ".join(words)


def _wait(queue: Queue, told: Sequence[Seen], limit: float) -> None:
    """Wait until they are gone; one line when one is.

    Raises:
        TimeoutError: not in time.

    """
    from seatline.console.waiting import spinner  # noqa: PLC0415 - `seatline --help` stays fast

    end = time.monotonic() + limit
    left = {worker.id: worker for worker in told}
    with spinner(f"waiting for {_some(left)}") as say:
        while True:
            still = _there(queue, list(left))
            for worker in [worker for worker in left if worker not in still]:
                del left[worker]
                click.echo(f"worker {worker} is gone")
            if not left:
                return
            if time.monotonic() >= end:
                they = "it goes on" if len(left) == 1 else "they go on"
                raise TimeoutError(f"{_some(left)} not gone in time: {', '.join(left)}; {they} stopping.")
            doing = ", ".join(
                f"{each.id} ({each.state_shown()}, {each.text('busy') or 0} busy)" for each in still.values()
            )
            say(_cut(f"waiting for {_some(left)}: {doing}"))
            time.sleep(min(_LOOK, max(0.0, end - time.monotonic())))


def _there(queue: Queue, ids: Sequence[str]) -> dict[str, Seen]:
    """Return who of them is still there, as it said of itself."""
    from seatline.console.fleet import Seen  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.reads import worker_records  # noqa: PLC0415 - as above

    now = dt.datetime.now(dt.UTC)
    records = queue.store.read(worker_records(queue.store.keys, ids, []))
    return {record.id: Seen(record, now, (), now) for record in records if record.live}


def _cut(words: str) -> str:
    """Cut a line that must not wrap: it is written over and over."""
    room = shutil.get_terminal_size().columns - len("... ")
    return words if len(words) <= room else f"{words[: room - 1]}…"


def _some(left: Sized) -> str:
    return f"{len(left)} worker{'s' if len(left) > 1 else ''}"
