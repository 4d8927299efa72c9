"""Log lines of a worker: for people one line of text, for machines one JSON object a line. Never params, never results.

A transition's record carries its fields in ``record.seatline`` (``seatline.worker.events``); other records, also those of
handlers, have none and are shown all the same. In JSON, what is not known is left out; the order is::

    time, level, logger, event, worker, job, type, attempt, message, what else the event tells, traceback

``time`` is ISO in UTC, ids are text as everywhere in JSON.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO, cast

__all__ = ["JsonLine", "TextLine", "log_lines"]

_FIRST: Final = ("event", "worker", "job", "type", "attempt")


def log_lines(kind: Literal["text", "json"], verbose: int, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (stderr): Seatline's and the handlers' own messages; ``verbose``: one line a transition."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLine(_is_utf8(handler.stream)) if kind == "json" else TextLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    if verbose:
        logging.getLogger("seatline").setLevel(logging.DEBUG)
    if kind == "json":
        logging.captureWarnings(True)  # Python's own would stand between the objects


class TextLine(logging.Formatter):
    """Time, level, message on one line, whatever the message holds; a traceback follows below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Put it on one line."""
        record.message = " | ".join(record.message.splitlines())
        return super().formatMessage(record)


class JsonLine(logging.Formatter):
    """One JSON object; ``plain``: the stream takes any character, so none needs an escape."""

    def __init__(self, plain: bool = True) -> None:
        super().__init__()
        self._plain = plain

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, on one line."""
        told: object = getattr(record, "seatline", None)
        fields = dict(cast("Mapping[str, Any]", told)) if isinstance(told, Mapping) else {}
        line: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            **{name: fields.pop(name, None) for name in _FIRST},
            "message": record.getMessage(),
        }
        for name, value in fields.items():
            line.setdefault(name, value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        known = {name: value for name, value in line.items() if value is not None}
        return json.dumps(known, ensure_ascii=not self._plain, default=str)


def _utc(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"
