"""``seatline verify``: every job is where it says, every seat is held by someone who lives, nothing is lost.

A look is one moment (``moment.py``) judged by pure rules (``invariants.py``). What a look suspects is reported only if
a second one, a moment later, sees it again.
"""

from __future__ import annotations

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target

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
@output_option
@pass_target
def verify(target: Target, output: str) -> None:
    """Check that nothing is lost, doubled or held twice.

    Reads the live key space, changes nothing and may run at any time: conservation of ids (R1), seats and their holders
    (S2), leases, places, keys. Exit code 1 and a list when a rule is broken; please report that as a bug.
    """
    from seatline.console.audit import audit  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.output import print_json  # noqa: PLC0415 - as above

    with target.queue() as queue:
        found = audit(queue.store)
        namespace, place = queue.settings.namespace, queue.store.place
    rows = [{"rule": v.rule, "subject": v.subject, "said": v.said} for v in found.violations]
    if output == "table":
        for violation in found.violations:
            click.echo(str(violation))
        what = f"{len(rows)} rules are broken" if rows else "nothing is wrong"
        click.echo(
            f"{what} in namespace {namespace} at {place}: {found.jobs:,} jobs, {found.keys:,} keys.", err=bool(rows)
        )
    else:
        print_json(rows, output)
    if rows:
        click.get_current_context().exit(1)
