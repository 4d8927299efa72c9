"""Crashes before, at and over a moment to come: of jobs, of orders, of schedules of both."""

from __future__ import annotations

import datetime as dt
import time

from crash.judge import judge, one_job, path_ended
from crash.moments import HOUR, KINDS, LATER, WHEN, linear, moment
from crash.runner import ONCE, WORK
from crash.stage import SOON, Stage, sha

from seatline.producer import JobHandle, OrderHandle


def soon(stage: Stage, seconds: float = LATER) -> dt.datetime:
    """Return the moment that is due next; what promotes from then on is `Stage.is_due`."""
    stage.due = time.time() + seconds
    return dt.datetime.fromtimestamp(stage.due, dt.UTC)


def not_early(stage: Stage, step: str | None) -> None:
    """See that the first handler did not begin before the moment (T1)."""
    begins = [line["at"] for line in stage.lines() if line.get("step") == step]
    assert begins
    assert min(begins) >= int(stage.due * 1000) / 1000


def pass_due(stage: Stage) -> None:
    """Let the moment pass while nobody is there."""
    stage.until(lambda: time.time() > stage.due + 0.05, "the moment")


@moment("{when}-promotion-of-{kind}", "T1", "T5", when=WHEN, kind=KINDS)
def at_due(stage: Stage, *, when: str, kind: str) -> None:
    """A job or an order is due; what promotes it was not sent yet, or its reply is lost (T1, T5)."""
    linear(stage)
    stage.strike(when, stage.is_due)
    due = enqueue(kind, stage, soon(stage))
    stage.recover()
    promoted(kind, stage, due)


@moment("before-due-{kind}", "T1", "T2", kind=KINDS)
def down_before_due(stage: Stage, *, kind: str) -> None:
    """Killed long before the moment, which stays what it was, also when it was said as a delay (T1, T2)."""
    linear(stage)
    due = enqueue(kind, stage, LATER * 2)
    before = due.record()
    stage.crash_now()
    stage.recover()
    after = due.record()
    assert before.due
    if dt.datetime.now(dt.UTC) < before.due:  # else this machine was too slow to see it
        assert (after.state, after.due, after.params) == ("scheduled", before.due, before.params)
    stage.due = before.due.timestamp()
    promoted(kind, stage, due)


@moment("over-due-{kind}", "T1", "T3", kind=KINDS)
def down_over_due(stage: Stage, *, kind: str) -> None:
    """The moment passes while nobody is there: it runs at once then, once (T3)."""
    linear(stage)
    due = enqueue(kind, stage, soon(stage))
    stage.crash_now()
    if stage.killed != "worker":
        pass_due(stage)
    stage.recover()
    promoted(kind, stage, due)


def enqueue(kind: str, stage: Stage, moment_: dt.datetime | float) -> JobHandle | OrderHandle:
    """Enqueue a job, or start an order, for a moment, or so many seconds from now."""
    at, delay = (moment_, None) if isinstance(moment_, dt.datetime) else (None, moment_)
    if kind == "job":
        return stage.queue.enqueue(WORK, {"a": 1}, at=at, delay=delay)
    return stage.queue.start("three", {"a": 1}, id="R-9", at=at, delay=delay)


def promoted(kind: str, stage: Stage, due: JobHandle | OrderHandle) -> None:
    """See it run, once, not before its moment, with its params."""
    if isinstance(due, OrderHandle):
        record = path_ended(stage, due)
        assert record.params == {"a": 1}
        not_early(stage, "one")
        judge(stage, due)
        return
    job = due.wait(SOON)
    assert job.state == "succeeded"
    assert job.params == {"a": 1}
    assert one_job(stage, WORK).id == due.id
    not_early(stage, None)
    judge(stage)


