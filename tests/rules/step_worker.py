"""A fake worker for steps of orders: jobs are named by order and step, and each ends when and as the test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.waiting import wait_until
from rules.fake_worker import FakeWorker

from seatline.producer import Chain, OrderHandle, Queue, Step
from seatline.shared.calls import orders as verbs
from seatline.shared.codec import pack_value
from seatline.shared.order_params import Handed

__all__ = ["MakeSteps", "StepWorker", "admit", "diamond", "linear", "now_of", "pause", "texts"]

Place = tuple[Any, ...]  # (order, step), or (order, step, element)


class StepWorker(FakeWorker):
    """One worker for the type ``t``, or others; what it runs has names: ``(order, step)``, and the element if there is one."""

    def __init__(
        self, url: str, namespace: str, types: Sequence[str] = ("t",), *, slots: int = 100, **more: Any
    ) -> None:
        super().__init__(url, namespace, {name: {} for name in types}, slots=slots, **more)

    @property
    def runs(self) -> dict[Place, str]:
        """What it runs, in the order reserved, with the ids of the jobs."""
        return {self._place(job_id): job_id for job_id in self.held}

    def take(self, want: int | None = None) -> list[Place]:
        """Reserve for its free slots, or ``want``; looks twice, for the second look also promotes what is due."""
        return [self._place(job_id) for job_id in self.turn(want=want) or self.turn(want=want)]

    def end(self, *place: Any, outcome: str = "succeeded", value: object = None, goto: str | None = None) -> None:
        """End one run, and take no other."""
        self.end_all(place, outcome=outcome, value=value, goto=goto)

    def end_all(
        self, *places: tuple[Any, ...], outcome: str = "succeeded", value: object = None, goto: str | None = None
    ) -> None:
        """End these runs in one turn, all in one way."""
        runs: dict[tuple[Any, ...], str] = {**self.runs}
        fields = ["error_type", "Boom", "error", "it broke\nat once"] if outcome == "failed" else []
        result = b"" if value is None else pack_value("result", value)
        reports = [
            self.report(runs[place], outcome, *fields, *(["goto", goto] if goto else []), result=result)
            for place in places
        ]
        self.turn(*reports, want=0)

    def drain(self) -> list[Any]:
        """Run all that can be run, one after the other; returns what ran, in order."""
        ran: list[Any] = []
        while got := self.take(1):
            ran += got
            self.end_all(*got)
        return ran

    def expand(
        self, order: str, step: str, elements: Sequence[object], *, settle: bool = True, bite: int = 1000
    ) -> bool:
        """Store the elements of a list as a worker does; ``settle``: and report how many there are."""
        job_id = self.runs[order, step]
        packed = [pack_value("element", each) for each in elements]
        base = pack_value("params", {})
        for start in range(0, max(1, len(packed)), bite):
            some = packed[start : start + bite]
            call = verbs.expand(job_id, self.held[job_id].token, order, step, start, None if start else base, some)
            if not self.store.run(call):
                return False
        if settle:
            self.turn(self.report(job_id, "succeeded", "count", len(elements)), want=0)
        return True

    def handed(self, *place: Any) -> Handed:
        """Return what a run was handed."""
        runs: dict[tuple[Any, ...], str] = {**self.runs}
        return Handed.read(self._fields(runs[place]))

    def params(self, *place: Any) -> dict[str, Any]:
        """Return the params that the handler of a run would be given."""
        return self.handed(*place).merged()

    def _place(self, job_id: str) -> Place:
        fields = self._fields(job_id)
        order, step = fields.get("order", b"").decode(), fields.get("step", b"").decode()
        return (order, step, int(fields["element"])) if "element" in fields else (order, step)

    def _fields(self, job_id: str) -> Mapping[str, bytes]:
        flat = self.held[job_id].flat
        return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


MakeSteps = Callable[..., StepWorker]


def linear(name: str, *names: str, **options: Any) -> Chain:
    """Return a chain of steps of type ``t`` that follow each other."""
    return Chain(name, [Step(step, "t") for step in names], **options)


def pause(seconds: float) -> None:
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, seconds + 5)


def now_of(order: OrderHandle) -> dict[str, str]:
    """Where the order is; ``job`` in the place of a job's id, ``held@`` without its moment."""
    return {step: "job" if word.isdigit() else word.partition("@")[0] for step, word in order.record().now.items()}


def admit(queue: Queue, chain: str) -> int:
    """Let orders go on as workers do when they are told; returns how many bites that took."""
    bites = 1
    while queue.store.run(verbs.admit(chain)):
        bites += 1
    return bites


def texts(order: OrderHandle) -> list[str]:
    """What its history says apart from runs."""
    return [run.text for run in order.history() if run.step is None]


def diamond(**options: Any) -> Chain:
    """Return a -> (b, c) -> z, with options for b."""
    return Chain(
        "d",
        [
            Step("a", "t"),
            Step("b", "t", after="a", **options),
            Step("c", "t", after="a"),
            Step("z", "t", after=["b", "c"]),
        ],
    )
