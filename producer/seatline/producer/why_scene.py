"""What the server looked like at one moment, as far as it decides what may start: gates, types, pools, who is live and idle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.calls.moment import at_one_moment, together
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.errors import InvalidInput
from seatline.shared.job import JobRecord, uses_map
from seatline.shared.keys import Keys
from seatline.shared.store import Store
from seatline.shared.times import Window

__all__ = ["ChainGates", "Scene"]


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
