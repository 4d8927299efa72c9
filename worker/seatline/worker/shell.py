"""Commands as handlers (C18): a program with arguments, never a shell string.

It runs in a child process (``children/``), in its process group: what stops the child ends the command and all its
processes. The child follows it: output to the job's log as it comes, words to us (``printed.py``), a stop as SIGTERM to
the command. What it leaves running when it has ended is killed like that of any handler.

What the command gets: the worker's environment without ``SEATLINE_*`` (but SEATLINE_EMBEDDED=never), then ``env``, then::

    PARAM_<NAME>              each param: text as it is, other values as JSON
    SEATLINE_JOB              16 digits
    SEATLINE_TYPE, SEATLINE_ATTEMPT, SEATLINE_TENANT
    SEATLINE_PARAMS           all params, JSON
    SEATLINE_ORDER, SEATLINE_CHAIN, SEATLINE_STEP   of a step of an order
    SEATLINE_SESSION_<POOL>   what the login of a pool yielded: text as it is, plain data as JSON; other clients are
                              of no use to another process

In names, letters become upper case, and all but ASCII letters and digits ``_``. A variable that the kernel would not take
(128 KiB and more) is left out, and the log says so. Nothing is written to the command's standard input.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import signal
import string
import subprocess
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any, Final, cast
from uuid import UUID

from seatline.shared.errors import BadParams, InvalidInput, SeatlineError
from seatline.shared.order_params import step_of_code
from seatline.worker import system
from seatline.worker.context import Cancelled, Context
from seatline.worker.outcomes import Goto, Skip
from seatline.worker.printed import Lines, Printed
from seatline.worker.sessions import Session

__all__ = ["Command", "ExitCode"]

#: The kernel's limit for one argument or variable, less some for the name.
TEXT_MOST: Final = 128 * 1024 - 512
CHUNK: Final = 64 * 1024
#: What is still read when the command has ended: more than a pipe holds.
REST_MOST: Final = 1024 * 1024
#: Where the kernel cannot tell of a process' end, look so often (seconds).
LOOK_EVERY: Final = 0.05


class ExitCode(SeatlineError):
    """The command ended with an exit code other than 0, or by a signal (a negative ``code``)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Command:
    """A handler that runs a program: ``command(ctx, **params)``, in a child process.

    Args:
        command: program and arguments; ``{name}`` in an argument is replaced by that param, ``{{`` is a brace. A param never
            chooses the program, and never becomes more than one argument; to a program that takes options, pass ``--``
            before one.
        skip_codes: exit codes that end the job as skipped, 1 to 255.
        env: further variables.
        cwd: the folder to run in.

    Attributes:
        requires: the params that its arguments name.

    Raises:
        InvalidInput: an argument is not what it should be.

    """

    def __init__(
        self,
        command: Sequence[str],
        skip_codes: Collection[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(command, str):
            raise InvalidInput(f"command: {command!r} is one text. Give a list: program, then each argument by itself.")
        self._items = [_item(index, item) for index, item in enumerate(command)]
        if not self._items:
            raise InvalidInput("command: it is empty. Give a list: program, then each argument by itself.")
        self.requires = frozenset(name for item in self._items for _, name in item if name is not None)
        for code in skip_codes:
            if type(code) is not int or not 1 <= code <= 255:  # noqa: PLR2004 - what an exit code may be
                raise InvalidInput(f"skip_codes: {code!r} is not a whole number from 1 to 255.")
        self._skip_codes = frozenset(skip_codes)
        for name, value in (env or {}).items():
            texts = isinstance(cast("object", name), str) and isinstance(cast("object", value), str)
            if not texts or not name or "=" in name or "\0" in name + value:
                raise InvalidInput(f"env: {name!r}={value!r} is not text (without '=' in the name, without NUL).")
        self._env = dict(env or {})
        try:
            self._cwd = None if cwd is None else os.fspath(cwd)
        except TypeError:
            raise InvalidInput(f"cwd: {cwd!r} is not the path of a folder.") from None

    def __repr__(self) -> str:
        return f"<Command {self._items[0][0][0]}>"

    def __call__(self, ctx: Context, **params: Any) -> Any:
        """Run it; the result is what it said by ``seatline:result``, else None.

        Raises:
            ExitCode: it failed.
            Goto: its exit code is mapped by the step of an order that it is run for.
            Skip: it ended with one of the skip codes, or asked for it.
            Cancelled: it was stopped.
            FileNotFoundError, OSError: it cannot be started.
            BadParams: the params cannot be given to a command.

        """
        inner: Any = ctx
        link = inner._link  # noqa: SLF001 - a command follows the worker's word by itself
        printed = Printed(ctx)
        process = self._start([_filled(item, params) for item in self._items], self._environment(ctx, params))
        try:
            stopped = _follow(process, link, printed)
        finally:
            _end(process)
        if stopped:
            raise Cancelled
        handed = ctx.job.handed
        step = step_of_code(handed.codes, process.returncode) if handed else None
        return self._ended(process.returncode, printed, step)

    def _ended(self, code: int, printed: Printed, step: str | None) -> Any:
        if step is None and code in self._skip_codes:
            raise Skip(f"exit code {code}")
        if step is None and code:
            said = system.said_exit(code)
            if printed.tail:
                said = "\n".join((f"{said}: {printed.tail[-1].strip()}", "stderr ended:", *printed.tail))
            raise ExitCode(said, code)
        if printed.trouble:
            raise InvalidInput(printed.trouble)
        if step is not None:
            raise Goto(step, printed.result)
        if printed.skip is not None:
            raise Skip(printed.skip)
        return printed.result

    # -- its start

    def _start(self, arguments: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        program = arguments[0]
        if self._cwd is not None and not Path(self._cwd).is_dir():
            raise FileNotFoundError(f"cwd: the folder {self._cwd} does not exist on this machine")
        try:
            return subprocess.Popen(  # noqa: S603 - the handlers' author names the program; params are single arguments
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=env,
                cwd=self._cwd,
                preexec_fn=_die_with_child,  # noqa: PLW1509 - this process has one thread
            )
        except FileNotFoundError:
            where = f"in {self._cwd or Path.cwd()}" if os.sep in program else f"in PATH ({env.get('PATH', '')})"
            raise FileNotFoundError(f"the program {program!r} cannot be found {where}") from None
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise BadParams("the params are too long for arguments and environment of a command") from None
            raise OSError(error.errno, f"the program {program!r} cannot be started: {error.strerror}") from None

    def _environment(self, ctx: Context, params: Mapping[str, Any]) -> dict[str, str]:
        inner: Any = ctx
        # A child's own environment says only that there is no server to be had; a command is to know that, too.
        kept = "SEATLINE_EMBEDDED"
        env = {name: value for name, value in os.environ.items() if name == kept or not name.startswith("SEATLINE_")}
        env |= self._env
        ours = {f"PARAM_{_upper(name)}": _as_text(value) for name, value in sorted(params.items())}
        ours["SEATLINE_PARAMS"] = json.dumps(_plain(params), ensure_ascii=False)
        ours["SEATLINE_JOB"], ours["SEATLINE_TYPE"] = ctx.id, ctx.type
        ours["SEATLINE_ATTEMPT"], ours["SEATLINE_TENANT"] = str(ctx.attempt), ctx.tenant or ""
        if order := ctx.order:
            ours |= {"SEATLINE_ORDER": order.id, "SEATLINE_CHAIN": order.chain, "SEATLINE_STEP": order.step}
        sessions: dict[str, Session] = inner._sessions or {}  # noqa: SLF001 - as above
        for pool, session in sessions.items():
            text = _session_text(session.client)
            if text is not None:
                ours[f"SEATLINE_SESSION_{_upper(pool)}"] = text
        for name, value in ours.items():
            if "\0" in value:
                raise BadParams(f"{name} holds a NUL character, which no environment can")
            if len(value.encode("utf-8", "surrogateescape")) > TEXT_MOST:
                ctx.log(f"{name} is left out of the environment: longer than {TEXT_MOST:,} bytes")
            else:
                env[name] = value
        return env


# -- while it runs


def _follow(process: subprocess.Popen[bytes], link: Any, printed: Printed) -> bool:
    """Pass on what it prints until it ends, and a stop to it; returns whether it was stopped."""
    poll, stopped = select.poll(), False
    streams = {_number(process.stdout): (Lines(), printed.out), _number(process.stderr): (Lines(), printed.err)}
    for number in (*streams, link.fileno()):
        poll.register(number, select.POLLIN)
    with _end_of(process) as ending:
        if ending is not None:
            poll.register(ending, select.POLLIN)
        while True:
            ready = {number for number, _ in poll.poll(None if ending is not None else LOOK_EVERY * 1000)}
            if not stopped and link.over:
                stopped = True
                poll.unregister(link.fileno())
                process.terminate()
            with link.gathered():
                for number, (lines, take) in streams.items():
                    if number not in ready:
                        continue
                    data = os.read(number, CHUNK)
                    take(lines.feed(data))
                    if not data:
                        poll.unregister(number)
            if (ending is None or ending in ready) and process.poll() is not None:
                break
    with link.gathered():
        for number, (lines, take) in streams.items():
            for data in _rest(number):
                take(lines.feed(data))
            take(lines.end())
    return stopped


@contextlib.contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Generator[int | None]:
    """Give what becomes readable when the process has ended; None where there is no such thing."""
    try:
        ending = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield ending
    finally:
        os.close(ending)


def _rest(number: int) -> Iterator[bytes]:
    """Read what is there; a process that it has left running may go on printing for ever."""
    os.set_blocking(number, False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(REST_MOST // CHUNK):
            if not (data := os.read(number, CHUNK)):
                return
            yield data


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing open, whatever has happened."""
    if process.poll() is None:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def _die_with_child() -> None:
    system.die_with_parent(signal.SIGKILL)


def _number(stream: Any) -> int:
    return int(stream.fileno())


# -- texts


def _item(index: int, item: object) -> list[tuple[str, str | None]]:
    """Return an argument as pairs of text and the name of the param that follows it."""
    if not isinstance(item, str) or "\0" in item:
        raise InvalidInput(f"command[{index}]: {item!r} is not text (without NUL).")
    try:
        parts = list(string.Formatter().parse(item))
    except ValueError as error:
        raise InvalidInput(f"command[{index}]: {item!r}: {error}. Write {{{{ and }}}} for braces.") from None
    for _, name, spec, conversion in parts:
        if name is not None and (spec or conversion or not re.fullmatch(r"[^\W\d][\w-]*", name)):
            raise InvalidInput(f"command[{index}]: {item!r}: write {{name}}, the plain name of a param.")
        if name is not None and index == 0:
            raise InvalidInput(f"command[0]: {item!r}: a param may not choose the program.")
    if index == 0 and not item:
        raise InvalidInput("command[0]: the name of the program is empty.")
    return [(text, name) for text, name, _, _ in parts] or [("", None)]


def _filled(item: list[tuple[str, str | None]], params: Mapping[str, Any]) -> str:
    text = "".join(before + ("" if name is None else _as_text(params[name])) for before, name in item)
    if "\0" in text:
        names = ", ".join(name for _, name in item if name is not None)
        raise BadParams(f"{names}: holds a NUL character, which no argument can")
    return text


def _upper(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _as_text(value: Any) -> str:
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return what JSON can hold of the kinds that params have: bytes and all that has a usual text become text."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in cast("dict[str, Any]", value).items()}
        case set() | frozenset():
            return sorted((_plain(item) for item in cast("set[Any]", value)), key=str)
        case list() | tuple():
            return [_plain(item) for item in cast("list[Any]", value)]
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal() | UUID() | PurePath():
            return str(value)
        case _:
            return value


def _session_text(client: Any) -> str | None:
    """Return what a login yielded, if another process can use it."""
    if client is None:
        return None
    value = object.__getattribute__(client, "_seatline_client")  # the guard is for handlers that keep it
    if type(value) not in {str, int, float, bool, dict, list}:
        return None
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return None
