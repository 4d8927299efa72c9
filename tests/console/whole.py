"""A namespace with something of everything in it, in every state and place: what `verify` and its repair are tried on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import Chain, Queue, Step
from seatline.worker import Context, Handlers, Retry, Worker

__all__ = ["at", "ended", "field", "go_on", "handlers", "mark", "one_runs"]

handlers = Handlers()
go_on = threading.Event()


@handlers.handler("quick")
def quick(ctx: Context) -> int:
    return 1


@handlers.handler("broken")
def broken_one(ctx: Context) -> None:
    raise ValueError("no")


@handlers.handler("seated", uses={"vault": 1}, if_lost="rerun", isolation="thread")
def seated(ctx: Context) -> None:
    go_on.wait(20)


@handlers.handler("first")
def first(ctx: Context) -> int:
    return 1


@handlers.handler("sad")
def sad(ctx: Context) -> None:
    raise ValueError("no")


@handlers.handler("listed", retry=Retry(attempts=2, first=3600))
def listed(ctx: Context) -> None:
    raise ValueError("not now")


def ended(queue: Queue) -> None:
    """Bring jobs to every place but running."""
    queue.pools.set("vault", 2)
    for _ in range(2):
        queue.enqueue("quick", token=None)
        queue.enqueue("broken")
    queue.enqueue("quick", expires=3600).cancel()
    queue.enqueue("quick", token="mine")
    Worker(handlers, queue.settings.url, namespace=queue.settings.namespace).run(burst=True)
    queue.enqueue("quick", {"n": 1}, uses={"vault": 2}, priority=3, expires=3600)
    queue.enqueue("quick", delay=3600, expires=7200)
    queue.enqueue("quick").remove()
    for name in ("hourly", "paused"):
        queue.schedules.add(name, "quick", every=3600)
    queue.schedules.pause("paused")
    queue.window("broken", "20:00-05:00 UTC")
    with pytest.raises(Exception, match="succeeded"):
        queue.handle(1).cancel()
    ordered(queue)


def ordered(queue: Queue) -> None:
    """Bring orders to every state, and to every place in a chain: a letter each, their steps are one and two."""
    two = Step("two", "nowhere")
    queue.define(Chain("flow", [Step("one", "first"), two], max_orders=2))
    queue.define(Chain("gated", [Step("one", "first"), two]))
    queue.define(Chain("list", [Step("one", "listed", each="files"), two]))
    queue.define(Chain("ends", [Step("one", "first")]))
    queue.define(Chain("fails", [Step("one", "sad")]))
    queue.chains.stop("gated", "two")
    for own, chain in {"a": "flow", "b": "flow", "w": "flow", "h": "gated", "s": "ends", "f": "fails"}.items():
        queue.start(chain, id=own)
    queue.start("list", {"files": [0, 1, 2]}, id="e")
    queue.start("gated", id="l", delay=3600)
    queue.start("gated", id="c").cancel()
    queue.start("gated", id="gone").remove()
    mine = ["first", "sad", "listed"]
    Worker(handlers, queue.settings.url, namespace=queue.settings.namespace, types=mine).run(burst=True)
    queue.order("b").suspend()
    states = {"a": "running", "b": "suspended", "w": "waiting", "h": "running", "s": "succeeded", "f": "failed"}
    states |= {"e": "running", "l": "scheduled", "c": "cancelled"}
    assert {own: queue.order(own).state() for own in states} == states


def field(r: Redis, k: Callable[[str], str], order: str, name: str) -> str:
    found = r.hget(k(f"order:{order}"), name)
    assert isinstance(found, bytes)
    return found.decode()


def at(r: Redis, k: Callable[[str], str], order: str) -> str:
    """Return the job with which an order is at its second step."""
    return field(r, k, order, "now").removeprefix("two=")


def mark(r: Redis, k: Callable[[str], str], order: str) -> dict[str, int]:
    """Return an order as it stands in a line."""
    return {f"{field(r, k, order, 'number')} {order}": 10}


@contextmanager
def one_runs(queue: Queue) -> Iterator[str]:
    """Bring jobs to every place, one to run with its seat; its id."""
    ended(queue)
    go_on.clear()
    worker = Worker(handlers, queue.settings.url, namespace=queue.settings.namespace)
    thread = threading.Thread(target=worker.run)
    handle = queue.enqueue("seated", priority=1)
    thread.start()
    wait_until(lambda: handle.state() == "running")
    yield handle.id
    go_on.set()
    worker.stop()
    thread.join(20)
