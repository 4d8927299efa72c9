"""``seatline types show``: all of one type: what waits and runs, who runs it, how it is declared, how fast it goes."""

from __future__ import annotations

import datetime as dt
import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seatline.producer import Queue
    from seatline.producer.why import Scene
    from seatline.shared.calls.reads import TypeRecord, WorkerRecord

__all__ = ["show_type"]

#: Of jobs that run, are due later or have ended, so many are looked at; ended ones for so long (seconds).
LOOKED_AT: Final = 1_000
RECENT: Final = 600.0
ENDS: Final = ("succeeded", "skipped", "failed", "cancelled", "expired", "interrupted")


@dataclass(frozen=True, slots=True)
class _Line:
    """Waiting jobs that use the same; ``next``: id and priority of the first."""

    uses: str | None
    waiting: int
    next: str | None
    priority: int | None


@dataclass(frozen=True, slots=True)
class _Ends:
    """What ended lately: by state, over how long (seconds), and how long a run took."""

    count: dict[str, int]
    seconds: float
    median: float | None

    @property
    def a_minute(self) -> float:
        return 60 * sum(self.count.values()) / self.seconds


@click.command("show", cls=Command, epilog="Example: seatline types show drawing.publish")
@click.argument("name", metavar="TYPE")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def show_type(target: Target, name: str, *, output: str) -> None:
    """Show a type: what waits and runs, who runs it, what its handlers declare, how fast it goes.

    The rate is that of the last 10 minutes. Of running, scheduled and ended jobs of all types 1,000 are looked at; a + says
    that there are more.
    """
    from seatline.console.output import plain_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.why import Scene  # noqa: PLC0415 - as above
    from seatline.shared.errors import InvalidInput  # noqa: PLC0415 - as above

    with target.queue() as queue:
        scene = Scene.of(queue.store)
        record = scene.types.get(name)
        if record is None:
            raise InvalidInput(f"type: no job of type {name!r} was ever here, and no worker supports it.")
        lines, oldest = _lines(queue, record)
        workers = _workers(queue, record)
        running, later = _count(queue, "running", name), _count(queue, "scheduled", name)
        ends = _ends(queue, scene, name)
    if output == "json":
        data = {
            "type": name,
            "waiting": sum(line.waiting for line in lines),
            "oldest": oldest,
            "lines": [asdict(line) for line in lines],
            "running": running[0],
            "scheduled": later[0],
            "ended": {**ends.count, "seconds": round(ends.seconds), "a_minute": round(ends.a_minute, 2)},
            "median_seconds": ends.median,
            "uses": record.uses,
            "if_lost": record.if_lost,
            "paused": record.paused,
            "window": record.window,
            "opens": scene.opens(name),
            "workers": [{"id": worker.id, **worker.fields} for worker in workers],
        }
        click.echo(json.dumps(plain_data(data), indent=2, ensure_ascii=False))
        return
    for head, told in _told(scene, record, lines, oldest, running, later, ends):
        click.echo(f"{head:<9}  {told}")
    for i, worker in enumerate(workers):
        click.echo(f"{'' if i else 'workers':<9}  {_worker_told(worker)}")
    if not workers:
        click.echo(f"{'workers':<9}  none is live: seatline worker MODULE --types {name}")


def _lines(queue: Queue, record: TypeRecord) -> tuple[list[_Line], dt.datetime | None]:
    from seatline.console.oldest import oldest_of  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.base import Command as Asked  # noqa: PLC0415 - as above
    from seatline.shared.calls.base import Read, text  # noqa: PLC0415 - as above

    names = [queue.store.keys.ready(record.name, uses) for uses in record.lines]
    asked: list[Asked] = [each for line in names for each in (("ZCARD", line), ("ZRANGE", line, 0, 0, "WITHSCORES"))]
    replies = queue.store.read(Read(asked, list[Any]))
    lines: list[_Line] = []
    for uses, count, head in zip(record.lines, replies[::2], replies[1::2], strict=True):
        if count or uses is None:
            first = (text(head[0]), int(float(head[1]))) if head else (None, None)
            lines.append(_Line(uses, int(count), *first))
    oldest = oldest_of(queue.store, [line for line, count in zip(names, replies[::2], strict=True) if count])
    return lines, min(oldest.values(), default=None)


def _workers(queue: Queue, record: TypeRecord) -> list[WorkerRecord]:
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast

    store, keys = queue.store, queue.store.keys
    ids = [worker for worker, _ in store.read(reads.page(keys, "workers", 0, LOOKED_AT))]
    known = store.read(reads.worker_records(keys, ids, [])) if ids else []
    return [worker for worker in known if worker.live and worker.fields.get("offer") in record.offers]


