"""One moment of a namespace: what all its keys held between two scripts.

Scripts are atomic, so whatever is read in one MULTI is a state that really was. Which keys to ask for is known only by
looking: SCAN tells the first of them, and what was read may name more (a job in a line, a line of a type), so the
moment is read again with those until it names nothing that was not asked for. Only the few fields that the checks need
are read of a job, never its params.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seatline.shared.calls.base import Command, Read, text
from seatline.shared.keys import STATES, Keys
from seatline.shared.order import ORDER_STATES
from seatline.shared.store import Store

__all__ = [
    "EACH_FIELDS",
    "JOB_FIELDS",
    "ORDER_FIELDS",
    "PLACES",
    "Elements",
    "Moment",
    "names_of",
    "number",
    "order_of",
    "place_of",
    "read_moment",
]

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
    "order",
    "step",
    "element",
    "unique",
    "supersede",
    "gathers",
)

SCHEDULE_FIELDS = ("version", "next", "paused", "error", "type", "chain", "after_end", "last_job")
ORDER_FIELDS = ("number", "chain", "version", "state", "priority", "now", "odd", "finished", "leaving", "eached")
EACH_FIELDS = ("count", "next", "done", "failed")

#: Where a job can be, its lines apart, and the state that it then has.
PLACES = {
    "scheduled": "scheduled",
    "running": "running",
    **{f"finished:{state}": state for state in STATES[3:]},
}
_ORDER_PLACES = frozenset(f"orders:{state}" for state in ORDER_STATES)
_FIXED = frozenset(
    {
        "about",
        "seq",
        "types",
        "pools",
        "programs",
        "schedules",
        "expiring",
        "chains",
        "triggers",
        *PLACES,
        *_ORDER_PLACES,
    }
)
#: Keys that one SCAN looks at: few enough that nobody waits for it.
_MANY = 2_000
_ROUNDS = 4
_JOB = re.compile(r"job:(\d{16})", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,16}", re.ASCII)
_SESSIONS = re.compile(r"pool:([^:]+):sessions")
_CHAIN_LINE = re.compile(r"chain:[^:]+:(started|waiting|held:[^:]+)")
_SETS = frozenset({"types", "pools", "chains", "triggers"})
_PLAN = re.compile(r"chain:[^:]+:\d+", re.ASCII)


@dataclass(slots=True)
class Elements:
    """A step that runs for each element of a list: its fields, its jobs (-> index), the elements to be run again."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    jobs: dict[str, float] = field(default_factory=dict[str, float])
    bad: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(slots=True)
