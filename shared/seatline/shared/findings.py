"""What a check has found: how bad it is, what it means, and what mends it.

A :class:`Kind` is drawn once, where it is judged; docs/doctor.md has them all, and a test compares. A :class:`Finding` is
one of a kind, with what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Finding", "Kind", "Severity"]


class Severity(IntEnum):
    """How bad it is; a greater one is worse."""

    OK = 0
    NOTE = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding.

    Attributes:
        code: its name, one word.
        means: what it means for the queue, one or two sentences.
        cure: the command, or what else mends it; ``{names}`` are filled in.

    """

    code: str
    means: str
    cure: str

    def ok(self, said: str) -> Finding:
        """Nothing is wrong; ``said`` is what was seen."""
        return Finding(self, Severity.OK, said)

    def note(self, said: str, **names: object) -> Finding:
        """Worth knowing; ``names`` fill the cure."""
        return self._bad(Severity.NOTE, said, names)

    def warning(self, said: str, **names: object) -> Finding:
        """Something works worse than it could, or will break; ``names`` fill the cure."""
        return self._bad(Severity.WARNING, said, names)

    def error(self, said: str, **names: object) -> Finding:
        """Something is broken, or jobs are in danger; ``names`` fill the cure."""
        return self._bad(Severity.ERROR, said, names)

    def _bad(self, severity: Severity, said: str, names: dict[str, object]) -> Finding:
        return Finding(self, severity, said, self.cure.format(**names))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: its kind, how bad it is, what was seen (a sentence), and what mends it ('' if nothing needs to)."""

    kind: Kind
    severity: Severity
    said: str
    cure: str = ""

    @property
    def code(self) -> str:
        """The name of its kind."""
        return self.kind.code
