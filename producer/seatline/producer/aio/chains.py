"""The chains of a namespace, on an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatline.producer import chains as asks
from seatline.shared.calls.orders import ChainRecord

if TYPE_CHECKING:
    from seatline.producer.aio.queue import AsyncQueue

__all__ = ["AsyncChains"]


class AsyncChains:
    """The chains of a namespace: ``await queue.chains["release"]`` shows one; ``queue.define`` makes one."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue, self._store = queue, queue.store

    async def __getitem__(self, name: str) -> ChainRecord:
        """Return a chain.

        Raises:
            NoSuchChain: there is none of that name.

        """
        return await self._store.talk(asks.chain_record(self._store.keys, name))

    async def list(self) -> Sequence[ChainRecord]:
        """Return all chains, by name."""
        return await self._store.talk(asks.chain_records(self._store.keys))

    async def stop(self, name: str, step: str | None = None) -> bool:
        """Let orders collect in front of a chain, or of one of its steps; what runs goes on (O11).

        Returns False if it was stopped already.

        Raises:
            NoSuchChain, NoSuchStep: there is none of that name.

        """
        return await self._store.run(asks.gate(name, "stop", step, self._queue.by))

    async def start(self, name: str, step: str | None = None) -> bool:
        """Let them go on. Returns False if it was not stopped."""
        return await self._store.run(asks.gate(name, "stop", step, "", self._queue.by))

    async def skip(self, name: str, step: str) -> bool:
        """Have orders pass a step without running it, until :meth:`unskip`. Returns False if that was so already (O11)."""
        return await self._store.run(asks.gate(name, "skip", step, self._queue.by))

    async def unskip(self, name: str, step: str) -> bool:
        """Have the step run again. Returns False if it was not skipped."""
        return await self._store.run(asks.gate(name, "skip", step, "", self._queue.by))
