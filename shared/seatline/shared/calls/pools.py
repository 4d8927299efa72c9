"""The verbs of pools and of the sessions that programs hold."""

from __future__ import annotations

from typing import Any

from seatline.shared.calls.base import Call, Read, Refusal, Word, text
from seatline.shared.errors import NoSuchPool, PoolBusy
from seatline.shared.keys import Keys

__all__ = [
    "close_session",
    "open_session",
    "place",
    "refused_pool",
    "remove_pool",
    "renew_session",
    "set_external",
    "set_pool",
]


def _missing(name: str) -> dict[str, Refusal]:
    return {
        "missing": lambda _: NoSuchPool(f"pool {name}: no such pool. `seatline pools set {name} CAPACITY` makes it.")
    }


def set_pool(
    name: str, capacity: int, keep: int | None = None, keep_priority: int | None = None, *, by: str = ""
) -> Call[bool]:
    """Make or change a pool; returns True if it is new. A refusal of the licence server is forgotten."""
    fields: list[Word] = ["capacity", capacity]
    if keep is not None:
        fields += ["keep", keep, "keep_priority", keep_priority or 0]
    return Call("pool_set", (name, by, len(fields), *fields), lambda reply: text(reply[1]) == "new")


def remove_pool(name: str, *, by: str = "") -> Call[None]:
    """Forget a pool that nobody holds."""
    refusals: dict[str, Refusal] = {
        **_missing(name),
        "busy": lambda reply: PoolBusy(
            f"pool {name}: {int(reply[1])} sessions hold seats of it. `seatline pools show {name}` lists them; "
            "set its capacity to 0 and wait, or cancel their jobs."
        ),
    }
    return Call("pool_remove", (name, by), lambda _: None, refusals)


def set_external(name: str, seats: int, ttl_ms: int, *, by: str = "") -> Call[int]:
    """Withhold seats used outside; returns until when (epoch ms)."""
    return Call("pool_external", (name, seats, ttl_ms, by), lambda reply: int(reply[1]), _missing(name))


def refused_pool(name: str, least_ms: int, most_ms: int, by: str) -> Call[int]:
    """Say that the real licence server refused a seat; returns until when nobody new gets in (epoch ms).

    That is ``least_ms`` from now, or twice as long as the last time if that ended less than its own length ago, at most
    ``most_ms``. While a refusal lasts, another one changes nothing. When it is over nobody is rung: idle workers find out
    when they look by themselves.
    """
    return Call("pool_refused", (name, least_ms, most_ms, by), lambda reply: int(reply[1]), _missing(name))


def open_session(
    pool: str, owner: str, seats: int, *, ttl_ms: int, priority: int, place: str = "", asks_ms: int = 0
) -> Call[tuple[str, str]]:
    """Ask for seats: ('ok', deadline), ('waits', place) or ('never', seats that could be had at all)."""

    def parse(reply: Any) -> tuple[str, str]:
        return text(reply[0]), text(reply[1])

    words = (pool, owner, seats, ttl_ms, priority, place, asks_ms)
    return Call("session_open", words, parse, _missing(pool), also={"waits": parse, "never": parse})


def place(keys: Keys, owner: str, seats: int) -> Read[str]:
    """Return the place in a pool's line of whoever asks for seats now: after all that came before."""
    return Read([("GET", keys("seq"))], lambda replies: f"{int(replies[0] or 0):016}:{owner}|{seats}")


def renew_session(pool: str, owner: str, seats: int, ttl_ms: int) -> Call[int]:
    """Keep a session alive; returns its deadline (epoch ms), or 0 if it was reaped."""
    words = (pool, f"{owner}|{seats}", ttl_ms)
    return Call("session_renew", words, lambda reply: int(reply[1]), also={"lost": lambda _: 0})


def close_session(pool: str, owner: str, seats: int, place: str = "") -> Call[bool]:
    """Give back a session, or leave the line; returns whether it was still held."""
    return Call("session_close", (pool, owner, seats, place), lambda reply: text(reply[1]) == "closed")
