"""On which cores the server and the measured processes run; Linux only, and only the calling thread's children.

Two processes that take turns (a client that waits, a server that answers) run up to three times as fast on one core
as on two where waking a sleeping core is dear, as in most virtual machines; left alone, the kernel picks one or the
other for a whole run. So a free run of a chatty system has two modes, and a ratio from it depends on luck. ``same``
takes the luck out and favours systems that make many round trips; ``apart`` gives server and client a core each.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

PLACEMENTS = ("free", "same", "apart")


class PlacementError(RuntimeError):
    """Processes cannot be placed as asked on this machine: pinning needs Linux, ``apart`` two cores."""


def require(placement: str) -> None:
    """Make sure that `placement` is possible here.

    Raises:
        PlacementError: It is not.

    """
    if placement == "free":
        return
    if not hasattr(os, "sched_setaffinity") or (placement == "apart" and len(os.sched_getaffinity(0)) < 2):
        raise PlacementError(PlacementError.__doc__)


@contextmanager
def placed(placement: str, *, server: bool = False) -> Iterator[None]:
    """Let processes that are started in the block run on the cores of a server, or of a client."""
    if placement == "free":
        yield
        return
    before = os.sched_getaffinity(0)
    first = min(before)
    os.sched_setaffinity(0, {first} if server or placement == "same" else before - {first})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
