"""One soak: everybody who takes part, each in a thread of his own, and what they saw.

* the *killer* (the calling thread) kills a random worker again and again; another one takes its place at once
* the *breaker* kills the server and starts it again, stops it for a while, cuts all connections, flushes its scripts,
  and looks at the whole with ``verify``
* the *freezer* stops a worker for longer than its lease, and continues it
* the *producer* enqueues in batches and urgent ones one by one, and repeats some that carry a token
* the *operator* cancels, moves and resubmits
* the *reader* copies the stream of events, before it is trimmed, and looks at the pools

Each has a generator of its own, made from the printed seed. Whatever one of them raises ends the soak and is raised
there.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from soak.farm import Farm, python_path
from soak.plan import CAPACITY, Plan
from soak.witness import ask

from seatline.console.verify import check_namespace
from seatline.producer import Job, Queue
from seatline.shared.calls import reads
from seatline.shared.errors import WrongState

__all__ = ["Storm"]

BATCHES = 40
TICK = 0.05
#: What a worker logs when a report of its was refused.
STALE = "changed nothing"


class Storm:
    """Runs one soak; what was seen is in its attributes afterwards."""

    def __init__(
        self, plan: Plan, seed: int, server: RealServer, namespace: str, spawn: Callable[..., Child], folder: Path
    ) -> None:
        self.plan, self.seed, self.server, self.namespace = plan, seed, server, namespace
        self.effects, self.witness = folder / "effects", str(server.folder / "w")
        self.effects.touch()
        self.ids: list[str] = []
        self.urgent: set[str] = set()
        self.cancel_asked: set[str] = set()
        self.frozen: set[tuple[str, str]] = set()
        self.events: list[tuple[str, dict[str, str]]] = []
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.kills = 0
        self.began = self.drained = time.monotonic()
        self.drain_seconds = 0.0
        self._calm = threading.Event()  # the storm is over: no more faults, no more jobs
        self._done = threading.Event()  # everything has ended: the reader reads the rest
        self._raised: list[BaseException] = []
        self._queues = contextlib.ExitStack()
        pools = [f"{pool}={n}" for pool, n in CAPACITY.items()]
        self._witness = spawn([sys.executable, "-m", "soak.witness", self.witness, *pools], env=python_path())
        wait_until(Path(self.witness).exists, 10, "the witness")
        options = {
            "url": server.url,
            "namespace": namespace,
            "slots": plan.slots,
            "lease": plan.lease,
            "renew": plan.renew,
            "effects": str(self.effects),
            "witness": self.witness,
        }
        for pool, capacity in CAPACITY.items():
            self._queue().pools.set(pool, capacity)
        self._counter = self._queue()
        self.farm = Farm(spawn, options, plan.workers)

    # -- the main act

    def run(self) -> None:
        """Storm, then drain; raises what anybody met."""
        self.began = time.monotonic()
        roles = [self._breaker, self._freezer, self._producer, self._operator, self._reader]
        threads = [threading.Thread(target=self._play, args=(role,), name=role.__name__) for role in roles]
        for thread in threads:
            thread.start()
        try:
            self._killer()
            self._calm.set()
            for thread in threads[:-1]:
                thread.join(30)
            self._check()
            self.seen["left for the drain"] = len(self.ids) - self._ended()
            self._drain()
        finally:
            self._calm.set()
            self._done.set()
            for thread in threads:
                thread.join(30)
            self._queues.close()
        self._check()
        self.farm.finish()

    def ask_witness(self, *questions: str) -> list[str]:
        """Put questions to the witness."""
        return ask(self.witness, *questions)

    def _drain(self) -> None:
        started = time.monotonic()
        self.farm.replace_all()
        self.kills += self.plan.workers

        def over() -> bool:
            self._check()
            self.farm.expect_alive()
            return self._ended() == len(self.ids)

        wait_until(over, self.plan.drain, "the end of all jobs")
        self.drained = time.monotonic()
        self.drain_seconds = self.drained - started

    # -- who takes part

    def _killer(self) -> None:
        rng = self._rng("killer")
        while self._pause(rng.uniform(*self.plan.kill_gap)):
            self._check()
            self.farm.kill_one(rng)
            self.kills += 1

    def _breaker(self) -> None:
        plan = self.plan
        moments: list[tuple[float, Callable[[], None]]] = [
            *((at, partial(self._restart, away)) for at, away in plan.restarts),
            *((at, partial(self._stop, away)) for at, away in plan.pauses),
            *((at, self._cut) for at in plan.cuts),
            *((at, self._flush) for at in plan.flushes),
            *((at, self._look) for at in plan.looks),
        ]
        for at, act in sorted(moments, key=lambda moment: moment[0]):
            if self._until(at):
                act()

    def _restart(self, away: float) -> None:
        self.server.kill()
        self._pause(away)
        self.server.start()
        self.seen["restarts"] += 1

    def _stop(self, away: float) -> None:
        self.server.pause()
        self._pause(away)
        self.server.resume()
        self.seen["pauses"] += 1

    def _cut(self) -> None:
        """Close everybody's connection, whatever it was about to say."""
        with contextlib.closing(self.server.client()) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        self.seen["cuts"] += 1

    def _flush(self) -> None:
        with contextlib.closing(self.server.client()) as client:
            client.script_flush()
        self.seen["flushes"] += 1

    def _look(self) -> None:
        found = check_namespace(self.server.url, self.namespace)
        self.wrong += [f"verify at {self._at():.1f} s: {line}" for line in found]
        self.seen["looks"] += 1

    def _freezer(self) -> None:
        client = self._patient_client()
        for at in self.plan.stops:
            if self._until(at) and (chosen := self._choose_busy(client)):
                self._freeze(*chosen, client)
                self.farm.spare(None)
        client.close()

    def _choose_busy(self, client: Any) -> tuple[Child, str] | None:
        """Spare the worker that runs most, once there is one that runs several jobs."""
        while self._pause(TICK):
            busy = Counter(worker for worker, _, _ in self._running(client)).most_common(1)
            if busy and busy[0][1] >= 3:
                child = self.farm.spare(int(client.hget(self._key(f"worker:{busy[0][0]}"), "pid") or 0))
                if child:
                    return child, busy[0][0]
        return None

    def _freeze(self, child: Child, worker: str, client: Any) -> None:
        """Stop it until all it held was taken back, then let it go on and tell its stale news."""
        child.signal(signal.SIGSTOP)
        wait_until(lambda: _state(child.pid) == "T", 2, "the stop of a worker")
        self._pause(0.1)  # what it had sent before is executed by now
        held = {(job, token) for owner, job, token in self._running(client) if owner == worker}
        self.ask_witness(*(f"apart {job} {token}" for job, token in held))
        self.frozen |= held
        self.seen["stops"] += 1

        def taken_back() -> bool:
            return not held & {(job, token) for _, job, token in self._running(client)}

        try:
            wait_until(taken_back, self.plan.lease + 8 * self.plan.renew, "the leases of a stopped worker")
        finally:
            child.signal(signal.SIGCONT)
        wait_until(lambda: STALE in child.errors(), 5, "the stale reports of a continued worker")

    def _producer(self) -> None:
        rng, queue, plan = self._rng("producer"), self._queue(), self.plan
        gap = 0.96 * plan.seconds / BATCHES
        longs = set(rng.sample(range(BATCHES // 2), min(BATCHES // 2, plan.longs)))
        tokens: list[Job] = []
        for batch in range(BATCHES):
            jobs = [_random_job(rng, plan.work) for _ in range(plan.jobs // BATCHES)]
            if batch in longs:
                jobs += [Job("long", {"seconds": rng.uniform(1.0, 0.06 * plan.seconds)}, 5)] * 2
            ids = queue.enqueue_many(jobs)
            self.ids += ids
            handle = queue.enqueue("free", {"seconds": 0.01}, priority=1)
            self.urgent.add(handle.id)
            self.ids.append(handle.id)
            tokens.append(Job("one", {"seconds": 0.02}, token=f"load-{batch}"))
            self.ids += queue.enqueue_many(tokens[-1:])
            again = rng.choice(tokens)
            handle = queue.enqueue("one", again.params, token=again.token)
            if not handle.existed or handle.id not in self.ids:
                self.wrong.append(f"token {again.token} was enqueued twice: job {int(handle.id)}")
            self._until((batch + 1) * gap)

    def _operator(self) -> None:
        rng, queue = self._rng("operator"), self._queue()
        while self._pause(rng.uniform(0.05, 0.2)):
            if not self.ids:
                continue
            job = queue.handle(rng.choice(self.ids[-300:]))
            with contextlib.suppress(WrongState):
                match rng.randrange(5):
                    case 0:
                        self.cancel_asked.add(job.id)
                        self.seen[f"cancel {job.cancel()}"] += 1
                    case 1 | 2:
                        job.move(priority=rng.choice([2, 10, 50]))
                        self.seen["moves"] += 1
                    case _:
                        lost = [record.id for record in queue.jobs(state="interrupted", limit=20)]
                        if lost:
                            queue.handle(rng.choice(lost)).resubmit()
                            self.seen["resubmits"] += 1

    def _reader(self) -> None:
        client, stream, last = self._patient_client(), self._key("events"), "0"
        while True:
            final = self._done.is_set()  # read before the look, so that the last look is a whole one
            found: Any = client.xread({stream: last}, count=1000)
            self._look_at_pools(client)
            entries = found[0][1] if found else []
            for entry, fields in entries:
                last = entry.decode()
                self.events.append((last, {name.decode(): value.decode() for name, value in fields.items()}))
            if final and not entries:
                break
            if not entries:
                self._done.wait(TICK)
        self.seen["entries"] = client.xinfo_stream(stream)["entries-added"]
        client.close()

    def _look_at_pools(self, client: Any) -> None:
        for pool, capacity in CAPACITY.items():
            sessions = client.zrange(self._key(f"pool:{pool}:sessions"), 0, -1)
            held = sum(int(member.rpartition(b"|")[2]) for member in sessions)
            self.seen[f"most held of {pool}"] = max(self.seen[f"most held of {pool}"], held)
            if held > capacity:
                self.wrong.append(f"pool {pool} at {self._at():.1f} s: {held} seats held of {capacity}: {sessions}")

    # -- what they need

    def _key(self, name: str) -> str:
        return f"{{{self.namespace}}}:{name}"

    def _running(self, client: Any) -> list[tuple[str, str, str]]:
        """Who runs what: worker, job, token."""
        found = []
        for member in client.zrange(self._key("running"), 0, -1):
            worker, token = client.hmget(self._key(f"job:{member.decode()}"), "worker", "token")
            if worker and token:
                found.append((worker.decode(), member.decode(), token.decode()))
        return found

    def _play(self, role: Callable[[], None]) -> None:
        try:
            role()
        except BaseException as error:  # noqa: BLE001 - raised by the main thread
            self._raised.append(error)

    def _ended(self) -> int:
        """Count who has ended; nobody resubmits now, so they stay so."""
        store = self._counter.store
        counts = store.read(reads.about(store.keys)).counts
        return sum(n for state, n in counts.items() if state not in {"running", "scheduled"})

    def _check(self) -> None:
        if self._raised:
            raise self._raised[0]

    def _rng(self, role: str) -> random.Random:
        return random.Random(f"{self.seed} {role}")

    def _patient_client(self) -> Any:
        """Return a raw client that reads on when the server is back."""
        return self.server.client(retry=Retry(ConstantBackoff(0.05), 200))

    def _queue(self) -> Queue:
        return self._queues.enter_context(Queue(self.server.url, namespace=self.namespace))

    def _at(self) -> float:
        return time.monotonic() - self.began

    def _pause(self, seconds: float) -> bool:
        """Wait; False once the storm is over."""
        left = self.plan.seconds - self._at()
        return not self._calm.wait(max(0.0, min(seconds, left))) and seconds < left

    def _until(self, moment: float) -> bool:
        """Wait for a moment of the plan; False once the storm is over."""
        return not self._calm.wait(max(0.0, moment - self._at()))


def _random_job(rng: random.Random, work: tuple[float, float]) -> Job:
    kinds = {"free": 50, "free.once": 6, "one": 20, "one.once": 5, "two": 8, "both": 6, "both.once": 2}
    (type_,) = rng.choices([*kinds], [*kinds.values()])
    uses = None
    if rng.random() < 0.08:
        uses = rng.choice([{}, {"a": 2}, {"b": 1}, {"a": 1, "b": 1}])
    delay = rng.uniform(0.1, 2.0) if rng.random() < 0.05 else None
    params = {"seconds": rng.uniform(*work)}
    return Job(type_, params, rng.choice([10, 10, 10, 20, 100]), uses=uses, delay=delay)


def _state(pid: int) -> str:
    """Return the state of a process as the kernel names it; T is stopped."""
    if not Path("/proc").is_dir():  # macOS
        told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=True)
        return told.stdout[:1]
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
