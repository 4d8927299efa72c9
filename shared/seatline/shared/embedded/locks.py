"""Two locks: ``start.lock`` orders those who start or stop a server, ``alive.lock`` proves that one lives.

Both are flock(2) locks. They belong to the open file, not to the process: a child that inherits the file shares the
lock, and the kernel gives it back when the last of them has closed it or died. That is why ``start.lock`` is unlocked
explicitly (a fork of the holder must not keep it) and ``alive.lock`` is not: the server is to keep it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from seatline.shared.embedded.folders import StateFolder
from seatline.shared.errors import NoEmbeddedServer, ServerUnavailable

__all__ = ["is_alive", "life_lock", "start_lock"]

START_LOCK_SECONDS = 45.0
"""Longer than the holder may take to start (or fail to start) a server."""

_LIFE_LOCK_SECONDS = 2.0
_PAUSE_SECONDS = 0.01


@contextmanager
def start_lock(state: StateFolder, *, seconds: float = START_LOCK_SECONDS) -> Generator[None, None, None]:
    """Hold the right to start or stop the server of this folder.

    Raises:
        ServerUnavailable: somebody else held it for ``seconds``.
        NoEmbeddedServer: the file system has no locks.

    """
    import fcntl  # noqa: PLC0415 - the module must import on Windows

    file = os.open(state.start_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(file, fcntl.LOCK_EX, seconds, state):
            raise ServerUnavailable(
                f"Another process has been starting or stopping the server of {state.path} for {seconds:.0f} s. "
                f"Try again; `fuser {state.start_lock}` shows which."
            )
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)


@contextmanager
def life_lock(state: StateFolder) -> Generator[int, None, None]:
    """Hold ``alive.lock``, as a descriptor that the server is to inherit; only our own copy is closed at the end.

    Keep the block short: a child forked meanwhile by another thread would hold the lock too.

    Raises:
        ServerUnavailable: a living server holds it.

    """
    import fcntl  # noqa: PLC0415 - the module must import on Windows

    file = os.open(state.alive_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Who looks (is_alive) holds it shared for a moment, so a single try may fail for no reason.
        if not _lock(file, fcntl.LOCK_EX, _LIFE_LOCK_SECONDS, state):
            raise ServerUnavailable(f"A server of {state.path} lives already.")
        yield file
    finally:
        os.close(file)


def is_alive(state: StateFolder) -> bool:
    """Return whether a server of this folder lives, on this host or another that shares the folder.

    A lock for reading is tried, so that many may look at once.
    """
    import fcntl  # noqa: PLC0415 - the module must import on Windows

    try:
        file = os.open(state.alive_lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _lock(file, fcntl.LOCK_SH, 0.0, state)
    finally:
        os.close(file)


def _lock(file: int, kind: int, seconds: float, state: StateFolder) -> bool:
    import fcntl  # noqa: PLC0415 - the module must import on Windows

    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            raise NoEmbeddedServer(
                f"Files in {state.path} cannot be locked ({error.strerror}). "
                "Set SEATLINE_STATE to a folder on a local disk."
            ) from None
        else:
            return True
