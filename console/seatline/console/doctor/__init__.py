"""``seatline doctor``: what is wrong with the server and the namespace, what it means, and what mends it.

It reads (``server_look.py``, ``namespace_look.py``), then judges by pure rules (``server_rules.py`` here and in ``shared``,
``namespace_rules.py``; what each finding means stands in ``namespace_kinds.py``), then prints. It runs no script, so a viewer
may; what a login may not see is said and left out. It changes nothing, and reads so much at most whatever the queue's size.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target
from seatline.console.values import duration

if TYPE_CHECKING:
    from seatline.shared.findings import Finding, Kind
    from seatline.shared.store import Store

__all__ = ["doctor", "findings_of", "kinds"]

_COLOURS: Final = {"error": "red", "warning": "yellow", "note": "cyan", "ok": "green"}


def kinds() -> list[Kind]:
    """Return every kind of finding there is, in the order in which they are told."""
    from seatline.console.doctor import namespace_kinds, server_rules  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared import server_rules as start_rules  # noqa: PLC0415 - as above

    return [*start_rules.KINDS, *server_rules.KINDS, *namespace_kinds.KINDS]


def findings_of(store: Store, growth: float = 0.0) -> list[Finding]:
    """Look at a server and a namespace, and return all that is to be said.

    Args:
        store: of the namespace, with ``any_layout``; its login needs to read only.
        growth: look at the memory again after so many seconds; 0: do not.

    Raises:
        SeatlineError: the server cannot be asked.

    """
    from seatline.console.doctor import namespace_kinds, namespace_rules, server_rules  # noqa: PLC0415 - as above
    from seatline.console.doctor.namespace_look import look_at_namespace  # noqa: PLC0415 - as above
    from seatline.console.doctor.server_look import look_at_server, used_memory  # noqa: PLC0415 - as above
    from seatline.shared.errors import NotAllowed, ServerRefused  # noqa: PLC0415 - as above

    began = time.monotonic()
    server = look_at_server(store)
    found = server_rules.judge(server)
    if server.number("loading"):
        return found
    try:
        found += namespace_rules.judge(look_at_namespace(store))
    except NotAllowed as refused:
        found.append(server_rules.RIGHTS.error(f"this login may not read the namespace. {refused}"))
    except ServerRefused as refused:  # such as another kind of value under one of its names
        found.append(namespace_kinds.KEYS.error(f"the namespace cannot be read: {refused}"))
    before = server.number("used_memory")
    if growth and before is not None:
        time.sleep(max(0.0, growth - (time.monotonic() - began)))
        now = used_memory(store)
        if now is not None:
            found += server_rules.grown(server, before, now, time.monotonic() - began)
    return found


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  seatline doctor -n farm
  seatline doctor --fail-on error -o json
  seatline doctor --since-restart
""",
)
@output_option
@click.option("--since-restart", is_flag=True, help="What became of jobs and orders at the last restart of the server.")
@click.option(
    "--growth", type=duration, metavar="DURATION", help="Look at the memory again after so long, such as 10s."
)
@click.option(
    "--fail-on",
    type=click.Choice(["note", "warning", "error", "never"]),
    default="warning",
    show_default=True,
    help="Exit code 1 from this severity on.",
)
@pass_target
def doctor(target: Target, output: str, *, since_restart: bool, growth: float | None, fail_on: str) -> None:
    """Tell what is wrong with the server and the namespace, and what mends it.

    Each finding has a severity: error (broken, or jobs are in danger), warning, note, ok. With -v it also says what each
    means. Changes nothing and needs a viewer's login only; an admin's sees more of the server.

    Exit code 0: nothing is worse than a note (--fail-on says otherwise). 1: something is. 69: no server.
    """
    from seatline.shared.findings import Severity  # noqa: PLC0415 - `seatline --help` stays fast

    context = click.get_current_context()
    if since_restart:
        if growth:
            raise click.UsageError("--growth does not go with --since-restart.", context)
        from seatline.console.orders_restart import show_restart  # noqa: PLC0415 - as above

        well = show_restart(target, 0, output)
        context.exit(0 if well or fail_on in {"error", "never"} else 1)
    found, where = _look(target, growth or 0.0)
    found.sort(key=lambda finding: -finding.severity)
    if output == "table":
        _tell(found, where, means=bool(target.verbose))
    else:
        from seatline.console.output import print_json  # noqa: PLC0415 - as above

        print_json([_data(finding) for finding in found], output)
    worst = max((finding.severity for finding in found), default=Severity.OK)
    limit = 4 if fail_on == "never" else Severity[fail_on.upper()]
    context.exit(1 if worst >= limit else 0)


def _look(target: Target, growth: float) -> tuple[list[Finding], str]:
    from seatline.shared.store import Store  # noqa: PLC0415 - `seatline --help` stays fast

    with target.queue() as queue:  # for its settings; the store below reads whatever layout there is
        store = Store(queue.settings, role="doctor", any_layout=True)
        try:
            return findings_of(store, growth), f"namespace {queue.settings.namespace} at {store.place}"
        finally:
            store.close()


def _tell(found: Sequence[Finding], where: str, *, means: bool) -> None:
    from seatline.console.output import clean  # noqa: PLC0415 - `seatline --help` stays fast

    width = max((len(finding.code) for finding in found), default=0)
    for finding in found:
        word = str(finding.severity)
        shown = click.style(f"{word:<8}", fg=_COLOURS[word])
        click.echo(f"{shown} {finding.code:<{width}}  {clean(finding.said)}")
        indent = " " * (11 + width)
        if means:
            click.echo(f"{indent}{finding.kind.means}")
        if finding.cure:
            click.echo(f"{indent}-> {clean(finding.cure)}")
    counts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for word in ("error", "warning", "note")
        if (count := sum(str(finding.severity) == word for finding in found))
    ]
    click.echo(f"{', '.join(counts) or 'nothing is wrong'}: {where}.", err=True)


def _data(finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding.code,
        "severity": str(finding.severity),
        "said": finding.said,
        "means": finding.kind.means,
        "cure": finding.cure or None,
    }
