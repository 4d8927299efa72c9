"""Random histories of orders, the same for the same seed: whatever people and workers do, all is sound after every call."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from model.order_stories import Orders
from seatline.shared.calls import orders
from seatline.shared.chain import Step

__all__ = ["storm"]

FLOW: Final = (
    Step("left", "plain", on_error="repair"),
    Step("right", "seated", on_error="setback", setback=[2, 4]),
    Step("all", "plain", each="files", after=["right"]),
    Step("join", "seated", after=["left", "all"], on_error="suspend"),
    Step("some", "plain", each="files", partial="join", after=["join"], on_error="left"),
    Step("repair", "plain", aside=True, then="left"),
    Step("lost", "plain", aside=True),
)
OTHER: Final = (Step("left", "plain"), Step("right", "seated"))
STEPS: Final = [step.name for step in FLOW]
ENDS: Final = [
    *["succeeded"] * 6, "failed", "retry", "returned", "abandoned", "cancelled", "goto left", "goto repair", "goto lost",
]  # fmt: skip
ACTS: Final[list[orders.Act]] = ["suspend", "resume", "resume", "skip", "goto", "reset", "remove", "cancel"]


def storm(o: Orders, seed: int, calls: int = 60) -> None:
    """Do so many things with four orders of a chain with branches, lists and steps aside."""
    dice = random.Random(seed)
    most = [None, 1, 2]
    what: list[tuple[int, Callable[[], object]]] = [
        (15, lambda: o.start(dice.choice("abcd"), replace=dice.random() < 0.3, priority=dice.choice([5, 10]),
                             delay=dice.choice([None, None, 2]))),
        (30, lambda: o.end(dice.choice(ENDS), dice.randrange(4), most=dice.randrange(1, 4))),
        (30, lambda: _act(o, dice)),
        (10, lambda: _gate(o, dice)),
        (5, o.admit),
        (4, lambda: o.passes(2_000)),
        (2, o.lose),
        (2, lambda: o.define(*dice.choice([FLOW, FLOW, OTHER]), most=dice.choice(most))),
        (2, lambda: o.renew(keep=dice.choice([0, 1]))),
    ]  # fmt: skip
    o.define(*FLOW, most=dice.choice(most))
    for _ in range(calls):
        (does,) = dice.choices([act for _, act in what], [weight for weight, _ in what])
        does()


def _act(o: Orders, dice: random.Random) -> None:
    verb = dice.choice(ACTS)
    step = dice.choice(STEPS) if verb in {"skip", "goto"} or (verb == "resume" and dice.random() < 0.3) else None
    o.act(dice.choice("abcd"), verb, step)


def _gate(o: Orders, dice: random.Random) -> None:
    step = dice.choice([None, *STEPS])
    o.gate(step, kind="skip" if step and dice.random() < 0.3 else "stop", by=dice.choice(["me", "", ""]))
