"""The measured cases: each starts a fresh server and one process a role, and returns plain numbers.

What a case shows, and what it does not:

* `enqueue`: one producer, one connection, each call awaited. Not the rate of many producers.
* `drain`: one worker process on jobs that already wait. Its start-up and its stop are in the server's counters
  (some dozens of commands over all jobs), never in the rate. Not the rate of a fleet, and not of a queue that is
  filled meanwhile.
* `life`: the server's CPU for jobs that are enqueued one by one, then drained. What is kept of them stays.
* `latency`: an idle worker and a paced producer. Not the latency under load. Of what is due at a moment to come it is the
  time from that moment to the handler's start: the server's moments are whole milliseconds, so half of one is its share.
* `idle`: what a worker sends when there is nothing to do. The window is half a minute: rarer calls may be missed.
* `memory`: waiting jobs only, enqueued one by one, the server's `used_memory`, events and all; the cost of finished
  jobs that are kept is not in it.
* `Standing`: drains of equally many jobs from backlogs of different length that stand beside each other, topped up
  after each drain, outside the clock.
* `recover`: one way of dying, SIGKILL, with stock lease and renewal; the other worker is idle.
"""

import json
import math
import selectors
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import server as servers
from bench.agent import Spec
from bench.placement import placed
from bench.server import Account, CommandCensus, Server
from bench.systems import HERE, System
from seatline.shared.scripts import script

Metrics = dict[str, float]
BATCH = 1000
CENSUS_JOBS = 1000
MEMORY_JOBS = 20_000
MEMORY_WARM_UP = 200
START_SECONDS = 20.0
IDLE_SETTLE = 12.0  # beyond the first heartbeat, which opens a connection of its own
RECOVERY_SECONDS = 90.0
KILL_AFTER = (0.5, 3.5, 6.5, 9.5)  # since the last renewal: the interval is 10 s


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
    def server(self, options: Mapping[str, str] | None = None) -> Iterator[Server]:
        """Run a fresh server, with stock settings but for `options`."""
        with servers.running(self.binary, aof=self.aof, placement=self.placement, options=options) as server:
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


def drain(bench: Bench, system: System, jobs: int, slots: int, *, types: int = 1) -> Metrics:
    """Run `jobs` waiting jobs, spread evenly over `types` types, in one worker process."""
    with bench.server() as server:
        spec = replace(bench.spec(server, system), jobs=jobs, slots=slots, types=types)
        _load(bench, system, spec, jobs)
        before = server.account()
        answer = bench.run(system, replace(spec, act="drain"))
        return _costs(answer, server.account().since(before), jobs)


def life(bench: Bench, system: System, jobs: int) -> Metrics:
    """Server CPU of a job from enqueue (one by one) to its end, and its parts; a system without worker only enqueues."""
    slots = max(system.slots, default=0)
    with bench.server() as server:
        spec = replace(bench.spec(server, system), jobs=jobs, slots=slots)
        bench.run(system, replace(spec, act="enqueue", jobs=MEMORY_WARM_UP))
        before = server.account()
        bench.run(system, replace(spec, act="enqueue"))
        put = server.account().since(before)
        parts = {"enqueue": put.cpu_seconds / jobs * 1e6, "enqueue, scripts": put.script_seconds / jobs * 1e6}
        if slots:
            before = server.account()
            bench.run(system, replace(spec, act="drain", jobs=jobs + MEMORY_WARM_UP))
            run, count = server.account().since(before), jobs + MEMORY_WARM_UP
            parts["drain"] = run.cpu_seconds / count * 1e6
            parts["drain, scripts"] = run.script_seconds / count * 1e6
            parts["all"] = parts["enqueue"] + parts["drain"]
        return parts


def census(bench: Bench, system: System, slots: int) -> Metrics:
    """Count the commands that a worker itself sends for a job, in a drain that is not timed."""
    jobs = CENSUS_JOBS
    with bench.server() as server:
        spec = replace(bench.spec(server, system), jobs=jobs, slots=slots)
        _load(bench, system, spec, jobs)
        with CommandCensus(server) as counted:
            bench.run(system, replace(spec, act="drain"))
        return {"sent_commands": counted.sent / jobs}


def latency(bench: Bench, system: System, samples: int, gap_ms: float = 12.0) -> Metrics:
    """Time from just before the enqueue call to the handler's start, the worker being idle, in milliseconds."""
    with bench.server() as server:
        spec = replace(bench.spec(server, system), jobs=samples, gap_ms=gap_ms)
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


