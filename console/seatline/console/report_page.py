"""The report as one HTML file: no script, nothing loaded from elsewhere, every word of others escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from seatline.console.output import local, span
from seatline.console.report import HEADINGS, ended_shown, gone_shown, seat_hours, table_of_types

if TYPE_CHECKING:
    from seatline.producer import PoolReport, Report

__all__ = ["page"]

#: Letters up to which a cell keeps to one line.
SHORT = 12
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #3b82b6; --warn: #b45309; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 76rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .4rem 0; } .gone { color: var(--warn); }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; font-size: .8rem; overflow-wrap: normal; } th:first-child, td:first-child, .text { text-align: left; }
td { font-variant-numeric: tabular-nums; } .short { white-space: nowrap; }
.few td, .few th { width: 18%; }
.bar { background: var(--line); height: .7rem; margin-top: .4rem; border-radius: 2px; }
.bar i { background: var(--bar); display: block; height: 100%; border-radius: 2px; }
@media print { body { padding: 0; font-size: 11px; } }
"""


def page(found: Report, name: str) -> str:
    """Return the whole file."""
    title = f"Seatline report: {escape(name)}"
    period = f"{local(found.since)} to {local(found.until)} ({span(found.period_ms / 1000)})"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1><p>{escape(period)}</p>",
        f"<p>{escape(ended_shown(found))}. Now {found.running:,} running, {found.scheduled:,} scheduled.</p>",
        *(f'<p class="gone">{escape(line)}</p>' for line in gone_shown(found)),
        *_table("Types", [heading.capitalize() for heading in HEADINGS], table_of_types(found)),
        *_pools(found),
        *_failures(found),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, few: bool = False) -> Iterable[str]:
    """Return a table of texts, none if it has no rows."""
    kept = [[escape(cell) for cell in row] for row in rows]
    return _raw_table(title, headings, kept, few=few)


def _raw_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, few: bool = False) -> list[str]:
    if not rows:
        return []
    kind = ' class="few"' if few else ""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    return [f"<h2>{escape(title)}</h2><table{kind}><thead><tr>{head}</tr></thead><tbody>", *body, "</tbody></table>"]


def _cell(cell: str) -> str:
    """What is short is not broken over lines; what is long may be anywhere, so that no table is wider than the page."""
    return f'<td class="short">{cell}</td>' if len(cell) <= SHORT else f"<td>{cell}</td>"


def _pools(found: Report) -> list[str]:
    rows = [
        [
            escape(each.pool),
            seat_hours(each.seat_ms),
            "-" if each.capacity is None else f"{each.capacity:,}",
            _share(each, found.period_ms),
        ]
        for each in found.pools
    ]
    return _raw_table("Pools", ("Pool", "Seat-hours", "Capacity", "Share of all seats' time"), rows, few=True)


def _share(pool: PoolReport, period_ms: int) -> str:
    share = pool.share(period_ms)
    if share is None:
        return "-"
    return f'{100 * share:.1f} %<div class="bar"><i style="width:{min(100, 100 * share):.1f}%"></i></div>'


def _failures(found: Report) -> list[str]:
    rows = [
        [f"{each.count:,}", *(f'<div class="text">{escape(cell)}</div>' for cell in (each.type, each.message)),
         str(int(each.example))]
        for each in found.failures
    ]  # fmt: skip
    return _raw_table("Failures", ("Count", "Type", "Message", "Example"), rows)
