"""Why is my job not running? Every obstacle, with the thing to do about it; computed from plain reads only.

A :class:`Scene` is what the server looked like in one consistent read: gates, types, pools with holders, who is live and
who is idle. From it each waiting job gets its obstacles (``why``) or, in a listing, one word (``reason``):

``due``, ``retry`` (due too, but after an attempt that failed), ``expired``, ``paused``, ``window``, ``no-worker``,
``no-pool``, ``seats``, ``behind``; ``-`` when nothing keeps it. ``why`` also says ``asleep``: its workers are classic
ones, and away; and of a step's job what its order says (:mod:`~seatline.producer.why_order`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.errors import InvalidInput, ServerFull
from seatline.shared.job import WAITING, JobRecord, uses_map, uses_text
from seatline.shared.keys import Keys
from seatline.shared.store import Store
from seatline.shared.times import Window, zone_of

__all__ = ["Obstacle", "Reasons", "Scene", "obstacles", "span", "stamped", "why"]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that keeps a job or an order from going on: a word, a sentence, what to do."""

    reason: str
    message: str
    action: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message} {self.action}".rstrip()


@dataclass(frozen=True, slots=True)
class Scene:
    """The server's state as far as it decides what may start."""

    now: dt.datetime
    about: dict[str, str]
    types: dict[str, reads.TypeRecord]
    pools: dict[str, reads.PoolRecord]
    live: frozenset[str]
    idle: dict[str, int]
    registered: frozenset[str]

    @classmethod
    def of(cls, store: Store, types: Iterable[str] | None = None) -> Scene:
        """Read the scene, for some types or all."""
        return store.talk(cls.look(store.keys, types))

    @classmethod
    def look(cls, keys: Keys, types: Iterable[str] | None = None) -> Talk[Scene]:
        """As :meth:`of`, as a talk."""
        names = sorted(types) if types is not None else (yield from ask(reads.name_set(keys, "types")))
        pools = yield from ask(reads.name_set(keys, "pools"))
        offers = yield from ask(reads.name_set(keys, "offers"))
        parts: list[Read[Any]] = [
            reads.server_time(),
            reads.about(keys),
            reads.type_records(keys, names),
            reads.pool_records(keys, pools),
            _offers(keys, offers),
        ]
        try:
            seen = yield from ask(_together(parts))
        except ServerFull:
            seen = list[Any]()  # a full Redis before 7.2 refuses even to read in a MULTI
            for part in parts:
                seen.append((yield from ask(part)))
        now, about, known, held, (live, idle, registered) = seen
        return cls(
            now=dt.datetime.fromtimestamp(now / 1000, dt.UTC),
            about=about.fields,
            types={record.name: record for record in known},
            pools={record.name: record for record in held if record},
            live=live,
            idle=idle,
            registered=registered,
        )

    def served(self, type_: str) -> bool:
        """Whether a live worker supports the type."""
        record = self.types.get(type_)
        return record is not None and any(offer in self.live for offer in record.offers)

    def has_idle(self, type_: str) -> bool:
        """Whether a worker of the type waits, or has been rung and is about to look."""
        record = self.types.get(type_)
        return record is not None and any(offer in self.registered for offer in record.offers)

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


def _offers(keys: Keys, offers: list[str]) -> Read[tuple[frozenset[str], dict[str, int], frozenset[str]]]:
    commands: list[Command] = []
    for offer in offers:
        idle = keys(f"idle:{offer}")
        commands += [("EXISTS", keys(f"offer:{offer}")), ("ZRANGE", idle, 0, 999, "WITHSCORES")]

    def parse(replies: Any) -> tuple[frozenset[str], dict[str, int], frozenset[str]]:
        live = frozenset(offer for i, offer in enumerate(offers) if replies[2 * i])
        idle = {offer: sum(int(float(free)) for free in replies[2 * i + 1][1::2]) for i, offer in enumerate(offers)}
        registered = frozenset(offer for i, offer in enumerate(offers) if replies[2 * i + 1])
        return live, idle, registered

    return Read(commands, parse)


def _together(parts: list[Read[Any]]) -> Read[list[Any]]:
    """Send several reads as one transaction, so that they tell of one moment."""
    commands: list[Command] = [("MULTI",), *(command for part in parts for command in part.commands), ("EXEC",)]

    def parse(replies: Any) -> list[Any]:
        answers, at, values = replies[-1], 0, list[Any]()
        for part in parts:
            values.append(part.parse(answers[at : at + len(part.commands)]))
            at += len(part.commands)
        return values

    return Read(commands, parse)


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
    found: list[Obstacle] = []
    if job.expires is not None and job.expires < scene.now:
        late = f"it was not to start after {job.expires:%F %T} UTC; it ends as expired when a worker looks."
        found.append(Obstacle("expired", late, "Enqueue it again."))
    if job.state == "scheduled" and job.due is not None:
        left = (job.due - scene.now).total_seconds()
        failed = f"attempt {job.attempt} failed ({job.error_type}); " if job.error else ""
        said = f"{failed}it is due at {job.due:%F %T} UTC, in {span(left)}."
        found.append(Obstacle("retry" if failed else "due", said, "Wait."))
    found += _gates(scene, job)
    found += _window(scene, job)
    if not scene.served(job.type):
        age = span((scene.now - (job.created or scene.now)).total_seconds())
        found.append(
            Obstacle(
                "no-worker",
                f"no live worker supports type {job.type}; it waits since {age}.",
                "Start one: seatline worker.",
            )
        )
    found += yield from _seats(keys, scene, job)
    if job.state == "ready" and (behind := (yield from _behind(keys, scene, job))):
        found.append(behind)
    return found


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
    text = scene.types[job.type].window or ""
    there, left = opens.astimezone(zone_of(Window(text).zone)), span((opens - scene.now).total_seconds())
    said = f"jobs of type {job.type} start {text}; it is shut until {there:%a %F %H:%M %Z}, for {left}."
    return [Obstacle("window", said, f"Wait, or: seatline types window {job.type} none")]


