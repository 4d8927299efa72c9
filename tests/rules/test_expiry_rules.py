"""Jobs that are not to start after a moment: never started late, and ended within a renewal (DESIGN 1: `expired`)."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import Trace, places

from seatline.producer import Job, JobHandle, Queue
from seatline.shared.errors import InvalidInput, JobExpired
from seatline.worker import Worker

Fake = Callable[..., FakeWorker]
NOW = dt.datetime.now(dt.UTC)
LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)  # in a test's name: the same in every process of a run


@pytest.fixture
def fake(server: RealServer, namespace: str) -> Iterator[Fake]:
    with contextlib.ExitStack() as workers:

        def make(types: Mapping[str, Mapping[str, int]] | str = "a", **options: Any) -> FakeWorker:
            wanted = {types: {}} if isinstance(types, str) else types
            return workers.enter_context(contextlib.closing(FakeWorker(server.url, namespace, wanted, **options)))

        yield make


def wait_past(*handles: JobHandle) -> None:
    """Wait until these may no longer start."""
    latest = max(handle.record().expires or NOW for handle in handles)
    wait_until(lambda: time.time() > latest.timestamp() + 0.01, 5)


class TestWhatIsAsked:
    """What `expires` may be."""

    def test_seconds_count_from_the_acceptance(self, queue: Queue) -> None:
        """Seconds, also as a timedelta, become a moment by the server's clock; a moment stays what it is."""
        for asked in (60, 60.0, dt.timedelta(minutes=1)):
            record = queue.enqueue("a", expires=asked).record()
            assert record.created is not None
            assert record.expires == record.created + dt.timedelta(minutes=1)
        moment = dt.datetime(2100, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=9)))
        assert queue.enqueue("a", expires=moment).record().expires == moment
        assert queue.enqueue("a").record().expires is None

    @pytest.mark.parametrize(
        "bad", [0, -1, "1h", True, float("nan"), 1e12, LATER.replace(tzinfo=None), dt.timedelta(0)], ids=repr
    )
    def test_r4_what_is_no_limit_is_refused(self, queue: Queue, bad: Any) -> None:
        """R4: refused before anything is sent, with the argument's name."""
        with pytest.raises(InvalidInput, match=r"expires: .* neither a number of seconds"):
            queue.enqueue("a", expires=bad)
        assert not list(queue.jobs())

    @pytest.mark.parametrize(
        ("when", "name"),
        [
            ({"delay": 60, "expires": 60}, "delay: 60"),
            ({"delay": dt.timedelta(hours=1), "expires": 59}, "delay"),
            ({"at": NOW + dt.timedelta(hours=1), "expires": NOW + dt.timedelta(hours=1)}, "at: "),
            ({"at": NOW + dt.timedelta(hours=1), "expires": 60}, "at: "),
            ({"delay": 7200, "expires": NOW + dt.timedelta(hours=1)}, "delay: 7200"),
        ],
        ids=["delay", "timedelta", "moments", "at-seconds", "delay-moment"],
    )
    def test_r4_it_lies_after_the_moment_it_is_due(self, queue: Queue, when: dict[str, Any], name: str) -> None:
        """R4: a job that could never start is refused, and both arguments are named."""
        with pytest.raises(InvalidInput, match=f"expires: .* does not lie after {name}"):
            queue.enqueue("a", **when)
        assert not list(queue.jobs())

    def test_it_may_be_long_past(self, queue: Queue, fake: Fake) -> None:
        """A moment that passed before it was sent is no error of the caller: it expires like any other."""
        handle = queue.enqueue("a", expires=dt.datetime(1999, 12, 31, tzinfo=dt.UTC))
        assert fake().turn() == []
        assert handle.state() == "expired"