def _count(queue: Queue, place: str, name: str) -> tuple[int, bool]:
    """Return how many jobs of the type are among the first of a place, and whether there are more of any."""
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.base import Command as Asked  # noqa: PLC0415 - as above
    from seatline.shared.calls.base import Read  # noqa: PLC0415 - as above

    store, keys = queue.store, queue.store.keys
    ids = [job_id for job_id, _ in store.read(reads.page(keys, place, 0, LOOKED_AT))]
    asked: list[Asked] = [("HGET", keys.job(job_id), "type") for job_id in ids]
    types: list[Any] = store.read(Read(asked, list[Any])) if ids else []
    return types.count(name.encode()), len(ids) == LOOKED_AT


def _ends(queue: Queue, scene: Scene, name: str) -> _Ends:
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.base import Command as Asked  # noqa: PLC0415 - as above
    from seatline.shared.calls.base import Read, text  # noqa: PLC0415 - as above

    store, keys, now = queue.store, queue.store.keys, scene.now.timestamp() * 1000
    since, found = now - RECENT * 1000, list[tuple[str, str]]()
    for state in ENDS:
        page = store.read(reads.page(keys, f"finished:{state}", 0, LOOKED_AT, newest_first=True))
        recent = [(job_id, ended) for job_id, ended in page if ended >= now - RECENT * 1000]
        if len(recent) == LOOKED_AT:  # there may be older ones: what is told is of the time that was seen of all
            since = max(since, recent[-1][1])
        found += [(state, job_id) for job_id, _ in recent]
    asked: list[Asked] = [("HMGET", keys.job(job_id), "type", "started", "finished") for _, job_id in found]
    replies: list[Any] = store.read(Read(asked, list[Any])) if found else []
    count, runs = dict[str, int](), list[float]()
    for (state, _), (type_, started, finished) in zip(found, replies, strict=True):
        if type_ is None or text(type_) != name or finished is None or int(finished) < since:
            continue
        count[state] = count.get(state, 0) + 1
        if started is not None and state == "succeeded":
            runs.append((int(finished) - int(started)) / 1000)
    return _Ends(count, max(1.0, (now - since) / 1000), round(statistics.median(runs), 3) if runs else None)


def _told(
    scene: Scene,
    record: TypeRecord,
    lines: Sequence[_Line],
    oldest: dt.datetime | None,
    running: tuple[int, bool],
    later: tuple[int, bool],
    ends: _Ends,
) -> list[tuple[str, str]]:
    from seatline.console.output import local, span  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.why import stamped  # noqa: PLC0415 - as above

    age = f", the oldest for {span((scene.now - oldest).total_seconds())}" if oldest else ""
    told = [("type", record.name), ("waiting", f"{sum(line.waiting for line in lines):,}{age}")]
    for line in lines:
        if line.next is not None:
            what = "what the type uses" if line.uses is None else line.uses.replace(",", ", ")
            told.append(("", f"{line.waiting:,} use {what}; next is job {int(line.next)}, priority {line.priority}"))
    told += [
        ("running", f"{running[0]:,}{'+' if running[1] else ''}"),
        ("scheduled", f"{later[0]:,}{'+' if later[1] else ''}"),
    ]
    states = ", ".join(f"{count:,} {state}" for state, count in ends.count.items()) or "none"
    rate = f", {ends.a_minute:.3g} a minute" if ends.count else ""
    each = f", a run takes {ends.median:g} s (median)" if ends.median is not None else ""
    told.append(("ended", f"{states} in the last {span(ends.seconds)}{rate}{each}"))
    told += [("uses", record.uses or "not declared yet"), ("if lost", record.if_lost or "not declared yet")]
    if record.paused:
        told.append(("paused", f"{stamped(record.paused)}; seatline types resume {record.name}"))
    if record.window:
        opens = scene.opens(record.name)
        told.append(("window", f"{record.window}: {'open now' if opens is None else f'shut until {local(opens)}'}"))
    return told


def _worker_told(worker: WorkerRecord) -> str:
    from seatline.console.output import clean  # noqa: PLC0415 - `seatline --help` stays fast

    fields = worker.fields
    return clean(
        f"{worker.id}: {fields.get('state') or 'awake'}, {fields.get('busy') or 0} of {fields.get('slots', '?')} slots busy"
    )
