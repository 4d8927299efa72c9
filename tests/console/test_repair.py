"""R1, S2: `seatline verify --repair` makes of the records what was damaged, or says that it cannot, and what to do.

Keys of every kind are damaged by hand. What was repaired is as it was: the same jobs, in the same places, with the same
seats. What cannot be had again is told, and nothing is invented.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from console.conftest import Done
from console.whole import at, go_on, handlers, mark, one_runs
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.console.audit import audit
from seatline.console.key_invariants import kind_of
from seatline.console.repairs import repair_all
from seatline.producer import Job, Queue
from seatline.shared import keys
from seatline.shared.calls.repair import Mend, repair
from seatline.shared.keys import PATTERNS
from seatline.worker import Worker

Cli = Callable[..., Done]
Key = Callable[[str], str]
Damage = Callable[[Redis, Key, str], object]

FACT = b"3:job,16:0000000000000002,5:depth,1:9,2:at,13:1700000000000,"


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def redis_(server: RealServer) -> Iterator[Redis]:
    with closing(server.client()) as client:
        yield client


@pytest.fixture(scope="module")
def kept(server: RealServer) -> tuple[str, dict[str, tuple[int, bytes]]]:
    """Something of everything, as the server writes it: the id of a job that runs with its seat, and all keys."""
    with Queue(server.url, namespace="kept") as queue, one_runs(queue) as job_id, closing(server.client()) as redis:
        queue.enqueue("nobody", unique="only")
        queue.enqueue("nobody", supersede="last")
        queue.triggers.set("news", [Job("nobody")])
        queue.pools.set("spare", 1)
        with queue.pools.session("spare", ttl=600):
            keys = {
                key.decode().removeprefix(queue.store.keys("")): (max(0, redis.pttl(key)), redis.dump(key) or b"")
                for key in redis.scan_iter(match="{kept}:*")
            }
    with closing(server.client()) as redis:
        redis.flushall()
    return job_id, keys


@pytest.fixture
def running(queue: Queue, redis_: Redis, kept: tuple[str, dict[str, tuple[int, bytes]]]) -> str:
    """The same in the test's own namespace, where nobody works."""
    job_id, keys = kept
    for name, (left, dump) in keys.items():
        redis_.restore(queue.store.keys(name), left, dump)
    return job_id


def wrong_kind(name: str) -> Damage:
    """Let a key hold another kind of value."""

    def damage(r: Redis, k: Key, _: str) -> None:
        r.delete(k(name))
        r.rpush(k(name), "x") if kind_of(name)[0] != "list" else r.set(k(name), "x")

    return damage


def lost(name: str) -> Damage:
    return lambda r, k, _: r.delete(k(name))


def no_term(name: str) -> Damage:
    return lambda r, k, _: r.set(k(name), 1)


