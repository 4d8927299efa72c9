"""Everything that can happen to seats, in a random order, with fake workers and programs that only act when rung.

After each step three things must hold, whatever came before:

* *no lost ring*: once all who were rung have looked, somebody idle who looks by himself finds nothing to start
* *no overtaking* (S6, C3): who was granted seats did not take them from a more urgent claim that counts
* *no seat too many* (S1, S2): the counter is the sum of the sessions, and nothing is granted beyond what there is
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Queue
from seatline.shared.calls import pools as verbs
from seatline.shared.calls.reads import PoolRecord
from seatline.shared.errors import NoSuchPool, WrongState
from seatline.shared.store.lane import client_id

__all__ = ["Storm"]

TYPES: Final[dict[str, dict[str, int]]] = {
    "a": {"p": 1},
    "b": {"p": 2},
    "c": {"q": 1},
    "d": {"p": 1, "q": 1},
    "e": {"p": 1},
    "n": {},
    "o": {},
}
OWN_USES: Final[list[dict[str, int]]] = [{}, {"p": 2}, {"q": 1}, {"p": 1, "q": 2}, {"missing": 1}]
#: Further types, of which there are no jobs: whoever supports them all is served from an index of heads.
MANY: Final[dict[str, dict[str, int]]] = {f"m{number}": {} for number in range(40)}
RINGS_MOST: Final = 100


class FakeProgram:
    """A program that asks for seats, as ``ProgramSession`` does, one exchange at a time."""

    def __init__(self, queue: Queue, pool: str, seats: int, priority: int) -> None:
        self._store = queue.store
        self.pool, self.seats, self.priority = pool, seats, priority
        self.bell = client_id()
        self.owner = f"program:p:{self.bell}"
        self.place, self.holds, self.over = "", False, False

    def ask(self, *, now_or_never: bool = False) -> bool:
        asks_ms = 0 if now_or_never else 600_000
        word, detail = self._store.run(
            verbs.open_session(
                self.pool, self.owner, self.seats, ttl_ms=600_000, priority=self.priority, place=self.place,
                asks_ms=asks_ms,
            )
        )  # fmt: skip
        self.holds, self.over = word == "ok", word == "never" or now_or_never
        self.place = detail if word == "waits" else ""
        return self.holds

    def close(self) -> None:
        self._store.run(verbs.close_session(self.pool, self.owner, self.seats, self.place))
        self.holds, self.over = False, True


@dataclass(frozen=True)
class Claim:
    """A place in a pool's line that counts: someone who is idle, or asks, waits for it."""

    pool: str
    place: tuple[int, str]
    need: int


