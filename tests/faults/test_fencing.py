"""A worker that was away too long changes nothing any more (Q14, F7); before that it stops its handlers itself (R10)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from faults.farm import LEASE, RENEW, Farm
from faults.snapshot import keys_of
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import JobHandle, Queue
from seatline.shared.calls import workers
from seatline.shared.calls.workers import Kept, Report
from seatline.shared.errors import JobInterrupted
from seatline.shared.store import Store

QueueAt = Callable[..., Queue]

#: Reaping: the lease, two looks of another worker one renewal apart, and a moment.
RECOVERY = LEASE + 2 * RENEW
MOMENT = 0.5


@pytest.fixture
def queue(queue_at: QueueAt, namespace: str, server: RealServer) -> Queue:
    return queue_at(server.url, namespace)


def runs(farm: Farm, job: JobHandle) -> list[int]:
    """Return the processes that began this job, in order."""
    return [line["pid"] for line in farm.lines("begin", job.id)]


class TestZombie:
    def test_stopped_beyond_its_lease(
        self, farm: Farm, queue: Queue, namespace: str, server: RealServer, redis: Redis
    ) -> None:
        """The other's result stands; the late report is refused and changes nothing."""
        zombie = farm.worker(server.tcp_url, namespace)
        wait_until(lambda: zombie.ready)
        job = queue.enqueue("deaf")
        wait_until(lambda: runs(farm, job) == [zombie.pid])
        zombie.stop()
        farm.release()
        healthy = farm.worker(server.tcp_url, namespace)
        assert job.result(timeout=10) == healthy.pid
        assert runs(farm, job) == [zombie.pid, healthy.pid]
        settled = redis.hgetall(f"{{{namespace}}}:job:{job.id}")
        assert settled[b"losses"] == b"1"
        zombie.go_on()
        wait_until(lambda: zombie.said("the report (succeeded) changed nothing"), 10)
        assert redis.hgetall(f"{{{namespace}}}:job:{job.id}") == settled
        assert job.result() == healthy.pid
        assert [line["pid"] for line in farm.lines("end", job.id)] == [healthy.pid, zombie.pid]
        again = queue.enqueue("note", {"n": 7})  # both work on
        assert again.result(timeout=10) == 7
        assert zombie.child.running
        assert healthy.child.running

    def test_stopped_for_less_than_its_lease(
        self, farm: Farm, queue: Queue, namespace: str, server: RealServer, redis: Redis
    ) -> None:
        """Nothing is to be seen (F8)."""
        one, other = (farm.worker(server.tcp_url, namespace) for _ in range(2))
        wait_until(lambda: one.ready and other.ready)
        job = queue.enqueue("hold")
        wait_until(lambda: len(runs(farm, job)) == 1)
        holder = one if runs(farm, job) == [one.pid] else other
        running = f"{{{namespace}}}:running"
        holder.stop()
        deadline = redis.zscore(running, job.id)
        assert deadline is not None
        wait_until(lambda: deadline - _now(redis) < 1000 * LEASE / 3, message="most of the lease being over")
        holder.go_on()
        wait_until(lambda: (redis.zscore(running, job.id) or 0) > deadline, message="the renewal")
        farm.release()
        assert job.result(timeout=5) == holder.pid
        assert runs(farm, job) == [holder.pid]
        assert job.record().losses == 0

    def test_a_job_that_must_not_run_twice(self, farm: Farm, queue: Queue, namespace: str, server: RealServer) -> None:
        """It is interrupted, and its zombie cannot make a success of it (T4)."""
        zombie = farm.worker(server.tcp_url, namespace)
        wait_until(lambda: zombie.ready)
        job = queue.enqueue("hold.once")
        wait_until(lambda: runs(farm, job) == [zombie.pid])
        zombie.stop()
        farm.worker(server.tcp_url, namespace)
        with pytest.raises(JobInterrupted, match="was lost while it ran"):
            job.result(timeout=10)
        zombie.go_on()
        wait_until(lambda: zombie.said("changed nothing"), 10)
        assert job.state() == "interrupted"
        assert runs(farm, job) == [zombie.pid]


class TestStaleReports:
    @pytest.mark.parametrize("outcome", ["succeeded", "failed", "skipped", "cancelled", "returned", "abandoned"])
    def test_every_outcome_is_refused(self, outcome: str, namespace: str, queue: Queue, redis: Redis) -> None:
        store: Store = queue.store
        types = {"a": ("none", "rerun")}
        store.run(workers.offer("w1", "0ff1ce", 60_000, {}, types))
        job = queue.enqueue("a")

        def turn(want: int, *reports: Report) -> workers.Turn:
            return store.run(
                workers.turn(
                    worker="w1", digest="0ff1ce", lease_ms=60_000, want=want, bell="", block_ms=1, listed=False,
                    kept=Kept(), reports=reports,
                )
            )  # fmt: skip

        first = turn(1).jobs[0]
        assert turn(0, Report(first.id, first.token, "returned")).states == ["ready"]
        second = turn(1).jobs[0]
        assert second.token != first.token
        before = {key: redis.dump(key) for key in (f"{{{namespace}}}:job:{job.id}", f"{{{namespace}}}:running")}
        stale = Report(first.id, first.token, outcome, ["error", "mine"], b"\x01", 1000)
        assert turn(0, stale).states == ["stale"]
        assert turn(0, Report(first.id, "", outcome)).states == ["stale"]
        assert {key: redis.dump(key) for key in before} == before
        assert turn(0, Report(second.id, second.token, "succeeded")).states == ["succeeded"]
        assert turn(0, Report(second.id, second.token, outcome)).states == ["stale"]
        assert job.state() == "succeeded"


