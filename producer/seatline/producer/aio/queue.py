"""The queue as a producer on an event loop sees it."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from seatline.producer.acts import acts_in, moment_ms
from seatline.producer.aio.chains import AsyncChains
from seatline.producer.aio.handles import AsyncJobHandle, AsyncOrderHandle
from seatline.producer.aio.pools import AsyncPools
from seatline.producer.aio.retention import AsyncRetention
from seatline.producer.aio.schedules import AsyncSchedules
from seatline.producer.aio.selection import AsyncSelection
from seatline.producer.aio.triggers import AsyncTriggers
from seatline.producer.failures import Failure, failures_of
from seatline.producer.listing import jobs_in
from seatline.producer.orders import orders_in
from seatline.producer.report import Report, report_of
from seatline.producer.requests import Batches, Requests, who
from seatline.producer.selection import Wanted, look
from seatline.shared.calls.acts import Act
from seatline.shared.chain import Chain
from seatline.shared.config import Settings
from seatline.shared.errors import PayloadError
from seatline.shared.job import DEFAULT_PRIORITY, Job, JobRecord, job_id
from seatline.shared.job_type import JobOptions, JobType
from seatline.shared.order import OrderRecord, order_id
from seatline.shared.store import AsyncStore

__all__ = ["AsyncQueue"]

P = TypeVar("P")


class AsyncQueue:
    """One namespace of one server: :class:`~seatline.producer.Queue`, awaited. For any number of tasks.

    Its connections belong to the event loop in which they are used, and are closed with it at the latest; the next loop has
    its own. ``async with AsyncQueue(...)`` closes them at once. After a fork the child has its own too.

    A request that is cancelled while it is under way perhaps happened, or will within a moment; it is not sent again.
    ``token=...`` tells afterwards (:meth:`find`), and makes it safe to repeat.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user and password; else ``SEATLINE_URL``; else the embedded
            server, started at the first use if need be (said in the log; ``SEATLINE_EMBEDDED=never`` forbids it).
        namespace: a name; else ``SEATLINE_NAMESPACE``, else ``default``.
        tenant: put on every job that names none. A mark for the login, not a guard (Q26).
        strict: refuse jobs whose seats could never be had (no such pool, too small); otherwise they are accepted,
            flagged, and a warning is logged (S5).
        comment: why this queue acts: told with your name wherever that is, in histories and in the audit.
        user: the login, if the URL names none, on the embedded server too; else ``SEATLINE_USER``.
        password_file: a file whose first line is the password, read at every connection, if the URL has none; else
            ``SEATLINE_PASSWORD_FILE``.
        settings: further :class:`~seatline.shared.config.Settings`: in seconds ``timeout`` 5, ``connect_timeout`` 2,
            ``deadline`` 10 (how long a request is repeated after a lost connection); ``connections`` 8 (in each event loop, at
            most; further requests stand in line, and one more connection is for those who wait for an end);
            ``allow_eviction`` False (use a server all the same that deletes keys when it is full).

    Raises:
        InvalidInput: a setting is bad.

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
        self.store = AsyncStore(self.settings, role="producer")
        self.by = who(comment)
        self._requests = Requests(self.settings, self.store.keys, strict=strict)

    def __repr__(self) -> str:
        return f"<AsyncQueue {self.settings.namespace} at {self.store.place}>"

    async def __aenter__(self) -> Self:
        await self.store.find()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close this event loop's connections; using the queue again opens new ones."""
        await self.store.close()

    @overload
    async def enqueue(self, type: JobType[P], params: P, **options: Unpack[JobOptions]) -> AsyncJobHandle: ...
    @overload
    async def enqueue(
        self, type: str, params: Mapping[str, Any] | None = None, **options: Unpack[JobOptions]
    ) -> AsyncJobHandle: ...
    async def enqueue(
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
    ) -> AsyncJobHandle:
        """Put one job on the queue, in one round trip, exactly once; see :meth:`seatline.producer.Queue.enqueue`.

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
        batch = await self.store.run(self._requests.submit([self._requests.words(job)]))
        (accepted,) = self._requests.accepted(batch)
        return AsyncJobHandle(self, accepted.id, accepted.created, existed=accepted.existed)

    async def enqueue_many(self, jobs: Iterable[Job] | AsyncIterable[Job]) -> list[str]:
        """Put many jobs on the queue, streamed in batches of up to 1,000; returns their ids in order.

        Each batch is accepted whole or not at all.

        Raises:
            PartialEnqueue: something was refused, or the iterable broke, after others were accepted: ``ids``, ``index``,
                ``cause``.
            SeatlineError: as for :meth:`enqueue`, if nothing was accepted yet.

        """
        with Batches(self._requests) as batches:
            async for job in _each(jobs):
                for call in batches.add(job):
                    batches.accepted(await self.store.run(call))
            for call in batches.rest():
                batches.accepted(await self.store.run(call))
        return batches.ids

    async def emit(
        self,
        event: str,
        params: Mapping[str, Any] | None = None,
        *,
        tenant: str | None = None,
        key: str | None = None,
    ) -> list[str]:
        """Say that something has happened: the jobs that its trigger names are enqueued, in one atomic call (Q20).

        Args and errors are those of :meth:`seatline.producer.Queue.emit`.
        """
        return await self.emit_many(event, [params or {}], tenant=tenant, key=key)

    async def emit_many(
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
        return await self.store.talk(self._requests.emit(event, entities, tenant, key))

    async def find(self, token: str) -> AsyncJobHandle | None:
        """Return the job that was enqueued with this token, or None."""
        found = await self.store.read(self._requests.token(token))
        return None if found is None else AsyncJobHandle(self, found)

    def handle(self, id: str | int) -> AsyncJobHandle:
        """Return a handle for an id, without asking the server."""
        return AsyncJobHandle(self, job_id(id))

    async def job(self, id: str | int) -> JobRecord:
        """Return a snapshot of a job.

        Raises:
            NoSuchJob: there is none.

        """
        return await self.store.talk(self._requests.job(id))

    def jobs(
        self,
        *,
        state: str | None = None,
        type: str | None = None,
        tenant: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[JobRecord]:
        """Iterate over jobs, read page by page, in the order of :meth:`seatline.producer.Queue.jobs`.

        Args:
            state: one state, or None for all that have not ended.
            type: one type.
            tenant: one tenant.
            tag: one of their tags, such as ``load:ID``; the ids of a load are known, others are found by reading all jobs.
            limit: at most so many.

        """
        return self.store.walk(jobs_in(self.store.keys, state=state, type_=type, tenant=tenant, tag=tag, limit=limit))

    async def select(
        self,
        *,
        state: str | Sequence[str] | None = None,
        type: str | None = None,
        tenant: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        older_than: float | dt.timedelta | None = None,
        on: Callable[[int], object] | None = None,
    ) -> AsyncSelection:
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
        return AsyncSelection(self, await self.store.talk(look(self.store.keys, wanted, on)))

    async def failures(
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
        return await self.store.talk(failures_of(self.store.keys, wanted, newer_than))

    async def define(self, chain: Chain) -> int:
        """Store a chain; returns its version. The same steps again are the same version (O13).

        Orders that are under way keep the version that they started with.

        Raises:
            InvalidInput: something is wrong with it; names the place. Nothing was stored.

        """
        return (await self.store.run(self._requests.define(chain, self.by)))[0]

    async def start(
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
    ) -> AsyncOrderHandle:
        """Start an order: one run through a chain, in one round trip, exactly once.

        Args and errors are those of :meth:`seatline.producer.Queue.start`.
        """
        call = self._requests.start(
            chain, params, id=id, priority=priority, tenant=tenant, title=title, at=at, delay=delay, replace=replace
        )
        started = await self.store.run(call)
        return AsyncOrderHandle(self, started.id, started.number)

    def order(self, id: str | int) -> AsyncOrderHandle:
        """Return a handle for an order, without asking the server. People may type 42 for one that has its number."""
        return AsyncOrderHandle(self, order_id(id))

    def orders(
        self, *, state: str | None = None, chain: str | None = None, limit: int | None = None
    ) -> AsyncIterator[OrderRecord | PayloadError]:
        """Iterate over orders, read page by page, in the order of :meth:`seatline.producer.Queue.orders`.

        Args:
            state: one state, or None for all that have not ended.
            chain: one chain.
            limit: at most so many.

        """
        return self.store.walk(orders_in(self.store.keys, state=state, chain=chain, limit=limit))

    @property
    def chains(self) -> AsyncChains:
        """The namespace's chains."""
        return AsyncChains(self)

    @property
    def pools(self) -> AsyncPools:
        """The namespace's licence pools."""
        return AsyncPools(self)

    @property
    def retention(self) -> AsyncRetention:
        """How long and how many ended jobs are kept."""
        return AsyncRetention(self)

    @property
    def schedules(self) -> AsyncSchedules:
        """The namespace's schedules."""
        return AsyncSchedules(self)

    @property
    def triggers(self) -> AsyncTriggers:
        """The namespace's triggers: which jobs events enqueue."""
        return AsyncTriggers(self)

    async def window(self, type: str, window: str | None) -> str | None:
        """Say when jobs of a type may start, such as ``"Mon-Fri 20:00-05:00 Europe/Paris"``; None: at any time (T9).

        Returns the window that stood before, or None.

        Raises:
            InvalidInput: it is no window; see :class:`~seatline.shared.times.Window`.

        """
        return await self.store.talk(self._requests.window(type, window, self.by))

    async def pause(self, type: str | None = None) -> bool:
        """Accept jobs but start none, of the namespace or of one type. Returns False if it was paused already (Q19)."""
        return await self.store.run(self._requests.gate(type, "paused", self.by))

    async def resume(self, type: str | None = None) -> bool:
        """Go on, in order. Returns False if it was not paused."""
        return await self.store.run(self._requests.gate(type, "paused", "", self.by))

    async def shut(self) -> bool:
        """Close the namespace: new jobs are refused with :class:`~seatline.shared.errors.Closed`, old ones go on (Q19)."""
        return await self.store.run(self._requests.gate(None, "closed", self.by))

    async def reopen(self) -> bool:
        """Take new jobs again."""
        return await self.store.run(self._requests.gate(None, "closed", "", self.by))

    async def require_tenant(self, required: bool = True) -> bool:
        """Refuse new jobs that name no tenant, or take them again. Returns False if that was so already (Q26)."""
        return await self.store.run(self._requests.gate(None, "tenant", *((self.by,) if required else ("", self.by))))

    async def report(self, since: float | dt.datetime, until: float | dt.datetime | None = None) -> Report:
        """Say what ran, failed and waited, and which seats it took: of all jobs that ended in a period (H1).

        It reads each of them, page by page.

        Args:
            since: a moment with a time zone, or seconds since 1970.
            until: likewise; None: now.

        Raises:
            InvalidInput: an argument is outside its limits, or the period is none.

        """
        end = None if until is None else moment_ms("until", until)
        return await self.store.talk(report_of(self.store.keys, moment_ms("since", since), end))

    def acts(self, *, since: float | dt.datetime | None = None, limit: int | None = None) -> AsyncIterator[Act]:
        """Iterate over what people did to the namespace, the newest first (the audit).

        Args:
            since: only what was done from then on: a moment with a time zone, or seconds since 1970.
            limit: at most so many.

        """
        return self.store.walk(acts_in(self.store.keys, since_ms=moment_ms("since", since), limit=limit))


async def _each(jobs: Iterable[Job] | AsyncIterable[Job]) -> AsyncIterator[Job]:
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            yield job
    else:
        for job in jobs:
            yield job
