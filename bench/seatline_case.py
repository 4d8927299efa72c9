"""Seatline itself, by its public API only.

Variants: ``seats`` lets every job take a seat of a pool, as its type's handler says; ``trim`` keeps so few finished
jobs that every settled job makes an older one go, which is what a queue pays that has run for long: the stock worker
keeps 100,000, more than a measured drain finishes.

Jobs are spread over `Spec.types` types, and the worker has a handler for each of them. The peers run their handlers
inside the worker process, so a comparison needs Seatline's to run in threads; a child process costs more a job.
"""

import time
from itertools import cycle, islice
from typing import Any

from bench import agent
from seatline.producer import Job, Queue
from seatline.shared.calls.workers import Kept
from seatline.worker import Context, Handlers, Worker

POOL = "bench"
FEW = 1000


class SeatlineClient:
    """Seatline driven the way its documentation shows."""

    def __init__(self, spec: agent.Spec) -> None:
        self.url = spec.url
        self.holds = spec.act == "hold"
        self.queue = Queue(spec.url, namespace=agent.QUEUE)
        self.types = [f"bench.type{number}" for number in range(spec.types)]
        self.uses = {POOL: 1} if spec.variant == "seats" else None
        self.kept = Kept(count=FEW) if spec.variant == "trim" else None
        if self.uses:
            self.queue.pools.set(POOL, max(spec.slots, 1))

    def enqueue(self, sent: int, number: int) -> None:
        """Enqueue one job."""
        self.queue.enqueue(self.types[number % len(self.types)], {"file": agent.FILE, "sent": sent})

    def enqueue_many(self, numbers: range) -> None:
        """Enqueue a batch by the bulk call."""
        kinds = islice(cycle(self.types), numbers.start % len(self.types), None)
        params = {"file": agent.FILE, "sent": 0}
        self.queue.enqueue_many(Job(kind, params) for kind, _ in zip(kinds, numbers, strict=False))

    def work(self, slots: int, jobs: int, *, burst: bool) -> None:  # noqa: ARG002  burst ends by itself
        """Run jobs in one worker process with `slots` slots; jobs that are held run again when their worker is lost."""
        handlers = Handlers()
        for kind in self.types:
            handlers.handler(kind, uses=self.uses, if_lost="rerun" if self.holds else "interrupt")(_run)
        Worker(handlers, self.url, namespace=agent.QUEUE, slots=slots, kept=self.kept).run(burst=burst)


def _run(ctx: Context, **params: Any) -> None:  # noqa: ARG001  handlers take the context first
    agent.handle(**params)
    if agent.TALLY.spec and agent.TALLY.spec.act == "hold":
        time.sleep(600)  # until this process is killed


if __name__ == "__main__":
    agent.main(SeatlineClient)
