"""``seatline schedules``: what runs at times to come, and when."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from seatline.console.command import Group, output_option
from seatline.console.target import Target, pass_target
from seatline.console.values import duration, moment, params_of, uses_of

if TYPE_CHECKING:
    from seatline.producer import PlannedStart, Queue, ScheduleRecord
    from seatline.shared.times import Missed

__all__ = ["schedules"]

_name = click.argument("name", metavar="NAME")
_names = click.argument("names", metavar="NAME...", nargs=-1, required=True)


@click.group(cls=Group, epilog="Example: seatline schedules add nightly vault.backup --cron '30 2 * * Mon-Fri'")
def schedules() -> None:
    """List, add and change what runs at times to come."""


def _when(record: ScheduleRecord) -> str:
    """Say in a few words when it runs."""
    from seatline.console.output import span  # noqa: PLC0415 - `seatline --help` stays fast

    if record.cron is not None:
        return f"{record.cron} {record.zone}"
    return f"every {span(record.every or 0)}{' after its end' if record.after_end else ''}"


def _starts(type_: str, chain: str | None) -> str:
    """Say what starts: jobs of a type, or orders of a chain."""
    return f"chain {chain}" if chain else type_


@schedules.command("list", epilog="Example: seatline schedules list -o json")
@output_option
@pass_target
def list_schedules(target: Target, output: str) -> None:
    """List all schedules, the next to come first.

    STATE is active, paused, waits (for the end of its run), ended, or error (no worker could compute it; -o json says
    why). Says so if no worker is alive: then nothing fires.
    """
    from seatline.console.output import Column, local, show  # noqa: PLC0415 - `seatline --help` stays fast

    columns: list[Column[ScheduleRecord]] = [
        Column("NAME", lambda each: each.name),
        Column("STARTS", lambda each: _starts(each.job.type, each.chain)),
        Column("WHEN", _when),
        Column("STATE", lambda each: each.state),
        Column("NEXT", lambda each: local(each.next)),
        Column("LAST", lambda each: local(each.last)),
        Column("LAST RUN", lambda each: str(int(each.last_job)) if each.last_job else "-", right=True),
        Column("TITLE", lambda each: each.job.title or "", cuts=True),
    ]
    with target.queue() as queue:
        records = queue.schedules.list()
        _warn(queue)
    show(records, output, columns, _data)
    if not records and output == "table":
        click.echo("No schedules. `seatline schedules add NAME TYPE --cron ...` makes one.", err=True)


def _warn(queue: Queue) -> bool:
    """Say that nobody is there to see to what is planned; returns whether that is so."""
    said = queue.schedules.unattended()
    if said:
        click.echo(f"seatline: {said}", err=True)
    return bool(said)


def _warn_unserved(queue: Queue, name: str, type_: str) -> None:
    """Say that no worker would take its jobs, as `enqueue` does (Q15)."""
    from seatline.producer.why import Scene  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.errors import SeatlineError  # noqa: PLC0415 - as above

    with contextlib.suppress(SeatlineError):  # it is stored; a login that may not read gets no warning
        if not Scene.of(queue.store, [type_]).served(type_):
            click.echo(
                f"seatline: schedule {name}: no live worker supports {type_} yet; its jobs wait for one.", err=True
            )


def _data(record: ScheduleRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "type": record.job.type if record.chain is None else None,
        "chain": record.chain,
        "state": record.state,
        "cron": record.cron,
        "zone": record.zone if record.cron else None,
        "every": record.every,
        "after_end": record.after_end,
        "start": record.start,
        "end": record.end,
        "missed": record.missed,
        "most": record.most,
        "next": record.next,
        "last": record.last,
        "last_job": record.last_job,
        "error": record.error,
        "priority": record.job.priority,
        "uses": record.job.uses,
        "tenant": record.job.tenant,
        "title": record.job.title,
        "tags": list(record.job.tags),
    }


@schedules.command(
    epilog="""\b
