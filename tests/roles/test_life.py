"""A queue run by its roles alone, for real: producers, workers that die, restarts, forgotten scripts, new passwords (Q18)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.farm import Farm
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from roles.conftest import PASSWORD, Logins, send
from seatline.console.verify import check_namespace
from seatline.producer import AsyncQueue, Chain, Queue, Step
from seatline.shared.errors import InvalidInput, LoginRefused, NotAllowed, ScriptsMissing
from seatline.shared.roles import user_name
from seatline.shared.scripts import names, script
from seatline.worker import Handlers, Worker

QueueOf = Callable[..., Queue]


@pytest.fixture
def queue_of() -> Iterator[QueueOf]:
    with contextlib.ExitStack() as queues:
        yield lambda logins, role, **more: queues.enter_context(
            Queue(logins.url(role), namespace=logins.namespace, deadline=5.0, **more)
        )


@pytest.fixture
def farm(spawn: Callable[..., Child], tmp_path: Path) -> Farm:
    return Farm(spawn, tmp_path)


def idle(worker: object) -> bool:
    """Whether a started worker has registered."""
    return bool(worker.ready)  # type: ignore[attr-defined]


def test_q18_a_farm_of_roles(logins: Logins, queue_of: QueueOf, farm: Farm) -> None:
    """Q18: an admin sets up, producers add and wait, workers run with seats, die, are recovered; a viewer finds all well."""
    admin, producer, viewer = (queue_of(logins, role) for role in ("admin", "producer", "viewer"))
    admin.pools.set("vault", 1)
    admin.define(Chain("release", [Step("one", "note"), Step("two", "note.seat")]))
    first = farm.worker(logins.url("worker"), logins.namespace)
    wait_until(lambda: idle(first))
    assert producer.enqueue("note", {"n": 7}).result(timeout=20) == 7  # it idled: a bell has woken it
    assert [producer.enqueue("note.seat", {"n": n}) for n in range(3)][-1].result(timeout=20) == 2
    soon = producer.enqueue("note", {"n": 8}, delay=0.2)
    assert soon.result(timeout=20) == 8
    order = producer.start("release", {"n": 1})
    assert order.wait(timeout=20).state == "succeeded"
    held = producer.enqueue("hold.seat")
    wait_until(lambda: farm.lines("begin", held.id))
    assert viewer.pools["vault"].in_use == 1
    first.child.kill()
    second = farm.worker(logins.url("worker"), logins.namespace)
    wait_until(lambda: len(farm.lines("begin", held.id)) == 2, 30, "the job of the one that was killed")
    assert held.cancel() == "asked"
    wait_until(lambda: viewer.job(held.id).state == "cancelled", 20)
    second.child.terminate()
    assert second.child.wait(20) == 0
    assert check_namespace(logins.url("viewer"), logins.namespace) == []
    assert viewer.pools["vault"].in_use == 0


def test_q18_a_refusal_costs_the_next_request_nothing(logins: Logins, queue_of: QueueOf) -> None:
    """Q18: a producer that tried too much goes on, over the same connection and lane."""
    producer = queue_of(logins, "producer")
    for _ in range(3):
        with pytest.raises(NotAllowed, match="may not set pools"):
            producer.pools.set("vault", 1)
        assert producer.enqueue("a").state() == "ready"


def test_q18_roles_of_asyncio(logins: Logins) -> None:
    """Q18: the same words from an event loop."""

    async def main() -> None:
        async with AsyncQueue(logins.url("viewer"), namespace=logins.namespace) as viewer:
            with pytest.raises(NotAllowed, match=r"-viewer may not enqueue jobs \(script submit\).*role producer"):
                await viewer.enqueue("a")
            assert [job async for job in viewer.jobs()] == []
        async with AsyncQueue(logins.url("producer"), namespace=logins.namespace) as producer:
            await producer.enqueue("a")
            with pytest.raises(NotAllowed, match=r"-producer may not pause and close \(script gate\).*role admin"):
                await producer.pause()

    asyncio.run(main())


def test_q18_a_restart_brings_the_scripts_back(
    private_server: Callable[..., RealServer], logins_at: Callable[..., Logins], queue_of: QueueOf, namespace: str, farm: Farm
) -> None:  # fmt: skip
    """Q18, R3: the server is killed and knows no script any more; producer and worker go on by themselves."""
    server = private_server(appendonly=True)
    logins = logins_at(server, namespace)
    with contextlib.closing(server.client()) as operator:
        operator.config_rewrite()
    producer = queue_of(logins, "producer")
    worker = farm.worker(logins.url("worker"), namespace)
    assert producer.enqueue("note", {"n": 1}).result(timeout=20) == 1
    kept = (server.folder / "conf").read_text()
    server.kill()
    users = [line for line in kept.splitlines() if line.startswith("user ")]
    assert len(users) == 5  # with the server's own
    server._lines += users
    server.start()
    with contextlib.closing(server.client()) as operator:
        assert not any(operator.script_exists(script("submit").sha))
    assert producer.enqueue("note", {"n": 2}).result(timeout=30) == 2
    assert worker.child.running


def test_q18_without_the_right_to_load(
    logins_at: Callable[..., Logins], server: RealServer, redis: Redis, queue_of: QueueOf, namespace: str, farm: Farm
) -> None:
    """Q18: with --no-load the server's loss of its scripts is told, nothing is done, a worker waits, an admin mends it."""
    logins = logins_at(server, namespace, load=False)
    admin, producer = queue_of(logins, "admin"), queue_of(logins, "producer")
    for name in names():
        redis.script_load(script(name).text)
    worker = farm.worker(logins.url("worker"), namespace)
    assert producer.enqueue("note", {"n": 1}).result(timeout=20) == 1
    redis.script_flush()
    with pytest.raises(ScriptsMissing, match=r"-producer may not load scripts.*`seatline scripts load -n"):
        producer.enqueue("note", {"n": 2})
    wait_until(lambda: worker.said("may not load scripts"), 20)
    assert worker.child.running
    admin.pools.set("vault", 1)  # an admin brings back what he uses
    assert redis.script_exists(script("pool_set").sha, script("submit").sha) == [True, False]
    for name in names():
        redis.script_load(script(name).text)
    assert producer.enqueue("note", {"n": 3}).result(timeout=30) == 3
    assert [job.params for job in producer.jobs(state="succeeded")] == [{"n": 3}, {"n": 1}]


