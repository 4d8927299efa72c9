"""The verdict on a soak: what was promised, the server's own account, the effects in the world and the witness agree.

* nothing lost (R1): the ids that ``enqueue`` returned are the ids that there are, each in exactly one ended state
* nothing twice (Q8, Q14): by the replayed events each job was reserved only while it waited and ended once; the result
  that counts is that of the attempt whose lease stood; two runs of a job never overlapped, but for stopped workers
* the loss rules (DESIGN 5.5): interrupted are only jobs that say so, or that were lost three times
* seats (S2, S3): the witness never refused anybody, nobody is connected in the end, no session is left
* the server agrees: ``verify`` is clean, also in the middle of the storm, and no worker met a bug or fell over
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.waiting import wait_until
from soak.plan import CAPACITY
from soak.replay import LOSSES_MOST, Account, replay
from soak.runner import KINDS
from soak.storm import Storm

from seatline.console.verify import check_namespace
from seatline.producer import Queue
from seatline.shared.job import JobRecord
from seatline.shared.keys import STATES

__all__ = ["judge"]

#: What a worker logs when it met a bug.
BUGS = (" ERROR ", "Traceback", "BrokenInvariant")


@dataclass(slots=True)
class Run:
    """One attempt as the file of effects tells it."""

    job: str
    token: str
    pid: int
    begin: float
    end: float | None = None
    finished: bool = False


def judge(storm: Storm) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of a soak and everything that is wrong."""
    account = replay(storm.events)
    with Queue(storm.server.url, namespace=storm.namespace) as queue:
        records = {record.id: record for state in STATES for record in queue.jobs(state=state)}
        wrong = [*storm.wrong, *account.anomalies]
        wrong += _pools(queue)
    runs, odd = _runs(storm)
    wait_until(lambda: json.loads(storm.ask_witness("counts")[0])["holders"] == 0, 5, "the witness alone")
    witness = json.loads(storm.ask_witness("counts")[0])
    wrong += odd
    wrong += _lost(storm, account, records)
    wrong += _states(storm, account, records)
    wrong += _effects(storm, account, records, runs)
    wrong += _overlaps(storm, runs)
    wrong += [f"the witness refused: {refusal}" for refusal in witness["refusals"]]
    wrong += [f"verify in the end: {line}" for line in check_namespace(storm.server.url, storm.namespace)]
    wrong += [f"worker {line}" for words in BUGS for line in storm.farm.said(words)]
    return _figures(storm, account, records, witness), wrong


def _runs(storm: Storm) -> tuple[dict[tuple[str, str], Run], list[str]]:
    """Read the effects: (job, token) -> its run."""
    runs: dict[tuple[str, str], Run] = {}
    wrong: list[str] = []
    for line in storm.effects.read_text().splitlines():
        what, job, _attempt, token, pid, at = line.split()
        run = runs.get((job, token))
        if what == "begin":
            if run:
                wrong.append(f"job {int(job)}: begun twice under one lease ({token})")
            runs[job, token] = Run(job, token, int(pid), float(at))
        elif run is None or run.end is not None:
            wrong.append(f"job {int(job)}: {what} without a begin ({token})")
        else:
            run.end, run.finished = float(at), what == "end"
    return runs, wrong


def _lost(storm: Storm, account: Account, records: dict[str, JobRecord]) -> Iterator[str]:
    accepted = set(storm.ids)
    if len(accepted) != len(storm.ids):
        yield f"{len(storm.ids) - len(accepted)} ids were given twice"
    for name, found in (("on the server", records.keys()), ("in the events", account.lives.keys())):
        for job in sorted(accepted - found):
            yield f"job {int(job)}: accepted and not {name}"
        for job in sorted(found - accepted):
            yield f"job {int(job)}: {name}, and nobody was told its id"
    if len(storm.events) != storm.seen["entries"]:
        yield f"the reader saw {len(storm.events)} events of {storm.seen['entries']}: the judgement is not whole"


