"""Why a job does not run: W1, each obstacle alone and several together; that it is of one moment, and asked by a viewer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Chain, Job, JobHandle, Obstacle, Queue, Step
from seatline.producer.why import Reasons, Scene
from seatline.producer.why_type import why_type
from seatline.shared.calls import pools as verbs
from seatline.shared.calls.base import Read
from seatline.shared.calls.moment import ROUNDS, at_one_moment
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.errors import InvalidInput

Idle = Callable[..., FakeWorker]


def reasons(job: JobHandle) -> list[str]:
    return [each.reason for each in job.why()]


def only(job: JobHandle) -> Obstacle:
    (found,) = job.why()
    return found


def word(queue: Queue, job: JobHandle) -> str:
    """Return the word of a listing, which is walked in reserve order."""
    words = Reasons(Scene.of(queue.store, chains=True))
    return next(told for told, each in ((words.of(each), each) for each in queue.jobs()) if each.id == job.id)


def shut_window() -> str:
    now = dt.datetime.now(dt.UTC)
    return f"{now + dt.timedelta(hours=2):%H:%M}-{now + dt.timedelta(hours=3):%H:%M} UTC"


#: What shuts and opens again: the word, cause and cure, parts of what is said and of what to do.
GATES: list[tuple[str, Callable[[Queue], object], Callable[[Queue], object], str, str]] = [
    ("paused", lambda q: q.pause("a"), lambda q: q.resume("a"), "type a is paused (since ", "types resume a"),
    ("paused", lambda q: q.pause(), lambda q: q.resume(), "the namespace is paused", "types resume --all"),
    (
        "window",
        lambda q: q.window("a", shut_window()),
        lambda q: q.window("a", None),
        "it is shut until",
        "types window a none",
    ),
]
#: Why a pool of 3 cannot give 2 at all.
LACKS: list[tuple[Callable[[Queue], object], str, str]] = [
    (lambda q: q.pools.set("vault", 1), "(capacity 1, 0 used outside, 0 kept)", "pools set vault CAPACITY"),
    (lambda q: q.pools.external("vault", 2), "(capacity 3, 2 used outside, 0 kept)", "pools external vault N"),
    (
        lambda q: q.pools.set("vault", 3, keep=2, keep_priority=5),
        "(capacity 3, 0 used outside, 2 kept)",
        "priority 5 or less",
    ),
    (
        lambda q: q.store.run(verbs.refused_pool("vault", 60_000, 60_000, "w")),
        "the licence server refused; tried again at",
        "seatline pools set vault 3",
    ),
]


class TestAlone:
    """W1: each obstacle by itself, with what to do; when it goes, nothing is said, and the idle worker takes the job (W2)."""

    @pytest.fixture
    def worker(self, idle: Idle) -> FakeWorker:
        return idle(a={}, s={"vault": 2})

    @pytest.mark.parametrize(
        ("reason", "cause", "cure", "told", "action"),
        GATES,
        ids=["type", "namespace", "window"],
    )
    def test_w1_a_gate(
        self,
        queue: Queue,
        worker: FakeWorker,
        reason: str,
        cause: Callable[[Queue], object],
        cure: Callable[[Queue], object],
        told: str,
        action: str,
    ) -> None:
        """W1, Q19, T9: paused (type, namespace) and outside its window."""
        cause(queue)
        job = queue.enqueue("a")
        found = only(job)
        assert (found.reason, word(queue, job)) == (reason, reason)
        assert told in found.message
        assert action in found.action
        cure(queue)
        assert job.why() == []
        assert worker.turn() == [job.id]

    def test_w1_due(self, queue: Queue, worker: FakeWorker) -> None:
        """W1: not due before a moment, which is said."""
        job = queue.enqueue("a", delay=7_260)
        found = only(job)
        assert found.reason == word(queue, job) == "due"
        assert found.message.endswith("in 2 h.")
        assert worker.turn() == []

    def test_w1_no_worker(self, queue: Queue, idle: Idle, fake: Idle) -> None:
        """W1, Q15: nobody alive offers its type."""
        idle(b={})
        job = queue.enqueue("a")
        assert only(job).message == "no live worker supports type a; it waits since 0 s."
        assert word(queue, job) == "no-worker"
        assert fake(a={}).turn() == [job.id]

    def test_w1_the_pool_is_missing(self, queue: Queue, worker: FakeWorker) -> None:
        """W1, S5: the pool's name, and how to make it."""
        job = queue.enqueue("s")
        found = only(job)
        assert (found.reason, word(queue, job)) == ("no-pool", "no-pool")
        assert found.action == "seatline pools set vault CAPACITY"
        queue.pools.set("vault", 2)
        assert job.why() == []
        assert worker.turn() == [job.id]

    def test_w1_seats_with_their_holders(self, queue: Queue, worker: FakeWorker) -> None:
        """W1, C11: needed, free, and who holds the others: in words, and for programs."""
        queue.pools.set("vault", 2)
        with queue.pools.session("vault", name="viewer-7"):
            job = queue.enqueue("s")
            found = only(job)
            assert (found.reason, word(queue, job)) == ("seats", "seats")
            assert found.message == "pool vault: it needs 2, 1 of 2 are free; held by program viewer-7 (1)."
            assert {name: found.facts[name] for name in ("pool", "needed", "free", "capacity")} == {
                "pool": "vault",
                "needed": 2,
                "free": 1,
                "capacity": 2,
            }
            (holder,) = found.facts["holders"]
            assert (holder["kind"], holder["name"], holder["seats"]) == ("program", "viewer-7", 1)
        assert job.why() == []
        assert worker.turn() == [job.id]

    @pytest.mark.parametrize(
        ("cause", "told", "action"),
        LACKS,
        ids=["too small", "used outside", "kept", "refused"],
    )
    def test_w1_what_a_pool_cannot_give(
        self, queue: Queue, worker: FakeWorker, cause: Callable[[Queue], object], told: str, action: str
    ) -> None:
        """W1, S7, S8, C16: too small, used outside, kept for the more urgent, refused by the licence server."""
        queue.pools.set("vault", 3)
        cause(queue)
        job = queue.enqueue("s")
        found = only(job)
        assert (found.reason, word(queue, job)) == ("seats", "seats")
        assert told in found.message
        assert action in found.action
        queue.pools.set("vault", 3, keep=0, keep_priority=1)
        queue.pools.external("vault", 0)
        assert job.why() == []
        assert worker.turn() == [job.id]

    def test_w1_claimed_by_the_more_urgent(self, queue: Queue, idle: Idle) -> None:
        """W1, S6: seats are free, but somebody more urgent, who needs more of them, is to have them first."""
        big, small = idle(big={"vault": 2}), idle(small={"vault": 1})
        queue.pools.set("vault", 2)
        with queue.pools.session("vault"):
            queue.enqueue("big", priority=1)
            assert big.turn() == []
            job = queue.enqueue("small")
            found = only(job)
            assert found.message.startswith("pool vault: it needs 1, 1 of 2 are free, 2 claimed by more urgent waiters")
            assert (found.facts["claimed"], word(queue, job)) == (2, "seats")
            assert small.turn() == []

    def test_w1_jobs_ahead_of_it(self, queue: Queue, fake: Idle) -> None:
        """W1: the exact position over all lines from which its workers take: by priority, then by age; paused ones aside."""
        worker = fake(a={}, b={}, slots=1)
        fake(c={})
        worker.turn()
        queue.enqueue("a", priority=1)
        assert worker.turn(want=1)
        for type_, priority in (("a", 5), ("b", 10), ("a", 10), ("b", 4), ("c", 1), ("b", 11)):
            queue.enqueue(type_, priority=priority)
        job = queue.enqueue("a", priority=10)
        for type_ in "ab":
            queue.enqueue(type_, priority=10)
        found = only(job)
        assert found.message == "4 jobs stand before it and every slot of the workers for its type is busy."
        assert found.action.endswith(f"seatline jobs move {int(job.id)} --priority 1")
        assert found.facts == {"ahead": 4, "slots": 0}
        assert word(queue, job) == "behind"
        queue.pause("b")
        assert only(job).facts["ahead"] == 2
        job.move(priority=1)
        assert only(job).message == "it is next; every slot of the workers for its type is busy."

    def test_w1_the_position_among_many_equals(self, queue: Queue, fake: Idle) -> None:
        """W1: of thousands of the same priority, in two lines."""
        worker = fake(a={}, b={})
        first = queue.enqueue("a", priority=1)
        assert worker.turn() == [first.id]
        ids = queue.enqueue_many(Job("ab"[n % 2]) for n in range(4_000))
        for at in (0, 1, 2, 63, 64, 65, 1_234, 3_999):
            found = queue.handle(ids[at]).why()
            assert [each.facts["ahead"] for each in found] == [at]

    def test_w1_expired(self, queue: Queue, worker: FakeWorker) -> None:
        """W1: it was not to start so late."""
        job = queue.enqueue("a", expires=0.001)
        until = job.record().expires
        wait_until(lambda: until is not None and Scene.of(queue.store, []).now > until)
        assert reasons(job) == ["expired"]
        assert word(queue, job) == "expired"
        assert worker.turn() == []

    def test_w1_in_front_of_a_stopped_step(self, queue: Queue, worker: FakeWorker) -> None:
        """W1, O11, Q25: the listing has a word for it too, also for the chain that is stopped or full."""
        queue.define(Chain("c", [Step("one", "a")], max_orders=1))
        order = queue.start("c")
        job = queue.handle(order.record().now["one"])
        assert word(queue, job) == "-"
        queue.chains.stop("c", "one")
        assert (reasons(job), word(queue, job)) == (["stopped"], "stopped")
        queue.chains.skip("c", "one")
        assert word(queue, job) == "-"
        queue.chains.unskip("c", "one")
        queue.chains.start("c", "one")
        assert worker.turn() == [job.id]


