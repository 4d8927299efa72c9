"""R1, S2: `seatline verify` sees what is lost, doubled or held twice, and cries no wolf on a live namespace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from console.whole import at, ended, go_on, handlers, mark, one_runs
from harness.server import RealServer
from redis import Redis

from seatline.console.audit import audit
from seatline.console.invariants import broken
from seatline.console.moment import names_of, read_moment
from seatline.console.verify import check_namespace
from seatline.producer import Chain, Job, Queue, Step
from seatline.shared.errors import WrongState
from seatline.worker import Worker


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def running(queue: Queue) -> Iterator[str]:
    """A job that runs with its seat; its id."""
    with one_runs(queue) as job_id:
        yield job_id


def check(queue: Queue) -> list[str]:
    assert queue.settings.url
    return check_namespace(queue.settings.url, queue.settings.namespace)


def test_nothing_is_wrong_with_an_empty_namespace(queue: Queue) -> None:
    assert check(queue) == []


def test_r1_nothing_is_wrong_with_jobs_in_every_place(queue: Queue, running: str) -> None:
    assert check(queue) == []
    assert audit(queue.store, small=0).violations == []


def test_a_look_is_quick(queue: Queue) -> None:
    ended(queue)
    check(queue)
    began = time.perf_counter()
    for _ in range(10):
        check(queue)
    assert (time.perf_counter() - began) / 10 < 0.05  # about 2 ms; a busy machine is given time


Damage = Callable[[Redis, Callable[[str], str], str], object]
#: What is done to the keys (with the id of the running job), and what verify must say.
DAMAGES: dict[str, tuple[Damage, str]] = {
    "a job hash is gone": (lambda r, k, _: r.delete(k("job:" + f"{1:016}")), "I1"),
    "a job left its place": (lambda r, k, _: r.zrem(k("finished:succeeded"), f"{1:016}"), "I1 job 1"),
    "a job is in two places": (lambda r, k, _: r.zadd(k("finished:failed"), {f"{1:016}": 4e12}), "I2 job 1"),
    "an id is nowhere": (lambda r, k, _: r.incr(k("seq")), "R1 ids: 1 ids are nowhere"),
    "an id was never given": (lambda r, k, _: r.decrby(k("seq"), 5), "R1"),
    "another state": (lambda r, k, _: r.hset(k(f"job:{1:016}"), "state", "failed"), "I"),
    "a wrong priority": (lambda r, k, _: r.zadd(k("ready:quick|vault=2"), {f"{7:016}": 4}), "I2 job 7"),
    "a wrong due time": (lambda r, k, _: r.hset(k(f"job:{8:016}"), "due", 1), "I2 job 8"),
    "a wrong end": (lambda r, k, _: r.hset(k(f"job:{2:016}"), "finished", 1), "I2 job 2"),
    "a line nobody looks at": (lambda r, k, _: r.hdel(k("type:quick"), "lines"), "I2 ready:quick|vault=2"),
    "a type not listed": (lambda r, k, _: r.srem(k("types"), "quick"), "I13 type quick"),
    "a token of no job": (lambda r, k, _: r.set(k("token:other"), f"{1:016} 00"), "I13 token other"),
    "a token forgotten": (lambda r, k, _: r.delete(k("token:mine")), "I1 job 6"),
    "a lease without token": (lambda r, k, i: r.hdel(k(f"job:{i}"), "token"), "I4"),
    "a session is gone": (lambda r, k, _: r.delete(k("pool:vault:sessions")), "I3"),
    "a session of nobody": (lambda r, k, i: r.zadd(k("pool:vault:sessions"), {f"job:{i}:old:1:1|1": 9}), "I3"),
    "a session of no program": (lambda r, k, _: r.zadd(k("pool:vault:sessions"), {"program:a:b|1": 9}), "I3"),
    "a program without session": (lambda r, k, _: r.zadd(k("programs"), {"vault|program:a:b|1": 9}), "I3"),
    "not a session at all": (lambda r, k, _: r.zadd(k("pool:vault:sessions"), {"x": 9}), "I3"),
    "a counter that lies": (lambda r, k, _: r.set(k("pool:vault:in_use"), 2, px=60000), "S2 pool vault"),
    "more held than there is": (lambda r, k, _: r.hset(k("pool:vault"), "capacity", 0), "S2 pool vault: more"),
    "a pool not listed": (lambda r, k, _: r.srem(k("pools"), "vault"), "I13 pool vault"),
    "an unknown key": (lambda r, k, _: r.set(k("rubbish"), 1), "I13 rubbish"),
    "a key for ever": (lambda r, k, _: r.set(k("lane:a:1"), 1), "I13 lane:a:1: it has no term"),
    "a job that would expire": (lambda r, k, _: r.expire(k(f"job:{1:016}"), 100), "I13 job:"),
    "an expiry forgotten": (lambda r, k, _: r.zrem(k("expiring"), f"{7:016}"), "I1 job 7: it is not to start after"),
    "another expiry": (lambda r, k, _: r.hset(k(f"job:{8:016}"), "expires", 1), "I1 job 8: it is not to start after"),
    "attempts of no job": (lambda r, k, _: r.rpush(k(f"job:{99:016}:attempts"), "x"), "I13 job:"),
    "history of no job": (lambda r, k, _: r.rpush(k(f"job:{99:016}:history"), "x"), "I13 job:"),
    "another kind of value": (lambda r, k, _: (r.delete(k("types")), r.set(k("types"), 1)), "I13 types"),
    "a schedule nobody fires": (lambda r, k, _: r.zrem(k("schedules"), "hourly"), "T6 schedule hourly: it is not"),
    "a schedule without record": (lambda r, k, _: r.delete(k("schedule:hourly")), "T6 schedule hourly: it is planned"),
    "a paused one that would fire": (lambda r, k, _: r.zadd(k("schedules"), {"paused": 9}), "T6 schedule paused"),
    "a window nobody opens": (lambda r, k, _: r.zrem(k("schedules"), "window:broken"), "T9 type broken"),
    "an order is gone": (lambda r, k, _: r.delete(k("order:a")), "I1 orders:running a: it is there and has no record"),
    "an order left its place": (
        lambda r, k, _: r.zrem(k("orders:running"), "a"),
        "I1 order a: its record says running",
    ),
    "an order is in two places": (
        lambda r, k, _: r.zadd(k("orders:failed"), {"a": 5}),
        "I2 order a: it is in orders:f",
    ),
    "another place in line": (
        lambda r, k, _: r.zadd(k("orders:running"), {"a": 5}),
        "I2 order a: its score in orders:r",
    ),
    "another end": (lambda r, k, _: r.hset(k("order:s"), "finished", 5), "I2 order s: its score in orders:succeeded"),
    "another state of an order": (lambda r, k, _: r.hset(k("order:s"), "state", "failed"), "I2 order s: it is in"),
    "an order nobody counted": (
        lambda r, k, _: (
            r.delete(k("order:s"), k("order:s:data"), k("order:s:history")),
            r.zrem(k("orders:succeeded"), "s"),
        ),
        "R1 ids: 1 ids are nowhere",
    ),
    "an order that cannot be read": (
        lambda r, k, _: r.hdel(k("order:a"), "chain"),
        "O13 order a: its record cannot be",
    ),
    "an order whose job is gone": (
        lambda r, k, _: r.delete(k("job:" + at(r, k, "a"))),
        "O2 order a: it is at step two",
    ),
    "an order whose job says else": (
        lambda r, k, _: r.hset(k("job:" + at(r, k, "a")), "order", "b"),
        "O2 order a: it is at step two with job",
    ),
    "an order whose job has ended": (
        lambda r, k, _: r.hset(k("order:a"), "now", f"two={1:016}"),
        "O2 order a: it is at step two with job 1",
    ),
    "a job of no order": (lambda r, k, _: r.hset(k("order:a"), "now", "two=held"), "O2 job"),
    "a job of a lost order": (lambda r, k, _: r.hset(k("job:" + at(r, k, "a")), "order", "x"), "O13 job"),
    "an order that is nowhere": (
        lambda r, k, _: r.hset(k("order:a"), "now", ""),
        "O2 order a: it is running, and at no",
    ),
    "an ended one that is still somewhere": (lambda r, k, _: r.hset(k("order:s"), "now", "one=held"), "O2 order s"),
    "a place that is none": (lambda r, k, _: r.hset(k("order:a"), "now", "two=away"), "O2 order a: at step two stands"),
    "failed and going on": (lambda r, k, _: r.hset(k("order:a"), "now", "two=failed"), "O4 order a: it has failed"),
    "an order that has not entered": (
        lambda r, k, _: r.zrem(k("chain:flow:started"), "a"),
        "O10 order a: it is running",
    ),
    "an ended one that has": (
        lambda r, k, _: r.zadd(k("chain:ends:started"), {"s": 5}),
        "O10 order s: it is in chain:e",
    ),
    "one that waits out of line": (
        lambda r, k, _: r.delete(k("chain:flow:waiting")),
        "O10 order w: it is waiting, and",
    ),
    "one in line that is in": (
        lambda r, k, _: r.zadd(k("chain:flow:waiting"), mark(r, k, "a")),
        "O10 order a: it is in",
    ),
    "another place in front": (
        lambda r, k, _: r.zincrby(k("chain:flow:waiting"), 1, next(iter(mark(r, k, "w")))),
        "I2 order w: its score in chain:flow:waiting",
    ),
    "room that nobody takes": (
        lambda r, k, _: r.hset(k("chain:flow"), "max_orders", 9),
        "O10 chain flow: 1 orders may",
    ),
    "held and in no line": (lambda r, k, _: r.delete(k("chain:gated:held:two")), "O11 order h: it stands in front of"),
    "in line and not held": (
        lambda r, k, _: r.zadd(k("chain:flow:held:two"), mark(r, k, "a")),
        "O11 order a: it is in",
    ),
    "a step that nobody opens": (
        lambda r, k, _: r.hset(k("chain:gated"), "opening", "two"),
        "O11 chain gated: orders may",
    ),
    "a chain not listed": (lambda r, k, _: r.srem(k("chains"), "flow"), "I13 chain flow: it is in only one"),
    "a chain without its version": (
        lambda r, k, _: r.delete(k("chain:flow:1")),
        "O13 chain flow: its newest version, 1,",
    ),
    "an order without its version": (
        lambda r, k, _: r.delete(k("chain:flow:1")),
        "O13 order a: version 1 of chain flow",
    ),
    "a version miscounted": (lambda r, k, _: r.hincrby(k("chain:flow:1"), "orders", 1), "O13"),
    "a version of nobody": (
        lambda r, k, _: r.hset(k("chain:flow:7"), "steps", "one"),
        "I13 chain:flow:7: no order has it",
    ),
    "an element too many": (
        lambda r, k, _: r.hincrby(k("order:e:each:one"), "done", 1),
        "O14 order e step one: 3 of 3",
    ),
    "an element forgotten": (lambda r, k, _: r.zremrangebyrank(k("order:e:each:one:jobs"), 0, 0), "O2 job"),
    "a list that stands still": (
        lambda r, k, _: (r.delete(k("order:e:each:one:jobs")), r.hset(k("order:e:each:one"), "done", 3)),
        "O14 order e step one: 3 of 3 elements have ended, and nothing",
    ),
    "a list that is lost": (lambda r, k, _: r.delete(k("order:e:each:one")), "O14 order e step one: the record of its"),
    "a list of nobody": (
        lambda r, k, _: r.hset(k("order:a:each:two"), "count", 1),
        "I13 order:a:each:two: its order does",
    ),
    "an order read by halves": (lambda r, k, _: r.hdel(k("order:e"), "odd"), "O13 order e: without odd nobody reads"),
    "history of no order": (lambda r, k, _: r.rpush(k("order:x:history"), "x"), "I13 order:x:history: the order it"),
    "an order that would expire": (lambda r, k, _: r.expire(k("order:a"), 100), "I13 order:a: it would expire"),
}


@pytest.mark.damaged
@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_seen(name: str, queue: Queue, server: RealServer, running: str) -> None:
    damage, said = DAMAGES[name]
    with closing(server.client()) as redis:
        damage(redis, queue.store.keys, running)
    told = check(queue)
    assert any(line.startswith(said) for line in told), told


@pytest.mark.damaged
@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_seen_in_a_large_namespace(name: str, queue: Queue, server: RealServer, running: str) -> None:
    damage, said = DAMAGES[name]
    with closing(server.client()) as redis:
        damage(redis, queue.store.keys, running)
    told = [str(violation) for violation in audit(queue.store, small=0).violations]
    assert any(line.startswith(said) for line in told), told


def test_s2_more_held_than_there_is_after_lowering_is_no_fault(queue: Queue, running: str) -> None:
    """S2: lowered below what is held, nobody new gets in until it fits; that is no violation."""
    queue.pools.set("vault", 0)
    assert check(queue) == []


def test_a_program_session_is_in_order(queue: Queue) -> None:
    queue.pools.set("vault", 2)
    with queue.pools.session("vault"):
        assert check(queue) == []
    assert check(queue) == []


def test_it_cries_no_wolf_while_the_queue_is_busy(queue: Queue) -> None:
    """R1 on a live server: jobs come, run and go while it looks, in one moment and by walking."""
    queue.pools.set("vault", 2)
    go_on.set()
    steps = [Step("one", "quick"), Step("all", "seated", each="files"), Step("last", "first")]
    queue.define(Chain("busy", steps, max_orders=5))

    def produce() -> None:
        pause = threading.Event()
        with Queue(queue.settings.url, namespace=queue.settings.namespace) as mine:
            for number in range(100):
                types = ("quick", "seated", "broken", f"other{number % 50}")
                mine.enqueue_many(Job(types[n % 4], token=f"t{number}-{n}") for n in range(20))
                mine.enqueue("rare").remove()
                order = mine.start("busy", {"files": [*range(number % 5)]}, id=f"o{number}")
                with suppress(WrongState):  # not while a step runs, or it has ended by now
                    {0: order.suspend, 1: order.cancel, 2: order.remove, 3: order.reset}.get(number % 7, order.state)()
                    if number % 7 == 4:
                        mine.order(f"o{number - 4}").resume()
                (mine.chains.stop if number % 4 == 0 else mine.chains.start)("busy", "last" if number % 8 < 4 else None)
                pause.wait(0.01)

    workers = [Worker(handlers, queue.settings.url, namespace=queue.settings.namespace, slots=4) for _ in range(2)]
    producer = threading.Thread(target=produce)
    threads = [producer, *(threading.Thread(target=worker.run) for worker in workers)]
    for thread in threads:
        thread.start()
    try:
        while producer.is_alive():
            for small in (10_000, 0):
                assert audit(queue.store, small=small).violations == []
    finally:
        producer.join(60)
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(20)


def test_a_moment_asks_for_all_that_it_names(queue: Queue) -> None:
    ended(queue)
    moment = read_moment(queue.store, set())
    assert not moment.named() - moment.asked
    there = {name for name in names_of(queue.store) if name.startswith(("job:", "ready:")) and name.count(":") == 1}
    assert there <= moment.asked
    assert broken(moment) == []
