"""Files for watched folders, and handlers of the jobs that they become. The watches are made by ``make_watch``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seatline.producer.watch import Watch
from seatline.worker import Handlers, Worker

__all__ = ["SETTLE", "Burst", "MakeWatch", "handlers_for", "write"]

SETTLE = 0.2

MakeWatch = Callable[..., Watch]
Burst = Callable[..., Worker]


def write(path: Path, text: str = "x", mtime: int | None = None) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    if mtime is not None:
        os.utime(path, ns=(mtime * 10**9, mtime * 10**9))
    return path


def handlers_for(**outcomes: Exception) -> Handlers:
    """Return a handler of ``t`` that raises what is said of a file's stem."""
    handlers = Handlers()

    @handlers.handler("t", isolation="thread")
    def run(ctx: Any, path: str, name: str, size: int, mtime: float) -> int:
        if error := outcomes.get(Path(name).stem):
            raise error
        return size

    return handlers
