"""Acting on many jobs or orders: by their ids, or on all that match up to a moment fixed at the start (Q22).

Those that match are found first, all of them; then their number is said; then, if somebody agrees, each is acted on once.
What begins to match later is left alone, and so is what has moved on by the time its turn comes; the last line says what
became of those. Stopped in the middle, it says how far it came; the same command again finds what is left.

What differs between jobs and orders is a :class:`Kind`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from seatline.console.bar import Bar
from seatline.console.target import Target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.producer import Acted, Queue

__all__ = ["Act", "Kind", "act_on", "choosing", "left_told"]

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H")
S = TypeVar("S", bound=Sized)
SHOWN = 10
#: Rates of shorter acts tell nothing.
WORTH_A_RATE = 1.0
#: Why something was refused that still was as it was chosen: that is worth an exit code.
REFUSED = frozenset({"order", "duplicate", "refused"})


@dataclass(frozen=True, slots=True)
class Kind(Generic[H, S]):
    """What is acted on.

    Attributes:
        noun: ``job`` or ``order``.
        filters: its options beside those of all kinds, and the preposition by which each is said.
        read_id: reads an id as people type it.
        shown: writes it so.
        handle: of one of them.
        look: finds all that match: states, filters by name, who is told how many there are so far.
        some: the first ids of what was found.

    """

    noun: str
    filters: dict[str, str]
    read_id: Callable[[str], str]
    shown: Callable[[str], str]
    handle: Callable[[Queue, str], H]
    look: Callable[[Queue, Sequence[str], dict[str, Any], Callable[[int], None]], S]
    some: Callable[[S, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Act(Generic[H, S]):
    """What is done: to one (returns what is said of it), and to all that were found; ``told`` sums that up.

    ``states``: those of ``--all`` unless ``--state`` says others; none: it must say. ``never``: states in which it cannot be
    done, and why.
    """

    one: Callable[[H], str]
    all: Callable[[S, Callable[[Acted], None]], Acted]
    told: Callable[[Acted], str]
    states: Sequence[str]
    never: Mapping[str, str] = field(default_factory=dict[str, str])


def choosing(noun: str, *states: str, filters: Sequence[Callable[[Any], Any]] = ()) -> Callable[[F], F]:
    """Give a command its ids, or the filters in their place; ``filters`` are those of this kind alone."""
    told = " or ".join(states) or "must be given"
    before = (
        click.argument("ids", metavar="[ID...]", nargs=-1),
        click.option("--all", "everything", is_flag=True, help=f"All {noun}s of the state, instead of ids."),
        click.option(
            "--state", "states", multiple=True, metavar="STATE", help=f"All of this state.  [default: {told}]"
        ),
    )
    behind = (
        click.option("--error", metavar="TEXT", help="All whose last error has this text in its kind or message."),
        click.option(
            "--older-than",
            metavar="TIME",
            callback=_older_than,
            help="All that ended, or if they have not were accepted, longer ago than that: 2d, 12h, 30m.",
        ),
        click.option("--dry-run", is_flag=True, help="Say how many match, and stop."),
        click.option("--yes", is_flag=True, help="Do not ask."),
    )

    def declare(function: F) -> F:
        for option in reversed((*before, *filters, *behind)):
            function = option(function)
        return function

    return declare


def _older_than(context: click.Context, param: click.Parameter, value: str | None) -> float | None:
    del context, param
    return None if value is None else duration(value)


def act_on(
    target: Target,
    kind: Kind[H, S],
    act: Act[H, S],
    *,
    ids: Iterable[str],
    everything: bool,
    states: Sequence[str],
    dry_run: bool,
    yes: bool,
    **filters: Any,
) -> None:
    """Do it to each that was named, one line each, or to all that match; a refusal does not keep the others from it."""
    known = [kind.read_id(text) for text in ids]  # all are read before the first is touched
    context = click.get_current_context()
    said = {name: value for name, value in filters.items() if value is not None}
    many = bool(everything or states or said)
    if known and (many or dry_run or yes):
        words = "--all, --dry-run, --yes and filters such as --state"
        raise click.UsageError(f"{words} go without ids: give one or the other.", context)
    if not known and not many:
        raise click.UsageError(f"give {kind.noun} ids, or filters such as --state, or --all.", context)
    with target.queue() as queue:
        if known:
            refused = _one_by_one(queue, kind, act, known)
        else:
            chosen = tuple(states) or tuple(act.states)
            if not chosen:
                raise click.UsageError("it needs a --state here: what it forgets cannot be had back.", context)
            for state in chosen:
                if state in act.never:
                    raise click.UsageError(f"--state {state}: {act.never[state]}", context)
            refused = _all(queue, kind, act, chosen, said, dry_run=dry_run, yes=yes)
    if refused:
        context.exit(1)


def _one_by_one(queue: Queue, kind: Kind[H, S], act: Act[H, S], known: Sequence[str]) -> bool:
    from seatline.shared.errors import Refused  # noqa: PLC0415 - `seatline --help` stays fast

    refused = False
    for each in known:
        try:
            said = act.one(kind.handle(queue, each))
        except Refused as error:
            click.echo(f"seatline: {error}", err=True)
            refused = True
            continue
        click.echo(f"{kind.noun} {kind.shown(each)} {said}")
    return refused


def _all(
    queue: Queue,
    kind: Kind[H, S],
    act: Act[H, S],
    states: Sequence[str],
    said: dict[str, Any],
    *,
    dry_run: bool,
    yes: bool,
) -> bool:
    with Bar("looking", None) as bar:
        found = kind.look(queue, states, said, bar.show)
    click.echo(_count(queue, kind, found, states, said))
    if dry_run or not len(found) or not _agreed(yes=yes):
        return False
    acted = _acted(kind, act, found)
    return any(acted.left[reason] for reason in REFUSED)


def _count(queue: Queue, kind: Kind[H, S], found: S, states: Sequence[str], said: dict[str, Any]) -> str:
    """Say how many there are, of what, and the first of them."""
    from seatline.console.output import clean, span  # noqa: PLC0415 - `seatline --help` stays fast

    count = len(found)
    words = [f"{count:,} {' or '.join(states)} {kind.noun}{'' if count == 1 else 's'}"]
    words += [f"{word} {said[name]}" for name, word in kind.filters.items() if name in said]
    if queue.settings.tenant is not None:
        words.append(f"of tenant {queue.settings.tenant}")
    if "error" in said:
        words.append(f"with {clean(said['error'])!r} in the error")
    if "older_than" in said:
        words.append(f"older than {span(said['older_than'])}")
    some = ", ".join(map(kind.shown, kind.some(found, SHOWN)))
    return " ".join(words) + (f": {some}{', ...' if count > SHOWN else ''}" if count else "")


def _agreed(*, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(
            "it asks before it acts on many; where nobody can answer, add --yes.", click.get_current_context()
        )
    return click.confirm("Go on?")


def _acted(kind: Kind[H, S], act: Act[H, S], found: S) -> Acted:
    """Do it, and say what came of it, also if it is stopped in the middle."""
    so_far: list[Acted] = []
    began = time.monotonic()
    with Bar("done", len(found)) as bar:

        def note(acted: Acted) -> None:
            so_far[:] = [acted]
            bar.show(acted.done.total() + acted.left.total())

        try:
            acted = act.all(found, note)
        except BaseException:
            bar.close()
            done = act.told(so_far[0]) if so_far else "nothing is known to be done"
            click.echo(
                f"seatline: stopped: {done}, of {len(found):,}; perhaps a few more. The same command again goes on with "
                f"those that still match.",
                err=True,
            )
            raise
    took = time.monotonic() - began
    rate = f" in {took:.0f}s ({len(found) / took:,.0f}/s)" if took >= WORTH_A_RATE else ""
    left = left_told(kind.noun, acted)
    click.echo(f"{act.told(acted)}{rate}{f'; left alone: {left}' if left else ''}")
    return acted


def left_told(noun: str, acted: Acted) -> str:
    """Say what became of those that were left alone."""
    left = dict(acted.left)
    words: list[str] = []
    for reason, is_so, are_so in (
        ("missing", "is no longer there", "are no longer there"),
        ("running", "runs by now", "run by now"),
        ("ready", "waits by now", "wait by now"),
        ("waiting", "waits by now", "wait by now"),
        ("scheduled", "is scheduled by now", "are scheduled by now"),
        ("suspended", "is suspended by now", "are suspended by now"),
        ("order", "is a step of an order", "are steps of orders"),
        ("duplicate", f"has a key that another {noun} has by now", f"have keys that other {noun}s have by now"),
        ("refused", "was refused", "were refused"),
    ):
        count = left.pop(reason, 0)
        if count:
            example = f" (such as {noun} {acted.examples[reason].lstrip('0')})" if reason in acted.examples else ""
            words.append(f"{count:,} {is_so if count == 1 else are_so}{example if reason in REFUSED else ''}")
    if left:
        which = ", ".join(f"{count:,} {state}" for state, count in left.items())
        words.insert(0, f"{sum(left.values()):,} had ended meanwhile ({which})")
    return ", ".join(words)
