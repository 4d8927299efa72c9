"""The files of a watch: what is known of each, and what is said of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from seatline.producer.watch_folder import Version, shown

__all__ = ["File", "Said", "told"]

log = logging.getLogger("seatline.producer")


@dataclass(slots=True)
class File:
    """One version of one file: since when it is seen (monotonic), and what became of it.

    ``token``: its name (see :mod:`watch_work`); ``job``: the id of its job, or order; ``ended``: how that has ended, or
    ``removed``; ``created`` and ``run``: of the job and the server when last seen.
    """

    version: Version
    since: float
    token: str = ""
    key: bytes = b""
    sha256: str | None = None
    job: str | None = None
    created: int | None = None
    run: tuple[str, int | None] | None = None
    ended: str | None = None
    refused: bool = False
    asked: bool = False


class Said:
    """Tells the log what a watch does; what is wrong with a path it says once.

    Args:
        noun: of what the files become: ``job`` or ``order``.
        kind: ``type`` or ``chain``, and ``of``: its name; for logs in JSON.

    Attributes:
        wrong: path -> what is wrong with it now.

    """

    def __init__(self, noun: str, kind: str, of: str) -> None:
        self._noun, self._kind, self._of = noun, kind, of
        self.wrong: dict[str, str] = {}

    def complain(self, path: str, what: str) -> None:
        """Say once what is wrong with a path."""
        if self.wrong.get(path) != what:
            self.wrong[path] = what
            self.say(logging.WARNING, "left", f"{shown(path)}: {what}", path=path)

    def withdraw(self, path: str) -> None:
        """Nothing is wrong with it any more, or nobody cares."""
        self.wrong.pop(path, None)

    def of(self, level: int, event: str, path: str, file: File, said: str) -> None:
        """Tell something of a file."""
        self.say(level, event, f"{shown(path)}: {said}", **{"path": path, self._noun: file.job, self._kind: self._of})

    def say(self, level: int, event: str, said: str, **fields: object) -> None:
        """Tell something; the fields are for logs in JSON."""
        log.log(level, "%s", said, extra={"seatline": {"event": event, **fields}})


def told(error: OSError) -> str:
    """Return what the system says."""
    return (error.strerror or str(error)).lower()
