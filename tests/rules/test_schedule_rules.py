"""Schedules: rules T6 to T8 and T10, and what is planned while nobody is there (T1, T3)."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import Gate, ProcessWorker, ThreadWorker, Trace, idle_slots, run_counts

from seatline.producer import JobRecord, Queue
from seatline.shared.calls import jobs
from seatline.shared.calls import schedules as verbs
from seatline.shared.calls.base import Read
from seatline.shared.calls.schedules import Shot
from seatline.shared.errors import (
    Closed,
    InvalidInput,
    NoSuchSchedule,
    ScheduleExists,
    TenantRequired,
    WrongState,
)
from seatline.shared.times import NEVER, Plan
from seatline.worker import Handlers, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]
HOUR = 3_600_000


def now_ms() -> int:
    return int(time.time() * 1000)


def shift(queue: Queue, name: str, ms: int) -> int:
    """Let a schedule have been planned for so many ms from now, as if the time between had passed; returns that moment."""
    keys, moment = queue.store.keys, now_ms() + ms
    commands: list[Any] = [
        ("HSET", keys(f"schedule:{name}"), "next", moment, "anchor", moment),
        ("ZADD", keys("schedules"), moment, name),
    ]
    queue.store.read(Read(commands, list))
    return moment


def made(queue: Queue, name: str | None = None) -> list[JobRecord]:
    """Return the jobs of a schedule, or of all, that have succeeded or wait, oldest first."""
    states = ("ready", "running", "succeeded")
    # One that moves on meanwhile is met in two states, and is one job.
    found = {record.id: record for state in states for record in queue.jobs(state=state) if record.schedule}
    return sorted((r for r in found.values() if name in {None, r.schedule}), key=lambda record: record.id)


def planned(records: list[JobRecord]) -> list[int]:
    return [round(record.planned.timestamp() * 1000) for record in records if record.planned]


class TestFiring:
    """T6: at its moment a schedule makes its job, by whichever worker there is."""

    def test_t6_an_interval_runs_at_each_moment_of_its_grid(self, queue: Queue, start_worker: StartWorker) -> None:
        """T6, T8: every second, each moment once, a whole number of intervals apart; its job is as it was told."""
        trace = Trace("a")
        start_worker(trace.handlers, lease=60, renew=20)
        wait_until(lambda: idle_slots(queue) == 1)
        queue.schedules.add("tick", "a", {"n": 1}, every=1, priority=7, title="Tick", tags=["x"], expires=30)
        wait_until(lambda: len(trace.ids) >= 3, 10)
        queue.schedules.remove("tick")
        records = [context.job for context in trace.contexts][:3]
        moments = planned(records)
        assert [later - sooner for sooner, later in itertools.pairwise(moments)] == [1000, 1000]
        for record, moment in zip(records, moments, strict=True):
            assert (record.schedule, record.priority, record.title, record.tags) == ("tick", 7, "Tick", ("x",))
            assert record.params == {"n": 1}
            assert record.created_ms - moment < 500
            assert record.expires == (record.created or dt.datetime.now(dt.UTC)) + dt.timedelta(seconds=30)

    def test_t6_a_cron_in_a_zone_is_stored_with_its_moment(self, queue: Queue) -> None:
        """T6: what is stored is what was said, and the next moment by the zone's clock."""
        assert queue.schedules.add("nightly", "report", {"x": 1}, cron="30 2 * * *", zone="Europe/Paris")
        record = queue.schedules["nightly"]
        assert (record.cron, record.zone, record.every, record.missed, record.state) == (
            "30 2 * * *",
            "Europe/Paris",
            None,
            "once",
            "active",
        )
        assert record.next is not None
        assert record.job.params == {"x": 1}
        assert f"{record.next.astimezone(ZoneInfo('Europe/Paris')):%H:%M}" in {"02:30", "03:00"}
        assert [each.name for each in queue.schedules.list()] == ["nightly"]

    def test_t6_any_worker_fires_whatever_its_types(self, queue: Queue, start_worker: StartWorker) -> None:
        """T6: a worker of another type fires; the job waits for one of its own."""
        start_worker(Trace("other").handlers)
        queue.schedules.add("tick", "a", every=1)
        wait_until(lambda: made(queue), 5)
        queue.schedules.remove("tick")

    def test_t6_a_burst_and_a_classic_worker_fire_what_is_due(self, queue: Queue, burst: Burst) -> None:
        """T6: what is due belongs to what they look for: fired and run within the same look."""
        for options in ({}, {"classic": True}):
            queue.schedules.add("due", "a", every=3600, replace=True)
            shift(queue, "due", -10)
            trace = Trace("a")
            burst(trace.handlers, **options)
            assert len(trace.ids) == 1
        queue.schedules.remove("due")

    def test_t6_a_busy_fleet_fires_too(self, queue: Queue, start_worker: StartWorker) -> None:
        """T6: each slot is taken for long; the renewing thread is told what is due."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("gate")(gate.run)
        start_worker(handlers)
        queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        queue.schedules.add("tick", "a", every=1)
        wait_until(lambda: made(queue, "tick"), 5)
        queue.schedules.remove("tick")
        gate.opened.set()

    def test_t6_start_end_and_pause(self, queue: Queue, burst: Burst) -> None:
        """T6: nothing before start, nothing after end, nothing while paused; resumed, it goes on from now."""
        now = dt.datetime.now(dt.UTC)
        queue.schedules.add("s", "a", every=1, start=now + dt.timedelta(hours=1), end=now + dt.timedelta(hours=2))
        assert queue.schedules["s"].next == (now + dt.timedelta(hours=1)).replace(
            microsecond=(now.microsecond // 1000) * 1000
        )
        assert queue.schedules.pause("s")
        assert not queue.schedules.pause("s")
        paused = queue.schedules["s"]
        assert paused.next is None
        assert paused.state == "paused"
        shift(queue, "s", -5000)
        queue.store.read(Read([("ZADD", queue.store.keys("schedules"), NEVER, "s")], list))
        burst(Trace("a").handlers)
        assert not made(queue)
        assert queue.schedules.resume("s")
        assert not queue.schedules.resume("s")
        coming = queue.schedules["s"].next
        assert coming is not None
        assert coming > now
        queue.schedules.add("e", "b", every=1, end=now + dt.timedelta(seconds=3))
        queue.store.read(
            Read([("HSET", queue.store.keys("schedule:e"), "end", now_ms() - 2500)], list)  # as if that had passed
        )
        shift(queue, "e", -3000)
        burst(Trace("a").handlers)
        assert len(made(queue, "e")) == 1
        ended = queue.schedules["e"]
        assert ended.next is None
        assert ended.state == "ended"

    def test_t6_run_now_is_beside_the_plan(self, queue: Queue, burst: Burst) -> None:
        """T6: one job more, at once, also while it is paused; the next moment stays."""
        queue.schedules.add("s", "a", {"n": 3}, every=3600)
        before = queue.schedules["s"].next
        queue.schedules.run("s")
        queue.schedules.pause("s")
        handle = queue.schedules.run("s")
        trace = Trace("a")
        burst(trace.handlers)
        assert len(trace.ids) == 2
        assert handle.record().params == {"n": 3}
        queue.schedules.resume("s")
        after = queue.schedules["s"]
        assert (after.next, after.last_job) == (before, handle.id)

    def test_t6_an_idle_worker_wakes_at_the_moment(self, queue: Queue, start_worker: StartWorker) -> None:
        """T6, DESIGN 5.6: with the usual lease nobody looks for seconds; the alarm covers schedules too."""
        trace = Trace("a")
        start_worker(trace.handlers, lease=60, renew=20)
        wait_until(lambda: idle_slots(queue) == 1)
        for n in range(3):
            queue.schedules.add(f"s{n}", "a", every=3600)
            moment = shift(queue, f"s{n}", 700)
            queue.enqueue("a").wait(timeout=5)  # rests anew, and so hears of the moment
            wait_until(lambda n=n: made(queue, f"s{n}"), 5)  # type: ignore[misc]
            (record,) = made(queue, f"s{n}")
            assert 0 <= record.created_ms - moment < 300

    def test_t6_what_cannot_be_computed_is_put_off_and_told(self, queue: Queue, burst: Burst) -> None:
        """T6: a zone that this machine does not know: told in the list, tried again later, no other waits for it."""
        for name in ("bad", "good"):
            queue.schedules.add(name, "a", cron="* * * * *")
            shift(queue, name, -1000)
        queue.store.read(Read([("HSET", queue.store.keys("schedule:bad"), "zone", "Mars/Base")], list))
        burst(Trace("a").handlers)
        assert [record.schedule for record in made(queue)] == ["good"]
        bad = queue.schedules["bad"]
        assert bad.state == "error"
        assert "Mars/Base" in (bad.error or "")


class TestMissed:
    """T7: moments at which nobody was there."""

    @pytest.mark.parametrize(("missed", "told"), [("skip", []), ("once", [-1]), ("all", [-3, -2, -1])])
    def test_t7_after_downtime(self, missed: Any, told: list[int], queue: Queue, burst: Burst) -> None:
        """T7: an hour apart, six of them missed, the last half an hour ago: none, one, or the last three."""
        queue.schedules.add("s", "a", every=3600, missed=missed, most=3)
        first = shift(queue, "s", -int(5.5 * HOUR))
        trace = Trace("a")
        burst(trace.handlers)
        latest = first + 5 * HOUR
        assert planned(made(queue)) == [latest + (n + 1) * HOUR for n in told]
        coming = queue.schedules["s"].next
        assert coming is not None
        assert round(coming.timestamp() * 1000) == latest + HOUR
        burst(trace.handlers)
        assert len(trace.ids) == len(told)

    def test_t7_a_shot_of_old_changes_nothing(self, queue: Queue) -> None:
        """T7: compare and set: fired by another, replaced, removed, paused or resumed meanwhile, it is past."""
        queue.schedules.add("s", "a", every=3600)
        moment = shift(queue, "s", -10)
        shot = Shot(queue.schedules["s"], Plan((moment,), moment + HOUR))
        store = queue.store
        assert store.run(verbs.fire("w1", [shot])).words == ["fired"]
        assert store.run(verbs.fire("w2", [shot])).words == ["past"]
        for change in ("replace", "pause", "remove"):
            shift(queue, "s", -10)
            record = queue.schedules["s"]
            shot = Shot(record, Plan((now_ms(),), now_ms() + HOUR))
            if change == "replace":
                queue.schedules.add("s", "a", every=3600, replace=True)
                queue.store.read(
                    Read([("HSET", store.keys("schedule:s"), "next", record.fields["next"])], list)
                )  # even with the same moment
            elif change == "pause":
                queue.schedules.pause("s")
            else:
                queue.schedules.remove("s")
            assert store.run(verbs.fire("w2", [shot])).words == ["past"]
            if change == "pause":
                queue.schedules.resume("s")
        assert len(made(queue)) == 1

    def test_t7_a_closed_namespace_keeps_its_moments(self, queue: Queue, burst: Burst) -> None:
        """T7, Q19: while no jobs are taken nothing is fired; reopened, the missed policy says what follows."""
        queue.schedules.add("s", "a", every=3600)
        shift(queue, "s", -int(2.5 * HOUR))
        queue.shut()
        trace = Trace("a")
        burst(trace.handlers)
        with pytest.raises(Closed):
            queue.schedules.run("s")
        assert not made(queue)
        queue.reopen()
        burst(trace.handlers)
        assert len(trace.ids) == 1

    def test_t7_two_workers_racing_on_a_thousand_fire_each_once(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """T7: 1,000 schedules due at one moment, two worker processes that look: each is fired exactly once."""
        start = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=600)
        for n in range(1000):
            queue.schedules.add(f"s{n}", "plain", {"folder": str(tmp_path)}, every=86400, start=start)
        moment = now_ms() + 1500
        pipe = redis.pipeline(transaction=False)
        for n in range(1000):
            pipe.hset(f"{{{namespace}}}:schedule:s{n}", mapping={"next": moment, "anchor": moment, "start": moment})
            pipe.zadd(f"{{{namespace}}}:schedules", {f"s{n}": moment})
        pipe.execute()
        workers = [start_process("plain", slots=4) for _ in range(2)]
        wait_until(lambda: redis.zcard(f"{{{namespace}}}:finished:succeeded") >= 1000, 30, "all fired and run")
        wait_until(lambda: not list(queue.jobs(limit=1)), 10)
        records = list(queue.jobs(state="succeeded"))
        assert Counter(record.schedule for record in records) == Counter(f"s{n}" for n in range(1000))
        assert set(planned(records)) == {moment}
        assert sum(run_counts(tmp_path).values()) == 1000
        assert {each.next for each in queue.schedules.list()} == {
            dt.datetime.fromtimestamp(moment / 1000, dt.UTC) + dt.timedelta(days=1)
        }
        events: Any = redis.xrange(f"{{{namespace}}}:events")
        by = Counter(fields[b"by"].decode() for _, fields in events if b"fired" in fields)
        print(f"fired by {by}")  # noqa: T201 - shown when it fails
        assert set(by) <= {worker.id for worker in workers}


class TestKills:
    """T1, T5, T7: SIGKILL of workers and of the server around firing."""

    def test_t7_no_kill_loses_or_doubles_a_moment(
        self, durable_server: RealServer, make_queue: Callable[..., Queue],
        start_process: StartProcess, tmp_path: Path,
    ) -> None:  # fmt: skip
        """T7, T5: 40 schedules of a second, all made up for; workers and server are killed again and again meanwhile."""
        seed = random.randrange(10**6)
        print(f"seed {seed}")  # noqa: T201 - shown when it fails
        rng = random.Random(seed)
        owner = make_queue(durable_server.url)
        options = {"url": durable_server.url, "slots": 2, "lease": 1.5, "renew": 0.3}
        workers = [start_process("plain", **options) for _ in range(2)]
        for n in range(40):
            owner.schedules.add(f"s{n}", "plain", {"folder": str(tmp_path)}, every=1, missed="all", most=1000)
        began = {
            each.name: round((each.next or dt.datetime.now(dt.UTC)).timestamp() * 1000)
            for each in owner.schedules.list()
        }
        for round_ in range(4):
            pause = time.monotonic() + 0.5 + rng.random()
            wait_until(lambda pause=pause: time.monotonic() > pause, 5)  # type: ignore[misc]
            victim = workers.pop(0)
            victim.child.signal(signal.SIGKILL)
            if round_ % 2:
                durable_server.kill()
                durable_server.start()
            workers.append(start_process("plain", **options))
        for name in began:
            owner.schedules.pause(name)
        wait_until(lambda: not list(owner.jobs(limit=1)), 40, "the end of all jobs")
        found: dict[str, list[int]] = {}
        for record in owner.jobs(state="succeeded"):
            assert record.planned is not None
            found.setdefault(record.schedule or "", []).append(round(record.planned.timestamp() * 1000))
        assert found.keys() == began.keys()
        for each in owner.schedules.list():
            moments, coming = sorted(found[each.name]), int(each.fields["next"])
            assert moments == list(range(began[each.name], coming, 1000)), each.name
        assert sum(map(len, found.values())) > 100

    def test_t1_a_job_and_a_schedule_of_the_future_survive_all(
        self, durable_server: RealServer, make_queue: Callable[..., Queue],
        start_process: StartProcess, tmp_path: Path,
    ) -> None:  # fmt: skip
        """T1, T3: worker and server killed and started before it, and down while it passes: each runs once, with params."""
        owner = make_queue(durable_server.url)
        options = {"url": durable_server.url, "lease": 1, "renew": 0.3}
        worker = start_process("plain", **options)
        params = {"folder": str(tmp_path)}
        before = owner.enqueue("plain", params, delay=2.5)
        during = owner.enqueue("plain", params, delay=0.8)
        owner.schedules.add("s", "plain", params, every=3600, start=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.9))
        worker.child.signal(signal.SIGKILL)
        durable_server.kill()
        end = time.monotonic() + 1.2
        wait_until(lambda: time.monotonic() > end, 5)
        durable_server.start()
        start_process("plain", **options)
        assert during.wait(timeout=10).state == "succeeded"
        record = before.wait(timeout=10)
        assert record.due is not None
        assert record.started is not None
        assert 0 <= (record.started - record.due).total_seconds() < 0.7
        wait_until(lambda: len(list(owner.jobs(state="succeeded"))) == 3, 10)
        assert set(run_counts(tmp_path).values()) == {1}


class TestAfterEnd:
    """T8: the interval counts from the end of the last run, and runs never overlap."""

    def test_t8_the_next_comes_an_interval_after_the_end(
        self, queue: Queue, server: RealServer, namespace: str
    ) -> None:
        """T8: fired, it has no next moment; its run's end sets it; however the run ends."""
        worker = FakeWorker(server.url, namespace, {"a": {}})
        with contextlib.closing(worker):
            queue.schedules.add("s", "a", every=10, after_end=True)
            for outcome in ("succeeded", "failed", "skipped", "interrupted", "cancelled"):
                moment = shift(queue, "s", -5)
                shot = Shot(queue.schedules["s"], queue.schedules["s"].plan(now_ms()))
                assert shot.plan == Plan((moment,), None)
                queue.store.run(verbs.fire(worker.id, [shot]))
                record = queue.schedules["s"]
                assert (record.next, record.state) == (None, "waits")
                with pytest.raises(WrongState, match="never overlap"):
                    queue.schedules.run("s")
                (job_id,) = worker.turn()
                assert queue.schedules["s"].next is None
                worker.settle(job_id, outcome=outcome)
                ended = queue.job(job_id).finished
                assert ended is not None
                assert queue.schedules["s"].next == ended + dt.timedelta(seconds=10)
            worker.leave()

    def test_t8_a_run_that_is_cancelled_removed_or_expires(self, queue: Queue, burst: Burst) -> None:
        """T8: a run that never began is over too, and the schedule goes on."""
        queue.schedules.add("s", "a", every=10, after_end=True)
        for how in ("cancel", "remove"):
            handle = queue.schedules.run("s")
            assert queue.schedules["s"].next is None
            getattr(handle, how)()
            coming = queue.schedules["s"].next
            assert coming is not None
            assert 9 < (coming - dt.datetime.now(dt.UTC)).total_seconds() <= 10
        queue.schedules.add("s", "a", every=10, after_end=True, expires=0.05, replace=True)
        queue.schedules.run("s")
        end = time.monotonic() + 0.1
        wait_until(lambda: time.monotonic() > end)
        trace = Trace("a")
        burst(trace.handlers)
        assert not trace.ids
        assert queue.schedules["s"].next is not None

    def test_t8_a_run_that_was_resubmitted_is_not_overlapped(self, queue: Queue, burst: Burst) -> None:
        """T8: the last run was made ready again by a person; the next one waits for its end."""
        queue.schedules.add("s", "a", every=10, after_end=True)
        handle = queue.schedules.run("s")
        handle.cancel()
        queue.handle(handle.id).resubmit()
        shift(queue, "s", -5)
        shot = Shot(queue.schedules["s"], queue.schedules["s"].plan(now_ms()))
        assert queue.store.run(verbs.fire("w", [shot])).words == ["busy"]
        assert queue.schedules["s"].next is None
        burst(Trace("a").handlers)
        assert queue.schedules["s"].next is not None
        assert len(made(queue)) == 1

    def test_t8_pause_and_replace_while_it_runs(self, queue: Queue) -> None:
        """T8: the end of a run sets no moment of a schedule that is paused, nor of one that counts otherwise now."""
        queue.schedules.add("s", "a", every=10, after_end=True)
        handle = queue.schedules.run("s")
        queue.schedules.pause("s")
        handle.cancel()
        assert queue.schedules["s"].next is None
        queue.schedules.resume("s")
        assert queue.schedules["s"].next is not None
        handle = queue.schedules.run("s")
        queue.schedules.add("s", "a", every=3600, replace=True)
        coming = queue.schedules["s"].next
        handle.cancel()
        assert queue.schedules["s"].next == coming

    def test_t8_waiters_do_not_push_it_out(self, queue: Queue) -> None:
        """T8: however many wait for the run's end, the schedule hears of it."""
        queue.schedules.add("s", "a", every=10, after_end=True)
        handle = queue.schedules.run("s")
        for n in range(300):
            queue.store.run(jobs.wait(handle.id, None, f"waiter{n:06}"))
        handle.cancel()
        assert queue.schedules["s"].next is not None

    def test_t8_alive_from_end_to_start(self, queue: Queue, start_worker: StartWorker) -> None:
        """T8: a real worker: runs of 0.3 s, an interval of 1 s after each end, never two at once."""
        alive, most, ends, starts = [0], [0], list[float](), list[float]()
        lock = threading.Lock()
        handlers = Handlers()

        @handlers.handler("slow")
        def slow(ctx: Any) -> None:
            with lock:
                alive[0] += 1
                most[0] = max(most[0], alive[0])
            starts.append(time.time())
            ctx.sleep(0.3)
            ends.append(time.time())
            with lock:
                alive[0] -= 1

        start_worker(handlers, slots=3)
        queue.schedules.add("s", "slow", every=1, after_end=True)
        wait_until(lambda: len(ends) >= 3, 15)
        queue.schedules.remove("s")
        assert most == [1]
        for ended, begun in zip(ends, starts[1:], strict=False):
            assert 0.95 < begun - ended < 1.6


