"""What a watch remembers of files that stay where they are: which version was done last, and how its job has ended.

The queue knows a version by its token only while it keeps the job (7 days after its end, unless told otherwise). A file that is
kept may lie there for years, so its end is noted here, in a small SQLite file::

    done   creation   of the namespace: another server, or one that was emptied, knows nothing of it
           file       16 bytes: the type and the file's path, or its content if that counts
           token      the version's
           ended      succeeded, skipped, failed, cancelled, expired, or removed

One row a file, so it grows with the names that were ever seen, not with their versions. Watches share it. Without it (a
read-only disk) a watch goes on, and says so once.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from seatline.shared.embedded.folders import StateFolder
from seatline.shared.errors import SeatlineError

__all__ = ["Memory"]

log = logging.getLogger("seatline.producer")

SECONDS: Final = 5.0
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS done (creation TEXT, file BLOB, token TEXT, ended TEXT, PRIMARY KEY (creation, file)) "
    "WITHOUT ROWID"
)


class Memory:
    """The file, open inside ``with memory.open():``.

    Args:
        path: of the file; by default ``watch.db`` in the state folder of this user.

    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._base: sqlite3.Connection | None = None
        self._told = False

    @contextmanager
    def open(self) -> Generator[None]:
        """Open it, if it can be opened."""
        try:
            self._base = self._connected()
        except (OSError, sqlite3.Error, SeatlineError) as error:
            self._complain(error)
        try:
            yield
        finally:
            base, self._base = self._base, None
            if base is not None:
                base.close()

    def _connected(self) -> sqlite3.Connection:
        if self._path is None:
            folder = StateFolder.locate()
            folder.make()
            self._path = folder.path / "watch.db"
        base = sqlite3.connect(self._path, timeout=SECONDS, check_same_thread=False)
        try:
            with base:
                base.execute(_TABLE)
        except BaseException:
            base.close()
            raise
        return base

    def ended(self, creation: str, file: bytes, token: str) -> str | None:
        """Return how the job of a version has ended, None if that is not known."""
        if self._base is None:
            return None
        try:
            row = self._base.execute("SELECT token, ended FROM done WHERE creation = ? AND file = ?", (creation, file))
            found: tuple[str, str] | None = row.fetchone()
        except sqlite3.Error as error:
            self._complain(error)
            return None
        return found[1] if found is not None and found[0] == token else None

    def note(self, creation: str, ended: list[tuple[bytes, str, str]]) -> None:
        """Keep how versions have ended: file, token, how."""
        if self._base is None or not ended:
            return
        try:
            with self._base:
                self._base.executemany(
                    "INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)", [(creation, *row) for row in ended]
                )
        except sqlite3.Error as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "what is done cannot be kept in %s (%s): after a restart, a file that is still there is done again once the "
                "queue has forgotten its job.",
                self._path or "the state folder",
                error,
            )
