"""Real worker processes: started here, and what they run when they are started.

A worker is ``python farm.py URL NAMESPACE LEDGER SLOTS LEASE RENEW``. Its handlers write one line to the ledger when
they begin and one when they end, so a test knows what was really run, by whom, how often; ``hold`` goes on until the
test lets it go. Run by path, so that it imports nothing of the tests.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatline.worker import Context, Handlers, Worker

if TYPE_CHECKING:
    from harness.processes import Child

__all__ = ["LEASE", "RENEW", "Farm", "Started"]

LEASE = 1.2
RENEW = 0.3
POLL_SECONDS = 0.01


class Started:
    """A running worker."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.pid = child.pid

    def stop(self) -> None:
        """SIGSTOP the process; it notices nothing but the time that is gone."""
        self.child.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue it."""
        self.child.signal(signal.SIGCONT)

    def said(self, words: str) -> int:
        """Count the lines of its log with these words, without what it says of a server that keeps nothing on disk (R5)."""
        return sum(words in line for line in self.child.errors().splitlines() if "no append-only file" not in line)

    @property
    def ready(self) -> bool:
        """Whether it has registered."""
        assert self.child.running, self.child.errors()
        return self.said("startup: worker") > 0


class Farm:
    """Starts workers and reads their common ledger."""

    def __init__(self, spawn: Callable[..., Child], folder: Path) -> None:
        self._spawn, self.folder = spawn, folder
        self.ledger = folder / "ledger"
        self.ledger.touch()

    def worker(
        self, url: str, namespace: str, *, slots: int = 1, lease: float = LEASE, renew: float = RENEW
    ) -> Started:
        """Start a worker; the test waits for `Started.ready` if it must."""
        args = [sys.executable, __file__, url, namespace, self.ledger, slots, lease, renew]
        return Started(self._spawn([str(arg) for arg in args]))

    def lines(self, what: str | None = None, job: str | None = None) -> list[dict[str, Any]]:
        """Return what handlers wrote: ``begin`` and ``end``, or one of them; of one job or all."""
        found = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        return [line for line in found if what in (None, line["what"]) and job in (None, line["id"])]

    def release(self, name: str = "all") -> None:
        """Let the ``hold`` jobs with this name end."""
        (self.folder / f"release-{name}").touch()


# -- in the worker's process


def _handlers(ledger: Path) -> Handlers:
    handlers = Handlers()
    worker = os.getpid()  # types with seats run in its children

    def write(what: str, ctx: Context, **more: object) -> None:
        line = {"what": what, "id": ctx.id, "attempt": ctx.attempt, "token": ctx.token, "pid": worker, **more}
        line["at"] = time.monotonic()
        with ledger.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def until_released(ctx: Context, name: str) -> Iterator[None]:
        while not (ledger.with_name(f"release-{name}").exists() or ctx.cancelled):
            time.sleep(POLL_SECONDS)
            yield

    def hold(ctx: Context, name: str = "all") -> int:
        write("begin", ctx)
        for _ in until_released(ctx, name):
            pass
        write("end", ctx, cancelled=ctx.cancelled, fenced=ctx.fenced)
        ctx.check()
        return worker

    def deaf(ctx: Context, name: str = "all") -> int:
        write("begin", ctx)
        while not ledger.with_name(f"release-{name}").exists():
            time.sleep(POLL_SECONDS)
        write("end", ctx, cancelled=ctx.cancelled, fenced=ctx.fenced)
        return worker

    def note(ctx: Context, n: int = 0) -> int:
        write("begin", ctx)
        write("end", ctx, cancelled=ctx.cancelled, fenced=ctx.fenced)
        return n

    handlers.handler("hold", if_lost="rerun")(hold)
    handlers.handler("hold.once")(hold)
    handlers.handler("deaf", if_lost="rerun")(deaf)
    handlers.handler("note")(note)
    handlers.handler("note.seat", uses={"vault": 1})(note)
    handlers.handler("hold.seat", uses={"vault": 1}, if_lost="rerun")(hold)
    return handlers


def _main(url: str, namespace: str, ledger: str, slots: str, lease: str, renew: str) -> None:
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    Worker(
        _handlers(Path(ledger)), url, namespace=namespace, slots=int(slots), lease=float(lease), renew=float(renew),
        timeout=0.5, connect_timeout=0.5, deadline=5.0, grace=1.0,
    ).run()  # fmt: skip


if __name__ == "__main__":
    _main(*sys.argv[1:])
