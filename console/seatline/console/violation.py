"""A rule that does not hold: what ``verify`` finds. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Violation"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold for something; ``said`` tells how. The same one is known by rule and subject."""

    rule: str
    subject: str
    said: str

    def __str__(self) -> str:
        return f"{self.rule} {self.subject}: {self.said}"