class TestSelfFencing:
    FENCED = LEASE + RENEW * 0.95

    def test_in_time(self, farm: Farm, queue: Queue, namespace: str, proxy: FaultProxy) -> None:
        """Its handlers are told before anybody could have reaped: at lease + interval - margin after the last renewal."""
        cut = farm.worker(proxy.url, namespace, slots=2)
        wait_until(lambda: cut.ready)
        jobs = [queue.enqueue("hold") for _ in range(2)]
        wait_until(lambda: all(runs(farm, job) == [cut.pid] for job in jobs))
        proxy.blackhole()
        began = time.monotonic()
        wait_until(lambda: len(farm.lines("end")) == 2, 10)
        for line in farm.lines("end"):
            assert line["fenced"]
            assert self.FENCED - RENEW - 0.05 < line["at"] - began < self.FENCED + 0.25
        assert cut.said("its handler is told to stop") == 2
        # The server still holds its leases: nobody else is there. With them it hands back, and runs both anew.
        proxy.blackhole(False)
        farm.release()
        assert [job.result(timeout=10) for job in jobs] == [cut.pid, cut.pid]
        for job in jobs:
            assert runs(farm, job) == [cut.pid, cut.pid]
            assert (job.record().attempt, job.record().losses) == (1, 0)
        assert cut.said("changed nothing") == 0

    def test_what_it_may_not_run_again_is_interrupted(
        self, farm: Farm, queue: Queue, namespace: str, proxy: FaultProxy
    ) -> None:
        cut = farm.worker(proxy.url, namespace)
        wait_until(lambda: cut.ready)
        job = queue.enqueue("hold.once")
        wait_until(lambda: runs(farm, job) == [cut.pid])
        proxy.blackhole()
        wait_until(lambda: farm.lines("end"), 10)
        proxy.blackhole(False)
        with pytest.raises(JobInterrupted):
            job.result(timeout=10)
        assert runs(farm, job) == [cut.pid]

    def test_reaped_meanwhile(
        self, farm: Farm, queue: Queue, namespace: str, server: RealServer, proxy: FaultProxy, redis: Redis
    ) -> None:
        """Fenced first, then run elsewhere: the two never overlap (checker 4 of the failure model)."""
        cut = farm.worker(proxy.url, namespace)
        wait_until(lambda: cut.ready)
        job = queue.enqueue("hold")
        wait_until(lambda: runs(farm, job) == [cut.pid])
        other = farm.worker(server.tcp_url, namespace)
        wait_until(lambda: other.ready)
        proxy.blackhole()
        wait_until(lambda: runs(farm, job) == [cut.pid, other.pid], 10)
        (end,) = farm.lines("end", job.id)
        assert end["fenced"]
        assert end["pid"] == cut.pid
        assert end["at"] <= farm.lines("begin", job.id)[1]["at"]
        farm.release()
        assert job.result(timeout=5) == other.pid
        proxy.blackhole(False)
        wait_until(lambda: cut.said("changed nothing"), 10)
        assert job.result() == other.pid
        # Its presence had expired: it is there again as a whole, and not for ever.
        wait_until(
            lambda: {b"offer", b"host", b"pid", b"bell", b"seen"} <= self._presence(redis, namespace, cut.pid), 5
        )

    def _presence(self, client: Redis, namespace: str, pid: int) -> set[bytes]:
        for key in keys_of(client, namespace):
            if ":worker:" in key:
                assert client.pttl(key) > 0
                fields = client.hgetall(key)
                if fields.get(b"pid") == str(pid).encode():
                    return {bytes(name) for name in fields if isinstance(name, bytes)}
        return set()


class TestKilled:
    def test_recovery_time(self, farm: Farm, queue: Queue, namespace: str, server: RealServer) -> None:
        """A killed worker's jobs run elsewhere within lease + 2 renewals (section 6), with their seats back (S3)."""
        queue.pools.set("vault", 1)
        killed = farm.worker(server.tcp_url, namespace)
        wait_until(lambda: killed.ready)
        job = queue.enqueue("hold.seat")
        wait_until(lambda: runs(farm, job) == [killed.pid])
        other = farm.worker(server.tcp_url, namespace)
        wait_until(lambda: other.ready)
        killed.child.kill()
        began = time.monotonic()
        wait_until(lambda: runs(farm, job) == [killed.pid, other.pid], 10)
        assert LEASE - RENEW - 0.1 < farm.lines("begin", job.id)[1]["at"] - began < RECOVERY + MOMENT
        assert queue.pools["vault"].in_use == 1
        farm.release()
        assert job.result(timeout=5) == other.pid
        assert queue.pools["vault"].in_use == queue.pools["vault"].counter == 0

    def test_three_times(self, farm: Farm, queue: Queue, namespace: str, server: RealServer) -> None:
        """A job that loses three workers is interrupted whatever it says: it will not take the fleet with it (F13)."""
        fleet = [farm.worker(server.tcp_url, namespace, lease=0.6, renew=0.15) for _ in range(4)]
        by_pid = {worker.pid: worker for worker in fleet}
        wait_until(lambda: all(worker.ready for worker in fleet), 10)
        job = queue.enqueue("hold")
        for n in range(3):
            wait_until(lambda: len(runs(farm, job)) == n + 1, 10)  # noqa: B023 - called at once
            by_pid[runs(farm, job)[-1]].child.kill()
        with pytest.raises(JobInterrupted, match="3 times"):
            job.result(timeout=10)
        assert len(set(runs(farm, job))) == 3
        assert sum(worker.child.running for worker in fleet) == 1


def _now(client: Redis) -> float:
    seconds, micros = client.time()
    return float(seconds * 1000 + micros / 1000)
