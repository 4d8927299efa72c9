"""``seatline types``: what kinds of jobs there are, who runs them, and their gates."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Group, output_option
from seatline.console.target import Target, pass_target
from seatline.console.types_show import show_type

if TYPE_CHECKING:
    from seatline.producer import Queue
    from seatline.producer.why import Scene
    from seatline.shared.calls.reads import TypeRecord

__all__ = ["types"]

_names = click.argument("names", metavar="[TYPE]...", nargs=-1)
_all = click.option("--all", "every", is_flag=True, help="The whole namespace instead of single types.")


@click.group(cls=Group, epilog="Example: seatline types list")
def types() -> None:
    """List, pause and resume job types."""


types.add_command(show_type)


@dataclass(frozen=True, slots=True)
class _Row:
    """A type with what waits for it."""

    type: TypeRecord
    waiting: int
    oldest: dt.datetime | None
    workers: int
    now: dt.datetime
    opens: dt.datetime | None

    @property
    def flag(self) -> str:
        """One word: what keeps the whole type."""
        if self.type.paused:
            return "paused"
        return "window" if self.opens else "no-worker" if not self.workers else "-"

    def age(self) -> str:
        """Since when its oldest job waits (Q15)."""
        from seatline.console.output import span  # noqa: PLC0415 - beside its only use

        return "-" if self.oldest is None else span((self.now - self.oldest).total_seconds())


@types.command("list", epilog="Example: seatline types list -o json")
@output_option
@pass_target
def list_types(target: Target, output: str) -> None:
    """List all types: what waits, who runs them, whether they are paused.

    FLAG is paused, window (shut until its window opens), no-worker (no live worker supports the type) or -. OLDEST is the
    age of its oldest waiting job.
    """
    from seatline.console.output import Column, show  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.why import Scene  # noqa: PLC0415 - as above

    columns: list[Column[_Row]] = [
        Column("TYPE", lambda row: row.type.name),
        Column("WAITING", lambda row: str(row.waiting), right=True),
        Column("OLDEST", lambda row: row.age(), right=True),
        Column("WORKERS", lambda row: str(row.workers), right=True),
        Column("USES", lambda row: row.type.uses or "-"),
        Column("IF LOST", lambda row: row.type.if_lost or "-"),
        Column("FLAG", lambda row: row.flag),
    ]
    with target.queue() as queue:
        scene = Scene.of(queue.store)
        rows = _rows(queue, scene)
    if any(row.type.window for row in rows):
        columns.insert(-1, Column("WINDOW", lambda row: row.type.window or "-"))
    show(rows, output, columns, _data)
    if output == "table":
        if not rows:
            click.echo("No types yet: the first job of a type, or a worker that supports it, makes one.", err=True)
        for gate, word in (("paused", "paused: no job starts; `seatline types resume --all`"),
                           ("closed", "closed for new jobs; `seatline jobs reopen`")):  # fmt: skip
            if scene.about.get(gate):
                click.echo(f"seatline: namespace {queue.settings.namespace} is {word}", err=True)


def _rows(queue: Queue, scene: Scene) -> list[_Row]:
    from seatline.console.oldest import oldest_of  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls import reads  # noqa: PLC0415 - as above
    from seatline.shared.calls.base import Command, Read  # noqa: PLC0415 - as above

    store, keys = queue.store, queue.store.keys
    live = store.read(reads.page(keys, "workers", 0, 10_000))
    known = store.read(reads.worker_records(keys, [worker for worker, _ in live], []))
    offers = [worker.fields.get("offer") for worker in known if worker.live]
    lines = [(record.name, keys.ready(record.name, uses)) for record in scene.types.values() for uses in record.lines]
    cards: list[Command] = [("ZCARD", line) for _, line in lines]
    counts = store.read(Read(cards, lambda replies: [int(reply) for reply in replies])) if lines else []
    waiting: dict[str, int] = {}
    for (name, _), count in zip(lines, counts, strict=True):
        waiting[name] = waiting.get(name, 0) + count
    oldest = oldest_of(store, [line for (_, line), count in zip(lines, counts, strict=True) if count])
    return [
        _Row(
            record,
            waiting.get(record.name, 0),
            min((oldest[line] for name, line in lines if name == record.name and line in oldest), default=None),
            sum(offer in record.offers for offer in offers),
            scene.now,
            scene.opens(record.name),
        )
        for record in scene.types.values()
    ]


def _data(row: _Row) -> dict[str, Any]:
    return {
        "type": row.type.name,
        "waiting": row.waiting,
        "oldest": row.oldest,
        "workers": row.workers,
        "uses": row.type.uses,
        "if_lost": row.type.if_lost,
        "paused": bool(row.type.paused),
        "window": row.type.window,
        "opens": row.opens,
    }


def _gate(target: Target, names: tuple[str, ...], *, every: bool, pause: bool) -> None:
    if every == bool(names):
        raise click.UsageError("name types, or give --all, not both", click.get_current_context())
    from seatline.shared.calls import reads  # noqa: PLC0415 - `seatline --help` stays fast

    with target.queue() as queue:
        known = queue.store.read(reads.name_set(queue.store.keys, "types")) if names and pause else ()
        for name in names or (None,):
            changed = queue.pause(name) if pause else queue.resume(name)
            what = f"type {name}" if name else f"namespace {queue.settings.namespace}"
            click.echo(f"{what} {_now(pause=pause) if changed else _was(pause=pause)}")
            if name and pause and name not in known:
                click.echo(f"seatline: no such type yet: {name}; it is paused from now on.", err=True)


def _now(*, pause: bool) -> str:
    return "is paused: jobs are accepted, none starts" if pause else "goes on"


def _was(*, pause: bool) -> str:
    return "was paused already" if pause else "was not paused"


@types.command(epilog="Example: seatline types pause drawing.publish")
@_names
@_all
@pass_target
def pause(target: Target, names: tuple[str, ...], *, every: bool) -> None:
    """Accept jobs of these types but start none; running ones go on."""
    _gate(target, names, every=every, pause=True)


@types.command(epilog="Example: seatline types resume --all")
@_names
@_all
@pass_target
def resume(target: Target, names: tuple[str, ...], *, every: bool) -> None:
    """Go on with these types, in order."""
    _gate(target, names, every=every, pause=False)


@types.command(epilog="Example: seatline types window report.heavy 'Mon-Fri 20:00-05:00 Europe/Paris'")
@click.argument("name", metavar="TYPE")
@click.argument("window", metavar="WINDOW|none")
@pass_target
def window(target: Target, name: str, window: str) -> None:
    """Say when jobs of a type may start; none: at any time.

    WINDOW is [DAYS] HH:MM-HH:MM [; ...] ZONE. Outside it the type's jobs wait; running ones go on.
    """
    with target.queue() as queue:
        before = queue.window(name, None if window == "none" else window)
        opens = None if window == "none" else _opens(queue, name)
    if window == "none":
        click.echo(f"type {name} {'may start at any time again' if before else 'had no window'}")
    else:
        click.echo(f"type {name} starts {window}: {opens}")


def _opens(queue: Queue, name: str) -> str:
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer.why import Scene  # noqa: PLC0415 - as above

    opens = Scene.of(queue.store, [name]).opens(name)
    return "it is open now" if opens is None else f"shut until {local(opens)}"
