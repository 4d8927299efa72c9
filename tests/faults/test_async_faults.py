"""Exactly once for tasks: lost replies, cut connections, restarts, and tasks that are cancelled at any moment (R2).

The verbs' own behaviour under faults is in test_exactly_once.py, for the calls are the same; here it is the driver: lanes that
tasks share, cancellation, event loops that end, forks.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from harness.processes import Child
from harness.proxy import FaultProxy
from harness.server import RealServer
from redis import Redis

from seatline.producer import AsyncQueue, Job, Queue
from seatline.shared.calls import jobs
from seatline.shared.errors import BrokenInvariant, LoginRefused, OutcomeUnknown, ServerUnavailable
from seatline.shared.job import job_words
from seatline.shared.scripts import script

Main = Callable[[AsyncQueue], Awaitable[None]]
At = Callable[..., None]


@pytest.fixture
def at(namespace: str) -> At:
    """Run a test's coroutine in an event loop of its own, with a queue at this URL that gives up early."""

    def run(url: str, main: Main, **options: Any) -> None:
        async def whole() -> None:
            settings = {"timeout": 0.5, "connect_timeout": 0.5, "deadline": 5.0, **options}
            async with AsyncQueue(url, namespace=namespace, **settings) as queue:
                await asyncio.wait_for(main(queue), 100)

        asyncio.run(whole())

    return run


def sha(name: str) -> bytes:
    return script(name).sha.encode()


def evalsha(request: bytes) -> bool:
    return b"EVALSHA" in request


async def soon(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.005)


async def audit(queue: AsyncQueue, tokens: list[str], results: list[Any]) -> list[str]:
    """R2: the jobs there are, are exactly those that returned or are found by their token, each once.

    Returns the tokens that stand for no job.
    """
    returned = {tokens[n]: each.id for n, each in enumerate(results) if not isinstance(each, BaseException)}
    handles = await asyncio.gather(*(queue.find(token) for token in tokens))
    found = {token: handle.id for token, handle in zip(tokens, handles, strict=True) if handle is not None}
    assert returned.items() <= found.items()
    stored = [record async for record in queue.jobs()]
    assert sorted(record.id for record in stored) == sorted(found.values())
    assert sorted(record.params["token"] for record in stored) == sorted(found)
    return [token for token in tokens if token not in found]


async def settled(queue: AsyncQueue, redis: Redis) -> None:
    """Wait until the server has read what cancelled requests had sent: their connections are gone then."""
    name = f"seatline:producer:{queue.store.client}"

    def idle() -> bool:
        clients = [client for client in redis.client_list() if client["name"] == name]
        return len(clients) <= queue.settings.connections and all(client["qbuf"] == "0" for client in clients)

    await soon(idle)


