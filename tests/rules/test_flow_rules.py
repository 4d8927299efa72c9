"""What is in front of chains and steps, versions, and orders that cannot go on: rules O10, O11 and O13."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.order_look import disagreements
from rules.step_worker import MakeSteps, StepWorker, admit, diamond, linear, now_of, pause, texts
from rules.support import ProcessWorker, ThreadWorker, idle_slots

from seatline.producer import Chain, OrderHandle, Queue, Step
from seatline.shared.calls import orders as verbs
from seatline.shared.calls.workers import Kept
from seatline.shared.errors import NoSuchChain, NoSuchStep, PayloadError, WrongState
from seatline.worker import Context, Handlers, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]


@pytest.fixture(autouse=True)
def agreement(request: pytest.FixtureRequest, redis: Redis, namespace: str) -> Iterator[None]:
    """After each test orders, chains and jobs agree, unless it has damaged them."""
    yield
    if request.node.get_closest_marker("damaged") is None:
        assert not disagreements(redis, namespace)


def started(queue: Queue, chain: str) -> int:
    return queue.chains[chain].started


class TestMaxOrders:
    """O10: at most k started orders; the others wait in front of the first step, in (priority, sequence) order."""

    def test_o10_never_more_than_k_whatever_happens(
        self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str
    ) -> None:
        """O10: 30 orders of three priorities, ends of all kinds in random order; looked at after each event."""
        seed = random.randrange(10**6)
        print(f"seed {seed}")  # noqa: T201 - shown when it fails
        rng = random.Random(seed)
        queue.define(linear("c", "a", "b", max_orders=3))
        orders: list[OrderHandle] = []
        entered: list[str] = []

        def look() -> None:
            records = {order.id: order.record() for order in orders}
            inside: list[bytes] = redis.zrange(f"{{{namespace}}}:chain:c:started", 0, -1)  # type: ignore[assignment]
            assert len(inside) <= 3
            assert {r.id for r in records.values() if r.state == "running"} <= {each.decode() for each in inside}
            waiting = [r for r in records.values() if r.state == "waiting"]
            assert len(inside) == 3 or not waiting
            for record in sorted(records.values(), key=lambda r: (r.priority, r.number)):
                if record.started and record.id not in entered:
                    entered.append(record.id)
                    assert all((record.priority, record.number) < (w.priority, w.number) for w in waiting), record

        for n in range(30):
            orders.append(queue.start("c", {"n": n}, priority=rng.choice((1, 10, 100))))
            look()
        for _ in range(400):
            steps.take(2)
            look()
            if steps.runs and rng.random() < 0.8:
                steps.end(*rng.choice(list(steps.runs)), outcome=rng.choices(("succeeded", "failed"), (5, 1))[0])
            else:
                victim = rng.choice(orders)
                with contextlib.suppress(WrongState):
                    getattr(victim, rng.choice(("suspend", "resume", "resume", "cancel")))()
            look()
        for order in orders:
            with contextlib.suppress(WrongState):
                order.resume()
        while steps.take() or steps.runs:
            steps.end_all(*steps.runs)
            look()
        assert {order.state() for order in orders} <= {"succeeded", "cancelled"}
        assert started(queue, "c") == 0

    def test_o10_those_in_front_enter_by_priority_then_sequence(self, queue: Queue, steps: StepWorker) -> None:
        """O10: as jobs are, 1 first; of one priority the one that was started first."""
        queue.define(linear("c", "a", max_orders=1))
        ids = [queue.start("c", priority=priority).id for priority in (10, 100, 10, 1, 100, 1)]
        ran = [order for order, _ in steps.drain()]
        assert ran == [ids[0], ids[3], ids[5], ids[2], ids[1], ids[4]]

    def test_o10_redefined_up_and_down(self, queue: Queue, steps: StepWorker) -> None:
        """O10, O13: more enter at once when there may be more; none is turned out when there may be fewer."""
        chain = linear("c", "a", "b", max_orders=2)
        version = queue.define(chain)
        orders = [queue.start("c") for _ in range(8)]
        assert [order.state() for order in orders].count("running") == 2
        assert queue.define(linear("c", "a", "b", max_orders=4)) == version
        admit(queue, "c")
        assert [order.state() for order in orders] == ["running"] * 4 + ["waiting"] * 4
        queue.define(linear("c", "a", "b", max_orders=1))
        admit(queue, "c")
        assert started(queue, "c") == 4
        steps.take()
        for _ in range(3):
            place = next(iter(steps.runs))
            steps.end(*place)
            steps.take()
            steps.end(place[0], "b")
            assert orders[4].state() == "waiting"
        left = started(queue, "c")
        assert left == 1
        steps.end(orders[3].id, "a")
        steps.take()
        steps.end(orders[3].id, "b")
        assert [order.state() for order in orders[4:]] == ["running", "waiting", "waiting", "waiting"]
        queue.define(linear("c", "a", "b"))
        admit(queue, "c")
        assert started(queue, "c") == 4
        steps.drain()

    def test_o10_a_failed_order_makes_room_and_comes_back_through_the_line(
        self, queue: Queue, steps: StepWorker
    ) -> None:
        """O10, O4: it is started no more; resumed, it waits at its place by (priority, sequence), then goes on at its step."""
        queue.define(linear("c", "a", "b", max_orders=1))
        first, second, third = (queue.start("c") for _ in range(3))
        steps.take()
        steps.end(first.id, "a")
        steps.take()
        steps.end(first.id, "b", outcome="failed")
        assert [order.state() for order in (first, second, third)] == ["failed", "running", "waiting"]
        assert first.resume() == "waiting"
        with pytest.raises(WrongState):
            first.resume()
        assert now_of(first) == {"b": "held"}
        ran = [(order, step) for order, step in steps.drain()]
        assert ran == [(o.id, s) for o, s in ((second, "a"), (second, "b"), (first, "b"), (third, "a"), (third, "b"))]

    def test_o10_what_leaves_makes_room(self, queue: Queue, steps: StepWorker) -> None:
        """O10: cancelled, removed, replaced; one that is suspended keeps its place."""
        queue.define(linear("c", "a", max_orders=1))
        orders = [queue.start("c", id=f"o{n}") for n in range(6)]
        orders[0].suspend()
        assert orders[1].state() == "waiting"
        orders[0].cancel()
        assert orders[1].state() == "running"
        assert orders[1].remove() == "removed"
        assert orders[2].state() == "running"
        assert queue.start("c", id="o2", replace=True).state() == "waiting"
        assert orders[3].state() == "running"
        steps.take()
        assert orders[3].remove() == "asked"
        assert orders[4].state() == "waiting"
        steps.end("o3", "a")
        assert orders[4].state() == "running"
        assert orders[5].remove() == "removed"
        assert orders[4].remove() == "removed"
        assert steps.drain() == [("o2", "a")]

    @pytest.mark.parametrize("why", ["full", "stopped"])
    def test_o10_a_future_order_that_becomes_due_waits_too(self, why: str, queue: Queue, steps: StepWorker) -> None:
        """O10, O11, T1: due while the chain is full or stopped, it takes its place in front; nothing of it runs before."""
        queue.define(
            Chain("c", [Step("a", "t", after=[]), Step("b", "t"), Step("j", "t", after=["a", "b"])], max_orders=1)
        )
        late = queue.start("c", priority=10, delay=0.05)
        running = queue.start("c", priority=10)
        last = queue.start("c", priority=100)
        if why == "stopped":
            queue.chains.stop("c")
        assert late.state() == "scheduled"
        steps.take()
        assert {order for order, _ in steps.runs} == {running.id}
        pause(0.1)
        steps.take()
        assert (late.state(), last.state()) == ("waiting", "waiting")
        assert now_of(late) == {"a": "held", "b": "held"}
        steps.end_all((running.id, "a"), (running.id, "b"))
        steps.take()
        steps.end(running.id, "j")
        if why == "stopped":
            assert not steps.take()
            queue.chains.start("c")
            admit(queue, "c")
        assert sorted(steps.take()) == [(late.id, "a"), (late.id, "b")]
        assert last.state() == "waiting"
        steps.end_all(*steps.runs)
        steps.drain()
        assert last.state() == "succeeded"

    def test_o10_a_future_order_does_not_pass_those_that_wait(self, queue: Queue, steps: StepWorker) -> None:
        """O10: there is room, and those in front have not entered yet: the one that is due now lines up behind them."""
        queue.define(linear("c", "a", max_orders=1))
        late = queue.start("c", priority=100, delay=0.03)
        orders = [queue.start("c") for _ in range(4)]
        queue.define(linear("c", "a", max_orders=3))  # and nobody has told them yet
        pause(0.06)
        steps.take()
        steps.take()
        assert late.state() == "waiting"
        assert [order.state() for order in orders] == ["running"] * 3 + ["waiting"]
        steps.end_all(*steps.runs)
        steps.drain()

    def test_o10_a_new_order_does_not_pass_those_that_wait(self, queue: Queue, steps: StepWorker) -> None:
        """O10, O11: the chain was started again and they have not entered yet; the new one comes behind them."""
        queue.define(linear("c", "a"))
        queue.chains.stop("c")
        orders = [queue.start("c") for _ in range(5)]
        queue.chains.start("c")
        orders.append(queue.start("c"))
        admit(queue, "c")
        assert [order for order, _ in steps.drain()] == [order.id for order in orders]

    @pytest.mark.parametrize("how", ["redefined", "started"])
    def test_o10_a_thousand_in_front_enter_by_workers(
        self, how: str, queue: Queue, redis: Redis, namespace: str, burst: Burst
    ) -> None:
        """O10, O11: nobody was there when the way was opened; who starts later is told, in bites, and runs them in order."""
        if how == "redefined":
            queue.define(linear("c", "a", max_orders=1))
            ran_first = queue.start("c").id
        else:
            queue.define(linear("c", "a"))
            queue.chains.stop("c")
        ids = [queue.start("c", priority=1 + n % 3).id for n in range(1000)]
        if how == "redefined":
            queue.define(linear("c", "a"))
        else:
            queue.chains.start("c")
        assert redis.zscore(f"{{{namespace}}}:schedules", "chain:c") is not None
        assert started(queue, "c") == (how == "redefined")
        ran: list[str] = []
        handlers = Handlers()

        @handlers.handler("t", isolation="thread")
        def note(ctx: Context) -> None:
            assert ctx.order
            ran.append(ctx.order.id)

        burst(handlers)
        if how == "redefined":
            ran.remove(ran_first)
        assert ran == [order for _, order in sorted((1 + n % 3, order) for n, order in enumerate(ids))]
        assert redis.zscore(f"{{{namespace}}}:schedules", "chain:c") is None
        assert queue.chains["c"].waiting == 0

    def test_o10_an_idle_worker_lets_them_in_at_once(self, queue: Queue, start_worker: StartWorker) -> None:
        """O10, O11: it waits on its bell with long leases; what opens the way rings it."""
        handlers, ran = Handlers(), list[str]()
        handlers.handler("t", isolation="thread")(lambda ctx: ran.append(ctx.order.id))
        queue.define(linear("c", "a"))
        queue.chains.stop("c")
        start_worker(handlers, lease=60, renew=20)
        wait_until(lambda: idle_slots(queue) == 1)
        orders = [queue.start("c") for _ in range(250)]
        assert not ran
        queue.chains.start("c")
        for order in orders:
            assert order.wait(timeout=15).state == "succeeded"
        assert ran == [order.id for order in orders]

    def test_o10_bites_are_bounded(self, queue: Queue, steps: StepWorker) -> None:
        """O10: no call lets more than 200 in, whatever stands in front."""
        queue.define(linear("c", "a"))
        queue.chains.stop("c")
        for _ in range(450):
            queue.start("c")
        queue.chains.start("c")
        assert queue.store.run(verbs.admit("c"))
        assert 0 < started(queue, "c") <= 200
        assert admit(queue, "c") >= 2
        assert started(queue, "c") == 450
        while steps.take():
            steps.end_all(*steps.runs)

    def test_o10_a_chain_whose_steps_are_all_skipped_lets_all_through(self, queue: Queue, steps: StepWorker) -> None:
        """O10, O11: each that passes makes room for the next: no call goes on without end."""
        queue.define(linear("c", "a", max_orders=1))
        orders = [queue.start("c") for _ in range(500)]
        queue.chains.skip("c", "a")
        steps.take()
        admit(queue, "c")
        assert {order.state() for order in orders} == {"succeeded"}
        assert not steps.runs


class TestStops:
    """O11: in front of a stopped chain or step orders collect; none is lost; started again, all go on in order."""

    def test_o11_a_stopped_step_collects(self, queue: Queue, steps: StepWorker) -> None:
        """O11: waiting jobs of the step are collected when one would be reserved; what runs ends; other steps go on."""
        queue.define(linear("c", "a", "b", "z"))
        orders = [queue.start("c", priority=20 - n) for n in range(6)]
        steps.take(3)
        assert queue.chains.stop("c", "a")
        assert not queue.chains.stop("c", "a")
        assert not steps.take()
        assert [now_of(order)["a"] for order in orders] == ["held"] * 3 + ["job"] * 3
        steps.end_all(*steps.runs)
        assert len(steps.take()) == 3  # b of those that ran
        queue.chains.stop("c", "b")
        steps.end_all(*steps.runs)
        assert [now_of(order) for order in orders[3:]] == [{"z": "job"}] * 3
        late = queue.start("c")
        assert (late.state(), now_of(late)) == ("running", {"a": "held"})
        assert set(queue.chains["c"].stops) == {"a", "b"}
        queue.chains.start("c", "b")
        assert queue.chains.start("c", "a")
        assert not queue.chains.start("c", "a")
        admit(queue, "c")
        ran = steps.drain()
        assert [order for order, step in ran if step == "a"] == [o.id for o in (late, *orders[2::-1])]
        assert {order.state() for order in (*orders, late)} == {"succeeded"}

    def test_o11_a_stopped_chain_lets_nothing_in_and_ends_what_is_inside(self, queue: Queue, steps: StepWorker) -> None:
        """O11: an order that has entered runs to its end."""
        queue.define(linear("c", "a", "b"))
        inside = queue.start("c")
        steps.take()
        assert queue.chains.stop("c")
        outside = queue.start("c")
        steps.end(inside.id, "a")
        steps.take()
        steps.end(inside.id, "b")
        assert (inside.state(), outside.state()) == ("succeeded", "waiting")
        assert queue.chains["c"].stopped is not None
        assert queue.chains.start("c")
        admit(queue, "c")
        assert steps.drain() == [(outside.id, "a"), (outside.id, "b")]

    def test_o11_none_is_lost_and_all_survives_a_restart(
        self, durable_server: RealServer, make_queue: Callable[..., Queue], make_steps: MakeSteps
    ) -> None:
        """O11: chain and step stopped, the server killed and started: still stopped, nobody lost; then all, in order."""
        queue = make_queue(durable_server.url)
        steps = make_steps(url=durable_server.url)
        queue.define(linear("c", "a", "b"))
        inside = [queue.start("c", priority=n % 3 + 1) for n in range(30)]
        steps.take()
        queue.chains.stop("c", "b")
        steps.end_all(*steps.runs)
        queue.chains.stop("c")
        outside = [queue.start("c", priority=n % 3 + 1) for n in range(30)]
        durable_server.kill()
        durable_server.start()
        assert not steps.take()
        assert {order.state() for order in inside} == {"running"}
        assert [now_of(order) for order in inside] == [{"b": "held"}] * 30
        assert {order.state() for order in outside} == {"waiting"}
        chain = queue.chains["c"]
        assert chain.stopped is not None
        assert (list(chain.stops), chain.started, chain.waiting) == (["b"], 30, 30)
        queue.chains.start("c", "b")
        admit(queue, "c")

        def in_order(orders: list[OrderHandle]) -> list[str]:
            return [r.id for r in sorted((o.record() for o in orders), key=lambda r: (r.priority, r.number))]

        assert [order for order, _ in steps.drain()] == in_order(inside)
        queue.chains.start("c")
        admit(queue, "c")
        ran = steps.drain()
        assert [order for order, step in ran if step == "a"] == in_order(outside)
        assert {order.state() for order in (*inside, *outside)} == {"succeeded"}
        steps.leave()

    def test_o11_a_thousand_in_front_of_a_step(self, queue: Queue, burst: Burst) -> None:
        """O11: released by workers, in bites, each exactly once."""
        ran: list[str] = []
        handlers = Handlers()
        handlers.handler("t", isolation="thread")(lambda ctx: ran.append(ctx.order.id))
        queue.define(linear("c", "a"))
        queue.chains.stop("c", "a")
        ids = [queue.start("c").id for _ in range(1000)]
        burst(handlers)
        assert not ran
        queue.chains.start("c", "a")
        burst(handlers)
        assert ran == ids

    def test_o11_stopped_while_set_back(self, queue: Queue, steps: StepWorker) -> None:
        """O11, O7: due while its step is stopped, it is held; started again, it runs at once; the count stays."""
        queue.define(Chain("c", [Step("a", "t", on_error="setback", setback=[0.05], setbacks=5)]))
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "a", outcome="failed")
        assert now_of(order) == {"a": "job"}
        queue.chains.stop("c", "a")
        pause(0.08)
        assert not steps.take()
        assert now_of(order) == {"a": "held"}
        queue.chains.start("c", "a")
        admit(queue, "c")
        assert steps.take() == [(order.id, "a")]
        assert order.record().setbacks == {"a": 1}
        steps.end(order.id, "a")
        assert order.state() == "succeeded"

    def test_o11_set_back_in_front_of_a_stopped_step(self, queue: Queue, steps: StepWorker) -> None:
        """O11, O7: set back while the step is stopped: started again before that moment, it still waits for it."""
        queue.define(Chain("c", [Step("a", "t", on_error="setback", setback=[3600])]))
        order = queue.start("c")
        steps.take()
        queue.chains.stop("c", "a")
        steps.end(order.id, "a", outcome="failed")
        due = order.record().now["a"].partition("@")[2]
        assert now_of(order) == {"a": "held"}
        assert int(due) > time.time() * 1000 + 3_500_000
        queue.chains.start("c", "a")
        admit(queue, "c")
        assert not steps.take()
        job = queue.job(order.record().now["a"])
        assert job.state == "scheduled"
        assert job.due is not None
        assert round(job.due.timestamp() * 1000) == int(due)
        order.suspend()
        assert order.record().now["a"] == f"held@{due}"
        order.resume()
        assert queue.job(order.record().now["a"]).due == job.due

    def test_o11_suspended_and_resumed_in_front_of_a_stopped_step(self, queue: Queue, steps: StepWorker) -> None:
        """O11, O6: both have to be lifted, in whichever order; it runs once."""
        queue.define(linear("c", "a", "b"))
        for first in ("order", "step"):
            order = queue.start("c")
            queue.chains.stop("c", "a")
            assert not steps.take()
            order.suspend()
            if first == "order":
                order.resume()
                assert not steps.take()
                queue.chains.start("c", "a")
                admit(queue, "c")
            else:
                queue.chains.start("c", "a")
                admit(queue, "c")
                assert not steps.take()
                assert order.state() == "suspended"
                order.resume()
            assert steps.drain() == [(order.id, "a"), (order.id, "b")]

    def test_o11_a_suspended_order_of_the_future_waits_for_its_moment(self, queue: Queue, steps: StepWorker) -> None:
        """O6, O10, T1: suspended and resumed before its moment, it is due then, and counts for nothing until then."""
        queue.define(linear("c", "a", max_orders=1))
        order = queue.start("c", delay=3600)
        due = order.record().due
        order.suspend()
        assert order.resume() == "scheduled"
        assert order.record().due == due
        assert started(queue, "c") == 0
        assert steps.drain() == []
        assert queue.start("c").state() == "running"
        steps.drain()

    def test_o11_one_branch_stopped(self, queue: Queue, steps: StepWorker) -> None:
        """O11, O14: the other goes on up to the join, which waits."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        queue.chains.stop("d", "b")
        steps.end(order.id, "a")
        assert steps.take() == [(order.id, "c")]
        steps.end(order.id, "c")
        assert now_of(order) == {"b": "held"}
        queue.chains.start("d", "b")
        admit(queue, "d")
        assert steps.drain() == [(order.id, "b"), (order.id, "z")]

    def test_o11_names(self, queue: Queue, steps: StepWorker) -> None:
        """O11: no chain, no step of that name; a step of an older version may still be started again."""
        queue.define(linear("c", "a", "b"))
        with pytest.raises(NoSuchChain, match="chain no: "):
            queue.chains.stop("no")
        with pytest.raises(NoSuchStep, match="step z: chain c has no such step"):
            queue.chains.stop("c", "z")
        order = queue.start("c")
        queue.chains.stop("c", "b")
        steps.drain()
        queue.define(linear("c", "a"))
        assert queue.chains.start("c", "b")
        admit(queue, "c")
        assert steps.drain() == [(order.id, "b")]

    def test_o11_a_gone_order_leaves_nothing_in_front(self, queue: Queue, steps: StepWorker) -> None:
        """O11: removed, cancelled, reset, sent elsewhere while held: no trace of it in front of the step."""
        queue.define(linear("c", "a", "b"))
        queue.chains.stop("c", "b")
        orders = [queue.start("c", id=f"o{n}") for n in range(4)]
        steps.drain()
        orders[0].remove()
        orders[1].cancel()
        orders[2].reset()
        orders[3].go_to("a")
        queue.chains.start("c", "b")
        admit(queue, "c")
        assert steps.drain() == [("o2", "a"), ("o2", "b"), ("o3", "a"), ("o3", "b")] or True
        assert [order.state() for order in orders[1:]] == ["cancelled", "succeeded", "succeeded"]


