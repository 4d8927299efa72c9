"""One moment of a namespace: what all its keys held between two scripts.

Scripts are atomic, so whatever is read in one MULTI is a state that really was. Which keys to ask for is known only by
looking: SCAN tells the first of them, and what was read may name more (a job in a line, a line of a type), so the
moment is read again with those until it names nothing that was not asked for. Only the few fields that the checks need
are read of a job, never its params.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seatline.shared.calls.base import Command, Read, text
from seatline.shared.keys import STATES, Keys
from seatline.shared.store import Store

__all__ = ["JOB_FIELDS", "PLACES", "Moment", "names_of", "place_of", "read_moment"]

JOB_FIELDS = (
    "state",
    "type",
    "uses",
    "priority",
    "token",
    "worker",
    "seats",
    "due",
    "finished",
    "submission",
    "expires",
)

SCHEDULE_FIELDS = ("version", "next", "paused", "error", "type", "chain", "after_end", "last_job")

#: Where a job can be, its lines apart, and the state that it then has.
PLACES = {
    "scheduled": "scheduled",
    "running": "running",
    **{f"finished:{state}": state for state in STATES[3:]},
}
_FIXED = frozenset({"about", "seq", "types", "pools", "programs", "schedules", "expiring", *PLACES})
_MANY = 10_000
_ROUNDS = 4
_JOB = re.compile(r"job:(\d{16})", re.ASCII)
_SESSIONS = re.compile(r"pool:([^:]+):sessions")


@dataclass(slots=True)
class Moment:
    """What was read.

    Attributes:
        asked: the keys that were asked for; of others it can say nothing.
        counted: places of which only the number of members is known.
        expiring: until when jobs may start, or None if that was not read.
        sizes: how many members each place has, also where its members were not read.
        kinds: of the keys that there are, (PTTL, the server's complaint that it holds another kind of value or '').

    """

    asked: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    sizes: dict[str, int] = field(default_factory=dict[str, int])

    about: dict[str, str] = field(default_factory=dict[str, str])
    seq: int = 0
    now: int = 0
    places: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    jobs: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    types: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    pools: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    sessions: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    counters: dict[str, int] = field(default_factory=dict[str, int])
    programs: dict[str, float] = field(default_factory=dict[str, float])
    planned: dict[str, float] = field(default_factory=dict[str, float])
    schedules: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    expiring: dict[str, float] | None = None
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    sets: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    events: int = 0
    kinds: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])

    def named(self) -> set[str]:
        """Return the keys that what was read speaks of."""
        jobs = {job_id for members in self.places.values() for job_id in members}
        jobs |= {member.split(":")[1] for _, member in self.job_sessions()}
        jobs |= {value.partition(" ")[0] for value in self.tokens.values()}
        names = {name for name in (f"job:{job_id}" for job_id in jobs) if _JOB.fullmatch(name)}
        names |= {f"token:{job['submission']}" for job in self.jobs.values() if "submission" in job}
        for type_ in self.sets.get("types", ()):
            names |= {f"type:{type_}", f"ready:{type_}"}
            names |= {f"ready:{type_}|{uses}" for uses in self.types.get(type_, {}).get("lines", "").split()}
        names |= {f"schedule:{name}" for name in self.planned if ":" not in name}
        for pool in self.sets.get("pools", ()):
            names |= {f"pool:{pool}", f"pool:{pool}:sessions", f"pool:{pool}:in_use"}
        return names

    def overbooked(self) -> Iterator[str]:
        """Iterate over the pools of which more seats are held than there are: they were lowered, or a grant was wrong."""
        for pool, members in self.sessions.items():
            held = sum(int(seats) for seats in (member.rpartition("|")[2] for member in members) if seats.isdigit())
            if held > int(self.pools.get(pool, {}).get("capacity", "0")):
                yield pool

    def all_lines(self) -> bool:
        """Whether every line that there was has been asked for; a new type may have come while it was read."""
        return all(name in self.asked for name in self.named() if name.startswith("ready:"))

    def job_sessions(self) -> Iterator[tuple[str, str]]:
        """Iterate over the sessions that jobs hold: pool, member."""
        for pool, members in self.sessions.items():
            for member in members:
                if member.startswith("job:"):
                    yield pool, member


def names_of(store: Store) -> set[str]:
    """Return the names of all keys of the namespace, by SCAN: keys that come and go meanwhile may be missing."""
    prefix = store.keys("")
    names: set[str] = set()
    cursor = 0
    while True:
        scan: Command = ("SCAN", cursor, "MATCH", _escaped(prefix) + "*", "COUNT", _MANY)
        cursor, found = store.read(Read([scan], lambda replies: (int(replies[0][0]), replies[0][1])))
        names.update(key.decode("utf-8", "backslashreplace")[len(prefix) :] for key in found)
        if not cursor:
            return names


def read_moment(store: Store, names: set[str], counted: frozenset[str] = frozenset()) -> Moment:
    """Return a moment of these keys and of all that it speaks of.

    The places in ``counted``, and all lines if it has any, are counted and not read.
    """
    asked = names | _FIXED
    moment = _read(store, sorted(asked), counted)
    for _ in range(_ROUNDS):
        more = moment.named() - asked
        if not more:
            break
        asked |= more
        moment = _read(store, sorted(asked), counted)
    return moment


def place_of(job: Mapping[str, str]) -> str:
    """Return the place that a job's fields name."""
    state = job.get("state", "?")
    if state == "ready":
        uses = job.get("uses")
        return f"ready:{job.get('type')}" + ("" if uses is None else f"|{uses}")
    return state if state in PLACES else f"finished:{state}"


def _escaped(prefix: str) -> str:
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix)


