"""What a producer or a worker may be given: rule R4, and R6 for what comes back. Nothing bad reaches the server."""

from __future__ import annotations

import ast
import datetime as dt
import enum
import math
import pickle
import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, cast
from uuid import UUID

import msgpack
import pytest
from redis import Redis

from seatline.producer import Job, Queue
from seatline.shared.codec import pack_value, unpack_value
from seatline.shared.errors import InvalidInput, JobFailed, PayloadError
from seatline.worker import Context, Handlers, Worker

ROOT = Path(__file__).parents[2]
NAME = "1 to 128 of A-Z a-z 0-9 . _ -"
BAD_NAMES: list[Any] = ["", "a b", "-a", ".a", "a/b", "ä", "a\n", "a:b", "a|b", "a{b", "x" * 129]
BAD_NAMES += [None, 5, b"a", ["a"], {}]
NAMED = enum.Enum("NAMED", "ONE")
Point = namedtuple("Point", "x y")  # noqa: PYI024 - what callers have

Burst = Callable[..., Worker]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def circle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


def shown(value: object) -> str:
    """Return a value as a part of a test's name: without an address, which no two processes share."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))[:40]


def refused(call: Callable[[], Any], argument: str, *words: str) -> None:
    """Assert that the call is refused with an error that names the argument first, and says all the words."""
    with pytest.raises(InvalidInput) as caught:
        call()
    message = str(caught.value)
    assert message.startswith(argument), message
    missing = [word for word in words if word not in message]
    assert not missing, f"{message!r} does not say {missing}"
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 2


BAD_JOBS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    *(("type", {"type": name}, (NAME,)) for name in BAD_NAMES),
    *(("tenant", {"tenant": name}, (NAME,)) for name in BAD_NAMES if name is not None),
    *(("token", {"token": name}, (NAME,)) for name in BAD_NAMES if name is not None),
    *(("uses", {"uses": {name: 1}}, (NAME,)) for name in ("", "a b", "a=1", "a,b", None, 5)),
    *(
        ("uses", {"uses": {"vault": n}}, ("vault", "from 1 to 1,000,000"))
        for n in (0, -1, 1.0, True, "1", 1_000_001, None)
    ),
    *(("uses", {"uses": value}, ('{"vault": 1}',)) for value in ("vault", ["vault"], 1)),
    ("uses", {"uses": {f"p{n}": 1 for n in range(17)}}, ("17", "limit of 16")),
    *(("priority", {"priority": n}, ("from 1", "9,007,199,254,740,991")) for n in (0, True, 1.5, 2**53, "high")),
    *(("title", {"title": title}, ("one line of 1 to 200",)) for title in ("", "a\nb", "x" * 201, 5, "\x07")),
    *(("tags", {"tags": tags}, ("16 names",)) for tags in ("red", [f"t{n}" for n in range(17)], 5, True)),
    *(("tags", {"tags": [tag]}, ("A-Z a-z 0-9 . _ - :",)) for tag in ("a b", "", "ä", 5, None)),
    ("at, delay", {"at": dt.datetime.now(dt.UTC), "delay": 1}, ("not both",)),
    *(("at", {"at": at}, ("time zone",)) for at in (dt.datetime(2030, 1, 1), "tomorrow", 1_900_000_000)),  # noqa: DTZ001
    *(
        ("delay", {"delay": delay}, ("seconds from 0 to ten years",))
        for delay in (-1, -0.001, math.nan, math.inf, "1", True, dt.timedelta(seconds=-1), 11 * 366 * 86400)
    ),
    *(
        ("result_ttl", {"result_ttl": ttl}, ("seconds from 1 to a year",))
        for ttl in (0, 0.5, -1, True, "1", math.nan, 10**9)
    ),
    *(("params", {"params": params}, ("mapping",)) for params in ([("a", 1)], "a", 5, b"a")),
    ("params", {"params": {"a": "x" * 256 * 1024}}, ("262,1", "262,144", "pass its path")),
    ("params", {"params": {"a": nested(64)}}, ("64 levels", "Flatten it")),
    ("params", {"params": circle()}, ("64 levels",)),
    *(
        ("params['a']", {"params": {"a": value}}, ("cannot be stored", "Use plain values"))
        for value in (object(), len, Context, NAMED.ONE, 1j, OrderedDict(b=1), Point(1, 2))
    ),
    ("params['a'][1]", {"params": {"a": [1, {1j}]}}, ("complex", "Use plain values")),
    *(("params", {"params": params}, ("keys must be text",)) for params in ({1: 2}, {"a": {None: 1}}, {b"a": 1})),
    *(("params", {"params": params}, ("not Unicode", "as bytes")) for params in ({"a": "\ud800"}, {"\ud800": 1})),
]


@pytest.mark.parametrize(("argument", "words", "says"), BAD_JOBS, ids=shown)
def test_r4_a_bad_job_is_refused_before_anything_is_sent(
    queue: Queue, redis: Redis, argument: str, words: dict[str, Any], says: tuple[str, ...]
) -> None:
    """R4: refused at the edge, alone or in bulk, with the argument's name, the limit and the way out."""
    words = {"type": "a", **words}
    refused(lambda: queue.enqueue(**words), argument, *says)
    refused(lambda: queue.enqueue_many([Job(**words)]), argument, *says)
    assert redis.dbsize() == 0


