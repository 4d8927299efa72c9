"""The rule by which failed attempts run again: of a handler's type, or of a chain's step.

The rule is pure: delays are functions of the attempt's number and of a chance between 0 and 1 that is passed in.
A step's rule is stored in its chain's plan, as text that people can read too::

    attempts:3,first:10,factor:2,most:3600,jitter:0.1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from seatline.shared.errors import InvalidInput, PayloadError

__all__ = ["Retry", "RetryAfter", "retry_read", "retry_text"]

ATTEMPTS_MOST: Final = 1_000
DELAY_MOST: Final = 30 * 24 * 3600.0

Kinds = type[BaseException] | tuple[type[BaseException], ...]

_NUMBERS: Final = ("first", "factor", "most", "jitter")


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


def retry_text(rule: Retry) -> str:
    """Write a rule as the one text that plans, jobs and people read (O4).

    Raises:
        InvalidInput: it has ``only`` or ``never``: exceptions are a handler's business and cannot be stored.

    """
    for name in ("only", "never"):
        if getattr(rule, name) != ():
            raise InvalidInput(
                f"retry {name}: a stored rule cannot name exceptions. Leave it out, or declare the rule at the handler."
            )
    numbers = (f"{name}:{repr(float(getattr(rule, name))).removesuffix('.0')}" for name in _NUMBERS)
    return ",".join((f"attempts:{rule.attempts}", *numbers))


def retry_read(text: str) -> Retry:
    """Read what :func:`retry_text` wrote; what is left out has its default.

    Raises:
        PayloadError: something else has written it.

    """
    try:
        given = dict(part.split(":") for part in text.split(","))
        if not given.keys() <= {"attempts", *_NUMBERS}:
            raise ValueError("one of its names is not known")
        values: dict[str, Any] = {
            name: int(value) if name == "attempts" else float(value) for name, value in given.items()
        }
        return Retry(**values)
    except ValueError as error:
        raise PayloadError(f"retry: {text[:80]!r} is no rule of Seatline's ({error}).") from None
