"""Windows of types: rule T9, and what T4 says of a rerun outside of one."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from rules.fake_worker import FakeWorker
from rules.support import ThreadWorker, Trace, idle_slots

from seatline.producer import Job, Queue
from seatline.producer.why import Reasons, Scene
from seatline.shared.calls import schedules as verbs
from seatline.shared.calls.base import Read
from seatline.shared.errors import InvalidInput
from seatline.shared.times import NEVER, Window
from seatline.worker import Handlers, Retry, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
DAY = 86_400_000


def now_ms() -> int:
    return int(time.time() * 1000)


def around(hours_from: int, hours_to: int) -> str:
    """Return a window that opens and closes so many whole hours from now, every day."""
    now = dt.datetime.now(dt.UTC)
    opens, closes = (now + dt.timedelta(hours=hours) for hours in (hours_from, hours_to))
    return f"{opens:%H}:00-{closes:%H}:00 UTC"


SHUT, OPEN = around(2, 4), around(-2, 3)  # said once: an hour may end during a test


def opens_in(queue: Queue, type_: str, opens: int, closes: int) -> int:
    """Let a type's window open and close so many ms from now, as if that were what its text says; returns when it opens."""
    moment = now_ms() + opens
    queue.store.run(verbs.set_window(type_, SHUT, (moment, now_ms() + closes), "me"))
    return moment


def planned(queue: Queue) -> dict[str, int]:
    look = Read(
        [("ZRANGE", queue.store.keys("schedules"), 0, -1, "WITHSCORES")],
        lambda r: {m.decode(): int(float(s)) for m, s in zip(r[0][::2], r[0][1::2], strict=True)},
    )
    return queue.store.read(look)


@pytest.fixture
def worker(server: RealServer, namespace: str) -> Iterator[FakeWorker]:
    """A worker of types a and b, and s, which uses a seat."""
    with contextlib.closing(
        FakeWorker(server.url, namespace, {"a": {}, "b": {}, "s": {"vault": 1}}, slots=2)
    ) as worker:
        yield worker
        worker.leave()


