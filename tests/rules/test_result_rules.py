"""What a producer gets back: results, bells, tokens, and batches of jobs.

The rules for these have no id of their own in the list of rules; each test says what it holds to, and R2, R6, T5 and
DESIGN 5.3, 5.4, 5.6 are cited where they are meant.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.support import Gate, ThreadWorker, Trace, assert_one_place, client_calls, idle_slots

from seatline.producer import Job, JobRecord, Queue
from seatline.shared.calls.base import Read
from seatline.shared.errors import (
    Closed,
    Conflict,
    InvalidInput,
    JobCancelled,
    JobFailed,
    JobInterrupted,
    JobLost,
    NoSuchJob,
    PartialEnqueue,
    ResultExpired,
)
from seatline.worker import Context, Handlers, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]


def cannot_convert(ctx: Context, file: str) -> None:
    raise LookupError(f"no format in {file}")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def gated(gate: Gate) -> Handlers:
    handlers = Handlers()
    handlers.handler("gate")(gate.run)
    return handlers


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start a call in a thread; its value or its exception is put on the list."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


class TestResult:
    def test_result_is_what_the_handler_returned(self, queue: Queue, burst: Burst) -> None:
        """A value comes back, None too; who asks later gets it as well."""
        handlers = Handlers()
        handlers.handler("echo")(lambda _ctx, value: value)
        values = [0, None, {"a": [1]}, ""]
        handles = [queue.enqueue("echo", {"value": value}) for value in values]
        burst(handlers)
        for handle, value in zip(handles, values, strict=True):
            assert handle.result(timeout=1) == handle.result() == queue.handle(handle.id).result() == value

    def test_result_of_a_failure_carries_the_remote_traceback(self, queue: Queue, burst: Burst) -> None:
        """JobFailed has type, message and traceback of what was raised in the worker, and shows them all."""
        handlers = Handlers()
        handlers.handler("convert")(cannot_convert)
        handle = queue.enqueue("convert", {"file": "a.dwg"})
        burst(handlers)
        with pytest.raises(JobFailed) as caught:
            handle.result(timeout=1)
        failed = caught.value
        assert (failed.error_type, failed.error) == ("LookupError", "no format in a.dwg")
        assert "in cannot_convert" in failed.traceback
        assert 'raise LookupError(f"no format in {file}")' in failed.traceback
        assert __file__ in failed.traceback
        for text in (failed.traceback.strip(), f"job {int(handle.id)} (convert) failed"):
            assert text in str(failed)

    def test_result_says_what_else_became_of_the_job(self, queue: Queue, burst: Burst) -> None:
        """Params that do not bind fail the job at once as BadParams; a cancelled job is JobCancelled."""
        handlers = Handlers()
        handlers.handler("convert")(cannot_convert)
        unbound, more = queue.enqueue("convert"), queue.enqueue("convert", {"file": "a", "fast": True})
        cancelled = queue.enqueue("convert", {"file": "a"})
        cancelled.cancel()
        burst(handlers)
        for handle, word in ((unbound, "needs file"), (more, "does not take fast")):
            with pytest.raises(JobFailed, match=word) as caught:
                handle.result(timeout=1)
            assert caught.value.error_type == "BadParams"
        with pytest.raises(JobCancelled, match="was cancelled"):
            cancelled.result(timeout=1)

    def test_result_of_an_interrupted_job_says_why(self, queue: Queue, start_worker: StartWorker) -> None:
        """JobInterrupted names the reason and the way out, also when its worker was told to go (C13)."""
        gate, handlers = Gate(deaf=True), Handlers()
        handlers.handler("gate")(gate.run)
        worker = start_worker(handlers)
        handle = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        worker.stop(now=True)
        gate.opened.set()
        with pytest.raises(JobInterrupted, match=f"seatline jobs resubmit {int(handle.id)}") as caught:
            handle.result(timeout=1)
        assert "None" not in str(caught.value)
        assert worker.worker.id in str(caught.value)

    def test_result_is_kept_for_its_time_and_then_expired(self, queue: Queue, burst: Burst) -> None:
        """result_ttl: kept so long, by default a day; afterwards ResultExpired says until when, and the job stays."""
        handlers = Handlers()
        handlers.handler("echo")(lambda _ctx, value: value)
        short = queue.enqueue("echo", {"value": 5}, result_ttl=1)
        usual = queue.enqueue("echo", {"value": 6})
        nothing = queue.enqueue("echo", {"value": None}, result_ttl=1)
        burst(handlers)
        assert short.result(timeout=1) == 5
        record = short.record()
        assert record.result_until is not None
        assert record.finished is not None
        assert (record.result_until - record.finished).total_seconds() == 1
        until = usual.record().result_until
        assert until is not None
        assert 86_399 < (until - record.finished).total_seconds() < 86_410
        wait_until(lambda: not short.record().result_packed, 3, "the end of the result")
        with pytest.raises(ResultExpired, match=f"was kept only until {record.result_until:%F %T} UTC"):
            short.result(timeout=1)
        assert short.state() == "succeeded"
        assert usual.result(timeout=1) == 6
        assert nothing.result(timeout=1) is None

    def test_result_times_out_and_the_job_goes_on(
        self, queue: Queue, start_worker: StartWorker, gate: Gate, gated: Handlers
    ) -> None:
        """TimeoutError tells that the job goes on; it does, and is asked again."""
        start_worker(gated)
        handle = queue.enqueue("gate")
        for timeout in (0, 0.1):
            with pytest.raises(TimeoutError, match=f"within {timeout} s; it goes on"):
                handle.result(timeout=timeout)
        wait_until(lambda: handle.state() == "running")
        gate.opened.set()
        assert handle.result(timeout=10) == "through"

    def test_result_wakes_by_a_bell_and_not_by_polling(
        self,
        queue: Queue,
        make_queue: Callable[..., Queue],
        proxy: FaultProxy,
        start_worker: StartWorker,
        gate: Gate,
        gated: Handlers,
    ) -> None:
        """DESIGN 5.6: a waiter looks once, blocks, and looks once more when it is rung; between, it sends nothing."""
        start_worker(gated)
        waiter = make_queue(proxy.url)
        handle = waiter.handle(queue.enqueue("gate").id)
        waiter.store.meet()
        before = proxy.commands.copy()
        _, outcome = in_thread(lambda: handle.result(timeout=30))
        wait_until(lambda: proxy.commands[b"BLPOP"] > before[b"BLPOP"])
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 1.2, message="a while in which polling would show")
        assert outcome == []
        gate.opened.set()
        wait_until(lambda: outcome)
        assert outcome == ["through"]
        sent = proxy.commands - before
        assert sent[b"BLPOP"] == 1
        assert sent[b"EVALSHA"] <= 3, "look, look again, and perhaps the first contact of the thread"

    def test_result_waits_of_many_are_all_rung(
        self,
        private_server: Callable[..., RealServer],
        make_queue: Callable[..., Queue],
        start_worker: StartWorker,
        gate: Gate,
        gated: Handlers,
    ) -> None:
        """DESIGN 5.6: eight threads wait for one job; the server's own count says that none of them polled."""
        private = private_server()
        owner = make_queue(private.url)
        start_worker(gated, private.url, lease=60, renew=20)
        handle = owner.enqueue("gate")
        wait_until(lambda: gate.begun)
        with contextlib.closing(private.client()) as raw:
            threads = [in_thread(lambda: handle.result(timeout=30)) for _ in range(8)]
            wait_until(lambda: raw.info("clients")["blocked_clients"] >= 9)  # and the worker's ear
            raw.config_resetstat()
            began = time.monotonic()
            wait_until(lambda: time.monotonic() - began > 1.0, message="a while in which polling would show")
            assert client_calls(raw, "evalsha") <= 1, "they poll"
            gate.opened.set()
            wait_until(lambda: all(outcome == ["through"] for _, outcome in threads))
            assert client_calls(raw, "evalsha") <= 8 + 4, "a look for each, and the worker's turns"

    def test_result_of_a_job_that_is_removed_meanwhile(self, queue: Queue) -> None:
        """Whoever waits for a job that is removed is rung and told, not left to wait."""
        handle = queue.enqueue("a")
        _, outcome = in_thread(lambda: handle.result(timeout=30))
        wait_until(lambda: b"listeners" in queue.store.read(_raw(queue, handle.id)))
        queue.handle(handle.id).remove()
        wait_until(lambda: outcome, 3)
        assert isinstance(outcome[0], JobLost)

    def test_result_never_shows_another_job_of_the_same_id(
        self, private_server: Callable[..., RealServer], make_queue: Callable[..., Queue], burst: Burst
    ) -> None:
        """T5, DESIGN 5.4: a server without a file forgets and gives an id again; the old handle says that it is lost."""
        private = private_server()
        owner = make_queue(private.url)
        old = owner.enqueue("a", {"n": 1})
        private.restart(kill=True)
        new = make_queue(private.url).enqueue("a", {"n": 2})  # the other's lane is forgotten too, and it would say so
        assert new.id == old.id, "the server did not forget: nothing is tested"
        burst(Trace("a").handlers, private.url)
        for ask in (old.state, old.record, lambda: old.result(timeout=5)):
            with pytest.raises(JobLost, match="the server does not have it"):
                ask()
        assert new.result(timeout=1) == new.id

    def test_a_closed_queue_leaves_no_connection(self, make_queue: Callable[..., Queue], redis: Redis) -> None:
        """close() closes the bell's connection too, of whichever thread."""
        owner = make_queue()
        handle = owner.enqueue("a")
        for _ in range(2):
            thread, outcome = in_thread(lambda: handle.wait(timeout=0.05))
            thread.join()
            assert isinstance(outcome[0], TimeoutError)
        with pytest.raises(TimeoutError):
            handle.wait(timeout=0.05)

        def connections() -> int:
            name = f"seatline:producer:{owner.store.client}"
            return [client["name"] for client in redis.client_list()].count(name)

        assert connections() >= 2
        owner.close()
        wait_until(lambda: not connections(), 2, "the end of the last connection")


