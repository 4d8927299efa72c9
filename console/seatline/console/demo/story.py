"""The story, act by act. Each act waits for what it announces, with one deadline for all of them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from seatline.console.demo import plan
from seatline.console.demo.figures import Evidence, figures, rows
from seatline.console.demo.show import Picture, Screen, WorkerLine
from seatline.console.demo.stage import Signals, Stage, Stopped, not_our_settings
from seatline.producer import Queue
from seatline.shared.calls import reads
from seatline.shared.embedded import EmbeddedServer
from seatline.shared.errors import NoEmbeddedServer, SeatlineError
from seatline.shared.job import BULK_PRIORITY, Job, JobRecord

__all__ = ["run"]

#: Seconds. It takes about half of the 30 it may take; on a machine that is much slower it still comes to its end.
_DEADLINE: Final = 90.0
_LOOK: Final = 0.06
#: Seconds for which the long job may run before its worker is killed: well inside it, whatever the machine.
_INTO_THE_JOB: Final = 0.2
_ENDED: Final = ("succeeded", "skipped", "failed", "cancelled", "expired", "interrupted")

#: What the user may have set for another server.
_SETTINGS: Final = tuple(f"SEATLINE_{name}" for name in ("URL", "USER", "PASSWORD_FILE", "NAMESPACE", "TENANT"))

_EMPTY = "empty"
_BATCH = f"batch, priority {BULK_PRIORITY}"
_SEATLESS = "without a seat"
_URGENT = f"urgent, priority {plan.URGENT_PRIORITY}"


def run(*, keep: bool, licences: int | None) -> int:
    """Play the demo and return the exit code.

    Args:
        keep: leave the server, with all its jobs.
        licences: what the licence server is told its capacity is, to see the demo notice it; None: the truth.

    """
    if os.environ.get("SEATLINE_EMBEDDED", "").lower() == "never":
        raise NoEmbeddedServer(
            "The demo runs on an embedded server of its own, which SEATLINE_EMBEDDED=never forbids here. "
            "Unset it for the demo: SEATLINE_EMBEDDED=auto seatline demo."
        )
    screen = Screen()
    try:
        with Signals() as signals, not_our_settings(), Stage(signals) as stage:
            with screen:
                evidence = _Story(stage, screen).play(plan.SEATS if licences is None else licences)
            stage.kept = keep
            good = _tell(screen, evidence)
            if good or keep:
                _what_next(screen, stage.server if keep else None)
            return 0 if good else 1
    except Stopped as stopped:
        screen.verdict(f"{stopped}: everything that was started has been ended.", good=False)
        return stopped.exit_code
    except SeatlineError as error:
        click.echo(f"seatline: {error}", err=True)  # all its lines: a child's complaint is among them
        return error.exit_code


@dataclass(slots=True)
class _Ended:
    """Which jobs have ended. Each look reads only the newest of each state, with an overlap for equal times."""

    queue: Queue
    ids: dict[str, set[str]] = field(default_factory=lambda: {state: set[str]() for state in _ENDED})

    def look(self) -> set[str]:
        store = self.queue.store
        for state, known in self.ids.items():
            first = max(0, len(known) - 64)
            known.update(job_id for job_id, _ in store.read(reads.page(store.keys, f"finished:{state}", first, 1000)))
        return set[str]().union(*self.ids.values())


class _Story:
    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage, self._screen = stage, screen
        self._files = plan.library_files()
        self._jobs: dict[str, list[str]] = {}
        self._workers: dict[str, WorkerLine] = {}
        self._ended: set[str] = set()
        self._running: list[JobRecord] = []
        self._waiting = ""
        self._pick_ups: list[float] = []
        self._killed = ""

    def play(self, licences: int) -> Evidence:
        """Play all acts.

        Raises:
            SeatlineError: it does not come to its end: a process is gone, or the time is up.

        """
        self._set_the_stage(licences)
        self._measure_the_queue()
        long_job, missing = self._load_the_batch()
        self._let_urgent_jobs_come()
        killed_at = self._kill_a_worker(long_job)
        self._see_it_recover(long_job)
        return self._look_back(long_job, missing, killed_at)

    # -- acts -----------------------------------------------------------------------------------------------------------

    def _set_the_stage(self, licences: int) -> None:
        self._screen.title(
            "Seatline", f"{plan.WORKERS} workers with {plan.SLOTS} slots each share {plan.SEATS} licence seats"
        )
        stage = self._stage
        stage.open(licences)
        self._queue = stage.queue
        self._looker = _Ended(self._queue)
        self._queue.pools.set(plan.POOL, plan.SEATS)
        self._wait(lambda: len(self._know_the_workers()) == plan.WORKERS, "The workers start")
        server = stage.server
        pids = " and ".join(str(worker.pid) for worker in self._workers.values())
        self._screen.say(
            f"Up: {server.flavour.capitalize()} {server.version}, a licence server, workers (pids {pids})."
        )

    def _measure_the_queue(self) -> None:
        ids = self._jobs[_EMPTY] = list[str]()
        for _ in range(plan.SAMPLES):
            asked = time.time_ns()
            handle = self._queue.enqueue(plan.CLOCK)
            ids.append(handle.id)
            self._pick_ups.append((handle.result(timeout=self._left()) - asked) / 1e6)
        median = sorted(self._pick_ups)[plan.SAMPLES // 2]
        self._screen.say(
            f"An idle worker begins a job {median:.1f} ms after it is enqueued (median of {plan.SAMPLES})."
        )
        self._enqueue(_EMPTY, [Job(plan.CLOCK) for _ in range(plan.EMPTY)])
        self._wait(lambda: self._done(_EMPTY) == len(ids), "Empty jobs, as fast as they go")

    def _load_the_batch(self) -> tuple[str, str]:
        jobs, long_at, missing_at = plan.batch(self._files, self._stage.out)
        ids = self._enqueue(_BATCH, jobs)
        self._enqueue(_SEATLESS, plan.seatless(self._files, plan.SEATLESS))
        self._screen.say(f"{len(ids)} files of Python's library to compress: priority {BULK_PRIORITY}, a seat each.")
        self._wait(lambda: self._done(_BATCH) >= plan.BEFORE_URGENT, "The batch runs")
        return ids[long_at], ids[missing_at]

    def _let_urgent_jobs_come(self) -> None:
        waiting = len(self._jobs[_BATCH]) - self._done(_BATCH)
        ids = self._enqueue(_URGENT, plan.urgent(self._files, self._stage.out))
        self._screen.say(f"{len(ids)} urgent jobs arrive while {waiting} of the batch are not done ...", "cyan")
        self._wait(lambda: self._done(_URGENT) == len(ids), "Urgent jobs overtake the batch")
        left = len(self._jobs[_BATCH]) - self._done(_BATCH)
        self._screen.say(f"... and are done while {left} still are not.", "cyan")

    def _kill_a_worker(self, long_job: str) -> int:
        """Return when (epoch ms), or 0 if the job ended too early for it: then the table will say so."""
        begun = self._jobs[_BATCH].index(long_job)
        self._wait(
            lambda: self._runs(long_job) or long_job in self._ended, f"Until number {begun + 1} of the batch runs"
        )
        self._pause(_INTO_THE_JOB)
        job = self._queue.job(long_job)
        victim = self._workers.get(job.worker or "")
        if job.state != "running" or victim is None:
            self._screen.say(f"Job {int(long_job)} ended before its worker could be killed.", "red")
            return 0
        child = next(child for child in self._stage.workers if child.pid == victim.pid)
        victim.killed = True
        child.kill()
        killed_at = time.time_ns() // 1_000_000
        self._killed = str(job.worker)
        others = " and ".join(worker.name for worker in self._workers.values() if not worker.killed)
        self._screen.say(f"SIGKILL to {victim.name} (pid {victim.pid}) in the middle of job {int(long_job)};", "red")
        self._screen.say(f"{others} does everything that is left.", "red")
        return killed_at

    def _see_it_recover(self, long_job: str) -> None:
        self._enqueue(_SEATLESS, plan.seatless(self._files, plan.AFTERWARDS))
        if self._killed:
            self._screen.say(f"Its seats are free once its lease ({plan.LEASE:g} s) ends; other work goes on.")
            self._wait(lambda: self._is_back(long_job), lambda: self._lease_left(long_job))
            self._screen.say(f"Job {int(long_job)} is back at its old place: its type says rerun.")
        everything = sum(map(len, self._jobs.values()))
        self._wait(lambda: len(self._ended) == everything, "The rest of the batch")
        self._screen.say(f"All {everything:,} jobs have ended; adding up.")

    def _look_back(self, long_job: str, missing: str, killed_at: int) -> Evidence:
        from seatline.console.verify import check_namespace  # noqa: PLC0415 - needed once, at the end

        store = self._queue.store
        about = store.read(reads.about(store.keys))
        pool = self._queue.pools[plan.POOL]
        return Evidence(
            enqueued=self._jobs,
            records={name: self._records(ids) for name, ids in self._jobs.items()},
            empty=_EMPTY,
            batch=_BATCH,
            urgent=_URGENT,
            long_job=long_job,
            missing_job=missing,
            killed=self._killed,
            killed_at_ms=killed_at,
            witness=self._stage.witness.counts(),
            held_in_the_end=pool.in_use,
            server_counts=about.counts,
            files_written=sum(1 for _ in self._stage.out.glob("*.xz")),
            pick_ups_ms=self._pick_ups,
            findings=check_namespace(self._stage.server.url, plan.NAMESPACE),
        )

    # -- looking --------------------------------------------------------------------------------------------------------

    def _enqueue(self, name: str, jobs: list[Job]) -> list[str]:
        ids = self._queue.enqueue_many(jobs)
        self._jobs.setdefault(name, []).extend(ids)
        return ids

    def _done(self, name: str) -> int:
        return len(self._ended.intersection(self._jobs[name]))

    def _runs(self, job_id: str) -> bool:
        return any(job.id == job_id for job in self._running)

    def _is_back(self, job_id: str) -> bool:
        job = self._queue.job(job_id)
        return bool(job.losses) or job.state in _ENDED

    def _records(self, ids: list[str]) -> list[JobRecord]:
        store = self._queue.store
        return [record for record in store.read(reads.job_records(store.keys, ids)) if record]

    def _know_the_workers(self) -> dict[str, WorkerLine]:
        store, pids = self._queue.store, [child.pid for child in self._stage.workers]
        ids = [worker for worker, _ in store.read(reads.page(store.keys, "workers", 0, 100))]
        for record in store.read(reads.worker_records(store.keys, ids, [])):
            pid = int(record.fields.get("pid", 0))
            if pid in pids:
                self._workers[record.id] = WorkerLine(f"worker {pids.index(pid) + 1}", pid)
        self._workers = dict(sorted(self._workers.items(), key=lambda item: item[1].name))
        return self._workers

    def _lease_left(self, job_id: str) -> str:
        store = self._queue.store
        leases = store.read(reads.page(store.keys, "running", 0, 100))
        seconds = (dict(leases).get(job_id, 0) - store.read(reads.server_time())) / 1000
        if seconds > 0:
            return f"The lease of job {int(job_id)} and its seat ends in {seconds:.1f} s"
        return f"The lease of job {int(job_id)} has ended; a second look makes sure of it"

    def _wait(self, until: Callable[[], bool], what: str | Callable[[], str]) -> None:
        """Look and draw until it is true.

        Raises:
            SeatlineError: the time is up, or a process that should live is gone.

        """
        while True:
            self._waiting = what if isinstance(what, str) else what()
            self._look()
            if until():
                self._waiting = ""
                return
            self._left()
            time.sleep(_LOOK)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._wait(lambda: time.monotonic() >= end, self._waiting)

    def _left(self) -> float:
        for child in self._stage.workers:
            dead = any(worker.killed and worker.pid == child.pid for worker in self._workers.values())
            if child.ended and not dead:
                raise SeatlineError(f"demo: a worker (pid {child.pid}) ended by itself.\n{child.complaint()}")
        left = _DEADLINE - self._screen.seconds
        if left <= 0:
            raise SeatlineError(f"demo: not done within {_DEADLINE:g} s, while: {self._waiting or 'it began'}.")
        return left

    def _look(self) -> None:
        store = self._queue.store
        self._ended = self._looker.look()
        running = store.read(reads.page(store.keys, "running", 0, 100))
        self._running = self._records([job_id for job_id, _ in running])
        waits = sum(map(len, self._jobs.values())) > len(self._ended) + len(self._running)
        for worker_id, worker in self._workers.items():
            names = [job.title or job.type for job in self._running if job.worker == worker_id]
            worker.running = names or (["waits for a seat"] if waits else [])
        if self._workers:
            bars = {name: (self._done(name), len(ids)) for name, ids in self._jobs.items() if name != _EMPTY}
            workers = list(self._workers.values())
            self._screen.draw(Picture(bars, self._stage.witness.counts(), workers, self._waiting))


def _tell(screen: Screen, evidence: Evidence) -> bool:
    judged = figures(evidence)
    wrong = sum(not figure.right for figure in judged)
    screen.table(rows(evidence), judged)
    if wrong:
        are = "is" if wrong == 1 else "are"
        screen.verdict(f"{wrong} of {len(judged)} figures {are} wrong ({screen.seconds:.1f} s).", good=False)
    else:
        screen.verdict(f"Every figure is right ({screen.seconds:.1f} s).", good=True)
    return not wrong


def _what_next(screen: Screen, kept: EmbeddedServer | None) -> None:
    if kept is None:
        screen.commands(
            f"Next, on a server of your own (`seatline demo --keep` leaves this one{_activation('; ')}):",
            "seatline server start",
            f"seatline enqueue {plan.COUNT} file={shlex.quote(str(Path(os.__file__).with_name('ast.py')))}",
            "seatline worker seatline.console.demo.handlers --burst",
        )
        return
    where = _address(kept)
    screen.commands(
        f"The server stays, with all its jobs{_activation('; ')}. Next:",
        f"{where} seatline jobs list --state failed",
        f"{where} seatline pools show {plan.POOL}",
        f"{where} seatline server stop && rm -r {shlex.quote(str(kept.folder.parent))}",
    )
    found = any(map(shutil.which, ("redis-cli", "valkey-cli")))
    screen.commands("And redis-cli on it:", kept.cli_line() if found else f"{where} seatline cli")


def _activation(before: str) -> str:
    """Return what makes `seatline` a command of this shell; nothing where it is one."""
    script = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("seatline") or not script.exists():
        return ""
    return f"{before}first `. {shlex.quote(os.path.relpath(script))}`"


def _address(kept: EmbeddedServer) -> str:
    """Return what must stand before a command for it to use this server, whatever the user's own settings are."""
    others = [f"{name}=" for name in _SETTINGS if os.environ.get(name)]
    return " ".join([*others, f"SEATLINE_STATE={shlex.quote(str(kept.folder))}"])
