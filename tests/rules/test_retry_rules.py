"""How attempts end, as the server sees it: again after a delay (C16), skipped (Q21), interrupted, and with jobs enqueued."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import assert_one_place, places
from soak.replay import replay

from seatline.producer import Attempt, Job, JobHandle, Queue
from seatline.shared.calls.workers import Report
from seatline.shared.errors import JobFailed, JobInterrupted, JobSkipped, PayloadError
from seatline.shared.job import attempt_text, job_words

ERROR = ("error_type", "ConnectionError", "error", "no answer\n\nfrom vault", "traceback", "Traceback:\n  line 1\n")


@pytest.fixture
def worker(server: RealServer, namespace: str) -> Iterator[FakeWorker]:
    types: dict[str, dict[str, int]] = {"a": {}, "seated": {"vault": 1}}
    with contextlib.closing(FakeWorker(server.url, namespace, types, slots=4, if_lost="rerun")) as worker:
        yield worker


def retry(worker: FakeWorker, handle: JobHandle, delay_ms: int, *more: str) -> Report:
    """Report that its attempt failed and is to be followed by another one."""
    taken = worker.held[handle.id]
    text = attempt_text(taken.attempt, worker.id, ERROR[1], ERROR[3], ERROR[5])
    return worker.report(handle.id, "retry", *ERROR, *more, result=text.encode(), result_ms=delay_ms)


class TestRetry:
    """C16: a failed attempt that is followed by another one."""

    def test_c16_it_waits_for_its_delay_and_runs_again(
        self, queue: Queue, worker: FakeWorker, redis: Redis, namespace: str
    ) -> None:
        """C16: scheduled with its error, seats free meanwhile, then attempt 2, same id and priority; no error is left."""
        queue.pools.set("vault", 1)
        handle = queue.enqueue("seated", {"n": 1}, priority=7)
        worker.turn()
        worker.turn(retry(worker, handle, 400), want=0)
        assert worker.states == ["scheduled"]
        record = handle.record()
        assert (record.state, record.attempt, record.priority) == ("scheduled", 1, 7)
        assert (record.error_type, record.error, record.traceback) == ERROR[1::2]
        assert record.started is not None
        assert record.due is not None
        assert record.due >= record.started + dt.timedelta(milliseconds=400)
        assert queue.pools["vault"].in_use == 0
        assert "attempt 1 failed (ConnectionError)" in handle.why()[0].message
        assert places(redis, namespace)[handle.id] == ["scheduled"]
        assert worker.turn() == []
        wait_until(lambda: worker.turn() == [handle.id], 5)
        assert worker.held[handle.id].attempt == 2
        assert (handle.record().error, handle.record().traceback) == (None, None), "it is among the attempts"
        worker.settle(handle.id)
        record = handle.record()
        assert (record.state, record.attempt, record.error, record.error_type) == ("succeeded", 2, None, None)
        assert record.params == {"n": 1}

    def test_c16_each_attempts_error_is_kept(self, queue: Queue, worker: FakeWorker) -> None:
        """C16: moment, number, worker, type, message and traceback of every attempt; the newest 20."""
        handle = queue.enqueue("a")
        assert handle.attempts() == []
        for _ in range(23):
            worker.turn(want=1)
            worker.turn(retry(worker, handle, 0), want=0)
        kept = handle.attempts()
        assert [attempt.attempt for attempt in kept] == list(range(4, 24))
        last = kept[-1]
        assert (last.worker, last.error_type, last.error, last.traceback) == (worker.id, *ERROR[1::2])
        record = handle.record()
        assert record.created is not None
        assert record.created <= last.moment <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
        assert kept == sorted(kept, key=lambda attempt: attempt.moment)

    def test_c16_at_once_it_stands_at_its_old_place(self, queue: Queue, worker: FakeWorker) -> None:
        """C16, Q12: without a delay it is ready at its priority and sequence, before what came after it."""
        first, second = queue.enqueue("a"), queue.enqueue("a")
        worker.turn(want=1)
        worker.turn(retry(worker, first, 0), want=0)
        assert worker.states == ["ready"]
        assert worker.turn() == [first.id, second.id]

    def test_c16_an_idle_worker_wakes_at_its_moment(
        self, queue: Queue, worker: FakeWorker, server: RealServer, namespace: str, redis: Redis
    ) -> None:
        """C16, DESIGN 5.6: who holds the alarm for a later job is rung; else the one that reports holds it itself."""
        with contextlib.closing(FakeWorker(server.url, namespace, {"a": {}}, if_lost="rerun")) as idle:
            handle = queue.enqueue("a")
            assert worker.turn(want=1) == [handle.id]
            queue.enqueue("b", delay=50)
            idle.turn()
            assert 0 < idle.due <= 50_000
            worker.turn(retry(worker, handle, 20_000), want=0)
            assert idle.rung()
            idle.turn()
            assert 0 < idle.due <= 20_000
        other = queue.enqueue("a")
        worker.turn(want=1)
        redis.delete(queue.store.keys("alarm"))
        worker.turn(retry(worker, other, 10_000), want=1)
        assert 0 < worker.due <= 10_000

    def test_q23_who_was_asked_to_stop_does_not_run_again(self, queue: Queue, worker: FakeWorker) -> None:
        """Q23: the request wins over the next attempt."""
        handle = queue.enqueue("a")
        worker.turn()
        handle.cancel()
        worker.turn(retry(worker, handle, 10), want=0)
        assert worker.states == ["cancelled"]
        assert handle.attempts() == []

    def test_c16_no_attempt_begins_after_its_expiry(self, queue: Queue, worker: FakeWorker) -> None:
        """C16: the next attempt would be too late: it has failed, with its own error; one in time is made."""
        handle = queue.enqueue("a", expires=30)
        worker.turn()
        worker.turn(retry(worker, handle, 20_000), want=0)
        assert worker.states == ["scheduled"]
        handle.move(priority=3)
        late = queue.enqueue("a", expires=30)
        worker.turn()
        worker.turn(retry(worker, late, 31_000), want=0)
        assert worker.states == ["failed"]
        with pytest.raises(JobFailed, match="ConnectionError: no answer") as caught:
            late.result(timeout=1)
        assert caught.value.error_type == "ConnectionError"
        assert "not run again" in late.history()[-1]
        assert late.record().result_packed == b""

    def test_c12_a_dead_child_counts_as_a_loss(self, queue: Queue, worker: FakeWorker) -> None:
        """C12: what the worker says of losses is kept while it waits, and the third one is interrupted by the worker."""
        handle = queue.enqueue("a")
        worker.turn()
        worker.turn(retry(worker, handle, 0, "losses", "2"), want=1)
        assert (handle.record().losses, handle.record().attempt) == (2, 2)
        worker.turn(worker.report(handle.id, "interrupted", "losses", "3", "error", "exit code -9 on cad-01"), want=0)
        record = handle.record()
        assert (record.state, record.losses, record.error) == ("interrupted", 3, "exit code -9 on cad-01")
        with pytest.raises(JobInterrupted, match="exit code -9 on cad-01"):
            handle.result(timeout=1)
        assert [job.id for job in queue.jobs(state="interrupted")] == [handle.id]

    def test_q14_a_stale_report_changes_nothing(self, queue: Queue, worker: FakeWorker) -> None:
        """Q14: neither the next attempt nor the jobs of a report count if its lease is another one's."""
        handle = queue.enqueue("a")
        worker.turn()
        before = handle.record()
        for outcome in ("retry", "succeeded", "skipped", "interrupted"):
            forged = Report(handle.id, "x:1:1", outcome, [*ERROR], b"text", 1000, jobs=[job_words(Job("a"))])
            worker.turn(forged, want=0)
            assert worker.states == ["stale"]
        assert handle.record() == before
        assert handle.attempts() == []
        assert [job.id for job in queue.jobs()] == [handle.id]

    def test_q22_a_resubmitted_job_keeps_its_old_error(self, queue: Queue, worker: FakeWorker) -> None:
        """Q22, C16: attempts are counted anew; the last error, with its traceback, is among the attempts."""
        handle = queue.enqueue("a")
        worker.turn()
        worker.turn(worker.report(handle.id, "failed", *ERROR), want=0)
        handle.resubmit()
        (attempt,) = handle.attempts()
        assert (attempt.attempt, attempt.worker, attempt.error_type, attempt.error, attempt.traceback) == (
            1,
            worker.id,
            *ERROR[1::2],
        )
        assert (handle.record().attempt, handle.record().error) == (0, None)
        worker.turn()
        worker.settle(handle.id)
        handle.resubmit()
        assert len(handle.attempts()) == 1, "a success has no error"

    def test_q22_no_error_is_kept_twice(self, queue: Queue, worker: FakeWorker) -> None:
        """Q22: cancelled while it waited for its next attempt: its error was among the attempts already."""
        handle = queue.enqueue("a")
        worker.turn()
        worker.turn(retry(worker, handle, 60_000), want=0)
        assert handle.cancel() == "cancelled"
        assert handle.record().error == ERROR[3]
        handle.resubmit()
        worker.turn()
        worker.turn(worker.report(handle.id, "failed", *ERROR), want=0)
        handle.resubmit()
        assert [attempt.attempt for attempt in handle.attempts()] == [1, 1]

    def test_what_a_removed_job_leaves(self, queue: Queue, worker: FakeWorker, redis: Redis) -> None:
        """R1: its attempts and its log go with it."""
        handle = queue.enqueue("a")
        worker.turn()
        worker.turn(retry(worker, handle, 60_000), want=0)
        redis.rpush(queue.store.keys(f"job:{handle.id}:log"), "1 line")
        handle.remove()
        left: Any = redis.keys(queue.store.keys(f"job:{handle.id}*"))
        assert not left


