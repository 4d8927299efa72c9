"""Reads: plain commands that any viewer may send. Listings page; nothing reads a whole set."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from seatline.shared.calls.base import Command, Read, text
from seatline.shared.job import Attempt, JobRecord
from seatline.shared.keys import Keys

__all__ = [
    "About",
    "End",
    "JobLog",
    "PoolRecord",
    "Session",
    "TypeRecord",
    "WorkerRecord",
    "about",
    "attempts",
    "handed",
    "history",
    "job_ends",
    "job_records",
    "log_lines",
    "name_set",
    "order_ends",
    "page",
    "pool_records",
    "server_time",
    "token_owner",
    "type_records",
    "worker_records",
]


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    return {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _scores(flat: Sequence[bytes]) -> list[tuple[str, float]]:
    return [(text(member), float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def _moment(ms: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


def server_time() -> Read[int]:
    """Return the server's clock in epoch ms."""
    return Read([("TIME",)], lambda r: int(r[0][0]) * 1000 + int(r[0][1]) // 1000)


def job_records(keys: Keys, ids: Sequence[str]) -> Read[list[JobRecord | None]]:
    """Return snapshots of jobs, None for those that do not exist."""
    commands: list[Command] = []
    for job_id in ids:
        commands += [("HGETALL", keys.job(job_id)), ("GET", keys.job(job_id) + ":result")]

    def parse(replies: Sequence[Any]) -> list[JobRecord | None]:
        return [
            JobRecord.read(job_id, replies[2 * i], replies[2 * i + 1] or b"") if replies[2 * i] else None
            for i, job_id in enumerate(ids)
        ]

    return Read(commands, parse)


class End(NamedTuple):
    """What became of a job or an order: its state, when it was accepted, and the first line of its error or reason.

    ``created``: epoch ms; it tells a job from another one that got the same id after a crash. The id of an order is its own, so
    there it is 0. ``each``: of an order that has failed, steps that run for each element and may have some under way still.
    """

    state: str
    created: int
    said: str
    each: tuple[str, ...] = ()


def job_ends(keys: Keys, ids: Sequence[str]) -> Read[list[End | None]]:
    """Return what became of jobs so far, and no params and results; None for those that do not exist."""
    commands: list[Command] = [
        ("HMGET", keys.job(job_id), "state", "created", "error_type", "error", "reason") for job_id in ids
    ]

    def read(fields: Sequence[bytes | None]) -> End | None:
        if fields[0] is None:
            return None
        state, created, kind, error, reason = (text(field) if field else "" for field in fields)
        first = (error or reason).splitlines() or [""]
        return End(state, int(created), ": ".join(filter(None, [kind, first[0]])))

    return Read(commands, lambda replies: [read(fields) for fields in replies])


def order_ends(keys: Keys, ids: Sequence[str]) -> Read[list[End | None]]:
    """Return what became of orders so far; None for those that do not exist.

    One that has failed in one branch and is under way in another is ``running`` here: it has not come to its end.
    """

    def read(fields: Sequence[bytes | None]) -> End | None:
        state, error, now = (text(field) if field else "" for field in fields)
        at = (
            {step: word for step, _, word in (pair.partition("=") for pair in now.split())} if state == "failed" else {}
        )
        if any(word.isdigit() for word in at.values()):
            state = "running"
        each = tuple(step for step, word in at.items() if word == "each")
        return End(state, 0, (error.splitlines() or [""])[0], each) if state else None

    commands: list[Command] = [("HMGET", keys.order(order_id), "state", "error", "now") for order_id in ids]
    return Read(commands, lambda replies: [read(fields) for fields in replies])


def handed(keys: Keys, record: JobRecord) -> Read[JobRecord]:
    """Return the record of an order's step with what its order hands it now: params, and the results so far (O5).

    Or of a job that gathers events, with what it has of them.
    """
    if record.gathered is not None:
        return _gathered(keys, record)
    order, element = record.order or "", record.element
    if element is None:
        command: Command = ("HGETALL", keys.order(order, "data"))
    else:
        command = ("HMGET", keys.order(order, f"each:{record.step}"), "base", f"e.{element}")

    def parse(replies: Sequence[Any]) -> JobRecord:
        flat = replies[0] if element is None else (b"params", replies[0][0] or b"", b"item.value", replies[0][1] or b"")
        fields = {text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        return replace(record, handed=record.handed and record.handed.filled(fields))

    return Read([command], parse)


def _gathered(keys: Keys, record: JobRecord) -> Read[JobRecord]:
    """Read list and count together: an event may come in between."""
    key = keys.job(record.id)
    commands: list[Command] = [("MULTI",), ("HGET", key, "gathered"), ("LRANGE", key + ":events", 0, -1), ("EXEC",)]

    def parse(replies: Sequence[Any]) -> JobRecord:
        count, events = replies[-1]
        return replace(record, gathered=int(count or 0), events_packed=b"".join(events))

    return Read(commands, parse)


def _stamped(lines: Sequence[bytes]) -> list[tuple[dt.datetime, str]]:
    parts = [text(line).partition(" ") for line in lines]
    return [(_moment(float(ms)), what) for ms, _, what in parts]


def history(keys: Keys, job_id: str) -> Read[list[tuple[dt.datetime, str]]]:
    """Return what was done to a job: when, what."""
    return Read([("LRANGE", keys.job(job_id) + ":history", 0, -1)], lambda replies: _stamped(replies[0]))


@dataclass(frozen=True, slots=True)
class JobLog:
    """What a job's handler logged: when, what, oldest first; ``cut`` older lines are no longer kept."""

    lines: list[tuple[dt.datetime, str]]
    cut: int


def log_lines(keys: Keys, job_id: str) -> Read[JobLog]:
    """Return a job's log over all its attempts, at most the newest 1,000 lines."""
    commands: list[Command] = [("LRANGE", keys.job(job_id) + ":log", 0, -1), ("HGET", keys.job(job_id), "log_cut")]
    return Read(commands, lambda replies: JobLog(_stamped(replies[0]), int(replies[1] or 0)))


def attempts(keys: Keys, job_id: str) -> Read[list[Attempt]]:
    """Return the failed attempts after which a job ran again, oldest first, at most 20."""
    command: Command = ("LRANGE", keys.job(job_id) + ":attempts", 0, -1)
    return Read([command], lambda replies: [Attempt.read(text(entry)) for entry in replies[0]])


def token_owner(keys: Keys, token: str) -> Read[str | None]:
    """Return the id that a producer's token stands for."""
    return Read([("GET", keys(f"token:{token}"))], lambda r: text(r[0]).split()[0] if r[0] else None)


def name_set(keys: Keys, name: str) -> Read[list[str]]:
    """Return a set of names, sorted: ``types`` or ``pools``."""
    return Read([("SMEMBERS", keys(name))], lambda r: sorted(text(member) for member in r[0]))


def page(keys: Keys, zset: str, start: int, count: int, *, newest_first: bool = False) -> Read[list[tuple[str, float]]]:
    """Return one page of a sorted set: (member, score)."""
    verb = "ZREVRANGE" if newest_first else "ZRANGE"
    return Read([(verb, keys(zset), start, start + count - 1, "WITHSCORES")], lambda r: _scores(r[0]))


@dataclass(frozen=True, slots=True)
class About:
    """The namespace's own state."""

    fields: dict[str, str]
    counts: dict[str, int]

    @property
    def paused(self) -> str | None:
        """Who paused it and when (epoch ms), or None."""
        return self.fields.get("paused")

    @property
    def closed(self) -> str | None:
        """Who closed it and when (epoch ms), or None."""
        return self.fields.get("closed")


def about(keys: Keys) -> Read[About]:
    """Return the namespace's gates and marks, and how many jobs are in each place but ready (which is by type)."""
    ended = ("succeeded", "skipped", "failed", "cancelled", "expired", "interrupted")
    commands: list[Command] = [("HGETALL", keys.about), ("GET", keys("paused"))]
    commands += [("ZCARD", keys("scheduled")), ("ZCARD", keys("running"))]
    commands += [("ZCARD", keys(f"finished:{state}")) for state in ended]

    def parse(replies: Sequence[Any]) -> About:
        fields = _texts(replies[0])
        if replies[1]:
            fields["paused"] = text(replies[1])
        return About(fields, dict(zip(("scheduled", "running", *ended), map(int, replies[2:]), strict=True)))

    return Read(commands, parse)


@dataclass(frozen=True, slots=True)
class TypeRecord:
    """A type: what its handlers say, its lines (uses text or None -> waiting jobs), whether it is paused or served.

    ``window``: when its jobs may start, as :class:`~seatline.shared.times.Window` reads it; None: always.
    """

    name: str
    uses: str | None
    if_lost: str | None
    paused: str | None
    offers: tuple[str, ...]
    lines: tuple[str | None, ...]
    window: str | None = None


def type_records(keys: Keys, names: Sequence[str]) -> Read[list[TypeRecord]]:
    """Return what is known of these types."""

    def parse(replies: Sequence[Any]) -> list[TypeRecord]:
        records: list[TypeRecord] = []
        for name, flat in zip(names, replies, strict=True):
            known = _texts(flat)
            lines = (None, *known.get("lines", "").split())
            offers = tuple(known.get("offers", "").split())
            records.append(
                TypeRecord(
                    name,
                    known.get("uses"),
                    known.get("if_lost"),
                    known.get("paused"),
                    offers,
                    lines,
                    known.get("window"),
                )
            )
        return records

    return Read([("HGETALL", keys(f"type:{name}")) for name in names], parse)


@dataclass(frozen=True, slots=True)
class Session:
    """Seats of a pool held by one owner: ``kind`` is job, worker or program, ``name`` its id or name."""

    owner: str
    kind: str
    name: str
    seats: int
    until: dt.datetime

    @classmethod
    def read(cls, member: str, deadline: float) -> Session:
        """Read a member of ``pool:<name>:sessions``."""
        owner, _, seats = member.rpartition("|")
        kind, _, rest = owner.partition(":")
        return cls(owner, kind, rest.split(":")[0], int(seats), _moment(deadline))


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A pool: capacity, seats in use (the sum over sessions), external use that still counts, holders, waiters in order.

    ``refused_until``: until then nobody new gets in, as the real licence server refused; None: it does not.
    """

    name: str
    capacity: int
    external: int
    external_until: dt.datetime | None
    keep: int
    keep_priority: int
    in_use: int
    counter: int | None
    holders: tuple[Session, ...]
    waiting: tuple[tuple[str, int], ...]
    refused_until: dt.datetime | None = None

    @property
    def free(self) -> int:
        """Seats that nobody holds or withholds."""
        if self.refused_until is not None:
            return 0
        return max(0, self.capacity - self.external - self.in_use)


def pool_records(keys: Keys, names: Sequence[str]) -> Read[list[PoolRecord | None]]:
    """Return pools with their holders (all) and waiters (the first 100), None for those that do not exist."""
    commands: list[Command] = [("TIME",)]
    for name in names:
        commands += [
            ("HGETALL", keys.pool(name)),
            ("MGET", keys.pool(name, "in_use"), keys.pool(name, "refused")),
            ("ZRANGE", keys.pool(name, "sessions"), 0, -1, "WITHSCORES"),
            ("ZRANGE", keys.pool(name, "waiting"), 0, 99, "WITHSCORES"),
        ]

    def parse(replies: Sequence[Any]) -> list[PoolRecord | None]:
        now = int(replies[0][0]) * 1000 + int(replies[0][1]) // 1000
        records: list[PoolRecord | None] = []
        for i, name in enumerate(names):
            flat, (counter, told), held, line = replies[1 + 4 * i : 5 + 4 * i]
            known = _texts(flat)
            holders = tuple(Session.read(member, deadline) for member, deadline in _scores(held))
            if not known:
                records.append(None)
                continue
            until = int(known.get("external_until", "0"))
            live = until > now
            refused = int(text(told).split()[0]) if told else 0
            records.append(
                PoolRecord(
                    name=name,
                    capacity=int(known.get("capacity", "0")),
                    external=int(known.get("external", "0")) if live else 0,
                    external_until=_moment(until) if live else None,
                    keep=int(known.get("keep", "0")),
                    keep_priority=int(known.get("keep_priority", "0")),
                    in_use=sum(session.seats for session in holders),
                    counter=None if counter is None else int(counter),
                    holders=holders,
                    waiting=tuple((member, int(priority)) for member, priority in _scores(line)),
                    refused_until=_moment(refused) if refused > now else None,
                )
            )
        return records

    return Read(commands, parse)


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker as last heard of; ``live`` while its presence has not expired."""

    id: str
    live: bool
    last_seen: dt.datetime | None
    fields: dict[str, str]
    types: tuple[str, ...]


def worker_records(keys: Keys, ids: Sequence[str], offers: Sequence[str]) -> Read[list[WorkerRecord]]:
    """Return workers by id; ``offers`` are all digests there are, so that types can be told without another trip."""
    commands: list[Command] = [("HGETALL", keys(f"worker:{worker}")) for worker in ids]
    commands += [("GET", keys(f"offer:{digest}")) for digest in offers]

    def parse(replies: Sequence[Any]) -> list[WorkerRecord]:
        lists = zip(offers, replies[len(ids) :], strict=True)
        types = {digest: tuple(text(reply or b"").lstrip("* ").split()) for digest, reply in lists}
        records: list[WorkerRecord] = []
        for worker, flat in zip(ids, replies, strict=False):
            fields = _texts(flat)
            seen = _moment(float(fields["seen"])) if "seen" in fields else None
            records.append(WorkerRecord(worker, bool(fields), seen, fields, types.get(fields.get("offer", ""), ())))
        return records

    return Read(commands, parse)
