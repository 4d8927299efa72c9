"""Every error Seatline raises on purpose.

::

    SeatlineError                     exit code 1
    |-- InvalidInput (ValueError)     2   an argument is outside its limits; nothing was sent
    |   `-- UnknownHandlers           2   a handler module cannot be imported, or declares a type twice
    |-- ServerError                   69  the server cannot do it now
    |   |-- ServerUnavailable             not reached, or not in time
    |   |-- ServerRefused                 missing rights, TLS, too old
    |   |   |-- NotAllowed            77  the login may not do that
    |   |   `-- LoginRefused              wrong user or password
    |   |-- ScriptsMissing                forgotten, and the login may not load them
    |   |-- ServerReadOnly                a replica, or writes are stopped
    |   |-- ServerFull                    no memory left: new jobs are refused, old ones still end
    |   `-- NoEmbeddedServer              nothing to start, or starting is forbidden
    |-- Refused                           the queue says no
    |   |-- Closed                        the namespace takes no new jobs
    |   |-- Duplicate                     a job with that key lives, and this one is to be refused then
    |   |-- Conflict                      the same token with other content
    |   |-- NoSuchJob, NoSuchPool,        what was named does not exist (or was trimmed)
    |   |   NoSuchSchedule, NoSuchTrigger,
    |   |   NoSuchChain, NoSuchStep,
    |   |   NoSuchOrder,
    |   |   NoSuchWorker                  ... or it is gone: a worker exists while it renews
    |   |-- ScheduleExists                there is a schedule of that name
    |   |-- OrderExists                   there is an order of that id
    |   |-- TenantRequired                the namespace takes no job without a tenant
    |   |-- SeatsLacking                  strict: the seats could never be had
    |   |-- WrongState                    not possible in the state the job is in
    |   |-- PoolBusy                      the pool still has holders
    |   `-- HandlerDiffers                a live worker declares the type otherwise
    |-- PartialEnqueue                    a batch was refused after others were accepted
    |-- OutcomeUnknown                    a request may or may not have happened
    |-- TooDeep                           too many triggers lie before a job: its handler may emit no event
    |-- StaleLease                        the lease was taken back; the report changed nothing
    |-- JobFailed                         result(): the job did not succeed
    |   |-- JobCancelled
    |   |-- JobInterrupted
    |   |-- JobSkipped
    |   |-- JobExpired                  it could not start in time
    |   `-- JobLost                       the server lost the job (or gave its id to another)
    |-- OrderFailed                       result(): the order did not succeed
    |   |-- OrderCancelled
    |   `-- OrderLost                       the server lost the order, or it was removed or replaced
    |-- ResultExpired                     result(): it succeeded, its value is no longer kept
    |-- PayloadError                      stored bytes cannot be read as a value
    |-- BadParams                         params do not bind to the handler's signature
    |-- Timeout (TimeoutError)            an attempt went past its handler's timeout
    |-- HandlerDied                       the process that ran a handler ended under it
    |-- SessionClosed                     a session, or its client, was used after its job had ended
    |-- WorkerStuck                   69  the watchdog: no call of this worker has succeeded for too long
    `-- BrokenInvariant                   a bug in Seatline: please report it

The docstring of a class is its default message and says what to do next; ``exit_code`` is what the command line returns.
"""

from __future__ import annotations

import inspect
from typing import ClassVar

__all__ = [
    "BadParams",
    "BrokenInvariant",
    "Closed",
    "Conflict",
    "Duplicate",
    "HandlerDied",
    "HandlerDiffers",
    "InvalidInput",
    "JobCancelled",
    "JobExpired",
    "JobFailed",
    "JobInterrupted",
    "JobLost",
    "JobSkipped",
    "LoginRefused",
    "NoEmbeddedServer",
    "NoSuchChain",
    "NoSuchJob",
    "NoSuchOrder",
    "NoSuchPool",
    "NoSuchSchedule",
    "NoSuchStep",
    "NoSuchTrigger",
    "NoSuchWorker",
    "NotAllowed",
    "OrderCancelled",
    "OrderExists",
    "OrderFailed",
    "OrderLost",
    "OutcomeUnknown",
    "PartialEnqueue",
    "PayloadError",
    "PoolBusy",
    "Refused",
    "ResultExpired",
    "ScheduleExists",
    "ScriptsMissing",
    "SeatlineError",
    "SeatsLacking",
    "ServerError",
    "ServerFull",
    "ServerReadOnly",
    "ServerRefused",
    "ServerUnavailable",
    "SessionClosed",
    "StaleLease",
    "TenantRequired",
    "Timeout",
    "TooDeep",
    "UnknownHandlers",
    "WorkerStuck",
    "WrongState",
]


