"""Orders that are removed or cancelled, at once or once the running step has ended: rule O8, and O10 of what waits behind.

Most drive the scripts by hand, one exchange at a time. After each test orders, chains and jobs must agree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import pytest
from harness.waiting import wait_until
from redis import Redis
from rules.order_hand import ERROR, Hand, at, define, events
from rules.order_look import disagreements
from rules.support import Gate, ThreadWorker

from seatline.producer import Chain, OrderHandle, Queue, Step
from seatline.shared.calls.base import Read
from seatline.shared.errors import JobCancelled, NoSuchOrder, OrderCancelled, OrderLost, SeatlineError
from seatline.worker import Handlers

StartWorker = Callable[..., ThreadWorker]


class TestRemove:
    """O8: remove forgets an order, cancel ends it; a running step ends first."""

    def test_o8_remove_while_a_step_runs(self, queue: Queue, hand: Hand, redis: Redis, namespace: str) -> None:
        """O8: 'asked'; the step ends undisturbed, then nothing is left of the order."""
        define(queue)
        order = queue.start("c", {"n": 1}, id="R-7")
        hand.run(order, "check", value={"a": 1})
        job_id = hand.begin(order, "publish")
        assert order.remove() == "asked"
        record = order.record()
        assert (record.state, record.leaving, at(order)) == ("running", "remove", {"publish": "job"})
        assert events(order)[-1] == f"remove by {queue.by}"
        assert not queue.job(job_id).cancel_asked
        assert order.remove() == "asked"
        hand.succeed(job_id)
        assert_gone(order, redis, namespace)
        assert hand.nothing()

    @pytest.mark.parametrize(
        "where",
        ["waiting", "suspended", "set back", "to be tried again", "failed", "succeeded", "future", "in front"],
    )
    def test_o8_remove_at_once(self, queue: Queue, hand: Hand, redis: Redis, namespace: str, where: str) -> None:
        """O8: nothing of it runs: it is gone, with its waiting job."""
        define(queue, Step("publish", "publish", on_error="setback", setback=[60]), max_orders=2)
        if where == "in front":
            for _ in range(2):
                queue.start("c", priority=1)
        order = queue.start("c", {"n": 1}, id="R-7", delay=60 if where == "future" else None)
        if where in {"waiting", "suspended"}:
            hand.run(order, "check")
        if where == "suspended":
            order.suspend()
        if where == "set back":
            hand.run(order, "check")
            hand.fail(hand.begin(order, "publish"))
        if where == "to be tried again":
            hand.end(hand.begin(order, "check"), "retry", *ERROR, result=b"attempt 1", result_ms=60_000)
        if where == "failed":
            hand.fail(hand.begin(order, "check"))
        if where == "succeeded":
            hand.run(order, "check", "publish", "tidy")
        assert order.remove() == "removed"
        assert_gone(order, redis, namespace)
        assert [job for job in queue.jobs() if job.order == "R-7"] == []

    @pytest.mark.parametrize("end", ["failed", "handed back", "lost", "to be tried again"])
    @pytest.mark.parametrize("act", ["remove", "cancel"])
    def test_o8_the_running_step_does_not_end_well(
        self, queue: Queue, hand: Hand, redis: Redis, namespace: str, act: str, end: str
    ) -> None:
        """O8: whatever its end, it is not run again: the order goes."""
        define(queue, Step("check", "check", on_error="setback", setback=[60]))
        order = queue.start("c", id="R-7")
        job_id = hand.begin(order, "check")
        assert getattr(order, act)() == "asked"
        if end == "lost":
            hand.lose(job_id)
        elif end == "failed":
            hand.fail(job_id)
        elif end == "handed back":
            hand.end(job_id, "abandoned")
        else:
            hand.end(job_id, "retry", *ERROR, result=b"attempt 1", result_ms=60_000)
        assert hand.nothing()
        if act == "remove":
            assert_gone(order, redis, namespace)
        else:
            assert (order.state(), at(order), order.record().leaving) == ("cancelled", {}, None)

    def test_o8_whoever_waits_for_it_is_told(self, queue: Queue, hand: Hand, make_queue: Callable[..., Queue]) -> None:
        """O8: of a removal at once, not when it next looks."""
        define(queue)
        order, told = queue.start("c"), list[BaseException]()

        def wait() -> None:
            try:
                make_queue().order(order.id).result(timeout=30)
            except SeatlineError as error:
                told.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        key = queue.store.keys.order(order.id)
        wait_until(lambda: queue.store.read(Read([("HGET", key, "listeners")], lambda replies: replies[0])))
        order.remove()
        thread.join(5)
        assert [type(error) for error in told] == [OrderLost]
        assert hand.nothing()

    def test_o8_o10_its_place_is_free(self, queue: Queue, hand: Hand) -> None:
        """O8, O10: the next in front of the chain enters in the same step."""
        define(queue, max_orders=1)
        orders = [queue.start("c") for _ in range(4)]
        orders[0].remove()
        assert [order.state() for order in orders[1:]] == ["running", "waiting", "waiting"]
        job_id = hand.begin(orders[1], "check")
        orders[1].remove()
        hand.succeed(job_id)
        assert [order.state() for order in orders[2:]] == ["running", "waiting"]
        orders[2].cancel()
        assert orders[3].state() == "running"

    @pytest.mark.parametrize("act", ["remove", "cancel"])
    def test_o8_o10_in_front_of_the_chain_with_a_branch_under_way(
        self, queue: Queue, hand: Hand, redis: Redis, namespace: str, act: str
    ) -> None:
        """O8, O10: resumed, it waits for its place while a branch of it still runs; asked to go, it keeps that place."""
        define(queue, Step("tidy", "tidy", after=["check", "publish"]), max_orders=1)
        order = queue.start("c", id="R-7")
        check, publish = hand.worker.turn(want=2)
        hand.fail(check)
        other = queue.start("c")
        assert (order.state(), other.state()) == ("failed", "running")
        assert order.resume() == "waiting"
        assert getattr(order, act)() == "asked"
        assert (order.state(), at(order)) == ("waiting", {"check": "held", "publish": "job"})
        assert disagreements(redis, namespace) == []
        hand.succeed(publish)
        if act == "remove":
            assert_gone(order, redis, namespace)
        else:
            assert order.state() == "cancelled"
        assert other.state() == "running"

    def test_o8_cancel_what_waits(self, queue: Queue, hand: Hand) -> None:
        """O8: at once; its outputs are kept."""
        define(queue)
        order = queue.start("c")
        hand.run(order, "check", value=1)
        assert order.cancel() == "cancelled"
        assert (order.state(), at(order), order.outputs()) == ("cancelled", {}, {"check": 1})
        assert hand.nothing()
        with pytest.raises(OrderCancelled, match="was cancelled"):
            order.result(timeout=5)
        assert events(order)[-1] == f"cancel by {queue.by}"

    def test_o8_cancel_what_runs(self, queue: Queue, start_worker: StartWorker) -> None:
        """O8, Q23: its handler is asked to stop."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("check", isolation="thread")(gate.run)
        queue.define(Chain("c", [Step("check", "check"), Step("next", "check")]))
        start_worker(handlers)
        order = queue.start("c")
        wait_until(lambda: gate.begun)
        assert order.cancel() == "asked"
        with pytest.raises(OrderCancelled):
            order.result(timeout=5)
        with pytest.raises(JobCancelled):
            queue.handle(gate.begun[0]).result(timeout=5)
        assert len(gate.begun) == 1

    def test_o8_cancel_when_the_step_ends_well(self, queue: Queue, hand: Hand) -> None:
        """O8, Q23: the success stands, with its output; the order goes no further."""
        define(queue)
        order = queue.start("c")
        job_id = hand.begin(order, "check")
        order.cancel()
        assert queue.job(job_id).cancel_asked
        hand.succeed(job_id, 5)
        assert (order.state(), order.outputs(), at(order)) == ("cancelled", {"check": 5}, {})
        assert hand.nothing()

    def test_o8_cancel_when_the_last_step_ends_well(self, queue: Queue, hand: Hand) -> None:
        """O8, Q23: nothing was left to be cancelled: the order has succeeded."""
        queue.define(Chain("c", [Step("check", "check")]))
        order = queue.start("c")
        job_id = hand.begin(order, "check")
        order.cancel()
        hand.succeed(job_id, 5)
        record = order.record()
        assert (record.state, record.outputs, record.leaving) == ("succeeded", {"check": 5}, None)

    def test_o8_cancel_what_failed(self, queue: Queue, hand: Hand) -> None:
        define(queue)
        order = queue.start("c")
        hand.fail(hand.begin(order, "check"))
        assert order.cancel() == "cancelled"
        assert (order.state(), at(order)) == ("cancelled", {})


def assert_gone(order: OrderHandle, redis: Redis, namespace: str) -> None:
    """Assert that nothing of an order is left."""
    with pytest.raises(NoSuchOrder, match=rf"order {order.id}: no such order"):
        order.record()
    keys = cast("list[bytes]", redis.keys(f"{{{namespace}}}:*"))
    assert [key for key in keys if b":R-7" in key] == []
    for key in keys:
        if redis.type(key) == b"zset":
            assert not [member for member in cast("list[bytes]", redis.zrange(key, 0, -1)) if b"R-7" in member], key
