"""Orders on their way through a chain: rules O2 to O5, O7 and O12. What people do to them: test_order_act_rules.

Most drive the scripts by hand, one exchange at a time. After each test orders, chains and jobs must agree.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.order_hand import TYPES, Hand, admit, at, define, due_in, events, let_pass
from rules.order_look import disagreements
from rules.support import ProcessWorker, ThreadWorker, run_counts, run_lines

from seatline.producer import Chain, Queue, Retry, Step
from seatline.shared.calls.workers import Report
from seatline.shared.errors import OrderFailed
from seatline.worker import Context, Handlers, Skip, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]


class TestMove:
    """O2: the move to the next step is written by the script that settles the step."""

    def test_o2_the_next_step_is_there_with_the_reply(self, queue: Queue, hand: Hand) -> None:
        """O2: one exchange settles a step and reserves the next; its end is known at once."""
        define(queue)
        order = queue.start("c")
        assert (order.state(), at(order)) == ("running", {"check": "job"})
        (first,) = hand.worker.turn()
        (second,) = hand.worker.turn(first)
        (third,) = hand.worker.turn(second)
        assert [queue.job(each).step for each in (first, second, third)] == ["check", "publish", "tidy"]
        assert hand.worker.turn(third) == []
        record = order.record()
        assert (record.state, dict(record.now), record.ended) == ("succeeded", {}, ("check", "publish", "tidy"))
        assert record.started
        assert record.finished
        runs = order.history()
        assert [(run.step, run.job, run.attempt, run.worker, run.outcome) for run in runs] == [
            (step, int(job_id), 1, hand.worker.id, "succeeded")
            for step, job_id in zip(TYPES, (first, second, third), strict=False)
        ]
        assert all(run.started and run.started <= run.ended for run in runs)

    def test_o2_a_late_report_moves_nothing(self, queue: Queue, hand: Hand) -> None:
        """O2, Q14: its lease was taken back and the step runs again: the first run's report is refused."""
        define(queue)
        order = queue.start("c")
        job_id = hand.begin(order, "check")
        report = Report(job_id, hand.worker.held[job_id].token, "succeeded")
        assert hand.lose(job_id) == "ready"
        assert hand.begin(order, "check") == job_id
        hand.worker.turn(report, want=0)
        assert hand.worker.states == ["stale"]
        assert (order.record().ended, at(order)) == ((), {"check": "job"})
        hand.succeed(job_id)
        hand.worker.turn(report, want=0)
        assert hand.worker.states == ["stale"]
        assert at(order) == {"publish": "job"}
        assert events(order) == ["check lost", "check succeeded"]

    def test_o2_a_worker_killed_during_a_step(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """O2, O12: the step before is not run again, the step runs from its beginning, what follows follows."""
        queue.define(Chain("c", [Step("a", "plain"), Step("b", "hold.rerun"), Step("c", "plain")]))
        first = start_process("plain", "hold.*")
        order = queue.start("c", {"folder": str(tmp_path)})
        wait_until(lambda: len(run_lines(tmp_path)) == 2, 10, "step b")
        first.child.kill(group=True)
        start_process("plain", "hold.*")
        wait_until(lambda: len(run_lines(tmp_path)) == 3, 10, "step b again")
        (tmp_path / "go").touch()
        outputs = order.result(timeout=10)
        assert outputs["b"] == 2, "the second attempt"
        assert sorted(run_counts(tmp_path).values()) == [1, 1, 2]
        assert events(order) == ["a succeeded", "b lost", "b succeeded", "c succeeded"]
        assert disagreements(redis, namespace) == []

    def test_o2_a_command_is_over_before_the_move(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """O2: while the command runs the order is at its step; it dies with its worker, group and all, and runs again."""
        queue.define(Chain("c", [Step("a", "command"), Step("b", "plain")]))
        first = start_process("plain", "command")
        order = queue.start("c", {"folder": str(tmp_path)})
        pids = tmp_path / "pids"
        wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2, 10, "the command and its child")
        assert at(order) == {"a": "job"}
        first.child.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids.read_text().split()), 10)
        second = start_process("plain", "command")
        wait_until(lambda: len(pids.read_text().split()) == 4, 10, "the command again")
        assert (order.record().ended, at(order)) == ((), {"a": "job"})
        (tmp_path / "go").touch()
        order.result(timeout=10)
        assert events(order) == ["a lost", "a succeeded", "b succeeded"]
        assert order.history()[1].worker == second.id
        assert disagreements(redis, namespace) == []

    def test_o3_o6_o7_all_of_it_survives_a_killed_server(
        self, private_server: Callable[..., RealServer], make_queue: Callable[..., Queue], namespace: str
    ) -> None:
        """O3, O6, O7: id, title, priority, step, outputs, params, setback with its moment, suspension, history."""
        durable = private_server(appendonly=True, config=["appendfsync always"])
        queue = make_queue(durable.url)
        define(queue, Step("publish", "publish", on_error="setback", setback=[60, 300]))
        offer: dict[str, dict[str, int]] = {type_: {} for type_ in TYPES}
        with contextlib.closing(FakeWorker(durable.url, namespace, offer)) as worker:
            hand = Hand(worker)
            orders = [queue.start("c", {"n": n}, id=f"R-{n}", title="Release", priority=n) for n in (1, 2)]
            hand.run(orders[0], "check", value={"sheets": 3})
            hand.fail(hand.begin(orders[0], "publish"))
            orders[0].suspend()
            hand.begin(orders[1], "check")
            orders[1].suspend()
            before = [(order.record(), order.history()) for order in orders]
            durable.restart(kill=True)
            after = [(order.record(), order.history()) for order in orders]
            assert after == before
            (set_back, _), (held, _) = after
            assert (set_back.state, set_back.setbacks, set_back.outputs) == (
                "suspended",
                {"publish": 1},
                {"check": {"sheets": 3}},
            )
            assert (held.state, held.title, held.priority, held.params) == ("suspended", "Release", 2, {"n": 2})
            orders[0].resume()
            assert 50 < due_in(queue, orders[0], "publish") < 61
            hand.worker.settle()
            orders[1].resume()
            hand.begin(orders[1], "publish")


