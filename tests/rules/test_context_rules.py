"""What a handler is given and what it tells: ``ctx.job``, progress, log (C17), and jobs enqueued with its end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from rules.support import Gate, ThreadWorker, Trace, client_calls, idle_slots

from seatline.producer import Queue
from seatline.shared import scripts
from seatline.shared.errors import InvalidInput
from seatline.worker import Context, Handlers, NoSeat, Retry, Skip, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]

kinds = pytest.mark.parametrize("kind", ["thread", "async", "process"])


def declare(handlers: Handlers, kind: str, work: Callable[[Context], Any], type_: str = "a", **options: Any) -> None:
    """Declare a type, run in one way or the other."""
    if kind == "async":

        @handlers.handler(type_, **options)
        async def later(ctx: Context) -> Any:
            await asyncio.sleep(0)
            return work(ctx)
    else:
        handlers.handler(type_, isolation=kind, **options)(work)  # type: ignore[call-overload]


def words(log: list[str]) -> list[str]:
    """Return a log's lines without their times."""
    return [line.partition(" ")[2] for line in log]


class TestWhatItKnows:
    @kinds
    def test_c17_the_job_and_the_attempt(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C17: id, type, attempt, the lease's token, tenant, and the job as it was reserved."""
        handlers = Handlers()

        @handlers.handler("b")
        def bystander(ctx: Context) -> None: ...

        def work(ctx: Context) -> list[Any]:
            job = ctx.job
            if ctx.attempt == 1:
                raise ValueError
            return [
                ctx.id, ctx.type, ctx.attempt, ctx.token, ctx.tenant, ctx.cancelled, ctx.fenced,
                job.id, job.type, job.priority, job.tenant, job.title, list(job.tags), job.params, job.uses,
            ]  # fmt: skip

        declare(handlers, kind, work, retry=Retry(first=0))
        handle = queue.enqueue("a", {}, priority=7, tenant="Oslo", title="sheet 3", tags=["urgent"], uses={})
        burst(handlers)
        assert handle.result(timeout=1) == [
            handle.id, "a", 2, handle.record().lease, "Oslo", False, False,
            handle.id, "a", 7, "Oslo", "sheet 3", ["urgent"], {}, {},
        ]  # fmt: skip


class TestProgress:
    @kinds
    def test_c17_the_newest_is_shown_while_it_runs(self, queue: Queue, start_worker: StartWorker, kind: str) -> None:
        """C17: within a second; at the end it is the last that was told."""
        handlers = Handlers()

        def work(ctx: Context) -> None:
            for done in range(4):
                ctx.progress(done, 10, f"sheet {done}")
            with contextlib.suppress(AssertionError):
                wait_until(lambda: ctx.cancelled, 10)
            ctx.progress(10, 10)

        async def awork(ctx: Context) -> None:
            for done in range(4):
                ctx.progress(done, 10, f"sheet {done}")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
            ctx.progress(10, 10)

        if kind == "async":
            handlers.handler("a")(awork)
        else:
            declare(handlers, kind, work)
        start_worker(handlers, lease=60, renew=20)
        handle = queue.enqueue("a")
        wait_until(lambda: handle.state() == "running")
        began = time.monotonic()
        wait_until(lambda: handle.record().progress == "3/10 sheet 3")
        assert time.monotonic() - began < 1.5
        handle.cancel()
        record = handle.wait(timeout=5)
        assert (record.state, record.progress) == ("succeeded", "10/10")

    @pytest.mark.parametrize(
        ("told", "kept"),
        [
            ((3, 10, "sheet 3"), "3/10 sheet 3"),
            ((0.5,), "0.5"),
            ((2, None, "no end in sight"), "2 no end in sight"),
            ((1_500_000, 2_000_000), "1.5e+06/2e+06"),
            ((1, 2, "two\nlines\tand \x1b[31mred"), "1/2 two lines and  [31mred"),
            ((1, 2, "x" * 600), "1/2 " + "x" * 500),
        ],
        ids=str,
    )
    def test_c17_how_it_reads(self, queue: Queue, burst: Burst, told: tuple[Any, ...], kept: str) -> None:
        """C17: how much of how much, and a line for people, cut at 500 characters."""
        handlers = Handlers()
        declare(handlers, "thread", lambda ctx: ctx.progress(*told))
        handle = queue.enqueue("a")
        burst(handlers)
        assert (handle.state(), handle.record().progress) == ("succeeded", kept)

    def test_c17_what_is_no_number(self, queue: Queue, burst: Burst) -> None:
        """C17, R4: refused by name, where it is told."""
        handlers, said = Handlers(), list[str]()

        def work(ctx: Context) -> None:
            for bad in (("half",), (True,), (1, "many"), (None,)):
                with pytest.raises(InvalidInput) as caught:
                    ctx.progress(*bad)
                said.append(str(caught.value))

        declare(handlers, "thread", work)
        handle = queue.enqueue("a")
        burst(handlers)
        assert handle.record().error is None
        assert said[0] == "progress done: 'half' is not a number."
        assert said[2] == "progress total: 'many' is not a number."

    @kinds
    def test_c17_it_is_rate_limited(
        self,
        private_server: Callable[..., RealServer],
        make_queue: Callable[..., Queue],
        start_worker: StartWorker,
        kind: str,
    ) -> None:
        """C17: told ten thousand times in a second it is sent a few times; nothing waits for it."""
        private = private_server()
        owner, handlers = make_queue(private.url), Handlers()

        def work(ctx: Context) -> int:
            told, end = 0, time.monotonic() + 1.0
            while time.monotonic() < end:
                told += 1
                ctx.progress(told)
            return told

        declare(handlers, kind, work)
        start_worker(handlers, private.url, lease=60, renew=20)
        wait_until(lambda: idle_slots(owner) == 1)
        with contextlib.closing(private.client()) as raw:
            before = client_calls(raw, "evalsha")
            handle = owner.enqueue("a")
            record = handle.wait(timeout=10)
            sent = client_calls(raw, "evalsha") - before
        assert record.result > 1000
        assert record.progress == f"{record.result:g}"
        assert sent < 20, "submit, turns, the wait, two notes a second, and what a first use of a script costs"


class TestLog:
    @kinds
    @pytest.mark.parametrize("end", ["returns", "raises", "skips"])
    def test_c17_it_is_complete_when_the_end_is_seen(
        self, queue: Queue, start_worker: StartWorker, kind: str, end: str
    ) -> None:
        """C17: whoever sees the end sees every line, in order; it goes on in the next attempt."""
        handlers = Handlers()

        def work(ctx: Context) -> None:
            for n in range(300):
                ctx.log(f"{ctx.attempt}: line {n}")
            if ctx.attempt == 1 or end == "raises":
                raise ValueError
            if end == "skips":
                raise Skip("enough")

        declare(handlers, kind, work, retry=Retry(attempts=2, first=0))
        start_worker(handlers, lease=60, renew=20)
        handle = queue.enqueue("a")
        state = handle.wait(timeout=5).state
        log = handle.log()
        assert state == {"returns": "succeeded", "raises": "failed", "skips": "skipped"}[end]
        assert words(log) == [f"{attempt}: line {n}" for attempt in (1, 2) for n in range(300)]
        assert [line.partition(" ")[0] for line in log] == sorted(line.partition(" ")[0] for line in log)

    @kinds
    def test_c17_the_newest_thousand(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C17: of 2,500 lines told in one go the newest are kept, and how many are missing is said first."""
        handlers = Handlers()

        def work(ctx: Context) -> None:
            for n in range(2500):
                ctx.log(f"line {n}")

        declare(handlers, kind, work)
        handle = queue.enqueue("a")
        burst(handlers)
        log = handle.log()
        kept = [line for line in words(log) if line.startswith("line ")]
        assert kept == [f"line {n}" for n in range(2500 - len(kept), 2500)]
        assert 990 <= len(kept) <= 1000
        cut = [int(word) for line in log if "cut" in line for word in line.split() if word.isdecimal()]
        assert sum(cut) in {2500 - len(kept), 2500 - len(kept) + len(cut) - 1}, (
            "what is said to be cut is what is missing"
        )

    def test_c17_lines_are_lines(self, queue: Queue, burst: Burst) -> None:
        """C17, R4: a text is split, a long line cut with a note, what cannot be printed is blank."""
        handlers = Handlers()

        def work(ctx: Context) -> None:
            for text in ("one\ntwo\r\nthree", "", "x" * 2500, "a\x00b\x1b[31m", "ü\ud800", 42):
                ctx.log(text)  # type: ignore[arg-type]

        declare(handlers, "thread", work)
        handle = queue.enqueue("a")
        burst(handlers)
        assert handle.record().traceback is None
        assert words(handle.log()) == [
            "one", "two", "three", " ", "x" * 2000 + " ... (500 characters cut)", "a b [31m", "ü", "42"
        ]  # fmt: skip

    def test_c17_what_waits_for_the_server_comes_once(
        self, queue: Queue, start_worker: StartWorker, proxy: FaultProxy
    ) -> None:
        """C17, F20: two jobs tell more than goes into one call while the server is away: later every line is there, once."""
        handlers, told, go = Handlers(), threading.Barrier(3, timeout=10), threading.Event()

        def work(ctx: Context) -> None:
            told.wait()
            for n in range(700):
                ctx.log(f"line {n}")
            told.wait()
            go.wait(10)
            ctx.log("the end")

        declare(handlers, "thread", work)
        start_worker(handlers, proxy.url, slots=2, timeout=0.3, connect_timeout=0.3, lease=60, renew=20)
        handles = [queue.enqueue("a") for _ in range(2)]
        wait_until(lambda: [handle.state() for handle in handles] == ["running"] * 2)
        proxy.refuse()
        proxy.reset_all()
        told.wait()
        told.wait()
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 1.2, message="two sendings that fail")
        proxy.refuse(False)
        go.set()
        for handle in handles:
            assert handle.wait(timeout=10).state == "succeeded"
            assert words(handle.log()) == [*(f"line {n}" for n in range(700)), "the end"]

    def test_c17_a_thread_that_was_given_up_on_tells_nothing(self, queue: Queue, start_worker: StartWorker) -> None:
        """C17, C15: its job has failed; what it says afterwards is nobody's."""
        gate, over, handlers = Gate(deaf=True), threading.Event(), Handlers()

        def work(ctx: Context) -> None:
            ctx.log("begun")
            gate.run(ctx)
            for _ in range(100):
                ctx.log("too late")
            ctx.progress(1)
            over.set()

        declare(handlers, "thread", work, timeout=0.1)
        worker = start_worker(handlers).worker
        handle = queue.enqueue("a")
        assert handle.wait(timeout=3).state == "failed"
        gate.opened.set()
        wait_until(over.is_set)
        assert not worker._notes._waiting
        assert words(handle.log()) == ["begun"]
        assert handle.record().progress is None


def good(ctx: Context) -> None:
    """Enqueue one job, with what this one has."""
    ctx.enqueue("next", {"n": 1})


class TestEnqueue:
    """Jobs that a handler enqueues come with its end: in the same step, only if it ends well, exactly once."""

    @kinds
    @pytest.mark.parametrize("end", ["returns", "skips"])
    def test_c17_they_come_with_a_good_end(self, queue: Queue, burst: Burst, kind: str, end: str) -> None:
        """C17, Q21: all of them, in order; until then none. Priority and tenant are this job's own unless given."""
        handlers = Handlers()

        def work(ctx: Context) -> None:
            ctx.enqueue("next", {"n": 1})
            ctx.enqueue("next", {"n": 2}, priority=3, tenant="Bergen", title="two", tags=["x"], uses={"vault": 1})
            ctx.enqueue("next", {"n": 3}, delay=60, token="three")
            if end == "skips":
                raise Skip("but go on")

        declare(handlers, kind, work)
        before = queue.enqueue("next", {"n": 0})
        queue.enqueue("a", priority=7, tenant="Oslo")
        burst(handlers)
        found = {record.params["n"]: record for record in queue.jobs(type="next")}
        assert found.keys() == {0, 1, 2, 3}
        one, two, three = (found[n] for n in (1, 2, 3))
        assert (one.priority, one.tenant, one.state, one.uses) == (7, "Oslo", "ready", None)
        assert (two.priority, two.tenant, two.title, two.tags, two.uses) == (3, "Bergen", "two", ("x",), {"vault": 1})
        assert (three.state, three.priority, three.token) == ("scheduled", 7, "three")
        assert before.id < one.id < two.id < three.id
        handle = queue.find("three")
        assert handle is not None
        assert handle.id == three.id
        assert three.due is not None
        ended = next(queue.jobs(type="a", state="skipped" if end == "skips" else "succeeded")).finished
        assert ended is not None
        assert 59 < (three.due - ended).total_seconds() < 61, "counted from the end"

    @kinds
    @pytest.mark.parametrize(
        "end", ["raises", "fails for now", "finds no seat", "returns what cannot be stored", "is cancelled", "is late"]
    )
    def test_c17_they_do_not_come_with_any_other(
        self, queue: Queue, start_worker: StartWorker, kind: str, end: str
    ) -> None:
        """C17: a failed attempt, the last or not, enqueues nothing, nor one that was cancelled, late or given back."""
        queue.pools.set("vault", 1)
        handlers = Handlers()
        stopped = end in {"is cancelled", "is late"}

        def work(ctx: Context) -> Any:
            good(ctx)
            match end:
                case "raises":
                    raise ValueError
                case "fails for now":
                    raise Retry.after(60)
                case "finds no seat":
                    raise NoSeat
                case _:
                    return object()

        def stuck(ctx: Context) -> None:
            good(ctx)
            ctx.sleep(20)

        async def astuck(ctx: Context) -> None:
            good(ctx)
            await asyncio.sleep(20)

        options: dict[str, Any] = {"uses": {"vault": 1}, "timeout": 0.1 if end == "is late" else None}
        if stopped and kind == "async":
            handlers.handler("a", **options)(astuck)
        else:
            declare(handlers, kind, stuck if stopped else work, **options)
        start_worker(handlers)
        handle = queue.enqueue("a")
        if end == "is cancelled":
            wait_until(lambda: handle.state() == "running")
            handle.cancel()
        states = {"fails for now": "scheduled", "finds no seat": "ready", "is cancelled": "cancelled"}
        if end == "finds no seat":
            wait_until(lambda: queue.pools["vault"].refused_until is not None)
        wait_until(lambda: handle.state() == states.get(end, "failed") and not queue.pools["vault"].in_use)
        assert list(queue.jobs(type="next")) == []

    @kinds
    def test_c17_of_several_attempts_only_the_good_one(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C17, C16: whatever the failed ones had enqueued is gone with them."""
        handlers = Handlers()

        def work(ctx: Context) -> None:
            ctx.enqueue("next", {"attempt": ctx.attempt})
            if ctx.attempt < 3:
                raise ValueError

        declare(handlers, kind, work, retry=Retry(first=0))
        queue.enqueue("a")
        burst(handlers)
        assert [record.params for record in queue.jobs(type="next")] == [{"attempt": 3}]

    @pytest.mark.parametrize("times", [1, 3])
    def test_r2_a_lost_reply_enqueues_once(
        self, queue: Queue, start_worker: StartWorker, proxy: FaultProxy, times: int
    ) -> None:
        """R2, C17: the reply of the turn that settles is lost; repeated, it enqueues nothing anew."""
        gate, handlers = Gate(deaf=True), Handlers()

        def work(ctx: Context) -> None:
            good(ctx)
            gate.run(ctx)

        declare(handlers, "thread", work)
        start_worker(handlers, proxy.url, timeout=0.5, lease=60, renew=20)
        handle = queue.enqueue("a")
        wait_until(lambda: gate.begun)
        proxy.swallow_reply(scripts.script("turn").sha.encode(), times=times)
        gate.opened.set()
        assert handle.wait(timeout=10).state == "succeeded"
        wait_until(lambda: proxy.faults["swallow_reply"] == times, 10)
        assert len(list(queue.jobs(type="next"))) == 1

    def test_q14_a_stale_attempt_enqueues_nothing(
        self, queue: Queue, start_worker: StartWorker, proxy: FaultProxy
    ) -> None:
        """Q14, C17: its lease was lost and the job ran again elsewhere: only that attempt's jobs come."""
        first, handlers = Gate(deaf=True), Handlers()

        def work(ctx: Context) -> None:
            ctx.enqueue("next", {"attempt": ctx.attempt})
            if ctx.attempt == 1:
                first.run(ctx)

        declare(handlers, "thread", work, if_lost="rerun")
        cut = start_worker(handlers, proxy.url, lease=0.6, renew=0.15, timeout=0.2)
        handle = queue.enqueue("a")
        wait_until(lambda: first.begun)
        proxy.blackhole()
        start_worker(handlers, lease=0.6, renew=0.15)
        assert handle.wait(timeout=10).attempt == 2
        proxy.blackhole(on=False)
        first.opened.set()
        wait_until(lambda: cut.worker.summary.stale == 1, 10, "the refusal of the first attempt's report")
        assert [record.params for record in queue.jobs(type="next")] == [{"attempt": 2}]
        cut.stop()

    @kinds
    def test_c17_what_is_wrong_with_one_is_told_at_once(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C17, R4: in the handler, where it can be caught; uncaught, it fails the job, which is not tried again."""
        handlers = Handlers()

        def caught(ctx: Context) -> list[str]:
            said: list[str] = []
            for bad in ({"type": "a b"}, {"type": "a", "priority": 0}, {"type": "a", "params": {"x": object()}}):
                try:
                    ctx.enqueue(**bad)
                except InvalidInput as error:
                    said.append(str(error).split(":")[0])
            good(ctx)
            return said

        def uncaught(ctx: Context) -> None:
            good(ctx)
            ctx.enqueue("a", uses={"vault": 0})

        declare(handlers, kind, caught, "caught")
        declare(handlers, kind, uncaught, "uncaught", retry=Retry(first=0))
        one, two = queue.enqueue("caught"), queue.enqueue("uncaught")
        burst(handlers)
        assert one.result(timeout=1) == ["type", "priority", "params['x']"]
        assert (two.state(), two.record().error_type, two.record().attempt) == ("failed", "InvalidInput", 1)
        assert len(list(queue.jobs(type="next"))) == 1

    @kinds
    def test_c17_at_most_a_thousand(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C17: the 1,001st is refused with the number; the thousand come."""
        handlers, trace = Handlers(), Trace("next")

        def work(ctx: Context) -> str:
            for n in range(1000):
                ctx.enqueue("next", {"n": n})
            with pytest.raises(InvalidInput) as caught:
                good(ctx)
            return str(caught.value)

        declare(handlers, kind, work)
        handle = queue.enqueue("a")
        burst(handlers)
        assert "at most 1,000 jobs" in handle.result(timeout=1)
        assert [record.params["n"] for record in queue.jobs(type="next", limit=1001)] == list(range(1000))
        burst(trace.handlers, slots=50)
        assert len(trace.ids) == 1000
