"""After a restart of the server: what was restored, started at once, interrupted, orphaned (W3, O3, T1 to T4, O13)."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import EventLog, ProcessWorker, ThreadWorker, Trace, idle_slots, run_counts

from seatline.producer import Chain, JobHandle, OrderHandle, Queue, Step
from seatline.producer.restart import AfterRestart, RestartReport, restart_report
from seatline.shared.calls import reads

MakeQueue = Callable[..., Queue]


@pytest.fixture
def owner(durable_server: RealServer, make_queue: MakeQueue) -> Queue:
    """A queue on a server of its own, with a chain c of two steps of type t."""
    queue = make_queue(durable_server.url)
    queue.define(Chain("c", [Step("a", "t"), Step("b", "t")]))
    return queue


def restart(server: RealServer, *, away: float = 0.0) -> None:
    """Kill the server, and start it again so many seconds later."""
    server.kill()
    end = time.monotonic() + away
    wait_until(lambda: time.monotonic() >= end, away + 5)
    server.start()


def report_of(queue: Queue, most: int = 10_000) -> RestartReport:
    queue.close()  # the next connection is a contact
    queue.store.meet()
    report = restart_report(queue.store, most=most)
    assert report is not None
    return report


def names(found: tuple[AfterRestart, ...]) -> set[tuple[str, str]]:
    return {(each.kind, each.id) for each in found}


class TestReport:
    """W3: the report itself."""

    def test_w3_nothing_is_told_before_a_restart(self, owner: Queue, durable_server: RealServer) -> None:
        """W3: none was seen: there is no report; the first contact after one notes it, and later ones do not."""
        owner.start("c")
        assert restart_report(owner.store) is None
        began = dt.datetime.now(dt.UTC)
        restart(durable_server)
        report = report_of(owner)
        assert 0 <= (report.restarted - began).total_seconds() < 10
        assert report.away_since is not None
        assert report.away_since < report.restarted
        assert report_of(owner).restarted == report.restarted

    def test_w3_restored(self, owner: Queue, durable_server: RealServer) -> None:
        """W3, O3: orders of every state that have not ended, and waiting jobs, from before; none from after it."""
        moment = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        kept = [
            owner.start("c", id="running"),
            owner.start("c", id="suspended"),
            owner.start("c", id="future", at=moment),
        ]
        kept[1].suspend()
        owner.chains.stop("c")
        kept.append(owner.start("c", id="waiting"))
        gone = owner.start("c", id="cancelled")
        gone.cancel()
        for _ in range(3):
            owner.enqueue("t")
        for _ in range(2):
            owner.enqueue("t", delay=3600)
        restart(durable_server)
        owner.start("c", id="later")
        owner.enqueue("t")
        report = report_of(owner)
        assert names(report.restored) == {("order", each.id) for each in kept}
        assert {each.id: each.state for each in report.restored} == {
            "running": "running", "suspended": "suspended", "future": "scheduled", "waiting": "waiting",
        }  # fmt: skip
        assert report.jobs == {"ready": 3, "scheduled": 2}  # steps of orders are told of with their orders
        assert report.well
        assert (report.started, report.complete) == ((), True)
        assert str(report).startswith(
            f"since the restart of the server at {report.restarted:%F %T} UTC: 4 orders and 5 "
        )

    def test_w3_t3_started_at_once(
        self, owner: Queue, durable_server: RealServer, burst: Callable[..., object]
    ) -> None:
        """W3, T3, O7: orders, jobs and set back steps whose moment passed meanwhile; before they run and afterwards."""
        owner.define(Chain("back", [Step("a", "u", on_error="setback", setback=[1])]))
        worker = FakeWorker(durable_server.url, owner.settings.namespace, {"u": {}})
        with contextlib.closing(worker):
            back = owner.start("back")
            worker.turn()
            worker.settle(*worker.held, outcome="failed")
            worker.leave()
        due: list[OrderHandle | JobHandle] = [owner.start("c", id="passed", delay=0.7), owner.enqueue("t", delay=0.7)]
        others: list[OrderHandle | JobHandle] = [
            owner.start("c", delay=3600),
            owner.enqueue("t", delay=3600),
            owner.start("c"),
            owner.enqueue("t"),
        ]
        restart(durable_server, away=1.2)
        expected = {("order", "passed"), ("job", due[1].id), ("order", back.id)}
        report = report_of(owner)
        assert names(report.started) == expected
        assert {each.of for each in report.started} == {"c", "t", "back"}
        burst(Trace("t", "u").handlers, url=durable_server.url)
        assert owner.order("passed").state() == "succeeded"
        report = report_of(owner)
        assert names(report.started) == expected
        assert not {each.id for each in others} & {each.id for each in report.started}

    def test_w3_t4_interrupted(self, owner: Queue, durable_server: RealServer) -> None:
        """W3, T4: jobs that ran: first their leases have run out, then they are interrupted; a step of an order is named."""
        owner.define(Chain("once", [Step("a", "t", if_lost="interrupt")]))
        namespace = owner.settings.namespace
        worker = FakeWorker(durable_server.url, namespace, {"t": {}}, slots=2, lease=0.5)
        job, order = owner.enqueue("t"), owner.start("once", id="mine")
        worker.turn()
        assert len(worker.held) == 2
        restart(durable_server, away=0.6)
        report = report_of(owner)
        assert names(report.interrupted) == {("job", each) for each in worker.held}
        assert {each.state for each in report.interrupted} == {"running"}
        reaper = FakeWorker(durable_server.url, namespace, {"t": {}})
        assert reaper.reap(*reaper.renew().suspects) == ["interrupted", "interrupted"]
        report = report_of(owner)
        assert {(each.id, each.state) for each in report.interrupted} == {(each, "interrupted") for each in worker.held}
        notes = {each.id: each.note for each in report.interrupted}
        assert notes[job.id] == f"seatline jobs resubmit {int(job.id)} runs it"
        assert any(note.startswith("step a of order mine; ") for note in notes.values())
        assert not report.well
        assert "2 interrupted, 0 orphaned" in str(report)
        assert order.state() == "failed"
        reaper.leave()
        for each in (worker, reaper):
            each.store.close()

    @pytest.mark.damaged
    def test_w3_o13_orphaned(self, owner: Queue, durable_server: RealServer) -> None:
        """W3, O13: a record that cannot be read or is gone, a step whose job is lost, a job whose order is lost."""
        for name in ("unread", "gone", "jobless", "good"):
            owner.start("c", id=name)
        keys = owner.store.keys
        jobs = {name: owner.order(name).record().now["a"] for name in ("unread", "gone", "jobless", "good")}
        with contextlib.closing(durable_server.client()) as redis:
            redis.hset(keys.order("unread"), "priority", "x")
            redis.delete(keys.order("gone"))
            redis.zrem(keys.ready("t"), jobs["jobless"])
            redis.delete(keys.job(jobs["jobless"]))
        restart(durable_server)
        report = report_of(owner)
        told = {(each.kind, each.id): each.note for each in report.orphaned}
        assert told.keys() == {("order", "unread"), ("order", "gone"), ("order", "jobless"), ("job", jobs["gone"])}
        assert "its record cannot be read" in told["order", "unread"]
        assert "its record is gone" in told["order", "gone"]
        assert told["order", "jobless"] == f"the job {int(jobs['jobless'])} of its step a does not exist"
        assert told["job", jobs["gone"]] == "its order gone is lost"
        assert ("order", "good") in names(report.restored)

    def test_w3_no_more_is_read_than_wanted(self, owner: Queue, durable_server: RealServer) -> None:
        """W3: with more orders or jobs than it looks at it says 'at least'; over several pages nothing is counted twice."""
        for _ in range(12):
            owner.enqueue("t")
        restart(durable_server)
        report = report_of(owner, most=5)
        assert (report.jobs, report.complete) == ({"ready": 5}, False)
        assert "UTC: at least 0 orders and 5 waiting jobs" in str(report)
        assert (report_of(owner, most=12).jobs, report_of(owner, most=12).complete) == ({"ready": 12}, True)

    def test_w3_many_pages(self, owner: Queue, durable_server: RealServer) -> None:
        """W3: 1,200 orders in front of a stopped chain and as many future jobs: each is counted once."""
        owner.chains.stop("c")
        for _ in range(1200):
            owner.start("c")
            owner.enqueue("t", delay=3600)
        restart(durable_server)
        report = report_of(owner)
        assert len(names(report.restored)) == len(report.restored) == 1200
        assert report.jobs == {"scheduled": 1200}


class TestTold:
    """W3: each worker that meets a restart tells of it, once."""

    def test_w3_a_worker_that_lived_through_it(
        self, owner: Queue, durable_server: RealServer, start_worker: Callable[..., ThreadWorker],
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        """W3: a line at its first renewal afterwards, with the counts; none for the start before, and no second one."""
        log = EventLog()
        owner.chains.stop("c")
        owner.start("c")
        with caplog.at_level(logging.INFO, "seatline.worker"):
            worker = start_worker(Trace("t").handlers, url=durable_server.url, sink=log).worker.id

            def seen() -> dt.datetime:
                (record,) = owner.store.read(reads.worker_records(owner.store.keys, [worker], []))
                return record.last_seen or dt.datetime.min.replace(tzinfo=dt.UTC)

            wait_until(lambda: idle_slots(owner) == 1)
            assert not log.count("restarted")
            restart(durable_server)
            wait_until(lambda: log.count("restarted") == 1, 15, "the worker's line")
            told = seen()
            wait_until(lambda: seen() > told, 5, "one renewal more")
        assert log.fields("restarted") == {"restored": 1, "jobs": 0, "at_once": 0, "interrupted": 0, "orphaned": 0}
        assert log.count("restarted") == 1
        lines = [record for record in caplog.records if record.message.startswith("restarted: since the restart")]
        assert [record.levelno for record in lines] == [logging.INFO]
        assert "1 orders and 0 waiting jobs restored" in lines[0].message
        assert "seatline orders list --since-restart" in lines[0].message

    def test_w3_a_worker_that_starts_after_it(
        self, owner: Queue, durable_server: RealServer, start_process: Callable[..., ProcessWorker], tmp_path: Path,
    ) -> None:  # fmt: skip
        """W3: worker and server killed: the one that starts then warns of what ran and was lost."""
        options = {"url": durable_server.url, "lease": 0.6, "renew": 0.2}
        first = start_process("hold.interrupt", **options)
        job = owner.enqueue("hold.interrupt", {"folder": str(tmp_path)})
        wait_until(lambda: run_counts(tmp_path)[job.id] == 1, 15)
        owner.start("c", delay=3600)
        owner.enqueue("nobody")
        first.child.signal(signal.SIGKILL)
        restart(durable_server, away=0.7)
        second = start_process("plain", **options)
        wait_until(lambda: "restart-losses: since the restart of the server" in second.child.errors(), 15, "its line")
        assert (
            "1 orders and 1 waiting jobs restored, 0 started at once, 1 interrupted, 0 orphaned."
            in second.child.errors()
        )
        assert "WARNING:seatline.worker:restart-losses" in second.child.errors()
        wait_until(lambda: job.state() == "interrupted", 10)
        said = f"job {int(job.id)}: its holder is gone; it is interrupted"
        wait_until(lambda: said in second.child.errors(), 5, "an id as people type it")

    def test_w3_old_news_is_not_told(
        self, queue: Queue, redis: Redis, burst: Callable[..., object], namespace: str
    ) -> None:
        """W3: a worker that starts long after the restart keeps silent; the report is to be had all the same."""
        waits = queue.enqueue("nobody")
        redis.hset(f"{{{namespace}}}:job:{waits.id}", "created", int((time.time() - 86_400) * 1000))
        for minutes, told in ((120, 0), (11, 0), (9, 1)):
            moment = int((time.time() - minutes * 60) * 1000)
            redis.hset(f"{{{namespace}}}:about", "restarted", moment)
            log = EventLog()
            burst(Trace("t").handlers, sink=log, renew=0.3, lease=1.2)
            assert log.count("restarted") == told
            report = restart_report(queue.store)
            assert report is not None
            assert round(report.restarted.timestamp() * 1000) == moment

    def test_w3_a_restart_that_left_nothing_is_not_told(
        self, queue: Queue, redis: Redis, burst: Callable[..., object], namespace: str
    ) -> None:
        """W3: nothing restored, started, interrupted or orphaned: no line that counts to zero."""
        queue.enqueue("t")
        redis.hset(f"{{{namespace}}}:about", "restarted", int((time.time() - 5) * 1000))
        log = EventLog()
        burst(Trace("t").handlers, sink=log, renew=0.3, lease=1.2)
        report = restart_report(queue.store)
        assert report is not None
        assert (report.restored, report.jobs, report.well) == ((), {}, True)
        assert not log.count("restarted") + log.count("restart-losses")