def test_r4_the_largest_of_everything_is_accepted(queue: Queue, burst: Burst) -> None:
    """R4: a limit is a limit and not one less: the largest values are stored, handed to the handler and come back."""
    name = "x" * 128
    packed = len(msgpack.packb({"deep": nested(63), "wide": ""})) + 4  # the length of long text takes 4 bytes more
    params = {"deep": nested(63), "wide": "w" * (256 * 1024 - packed)}
    job = Job(
        name, params, priority=2**53 - 1, uses={f"p{n}": 1_000_000 for n in range(16)}, tenant=name, title="t" * 200,
        tags=["a:b", *(f"t{n}" for n in range(15))], token=name, result_ttl=366 * 86400, delay=dt.timedelta(0),
    )  # fmt: skip
    (job_id,) = queue.enqueue_many([job])
    with pytest.raises(InvalidInput, match="params: 262,145 bytes are more than the limit of 262,144"):
        queue.enqueue("a", {**params, "wide": params["wide"] + "w"})
    record = queue.job(job_id)
    assert (record.state, record.type, record.tenant, record.token, len(record.tags)) == ("ready", name, name, name, 16)
    assert (record.priority, record.uses, record.title) == (2**53 - 1, dict(job.uses or {}), "t" * 200)
    for n in range(16):
        queue.pools.set(f"p{n}", 1_000_000)
    handlers, given = Handlers(), list[Any]()

    @handlers.handler(name)
    def keep(ctx: Context, **params: Any) -> None:
        given.append(params)

    burst(handlers)
    assert given == [params]


def test_r4_every_kind_that_is_allowed_survives_the_journey(queue: Queue, burst: Burst) -> None:
    """R4: values of the kinds that are named travel to the handler and back, with type and value."""
    moment = dt.datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
    params: dict[str, Any] = {
        "plain": [None, True, False, 1.5, -0.0, math.inf, "", "ä\0\U0001f600", b"\0"],
        "whole": [0, -1, 2**63, -(2**63), 2**64, 10**40],
        "times": [moment, moment.replace(tzinfo=None), moment.date(), moment.time(), dt.timedelta(-1, 2, 3)],
        "others": [UUID(int=7), Decimal("1.10"), PurePosixPath("/a b/c"), {1, 2}, (1, (2,)), frozenset({"x"}), [], {}],
        "two words": {"": {"nested": [{"a": 1}]}},
    }
    handlers = Handlers()

    @handlers.handler("echo")
    def echo(ctx: Context, **params: Any) -> Any:
        return params

    handle = queue.enqueue("echo", params)
    burst(handlers)
    result = handle.result(timeout=1)
    assert result == params == handle.record().params
    assert repr(result) == repr(params), "the types"


