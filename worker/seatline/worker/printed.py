"""What a command prints: lines for the job's log, and words for us (C18).

A line on standard output that begins with ``seatline:`` is a word, and is not logged::

    seatline:progress 3 10 sheet 3         done, of how much (may be left out), a text (may be left out)
    seatline:result {"sheets": 3}          the job's result, JSON
    seatline:enqueue {"type": "mail"}      a job that is enqueued with the end of this one; arguments of ctx.enqueue
    seatline:emit {"event": "drawing.released", "params": {...}}    an event; arguments of ctx.emit
    seatline:skip it is up to date         if the command ends well, the job ends as skipped

One that cannot be understood is logged, with the reason. Of ``result``, ``enqueue`` and ``emit`` it also fails a job whose
command ends well: else what the command has asked for would be lost in silence.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from seatline.shared.codec import RESULT_MOST
from seatline.shared.errors import TooDeep
from seatline.worker.context import Context

__all__ = ["Lines", "Printed"]

PREFIX: Final = b"seatline:"
#: Bytes of one line that are kept: enough for a result, or for a line of the log.
WORD_MOST: Final = RESULT_MOST + 1024
LINE_MOST: Final = 16 * 1024
LINE_SHOWN: Final = 1_900
#: Lines that are logged out of what is printed at once; the log keeps no more.
AT_ONCE: Final = 1_000
TAIL: Final = 10
TAIL_CUT: Final = 150


class Lines:
    """Cuts a stream into lines; keeps no more than one, and of that no more than it needs, however much comes.

    A carriage return begins the line anew, as a terminal shows it, so a progress bar is one line.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._lost = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now."""
        *ended, rest = data.split(b"\n")
        lines: list[bytes] = []
        for piece in ended:
            self._add(piece)
            lines.append(self._take())
        self._add(rest)
        return lines

    def end(self) -> list[bytes]:
        """Return the last line, if it lacks its end."""
        return [self._take()] if self._rest or self._lost else []

    def _add(self, piece: bytes) -> None:
        rest = self._rest
        rest += piece
        if len(rest) > LINE_MOST:
            del rest[: rest.rfind(b"\r", 0, len(rest) - 1) + 1]
            most = WORD_MOST if rest.startswith(PREFIX) else LINE_MOST
            self._lost += max(0, len(rest) - most)
            del rest[most:]

    def _take(self) -> bytes:
        line, lost = bytes(self._rest.rstrip(b"\r").rpartition(b"\r")[2]), self._lost
        self._rest.clear()
        self._lost = 0
        if not lost:
            return line
        return line[:LINE_SHOWN] + b" ... (%d bytes cut)" % (len(line) - LINE_SHOWN + lost)


class Printed:
    """What one run of a command has said.

    Attributes:
        result: its last result.
        skip: why the job is to be skipped, or None.
        trouble: the first word that matters and cannot be understood, and why.
        tail: the last lines of standard error.

    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.result: Any = None
        self.skip: str | None = None
        self.trouble = ""
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._words: dict[str, Callable[[str], None]] = {
            "progress": self._progress,
            "result": self._result,
            "enqueue": self._enqueue,
            "emit": self._emit,
            "skip": self._skip,
        }

    def out(self, lines: list[bytes]) -> None:
        """Take lines of standard output."""
        self._log(
            [text for line in lines for text in ([_text(line)] if not line.startswith(PREFIX) else self._word(line))]
        )

    def err(self, lines: list[bytes]) -> None:
        """Take lines of standard error."""
        texts = [_text(line) for line in lines]
        self.tail.extend(text[:TAIL_CUT] for text in texts[-TAIL:] if text.strip())
        self._log(texts)

    def _log(self, texts: list[str]) -> None:
        if len(texts) > AT_ONCE:
            texts = [f"... {len(texts) - AT_ONCE} lines cut here", *texts[-AT_ONCE:]]
        for text in texts:
            self._ctx.log(text)

    def _word(self, line: bytes) -> list[str]:
        """Do what a word says; returns what is to be logged."""
        text = _text(line)
        name, _, rest = text[len(PREFIX) :].partition(" ")
        word = self._words.get(name)
        try:
            if word is None:
                raise ValueError(f"the words are {', '.join(self._words)}")
            word(rest.strip())
        except (ValueError, TypeError, KeyError, RecursionError, TooDeep) as error:
            why = f"not understood: {error}" if str(error) else "not understood"
            if name in {"result", "enqueue", "emit"}:
                self.trouble = self.trouble or f"seatline:{name} {why}"
            return [text, f"seatline:{name} {why}"]
        return []

    def _progress(self, rest: str) -> None:
        done, *more = rest.split(maxsplit=1) or [""]
        if not _is_number(done):
            raise ValueError("write seatline:progress DONE [TOTAL] [TEXT], such as seatline:progress 3 10 sheet 3")
        total, *text = more[0].split(maxsplit=1) if more else [""]
        if _is_number(total):
            self._ctx.progress(float(done), float(total), text[0] if text else "")
        else:
            self._ctx.progress(float(done), None, more[0] if more else "")

    def _result(self, rest: str) -> None:
        self.result = json.loads(rest)

    def _enqueue(self, rest: str) -> None:
        data: object = json.loads(rest)
        if not isinstance(data, dict) or "type" not in data:
            raise ValueError('write seatline:enqueue {"type": ..., "params": {...}, ...}')
        asked = cast("dict[str, Any]", data)
        if "at" in asked:
            asked["at"] = dt.datetime.fromisoformat(asked["at"])
        self._ctx.enqueue(**asked)

    def _emit(self, rest: str) -> None:
        data: object = json.loads(rest)
        if not isinstance(data, dict) or "event" not in data:
            raise ValueError('write seatline:emit {"event": ..., "params": {...}, ...}')
        self._ctx.emit(**cast("dict[str, Any]", data))

    def _skip(self, rest: str) -> None:
        self.skip = rest or "its command said so"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) is not None


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
