"""``seatline triggers``: which jobs events enqueue; and the events themselves."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from seatline.console.command import Group, output_option
from seatline.console.target import Target, pass_target
from seatline.console.values import duration, params_of, uses_of

if TYPE_CHECKING:
    from seatline.producer import Job, TriggerRecord

__all__ = ["triggers"]

_event = click.argument("event", metavar="EVENT")


@click.group(
    cls=Group,
    epilog="""\b
Built-in events, which Seatline itself emits if something is triggered by them:
  job.failed       a job has failed for good
  job.interrupted  a job was lost with its worker, and a person is to decide
  order.failed     an order has failed
  order.finished   an order has ended, well or not
  worker.lost      a worker has gone without a word

\b
Examples:
  seatline triggers set drawing.released drawing.index
  seatline triggers set job.failed mail.send to=team --coalesce 5m
""",
)
def triggers() -> None:
    """List, set and remove what events enqueue; emit events."""


@triggers.command("list", epilog="Example: seatline triggers list -o json")
@output_option
@pass_target
def list_triggers(target: Target, output: str) -> None:
    """List all triggers, by event.

    COALESCE is for how long events are gathered into one job. WAIT is how many facts wait for a worker to make their jobs:
    built-in events, and events of handlers. MISSED is how many have made none: `triggers show EVENT` tells more.
    """
    from seatline.console.output import Column, local, show, span  # noqa: PLC0415 - `seatline --help` stays fast

    columns: list[Column[TriggerRecord]] = [
        Column("EVENT", lambda each: each.event),
        Column("COALESCE", lambda each: span(each.coalesce) if each.coalesce else "-", right=True),
        Column("WAIT", lambda each: f"{each.waiting:,}" if each.waiting else "-", right=True),
        Column("CHANGED", lambda each: local(each.changed)),
        Column("BY", lambda each: each.by, spare=True),
        Column("JOBS", lambda each: " ".join(job.type for job in each.jobs), cuts=True),
    ]
    with target.queue() as queue:
        records = queue.triggers.list()
    if any(each.missed for each in records):
        columns.insert(3, Column("MISSED", lambda each: f"{each.missed:,}" if each.missed else "-", right=True))
    show(records, output, columns, _data)
    if not records and output == "table":
        click.echo("No triggers. `seatline triggers set EVENT TYPE` makes one.", err=True)


def _data(record: TriggerRecord) -> dict[str, Any]:
    return {
        "event": record.event,
        "coalesce": record.coalesce,
        "created": record.created,
        "changed": record.changed,
        "by": record.by,
        "waiting": record.waiting,
        "taken": record.taken,
        "missed": record.missed,
        "jobs": [_job_data(job) for job in record.jobs],
    }


def _job_data(job: Job) -> dict[str, Any]:
    """Return what it says, in the words of a trigger's file."""
    said: dict[str, Any] = {
        "uses": job.uses,
        "tenant": job.tenant,
        "title": job.title,
        "tags": list(job.tags) or None,
        "delay": job.delay,
        "expires": job.expires,
        "result_ttl": job.result_ttl,
        "unique": job.unique,
        "supersede": job.supersede,
    }
    said = {name: value for name, value in said.items() if value is not None}
    return {"type": job.type, "priority": job.priority, "params": job.params, **said}


