"""The audit: each act of people is written down in the script that does it, with who and why (Q6, Q22, Q23)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from harness.server import RealServer
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Chain, Job, Queue, Step
from seatline.shared import scripts
from seatline.shared.calls import workers
from seatline.shared.errors import InvalidInput, WrongState
from seatline.shared.roles import VERBS

MakeQueue = Callable[[str | None], Queue]


@pytest.fixture
def open_queue(server: RealServer, namespace: str) -> Iterator[MakeQueue]:
    queues: list[Queue] = []

    def make(comment: str | None = None) -> Queue:
        queues.append(Queue(server.url, namespace=namespace, comment=comment))
        return queues[-1]

    yield make
    for queue in queues:
        queue.close()


def told(queue: Queue) -> list[tuple[str, str, str, int]]:
    return [(act.act, act.on, act.more, act.times) for act in queue.acts()][::-1]


@pytest.mark.parametrize("name", sorted({name for verb in VERBS if verb.role == "admin" for name in verb.scripts}))
def test_what_only_an_admin_may_is_written_down(name: str) -> None:
    """A new script of an admin's wants its line in the audit."""
    assert "_audit" in scripts.script(name).needs


def test_every_act(open_queue: MakeQueue, server: RealServer, namespace: str) -> None:
    """Each act of a person, once; what changes nothing is no act."""
    queue = open_queue("the vault is away")
    queue.pools.set("vault", 5)
    queue.pools.external("vault", 2)
    queue.pause("a")
    queue.pause("a")
    queue.resume("a")
    queue.pause()
    queue.resume()
    queue.shut()
    queue.reopen()
    queue.require_tenant()
    queue.require_tenant(required=False)
    queue.window("a", "Mon-Fri 20:00-05:00 Europe/Paris")
    queue.window("a", None)
    queue.define(Chain("c", [Step("one", "a"), Step("two", "a")]))
    queue.define(Chain("c", [Step("one", "a"), Step("two", "a")]))
    queue.chains.stop("c")
    queue.chains.start("c")
    queue.chains.skip("c", "two")
    queue.chains.unskip("c", "two")
    queue.start("c", id="o1").suspend()
    queue.order("o1").remove()
    queue.schedules.add("nightly", "a", cron="0 2 * * *")
    queue.schedules.pause("nightly")
    queue.schedules.remove("nightly")
    queue.triggers.set("e", [Job("a")])
    queue.triggers.remove("e")
    queue.retention.set("failed", count=5, type="a")
    worker = FakeWorker(server.url, namespace, {"a": {}})
    queue.store.run(workers.ask(worker.id, "pause", queue.by))
    queue.pools.remove("vault")
    windows = [each for each in told(queue) if "time" in each[0] or "window" in each[0]]  # of another stream
    assert windows == [
        ("set the window", "type a", "Mon-Fri 20:00-05:00 Europe/Paris", 1),
        ("open at any time", "type a", "", 1),
    ]
    assert [each for each in told(queue) if each not in windows] == [
        ("set", "pool vault", "capacity 5", 1),
        ("external", "pool vault", "2 seats", 1),
        ("pause", "type a", "", 1),
        ("resume", "type a", "", 1),
        ("pause", "namespace", "", 1),
        ("resume", "namespace", "", 1),
        ("close", "namespace", "", 1),
        ("reopen", "namespace", "", 1),
        ("require a tenant", "namespace", "", 1),
        ("require no tenant", "namespace", "", 1),
        ("define", "chain c", "version 1", 1),
        ("stop", "chain c", "", 1),
        ("start", "chain c", "", 1),
        ("skip", "chain c step two", "", 1),
        ("skip no more", "chain c step two", "", 1),
        ("suspend", "order o1", "", 1),
        ("remove", "order o1", "", 1),
        ("set", "schedule nightly", "", 1),
        ("pause", "schedule nightly", "", 1),
        ("remove", "schedule nightly", "", 1),
        ("set", "trigger e", "", 1),
        ("remove", "trigger e", "", 1),
        ("keep", "failed jobs of type a", "604800000/5", 1),
        ("pause", f"worker {worker.id}", "", 1),
        ("remove", "pool vault", "", 1),
    ]
    assert {(act.by, act.comment) for act in queue.acts()} == {(queue.by.partition(" ")[0], "the vault is away")}
    worker.close()


