"""The verbs of time: schedules are set, changed and fired, windows of types are set; and how a schedule is read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from seatline.shared.calls.base import Call, Command, Read, Refusal, Word, text
from seatline.shared.calls.orders import no_chain
from seatline.shared.errors import Closed, InvalidInput, NoSuchSchedule, ScheduleExists, TenantRequired, WrongState
from seatline.shared.job import JobRecord
from seatline.shared.keys import Keys
from seatline.shared.times import Cron, Every, Interval, Missed, Plan, Timing, plan

__all__ = [
    "FIRED_MOST",
    "WINDOW",
    "Due",
    "Fired",
    "ScheduleRecord",
    "Shot",
    "act",
    "due",
    "fire",
    "schedule_records",
    "set_schedule",
    "set_window",
]

#: Schedules in one fire call.
FIRED_MOST: Final = 16
WINDOW: Final = "window:"
_JOB_WORDS: Final = ("type", "chain", "priority", "uses", "tenant", "title", "tags", "result_ttl")


def _moment(ms: str | None) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC) if ms else None


def _number(value: str | None) -> int | None:
    return int(value) if value else None


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule as it is stored: when it runs, and what job it makes, or what order it starts (T6 to T8, O3).

    Attributes:
        name: its own.
        fields: its hash, all but params as text; times in epoch ms.
        job: its job as a snapshot; only what the producer says is in it. Of one that starts orders: what they have in
            common with jobs (params, priority, tenant, title).

    """

    name: str
    fields: Mapping[str, str]
    job: JobRecord
    params: tuple[tuple[str, bytes], ...]

    @classmethod
    def read(cls, name: str, flat: Sequence[bytes]) -> ScheduleRecord:
        """Build it from the flat list that HGETALL returns."""
        pairs = [(text(key), value) for key, value in zip(flat[::2], flat[1::2], strict=True)]
        params = tuple(pair for pair in pairs if pair[0].startswith("params"))
        fields = {key: text(value) for key, value in pairs if not key.startswith("params")}
        ours = [word for pair in pairs if pair[0] in _JOB_WORDS or pair in params for word in pair]
        return cls(name, fields, JobRecord.read("", [w.encode() if isinstance(w, str) else w for w in ours]), params)

    @property
    def cron(self) -> str | None:
        """The text of its cron, or None if it is an interval."""
        return self.fields.get("cron")

    @property
    def zone(self) -> str:
        """The zone of its cron."""
        return self.fields.get("zone", "UTC")

    @property
    def every(self) -> float | None:
        """The seconds of its interval, or None if it is a cron."""
        every = _number(self.fields.get("every"))
        return None if every is None else every / 1000

    @property
    def after_end(self) -> bool:
        """Whether the interval counts from the end of the last run."""
        return "after_end" in self.fields

    @property
    def start(self) -> dt.datetime | None:
        """No moment lies before it."""
        return _moment(self.fields.get("start"))

    @property
    def end(self) -> dt.datetime | None:
        """No moment lies after it."""
        return _moment(self.fields.get("end"))

    @property
    def missed(self) -> Missed:
        """What becomes of moments at which nobody was there: skip, once, all."""
        return cast("Missed", self.fields.get("missed", "once"))

    @property
    def most(self) -> int:
        """How many missed moments are made up for with ``all``."""
        return int(self.fields.get("most", "1"))

    @property
    def paused(self) -> str | None:
        """Since when (epoch ms) and by whom it is paused, or None."""
        return self.fields.get("paused")

    @property
    def next(self) -> dt.datetime | None:
        """The next moment (UTC); None while it is paused, waits for its run's end, or has ended."""
        return None if self.paused else _moment(self.fields.get("next"))

    @property
    def last(self) -> dt.datetime | None:
        """The last moment for which it has made a job, or started an order (UTC)."""
        return _moment(self.fields.get("last"))

    @property
    def chain(self) -> str | None:
        """The chain of which it starts orders, or None: it makes jobs."""
        return self.fields.get("chain")

    @property
    def last_job(self) -> str | None:
        """The id of the last job it has made, or of the last order that it has started."""
        return self.fields.get("last_job")

    @property
    def error(self) -> str | None:
        """Why no worker could compute it when one last tried, or None."""
        return self.fields.get("error")

    @property
    def state(self) -> str:
        """One word: paused, error, waits (for the end of its run), ended, or active."""
        if self.paused:
            return "paused"
        if self.error:
            return "error"
        if self.next is None:
            return "waits" if self.after_end and not self._over() else "ended"
        return "active"

    def _over(self) -> bool:
        end = self.end
        return end is not None and end < dt.datetime.now(dt.UTC)

    @property
    def timing(self) -> Timing:
        """When it runs.

        Raises:
            InvalidInput: its zone is not known here, or its record is damaged.

        """
        try:
            return self._timing()
        except (KeyError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"schedule {self.name}: its record is damaged ({error}). Add it again.") from None

    def _timing(self) -> Timing:
        fields = self.fields
        start, end = _number(fields.get("start")), _number(fields.get("end"))
        if "cron" in fields:
            return Timing(Cron(fields["cron"], self.zone), start, end)
        return Timing(Every(int(fields["every"]), int(fields["anchor"])), start, end, self.after_end)

    def words(self, planned: int) -> list[str | bytes]:
        """Write its job for one of its moments, as :func:`~seatline.shared.job.job_words` would.

        Or its order, as :func:`~seatline.shared.order.order_words` would: the chain stands first, where a job has its type.
        """
        words: list[str | bytes] = []
        for name in _JOB_WORDS:
            if name in self.fields:
                words += (name, self.fields[name])
        for pair in self.params:
            words += pair
        words += ("schedule", self.name, "planned", str(planned))
        if self.after_end:
            words += ("listeners", f">{self.name}")  # whoever ends it tells the schedule (_finish.lua)
        limit = self.fields.get("expires_ms")
        return [str(len(words)), f"/+{limit}" if limit else "", "", "", self.fields.get("uses", ""), *words]

    def plan(self, now: int) -> Plan:
        """Say what is to be fired now, if anything, and what comes next."""
        planned = int(self.fields["next"])
        return plan(self.timing, planned=planned, now=now, missed=self.missed, most=self.most)


