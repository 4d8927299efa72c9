"""Expansion (O14): a worker takes the list from a step's params and stores its elements; no handler is called.

The jobs are made by hand, as the scripts hand them over, and run through the crew of a worker.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import Queue
from seatline.shared.calls.workers import Report, Taken
from seatline.shared.chain import Chain, Step
from seatline.shared.codec import pack_params, pack_value, pieces, unpack_value
from seatline.shared.keys import Keys
from seatline.worker import Context, Handlers, Retry, Worker
from seatline.worker.context import Hold
from seatline.worker.expansion import BITE, BITE_BYTES, ELEMENTS_MOST, _bites
from seatline.worker.loop import Task

NAMESPACE: Final = "expansion"
TOKEN: Final = "w1:1"
ELEMENTS: Final = f"{{{NAMESPACE}}}:order:R-7:each:scan"


def handlers(kind: str = "thread") -> Handlers:
    """Return handlers none of which may be called."""
    made = Handlers()

    def scan(ctx: Context, **_: Any) -> None:
        raise AssertionError("it was called")

    if kind == "shell":
        made.shell("scan", ["false"], retry=Retry())
    elif kind == "async":

        @made.handler("scan", retry=Retry())
        async def scan_async(ctx: Context, **_: Any) -> None:
            raise AssertionError("it was called")

    else:
        isolation: Any = kind
        made.handler("scan", isolation=isolation, retry=Retry())(scan)
    return made


class Bench:
    """The crew of a worker; the jobs it is given are held by it, as far as the server knows."""

    def __init__(self, redis: Redis, url: str, kind: str) -> None:
        self.worker = Worker(handlers(kind), url, namespace=NAMESPACE, lease=30)
        self.crew = self.worker._crew
        self.redis, self.ids = redis, itertools.count(1)

    def take(
        self,
        params: Mapping[str, Any] | None,
        outputs: Mapping[str, Any] | None = None,
        *,
        token: str = TOKEN,
        **fields: str,
    ) -> Taken:
        """Make a job that the server believes to be held under ``token``."""
        job_id = f"{next(self.ids):016}"
        record: dict[Any, Any] = {
            "type": "scan",
            "state": "running",
            "token": token,
            "order": "R-7",
            "chain": "c",
            "step": "scan",
        }
        record |= {"expand": "files", "item": "file", **fields}
        self.redis.hset(Keys(NAMESPACE).job(job_id), mapping=record)
        order: dict[Any, Any] = {
            "number": job_id,
            "chain": "c",
            "version": 1,
            "state": "running",
            "priority": 10,
            "now": f"scan={job_id}",
        }
        self.redis.hset(Keys(NAMESPACE).order("R-7"), mapping=order)
        words: list[str | bytes] = [word for pair in record.items() for word in pair]
        if params is not None:
            words += pieces("params", pack_params(params))
        for name, value in (outputs or {}).items():
            words += (f"out.{name}", pack_value("output", value))
        flat = [word.encode() if isinstance(word, str) else word for word in words]
        self.crew.turns.held[job_id, TOKEN] = Hold(job_id, TOKEN, self.worker.id)
        return Taken(job_id, TOKEN, 1, flat)

    def work(self, taken: Taken) -> Callable[[], Report]:
        made = self.crew._make(taken)
        assert not isinstance(made, Task), "the loop must not wait for the server"
        return made

    def run(self, params: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None = None, **words: str) -> Report:
        return self.work(self.take(params, outputs, **words))()

    def hold(self, taken: Taken) -> Hold:
        return self.crew.turns.held[taken.id, taken.token]

    @property
    def stored(self) -> tuple[Any, list[Any]]:
        """Base and elements as the order has them."""
        found: dict[bytes, bytes] = self.redis.hgetall(ELEMENTS)  # type: ignore[assignment]
        base = found.pop(b"base", b"")
        elements = [unpack_value(found[b"e.%d" % at]) for at in range(len(found))]
        return unpack_value(base) if base else None, elements


@pytest.fixture
def make(servers: list[RealServer], redis: Redis) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def start(kind: str = "thread", url: str = servers[0].url, redis: Redis = redis) -> Bench:
        made = Bench(redis, url, kind)
        made.crew.fork()
        if kind != "async":  # one whose handlers are all async has no slots; the test waits for the thread itself
            made.crew.start()
        benches.append(made)
        return made

    yield start
    for each in benches:
        each.crew.close()
        each.worker.store.close()


@pytest.mark.parametrize("kind", ["thread", "process", "shell"])
def test_o14_base_and_elements(make: Callable[..., Bench], kind: str) -> None:
    """O14: the list comes out of the merged params; what is left is what all elements have in common."""
    bench = make(kind)
    report = bench.run({"scale": 2, "files": ["old"]}, {"find": {"files": ["a", "b", 3, None]}}, before="find")
    assert (report.outcome, report.fields, report.result, report.error) == ("succeeded", ["count", 4], b"", None)
    assert bench.stored == ({"scale": 2}, ["a", "b", 3, None])


def test_o14_a_tuple_is_a_list(make: Callable[..., Bench]) -> None:
    bench = make()
    assert bench.run({"files": ("a", "b")}).fields == ["count", 2]
    assert bench.stored == ({}, ["a", "b"])


def test_o14_an_empty_list(make: Callable[..., Bench]) -> None:
    bench = make()
    report = bench.run({"files": [], "x": 1})
    assert (report.outcome, report.fields) == ("succeeded", ["count", 0])
    assert bench.stored == ({"x": 1}, [])


def test_o14_as_many_as_there_may_be(make: Callable[..., Bench]) -> None:
    bench = make()
    assert bench.run({"files": list(range(ELEMENTS_MOST))}).fields == ["count", ELEMENTS_MOST]
    assert bench.stored == ({}, list(range(ELEMENTS_MOST)))


@pytest.mark.parametrize("sizes", [[], [0], [1] * BITE, [1] * (BITE + 1), [BITE_BYTES] * 3, [1, 3 * BITE_BYTES, 1, 1]])
def test_o14_bites(sizes: list[int]) -> None:
    """O14: no call has more than 1,000 elements, nor, unless it is one alone, more than 1 MiB of them."""
    elements = [b"x" * size for size in sizes]
    bites = list(_bites(elements))
    assert [start for start, _ in bites] == [sum(len(b) for _, b in bites[:at]) for at in range(len(bites))]
    assert [element for _, bite in bites for element in bite] == elements
    assert all(len(bite) <= BITE and (len(bite) < 2 or sum(map(len, bite)) <= BITE_BYTES) for _, bite in bites)
    assert bites[0][0] == 0, "the first is always made: it has the base"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"x": 1}, "each='files' of step scan: there is no such param (there are: x)."),
        ({"files": "a.dwg"}, "each='files' of step scan: the param is a str, not a list."),
        ({"files": {"a": 1}}, "each='files' of step scan: the param is a dict, not a list."),
        ({"files": [0] * 10_001}, "each='files' of step scan: 10,001 elements are more than the limit of 10,000."),
    ],
    ids=["none", "text", "dict", "too many"],
)
def test_o14_what_is_no_list_fails_the_step(make: Callable[..., Bench], params: dict[str, Any], said: str) -> None:
    """O14: with BadParams, and without another attempt, which would end the same."""
    bench = make()
    report = bench.run(params)
    assert report.outcome == "failed"
    assert report.error
    assert report.error[0] == "BadParams"
    assert report.error[1].startswith(said)
    assert bench.stored == (None, [])


def test_o13_params_that_are_gone(make: Callable[..., Bench]) -> None:
    report = make().run(None)
    assert report.outcome == "failed"
    assert report.error
    assert report.error[0] == "PayloadError"


def test_o14_a_lease_that_was_taken_back(make: Callable[..., Bench]) -> None:
    """O14: what a worker stores that was away changes nothing."""
    bench = make()
    assert bench.run({"files": ["a"]}, token="w2:9").outcome == "abandoned"
    assert bench.stored == (None, [])


@pytest.mark.parametrize(("what", "outcome"), [("cancel", "cancelled"), ("left", "returned"), ("fenced", "returned")])
def test_o14_told_to_stop_before_it_began(make: Callable[..., Bench], what: str, outcome: str) -> None:
    bench = make()
    taken = bench.take({"files": ["a"]})
    bench.hold(taken).say(what)
    assert bench.work(taken)().outcome == outcome
    assert bench.stored == (None, [])


@pytest.mark.parametrize(("what", "outcome"), [("cancel", "cancelled"), ("left", "returned")])
def test_o12_told_to_stop_while_the_server_is_away(
    make: Callable[..., Bench], proxy: FaultProxy, what: str, outcome: str
) -> None:
    """O12: it tries for as long as it holds the job; then nothing is counted, for no handler was called."""
    bench = make(url=proxy.url)
    proxy.cut_before(times=1_000_000)
    taken, reports = bench.take({"files": ["a"]}), list[Report]()
    thread = threading.Thread(target=lambda: reports.append(bench.work(taken)()))
    thread.start()
    wait_until(lambda: proxy.faults.total() > 1, 10)
    bench.hold(taken).say(what)
    thread.join(10)
    assert [report.outcome for report in reports] == [outcome]
    assert bench.stored == (None, [])


def test_o14_a_full_server(
    make: Callable[..., Bench], private_server: Callable[..., RealServer], caplog: pytest.LogCaptureFixture
) -> None:
    """O14: it waits until there is room, as everything does that a worker has to tell."""
    full = private_server()
    with contextlib.closing(full.client()) as client:
        bench = make(url=full.url, redis=client)
        taken, reports = bench.take({"files": ["a"]}), list[Report]()
        client.config_set("maxmemory", 1)
        thread = threading.Thread(target=lambda: reports.append(bench.work(taken)()))
        thread.start()
        wait_until(lambda: "Its list waits." in caplog.text, 10)
        client.config_set("maxmemory", 0)
        thread.join(30)
        assert [report.outcome for report in reports] == ["succeeded"]
        assert bench.stored == ({}, ["a"])


def test_o14_the_same_again_is_the_same(make: Callable[..., Bench]) -> None:
    """O14, R2: killed in between, the next attempt stores it all again."""
    bench = make()
    for _ in range(2):
        assert bench.run({"files": ["a", "b"], "x": 1}).fields == ["count", 2]
        assert bench.stored == ({"x": 1}, ["a", "b"])


def test_o14_a_worker_whose_handlers_are_all_async(make: Callable[..., Bench]) -> None:
    """O14: it has no slots; the loop does not wait for the server, a thread of its own does."""
    bench = make("async")
    taken = bench.take({"files": ["a", "b"]})
    bench.crew.one_by_one = True  # the test takes no turn
    bench.work(taken)
    wait_until(lambda: bench.crew.turns.pending, 10)
    assert bench.stored == ({}, ["a", "b"])
    assert bench.hold(taken).reported


@pytest.mark.parametrize("classic", [False, True], ids=["normal", "classic"])
def test_o14_a_list_from_end_to_end(servers: list[RealServer], classic: bool) -> None:
    """O14: a worker of async handlers alone finds a list, runs each element, and has the results in their order."""
    made = Handlers()

    @made.handler("find")
    async def find(ctx: Context) -> dict[str, Any]:
        return {"files": [f"f{at}" for at in range(300)], "scale": 2}

    @made.handler("scan")
    async def scan(ctx: Context, file: str, scale: int) -> list[Any]:
        assert ctx.order
        return [file, scale, ctx.order.element]

    @made.handler("sum")
    async def add_up(ctx: Context) -> int:
        assert ctx.order
        assert ctx.order.outputs["scan"] == [[f"f{at}", 2, at] for at in range(300)]
        return len(ctx.order.outputs["scan"])

    with Queue(servers[0].url, namespace=NAMESPACE) as queue:
        steps = [Step("find", "find"), Step("scan", "scan", each="files", item="file"), Step("sum", "sum")]
        queue.define(Chain("all", steps))
        order = queue.start("all", {})
        Worker(made, servers[0].url, namespace=NAMESPACE, slots=1 if classic else 4, classic=classic).run(burst=True)
        assert order.state() == "succeeded", order.record()
        assert order.outputs()["sum"] == 300
