"""Run one attempt and say what became of it. The same for threads, children and the event loop.

The life of an attempt, in order:

1. unpack the params; bytes that cannot be read fail the job (nothing would change by trying again). For a step of an
   order they are merged from what the order hands on (``order_params.py``), and a handler is given those that it takes,
   as of what a built-in event tells; events that a job has gathered come as ``events``
2. bind them to the handler's signature, or make the instance that its job type says; what does not fit fails it with
   ``BadParams``
3. log in to what its seats are for (``sessions.py``)
4. call the handler; its return value is the result
5. log out, whatever happened
6. pack the result; one that cannot be stored fails the job

How it ends, the first that is true: its lease may be somebody else's, or the worker hands it back (``abandoned``); it was
past its timeout (``Timeout``); it left because it was cancelled; ``Goto`` (a step ends well and chooses the next);
``Skip``; ``NoSeat`` (back to its place, uncounted); any other exception is a failure with type, message and traceback,
which the retry rule may turn into another attempt.

A process that the handler has forked ends where the handler does: neither session nor lease are its own (F19).
"""

# pyright: reportPrivateUsage=false
# The worker's side of a context is not for handlers.
from __future__ import annotations

import os
import random
import sys
import traceback
from collections.abc import Generator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from typing import Any, Final, NoReturn, cast

from seatline.shared.calls.base import Word
from seatline.shared.calls.triggers import BUILT_IN, TOLD
from seatline.shared.calls.workers import KEPT_BY_ORDER, LOSSES_MOST, Report
from seatline.shared.codec import join_params, pack_value, unpack_value
from seatline.shared.errors import BadParams, InvalidInput, PayloadError, SeatlineError, Timeout, TooDeep
from seatline.shared.job import EVENTS, RESULT_TTL, attempt_text, events_of
from seatline.shared.order_params import params_of_step, step_of_code
from seatline.worker.context import Cancelled, Context, Hold, needs_of
from seatline.worker.handlers import Handler
from seatline.worker.outcomes import Goto, NoSeat, RetryAfter, Skip, next_delay
from seatline.worker.sessions import Login, opened, opened_async, sessions_of

__all__ = ["execute", "execute_async", "failed", "unbegun"]

MESSAGE_MOST: Final = 2_000
#: Jitter, no secret. Not the stream that everybody shares: a handler that seeds that one gets what it expects.
CHANCE: Final = random.Random()  # noqa: S311
TRACEBACK_MOST: Final = 16_000
#: The same again would end the same.
_HOPELESS: Final = (BadParams, InvalidInput, PayloadError, TooDeep)

Fields = dict[bytes, bytes]
Logins = dict[str, Login]


def execute(handler: Handler, logins: Logins, ctx: Context, fields: Fields) -> Report:
    """Run a plain function; never raises what it raises."""
    try:
        named = _params(handler, fields)
        if not handler.needs and b"uses" not in fields:
            value = _called(handler, ctx, named)
        else:
            with ExitStack() as stack, _sessions(handler, ctx, fields) as sessions:
                for pool, session in sessions.items():
                    stack.enter_context(opened(session, logins.get(pool), ctx._link.event))  # noqa: SLF001 - its worker's side
                ctx._link.event("execute", "")  # noqa: SLF001 - as above
                value = _called(handler, ctx, named)
        return _ended(handler, ctx, fields, value)
    except BaseException as error:  # noqa: BLE001 - also SystemExit: a handler ends its job, never the worker
        return _raised(handler, ctx, fields, error)


async def execute_async(handler: Handler, logins: Logins, ctx: Context, fields: Fields) -> Report:
    """Run an ``async def``; never raises what it raises."""
    try:
        named = _params(handler, fields)
        if not handler.needs and b"uses" not in fields:
            value = await _awaited(handler, ctx, named)
        else:
            async with AsyncExitStack() as stack:
                with _sessions(handler, ctx, fields) as sessions:
                    for pool, session in sessions.items():
                        await stack.enter_async_context(
                            opened_async(session, logins.get(pool), ctx._link.event)  # noqa: SLF001 - as above
                        )
                    ctx._link.event("execute", "")  # noqa: SLF001 - as above
                    value = await _awaited(handler, ctx, named)
        return _ended(handler, ctx, fields, value)
    except BaseException as error:  # noqa: BLE001 - as above, and a task that was cancelled
        return _raised(handler, ctx, fields, error)


