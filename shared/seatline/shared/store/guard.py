"""The guard at every start: no queue is built on a server that is too old or deletes what it was given (R5).

It rides in the first exchange on a connection, by which the server's run id is asked anyway. A server that is too old, or
evicts, is refused before anything is written there, at each connection; what else could be better is logged once for a
process and a run of the server, and after that a connection asks no more than the run id. A login that may not ask INFO sees
nothing here: somebody else's start does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from seatline.shared.calls.base import Command
from seatline.shared.errors import ServerRefused
from seatline.shared.findings import Severity
from seatline.shared.server_facts import Clock, ServerFacts, info_of
from seatline.shared.server_rules import EVICTION, at_start, fatal

__all__ = ["admit", "questions"]

log = logging.getLogger("seatline.guard")

#: One by one: Redis 6.2 takes one section a command.
_ALL: Final[tuple[Command, ...]] = (("INFO", "server"), ("INFO", "memory"), ("INFO", "persistence"))
_FORCE: Final = "To go on all the same: SEATLINE_ALLOW_EVICTION=1, or allow_eviction=True."

#: The run of each server that this process has looked at and found no harm in, by where it is.
_known = dict[str, str]()
#: Servers and runs of which it has told, and which contact did. No lock: a fork might come while it is held.
_told = dict[tuple[str, str], object]()


def questions(place: str) -> Sequence[Command]:
    """Return what to ask a server before the first words: all, or who it is if this process knows it."""
    return _ALL[:1] if place in _known else _ALL


def admit(said: Sequence[bytes], began: float, ended: float, place: str, *, allow_eviction: bool) -> bool:
    """Let a start go on with the server that said this, or refuse it.

    Args:
        said: its answers to :func:`questions`; none: this login may not ask.
        began: when it was asked, by this machine's clock (epoch seconds).
        ended: when it had answered.
        place: where it is, without a password.
        allow_eviction: whether one that evicts is taken all the same.

    Returns:
        False: it runs anew; ask again.

    Raises:
        ServerRefused: it is too old, or it evicts.

    """
    info = info_of(said)
    run = info.get("run_id", "")
    if said and len(said) < len(_ALL):
        if _known.get(place) == run:
            return True
        _known.pop(place, None)
        return False
    server = info.get("server_time_usec", "")
    clock = Clock(int(server) // 1000, int(began * 1000), int(ended * 1000) + 1) if server.isdecimal() else None
    findings = at_start(ServerFacts(info, clock=clock))
    bad = [finding for finding in findings if fatal(finding)]
    for finding in bad:
        if not (finding.kind is EVICTION and allow_eviction):
            force = f" {_FORCE}" if finding.kind is EVICTION else ""
            raise ServerRefused(f"{place}: {finding.said} To mend it: {finding.cure.rstrip('.')}.{force}")
    if not bad:
        _known[place] = run
    me = object()
    if _told.setdefault((place, run), me) is not me:
        return True
    for finding in findings:
        if finding.severity >= Severity.WARNING:
            log.warning("%s: %s To mend it: %s", place, finding.said, finding.cure)
    return True
