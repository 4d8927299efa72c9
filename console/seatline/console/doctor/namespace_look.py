"""What ``seatline doctor`` reads of a namespace: plain reads, a few exchanges, each bounded however much there is.

Places are counted, never read whole; of types, pools, chains, workers and schedules it looks at so many at most, and says
so if there are more. Nothing is read in a MULTI: a full server before Redis 7.2 would refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from seatline.console.oldest import oldest_of
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.calls.reads import PoolRecord, TypeRecord
from seatline.shared.job import uses_map
from seatline.shared.keys import PATTERNS, SCHEMA
from seatline.shared.store import Store

__all__ = ["KeySample", "NamespaceFacts", "Need", "Planned", "SeenWorker", "TypeFacts", "look_at_namespace"]

#: Types, pools, offers, chains and workers that are looked at, at most.
MOST: Final = 1_000
#: What is late by less may just be under way: two renewals and a second look (ms).
LATE: Final = 60_000
DAY: Final = 86_400_000
#: Ids that a finding names, at most.
EXAMPLES: Final = 3
_PLANS: Final = 50
#: So many keys are walked at most, in bites that hold the server up for a millisecond or two.
_SCANS, _SCAN = 5, 1_000
_WORKER: Final = ("state", "version", "overdue", "host", "pid", "seen")
_KNOWN: Final = re.compile("|".join(f"(?:{pattern})" for pattern in PATTERNS))
_EXPIRES: Final = re.compile("|".join(f"(?:{pattern})" for pattern, form in PATTERNS.items() if form == "expires"))
_PART: Final = re.compile(r"((?:job|order|load|chain|pool):[^:]+):.+")


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """A type: how many wait, since when the oldest does (epoch ms), whether a live worker supports it."""

    record: TypeRecord
    waiting: int = 0
    oldest: int | None = None
    served: bool = False


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker: until when it counts as live (epoch ms), and what it said of itself last."""

    id: str
    until: int
    said: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Need:
    """Who wants seats of a pool: ``whose`` in words, how many, and whether a job waits for them now."""

    pool: str
    whose: str
    seats: int
    waiting: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule whose moment has passed (epoch ms), or one that cannot be computed (``error``)."""

    name: str
    next: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class KeySample:
    """Keys looked at: how many of this namespace, whether those are all, and the names of those without an owner."""

    looked: int
    all: bool
    ownerless: Sequence[str]


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """What is known of a namespace; moments are epoch ms by the server's clock.

    Attributes:
        now: the server's clock.
        about: its own hash, and since when it is paused.
        types, workers, pools, needs: see their classes.
        cut: what there is more of than was looked at.
        running: jobs that run.
        late_leases: those of them whose lease ran out over a minute ago.
        late_seats: seats held over a minute past their term: pool -> owners.
        due: waiting jobs that were due over a minute ago, and since when the first.
        plans: schedules that are late or broken.
        orders: how many are suspended and failed, and a few ids of each.
        ended: how many jobs are interrupted, and have failed in the last day.
        newest_event: the moment of the last transition.
        keys: a sample; None: this login may not walk them.

    """

    now: int
    about: Mapping[str, str] = field(default_factory=dict[str, str])
    types: Sequence[TypeFacts] = ()
    workers: Sequence[SeenWorker] = ()
    pools: Mapping[str, PoolRecord] = field(default_factory=dict[str, PoolRecord])
    needs: Sequence[Need] = ()
    cut: Sequence[str] = ()
    running: int = 0
    late_leases: int = 0
    late_seats: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    due: tuple[int, int] = (0, 0)
    plans: Sequence[Planned] = ()
    orders: Mapping[str, tuple[int, Sequence[str]]] = field(default_factory=dict[str, tuple[int, Sequence[str]]])
    ended: Mapping[str, int] = field(default_factory=dict[str, int])
    newest_event: int | None = None
    keys: KeySample | None = None

    @property
    def live(self) -> list[SeenWorker]:
        """Workers that have been heard of in time."""
        return [worker for worker in self.workers if worker.until >= self.now]

    @property
    def newer(self) -> bool:
        """Whether a newer Seatline has written it: nothing but that is known then."""
        layout = self.about.get("schema", "")
        return layout.isdecimal() and int(layout) > SCHEMA


def look_at_namespace(store: Store) -> NamespaceFacts:
    """Look at the namespace of this store."""
    keys, now = store.keys, store.read(reads.server_time())
    about = store.read(reads.about(keys)).fields
    if NamespaceFacts(now, about).newer:
        return NamespaceFacts(now, about)
    cut: list[str] = []
    first = store.read(_first(store, now))
    names = {what: sorted(text(each) for each in said[1]) for what, said in zip(_SETS, first, strict=False)}
    cut += [what for what, said in zip(_SETS, first, strict=False) if int(said[0])]
    listed, running, leases, due, plans, *counts, newest = first[len(_SETS) :]
    workers, live_offers, planned = _second(store, names["offers"], listed, plans)
    if len(workers) == MOST:
        cut.append("workers")
    known = store.read(reads.type_records(keys, names["types"])) if names["types"] else []
    types, lines = _types(store, known, live_offers)
    pools = {record.name: record for record in store.read(reads.pool_records(keys, names["pools"])) if record}
    needs = [*_needs_of_types(types), *_needs_of_lines(lines), *_needs_of_chains(store, names["chains"])]
    return NamespaceFacts(
        now=now,
        about=about,
        types=types,
        workers=workers,
        pools=pools,
        needs=needs,
        cut=cut,
        running=running,
        late_leases=leases,
        late_seats={name: late for name, record in pools.items() if (late := _late(record, now))},
        due=(counts[0], int(float(due[1])) if due else 0),
        plans=planned,
        orders={
            "suspended": (counts[1], [text(each) for each in counts[2]]),
            "failed": (counts[3], [text(each) for each in counts[4]]),
        },
        ended={"interrupted": counts[5], "failed": counts[6]},
        newest_event=int(text(newest[0][0]).partition("-")[0]) if newest else None,
        keys=_sample(store),
    )


_SETS: Final = ("types", "pools", "offers", "chains")


def _first(store: Store, now: int) -> Read[list[Any]]:
    keys = store.keys
    commands: list[Command] = [("SSCAN", keys(name), 0, "COUNT", MOST) for name in _SETS]
    commands += [
        ("ZREVRANGE", keys("workers"), 0, MOST - 1, "WITHSCORES"),
        ("ZCARD", keys("running")),
        ("ZCOUNT", keys("running"), "-inf", now - LATE),
        ("ZRANGE", keys("scheduled"), 0, 0, "WITHSCORES"),
        ("ZRANGEBYSCORE", keys("schedules"), "-inf", now - LATE, "WITHSCORES", "LIMIT", 0, _PLANS),
        ("ZCOUNT", keys("scheduled"), "-inf", now - LATE),
        ("ZCARD", keys("orders:suspended")),
        ("ZRANGE", keys("orders:suspended"), 0, EXAMPLES - 1),
        ("ZCARD", keys("orders:failed")),
        ("ZREVRANGE", keys("orders:failed"), 0, EXAMPLES - 1),
        ("ZCARD", keys("finished:interrupted")),
        ("ZCOUNT", keys("finished:failed"), now - DAY, "+inf"),
        ("XREVRANGE", keys("events"), "+", "-", "COUNT", 1),
    ]
    return Read(commands, list[Any])


def _second(
    store: Store, offers: Sequence[str], listed: Sequence[bytes], plans: Sequence[bytes]
) -> tuple[list[SeenWorker], set[str], list[Planned]]:
    """Read workers, which offers live, and the schedules that are late, in one exchange."""
    keys = store.keys
    pairs = [(text(listed[i]), int(float(listed[i + 1]))) for i in range(0, len(listed), 2)]
    late = [(text(plans[i]), int(float(plans[i + 1]))) for i in range(0, len(plans), 2)]
    late = [(name, at) for name, at in late if ":" not in name]  # windows, chains and events are planned there too
    commands: list[Command] = [("HMGET", keys(f"worker:{worker}"), *_WORKER) for worker, _ in pairs]
    commands += [("EXISTS", keys(f"offer:{offer}")) for offer in offers]
    commands += [("HMGET", keys(f"schedule:{name}"), "paused", "error") for name, _ in late]
    said = store.read(Read(commands, list[Any])) if commands else []
    workers = [
        SeenWorker(worker, until, {name: text(value) for name, value in zip(_WORKER, values, strict=True) if value})
        for (worker, until), values in zip(pairs, said, strict=False)
    ]
    live = {offer for offer, there in zip(offers, said[len(pairs) :], strict=False) if there}
    planned = [
        Planned(name, at, text(error) if error else "")
        for (name, at), (paused, error) in zip(late, said[len(pairs) + len(offers) :], strict=True)
        if not paused
    ]
    return workers, live, planned


Lines = list[tuple[TypeRecord, str | None, int]]


def _types(store: Store, known: Sequence[TypeRecord], live_offers: set[str]) -> tuple[list[TypeFacts], Lines]:
    keys = store.keys
    all_lines = [(record, uses, keys.ready(record.name, uses)) for record in known for uses in record.lines]
    cards: list[Command] = [("ZCARD", key) for _, _, key in all_lines]
    counts: list[int] = store.read(Read(cards, list[Any])) if cards else []
    filled = [(each, count) for each, count in zip(all_lines, counts, strict=True) if count]
    oldest = oldest_of(store, [key for (_, _, key), _ in filled])
    types: list[TypeFacts] = []
    for record in known:
        mine = [(key, count) for (of, _, key), count in filled if of is record]
        since = min((oldest[key] for key, _ in mine if key in oldest), default=None)
        types.append(
            TypeFacts(
                record,
                sum(count for _, count in mine),
                None if since is None else int(since.timestamp() * 1000),
                any(offer in live_offers for offer in record.offers),
            )
        )
    return types, [(record, uses, count) for (record, uses, _), count in filled]


def _late(pool: PoolRecord, now: int) -> list[str]:
    """Owners of seats that should have renewed them long ago."""
    return [
        f"{session.kind} {session.name.lstrip('0') or session.name}"
        for session in pool.holders
        if session.until.timestamp() * 1000 < now - LATE
    ]


# -- who wants seats


def _needs_of_types(types: Sequence[TypeFacts]) -> Iterator[Need]:
    for each in types:
        for pool, seats in uses_map(each.record.uses or "").items():
            yield Need(pool, f"type {each.record.name}", seats, bool(each.waiting))


def _needs_of_lines(lines: Lines) -> Iterator[Need]:
    """Jobs that say themselves what they use."""
    for record, uses, count in lines:
        for pool, seats in uses_map(uses or "").items():
            yield Need(pool, f"{count:,} job{'' if count == 1 else 's'} of type {record.name}", seats, True)


def _needs_of_chains(store: Store, chains: Sequence[str]) -> Iterator[Need]:
    """Steps of the newest version of each chain that say what they use."""
    keys = store.keys
    if not chains:
        return
    newest: list[Command] = [("HGET", keys.chain(name), "version") for name in chains]
    versions = store.read(Read(newest, list[Any]))
    there = [(name, text(version)) for name, version in zip(chains, versions, strict=True) if version]
    plans: list[Command] = [("HGETALL", keys.chain(name, version)) for name, version in there]
    for (name, _), flat in zip(there, store.read(Read(plans, list[Any])) if plans else [], strict=True):
        for field_, value in zip(flat[::2], flat[1::2], strict=True):
            if text(field_).startswith("step."):
                parts = (word.partition("=") for word in text(value).split())
                uses = next((told for what, _, told in parts if what == "uses"), "")
                for pool, seats in uses_map(uses).items():
                    yield Need(pool, f"step {text(field_)[5:]} of chain {name}", seats, False)


# -- keys


def _sample(store: Store) -> KeySample | None:
    """Walk some keys, and look whose they are; whoever seems without an owner is looked at twice."""
    prefix, cursor, looked = store.keys(""), 0, set[str]()
    pattern = re.sub(r"([\[\]*?\\])", r"\\\1", prefix) + "*"
    for _ in range(_SCANS):
        scan: Command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)
        (said,) = store.read(Read([scan], list[Any], lenient=True))
        if isinstance(said, Exception):
            return None
        cursor = int(said[0])
        looked |= {key.decode("utf-8", "backslashreplace")[len(prefix) :] for key in said[1]}
        if not cursor:
            break
    unknown = {name for name in looked if not _KNOWN.fullmatch(name)}
    found = {name: match[1] for name in looked - unknown if (match := _PART.fullmatch(name))}
    parts = {name: owner for name, owner in found.items() if not _EXPIRES.fullmatch(name)}  # those go by themselves
    lost = {name for name, owner in parts.items() if owner not in looked}
    for _ in range(2):  # an owner that was not walked; or one that has just gone, and its parts with it
        pairs = [(name, parts[name]) for name in sorted(lost)]
        look: list[Command] = [("EXISTS", store.keys(one)) for pair in pairs for one in pair]
        there = store.read(Read(look, list[Any])) if look else []
        lost = {name for i, (name, _) in enumerate(pairs) if there[2 * i] and not there[2 * i + 1]}
    return KeySample(len(looked), not cursor, sorted(unknown | lost))
