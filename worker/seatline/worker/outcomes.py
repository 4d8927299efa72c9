"""What a handler may raise to say how its attempt ends, and whether a failed one runs again.

The rule itself is :class:`seatline.shared.retry.Retry`, which a chain's step may carry as well.
"""

from __future__ import annotations

from typing import Any, Final

from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput
from seatline.shared.retry import Retry, RetryAfter

__all__ = ["Goto", "NoSeat", "Retry", "RetryAfter", "Skip"]

REASON_MOST: Final = 2_000
CODE_MOST: Final = 255


class Skip(Exception):
    """End the job as ``skipped``: there is nothing to do ("entity has a newer version"). No failure, no retry (Q21)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = str(reason)[:REASON_MOST]


class Goto(Exception):
    """End a step of an order well and choose the step that comes next: ``return Goto("repair")``, or raise it (O15).

    Args:
        step: the name of a step of the same chain; or a number from 0 to 255 that is looked up in the step's ``codes``,
            as the exit code of a command is.
        output: what the step returns; None: nothing.

    In a job that is no step, or in a run for one element of a list, it fails the attempt.

    Raises:
        InvalidInput: it is neither a name nor such a number.

    """

    def __init__(self, step: str | int, output: Any = None) -> None:
        if type(step) is int and not 0 <= step <= CODE_MOST:
            raise InvalidInput(f"step: {step} is not a code from 0 to {CODE_MOST}.")
        super().__init__(f"go to {step}")
        self.step = step if type(step) is int else check_name("step", step)
        self.output = output


class NoSeat(Exception):
    """The real licence server refused: the job goes back to its place, uncounted (C16).

    The pool counts as externally full for 30 s, doubling up to 5 min while it is refused again. Raised in a login it
    speaks of that login's pool; raised in a handler it needs ``pool``, unless the job uses just one.
    """

    def __init__(self, message: str = "the licence server refused", *, pool: str | None = None) -> None:
        super().__init__(message)
        self.pool = None if pool is None else check_name("pool", pool)


def next_delay(rule: Retry | None, attempt: int, error: BaseException, chance: float) -> float | None:
    """Return seconds until the next attempt, or None if this failure stands."""
    if isinstance(error, RetryAfter):
        return error.seconds if rule is None or attempt < rule.attempts else None
    if rule is None or attempt >= rule.attempts or isinstance(error, rule.never):
        return None
    if rule.only != () and not isinstance(error, rule.only):
        return None
    return rule.delay(attempt, chance)
