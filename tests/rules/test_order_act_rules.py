"""What people do to orders, each in one atomic step: rules O6, O8 and O9, and their races with what workers do.

How an order is removed or cancelled: test_order_removal_rules.

Most drive the scripts by hand, one exchange at a time. After each test orders, chains and jobs must agree.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.order_hand import ERROR, TYPES, Hand, admit, at, define, due_in, events, let_pass
from rules.order_look import disagreements
from rules.support import ThreadWorker

from seatline.producer import OrderHandle, OrderRecord, Queue, Step
from seatline.shared.calls import orders as verbs
from seatline.shared.codec import pack_value
from seatline.shared.errors import (
    InvalidInput,
    NoSuchChain,
    NoSuchOrder,
    NoSuchStep,
    OrderExists,
    OrderLost,
    WrongState,
)
from seatline.shared.job import JobRecord

StartWorker = Callable[..., ThreadWorker]


class TestSuspend:
    """O6: suspended, a step finishes, the order moves on, then waits. Resume goes on there."""

    def test_o6_while_a_step_runs(self, queue: Queue, hand: Hand) -> None:
        define(queue)
        order = queue.start("c")
        job_id = hand.begin(order, "check")
        assert order.suspend() == "suspended"
        assert (at(order), queue.job(job_id).state) == ({"check": "job"}, "running")
        hand.succeed(job_id, {"n": 1})
        record = order.record()
        assert (record.state, dict(record.now), record.outputs) == (
            "suspended",
            {"publish": "held"},
            {"check": {"n": 1}},
        )
        assert record.suspended is not None
        assert record.suspended.partition(" ")[2] == queue.by
        assert hand.nothing()
        assert order.resume() == "running"
        assert order.record().suspended is None
        hand.run(order, "publish", "tidy")
        assert order.state() == "succeeded"
        assert [line for line in events(order) if "by" in line] == [f"suspend by {queue.by}", f"resume by {queue.by}"]

    def test_o6_while_a_step_waits(self, queue: Queue, hand: Hand) -> None:
        """O6: its job is taken back, and made anew."""
        define(queue)
        order = queue.start("c", priority=3)
        hand.run(order, "check")
        before = order.record().now["publish"]
        order.suspend()
        assert at(order) == {"publish": "held"}
        assert hand.nothing()
        assert list(queue.jobs()) == []
        order.resume()
        assert order.record().now["publish"] > before
        hand.run(order, "publish", "tidy")

    def test_o6_before_the_first_step(self, queue: Queue, hand: Hand) -> None:
        define(queue)
        order = queue.start("c")
        order.suspend()
        assert (at(order), hand.nothing()) == ({"check": "held"}, True)
        order.resume()
        hand.run(order, "check", "publish", "tidy")

    def test_o6_during_the_last_step(self, queue: Queue, hand: Hand) -> None:
        """O6: nothing is left to wait for: it ends."""
        define(queue)
        order = queue.start("c")
        hand.run(order, "check", "publish")
        job_id = hand.begin(order, "tidy")
        order.suspend()
        hand.succeed(job_id)
        record = order.record()
        assert (record.state, record.suspended) == ("succeeded", None)

    def test_o6_o7_while_it_is_set_back(self, queue: Queue, hand: Hand) -> None:
        """O6, O7: its moment is kept; resumed sooner it waits for the rest, later it goes on at once."""
        define(queue, Step("check", "check", on_error="setback", setback=[60, 0.2]))
        order = queue.start("c")
        hand.fail(hand.begin(order, "check"))
        due = queue.job(order.record().now["check"]).due
        order.suspend()
        assert at(order)["check"].startswith("held@")
        order.resume()
        assert queue.job(order.record().now["check"]).due == due
        let_pass(queue, order, "check")
        hand.fail(hand.begin(order, "check"))
        order.suspend()
        _, _, moment = order.record().now["check"].partition("@")
        wait_until(lambda: time.time() * 1000 > int(moment) + 5, message="its moment")
        assert hand.nothing()
        order.resume()
        hand.run(order, "check", "publish", "tidy")

    @pytest.mark.parametrize(
        ("on_error", "state", "now"),
        [
            ("fail", "failed", {"check": "failed"}),
            ("suspend", "suspended", {"check": "held"}),
            ("repair", "suspended", {"repair": "held"}),
            ("setback", "suspended", {"check": "held@"}),
        ],
    )
    def test_o6_the_running_step_fails(
        self, queue: Queue, hand: Hand, on_error: str, state: str, now: dict[str, str]
    ) -> None:
        """O6, O4: the order moves on by on_error, and waits there."""
        setback = [60] if on_error == "setback" else []
        define(
            queue,
            Step("check", "check", on_error=on_error, setback=setback),
            Step("repair", "repair", aside=True, then="check"),
        )
        order = queue.start("c")
        job_id = hand.begin(order, "check")
        order.suspend()
        hand.fail(job_id)
        assert (order.state(), {step: word[:5] for step, word in at(order).items()}) == (
            state,
            {step: word[:5] for step, word in now.items()},
        )
        assert hand.nothing()
        order.resume()
        assert (order.state(), set(order.record().now)) == ("running", set(now))
        if on_error == "setback":
            assert 50 < due_in(queue, order, "check") <= 60
        else:
            hand.run(order, *now)

    @pytest.mark.parametrize("way", ["handed back", "not begun", "lost", "to be tried again"])
    def test_o6_the_running_step_is_to_run_again(self, queue: Queue, hand: Hand, way: str) -> None:
        """O6: what would begin again waits too, until its moment if it has one."""
        define(queue)
        order = queue.start("c")
        job_id = hand.begin(order, "check")
        order.suspend()
        if way == "lost":
            hand.lose(job_id)
        elif way == "to be tried again":
            hand.end(job_id, "retry", *ERROR, result=b"attempt 1", result_ms=60_000)
        else:
            hand.end(job_id, "abandoned" if way == "handed back" else "returned")
        assert order.state() == "suspended"
        assert order.record().now["check"][:5] == ("held@" if way == "to be tried again" else "held")
        assert hand.nothing()
        order.resume()
        if way == "to be tried again":
            assert 50 < due_in(queue, order, "check") <= 60
            let_pass(queue, order, "check")
        hand.run(order, "check", "publish", "tidy")

    def test_o6_o10_in_front_of_its_chain(self, queue: Queue, hand: Hand) -> None:
        """O6, O10: resumed, it is at its old place in the line, not behind those that came later."""
        define(queue, max_orders=1)
        first, second, third = (queue.start("c") for _ in range(3))
        assert [order.state() for order in (first, second, third)] == ["running", "waiting", "waiting"]
        second.suspend()
        second.resume()
        assert second.state() == "waiting"
        second.suspend()
        hand.run(first, "check", "publish", "tidy")
        assert [order.state() for order in (second, third)] == ["suspended", "running"]
        fourth = queue.start("c")
        second.resume()
        hand.run(third, "check", "publish", "tidy")
        assert [order.state() for order in (second, fourth)] == ["running", "waiting"]

    def test_o6_t1_before_its_moment(self, queue: Queue, hand: Hand) -> None:
        """O6, T1: an order of the future keeps its moment, and has not started."""
        define(queue, max_orders=1)
        order = queue.start("c", delay=600)
        due = order.record().due
        order.suspend()
        assert (order.state(), hand.nothing()) == ("suspended", True)
        order.resume()
        record = order.record()
        assert (record.state, record.started, record.due) == ("scheduled", None, due)
        assert 590 < due_in(queue, order, "check") <= 600
        other = queue.start("c")
        assert other.state() == "running", "what has not started takes no place"
        other.cancel()
        let_pass(queue, order, "check")
        hand.run(order, "check", "publish", "tidy")


class TestResume:
    """O8: resume, also from another step; skip; go_to."""

    def test_o8_from_a_step_before(self, queue: Queue, hand: Hand) -> None:
        """O8: that step and its followers run again, with the outputs from before it."""
        define(queue)
        order = queue.start("c")
        hand.run(order, "check", value={"a": 1})
        hand.run(order, "publish", value={"b": 1})
        hand.fail(hand.begin(order, "tidy"))
        assert order.resume(from_step="publish") == "running"
        record = order.record()
        assert (record.ended, record.outputs, record.error) == (("check",), {"check": {"a": 1}}, None)
        job_id = hand.begin(order, "publish")
        assert hand.params(job_id) == {"a": 1}
        hand.succeed(job_id)
        hand.run(order, "tidy")
        assert order.record().ended == ("check", "publish", "tidy")
        assert f"resume publish by {queue.by}" in events(order)

    def test_o8_from_a_step_when_suspended(self, queue: Queue, hand: Hand) -> None:
        """O8: it goes on at once, forward as well."""
        define(queue)
        order = queue.start("c")
        order.suspend()
        assert order.resume(from_step="tidy") == "running"
        hand.run(order, "tidy")
        assert (order.state(), order.record().ended) == ("succeeded", ("tidy",))

    def test_o8_go_forward_and_back(self, queue: Queue, hand: Hand) -> None:
        """O8: what lies behind the step is to come again, its outputs are gone; what was passed over stays out."""
        define(queue)
        order = queue.start("c")
        assert order.go_to("publish") == "running"
        job_id = hand.begin(order, "publish")
        hand.succeed(job_id, {"b": 1})
        assert (order.record().ended, at(order)) == (("publish",), {"tidy": "job"})
        order.go_to("check")
        assert (order.record().ended, order.outputs(), at(order)) == ((), {}, {"check": "job"})
        hand.run(order, "check", "publish", "tidy")
        assert order.state() == "succeeded"
        assert order.go_to("tidy") == "running", "also when it has ended"
        assert (order.record().finished, order.record().ended) == (None, ("check", "publish"))
        hand.run(order, "tidy")
        assert [line for line in events(order) if "goto" in line] == [
            f"goto {step} by {queue.by}" for step in ("publish", "check", "tidy")
        ]

    def test_o8_t1_o10_one_that_has_not_entered(self, queue: Queue, hand: Hand) -> None:
        """O8, T1, O10: it waits for its moment, or its place, and then begins there."""
        define(queue, max_orders=1)
        future = queue.start("c", delay=600)
        assert future.go_to("publish") == "scheduled"
        assert 590 < due_in(queue, future, "publish") <= 600
        first, second = queue.start("c"), queue.start("c")
        assert second.go_to("tidy") == "waiting"
        assert second.resume(from_step="publish") == "waiting"
        hand.run(first, "check", "publish", "tidy")
        hand.run(second, "publish", "tidy")
        let_pass(queue, future, "publish")
        hand.run(future, "publish", "tidy")
        assert [order.state() for order in (future, second)] == ["succeeded"] * 2

    def test_o8_one_that_is_suspended_waits_there(self, queue: Queue, hand: Hand) -> None:
        define(queue)
        order = queue.start("c")
        order.suspend()
        assert order.go_to("tidy") == "suspended"
        assert (at(order), hand.nothing()) == ({"tidy": "held"}, True)
        assert order.go_to("publish") == "suspended"
        assert at(order) == {"publish": "held"}
        order.resume()
        hand.run(order, "publish", "tidy")

    def test_o8_one_that_has_failed_or_was_cancelled_goes_on(self, queue: Queue, hand: Hand) -> None:
        define(queue)
        order = queue.start("c")
        hand.fail(hand.begin(order, "check"))
        assert order.go_to("publish") == "running"
        assert order.record().error is None
        hand.run(order, "publish")
        order.cancel()
        assert (order.state(), at(order)) == ("cancelled", {})
        assert order.go_to("check") == "running"
        hand.run(order, "check", "publish", "tidy")

    def test_o8_skip_what_is_not_reached(self, queue: Queue, hand: Hand) -> None:
        define(queue)
        order = queue.start("c")
        assert order.skip("publish") == "running"
        assert order.skip("publish") == "running"
        assert (order.record().skips, at(order)) == (("publish",), {"check": "job"})
        hand.run(order, "check", "tidy")
        record = order.record()
        assert (record.state, record.skips, record.ended) == ("succeeded", (), ("check", "publish", "tidy"))
        assert events(order) == [
            f"skip publish by {queue.by}",
            f"skip publish by {queue.by}",
            "check succeeded",
            "step publish passed without running",
            "tidy succeeded",
        ]

    def test_o8_skip_what_waits(self, queue: Queue, hand: Hand) -> None:
        """O8: its job is taken back."""
        define(queue)
        order = queue.start("c")
        order.skip("check")
        assert (at(order), order.record().skips) == ({"publish": "job"}, ())
        hand.run(order, "publish")
        order.skip("tidy")
        assert (order.state(), hand.nothing()) == ("succeeded", True)

    def test_o8_skip_what_is_held(self, queue: Queue, hand: Hand) -> None:
        """O8: one that is suspended passes it, and waits in front of the next."""
        define(queue)
        order = queue.start("c")
        order.suspend()
        assert order.skip("check") == "suspended"
        assert at(order) == {"publish": "held"}
        assert order.skip("tidy") == "suspended"
        order.resume()
        hand.run(order, "publish")
        assert order.state() == "succeeded"

    def test_o8_skip_what_is_set_back(self, queue: Queue, hand: Hand) -> None:
        define(queue, Step("check", "check", on_error="setback", setback=[60]))
        order = queue.start("c")
        hand.fail(hand.begin(order, "check"))
        order.skip("check")
        hand.run(order, "publish", "tidy")

    def test_o8_o11_skip_what_is_stopped(self, queue: Queue, redis: Redis, namespace: str) -> None:
        """O8, O11: it no longer stands in front of the stopped step; likewise when it goes elsewhere."""
        define(queue)
        queue.chains.stop("c", "check")
        orders = [queue.start("c") for _ in range(5)]
        line = f"{{{namespace}}}:chain:c:held:check"
        assert redis.zcard(line) == 5
        orders[0].skip("check")
        orders[1].go_to("publish")
        orders[2].cancel()
        orders[3].remove()
        assert redis.zrange(line, 0, -1) == [f"{orders[4].record().number:016} {orders[4].id}".encode()]
        assert [at(order) for order in orders[:2]] == [{"publish": "job"}] * 2
        orders[4].reset()
        assert redis.zcard(line) == 1
        queue.chains.start("c", "check")
        admit(queue)
        assert at(orders[4]) == {"check": "job"}

    def test_o8_o10_skip_in_front_of_the_chain(self, queue: Queue, redis: Redis, hand: Hand, namespace: str) -> None:
        """O8, O10: what waits in front of its chain passes its first step when it enters; past its last, it has ended."""
        define(queue, max_orders=1)
        first, order, last = (queue.start("c") for _ in range(3))
        order.skip("check")
        for step in ("check", "publish", "tidy"):
            last.skip(step)
        assert [each.state() for each in (order, last)] == ["waiting", "succeeded"]
        assert redis.zcard(f"{{{namespace}}}:chain:c:waiting") == 1
        hand.run(first, "check", "publish", "tidy")
        hand.run(order, "publish", "tidy")
        assert order.state() == "succeeded"

    def test_o8_skip_where_it_failed(self, queue: Queue, hand: Hand) -> None:
        """O8: it goes on behind that step."""
        define(queue)
        order = queue.start("c")
        hand.fail(hand.begin(order, "check"))
        assert order.skip("tidy") == "failed", "another step: it stays failed, for now"
        assert order.skip("check") == "running"
        assert (at(order), order.record().error) == ({"publish": "job"}, None)
        hand.run(order, "publish")
        assert (order.state(), order.record().ended) == ("succeeded", ("check", "publish", "tidy"))


class TestReset:
    """O8: reset begins again, as if it had just been started."""

    def test_o8_reset(self, queue: Queue, hand: Hand) -> None:
        """O8: outputs, setbacks and skips are gone; id, params and history stay."""
        define(queue, Step("publish", "publish", on_error="setback", setback=[60]))
        order = queue.start("c", {"n": 1}, id="R-7", priority=4)
        hand.run(order, "check", value={"n": 2})
        order.skip("tidy")
        hand.fail(hand.begin(order, "publish"))
        number = order.record().number
        assert order.reset() == "running"
        record = order.record()
        assert (record.number, record.priority, record.params) == (number, 4, {"n": 1})
        assert (record.ended, record.outputs, record.setbacks, record.skips) == ((), {}, {}, ())
        assert at(order) == {"check": "job"}
        job_id = hand.begin(order, "check")
        assert hand.params(job_id) == {"n": 1}
        hand.succeed(job_id)
        hand.run(order, "publish", "tidy")
        assert f"reset by {queue.by}" in events(order)
        assert events(order)[0] == "check succeeded"

    @pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
    def test_o8_reset_of_one_that_has_ended(self, queue: Queue, hand: Hand, end: str) -> None:
        define(queue)
        order = queue.start("c")
        if end == "succeeded":
            hand.run(order, "check", "publish", "tidy")
        elif end == "failed":
            hand.fail(hand.begin(order, "check"))
        else:
            order.cancel()
        assert order.state() == end
        assert order.reset() == "running"
        record = order.record()
        assert (record.finished, record.error, record.error_step, record.ended) == (None, None, None, ())
        hand.run(order, "check", "publish", "tidy")
        assert order.state() == "succeeded"

    def test_o8_reset_of_one_that_is_suspended(self, queue: Queue, hand: Hand) -> None:
        """O8: it stays suspended, in front of its first step."""
        define(queue)
        order = queue.start("c")
        hand.run(order, "check")
        order.suspend()
        assert order.reset() == "suspended"
        assert (at(order), order.outputs(), hand.nothing()) == ({"check": "held"}, {}, True)
        order.resume()
        hand.run(order, "check", "publish", "tidy")


class TestExisting:
    """O9: start with an id that exists."""

    def test_o9_it_is_refused(self, queue: Queue, hand: Hand) -> None:
        """O9: whatever its state; the answer names the ways out."""
        define(queue)
        order = queue.start("c", {"n": 1}, id="R-7")
        with pytest.raises(OrderExists, match=r"order R-7: .* is running\. .*leave it out, or replace .*replace=True"):
            queue.start("c", {"n": 2}, id="R-7")
        hand.run(order, "check", "publish", "tidy")
        with pytest.raises(OrderExists, match="succeeded"):
            queue.start("c", {"n": 2}, id="R-7")
        assert order.record().params == {"n": 1}
        assert len(list(queue.orders(state="succeeded"))) == 1

    def test_o9_it_is_replaced(self, queue: Queue, hand: Hand, redis: Redis, namespace: str) -> None:
        """O9: nothing of the old one is left; its handle says so."""
        define(queue)
        old = queue.start("c", {"n": 1}, id="R-7", title="Old")
        hand.run(old, "check", value=1)
        new = queue.start("c", {"n": 2}, id="R-7", replace=True)
        record = new.record()
        assert (record.params, record.title, record.outputs, record.ended) == ({"n": 2}, None, {}, ())
        assert events(new) == []
        with pytest.raises(OrderLost, match="another order has this id now"):
            old.record()
        with pytest.raises(OrderLost):
            old.result(timeout=5)
        assert redis.zcard(f"{{{namespace}}}:orders:running") == 1
        hand.run(new, "check", "publish", "tidy")
        queue.start("c", id="R-7", replace=True)
        assert redis.zcard(f"{{{namespace}}}:orders:succeeded") == 0

    def test_o9_an_old_handle_does_nothing_to_the_new_one(self, queue: Queue, hand: Hand) -> None:
        """O9: nor does one whose order was lost by the server, and its id given again."""
        define(queue)
        old = queue.start("c", id="R-7")
        new = queue.start("c", id="R-7", replace=True)
        before = new.record()
        for act in (*ACTS.values(), OrderHandle.remove):
            with pytest.raises(NoSuchOrder, match=r"order R-7: no such order.*replaced"):
                act(old)
        assert (new.record(), new.history()) == (before, [])
        assert queue.order("R-7").cancel() == "cancelled"
        assert hand.nothing()

    def test_o9_not_while_a_step_runs(self, queue: Queue, hand: Hand) -> None:
        """O9: only after it has ended."""
        define(queue)
        old = queue.start("c", {"n": 1}, id="R-7")
        job_id = hand.begin(old, "check")
        with pytest.raises(
            WrongState,
            match=r"order R-7: its step check is under way, .* Wait for the step, or cancel .*orders cancel R-7",
        ):
            queue.start("c", id="R-7", replace=True)
        hand.succeed(job_id)
        assert queue.start("c", {"n": 2}, id="R-7", replace=True).record().params == {"n": 2}

    def test_o9_one_of_a_name_that_is_free(self, queue: Queue, hand: Hand) -> None:
        define(queue)
        order = queue.start("c", id="R-7", replace=True)
        order.remove()
        assert queue.start("c", id="R-7").state() == "running"
        assert hand.worker.turn() != []
        hand.worker.settle()

    def test_o9_ids(self, queue: Queue, hand: Hand) -> None:
        """O9: numbers are the server's; people may type 42."""
        define(queue)
        order = queue.start("c")
        assert order.id == f"{int(order.id):016}"
        assert queue.order(int(order.id)).record().id == order.id
        assert queue.order(str(int(order.id))).state() == "running"
        with pytest.raises(InvalidInput, match="'42' is a number, and numbers are given by the server"):
            queue.start("c", id="42")
        with pytest.raises(InvalidInput, match="replace: it goes with id"):
            queue.start("c", replace=True)
        with pytest.raises(NoSuchChain, match="chain d: there is no chain of that name"):
            queue.start("d")
        with pytest.raises(NoSuchOrder):
            queue.order("R-8").suspend()
        assert not hand.nothing()
        hand.worker.settle()


