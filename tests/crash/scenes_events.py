"""Crashes between what has happened and the jobs of its trigger, on both sides of each script (Q20)."""

from __future__ import annotations

from typing import Final

from crash.judge import judge
from crash.moments import WHEN, linear, moment
from crash.runner import WORK
from crash.stage import SOON, Stage, report_of, sha

from seatline.producer import Job
from seatline.shared.job import JobRecord
from seatline.shared.keys import STATES

EVENTS: Final = ("job.failed", "order.failed", "drawn")
SCRIPTS: Final = ("emit", "gather")


def heard(stage: Stage, event: str, count: int = 1) -> list[JobRecord]:
    """Wait until so many jobs of an event have succeeded; there must be no others, and nothing waits."""

    def jobs(*states: str) -> list[JobRecord]:
        return [job for state in states for job in stage.queue.jobs(state=state) if job.event == event]

    stage.until(lambda: len(jobs("succeeded")) >= count, f"the jobs of {event}")
    stage.until(lambda: not stage.queue.triggers[event].waiting, "the last fact")
    assert len(jobs(*STATES)) == count
    return [stage.queue.job(job.id) for job in jobs("succeeded")]  # a listing tells no events that were gathered


def cause(stage: Stage, event: str) -> str:
    """Have something happen; returns the id of the job, or of the order, that it is about."""
    if event == "order.failed":
        return stage.queue.start("three", {"fail": "one"}, id="R-7").id
    params = {"fail": WORK} if event == "job.failed" else {"emit": event}
    return stage.queue.enqueue(WORK, params).id


def about(event: str, params: dict[str, object]) -> object:
    """Return what an event's params say that it is about."""
    return params["order" if event == "order.failed" else "by" if event == "drawn" else "job"]


@moment("{when}-{script}-for-{event}", "Q20", when=WHEN, script=SCRIPTS, event=EVENTS)
def at_emit(stage: Stage, *, when: str, script: str, event: str) -> None:
    """A worker has read what has happened; its jobs were not sent yet, or the reply to that is lost (Q20)."""
    linear(stage)
    stage.queue.triggers.set(event, [Job(WORK, {"give": {}})], coalesce=None if script == "emit" else 0.3)
    stage.strike(when, sha(script))
    expected = cause(stage, event)
    stage.recover()
    (job,) = heard(stage, event)
    said = [job.params] if script == "emit" else job.params["events"]
    assert [about(event, params) for params in said] == [WORK if event == "drawn" else expected]
    assert job.depth == 1
    _judge(stage, event, expected)


@moment("{when}-report-for-{event}", "Q20", when=WHEN, event=EVENTS)
def at_report(stage: Stage, *, when: str, event: str) -> None:
    """The report with which it happens was not sent yet, or its reply is lost (Q20)."""
    linear(stage)
    stage.queue.triggers.set(event, [Job(WORK), Job(WORK)])
    said = {"job.failed": f"unmade-{WORK}", "order.failed": "unmade-one", "drawn": "drawn"}[event]
    stage.strike(when, report_of(said.encode()))
    expected = cause(stage, event)
    stage.recover()
    for job in heard(stage, event, 2):
        assert about(event, job.params) == (WORK if event == "drawn" else expected)
    _judge(stage, event, expected)


@moment("lost-worker", "Q20")
def lost_worker(stage: Stage) -> None:
    """A worker that is killed is told of, once; a server that was killed has lost none (Q20)."""
    linear(stage)
    stage.queue.triggers.set("worker.lost", [Job(WORK)])
    stage.crash_now()
    stage.recover()
    job = stage.queue.enqueue(WORK)
    assert job.wait(SOON).state == "succeeded"
    if stage.killed == "server":
        assert not stage.queue.triggers["worker.lost"].taken
    else:
        (told,) = heard(stage, "worker.lost")
        assert told.params["pid"] == stage.workers[0]
    judge(stage)


def _judge(stage: Stage, event: str, expected: str) -> None:
    judge(stage, *([stage.queue.order(expected)] if event == "order.failed" else []))
