"""Queues, workers and watches for the rules' tests, all on the test's own namespace and gone before its closing look."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Child
from harness.server import RealServer
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.order_hand import TYPES, Hand
from rules.order_look import disagreements
from rules.step_worker import MakeSteps, StepWorker
from rules.support import ProcessWorker, ThreadWorker
from rules.watched import SETTLE, MakeWatch

from seatline.producer import Queue
from seatline.producer.watch import Watch
from seatline.worker import Handlers, Worker

TESTS = Path(__file__).parents[1]


@pytest.fixture
def make_queue(server: RealServer, namespace: str) -> Iterator[Callable[..., Queue]]:
    """Make queues on the test's namespace; of the shared server unless ``url`` says otherwise."""
    with contextlib.ExitStack() as queues:

        def make(url: str | None = None, **options: Any) -> Queue:
            return queues.enter_context(Queue(url or server.url, **{"namespace": namespace, **options}))

        yield make


@pytest.fixture
def durable_server(private_server: Callable[..., RealServer]) -> RealServer:
    """A server that answers no write before it is on the disk.

    With `everysec` one that is killed while it syncs loses up to two seconds of what it has answered, so a test that
    kills a server under load would fail on a slow disk.
    """
    return private_server(appendonly=True, config=["appendfsync always"])


@pytest.fixture
def queue(make_queue: Callable[..., Queue]) -> Queue:
    """A queue on the test's namespace of the shared server."""
    return make_queue()


@pytest.fixture
def hand(server: RealServer, namespace: str, redis: Redis) -> Iterator[Hand]:
    """Work on the steps of orders by hand; in the end orders, chains and jobs must agree."""
    offer: dict[str, dict[str, int]] = {type_: {} for type_ in TYPES}
    with contextlib.closing(FakeWorker(server.url, namespace, offer, slots=8)) as worker:
        yield Hand(worker)
        assert disagreements(redis, namespace) == []


@pytest.fixture
def fake(server: RealServer, namespace: str) -> Iterator[Callable[..., FakeWorker]]:
    """Make fake workers: ``fake(a={"vault": 1}, slots=2)``, or ``fake({"a.b": {}})``; those that wait have looked once."""
    made: list[FakeWorker] = []

    def make(types: dict[str, dict[str, int]] | None = None, *, url: str | None = None, **more: Any) -> FakeWorker:
        options = {name: more.pop(name) for name in ("slots", "lease", "block", "if_lost") if name in more}
        made.append(FakeWorker(url or server.url, namespace, {**(types or {}), **more}, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def idle(fake: Callable[..., FakeWorker]) -> Callable[..., FakeWorker]:
    """A fake worker that has looked once and found nothing."""

    def make(*args: Any, **options: Any) -> FakeWorker:
        worker = fake(*args, **options)
        assert worker.turn() == []
        return worker

    return make


@pytest.fixture
def burst(server: RealServer, namespace: str) -> Callable[..., Worker]:
    """Run a worker here and now until nothing is left that it could start; one slot unless told otherwise."""

    def run(handlers: Handlers, url: str | None = None, **options: Any) -> Worker:
        worker = Worker(handlers, url or server.url, **{"namespace": namespace, **options})
        worker.run(burst=True)
        return worker

    return run


@pytest.fixture
def start_worker(server: RealServer, namespace: str) -> Iterator[Callable[..., ThreadWorker]]:
    """Start workers in threads; those that still run in the end are stopped."""
    started: list[ThreadWorker] = []

    def start(handlers: Handlers, url: str | None = None, **options: Any) -> ThreadWorker:
        options = {"namespace": namespace, "lease": 1.2, "renew": 0.3, **options}
        started.append(ThreadWorker(Worker(handlers, url or server.url, **options)))
        return started[-1]

    yield start
    for each in started:
        each.worker.stop(now=True)
    for each in started:
        with contextlib.suppress(Exception):  # a test that wants to know asks itself
            each.wait()


@pytest.fixture
def start_process(server: RealServer, namespace: str, spawn: Callable[..., Child]) -> Callable[..., ProcessWorker]:
    """Start worker processes for some types of ``handlers.py``; leases are short."""

    def start(*types: str, url: str | None = None, **options: Any) -> ProcessWorker:
        words = {"url": url or server.url, "namespace": namespace, "lease": 1.2, "renew": 0.3, **options}
        words["types"] = types
        args = [sys.executable, "-m", "rules.run_worker", json.dumps(words)]
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        return ProcessWorker(spawn(args, env={"PYTHONPATH": path}))

    return start


@pytest.fixture
def make_steps(server: RealServer, namespace: str) -> Iterator[MakeSteps]:
    """Make workers that end steps when told; they leave in the end."""
    with contextlib.ExitStack() as workers:

        def make(*types: str, url: str | None = None, **options: Any) -> StepWorker:
            worker = StepWorker(url or server.url, namespace, types or ("t",), **options)
            workers.enter_context(contextlib.closing(worker))
            workers.callback(worker.leave)
            return worker

        yield make


@pytest.fixture
def steps(make_steps: MakeSteps) -> StepWorker:
    """One of them, for the type ``t``, with 100 slots."""
    return make_steps()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty folder to watch."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def make_watch(queue: Queue, inbox: Path, tmp_path: Path) -> MakeWatch:
    """Make watches for the type ``t``, or a chain, with a short settle time, all with one memory."""

    def make(**options: Any) -> Watch:
        given = {"settle": SETTLE, "interval": 0.05, "memory": tmp_path / "memory.db", **options}
        type_ = given.pop("type", None if "chain" in given else "t")
        return Watch(given.pop("queue", queue), given.pop("folder", inbox), type_, **given)

    return make
