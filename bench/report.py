"""The tables of a run, and their place in the README."""

from dataclasses import dataclass
from pathlib import Path

from bench.environment import Environment
from bench.measure import Record, cell, markdown, table
from bench.targets import ratios_table, targets_table

README = Path(__file__).parent / "README.md"
BEGIN = "<!-- written by python -m bench --readme -->"
END = "<!-- end -->"


@dataclass(frozen=True)
class Section:
    """One table: a heading, which cases and which metric."""

    title: str
    cases: str
    metric: str


PLACED = (
    Section("Enqueue, jobs/s (one producer)", "enqueue", "rate"),
    Section("Enqueue, server CPU us/job", "enqueue", "server_cpu_us"),
    Section("Enqueue, producer CPU us/job", "enqueue", "client_cpu_us"),
    Section("Enqueue, server reads/job (single: round trips)", "enqueue", "reads"),
    Section("Drain of no-op jobs, jobs/s (one worker process)", "drain", "rate"),
    Section("Drain, server CPU us/job", "drain", "server_cpu_us"),
    Section("Drain, server time in scripts us/job", "drain", "script_us"),
    Section("Drain, worker CPU us/job", "drain", "client_cpu_us"),
    Section("Drain, commands/job that the worker sent", "drain", "sent_commands"),
    Section("Drain, commands/job executed (those inside scripts included)", "drain", "executed_commands"),
    Section("Drain, server reads/job (1 slot: round trips)", "drain", "reads"),
    Section("Executors, no-op jobs, jobs/s", "executors", "rate"),
    Section("Executors, worker CPU us/job (children not counted)", "executors", "client_cpu_us"),
    Section("Executors, idle pick-up, p50 ms", "executors", "p50_ms"),
    Section("Executors, idle pick-up, p99 ms", "executors", "p99_ms"),
    Section("Steps of orders of three, and plain jobs, a second", "orders", "rate"),
    Section("Steps of orders, in scripts us", "orders", "script_us"),
    Section("Start lag of what is due at a moment to come, p50 ms", "due", "p50_ms"),
    Section("Start lag, p99 ms", "due", "p99_ms"),
    Section("Idle pick-up, p50 ms", "latency", "p50_ms"),
    Section("Idle pick-up, p99 ms", "latency", "p99_ms"),
)
LIFE = ("enqueue", "enqueue, scripts", "drain", "drain, scripts", "all")
ONCE = (
    Section("Idle worker, commands/s that it sends", "idle", "all commands/s"),
    Section("Idle worker, commands/s beside Seatline's heartbeat", "idle", "beside the heartbeat"),
    Section("Memory, bytes a waiting job of 100-byte params", "memory", "bytes"),
    Section("Growth with the backlog, jobs/s at 50 slots, so many more waiting", "backlog", "rate"),
    Section("Growth with the backlog, server CPU us/job", "backlog", "server_cpu_us"),
    Section("Growth with the worker's types, 8 slots, jobs/s", "types", "rate"),
    Section("Growth with the worker's types, 8 slots, server time in scripts us/job", "types", "script_us"),
    Section("Growth with the worker's types, 8 slots, server CPU us/job", "types", "server_cpu_us"),
    Section("Recovery, seconds from SIGKILL of a worker to the job's start in another", "recovery", "seconds"),
)
LIFE_TITLE = "Server CPU us/job, 50 slots: enqueued one by one, then drained"


def write(record: Record, environment: Environment) -> str:
    """Return the environment and every table that has samples, as markdown."""
    parts = [environment.markdown(), f"### Targets\n\n{targets_table(record)}"]
    ratios = ratios_table(record)
    if ratios.count("\n") > 1:
        parts.append(f"### Ratios\n\nAbove 1 Seatline is better, whichever way the metric points.\n\n{ratios}")
    for placement in record.placements:
        parts.append(f"### Placement {placement}")
        parts += [part for section in PLACED if (part := _section(record, section, placement))]
        parts += [_life(record, placement)] if record.cases("life") else []
    parts.append("### In one placement only")
    for placement in record.placements:
        parts += [part for section in ONCE if (part := _section(record, section, placement))]
    return "\n\n".join(parts)


def _section(record: Record, section: Section, placement: str) -> str:
    text = table(record, section.cases, section.metric, placement)
    return f"#### {section.title}\n\n{text}" if text.count("\n") > 1 else ""


def _life(record: Record, placement: str) -> str:
    rows = [["system", *LIFE]]
    rows += [
        [system, *(cell(record.figure("life", system, part, placement)) for part in LIFE)]
        for system in record.systems(["life"], placement)
    ]
    return f"#### {LIFE_TITLE}\n\n{markdown(rows)}"


def put_into_readme(text: str) -> None:
    """Replace the tables, which stand between two marks of the README.

    Raises:
        ValueError: The marks are not there.

    """
    old = README.read_text()
    head, found, rest = old.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{README.name} has no place for the tables: {BEGIN} and {END}")
    README.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")