class TestOnError:
    """O4: what becomes of the order when a step has failed after its retries."""

    def test_o4_fail(self, queue: Queue, hand: Hand) -> None:
        """O4: by default the order fails there, says where and why, and goes on there when it is resumed."""
        define(queue)
        order = queue.start("c", {"n": 1})
        hand.run(order, "check", value={"n": 2})
        hand.fail(hand.begin(order, "publish"))
        record = order.record()
        assert (record.state, dict(record.now), record.ended) == ("failed", {"publish": "failed"}, ("check",))
        assert (record.error, record.error_step) == ("step publish: ValueError: no answer", "publish")
        with pytest.raises(
            OrderFailed, match=rf"order 0*{int(order.id)} \(c\) failed: step publish: .*orders resume"
        ) as failed:
            order.result(timeout=5)
        assert (failed.value.step, failed.value.error) == ("publish", record.error)
        assert hand.nothing()
        assert order.resume() == "running"
        job_id = hand.begin(order, "publish")
        assert hand.params(job_id) == {"n": 2}
        hand.succeed(job_id)
        hand.run(order, "tidy")
        record = order.record()
        assert (record.state, record.error, record.error_step) == ("succeeded", None, None)
        assert events(order) == [
            "check succeeded",
            "publish failed",
            "failed at step publish: ValueError: no answer",
            f"resume by {queue.by}",
            "publish succeeded",
            "tidy succeeded",
        ]

    def test_o4_only_after_its_retries(self, queue: Queue, burst: Burst, redis: Redis, namespace: str) -> None:
        """O4: the step's own retries first; each run is in the history; then on_error."""
        define(
            queue,
            Step("publish", "publish", retry=Retry(attempts=3, first=0.01, jitter=0), on_error="repair"),
            Step("repair", "repair", aside=True, then="tidy"),
        )
        order, handlers = queue.start("c"), Handlers()

        def work(ctx: Context) -> None:
            if ctx.order and ctx.order.step == "publish":
                raise ValueError("no answer")

        for type_ in TYPES:
            handlers.handler(type_, isolation="thread")(work)
        until = time.monotonic() + 10
        while order.state() == "running" and time.monotonic() < until:
            burst(handlers)
        runs = order.history()
        assert [(run.step, run.attempt, run.outcome) for run in runs] == [
            ("check", 1, "succeeded"),
            ("publish", 1, "failed"),
            ("publish", 2, "failed"),
            ("publish", 3, "failed"),
            ("repair", 1, "succeeded"),
            ("tidy", 1, "succeeded"),
        ]
        assert [run.text for run in runs[1:4]] == ["to run again: ValueError: no answer"] * 2 + [
            "ValueError: no answer"
        ]
        assert order.state() == "succeeded"
        assert order.record().ended == ("check", "repair", "tidy")
        assert disagreements(redis, namespace) == []

    def test_o4_suspend(self, queue: Queue, hand: Hand) -> None:
        """O4: it waits in front of the step for a person, and says why."""
        define(queue, Step("publish", "publish", on_error="suspend"))
        order = queue.start("c")
        hand.run(order, "check")
        for _ in range(2):
            hand.fail(hand.begin(order, "publish"))
            record = order.record()
            assert (record.state, dict(record.now), record.error) == ("suspended", {"publish": "held"}, None)
            assert record.suspended is not None
            assert record.suspended.endswith(" step publish failed: ValueError: no answer")
            assert hand.nothing()
            assert order.resume() == "running"
        assert order.record().suspended is None
        hand.run(order, "publish", "tidy")
        assert order.state() == "succeeded"

    def test_o4_an_error_step_repairs_and_leads_back(self, queue: Queue, hand: Hand) -> None:
        """O4: the step aside, then where it leads: what lies behind that comes again."""
        define(queue, Step("publish", "publish", on_error="repair"), Step("repair", "repair", aside=True, then="check"))
        order = queue.start("c")
        hand.run(order, "check", value={"v": 1})
        hand.fail(hand.begin(order, "publish"))
        assert (order.state(), at(order)) == ("running", {"repair": "job"})
        assert order.record().error is None
        repair = hand.begin(order, "repair")
        assert hand.params(repair) == {"v": 1}
        hand.succeed(repair, {"fixed": True})
        assert (order.record().ended, order.outputs()) == (("repair",), {"repair": {"fixed": True}})
        hand.run(order, "check", value={"v": 2})
        publish = hand.begin(order, "publish")
        assert hand.params(publish) == {"fixed": True, "v": 2}
        hand.succeed(publish)
        hand.run(order, "tidy")
        assert (order.state(), order.record().ended) == ("succeeded", ("repair", "check", "publish", "tidy"))

    def test_o4_an_error_step_that_leads_nowhere(self, queue: Queue, hand: Hand) -> None:
        """O4: it does its work, then the order is failed with the error that led to it, and goes on there."""
        define(queue, Step("publish", "publish", on_error="repair"), Step("repair", "repair", aside=True))
        order = queue.start("c")
        hand.run(order, "check")
        hand.fail(hand.begin(order, "publish"))
        hand.run(order, "repair")
        record = order.record()
        assert (record.state, record.error) == ("failed", "step publish: ValueError: no answer")
        assert (dict(record.now), record.ended) == ({"publish": "failed"}, ("check", "repair"))
        order.resume()
        hand.run(order, "publish", "tidy")
        assert order.state() == "succeeded"
        order.go_to("repair")
        hand.run(order, "repair")
        assert order.state() == "succeeded", "that failure is past"

    def test_o4_an_error_step_of_the_flow(self, queue: Queue, hand: Hand) -> None:
        """O4: any step may be named; that failure is past once it got there."""
        define(queue, Step("publish", "publish", on_error="check"), Step("repair", "repair", aside=True))
        order = queue.start("c")
        hand.run(order, "check", value=1)
        hand.fail(hand.begin(order, "publish"))
        assert (at(order), order.record().ended, order.outputs()) == ({"check": "job"}, (), {})
        order.go_to("repair")
        hand.run(order, "repair")
        assert order.state() == "succeeded"

    def test_o4_an_error_step_that_fails(self, queue: Queue, hand: Hand) -> None:
        """O4: the order is failed there, and can be resumed there."""
        define(queue, Step("publish", "publish", on_error="repair"), Step("repair", "repair", aside=True, then="tidy"))
        order = queue.start("c")
        hand.run(order, "check")
        hand.fail(hand.begin(order, "publish"))
        hand.fail(hand.begin(order, "repair"))
        record = order.record()
        assert (record.state, record.error_step, dict(record.now)) == ("failed", "repair", {"repair": "failed"})
        order.resume()
        hand.run(order, "repair", "tidy")
        assert (order.state(), order.record().ended) == ("succeeded", ("check", "repair", "tidy"))

    @pytest.mark.parametrize("on_error", ["fail", "suspend", "setback", "repair"])
    @pytest.mark.parametrize("outcome", ["interrupted", "cancelled"])
    def test_o4_what_a_person_is_to_decide(self, queue: Queue, hand: Hand, outcome: str, on_error: str) -> None:
        """O4: a step that was interrupted or cancelled has not failed; the order stops there whatever on_error says."""
        setback = [60] if on_error == "setback" else []
        define(
            queue,
            Step("publish", "publish", on_error=on_error, setback=setback),
            Step("repair", "repair", aside=True, then="tidy"),
        )
        order = queue.start("c")
        hand.run(order, "check")
        if outcome == "cancelled":
            assert queue.handle(order.record().now["publish"]).cancel() == "cancelled"
        else:
            hand.end(hand.begin(order, "publish"), outcome)
        record = order.record()
        assert (record.state, dict(record.now)) == ("failed", {"publish": "failed"})
        assert record.error == f"step publish: its job was {outcome}"
        order.resume()
        hand.run(order, "publish", "tidy")
        assert order.state() == "succeeded"

    def test_o4_a_skip_is_a_good_end(self, queue: Queue, hand: Hand) -> None:
        """O4, Q21: a handler that ends as skipped lets the order go on; the reason is in the history."""
        define(queue)
        order = queue.start("c")
        hand.end(hand.begin(order, "check"), "skipped", "reason", "nothing to do")
        assert at(order) == {"publish": "job"}
        (run,) = order.history()
        assert (run.outcome, run.text) == ("skipped", "nothing to do")