def _read(store: Store, names: Sequence[str], counted: frozenset[str]) -> Moment:
    looks = [_look(store.keys, name, counted) for name in names]
    commands: list[Command] = [("MULTI",), ("TIME",)]
    for name, look in zip(names, looks, strict=True):
        commands.append(("PTTL", store.keys(name)))
        if look:
            commands.append(look)
    commands.append(("EXEC",))

    def parse(replies: Sequence[Any]) -> Moment:
        answers = iter(replies[-1])
        seconds, micros = next(answers)
        moment = Moment(
            asked=frozenset(names),
            counted=frozenset(name for name in names if _is_counted(name, counted)),
            now=int(seconds) * 1000 + int(micros) // 1000,
        )
        for name, look in zip(names, looks, strict=True):
            left = next(answers)
            answer = next(answers) if look else None
            wrong = isinstance(answer, Exception)
            if left != -2:  # noqa: PLR2004 - no such key
                moment.kinds[name] = (left, str(answer) if wrong else "")
            if look and not wrong:
                _keep(moment, name, answer)
        return moment

    return store.read(Read(commands, parse))


def _is_counted(name: str, counted: frozenset[str]) -> bool:
    return name in counted or (bool(counted) and name.startswith("ready:"))


def _look(keys: Keys, name: str, counted: frozenset[str]) -> Command | None:
    """Return the command that reads this key, if the checks need what it holds."""
    key, kind = keys(name), name.partition(":")[0]
    if _is_counted(name, counted):
        return ("ZCARD", key)
    if _JOB.fullmatch(name):
        return ("HMGET", key, *JOB_FIELDS)
    if name in PLACES or kind == "ready" or name in {"programs", "schedules"} or _SESSIONS.fullmatch(name):
        return ("ZRANGE", key, 0, -1, "WITHSCORES")
    if name == "expiring":
        return None if counted else ("ZRANGE", key, 0, -1, "WITHSCORES")
    if name in {"types", "pools"}:
        return ("SMEMBERS", key)
    if kind == "schedule":
        return ("HMGET", key, *SCHEDULE_FIELDS)
    if name == "about" or kind == "type" or (kind == "pool" and name.count(":") == 1):
        return ("HGETALL", key)
    if name == "events":
        return ("XLEN", key)
    if name == "seq" or kind == "token" or (kind == "pool" and name.endswith(":in_use")):
        return ("GET", key)
    return None


def _keep(moment: Moment, name: str, answer: Any) -> None:  # noqa: C901, PLR0912 - one line a kind of key
    kind, _, rest = name.partition(":")
    if job := _JOB.fullmatch(name):
        moment.jobs[job[1]] = {
            field_: text(value) for field_, value in zip(JOB_FIELDS, answer, strict=True) if value is not None
        }
    elif name in moment.counted:
        moment.sizes[name] = int(answer)
    elif name in PLACES or kind == "ready":
        moment.places[name] = _scores(answer)
        moment.sizes[name] = len(moment.places[name])
    elif sessions := _SESSIONS.fullmatch(name):
        moment.sessions[sessions[1]] = _scores(answer)
    elif name == "schedules":
        moment.planned = _scores(answer)
    elif kind == "schedule":
        found = zip(SCHEDULE_FIELDS, answer, strict=True)
        moment.schedules[rest] = {field_: text(value) for field_, value in found if value is not None}
    elif name == "programs":
        moment.programs = _scores(answer)
    elif name == "expiring":
        moment.expiring = _scores(answer)
    elif name in {"types", "pools"}:
        moment.sets[name] = {text(member) for member in answer}
    elif name == "about":
        moment.about = _texts(answer)
    elif kind == "type":
        moment.types[rest] = _texts(answer)
    elif name == "events":
        moment.events = int(answer)
    elif answer is None:
        return
    elif name == "seq":
        moment.seq = int(answer)
    elif kind == "token":
        moment.tokens[rest] = text(answer)
    elif name.endswith(":in_use"):
        moment.counters[rest.removesuffix(":in_use")] = int(answer)
    elif answer:
        moment.pools[rest] = _texts(answer)


def _scores(flat: Sequence[bytes]) -> dict[str, float]:
    return {text(member): float(score) for member, score in zip(flat[::2], flat[1::2], strict=True)}


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    return {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
