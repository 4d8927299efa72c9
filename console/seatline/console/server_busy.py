"""Who still uses the embedded server when somebody stops it: workers that live, and the jobs that run.

A worker that loses the embedded server starts it again, so whoever stops the server wants to know. All namespaces are looked
at; of a huge server as many keys as are looked through soon.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from seatline.shared.embedded.resp import Connection
from seatline.shared.keys import Keys

if TYPE_CHECKING:
    from seatline.shared.embedded import EmbeddedServer

__all__ = ["Busy", "busy"]

_SECONDS = 5.0
#: So many pages of so many keys are looked through.
_PAGES, _PAGE = 100, 10_000


class Busy(NamedTuple):
    """A namespace in which workers live: how many, and how many jobs run."""

    namespace: str
    workers: int
    jobs: int


def busy(found: EmbeddedServer) -> list[Busy]:
    """Return the namespaces in which workers live; none if the server does not say."""
    seen: list[Busy] = []
    with suppress(OSError, ValueError), Connection(found.address, timeout=_SECONDS) as connection:
        connection.call("AUTH", found.password_file.read_text("ascii").strip())
        time = connection.call("TIME")
        now = time[0] if isinstance(time, list) else None
        if not isinstance(now, bytes):
            return []
        for name in _namespaces(connection):
            keys = Keys(name)
            live = connection.call("ZCOUNT", keys("workers"), now + b"000", "+inf")
            run = connection.call("ZCARD", keys("running"))
            if isinstance(live, int) and isinstance(run, int) and live:
                seen.append(Busy(name, live, run))
    return seen


def _namespaces(connection: Connection) -> list[str]:
    names: set[str] = set()
    cursor = b"0"
    for _ in range(_PAGES):
        match connection.call("SCAN", cursor, "MATCH", "{*}:workers", "COUNT", str(_PAGE)):
            case [bytes() as cursor, list() as keys]:
                names |= {key.decode()[1:].removesuffix("}:workers") for key in keys if isinstance(key, bytes)}
            case _:
                break
        if cursor == b"0":
            break
    return sorted(names)