class TestSetback:
    """O7: count + 1, wait by the table of delays, try the same step; past the maximum it fails."""

    @pytest.mark.parametrize(
        ("delays", "most", "waits"),
        [
            ([60, 300], None, [60, 300]),
            ([60, 300], 4, [60, 300, 300, 300]),
            ([60, 300, 900], 2, [60, 300]),
            ([30], 1, [30]),
        ],
    )
    def test_o7_the_table_of_delays(
        self, queue: Queue, hand: Hand, delays: list[float], most: int | None, waits: list[float]
    ) -> None:
        """O7: beyond the table its last delay repeats; then the order fails, and can be resumed."""
        define(queue, Step("check", "check", on_error="setback", setback=delays, setbacks=most))
        order = queue.start("c")
        for count, seconds in enumerate(waits, 1):
            hand.fail(hand.begin(order, "check"))
            record = order.record()
            assert (record.state, record.setbacks, at(order)) == ("running", {"check": count}, {"check": "job"})
            assert seconds - 5 < due_in(queue, order, "check") <= seconds
            assert hand.nothing()
            let_pass(queue, order, "check")
        hand.fail(hand.begin(order, "check"))
        record = order.record()
        assert (record.state, dict(record.now)) == ("failed", {"check": "failed"})
        assert record.error == f"step check: ValueError: no answer (set back {len(waits)} times)"
        assert record.setbacks == {"check": len(waits)}
        order.resume()
        hand.run(order, "check")
        assert (at(order), order.record().setbacks) == ({"publish": "job"}, {})

    def test_o7_a_good_end_resets_the_count_of_that_step(self, queue: Queue, hand: Hand) -> None:
        """O7: of that step only; it begins at the first delay again."""
        define(
            queue,
            Step("check", "check", on_error="setback", setback=[60, 300]),
            Step("publish", "publish", on_error="setback", setback=[70, 400]),
        )
        order = queue.start("c")
        hand.fail(hand.begin(order, "check"))
        let_pass(queue, order, "check")
        hand.run(order, "check")
        assert order.record().setbacks == {}
        for count in (1, 2):
            hand.fail(hand.begin(order, "publish"))
            assert order.record().setbacks == {"publish": count}
            let_pass(queue, order, "publish")
        hand.succeed(hand.begin(order, "publish"), None, "goto", "check")
        assert order.record().setbacks == {}
        hand.fail(hand.begin(order, "check"))
        assert order.record().setbacks == {"check": 1}
        assert 55 < due_in(queue, order, "check") <= 60

    def test_o7_it_is_tried_again_at_its_moment(
        self, queue: Queue, start_worker: StartWorker, redis: Redis, namespace: str
    ) -> None:
        """O7: by an idle worker, after the delay and no sooner."""
        begun: list[float] = []
        handlers = Handlers()

        @handlers.handler("check", isolation="thread")
        def check(ctx: Context) -> int:
            begun.append(time.monotonic())
            if len(begun) < 3:
                raise ValueError("no answer")
            return len(begun)

        queue.define(Chain("c", [Step("check", "check", on_error="setback", setback=[0.3, 0.6])]))
        start_worker(handlers)
        assert queue.start("c").result(timeout=10) == {"check": 3}
        first, second, third = begun
        assert second - first >= 0.29
        assert third - second >= 0.59
        assert disagreements(redis, namespace) == []

    def test_o7_it_costs_the_worker_nothing_meanwhile(self, queue: Queue, hand: Hand) -> None:
        """O7: others go on while it waits."""
        define(queue, Step("check", "check", on_error="setback", setback=[60]))
        order, other = queue.start("c"), queue.start("c")
        hand.fail(hand.begin(order, "check"))
        hand.run(other, "check", "publish", "tidy")
        assert other.state() == "succeeded"

    def test_o7_o11_a_stopped_step_does_not_shorten_it(self, queue: Queue, hand: Hand) -> None:
        """O7, O11: stopped and started while it is set back, it still waits for its moment."""
        define(queue, Step("publish", "publish", on_error="setback", setback=[60]))
        order = queue.start("c")
        hand.run(order, "check")
        hand.fail(hand.begin(order, "publish"))
        order.suspend()
        queue.chains.stop("c", "publish")
        order.resume()
        assert order.record().now["publish"].startswith("held@")
        queue.chains.start("c", "publish")
        admit(queue)
        assert 55 < due_in(queue, order, "publish") <= 60


