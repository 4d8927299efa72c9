"""Stands for the licence server of a CAD program: two licences, and whoever comes third is refused.

It knows nothing of Seatline: each licence is a file that its holder has locked, and the kernel takes the lock back when the
holder ends, however it ends. Every coming, going and refusal is a line of ``journal``. That makes it a witness: if Seatline
ever gave out a third seat, there would be a refusal.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LICENCES: Final = 2


class NoLicence(Exception):
    """All licences are in use."""


@contextmanager
def licence(folder: Path) -> Generator[str]:
    """Hold a licence.

    Raises:
        NoLicence: all are in use.

    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, LICENCES + 1):
        with (folder / f"licence-{number}").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _note(folder, f"licence-{number} taken")
            try:
                yield file.name
            finally:
                _note(folder, f"licence-{number} returned")
            return
    _note(folder, "refused")
    raise NoLicence(f"all {LICENCES} licences are in use")


def _note(folder: Path, text: str) -> None:
    line = f"{time.time():.3f} {os.getpid()} {text}\n"
    descriptor = os.open(folder / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())  # one short write to a file opened so is not torn
    finally:
        os.close(descriptor)