class SeatlineError(Exception):
    """Seatline could not do what was asked."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


class InvalidInput(SeatlineError, ValueError):
    """An argument is outside its limits; nothing was sent. The message names it, the limit and the way out."""

    exit_code = 2


class UnknownHandlers(InvalidInput):
    """The handler module cannot be imported or is not well formed. Name it as MODULE:HANDLERS."""


class ServerError(SeatlineError):
    """The server cannot do this now."""

    exit_code = 69


class ServerUnavailable(ServerError):
    """The server cannot be reached. Check the URL and that it runs; `seatline server status` shows the embedded one."""


class ServerRefused(ServerError):
    """The server refused the login or a command. Check user, password and rights (ACL) in the URL."""


class NotAllowed(ServerRefused):
    """The server refused a command: the login may not do that. Use one of the role that may (docs/security.md)."""

    exit_code = 77

    def __init__(self, message: str | None = None, *, said: str = "", script: str = "") -> None:
        self.said, self.script = said, script
        super().__init__(message)


class ScriptsMissing(ServerError):
    """The server has forgotten Seatline's scripts, and this login may not load them: `seatline scripts load` (an admin)."""


class LoginRefused(ServerRefused):
    """The server refused the login. Check user and password where they come from; a running worker waits until it is mended."""


class ServerReadOnly(ServerError):
    """The server does not take writes: it is a replica or its writes are stopped. Use the address of the primary."""


class ServerFull(ServerError):
    """The server has no memory left: new jobs are refused, old ones still end. Raise maxmemory or let workers drain."""


class NoEmbeddedServer(ServerError):
    """No server was named and none can be started. Set SEATLINE_URL, or install a server binary."""


class Refused(SeatlineError):
    """The queue refused the request; nothing was changed."""


class Closed(Refused):
    """The namespace is closed for new jobs. Reopen it with `seatline jobs reopen` (or queue.reopen())."""


class Conflict(Refused):
    """The token was already used for a job with other content. Use a new token for a new job."""


class Duplicate(Refused):
    """A job with that key (unique=) waits or runs. Wait for its end, or enqueue with on_duplicate="return" to get it."""

    def __init__(self, message: str | None = None, *, id: str = "") -> None:
        self.id = id
        super().__init__(message)


class NoSuchJob(Refused):
    """No such job: it never existed, was removed, or was trimmed by retention. `seatline jobs list` shows what there is."""


class NoSuchPool(Refused):
    """No such pool. `seatline pools set NAME CAPACITY` makes one."""


class NoSuchSchedule(Refused):
    """No such schedule. `seatline schedules list` shows what there is."""


class NoSuchTrigger(Refused):
    """Nothing is triggered by that event. `seatline triggers list` shows what there is."""


class NoSuchChain(Refused):
    """No such chain. `seatline chains list` shows what there is."""


class NoSuchStep(Refused):
    """The chain has no such step. `seatline chains show NAME` lists its steps."""


class NoSuchOrder(Refused):
    """No such order: it never existed, was removed, or was trimmed by retention. `seatline orders list` shows what there is."""


class OrderExists(Refused):
    """There is an order of that id. Take another id, leave it out, or replace the order (replace=True, --replace)."""


class ScheduleExists(Refused):
    """There is a schedule of that name. Take another name, or replace it (replace=True, --replace)."""


class NoSuchWorker(Refused):
    """No such worker: it has stopped, or was lost. `seatline workers list` shows who is there."""