@triggers.command(epilog="Example: seatline triggers show drawing.released")
@_event
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def show(target: Target, event: str, *, output: str) -> None:
    """Tell what an event enqueues."""
    from seatline.console.output import clean, local, plain_data, span  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.triggers import DEPTH_MOST  # noqa: PLC0415 - as above

    with target.queue() as queue:
        record = queue.triggers[event]
    if output == "json":
        click.echo(json.dumps(plain_data(_data(record)), indent=2, ensure_ascii=False))
        return
    click.echo(click.style(f"Event {record.event}", bold=True))
    click.echo(clean(f"  set       {local(record.changed)} by {record.by}"))
    if record.coalesce:
        click.echo(f"  coalesce  {span(record.coalesce)}: the events of that time are gathered into one job")
    if record.waiting:
        click.echo(f"  waiting   {record.waiting:,} that have happened, for a worker to make their jobs")
    if record.taken:
        click.echo(f"  taken     {record.taken:,} that have happened since it was set, by workers")
    if record.missed:
        click.echo(
            f"  missed    {record.missed:,} that have made none: {DEPTH_MOST} triggers lay before, too many waited, or their "
            "params are too long"
        )
    for job in record.jobs:
        said = _job_data(job)
        click.echo("")
        click.echo(click.style(f"Job  {said.pop('type')}", bold=True))
        for name, value in said.items():
            word = value if isinstance(value, str) else json.dumps(plain_data(value), ensure_ascii=False)
            click.echo(clean(f"  {name:<10}{word}"))


@triggers.command(
    "set",
    epilog="""\b
Examples:
  seatline triggers set drawing.released drawing.index site=lyon
  seatline triggers set drawing.released mail.send to=team --coalesce 10s
  seatline triggers set drawing.released --file released.toml
""",
)
@_event
@click.argument("words", metavar="[TYPE] [NAME=VALUE | NAME:=JSON]...", nargs=-1)
@click.option("--file", type=click.File("rb"), metavar="FILE",
              help="Instead of TYPE: several jobs, TOML ([[jobs]]) or JSON; - reads stdin.")  # fmt: skip
@click.option("--coalesce", type=duration, metavar="DURATION", help="Gather the events of so long into one job.")
@click.option("--params", metavar="JSON", help="Params as a JSON object, or - to read it from stdin.")
@click.option("--priority", type=int, help="1 is the most urgent.  [default: 100]")
@click.option("--uses", multiple=True, metavar="POOL=N", help="Seats its jobs need; cad: cad=1; none: none.")
@click.option("--delay", type=duration, metavar="DURATION", help="Become due so long after the event.")
@click.option("--expires", type=duration, metavar="DURATION", help="Not to be started so long after the event.")
@click.option("--unique", metavar="KEY", help="While a job with this key waits or runs, that is the job.")
@click.option("--supersede", metavar="KEY", help="Take the place of a waiting job with this key.")
@click.option("--title", metavar="TEXT", help="A line for people.")
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="A name to filter by; may be given again.")
@click.option("--result-ttl", type=duration, metavar="DURATION", help="How long results are kept.  [default: 1d]")
@pass_target
def set_trigger(
    target: Target,
    event: str,
    words: tuple[str, ...],
    *,
    file: Any,
    coalesce: float | None,
    params: str | None,
    priority: int | None,
    uses: tuple[str, ...],
    tags: tuple[str, ...],
    **options: Any,
) -> None:
    """Say which jobs an event enqueues, in the place of what it enqueued before.

    EVENT is a name of yours, or a built-in event: job.failed, job.interrupted, order.failed, order.finished, worker.lost.

    A job's params are the event's and over them these. A VALUE that reads as a number, true, false or null in JSON is that,
    anything else is text. --tenant is of its jobs; without it they have the emitter's.
    """
    from seatline.shared.job import BULK_PRIORITY, DEFAULT_PRIORITY, Job  # noqa: PLC0415 - `seatline --help` stays fast

    span: str | float | None = coalesce
    if file is not None:
        said = (words, params, priority, uses, tags, *options.values())
        if any(value not in {None, ()} for value in said):
            raise click.UsageError("with --file the jobs are said by the file alone", click.get_current_context())
        jobs, own = _read(file)
        span = own if coalesce is None else coalesce
    else:
        if not words or "=" in words[0]:
            raise click.UsageError("give a TYPE, or --file", click.get_current_context())
        values = params_of(sys.stdin.read() if params == "-" else params, words[1:])
        priority = BULK_PRIORITY if priority is None else priority
        jobs = [Job(words[0], values, priority, uses_of(uses), target.tenant, tags=tags, **options)]
    with target.queue() as queue:
        # The jobs say their priorities themselves: 10 is meant here, if somebody says so.
        new = queue.triggers.set(event, jobs, coalesce=span, priority=DEFAULT_PRIORITY)
    count = f"{len(jobs)} jobs: " if len(jobs) > 1 else ""
    click.echo(f"trigger {event} {'set' if new else 'replaced'}: {count}{', '.join(job.type for job in jobs)}")


