"""Each finding of `seatline doctor` alone: pure functions of what was read (R5, S5, Q15, T10).

What is read of a real server, and the command, are in `test_doctor_cli.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from seatline.console.doctor import kinds, namespace_rules, server_rules
from seatline.console.doctor.namespace_look import (
    DAY,
    KeySample,
    NamespaceFacts,
    Need,
    Planned,
    SeenWorker,
    TypeFacts,
)
from seatline.shared.calls.reads import PoolRecord, Session, TypeRecord
from seatline.shared.findings import Finding, Severity
from seatline.shared.server_facts import Clock, ServerFacts, SlowScript

NOW = 1_800_000_000_000
MIB = 2**20
HOUR = 3_600_000
OK, NOTE, WARNING, ERROR = Severity

#: A server with which nothing is wrong.
GOOD = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "uptime_in_seconds": "7300",
    "maxmemory": str(1024 * MIB),
    "maxmemory_policy": "noeviction",
    "used_memory": str(200 * MIB),
    "used_memory_rss": str(220 * MIB),
    "used_memory_peak": str(300 * MIB),
    "total_system_memory": str(4096 * MIB),
    "aof_enabled": "1",
    "rdb_last_bgsave_status": "ok",
    "aof_last_write_status": "ok",
    "role": "master",
    "connected_clients": "10",
    "maxclients": "10000",
}
CONFIG = {
    "save": "",
    "appendfsync": "everysec",
    "hash-max-listpack-value": "64",
    "hash-max-listpack-entries": "512",
    "min-replicas-to-write": "0",
    "protected-mode": "yes",
    "bind": "* -::*",
    "port": "6379",
}
SERVER = ServerFacts(GOOD, CONFIG, Clock(NOW, NOW - 1, NOW + 1), [0.1] * 20, [], open=False)


def of(code: str, info: Mapping[str, str] | None = None, **facts: Any) -> Finding | None:
    """Return the finding of a kind, on the good server but for this."""
    found = [
        finding
        for finding in server_rules.judge(replace(SERVER, info={**GOOD, **(info or {})}, **facts))
        if finding.code == code
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def test_a_good_server_gives_no_finding_but_ok() -> None:
    found = server_rules.judge(SERVER)
    assert {finding.severity for finding in found} == {OK}
    assert all(finding.cure == "" for finding in found)
    assert [finding.code for finding in found] == [
        "server", "eviction", "persistence", "clock", "memory", "fragmentation", "hashes", "latency", "slow", "replication",
        "connections", "access",
    ]  # fmt: skip


def settings(**changed: str) -> dict[str, Any]:
    return {"config": {**CONFIG, **{name.replace("_", "-"): value for name, value in changed.items()}}}


#: Kind, what INFO says otherwise, what else is otherwise, how bad it is, words of what is said.
CASES: list[tuple[str, dict[str, str], dict[str, Any], Severity, str]] = [
    ("server", {}, {}, OK, "Valkey 9.1.2, up 2 h"),
    ("server", {"redis_version": "6.0.16"}, {}, ERROR, "too old: Seatline needs Redis 6.2"),
    ("server", {"redis_version": "6.2.0"}, {}, OK, "Valkey"),
    ("server", {"garnet_version": "1.0", "valkey_version": ""}, {}, OK, "Valkey"),
    ("eviction", {"maxmemory_policy": "allkeys-lru", "evicted_keys": "7"}, {}, ERROR, "It has deleted 7 keys already."),
    ("eviction", {"maxmemory_policy": "volatile-lru"}, {}, ERROR, "when 1.0 GiB are full"),
    ("eviction", {"maxmemory_policy": "allkeys-lru", "maxmemory": "0"}, {}, WARNING, "as soon as maxmemory is set"),
    ("persistence", {}, settings(appendfsync="always"), OK, "a crash loses nothing"),
    ("persistence", {}, {}, OK, "a power cut loses at most 2 s"),
    ("persistence", {}, settings(appendfsync="no"), WARNING, "appendfsync no"),
    ("persistence", {"aof_enabled": "0"}, {}, ERROR, "every job is lost"),
    ("persistence", {"aof_enabled": "0", "rdb_changes_since_last_save": "1234", "rdb_last_save_time": str(NOW // 1000 - 300)},
     settings(save="3600 1"), WARNING, "the last one, 1,234 changes now, 5 min ago"),
    ("persistence", {"aof_enabled": "0"}, {"config": None}, WARNING, "all since the last snapshot"),
    ("saving", {"rdb_last_bgsave_status": "err"}, {}, ERROR, "could not write a snapshot"),
    ("saving", {"aof_last_write_status": "err"}, {}, ERROR, "could not write its append-only file"),
    ("memory", {"used_memory": str(850 * MIB)}, {}, WARNING, "850 MiB of 1.0 GiB used, 83%"),
    ("memory", {"used_memory": str(1000 * MIB)}, {}, ERROR, "new jobs are refused, or about to be"),
    ("memory", {"maxmemory": "0"}, {}, NOTE, "of the machine (no maxmemory)"),
    ("memory", {"maxmemory": "0", "used_memory": str(4000 * MIB)}, {}, ERROR, "98%"),
    ("fragmentation", {"used_memory_rss": str(400 * MIB)}, {}, NOTE, "400 MiB for 200 MiB of data (2.0)"),
    ("fragmentation", {"used_memory_rss": str(90 * MIB)}, {}, WARNING, "swapped out"),
    ("hashes", {}, settings(hash_max_listpack_value="32"), WARNING, "too little to keep jobs compact (64 and 64)"),
    ("hashes", {}, {"config": {"hash-max-ziplist-value": "64", "hash-max-ziplist-entries": "16"}}, WARNING, "too little"),
    ("clock", {}, {"clock": Clock(NOW + 30_000, NOW, NOW + 2)}, WARNING, "29,998 ms ahead of this machine's"),
    ("clock", {}, {"clock": Clock(NOW - 2_000, NOW, NOW + 2)}, NOTE, "2,000 ms behind this machine's"),
    ("latency", {}, {"pings": [8.0] * 20}, NOTE, "p50 8.00 ms, p99 8.00 ms, of 20"),
    ("latency", {}, {"pings": [1.0] * 19 + [900.0]}, WARNING, "p99 900.00 ms"),
    ("slow", {}, {"slow": [SlowScript(NOW // 1000, 12.0)]}, NOTE, "1 script of this namespace; the slowest took 12 ms at"),
    ("slow", {}, {"slow": [SlowScript(1, 12.0), SlowScript(NOW // 1000, 250.0)]}, WARNING, "the slowest took 250 ms"),
    ("replica", {"role": "slave", "master_host": "a", "master_port": "1", "master_link_status": "down"}, {}, ERROR,
     "a replica of a:1, which it does not reach"),
    ("replication", {"slave0": "ip=b,port=2,state=online,offset=1,lag=0"}, {}, NOTE, "min-replicas-to-write is 0"),
    ("replication", {"slave0": "ip=b,port=2,state=online,offset=1,lag=60"}, settings(min_replicas_to_write="1"), WARNING,
     "replica b:2 is online, 60 s behind"),
    ("replication", {"min_slaves_good_slaves": "0"}, settings(min_replicas_to_write="1"), ERROR, "it refuses writes"),
    ("connections", {"connected_clients": "9500"}, {}, WARNING, "9,500 of at most 10,000"),
    ("access", {}, {"open": True}, NOTE, "has an account on its machine"),
    ("access", {}, {"open": True, "local": False}, ERROR, "listens on the network"),
    ("access", {}, {"open": True, **settings(protected_mode="no")}, ERROR, "listens on the network"),
    ("access", {}, {"open": True, **settings(protected_mode="no", bind="127.0.0.1 ::1")}, NOTE, "on its machine"),
    ("rights", {}, {"refused": ("CONFIG", "SLOWLOG")}, NOTE, "may not see CONFIG, SLOWLOG"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "info", "facts", "severity", "said"), CASES, ids=[f"{case[0]}: {case[4]}" for case in CASES]
)
def test_r5_of_the_server(
    code: str, info: dict[str, str], facts: dict[str, Any], severity: Severity, said: str
) -> None:
    """R5: each alone; what is wrong has a cure, with every name filled in."""
    finding = of(code, info, **facts)
    assert finding is not None
    assert finding.severity is severity, finding
    assert said in finding.said
    assert bool(finding.cure) == (severity is not OK)
    assert "{" not in finding.cure


def test_a_make_that_nobody_has_tried() -> None:
    info = {name: value for name, value in GOOD.items() if name != "valkey_version"}
    found = server_rules.judge(ServerFacts({**info, "dragonfly_version": "df-1.2"}))
    assert (found[0].severity, found[0].said) == (
        WARNING,
        "Dragonfly df-1.2, up 2 h: Seatline is tried with Redis and Valkey only.",
    )


def test_what_a_server_does_not_say_is_no_finding() -> None:
    """Another make leaves lines out; a login may not ask."""
    assert server_rules.judge(ServerFacts({})) == []
    assert [finding.code for finding in server_rules.judge(ServerFacts({"redis_version": "7.2.0"}))] == ["server"]


def test_a_server_that_loads_says_only_that() -> None:
    facts = replace(SERVER, info={**GOOD, "loading": "1", "loading_loaded_perc": "43.20", "loading_eta_seconds": "20"})
    assert [(finding.code, finding.severity) for finding in server_rules.judge(facts)] == [
        ("server", OK),
        ("loading", ERROR),
    ]
    assert "43.20 %, about 20 s left" in server_rules.judge(facts)[-1].said


@pytest.mark.parametrize(
    ("more", "severity", "said"),
    [
        (0, OK, "+0 B in 10 s"),
        (-2 * MIB, OK, "-2.0 MiB in 10 s"),
        (MIB, WARNING, "full in 2 h"),
        (20 * MIB, ERROR, "full in 6 min"),
    ],
)
def test_growth(more: int, severity: Severity, said: str) -> None:
    """By two looks, against maxmemory."""
    (finding,) = server_rules.grown(SERVER, 200 * MIB, 200 * MIB + more, 10.0)
    assert (finding.code, finding.severity) == ("growth", severity)
    assert said in finding.said


# -- the namespace


def at(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


def kind_of(
    name: str, waiting: int = 0, age: int = 1_000, *, served: bool = True, paused: str | None = None
) -> TypeFacts:
    record = TypeRecord(name, None, None, paused, (), (None,))
    return TypeFacts(record, waiting, NOW - age if waiting else None, served)


def worker(name: str = "w", until: int = NOW + 20_000, **said: str) -> SeenWorker:
    return SeenWorker(name, until, {"state": "awake", "version": "0.4.0", **said})


def pool(capacity: int, held: int = 0, external: int = 0, refused: int | None = None) -> dict[str, PoolRecord]:
    holders = (Session("job:1:t", "job", "1", held, at(NOW + 9_000)),) if held else ()
    refused_until = None if refused is None else at(refused)
    return {"vault": PoolRecord("vault", capacity, external, None, 0, 0, held, held, holders, (), refused_until)}


GOOD_SPACE = NamespaceFacts(
    NOW, {"schema": "1"}, [kind_of("a", 2)], [worker()], pool(2, 1), [Need("vault", "type a", 1, True)],
    keys=KeySample(10, True, ()),
)  # fmt: skip


def test_a_good_namespace_gives_no_finding_but_ok() -> None:
    found = namespace_rules.judge(GOOD_SPACE)
    assert {finding.severity for finding in found} == {OK}
    assert [finding.code for finding in found] == ["layout", "workers", "waiting", "keys"]
    assert found[2].said == "2 jobs, the oldest since 1 s"


SPACES: list[tuple[str, dict[str, Any], Severity, str, str]] = [
    ("layout", {"about": {"schema": "9"}}, ERROR, "key layout 9; this Seatline knows 1", "pip install -U seatline"),
    ("layout", {"about": {}}, OK, "nobody has written", ""),
    ("part", {"cut": ["types", "offers"]}, NOTE, "so many types that only a part", "seatline types list"),
    ("restarted", {"about": {"schema": "1", "restarted": str(NOW - HOUR)}}, NOTE, "60 min ago", "doctor --since-restart"),
    ("clock-back", {"newest_event": NOW + 90_000}, ERROR, "90 s later than the server's clock", "Wait until the clock"),
    ("paused", {"about": {"schema": "1", "paused": f"{NOW} ann"}}, WARNING, "by ann", "seatline types resume --all"),
    ("paused", {"types": [kind_of("a", 1, paused=f"{NOW} bob")]}, NOTE, "type a is paused", "seatline types resume a"),
    ("closed", {"about": {"schema": "1", "closed": f"{NOW} ann"}}, NOTE, "closed for new jobs", "jobs reopen"),
    ("no-worker", {"types": [kind_of("a", 3, 3 * HOUR - 1, served=False)]}, WARNING,
     "type a: 3 jobs wait, the oldest since 2 h",
     "seatline worker MODULE --types a"),
    ("workers", {"workers": [], "types": []}, NOTE, "0 live, 0 jobs running", "worker"),
    ("workers", {"workers": []}, WARNING, "0 live", "worker"),
    ("resting", {"workers": [worker("v", state="paused"), worker("w", state="stopping")]}, WARNING, "all 2 live workers",
     "seatline workers resume --all"),
    ("lost", {"workers": [worker(), worker("x.1.a", NOW - 300_000)]}, WARNING, "x.1.a went without a word", "workers list"),
    ("versions", {"workers": [worker("v"), worker("w", version="0.3.0"), worker("x")]}, WARNING, "0.3.0 (1), 0.4.0 (2)",
     "workers stop ID"),
    ("overdue", {"workers": [worker("v.1.x", overdue="2")]}, WARNING, "worker v.1.x: 2 jobs", "seatline workers stop v.1.x"),
    ("leases", {"late_leases": 2}, WARNING, "2 jobs ran out over a minute ago", "worker"),
    ("leases", {"late_leases": 2, "workers": []}, ERROR, "no worker lives", "worker"),
    ("seats-late", {"late_seats": {"vault": ["job 1", "program p"]}}, WARNING, "job 1, program p", "seatline pools show vault"),
    ("seats-late", {"late_seats": {"vault": ["job 1"]}, "workers": []}, ERROR, "no worker lives", "worker"),
    ("pool-over", {"pools": pool(2, 3)}, WARNING, "3 seats are held, 2 are all it has", "seatline pools set vault 3"),
    ("pool-shut", {"pools": pool(2, 0, refused=NOW + 9_000)}, NOTE, "the licence server refused", "pools external vault 0"),
    ("pool-shut", {"pools": pool(2, 1, external=1)}, NOTE, "1 of 2 seats are used outside", "pools external vault 0"),
    ("pool-missing", {"needs": [Need("gpu", "type a", 1, True)]}, ERROR, "wanted by type a", "pools set gpu"),
    ("pool-missing", {"needs": [Need("gpu", "step s of chain c", 1, False)]}, WARNING, "step s of chain c", "pools set gpu"),
    ("pool-small", {"needs": [Need("vault", "type a", 5, True)]}, ERROR, "type a want up to 5", "pools set vault 5"),
    ("pool-small", {"needs": [Need("vault", "type a", 5, False)]}, WARNING, "has 2 seats", "pools set vault 5"),
    ("waiting", {"types": [kind_of("a", 2, 2 * HOUR)]}, NOTE, "2 jobs wait, the oldest since 2 h", "jobs list --type a"),
    ("waiting", {"types": [kind_of("a", 2, 2 * DAY)]}, WARNING, "the oldest since 2 d", "seatline jobs why ID"),
    ("waiting", {"types": []}, OK, "nothing waits", ""),
    ("due", {"due": (3, NOW - 300_000)}, WARNING, "3 jobs should be in line since 5 min", "worker"),
    ("due", {"due": (3, NOW - 300_000), "workers": []}, ERROR, "no worker lives", "worker"),
    ("schedules", {"plans": [Planned("nightly", NOW - 300_000)]}, WARNING, "nightly was due 5 min ago", "worker"),
    ("schedules", {"plans": [Planned("nightly", NOW - 300_000)], "workers": []}, ERROR, "nobody", "worker"),
    ("schedule-broken", {"plans": [Planned("nightly", NOW, "no such zone")]}, ERROR, "no such", "schedules remove nightly"),
    ("orders", {"orders": {"failed": (9, ["0000000000000007", "mine"])}}, WARNING, "9 orders failed: 7, mine, ...",
     "orders list --state failed"),
    ("orders", {"orders": {"suspended": (1, ["mine"])}}, NOTE, "1 order suspended: mine.", "orders list --state suspended"),
    ("interrupted", {"ended": {"interrupted": 2}}, WARNING, "2 jobs interrupted", "jobs resubmit ID"),
    ("failed", {"ended": {"failed": 2}}, NOTE, "2 jobs failed in the last day", "jobs list --state failed"),
    ("keys", {"keys": KeySample(9, False, ["job:1:log"])}, WARNING, "1 belong to nothing: job:1:log; 9 keys looked at, not all",
     "seatline verify"),
    ("keys", {"keys": None}, NOTE, "may not walk the keys", "seatline verify"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "facts", "severity", "said", "cure"), SPACES, ids=[f"{case[0]}: {case[3]}" for case in SPACES]
)
def test_of_the_namespace(code: str, facts: dict[str, Any], severity: Severity, said: str, cure: str) -> None:
    """S5, Q15, T10, W3: each alone, on a good namespace but for this; what is wrong has a cure that names it."""
    found = namespace_rules.judge(replace(GOOD_SPACE, **facts))
    (finding,) = (each for each in found if each.code == code)
    assert finding.severity is severity, finding
    assert said in finding.said
    assert cure in finding.cure
    assert bool(finding.cure) == (severity is not OK)
    assert "{" not in finding.cure


def test_of_a_newer_layout_nothing_else_is_said() -> None:
    assert len(namespace_rules.judge(replace(GOOD_SPACE, about={"schema": "9"}, late_leases=7))) == 1


def test_many_of_a_kind_are_counted() -> None:
    types = [kind_of(f"t{n:02}", 1, served=False) for n in range(40)]
    found = [each for each in namespace_rules.judge(replace(GOOD_SPACE, types=types)) if each.code == "no-worker"]
    assert len(found) == 11
    assert found[-1].said == "and 30 more types."
    assert found[-1].severity is WARNING


def test_pools_beyond_those_looked_at_are_not_called_missing() -> None:
    facts = replace(GOOD_SPACE, needs=[Need("gpu", "type a", 1, True)], cut=["pools"])
    assert "pool-missing" not in {finding.code for finding in namespace_rules.judge(facts)}


def test_every_kind_is_found_somewhere_here() -> None:
    tried = {case[0] for case in CASES} | {case[0] for case in SPACES} | {"loading", "growth"}
    codes = [kind.code for kind in kinds()]
    assert tried == set(codes)
    assert len(codes) == len(set(codes))
