"""The producer's end of one job, or one order, on an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seatline.producer import handle as job_asks
from seatline.producer import orders as order_asks
from seatline.producer.timeline import Transition
from seatline.shared.calls import jobs as verbs
from seatline.shared.calls import orders as order_verbs
from seatline.shared.calls import reads
from seatline.shared.job import Attempt, JobRecord, check_priority
from seatline.shared.order import OrderRecord, Run

if TYPE_CHECKING:
    from seatline.producer.aio.queue import AsyncQueue
    from seatline.producer.why import Obstacle

__all__ = ["AsyncJobHandle", "AsyncOrderHandle"]


class AsyncJobHandle:
    """One job as its producer sees it: :class:`~seatline.producer.JobHandle`, awaited.

    Attributes:
        id: 16 digits.
        existed: True if the token stood for this job before (nothing new was stored).

    """

    __slots__ = ("_created", "_queue", "existed", "id")

    def __init__(self, queue: AsyncQueue, job_id: str, created: int | None = None, *, existed: bool = False) -> None:
        self._queue, self.id, self._created, self.existed = queue, job_id, created, existed

    def __repr__(self) -> str:
        return f"<AsyncJobHandle {int(self.id)}>"

    async def record(self) -> JobRecord:
        """Return a snapshot of the job.

        Raises:
            NoSuchJob: it was removed or trimmed.
            JobLost: the server lost it.

        """
        return await self._queue.store.talk(job_asks.job_record(self._queue.store.keys, self.id, self._created))

    async def state(self) -> str:
        """Ask the server for the job's state."""
        keys = self._queue.store.keys
        return (await self._queue.store.talk(job_asks.plain_record(keys, self.id, self._created))).state

    async def why(self) -> list[Obstacle]:
        """Say everything that keeps the job from running now, each with what to do; empty: nothing does (W1)."""
        return await self._queue.store.talk(job_asks.why_job(self._queue.store.keys, self.id, self._created))

    async def history(self) -> list[str]:
        """What people and losses did to the job, oldest first."""
        return job_asks.history_lines(await self._queue.store.read(reads.history(self._queue.store.keys, self.id)))

    async def timeline(self) -> list[Transition]:
        """All that happened to the job, oldest first: each run with its worker, and what people did."""
        return await self._queue.store.talk(job_asks.job_timeline(self._queue.store.keys, self.id, self._created))

    async def attempts(self) -> list[Attempt]:
        """The failed attempts after which it ran again, oldest first, at most 20; its record has the last error (C16)."""
        return await self._queue.store.read(reads.attempts(self._queue.store.keys, self.id))

    async def log(self) -> list[str]:
        """What its handler logged (``ctx.log``), oldest first, each line with its time; the newest 1,000 are kept (C17)."""
        return job_asks.log_texts(await self._queue.store.read(reads.log_lines(self._queue.store.keys, self.id)))

    async def cancel(self) -> str:
        """End it if it waits ('cancelled'), ask it to stop if it runs ('asked').

        Raises:
            WrongState: it has already ended.

        """
        return await self._queue.store.run(verbs.cancel(self.id, self._queue.by))

    async def remove(self) -> str:
        """Forget it; refused while it runs. Returns the state it was in."""
        return await self._queue.store.run(verbs.remove(self.id, self._queue.by))

    async def resubmit(self) -> str:
        """Make it ready again after its end, with attempts counted anew. Returns the state it had ended in."""
        return await self._queue.store.run(verbs.resubmit(self.id, self._queue.by))

    async def move(self, *, priority: int) -> int:
        """Give it another priority while it waits, keeping its id and sequence (Q6).

        Returns how many jobs stand before it in its line, or -1 if it is not due yet.
        """
        return (await self._queue.store.run(verbs.move(self.id, self._queue.by, check_priority(priority))))[2]

    async def wait(self, timeout: float | None = None) -> JobRecord:  # noqa: ASYNC109 - as the other handle
        """Wait for its end, on the server and not by polling; thousands may wait at once, on one connection.

        Args:
            timeout: seconds, or None for as long as it takes. A cancelled wait ends at once; the job goes on.

        Raises:
            TimeoutError: it has not ended by then; the job goes on.
            JobLost: the server does not have it (any more).

        """
        store = self._queue.store
        async with store.bell(store.keys.job(self.id)) as bell:
            return await store.talk(job_asks.job_end(self.id, self._created, timeout), bell)

    async def result(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as the other handle
        """Wait for its end and return what the handler returned; see :meth:`seatline.producer.JobHandle.result`.

        Raises:
            JobFailed: it failed; with the remote traceback. JobCancelled, JobInterrupted, JobSkipped, JobExpired, JobLost:
                its kinds.
            ResultExpired: it succeeded, but the result is no longer kept.
            TimeoutError: it has not ended by then; the job goes on.

        """
        return job_asks.outcome(await self.wait(timeout))


class AsyncOrderHandle:
    """One order as its producer sees it: :class:`~seatline.producer.OrderHandle`, awaited.

    Attributes:
        id: its own, or its number in 16 digits.

    """

    __slots__ = ("_number", "_queue", "id")

    def __init__(self, queue: AsyncQueue, order_id: str, number: str | None = None) -> None:
        self._queue, self.id, self._number = queue, order_id, number

    def __repr__(self) -> str:
        return f"<AsyncOrderHandle {self.id}>"

    async def record(self) -> OrderRecord:
        """Return a snapshot of the order, with its params and the outputs of its steps.

        Raises:
            NoSuchOrder: it was removed or trimmed.
            OrderLost: another order has its id now.
            PayloadError: its record cannot be read.

        """
        return await self._queue.store.talk(order_asks.order_record(self._queue.store.keys, self.id, self._number))

    async def state(self) -> str:
        """Ask the server for the order's state."""
        return (await self.record()).state

    async def outputs(self) -> dict[str, Any]:
        """What its steps have returned so far, by name (O5)."""
        return (await self.record()).outputs

    async def why(self) -> list[Obstacle]:
        """Say everything that keeps the order from going on now, each with what to do; empty: nothing does (W1).

        Raises:
            NoSuchOrder: it was removed or trimmed. OrderLost: another order has its id now.

        """
        return await self._queue.store.talk(order_asks.why_not(self._queue.store.keys, self.id, self._number))

    async def history(self) -> list[Run]:
        """What has become of it: every run of a step, and what people did; oldest first, the newest 1,000."""
        return await self._queue.store.read(order_verbs.history(self._queue.store.keys, self.id))

    async def suspend(self) -> str:
        """Let the running step end and go on no further (O6). Returns the state, as all that follow do."""
        return await self._act("suspend")

    async def resume(self, from_step: str | None = None) -> str:
        """Go on after a suspension, or where it failed; or from another step, whose followers then run again (O8).

        Raises:
            WrongState: it is neither suspended nor failed; or a step is under way, and another one was named.
            NoSuchStep: its chain has none of that name.

        """
        return await self._act("resume", from_step)

    async def skip(self, step: str) -> str:
        """Pass a step without running it, now or when it gets there. Raises WrongState if it is under way, or has ended."""
        return await self._act("skip", step)

    async def go_to(self, step: str) -> str:
        """Go on at a step, forward or back; refused while one is under way. One that is suspended waits in front of it."""
        return await self._act("goto", step)

    async def reset(self) -> str:
        """Begin again with the first step, without the outputs so far; refused while a step is under way."""
        return await self._act("reset")

    async def cancel(self) -> str:
        """End it: what waits at once, what runs is asked to stop (then 'asked' is returned)."""
        return await self._act("cancel")

    async def remove(self) -> str:
        """Forget it ('removed'); if a step is under way, once that has ended ('asked')."""
        return await self._act("remove")

    async def _act(self, verb: order_verbs.Act, step: str | None = None) -> str:
        return await self._queue.store.run(order_asks.act(self.id, self._number, verb, step, self._queue.by))

    async def wait(self, timeout: float | None = None) -> OrderRecord:  # noqa: ASYNC109 - as the other handle
        """Wait until it has succeeded, failed or was cancelled; on the server and not by polling.

        Args:
            timeout: seconds, or None for as long as it takes. A cancelled wait ends at once; the order goes on.

        Raises:
            TimeoutError: it has not ended by then; the order goes on.
            OrderLost: the server does not have it (any more).

        """
        store = self._queue.store
        async with store.bell(store.keys.order(self.id)) as bell:
            return await store.talk(order_asks.order_end(self.id, self._number, timeout), bell)

    async def result(self, timeout: float | None = None) -> dict[str, Any]:  # noqa: ASYNC109 - as the other handle
        """Wait for its end and return the outputs of its steps, by name.

        Raises:
            OrderFailed: it failed; says at which step, and why. OrderCancelled, OrderLost: its kinds.
            TimeoutError: it has not ended by then; the order goes on.

        """
        return order_asks.outputs(await self.wait(timeout))