class Moment:
    """What was read.

    Attributes:
        asked: the keys that were asked for; of others it can say nothing.
        counted: places of which only the number of members is known.
        expiring: until when jobs that were asked for may start, or None if that was not read.
        keyed: ``unique:<key>`` and ``newest:<key>`` -> the job that these stand for.
        seq_text: what ``seq`` holds, None: nothing.
        sizes: how many members each place has, also where its members were not read; places of orders and lines of chains
            are among them.
        order_places: members of ``orders:<state>`` and of the lines of chains, which are order ids or end with one.
        lists: (order, step) -> its elements, where a step runs for each.
        kinds: of the keys that there are, (PTTL, the kind of value).

    """

    asked: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    sizes: dict[str, int] = field(default_factory=dict[str, int])

    about: dict[str, str] = field(default_factory=dict[str, str])
    seq: int = 0
    seq_text: str | None = None
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
    keyed: dict[str, str] = field(default_factory=dict[str, str])
    orders: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    order_places: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    lists: dict[tuple[str, str], Elements] = field(default_factory=dict[tuple[str, str], Elements])
    chains: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    plans: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    sets: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    events: int = 0
    kinds: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])

    def named(self) -> set[str]:
        """Return the keys that what was read speaks of."""
        jobs = {job_id for members in self.places.values() for job_id in members}
        jobs |= {member.split(":")[1] for _, member in self.job_sessions()}
        jobs |= {value.partition(" ")[0] for value in self.tokens.values()} | set(self.keyed.values())
        names = {name for name in (f"job:{job_id}" for job_id in jobs) if _JOB.fullmatch(name)}
        names |= {f"token:{job['submission']}" for job in self.jobs.values() if "submission" in job}
        names |= {f"unique:{job['unique']}" for job in self.jobs.values() if "unique" in job}
        names |= {f"trigger:{event}" for event in self.sets.get("triggers", ())}
        for type_ in self.sets.get("types", ()):
            names |= {f"type:{type_}", f"ready:{type_}"}
            names |= {f"ready:{type_}|{uses}" for uses in self.types.get(type_, {}).get("lines", "").split()}
        names |= {f"schedule:{name}" for name in self.planned if ":" not in name}
        events = {name.removeprefix("event:") for name in self.planned if name.startswith("event:")}
        events |= {name.removeprefix("happened:") for name in self.kinds if name.startswith("happened:")}
        names |= {f"{kind}:{event}" for event in events for kind in ("happened", "trigger")}
        pools = {entry.partition("|")[0] for entry in self.programs} - {""}
        for pool in self.sets.get("pools", set[str]()) | pools | set(self.sessions):
            names |= {f"pool:{pool}", f"pool:{pool}:sessions", f"pool:{pool}:in_use"}
        return names | self._named_of_orders()

    def _named_of_orders(self) -> set[str]:
        names = {
            f"order:{order_of(place, member)[0]}" for place, found in self.order_places.items() for member in found
        }
        names |= {f"order:{job['order']}" for job in self.jobs.values() if "order" in job}
        for order_id, order in self.orders.items():
            names |= {f"job:{job_id}" for job_id in self.jobs_of(order_id)}
            for step in order.get("eached", "").split():
                names |= {f"order:{order_id}:each:{step}{part}" for part in ("", ":jobs", ":bad")}
            if "chain" in order and "version" in order:
                names.add(f"chain:{order['chain']}:{order['version']}")
                names |= _lines_of(order["chain"], (pair.partition("=")[0] for pair in order.get("now", "").split()))
        for chain in self.sets.get("chains", ()):
            fields = self.chains.get(chain, {})
            stops = (name.removeprefix("stop.") for name in fields if name.startswith("stop."))
            names |= _lines_of(chain, [*stops, *fields.get("opening", "").split()])
            names |= {f"chain:{chain}", *([f"chain:{chain}:{fields['version']}"] if "version" in fields else [])}
        return names

    def jobs_of(self, order_id: str) -> Iterator[str]:
        """Iterate over the jobs that an order names, and those of its elements."""
        for pair in self.orders.get(order_id, {}).get("now", "").split():
            word = pair.partition("=")[2]
            if _JOB.fullmatch(f"job:{word}"):
                yield word
        for step in self.orders.get(order_id, {}).get("eached", "").split():
            yield from self.lists.get((order_id, step), Elements()).jobs

    def overbooked(self) -> Iterator[str]:
        """Iterate over the pools of which more seats are held than there are: they were lowered, or a grant was wrong."""
        for pool, members in self.sessions.items():
            held = sum(int(seats) for seats in (member.rpartition("|")[2] for member in members) if seats.isdigit())
            if pool in self.pools and held > number(self.pools[pool].get("capacity")):
                yield pool

    def all_lines(self) -> bool:
        """Whether every line that there was has been asked for; a new type may have come while it was read."""
        return all(name in self.asked for name in self.named() if name.startswith("ready:"))

    def all_chains(self) -> bool:
        """Whether every chain, version and line of a chain that there was has been asked for."""
        return all(name in self.asked for name in self.named() if name.startswith("chain:"))

    def all_orders(self) -> bool:
        """Whether every order that stood somewhere has been asked for."""
        places = ((place, member) for place, found in self.order_places.items() for member in found)
        return all(f"order:{order_of(place, member)[0]}" in self.asked for place, member in places)

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


def order_of(place: str, member: str) -> tuple[str, str]:
    """Return the id of the order that a member of such a place stands for, and its number if that is said there."""
    if place.startswith("orders:") or place.split(":")[2] == "started":
        return member, ""
    number, _, order_id = member.partition(" ")
    return order_id, number


def number(value: str | None, otherwise: float = 0) -> float:
    """Return the whole number that a text is; ``otherwise`` if it is none: a damaged record is told of elsewhere."""
    return int(value) if value is not None and _NUMBER.fullmatch(value) else otherwise


def _lines_of(chain: str, steps: Iterable[str]) -> set[str]:
    own = f"chain:{chain}"
    return {f"{own}:started", f"{own}:waiting", *(f"{own}:held:{step}" for step in steps)}


def _escaped(prefix: str) -> str:
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix)


def _read(store: Store, names: Sequence[str], counted: frozenset[str]) -> Moment:
    jobs = [match[1] for match in map(_JOB.fullmatch, names) if match]
    looks = [_look(store.keys, name, counted, jobs) for name in names]
    commands: list[Command] = [("MULTI",), ("TIME",)]
    for name, look in zip(names, looks, strict=True):
        commands += [("PTTL", store.keys(name)), ("TYPE", store.keys(name))]
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
            left, kind = next(answers), text(next(answers))
            answer = next(answers) if look else None
            if kind != "none":
                moment.kinds[name] = (left, kind)
            if look and name == "expiring":
                moment.expiring = _limits(jobs, answer)
            elif look and not isinstance(answer, Exception):
                _keep(moment, name, answer)
        return moment

    return store.read(Read(commands, parse))


