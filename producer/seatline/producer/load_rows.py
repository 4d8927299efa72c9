"""Lines of a load as words of jobs: JSON lines or CSV; what is bad is told and passed over. Asks no server."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, Final, cast

from seatline.producer.load_lines import LINE_MOST, Bad, Batch, Lines, Shape, Words
from seatline.shared.codec import PIECE, pack_params, pieces
from seatline.shared.errors import InvalidInput
from seatline.shared.job import Job, job_words

__all__ = ["FIELDS", "bad_line", "batches", "lacks_tenant"]

BATCH_LINES: Final = 1000
BATCH_BYTES: Final = 2 * 1024 * 1024
TOLD_MOST: Final = 64 * 1024
FRAMES_MOST: Final = 1000

#: What a job may say of itself in a line.
FIELDS: Final = tuple(each.name for each in fields(Job))
_FEW: Final = frozenset({"type", "priority", "params"})
_PARAMS_AT: Final = 9  # in the words of a job: those of its head, then type and priority
_HEAD: Final = 4  # words of its head behind their count


def batches(
    lines: Lines, shape: Shape, tag: str, *, after: int = 0, check: bool = True, limit: int | None = None
) -> Iterator[Batch]:
    """Read a load in batches of at most 1,000 lines or 2 MiB; one of them ends at the line ``after``, if there are so many.

    Up to that line nothing is looked at, only counted and digested, unless ``check``; behind it, it goes on until there
    were ``limit`` jobs.

    Raises:
        InvalidInput: the file as a whole is not what its shape says.

    """
    rows = _CsvRows(lines, shape, tag) if shape.format == "csv" else _JsonRows(lines, shape, tag)
    batch, taken = Batch(0, ""), 0
    while True:
        line = lines.line() if lines.number < after and not check else rows.take(batch)
        batch.size += len(line)
        full = lines.number - batch.start >= BATCH_LINES or batch.size >= BATCH_BYTES or lines.number == after
        enough = limit is not None and batch.start >= after and taken + len(batch.jobs) >= limit
        if full or enough or not line:
            batch.end, batch.mark, batch.last = lines.number, lines.mark(), not line or lines.at_end()
            yield batch
            if batch.last or enough:
                return
            taken += len(batch.jobs) if batch.start >= after else 0
            batch = Batch(batch.end, batch.mark)


def _text(line: bytes, number: int) -> str:
    """Return a line as text, without its end; the first one without the mark that some editors put there."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(line, error) from None
    return text.removeprefix("\ufeff").rstrip("\r\n") if number == 1 else text.rstrip("\r\n")


def _not_utf8(line: bytes, error: UnicodeDecodeError) -> InvalidInput:
    place = f"byte {error.start + 1} of the line is {line[error.start]:#04x}"
    return InvalidInput(f"not UTF-8: {place}. Convert the file, such as with iconv.")


def lacks_tenant(batch: Batch, words: Words) -> bool:
    """Whether a job of a batch names no tenant."""
    short = str(words[0]).startswith("=")
    said = batch.frames[int(str(words[0])[1:].partition(":")[0])][_HEAD:] if short else words[_HEAD + 1 :]
    return "tenant" not in said[::2]


def bad_line(number: int, line: bytes, reason: str) -> Bad:
    """Return what is told of a line that is no good job."""
    text = line[:TOLD_MOST].decode("utf-8", "backslashreplace").removeprefix("\ufeff").rstrip("\r\n")
    return Bad(number, reason, text, cut=len(line) > TOLD_MOST)


