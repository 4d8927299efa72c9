"""A server that takes no writes (F39, F49, F51): nothing is stored by halves, and what runs still ends where it can."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from faults.corpus import CASES, Case, Scene
from faults.farm import Farm
from faults.snapshot import exact
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import Chain, Job, Queue, Step
from seatline.shared.errors import PartialEnqueue, Refused, ServerFull, ServerReadOnly
from seatline.shared.scripts import names, script

QueueAt = Callable[..., Queue]

#: Verbs that end work, free seats, or are needed by who does: their first write is one that a full server lets through,
#: and with it all of theirs. So it is with what is kept: where memory is short, less is to be.
DRAIN = {
    "turn", "renew", "reap", "offer", "leave", "contact", "wait", "cancel", "remove", "resubmit", "session_renew",
    "session_close", "pool_remove", "keep", "ask", "sleep", "pool_refused", "order_act", "order_wait", "chain_admit", "repair",
}  # fmt: skip
#: They have nothing to write but that they have nothing to do.
IDLE = {
    "pool_remove-busy", "resubmit-refused", "resubmit-step", "remove-step", "order_act-missing", "order_act-goto_running",
}  # fmt: skip
#: To lift a gate or a window takes something away, and so does to resume or remove a schedule, to replace an order, or to
#: define what is defined already; whoever takes free seats leaves the pool's line first; a load that is told where it is
#: writes nothing; facts that are forgotten take something away.
LET_THROUGH = {
    "gate-lifted", "session_open", "schedule_act-resume", "schedule_act-remove", "window_set-lift", "chain_gate-lifted",
    "order_start-replace", "chain_define-same", "trigger_remove", "trigger_remove-missing",
    "load-unfit", "load-elsewhere", "emit-facts_missed", "trigger_remove-facts",
}  # fmt: skip


@pytest.fixture
def private(private_server: Callable[..., RealServer]) -> RealServer:
    return private_server()


@pytest.fixture
def raw(private: RealServer) -> Iterator[Redis]:
    with contextlib.closing(private.client()) as client:
        yield client


def fill(client: Redis) -> None:
    """Leave the server no memory for new things."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)


def free(client: Redis) -> None:
    client.config_set("maxmemory", 0)


class TestFull:
    def test_new_jobs_are_refused_as_a_whole(
        self, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis
    ) -> None:
        queue = queue_at(private.url, namespace)
        queue.enqueue("a", {"n": 1})
        fill(raw)
        before = exact(raw, namespace)
        with pytest.raises(ServerFull, match="nothing was stored"):
            queue.enqueue("a", {"n": 2}, token="mine", uses={"vault": 1})
        with pytest.raises(ServerFull):
            queue.enqueue_many(Job("b", {"n": n}) for n in range(10))
        with pytest.raises(ServerFull):
            queue.pools.set("vault", 3)
        assert exact(raw, namespace) == before
        free(raw)
        assert int(queue.enqueue("a", {"n": 2}, token="mine").id) == 2

    def test_full_in_the_middle_of_a_batch(
        self, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis
    ) -> None:
        def jobs() -> Iterator[Job]:
            for n in range(2000):
                if n == 1500:
                    fill(raw)
                yield Job("a", {"n": n})

        with pytest.raises(PartialEnqueue) as caught:
            queue_at(private.url, namespace).enqueue_many(jobs())
        assert isinstance(caught.value.cause, ServerFull)
        assert caught.value.index == len(caught.value.ids) == 1000 == raw.zcard(f"{{{namespace}}}:ready:a")
        free(raw)

    def test_a_producer_that_connects_anew(
        self, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis
    ) -> None:
        """A namespace that exists may be looked at; one that would have to be founded cannot."""
        job = queue_at(private.url, namespace).enqueue("a")
        fill(raw)
        assert queue_at(private.url, namespace).job(job.id).state == "ready"
        assert queue_at(private.url, namespace).handle(job.id).cancel() == "cancelled"
        free(raw)

    def test_why_and_lists_answer(self, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis) -> None:
        """A full server is when people ask; Redis before 7.2 refuses a MULTI then, even one that only reads."""
        queue = queue_at(private.tcp_url, namespace)
        job = queue.enqueue("note", uses={"gpu": 1})
        fill(raw)
        assert [obstacle.reason for obstacle in job.why()] == ["no-worker", "no-pool"]
        assert [record.id for record in queue.jobs()] == [job.id]
        free(raw)

    def test_workers_go_on_draining(
        self, farm: Farm, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis
    ) -> None:
        queue = queue_at(private.tcp_url, namespace)
        queue.pools.set("vault", 1)
        worker = farm.worker(private.tcp_url, namespace, slots=2)
        wait_until(lambda: worker.ready)
        last = queue.enqueue("hold", {"name": "last"})
        first = queue.enqueue("hold.seat")
        later = [queue.enqueue(type_, {"n": n}) for n in range(20) for type_ in ("note", "note.seat")]
        wait_until(lambda: farm.lines("begin", first.id))
        fill(raw)
        with pytest.raises(ServerFull):
            queue.enqueue("note")
        farm.release()
        wait_until(lambda: raw.zcard(f"{{{namespace}}}:finished:succeeded") == 41, 10)
        assert last.state() == "running"
        assert [job.record().result for job in later] == [n for n in range(20) for _ in range(2)]
        assert queue.pools["vault"].in_use == 0
        assert worker.said("waits and goes on") == 0
        # Who waits for a job's end waits on, and who comes new may help to drain.
        with pytest.raises(TimeoutError):
            last.result(timeout=0.1)
        worker.child.kill()
        other = farm.worker(private.tcp_url, namespace)
        farm.release("last")
        assert last.result(timeout=10) == other.pid
        free(raw)
        assert queue.enqueue("note", {"n": 5}).result(timeout=5) == 5

    def test_o2_orders_go_on_to_their_end(
        self, farm: Farm, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis
    ) -> None:
        """What was let through at the end of a step is all of it: the next step's job too; no new order is."""
        queue = queue_at(private.tcp_url, namespace)
        queue.define(Chain("c", [Step("one", "hold"), Step("two", "note"), Step("three", "note")], max_orders=1))
        worker = farm.worker(private.tcp_url, namespace)
        wait_until(lambda: worker.ready)
        first, second, gone = (queue.start("c", {"name": "last", "n": n}) for n in range(3))
        wait_until(lambda: farm.lines("begin"))
        fill(raw)
        with pytest.raises(ServerFull):
            queue.start("c", {"name": "last"})
        assert gone.cancel() == "cancelled"
        assert second.suspend() == "suspended"
        assert second.resume() == "waiting"
        farm.release("last")
        wait_until(lambda: {first.state(), second.state()} == {"succeeded"}, 10)
        assert first.outputs()["three"] == 0
        assert second.outputs()["three"] == 1
        free(raw)

    def test_every_verb(self, new_namespace: Callable[[], str], private: RealServer, raw: Redis) -> None:
        """All or nothing (I15); and those that end work do it all."""
        for name in names():
            raw.script_load(script(name).text)
        refused = {case.name for case in CASES if self._is_refused(case, new_namespace(), private, raw)}
        assert refused == {case.name for case in CASES if case.script not in DRAIN} - LET_THROUGH | IDLE

    def _is_refused(self, case: Case, namespace: str, private: RealServer, raw: Redis) -> bool:
        with Scene(namespace, private.url) as scene:
            call = case.prepare(scene)
            if case.script != "contact":
                scene.caller.meet()
            fill(raw)
            before = exact(raw, namespace)
            full = False
            try:
                scene.caller.run(call)
            except Refused:
                pass
            except ServerFull:
                full = True
                assert exact(raw, namespace) == before, case.name
            free(raw)
            if full:
                with contextlib.suppress(Refused):
                    scene.caller.run(call)  # that number was never executed; the next one is
                assert exact(raw, namespace) != before, case.name
            return full


