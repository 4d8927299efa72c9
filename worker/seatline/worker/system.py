"""What only the kernel can do for processes: die with the parent, adopt orphans, count one's children.

Linux has all of it. Elsewhere the functions do nothing or know nothing, and process groups have to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Container
from pathlib import Path
from typing import Any, Final

__all__ = [
    "adopt_orphans",
    "die_with_parent",
    "end_offspring",
    "go_first",
    "how_it_ended",
    "kill_group",
    "offspring",
    "rename",
    "said_exit",
]

_LINUX: Final = sys.platform == "linux"
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36

#: What a child counts for more than its worker when the kernel looks for a victim (-1000 to 1000).
OOM_SCORE: Final = 300
#: Bound once: in a process that was just forked, every look-up is one too many.
_prctl: Any = ctypes.CDLL(None).prctl if _LINUX else None
#: Some kernels are built without the list of a task's children.
_LISTED: Final = Path(f"/proc/self/task/{os.getpid()}/children").exists()


def die_with_parent(number: int) -> None:
    """Have the kernel send this signal when the parent dies; the caller must look whether it has died already."""
    if _prctl:
        _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents die, also of those that left the session."""
    if _prctl:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def go_first() -> None:
    """When memory runs out, have the kernel kill this process rather than one that has not asked for it (F11)."""
    with contextlib.suppress(OSError, ValueError):
        path = Path("/proc/self/oom_score_adj")
        path.write_text(str(min(1000, int(path.read_text()) + OOM_SCORE)))


def rename(name: str) -> None:
    """Show this process as ``name`` in ps and top (at most 15 characters)."""
    if _prctl:
        _prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def offspring() -> list[int]:
    """Return the pids of this process' own children, ended ones that nobody has waited for among them."""
    found: list[int] = []
    if _LISTED:
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 - as below
            with contextlib.suppress(OSError):  # a thread that has just ended
                found += map(int, _content(f"/proc/self/task/{thread}/children").split())
    elif _LINUX:
        me = str(os.getpid()).encode()
        for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - as below
            with contextlib.suppress(OSError):  # a process that has just ended
                if _content(f"/proc/{name}/stat").rpartition(b") ")[2].split()[1] == me:
                    found.append(int(name))
    return found


def _content(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - a third of the time of Path, against fork bombs
        return file.read()


def kill_group(pid: int) -> None:
    """Kill a process and its group; one that has ended already is as good."""
    for kill in (os.killpg, os.kill):  # it may not have made its group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def end_offspring(seconds: float, spare: Container[int] = ()) -> tuple[int, bool]:
    """Kill and reap all children but ``spare``, and theirs, which fall to this process as theirs end.

    Returns:
        How many were alive, and whether none is left.

    """
    end, alive = time.monotonic() + seconds, set[int]()
    while pids := [pid for pid in offspring() if pid not in spare]:
        for pid in pids:
            if not _reaped(pid):
                alive.add(pid)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        if [pid for pid in pids if not _reaped(pid)]:
            if time.monotonic() > end:
                return len(alive), False
            time.sleep(0.001)
    return len(alive), True


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def how_it_ended(status: int) -> str:
    """Say a wait status in words; a SIGKILL that nobody here has sent is mostly the kernel's, for want of memory."""
    said = said_exit(os.waitstatus_to_exitcode(status))
    return f"{said} (out of memory?)" if said == "killed by SIGKILL" else said


def said_exit(code: int) -> str:
    """Say an exit code in words, a negative one as the signal: ``exit code 3``, ``killed by SIGSEGV``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
