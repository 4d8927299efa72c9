"""Every verb that writes has its effect exactly once, whatever the network does to the call (R2, I7, F19, F23 to F27).

The measure is a twin: the same calls in another namespace without a fault. Answer and namespace must be equal.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from faults.corpus import CASES, Case, Scene, same_answer
from faults.snapshot import exact, normal, plain
from harness.processes import Child
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import Queue
from seatline.shared.calls import jobs
from seatline.shared.calls.base import Call
from seatline.shared.errors import BrokenInvariant, OutcomeUnknown, SeatlineError, ServerUnavailable
from seatline.shared.job import Job, job_words
from seatline.shared.scripts import names, script

SceneAt = Callable[..., Scene]
NewNamespace = Callable[[], str]
QueueAt = Callable[..., Queue]

#: Numbered verbs go through a lane; the others are idempotent by nature or by comparison.
NUMBERED = {
    "submit", "turn", "cancel", "remove", "resubmit", "move", "gate", "keep", "repair", "pool_set", "pool_remove",
    "pool_external",
    "session_open", "session_renew", "session_close", "pool_refused", "note",
    "supersede", "fire", "schedule_act", "schedule_set", "window_set", "chain_define", "chain_gate", "order_start", "order_act",
    "emit", "gather", "trigger_set", "trigger_remove",
}  # fmt: skip
UNNUMBERED = {
    "contact", "offer", "renew", "reap", "leave", "wait", "ask", "sleep", "chain_admit", "order_expand", "order_wait",
    "load",
}  # fmt: skip
#: What such a case is answered, when it is sent again.
KEPT_WORDS = {
    b"ok",
    b"waits",
    b"state",
    b"missing",
    b"busy",
    b"closed",
    b"step",
    b"exists",
    b"running",
    b"chain",
    b"duplicate",
    b"changed",
}
BY_NAME = {case.name: case for case in CASES}
EVERY_CASE = pytest.mark.parametrize("name", BY_NAME)
NUMBERED_CASES = pytest.mark.parametrize("name", [case.name for case in CASES if case.script in NUMBERED])


def sha(name: str) -> bytes:
    return script(name).sha.encode()


def outcome(scene: Scene, call: Call[Any]) -> Any:
    """Make the call under test; a refusal is an answer too."""
    try:
        return same_answer(scene.caller.run(call))
    except SeatlineError as error:
        return type(error).__name__, plain(str(error))


@pytest.fixture(autouse=True)
def known_scripts(redis: Redis) -> None:
    """The fault is for the script, not for its NOSCRIPT."""
    for name in names():
        redis.script_load(script(name).text)


@pytest.fixture
def twin(scene_at: SceneAt, new_namespace: NewNamespace, server: RealServer, redis: Redis) -> Callable[[Case], Any]:
    """Make a case's call without a fault; returns its answer and what the namespace holds then."""

    def make(case: Case) -> tuple[Any, dict[str, Any]]:
        scene = scene_at(new_namespace(), server.url)
        answer = outcome(scene, case.prepare(scene))
        return answer, normal(redis, scene.namespace)

    return make


class TestTheTable:
    def test_every_verb_is_in_it(self) -> None:
        assert {case.script for case in CASES} == NUMBERED | UNNUMBERED == set(names())

    def test_calls_are_numbered_as_said_here(
        self, scene_at: SceneAt, new_namespace: NewNamespace, server: RealServer
    ) -> None:
        for case in CASES:
            if case.script != "contact":
                call = case.prepare(scene_at(new_namespace(), server.url))
                assert (call.script, call.numbered) == (case.script, case.script in NUMBERED)