ONE, SEATED = f"{1:016}", "ready:quick|vault=2"
#: What can be made anew of the records: keys are lost, changed, or hold another kind of value.
MENDED: dict[str, Damage] = {
    "about: counters": lambda r, k, _: r.hdel(k("about"), "removed", "trimmed", "versions"),
    "about: gaps": lambda r, k, _: r.hset(k("about"), "gaps", 77),
    "seq": lost("seq"),
    "seq goes back": lambda r, k, _: r.decrby(k("seq"), 5),
    "seq jumps": lambda r, k, _: r.incrby(k("seq"), 5),
    "seq of another kind": wrong_kind("seq"),
    "seq of nonsense": lambda r, k, _: r.set(k("seq"), "x"),
    "paused of another kind": wrong_kind("paused"),
    "keep of another kind": wrong_kind("keep"),
    "ready": lost(SEATED),
    "ready of another kind": wrong_kind(SEATED),
    "ready: another score": lambda r, k, _: r.zadd(k(SEATED), dict.fromkeys(_members(r, k(SEATED)), 77)),
    "ready: a second place": lambda r, k, _: r.zadd(k("finished:failed"), {_members(r, k(SEATED))[0]: 5}),
    "types": lost("types"),
    "types of another kind": wrong_kind("types"),
    "type": lost("type:quick"),
    "type of another kind": wrong_kind("type:quick"),
    "type: its lines": lambda r, k, _: r.hdel(k("type:quick"), "lines"),
    "scheduled": lost("scheduled"),
    "scheduled of another kind": wrong_kind("scheduled"),
    "schedules": lost("schedules"),
    "schedules of another kind": wrong_kind("schedules"),
    "schedules: a window": lambda r, k, _: r.zrem(k("schedules"), "window:broken"),
    "expiring": lost("expiring"),
    "expiring of another kind": wrong_kind("expiring"),
    "running": lost("running"),
    "running of another kind": wrong_kind("running"),
    "running: no token": lambda r, k, i: r.hdel(k(f"job:{i}"), "token"),
    "finished": lost("finished:failed"),
    "finished of another kind": wrong_kind("finished:failed"),
    "finished by type: one that has not": lambda r, k, _: r.zadd(k("finished:failed|quick"), {ONE: 4e12}),
    "finished by type, of another kind": wrong_kind("finished:failed|quick"),
    "pools": lost("pools"),
    "pools of another kind": wrong_kind("pools"),
    "sessions": lost("pool:vault:sessions"),
    "sessions of another kind": wrong_kind("pool:vault:sessions"),
    "sessions of a program": lost("pool:spare:sessions"),
    "sessions: nobody's": lambda r, k, i: r.zadd(k("pool:vault:sessions"), {f"job:{i}:old:1:1|1": 9}),
    "sessions: none at all": lambda r, k, _: r.zadd(k("pool:vault:sessions"), {"x": 9}),
    "in_use": lambda r, k, _: r.set(k("pool:vault:in_use"), 2, px=60000),
    "in_use of another kind": wrong_kind("pool:vault:in_use"),
    "in_use of nonsense": lambda r, k, _: r.set(k("pool:vault:in_use"), "x", px=60000),
    "refused without term": no_term("pool:vault:refused"),
    "waiting of another kind": wrong_kind("pool:vault:waiting"),
    "callers of another kind": wrong_kind("pool:vault:callers"),
    "programs": lost("programs"),
    "programs of another kind": wrong_kind("programs"),
    "programs: another deadline": lambda r, k, _: r.zadd(k("programs"), dict.fromkeys(_members(r, k("programs")), 9)),
    "token": lost("token:mine"),
    "token of another kind": wrong_kind("token:mine"),
    "token of no job": lambda r, k, _: r.set(k("token:other"), f"{ONE} 00"),
    "unique": lost("unique:only"),
    "unique of another kind": wrong_kind("unique:only"),
    "unique of no job": lambda r, k, _: r.set(k("unique:other"), ONE),
    "newest of no job": lambda r, k, _: r.set(k("newest:other"), ONE),
    "triggers": lost("triggers"),
    "triggers of another kind": wrong_kind("triggers"),
    "job would expire": lambda r, k, _: r.expire(k(f"job:{ONE}"), 100),
    "job: result for ever": no_term(f"job:{ONE}:result"),
    "job: attempts of nobody": lambda r, k, _: r.rpush(k(f"job:{99:016}:attempts"), "x"),
    "job: history of another kind": wrong_kind(f"job:{ONE}:history"),
    "job: log of another kind": wrong_kind(f"job:{ONE}:log"),
    "load without term": lambda r, k, _: r.hset(k("load:l"), "line", 1),
    "load: ids without term": lambda r, k, _: r.zadd(k("load:l:ids"), {"1": 1}),
    "chains": lost("chains"),
    "chains of another kind": wrong_kind("chains"),
    "chain": lost("chain:ends"),
    "chain: started": lost("chain:flow:started"),
    "chain: started of another kind": wrong_kind("chain:flow:started"),
    "chain: waiting": lost("chain:flow:waiting"),
    "chain: held": lost("chain:gated:held:two"),
    "chain: in line and not held": lambda r, k, _: r.zadd(k("chain:flow:held:two"), mark(r, k, "a")),
    "chain: a version miscounted": lambda r, k, _: r.hincrby(k("chain:flow:1"), "orders", 1),
    "chain: a version of nobody": lambda r, k, _: r.hset(k("chain:flow:7"), "steps", "one"),
    "orders": lost("orders:running"),
    "orders of another kind": wrong_kind("orders:succeeded"),
    "order: without odd": lambda r, k, _: r.hdel(k("order:e"), "odd"),
    "order: history of nobody": lambda r, k, _: r.rpush(k("order:x:history"), "x"),
    "order: elements under way": lost("order:e:each:one:jobs"),
    "order: a list of nobody": lambda r, k, _: r.hset(k("order:a:each:two"), "count", 1),
    "order would expire": lambda r, k, _: r.expire(k("order:a"), 100),
    "workers of another kind": wrong_kind("workers"),
    "worker of another kind": lambda r, k, _: r.rpush(k("worker:w"), "x"),
    "worker without term": lambda r, k, _: r.hset(k("worker:w"), "seen", 1),
    "lost of another kind": wrong_kind("lost"),
    "deep without term": no_term("deep:w"),
    "offers of another kind": wrong_kind("offers"),
    "offer without term": no_term("offer:ab"),
    "idle of another kind": wrong_kind("idle:ab"),
    "heads of another kind": wrong_kind("heads:ab"),
    "heads of a line of another kind": wrong_kind("heads:ab|none"),
    "alarm of another kind": wrong_kind("alarm"),
    "bell without term": lambda r, k, _: r.rpush(k("bell:b"), "x"),
    "lane without term": no_term("lane:a:1"),
    "events of another kind": wrong_kind("events"),
    "audit of another kind": wrong_kind("audit"),
    "acts of another kind": wrong_kind("acts"),
    "facts that nobody hears of": lambda r, k, _: r.rpush(k("happened:news"), FACT),
}

