"""What no role's login can do by hand, past all of Seatline: the server says no, and nothing has changed (Q18)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.snapshot import exact
from harness.server import RealServer
from redis import Redis, exceptions

from roles.conftest import Logins, send
from seatline.producer import Queue
from seatline.shared.errors import NotAllowed
from seatline.shared.roles import ROLES, scripts_of
from seatline.shared.scripts import names, script

#: A text that is none of ours, with which a login would take what it may not have.
FOREIGN = "return redis.call('HSET', KEYS[1], 'capacity', '1000')"


class Place:
    """A namespace with a pool, a job and an order, another one beside it, and a raw client of each role."""

    def __init__(self, server: RealServer, admin: Redis, namespace: str, other: str, logins: Logins) -> None:
        self.server, self.admin, self.namespace, self.other, self.logins = server, admin, namespace, other, logins
        for name in (namespace, other):
            with Queue(server.url, namespace=name) as queue:
                queue.pools.set("vault", 2)
                queue.enqueue("drawing.publish", {"file": "a.dwg"}, uses={"vault": 1})
        for name in names():
            admin.script_load(script(name).text)
        self.foreign: str = admin.script_load(FOREIGN)

    def key(self, name: str, *, other: bool = False) -> str:
        return f"{{{self.other if other else self.namespace}}}:{name}"

    def state(self) -> Any:
        return exact(self.admin, self.namespace), exact(self.admin, self.other), self.admin.acl_list()


@pytest.fixture
def place(server: RealServer, redis: Redis, namespace: str, new_namespace: Callable[[], str], logins: Logins) -> Place:
    return Place(server, redis, namespace, new_namespace(), logins)


@pytest.fixture
def as_role(place: Place) -> Iterator[Callable[[str], Redis]]:
    with contextlib.ExitStack() as clients:
        yield lambda role: clients.enter_context(contextlib.closing(place.logins.client(role)))


#: What everybody is refused: words, with ``pool`` for the key of the namespace's own pool, ``other`` and ``theirs`` for keys
#: of the other namespace, ``foreign`` for the digest of the foreign script.
NOBODY: list[tuple[str, ...]] = [
    ("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", "0", "1"), ("KEYS", "*"), ("RANDOMKEY",), ("DBSIZE",),
    ("CONFIG", "GET", "*"), ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "REWRITE"), ("CONFIG", "RESETSTAT"),
    ("SHUTDOWN", "NOSAVE"), ("SAVE",), ("BGSAVE",), ("BGREWRITEAOF",), ("REPLICAOF", "NO", "ONE"),
    ("ACL", "LIST"), ("ACL", "WHOAMI"), ("ACL", "SETUSER", "mallory", "on", "nopass", "+@all", "~*"),
    ("ACL", "GETUSER", "default"),
    ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "PAUSE", "1"), ("MONITOR",), ("SLOWLOG", "GET"),
    ("EVAL", "return 1", "0"), ("EVAL_RO", "return 1", "0"), ("EVAL", FOREIGN, "1", "pool"),
    ("EVALSHA", "foreign", "1", "pool"), ("EVALSHA", "foreign", "1", "theirs"), ("EVALSHA_RO", "foreign", "1", "pool"),
    ("SCRIPT", "FLUSH"), ("SCRIPT", "KILL"), ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('f', function() end)"),
    ("FUNCTION", "FLUSH"), ("FCALL", "f", "0"), ("MODULE", "LIST"), ("COMMAND", "COUNT"), ("LATENCY", "RESET"),
    ("GET", "theirs"), ("HGETALL", "theirs"), ("HSET", "theirs", "capacity", "9"), ("DEL", "theirs"), ("TYPE", "theirs"),
    ("ZUNION", "2", "mine", "other"), ("MGET", "mine", "other"), ("SET", "stray", "1"), ("GET", "stray"),
    ("RENAME", "mine", "pool"), ("COPY", "mine", "pool"), ("RESTORE", "pool", "0", "x"), ("DUMP", "pool"),
    ("MOVE", "mine", "1"),
    ("SORT", "mine", "STORE", "pool"), ("MIGRATE", "h", "1", "mine", "0", "1"), ("OBJECT", "FREQ", "theirs"),
    ("SUBSCRIBE", "news"), ("PUBLISH", "news", "1"), ("SELECT", "1"), ("WAIT", "0", "1"), ("XREAD", "STREAMS", "theirs", "0"),
]  # fmt: skip

#: What all but an admin are refused besides.
NO_ADMIN: list[tuple[str, ...]] = [
    ("HSET", "pool", "capacity", "1000"), ("HINCRBY", "pool", "capacity", "1"), ("HDEL", "pool", "external"), ("DEL", "pool"),
    ("PEXPIRE", "pool", "1"), ("SADD", "pools", "mine"), ("SET", "paused", "1"), ("SADD", "triggers", "e"),
    ("SADD", "chains", "c"),
]  # fmt: skip

#: What producers are refused besides.
NO_WORKER: list[tuple[str, ...]] = [
    ("ZADD", "sessions", "9999999999999", "job:1:x|1"), ("ZREM", "sessions", "x"), ("SET", "in_use", "0"),
    ("DEL", "in_use"), ("SET", "refused", "x"), ("ZADD", "programs", "1", "x"), ("HSET", "chain", "stopped", "1"),
    ("HSET", "worker", "bell", "x"), ("ZADD", "workers", "1", "w"), ("SET", "alarm", "w"), ("SET", "offer", "x"),
]  # fmt: skip

#: What viewers are refused besides: everything that writes.
NO_WRITER: list[tuple[str, ...]] = [
    ("HSET", "mine", "priority", "1"), ("DEL", "mine"), ("ZADD", "ready", "1", "x"), ("SET", "seq", "9"),
    ("INCRBY", "seq", "1"),
    ("XADD", "events", "*", "a", "b"), ("BLPOP", "bell", "0.01"), ("RPUSH", "bell", "x"), ("PEXPIRE", "mine", "1"),
    ("SCRIPT", "LOAD", "return 1"), ("SCRIPT", "EXISTS", "foreign"),
]  # fmt: skip
FORBIDDEN = {
    "viewer": NOBODY + NO_ADMIN + NO_WORKER + NO_WRITER,
    "producer": NOBODY + NO_ADMIN + NO_WORKER,
    "worker": NOBODY + NO_ADMIN,
    "admin": NOBODY,
}


def filled(place: Place, words: tuple[str, ...]) -> list[str]:
    known = {
        "pool": place.key("pool:vault"), "mine": place.key("job:0000000000000001"), "pools": place.key("pools"),
        "theirs": place.key("pool:vault", other=True), "other": place.key("about", other=True), "foreign": place.foreign,
        "sessions": place.key("pool:vault:sessions"), "in_use": place.key("pool:vault:in_use"),
        "refused": place.key("pool:vault:refused"), "programs": place.key("programs"), "chain": place.key("chain:release"),
        "worker": place.key("worker:w"), "workers": place.key("workers"), "alarm": place.key("alarm"),
        "offer": place.key("offer:0ff1ce"), "paused": place.key("paused"), "triggers": place.key("triggers"),
        "chains": place.key("chains"), "ready": place.key("ready:drawing.publish"), "seq": place.key("seq"),
        "events": place.key("events"), "bell": place.key("bell:b"), "stray": "stray",
    }  # fmt: skip
    return [words[0], *(known.get(word, word) for word in words[1:])]


@pytest.mark.parametrize("role", ROLES)
def test_q18_by_hand(role: str, place: Place, as_role: Callable[[str], Redis]) -> None:
    """Q18: each of these is refused as forbidden, not as a mistake, and nothing has changed in the end."""
    client, before = as_role(role), place.state()
    for words in FORBIDDEN[role]:
        with pytest.raises(exceptions.NoPermissionError):
            send(client, *filled(place, words))
    assert client.ping()
    assert place.state() == before


def test_q18_debug(private_server: Callable[..., RealServer], logins_at: Callable[..., Logins], namespace: str) -> None:
    """Q18: DEBUG is refused even where the server allows it at all."""
    logins = logins_at(private_server(config=["enable-debug-command yes"]), namespace)
    for role in ROLES:
        with contextlib.closing(logins.client(role)) as client, pytest.raises(exceptions.NoPermissionError):
            send(client, "DEBUG", "SLEEP", "0")


@pytest.mark.parametrize("role", ROLES)
def test_q18_scripts_of_others(role: str, place: Place, as_role: Callable[[str], Redis]) -> None:
    """Q18: of all that is loaded a login runs its own scripts, even with the right keys in hand."""
    client, before = as_role(role), place.state()
    for name in set(names()) - set(scripts_of(role)):
        with pytest.raises(exceptions.NoPermissionError):
            client.evalsha(script(name).sha, 2, place.key("about"), place.key("lane:x:1"), "1", "d")
    assert place.state() == before


@pytest.mark.parametrize("role", ["producer", "worker", "admin"])
def test_q18_a_text_that_was_loaded_by_oneself(role: str, place: Place, as_role: Callable[[str], Redis]) -> None:
    """Q18: loading is no harm: what is none of Seatline's is not run, on whatever keys."""
    client, before = as_role(role), place.state()
    sha = client.script_load("return redis.call('DEL', KEYS[1])")
    for keys in ([], [place.key("about")], [place.key("pool:vault")]):
        with pytest.raises(exceptions.NoPermissionError):
            client.evalsha(sha, len(keys), *keys)
    assert place.state() == before


