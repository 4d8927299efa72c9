"""Triggers: stored rules by which an event enqueues jobs (Q20), at once, or gathered into one job for many events.

Terms: an *event* has a name and params; a program emits it. A *trigger* says which jobs it enqueues: the event's params and
over them the trigger's make the params of each. With ``coalesce`` a job is due that many seconds after the first event, and
until it is reserved further events of the same key are added to its list; it gets them as the param ``events``.

Who is authoritative: the server. The trigger is read, params are merged here, and one script accepts the jobs if the
trigger has not been changed since; if it has, that is done again. So all of an event's jobs are accepted or none, as one
version of the trigger says, and an event that is gathered is in exactly one job for each of the trigger's.

Some events nobody emits: a job has failed, a worker was lost. The script that writes that down writes down the fact too, if
something is triggered by it; so does the one that ends a job whose handler has emitted an event. Workers call
:func:`facts_emitted`, which makes jobs of them by the same way: once, whoever is killed when.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from seatline.shared.calls import triggers as verbs
from seatline.shared.calls.base import Call
from seatline.shared.calls.jobs import SUBMIT_MOST, Batch
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.calls.triggers import GATHERED_BYTES, Fact, Taking, TriggerRecord
from seatline.shared.codec import pack_params
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput, OutcomeUnknown, PayloadError
from seatline.shared.job import BULK_PRIORITY, DEFAULT_PRIORITY, EVENTS, Job, check_priority, job_words
from seatline.shared.keys import Keys

if TYPE_CHECKING:
    from seatline.producer.queue import Queue

__all__ = ["Triggers", "emitted", "facts_emitted", "trigger_call", "trigger_record", "trigger_records"]

#: Jobs of one trigger.
JOBS_MOST: Final = 100
COALESCE_LEAST: Final = 0.001
COALESCE_MOST: Final = 24 * 3600.0
#: Facts that are read at once.
FACTS_READ: Final = 200
#: How often an event is tried again because somebody changes its trigger meanwhile.
TRIES: Final = 5
_SPAN: Final = re.compile(r"(\d{1,6})([smh])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


class Triggers:
    """The triggers of a namespace: ``queue.triggers["drawing.released"]`` shows one, ``set`` makes one."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._store = queue, queue.store

    def set(
        self,
        event: str,
        jobs: Iterable[Job],
        *,
        coalesce: str | float | dt.timedelta | None = None,
        priority: int = BULK_PRIORITY,
    ) -> bool:
        """Say which jobs an event enqueues, in the place of what it enqueued before; returns True if that was nothing.

        Args:
            event: its name; also one of the built-in events: job.failed, job.interrupted, order.finished, order.failed,
                worker.lost.
            jobs: 1 to 100. Their params win over the event's, their tenant over the emitter's. ``at``, ``token`` and
                ``on_duplicate`` are not for them; ``delay`` and ``expires`` are seconds from the event.
            coalesce: gather the events of so many seconds (``10``, ``"10s"``, ``"5m"``; at most a day) into one job, which has
                them as the param ``events``, a list of their params. Its own params are the trigger's alone. ``delay``,
                ``expires``, ``unique`` and ``supersede`` do not go with it.
            priority: of all jobs that leave theirs at 10, the default (Q4).

        Raises:
            InvalidInput: an argument is not good; nothing was stored.

        """
        return self._store.run(trigger_call(event, jobs, coalesce, priority, self._queue.by))

    def remove(self, event: str) -> int:
        """Forget what an event enqueues; what it has enqueued goes on.

        Returns how many facts waited for a worker to make jobs of them, and are forgotten, too: built-in events, and
        events of handlers.

        Raises:
            NoSuchTrigger: it enqueues nothing.

        """
        return self._store.run(verbs.remove_trigger(check_name("event", event), self._queue.by))

    def __getitem__(self, event: str) -> TriggerRecord:
        """Return what an event enqueues.

        Raises:
            NoSuchTrigger: nothing.
            PayloadError: its record is damaged.

        """
        return self._store.talk(trigger_record(self._store.keys, event))

    def list(self) -> list[TriggerRecord]:
        """Return all triggers, by event."""
        return self._store.talk(trigger_records(self._store.keys))


