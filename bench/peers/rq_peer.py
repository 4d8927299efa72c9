"""RQ as a peer: `Queue.enqueue`, `Queue.enqueue_many` and `SimpleWorker`.

SimpleWorker runs jobs in its own process. It is RQ's fastest worker: the default `Worker` forks for every job.
It runs one job at a time, so there is no figure for more slots. Stock settings (pickle, results kept for 500 s);
only the log level is raised, in RQ's favour. One process a machine core would multiply RQ's rate; here each system
gets one process.
"""

from redis import Redis
from rq import Queue, SimpleWorker

from bench import agent

HANDLER = "bench.agent.handle"


class RqClient:
    """RQ driven the way its documentation shows."""

    def __init__(self, spec: agent.Spec) -> None:
        self.connection = Redis.from_url(spec.url)
        self.queue = Queue(agent.QUEUE, connection=self.connection)

    def enqueue(self, sent: int, number: int) -> None:  # noqa: ARG002  RQ has no types
        """Enqueue one job."""
        self.queue.enqueue(HANDLER, file=agent.FILE, sent=sent)

    def enqueue_many(self, numbers: range) -> None:
        """Enqueue a batch in one transaction."""
        prepare = self.queue.prepare_data
        self.queue.enqueue_many([prepare(HANDLER, kwargs={"file": agent.FILE, "sent": 0}) for _ in numbers])

    def work(self, slots: int, jobs: int, *, burst: bool) -> None:
        """Run jobs one after the other."""
        if slots != 1:
            raise ValueError("RQ's SimpleWorker runs one job at a time")
        worker = SimpleWorker([self.queue], connection=self.connection)
        worker.work(burst=burst, logging_level="WARNING", max_jobs=jobs if burst else None)


if __name__ == "__main__":
    agent.main(RqClient)
