"""One moment of a namespace: what all its keys held between two scripts.

Scripts are atomic, so whatever is read in one MULTI is a state that really was. Which keys to ask for is known only by
looking: SCAN tells the first of them, and what was read may name more (a job in a line, a line of a type), so the
moment is read again with those until it names nothing that was not asked for. Only the few fields that the checks need
are read of a job, never its params.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from seatline.shared.calls.base import Command, Read, text
from seatline.shared.keys import STATES, Keys
from seatline.shared.store import Store

__all__ = ["JOB_FIELDS", "PLACES", "Moment", "names_of", "read_moment"]

JOB_FIELDS = ("state", "type", "uses", "priority", "token", "worker", "seats", "due", "finished", "submission")

#: Where a job can be, its lines apart, and the state that it then has.
PLACES = {
    "scheduled": "scheduled",
    "running": "running",
    **{f"finished:{state}": state for state in STATES[3:]},
}
_FIXED = frozenset({"about", "seq", "types", "pools", "programs", *PLACES})
_MANY = 10_000
_ROUNDS = 8
_JOB = re.compile(r"job:(\d{16})", re.ASCII)
_POOL_PART = re.compile(r"pool:([^:]+):(sessions|waiting)")


@dataclass(slots=True)
class Moment:
    """What was read: ``kinds`` name -> (PTTL, the server's complaint that it holds something else or '')."""

    about: dict[str, str] = field(default_factory=dict[str, str])
    seq: int = 0
    now: int = 0
    places: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    jobs: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    types: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    pools: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    sessions: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    waiting: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    counters: dict[str, int] = field(default_factory=dict[str, int])
    programs: dict[str, float] = field(default_factory=dict[str, float])
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    sets: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    events: int = 0
    kinds: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])

    def named(self) -> set[str]:
        """Return the keys that what was read speaks of."""
        names = {f"job:{job_id}" for members in self.places.values() for job_id in members}
        names |= {f"job:{member.split(':')[1]}" for _, member in self.job_sessions()}
        names |= {f"job:{value.split(' ')[0]}" for value in self.tokens.values()}
        names = {name for name in names if _JOB.fullmatch(name)}
        for type_ in self.sets.get("types", ()):
            names |= {f"type:{type_}", f"ready:{type_}"}
            names |= {f"ready:{type_}|{uses}" for uses in self.types.get(type_, {}).get("lines", "").split()}
        for pool in self.sets.get("pools", ()):
            names |= {f"pool:{pool}", f"pool:{pool}:sessions", f"pool:{pool}:waiting", f"pool:{pool}:in_use"}
        return names

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


def read_moment(store: Store, names: set[str]) -> Moment:
    """Return a moment of these keys and of all that it speaks of."""
    asked = names | _FIXED
    moment = _read(store, sorted(asked))
    for _ in range(_ROUNDS):
        more = moment.named() - asked
        if not more:
            break
        asked |= more
        moment = _read(store, sorted(asked))
    return moment


def _escaped(prefix: str) -> str:
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix)


def _read(store: Store, names: Sequence[str]) -> Moment:
    looks = [_look(store.keys, name) for name in names]
    commands: list[Command] = [("MULTI",), ("TIME",)]
    for name, look in zip(names, looks, strict=True):
        commands.append(("PTTL", store.keys(name)))
        if look:
            commands.append(look)
    commands.append(("EXEC",))

    def parse(replies: Sequence[Any]) -> Moment:
        answers = iter(replies[-1])
        seconds, micros = next(answers)
        moment = Moment(now=int(seconds) * 1000 + int(micros) // 1000)
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


def _look(keys: Keys, name: str) -> Command | None:
    """Return the command that reads this key, if the checks need what it holds."""
    key, kind = keys(name), name.partition(":")[0]
    if _JOB.fullmatch(name):
        return ("HMGET", key, *JOB_FIELDS)
    if name in PLACES or kind == "ready" or name == "programs" or _POOL_PART.fullmatch(name):
        return ("ZRANGE", key, 0, -1, "WITHSCORES")
    if name in {"types", "pools"}:
        return ("SMEMBERS", key)
    if name == "about" or kind == "type" or (kind == "pool" and name.count(":") == 1):
        return ("HGETALL", key)
    if name == "events":
        return ("XLEN", key)
    if name == "seq" or kind == "token" or (kind == "pool" and name.endswith(":in_use")):
        return ("GET", key)
    return None


def _keep(moment: Moment, name: str, answer: Any) -> None:  # noqa: PLR0912 - one line a kind of key
    kind, _, rest = name.partition(":")
    if job := _JOB.fullmatch(name):
        moment.jobs[job[1]] = {
            field_: text(value) for field_, value in zip(JOB_FIELDS, answer, strict=True) if value is not None
        }
    elif name in PLACES or kind == "ready":
        moment.places[name] = _scores(answer)
    elif part := _POOL_PART.fullmatch(name):
        (moment.sessions if part[2] == "sessions" else moment.waiting)[part[1]] = _scores(answer)
    elif name == "programs":
        moment.programs = _scores(answer)
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