Examples:
  seatline schedules add nightly vault.backup site=lyon --cron '30 2 * * Mon-Fri' --zone Europe/Paris
  seatline schedules add poll mail.fetch --every 1m --missed skip
  seatline schedules add sync vault.sync --every 5m --after-end --uses vault=1
  seatline schedules add weekly --chain release site=lyon --cron '0 6 * * Mon'
"""
)
@_name
@click.argument("words", metavar="[TYPE] [NAME=VALUE | NAME:=JSON]...", nargs=-1)
@click.option("--chain", metavar="NAME", help="Instead of TYPE: start orders of this chain.")
@click.option("--cron", metavar="TEXT", help="Minute, hour, day of month, month, day of week.")
@click.option("--zone", metavar="ZONE", help="The cron's time zone, such as Europe/Paris.  [default: UTC]")
@click.option("--every", type=duration, metavar="DURATION", help="A fixed grid from --start, or from now.")
@click.option("--after-end", is_flag=True, help="With --every: counted from the end of the last run.")
@click.option("--start", type=moment, metavar="MOMENT", help="No run before it.")
@click.option("--end", type=moment, metavar="MOMENT", help="No run after it.")
@click.option("--missed", type=click.Choice(["skip", "once", "all"]), default="once", show_default=True,
              help="What becomes of moments at which nobody was there.")  # fmt: skip
@click.option("--most", type=int, default=100, show_default=True, help="With --missed all: at most the last so many.")
@click.option("--replace", is_flag=True, help="Put it in the place of one of that name.")
@click.option("--params", metavar="JSON", help="Params as a JSON object, or - to read it from stdin.")
@click.option("--priority", type=int, help="1 is the most urgent.  [default: 10]")
@click.option("--uses", multiple=True, metavar="POOL=N", help="Seats its jobs need; cad: cad=1; none: none.")
@click.option("--title", metavar="TEXT", help="A line for people.")
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="A name to filter by; may be given again.")
@click.option("--result-ttl", type=duration, metavar="DURATION", help="How long results are kept.  [default: 1d]")
@click.option("--expires", type=duration, metavar="DURATION", help="A job that has not started by then is dropped.")
@pass_target
def add(
    target: Target,
    name: str,
    words: tuple[str, ...],
    *,
    chain: str | None,
    cron: str | None,
    zone: str | None,
    every: float | None,
    after_end: bool,
    start: dt.datetime | None,
    end: dt.datetime | None,
    missed: str,
    most: int,
    replace: bool,
    params: str | None,
    priority: int | None,
    uses: tuple[str, ...],
    title: str | None,
    tags: tuple[str, ...],
    result_ttl: float | None,
    expires: float | None,
) -> None:
    """Store a schedule: a job of TYPE, or an order of a chain, at each of its times.

    A VALUE that reads as a number, true, false or null in JSON is that, anything else is text.
    """
    type_, words = _told_apart(words, chain)
    values = params_of(sys.stdin.read() if params == "-" else params, words)
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.job import DEFAULT_PRIORITY  # noqa: PLC0415 - as above

    with target.queue() as queue:
        new = queue.schedules.add(
            name,
            type_,
            values,
            chain=chain,
            cron=cron,
            zone=zone,
            every=every,
            after_end=after_end,
            start=start,
            end=end,
            missed=cast("Missed", missed),
            most=most,
            replace=replace,
            priority=DEFAULT_PRIORITY if priority is None else priority,
            uses=uses_of(uses),
            title=title,
            tags=tags,
            result_ttl=result_ttl,
            expires=expires,
        )
        record = queue.schedules[name]
        if not _warn(queue) and type_:
            _warn_unserved(queue, name, type_)
    coming = "it is paused" if record.paused else f"next at {local(record.next)}"
    click.echo(f"schedule {name} {'added' if new else 'replaced'}: {_when(record)}, {coming}")


def _told_apart(words: tuple[str, ...], chain: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the type, which has no sign of equality, and the params behind it."""
    typed = bool(words) and "=" not in words[0]
    if typed == (chain is not None):
        raise click.UsageError("give a TYPE, or --chain to start orders, one of the two", click.get_current_context())
    return (words[0], words[1:]) if typed else (None, words)