ACTS: Final[dict[str, Callable[[OrderHandle], str]]] = {
    "suspend": OrderHandle.suspend,
    "resume": OrderHandle.resume,
    "resume from": lambda order: order.resume("check"),
    "skip": lambda order: order.skip("publish"),
    "skip first": lambda order: order.skip("check"),
    "goto": lambda order: order.go_to("check"),
    "reset": OrderHandle.reset,
    "cancel": OrderHandle.cancel,
}


class TestWrongState:
    """O8: what cannot be done now is refused, changes nothing, and names the way out."""

    @pytest.mark.parametrize(
        ("where", "act", "said"),
        [
            ("running", "resume", r"is running: .* cannot be resumed\. .*goto"),
            ("running", "resume from", r"its step check is under way, .* cannot be resumed now\. Suspend the order"),
            ("running", "goto", r"its step check is under way, .* cannot be sent to another step now\. Suspend"),
            ("running", "reset", r"its step check is under way, .* cannot be reset now\. Suspend"),
            ("running", "skip first", r"its step check is under way"),
            ("suspended", "suspend", r"is suspended: .* cannot be suspended\. .*resume"),
            ("second", "skip first", r"step check has ended already, .*orders goto R-7 check"),
            ("failed", "suspend", r"is failed: .* cannot be suspended\. .*resume"),
            ("succeeded", "suspend", r"is succeeded: .* cannot be suspended\. .*reset"),
            ("succeeded", "resume", r"is succeeded: .* cannot be resumed\. .*reset"),
            ("succeeded", "cancel", r"is succeeded: .* cannot be cancelled\. .*reset"),
            ("succeeded", "skip", r"step publish has ended already"),
            ("cancelled", "suspend", r"is cancelled: .* cannot be suspended\. .*reset"),
            ("cancelled", "resume", r"is cancelled: .* cannot be resumed\. .*reset"),
            ("cancelled", "skip", r"is cancelled: .*\. .*reset"),
            ("cancelled", "cancel", r"is cancelled: .* cannot be cancelled\. .*reset"),
            ("in front", "resume", r"is waiting: .* cannot be resumed\. .*why"),
            ("future", "resume", r"is scheduled: .* cannot be resumed\. .*why"),
            ("future", "reset", r"is scheduled: .* cannot be reset\. .*remove"),
        ],
    )
    def test_o8_it_is_refused(self, queue: Queue, hand: Hand, where: str, act: str, said: str) -> None:
        define(queue, max_orders=1)
        if where == "in front":
            queue.start("c")
        order = queue.start("c", id="R-7", delay=60 if where == "future" else None)
        if where == "running":
            hand.begin(order, "check")
        elif where == "second":
            hand.run(order, "check")
        elif where == "succeeded":
            hand.run(order, "check", "publish", "tidy")
        elif where == "failed":
            hand.fail(hand.begin(order, "check"))
        elif where == "suspended":
            order.suspend()
        elif where == "cancelled":
            order.cancel()
        before, lines = order.record(), order.history()
        with pytest.raises(WrongState, match=f"order R-7.*{said}"):
            ACTS[act](order)
        assert (order.record(), order.history()) == (before, lines)

    @pytest.mark.parametrize("act", [OrderHandle.skip, OrderHandle.go_to, OrderHandle.resume])
    def test_o8_no_such_step(self, queue: Queue, hand: Hand, act: Callable[[OrderHandle, str], str]) -> None:
        define(queue)
        order = queue.start("c", id="R-7")
        order.suspend()
        with pytest.raises(NoSuchStep, match=r"step pack: order R-7 has no such step"):
            act(order, "pack")
        with pytest.raises(InvalidInput, match="step"):
            act(order, "no name")
        assert hand.nothing()

    @pytest.mark.parametrize("act", [name for name in ACTS if name != "skip first"])
    def test_o8_every_act_is_in_the_history(self, queue: Queue, hand: Hand, act: str) -> None:
        """O8: what was done, and who did it."""
        define(queue)
        order = queue.start("c")
        if act == "resume":
            order.suspend()
        queue.by = "bert@cad-02"
        ACTS[act](order)
        steps = {"resume from": " check", "skip": " publish", "goto": " check"}
        assert order.history()[-1].text == f"{act.split(maxsplit=1)[0]}{steps.get(act, '')} by bert@cad-02"
        assert abs((order.history()[-1].ended - dt.datetime.now(dt.UTC)).total_seconds()) < 60
        assert hand.worker.held == {}


