"""What the scripts must do, as a specification: plain Python, no server, one clock that is told.

* The next job is the least (priority, id) over all the types that a worker supports, whatever lines they wait in
  (Q1, Q2, Q10). A paused type gives none, a paused namespace neither (Q19).
* A job gets all of its seats or none (S1). Seats that exist for it = capacity - external - kept for the more urgent;
  free = those - seats held in sessions - seats claimed by whoever stands before it in the pool's line (S6, S7, S8).
* Whoever could have its seats and finds too few claims them: of each line (type and uses) the first only. A claim counts
  while a worker of its type is registered idle and nothing is paused, or while the program that made it asks; and only
  as long as it could be had at all.
* A report proves its lease by its token, compared by equality (Q14). Settling frees the seats, once.
* A failed attempt may be followed by another one: at once at its old place, or later; what it held is free meanwhile, its
  error stands until the next attempt begins. A stop that was asked for wins over it (C16, Q23).
* What a job enqueues comes with its end, if that is a good one, and once; a token that stands for another job leaves out
  its job and nothing else.
* A job that is not to start after a moment never does: whoever is about to take it ends it, and so does whoever looks
  after time (`turn`, `renew`). A next attempt that would be too late is none.
* A lost job runs again at its old place if its ``if_lost`` says so, unless it was lost too often; a stop that was asked
  for wins over running again (Q12, Q23, T4).
* A worker that finds too little is registered idle until it looks again, leaves, or is late.

What a seat count ``in_use`` says is no state here: it is the sum over sessions, always (S2). Whom to ring, and who holds
the alarm, is left open: what must come of it is said once, in `Model.startable`. Which claims a look leaves behind is
left open within bounds, `must` and `may`: the model goes on from what the server keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LOSSES", "Job", "Model", "Program", "Report"]

LOSSES = 3
ENDED = ("succeeded", "skipped", "failed", "cancelled", "expired", "interrupted")

Answer = tuple[str, Any]


@dataclass
class Job:
    """``error``: its hash shows one; ``told``: it is among its ``attempts`` already."""

    id: str
    type: str
    priority: int
    uses: str | None
    state: str = "ready"
    due: int = 0
    expires: int = 0
    attempt: int = 0
    error: bool = False
    told: bool = False
    attempts: list[str] = field(default_factory=list)
    losses: int = 0
    token: str = ""
    worker: str = ""
    if_lost: str = ""
    seats: str = "none"
    deadline: int = 0
    finished: int = 0
    cancel: bool = False
    submission: str = ""
    listeners: list[str] = field(default_factory=list)


@dataclass
class Type:
    uses: str | None = None
    if_lost: str = "interrupt"
    paused: bool = False
    offers: list[str] = field(default_factory=list)


@dataclass
class Pool:
    capacity: int
    keep: int = 0
    keep_priority: int = 0
    external: int = 0
    external_until: int = 0
    sessions: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    callers: dict[str, int] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(int(member.rpartition("|")[2]) for member in self.sessions)


@dataclass
class Worker:
    expires: int
    offer: str = ""
    bell: str = ""
    idle_until: int = 0


@dataclass
class Claim:
    priority: int
    member: str
    need: int


@dataclass(frozen=True)
class Report:
    """``ms``: the delay of a retry, whose text is ``text``. ``jobs``: (job, ms until due or None, its content)."""

    id: str
    token: str
    outcome: str
    ms: int = 0
    text: str = ""
    jobs: tuple[tuple[Job, int | None, str], ...] = ()


@dataclass(frozen=True)
class Program:
    """A session that a program asks for."""

    pool: str
    owner: str
    seats: int
    priority: int


def need_of(spec: str) -> dict[str, int]:
    return {} if spec == "none" else {p: int(n) for p, _, n in (part.partition("=") for part in spec.split(","))}


class Model:
    def __init__(self, clock: int, seq: int = 0) -> None:
        self.clock, self.seq = clock, seq
        self.paused = self.closed = False
        self.removed = self.trimmed = 0
        self.jobs: dict[str, Job] = {}
        self.types: dict[str, Type] = {}
        self.pools: dict[str, Pool] = {}
        self.offers: dict[str, tuple[list[str], int]] = {}
        self.workers: dict[str, Worker] = {}
        self.presence: dict[str, int] = {}
        #: offer -> who is registered idle
        self.idle: dict[str, set[str]] = {}
        self.programs: dict[tuple[str, str], int] = {}
        self.tokens: dict[str, tuple[str, str]] = {}
        self.begin()

    def begin(self) -> None:
        """Begin a step: claims are judged once in it, at the first look at a pool."""
        self._claims: dict[str, list[Claim]] = {}
        #: (pool, job) that must be claimed after this step, and those that may be, or may have been given up.
        self.must: set[tuple[str, str]] = set()
        self.may: set[tuple[str, str]] = set()
        #: Bells that must have been rung by it.
        self.rung: set[str] = set()

    # Time passes.

    def advance(self, ms: int) -> None:
        self.clock += ms
        now = self.clock
        self.offers = {name: offer for name, offer in self.offers.items() if offer[1] > now}
        self.workers = {name: worker for name, worker in self.workers.items() if worker.expires > now}

    # Lines and their order.

    def spec(self, job: Job) -> str:
        """What it uses: its own word wins, else what its type says."""
        return job.uses if job.uses is not None else self.type(job.type).uses or "none"

    def type(self, name: str) -> Type:
        return self.types.setdefault(name, Type())

    def line(self, type_: str, uses: str | None) -> list[str]:
        jobs = [j for j in self.jobs.values() if j.state == "ready" and (j.type, j.uses) == (type_, uses)]
        return [j.id for j in sorted(jobs, key=lambda j: (j.priority, j.id))]

    def waiting(self, types: Iterable[str]) -> list[Job]:
        """Ready jobs of these types in the order in which they are looked at."""
        open_ = {name for name in types if not self.paused and not self.type(name).paused}
        jobs = [job for job in self.jobs.values() if job.state == "ready" and job.type in open_]
        return sorted(jobs, key=lambda job: (job.priority, job.id))

    def due(self) -> list[str]:
        """The scheduled jobs whose moment has come."""
        return [job.id for job in self.jobs.values() if job.state == "scheduled" and job.due <= self.clock]

    def next_due(self) -> Job | None:
        scheduled = [job for job in self.jobs.values() if job.state == "scheduled"]
        return min(scheduled, key=lambda job: (job.due, job.id), default=None)

    def _promote(self) -> None:
        for job_id in self.due():
            self.jobs[job_id].state = "ready"

    def late(self, job: Job) -> bool:
        """Whether the moment has passed until which it might have started."""
        return 0 < job.expires < self.clock

    def _expire(self) -> None:
        for job in self.jobs.values():
            if job.state in {"ready", "scheduled"} and self.late(job):
                self._finish(job, "expired")

    # Seats.

    def _at_all(self, name: str, priority: int) -> int:
        pool = self.pools.get(name)
        if not pool:
            return 0
        kept = pool.keep if priority > pool.keep_priority else 0
        return pool.capacity - self._external(pool) - kept

    def _external(self, pool: Pool) -> int:
        return pool.external if pool.external_until > self.clock else 0

    def claims(self, name: str) -> list[Claim]:
        """The claims that count, as they stood when this step first looked; later ones are added."""
        if name not in self._claims:
            self._claims[name] = found = []
            pool, lines = self.pools.get(name), set()
            for member, priority in sorted((pool.waiting if pool else {}).items(), key=lambda item: (item[1], item[0])):
                job = self.jobs.get(member)
                if not job:
                    n = int(member.rpartition("|")[2])
                    asks = pool is not None and pool.callers.get(member, 0) >= self.clock
                    if asks and self._at_all(name, priority) >= n:
                        found.append(Claim(priority, member, n))
                elif job.state == "ready" and (job.type, job.uses) not in lines:
                    lines.add((job.type, job.uses))
                    if self._possible(job) and self.has_idle(job.type):
                        found.append(Claim(priority, member, need_of(self.spec(job)).get(name, 0)))
        return self._claims[name]

    def _possible(self, job: Job) -> bool:
        return all(self._at_all(name, job.priority) >= n for name, n in need_of(self.spec(job)).items())

    def _free(self, name: str, priority: int, member: str) -> int:
        pool = self.pools.get(name)
        ahead = (claim for claim in self.claims(name) if (claim.priority, claim.member) < (priority, member))
        return self._at_all(name, priority) - (pool.used if pool else 0) - sum(claim.need for claim in ahead)

    def _fits(self, job: Job) -> bool:
        return all(self._free(name, job.priority, job.id) >= n for name, n in need_of(self.spec(job)).items())

    def _claim(self, job: Job) -> None:
        for name, n in need_of(self.spec(job)).items() if self._possible(job) else ():
            self.must.add((name, job.id))
            if not any(claim.member == job.id for claim in self.claims(name)):
                self.claims(name).append(Claim(job.priority, job.id, n))

    def _unclaim(self, name: str, member: str) -> None:
        self.claims(name)[:] = [claim for claim in self.claims(name) if claim.member != member]

    def _give_back(self, spec: str, owner: str) -> None:
        for name, n in need_of(spec).items():
            if name in self.pools:
                self.pools[name].sessions.pop(f"{owner}|{n}", None)

    def has_idle(self, type_: str) -> bool:
        """Whether a worker waits for jobs of this type, or was rung and is about to look."""
        if self.paused or self.type(type_).paused:
            return False
        return any(self.waits(worker) for offer in self.type(type_).offers for worker in self.idle.get(offer, ()))

    def waits(self, worker: str) -> bool:
        known = self.workers.get(worker)
        return known is not None and known.bell != "" and known.idle_until >= self.clock

    # Ends.

    def _finish(self, job: Job, state: str) -> None:
        job.state, job.finished = state, self.clock
        self.rung.update(job.listeners)
        job.listeners = []

    def _erase(self, job: Job) -> None:
        del self.jobs[job.id]
        self.tokens.pop(job.submission, None)

    # Verbs: jobs.

    def submit(self, jobs: Sequence[tuple[Job, int | None, str]]) -> Answer:
        """Accept (job, ms until due or None, its content if it has a token): all or none."""
        if self.closed:
            return "closed", ()
        known: dict[str, str] = {token: content for token, (_, content) in self.tokens.items()}
        for i, (job, _, content) in enumerate(jobs):
            if job.submission and known.setdefault(job.submission, content) != content:
                return "token", (str(i),)
        return "ok", [self._accept(*each) for each in jobs]

    def _accept(self, job: Job, delay: int | None, content: str) -> tuple[str, bool]:
        """Take one job, whose ``expires`` counts from now; returns its id, and whether it existed."""
        if job.submission in self.tokens:
            return self.tokens[job.submission][0], True
        self.seq += 1
        job.id = f"{self.seq:016}"
        self.jobs[job.id] = job
        self.type(job.type)
        if job.submission:
            self.tokens[job.submission] = (job.id, content)
        if delay is not None and delay > 0:
            job.state, job.due = "scheduled", self.clock + delay
        if job.expires:
            job.expires += self.clock
        return job.id, False

    def cancel(self, id: str) -> Answer:
        job = self.jobs.get(id)
        if not job:
            return "missing", ()
        if job.state == "running":
            job.cancel = True
            return "ok", "asked"
        if job.state in ENDED:
            return "state", (job.state,)
        self._finish(job, "cancelled")
        return "ok", "cancelled"

    def remove(self, id: str) -> Answer:
        job = self.jobs.get(id)
        if not job:
            return "missing", ()
        if job.state == "running":
            return "state", ("running",)
        self.rung.update(job.listeners)
        self._erase(job)
        self.removed += 1
        return "ok", job.state

    def resubmit(self, id: str) -> Answer:
        job = self.jobs.get(id)
        if not job:
            return "missing", ()
        if job.state not in ENDED:
            return "state", (job.state,)
        was, job.state = job.state, "ready"
        if job.error and not job.told:
            job.attempts = [*job.attempts, "?"][-20:]
        job.attempt = job.losses = job.expires = 0
        job.cancel = job.error = False
        return "ok", was

    def move(self, id: str, priority: int) -> Answer:
        job = self.jobs.get(id)
        if not job:
            return "missing", ()
        if job.state not in {"ready", "scheduled"}:
            return "state", (job.state,)
        old, job.priority = job.priority, priority
        self.may.update((name, id) for name in self.pools)  # it steps out of the pools' lines, too
        ahead = self.line(job.type, job.uses).index(id) if job.state == "ready" else -1
        return "ok", (job.state, old, ahead)

    def wait(self, id: str, bell: str) -> Answer:
        job = self.jobs.get(id)
        if not job:
            return "missing", None
        if job.state in ENDED:
            return "ended", None
        if bell not in job.listeners:
            job.listeners.append(bell)
        return "waits", None

    def gate(self, type_: str, gate: str, shut: bool) -> Answer:
        if type_:
            changed = self.type(type_).paused != shut
            self.type(type_).paused = shut
        else:
            changed = (self.paused if gate == "paused" else self.closed) != shut
            setattr(self, gate, shut)
        return "ok", changed

    # Verbs: workers.

    def offer(self, worker: str, offer: str, presence: int, types: dict[str, tuple[str, str]]) -> Answer:
        for name, (uses, if_lost) in types.items():
            said = self.types.get(name)
            if said and said.uses is not None and (said.uses, said.if_lost) != (uses, if_lost):
                for other in self.live():
                    if other != worker and self.workers[other].offer in said.offers:
                        return "differs", (name, other)
        for name, (uses, if_lost) in types.items():
            type_ = self.type(name)
            type_.uses, type_.if_lost = uses, if_lost
            type_.offers = [offer, *(other for other in type_.offers if other != offer and other in self.offers)]
        self.offers[offer] = (list(types), self.clock + presence)
        self.idle = {name: idle for name, idle in self.idle.items() if name in self.offers}
        self._present(worker, offer, presence)
        return "ok", None

    def live(self) -> list[str]:
        return [name for name, until in self.presence.items() if until >= self.clock and name in self.workers]

    def _present(self, worker: str, offer: str | None, presence: int) -> None:
        known = self.workers.setdefault(worker, Worker(0))
        known.expires = self.presence[worker] = self.clock + presence
        if offer is not None:
            known.offer = offer

    def leave(self, worker: str, offer: str) -> Answer:
        self.idle.get(offer, set()).discard(worker)
        self.workers.pop(worker, None)
        self.presence.pop(worker, None)
        if not any(self.workers[other].offer == offer for other in self.live()):
            self.offers.pop(offer, None)
            self.idle.pop(offer, None)
        return "ok", None

    def turn(
        self,
        worker: str,
        offer: str,
        reports: Sequence[Report],
        *,
        token: str,
        lease: int,
        want: int,
        bell: str,
        block: int,
        listed: bool,
        promotes: bool,
        expires: bool = False,
    ) -> Answer:
        """Settle, then reserve. The answer: a state a report, (id, attempt) a job."""
        if offer not in self.offers:
            return "no-offer", None
        ids = [report.id for report in reports]
        mine = [self.holds(r.id, r.token) and r.id not in ids[:i] for i, r in enumerate(reports)]  # once a turn
        if listed:
            self.idle.get(offer, set()).discard(worker)
        states = [self._settle(report) if held else "stale" for report, held in zip(reports, mine, strict=True)]
        for report, state in zip(reports, states, strict=True):
            if state in {"succeeded", "skipped"}:
                for job, delay, content in report.jobs:
                    if self.tokens.get(job.submission, ("", content))[1] == content:
                        self._accept(job, delay, content)
        if expires:
            self._expire()
        if promotes:
            self._promote()
        jobs = self._reserve(self.offers[offer][0], want, worker, token, self.clock + lease)
        if bell and len(jobs) < want:
            self.idle.setdefault(offer, set()).add(worker)
            until = self.clock + block + 1000
            known = self.workers.setdefault(worker, Worker(until))
            if not known.bell:  # its presence may have expired while it was away; a renewal tells
                known.expires = self.clock + lease
            known.bell, known.idle_until = bell, until
        return "ok", (states, [(job.id, job.attempt) for job in jobs])

    def holds(self, id: str, token: str) -> bool:
        job = self.jobs.get(id)
        return job is not None and job.state == "running" and job.token == token

    def _settle(self, report: Report) -> str:
        job = self.jobs[report.id]
        self._give_back(job.seats, f"job:{job.id}:{job.token}")
        outcome = report.outcome
        if outcome == "abandoned" and job.if_lost != "rerun":
            outcome = "interrupted"
        if outcome in {"returned", "abandoned"} and job.cancel:
            outcome = "cancelled"
        if outcome in {"returned", "abandoned"}:
            job.attempt -= 1
            job.state = "ready"
            return "ready"
        if outcome == "retry":
            return self._retry(job, report)
        self._finish(job, outcome)
        return outcome

    def _retry(self, job: Job, report: Report) -> str:
        job.error = True
        due = self.clock + report.ms
        if job.cancel or 0 < job.expires < due:
            self._finish(job, "cancelled" if job.cancel else "failed")
            return job.state
        job.attempts, job.told = [*job.attempts, f"{self.clock} {report.text}"][-20:], True
        job.state = "ready"
        if report.ms:
            job.state, job.due = "scheduled", due
        return job.state

    def _reserve(self, types: Sequence[str], want: int, worker: str, token: str, deadline: int) -> list[Job]:
        taken: list[Job] = []
        shut: set[tuple[str, str | None]] = set()
        for job in self.waiting(types):
            line = (job.type, job.uses)
            if line in shut:
                continue
            if len(taken) == want:  # others may have use for what is left: a claim that is found for them may stay
                shut.add(line)
                self.may.update((name, job.id) for name in need_of(self.spec(job)))
            elif self._fits(job):
                if self.late(job):
                    for name in need_of(self.spec(job)):
                        self._unclaim(name, job.id)
                    self._finish(job, "expired")
                    continue
                self._hand_over(job, worker, token, deadline)
                taken.append(job)
            else:
                shut.add(line)
                self._claim(job)
        return taken

    def _hand_over(self, job: Job, worker: str, token: str, deadline: int) -> None:
        job.state, job.worker, job.token, job.deadline = "running", worker, token, deadline
        job.attempt += 1
        job.error = job.told = False
        job.if_lost, job.seats = self.type(job.type).if_lost, self.spec(job)
        for name, n in need_of(job.seats).items():
            self._unclaim(name, job.id)
            self.pools[name].sessions[f"job:{job.id}:{token}|{n}"] = deadline

    def renew(self, worker: str, offer: str, lease: int, presence: int, keep: int,
              held: Sequence[tuple[str, str]]) -> Answer:  # fmt: skip
        """Keep what is held. The answer: a word a job, what seems expired, whether the offer is known."""
        words = []
        for job_id, token in held:
            job = self.jobs.get(job_id)
            if not job or not self.holds(job_id, token):
                words.append("lost")
                continue
            words.append("cancel" if job.cancel else "held")
            job.deadline = self.clock + lease
            for name, n in need_of(job.seats).items():
                self.pools[name].sessions[f"job:{job_id}:{token}|{n}"] = job.deadline
        self._present(worker, None, presence)
        known = offer in self.offers and self.workers[worker].offer != ""
        if offer in self.offers:
            self.offers[offer] = (self.offers[offer][0], self.clock + presence)
        self._expire()
        self._promote()
        for state in ("succeeded", "skipped", "failed", "cancelled", "expired"):
            self._trim(state, keep)
        late = sorted((j.deadline, "job", j.id, j.token) for j in self.jobs.values() if j.state == "running")
        late += sorted((end, "session", pool, member) for (pool, member), end in self.programs.items())
        return "ok", (words, [(kind, a, b, end) for end, kind, a, b in late if end <= self.clock], known)

    def _trim(self, state: str, keep: int) -> None:
        ended = sorted((job.finished, job.id) for job in self.jobs.values() if job.state == state)
        for _, job_id in ended[: max(0, len(ended) - keep)]:
            self._erase(self.jobs[job_id])
            self.trimmed += 1

    def reap(self, suspects: Sequence[tuple[str, str, str, int]]) -> Answer:
        taken = [end <= self.clock and self._unchanged(kind, a, b, end) for kind, a, b, end in suspects]
        words = []
        for expired, (kind, a, b, _) in zip(taken, suspects, strict=True):
            if not expired:
                words.append("alive")
            elif kind == "session":
                del self.programs[a, b]
                owner, _, n = b.rpartition("|")
                self._give_back(f"{a}={n}", owner)
                words.append("freed")
            else:
                words.append(self._lose(self.jobs[a]))
        return "ok", words

    def _unchanged(self, kind: str, a: str, b: str, end: int) -> bool:
        if kind == "session":
            return self.programs.get((a, b)) == end
        return self.holds(a, b) and self.jobs[a].deadline == end

    def _lose(self, job: Job) -> str:
        self._give_back(job.seats, f"job:{job.id}:{job.token}")
        job.losses += 1
        if job.cancel:
            self._finish(job, "cancelled")
        elif job.if_lost == "rerun" and job.losses < LOSSES:
            job.state = "ready"
        else:
            job.error = True
            self._finish(job, "interrupted")
        return job.state

    # Verbs: pools and programs.

    def pool_set(self, name: str, capacity: int, keep: tuple[int, int] | None) -> Answer:
        new = name not in self.pools
        pool = self.pools.setdefault(name, Pool(0))
        pool.capacity = capacity
        if keep:
            pool.keep, pool.keep_priority = keep
        return "ok", new

    def pool_remove(self, name: str) -> Answer:
        pool = self.pools.get(name)
        if not pool:
            return "missing", ()
        if pool.sessions:
            return "busy", (str(len(pool.sessions)),)
        del self.pools[name]
        return "ok", None

    def pool_external(self, name: str, seats: int, ttl: int) -> Answer:
        pool = self.pools.get(name)
        if not pool:
            return "missing", ()
        pool.external, pool.external_until = seats, self.clock + ttl
        return "ok", self.clock + ttl

    def session_open(self, asked: Program, ttl: int, place: str, asks: int) -> Answer:
        pool = self.pools.get(asked.pool)
        if not pool:
            return "missing", ()
        member, deadline = f"{asked.owner}|{asked.seats}", self.clock + ttl
        if member not in pool.sessions:
            place = place or f"{self.seq:016}:{member}"
            if self._free(asked.pool, asked.priority, place) < asked.seats:
                at_all = self._at_all(asked.pool, asked.priority)
                if not asks or at_all < asked.seats:
                    pool.callers.pop(place, None)
                    pool.waiting.pop(place, None)
                    return ("never", str(at_all)) if at_all < asked.seats else ("waits", "")
                pool.callers[place], pool.waiting[place] = self.clock + asks, asked.priority
                return "waits", place
            pool.waiting.pop(place, None)
            pool.callers.pop(place, None)
        pool.sessions[member] = self.programs[asked.pool, member] = deadline
        return "ok", str(deadline)

    def session_renew(self, asked: Program, ttl: int) -> Answer:
        pool, member = self.pools.get(asked.pool), f"{asked.owner}|{asked.seats}"
        if not pool or member not in pool.sessions:
            return "lost", 0
        pool.sessions[member] = self.programs[asked.pool, member] = self.clock + ttl
        return "ok", self.clock + ttl

    def session_close(self, asked: Program, place: str) -> Answer:
        held = self.programs.pop((asked.pool, f"{asked.owner}|{asked.seats}"), None) is not None
        self._give_back(f"{asked.pool}={asked.seats}", asked.owner)
        pool = self.pools.get(asked.pool)
        if pool:
            pool.waiting.pop(place, None)
            pool.callers.pop(place, None)
        return "ok", held

    # What must come of ringing.

    def startable(self, types: Iterable[str]) -> list[str]:
        """The jobs that a worker of these types could take now: none, once everybody who was rung has looked (W2, S9)."""
        self.begin()
        return [job.id for job in self.waiting(types) if self._fits(job) and not self.late(job)]
