"""Why an order does not go on: W1 for orders, W2, and `why` of the jobs of steps."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.step_worker import StepWorker
from rules.support import Gate, ThreadWorker, Trace

from seatline.producer import Chain, JobHandle, Obstacle, OrderHandle, Queue, Step
from seatline.shared.calls import orders as verbs
from seatline.shared.errors import NoSuchOrder
from seatline.worker import Handlers

StartWorker = Callable[..., ThreadWorker]


@pytest.fixture
def worker(server: RealServer, namespace: str) -> Iterator[StepWorker]:
    """A worker of types t and u that does nothing by itself."""
    with contextlib.closing(StepWorker(server.url, namespace, ["t", "u"])) as one:
        yield one
        one.leave()


def define(queue: Queue, *steps: Step, **options: Any) -> None:
    queue.define(Chain("c", steps or [Step("a", "t"), Step("b", "t")], **options))


def why(order: OrderHandle | JobHandle) -> list[Obstacle]:
    """Return its obstacles but ``behind``: a fake worker is not idle between its looks."""
    return [each for each in order.why() if each.reason != "behind"]


def reasons(order: OrderHandle | JobHandle) -> list[str]:
    return [each.reason for each in why(order)]


def only(order: OrderHandle | JobHandle, reason: str) -> Obstacle:
    """Return the one obstacle of this kind."""
    (found,) = [each for each in order.why() if each.reason == reason]
    return found


def job_of(queue: Queue, order: OrderHandle, step: str = "a") -> JobHandle:
    return queue.handle(order.record().now[step])


class TestWhy:
    """W1: every obstacle of an order, with what to do about it."""

    def test_w1_nothing_keeps_an_order_that_goes_on_or_has_ended(self, queue: Queue, worker: StepWorker) -> None:
        """W1: reserved next, running, succeeded, cancelled: nothing is said. Removed: there is no such order."""
        define(queue)
        order, other = queue.start("c"), queue.start("c")
        assert not why(order)
        worker.take()
        assert not why(order)
        worker.end(order.id, "a")
        worker.take()
        worker.end(order.id, "b")
        assert (order.state(), why(order)) == ("succeeded", [])
        worker.end(other.id, "a")
        other.cancel()
        assert (other.state(), why(other)) == ("cancelled", [])
        other.remove()
        with pytest.raises(NoSuchOrder):
            other.why()

    def test_w1_due(self, queue: Queue) -> None:
        """W1, T1: an order of the future: until when; and, as for a job, what else would keep it."""
        define(queue)
        order = queue.start("c", at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=3))
        assert reasons(order) == ["due", "no-worker"]
        assert "UTC, in 2 h" in only(order, "due").message
        queue.chains.stop("c")
        assert reasons(order) == ["due", "stopped", "no-worker"]
        assert reasons(job_of(queue, order)) == ["stopped", "due", "no-worker"]

    def test_w1_the_chain_is_stopped(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O11: since when, by whom, and how to start it."""
        define(queue)
        queue.chains.stop("c")
        order = queue.start("c")
        (told,) = why(order)
        assert told.reason == "stopped"
        assert f"chain c is stopped (since {dt.datetime.now(dt.UTC):%F}" in told.message
        assert f"by {queue.by}" in told.message
        assert told.action == "seatline chains start c"
        assert worker.take() == []

    def test_w1_the_chain_is_full(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O10: k of k, which orders these are, and how many stand before it."""
        define(queue, max_orders=2)
        first, second = queue.start("c"), queue.start("c", id="mine")
        third, fourth = queue.start("c"), queue.start("c")
        worker.take()
        assert not why(first)
        assert not why(second)
        assert [each.message for each in why(third)] == [
            f"chain c is full: 2 of at most 2 orders are started, {int(first.id)}, mine."
        ]
        assert only(fourth, "full").message.endswith("; 1 stand before it.")
        define(queue, max_orders=1)
        queue.chains.stop("c")
        assert reasons(fourth) == ["stopped", "full"]

    def test_w1_many_started_orders_are_not_all_named(self, queue: Queue) -> None:
        """W1: five of them, and how many more."""
        define(queue, max_orders=7)
        orders = [queue.start("c") for _ in range(8)]
        named = ", ".join(str(int(each.id)) for each in orders[:5])
        assert f"7 of at most 7 orders are started, {named} and 2 more." in only(orders[-1], "full").message

    def test_w1_suspended(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O6: since when, by whom, and which step still runs; then what else would keep it."""
        define(queue)
        order = queue.start("c")
        worker.take()
        order.suspend()
        job = order.record().now["a"]
        (told,) = why(order)
        assert told.reason == "suspended"
        assert f" by {queue.by}. Under way still, to its end: step a (job {int(job)})." in told.message
        assert told.action == f"seatline orders resume {int(order.id)}"
        worker.end(order.id, "a")
        (told,) = why(order)
        assert told.message.endswith(f" by {queue.by}.")
        queue.chains.stop("c", "b")
        assert reasons(order) == ["suspended", "stopped"]

    def test_w1_suspended_by_a_step_that_failed(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O4: the step and its error are named."""
        define(queue, Step("a", "t", on_error="suspend"))
        order = queue.start("c", id="mine")
        worker.take()
        worker.end("mine", "a", outcome="failed")
        (told,) = why(order)
        assert told.message.endswith(" UTC: step a failed: Boom: it broke.")
        assert told.action == "seatline orders resume mine"

    def test_w1_failed(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O4: at which step, with what error, how to go on; the other branch that still runs."""
        define(queue, Step("a", "t"), Step("b", "u"), Step("d", "t", after=["a", "b"]))
        order = queue.start("c")
        worker.take()
        job = order.record().now["b"]
        worker.end(order.id, "a", outcome="failed")
        told = only(order, "failed")
        assert told.message.startswith("it failed: step a: Boom: it broke.")
        assert f"Under way still, to its end: step b (job {int(job)})." in told.message
        assert told.action == f"If that is mended: seatline orders resume {int(order.id)}"
        queue.chains.stop("c")
        assert reasons(order) == ["failed", "stopped"]  # it has left its chain, and would enter it again

    def test_w1_nothing_waits_of_a_failed_order(self, queue: Queue, worker: StepWorker) -> None:
        """W1: that no worker supports the step that failed keeps nothing; the step is no job until it is resumed."""
        define(queue, Step("a", "t"), Step("b", "u"), Step("d", "u", after="b"))
        order = queue.start("c")
        worker.take()
        worker.end(order.id, "a", outcome="failed")
        worker.end(order.id, "b")
        worker.leave()
        assert reasons(order) == ["failed"]
        queue.chains.stop("c", "a")
        assert reasons(order) == ["failed", "stopped"]  # it would stand in front of its step again
        order.resume()
        assert set(reasons(order)) == {"stopped", "no-worker"}

    def test_w1_set_back(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O7: n of m, until when; the step can be tried now."""
        define(queue, Step("a", "t", on_error="setback", setback=[630, 1200], setbacks=5))
        order = queue.start("c", id="mine")
        worker.take()
        worker.end("mine", "a", outcome="failed")
        (told,) = why(order)
        assert told.reason == "setback"
        assert told.message.startswith("step a: it was set back, 1 of 5 times, until 2")
        assert told.message.endswith("UTC, in 10 min.")
        assert told.action == "Wait, or: seatline orders goto mine a"
        order.suspend()
        assert reasons(order) == ["suspended", "setback"]
        order.resume()
        order.go_to("a")
        assert why(order) == []
        assert worker.take() == [("mine", "a")]
        worker.end("mine", "a")

    def test_w1_a_stopped_step(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O11: in front of it; also before its job is collected, and then `jobs why` says it too."""
        define(queue)
        order = queue.start("c", id="mine")
        job = job_of(queue, order)
        assert not why(job)
        queue.chains.stop("c", "a")
        for each in (order, job):  # the job stands ready still: it is collected when a worker comes to it
            (told,) = why(each)
            assert told.reason == "stopped"
            assert told.message.startswith(f"step a of chain c is stopped (since {dt.datetime.now(dt.UTC):%F}")
            assert told.action == "seatline chains start c a"
        assert worker.take() == []
        assert order.record().now == {"a": "held"}
        assert reasons(order) == ["stopped"]
        queue.chains.skip("c", "a")
        assert reasons(order) == []

    def test_w1_no_worker_for_the_type_of_a_step(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O13: nobody alive offers it; said of the step that waits, and not of those to come."""
        define(queue, Step("a", "t"), Step("b", "nobody"))
        order = queue.start("c")
        worker.take()
        assert not why(order)
        worker.end(order.id, "a")
        (told,) = why(order)
        assert told.reason == "no-worker"
        assert told.message.startswith("step b: no live worker supports type nobody; it waits since")
        order.suspend()
        assert reasons(order) == ["suspended", "no-worker"]

    def test_w1_obstacles_of_the_job_of_a_step(self, queue: Queue, worker: StepWorker) -> None:
        """W1: seats, window, pauses of type and namespace, what stands before it: in the job's words, of each branch."""
        queue.pools.set("vault", 1)
        define(queue, Step("a", "t", uses={"vault": 2}), Step("b", "u"), Step("d", "t", after=["a", "b"]))
        order = queue.start("c")
        assert only(order, "seats").message.startswith("step a: pool vault: it needs 2 seats")
        assert reasons(order) == ["seats"]
        queue.pools.set("vault", 2)
        assert not why(order)
        queue.pause("u")
        (told,) = why(order)
        assert (told.reason, told.action) == ("paused", "seatline types resume u")
        assert told.message.startswith("step b: type u is paused")
        now = dt.datetime.now(dt.UTC)
        queue.window("t", f"{now + dt.timedelta(hours=2):%H:%M}-{now + dt.timedelta(hours=3):%H:%M} UTC")
        assert sorted(reasons(order)) == ["paused", "window"]
        queue.pause()
        whole = [each.message for each in why(order) if each.message.startswith("the namespace")]
        assert len(whole) == 1  # it keeps both branches, and is said once
        queue.resume()
        queue.resume("u")
        queue.window("t", None)
        for _ in range(3):
            queue.enqueue("t", priority=1)
        worker.slots = 2
        worker.turn(want=2)
        told = next(each for each in order.why() if each.reason == "behind")
        assert told.message.startswith("step a: 1 job stands before it and every slot")
        assert told.action.endswith(f"seatline jobs move {int(job_of(queue, order).id)} --priority 1")

    def test_w1_of_a_step_that_is_not_a_job_yet(self, queue: Queue) -> None:
        """W1: in front of a stopped step or chain the step's job does not exist; what would keep it is said all the same."""
        define(queue, Step("a", "t", uses={"vault": 1}))
        queue.chains.stop("c")
        order = queue.start("c")
        assert reasons(order) == ["stopped", "no-worker", "no-pool"]
        queue.chains.start("c")
        queue.chains.stop("c", "a")
        assert reasons(order) == ["stopped", "no-worker", "no-pool"]

    def test_w1_elements(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O14: while one runs nothing keeps the step; if none does, what keeps the next one."""
        define(queue, Step("a", "u", each="files"))
        order = queue.start("c", {"files": [1, 2, 3]}, id="mine")
        worker.take()
        worker.expand("mine", "a", [1, 2, 3])
        worker.take(1)
        assert order.record().now == {"a": "each"}
        assert not why(order)
        worker.end("mine", "a", 0, value=1)
        assert not why(order)
        queue.pause("u")
        (told,) = why(order)
        assert told.message.startswith("step a, 1 of 3 elements ended: type u is paused")
        queue.chains.stop("c", "a")  # elements that were begun are ended
        assert reasons(order) == ["paused"]
        queue.resume("u")
        queue.chains.start("c", "a")

    def test_w1_leaving(self, queue: Queue, worker: StepWorker) -> None:
        """W1, O8: it is being removed, or cancelled, once its running step has ended."""
        define(queue)
        for act, word in (("remove", "removed"), ("cancel", "cancelled")):
            order = queue.start("c")
            worker.take()
            job = int(order.record().now["a"])
            assert getattr(order, act)() == "asked"
            (told,) = why(order)
            assert (told.reason, told.message) == ("leaving", f"it is {word} once step a (job {job}) has ended.")
            worker.end(order.id, "a")

    @pytest.mark.damaged
    @pytest.mark.usefixtures("worker")
    def test_w1_orphaned(self, queue: Queue, redis: Redis, namespace: str) -> None:
        """W1, O13: its record, its job or its plan is lost; said with the reason, and no other order minds."""
        define(queue)
        lost, jobless, planless, good = (queue.start("c", id=name) for name in ("lost", "jobless", "planless", "good"))
        key = f"{{{namespace}}}"
        gone = job_of(queue, jobless)
        redis.hset(f"{key}:order:lost", "number", "x")
        redis.zrem(f"{key}:ready:t", gone.id)
        redis.delete(f"{key}:job:{gone.id}")
        redis.hset(f"{key}:order:planless", "version", "77")
        (told,) = why(lost)
        assert told.reason == "orphaned"
        assert told.message.startswith("order lost: its record cannot be read")
        (told,) = why(jobless)
        assert told.message == f"step a: its job {int(gone.id)} does not exist."
        assert told.action == "seatline orders goto jobless a"
        (told,) = why(planless)
        assert "version 77 of chain c: plan: its steps are missing" in told.message
        assert not why(good)
        jobless.go_to("a")
        assert not why(jobless)
        redis.hdel(f"{key}:order:good", "chain")
        (told,) = why(job_of_raw(queue, redis, namespace))
        assert told.reason == "orphaned"


def job_of_raw(queue: Queue, redis: Redis, namespace: str) -> JobHandle:
    """Return the job of the order named good, which cannot be read."""
    raw = redis.hget(f"{{{namespace}}}:order:good", "now")
    assert isinstance(raw, bytes)
    return queue.handle(raw.decode().removeprefix("a="))


class TestStarts:
    """W2: when the last obstacle goes, the step starts; one that can start has none."""

    def test_w2_the_last_obstacle_goes_and_the_step_starts(self, queue: Queue, start_worker: StartWorker) -> None:
        """W2: five obstacles of an order are taken away one by one; it starts when `why` is empty, and not before."""
        trace = Trace("t")
        define(queue, Step("a", "t", uses={"vault": 1}))
        queue.chains.stop("c")
        queue.chains.stop("c", "a")
        queue.pause("t")
        order = queue.start("c")
        order.suspend()
        found = {each.reason: each.action for each in why(order)}
        assert found.keys() == {"suspended", "stopped", "paused", "no-worker", "no-pool"}
        assert reasons(order).count("stopped") == 2

        def add_worker() -> object:
            return start_worker(trace.handlers)

        lifts: list[tuple[str, Callable[[], object]]] = [
            ("suspended", order.resume),
            ("no-pool", lambda: queue.pools.set("vault", 1)),
            ("no-worker", add_worker),
            ("paused", lambda: queue.resume("t")),
            ("stopped", lambda: queue.chains.start("c")),
            ("stopped", lambda: queue.chains.start("c", "a")),
        ]
        for reason, lift in lifts:
            before = reasons(order)
            assert reason in before
            assert not trace.ids
            lift()
            before.remove(reason)
            wait_until(lambda before=before: reasons(order) == before, 5, f"why after {reason}")  # type: ignore[misc]
        assert order.wait(timeout=5).state == "succeeded"
        assert len(trace.ids) == 1
        assert not order.why()

    def test_w2_room_in_a_full_chain(self, queue: Queue, start_worker: StartWorker) -> None:
        """W2, O10: the order before it ends, so it enters and starts."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("t")(gate.run)
        start_worker(handlers)
        define(queue, Step("a", "t"), max_orders=1)
        first, second = queue.start("c"), queue.start("c")
        wait_until(lambda: gate.begun)
        assert reasons(second) == ["full"]
        gate.opened.set()
        assert first.wait(timeout=5).state == second.wait(timeout=5).state == "succeeded"

    def test_w2_every_waiting_order_without_obstacles_is_reserved(self, queue: Queue, worker: StepWorker) -> None:
        """W2: of many orders with different things in front of them, exactly those without an obstacle get a worker."""
        define(queue, Step("a", "t"), Step("b", "u"))
        orders = [queue.start("c", id=f"o{n}") for n in range(12)]
        for n, order in enumerate(orders):
            if n % 3 == 0:
                order.suspend()
            if n % 4 == 0:
                order.skip("a")
        queue.chains.stop("c", "b")
        free = {order.id for order in orders if not why(order)}
        assert {place[0] for place in worker.take()} == free
        assert free == {f"o{n}" for n in range(12) if n % 3 and n % 4}
        for name in sorted(free):
            worker.end(name, "a")
        queue.chains.start("c", "b")
        queue.store.run(verbs.admit("c"))  # as a worker does that is told of it
        free = {order.id for order in orders if not why(order)}
        assert {place[0] for place in worker.take()} == free
        assert free == {f"o{n}" for n in range(12) if n % 3}
        for name in sorted(free):
            worker.end(name, "b")