@moment("during-job", "T4")
def during_job(stage: Stage) -> None:
    """A job that does not say that it may run again runs: if its worker dies, a person decides."""
    linear(stage)
    job = stage.queue.enqueue(ONCE, {"hold": ONCE})
    stage.until(stage.lines, "the begin of the job")
    stage.crash_now()
    stage.recover()
    stage.go(ONCE)
    if stage.killed != "server":
        stage.until(lambda: job.state() != "running", "the end of its lease")
        record = job.record()
        assert (record.state, record.losses) == ("interrupted", 1)
        job.resubmit()
    assert job.wait(SOON).state == "succeeded"
    judge(stage, resubmitted=int(stage.killed != "server"))


@moment("{when}-fire-of-{kind}", "T5", "T7", "O3", when=WHEN, kind=KINDS)
def at_fire(stage: Stage, *, when: str, kind: str) -> None:
    """A schedule is due; what fires it was not sent yet, or its reply is lost: it fires once (T7)."""
    linear(stage)
    stage.strike(when, sha("fire"))
    due = plan(kind, stage)
    stage.recover()
    fired(kind, stage, due)


@moment("over-fire-of-{kind}", "T3", "T7", "O3", kind=KINDS)
def over_fire(stage: Stage, *, kind: str) -> None:
    """Its moment passes while nobody is there: it is made up for, once (T3, T7)."""
    linear(stage)
    due = plan(kind, stage)
    before = stage.queue.schedules["hourly"]
    stage.crash_now()
    if stage.killed != "worker":
        pass_due(stage)
    stage.recover()
    after = stage.queue.schedules["hourly"]
    if time.time() < stage.due:
        assert after == before
    fired(kind, stage, due)


def plan(kind: str, stage: Stage) -> dt.datetime:
    """Add a schedule whose first moment comes soon, and its second one in an hour."""
    due = soon(
        stage, 2 * LATER
    )  # it must not have passed when the schedule is added, or its first would be an hour later
    due = due.replace(microsecond=due.microsecond // 1000 * 1000)
    type_, chain = (WORK, None) if kind == "job" else (None, "three")
    stage.queue.schedules.add("hourly", type_, {"a": 1}, chain=chain, every=HOUR, start=due, title="of a schedule")
    return due


def fired(kind: str, stage: Stage, due: dt.datetime) -> None:
    """See that it has fired for its moment, once, and knows its next one."""
    queue = stage.queue
    last = stage.until(lambda: queue.schedules["hourly"].fields.get("last_job"), "the fire")
    if kind == "order":
        order = queue.order(last)
        record = path_ended(stage, order)
        assert [each.id for each in queue.orders(state="succeeded")] == [order.id]  # type: ignore[union-attr]
        found = (record.schedule, record.planned, record.params, record.title)
        judge(stage, order)
    else:
        assert queue.handle(last).wait(SOON).state == "succeeded"
        job = one_job(stage, WORK)
        assert job.id == last
        found = (job.schedule, job.planned, job.params, job.title)
        judge(stage)
    assert found == ("hourly", due, {"a": 1}, "of a schedule")
    assert queue.schedules["hourly"].next == due + dt.timedelta(seconds=HOUR)


@moment("in-order-of-schedule", "O1", "O3")
def in_order_of_schedule(stage: Stage) -> None:
    """An order of a schedule is at its second step: it goes on there, and its schedule as planned."""
    linear(stage)
    stage.queue.schedules.add("hourly", chain="three", params={"hold": "two"}, every=HOUR, after_end=True)
    order = stage.queue.schedules.run("hourly")
    assert isinstance(order, OrderHandle)
    stage.begun("two")
    before = stage.queue.schedules["hourly"]
    stage.crash_now()
    stage.recover()
    assert order.record().ended == ("one",)
    assert order.record().schedule == "hourly"
    assert stage.queue.schedules["hourly"] == before
    assert before.next is None  # it counts from the end of its run
    stage.go("two")
    record = path_ended(stage, order)
    assert record.finished
    stage.until(lambda: stage.queue.schedules["hourly"].next, "its next moment")
    assert stage.queue.schedules["hourly"].next == record.finished + dt.timedelta(seconds=HOUR)
    judge(stage, order)
