"""The queue as a producer sees it."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from seatline.producer.acts import acts_in, moment_ms
from seatline.producer.chains import Chains
from seatline.producer.failures import Failure, failures_of
from seatline.producer.handle import JobHandle
from seatline.producer.listing import jobs_in
from seatline.producer.orders import OrderHandle, orders_in
from seatline.producer.pools import Pools
from seatline.producer.report import Report, report_of
from seatline.producer.requests import Batches, Requests, who
from seatline.producer.retention import Retention
from seatline.producer.schedules import Schedules
from seatline.producer.selection import Selection, Wanted, look
from seatline.producer.triggers import Triggers
from seatline.shared.calls.acts import Act
from seatline.shared.chain import Chain
from seatline.shared.config import Settings
from seatline.shared.errors import PayloadError
from seatline.shared.job import DEFAULT_PRIORITY, Job, JobRecord, job_id
from seatline.shared.job_type import JobOptions, JobType
from seatline.shared.order import OrderRecord, order_id
from seatline.shared.store import Listener, Store

__all__ = ["Queue"]

P = TypeVar("P")


class Queue:
    """One namespace of one server. Safe to share between threads and across a fork.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user and password; else ``SEATLINE_URL``; else the embedded
            server, started if need be (said in the log; ``SEATLINE_EMBEDDED=never`` forbids it).
        namespace: a name; else ``SEATLINE_NAMESPACE``, else ``default``.
        tenant: put on every job that names none. A mark for the login, not a guard (Q26).
        strict: refuse jobs whose seats could never be had (no such pool, too small); otherwise they are accepted,
            flagged, and a warning is logged (S5).
        comment: why this queue acts: told with your name wherever that is, in histories and in the audit.
        user: the login, if the URL names none, on the embedded server too; else ``SEATLINE_USER``.
        password_file: a file whose first line is the password, read at every connection, if the URL has none; else
            ``SEATLINE_PASSWORD_FILE``.
        settings: further :class:`~seatline.shared.config.Settings`, in seconds: ``timeout`` 5, ``connect_timeout`` 2,
            ``deadline`` 10 (how long a request is repeated after a lost connection); ``allow_eviction`` False (use a server
            all the same that deletes keys when it is full).

    Raises:
        InvalidInput: a setting is bad.
        NoEmbeddedServer: no server was named and none can be started.

    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        tenant: str | None = None,
        strict: bool = False,
        comment: str | None = None,
        user: str | None = None,
        password_file: str | None = None,
        **settings: float | None,
    ) -> None:
        self.settings = Settings.load(
            url=url, user=user, password_file=password_file, namespace=namespace, tenant=tenant, **settings
        )
        self.store = Store(self.settings, role="producer")
        self.by = who(comment)
        self._requests = Requests(self.settings, self.store.keys, strict=strict)
        self._local = threading.local()
        self._listeners: list[Listener] = []

    def __repr__(self) -> str:
        return f"<Queue {self.settings.namespace} at {self.store.place}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, bells too; using the queue again opens new ones."""
        listeners, self._listeners, self._local = self._listeners, [], threading.local()
        for listener in listeners:
            listener.close()
        self.store.close()

    @overload
    def enqueue(self, type: JobType[P], params: P, **options: Unpack[JobOptions]) -> JobHandle: ...
    @overload
    def enqueue(
        self, type: str, params: Mapping[str, Any] | None = None, **options: Unpack[JobOptions]
    ) -> JobHandle: ...
    def enqueue(
        self,
        type: str | JobType[Any],
        params: Any = None,
        *,
        priority: int = DEFAULT_PRIORITY,
        uses: Mapping[str, int] | None = None,
        tenant: str | None = None,
        title: str | None = None,
        tags: Sequence[str] = (),
        at: dt.datetime | None = None,
        delay: float | dt.timedelta | None = None,
        token: str | None = None,
        result_ttl: float | None = None,
        expires: float | dt.timedelta | dt.datetime | None = None,
        unique: str | bool | None = None,
        on_duplicate: Literal["return", "refuse"] = "return",
        supersede: str | None = None,
    ) -> JobHandle:
        """Put one job on the queue, in one round trip, exactly once; see :class:`~seatline.shared.job.Job`.

        With a :class:`~seatline.shared.job_type.JobType` its params are an instance of that type's class.

        Raises:
            InvalidInput: an argument is outside its limits; nothing was sent.
            Closed: the namespace takes no new jobs.
            Conflict: the token stands for a job with other content.
            Duplicate: a job with that key lives, and this one is to be refused then.
            TenantRequired: the namespace requires a tenant, and there is none.
            SeatsLacking: this queue is strict, and a pool could never give the seats.
            ServerFull, ServerUnavailable, ServerRefused: nothing was stored.
            OutcomeUnknown: the connection was lost for longer than the deadline after sending.

        """
        name, plain = (type.type, type.plain(params)) if isinstance(type, JobType) else (type, params or {})
        job = Job(
            name,
            plain,
            priority,
            uses,
            tenant,
            title,
            tags,
            at,
            delay,
            token,
            result_ttl,
            expires,
            unique,
            on_duplicate,
            supersede,
        )
        batch = self.store.run(self._requests.submit([self._requests.words(job)]))
        (accepted,) = self._requests.accepted(batch)
        return JobHandle(self, accepted.id, accepted.created, existed=accepted.existed)

    def enqueue_many(self, jobs: Iterable[Job]) -> list[str]:
        """Put many jobs on the queue, streamed in batches of up to 1,000; returns their ids in order.

        Each batch is accepted whole or not at all.

        Raises:
            PartialEnqueue: something was refused, or the iterable broke, after others were accepted: ``ids``, ``index``,
                ``cause``.
            SeatlineError: as for :meth:`enqueue`, if nothing was accepted yet.

        """
        with Batches(self._requests) as batches:
            for job in jobs:
                for call in batches.add(job):
                    batches.accepted(self.store.run(call))
            for call in batches.rest():
                batches.accepted(self.store.run(call))
        return batches.ids

    def emit(
        self,
        event: str,
        params: Mapping[str, Any] | None = None,
        *,
        tenant: str | None = None,
        key: str | None = None,
    ) -> list[str]:
        """Say that something has happened: the jobs that its trigger names are enqueued, in one atomic call (Q20).

        Each has the event's params and over them the trigger's, and knows its event (``job.event``). Returns their ids, in
        the trigger's order; none if nothing is triggered by that event. Of a trigger that coalesces: the ids of the jobs that
        gather it.

        Args:
            event: its name.
            params: of the event.
            tenant: of the jobs, unless the trigger names one.
            key: only events of the same key (and tenant) are gathered into one job; by default all of that name are.

        Raises:
            InvalidInput: an argument is outside its limits, or it would be more than 1,000 jobs; nothing was enqueued.
            OutcomeUnknown: as for a job; or its trigger was changed again and again meanwhile, and nothing was done.
            Closed, TenantRequired, SeatsLacking, ServerError: as for a job.

        """
        return self.emit_many(event, [params or {}], tenant=tenant, key=key)

    def emit_many(
        self,
        event: str,
        entities: Iterable[Mapping[str, Any]],
        *,
        tenant: str | None = None,
        key: str | None = None,
    ) -> list[str]:
        """Emit an event for each of many entities, each with its own params: n events give n x k jobs, or none (Q20).

        All is as for :meth:`emit`; the ids come by entity, then in the trigger's order. At most 1,000 jobs a call.
        """
        return self.store.talk(self._requests.emit(event, entities, tenant, key))

    def find(self, token: str) -> JobHandle | None:
        """Return the job that was enqueued with this token, or None."""
        found = self.store.read(self._requests.token(token))
        return None if found is None else JobHandle(self, found)

    def handle(self, id: str | int) -> JobHandle:
        """Return a handle for an id, without asking the server."""
        return JobHandle(self, job_id(id))

    def job(self, id: str | int) -> JobRecord:
        """Return a snapshot of a job.

        Raises:
            NoSuchJob: there is none.

        """
        return self.store.talk(self._requests.job(id))

    def jobs(
        self,
        *,
        state: str | None = None,
        type: str | None = None,
        tenant: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> Iterator[JobRecord]:
        """Iterate over jobs, read page by page.

        Running jobs come first, by lease; then waiting ones in the order in which they would be reserved, over all types
        (Q25); then scheduled ones by due time. Ended ones of a state come the newest first. It is a walk, not a snapshot: a
        job that moves on meanwhile may be missed. To wait for an end, use a handle.

        Args:
            state: one state, or None for all that have not ended.
            type: one type.
            tenant: one tenant.
            tag: one of their tags, such as ``load:ID``; the ids of a load are known, others are found by reading all jobs.
            limit: at most so many.

        """
        return self.store.walk(jobs_in(self.store.keys, state=state, type_=type, tenant=tenant, tag=tag, limit=limit))

    def select(
        self,
        *,
        state: str | Sequence[str] | None = None,
        type: str | None = None,
        tenant: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        older_than: float | dt.timedelta | None = None,
        on: Callable[[int], object] | None = None,
    ) -> Selection:
        """Find all jobs that match now, to cancel, remove, resubmit or move all of them (Q22).

        Read page by page, by the lines of the type, the set of the state, the ids of the load; a selection holds ids, so a
        million of them cost a few MB. What is accepted later, or ends later, is not among them.

        Args:
            state: one state, or several; None: scheduled, ready and running.
            type: one type.
            tenant: one tenant.
            tag: one of their tags, such as ``load:ID``.
            error: a part of the kind and the message of their last error, as it stands or as :meth:`failures` tells it; in
                small or large letters.
            older_than: seconds (or a timedelta) since they ended, of those that have; else since they were accepted.
            on: is told now and then how many there are so far.

        Raises:
            InvalidInput: an argument is outside its limits; nothing was sent.

        """
        wanted = Wanted.of(state, type, tenant, tag, error, older_than)
        return Selection(self, self.store.talk(look(self.store.keys, wanted, on)))

    def failures(
        self,
        *,
        state: str | Sequence[str] = "failed",
        type: str | None = None,
        tenant: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        newer_than: float | dt.timedelta | None = None,
    ) -> list[Failure]:
        """Say what has failed, by kind: jobs of one type whose messages are alike, the most frequent first.

        Args:
            state: or another end, or several: ``("failed", "interrupted")``.
            type: one type.
            tenant: one tenant.
            tag: one of their tags, such as ``load:ID``.
            error: a part of the kind and the message, as for :meth:`select`.
            newer_than: seconds (or a timedelta): only those that have ended since then.

        Raises:
            InvalidInput: an argument is outside its limits; nothing was sent.

        """
        wanted = Wanted.of(state, type, tenant, tag, error, None)
        return self.store.talk(failures_of(self.store.keys, wanted, newer_than))

    def define(self, chain: Chain) -> int:
        """Store a chain; returns its version. The same steps again are the same version (O13).

        Orders that are under way keep the version that they started with.

        Raises:
            InvalidInput: something is wrong with it; names the place. Nothing was stored.

        """
        return self.store.run(self._requests.define(chain, self.by))[0]

    def start(
        self,
        chain: str,
        params: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        priority: int = DEFAULT_PRIORITY,
        tenant: str | None = None,
        title: str | None = None,
        at: dt.datetime | None = None,
        delay: float | dt.timedelta | None = None,
        replace: bool = False,
    ) -> OrderHandle:
        """Start an order: one run through a chain, in one round trip, exactly once.

        Args:
            chain: its name.
            params: of the order: names to values, from which its steps' params are made (O5).
            id: a name of your own, with a letter in it, by which it is found again; its number by default.
            priority: of its steps, unless they say otherwise; and of its place in front of the chain (O10).
            tenant: of its steps.
            title: a line for people.
            at: the moment at which it starts, with a time zone; a moment that passed means now (T1).
            delay: seconds until then.
            replace: put it in the place of one of that id, if no step of that one is under way (O9).

        Raises:
            InvalidInput: an argument is outside its limits; nothing was sent.
            NoSuchChain: there is no chain of that name.
            OrderExists: there is an order of that id.
            WrongState: it is to be replaced, and a step of it is under way.
            Closed, TenantRequired: as for a job.

        """
        call = self._requests.start(
            chain, params, id=id, priority=priority, tenant=tenant, title=title, at=at, delay=delay, replace=replace
        )
        started = self.store.run(call)
        return OrderHandle(self, started.id, started.number)

    def order(self, id: str | int) -> OrderHandle:
        """Return a handle for an order, without asking the server. People may type 42 for one that has its number."""
        return OrderHandle(self, order_id(id))

    def orders(
        self, *, state: str | None = None, chain: str | None = None, limit: int | None = None
    ) -> Iterator[OrderRecord | PayloadError]:
        """Iterate over orders, read page by page; one whose record cannot be read comes as the error that says why (O13).

        Those under way come first, then suspended, waiting and scheduled ones, each in the order of their start. Ended ones
        of a state come the newest first. It is a walk, not a snapshot; params and outputs are not read.

        Args:
            state: one state, or None for all that have not ended.
            chain: one chain.
            limit: at most so many.

        """
        return self.store.walk(orders_in(self.store.keys, state=state, chain=chain, limit=limit))

    @property
    def chains(self) -> Chains:
        """The namespace's chains."""
        return Chains(self)

    @property
    def pools(self) -> Pools:
        """The namespace's licence pools."""
        return Pools(self)

    @property
    def retention(self) -> Retention:
        """How long and how many ended jobs are kept."""
        return Retention(self)

    @property
    def schedules(self) -> Schedules:
        """The namespace's schedules."""
        return Schedules(self)

    @property
    def triggers(self) -> Triggers:
        """The namespace's triggers: which jobs events enqueue."""
        return Triggers(self)

    def window(self, type: str, window: str | None) -> str | None:
        """Say when jobs of a type may start, such as ``"Mon-Fri 20:00-05:00 Europe/Paris"``; None: at any time (T9).

        Outside its window a type's jobs wait, and ``why`` says until when; what runs goes on. Returns the window that stood
        before, or None.

        Raises:
            InvalidInput: it is no window; see :class:`~seatline.shared.times.Window`.

        """
        return self.store.talk(self._requests.window(type, window, self.by))

    def pause(self, type: str | None = None) -> bool:
        """Accept jobs but start none, of the namespace or of one type. Returns False if it was paused already (Q19)."""
        return self.store.run(self._requests.gate(type, "paused", self.by))

    def resume(self, type: str | None = None) -> bool:
        """Go on, in order. Returns False if it was not paused."""
        return self.store.run(self._requests.gate(type, "paused", "", self.by))

    def shut(self) -> bool:
        """Close the namespace: new jobs are refused with :class:`~seatline.shared.errors.Closed`, old ones go on (Q19)."""
        return self.store.run(self._requests.gate(None, "closed", self.by))

    def reopen(self) -> bool:
        """Take new jobs again."""
        return self.store.run(self._requests.gate(None, "closed", "", self.by))

    def require_tenant(self, required: bool = True) -> bool:
        """Refuse new jobs that name no tenant, or take them again. Returns False if that was so already (Q26)."""
        return self.store.run(self._requests.gate(None, "tenant", *((self.by,) if required else ("", self.by))))

    def report(self, since: float | dt.datetime, until: float | dt.datetime | None = None) -> Report:
        """Say what ran, failed and waited, and which seats it took: of all jobs that ended in a period (H1).

        It reads each of them, page by page.

        Args:
            since: a moment with a time zone, or seconds since 1970.
            until: likewise; None: now.

        Raises:
            InvalidInput: an argument is outside its limits, or the period is none.

        """
        end = None if until is None else moment_ms("until", until)
        return self.store.talk(report_of(self.store.keys, moment_ms("since", since), end))

    def acts(self, *, since: float | dt.datetime | None = None, limit: int | None = None) -> Iterator[Act]:
        """Iterate over what people did to the namespace, the newest first (the audit).

        Args:
            since: only what was done from then on: a moment with a time zone, or seconds since 1970.
            limit: at most so many.

        """
        return self.store.walk(acts_in(self.store.keys, since_ms=moment_ms("since", since), limit=limit))

    def listener(self) -> Listener:
        """Return this thread's bell: one connection for all its waits."""
        mine: tuple[int, Listener] | None = getattr(self._local, "mine", None)
        if mine is None or mine[0] != os.getpid():
            mine = self._local.mine = (os.getpid(), self.store.listener())
            self._listeners.append(mine[1])
        return mine[1]
