"""The verdict on a crash: the order's history, its jobs, the ledger of its handlers, and ``verify`` agree that

* no step was skipped: the runs that were accepted are those of the path, in its order, each with its output (O1, O5)
* none was accepted twice: one succeeded job for each run, one succeeded line in the history (O2)
* nothing ran again but what the killed worker held, once; nothing ran after its end was accepted; what was accepted is
  the work of the lease that counts (O1, O2)
* ids never repeat: what was made after the crash has higher ones than all before, by the jump if the server died (T5)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from crash.stage import GAP, SOON, Stage

from seatline.console.verify import check_namespace
from seatline.producer import OrderHandle
from seatline.shared.job import JobRecord
from seatline.shared.keys import STATES
from seatline.shared.order import OrderRecord, Run

__all__ = ["judge", "one_job", "path_ended"]

#: What a worker logs when it met a bug.
BUGS: Final = (" ERROR ", "Traceback", "BrokenInvariant")
Where = tuple[str | None, str | None, int | None]


def path_ended(stage: Stage, order: OrderHandle, path: Sequence[str] = ("one", "two", "three")) -> OrderRecord:
    """Wait for an order's end; its steps must have ended well in this order, each handed what those before it gave."""
    record = order.wait(SOON)
    wrong = [*_path(record, path), *_history(order, path)]
    assert not wrong, "\n".join([*wrong, *_story(stage, order)])
    return record


def _path(record: OrderRecord, path: Sequence[str]) -> Iterator[str]:
    if record.state != "succeeded" or record.now:
        yield f"the order is {record.state} at {record.now}: {record.error}"
    if record.ended != tuple(dict.fromkeys(reversed(path)))[::-1]:
        yield f"ended well: {record.ended}, by the path: {path}"
    for at, step in enumerate(path):
        if step in path[at + 1 :]:
            continue  # its output is that of its last run
        made = record.outputs.get(step)
        if not isinstance(made, Mapping) or (made["made"], made["path"]) != (f"made-{step}", [*path[: at + 1]]):
            yield f"output of {step}: {made}"


def _history(order: OrderHandle, path: Sequence[str]) -> Iterator[str]:
    runs = [run for run in order.history() if run.step and run.element is None]
    accepted = [run for run in runs if run.outcome == "succeeded"]
    if [run.step for run in accepted] != [*path]:
        yield f"accepted by the history: {[run.step for run in accepted]}, by the path: {path}"
    for before, after in pairwise(accepted):
        if after.started is None or after.started < before.ended:
            yield f"{after.step} began before {before.step} had ended: {after.started} < {before.ended}"


def one_job(stage: Stage, type_: str, **fields: Any) -> JobRecord:
    """Return the only succeeded job of that type with these fields; it must have run once if its worker lived."""
    found = [
        job
        for job in stage.queue.jobs(state="succeeded")
        if job.type == type_ and all(getattr(job, name) == value for name, value in fields.items())
    ]
    assert len(found) == 1, found
    return found[0]


def judge(stage: Stage, *orders: OrderHandle, elements: Mapping[str, int] | None = None, resubmitted: int = 0) -> None:
    """Judge all that ran on a stage, at its end.

    Args:
        stage: where.
        orders: all that there are; each has ended.
        elements: how many the list of a step has, of those that have one.
        resubmitted: how often somebody has resubmitted a job: its attempts were counted anew then.

    """
    jobs = {job.id: job for state in STATES for job in stage.queue.jobs(state=state)}
    # A run that was lost while its order was suspended is taken back: its job is no more, only its history is.
    taken_back = {
        f"{run.job:016}": (order.id, run.step, run.element)
        for order in orders
        for run in order.history()
        if run.outcome == "lost" and f"{run.job:016}" not in jobs
    }
    wrong = [*_jobs(stage, jobs, len(taken_back)), *_ledger(stage, jobs, taken_back, resubmitted), *_ids(stage, jobs)]
    for order in orders:
        wrong += _accepted(order, jobs, elements or {}, len(taken_back))
    wrong += [f"verify: {line}" for line in check_namespace(stage.server.url, stage.namespace)]
    for log in stage.folder.glob("worker-*.log"):
        wrong += [f"{log.name}: {line}" for line in log.read_text().splitlines() if any(word in line for word in BUGS)]
    assert not wrong, "\n".join([*wrong, *(line for order in orders for line in _story(stage, order))])


