"""The measured cases: each starts a fresh server and one process a role, and returns plain numbers.

What a case shows, and what it does not:

* `enqueue`: one producer, one connection, each call awaited. Not the rate of many producers.
* `drain`: one worker process on jobs that already wait. Its start-up and its stop are in the server's counters
  (some dozens of commands over all jobs), never in the rate. Not the rate of a fleet, and not of a queue that is
  filled meanwhile.
* `latency`: an idle worker and a paced producer. Not the latency under load.
* `memory`: waiting jobs only, the server's `used_memory`; the cost of finished jobs that are kept is not in it.
* `growth`: a drain of the same number of jobs from backlogs of different length, or over different numbers of types.
"""

import json
import math
import selectors
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import server as servers
from bench.agent import Spec
from bench.placement import placed
from bench.server import Account, CommandCensus, Server
from bench.systems import HERE, System

Metrics = dict[str, float]
BATCH = 1000
CENSUS_JOBS = 1000
MEMORY_JOBS = 20_000
MEMORY_WARM_UP = 200


class MeasuredProcessError(RuntimeError):
    """A measured process ended without an answer; its error output is in the message."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How all cases of one run reach their servers, and how long one process may take.

    Args:
        binary: The server binary.
        transport: ``tcp`` or ``unix``.
        placement: On which cores, see `bench.placement`.
        aof: Whether the servers write an append-only file.
        seconds: The limit of one measured process; past it the process is killed and the run fails.

    """

    binary: Path
    transport: str = "tcp"
    placement: str = "free"
    aof: bool = False
    seconds: float = 300.0

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Run a fresh server."""
        with servers.running(self.binary, aof=self.aof, placement=self.placement) as server:
            yield server

    def spec(self, server: Server, system: System) -> Spec:
        """Return an order that a case completes with its own figures."""
        unix = self.transport == "unix"
        return Spec(
            act="",
            url=server.unix_url if unix else server.tcp_url,
            host=server.host,
            port=server.port,
            socket=str(server.socket) if unix else "",
            variant=system.variant,
        )

    def run(self, system: System, spec: Spec) -> dict[str, float]:
        """Run one role to its end and return its answer."""
        command = [*system.command(spec.act), spec.to_json()]
        try:
            with placed(self.placement):
                done = subprocess.run(
                    command, cwd=HERE.parent, capture_output=True, text=True, check=False, timeout=self.seconds
                )
        except subprocess.TimeoutExpired as late:
            said = late.stderr.decode(errors="replace") if isinstance(late.stderr, bytes) else late.stderr
            raise MeasuredProcessError(f"{system.name} {spec.act}: no end after {self.seconds} s\n{said}") from late
        answer = done.stdout.strip().rpartition("\n")[2]
        if done.returncode or not answer:
            raise MeasuredProcessError(f"{system.name} {spec.act}: exit {done.returncode}\n{done.stderr}")
        return dict(json.loads(answer))


def enqueue(bench: Bench, system: System, jobs: int, batch: int = 0) -> Metrics:
    """Enqueue `jobs` jobs one by one (`batch` 0) or in batches, and say what each cost."""
    with bench.server() as server:
        spec = replace(bench.spec(server, system), act="enqueue", jobs=jobs, batch=batch)
        bench.run(system, replace(spec, jobs=MEMORY_WARM_UP))  # the server's caches: scripts, first pages
        before = server.account()
        answer = bench.run(system, spec)
        return _costs(answer, server.account().since(before), jobs)


def drain(bench: Bench, system: System, jobs: int, slots: int, *, backlog: int = 0, types: int = 1) -> Metrics:
    """Run `jobs` waiting jobs in one worker process; with a longer `backlog` the rest stays where it is."""
    with bench.server() as server:
        spec = replace(bench.spec(server, system), jobs=jobs, slots=slots, types=types)
        _load(bench, system, spec, max(jobs, backlog))
        before = server.account()
        answer = bench.run(system, replace(spec, act="drain", stop_early=backlog > jobs))
        return _costs(answer, server.account().since(before), jobs)


def census(bench: Bench, system: System, slots: int) -> Metrics:
    """Count the commands that a worker itself sends for a job, in a drain that is not timed."""
    jobs = CENSUS_JOBS
    with bench.server() as server:
        spec = replace(bench.spec(server, system), jobs=jobs, slots=slots)
        _load(bench, system, spec, jobs)
        with CommandCensus(server) as counted:
            bench.run(system, replace(spec, act="drain"))
        return {"sent_commands": counted.sent / jobs}


def latency(bench: Bench, system: System, samples: int) -> Metrics:
    """Time from just before the enqueue call to the handler's start, the worker being idle, in milliseconds."""
    with bench.server() as server:
        spec = replace(bench.spec(server, system), jobs=samples)
        with (
            _opened(bench, system, replace(spec, act="listen")) as listener,
            _opened(bench, system, replace(spec, act="send")) as sender,
        ):
            _wait_for_line(listener, bench.seconds, "ready")
            out, said = sender.communicate("go\n", timeout=bench.seconds)
            if sender.returncode or not out:
                raise MeasuredProcessError(f"{system.name} send: exit {sender.returncode}\n{said}")
            answer = json.loads(_wait_for_line(listener, bench.seconds, "delays_ns"))
        delays = sorted(nanoseconds / 1e6 for nanoseconds in answer["delays_ns"])
        return {"p50_ms": statistics.median(delays), "p99_ms": delays[math.ceil(len(delays) * 0.99) - 1]}


def memory(bench: Bench, system: System, jobs: int = MEMORY_JOBS) -> Metrics:
    """Bytes of server memory that a waiting job takes, once the first jobs have paid for what is there once."""
    with bench.server() as server:
        spec = bench.spec(server, system)
        _load(bench, system, spec, MEMORY_WARM_UP)
        server.wait_until_alone()
        before = server.account()
        _load(bench, system, spec, jobs)
        server.wait_until_alone()
        return {"bytes": server.account().since(before).memory / jobs}


def _load(bench: Bench, system: System, spec: Spec, jobs: int) -> None:
    bench.run(system, replace(spec, act="enqueue", jobs=jobs, batch=BATCH))


def _costs(answer: dict[str, float], spent: Account, jobs: int) -> Metrics:
    return {
        "rate": answer["jobs"] / answer["seconds"],
        "client_cpu_us": answer["cpu_seconds"] / answer["jobs"] * 1e6,
        "server_cpu_us": spent.cpu_seconds / jobs * 1e6,
        "executed_commands": spent.commands / jobs,
        "reads": spent.reads / jobs,
    }


@contextmanager
def _opened(bench: Bench, system: System, spec: Spec) -> Iterator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    command = [*system.command(spec.act), spec.to_json()]
    with placed(bench.placement):
        process = subprocess.Popen(command, cwd=HERE.parent, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        _end(process)


def _wait_for_line(process: "subprocess.Popen[str]", seconds: float, word: str) -> str:
    """Return the process's next line, which must hold `word`."""
    with selectors.DefaultSelector() as selector:
        if process.stdout is None:
            raise RuntimeError("the process was started without a pipe")
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(seconds) else ""
    if word not in line:
        _end(process)
        said = process.stderr.read() if process.stderr else ""
        raise MeasuredProcessError(f"waiting for {word!r}, got {line!r}\n{said}")
    return line


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
