"""The outside witness: a tiny licence server that knows nothing of Seatline.

Like a real one it counts who is connected and refuses whoever comes above its capacity. Run as a program it serves on
a free loopback port::

    python -m seatline.console.demo.witness CAPACITY        prints its port

    a client connects    ->  "seat" and it is in, or "refused" and it is out
    it says "bye"        ->  "bye": it is out. The client waits for that, so whoever comes next is counted after it
    its connection ends  ->  it is out, and cut off: its process died

Its owner asks on stdin: each line is answered on stdout with the counts as JSON. When stdin ends, so does the server:
it cannot outlive the demo.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Final

__all__ = ["ADDRESS", "Counts", "NoLicence", "licence", "serve"]

#: The variable that tells a handler where the licence server is: its port on 127.0.0.1. Without it, none is asked.
ADDRESS: Final = "DEMO_LICENCE_PORT"
_SECONDS: Final = 10.0


class NoLicence(Exception):  # the word that the failed job shows
    """The licence server refused: all its seats are taken."""


@dataclass(slots=True)
class Counts:
    """What the witness saw; ``admitted = left + cut + now`` at any moment."""

    capacity: int = 0
    now: int = 0
    peak: int = 0
    admitted: int = 0
    refused: int = 0
    left: int = 0
    cut: int = 0


@contextmanager
def licence() -> Generator[None]:
    """Hold a connection to the licence server for as long as the work takes.

    Raises:
        NoLicence: it refused.

    """
    port = os.environ.get(ADDRESS)
    if not port:
        yield
        return
    with socket.create_connection(("127.0.0.1", int(port)), timeout=_SECONDS) as connection:
        if connection.recv(16) != b"seat\n":
            raise NoLicence("the licence server refused: all its seats are taken.")
        try:
            yield
        finally:
            connection.sendall(b"bye\n")
            connection.recv(16)


def serve(capacity: int) -> None:
    """Serve until stdin ends."""
    counts, inside = Counts(capacity), set[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as door, selectors.DefaultSelector() as selector:
        selector.register(door, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print(door.getsockname()[1], flush=True)  # noqa: T201 - the first line of the protocol
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            for client in inside.intersection(ready):  # who leaves is counted before who comes
                inside.remove(client)
                selector.unregister(client)
                _let_go(client, counts)
            if door in ready:
                client, _ = door.accept()
                if _let_in(client, counts):
                    inside.add(client)
                    selector.register(client, selectors.EVENT_READ)
            if sys.stdin in ready:
                if not sys.stdin.readline():
                    return
                print(json.dumps(asdict(counts)), flush=True)  # noqa: T201 - the answer


def _let_in(client: socket.socket, counts: Counts) -> bool:
    admitted = counts.now < counts.capacity
    if admitted:
        counts.now += 1
        counts.admitted += 1
        counts.peak = max(counts.peak, counts.now)
    else:
        counts.refused += 1
    with suppress(OSError):
        client.sendall(b"seat\n" if admitted else b"refused\n")
    if not admitted:
        client.close()
    return admitted


def _let_go(client: socket.socket, counts: Counts) -> None:
    said = b""
    with suppress(OSError):
        said = client.recv(16)
    counts.now -= 1
    counts.left += said == b"bye\n"
    counts.cut += said != b"bye\n"
    with suppress(OSError):
        client.sendall(b"bye\n")
    client.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