class TestNeverStartedLate:
    """Whoever looks for work is not given a job that is past its moment."""

    def test_it_ends_instead_and_the_next_one_starts(
        self, queue: Queue, fake: Fake, redis: Redis, namespace: str
    ) -> None:
        """The seats that it would have had are the next one's, in the same turn."""
        queue.pools.set("vault", 1)
        late = queue.enqueue("seated", priority=1, expires=0.05)
        good = queue.enqueue("seated", expires=60)
        worker = fake({"seated": {"vault": 1}})
        wait_past(late)
        assert worker.turn() == [good.id]
        assert (late.state(), late.record().attempt, late.record().seats) == ("expired", 0, {})
        assert queue.pools["vault"].in_use == 1
        assert places(redis, namespace)[late.id] == ["finished:expired"]
        worker.settle(good.id)
        assert queue.pools["vault"].in_use == 0

    def test_it_is_found_also_by_a_worker_that_only_works(self, queue: Queue, fake: Fake) -> None:
        """A busy worker does not look after what expires in each turn; reserving is exact all the same."""
        worker = fake()
        for turn in range(20):
            late, good = queue.enqueue("a", expires=0.02), queue.enqueue("a")
            wait_past(late)
            assert worker.turn(*worker.held, waits=False) == [good.id], f"turn {turn}"
            assert late.state() == "expired"

    @pytest.mark.parametrize("classic", [False, True], ids=["normal", "classic"])
    def test_a_burst_ends_only_behind_them(self, queue: Queue, burst: Callable[..., Worker], classic: bool) -> None:
        """A turn passes over so many and no more: a worker that is to do what is left goes on looking."""
        ids = queue.enqueue_many(Job("a", expires=0.05) for _ in range(450))
        good = queue.enqueue("a")
        wait_past(queue.handle(ids[-1]))
        trace = Trace("a")
        burst(trace.handlers, classic=classic)
        assert trace.ids == [good.id]

    def test_a_started_one_is_not_cut_short(self, queue: Queue, fake: Fake) -> None:
        """It started in time: it runs on, is renewed, and succeeds."""
        handle = queue.enqueue("a", expires=0.1)
        worker = fake()
        assert worker.turn() == [handle.id]
        wait_past(handle)
        assert worker.renew().words == ["held"]
        worker.settle(handle.id)
        assert handle.result(timeout=5) is None

    @pytest.mark.parametrize("looks", ["turn", "renew"])
    def test_handed_back_too_late_it_is_not_begun_again(self, queue: Queue, fake: Fake, looks: str) -> None:
        """Drained or lost after its moment, it would begin anew: it ends, whether or not a worker of its type comes."""
        handle = queue.enqueue("a", expires=0.1)
        worker, other = fake(if_lost="rerun"), fake("b")
        worker.turn()
        wait_past(handle)
        other.renew()  # its entry comes up while it runs
        worker.turn(handle.id, outcome="abandoned", want=0)
        if looks == "turn":
            assert worker.turn() == []
        else:
            other.renew()
        assert handle.state() == "expired"

    def test_many_are_passed_over_in_bites(self, queue: Queue, fake: Fake) -> None:
        """300 that came too late stand in front: no turn passes over all of them, and each says to look again at once."""
        last = queue.handle(queue.enqueue_many(Job("a", priority=1, expires=0.05) for _ in range(300))[-1])
        good = queue.enqueue("a", priority=5)
        worker = fake()
        wait_past(last)
        assert worker.turn(waits=False) == []
        assert worker.due == 0, "look again"
        assert worker.turn(waits=False) == [good.id]
        assert sum(1 for _ in queue.jobs(state="expired")) == 300


class TestEndedByTheWay:
    """Nobody needs to look for a job for it to expire."""

    def test_a_worker_of_other_types_ends_it(self, queue: Queue, fake: Fake) -> None:
        """Ready or scheduled, of a type that nobody supports: the next renewal of any worker ends it."""
        ready, scheduled = queue.enqueue("a", expires=0.1), queue.enqueue("a", delay=0.05, expires=0.1)
        staying = queue.enqueue("a", delay=60, expires=90)
        worker = fake("b")
        wait_past(ready, scheduled)
        assert [obstacle.reason for obstacle in ready.why()][:1] == ["expired"]
        worker.renew()
        assert {ready.state(), scheduled.state()} == {"expired"}
        assert (staying.state(), staying.why()[0].reason) == ("scheduled", "due")

    def test_an_idle_worker_ends_it(self, queue: Queue, fake: Fake) -> None:
        """An idle worker looks every few seconds: that ends it too."""
        worker = fake("b")
        worker.turn()
        late = queue.enqueue("a", expires=0.05)
        wait_past(late)
        worker.turn()
        assert late.state() == "expired"

    def test_whoever_waits_is_told(self, queue: Queue, fake: Fake) -> None:
        """`result()` raises JobExpired, which says until when it might have started."""
        handle = queue.enqueue("a", expires=0.05)
        wait_past(handle)
        fake("b").renew()
        with pytest.raises(JobExpired, match=r"expired: it was not to start after .* UTC") as caught:
            handle.result(timeout=5)
        assert "Enqueue it again" in str(caught.value)
        assert [record.id for record in queue.jobs(state="expired")] == [handle.id]

    def test_a_claim_ends_with_it(self, queue: Queue, fake: Fake) -> None:
        """S6: it stood first in the line for a seat; whoever was behind it is rung."""
        queue.pools.set("vault", 2)
        types = {"one": {"vault": 1}, "two": {"vault": 2}}
        holder, idle, other = fake({"one": {"vault": 1}}), fake(types), fake("b")
        queue.enqueue("one")
        assert holder.turn(waits=False)
        late = queue.enqueue("two", priority=1, expires=0.1)
        assert idle.turn() == [], "one of two seats is held: it claims both"
        behind = queue.enqueue("one")
        assert idle.turn() == [], "the free seat is claimed"
        wait_past(late)
        other.renew()
        assert late.state() == "expired"
        assert idle.rung()
        assert idle.turn() == [behind.id]

    def test_what_started_or_ended_leaves_no_trace(self, queue: Queue, fake: Fake, redis: Redis) -> None:
        """Entries of jobs that succeeded, were cancelled, removed or resubmitted are dropped when they come up."""
        handles = [queue.enqueue("a", expires=0.2) for _ in range(4)]
        done, cancelled, removed, again = handles
        worker = fake(slots=4)
        worker.turn(want=1)
        worker.turn(done.id, want=0)
        cancelled.cancel()
        removed.remove()
        again.cancel()
        again.resubmit()
        assert redis.zcard(queue.store.keys("expiring")) == 4
        wait_past(done)
        worker.renew()
        assert redis.exists(queue.store.keys("expiring")) == 0
        assert [done.state(), cancelled.state(), again.state()] == ["succeeded", "cancelled", "ready"]

    def test_q22_resubmitted_it_has_all_the_time(self, queue: Queue, fake: Fake) -> None:
        """Q22: a person who runs it again means it: the old limit no longer counts."""
        handle = queue.enqueue("a", expires=0.05)
        worker = fake()
        wait_past(handle)
        worker.turn()
        assert handle.resubmit() == "expired"
        assert handle.record().expires is None
        assert worker.turn() == [handle.id]
