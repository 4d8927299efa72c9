"""Why is my job not running? Every obstacle, with the thing to do about it; computed from plain reads only.

A :class:`~seatline.producer.why_scene.Scene` is what the server looked like in one consistent read. From it each waiting job
gets its obstacles (``why``) or, in a listing, one word (``reason``):

``due``, ``retry`` (due too, but after an attempt that failed), ``expired``, ``paused``, ``window``, ``no-worker``,
``no-pool``, ``seats``, ``behind``, and of a step's job ``stopped`` and ``full``; ``-`` when nothing keeps it. ``why`` also says
``asleep``: its workers are classic ones, and away; and of a step's job what its order says
(:mod:`~seatline.producer.why_order`). Nothing is said exactly of those jobs that the next turns of the idle workers take
(W2), which :mod:`~seatline.producer.why_turn` works out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from seatline.producer.why_scene import ChainGates, Scene
from seatline.producer.why_turn import Claims, Turns
from seatline.shared.calls import reads
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.job import WAITING, JobRecord, uses_text
from seatline.shared.keys import Keys
from seatline.shared.times import Window, zone_of

__all__ = ["ChainGates", "Obstacle", "Reasons", "Scene", "obstacles", "span", "stamped", "why"]

#: So many holders of a pool are named.
HOLDERS: Final = 5


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that keeps a job or an order from going on: a word, a sentence, what to do.

    Attributes:
        facts: the same for programs. Of ``seats``: pool, needed, free, capacity, external, kept, claimed, holders (kind, name,
            seats, until); of ``behind``: ahead (jobs that stand before it), slots (free ones of the workers for its type).

    """

    reason: str
    message: str
    action: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message} {self.action}".rstrip()


def why(keys: Keys, job: JobRecord) -> Talk[list[Obstacle]]:
    """Return every obstacle of a waiting job; nothing for one that runs or has ended."""
    if job.state not in WAITING:
        return []
    found: list[Obstacle] = []
    if job.order is not None:
        from seatline.producer.why_order import why_step  # noqa: PLC0415 - most jobs are of no order

        found += yield from why_step(keys, job)
    scene = yield from Scene.look(keys)
    return found + (yield from obstacles(keys, scene, job))


def obstacles(keys: Keys, scene: Scene, job: JobRecord) -> Talk[list[Obstacle]]:
    """Return what keeps a job that waits, in this scene; of a step's job, without what its order says."""
    found = [*_times(scene, job), *_gates(scene, job), *_window(scene, job)]
    if not scene.served(job.type):
        age = span((scene.now - (job.created or scene.now)).total_seconds())
        said = f"no live worker supports type {job.type}; it waits since {age}."
        found.append(Obstacle("no-worker", said, "Start one: seatline worker."))
    claims = yield from Claims.look(keys, scene)
    seats = _seats(scene, claims, job)
    if job.state != "ready" and not (job.state == "scheduled" and not _ahead_of_its_time(scene, job)):
        return found + seats
    turns = yield from Turns.look(keys, scene, claims, job)
    if not found and turns.reach(alone=False):
        return []
    found += seats
    if not turns.reach(alone=True):
        behind = yield from _behind(keys, scene, job, turns)
        found += [behind] if behind else []
    return found or [_outrun(scene, job, turns)]


def _ahead_of_its_time(scene: Scene, job: JobRecord) -> bool:
    return job.state == "scheduled" and job.due is not None and job.due > scene.now


def _times(scene: Scene, job: JobRecord) -> Iterator[Obstacle]:
    if job.expires is not None and job.expires < scene.now:
        late = f"it was not to start after {job.expires:%F %T} UTC; it ends as expired when a worker looks."
        yield Obstacle("expired", late, "Enqueue it again.")
    if _ahead_of_its_time(scene, job) and job.due is not None:
        left = (job.due - scene.now).total_seconds()
        failed = f"attempt {job.attempt} failed ({job.error_type}); " if job.error else ""
        said = f"{failed}it is due at {job.due:%F %T} UTC, in {span(left)}."
        yield Obstacle("retry" if failed else "due", said, "Wait.")


def _gates(scene: Scene, job: JobRecord) -> list[Obstacle]:
    found: list[Obstacle] = []
    if stamp := scene.about.get("paused"):
        found.append(Obstacle("paused", f"the namespace is paused ({stamped(stamp)}).", "seatline types resume --all"))
    record = scene.types.get(job.type)
    if record is not None and record.paused:
        found.append(
            Obstacle(
                "paused", f"type {job.type} is paused ({stamped(record.paused)}).", f"seatline types resume {job.type}"
            )
        )
    return found


