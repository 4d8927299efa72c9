"""The plan: a chain as it is stored, in plain text that scripts and people read; and back. Pure: no I/O.

The hash ``chain:<name>:<version>``; what says nothing but the default is left out, times are in ms::

    steps           check publish repair            in the order of the definition
    first           check                           those that begin at once
    title           Release of a drawing
    step.check      type=drawing.check next=publish
    step.publish    type=drawing.publish after=check on_error=repair uses=vault=1 timeout=600000
    step.repair     type=drawing.repair aside=1 then=check

=============  ==================================================================================
``after``      the steps that it waits for, joined by commas; a linear chain states them too (O14)
``next``       the steps that wait for it
``before``     only where steps run side by side, in the flow: all whose results it is handed (O5). Nothing behind the
               ``=``: of none. Without the word: of all that have ended
``codes``      ``2:repair,3-5:check`` (O15)
``setback``    its delays; ``setbacks`` if there may be more, or fewer, of them (O7)
``retry``      see :mod:`seatline.shared.retry`
=============  ==================================================================================

The definition's digest is made of these words, so the same definition again is known again, however it was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from seatline.shared.chain import Chain, Step, check_flow, check_steps, code_ranges, placed
from seatline.shared.config import NAME, check_name
from seatline.shared.errors import InvalidInput, PayloadError
from seatline.shared.job import TITLE_MOST, check_priority, uses_map, uses_text
from seatline.shared.retry import Retry, retry_read, retry_text

__all__ = ["Plan", "PlanStep", "chain_words"]

SECONDS_MOST: Final = 30 * 24 * 3600.0
DELAYS_MOST: Final = 50
SETBACKS_MOST: Final = 1_000
ORDERS_MOST: Final = 1_000_000
PARAM_MOST: Final = 128


def chain_words(chain: Chain) -> tuple[list[str], str]:
    """Check a chain and write its plan: fields and values of the hash in turn, and their digest (16 hex digits).

    ``max_orders`` is checked too, but is no part of the plan: it is the chain's, whatever its version.

    Raises:
        InvalidInput: something is wrong with it; names the place: ``chain release, step publish: after: ...``.

    """
    if not isinstance(chain, Chain):
        raise InvalidInput(f"chain: {chain!r:.60} is not a Chain.")
    own = check_name("chain", chain.name)
    with placed(own):
        _check_chain(chain)
    steps = check_steps(own, chain.steps)
    after = check_flow(own, steps)
    values: dict[str, list[str]] = {}
    for step in steps:
        with placed(own, step.name):
            values[step.name] = _values(step)
    words = ["steps", " ".join(step.name for step in steps), "first", " ".join(n for n in after if not after[n])]
    if chain.title is not None:
        words += ("title", chain.title)
    before = _before(steps, after)
    for step in steps:
        line = [f"type={step.type}"]
        if following := [name for name in after if step.name in after[name]]:
            line.append(f"next={','.join(following)}")
        if after.get(step.name):
            line.append(f"after={','.join(after[step.name])}")
        if step.name in before:
            line.append(f"before={','.join(before[step.name])}")
        words += (f"step.{step.name}", " ".join([*line, *values[step.name]]))
    return words, hashlib.blake2b("\0".join(words).encode(), digest_size=8).hexdigest()


def _check_chain(chain: Chain) -> None:
    title: object = chain.title
    most = chain.max_orders
    if title is not None and not (isinstance(title, str) and 0 < len(title) <= TITLE_MOST and title.isprintable()):
        raise InvalidInput(f"title: {title!r:.60} is not one line of 1 to {TITLE_MOST} characters.")
    if most is not None and (type(most) is not int or not 1 <= most <= ORDERS_MOST):
        raise InvalidInput(
            f"max_orders: {most!r} is not a whole number from 1 to {ORDERS_MOST:,}, or None for any number."
        )


def _values(step: Step) -> list[str]:
    """Check a step's own values and write those that are not the default."""
    check_name("type", step.type)
    words: list[str] = []
    if step.aside:
        words += ("aside=1", *([f"then={step.then}"] if step.then else []))
    if step.on_error != "fail":
        words.append(f"on_error={step.on_error}")
    words += [*_setback(step), *_each(step)]
    if step.codes:
        spans = ((f"{low}-{high}" if low < high else str(low), name) for low, high, name in code_ranges(step.codes))
        words.append(f"codes={','.join(f'{span}:{name}' for span, name in spans)}")
    if step.priority is not None:
        words.append(f"priority={check_priority(step.priority)}")
    if step.uses is not None:
        words.append(f"uses={uses_text(step.uses)}")
    if step.timeout is not None:
        words.append(f"timeout={_ms('timeout', step.timeout)}")
    if step.retry is not None:
        if not isinstance(step.retry, Retry):
            raise InvalidInput(f"retry: {step.retry!r:.60} is not a Retry.")
        words.append(f"retry={retry_text(step.retry)}")
    if step.if_lost not in {"rerun", "interrupt"}:
        raise InvalidInput(f"if_lost: {step.if_lost!r:.60} is neither 'rerun' nor 'interrupt'.")
    return [*words, "if_lost=interrupt"] if step.if_lost == "interrupt" else words


