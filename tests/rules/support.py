"""What the rules' tests share: handlers that keep a trace, workers in threads and in processes, looks at the keys."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from harness.processes import Child
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import Queue
from seatline.producer.why import Scene
from seatline.worker import Context, Handlers, RunSummary, Worker

__all__ = [
    "EventLog",
    "Gate",
    "ProcessWorker",
    "ThreadWorker",
    "Trace",
    "add",
    "assert_one_place",
    "client_calls",
    "idle_slots",
    "job_hash",
    "places",
    "run_counts",
    "run_lines",
    "waiters",
]

LOOK = """
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local name = string.sub(key, #ARGV[1] + 1)
  local id = string.match(name, '^job:(%d+)$')
  if id then
    local job = redis.call('HMGET', key, 'state', 'type')
    out[#out + 1], out[#out + 2] = id, '=' .. (job[1] or '') .. ' ' .. (job[2] or '')
  elseif name == 'scheduled' or name == 'running' or string.find(name, '^ready:') or string.find(name, '^finished:') then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do out[#out + 1], out[#out + 2] = member, name end
  end
end
return out
"""


class Trace:
    """Handlers of some types that only note which job they ran, in the order in which they began."""

    def __init__(
        self,
        *types: str,
        uses: Mapping[str, int] | None = None,
        if_lost: Literal["interrupt", "rerun"] = "interrupt",
    ) -> None:
        self.handlers = Handlers()
        self.ids: list[str] = []
        self.contexts: list[Context] = []
        for type_ in types:
            self.handlers.handler(type_, uses=uses, if_lost=if_lost, isolation="thread")(self.run)

    def run(self, ctx: Context, **_params: Any) -> str:
        self.ids.append(ctx.id)
        self.contexts.append(ctx)
        return ctx.id


class EventLog:
    """A sink that keeps all that a worker tells, as lines: the event, and ``J<n>`` for the job it is about."""

    #: Told of every worker or job; no part of the cycle.
    BESIDE = frozenset({"startup", "on_startup", "on_shutdown", "shutdown", "settled"})

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def __call__(self, event: str, fields: dict[str, object]) -> None:
        self.events.append((event, fields))

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [f"{event} J{int(str(fields['job']))}" if "job" in fields else event for event, fields in self.events]

    @property
    def cycle(self) -> list[str]:
        """Those of the cycle (C1)."""
        return [line for line in self.lines if line.split(" ")[0] not in self.BESIDE]

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.events)

    def fields(self, event: str) -> dict[str, object]:
        """Return the fields of the last such event."""
        return next(fields for name, fields in reversed(self.events) if name == event)


class Gate:
    """A handler that holds its slot until the test opens the gate, or the job is asked to stop.

    ``deaf`` does not listen to that.
    """

    def __init__(self, *, deaf: bool = False) -> None:
        self.begun: list[str] = []
        self.opened = threading.Event()
        self._deaf = deaf

    def run(self, ctx: Context) -> str:
        self.begun.append(ctx.id)
        wait_until(lambda: self.opened.is_set() or (ctx.cancelled and not self._deaf), 30, "the gate")
        if not self._deaf:
            ctx.check()
        return "through"


class ThreadWorker:
    """A worker that runs in a thread of the test."""

    def __init__(self, worker: Worker, *, burst: bool = False) -> None:
        self.worker = worker
        self._outcome: list[RunSummary | BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(burst,), daemon=True)
        self._thread.start()

    def stop(self, *, now: bool = False) -> RunSummary:
        self.worker.stop(now=now)
        return self.wait()

    def wait(self, seconds: float = 15) -> RunSummary:
        """Return the summary of its run, or raise what ended it."""
        wait_until(lambda: not self._thread.is_alive(), seconds, f"the end of worker {self.worker.id}")
        (outcome,) = self._outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _run(self, burst: bool) -> None:
        try:
            self._outcome.append(self.worker.run(burst=burst))
        except BaseException as error:  # noqa: BLE001 - told by `wait`
            self._outcome.append(error)


class ProcessWorker:
    """A worker process of ``run_worker.py``; ``id`` is the worker's."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.pid = child.pid
        wait_until(lambda: "\n" in child.output() or not child.running, 15, "the start of a worker process")
        assert child.output(), child.errors()
        self.id: str = self._said(0)["id"]

    def wait(self, seconds: float = 15) -> dict[str, int]:
        """Return the summary of its run; it must have ended well."""
        assert self.child.wait(seconds) == 0, self.child.errors()
        return self._said(1)

    def _said(self, line: int) -> dict[str, Any]:
        words: dict[str, Any] = json.loads(self.child.output().splitlines()[line])
        return words


def run_lines(folder: Path) -> list[tuple[str, int, int]]:
    """Return the runs that process handlers noted: id, attempt, pid."""
    path = folder / "runs"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(job_id, int(attempt), int(pid)) for job_id, attempt, pid in map(str.split, lines)]


def run_counts(folder: Path) -> Counter[str]:
    """Return how often each job was begun."""
    return Counter(job_id for job_id, _, _ in run_lines(folder))


def add(queue: Queue, type_: str, priority: int = 10, **options: Any) -> str:
    return queue.enqueue(type_, priority=priority, **options).id


def waiters(queue: Queue, pool: str) -> list[str]:
    """Return who stands in the pool's line: ids of jobs, names of programs."""
    return [member.split(":")[2] if ":" in member else member for member, _ in queue.pools[pool].waiting]


def idle_slots(queue: Queue) -> int:
    """Return how many free slots idle workers have announced."""
    return sum(Scene.of(queue.store).idle.values())


def job_hash(redis: Redis, namespace: str, job_id: str) -> dict[bytes, bytes]:
    """Return all that is stored in the job's hash."""
    return cast("dict[bytes, bytes]", redis.hgetall(f"{{{namespace}}}:job:{job_id}"))


def places(redis: Redis, namespace: str) -> dict[str, list[str]]:
    """Map every id that stands anywhere to all the places where it does."""
    return _look(redis, namespace)[0]


def assert_one_place(redis: Redis, namespace: str, expected: int) -> None:
    """Assert that ``expected`` jobs exist, each in exactly one place, which is the one its own state names (R1).

    Looks in one step, so that it holds while workers are at work.
    """
    where, known = _look(redis, namespace)
    assert where.keys() == known.keys()
    assert len(where) == expected
    for job_id, found in where.items():
        state, type_ = known[job_id].split(" ")
        right = {"ready": f"ready:{type_}", "scheduled": "scheduled", "running": "running"}
        assert len(found) == 1, f"{job_id} stands in {found}"
        assert found[0].split("|")[0] == right.get(state, f"finished:{state}"), f"{job_id} is {state}, in {found}"


def _look(redis: Redis, namespace: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return where each id stands, and state and type of each job there is."""
    flat = cast("list[bytes]", redis.eval(LOOK, 0, f"{{{namespace}}}:"))
    where: dict[str, list[str]] = {}
    known: dict[str, str] = {}
    for raw, told in zip(flat[::2], flat[1::2], strict=True):
        job_id, word = raw.decode(), told.decode()
        if word.startswith("="):
            known[job_id] = word[1:]
        else:
            where.setdefault(job_id, []).append(word)
    return where, known


def client_calls(redis: Redis, *commands: str) -> int:
    """Return how often clients have sent these commands since the server's statistics began; no script sends them."""
    stats: dict[str, dict[str, int]] = redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{command}", {}).get("calls", 0) for command in commands)
