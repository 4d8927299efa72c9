"""The look of ``verify`` at a live namespace: a small one in one moment, a large one walked, doubts looked at again.

A large namespace is not read whole in one MULTI, which would hold the server up. There, what only one moment can tell
is still read in one: the counts of all places (R1), running jobs, sessions, pools, types. Jobs, orders, members of places
and tokens are then walked in bites, each bite one moment of its own (``walk.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from seatline.console.invariants import broken, conservation
from seatline.console.moment import PLACES, Moment, names_of, read_moment
from seatline.console.violation import Violation
from seatline.console.walk import apart, kept_by_type, walk
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.store import Store

__all__ = ["Audit", "audit"]

#: Keys up to which a namespace is read whole, in some milliseconds.
SMALL = 500


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found, and how much was looked at."""

    violations: list[Violation]
    jobs: int
    keys: int


def audit(store: Store, small: int = SMALL) -> Audit:
    """Look, and look again at whatever seems wrong."""
    names = names_of(store)
    large = len(names) > small
    moment = _look(store, names, large=large)
    found = _judge(store, moment)
    if found:
        moment = _look(store, names_of(store), large=large)
        before = {(violation.rule, violation.subject) for violation in found}
        found = [violation for violation in _judge(store, moment) if (violation.rule, violation.subject) in before]
    if large:
        found += walk(store, names, moment)
    found += kept_by_type(store, names)
    jobs = sum(size for place, size in moment.sizes.items() if not place.startswith(("orders:", "chain:")))
    return Audit(found, jobs, len(names))


def _judge(store: Store, moment: Moment) -> list[Violation]:
    found = broken(moment)
    for pool in moment.overbooked():
        if _never_changed(store, pool):
            found.append(
                Violation("S2", f"pool {pool}", "more seats are held than there are, and there were never more.")
            )
    if not moment.all_lines():  # so many jobs come that no moment was whole; to count them is quick
        names = {name for name in moment.asked if name.startswith("ready:")}
        found += conservation(read_moment(store, names, frozenset(PLACES)))
    return found


def _never_changed(store: Store, pool: str) -> bool:
    """Whether the events still show the pool being made, and nothing done to it since: then it was never larger."""
    entries: Command = ("XRANGE", store.keys("events"), "-", "+")
    done = [
        text(fields[1]) for _, fields in store.read(Read([entries], lambda replies: replies[0])) if fields[0] == b"pool"
    ]
    return done.count(pool) == 1


def _look(store: Store, names: Collection[str], *, large: bool) -> Moment:
    if not large:
        return read_moment(store, set(names))
    return read_moment(store, apart(names), frozenset(PLACES) - {"running"})
