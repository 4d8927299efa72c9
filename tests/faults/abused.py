"""Worker processes whose handlers do what no handler should, and a worker that is started as none should be.

A worker is ``python abused.py OPTIONS`` (JSON). Each handler writes lines to the ledger of its folder, so a test knows
what was really run, by whom, how often, and what it was told. Run by path, so that it imports nothing of the tests.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from seatline.producer import Queue
from seatline.shared.scripts import script
from seatline.worker import Context, Handlers, Retry, Worker

if TYPE_CHECKING:
    from faults.farm import Started
    from harness.processes import Children

__all__ = ["Yard"]

POLL = 0.01
LONG = 60.0


class Yard:
    """Starts such workers and reads their common ledger."""

    def __init__(self, children: Children, folder: Path) -> None:
        self._children, self.folder = children, folder
        self.ledger = folder / "ledger"
        self.ledger.touch()

    def worker(self, url: str, namespace: str, *types: str, **options: Any) -> Started:
        """Start a worker for these types, all without any; the test waits for `Started.ready` if it must."""
        from faults.farm import Started

        env, shell = options.pop("env", {}), options.pop("shell", "")
        words = {"url": url, "namespace": namespace, "types": types or None, "folder": str(self.folder), **options}
        args = [sys.executable, __file__, json.dumps(words)]
        return Started(self._children.spawn(["sh", "-c", shell, "sh", *args] if shell else args, env=env))

    def lines(self, what: str | None = None, job: str | None = None) -> list[dict[str, Any]]:
        """Return what handlers wrote, of one kind or all, of one job or all."""
        found = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        return [line for line in found if what in (None, line["what"]) and job in (None, line["id"])]

    def release(self, name: str) -> None:
        """Let the holding jobs with this name go, or all attempts of this number."""
        (self.folder / f"release-{name}").touch()

    @property
    def alive(self) -> set[int]:
        """Every process of all its workers."""
        return set(self._children.left())


# -- in the worker's process

FOLDER = Path()
HOARD: list[bytes] = []
handlers = Handlers()
queues: list[Queue] = []


def write(ctx: Context, what: str, **more: object) -> None:
    """Add a line to the ledger."""
    line = {"what": what, "id": ctx.id, "type": ctx.type, "attempt": ctx.attempt, "pid": os.getpid(), **more}
    with (FOLDER / "ledger").open("a") as file:
        file.write(json.dumps({**line, "at": time.monotonic()}) + "\n")


def released(ctx: Context, name: str) -> bool:
    """Whether the test lets it go."""
    return any((FOLDER / f"release-{word}").exists() for word in (name, ctx.attempt))


def note(ctx: Context) -> int:
    """Run at once."""
    write(ctx, "begin")
    return os.getpid()


def hold(ctx: Context, name: str = "") -> int:
    """Run until let go; when told to stop, say so once more, and stop."""
    write(ctx, "begin")
    try:
        while not released(ctx, name):
            ctx.sleep(POLL)
    except BaseException:
        write(ctx, "told", fenced=ctx.fenced)
        ctx.progress(99, 100, "too late")
        ctx.log("too late")
        raise
    write(ctx, "end")
    return os.getpid()


def deaf(ctx: Context, name: str = "") -> int:
    """Run until let go, whatever it is told."""
    write(ctx, "begin")
    while not released(ctx, name):
        time.sleep(POLL)
    write(ctx, "end", fenced=ctx.fenced)
    return os.getpid()


def family(ctx: Context, name: str = "") -> int:
    """Hold, with processes of its own beside it."""
    leave_running()
    return hold(ctx, name)


def company(ctx: Context, name: str = "") -> int:
    """Hold, with a process of its group beside it."""
    subprocess.Popen(["sleep", f"{LONG:g}"]).returncode = 0
    return hold(ctx, name)


def gil(ctx: Context, seconds: int) -> int:
    """Keep Python's lock in one call; returns how often another thread could run meanwhile."""
    ticks: list[float] = []
    begun = threading.Event()

    def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            begun.set()
            time.sleep(POLL)

    threading.Thread(target=tick, daemon=True).start()
    begun.wait()
    write(ctx, "begin")
    before = time.monotonic()
    ctypes.PyDLL(None).sleep(seconds)
    return sum(before + 0.1 < at < before + seconds - 0.1 for at in ticks)


def hang(ctx: Context) -> None:
    """Wait for ever, out of reach of what can be caught."""
    write(ctx, "begin")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def grow(ctx: Context, mib: int = 0) -> int:
    """Keep so much memory for good."""
    write(ctx, "begin")
    HOARD.append(b"x" * (mib << 20))
    return os.getpid()


