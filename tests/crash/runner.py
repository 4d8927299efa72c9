"""What a worker of the crash tests runs, and the ledger that its handlers keep.

Each line of the ledger is synced to the disk before the handler goes on, so it outlives whoever is killed next::

    {"what": "begin", "order": "R-7", "step": "two", "element": null, "job": "...", "attempt": 1, "token": ..., "at": ...}
    "raise"  it is about to fail, or to choose another step;   "end"  it is about to return

What a handler does is said by the order's own params, so that every step may be of one type:

    hold    this step (or ``step-element``) waits until the test lets it go
    fail    this step fails until somebody has mended it; a step ``repair`` mends
    goto    {"two": "one"}: this step chooses that one as the next, until it is mended
    give    {"list": {...}}: what this step returns, beside its path
    emit    this job emits an event of that name, with its end
    path    the steps whose outputs have been handed on so far, each once

A step returns its path with itself at the end, and ``made``: a word that is in no other step's report.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatline.worker import Context, Goto, Handlers, Worker, expansion

__all__ = ["KEPT", "ONCE", "WORK", "released", "run"]

#: Types: of steps, and of jobs that run again when they are lost; of jobs that do not; of steps without waits and syncs.
WORK, ONCE, KEPT = "crash.work", "crash.once", "crash.kept"
POLL_SECONDS = 0.005


def released(folder: Path, name: str) -> Path:
    """Return the file whose presence lets ``name`` go on."""
    return folder / f"go-{name}"


def run(options: Mapping[str, Any]) -> None:
    """Be a worker until killed; ``options``: those of Worker, the folder, and the bite of an expansion."""
    given = dict(options)
    sys.stdout = sys.stderr
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, force=True)
    folder = Path(given.pop("folder"))
    expansion.BITE = given.pop("bite", expansion.BITE)  # type: ignore[misc]
    Worker(_handlers(folder), given.pop("url"), **given).run()


def _handlers(folder: Path) -> Handlers:
    handlers = Handlers()
    ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_APPEND)

    def write(what: str, ctx: Context, *, sync: bool = True) -> None:
        line: dict[str, Any] = {"what": what, "job": ctx.id, "attempt": ctx.attempt, "token": ctx.token}
        if ctx.order is not None:
            line |= {"order": ctx.order.id, "step": ctx.order.step, "element": ctx.order.element}
        line |= {"pid": os.getpid(), "at": time.time()}
        os.write(ledger, (json.dumps(line) + "\n").encode())  # one write: lines of several workers never mix
        if sync:
            os.fsync(ledger)

    def step(ctx: Context, **params: Any) -> Any:
        write("begin", ctx)
        step, element = (ctx.order.step, ctx.order.element) if ctx.order else (ctx.type, None)
        name = step if element is None else f"{step}-{element}"
        while name == params.get("hold") and not (released(folder, name).exists() or ctx.cancelled):
            time.sleep(POLL_SECONDS)
        ctx.check()
        mended = released(folder, "mended")
        if step == "repair":
            mended.touch()
        path = [*params.get("path", []), step]
        if not mended.exists() and step == params.get("fail"):
            write("raise", ctx)
            raise RuntimeError(f"unmade-{step}")
        if not mended.exists() and step in params.get("goto", {}):
            mended.touch()
            write("raise", ctx)
            raise Goto(params["goto"][step], output={"path": path, "made": f"made-{step}"})
        if "emit" in params:
            ctx.emit(params["emit"], {"by": name})
        write("end", ctx)
        if element is not None:
            return f"made-{name}"
        return {"path": path, "made": f"made-{step}", **params.get("give", {}).get(step, {})}

    def quick(ctx: Context, n: int = 0, path: str = "") -> dict[str, Any]:
        write("begin", ctx, sync=False)
        return {"n": n + 1, "path": f"{path}{ctx.order.step if ctx.order else '?'} "}

    handlers.handler(WORK, if_lost="rerun")(step)
    handlers.handler(ONCE, if_lost="interrupt")(step)
    handlers.handler(KEPT, if_lost="rerun")(quick)
    return handlers
