"""What is right and wrong with a server besides what every start looks at (``shared/server_rules.py``): pure functions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Final

from seatline.shared import server_rules
from seatline.shared.findings import Finding, Kind
from seatline.shared.server_facts import Replica, ServerFacts
from seatline.shared.server_rules import size_shown, span_shown

__all__ = ["KINDS", "RIGHTS", "grown", "judge"]

#: Bytes that a field of a job has, and fields, if its hash is to stay compact (decision 0006).
FIELD, FIELDS = 64, 64
MIB = 2**20

LOADING = Kind(
    "loading",
    "The server reads its data after a start and answers nothing else until that is done.",
    "Wait: seatline server status for the embedded server; else see the server's log.",
)
MEMORY = Kind(
    "memory",
    "How full the server is. A full one refuses new jobs and still ends old ones; one without a limit is killed by its system "
    "when that has no memory left.",
    "seatline cli CONFIG SET maxmemory {limit}; or keep finished jobs for less long.",
)
FRAGMENTATION = Kind(
    "fragmentation",
    "How much more memory the server holds of its system than its data needs; much less means that it has been swapped out, "
    "and every answer waits for a disk.",
    "seatline cli CONFIG SET activedefrag yes; if it is swapped out: give the machine more memory.",
)
GROWTH = Kind(
    "growth",
    "How fast the server's memory grows, by two looks (--growth), and when it will be full.",
    "seatline types list shows what piles up; start more workers, or raise maxmemory.",
)
HASHES = Kind(
    "hashes",
    "A job is a hash with values of up to 64 bytes. Below these settings the server keeps it as a table, which takes about "
    "twice the memory.",
    "seatline cli CONFIG SET hash-max-listpack-value 1024, and hash-max-listpack-entries 128.",
)
LATENCY = Kind(
    "latency",
    "How long one exchange with the server takes from here. An enqueue takes one, and so does each turn of a worker.",
    "Bring workers nearer to the server, or give its machine a core to itself: seatline cli --latency",
)
SLOW = Kind(
    "slow",
    "Scripts of this namespace that the server itself has noted as slow; while one runs, everybody waits.",
    "seatline cli SLOWLOG GET 10 shows them; seatline cli SLOWLOG RESET forgets them.",
)
REPLICA = Kind(
    "replica",
    "This is a replica: it takes no writes, and what it shows may be old.",
    "Use the address of the primary in SEATLINE_URL: {primary}",
)
REPLICATION = Kind(
    "replication",
    "Replicas follow with a delay. Seatline does not wait for them (WAIT), so a failover may lose what was acknowledged last; "
    "min-replicas-to-write bounds how much, and refuses writes while too few are there.",
    "seatline cli CONFIG SET min-replicas-to-write 1; if one is away: see its log.",
)
CONNECTIONS = Kind(
    "connections",
    "How many clients the server has. At its maximum it turns away everybody else: workers too.",
    "seatline cli CLIENT LIST shows who they are; seatline cli CONFIG SET maxclients {most}",
)
ACCESS = Kind(
    "access",
    "Who reaches this server needs no password: everybody on its network can read, change and delete jobs, and give workers "
    "params to run.",
    "Set requirepass (or users) in the server's configuration, or bind it to 127.0.0.1.",
)
RIGHTS = Kind(
    "rights",
    "This login may not see all of the server, or nothing of the namespace, so some checks are left out.",
    "Ask an admin to run: seatline doctor",
)

#: In the order in which they are told, after those of every start.
KINDS: Final = (
    LOADING, MEMORY, FRAGMENTATION, GROWTH, HASHES, LATENCY, SLOW, REPLICA, REPLICATION, CONNECTIONS, ACCESS, RIGHTS,
)  # fmt: skip

Findings = Iterator[Finding]


def judge(facts: ServerFacts) -> list[Finding]:
    """Return all that is to be said of a server."""
    if facts.number("loading"):
        return [*server_rules.at_start(facts)[:1], *_loading(facts)]
    rules: tuple[Callable[[ServerFacts], Findings], ...] = (
        _memory, _fragmentation, _hashes, _latency, _slow, _replica, _replication, _connections, _access, _rights,
    )  # fmt: skip
    return [*server_rules.at_start(facts), *(finding for rule in rules for finding in rule(facts))]


def _loading(facts: ServerFacts) -> Findings:
    done, left = facts.info.get("loading_loaded_perc"), facts.number("loading_eta_seconds")
    how = f": {done} %" if done else ""
    eta = f", about {span_shown(left)} left" if left is not None else ""
    yield LOADING.error(f"it loads its data{how}{eta}; nothing else can be told before.")


def _memory(facts: ServerFacts) -> Findings:
    used, most, whole = (facts.number(name) for name in ("used_memory", "maxmemory", "total_system_memory"))
    if used is None:
        return
    limit = most or whole
    if not limit:
        yield MEMORY.ok(f"{size_shown(used)} used")
        return
    part = used / limit
    said = (
        f"{size_shown(used)} of {size_shown(limit)}{'' if most else ' of the machine (no maxmemory)'} used, {part:.0%}"
    )
    peak = facts.number("used_memory_peak")
    said += f"; at most so far {size_shown(peak)}" if peak else ""
    if part >= 0.95:  # noqa: PLR2004 - a few seconds of a bulk load
        yield MEMORY.error(f"{said}: new jobs are refused, or about to be.", limit=_megabytes(2 * limit))
    elif part >= 0.8:  # noqa: PLR2004 - time to act
        yield MEMORY.warning(f"{said}.", limit=_megabytes(2 * limit))
    elif most:
        yield MEMORY.ok(said)
    else:
        yield MEMORY.note(f"{said}.", limit=_megabytes(limit * 8 // 10))


def _megabytes(count: int) -> str:
    """Write bytes as the server's settings take them."""
    return f"{max(1, count // MIB)}mb"