def unbegun(hold: Hold) -> Report | None:
    """Say what becomes of a job that is to stop before its handler was called; None: it is to begin."""
    if hold.left or hold.fenced:
        return Report(hold.id, hold.token, "returned")
    return Report(hold.id, hold.token, "cancelled") if hold.cancel else None


def failed(
    handler: Handler, ctx: Context, fields: Fields, error: BaseException, *, told: str | None = None, lost: bool = False
) -> Report:
    """Say that an attempt failed: for good, or to run again by the handler's rule (C16).

    Args:
        handler: its declaration.
        ctx: its context.
        fields: the job's hash as it was.
        error: why.
        told: its traceback, if it comes from elsewhere.
        lost: its process died under it: that also counts as a loss, of which the third interrupts (C12).

    """
    kind, message = _kind(error), _clean(_text(error)[:MESSAGE_MOST])
    told = _clean(_cut("".join(traceback.format_exception(error, limit=-40)) if told is None else told))
    words: list[Word] = ["error_type", kind, "error", message, "traceback", told]
    report = Report(ctx.id, ctx.token, "failed", words, error=(kind, message))
    if lost:
        losses = int(fields.get(b"losses", b"0")) + 1
        words += ("losses", losses)
        if losses >= LOSSES_MOST:
            report.outcome = "interrupted"
            words[3] = message = f"lost {losses} times, the last time by worker {ctx._link.worker}: {message}"  # noqa: SLF001 - as above
            report.error = (kind, message)
            return report
    if not isinstance(error, _HOPELESS):
        pause = next_delay(handler.retry, ctx.attempt, error, CHANCE.random())
        if pause is not None:
            report.outcome, report.result_ms = "retry", int(pause * 1000)
            report.result = attempt_text(ctx.attempt, ctx._link.worker, kind, message, told).encode()  # noqa: SLF001 - as above
    return report


class _Forks:
    """How many forks lie between this process and the one that imported this module: cheaper to ask than the pid."""

    count = 0

    @classmethod
    def one_more(cls) -> None:
        cls.count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Forks.one_more)


def _called(handler: Handler, ctx: Context, named: dict[str, Any]) -> Any:
    forks = _Forks.count
    try:
        return handler.function(ctx, **named)
    finally:
        if forks != _Forks.count:
            _end_fork()


async def _awaited(handler: Handler, ctx: Context, named: dict[str, Any]) -> Any:
    forks = _Forks.count
    try:
        return await handler.function(ctx, **named)
    finally:
        if forks != _Forks.count:
            _end_fork()


def _end_fork() -> NoReturn:
    """End a process that the handler has forked, and say what it raised: nobody else would."""
    error = sys.exception()
    if error:
        with suppress(Exception):
            traceback.print_exception(error)
    os._exit(1 if error else 0)


def _params(handler: Handler, fields: Fields) -> dict[str, Any]:
    if b"order" in fields:
        return _merged(handler, fields)
    params = unpack_value(join_params(fields))
    if not isinstance(params, dict):
        raise PayloadError(f"params: stored is a {type(params).__name__}, not a mapping.")
    named = cast("dict[str, Any]", params)
    if b"gathered" in fields:
        named[EVENTS] = events_of(int(fields[b"gathered"]), fields.get(b"events", b""))
    if b"event" in fields and fields[b"event"].decode() in BUILT_IN and not handler.open_ended:
        named = {name: value for name, value in named.items() if name in handler.accepts or name not in TOLD}
    return handler.bound(named)


def _merged(handler: Handler, fields: Fields) -> dict[str, Any]:
    """Return the params of a step: of all that an order has gathered, a handler is given what it takes (O5)."""
    params = params_of_step(fields)
    if not handler.open_ended:
        params = {name: value for name, value in params.items() if name in handler.accepts}
    return handler.bound(params)


@contextmanager
def _sessions(handler: Handler, ctx: Context, fields: Fields) -> Generator[dict[str, Any]]:
    """Let ``ctx.session`` find them as long as the attempt lasts."""
    sessions = sessions_of(needs_of(fields, handler.uses), ctx.job)
    ctx._hand_sessions(sessions)  # noqa: SLF001 - its worker's side
    try:
        yield sessions
    finally:
        ctx._hand_sessions(None)  # noqa: SLF001 - as above