class _Jobs:
    """Turns what a line says into words of a job."""

    def __init__(self, lines: Lines, shape: Shape, tag: str) -> None:
        self.lines, self.shape = lines, shape
        self._tags = (*shape.tags, tag)
        self._frames: dict[tuple[object, object], Words] = {}

    def plain(self, batch: Batch, type_: object, priority: object, params: object) -> Words:
        """Return the words of a job that says no more than this: all but its params is in a frame, made once and kept."""
        number = batch.kinds.get((type_, priority)) if type(priority) is int and type(type_) is str else None
        if number is None:
            number = self._frame(batch, type_, priority)
        packed = pack_params(cast("Any", params))
        if len(packed) <= PIECE:
            return [f"={number}:1", packed]
        cut = pieces("params", packed)[1::2]
        return [f"={number}:{len(cut)}", *cut]

    def _frame(self, batch: Batch, type_: object, priority: object) -> int:
        frame = self._frames.get((type_, priority)) if type(priority) is int and type(type_) is str else None
        if frame is None:
            words = job_words(self._job({"type": type_, "priority": priority}))
            frame = [*words[1:_PARAMS_AT], *words[_PARAMS_AT + 2 :]]
            if len(self._frames) < FRAMES_MOST:
                self._frames[type_, priority] = frame
        batch.frames.append(frame)
        batch.kinds[type_, priority] = len(batch.frames) - 1
        return len(batch.frames) - 1

    def words(self, said: dict[str, Any]) -> Words:
        """Return the words of a job with all that its line says of it."""
        if strange := [name for name in said if name not in FIELDS]:
            raise InvalidInput(f"{strange[0]!r} is no field of a job; known are {', '.join(FIELDS)}.")
        if said.setdefault("type", self.shape.type) is None:
            raise InvalidInput("type: none is named. Give one in the line, or --type for all.")
        said.setdefault("priority", self.shape.priority)
        return job_words(self._job(said))

    def _job(self, said: Mapping[str, Any]) -> Job:
        shape = self.shape
        tags = said.get("tags", ())
        if not isinstance(tags, list | tuple):
            raise InvalidInput(f"tags: {tags!r} is not a list of names.")
        values = dict(said)
        for name in ("at", "expires"):
            if isinstance(values.get(name), str):
                values[name] = _moment(name, values[name])
        values["tags"] = tuple(dict.fromkeys([*self._tags, *cast("list[Any]", tags)])) if tags else self._tags
        for name, default in (("tenant", shape.tenant), ("title", shape.title)):
            if values.get(name) is None:
                values[name] = default
        return Job(**values)


