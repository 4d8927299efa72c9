"""Uniqueness and superseding (Q16): one living job for a key; the newest takes the place of one that waits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Job, Queue
from seatline.shared.errors import Conflict, Duplicate, InvalidInput, JobSkipped
from seatline.worker import Context, Handlers, Worker

Fake = Callable[..., FakeWorker]


@pytest.fixture
def fake(server: RealServer, namespace: str) -> Iterator[Fake]:
    with contextlib.ExitStack() as workers:

        def make(**options: Any) -> FakeWorker:
            return workers.enter_context(contextlib.closing(FakeWorker(server.url, namespace, {"a": {}}, **options)))

        yield make


def keys_left(redis: Redis, namespace: str) -> list[str]:
    return [
        key.decode() for what in ("unique", "newest") for key in redis.scan_iter(f"{{{namespace}}}:{what}:*".encode())
    ]


class TestUnique:
    """``unique=``: while a job with the key lives, that is the job."""

    def test_q16_the_living_one_is_returned(self, queue: Queue, fake: Fake) -> None:
        """Q16: waiting, scheduled or running; once it has ended, a new one is enqueued."""
        worker = fake()
        first = queue.enqueue("a", {"n": 1}, unique="bracket")
        again = queue.enqueue("a", {"n": 2}, unique="bracket")
        assert (again.id, again.existed, first.existed) == (first.id, True, False)
        assert first.record().unique == "bracket"
        assert worker.turn() == [first.id]
        assert queue.enqueue("a", unique="bracket").id == first.id
        worker.turn(first.id)
        later = queue.enqueue("a", unique="bracket", delay=60)
        assert later.id != first.id
        assert queue.enqueue("a", unique="bracket").id == later.id

    def test_q16_true_means_type_params_and_tenant(self, queue: Queue) -> None:
        """Q16: the same again is the same; another param, type or tenant is another."""
        first = queue.enqueue("a", {"file": "a.dwg"}, unique=True)
        assert queue.enqueue("a", {"file": "a.dwg"}, unique=True, priority=1, title="again").id == first.id
        others = [
            queue.enqueue("a", {"file": "b.dwg"}, unique=True),
            queue.enqueue("b", {"file": "a.dwg"}, unique=True),
            queue.enqueue("a", {"file": "a.dwg"}, unique=True, tenant="Acme"),
            queue.enqueue("a", {"file": "a.dwg"}),
        ]
        assert len({first.id, *(each.id for each in others)}) == 5

    def test_q16_refused(self, queue: Queue) -> None:
        """Q16: on_duplicate="refuse": the error names the job; nothing of the call is stored."""
        first = queue.enqueue("a", unique="bracket")
        with pytest.raises(Duplicate, match=f"job {int(first.id)} has that key") as caught:
            queue.enqueue("a", unique="bracket", on_duplicate="refuse")
        assert caught.value.id == first.id
        with pytest.raises(Duplicate):
            queue.enqueue_many([Job("a"), Job("a", unique="bracket", on_duplicate="refuse")])
        assert [job.id for job in queue.jobs()] == [first.id]

    @pytest.mark.parametrize("end", ["succeeded", "failed", "skipped", "cancelled", "interrupted", "returned"])
    def test_q16_whatever_ends_it_frees_the_key(
        self, queue: Queue, fake: Fake, redis: Redis, namespace: str, end: str
    ) -> None:
        """Q16: interrupted too; a job that goes back to its place keeps it."""
        worker = fake()
        job = queue.enqueue("a", unique="bracket")
        worker.turn()
        worker.turn(job.id, outcome=end, want=0)
        if end == "returned":
            assert queue.enqueue("a", unique="bracket").id == job.id
            assert job.cancel() == "cancelled"
        assert keys_left(redis, namespace) == []
        assert queue.enqueue("a", unique="bracket").id != job.id

    def test_q16_other_ends(self, queue: Queue, fake: Fake, redis: Redis, namespace: str) -> None:
        """Q16: removed while it waits, expired, lost for the third time."""
        queue.enqueue("a", unique="removed").remove()
        late = queue.enqueue("a", unique="expired", expires=0.001)
        worker, other = fake(lease=0.3), fake()

        def has_expired() -> bool:
            other.renew()
            return late.state() == "expired"

        wait_until(has_expired)
        lost = queue.enqueue("a", unique="lost")
        assert worker.turn() == [lost.id]
        (suspect,) = wait_until(lambda: other.renew().suspects)
        assert other.reap(suspect) == ["interrupted"]
        assert keys_left(redis, namespace) == []

    def test_q16_only_its_owner_frees_it(self, queue: Queue, fake: Fake, redis: Redis, namespace: str) -> None:
        """Q16: a key that was given on by hand stays."""
        worker = fake()
        job = queue.enqueue("a", unique="bracket")
        redis.set(f"{{{namespace}}}:unique:bracket", "0000000000009999")
        worker.turn()
        worker.turn(job.id, want=0)
        assert redis.get(f"{{{namespace}}}:unique:bracket") == b"0000000000009999"
        assert queue.enqueue("a", unique="bracket").id != job.id, "nobody lives who has it"

    def test_q16_resubmit_takes_it_again_or_is_refused(self, queue: Queue, fake: Fake) -> None:
        """Q16: of two with the key one may live."""
        worker = fake()
        job = queue.enqueue("a", unique="bracket")
        worker.turn()
        worker.turn(job.id, outcome="failed", want=0)
        other = queue.enqueue("a", unique="bracket")
        with pytest.raises(Duplicate, match=f"job {int(other.id)} has its key"):
            job.resubmit()
        other.cancel()
        assert job.resubmit() == "failed"
        assert queue.enqueue("a", unique="bracket").id == job.id
        worker.turn()
        worker.turn(job.id, want=0)
        assert queue.enqueue("a", unique="bracket").id != job.id

    def test_q16_within_one_call(self, queue: Queue) -> None:
        """Q16: the first of a batch is the job of all with its key."""
        ids = queue.enqueue_many([Job("a", {"n": n}, unique=f"k{n % 3}") for n in range(9)])
        assert ids == ids[:3] * 3
        assert len(set(ids)) == 3
        assert len(list(queue.jobs())) == 3

    def test_q16_with_a_token(self, queue: Queue, fake: Fake) -> None:
        """Q16: the token stands for the submission, the key for the living job."""
        worker = fake()
        job = queue.enqueue("a", {"n": 1}, token="t1", unique="k")
        assert queue.enqueue("a", {"n": 1}, token="t1", unique="k").id == job.id
        assert queue.enqueue("a", {"n": 2}, token="t2", unique="k").id == job.id
        with pytest.raises(Conflict, match="'t1'"):
            queue.enqueue("a", {"n": 3}, token="t1", unique="k")
        worker.turn()
        worker.turn(job.id, want=0)
        assert queue.enqueue("a", {"n": 1}, token="t1", unique="k").id == job.id, "that submission was made"
        assert queue.enqueue("a", {"n": 2}, unique="k").id != job.id

    def test_q16_race(self, server: RealServer, namespace: str, queue: Queue) -> None:
        """Q16: of many at once, one is enqueued."""
        ids: list[str] = []
        start = threading.Barrier(8)

        def run() -> None:
            with Queue(server.url, namespace=namespace) as mine:
                start.wait()
                ids.extend(mine.enqueue("a", unique=f"k{n}").id for n in range(50))

        threads = [threading.Thread(target=run) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(ids) == 400
        assert len(set(ids)) == 50
        assert len(list(queue.jobs())) == 50

    def test_q16_by_a_handler(self, server: RealServer, namespace: str, queue: Queue) -> None:
        """Q16: ctx.enqueue: one for all who ask."""
        handlers = Handlers()

        @handlers.handler("a")
        def work(ctx: Context, n: int) -> None:
            ctx.enqueue("report", {"n": n}, unique="report")

        queue.enqueue_many([Job("a", {"n": n}) for n in range(20)])
        Worker(handlers, server.url, namespace=namespace, slots=4).run(burst=True)
        (report,) = queue.jobs(state="ready")
        assert (report.type, report.unique) == ("report", "report")

    def test_r4_bad_keys(self, queue: Queue) -> None:
        """R4: named, and nothing is sent."""
        with pytest.raises(InvalidInput, match="unique"):
            queue.enqueue("a", unique="a b")
        with pytest.raises(InvalidInput, match="supersede"):
            queue.enqueue("a", supersede="")
        with pytest.raises(InvalidInput, match="on_duplicate: 'ignore'"):
            queue.enqueue("a", unique="a", on_duplicate="ignore")  # type: ignore[call-overload]
        assert list(queue.jobs()) == []


class TestSupersede:
    """``supersede=``: a newer job for the same key ends the waiting older one."""

    def test_q16_the_newer_takes_the_place(self, queue: Queue, fake: Fake, redis: Redis, namespace: str) -> None:
        """Q16: the older one ends as skipped, and says by whom; who waits for it hears of it."""
        worker = fake(slots=3)
        old = queue.enqueue("a", {"version": 1}, supersede="a.dwg")
        other = queue.enqueue("a", supersede="b.dwg")
        new = queue.enqueue("a", {"version": 2}, supersede="a.dwg")
        assert old.record().reason == f"superseded by job {int(new.id)}"
        with pytest.raises(JobSkipped, match="superseded"):
            old.result(timeout=5)
        assert worker.turn() == [other.id, new.id]
        worker.turn(other.id, new.id, want=0)
        assert keys_left(redis, namespace) == []

    def test_q16_what_runs_is_left_to_its_end(self, queue: Queue, fake: Fake) -> None:
        """Q16: the newest waits behind it; a third takes the place of that."""
        worker = fake()
        runs = queue.enqueue("a", supersede="a.dwg")
        worker.turn()
        second = queue.enqueue("a", supersede="a.dwg")
        third = queue.enqueue("a", supersede="a.dwg", delay=60)
        assert [each.state() for each in (runs, second, third)] == ["running", "skipped", "scheduled"]
        worker.turn(runs.id, want=0)
        fourth = queue.enqueue("a", supersede="a.dwg")
        assert [each.state() for each in (runs, third, fourth)] == ["succeeded", "skipped", "ready"]

    def test_q16_within_one_call(self, queue: Queue, fake: Fake) -> None:
        """Q16: of one batch the last is the newest; the others never stand in a line."""
        worker = fake(slots=9)
        ids = queue.enqueue_many([Job("a", {"n": n}, supersede=f"k{n % 2}", delay=60 * (n == 2)) for n in range(6)])
        assert [queue.job(each).state for each in ids] == ["skipped"] * 4 + ["ready"] * 2
        assert worker.turn() == ids[4:]

    def test_q16_by_a_handler(self, server: RealServer, namespace: str, queue: Queue) -> None:
        """Q16: a chatty batch leaves one report."""
        handlers = Handlers()

        @handlers.handler("a")
        def work(ctx: Context, n: int) -> None:
            ctx.enqueue("report", {"n": n}, supersede="report", delay=60)

        queue.enqueue_many([Job("a", {"n": n}) for n in range(20)])
        Worker(handlers, server.url, namespace=namespace).run(burst=True)
        (report,) = queue.jobs(state="scheduled")
        assert report.params == {"n": 19}
        assert len(list(queue.jobs(state="skipped"))) == 19