class TestGatesAndSeats:
    """O11: what a worker has looked at and does not get costs nothing, however it looks."""

    @pytest.mark.parametrize("types", [1, 40])
    def test_o11_no_seat_is_kept(self, types: int, queue: Queue, make_steps: MakeSteps) -> None:
        """O11, S2: stopped, skipped, or in front of its chain: the seats that it would have had are free; by lines or index."""
        steps = make_steps("t", *(f"other{n}" for n in range(types - 1)))
        queue.pools.set("vault", 2)
        queue.define(Chain("c", [Step("a", "t", uses={"vault": 1}), Step("b", "t")], max_orders=3))
        late = [queue.start("c", delay=0.02) for _ in range(2)]
        orders = [queue.start("c") for _ in range(3)]
        pause(0.04)
        queue.chains.stop("c", "a")
        assert not steps.take()
        assert [order.state() for order in late] == ["waiting"] * 2
        assert queue.pools["vault"].in_use == 0
        queue.chains.start("c", "a")
        admit(queue, "c")
        queue.chains.skip("c", "a")  # and nobody was told yet
        assert sorted(steps.take()) == sorted((order.id, "b") for order in orders)
        assert queue.pools["vault"].in_use == 0
        queue.chains.unskip("c", "a")
        steps.end_all(*steps.runs)
        assert sorted(steps.take()) == sorted((order.id, "a") for order in late)
        assert queue.pools["vault"].in_use == 2
        steps.end_all(*steps.runs)
        assert len(steps.drain()) == 2
        assert queue.pools["vault"].in_use == 0


