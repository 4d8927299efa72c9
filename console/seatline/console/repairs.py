"""``verify --repair``: what it would do, told before it is done; then done, and looked at again until nothing is left to do.

Each round is an audit and the mends that it brings (``mends.py``); the server makes each of them only if it is still right
(``repair.lua``). What one round puts right may show what the next one has to: a pool that is listed again, an id that is
counted. A round that changes nothing is the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from seatline.console.audit import audit
from seatline.console.violation import Violation
from seatline.shared.calls.repair import REPAIR_MOST, repair
from seatline.shared.store import Store

__all__ = ["Repaired", "is_count", "now_or_last", "repair_all", "shown"]

#: Rounds of one repair; what stands behind another damage comes in the second or third.
ROUNDS = 8
#: Things of one kind that are told of one by one.
SHOWN = 10


@dataclass(slots=True)
class Repaired:
    """What came of it: what was put right, how many mends came too late (somebody else's work had changed it), what is left."""

    done: list[Violation] = field(default_factory=list[Violation])
    late: int = 0
    left: list[Violation] = field(default_factory=list[Violation])


def repair_all(
    store: Store, found: Sequence[Violation], by: str, told: Callable[[Sequence[Violation]], None]
) -> Repaired:
    """Put right what was found, and what comes to light behind it, which ``told`` is told of before."""
    outcome = Repaired(left=list(found))
    for turn in range(ROUNDS):
        mends = now_or_last(outcome.left)
        if not mends:
            break
        if turn:
            told(mends)
        done = sum(_made(store, some, by, outcome) for some in _bites(mends))
        outcome.left = audit(store).violations
        if not done:
            break
    return outcome


def now_or_last(violations: Sequence[Violation]) -> list[Violation]:
    """Return those that can be mended now: the count of ids comes last, for what is put back is counted again."""
    mends = [violation for violation in violations if violation.mend]
    return [violation for violation in mends if not is_count(violation)] or mends


def is_count(violation: Violation) -> bool:
    """Whether it is the count of all ids."""
    return (violation.rule, violation.subject) == ("R1", "ids")


def _bites(mends: Sequence[Violation]) -> Iterator[Sequence[Violation]]:
    for start in range(0, len(mends), REPAIR_MOST):
        yield mends[start : start + REPAIR_MOST]


def _made(store: Store, some: Sequence[Violation], by: str, outcome: Repaired) -> int:
    made = store.run(repair([violation.mend for violation in some if violation.mend], by))
    done = [violation for violation, right in zip(some, made, strict=True) if right]
    outcome.done += done
    outcome.late += len(some) - len(done)
    return len(done)


def shown(violations: Sequence[Violation], line: Callable[[Violation], str]) -> Iterator[str]:
    """Iterate over lines about violations: of many of one kind the first, and how many more there are."""
    seen = Counter[tuple[str, str]]()
    kinds = Counter(map(_kind, violations))
    for violation in violations:
        kind = _kind(violation)
        seen[kind] += 1
        if seen[kind] <= SHOWN:
            yield line(violation)
        if seen[kind] == SHOWN and kinds[kind] > SHOWN:
            yield f"{violation.rule} and {kinds[kind] - SHOWN:,} more like that; -o ndjson lists them all"


def _kind(violation: Violation) -> tuple[str, str]:
    return violation.rule, violation.subject.partition(" ")[0]
