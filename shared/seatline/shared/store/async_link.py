"""One lane's connection on an event loop: :class:`~seatline.shared.store.link.Link`, awaited.

A task may be cancelled at any moment. Whatever interrupts an exchange, a connection of which a reply is outstanding is
given up at once, unread: so no reply ever reaches another request, and nobody waits for one that is not wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

from redis import exceptions
from redis.asyncio.connection import ConnectionPool

from seatline.shared.calls.base import Command
from seatline.shared.calls.contact import Contact, known_layout
from seatline.shared.config import Settings
from seatline.shared.keys import Keys
from seatline.shared.scripts import script
from seatline.shared.store import guard
from seatline.shared.store.link import Lost, connection_to, greeted, greeting, not_opened, said_no, where

__all__ = ["AsyncLink"]


class AsyncLink:
    """A connection that is opened when needed, used by one task at a time."""

    def __init__(self, url: str, settings: Settings, *, name: str) -> None:
        self.keys, self.name = Keys(settings.namespace), name
        self.contact: Contact | None = None
        self._allow_eviction = settings.allow_eviction
        self._timeout, self._connect_timeout = settings.timeout, settings.connect_timeout
        self._transport: Any = None
        self.move_to(url, settings)

    def move_to(self, url: str, settings: Settings) -> None:
        """Use this address from the next connection on."""
        self.url = url
        # Its own time-outs would cost a task for each command; ours are around the whole of an exchange.
        self._connection = connection_to(url, settings, ConnectionPool, client_name=self.name, socket_timeout=None)
        self._met = self._read = False

    @property
    def connected(self) -> bool:
        """Whether a socket is open (as far as this side knows)."""
        reader, writer = self._connection._reader, self._connection._writer  # noqa: SLF001 - no public way to ask
        return reader is not None and not reader.at_eof() and not writer.is_closing()

    def drop(self) -> None:
        """Give the connection up, whatever is under way on it; the next use opens a new one."""
        self._met = self._read = False
        with contextlib.suppress(Exception):  # its event loop may be gone
            self._connection._close()  # noqa: SLF001 - the one that never waits
        with contextlib.suppress(Exception):
            if self._transport is not None:
                self._transport.abort()  # the other only closes it once all is written
        self._transport = None
        self._connection._reader = self._connection._writer = None  # noqa: SLF001 - or it complains when it is forgotten

    async def close(self) -> None:
        """Close the socket orderly; the next use opens a new one."""
        try:
            with contextlib.suppress(Exception):
                await self._connection.disconnect()
        finally:
            self.drop()

    async def open(self, *, meet: bool) -> None:
        """Connect, and on a new connection exchange the first words (``meet``: the caller will write).

        Raises:
            Lost: not reached; nothing was sent.
            SeatlineError: the server refused.

        """
        if not self.connected:
            self.drop()
            try:
                async with asyncio.timeout(self._connect_timeout + self._timeout):
                    await self._connection.connect()
                self._transport = self._connection._writer.transport  # noqa: SLF001 - no public way to ask
            except (exceptions.RedisError, OSError) as error:
                self.drop()
                raise not_opened(self._late(error), self.url) from None
            except BaseException:
                self.drop()
                raise
        if meet and not self._met:
            try:
                await self._meet()
            except Lost as lost:  # the first words may be said again for ever; the request itself was not sent
                raise Lost(lost.cause, sent=False) from None

    async def _meet(self) -> None:
        said: list[Any] = []
        place, admitted = where(self.url), False
        while not admitted:
            began = time.time()
            try:
                said = await self.send(guard.questions(place))
            except exceptions.ResponseError:
                said = []  # this login may not ask: somebody else's contact will notice a new run
            admitted = guard.admit(said, began, time.time(), place, allow_eviction=self._allow_eviction)
        call = greeting(b"".join(said))
        self.contact = greeted(call, await self.run(call.script, [self.keys.about], call.words))
        self._met = True

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """Send plain commands that change nothing; the first on a connection ask for the key layout in the same exchange.

        Raises:
            Lost, exceptions.ResponseError: as :meth:`send`.
            ServerRefused: a newer Seatline has written the namespace.

        """
        if self._met or self._read:
            return await self.send(commands)
        layout, *replies = await self.send([("HGET", self.keys.about, "schema"), *commands], spare=1)
        known_layout(layout)
        self._read = True
        return replies

    async def send(self, commands: Sequence[Command], *, longer: float = 0.0, spare: int = 0) -> list[Any]:
        """Send commands together and read their replies, each of which may take ``longer`` than usual (seconds).

        A refusal of one of the first ``spare`` is a reply.

        Raises:
            Lost: the connection failed in between.
            exceptions.ResponseError: the server's answer to one of them.

        """
        connection, now = self._connection, asyncio.get_running_loop().time
        replies: list[Any] = []
        refused: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout) as limit:
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                for number in range(len(commands)):
                    limit.reschedule(now() + self._timeout + longer)
                    try:
                        replies.append(await connection.read_response())
                    except exceptions.ResponseError as error:
                        replies.append(error)
                        refused = refused or (error if number >= spare else None)
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as lost:
            self.drop()
            raise Lost(self._late(lost), sent=True) from None
        except BaseException:
            self.drop()
            raise
        if refused:
            raise refused
        return replies

    @staticmethod
    def _late(error: Exception) -> Exception:
        """Name our own time-out as the client names its."""
        return exceptions.TimeoutError("Timeout reading from socket") if type(error) is TimeoutError else error

    async def run(self, name: str, keys: Sequence[str], words: Sequence[Any]) -> list[Any]:
        """Run a script, loading it if the server does not know it (then nothing was executed)."""
        known = script(name)
        command = ("EVALSHA", known.sha, len(keys), *keys, *words)
        try:
            try:
                (reply,) = await self.send([command])
            except exceptions.NoScriptError:
                await self.send([("SCRIPT", "LOAD", known.text)])
                (reply,) = await self.send([command])
        except exceptions.ResponseError as error:
            raise said_no(error, self.url, self.keys, name) from None
        result: list[Any] = reply
        return result

    async def block(self, key: str, seconds: float) -> bytes:
        """Wait for a bell; returns what rang it, or b""."""
        try:
            (reply,) = await self.send([("BLPOP", key, f"{seconds:.3f}")], longer=seconds)
        except exceptions.ResponseError as error:
            self.drop()
            raise said_no(error, self.url, self.keys) from None
        return b"" if reply is None else bytes(reply[1])
