"""Words that people type, turned into values: ``file=a.dwg``, ``count:=3``, ``5m``, a moment, seats."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterable
from typing import Any, cast

import click

__all__ = ["duration", "moment", "moment_or_duration", "params_of", "uses_of"]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|s|m|h|d|w)", re.ASCII)
_WORD = re.compile(r"(?P<name>[^=]*?)(?P<sign>:?=)(?P<value>.*)", re.DOTALL)


def duration(value: str | float) -> float:
    """Return seconds from ``30s``, ``5m``, ``2h``, ``1d``, ``1h30m`` or a number of seconds."""
    words = str(value).replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", words, re.ASCII):
        return float(words)
    if not words or _PART.sub("", words):
        raise click.BadParameter(f"{value!r} is not a duration; use 30s, 5m, 2h, 1d or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(words))


def moment(value: str) -> dt.datetime:
    """Return an ISO moment; one without a zone is meant by this machine's clock."""
    try:
        found = dt.datetime.fromisoformat(value)
        return found if found.tzinfo else found.astimezone()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{value!r} is not a moment; use 2030-01-31T18:00 (local time) or 2030-01-31T18:00+01:00"
        ) from None


def moment_or_duration(value: str) -> dt.datetime | float:
    """Return an ISO moment, or seconds from a duration; a bare number is a number of seconds."""
    try:
        return duration(value)
    except click.BadParameter:
        pass
    try:
        return moment(value)
    except click.BadParameter:
        raise click.BadParameter(
            f"{value!r} is neither a duration such as 30m or 1d nor a moment such as 2030-01-31T18:00 (local time)"
        ) from None


def params_of(text: str | None, words: Iterable[str]) -> dict[str, Any]:
    """Return a job's params: ``text`` is a JSON object, a word ``name=value`` or ``name:=JSON`` overrides it.

    A value is a number, true, false or null where it reads as one in JSON, else text as it stands.
    """
    params: dict[str, Any] = {}
    if text is not None:
        found = _json("--params", text)
        if not isinstance(found, dict):
            raise click.BadParameter(f"not a JSON object but {text[:60]!r}", param_hint="--params")
        params.update(cast("dict[str, Any]", found))
    for word in words:
        match = _WORD.fullmatch(word)
        if not match or not match["name"]:
            raise click.UsageError(f"{word!r} is neither name=value nor name:=JSON")
        name, value = match["name"], match["value"]
        params[name] = _json(name, value) if match["sign"] == ":=" else _scalar(value)
    return params


def uses_of(words: Iterable[str]) -> dict[str, int] | None:
    """Return seats by pool from words such as ``vault=1`` or ``vault=1,gpu=2``; ``none`` says none, no word None."""
    uses: dict[str, int] | None = None
    for word in ",".join(words).split(","):
        if not word:
            continue
        uses = {} if uses is None else uses
        if word == "none":
            continue
        pool, _, seats = word.partition("=")
        if not (pool and (seats or "1").isascii() and (seats or "1").isdigit()):
            raise click.BadParameter(f"{word!r} is not POOL=SEATS, such as vault=1", param_hint="--uses")
        uses[pool] = int((seats or "1")[:9])
    return uses


def _json(what: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON ({error}): {text[:60]!r}", param_hint=what) from None


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, str | list | dict) or (isinstance(value, float) and not math.isfinite(value)):
        return text
    return value
