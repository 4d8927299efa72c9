"""``seatline workers``: who runs jobs, and who was lost."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Group, output_option
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.shared.calls.reads import WorkerRecord
    from seatline.shared.store import Store

__all__ = ["workers"]


@click.group(cls=Group, epilog="Example: seatline workers list")
def workers() -> None:
    """Show the workers."""


@dataclass(frozen=True, slots=True)
class _Row:
    worker: WorkerRecord
    until: dt.datetime
    now: dt.datetime
    busy: int

    @property
    def state(self) -> str:
        """awake, stopping, ... as it said itself; lost: it went without a word and its presence has expired."""
        return self.get("state", "awake") if self.worker.live else "lost"

    def get(self, name: str, default: str = "-") -> str:
        """A field of its record."""
        return self.worker.fields.get(name, default)

    def seen(self) -> str:
        """How long ago it was heard of."""
        from seatline.console.output import span  # noqa: PLC0415 - beside its only use

        if self.worker.last_seen:
            return f"{span((self.now - self.worker.last_seen).total_seconds())} ago"
        return f"over {span((self.now - self.until).total_seconds())} ago"


@workers.command("list", epilog="Example: seatline workers list -o json")
@output_option
@pass_target
def list_workers(target: Target, output: str) -> None:
    """List the workers that are there, and those lost in the last day.

    A worker is lost when it went without a word and its presence has expired; its jobs run again or wait as
    interrupted, as their types say.
    """
    from seatline.console.output import Column, show  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls import reads  # noqa: PLC0415 - as above

    columns: list[Column[_Row]] = [
        Column("ID", lambda row: row.worker.id),
        Column("HOST", lambda row: row.get("host")),
        Column("PID", lambda row: row.get("pid"), right=True),
        Column("STATE", lambda row: row.state),
        Column("SLOTS", lambda row: row.get("slots"), right=True),
        Column("BUSY", lambda row: str(row.busy), right=True),
        Column("DONE", lambda row: row.get("done", "0") if row.worker.live else "-", right=True),
        Column("LAST SEEN", lambda row: row.seen(), right=True),
        Column("TYPES", lambda row: ", ".join(row.worker.types), cuts=True),
    ]
    with target.queue() as queue:
        store, keys = queue.store, queue.store.keys
        listed = store.read(reads.page(keys, "workers", 0, 10_000))
        offers = store.read(reads.name_set(keys, "offers"))
        records = store.read(reads.worker_records(keys, [worker for worker, _ in listed], offers))
        busy = _busy(store)
        now = dt.datetime.fromtimestamp(store.read(reads.server_time()) / 1000, dt.UTC)
    rows = [
        _Row(record, dt.datetime.fromtimestamp(until / 1000, dt.UTC), now, busy[record.id])
        for record, (_, until) in zip(records, listed, strict=True)
    ]
    rows.sort(key=lambda row: (not row.worker.live, row.get("host"), row.worker.id))
    show(rows, output, columns, _data)
    if not rows and output == "table":
        click.echo("No workers. `seatline worker MODULE:HANDLERS` starts one.", err=True)


def _busy(store: Store) -> Counter[str]:
    """Count the running jobs of each worker: what workers say of themselves is as old as their last renewal."""
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.base import Command, Read, text  # noqa: PLC0415 - as above

    running = store.read(reads.page(store.keys, "running", 0, 10_000))
    looks: list[Command] = [("HGET", store.keys.job(job_id), "worker") for job_id, _ in running]
    if not looks:
        return Counter()
    return store.read(Read(looks, lambda replies: Counter(text(worker) for worker in replies if worker)))


def _data(row: _Row) -> dict[str, Any]:
    def number(name: str) -> int | None:
        value = row.get(name, "")
        return int(value) if value.isdigit() else None

    started = number("started")
    return {
        "id": row.worker.id,
        "state": row.state,
        "host": row.worker.fields.get("host"),
        "pid": number("pid"),
        "slots": number("slots"),
        "busy": row.busy,
        "done": number("done"),
        "failed": number("failed"),
        "types": row.worker.types,
        "started": None if started is None else dt.datetime.fromtimestamp(started / 1000, dt.UTC),
        "last_seen": row.worker.last_seen,
        "version": row.worker.fields.get("version"),
        "python": row.worker.fields.get("python"),
    }