def _seats(keys: Keys, scene: Scene, job: JobRecord) -> Talk[list[Obstacle]]:
    found: list[Obstacle] = []
    for name, seats in scene.uses(job).items():
        pool = scene.pools.get(name)
        if pool is None:
            found.append(Obstacle("no-pool", f"pool {name} does not exist.", f"seatline pools set {name} CAPACITY"))
            continue
        if pool.refused_until is not None:
            found.append(
                Obstacle(
                    "seats",
                    f"pool {name}: the licence server refused; tried again at {pool.refused_until:%T} UTC.",
                    f"Wait; or, if it is mended: seatline pools set {name} {pool.capacity}",
                )
            )
        at_all = pool.capacity - pool.external - (pool.keep if job.priority > pool.keep_priority else 0)
        if at_all < seats:
            found.append(
                Obstacle(
                    "seats",
                    f"pool {name}: it needs {seats} seats, the pool can give {max(0, at_all)} "
                    f"(capacity {pool.capacity}, {pool.external} used outside, {pool.keep} kept).",
                    f"seatline pools set {name} CAPACITY",
                )
            )
            continue
        claimed = yield from _claimed(keys, scene, pool, job)
        if at_all - pool.in_use - claimed < seats:
            holders = ", ".join(f"{s.kind} {s.name.lstrip('0') or s.name} ({s.seats})" for s in pool.holders[:5])
            more = f" and {len(pool.holders) - 5} more" if len(pool.holders) > 5 else ""  # noqa: PLR2004
            ahead = f", {claimed} claimed by more urgent waiters" if claimed else ""
            found.append(
                Obstacle(
                    "seats",
                    f"pool {name}: it needs {seats}, {pool.free} of {pool.capacity} are free{ahead}; "
                    f"held by {holders or 'nobody'}{more}.",
                    f"Wait, or see: seatline pools show {name}",
                )
            )
    return found


def _claimed(keys: Keys, scene: Scene, pool: reads.PoolRecord, job: JobRecord) -> Talk[int]:
    """Seats claimed by more urgent waiters: a job's claim counts while a worker of its type is idle (DESIGN 5.2)."""
    ahead = [member for member, priority in pool.waiting if (priority, member) < (job.priority, job.id)]
    programs = sum(int(member.rpartition("|")[2]) for member in ahead if "|" in member)
    ids = [member for member in ahead if "|" not in member]
    records = (yield from ask(reads.job_records(keys, ids))) if ids else []
    return programs + sum(
        scene.uses(record).get(pool.name, 0)
        for record in records
        if record is not None and record.state == "ready" and scene.has_idle(record.type)
    )


def _behind(keys: Keys, scene: Scene, job: JobRecord) -> Talk[Obstacle | None]:
    """Jobs that would be reserved before it by workers of its type, unless enough slots are free for all."""
    record = scene.types.get(job.type)
    offers = set(record.offers) & scene.live if record else set[str]()
    slots = sum(scene.idle.get(offer, 0) for offer in offers)
    lines = [
        (keys.ready(other.name, uses), other.name == job.type and job_uses(job) == uses)
        for other in scene.types.values()
        if other.name == job.type or offers & set(other.offers)
        for uses in other.lines
    ]
    commands: list[Command] = [
        ("ZRANK", line, job.id) if own else ("ZCOUNT", line, "-inf", f"({job.priority}") for line, own in lines
    ]
    counts: Read[int] = Read(commands, lambda replies: sum(int(reply or 0) for reply in replies))
    ahead = yield from ask(counts)
    if ahead < slots or not (ahead or offers):
        return None  # it could start; or there is no worker at all, which is said already
    if away := (yield from _away(keys, offers)) if not slots else None:
        return away
    if not ahead:
        return Obstacle(
            "behind", "it is next; every slot of the workers for its type is busy.", "Wait, or start more workers."
        )
    idle = f"{slots} slots of workers for it are idle" if slots else "every slot of the workers for its type is busy"
    action = f"Wait, start more workers, or: seatline jobs move {int(job.id)} --priority 1"
    return Obstacle("behind", f"{ahead} jobs stand before it and {idle}.", action)


def _away(keys: Keys, offers: set[str]) -> Talk[Obstacle | None]:
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
        self._slots = dict(scene.idle)

    def of(self, job: JobRecord) -> str:
        """Return the word: what keeps this job, after those walked before it have taken what they can."""
        if job.state == "scheduled":
            return "retry" if job.error else "due"
        if job.state != "ready":
            return "-"
        if job.expires is not None and job.expires < self._scene.now:
            return "expired"
        if _gates(self._scene, job):
            return "paused"
        if self._scene.opens(job.type):
            return "window"
        if not self._scene.served(job.type):
            return "no-worker"
        uses = self._scene.uses(job)
        if any(name not in self._scene.pools for name in uses):
            return "no-pool"
        if any(self._free[name] < seats for name, seats in uses.items()):
            return "seats"
        offers = [offer for offer in self._scene.types[job.type].offers if self._slots.get(offer, 0) > 0]
        if not offers:
            return "behind"
        self._slots[offers[0]] -= 1
        for name, seats in uses.items():
            self._free[name] -= seats
        return "-"


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