@pytest.mark.parametrize("role", ["producer", "worker", "admin"])
def test_q18_a_script_of_seatline_on_keys_of_others(role: str, place: Place, as_role: Callable[[str], Redis]) -> None:
    """Q18: the prefix comes from a key that is given, and that must be the login's own."""
    client, before = as_role(role), place.state()
    for name in scripts_of(role):
        with pytest.raises(exceptions.NoPermissionError):
            client.evalsha(script(name).sha, 2, place.key("about", other=True), place.key("lane:x:1"), "1", "d")
    assert place.state() == before


def test_q18_a_worker_raises_no_pool(place: Place, as_role: Callable[[str], Redis]) -> None:
    """Q18: not through Seatline, not by the script itself, not by hand; what workers report of it stands elsewhere."""
    with Queue(place.logins.url("worker"), namespace=place.namespace) as queue:
        for change in (
            lambda: queue.pools.set("vault", 99),
            lambda: queue.pools.external("vault", 0, ttl=60),
            lambda: queue.pools.remove("vault"),
        ):
            with pytest.raises(NotAllowed, match=r"user \S+-worker may not set pools \(script pool_"):
                change()
        assert queue.pools["vault"].capacity == 2
        queue.enqueue("drawing.publish")  # a refusal has cost the connection nothing
    with pytest.raises(exceptions.NoPermissionError):
        as_role("worker").hset(place.key("pool:vault"), "capacity", "99")


