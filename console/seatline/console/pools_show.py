"""``seatline pools show``: who holds the seats of a pool, and who waits for them, in order (S12)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import JobRecord, Queue
    from seatline.producer.why import Scene
    from seatline.shared.calls.reads import PoolRecord, WorkerRecord

__all__ = ["show_pool"]


@dataclass(frozen=True, slots=True)
class _Holder:
    who: str
    what: str
    seats: int
    where: str
    since: dt.datetime | None
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class _Waiter:
    place: int
    who: str
    what: str
    priority: int
    seats: int | None


@click.command("show", cls=Command, epilog="Example: seatline pools show vault")
@click.argument("name", metavar="NAME")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def show_pool(target: Target, name: str, *, output: str) -> None:
    """Show a pool: who holds its seats, and who waits for them in order."""
    from seatline.console.output import plain_data  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.records import pool_data  # noqa: PLC0415 - as above
    from seatline.producer.why import Scene  # noqa: PLC0415 - as above

    with target.queue() as queue:
        pool = queue.pools[name]
        jobs = _jobs(queue, pool)
        holders, waiters = (
            _holders(queue, pool, jobs),
            _waiters(pool, jobs, Scene.of(queue.store, {job.type for job in jobs.values()})),
        )
    if output == "json":
        data = pool_data(pool) | {
            "holders": [_data(one) for one in holders],
            "waiters": [_data(one) for one in waiters],
        }
        click.echo(json.dumps(plain_data(data), indent=2, ensure_ascii=False))
    else:
        _tell(pool, holders, waiters)


def _data(record: _Holder | _Waiter) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _jobs(queue: Queue, pool: PoolRecord) -> dict[str, JobRecord]:
    """Read the jobs that hold or wait."""
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast

    ids = [session.name for session in pool.holders if session.kind == "job"]
    ids += [member for member, _ in pool.waiting if "|" not in member]
    found = queue.store.read(reads.job_records(queue.store.keys, ids)) if ids else []
    return {job.id: job for job in found if job}


def _holders(queue: Queue, pool: PoolRecord, jobs: dict[str, JobRecord]) -> list[_Holder]:
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast

    ids = sorted({job.worker for job in jobs.values() if job.worker})
    known = queue.store.read(reads.worker_records(queue.store.keys, ids, [])) if ids else []
    workers = {worker.id: worker for worker in known}
    holders: list[_Holder] = []
    for session in pool.holders:
        job = jobs.get(session.name) if session.kind == "job" else None
        who = f"job {int(session.name)}" if session.kind == "job" else f"{session.kind} {session.name}"
        where = _where(workers.get(job.worker)) if job and job.worker else "-"
        holders.append(_Holder(who, _what(job), session.seats, where, job.started if job else None, session.until))
    return holders


def _where(worker: WorkerRecord | None) -> str:
    if worker is None or not worker.live:
        return f"{worker.id if worker else 'worker'} (lost)"
    return f"{worker.fields.get('host')}, pid {worker.fields.get('pid')}"


def _what(job: JobRecord | None) -> str:
    return "-" if job is None else f"{job.type}{f': {job.title}' if job.title else ''}"


def _waiters(pool: PoolRecord, jobs: dict[str, JobRecord], scene: Scene) -> list[_Waiter]:
    waiters: list[_Waiter] = []
    for place, (member, priority) in enumerate(pool.waiting, 1):
        if "|" in member:
            owner, _, seats = member.rpartition("|")
            name = owner.partition(":program:")[2].partition(":")[0]
            waiters.append(_Waiter(place, f"program {name}", "-", priority, int(seats)))
        else:
            job = jobs.get(member)
            need = scene.uses(job).get(pool.name) if job else None
            waiters.append(_Waiter(place, f"job {int(member)}", _what(job), priority, need))
    return waiters


def _tell(pool: PoolRecord, holders: Sequence[_Holder], waiters: Sequence[_Waiter]) -> None:
    from seatline.console.output import Column, local, show  # noqa: PLC0415 - `seatline --help` stays fast

    click.echo(
        f"pool {pool.name}: {pool.in_use} of {pool.capacity} seats in use, {pool.free} free, {len(waiters)} waiting"
    )
    if pool.external_until:
        click.echo(f"  {pool.external} used outside, told until {local(pool.external_until)}")
    if pool.refused_until:
        click.echo(f"  the licence server refused: nobody new gets in until {local(pool.refused_until)}")
    if pool.keep:
        click.echo(f"  the last {pool.keep} are kept for priority {pool.keep_priority} and more urgent")
    if pool.in_use > pool.capacity:
        click.echo("  more are held than there are: nobody new gets in until it fits")
    holding: list[Column[_Holder]] = [
        Column("HOLDER", lambda one: one.who),
        Column("SEATS", lambda one: str(one.seats), right=True),
        Column("WHERE", lambda one: one.where),
        Column("SINCE", lambda one: local(one.since)),
        Column("UNTIL", lambda one: local(one.until)),
        Column("WHAT", lambda one: one.what, cuts=True),
    ]
    waiting: list[Column[_Waiter]] = [
        Column("PLACE", lambda one: str(one.place), right=True),
        Column("WAITER", lambda one: one.who),
        Column("PRIORITY", lambda one: str(one.priority), right=True),
        Column("SEATS", lambda one: "-" if one.seats is None else str(one.seats), right=True),
        Column("WHAT", lambda one: one.what, cuts=True),
    ]
    if holders:
        click.echo("")
        show(holders, "table", holding, _data)
    if waiters:
        click.echo("")
        show(waiters, "table", waiting, _data)
