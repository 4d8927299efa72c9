"""The server goes and comes back: producers and workers go on by themselves, and say so once (R3, F34 to F36, F42, F47).

Each test ends with a job done by the worker process of its beginning: "works again" is the claim, not "did not die".
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from faults.farm import LEASE, RENEW, Farm, Started
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import JobHandle, Queue
from seatline.shared.errors import JobLost, LoginRefused, NoSuchJob, ServerUnavailable
from seatline.shared.scripts import script

QueueAt = Callable[..., Queue]
PrivateServer = Callable[..., RealServer]

TURN = script("turn").sha.encode()
WAITS, BACK = "waits and goes on by itself", "the server is back"
GAP = 1_000_000


@pytest.fixture
def durable(private_server: PrivateServer) -> RealServer:
    """A server that keeps what it acknowledged, also when it is killed."""
    return private_server(appendonly=True)


def ready(*workers: Started) -> None:
    wait_until(lambda: all(worker.ready for worker in workers), 10)


def runs(farm: Farm, job: JobHandle) -> list[int]:
    """Return the processes that began this job, in order."""
    return [line["pid"] for line in farm.lines("begin", job.id)]


def works(worker: Started, queue: Queue) -> None:
    """Check that the worker still does, as the only one."""
    assert queue.enqueue("note", {"n": 3}).result(timeout=10) == 3
    assert worker.child.running


class TestRestart:
    @pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
    def test_nothing_is_lost(
        self, kill: bool, farm: Farm, queue_at: QueueAt, namespace: str, durable: RealServer
    ) -> None:
        """A worker in the middle of a job, jobs that wait, a producer that waits, one that enqueues meanwhile."""
        queue = queue_at(durable.tcp_url, namespace)
        worker = farm.worker(durable.tcp_url, namespace, lease=6.0, renew=2.0)
        ready(worker)
        running, waiting = queue.enqueue("hold"), queue.enqueue("note", {"n": 1})
        wait_until(lambda: runs(farm, running))
        results: list[object] = []
        threads = [
            threading.Thread(target=lambda: results.append(running.result(timeout=20))),
            threading.Thread(target=lambda: results.append(queue.enqueue("note", {"n": 2}).result(timeout=20))),
        ]
        threads[0].start()
        wait_until(lambda: _awaited(durable, queue, running))
        if kill:
            durable.kill()
        else:
            durable.stop()
        threads[1].start()
        farm.release()  # it ends while nobody can be told
        wait_until(lambda: worker.said(WAITS), 10)
        durable.start()
        for thread in threads:
            thread.join()
        assert set(results) == {worker.pid, 2}
        assert waiting.result(timeout=10) == 1
        assert runs(farm, running) == [worker.pid]
        assert running.record().attempt == 1
        assert (worker.said(WAITS), worker.said(BACK)) == (1, 1)
        works(worker, queue)

    def test_idle_workers(self, farm: Farm, queue_at: QueueAt, namespace: str, durable: RealServer) -> None:
        """They say it once each time, and a job is picked up by a bell, not by the next look."""
        queue = queue_at(durable.tcp_url, namespace)
        worker = farm.worker(durable.tcp_url, namespace)
        ready(worker)
        for times in (1, 2):
            durable.kill()
            wait_until(lambda: worker.said(WAITS) == times, 10)  # noqa: B023 - called at once
            _pass_time(2 * RENEW)  # long enough for many tries more
            durable.start()
            wait_until(lambda: worker.said(BACK) == times, 10)  # noqa: B023
            wait_until(lambda: _idle(durable, queue))
            began = time.monotonic()
            works(worker, queue)
            assert time.monotonic() - began < 2
        assert (worker.said(WAITS), worker.said(BACK)) == (2, 2)

    def test_scripts_are_flushed(
        self, farm: Farm, queue_at: QueueAt, namespace: str, server: RealServer, redis: Redis
    ) -> None:
        """Loaded again inside the client; nobody is told anything (F47)."""
        queue = queue_at(server.tcp_url, namespace)
        worker = farm.worker(server.tcp_url, namespace)
        ready(worker)
        for _ in range(5):
            redis.script_flush()
            works(worker, queue)
        assert worker.said("WARNING") == 0

    def test_ids_never_repeat(self, queue_at: QueueAt, namespace: str, durable: RealServer) -> None:
        """The first contact with a new run of the server jumps ahead of what a crash may have lost, once a run (T5)."""
        queue, other = queue_at(durable.url, namespace), queue_at(durable.url, namespace)
        ids = [int(queue.enqueue("a").id), int(other.enqueue("a").id)]
        for _ in range(2):
            durable.restart(kill=True)
            ids += [int(queue.enqueue("a").id), int(other.enqueue("a").id)]
        assert ids == [1, 2, GAP + 3, GAP + 4, 2 * GAP + 5, 2 * GAP + 6]
        with contextlib.closing(durable.client()) as client:
            assert int(client.hget(f"{{{namespace}}}:about", "gaps") or 0) == 2 * GAP


class TestPaused:
    def test_longer_than_the_time_out(
        self, farm: Farm, queue_at: QueueAt, namespace: str, private_server: PrivateServer
    ) -> None:
        """Copies queue up and are read when it goes on; each request has one effect (F27)."""
        server = private_server()
        queue = queue_at(server.tcp_url, namespace, timeout=0.2)
        worker = farm.worker(server.tcp_url, namespace, slots=2)
        ready(worker)
        first = queue.enqueue("hold")
        wait_until(lambda: runs(farm, first))
        before = len(list(queue.jobs()))
        server.pause()
        handles: list[JobHandle] = []
        thread = threading.Thread(target=lambda: handles.append(queue.enqueue("hold")))
        thread.start()
        farm.release()
        wait_until(lambda: worker.said(WAITS), 10)
        server.resume()
        thread.join()
        assert (before, len(handles)) == (1, 1)
        assert [job.result(timeout=10) for job in (first, *handles)] == [worker.pid] * 2
        assert [runs(farm, job) for job in (first, *handles)] == [[worker.pid]] * 2
        assert int(handles[0].id) == 2
        works(worker, queue)
        assert worker.said(WAITS) == 1

    def test_longer_than_the_lease(
        self, farm: Farm, queue_at: QueueAt, namespace: str, private_server: PrivateServer
    ) -> None:
        """All leases have expired when it is back, and nobody takes a job from a worker that lives (F35)."""
        server = private_server()
        queue = queue_at(server.tcp_url, namespace)
        workers = [farm.worker(server.tcp_url, namespace) for _ in range(3)]
        ready(*workers)
        jobs = [queue.enqueue("deaf") for _ in range(2)]
        wait_until(lambda: all(runs(farm, job) for job in jobs))
        holders = [runs(farm, job) for job in jobs]
        server.pause()
        _pass_time(2 * LEASE)
        server.resume()
        with contextlib.closing(server.client()) as client:
            running = f"{{{namespace}}}:running"
            wait_until(lambda: _all_later(client, running, 2), message="the leases' revival")
            _pass_time(3 * RENEW)  # for any reaper to strike
            assert client.zcard(running) == 2
        farm.release()
        assert [[job.result(timeout=10)] for job in jobs] == holders
        assert [runs(farm, job) for job in jobs] == holders
        assert [(job.record().attempt, job.record().losses) for job in jobs] == [(1, 0)] * 2

    def test_down_for_longer_and_its_holders_come_last(
        self, farm: Farm, queue_at: QueueAt, namespace: str, durable: RealServer, proxy_to: Callable[..., FaultProxy]
    ) -> None:
        """Somebody else is back first and sees expired leases. He looks twice, and meanwhile their holders are back."""
        proxy = proxy_to(durable)
        queue = queue_at(durable.url, namespace)
        holders = [farm.worker(proxy.url, namespace, renew=0.1) for _ in range(2)]
        ready(*holders)
        jobs = [queue.enqueue("deaf") for _ in holders]
        wait_until(lambda: all(runs(farm, job) for job in jobs))
        began = [runs(farm, job) for job in jobs]
        other = farm.worker(durable.tcp_url, namespace, renew=LEASE / 2)
        ready(other)
        proxy.refuse()
        durable.kill()
        _pass_time(LEASE)
        durable.start()
        with contextlib.closing(durable.client()) as client:
            moment = _now(client)
            workers = queue.store.keys("workers")
            assert client.zcount(queue.store.keys("running"), "-inf", moment) == 2
            # The other's first look: its presence lasts for three of its renewals from then on.
            wait_until(lambda: client.zcount(workers, moment + 2.5 * 1000 * LEASE / 2, "+inf"), 10)
            proxy.refuse(False)
            wait_until(lambda: _all_later(client, queue.store.keys("running"), 2), message="the leases' revival")
        _pass_time(1.5 * LEASE)
        farm.release()
        assert [[job.result(timeout=10)] for job in jobs] == began == [runs(farm, job) for job in jobs]
        assert [job.record().losses for job in jobs] == [0, 0]


class TestConnections:
    @pytest.mark.parametrize("times", [1, 4])
    def test_the_reply_of_a_turn_is_lost(
        self, times: int, farm: Farm, queue_at: QueueAt, namespace: str, server: RealServer, proxy: FaultProxy
    ) -> None:
        """What it reserved is handed over with the repetition, to the same worker, and runs once (F24)."""
        queue = queue_at(server.url, namespace)
        queue.pools.set("vault", 2)
        worker = farm.worker(proxy.url, namespace, slots=3)
        ready(worker)
        wait_until(lambda: _idle(server, queue))
        proxy.swallow_reply(TURN, times=times)
        jobs = [queue.enqueue("note.seat", {"n": n}) for n in range(3)]
        assert [job.result(timeout=10) for job in jobs] == [0, 1, 2]
        assert proxy.faults["swallow_reply"] == times
        assert [runs(farm, job) for job in jobs] == [[worker.pid]] * 3
        assert [job.record().attempt for job in jobs] == [1] * 3
        assert queue.pools["vault"].in_use == 0
        works(worker, queue)
        assert times > 1 or worker.said("WARNING") == 0  # a blip is not worth a word

    def test_the_settling_of_a_job_is_lost(
        self, farm: Farm, queue_at: QueueAt, namespace: str, server: RealServer, proxy: FaultProxy
    ) -> None:
        """Settled once, and its worker knows (F5): the repetition is told 'succeeded', not 'stale'."""
        queue = queue_at(server.url, namespace)
        worker = farm.worker(proxy.url, namespace)
        ready(worker)
        job = queue.enqueue("hold")
        wait_until(lambda: runs(farm, job))
        proxy.swallow_reply(TURN, times=2)
        farm.release()
        assert job.result(timeout=10) == worker.pid
        works(worker, queue)
        assert runs(farm, job) == [worker.pid]
        assert worker.said("changed nothing") == 0

    def test_the_alarm_survives_a_lost_reply(
        self, farm: Farm, queue_at: QueueAt, namespace: str, server: RealServer, proxy: FaultProxy
    ) -> None:
        """A worker that was made the holder of the alarm and did not hear it would look up to five seconds late."""
        queue = queue_at(server.url, namespace)
        worker = farm.worker(proxy.url, namespace, lease=30, renew=10)  # its renewals promote too: not so soon
        ready(worker)
        wait_until(lambda: _idle(server, queue))
        first = queue.enqueue("hold")
        wait_until(lambda: runs(farm, first))
        job = queue.enqueue("note", delay=1.0)
        began = time.monotonic()
        proxy.swallow_reply(TURN)  # of the turn that settles the first and finds nothing more to do
        farm.release()
        job.result(timeout=10)
        assert proxy.faults["swallow_reply"] == 1
        assert 0.9 < time.monotonic() - began < 2

    def test_reset_again_and_again(self, farm: Farm, queue_at: QueueAt, namespace: str, proxy: FaultProxy) -> None:
        queue = queue_at(proxy.url, namespace)
        worker = farm.worker(proxy.url, namespace, slots=4)
        ready(worker)
        stop = threading.Event()

        def reset() -> None:
            while not stop.wait(0.03):
                proxy.reset_all()

        thread = threading.Thread(target=reset)
        thread.start()
        try:
            jobs = [queue.enqueue("note", {"n": n}) for n in range(60)]
        finally:
            stop.set()
            thread.join()
        assert [job.result(timeout=10) for job in jobs] == list(range(60))
        assert [len(runs(farm, job)) for job in jobs] == [1] * 60
        assert [int(job.id) for job in jobs] == list(range(1, 61))
        works(worker, queue)


class TestRefusedAtTheDoor:
    @pytest.fixture
    def private(self, private_server: PrivateServer) -> RealServer:
        return private_server(password="right")

    @pytest.fixture
    def raw(self, private: RealServer) -> Iterator[Redis]:
        with contextlib.closing(private.client(single_connection_client=True)) as client:
            client.ping()
            yield client

    def test_too_many_clients(
        self, farm: Farm, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis
    ) -> None:
        """Not a failure of anything: wait (F29)."""
        queue, hasty = queue_at(private.tcp_url, namespace), queue_at(private.tcp_url, namespace, deadline=0.3)
        worker = farm.worker(private.tcp_url, namespace)
        ready(worker)
        job = queue.enqueue("hold")
        wait_until(lambda: runs(farm, job))
        raw.config_set("maxclients", 1)
        raw.client_kill_filter(_type="normal", skipme=True)
        farm.release()
        with pytest.raises(ServerUnavailable, match="max number of clients"):
            hasty.enqueue("note")
        wait_until(lambda: worker.said(WAITS), 10)
        raw.config_set("maxclients", 1000)
        assert job.result(timeout=10) == worker.pid
        works(worker, queue)
        assert runs(farm, job) == [worker.pid]
        assert (worker.said(WAITS), worker.said(BACK)) == (1, 1)

    def test_a_password_that_is_wrong_for_a_while(
        self, farm: Farm, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis
    ) -> None:
        """A producer is told at once; a worker that runs waits until somebody puts it right (F32)."""
        queue = queue_at(private.tcp_url, namespace)
        worker = farm.worker(private.tcp_url, namespace)
        ready(worker)
        job = queue.enqueue("hold")
        wait_until(lambda: runs(farm, job))
        raw.config_set("requirepass", "other")
        raw.client_kill_filter(_type="normal", skipme=True)
        farm.release()
        with pytest.raises(LoginRefused, match="refused the login") as caught:
            queue.enqueue("note")
        assert "right" not in str(caught.value)
        wait_until(lambda: worker.said(WAITS), 10)
        newcomer = farm.worker(private.tcp_url, namespace)  # whoever starts it is there to be told
        assert newcomer.child.wait() == 1
        assert "refused the login" in newcomer.child.errors()
        raw.config_set("requirepass", "right")
        assert job.result(timeout=10) == worker.pid
        works(worker, queue)
        assert runs(farm, job) == [worker.pid]
        assert worker.said(WAITS) == 1
        assert worker.said("right") == 0


class TestLostByTheServer:
    def test_all_is_gone(self, farm: Farm, queue_at: QueueAt, namespace: str, private_server: PrivateServer) -> None:
        """A server that keeps nothing was killed: lanes, offers and jobs are gone. The worker that held one goes on."""
        server = private_server()
        queue = queue_at(server.tcp_url, namespace)
        worker = farm.worker(server.tcp_url, namespace)
        ready(worker)
        lost = queue.enqueue("hold")
        wait_until(lambda: runs(farm, lost))
        server.kill()
        farm.release()
        wait_until(lambda: worker.said(WAITS), 10)
        server.start()
        with pytest.raises(JobLost):
            lost.result(timeout=10)
        with pytest.raises(NoSuchJob):
            lost.record()
        wait_until(lambda: worker.said("changed nothing"), 10)
        works(worker, queue_at(server.tcp_url, namespace))
        assert worker.said(WAITS) == 1

    def test_emptied_under_a_running_worker(
        self, farm: Farm, queue_at: QueueAt, namespace: str, private_server: PrivateServer
    ) -> None:
        """FLUSHALL (F52): another job gets the same id, and the old handle does not show it."""
        server = private_server()
        queue = queue_at(server.tcp_url, namespace)
        worker = farm.worker(server.tcp_url, namespace)
        ready(worker)
        lost = queue.enqueue("hold")
        wait_until(lambda: runs(farm, lost))
        with contextlib.closing(server.client()) as client:
            client.flushall()
        other = queue_at(server.tcp_url, namespace).enqueue("note", {"n": 8})
        assert other.id == lost.id
        with pytest.raises(JobLost):
            lost.record()
        with pytest.raises(JobLost):
            lost.result(timeout=5)
        assert other.result(timeout=10) == 8
        works(worker, queue)

    @pytest.mark.parametrize("runs_between", [0, 1], ids=["of this run", "of an earlier run"])
    def test_an_old_copy_is_restored(
        self, runs_between: int, queue_at: QueueAt, namespace: str, private_server: PrivateServer
    ) -> None:
        """What came after the copy is lost, and its handle says so (F36, F45, F53).

        The sequence jumps ahead of what a crash of one run can have lost, so that no id is given again. A copy that is
        older than a restart takes the jump back too: then an id may come again, and only the handle can tell (DESIGN 5.4).
        """
        server = private_server(appendonly=True, config=["appendfsync always"])
        files, copy = server.folder / "appendonlydir", server.folder / "copy"
        queue = queue_at(server.url, namespace)
        kept = queue.enqueue("a", {"n": 1})
        shutil.copytree(files, copy)
        for _ in range(runs_between):
            server.restart()
        lost = queue.enqueue("a", {"n": 2})
        server.kill()
        shutil.rmtree(files)
        copy.rename(files)
        server.start()
        later = queue.enqueue("a", {"n": 3})
        assert kept.record().params == {"n": 1}
        assert later.record().params == {"n": 3}
        with pytest.raises(JobLost):
            lost.result(timeout=5)
        if runs_between:
            assert later.id == lost.id
            with pytest.raises(JobLost):
                lost.record()
        else:
            assert int(later.id) == int(lost.id) + GAP
            with pytest.raises(NoSuchJob, match="lost in a crash"):
                lost.record()


def _awaited(server: RealServer, queue: Queue, job: JobHandle) -> bool:
    """Whether somebody waits for its end."""
    with contextlib.closing(server.client()) as client:
        return bool(client.hexists(queue.store.keys.job(job.id), "listeners"))


def _idle(server: RealServer, queue: Queue) -> bool:
    """Whether a worker is registered idle."""
    with contextlib.closing(server.client()) as client:
        return any(client.zcard(key) for key in client.scan_iter(match=queue.store.keys("idle:*")))


def _pass_time(seconds: float) -> None:
    """Let time pass: that nothing happens meanwhile is the point."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, seconds + 1)


def _now(client: Redis) -> int:
    """Return the server's clock in ms."""
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def _all_later(client: Redis, zset: str, count: int) -> bool:
    """Whether it has so many members, and all scores are moments to come."""
    return int(client.zcount(zset, f"({_now(client)}", "+inf")) == count