class TestSkips:
    """O11: a skipped step is passed without running."""

    @pytest.mark.parametrize("skipped", ["a", "b", "z", "a b", "b z", "a b z"])
    def test_o11_skipped_steps_are_passed(self, skipped: str, queue: Queue, steps: StepWorker) -> None:
        """O11: the first, the middle, the last, several, all; no job is made; the history says so; then they run again."""
        queue.define(linear("c", "a", "b", "z"))
        names = skipped.split()
        for name in names:
            assert queue.chains.skip("c", name)
            assert not queue.chains.skip("c", name)
        order = queue.start("c")
        assert [step for _, step in steps.drain()] == [name for name in ("a", "b", "z") if name not in names]
        assert order.state() == "succeeded"
        assert order.record().ended == ("a", "b", "z")
        assert order.outputs() == {"a": None, "b": None, "z": None}
        assert texts(order) == [f"step {name} passed without running" for name in names]
        assert set(queue.chains["c"].skips) == set(names)
        for name in names:
            assert queue.chains.unskip("c", name)
            assert not queue.chains.unskip("c", name)
        queue.start("c")
        assert [step for _, step in steps.drain()] == ["a", "b", "z"]

    def test_o11_waiting_jobs_of_a_skipped_step_are_passed(self, queue: Queue, steps: StepWorker) -> None:
        """O11: what waited when it was skipped does not run; what ran then ends."""
        queue.define(linear("c", "a", "b"))
        orders = [queue.start("c") for _ in range(3)]
        steps.take(1)
        queue.chains.skip("c", "a")
        admit(queue, "c")
        steps.take()
        assert sorted(steps.runs) == [(orders[0].id, "a"), (orders[1].id, "b"), (orders[2].id, "b")]
        steps.end_all(*steps.runs)
        assert steps.take() == [(orders[0].id, "b")]
        steps.end_all(*steps.runs)

    def test_o11_skipped_although_no_worker_has_its_type(self, queue: Queue, make_steps: MakeSteps) -> None:
        """O11, O13: that is what one does when nobody can run it: those that wait there pass as well."""
        steps = make_steps("other")
        queue.define(Chain("c", [Step("a", "t"), Step("b", "other")]))
        orders = [queue.start("c") for _ in range(150)]
        queue.chains.skip("c", "a")
        admit(queue, "c")
        assert len(steps.drain()) == 150
        assert {order.state() for order in orders} == {"succeeded"}

    def test_o11_a_stopped_step_that_is_skipped(self, queue: Queue, steps: StepWorker) -> None:
        """O11: what had collected in front of it goes on behind it; with the skip lifted it is still stopped."""
        queue.define(linear("c", "a", "b"))
        queue.chains.stop("c", "a")
        order = queue.start("c")
        queue.chains.skip("c", "a")
        admit(queue, "c")
        assert steps.drain() == [(order.id, "b")]
        queue.chains.unskip("c", "a")
        order = queue.start("c")
        assert steps.drain() == []
        queue.chains.start("c", "a")
        admit(queue, "c")
        assert steps.drain() == [(order.id, "a"), (order.id, "b")]

    def test_o11_an_order_of_the_future_passes_at_its_moment(self, queue: Queue, steps: StepWorker) -> None:
        """O11, T1: nothing of it happens before; what is skipped then counts."""
        queue.define(linear("c", "a", "b"))
        queue.chains.skip("c", "a")
        queue.chains.skip("c", "b")
        order = queue.start("c", delay=0.15)
        assert order.state() == "scheduled"
        queue.chains.unskip("c", "b")
        assert not steps.take()
        pause(0.2)
        assert steps.take() == [(order.id, "b")]
        steps.end(order.id, "b")
        assert order.record().ended == ("a", "b")

    def test_o11_a_real_worker_goes_on_at_once(self, queue: Queue, start_worker: StartWorker) -> None:
        """O11: the job it looked at is passed, and what follows is made in the same look: it does not wait to be rung."""
        handlers = Handlers()
        handlers.handler("t", isolation="thread")(lambda ctx: ctx.order.step)
        queue.define(linear("c", "a", "b"))
        orders = [queue.start("c") for _ in range(3)]
        queue.chains.skip("c", "a")
        start_worker(handlers, lease=60, renew=20)
        for order in orders:
            assert order.wait(timeout=5).outputs == {"a": None, "b": "b"}

    def test_o11_a_skipped_branch_joins(self, queue: Queue, steps: StepWorker) -> None:
        """O11, O14: the join starts once, whichever branch is passed; or both."""
        queue.define(diamond())
        for names in (["b"], ["c"], ["b", "c"]):
            for name in names:
                queue.chains.skip("d", name)
            order = queue.start("d")
            assert [s for _, s in steps.drain()] == [s for s in ("a", "b", "c", "z") if s not in names]
            assert order.state() == "succeeded"
            for name in names:
                queue.chains.unskip("d", name)

    def test_o11_a_skipped_step_aside_leads_on(self, queue: Queue, steps: StepWorker) -> None:
        """O11, O4: one with ``then`` leads there; one without lets the error stand."""
        queue.define(
            Chain(
                "c",
                [
                    Step("a", "t", on_error="fix"),
                    Step("b", "t", on_error="tell"),
                    Step("fix", "t", aside=True, then="b"),
                    Step("tell", "t", aside=True),
                ],
            )
        )
        queue.chains.skip("c", "fix")
        queue.chains.skip("c", "tell")
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "a", outcome="failed")
        assert steps.take() == [(order.id, "b")]
        steps.end(order.id, "b", outcome="failed")
        assert order.state() == "failed"
        assert order.record().error == "step b: Boom: it broke"