def _raw(queue: Queue, job_id: str) -> Read[list[bytes]]:
    return Read([("HKEYS", queue.store.keys.job(job_id))], lambda replies: replies[0])


class TestTokens:
    """A producer's own token makes a submission exactly-once for as long as the job is kept."""

    def test_token_twice_is_one_job(self, queue: Queue, make_queue: Callable[..., Queue], burst: Burst) -> None:
        """R2: the same token and content is the same job, from another client too, and after it has ended."""
        first = queue.enqueue("a", {"n": 1}, token="load-7")
        assert not first.existed
        for other in (queue, make_queue()):
            again = other.enqueue("a", {"n": 1}, token="load-7", priority=1, title="tried again")
            assert (again.id, again.existed) == (first.id, True)
        assert first.record().priority == 10, "the second submission changed nothing"
        assert len(list(queue.jobs())) == 1
        trace = Trace("a")
        burst(trace.handlers)
        assert trace.ids == [first.id]
        late = queue.enqueue("a", {"n": 1}, token="load-7")
        assert (late.id, late.existed, late.result(timeout=1)) == (first.id, True, first.id)

    @pytest.mark.parametrize(
        "other",
        [{"type": "b"}, {"params": {"n": 2}}, {"params": {}}, {"uses": {"vault": 1}}, {"uses": {}}, {"tenant": "B"}],
        ids=str,
    )
    def test_token_of_other_content_is_a_conflict(self, queue: Queue, other: dict[str, Any]) -> None:
        """Another type, params, seats or tenant under a known token is refused, names the token, stores nothing."""
        usual: dict[str, Any] = {"type": "a", "params": {"n": 1}, "token": "load-7"}
        first = queue.enqueue(**usual)
        with pytest.raises(Conflict, match="token: 'load-7' was already used for a job with other content"):
            queue.enqueue(**{**usual, **other})
        assert [record.id for record in queue.jobs()] == [first.id]
        assert int(queue.enqueue("a").id) == int(first.id) + 1, "the refused one cost a sequence number"

    def test_token_is_found(self, queue: Queue) -> None:
        """find() gives the job of a token, or None; a removed job's token is free again."""
        assert queue.find("load-7") is None
        first = queue.enqueue("a", token="load-7")
        found = queue.find("load-7")
        assert found is not None
        assert (found.id, found.record().token) == (first.id, "load-7")
        first.remove()
        assert queue.find("load-7") is None
        assert not queue.enqueue("b", token="load-7").existed

    def test_token_in_batches(self, queue: Queue, redis: Redis, namespace: str) -> None:
        """Known before, or twice in one batch: one job each, ids in order; a conflict refuses its whole batch."""
        known = queue.enqueue("a", {"n": 0}, token="t0")
        jobs = [Job("a", {"n": n % 3}, token=f"t{n % 3}") for n in range(6)] + [Job("a")]
        ids = queue.enqueue_many(jobs)
        assert ids[0] == ids[3] == known.id
        assert ids[1] == ids[4]
        assert ids[2] == ids[5]
        assert [int(job_id) - int(known.id) for job_id in (ids[1], ids[2], ids[6])] == [1, 2, 3]
        assert queue.enqueue_many(jobs[:6]) == ids[:6]
        with pytest.raises(Conflict, match="'t1'"):
            queue.enqueue_many([Job("a"), Job("a", {"n": 2}, token="t1")])
        assert_one_place(redis, namespace, 4)

    def test_token_race_has_one_winner(self, make_queue: Callable[..., Queue]) -> None:
        """R2: eight clients submit one token at once; all get one id, exactly one made it."""
        barrier = threading.Barrier(8)

        def submit(client: Queue) -> tuple[str, bool]:
            barrier.wait(10)
            handle = client.enqueue("a", {"n": 1}, token="race")
            return handle.id, handle.existed

        threads = [in_thread(functools.partial(submit, make_queue())) for _ in range(8)]
        wait_until(lambda: all(outcome for _, outcome in threads))
        answers = [outcome[0] for _, outcome in threads]
        assert len({job_id for job_id, _ in answers}) == 1
        assert sorted(existed for _, existed in answers) == [False] + [True] * 7