class TestPasswordFile:
    """Q18: SEATLINE_USER and SEATLINE_PASSWORD_FILE."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "password"
        path.write_text(PASSWORD + "\n")
        return path

    def test_q18_a_url_without_a_password(self, logins: Logins, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        where, password = logins.namespace, str(file)
        user = user_name(where, "producer")
        with Queue(logins.server.url, namespace=where, user=user, password_file=password) as queue:
            queue.enqueue("a")
            assert f"{user}@" in queue.store.place
        url = f"redis://{user}@127.0.0.1:{logins.server.port}/0"
        with Queue(url, namespace=where, password_file=password) as queue:
            queue.enqueue("a")
        monkeypatch.setenv("SEATLINE_USER", user)
        monkeypatch.setenv("SEATLINE_PASSWORD_FILE", str(file))
        with Queue(logins.server.tcp_url, namespace=logins.namespace) as queue:
            assert len(list(queue.jobs())) == 2
            assert PASSWORD not in repr(queue.settings) + repr(queue)

    def test_q18_asyncio_reads_it_too(self, logins: Logins, file: Path) -> None:
        async def main() -> None:
            user = user_name(logins.namespace, "producer")
            async with AsyncQueue(
                logins.server.url, namespace=logins.namespace, user=user, password_file=str(file)
            ) as queue:
                await queue.enqueue("a")

        asyncio.run(main())

    def test_q18_hooks_have_it_too(self, logins: Logins, file: Path) -> None:
        """A hook's own queue (C9) logs in as its worker does."""
        handlers = Handlers()
        ran: list[str] = []

        @handlers.on_startup
        def start(ctx: object) -> None:
            ran.append(ctx.enqueue("a").id)  # type: ignore[attr-defined]

        @handlers.handler("a")
        def a(ctx: object) -> None: ...

        user = user_name(logins.namespace, "worker")
        worker = Worker(handlers, logins.server.url, namespace=logins.namespace, user=user, password_file=str(file))
        assert worker.run(burst=True).succeeded == 1
        assert len(ran) == 1

    def test_q18_a_new_password_is_read_at_the_next_connection(self, logins: Logins, file: Path, redis: Redis) -> None:
        user = user_name(logins.namespace, "producer")
        with Queue(logins.server.url, namespace=logins.namespace, user=user, password_file=str(file)) as queue:
            queue.enqueue("a")
            new = hashlib.sha256(b"another-password").hexdigest()
            old = hashlib.sha256(PASSWORD.encode()).hexdigest()
            send(redis, "ACL", "SETUSER", user, f"#{new}", f"!{old}")
            queue.enqueue("a")  # who is logged in stays so
            queue.store.hang_up()
            with pytest.raises(LoginRefused) as refused:
                queue.enqueue("a")
            assert PASSWORD not in str(refused.value)
            file.write_text("another-password")
            queue.enqueue("a")

    @pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe\xff"])
    def test_q18_a_bad_file_is_told(self, content: bytes | None, logins: Logins, tmp_path: Path) -> None:
        path = tmp_path / "bad"
        if content is not None:
            path.write_bytes(content)
        with (
            Queue(logins.server.url, namespace=logins.namespace, user="x", password_file=str(path)) as queue,
            pytest.raises(LoginRefused, match=r"password_file: \S+bad (cannot be read|has no password)"),
        ):
            queue.enqueue("a")

    def test_q18_two_logins_are_refused(self, logins: Logins, file: Path) -> None:
        with pytest.raises(InvalidInput, match="user: 'x' is to log in, and the URL names a login of its own"):
            Queue(logins.url("producer"), user="x")
        with pytest.raises(InvalidInput, match="password_file: the URL has a password too"), Queue(
            logins.url("producer"), namespace=logins.namespace, password_file=str(file)
        ) as queue:  # fmt: skip
            queue.enqueue("a")


def test_q18_a_login_that_is_changed_while_it_is_used(logins: Logins, queue_of: QueueOf, redis: Redis) -> None:
    """Q18: rights are taken away and given back under a running client; it is told, and goes on."""
    producer = queue_of(logins, "producer")
    producer.enqueue("a")
    user = user_name(logins.namespace, "producer")
    send(redis, "ACL", "SETUSER", user, "-evalsha")
    with pytest.raises(NotAllowed):
        producer.enqueue("a")
    send(redis, "ACL", "SETUSER", user, f"+evalsha|{script('submit').sha}")
    producer.enqueue("a")
