"""The standard streams of a process that has nowhere to write: closed by whoever started it, or on a full disk (F20)."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["drop_unwritten_errors", "fill_standard_streams"]


def fill_standard_streams() -> None:
    """Open those that are closed on the null device: else a connection gets the number, and who prints writes into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest free number: this one


def drop_unwritten_errors() -> None:
    """Drop what standard error could not write; else the interpreter, at its very end, exits with 120 because of it.

    A log line that finds no room must not make a failure of a worker that ended well, nor hide a command's exit code.
    """
    if sys.stderr is None:  # as under pythonw
        return
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # somebody's own stream, without a number, or closed
            _flush_into_nothing(sys.stderr.fileno())


def _flush_into_nothing(number: int) -> None:
    kept, nothing = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, number)
        sys.stderr.flush()
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nothing)