class TestOneFault:
    @pytest.mark.parametrize("fault", ["cut_before", "half_request", "swallow_reply", "cut_mid_reply"])
    @EVERY_CASE
    def test_a_lost_connection(
        self, name: str, fault: str, scene_at: SceneAt, namespace: str, server: RealServer, proxy: FaultProxy,
        redis: Redis, twin: Callable[[Case], Any],
    ) -> None:  # fmt: skip
        case = BY_NAME[name]
        expected, there = twin(case)
        if case.repeats is not ... and fault in {"swallow_reply", "cut_mid_reply"}:
            expected = case.repeats
        scene = scene_at(namespace, server.url, proxy.url)
        call = case.prepare(scene)
        getattr(proxy, fault)(sha(case.script))
        assert outcome(scene, call) == expected
        assert proxy.faults[fault] == 1
        assert normal(redis, namespace) == there

    @EVERY_CASE
    def test_a_copy_overtaken_by_its_repetition(
        self, name: str, scene_at: SceneAt, namespace: str, server: RealServer, proxy: FaultProxy, redis: Redis,
        twin: Callable[[Case], Any],
    ) -> None:  # fmt: skip
        """The request hangs in the network, the client gives it up and sends again; then the first copy arrives (F27)."""
        case = BY_NAME[name]
        expected, there = twin(case)
        # Sent a third time, an unnumbered verb would say that there is nothing left to do.
        scene = scene_at(namespace, server.url, proxy.url, timeout=0.1 if case.repeats is ... else 1.0)
        call = case.prepare(scene)
        before = _runs(redis)
        repeated = threading.Event()
        proxy.delay(0, sha(case.script), hook=lambda: repeated.wait(10))
        proxy.delay(0, sha(case.script), hook=repeated.set, reply=True)
        assert outcome(scene, call) == expected
        wait_until(lambda: _runs(redis) - before == proxy.commands[b"EVALSHA"], message="the late copy")
        assert proxy.faults["delay"] == 2, "the repetition did not come first"
        assert normal(redis, namespace) == there

    @NUMBERED_CASES
    def test_a_copy_that_comes_much_later(
        self, name: str, scene_at: SceneAt, namespace: str, server: RealServer, proxy: FaultProxy, redis: Redis
    ) -> None:
        """Sent again by the network: the kept reply, then after the lane's next request 'past'; nothing changes."""
        case = BY_NAME[name]
        scene = scene_at(namespace, server.url, proxy.url)
        call = case.prepare(scene)
        proxy.duplicate_late(sha(case.script))
        outcome(scene, call)
        before = exact(redis, namespace)
        kept = proxy.replay()
        if case.script != "turn":  # a turn's reply is rebuilt from the jobs
            assert kept.split(b"\r\n")[2::2][0] in KEPT_WORDS
        assert exact(redis, namespace) == before
        with pytest.raises(SeatlineError, match="no such job"):
            scene.caller.run(jobs.cancel("0000000000000099", "me"))
        before = exact(redis, namespace)
        assert b"$4\r\npast\r\n" in proxy.replay()
        assert exact(redis, namespace) == before

    def test_without_the_lane_a_repetition_would_show(
        self,
        scene_at: SceneAt,
        new_namespace: NewNamespace,
        server: RealServer,
        redis: Redis,
        twin: Callable[[Case], Any],
    ) -> None:
        """The measure can fail: made twice under two numbers, these leave another namespace."""
        shown = set()
        for case in CASES:
            if case.script in NUMBERED:
                _, there = twin(case)
                scene = scene_at(new_namespace(), server.url)
                call = case.prepare(scene)
                outcome(scene, call)
                outcome(scene, call)
                found = normal(redis, scene.namespace)
                kept = {key for key in found.keys() | there.keys() if not key.startswith("lane:caller")}
                if any(found.get(key) != there.get(key) for key in kept):
                    shown.add(case.name)
        assert shown >= {
            "submit", "submit-rings", "submit-later", "move", "move-scheduled", "gate", "gate-lifted", "cancel-running",
            "pool_external",
        }  # fmt: skip


def _runs(client: Redis) -> int:
    """How often the server ran a script by its digest."""
    calls: int = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    return calls


