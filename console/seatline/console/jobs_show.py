"""``seatline jobs show``: one job, told as a story: what it is, what happened to it, what became of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import JobHandle, JobRecord, Queue
    from seatline.shared.calls.reads import WorkerRecord
    from seatline.shared.job import Attempt

__all__ = ["show_job"]

#: Characters of params, of a result and of a traceback that are shown unless --full.
_SHOWN = 2_000


@click.command("show", cls=Command, epilog="Example: seatline jobs show 42")
@click.argument("job", metavar="ID")
@click.option("--full", is_flag=True, help="Cut nothing.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def show_job(target: Target, job: str, *, full: bool, output: str) -> None:
    """Tell all about one job.

    With -v also the tracebacks of its earlier attempts; `seatline jobs log` prints what its handler logged.
    """
    from seatline.console.output import plain_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import job_data, obstacle_data  # noqa: PLC0415 - as above
    from seatline.producer.timeline import for_people  # noqa: PLC0415 - as above
    from seatline.shared.calls import reads  # noqa: PLC0415 - as above

    with target.queue() as queue:
        record = queue.job(job)
        handle = queue.handle(record.id)
        obstacles, history = handle.why(), queue.store.read(reads.history(queue.store.keys, record.id))
        attempts = _attempts(handle)
        if output == "json":
            data = job_data(record) | {
                "result": _readable(record, "result"),
                "traceback": record.traceback,
                "attempts": attempts if isinstance(attempts, str) else [_attempt_data(each) for each in attempts],
                "why": [obstacle_data(obstacle) for obstacle in obstacles],
                "history": [{"time": when, "what": for_people(what)} for when, what in history],
            }
            click.echo(json.dumps(plain_data(data), indent=2, ensure_ascii=False))
            return
        lines = [*_header(queue, record), *_payloads(record, full=full), *_trouble(record, full=full)]
        lines += _earlier(_told_apart(attempts, record), tracebacks=bool(target.verbose))
        if obstacles:
            lines += ["", "Why it waits", *(f"  {obstacle}" for obstacle in obstacles)]
        if history:
            lines += ["", "History", *(f"  {_local(when)}  {for_people(what)}" for when, what in history)]
        if count := _logged(queue, record):
            lines += ["", f"Log  {count:,} line{'s' if count > 1 else ''}: `seatline jobs log {int(record.id)}`"]
    _print(lines)


def _print(lines: list[str]) -> None:
    from seatline.console.output import clean  # noqa: PLC0415 - `seatline --help` stays fast

    for line in lines:
        heading = bool(line) and not line.startswith(" ")
        click.echo(click.style(clean(line), bold=True) if heading else clean(line))


def _local(moment: dt.datetime | None) -> str:
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast

    return local(moment)


def _header(queue: Queue, job: JobRecord) -> Iterator[str]:
    from seatline.console.output import span  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import progress_shown, uses_shown  # noqa: PLC0415 - as above

    marks = (" (asked to stop)" if job.cancel_asked else "") + (" (overdue)" if job.overdue else "")
    yield f"Job {int(job.id)}  {job.type}  {job.state}" + (marks if job.state == "running" else "")
    if job.overdue and job.state == "running":
        yield "  It has gone on past its timeout and cannot be stopped: a thread. Its seats stay taken until it returns."
    facts = {
        "title": job.title,
        "order": job.order and _step(job),
        "priority": str(job.priority),
        "tenant": job.tenant,
        "tags": " ".join(job.tags),
        "event": _event(job),
        "token": job.token,
        "uses": uses_shown(job, _uses_of_type(queue, job)),
        "holds": ", ".join(f"{pool}={seats}" for pool, seats in job.seats.items()) if job.state == "running" else "",
        "progress": job.progress and progress_shown(job.progress, full=True),
    }
    for name, value in facts.items():
        if value:
            yield f"  {name:<9} {value}"
    yield ""
    yield "Times"
    yield f"  enqueued  {_local(job.created)}"
    if job.due:
        yield f"  due       {_local(job.due)}" + (
            "  for its next attempt" if job.state == "scheduled" and job.error else ""
        )
    if job.expires:
        yield f"  expires   {_local(job.expires)}  it is not to start after that"
    if job.schedule and job.planned:
        yield f"  schedule  {job.schedule}, planned for {_local(job.planned)}"
    if job.started:
        since = job.due or job.created or job.started
        waited = f"  after waiting {span((job.started - since).total_seconds())}" if since <= job.started else ""
        yield f"  started   {_local(job.started)}{waited}"
        losses = f", lost {job.losses} times" if job.losses else ""
        yield f"  attempt   {job.attempt}{losses}, by {_who(queue, job)}"
    if job.finished:
        ran = f"  after running {span((job.finished - job.started).total_seconds())}" if job.started else ""
        yield f"  ended     {_local(job.finished)}{ran}"


def _uses_of_type(queue: Queue, job: JobRecord) -> str | None:
    """Return the seats that jobs of its type need unless they say otherwise."""
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast

    if job.uses is not None:
        return None
    (known,) = queue.store.read(reads.type_records(queue.store.keys, [job.type]))
    return known.uses


def _step(job: JobRecord) -> str:
    """Say which step of which order it is."""
    from seatline.console.orders_many import order_shown  # noqa: PLC0415 - `seatline --help` stays fast

    element = "" if job.element is None else f", element {job.element}"
    return f"{order_shown(job.order or '')} ({job.chain}), step {job.step}{element}"


def _who(queue: Queue, job: JobRecord) -> str:
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast

    if job.worker is None:
        return "an unknown worker"
    worker: WorkerRecord
    (worker,) = queue.store.read(reads.worker_records(queue.store.keys, [job.worker], []))
    if not worker.live:
        return f"worker {job.worker}, which is gone"
    return f"worker {job.worker} ({worker.fields.get('host')}, pid {worker.fields.get('pid')})"


def _payloads(job: JobRecord, *, full: bool) -> Iterator[str]:
    for name, packed in (("params", job.params_packed), ("result", job.result_packed)):
        if packed:
            yield ""
            yield f"{name.capitalize()}  ({len(packed):,} B)"
            text = json.dumps(_readable(job, name), indent=2, ensure_ascii=False)
            yield from _cut(text, full=full)
    if job.state == "succeeded" and job.result_until and not job.result_packed:
        yield ""
        yield f"Result  was kept until {_local(job.result_until)}"


def _trouble(job: JobRecord, *, full: bool) -> Iterator[str]:
    from seatline.shared.job import WAITING  # noqa: PLC0415 - `seatline --help` stays fast

    if job.reason:
        yield from ("", f"Skipped  {job.reason}")
    if job.error:
        kind = f"{job.error_type}: " if job.error_type else ""
        heading = f"Error of attempt {job.attempt}" if job.state in WAITING else "Error"
        yield from ("", heading, *_cut(f"{kind}{job.error}", full=full))
    if job.traceback:
        yield from ("", "Traceback", *_cut(job.traceback, full=full, end=True))


def _attempts(handle: JobHandle) -> list[Attempt] | str:
    """Return the attempts that failed and after which it ran again, or why they cannot be read."""
    from seatline.shared.errors import PayloadError  # noqa: PLC0415 - `seatline --help` stays fast

    try:
        return handle.attempts()
    except PayloadError as error:
        return f"cannot be read: {error}"


def _told_apart(attempts: list[Attempt] | str, job: JobRecord) -> list[Attempt] | str:
    """Leave out the last attempt where the job itself still tells of it: it waits for the next one."""
    from seatline.shared.job import WAITING  # noqa: PLC0415 - `seatline --help` stays fast

    if job.error and job.state in WAITING and isinstance(attempts, list) and attempts:
        return attempts[:-1] if attempts[-1].attempt == job.attempt else attempts
    return attempts


def _earlier(attempts: list[Attempt] | str, *, tracebacks: bool) -> Iterator[str]:
    if not attempts:
        return
    yield from ("", "Earlier attempts")
    if isinstance(attempts, str):
        yield f"  {attempts}"
        return
    for each in attempts:
        first, *others = each.error.splitlines() or [""]
        yield f"  {_local(each.moment)}  attempt {each.attempt} by {each.worker}"
        yield from (f"    {line}" for line in (f"{each.error_type}: {first}", *others))
        if tracebacks:
            yield from (f"    {line}" for line in each.traceback.splitlines())
    if not tracebacks and any(each.traceback for each in attempts):
        yield "  -v shows their tracebacks."


def _attempt_data(attempt: Attempt) -> dict[str, Any]:
    return {
        "time": attempt.moment,
        "attempt": attempt.attempt,
        "worker": attempt.worker,
        "error_type": attempt.error_type,
        "error": attempt.error,
        "traceback": attempt.traceback,
    }


def _logged(queue: Queue, job: JobRecord) -> int:
    from seatline.shared.calls.base import Read  # noqa: PLC0415 - `seatline --help` stays fast

    key = queue.store.keys.job(job.id) + ":log"
    return queue.store.read(Read([("LLEN", key)], lambda replies: int(replies[0])))


def _readable(job: JobRecord, what: str) -> Any:
    from seatline.console.output import plain_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.errors import SeatlineError  # noqa: PLC0415 - as above

    try:
        return plain_data(getattr(job, what))
    except SeatlineError as error:
        return f"cannot be read: {error}"


def _cut(text: str, *, full: bool, end: bool = False) -> Iterator[str]:
    """Indent it, cut to what a person reads: the beginning, or the end (of a traceback, which names the cause)."""
    left = 0 if full else len(text) - _SHOWN
    kept = text if left <= 0 else text[-_SHOWN:] if end else text[:_SHOWN]
    note = f"  ... {left:,} characters more; --full shows them"
    if left > 0 and end:
        yield note
    yield from (f"  {line}" for line in kept.splitlines())
    if left > 0 and not end:
        yield note


def _event(job: JobRecord) -> str | None:
    """Say which event's trigger made it, how many events it has gathered, and how many triggers lie before it."""
    if job.event is None:
        return None
    gathered = f", {job.gathered:,} gathered" if job.gathered is not None else ""
    return job.event + gathered + (f", trigger {job.depth} in a row" if job.depth else "")