class TestReadOnly:
    def test_a_replica(
        self,
        queue_at: QueueAt,
        namespace: str,
        private: RealServer,
        raw: Redis,
        private_server: Callable[..., RealServer],
    ) -> None:
        queue = queue_at(private.url, namespace)
        job = queue.enqueue("a")
        raw.config_set("repl-diskless-sync-delay", 0)
        replica = private_server(config=[f"replicaof 127.0.0.1 {private.port}"])
        with contextlib.closing(replica.client()) as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", 10)
            other = queue_at(replica.url, namespace)
            assert other.job(job.id).state == "ready"
            with pytest.raises(ServerReadOnly, match="replica"):
                other.enqueue("a")
            client.replicaof("NO", "ONE")
            assert int(other.enqueue("a").id) > 1_000_000

    def test_a_disk_that_cannot_be_written(
        self, farm: Farm, queue_at: QueueAt, namespace: str, private: RealServer, raw: Redis
    ) -> None:
        """MISCONF: producers are told, a worker waits, says so once, and goes on by itself (F39)."""
        queue = queue_at(private.tcp_url, namespace)
        worker = farm.worker(private.tcp_url, namespace)
        wait_until(lambda: worker.ready)
        job = queue.enqueue("hold")
        wait_until(lambda: farm.lines("begin", job.id))
        place = private.folder / "dump.rdb"
        place.mkdir()  # a folder in the way of the dump
        raw.config_set("save", "3600 1000000")
        raw.bgsave()
        wait_until(lambda: raw.info("persistence")["rdb_last_bgsave_status"] == "err", 10)
        before = exact(raw, namespace)[f"{{{namespace}}}:seq"]
        with pytest.raises(ServerReadOnly, match="disk"):
            queue.enqueue("note")
        assert exact(raw, namespace)[f"{{{namespace}}}:seq"] == before
        farm.release()
        wait_until(lambda: worker.said("waits and goes on by itself") == 1, 10)
        place.rmdir()
        wait_until(lambda: _saved(raw), 10)
        assert job.result(timeout=10) == worker.pid
        assert worker.said("waits and goes on by itself") == 1
        assert len(farm.lines("begin", job.id)) == 1


def _saved(client: Redis) -> bool:
    if not client.info("persistence")["rdb_bgsave_in_progress"]:
        client.bgsave()
    return bool(client.info("persistence")["rdb_last_bgsave_status"] == "ok")