class TestShut:
    """T9: outside its window a type's jobs wait."""

    def test_t9_only_its_own_jobs_wait_and_why_says_until_when(self, queue: Queue, worker: FakeWorker) -> None:
        """T9: passed over like a paused type; the obstacle names the window and the moment; others run."""
        assert queue.window("a", SHUT) is None
        mine, other = queue.enqueue("a", priority=1), queue.enqueue("b", priority=9)
        assert worker.turn() == [other.id]
        (told,) = mine.why()
        assert told.reason == "window"
        opens = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
        assert f"{opens:%H}:00 UTC" in told.message
        assert "seatline types window a none" in told.action
        assert Reasons(Scene.of(queue.store)).of(mine.record()) == "window"
        assert other.why() == []

    def test_t9_open_it_is_as_if_there_were_none(self, queue: Queue, worker: FakeWorker) -> None:
        """T9, W2: within its window a job starts and has no obstacle."""
        queue.window("a", OPEN)
        worker.turn()
        assert not queue.enqueue("a").why()
        assert len(worker.turn()) == 1
        assert planned(queue)["window:a"] == Window(OPEN).open_until(now_ms())

    def test_t9_what_runs_goes_on_and_what_comes_rings_nobody(self, queue: Queue, worker: FakeWorker) -> None:
        """T9: a window that shuts interrupts nothing; a job for a shut type wakes no worker."""
        handle = queue.enqueue("a")
        worker.turn()
        queue.window("a", SHUT)
        worker.turn()
        queue.enqueue("a")
        assert not worker.rung()
        worker.settle(handle.id)
        assert handle.state() == "succeeded"

    def test_t9_lifted_or_widened_it_starts_at_once(self, queue: Queue, worker: FakeWorker) -> None:
        """T9, W2: whoever is idle is rung when the window goes, or when another one is open."""
        for window in (None, OPEN):
            queue.window("a", SHUT)
            queue.enqueue("a")
            assert worker.turn() == []
            assert queue.window("a", window) == SHUT
            assert worker.rung()
            (job_id,) = worker.turn()
            worker.settle(job_id)
        assert queue.window("a", None) == OPEN
        assert planned(queue) == {}

    def test_t9_what_it_holds_back_claims_no_seats(self, queue: Queue, worker: FakeWorker) -> None:
        """T9, S6: an urgent job of a shut type does not keep the seat from a less urgent one."""
        queue.pools.set("vault", 1)
        running = queue.enqueue("s")
        assert worker.turn() == [running.id]
        urgent, other = queue.enqueue("s", priority=1), queue.enqueue("b", priority=50, uses={"vault": 1})
        worker.turn()
        queue.window("s", SHUT)
        worker.settle(running.id)
        assert worker.turn() == [other.id]
        worker.settle(other.id)
        assert urgent.state() == "ready"

    def test_t4_a_rerun_waits_for_its_window(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """T4, T9: lost with rerun outside its type's window: ready again, at its place, and not started before."""
        with contextlib.closing(FakeWorker(server.url, namespace, {"r": {}}, lease=0.3, if_lost="rerun")) as worker:
            handle = queue.enqueue("r")
            assert worker.turn() == [handle.id]
            queue.window("r", SHUT)
            worker.held.clear()
            suspects = wait_until(lambda: list(worker.renew().suspects), 5)
            assert worker.reap(*suspects) == ["ready"]
            assert worker.turn() == []
            assert [each.reason for each in handle.why()] == ["window"]
            queue.window("r", None)
            assert worker.turn() == [handle.id]
            worker.settle(handle.id)
            worker.leave()

    def test_t9_many_types_and_their_index(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """T9: a worker of many types, which reads an index of heads, passes over a shut one and finds it again."""
        types: dict[str, dict[str, int]] = {f"t{n}": {} for n in range(40)}
        with contextlib.closing(FakeWorker(server.url, namespace, types, slots=3)) as worker:
            queue.window("t1", SHUT)
            one, two = queue.enqueue("t1", priority=1), queue.enqueue("t2")
            assert worker.turn() == [two.id]
            assert worker.turn(two.id) == []
            opens_in(queue, "t1", 30, 60_000)
            wait_until(lambda: now_ms() > planned(queue)["window:t1"] + 2)
            assert worker.turn() == [one.id]
            worker.settle(one.id)
            worker.leave()

    def test_t9_a_bad_window_is_refused(self, queue: Queue) -> None:
        """T9, R4: nothing is stored."""
        for bad in ("always", "Mon 20:00-05:00", "Mon 20:00-05:00 Mars/Base", ""):
            with pytest.raises(InvalidInput, match=r"^window: "):
                queue.window("a", bad)
        with pytest.raises(InvalidInput, match=r"^type: "):
            queue.window("a b", None)
        assert planned(queue) == {}


class TestOpening:
    """T9: the moment at which a window opens or closes."""

    def test_t9_an_idle_worker_wakes_when_it_opens(self, queue: Queue, start_worker: StartWorker) -> None:
        """T9, DESIGN 5.6: the alarm covers openings: with the usual lease nobody would look for seconds."""
        trace, other = Trace("a"), Trace("b")
        start_worker(other.handlers, lease=60, renew=20)  # it may hold the alarm; the job is not of its type
        wait_until(lambda: idle_slots(queue) == 1)
        start_worker(trace.handlers, lease=60, renew=20, slots=3)
        wait_until(lambda: idle_slots(queue) == 4)
        moment = opens_in(queue, "a", 600, 60_000)
        ids = queue.enqueue_many([Job("a"), Job("a")])
        wait_until(lambda: len(trace.ids) == 2, 5)
        for job_id in ids:
            record = queue.handle(job_id).wait(timeout=5)
            assert record.started is not None
            assert 0 <= record.started.timestamp() * 1000 - moment < 400

    def test_t9_after_closing_a_worker_sets_the_next_times(self, queue: Queue, start_worker: StartWorker) -> None:
        """T9: closed, it is shut at once, and somebody computes when it opens next, by its text."""
        trace = Trace("a")
        start_worker(trace.handlers)
        opens_in(queue, "a", -1000, 300)
        queue.enqueue("a").result(timeout=5)
        wait_until(lambda: planned(queue)["window:a"] > now_ms() + 600_000, 8)
        assert planned(queue)["window:a"] == Window(SHUT).opens_at(now_ms())
        queue.enqueue("a")
        assert len(trace.ids) == 1

    def test_t9_nobody_looked_for_long_and_it_is_still_shut(self, queue: Queue, burst: Burst) -> None:
        """T9: times that have passed let nothing start, not even in the first look after a long night."""
        opens_in(queue, "a", -2 * DAY, -DAY)
        queue.enqueue("a")
        trace = Trace("a")
        burst(trace.handlers)
        assert not trace.ids
        assert planned(queue)["window:a"] > now_ms()

    def test_t9_a_worker_of_old_changes_no_newer_window(self, queue: Queue) -> None:
        """T9: the next times are set only if the window is still the one they were computed for."""
        queue.window("a", SHUT)
        assert queue.store.run(verbs.set_window("a", OPEN, (1, NEVER), "")) is None
        queue.window("a", None)
        assert queue.store.run(verbs.set_window("a", SHUT, (1, NEVER), "")) is None
        assert planned(queue) == {}

    def test_t9_a_retry_waits_for_its_window_too(self, queue: Queue, burst: Burst) -> None:
        """T9: a failed attempt that is to run again does so within the window."""
        handlers, runs = Handlers(), list[Any]()

        @handlers.handler("a", retry=Retry(attempts=3, first=0.0, jitter=0.0))
        def fails_once(ctx: Any) -> None:
            runs.append(ctx.attempt)
            if len(runs) == 1:
                queue.window("a", SHUT)
                raise ValueError

        handle = queue.enqueue("a")
        burst(handlers)
        assert (runs, handle.state()) == ([1], "ready")
        queue.window("a", None)
        burst(handlers)
        assert (runs, handle.state()) == ([1, 2], "succeeded")