class TestTogether:
    """W1: several at once are all said, in a fixed order."""

    def test_w1_all_of_them(self, queue: Queue) -> None:
        """W1: what is due later has the gates, the worker and the pools said too."""
        queue.pause()
        queue.pause("a")
        queue.window("a", shut_window())
        queue.pools.set("vault", 1)
        later = queue.enqueue("a", delay=900, uses={"vault": 2, "gpu": 1})
        assert reasons(later) == ["due", "paused", "paused", "window", "no-worker", "no-pool", "seats"]
        queue.enqueue("a", priority=1)
        job = queue.enqueue("a", uses={"vault": 2, "gpu": 1})
        assert reasons(job) == ["paused", "paused", "window", "no-worker", "no-pool", "seats", "behind"]
        assert job.why()[-1].message == "1 job stands before it."

    def test_w1_w2_one_goes_after_the_other(self, queue: Queue, fake: Idle) -> None:
        """W1, W2: each that goes is said no more, the others still are; at the last the job is reserved, not before."""
        job = queue.enqueue("a", uses={"vault": 1})
        queue.pause("a")
        queue.window("a", shut_window())
        worker = fake(a={})
        assert worker.turn() == []
        lifts: list[tuple[str, Callable[[], object]]] = [
            ("window", lambda: queue.window("a", None)),
            ("no-pool", lambda: queue.pools.set("vault", 0)),
            ("paused", lambda: queue.resume("a")),
            ("seats", lambda: queue.pools.set("vault", 1)),
        ]
        for at, (reason, lift) in enumerate(lifts):
            assert reason in reasons(job)
            assert not {each for each, _ in lifts[:at]} & set(reasons(job))
            assert worker.turn() == []
            lift()
        assert job.why() == []
        assert worker.turn() == [job.id]

    def test_w1_the_seats_that_those_before_it_are_about_to_take(self, queue: Queue, fake: Idle) -> None:
        """W1, W2: seats and slots are free for it, but not when those before it have started."""
        worker = fake(s={"vault": 1}, slots=3)
        worker.turn()
        queue.pools.set("vault", 2)
        jobs = [queue.enqueue("s") for _ in range(3)]
        assert [reasons(job) for job in jobs] == [[], [], ["behind"]]
        assert jobs[2].why()[0].message == (
            "2 jobs stand before it, and those that start now take the seats it needs (vault)."
        )
        assert [word(queue, job) for job in jobs] == ["-", "-", "seats"]
        assert worker.turn() == [job.id for job in jobs[:2]]


