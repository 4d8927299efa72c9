"""Every start looks at the server first: eviction, persistence, version, clock (R5), and the key layout (issue 6.9)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from harness.server import RealServer
from redis import Redis

from seatline.producer import AsyncQueue, Queue
from seatline.shared.calls import reads
from seatline.shared.errors import InvalidInput, ServerRefused
from seatline.shared.findings import Finding, Severity
from seatline.shared.keys import SCHEMA
from seatline.shared.server_facts import Clock, ServerFacts
from seatline.shared.server_rules import at_start
from seatline.shared.store import guard
from seatline.worker import Context, Handlers, HookContext, Worker

StartServer = Callable[..., RealServer]
EVICTS = ("maxmemory 50mb", "maxmemory-policy allkeys-lru")
handlers = Handlers()


@handlers.handler("quick")
def quick(ctx: Context) -> None: ...


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Hear what the guard says; a server whose address was given anew is another."""
    guard._known.clear()
    guard._told.clear()
    caplog.set_level(logging.WARNING, "seatline.guard")
    return caplog


def said(heard: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in heard.records if record.name == "seatline.guard"]


def enqueue(url: str, namespace: str, **options: Any) -> None:
    with Queue(url, namespace=namespace, **options) as queue:
        queue.enqueue("quick")


def enqueue_async(url: str, namespace: str, **options: Any) -> None:
    async def main() -> None:
        async with AsyncQueue(url, namespace=namespace, **options) as queue:
            await queue.enqueue("quick")

    asyncio.run(main())


def work(url: str, namespace: str, **options: Any) -> None:
    Worker(handlers, url, namespace=namespace, **options).run(burst=True)


STARTS = pytest.mark.parametrize("start", [enqueue, enqueue_async, work])


