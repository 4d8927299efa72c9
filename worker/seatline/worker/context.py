"""What a handler is given beside its params: the same object whether it runs in a thread, a process or a loop."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar, Unpack, overload

from seatline.shared.calls.base import Word
from seatline.shared.calls.triggers import DEPTH_MOST, emitted_words
from seatline.shared.errors import InvalidInput, SessionClosed, TooDeep
from seatline.shared.job import Job, JobRecord, job_words, uses_map
from seatline.shared.job_type import ChildOptions, JobType
from seatline.worker.order import OrderView
from seatline.worker.sessions import Session

__all__ = ["AsyncContext", "Cancelled", "Context", "Hold", "Link", "needs_of"]

#: Jobs that one attempt may enqueue with its end.
JOBS_MOST: Final = 1_000
P = TypeVar("P")
TEXT_MOST: Final = 500
LINE_MOST: Final = 2_000


class Cancelled(BaseException):
    """Raised by :meth:`Context.check` to leave a handler whose job was cancelled or whose lease was lost.

    Not an Exception, so that a handler's ``except Exception`` does not swallow it.
    """


class Link(Protocol):
    """A context's way to the worker that holds its job: in the same process a :class:`Hold`, in a child its end of a pipe."""

    id: str
    token: str
    worker: str

    @property
    def over(self) -> bool:
        """Whether the handler should stop."""
        ...

    @property
    def fenced(self) -> bool:
        """Whether the lease may be somebody else's."""
        ...

    @property
    def cancel(self) -> bool:
        """Whether somebody asked the job to stop."""
        ...

    @property
    def late(self) -> bool:
        """Whether the attempt is past its timeout."""
        ...

    @property
    def left(self) -> bool:
        """Whether the worker stops and hands the job back."""
        ...

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the moment from which the handler should stop."""
        ...

    def disarm(self) -> None:
        """The handler is being left by an exception: do not interrupt what it does on its way out."""
        ...

    def note(self, fields: Mapping[str, Word], line: str) -> None:
        """Tell progress (fields) or a line for the job's log ('' = none)."""
        ...

    def event(self, name: str, detail: str) -> None:
        """Tell a transition."""
        ...


class Hold:
    """A worker's hold on one job: its lease's token, and what has been heard since.

    Attributes:
        cancel: somebody asked the job to stop.
        fenced: the lease may be somebody else's by now.
        begun: its handler has been called, or is about to be.
        late: the attempt is past its handler's timeout.
        left: the worker stops: the job is handed back.
        reported: what became of it has been told, or is about to be.
        type, attempt: of the job, once it is known.
        stop: set while a handler runs that can be stopped from outside: called, with this, once one of these is true.
        told: takes notes (progress and log) for the server; events, the transitions.

    """

    # Plain class attributes: a hold is made for every job, and few are ever told anything.
    begun = cancel = fenced = late = left = reported = False
    type, attempt = "", 0
    stop: Callable[[Hold], None] | None = None
    told: Callable[[Hold, Mapping[str, Word], str], None] | None = None
    events: Callable[[str, str], None] | None = None
    _waiter: threading.Event | None = None

    def __init__(self, job_id: str, token: str, worker: str = "") -> None:
        self.id, self.token, self.worker = job_id, token, worker

    @property
    def over(self) -> bool:
        """Whether the handler should stop."""
        return self.cancel or self.fenced or self.late or self.left

    def say(self, what: str) -> None:
        """Set ``cancel``, ``fenced``, ``late`` or ``left``, and have the handler hear of it."""
        setattr(self, what, True)
        waiter, stop = self._waiter, self.stop
        if waiter:
            waiter.set()
        if stop:
            stop(self)

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the moment from which the handler should stop."""
        if self._waiter is None:
            self._waiter = threading.Event()
        if not self.over:
            self._waiter.wait(seconds)

    def disarm(self) -> None:
        """Nothing here interrupts a handler."""

    def note(self, fields: Mapping[str, Word], line: str) -> None:
        """Tell progress (fields) or a line for the job's log ('' = none)."""
        if self.told:
            self.told(self, fields, line)

    def event(self, name: str, detail: str) -> None:
        """Tell a transition."""
        if self.events:
            self.events(name, detail)


