"""Wait for a condition with a deadline: the only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["wait_until"]

T = TypeVar("T")

POLL_SECONDS = 0.005


def wait_until(condition: Callable[[], T], seconds: float = 5, message: str = "") -> T:
    """Return the first truthy value of ``condition``; look every 5 ms, and once more at the deadline.

    An exception in the condition is a fault of the test or the product, never "not yet": it goes through.

    Raises:
        AssertionError: ``seconds`` have passed; says ``message`` and the last value seen.

    """
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() >= deadline  # read before the look, so that the last look is never before the deadline
        value = condition()
        if value:
            return value
        if late:
            raise AssertionError(f"{message or 'the condition'}: not within {seconds:g} s, last value {value!r}")
        time.sleep(POLL_SECONDS)