def trigger_call(
    event: str,
    jobs: Iterable[Job],
    coalesce: str | float | dt.timedelta | None,
    priority: int,
    by: str,
) -> Call[bool]:
    """Check a trigger and return the call that stores it; see :meth:`Triggers.set`."""
    check_name("event", event)
    check_priority(priority)
    span = None if coalesce is None else _span(coalesce)
    wanted = [_template(number, job, priority, span) for number, job in enumerate(jobs, 1)]
    if not 1 <= len(wanted) <= JOBS_MOST:
        raise InvalidInput(f"jobs: {len(wanted)} are not 1 to {JOBS_MOST}. To enqueue none, remove the trigger.")
    return verbs.set_trigger(event, wanted, span, by)


def trigger_record(keys: Keys, event: str) -> Talk[TriggerRecord]:
    """Find a trigger; see :meth:`Triggers.__getitem__`."""
    (record,) = yield from ask(verbs.trigger_records(keys, [check_name("event", event)]))
    if record is None:
        raise verbs.no_trigger(event)
    return record


def trigger_records(keys: Keys) -> Talk[list[TriggerRecord]]:
    """Find all triggers; see :meth:`Triggers.list`."""
    events = yield from ask(verbs.event_names(keys))
    found = (yield from ask(verbs.trigger_records(keys, events))) if events else []
    return [record for record in found if record is not None]


def emitted(
    keys: Keys,
    event: str,
    entities: Iterable[Mapping[str, Any]],
    tenant: str | None,
    key: str | None,
    *,
    strict: bool,
) -> Talk[Batch]:
    """Emit an event for each of these params: all of its jobs are accepted, or none; see ``Queue.emit_many``."""
    verbs.check_event(event)
    if tenant is not None:
        check_name("tenant", tenant)
    if key is not None:
        verbs.check_key(key)
    many = [_params(number, params) for number, params in enumerate(entities)]
    for _ in range(TRIES):
        (record,) = yield from ask(verbs.trigger_records(keys, [event]))
        if record is None or not many:
            return Batch()
        count = len(many) * len(record.jobs)
        if count > SUBMIT_MOST:
            raise InvalidInput(
                f"event {event}: {len(many):,} events x {len(record.jobs):,} jobs are {count:,}, more than the limit of "
                f"{SUBMIT_MOST:,} a call. Emit them in several calls."
            )
        if record.coalesce is None:
            call = verbs.emit(record, _words(record, many, tenant), strict=strict)
        else:
            packed = [pack_params(params) for params in many]
            call = verbs.gather(record, record.gathering(key or "", tenant), packed, strict=strict)
        accepted = yield from ask(call)
        if accepted is not None:
            return accepted
    raise OutcomeUnknown(f"event {event}: somebody sets its trigger again and again; nothing was done. Emit it again.")


def _params(number: int, params: object) -> Mapping[str, Any]:
    if not isinstance(params, Mapping):
        raise InvalidInput(f"event {number}: a {type(params).__name__} is not a mapping of names to values.")
    return params  # pyright: ignore[reportUnknownVariableType] - what is in it is checked when it is packed


@dataclass(frozen=True, slots=True)
class FactsEmitted:
    """What was made of the facts of an event: how many of them, and of how many no jobs can be made, and why.

    Attributes:
        facts: of which jobs were accepted.
        missed: of which none can be made; ``why``: of the last.
        others: somebody else has taken some meanwhile.

    """

    facts: int = 0
    missed: int = 0
    why: str = ""
    others: bool = False


