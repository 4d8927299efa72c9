"""The plan: which jobs are enqueued, and every number of the story."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Final

from seatline.shared.errors import SeatlineError
from seatline.shared.job import BULK_PRIORITY, Job

__all__ = [
    "AFTERWARDS",
    "BATCH",
    "BEFORE_URGENT",
    "CLOCK",
    "COMPRESS",
    "COUNT",
    "EMPTY",
    "LEASE",
    "NAMESPACE",
    "POOL",
    "RENEW",
    "SAMPLES",
    "SEATLESS",
    "SEATS",
    "SLOTS",
    "URGENT",
    "URGENT_PRIORITY",
    "WORKERS",
    "batch",
    "library_files",
    "seatless",
    "urgent",
]

NAMESPACE: Final = "default"  # so that the commands to try next need not name one
POOL: Final = "lzma"
SEATS: Final = 2
WORKERS: Final = 2
SLOTS: Final = 2
#: Seconds. Much shorter than the defaults (30 and 10), so that a killed worker's jobs come back while you watch.
LEASE: Final = 3.0
RENEW: Final = 1.0

COMPRESS, COUNT, CLOCK = "library.compress", "library.count", "clock.read"

#: Jobs that do nothing but tell the time: first one by one, to measure the pick-up, then together, to measure the queue.
SAMPLES: Final = 25
EMPTY: Final = 1000
BATCH: Final = 220
SEATLESS: Final = 40
URGENT: Final = 6
#: Jobs of the same kind that arrive after the crash, while the dead worker's seats are still held.
AFTERWARDS: Final = 100
URGENT_PRIORITY: Final = 1
#: The urgent jobs arrive when so many of the batch have ended.
BEFORE_URGENT: Final = 60
#: Places in the batch: of the file that is not there, and of the long job in which a worker is killed.
MISSING_AT: Final = 25
LONG_AT: Final = 130

#: A file larger than this would take too long, a smaller one than a few kB is no work at all.
FILE_MOST: Final = 120_000
#: Folders of the library that are not part of every installation, or are not the library.
_ELSEWHERE = {"__pycache__", "dist-packages", "idlelib", "site-packages", "test", "tests"}


def library_files() -> list[Path]:
    """Return this Python's own library, the largest files first.

    Raises:
        SeatlineError: there is none to be read, as in a Python that keeps it in an archive.

    """
    root = Path(os.__file__).parent
    files = [path for path in root.rglob("*.py") if not _ELSEWHERE.intersection(path.relative_to(root).parts)]
    if not files:
        raise SeatlineError(f"demo: {root} holds no library files to work on. Use an ordinary installation of Python.")
    return sorted(files, key=lambda path: (-path.stat().st_size, path))


def batch(files: list[Path], into: Path) -> tuple[list[Job], int, int]:
    """Return the bulk load, and the places of the long job and of the one that must fail."""
    moderate = [path for path in files if path.stat().st_size <= FILE_MOST] or files
    jobs = [_compress(path, into, n) for n, path in enumerate(itertools.islice(itertools.cycle(moderate), BATCH))]
    jobs.insert(MISSING_AT, _compress(files[0].with_name("no_such_module.py"), into, BATCH))
    jobs.insert(LONG_AT, _compress(files[0], into, BATCH + 1, thorough=True))
    return jobs, LONG_AT, MISSING_AT


def seatless(files: list[Path], count: int) -> list[Job]:
    """Return jobs that need no seat: slots without one go on with them."""
    chosen = itertools.islice(itertools.cycle(files), count)
    return [Job(COUNT, {"file": str(path)}, BULK_PRIORITY, title=path.name) for path in chosen]


def urgent(files: list[Path], into: Path) -> list[Job]:
    """Return jobs like those of the batch, but urgent."""
    smallest = [path for path in files if path.stat().st_size >= FILE_MOST / 10][-URGENT:]
    chosen = itertools.islice(itertools.cycle(smallest or files), URGENT)
    return [_compress(path, into, 1000 + n, priority=URGENT_PRIORITY) for n, path in enumerate(chosen)]


def _compress(path: Path, into: Path, number: int, *, priority: int = BULK_PRIORITY, thorough: bool = False) -> Job:
    target = into / f"{number:04}-{path.name}.xz"  # names repeat in the library: __init__.py
    params = {"file": str(path), "target": str(target), "thorough": thorough}
    return Job(COMPRESS, params, priority, title=path.name)