class TestPlanned:
    """T10: what is to start, and when."""

    def test_t10_everything_sorted_by_time(self, queue: Queue) -> None:
        """T10: schedules and future jobs in one list; a paused one has none, one that waits for its end only one."""
        start = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)
        queue.schedules.add("half", "a", every=1800, start=start, title="Half")
        queue.schedules.add("chain", "b", every=60, start=start + dt.timedelta(minutes=1), after_end=True)
        queue.schedules.add("still", "c", every=60)
        queue.schedules.pause("still")
        job = queue.enqueue("d", at=start + dt.timedelta(minutes=5), title="Once")
        queue.enqueue("d", at=start + dt.timedelta(hours=5))
        found = list(queue.schedules.next(3600 * 2))
        minutes = [(round((each.moment - start).total_seconds() / 60), each.kind, each.name) for each in found]
        assert minutes == [
            (0, "schedule", "half"),
            (1, "schedule", "chain"),
            (5, "job", job.id),
            (30, "schedule", "half"),
            (60, "schedule", "half"),
            (90, "schedule", "half"),
        ]
        assert found[0].title == "Half"
        assert [each.name for each in queue.schedules.next(start, limit=5)] == ["half"]
        assert len(list(queue.schedules.next(dt.timedelta(hours=100), limit=4))) == 4

    def test_t10_a_shut_window_is_told(self, queue: Queue) -> None:
        """T10, T9: a start outside its type's window says when that opens."""
        queue.schedules.add("noon", "a", cron="0 12 * * *")
        queue.window("a", "20:00-05:00 UTC")
        (first, *_) = queue.schedules.next(3 * 86400)
        assert first.opens == first.moment.replace(hour=20)

    def test_t1_nobody_to_see_to_it_is_said(self, queue: Queue, start_worker: StartWorker) -> None:
        """T1, T6: work of the future and no live worker: said; nothing planned, or somebody there: nothing said."""
        assert queue.schedules.unattended() is None
        queue.schedules.add("s", "a", every=3600)
        queue.enqueue("a", delay=3600)
        said = queue.schedules.unattended()
        assert said is not None
        assert "1 schedules and windows and 1 jobs" in said
        worker = start_worker(Trace("a").handlers)
        wait_until(lambda: queue.schedules.unattended() is None)
        worker.stop()
        assert queue.schedules.unattended() is not None


