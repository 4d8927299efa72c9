"""How the steps of a chain are drawn: in flow order, branches beneath the step that they come after. Pure: no I/O.

::

    check
    |- publish
    |  sign             follows publish
    |- render
    announce            after all branches
    repair              aside

A step stands where its **fork** is: the last step that is passed on every way to it. Beneath its fork and in line with it, if
every way onward from there passes it too (the next of a line, or the join of all branches); else it is the head of a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from seatline.shared.plan import Plan, PlanStep

__all__ = ["Drawn", "drawn"]

#: The fork of the steps that begin at once: no step has this name.
START: Final = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A step, and the lines in front of its name."""

    lines: str
    step: PlanStep

    def __str__(self) -> str:
        return self.lines + self.step.name


def drawn(plan: Plan) -> list[Drawn]:
    """Return the steps of a plan as they are drawn, those aside last."""
    flow = _in_order({step.name: step for step in plan.steps if not step.aside})
    back = list(reversed(flow))
    before = _on_every_way(flow, lambda step: step.after)
    behind = _on_every_way(back, lambda step: step.next)
    place = {step.name: number for number, step in enumerate(flow)}
    forks: dict[str, list[PlanStep]] = {}
    for step in flow:
        fork = max(before[step.name] - {step.name}, key=place.__getitem__, default=START)
        forks.setdefault(fork, []).append(step)
    behind[START] = _shared([behind[step.name] for step in flow if not step.after])
    return [*_beneath(START, forks, behind), *(Drawn("", step) for step in plan.steps if step.aside)]


def _beneath(
    fork: str,
    forks: Mapping[str, Sequence[PlanStep]],
    behind: Mapping[str, set[str]],
    lines: str = "",
) -> Iterator[Drawn]:
    """Draw what stands beneath a fork: its branches, then what is in line with it."""
    while True:
        branches = [step for step in forks.get(fork, ()) if step.name not in behind[fork]]
        onward = [step for step in forks.get(fork, ()) if step.name in behind[fork]]
        for branch in branches:
            last = branch is branches[-1] and not onward
            yield Drawn(lines + ("`- " if last else "|- "), branch)
            yield from _beneath(branch.name, forks, behind, lines + ("   " if last else "|  "))
        if not onward:
            return
        yield Drawn(lines, onward[0])
        fork = onward[0].name


def _in_order(steps: Mapping[str, PlanStep]) -> list[PlanStep]:
    """Return steps so that each stands behind those that it comes after, else as they were defined."""
    found: dict[str, PlanStep] = {}
    while len(found) < len(steps):  # a plan has no circle
        name = next(name for name in steps if name not in found and found.keys() >= set(steps[name].after))
        found[name] = steps[name]
    return list(found.values())


def _on_every_way(steps: Sequence[PlanStep], near: Callable[[PlanStep], Sequence[str]]) -> dict[str, set[str]]:
    """Return for each step those that are passed on every way to it, itself among them; ``near``: the last before it."""
    found: dict[str, set[str]] = {}
    for step in steps:
        found[step.name] = {step.name} | _shared([found[name] for name in near(step)])
    return found


def _shared(sets: Sequence[set[str]]) -> set[str]:
    """Return what is in all of them; nothing is in all of none."""
    return sets[0].intersection(*sets[1:]) if sets else set()
