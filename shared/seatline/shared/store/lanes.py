"""The lanes of one event loop: a few, each with a connection, given to one request at a time in the order of asking.

Threads have a lane each, for as long as they live. Tasks come by the thousand, so they share. A request that is
cancelled gives its lane back with the connection closed: its number is used up, the next request has a greater one, and
after that a late copy of it cannot execute any more (``_lane.lua``).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from seatline.shared.errors import ServerUnavailable
from seatline.shared.store.async_link import AsyncLink
from seatline.shared.store.lane import Lane

__all__ = ["AsyncWire", "Lanes"]

AsyncWire = tuple[AsyncLink, Lane]


class Lanes:
    """At most ``most`` lanes, made when needed; whoever comes when all are taken stands in line."""

    def __init__(self, most: int, make: Callable[[], AsyncWire]) -> None:
        self._most, self._make = most, make
        self._free: list[AsyncWire] = []
        self._taken: set[AsyncWire] = set()
        self._closed = False
        self._line: OrderedDict[asyncio.Future[AsyncWire], None] = OrderedDict()
        self._answered = 0.0

    async def take(self, seconds: float | None) -> AsyncWire:
        """Return a lane, once it is this one's turn.

        Raises:
            ServerUnavailable: the server has answered nobody for so long (None: for ever); nothing was sent.

        """
        if self._free:
            wire = self._free.pop()  # the one used last: the others may rest
        elif len(self._taken) < self._most:
            wire = self._make()
        else:
            return await self._stand(seconds)
        self._taken.add(wire)
        return wire

    async def _stand(self, seconds: float | None) -> AsyncWire:
        place: asyncio.Future[AsyncWire] = asyncio.get_running_loop().create_future()
        self._line[place] = None
        came = time.monotonic()
        try:
            while not place.done():
                # As long as others are answered, it is only that the line is long.
                left = None if seconds is None else max(came, self._answered) + seconds - time.monotonic()
                if left is not None and left <= 0:
                    raise ServerUnavailable(
                        f"the server has answered none of {len(self._taken)} requests for {seconds:g} s; this one was in "
                        "line behind them and was not sent. Is it overloaded or stopped?"
                    )
                await asyncio.wait([place], timeout=left)
            return place.result()
        except BaseException:
            if place.done() and not place.cancelled():
                self.give(place.result())  # it came at the same moment: to the next
            self._line.pop(place, None)
            place.cancel()
            raise

    def answered(self) -> None:
        """Note that the server answers."""
        self._answered = time.monotonic()

    def give(self, wire: AsyncWire) -> None:
        """Give a lane back: to the first in line, if there is one."""
        while self._line:
            place, _ = self._line.popitem(last=False)
            if not place.get_loop().is_closed():  # else nobody is there any more
                place.set_result(wire)
                return
        self._taken.discard(wire)
        if self._closed:
            wire[0].drop()
        else:
            self._free.append(wire)

    async def close(self) -> None:
        """Close all connections: those that are taken, once nobody is in line for them."""
        self._closed = True
        free, self._free = self._free, []
        for link, _ in free:
            await link.close()

    def forget(self) -> None:
        """Let go of all connections, as the event loop is gone."""
        for link, _ in (*self._free, *self._taken):
            link.drop()
        self._free, self._taken = [], set()
