"""A rule that does not hold: what ``verify`` finds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from seatline.shared.calls.repair import Mend

__all__ = ["Violation"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold for something; ``said`` tells how. The same one is known by rule and subject.

    Attributes:
        mend: what ``verify --repair`` would do about it; None: it cannot.
        advice: what a person can do, where it cannot.

    """

    rule: str
    subject: str
    said: str
    mend: Mend | None = field(default=None, compare=False)
    advice: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.rule} {self.subject}: {self.said}"