class Context:
    """One attempt at one job.

    Attributes:
        id: of the job, 16 digits.
        type: of the job.
        attempt: 1 for the first run, counted for people and for the retry rule.
        token: proves this attempt's lease; hand it to outside systems that can refuse an older one.

    """

    __slots__ = ("_flat", "_link", "_order", "_record", "_sessions", "attempt", "id", "jobs", "token", "type")

    def __init__(self, link: Link, type_: str, attempt: int, flat: Sequence[bytes]) -> None:
        self.id, self.type, self.attempt, self.token = link.id, type_, attempt, link.token
        self._link = link
        self._flat = flat
        self._record: JobRecord | None = None
        self._order: OrderView | None = None
        self._sessions: dict[str, Session] | None = None
        self.jobs: list[list[str | bytes]] = []

    def __repr__(self) -> str:
        return f"<Context job {int(self.id)} ({self.type}), attempt {self.attempt}>"

    @property
    def job(self) -> JobRecord:
        """The job as it was when it was reserved: priority, tenant, title, tags, params, ..."""
        if self._record is None:
            self._record = JobRecord.read(self.id, self._flat)
        return self._record

    @property
    def order(self) -> OrderView | None:
        """The order whose step this job is, with the params and outputs so far; None: it is no step (O5)."""
        handed = self.job.handed
        if handed is not None and self._order is None:
            self._order = OrderView(self.job, handed)
        return self._order

    @property
    def tenant(self) -> str | None:
        """Which vault, site or customer the job is for."""
        return self.job.tenant

    @property
    def cancelled(self) -> bool:
        """True once this attempt should stop. Look at it now and then.

        Somebody cancelled the job, it is past its timeout, the worker hands it back, or may no longer hold it.
        """
        return self._link.over

    @property
    def fenced(self) -> bool:
        """True once the lease may be somebody else's: the worker could not renew it in time, or it was taken back."""
        return self._link.fenced

    def check(self) -> None:
        """Raise :class:`Cancelled` if the handler should stop."""
        if self._link.over:
            self._link.disarm()
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Sleep, but leave with :class:`Cancelled` as soon as the handler should stop."""
        self._link.wait(seconds)
        self.check()

    # -- what it has to tell

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Tell how far it is: ``ctx.progress(3, 10, "sheet 3")``. Stored about twice a second at most, and fenced (C17).

        Args:
            done: how much is done.
            total: of how much; None if nobody knows.
            text: a line for people, cut at 500 characters.

        """
        for name, value in (("done", done), ("total", total)):
            if type(value) not in {int, float} and not (name == "total" and value is None):
                raise InvalidInput(f"progress {name}: {value!r} is not a number.")
        said = f"{done:g}" if total is None else f"{done:g}/{total:g}"
        line = _one_line(text)[:TEXT_MOST]
        self._link.note({"progress": f"{said} {line}".strip()}, "")

    def log(self, text: str) -> None:
        """Add lines to the job's log: the newest 1,000 are kept, each cut at 2,000 characters (C17)."""
        for line in str(text).splitlines() or [""]:
            cut = line if len(line) <= LINE_MOST else f"{line[:LINE_MOST]} ... ({len(line) - LINE_MOST} characters cut)"
            self._link.note({}, _one_line(cut) or " ")

    @overload
    def enqueue(self, type: JobType[P], params: P, **options: Unpack[ChildOptions]) -> None: ...
    @overload
    def enqueue(self, type: str, params: Mapping[str, Any] | None = None, **options: Unpack[ChildOptions]) -> None: ...
    def enqueue(
        self,
        type: str | JobType[Any],
        params: Any = None,
        *,
        priority: int | None = None,
        uses: Mapping[str, int] | None = None,
        tenant: str | None = None,
        title: str | None = None,
        tags: Sequence[str] = (),
        at: dt.datetime | None = None,
        delay: float | dt.timedelta | None = None,
        token: str | None = None,
        result_ttl: float | None = None,
        expires: dt.datetime | float | dt.timedelta | None = None,
        unique: str | bool | None = None,
        supersede: str | None = None,
    ) -> None:
        """Enqueue a job together with this attempt's end: in the same step, only if it ends well, exactly once.

        It is checked at once and sent with the settle: a failed, lost or stale attempt enqueues nothing. So there is no
        id to return; give a ``token`` to find it. Arguments as for :meth:`seatline.producer.Queue.enqueue`, except:

        Args:
            type: of the new job, a name or a JobType.
            params: of the new job; with a JobType, an instance of its class.
            priority: this job's own unless given, so that what a batch causes does not overtake people.
            uses: as for enqueue.
            tenant: this job's own unless given.
            title: as for enqueue.
            tags: as for enqueue.
            at: as for enqueue.
            delay: counts from this attempt's end.
            token: as for enqueue.
            result_ttl: as for enqueue.
            expires: as for enqueue; seconds count from this attempt's end.
            unique: as for enqueue; while a job with that key lives, nothing is enqueued.
            supersede: as for enqueue.

        Raises:
            InvalidInput: an argument is outside its limits, or it would be the 1,001st job.

        """
        self._check_room("enqueue")
        name, plain = (type.type, type.plain(params)) if isinstance(type, JobType) else (type, params or {})
        job = Job(
            name,
            plain,
            priority=self.job.priority if priority is None else priority,
            uses=uses,
            tenant=self.tenant if tenant is None else tenant,
            title=title,
            tags=tags,
            at=at,
            delay=delay,
            token=token,
            result_ttl=result_ttl,
            expires=expires,
            unique=unique,
            supersede=supersede,
        )
        words = job_words(job)
        if self.job.depth:  # so that a job in between does not hide how many triggers there were
            words = [str(int(words[0]) + 2), *words[1:], "depth", str(self.job.depth)]
        self.jobs.append(words)

    def emit(
        self, event: str, params: Mapping[str, Any] | None = None, *, tenant: str | None = None, key: str | None = None
    ) -> None:
        """Emit an event together with this attempt's end: in the same step, only if it ends well, exactly once (Q20).

        Its jobs are made by a worker right after that, by the trigger as it is then; without a trigger there are none.
        They have one trigger more before them than this job, and there may be 8: else a trigger whose jobs emit its own
        event would never come to an end.

        Args:
            event: its name.
            params: its params; the trigger's win over them.
            tenant: of its jobs, unless the trigger says so; this job's own unless given.
            key: of a trigger that coalesces: only events of the same key are gathered into one job.

        Raises:
            InvalidInput: an argument is outside its limits, the event is a built-in one such as job.failed, or it would
                be the 1,001st job and event.
            TooDeep: 8 triggers lie before this job already.

        """
        self._check_room("emit")
        words = emitted_words(event, params or {}, self.tenant if tenant is None else tenant, key)
        if self.job.depth >= DEPTH_MOST:
            raise TooDeep(
                f"emit: event {event}: {self.job.depth} triggers lie before job {int(self.id)} ({self.type}), each having "
                f"caused the next, and the limit is {DEPTH_MOST}: they may go on for ever. Enqueue what is to be done with "
                "ctx.enqueue, or emit it from a program with Queue.emit, which counts from 0."
            )
        self.jobs.append(words)

    def _check_room(self, what: str) -> None:
        if len(self.jobs) >= JOBS_MOST:
            raise InvalidInput(
                f"{what}: an attempt may enqueue at most {JOBS_MOST:,} jobs and events. Use a Queue for more."
            )

    # -- its seats

    def session(self, pool: str) -> Session:
        """Return this job's session of a pool that it uses; its ``client`` is what the login yielded (C10).

        Raises:
            InvalidInput: the job uses no seat of that pool.
            SessionClosed: the job has ended.

        """
        if self._sessions is None:
            raise SessionClosed(f"job {int(self.id)} has ended, and its sessions with it.")
        found = self._sessions.get(pool)
        if found is None:
            used = ", ".join(self._sessions) or "none"
            raise InvalidInput(f"session: this job uses no seat of pool {pool!r} (it uses {used}).")
        return found

    def _hand_sessions(self, sessions: dict[str, Session] | None) -> None:
        self._sessions = sessions


class AsyncContext(Context):
    """One attempt of an ``async def`` handler: it is cancelled natively, at its next ``await``."""

    __slots__ = ()

    def sleep(self, seconds: float) -> None:
        """Refuse: it would stop every handler of the loop."""
        raise InvalidInput(
            f"sleep: in an async def write `await asyncio.sleep({seconds:g})`; it ends when the job should."
        )


def needs_of(fields: Mapping[bytes, bytes], declared: str) -> dict[str, int]:
    """Return the seats of a job by pool: its own ``uses`` wins over the type's (S13)."""
    own = fields.get(b"uses")
    return uses_map(declared if own is None else own.decode())


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split("\n")).rstrip()
