"""Random chains with random outcomes and random people, against a model of the rules O4, O8, O11, O14 and O15."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from harness.server import RealServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from rules.flow_model import ModelOrder, ModelStep, Refused
from rules.order_look import disagreements
from rules.step_worker import StepWorker, admit, now_of

from seatline.producer import Chain, OrderHandle, Queue, Step
from seatline.shared.errors import WrongState

Event = tuple[str, int, int]
PROFILES = {"default": 150, "nightly": 5_000}
WORKERS = ("take", "take all", "end", "fail", "goto")
PEOPLE = ("suspend", "resume", "skip", "go_to", "reset")
GATES = ("stop_step", "start_step", "skip_step", "unskip_step")


@st.composite
def chains(draw: Callable[..., Any]) -> list[ModelStep]:
    """Up to six steps of the flow and two aside; without any ``after`` they follow each other."""
    flow = [f"s{n}" for n in range(draw(st.integers(1, 6)))]
    asides = [f"x{n}" for n in range(draw(st.integers(0, 2)))]
    after = {name: draw(st.sets(st.sampled_from(flow[:n]), max_size=3)) if n else set() for n, name in enumerate(flow)}
    if not any(after.values()):
        after = {name: set(flow[max(0, n - 1) : n]) for n, name in enumerate(flow)}
    steps: list[ModelStep] = []
    for name in flow + asides:
        others = [each for each in flow + asides if each != name]
        on_error = draw(st.sampled_from(["fail", "suspend", *others]))
        if name in flow:
            befores = tuple(each for each in flow if each in after[name])
            steps.append(ModelStep(name, befores, on_error=on_error))
        else:
            then = draw(st.sampled_from([None, *flow, *asides[: asides.index(name)]]))
            steps.append(ModelStep(name, aside=True, then=then, on_error=on_error))
    return steps


def events() -> st.SearchStrategy[list[Event]]:
    number = st.integers(0, 9)
    names = st.sampled_from((*WORKERS, *WORKERS, *PEOPLE, *GATES))
    return st.lists(st.tuples(names, number, number), max_size=30)


class Pair:
    """One order as it is and as it should be; each event happens to both, then they are compared."""

    def __init__(self, queue: Queue, worker: StepWorker, steps: list[ModelStep]) -> None:
        self.queue, self.worker = queue, worker
        self.names = [step.name for step in steps]
        self.chain = "c"
        self.model = ModelOrder({step.name: step for step in steps})
        queue.define(
            Chain(
                self.chain,
                [Step(s.name, "t", after=s.after, aside=s.aside, then=s.then, on_error=s.on_error) for s in steps],
            )
        )
        self.order: OrderHandle = queue.start(self.chain)
        self.model.start()
        self.compare("start")

    def happen(self, what: str, one: int, two: int) -> None:
        name = self.names[one % len(self.names)]
        running = [step for step, word in self.model.at.items() if word == "runs"]
        told = f"{what} {name}"
        if what in {"take", "take all"}:
            most = 1 if what == "take" else 100
            got = [place[1] for place in self.worker.take(most)]
            assert got == self.model.take(most)
        elif what in {"end", "fail", "goto"}:
            if not running:
                return
            step = running[one % len(running)]
            goto = [*self.names, "nowhere"][two % (len(self.names) + 1)] if what == "goto" else None
            told = f"{what} {step} {goto}"
            self.worker.end(self.order.id, step, outcome="failed" if what == "fail" else "succeeded", goto=goto)
            if what == "fail":
                self.model.fail(step)
            else:
                self.model.end(step, goto)
        elif what in GATES:
            getattr(self.model, what)(name)
            verb = {"stop_step": "stop", "start_step": "start", "skip_step": "skip", "unskip_step": "unskip"}[what]
            getattr(self.queue.chains, verb)(self.chain, name)
            admit(self.queue, self.chain)
        else:
            words = [name] if what in {"skip", "go_to"} else []
            refused = False
            try:
                getattr(self.model, what)(*words)
            except Refused:
                refused = True
            if refused:
                with pytest.raises(WrongState):
                    getattr(self.order, what)(*words)
            else:
                getattr(self.order, what)(*words)
        self.compare(told)

    def compare(self, told: str) -> None:
        record, model = self.order.record(), self.model
        at = {name: "job" if word in {"waits", "runs"} else word for name, word in model.at.items()}
        assert (record.state, now_of(self.order), list(record.ended)) == (model.state, at, model.ended), told
        assert {place[1] for place in self.worker.runs} == {s for s, word in model.at.items() if word == "runs"}, told

    def finish(self) -> None:
        """All gates open, everything ends well: so the order succeeds."""
        for name in self.names:
            self.happen("start_step", self.names.index(name), 0)
            self.happen("unskip_step", self.names.index(name), 0)
        for _ in range(100):
            if self.model.state == "succeeded":
                break
            if self.model.state in {"suspended", "failed"} and "runs" not in self.model.at.values():
                self.happen("resume", 0, 0)
            self.happen("take all", 0, 0)
            self.happen("end", 0, 0)
        assert self.order.state() == "succeeded"


@pytest.mark.timeout(0)
def test_o14_o15_random_flows_are_as_the_rules_say(server: RealServer, redis: Redis, namespace: str) -> None:
    """O4, O8, O11, O14, O15: which steps run, in which order, where the order is and how it ends, after each event."""

    @settings(
        max_examples=PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "default")],
        deadline=None,
        database=None,
        derandomize="CI" in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(chains(), events())
    def run(steps: list[ModelStep], told: list[Event]) -> None:
        redis.flushall()
        with (
            Queue(server.url, namespace=namespace) as queue,
            contextlib.closing(StepWorker(server.url, namespace)) as w,
        ):
            pair = Pair(queue, w, steps)
            for event in told:
                pair.happen(*event)
                assert not disagreements(redis, namespace), event
            pair.finish()
            w.leave()

    run()
