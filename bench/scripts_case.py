"""The ceiling: Seatline's own scripts, driven by a bare client that does nothing else.

One connection sends the same ``submit`` and ``turn`` scripts with the same arguments as `Queue` and `Worker` do: settle
k jobs and reserve k, again and again, with k = slots. There are no handlers, threads, leases, bells or checks, params
are packed once, the request's digest is not computed. What is left is the server's work and the cheapest client that
Python has, so Seatline divided by this row is the share of the ceiling that the producer and the worker reach.

Not a bound in every case: a worker that takes turns in one thread while handlers end in others overlaps its work with
the server's, and its turns may settle more jobs at once than a strict k at a time.
"""

from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

from bench import agent
from seatline.producer import Job, Queue
from seatline.shared.calls import jobs as verbs_of_jobs
from seatline.shared.calls import workers as verbs
from seatline.shared.job import job_words
from seatline.shared.keys import Keys
from seatline.shared.scripts import script
from seatline.shared.store.lane import client_id
from seatline.worker import Handlers

KIND = "bench.type0"
WORKER = "bench"
LEASE_MS = 30_000
PRESENCE_MS = 600_000  # nobody renews here
DIGEST = "0" * 16  # as long as a real one; only equality counts
POOL = "bench"


class ScriptsClient:
    """EVALSHA of Seatline's scripts on one connection."""

    def __init__(self, spec: agent.Spec) -> None:
        self.uses = {POOL: 1} if spec.variant == "seats" else None
        queue = Queue(spec.url, namespace=agent.QUEUE)
        queue.store.meet()  # founds the namespace
        if self.uses:
            queue.pools.set(POOL, max(spec.slots, 1))
        queue.close()
        self.redis = Redis.from_url(spec.url)
        for name in ("submit", "turn", "offer"):
            self.redis.script_load(script(name).text)
        self.connection: Any = self.redis.connection_pool.get_connection()
        self.keys = Keys(agent.QUEUE)
        self.lane = self.keys.lane(client_id(), 1)
        self.number = 0
        self.job = job_words(Job(KIND, {"file": agent.FILE, "sent": 0}))
        self.batches: dict[int, Sequence[Any]] = {}

    def enqueue(self, sent: int, number: int) -> None:  # noqa: ARG002  one type, nobody listens
        """Submit one job."""
        self._submit(1)

    def enqueue_many(self, numbers: range) -> None:
        """Submit a batch in one call."""
        self._submit(len(numbers))

    def work(self, slots: int, jobs: int, *, burst: bool) -> None:
        """Take turns: settle what the last one brought, reserve as many again."""
        if not burst:
            raise NotImplementedError("the bare client has no bell to wait on")
        handlers = Handlers()
        handlers.handler(KIND, uses=self.uses)(lambda _: None)
        digest = handlers.digest()
        offer = verbs.offer(WORKER, digest, PRESENCE_MS, {"host": "bench"}, handlers.declared())
        self._send("offer", (self.keys.about,), offer.words)
        head, tail = _turn_words(digest, slots)
        reports: list[Any] = []
        ran = count = 0
        while ran < jobs or count:
            reply = self._numbered("turn", [*head, count, *reports])
            brought, token = reply[4], reply[5]
            count, reports = len(brought), []
            ran += count
            for job in brought:
                agent.handle()
                reports += (job[0], token, *tail)
        if ran < jobs:
            raise RuntimeError(f"only {ran} of {jobs} jobs were there")

    def _submit(self, count: int) -> None:
        words = self.batches.get(count)
        if words is None:
            words = self.batches[count] = verbs_of_jobs.submit([self.job] * count).words
        self._numbered("submit", words)

    def _numbered(self, name: str, words: Sequence[Any]) -> list[Any]:
        self.number += 1
        return self._send(name, (self.keys.about, self.lane), [self.number, DIGEST, *words])

    def _send(self, name: str, keys: tuple[str, ...], words: Any) -> list[Any]:
        connection = self.connection
        connection.send_packed_command(
            connection.pack_command("EVALSHA", script(name).sha, len(keys), *keys, *words), check_health=False
        )
        try:
            reply: list[Any] = connection.read_response()
        except NoScriptError:
            raise RuntimeError(f"the server has lost the script {name}") from None
        if reply[0] != b"ok":
            raise RuntimeError(f"{name}: {reply!r}")
        return reply


def _turn_words(digest: str, want: int) -> tuple[list[Any], list[Any]]:
    """Return a turn's words up to the number of reports, and those of a report after id and token."""

    def words(*reports: verbs.Report) -> list[Any]:
        call = verbs.turn(
            worker=WORKER,
            digest=digest,
            lease_ms=LEASE_MS,
            want=want,
            bell="",
            block_ms=5000,
            listed=False,
            kept=verbs.Kept(),
            reports=reports,
        )
        return list(call.words)

    head, report = words()[:-1], verbs.Report("id", "token", "succeeded")
    tail = report.words()[2:]
    if words(report) != [*head, 1, "id", "token", *tail]:
        raise RuntimeError("a turn's words are arranged otherwise: bring bench/scripts_case.py up to date")
    return head, list(tail)


if __name__ == "__main__":
    agent.main(ScriptsClient)