class TestOutputs:
    """O5: each step's result is stored when it ends and handed to the later ones."""

    def test_o5_params_and_results_are_merged(self, queue: Queue, hand: Hand) -> None:
        """O5: the later over the earlier, and over the order's own; what is no mapping is by its name only."""
        define(queue)
        order = queue.start("c", {"file": "a.dwg", "n": 1})
        job_id = hand.begin(order, "check")
        assert hand.params(job_id) == {"file": "a.dwg", "n": 1}
        hand.succeed(job_id, {"n": 2, "sheets": 3})
        job_id = hand.begin(order, "publish")
        assert hand.params(job_id) == {"file": "a.dwg", "n": 2, "sheets": 3}
        assert queue.job(job_id).params == hand.params(job_id)
        assert order.record().params == {"file": "a.dwg", "n": 1}
        hand.succeed(job_id, ["no", "mapping"])
        job_id = hand.begin(order, "tidy")
        assert (hand.params(job_id), hand.outputs(job_id)) == (
            {"file": "a.dwg", "n": 2, "sheets": 3},
            {"check", "publish"},
        )
        hand.succeed(job_id)
        assert order.result(timeout=5) == {"check": {"n": 2, "sheets": 3}, "publish": ["no", "mapping"], "tidy": None}

    def test_o5_in_a_handler(self, queue: Queue, burst: Burst) -> None:
        """O5: ctx.order.outputs["check"] gives one by name; a step that was passed, or returned nothing, has None."""
        seen: dict[str, Any] = {}
        handlers = Handlers()

        def work(ctx: Context) -> Any:
            assert ctx.order is not None
            seen[ctx.order.step] = (ctx.job.params, dict(ctx.order.outputs))
            if ctx.order.step == "a":
                return {"a": 1}
            if ctx.order.step == "b":
                raise Skip("not today")
            return ctx.order.outputs["a"]["a"] + 1 if ctx.order.step == "d" else None

        handlers.handler("t", isolation="thread")(work)
        queue.define(Chain("c", [Step(name, "t") for name in "abcde"]))
        order = queue.start("c", {"x": 1})
        order.skip("c")
        burst(handlers)
        assert seen["a"] == ({"x": 1}, {})
        assert seen["d"] == ({"x": 1, "a": 1}, {"a": {"a": 1}, "b": None, "c": None})
        assert seen["e"] == ({"x": 1, "a": 1}, {"a": {"a": 1}, "b": None, "c": None, "d": 2})
        assert order.outputs() == {"a": {"a": 1}, "b": None, "c": None, "d": 2, "e": None}

    @pytest.mark.parametrize("again", [{"b": 2}, [1], None])
    def test_o5_a_step_that_runs_again_replaces_its_output(self, queue: Queue, hand: Hand, again: object) -> None:
        """O5: whatever it returned the first time; while it runs it has none."""
        define(queue)
        order = queue.start("c")
        hand.run(order, "check", value={"a": 1})
        hand.succeed(hand.begin(order, "publish"), {"later": 1}, "goto", "check")
        job_id = hand.begin(order, "check")
        assert (hand.params(job_id), hand.outputs(job_id), order.outputs()) == ({}, set(), {})
        hand.succeed(job_id, again)
        assert order.outputs() == {"check": again}
        job_id = hand.begin(order, "publish")
        assert hand.params(job_id) == (again if isinstance(again, dict) else {})

    def test_o5_the_outputs_of_a_loop_do_not_add_up(self, queue: Queue, hand: Hand) -> None:
        """O5: what was replaced is no longer counted: the limit of 8 MiB is for what there is."""
        define(queue)
        order = queue.start("c")
        for _ in range(10):
            hand.run(order, "check", value=b"x" * 2**20)
            hand.succeed(hand.begin(order, "publish"), b"y" * 2**19, "goto", "check")
        hand.run(order, "check", "publish", "tidy")
        assert order.state() == "succeeded"

    def test_o5_more_than_8_mib_of_outputs(self, queue: Queue, hand: Hand) -> None:
        """O5: the order fails at that step and says what to do."""
        define(queue)
        order = queue.start("c")
        hand.run(order, "check", "publish", value=b"x" * 2**22)
        record = order.record()
        assert (record.state, record.error_step, record.ended) == ("failed", "publish", ("check",))
        assert record.error is not None
        assert "more than 8388608 bytes; write them to files" in record.error


