"""Orders of the future, and schedules of orders: T1, T3, T6 to T8 and T10, and O3 for orders of a schedule."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import ProcessWorker, ThreadWorker, Trace, idle_slots

from seatline.producer import Chain, OrderHandle, OrderRecord, Queue, Step
from seatline.shared.calls import schedules as verbs
from seatline.shared.calls.base import Read
from seatline.shared.calls.schedules import Shot
from seatline.shared.errors import (
    InvalidInput,
    NoSuchChain,
    OrderLost,
    TenantRequired,
    WrongState,
)
from seatline.shared.times import Plan
from seatline.worker import Worker

Burst = Callable[..., Worker]
StartProcess = Callable[..., ProcessWorker]
HOUR = 3_600_000
MINUTE = dt.timedelta(minutes=1)


def now_ms() -> int:
    return int(time.time() * 1000)


def define(queue: Queue, *types: str, name: str = "c", max_orders: int | None = None) -> None:
    """Define a linear chain with a step for each of these types: s1, s2, ..."""
    queue.define(Chain(name, [Step(f"s{n}", type_) for n, type_ in enumerate(types, 1)], max_orders=max_orders))


def shift(queue: Queue, name: str, ms: int) -> int:
    """Let a schedule have been planned for so many ms from now, as if the time between had passed; returns that moment."""
    keys, moment = queue.store.keys, now_ms() + ms
    commands: list[Any] = [
        ("HSET", keys(f"schedule:{name}"), "next", moment, "anchor", moment),
        ("ZADD", keys("schedules"), moment, name),
    ]
    queue.store.read(Read(commands, list))
    return moment


def made(queue: Queue, *states: str) -> list[OrderRecord]:
    """Return the orders of schedules, in the order of their start."""
    found = [each for state in (*states, None) for each in queue.orders(state=state)]
    return sorted({each.number: each for each in found if isinstance(each, OrderRecord) and each.schedule}.values(),
                  key=lambda each: each.number)  # fmt: skip


def planned(records: list[OrderRecord]) -> list[int]:
    return [round(each.planned.timestamp() * 1000) for each in records if each.planned]


def fire(queue: Queue, name: str, worker: str = "w") -> str:
    """Fire a schedule as a worker would; returns the word."""
    record = queue.schedules[name]
    (word,) = queue.store.run(verbs.fire(worker, [Shot(record, record.plan(now_ms()))])).words
    return word


class TestFiring:
    """T6, O3: at its moment a schedule starts its order."""

    def test_t6_a_schedule_starts_orders(self, queue: Queue, start_worker: Callable[..., ThreadWorker]) -> None:
        """T6, O3: every second an order; it knows its schedule and its moment, and what was said of it."""
        define(queue, "a", "b")
        trace = Trace("a", "b")
        start_worker(trace.handlers)
        wait_until(lambda: idle_slots(queue) == 1)
        params = {"n": 1, "text": "x" * 200}
        assert queue.schedules.add("tick", chain="c", params=params, every=1, priority=7, title="Tick")
        wait_until(lambda: len(made(queue, "succeeded")) >= 2, 10)
        record = queue.schedules["tick"]
        queue.schedules.remove("tick")
        assert (record.chain, record.job.params, record.job.priority) == ("c", params, 7)
        first, second = made(queue, "succeeded")[:2]
        assert [round((b - a) / 1000) for a, b in [planned([first, second])]] == [1]
        for each in (first, second):
            order = queue.order(each.id).record()
            assert (order.schedule, order.chain, order.priority, order.title) == ("tick", "c", 7, "Tick")
            assert order.params == params
            assert order.ended == ("s1", "s2")
        assert all(context.job.priority == 7 for context in trace.contexts)

    def test_t6_a_cron_of_orders(self, queue: Queue, burst: Burst) -> None:
        """T6: a cron in a zone; a worker whose types are others starts the order, which waits for one of its own."""
        define(queue, "a")
        queue.schedules.add("nightly", chain="c", cron="30 2 * * *", zone="Europe/Paris", missed="once")
        shift(queue, "nightly", -1000)
        burst(Trace("other").handlers)
        (order,) = made(queue)
        assert (order.state, order.schedule) == ("running", "nightly")
        assert queue.schedules["nightly"].last_job == order.id
        trace = Trace("a")
        burst(trace.handlers)
        assert len(trace.ids) == 1
        assert queue.order(order.id).state() == "succeeded"

    def test_t6_run_now_returns_the_order(self, queue: Queue, burst: Burst) -> None:
        """T6: one order more, at once, also while it is paused; the next moment stays."""
        define(queue, "a")
        queue.schedules.add("s", chain="c", params={"n": 3}, every=3600)
        before = queue.schedules["s"].next
        queue.schedules.pause("s")
        handle = queue.schedules.run("s")
        assert isinstance(handle, OrderHandle)
        assert handle.record().params == {"n": 3}
        burst(Trace("a").handlers)
        assert handle.wait(timeout=5).state == "succeeded"
        queue.schedules.resume("s")
        assert (queue.schedules["s"].next, queue.schedules["s"].last_job) == (before, handle.id)

    def test_o13_each_order_has_the_newest_version_of_then(self, queue: Queue, burst: Burst) -> None:
        """O13: the chain was redefined after the schedule was made: its next order is of the new version."""
        define(queue, "a")
        queue.schedules.add("s", chain="c", every=3600)
        queue.schedules.run("s")
        define(queue, "a", "b")
        queue.schedules.run("s")
        burst(Trace("a", "b").handlers)
        assert [(each.version, each.ended) for each in made(queue, "succeeded")] == [(1, ("s1",)), (2, ("s1", "s2"))]

    def test_o10_orders_of_a_schedule_stand_in_line(self, queue: Queue, burst: Burst) -> None:
        """O10, T7: three moments made up for at once, one order at a time through the chain, in their order."""
        define(queue, "a", max_orders=1)
        queue.schedules.add("s", chain="c", every=3600, missed="all")
        shift(queue, "s", -int(2.5 * HOUR))
        assert fire(queue, "s") == "fired"
        orders = made(queue)
        assert [each.state for each in orders] == ["running", "waiting", "waiting"]
        burst(Trace("a").handlers)
        ended = made(queue, "succeeded")
        assert [each.id for each in ended] == [each.id for each in orders]
        starts = [each.started for each in ended if each.started]
        assert len(starts) == 3
        assert starts == sorted(starts)

    def test_t6_a_chain_that_is_not_there(
        self, queue: Queue, burst: Burst, caplog: pytest.LogCaptureFixture, redis: Redis, namespace: str
    ) -> None:
        """T6: an unknown chain is refused; one that vanished (damage) is told, put off, and keeps no other waiting."""
        with pytest.raises(NoSuchChain, match="chain c: there is no chain"):
            queue.schedules.add("s", chain="c", every=3600)
        assert not queue.schedules.list()
        define(queue, "a")
        queue.schedules.add("s", chain="c", every=3600)
        queue.schedules.add("t", "a", every=3600)
        for name in ("s", "t"):
            shift(queue, name, -10)
        kept = redis.dump(f"{{{namespace}}}:chain:c")
        assert kept is not None
        redis.delete(f"{{{namespace}}}:chain:c")
        trace = Trace("a")
        with caplog.at_level(logging.WARNING, "seatline.worker"):
            burst(trace.handlers)
        assert len(trace.ids) == 1
        assert "schedule s: there is no chain c" in caplog.text
        assert (queue.schedules["s"].state, queue.schedules["s"].error) == ("error", "there is no chain c")
        with pytest.raises(NoSuchChain):
            queue.schedules.run("s")
        redis.restore(f"{{{namespace}}}:chain:c", 0, kept)
        shift(queue, "s", -10)
        redis.zadd(f"{{{namespace}}}:schedules", {"s": now_ms()})
        burst(trace.handlers)
        assert queue.schedules["s"].error is None
        assert len(made(queue, "succeeded")) == 1

    def test_q26_a_tenant_is_required_of_orders(self, queue: Queue, make_queue: Callable[..., Queue]) -> None:
        """Q26: a schedule of orders without a tenant is refused, and one from before starts nothing."""
        define(queue, "a")
        queue.schedules.add("old", chain="c", every=3600)
        queue.require_tenant()
        with pytest.raises(TenantRequired):
            queue.schedules.add("s", chain="c", every=3600)
        with pytest.raises(TenantRequired):
            queue.schedules.run("old")
        shift(queue, "old", -10)
        assert fire(queue, "old") == "tenant"
        with make_queue(tenant="T") as theirs:
            theirs.schedules.add("s", chain="c", every=3600)
            handle = theirs.schedules.run("s")
            assert isinstance(handle, OrderHandle)
            assert handle.record().tenant == "T"


class TestMissed:
    """T7: moments at which nobody was there."""

    @pytest.mark.parametrize(("missed", "told"), [("skip", []), ("once", [-1]), ("all", [-3, -2, -1])])
    def test_t7_after_downtime(self, missed: Any, told: list[int], queue: Queue, burst: Burst) -> None:
        """T7: an hour apart, six of them missed, the last half an hour ago: no order, one, or the last three."""
        define(queue, "a")
        queue.schedules.add("s", chain="c", every=3600, missed=missed, most=3)
        first = shift(queue, "s", -int(5.5 * HOUR))
        burst(Trace("a").handlers)
        latest = first + 5 * HOUR
        assert planned(made(queue, "succeeded")) == [latest + (n + 1) * HOUR for n in told]
        coming = queue.schedules["s"].next
        assert coming is not None
        assert round(coming.timestamp() * 1000) == latest + HOUR

    def test_t7_a_shot_of_old_starts_nothing(self, queue: Queue) -> None:
        """T7: of two that were told the same, one starts the order and the other hears past."""
        define(queue, "a")
        queue.schedules.add("s", chain="c", every=3600)
        moment = shift(queue, "s", -10)
        shot = Shot(queue.schedules["s"], Plan((moment,), moment + HOUR))
        assert queue.store.run(verbs.fire("w1", [shot])).words == ["fired"]
        assert queue.store.run(verbs.fire("w2", [shot])).words == ["past"]
        assert planned(made(queue)) == [moment]

    def test_t7_two_workers_racing_over_schedules_of_orders(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """T7: 200 schedules due at one moment, two worker processes that look: each starts exactly one order."""
        define(queue, "plain", "plain")
        start = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=600)
        for n in range(200):
            queue.schedules.add(f"s{n}", chain="c", params={"folder": str(tmp_path)}, every=86400, start=start)
        moment = now_ms() + 1500
        pipe = redis.pipeline(transaction=False)
        for n in range(200):
            pipe.hset(f"{{{namespace}}}:schedule:s{n}", mapping={"next": moment, "anchor": moment, "start": moment})
            pipe.zadd(f"{{{namespace}}}:schedules", {f"s{n}": moment})
        pipe.execute()
        for _ in range(2):
            start_process("plain", slots=4)
        wait_until(lambda: redis.zcard(f"{{{namespace}}}:orders:succeeded") >= 200, 30, "all fired and run")
        wait_until(lambda: not list(queue.orders(limit=1)), 10)
        orders = made(queue, "succeeded", "failed")
        assert Counter(each.schedule for each in orders) == Counter(f"s{n}" for n in range(200))
        assert set(planned(orders)) == {moment}
        assert {each.ended for each in orders} == {("s1", "s2")}


class TestAfterEnd:
    """T8: the interval counts from the order's end."""

    @pytest.mark.parametrize("how", ["succeeded", "failed", "cancelled", "removed"])
    def test_t8_the_next_comes_an_interval_after_the_end(
        self, how: str, queue: Queue, server: RealServer, namespace: str
    ) -> None:
        """T8: started, it has no next moment; the order's end sets it; however it ends, and not before its last step."""
        define(queue, "a", "a")
        worker = FakeWorker(server.url, namespace, {"a": {}})
        with contextlib.closing(worker):
            queue.schedules.add("s", chain="c", every=10, after_end=True)
            moment = shift(queue, "s", -5)
            assert fire(queue, "s") == "fired"
            record, (order,) = queue.schedules["s"], made(queue)
            assert (record.next, record.state, record.last_job) == (None, "waits", order.id)
            assert planned([order]) == [moment]
            with pytest.raises(WrongState, match=rf"order {int(order.id)}, has not ended.*seatline orders cancel"):
                queue.schedules.run("s")
            (job,) = worker.turn()
            worker.settle(job)
            assert queue.schedules["s"].next is None
            handle = queue.order(order.id)
            if how in {"cancelled", "removed"}:
                getattr(handle, {"cancelled": "cancel", "removed": "remove"}[how])()
            else:
                (job,) = worker.turn()
                worker.settle(job, outcome=how)
            coming = queue.schedules["s"].next
            assert coming is not None
            assert 9 < (coming - dt.datetime.now(dt.UTC)).total_seconds() <= 10
            worker.leave()

    def test_t8_an_order_that_goes_on_again_is_not_overlapped(
        self, queue: Queue, server: RealServer, namespace: str
    ) -> None:
        """T8: the last order failed, and a person resumed it: the next one waits for its end."""
        define(queue, "a")
        worker = FakeWorker(server.url, namespace, {"a": {}})
        with contextlib.closing(worker):
            queue.schedules.add("s", chain="c", every=10, after_end=True)
            handle = queue.schedules.run("s")
            assert isinstance(handle, OrderHandle)
            worker.settle(*worker.turn(), outcome="failed")
            assert queue.schedules["s"].next is not None
            handle.resume()
            shift(queue, "s", -5)
            assert fire(queue, "s") == "busy"
            assert queue.schedules["s"].next is None
            worker.settle(*worker.turn())
            assert handle.state() == "succeeded"
            assert queue.schedules["s"].next is not None
            assert len(made(queue, "succeeded")) == 1
            worker.leave()

    def test_t8_a_suspended_order_is_still_its_run(self, queue: Queue) -> None:
        """T8: suspended, waiting in front of a stopped chain: not ended, so nothing overlaps it."""
        define(queue, "a")
        queue.schedules.add("s", chain="c", every=10, after_end=True)
        queue.chains.stop("c")
        handle = queue.schedules.run("s")
        assert isinstance(handle, OrderHandle)
        for state in ("waiting", "suspended"):
            assert handle.state() == state
            shift(queue, "s", -5)
            assert fire(queue, "s") == "busy"
            if state == "waiting":
                handle.suspend()
        handle.remove()
        with pytest.raises(OrderLost):
            handle.wait(timeout=5)
        assert queue.schedules["s"].next is not None