def schedule_records(keys: Keys, names: Sequence[str]) -> Read[list[ScheduleRecord | None]]:
    """Return schedules, None for those that do not exist."""

    def parse(replies: Sequence[Any]) -> list[ScheduleRecord | None]:
        return [ScheduleRecord.read(name, flat) if flat else None for name, flat in zip(names, replies, strict=True)]

    return Read([("HGETALL", keys(f"schedule:{name}")) for name in names], parse)


@dataclass(frozen=True, slots=True)
class Due:
    """What a worker computes: schedules that are due, and the windows (type -> text) that have closed."""

    now: int
    schedules: Sequence[ScheduleRecord]
    windows: Mapping[str, str]


def due(keys: Keys, names: Sequence[str]) -> Read[Due]:
    """Read what a turn has named as due; what was removed or changed meanwhile is left out."""
    types = [name.removeprefix(WINDOW) for name in names if name.startswith(WINDOW)]
    others = [name for name in names if ":" not in name]
    commands: list[Command] = [("TIME",)]
    commands += [("HGETALL", keys(f"schedule:{name}")) for name in others]
    commands += [("HMGET", keys(f"type:{type_}"), "window", "closes") for type_ in types]

    def parse(replies: Sequence[Any]) -> Due:
        now = int(replies[0][0]) * 1000 + int(replies[0][1]) // 1000
        records = [
            ScheduleRecord.read(name, flat)
            for name, flat in zip(others, replies[1 : 1 + len(others)], strict=True)
            if flat
        ]
        windows = {
            type_: text(window)
            for type_, (window, closes) in zip(types, replies[1 + len(others) :], strict=True)
            if window and int(closes or 0) <= now
        }
        ready = [each for each in records if not each.paused and int(each.fields.get("next") or now + 1) <= now]
        return Due(now, ready, windows)

    return Read(commands, parse)


