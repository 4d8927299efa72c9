"""The history of one job: every transition, in the order of time, with who did it (C16, Q6, Q11, Q22, T4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import AsyncQueue, Queue
from seatline.shared.calls.workers import Suspect
from seatline.shared.job import attempt_text


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace, comment="by hand") as queue:
        yield queue


@pytest.fixture
def worker(server: RealServer, namespace: str) -> Iterator[FakeWorker]:
    worker = FakeWorker(server.url, namespace, {"a": {}}, if_lost="rerun", lease=0.4)
    yield worker
    worker.close()


@pytest.fixture
def tick(redis: Redis) -> Callable[[], None]:
    """Let the server's clock move on: what happens within a millisecond has no order."""

    def moved_on() -> None:
        before = redis.time()
        wait_until(lambda: redis.time() > (before[0], before[1] + 2_000), 5)

    return moved_on


def told(queue: Queue, job_id: str) -> list[str]:
    found = queue.handle(job_id).timeline()
    assert [each.at for each in found] == sorted(each.at for each in found)
    return [re.sub(r"by \S+@\S+ \(by hand\)", "by me", each.what) for each in found]


def fail(worker: FakeWorker, job_id: str, outcome: str) -> None:
    """Report a failed attempt, after which it runs again at once or not at all."""
    words = ["error_type", "OSError", "error", "no paper"]
    text = attempt_text(worker.held[job_id].attempt, worker.id, "OSError", "no paper", "...").encode()
    result = {"result": text} if outcome == "retry" else {}
    worker.turn(worker.report(job_id, outcome, *words, **result), want=0)


def lose(worker: FakeWorker) -> None:
    """Let the lease of what it holds run out, and reap it."""
    suspects: list[Suspect] = []

    def late() -> bool:
        held, worker.held = dict(worker.held), {}
        suspects[:] = worker.renew().suspects
        worker.held = held
        return bool(suspects)

    wait_until(late, 10)
    assert worker.reap(*suspects) == ["ready"]
    worker.held.clear()


def test_every_transition_is_told(queue: Queue, worker: FakeWorker, tick: Callable[[], None]) -> None:
    """C16, Q6, Q22: a job's whole life, each run once, however often it began."""
    handle = queue.enqueue("a")
    tick()
    handle.move(priority=3)
    tick()
    assert worker.turn() == [handle.id]
    tick()
    assert told(queue, handle.id) == [
        "accepted at priority 3",
        "moved by me from priority 10 to 3",
        "attempt 1 begins",
    ]
    worker.turn(worker.report(handle.id, "returned"), want=0)
    tick()
    worker.turn()
    tick()
    worker.turn(worker.report(handle.id, "abandoned"), want=0)
    tick()
    worker.turn()
    tick()
    fail(worker, handle.id, "retry")
    tick()
    worker.turn()
    tick()
    lose(worker)
    tick()
    worker.turn()
    tick()
    fail(worker, handle.id, "failed")
    tick()
    handle.resubmit()
    tick()
    worker.turn()
    tick()
    handle.cancel()
    tick()
    worker.turn(worker.report(handle.id, "succeeded"), want=0)
    tick()
    assert told(queue, handle.id) == [
        "accepted at priority 3",
        "moved by me from priority 10 to 3",
        "attempt 1 begins",
        "attempt 1 handed back, not begun",
        "attempt 1 begins",
        "attempt 1 handed back",
        "attempt 1 begins",
        "attempt 1 failed: OSError: no paper",
        "attempt 2 begins",
        "attempt 2 lost",
        "attempt 3 begins",
        "attempt 3 failed: OSError: no paper",
        "resubmitted by me after failed at attempt 3: OSError no paper",
        "attempt 1 begins",
        "cancel asked by me",
        "succeeded",
    ]
    found = handle.timeline()
    assert {each.worker for each in found if each.attempt} == {worker.id}
    assert {each.by for each in found if each.by} == {queue.by}
    assert sum(each.by is not None for each in found) == 3


def test_t4_ends_without_a_run(queue: Queue, worker: FakeWorker, tick: Callable[[], None]) -> None:
    """T4: cancelled while it waited, before or after a run; and one that succeeded and is run again."""
    waiting = queue.enqueue("a", delay=3600)
    tick()
    waiting.cancel()
    tick()
    assert told(queue, waiting.id) == ["accepted at priority 10", "cancelled by me"]
    done = queue.enqueue("a")
    tick()
    worker.turn()
    tick()
    worker.settle()
    tick()
    done.resubmit()
    tick()
    done.cancel()
    tick()
    assert told(queue, done.id) == [
        "accepted at priority 10",
        "attempt 1 begins",
        "attempt 1 succeeded",
        "resubmitted by me after succeeded at attempt 1",
        "cancelled by me",
    ]


def test_c16_handed_back_again_and_again_is_one_line(queue: Queue, worker: FakeWorker, redis: Redis) -> None:
    """C16: a licence server that refuses all night does not push out what people did."""
    handle = queue.enqueue("a")
    handle.move(priority=3)
    for _ in range(150):
        worker.turn()
        worker.turn(worker.report(handle.id, "returned"), want=0)
    assert redis.llen(queue.store.keys.job(handle.id) + ":history") == 2
    assert told(queue, handle.id)[-1] == "attempt 1 handed back, not begun"


def test_where_it_came_from_and_when_it_was_due(queue: Queue, worker: FakeWorker) -> None:
    """T1: the moment at which it became ready is told."""
    handle = queue.enqueue("a", delay=0.3)
    wait_until(worker.turn, 10)
    worker.settle()
    assert told(queue, handle.id) == ["accepted at priority 10", "due", "attempt 1 begins", "succeeded"]


def test_on_an_event_loop(server: RealServer, namespace: str) -> None:
    async def main() -> None:
        async with AsyncQueue(server.url, namespace=namespace) as queue:
            handle = await queue.enqueue("a")
            assert [each.what for each in await handle.timeline()] == ["accepted at priority 10"]

    asyncio.run(main())
