"""The store for event loops: what :class:`~seatline.shared.store.store.Store` is for threads, with the same guarantees.

What each failure means, and what is done about it, stands there; the numbers, the tries and the replies are the same code
(``tries.py``). Two things differ.

*Lanes are shared*: :class:`~seatline.shared.store.lanes.Lanes`, at most ``settings.connections`` an event loop, one request
under way in each, so that thousands of tasks need a few connections.

*Tasks are cancelled*: a request that is cancelled on its way gives its connection up, unread, and its lane back. Nobody
sends it again. Whether it happened the server knows: ask by token. (The other way, to shield the exchange until it ends,
would have a cancelled task's request go on for up to the deadline behind its caller's back.)

Everything belongs to one event loop and one process. A loop that ends closes what is its own, if it is ended as
``asyncio.run`` does; what a loop has left behind that is simply gone is let go at the next use; after a fork nothing of the
parent is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from redis import exceptions

from seatline.shared.calls.base import Call, Read
from seatline.shared.calls.talk import Ask, Held, Rest, Talk, Walk, following
from seatline.shared.config import Settings
from seatline.shared.errors import NotAllowed
from seatline.shared.keys import Keys
from seatline.shared.store.async_link import AsyncLink
from seatline.shared.store.async_listener import AsyncListener, Bell, Bells
from seatline.shared.store.lane import Lane, client_id
from seatline.shared.store.lanes import AsyncWire, Lanes
from seatline.shared.store.link import Lost, NotNow, check, said_no, where
from seatline.shared.store.password import with_login
from seatline.shared.store.rights import instead
from seatline.shared.store.tries import Patience, Tries, request

__all__ = ["AsyncStore"]

T = TypeVar("T")
#: What a fork has brought along: neither used nor collected, as closing it would speak on the parent's sockets.
_INHERITED: Final[list[object]] = []


class _Here:
    """What belongs to one event loop."""

    def __init__(self, lanes: Lanes, bells: Bells) -> None:
        self.lanes, self.bells = lanes, bells
        self._end = self._at_the_end()

    async def begin(self) -> None:
        """Have the event loop close everything when it ends: it ends the generators that have begun in it."""
        await anext(self._end)

    async def _at_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.bells.close()
            await self.lanes.close()

    async def close(self) -> None:
        await self._end.aclose()

    def forget(self) -> None:
        self.bells.forget()
        self.lanes.forget()


class AsyncStore:
    """One client of one namespace, for any number of tasks."""

    def __init__(self, settings: Settings, *, role: str = "client") -> None:
        self.settings, self.keys, self.role = settings, Keys(settings.namespace), role
        if settings.url:
            check(settings.url)
        self._url: str | None = settings.url
        self._begin()

    def _begin(self) -> None:
        self._pid, self.client, self._numbers = os.getpid(), client_id(), itertools.count(1)
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = WeakKeyDictionary()
        self._lock = threading.Lock()

    async def find(self) -> str:
        """Return where the server is: the setting, else the embedded server, started if need be (said in the log).

        Raises:
            NoEmbeddedServer: no server was named and none can be started.

        """
        return self._url or await self._ensure()

    async def _ensure(self) -> str:
        from seatline.shared import embedded  # noqa: PLC0415 - only who names no server needs it

        announce = logging.getLogger("seatline").warning
        found = await asyncio.to_thread(embedded.ensure, announce=announce)
        self._url = with_login(found.url, self.settings.user, self.settings.password_file)
        return self._url

    @property
    def place(self) -> str:
        """The URL without its password; the embedded server has none before the first use."""
        return "the embedded server" if self._url is None else where(self._url)

    async def _here(self) -> _Here:
        url = await self.find()
        loop = asyncio.get_running_loop()
        if os.getpid() != self._pid:
            _INHERITED.append(self._loops)
            self._begin()
        with self._lock:
            here = self._loops.get(loop)
            if here is not None:
                return here
            for gone in [each for each in self._loops if each.is_closed()]:
                self._loops.pop(gone).forget()
            bells = Bells(AsyncListener(self._link(url), self.keys), self.read)
            here = self._loops[loop] = _Here(Lanes(self.settings.connections, self._wire), bells)
        await here.begin()
        return here

    def _link(self, url: str) -> AsyncLink:
        return AsyncLink(url, self.settings, name=f"seatline:{self.role}:{self.client}")

    def _wire(self) -> AsyncWire:
        assert self._url is not None  # noqa: S101 - found before the first lane is made
        return self._link(self._url), Lane(self.client, next(self._numbers))

    async def close(self) -> None:
        """Close this event loop's connections, those in use once they are done; using the store again opens new ones."""
        with self._lock:
            here = self._loops.pop(asyncio.get_running_loop(), None) if os.getpid() == self._pid else None
        if here is not None:
            await here.close()

    async def listener(self, name: str | None = None) -> AsyncListener:
        """Return a bell to wait on, with a connection of its own; one that nobody else could hold may keep its ``name``."""
        return AsyncListener(self._link(await self.find()), self.keys, name)

    @contextlib.asynccontextmanager
    async def bell(self, key: str) -> AsyncGenerator[Bell]:
        """Give a bell to register under a key (of a job or an order), on a connection that all who wait share."""
        here = await self._here()
        async with here.bells.on(key) as bell:
            yield bell

    async def run(self, call: Call[T], patience: Patience | None = None) -> T:
        """Run a script exactly once and return what it says.

        Raises:
            Refused: the script refused; nothing changed.
            ServerError: it was not executed.
            OutcomeUnknown: nobody can know whether it was.
            CancelledError: perhaps it was, or will be within a moment; it is not sent again.

        """
        patience = patience or Patience(self.settings.deadline)
        lanes = (await self._here()).lanes
        link, lane = wire = await lanes.take(patience.seconds)
        try:
            asked = request(call, lane, self.keys)
            keys, words = next(asked)
            while True:

                async def send() -> list[Any]:
                    return await link.run(call.script, keys, words)  # noqa: B023 - it is called before they change

                try:
                    reply = await self._send(lanes, link, send, patience, doubt=call.numbered)
                except NotAllowed as refused:
                    raise instead(refused, link.url, where(link.url), self.keys, call.script) from None
                try:
                    keys, words = asked.send(reply)
                except StopIteration as end:
                    value: T = end.value
                    return value
        except asyncio.CancelledError:
            lane.give_up()
            raise
        finally:
            lanes.give(wire)

    async def read(self, read: Read[T], patience: Patience | None = None) -> T:
        """Send plain commands together; changes nothing, needs the right to read only."""
        patience = patience or Patience(self.settings.deadline)
        lanes = (await self._here()).lanes
        link, _ = wire = await lanes.take(patience.seconds)

        async def send() -> list[Any]:
            try:
                return await link.read(read.commands)
            except exceptions.ResponseError as error:
                raise said_no(error, link.url, link.keys) from None

        try:
            reply, _ = await self._send(lanes, link, send, patience, meet=False, doubt=False)
        finally:
            lanes.give(wire)
        return read.parse(reply)

    async def talk(self, talk: Talk[T], bell: Bell | None = None) -> T:
        """Hold a talk, and return what came of it; one that rests does so on ``bell``.

        Raises:
            SeatlineError: what the talk raises, and what it was told and did not mind.

        """
        held = Held(talk)
        while held.asked is not None:
            try:
                answer = await self._ask(held.asked, bell)
            except BaseException as raised:  # noqa: BLE001 - a cancellation too: it may have something to give back
                held.fail(raised)
            else:
                held.answer(answer)
        return held.outcome

    async def walk(self, walk: Walk[T]) -> AsyncIterator[T]:
        """Iterate over what a walk finds."""
        while coming := await self.talk(following(walk)):
            yield coming[0]

    async def _ask(self, asked: Ask, bell: Bell | None = None) -> Any:
        match asked:
            case Call():
                return await self.run(asked)
            case Read():
                return await self.read(asked)
            case Rest():
                assert bell is not None, "a talk that rests needs a bell"  # noqa: S101
                return await bell.rest(asked.seconds)

    async def _send(
        self,
        lanes: Lanes,
        link: AsyncLink,
        send: Callable[[], Awaitable[list[Any]]],
        patience: Patience,
        *,
        meet: bool = True,
        doubt: bool = True,
    ) -> tuple[list[Any], bool]:
        """Send until there is an answer; returns it and whether an earlier copy may have been executed."""
        tries = Tries(patience, doubt=doubt)
        while True:
            try:
                await link.open(meet=meet)
                reply = await send()
            except (Lost, NotNow) as failure:
                pause = tries.failed(failure, link.url)
            else:
                lanes.answered()
                tries.answered()
                return reply, tries.perhaps
            await asyncio.sleep(pause)
            await self._find_again(link)

    async def _find_again(self, link: AsyncLink) -> None:
        """Start the embedded server again if it is gone; it may have another address then."""
        if self.settings.url or link.connected:
            return
        link.drop()
        link.move_to(await self._ensure(), self.settings)
