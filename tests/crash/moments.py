"""Crash points: moments, each with a scene that plays it, times who is killed, times how the server keeps its file.

A scene (``scenes_*.py``) sets itself up, has the crash come at its moment, recovers, and sees that all ends as it must.
What is checked after each of them, whatever it is, is in ``judge.py``; a scene adds what is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Final

from crash.runner import WORK
from crash.stage import Killed, Stage

from seatline.producer import Chain, Step

__all__ = ["HOUR", "KINDS", "LATER", "MOMENTS", "STEPS", "WHEN", "Moment", "Point", "flow_with", "linear", "moment"]

#: How soon (seconds) what is for later is due: the crash must come before.
LATER: Final = 0.8
HOUR: Final = 3600.0
WHEN: Final = ("before", "after")
STEPS: Final = ("one", "two", "three")
KINDS: Final = ("job", "order")

Play = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment at which everything may be killed: its name, the rules it is about, and its scene."""

    name: str
    rules: tuple[str, ...]
    play: Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Point:
    """A crash point: the moment, who is killed, and how the server keeps its file."""

    moment: Moment
    killed: Killed
    fsync: str

    @property
    def name(self) -> str:
        """Name it as the test does."""
        return f"{self.moment.name}-{self.killed}-{self.fsync}"


#: All of them, in the order of their scenes.
MOMENTS: Final[list[Moment]] = []


def moment(name: str, *rules: str, **sides: Sequence[str]) -> Callable[[Play], Play]:
    """Enter a scene, once for each combination of its sides: ``"{when}-start", when=("before", "after")``."""

    def enter(play: Play) -> Play:
        for words in product(*sides.values()):
            chosen = dict(zip(sides, words, strict=True))
            MOMENTS.append(Moment(name.format(**chosen), rules, partial(play, **chosen)))
        return play

    return enter


def linear(stage: Stage, *, max_orders: int | None = None) -> None:
    """Define a chain of three steps, and have a worker wait."""
    stage.queue.define(Chain("three", [Step(name, WORK) for name in STEPS], max_orders=max_orders))
    stage.worker()


def flow_with(two: Step) -> list[Step]:
    """Return the steps of the chain of three with another one in the middle."""
    return [Step("one", WORK), two, Step("three", WORK)]
