"""Why does my order not go on? Every obstacle, for each step in front of which it stands (W1).

An order's own words: ``due``, ``stopped`` (its chain or step), ``full`` (its chain has its most orders), ``suspended``,
``failed``, ``setback``, ``leaving`` (it is being removed or cancelled), ``orphaned`` (it, or what it needs, is lost). For a
step that waits it also says what keeps the step's job, or would keep it, in the words of :mod:`~seatline.producer.why`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from seatline.producer.why import Obstacle, Scene, obstacles, span, stamped
from seatline.shared.calls import orders as verbs
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.errors import PayloadError
from seatline.shared.job import WAITING, JobRecord
from seatline.shared.keys import Keys
from seatline.shared.order import OrderRecord
from seatline.shared.plan import Plan, PlanStep

__all__ = ["why_order", "why_step"]

#: An order that moves on while it is looked at is looked at again, so often at most.
TRIES: Final = 5
#: So many orders of a full chain are named, and so many jobs of elements read.
NAMED: Final = 5
ELEMENTS: Final = 200
#: A job that is not made yet stands behind all others.
LATEST: Final = "9" * 16


@dataclass(frozen=True, slots=True)
class _Gates:
    """What stands before a chain and some of its steps, as one order sees it."""

    stopped: str | None
    most: int | None
    started: int
    named: tuple[str, ...]
    entered: bool
    ahead: int
    stops: Mapping[str, str]
    skipped: frozenset[str]

    @classmethod
    def of(cls, keys: Keys, order: OrderRecord, steps: Sequence[str]) -> Read[_Gates]:
        """Read them, for these steps."""
        chain, started = keys.chain(order.chain), keys.chain(order.chain, "started")
        commands: list[Command] = [
            (
                "HMGET",
                chain,
                "stopped",
                "max_orders",
                *(f"{gate}.{step}" for step in steps for gate in ("stop", "skip")),
            ),
            ("ZCARD", started),
            ("ZRANGE", started, 0, NAMED - 1),
            ("ZSCORE", started, order.id),
            ("ZRANK", keys.chain(order.chain, "waiting"), f"{order.number:016} {order.id}"),
        ]

        def parse(replies: Sequence[Any]) -> _Gates:
            stopped, most, *gates = (None if value is None else text(value) for value in replies[0])
            stops = {step: by for step, by in zip(steps, gates[::2], strict=True) if by is not None}
            return cls(
                stopped,
                int(most) if most else None,
                int(replies[1]),
                tuple(_name(text(order_id)) for order_id in replies[2]),
                replies[3] is not None,
                int(replies[4] or 0),
                stops,
                frozenset(step for step, by in zip(steps, gates[1::2], strict=True) if by is not None),
            )

        return Read(commands, parse)


def why_order(keys: Keys, read: Callable[[], Talk[OrderRecord]]) -> Talk[list[Obstacle]]:
    """Return every obstacle of an order, which ``read`` returns; none if it goes on, or has ended otherwise than failed."""
    for last in range(TRIES):
        try:
            order = yield from read()
        except PayloadError as error:
            return [Obstacle("orphaned", str(error), "Mend its hash by hand; the others go on without it.")]
        steps: list[_Step] = []
        for name, word in order.now.items():
            steps.append((yield from _Step(name, word).look(keys, order)))
        lost = any(step.lost for step in steps)
        # It may have moved on between the two looks; if so it is seen by its record.
        if not lost or last == TRIES - 1 or (yield from read()) == order:
            return (yield from _all(keys, order, steps))
    raise AssertionError  # the last try returns


class _Step:
    """One step at which an order is: the job that is under way for it, or of one of its elements."""

    def __init__(self, name: str, word: str) -> None:
        self.name, self.word, self.running = name, word, False
        self.job: JobRecord | None = None
        self.lost, self.elements = "", ""

    def look(self, keys: Keys, order: OrderRecord) -> Talk[Self]:
        """Look what there is of it."""
        word = self.word
        if word.isdigit():
            (self.job,) = yield from ask(reads.job_records(keys, [word]))
            self.running = self.job is not None and self.job.state == "running"
            if self.job is None:
                self.lost = f"its job {int(word)} does not exist"
            elif not self.running and self.job.state not in WAITING:
                self.lost = f"its job {int(word)} has ended, {self.job.state}, and the order has not moved on"
        elif word == "each":
            count, done, failed, _ = yield from ask(verbs.elements(keys, order.id, self.name))
            self.elements = f", {done + failed} of {count} elements ended"
            jobs = yield from ask(reads.page(keys, f"order:{order.id}:each:{self.name}:jobs", 0, ELEMENTS))
            records = (yield from ask(reads.job_records(keys, [job_id for job_id, _ in jobs]))) if jobs else []
            found = [job for job in records if job]
            self.running = any(job.state == "running" for job in found)
            self.job = next((job for job in found if job.state in WAITING), None)
        return self

    @property
    def due(self) -> dt.datetime | None:
        """Until when it was put off."""
        _, _, ms = self.word.partition("@")
        if ms:
            return dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC)
        return self.job.due if self.job is not None and self.job.state == "scheduled" else None

    def __str__(self) -> str:
        job = f" (job {int(self.word)})" if self.word.isdigit() else ""
        return f"step {self.name}{job}{self.elements}"


def _all(keys: Keys, order: OrderRecord, steps: Sequence[_Step]) -> Talk[list[Obstacle]]:
    if order.state in {"succeeded", "cancelled"} and not order.leaving:
        return []
    under_way = [str(step) for step in steps if step.running]
    if order.leaving:
        word, after = {"remove": "removed"}.get(order.leaving, "cancelled"), ", ".join(under_way) or "what is under way"
        return [Obstacle("leaving", f"it is {word} once {after} has ended.", "Wait.")]
    waiting = [step for step in steps if not step.running]
    if not waiting and order.state == "running":
        return []
    (plan,) = yield from ask(verbs.plans(keys, [(order.chain, order.version)]))
    gates = yield from ask(_Gates.of(keys, order, [step.name for step in waiting]))
    scene = yield from Scene.look(keys)
    found = [*_state(order, under_way, scene.now), *_chain(order, gates)]
    told = {obstacle.message for obstacle in found}
    for step in waiting:
        for each in (yield from _step(keys, scene, order, plan, gates, step)):
            if each.message not in told:  # what keeps all of them is said once
                told.add(each.message)
                found.append(each)
    return found


def _state(order: OrderRecord, under_way: Sequence[str], now: dt.datetime) -> Iterator[Obstacle]:
    name = _name(order.id)
    still = f" Under way still, to its end: {', '.join(under_way)}." if under_way else ""
    if order.state == "scheduled" and order.due is not None:
        said = f"it is due at {order.due:%F %T} UTC, in {span((order.due - now).total_seconds())}."
        yield Obstacle("due", said, "Wait.")
    if order.state == "suspended":
        ms, _, by = (order.suspended or "").partition(" ")
        since = f" since {dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC):%F %T} UTC" if ms.isdigit() else ""
        whom = f": {by.rstrip('.')}." if by.startswith("step ") else f" by {by}." if by else "."
        yield Obstacle("suspended", f"it is suspended{since}{whom}{still}", f"seatline orders resume {name}")
    if order.state == "failed":
        why = (order.error or f"step {order.error_step}").rstrip(".")
        yield Obstacle("failed", f"it failed: {why}.{still}", f"If that is mended: seatline orders resume {name}")


def _chain(order: OrderRecord, gates: _Gates) -> Iterator[Obstacle]:
    """O10, O11: it has not entered its chain, or will have to again."""
    if gates.entered:
        return
    if gates.stopped is not None:
        said = f"chain {order.chain} is stopped ({stamped(gates.stopped)})."
        yield Obstacle("stopped", said, f"seatline chains start {order.chain}")
    if gates.most is not None and gates.started >= gates.most:
        more = f" and {gates.started - NAMED} more" if gates.started > NAMED else ""
        before = f"; {gates.ahead} stand before it" if gates.ahead else ""
        said = (
            f"chain {order.chain} is full: {gates.started} of at most {gates.most} orders are started, "
            f"{', '.join(gates.named)}{more}{before}."
        )
        yield Obstacle("full", said, "Wait, or define the chain again with a higher max_orders.")


def _step(
    keys: Keys, scene: Scene, order: OrderRecord, plan: Plan | PayloadError, gates: _Gates, step: _Step
) -> Talk[list[Obstacle]]:
    """What keeps one step, whose job waits or is not made yet."""
    name, where = _name(order.id), f"step {step.name}{step.elements}"
    known = None if isinstance(plan, PayloadError) or step.name not in plan else plan[step.name]
    if step.lost:
        return [Obstacle("orphaned", f"{where}: {step.lost}.", f"seatline orders goto {name} {step.name}")]
    if known is None:
        why = plan if isinstance(plan, PayloadError) else "no such step"
        said = f"{where}: version {order.version} of chain {order.chain}: {why}"
        return [Obstacle("orphaned", said, "Define it again.")]
    found: list[Obstacle] = []
    if step.word != "each":
        found += _stopped(order.chain, gates, step.name)
    if order.state == "failed" and step.job is None:
        return found  # its gates would hold it once it is resumed; nothing of it waits for anything else before
    due, times = step.due, order.setbacks.get(step.name)
    if times is not None and due is not None:
        said = (
            f"{where}: it was set back, {times} of {known.setbacks} times, until {due:%F %T} UTC, in "
            f"{span((due - scene.now).total_seconds())}."
        )
        found.append(Obstacle("setback", said, f"Wait, or: seatline orders goto {name} {step.name}"))
    job = step.job or (None if step.word == "each" else _to_come(order, known))
    for each in (yield from obstacles(keys, scene, job)) if job is not None else ():
        if each.reason == "due" and (times is not None or order.state == "scheduled"):
            continue  # said already
        whole = each.message.startswith("the namespace ")
        found.append(each if whole else Obstacle(each.reason, f"{where}: {each.message}", each.action))
    return found


def _stopped(chain: str, gates: _Gates, step: str) -> Iterator[Obstacle]:
    if step in gates.stops and step not in gates.skipped:
        said = f"step {step} of chain {chain} is stopped ({stamped(gates.stops[step])})."
        yield Obstacle("stopped", said, f"seatline chains start {chain} {step}")


def _to_come(order: OrderRecord, step: PlanStep) -> JobRecord:
    """Return the job that the step will be, as far as it is known."""
    return JobRecord(
        id=LATEST,
        type=step.type,
        priority=order.priority if step.priority is None else step.priority,
        state="held",
        uses=None if step.uses is None else dict(step.uses),
        created=order.created,
    )


def why_step(keys: Keys, job: JobRecord) -> Talk[list[Obstacle]]:
    """Return what of its order keeps the waiting job of a step; it is collected when a worker comes to it (O11)."""
    if job.order is None or job.step is None:
        return []
    (order,) = yield from ask(verbs.order_records(keys, [job.order]))
    if not isinstance(order, OrderRecord) or (job.element is None and order.now.get(job.step) != job.id):
        said = f"its order {_name(job.order)} is lost, or is no longer at this step; it is interrupted when its turn comes."
        return [Obstacle("orphaned", said, f"seatline jobs cancel {int(job.id)}")]
    if job.element is not None:
        return []  # elements that were begun are ended, whatever stands before their step
    gates = yield from ask(_Gates.of(keys, order, [job.step]))
    found = list(_stopped(order.chain, gates, job.step))
    return [*_chain(order, gates), *found] if order.state == "scheduled" else found


def _name(order_id: str) -> str:
    return str(int(order_id)) if order_id.isdigit() else order_id
