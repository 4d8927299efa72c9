"""W2 as a property: nothing keeps a job exactly if an idle worker of its type takes it in its next turn.

Random namespaces, and each of them more than once: for every offer the idle workers take their turns, then the server gets
back all its keys as they were. So what `why` says of every job is held against all that could have come next.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Chain, Queue, Step
from seatline.producer.why import Scene
from seatline.shared.calls import pools as verbs
from seatline.shared.errors import SeatlineError

USES: dict[str, dict[str, int]] = {"a": {}, "b": {"vault": 1}, "c": {"gpu": 1, "vault": 1}, "d": {"gpu": 2}}
#: What the workers support. The first two are of one offer.
TYPES = ("abc", "abc", "b", "cd")
#: An offer of more types than 30 has an index of heads.
MANY: dict[str, dict[str, int]] = {f"more.{n}": {} for n in range(30)}
OWN: tuple[dict[str, int] | None, ...] = (None, {}, {"vault": 1}, {"vault": 2, "gpu": 1}, {"nowhere": 1})
POOLS = ("vault", "gpu")

jobs = st.tuples(
    st.just("job"),
    st.sampled_from("aabbbcccd"),
    st.integers(1, 3),
    st.sampled_from((0, 0, 0, 1, 2, 3, 4)),
    st.sampled_from(["now"] * 6 + ["due", "later", "late"]),
)
orders = st.tuples(st.just("order"), st.sampled_from(["one", "two"]), st.integers(1, 3))
turns = st.tuples(st.just("turn"), st.integers(0, 3), st.booleans())
gates = st.one_of(
    st.tuples(st.sampled_from(["pause", "resume", "window", "open"]), st.sampled_from("abcd")),
    st.tuples(st.sampled_from(["pause_all", "resume_all"])),
    st.tuples(st.sampled_from(["stop", "start"]), st.sampled_from(["one", "two"]), st.sampled_from(["", "s", "t"])),
)
seats = st.one_of(
    st.tuples(st.just("pool"), st.sampled_from(POOLS), st.integers(0, 4), st.sampled_from([(0, 1), (1, 1), (1, 2)])),
    st.tuples(st.just("external"), st.sampled_from(POOLS), st.integers(0, 2)),
    st.tuples(st.just("refused"), st.sampled_from(POOLS)),
    st.tuples(st.just("program"), st.sampled_from(POOLS), st.integers(1, 2), st.integers(1, 3)),
)
histories = st.tuples(
    st.lists(st.one_of(jobs, turns, seats), max_size=6),
    st.lists(st.one_of(jobs, jobs, orders), min_size=3, max_size=9),
    st.lists(st.one_of(seats, seats, gates, turns, jobs), max_size=5),
).map(lambda parts: [*parts[0], *parts[1], *parts[2]])
slots = st.tuples(*[st.integers(0, 2)] * len(TYPES))


@dataclass
class World:
    """A namespace with workers that do nothing by themselves."""

    queue: Queue
    redis: Redis
    workers: list[FakeWorker]
    moments: list[dt.datetime] = field(default_factory=list[dt.datetime])

    def do(self, act: str, *words: Any) -> None:
        """Do what a history says; what the server refuses is no matter."""
        with contextlib.suppress(SeatlineError):
            getattr(self, act)(*words)

    def job(self, type_: str, priority: int, own: int, when: str) -> None:
        times: dict[str, dict[str, float]] = {
            "due": {"delay": 0.01},
            "later": {"delay": 900},
            "late": {"expires": 0.01},
        }
        handle = self.queue.enqueue(type_, priority=priority, uses=OWN[own], **cast("Any", times.get(when, {})))
        if when in {"due", "late"}:
            record = handle.record()
            self.moments += filter(None, [record.due, record.expires])

    def order(self, chain: str, priority: int) -> None:
        self.queue.start(chain, priority=priority)

    def turn(self, number: int, settles: bool) -> None:
        worker = self.workers[number % len(self.workers)]
        worker.turn(*list(worker.held)[: 1 if settles else 0])

    def pause(self, type_: str) -> None:
        self.queue.pause(type_)

    def resume(self, type_: str) -> None:
        self.queue.resume(type_)

    def pause_all(self) -> None:
        self.queue.pause()

    def resume_all(self) -> None:
        self.queue.resume()

    def window(self, type_: str) -> None:
        now = dt.datetime.now(dt.UTC)
        self.queue.window(type_, f"{now + dt.timedelta(hours=2):%H:%M}-{now + dt.timedelta(hours=3):%H:%M} UTC")

    def open(self, type_: str) -> None:
        self.queue.window(type_, None)

    def stop(self, chain: str, step: str) -> None:
        self.queue.chains.stop(chain, step or None)

    def start(self, chain: str, step: str) -> None:
        self.queue.chains.start(chain, step or None)

    def pool(self, name: str, capacity: int, kept: tuple[int, int]) -> None:
        self.queue.pools.set(name, capacity, keep=kept[0], keep_priority=kept[1])

    def external(self, name: str, count: int) -> None:
        self.queue.pools.external(name, count)

    def refused(self, name: str) -> None:
        self.queue.store.run(verbs.refused_pool(name, 60_000, 60_000, "somebody"))

    def program(self, name: str, count: int, priority: int) -> None:
        owner = f"program:p:p{len(self.moments)}"
        self.queue.store.run(verbs.open_session(name, owner, count, ttl_ms=60_000, priority=priority, asks_ms=60_000))

    def waiting(self) -> list[str]:
        """The jobs that wait."""
        return [job.id for state in ("ready", "scheduled") for job in self.queue.jobs(state=state)]

    def free(self) -> set[str]:
        """Those that nothing keeps."""
        return {job_id for job_id in self.waiting() if not self.queue.handle(job_id).why()}

    def idle(self) -> dict[str, list[FakeWorker]]:
        """The idle workers of each offer, those with most free slots first."""
        found: dict[str, list[FakeWorker]] = {}
        for worker in self.workers:
            if self.redis.zscore(self.queue.store.keys(f"idle:{worker.digest}"), worker.id) is not None:
                found.setdefault(worker.digest, []).append(worker)
        return {offer: sorted(each, key=lambda one: len(one.held) - one.slots) for offer, each in found.items()}

    @contextlib.contextmanager
    def as_if(self) -> Generator[None]:
        """Whatever is done within has not been."""
        kept = {name: (cast("bytes", self.redis.dump(name)), self.redis.pttl(name)) for name in self.keys()}
        held = [(dict(worker.held), worker.listed) for worker in self.workers]
        yield
        self.redis.delete(*self.keys())
        for name, (value, life) in kept.items():
            self.redis.restore(name, max(0, life), value)
        for worker, (jobs_held, listed) in zip(self.workers, held, strict=True):
            worker.held, worker.listed = jobs_held, listed

    def keys(self) -> list[bytes]:
        pattern = f"{{{self.queue.store.keys.namespace}}}:*"
        return cast("list[bytes]", self.redis.keys(pattern))  # pyright: ignore[reportUnknownMemberType]

    def taken(self) -> set[str]:
        """What the idle workers of one offer or another take in their next turns."""
        found: set[str] = set()
        for each in self.idle().values():
            with self.as_if():
                for worker in each:
                    found.update(worker.turn())
        return found


@pytest.fixture
def world(
    server: RealServer, new_namespace: Callable[[], str], redis: Redis
) -> Callable[..., contextlib.AbstractContextManager[World]]:
    """Make worlds."""

    @contextlib.contextmanager
    def make(slots: tuple[int, ...], *, many: bool) -> Generator[World]:
        namespace = new_namespace()
        with contextlib.ExitStack() as open_:
            queue = open_.enter_context(Queue(server.url, namespace=namespace))
            workers: list[FakeWorker] = []
            for names, count in zip(TYPES, slots, strict=True):
                types = {name: USES[name] for name in names} | (MANY if many and names == "abc" else {})
                if count:
                    workers.append(FakeWorker(server.url, namespace, types, slots=count))
                    open_.callback(workers[-1].close)
            queue.define(Chain("one", [Step("s", "a"), Step("t", "b")]))
            queue.define(Chain("two", [Step("s", "b"), Step("t", "a")], max_orders=1))
            queue.pools.set("vault", 2)
            yield World(queue, redis, workers)

    return make


Make = Callable[..., contextlib.AbstractContextManager[World]]
FIXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(slots=slots, history=histories, many=st.booleans())
@example(slots=(1, 0, 1, 0), history=[("turn", 0, False), ("turn", 1, False), ("job", "b", 1, 0, "now")], many=False)
@settings(max_examples=30, deadline=None, suppress_health_check=FIXED)
def test_w2_nothing_keeps_a_job_exactly_if_an_idle_worker_takes_it(
    slots: tuple[int, ...],
    history: list[tuple[Any, ...]],
    many: bool,
    world: Make,
) -> None:
    """W2, W1: for random namespaces: types, priorities, pools, windows, pauses, due times, orders, programs."""
    with world(slots, many=many) as it:
        for worker in it.workers:
            worker.turn()
        for act in history:
            if it.workers or act[0] != "turn":
                it.do(*act)
        if it.moments:
            wait_until(lambda: Scene.of(it.queue.store, []).now > max(it.moments))
        assert it.free() == it.taken()