class TestLanes:
    def test_the_same_number_with_another_digest(
        self, scene_at: SceneAt, namespace: str, server: RealServer, redis: Redis
    ) -> None:
        scene = scene_at(namespace, server.url)
        scene.caller.run(jobs.submit([job_words(Job("a"))]))
        _, lane = scene.caller._link()
        before = exact(redis, namespace)
        lane.number -= 1
        with pytest.raises(BrokenInvariant, match="conflict"):
            scene.caller.run(jobs.submit([job_words(Job("b"))]))
        lane.number -= 1
        scene.caller.run(jobs.submit([job_words(Job("a"))]))  # the same request: the kept reply
        assert exact(redis, namespace) == before

    def test_an_expired_lane_of_an_idle_client(
        self, scene_at: SceneAt, namespace: str, server: RealServer, redis: Redis
    ) -> None:
        scene = scene_at(namespace, server.url)
        _, lane = scene.caller._link()
        scene.caller.run(jobs.submit([job_words(Job("a"))]))
        assert redis.delete(scene.caller.keys.lane("caller", 1)) == 1
        (accepted,) = scene.caller.run(jobs.submit([job_words(Job("a"))]))
        assert int(accepted.id) == 2
        assert (lane.client != "caller", lane.number) == (True, 1)
        assert redis.zcard(scene.caller.keys.ready("a")) == 2

    @NUMBERED_CASES
    def test_nobody_can_know(
        self, name: str, scene_at: SceneAt, namespace: str, server: RealServer, proxy: FaultProxy, redis: Redis
    ) -> None:
        """The reply is lost, and so is the record before the request comes again: said plainly, not guessed."""
        case = BY_NAME[name]
        scene = scene_at(namespace, server.url, proxy.url)
        call = case.prepare(scene)
        scene.caller.run(jobs.gate("other", "paused", "me"))  # a lane's first number cannot be forgotten
        record = scene.caller.keys.lane("caller", 1)
        after: dict[str, Any] = {}

        def forget() -> None:
            assert redis.delete(record) == 1
            after.update(exact(redis, namespace))

        proxy.swallow_reply(sha(case.script), hook=forget)
        with pytest.raises(OutcomeUnknown):
            scene.caller.run(call)
        assert after
        assert exact(redis, namespace) == after

    def test_a_lost_first_request_may_be_made_again_after_its_record_is_gone(
        self, scene_at: SceneAt, namespace: str, server: RealServer, proxy: FaultProxy, redis: Redis
    ) -> None:
        """Number 1 has no predecessor that could be missed: the one way to two effects, and it takes 15 minutes (DESIGN
        5.3). The deadline of a client is at most 5 minutes, so it never gets there."""
        scene = scene_at(namespace, server.url, proxy.url)
        scene.caller.run(jobs.submit([job_words(Job("a"))]))
        life = redis.pttl(scene.caller.keys.lane("caller", 1))
        assert life > 2 * 300_000 * 0.99


FORK = """
import os, sys
from seatline.producer import Queue
queue = Queue(sys.argv[1], namespace=sys.argv[2])
first = queue.enqueue("a", {"who": "parent"})
link, lane = queue.store._link()
before = (link._connection._sock.fileno(), lane.client, lane.number)
pid = os.fork()
if pid == 0:
    code = 1
    try:
        ids = [queue.enqueue("a", {"who": "child"}).id for _ in range(5)]
        mine, its = queue.store._link()
        assert mine is not link and its is not lane and its.client != lane.client, its.client
        assert mine._connection._sock.getsockname() != link._connection._sock.getsockname()
        assert its.number == 5, its.number
        print("child", its.client, *ids, flush=True)
        code = 0
    finally:
        os._exit(code)
ids = [queue.enqueue("a", {"who": "parent"}).id for _ in range(5)]
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
ids.append(queue.enqueue("a", {"who": "parent"}).id)
assert queue.store._link() == (link, lane)
assert (link._connection._sock.fileno(), lane.client, lane.number) == (before[0], before[1], before[2] + 6)
print("parent", lane.client, first.id, *ids, flush=True)
"""


