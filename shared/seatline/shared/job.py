"""A job as it is handed in, and as the server knows it.

::

    enqueue -> scheduled -> ready -> running -> succeeded | skipped | failed | cancelled | expired | interrupted

A job is in exactly one place at any moment; ``docs/states.md`` has the picture. Whatever is wrong with a job is refused
here, before anything is sent (R4, Q5).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast

from seatline.shared.codec import join_pieces, pack_params, pieces, unpack_sequence, unpack_value
from seatline.shared.config import NAME, check_name
from seatline.shared.errors import InvalidInput, NoSuchJob, PayloadError
from seatline.shared.keys import id_text
from seatline.shared.order_params import Handed

__all__ = [
    "BULK_PRIORITY",
    "DEFAULT_PRIORITY",
    "EVENTS",
    "RESULT_TTL",
    "WAITING",
    "Attempt",
    "Job",
    "JobRecord",
    "attempt_text",
    "check_priority",
    "events_of",
    "job_id",
    "job_words",
    "no_such_job",
    "uses_map",
    "uses_text",
]

DEFAULT_PRIORITY: Final = 10
BULK_PRIORITY: Final = 100
PRIORITY_MOST: Final = 2**53 - 1
SEATS_MOST: Final = 1_000_000
TITLE_MOST: Final = 200
TAGS_MOST: Final = 16
POOLS_MOST: Final = 16
TYPES_REMEMBERED: Final = 10_000
RESULT_TTL: Final = 24 * 3600.0
TTL_MOST: Final = 366 * 24 * 3600.0
MESSAGE_MOST: Final = 2_000
TRACEBACK_MOST: Final = 4_000
WAITING: Final = ("ready", "scheduled")
#: The param under which a job is given the events that it has gathered.
EVENTS: Final = "events"

_known_types: set[str] = set()
_ATTEMPT: Final = re.compile(
    r"(?P<ms>\d+) attempt (?P<attempt>\d+) by (?P<worker>\S+)(?: from (?P<began>\d+))?: (?P<kind>[^\n]*)\n"
    r"  (?P<message>.*?)\n\n(?P<traceback>.*)",
    re.ASCII | re.DOTALL,
)


@dataclass(slots=True, kw_only=False)
class Job:
    """One unit of work to be enqueued.

    Args:
        type: a stable dotted name such as ``drawing.publish``.
        params: names to values, given to the handler as keyword arguments; at most 256 KiB, 64 levels.
        priority: an integer >= 1; 1 is the most urgent. Ties go to the earlier job (Q2).
        uses: seats by pool, such as ``{"vault": 1}``; ``{}`` = none; ``None`` = what the type's handlers say (S13).
        tenant: which vault, site or customer it is for.
        title: a line for people, at most 200 characters.
        tags: names to filter by.
        at: the moment it becomes due, with a time zone; a moment that passed means now (T3).
        delay: seconds from now; becomes an absolute moment when the server accepts the job (T2).
        token: your own name for this submission: enqueued again, it is the same job (exactly once).
        result_ttl: seconds for which its result is kept; 1 day by default.
        unique: a key of your own, or True for type, params and tenant: while a job with it lives, that is the job (Q16).
        on_duplicate: with unique: ``return`` the job that lives, or ``refuse`` this one (:class:`Duplicate`).
        supersede: a key: this job takes the place of a waiting one with it, which ends as skipped; one that runs goes on.
        expires: it is not started after this: seconds from its acceptance, or a moment with a time zone; it then ends as
            ``expired``. It must lie after ``at`` or ``delay``. An attempt that has begun is not cut short.

    """

    type: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    priority: int = DEFAULT_PRIORITY
    uses: Mapping[str, int] | None = None
    tenant: str | None = None
    title: str | None = None
    tags: Sequence[str] = ()
    at: dt.datetime | None = None
    delay: float | dt.timedelta | None = None
    token: str | None = None
    result_ttl: float | None = None
    expires: float | dt.timedelta | dt.datetime | None = None
    unique: str | bool | None = None
    on_duplicate: Literal["return", "refuse"] = "return"
    supersede: str | None = None


def check_priority(value: object) -> int:
    """Return a good priority (Q5) or raise :class:`InvalidInput`."""
    if type(value) is int and 1 <= value <= PRIORITY_MOST:
        return value
    raise InvalidInput(
        f"priority: {value!r} is not allowed. Use a whole number from 1 (the most urgent) to {PRIORITY_MOST:,}; "
        f"{DEFAULT_PRIORITY} is the default, {BULK_PRIORITY} is meant for bulk loads."
    )


def job_id(value: str | int) -> str:
    """Return an id in full; people may type ``42``."""
    try:
        return id_text(value)
    except ValueError:
        raise InvalidInput(f"id: {value!r} is not a job id. Use its number, such as 42.") from None


def no_such_job(value: str | int) -> NoSuchJob:
    """Return what is said of an id under which the server has no job."""
    return NoSuchJob(
        f"job {int(value)}: no such job. It never existed, was removed, was trimmed by retention, or was lost in a crash."
    )


def uses_text(uses: Mapping[str, int]) -> str:
    """Write seats as the one text that scripts and people read: ``gpu=2,vault=1``, or ``none``.

    Raises:
        InvalidInput: no mapping, a pool's name is bad, or its seats are no whole number from 1 to a million.

    """
    if not isinstance(uses, Mapping):
        raise InvalidInput(f'uses: {uses!r} is not a mapping such as {{"vault": 1}}.')
    if len(uses) > POOLS_MOST:
        raise InvalidInput(f"uses: {len(uses)} pools are more than the limit of {POOLS_MOST}.")
    for pool, seats in uses.items():
        check_name("uses", pool)
        if type(seats) is not int or not 1 <= seats <= SEATS_MOST:
            raise InvalidInput(f"uses: {pool}={seats!r} is not a whole number of seats from 1 to {SEATS_MOST:,}.")
    return ",".join(f"{pool}={uses[pool]}" for pool in sorted(uses)) or "none"


def uses_map(text: str) -> dict[str, int]:
    """Read what :func:`uses_text` wrote."""
    if text in {"", "none"}:
        return {}
    return {pool: int(seats) for pool, _, seats in (part.partition("=") for part in text.split(","))}


def _times(job: Job) -> str:
    """Say when it is due and, behind a '/', until when it may start.

    Each is '', epoch ms, or '+ms' which the server adds to its own clock.
    """
    if job.at is not None and job.delay is not None:
        raise InvalidInput("at, delay: give one of them, not both.")
    due = _due(job)
    if job.expires is None:
        return due
    until = _expires(job)
    now = int(time.time() * 1000)  # only to compare a moment with a number of seconds
    if due and _moment_ms(until, now) <= _moment_ms(due, now):
        name, value = ("at", job.at) if job.at is not None else ("delay", job.delay)
        raise InvalidInput(
            f"expires: {job.expires!r} does not lie after {name}: {value!r}; the job could never start. "
            f"Give a later expires, or an earlier {name}."
        )
    return f"{due}/{until}"


def _due(job: Job) -> str:
    if job.at is not None:
        at: object = job.at
        if isinstance(at, dt.datetime) and at.tzinfo is not None:
            return str(max(1, int(at.timestamp() * 1000)))
        raise InvalidInput(
            f"at: {at!r} is not a moment with a time zone. Use datetime(..., tzinfo=...), or delay=seconds."
        )
    if job.delay is not None:
        delay = job.delay.total_seconds() if isinstance(job.delay, dt.timedelta) else job.delay
        if type(delay) not in {int, float} or not 0 <= delay <= 10 * TTL_MOST:
            raise InvalidInput(f"delay: {job.delay!r} is not a number of seconds from 0 to ten years.")
        return f"+{int(delay * 1000)}"
    return ""


def _expires(job: Job) -> str:
    until: object = job.expires
    if isinstance(until, dt.datetime) and until.tzinfo is not None:
        return str(max(1, int(until.timestamp() * 1000)))
    seconds = until.total_seconds() if isinstance(until, dt.timedelta) else until
    if type(seconds) in {int, float} and 0 < cast("float", seconds) <= 10 * TTL_MOST:
        return f"+{max(1, int(cast('float', seconds) * 1000))}"
    raise InvalidInput(
        f"expires: {until!r} is neither a number of seconds, more than 0 and at most ten years, nor a moment with a time "
        "zone. Use expires=seconds, a timedelta, or datetime(..., tzinfo=...)."
    )


def _moment_ms(word: str, now: int) -> int:
    return now + int(word) if word.startswith("+") else int(word)


def job_words(job: Job) -> list[str | bytes]:
    """Check a job and write it as ``_accept.lua`` reads it: fields, due, token, content, uses, then hash words."""
    type_, priority = job.type, job.priority
    if type(type_) is not str or type_ not in _known_types:
        check_name("type", type_)
        if len(_known_types) < TYPES_REMEMBERED:
            _known_types.add(type_)
    if type(priority) is not int or not 1 <= priority <= PRIORITY_MOST:
        check_priority(priority)
    packed = pack_params(job.params)
    words: list[str | bytes] = ["type", type_, "priority", str(priority), *pieces("params", packed)]
    uses = ""
    if job.uses is not None:
        uses = uses_text(job.uses)
        words += ("uses", uses)
    if job.tenant is not None:
        words += ("tenant", check_name("tenant", job.tenant))
    if job.title is not None or job.tags or job.result_ttl is not None:
        words += _marks(job)
    token = content = ""
    if job.token is not None:
        token = check_name("token", job.token)
        content = hashlib.blake2b(f"{type_} {uses} {job.tenant}".encode() + packed, digest_size=8).hexdigest()
        words += ("submission", token)
    if job.unique or job.supersede is not None:
        marks = _keys(job, packed)
        token = " ".join((token, *marks))
        words += ("listeners", " ".join(marks).replace("!", "="))
        for mark in marks:
            words += ("supersede" if mark[0] == "~" else "unique", mark[1:])
    due = "" if job.at is None and job.delay is None and job.expires is None else _times(job)
    return [str(len(words)), due, token, content, uses, *words]


def _keys(job: Job, packed: bytes) -> list[str]:
    """Return the keys under which it is the only one, or the newest, each behind the mark that ``_accept.lua`` reads."""
    if job.on_duplicate not in {"return", "refuse"}:
        raise InvalidInput(f"on_duplicate: {job.on_duplicate!r} is neither 'return' nor 'refuse'.")
    marks: list[str] = []
    if job.unique is True:
        digest = hashlib.blake2b(f"{job.type} {job.tenant}".encode() + b"\0" + packed, digest_size=16).hexdigest()
        marks.append(("!" if job.on_duplicate == "refuse" else "=") + digest)
    elif job.unique:
        marks.append(("!" if job.on_duplicate == "refuse" else "=") + check_name("unique", job.unique))
    if job.supersede is not None:
        marks.append("~" + check_name("supersede", job.supersede))
    return marks


def _marks(job: Job) -> list[str]:
    words: list[str] = []
    if job.title is not None:
        words += ("title", _line("title", job.title))
    if job.tags:
        if not isinstance(job.tags, list | tuple | set | frozenset) or len(job.tags) > TAGS_MOST:
            raise InvalidInput(f"tags: {job.tags!r} is not a list of at most {TAGS_MOST} names.")
        words += ("tags", " ".join(_tag(tag) for tag in job.tags))
    if job.result_ttl is not None:
        if type(job.result_ttl) not in {int, float} or not 1 <= job.result_ttl <= TTL_MOST:
            raise InvalidInput(f"result_ttl: {job.result_ttl!r} is not a number of seconds from 1 to a year.")
        words += ("result_ttl", str(int(job.result_ttl * 1000)))
    return words


def _line(what: str, value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= TITLE_MOST and value.isprintable():
        return value
    raise InvalidInput(f"{what}: {value!r} is not one line of 1 to {TITLE_MOST} characters.")


def _tag(tag: object) -> str:
    if isinstance(tag, str) and NAME.fullmatch(tag.replace(":", "-")):
        return tag
    raise InvalidInput(f"tags: {tag!r} is not a name (A-Z a-z 0-9 . _ - :).")


def _moment(value: bytes | None) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(int(value) / 1000, dt.UTC) if value else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A snapshot of a job: plain attributes, times in UTC. ``handle.state()`` asks the server again.

    While it waits for its next attempt, ``error_type``, ``error`` and ``traceback`` are those of the last one; they go when
    the next one begins. ``overdue``: its handler has gone on past its timeout and could not be stopped. ``schedule``: which
    schedule made it, ``planned``: for which of its moments.

    A step of an order has ``order``, ``chain``, ``step`` and, if it is the run for one element of a list, its number
    ``element`` (0, 1, ...). ``goto``: the step that its handler chose as the next. Its params are what its handler is
    given, merged from the order's params and the results so far; empty in a listing, and once the order is gone.
    ``enters``: its order has not entered its chain yet, and does so with this job.

    ``event``: which event's trigger made it; ``depth``: how many triggers lie before it, where one has caused the next by a
    built-in event or by one that a handler has emitted; what its handler enqueues inherits that. One that gathers events
    says how many it has (``gathered``); its params hold them as ``events``, a list of their params, but for a listing.
    """

    id: str
    type: str
    priority: int
    state: str
    attempt: int = 0
    losses: int = 0
    params_packed: bytes = b""
    result_packed: bytes = b""
    uses: dict[str, int] | None = None
    seats: dict[str, int] = field(default_factory=dict[str, int])
    tenant: str | None = None
    title: str | None = None
    tags: tuple[str, ...] = ()
    token: str | None = None
    lease: str | None = None
    worker: str | None = None
    if_lost: str | None = None
    cancel_asked: bool = False
    error_type: str | None = None
    error: str | None = None
    traceback: str | None = None
    reason: str | None = None
    created_ms: int = 0
    created: dt.datetime | None = None
    due: dt.datetime | None = None
    started: dt.datetime | None = None
    finished: dt.datetime | None = None
    result_until: dt.datetime | None = None
    expires: dt.datetime | None = None
    progress: str | None = None
    overdue: bool = False
    schedule: str | None = None
    planned: dt.datetime | None = None
    unique: str | None = None
    supersede: str | None = None
    order: str | None = None
    chain: str | None = None
    step: str | None = None
    element: int | None = None
    enters: bool = False
    goto: str | None = None
    event: str | None = None
    depth: int = 0
    gathered: int | None = None
    events_packed: bytes | None = field(default=None, repr=False)
    handed: Handed | None = field(default=None, repr=False)

    @property
    def params(self) -> dict[str, Any]:
        """The params as values. Raises :class:`PayloadError` if they cannot be read."""
        if self.handed is not None:
            return self.handed.merged()
        value = unpack_value(self.params_packed)
        if not isinstance(value, dict):
            raise InvalidInput(f"params: job {self.id} holds a {type(value).__name__}, not a mapping.")
        params = cast("dict[str, Any]", value)
        if self.gathered is not None and self.events_packed is not None:
            params[EVENTS] = events_of(self.gathered, self.events_packed)
        return params

    @property
    def lent(self) -> bool:
        """Whether some of its params lie elsewhere: with its order, or among the events that it has gathered."""
        return self.order is not None or self.gathered is not None

    @property
    def result(self) -> Any:
        """What the handler returned, or None (also when it is no longer kept)."""
        return unpack_value(self.result_packed) if self.result_packed else None

    @classmethod
    def read(cls, job_id: str, flat: Sequence[bytes], result: bytes = b"") -> JobRecord:
        """Build a snapshot from the flat list that HGETALL returns."""
        fields = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}

        def text(name: str) -> str | None:
            value = fields.get(name)
            return None if value is None else value.decode("utf-8", "replace")

        record = cls(
            id=job_id,
            type=text("type") or "?",
            priority=int(fields.get("priority", b"0")),
            state=text("state") or "?",
            attempt=int(fields.get("attempt", b"0")),
            losses=int(fields.get("losses", b"0")),
            params_packed=join_pieces("params", fields),
            result_packed=result,
            uses=None if "uses" not in fields else uses_map(text("uses") or ""),
            seats=uses_map(text("seats") or ""),
            tenant=text("tenant"),
            title=text("title"),
            tags=tuple((text("tags") or "").split()),
            token=text("submission"),
            lease=text("token"),
            worker=text("worker"),
            if_lost=text("if_lost"),
            cancel_asked="cancel" in fields,
            error_type=text("error_type"),
            error=text("error"),
            traceback=text("traceback"),
            reason=text("reason"),
            created_ms=int(fields.get("created", b"0")),
            created=_moment(fields.get("created")),
            due=_moment(fields.get("due")),
            started=_moment(fields.get("started")),
            finished=_moment(fields.get("finished")),
            result_until=_moment(fields.get("result_until")),
            expires=_moment(fields.get("expires")),
            progress=text("progress"),
            overdue="overdue" in fields,
            schedule=text("schedule"),
            planned=_moment(fields.get("planned")),
            unique=text("unique"),
            supersede=text("supersede"),
            event=text("event"),
            depth=int(fields.get("depth", b"0")),
            gathered=int(fields["gathered"]) if "gathered" in fields else None,
            events_packed=fields.get(EVENTS),
        )
        if "order" not in fields:
            return record
        return replace(
            record,
            order=text("order"),
            chain=text("chain"),
            step=text("step"),
            element=int(fields["element"]) if "element" in fields else None,
            enters="enters" in fields,
            goto=text("goto"),
            handed=Handed.read(fields),
        )


