"""Run one job and say what became of it.

The life of an attempt, in order:

1. unpack the params; bytes that cannot be read fail the job (nothing would change by trying again)
2. bind them to the handler's signature; what does not bind fails it with ``BadParams``
3. call the handler; its return value is the result
4. pack the result; one that cannot be stored fails the job
5. an exception fails it with type, message and traceback; ``Cancelled`` ends it as cancelled, or hands it back if the
   lease may no longer be ours
"""

from __future__ import annotations

import traceback
from typing import Any, Final, cast

from seatline.shared.calls.base import Word
from seatline.shared.calls.workers import Report
from seatline.shared.codec import join_pieces, pack_value, unpack_value
from seatline.shared.errors import InvalidInput, PayloadError, SeatlineError
from seatline.shared.job import RESULT_TTL
from seatline.worker.context import Cancelled, Context
from seatline.worker.handlers import Handler

__all__ = ["execute"]

MESSAGE_MOST: Final = 2_000
TRACEBACK_MOST: Final = 16_000


def execute(handler: Handler, ctx: Context, fields: dict[bytes, bytes]) -> Report:
    """Run the handler; never raises what it raises."""
    try:
        packed = fields[b"params"] if b"params2" not in fields else join_pieces("params", _named(fields))
        params = unpack_value(packed)
        if not isinstance(params, dict):
            raise PayloadError(f"params: stored is a {type(params).__name__}, not a mapping.")
        named = cast("dict[str, Any]", params)
        handler.check_params(named)
        value = handler.function(ctx, **named)
        if value is None:
            return Report(ctx.id, ctx.token, "succeeded")
        return _succeeded(ctx, value, fields)
    except Cancelled:
        return Report(ctx.id, ctx.token, "abandoned" if ctx.fenced else "cancelled")
    except BaseException as error:  # noqa: BLE001 - also SystemExit: a handler ends its job, never the worker
        if ctx.fenced:
            return Report(ctx.id, ctx.token, "abandoned")
        return _failed(ctx, error)


def _named(fields: dict[bytes, bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in fields.items()}


def _succeeded(ctx: Context, value: object, fields: dict[bytes, bytes]) -> Report:
    try:
        packed = pack_value("result", value)
    except InvalidInput as error:
        return _failed(ctx, error)
    ttl = fields.get(b"result_ttl")
    return Report(ctx.id, ctx.token, "succeeded", [], packed, int(ttl) if ttl else int(RESULT_TTL * 1000))


def _failed(ctx: Context, error: BaseException) -> Report:
    kind = type(error).__qualname__
    if type(error).__module__ not in {"builtins", "__main__"} and not isinstance(error, SeatlineError):
        kind = f"{type(error).__module__}.{kind}"
    told = "".join(traceback.format_exception(error, limit=-40))
    kind, message = _clean(kind[:200]), _clean(_text(error)[:MESSAGE_MOST])
    words: list[Word] = ["error_type", kind, "error", message, "traceback", _clean(_cut(told))]
    return Report(ctx.id, ctx.token, "failed", words, error=(kind, message))


def _clean(text: str) -> str:
    """Return text that can be stored: lone surrogates are replaced."""
    return text.encode("utf-8", "replace").decode()


def _text(error: BaseException) -> str:
    try:
        return str(error).strip() or type(error).__qualname__
    except Exception:  # noqa: BLE001 - a broken __str__ must not cost the report
        return f"{type(error).__qualname__} (its message cannot be shown)"


def _cut(text: str) -> str:
    """Keep the end, which names the cause."""
    return (
        text
        if len(text) <= TRACEBACK_MOST
        else f"... {len(text) - TRACEBACK_MOST} characters cut\n{text[-TRACEBACK_MOST:]}"
    )