def test_q22_many_jobs_are_one_act(open_queue: MakeQueue) -> None:
    """Q22: a bulk act goes a hundred at a time, and is one line of the audit, with how many; the history has it per job."""
    queue = open_queue("loaded twice")
    ids = queue.enqueue_many(Job("a", tags=("t",)) for _ in range(350))
    queue.handle(ids[0]).move(priority=3)
    queue.select(tag="t").move(priority=5)
    queue.select(tag="t").cancel()
    queue.select(tag="t", state="cancelled").resubmit()
    queue.select(tag="t").remove()
    assert told(queue) == [
        ("move to priority 3", "job 1", "", 1),
        ("move to priority 5", "jobs", "1 to 350", 350),
        ("cancel", "jobs", "1 to 350", 350),
        ("resubmit", "jobs", "1 to 350", 350),
        ("remove", "jobs", "1 to 350", 350),
    ]


def test_q23_a_refused_act_is_none(open_queue: MakeQueue) -> None:
    """Q23: what was refused, or repeated after its answer was lost, is written down once or not at all."""
    queue = open_queue(None)
    handle = queue.enqueue("a")
    with pytest.raises(WrongState):
        handle.resubmit()
    handle.cancel()
    assert told(queue) == [("cancel", "job 1", "", 1)]


def test_the_same_act_again_is_counted(open_queue: MakeQueue) -> None:
    """Within a minute: one line, with how often and the last time; of another, or on another thing, it is another."""
    queue, other = open_queue(None), open_queue("me too")
    first, second = queue.enqueue("a"), queue.enqueue("a")
    for priority in (3, 3, 4):
        first.move(priority=priority)
    second.move(priority=4)
    for seats in (1, 2, 3):
        queue.pools.set("vault", seats)
    other.pools.set("vault", 3)
    assert told(queue) == [
        ("move to priority 3", "job 1", "", 2),
        ("move to priority 4", "job 1", "", 1),
        ("move to priority 4", "job 2", "", 1),
        ("set", "pool vault", "capacity 3", 3),
        ("set", "pool vault", "capacity 3", 1),
    ]


def test_the_comment_is_in_the_history_too(open_queue: MakeQueue) -> None:
    """Q6: who moved it and why."""
    handle = open_queue("Ms Ito is in a hurry").enqueue("a")
    handle.move(priority=1)
    (line,) = handle.history()
    assert "moved by " in line
    assert "(Ms Ito is in a hurry) from priority 10 to 1" in line


@pytest.mark.parametrize("comment", ["", "a\nb", "x" * 201, 5])
def test_r4_bad_comments(comment: object, open_queue: MakeQueue) -> None:
    with pytest.raises(InvalidInput, match="comment"):
        open_queue(comment)  # type: ignore[arg-type]


def test_it_is_read_page_by_page(open_queue: MakeQueue, redis: Redis) -> None:
    """The newest first, of both streams, from a moment on, at most so many."""
    queue = open_queue(None)
    start = redis.time()[0] * 1000
    for number in range(1_200):
        stream = queue.store.keys("acts" if number % 3 else "audit")
        words = {"by": "me", "act": "pause", "on": f"type t{number}", "more": "", "times": 1}
        redis.xadd(stream, words, id=f"{start + number // 2}-{number}")  # type: ignore[arg-type]
    assert [act.on for act in queue.acts()] == [f"type t{number}" for number in reversed(range(1_200))]
    assert [act.on for act in queue.acts(limit=2)] == ["type t1199", "type t1198"]
    assert [act.on for act in queue.acts(since=(start + 599) / 1000)] == ["type t1199", "type t1198"]