class TestRestored:
    """T1, T3, O3: workers and server killed."""

    def test_t1_orders_of_the_future_survive_all(
        self, durable_server: RealServer, make_queue: Callable[..., Queue],
        start_process: StartProcess, tmp_path: Path,
    ) -> None:  # fmt: skip
        """T1, T3: killed and started before it, and down while it passes: each order starts once, with its params."""
        owner = make_queue(durable_server.url)
        define(owner, "plain", "plain")
        options = {"url": durable_server.url, "lease": 1, "renew": 0.3}
        worker = start_process("plain", **options)
        params = {"folder": str(tmp_path)}
        begun = dt.datetime.now(dt.UTC)
        before = owner.start("c", params, at=begun + dt.timedelta(seconds=2.5), id="later", title="Later", priority=3)
        during = owner.start("c", params, at=begun + dt.timedelta(seconds=0.8))
        owner.schedules.add("s", chain="c", params=params, every=3600, start=begun + dt.timedelta(seconds=0.9))
        stood = before.record()
        worker.child.signal(signal.SIGKILL)
        durable_server.kill()
        end = time.monotonic() + 1.2
        wait_until(lambda: time.monotonic() > end, 5)
        durable_server.start()
        assert before.record() == stood
        start_process("plain", **options)
        assert during.wait(timeout=10).state == "succeeded"
        record = before.wait(timeout=10)
        assert record.due is not None
        assert record.started is not None
        assert 0 <= (record.started - record.due).total_seconds() < 0.7
        assert (record.title, record.priority, record.params) == ("Later", 3, params)
        wait_until(lambda: len(list(owner.orders(state="succeeded"))) == 3, 10)
        runs = Counter(run.step for order in owner.orders(state="succeeded") if isinstance(order, OrderRecord)
                       for run in owner.order(order.id).history() if run.outcome)  # fmt: skip
        assert runs == {"s1": 3, "s2": 3}

    def test_o3_orders_of_a_schedule_are_restored(
        self, durable_server: RealServer, make_queue: Callable[..., Queue], namespace: str
    ) -> None:
        """O3: an order of a schedule in the middle of its chain, suspended, set back, waiting: all as it was."""
        owner = make_queue(durable_server.url)
        owner.define(Chain("c", [Step("s1", "a"), Step("s2", "b", on_error="setback", setback=[600])]))
        owner.schedules.add(
            "s", chain="c", params={"x": [1, {"y": 2}]}, every=10, after_end=True, title="T", priority=4
        )
        owner.schedules.add("t", chain="c", every=3600)
        worker = FakeWorker(durable_server.url, namespace, {"a": {}, "b": {}})
        with contextlib.closing(worker):
            orders = [owner.schedules.run("s"), owner.schedules.run("t"), owner.schedules.run("t")]
            worker.settle(*worker.turn())
            worker.settle(*worker.turn(), outcome="failed")
            owner.order(orders[2].id).suspend()
            handles = [owner.order(each.id) for each in orders]
            before = [(each.record(), each.history()) for each in handles]
            assert [record.state for record, _ in before] == ["running", "running", "suspended"]
            assert before[0][0].setbacks == {"s2": 1}
            assert before[0][0].now["s2"].isdigit()
            schedules = [each.fields for each in owner.schedules.list()]
            worker.leave()
        durable_server.kill()
        durable_server.start()
        assert [(each.record(), each.history()) for each in handles] == before
        assert [each.fields for each in owner.schedules.list()] == schedules
        assert owner.schedules["s"].state == "waits"
        owner.order(orders[0].id).cancel()
        assert owner.schedules["s"].next is not None


