"""What the last restart of the server has left behind: restored, started at once, interrupted, orphaned (W3).

A restart is noticed by the first contact after it (``contact.lua``), which notes when; the server was away from its last
sign of life before, the last event there is, until then. All is computed from plain reads, page by page, of at most
``most`` orders, and jobs, of each state; nothing is changed. It says what is so now: an order that was restored and has
ended since is counted no more.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

from seatline.producer.listing import ready_ids, ready_lines
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.errors import PayloadError
from seatline.shared.keys import STATES
from seatline.shared.order import ENDED, LIVE, OrderRecord
from seatline.shared.store import Store

__all__ = ["AfterRestart", "RestartReport", "restart_report", "restarted_at"]

MOST: Final = 10_000
PAGE: Final = 500

_ORDER: Final = (
    "number", "chain", "version", "state", "priority", "now", "title", "schedule", "created", "due", "started",
)  # fmt: skip
_JOB: Final = ("type", "state", "created", "due", "started", "title", "order", "chain", "step")


@dataclass(frozen=True, slots=True)
class AfterRestart:
    """A job or an order (``kind``) that the report names: its id, its type or chain (``of``), its state now, and why."""

    kind: Literal["job", "order"]
    id: str
    of: str
    state: str
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RestartReport:
    """What became of orders and jobs when the server was last restarted.

    Attributes:
        restarted: when that was noticed (UTC).
        away_since: its last sign of life before; None: there is none.
        restored: orders from before it that have not ended.
        jobs: how many jobs from before it wait, by state (``ready``, ``scheduled``); steps of orders are not among them.
        started: orders and jobs whose moment passed while it was away, so that they started at once, or do so now.
        interrupted: jobs that ran at that time and were interrupted, or whose lease has run out since.
        orphaned: orders and jobs that nothing can be done with, each with the reason; not only since then (O13).
        complete: False if there was more of something than was looked at.

    """

    restarted: dt.datetime
    away_since: dt.datetime | None
    restored: tuple[AfterRestart, ...]
    jobs: Mapping[str, int]
    started: tuple[AfterRestart, ...]
    interrupted: tuple[AfterRestart, ...]
    orphaned: tuple[AfterRestart, ...]
    complete: bool = True

    @property
    def well(self) -> bool:
        """Whether nothing was interrupted or orphaned."""
        return not (self.interrupted or self.orphaned)

    def __str__(self) -> str:
        least = "" if self.complete else "at least "
        return (
            f"since the restart of the server at {self.restarted:%F %T} UTC: {least}{len(self.restored)} orders and "
            f"{sum(self.jobs.values())} waiting jobs restored, {len(self.started)} started at once, "
            f"{len(self.interrupted)} interrupted, {len(self.orphaned)} orphaned"
        )


def restarted_at(store: Store) -> int | None:
    """Return when the server was last seen to run anew (epoch ms), or None if it never was."""
    return store.read(Read([("HGET", store.keys.about, "restarted")], lambda r: int(r[0]) if r[0] else None))


def restart_report(store: Store, *, most: int = MOST) -> RestartReport | None:
    """Say what became of orders and jobs at the last restart of the server; None: none was seen.

    Args:
        store: of the namespace.
        most: look at so many orders, and jobs, of each state.

    """
    at = restarted_at(store)
    return None if at is None else _Look(store, at, most).report()


@dataclass(slots=True)
class _Look:
    """The look, and what it has found so far; moments are epoch ms."""

    store: Store
    at: int
    most: int
    now: int = 0
    away: int = 0
    complete: bool = True
    restored: list[AfterRestart] = field(default_factory=list[AfterRestart])
    jobs: Counter[str] = field(default_factory=Counter[str])
    started: dict[tuple[str, str], AfterRestart] = field(default_factory=dict[tuple[str, str], AfterRestart])
    interrupted: list[AfterRestart] = field(default_factory=list[AfterRestart])
    orphaned: dict[tuple[str, str], AfterRestart] = field(default_factory=dict[tuple[str, str], AfterRestart])

    def report(self) -> RestartReport:
        self._when()
        self._live_orders()
        self._ended_orders()
        self._waiting_jobs()
        self._running_jobs()
        self._ended_jobs()
        return RestartReport(
            _moment(self.at),
            _moment(self.away) if self.away else None,
            tuple(self.restored),
            dict(self.jobs),
            tuple(self.started.values()),
            tuple(self.interrupted),
            tuple(self.orphaned.values()),
            self.complete,
        )

    def _when(self) -> None:
        keys = self.store.keys
        last: Read[int] = Read(
            [("XREVRANGE", keys("events"), str(self.at - 1), "-", "COUNT", 1)],
            lambda r: int(text(r[0][0][0]).partition("-")[0]) if r[0] else 0,
        )
        self.now, self.away = self.store.read(reads.server_time()), self.store.read(last)

    # -- orders

    def _live_orders(self) -> None:
        for state in LIVE:
            for ids in self._pages(f"orders:{state}"):
                suspects: list[tuple[OrderRecord, str, str]] = []
                for found, order in self._orders(ids):
                    if not isinstance(order, OrderRecord):
                        self._orphan(AfterRestart("order", found, "-", state, "", str(order)))
                        continue
                    suspects += [(order, step, word) for step, word in order.now.items() if word.isdigit()]
                    if order.state != state:
                        continue  # it has moved on, and stands on another page
                    if order.created is not None and _ms(order.created) < self.at:
                        at = ", ".join(order.now)
                        self.restored.append(_of_order(order, f"at {at}" if at and state != "waiting" else ""))
                    self._order_due(order)
                self._without_job(suspects)

    def _ended_orders(self) -> None:
        for state in ENDED:
            for ids in self._pages(f"orders:{state}", self.at):
                for _, order in self._orders(ids):
                    if isinstance(order, OrderRecord):
                        self._order_due(order)

    def _orders(self, ids: Sequence[str]) -> Iterator[tuple[str, OrderRecord | PayloadError]]:
        """Read orders, without what is large in them."""
        commands: list[Command] = [("HMGET", self.store.keys.order(order_id), *_ORDER) for order_id in ids]
        for order_id, values in zip(ids, self.store.read(Read(commands, list)), strict=True):
            flat = [word for pair in zip(_ORDER, values, strict=True) if pair[1] is not None for word in pair]
            try:
                if not flat:
                    raise PayloadError(f"order {order_id}: it is listed, but its record is gone.")
                yield order_id, OrderRecord.read(order_id, [w.encode() if isinstance(w, str) else w for w in flat])
            except PayloadError as error:
                yield order_id, error

    def _order_due(self, order: OrderRecord) -> None:
        started = _ms(order.started) if order.started else None
        if order.due is not None and self._passed(_ms(order.due), started):
            self.started["order", order.id] = _of_order(order, f"due {order.due:%F %T} UTC")

    def _without_job(self, suspects: Sequence[tuple[OrderRecord, str, str]]) -> None:
        """Those orders that are at a step whose job does not exist; whoever has moved on meanwhile is not."""
        keys = self.store.keys
        exist: Read[list[Any]] = Read([("EXISTS", keys.job(word)) for _, _, word in suspects], list)
        there = self.store.read(exist) if suspects else []
        lost = [each for each, exists in zip(suspects, there, strict=True) if not exists]
        again = dict(self._orders([order.id for order, _, _ in lost])) if lost else {}
        for order, step, word in lost:
            now = again[order.id]
            if isinstance(now, OrderRecord) and now.now.get(step) == word:
                self._orphan(_of_order(order, f"the job {int(word)} of its step {step} does not exist"))

    # -- jobs

    def _waiting_jobs(self) -> None:
        lines = self.store.talk(ready_lines(self.store.keys))
        self._look_at(job_id for _, job_id in self.store.walk(ready_ids(self.store.keys, lines)))
        for ids in self._pages("scheduled"):
            self._look_at(iter(ids))

    def _look_at(self, ids: Iterator[str]) -> None:
        """Count those from before, and find those that were due meanwhile or whose order is lost."""
        given = 0
        while page := list(islice(ids, min(PAGE, self.most - given))):
            given += len(page)
            for job_id, job in self._jobs(page):
                if job["state"] in {"ready", "scheduled"} and not job["order"] and int(job["created"] or 0) < self.at:
                    self.jobs[job["state"]] += 1
                self._job_due(job_id, job)
        if given == self.most and next(ids, None) is not None:
            self.complete = False

    def _running_jobs(self) -> None:
        for ids in self._pages("running"):
            for job_id, job in self._jobs(ids):
                self._job_due(job_id, job)
        overdue: Read[list[str]] = Read(
            [("ZRANGEBYSCORE", self.store.keys("running"), "-inf", self.now, "LIMIT", 0, PAGE)], _ids
        )
        late = self.store.read(overdue)
        for job_id, job in self._jobs(late):
            if job["state"] == "running" and int(job["started"] or 0) < self.at:
                self.interrupted.append(
                    _of_job(job_id, job, "its lease has run out; its worker renews it, or another takes it back")
                )

    def _ended_jobs(self) -> None:
        for state in STATES[3:]:
            for ids in self._pages(f"finished:{state}", self.at):
                for job_id, job in self._jobs(ids):
                    self._job_due(job_id, job)
                    if state == "interrupted" and int(job["started"] or self.at) < self.at:
                        self.interrupted.append(_of_job(job_id, job, f"seatline jobs resubmit {int(job_id)} runs it"))

    def _jobs(self, ids: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
        """Read jobs, and say which of them are steps of an order that is lost."""
        keys = self.store.keys
        commands: list[Command] = [("HMGET", keys.job(job_id), *_JOB) for job_id in ids]
        found: list[tuple[str, dict[str, str]]] = []
        for job_id, values in zip(ids, self.store.read(Read(commands, list)) if ids else (), strict=True):
            if any(value is not None for value in values):
                words = ("" if value is None else text(value) for value in values)
                found.append((job_id, dict(zip(_JOB, words, strict=True))))
        of_orders = [(job_id, job) for job_id, job in found if job["order"] and job["state"] in STATES[:3]]
        look: Read[list[Any]] = Read([("HEXISTS", keys.order(job["order"]), "number") for _, job in of_orders], list)
        for (job_id, job), exists in zip(of_orders, self.store.read(look) if of_orders else (), strict=True):
            if not exists:
                self._orphan(_of_job(job_id, job, f"its order {_short(job['order'])} is lost"))
        return found

    def _job_due(self, job_id: str, job: Mapping[str, str]) -> None:
        if not job["due"] or not self._passed(int(job["due"]), int(job["started"]) if job["started"] else None):
            return
        note = f"due {_moment(int(job['due'])):%F %T} UTC"
        if job["order"]:
            step = f"step {job['step']}, {note}"
            told = AfterRestart("order", job["order"], job["chain"], job["state"], job["title"], step)
            self.started.setdefault(("order", job["order"]), told)
        else:
            self.started["job", job_id] = _of_job(job_id, job, note)

    # -- both

    def _passed(self, due: int, started: int | None) -> bool:
        """Whether the moment came while the server was away; what had started before was not waiting for it."""
        return self.away < due <= self.at and (started is None or started >= self.at)

    def _orphan(self, what: AfterRestart) -> None:
        self.orphaned[what.kind, what.id] = what

    def _pages(self, zset: str, least: int | None = None) -> Iterator[list[str]]:
        """Walk a sorted set, from a score on, in pages of ids."""
        key, bound = self.store.keys(zset), "-inf" if least is None else str(least)
        seen = set[str]()
        for start in range(0, self.most, PAGE):
            count = min(PAGE, self.most - start)
            page = self.store.read(Read([("ZRANGEBYSCORE", key, bound, "+inf", "LIMIT", start, count)], _ids))
            if new := [each for each in page if each not in seen]:
                yield new
            seen = set(page)
            if len(page) < count:
                return
        more = self.store.read(Read([("ZCOUNT", key, bound, "+inf")], lambda r: int(r[0])))
        self.complete = self.complete and more <= self.most


def _ids(replies: Sequence[Any]) -> list[str]:
    return [text(each) for each in replies[0]]


def _ms(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


def _short(order_id: str) -> str:
    return str(int(order_id)) if order_id.isdigit() else order_id


def _of_order(order: OrderRecord, note: str) -> AfterRestart:
    return AfterRestart("order", order.id, order.chain, order.state, order.title or "", note)


def _of_job(job_id: str, job: Mapping[str, str], note: str) -> AfterRestart:
    step = f"step {job['step']} of order {_short(job['order'])}; " if job["order"] and "is lost" not in note else ""
    return AfterRestart("job", job_id, job["type"], job["state"], job["title"], step + note)
