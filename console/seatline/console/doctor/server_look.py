"""What ``seatline doctor`` reads of the server: two exchanges and a few pings, whatever this login may see.

While it loads its data a server answers INFO, TIME and little else; so that comes first and alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from seatline.shared.calls.base import Command, Read, text
from seatline.shared.server_facts import Clock, ServerFacts, SlowScript, info_of
from seatline.shared.store import Store

__all__ = ["look_at_server", "used_memory"]

_SECTIONS: Final = ("server", "clients", "memory", "persistence", "stats", "replication")
#: Patterns that Redis 6.2 takes, one a command.
_SETTINGS: Final = (
    "save", "append*", "hash-max-*", "min-replicas-*", "min-slaves-*", "protected-mode", "bind", "port",
)  # fmt: skip
_PINGS: Final = 20
#: All pings together take at most so long (seconds), and at least three are sent.
_PING_SECONDS: Final = 0.25
_SLOWEST: Final = 128

Rows = Sequence[Any]


def look_at_server(store: Store) -> ServerFacts:
    """Look at the server of this store."""
    commands: list[Command] = [("INFO", section) for section in _SECTIONS]
    said = store.read(Read(commands, list[Any], lenient=True))
    refused = ["INFO"] if any(isinstance(each, Exception) for each in said) else []
    info = info_of([each for each in said if isinstance(each, bytes)])
    local = _is_local(store.url)
    if info.get("loading", "0") != "0":
        return ServerFacts(info, local=local, refused=refused)
    config, slow, open_ = _settings(store, refused)
    pings, clock = _pings(store)
    return ServerFacts(info, config, clock, pings, slow, open_, local, tuple(refused))


def used_memory(store: Store) -> int | None:
    """Return how many bytes the server uses now."""
    said: list[Any] = store.read(Read([("INFO", "memory")], list[Any], lenient=True))
    return ServerFacts(info_of([each for each in said if isinstance(each, bytes)])).number("used_memory")


def _settings(store: Store, refused: list[str]) -> tuple[dict[str, str] | None, list[SlowScript] | None, bool | None]:
    """Ask what only an admin may see; what is refused is noted."""
    commands: list[Command] = [("CONFIG", "GET", pattern) for pattern in _SETTINGS]
    commands += [("SLOWLOG", "GET", _SLOWEST), ("ACL", "GETUSER", "default")]
    *settings, noted, user = store.read(Read(commands, list[Any], lenient=True))
    config: dict[str, str] | None = None
    if any(isinstance(each, Exception) for each in settings):
        refused.append("CONFIG")
    else:
        config = {text(flat[i]): text(flat[i + 1]) for flat in settings for i in range(0, len(flat), 2)}
    slow: list[SlowScript] | None = None
    if isinstance(noted, Exception):
        refused.append("SLOWLOG")
    else:
        slow = [SlowScript(int(entry[1]), int(entry[2]) / 1000) for entry in noted if _is_ours(store, entry[3])]
    if isinstance(user, Exception):
        # Whoever came in without a password needed none.
        return config, slow, None if store.settings.password_file or _has_password(store.url) else True
    fields = dict(zip(map(text, user[::2]), user[1::2], strict=False)) if user else {}
    flags = {text(flag) for flag in fields.get("flags", ())}
    return config, slow, {"on", "nopass"} <= flags


def _is_ours(store: Store, words: Rows) -> bool:
    """Whether a noted command is a script of this namespace."""
    prefix = store.keys("").encode()
    return text(words[0]).upper() in {"EVAL", "EVALSHA", "FCALL"} and any(word.startswith(prefix) for word in words[3:])


def _pings(store: Store) -> tuple[list[float], Clock | None]:
    """Ask for the time again and again: how long that takes (ms), and its clock by the quickest answer."""
    taken: list[float] = []
    best: tuple[float, Clock] | None = None
    began = time.monotonic()
    while len(taken) < _PINGS and (len(taken) < 3 or time.monotonic() - began < _PING_SECONDS):  # noqa: PLR2004
        before, start = time.time(), time.perf_counter()
        (said,) = store.read(Read([("TIME",)], list[Any], lenient=True))
        ms = (time.perf_counter() - start) * 1000
        taken.append(ms)
        if not isinstance(said, Exception) and (best is None or ms < best[0]):
            now = int(said[0]) * 1000 + int(said[1]) // 1000
            best = ms, Clock(now, int(before * 1000), int(time.time() * 1000) + 1)
    return taken, best[1] if best else None


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    return parts.scheme == "unix" or host in {"localhost", "::1"} or host.startswith("127.")


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password or parse_qs(parts.query).get("password"))