class TestCancellation:
    SEED = random.randrange(2**32)

    @pytest.mark.parametrize("how", ["at once", "spread", "slow network"])
    def test_r2_thousand_enqueues_cancelled_at_random(
        self, how: str, at: At, namespace: str, server: RealServer, proxy: FaultProxy, redis: Redis
    ) -> None:
        """R2: 1,000 concurrent enqueues on one loop, about half of them cancelled at random moments of their way."""
        dice = random.Random(self.SEED)
        if how == "slow network":
            proxy.delay(0.002, evalsha, times=10**6)

        async def main(queue: AsyncQueue) -> None:
            tokens = [f"token-{n}" for n in range(1_000)]
            tasks = [asyncio.create_task(queue.enqueue("a", {"token": token}, token=token)) for token in tokens]
            doomed = dice.sample(tasks, 500)
            for task in doomed:
                if how != "at once" or dice.random() < 0.1:
                    await asyncio.sleep(0.002 * dice.random() if how == "spread" else 0)
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(each) for each in results if isinstance(each, BaseException)} == {asyncio.CancelledError}
            assert sum(not isinstance(each, BaseException) for each in results) >= 500
            proxy.clear()
            await settled(queue, redis)
            lacking = await audit(queue, tokens, results)
            # Whoever was cancelled asks again: in the end each is there once.
            await asyncio.gather(*(queue.enqueue("a", {"token": token}, token=token) for token in tokens))
            assert len(lacking) <= 500
            assert await audit(queue, tokens, []) == []

        try:
            at(proxy.url if how == "slow network" else server.url, main)
        except BaseException:
            print(f"seed {self.SEED}")  # noqa: T201
            raise
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 1_000

    def test_r2_cancelled_at_every_step_of_one_request(self, at: At, server: RealServer, redis: Redis) -> None:
        """R2: whatever a task was about to do, the next request on that lane gets its own answer."""

        async def main(queue: AsyncQueue) -> None:
            tokens = [f"token-{n}" for n in range(80)]
            results: list[Any] = []
            for turns, token in enumerate(tokens):
                task = asyncio.create_task(queue.enqueue("a", {"token": token}, token=token))
                for _ in range(turns // 2):
                    await asyncio.sleep(0)
                task.cancel()
                results += await asyncio.gather(task, return_exceptions=True)
                mark = f"mark-{turns}"
                handle = await queue.enqueue("b", {"token": mark}, token=mark)
                assert (await queue.job(handle.id)).params == {"token": mark}
                await handle.remove()
            assert any(isinstance(each, BaseException) for each in results)
            assert not all(isinstance(each, BaseException) for each in results)
            await settled(queue, redis)
            await audit(queue, tokens, results)

        at(server.url, main, connections=1)

    def test_r2_a_cancelled_reply_reaches_nobody(self, at: At, proxy: FaultProxy) -> None:
        """R2: cancelled while its reply is on the way, a request's connection is given up; the lane goes on."""

        async def main(queue: AsyncQueue) -> None:
            await queue.enqueue("a", {"token": "first"})
            proxy.delay(0.3, sha("submit"), reply=True)
            task = asyncio.create_task(queue.enqueue("a", {"token": "late"}, token="late"))
            await soon(lambda: proxy.faults["delay"] == 1)
            task.cancel()
            began = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - began < 0.2  # it waits for nothing
            assert int((await queue.enqueue("a", {"token": "next"})).id) == 3
            found = await queue.find("late")
            assert found is not None
            assert int(found.id) == 2

        at(proxy.url, main, connections=1)

    def test_r2_a_late_copy_of_a_cancelled_request_never_executes(
        self, at: At, namespace: str, proxy: FaultProxy, redis: Redis
    ) -> None:
        """R2: once the lane has gone on, what was held up in the network is past."""

        async def main(queue: AsyncQueue) -> None:
            await queue.enqueue("a")
            proxy.delay(0.5, sha("submit"))
            task = asyncio.create_task(queue.enqueue("a", {"n": "late"}, token="late"))
            await soon(lambda: proxy.faults["delay"] == 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert int((await queue.enqueue("a", {"n": "next"})).id) == 2
            before = proxy.requests
            await asyncio.sleep(0.7)  # the held request goes through, on a connection that nobody reads
            assert proxy.requests == before
            assert await queue.find("late") is None

        at(proxy.url, main, connections=1)
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 2

    def test_r2_a_lane_whose_first_request_was_cancelled(
        self, at: At, namespace: str, proxy: FaultProxy, redis: Redis
    ) -> None:
        """R2: it has no record, so the next request must not look like one whose record was lost."""

        async def main(queue: AsyncQueue) -> None:
            await queue.find("none")  # connected, and nothing was numbered yet
            proxy.cut_before(sha("submit"))
            task = asyncio.create_task(queue.enqueue("a", {"n": "cancelled"}))
            await soon(lambda: proxy.faults["cut_before"] == 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            proxy.cut_before(sha("submit"))
            proxy.swallow_reply(sha("submit"))
            assert int((await queue.enqueue("a", {"n": "next"})).id) == 1
            assert (proxy.faults["cut_before"], proxy.faults["swallow_reply"]) == (2, 1)

        at(proxy.url, main, connections=1)
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 1

    def test_time_outs_are_cancellations(self, at: At, proxy: FaultProxy) -> None:
        """asyncio.timeout around a request ends it, and the next one goes through."""

        async def main(queue: AsyncQueue) -> None:
            await queue.enqueue("a")
            proxy.blackhole()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await queue.enqueue("a")
            proxy.blackhole(False)
            await queue.enqueue("a")

        at(proxy.url, main)


class TestNetwork:
    @pytest.mark.parametrize("fault", ["cut_before", "half_request", "swallow_reply", "cut_mid_reply"])
    def test_r2_one_fault(self, fault: str, at: At, namespace: str, proxy: FaultProxy, redis: Redis) -> None:
        """R2: cut or swallowed, it is stored once and its handle is its own."""

        async def main(queue: AsyncQueue) -> None:
            await queue.enqueue("a")
            getattr(proxy, fault)(sha("submit"))
            handle = await queue.enqueue("a", {"n": 2})
            assert (int(handle.id), (await handle.record()).params) == (2, {"n": 2})

        at(proxy.url, main)
        assert proxy.faults[fault] == 1
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 2

    def test_r2_a_bad_network(self, at: At, proxy: FaultProxy) -> None:
        """R2: 500 tasks; every tenth reply is lost, every tenth request cut, and tasks are cancelled meanwhile."""
        seed = random.randrange(2**32)
        dice = random.Random(seed)
        proxy.swallow_reply(lambda request: evalsha(request) and dice.random() < 0.1, times=10**6)
        proxy.cut_before(lambda request: evalsha(request) and dice.random() < 0.1, times=10**6)

        async def main(queue: AsyncQueue) -> None:
            tokens = [f"token-{n}" for n in range(500)]
            tasks = [asyncio.create_task(queue.enqueue("a", {"token": token}, token=token)) for token in tokens]
            for task in random.Random(seed).sample(tasks, 100):
                await asyncio.sleep(0.003)
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(each) for each in results if isinstance(each, BaseException)} <= {asyncio.CancelledError}
            proxy.clear()
            lacking = await audit(queue, tokens, results)
            assert len(lacking) <= 100, seed
            assert proxy.faults["swallow_reply"] > 20, seed

        at(proxy.url, main)

    def test_a_script_that_the_server_does_not_know(self, at: At, server: RealServer, redis: Redis) -> None:
        """NOSCRIPT: it was not executed; loaded and sent again."""

        async def main(queue: AsyncQueue) -> None:
            await queue.enqueue("a")
            redis.script_flush()
            assert [int((await queue.enqueue("a")).id) for _ in range(2)] == [2, 3]

        at(server.url, main)

    def test_r2_the_server_restarts(self, at: At, private_server: Callable[..., RealServer]) -> None:
        """R2, I12: enqueues go on over a restart; each is there once, and no id is given twice."""
        private = private_server(appendonly=True)

        async def main(queue: AsyncQueue) -> None:
            tokens = [f"token-{n}" for n in range(400)]

            async def one(n: int) -> Any:
                await asyncio.sleep(0.004 * n)
                return await queue.enqueue("a", {"token": tokens[n]}, token=tokens[n])

            tasks = [asyncio.create_task(one(n)) for n in range(400)]
            for kill in (False, True):
                await asyncio.sleep(0.3)
                await asyncio.to_thread(private.restart, kill=kill)
            results = await asyncio.gather(*tasks)
            assert await audit(queue, tokens, results) == []
            assert max(int(each.id) for each in results) > 1_000_000  # a new run: ids go on far from the old

        at(private.tcp_url, main, deadline=30.0)

    def test_nobody_listens(self, at: At, proxy: FaultProxy) -> None:
        """Refused at once, told within the deadline: also to those in line."""

        async def main(queue: AsyncQueue) -> None:
            proxy.refuse()
            began = time.monotonic()
            results = await asyncio.gather(*(queue.enqueue("a") for _ in range(200)), return_exceptions=True)
            assert {type(each) for each in results} == {ServerUnavailable}
            assert 0.2 < time.monotonic() - began < 3

        at(proxy.url, main, deadline=0.8)

    def test_nobody_answers(self, at: At, namespace: str, proxy: FaultProxy, redis: Redis) -> None:
        """Of what was sent nobody can know; what stood in line was not sent, and says so. None waits for its turn to fail."""

        async def main(queue: AsyncQueue) -> None:
            await asyncio.gather(*(queue.enqueue("a") for _ in range(4)))
            proxy.blackhole()
            began = time.monotonic()
            results = await asyncio.gather(*(queue.enqueue("a") for _ in range(100)), return_exceptions=True)
            assert time.monotonic() - began < 4
            kinds = [type(each) for each in results]
            assert kinds.count(OutcomeUnknown) <= 8
            assert set(kinds) == {OutcomeUnknown, ServerUnavailable}
            assert "in line behind them and was not sent" in " ".join(map(str, results))
            proxy.blackhole(False)
            await queue.enqueue("a")

        at(proxy.url, main, deadline=0.8, timeout=0.2, connections=4)
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 5

    def test_a_long_line_is_no_outage(self, at: At, namespace: str, proxy: FaultProxy, redis: Redis) -> None:
        """While the server answers, whoever stands in line stands there as long as it takes."""
        proxy.delay(0.02, evalsha, times=10**6)

        async def main(queue: AsyncQueue) -> None:
            await asyncio.gather(*(queue.enqueue("a") for _ in range(120)))

        at(proxy.url, main, deadline=0.5, connections=1)
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 120

    def test_r2_conflict_and_past(self, at: At, server: RealServer) -> None:
        """R2: the lane's words mean what they mean for Queue."""

        async def main(queue: AsyncQueue) -> None:
            await queue.enqueue("a")
            (_, lane) = wire = await queue.store._loops[asyncio.get_running_loop()].lanes.take(None)
            queue.store._loops[asyncio.get_running_loop()].lanes.give(wire)
            lane.number -= 1
            with pytest.raises(BrokenInvariant, match="conflict"):
                await queue.store.run(jobs.submit([job_words(Job("b"))]))
            lane.number -= 1
            (accepted,) = await queue.store.run(jobs.submit([job_words(Job("a"))]))
            assert int(accepted.id) == 1

        at(server.url, main, connections=1)

    def test_an_expired_lane_of_an_idle_client(self, at: At, namespace: str, server: RealServer, redis: Redis) -> None:
        """DESIGN 5.3: forgotten on a first send: a new lane."""

        async def main(queue: AsyncQueue) -> None:
            await queue.enqueue("a")
            (record,) = redis.keys(f"{{{namespace}}}:lane:*")
            redis.delete(record)
            assert int((await queue.enqueue("a")).id) == 2

        at(server.url, main, connections=1)

    def test_the_bell_is_lost(self, at: At, proxy: FaultProxy, queue_at: Callable[..., Queue], namespace: str) -> None:
        """DESIGN 5.6: a connection that waits is cut; those who wait register anew and are rung."""
        other = queue_at(proxy.url, namespace)

        async def main(queue: AsyncQueue) -> None:
            handles = [await queue.enqueue("a") for _ in range(20)]
            waits = [asyncio.create_task(handle.wait(30)) for handle in handles]
            for _ in range(3):
                await soon(lambda: proxy.commands[b"BLPOP"] > 0)
                proxy.commands[b"BLPOP"] = 0
                await asyncio.to_thread(proxy.reset_all)
            await soon(lambda: proxy.commands[b"BLPOP"] > 0)
            for handle in handles:
                await asyncio.to_thread(other.handle(handle.id).cancel)
            began = time.monotonic()
            assert {record.state for record in await asyncio.gather(*waits)} == {"cancelled"}
            assert time.monotonic() - began < 6

        at(proxy.url, main)

    def test_a_wait_while_the_server_is_away(self, at: At, proxy: FaultProxy) -> None:
        """It is patient for the deadline, then says so."""

        async def main(queue: AsyncQueue) -> None:
            wait = asyncio.create_task((await queue.enqueue("a")).wait())
            await soon(lambda: proxy.commands[b"BLPOP"] > 0)
            proxy.refuse()
            proxy.reset_all()
            with pytest.raises(ServerUnavailable):
                await asyncio.wait_for(wait, 10)

        at(proxy.url, main, deadline=0.5)


class TestLogin:
    def test_a_wrong_password(self, at: At, private_server: Callable[..., RealServer]) -> None:
        private = private_server(password="right")

        async def main(queue: AsyncQueue) -> None:
            with pytest.raises(LoginRefused, match="refused the login"):
                await queue.enqueue("a")

        at(private.tcp_url.replace("right", "wrong"), main)


class TestEventLoops:
    """A queue outlives the event loops it is used in. Warnings are errors here, those of sockets left open too."""

    def test_one_after_the_other(self, namespace: str, server: RealServer, redis: Redis) -> None:
        """Neither closed nor told: the loop's end closes its connections, and the next loop has its own."""
        queue = AsyncQueue(server.url, namespace=namespace)

        async def main() -> None:
            await asyncio.gather(*(queue.enqueue("a") for _ in range(20)))
            with pytest.raises(TimeoutError):
                await queue.handle(1).wait(0.01)

        for n in range(1, 5):
            asyncio.run(main())
            assert redis.zcard(f"{{{namespace}}}:ready:a") == 20 * n
            name = f"seatline:producer:{queue.store.client}"
            assert name not in [client["name"] for client in redis.client_list()]
        gc.collect()

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_a_loop_that_is_gone_while_others_are_in_line(self, namespace: str, server: RealServer) -> None:
        """Closed at the moment at which one of them was given a lane: nobody else is given it, and nobody complains."""
        queue = AsyncQueue(server.url, namespace=namespace, connections=1)
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(queue.enqueue("a")) for _ in range(4)]
        loop.run_until_complete(tasks[0])
        loop.close()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        del task, tasks
        gc.collect()
        assert asyncio.run(queue.enqueue("a")).id

    @pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_loop_that_is_simply_gone(self, namespace: str, server: RealServer, redis: Redis) -> None:
        """Closed with connections open and a request under way: the next loop is not poisoned."""
        queue = AsyncQueue(server.url, namespace=namespace)
        for n in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(asyncio.wait_for(queue.enqueue("a"), 5))
            left = [loop.create_task(queue.enqueue("b", {"n": n})) for _ in range(20)]
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            for task in left:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            del left
        gc.collect()
        asyncio.run(_once(queue))
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 4
        assert len(queue.store._loops) <= 1
        gc.collect()

    def test_close_and_use_again(self, at: At, namespace: str, server: RealServer, redis: Redis) -> None:
        """What is under way when it is closed ends well; using it again opens new connections."""

        async def main(queue: AsyncQueue) -> None:
            tasks = [asyncio.create_task(queue.enqueue("a")) for _ in range(50)]
            await asyncio.sleep(0)
            await queue.close()
            assert len({(await task).id for task in tasks}) == 50
            await queue.enqueue("a")
            wait = asyncio.create_task(queue.handle(1).wait())
            await soon(lambda: redis.hget(f"{{{namespace}}}:job:{1:016}", "listeners"))
            await queue.close()
            await queue.close()
            assert await queue.handle(1).cancel() == "cancelled"
            assert (await asyncio.wait_for(wait, 20)).state == "cancelled"
            await queue.close()
            name = f"seatline:producer:{queue.store.client}"
            await soon(lambda: name not in [client["name"] for client in redis.client_list()])

        at(server.url, main)

    def test_forked_children(
        self, spawn: Callable[..., Child], namespace: str, server: RealServer, redis: Redis
    ) -> None:
        """F19: a child never uses its parent's sockets or lanes, also if the parent's loop is still there."""
        child = spawn([sys.executable, "-W", "error", "-c", FORK, server.tcp_url, namespace])
        assert child.wait(30) == 0, child.errors()
        assert redis.zcard(f"{{{namespace}}}:ready:a") == 30
        clients = {line.split()[1] for line in child.output().splitlines()}
        assert len(clients) == 2
        said = [line for line in child.errors().splitlines() if "no append-only file" not in line]  # R5: this server's
        assert said == []


async def _once(queue: AsyncQueue) -> None:
    await queue.enqueue("a")
    await queue.close()


FORK = """
import asyncio, os, sys
from seatline.producer import AsyncQueue

queue = AsyncQueue(sys.argv[1], namespace=sys.argv[2])

async def some(count):
    await asyncio.gather(*(queue.enqueue("a", {"n": n}) for n in range(count)))

loop = asyncio.new_event_loop()
loop.run_until_complete(some(5))
pid = os.fork()
if pid == 0:
    code = 1
    try:
        async def whole():
            await some(15)
            await queue.close()
        asyncio.run(whole())
        print("child", queue.store.client, flush=True)
        code = 0
    finally:
        os._exit(code)
loop.run_until_complete(some(5))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
loop.run_until_complete(some(5))
loop.run_until_complete(queue.close())
loop.close()
print("parent", queue.store.client, flush=True)
"""