def _window(scene: Scene, job: JobRecord) -> list[Obstacle]:
    """T9: outside the window of its type."""
    opens = scene.opens(job.type)
    if opens is None:
        return []
    when = scene.types[job.type].window or ""
    there, left = opens.astimezone(zone_of(Window(when).zone)), span((opens - scene.now).total_seconds())
    said = f"jobs of type {job.type} start {when}; it is shut until {there:%a %F %H:%M %Z}, for {left}."
    return [Obstacle("window", said, f"Wait, or: seatline types window {job.type} none")]


def _seats(scene: Scene, claims: Claims, job: JobRecord) -> list[Obstacle]:
    found: list[Obstacle] = []
    for name, seats in scene.uses(job).items():
        pool = scene.pools.get(name)
        if pool is None:
            found.append(Obstacle("no-pool", f"pool {name} does not exist.", f"seatline pools set {name} CAPACITY"))
            continue
        kept, claimed = (
            pool.keep if job.priority > pool.keep_priority else 0,
            claims.claimed(name, job.priority, job.id),
        )
        facts = {
            "pool": name,
            "needed": seats,
            "free": pool.free,
            "capacity": pool.capacity,
            "external": pool.external,
            "kept": kept,
            "claimed": claimed,
            "holders": [
                {"kind": each.kind, "name": each.name, "seats": each.seats, "until": each.until.isoformat()}
                for each in pool.holders
            ],
        }
        if pool.refused_until is not None:
            said = f"pool {name}: the licence server refused; tried again at {pool.refused_until:%T} UTC."
            cure = f"Wait; or, if it is mended: seatline pools set {name} {pool.capacity}"
            found.append(Obstacle("seats", said, cure, facts))
        at_all = pool.capacity - pool.external - kept
        if at_all < seats:
            said = (
                f"pool {name}: it needs {seats} seats, the pool can give {max(0, at_all)} "
                f"(capacity {pool.capacity}, {pool.external} used outside, {pool.keep} kept)."
            )
            found.append(Obstacle("seats", said, _more_seats(pool, seats, kept), facts))
        elif at_all - pool.in_use - claimed < seats:
            holders = ", ".join(f"{s.kind} {s.name.lstrip('0') or s.name} ({s.seats})" for s in pool.holders[:HOLDERS])
            more = f" and {len(pool.holders) - HOLDERS} more" if len(pool.holders) > HOLDERS else ""
            apart = f", {kept} kept for priority {pool.keep_priority} or less" if kept else ""
            apart += f", {claimed} claimed by more urgent waiters" if claimed else ""
            said = (
                f"pool {name}: it needs {seats}, {pool.free} of {pool.capacity} are free{apart}; "
                f"held by {holders or 'nobody'}{more}."
            )
            found.append(Obstacle("seats", said, f"Wait, or see: seatline pools show {name}", facts))
    return found


def _more_seats(pool: reads.PoolRecord, seats: int, kept: int) -> str:
    """Say what to do so that a pool could give so many at all."""
    if pool.capacity >= seats and pool.external and pool.external_until:
        return f"Wait until {pool.external_until:%T} UTC, or tell how many it is now: seatline pools external {pool.name} N"
    if pool.capacity >= seats and kept:
        return f"Give it priority {pool.keep_priority} or less, or: seatline pools set {pool.name} {pool.capacity} --keep 0"
    return f"seatline pools set {pool.name} CAPACITY"


def _behind(keys: Keys, scene: Scene, job: JobRecord, turns: Turns) -> Talk[Obstacle | None]:
    """Jobs that would be reserved before it by workers of its type, and no slot is left for it."""
    offers, ahead, facts = scene.offers(job.type), turns.ahead, {"ahead": turns.ahead, "slots": turns.slots}
    if not (ahead or offers):
        return None  # there is no worker at all, which is said already
    if away := (yield from _away(keys, offers)) if offers and not turns.slots else None:
        return away
    if not ahead:
        said = "it is next; every slot of the workers for its type is busy."
        return Obstacle("behind", said, "Wait, or start more workers.", facts)
    idle = (
        f"{turns.slots} slots of workers for it are idle"
        if turns.slots
        else "every slot of the workers for its type is busy"
    )
    before = "1 job stands before it" if ahead == 1 else f"{ahead:,} jobs stand before it"
    said = f"{before} and {idle}." if offers else f"{before}."
    cure = f"Wait, start more workers, or: seatline jobs move {int(job.id)} --priority 1"
    return Obstacle("behind", said, cure, facts)