@schedules.command(epilog="Example: seatline schedules remove nightly")
@_names
@pass_target
def remove(target: Target, names: tuple[str, ...]) -> None:
    """Forget schedules; what they have enqueued goes on."""
    with target.queue() as queue:
        for name in names:
            queue.schedules.remove(name)
            click.echo(f"schedule {name} removed")


@schedules.command(epilog="Example: seatline schedules pause nightly")
@_names
@pass_target
def pause(target: Target, names: tuple[str, ...]) -> None:
    """Fire nothing until they are resumed; what they have enqueued goes on."""
    with target.queue() as queue:
        for name in names:
            click.echo(f"schedule {name} {'is paused' if queue.schedules.pause(name) else 'was paused already'}")


@schedules.command(epilog="Example: seatline schedules resume nightly")
@_names
@pass_target
def resume(target: Target, names: tuple[str, ...]) -> None:
    """Go on with the next moment from now; those in between are left out."""
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast

    with target.queue() as queue:
        for name in names:
            changed = queue.schedules.resume(name)
            coming = f"goes on, next at {local(queue.schedules[name].next)}" if changed else "was not paused"
            click.echo(f"schedule {name} {coming}")


@schedules.command(epilog="Example: seatline schedules run nightly")
@_name
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def run(target: Target, name: str, output: str) -> None:
    """Enqueue its job, or start its order, once, now, beside its plan.

    Prints the id.
    """
    with target.queue() as queue:
        handle = queue.schedules.run(name)
    click.echo(json.dumps({"id": handle.id}) if output == "json" else str(int(handle.id)))


@schedules.command("next", epilog="Example: seatline schedules next --until 2d")
@click.option("--until", metavar="DURATION|MOMENT", default="1d", show_default=True, help="How far to look.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="At most so many; 0: all.")
@output_option
@pass_target
def next_starts(target: Target, *, until: str, limit: int, output: str) -> None:
    """List all planned starts, of schedules, jobs and orders, by time.

    A schedule comes here as often as it starts until then; `seatline schedules list` shows each once.

    WAITS UNTIL is when the window of the type opens, if it is shut at that time.
    """
    from seatline.console.output import Column, local, show  # noqa: PLC0415 - `seatline --help` stays fast

    columns: list[Column[PlannedStart]] = [
        Column("START", lambda each: local(each.moment)),
        Column("WHAT", lambda each: f"{each.kind} {_short(each)}"),
        Column("STARTS", lambda each: _starts(each.type, each.chain)),
        Column("WAITS UNTIL", lambda each: local(each.opens)),
        Column("TITLE", lambda each: each.title, cuts=True),
    ]
    with target.queue() as queue:
        starts = queue.schedules.next(_until(until))
        found = [each for each, _ in zip(starts, range(limit), strict=False)] if limit else list(starts)
        more = bool(limit) and next(starts, None) is not None
        _warn(queue)
    show(found, output, columns, _start_data)
    if output == "table":
        if not found:
            click.echo(f"Nothing is planned until then ({until}).", err=True)
        if more:
            click.echo(f"{len(found)} shown, there are more; --limit 0 lists all.", err=True)


def _short(start: PlannedStart) -> str:
    return start.name.lstrip("0") if start.kind != "schedule" and start.name.isdigit() else start.name


def _until(text: str) -> dt.datetime | float:
    try:
        return duration(text)
    except click.BadParameter:
        try:
            return moment(text)
        except click.BadParameter:
            raise click.BadParameter(
                f"{text!r} is neither a duration such as 2d nor a moment such as 2030-01-31T18:00", param_hint="--until"
            ) from None


def _start_data(start: PlannedStart) -> dict[str, Any]:
    return {
        "start": start.moment,
        "kind": start.kind,
        "name": start.name,
        "type": start.type or None,
        "chain": start.chain or None,
        "title": start.title or None,
        "waits_until": start.opens,
    }