class TestEviction:
    @STARTS
    def test_r5_a_server_that_evicts_is_refused(
        self, start: Callable[..., None], private_server: StartServer, namespace: str
    ) -> None:
        """R5: by producer and worker, at every contact, before anything is written; the message has the ways out."""
        server = private_server(config=EVICTS)
        for _ in range(2):
            with pytest.raises(ServerRefused) as refused:
                start(server.url, namespace)
            assert refused.value.exit_code == 69
            message = str(refused.value)
            for part in (
                "deletes keys when 50 MiB are full (maxmemory-policy allkeys-lru)",
                "seatline cli CONFIG SET maxmemory-policy noeviction.",
                "SEATLINE_ALLOW_EVICTION=1, or allow_eviction=True.",
            ):
                assert part in message
        with closing(server.client()) as redis:
            assert redis.dbsize() == 0

    @STARTS
    def test_r5_unless_it_is_forced(
        self,
        start: Callable[..., None],
        private_server: StartServer,
        namespace: str,
        monkeypatch: pytest.MonkeyPatch,
        heard: pytest.LogCaptureFixture,
    ) -> None:
        """R5: by argument and by variable, which says so in the log."""
        server = private_server(config=EVICTS)
        for _ in range(2):
            start(server.url, namespace, allow_eviction=True)
        assert sum("deletes keys" in line for line in said(heard)) == 1
        monkeypatch.setenv("SEATLINE_ALLOW_EVICTION", "1")
        start(server.url, namespace)
        with pytest.raises(ServerRefused):  # an argument wins
            start(server.url, namespace, allow_eviction=False)

    def test_r5_a_forced_worker_forces_its_hooks(self, private_server: StartServer, namespace: str) -> None:
        """R5, C6: what a hook enqueues goes to the same server."""
        server = private_server(config=EVICTS)
        hooked = Handlers()
        hooked.handler("quick")(quick)

        @hooked.on_wake
        def look(ctx: HookContext) -> None:
            ctx.enqueue("other")

        Worker(hooked, server.url, namespace=namespace, allow_eviction=True).run(burst=True)
        with Queue(server.url, namespace=namespace) as queue:
            assert [job.type for job in queue.jobs()] == ["other"]

    def test_r5_the_cure_that_it_names_is_one(self, private_server: StartServer, namespace: str) -> None:
        server = private_server(config=EVICTS)
        with pytest.raises(ServerRefused, match=r"CONFIG SET maxmemory-policy noeviction"):
            enqueue(server.url, namespace)
        with closing(server.client()) as redis:
            redis.config_set("maxmemory-policy", "noeviction")
        enqueue(server.url, namespace)

    def test_r5_a_policy_that_nothing_calls_for_is_only_told(
        self, private_server: StartServer, namespace: str, heard: pytest.LogCaptureFixture
    ) -> None:
        """R5: without maxmemory nothing is evicted."""
        server = private_server(config=["maxmemory-policy volatile-lru"])
        enqueue(server.url, namespace)
        assert any("it would delete keys as soon as maxmemory is set" in line for line in said(heard))

    def test_r5_looking_is_not_refused(self, private_server: StartServer, namespace: str) -> None:
        """R5: reads write nothing, so there is nothing to lose."""
        server = private_server(config=EVICTS)
        with Queue(server.url, namespace=namespace) as queue:
            assert list(queue.jobs()) == []

    def test_r5_a_variable_that_is_neither_yes_nor_no(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SEATLINE_ALLOW_EVICTION", "perhaps")
        with pytest.raises(InvalidInput, match="SEATLINE_ALLOW_EVICTION: 'perhaps' is not yes or no: use 1 or 0"):
            Queue("redis://localhost")


class TestOther:
    @STARTS
    def test_r5_a_server_that_is_too_old_is_refused(
        self, start: Callable[..., None], server: RealServer, namespace: str, redis: Redis
    ) -> None:
        """R5: with the limit; nothing was written, and nothing can force it."""
        with told_otherwise(server.port, b"redis_version:", b"redis_version:6.0.9\r\nx:") as url:
            for options in ({}, {"allow_eviction": True}):
                with pytest.raises(ServerRefused, match=r"is too old: Seatline needs Redis 6\.2 or newer, or Valkey"):
                    start(url, namespace, **options)
        assert not redis.exists(f"{{{namespace}}}:about")

    def test_r5_a_server_that_keeps_nothing_is_told_once(
        self, private_server: StartServer, namespace: str, heard: pytest.LogCaptureFixture
    ) -> None:
        """R5: once for a process and a run of the server, whoever starts; with what to change."""
        server = private_server()
        for start in (enqueue, enqueue_async, work, enqueue):
            start(server.url, namespace)
        (line,) = said(heard)
        assert "no append-only file" in line
        assert "CONFIG SET appendonly yes" in line
        server.stop()
        server.start()
        enqueue(server.url, namespace)
        assert len(said(heard)) == 2

    def test_r5_a_good_server_gives_no_word(
        self, private_server: StartServer, namespace: str, heard: pytest.LogCaptureFixture
    ) -> None:
        enqueue(private_server(appendonly=True).url, namespace)
        assert said(heard) == []

    @pytest.mark.parametrize(
        ("ahead", "severity"),
        [
            (0, Severity.OK),
            (900, Severity.OK),
            (-2_000, Severity.NOTE),
            (20_000, Severity.WARNING),
            (-90_000, Severity.WARNING),
        ],
    )
    def test_r5_clock(self, ahead: int, severity: Severity) -> None:
        """R5: its own time for the way is no difference."""
        finding = found(ServerFacts({}, clock=Clock(1_000_000 + ahead, 1_000_000, 1_000_005)), "clock")
        assert finding.severity is severity
        assert ("19,995 ms ahead" in finding.said) == (ahead == 20_000)
        slow = Clock(1_003_000, 1_000_000, 1_006_000)
        assert found(ServerFacts({}, clock=slow), "clock").severity is Severity.OK

    def test_r5_a_real_clock(
        self, private_server: StartServer, namespace: str, heard: pytest.LogCaptureFixture
    ) -> None:
        """R5: what a real server says of its clock is read; one that is a day off is told."""
        server = private_server(appendonly=True)
        with told_otherwise(server.port, b"server_time_usec:1", b"server_time_usec:2") as url:
            enqueue(url, namespace)
        (line,) = said(heard)
        assert "the server's clock is" in line
        assert "ahead of this machine's" in line

    def test_r5_costs_no_round_trip_of_its_own(
        self, private_server: StartServer, proxy_to: Callable[..., Any], namespace: str
    ) -> None:
        """R5: it rides in the first exchange of a connection, once; later connections ask who the server is, jobs nothing."""
        server = private_server(appendonly=True)
        proxy = proxy_to(server)
        with Queue(proxy.url, namespace=namespace) as queue:
            queue.enqueue("quick")
            assert proxy.commands[b"INFO"] == 3
            for _ in range(20):
                queue.enqueue("quick")
            assert proxy.commands[b"INFO"] == 3
            queue.close()
            queue.enqueue("quick")
            assert proxy.commands[b"INFO"] == 4
            server.restart()
            queue.enqueue("quick")
            assert proxy.commands[b"INFO"] == 4 + 1 + 3

    def test_r5_a_login_that_may_not_ask_is_let_through(
        self, private_server: StartServer, namespace: str, heard: pytest.LogCaptureFixture
    ) -> None:
        """R5: what it cannot see, somebody else's start does."""
        server = private_server(config=EVICTS)
        with closing(server.client()) as redis:
            redis.acl_setuser("poor", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-info"])
        enqueue(f"redis://poor:p@127.0.0.1:{server.port}/0", namespace)
        assert said(heard) == []


class TestLayout:
    @pytest.mark.damaged
    @STARTS
    def test_a_newer_layout_is_refused(
        self, start: Callable[..., None], server: RealServer, namespace: str, redis: Redis
    ) -> None:
        """R5, issue 6.9: nothing is written, and the message says what to do."""
        enqueue(server.url, namespace)
        redis.hset(f"{{{namespace}}}:about", "schema", SCHEMA + 1)
        before = redis.dbsize()
        newer = rf"key layout {SCHEMA + 1}, newer than {SCHEMA} of this Seatline. Upgrade it here"
        with pytest.raises(ServerRefused, match=newer):
            start(server.url, namespace)
        assert redis.dbsize() == before

    @pytest.mark.damaged
    def test_nor_is_it_read(self, server: RealServer, namespace: str, redis: Redis) -> None:
        """Issue 6.9: a look would show what it does not understand."""
        enqueue(server.url, namespace)
        with Queue(server.url, namespace=namespace) as old:
            assert len(list(old.jobs())) == 1
        redis.hset(f"{{{namespace}}}:about", "schema", SCHEMA + 1)

        async def look() -> None:
            async with AsyncQueue(server.url, namespace=namespace) as queue:
                await queue.job(1)

        with Queue(server.url, namespace=namespace) as queue, pytest.raises(ServerRefused, match="key layout"):
            queue.job(1)
        with pytest.raises(ServerRefused, match="key layout"):
            asyncio.run(look())

    def test_a_missing_one_is_written(self, server: RealServer, namespace: str, redis: Redis) -> None:
        """Issue 6.9: as of a namespace that another language's client has begun."""
        redis.hset(f"{{{namespace}}}:about", "gaps", 0)
        with Queue(server.url, namespace=namespace) as queue:
            assert list(queue.jobs()) == []
            queue.enqueue("quick")
        assert redis.hget(f"{{{namespace}}}:about", "schema") == str(SCHEMA).encode()

    @pytest.mark.damaged
    def test_an_older_one_is_accepted(self, server: RealServer, namespace: str, redis: Redis) -> None:
        """Issue 6.9: what is to be done about it the version that changes the layout will know."""
        redis.hset(f"{{{namespace}}}:about", mapping={"schema": SCHEMA - 1, "creation": "x"})
        with Queue(server.url, namespace=namespace) as queue:
            queue.enqueue("quick")
            assert len(list(queue.jobs())) == 1

    def test_it_costs_no_round_trip(self, server: RealServer, proxy_to: Callable[..., Any], namespace: str) -> None:
        """Issue 6.9: it is asked in the exchange of the first read of a connection, and never again."""
        enqueue(server.url, namespace)
        proxy = proxy_to(server)
        with Queue(proxy.url, namespace=namespace) as queue:
            for _ in range(5):
                queue.store.read(reads.server_time())
        assert proxy.commands[b"HGET"] == 1
        assert proxy.commands[b"TIME"] == 5


def found(facts: ServerFacts, code: str) -> Finding:
    (finding,) = (each for each in at_start(facts) if each.code == code)
    return finding


@contextmanager
def told_otherwise(port: int, true: bytes, instead: bytes) -> Iterator[str]:
    """Stand in front of a server, and have it say something else of itself in INFO; all else goes through as it is."""

    def carry(source: socket.socket, to: socket.socket, *, answers: bool) -> None:
        with contextlib.suppress(OSError), source, to:  # the other way may have closed them
            while data := source.recv(1 << 16):
                to.sendall(altered(data) if answers else data)

    def altered(data: bytes) -> bytes:
        """Replace it in a bulk reply, and say its new length; INFO of one section comes whole."""
        head, mark, rest = data.partition(true)
        if not mark:
            return data
        start = head.rindex(b"$")
        length, _, _ = head[start + 1 :].partition(b"\r\n")
        longer = int(length) + len(instead) - len(true)
        return head[:start] + b"$%d" % longer + head[start + 1 + len(length) :] + instead + rest

    def serve() -> None:
        while True:
            try:
                client, _ = door.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for source, to, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=carry, args=(source, to), kwargs={"answers": answers}, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=serve, daemon=True).start()
        yield f"redis://127.0.0.1:{door.getsockname()[1]}/0"
        door.shutdown(socket.SHUT_RDWR)
