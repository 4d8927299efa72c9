"""The outside witness: a licence server that knows nothing of Seatline, and counts who is connected.

A process of its own (``python -m soak.witness SOCKET POOL=CAPACITY ...``) with one unix socket. A client says which seats it
wants, and for what::

    take <job> <token> a=1,b=2   ->  seat       they are its own until it says bye or its connection ends
                                     refused    that would be more than there are
    bye                          ->  bye        given back; the client waits for the answer before it goes on
    apart <job> <token>          ->  ok         whatever this attempt holds, now or later, is counted apart
    counts                       ->  one line of JSON

A process that dies loses its connections at once, so a killed worker never holds a seat that was granted anew. A
process that is *stopped* keeps them, however long: its lease runs out, its seats are rightly granted to others, and for
a while more people hold a licence than there are licences. No queue can prevent that (only the licence server could, by
the token). So the test names the attempts that a stopped worker held, and only these are left out of the count.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Refused", "ask", "licence"]

Seats = dict[str, int]
SECONDS = 10.0


class Refused(Exception):
    """The witness refused: more seats would be held than there are."""


# -- the client's side


@contextlib.contextmanager
def licence(path: str, job: str, token: str, seats: Mapping[str, int]) -> Iterator[None]:
    """Hold these seats of the licence server, by a connection that is open all the while."""
    if not seats:
        yield
        return
    wanted = ",".join(f"{pool}={n}" for pool, n in seats.items())
    with _connect(path) as lines:
        if _exchange(lines, f"take {job} {token} {wanted}") != "seat":
            raise Refused(f"job {job}: no seat left for {wanted}")
        try:
            yield
        finally:
            _exchange(lines, "bye")


def ask(path: str, *questions: str) -> list[str]:
    """Put questions to the witness and return its answers."""
    with _connect(path) as lines:
        return [_exchange(lines, question) for question in questions]


@contextlib.contextmanager
def _connect(path: str) -> Iterator[Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)
        with connection.makefile("rw", encoding="ascii", newline="\n") as lines:
            yield lines


def _exchange(lines: Any, said: str) -> str:
    lines.write(said + "\n")
    lines.flush()
    answer: str = lines.readline().strip()
    return answer


# -- the server's side


class Witness:
    """Who holds what, and the most that was ever held."""

    def __init__(self, capacity: Seats) -> None:
        self.capacity = capacity
        self.peak = dict.fromkeys(capacity, 0)
        self.admitted = self.left = self.cut = self.set_apart = 0
        self.refusals: list[dict[str, object]] = []
        self._held: dict[socket.socket, tuple[str, Seats]] = {}
        self._apart: set[str] = set()

    def answer(self, client: socket.socket, line: str) -> str:
        verb, *words = line.split()
        if verb == "take":
            job, token, wanted = words
            return self._take(
                client, f"{job} {token}", {p: int(n) for p, n in (w.split("=") for w in wanted.split(","))}
            )
        if verb == "bye":
            self.left += self._held.pop(client, None) is not None
            return "bye"
        if verb == "apart":
            self._apart.add(" ".join(words))
            return "ok"
        return json.dumps(
            {
                "peak": self.peak,
                "now": self._in_use(),
                "holders": len(self._held),
                "admitted": self.admitted,
                "left": self.left,
                "cut": self.cut,
                "apart": self.set_apart,
                "refusals": self.refusals,
            }
        )

    def gone(self, client: socket.socket) -> None:
        self.cut += self._held.pop(client, None) is not None

    def _take(self, client: socket.socket, attempt: str, wanted: Seats) -> str:
        in_use = self._in_use()
        if attempt in self._apart:
            self.set_apart += 1
        elif any(in_use[pool] + n > self.capacity[pool] for pool, n in wanted.items()):
            self.refusals.append({"attempt": attempt, "wanted": wanted, "holders": [*self._held.values()]})
            return "refused"
        self._held[client] = (attempt, wanted)
        self.admitted += 1
        for pool, n in self._in_use().items():
            self.peak[pool] = max(self.peak[pool], n)
        return "seat"

    def _in_use(self) -> Seats:
        """Count the seats, those of attempts that are counted apart left out."""
        counts = dict.fromkeys(self.capacity, 0)
        for attempt, seats in self._held.values():
            if attempt not in self._apart:
                for pool, n in seats.items():
                    counts[pool] += n
        return counts


def serve(path: str, capacity: Seats) -> None:
    """Serve until killed. One message at a time: those who leave before those who come."""
    witness = Witness(capacity)
    with socket.socket(socket.AF_UNIX) as door, selectors.DefaultSelector() as selector:
        door.bind(path)
        door.listen(256)
        selector.register(door, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            said: list[tuple[socket.socket, str]] = []
            for client in ready:
                assert isinstance(client, socket.socket)
                if client is door:
                    continue
                line = b""
                with contextlib.suppress(OSError):
                    line = client.recv(4096)
                if line:
                    said.append((client, line.decode()))
                else:
                    witness.gone(client)
                    selector.unregister(client)
                    client.close()
            for client, line_ in sorted(said, key=lambda pair: pair[1].startswith("take")):
                with contextlib.suppress(OSError):
                    client.sendall(f"{witness.answer(client, line_)}\n".encode())
            if door in ready:
                selector.register(door.accept()[0], selectors.EVENT_READ)


if __name__ == "__main__":
    serve(sys.argv[1], {pool: int(n) for pool, n in (word.split("=") for word in sys.argv[2:])})