class TestPlanned:
    """T10: what is to start, and when."""

    def test_t10_orders_and_schedules_of_orders(self, queue: Queue) -> None:
        """T10: in one list, with the chain; a future order by its id, a schedule by its name."""
        define(queue, "a", "b")
        start = dt.datetime.now(dt.UTC) + 10 * MINUTE
        queue.schedules.add("hourly", chain="c", every=3600, start=start, title="Hourly")
        queue.schedules.add("jobs", "a", every=3600, start=start + 2 * MINUTE)
        queue.start("c", id="once", at=start + 5 * MINUTE, title="Once")
        queue.enqueue("a", at=start + 6 * MINUTE)
        found = [(each.kind, each.name, each.type, each.chain, each.title) for each in queue.schedules.next(3600)]
        assert found[:3] == [
            ("schedule", "hourly", "", "c", "Hourly"),
            ("schedule", "jobs", "a", "", ""),
            ("order", "once", "a", "c", "Once"),
        ]
        assert found[3][0] == "job"


class TestRefused:
    """T6, R4: what is wrong is refused with its name, and nothing is stored."""

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({}, "type, chain: give one"),
            ({"chain": "c", "type": "a"}, "type, chain: give one"),
            ({"chain": "?"}, "chain: '\\?'"),
            ({"chain": "c", "uses": {}}, "uses: it goes with a type"),
            ({"chain": "c", "tags": ["x"]}, "tags: it goes with a type"),
            ({"chain": "c", "result_ttl": 60}, "result_ttl: it goes with a type"),
            ({"chain": "c", "expires": 60}, "expires: it goes with a type"),
            ({"chain": "c", "priority": 0}, "priority: 0"),
            ({"chain": "c", "params": {"f": object()}}, "params"),
        ],
    )
    def test_t6_bad_arguments(self, options: dict[str, Any], told: str, queue: Queue) -> None:
        """T6, R4: the argument, the limit; nothing is stored."""
        define(queue, "a")
        with pytest.raises(InvalidInput, match=told):
            queue.schedules.add("s", every=5, **options)
        assert not queue.schedules.list()


