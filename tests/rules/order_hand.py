"""Orders, step by step by hand: what the tests of orders share."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any, Final

from rules.fake_worker import FakeWorker

from seatline.producer import Chain, OrderHandle, Queue, Step
from seatline.shared.calls import orders as verbs
from seatline.shared.calls.base import Read
from seatline.shared.calls.workers import Suspect
from seatline.shared.codec import pack_value
from seatline.shared.job import JobRecord

__all__ = ["ERROR", "TYPES", "Hand", "admit", "at", "define", "due_in", "events", "let_pass"]

TYPES: Final = ("check", "publish", "tidy", "repair")
ERROR: Final = ("error_type", "ValueError", "error", "no answer\nat all", "traceback", "Traceback:\n  line 1\n")


class Hand:
    """A worker whose every exchange is made by the test, and the steps that it runs."""

    def __init__(self, worker: FakeWorker) -> None:
        self.worker = worker

    def begin(self, order: OrderHandle, step: str) -> str:
        """Reserve one job: it must be that of this step. Returns its id."""
        (job_id,) = self.worker.turn(want=1) or self.worker.turn(want=1)  # what is due comes with the second look
        assert order.record().now.get(step) == job_id, order.record().now
        return job_id

    def succeed(self, job_id: str, value: object = None, *fields: str) -> None:
        result = b"" if value is None else pack_value("result", value)
        self.end(job_id, "succeeded", *fields, result=result, result_ms=60_000)

    def fail(self, job_id: str) -> None:
        self.end(job_id, "failed", *ERROR)

    def end(self, job_id: str, outcome: str, *fields: str, **more: Any) -> None:
        self.worker.turn(self.worker.report(job_id, outcome, *fields, **more), want=0)
        assert self.worker.states != ["stale"]

    def run(self, order: OrderHandle, *steps: str, value: object = None) -> None:
        """Run these steps to a good end, one after the other."""
        for step in steps:
            self.succeed(self.begin(order, step), value)

    def params(self, job_id: str) -> dict[str, Any]:
        """What a handler of this job is given."""
        return JobRecord.read(job_id, self.worker.held[job_id].flat).params

    def outputs(self, job_id: str) -> set[str]:
        handed = JobRecord.read(job_id, self.worker.held[job_id].flat).handed
        assert handed is not None
        return set(handed.outputs)

    def lose(self, job_id: str) -> str:
        """Let its lease run out, as if its worker had been killed, and have it reaped."""
        store = self.worker.store
        deadline = int(time.time() * 1000) - 1000
        store.read(Read([("ZADD", store.keys("running"), deadline, job_id)], list))
        token = self.worker.held.pop(job_id).token
        (word,) = self.worker.reap(Suspect("job", job_id, token, deadline))
        return word

    def nothing(self) -> bool:
        """Whether there is nothing that could be reserved now."""
        return self.worker.turn(want=4, waits=False) == []


def define(queue: Queue, *changes: Step, **options: Any) -> None:
    """Define chain ``c``: check, publish, tidy; ``changes`` stand in the place of those of their name, others at the end."""
    steps = {name: Step(name, name) for name in TYPES[:3]} | {step.name: step for step in changes}
    queue.define(Chain("c", list(steps.values()), **options))


def at(order: OrderHandle) -> dict[str, str]:
    """Where it is; ids of jobs as 'job'."""
    return {step: "job" if word.isdigit() else word for step, word in order.record().now.items()}


def events(order: OrderHandle) -> list[str]:
    """Its history in short: 'check succeeded' for a run, or what else happened."""
    return [f"{run.step} {run.outcome}" if run.step else run.text for run in order.history()]


def let_pass(queue: Queue, order: OrderHandle, step: str) -> None:
    """Let the moment have come until which a step waits."""
    keys, job_id = queue.store.keys, order.record().now[step]
    moment = int(time.time() * 1000) - 5
    queue.store.read(
        Read([("HSET", keys.job(job_id), "due", moment), ("ZADD", keys("scheduled"), "XX", moment, job_id)], list)
    )


def due_in(queue: Queue, order: OrderHandle, step: str) -> float:
    """Seconds until the waiting job of a step is due."""
    record = queue.job(order.record().now[step])
    assert record.state == "scheduled"
    assert record.due is not None
    return (record.due - dt.datetime.now(dt.UTC)).total_seconds()


def admit(queue: Queue) -> None:
    """Do what a worker does that is told of a chain."""
    while queue.store.run(verbs.admit("c")):
        pass
