"""The look of ``verify`` at a live namespace: small ones in one moment, large ones walked, doubts looked at again."""

from __future__ import annotations

from dataclasses import dataclass

from seatline.console.invariants import Violation, broken
from seatline.console.moment import Moment, names_of, read_moment
from seatline.shared.store import Store

__all__ = ["Audit", "audit"]


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found, and how much was looked at."""

    violations: list[Violation]
    jobs: int
    keys: int


def audit(store: Store) -> Audit:
    """Look, and look again at whatever seems wrong."""
    moment = _look(store)
    found = broken(moment)
    if found:
        moment = _look(store)
        before = {(violation.rule, violation.subject) for violation in found}
        found = [violation for violation in broken(moment) if (violation.rule, violation.subject) in before]
    return Audit(found, sum(map(len, moment.places.values())), len(moment.kinds))


def _look(store: Store) -> Moment:
    return read_moment(store, names_of(store))