def facts_emitted(keys: Keys, event: str, most: int = 1_000) -> Talk[FactsEmitted]:
    """Make jobs of the facts that wait for an event's trigger, about ``most`` of them; each is taken as its jobs are accepted.

    Raises:
        Refused: their jobs are refused (the namespace is closed, ...): they wait, and are due again in a minute.
        PayloadError: the trigger's record is damaged.

    """
    done = FactsEmitted()
    while done.facts + done.missed < most:
        record, waiting = yield from ask(verbs.waiting_facts(keys, event, FACTS_READ))
        if record is None or not waiting:
            break
        call, count, why = _first(record, waiting[: max(1, SUBMIT_MOST // len(record.jobs))])
        accepted = yield from ask(call)
        if accepted is None:
            done = replace(done, others=True)
        elif why:
            done = replace(done, missed=done.missed + count, why=why)
        else:
            done = replace(done, facts=done.facts + count)
    return done


def _first(record: TriggerRecord, waiting: Sequence[bytes]) -> tuple[Call[Batch | None], int, str]:
    """Return the call for the first of these facts, for how many it is, and why no jobs can be made of them or ''."""
    facts, words, packed = list[Fact](), list[list[str | bytes]](), list[bytes]()
    size, why = 0, ""
    for each in waiting:
        more: list[list[str | bytes]] = []
        try:
            fact = Fact.read(record.event, each)
            if record.coalesce is None:
                wanted = record.wanted(fact.params, fact.tenant)
                more = [verbs.event_words(record.event, job, fact.depth) for job in wanted]
                size += sum(len(word) for job in more for word in job)
            else:
                packed.append(pack_params(fact.params))
                size += len(packed[-1])
        except (InvalidInput, PayloadError) as error:
            why = str(error)
            break
        others = record.coalesce is not None and facts and (fact.key, fact.tenant) != (facts[0].key, facts[0].tenant)
        if others or (size > GATHERED_BYTES and facts):
            break
        facts.append(fact)
        words += more
    if not facts:
        return verbs.emit(record, [], strict=False, taking=Taking(1, record.taken)), 1, why
    count, first = len(facts), facts[0]
    taking = Taking(count, record.taken, max(fact.depth for fact in facts))
    if record.coalesce is None:
        return verbs.emit(record, words, strict=False, taking=taking), count, ""
    jobs = record.gathering(first.key, first.tenant)
    return verbs.gather(record, jobs, packed[:count], strict=False, taking=taking), count, ""


def _words(record: TriggerRecord, many: Sequence[Mapping[str, Any]], tenant: str | None) -> list[list[str | bytes]]:
    words: list[list[str | bytes]] = []
    for number, params in enumerate(many):
        for job in record.wanted(params, tenant):
            try:
                words.append(verbs.event_words(record.event, job))
            except InvalidInput as error:
                raise InvalidInput(f"event {number}, job {job.type}: {error}") from None
    return words


def _template(number: int, job: object, priority: int, span: float | None) -> Job:
    """Return a job of a trigger as it is to be stored, or say what it cannot have."""
    if not isinstance(job, Job):
        raise InvalidInput(f"jobs: {job!r:.80} is not a Job. Use Job(type, params, ...).")
    what = f"job {number}"
    _refuse(what, "an event has no such thing; each makes another job", at=job.at, token=job.token)
    if job.on_duplicate != "return":
        raise InvalidInput(f"{what}: on_duplicate: one job that exists would refuse all of the event's. Leave it out.")
    if isinstance(job.expires, dt.datetime):
        raise InvalidInput(f"{what}: expires: {job.expires!r} is a moment; give seconds from the event.")
    if span is not None:
        why = "it does not go with coalesce, by which many events are one job"
        _refuse(what, why, delay=job.delay, expires=job.expires, unique=job.unique or None, supersede=job.supersede)
        if EVENTS in job.params:
            raise InvalidInput(
                f"{what}: params: {EVENTS!r} is the name under which it gets what it gathers. Rename it."
            )
    template = replace(job, priority=priority if job.priority == DEFAULT_PRIORITY else job.priority)
    try:
        job_words(template)
    except InvalidInput as error:
        raise InvalidInput(f"{what}: {error}") from None
    return template


def _refuse(what: str, why: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidInput(f"{what}: {name}: {why}. Leave it out.")


def _span(value: object) -> float:
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else value
    if isinstance(seconds, str):
        said = _SPAN.fullmatch(seconds)
        seconds = int(said[1]) * _UNITS[said[2]] if said else 0
    if type(seconds) in {int, float} and COALESCE_LEAST <= cast("float", seconds) <= COALESCE_MOST:
        return float(cast("float", seconds))
    raise InvalidInput(
        f"coalesce: {value!r} is no span of up to a day. Use seconds, or text such as '10s', '5m', '1h'."
    )
