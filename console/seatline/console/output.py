"""How records are shown: a table on a terminal, aligned plain text in a pipe, JSON for programs.

A table for people fits the terminal: what is too long is cut with an ellipsis, never wrapped, and colours obey
NO_COLOR. Piped text is aligned and never cut. In JSON, times are ISO in UTC and ids are text.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Generic, TypeVar, cast

import click

__all__ = ["Column", "clean", "local", "plain_data", "print_json", "show", "size", "span"]

T = TypeVar("T")

LAST_CONTROL = 31
LEAST_CUT = 12
GAP = "  "

_COLOURS = {
    "running": "cyan", "succeeded": "green", "failed": "red", "interrupted": "red", "lost": "red", "cancelled": "dim",
    "paused": "yellow", "window": "yellow", "error": "red",
    "seats": "yellow", "no-worker": "yellow", "no-pool": "red", "stopping": "yellow",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table.

    On a narrow terminal one that ``cuts`` may lose its end, and one that is ``spare`` is left out (also where nobody has
    anything to say in it), the last one first.
    """

    heading: str
    cell: Callable[[T], str]
    right: bool = False
    cuts: bool = False
    spare: bool = False


def show(
    records: Iterable[T], output: str, columns: Sequence[Column[T]], as_json: Callable[[T], Mapping[str, Any]]
) -> int:
    """Print records; returns how many. With ndjson each is printed as it comes."""
    if output == "ndjson":
        return print_json(map(as_json, records), output)
    kept = list(records)
    if output == "json":
        return print_json(map(as_json, kept), output)
    rows = [[clean(column.cell(record)) for column in columns] for record in kept]
    if rows and sys.stdout.isatty():
        _terminal(rows, columns)
    elif rows:
        _piped(rows, columns)
    return len(kept)


def print_json(records: Iterable[Mapping[str, Any]], output: str) -> int:
    """Print records as one array, or one a line; returns how many."""
    if output == "ndjson":
        count = 0
        for record in records:
            click.echo(_dump(record))
            count += 1
        return count
    kept = [plain_data(record) for record in records]
    click.echo(json.dumps(kept, indent=2, ensure_ascii=False, allow_nan=False))
    return len(kept)


def _dump(value: Any) -> str:
    return json.dumps(plain_data(value), ensure_ascii=False, allow_nan=False)


def _piped(rows: Sequence[Sequence[str]], columns: Sequence[Column[Any]]) -> None:
    lines = [[column.heading for column in columns], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        click.echo(GAP.join(cells).rstrip())


def _terminal(rows: Sequence[Sequence[str]], columns: Sequence[Column[Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    widths = [max(len(line[i]) for line in ([c.heading for c in columns], *rows)) for i in range(len(columns))]
    shown = _with_room(widths, columns, rows, Console().width)
    columns, widths = [columns[i] for i in shown], [widths[i] for i in shown]
    rows = [[row[i] for i in shown] for row in rows]
    kept = sum(w for w, column in zip(widths, columns, strict=True) if not column.cuts) + len(GAP) * (len(columns) - 1)
    left, cut = (
        Console().width - kept,
        sorted((i for i, column in enumerate(columns) if column.cuts), key=widths.__getitem__),
    )
    for i, each in enumerate(cut):  # the short ones first: what they leave is for the long ones
        widths[each] = min(widths[each], max(LEAST_CUT, left // (len(cut) - i)))
        left -= widths[each]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(GAP), 0, 0))
    for width, column in zip(widths, columns, strict=True):
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=width,
        )
    for row in rows:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    # On a very narrow terminal rather too wide, and wrapped there, than without its ids.
    Console(highlight=False, width=max(Console().width, sum(widths) + len(GAP) * len(widths))).print(table)


def _with_room(
    widths: Sequence[int], columns: Sequence[Column[Any]], rows: Sequence[Sequence[str]], room: int
) -> list[int]:
    """Return which columns to show: spare ones while there is room for them."""
    shown = [i for i, column in enumerate(columns) if not column.spare or {row[i] for row in rows} - {"", "-"}]
    least = [min(width, LEAST_CUT) if column.cuts else width for width, column in zip(widths, columns, strict=True)]
    for i in [i for i in reversed(shown) if columns[i].spare]:
        if sum(least[j] + len(GAP) for j in shown) - len(GAP) <= room:
            break
        shown.remove(i)
    return shown


def clean(value: str) -> str:
    """Return text that cannot steer a terminal: what is not printable is shown as an escape, on one line."""
    if value.isprintable():
        return value
    return "".join(
        char
        if char.isprintable()
        else " "
        if char.isspace() and ord(char) > LAST_CONTROL
        else char.encode("unicode_escape").decode()
        for char in value
    )


def local(moment: dt.datetime | None) -> str:
    """Return a moment in the local zone, with the zone; '-' for none."""
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def span(seconds: float) -> str:
    """Return a length of time in one or two units, such as ``3d 4h``, ``12m``, ``0.4s``."""
    if seconds < 0:
        return "0s"
    if seconds < 10:  # noqa: PLR2004 - where tenths tell something
        return f"{seconds:.1f}s"
    left, parts = int(seconds), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:2])


def size(count: int) -> str:
    """Return so many bytes in the unit that fits, such as ``48 MiB``."""
    if count < 1024:  # noqa: PLR2004 - bytes of a KiB
        return f"{count} B"
    units = ("KiB", "MiB", "GiB", "TiB")
    power = min(len(units), (count.bit_length() - 1) // 10)
    amount = count / 1024**power
    return f"{amount:.1f} {units[power - 1]}" if amount < 10 else f"{amount:.0f} {units[power - 1]}"  # noqa: PLR2004 - where tenths tell something


def plain_data(value: Any) -> Any:
    """Return what JSON can hold: times as ISO UTC, bytes as base64, other kinds as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case dt.datetime():
            return _utc(value)
        case Mapping():
            return {str(key): plain_data(value[key]) for key in cast("Iterable[Any]", value)}
        case set() | frozenset():
            return sorted((plain_data(item) for item in cast("set[Any]", value)), key=repr)
        case list() | tuple():
            return [plain_data(item) for item in cast("list[Any]", value)]
        case bytes():
            return base64.b64encode(value).decode()
        case dt.timedelta():
            return value.total_seconds()
        case dt.date() | dt.time():
            return value.isoformat()
        case PurePath():
            return value.as_posix()
        case _:
            return str(value)


def _utc(moment: dt.datetime) -> str:
    if moment.tzinfo is None:
        return moment.isoformat()
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
