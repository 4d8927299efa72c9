"""Pools of seats, and the seats a program holds itself, on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Self

from seatline.producer import pools as asks
from seatline.shared.calls import pools as verbs
from seatline.shared.calls import reads
from seatline.shared.calls.reads import PoolRecord
from seatline.shared.config import check_name
from seatline.shared.errors import SeatlineError
from seatline.shared.job import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from seatline.producer.aio.queue import AsyncQueue

__all__ = ["AsyncPools", "AsyncProgramSession"]


class AsyncPools:
    """The licence pools of a namespace: ``await queue.pools["vault"]`` shows one, ``set`` makes one."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue, self._store = queue, queue.store

    async def set(self, name: str, capacity: int, *, keep: int | None = None, keep_priority: int | None = None) -> bool:
        """Make a pool or change its capacity; returns True if it is new. See :meth:`seatline.producer.Pools.set`."""
        return await self._store.run(asks.set_pool(name, capacity, keep, keep_priority, self._queue.by))

    async def remove(self, name: str) -> None:
        """Forget a pool. Raises PoolBusy while somebody holds seats of it, NoSuchPool if there is none."""
        await self._store.run(verbs.remove_pool(check_name("pool", name), by=self._queue.by))

    async def external(self, name: str, seats: int, *, ttl: float = 300.0) -> None:
        """Tell how many seats are used outside Seatline; they are withheld for ``ttl`` seconds (S8)."""
        await self._store.run(asks.set_external(name, seats, ttl, self._queue.by))

    async def __getitem__(self, name: str) -> PoolRecord:
        """Return a pool: capacity, in_use, holders, waiting.

        Raises:
            NoSuchPool: there is none.

        """
        return await self._store.talk(asks.pool_record(self._store.keys, name))

    async def __aiter__(self) -> AsyncIterator[str]:
        """Iterate over the pools' names."""
        for name in await self._store.read(reads.name_set(self._store.keys, "pools")):
            yield name

    async def list(self) -> list[PoolRecord]:
        """Return all pools, by name."""
        return await self._store.talk(asks.pool_records(self._store.keys))

    def session(
        self,
        pool: str,
        seats: int = 1,
        *,
        ttl: float = 60.0,
        priority: int = DEFAULT_PRIORITY,
        timeout: float | None = None,
        name: str = "program",
    ) -> AsyncProgramSession:
        """Hold seats in this program: ``async with queue.pools.session("vault"): ...`` (S10).

        Args:
            pool: its name.
            seats: how many, all or none.
            ttl: seconds after which the seats are free again if this program dies; it renews itself every third of that, for
                which the event loop must come to it.
            priority: its place in the pool's line, among waiting jobs too.
            timeout: seconds to wait for the seats; None: as long as it takes; 0: now or never. Whoever is cancelled while
                waiting leaves the line.
            name: how holders' lists call it.

        """
        return AsyncProgramSession(self._queue, asks.Wanted.of(pool, seats, ttl, priority, timeout, name))


class AsyncProgramSession:
    """Seats held by a program, renewed by a task of their own until closed; lost (``.lost``) if it was away too long."""

    def __init__(self, queue: AsyncQueue, wanted: asks.Wanted) -> None:
        self._store, self._wanted = queue.store, wanted
        self.pool, self.seats, self.owner = wanted.pool, wanted.seats, wanted.owner
        self.lost = False
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Wait for the seats and take them.

        Raises:
            TimeoutError: not free in time.
            NoSuchPool: there is no such pool.
            InvalidInput: more seats than the pool could ever give.

        """
        listener = await self._store.listener(self._wanted.token)
        try:
            await self._store.talk(self._wanted.taken(self._store.keys), listener)
        finally:
            listener.drop()
        self._stop.clear()
        self._task = asyncio.create_task(self._renew(), name=f"seatline-session-{self.pool}")

    async def close(self) -> None:
        """Give the seats back; closing twice does nothing."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stop.set()
        await asyncio.wait([task])
        if not await self._store.run(self._wanted.given_back()):
            self.lost = True

    def check(self) -> None:
        """Raise :class:`StaleLease` if the seats were taken back because this program was away for too long."""
        if self.lost:
            raise self._wanted.taken_back()

    async def _renew(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wanted.ttl / 3):
                    await self._stop.wait()
                return
            try:
                if not await self._store.run(self._wanted.renewed()):
                    self.lost = True
                    return
            except SeatlineError:
                continue  # the server is away; the session lives on there until its deadline, and a late renewal is good