def _setback(step: Step) -> list[str]:
    delays: object = step.setback
    most = step.setbacks
    if not isinstance(delays, list | tuple) or len(cast("list[object]", delays)) > DELAYS_MOST:
        raise InvalidInput(f"setback: {delays!r:.60} is not a list of 1 to {DELAYS_MOST} delays in seconds.")
    if step.on_error != "setback":
        for name, value in (("setback", delays), ("setbacks", most)):
            if value not in ([], (), None):
                raise InvalidInput(f"{name}: it goes with on_error='setback' only; here on_error is {step.on_error!r}.")
        return []
    if not delays:
        raise InvalidInput("setback: on_error='setback' needs the delays in seconds, such as setback=[60, 300].")
    words = [f"setback={','.join(_ms('setback', delay) for delay in step.setback)}"]
    if most is None or (type(most) is int and most == len(step.setback)):
        return words
    if type(most) is not int or not 1 <= most <= SETBACKS_MOST:
        raise InvalidInput(f"setbacks: {most!r} is not a whole number from 1 to {SETBACKS_MOST:,}.")
    return [*words, f"setbacks={most}"]


def _each(step: Step) -> list[str]:
    if step.partial not in {"fail", "join"}:
        raise InvalidInput(f"partial: {step.partial!r:.60} is neither 'fail' nor 'join'.")
    if step.each is None:
        for name, given in (("item", step.item is not None), ("partial", step.partial != "fail")):
            if given:
                raise InvalidInput(f"{name}: it goes with each=..., which this step has not.")
        return []
    if step.codes:
        raise InvalidInput("codes: not together with each: which of its many runs would choose the next step?")
    words = [f"each={_param('each', step.each)}"]
    if step.item is not None and _param("item", step.item) != "item":
        words.append(f"item={step.item}")
    return [*words, "partial=join"] if step.partial == "join" else words


def _param(what: str, name: object) -> str:
    if isinstance(name, str) and len(name) <= PARAM_MOST and (name.isidentifier() or NAME.fullmatch(name)):
        return name
    raise InvalidInput(f"{what}: {name!r:.60} is not the name of a param.")


def _ms(what: str, seconds: object) -> str:
    if type(seconds) in {int, float} and 0 < cast("float", seconds) <= SECONDS_MOST:
        return str(max(1, round(cast("float", seconds) * 1000)))
    raise InvalidInput(f"{what}: {seconds!r:.60} is not a number of seconds above 0, at most 30 days.")


