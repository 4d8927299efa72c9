"""Chains: the steps that an order runs through, and what can be wrong with their order. Pure: no I/O.

::

    Chain("release", [
        Step("check", "drawing.check"),
        Step("publish", "drawing.publish", on_error="repair", timeout=600, uses={"vault": 1}),
        Step("repair", "drawing.repair", aside=True, then="check"),
    ])

The **flow** are the steps that follow one another. If no step says ``after``, each follows the one before it in the list: a
linear chain (O14). If any does, those that say none begin at once, several run at a time, and a step that names
several begins once, when all of them have ended. A step ``aside`` is not part of the flow: an order gets there when a step
fails (``on_error``, O4), ends with a code (``codes``) or asks for it (``Goto``, O15), and goes on at its ``then``.

Here are the definitions and the check of how steps name each other; ``plan`` checks the values and writes what is stored.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Literal, cast

from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput
from seatline.shared.retry import Retry

__all__ = ["RESERVED", "STEPS_MOST", "Chain", "Step", "check_flow", "check_steps", "code_ranges", "placed"]

STEPS_MOST: Final = 100
CODE_MOST: Final = 255
#: What ``on_error`` may say besides the name of a step.
ON_ERROR: Final = ("fail", "suspend", "setback")
#: No step has these names: they are words of ``on_error``, or will be.
RESERVED: Final = frozenset({*ON_ERROR, "finish"})
NAMES_SHOWN: Final = 10

_CODES: Final = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a chain. It is checked with its chain, when that is defined.

    Args:
        name: its own in the chain; not ``fail``, ``suspend``, ``setback`` or ``finish``.
        type: of the job that it becomes.
        after: the step, or the steps, that must have ended before it begins (O14).
        aside: not part of the flow; entered by ``on_error``, ``codes`` or ``Goto`` only.
        then: for a step aside: where the order goes when it ended well. None: the order ends, as failed with the error
            that led here, or as succeeded if a code or ``Goto`` did.
        on_error: what happens when it failed after its retries (O4): ``fail`` (the order is failed there and can be
            resumed), ``suspend``, ``setback`` (wait and try it again), or the name of another step.
        setback: seconds before it is tried again for the first, the second, ... time; 1 to 50 delays of at most 30 days.
        setbacks: most times it is set back, 1 to 1,000; beyond the table its last delay repeats. None: as many as it has
            delays.
        codes: which exit code, or range of codes, leads to which step: ``{2: "repair", "3-5": "check"}`` (O15).
        each: the param whose value is a list, of at most 10,000 elements: the step runs once for every element, and its
            result is the list of the results (O14).
        item: the param that holds the element; ``item`` by default.
        partial: when an element failed: ``fail`` the step, or ``join`` the results of the others, None in its place.
        priority: None: the order's.
        uses: seats by pool; ``{}`` = none; None: what the type's handlers say.
        timeout: seconds an attempt may take, at most 30 days; None: what the type's handler says.
        retry: when a failed attempt runs again, without ``only`` and ``never``; None: what the type's handler says.
        if_lost: when its worker dies: ``rerun``, or ``interrupt`` (a person decides).

    """

    name: str
    type: str
    _: KW_ONLY
    after: str | Sequence[str] = ()
    aside: bool = False
    then: str | None = None
    on_error: str = "fail"
    setback: Sequence[float] = ()
    setbacks: int | None = None
    codes: Mapping[Any, str] = field(default_factory=dict[Any, str])  # int | str: a Mapping's keys are invariant
    each: str | None = None
    item: str | None = None
    partial: Literal["fail", "join"] = "fail"
    priority: int | None = None
    uses: Mapping[str, int] | None = None
    timeout: float | None = None
    retry: Retry | None = None
    if_lost: Literal["rerun", "interrupt"] = "rerun"


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps for orders to run through; checked, and given a version, when it is defined.

    Args:
        name: its own.
        steps: 1 to 100; in a linear chain each follows the one before it.
        title: a line for people, at most 200 characters.
        max_orders: at most so many started orders, 1 to 1,000,000; the others wait (O10). None: any number.

    """

    name: str
    steps: Sequence[Step]
    _: KW_ONLY
    title: str | None = None
    max_orders: int | None = None


@contextmanager
def placed(chain: str, step: str | int | None = None) -> Generator[None, None, None]:
    """Say where it is that an argument is not good: ``chain release, step publish: after: ...``."""
    try:
        yield
    except InvalidInput as error:
        place = f"chain {chain}" if step is None else f"chain {chain}, step {step}"
        raise InvalidInput(f"{place}: {error}") from None


def check_steps(chain: str, steps: object) -> tuple[Step, ...]:
    """Return the steps of a chain if they are steps, each with a name of its own."""
    with placed(chain):
        if not isinstance(steps, Sequence) or isinstance(steps, str | bytes):
            raise InvalidInput(f"steps: {_shown(steps)} is not a list of Step.")
        found = tuple(cast("Sequence[object]", steps))
        if not 1 <= len(found) <= STEPS_MOST:
            raise InvalidInput(f"steps: {len(found)} of them; a chain has 1 to {STEPS_MOST}.")
    seen: set[str] = set()
    for number, step in enumerate(found, 1):
        with placed(chain, number):
            if not isinstance(step, Step):
                raise InvalidInput(f"{_shown(step)} is not a Step.")
            if check_name("name", step.name) in RESERVED:
                raise InvalidInput(f"name: {step.name!r} is a word of on_error. Give the step another name.")
            if step.name in seen:
                raise InvalidInput(f"name: there is a step {step.name} before it. Give each its own name.")
            seen.add(step.name)
    return cast("tuple[Step, ...]", found)


def check_flow(chain: str, steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Check how steps name each other; return what each step of the flow comes after (O4, O14, O15).

    Raises:
        InvalidInput: a step that does not exist, or that cannot be there; a circle; or nothing to begin with. Names the
            step and the argument.

    """
    names = [step.name for step in steps]
    asides = [step.name for step in steps if step.aside]
    flow = [name for name in names if name not in asides]
    after: dict[str, tuple[str, ...]] = {}
    for step in steps:
        with placed(chain, step.name):
            _check_targets(step, names)
            after[step.name] = _after(step, names, asides)
    if not flow:
        with placed(chain):
            raise InvalidInput("steps: all are aside, so there is none to begin with. Leave out aside=True at one.")
    if not any(after.values()):
        after = {name: tuple(flow[max(0, index - 1) : index]) for index, name in enumerate(flow)}
    _check_circle(chain, "after", {name: after[name] for name in flow}, "each waits for another, so none can begin.")
    leads = {step.name: (step.then,) if step.then in asides else () for step in steps if step.aside}
    behind = {name: [other for other in leads if name in leads[other]] for name in leads}
    _check_circle(chain, "then", behind, "an order would never end. For a loop use codes, or Goto.")
    return {name: after[name] for name in flow}