def idle(bench: Bench, chosen: list[System], seconds: float) -> dict[str, Metrics]:
    """Commands a second that idle workers send, each with a server of its own, all in the same window."""
    renew = script("renew").sha
    with ExitStack() as stack:
        opened = {}
        for system in chosen:
            server = stack.enter_context(bench.server())
            spec = replace(bench.spec(server, system), act="listen", jobs=1)
            stack.enter_context(_opened(bench, system, spec))
            opened[system.name] = server
        for name, server in opened.items():
            _wait_for(partial(_has_clients, server), START_SECONDS, f"{name} to connect")
        time.sleep(IDLE_SETTLE)
        with ExitStack() as window:
            counted = {name: window.enter_context(CommandCensus(server)) for name, server in opened.items()}
            time.sleep(seconds)
        return {
            name: {
                "all commands/s": census.sent / seconds,
                "beside the heartbeat": (census.sent - census.scripts[renew]) / seconds,
            }
            for name, census in counted.items()
        }


def memory(bench: Bench, system: System, options: Mapping[str, str], jobs: int = MEMORY_JOBS) -> Metrics:
    """Bytes of server memory that a waiting job takes, once the first jobs have paid for what is there once."""
    with bench.server(options) as server:
        spec = replace(bench.spec(server, system), act="enqueue")
        bench.run(system, replace(spec, jobs=MEMORY_WARM_UP))
        server.wait_until_alone()
        before = server.account()
        bench.run(system, replace(spec, jobs=jobs))
        server.wait_until_alone()
        return {"bytes": server.account().since(before).memory / jobs}


class Standing:
    """A server on which more than `backlog` jobs wait at any time; each `drain` is of the same number of jobs.

    A drain's worker leaves in the middle, at handler start number `jobs`: what it had reserved is lost with it and comes
    back, or not, long after.
    """

    def __init__(self, bench: Bench, system: System, server: Server, backlog: int, jobs: int) -> None:
        self.bench, self.system, self.server, self.jobs = bench, system, server, jobs
        self.spec = replace(bench.spec(server, system), jobs=jobs, slots=max(system.slots))
        _load(bench, system, self.spec, backlog + jobs)

    def drain(self) -> Metrics:
        """Run `jobs` jobs, then put as many on the queue again."""
        before = self.server.account()
        answer = self.bench.run(self.system, replace(self.spec, act="drain", stop_early=True))
        costs = _costs(answer, self.server.account().since(before), self.jobs)
        _load(self.bench, self.system, self.spec, self.jobs)
        return costs


@contextmanager
def standing(bench: Bench, system: System, backlog: int, jobs: int) -> Iterator[Standing]:
    """Run a server with a backlog."""
    with bench.server() as server:
        yield Standing(bench, system, server, backlog, jobs)


def recover(bench: Bench, system: System) -> list[Metrics]:
    """Seconds from a worker's SIGKILL in the middle of a job to the job's start in another worker.

    Several pairs at once, each with a server of its own, killed at different moments of the renewal interval.
    """
    found: list[Metrics] = []
    failed: list[BaseException] = []

    def one(after: float) -> None:
        try:
            found.append(_recover(bench, system, after))
        except BaseException as error:  # noqa: BLE001  raised below, in the thread that waits
            failed.append(error)

    threads = [threading.Thread(target=one, args=(after,)) for after in KILL_AFTER]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return found


def _recover(bench: Bench, system: System, after: float) -> Metrics:
    with bench.server() as server:
        spec = replace(bench.spec(server, system), act="hold", jobs=1)
        with _opened(bench, system, spec) as first:
            bench.run(system, replace(spec, act="enqueue"))
            _wait_for_line(first, bench.seconds, "started_ns")
            with _opened(bench, system, spec) as second:
                _wait_for(lambda: server.redis.zcard("{bench}:workers") == 2, START_SECONDS, "second worker")
                time.sleep(after)
                killed = time.monotonic_ns()
                first.kill()
                said = json.loads(_wait_for_line(second, RECOVERY_SECONDS, "started_ns"))
                return {"seconds": (said["started_ns"] - killed) / 1e9}


def _load(bench: Bench, system: System, spec: Spec, jobs: int) -> None:
    bench.run(system, replace(spec, act="enqueue", jobs=jobs, batch=BATCH))


def _costs(answer: dict[str, float], spent: Account, jobs: int) -> Metrics:
    return {
        "rate": answer["jobs"] / answer["seconds"],
        "client_cpu_us": answer["cpu_seconds"] / answer["jobs"] * 1e6,
        "server_cpu_us": spent.cpu_seconds / jobs * 1e6,
        "script_us": spent.script_seconds / jobs * 1e6,
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


def _wait_for(seen: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > deadline:
            raise MeasuredProcessError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


def _has_clients(server: Server) -> bool:
    return int(server.info()["connected_clients"]) > 1


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
