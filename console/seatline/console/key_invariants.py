"""What must be true of each key by itself (I13): it is drawn, holds its kind of value, and expires or stays as it must. Pure.

A key that holds another kind of value holds nothing of Seatline's any more. What is made of other records, or is written anew
by whoever works, may be deleted then; of a record only a person can say whether it can be had again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from seatline.console import mends
from seatline.console.violation import Violation
from seatline.shared.calls.repair import Mend
from seatline.shared.keys import PATTERNS

__all__ = ["kind_of", "orphan_part", "wrong_key"]

_NO_EXPIRY = -1
#: How long what has lost its term is kept (ms): as long as the longest that is given to such a key, or until it is renewed.
_TERMS = {"lane": 900_000, "load": 90 * 86_400_000, "job": 86_400_000, "deep": 86_400_000}
_TERM = 60_000

_PATTERNS = [(re.compile(pattern, re.ASCII), form) for pattern, form in PATTERNS.items()]

#: What a key holds, whether it is made anew of records or by whoever works, and what a person can do if it is not.
_KINDS: tuple[tuple[str, str, bool, str], ...] = (
    (r"about", "hash", False, "all waits until it is deleted; then repair counts anew"),
    (r"seq|paused|keep|(token|unique|newest|offer|deep|lane):.+", "string", True, ""),
    (r"alarm|pool:[^:]+:(in_use|refused)|job:\d+:result", "string", True, ""),
    (r"types|chains|triggers|pools|offers|heads:[0-9a-f]+", "set", True, ""),
    (r"events|audit|acts", "stream", True, ""),
    (r"ready:.+|scheduled|schedules|expiring|running|finished:.+|orders:.+|programs|workers|lost", "zset", True, ""),
    (r"chain:[^:]+:(started|waiting|held:.+)|order:[^:]+:each:.+:(jobs|bad)|load:[^:]+:ids", "zset", True, ""),
    (r"pool:[^:]+:(sessions|waiting|callers)|idle:.+|heads:[0-9a-f]+\|.+", "zset", True, ""),
    (r"job:\d+:events", "list", False, "the job is lost: enqueue it anew"),
    (r"job:\d+:(history|attempts|log)|order:[^:]+:history", "list", True, ""),
    (r"bell:.+", "list", True, ""),
    (r"happened:.+", "list", False, "facts that waited are lost: see to their jobs yourself"),
    (r"job:\d+", "hash", False, "the job is lost: enqueue it anew"),
    (r"type:.+", "hash", True, ""),
    (r"worker:.+", "hash", True, ""),
    (r"schedule:.+", "hash", False, "add the schedule anew: seatline schedules add"),
    (r"trigger:.+", "hash", False, "set the trigger anew: seatline triggers set"),
    (r"pool:[^:]+", "hash", False, "then set its capacity anew: seatline pools set"),
    (r"load:[^:]+", "hash", False, "how far the load has come is lost: its lines have to be compared with the jobs"),
    (r"chain:[^:]+(:\d+)?", "hash", False, "define the chain anew: seatline chains define"),
    (
        r"order:[^:]+(:data|:each:[^:]+)?",
        "hash",
        False,
        "the order is lost: seatline orders remove, then start it anew",
    ),
)
_MADE = [(re.compile(pattern, re.ASCII), kind, anew, advice) for pattern, kind, anew, advice in _KINDS]


def kind_of(name: str) -> tuple[str, bool, str]:
    """Return what a drawn key holds ('': it is not said), whether it is made anew, and what to do if it is not."""
    for pattern, kind, anew, advice in _MADE:
        if pattern.fullmatch(name):
            return kind, anew, advice
    return "", False, ""


def wrong_key(name: str, left: int, kind: str = "") -> Iterator[Violation]:
    """I13: a key is drawn in ``keys.PATTERNS``, holds its kind (``kind``, if that was asked), and expires or not (``left``)."""
    form = next((form for pattern, form in _PATTERNS if pattern.fullmatch(name)), None)
    if form is None:
        advice = "nobody of Seatline wrote it; if nobody else did: seatline cli DEL"
        yield Violation("I13", name, "no such key is drawn in keys.PATTERNS.", advice=advice)
        return
    meant, anew, advice = kind_of(name)
    if kind and meant and kind != meant:
        mend = None
        if anew:
            mend = mends.gone(name, ("kind", name, "", f"!{meant}"), says="it is deleted, and made anew")
        yield Violation(
            "I13", name, f"it holds another kind of value (a {kind}, not a {meant}).", mend,
            f"seatline cli DEL takes away what is there; {advice}" if advice else "",
        )  # fmt: skip
    elif form == "expires" and left == _NO_EXPIRY:
        yield Violation("I13", name, "it has no term and must expire.", _with_term(name))
    elif form == "persistent" and left != _NO_EXPIRY:
        stays = Mend("it stays", (("term", name, "", "*"),), (("persist", name, "", ""),))
        yield Violation("I13", name, f"it would expire in {left} ms and must stay.", stays)


def _with_term(name: str) -> Mend:
    ms = _TERMS.get(name.partition(":")[0], _TERM)
    bases = (("term", name, "", ""), ("kind", name, "", "!none"))
    return Mend(f"it expires in {ms // 1000} s unless it is renewed", bases, (("term", name, "", str(ms)),))


def orphan_part(name: str, owner: str, whose: str) -> Violation:
    """I13: a part of a job or an order belongs to one; its record is ``owner``."""
    return Violation(
        "I13", name, f"the {whose} it belongs to has no record.", mends.gone(name, ("kind", owner, "", "none"))
    )
