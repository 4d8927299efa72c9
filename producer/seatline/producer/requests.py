"""What a queue asks of the server, checked and free of I/O: :class:`Queue` sends it, and :class:`AsyncQueue` does."""

from __future__ import annotations

import datetime as dt
import getpass
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from seatline.producer.handle import job_record
from seatline.producer.triggers import emitted
from seatline.shared.calls import jobs as verbs
from seatline.shared.calls import orders as order_verbs
from seatline.shared.calls import reads
from seatline.shared.calls import schedules as schedule_verbs
from seatline.shared.calls.base import Call, Read
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.chain import Chain
from seatline.shared.config import Settings, check_name
from seatline.shared.errors import InvalidInput, PartialEnqueue
from seatline.shared.job import Job, JobRecord, job_id, job_words
from seatline.shared.keys import Keys
from seatline.shared.order import order_words
from seatline.shared.plan import chain_words
from seatline.shared.times import Window

__all__ = ["Batches", "Requests", "who"]

log = logging.getLogger("seatline.producer")

#: A batch is sent when it has so many jobs (one script call) or so many bytes.
BATCH_BYTES = 2 * 1024 * 1024
COMMENT_MOST = 200
Words = list[str | bytes]


class Requests:
    """The requests of one queue; ``by`` is who acts, for the history of jobs."""

    def __init__(self, settings: Settings, keys: Keys, *, strict: bool) -> None:
        self.settings, self.keys, self.strict = settings, keys, strict
        self._said: set[str] = set()

    def words(self, job: Job) -> Words:
        """Check a job, and write it for the script."""
        if not isinstance(job, Job):
            raise InvalidInput(f"jobs: {job!r} is not a Job. Use Job(type, params, ...).")
        if job.tenant is None and self.settings.tenant is not None:
            job = replace(job, tenant=self.settings.tenant)  # the caller's own stays as it was
        return job_words(job)

    def submit(self, batch: Sequence[Words]) -> Call[verbs.Batch]:
        """Put jobs on the queue; ``accepted`` is told the answer."""
        return verbs.submit(batch, strict=self.strict)

    def accepted(self, batch: verbs.Batch) -> verbs.Batch:
        """Warn of what its jobs lack."""
        for lacking in batch.lacking:
            if lacking not in self._said:
                self._said.add(lacking)  # once a queue: a load of a million jobs is no reason for a million lines
                log.warning("%s; until then its jobs wait.", lacking)
        return batch

    def emit(
        self, event: str, entities: Iterable[Mapping[str, Any]], tenant: str | None, key: str | None
    ) -> Talk[list[str]]:
        """Emit an event for each of these params; returns the ids of its jobs."""
        tenant = self.settings.tenant if tenant is None else tenant
        batch = yield from emitted(self.keys, event, entities, tenant, key, strict=self.strict)
        return [each.id for each in self.accepted(batch)]

    def token(self, token: str) -> Read[str | None]:
        """Return the id that a token stands for."""
        return reads.token_owner(self.keys, check_name("token", token))

    def job(self, id: str | int) -> Talk[JobRecord]:
        """Return a snapshot of a job."""
        return (yield from job_record(self.keys, job_id(id)))

    def define(self, chain: Chain, by: str) -> Call[tuple[int, bool]]:
        """Store a chain; returns its version, and whether it is new."""
        words, digest = chain_words(chain)
        return order_verbs.define(chain.name, words, digest, chain.title, chain.max_orders, by)

    def start(
        self,
        chain: str,
        params: Mapping[str, Any] | None,
        *,
        id: str | None,
        priority: int,
        tenant: str | None,
        title: str | None,
        at: dt.datetime | None,
        delay: float | dt.timedelta | None,
        replace: bool,
    ) -> Call[order_verbs.Started]:
        """Start an order."""
        tenant = self.settings.tenant if tenant is None else tenant
        words = order_words(
            chain, params or {}, id=id, priority=priority, tenant=tenant, title=title, at=at, delay=delay
        )
        if replace and id is None:
            raise InvalidInput("replace: it goes with id=...; without one, every start is another order.")
        return order_verbs.start(chain, words, replace=replace)

    def window(self, type: str, window: str | None, by: str) -> Talk[str | None]:
        """Say when jobs of a type may start; returns the window that stood before, or None."""
        check_name("type", type)
        interval = (0, 0)
        if window is not None:
            parsed = Window(window)
            interval = parsed.interval((yield from ask(reads.server_time())))
        return (yield from ask(schedule_verbs.set_window(type, window or "", interval, by))) or None

    def gate(
        self, type_: str | None, kind: Literal["paused", "closed", "tenant"], by: str, lifter: str = ""
    ) -> Call[bool]:
        """Set a gate of the namespace, or of a type, or lift it (``by`` '')."""
        return verbs.gate("" if type_ is None else check_name("type", type_), kind, by, lifter)


class Batches:
    """Cuts jobs into batches, and knows what was accepted when something breaks: a context around the whole of it."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self.ids: list[str] = []
        self._batch: list[Words] = []
        self._size = 0

    def add(self, job: Job) -> Iterator[Call[verbs.Batch]]:
        """Take a job; yields a call when it is time for one, whose answer goes to :meth:`accepted`."""
        try:
            words = self._requests.words(job)
        except InvalidInput:
            yield from self.rest()  # what came before it is good
            raise
        self._batch.append(words)
        self._size += sum(map(len, words))
        if len(self._batch) >= verbs.SUBMIT_MOST or self._size >= BATCH_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[Call[verbs.Batch]]:
        """Yield a call for what was taken since the last one, if anything was."""
        if self._batch:
            yield self._requests.submit(self._batch)

    def accepted(self, batch: verbs.Batch) -> None:
        """Note the ids that a call was answered with."""
        self.ids.extend(each.id for each in self._requests.accepted(batch))
        self._batch, self._size = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        """Also for the iterable's own errors: they must not cost the caller the ids accepted before."""
        if self.ids and isinstance(error, Exception):
            raise PartialEnqueue(self.ids, len(self.ids), error) from error


def who(comment: str | None = None) -> str:
    """Say who acts, for histories and the audit: ``ada@cad-01``, and behind it in brackets why, if that is said.

    Raises:
        InvalidInput: the comment is not one line of 1 to 200 characters.

    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid()) if hasattr(os, "getuid") else "?"
    name = f"{user}@{socket.gethostname()}".replace("\n", " ")[:128]
    if comment is None:
        return name
    if type(comment) is not str or not 0 < len(comment) <= COMMENT_MOST or not comment.isprintable():
        raise InvalidInput(f"comment: {comment!r} is not one line of 1 to {COMMENT_MOST} characters.")
    return f"{name} ({comment})"
