"""What a server says of itself, as a start and ``seatline doctor`` read it: INFO, and for an admin CONFIG and SLOWLOG.

All of it may be missing: another make of server leaves lines out, and a login may not be allowed to ask. What is missing is
None, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Clock", "Replica", "ServerFacts", "SlowScript", "info_of"]

_REPLICA = re.compile(r"slave\d+")


class Clock(NamedTuple):
    """A server's clock (epoch ms), and what this machine's said before and after the server was asked."""

    server: int
    before: int
    after: int

    @property
    def ahead(self) -> int:
        """By how many ms at least the server's clock is ahead of this machine's; below 0: behind; 0: it may be the same."""
        if self.server > self.after:
            return self.server - self.after
        return min(0, self.server - self.before)


class Replica(NamedTuple):
    """A replica as its primary sees it: where, its state, how many seconds ago it was heard of."""

    place: str
    state: str
    lag: int


class SlowScript(NamedTuple):
    """A slow script of this namespace: when (epoch s), and how long it took (ms)."""

    at: int
    ms: float


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a server.

    Attributes:
        info: the lines of INFO by name.
        config: settings by name; None: this login may not see them.
        clock: its clock against this machine's.
        pings: how long it took to answer, ms each.
        slow: its slow scripts of this namespace; None: this login may not see them.
        open: whether its default user needs no password; None: unknown.
        local: whether we reach it without a network, by loopback or a socket.
        refused: what this login may not see, such as ``CONFIG``.

    """

    info: Mapping[str, str]
    config: Mapping[str, str] | None = None
    clock: Clock | None = None
    pings: Sequence[float] = ()
    slow: Sequence[SlowScript] | None = None
    open: bool | None = None
    local: bool = True
    refused: Sequence[str] = field(default_factory=tuple[str, ...])

    def number(self, name: str) -> int | None:
        """A line of INFO that is a whole number."""
        value = self.info.get(name, "")
        return int(value) if re.fullmatch(r"-?\d+", value, re.ASCII) else None

    def setting(self, name: str) -> str | None:
        """A setting, None if it is unknown to us."""
        return None if self.config is None else self.config.get(name)

    @property
    def flavour(self) -> str:
        """Redis, Valkey, or another make that speaks its language."""
        for mark, name in (
            ("valkey_version", "Valkey"),
            ("dragonfly_version", "Dragonfly"),
            ("garnet_version", "Garnet"),
        ):
            if mark in self.info:
                return name
        if "keydb" in self.info.get("executable", "").lower():
            return "KeyDB"
        return "Redis" if "redis_version" in self.info else "a server of unknown make"

    @property
    def version(self) -> str:
        """Its own version, as text; '' if it does not say."""
        for name in ("valkey_version", "dragonfly_version", "garnet_version", "redis_version"):
            if name in self.info:
                return self.info[name]
        return ""

    @property
    def speaks(self) -> tuple[int, int] | None:
        """The version of Redis whose language it speaks: major and minor."""
        said = re.match(r"(\d+)\.(\d+)", self.info.get("redis_version", ""), re.ASCII)
        return (int(said[1]), int(said[2])) if said else None

    @property
    def named(self) -> str:
        """Its make and version."""
        return f"{self.flavour} {self.version}".rstrip()

    @property
    def replicas(self) -> list[Replica]:
        """Those that follow it."""
        found: list[Replica] = []
        for name, value in self.info.items():
            if _REPLICA.fullmatch(name):
                parts = (part.partition("=") for part in value.split(","))
                said = {what: told for what, _, told in parts}
                lag = said.get("lag", "")
                place = f"{said.get('ip', '?')}:{said.get('port', '?')}"
                found.append(Replica(place, said.get("state", "?"), int(lag) if lag.isdecimal() else 0))
        return found


def info_of(texts: Sequence[bytes]) -> dict[str, str]:
    """Return the lines of INFO by name."""
    found: dict[str, str] = {}
    for line in b"\n".join(texts).decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            found[name] = value.strip()
    return found
