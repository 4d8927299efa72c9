"""What a `FaultProxy` is made of: the rule that names a request, and one client's connection with its counterpart."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Hook", "Link", "Match", "Rule"]

#: Which requests: those with these bytes in them, those the predicate accepts (it gets the raw request), or all.
Match = bytes | Callable[[bytes], bool] | None
Hook = Callable[[], object]

FLUSH_SECONDS = 1.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: closing sends RST


@dataclass(slots=True, eq=False)
class Rule:
    """A fault, the requests it is for, and how often."""

    fault: str
    match: Match
    times: int
    skip: int
    hook: Hook | None = None
    seconds: float = 0.0
    on_reply: bool = False

    @property
    def cuts(self) -> bool:
        return self.fault not in ("delay", "duplicate_late")

    def takes(self, request: bytes) -> bool:
        """Count the request if it matches, and say whether the fault is for it."""
        if self.match is not None:
            matches = self.match in request if isinstance(self.match, bytes) else self.match(request)
            if not matches:
                return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Link:
    """One client's connection and its counterpart to the server."""

    upstream_reader: asyncio.StreamReader
    upstream_writer: asyncio.StreamWriter | None = None

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.expected: deque[Rule | None] = deque()  # one for each reply to come
        self.gap = self.stranded = False
        self.ended = asyncio.Event()

    async def connect(self, upstream: dict[str, Any]) -> None:
        opening = (
            asyncio.open_unix_connection(upstream["path"])
            if "path" in upstream
            else asyncio.open_connection(upstream["host"], upstream["port"])
        )
        self.upstream_reader, self.upstream_writer = await opening

    async def to_server(self, data: bytes) -> None:
        assert self.upstream_writer is not None
        self.upstream_writer.write(data)
        await self.upstream_writer.drain()

    async def to_client(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def flush(self) -> None:
        """Close both sides orderly; who does not read what is still to be written is not waited for."""
        for writer in self._writers():
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), FLUSH_SECONDS)

    def reset(self) -> None:
        """Drop both sides at once, with RST where they are TCP and not closed already."""
        for writer in self._writers():
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        self.ended.set()

    def _writers(self) -> list[asyncio.StreamWriter]:
        return [self.writer, *([self.upstream_writer] if self.upstream_writer else [])]