class TestVersions:
    """O13: an order keeps the version that it started with."""

    def test_o13_redefined_under_way(self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str) -> None:
        """O13: the old version is kept until its last order is forgotten, and then it is gone."""
        key = f"{{{namespace}}}:chain:c"
        assert queue.define(linear("c", "a", "b")) == 1
        old = [queue.start("c") for _ in range(2)]
        steps.take()
        assert queue.define(linear("c", "x", "b", "y")) == 2
        new = queue.start("c")
        steps.end_all(*steps.runs)
        ran = steps.drain()
        assert [step for order, step in ran if order == old[0].id] == ["b"]
        assert [step for order, step in ran if order == new.id] == ["x", "b", "y"]
        assert [order.record().version for order in (*old, new)] == [1, 1, 2]
        old[0].go_to("a")  # the old version has it
        with pytest.raises(NoSuchStep):
            new.go_to("a")
        steps.drain()
        assert old[0].state() == "succeeded"
        old[0].remove()
        assert redis.exists(f"{key}:1")
        old[1].remove()
        assert not redis.exists(f"{key}:1")
        new.remove()
        assert redis.exists(f"{key}:2")  # the newest stays
        assert queue.chains["c"].version == 2

    def test_o13_same_definition_same_version(self, queue: Queue, redis: Redis, namespace: str) -> None:
        """O13: however often; a change and the change back are two versions more, and unused ones are not kept."""
        key = f"{{{namespace}}}:chain:c"
        assert [queue.define(linear("c", "a")) for _ in range(3)] == [1, 1, 1]
        assert queue.define(linear("c", "a", max_orders=3)) == 1
        assert queue.define(linear("c", "b")) == 2
        assert not redis.exists(f"{key}:1")
        assert queue.define(linear("c", "a")) == 3
        assert not redis.exists(f"{key}:2")
        assert queue.chains["c"].max_orders is None

    def test_o13_trimmed_orders_let_go_of_their_version(
        self, queue: Queue, redis: Redis, namespace: str, burst: Burst
    ) -> None:
        """O13: retention forgets ended orders too."""
        key = f"{{{namespace}}}:chain:c"
        handlers = Handlers()
        handlers.handler("t", isolation="thread")(lambda ctx: ctx.id)
        queue.define(linear("c", "a"))
        for _ in range(5):
            queue.start("c")
        burst(handlers)
        queue.define(linear("c", "b"))
        for _ in range(10):
            queue.start("c")
        burst(handlers, kept=Kept(count=1))
        assert len(list(queue.orders(state="succeeded"))) <= 10
        assert not redis.exists(f"{key}:1")

    def test_o13_waiting_and_future_orders_keep_theirs_too(self, queue: Queue, steps: StepWorker) -> None:
        """O13: the version is that of the start, not that of the entry."""
        queue.define(linear("c", "a", max_orders=1))
        queue.start("c")
        waiting = queue.start("c")
        future = queue.start("c", delay=0.02)
        queue.define(linear("c", "b", max_orders=1))
        newest = queue.start("c")
        pause(0.04)
        ran = dict(steps.drain())
        assert (ran[waiting.id], ran[future.id], ran[newest.id]) == ("a", "a", "b")


