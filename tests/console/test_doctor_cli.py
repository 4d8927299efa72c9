"""`seatline doctor` on real servers that are really set so, and on real namespaces (R5, S5, Q15, W3, Q18)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Chain, Job, Queue, Step
from seatline.shared.keys import SCHEMA
from seatline.shared.roles import CONNECTS, LOOKS, READS

Cli = Callable[..., Any]
StartServer = Callable[..., RealServer]
Doctor = Callable[..., dict[str, dict[str, Any]]]
DAY_MS = 86_400_000


def read(done: Any) -> dict[str, dict[str, Any]]:
    """Return the findings by name; the worst of each kind, which comes first."""
    found: dict[str, dict[str, Any]] = {}
    for each in json.loads(done.out):
        found.setdefault(each["finding"], each)
    return found


@pytest.fixture
def doctor(cli: Cli) -> Doctor:
    return lambda *words, **environ: read(cli("doctor", "-o", "json", *words, **environ))


class Clinic:
    """A private server, one that can be set otherwise, and its doctor."""

    def __init__(self, server: RealServer, bare_cli: Cli, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        self.redis = server.client()
        self.env = {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace, "TZ": "UTC"}
        self._cli = bare_cli

    def __call__(self, *words: str, **environ: str) -> dict[str, dict[str, Any]]:
        return read(self.run("-o", "json", *words, **environ))

    def run(self, *words: str, **environ: str) -> Any:
        return self._cli("doctor", *words, **{**self.env, **environ})

    def obey(self, cure: str) -> None:
        """Do what a cure says, if it is a setting of the server."""
        words = (
            cure.split(",", maxsplit=1)[0].split(";", maxsplit=1)[0].removeprefix("seatline cli CONFIG SET ").split()
        )
        self.redis.config_set(*words)


@pytest.fixture
def clinic(private_server: StartServer, bare_cli: Cli, namespace: str) -> Iterator[Clinic]:
    clinic = Clinic(private_server(appendonly=True), bare_cli, namespace)
    with closing(clinic.redis):
        yield clinic


class TestServer:
    def test_r5_nothing_is_wrong(self, clinic: Clinic) -> None:
        """R5: a good server: notes at most, exit code 0."""
        clinic.redis.config_set("maxmemory", "200mb")
        done = clinic.run("-o", "json")
        assert {each["severity"] for each in json.loads(done.out)} <= {"ok", "note"}
        assert done.code == 0

    @pytest.mark.parametrize(
        ("setting", "value", "code", "severity"),
        [
            ("maxmemory-policy", "allkeys-lru", "eviction", "error"),
            ("appendonly", "no", "persistence", "error"),
            ("hash-max-listpack-value", "32", "hashes", "warning"),
        ],
    )
    def test_r5_it_is_seen_and_the_cure_is_one(
        self, clinic: Clinic, setting: str, value: str, code: str, severity: str
    ) -> None:
        """R5: really set so; and what it says to type mends it."""
        clinic.redis.config_set("maxmemory", "200mb")
        clinic.redis.config_set(setting, value)
        ill = clinic()[code]
        assert ill["severity"] == severity
        clinic.obey(ill["cure"])
        assert clinic()[code]["severity"] == "ok"

    @pytest.mark.parametrize(
        ("fsync", "severity", "said"),
        [("always", "ok", "loses nothing"), ("everysec", "ok", "at most 2 s"), ("no", "warning", "appendfsync no")],
    )
    def test_r5_what_a_crash_loses(self, clinic: Clinic, fsync: str, severity: str, said: str) -> None:
        clinic.redis.config_set("appendfsync", fsync)
        found = clinic()["persistence"]
        assert found["severity"] == severity
        assert said in found["said"]

    def test_r5_snapshots_only(self, private_server: StartServer, bare_cli: Cli, namespace: str) -> None:
        clinic = Clinic(private_server(config=["save 3600 1"]), bare_cli, namespace)
        clinic.redis.set("x", 1)
        assert "(save 3600 1): a crash loses all since the last one, 1 changes now" in clinic()["persistence"]["said"]
        clinic.redis.flushall()
        clinic.redis.close()

    def test_r5_the_last_save_failed(self, clinic: Clinic) -> None:
        """A folder stands where the snapshot belongs."""
        (clinic.server.folder / "dump.rdb").mkdir()
        clinic.redis.bgsave()
        wait_until(lambda: clinic.redis.info("persistence")["rdb_last_bgsave_status"] == "err", 10)
        assert clinic()["saving"]["severity"] == "error"

    def test_r5_full(self, clinic: Clinic) -> None:
        """A full server is told, not met as an error."""
        clinic.redis.config_set("maxmemory", "1mb")
        with Queue(clinic.server.url, namespace=clinic.namespace) as queue, pytest.raises(Exception, match="no memory"):
            queue.enqueue("a")
        found = clinic()
        assert found["memory"]["severity"] == "error"
        assert found["keys"]["severity"] == "ok"
        clinic.obey(found["memory"]["cure"])

    def test_r5_slow_scripts_of_this_namespace(self, clinic: Clinic) -> None:
        clinic.redis.config_set("slowlog-log-slower-than", 0)
        with Queue(clinic.server.url, namespace="other") as queue:
            queue.enqueue("a")
        assert clinic()["slow"]["severity"] == "ok"
        with Queue(clinic.server.url, namespace=clinic.namespace) as queue:
            queue.enqueue("a")
        clinic.redis.config_set("slowlog-log-slower-than", -1)
        assert "of this namespace; the slowest took" in clinic()["slow"]["said"]
        clinic.redis.flushall()

    def test_r5_replicas(self, clinic: Clinic, private_server: StartServer) -> None:
        """A replica used by accident; a primary whose replicas are not bound, or too few."""
        replica = private_server()
        with closing(replica.client()) as other:
            other.config_set("repl-diskless-load", "swapdb")
            clinic.redis.config_set("repl-diskless-sync-delay", 0)
            other.replicaof("127.0.0.1", str(clinic.server.port))
            wait_until(lambda: other.info("replication")["master_link_status"] == "up", 20)
        found = clinic(SEATLINE_URL=replica.url)
        assert f"a replica of 127.0.0.1:{clinic.server.port}." in found["replica"]["said"]
        assert str(clinic.server.port) in found["replica"]["cure"]
        wait_until(lambda: clinic.redis.info("replication").get("slave0", {}).get("state") == "online", 20)
        assert "1 replica, and min-replicas-to-write is 0" in clinic()["replication"]["said"]
        clinic.redis.config_set("min-replicas-to-write", 2)
        clinic.redis.config_set("min-replicas-max-lag", 100)
        assert "1 of the 2 replicas that it needs" in clinic()["replication"]["said"]
        restarted = clinic.run("--since-restart", SEATLINE_URL=replica.url)
        assert restarted.code == 0
        replica.stop()

    def test_r5_passwords(self, clinic: Clinic, private_server: StartServer) -> None:
        assert clinic()["access"]["severity"] == "note"
        assert clinic(SEATLINE_URL=private_server(password="s3cret").url)["access"]["severity"] == "ok"
        clinic.redis.acl_setuser("half", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-acl"])
        assert "access" not in clinic(SEATLINE_URL=f"redis://half:p@127.0.0.1:{clinic.server.port}/0")

    def test_r5_loading(self, private_server: StartServer, bare_cli: Cli, namespace: str) -> None:
        """While it loads it answers hardly anything: that is said, nothing else, and nothing breaks."""
        slow = ["key-load-delay 10000", "loading-process-events-interval-bytes 1024"]
        server = private_server(appendonly=True, config=slow)
        with closing(server.client()) as client:
            client.mset({f"x{n}": "y" * 64 for n in range(400)})
            client.bgrewriteaof()
            wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 10)
        server.kill()
        clinic = Clinic(server, bare_cli, namespace)
        starting = threading.Thread(target=server.start)
        starting.start()
        seen: dict[str, Any] = {}

        def loads() -> bool:
            done = clinic.run("-o", "json", SEATLINE_DEADLINE="0.3")
            if done.code != 69:
                seen.update(read(done))
            return bool(seen)

        try:
            wait_until(loads, 10)
        finally:
            starting.join(30)
        assert list(seen) == ["loading", "server"]
        assert seen["loading"]["severity"] == "error"
        clinic.redis.flushall()
        clinic.redis.close()

    def test_growth(self, clinic: Clinic) -> None:
        found = clinic("--growth", "1s")["growth"]
        assert found["severity"] == "ok"
        assert found["said"].endswith(" in 1 s")

    def test_nobody_listens(self, bare_cli: Cli) -> None:
        done = bare_cli("doctor", SEATLINE_URL="redis://127.0.0.1:1/0", SEATLINE_DEADLINE="0.2")
        assert (done.code, done.out, done.err.count("\n")) == (69, "", 1)


class TestRights:
    def test_q18_a_viewer_sees_all_of_the_namespace(self, clinic: Clinic) -> None:
        """Q18: no script is run, no setting asked that would break it; what it may not see is said."""
        commands = ["-@all", *(f"+{command}" for command in (*CONNECTS, *READS, *LOOKS))]
        clinic.redis.acl_setuser(
            "looker", enabled=True, passwords=["+p"], keys=[f"{{{clinic.namespace}}}:*"], commands=commands
        )
        with Queue(clinic.server.url, namespace=clinic.namespace) as queue:
            queue.define(Chain("c", [Step("s", "t", uses={"gpu": 1})]))
            queue.pools.set("vault", 1)
            queue.enqueue("a", uses={"vault": 3})
        mine = clinic()
        url = f"redis://looker:p@127.0.0.1:{clinic.server.port}/0"
        found = clinic(SEATLINE_URL=url)
        assert found["rights"]["said"] == "this login may not see CONFIG, SLOWLOG: ask an admin."
        assert found["rights"]["severity"] == "note"
        assert set(mine) - set(found) == {"hashes", "slow", "access"}
        for code in ("no-worker", "pool-missing", "pool-small", "keys", "layout"):
            assert found[code]["severity"] == mine[code]["severity"], code
        done = clinic.run("--since-restart", SEATLINE_URL=url)
        assert done.code == 0

    def test_q18_whoever_may_not_even_walk(self, clinic: Clinic) -> None:
        commands = ["-@all", *(f"+{command}" for command in (*CONNECTS, *READS)), "-info", "-time"]
        clinic.redis.acl_setuser(
            "blind", enabled=True, passwords=["+p"], keys=[f"{{{clinic.namespace}}}:*"], commands=[*commands, "+time"]
        )
        found = clinic(SEATLINE_URL=f"redis://blind:p@127.0.0.1:{clinic.server.port}/0")
        assert found["rights"]["said"] == "this login may not see INFO, CONFIG, SLOWLOG: ask an admin."
        assert found["keys"]["said"] == "this login may not walk the keys (SCAN)."

    def test_q18_a_login_of_another_namespace(self, clinic: Clinic) -> None:
        """Q18: what it may see is said all the same."""
        commands = ["-@all", *(f"+{command}" for command in (*CONNECTS, *READS, *LOOKS))]
        clinic.redis.acl_setuser("other", enabled=True, passwords=["+p"], keys=["{other}:*"], commands=commands)
        done = clinic.run("-o", "json", SEATLINE_URL=f"redis://other:p@127.0.0.1:{clinic.server.port}/0")
        assert done.code == 1
        found = read(done)
        assert found["rights"]["severity"] == "error"
        assert found["rights"]["said"].startswith("this login may not read the namespace.")
        assert found["eviction"]["severity"] == "ok"


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def fake(server: RealServer, namespace: str) -> Iterator[Callable[..., FakeWorker]]:
    made: list[FakeWorker] = []

    def make(types: dict[str, dict[str, int]], **options: Any) -> FakeWorker:
        made.append(FakeWorker(server.url, namespace, types, **options))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


class TestNamespace:
    def test_q15_a_type_without_a_worker(self, queue: Queue, doctor: Doctor, fake: Callable[..., FakeWorker]) -> None:
        """Q15: flagged with the age of its oldest job, until a worker comes."""
        queue.enqueue("a", priority=5)
        queue.enqueue("a", priority=50, uses={})
        found = doctor()["no-worker"]
        assert found["severity"] == "warning"
        assert found["said"].startswith("no live worker supports type a: 2 jobs wait, the oldest since 0 s")
        fake({"a": {}}).turn()
        assert "no-worker" not in doctor()

    def test_s5_pools_that_are_missing_or_too_small(
        self, queue: Queue, doctor: Doctor, fake: Callable[..., FakeWorker]
    ) -> None:
        """S5: never silent: by types, by jobs, by steps of chains."""
        fake({"a": {"nowhere": 1}})
        assert doctor()["pool-missing"]["severity"] == "warning"
        queue.enqueue("a")
        found = doctor()["pool-missing"]
        assert (found["severity"], found["cure"]) == ("error", "seatline pools set nowhere CAPACITY")
        queue.pools.set("nowhere", 1)
        assert "pool-missing" not in doctor()
        queue.enqueue("b", uses={"nowhere": 4})
        queue.define(Chain("c", [Step("s", "t", uses={"nowhere": 9})]))
        found = doctor()["pool-small"]
        assert "1 job of type b, step s of chain c want up to 9" in found["said"]
        queue.pools.set("nowhere", 9)
        assert "pool-small" not in doctor()

    def test_s2_more_are_held_than_there_are(self, queue: Queue, doctor: Doctor) -> None:
        queue.pools.set("vault", 2)
        with queue.pools.session("vault", seats=2):
            queue.pools.set("vault", 1)
            assert "2 seats are held, 1 are all it has" in doctor()["pool-over"]["said"]
            assert doctor()["pool-over"]["cure"] == "Wait, or: seatline pools set vault 2"

    @pytest.mark.damaged
    def test_what_nobody_takes_back(
        self, queue: Queue, doctor: Doctor, fake: Callable[..., FakeWorker], redis: Redis
    ) -> None:
        """Leases, seats, due jobs and schedules that are long late: errors without a live worker, else warnings."""
        keys = queue.store.keys
        queue.pools.set("vault", 1)
        worker = fake({"a": {"vault": 1}})
        job = queue.enqueue("a")
        worker.turn()
        queue.enqueue("a", delay=3600)
        queue.schedules.add("nightly", "a", every=3600)
        assert not {"leases", "seats-late", "due", "schedules"} & doctor().keys()
        ago = int(time.time() * 1000) - 300_000
        held: list[Any] = redis.zrange(keys.pool("vault", "sessions"), 0, -1)
        redis.zadd(keys.pool("vault", "sessions"), dict.fromkeys(held, ago))
        redis.zadd(keys("running"), {job.id: ago})
        waits: list[Any] = redis.zrange(keys("scheduled"), 0, -1)
        redis.zadd(keys("scheduled"), dict.fromkeys(waits, ago))
        redis.zadd(keys("schedules"), {"nightly": ago})
        late = ("leases", "seats-late", "due", "schedules")
        assert {code: doctor()[code]["severity"] for code in late} == dict.fromkeys(late, "warning")
        redis.zadd(keys("workers"), {worker.id: ago})
        found = doctor()
        assert {code: found[code]["severity"] for code in late} == dict.fromkeys(late, "error")
        assert "job 1" in found["seats-late"]["said"]
        assert worker.id in found["lost"]["said"]
        assert "nightly was due 5 min ago" in found["schedules"]["said"]

    def test_workers(self, queue: Queue, doctor: Doctor, fake: Callable[..., FakeWorker], redis: Redis) -> None:
        keys = queue.store.keys
        one, two = fake({"a": {}}), fake({"a": {}})
        redis.hset(keys(f"worker:{one.id}"), mapping={"version": "0.4.0", "overdue": 1, "state": "paused"})
        redis.hset(keys(f"worker:{two.id}"), mapping={"version": "0.3.0", "state": "paused"})
        queue.enqueue("a")
        found = doctor()
        assert found["workers"]["said"] == "2 live, 0 jobs running"
        assert "0.3.0 (1), 0.4.0 (1)" in found["versions"]["said"]
        assert one.id in found["overdue"]["said"]
        assert found["resting"]["severity"] == "warning"

    def test_gates(self, queue: Queue, doctor: Doctor) -> None:
        queue.enqueue("a")
        queue.pause()
        queue.pause("a")
        queue.shut()
        found = doctor()
        assert found["paused"]["cure"] == "seatline types resume --all"
        assert found["closed"]["cure"] == "seatline jobs reopen"

    def test_what_waits_for_a_person(self, queue: Queue, doctor: Doctor, fake: Callable[..., FakeWorker]) -> None:
        queue.define(Chain("c", [Step("s", "a")]))
        queue.start("c", id="held").suspend()
        worker = fake({"b": {}}, slots=2)
        jobs = [queue.enqueue("b"), queue.enqueue("b")]
        worker.turn()
        worker.settle(jobs[0].id, outcome="failed")
        worker.settle(jobs[1].id, outcome="interrupted")
        found = doctor()
        assert found["orders"]["said"] == "1 order suspended: held."
        assert found["failed"]["said"] == "1 job failed in the last day."
        assert found["interrupted"]["said"] == "1 job interrupted."

    @pytest.mark.damaged
    def test_keys_without_an_owner(self, queue: Queue, doctor: Doctor, redis: Redis) -> None:
        """A part whose whole is gone, and a name that nobody has drawn; what was looked at is said."""
        keys = queue.store.keys
        job = queue.enqueue("a")
        assert doctor()["keys"]["said"].endswith("keys looked at, all there are")
        redis.rpush(keys.job(f"{99:016}") + ":log", "x")
        redis.rpush(keys.job(job.id) + ":log", "x")
        redis.set(keys("rubbish"), 1)
        found = doctor()["keys"]
        assert found["severity"] == "warning"
        assert found["said"].startswith(f"2 belong to nothing: job:{99:016}:log, rubbish;")

    @pytest.mark.damaged
    def test_a_clock_that_was_set_back(self, queue: Queue, doctor: Doctor, redis: Redis) -> None:
        queue.enqueue("a")
        redis.xadd(queue.store.keys("events"), {"x": "y"}, id=f"{int(time.time() * 1000) + DAY_MS}-0")
        assert doctor()["clock-back"]["severity"] == "error"

    @pytest.mark.damaged
    def test_another_kind_of_value(self, queue: Queue, doctor: Doctor, redis: Redis) -> None:
        """What cannot be read is a finding, and the server's are told."""
        redis.set(queue.store.keys("pools"), 1)
        found = doctor()
        assert found["keys"]["severity"] == "error"
        assert "WRONGTYPE" in found["keys"]["said"]
        assert found["eviction"]["severity"] == "ok"

    @pytest.mark.damaged
    def test_a_newer_layout_is_a_finding(self, queue: Queue, cli: Cli, redis: Redis) -> None:
        """Issue 6.9: every other look is refused; the doctor says why."""
        queue.enqueue("a")
        redis.hset(queue.store.keys.about, "schema", SCHEMA + 1)
        done = cli("doctor", "-o", "json")
        found = read(done)
        assert done.code == 1
        assert found["layout"]["severity"] == "error"
        assert "workers" not in found

    def test_it_reads_no_more_of_a_long_queue(
        self, queue: Queue, doctor: Doctor, proxy_to: Callable[..., Any], server: RealServer
    ) -> None:
        """Bounded: as many exchanges for 10 jobs as for 5,000, but for the walk over some keys."""
        asked: list[int] = []
        for count in (10, 4_990):
            queue.enqueue_many(Job("a", {"n": n}, priority=n % 3 + 1) for n in range(count))
            proxy = proxy_to(server)
            doctor(SEATLINE_URL=proxy.url)
            asked.append(proxy.requests)
        assert asked[1] - asked[0] < 20
        assert asked[1] < 150