class TestRefused:
    """T6, T8, R4: what is wrong is refused with its name, and nothing is stored."""

    MOMENT = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"cron": "61 * * * *"}, "cron: .*minute '61'"),
            ({"cron": "0 0 * * *", "zone": "Europe/Atlantis"}, "zone: 'Europe/Atlantis' is no IANA"),
            ({"every": 0.5}, "every: 0.5 is not a number of seconds from 1"),
            ({"every": True}, "every: True"),
            ({"every": "5m"}, "every: '5m'"),
            ({}, "cron, every: give one"),
            ({"cron": "* * * * *", "every": 5}, "cron, every: give one"),
            ({"every": 5, "zone": "Europe/Paris"}, "zone: it goes with cron"),
            ({"cron": "* * * * *", "after_end": True}, "after_end: it goes with every"),
            ({"every": 5, "start": MOMENT, "end": MOMENT}, "start: .* is not before end"),
            ({"every": 5, "start": MOMENT.replace(tzinfo=None)}, "start: .* time zone"),
            ({"every": 5, "end": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}, "every, end: no moment"),
            ({"cron": "0 0 1 1 *", "end": dt.datetime.now(dt.UTC)}, "cron, end: no moment"),
            ({"every": 5, "missed": "some"}, "missed: 'some' is none of skip, once, all"),
            ({"every": 5, "most": 0}, "most: 0"),
            ({"every": 5, "priority": 0}, "priority: 0"),
            ({"every": 5, "expires": MOMENT}, "expires: .*seconds from each"),
            ({"every": 5, "expires": -1}, "expires: -1"),
            ({"every": 5, "name": "a b"}, "schedule: 'a b' is not a name"),
            ({"every": 5, "type": "?"}, "type: '\\?'"),
        ],
    )
    def test_t6_bad_arguments(self, options: dict[str, Any], told: str, queue: Queue) -> None:
        """T6, R4: the argument, the limit; nothing is stored."""
        words = {"name": "s", "type": "a", **options}
        with pytest.raises(InvalidInput, match=told):
            queue.schedules.add(**words)
        assert not queue.schedules.list()

    def test_t6_names(self, queue: Queue) -> None:
        """T6: one that exists is refused or replaced, one that does not is told."""
        assert queue.schedules.add("s", "a", every=5)
        with pytest.raises(ScheduleExists, match=r"schedule s: .*replace"):
            queue.schedules.add("s", "b", every=5)
        assert not queue.schedules.add("s", "b", every=50, replace=True)
        assert queue.schedules["s"].job.type == "b"
        queue.schedules.remove("s")
        for act in (queue.schedules.pause, queue.schedules.resume, queue.schedules.run, queue.schedules.remove):
            with pytest.raises(NoSuchSchedule, match="schedule s: no such schedule"):
                act("s")

    def test_q26_a_namespace_that_requires_a_tenant(
        self, queue: Queue, make_queue: Callable[..., Queue], burst: Burst
    ) -> None:
        """Q26, T6: a schedule of jobs without a tenant is refused; one from before fires nothing until that is lifted."""
        queue.schedules.add("old", "a", every=3600)
        shift(queue, "old", -10)
        queue.require_tenant()
        with pytest.raises(TenantRequired):
            queue.schedules.add("s", "a", every=5)
        assert make_queue(tenant="T").schedules.add("s", "a", every=3600)
        assert queue.schedules["s"].job.tenant == "T"
        with pytest.raises(TenantRequired):
            queue.schedules.run("old")
        burst(Trace("a").handlers)
        assert not made(queue)
        queue.require_tenant(False)
        burst(Trace("a").handlers)
        assert len(made(queue)) == 1
