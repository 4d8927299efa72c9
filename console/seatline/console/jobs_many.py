"""Acting on many jobs: by their ids, or on all that match up to a moment fixed at the start (Q22).

The jobs are found first, all of them, page by page; then their number is said; then, if somebody agrees, each is acted on
once. What begins to match later (a job that was resubmitted and failed again, one that has just been enqueued) is left
alone. A job that has moved on meanwhile refuses for itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatline.console.bar import Bar
from seatline.console.target import Target

if TYPE_CHECKING:
    from seatline.producer import JobHandle, Queue

__all__ = ["act_on", "which"]

F = TypeVar("F", bound=Callable[..., Any])
SHOWN = 10


def which(*states: str) -> Callable[[F], F]:
    """Give a command its ids, or ``--all`` with filters; ``states``: those of ``--all`` unless ``--state`` says others."""
    told = " or ".join(states) or "must be given"

    def declare(function: F) -> F:
        for option in reversed(
            (
                click.argument("ids", metavar="[ID...]", nargs=-1),
                click.option("--all", "everything", is_flag=True, help="All that match, instead of ids."),
                click.option(
                    "--state", "states", multiple=True, metavar="STATE", help=f"With --all.  [default: {told}]"
                ),
                click.option("--type", "type_", metavar="TYPE", help="With --all: of this type."),
                click.option("--tag", metavar="NAME", help="All of this tag, such as load:ID, instead of ids."),
                click.option("--dry-run", is_flag=True, help="With --all or --tag: say how many match, and stop."),
                click.option("--yes", is_flag=True, help="With --all or --tag: do not ask."),
            )
        ):
            function = option(function)
        return function

    return declare


def act_on(
    target: Target,
    act: Callable[[JobHandle], str],
    default_states: Sequence[str],
    *,
    ids: Iterable[str],
    everything: bool,
    states: Sequence[str],
    type_: str | None,
    tag: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Do it to each job, one line a job, or a sum for ``--all``; a refusal does not keep the others from it."""
    from seatline.shared.job import job_id  # noqa: PLC0415 - `seatline --help` stays fast

    known = [job_id(text) for text in ids]  # all are read before the first is touched
    context = click.get_current_context()
    everything = everything or tag is not None
    if bool(known) == everything:
        raise click.UsageError("give job ids, or --all with filters, or --tag: one of them.", context)
    if not everything and (states or type_ or dry_run or yes):
        raise click.UsageError("--state, --type, --dry-run and --yes go with --all or --tag.", context)
    with target.queue() as queue:
        if everything:
            chosen = states or default_states
            if not chosen:
                raise click.UsageError("--all needs a --state here: what it forgets cannot be had back.", context)
            known = list(_matching(queue, chosen, type_, target.tenant, tag))
            if not _agreed(known, " or ".join(chosen), type_, tag, dry_run=dry_run, yes=yes):
                return
        refused = _act(queue, known, act, one_by_one=not everything)
    if refused:
        context.exit(1)


def _matching(
    queue: Queue, states: Sequence[str], type_: str | None, tenant: str | None, tag: str | None
) -> Iterator[str]:
    for state in states:
        for record in queue.jobs(state=state, type=type_, tenant=tenant, tag=tag):
            yield record.id


def _agreed(known: Sequence[str], states: str, type_: str | None, tag: str | None, *, dry_run: bool, yes: bool) -> bool:
    """Say how many, and ask."""
    of_type = (f" of type {type_}" if type_ else "") + (f" of {tag}" if tag else "")
    some = ", ".join(str(int(each)) for each in known[:SHOWN])
    which_ones = f": {some}{', ...' if len(known) > SHOWN else ''}" if known else ""
    click.echo(f"{len(known):,} {states} jobs{of_type}{which_ones}")
    if dry_run or not known:
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(
            "--all asks before it acts; where nobody can answer, add --yes.", click.get_current_context()
        )
    return click.confirm("Go on?")


def _act(queue: Queue, known: Sequence[str], act: Callable[[JobHandle], str], *, one_by_one: bool) -> bool:
    from seatline.shared.errors import Refused  # noqa: PLC0415 - `seatline --help` stays fast

    done = 0
    with nullcontext() if one_by_one else Bar("done", len(known)) as bar:
        for each in known:
            if bar:
                bar.show(done)
            try:
                said = act(queue.handle(each))
            except Refused as error:
                click.echo(f"seatline: {error}", err=True)
                continue
            done += 1
            if one_by_one:
                click.echo(f"job {int(each)} {said}")
    if not one_by_one:
        click.echo(f"{done:,} of {len(known):,} done")
    return done < len(known)