class TestCommand:
    def test_people_read_the_worst_first(self, queue: Queue, cli: Cli) -> None:
        queue.enqueue("a", uses={"gpu": 1})
        done = cli("doctor")
        words = [line.split()[0] for line in done.lines if not line.startswith(" ")]
        order = ["error", "warning", "note", "ok"]
        assert words == sorted(words, key=order.index)
        assert set(words) == set(order)
        assert "-> seatline pools set gpu CAPACITY" in done.out
        assert "nothing can" not in done.err
        assert "errors" in done.err
        assert "it is killed" not in cli("doctor").out
        assert "a full one refuses new jobs" in cli("doctor", "-v").out.lower()

    def test_programs_read_json(self, queue: Queue, cli: Cli) -> None:
        queue.enqueue("a")
        whole = json.loads(cli("doctor", "-o", "json").out)
        lines = [json.loads(line) for line in cli("doctor", "-o", "ndjson").lines]
        assert [each["finding"] for each in whole] == [each["finding"] for each in lines]
        (found,) = (each for each in whole if each["finding"] == "no-worker")
        assert found == {
            "finding": "no-worker",
            "severity": "warning",
            "said": found["said"],
            "means": "Jobs of a type wait, and no live worker supports it. They stay where they are until one does (Q15).",
            "cure": "seatline worker MODULE --types a",
        }
        assert all((each["cure"] is None) == (each["severity"] == "ok") for each in whole)

    @pytest.mark.parametrize(
        ("worst", "fails"),
        [("note", {"note"}), ("warning", {"note", "warning"}), ("error", {"note", "warning", "error"})],
    )
    def test_exit_codes(self, clinic: Clinic, worst: str, fails: set[str]) -> None:
        """0 if nothing is worse than a note; --fail-on says otherwise."""
        clinic.redis.config_set("maxmemory", "200mb")
        if worst == "warning":
            with Queue(clinic.server.url, namespace=clinic.namespace) as queue:
                queue.enqueue("a")
        if worst == "error":
            clinic.redis.config_set("appendonly", "no")
        assert clinic.run().code == int(worst != "note")
        for limit in ("note", "warning", "error", "never"):
            assert clinic.run("--fail-on", limit).code == int(limit in fails), limit

    def test_nonsense(self, cli: Cli) -> None:
        for words in (["--fail-on", "all"], ["--growth", "soon"], ["--since-restart", "--growth", "1s"], ["x"]):
            assert cli("doctor", *words).code == 2, words

    def test_w3_since_restart(self, clinic: Clinic) -> None:
        """W3: what became of jobs and orders; exit code 1 if something was interrupted or orphaned."""
        with Queue(clinic.server.url, namespace=clinic.namespace) as queue:
            queue.define(Chain("release", [Step("check", "t")]))
            queue.start("release", id="mine")
        none = clinic.run("--since-restart")
        assert (none.code, none.out) == (0, "")
        clinic.server.kill()
        clinic.server.start()
        seen = clinic.run("--since-restart", "-o", "json")
        assert seen.code == 0
        assert [(each["what"], each["id"]) for each in json.loads(seen.out)] == [("restored", "mine")]
        clinic.redis.connection_pool.disconnect()
        found = clinic()["restarted"]
        assert (found["severity"], found["cure"]) == ("note", "seatline doctor --since-restart")

    def test_w3_what_was_interrupted_fails_it(self, clinic: Clinic) -> None:
        """W3: a job that ran when the server was killed, and whose lease has run out since."""
        with Queue(clinic.server.url, namespace=clinic.namespace) as queue:
            queue.enqueue("a")
        worker = FakeWorker(clinic.server.url, clinic.namespace, {"a": {}}, lease=0.5)
        worker.turn()
        worker.store.close()
        clinic.server.kill()
        clinic.server.start()
        wait_until(lambda: clinic.run("--since-restart").code == 1, 10)
        seen = clinic.run("--since-restart", "-o", "json")
        assert [each["what"] for each in json.loads(seen.out)] == ["interrupted"]
        for limit, code in (("error", 0), ("never", 0), ("note", 1)):
            assert clinic.run("--since-restart", "--fail-on", limit).code == code