def _jobs(stage: Stage, jobs: Mapping[str, JobRecord], taken_back: int) -> Iterator[str]:
    losses = sum(job.losses for job in jobs.values()) + taken_back
    if losses > (0 if stage.killed == "server" else stage.slots):
        yield f"{losses} leases were lost, when {stage.killed} was killed"
    for job in jobs.values():
        if job.state not in {"succeeded", "failed", "interrupted"}:
            yield f"{_name(job)} is {job.state}"


def _ledger(
    stage: Stage, jobs: Mapping[str, JobRecord], taken_back: Mapping[str, Where], resubmitted: int
) -> Iterator[str]:
    begins, raised, ended = defaultdict[str, list[dict[str, Any]]](list), Counter[str](), set[tuple[str, str]]()
    for line in stage.lines():
        job = jobs.get(line["job"])
        if taken_back.get(line["job"]) == _where(line) and line["what"] == "begin":
            continue
        if job is None or (job.order, job.step, job.element) != _where(line):
            yield f"the ledger knows a job that there is not, or is another: {line} {job}"
            continue
        match line["what"]:
            case "begin":
                begins[job.id].append(line)
            case "raise":
                raised[job.id] += 1
            case _:
                ended.add((job.id, line["token"]))
    for job in jobs.values():
        mine = begins[job.id]
        if job.attempt > 1 + job.losses + raised[job.id]:
            yield f"{_name(job)}: attempt {job.attempt} after {job.losses} losses and {raised[job.id]} failures"
        if len(mine) > job.attempt + resubmitted or len({line["token"] for line in mine}) < len(mine):
            yield f"{_name(job)} was begun {len(mine)} times in {job.attempt} attempts: {mine}"
        if job.finished and any(line["at"] > job.finished.timestamp() + 0.001 for line in mine):
            yield f"{_name(job)} was begun after its end was accepted at {job.finished.timestamp()}: {mine}"
        did = (job.id, job.lease) in ended or raised[job.id]
        if job.state == "succeeded" and mine and not did:
            yield f"{_name(job)} succeeded, and the attempt that counts ({job.lease}) has not ended"


def _ids(stage: Stage, jobs: Mapping[str, JobRecord]) -> Iterator[str]:
    assert stage.crash, "the scene never crashed"
    at = stage.crash.at
    given = max([int(job.id) for job in jobs.values() if job.created_ms <= at], default=0)
    least = given + (GAP if stage.killed != "worker" else 0)
    for job in jobs.values():
        if job.created_ms > at and int(job.id) <= least:
            yield f"{_name(job)} was made after the crash, and {given} was given before"


def _accepted(
    order: OrderHandle, jobs: Mapping[str, JobRecord], elements: Mapping[str, int], taken_back: int
) -> Iterator[str]:
    mine = [job for job in jobs.values() if job.order == order.id]
    history = order.history()
    told = Counter(run.step for run in history if run.outcome == "succeeded" and run.element is None)
    want = Counter[tuple[str | None, int | None]]({(step, None): count for step, count in told.items()})
    for step, count in elements.items():
        want.update({(step, element): told[step] for element in range(count)})
    found = Counter((job.step, job.element) for job in mine if job.state == "succeeded")
    if found != want:
        yield f"accepted: {dict(found)}, by the history: {dict(want)}"
    lost = sum(run.outcome == "lost" for run in history)
    losses = sum(job.losses for job in mine) + taken_back
    if lost != losses:
        yield f"the history tells of {lost} losses, the jobs of {losses}"
    if [run.ended for run in history] != sorted(run.ended for run in history):
        yield "the history is not in the order of its times"


def _where(line: Mapping[str, Any]) -> Where:
    return line.get("order"), line.get("step"), line.get("element")


def _name(job: JobRecord) -> str:
    element = "" if job.element is None else f"[{job.element}]"
    return f"job {int(job.id)} ({job.step or job.type}{element})"


def _story(stage: Stage, order: OrderHandle) -> list[str]:
    def line(run: Run) -> str:
        who = f"{run.step} {run.element} job {run.job} attempt {run.attempt} by {run.worker}: {run.outcome} "
        return f"{run.ended:%S.%f} {who if run.step else ''}{run.text}"

    return [
        f"-- order {order.id}, crash {stage.crash and stage.crash.at}",
        *map(line, order.history()),
        *map(str, stage.lines()),
    ]