class TestGoto:
    """O4, O5: a step that ends well and cannot go where it says."""

    def test_o5_it_has_no_output(self, queue: Queue, hand: Hand) -> None:
        """O5: the order fails there, and what the step returns is what it returns when it runs again."""
        define(queue, Step("tidy", "tidy", after=["check", "publish"]))
        order = queue.start("c")
        check, publish = hand.worker.turn(want=2)
        hand.succeed(publish, {"b": 1}, "goto", "check")
        record = order.record()
        assert (record.state, record.error_step, dict(record.now)) == (
            "failed",
            "publish",
            {"check": check, "publish": "failed"},
        )
        assert record.error == "step publish: it cannot go to step check while step check behind that is under way"
        assert [name for name in record.data if name.startswith("out.")] == []
        hand.succeed(check, {"a": 1})
        order.resume()
        hand.run(order, "publish")
        assert hand.params(hand.begin(order, "tidy")) == {"a": 1}
        assert order.outputs() == {"check": {"a": 1}, "publish": None}

    @pytest.mark.parametrize("opened", [False, True])
    def test_o11_where_the_order_is_held(
        self, queue: Queue, hand: Hand, redis: Redis, namespace: str, opened: bool
    ) -> None:
        """O4, O11: a branch goes to a step in front of which another one stands: the order stands there once, or goes on."""
        define(queue, Step("tidy", "tidy", after=["check", "publish"]))
        queue.chains.stop("c", "publish")
        order = queue.start("c")
        check = hand.begin(order, "check")
        if opened:
            queue.chains.start("c", "publish")
        hand.succeed(check, 1, "goto", "publish")
        assert at(order) == {"publish": "job" if opened else "held"}
        assert redis.zcard(f"{{{namespace}}}:chain:c:held:publish") == (0 if opened else 1)

    def test_o4_where_the_order_has_failed(self, queue: Queue, hand: Hand) -> None:
        """O4: a branch goes to the step at which the order failed meanwhile: it is still failed there, to be resumed."""
        define(queue, Step("tidy", "tidy", after=["check", "publish"]))
        order = queue.start("c")
        check, publish = hand.worker.turn(want=2)
        hand.fail(check)
        hand.succeed(publish, 1, "goto", "check")
        assert (order.state(), at(order), order.record().ended) == ("failed", {"check": "failed"}, ("publish",))
        assert hand.nothing()
        order.resume()
        hand.run(order, "check", "tidy")
        assert order.state() == "succeeded"


