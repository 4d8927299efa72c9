"""The verbs of triggers: what an event enqueues is set, forgotten, read; and the jobs of events are accepted (Q20).

An event is emitted by a program, which waits until its jobs are accepted; or it is a *fact*: a built-in event, or one that a
handler has emitted. Facts wait for a worker, in the list ``happened:<event>``, and leave it in the step that accepts their
jobs (decision 0023).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from seatline.shared.calls.base import Call, Command, Read, Refusal, Word, text
from seatline.shared.calls.jobs import Batch, submit
from seatline.shared.codec import pack_params, unpack_value
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput, NoSuchTrigger, PayloadError
from seatline.shared.job import Job, job_words, uses_map, uses_text
from seatline.shared.keys import Keys

__all__ = [
    "BUILT_IN",
    "DEPTH_MOST",
    "EVENT",
    "GATHERED_BYTES",
    "GATHERED_MOST",
    "TOLD",
    "Fact",
    "Taking",
    "TriggerRecord",
    "check_event",
    "check_key",
    "emit",
    "emitted_words",
    "event_names",
    "event_words",
    "gather",
    "remove_trigger",
    "set_trigger",
    "trigger_records",
    "waiting_facts",
]

#: Events that Seatline itself tells of, and when. Nobody else emits them.
BUILT_IN: Final = {
    "job.failed": "a job has failed for good",
    "job.interrupted": "a job was lost with its worker, and a person is to decide",
    "order.failed": "an order has failed",
    "order.finished": "an order has ended, well or not",
    "worker.lost": "a worker has gone without a word",
}
#: So many triggers may lie before a job, one having caused the next; _finish.lua says the same.
DEPTH_MOST: Final = 8
#: Under such a name, with the event's behind it, stands among what is due that facts wait for a trigger.
EVENT: Final = "event:"

#: Events in one job that gathers them (more than a call may bring), and their bytes; the next begins another job.
GATHERED_MOST: Final = 10_000
GATHERED_BYTES: Final = 2 * 1024 * 1024
KEY_MOST: Final = 200
_OF_JOBS: Final = ("job", "type", "state", "error_type", "error", "worker", "title", "tenant", "order", "chain", "step")
_OF_ORDERS: Final = ("order", "chain", "state", "error", "step", "title", "tenant")
_OF_WORKERS: Final = ("worker", "host", "pid", "until")
#: All params of built-in events. A handler is given those that it takes: a later version may tell more.
TOLD: Final = frozenset((*_OF_JOBS, *_OF_ORDERS, *_OF_WORKERS, "attempt", "tags", "at"))
_ALL: Final = "*"  # for unique=True; no key is that


@dataclass(frozen=True, slots=True)
class TriggerRecord:
    """What an event enqueues.

    Attributes:
        event: its name.
        jobs: what is enqueued for each event, params as the trigger has them.
        coalesce: seconds for which events are gathered into one job; None: they are not.
        version: another one whenever it is set.
        created, changed: when it was first set, and last.
        by: who did.
        taken: facts that workers have taken since it was set: built-in events, and events of handlers.
        missed: facts since then that have made no jobs: too many waited, too many triggers lay before them, or their params
            are too long together with the trigger's.
        waiting: facts that wait for a worker; 0 where that was not asked for.

    """

    event: str
    jobs: tuple[Job, ...]
    coalesce: float | None
    version: str
    created: dt.datetime
    changed: dt.datetime
    by: str
    taken: int = 0
    missed: int = 0
    waiting: int = 0

    @classmethod
    def read(cls, event: str, flat: Sequence[bytes], waiting: int = 0) -> TriggerRecord:
        """Build it from the flat list that HGETALL returns.

        Raises:
            PayloadError: its record is damaged.

        """
        fields = {text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}

        def moment(name: str) -> dt.datetime:
            return dt.datetime.fromtimestamp(int(fields[name]) / 1000, dt.UTC)

        try:
            span = fields.get("coalesce")
            jobs = tuple(_job(fields, f"{number}.") for number in range(1, int(fields["jobs"]) + 1))
            return cls(
                event,
                jobs,
                int(span) / 1000 if span else None,
                text(fields["version"]),
                moment("created"),
                moment("changed"),
                text(fields["by"]),
                int(fields.get("taken", b"0")),
                int(fields.get("missed", b"0")),
                waiting,
            )
        except (KeyError, ValueError, PayloadError) as error:
            raise PayloadError(f"trigger {event}: its record is damaged ({error}). Set it again.") from None

    def wanted(self, params: Mapping[str, Any], tenant: str | None) -> list[Job]:
        """Return its jobs for one event; the trigger's params win over the event's, and so does its tenant (Q20)."""
        return [
            replace(job, params={**params, **job.params}, tenant=tenant if job.tenant is None else job.tenant)
            for job in self.jobs
        ]

    def gathering(self, key: str, tenant: str | None) -> list[tuple[Job, str]]:
        """Return its jobs as they wait to gather events, each with the key under which the next event finds it."""
        found: list[tuple[Job, str]] = []
        for number, job in enumerate(self.jobs, 1):
            job = replace(job, tenant=tenant if job.tenant is None else job.tenant, delay=self.coalesce)  # noqa: PLW2901
            same = "\0".join((self.event, self.version, str(number), key, job.tenant or ""))
            found.append((job, hashlib.blake2b(same.encode(), digest_size=16).hexdigest()))
        return found


def _job(fields: Mapping[str, bytes], prefix: str) -> Job:
    def word(name: str) -> str | None:
        value = fields.get(prefix + name)
        return None if value is None else text(value)

    def seconds(name: str) -> float | None:
        ms = word(name)
        return None if ms is None else int(ms) / 1000

    uses, unique = word("uses"), word("unique")
    params: Any = unpack_value(fields[f"{prefix}params"])
    return Job(
        text(fields[f"{prefix}type"]),
        params,
        int(fields[f"{prefix}priority"]),
        None if uses is None else uses_map(uses),
        word("tenant"),
        word("title"),
        tuple((word("tags") or "").split()),
        delay=seconds("delay"),
        expires=seconds("expires"),
        result_ttl=seconds("result_ttl"),
        unique=True if unique == _ALL else unique,
        supersede=word("supersede"),
    )


def _fields(number: int, job: Job) -> list[Word]:
    """Write one job of a trigger; it has been checked."""
    values: dict[str, Word | None] = {
        "type": job.type,
        "priority": job.priority,
        "params": pack_params(job.params),
        "uses": None if job.uses is None else uses_text(job.uses),
        "tenant": job.tenant,
        "title": job.title,
        "tags": " ".join(job.tags) or None,
        "delay": _ms(job.delay),
        "expires": _ms(job.expires),
        "result_ttl": _ms(job.result_ttl),
        "unique": _ALL if job.unique is True else job.unique or None,
        "supersede": job.supersede,
    }
    return [word for name, value in values.items() if value is not None for word in (f"{number}.{name}", value)]


def _ms(value: float | dt.timedelta | dt.datetime | None) -> int | None:
    if value is None or isinstance(value, dt.datetime):
        return None
    return int((value.total_seconds() if isinstance(value, dt.timedelta) else value) * 1000)


def set_trigger(event: str, jobs: Sequence[Job], coalesce: float | None, by: str) -> Call[bool]:
    """Store what an event enqueues; returns True if nothing was triggered by it before."""
    words: list[Word] = [event, by, "jobs", len(jobs)]
    if coalesce is not None:
        words += ("coalesce", int(coalesce * 1000))
    for number, job in enumerate(jobs, 1):
        words += _fields(number, job)
    return Call("trigger_set", words, lambda reply: text(reply[1]) == "new")


def remove_trigger(event: str, by: str) -> Call[int]:
    """Forget what an event enqueues; returns how many facts waited for it. Raises NoSuchTrigger if it enqueues nothing."""
    refusals: dict[str, Refusal] = {"missing": lambda _: no_trigger(event)}
    return Call("trigger_remove", (event, by), lambda reply: int(reply[1]), refusals)


def no_trigger(event: str) -> NoSuchTrigger:
    """Return the error that says so."""
    return NoSuchTrigger(
        f"trigger {event}: nothing is triggered by that event. `seatline triggers list` shows what there is."
    )


def event_names(keys: Keys) -> Read[list[str]]:
    """Return the names of all events that trigger something, sorted."""
    return Read([("SMEMBERS", keys("triggers"))], lambda replies: sorted(map(text, replies[0])))


def trigger_records(keys: Keys, events: Sequence[str]) -> Read[list[TriggerRecord | None]]:
    """Return what events enqueue, and how many facts wait for that; None for those that enqueue nothing."""
    commands: list[Command] = [("HGETALL", keys(f"trigger:{event}")) for event in events]
    commands += [("LLEN", keys(f"happened:{event}")) for event in events]

    def parse(replies: Sequence[Any]) -> list[TriggerRecord | None]:
        found, waiting = replies[: len(events)], replies[len(events) :]
        return [
            TriggerRecord.read(event, flat, int(count)) if flat else None
            for event, flat, count in zip(events, found, waiting, strict=True)
        ]

    return Read(commands, parse)


def check_event(event: object) -> str:
    """Return the name of an event that programs may emit, or raise :class:`InvalidInput`."""
    name = check_name("event", event)
    if name in BUILT_IN:
        raise InvalidInput(
            f"event: {name} is Seatline's own: it is told when {BUILT_IN[name]}, and by nobody else. Emit an event of "
            f"another name, such as my.{name}; to have jobs for this one, set its trigger."
        )
    return name


@dataclass(frozen=True, slots=True)
class Fact:
    """An event that has happened, and waits for a worker to make its jobs.

    Attributes:
        params: of the event.
        tenant: whose jobs they are, unless the trigger says so.
        key: of a trigger that coalesces.
        depth: how many triggers lie before its jobs, its own included.

    """

    params: Mapping[str, Any]
    tenant: str | None
    key: str
    depth: int

    @classmethod
    def read(cls, event: str, packed: bytes) -> Fact:
        """Read what _finish.lua wrote: names and values in turn, each a netstring (``3:job,``).

        Raises:
            PayloadError: something else has written it.

        """
        try:
            words = _words(packed)
            said = {text(name): value for name, value in zip(words[::2], words[1::2], strict=True)}
            texts = {name: text(value) for name, value in said.items() if name != "params"}
            params: Any = unpack_value(said["params"]) if event not in BUILT_IN else _told(event, texts)
            return cls(params, texts.get("tenant"), texts.get("key", ""), int(texts["depth"]))
        except (KeyError, ValueError) as error:
            raise PayloadError(f"event {event}: a fact that waits for it is damaged ({error}).") from None


def _words(packed: bytes) -> list[bytes]:
    words: list[bytes] = []
    at = 0
    while at < len(packed):
        colon = packed.index(b":", at)
        end = colon + 1 + int(packed[at:colon])
        if packed[end : end + 1] != b",":
            raise ValueError(f"no ',' at byte {end}")
        words.append(packed[colon + 1 : end])
        at = end + 1
    return words


def _told(event: str, said: Mapping[str, str]) -> dict[str, Any]:
    """Return the params of a built-in event: always the same names, None for what there is not."""
    at = dt.datetime.fromtimestamp(int(said["at"]) / 1000, dt.UTC)
    if event.startswith("worker."):
        host, _, rest = said["worker"].rpartition(".")[0].rpartition(".")
        seen = dt.datetime.fromtimestamp(float(said["until"]) / 1000, dt.UTC)
        pid = int(rest) if rest.isdecimal() else None
        return {"worker": said["worker"], "host": host or None, "pid": pid, "until": seen, "at": at}
    if event.startswith("order."):
        return {**{name: said.get(name) for name in _OF_ORDERS}, "at": at}
    more = {"attempt": int(said.get("attempt", "0")), "tags": said.get("tags", "").split(), "at": at}
    return {**{name: said.get(name) for name in _OF_JOBS}, **more}


def waiting_facts(keys: Keys, event: str, most: int) -> Read[tuple[TriggerRecord | None, list[bytes]]]:
    """Return a trigger and the first facts that wait for it, at most ``most``.

    The trigger is read first: if facts are taken in between, ``taken`` is an old number, which the scripts refuse.
    """
    trigger, facts = keys(f"trigger:{event}"), keys(f"happened:{event}")

    def parse(replies: Sequence[Any]) -> tuple[TriggerRecord | None, list[bytes]]:
        flat, waiting = replies
        return (TriggerRecord.read(event, flat, len(waiting)) if flat else None), waiting

    return Read([("HGETALL", trigger), ("LRANGE", facts, 0, most - 1)], parse)


@dataclass(frozen=True, slots=True)
class Taking:
    """Facts that are taken together with the acceptance of their jobs: how many, and how many had been taken before."""

    facts: int
    before: int
    depth: int = 0

    @property
    def words(self) -> tuple[Word, Word]:
        """What the scripts are told: cause, facts."""
        return self.before, self.facts


def emitted_words(event: str, params: Mapping[str, Any], tenant: str | None, key: str | None) -> list[str | bytes]:
    """Write an event that a handler emits: it goes with its job's report, among the jobs that this enqueues."""
    words: list[str | bytes] = ["event", check_event(event), "params", pack_params(params)]
    if tenant is not None:
        words += ("tenant", check_name("tenant", tenant))
    if key is not None:
        words += ("key", check_key(key))
    return [str(len(words)), "", "", "", "", *words]