def _is_counted(name: str, counted: frozenset[str]) -> bool:
    return name in counted or (bool(counted) and (name.startswith(("ready:", "orders:")) or _is_line(name)))


def _is_line(name: str) -> bool:
    return _CHAIN_LINE.fullmatch(name) is not None


def _look(keys: Keys, name: str, counted: frozenset[str], jobs: Sequence[str]) -> Command | None:
    """Return the command that reads this key, if the checks need what it holds."""
    key, kind = keys(name), name.partition(":")[0]
    if _is_counted(name, counted):
        return ("ZCARD", key)
    if _JOB.fullmatch(name):
        return ("HMGET", key, *JOB_FIELDS)
    if kind == "order":
        return _look_order(key, name)
    if (
        name in PLACES
        or kind in {"ready", "orders"}
        or _is_line(name)
        or name in {"programs", "schedules"}
        or _SESSIONS.fullmatch(name)
    ):
        return ("ZRANGE", key, 0, -1, "WITHSCORES")
    if name == "expiring":
        return None if counted or not jobs else ("ZMSCORE", key, *jobs)  # ended ones stand there too
    if name in _SETS:
        return ("SMEMBERS", key)
    if kind == "schedule":
        return ("HMGET", key, *SCHEDULE_FIELDS)
    if name == "about" or kind in {"type", "chain"} or (kind == "pool" and name.count(":") == 1):
        return ("HGETALL", key)
    if name == "events":
        return ("XLEN", key)
    if name == "seq" or kind in {"token", "unique", "newest"} or (kind == "pool" and name.endswith(":in_use")):
        return ("GET", key)
    return None


def _look_order(key: str, name: str) -> Command | None:
    parts = name.split(":")
    if len(parts) == 2:  # noqa: PLR2004 - order:<id>
        return ("HMGET", key, *ORDER_FIELDS)
    if parts[2] != "each":
        return None
    return ("HMGET", key, *EACH_FIELDS) if parts[3:] == parts[-1:] else ("ZRANGE", key, 0, -1, "WITHSCORES")


def _keep_order(moment: Moment, name: str, answer: Any) -> None:
    order_id, *parts = name.split(":")[1:]
    if not parts:
        moment.orders[order_id] = _fields(ORDER_FIELDS, answer)
        return
    found = moment.lists.setdefault((order_id, parts[1]), Elements())
    if parts[2:] == ["jobs"]:
        found.jobs = _scores(answer)
    elif parts[2:]:
        found.bad = _scores(answer)
    else:
        found.fields = _fields(EACH_FIELDS, answer)


def _keep(moment: Moment, name: str, answer: Any) -> None:  # noqa: C901, PLR0912 - one line a kind of key
    kind, _, rest = name.partition(":")
    if job := _JOB.fullmatch(name):
        moment.jobs[job[1]] = _fields(JOB_FIELDS, answer)
    elif name in moment.counted:
        moment.sizes[name] = int(answer)
    elif kind == "order":
        _keep_order(moment, name, answer)
    elif kind == "orders" or _is_line(name):
        moment.order_places[name] = _scores(answer)
        moment.sizes[name] = len(moment.order_places[name])
    elif _PLAN.fullmatch(name):
        moment.plans[name] = _texts(answer)
    elif kind == "chain":
        moment.chains[rest] = _texts(answer)
    elif name in PLACES or kind == "ready":
        moment.places[name] = _scores(answer)
        moment.sizes[name] = len(moment.places[name])
    elif sessions := _SESSIONS.fullmatch(name):
        moment.sessions[sessions[1]] = _scores(answer)
    elif name == "schedules":
        moment.planned = _scores(answer)
    elif kind == "schedule":
        moment.schedules[rest] = _fields(SCHEDULE_FIELDS, answer)
    elif name == "programs":
        moment.programs = _scores(answer)
    elif name in _SETS:
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
        moment.seq_text = text(answer)
        moment.seq = int(number(moment.seq_text))
    elif kind in {"unique", "newest"}:
        moment.keyed[name] = text(answer)
    elif kind == "token":
        moment.tokens[rest] = text(answer)
    elif name.endswith(":in_use"):
        moment.counters[rest.removesuffix(":in_use")] = int(number(text(answer), -1))
    elif answer:
        moment.pools[rest] = _texts(answer)


def _fields(names: Sequence[str], answer: Sequence[bytes | None]) -> dict[str, str]:
    return {name: text(value) for name, value in zip(names, answer, strict=True) if value is not None}


def _limits(jobs: Sequence[str], answer: Any) -> dict[str, float]:
    if isinstance(answer, Exception):
        return {}
    return {job: float(score) for job, score in zip(jobs, answer, strict=True) if score is not None}


def _scores(flat: Sequence[bytes]) -> dict[str, float]:
    return {text(member): float(score) for member, score in zip(flat[::2], flat[1::2], strict=True)}


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    return {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