def test_q18_what_a_producer_can_spoil_by_hand(place: Place, as_role: Callable[[str], Redis]) -> None:
    """Q18: the limits that docs/security.md tells, shown: a right that a script needs is a right that a hand has."""
    client = as_role("producer")
    assert client.hset(place.key("job:0000000000000001"), "title", "forged") == 1
    assert client.xadd(place.key("events"), {"a": "b"}, maxlen=0, approximate=False)
    assert client.xlen(place.key("events")) == 0
    assert client.hdel(place.key("about"), "closed") == 0


def test_q18_databases(
    private_server: Callable[..., RealServer], logins_at: Callable[..., Logins], namespace: str
) -> None:
    """Q18: in another database the same namespace is another one; Valkey 9.1 keeps a login out of it."""
    server = private_server()
    logins = logins_at(server, namespace, database=3)
    with Queue(server.tcp_url.replace("/0", "/3"), namespace=namespace) as queue:
        queue.pools.set("vault", 1)
    with Queue(logins.url("viewer").replace("/0", "/3"), namespace=namespace) as queue:
        assert queue.pools["vault"].capacity == 1
    with contextlib.closing(server.client()) as admin, Queue(logins.url("viewer"), namespace=namespace) as elsewhere:
        if "valkey_version" in admin.info("server"):
            with pytest.raises(NotAllowed):
                elsewhere.pools.list()
        else:
            assert elsewhere.pools.list() == []