def check_key(key: object) -> str:
    """Return the key of events that are gathered into one job, or raise :class:`InvalidInput`."""
    if not (isinstance(key, str) and 0 < len(key) <= KEY_MOST and key.isprintable()):
        raise InvalidInput(f"key: {key!r:.80} is not one line of 1 to {KEY_MOST} characters.")
    return key


def event_words(event: str, job: Job, depth: int = 0) -> list[str | bytes]:
    """Write a job that an event causes, as :func:`~seatline.shared.job.job_words` writes any."""
    words = job_words(job)
    more = ("event", event, "depth", str(depth)) if depth else ("event", event)
    return [str(int(words[0]) + len(more)), *words[1:], *more]


def emit(
    record: TriggerRecord, jobs: Sequence[Sequence[str | bytes]], *, strict: bool, taking: Taking | None = None
) -> Call[Batch | None]:
    """Accept the jobs of events, all or none; None: the trigger is another one now, nothing was done.

    With ``taking`` facts are taken in the same step; None says also that others have taken them.
    The refusals are those of :func:`~seatline.shared.calls.jobs.submit`.
    """
    plain = submit(jobs, strict=strict)
    cause: tuple[Word, ...] = taking.words if taking else ("", 0)
    words: tuple[Word, ...] = (record.event, record.version, plain.words[0], *cause, *plain.words[1:])
    return Call("emit", words, plain.parse, plain.refusals, also={"changed": lambda _: None})