class TestTheEvents:
    """The stream `events` tells all of it in the order in which it happened."""

    def test_each_life_can_be_followed(self, queue: Queue, worker: FakeWorker, redis: Redis) -> None:
        """R1: retries, expiry in the very turn that hands back, jobs reserved in the turn that has enqueued them."""
        late, again, good = queue.enqueue("a", expires=0.1), queue.enqueue("a"), queue.enqueue("a")
        worker.turn(want=3)
        until = late.record().expires
        assert until is not None
        wait_until(lambda: dt.datetime.now(dt.UTC) > until + dt.timedelta(milliseconds=10))
        enqueued = [job_words(Job("a", {"n": 1})), job_words(Job("a", delay=60))]
        reports = [
            worker.report(late.id, "returned"),
            retry(worker, again, 0),
            worker.report(good.id, "succeeded", jobs=enqueued),
        ]
        taken = worker.turn(*reports)
        assert worker.states == ["ready", "ready", "succeeded"]
        assert taken[0] == again.id
        assert len(taken) == 2
        worker.turn(retry(worker, again, 60_000), want=0)
        events: Any = redis.xrange(queue.store.keys("events"))
        told = [(entry.decode(), {k.decode(): v.decode() for k, v in fields.items()}) for entry, fields in events]
        account = replay(told)
        assert account.anomalies == []
        assert {account.lives[late.id].state, account.lives[good.id].state} == {"expired", "succeeded"}
        assert account.lives[again.id].state == "waiting"
        assert account.counts["expired"] == 1


