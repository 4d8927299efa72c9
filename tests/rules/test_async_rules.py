"""AsyncQueue: each method does what its twin does, on one event loop, for many tasks at once.

What is asked and how it is answered is the same code (tests/rules/test_async_parity.py compares the methods), so these
tests look at the driver: that each method gets there and back, that waiting is a bell and not polling, and that a
cancelled task leaves nothing behind. Faults of the network are in tests/faults/test_async_faults.py.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from harness.server import RealServer
from redis import Redis
from rules.step_worker import StepWorker
from rules.support import Gate, ThreadWorker, Trace, client_calls

from seatline.producer import AsyncQueue, Chain, Job, Queue, Step
from seatline.shared import embedded
from seatline.shared.calls.base import Read
from seatline.shared.errors import (
    Closed,
    InvalidInput,
    JobCancelled,
    JobFailed,
    JobLost,
    NoEmbeddedServer,
    NoSuchChain,
    NoSuchJob,
    NoSuchOrder,
    NoSuchPool,
    NoSuchSchedule,
    OrderCancelled,
    PartialEnqueue,
    PoolBusy,
    SeatlineError,
    SeatsLacking,
    ServerRefused,
    StaleLease,
    TenantRequired,
    WrongState,
)
from seatline.worker import Context, Handlers

Run = Callable[..., None]
StartWorker = Callable[..., ThreadWorker]
UTC = dt.UTC


@pytest.fixture
def run(server: RealServer, namespace: str) -> Run:
    """Run a test's coroutine in an event loop of its own, with an AsyncQueue on the test's namespace."""

    def run(main: Callable[[AsyncQueue], Awaitable[None]], url: str | None = None, **options: object) -> None:
        async def whole() -> None:
            async with AsyncQueue(url or server.url, namespace=namespace, **options) as queue:  # type: ignore[arg-type]
                await asyncio.wait_for(main(queue), 60)

        asyncio.run(whole())

    return run


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    """Wait for a condition, as ``wait_until`` does, and let the event loop go on meanwhile."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.005)


async def registered(queue: AsyncQueue, job_id: str) -> None:
    """Wait until somebody waits for the end of a job."""
    bell: Read[object] = Read([("HGET", queue.store.keys.job(job_id), "listeners")], lambda replies: replies[0])
    await until(lambda: queue.store.read(bell))