def _read(file: Any) -> tuple[list[Job], str | float | None]:
    """Read it; what is wrong with it is told with the file's name."""
    from seatline.shared.errors import InvalidInput  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.trigger_file import trigger_from_file  # noqa: PLC0415 - as above

    place = "stdin" if file.name in {"<stdin>", "-"} else file.name
    try:
        return trigger_from_file(file.read().decode())
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{place}: this is no text in UTF-8 (byte {error.start}).") from None
    except InvalidInput as error:
        raise InvalidInput(f"{place}: {error}") from None


@triggers.command(epilog="Example: seatline triggers remove drawing.released")
@click.argument("events", metavar="EVENT...", nargs=-1, required=True)
@pass_target
def remove(target: Target, events: tuple[str, ...]) -> None:
    """Forget what events enqueue; what they have enqueued goes on.

    What has happened and waits for a worker is forgotten, too, which is said.
    """
    with target.queue() as queue:
        for event in events:
            waited = queue.triggers.remove(event)
            click.echo(f"trigger {event} removed" + (f", with {waited:,} that waited for a worker" if waited else ""))


@triggers.command(
    epilog="""\b
Examples:
  seatline triggers emit drawing.released file=a.dwg
  seatline triggers emit drawing.released --many files.jsonl
"""
)
@_event
@click.argument("words", metavar="[NAME=VALUE | NAME:=JSON]...", nargs=-1)
@click.option("--params", metavar="JSON", help="Params as a JSON object, or - to read it from stdin.")
@click.option("--many", type=click.File("r", encoding="utf-8"), metavar="FILE",
              help="An event for each line, a JSON object that wins over the params; - reads stdin.")  # fmt: skip
@click.option("--key", metavar="TEXT", help="Of a trigger that coalesces: only events of the same key are one job.")
@click.option("--strict", is_flag=True, help="Refuse it if a pool could never give the seats of a job.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one list of ids.")
@pass_target
def emit(
    target: Target,
    event: str,
    words: tuple[str, ...],
    *,
    params: str | None,
    many: Any,
    key: str | None,
    strict: bool,
    output: str,
) -> None:
    """Say that something has happened: its jobs are enqueued, all of them or none.

    Built-in events (job.failed, ...) are Seatline's alone, and refused. Prints the ids, at most 1,000 a call. Exit code 0 also
    if nothing is triggered by that event, which is said.
    """
    values = params_of(sys.stdin.read() if params == "-" else params, words)
    entities = [values] if many is None else [{**values, **each} for each in _lines(many)]
    with target.queue(strict=strict) as queue:
        ids = queue.emit_many(event, entities, key=key)
    if output == "json":
        click.echo(json.dumps(ids))
    else:
        for job_id in ids:
            click.echo(str(int(job_id)))
    if not ids and entities:
        click.echo(f"seatline: nothing is triggered by {event}.", err=True)


def _lines(file: Any) -> list[dict[str, Any]]:
    """Read JSON lines; empty ones are passed over."""
    found: list[dict[str, Any]] = []
    number = 0
    try:
        for number, line in enumerate(file, 1):  # noqa: B007 - told below
            if line.strip():
                found.append(_object(line))
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"line {max(1, number)}: {error}", param_hint="--many") from None
    return found


def _object(line: str) -> dict[str, Any]:
    value: object = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object but {line[:60].strip()}")  # noqa: TRY004 - as what is no JSON
    return cast("dict[str, Any]", value)
