"""What the handlers of the executor table do, once for each kind of handler; and the worker process that runs them.

``python table_handlers.py URL ISOLATION FOLDER SLOTS``; the namespace is named like the isolation. A handler speaks to
the test through files in the folder, named ``<id>.<word>``: ``begun``, ``login``, ``logout``, ``told`` (it was told to
stop and goes on), ``pids`` of what it has started; it waits for ``<id>.go``. Run by path, so that it imports nothing of
the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from seatline.worker import Context, Handlers, Session, Skip, Worker

LONG = 60.0
POLL = 0.01
TIMEOUT = 0.5
#: What a result may not be longer than.
RESULT_MOST = 8 * 1024 * 1024
FOLDER = Path()


class Odd(BaseException):
    """Nothing that ``except Exception`` would catch."""


def mark(job_id: str, word: str, text: str = "") -> None:
    """Tell the test."""
    with (FOLDER / f"{job_id}.{word}").open("a") as file:
        file.write(text)


def may_go(ctx: Context) -> bool:
    """Whether the test lets it go."""
    return (FOLDER / f"{ctx.id}.go").exists()


@contextmanager
def login(session: Session) -> Iterator[str]:
    """Log in to the vault."""
    assert session.job
    mark(session.job.id, "login")
    try:
        yield f"vault for {session.job.id}"
    finally:
        mark(session.job.id, "logout")


# -- plain functions: in a thread, or in a child process


def _raise(_: Context) -> NoReturn:
    raise ValueError("on purpose")


def _skip(_: Context) -> NoReturn:
    raise Skip("on purpose")


def _odd(_: Context) -> NoReturn:
    raise Odd("on purpose")


def _listen(ctx: Context) -> NoReturn:
    ctx.sleep(LONG)
    raise AssertionError("nobody has stopped it")


def _ignore(ctx: Context) -> str:
    if "process" in ctx.type:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    told = False
    while not may_go(ctx):
        time.sleep(POLL)
        if ctx.cancelled and not told:
            told = True
            mark(ctx.id, "told")
    return "its own way"


def _close_stdout(_: Context) -> str:
    sys.stdout.close()
    with contextlib.suppress(OSError):
        os.close(1)
    return "done"


def _fork(ctx: Context) -> str:
    """Leave three processes: a child, one in a session of its own, and one that is nobody's child any more."""
    stay = ["sleep", f"{LONG:g}"]
    for own in (False, True):
        process = subprocess.Popen(stay, start_new_session=own)
        process.returncode = 0  # nobody shall wait for it
        mark(ctx.id, "pids", f"{process.pid}\n")
    middle = os.fork()
    if not middle:
        os.setsid()
        if not os.fork():
            mark(ctx.id, "pids", f"{os.getpid()}\n")
            os.execvp(stay[0], stay)
        os._exit(0)
    os.waitpid(middle, 0)
    while (FOLDER / f"{ctx.id}.pids").read_text().count("\n") < 3:
        time.sleep(POLL)
    return "done"


PLAIN: dict[str, Callable[[Context], Any]] = {
    "return": lambda _: "done",
    "raise": _raise,
    "skip": _skip,
    "listen": _listen,
    "ignore": _ignore,
    "os._exit": lambda _: os._exit(0),
    "SIGKILL": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda _: ctypes.string_at(0),
    "huge": lambda _: "x" * (RESULT_MOST + 1),
    "unserialisable": lambda _: object(),
    "BaseException": _odd,
    "closes stdout": _close_stdout,
    "forks": _fork,
}


def plain(ctx: Context, do: str) -> Any:
    """Do it."""
    assert ctx.session("vault").client == f"vault for {ctx.id}"
    mark(ctx.id, "begun", f"{os.getpid()}")
    return PLAIN[do](ctx)


def bystander(ctx: Context) -> str:
    """Run in another slot until it may go."""
    mark(ctx.id, "begun", f"{os.getpid()}")
    while not may_go(ctx):
        ctx.sleep(POLL)
    return "unharmed"


# -- in the event loop


async def _listen_async(_: Context) -> NoReturn:
    await asyncio.sleep(LONG)
    raise AssertionError("nobody has stopped it")


