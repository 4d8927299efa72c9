"""The queue as a producer sees it."""

from __future__ import annotations

import datetime as dt
import getpass
import logging
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

from seatline.producer.chains import Chains
from seatline.producer.handle import JobHandle
from seatline.producer.listing import jobs_in
from seatline.producer.orders import OrderHandle, orders_in
from seatline.producer.pools import Pools
from seatline.producer.schedules import Schedules
from seatline.shared.calls import jobs as verbs
from seatline.shared.calls import orders as order_verbs
from seatline.shared.calls import reads
from seatline.shared.calls import schedules as schedule_verbs
from seatline.shared.chain import Chain
from seatline.shared.config import Settings, check_name
from seatline.shared.errors import InvalidInput, NoSuchJob, PartialEnqueue, PayloadError
from seatline.shared.job import DEFAULT_PRIORITY, Job, JobRecord, job_id, job_words
from seatline.shared.order import OrderRecord, order_id, order_words
from seatline.shared.plan import chain_words
from seatline.shared.store import Listener, Store
from seatline.shared.times import Window

__all__ = ["Queue"]

log = logging.getLogger("seatline.producer")

#: A batch is sent when it has so many jobs (one script call) or so many bytes.
BATCH_BYTES = 2 * 1024 * 1024


class Queue:
    """One namespace of one server. Safe to share between threads and across a fork.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user and password; else ``SEATLINE_URL``; else the embedded
            server, started if need be (said in the log; ``SEATLINE_EMBEDDED=never`` forbids it).
        namespace: a name; else ``SEATLINE_NAMESPACE``, else ``default``.
        tenant: put on every job that names none. A mark for the login, not a guard (Q26).
        strict: refuse jobs whose seats could never be had (no such pool, too small); otherwise they are accepted,
            flagged, and a warning is logged (S5).
        settings: further :class:`~seatline.shared.config.Settings`, in seconds: ``timeout`` 5, ``connect_timeout`` 2,
            ``deadline`` 10 (how long a request is repeated after a lost connection).

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
        **settings: float | None,
    ) -> None:
        self.settings = Settings.load(url=url, namespace=namespace, tenant=tenant, **settings)
        self.store = Store(self.settings, role="producer")
        self.by = _who()
        self.strict = strict
        self._said: set[str] = set()
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

    def enqueue(
        self,
        type: str,
        params: Mapping[str, Any] | None = None,
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
        job = Job(
            type,
            params or {},
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
        (accepted,) = self._submit([self._words(job)])
        return JobHandle(self, accepted.id, accepted.created, existed=accepted.existed)

    def enqueue_many(self, jobs: Iterable[Job]) -> list[str]:
        """Put many jobs on the queue, streamed in batches of up to 1,000; returns their ids in order.

        Each batch is accepted whole or not at all.

        Raises:
            PartialEnqueue: something was refused, or the iterable broke, after others were accepted: ``ids``, ``index``,
                ``cause``.
            SeatlineError: as for :meth:`enqueue`, if nothing was accepted yet.

        """
        ids: list[str] = []
        batch: list[list[str | bytes]] = []
        size = 0

        def send() -> None:
            nonlocal batch, size
            if batch:
                ids.extend(accepted.id for accepted in self._submit(batch))
                batch, size = [], 0

        try:
            for job in jobs:
                try:
                    words = self._words(job)
                except InvalidInput:
                    send()  # what came before it is good
                    raise
                batch.append(words)
                size += sum(map(len, words))
                if len(batch) >= verbs.SUBMIT_MOST or size >= BATCH_BYTES:
                    send()
            send()
        except Exception as error:  # also the iterable's own: it must not cost the caller the ids accepted before it
            if not ids:
                raise
            raise PartialEnqueue(ids, len(ids), error) from error
        return ids

    def _words(self, job: Job) -> list[str | bytes]:
        if not isinstance(job, Job):
            raise InvalidInput(f"jobs: {job!r} is not a Job. Use Job(type, params, ...).")
        if job.tenant is None and self.settings.tenant is not None:
            job = replace(job, tenant=self.settings.tenant)  # the caller's own stays as it was
        return job_words(job)

    def _submit(self, batch: Sequence[Sequence[str | bytes]]) -> verbs.Batch:
        accepted = self.store.run(verbs.submit(batch, strict=self.strict))
        for lacking in accepted.lacking:
            if lacking not in self._said:
                self._said.add(lacking)  # once a queue: a load of a million jobs is no reason for a million lines
                log.warning("%s; until then its jobs wait.", lacking)
        return accepted

    def find(self, token: str) -> JobHandle | None:
        """Return the job that was enqueued with this token, or None."""
        found = self.store.read(reads.token_owner(self.store.keys, check_name("token", token)))
        return None if found is None else JobHandle(self, found)

    def handle(self, id: str | int) -> JobHandle:
        """Return a handle for an id, without asking the server."""
        return JobHandle(self, job_id(id))

    def job(self, id: str | int) -> JobRecord:
        """Return a snapshot of a job.

        Raises:
            NoSuchJob: there is none.

        """
        (record,) = self.store.read(reads.job_records(self.store.keys, [job_id(id)]))
        if record is None:
            raise NoSuchJob(f"job {id}: no such job. It never existed, was removed, or was trimmed by retention.")
        return self.store.read(reads.handed(self.store.keys, record)) if record.order else record

    def jobs(
        self,
        *,
        state: str | None = None,
        type: str | None = None,
        tenant: str | None = None,
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
            limit: at most so many.

        """
        return self.store.walk(jobs_in(self.store.keys, state=state, type_=type, tenant=tenant, limit=limit))

    def define(self, chain: Chain) -> int:
        """Store a chain; returns its version. The same steps again are the same version (O13).

        Orders that are under way keep the version that they started with.

        Raises:
            InvalidInput: something is wrong with it; names the place. Nothing was stored.

        """
        words, digest = chain_words(chain)
        call = order_verbs.define(chain.name, words, digest, chain.title, chain.max_orders, self.by)
        return self.store.run(call)[0]

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
        tenant = self.settings.tenant if tenant is None else tenant
        words = order_words(
            chain, params or {}, id=id, priority=priority, tenant=tenant, title=title, at=at, delay=delay
        )
        if replace and id is None:
            raise InvalidInput("replace: it goes with id=...; without one, every start is another order.")
        started = self.store.run(order_verbs.start(chain, words, replace=replace))
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
    def schedules(self) -> Schedules:
        """The namespace's schedules."""
        return Schedules(self)

    def window(self, type: str, window: str | None) -> str | None:
        """Say when jobs of a type may start, such as ``"Mon-Fri 20:00-05:00 Europe/Paris"``; None: at any time (T9).

        Outside its window a type's jobs wait, and ``why`` says until when; what runs goes on. Returns the window that stood
        before, or None.

        Raises:
            InvalidInput: it is no window; see :class:`~seatline.shared.times.Window`.

        """
        check_name("type", type)
        interval = Window(window).interval(self.store.read(reads.server_time())) if window is not None else (0, 0)
        return self.store.run(schedule_verbs.set_window(type, window or "", interval, self.by)) or None

    def pause(self, type: str | None = None) -> bool:
        """Accept jobs but start none, of the namespace or of one type. Returns False if it was paused already (Q19)."""
        return self._gate(type, "paused", self.by)

    def resume(self, type: str | None = None) -> bool:
        """Go on, in order. Returns False if it was not paused."""
        return self._gate(type, "paused", "")

    def shut(self) -> bool:
        """Close the namespace: new jobs are refused with :class:`~seatline.shared.errors.Closed`, old ones go on (Q19)."""
        return self._gate(None, "closed", self.by)

    def reopen(self) -> bool:
        """Take new jobs again."""
        return self._gate(None, "closed", "")

    def require_tenant(self, required: bool = True) -> bool:
        """Refuse new jobs that name no tenant, or take them again. Returns False if that was so already (Q26)."""
        return self._gate(None, "tenant", self.by if required else "")

    def _gate(self, type_: str | None, kind: str, by: str) -> bool:
        return self.store.run(verbs.gate("" if type_ is None else check_name("type", type_), kind, by))

    def listener(self) -> Listener:
        """Return this thread's bell: one connection for all its waits."""
        mine: tuple[int, Listener] | None = getattr(self._local, "mine", None)
        if mine is None or mine[0] != os.getpid():
            mine = self._local.mine = (os.getpid(), self.store.listener())
            self._listeners.append(mine[1])
        return mine[1]


def _who() -> str:
    """Say who acts, for a job's history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid()) if hasattr(os, "getuid") else "?"
    return f"{user}@{socket.gethostname()}".replace("\n", " ")[:128]