def gather(
    record: TriggerRecord,
    jobs: Sequence[tuple[Job, str]],
    events: Sequence[bytes],
    *,
    strict: bool,
    taking: Taking | None = None,
) -> Call[Batch | None]:
    """Add events to the jobs that gather them, or begin such jobs; all or none, None and ``taking`` as for :func:`emit`.

    Raises:
        InvalidInput: the events are too much for one job.

    """
    size = sum(map(len, events))
    if size > GATHERED_BYTES:
        raise InvalidInput(
            f"events: {size:,} bytes are more than the {GATHERED_BYTES:,} that one job may gather. Emit them in several "
            "calls, or store the data in files and pass their paths."
        )
    written: list[list[str | bytes]] = []
    for job, key in jobs:
        words = event_words(record.event, job)
        more = ("gathers", key, "listeners", f"~{key}")  # whoever ends it frees the key (_finish.lua)
        written.append([str(int(words[0]) + len(more)), words[1], f" +{key}", *words[3:], *more])
    plain = submit(written, strict=strict)
    cause: tuple[Word, ...] = (*taking.words, taking.depth) if taking else ("", 0, 0)
    limits: tuple[Word, ...] = (GATHERED_MOST, GATHERED_BYTES, size, len(events))
    words_: tuple[Word, ...] = (
        record.event,
        record.version,
        plain.words[0],
        *cause,
        *limits,
        *plain.words[1:],
        *events,
    )
    return Call("gather", words_, plain.parse, plain.refusals, also={"changed": lambda _: None})