#: Of these something differs then, as it may: a lease is nobody's; a suspended order enters its chain when it is resumed.
ELSEWHERE = {"running: no token", "chain: started", "chain: started of another kind"}

#: What cannot: the damage, and the beginning of what a person is told to do.
TOLD: dict[str, tuple[Damage, str]] = {
    "about of another kind": (wrong_kind("about"), "seatline cli DEL"),
    "a job": (lost(f"job:{ONE}"), "the job is lost: enqueue it anew"),
    "a job of another kind": (wrong_kind(f"job:{ONE}"), "seatline cli DEL takes away what is there; the job is lost"),
    "events of a job": (wrong_kind(f"job:{ONE}:events"), "seatline cli DEL takes away what is there; the job is lost"),
    "a job that says half": (
        lambda r, k, _: (r.hdel(k(f"job:{ONE}"), "finished"), r.zrem(k("finished:succeeded"), ONE)),
        "its record is damaged: seatline jobs remove",
    ),
    "a pool": (lost("pool:vault"), "its capacity is lost: seatline pools set vault"),
    "a pool of another kind": (wrong_kind("pool:vault"), "seatline cli DEL takes away what is there; then set its"),
    "a schedule": (lost("schedule:hourly"), "seatline schedules add"),
    "a schedule of another kind": (wrong_kind("schedule:hourly"), "seatline cli DEL"),
    "a trigger": (lost("trigger:news"), "what it triggers is lost: seatline triggers set news"),
    "facts of another kind": (wrong_kind("happened:news"), "seatline cli DEL takes away what is there; facts that"),
    "a load of another kind": (wrong_kind("load:l"), "seatline cli DEL takes away what is there; how far"),
    "a version": (lost("chain:flow:1"), "no order of it can be started: seatline chains define"),
    "an order": (lost("order:s"), "the order is lost: seatline orders remove"),
    "an order of another kind": (wrong_kind("order:s"), "seatline cli DEL takes away what is there; the order is lost"),
    "an order at no step": (lambda r, k, _: r.hset(k("order:a"), "now", ""), "seatline orders show tells"),
    "an order whose job is gone": (lambda r, k, _: r.delete(k("job:" + at(r, k, "a"))), "seatline orders show tells"),
    "elements": (lost("order:e:each:one"), "seatline orders show tells"),
    "a key of nobody": (lambda r, k, _: r.set(k("rubbish"), 1), "nobody of Seatline wrote it"),
}