class TestRaces:
    """O2, O8: acts and ends at once, from several connections: whatever comes first, orders, chains and jobs agree."""

    @pytest.mark.parametrize("shape", ["linear", "branches", "list"])
    def test_o8_acts_and_ends_at_once(
        self,
        queue: Queue,
        make_queue: Callable[..., Queue],
        server: RealServer,
        redis: Redis,
        namespace: str,
        shape: str,
    ) -> None:
        """O8: three people, two workers, eight orders, and a look at all of it again and again meanwhile."""
        seed = random.randrange(10**6)
        print(f"seed {seed}")  # noqa: T201 - shown when it fails
        define(
            queue,
            Step("check", "check", on_error="setback", setback=[0.01], setbacks=2),
            Step("publish", "publish", on_error="repair", each="files" if shape == "list" else None),
            Step("tidy", "tidy", after=["check", "publish"] if shape == "branches" else []),
            Step("repair", "repair", aside=True, then="check"),
            max_orders=6,
        )
        names = [f"o{n}" for n in range(8)]
        for name in names:
            queue.start("c", {"n": 1}, id=name)
        until, trouble, seen = time.monotonic() + 2.0, list[BaseException](), list[str]()

        def over() -> bool:
            return time.monotonic() > until or bool(trouble or seen)

        def person(number: int) -> None:
            rng, own = random.Random(seed + number), make_queue()
            while not over():
                with contextlib.suppress(WrongState, NoSuchOrder, OrderExists):
                    _do_something(own, rng, names)

        def worker(number: int) -> None:
            rng = random.Random(seed - number)
            offer: dict[str, dict[str, int]] = {type_: {} for type_ in TYPES}
            with contextlib.closing(FakeWorker(server.url, namespace, offer, slots=3)) as own:
                while not over():
                    own.turn(*[_some_end(own, rng, each) for each in list(own.held) if rng.random() < 0.7])
                own.settle()
                own.leave()

        def guarded(work: Callable[[int], None], number: int) -> None:
            try:
                work(number)
            except BaseException as error:  # noqa: BLE001 - told below
                trouble.append(error)

        threads = [threading.Thread(target=guarded, args=(person, n)) for n in range(3)]
        threads += [threading.Thread(target=guarded, args=(worker, n)) for n in range(1, 3)]
        for thread in threads:
            thread.start()
        looks = 0
        while not over():
            seen, looks = disagreements(redis, namespace), looks + 1
        for thread in threads:
            thread.join(20)
        assert not trouble, trouble
        assert seen == [], f"look {looks}"
        assert looks > 5
        assert disagreements(redis, namespace) == []
        queue.chains.start("c")
        queue.chains.start("c", "publish")
        admit(queue)
        for record in list(queue.orders()):
            assert isinstance(record, OrderRecord)
            queue.order(record.id).remove()
        assert list(queue.orders()) == []
        assert [job for job in queue.jobs() if job.order] == []
        assert disagreements(redis, namespace) == []


