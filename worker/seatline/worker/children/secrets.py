"""Forget the server's address and password: a child process has no use for them (F19, reliability.md 5.15).

Removed from ``os.environ``, a variable is still shown by ``/proc/<pid>/environ``: that is the memory that the program
was started with. So its values are overwritten there too.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

__all__ = ["NO_SERVER", "PREFIX", "forget_secrets"]

PREFIX: Final = "SEATLINE_"
#: In place of them.
NO_SERVER: Final = {"SEATLINE_EMBEDDED": "never"}


def forget_secrets() -> None:
    """Remove all ``SEATLINE_*`` variables from this process, for good.

    A ``Queue()`` without a URL is an error then: an embedded server that a child started would end with the child's job,
    and what it was given with it.
    """
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update(NO_SERVER)
    start, end = _initial_environment()
    if start:
        at = start
        for entry in ctypes.string_at(start, end - start).split(b"\0"):
            variable, _, value = entry.partition(b"=")
            if variable.startswith(PREFIX.encode()):
                ctypes.memset(at + len(variable) + 1, 0, len(value))
            at += len(entry) + 1


def _initial_environment() -> tuple[int, int]:
    """Return where the kernel put it (proc(5), stat: fields 50 and 51), or zeros where that is not told."""
    try:
        stat = Path("/proc/self/stat").read_bytes()
    except OSError:
        return 0, 0
    fields = stat.rpartition(b") ")[2].split()  # from field 3 on: the name in field 2 may hold anything
    return (int(fields[47]), int(fields[48])) if len(fields) > 48 else (0, 0)  # noqa: PLR2004 - see above