class TestTheText:
    """C16: the text of an attempt, for people with redis-cli and for us."""

    @pytest.mark.parametrize(
        "message", ["", "one line", "two\nlines", "an\n\nempty one", "\n", "  blanks  ", "ends\n", "Traceback (most"]
    )
    @pytest.mark.parametrize("traceback", ["", "Traceback:\n\n  File x\nE: two\n", "\n\n"])
    def test_c16_what_is_written_is_read(self, message: str, traceback: str) -> None:
        """C16: every message and traceback comes back as it was."""
        entry = "1785312030000 " + attempt_text(3, "host.1.ab", "pkg.f.<locals>.Sad", message, traceback)
        read = Attempt.read(entry)
        assert read == Attempt(
            dt.datetime.fromtimestamp(1785312030, dt.UTC), 3, "host.1.ab", "pkg.f.<locals>.Sad", message, traceback
        )

    def test_c16_it_is_cut(self) -> None:
        """C16: 2,000 characters of the message, the last 4,000 of the traceback."""
        read = Attempt.read("1 " + attempt_text(1, "w", "E", "m" * 2_001, "a" + "t" * 4_000))
        assert (read.error, read.traceback) == ("m" * 2_000, "t" * 4_000)

    def test_what_is_not_ours_is_said(self) -> None:
        """An entry that something else has written is no attempt."""
        with pytest.raises(PayloadError, match="no entry"):
            Attempt.read("1785312030000 hello")