class TestJobs:
    def test_a_job_and_its_handle(self, run: Run, queue: Queue) -> None:
        """What Queue stores is what AsyncQueue shows, and the other way round (Q6, Q11)."""

        async def main(mine: AsyncQueue) -> None:
            when = dt.datetime.now(UTC) + dt.timedelta(hours=1)
            handle = await mine.enqueue(
                "a", {"n": 1}, priority=3, uses={"p": 2}, tenant="t", title="x", tags=["y"], at=when
            )
            assert (handle.id, handle.existed, repr(handle)) == (f"{1:016}", False, "<AsyncJobHandle 1>")
            record = await handle.record()
            assert record == await mine.job(1) == queue.job(1)
            assert (record.params, record.priority, record.uses, record.title) == ({"n": 1}, 3, {"p": 2}, "x")
            assert await handle.state() == "scheduled"
            assert [obstacle.reason for obstacle in await handle.why()] == ["due", "no-worker", "no-pool"]
            assert await handle.move(priority=1) == -1
            assert "moved by" in (await handle.history())[-1]
            assert (await handle.attempts(), await handle.log()) == ([], [])
            assert await handle.cancel() == "cancelled"
            with pytest.raises(WrongState):
                await handle.cancel()
            with pytest.raises(JobCancelled):
                await handle.result()
            assert await handle.resubmit() == "cancelled"
            assert await handle.cancel() == "cancelled"
            assert await handle.remove() == "cancelled"
            with pytest.raises(NoSuchJob):
                await handle.record()
            with pytest.raises(NoSuchJob, match="job 7: no such job"):
                await mine.job("7")
            with pytest.raises(InvalidInput):
                await mine.enqueue("a", priority=0)

        run(main)

    def test_r2_a_token_is_one_job(self, run: Run) -> None:
        """R2: 50 tasks with one token at once are one job, and it is found by it."""

        async def main(mine: AsyncQueue) -> None:
            assert await mine.find("load-7") is None
            handles = await asyncio.gather(*(mine.enqueue("a", {"n": 1}, token="load-7") for _ in range(50)))
            assert {handle.id for handle in handles} == {f"{1:016}"}
            assert sum(not handle.existed for handle in handles) == 1
            found = await mine.find("load-7")
            assert found is not None
            assert found.id == f"{1:016}"

        run(main)

    def test_q16_unique(self, run: Run) -> None:
        """Q16: a unique job that waits is that job."""

        async def main(mine: AsyncQueue) -> None:
            first, second = [await mine.enqueue("a", {"n": 1}, unique=True) for _ in range(2)]
            assert (second.id, second.existed) == (first.id, True)

        run(main)

    def test_many(self, run: Run, queue: Queue) -> None:
        """Streamed in batches, from a list as from an asynchronous source; Q25: listed in the order of reservation."""

        async def source() -> AsyncIterator[Job]:
            for n in range(1_500):
                if n % 700 == 0:
                    await asyncio.sleep(0)
                yield Job("a", {"n": n}, 100)

        async def main(mine: AsyncQueue) -> None:
            ids = await mine.enqueue_many(source())
            assert ids == [f"{n:016}" for n in range(1, 1_501)]
            more = await mine.enqueue_many(Job("b", {"n": n}, 5) for n in range(10))
            listed = [record.id async for record in mine.jobs(state="ready")]
            assert listed == [*more, *ids] == [record.id for record in queue.jobs(state="ready")]
            assert [record.id async for record in mine.jobs(type="b", limit=3)] == more[:3]
            assert [record.id async for record in mine.jobs(tenant="nobody")] == []
            with pytest.raises(InvalidInput):
                mine.jobs(state="lost")

        run(main)

    def test_many_partly(self, run: Run) -> None:
        """What was accepted before the bad one is told."""

        def jobs() -> Iterator[Job]:
            yield from (Job("a") for _ in range(1_200))
            yield Job("a", priority=0)

        async def main(mine: AsyncQueue) -> None:
            with pytest.raises(PartialEnqueue) as caught:
                await mine.enqueue_many(jobs())
            assert (caught.value.index, len(caught.value.ids)) == (1_200, 1_200)
            assert isinstance(caught.value.cause, InvalidInput)
            with pytest.raises(InvalidInput):
                await mine.enqueue_many([Job("a", priority=0)])
            assert len([record async for record in mine.jobs()]) == 1_200

        run(main)

    def test_gates(self, run: Run, namespace: str) -> None:
        """Q19, Q26, T9: pause, shut, tenants, windows."""

        async def main(mine: AsyncQueue) -> None:
            assert (await mine.pause(), await mine.pause(), await mine.resume()) == (True, False, True)
            assert (await mine.pause("a"), await mine.resume("a")) == (True, True)
            assert await mine.shut()
            with pytest.raises(Closed):
                await mine.enqueue("a")
            assert await mine.reopen()
            assert await mine.require_tenant()
            with pytest.raises(TenantRequired):
                await mine.enqueue("a")
            assert await mine.require_tenant(False)
            assert await mine.window("a", "Mon-Fri 20:00-05:00 Europe/Paris") is None
            assert await mine.window("a", None) == "Mon-Fri 20:00-05:00 Europe/Paris"
            assert repr(mine).startswith(f"<AsyncQueue {namespace} at unix://")

        run(main)

    def test_s5_strict(self, run: Run) -> None:
        """S5: a strict queue refuses what no pool could give."""

        async def main(mine: AsyncQueue) -> None:
            with pytest.raises(SeatsLacking):
                await mine.enqueue("a", uses={"vault": 1})

        run(main, strict=True)