def _states(storm: Storm, account: Account, records: dict[str, JobRecord]) -> Iterator[str]:
    for job, record in records.items():
        life, name = account.lives.get(job), f"job {int(job)} ({record.type})"
        if life is None:
            continue
        if record.state != life.state:
            yield f"{name}: the server says {record.state}, the events {life.state}"
        if record.state not in {"succeeded", "cancelled", "interrupted"}:
            yield f"{name}: it is {record.state}: {record.error}"
        if life.ends != 1:
            yield f"{name}: it ended {life.ends} times"
        if record.losses != life.losses:
            yield f"{name}: losses {record.losses}, by the events {life.losses}"
        if record.attempt != life.reserved_since - life.handed_back:
            yield f"{name}: attempt {record.attempt}, by the events {life.reserved_since} - {life.handed_back}"
        if record.state == "cancelled" and job not in storm.cancel_asked:
            yield f"{name}: cancelled, and nobody asked for it"
        if record.state == "interrupted" and KINDS[record.type].if_lost == "rerun" and life.losses < LOSSES_MOST:
            yield f"{name}: interrupted after {life.losses} losses"
        if record.state == "succeeded" and life.losses >= LOSSES_MOST:
            yield f"{name}: ran on after {life.losses} losses"


def _effects(
    storm: Storm, account: Account, records: dict[str, JobRecord], runs: dict[tuple[str, str], Run]
) -> Iterator[str]:
    begun = Counter(job for job, _ in runs)
    for job, record in records.items():
        name, life = f"job {int(job)} ({record.type})", account.lives.get(job)
        if life and begun[job] > life.reserved:
            yield f"{name}: begun {begun[job]} times, reserved {life.reserved} times"
        if record.state != "succeeded":
            continue
        run = runs.get((job, record.lease or ""))
        if run is None or not run.finished:
            yield f"{name}: succeeded, and the attempt that counts ({record.lease}) did not do its work: {run}"
        if record.result != {"token": record.lease}:
            yield f"{name}: its result is of {record.result}, its lease {record.lease}"
        if (job, record.lease) in storm.frozen:
            yield f"{name}: a stopped worker's report counted after its lease was taken back"


def _overlaps(storm: Storm, runs: dict[tuple[str, str], Run]) -> Iterator[str]:
    """No two runs of one job at a time; a dead process ran until it died."""
    by_job: dict[str, list[Run]] = defaultdict(list)
    for run in runs.values():
        if (run.job, run.token) not in storm.frozen:
            by_job[run.job].append(run)
    for job, mine in by_job.items():
        mine.sort(key=lambda run: run.begin)
        for first, second in itertools.pairwise(mine):
            over = first.end if first.end is not None else storm.farm.died.get(first.pid, float("inf"))
            if second.begin < over:
                yield f"job {int(job)}: {first} and {second} overlap by {over - second.begin:.3f} s"


def _pools(queue: Queue) -> Iterator[str]:
    for pool, capacity in CAPACITY.items():
        found = queue.pools[pool]
        if found.in_use or found.holders or found.free != capacity:
            yield f"pool {pool}: not all seats are back: {found}"


def _figures(storm: Storm, account: Account, records: dict[str, JobRecord], witness: dict[str, Any]) -> dict[str, Any]:
    states = Counter(record.state for record in records.values())
    took = storm.drained - storm.began
    urgent = [
        (record.started - record.created).total_seconds()
        for job in storm.urgent
        if (record := records.get(job)) and record.started and record.created and not record.losses
    ]
    return {
        "seed": storm.seed,
        "kills": storm.kills,
        "jobs": len(storm.ids),
        "states": dict(sorted(states.items())),
        "reruns": account.reruns,
        "interrupted": account.interrupted,
        "poisoned": account.poisoned,
        "stale_refused": account.stale,
        "stopped_leases": len(storm.frozen),
        "witness": {name: witness[name] for name in ("peak", "admitted", "left", "cut", "apart")},
        "refusals": len(witness["refusals"]),
        "seen": dict(sorted(storm.seen.items())),
        "urgent_p50_ms": round(1000 * statistics.median(urgent), 1) if urgent else None,
        "jobs_per_second": round(len(storm.ids) / took, 1),
        "drain_seconds": round(storm.drain_seconds, 2),
        "seconds": round(took, 2),
    }