class TestSteps:
    """O4: a step's own priority, seats, timeout, retry and if_lost."""

    def test_o4_priority(self, queue: Queue, hand: Hand) -> None:
        """O4: the order's, unless the step has its own."""
        define(queue, Step("publish", "publish", priority=50))
        late, soon = queue.start("c", priority=20), queue.start("c", priority=5)
        other = queue.enqueue("repair", priority=30)
        hand.run(soon, "check")
        assert queue.job(soon.record().now["publish"]).priority == 50
        hand.run(late, "check")
        assert hand.worker.turn(want=1) == [other.id]
        hand.run(soon, "publish")
        assert queue.job(soon.record().now["tidy"]).priority == 5
        hand.run(soon, "tidy")
        hand.run(late, "publish", "tidy")
        hand.worker.settle()

    def test_o4_its_job_carries_the_rest(self, queue: Queue, hand: Hand) -> None:
        """O4: seats, limits and what happens if it is lost go with the job; title and tenant are the order's."""
        queue.pools.set("vault", 1)
        rule = Retry(attempts=4, first=5)
        define(queue, Step("check", "check", uses={"vault": 1}, timeout=600, retry=rule, if_lost="interrupt"))
        order = queue.start("c", title="Release", tenant="Engineering")
        record = queue.job(order.record().now["check"])
        assert (record.uses, record.title, record.tenant) == ({"vault": 1}, "Release", "Engineering")
        assert (record.order, record.chain, record.step, record.if_lost) == (order.id, "c", "check", "interrupt")
        job_id = hand.begin(order, "check")
        assert queue.pools["vault"].in_use == 1
        fields = dict(zip(*[iter(hand.worker.held[job_id].flat)] * 2, strict=True))
        assert fields[b"timeout"] == b"600000"
        assert fields[b"retry"].startswith(b"attempts:4,first:5,")
        hand.succeed(job_id)
        assert queue.pools["vault"].in_use == 0

    def test_o4_over_what_the_handler_says(self, queue: Queue, burst: Burst, redis: Redis, namespace: str) -> None:
        """O4: a step's timeout and retry rule hold in its runs only."""
        handlers, attempts = Handlers(), list[str]()

        @handlers.handler("t", isolation="thread", timeout=60, retry=Retry(attempts=1))
        def work(ctx: Context) -> None:
            attempts.append(ctx.order.step if ctx.order else "job")
            if ctx.order and ctx.order.step == "b":
                ctx.sleep(30)

        queue.define(
            Chain("c", [Step("a", "t"), Step("b", "t", timeout=0.1, retry=Retry(attempts=2, first=0, jitter=0))])
        )
        order = queue.start("c")
        burst(handlers)
        assert attempts == ["a", "b", "b"]
        record = order.record()
        assert (record.state, record.error) == ("failed", "step b: Timeout: it ran longer than its timeout of 0.1 s")
        assert disagreements(redis, namespace) == []

    def test_o4_if_lost_interrupt(self, queue: Queue, hand: Hand) -> None:
        """O4, T4: a person decides; resumed, it runs."""
        define(
            queue, Step("check", "check", if_lost="interrupt", on_error="repair"), Step("repair", "repair", aside=True)
        )
        order = queue.start("c")
        assert hand.lose(hand.begin(order, "check")) == "interrupted"
        record = order.record()
        assert (record.state, dict(record.now)) == ("failed", {"check": "failed"})
        assert record.error is not None
        assert record.error.startswith("step check: its worker ")
        order.resume()
        hand.run(order, "check", "publish", "tidy")


