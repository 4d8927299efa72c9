"""Whether a million finished jobs leave anything behind (R7): ``python -m bench.retention``, from the root of the repository.

A fresh server gets a rule of retention (the newest so many succeeded jobs are kept) and a worker. Once it has run so many
jobs that what is kept of jobs and of events is full, everybody leaves and the server's keys and memory are counted: that is
the start. Then a million more are run, in batches, and it is counted again. Every job has a result, half of them a token of
their own, and one in twenty a line in its log: more than the job's hash has to go.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import click
from redis import Redis

from bench import server
from seatline.producer import Job, Queue
from seatline.worker import Context, Handlers, Worker

NAMESPACE = "bench"
BATCH = 20_000

handlers = Handlers()


@handlers.handler("bench.quick", isolation="thread")
def quick(ctx: Context, number: int) -> int:
    """Do next to nothing."""
    if not number % 20:
        ctx.log("this line goes with its job")
    return number


@dataclass(frozen=True)
class Count:
    """What the server holds."""

    keys: int
    memory: int


def run(url: str, first: int, count: int) -> None:
    """Enqueue so many jobs and let a worker run them."""
    with Queue(url, namespace=NAMESPACE) as queue:
        for start in range(first, first + count, BATCH):
            queue.enqueue_many(
                Job("bench.quick", {"number": number}, token=f"own-{number}" if number % 2 else None)
                for number in range(start, min(start + BATCH, first + count))
            )
            Worker(handlers, url, namespace=NAMESPACE, slots=50).run(burst=True)


def counted(client: Redis) -> Count:
    """Return keys and memory, once nobody is there any more and the records of lanes and offers have been taken away."""
    for key in client.scan_iter(f"{{{NAMESPACE}}}:*", count=1000):
        if any(f"}}:{kind}" in key.decode() for kind in ("lane:", "offer:", "bell:")):
            client.delete(key)  # they expire: in 15 minutes, too long to wait for
    client.memory_purge()
    time.sleep(1)
    return Count(int(client.dbsize()), int(client.info("memory")["used_memory"]))


@click.command()
@click.option("--jobs", default=1_000_000, show_default=True, help="Jobs that finish between the two counts.")
@click.option("--kept", default=2_000, show_default=True, help="Succeeded jobs that are kept.")
@click.option(
    "--warm", default=700_000, show_default=True, help="Jobs before the first count: so many fill what is kept."
)
@click.option("--server", "binary", default=None, help="The server's binary.")
def main(jobs: int, kept: int, warm: int, binary: str | None) -> None:
    """Count keys and memory before and after so many finished jobs."""
    with server.running(server.find_binary(binary)) as place, Redis.from_url(place.unix_url) as client:
        with Queue(place.unix_url, namespace=NAMESPACE) as queue:
            queue.retention.set("succeeded", count=kept)
        run(place.unix_url, 0, warm)
        before, since = counted(client), time.perf_counter()
        run(place.unix_url, warm, jobs)
        seconds = time.perf_counter() - since
        after = counted(client)
    click.echo(f"{jobs:,} jobs in {seconds:.0f} s, the newest {kept:,} kept")
    for name in ("keys", "memory"):
        one, two = getattr(before, name), getattr(after, name)
        click.echo(f"{name:<8}{one:>14,}{two:>14,}  {100 * (two / one - 1):+.2f} %")


if __name__ == "__main__":
    main()