BAD_CALLS: list[tuple[str, Callable[[Queue], Any], tuple[str, ...]]] = [
    *(("id", lambda q, v=value: q.job(v), ("42",)) for value in ("", "abc", -1, 1.5, "1" * 17, True, None, "\u0661")),
    ("id", lambda q: q.handle("x"), ("42",)),
    ("state", lambda q: q.jobs(state="done"), ("succeeded", "interrupted")),
    ("type", lambda q: q.jobs(type="a b"), (NAME,)),
    ("limit", lambda q: q.jobs(limit=-1), ("less than 0",)),
    ("token", lambda q: q.find("a b"), (NAME,)),
    ("type", lambda q: q.pause(""), (NAME,)),
    ("type", lambda q: q.resume("a b"), (NAME,)),
    ("jobs", lambda q: q.enqueue_many(cast("list[Job]", ["a"])), ("Job(type, params",)),
    *(("pool", lambda q, v=name: q.pools.set(v, 1), (NAME,)) for name in BAD_NAMES),
    *(
        ("capacity", lambda q, v=n: q.pools.set("p", v), ("from 0 to 1,000,000",))
        for n in (-1, 1.0, True, "1", 10**6 + 1)
    ),
    ("keep, keep_priority", lambda q: q.pools.set("p", 1, keep=1), ("both",)),
    ("keep", lambda q: q.pools.set("p", 1, keep=-1, keep_priority=1), ("from 0",)),
    ("keep_priority", lambda q: q.pools.set("p", 1, keep=1, keep_priority=0), ("from 1",)),
    ("pool", lambda q: q.pools["a b"], (NAME,)),
    ("pool", lambda q: q.pools.remove("a b"), (NAME,)),
    ("pool", lambda q: q.pools.external("a b", 1), (NAME,)),
    ("seats", lambda q: q.pools.external("p", -1), ("from 0",)),
    *(
        ("ttl", lambda q, v=ttl: q.pools.external("p", 1, ttl=v), ("seconds from 1",))
        for ttl in (0, math.nan, "x", None)
    ),
    ("pool", lambda q: q.pools.session("a b"), (NAME,)),
    ("seats", lambda q: q.pools.session("p", 0), ("from 1",)),
    *(("ttl", lambda q, v=ttl: q.pools.session("p", ttl=v), ("seconds from 1",)) for ttl in (0, math.nan, "x")),
    ("priority", lambda q: q.pools.session("p", priority=0), ("from 1",)),
    ("name", lambda q: q.pools.session("p", name="a b"), (NAME,)),
]


@pytest.mark.parametrize(("argument", "call", "says"), BAD_CALLS, ids=shown)
def test_r4_a_bad_question_or_setting_is_refused(
    queue: Queue, redis: Redis, argument: str, call: Callable[[Queue], Any], says: tuple[str, ...]
) -> None:
    """R4: ids, states, names and numbers of the other verbs are checked at the edge too; nothing is stored."""
    refused(lambda: call(queue), argument, *says)
    assert redis.dbsize() == 0


