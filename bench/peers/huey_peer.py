"""Huey as a peer: `RedisHuey` (a list), or `PriorityRedisHuey` (a sorted set) as the variant ``priority``.

The consumer runs thread workers, as many as slots. Huey has no bulk call, so its bulk figure is the same loop as its
single one. It acknowledges nothing: a job that a worker popped is gone if the worker dies, which is why it needs so
few commands. A result of None is not stored, and that is its stock behaviour.
"""

from typing import Any

from huey import PriorityRedisHuey, RedisHuey
from huey.consumer import Consumer

from bench import agent


class HueyClient:
    """Huey driven the way its documentation shows, with the consumer in this process."""

    def __init__(self, spec: agent.Spec) -> None:
        kind: Any = PriorityRedisHuey if spec.variant == "priority" else RedisHuey
        self.options: dict[str, int] = {"priority": 10} if spec.variant == "priority" else {}
        self.huey = kind(agent.QUEUE, url=spec.url)
        self.task = self.huey.task(**self.options)(agent.handle)

    def enqueue(self, sent: int, number: int) -> None:  # noqa: ARG002  Huey has no types
        """Enqueue one job."""
        self.task(file=agent.FILE, sent=sent)

    def enqueue_many(self, numbers: range) -> None:
        """Enqueue a batch, one job after the other."""
        for _ in numbers:
            self.task(file=agent.FILE, sent=0)

    def work(self, slots: int, jobs: int, *, burst: bool) -> None:  # noqa: ARG002  the tally knows the end
        """Run jobs in `slots` threads."""
        Consumer(self.huey, workers=slots, worker_type="thread", periodic=False).start()
        agent.TALLY.done.wait()


if __name__ == "__main__":
    agent.main(HueyClient)