def events_of(gathered: int, packed: bytes) -> list[Any]:
    """Return the events that a job has gathered: the params of each, in the order in which they came.

    Raises:
        PayloadError: they cannot be read, or are not as many as there were.

    """
    events = unpack_sequence(packed)
    if len(events) != gathered:
        raise PayloadError(
            f"events: {len(events)} of {gathered} that it gathered are there: removed by hand, or lost by the server."
        )
    return events


def attempt_text(attempt: int, worker: str, error_type: str, error: str, traceback: str) -> str:
    r"""Write a failed attempt for the list ``job:<id>:attempts``, where the server adds when it ended and began (epoch ms).

    ::

        1785312030000 attempt 2 by k3v9m2hx0q7t from 1785312029200: ConnectionError
          the mail server is away
                                        <- the first empty line ends the message, whose lines have two blanks in front
        Traceback (most recent call last): ...

    The message is cut at 2,000 characters, of the traceback the last 4,000 are kept. ``resubmit.lua`` writes the same.
    """
    message = error[:MESSAGE_MOST].replace("\n", "\n  ")
    kind = "".join(error_type.split()) or "?"
    return f"attempt {attempt} by {worker}: {kind}\n  {message}\n\n{traceback[-TRACEBACK_MOST:]}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that failed and after which the job ran again: when it ended and began (UTC), its number, by whom, why."""

    moment: dt.datetime
    attempt: int
    worker: str
    error_type: str
    error: str
    traceback: str
    began: dt.datetime | None = None

    @classmethod
    def read(cls, entry: str) -> Attempt:
        """Read an entry of the list: the moment and what :func:`attempt_text` wrote.

        Raises:
            PayloadError: something else has written it.

        """
        found = _ATTEMPT.fullmatch(entry)
        if found is None:
            raise PayloadError(f"attempts: {entry[:80]!r} is no entry of Seatline's.")
        return cls(
            moment=dt.datetime.fromtimestamp(int(found["ms"]) / 1000, dt.UTC),
            attempt=int(found["attempt"]),
            worker=found["worker"],
            error_type=found["kind"],
            error=found["message"].replace("\n  ", "\n"),
            traceback=found["traceback"],
            began=dt.datetime.fromtimestamp(int(found["began"]) / 1000, dt.UTC) if found["began"] else None,
        )