class TestType:
    """W1: of a whole type, the next job of each of its lines."""

    def test_w1_each_line_has_its_next(self, queue: Queue, idle: Idle) -> None:
        """W1: by what the jobs use; those in which nothing waits are left out."""
        idle(a={}, slots=2)
        queue.pools.set("vault", 0)
        jobs = [queue.enqueue("a", uses={"vault": 1}) for _ in range(3)]
        queue.enqueue("a")
        lines = queue.store.talk(why_type(queue.store.keys, "a"))
        assert [(line.uses, line.waiting) for line in lines] == [(None, 1), ("vault=1", 3)]
        assert [[each.reason for each in line.obstacles] for line in lines] == [[], ["seats"]]
        assert lines[1].next is not None
        assert lines[1].next.id == jobs[0].id

    def test_w1_nothing_waits(self, queue: Queue, idle: Idle) -> None:
        """W1: what would keep a job that came now; and a type that is not there."""
        idle(a={"vault": 1})
        (line,) = queue.store.talk(why_type(queue.store.keys, "a"))
        assert (line.waiting, line.next, [each.reason for each in line.obstacles]) == (0, None, ["no-pool"])
        with pytest.raises(InvalidInput, match="no job of type 'x'"):
            queue.store.talk(why_type(queue.store.keys, "x"))