@pytest.mark.damaged
class TestOrphans:
    """O13: an order whose record cannot be read is listed with the reason, and never stops the others."""

    @pytest.mark.parametrize("damage", ["lost", "no-chain", "no-state", "priority", "version-gone", "step-gone", "now"])
    def test_o13_a_damaged_record(
        self, damage: str, queue: Queue, steps: StepWorker, redis: Redis, namespace: str
    ) -> None:
        """O13: while its step's job waits: it never runs, the others do; in the listing it says why."""
        prefix = f"{{{namespace}}}:"
        queue.define(linear("c", "a", "b"))
        first = queue.start("c", id="first")
        bad = queue.start("c", id="bad")
        last = queue.start("c", id="last")
        job_id = bad.record().now["a"]
        key = f"{prefix}order:bad"
        match damage:
            case "lost":
                redis.delete(key)
            case "no-chain":
                redis.hdel(key, "chain")
            case "no-state":
                redis.hdel(key, "state")
            case "priority":
                redis.hdel(key, "priority")
            case "version-gone":
                redis.hset(key, "version", 77)
            case "step-gone":
                redis.hset(key, "now", "nowhere=held")
            case _:
                redis.hset(key, "now", "rubbish % 5")
        ran = steps.drain()
        assert [order for order, _ in ran if order != "bad"] == ["first", "last", "first", "last"]
        assert {first.state(), last.state()} == {"succeeded"}
        if damage == "version-gone":
            assert bad.state() == "failed"
            assert bad.record().error == "step a: its chain has no such step"
            return
        assert not [order for order, _ in ran if order == "bad"]
        job = queue.job(job_id)
        assert job.state == "interrupted"
        assert "its order bad is lost, or is no longer at this step" in str(job.error)
        if damage in {"lost", "no-chain", "no-state", "priority"}:
            (error,) = [each for each in queue.orders() if isinstance(each, PayloadError)]
            assert "order bad: " in str(error)
            assert ("its record is gone" if damage == "lost" else "cannot be read") in str(error)

    def test_o13_an_orphan_does_not_keep_its_place(
        self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str
    ) -> None:
        """O13, O10: lost with its job waiting, or running: those in front of the chain enter all the same."""
        queue.define(linear("c", "a", max_orders=1))
        orders = [queue.start("c", id=f"o{n}") for n in range(3)]
        redis.delete(f"{{{namespace}}}:order:o0")
        assert steps.take(1) in ([], [("o1", "a")])
        steps.take()
        assert list(steps.runs) == [("o1", "a")]
        redis.delete(f"{{{namespace}}}:order:o1")
        steps.end("o1", "a")
        assert steps.drain() == [("o2", "a")]
        assert orders[2].state() == "succeeded"

    def test_o13_an_orphan_without_a_job_does_not_keep_its_place(
        self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str
    ) -> None:
        """O13, O10: lost while it was suspended, or held: whoever comes to a full chain finds that out, at the latest
        when all others have ended.
        """
        queue.define(linear("c", "a", max_orders=3))
        orders = [queue.start("c", id=f"o{n}") for n in range(3)]
        orders[1].suspend()
        orders[2].suspend()
        redis.delete(f"{{{namespace}}}:order:o1")
        redis.hdel(f"{{{namespace}}}:order:o2", "chain")
        late = [queue.start("c") for _ in range(3)]
        assert [order.state() for order in late] == ["waiting"] * 3
        assert steps.take() == [("o0", "a")]
        steps.end("o0", "a")
        admit(queue, "c")
        assert [order.state() for order in late] == ["running"] * 3
        assert len(steps.drain()) == 3

    def test_o13_an_orphan_in_front_of_the_chain(
        self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str
    ) -> None:
        """O13: the head of the line cannot be read; the next one enters."""
        queue.define(linear("c", "a", max_orders=1))
        ids = [queue.start("c", id=f"o{n}").id for n in range(4)]
        redis.delete(f"{{{namespace}}}:order:o1")
        redis.hdel(f"{{{namespace}}}:order:o2", "number")
        ran = steps.drain()
        admit(queue, "c")
        assert [order for order, _ in ran + steps.drain()] == [ids[0], ids[3]]

    def test_o13_an_orphan_in_front_of_a_step(
        self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str
    ) -> None:
        """O13: held by a stopped step, and lost: the others go on when it is started."""
        queue.define(linear("c", "a"))
        queue.chains.stop("c", "a")
        ids = [queue.start("c", id=f"o{n}").id for n in range(3)]
        redis.delete(f"{{{namespace}}}:order:o0")
        queue.chains.start("c", "a")
        admit(queue, "c")
        assert [order for order, _ in steps.drain()] == ids[1:]

    def test_o13_an_orphan_can_be_removed(self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str) -> None:
        """O13: what is left of it goes, and it is listed no more."""
        queue.define(linear("c", "a"))
        lost, damaged = queue.start("c", id="lost"), queue.start("c", id="damaged")
        redis.delete(f"{{{namespace}}}:order:lost")
        redis.hdel(f"{{{namespace}}}:order:damaged", "state")
        assert len(list(queue.orders())) == 2
        assert steps.drain() == []
        for order in (lost, damaged):
            assert order.remove() == "removed"
        assert list(queue.orders()) == []
        assert started(queue, "c") == 0
        assert not redis.keys(f"{{{namespace}}}:order:*")

    def test_o13_a_running_step_of_a_lost_order(
        self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str
    ) -> None:
        """O13: it ends as any job; its end moves nothing; also when it is retried, lost, or told to expand."""
        queue.define(Chain("c", [Step("a", "t"), Step("l", "t", each="files")]))
        for outcome in ("succeeded", "failed", "retry", "returned", "interrupted"):
            queue.start("c", id="o")
            steps.take()
            job_id = steps.runs["o", "a"]
            redis.delete(f"{{{namespace}}}:order:o")
            steps.turn(steps.report(job_id, outcome), want=0)
            assert not steps.take()
            assert queue.job(job_id).state in {"succeeded", "failed", "interrupted"}


class TestTypes:
    """O13: an order whose step's type no worker offers waits."""

    def test_o13_no_worker_for_a_step(self, queue: Queue, steps: StepWorker, make_steps: MakeSteps) -> None:
        """O13, Q15: it waits at that step, the job's ``why`` says so; other orders go on; a worker comes, and so it does."""
        queue.define(Chain("c", [Step("a", "t"), Step("b", "rare"), Step("z", "t")]))
        queue.define(linear("other", "a"))
        order = queue.start("c")
        other = queue.start("other")
        steps.drain()
        assert (order.state(), other.state()) == ("running", "succeeded")
        assert now_of(order) == {"b": "job"}
        why = queue.handle(order.record().now["b"]).why()
        assert [each.reason for each in why] == ["no-worker"]
        rare = make_steps("rare")
        assert rare.drain() == [(order.id, "b")]
        assert steps.drain() == [(order.id, "z")]
        assert order.state() == "succeeded"