class Storm:
    """One run of a seed; ``steps`` raises AssertionError with all that happened so far."""

    def __init__(self, url: str, namespace: str, queue: Queue, redis: Redis, seed: int, *, wide: bool = False) -> None:
        self._url, self._namespace, self._queue, self._redis = url, namespace, queue, redis
        self._random, self._wide = random.Random(seed), wide
        self._told: list[str] = [f"seed {seed}"]
        self._workers = [self._hire() for _ in range(4)]
        self._programs: list[FakeProgram] = []
        self._jobs: list[str] = []
        for pool in ("p", "q"):
            queue.pools.set(pool, self._random.randint(1, 3))
        self._acts: list[tuple[int, Callable[[], None]]] = [
            (12, self._enqueue),
            (12, self._settle),
            (3, self._hand_back),
            (4, self._cancel_or_move),
            (1, self._resubmit),
            (2, self._set_pool),
            (2, self._set_external),
            (3, self._gate),
            (4, self._program),
            (3, self._program_ends),
            (2, self._replace_worker),
        ]

    def steps(self, count: int) -> None:
        """Do so many things, some of them before those who were rung have looked."""
        acts = [act for _, act in self._acts]
        weights = [weight for weight, _ in self._acts]
        for _ in range(count):
            self._random.choices(acts, weights)[0]()
            self._check_counters()
            if self._random.random() < 0.6:
                self._answer_all()
                if self._random.random() < 0.5:
                    self._look()

    def close(self) -> None:
        """End all that is held, so that the closing look finds the namespace at rest."""
        for worker in self._workers:
            worker.close()

    # -- what may happen

    def _enqueue(self) -> None:
        type_, priority = self._random.choice(list(TYPES)), self._random.choice([1, 5, 5, 9, 50])
        uses = self._random.choice(OWN_USES) if self._random.random() < 0.2 else None
        for _ in range(self._random.choice([1, 1, 1, 3])):
            handle = self._queue.enqueue(type_, priority=priority, uses=uses)
            self._jobs.append(handle.id)
            self._tell(f"enqueue {int(handle.id)} {type_} priority {priority} uses {uses}")

    def _settle(self) -> None:
        busy = [worker for worker in self._workers if worker.held]
        if busy:
            worker = self._random.choice(busy)
            done = self._random.sample(list(worker.held), self._random.randint(1, len(worker.held)))
            self._turn(worker, *done)

    def _hand_back(self) -> None:
        busy = [worker for worker in self._workers if worker.held]
        if busy:
            worker = self._random.choice(busy)
            self._turn(worker, self._random.choice(list(worker.held)), outcome="returned")

    def _cancel_or_move(self) -> None:
        if not self._jobs:
            return
        handle = self._queue.handle(self._random.choice(self._jobs))
        verb = self._random.choice(["cancel", "move", "remove"])
        try:
            if verb == "cancel" and handle.state() != "running":
                handle.cancel()
            elif verb == "move":
                handle.move(priority=self._random.choice([1, 5, 9, 50]))
            elif verb == "remove":
                handle.remove()
                self._jobs.remove(handle.id)
        except WrongState:
            return
        self._tell(f"{verb} {int(handle.id)}")

    def _resubmit(self) -> None:
        if not self._jobs:
            return
        handle = self._queue.handle(self._random.choice(self._jobs))
        try:
            handle.resubmit()
        except WrongState:
            return
        self._tell(f"resubmit {int(handle.id)}")

    def _set_pool(self) -> None:
        pool, capacity = self._random.choice(["p", "q"]), self._random.choice([0, 1, 2, 3])
        if self._random.random() < 0.3:
            self._queue.pools.set(pool, capacity, keep=self._random.choice([0, 1]), keep_priority=5)
        else:
            self._queue.pools.set(pool, capacity)
        self._tell(f"pool {pool} {capacity}")

    def _set_external(self) -> None:
        pool, seats = self._random.choice(["p", "q"]), self._random.choice([0, 0, 1, 2])
        self._queue.pools.external(pool, seats, ttl=3600)
        self._tell(f"external {pool} {seats}")

    def _gate(self) -> None:
        type_ = self._random.choice([*TYPES, None])
        verb = self._random.choice([self._queue.pause, self._queue.resume, self._queue.resume])
        verb(type_)
        self._tell(f"{verb.__name__} {type_}")

    def _program(self) -> None:
        if len(self._programs) < 3:
            program = FakeProgram(
                self._queue,
                self._random.choice(["p", "q"]),
                self._random.randint(1, 2),
                self._random.choice([1, 5, 50]),
            )
            self._programs.append(program)
            self._ask(program)

    def _program_ends(self) -> None:
        if self._programs:
            program = self._random.choice(self._programs)
            if not program.holds and self._random.random() < 0.5:
                self._ask(program, now_or_never=True)
            else:
                self._tell(f"program {program.bell[:4]} closes")
                program.close()
                self._programs.remove(program)

    def _replace_worker(self) -> None:
        worker = self._random.choice(self._workers)
        self._tell(f"worker {worker.id[:4]} leaves")
        worker.leave()
        worker.close()
        self._workers[self._workers.index(worker)] = self._hire()

    # -- what those who were rung do

    def _hire(self) -> FakeWorker:
        types = {name: TYPES[name] for name in self._random.sample(list(TYPES), self._random.randint(1, 3))}
        if self._wide and self._random.random() < 0.5:
            types.update({**MANY, **(TYPES if self._random.random() < 0.5 else {})})
        worker = FakeWorker(
            self._url, self._namespace, types, slots=self._random.randint(1, 2), lease=600, block=600, if_lost="rerun"
        )
        self._tell(
            f"worker {worker.id[:4]} {sorted(types.keys() - MANY.keys())} of {len(types)} types, slots {worker.slots}"
        )
        self._turn(worker)
        return worker

    def _rung(self) -> list[FakeWorker | FakeProgram]:
        found: list[FakeWorker | FakeProgram] = [worker for worker in self._workers if worker.rung()]
        bell = self._queue.store.keys.bell
        return found + [program for program in self._programs if self._redis.exists(bell(program.bell))]

    def _answer_all(self) -> None:
        for _ in range(RINGS_MOST):
            rung = self._rung()
            if not rung:
                return
            one = self._random.choice(rung)
            if isinstance(one, FakeWorker):
                self._turn(one)
            else:
                self._redis.delete(self._queue.store.keys.bell(one.bell))
                if not one.holds and not one.over:
                    self._ask(one)
        self._fail(f"they ring each other for ever: {[one.bell[:5] for one in self._rung()]}")

    def _look(self) -> None:
        for worker in self._random.sample(self._workers, len(self._workers)):
            if worker.listed and len(worker.held) < worker.slots and (found := self._turn(worker)):
                self._fail(f"nobody rang worker {worker.id[:4]} for {[int(job_id) for job_id in found]}")
        for program in self._programs:
            if program.place and self._ask(program):
                self._fail(f"nobody rang program {program.bell[:4]}")

    def _turn(self, worker: FakeWorker, *done: str, outcome: str = "succeeded") -> list[str]:
        claims = list(self._claims(but=worker))
        taken = worker.turn(*done, outcome=outcome)
        said = f"{outcome} {[int(job_id) for job_id in done]}, " if done else ""
        self._tell(f"worker {worker.id[:4]} turn: {said}takes {[int(job_id) for job_id in taken]}")
        for job_id in taken:
            job = self._queue.job(job_id)
            self._check_claims(claims, (job.priority, job_id), job.seats)
        return taken

    def _ask(self, program: FakeProgram, *, now_or_never: bool = False) -> bool:
        claims = list(self._claims())
        place = (program.priority, program.place or f"{self._seq():016}:{program.owner}")
        held = program.ask(now_or_never=now_or_never)
        self._tell(f"program {program.bell[:4]} {program.pool}={program.seats} at {program.priority} asks: {held}")
        if held:
            self._check_claims(claims, place, {program.pool: program.seats})
        return held

    # -- what must hold

    def _seq(self) -> int:
        return int(self._redis.get(self._queue.store.keys("seq")) or 0)

    def _claims(self, but: FakeWorker | None = None) -> Iterator[Claim]:
        """The claims that count, those of other workers than ``but``."""
        if not hasattr(self, "_workers"):
            return
        served = {
            type_
            for worker in self._workers
            if worker is not but and worker.listed and len(worker.held) < worker.slots
            for type_ in worker.types
        }
        asking = {program.place: program for program in self._programs if program.place}
        for pool in self._pools().values():
            for member, priority in pool.waiting:
                if member in asking and self._at_all(pool.name, priority) >= asking[member].seats:
                    yield Claim(pool.name, (priority, member), asking[member].seats)
                elif len(member) == 16 and self._startable(member) and self._queue.job(member).type in served:
                    job = self._queue.job(member)
                    uses = TYPES[job.type] if job.uses is None else job.uses
                    yield Claim(pool.name, (priority, member), uses.get(pool.name, 0))

    def _startable(self, job_id: str) -> bool:
        """Whether the job could start if nobody held a seat, so that its claim counts."""
        (record,) = [self._queue.job(job_id)] if job_id in self._jobs else [None]
        keys = self._queue.store.keys
        if record is None or record.state != "ready" or self._redis.exists(keys("paused")):
            return False
        uses = TYPES[record.type] if record.uses is None else record.uses
        paused = self._redis.hexists(keys(f"type:{record.type}"), "paused")
        return not paused and all(self._at_all(pool, record.priority) >= seats for pool, seats in uses.items())

    def _at_all(self, name: str, priority: int) -> int:
        try:
            pool = self._queue.pools[name]
        except NoSuchPool:
            return 0
        return pool.capacity - pool.external - (pool.keep if priority > pool.keep_priority else 0)

    def _check_claims(self, claims: list[Claim], place: tuple[int, str], seats: Mapping[str, int]) -> None:
        pools = self._pools()
        for claim in claims:
            still = any(member == claim.place[1] for member, _ in pools[claim.pool].waiting)
            if still and claim.pool in seats and claim.place < place:
                left = self._at_all(claim.pool, claim.place[0]) - pools[claim.pool].in_use
                if left < claim.need:
                    self._fail(f"{place} took {dict(seats)} from the more urgent {claim}")

    def _check_counters(self) -> None:
        for pool in self._pools().values():
            if pool.counter is not None and pool.counter != pool.in_use:
                self._fail(f"pool {pool.name}: counter {pool.counter}, sessions {pool.in_use}")
            if pool.in_use > max(3, pool.capacity):
                self._fail(f"pool {pool.name}: {pool.in_use} in use")

    def _pools(self) -> dict[str, PoolRecord]:
        return {pool.name: pool for pool in self._queue.pools.list()}

    def _tell(self, what: str) -> None:
        self._told.append(what)

    def _fail(self, what: str) -> None:
        raise AssertionError("\n".join([*self._told[-60:], f"BUT {what}"]))