class TestForksAndThreads:
    def test_a_forked_child(
        self, spawn: Callable[..., Child], namespace: str, server: RealServer, redis: Redis
    ) -> None:
        """It never uses its parent's socket or lane (F19); both go on at the same time."""
        child = spawn([sys.executable, "-c", FORK, server.tcp_url, namespace])
        assert child.wait() == 0, child.errors()
        who, clients, ids = [], [], []
        for line in child.output().splitlines():
            name, client, *its = line.split()
            who.append(name)
            clients.append(client)
            ids += its
        assert sorted(who) == ["child", "parent"]
        assert sorted(map(int, ids)) == list(range(1, 13))
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 12
        assert {redis.exists(f"{{{namespace}}}:lane:{client}:1") for client in clients} == {1}

    def test_threads_behind_a_bad_network(self, queue_at: QueueAt, namespace: str, proxy: FaultProxy) -> None:
        """8 threads enqueue 200 jobs each through one queue; every tenth reply is lost."""
        seed = random.randrange(2**32)
        dice = random.Random(seed)
        proxy.swallow_reply(lambda request: b"EVALSHA" in request and dice.random() < 0.1, times=10**6)
        queue = queue_at(proxy.url, namespace)
        ids: list[str] = []
        failed: list[BaseException] = []

        def enqueue(thread: int) -> None:
            try:
                mine = [queue.enqueue("a", {"thread": thread, "n": n}).id for n in range(200)]
            except BaseException as error:  # noqa: BLE001 - told below
                failed.append(error)
            else:
                assert mine == sorted(mine)
                ids.extend(mine)

        threads = [threading.Thread(target=enqueue, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, f"seed {seed}: {failed}"
        assert proxy.faults["swallow_reply"] > 80, seed
        stored = [record.id for record in queue.jobs(state="ready")]
        assert sorted(ids) == stored == [f"{n:016}" for n in range(1, 1601)], f"seed {seed}"


class TestTheDeadline:
    DEADLINE = 0.8

    def test_never_sent(self, queue_at: QueueAt, namespace: str, proxy: FaultProxy, redis: Redis) -> None:
        queue = queue_at(proxy.url, namespace, timeout=0.2, deadline=self.DEADLINE)
        proxy.blackhole()
        began = time.monotonic()
        with pytest.raises(ServerUnavailable):
            queue.enqueue("a")
        self._in_time(began, timeout=0.5)
        assert not exact(redis, namespace)

    def test_perhaps_sent(self, queue_at: QueueAt, namespace: str, proxy: FaultProxy, redis: Redis) -> None:
        queue = queue_at(proxy.url, namespace, timeout=0.2, deadline=self.DEADLINE)
        queue.enqueue("a")
        proxy.blackhole()
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            queue.enqueue("a")
        self._in_time(began, timeout=0.5)
        with pytest.raises(ServerUnavailable):  # a look changes nothing: there is nothing unknown about it
            queue.job(1)
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 1
        proxy.blackhole(False)
        assert int(queue.enqueue("a").id) == 2

    def test_only_the_first_words_were_lost(
        self, queue_at: QueueAt, namespace: str, proxy: FaultProxy, redis: Redis
    ) -> None:
        """The greeting of a connection may be repeated for ever: the request itself was never sent."""
        queue = queue_at(proxy.url, namespace, timeout=0.2, deadline=self.DEADLINE)
        proxy.swallow_reply(sha("contact"), times=1000)
        with pytest.raises(ServerUnavailable):
            queue.enqueue("a")
        assert not redis.exists(f"{{{namespace}}}:ready:a")

    def test_nobody_listens(self, queue_at: QueueAt, namespace: str, proxy: FaultProxy) -> None:
        queue = queue_at(proxy.url, namespace, deadline=self.DEADLINE)
        proxy.refuse()
        began = time.monotonic()
        with pytest.raises(ServerUnavailable, match="cannot be reached"):
            queue.enqueue("a")
        self._in_time(began, timeout=0)

    def test_back_before_it(self, queue_at: QueueAt, namespace: str, proxy: FaultProxy) -> None:
        queue = queue_at(proxy.url, namespace, timeout=0.1)
        queue.enqueue("a")
        proxy.blackhole()
        timer = threading.Timer(0.5, proxy.blackhole, (False,))
        timer.start()
        assert int(queue.enqueue("a").id) == 2
        timer.join()

    def _in_time(self, began: float, *, timeout: float) -> None:
        """Not before the deadline less one pause, and not much after it: one time-out and a moment."""
        took = time.monotonic() - began
        assert self.DEADLINE / 3 < took < self.DEADLINE + timeout + 0.5, took
