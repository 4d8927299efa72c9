"""What a handler is given beside its params."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from seatline.shared.job import JobRecord

__all__ = ["Cancelled", "Context", "Hold"]


class Cancelled(BaseException):
    """Raised by :meth:`Context.check` to leave a handler whose job was cancelled or whose lease was lost.

    Not an Exception, so that a handler's ``except Exception`` does not swallow it.
    """


class Hold:
    """A worker's hold on one job: its lease's token, and what the renewing thread has heard since.

    Attributes:
        cancel: somebody asked the job to stop.
        fenced: the lease may be somebody else's by now.

    """

    __slots__ = ("cancel", "fenced", "id", "token")

    def __init__(self, job_id: str, token: str) -> None:
        self.id, self.token = job_id, token
        self.cancel = self.fenced = False


class Context:
    """One attempt at one job.

    Attributes:
        id: of the job, 16 digits.
        type: of the job.
        attempt: 1 for the first run, counted for people and for the retry rule.
        token: proves this attempt's lease; hand it to outside systems that can refuse an older one.

    """

    __slots__ = ("_flat", "_hold", "_record", "attempt", "id", "token", "type")

    def __init__(self, hold: Hold, type_: str, attempt: int, flat: Sequence[bytes]) -> None:
        self.id, self.type, self.attempt, self.token = hold.id, type_, attempt, hold.token
        self._hold = hold
        self._flat = flat
        self._record: JobRecord | None = None

    def __repr__(self) -> str:
        return f"<Context job {int(self.id)} ({self.type}), attempt {self.attempt}>"

    @property
    def job(self) -> JobRecord:
        """The job as it was when it was reserved: priority, tenant, title, tags, params, ..."""
        if self._record is None:
            self._record = JobRecord.read(self.id, self._flat)
        return self._record

    @property
    def tenant(self) -> str | None:
        """Which vault, site or customer the job is for."""
        return self.job.tenant

    @property
    def cancelled(self) -> bool:
        """True once somebody asked this job to stop, or this worker may no longer hold it. Look at it now and then."""
        return self._hold.cancel or self._hold.fenced

    @property
    def fenced(self) -> bool:
        """True once the lease may be somebody else's: the worker could not renew it in time, or it was taken back."""
        return self._hold.fenced

    def check(self) -> None:
        """Raise :class:`Cancelled` if the handler should stop."""
        if self.cancelled:
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Sleep, but leave with :class:`Cancelled` soon after the job should stop."""
        waiter = threading.Event()
        left = seconds
        while left > 0:
            self.check()
            waiter.wait(min(0.1, left))
            left -= 0.1
        self.check()