@pytest.mark.parametrize(
    ("argument", "options", "says"),
    [
        *(("namespace", {"namespace": name}, (NAME,)) for name in BAD_NAMES if name is not None),
        ("tenant", {"tenant": "a b"}, (NAME,)),
        *(("lease", {"lease": value}, ("0.3 to 86400.0 seconds",)) for value in (0.1, -1, math.nan, 1e9)),
        *(("timeout", {"timeout": value}, ("seconds",)) for value in (0, "soon", math.inf)),
        ("deadline", {"deadline": -1}, ("0.0 to 300.0 seconds",)),
        ("grace", {"grace": -1}, ("seconds",)),
        ("renew", {"lease": 10, "renew": 6}, ("at most half the lease",)),
        ("renew", {"renew": -1}, ("more than 0",)),
        ("unknown setting: leese", {"leese": 1}, ()),
    ],
    ids=shown,
)
def test_r4_bad_settings_are_refused(
    redis: Redis, namespace: str, argument: str, options: dict[str, Any], says: tuple[str, ...]
) -> None:
    """R4: a queue and a worker with a bad setting are not made; the error names the option and its limits."""
    words = {"namespace": namespace, **options}
    refused(lambda: Queue("redis://127.0.0.1:1", **words), argument, *says)
    if "tenant" not in options:
        handlers = Handlers()
        handlers.handler("a")(lambda _ctx: None)
        refused(lambda: Worker(handlers, "redis://127.0.0.1:1", **words), argument, *says)
    assert redis.dbsize() == 0


def test_r4_a_variable_is_named_when_it_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """R4: settings from the environment are checked like arguments."""
    monkeypatch.setenv("SEATLINE_DEADLINE", "soon")
    refused(lambda: Queue("redis://127.0.0.1:1"), "SEATLINE_DEADLINE", "'soon'", "seconds")


def test_r4_a_worker_and_its_handlers_are_checked() -> None:
    """R4: slots, types, seats and if_lost are refused where they are declared."""
    for name in BAD_NAMES:
        refused(lambda name=name: Handlers().handler(name), "type", NAME)  # type: ignore[misc]
    for uses in ({"vault": 0}, {"a b": 1}, "vault"):
        refused(lambda uses=uses: Handlers().handler("a", uses=uses), "uses")  # type: ignore[misc]
    refused(lambda: Handlers().handler("a", if_lost="retry"), "if_lost", "'interrupt'", "'rerun'")  # type: ignore[call-overload]
    handlers = Handlers()
    handlers.handler("a")(lambda _ctx: None)
    bad: list[Any] = [0, 257, -1, True, 1.5, "4", None]
    for slots in bad:
        refused(lambda slots=slots: Worker(handlers, "redis://h", slots=slots), "slots", "1 to 256")  # type: ignore[misc]
    refused(lambda: Worker(Handlers(), "redis://h"), "handlers", "@handlers.handler")
    refused(lambda: Worker(handlers, "redis://h", types="a"), "types", "list")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "result: a builtins.object cannot be stored"),
        ({"a": nested(64)}, "64 levels"),
        (b"x" * (8 * 1024 * 1024), "8,388,613 bytes are more than the limit of 8,388,608"),
        ("\ud800", "not Unicode"),
    ],
    ids=["kind", "deep", "large", "text"],
)
def test_r4_a_result_that_cannot_be_stored_fails_its_job(queue: Queue, burst: Burst, value: Any, says: str) -> None:
    """R4: the job fails with an error that names the result and the limit; the worker goes on."""
    handlers = Handlers()
    handlers.handler("bad")(lambda _ctx: value)
    handlers.handler("good")(lambda _ctx: 1)
    bad, good = queue.enqueue("bad"), queue.enqueue("good")
    burst(handlers)
    record = bad.record()
    assert (record.state, record.error_type, record.result) == ("failed", "InvalidInput", None)
    assert (record.error or "").startswith("result")
    assert says in (record.error or "")
    assert good.result(timeout=1) == 1


