"""A step that runs once for every element of a list, and joins: rule O14, ``each``."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.order_look import disagreements
from rules.step_worker import MakeSteps, StepWorker, admit, now_of, pause
from rules.support import ProcessWorker, ThreadWorker, run_lines

from seatline.producer import Chain, OrderHandle, Queue, Step
from seatline.shared.calls import orders as verbs
from seatline.shared.errors import NoSuchJob, WrongState
from seatline.worker import Context, Goto, Handlers, Retry, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]


@pytest.fixture(autouse=True)
def agreement(redis: Redis, namespace: str) -> Iterator[None]:
    """After each test orders, chains and jobs agree."""
    yield
    assert not disagreements(redis, namespace)


def scan(**options: Any) -> Chain:
    """Return a chain whose step ``scan`` runs for each of ``files``, with ``join`` behind it."""
    return Chain("c", [Step("scan", "t", each="files", **options), Step("join", "t")])


def counts(queue: Queue, order: OrderHandle) -> tuple[int, int, int, int]:
    """How many elements there are, have ended well, have failed, are jobs now."""
    return queue.store.read(verbs.elements(queue.store.keys, order.id, "scan"))


def begin(queue: Queue, steps: StepWorker, count: int, **options: Any) -> OrderHandle:
    """Start an order whose list of so many numbers is expanded."""
    queue.define(scan(**options))
    order = queue.start("c", {"files": list(range(count))})
    assert steps.take() == [(order.id, "scan")]
    assert steps.expand(order.id, "scan", list(range(count)))
    return order


def elements(steps: StepWorker) -> list[int]:
    """The elements that it runs, in the order reserved."""
    return [place[2] for place in steps.runs if len(place) == 3]


class TestAll:
    """O14: one run for every element, then one list of results, in order."""

    @pytest.mark.parametrize("count", [0, 1, 2, 200, 201])
    def test_o14_results_in_order(self, count: int, queue: Queue, burst: Burst) -> None:
        """O14: whatever their number; an element that returns nothing is None in its place."""
        handlers = Handlers()
        seen: list[tuple[int | None, object]] = []

        @handlers.handler("t", isolation="thread")
        def t(ctx: Context, file: str = "", **params: Any) -> object:
            assert ctx.order
            if ctx.order.step == "join":
                return None
            seen.append((ctx.order.element, file))
            assert params == {"scale": 2}
            assert ctx.order.params == {"scale": 2}
            return None if (ctx.order.element or 0) % 3 == 1 else {"name": file.upper()}

        queue.define(scan(item="file"))
        files = [f"a{n}" for n in range(count)]
        order = queue.start("c", {"files": files, "scale": 2})
        burst(handlers, slots=3)
        expected = [None if n % 3 == 1 else {"name": file.upper()} for n, file in enumerate(files)]
        assert order.result(5) == {"scan": expected, "join": None}
        assert sorted(seen, key=lambda pair: pair[0] or 0) == list(enumerate(files))
        assert order.record().now == {}

    def test_o14_ten_thousand(self, queue: Queue, steps: StepWorker) -> None:
        """O14: at most 200 of them are jobs at a time, and each runs once."""
        steps.slots = 256
        order = begin(queue, steps, 10_000)
        ran = Counter[int]()
        while got := steps.turn():
            assert len(got) <= 200
            assert counts(queue, order)[3] <= 200
            ran.update(elements(steps))
            if (order.id, "join") in steps.runs:
                break
            reports = [steps.report(job, "succeeded", result=b"\x05") for job in got]
            steps.turn(*reports, want=0)
        assert len(ran) == 10_000
        assert set(ran.values()) == {1}
        steps.end(order.id, "join")
        assert order.outputs()["scan"] == [5] * 10_000

    @pytest.mark.parametrize(
        ("files", "told"),
        [
            (list(range(10_001)), "10,001 elements are more than the limit of 10,000"),
            ("a.dwg", "the param is a str, not a list"),
            (None, "the param is a NoneType, not a list"),
        ],
    )
    def test_o14_what_is_no_list_or_too_long(self, files: object, told: str, queue: Queue, burst: Burst) -> None:
        """O14: the step fails with BadParams; nothing is stored and nothing runs."""
        handlers = Handlers()
        handlers.handler("t", isolation="thread", retry=Retry(attempts=3, first=0.01))(lambda ctx: ctx.id)
        queue.define(scan())
        order = queue.start("c", {"files": files})
        burst(handlers)
        record = order.record()
        assert (record.state, record.error_step) == ("failed", "scan")
        assert f"BadParams: each='files' of step scan: {told}" in (record.error or "")
        assert len(order.history()) == 2  # no retry: the same again would end the same

    def test_o14_the_list_may_be_an_output(self, queue: Queue, burst: Burst) -> None:
        """O14, O5: of a step before it; the list of results is an output as any other."""
        handlers = Handlers()

        @handlers.handler("t", isolation="thread")
        def t(ctx: Context, **params: Any) -> object:
            assert ctx.order
            match ctx.order.step:
                case "find":
                    return {"files": [1, 2, 3]}
                case "scan":
                    return params["item"] * 10
                case _:
                    return {"sum": sum(ctx.order.outputs["scan"]), "files": params["files"]}

        queue.define(Chain("c", [Step("find", "t"), Step("scan", "t", each="files"), Step("join", "t")]))
        order = queue.start("c", {"files": "to be found"})
        burst(handlers)
        assert order.result(5)["scan"] == [10, 20, 30]
        assert order.result(5)["join"] == {"sum": 60, "files": [1, 2, 3]}

    def test_o14_two_lists_side_by_side(self, queue: Queue, steps: StepWorker) -> None:
        """O14: each joins for itself, then the flow does."""
        queue.define(
            Chain(
                "c",
                [
                    Step("x", "t", each="files", after=()),
                    Step("y", "t", each="files", after=()),
                    Step("z", "t", after=["x", "y"]),
                ],
            )
        )
        order = queue.start("c", {"files": [1, 2]})
        steps.take()
        steps.expand(order.id, "x", [1, 2])
        steps.expand(order.id, "y", [1, 2, 3])
        assert len(steps.take()) == 5
        steps.end_all(*[place for place in steps.runs if place[1] == "x"], value=7)
        assert now_of(order) == {"y": "each"}
        steps.end_all(*steps.runs, value=8)
        assert steps.drain() == [(order.id, "z")]
        assert order.outputs() == {"x": [7, 7], "y": [8, 8, 8], "z": None}

    def test_o14_ends_of_all_elements_in_one_turn(self, queue: Queue, steps: StepWorker) -> None:
        """O14: the join comes once; those still to come are made in the same step."""
        order = begin(queue, steps, 150)
        steps.take()
        assert len(elements(steps)) == 100
        steps.end_all(*steps.runs)
        steps.take()
        steps.end_all(*steps.runs)
        assert steps.drain() == [(order.id, "join")]

    def test_o14_a_choice_of_an_element_is_none(self, queue: Queue, burst: Burst) -> None:
        """O14, O15: Goto from one of many runs: the element fails, for it is not one run that chooses."""
        handlers = Handlers()

        @handlers.handler("t", isolation="thread")
        def t(ctx: Context, **_: Any) -> object:
            return Goto("join") if ctx.order and ctx.order.element == 1 else None

        queue.define(scan())
        order = queue.start("c", {"files": [0, 1, 2]})
        burst(handlers)
        record = order.record()
        assert record.state == "failed"
        assert "1 of 3 elements failed; element 1: " in (record.error or "")


class TestPartial:
    """O14: some elements fail."""

    def test_o14_join(self, queue: Queue, steps: StepWorker) -> None:
        """O14: None in the place of what failed; the others all run."""
        order = begin(queue, steps, 5, partial="join")
        steps.take()
        steps.end_all((order.id, "scan", 1), (order.id, "scan", 4), outcome="failed")
        steps.end_all(*steps.runs, value="ok")
        assert steps.drain() == [(order.id, "join")]
        assert order.outputs()["scan"] == ["ok", None, "ok", "ok", None]
        said = [run.text for run in order.history()]
        assert "step scan: 5 elements, 2 failed" in said
        assert sum(run.outcome == "failed" for run in order.history()) == 2

    def test_o14_join_of_none(self, queue: Queue, steps: StepWorker) -> None:
        """O14: all failed: a list of None, if the step says that it joins."""
        order = begin(queue, steps, 3, partial="join")
        steps.take()
        steps.end_all(*steps.runs, outcome="failed")
        steps.drain()
        assert order.outputs()["scan"] == [None] * 3

    def test_o14_fail_and_resume(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O4: what runs ends, no more begin; resumed, only what failed and what had not begun runs."""
        order = begin(queue, steps, 500)
        steps.take(10)
        steps.end(order.id, "scan", 3, outcome="failed")
        assert (order.state(), now_of(order)) == ("running", {"scan": "each"})
        ran = set(elements(steps)) | {3}
        steps.end_all(*steps.runs, value=1)
        while steps.take():
            ran |= set(elements(steps))
            assert max(elements(steps)) < 200, "more were begun although one had failed"
            steps.end_all(*steps.runs, value=1)
        record = order.record()
        assert (record.state, record.error_step) == ("failed", "scan")
        assert record.error == "step scan: 1 of 500 elements failed; element 3: Boom: it broke"
        order.resume()
        again: list[int] = []
        while steps.take():
            again += elements(steps)
            if (order.id, "join") in steps.runs:
                break
            steps.end_all(*steps.runs, value=2)
        assert again[0] == 3
        assert not ran - {3} & set(again)
        assert len(again) == len(set(again))
        assert set(again) | ran == set(range(500))
        steps.end(order.id, "join")
        assert order.outputs()["scan"] == [1 if n in ran - {3} else 2 for n in range(500)]

    def test_o14_fails_again_and_again(self, queue: Queue, steps: StepWorker) -> None:
        """O14: each time only what is left runs."""
        order = begin(queue, steps, 4)
        steps.take()
        steps.end_all((order.id, "scan", 0), (order.id, "scan", 2), value=0)
        steps.end_all(*steps.runs, outcome="failed")
        for left in ([1, 3], [3], []):
            assert order.state() == ("failed" if left else "running")
            if not left:
                break
            order.resume()
            steps.take()
            assert elements(steps) == left
            steps.end_all((order.id, "scan", left[0]), value=left[0])
            steps.end_all(*steps.runs, outcome="failed")
        steps.drain()
        assert order.outputs()["scan"] == [0, 1, 0, 3]

    @pytest.mark.parametrize("on_error", ["setback", "suspend", "fix"])
    def test_o14_on_error(self, on_error: str, queue: Queue, steps: StepWorker) -> None:
        """O14, O4, O7: set back or suspended, only what is left runs again; through a step aside, all of it."""
        options: dict[str, Any] = {"setback": [0.02], "setbacks": 2} if on_error == "setback" else {}
        steps_of = [Step("scan", "t", each="files", on_error=on_error, **options), Step("join", "t")]
        if on_error == "fix":
            steps_of.append(Step("fix", "t", aside=True, then="scan"))
        queue.define(Chain("c", steps_of))
        order = queue.start("c", {"files": [0, 1, 2]})
        steps.take()
        steps.expand(order.id, "scan", [0, 1, 2])
        steps.take()
        steps.end(order.id, "scan", 1, outcome="failed")
        steps.end_all(*steps.runs, value="first")
        if on_error == "setback":
            assert order.record().setbacks == {"scan": 1}
            pause(0.04)
        elif on_error == "suspend":
            assert order.state() == "suspended"
            order.resume()
        else:
            assert steps.take() == [(order.id, "fix")]
            steps.end(order.id, "fix")
        if (order.id, "scan") not in steps.runs and steps.take():
            assert list(steps.runs) == [(order.id, "scan")]
        steps.expand(order.id, "scan", [0, 1, 2])
        steps.take()
        assert elements(steps) == ([0, 1, 2] if on_error == "fix" else [1])
        steps.end_all(*steps.runs, value="second")
        steps.drain()
        assert order.outputs()["scan"] == (["second"] * 3 if on_error == "fix" else ["first", "second", "first"])
        assert order.record().setbacks == {}

    def test_o14_retries_of_an_element(self, queue: Queue, start_worker: StartWorker) -> None:
        """O14, C16: an element is retried alone, by its step's rule."""
        handlers, ran = Handlers(), Counter[Any]()

        @handlers.handler("t", isolation="thread")
        def t(ctx: Context, **_: Any) -> int:
            assert ctx.order
            ran[ctx.order.element] += 1
            if ctx.order.element == 2 and ctx.attempt < 3:
                raise ValueError("not yet")
            return ctx.attempt

        queue.define(scan(retry=Retry(attempts=3, first=0.01)))
        start_worker(handlers)
        order = queue.start("c", {"files": [0, 1, 2, 3]})
        assert order.result(5)["scan"] == [1, 1, 3, 1]
        assert ran == {0: 1, 1: 1, 2: 3, 3: 1, None: 1}

    def test_o14_another_branch_fails(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O4: waiting elements are taken back, running ones end and count; resumed, the rest runs."""
        queue.define(
            Chain(
                "c",
                [
                    Step("scan", "t", each="files", after=()),
                    Step("b", "t", after=()),
                    Step("z", "t", after=["scan", "b"]),
                ],
            )
        )
        order = queue.start("c", {"files": list(range(20))})
        steps.take()
        steps.expand(order.id, "scan", list(range(20)))
        steps.take(5)
        steps.end(order.id, "b", outcome="failed")
        assert order.state() == "failed"
        assert counts(queue, order) == (20, 0, 0, 5)
        assert not steps.take()
        steps.end_all(*steps.runs, value=1)
        assert (order.state(), now_of(order)) == ("failed", {"b": "failed", "scan": "each"})
        assert counts(queue, order) == (20, 5, 0, 0)
        order.resume()
        ran = steps.drain()
        assert sorted(place[2] for place in ran if len(place) == 3) == list(range(5, 20))
        assert [place[1] for place in ran if len(place) == 2] == ["b", "z"]
        assert order.state() == "succeeded"


class TestActs:
    """O6, O8: what people do while elements are under way."""

    def test_o14_suspend_in_the_middle(self, queue: Queue, steps: StepWorker) -> None:
        """O6, O14: waiting elements are taken back, running ones end; resumed, the rest runs, each once."""
        order = begin(queue, steps, 300)
        steps.take(5)
        waiting = list(queue.jobs(state="ready"))
        assert len(waiting) == 195
        assert order.suspend() == "suspended"
        assert counts(queue, order) == (300, 0, 0, 5)
        with pytest.raises(NoSuchJob):
            queue.job(waiting[0].id)
        assert not steps.take()
        steps.end_all(*steps.runs, value=1)
        assert not steps.take()
        assert (order.state(), counts(queue, order)) == ("suspended", (300, 5, 0, 0))
        order.resume()
        ran = steps.drain()
        assert [place[2] for place in ran[:-1]] == list(range(5, 300))
        assert ran[-1] == (order.id, "join")

    def test_o14_suspend_while_it_is_expanded(self, queue: Queue, steps: StepWorker) -> None:
        """O6, O14: the expansion ends; elements begin when it is resumed."""
        queue.define(scan())
        order = queue.start("c", {"files": [0, 1]})
        steps.take()
        order.suspend()
        steps.expand(order.id, "scan", [0, 1])
        assert not steps.take()
        order.resume()
        assert len(steps.drain()) == 3
        assert order.state() == "succeeded"

    def test_o14_the_last_element_ends_while_suspended(self, queue: Queue, steps: StepWorker) -> None:
        """O6, O14: joined; the order waits in front of what follows."""
        order = begin(queue, steps, 2)
        steps.take()
        order.suspend()
        steps.end_all(*steps.runs)
        assert (order.state(), now_of(order)) == ("suspended", {"join": "held"})
        order.resume()
        assert steps.drain() == [(order.id, "join")]

    def test_o14_cancel(self, queue: Queue, steps: StepWorker) -> None:
        """O8, O14: waiting elements go, running ones are asked to stop; cancelled when they have."""
        order = begin(queue, steps, 250)
        steps.take(3)
        assert order.cancel() == "asked"
        assert not steps.take()
        assert list(steps.renew().words) == ["cancel"] * 3
        steps.end(order.id, "scan", 0)
        steps.end(order.id, "scan", 1, outcome="failed")
        assert order.state() == "running"
        steps.end(order.id, "scan", 2, outcome="cancelled")
        assert order.state() == "cancelled"
        assert not steps.take()

    @pytest.mark.parametrize("running", [0, 3])
    def test_o14_remove(self, running: int, queue: Queue, steps: StepWorker, redis: Redis, namespace: str) -> None:
        """O8, O14: what runs ends first; nothing is left, neither jobs nor elements; also if no worker were there."""
        order = begin(queue, steps, 250)
        if running:
            steps.take(running)
        assert order.remove() == ("asked" if running else "removed")
        assert not steps.take()
        steps.end_all(*steps.runs)
        assert not redis.keys(f"{{{namespace}}}:order:*")
        assert not list(queue.jobs(state="ready"))

    def test_o14_reset_and_go_to(self, queue: Queue, steps: StepWorker) -> None:
        """O8, O14: refused while elements run; suspended, and with none running, the list begins anew."""
        order = begin(queue, steps, 30)
        steps.take(3)
        for act in (order.reset, lambda: order.go_to("scan"), lambda: order.skip("scan")):
            with pytest.raises(WrongState, match="under way"):
                act()
        order.suspend()
        with pytest.raises(WrongState):
            order.reset()
        steps.end_all(*steps.runs, value=1)
        order.go_to("scan")
        order.resume()
        assert steps.take() == [(order.id, "scan")]
        steps.expand(order.id, "scan", [5, 6])
        ran = steps.drain()
        assert ran == [(order.id, "scan", 0), (order.id, "scan", 1), (order.id, "join")]
        assert order.outputs()["scan"] == [None, None]

    def test_o14_skip_where_it_failed(self, queue: Queue, steps: StepWorker) -> None:
        """O8, O14: passed, with what its elements have returned."""
        order = begin(queue, steps, 3)
        steps.take()
        steps.end(order.id, "scan", 1, outcome="failed")
        steps.end_all(*steps.runs)
        order.skip("scan")
        assert steps.drain() == [(order.id, "join")]
        assert order.outputs() == {"scan": None, "join": None}

    def test_o14_a_stopped_step_lets_its_elements_end(self, queue: Queue, steps: StepWorker) -> None:
        """O11, O14: what had begun as a step goes on to its end; the next order is held in front of it."""
        order = begin(queue, steps, 250)
        queue.chains.stop("c", "scan")
        late = queue.start("c", {"files": [1]})
        assert len(steps.drain()) == 251
        assert order.state() == "succeeded"
        assert now_of(late) == {"scan": "held"}
        queue.chains.start("c", "scan")
        admit(queue, "c")
        steps.take()
        steps.expand(late.id, "scan", [1])
        steps.drain()

    def test_o14_cancelled_as_a_job(self, queue: Queue, steps: StepWorker) -> None:
        """O14, Q23: somebody cancels one element's job: it has not ended well, so the step has not."""
        order = begin(queue, steps, 3)
        steps.take(1)
        (waiting, *_) = queue.jobs(state="ready")
        queue.handle(waiting.id).cancel()
        steps.end_all(*steps.runs)
        steps.drain()
        assert order.record().error == "step scan: 1 of 3 elements failed; element 1: its job was cancelled"
        order.resume()
        steps.drain()
        assert order.state() == "succeeded"


class TestKills:
    """O1, O12, O14: workers and servers die in the middle."""

    def test_o14_killed_between_two_calls(self, queue: Queue, make_steps: MakeSteps) -> None:
        """O14: lost after half of the list was stored: the next worker expands it anew; the first one can store no more."""
        first, second = make_steps(lease=0.3), make_steps()
        queue.define(scan())
        files = list(range(2500))
        order = queue.start("c", {"files": files})
        first.take()
        assert first.expand(order.id, "scan", files[:1500], settle=False)
        pause(0.35)
        suspects = second.renew().suspects
        assert second.reap(*suspects) == ["ready"]
        assert not first.expand(order.id, "scan", files, settle=False)
        assert second.take() == [(order.id, "scan")]
        assert second.expand(order.id, "scan", files)
        assert counts(queue, order) == (2500, 0, 0, 200)
        (job_id,) = first.held
        first.end(order.id, "scan")
        assert first.states == ["stale"]
        assert queue.job(job_id).state == "succeeded"
        order.cancel()

    def test_o14_lost_elements_run_again(self, queue: Queue, make_steps: MakeSteps) -> None:
        """O12, O14: the worker dies with five of them: those run again, the others do not; no attempt is counted."""
        first, second = make_steps(lease=0.3), make_steps()
        order = begin(queue, second, 10)
        first.take(5)
        assert elements(first) == [0, 1, 2, 3, 4]
        second.take(3)
        pause(0.35)
        second.reap(*second.renew().suspects)
        second.end_all(*second.runs, value=2)
        ran = second.drain()
        assert sorted(place[2] for place in ran[:-1]) == [0, 1, 2, 3, 4, 8, 9]
        assert order.outputs()["scan"] == [None] * 5 + [2] * 3 + [None] * 2
        assert sum(run.outcome == "lost" for run in order.history()) == 5

    def test_o14_workers_and_server_killed_in_the_middle(
        self, durable_server: RealServer, make_queue: Callable[..., Queue],
        start_process: StartProcess, tmp_path: Path,
    ) -> None:  # fmt: skip
        """O1, O2, O14: SIGKILL of both, again and again: every element ends well once, in its place."""
        queue = make_queue(durable_server.url)
        options = {"url": durable_server.url, "slots": 2, "lease": 1, "renew": 0.2}
        queue.define(Chain("c", [Step("scan", "plain", each="files"), Step("join", "plain")]))
        orders = [queue.start("c", {"files": list(range(400)), "folder": str(tmp_path)}) for _ in range(2)]
        workers = [start_process("plain", **options) for _ in range(2)]
        for round_ in range(4):
            before = len(run_lines(tmp_path))

            def on_its_way(before: int = before) -> bool:
                return len(run_lines(tmp_path)) > before + 10 or orders[1].state() == "succeeded"

            wait_until(on_its_way, 20)
            workers.pop(0).child.signal(signal.SIGKILL)
            if round_ % 2:
                durable_server.kill()
                durable_server.start()
            workers.append(start_process("plain", **options))
        for order in orders:
            record = order.wait(60)
            assert record.state == "succeeded", record.error
            results = record.outputs["scan"]
            assert len(results) == 400
            assert all(isinstance(pid, int) for pid in results)
        ran = Counter(job_id for job_id, _, _ in run_lines(tmp_path))
        assert len(ran) == 2 * 401
        assert sum(ran.values()) - len(ran) <= 4 * 2 * 3  # what was running when it was killed

    def test_o14_real_workers_share_the_elements(self, queue: Queue, start_worker: StartWorker) -> None:
        """O14: two idle workers with long leases: both are rung, and all 600 elements run within the hour."""
        both: dict[str, set[int]] = {"one": set(), "two": set()}
        lock = threading.Lock()

        def handlers(name: str) -> Handlers:
            made = Handlers()

            @made.handler("t", isolation="thread")
            def t(ctx: Context, **_: Any) -> str:
                if ctx.order and ctx.order.element is not None:
                    with lock:
                        both[name].add(ctx.order.element)
                    ctx.sleep(0.002)
                return name

            return made

        for name in both:
            start_worker(handlers(name), lease=60, renew=20, slots=2)
        queue.define(scan())
        order = queue.start("c", {"files": list(range(600))})
        assert len(order.result(30)["scan"]) == 600
        assert both["one"]
        assert both["two"]
        assert not both["one"] & both["two"]
        assert both["one"] | both["two"] == set(range(600))


MIB = 1024 * 1024


class TestBytes:
    """O14, O5: an order keeps at most 8 MiB of outputs."""

    def test_o14_results_of_elements_count(self, queue: Queue, steps: StepWorker) -> None:
        """O14: the element that goes beyond it fails, and the step with it."""
        order = begin(queue, steps, 10)
        for n in range(10):
            steps.take(1)
            steps.end(order.id, "scan", n, value="x" * MIB)
        steps.drain()
        record = order.record()
        assert record.state == "failed"
        assert "3 of 10 elements failed; element 7: the results are more than 8388608 bytes" in (record.error or "")
        order.resume()
        steps.drain()  # these return nothing
        assert order.state() == "succeeded"
        assert [bool(each) for each in order.outputs()["scan"]] == [True] * 7 + [False] * 3

    def test_o14_room_is_given_back(self, queue: Queue, steps: StepWorker) -> None:
        """O14: a step that comes again is counted once: elements, their join, and another way round."""
        order = begin(queue, steps, 3)
        for _ in range(4):
            steps.take()
            steps.end_all(*steps.runs, value="x" * (2 * MIB))
            assert steps.take() == [(order.id, "join")], order.record().error
            steps.end(order.id, "join", value="y" * MIB, goto="scan")
            assert steps.take() == [(order.id, "scan")], order.record().error
            steps.expand(order.id, "scan", [1, 2, 3])
        order.cancel()

    def test_o14_room_after_a_failure(self, queue: Queue, steps: StepWorker) -> None:
        """O14, O4: too much failed the step; resumed with less it fits."""
        queue.define(Chain("c", [Step("a", "t"), Step("b", "t")]))
        order = queue.start("c")
        steps.take()
        steps.end(order.id, "a", value="x" * (5 * MIB))
        for _ in range(3):
            steps.take()
            steps.end(order.id, "b", value="x" * (5 * MIB))
            assert "the outputs of its steps are more than 8388608 bytes" in (order.record().error or "")
            order.resume()
        steps.take()
        steps.end(order.id, "b", value="x" * (2 * MIB))
        assert order.state() == "succeeded"

    def test_o14_many_failures_in_between_give_room_back(self, queue: Queue, steps: StepWorker) -> None:
        """O14: a list that is begun anew lets go of what its elements had returned."""
        order = begin(queue, steps, 3)
        for _ in range(4):
            steps.take()
            steps.end_all((order.id, "scan", 0), (order.id, "scan", 1), value="x" * (2 * MIB))
            steps.end(order.id, "scan", 2, outcome="failed")
            assert order.state() == "failed"
            order.go_to("scan")
            steps.take()
            steps.expand(order.id, "scan", [1, 2, 3])
        steps.take()
        steps.end_all(*steps.runs, value="x" * (2 * MIB))
        assert steps.drain() == [(order.id, "join")]