@dataclass(frozen=True, slots=True)
class Shot:
    """One schedule to be fired, as it was read, with what was computed; ``error``: why it could not be."""

    schedule: ScheduleRecord
    plan: Plan
    error: str = ""

    def words(self) -> list[Word]:
        """Write it as the fire script reads it."""
        fields, moments = self.schedule.fields, self.plan.moments
        words: list[Word] = [self.schedule.name, fields.get("version", ""), fields.get("next", "")]
        words += ["" if self.plan.next is None else self.plan.next, moments[-1] if moments else "", self.error]
        words.append(len(moments))
        for moment in moments:
            words += self.schedule.words(moment)
        return words


@dataclass(frozen=True, slots=True)
class Fired:
    """What a fire call did: a word and the id of the last job or order ('-': none) for each schedule; what else is due."""

    words: Sequence[str]
    ids: Sequence[str]
    more: Sequence[str]


def fire(worker: str, shots: Sequence[Shot]) -> Call[Fired]:
    """Enqueue what is due of these schedules, at most 16, and set their next moments."""
    words: list[Word] = [worker, len(shots)]
    for shot in shots:
        words += shot.words()
    return Call("fire", words, lambda reply: Fired(*(text(part).split() for part in reply[1:4])))


def _missing(name: str) -> NoSuchSchedule:
    return NoSuchSchedule(f"schedule {name}: no such schedule. `seatline schedules list` shows what there is.")


def set_schedule(name: str, fields: Sequence[Word], next_ms: int, by: str, *, replace: bool) -> Call[bool]:
    """Store a schedule; returns True if it is new.

    Raises:
        ScheduleExists: there is one of that name, and it is not to be replaced.
        TenantRequired: the namespace requires a tenant.

    """
    refusals: dict[str, Refusal] = {
        "exists": lambda _: ScheduleExists(
            f"schedule {name}: there is one of that name. Take another name, or replace it (replace=True, --replace)."
        ),
        "tenant": lambda _: TenantRequired(),
    }
    words = (name, "1" if replace else "", next_ms, by, *fields)
    return Call("schedule_set", words, lambda reply: text(reply[1]) == "new", refusals)


def act(
    name: str,
    verb: Literal["pause", "resume", "remove", "run"],
    by: str,
    record: ScheduleRecord | None = None,
    next_ms: int | None = None,
    job: Sequence[Word] = (),
) -> Call[str | None]:
    """Change a schedule or run it; returns ``now``, ``was``, or the id of a job or order; None: it was changed, read it again.

    Raises:
        NoSuchSchedule: there is none.
        NoSuchChain: it is to run, and there is no such chain.
        WrongState: it counts from the end of its last run, which has not ended.
        Closed, TenantRequired: as for a job.

    """

    def busy(reply: Sequence[Any]) -> WrongState:
        run, kind = int(text(reply[1])), "order" if record and record.chain else "job"
        return WrongState(
            f"schedule {name}: its last run, {kind} {run}, has not ended, and its runs never overlap (after_end). "
            f"Wait for it, or: seatline {kind}s cancel {run}"
        )

    refusals: dict[str, Refusal] = {
        "missing": lambda _: _missing(name),
        "busy": busy,
        "chain": lambda reply: no_chain(text(reply[1])),
        "closed": lambda _: Closed(),
        "tenant": lambda _: TenantRequired(),
    }
    version = record.fields.get("version", "") if record else ""
    words = (name, verb, version, "" if next_ms is None else next_ms, by, *job)
    return Call("schedule_act", words, lambda reply: text(reply[1]), refusals, also={"changed": lambda _: None})


def set_window(type_: str, window: str, interval: Interval, by: str) -> Call[str | None]:
    """Set the window of a type, lift it (''), or, ``by`` '', set the next times of one that has closed.

    Returns the window that stood before ('' = none), or None if it is another one now.
    """
    words = (type_, window, *interval, by)
    return Call("window_set", words, lambda reply: text(reply[1]), also={"changed": lambda _: None})