class TenantRequired(Refused):
    """The namespace requires a tenant of every job. Give one: Queue(tenant=...), enqueue(tenant=...) or --tenant."""

    exit_code = 2


class SeatsLacking(Refused):
    """A pool could never give the seats that the job needs. Make or enlarge it, or enqueue without strict."""


class WrongState(Refused):
    """That is not possible in the state the job is in."""


class PoolBusy(Refused):
    """The pool still has holders. Wait for them or cancel their jobs; `seatline pools show NAME` lists them."""


class HandlerDiffers(Refused):
    """A live worker declares this type with other seats or another if_lost. Deploy the same handlers everywhere."""

    exit_code = 2


class PartialEnqueue(SeatlineError):
    """A batch was refused after earlier ones were accepted: see .ids (accepted), .index (first not accepted), .cause."""

    def __init__(self, ids: list[str], index: int, cause: BaseException) -> None:
        self.ids, self.index, self.cause = ids, index, cause
        super().__init__(
            f"{len(ids)} jobs were accepted, then item {index} (or one of its batch) was refused: {cause}. "
            "Go on from that index: .ids holds the accepted ones."
        )


class OutcomeUnknown(SeatlineError):
    """The connection was lost and the server no longer remembers the request: it may or may not have happened.

    Look (`seatline jobs list`) before repeating it, or enqueue with token=... which is safe to repeat for ever.
    """


class TooDeep(SeatlineError):
    """Too many triggers lie before this job: each has caused the next, perhaps for ever. Enqueue its jobs (ctx.enqueue)."""


class StaleLease(SeatlineError):
    """The lease was taken back from this worker; its report changed nothing (the job runs or ran elsewhere)."""


class JobFailed(SeatlineError):
    """The job failed; .error_type, .error and .traceback tell how."""

    def __init__(
        self, message: str | None = None, *, error_type: str = "", error: str = "", traceback: str = ""
    ) -> None:
        self.error_type, self.error, self.traceback = error_type, error, traceback
        super().__init__(message)


class JobCancelled(JobFailed):
    """The job was cancelled."""


class JobInterrupted(JobFailed):
    """The job's worker died while it ran; a person decides (`seatline jobs resubmit ID`)."""


class JobSkipped(JobFailed):
    """The job ended as skipped: its handler found nothing to do."""


class JobExpired(JobFailed):
    """The job was not started in time: it waited beyond its expires. Enqueue it again, or give it longer."""


class JobLost(JobFailed):
    """The server lost this job, in a crash that lost its last writes or by removal. Enqueue it again."""


class OrderFailed(SeatlineError):
    """The order failed; .step and .error tell where and how. `seatline orders resume ID` goes on there."""

    def __init__(self, message: str | None = None, *, step: str = "", error: str = "") -> None:
        self.step, self.error = step, error
        super().__init__(message)


class OrderCancelled(OrderFailed):
    """The order was cancelled."""


class OrderLost(OrderFailed):
    """The server does not have this order (any more): it was removed, replaced, trimmed, or lost in a crash."""


class ResultExpired(SeatlineError):
    """The job succeeded, but its result is no longer kept. Raise result_ttl when you enqueue."""


class PayloadError(SeatlineError):
    """Stored bytes cannot be read as a value: written by something else, or damaged."""


class BadParams(SeatlineError):
    """The params do not fit the handler's signature."""


class Timeout(SeatlineError, TimeoutError):
    """The attempt went past its handler's timeout."""


class HandlerDied(SeatlineError):
    """The process that ran the handler ended under it; the message tells its exit code or signal."""


class SessionClosed(SeatlineError):
    """The session ended with its job. Every job has a session of its own: ask ctx.session(pool) for it each time."""


class WorkerStuck(SeatlineError):
    """No call of this worker has succeeded for too long (its watchdog); start it again, or see why the server is away."""

    exit_code = 69


class BrokenInvariant(SeatlineError):
    """Something that cannot happen has happened. This is a bug in Seatline: please report it with this text."""
