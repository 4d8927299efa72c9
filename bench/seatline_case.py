"""Seatline itself, by its public API only; the variant ``seats`` lets every job take a seat of a pool.

Jobs are spread over `Spec.types` types, and the worker has a handler for each of them. The peers run their handlers
inside the worker process, so a comparison needs Seatline's to run in threads; a child process costs more a job.
"""

from itertools import cycle, islice
from typing import Any

from bench import agent
from seatline.producer import Job, Queue
from seatline.worker import Context, Handlers, Worker

POOL = "bench"


class SeatlineClient:
    """Seatline driven the way its documentation shows."""

    def __init__(self, spec: agent.Spec) -> None:
        self.url = spec.url
        self.queue = Queue(spec.url, namespace=agent.QUEUE)
        self.types = [f"bench.type{number}" for number in range(spec.types)]
        self.uses = {POOL: 1} if spec.variant == "seats" else None
        if self.uses:
            self.queue.pools.set(POOL, max(spec.slots, 1))

    def enqueue(self, sent: int, number: int) -> None:
        """Enqueue one job."""
        kind = self.types[number % len(self.types)]
        self.queue.enqueue(kind, {"file": agent.FILE, "sent": sent}, uses=self.uses)

    def enqueue_many(self, numbers: range) -> None:
        """Enqueue a batch by the bulk call."""
        kinds = islice(cycle(self.types), numbers.start % len(self.types), None)
        params = {"file": agent.FILE, "sent": 0}
        self.queue.enqueue_many(Job(kind, params, uses=self.uses) for kind, _ in zip(kinds, numbers, strict=False))

    def work(self, slots: int, jobs: int, *, burst: bool) -> None:  # noqa: ARG002  burst ends by itself
        """Run jobs in one worker process with `slots` slots."""
        handlers = Handlers()
        for kind in self.types:
            handlers.handler(kind, uses=self.uses)(_run)
        Worker(handlers, self.url, namespace=agent.QUEUE, slots=slots).run(burst=burst)


def _run(ctx: Context, **params: Any) -> None:  # noqa: ARG001  handlers take the context first
    agent.handle(**params)


if __name__ == "__main__":
    agent.main(SeatlineClient)
