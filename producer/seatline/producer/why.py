"""Why is my job not running? Every obstacle, with the thing to do about it; computed from plain reads only.

A :class:`Scene` is what the server looked like in one consistent read: gates, types, pools with holders, who is live and
who is idle. From it each waiting job gets its obstacles (``why``) or, in a listing, one word (``reason``):

``due``, ``retry`` (due too, but after an attempt that failed), ``expired``, ``paused``, ``window``, ``no-worker``,
``no-pool``, ``seats``, ``behind``, and of a step's job ``stopped`` and ``full``; ``-`` when nothing keeps it. ``why`` also says
``asleep``: its workers are classic ones, and away; and of a step's job what its order says
(:mod:`~seatline.producer.why_order`). Nothing is said exactly of those jobs that the next turns of the idle workers take
(W2), which :mod:`~seatline.producer.why_turn` works out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from seatline.producer.why_turn import Claims, Turns
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.calls.moment import at_one_moment, together
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.errors import InvalidInput
from seatline.shared.job import WAITING, JobRecord, uses_map, uses_text
from seatline.shared.keys import Keys
from seatline.shared.store import Store
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


@dataclass(frozen=True, slots=True)
class Scene:
    """The server's state as far as it decides what may start.

    Attributes:
        idle: free slots that are announced, by offer; one for which its worker has been rung is not.
        free: the free slots of each idle worker, by offer; of one that sleeps 0.
        idlers: how many workers are idle, asleep or about to look, by offer.
        chains: what stands before chains and their steps, if it was asked for.

    """

    now: dt.datetime
    about: dict[str, str]
    types: dict[str, reads.TypeRecord]
    pools: dict[str, reads.PoolRecord]
    live: frozenset[str]
    idle: dict[str, int]
    free: dict[str, tuple[int, ...]]
    idlers: dict[str, int]
    chains: dict[str, ChainGates] = field(default_factory=dict[str, "ChainGates"])

    @classmethod
    def of(cls, store: Store, types: Iterable[str] | None = None, *, chains: bool = False) -> Scene:
        """Read the scene at one moment, for some types or all; ``chains``: with their gates."""
        return store.talk(at_one_moment(lambda: cls.look(store.keys, types, chains=chains)))

    @classmethod
    def look(cls, keys: Keys, types: Iterable[str] | None = None, *, chains: bool = False) -> Talk[Scene]:
        """As :meth:`of`, as a talk."""
        listed, pools, offers, ms, about = yield from ask(
            together(
                [
                    *(reads.name_set(keys, name) for name in ("types", "pools", "offers")),
                    reads.server_time(),
                    reads.about(keys),
                ]
            )
        )
        now = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
        names = listed if types is None else sorted(types)
        known, held, (live, idle) = yield from ask(
            together([reads.type_records(keys, names), reads.pool_records(keys, pools), _offers(keys, offers)])
        )
        workers = yield from ask(_idle_workers(keys, idle, now))
        return cls(
            now=now,
            about=about.fields,
            types={record.name: record for record in known},
            pools={record.name: record for record in held if record},
            live=live,
            idle={offer: sum(idle[offer].values()) for offer in offers},
            free={offer: tuple(free) for offer, free in workers.items()},
            idlers={offer: len(free) for offer, free in workers.items()},
            chains=(yield from _chain_gates(keys)) if chains else {},
        )

    def offers(self, type_: str) -> frozenset[str]:
        """The offers of live workers that support the type."""
        record = self.types.get(type_)
        return self.live & frozenset(record.offers) if record else frozenset()

    def gated(self, type_: str) -> bool:
        """Whether no job of the type may start: it is paused, or its window is shut."""
        record = self.types.get(type_)
        return record is not None and (bool(record.paused) or self.opens(type_) is not None)

    def attended(self, type_: str, idle: Mapping[str, int]) -> bool:
        """Whether one of these idle workers (how many, by offer) waits for jobs of the type, so that claims of it count."""
        record = self.types.get(type_)
        if record is None or self.about.get("paused") or self.gated(type_):
            return False
        return any(idle.get(offer, 0) > 0 for offer in record.offers)

    def served(self, type_: str) -> bool:
        """Whether a live worker supports the type."""
        record = self.types.get(type_)
        return record is not None and any(offer in self.live for offer in record.offers)

    def opens(self, type_: str) -> dt.datetime | None:
        """When the window of the type opens, if it is shut now (T9); None: it is open, or has none that is known here."""
        record = self.types.get(type_)
        if record is None or record.window is None:
            return None
        now = int(self.now.timestamp() * 1000)
        try:
            opens = _opens_at(record.window, now)
        except InvalidInput:
            return None  # this machine does not know its zone
        return dt.datetime.fromtimestamp(opens / 1000, dt.UTC) if opens > now else None

    def uses(self, job: JobRecord) -> dict[str, int]:
        """What the job would take if it started now (S13)."""
        if job.uses is not None:
            return job.uses
        record = self.types.get(job.type)
        return uses_map(record.uses or "") if record else {}


@lru_cache(maxsize=256)
def _opens_at(window: str, now: int) -> int:
    """Remember the answer: a listing asks it for each job, at one moment."""
    return Window(window).opens_at(now)


def _offers(keys: Keys, offers: list[str]) -> Read[tuple[frozenset[str], dict[str, dict[str, int]]]]:
    """Return which offers are live, and of each the idle workers with the slots they have announced."""
    commands: list[Command] = []
    for offer in offers:
        commands += [("EXISTS", keys(f"offer:{offer}")), ("ZRANGE", keys(f"idle:{offer}"), 0, 999, "WITHSCORES")]

    def parse(replies: Any) -> tuple[frozenset[str], dict[str, dict[str, int]]]:
        live = frozenset(offer for i, offer in enumerate(offers) if replies[2 * i])
        flat = (replies[2 * i + 1] for i in range(len(offers)))
        idle = {
            offer: {text(worker): int(float(free)) for worker, free in zip(each[::2], each[1::2], strict=True)}
            for offer, each in zip(offers, flat, strict=True)
        }
        return live, idle

    return Read(commands, parse)


def _idle_workers(keys: Keys, idle: Mapping[str, Mapping[str, int]], now: dt.datetime) -> Read[dict[str, list[int]]]:
    """Return the free slots of each worker that still is idle: one that was rung for them has not taken anything yet."""
    workers = [(offer, worker, announced) for offer, each in idle.items() for worker, announced in each.items()]
    commands: list[Command] = [
        ("HMGET", keys(f"worker:{worker}"), "bell", "idle_until", "free") for _, worker, _ in workers
    ]

    def parse(replies: Any) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for (offer, _, announced), (bell, until, free) in zip(workers, replies, strict=True):
            if bell is not None and int(until or 0) >= int(now.timestamp() * 1000):
                found.setdefault(offer, []).append((announced if free is None else int(free)) if bell else 0)
        return found

    return Read(commands, parse)


@dataclass(frozen=True, slots=True)
class ChainGates:
    """What stands before a chain: its steps that are stopped; whether it is stopped itself, or has its most orders."""

    steps: frozenset[str]
    stopped: bool
    full: bool


def _chain_gates(keys: Keys) -> Talk[dict[str, ChainGates]]:
    names = yield from ask(reads.name_set(keys, "chains"))
    commands: list[Command] = [
        command for name in names for command in (("HGETALL", keys.chain(name)), ("ZCARD", keys.chain(name, "started")))
    ]

    def parse(replies: Any) -> dict[str, ChainGates]:
        found: dict[str, ChainGates] = {}
        for i, name in enumerate(names):
            flat, started = replies[2 * i], int(replies[2 * i + 1])
            fields = {text(key): text(value) for key, value in zip(flat[::2], flat[1::2], strict=True)}
            stops = {key[5:] for key in fields if key.startswith("stop.")}
            stops -= {key[5:] for key in fields if key.startswith("skip.")}
            most = fields.get("max_orders")
            found[name] = ChainGates(frozenset(stops), "stopped" in fields, bool(most) and started >= int(most or 0))
        return found

    return (yield from ask(Read(commands, parse)))


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
