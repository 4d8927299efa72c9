"""Frames: lists sent over a stream socket, each behind its length (4 bytes, big-endian), as msgpack.

What worker and child say to each other::

    worker -> child   ["job", id, token, attempt, type, tell events?, [field, value, ...]]
                      ["stop", why, ...]                       cancel, fenced, late, left
    child -> worker   ["note", {field: value}, [line, ...]]    progress and log
                      ["event", name, detail]
                      ["done", outcome, fields, result, result ms, error or nil, jobs, refused, why it leaves or ""]
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any, Final

from seatline.shared.codec import pack_frame, unpack_frame
from seatline.shared.errors import PayloadError

__all__ = ["DONT_WAIT", "Frames", "close", "packed"]

#: 0 where a call cannot be told not to block (Windows, where there are no children either).
DONT_WAIT: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)
_CHUNK: Final = 64 * 1024
_LENGTH: Final = struct.Struct("!I")
#: The largest report: a result of 8 MiB and 1,000 jobs of 256 KiB.
_MOST: Final = 512 * 1024 * 1024


class Frames:
    """One end of a stream."""

    __slots__ = ("_read", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._read = bytearray()

    def send(self, *frames: list[Any]) -> None:
        """Send all of them in one go."""
        self.sock.sendall(b"".join([packed(frame) for frame in frames]))

    def receive(self, flags: int = 0) -> list[Any]:
        """Return the next frame.

        Args:
            flags: ``DONT_WAIT`` for one that is there already.

        Raises:
            BlockingIOError: there is none.
            EOFError: the other end is closed.
            ConnectionError: it was closed before it had read all.
            PayloadError: this is no frame.

        """
        read = self._read
        while True:
            have = len(read)
            if have >= _LENGTH.size:
                end = _LENGTH.size + _LENGTH.unpack_from(read)[0]
                if end > _MOST:
                    raise PayloadError(f"a frame of {end:,} bytes is none of ours")
                if have >= end:
                    words = unpack_frame(read[_LENGTH.size : end])
                    del read[:end]
                    return words
            data = self.sock.recv(_CHUNK, flags)
            if not data:
                raise EOFError
            read += data

    def close(self) -> None:
        """Close it, for other processes too that have a copy by a fork; a second call does nothing."""
        close(self.sock)


def packed(frame: list[Any]) -> bytes:
    """Return a frame as it is sent."""
    data = pack_frame(frame)
    return _LENGTH.pack(len(data)) + data


def close(sock: socket.socket) -> None:
    """Close a socket so that the other end sees it, whoever has a copy of this one."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
