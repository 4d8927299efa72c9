"""What every measured Python system shares: the order it is given, the job it runs, the clock it reads.

The harness starts one process for each role, so that no system shares an interpreter with another or with the
harness. The process gets one JSON object (`Spec`) as its argument and answers with one JSON line on its output.
Four roles, the same for the Python and the Node systems, and one of Seatline's:

``enqueue``  put `jobs` jobs on the queue, one by one (`batch` 0) or in batches; the seconds it took
``drain``    run waiting jobs; the time from the first handler start to the start of handler number `jobs`
``listen``   an idle worker: for each job the time from just before the enqueue call to the handler's start
``send``     the producer of ``listen``: one job every `gap_ms`, after the listener has shown that it is awake
``hold``     a worker whose jobs say when they started and do not end: it is killed in the middle of one

A drain's time is taken between handler starts *inside* the worker: importing, connecting and stopping are in no
system's rate. The handler does nothing but count, so a rate is what the queue itself costs and says nothing about
real work, which hides most of it.
"""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from typing import Any, Protocol

PARAMS_BYTES = 100  # as JSON text, in every system; what a system makes of them is its own affair
FILE = "x" * (PARAMS_BYTES - len('{"file": "", "sent": 0}'))
QUEUE = "bench"
WARM_UP = 10


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One order from the harness to one measured process.

    Args:
        act: The role: enqueue, drain, listen, send or hold.
        url: The server, for clients that take a URL.
        host, port, socket: The same server in parts; `socket` is empty when TCP is asked for.
        variant: Another way to run the same system, such as ``priority`` or ``seats``; empty means stock.
        jobs: How many jobs to enqueue, drain or send.
        batch: Jobs a bulk call; 0 enqueues one by one.
        slots: How many jobs the worker runs at the same time.
        types: Over how many job types to spread the jobs, for systems that have types.
        stop_early: More than `jobs` are waiting: answer and leave at handler number `jobs`.
        gap_ms: Mean pause between two sent jobs, in milliseconds; each is drawn from 0.5 to 1.5 of it.

    """

    act: str
    url: str
    host: str
    port: int
    socket: str
    variant: str = ""
    jobs: int = 1000
    batch: int = 0
    slots: int = 1
    types: int = 1
    stop_early: bool = False
    gap_ms: float = 12.0

    def to_json(self) -> str:
        """Return the JSON text that a measured process takes as its argument."""
        return json.dumps(asdict(self))


class Client(Protocol):
    """What a measured system must be able to do; `sent` is 0 except where latency is measured."""

    def enqueue(self, sent: int, number: int) -> None:
        """Enqueue one job, call the way a user of the system would; `number` picks the type."""

    def enqueue_many(self, numbers: range) -> None:
        """Enqueue one job for each number by the system's own bulk call, in one batch."""

    def work(self, slots: int, jobs: int, *, burst: bool) -> None:
        """Run jobs; return once `jobs` ran and are settled, or never when the process is ended by `handle`."""


@dataclass
class Tally:
    """Counts handler starts; `itertools.count` is atomic under the interpreter's lock, so slots may share it."""

    spec: Spec | None = None
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    first_ns: int = 0
    last_ns: int = 0
    cpu_first: float = 0.0
    cpu_last: float = 0.0
    delays_ns: list[int] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


TALLY = Tally()


def handle(file: str = "", sent: int = 0) -> None:  # noqa: ARG001  the parameter is the job's payload
    """Run one job: note that it started. Every Python system registers this function as its handler."""
    now = time.monotonic_ns()
    spec = TALLY.spec
    if spec is None:
        raise RuntimeError("a handler ran outside a measured process")
    if spec.act == "listen":
        _note_delay(spec, now, sent)
        return
    if spec.act == "hold":
        _say({"started_ns": now})
        return
    number = next(TALLY.numbers)
    if number == 1:
        TALLY.first_ns, TALLY.cpu_first = now, time.process_time()
    if number == spec.jobs:
        TALLY.last_ns, TALLY.cpu_last = now, time.process_time()
        if spec.stop_early:
            _say_drained(spec)
            os._exit(0)
        TALLY.done.set()


def main(connect: Callable[[Spec], Client]) -> None:
    """Carry out the order in the first argument with the client that `connect` makes."""
    spec = TALLY.spec = Spec(**json.loads(sys.argv[1]))
    client = connect(spec)
    if spec.act == "enqueue":
        _enqueue(spec, client)
    elif spec.act == "send":
        _send(spec, client)
    elif spec.act in {"listen", "hold"}:
        client.work(1, spec.jobs, burst=False)
    elif spec.act == "drain":
        client.work(spec.slots, spec.jobs, burst=True)
        _say_drained(spec)
    else:
        raise ValueError(f"no such role: {spec.act}")
    sys.stdout.flush()
    os._exit(0)  # some systems leave threads that would hold the process for seconds


def _enqueue(spec: Spec, client: Client) -> None:
    cpu, start = time.process_time(), time.monotonic_ns()
    if spec.batch:
        for begin in range(0, spec.jobs, spec.batch):
            client.enqueue_many(range(begin, min(begin + spec.batch, spec.jobs)))
    else:
        for number in range(spec.jobs):
            client.enqueue(0, number)
    seconds = (time.monotonic_ns() - start) / 1e9
    _say({"jobs": spec.jobs, "seconds": seconds, "cpu_seconds": time.process_time() - cpu})


def _send(spec: Spec, client: Client) -> None:
    client.enqueue(0, 0)
    if not sys.stdin.readline():  # the harness says "go" once the listener has run that first job
        return
    pause = random.Random(7)  # a repeatable spread
    for number in islice(count(), WARM_UP + spec.jobs):
        time.sleep(spec.gap_ms / 1000 * pause.uniform(0.5, 1.5))
        client.enqueue(time.monotonic_ns(), number)
    _say({"jobs": spec.jobs})


def _note_delay(spec: Spec, now: int, sent: int) -> None:
    if not sent:
        _say({"ready": True})
        return
    TALLY.delays_ns.append(now - sent)
    if len(TALLY.delays_ns) == WARM_UP + spec.jobs:
        _say({"delays_ns": TALLY.delays_ns[WARM_UP:]})
        os._exit(0)


def _say_drained(spec: Spec) -> None:
    if not TALLY.last_ns:
        raise RuntimeError(f"the worker stopped before job {spec.jobs}")
    seconds = (TALLY.last_ns - TALLY.first_ns) / 1e9
    _say({"jobs": spec.jobs - 1, "seconds": seconds, "cpu_seconds": TALLY.cpu_last - TALLY.cpu_first})


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
