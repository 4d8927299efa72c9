"""10,000 orders of three steps, while workers die all the time and the server twice: all end, outputs right (O1, O2, R1).

``CRASH_SEED=7 pytest -m crash -s tests/crash/test_many_orders.py`` repeats the kills of a run and shows how it goes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from crash.moments import STEPS
from crash.nest import Nest
from crash.runner import KEPT
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.console.verify import check_namespace
from seatline.producer import Chain, Queue, Step
from seatline.shared.calls import orders
from seatline.shared.calls.base import Read
from seatline.shared.job import JobRecord
from seatline.shared.order import OrderRecord, Run

pytestmark = pytest.mark.crash

ORDERS: Final = 10_000
#: So many wait before the first worker comes; the others are started meanwhile.
AT_FIRST: Final = 6_000
BATCH: Final = 200
WORKERS: Final = 4
SLOTS: Final = 4
#: Seconds between two kills of a worker, and all that it may take.
GAP: Final = (0.15, 0.5)
MOST: Final = 280.0
#: The shares of orders that have ended when the server is killed.
SERVER_KILLS: Final = (0.25, 0.6)


class Crowd:
    """Four workers, whoever was killed last."""

    def __init__(self, nest: Nest, folder: Path, **options: Any) -> None:
        self._nest, self._folder, self._options = nest, folder, options
        self.started = 0
        self.live = [self._start() for _ in range(WORKERS)]

    def kill_one(self, rng: random.Random) -> None:
        """Kill a random one; another takes its place at once."""
        at = rng.randrange(WORKERS)
        self._nest.kill(self.live[at])
        self.live[at] = self._start()

    def kill_all(self) -> None:
        """Kill them all."""
        for pid in self.live:
            self._nest.kill(pid)

    def _start(self) -> int:
        self.started += 1
        log = self._folder / f"worker-{self.started}.log"
        return self._nest.start(log, folder=str(self._folder), slots=SLOTS, **self._options)


@pytest.mark.timeout(MOST + 60)
def test_all_orders_end(
    nest: Nest,
    private_server: Callable[..., RealServer],
    namespace: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """O1, O2, R1: each step of each order is accepted once, in its order, on what those before it gave."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(10_000))
    rng, began = random.Random(seed), time.monotonic()
    server = private_server(appendonly=True, config=["appendfsync always"])  # under load, everysec has a condition
    (tmp_path / "ledger").touch()

    def say(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{time.monotonic() - began:6.1f} s  {text}")
            sys.stdout.flush()

    with contextlib.ExitStack() as closing:
        queue = closing.enter_context(Queue(server.url, namespace=namespace, deadline=60.0))
        queue.define(Chain("many", [Step(name, KEPT) for name in STEPS]))
        ids = [queue.start("many", {"n": 100 * n}).id for n in range(AT_FIRST)]
        say(f"{AT_FIRST} orders wait")
        began = time.monotonic()
        crowd = Crowd(nest, tmp_path, url=server.url, namespace=namespace, lease=1.0, renew=0.25, deadline=60.0)
        closing.callback(crowd.kill_all)

        def start_the_others() -> None:
            with Queue(server.url, namespace=namespace, deadline=60.0) as own:
                ids.extend(own.start("many", {"n": 100 * n}).id for n in range(AT_FIRST, ORDERS))

        producer = threading.Thread(target=start_the_others)
        producer.start()
        closing.callback(producer.join)
        server_kills = [int(share * ORDERS) for share in SERVER_KILLS]
        kills = ended = 0
        resumed = set[str]()
        while ended < ORDERS:
            assert time.monotonic() - began < MOST, f"seed {seed}: {ended} orders of {ORDERS} have ended"
            _pause(rng.uniform(*GAP))
            crowd.kill_one(rng)
            kills += 1
            ended = _ended(server, queue)
            resumed |= _resume(queue)
            if kills % 10 == 0:
                say(f"{ended} of {len(ids)} orders have ended, {kills} kills")
            if server_kills and ended > server_kills[0]:
                server_kills.pop(0)
                server.restart(kill=True)
                say("the server was killed")
        took = time.monotonic() - began
        producer.join()
        assert not server_kills, "the server was not killed so often as was meant"
        say(f"seed {seed}: {ORDERS} orders, {3 * ORDERS / took:.0f} steps a second, {kills} kills, {took:.0f} s")
        crowd.kill_all()
        wrong = [*_wrong(queue, ids, resumed, tmp_path / "ledger"), *check_namespace(server.url, namespace)]
        say(f"judged: {len(wrong)} anomalies; {len(resumed)} orders were resumed, after three losses of a step\n")
    assert not wrong, "\n".join([f"seed {seed}, {len(wrong)} anomalies:", *wrong[:50]])


def _ended(server: RealServer, queue: Queue) -> int:
    with contextlib.closing(server.client()) as raw:
        return int(raw.zcard(queue.store.keys("orders:succeeded")))


def _resume(queue: Queue) -> set[str]:
    """Resume the orders that failed because a step of theirs was lost three times: a person is to decide then."""
    resumed = set[str]()
    for found in queue.orders(state="failed"):
        assert isinstance(found, OrderRecord)
        assert "lost 3 times" in (found.error or ""), found
        queue.order(found.id).resume()
        resumed.add(found.id)
    return resumed


def _pause(seconds: float) -> None:
    """Let time pass between two kills."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, seconds + 60)


def _wrong(queue: Queue, ids: list[str], resumed: set[str], ledger: Path) -> Iterator[str]:
    """Say what is wrong with the orders, their histories, their jobs, and the ledger."""
    succeeded = {found.id for found in queue.orders(state="succeeded") if isinstance(found, OrderRecord)}
    if len(set(ids)) < len(ids) or set(ids) != succeeded:
        yield f"{len(ids)} orders were started, {len(set(ids))} ids given, {len(succeeded)} have succeeded"
    steps = " ".join((*STEPS, ""))
    for n, order in enumerate(_records(queue, ids)):
        if order is None or (order.ended, order.outputs["three"]) != (STEPS, {"n": 100 * n + 3, "path": steps}):
            yield f"order {ids[n]}: {order}"
    jobs = {job.id: job for state in ("succeeded", "interrupted") for job in queue.jobs(state=state)}
    accepted = Counter((job.order, job.step) for job in jobs.values() if job.state == "succeeded")
    if accepted != Counter((order_id, step) for order_id in ids for step in STEPS):
        odd = [each for each, count in accepted.items() if count != 1]
        yield f"{len(jobs)} jobs have succeeded for {len(accepted)} steps; more than once: {odd[:20]}"
    lost = 0
    for order_id, runs in zip(ids, _histories(queue, ids), strict=True):
        lost += sum(run.outcome == "lost" for run in runs if order_id not in resumed)
        yield from _wrong_history(
            order_id, [run for run in runs if order_id not in resumed or run.outcome == "succeeded"]
        )
    losses = sum(job.losses for job in jobs.values() if job.order not in resumed)
    if not lost or lost != losses:
        yield f"the histories tell of {lost} losses, the jobs of {losses}"
    yield from _wrong_runs(jobs, ledger)


def _records(queue: Queue, ids: list[str]) -> Iterator[OrderRecord | None]:
    for at in range(0, len(ids), BATCH):
        for found in queue.store.read(orders.order_records(queue.store.keys, ids[at : at + BATCH])):
            yield found if isinstance(found, OrderRecord) else None


def _histories(queue: Queue, ids: list[str]) -> Iterator[list[Run]]:
    for at in range(0, len(ids), BATCH):
        reads = [orders.history(queue.store.keys, order_id) for order_id in ids[at : at + BATCH]]
        commands = [command for read in reads for command in read.commands]
        for read, reply in zip(reads, queue.store.read(Read(commands, lambda replies: replies)), strict=True):
            yield read.parse([reply])


def _wrong_history(order_id: str, runs: list[Run]) -> Iterator[str]:
    done = [run for run in runs if run.outcome == "succeeded"]
    if [run.step for run in done] != [*STEPS] or len(done) + sum(run.outcome == "lost" for run in runs) != len(runs):
        yield f"order {order_id}: {runs}"


def _wrong_runs(jobs: dict[str, JobRecord], ledger: Path) -> Iterator[str]:
    begun = Counter[str]()
    for text in ledger.read_text().splitlines():
        line = json.loads(text)
        begun[line["job"]] += 1
        job = jobs.get(line["job"])
        if job is None or (job.order, job.step) != (line["order"], line["step"]):
            yield f"the ledger knows a job that there is not, or is another: {line} {job}"
        elif job.finished and line["at"] > job.finished.timestamp() + 0.001:
            yield f"job {job.id} was begun after its end was accepted: {line} {job.finished}"
    for job in jobs.values():
        well = job.state == "succeeded"
        if not well <= begun[job.id] <= job.attempt or job.attempt != job.losses + well:
            yield f"job {job.id} was begun {begun[job.id]} times in {job.attempt} attempts, lost {job.losses} times"
