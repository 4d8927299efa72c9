"""What a load is made of: its shape, its lines, and the batches in which they go out. Asks no server.

A *line* is what stands between two line ends (LF or CRLF); its number is its identity. A CSV row has the number of the line
in which it begins, and may go on over several. A line is read once, in bounded memory, and digested as it stands.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast

from seatline.shared.errors import InvalidInput
from seatline.shared.job import BULK_PRIORITY, Job, check_priority, job_words

__all__ = ["LINE_MOST", "Bad", "Batch", "Input", "Lines", "Shape", "Words"]

Words = list[str | bytes]

#: Bytes of one line.
LINE_MOST: Final = 4 * 1024 * 1024
_CELLS: Final = ("at", "delay", "priority", "tenant", "title", "token", "type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What, beside its lines, makes the jobs of a load.

    Args:
        format: ``jsonl``, an object a line, or ``csv``, with a header.
        type: of jobs that name none. With it, a JSON line without ``params`` is the params themselves.
        priority: of jobs that name none; 100 by default (Q4).
        tenant, title: likewise.
        tags: of every job, beside its own and ``load:ID``.
        delimiter: between the values of a CSV row.
        columns: CSV: column -> the param that it is (``""``: left out; ``@priority``: that field of the job). Others are
            params under their own names.
        json_values: CSV: a value that reads as a number, true, false or null in JSON is that; else all is text.

    """

    format: Literal["csv", "jsonl"] = "jsonl"
    type: str | None = None
    priority: int = BULK_PRIORITY
    tenant: str | None = None
    title: str | None = None
    tags: tuple[str, ...] = ()
    delimiter: str = ","
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    json_values: bool = False

    def checked(self) -> Shape:
        """Return it, or raise :class:`InvalidInput` if no job can come of it."""
        check_priority(self.priority)
        job_words(Job(self.type or "any", {}, self.priority, None, self.tenant, self.title, (*self.tags, "load:any")))
        if self.format == "csv" and (len(self.delimiter) != 1 or self.delimiter in '\r\n"'):
            raise InvalidInput(f"delimiter: {self.delimiter!r} is not one character, such as ; (and no quote).")
        for param in self.columns.values():
            if param.startswith("@") and param[1:] not in _CELLS:
                known = ", ".join(f"@{name}" for name in _CELLS)
                raise InvalidInput(f"columns: {param!r} is no field of a job; known are {known}.")
        return self

    def digest(self) -> str:
        """Return a digest of it: the same file in another shape is another load."""
        said = json.dumps([getattr(self, each.name) for each in fields(self)], sort_keys=True)
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that is no good job: its number, why, and its text (its beginning, if it is ``cut``)."""

    line: int
    reason: str
    text: str
    cut: bool = False


class Input:
    """What is loaded: a file, which can be read again, or a stream, which cannot. ``.gz`` files are read unpacked.

    ``lines``, ``bytes``, ``digest``: of a file, as it was when this was made; None of a stream.
    """

    def __init__(self, source: Path | BinaryIO) -> None:
        self._source = source
        self.lines: int | None = None
        self.bytes: int | None = None
        self.digest: str | None = None
        if self.is_file:
            self._look()

    @property
    def is_file(self) -> bool:
        """Whether it can be read again."""
        return isinstance(self._source, Path) and self._source.is_file()

    def open(self) -> BinaryIO:
        """Return it from its beginning (a stream: from where it is)."""
        if not isinstance(self._source, Path):
            return self._source
        if self._source.suffix == ".gz":
            return cast("BinaryIO", gzip.open(self._source, "rb"))
        return self._source.open("rb", buffering=1024 * 1024)

    def _look(self) -> None:
        state, lines, size, last = hashlib.blake2b(digest_size=16), 0, 0, b"\n"
        try:
            with closing(self.open()) as stream:
                while block := stream.read(1024 * 1024):
                    state.update(block)
                    lines, size, last = lines + block.count(b"\n"), size + len(block), block
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InvalidInput(f"{self._source}: it cannot be unpacked ({error}).") from None
        self.lines, self.bytes = lines + (not last.endswith(b"\n")), size
        self.digest = state.hexdigest() if size else ""


@dataclass(slots=True)
class Batch:
    """Lines that belong to one call: those behind ``start`` up to ``end``; digests of all lines up to there.

    ``last``: there is no further line. ``numbers`` and ``texts`` are those of ``jobs``, each of which is in words; those that
    have much in common are short, and have that in one of ``frames``, which ``kinds`` finds by type and priority.
    """

    start: int
    before: str
    end: int = 0
    mark: str = ""
    size: int = 0
    last: bool = False
    jobs: list[Words] = field(default_factory=list[Words])
    frames: list[Words] = field(default_factory=list[Words])
    kinds: dict[tuple[object, object], int] = field(default_factory=dict[tuple[object, object], int])
    numbers: list[int] = field(default_factory=list[int])
    texts: list[bytes] = field(default_factory=list[bytes])
    bad: list[Bad] = field(default_factory=list[Bad])


class Lines:
    """Raw lines with their ends, their count and their digest; of the first ``most`` lines, None: of all."""

    def __init__(self, stream: BinaryIO, most: int | None = None) -> None:
        self.number, self._most = 0, most
        self._stream = stream
        self._digest = hashlib.blake2b(digest_size=16)
        self._new: list[bytes] = []
        self._ahead: bytes | None = None

    def line(self) -> bytes:
        """Return the next line, b"" at the end; of one that is too long only its beginning, without its end."""
        line = self._next() if self._ahead is None else self._ahead
        self._ahead = None
        if not line:
            return line
        self.number += 1
        if self.number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InvalidInput("the file is UTF-16. Make it UTF-8, such as with `iconv -f UTF-16 -t UTF-8`.")
        self._new.append(line)
        while len(line) == LINE_MOST and not self._new[-1].endswith(b"\n"):
            self._flush()
            if not (more := self._stream.readline(LINE_MOST)):
                break
            self._new.append(more)
        return line

    def at_end(self) -> bool:
        """Whether there is no further line."""
        if self._ahead is None:
            self._ahead = self._next()
        return not self._ahead

    def _next(self) -> bytes:
        return b"" if self.number == self._most else self._stream.readline(LINE_MOST)

    def mark(self) -> str:
        """Return the digest of all lines so far; '' of none."""
        self._flush()
        return self._digest.hexdigest() if self.number else ""

    def _flush(self) -> None:
        self._digest.update(b"".join(self._new))
        self._new = self._new[:0]
