"""The verb of retention: how long and how many ended jobs are kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from seatline.shared.calls.base import Call, Read, text
from seatline.shared.errors import InvalidInput
from seatline.shared.keys import Keys

__all__ = ["Rule", "keep", "rules"]

_RULE: Final = re.compile(r"(?P<state>[a-z]+)(\|(?P<type>[^ =]+))?=(?P<ms>\d+)/(?P<count>\d+)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """How ended jobs of a state are kept: of one type, or (``type`` None) of all types without a rule of their own.

    ``age``: seconds since their end after which they are trimmed; ``count``: so many at most, the newest.
    """

    state: str
    type: str | None
    age: float
    count: int


def keep(state: str, type_: str, age: float | None, count: int | None, by: str) -> Call[Rule | None]:
    """Keep ended jobs so long (seconds) and so many; both None: no rule any more. Returns the rule that stood before."""
    rule = "" if age is None or count is None else f"{int(age * 1000)}/{count}"

    def many(_: Sequence[Any]) -> InvalidInput:
        return InvalidInput("retention: there are 256 rules already. Lift one that is not needed any more.")

    def before(reply: Sequence[Any]) -> Rule | None:
        said = text(reply[1])
        return _read(f"{state}{'|' * bool(type_)}{type_}={said}")[0] if said else None

    return Call("keep", (state, type_, rule, by), before, {"many": many})


def rules(keys: Keys) -> Read[list[Rule]]:
    """Return all rules, by state and type."""
    return Read([("GET", keys("keep"))], lambda replies: sorted(_read(text(replies[0] or b"")), key=_order))


def _order(rule: Rule) -> tuple[str, str]:
    return rule.state, rule.type or ""


def _read(said: str) -> list[Rule]:
    return [
        Rule(found["state"], found["type"], int(found["ms"]) / 1000, int(found["count"]))
        for found in _RULE.finditer(said)
    ]
