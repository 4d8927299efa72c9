"""Bells on an event loop: :class:`~seatline.shared.store.listener.Listener`, awaited, and one that many share.

A thread that waits has a bell of its own. Thousands of tasks may wait at once, so they share one, :class:`Bells`, with
one connection. A ring does not say for whom it is: then it looks at the keys of all that wait, in one read, and wakes
those under which its name no longer stands (their job or order has ended, or is gone). It looks every 5 seconds anyway, so
a lost ring costs no more. When the connection is lost it takes another name and wakes all: they register anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, Protocol

from seatline.shared.calls.base import Command, Read, text
from seatline.shared.errors import SeatlineError
from seatline.shared.keys import Keys
from seatline.shared.store.async_link import AsyncLink
from seatline.shared.store.lane import client_id
from seatline.shared.store.link import Lost, NotNow
from seatline.shared.store.listener import LONGEST

__all__ = ["AsyncListener", "Bell", "Bells"]

#: Keys looked at in one read.
AT_ONCE: Final = 500


class Bell(Protocol):
    """What a talk may rest on."""

    async def rest(self, seconds: float) -> str:
        """Wait for at most so many seconds; returns its name from now on."""
        ...


class AsyncListener:
    """Waits on a bell, for one task; its ``name`` is what to register. A name that is given stays."""

    def __init__(self, link: AsyncLink, keys: Keys, name: str | None = None) -> None:
        self._link, self._keys, self._fixed = link, keys, name is not None
        self.name = name or client_id()

    async def wait(self, seconds: float) -> bool:
        """Wait for at most ``seconds`` (5 at most); returns whether it rang.

        Raises:
            Lost, NotNow: the server is away; the name has changed, so register again before the next wait.

        """
        try:
            await self._link.open(meet=False)
            return bool(await self._link.block(self._keys.bell(self.name), max(0.01, min(seconds, LONGEST))))
        except (Lost, NotNow):
            if not self._fixed:
                self.name = client_id()
            raise

    async def rest(self, seconds: float) -> str:
        """Wait, or return at once when the server is away: whoever asks next will be patient, or told. Returns the name."""
        if seconds > 0:
            with contextlib.suppress(Lost, NotNow):
                await self.wait(seconds)
        return self.name

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    def drop(self) -> None:
        """Give the connection up, unread."""
        self._link.drop()


class _Place:
    """One that waits: the key under which it has registered the bell."""

    def __init__(self, bells: Bells, key: str) -> None:
        self._bells, self.key, self._woken = bells, key, asyncio.Event()
        self._error: SeatlineError | None = None

    def wake(self, error: SeatlineError | None = None) -> None:
        self._error = error
        self._woken.set()

    async def rest(self, seconds: float) -> str:
        if seconds > 0:
            self._bells.listen()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            if self._error is not None:
                raise self._error
        self._woken.clear()  # what comes from here on is for the name that is returned
        return self._bells.name


class Bells:
    """One bell for all who wait on this event loop."""

    def __init__(self, listener: AsyncListener, read: Callable[[Read[list[bool]]], Awaitable[list[bool]]]) -> None:
        self._listener, self._read = listener, read
        self._places: set[_Place] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """What to register."""
        return self._listener.name

    @contextlib.asynccontextmanager
    async def on(self, key: str) -> AsyncGenerator[Bell]:
        """Give a bell to register under this key; stand there before registering, so that no ring falls between."""
        place = _Place(self, key)
        self._places.add(place)
        try:
            yield place
        finally:
            self._places.discard(place)

    def listen(self) -> None:
        """See to it that somebody listens."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ring(), name="seatline-bells")

    async def _ring(self) -> None:
        """Listen for as long as anybody waits, and one block longer: whoever waits next finds it listening."""
        pause = 0.05
        while self._places:
            error: SeatlineError | None = None
            try:
                await self._listener.wait(LONGEST)
                await self._look()
            except (Lost, NotNow):
                pass  # each asks the server itself, is patient, or told
            except SeatlineError as refused:
                error = refused
            else:
                pause = 0.05
                continue
            self._wake(error)
            await asyncio.sleep(pause)
            pause = min(2.0, 2 * pause)
        if self._closed:
            self._listener.drop()

    def _wake(self, error: SeatlineError | None = None) -> None:
        for place in self._places:
            place.wake(error)

    async def _look(self) -> None:
        """Wake those under whose key the bell no longer stands."""
        name, places = self._listener.name, list(self._places)
        for at in range(0, len(places), AT_ONCE):
            some = places[at : at + AT_ONCE]
            for place, stands in zip(some, await self._read(_standing(name, [each.key for each in some])), strict=True):
                if not stands:
                    place.wake()

    async def close(self) -> None:
        """Close the connection; whoever still waits opens it again, for as long as that takes."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._listener.close()
        self._wake()

    def forget(self) -> None:
        """Let go of the connection, as the event loop is gone."""
        self._listener.drop()


def _standing(name: str, keys: Sequence[str]) -> Read[list[bool]]:
    commands: list[Command] = [("HGET", key, "listeners") for key in keys]
    return Read(commands, lambda replies: [name in text(reply or b"").split() for reply in replies])
