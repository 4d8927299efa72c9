"""Many jobs at once, on an event loop."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from seatline.producer.selection import Acted, Picked, Told, act
from seatline.shared.calls import jobs as verbs
from seatline.shared.job import check_priority

if TYPE_CHECKING:
    from seatline.producer.aio.queue import AsyncQueue

__all__ = ["AsyncSelection"]


class AsyncSelection:
    """The jobs that matched when it was made: :class:`~seatline.producer.Selection`, awaited.

    An act that is cancelled has done a part of it: what ``on`` was told, and perhaps one call more.

    Attributes:
        moment: the server's time when it was made, in UTC.

    """

    __slots__ = ("_picked", "_queue", "moment")

    def __init__(self, queue: AsyncQueue, picked: Picked) -> None:
        self._queue, self._picked = queue, picked
        self.moment = dt.datetime.fromtimestamp(picked.moment / 1000, dt.UTC)

    def __repr__(self) -> str:
        return f"<AsyncSelection of {len(self):,} jobs>"

    def __len__(self) -> int:
        return len(self._picked.numbers)

    @property
    def ids(self) -> list[str]:
        """Their ids, in the order in which they were accepted."""
        return self._picked.ids()

    async def cancel(self, on: Told | None = None) -> Acted:
        """End those that wait, ask those that run to stop (Q23).

        Raises:
            ServerError: the server cannot do it now; what ``on`` was told is done.
            OutcomeUnknown: nobody can know whether the last call was executed.

        """
        return await self._queue.store.talk(act(self._picked, lambda some: verbs.cancel_many(some, self._queue.by), on))

    async def remove(self, on: Told | None = None) -> Acted:
        """Forget them, with their results and history; those that run are left alone. Errors are those of :meth:`cancel`."""
        return await self._queue.store.talk(act(self._picked, lambda some: verbs.remove_many(some, self._queue.by), on))

    async def resubmit(self, on: Told | None = None) -> Acted:
        """Make those that have ended ready again, attempts counted anew. Errors are those of :meth:`cancel`."""
        return await self._queue.store.talk(
            act(self._picked, lambda some: verbs.resubmit_many(some, self._queue.by), on)
        )

    async def move(self, *, priority: int, on: Told | None = None) -> Acted:
        """Give those that wait another priority (Q6).

        Raises:
            InvalidInput: the priority is none; nothing was sent.
            ServerError, OutcomeUnknown: as for :meth:`cancel`.

        """
        check_priority(priority)
        return await self._queue.store.talk(
            act(self._picked, lambda some: verbs.move_many(some, self._queue.by, priority), on)
        )