class TestSkipped:
    """Q21: there was nothing to do."""

    def test_q21_it_is_listed_apart_with_its_reason(self, queue: Queue, worker: FakeWorker, redis: Redis) -> None:
        """Q21: no failure, no further attempt; `result()` raises JobSkipped with the reason."""
        handle = queue.enqueue("a")
        worker.turn()
        worker.turn(worker.report(handle.id, "skipped", "reason", "entity has a newer version"), want=0)
        assert worker.states == ["skipped"]
        with pytest.raises(JobSkipped, match="was skipped: entity has a newer version") as caught:
            handle.result(timeout=1)
        assert caught.value.error == "entity has a newer version"
        assert handle.record().reason == "entity has a newer version"
        assert [job.id for job in queue.jobs(state="skipped")] == [handle.id]
        assert not list(queue.jobs(state="failed"))
        assert redis.zcard(queue.store.keys("finished:skipped")) == 1
        assert worker.turn() == []


class TestEnqueuedWithTheEnd:
    """What a handler enqueues is accepted in the step that settles its job."""

    @pytest.mark.parametrize("outcome", ["succeeded", "skipped"])
    def test_they_come_with_a_good_end(
        self, queue: Queue, worker: FakeWorker, redis: Redis, namespace: str, outcome: str
    ) -> None:
        """In order, with all that a job may have; those of several reports too; an idle worker is rung."""
        first, second = queue.enqueue("a"), queue.enqueue("a")
        worker.turn(want=2)
        wanted = [
            [Job("b", {"n": 1}, 3, {"vault": 2}, tenant="T"), Job("a", {"n": 2}, delay=60, expires=90)],
            [Job("b", {"n": 3}, title="third", expires=60)],
        ]
        reports = [
            worker.report(handle.id, outcome, jobs=[job_words(job) for job in jobs])
            for handle, jobs in zip((first, second), wanted, strict=True)
        ]
        worker.turn(*reports, want=0)
        assert worker.states == [outcome, outcome]
        one, two, three = sorted(queue.jobs(), key=lambda job: job.id)
        assert [job.params["n"] for job in (one, two, three)] == [1, 2, 3]
        assert (one.state, one.priority, one.uses, one.tenant) == ("ready", 3, {"vault": 2}, "T")
        assert two.state == "scheduled"
        assert two.due is not None
        assert two.expires == two.due + dt.timedelta(seconds=30)
        assert three.title == "third"
        expiring: Any = redis.zrange(queue.store.keys("expiring"), 0, -1)
        assert set(expiring) == {two.id.encode(), three.id.encode()}
        assert_one_place(redis, namespace, 5)

    @pytest.mark.parametrize("outcome", ["failed", "cancelled", "retry", "returned", "abandoned", "interrupted"])
    def test_they_do_not_come_with_any_other(self, queue: Queue, worker: FakeWorker, outcome: str) -> None:
        """An attempt that has not done its work has enqueued nothing."""
        handle = queue.enqueue("a")
        worker.turn()
        worker.turn(
            worker.report(handle.id, outcome, result=b"x", result_ms=60_000, jobs=[job_words(Job("b"))]), want=0
        )
        assert "b" not in {job.type for job in queue.jobs()}

    def test_they_can_be_reserved_in_the_same_turn(self, queue: Queue, worker: FakeWorker) -> None:
        """One round trip: the follow-up runs where its forerunner ran."""
        handle = queue.enqueue("a")
        worker.turn(want=1)
        (follower,) = worker.turn(
            worker.report(handle.id, "succeeded", jobs=[job_words(Job("a", {"next": 1}))]), want=1
        )
        assert queue.job(follower).params == {"next": 1}
        assert int(follower) == int(handle.id) + 1

    def test_q19_a_closed_namespace_finishes_what_is_under_way(self, queue: Queue, worker: FakeWorker) -> None:
        """Q19: closed for new jobs, but work that was taken in is done to its end."""
        handle = queue.enqueue("a")
        worker.turn()
        queue.shut()
        worker.turn(worker.report(handle.id, "succeeded", jobs=[job_words(Job("b"))]), want=0)
        assert [job.type for job in queue.jobs()] == ["b"]

    def test_a_token_says_no_to_one_of_them(self, queue: Queue, worker: FakeWorker) -> None:
        """The settle stands, the others come; the history of the settled job says which did not."""
        known = queue.enqueue("b", {"n": 0}, token="mine")
        handle = queue.enqueue("a")
        worker.turn()
        jobs = [
            Job("b", {"n": 0}, token="mine"),  # the same: exactly once
            Job("b", {"n": 1}, token="mine"),
            Job("b", {"n": 2}, token="new"),
            Job("b", {"n": 2}, token="new"),
            Job("b", {"n": 3}, token="new"),
            Job("b", {"n": 4}),
        ]
        worker.turn(worker.report(handle.id, "succeeded", jobs=[job_words(job) for job in jobs]), want=0)
        assert handle.state() == "succeeded"
        assert [job.params["n"] for job in queue.jobs()] == [0, 2, 4]
        assert queue.find("mine").id == known.id  # type: ignore[union-attr]
        told = [line.split(" ", 1)[1] for line in handle.history()]
        assert told == [
            "enqueued no b: token mine stands for another job",
            "enqueued no b: token new stands for another job",
        ]

    def test_r2_a_repeat_enqueues_nothing(self, queue: Queue, worker: FakeWorker) -> None:
        """R2: the same turn under a new number: its report is stale, and its jobs do not count."""
        handle = queue.enqueue("a")
        worker.turn()
        report = worker.report(handle.id, "succeeded", jobs=[job_words(Job("b"))])
        worker.turn(report, want=0)
        worker.turn(report, want=0)
        assert worker.states == ["stale"]
        assert len(list(queue.jobs())) == 1

    def test_they_ring_and_set_the_alarm(
        self, queue: Queue, worker: FakeWorker, server: RealServer, namespace: str, redis: Redis
    ) -> None:
        """DESIGN 5.6: as when a producer enqueues them; and the event is the same."""
        with contextlib.closing(FakeWorker(server.url, namespace, {"b": {}})) as idle:
            handle, other = queue.enqueue("a"), queue.enqueue("a")
            worker.turn(want=2)
            idle.turn()
            worker.turn(worker.report(handle.id, "succeeded", jobs=[job_words(Job("b"))]), want=0)
            assert idle.rung()
            (begun,) = idle.turn()
            idle.turn(begun)
            assert not idle.rung()
            worker.turn(worker.report(other.id, "succeeded", jobs=[job_words(Job("b", delay=30))]), want=0)
            assert idle.rung()
            assert idle.turn() == []
            assert 0 < idle.due <= 30_000
        events: Any = redis.xrange(queue.store.keys("events"))
        submitted = [fields for _, fields in events if b"submitted" in fields]
        assert [fields[b"count"] for fields in submitted] == [b"1"] * 4
