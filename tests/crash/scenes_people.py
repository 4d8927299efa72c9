"""Crashes of orders that wait because somebody said so: suspended, in front of their chain; and one with all it may have."""

from __future__ import annotations

import time
from itertools import pairwise

from crash.judge import judge, path_ended
from crash.moments import HOUR, WHEN, flow_with, linear, moment
from crash.runner import WORK
from crash.stage import SOON, Stage, report_of, sha

from seatline.producer import Chain, OrderHandle, Step


def now_held(stage: Stage, order: OrderHandle, step: str) -> None:
    """Wait until a suspended order stands in front of a step."""
    stage.until(lambda: order.record().now == {step: "held"}, f"its place in front of {step}")


@moment("suspended", "O3", "O6")
def suspended(stage: Stage) -> None:
    """The order is suspended in front of its third step: there it stays."""
    linear(stage)
    order = stage.queue.start("three", {"hold": "two"})
    stage.begun("two")
    order.suspend()
    stage.go("two")
    now_held(stage, order, "three")
    before, history = order.record(), order.history()
    stage.crash_now()
    stage.recover()
    assert order.record() == before
    assert order.history() == history
    other = stage.queue.start("three")
    path_ended(stage, other)  # somebody works, and yet
    assert order.record() == before
    order.resume()
    path_ended(stage, order)
    judge(stage, order, other)


@moment("suspended-in-step", "O6")
def suspended_in_step(stage: Stage) -> None:
    """The order was suspended while its second step runs: that ends, or it waits in front of it if it was lost."""
    linear(stage)
    order = stage.queue.start("three", {"hold": "two"})
    stage.begun("two")
    order.suspend()
    stage.crash_now()
    stage.recover()
    stage.go("two")
    now_held(stage, order, "three" if stage.killed == "server" else "two")
    assert order.state() == "suspended"
    order.resume()
    path_ended(stage, order)
    judge(stage, order)


@moment("{when}-suspend", "O6", "O8", "R2", when=WHEN)
def at_suspend(stage: Stage, *, when: str) -> None:
    """Somebody suspends the order: it is told once."""
    linear(stage)
    order = stage.queue.start("three", {"hold": "two"})
    stage.begun("two")
    stage.strike(when, sha("order_act"), ours=True)
    asked = stage.behind_proxy(lambda queue: queue.order(order.id).suspend())
    stage.recover()
    assert asked.result() == "suspended"
    stage.go("two")
    now_held(stage, order, "three" if stage.killed == "server" else "two")
    assert sum(run.text.startswith("suspend by ") for run in order.history()) == 1
    order.resume()
    path_ended(stage, order)
    judge(stage, order)


@moment("{when}-resume", "O6", "O8", "R2", when=WHEN)
def at_resume(stage: Stage, *, when: str) -> None:
    """Somebody resumes the order: it goes on, once."""
    linear(stage)
    order = stage.queue.start("three", {"hold": "one"})
    stage.begun("one")
    order.suspend()
    stage.go("one")
    now_held(stage, order, "two")
    stage.strike(when, sha("order_act"), ours=True)
    asked = stage.behind_proxy(lambda queue: queue.order(order.id).resume())
    stage.recover()
    assert asked.result() == "running"
    path_ended(stage, order)
    assert sum(run.text.startswith("resume by ") for run in order.history()) == 1
    judge(stage, order)


@moment("{when}-admission", "O10", "O2", when=WHEN)
def at_admission(stage: Stage, *, when: str) -> None:
    """The one order that may be started ends, and the next one enters with that script."""
    linear(stage, max_orders=1)
    stage.strike(when, report_of(b"succeeded", b"made-three"))
    orders = [stage.queue.start("three") for _ in range(3)]
    stage.recover()
    one_by_one(stage, orders)


@moment("{when}-admission-to-started-chain", "O10", "O11", when=WHEN)
def at_opening(stage: Stage, *, when: str) -> None:
    """A chain was stopped, and orders wait in front of it; a worker lets the first of them enter."""
    linear(stage, max_orders=1)
    stage.queue.chains.stop("three")
    orders = [stage.queue.start("three") for _ in range(3)]
    stage.strike(when, sha("chain_admit"))
    stage.queue.chains.start("three")
    stage.recover()
    one_by_one(stage, orders)


def one_by_one(stage: Stage, orders: list[OrderHandle]) -> None:
    """See that at most one order was started at any moment, in the order of their numbers."""
    records = [path_ended(stage, order) for order in orders]
    for before, after in pairwise(records):
        assert before.finished
        assert after.started
        assert before.finished <= after.started
    judge(stage, *orders)


@moment("with-everything", "O3")
def with_everything(stage: Stage) -> None:
    """Id, title, priority, tenant, params, outputs, setback count and moment, suspension, history; and a later order."""
    linear(stage)
    late = stage.queue.start("three", {"b": b"\x00"}, id="late", priority=3, title="for later", delay=2 * HOUR)
    stage.queue.schedules.add(
        "nightly", chain="three", params={"c": [1]}, priority=7, cron="30 2 * * *", zone="Europe/Paris"
    )
    stage.queue.define(Chain("tried", flow_with(Step("two", WORK, on_error="setback", setback=[0.9 * HOUR]))))
    order = stage.queue.start(
        "tried",
        {"fail": "two", "n": 1.5, "deep": {"a": [None, "ü"]}},
        id="R-7",
        priority=4,
        tenant="north",
        title="all of it",
    )
    stage.set_back(order)
    stage.queue.order("R-7").skip("three")
    order.suspend()
    handles = [order, late]
    before = [(each.record(), each.history()) for each in handles]
    plans = stage.queue.schedules.list()
    stage.crash_now()
    stage.recover()
    assert [(each.record(), each.history()) for each in handles] == before
    assert stage.queue.schedules.list() == plans
    record = order.record()
    assert (record.id, record.title, record.priority, record.tenant) == ("R-7", "all of it", 4, "north")
    assert (record.state, record.setbacks, record.skips) == ("suspended", {"two": 1}, ("three",))
    held, _, due = record.now["two"].partition("@")
    assert held == "held"
    assert int(due) / 1000 > time.time() + 0.8 * HOUR
    assert record.outputs["one"]["path"] == ["one"]
    assert record.suspended
    stage.go("mended")
    order.go_to("two")
    order.resume()
    record = order.wait(SOON)
    assert (record.state, record.ended) == ("succeeded", ("one", "two", "three"))
    assert record.outputs["two"]["path"] == ["one", "two"]
    assert late.remove() == "removed"
    judge(stage, order)
