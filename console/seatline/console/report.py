"""``seatline report``: what ran, failed and waited in a period, and which seats it took (H1)."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target
from seatline.console.values import moment_or_duration
from seatline.shared.keys import STATES

if TYPE_CHECKING:
    from seatline.producer import Report, TypeReport

__all__ = ["HEADINGS", "ended_shown", "gone_shown", "report", "seat_hours", "table_of_types"]

HOUR_MS = 3_600_000
HEADINGS = (
    "TYPE",
    "SUCCEEDED",
    "FAILED",
    "OTHER",
    "RUNS",
    "RAN",
    "AT MOST",
    "WAITED",
    "AT MOST",
    "SEAT-HOURS",
    "WAITING",
)


@click.command(cls=Command, epilog="Example: seatline report --since 24h --html /srv/www/farm.html")
@click.option("--since", default="24h", show_default=True, metavar="TIME", help="From then on: 24h, 7d, or a moment.")
@click.option("--until", metavar="TIME", help="Until then, likewise.  [default: now]")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one HTML file instead.")
@pass_target
def report(target: Target, *, since: str, until: str | None, output: str, html: Path | None) -> None:
    """Say what ran, failed and waited, and how many seat-hours it took.

    A job belongs to the period in which it ended, with all its runs. Seat-hours are seats times the time from reservation to
    report. RAN and WAITED are means, of runs and of jobs before their last run; WAITING counts now.
    """
    from seatline.console.output import plain_data  # noqa: PLC0415 - `seatline --help` stays fast

    now = time.time()
    with target.queue() as queue:
        found = queue.report(_moment("--since", since, now), None if until is None else _moment("--until", until, now))
        name = queue.settings.namespace
    if html is not None:
        from seatline.console.report_page import page  # noqa: PLC0415 - `seatline --help` stays fast

        _write(html, page(found, name))
        click.echo(f"wrote {html}")
    elif output == "json":
        click.echo(json.dumps(plain_data(_data(found, name)), indent=2, ensure_ascii=False))
    else:
        _print(found, name)


def _moment(option: str, said: str, now: float) -> float | dt.datetime:
    found = moment_or_duration(said)
    if isinstance(found, dt.datetime):
        return found
    if found > now:
        raise click.UsageError(f"{option}: {said} ago was before 1970")
    return now - found


def _write(path: Path, text: str) -> None:
    """Whoever reads the file meanwhile sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, "utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _print(found: Report, name: str) -> None:
    from seatline.console.output import Column, local, show, span  # noqa: PLC0415 - `seatline --help` stays fast

    click.echo(f"Namespace {name}, {local(found.since)} to {local(found.until)} ({span(found.period_ms / 1000)})")
    click.echo(f"{ended_shown(found)}. Now {found.running:,} running, {found.scheduled:,} scheduled.")
    for line in gone_shown(found):
        click.echo(line)

    def say(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
        columns: list[Column[Sequence[str]]] = [
            Column(heading, itemgetter(at), right=at >= left) for at, heading in enumerate(headings)
        ]
        if rows:
            click.echo(f"\n{title}")
            show(rows, "table", columns, lambda _: {})

    say("Types", HEADINGS, [*table_of_types(found)], 1)
    pools = [
        (each.pool, seat_hours(each.seat_ms), "-" if each.capacity is None else f"{each.capacity:,}", _share(found, at))
        for at, each in enumerate(found.pools)
    ]
    say("Pools", ("POOL", "SEAT-HOURS", "CAPACITY", "SHARE"), pools, 1)
    failures = [(each.type, each.message, f"{each.count:,}", str(int(each.example))) for each in found.failures]
    say("Failures", ("TYPE", "MESSAGE", "COUNT", "EXAMPLE"), failures, 2)


def _share(found: Report, at: int) -> str:
    share = found.pools[at].share(found.period_ms)
    return "-" if share is None else f"{100 * share:.1f} %"


def seat_hours(seat_ms: int) -> str:
    """Return seats times ms as seat-hours."""
    return f"{seat_ms / HOUR_MS:,.3f}"


def ended_shown(found: Report) -> str:
    """Say how many jobs and orders ended, and how."""

    def shown(noun: str, counts: dict[str, int]) -> str:
        total = sum(counts.values())
        kinds = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
        return f"{total:,} {noun}{'' if total == 1 else 's'} ended" + (f" ({kinds})" if kinds else "")

    orders = f"; {shown('order', found.orders)}" if any(found.orders.values()) else ""
    jobs = {state: found.ended[state] for state in STATES}
    return shown("job", jobs) + orders


def gone_shown(found: Report) -> Iterator[str]:
    """Say what is missing."""
    from seatline.console.output import local  # noqa: PLC0415 - `seatline --help` stays fast

    if found.gone:
        ends = ", ".join(f"{state} up to {local(moment)}" for state, moment in sorted(found.gone.items()))
        yield f"Not counted: jobs of this period that retention has trimmed: {ends}. `seatline jobs keep` keeps more."


def table_of_types(found: Report) -> Iterator[list[str]]:
    """Yield a row a type, in the order of :data:`HEADINGS`."""
    from seatline.console.output import span  # noqa: PLC0415 - `seatline --help` stays fast

    def mean(total: int, count: int) -> str:
        return span(total / count / 1000) if count else "-"

    for each in found.types:
        other = each.ended.total() - each.ended["succeeded"] - each.ended["failed"]
        yield [
            each.type, f"{each.ended['succeeded']:,}", f"{each.ended['failed']:,}", f"{other:,}", f"{each.runs:,}",
            mean(each.ran_ms, each.runs), mean(each.ran_most_ms, bool(each.runs)),
            mean(each.waited_ms, each.started), mean(each.waited_most_ms, bool(each.started)),
            _seats(each), f"{each.waiting:,}",
        ]  # fmt: skip


def _seats(each: TypeReport) -> str:
    return ", ".join(f"{pool} {seat_hours(ms)}" for pool, ms in sorted(each.seat_ms.items())) or "-"


def _data(found: Report, name: str) -> dict[str, Any]:
    return {
        "namespace": name,
        "since": found.since,
        "until": found.until,
        "ended": found.ended,
        "orders": found.orders,
        "running": found.running,
        "scheduled": found.scheduled,
        "types": [
            {
                "type": each.type,
                "ended": each.ended,
                "runs": each.runs,
                "ran_seconds": each.ran_ms / 1000,
                "ran_most_seconds": each.ran_most_ms / 1000,
                "started": each.started,
                "waited_seconds": each.waited_ms / 1000,
                "waited_most_seconds": each.waited_most_ms / 1000,
                "seat_hours": {pool: ms / HOUR_MS for pool, ms in each.seat_ms.items()},
                "waiting": each.waiting,
            }
            for each in found.types
        ],
        "pools": [
            {
                "pool": each.pool,
                "seat_hours": each.seat_ms / HOUR_MS,
                "capacity": each.capacity,
                "share": each.share(found.period_ms),
            }
            for each in found.pools
        ],
        "failures": [
            {"type": each.type, "message": each.message, "count": each.count, "example": each.example}
            for each in found.failures
        ],
        "trimmed_until": found.gone,
        "removed_ever": found.removed,
    }
