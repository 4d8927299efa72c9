"""What the next turns of the idle workers would take: whether a job is among it, and how many stand before it (W1, W2).

The server alone decides what starts (``_reserve.lua``, ``_seats.lua``). A viewer may run no script, so here the same is worked
out from what was read at one moment: the lines' heads, the seats, the claims that count, the slots that are free. A property
test holds both against each other.

Words: a *line* is the jobs of a type that use the same; a *claim* is the place of one that could not have its seats, which the
less urgent leave alone while a worker of its type is idle (S6). Approximations: of each line so many heads are looked at as
there are free slots, and :data:`MORE`; of those that are due but in no line yet, the first 100, as a turn does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seatline.producer.why_scene import Scene
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.job import JobRecord, uses_map, uses_text
from seatline.shared.keys import Keys

__all__ = ["Claims", "Turns"]

#: Heads of a line looked at beyond the free slots: some of them may have come too late, or be held by their order.
MORE: Final = 16
#: Waiters of a pool whose claims a script looks at, and jobs that a turn promotes.
CLAIMS_SEEN: Final = 32
PROMOTED: Final = 100
#: Of so many equals a rank is read at once; of more, it is looked for in so many places at a time.
EQUALS: Final = 64

Line = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class _Waiter:
    """A job in a line, or a program, in the line of a pool; ``line`` None: a program. ``held``: its order goes no further."""

    priority: int
    id: str
    line: Line | None
    uses: Mapping[str, int]
    held: bool = False

    @property
    def place(self) -> tuple[int, str]:
        return self.priority, self.id


class Claims:
    """Who has the next claims on the seats of the pools."""

    def __init__(self, scene: Scene, waiting: Mapping[str, Sequence[_Waiter]]) -> None:
        self._scene, self.waiting = scene, waiting

    @classmethod
    def look(cls, keys: Keys, scene: Scene) -> Talk[Claims]:
        """Read what is to be known of those who wait for seats."""
        lines = {name: pool.waiting[:CLAIMS_SEEN] for name, pool in scene.pools.items() if pool.waiting}
        members = [(name, member) for name, line in lines.items() for member, _ in line]
        commands: list[Command] = [
            ("ZSCORE", keys.pool(name, "callers"), member)
            if "|" in member
            else ("HMGET", keys.job(member), "state", "type", "uses")
            for name, member in members
        ]
        replies: Sequence[Any] = (yield from ask(Read(commands, list[Any]))) if commands else []
        told = dict(zip(members, replies, strict=True))
        now = scene.now.timestamp() * 1000
        waiting: dict[str, list[_Waiter]] = {}
        for name, line in lines.items():
            found = waiting.setdefault(name, [])
            for member, priority in line:
                said = told[name, member]
                if "|" in member:
                    if float(said or 0) >= now:
                        found.append(_Waiter(priority, member, None, {name: int(member.rpartition("|")[2])}))
                elif said[0] == b"ready" and said[1]:
                    own = (text(said[1]), None if said[2] is None else text(said[2]))
                    found.append(_Waiter(priority, member, own, _needs(scene, own)))
        return cls(scene, waiting)

    def at_all(self, name: str, priority: int) -> int:
        """Seats of a pool that one of this priority could have if nobody held any."""
        pool = self._scene.pools.get(name)
        if pool is None or pool.refused_until is not None:
            return 0
        return pool.capacity - pool.external - (pool.keep if priority > pool.keep_priority else 0)

    def possible(self, uses: Mapping[str, int], priority: int) -> bool:
        """Whether one of this priority could have all of these if nobody held any."""
        return all(self.at_all(name, priority) >= seats for name, seats in uses.items())

    def counting(self, name: str, line: Iterable[_Waiter], idle: Mapping[str, int]) -> list[_Waiter]:
        """Of those who wait for a pool, whose claims count: of a line of jobs the first, if a worker of its type is idle."""
        headed, found = set[Line](), list[_Waiter]()
        for waiter in line:
            counts = self.possible(waiter.uses, waiter.priority)
            if waiter.line is not None:
                counts = counts and waiter.line not in headed and waiter.uses.get(name, 0) > 0
                counts = counts and self._scene.attended(waiter.line[0], idle)
                headed.add(waiter.line)
            if counts:
                found.append(waiter)
        return found

    def claimed(self, name: str, priority: int, member: str) -> int:
        """Seats of a pool that those before this one claim now."""
        line = self.counting(name, self.waiting.get(name, ()), self._scene.idlers)
        return sum(waiter.uses[name] for waiter in line if waiter.place < (priority, member))


def _needs(scene: Scene, line: Line) -> Mapping[str, int]:
    type_, uses = line
    record = scene.types.get(type_)
    return uses_map(uses if uses is not None else (record.uses if record else None) or "")


class Turns:
    """The turns to come of the idle workers that support a job's type.

    Attributes:
        ahead: how many jobs stand before it, in all lines from which these workers take.
        slots: how many of their slots are free.

    """

    def __init__(
        self, scene: Scene, claims: Claims, job: JobRecord, ahead: int, lines: Mapping[Line, Sequence[_Waiter]]
    ) -> None:
        self._scene, self._claims, self._job, self._lines = scene, claims, job, lines
        self.ahead, self.slots = ahead, sum(sum(scene.free.get(offer, ())) for offer in scene.offers(job.type))

    @classmethod
    def look(cls, keys: Keys, scene: Scene, claims: Claims, job: JobRecord) -> Talk[Turns]:
        """Read the lines in front of a job that is ready, or due."""
        offers = scene.offers(job.type)
        own = (job.type, None if job.uses is None else uses_text(job.uses))
        lines: list[Line] = [
            (record.name, uses)
            for record in scene.types.values()
            if record.name == job.type or (offers & set(record.offers) and not scene.gated(record.name))
            for uses in record.lines
        ]
        before = yield from _before(keys, lines, job)
        slots = sum(sum(scene.free.get(offer, ())) for offer in offers)
        heads: dict[Line, list[tuple[int, str]]] = {own: [(job.priority, job.id)]}
        if slots:
            yield from _heads(keys, [(line, min(before[line], slots + MORE)) for line in lines if before[line]], heads)
            yield from _due(keys, scene, heads, (job.priority, job.id))
        waiters = yield from _waiters(keys, scene, heads, job)
        return cls(scene, claims, job, sum(before.values()), waiters)

    def reach(self, *, alone: bool) -> bool:
        """Whether the idle workers of one of the offers take the job in their next turns.

        Args:
            alone: as if nothing else kept it: no gate before its type, and it needs no seats.

        """
        if self._scene.about.get("paused") and not alone:
            return False
        return any(self._taken(offer, alone=alone) for offer in sorted(self._scene.offers(self._job.type)))

    def _taken(self, offer: str, *, alone: bool) -> bool:
        """Whether the idle workers of an offer take it, one after the other."""
        scene, idle = self._scene, dict(self._scene.idlers)
        lines = {
            line: list(waiters)
            for line, waiters in self._lines.items()
            if offer in scene.types[line[0]].offers
            and ((alone and line[0] == self._job.type) or not scene.gated(line[0]))
        }
        seats = _Seats(scene, self._claims)
        for slots in sorted(scene.free.get(offer, ()), reverse=True):
            idle[offer] -= 1
            taken = self._turn(lines, slots, seats, idle, alone=alone)
            if self._job.id in taken:
                return True
            if len(taken) < slots:
                idle[offer] += 1
        return False

    def _turn(
        self, lines: dict[Line, list[_Waiter]], slots: int, seats: _Seats, idle: Mapping[str, int], *, alone: bool
    ) -> set[str]:
        """Take the best as ``reserve`` does: a line whose head cannot have its seats gives no other either."""
        taken, passed = set[str](), set[Line]()
        seats.begin(idle)
        while len(taken) < slots:
            heads = [(waiters[0].place, line) for line, waiters in lines.items() if waiters and line not in passed]
            if not heads:
                break
            line = min(heads, key=lambda head: head[0])[1]
            waiter = lines[line][0]
            free_of_charge = alone and waiter.id == self._job.id
            if not free_of_charge and not seats.take(waiter):
                passed.add(line)
                continue
            lines[line].pop(0)
            if waiter.held:
                seats.give_back(waiter)
            else:
                taken.add(waiter.id)
        return taken


class _Seats:
    """The seats of all pools while turns go by."""

    def __init__(self, scene: Scene, claims: Claims) -> None:
        self._claims = claims
        self._used = {name: pool.in_use for name, pool in scene.pools.items()}
        self._waiting = {name: list(line) for name, line in claims.waiting.items()}
        self._counting: dict[str, list[_Waiter]] = {}
        self._idle: Mapping[str, int] = {}

    def begin(self, idle: Mapping[str, int]) -> None:
        """A turn begins: these workers are idle, by offer; its own is not."""
        self._counting, self._idle = {}, idle

    def take(self, waiter: _Waiter) -> bool:
        """All its seats or none; who cannot have them claims them, if they can be had at all."""
        if all(self._free(name, waiter) >= seats for name, seats in waiter.uses.items()):
            for name, seats in waiter.uses.items():
                self._used[name] = self._used.get(name, 0) + seats
                for line in (self._waiting.get(name, []), self._counted(name)):
                    line[:] = [other for other in line if other.id != waiter.id]
            return True
        if self._claims.possible(waiter.uses, waiter.priority):
            for name in waiter.uses:
                if all(other.id != waiter.id for other in self._counted(name)):
                    self._counted(name).append(waiter)
                    line = [other for other in self._waiting.get(name, []) if other.id != waiter.id]
                    self._waiting[name] = sorted([*line, waiter], key=lambda other: other.place)
        return False

    def give_back(self, waiter: _Waiter) -> None:
        """It does not start after all."""
        for name, seats in waiter.uses.items():
            self._used[name] -= seats

    def _free(self, name: str, waiter: _Waiter) -> int:
        free = self._claims.at_all(name, waiter.priority) - self._used.get(name, 0)
        return free - sum(other.uses[name] for other in self._counted(name) if other.place < waiter.place)

    def _counted(self, name: str) -> list[_Waiter]:
        if name not in self._counting:
            line = self._waiting.get(name, [])[:CLAIMS_SEEN]
            self._counting[name] = self._claims.counting(name, line, self._idle)
        return self._counting[name]


def _before(keys: Keys, lines: Sequence[Line], job: JobRecord) -> Talk[dict[Line, int]]:
    """Return how many of each line are more urgent, or as urgent and came before it."""
    if not lines:
        return {}
    names = [keys.ready(*line) for line in lines]
    commands: list[Command] = [
        ("ZCOUNT", name, "-inf", most) for name in names for most in (f"({job.priority}", job.priority)
    ]
    counts = yield from ask(Read(commands, lambda replies: [int(reply) for reply in replies]))
    ranks = {line: (counts[2 * i], counts[2 * i + 1]) for i, line in enumerate(lines)}
    # Among equals ids decide, which stand in order: those before it are looked for, in all lines at once.
    while unsure := [line for line, (low, high) in ranks.items() if low < high]:
        probes: list[tuple[Line, int, int]] = []
        for line in unsure:
            low, high = ranks[line]
            step = max(1, -(-(high - low) // EQUALS))
            probes += [(line, at, step) for at in range(low, high, step)]
        looks: list[Command] = [("ZRANGE", keys.ready(*line), at, at) for line, at, _ in probes]
        found = yield from ask(Read(looks, list[Any]))
        for line in unsure:
            low, high = ranks[line]
            mine = [(at, step, reply) for (other, at, step), reply in zip(probes, found, strict=True) if other == line]
            smaller = [at for at, _, reply in mine if reply and text(reply[0]) < job.id]
            if mine[0][1] == 1:
                ranks[line] = (low + len(smaller), low + len(smaller))
            elif smaller:
                ranks[line] = (smaller[-1] + 1, min(high, smaller[-1] + mine[0][1]))
            else:
                ranks[line] = (low, low)
    return {line: low for line, (low, _) in ranks.items()}


def _heads(keys: Keys, wanted: Sequence[tuple[Line, int]], heads: dict[Line, list[tuple[int, str]]]) -> Talk[None]:
    """Add the heads of these lines, so many of each."""
    if not wanted:
        return
    commands: list[Command] = [("ZRANGE", keys.ready(*line), 0, count - 1, "WITHSCORES") for line, count in wanted]
    replies = yield from ask(Read(commands, list[Any]))
    for (line, _), flat in zip(wanted, replies, strict=True):
        pairs = zip(flat[::2], flat[1::2], strict=True)
        heads.setdefault(line, []).extend((int(float(score)), text(member)) for member, score in pairs)


def _due(keys: Keys, scene: Scene, heads: dict[Line, list[tuple[int, str]]], place: tuple[int, str]) -> Talk[None]:
    """Add those that are due but stand in no line yet: a turn promotes them first (T3)."""
    page: Command = ("ZRANGE", keys("scheduled"), 0, PROMOTED - 1, "WITHSCORES")
    flat = yield from ask(Read([page], lambda replies: replies[0]))
    now = scene.now.timestamp() * 1000
    ids = [text(member) for member, due in zip(flat[::2], flat[1::2], strict=True) if float(due) <= now]
    commands: list[Command] = [("HMGET", keys.job(each), "type", "uses", "priority") for each in ids]
    replies = (yield from ask(Read(commands, list[Any]))) if ids else []
    for each, (type_, uses, priority) in zip(ids, replies, strict=True):
        if type_ is not None and priority is not None and text(type_) in scene.types and (int(priority), each) < place:
            line = (text(type_), None if uses is None else text(uses))
            heads.setdefault(line, []).append((int(priority), each))


def _waiters(
    keys: Keys, scene: Scene, heads: Mapping[Line, Sequence[tuple[int, str]]], job: JobRecord
) -> Talk[dict[Line, list[_Waiter]]]:
    """Return the heads with what a turn would find of them, each line in its order; those that come too late are gone."""
    ids = sorted({each for line in heads.values() for _, each in line if each != job.id})
    fields = ("expires", "order", "step", "element", "chain")
    commands: list[Command] = [("HMGET", keys.job(each), *fields) for each in ids]
    told = dict(zip(ids, (yield from ask(Read(commands, list[Any]))) if ids else [], strict=True))
    stopped = yield from _stopped(keys, told)
    now = scene.now.timestamp() * 1000
    lines: dict[Line, list[_Waiter]] = {}
    for line, members in heads.items():
        uses = _needs(scene, line)
        for priority, each in sorted(members):
            expires = told[each][0] if each in told else None
            if not expires or int(expires) >= now:
                lines.setdefault(line, []).append(_Waiter(priority, each, line, uses, each in stopped))
    return lines


def _stopped(keys: Keys, told: Mapping[str, Sequence[bytes | None]]) -> Talk[set[str]]:
    """Return the jobs whose order goes no further: their step is stopped, so they are collected when their turn comes (O11)."""
    steps = {
        each: (text(fields[4]), text(fields[2]))
        for each, fields in told.items()
        if fields[1] is not None and fields[2] is not None and fields[3] is None and fields[4] is not None
    }
    places = sorted(set(steps.values()))
    commands: list[Command] = [("HMGET", keys.chain(chain), f"stop.{step}", f"skip.{step}") for chain, step in places]
    replies = (yield from ask(Read(commands, list[Any]))) if places else []
    shut = {place for place, gates in zip(places, replies, strict=True) if any(gate is not None for gate in gates)}
    return {each for each, place in steps.items() if place in shut}
