"""What is right and wrong with a server that every start looks at, as pure functions of what it says (R5).

``seatline doctor`` tells the same, and more (``console/doctor``). Nothing here needs a right but INFO.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from seatline.shared.findings import Finding, Kind, Severity
from seatline.shared.server_facts import ServerFacts

__all__ = [
    "CLOCK",
    "EVICTION",
    "KINDS",
    "OLDEST",
    "PERSISTENCE",
    "SAVING",
    "SERVER",
    "at_start",
    "fatal",
    "ms_shown",
    "size_shown",
    "span_shown",
]

#: The oldest Redis whose language Seatline speaks.
OLDEST: Final = (6, 2)

SERVER = Kind(
    "server",
    "The make and version of the server. Seatline speaks to Redis 6.2 and newer and to Valkey; an older one lacks commands "
    "that its scripts need, and is refused at every start. Others may work; nobody has tried.",
    "Install Redis 6.2 or newer, or Valkey; or leave SEATLINE_URL unset for the embedded server.",
)
EVICTION = Kind(
    "eviction",
    "A server that evicts deletes keys when its memory is full: jobs, seats and proofs that a request was executed vanish "
    "without a word. Every start refuses such a server unless it is forced (SEATLINE_ALLOW_EVICTION=1).",
    "seatline cli CONFIG SET maxmemory-policy noeviction",
)
PERSISTENCE = Kind(
    "persistence",
    "What a crash of the server loses. With an append-only file and everysec that is at most 2 seconds, with always nothing; "
    "with snapshots all since the last one; with neither all there is.",
    "seatline cli CONFIG SET appendonly yes, and the same in the server's configuration file.",
)
SAVING = Kind(
    "saving",
    "The server could not write to its disk the last time it tried. It may stop taking writes, and a crash loses more than "
    "it should.",
    "Free space on the server's disk and see its log; then: seatline cli BGSAVE",
)
CLOCK = Kind(
    "clock",
    "The server's clock against this machine's. All that Seatline computes goes by the server's; a moment that a program "
    "computes by its own (at=) is off by so much.",
    "Have both machines' clocks set by NTP: timedatectl status tells whether they are.",
)

#: In the order in which they are told.
KINDS: Final = (SERVER, EVICTION, PERSISTENCE, SAVING, CLOCK)

Findings = Iterator[Finding]


def at_start(facts: ServerFacts) -> list[Finding]:
    """Return what every start should know of a server: version, eviction, persistence, clock (R5)."""
    rules = (_server, _eviction, _persistence, _saving, _clock)
    return [finding for rule in rules for finding in rule(facts)]


def fatal(finding: Finding) -> bool:
    """Whether a start must not go on: the server is too old, or evicts."""
    return finding.kind in {SERVER, EVICTION} and finding.severity is Severity.ERROR


def _server(facts: ServerFacts) -> Findings:
    if not facts.info:
        return
    up = facts.number("uptime_in_seconds")
    said = facts.named + (f", up {span_shown(up)}" if up is not None else "")
    if facts.speaks is not None and facts.speaks < OLDEST:
        least = ".".join(map(str, OLDEST))
        yield SERVER.error(f"{facts.named} is too old: Seatline needs Redis {least} or newer, or Valkey.")
    elif facts.flavour not in {"Redis", "Valkey"}:
        yield SERVER.warning(f"{said}: Seatline is tried with Redis and Valkey only.")
    else:
        yield SERVER.ok(said)


def _eviction(facts: ServerFacts) -> Findings:
    policy, most = facts.info.get("maxmemory_policy"), facts.number("maxmemory")
    if policy is None:
        return
    if policy == "noeviction":
        yield EVICTION.ok("noeviction")
    elif most:
        gone = facts.number("evicted_keys") or 0
        already = f" It has deleted {gone:,} keys already." if gone else ""
        yield EVICTION.error(f"it deletes keys when {size_shown(most)} are full (maxmemory-policy {policy}).{already}")
    else:
        yield EVICTION.warning(f"maxmemory-policy is {policy}: it would delete keys as soon as maxmemory is set.")


def _persistence(facts: ServerFacts) -> Findings:
    aof = facts.number("aof_enabled")
    if aof is None:
        return
    if aof:
        fsync = facts.setting("appendfsync")
        if fsync == "no":
            yield PERSISTENCE.warning(
                "append-only file, written when the system likes (appendfsync no): often 30 s late."
            )
        else:
            loses = {"always": "a crash loses nothing", "everysec": "a power cut loses at most 2 s"}.get(
                fsync or "", ""
            )
            yield PERSISTENCE.ok("append-only file" + (f", {fsync}: {loses}" if loses else ""))
        return
    points, changes = facts.setting("save"), facts.number("rdb_changes_since_last_save") or 0
    if points == "":
        yield PERSISTENCE.error("it keeps nothing on disk: when it stops, every job is lost.")
        return
    if points is None:
        yield PERSISTENCE.warning(
            f"no append-only file: a crash loses all since the last snapshot ({changes:,} changes now)."
        )
        return
    yield PERSISTENCE.warning(
        f"snapshots only (save {points}): a crash loses all since the last one, {changes:,} changes now{_saved(facts)}."
    )


def _saved(facts: ServerFacts) -> str:
    at, now = facts.number("rdb_last_save_time"), facts.clock
    return f", {span_shown(now.server // 1000 - at)} ago" if at and now else ""


def _saving(facts: ServerFacts) -> Findings:
    for name, what in (
        ("rdb_last_bgsave_status", "a snapshot"),
        ("aof_last_write_status", "its append-only file"),
        ("aof_last_bgrewrite_status", "its append-only file anew"),
    ):
        if facts.info.get(name, "ok") != "ok":
            yield SAVING.error(f"it could not write {what} the last time it tried ({name} {facts.info[name]}).")


def _clock(facts: ServerFacts) -> Findings:
    if facts.clock is None:
        return
    ahead = facts.clock.ahead
    said = f"the server's clock is {ms_shown(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) >= 10_000:  # noqa: PLR2004 - a person would see it
        yield CLOCK.warning(f"{said}.")
    elif abs(ahead) >= 1_000:  # noqa: PLR2004 - without NTP
        yield CLOCK.note(f"{said}.")
    else:
        yield CLOCK.ok(said if ahead else "the server's is this machine's")


def span_shown(seconds: float) -> str:
    """Return a length of time, roughly."""
    seconds = max(0, int(seconds))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def ms_shown(ms: int) -> str:
    """Return milliseconds, a long time roughly."""
    return f"{ms:,} ms" if ms < 60_000 else span_shown(ms / 1000)  # noqa: PLR2004 - a minute


def size_shown(count: int) -> str:
    """Return so many bytes in the unit that fits."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.0f} {unit}" if count >= 10 * size else f"{count / size:.1f} {unit}"
    return f"{count} B"
