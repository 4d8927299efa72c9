"""How an attempt ends and what follows: past its timeout (C15), again (C16, Q11), skipped (Q21), cancelled (Q23)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from hypothesis import given
from hypothesis import strategies as st
from rules.fake_worker import FakeWorker
from rules.support import EventLog, Gate, ThreadWorker, Trace, idle_slots

from seatline.producer import JobHandle, Queue
from seatline.shared.calls import reads
from seatline.shared.calls.workers import Suspect
from seatline.shared.errors import InvalidInput, JobFailed, JobSkipped, WrongState
from seatline.worker import Context, Handlers, NoSeat, Retry, Skip, Worker
from seatline.worker.outcomes import next_delay

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]

LIMIT = 0.2
kinds = pytest.mark.parametrize("kind", ["thread", "async"])


def declare(handlers: Handlers, kind: str, work: Callable[[Context], Any], type_: str = "a", **options: Any) -> None:
    """Declare a type, as a thread or as an async def."""
    if kind == "async":

        @handlers.handler(type_, **options)
        async def later(ctx: Context) -> Any:
            value = work(ctx)
            return await value if asyncio.iscoroutine(value) else value
    else:
        handlers.handler(type_, isolation="thread", **options)(work)


def throws(error: BaseException) -> Callable[[Context], Any]:
    def throw(_: Context) -> None:
        raise error

    return throw


def presence(queue: Queue, worker: Worker) -> dict[str, str]:
    """Return what a worker last said of itself."""
    return queue.store.read(reads.worker_records(queue.store.keys, [worker.id], []))[0].fields


class TestTimeout:
    """C15: an attempt past its limit fails with ``Timeout``."""

    @kinds
    @pytest.mark.parametrize("leaves", ["is stopped", "looks and returns", "ends in its own time"])
    def test_c15_it_fails_whatever_it_returns(self, queue: Queue, burst: Burst, kind: str, leaves: str) -> None:
        """C15: a thread is told (``ctx.cancelled``, ``ctx.sleep``), an async def cancelled; a late success is none."""
        handlers, seen = Handlers(), list[bool]()

        def work(ctx: Context) -> str:
            if leaves == "is stopped":
                ctx.sleep(30)
            if leaves == "looks and returns":
                wait_until(lambda: ctx.cancelled, 5)
            else:
                threading.Event().wait(LIMIT + 0.1)
            seen.append(ctx.cancelled)
            return "done"

        async def awork(ctx: Context) -> str:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                seen.append(ctx.cancelled)
                if leaves == "is stopped":
                    raise
            return "done"

        declare(handlers, kind, awork if kind == "async" else work, timeout=LIMIT)
        handle, log = queue.enqueue("a"), EventLog()
        began = time.monotonic()
        burst(handlers, sink=log)
        assert LIMIT <= time.monotonic() - began < LIMIT + 1
        record = handle.record()
        assert (record.state, record.error_type) == ("failed", "Timeout")
        assert record.error == f"it ran longer than its timeout of {LIMIT:g} s"
        assert seen == ([] if (kind, leaves) == ("thread", "is stopped") else [True])
        assert log.count("overdue") == 0
        with pytest.raises(JobFailed, match="Timeout"):
            handle.result()

    @kinds
    def test_c15_within_its_limit_nothing_happens(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C15: the limit is one attempt's, and its timer ends with it."""
        handlers = Handlers()
        declare(handlers, kind, lambda ctx: asyncio.sleep(0.01) if kind == "async" else ctx.sleep(0.01), timeout=LIMIT)
        handles = [queue.enqueue("a") for _ in range(25)]
        burst(handlers)
        assert {handle.state() for handle in handles} == {"succeeded"}

    @kinds
    def test_c15_it_is_a_failure_under_the_retry_rule(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C15, C16: named in the rule as TimeoutError; each attempt has the whole limit."""
        handlers = Handlers()
        work: Callable[[Context], Any] = (lambda _: asyncio.sleep(30)) if kind == "async" else lambda ctx: ctx.sleep(30)
        declare(handlers, kind, work, timeout=LIMIT, retry=Retry(attempts=2, first=0, only=TimeoutError))
        handle = queue.enqueue("a")
        began = time.monotonic()
        burst(handlers)
        assert time.monotonic() - began >= 2 * LIMIT
        assert (handle.state(), handle.record().attempt) == ("failed", 2)
        assert [attempt.error_type for attempt in handle.attempts()] == ["Timeout"]

    @pytest.mark.parametrize("limit", [0, -1, True, "1", 31 * 24 * 3600])
    def test_c15_a_limit_is_a_number_of_seconds(self, limit: Any) -> None:
        """C15, R4: above 0, at most 30 days."""
        with pytest.raises(InvalidInput, match=r"timeout: .* is not a number of seconds above 0, at most 30 days"):
            Handlers().handler("a", timeout=limit)


def slot_threads(worker: ThreadWorker) -> int:
    """Count its threads for slots; a worker of another test may have left one that is still busy."""
    return sum(thread.name.startswith(f"seatline-{worker.worker.id}-slot-") for thread in threading.enumerate())


class TestDeafThreads:
    """C15, C4: a thread that ignores its time-out."""

    def test_c15_without_seats_it_has_failed_and_its_slot_goes_to_others(
        self, queue: Queue, start_worker: StartWorker
    ) -> None:
        """C15: it fails a second after its limit; the only slot runs others meanwhile; what it does later changes nothing."""
        gate, trace, log, handlers = Gate(deaf=True), Trace("free"), EventLog(), Handlers()
        declare(handlers, "thread", gate.run, timeout=LIMIT)
        declare(handlers, "thread", trace.run, "free")
        worker = start_worker(handlers, sink=log)
        wait_until(lambda: idle_slots(queue))
        before = slot_threads(worker)
        deaf, other = queue.enqueue("a"), queue.enqueue("free")
        assert deaf.wait(timeout=LIMIT + 1.5).error_type == "Timeout"
        assert "and does not end" in (deaf.record().error or "")
        assert other.result(timeout=1) == other.id
        assert log.fields("overdue")["job"] == deaf.id
        wait_until(lambda: presence(queue, worker.worker)["overdue"] == "1")
        gate.opened.set()
        wait_until(lambda: presence(queue, worker.worker)["overdue"] == "0" and slot_threads(worker) == before)
        assert deaf.state() == "failed"
        last = queue.enqueue("free")
        assert last.result(timeout=2) == last.id
        summary = worker.stop()
        assert (summary.failed, summary.succeeded, summary.stale) == (1, 2, 0)

    @pytest.mark.parametrize("classic", [False, True], ids=["normal", "classic"])
    def test_c4_with_seats_it_keeps_them_until_it_returns(
        self, queue: Queue, start_worker: StartWorker, classic: bool
    ) -> None:
        """C4, C15: shown as overdue in job and presence, its seat stays taken, another job runs in its slot meanwhile.

        A classic worker does not go to sleep over it: it would let go of what is still held.
        """
        queue.pools.set("vault", 1)
        gate, trace, log, handlers = Gate(deaf=True), Trace("free"), EventLog(), Handlers()
        declare(handlers, "thread", gate.run, timeout=LIMIT, uses={"vault": 1})
        declare(handlers, "thread", trace.run, "free")
        deaf, free = queue.enqueue("a"), queue.enqueue("free")
        worker = start_worker(handlers, sink=log, classic=classic)
        assert free.result(timeout=LIMIT + 2) == free.id
        assert deaf.state() == "running"
        wait_until(lambda: deaf.record().overdue)
        wait_until(lambda: presence(queue, worker.worker)["overdue"] == "1")
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 1.5, message="longer than its lease")
        assert (queue.pools["vault"].in_use, deaf.state(), deaf.record().losses) == (1, "running", 0)
        assert log.count("sleep") == 0
        gate.opened.set()
        record = deaf.wait(timeout=2)
        assert (record.state, record.error_type) == ("failed", "Timeout")
        assert queue.pools["vault"].in_use == 0
        wait_until(lambda: log.count("sleep") == 1)
        worker.stop()
        wait_until(lambda: slot_threads(worker) == 0)

    def test_c15_no_more_of_them_than_slots(self, queue: Queue, start_worker: StartWorker) -> None:
        """C15: a worker does not collect threads without end; when one returns the next is given up on in its place."""
        first, second, trace, handlers = Gate(deaf=True), Gate(deaf=True), Trace("free"), Handlers()
        log = EventLog()

        def work(ctx: Context) -> str:
            return (second if first.begun else first).run(ctx)

        declare(handlers, "thread", work, timeout=LIMIT)
        declare(handlers, "thread", trace.run, "free")
        worker = start_worker(handlers, sink=log)
        handles = [queue.enqueue("a"), queue.enqueue("a"), queue.enqueue("free")]
        wait_until(lambda: second.begun)
        assert handles[0].wait(timeout=1).error_type == "Timeout"
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > LIMIT + 1.2, message="longer than the first one had")
        assert [handle.state() for handle in handles] == ["failed", "running", "ready"]
        first.opened.set()
        assert handles[1].wait(timeout=2).error_type == "Timeout"
        assert handles[2].result(timeout=1) == handles[2].id
        second.opened.set()
        wait_until(lambda: slot_threads(worker) == 1)


class TestDeafTasks:
    """C15, C4: an ``async def`` that swallows its cancellation."""

    @pytest.mark.parametrize("uses", [{}, {"vault": 1}], ids=["without seats", "with a seat"])
    def test_c15_its_slot_goes_to_others(self, queue: Queue, start_worker: StartWorker, uses: dict[str, int]) -> None:
        """C15, C4: as a deaf thread: failed at once, or with its seat held and shown as overdue until it returns."""
        queue.pools.set("vault", 1)
        opened, handlers = threading.Event(), Handlers()

        @handlers.handler("a", timeout=LIMIT, uses=uses)
        async def deaf(ctx: Context) -> None:
            while not opened.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.02)

        @handlers.handler("free")
        async def free(ctx: Context) -> str:
            return ctx.id

        worker = start_worker(handlers)
        job, other = queue.enqueue("a"), queue.enqueue("free")
        assert other.result(timeout=LIMIT + 2) == other.id
        wait_until(lambda: presence(queue, worker.worker)["overdue"] == "1")
        if uses:
            wait_until(lambda: job.record().overdue)
            assert (job.state(), queue.pools["vault"].in_use) == ("running", 1)
        else:
            assert job.wait(timeout=1).error_type == "Timeout"
        opened.set()
        assert job.wait(timeout=2).error_type == "Timeout"
        wait_until(lambda: presence(queue, worker.worker)["overdue"] == "0")
        assert queue.pools["vault"].in_use == 0
        assert worker.stop().stale == 0


attempts = st.integers(1, 1000)
chances = st.floats(0, 1)
#: None, or a microsecond and more: near 5e-324 s a number has too few digits left for a share of it.
rules = st.builds(
    Retry,
    attempts=st.integers(1, 1000),
    first=st.just(0.0) | st.floats(1e-6, 10_000),
    factor=st.floats(1, 100),
    most=st.just(0.0) | st.floats(1e-6, 100_000),
    jitter=st.floats(0, 1),
)


class TestTheRule:
    """C16: the rule is pure: a function of the rule, the attempt, the error and a chance."""

    @given(rules, attempts, chances)
    def test_c16_a_delay_is_within_its_bounds(self, rule: Retry, attempt: int, chance: float) -> None:
        """C16: grown by the factor, never beyond the most, spread by at most the jitter; whatever the attempt."""
        delay = rule.delay(attempt, chance)
        grown = rule.first
        for _ in range(attempt - 1):
            if grown > rule.most or not grown:
                break
            grown *= rule.factor
        middle = min(grown, rule.most)
        assert 0 <= delay <= rule.most
        assert middle * (1 - rule.jitter) * 0.999 <= delay <= middle * (1 + rule.jitter) * 1.001

    @given(rules, attempts, chances, chances)
    def test_c16_later_attempts_wait_no_shorter(self, rule: Retry, attempt: int, one: float, two: float) -> None:
        """C16: with the same chance; and a greater chance never waits shorter."""
        slack = 1 + 1e-9
        assert rule.delay(attempt, one) <= rule.delay(attempt + 1, one) * slack + 1e-9
        low, high = sorted((one, two))
        assert rule.delay(attempt, low) <= rule.delay(attempt, high) * slack + 1e-9

    @given(rules, attempts, chances)
    def test_c16_attempts_are_counted(self, rule: Retry, attempt: int, chance: float) -> None:
        """C16: there is a next attempt until there were as many as the rule says; ``Retry.after`` counts too."""
        for error, delay in ((ValueError(), rule.delay(attempt, chance)), (Retry.after(7), 7)):
            assert next_delay(rule, attempt, error, chance) == (delay if attempt < rule.attempts else None)

    @given(attempts, chances)
    def test_c16_without_a_rule(self, attempt: int, chance: float) -> None:
        """C16, Q11: no other attempt, but for one that is asked for; of these as many as one likes."""
        assert next_delay(None, attempt, ValueError(), chance) is None
        assert next_delay(None, attempt, Retry.after(3), chance) == 3

    def test_c16_the_usual_one(self) -> None:
        """C16: three attempts, after 10 s and 20 s, a tenth more or less; at most an hour."""
        rule = Retry()
        assert [rule.delay(attempt, 0.5) for attempt in range(1, 11)] == [
            10, 20, 40, 80, 160, 320, 640, 1280, 2560, pytest.approx(3600, rel=0.1)
        ]  # fmt: skip
        assert (rule.delay(1, 0), rule.delay(1, 1)) == (9, 11)
        assert rule.delay(10, 1) == 3600
        assert rule.delay(1000, 1) == 3600
        assert [next_delay(rule, attempt, OSError(), 0.5) for attempt in (1, 2, 3, 4)] == [10, 20, None, None]

    @pytest.mark.parametrize(
        ("only", "never", "error", "again"),
        [
            (OSError, (), OSError(), True),
            (OSError, (), ConnectionError(), True),
            (OSError, (), ValueError(), False),
            ((OSError, ValueError), (), ValueError(), True),
            ((), OSError, ConnectionError(), False),
            ((), (OSError, KeyError), ValueError(), True),
            (OSError, ConnectionError, ConnectionError(), False),
            (OSError, ConnectionError, TimeoutError(), True),
            (OSError, ValueError, Retry.after(1), True),
            ((), Exception, Retry.after(1), True),
        ],
    )
    def test_c16_only_and_never(self, only: Any, never: Any, error: Exception, again: bool) -> None:
        """C16: by class, derived ones included; never wins; ``Retry.after`` overrides both."""
        rule = Retry(only=only, never=never)
        assert (next_delay(rule, 1, error, 0.5) is not None) == again

    @pytest.mark.parametrize(
        "bad",
        [
            {"attempts": 0}, {"attempts": 1001}, {"attempts": True}, {"attempts": 1.5}, {"first": -1}, {"first": "1"},
            {"first": float("nan")}, {"factor": 0.9}, {"factor": 101}, {"most": -1}, {"most": 31 * 24 * 3600},
            {"most": float("inf")}, {"jitter": 1.1}, {"jitter": -0.1}, {"only": "OSError"}, {"never": (OSError, 1)},
            {"only": [OSError]},
        ],
        ids=str,
    )  # fmt: skip
    def test_c16_a_bad_rule_is_refused(self, bad: dict[str, Any]) -> None:
        """C16, R4: by the argument's name."""
        with pytest.raises(InvalidInput, match=f"^retry {next(iter(bad))}: "):
            Retry(**bad)
        for seconds in (-1, 31 * 24 * 3600, "1", True, float("nan")):
            with pytest.raises(InvalidInput, match=r"^seconds: "):
                Retry.after(seconds)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match=r"^retry: .* is not a Retry\("):
            Handlers().handler("a", retry=3)  # type: ignore[call-overload]


