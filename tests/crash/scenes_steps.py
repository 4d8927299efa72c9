"""Crashes at the steps of a chain: a reservation, a run, a report, the start of an order."""

from __future__ import annotations

from crash.judge import judge, path_ended
from crash.moments import STEPS, WHEN, linear, moment
from crash.stage import Stage, report_of, sha


@moment("{when}-report-of-{step}", "O1", "O2", when=WHEN, step=STEPS)
def at_report(stage: Stage, *, when: str, step: str) -> None:
    """A step's handler has returned, and the script that moves the order on was not sent yet, or its reply is lost.

    A kill of the worker before that script reruns the step; one after it never does (O2).
    """
    linear(stage)
    stage.strike(when, report_of(b"succeeded", f"made-{step}".encode()))
    order = stage.queue.start("three", id="R-7", title="of three")
    stage.recover()
    path_ended(stage, order)
    begun = [line for line in stage.lines(step) if line["what"] == "begin"]
    assert len(begun) == (2 if when == "before" and stage.killed != "server" else 1)
    judge(stage, order)


@moment("during-{step}", "O1", step=STEPS)
def during(stage: Stage, *, step: str) -> None:
    """A step's handler runs; who lives on lets it end, else it runs from its beginning (O1)."""
    linear(stage)
    order = stage.queue.start("three", {"hold": step})
    stage.begun(step)
    stage.crash_now()
    stage.recover()
    assert order.record().ended == STEPS[: STEPS.index(step)]
    stage.go(step)
    path_ended(stage, order)
    if stage.killed != "server":
        begins = [line["step"] for line in stage.lines() if line["what"] == "begin"]
        assert begins == [*STEPS[: STEPS.index(step)], step, *STEPS[STEPS.index(step) :]]
    judge(stage, order)


@moment("{when}-reservation", "O1", "O2", when=WHEN)
def at_reservation(stage: Stage, *, when: str) -> None:
    """The first step's job waits, and the turn that reserves it is not sent yet, or its reply is lost."""
    linear(stage)
    stage.strike(when, lambda request: sha("turn") in request)
    order = stage.queue.start("three")
    stage.recover()
    path_ended(stage, order)
    judge(stage, order)


@moment("{when}-start", "O1", "R2", when=WHEN)
def at_start(stage: Stage, *, when: str) -> None:
    """A producer starts an order: it is started once."""
    linear(stage)
    stage.strike(when, sha("order_start"), ours=True)
    asked = stage.behind_proxy(lambda queue: queue.start("three", {"a": 1}, title="told twice").id)
    stage.recover()
    order = stage.queue.order(asked.result())
    record = path_ended(stage, order)
    assert (record.params, record.title) == ({"a": 1}, "told twice")
    assert [other.id for other in stage.queue.orders(state="succeeded")] == [order.id]  # type: ignore[union-attr]
    judge(stage, order)