def _fragmentation(facts: ServerFacts) -> Findings:
    used, rss = facts.number("used_memory"), facts.number("used_memory_rss")
    if not used or not rss or max(used, rss) < 100 * MIB:
        return  # of so little the allocator's own share says nothing
    ratio = rss / used
    said = f"it holds {size_shown(rss)} for {size_shown(used)} of data ({ratio:.1f})"
    if ratio < 0.9:  # noqa: PLR2004 - what the kernel counts otherwise
        yield FRAGMENTATION.warning(f"{said}: the rest has been swapped out.")
    elif ratio > 1.5:  # noqa: PLR2004 - as the servers' own MEMORY DOCTOR
        yield FRAGMENTATION.note(f"{said}.")
    else:
        yield FRAGMENTATION.ok(said)


def grown(facts: ServerFacts, before: int, now: int, seconds: float) -> Findings:
    """Yield what became of the memory in so many seconds: bytes ``before`` and ``now``."""
    most, more = facts.number("maxmemory"), now - before
    said = f"{'+' if more >= 0 else '-'}{size_shown(abs(more))} in {seconds:.0f} s"
    left = (most - now) / (more / seconds) if most and more > 0 else None
    if left is None or left > 86_400 or more < MIB:  # noqa: PLR2004 - a day; and what buffers come and go by
        yield GROWTH.ok(said)
    elif left > 3_600:  # noqa: PLR2004 - an hour
        yield GROWTH.warning(f"{said}: full in {span_shown(left)}.")
    else:
        yield GROWTH.error(f"{said}: full in {span_shown(left)}.")


def _hashes(facts: ServerFacts) -> Findings:
    value = facts.setting("hash-max-listpack-value") or facts.setting("hash-max-ziplist-value")
    entries = facts.setting("hash-max-listpack-entries") or facts.setting("hash-max-ziplist-entries")
    if not value or not entries:
        return
    said = f"hash-max-listpack-value {value}, hash-max-listpack-entries {entries}"
    if int(value) < FIELD or int(entries) < FIELDS:
        yield HASHES.warning(f"{said}: too little to keep jobs compact ({FIELD} and {FIELDS}).")
    else:
        yield HASHES.ok(said)


