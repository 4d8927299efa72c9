"""``seatline load``: each line of a file becomes a job, once, however often it is begun again."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import click

from seatline.console.bar import Bar
from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer.load import Bad, Input, Load, Outcome, Shape

__all__ = ["load"]

#: Bad lines that are told on the screen; a file takes all.
TOLD = 10
#: How long the interpreter lets one of our two threads run on, in seconds: one makes batches while the other sends them.
SWITCH = 0.0005
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv"}


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  seatline load releases.jsonl --rejected bad.jsonl
  seatline load parts.csv --type drawing.publish --column-map 'part no=part' --dry-run
  find . -name '*.dwg' | jq -Rc '{file: .}' | seatline load - --type drawing.publish --id monday
""",
)
@click.argument("file", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--type", "type_", metavar="TYPE", help="Of lines that name none; then a line may be just its params.")
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv"]), help="[default: by the file's suffix]")
@click.option("--priority", type=int, help="Of lines that name none; 1 is the most urgent.  [default: 100]")
@click.option("--title", metavar="TEXT", help="Of lines that name none.")
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="Of every job, beside load:ID; may be given again.")
@click.option("--delimiter", metavar="CHAR", help="CSV: between two values.  [default: a comma; .tsv: a tab]")
@click.option(
    "--column-map",
    "columns",
    multiple=True,
    metavar="COLUMN=PARAM",
    help="CSV: the param that a column is; nothing: left out; @priority, @title, @tenant, ...: that of the job.",
)
@click.option("--json-values", is_flag=True, help="CSV: 3, true and null are what they are in JSON; else all is text.")
@click.option("--id", "id_", metavar="NAME", help="Of the load.  [default: made from the content and the options]")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many jobs of the file.")
@click.option("--rejected", type=click.Path(dir_okay=False, path_type=Path), help="Write rejected lines to this file.")
@click.option("--dry-run", is_flag=True, help="Check all lines, send none; needs no server.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object.")
@pass_target
def load(
    target: Target,
    file: Path,
    *,
    type_: str | None,
    format_: str | None,
    priority: int | None,
    title: str | None,
    tags: tuple[str, ...],
    delimiter: str | None,
    columns: tuple[str, ...],
    json_values: bool,
    id_: str | None,
    limit: int | None,
    rejected: Path | None,
    dry_run: bool,
    output: str,
) -> None:
    """Put a job on the queue for each line of a file.

    A line of JSON is a job: {"type": ..., "params": {...}, "priority": ...}; with --type it may be just the params. A row of
    CSV has its params in columns, by the names in the first row. Lines that are no good jobs are told and passed over.

    To repeat it is safe: the same file with the same options is the same load, which goes on behind the last line that was
    taken. Its jobs are tagged load:ID; `seatline jobs wait --tag load:ID` shows how far they are.

    Exit code 0: all lines were accepted, now or before. 1: some were rejected. 69: no server; what was accepted until then
    stays.
    """
    from seatline.producer.load import Load  # noqa: PLC0415 - `seatline --help` stays fast

    found = _format(file, format_)
    if found != "csv" and (delimiter or columns or json_values):
        raise click.UsageError("--delimiter, --column-map and --json-values go with CSV.", click.get_current_context())
    shape = _shape(
        target,
        format=found,
        type=type_,
        priority=priority,
        title=title,
        tags=tags,
        delimiter=delimiter or ("\t" if _suffix(file) == ".tsv" else None),
        columns=_columns(columns),
        json_values=json_values,
    )
    if rejected is not None and rejected.exists() and str(file) != "-" and rejected.samefile(file):
        raise click.UsageError("--rejected: that is the file to be loaded; give another.", click.get_current_context())
    source = _input(file)
    with _Told(rejected) as told, Bar("loading", source.lines) as bar:
        run = Load(source, shape, id=id_, limit=limit, bad=told.bad, on=lambda done: bar.show(done.line))
        if dry_run:
            run.check()
        else:
            if id_ is None and not source.is_file:
                click.echo(f"seatline: to be able to repeat it, add --id {run.outcome.id}", err=True)
            _run(target, run, told, bar)
    told.rest()
    _say(run.outcome, output, dry_run=dry_run)
    if run.outcome.rejected:
        click.get_current_context().exit(1)


def _suffix(file: Path) -> str:
    return (file.with_suffix("") if file.suffix == ".gz" else file).suffix.lower()


def _format(file: Path, said: str | None) -> str:
    found = said or FORMATS.get(_suffix(file)) or ("jsonl" if str(file) == "-" else None)
    if found is None:
        raise click.UsageError(f"{file}: what is in it? Say --format jsonl or csv.", click.get_current_context())
    return found


def _input(file: Path) -> Input:
    from seatline.producer.load import Input  # noqa: PLC0415 - `seatline --help` stays fast

    return Input(sys.stdin.buffer if str(file) == "-" else file)


def _shape(target: Target, **said: Any) -> Shape:
    """Put together what the options say; what they do not say is left to the defaults."""
    from seatline.producer.load import Shape  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.config import Settings  # noqa: PLC0415 - as above

    given = {name: value for name, value in said.items() if value is not None}
    return Shape(tenant=Settings.load(tenant=target.tenant).tenant, **given)


def _columns(words: tuple[str, ...]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for word in words:
        column, sign, param = word.rpartition("=")
        if not (sign and column):
            raise click.UsageError(f"--column-map: {word!r} is not COLUMN=PARAM.", click.get_current_context())
        columns[column] = param
    return columns


def _run(target: Target, run: Load, told: _Told, bar: Bar) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        with target.queue() as queue:
            run.run(queue)
    except BaseException:
        bar.close()
        told.rest()
        if run.outcome.line and not run.outcome.ended:
            click.echo(_stopped(run.outcome), err=True)
        raise
    finally:
        sys.setswitchinterval(interval)


class _Told:
    """Tells of bad lines: all of them in a file, or the first ones on the screen."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._count = path, 0
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            self._file = self._path.open("w", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def bad(self, bad: Bad) -> None:
        """Tell of one."""
        from seatline.console.output import clean  # noqa: PLC0415 - most files have none

        self._count += 1
        if self._file is not None:
            said: dict[str, Any] = {"line": bad.line, "reason": bad.reason, "text": bad.text}
            self._file.write(json.dumps({**said, "cut": True} if bad.cut else said, ensure_ascii=False) + "\n")
            self._file.flush()
        elif self._count <= TOLD:
            click.echo(f"seatline: line {bad.line} was rejected: {clean(bad.reason)}", err=True)

    def rest(self) -> None:
        """Say how many more there were, and where to find them."""
        if self._path is not None and self._count:
            click.echo(f"seatline: {self._count:,} rejected lines are in {self._path}", err=True)
        elif self._count > TOLD:
            more = f"and {self._count - TOLD:,} more; --rejected FILE writes all of them to a file"
            click.echo(f"seatline: {more}", err=True)


def _stopped(outcome: Outcome) -> str:
    jobs = outcome.accepted + outcome.there
    return (
        f"seatline: load {outcome.id} was stopped behind line {outcome.line:,}: {jobs:,} jobs are on the queue. "
        f"The same command (for stdin with --id {outcome.id}) goes on there."
    )


def _say(outcome: Outcome, output: str, *, dry_run: bool) -> None:
    from seatline.console.output import span  # noqa: PLC0415 - `seatline --help` stays fast

    if output == "json":
        told = dataclasses.asdict(outcome)
        click.echo(json.dumps({**told, "tag": f"load:{outcome.id}", "seconds": round(outcome.seconds, 3)}))
        return
    rejected = f"{outcome.rejected:,} rejected" + (f" ({outcome.untold:,} of them before)" if outcome.untold else "")
    if dry_run:
        click.echo(f"load:{outcome.id}: {outcome.accepted:,} jobs could be accepted, {rejected}; nothing was sent")
        return
    existed = f", {outcome.existed:,} stood for other jobs" if outcome.existed else ""
    rate = f" ({outcome.accepted / outcome.seconds:,.0f}/s)" if outcome.accepted and outcome.seconds else ""
    click.echo(
        f"load:{outcome.id}: {outcome.accepted:,} jobs accepted, {outcome.there:,} already there{existed}, {rejected}, "
        f"in {span(outcome.seconds)}{rate}"
    )