def _outrun(scene: Scene, job: JobRecord, turns: Turns) -> Obstacle:
    """Its seats are free and so is a slot, and yet it does not start: the more urgent, who are about to, take them."""
    pools = ", ".join(scene.uses(job))
    said = f"{turns.ahead:,} jobs stand before it, and those that start now take the seats it needs ({pools})."
    cure = f"Wait, or: seatline jobs move {int(job.id)} --priority 1"
    return Obstacle("behind", said, cure, {"ahead": turns.ahead, "slots": turns.slots})


def _away(keys: Keys, offers: frozenset[str]) -> Talk[Obstacle | None]:
    """Whether all workers of these offers take nothing now, though they are live: asleep, paused or stopping."""
    workers = yield from ask(reads.page(keys, "workers", 0, 1000))
    records = yield from ask(reads.worker_records(keys, [worker for worker, _ in workers], []))
    states = [
        record.fields.get("state", "") for record in records if record.live and record.fields.get("offer") in offers
    ]
    if not states or any(not state.startswith(("sleeping", "paused", "stopping")) for state in states):
        return None
    if asleep := min((state for state in states if state.startswith("sleeping")), default=""):
        until = asleep.removeprefix("sleeping until ")
        return Obstacle("asleep", f"the workers for its type sleep, the first until {until}.", "Wait.")
    return Obstacle(
        "behind", "the workers for its type are paused or stopping.", "seatline workers resume --all, or start another."
    )


def job_uses(job: JobRecord) -> str | None:
    """Return the uses text that names the job's line, None for the type's own line."""
    return None if job.uses is None else uses_text(job.uses)


class Reasons:
    """One word for each waiting job of a listing that is walked in reserve order (Q25)."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._free = {name: pool.free for name, pool in scene.pools.items()}
        self._slots = {offer: sum(free) for offer, free in scene.free.items()}
        self._passed = set[tuple[str, str | None]]()

    def of(self, job: JobRecord) -> str:
        """Return the word: what keeps this job, after those walked before it have taken what they can."""
        if job.state == "scheduled":
            return "retry" if job.error else "due"
        if job.state != "ready":
            return "-"
        if job.expires is not None and job.expires < self._scene.now:
            return "expired"
        if gate := self._order_gate(job):
            return gate
        if _gates(self._scene, job):
            return "paused"
        if self._scene.opens(job.type):
            return "window"
        if not self._scene.served(job.type):
            return "no-worker"
        return self._taken(job)

    def _order_gate(self, job: JobRecord) -> str:
        """O11: it stands in front of a step, or a chain, and is collected when its turn comes."""
        gates = self._scene.chains.get(job.chain or "")
        if gates is None or job.element is not None:
            return ""
        if job.step in gates.steps:
            return "stopped"
        if not job.enters:
            return ""
        return "stopped" if gates.stopped else "full" if gates.full else ""

    def _taken(self, job: JobRecord) -> str:
        """Take its slot and seats, if they are left; who cannot have the seats claims them (S6)."""
        uses, line = self._scene.uses(job), (job.type, job_uses(job))
        if any(name not in self._scene.pools for name in uses):
            return "no-pool"
        lacks = any(self._free[name] < self._kept(name, job) + seats for name, seats in uses.items())
        offers = [offer for offer in self._scene.types[job.type].offers if self._slots.get(offer, 0) > 0]
        if lacks or line in self._passed:
            if lacks and line not in self._passed and self._scene.attended(job.type, self._scene.idlers):
                self._passed.add(line)
                for name, seats in uses.items():
                    self._free[name] -= seats
            return "seats"
        if not offers:
            return "behind"
        self._slots[offers[0]] -= 1
        for name, seats in uses.items():
            self._free[name] -= seats
        return "-"

    def _kept(self, name: str, job: JobRecord) -> int:
        pool = self._scene.pools[name]
        return pool.keep if job.priority > pool.keep_priority else 0


def stamped(stamp: str) -> str:
    """Say of a mark, epoch ms and a name, since when and by whom."""
    ms, _, by = stamp.partition(" ")
    return f"since {dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC):%F %T} UTC by {by}"


def span(seconds: float) -> str:
    """Say how long that is, roughly."""
    seconds = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
