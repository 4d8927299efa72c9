"""A bare client, no queue: one small script a job, to say what this machine and this server give at all.

The script writes a job-like hash and a sorted-set entry, as any enqueue must. It is no queue and no ceiling for
Seatline's own scripts; it shows how fast a Python client can talk to the server, and how much of a run's spread is
the machine's.
"""

from typing import Any

from redis import Redis

from bench import agent

SCRIPT = """
redis.call('HSET', KEYS[1], 'type', 'bench', 'priority', 10, 'params', ARGV[1])
redis.call('ZADD', KEYS[2], 10, KEYS[1])
return 'ok'
"""


class BareClient:
    """EVALSHA and nothing else."""

    def __init__(self, spec: agent.Spec) -> None:
        self.redis = Redis.from_url(spec.url)
        self.digest = str(self.redis.script_load(SCRIPT))
        self.params = f'{{"file": "{agent.FILE}", "sent": 0}}'

    def enqueue(self, sent: int, number: int) -> None:  # noqa: ARG002  nobody listens
        """Run the script once."""
        self._run(self.redis, number)

    def enqueue_many(self, numbers: range) -> None:
        """Run the script once a job, all in one pipeline without a transaction."""
        pipeline = self.redis.pipeline(transaction=False)
        for number in numbers:
            self._run(pipeline, number)
        pipeline.execute()

    def work(self, slots: int, jobs: int, *, burst: bool) -> None:
        """Refuse: there is nothing to run."""
        raise NotImplementedError("the bare client runs no jobs")

    def _run(self, target: Any, number: int) -> None:
        target.evalsha(self.digest, 2, f"{{bench}}:job:{number:016d}", "{bench}:ready", self.params)


if __name__ == "__main__":
    agent.main(BareClient)