def _moment(name: str, value: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(value)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidInput(f"{name}: {value!r} is not a moment with a time zone, such as 2030-01-31T18:00+01:00.")
    return found


def _refuse(word: str) -> Any:
    raise InvalidInput(f"not JSON: {word} is no number there. Use null, or text.")


class _NotLinesError(InvalidInput):
    """The file is another one than JSON lines."""


class _JsonRows(_Jobs):
    """An object a line: a job, or its params."""

    def __init__(self, lines: Lines, shape: Shape, tag: str) -> None:
        super().__init__(lines, shape, tag)
        decoder: Any = json.JSONDecoder(parse_constant=_refuse)
        self._scan: Callable[[str, int], tuple[Any, int]] = decoder.scan_once  # without what `decode` does around it

    def take(self, batch: Batch) -> bytes:
        """Put the next line's job, if it is one, into the batch, or why it is none; returns the line. Empty ones are passed."""
        line = self.lines.line()
        number = self.lines.number
        try:
            if len(line) >= LINE_MOST:
                raise InvalidInput(
                    f"the line is longer than {LINE_MOST:,} bytes. Store the data in a file and pass its path."
                )
            text = _text(line, number).strip()
            if not text:
                return line
            batch.jobs.append(self._read(batch, text))
        except _NotLinesError:
            raise
        except InvalidInput as error:
            batch.bad.append(bad_line(number, line, str(error)))
            return line
        batch.numbers.append(number)
        batch.texts.append(line)
        return line

    def _read(self, batch: Batch, text: str) -> Words:
        value = self._value(text)
        if type(value) is not dict:
            if type(value) is list and self.lines.number == 1:
                raise _NotLinesError(
                    "the file is one JSON array, not an object a line; `jq -c '.[]' FILE` makes lines."
                )
            raise InvalidInput(f'{text[:60]!r} is no object. Each line is one, such as {{"type": ..., "params": ...}}.')
        said, shape = cast("dict[str, Any]", value), self.shape
        if shape.type is not None and "params" not in said:
            return self.plain(batch, shape.type, shape.priority, said)
        if said.keys() <= _FEW and "type" in said:
            return self.plain(batch, said["type"], said.get("priority", shape.priority), said.get("params", {}))
        return self.words(said)

    def _value(self, text: str) -> Any:
        try:
            said, end = self._scan(text, 0)
        except InvalidInput:
            raise
        except json.JSONDecodeError as error:
            raise self._broken(text, f"{error.msg} at column {error.colno}") from None
        except StopIteration as error:
            raise self._broken(text, f"nothing that can be read at column {int(error.value) + 1}") from None
        except RecursionError:
            raise self._broken(text, "nested too deep") from None
        except ValueError as error:
            raise self._broken(text, str(error)) from None
        if end != len(text):
            raise self._broken(text, f"there is more behind it, from column {end + 1} on")
        return said

    def _broken(self, text: str, what: str) -> InvalidInput:
        if text == "[" and self.lines.number == 1:
            return _NotLinesError("the file is one JSON array, not an object a line; `jq -c '.[]' FILE` makes lines.")
        return InvalidInput(f"not JSON: {what}.")


class _CsvRows(_Jobs):
    """A row a job: its values are params, by the names in the header."""

    def __init__(self, lines: Lines, shape: Shape, tag: str) -> None:
        super().__init__(lines, shape, tag)
        self._raw: list[bytes] = []
        self._wrong: InvalidInput | None = None
        self._rows: Iterator[list[str]] = csv.reader(self._texts(), delimiter=shape.delimiter, strict=True)
        try:
            header = next(self._rows, list[str]())
        except csv.Error as error:
            raise InvalidInput(f"the header is not CSV: {error}.") from None
        if self._wrong:
            raise InvalidInput(f"the header: {self._wrong}")
        names = [name.strip() for name in header]
        for number, name in enumerate(names, 1):
            if not name or name in names[: number - 1]:
                what = "has no name" if not name else f"has the name {name!r} for a second time"
                raise InvalidInput(f"the header: column {number} {what}. Is it the header, and is the delimiter right?")
        if header and (strange := [name for name in shape.columns if name not in names]):
            raise InvalidInput(f"columns: {strange[0]!r} is none of the header's: {', '.join(names)}.")
        self._names = [shape.columns.get(name, name) for name in names]

    def _texts(self) -> Iterator[str]:
        while line := self.lines.line():
            self._raw.append(line)
            try:
                if len(line) >= LINE_MOST:
                    raise InvalidInput(f"the line is longer than {LINE_MOST:,} bytes.")
                text = line.decode()
            except InvalidInput as error:
                self._wrong, text = error, ""
            except UnicodeDecodeError as error:
                self._wrong, text = _not_utf8(line, error), line.decode("utf-8", "replace")
            yield text.removeprefix("\ufeff") if self.lines.number == 1 else text

    def take(self, batch: Batch) -> bytes:
        """Put the next row's job, if it is one, into the batch, or why it is none; returns its lines."""
        self._raw, self._wrong = [], None
        number = self.lines.number + 1
        row: list[str] = []
        try:
            try:
                row = next(self._rows, row)
            except csv.Error as error:
                to = f" (lines {number} to {self.lines.number}: is a quote not closed?)" if len(self._raw) > 1 else ""
                raise InvalidInput(f"not CSV: {error}{to}.") from None
            if self._wrong:
                raise self._wrong
            if row:
                batch.jobs.append(self._read(batch, row))
        except InvalidInput as error:
            batch.bad.append(bad_line(number, b"".join(self._raw), str(error)))
            return b"".join(self._raw)
        line = b"".join(self._raw)
        if row:
            batch.numbers.append(number)
            batch.texts.append(line)
        return line

    def _read(self, batch: Batch, row: list[str]) -> Words:
        names = self._names
        if len(row) != len(names):
            raise InvalidInput(f"{len(row)} values, where the header has {len(names)} columns.")
        params: dict[str, Any] = dict(zip(names, map(_scalar, row) if self.shape.json_values else row, strict=True))
        params.pop("", None)
        said: dict[str, Any] = {}
        for name in [name for name in params if name.startswith("@")]:
            value = params.pop(name)
            if value != "":
                said[name[1:]] = _number(name[1:], value) if name in {"@priority", "@delay"} else str(value)
        type_, priority = said.get("type", self.shape.type), said.get("priority", self.shape.priority)
        if said.keys() <= _FEW and type_ is not None:
            return self.plain(batch, type_, priority, params)
        return self.words({**said, "params": params})


def _number(name: str, value: object) -> Any:
    found = _scalar(value) if isinstance(value, str) else value
    if type(found) in {int, float}:
        return found
    raise InvalidInput(f"{name}: {value!r} is not a number.")


def _scalar(text: str) -> Any:
    """Return the number, true, false or null that a text reads as in JSON, else the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return (
        text
        if isinstance(value, str | list | dict) or (isinstance(value, float) and not math.isfinite(value))
        else value
    )