class TestLosses:
    """O12: a drained or killed worker is no failure of a step."""

    @pytest.mark.parametrize("outcome", ["abandoned", "returned"])
    def test_o12_handed_back(self, queue: Queue, hand: Hand, outcome: str) -> None:
        """O12: same job, at its place; no attempt is counted, however often."""
        define(queue, Step("check", "check", on_error="repair"), Step("repair", "repair", aside=True))
        order = queue.start("c")
        job_id = hand.begin(order, "check")
        for _ in range(5):
            hand.end(job_id, outcome)
            assert (order.state(), dict(order.record().now)) == ("running", {"check": job_id})
            record = queue.job(job_id)
            assert (record.state, record.attempt, record.losses) == ("ready", 0, 0)
            assert hand.begin(order, "check") == job_id
            assert hand.worker.held[job_id].attempt == 1
        hand.succeed(job_id)
        assert at(order) == {"publish": "job"}

    def test_o12_the_third_loss(self, queue: Queue, hand: Hand) -> None:
        """O12: it runs again twice, with the same outputs; lost for the third time it waits for a person."""
        define(queue, Step("publish", "publish", on_error="setback", setback=[60]))
        order = queue.start("c")
        hand.run(order, "check", value={"a": 1})
        for _ in range(2):
            job_id = hand.begin(order, "publish")
            assert hand.params(job_id) == {"a": 1}
            assert hand.lose(job_id) == "ready"
            assert (order.state(), dict(order.record().now)) == ("running", {"publish": job_id})
        assert hand.lose(hand.begin(order, "publish")) == "interrupted"
        record = order.record()
        assert (record.state, dict(record.now), record.setbacks) == ("failed", {"publish": "failed"}, {})
        assert record.error is not None
        assert "was lost while it ran (lost 3 times)" in record.error
        assert events(order)[1:4] == ["publish lost", "publish lost", "publish interrupted"]
        order.resume()
        hand.run(order, "publish", "tidy")
        assert order.state() == "succeeded"

    @pytest.mark.parametrize("grace", [0.3, 20.0], ids=["too short", "long enough"])
    def test_o12_a_worker_is_drained(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path, grace: float
    ) -> None:
        """O12: SIGTERM; the step ends within the grace and the order moves on, or it is handed back, uncounted."""
        retry = Retry(attempts=1)
        queue.define(Chain("c", [Step("a", "deaf.interrupt", retry=retry, if_lost="rerun"), Step("b", "plain")]))
        first = start_process("plain", "deaf.*", grace=grace)
        order = queue.start("c", {"folder": str(tmp_path)})
        wait_until(lambda: run_lines(tmp_path), 10, "step a")
        first.child.signal(signal.SIGTERM)
        wait_until(lambda: "SIGTERM" in first.child.errors())
        if grace > 1:
            (tmp_path / "go").touch()
        summary = first.wait()
        assert summary["handed_back"] == (grace < 1)
        assert at(order) == ({"a": "job"} if grace < 1 else {"b": "job"})
        record = queue.job(next(iter(order.record().now.values())))
        assert (record.state, record.attempt, record.losses) == ("ready", 0, 0)
        (tmp_path / "go").touch()
        start_process("plain", "deaf.*")
        assert order.result(timeout=10)["a"] == 1, "the first attempt that counts"
        assert sum(run_counts(tmp_path).values()) == (3 if grace < 1 else 2)
        assert disagreements(redis, namespace) == []

    def test_o12_three_killed_workers(
        self, queue: Queue, start_process: StartProcess, redis: Redis, namespace: str, tmp_path: Path
    ) -> None:
        """O12: SIGKILL three times in the same step: interrupted, so the order has failed there; resumed, it goes on."""
        queue.define(Chain("c", [Step("a", "plain"), Step("b", "deaf.rerun"), Step("c", "plain")]))
        order = queue.start("c", {"folder": str(tmp_path)})
        for runs in (2, 3, 4):
            worker = start_process("plain", "deaf.*")
            wait_until(lambda runs=runs: len(run_lines(tmp_path)) == runs, 15, "step b")  # type: ignore[misc]
            assert order.state() == "running"
            worker.child.kill(group=True)
        start_process("plain", "deaf.*")
        with pytest.raises(OrderFailed, match="lost 3 times"):
            order.result(timeout=15)
        (tmp_path / "go").touch()
        order.resume()
        order.result(timeout=10)
        assert [line for line in events(order) if "resume" not in line and "failed" not in line] == [
            "a succeeded",
            "b lost",
            "b lost",
            "b interrupted",
            "b succeeded",
            "c succeeded",
        ]
        assert disagreements(redis, namespace) == []
