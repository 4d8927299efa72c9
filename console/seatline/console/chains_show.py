"""``seatline chains show``: a chain as it is drawn, what each step says, and who stands in front of it."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import ChainRecord, PlanStep
    from seatline.shared.store import Store

__all__ = ["Seen", "mark_data", "mark_shown", "show_chain", "state_of"]

#: Columns of what a step says, at least, before it is wrapped on a terminal.
_LEAST = 30


@dataclass(frozen=True, slots=True)
class Seen:
    """A chain, and how many orders stand in front of each of its steps."""

    chain: ChainRecord
    held: Mapping[str, int]

    @classmethod
    def of(cls, store: Store, chains: Sequence[ChainRecord]) -> list[Seen]:
        """Count for these chains."""
        from seatline.shared.calls.base import Read  # noqa: PLC0415 - `seatline --help` stays fast

        places = [(chain.name, step) for chain in chains for step in _steps_of(chain)]
        keys = [store.keys.chain(name, f"held:{step}") for name, step in places]
        counts: list[int] = (
            store.read(Read([("ZCARD", key) for key in keys], lambda r: list(map(int, r)))) if keys else []
        )
        held = {place: count for place, count in zip(places, counts, strict=True) if count}
        return [
            cls(chain, {step: count for (name, step), count in held.items() if name == chain.name}) for chain in chains
        ]

    def data(self) -> dict[str, Any]:
        """Return it for JSON, but for its steps."""
        chain = self.chain
        return {
            "name": chain.name,
            "version": chain.version,
            "state": state_of(chain),
            "title": chain.title,
            "max_orders": chain.max_orders,
            "stopped": mark_data(chain.stopped),
            "stops": {step: mark_data(mark) for step, mark in chain.stops.items()},
            "skips": {step: mark_data(mark) for step, mark in chain.skips.items()},
            "started": chain.started,
            "waiting": chain.waiting,
            "held": self.held,
        }


def _steps_of(chain: ChainRecord) -> list[str]:
    """Return the steps in front of which orders may stand: also those of an older version, if they are stopped."""
    from seatline.producer import Plan  # noqa: PLC0415 - `seatline --help` stays fast

    newest = [step.name for step in chain.plan.steps] if isinstance(chain.plan, Plan) else []
    return list(dict.fromkeys([*newest, *chain.stops]))


def state_of(chain: ChainRecord) -> str:
    """Say in a word whether orders may enter."""
    if chain.stopped:
        return "stopped"
    return "full" if chain.max_orders is not None and chain.started >= chain.max_orders else "active"


def _mark(mark: str) -> tuple[dt.datetime | None, str]:
    """Read ``<epoch ms> <who>``, as gates keep since when and by whom."""
    ms, _, by = mark.partition(" ")
    return (dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC), by) if ms.isdigit() else (None, mark)


def mark_shown(mark: str) -> str:
    """Say since when, and by whom."""
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast

    since, by = _mark(mark)
    return f"since {local(since)} by {by}"


def mark_data(mark: str | None) -> dict[str, Any] | None:
    """Return since when and by whom, for JSON."""
    if mark is None:
        return None
    since, by = _mark(mark)
    return {"since": since, "by": by}


@click.command("show", cls=Command, epilog="Example: seatline chains show release")
@click.argument("name", metavar="NAME")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def show_chain(target: Target, name: str, *, output: str) -> None:
    """Draw a chain: its steps in their order, and what each says.

    Branches that run side by side stand beneath the step that they come after. A step that is aside is entered by an error,
    a code or Goto only.
    """
    from seatline.console.output import clean, plain_data  # noqa: PLC0415 - `seatline --help` stays fast

    with target.queue() as queue:
        chain = queue.chains[name]
        (seen,) = Seen.of(queue.store, [chain])
    if output == "json":
        click.echo(json.dumps(plain_data(_data(seen)), indent=2, ensure_ascii=False))
        return
    for number, line in enumerate([*_header(seen), "", *_drawing(seen)]):
        click.echo(clean(line) if number else click.style(clean(line), bold=True))


def _header(seen: Seen) -> Iterator[str]:
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer import Plan  # noqa: PLC0415 - as above

    chain = seen.chain
    yield f"Chain {chain.name}  version {chain.version}  {state_of(chain)}"
    if chain.title:
        yield f"  title    {chain.title}"
    most = f" of at most {chain.max_orders:,}" if chain.max_orders else ""
    yield f"  orders   {chain.started:,} started{most}, {chain.waiting:,} waiting, {sum(seen.held.values()):,} held"
    if isinstance(chain.plan, Plan) and chain.plan.made_ms:
        yield f"  defined  {local(_mark(str(chain.plan.made_ms))[0])} by {chain.plan.by}"
    if chain.stopped:
        yield f"  stopped  {mark_shown(chain.stopped)}"


def _drawing(seen: Seen) -> Iterator[str]:
    from seatline.console.chains_flow import drawn  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.producer import Plan  # noqa: PLC0415 - as above

    plan = seen.chain.plan
    if not isinstance(plan, Plan):
        yield f"  {plan} `seatline chains define` with its file puts it right."
        return
    rows = [(str(each), each.step.type, [*_gates(seen, each.step.name), *_says(each.step)]) for each in drawn(plan)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    room = _room(sum(widths) + 6)
    for name, type_, says in rows:
        first, *others = textwrap.wrap("; ".join(says), room) or [""]
        yield f"  {name:<{widths[0]}}  {type_:<{widths[1]}}  {first}".rstrip()
        below = re.sub(r"[^|]", " ", name)
        yield from (f"  {below:<{widths[0]}}  {'':<{widths[1]}}  {line}" for line in others)
    gone = [step for step in seen.chain.stops if step not in plan]
    yield from (f"  {step}  is no step of it any more; {', '.join(_gates(seen, step))}" for step in gone)


def _room(taken: int) -> int:
    """Return in how many columns to wrap: in a pipe nothing is."""
    if not sys.stdout.isatty():
        return 1_000_000
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    return max(_LEAST, Console().width - taken)


def _gates(seen: Seen, step: str) -> Iterator[str]:
    if mark := seen.chain.skips.get(step):
        yield f"SKIPPED {mark_shown(mark)}"
    if mark := seen.chain.stops.get(step):
        yield f"STOPPED {mark_shown(mark)}"
    if count := seen.held.get(step):
        yield f"{count:,} order{'s' if count > 1 else ''} held"


def _says(step: PlanStep) -> Iterator[str]:
    """Say all that is not as usual."""
    from seatline.console.output import span  # noqa: PLC0415 - `seatline --help` stays fast

    if len(step.after) > 1:
        yield f"after {', '.join(step.after)}"
    if step.aside:
        yield f"aside, then {step.then}" if step.then else "aside, then the order ends"
    if step.each:
        item = f", as {step.item}" if step.item not in {None, "item"} else ""
        yield f"for each of {step.each}{item}{', without those that fail' if step.partial == 'join' else ''}"
    if step.on_error == "setback":
        delays = ", ".join(map(span, step.setback))
        most = f", at most {step.setbacks} times" if step.setbacks != len(step.setback) else ""
        yield f"on error: set back {delays}{most}"
    elif step.on_error != "fail":
        yield f"on error: {step.on_error}"
    if step.codes:
        yield "codes: " + ", ".join(f"{code} to {target}" for code, target in step.codes.items())
    if step.priority is not None:
        yield f"priority {step.priority}"
    if step.uses is not None:
        yield f"uses {', '.join(f'{pool}={seats}' for pool, seats in step.uses.items()) or 'no seats'}"
    if step.timeout is not None:
        yield f"timeout {span(step.timeout)}"
    if step.retry is not None:
        yield f"{step.retry.attempts} attempts, {span(step.retry.first)} apart at first"
    if step.if_lost != "rerun":
        yield f"if lost: {step.if_lost}"


def _data(seen: Seen) -> dict[str, Any]:
    from seatline.producer import Plan  # noqa: PLC0415 - `seatline --help` stays fast

    plan = seen.chain.plan
    if not isinstance(plan, Plan):
        return seen.data() | {"unreadable": str(plan)}
    return seen.data() | {
        "defined": mark_data(f"{plan.made_ms} {plan.by}"),
        "first": plan.first,
        "steps": [_step_data(step) for step in plan.steps],
    }


def _step_data(step: PlanStep) -> dict[str, Any]:
    retry = step.retry
    return {
        "name": step.name,
        "type": step.type,
        "after": step.after,
        "next": step.next,
        "aside": step.aside,
        "then": step.then,
        "on_error": step.on_error,
        "setback": step.setback,
        "setbacks": step.setbacks,
        "codes": step.codes,
        "each": step.each,
        "item": step.item,
        "partial": step.partial if step.each else None,
        "priority": step.priority,
        "uses": step.uses,
        "timeout": step.timeout,
        "retry": retry
        and {
            "attempts": retry.attempts,
            "first": retry.first,
            "factor": retry.factor,
            "most": retry.most,
            "jitter": retry.jitter,
        },
        "if_lost": step.if_lost,
    }
