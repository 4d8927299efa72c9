"""The verbs of triggers: what an event enqueues is set, forgotten, read; and the jobs of events are accepted (Q20)."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from seatline.shared.calls.base import Call, Command, Read, Refusal, Word, text
from seatline.shared.calls.jobs import Batch, submit
from seatline.shared.codec import pack_params, unpack_value
from seatline.shared.errors import InvalidInput, NoSuchTrigger, PayloadError
from seatline.shared.job import Job, job_words, uses_map, uses_text
from seatline.shared.keys import Keys

__all__ = [
    "GATHERED_BYTES",
    "GATHERED_MOST",
    "TriggerRecord",
    "emit",
    "event_names",
    "event_words",
    "gather",
    "remove_trigger",
    "set_trigger",
    "trigger_records",
]

#: Events in one job that gathers them (more than a call may bring), and their bytes; the next begins another job.
GATHERED_MOST: Final = 10_000
GATHERED_BYTES: Final = 2 * 1024 * 1024
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

    """

    event: str
    jobs: tuple[Job, ...]
    coalesce: float | None
    version: str
    created: dt.datetime
    changed: dt.datetime
    by: str

    @classmethod
    def read(cls, event: str, flat: Sequence[bytes]) -> TriggerRecord:
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


def remove_trigger(event: str, by: str) -> Call[None]:
    """Forget what an event enqueues. Raises NoSuchTrigger if it enqueues nothing."""
    refusals: dict[str, Refusal] = {"missing": lambda _: no_trigger(event)}
    return Call("trigger_remove", (event, by), lambda _: None, refusals)


def no_trigger(event: str) -> NoSuchTrigger:
    """Return the error that says so."""
    return NoSuchTrigger(
        f"trigger {event}: nothing is triggered by that event. `seatline triggers list` shows what there is."
    )


def event_names(keys: Keys) -> Read[list[str]]:
    """Return the names of all events that trigger something, sorted."""
    return Read([("SMEMBERS", keys("triggers"))], lambda replies: sorted(map(text, replies[0])))


def trigger_records(keys: Keys, events: Sequence[str]) -> Read[list[TriggerRecord | None]]:
    """Return what events enqueue, None for those that enqueue nothing."""

    def parse(replies: Sequence[Any]) -> list[TriggerRecord | None]:
        return [TriggerRecord.read(event, flat) if flat else None for event, flat in zip(events, replies, strict=True)]

    commands: list[Command] = [("HGETALL", keys(f"trigger:{event}")) for event in events]
    return Read(commands, parse)


def event_words(event: str, job: Job) -> list[str | bytes]:
    """Write a job that an event causes, as :func:`~seatline.shared.job.job_words` writes any."""
    words = job_words(job)
    return [str(int(words[0]) + 2), *words[1:], "event", event]


def emit(record: TriggerRecord, jobs: Sequence[Sequence[str | bytes]], *, strict: bool) -> Call[Batch | None]:
    """Accept the jobs of events, all or none; None: the trigger is another one now, nothing was done.

    The refusals are those of :func:`~seatline.shared.calls.jobs.submit`.
    """
    plain = submit(jobs, strict=strict)
    words = (record.event, record.version, *plain.words)
    return Call("emit", words, plain.parse, plain.refusals, also={"changed": lambda _: None})


def gather(
    record: TriggerRecord, jobs: Sequence[tuple[Job, str]], events: Sequence[bytes], *, strict: bool
) -> Call[Batch | None]:
    """Add events to the jobs that gather them, or begin such jobs; all or none, None as for :func:`emit`.

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
    limits: tuple[Word, ...] = (GATHERED_MOST, GATHERED_BYTES, size, len(events))
    words_ = (record.event, record.version, plain.words[0], *limits, *plain.words[1:], *events)
    return Call("gather", words_, plain.parse, plain.refusals, also={"changed": lambda _: None})
