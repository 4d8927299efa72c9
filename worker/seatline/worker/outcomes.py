"""What a handler may raise to say how its attempt ends, and the rule by which failed attempts run again.

The rule is pure: delays are functions of the attempt's number and of a chance between 0 and 1 that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput

__all__ = ["NoSeat", "Retry", "RetryAfter", "Skip"]

ATTEMPTS_MOST: Final = 1_000
DELAY_MOST: Final = 30 * 24 * 3600.0
REASON_MOST: Final = 2_000

Kinds = type[BaseException] | tuple[type[BaseException], ...]


class Skip(Exception):
    """End the job as ``skipped``: there is nothing to do ("entity has a newer version"). No failure, no retry (Q21)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = str(reason)[:REASON_MOST]


class NoSeat(Exception):
    """The real licence server refused: the job goes back to its place, uncounted (C16).

    The pool counts as externally full for 30 s, doubling up to 5 min while it is refused again. Raised in a login it
    speaks of that login's pool; raised in a handler it needs ``pool``, unless the job uses just one.
    """

    def __init__(self, message: str = "the licence server refused", *, pool: str | None = None) -> None:
        super().__init__(message)
        self.pool = None if pool is None else check_name("pool", pool)


class RetryAfter(Exception):
    """What :meth:`Retry.after` makes."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        super().__init__(reason or f"asked to run again after {seconds:g} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt runs again (C16). Seats are free during the delay; the job keeps its priority and sequence.

    Args:
        attempts: in all, 1 to 1,000.
        first: seconds before the second attempt.
        factor: each further delay is so many times longer, 1 to 100.
        most: no delay is longer (seconds, at most 30 days).
        jitter: each delay is longer or shorter by at most this part of it, 0 to 1.
        only: run again only after these exceptions (and :meth:`after`).
        never: do not run again after these.

    """

    attempts: int = 3
    first: float = 10.0
    factor: float = 2.0
    most: float = 3600.0
    jitter: float = 0.1
    only: Kinds = ()
    never: Kinds = ()

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or not 1 <= self.attempts <= ATTEMPTS_MOST:
            raise InvalidInput(f"retry attempts: {self.attempts!r} is not a whole number from 1 to {ATTEMPTS_MOST:,}.")
        for name, low, high, unit in (
            ("first", 0.0, DELAY_MOST, " seconds"),
            ("factor", 1.0, 100.0, ""),
            ("most", 0.0, DELAY_MOST, " seconds"),
            ("jitter", 0.0, 1.0, ""),
        ):
            value = getattr(self, name)
            if type(value) not in {int, float} or not low <= value <= high:
                raise InvalidInput(f"retry {name}: {value!r} is not a number from {low:g} to {high:g}{unit}.")
        for name in ("only", "never"):
            kinds: object = getattr(self, name)
            for kind in cast("tuple[object, ...]", kinds) if isinstance(kinds, tuple) else (kinds,):
                if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                    raise InvalidInput(f"retry {name}: {kind!r} is not an exception class, or a tuple of them.")

    @staticmethod
    def after(seconds: float, reason: str = "") -> RetryAfter:
        """Make the exception that asks for one more attempt after so many seconds: ``raise Retry.after(30)``.

        It overrides the rule's delay and its ``only`` and ``never`` once, not its number of attempts; a handler without a
        rule may ask for as many as it likes.
        """
        if type(seconds) not in {int, float} or not 0 <= seconds <= DELAY_MOST:
            raise InvalidInput(f"seconds: {seconds!r} is not a number from 0 to {DELAY_MOST:g} (30 days).")
        return RetryAfter(seconds, reason)

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds between this failed attempt (1, 2, ...) and the next; ``chance`` 0 to 1 spreads it."""
        try:
            grown = self.first * self.factor ** (attempt - 1)
        except OverflowError:
            grown = self.most if self.first else 0.0
        middle = min(self.most, grown)
        least, most = middle * (1 - self.jitter), min(self.most, middle * (1 + self.jitter))
        return min(most, least + (most - least) * chance)


def next_delay(rule: Retry | None, attempt: int, error: BaseException, chance: float) -> float | None:
    """Return seconds until the next attempt, or None if this failure stands."""
    if isinstance(error, RetryAfter):
        return error.seconds if rule is None or attempt < rule.attempts else None
    if rule is None or attempt >= rule.attempts or isinstance(error, rule.never):
        return None
    if rule.only != () and not isinstance(error, rule.only):
        return None
    return rule.delay(attempt, chance)
