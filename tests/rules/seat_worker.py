"""A worker process whose types take seats: ``python -m rules.seat_worker '{"url": ..., "uses": {"a": {"vault": 1}}}'``.

Each run adds a line ``type id`` to the file ``runs`` of its folder. A job whose params say ``hold`` runs until its process
dies. Writes its id and pid as one line of JSON before it begins.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from seatline.worker import Context, Handlers, Worker


def run(ctx: Context, folder: str, hold: bool = False) -> None:
    with (Path(folder) / "runs").open("a") as runs:
        runs.write(f"{ctx.type} {ctx.id}\n")
    if hold:
        threading.Event().wait(60)


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[1])
    handlers = Handlers()
    for type_, uses in options.pop("uses").items():
        handlers.handler(str(type_), uses=uses, if_lost="rerun")(run)
    worker = Worker(handlers, options.pop("url"), **options)
    sys.stdout.write(json.dumps({"id": worker.id, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    worker.run()


if __name__ == "__main__":
    main()
