"""The targets of the design, and what this run says of them.

A target that compares is computed from medians of the same placement in the same run. Where a run did not measure what a
target needs, it is `not measured`, never left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.measure import Record, markdown, number

PYTHON_PEERS = ("huey", "rq")


@dataclass(frozen=True)
class Target:
    """One target.

    Args:
        what: In words.
        needed: The bound.
        measured: The figure of a placement, or None.
        unit: Of bound and figure.
        least: Whether the bound is a least value; else it is a greatest.
        placed: Whether it is judged once a placement; else once a run.

    """

    what: str
    needed: float
    measured: Callable[[Record, str], float | None]
    unit: str = "x"
    least: bool = True
    placed: bool = True

    def met(self, value: float) -> bool:
        """Return whether a figure meets the target."""
        return value >= self.needed if self.least else value <= self.needed


def median(case: str, system: str, metric: str) -> Callable[[Record, str], float | None]:
    """Return what finds a median."""

    def find(record: Record, placement: str) -> float | None:
        figure = record.figure(case, system, metric, placement)
        return figure.median if figure else None

    return find


def ratio(case: str, metric: str, system: str, other_case: str = "") -> Callable[[Record, str], float | None]:
    """Return what finds Seatline's median as a multiple of another system's."""

    def find(record: Record, placement: str) -> float | None:
        ours = record.figure(case, "seatline", metric, placement)
        theirs = record.figure(other_case or case, system, metric, placement)
        return ours.median / theirs.median if ours and theirs and theirs.median else None

    return find


def _fastest_python(record: Record, placement: str) -> float | None:
    """Seatline at 50 slots against the best Python peer at any number of slots."""
    ours = record.figure("drain 50 slots", "seatline", "rate", placement)
    theirs = [
        figure.median
        for peer in PYTHON_PEERS
        for case in record.cases("drain")
        if (figure := record.figure(case, peer, "rate", placement))
    ]
    return ours.median / max(theirs) if ours and len(theirs) > 1 else None


def _backlog_growth(record: Record, placement: str) -> float | None:
    """The rate with the longest backlog as a share of that with the shortest."""
    rates = [record.figure(case, "seatline", "rate", placement) for case in record.cases("backlog")]
    found = [figure.median for figure in rates if figure]
    return found[-1] / found[0] if len(found) > 1 else None


def _types_growth(record: Record, placement: str) -> float | None:
    """The greatest server time of the scripts a job, over any number of types, as a multiple of that with one type."""
    times = [record.figure(case, "seatline", "script_us", placement) for case in record.cases("types")]
    found = [figure.median for figure in times if figure]
    return max(found) / found[0] if len(found) > 1 else None


def _async_share(record: Record, placement: str) -> float | None:
    """The event loop's rate as a share of the threads'."""
    ours = record.figure("executors 50 slots", "seatline-async", "rate", placement)
    threads = record.figure("executors 50 slots", "seatline", "rate", placement)
    return ours.median / threads.median if ours and threads else None


def _orders_share(record: Record, placement: str) -> float | None:
    """The rate of steps of orders as a share of that of plain jobs, which return nothing."""
    return _steps_over(record, "seatline", placement)


def _orders_results_share(record: Record, placement: str) -> float | None:
    """The same of plain jobs that return what the steps do."""
    return _steps_over(record, "seatline-results", placement)


def _steps_over(record: Record, system: str, placement: str) -> float | None:
    steps = record.figure("orders 50 slots", "seatline-orders", "rate", placement)
    jobs = record.figure("orders 50 slots", system, "rate", placement)
    return steps.median / jobs.median if steps and jobs else None


def _recovery(record: Record, placement: str) -> float | None:
    figure = record.figure("recovery", "seatline", "seconds", placement)
    return figure.greatest if figure else None


TARGETS = (
    Target("drain, 50 slots, against BullMQ (concurrency 50)", 2, ratio("drain 50 slots", "rate", "bullmq")),
    Target("drain, 50 slots, against the fastest Python peer at any number of slots", 5, _fastest_python),
    Target(
        "drain, 50 slots, against RQ (one job at a time)", 50, ratio("drain 50 slots", "rate", "rq", "drain 1 slot")
    ),
    Target("drain, 1 slot, against BullMQ (concurrency 1)", 1.5, ratio("drain 1 slot", "rate", "bullmq")),
    Target("drain, 1 slot: round trips a job", 1.05, median("drain 1 slot", "seatline", "reads"), unit="", least=False),
    Target("bulk enqueue, against BullMQ addBulk", 5, ratio("enqueue bulk", "rate", "bullmq")),
    Target("single enqueue: round trips", 1.01, median("enqueue single", "seatline", "reads"), unit="", least=False),
    Target(
        "server CPU a job, enqueue to end, one seat, 50 slots",
        45,
        median("life", "seatline-seats", "all"),
        unit="us",
        least=False,
    ),
    Target("idle pick-up, p50", 1, median("latency", "seatline", "p50_ms"), unit="ms", least=False),
    Target("idle pick-up, p99", 2, median("latency", "seatline", "p99_ms"), unit="ms", least=False),
    *(
        Target(f"start lag of {what}, p99", 20, median("due", system, "p99_ms"), unit="ms", least=False)
        for what, system in (
            ("a delayed job", "seatline-due"),
            ("an order", "seatline-due-order"),
            ("a schedule", "seatline-due-schedule"),
        )
    ),
    Target(
        "process isolation, 8 children, jobs/s",
        5000,
        median("executors 8 slots", "seatline-process", "rate"),
        unit="jobs/s",
    ),
    Target("async, 50 slots, against threads", 0.9, _async_share),
    Target("steps of orders of three, 50 slots, against plain jobs", 0.6, _orders_share),
    Target("steps of orders of three, 50 slots, against plain jobs with a result", 0.6, _orders_results_share),
    Target(
        "idle worker: commands/s beside its heartbeat",
        0.5,
        median("idle", "seatline", "beside the heartbeat"),
        unit="",
        least=False,
        placed=False,
    ),
    Target("drain with the longest backlog, against the shortest", 0.9, _backlog_growth, placed=False),
    Target(
        "server time of scripts a job, most of any number of types, against one",
        5,
        _types_growth,
        least=False,
        placed=False,
    ),
    Target(
        "bytes a waiting job, stock settings",
        500,
        median("memory stock", "seatline", "bytes"),
        unit="bytes",
        least=False,
        placed=False,
    ),
    Target(
        "bytes a waiting job, the embedded server's settings",
        450,
        median("memory embedded", "seatline", "bytes"),
        unit="bytes",
        least=False,
        placed=False,
    ),
    Target("recovery, worker killed, longest of its kills", 50, _recovery, unit="s", least=False, placed=False),
)


def targets_table(record: Record) -> str:
    """Return each target, the figure of this run, and whether it is met."""
    rows = [["target", "placement", "needed", "measured", "measured / needed", "verdict"]]
    for target in TARGETS:
        rows += _rows(record, target)
    return markdown(rows)


def _rows(record: Record, target: Target) -> Iterator[list[str]]:
    bound = f"{'>=' if target.least else '<='} {target.needed:g} {target.unit}".strip()
    found = {p: value for p in record.placements if (value := target.measured(record, p)) is not None}
    if not found:
        yield [target.what, "", bound, "", "", "not measured"]
    for placement, value in found.items():
        said = f"{number(value)} {target.unit}".strip()
        verdict = "met" if target.met(value) else "**missed**"
        yield [target.what, placement if target.placed else "", bound, said, f"{value / target.needed:.2f}", verdict]


@dataclass(frozen=True)
class Comparison:
    """One row of the ratio table: a case and a metric; ``low`` metrics are turned around, so above 1 we are better."""

    what: str
    case: str
    metric: str = "rate"
    better: str = "high"


COMPARISONS = (
    Comparison("enqueue single, jobs/s", "enqueue single"),
    Comparison("enqueue bulk, jobs/s", "enqueue bulk"),
    Comparison("drain 1 slot, jobs/s", "drain 1 slot"),
    Comparison("drain 8 slots, jobs/s", "drain 8 slots"),
    Comparison("drain 50 slots, jobs/s", "drain 50 slots"),
    Comparison("drain 50 slots, server CPU", "drain 50 slots", "server_cpu_us", "low"),
    Comparison("drain 50 slots, worker CPU", "drain 50 slots", "client_cpu_us", "low"),
    Comparison("idle pick-up, p50", "latency", "p50_ms", "low"),
    Comparison("idle pick-up, p99", "latency", "p99_ms", "low"),
    Comparison("memory a waiting job", "memory stock", "bytes", "low"),
)
AGAINST = ("scripts", "bullmq", "huey", "rq")
ONE_SLOT = "drain 1 slot"


def ratios_table(record: Record) -> str:
    """Return Seatline against each other system, in each placement; above 1 Seatline is better."""
    head = ["Seatline against", *(f"{other}, {placement}" for other in AGAINST for placement in record.placements)]
    rows = [head]
    for row in COMPARISONS:
        cells = [_compared(record, row, other, placement) for other in AGAINST for placement in record.placements]
        if any(cells):
            rows.append([row.what, *(text or "n/a" for text in cells)])
    return markdown(rows)


def _compared(record: Record, row: Comparison, other: str, placement: str) -> str:
    ours = record.figure(row.case, "seatline", row.metric, placement)
    theirs, mark = record.figure(row.case, other, row.metric, placement), ""
    if theirs is None and other == "rq" and row.case.startswith("drain"):  # it has no more slots than one
        theirs, mark = record.figure(ONE_SLOT, other, row.metric, placement), " (1 slot)"
    if not ours or not theirs or not ours.median or not theirs.median:
        return ""
    value = ours.median / theirs.median if row.better == "high" else theirs.median / ours.median
    return f"{value:.3g}{mark}"