def starve(ctx: Context) -> None:
    """Ask for more memory than it may have."""
    write(ctx, "begin")
    with open("/proc/self/statm") as file:  # noqa: PTH123
        pages = int(file.read().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (64 << 20)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        HOARD.append(b"x" * (128 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def leave_running() -> None:
    """Leave two children, two in sessions of their own, and two that are nobody's children any more."""
    for _ in range(2):
        for own in (False, True):
            subprocess.Popen(["sleep", f"{LONG:g}"], start_new_session=own).returncode = 0
        leave_orphan(lambda: os.execvp("sleep", ["sleep", f"{LONG:g}"]))


def leave_orphan(does: Callable[[], object]) -> None:
    """Fork twice, into a session of its own."""
    middle = os.fork()
    if not middle:
        os.setsid()
        if not os.fork():
            does()
        os._exit(0)
    os.waitpid(middle, 0)


def run_on(generations: int = 400) -> None:
    """Be somebody else every few ms: who looks for this process finds the next."""
    for _ in range(generations):
        if os.fork():
            os._exit(0)
        time.sleep(0.002)
    os._exit(0)


def bomb(ctx: Context) -> int:
    """Leave a handful of processes, deaf ones, and two that multiply."""
    write(ctx, "begin")
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave_running()
    signal.signal(signal.SIGTERM, before)
    for _ in range(2):
        leave_orphan(run_on)
    return os.getpid()


def end_by(ctx: Context, how: str) -> None:
    """End in a way that is no end of a handler."""
    write(ctx, "begin")
    if how == "os._exit(0)":
        os._exit(0)
    if how == "segfault":
        ctypes.string_at(0)
    if how.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[how])
    kinds: dict[str, BaseException] = {
        "sys.exit()": SystemExit(),
        "sys.exit(0)": SystemExit(0),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "GeneratorExit": GeneratorExit(),
        "BaseException": BaseException("on purpose"),
    }
    raise kinds[how]


def spoil(ctx: Context, how: str) -> None:
    """Change what is not this job's own."""
    write(ctx, "begin")
    if how == "descriptors":
        os.closerange(3, 256)
    elif how == "folder":
        gone = FOLDER / f"gone-{ctx.id}"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
    elif how == "signals":
        for signal_ in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM):
            signal.signal(signal_, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM})
        signal.alarm(1)
    elif how == "binary":
        for number in (1, 2):
            os.write(number, bytes(range(256)) * 8)
        ctx.log("".join(map(chr, range(256))) + "\ud800")
        ctx.progress(1, 2, "\0\x1b[2J\ud800")


def look(ctx: Context) -> dict[str, Any]:
    """Say what it finds of what others may have changed."""
    write(ctx, "begin")
    os.write(1, b"")
    os.write(2, b"")
    return {
        "folder": os.getcwd(),  # noqa: PTH109
        "ignored": [name for name in ("SIGINT", "SIGCHLD") if signal.getsignal(signal.Signals[name]) == signal.SIG_IGN],
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "alarm": signal.alarm(0),
    }


def fork(ctx: Context, through: bool = False) -> list[str]:
    """Use its worker's queue in a process that it forks; ``through``: let that come to the handler's end as well."""
    write(ctx, "begin")
    (queue,) = queues
    mine = queue.enqueue("thread.note")
    read, written = os.pipe()
    pid = os.fork()
    if not pid:
        ids = [queue.enqueue("thread.note").id for _ in range(5)]
        os.write(written, f"{queue.store._link()[1].client} {' '.join(ids)}".encode())
        os.close(written)
        if not through:
            os._exit(0)
        return []
    os.close(written)
    ids = [mine.id, *(queue.enqueue("thread.note").id for _ in range(5))]
    with os.fdopen(read) as file:
        said = file.read().split()
    os.waitpid(pid, 0)
    return [queue.store._link()[1].client, *ids, *said]


async def fork_async(ctx: Context, through: bool = False) -> list[str]:
    """Do the same in the event loop."""
    return fork(ctx, through)


def talk(ctx: Context) -> str:
    """Write where nothing can be written."""
    write(ctx, "begin")
    for number in (1, 2):
        try:
            os.write(number, b"noise\n" * 10)
        except OSError as error:
            write(ctx, "unheard", errno=error.errno)
    logging.getLogger("handler").warning("noise")
    ctx.log("kept")
    ctx.progress(1, 2)
    return "done"


def give(ctx: Context, what: str) -> object:
    """Return what cannot be kept."""
    write(ctx, "begin")
    return object() if what == "odd" else "x" * (8 << 20)


for isolation in ("thread", "process"):
    kind: Any = isolation
    for function in (note, hold, talk):
        handlers.handler(f"{isolation}.{function.__name__}", if_lost="rerun", isolation=kind)(function)
    handlers.handler(f"{isolation}.end", isolation=kind)(end_by)
    handlers.handler(f"{isolation}.give", isolation=kind, retry=Retry(attempts=3, first=0))(give)
handlers.handler("thread.deaf", if_lost="rerun")(deaf)
handlers.handler("thread.fork")(fork)
handlers.handler("process.fork", isolation="process")(fork)
handlers.handler("async.fork")(fork_async)
for name, function_ in {
    "family": family,
    "company": company,
    "gil": gil,
    "grow": grow,
    "starve": starve,
    "bomb": bomb,
    "spoil": spoil,
    "look": look,
}.items():
    handlers.handler(f"process.{name}", if_lost="rerun", isolation="process")(cast("Callable[..., Any]", function_))
handlers.handler("process.hang", isolation="process", timeout=1.2)(hang)
handlers.handler("process.limited", isolation="process", timeout=0.3)(hold)
handlers.handler("process.poison", isolation="process", if_lost="rerun", retry=Retry(attempts=9, first=0))(end_by)
handlers.handler("thread.poison", if_lost="rerun")(end_by)
handlers.shell("shell.fails", ["sh", "-c", "exit 3"])


def main(words: str) -> None:
    """Run the worker; say who it is when it begins, and what it did when it has ended."""
    global FOLDER  # noqa: PLW0603 - set once, before anything runs
    options: dict[str, Any] = json.loads(words)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    FOLDER = Path(options.pop("folder"))
    url, namespace = options.pop("url"), options["namespace"]
    queues.append(Queue(url, namespace=namespace))
    worker = Worker(handlers, url, **{"timeout": 0.5, "connect_timeout": 0.5, "deadline": 5.0, **options})
    print(json.dumps({"id": worker.id, "pid": os.getpid(), "turn": script("turn").sha}), flush=True)  # noqa: T201
    summary = worker.run()
    print("\n" + json.dumps(dataclasses.asdict(summary)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
