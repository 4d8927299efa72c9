"""The tables of a run, and their place in the README."""

from dataclasses import dataclass
from pathlib import Path

from bench.environment import Environment
from bench.measure import Record, table

README = Path(__file__).parent / "README.md"
END = "<!-- end -->"


@dataclass(frozen=True)
class Section:
    """One table: a heading, which cases and metric, and which way is better."""

    title: str
    cases: str
    metric: str
    better: str = "high"


SECTIONS = (
    Section("Enqueue, jobs/s (one producer)", "enqueue", "rate"),
    Section("Enqueue, server CPU us/job", "enqueue", "server_cpu_us", "low"),
    Section("Enqueue, producer CPU us/job", "enqueue", "client_cpu_us", "low"),
    Section("Enqueue, server reads/job (single: round trips)", "enqueue", "reads", "low"),
    Section("Drain of no-op jobs, jobs/s (one worker process)", "drain", "rate"),
    Section("Drain, server CPU us/job", "drain", "server_cpu_us", "low"),
    Section("Drain, worker CPU us/job", "drain", "client_cpu_us", "low"),
    Section("Drain, commands/job that the worker sent", "drain", "sent_commands", "low"),
    Section("Drain, commands/job executed (those inside scripts included)", "drain", "executed_commands", "low"),
    Section("Drain, server reads/job (1 slot: round trips)", "drain", "reads", "low"),
    Section("Idle pick-up, p50 ms", "latency", "p50_ms", "low"),
    Section("Idle pick-up, p99 ms", "latency", "p99_ms", "low"),
    Section("Memory, bytes a waiting job of 100-byte params", "memory", "bytes", "low"),
    Section("Growth with the backlog, jobs/s at the most slots", "backlog", "rate"),
    Section("Growth with the backlog, server CPU us/job", "backlog", "server_cpu_us", "low"),
    Section("Growth with the worker's types, jobs/s", "types", "rate"),
    Section("Growth with the worker's types, server CPU us/job", "types", "server_cpu_us", "low"),
)


def write(record: Record, environment: Environment) -> str:
    """Return the environment and every table that has samples, as markdown."""
    parts = [environment.markdown()]
    for section in SECTIONS:
        text = table(record, section.cases, section.metric, better=section.better)
        if text.count("\n") > 1:
            parts.append(f"#### {section.title}\n\n{text}")
    return "\n\n".join(parts)


def put_into_readme(text: str, placement: str) -> None:
    """Replace the tables of a placement, which stand between two marks of the README."""
    begin = f"<!-- written by python -m bench --readme --placement {placement} -->"
    old = README.read_text()
    head, found, rest = old.partition(begin)
    _, _, tail = rest.partition(END)
    if not found:
        raise ValueError(f"{README.name} has no place for the tables of placement {placement}")
    README.write_text(f"{head}{begin}\n\n{text}\n\n{END}{tail}")