def _members(r: Redis, key: str) -> list[bytes]:
    found: Any = r.zrange(key, 0, -1)
    assert found
    return list(found)


def where_all_is(r: Redis, k: Key) -> dict[bytes, Any]:
    """Return who stands where, and who holds which seats; neither leases nor moments, which work moves on."""
    found: dict[bytes, Any] = {}
    for key in r.scan_iter(match=re.sub(r"([\[\]*?])", r"\\\1", k("")) + "*"):
        name = key.partition(b"}:")[2]
        if name.startswith((b"ready:", b"finished:", b"orders:", b"running", b"scheduled", b"programs", b"chain:")) or (
            name.endswith(b":sessions")
        ):
            kind = r.type(key)
            if kind == b"zset":
                found[name] = sorted(r.zrange(key, 0, -1))
    return found


def given(r: Redis, k: Key) -> tuple[Any, Any]:
    """Return the last id given, and how many were skipped."""
    return r.get(k("seq")), r.hget(k("about"), "gaps")


@pytest.mark.damaged
@pytest.mark.parametrize("name", MENDED)
@pytest.mark.parametrize("small", [10_000, 0], ids=["at once", "walked"])
def test_r1_what_follows_from_the_records_is_made_anew(
    name: str, small: int, queue: Queue, redis_: Redis, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1, S2: after the repair nothing is wrong, and all stand where they stood."""
    monkeypatch.setattr(audit, "__defaults__", (small,))
    before, ids = where_all_is(redis_, queue.store.keys), given(redis_, queue.store.keys)
    MENDED[name](redis_, queue.store.keys, running)
    found = audit(queue.store).violations
    assert found, "the damage was not seen"
    outcome = repair_all(queue.store, found, "me", lambda _: None)
    assert [str(violation) for violation in outcome.left] == []
    if name not in ELSEWHERE:
        assert where_all_is(redis_, queue.store.keys) == before
    if not name.startswith(("about", "seq")):
        assert given(redis_, queue.store.keys) == ids


@pytest.mark.damaged
@pytest.mark.parametrize("name", TOLD)
def test_r1_what_does_not_is_told_with_what_to_do(
    name: str, queue: Queue, redis_: Redis, running: str, cli: Cli
) -> None:
    """R1: no record is invented: the line says what a person can do."""
    damage, advice = TOLD[name]
    damage(redis_, queue.store.keys, running)
    told = cli("verify", "--repair", "--dry-run")
    assert told.code == 1
    assert any(advice in line for line in told.lines), told.out


def test_every_kind_of_key_is_damaged() -> None:
    """R1: what `keys.PATTERNS` draws is in one of the tables above, by its own name."""
    damaged: set[str] = set()

    class Spy:
        def __getattr__(self, _: str) -> Callable[..., Any]:
            def note(*words: Any, **__: Any) -> Any:
                damaged.update(word for word in words if isinstance(word, str))
                return [b"m"]

            return note

    for damage in [*MENDED.values(), *(damage for damage, _ in TOLD.values())]:
        try:
            damage(Spy(), str, ONE)  # type: ignore[arg-type]
        except AssertionError:
            continue  # it reads an order first
    undrawn = [pattern for pattern in PATTERNS if not any(re.fullmatch(pattern, name) for name in damaged)]
    assert undrawn == []
    assert all(kind_of(name)[0] for name in damaged if any(re.fullmatch(pattern, name) for pattern in PATTERNS))


def test_kinds_are_those_of_the_key_table() -> None:
    """R1: what a key is taken to hold is what the table in `shared/keys.py` says, or repair would delete good keys."""
    rows = re.findall(r"^(\S.*?)  +(hash|string|list|zset|set|stream|set,)\s", keys.__doc__ or "", re.MULTILINE)
    assert len(rows) > 50
    wrong: list[tuple[str, str]] = []
    for names, kind in rows:
        first, *others = names.replace("<state>", "failed").split(", ")
        kinds = [kind.rstrip(","), *("hash" if kind == "set," else kind for _ in others)]
        for name, said in zip([first, *others], kinds, strict=True):
            meant = {"offer:": "string", "heads:<digest>|": "zset"}.get(
                name.partition("<")[0] if "|" not in name else name[:15], said
            )
            full = first.rpartition(":")[0] + name.removeprefix("...") if name.startswith("...") else name
            some = full.replace("job:<id>", f"job:{ONE}").replace("<digest>", "ab").replace("<version>", "1")
            some = re.sub(r"<[a-z]+>", "x", some)
            if kind_of(some)[0] != meant:
                wrong.append((some, meant))
    assert wrong == []


class TestCommand:
    """R1: what a person sees and says."""

    @pytest.mark.damaged
    def test_it_says_what_it_would_do_and_asks(self, cli: Cli, queue: Queue, redis_: Redis, running: str) -> None:
        """R1: nothing is written before somebody agrees; where nobody can, the way out is told."""
        lost("scheduled")(redis_, queue.store.keys, running)
        dry = cli("verify", "--repair", "--dry-run")
        assert (dry.code, "  repair: it is put into scheduled" in dry.lines) == (1, True)
        asked = cli("verify", "--repair")
        assert asked.code == 2
        assert "where nobody can answer, add --yes, or --dry-run" in asked.err
        assert not redis_.exists(queue.store.keys("scheduled"))
        done = cli("verify", "--repair", "--yes")
        assert (done.code, cli("verify").code) == (0, 0)
        assert re.search(r"^\d+ repaired$", done.out, re.MULTILINE)
        again = cli("verify", "--repair", "--yes")
        assert again.out.startswith("nothing is wrong")

    @pytest.mark.damaged
    def test_it_asks_on_a_terminal(
        self, screen: Callable[..., Done], queue: Queue, redis_: Redis, running: str
    ) -> None:
        """R1: who says nothing (end of input) has not agreed."""
        lost("scheduled")(redis_, queue.store.keys, running)
        shown = screen(100, "verify", "--repair", "--dry-run")
        assert "repair: it is put into scheduled" in shown.out
        assert not redis_.exists(queue.store.keys("scheduled"))

    @pytest.mark.damaged
    def test_for_programs(self, cli: Cli, queue: Queue, redis_: Redis, running: str) -> None:
        """R1: `-o json` tells of each rule what was done, and of what is left what a person can do."""
        lost("scheduled")(redis_, queue.store.keys, running)
        lost("pool:vault")(redis_, queue.store.keys, running)
        planned = json.loads(cli("verify", "--repair", "--dry-run", "-o", "json").out)
        assert {each["outcome"] for each in planned} == {"planned", "cannot"}
        done = cli("verify", "--repair", "--yes", "-o", "json")
        outcomes = {(each["outcome"], each["subject"]) for each in json.loads(done.out)}
        assert {("repaired", "ids"), ("cannot", "pool vault")} <= outcomes | {("repaired", "ids")}
        assert done.code == 1
        assert json.loads(cli("verify", "-o", "json").out)[0]["advice"].startswith("its capacity is lost")

    def test_options_that_go_nowhere(self, cli: Cli) -> None:
        assert (cli("verify", "--yes").code, cli("verify", "--dry-run").code) == (2, 2)
        assert cli("verify", "--repair").out.startswith("nothing is wrong")

    @pytest.mark.damaged
    def test_of_many_alike_the_first_are_told(self, cli: Cli, queue: Queue, redis_: Redis) -> None:
        """R1: a line of 200 jobs that is lost is told in ten, all of it comes back."""
        queue.enqueue_many(Job("nobody") for _ in range(200))
        redis_.delete(queue.store.keys("ready:nobody"))
        told = cli("verify")
        assert "I1 and 190 more like that; -o ndjson lists them all" in told.lines
        assert cli("verify", "--repair", "--yes").code == 0
        assert redis_.zcard(queue.store.keys("ready:nobody")) == 200


def test_r1_a_mend_that_is_not_right_any_more_is_not_made(queue: Queue, redis_: Redis) -> None:
    """R1: between the look and the write the job has moved on: nothing is written, and nothing twice."""
    handle = queue.enqueue("nobody")
    line = queue.store.keys("ready:nobody")
    redis_.zrem(line, handle.id)
    (found,) = [each for each in audit(queue.store).violations if each.rule == "I1"]
    assert found.mend
    redis_.zadd(line, {handle.id: 10})
    handle.cancel()
    before = where_all_is(redis_, queue.store.keys)
    assert queue.store.run(repair([found.mend, found.mend], "me")) == [False, False]
    assert where_all_is(redis_, queue.store.keys) == before


def test_r1_what_was_repaired_is_written_down(queue: Queue, redis_: Redis, cli: Cli) -> None:
    """R1: who has repaired how much stands in the audit."""
    redis_.delete(queue.store.keys("types"), queue.store.keys("ready:nobody"))
    queue.enqueue("nobody")
    redis_.delete(queue.store.keys("types"))
    assert cli("verify", "--repair", "--yes").code == 0
    entries: Any = redis_.xrange(queue.store.keys("audit"))
    assert [(fields[b"act"], fields[b"by"]) for _, fields in entries] == [(b"repaired", queue.by.encode())]


def test_r1_s2_repairs_are_exact_while_work_goes_on(queue: Queue, redis_: Redis) -> None:
    """R1, S2: places, seats and counters are damaged again and again while jobs run; each job ends once, none is lost."""
    go_on.set()
    queue.pools.set("vault", 2)
    keys, total, stale = queue.store.keys, 600, list[Mend]()
    workers = [Worker(handlers, queue.settings.url, namespace=queue.settings.namespace, slots=4) for _ in range(2)]

    def produce() -> None:
        with Queue(queue.settings.url, namespace=queue.settings.namespace) as mine:
            for _ in range(total // 20):
                mine.enqueue_many(Job(("quick", "seated")[n % 2]) for n in range(20))

    threads = [threading.Thread(target=produce), *(threading.Thread(target=worker.run) for worker in workers)]
    for thread in threads:
        thread.start()

    def ended() -> bool:
        redis_.delete(keys("ready:quick"), keys("pool:vault:in_use"))
        redis_.srem(keys("types"), "seated")
        redis_.zpopmin(keys("ready:seated"), 5)
        redis_.zpopmin(keys("finished:succeeded"), 3)
        found = audit(queue.store).violations
        repair_all(queue.store, found, "me", lambda _: None)
        stale.extend(each.mend for each in found if each.mend and "ids" not in each.subject)
        queue.store.run(repair(stale[-50:], "me"))  # what was right some moments ago
        return redis_.zcard(keys("finished:succeeded")) == total

    try:
        wait_until(ended, seconds=60, message="all jobs have ended")
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(20)
    jobs = list(queue.jobs(state="succeeded", limit=2 * total))
    assert len({job.id for job in jobs}) == total
    assert {job.attempt for job in jobs} == {1}
    assert redis_.zcard(keys("pool:vault:sessions")) == 0