async def _ignore_async(ctx: Context) -> str:
    while not may_go(ctx):
        try:
            await asyncio.sleep(POLL)
        except asyncio.CancelledError:
            mark(ctx.id, "told")
    return "its own way"


ASYNC: dict[str, Callable[[Context], Awaitable[Any]]] = {"listen": _listen_async, "ignore": _ignore_async}


async def native(ctx: Context, do: str) -> Any:
    """Do it."""
    assert ctx.session("vault").client == f"vault for {ctx.id}"
    mark(ctx.id, "begun", f"{os.getpid()}")
    await asyncio.sleep(0)
    return await ASYNC[do](ctx) if do in ASYNC else PLAIN[do](ctx)


async def bystander_async(ctx: Context) -> str:
    """Run beside the others until it may go."""
    mark(ctx.id, "begun", f"{os.getpid()}")
    while not may_go(ctx):  # noqa: ASYNC110 - the sign comes from another process
        await asyncio.sleep(POLL)
    return "unharmed"


# -- commands

COMMAND = r"""
mine=$FOLDER/$SEATLINE_JOB
test "$SEATLINE_SESSION_VAULT" = "vault for $SEATLINE_JOB" || exit 99
printf %s $PPID >"$mine.begun"
case $1 in
return) echo 'seatline:result "done"' ;;
raise) echo 'on purpose' >&2; exit 3 ;;
skip) exit 75 ;;
listen) exec sleep 60 ;;
ignore) trap ': >"$mine.told"' TERM; while [ ! -e "$mine.go" ]; do sleep 0.01; done ;;
SIGKILL) kill -KILL $PPID; sleep 60 ;;
SIGSEGV) kill -SEGV $$; sleep 60 ;;
huge) printf 'seatline:result "'; head -c $((8 * 1024 * 1024 + 1)) /dev/zero | tr '\0' x; echo '"' ;;
unserialisable) echo 'seatline:result <object at 0x7f>' ;;
'closes stdout') echo 'seatline:result "done"'; exec >&- 2>&- ;;
forks)
  sleep 60 & echo $! >>"$mine.pids"
  setsid sleep 60 & echo $! >>"$mine.pids"
  sh -c 'setsid sh -c '\''echo $$ >>"$0"; exec sleep 60'\'' "$0" &' "$mine.pids"
  while [ "$(wc -l <"$mine.pids")" -lt 3 ]; do sleep 0.01; done
  echo 'seatline:result "done"' ;;
bystander)
  while [ ! -e "$mine.go" ]; do sleep 0.01; done
  echo 'seatline:result "unharmed"' ;;
*) exit 98 ;;
esac
"""
WATCH = 'SEATLINE_SESSION_VAULT="vault for $SEATLINE_JOB"; set -- bystander\n' + COMMAND


def handlers_of(isolation: str) -> Handlers:
    """Declare the three types of a table: ``<isolation>.do``, the same with a timeout, and what runs beside them."""
    handlers = Handlers()
    handlers.login("vault")(login)
    uses = {"vault": 1}
    for name, timeout in (("do", None), ("limited", TIMEOUT)):
        type_ = f"{isolation}.{name}"
        if isolation == "shell":
            command, env = ["sh", "-c", COMMAND, "sh", "{do}"], {"FOLDER": str(FOLDER)}
            handlers.shell(type_, command, uses=uses, timeout=timeout, skip_codes=[75], env=env)
        elif isolation == "async":
            handlers.handler(type_, uses=uses, timeout=timeout)(native)
        else:
            kind: Any = isolation
            handlers.handler(type_, uses=uses, timeout=timeout, isolation=kind)(plain)
    beside = f"{isolation}.bystander"
    if isolation == "shell":
        handlers.shell(beside, ["sh", "-c", WATCH], env={"FOLDER": str(FOLDER)})
    elif isolation == "async":
        handlers.handler(beside)(bystander_async)
    else:
        kind = isolation
        handlers.handler(beside, isolation=kind)(bystander)
    return handlers


def main(url: str, isolation: str, folder: str, slots: str) -> None:
    """Run the worker."""
    global FOLDER  # noqa: PLW0603 - set once, before anything runs
    FOLDER = Path(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    Worker(
        handlers_of(isolation), url, namespace=isolation, slots=int(slots), lease=6.0, kill_after=0.3, cancel_after=0.3
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