class TestRetry:
    """C16: the rule at work."""

    @kinds
    def test_c16_it_runs_again_until_it_succeeds(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C16: every attempt's error is kept, with its number, type, message, traceback and worker."""
        handlers, log = Handlers(), EventLog()

        def work(ctx: Context) -> int:
            if ctx.attempt < 3:
                raise ConnectionError(f"no answer, attempt {ctx.attempt}\nsecond line")
            return ctx.attempt

        declare(handlers, kind, work, retry=Retry(attempts=5, first=0))
        handle = queue.enqueue("a")
        worker = burst(handlers, sink=log)
        assert handle.result(timeout=1) == 3
        record = handle.record()
        assert (record.attempt, record.losses, record.error, record.traceback) == (3, 0, None, None)
        kept = handle.attempts()
        assert [(each.attempt, each.error_type, each.worker) for each in kept] == [
            (1, "ConnectionError", worker.id), (2, "ConnectionError", worker.id)
        ]  # fmt: skip
        assert kept[1].error == "no answer, attempt 2\nsecond line"
        assert "in work" in kept[1].traceback
        assert (worker.summary.retried, worker.summary.succeeded, worker.summary.failed) == (2, 1, 0)
        assert log.count("retry") == 2
        assert worker._turns.last_error == "job 1 ConnectionError: no answer, attempt 2"

    def test_c16_its_seats_are_free_during_the_delay(self, queue: Queue, start_worker: StartWorker) -> None:
        """C16, S11: another job has the seat meanwhile; it comes back by itself, when it is due, and with its seats."""
        queue.pools.set("vault", 1)
        handlers, moments = Handlers(), list[tuple[str, float, int]]()

        def work(ctx: Context) -> None:
            moments.append((ctx.id, time.monotonic(), queue.pools["vault"].in_use))
            if ctx.id == first.id and ctx.attempt == 1:
                raise OSError("try again")

        declare(handlers, "thread", work, uses={"vault": 1}, retry=Retry(first=0.4, jitter=0))
        queue.pause()
        first, second = queue.enqueue("a", priority=3), queue.enqueue("a")
        start_worker(handlers, lease=60, renew=20)
        queue.resume()
        second.result(timeout=3)
        record = first.record()
        assert (record.state, record.priority, record.error_type) == ("scheduled", 3, "OSError")
        assert record.started is not None
        assert record.due is not None
        assert dt.timedelta(seconds=0.4) <= record.due - record.started < dt.timedelta(seconds=0.9)
        first.result(timeout=3)
        assert [job_id for job_id, _, _ in moments] == [first.id, second.id, first.id]
        assert [seats for _, _, seats in moments] == [1, 1, 1]
        assert 0.4 <= moments[2][1] - moments[0][1] < 1.0, "by the alarm, not by a look every 5 s"

    def test_c16_it_keeps_its_place(self, queue: Queue, burst: Burst) -> None:
        """C16, Q12: priority and sequence are kept: it is next again, before what came later."""
        handlers, ran = Handlers(), list[str]()

        def work(ctx: Context) -> None:
            ran.append(f"{int(ctx.id)}.{ctx.attempt}")
            if ctx.attempt < 3:
                raise OSError

        declare(handlers, "thread", work, retry=Retry(first=0))
        for priority in (10, 10, 1):
            queue.enqueue("a", priority=priority)
        burst(handlers)
        assert ran == ["3.1", "3.2", "3.3", "1.1", "1.2", "1.3", "2.1", "2.2", "2.3"]

    @kinds
    def test_c16_after_the_last_it_has_failed(self, queue: Queue, burst: Burst, kind: str) -> None:
        """C16: with the last error; those before are among the attempts."""
        handlers = Handlers()

        def work(ctx: Context) -> None:
            raise ValueError(f"attempt {ctx.attempt}")

        declare(handlers, kind, work, retry=Retry(attempts=3, first=0))
        handle = queue.enqueue("a")
        burst(handlers)
        record = handle.record()
        assert (record.state, record.attempt, record.error) == ("failed", 3, "attempt 3")
        assert [attempt.error for attempt in handle.attempts()] == ["attempt 1", "attempt 2"]

    def test_c16_a_rule_that_speaks_of_other_errors(self, queue: Queue, burst: Burst) -> None:
        """C16: only, never; what is hopeless is not tried again either: bad params, a result that cannot be stored."""
        handlers = Handlers()
        rule = {"retry": Retry(first=0)}
        declare(handlers, "thread", throws(ValueError()), "only", retry=Retry(first=0, only=OSError))
        declare(handlers, "thread", throws(KeyError()), "never", retry=Retry(first=0, never=LookupError))
        declare(handlers, "thread", lambda _: object(), "unstorable", **rule)
        handlers.handler("params", **rule)(lambda _, n: n)  # type: ignore[call-overload]
        handles = [queue.enqueue(type_) for type_ in handlers.types]
        burst(handlers)
        for handle in handles:
            assert (handle.state(), handle.record().attempt, handle.attempts()) == ("failed", 1, []), (
                handle.record().type
            )

    def test_c16_retry_after_overrides_the_rule_once(self, queue: Queue, burst: Burst) -> None:
        """C16: its delay in place of the rule's and despite ``never``; attempts are counted; without a rule it is enough."""
        handlers = Handlers()

        def work(ctx: Context) -> int:
            if ctx.attempt < 4:
                raise Retry.after(0.0, f"not ready yet, {ctx.attempt}")
            return ctx.attempt

        declare(handlers, "thread", work, "bare")
        declare(handlers, "thread", work, "ruled", retry=Retry(attempts=3, first=600, never=Exception))
        bare, ruled = queue.enqueue("bare"), queue.enqueue("ruled")
        burst(handlers)
        assert bare.result(timeout=1) == 4
        record = ruled.record()
        assert (record.state, record.attempt, record.error_type) == ("failed", 3, "Retry.after")
        assert record.error == "not ready yet, 3"
        assert [attempt.error for attempt in bare.attempts()] == [f"not ready yet, {n}" for n in (1, 2, 3)]

    @kinds
    def test_q11_a_failed_job_stays_failed(self, queue: Queue, burst: Burst, kind: str) -> None:
        """Q11: listed with error and traceback; nothing runs it again until it is resubmitted."""
        handlers, ran = Handlers(), list[int]()

        def work(ctx: Context) -> None:
            ran.append(ctx.attempt)
            if len(ran) == 1:
                raise ZeroDivisionError("by zero")

        declare(handlers, kind, work, uses=None)
        handle = queue.enqueue("a")
        for _ in range(2):
            burst(handlers)
        assert ran == [1]
        (record,) = queue.jobs(state="failed")
        assert (record.id, record.error_type, record.error) == (handle.id, "ZeroDivisionError", "by zero")
        assert record.traceback is not None
        assert "in work" in record.traceback
        assert record.traceback.rstrip().endswith("ZeroDivisionError: by zero")
        assert handle.resubmit() == "failed"
        burst(handlers)
        assert (ran, handle.state()) == ([1, 1], "succeeded")


class TestNoSeat:
    """C16: the real licence server refused."""

    @kinds
    @pytest.mark.parametrize("where", ["login", "handler"])
    def test_c16_the_job_goes_back_uncounted_and_the_pool_is_closed(
        self, queue: Queue, start_worker: StartWorker, kind: str, where: str
    ) -> None:
        """C16, C11: no attempt, no error, no loss; ``why`` says who refused; others run; set anew, the pool is open again."""
        queue.pools.set("vault", 5)
        handlers, trace, log, refusals = Handlers(), Trace("free"), EventLog(), [NoSeat("all 5 taken")]

        def refuse() -> None:
            if refusals:
                raise refusals.pop()

        @handlers.login("vault")
        @contextlib.contextmanager
        def login(_: object) -> Any:
            if where == "login":
                refuse()
            yield None

        def work(ctx: Context) -> int:
            if where == "handler":
                refuse()
            return ctx.attempt

        declare(handlers, kind, work, uses={"vault": 1}, retry=Retry(attempts=5, first=0))
        declare(handlers, "thread", trace.run, "free")
        queue.pause()
        handle, after = queue.enqueue("a"), queue.enqueue("a")
        queue.resume()
        worker = start_worker(handlers, sink=log, lease=60, renew=20).worker
        wait_until(lambda: log.count("refused"))
        wait_until(lambda: handle.state() == "ready")
        assert [record.id for record in queue.jobs(state="ready")] == [handle.id, after.id], "Q12: at its place"
        record = handle.record()
        assert (record.attempt, record.losses, record.error) == (0, 0, None)
        assert handle.attempts() == []
        pool = queue.pools["vault"]
        assert (pool.in_use, pool.free) == (0, 0)
        assert pool.refused_until is not None
        left = pool.refused_until - dt.datetime.now(dt.UTC)
        assert dt.timedelta(seconds=25) < left < dt.timedelta(seconds=31), "30 s"
        assert "licence server" in " ".join(obstacle.message for obstacle in handle.why())
        free = queue.enqueue("free")
        assert free.result(timeout=2) == free.id
        queue.pools.set("vault", 5)
        assert handle.result(timeout=2) == 1, "its first attempt that counts"
        assert worker.summary.retried == worker.summary.failed == 0

    def test_c16_the_time_is_a_setting(self, queue: Queue, burst: Burst) -> None:
        """C16: ``refused`` seconds for the first time, twice as long when it is refused again, five minutes at most."""
        queue.pools.set("vault", 1)
        handlers = Handlers()
        declare(handlers, "thread", throws(NoSeat()), uses={"vault": 1})
        queue.enqueue("a")
        burst(handlers, refused=100)
        until = queue.pools["vault"].refused_until
        assert until is not None
        assert 95 < (until - dt.datetime.now(dt.UTC)).total_seconds() < 101

    @pytest.mark.parametrize(
        ("raised", "uses", "closed", "says"),
        [
            (NoSeat(pool="b"), {"a": 1, "b": 1}, {"b"}, None),
            (NoSeat("full"), {"a": 1, "b": 1}, set(), "which pool? raise NoSeat(pool=...): this job uses a, b"),
            (NoSeat("full", pool="c"), {"a": 1}, set(), "NoSeat names pool c, but this job uses a"),
            (NoSeat("full", pool="a"), {}, set(), "NoSeat names pool a, but this job uses none"),
            (NoSeat("full"), {}, set(), "this job uses none"),
        ],
    )
    def test_c16_which_pool_it_speaks_of(
        self, queue: Queue, burst: Burst, raised: NoSeat, uses: dict[str, int], closed: set[str], says: str | None
    ) -> None:
        """C16: the one it names, or the only one of the job; else the attempt has failed: it would be taken again at once."""
        for pool in ("a", "b", "c"):
            queue.pools.set(pool, 1)
        handlers, trace = Handlers(), Trace()

        def work(ctx: Context) -> None:
            trace.run(ctx)
            raise raised

        declare(handlers, "thread", work, uses=uses)
        handle = queue.enqueue("a")
        burst(handlers)
        assert len(trace.ids) == 1
        assert {pool.name for pool in queue.pools.list() if pool.refused_until is not None} == closed
        record = handle.record()
        if says is None:
            assert (record.state, record.attempt) == ("ready", 0)
        else:
            assert (record.state, record.error_type) == ("failed", "NoSeat")
            assert says in (record.error or "")


class TestSkip:
    @kinds
    def test_q21_skipped_is_no_failure(self, queue: Queue, burst: Burst, kind: str) -> None:
        """Q21: with its reason, apart from the failed; the retry rule has no say."""
        handlers = Handlers()
        declare(handlers, kind, throws(Skip("the drawing has a newer version")), retry=Retry(first=0))
        handle = queue.enqueue("a")
        worker = burst(handlers)
        record = handle.record()
        assert (record.state, record.attempt, record.error) == ("skipped", 1, None)
        assert record.reason == "the drawing has a newer version"
        assert handle.attempts() == []
        assert [job.id for job in queue.jobs(state="skipped")] == [handle.id]
        assert list(queue.jobs(state="failed")) == []
        assert (worker.summary.skipped, worker.summary.failed, worker.summary.done) == (1, 0, 1)
        with pytest.raises(JobSkipped, match="the drawing has a newer version"):
            handle.result()

    def test_q21_a_reason_is_cut(self, queue: Queue, burst: Burst) -> None:
        """Q21, R4: at 2,000 characters; what cannot be stored is replaced."""
        handlers = Handlers()
        declare(handlers, "thread", throws(Skip("\ud800" + "x" * 5000)))
        handle = queue.enqueue("a")
        burst(handlers)
        assert handle.record().reason == "?" + "x" * 1999


class TestCancel:
    """Q23: a running job is asked; exactly one of cancel, settle and reap wins."""

    @pytest.mark.parametrize("kind", ["thread", "async", "process"])
    def test_q23_a_busy_worker_hears_of_it_at_once(self, queue: Queue, start_worker: StartWorker, kind: str) -> None:
        """Q23: all slots busy and a stock lease, so that no renewal would come for ten seconds: within a second."""
        handlers = Handlers()
        if kind == "process":
            handlers.handler("a", isolation="process")(_until_told)
        else:
            declare(handlers, kind, _until_cancelled if kind == "async" else _until_told)
        start_worker(handlers, slots=2, lease=30, renew=10)
        handles = [queue.enqueue("a") for _ in range(2)]
        wait_until(lambda: [handle.state() for handle in handles] == ["running"] * 2)
        wait_until(lambda: all(handle.log() for handle in handles), message="both handlers have begun")
        began = time.monotonic()
        assert handles[0].cancel() == "asked"
        assert handles[0].wait(timeout=5).state == "cancelled"
        assert time.monotonic() - began < 1
        assert handles[1].state() == "running"
        handles[1].cancel()
        assert handles[1].wait(timeout=5).state == "cancelled"

    def test_q23_one_that_has_not_begun_never_does(self, queue: Queue, start_worker: StartWorker) -> None:
        """Q23: reserved, but another handler blocks the loop: cancelled meanwhile, it ends as such when it would begin."""
        handlers, gate, ran = Handlers(), Gate(deaf=True), list[str]()

        @handlers.handler("blocks")
        async def block(ctx: Context) -> None:
            gate.run(ctx)

        @handlers.handler("a")
        async def run(ctx: Context) -> None:
            ran.append(ctx.id)

        worker = start_worker(handlers, slots=2, lease=30, renew=10).worker
        queue.enqueue("blocks")
        wait_until(lambda: gate.begun)
        handle = queue.enqueue("a")
        wait_until(lambda: handle.state() == "running")
        assert handle.cancel() == "asked"
        wait_until(lambda: all(hold.cancel for (job, _), hold in worker._turns.held.items() if job == handle.id))
        assert handle.state() == "running"
        gate.opened.set()
        assert handle.wait(timeout=5).state == "cancelled"
        assert ran == []

    @kinds
    def test_q23_what_the_handler_does_of_it(self, queue: Queue, start_worker: StartWorker, kind: str) -> None:
        """Q23: a success stands, an error of its own is a failure that does not run again, a skip is one."""
        handlers = Handlers()

        begun: list[str] = []

        def after(end: Callable[[Context], Any], ctx: Context) -> Any:
            begun.append(ctx.id)
            wait_until(lambda: ctx.cancelled, 10)
            return end(ctx)

        async def aafter(end: Callable[[Context], Any], ctx: Context) -> Any:
            begun.append(ctx.id)
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                return end(ctx)

        ends: dict[str, tuple[Callable[[Context], Any], str]] = {
            "returns": (lambda _: "done", "succeeded"),
            "raises": (throws(ValueError("on the way out")), "cancelled"),
            "skips": (throws(Skip("nothing left")), "skipped"),
        }
        for name, (end, _) in ends.items():
            work = functools.partial(aafter if kind == "async" else after, end)
            declare(handlers, kind, work, name, retry=Retry(first=0))
        start_worker(handlers, slots=3)
        handles = {name: queue.enqueue(name) for name in ends}
        wait_until(lambda: len(begun) == len(ends))  # its job is running before a handler begins
        for handle in handles.values():
            handle.cancel()
        assert {name: handle.wait(timeout=5).state for name, handle in handles.items()} == {
            name: state for name, (_, state) in ends.items()
        }

    def test_q23_cancel_settle_and_reap_at_once(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """Q23: 150 jobs whose leases have run out are settled, cancelled and reaped from three sides: each has one fate.

        What each of the three was told fits it. In turn, one of them is first, and the other two race; or all three.
        """
        count, url = 150, server.url
        said: dict[str, dict[str, str]] = {"settle": {}, "cancel": {}, "reap": {}}
        barrier = threading.Barrier(3, timeout=10)
        with (
            contextlib.closing(
                FakeWorker(url, namespace, {"a": {}}, slots=count, lease=0.3, if_lost="rerun")
            ) as holder,
            contextlib.closing(FakeWorker(url, namespace, {"b": {}})) as looker,
        ):
            handles = [queue.enqueue("a") for _ in range(count)]
            assert len(holder.turn(waits=False)) == count
            seen = wait_until(lambda: looker.renew().suspects)[
                0
            ]  # reserved in one turn, they have one token and deadline

            def settle(handle: JobHandle) -> str:
                holder.settle(handle.id)
                return holder.states[0]

            def cancel(handle: JobHandle) -> str:
                try:
                    return handle.cancel()
                except WrongState:
                    return "ended"

            def reap(handle: JobHandle) -> str:
                return looker.reap(Suspect("job", handle.id, seen.b, seen.deadline))[0]

            def go(name: str, act: Callable[[JobHandle], str]) -> None:
                for n, handle in enumerate(handles):
                    first = [*said, None][n % 4]
                    if first == name:
                        said[name][handle.id] = act(handle)
                    barrier.wait()
                    if first != name:
                        said[name][handle.id] = act(handle)

            acts = {"settle": settle, "cancel": cancel, "reap": reap}
            threads = [threading.Thread(target=go, args=act) for act in acts.items()]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            fates = Counter(fate(handle, said) for handle in handles)
        assert {"settled", "reaped", "asked, then reaped"} <= fates.keys(), (
            f"they never met: nothing was tested ({fates})"
        )


def fate(handle: JobHandle, said: dict[str, dict[str, str]]) -> str:
    """Assert that what the three were told fits one fate, and return it."""
    settled, asked, reaped = (said[who][handle.id] for who in ("settle", "cancel", "reap"))
    state = handle.state()
    told = (settled, asked, reaped, state)
    if settled == "succeeded":
        assert (reaped, state) == ("alive", "succeeded"), told
        assert asked in {"asked", "ended"}, told
        return "settled"
    assert settled == "stale", told
    assert reaped in {"ready", "cancelled"}, told
    if reaped == "cancelled":
        assert (asked, state) == ("asked", "cancelled"), told
        return "asked, then reaped"
    assert (asked, state) == ("cancelled", "cancelled"), told
    return "reaped"


def _until_told(ctx: Context) -> None:
    ctx.log("begun")
    while True:
        ctx.sleep(30)


async def _until_cancelled(ctx: Context) -> None:
    ctx.log("begun")
    await asyncio.sleep(30)