class TestOneMoment:
    """W1: what is said was true at one moment."""

    def test_w1_what_was_read_is_of_one_transaction(self, queue: Queue, redis: Redis) -> None:
        """W1: a talk that would see two states sees one; it is begun anew until all it reads is of one transaction."""
        keys, changed = queue.store.keys, list[int]()
        redis.mset({keys("seq"): 1, keys("paused"): "1 x"})

        def look() -> Talk[tuple[Any, Any]]:
            first = yield from ask(Read([("GET", keys("seq"))], lambda replies: int(replies[0])))
            if len(changed) < 2:  # somebody writes both between our looks
                changed.append(first)
                redis.mset({keys("seq"): first + 1, keys("paused"): f"{first + 1} x"})
            second = yield from ask(Read([("GET", keys("paused"))], lambda replies: int(replies[0].split()[0])))
            return first, second

        first, second = queue.store.talk(at_one_moment(look))
        assert changed
        assert first == second
        redis.delete(keys("paused"), keys("seq"))

    def test_w1_it_ends_though_everything_changes(self, queue: Queue) -> None:
        """W1: what to read next is another each time: after some rounds it is read as it comes."""
        keys, rounds = queue.store.keys, list[int]()

        def look() -> Talk[int]:
            rounds.append(0)
            yield from ask(Read([("GET", keys(f"token:{len(rounds)}"))], lambda replies: replies[0]))
            return len(rounds)

        assert queue.store.talk(at_one_moment(look)) == ROUNDS + 1

    def test_w1_errors_come_where_they_are_met(self, queue: Queue) -> None:
        """W1: a reply that cannot be read is raised in the talk, as without it."""

        def bad(_: object) -> int:
            raise InvalidInput("seq: no number.")

        def look() -> Talk[str]:
            try:
                yield from ask(Read([("GET", queue.store.keys("seq"))], bad))
            except InvalidInput as error:
                return str(error)
            return ""

        assert queue.store.talk(at_one_moment(look)) == "seq: no number."
