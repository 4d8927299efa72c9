"""The stage of one crash: a server with its append-only file, a worker behind a proxy, a producer, and who is to be killed.

A scene (`moments.py`) says where: at a request that the proxy names (before the server sees it, or executed with its
reply lost), or at a moment of the scene's own. What happens then is the same for all, and nobody can notice anything in
between:

1. the worker is killed, or the server, or the worker and then the server; SIGKILL, each
2. the server is started again on what its file has, a new worker takes the dead one's place
3. the scene goes on, and all must end as if nothing had been

The first worker has a short lease, so that what it held is soon taken back; the one after it a long one. When only the
server dies, the worker lives on, and has a long lease too: nothing of its own may be run a second time.

With ``everysec`` a server that waits for its disk keeps what it has acknowledged in its own memory for a while
(docs/guarantees.md); that condition is waited out before the kill. With ``always`` nothing is.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from crash.nest import Nest
from crash.runner import released
from harness.leaks import read_ttls
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import OrderHandle, Queue
from seatline.shared.job import JobRecord
from seatline.shared.scripts import names, script

__all__ = ["FSYNCS", "GAP", "KILLED", "SOON", "Killed", "Stage", "report_of", "sha"]

T = TypeVar("T")

Killed = Literal["worker", "server", "both"]
KILLED: Final[tuple[Killed, ...]] = ("worker", "server", "both")
FSYNCS: Final = ("everysec", "always")
#: Seconds within which anything that is to come must come; for a machine that does much else.
SOON: Final = 40.0
#: By how much the sequence jumps when a server runs anew (T5).
GAP: Final = 1_000_000
FRAIL: Final = {"lease": 0.8, "renew": 0.2}
STURDY: Final = {"lease": 8.0, "renew": 0.2}
NO_EXPIRY: Final = -1
TIMEOUT: Final = 3.0
DEADLINE: Final = 60.0


def sha(name: str) -> bytes:
    """Return how a script is called."""
    return script(name).sha.encode()


def report_of(*words: bytes) -> Callable[[bytes], bool]:
    """Match the turn that reports an attempt in whose report all these words are."""
    turn = sha("turn")
    return lambda request: turn in request and all(word in request for word in words)


@dataclass(frozen=True, slots=True)
class Crash:
    """When it had come (epoch ms; tests and servers have one clock), and all keys before it if nobody lived on."""

    at: int
    keys: Mapping[str, object]


class Stage:
    """Where one scene plays; see the module."""

    def __init__(
        self, killed: Killed, server: RealServer, proxies: tuple[FaultProxy, FaultProxy], nest: Nest, namespace: str,
        folder: Path,
    ) -> None:  # fmt: skip
        self.killed, self.server, self.namespace, self.folder = killed, server, namespace, folder
        self.proxy, self._ours = proxies
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self.due = float("inf")
        self.slots = 1
        self.crash: Crash | None = None
        self.workers: list[int] = []
        self._nest = nest
        self._alive: list[int] = []
        self._struck: Future[Crash] = Future()
        self._alone = killed == "both"
        self._threads = ThreadPoolExecutor(1)
        self._closing = contextlib.ExitStack()
        self.raw: Redis = self._closing.enter_context(contextlib.closing(server.client()))
        self.queue = self._enter(server.url)
        for name in names():
            self.raw.script_load(script(name).text)  # a fault is for the script, not for its NOSCRIPT

    def close(self) -> None:
        """End the worker and all connections."""
        for pid in self._alive:
            self._nest.kill(pid)
        self._threads.shutdown()
        self._closing.close()

    # -- who plays

    def worker(self, slots: int = 1) -> None:
        """Start the worker that is to see the crash, behind the proxy, and wait until it waits for jobs."""
        self.slots = slots
        self._start_worker({**(STURDY if self.killed == "server" else FRAIL)})
        pattern = self.queue.store.keys("idle:*")
        wait_until(lambda: any(self.raw.zcard(key) for key in self.raw.scan_iter(pattern)), SOON, "an idle worker")

    def _start_worker(self, lease: Mapping[str, float]) -> None:
        log = self.folder / f"worker-{len(self.workers)}.log"
        pid = self._nest.start(
            log, folder=str(self.folder), url=self.proxy.url, namespace=self.namespace, slots=self.slots, bite=2, **lease,
            timeout=TIMEOUT, connect_timeout=1.0, deadline=DEADLINE,
        )  # fmt: skip
        self.workers.append(pid)
        self._alive.append(pid)

    def behind_proxy(self, act: Callable[[Queue], T]) -> Future[T]:
        """Let a producer of its own do something, whose requests the crash may strike, in a thread."""
        queue = self._enter(self._ours.url)
        return self._threads.submit(act, queue)

    def _enter(self, url: str) -> Queue:
        return self._closing.enter_context(
            Queue(url, namespace=self.namespace, timeout=TIMEOUT, connect_timeout=1.0, deadline=DEADLINE)
        )

    # -- what the scene may do

    def go(self, name: str) -> None:
        """Let a handler that holds go on; ``mended``: let those that fail succeed."""
        released(self.folder, name).touch()

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait for something of the scene; returns it."""
        found = wait_until(condition, SOON, what)
        assert found is not None
        return found

    def set_back(self, order: OrderHandle, step: str = "two") -> JobRecord:
        """Wait until a step was set back, and return its job, which waits, or has begun again on a slow machine."""
        job = self.until(lambda: (record := order.record()).setbacks and record.now.get(step), "the setback")
        return self.queue.job(str(job))

    def begun(self, step: str, element: int | None = None) -> None:
        """Wait until a handler of this step runs."""
        self.until(lambda: any(line["what"] == "begin" for line in self.lines(step, element)), f"the begin of {step}")

    def lines(self, step: str | None = None, element: int | None = None) -> list[dict[str, Any]]:
        """Return what handlers wrote to the ledger: of one step, or all."""
        found: Iterable[dict[str, Any]] = (json.loads(line) for line in self.ledger.read_text().splitlines())
        return [line for line in found if step is None or (line.get("step"), line.get("element")) == (step, element)]

    def is_due(self, request: bytes) -> bool:
        """Match what promotes: a turn or a renewal, once the moment `due` (epoch seconds) has come."""
        return time.time() >= self.due and (sha("turn") in request or sha("renew") in request)

    # -- the crash

    def strike(self, when: str, match: bytes | Callable[[bytes], bool], *, skip: int = 0, ours: bool = False) -> None:
        """Crash ``before`` the server sees such a request, or ``after`` it was executed, with its reply lost.

        Args:
            when: before or after.
            match: the request's bytes, or a predicate of it.
            skip: so many go by.
            ours: of the producer behind the proxy, instead of the worker.

        """
        proxy = self._ours if ours else self.proxy
        self._alone = self._alone and not ours
        fault = proxy.cut_before if when == "before" else proxy.swallow_reply
        fault(match, skip=skip, hook=self._kill)

    def crash_now(self) -> None:
        """Crash at this moment of the scene."""
        self._kill()

    def recover(self) -> None:
        """Wait for the crash; then start again what was killed, and see that nothing is lost (R8, O3)."""
        self.crash = crash = self._struck.result(SOON)
        if self.killed != "worker":
            self.server.start()
            self.raw.connection_pool.disconnect()
        if self._alone:
            left = self._all_keys()
            lost = {key: (value, left.get(key)) for key, value in crash.keys.items() if left.get(key) != value}
            assert not lost, f"not as it was before the kill: {lost}"
            assert left.keys() == crash.keys.keys()
        if self.killed != "server":
            self._start_worker(STURDY)

    def _kill(self) -> None:
        """Kill; in the proxy's thread, while the request or reply that is struck goes nowhere."""
        try:
            if self.killed != "server":
                self._nest.kill(self._alive.pop())
                # What it had sent before is executed by now: the links of a dead client end when all has gone up.
                wait_until(lambda: self.proxy.connections <= 1, SOON, "the end of a dead worker's connections")
            keys = self._all_keys() if self._alone else {}
            while self._alone and keys != (again := self._all_keys()):
                keys = again
            if self.killed != "worker":
                wait_until(lambda: self.raw.info("persistence")["aof_buffer_length"] == 0, SOON, "the file's write")
                self.server.kill()
            self._struck.set_result(Crash(int(1000 * time.time()), keys))
        except BaseException as error:  # noqa: BLE001 - raised by the test's thread
            self._struck.set_exception(error)

    def _all_keys(self) -> dict[str, object]:
        """Return all that lasts, key by key; what expires is left out."""
        lasting = [key for key, ttl in sorted(read_ttls(self.raw).items()) if ttl == NO_EXPIRY]
        return dict(zip(lasting, self._values(lasting), strict=True))

    def _values(self, keys: list[str]) -> Iterator[object]:
        for key in keys:
            match self.raw.type(key):
                case b"hash":
                    yield self.raw.hgetall(key)
                case b"list":
                    yield self.raw.lrange(key, 0, -1)
                case b"zset":
                    yield self.raw.zrange(key, 0, -1, withscores=True)
                case b"set":
                    yield self.raw.smembers(key)
                case b"stream":
                    yield self.raw.xrange(key)
                case _:
                    yield self.raw.get(key)