def test_r4_an_error_too_long_to_keep_is_cut_with_a_note(queue: Queue, burst: Burst) -> None:
    """R4: a message of a megabyte and a broken one cost their job a cut text, and the worker nothing."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    handlers = Handlers()

    @handlers.handler("long")
    def long(ctx: Context) -> None:
        raise ValueError("x" * 1_000_000 + "\ud800")

    @handlers.handler("broken")
    def broken(ctx: Context) -> None:
        raise Broken

    first, second = queue.enqueue("long"), queue.enqueue("broken")
    burst(handlers)
    record = first.record()
    assert record.state == "failed"
    assert len(record.error or "") == 2000
    assert len(record.traceback or "") < 17_000
    assert "characters cut" in (record.traceback or "")
    assert "its message cannot be shown" in (second.record().error or "")


class Weapon:
    """Pickled, it would make a file when it is read back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_r6_what_is_pickled_stays_bytes(queue: Queue, burst: Burst, tmp_path: Path) -> None:
    """R6: pickled bytes in params and results are bytes to everybody who reads them."""
    data = pickle.dumps(Weapon(tmp_path / "struck"))
    handlers = Handlers()
    handlers.handler("echo")(lambda _ctx, data: data)
    handle = queue.enqueue("echo", {"data": data})
    burst(handlers)
    assert handle.result(timeout=1) == data
    assert handle.record().params == {"data": data}
    assert not (tmp_path / "struck").exists()
    pickle.loads(data)
    assert (tmp_path / "struck").exists(), "the weapon was dull"


def test_r6_no_floor_imports_what_could_unpickle() -> None:
    """R6: no source of the four floors imports a module that rebuilds objects from bytes, or evaluates text."""
    forbidden = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml"}
    seen = 0
    for floor in ("shared", "producer", "worker", "console"):
        for path in (ROOT / floor).rglob("*.py"):
            seen += 1
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not forbidden & {name.split(".")[0] for name in names}, f"{path} imports {names}"
                called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
                assert called not in {"eval", "exec"}, f"{path} calls {called}"
    assert seen > 20


def test_r6_an_error_is_told_by_name_and_never_rebuilt(queue: Queue, burst: Burst) -> None:
    """R6: whatever a handler raised, result() raises JobFailed; the remote type is a text in it."""
    handlers = Handlers()

    @handlers.handler("a")
    def interrupt(ctx: Context) -> None:
        raise KeyboardInterrupt("pressed")  # were it rebuilt here, it would end the producer

    handle = queue.enqueue("a")
    burst(handlers)
    with pytest.raises(JobFailed) as caught:
        handle.result(timeout=1)
    assert type(caught.value) is JobFailed
    assert caught.value.error_type == "KeyboardInterrupt"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "stored",
    [b"", b"\xc1", b"\x81", msgpack.packb([1]), b"\x81\xa1n\xd4\x4dx", b"cos\nsystem\n(."],
    ids=["empty", "no msgpack", "cut", "no mapping", "unknown kind", "a pickle"],
)
def test_r6_bytes_that_cannot_be_read_fail_the_job_and_not_the_worker(
    queue: Queue, burst: Burst, redis: Redis, namespace: str, stored: bytes
) -> None:
    """R6: params that something else wrote or damaged fail their job; the worker goes on with the next."""
    handlers = Handlers()
    handlers.handler("a")(lambda _ctx, **params: params)
    bad, good = queue.enqueue("a"), queue.enqueue("a")
    redis.hset(f"{{{namespace}}}:job:{bad.id}", "params", stored)
    burst(handlers)
    assert (bad.state(), good.state()) == ("failed", "succeeded")
    assert bad.record().error_type in {"PayloadError", "InvalidInput"}


def test_r6_the_kinds_are_a_closed_list() -> None:
    """R6: a kind that is not on the list cannot be written, and its bytes cannot be read."""
    with pytest.raises(InvalidInput):
        pack_value("value", Weapon(Path("x")))
    for code in (0, 12, 77, 127):
        with pytest.raises(PayloadError, match=f"extension {code} is not one of Seatline's"):
            unpack_value(msgpack.packb(msgpack.ExtType(code, b"")))
    for code in range(1, 12):
        with pytest.raises(PayloadError):
            unpack_value(msgpack.packb(msgpack.ExtType(code, b"\xff")))
