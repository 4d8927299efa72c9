"""A worker process of the soak: ``python -m soak.runner OPTIONS``, a JSON object.

Its handlers hold a licence of the witness for as long as they work, and tell each begin and each end to a file that
they all append to::

    begin <job> <attempt> <token> <pid of the worker> <monotonic seconds>
    end   ...       the work is done and its licence given back; what is not settled yet
    stop  ...       it left early: cancelled, or its lease may be somebody else's
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from soak.witness import licence

from seatline.worker import Context, Handlers, Worker

__all__ = ["KINDS", "Kind", "make_handlers"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of the soak: its seats, and what happens when its worker is lost."""

    uses: Mapping[str, int]
    if_lost: Literal["interrupt", "rerun"]


KINDS: dict[str, Kind] = {
    "free": Kind({}, "rerun"),
    "free.once": Kind({}, "interrupt"),
    "one": Kind({"a": 1}, "rerun"),
    "one.once": Kind({"a": 1}, "interrupt"),
    "two": Kind({"b": 2}, "rerun"),
    "both": Kind({"a": 1, "b": 2}, "rerun"),
    "both.once": Kind({"a": 1, "b": 2}, "interrupt"),
    "long": Kind({"a": 1}, "rerun"),
}


def make_handlers(effects: int, witness: str) -> Handlers:
    """Declare all kinds; ``effects`` is a file descriptor opened with O_APPEND."""
    handlers = Handlers()
    worker = os.getpid()  # kinds with seats run in its children

    def note(what: str, ctx: Context) -> None:
        line = f"{what} {ctx.id} {ctx.attempt} {ctx.token} {worker} {time.monotonic():.6f}\n"
        os.write(effects, line.encode())  # one write: lines of many processes never mix

    def work(ctx: Context, seconds: float) -> dict[str, Any]:
        uses = KINDS[ctx.type].uses if ctx.job.uses is None else ctx.job.uses
        note("begin", ctx)
        ended = False
        try:
            with licence(witness, ctx.id, ctx.token, uses):
                ctx.sleep(seconds)
            ended = True
        finally:
            note("end" if ended else "stop", ctx)
        return {"token": ctx.token}

    for type_, kind in KINDS.items():
        handlers.handler(type_, uses=kind.uses, if_lost=kind.if_lost)(work)
    return handlers


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    options: dict[str, Any] = json.loads(sys.argv[1])
    effects = os.open(options.pop("effects"), os.O_WRONLY | os.O_APPEND)
    handlers = make_handlers(effects, options.pop("witness"))
    Worker(handlers, options.pop("url"), **options).run()


if __name__ == "__main__":
    main()