class TestWaiting:
    def test_results(self, run: Run, start_worker: StartWorker) -> None:
        """DESIGN 5.6: values, failures and time-outs come back."""
        handlers = Handlers()

        @handlers.handler("half")
        def half(_ctx: Context, n: int) -> int:
            if n % 2:
                raise ValueError(f"{n} is odd")
            return n // 2

        async def main(mine: AsyncQueue) -> None:
            waits = [asyncio.create_task((await mine.enqueue("half", {"n": n})).result(30)) for n in range(40)]
            start_worker(handlers, slots=4)
            results = await asyncio.gather(*waits, return_exceptions=True)
            assert results[::2] == list(range(20))
            assert {type(each) for each in results[1::2]} == {JobFailed}
            assert str(results[1]).startswith("job 2 (half) failed: ValueError: 1 is odd\nTraceback")

        run(main)

    def test_thousand_waits_share_one_connection(self, run: Run, start_worker: StartWorker, redis: Redis) -> None:
        """DESIGN 5.6: no herd: a connection for each of 1,000 waits there is not, nor a call every moment."""
        trace = Trace("a")

        async def main(mine: AsyncQueue) -> None:
            ids = await mine.enqueue_many(Job("a") for _ in range(1_000))
            waits = [asyncio.create_task(mine.handle(each).wait(50)) for each in ids]
            await until(lambda: asyncio.to_thread(lambda: client_calls(redis, "evalsha") >= 1_001))
            names = [client["name"] for client in redis.client_list()]
            assert names.count(f"seatline:producer:{mine.store.client}") <= 8 + 1
            before = client_calls(redis, "evalsha")
            worker = start_worker(trace.handlers, slots=20)
            records = await asyncio.gather(*waits)
            assert [record.state for record in records] == ["succeeded"] * 1_000
            assert client_calls(redis, "evalsha") - before < 1_000 + 3_000  # once for each, and the worker's turns
            worker.worker.stop()

        run(main)

    def test_a_wait_is_rung(self, run: Run, start_worker: StartWorker) -> None:
        """DESIGN 5.6: the end is told at once, not by the look of every 5 s."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("gate")(gate.run)

        async def main(mine: AsyncQueue) -> None:
            handle = await mine.enqueue("gate")
            start_worker(handlers)
            wait = asyncio.create_task(handle.wait(30))
            await until(lambda: asyncio.sleep(0, gate.begun))
            await registered(mine, handle.id)
            began = time.monotonic()
            gate.opened.set()
            assert (await wait).result == "through"
            assert time.monotonic() - began < 2

        run(main)

    def test_time_outs_and_cancellation(self, run: Run) -> None:
        """A wait ends when it is told to, at once; the job goes on."""

        async def main(mine: AsyncQueue) -> None:
            handle = await mine.enqueue("a")
            with pytest.raises(TimeoutError, match=r"job 1 has not ended within 0\.05 s"):
                await handle.wait(0.05)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await handle.result()
            waits = [asyncio.create_task(handle.result()) for _ in range(100)]
            await registered(mine, handle.id)
            began = time.monotonic()
            for wait in waits:
                wait.cancel()
            assert {type(each) for each in await asyncio.gather(*waits, return_exceptions=True)} == {
                asyncio.CancelledError
            }
            assert time.monotonic() - began < 1
            assert await handle.state() == "ready"

        run(main)

    def test_of_what_is_gone(self, run: Run) -> None:
        """R10: JobLost, also if it goes while it is waited for; DESIGN 5.4: another job under that id is not its job."""

        async def main(mine: AsyncQueue) -> None:
            with pytest.raises(JobLost):
                await mine.handle(99).wait()
            handle = await mine.enqueue("a")
            wait = asyncio.create_task(handle.wait())
            await registered(mine, handle.id)
            assert await mine.handle(handle.id).remove() == "ready"
            with pytest.raises(JobLost):
                await asyncio.wait_for(wait, 10)

        run(main)

    def test_a_resubmitted_job_is_waited_for_again(self, run: Run) -> None:
        """Its bells were taken off at its end: who looked too late registers again."""

        async def main(mine: AsyncQueue) -> None:
            handle = await mine.enqueue("a")
            wait = asyncio.create_task(handle.wait(30))
            await registered(mine, handle.id)
            assert await handle.cancel() == "cancelled"
            assert (await wait).state == "cancelled"
            await handle.resubmit()
            wait = asyncio.create_task(handle.wait(30))
            await registered(mine, handle.id)
            await handle.cancel()
            assert (await wait).state == "cancelled"

        run(main)


class TestPools:
    def test_pools(self, run: Run, queue: Queue) -> None:
        """S1 to S8: set, show, list, external, remove."""

        async def main(mine: AsyncQueue) -> None:
            assert (await mine.pools.set("vault", 3), await mine.pools.set("vault", 2)) == (True, False)
            assert await mine.pools.set("cad", 4, keep=1, keep_priority=5)
            await mine.pools.external("cad", 2, ttl=60)
            assert [name async for name in mine.pools] == ["cad", "vault"]
            assert [pool.capacity for pool in await mine.pools.list()] == [4, 2]
            assert await mine.pools["vault"] == queue.pools["vault"]
            with pytest.raises(NoSuchPool):
                await mine.pools["other"]
            with pytest.raises(InvalidInput):
                await mine.pools.set("cad", 4, keep=1)
            async with mine.pools.session("vault", 2, name="me") as session:
                assert (session.seats, (await mine.pools["vault"]).in_use) == (2, 2)
                with pytest.raises(PoolBusy):
                    await mine.pools.remove("vault")
                with pytest.raises(TimeoutError, match=r"not free within 0\.1 s"):
                    await mine.pools.session("vault", timeout=0.1).open()
                session.check()
            assert (await mine.pools["vault"]).in_use == 0
            with pytest.raises(InvalidInput, match="can never be had"):
                await mine.pools.session("vault", 3).open()
            await mine.pools.remove("vault")

        run(main)

    def test_s10_the_line(self, run: Run) -> None:
        """S10: seats go from one to the next as they are freed; whoever is cancelled in the line leaves it."""

        async def main(mine: AsyncQueue) -> None:
            await mine.pools.set("vault", 1)
            got: list[int] = []

            async def use(n: int) -> None:
                async with mine.pools.session("vault", priority=n + 1):
                    got.append(n)
                    await asyncio.sleep(0.01)

            async def in_line(count: int) -> bool:
                return len((await mine.pools["vault"]).waiting) == count

            async with mine.pools.session("vault"):
                tasks = [asyncio.create_task(use(n)) for n in range(6)]
                await until(lambda: in_line(6))
                tasks[0].cancel()
                tasks[3].cancel()
                await until(lambda: in_line(4))
            await asyncio.gather(*tasks, return_exceptions=True)
            assert got == [1, 2, 4, 5]
            assert (await mine.pools["vault"]).in_use == 0

        run(main)

    def test_s4_a_session_cancelled_while_it_is_taken_holds_nothing(self, run: Run) -> None:
        """S4: at whatever moment the task is cancelled, no seat stays behind."""

        async def main(mine: AsyncQueue) -> None:
            await mine.pools.set("vault", 50)

            async def use() -> None:
                async with mine.pools.session("vault"):
                    await asyncio.sleep(10)

            for turns in range(60):
                task = asyncio.create_task(use())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert (await mine.pools["vault"]).in_use == 0

        run(main)

    @pytest.mark.damaged
    def test_s10_renewed_and_lost(self, run: Run, redis: Redis, namespace: str) -> None:
        """S10: a session is renewed while it is held; one that was taken back says so."""

        async def main(mine: AsyncQueue) -> None:
            await mine.pools.set("vault", 1)
            async with mine.pools.session("vault", ttl=1) as session:
                (first,) = (await mine.pools["vault"]).holders

                async def renewed(times: int) -> bool:
                    (now,) = (await mine.pools["vault"]).holders
                    return (now.until - first.until).total_seconds() > times / 3 - 0.1

                await until(lambda: renewed(4))  # it would have been over
                session.check()
                redis.delete(f"{{{namespace}}}:pool:vault:sessions", f"{{{namespace}}}:programs")
                await until(lambda: asyncio.sleep(0, session.lost))
                with pytest.raises(StaleLease):
                    session.check()

        run(main)


class TestTime:
    def test_schedules(self, run: Run, queue: Queue) -> None:
        """T6 to T10: add, show, list, pause, resume, run, next, remove."""

        async def main(mine: AsyncQueue) -> None:
            assert await mine.schedules.add("nightly", "report", {"x": 1}, cron="30 2 * * *", zone="Europe/Paris")
            assert await mine.schedules.add("often", "look", every=60)
            assert not await mine.schedules.add("often", "look", every=120, replace=True)
            assert [each.name for each in await mine.schedules.list()] == [each.name for each in queue.schedules.list()]
            assert await mine.schedules["nightly"] == queue.schedules["nightly"]
            with pytest.raises(NoSuchSchedule):
                await mine.schedules["other"]
            assert (await mine.schedules.pause("nightly"), await mine.schedules.resume("nightly")) == (True, True)
            ran = await mine.schedules.run("nightly")
            assert (await ran.record()).params == {"x": 1}
            later = await mine.enqueue("a", delay=90)
            planned = [start async for start in mine.schedules.next(400)]
            assert planned == list(queue.schedules.next(400))
            assert [start.name for start in planned] == [later.id, "often", "often", "often"]
            assert len([start async for start in mine.schedules.next(400, limit=2)]) == 2
            assert "no worker is alive" in (await mine.schedules.unattended() or "")
            await mine.schedules.remove("often")
            with pytest.raises(InvalidInput):
                await mine.schedules.add("bad", "x")

        run(main)


class TestTriggers:
    def test_q20_events(self, run: Run) -> None:
        """Q20: n entities and k jobs are n x k jobs at priority 100."""

        async def main(mine: AsyncQueue) -> None:
            assert await mine.triggers.set("released", [Job("a"), Job("b", {"x": 2})])
            assert [record.event for record in await mine.triggers.list()] == ["released"]
            assert len((await mine.triggers["released"]).jobs) == 2
            assert len(await mine.emit("released", {"x": 1})) == 2
            ids = await mine.emit_many("released", [{"x": n} for n in range(3)])
            assert [(await mine.job(each)).priority for each in ids] == [100] * 6
            await mine.triggers.remove("released")
            assert await mine.emit("released") == []

        run(main)


class TestOrders:
    CHAIN = Chain("release", [Step("check", "t"), Step("publish", "t")])

    def test_orders(self, run: Run, queue: Queue, steps: StepWorker) -> None:
        """O5 to O9: define, start, wait, and what people do."""

        async def main(mine: AsyncQueue) -> None:
            assert (await mine.define(self.CHAIN), await mine.define(self.CHAIN)) == (1, 1)
            assert [chain.name for chain in await mine.chains.list()] == ["release"]
            assert (await mine.chains["release"]) == queue.chains["release"]
            with pytest.raises(NoSuchChain):
                await mine.chains["other"]
            order = await mine.start("release", {"file": "a"}, id="drawing-7")
            wait = asyncio.create_task(order.result(30))
            assert await order.state() == "running"
            assert (await order.record()) == queue.order("drawing-7").record()
            assert await order.suspend() == "suspended"
            assert {obstacle.reason for obstacle in await order.why()} == {"suspended"}
            assert await order.resume() == "running"
            assert await order.skip("publish") == "running"
            assert await asyncio.to_thread(steps.take) == [("drawing-7", "check")]
            await asyncio.to_thread(steps.end, "drawing-7", "check", value="good")
            assert await wait == await order.outputs() == {"check": "good", "publish": None}
            assert len(await order.history()) >= 3
            assert await order.remove() == "removed"
            with pytest.raises(NoSuchOrder):
                await order.record()
            gone = await mine.start("release")
            assert await gone.go_to("publish") == "running"
            assert await gone.reset() == "running"
            assert [each.id async for each in mine.orders(chain="release") if not isinstance(each, SeatlineError)] == [
                gone.id
            ]
            assert await mine.order(gone.id).cancel() == "cancelled"
            with pytest.raises(OrderCancelled):
                await gone.result(5)

        run(main)

    def test_o11_gates(self, run: Run) -> None:
        """O11: stop and start, skip and unskip."""

        async def main(mine: AsyncQueue) -> None:
            await mine.define(self.CHAIN)
            chains = mine.chains
            assert (await chains.stop("release"), await chains.stop("release"), await chains.start("release")) == (
                True,
                False,
                True,
            )
            assert (await chains.skip("release", "check"), await chains.unskip("release", "check")) == (True, True)

        run(main)


class TestLanes:
    def test_so_many_connections_and_no_more(self, run: Run, redis: Redis) -> None:
        """1,000 tasks at once share the connections that the setting allows."""

        async def main(mine: AsyncQueue) -> None:
            await asyncio.gather(*(mine.enqueue("a", {"n": n}) for n in range(1_000)))
            names = [client["name"] for client in redis.client_list()]
            assert names.count(f"seatline:producer:{mine.store.client}") == 3
            assert next(mine.store._numbers) == 4  # no lane was made beside these

        run(main, connections=3)

    def test_they_come_in_turn(self, run: Run) -> None:
        """First come, first served: with one lane the ids are in the order of asking, and nobody is passed."""

        async def main(mine: AsyncQueue) -> None:
            handles = await asyncio.gather(*(mine.enqueue("a", {"n": n}) for n in range(300)))
            assert [int(handle.id) for handle in handles] == list(range(1, 301))

        run(main, connections=1)

    def test_who_is_cancelled_in_the_line_was_not_there(self, run: Run) -> None:
        """Cancelled before its turn came, a request was never sent; the others keep their order."""

        async def main(mine: AsyncQueue) -> None:
            tasks = [asyncio.create_task(mine.enqueue("a", {"n": n}, token=f"t{n}")) for n in range(300)]
            await asyncio.sleep(0)
            for task in tasks[100::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            came = [int(each.id) for each in results if not isinstance(each, BaseException)]
            assert came == list(range(1, 201))
            assert [await mine.find(f"t{n}") for n in range(100, 300, 2)] == [None] * 100

        run(main, connections=1)

    @pytest.mark.parametrize("most", [0, 257, 1.5])
    def test_the_setting_has_limits(self, most: float) -> None:
        with pytest.raises(InvalidInput, match="connections"):
            AsyncQueue("redis://localhost:1/0", connections=most)

    def test_the_setting_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SEATLINE_CONNECTIONS", "3")
        assert AsyncQueue("redis://localhost:1/0").settings.connections == 3
        monkeypatch.setenv("SEATLINE_CONNECTIONS", "many")
        with pytest.raises(InvalidInput, match="SEATLINE_CONNECTIONS: 'many' is not a whole number"):
            AsyncQueue("redis://localhost:1/0")

    def test_a_bad_url_is_told_at_once(self) -> None:
        with pytest.raises(InvalidInput, match="must begin with"):
            AsyncQueue("http://localhost")

    def test_what_a_login_may_not_do(self, run: Run, server: RealServer, redis: Redis, namespace: str) -> None:
        """Q18: the server refuses it, in the words that Queue has."""
        redis.execute_command(  # type: ignore[no-untyped-call]
            "ACL", "SETUSER", "viewer", "on", ">pw", f"~{{{namespace}}}:*", "+@read", "+@connection", "+info", "+time"
        )
        try:

            async def main(mine: AsyncQueue) -> None:
                assert [job async for job in mine.jobs()] == []
                with pytest.raises(ServerRefused, match="viewer:\\*\\*\\*@"):
                    await mine.enqueue("a")

            run(main, url=f"redis://viewer:pw@127.0.0.1:{server.port}/0")
        finally:
            redis.execute_command("ACL", "DELUSER", "viewer")  # type: ignore[no-untyped-call]


def test_two_event_loops_at_once(server: RealServer, namespace: str, redis: Redis) -> None:
    """One queue, two threads with an event loop each: each has lanes of its own."""
    mine = AsyncQueue(server.url, namespace=namespace)
    told: list[object] = []

    async def main() -> None:
        await asyncio.gather(*(mine.enqueue("a") for _ in range(200)))
        await mine.close()

    def loop() -> None:
        try:
            told.append(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001 - told below
            told.append(error)

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [None, None]
    assert redis.zcard(f"{{{namespace}}}:ready:a") == 400


class TestNoServerIsNamed:
    def test_the_embedded_server(self, monkeypatch: pytest.MonkeyPatch, namespace: str) -> None:
        """It is started at the first use, or by ``async with``, and not on the event loop; started again if it is gone."""
        folder = Path(tempfile.mkdtemp(prefix="seat-"))
        for name in [name for name in os.environ if name.startswith("SEATLINE_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("SEATLINE_STATE", str(folder))
        queue = AsyncQueue(namespace=namespace)
        assert repr(queue) == f"<AsyncQueue {namespace} at the embedded server>"

        async def main() -> None:
            async with queue:
                assert "the embedded" not in repr(queue)
                assert int((await queue.enqueue("a")).id) == 1
                await asyncio.to_thread(embedded.stop)
                assert await queue.handle(1).state() == "ready"
                handles = await asyncio.gather(*(queue.enqueue("a") for _ in range(20)))
                assert len({handle.id for handle in handles}) == 20

        try:
            asyncio.run(main())
        finally:
            embedded.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def test_it_may_be_forbidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SEATLINE_URL", raising=False)
        monkeypatch.setenv("SEATLINE_EMBEDDED", "never")

        async def main() -> None:
            with pytest.raises(NoEmbeddedServer):
                async with AsyncQueue():
                    pass
            with pytest.raises(NoEmbeddedServer):
                await AsyncQueue().enqueue("a")

        asyncio.run(main())
