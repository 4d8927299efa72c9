"""One real server for the test run, a namespace for each test, and a closing look after it.

Fixtures are torn down in reverse order of their set-up. `servers` is at the root of all, so a test's clients, children
and proxies end first, then `namespace` looks at what is left, and at last the servers are emptied or closed.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.leaks import find_leaks, optional, read_ttls
from harness.processes import Child, Children
from harness.proxy import FaultProxy
from harness.server import RealServer
from redis import Redis

# What every start says of a server that keeps nothing on disk (R5), as these do; its own tests listen.
logging.getLogger("seatline.guard").setLevel(logging.ERROR)

FAILED = pytest.StashKey[bool]()
NUMBERS = itertools.count(1)
RUN = uuid.uuid4().hex[:8]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Say how many processes share the tests: two a core, because the tests mostly wait, but 2 to 8.

    Files and tests that are named run in this process, where they can be watched and stopped in; so does the soak, which
    fills the machine by itself. Crash points wait even more: three a core. ``-n`` with a number overrules all of it.
    """
    if any(".py" in word for word in config.args) or config.option.markexpr == "soak":
        return 0
    cores = os.cpu_count() or 1
    if config.option.markexpr == "crash":
        return min(12, max(3, 3 * cores))
    return min(8, max(2, 2 * cores))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Remember that the test failed: the closing look would only bury the cause under what follows from it."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def server() -> Iterator[RealServer]:
    """The server of the test run. Do not stop, pause or configure it: `private_server` is for that."""
    with RealServer() as shared:
        yield shared


@pytest.fixture
def servers(server: RealServer) -> Iterator[list[RealServer]]:
    """The servers that this test uses; the shared one comes first and is emptied in the end, the others are closed."""
    used = [server]
    yield used
    for private in used[1:]:
        private.close()
    with contextlib.closing(server.client()) as client:
        client.flushall()


@pytest.fixture
def redis(servers: list[RealServer]) -> Iterator[Redis]:
    """A raw client of the shared server: bytes, no retries."""
    with contextlib.closing(servers[0].client()) as client:
        yield client


@pytest.fixture
def private_server(servers: list[RealServer]) -> Callable[..., RealServer]:
    """Start a server for this test alone; takes the options of `RealServer`."""

    def start(**options: Any) -> RealServer:
        servers.append(RealServer(**options))
        return servers[-1].start()

    return start


@pytest.fixture
def new_namespace(request: pytest.FixtureRequest, servers: list[RealServer]) -> Iterator[Callable[[], str]]:
    """Give the test as many fresh namespaces as it calls for, and look at their keys when it has passed.

    On each of its servers that still runs, keys lie in these namespaces only, are of a kind that `keys.PATTERNS` knows,
    and expire where it says so; `seatline.console.verify` finds nothing wrong. Marked `damaged`, a test is held to the
    first only.
    """
    given: list[str] = []

    def name() -> str:
        given.append(f"t{next(NUMBERS)}-{RUN}")
        return given[-1]

    yield name
    if request.node.stash.get(FAILED, False):
        return
    damaged = request.node.get_closest_marker("damaged") is not None
    wrong = [line for each in servers if each.running for line in _closing_look(each, given, damaged=damaged)]
    assert not wrong, "\n".join(["what the test left behind:", *wrong])


@pytest.fixture
def namespace(new_namespace: Callable[[], str]) -> str:
    """A fresh namespace, with the closing look of `new_namespace`."""
    return new_namespace()


@pytest.fixture
def proxy_to(servers: list[RealServer]) -> Iterator[Callable[[RealServer], FaultProxy]]:
    """Put a `FaultProxy` in front of any server."""
    with contextlib.ExitStack() as proxies:
        yield lambda server: proxies.enter_context(FaultProxy(server.url))


@pytest.fixture
def proxy(proxy_to: Callable[[RealServer], FaultProxy], server: RealServer) -> FaultProxy:
    """A `FaultProxy` in front of the shared server."""
    return proxy_to(server)


@pytest.fixture
def spawn(servers: list[RealServer]) -> Iterator[Callable[..., Child]]:
    """Start child processes (`Children.spawn`); whatever is left of them in the end is killed."""
    with Children() as children:
        yield children.spawn


def _closing_look(server: RealServer, namespaces: list[str], *, damaged: bool) -> list[str]:
    server.resume()  # the test may have paused it
    with contextlib.closing(server.client()) as client:
        ttls = read_ttls(client)
    wrong = find_leaks(ttls, namespaces, None if damaged else optional("seatline.shared.keys", "PATTERNS"))
    check = None if damaged else optional("seatline.console.verify", "check_namespace")
    if check is not None:
        for name in namespaces:
            if any(key.startswith(f"{{{name}}}:") for key in ttls):
                wrong += [f"{name}: {line}" for line in check(server.url, name)]
    return wrong
