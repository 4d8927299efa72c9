"""A connection that speaks just enough RESP2 to ask a server who it is, and to serve `seatline cli` without redis-cli.

The queue's own traffic goes through ``store``; this one exists so that finding the server imports no client library.
"""

from __future__ import annotations

import socket
from typing import Self, TypeAlias

__all__ = ["Connection", "ErrorReply", "Reply", "StatusReply"]


class StatusReply(str):
    """A simple string such as ``OK``."""

    __slots__ = ()


class ErrorReply(str):
    """An error as the server worded it, such as ``ERR unknown command``; a value, for it may sit in a list."""

    __slots__ = ()


Reply: TypeAlias = "StatusReply | ErrorReply | bytes | int | list[Reply] | None"


class Connection:
    """One connection to a server, by socket path or (host, port).

    Args:
        address: the path of a unix socket, or a pair of host and TCP port.
        timeout: seconds for the connect and for each answer.

    Raises:
        OSError: not reached, or not in time (``TimeoutError``); from ``call`` too, also when what answers is no server.

    """

    def __init__(self, address: str | tuple[str, int], *, timeout: float) -> None:
        if isinstance(address, str):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(timeout)
            try:
                self._socket.connect(address)
            except OSError:
                self._socket.close()
                raise
        else:
            self._socket = socket.create_connection(address, timeout)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self._stream.close()
        self._socket.close()

    def wait_for_ever(self) -> None:
        """Let every further answer take its time: the commands are now a person's, and some block."""
        self._socket.settimeout(None)

    def call(self, *words: str | bytes) -> Reply:
        """Send one command and return its reply; an error of the server is returned as :class:`ErrorReply`."""
        parts = [word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word for word in words]
        head = b"*%d\r\n" % len(parts)
        self._socket.sendall(head + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
        return self._read()

    def _read(self) -> Reply:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return StatusReply(rest.decode("utf-8", "replace"))
            case b"-":
                return ErrorReply(rest.decode("utf-8", "replace"))
            case b":":
                return int(rest)
            case b"$":
                return self._read_bulk(int(rest))
            case b"*":
                count = int(rest)
                return None if count < 0 else [self._read() for _ in range(count)]
            case _:
                raise ConnectionError("what answers there speaks another protocol")

    def _read_bulk(self, length: int) -> bytes | None:
        if length < 0:
            return None
        body = self._stream.read(length + 2)
        if len(body) != length + 2:
            raise ConnectionResetError("the server closed the connection")
        return body[:-2]
