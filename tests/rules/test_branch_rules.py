"""Steps that run side by side, and steps that are chosen: rules O14 and O15."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from rules.order_look import disagreements
from rules.step_worker import MakeSteps, StepWorker, admit, diamond, linear, now_of
from rules.support import ThreadWorker

from seatline.producer import Chain, OrderHandle, Queue, Step
from seatline.shared.calls import orders as verbs
from seatline.shared.errors import WrongState
from seatline.worker import Context, Goto, Handlers, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]


@pytest.fixture(autouse=True)
def agreement(redis: Redis, namespace: str) -> Iterator[None]:
    """After each test orders, chains and jobs agree."""
    yield
    assert not disagreements(redis, namespace)


class TestBranches:
    """O14: several steps at once; a step that waits for several starts once, when all have ended."""

    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("first", ["b", "c"])
    def test_o14_a_join_starts_exactly_once(self, together: bool, first: str, queue: Queue, steps: StepWorker) -> None:
        """O14: both ends in one turn or in two, in either order."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        assert sorted(steps.take()) == [(order.id, "b"), (order.id, "c")]
        second = "c" if first == "b" else "b"
        if together:
            steps.end_all((order.id, first), (order.id, second))
        else:
            steps.end(order.id, first)
            assert not steps.take()
            steps.end(order.id, second)
        assert steps.take() == [(order.id, "z")]
        steps.end(order.id, "z")
        assert order.record().ended == ("a", first, second, "z")
        assert not steps.take()

    def test_o14_ends_from_two_workers_at_the_same_time(self, queue: Queue, make_steps: MakeSteps) -> None:
        """O14: two threads settle the branches of 30 orders as they come: each join starts once."""
        left, right = make_steps("l"), make_steps("r")
        queue.define(Chain("d", [Step("b", "l", after=()), Step("c", "r", after=()), Step("z", "l", after=["b", "c"])]))
        orders = [queue.start("d") for _ in range(30)]
        barrier = threading.Barrier(2)

        def settle(worker: StepWorker) -> None:
            worker.take()
            barrier.wait(10)
            for place in worker.runs:
                worker.end(*place)

        threads = [threading.Thread(target=settle, args=(worker,)) for worker in (left, right)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(left.take()) == sorted((order.id, "z") for order in orders)
        left.end_all(*left.runs)
        assert {order.state() for order in orders} == {"succeeded"}

    def test_o14_several_beginnings(self, queue: Queue, steps: StepWorker) -> None:
        """O14: steps that say none start at once; the order has succeeded when all ends of the flow have been reached."""
        queue.define(Chain("c", [Step("a", "t"), Step("b", "t"), Step("x", "t", after="a"), Step("y", "t")]))
        order = queue.start("c")
        assert sorted(step for _, step in steps.take()) == ["a", "b", "y"]
        steps.end_all((order.id, "y"), (order.id, "b"))
        steps.end(order.id, "a")
        assert order.state() == "running"
        steps.drain()
        assert order.state() == "succeeded"

    def test_o14_a_branch_fails(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O4: the waiting job of the other is taken back; the order is failed at once; resumed, it goes on with all."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        waiting = order.record().now["c"]
        assert steps.take(1) == [(order.id, "b")]
        steps.end(order.id, "b", outcome="failed")
        assert order.state() == "failed"
        assert now_of(order) == {"b": "failed", "c": "held"}
        assert not steps.take()
        assert queue.store.read(verbs.order_records(queue.store.keys, [order.id]))
        with pytest.raises(Exception, match="no such job"):
            queue.job(waiting)
        order.resume()
        assert sorted(step for _, step in steps.drain()) == ["b", "c", "z"]
        assert order.state() == "succeeded"

    def test_o14_a_branch_fails_while_the_other_runs(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O4: what runs ends, and counts; what would follow it is held until the order is resumed."""
        queue.define(
            Chain(
                "c",
                [
                    Step("b", "t", after=()),
                    Step("c", "t", after=()),
                    Step("c2", "t", after="c"),
                    Step("z", "t", after=["b", "c2"]),
                ],
            )
        )
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "b", outcome="failed")
        assert now_of(order) == {"b": "failed", "c": "job"}
        steps.end(order.id, "c")
        assert order.state() == "failed"
        assert now_of(order) == {"b": "failed", "c2": "held"}
        assert not steps.take()
        order.resume()
        assert sorted(steps.take()) == [(order.id, "b"), (order.id, "c2")]
        steps.end_all(*steps.runs)
        assert steps.drain() == [(order.id, "z")]

    def test_o14_resumed_while_the_other_branch_still_runs(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O10: it goes on with the failed one; the running one is not started twice."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        steps.take()
        steps.end(order.id, "b", outcome="failed")
        order.resume()
        assert steps.take() == [(order.id, "b")]
        steps.end_all((order.id, "b"), (order.id, "c"))
        assert steps.drain() == [(order.id, "z")]

    def test_o14_both_branches_fail(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O4: both are failed; resumed, both run again."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        steps.take()
        steps.end_all((order.id, "b"), (order.id, "c"), outcome="failed")
        assert now_of(order) == {"b": "failed", "c": "failed"}
        order.resume()
        assert sorted(step for _, step in steps.drain()) == ["b", "c", "z"]

    def test_o14_skip_of_one_branch_of_a_failed_order(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O8: what is skipped is that branch; the order stays failed at the other."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        steps.take(1)
        steps.end(order.id, "b", outcome="failed")
        assert order.skip("c") == "failed"
        assert now_of(order) == {"b": "failed"}
        assert order.skip("b") == "running"
        assert steps.drain() == [(order.id, "z")]

    def test_o14_both_branches_meet_errors_and_are_repaired_aside(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O4: each goes its own way aside; where one leads nowhere, that error stands, whatever the other does."""
        queue.define(
            Chain(
                "c",
                [
                    Step("b", "t", after=(), on_error="tell"),
                    Step("c", "t", after=(), on_error="fix"),
                    Step("z", "t", after=["b", "c"]),
                    Step("tell", "t", aside=True),
                    Step("fix", "t", aside=True),
                ],
            )
        )
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "b", outcome="failed")
        steps.end(order.id, "c", outcome="failed")
        assert sorted(steps.take()) == [(order.id, "fix"), (order.id, "tell")]
        steps.end(order.id, "tell")
        assert order.record().error_step == "b"
        assert now_of(order) == {"b": "failed", "fix": "job"}
        steps.end(order.id, "fix")
        assert order.state() == "failed"
        assert now_of(order) == {"b": "failed", "c": "failed"}
        order.resume()
        assert sorted(step for _, step in steps.drain()) == ["b", "c", "z"]
        assert order.state() == "succeeded"

    def test_o14_sent_back_into_one_branch(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O8: the other branch is kept; the join comes once both have ended, whatever it had done before."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        steps.take(1)
        order.suspend()
        steps.end(order.id, "b")
        assert now_of(order) == {"c": "held"}
        order.go_to("b")
        assert now_of(order) == {"b": "held", "c": "held"}
        order.resume()
        assert sorted(step for _, step in steps.drain()) == ["b", "c", "z"]
        order.go_to("b")
        assert [step for _, step in steps.drain()] == ["b", "z"]
        order.go_to("a")
        assert sorted(step for _, step in steps.drain()) == ["a", "b", "c", "z"]

    def test_o14_sent_to_the_join(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O8: what lies before it is left out, on every branch."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        order.go_to("z")
        assert steps.drain() == [(order.id, "z")]
        assert order.state() == "succeeded"

    def test_o14_outputs_of_ancestors_only(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O5: a step is handed what lies before it; what a branch beside it has returned by then is not its matter."""
        queue.define(diamond())
        order = queue.start("d", {"who": "order", "file": "a.dwg"})
        steps.take()
        steps.end(order.id, "a", value={"who": "a", "a": 1})
        steps.take(1)
        steps.end(order.id, "b", value={"who": "b", "b": 2})
        steps.take(1)
        assert steps.runs
        ((_, place),) = steps.runs
        assert place == "c"
        assert steps.params(order.id, "c") == {"who": "a", "a": 1, "file": "a.dwg"}
        assert set(steps.handed(order.id, "c").before) == {"a"}
        steps.end(order.id, "c", value={"who": "c", "c": 3})
        steps.take()
        assert steps.params(order.id, "z") == {"who": "c", "a": 1, "b": 2, "c": 3, "file": "a.dwg"}
        steps.end(order.id, "z")
        assert order.result(5) == {
            "a": {"who": "a", "a": 1},
            "b": {"who": "b", "b": 2},
            "c": {"who": "c", "c": 3},
            "z": None,
        }

    def test_o14_ctx_order_shows_ancestors_only(self, queue: Queue, burst: Burst) -> None:
        """O14, O5: so its outputs do not depend on which branch was faster."""
        seen: dict[str, list[str]] = {}
        handlers = Handlers()

        @handlers.handler("t", isolation="thread")
        def note(ctx: Context, **_params: Any) -> str:
            assert ctx.order
            seen[ctx.order.step] = sorted(ctx.order.outputs)
            return ctx.order.step

        queue.define(diamond())
        queue.start("d")
        burst(handlers)
        assert seen == {"a": [], "b": ["a"], "c": ["a"], "z": ["a", "b", "c"]}


LOOP = Chain(
    "loop",
    [Step("a", "t"), Step("b", "t", codes={2: "fix", "3-5": "a", "250-255": "tell"}), Step("z", "t"),
     Step("fix", "t", aside=True, then="a"), Step("tell", "t", aside=True)],
)  # fmt: skip


class TestChoices:
    """O15: Goto, or a mapped exit code, chooses the step that comes next."""

    def test_o15_forward_and_back(self, queue: Queue, steps: StepWorker) -> None:
        """O15: what lies between is left out; what lies behind the target runs again, and only its new outputs count."""
        queue.define(linear("c", "a", "b", "x", "z"))
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "a", value={"a": 1}, goto="x")
        assert steps.take() == [(order.id, "x")]
        assert order.record().ended == ("a",)
        steps.end(order.id, "x", value={"x": 1}, goto="b")
        assert steps.take() == [(order.id, "b")]
        assert order.record().ended == ("a",)  # x is to come again
        assert steps.params(order.id, "b") == {"a": 1}
        steps.end(order.id, "b", value={"b": 1})
        steps.take()
        assert steps.params(order.id, "x") == {"a": 1, "b": 1}
        steps.end(order.id, "x", value={"x": 2})
        assert steps.drain() == [(order.id, "z")]
        assert order.result(5) == {"a": {"a": 1}, "b": {"b": 1}, "x": {"x": 2}, "z": None}

    def test_o15_to_itself(self, queue: Queue, steps: StepWorker) -> None:
        """O15: it runs once more."""
        queue.define(linear("c", "a", "b"))
        order = queue.start("c")
        for n in range(5):
            steps.take()
            steps.end(order.id, "a", value={"n": n}, goto="a" if n < 4 else None)
        assert steps.drain() == [(order.id, "b")]
        assert order.outputs()["a"] == {"n": 4}

    def test_o15_aside(self, queue: Queue, steps: StepWorker) -> None:
        """O15, O4: to a step aside and on to its ``then``; one that leads nowhere ends the order, which has succeeded."""
        queue.define(LOOP)
        order = queue.start("loop")
        steps.take()
        steps.end(order.id, "a", goto="fix")
        assert steps.take() == [(order.id, "fix")]
        steps.end(order.id, "fix")
        assert steps.take() == [(order.id, "a")]
        steps.end(order.id, "a", goto="tell")
        assert steps.drain() == [(order.id, "tell")]
        assert order.state() == "succeeded"
        assert order.record().ended == ("fix", "a", "tell")

    def test_o15_an_unknown_target_fails_the_order_there(self, queue: Queue, steps: StepWorker) -> None:
        """O15: at the step that named it; resumed, that step runs again."""
        queue.define(linear("c", "a", "b"))
        order = queue.start("c")
        for _ in range(2):
            steps.take()
            steps.end(order.id, "a", value={"x": 1}, goto="nowhere")
            record = order.record()
            assert (record.state, record.error_step) == ("failed", "a")
            assert record.error == "step a: its chain has no step nowhere to go to"
            assert (record.ended, record.outputs) == ((), {})
            order.resume()
        assert steps.take() == [(order.id, "a")]
        assert steps.params(order.id, "a") == {}
        steps.end(order.id, "a")
        assert steps.drain() == [(order.id, "b")]

    def test_o15_a_branch_undoes_one_that_waits(self, queue: Queue, steps: StepWorker) -> None:
        """O15, O14: back to the fork while the other branch only waits: that waits no more, and comes again."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        assert steps.take(1) == [(order.id, "b")]
        steps.end(order.id, "b", goto="a")
        assert list(order.record().now) == ["a"]
        assert [job.step for job in queue.jobs(state="ready")] == ["a"]
        assert sorted(step for _, step in steps.drain()) == ["a", "b", "c", "z"]
        assert order.state() == "succeeded"

    def test_o15_a_branch_may_not_undo_one_that_runs(self, queue: Queue, steps: StepWorker) -> None:
        """O15, O14: back to the fork while the other branch is under way: failed there; once that has ended it may."""
        queue.define(diamond())
        order = queue.start("d")
        steps.take()
        steps.end(order.id, "a")
        steps.take()
        steps.end(order.id, "b", goto="a")
        assert order.record().error == "step b: it cannot go to step a while step c behind that is under way"
        steps.end(order.id, "c")
        order.resume()
        assert steps.take() == [(order.id, "b")]
        steps.end(order.id, "b", goto="a")
        assert sorted(step for _, step in steps.drain()) == ["a", "b", "c", "z"]
        assert order.state() == "succeeded"

    def test_o15_back_over_a_branch_that_failed(self, queue: Queue, steps: StepWorker) -> None:
        """O15, O14: the order stays failed, and at the step to which it was sent; that may be one to be passed."""
        queue.define(Chain("c", [Step("a", "t"), Step("b", "t"), Step("z", "t", after="a")]))
        for skipped in (False, True):
            order = queue.start("c")
            steps.take()
            steps.end(order.id, "a", outcome="failed")
            if skipped:
                queue.chains.skip("c", "a")
                admit(queue, "c")
            steps.end(order.id, "b", goto="a")
            assert (order.state(), now_of(order)) == ("failed", {"a": "failed"})
            order.resume()
            assert steps.drain() == [(order.id, step) for step in ("a", "z")[skipped:]]

    def test_o15_to_the_join(self, queue: Queue, steps: StepWorker) -> None:
        """O15, O14: it does not wait for the other branch, and does not come a second time when that ends."""
        for late in ("before", "after"):
            queue.define(diamond())
            order = queue.start("d")
            steps.take()
            steps.end(order.id, "a")
            steps.take()
            steps.end(order.id, "b", goto="z")
            assert (order.id, "z") in steps.take()
            ends = [(order.id, "c"), (order.id, "z")]
            for place in ends if late == "before" else ends[::-1]:
                steps.end(*place)
            assert not steps.take()
            assert order.state() == "succeeded"

    def test_o15_goto_of_a_skip_counts_as_a_good_end(self, queue: Queue, steps: StepWorker) -> None:
        """O15: also a handler that says it had nothing to do may choose."""
        queue.define(linear("c", "a", "b", "z"))
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "a", outcome="skipped", goto="z")
        assert steps.drain() == [(order.id, "z")]

    def test_o15_goto_of_a_stopped_and_of_a_skipped_step(self, queue: Queue, steps: StepWorker) -> None:
        """O15, O11: the target is gated as if it had been reached otherwise."""
        queue.define(linear("c", "a", "b", "z"))
        queue.chains.skip("c", "b")
        queue.chains.stop("c", "z")
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "a", goto="b")
        assert not steps.take()
        assert now_of(order) == {"z": "held"}
        order.cancel()

    def test_o15_loops_are_bounded(self, queue: Queue, steps: StepWorker, redis: Redis, namespace: str) -> None:
        """O15: after 10,000 runs of its steps the order fails, and says why; reset, it may begin again."""
        queue.define(linear("c", "a"))
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "a", goto="a")
        assert redis.hget(f"{{{namespace}}}:order:{order.id}", "runs") == b"2"
        redis.hset(f"{{{namespace}}}:order:{order.id}", "runs", 9_990)
        more = 0
        while steps.take():
            steps.end(order.id, "a", goto="a")
            more += 1
        assert more == 11  # one waited, and ten more until there are 10,000
        assert order.state() == "failed"
        assert "its steps have run 10000 times; does the chain go in a circle?" in (order.record().error or "")
        order.resume()
        assert order.state() == "failed"
        order.reset()
        assert steps.drain() == [(order.id, "a")]
        assert order.state() == "succeeded"

    @pytest.mark.parametrize("isolation", ["thread", "process"])
    @pytest.mark.parametrize("raised", [True, False])
    def test_o15_goto_from_a_handler(self, raised: bool, isolation: Any, queue: Queue, burst: Burst) -> None:
        """O15: returned or raised, with an output or without; by name or by a code that the step maps."""
        handlers = Handlers()

        def t(ctx: Context, n: int = 0, **_: Any) -> object:
            assert ctx.order
            match ctx.order.step, n:
                case "b", 0:
                    goto = Goto("fix", output={"n": 1})
                case "b", _:
                    goto = Goto(250, output={"said": n})
                case "fix", _:
                    return {"n": n + 1}
                case _:
                    return None
            if raised:
                raise goto
            return goto

        handlers.handler("t", isolation=isolation)(t)
        queue.define(LOOP)
        order = queue.start("loop")
        burst(handlers)
        assert [run.step for run in order.history() if run.step] == ["a", "b", "fix", "a", "b", "tell"]
        assert order.result(5) == {"fix": {"n": 2}, "a": None, "b": {"said": 2}, "tell": None}

    def test_o15_codes_of_a_command(self, queue: Queue, burst: Burst) -> None:
        """O15, C18: an exit code that the step maps, alone or in a range, is a good end; one it does not map is a failure."""
        code = "import sys; sys.exit([2, 4, 6, 0][int(sys.argv[1])])"
        count = "import json, sys; print('seatline:result', json.dumps(dict(n=int(sys.argv[1]) + 1)))"
        handlers = Handlers()
        handlers.shell("t", [sys.executable, "-c", code, "{n}"])
        handlers.shell("count", [sys.executable, "-c", count, "{n}"])
        queue.define(
            Chain(
                "c",
                [
                    Step("b", "t", codes={2: "fix", "3-5": "more"}),
                    Step("z", "count"),
                    Step("fix", "count", aside=True, then="b"),
                    Step("more", "count", aside=True, then="b"),
                ],
            )
        )
        order = queue.start("c", {"n": 0})
        burst(handlers)
        assert [run.step for run in order.history() if run.step] == ["b", "fix", "b", "more", "b"]
        assert order.state() == "failed"
        assert order.record().error == "step b: ExitCode: exit code 6"
        order = queue.start("c", {"n": 3})
        burst(handlers)
        assert order.result(5) == {"b": None, "z": {"n": 4}}


class TestStorm:
    """O10, O11, O14: workers, and people who open and close, suspend and resume, all at the same time."""

    def test_o14_every_run_ends_well_exactly_once(
        self, queue: Queue, start_worker: StartWorker, redis: Redis, namespace: str
    ) -> None:
        """O2, O10, O11, O14: 60 orders, 3 workers, 3 s of disorder: looks agree all the while, and all is done once."""
        seed = random.randrange(10**6)
        print(f"seed {seed}")  # noqa: T201 - shown when it fails
        rng = random.Random(seed)
        done, lock, calm = Counter[tuple[str, str, int | None]](), threading.Lock(), threading.Event()
        handlers = Handlers()

        @handlers.handler("t", isolation="thread")
        def t(ctx: Context, **_: Any) -> None:
            assert ctx.order
            ctx.sleep(rng.random() * 0.01)
            if not calm.is_set() and rng.random() < 0.1:
                raise ValueError("bad luck")
            with lock:
                done[ctx.order.id, ctx.order.step, ctx.order.element] += 1

        steps = [
            Step("a", "t", on_error="setback", setback=[0.02], setbacks=3),
            Step("b", "t", after="a", on_error="suspend"),
            Step("c", "t", after="a", each="files"),
            Step("z", "t", after=["b", "c"], on_error="fail"),
        ]

        def define(most: int | None) -> None:
            queue.define(Chain("d", steps, max_orders=most))

        define(5)
        for _ in range(3):
            start_worker(handlers, lease=60, renew=20, slots=2)
        orders: list[OrderHandle] = []
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if len(orders) < 60:
                orders.append(queue.start("d", {"files": [1, 2, 3]}, priority=rng.randint(1, 3)))
            match rng.randrange(6):
                case 0:
                    define(rng.choice((1, 5, 20)))
                case 1:
                    rng.choice((queue.chains.stop, queue.chains.start))("d", rng.choice((None, "a", "b", "c", "z")))
                case _:
                    with contextlib.suppress(WrongState):
                        order = rng.choice(orders)
                        rng.choice((order.suspend, order.resume, order.resume))()
            assert not disagreements(redis, namespace)
        calm.set()
        define(None)
        for step in (None, "a", "b", "c", "z"):
            queue.chains.start("d", step)
        for order in orders:
            while order.state() != "succeeded":
                with contextlib.suppress(WrongState):
                    order.resume()
                with contextlib.suppress(TimeoutError):
                    order.wait(0.05)
        expected: set[tuple[str, str, int | None]] = {
            (order.id, step, None) for order in orders for step in ("a", "b", "z")
        }
        expected |= {(order.id, "c", n) for order in orders for n in range(3)}
        assert done == dict.fromkeys(expected, 1)
