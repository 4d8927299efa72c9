"""Seatline itself, by its public API only.

Variants: ``seats`` lets every job take a seat of a pool, as its type's handler says; ``trim`` keeps so few finished
jobs that every settled job makes an older one go, which is what a queue pays that has run for long: the stock worker
keeps 100,000, more than a measured drain finishes.

Variants ``async``, ``process`` and ``shell`` run the handler that way; stock is a thread. Counting inside the handler
cannot be done in children: there a drain's time is that of the worker's whole run, its start and stop included.

Variant ``orders`` puts the same number of runs of a handler into orders of three steps each. A step returns a small mapping,
which is stored, handed on, and merged into the next step's params: what a chain is for, and a plain job does not pay. In
variant ``results`` plain jobs return that mapping too, and theirs is stored as well.

Variants ``due``, ``due-order`` and ``due-schedule`` measure how late a worker begins what is due at a moment to come: a job
with a delay, an order with one, and a schedule whose first moment it is.

Jobs are spread over `Spec.types` types, and the worker has a handler for each of them. The peers run their handlers
inside the worker process, so a comparison needs Seatline's to run in threads; a child process costs more a job.
"""

import datetime as dt
import time
from itertools import cycle, islice
from typing import Any

from bench import agent
from seatline.producer import Chain, Job, Queue, Step
from seatline.shared.calls.workers import Kept
from seatline.worker import Context, Handlers, Worker

POOL = "bench"
FEW = 1000
STEPS = 3
AHEAD = 0.3  # seconds until what is sent is due


class SeatlineClient:
    """Seatline driven the way its documentation shows."""

    def __init__(self, spec: agent.Spec) -> None:
        self.url = spec.url
        self.holds = spec.act == "hold"
        self.queue = Queue(spec.url, namespace=agent.QUEUE)
        self.types = [f"bench.type{number}" for number in range(spec.types)]
        self.uses = {POOL: 1} if spec.variant == "seats" else None
        self.isolation = spec.variant if spec.variant in {"async", "process", "shell"} else "thread"
        self.kept = Kept(count=FEW) if spec.variant == "trim" else None
        if self.uses:
            self.queue.pools.set(POOL, max(spec.slots, 1))
        self.orders = spec.variant == "orders"
        self.returns = spec.variant in {"orders", "results"}
        self.due = spec.variant.removeprefix("due") if spec.variant.startswith("due") else None
        if self.orders or self.due == "-order":
            self.queue.define(Chain("bench", [Step(f"step{number}", self.types[0]) for number in range(STEPS)]))

    def enqueue(self, sent: int, number: int) -> None:
        """Enqueue one job; or what starts one in a while, if lateness is measured."""
        if sent and self.due is not None:
            self._enqueue_ahead(sent + int(AHEAD * 1e9), number)
            return
        self.queue.enqueue(self.types[number % len(self.types)], {"file": agent.FILE, "sent": sent})

    def _enqueue_ahead(self, due: int, number: int) -> None:
        params, kind = {"file": agent.FILE, "sent": due}, self.types[0]
        if self.due == "-schedule":
            start = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=AHEAD)
            self.queue.schedules.add(f"bench{number}", kind, params, every=3600, start=start)
        elif self.due == "-order":
            self.queue.start("bench", params, delay=AHEAD)
        else:
            self.queue.enqueue(kind, params, delay=AHEAD)

    def enqueue_many(self, numbers: range) -> None:
        """Enqueue a batch by the bulk call."""
        if self.orders:
            for _ in range(-(-numbers.start // STEPS), -(-numbers.stop // STEPS)):
                self.queue.start("bench", {"file": agent.FILE, "sent": 0})
            return
        kinds = islice(cycle(self.types), numbers.start % len(self.types), None)
        params = {"file": agent.FILE, "sent": 0}
        self.queue.enqueue_many(Job(kind, params) for kind, _ in zip(kinds, numbers, strict=False))

    def work(self, slots: int, jobs: int, *, burst: bool) -> None:  # noqa: ARG002  burst ends by itself
        """Run jobs in one worker process with `slots` slots; jobs that are held run again when their worker is lost."""
        handlers = Handlers()
        for kind in self.types:
            self._declare(handlers, kind)
        worker = Worker(handlers, self.url, namespace=agent.QUEUE, slots=slots, kept=self.kept)
        in_children = burst and self.isolation in {"process", "shell"}
        began, cpu = time.monotonic_ns(), time.process_time()
        worker.run(burst=burst)
        if in_children:
            tally = agent.TALLY
            tally.first_ns, tally.last_ns = began, time.monotonic_ns()
            tally.cpu_first, tally.cpu_last = cpu, time.process_time()

    def _declare(self, handlers: Handlers, kind: str) -> None:
        if self.isolation == "shell":
            handlers.shell(kind, ["true"])
        elif self.isolation == "async":
            handlers.handler(kind)(_run_async)
        elif self.returns:
            handlers.handler(kind)(_run_step)
        else:
            handlers.handler(
                kind,
                uses=self.uses,
                if_lost="rerun" if self.holds else "interrupt",
                isolation="process" if self.isolation == "process" else "thread",
            )(_run)


async def _run_async(ctx: Context, **params: Any) -> None:  # noqa: ARG001  as below
    agent.handle(**params)


def _run_step(ctx: Context, **params: Any) -> dict[str, int]:  # noqa: ARG001  as below
    agent.handle(file=params["file"], sent=params["sent"])
    return {"pages": 12}


def _run(ctx: Context, **params: Any) -> None:  # noqa: ARG001  handlers take the context first
    agent.handle(**params)
    if agent.TALLY.spec and agent.TALLY.spec.act == "hold":
        time.sleep(600)  # until this process is killed


if __name__ == "__main__":
    agent.main(SeatlineClient)