def _ended(handler: Handler, ctx: Context, fields: Fields, value: object) -> Report:
    link = ctx._link  # noqa: SLF001 - its worker's side
    if link.late:
        return _late(handler, ctx, fields)
    report = Report(ctx.id, ctx.token, "succeeded")
    if value is not None:
        try:
            if isinstance(value, Goto):
                report.fields, value = ["goto", _next_step(ctx, value)], value.output
            if value is not None:
                report.result = pack_value("result", value)
        except (InvalidInput, PayloadError) as error:
            return failed(handler, ctx, fields, error)
        ttl = fields.get(b"result_ttl")
        report.result_ms = int(ttl) if ttl else int(RESULT_TTL * 1000)
    if b"order" in fields:
        report.result_ms = KEPT_BY_ORDER
    if ctx.jobs:
        report.jobs = ctx.jobs
    return report


def _next_step(ctx: Context, goto: Goto) -> str:
    """Return the name of the step that a handler has chosen (O15).

    Raises:
        InvalidInput: there is nothing to choose, or the step maps no such code.

    """
    handed, said = ctx.job.handed, f"Goto({goto.step!r})"
    if handed is None:
        raise InvalidInput(f"{said}: this job is no step of an order. Return its output instead.")
    if ctx.job.element is not None:
        raise InvalidInput(
            f"{said}: the run for one element of a list cannot choose the next step. Return its output, and let a step "
            "behind choose."
        )
    if isinstance(goto.step, str):
        return goto.step
    name = step_of_code(handed.codes, goto.step)
    if name is None:
        has = f"maps {handed.codes}" if handed.codes else "has no codes"
        raise InvalidInput(f"{said}: step {ctx.job.step} {has}. Map the code in its chain, or name the step.")
    return name


def _late(handler: Handler, ctx: Context, fields: Fields, error: BaseException | None = None) -> Report:
    """Say what became of an attempt that should have stopped, whatever it returned."""
    link = ctx._link  # noqa: SLF001 - its worker's side
    if link.fenced or (link.left and not link.late):
        return Report(ctx.id, ctx.token, "abandoned")
    told = None if error is None else "".join(traceback.format_exception(error, limit=-40))
    limit = handler.timeout or 0
    return failed(handler, ctx, fields, Timeout(f"it ran longer than its timeout of {limit:g} s"), told=told or "")


def _raised(handler: Handler, ctx: Context, fields: Fields, error: BaseException) -> Report:
    link = ctx._link  # noqa: SLF001 - its worker's side
    if link.fenced or link.late or link.left:
        return _late(handler, ctx, fields, error)
    if isinstance(error, Cancelled) or (link.cancel and not isinstance(error, Exception)):
        return Report(ctx.id, ctx.token, "cancelled")
    if isinstance(error, Goto):
        return _ended(handler, ctx, fields, error)
    if isinstance(error, Skip):
        return Report(ctx.id, ctx.token, "skipped", ["reason", _clean(error.reason)], jobs=ctx.jobs)
    if isinstance(error, NoSeat):
        needs = needs_of(fields, handler.uses)
        refused = tuple(needs) if error.pool is None else (error.pool,)
        if len(refused) == 1 and refused[0] in needs:
            return Report(ctx.id, ctx.token, "returned", refused=refused)
        # Given back, it would be taken again at once: no pool that it uses is closed.
        used = f"this job uses {', '.join(needs) or 'none'}"
        wrong = f"NoSeat names pool {error.pool}, but" if error.pool else "which pool? raise NoSeat(pool=...):"
        error = NoSeat(f"{error} ({wrong} {used})")
    return failed(handler, ctx, fields, error)


def _kind(error: BaseException) -> str:
    kind = type(error).__qualname__
    if isinstance(error, RetryAfter | NoSeat):
        kind = "Retry.after" if isinstance(error, RetryAfter) else "NoSeat"
    elif type(error).__module__ not in {"builtins", "__main__"} and not isinstance(error, SeatlineError):
        kind = f"{type(error).__module__}.{kind}"
    return _clean(kind[:200])


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
