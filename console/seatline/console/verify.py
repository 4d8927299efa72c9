"""``seatline verify``: every job is where it says, every seat is held by someone who lives, nothing is lost.

A look is one moment (``moment.py``) judged by pure rules (``invariants.py``). What a look suspects is reported only if
a second one, a moment later, sees it again. ``--repair`` makes places, seats and counters of the records anew (``repairs.py``).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seatline.console.repairs import Repaired
    from seatline.console.violation import Violation
    from seatline.producer import Queue

__all__ = ["check_namespace", "verify"]


def check_namespace(url: str, namespace: str) -> list[str]:
    """Return a line for each rule that a namespace breaks now; two round trips when nothing is wrong.

    Raises:
        SeatlineError: the server cannot be asked.

    """
    from seatline.console.audit import audit  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.config import Settings  # noqa: PLC0415 - as above
    from seatline.shared.store import Store  # noqa: PLC0415 - as above

    store = Store(Settings(url=url, namespace=namespace, deadline=3.0), role="verify")
    try:
        return [str(violation) for violation in audit(store).violations]
    finally:
        store.close()


@click.command(cls=Command, epilog="Example: seatline verify -n farm && echo all is well")
@click.option("--repair", is_flag=True, help="Make places, seats and counters of the records anew; asks first.")
@click.option("--dry-run", is_flag=True, help="With --repair: say what it would do, and stop.")
@click.option("--yes", is_flag=True, help="With --repair: do not ask.")
@output_option
@pass_target
def verify(target: Target, output: str, *, repair: bool, dry_run: bool, yes: bool) -> None:
    """Check that nothing is lost, doubled or held twice.

    Reads the live key space, changes nothing and may run at any time: conservation of ids (R1), seats and their holders
    (S2), leases, places, keys. Exit code 1 and a list when a rule is broken; please report that as a bug.

    With --repair, an admin's: what follows from the records of jobs and orders (places, seats, counters, lists) is made of them
    anew, while work goes on. No record is invented: of what is lost it says what you can do.
    """
    from seatline.console.audit import audit  # noqa: PLC0415 - `seatline --help` stays fast

    context = click.get_current_context()
    if (dry_run or yes) and not repair:
        raise click.UsageError("--dry-run and --yes go with --repair.", context)
    with target.queue() as queue:
        found = audit(queue.store)
        where = f"in namespace {queue.settings.namespace} at {queue.store.place}"
        if repair and found.violations:
            left = _repair(queue, found.violations, output, dry_run=dry_run, yes=yes)
        else:
            left = len(found.violations)
            _tell(found.violations, output)
    if output == "table":
        what = f"{left} rules are broken" if left else "nothing is wrong"
        size = f": {found.jobs:,} jobs, {found.keys:,} keys" if not repair or not found.violations else ""
        click.echo(f"{what} {where}{size}.", err=bool(left))
    if left:
        context.exit(1)


def _tell(violations: Sequence[Violation], output: str) -> None:
    from seatline.console.output import clean, print_json  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.repairs import shown  # noqa: PLC0415 - as above

    if output == "table":
        for line in shown(violations, lambda violation: clean(str(violation))):
            click.echo(line)
        if violations:
            click.echo("seatline: `seatline verify --repair --dry-run` says what can be put right, and how.", err=True)
    else:
        print_json([_data(violation) for violation in violations], output)


def _data(violation: Violation, outcome: str | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"rule": violation.rule, "subject": violation.subject, "said": violation.said}
    told |= {"repair": violation.mend.says if violation.mend else None, "advice": violation.advice or None}
    return told | ({"outcome": outcome} if outcome else {})


def _repair(queue: Queue, violations: Sequence[Violation], output: str, *, dry_run: bool, yes: bool) -> int:
    """Say what can be put right, ask, do it; returns how many rules are broken then."""
    from seatline.console.output import print_json  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.repairs import repair_all  # noqa: PLC0415 - as above

    plain, mends = output == "table", [violation for violation in violations if violation.mend]
    if plain:
        _plan(violations)
    if dry_run or not mends:
        if not plain:
            print_json([_data(each, "planned" if each.mend else "cannot") for each in violations], output)
        return len(violations)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "it asks before it writes; where nobody can answer, add --yes, or --dry-run to see what it would do.",
                click.get_current_context(),
            )
        if not click.confirm("Go on?", err=not plain):
            return len(violations)
    outcome = repair_all(queue.store, violations, queue.by, _plan if plain else lambda _: None)
    if plain:
        _sum_up(outcome)
    else:
        rows = [_data(each, "repaired") for each in outcome.done]
        print_json([*rows, *(_data(each, "left" if each.mend else "cannot") for each in outcome.left)], output)
    return len(outcome.left)


def _plan(violations: Sequence[Violation]) -> None:
    """Tell of each violation what repair does about it, or what a person can do."""
    from seatline.console.output import clean  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.repairs import is_count, now_or_last, shown  # noqa: PLC0415 - as above

    first = now_or_last(violations)

    def line(violation: Violation) -> str:
        if violation.mend and is_count(violation) and violation not in first:
            return f"{clean(str(violation))}\n  repair: it is counted again when the rest is done"
        if violation.mend:
            lost = f" ({violation.advice})" if violation.advice and "lost" in violation.advice else ""
            return f"{clean(str(violation))}\n  repair: {clean(violation.mend.says + lost)}"
        return (
            f"{clean(str(violation))}\n  cannot be repaired: {clean(violation.advice or 'please report it as a bug')}"
        )

    for text in shown(violations, line):
        click.echo(text)


def _sum_up(outcome: Repaired) -> None:
    late = f"; {outcome.late:,} had changed meanwhile" if outcome.late else ""
    click.echo(f"{len(outcome.done):,} repaired{late}")
    if outcome.left:
        click.echo("left:")
        _plan(outcome.left)