def test_t7_threads_of_one_worker_fire_once(queue: Queue) -> None:
    """T7: many clients send the same shot at one moment; one of them starts the order."""
    define(queue, "a")
    queue.schedules.add("s", chain="c", every=3600)
    moment = shift(queue, "s", -10)
    shot, words, ready = Shot(queue.schedules["s"], Plan((moment,), moment + HOUR)), list[str](), threading.Barrier(4)

    def send() -> None:
        ready.wait()
        words.extend(queue.store.run(verbs.fire("w", [shot])).words)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert Counter(words) == {"fired": 1, "past": 3}
    assert len(made(queue)) == 1


class TestAtOnce:
    """T8: orders that end in the very call that starts them."""

    def test_t8_an_order_whose_steps_are_all_skipped(self, queue: Queue) -> None:
        """T8, O11: fired or run by hand, it has ended before anybody could wait for it; its schedule goes on."""
        define(queue, "a")
        queue.chains.skip("c", "s1")
        queue.schedules.add("s", chain="c", every=10, after_end=True)
        shift(queue, "s", -5)
        assert fire(queue, "s") == "fired"
        assert queue.schedules["s"].next is not None
        handle = queue.schedules.run("s")
        assert queue.order(handle.id).state() == "succeeded"
        coming = queue.schedules["s"].next
        assert coming is not None
        assert 9 < (coming - dt.datetime.now(dt.UTC)).total_seconds() <= 10

    def test_t8_the_last_order_ends_in_the_call_that_finds_it_alive(self, queue: Queue) -> None:
        """T8, O10: another schedule of the call lets it enter its chain, and through; so it has ended after all."""
        define(queue, "a")
        queue.chains.skip("c", "s1")
        queue.chains.stop("c")
        queue.schedules.add("s", chain="c", every=10, after_end=True)
        queue.schedules.add("other", chain="c", every=3600)
        handle = queue.schedules.run("s")
        queue.define(Chain("c", [Step("s1", "a")], max_orders=1))
        queue.chains.start("c")
        assert queue.order(handle.id).state() == "waiting"
        for name in ("s", "other"):
            shift(queue, name, -5)
        shots = [Shot(record, record.plan(now_ms())) for record in (queue.schedules["other"], queue.schedules["s"])]
        assert queue.store.run(verbs.fire("w", shots)).words == ["fired", "busy"]
        assert queue.order(handle.id).state() == "succeeded"
        assert len(made(queue, "succeeded")) == 2
        coming = queue.schedules["s"].next
        assert coming is not None
        assert 9 < (coming - dt.datetime.now(dt.UTC)).total_seconds() <= 10