def _latency(facts: ServerFacts) -> Findings:
    if not facts.pings:
        return
    taken = sorted(facts.pings)
    p50, p99 = taken[len(taken) // 2], taken[min(len(taken) - 1, len(taken) * 99 // 100)]
    said = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, of {len(taken)}"
    if p99 >= 250 or p50 >= 100:  # noqa: PLR2004 - a worker of one slot does ten jobs a second at most
        yield LATENCY.warning(f"{said}.")
    elif p50 >= 5:  # noqa: PLR2004 - not the same site
        yield LATENCY.note(f"{said}.")
    else:
        yield LATENCY.ok(said)


def _slow(facts: ServerFacts) -> Findings:
    if facts.slow is None:
        return
    if not facts.slow:
        yield SLOW.ok("no script of this namespace among what it has noted")
        return
    worst = max(facts.slow, key=lambda each: each.ms)
    at = dt.datetime.fromtimestamp(worst.at, dt.UTC)
    count = f"{len(facts.slow)} script{'s' if len(facts.slow) > 1 else ''} of this namespace"
    said = f"{count}; the slowest took {worst.ms:.0f} ms at {at:%F %T} UTC."
    yield SLOW.warning(said) if worst.ms >= 100 else SLOW.note(said)  # noqa: PLR2004 - longer than a person's blink


def _replica(facts: ServerFacts) -> Findings:
    if facts.info.get("role") != "slave":
        return
    place = f"{facts.info.get('master_host', '?')}:{facts.info.get('master_port', '?')}"
    down = "" if facts.info.get("master_link_status", "up") == "up" else ", which it does not reach"
    yield REPLICA.error(f"this is a replica of {place}{down}.", primary=place)


def _replication(facts: ServerFacts) -> Findings:
    if facts.info.get("role") != "master":
        return
    replicas, least = facts.replicas, facts.setting("min-replicas-to-write") or facts.setting("min-slaves-to-write")
    good = facts.number("min_slaves_good_slaves")
    lacking = bool(least) and good is not None and good < int(least or 0)
    if lacking:
        yield REPLICATION.error(f"{good} of the {least} replicas that it needs are there: it refuses writes.")
    late = [each for each in replicas if each.state != "online" or each.lag > 10]  # noqa: PLR2004 - it sends every second
    for each in late:
        yield REPLICATION.warning(f"replica {each.place} is {each.state}, {each.lag} s behind.")
    if replicas and least == "0":
        yield REPLICATION.note(f"{_count(replicas)}, and min-replicas-to-write is 0.")
    elif not late and not lacking:
        yield REPLICATION.ok(_count(replicas))


def _count(replicas: list[Replica]) -> str:
    return f"{len(replicas) or 'no'} replica{'' if len(replicas) == 1 else 's'}"


def _connections(facts: ServerFacts) -> Findings:
    there, most = facts.number("connected_clients"), facts.number("maxclients")
    if not there or not most:
        return
    said = f"{there:,} of at most {most:,}"
    yield CONNECTIONS.warning(f"{said}.", most=2 * most) if there >= 0.9 * most else CONNECTIONS.ok(said)


def _access(facts: ServerFacts) -> Findings:
    if facts.open is None:
        return
    if not facts.open:
        yield ACCESS.ok("it asks for a password")
    elif _listens(facts):
        yield ACCESS.error("it asks nobody for a password and listens on the network.")
    else:
        yield ACCESS.note("it asks nobody for a password; who has an account on its machine can use it.")


def _listens(facts: ServerFacts) -> bool:
    """Whether others than this machine can reach it, as far as we know."""
    if not facts.local:
        return True
    bound = facts.setting("bind")
    if bound is None or facts.setting("protected-mode") == "yes":
        return False  # protected mode turns away all but loopback while there is no password
    return facts.setting("port") != "0" and any(
        not address.lstrip("-").startswith(("127.", "::1", "localhost")) for address in bound.split() or ["*"]
    )


def _rights(facts: ServerFacts) -> Findings:
    if facts.refused:
        yield RIGHTS.note(f"this login may not see {', '.join(facts.refused)}: ask an admin.")
