"""Where an order is: what has become of each step, put together from the order, its jobs and its history."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seatline.console.chains_flow import drawn
from seatline.console.output import span
from seatline.console.records import progress_shown
from seatline.producer import ChainRecord, OrderHandle, OrderRecord, Plan, PlanStep, Queue, Run
from seatline.shared.calls import orders as verbs
from seatline.shared.calls import reads
from seatline.shared.errors import NoSuchChain, PayloadError
from seatline.shared.job import WAITING, JobRecord

__all__ = ["At", "Scene", "clock"]

#: An order that moves on while it is read is read again, so often at most.
_AGAIN_MOST = 5

_PASSED = re.compile(r"step (\S+) passed without running")
_JOINED = re.compile(r"step (\S+): (\d+) elements, (\d+) failed")
_SENT = re.compile(r"(?:goto|resume) \S+ by .*")


@dataclass(frozen=True, slots=True)
class At:
    """What has become of a step.

    Attributes:
        state: done, passed, skipped (its handler found nothing to do), running, waiting, held (in front of it), failed, lost;
            - if the order has not reached it, or is to run it again.
        here: the order stands at it.
        job: the number of its last job; ``attempt``, ``worker``, ``started``, ``ended``: of that.
        note: what else is to be said.

    """

    step: str
    drawn: str
    state: str = "-"
    here: bool = False
    job: int | None = None
    attempt: int = 0
    worker: str | None = None
    started: dt.datetime | None = None
    ended: dt.datetime | None = None
    note: str = ""

    def took(self, now: dt.datetime) -> str:
        """Say how long it took, or takes by now."""
        if self.started is None:
            return "-"
        return span(((self.ended or now) - self.started).total_seconds())

    def data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "step": self.step,
            "state": None if self.state == "-" else self.state,
            "here": self.here,
            "job": None if self.job is None else f"{self.job:016}",
            "attempt": self.attempt or None,
            "worker": self.worker,
            "started": self.started,
            "ended": self.ended,
            "note": self.note or None,
        }


@dataclass(slots=True)
class _Past:
    """What the history tells of the steps."""

    runs: dict[str, Run] = field(default_factory=dict[str, Run])
    passed: set[str] = field(default_factory=set[str])
    joined: dict[str, tuple[dt.datetime, str]] = field(default_factory=dict[str, tuple[dt.datetime, str]])

    @classmethod
    def of(cls, history: Sequence[Run]) -> _Past:
        past = cls()
        for line in history:
            if line.step is not None and line.element is None:
                past.runs[line.step] = line
                past.passed.discard(line.step)
                past.joined.pop(line.step, None)
            elif found := _PASSED.fullmatch(line.text):
                past.passed.add(found[1])
            elif found := _JOINED.fullmatch(line.text):
                bad = f", {int(found[3]):,} failed" if found[3] != "0" else ""
                past.joined[found[1]] = line.ended, f"{int(found[2]):,} elements{bad}"
            elif line.text.startswith("reset by "):
                past = cls()
            elif _SENT.fullmatch(line.text):  # somebody has decided, so a failure keeps nothing any more
                past.runs = {step: run for step, run in past.runs.items() if run.outcome != "failed"}
        return past


@dataclass(frozen=True, slots=True)
class Scene:
    """An order, and all that tells where it is.

    Attributes:
        plan: of the version that it keeps; an error: it cannot be read.
        chain: as it stands now; None: it is not there.
        jobs: of the steps under way, by id.
        elements: of steps that run for each element: how many there are, have ended well, have failed, are jobs now.
        now: the server's time.

    """

    order: OrderRecord
    plan: Plan | PayloadError
    chain: ChainRecord | None
    history: Sequence[Run]
    jobs: Mapping[str, JobRecord | None]
    elements: Mapping[str, tuple[int, int, int, int]]
    now: dt.datetime

    @classmethod
    def of(cls, queue: Queue, handle: OrderHandle) -> Scene:
        """Read it; if the order moves on meanwhile what was read does not belong together, so it is read again.

        Raises:
            NoSuchOrder: there is none.
            PayloadError: its record cannot be read.

        """
        order = handle.record()
        scene = cls._read(queue, handle, order)
        for _ in range(_AGAIN_MOST):
            before, order = order, handle.record()
            if order == before:
                break
            scene = cls._read(queue, handle, order)
        return scene

    @classmethod
    def _read(cls, queue: Queue, handle: OrderHandle, order: OrderRecord) -> Scene:
        store, keys = queue.store, queue.store.keys
        (plan,) = store.read(verbs.plans(keys, [(order.chain, order.version)]))
        ids = [word for word in order.now.values() if word.isdigit()]
        jobs = store.read(reads.job_records(keys, ids)) if ids else []
        each = [step for step, word in order.now.items() if word == "each"]
        elements = {step: store.read(verbs.elements(keys, order.id, step)) for step in each}
        try:
            chain = queue.chains[order.chain]
        except NoSuchChain:
            chain = None
        now = dt.datetime.fromtimestamp(store.read(reads.server_time()) / 1000, dt.UTC)
        return cls(order, plan, chain, handle.history(), dict(zip(ids, jobs, strict=True)), elements, now)

    def steps(self) -> list[At]:
        """Return what has become of each step, as the chain is drawn; without a plan, of those that the order names."""
        past = _Past.of(self.history)
        if isinstance(self.plan, Plan):
            places = [(str(each), each.step) for each in drawn(self.plan)]
        else:
            places = [(name, PlanStep(name, "")) for name in dict.fromkeys((*self.order.ended, *self.order.now))]
        return [self._at(lines, step, past) for lines, step in places]

    def _at(self, lines: str, step: PlanStep, past: _Past) -> At:
        name, run, word = step.name, past.runs.get(step.name), self.order.now.get(step.name)
        if word is None:
            return self._not_here(lines, step, past)
        if word.isdigit():
            return self._under_way(lines, step, word, run)
        if word == "each":
            count, well, bad, now = self.elements.get(name, (0, 0, 0, 0))
            note = f"{well + bad:,} of {count:,} elements ended" + (f", {bad:,} of them badly" if bad else "")
            state = "running" if now or not self._kept(name, "") else "held"
            return At(
                name,
                lines,
                state,
                here=True,
                started=run.started if run else None,
                note=f"{note}; {now:,} under way",
            )
        if word == "failed":
            error = (self.order.error or "").removeprefix(f"step {name}: ") if self.order.error_step == name else ""
            return _of_run(At(name, lines, "failed", here=True, note=error), run)
        return At(name, lines, "held", here=True, note=self._kept(name, word.partition("@")[2]))

    def _kept(self, step: str, due: str) -> str:
        """Say what keeps an order in front of a step."""
        found = list[str]()
        match self.order.state:
            case "suspended":
                found.append("the order is suspended")
            case "waiting":
                found.append("the order waits in front of its chain")
            case "failed":
                found.append("the order has failed")
            case _:
                pass
        if self.chain and step in self.chain.stops:
            found.append("the step is stopped")
        if due.isdigit():
            found.append(f"not before {clock(dt.datetime.fromtimestamp(int(due) / 1000, dt.UTC), self.now)}")
        return "; ".join(found)

    def _under_way(self, lines: str, step: PlanStep, job_id: str, run: Run | None) -> At:
        name, job, number = step.name, self.jobs.get(job_id), int(job_id)
        if job is None:
            return At(name, lines, "lost", here=True, job=number, note="its job is gone")
        if job.state == "running":
            far = progress_shown(job.progress, overdue=job.overdue, full=True)
            note = "" if far == "-" else far
            return At(name, lines, "running", True, number, job.attempt, job.worker, job.started, note=note)
        notes = list[str]()
        if job.state == "scheduled":
            notes.append(f"until {clock(job.due, self.now)}")
        if job.error:
            notes.append(f"attempt {job.attempt} failed: {_first(job)}")
        elif count := self.order.setbacks.get(name):
            why = f": {run.text}" if run and run.outcome == "failed" else ""
            notes.append(f"set back, {count} of {step.setbacks or '?'}{why}")
        state = "waiting" if job.state in WAITING else job.state
        return At(name, lines, state, here=True, job=number, attempt=job.attempt, note="; ".join(notes))

    def _not_here(self, lines: str, step: PlanStep, past: _Past) -> At:
        name, run = step.name, past.runs.get(step.name)
        if name in self.order.ended:
            if name in past.passed:
                return At(name, lines, "passed")
            ended, note = past.joined.get(name) or (run.ended if run else None, run.text if run else "")
            state = "skipped" if run and run.outcome == "skipped" else "done"
            return _of_run(At(name, lines, state, note=note, ended=ended), run)
        if run and run.outcome == "failed":
            return _of_run(At(name, lines, "failed", note=run.text), run)
        notes = list[str]()
        if step.aside:
            notes.append(f"aside, then {step.then}" if step.then else "aside")
        if run:
            notes.append("to run again")
        if name in self.order.skips or (self.chain and name in self.chain.skips):
            notes.append("to be passed")
        elif self.chain and name in self.chain.stops:
            notes.append("stopped")
        return At(name, lines, note="; ".join(notes))


def _of_run(at: At, run: Run | None) -> At:
    """Add what the history tells of a run."""
    if run is None:
        return at
    return At(
        at.step,
        at.drawn,
        at.state,
        at.here,
        run.job,
        run.attempt,
        run.worker,
        run.started,
        at.ended or run.ended,
        at.note,
    )


def _first(job: JobRecord) -> str:
    lines = (job.error or "").splitlines() or [""]
    return f"{job.error_type}: {lines[0]}" if job.error_type else lines[0]


def clock(moment: dt.datetime | None, day: dt.datetime) -> str:
    """Return a time of day of the local clock, with its date if that is not this ``day``'s; '-' for none."""
    if moment is None:
        return "-"
    here = moment.astimezone()
    return f"{here:%H:%M:%S}" if here.date() == day.astimezone().date() else f"{here:%Y-%m-%d %H:%M:%S}"