class TestEnqueueMany:
    """Many jobs in one call, streamed in batches of a thousand."""

    def test_many_ids_come_in_order(self, queue: Queue, make_queue: Callable[..., Queue]) -> None:
        """The ids are those of the jobs, in order, over batches, while another client submits too."""
        other, stop = make_queue(), threading.Event()

        def disturb() -> None:
            while not stop.is_set():
                other.enqueue("b")

        thread, _ = in_thread(disturb)
        ids = queue.enqueue_many(Job("a", {"n": n}) for n in range(2500))
        stop.set()
        thread.join()
        assert ids == sorted(set(ids))
        assert len(ids) == 2500
        stored = {record.id: record.params["n"] for record in queue.jobs(type="a")}
        assert [stored[job_id] for job_id in ids] == list(range(2500))
        assert queue.enqueue_many([]) == []

    def test_many_are_read_lazily(self, queue: Queue) -> None:
        """The first batch is on the queue before the 1,002nd job is asked for; large jobs are sent sooner."""
        seen: list[int] = []

        def waiting() -> int:
            return sum(1 for _ in queue.jobs(state="ready"))

        def jobs() -> Iterator[Job]:
            for n in range(1002):
                if n in {999, 1001}:
                    seen.append(waiting())
                yield Job("a")

        queue.enqueue_many(jobs())
        assert seen == [0, 1000]

        def large() -> Iterator[Job]:
            for n in itertools.count():
                if n == 30:
                    seen.append(waiting())
                    return
                yield Job("a", {"data": b"x" * 200_000})

        queue.enqueue_many(large())
        assert seen[2] > 1002 + 10, "30 jobs of 200 kB each were not sent before the end"

    def test_many_with_a_bad_one_tells_how_far_it_came(self, queue: Queue) -> None:
        """Item 1,500 is bad: 1,500 ids, that index, the cause; going on behind it gives the rest, in order."""
        jobs = [Job("a", {"n": n}, priority=0 if n == 1500 else 10) for n in range(1600)]
        with pytest.raises(PartialEnqueue) as caught:
            queue.enqueue_many(iter(jobs))
        error = caught.value
        assert (len(error.ids), error.index) == (1500, 1500)
        assert isinstance(error.cause, InvalidInput)
        assert error.__cause__ is error.cause
        assert "1500 jobs were accepted" in str(error)
        assert "priority: 0" in str(error)
        rest = queue.enqueue_many(jobs[error.index + 1 :])
        assert [record.id for record in queue.jobs()] == error.ids + rest
        assert [record.params["n"] for record in queue.jobs()] == [n for n in range(1600) if n != 1500]

    def test_many_whose_first_is_bad_store_nothing(self, queue: Queue, redis: Redis) -> None:
        """Nothing accepted yet: the cause itself is raised."""
        with pytest.raises(InvalidInput, match=r"^type: "):
            queue.enqueue_many([Job("a b"), Job("a")])
        assert redis.dbsize() == 0

    def test_many_into_a_namespace_that_closes(self, queue: Queue, make_queue: Callable[..., Queue]) -> None:
        """Closed in between (Q19): the batches before it stand, none of the next does; reopened, it goes on."""
        other = make_queue()

        def jobs() -> Iterator[Job]:
            for n in range(2500):
                if n == 1500:
                    assert other.shut()
                yield Job("a", {"n": n})

        with pytest.raises(PartialEnqueue) as caught:
            queue.enqueue_many(jobs())
        assert (len(caught.value.ids), caught.value.index) == (1000, 1000)
        assert isinstance(caught.value.cause, Closed)
        assert [record.id for record in queue.jobs()] == caught.value.ids
        with pytest.raises(Closed):
            queue.enqueue_many([Job("a")])
        assert other.reopen()
        assert len(queue.enqueue_many([Job("a")])) == 1

    def test_many_from_an_iterable_that_breaks(self, queue: Queue) -> None:
        """The iterable's own error does not hide which jobs were accepted before it; alone, it goes through as it is."""

        def jobs() -> Iterator[Job]:
            for n in range(1500):
                yield Job("a", {"n": n})
            raise OSError("the disk with the list is gone")

        with pytest.raises(PartialEnqueue, match="the disk with the list is gone") as caught:
            queue.enqueue_many(jobs())
        assert caught.value.ids == [record.id for record in queue.jobs()]
        assert caught.value.index == 1000
        assert isinstance(caught.value.cause, OSError)
        with pytest.raises(OSError, match="the disk with the list is gone"):
            queue.enqueue_many(itertools.islice(jobs(), 1500, None))


