"""Outside witness of the drawing vault: python vault_witness.py VAULT, until SIGTERM; then it prints what it has seen, as JSON.

Again and again it asks the vault's server how many seats are in use, and the kernel how many licences are locked. It takes
no lock itself, for that could be what a handler meets.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path

from seatline.producer import Queue
from seatline.shared import embedded
from seatline.shared.errors import NoSuchPool, ServerError

PERIOD = 0.02


def main(vault: Path) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    seats, locks = list[int](), list[int]()
    queue: Queue | None = None
    while not stop.wait(PERIOD):
        try:
            if queue is None:
                server = embedded.status(vault / ".server")
                queue = Queue(server.url, namespace="vault") if server else None
            if queue is not None:
                seats.append(queue.pools["cad"].in_use)
        except (NoSuchPool, ServerError):  # it begins, or has ended
            if seats:
                break
        locks.append(locked(vault / "licences"))
    seen = {"seats": max(seats, default=0), "locks": max(locks, default=0), "looks": len(seats)}
    sys.stdout.write(f"{json.dumps(seen)}\n")
    sys.stdout.flush()
    stop.wait()


def locked(folder: Path) -> int:
    """Return how many files of a folder are locked by somebody (Linux)."""
    files = {path.stat().st_ino for path in folder.glob("licence-*")}
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()] if files else []
    return sum(line[1] == "FLOCK" and int(line[5].rpartition(":")[2]) in files for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