def _do_something(queue: Queue, rng: random.Random, names: list[str]) -> None:
    """One act of a person."""
    name, step = rng.choice(names), rng.choice(TYPES)
    order = queue.order(name)
    act = rng.randrange(12)
    if act == 0:
        order.suspend()
    elif act <= 2:
        order.resume(rng.choice([None, None, step]))
    elif act == 3:
        order.skip(step)
    elif act <= 5:
        order.go_to(step)
    elif act == 6:
        order.reset()
    elif act == 7:
        order.cancel()
    elif act == 8:
        order.remove()
    elif act == 9:
        rng.choice([queue.chains.stop, queue.chains.start])("c", rng.choice([None, "publish"]))
        admit(queue)
    else:
        queue.start(
            "c", {"n": 2}, id=name, replace=act == 10, delay=rng.choice([None, 0.01]), priority=rng.randrange(1, 9)
        )


def _some_end(worker: FakeWorker, rng: random.Random, job_id: str) -> Any:
    """One end of a job; a list has three elements."""
    taken = worker.held[job_id]
    record = JobRecord.read(job_id, taken.flat)
    if b"expand" in taken.flat[::2]:
        elements = [pack_value("element", n) for n in range(3)]
        base = pack_value("params", {})
        worker.store.run(verbs.expand(job_id, taken.token, record.order or "", record.step or "", 0, base, elements))
        if rng.random() < 0.8:
            return worker.report(job_id, "succeeded", "count", 3)
    outcome = rng.choice(
        ["succeeded", "succeeded", "succeeded", "goto", "failed", "skipped", "retry", "abandoned", "returned"]
    )
    if outcome == "goto":
        return worker.report(job_id, "succeeded", "goto", rng.choice(TYPES))
    if outcome == "retry":
        return worker.report(job_id, "retry", *ERROR, result=b"attempt", result_ms=rng.choice([0, 5]))
    if outcome == "failed":
        return worker.report(job_id, "failed", *ERROR)
    result = pack_value("result", {"n": rng.random()}) if outcome == "succeeded" else b""
    return worker.report(job_id, outcome, result=result, result_ms=1000)