class TestIdle:
    """DESIGN 6: an idle worker sends at most half a command a second beside its heartbeat."""

    def test_idle_worker_is_quiet(
        self, private_server: Callable[..., RealServer], make_queue: Callable[..., Queue], start_worker: StartWorker
    ) -> None:
        """Counted by the server over six seconds, between two heartbeats; then it still hears the bell at once."""
        private = private_server()
        owner, trace = make_queue(private.url), Trace("a")
        worker = start_worker(trace.handlers, private.url, slots=4, lease=120, renew=40).worker
        wait_until(lambda: idle_slots(owner) == 4)
        with contextlib.closing(private.client()) as raw:
            wait_until(
                lambda: raw.hexists(owner.store.keys(f"worker:{worker.id}"), "busy"), message="the first heartbeat"
            )
            wait_until(lambda: raw.info("clients")["blocked_clients"] == 1)
            raw.config_resetstat()
            began = time.monotonic()
            wait_until(lambda: time.monotonic() - began > 6, 10, "six quiet seconds")
            calls = client_calls(raw, "evalsha", "eval", "blpop", "hgetall", "get", "zrange")
            assert client_calls(raw, "evalsha") <= 2
            assert client_calls(raw, "evalsha", "blpop") <= 6 * 0.5
            assert calls < 40, "what its looks cost inside"
        handle = owner.enqueue("a")
        record: JobRecord = handle.wait(timeout=2)
        assert record.started is not None
        assert record.created is not None
        assert (record.started - record.created).total_seconds() < 0.5


def test_what_never_existed_is_said_so(queue: Queue) -> None:
    """A snapshot, a state and a wait of an unknown id say that it does not exist; none waits for it."""
    for ask in (lambda: queue.job(7), queue.handle(7).state):
        with pytest.raises(NoSuchJob, match="job 7: no such job"):
            ask()
    with pytest.raises(JobLost):
        queue.handle(7).result(timeout=5)