def _before(steps: Sequence[Step], after: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return, where steps run side by side, those whose results each step of the flow is handed (O5).

    What has ended by then differs from order to order, and so would its params; so it is handed only what lies before it on
    every way: whatever leads to it by ``after``, or from aside by ``then``.
    """
    led = {name: sum(name in names for names in after.values()) for name in after}
    if sum(not names for names in after.values()) == 1 and max(led.values()) <= 1:
        return {}
    nearest = {step.name: set(after.get(step.name, ())) for step in steps}
    for step in steps:
        if step.then is not None:
            nearest[step.then].add(step.name)
    all_before: dict[str, set[str]] = {}
    while len(all_before) < len(nearest):  # by now it is known that there is no circle
        name = next(n for n, near in nearest.items() if n not in all_before and near <= all_before.keys())
        all_before[name] = nearest[name].union(*(all_before[near] for near in nearest[name]))
    return {name: [other for other in all_before if other in all_before[name]] for name in after}


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A step as it is stored: what its definition says, and its place in the flow. Times are in seconds.

    ``next``, ``after``: the steps that wait for it, and for which it waits. ``before``: those whose results it is handed;
    None: of all that have ended. ``codes``: which code, or range such as ``3-5``, leads to which step.
    """

    name: str
    type: str
    next: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    before: tuple[str, ...] | None = None
    aside: bool = False
    then: str | None = None
    on_error: str = "fail"
    setback: tuple[float, ...] = ()
    setbacks: int | None = None
    codes: Mapping[str, str] = field(default_factory=dict[str, str])
    each: str | None = None
    item: str | None = None
    partial: str = "fail"
    priority: int | None = None
    uses: Mapping[str, int] | None = None
    timeout: float | None = None
    retry: Retry | None = None
    if_lost: str = "rerun"

    @classmethod
    def read(cls, name: str, line: str) -> PlanStep:
        """Read the value of ``step.<name>``.

        Raises:
            PayloadError: something else has written it.

        """
        words = {key: value for key, _, value in (word.partition("=") for word in line.split())}
        each, setback = words.get("each"), _names(words.get("setback"))
        try:
            return cls(
                name,
                words["type"],
                next=_names(words.get("next")),
                after=_names(words.get("after")),
                before=_names(words["before"]) if "before" in words else None,
                aside="aside" in words,
                then=words.get("then"),
                on_error=words.get("on_error", "fail"),
                setback=tuple(int(ms) / 1000 for ms in setback),
                setbacks=int(words.get("setbacks", len(setback))) if setback else None,
                codes=dict(part.split(":") for part in _names(words.get("codes"))),
                each=each,
                item=words.get("item", "item") if each else None,
                partial=words.get("partial", "fail"),
                priority=int(words["priority"]) if "priority" in words else None,
                uses=uses_map(words["uses"]) if "uses" in words else None,
                timeout=int(words["timeout"]) / 1000 if "timeout" in words else None,
                retry=retry_read(words["retry"]) if "retry" in words else None,
                if_lost=words.get("if_lost", "rerun"),
            )
        except (KeyError, ValueError) as error:
            raise PayloadError(f"step {name}: {line[:80]!r} cannot be read ({error!r:.80}).") from None


@dataclass(frozen=True, slots=True)
class Plan:
    """A version of a chain as it is stored. ``steps`` in the order of the definition; ``first``: those that begin at once.

    ``made``: when it was defined, in epoch ms, and by whom; ``orders``: how many orders have it.
    """

    steps: tuple[PlanStep, ...]
    first: tuple[str, ...]
    digest: str = ""
    title: str | None = None
    made_ms: int = 0
    by: str = ""
    orders: int = 0

    def __getitem__(self, name: str) -> PlanStep:
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(step.name == name for step in self.steps)

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Plan:
        """Read the hash of a version.

        Raises:
            PayloadError: it is not there, or something else has written it. Names the step.

        """
        names = fields.get("steps", "").split()
        lacking = [name for name in names if f"step.{name}" not in fields]
        if lacking or not names:
            raise PayloadError(f"plan: {f'step {lacking[0]} is' if lacking else 'its steps are'} missing.")
        try:
            made, orders = int(fields.get("made", "0")), int(fields.get("orders", "0"))
        except ValueError as error:
            raise PayloadError(f"plan: made, orders: {error}.") from None
        return cls(
            steps=tuple(PlanStep.read(name, fields[f"step.{name}"]) for name in names),
            first=tuple(fields.get("first", "").split()),
            digest=fields.get("digest", ""),
            title=fields.get("title"),
            made_ms=made,
            by=fields.get("by", ""),
            orders=orders,
        )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()