def _check_targets(step: Step, names: Sequence[str]) -> None:
    """Check the steps that it leads to, but for those that follow it by ``after``."""
    if type(step.aside) is not bool:
        raise InvalidInput(f"aside: {step.aside!r} is neither True nor False.")
    if step.on_error not in ON_ERROR:
        if step.on_error == step.name:
            raise InvalidInput(
                "on_error: it names itself. To try it again use retry=Retry(...), or on_error='setback'."
            )
        _check_step("on_error", step.on_error, names, " To end or to wait say fail, suspend or setback.")
    if step.then is not None:
        if not step.aside:
            raise InvalidInput("then: only a step aside has it. In the flow the next step says after.")
        _check_step("then", step.then, names)
    for _, _, target in code_ranges(step.codes):
        _check_step("codes", target, names)


def _after(step: Step, names: Sequence[str], asides: Sequence[str]) -> tuple[str, ...]:
    given: object = (step.after,) if isinstance(step.after, str) else step.after
    if not isinstance(given, list | tuple):
        raise InvalidInput(f"after: {_shown(given)} is not the name of a step, nor a list of names.")
    after = tuple(cast("Sequence[str]", given))
    if after and step.aside:
        raise InvalidInput(
            "after: a step aside follows none: on_error, codes or Goto lead to it. Leave out one of the two."
        )
    for name in after:
        _check_step("after", name, names)
        if name in asides:
            raise InvalidInput(f"after: {name} is aside, so nobody follows it. Let it name the next step in then.")
    if len(set(after)) < len(after):
        raise InvalidInput(f"after: {', '.join(after)}: one is named twice.")
    return tuple(name for name in names if name in after)


def _check_step(what: str, name: object, names: Sequence[str], way_out: str = "") -> None:
    if not isinstance(name, str) or name not in names:
        more = ", ..." if len(names) > NAMES_SHOWN else ""
        raise InvalidInput(
            f"{what}: {_shown(name)} is no step of this chain; its steps are "
            f"{', '.join(names[:NAMES_SHOWN])}{more}.{way_out}"
        )


def code_ranges(codes: Mapping[Any, object]) -> list[tuple[int, int, str]]:
    """Return first code, last code and step of each entry of ``codes``, in their order (O15).

    Raises:
        InvalidInput: no mapping of codes from 0 to 255, or of ranges of them; or two of them overlap.

    """
    if not isinstance(codes, Mapping):
        raise InvalidInput(f'codes: {_shown(codes)} is not a mapping such as {{2: "repair", "3-5": "check"}}.')
    found: list[tuple[int, int, Any]] = []
    for code, target in codes.items():
        match = _CODES.fullmatch(code if isinstance(code, str) else str(code) if type(code) is int else "")
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not low <= high <= CODE_MOST:
            raise InvalidInput(
                f"codes: {_shown(code)} is not a whole number from 0 to {CODE_MOST}, nor a range such as '3-5'."
            )
        found.append((low, high, target))
    found.sort(key=lambda entry: entry[:2])
    for one, other in itertools.pairwise(found):
        if other[0] <= one[1]:
            raise InvalidInput(f"codes: {_span(*one[:2])} and {_span(*other[:2])} overlap: a code leads to one step.")
    return found


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _check_circle(chain: str, what: str, before: Mapping[str, Iterable[str]], trouble: str) -> None:
    """Refuse steps that lie before themselves; shows the way round as an order would go it: a -> b -> a."""
    clear: set[str] = set()

    def walk(name: str, behind: list[str]) -> None:  # at most 100 deep
        if name in behind:
            circle = [name, *reversed(behind[behind.index(name) :])]
            with placed(chain, name):
                raise InvalidInput(f"{what}: {' -> '.join(circle)}: {trouble}")
        if name not in clear:
            for other in before[name]:
                walk(other, [*behind, name])
            clear.add(name)

    for name in before:
        walk(name, [])


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004 - fits a terminal line
