"""Crashes where a step has failed, waits to be tried again, or has chosen the next one."""

from __future__ import annotations

import datetime as dt

from crash.judge import judge, path_ended
from crash.moments import LATER, STEPS, WHEN, flow_with, linear, moment
from crash.runner import WORK
from crash.stage import SOON, Stage, report_of

from seatline.producer import Chain, OrderHandle, Retry, Step


@moment("{when}-report-of-failure", "O4", "O2", when=WHEN)
def at_failure(stage: Stage, *, when: str) -> None:
    """A step has failed, and an error step is to follow, which leads back."""
    mending(stage)
    stage.strike(when, report_of(b"failed", b"unmade-two"))
    repaired(stage)


@moment("{when}-report-of-error-step", "O4", "O2", when=WHEN)
def at_repair(stage: Stage, *, when: str) -> None:
    """The error step has ended, and leads back to the one that failed."""
    mending(stage)
    stage.strike(when, report_of(b"succeeded", b"made-repair"))
    repaired(stage)


def mending(stage: Stage) -> None:
    """Define a chain whose second step fails until an error step has mended it."""
    aside = Step("repair", WORK, aside=True, then="two")
    stage.queue.define(Chain("mending", [*flow_with(Step("two", WORK, on_error="repair")), aside]))
    stage.worker()


def repaired(stage: Stage) -> None:
    """Start an order through it and see it mended."""
    order = stage.queue.start("mending", {"fail": "two"})
    stage.recover()
    path_ended(stage, order, ["one", "repair", "two", "three"])
    failed = [run for run in order.history() if run.outcome == "failed"]
    assert [run.step for run in failed] == ["two"]
    judge(stage, order)


def set_back(stage: Stage, wait: float) -> OrderHandle:
    """Start an order whose second step fails until it is mended, and is then set back."""
    stage.queue.define(Chain("tried", flow_with(Step("two", WORK, on_error="setback", setback=[wait], setbacks=50))))
    stage.worker()
    return stage.queue.start("tried", {"fail": "two"})


def went_on(stage: Stage, order: OrderHandle) -> None:
    """Let it be mended, and see that each setback was counted once, and the count forgotten in the end (O7)."""
    stage.go("mended")
    record = path_ended(stage, order)
    assert record.setbacks == {}
    failed = [run for run in order.history() if run.outcome == "failed"]
    told = [run.text.split(", ")[1] for run in order.history() if " set back, " in run.text]
    assert told == [f"{n} of 50" for n in range(1, len(failed) + 1)]
    judge(stage, order)


@moment("{when}-report-of-setback", "O7", "O2", when=WHEN)
def at_setback(stage: Stage, *, when: str) -> None:
    """A step has failed and is to be set back."""
    stage.strike(when, report_of(b"failed", b"unmade-two"))
    order = set_back(stage, LATER)
    stage.recover()
    stage.until(lambda: any(" set back, 1 of " in run.text for run in order.history()), "the setback")
    went_on(stage, order)


@moment("in-setback", "O3", "O7", "T5")
def in_setback(stage: Stage) -> None:
    """A step was set back and its moment has not come: count and moment are what they were."""
    order = set_back(stage, 4 * LATER)
    before = stage.set_back(order)
    assert before.due
    stage.crash_now()
    stage.recover()
    record, after = order.record(), stage.queue.job(before.id)
    if dt.datetime.now(dt.UTC) < before.due:  # else this machine was too slow to see it
        assert (record.setbacks, record.now) == ({"two": 1}, {"two": before.id})
        assert (after.state, after.due) == ("scheduled", before.due)
    went_on(stage, order)
    second = [run for run in order.history() if run.step == "two"][-1]
    assert second.started
    assert second.started >= before.due


@moment("{when}-end-of-setback", "O7", "T5", when=WHEN)
def at_end_of_setback(stage: Stage, *, when: str) -> None:
    """The moment of a step that was set back has come; what promotes it was not sent yet, or its reply is lost."""
    stage.strike(when, stage.is_due)
    order = set_back(stage, LATER)
    due = stage.set_back(order).due
    stage.due = due.timestamp() if due else 0.0  # a job that has begun meanwhile has none: at the next request, then
    stage.recover()
    went_on(stage, order)


@moment("in-retry-delay", "O3", "O4", "T5")
def in_retry_delay(stage: Stage) -> None:
    """An attempt of a step has failed and the next one waits for its moment: it is one more attempt of the same job."""
    retry = Retry(attempts=3, first=2 * LATER, jitter=0)
    stage.queue.define(Chain("tried", flow_with(Step("two", WORK, retry=retry))))
    stage.worker()
    order = stage.queue.start("tried", {"fail": "two"})
    stage.until(lambda: any(line["what"] == "raise" for line in stage.lines()), "the failure")
    stage.go("mended")
    (line,) = [line for line in stage.lines("two") if line["what"] == "raise"]
    job = line["job"]
    stage.until(lambda: stage.queue.job(job).state != "running", "the delay")
    stage.crash_now()
    stage.recover()
    path_ended(stage, order)
    assert stage.queue.job(job).attempt == 2
    judge(stage, order)


@moment("{when}-report-of-goto", "O15", "O2", when=WHEN)
def at_goto(stage: Stage, *, when: str) -> None:
    """A step has chosen the next one, one that lies behind it."""
    linear(stage)
    stage.strike(when, report_of(b"goto", b"made-two"))
    order = stage.queue.start("three", {"goto": {"two": "one"}})
    stage.recover()
    # A handler that is run again after it was lost finds it mended, and goes no way back.
    again = stage.killed != "server" and when == "before"
    path = STEPS if again else ("one", "two", "one", "two", "three")
    record = order.wait(SOON)
    assert record.state == "succeeded"
    assert [run.step for run in order.history() if run.outcome == "succeeded"] == [*path]
    judge(stage, order)
