"""The executor table: what becomes of a job, for every kind of handler and everything that it may do (C4, C10, C12, C15).

For each pair of a deed and an isolation the table below says how the job ends, or why the pair makes no sense. One real
worker process for each isolation runs all its pairs, one after another, so each pair also shows that the worker has
outlived those before. What holds of every pair:

* a job beside it, in another slot, is unharmed
* its session is closed: the login's log-out has run, unless its process was killed, where nothing can run
* its seat is free as soon as the job has ended
* nothing it has started runs on then; a worker has its nursery and idle children, and nothing once it has left
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from harness.leaks import find_leaks, read_ttls
from harness.processes import Child, Children, _parents
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.console.verify import check_namespace
from seatline.producer import JobHandle, Queue
from seatline.shared.calls import jobs as verbs
from seatline.shared.errors import Refused
from seatline.shared.job import JobRecord
from seatline.shared.keys import PATTERNS

HANDLERS = Path(__file__).with_name("table_handlers.py")
ISOLATIONS = ("thread", "async", "process", "shell")
SLOTS = 2
SOON = 10.0


@dataclass(frozen=True)
class Ends:
    """How a job ends.

    Attributes:
        state: of the job.
        error: its error: the type, then what the message must match.
        value: its result, or the reason of a skip.
        logs_out: whether the log-out can run.
        own_pace: it does not end when it is told to stop: it keeps seat and session until it returns.
        overdue: that is shown, and others get its slot.
        losses: how often the job was lost.
        renewed: its child process is replaced.

    """

    state: str
    error: tuple[str, str] | None = None
    value: object = None
    logs_out: bool = True
    own_pace: bool = False
    overdue: bool = False
    losses: int = 0
    renewed: bool = False


@dataclass(frozen=True)
class Deed:
    """Something that a handler does, or has done to it.

    Attributes:
        do: what the handler is told to do.
        then: what is done to it: ``cancel``, ``timeout``, or nothing.

    """

    do: str
    then: str = ""


def died(how: str) -> Ends:
    return Ends(
        "failed", ("HandlerDied", f"^its process ended under it: {how}"), logs_out=False, losses=1, renewed=True
    )


SUCCEEDS = Ends("succeeded", value="done")
RAISES = Ends("failed", ("ValueError", "^on purpose$"))
SKIPS = Ends("skipped", value="on purpose")
LATE = Ends("failed", ("Timeout", r"^it ran longer than its timeout of 0\.5 s$"))
KILLED_LATE = Ends(
    "failed", ("Timeout", r"^it ran longer than its timeout of 0\.5 s, and was killed$"), logs_out=False, renewed=True
)
TOO_LONG = Ends("failed", ("InvalidInput", r"^result: 8,388,6\d\d bytes are more than the limit of 8,388,608\."))
NO_DATA = Ends("failed", ("InvalidInput", r"^result: a builtins\.object cannot be stored\. Use plain values"))
WORKERS_OWN = "it would end the worker's own process, with all its jobs: that is a worker lost (F3, F14)"
NO_CHILD = "there is no child process"
ITS_OWN_AFFAIR = "the worker cannot tell it from what it has started itself: isolation='process' is for that"

TABLE: Final[dict[str, tuple[Deed, dict[str, Ends | str]]]] = {
    "return": (
        Deed("return"),
        {"thread": SUCCEEDS, "async": SUCCEEDS, "process": SUCCEEDS, "shell": SUCCEEDS},
    ),
    "raise": (
        Deed("raise"),
        {
            "thread": RAISES,
            "async": RAISES,
            "process": RAISES,
            "shell": Ends("failed", ("ExitCode", "^exit code 3: on purpose\n")),
        },
    ),
    "skip": (
        Deed("skip"),
        {"thread": SKIPS, "async": SKIPS, "process": SKIPS, "shell": Ends("skipped", value="exit code 75")},
    ),
    "time out": (
        Deed("listen", "timeout"),
        {"thread": LATE, "async": LATE, "process": LATE, "shell": LATE},
    ),
    "time out, ignored": (
        Deed("ignore", "timeout"),
        {
            "thread": Ends("failed", LATE.error, own_pace=True, overdue=True),
            "async": Ends("failed", LATE.error, own_pace=True),
            "process": KILLED_LATE,
            "shell": KILLED_LATE,
        },
    ),
    "cancel": (
        Deed("listen", "cancel"),
        {
            "thread": Ends("cancelled"),
            "async": Ends("cancelled"),
            "process": Ends("cancelled"),
            "shell": Ends("cancelled"),
        },
    ),
    "cancel, ignored": (
        Deed("ignore", "cancel"),
        {
            "thread": Ends("succeeded", value="its own way", own_pace=True),
            "async": Ends("succeeded", value="its own way", own_pace=True),
            "process": Ends("cancelled", logs_out=False, renewed=True),
            "shell": Ends("cancelled", logs_out=False, renewed=True),
        },
    ),
    "os._exit": (
        Deed("os._exit"),
        {
            "thread": WORKERS_OWN,
            "async": WORKERS_OWN,
            "process": died("exit code 0$"),
            "shell": "a command ends by its exit code, and that is 'return' and 'raise'",
        },
    ),
    "SIGKILL of the child": (
        Deed("SIGKILL"),
        {
            "thread": NO_CHILD,
            "async": NO_CHILD,
            "process": died("killed by SIGKILL"),
            "shell": died("killed by SIGKILL"),
        },
    ),
    "SIGSEGV": (
        Deed("SIGSEGV"),
        {
            "thread": WORKERS_OWN,
            "async": WORKERS_OWN,
            "process": died("killed by SIGSEGV$"),
            "shell": Ends("failed", ("ExitCode", "^killed by SIGSEGV")),
        },
    ),
    "huge result": (
        Deed("huge"),
        {
            "thread": TOO_LONG,
            "async": TOO_LONG,
            "process": TOO_LONG,
            "shell": TOO_LONG,
        },
    ),
    "unserialisable result": (
        Deed("unserialisable"),
        {
            "thread": NO_DATA,
            "async": NO_DATA,
            "process": NO_DATA,
            "shell": Ends("failed", ("InvalidInput", "^seatline:result not understood: Expecting value")),
        },
    ),
    "BaseException": (
        Deed("BaseException"),
        {
            "thread": Ends("failed", ("Odd", "^on purpose$")),
            "async": Ends("failed", ("Odd", "^on purpose$")),
            "process": Ends("failed", ("Odd", "^on purpose$")),
            "shell": "a command has no exceptions, only exit codes",
        },
    ),
    "closes stdout": (
        Deed("closes stdout"),
        {
            "thread": SUCCEEDS,
            "async": SUCCEEDS,
            "process": Ends("succeeded", value="done", renewed=True),
            "shell": SUCCEEDS,
        },
    ),
    "forks a grandchild": (
        Deed("forks"),
        {"thread": ITS_OWN_AFFAIR, "async": ITS_OWN_AFFAIR, "process": SUCCEEDS, "shell": SUCCEEDS},
    ),
}
PAIRS = [
    pytest.param(isolation, name, id=f"{isolation}-{name}")
    for isolation in ISOLATIONS
    for name, (_, ends) in TABLE.items()
    if isinstance(ends[isolation], Ends)
]


class Stage:
    """The worker of one isolation, in a namespace of its own, and a look at what it has done."""

    def __init__(self, server: RealServer, children: Children, folder: Path, isolation: str) -> None:
        self.isolation, self.folder, self._children = isolation, folder, children
        self.queue = Queue(server.url, namespace=isolation)
        self.queue.pools.set("vault", SLOTS)
        args = [sys.executable, str(HANDLERS), server.url, isolation, str(folder), str(SLOTS)]
        self.worker: Child = children.spawn(args)
        wait_until(self._ready, SOON, "the worker's start")

    def _ready(self) -> bool:
        assert self.worker.running, self.worker.errors()
        return "startup: worker" in self.worker.errors()

    def start(self, name: str, **params: str) -> JobHandle:
        """Enqueue a job and wait until its handler has begun."""
        handle = self.queue.enqueue(f"{self.isolation}.{name}", params)
        wait_until(lambda: self.told(handle, "begun"), SOON, f"the start of {name} {params}")
        return handle

    def told(self, handle: JobHandle, word: str) -> bool:
        """Whether its handler has told this."""
        return (self.folder / f"{handle.id}.{word}").exists()

    def words(self, handle: JobHandle, word: str) -> list[str]:
        """What it has told with it."""
        return (self.folder / f"{handle.id}.{word}").read_text().split()

    def let_go(self, handle: JobHandle) -> None:
        (self.folder / f"{handle.id}.go").touch()

    def clear(self) -> None:
        """After a test that failed in the middle: end what still runs, for the next one's sake."""
        for record in self.queue.jobs(state="running"):
            (self.folder / f"{record.id}.go").touch()
            with contextlib.suppress(Refused):
                self.queue.store.run(verbs.cancel(record.id, "the test"))

    @property
    def seats(self) -> tuple[int, int | None]:
        """Seats in use, by the sessions and by the counter."""
        pool = self.queue.pools["vault"]
        return pool.in_use, pool.counter

    @property
    def alive(self) -> set[int]:
        """Every process of the worker, itself included."""
        return set(self._children.left())

    def left_over(self, beside: JobHandle) -> set[int]:
        """Processes that are neither the worker, nor its nursery, nor a child of that, nor of the job that still runs.

        There are no more children than slots, or all count as left over.
        """
        parents, alive = _parents(), self.alive
        nursery = {pid for pid in alive if parents.get(pid) == self.worker.pid}
        children = {pid for pid in alive if parents.get(pid) in nursery}
        assert len(nursery) == (self.isolation in {"process", "shell"})
        known = nursery | {self.worker.pid, *map(int, self.words(beside, "begun"))}
        while more := {pid for pid in alive - known if parents.get(pid) in known - nursery - {self.worker.pid}}:
            known |= more
        return alive - known - (children if len(children) <= SLOTS else set())

    def close(self) -> None:
        """End the worker; nothing of it is left."""
        self.queue.close()
        self.worker.terminate()
        assert self.worker.wait(SOON) == 0, self.worker.errors()
        assert not self.alive
        assert "Traceback" not in self.worker.errors(), self.worker.errors()


@pytest.fixture(scope="module")
def stage() -> Iterator[Callable[[str], Stage]]:
    """The stages, each made when it is first asked for; in the end nothing is left of workers and in the server."""
    with RealServer() as server, contextlib.ExitStack() as stack:
        stages: dict[str, Stage] = {}

        def of(isolation: str) -> Stage:
            if isolation not in stages:
                children = stack.enter_context(Children())
                folder = server.folder / isolation
                folder.mkdir()
                stages[isolation] = Stage(server, children, folder, isolation)
            return stages[isolation]

        yield of
        for each in stages.values():
            each.close()
        with contextlib.closing(server.client()) as client:
            wrong = find_leaks(read_ttls(client), list(stages), PATTERNS)
        assert not [*wrong, *(line for each in stages for line in check_namespace(server.url, each))]


def test_every_pair_is_in_the_table() -> None:
    """A pair that is not run says why."""
    for name, (_, ends) in TABLE.items():
        assert tuple(ends) == ISOLATIONS, name
        assert all(len(found) > 10 for found in ends.values() if isinstance(found, str)), name


@pytest.mark.parametrize(("isolation", "name"), PAIRS)
def test_pair(stage: Callable[[str], Stage], request: pytest.FixtureRequest, isolation: str, name: str) -> None:
    """C4, C10, C12, C15, Q21, Q23: see the table."""
    deed, table = TABLE[name]
    ends, scene = table[isolation], stage(isolation)
    assert isinstance(ends, Ends)
    request.addfinalizer(scene.clear)
    bystander = scene.start("bystander")
    handle = scene.start("limited" if deed.then == "timeout" else "do", do=deed.do)
    if deed.then == "cancel":
        assert handle.cancel() == "asked"
    if ends.own_pace:
        goes_its_own_way(scene, handle, ends)
        scene.let_go(handle)
    record = handle.wait(SOON)
    left = set(map(int, scene.words(handle, "pids"))) & scene.alive if scene.told(handle, "pids") else set()
    ended_as_said(record, ends)
    assert not left, "what it had started ran on when the job had ended"
    assert scene.seats == (0, 0)
    assert scene.told(handle, "login")
    assert scene.told(handle, "logout") == ends.logs_out
    wait_until(lambda: not scene.left_over(bystander), message="the end of what is neither nursery nor child")
    assert bystander.state() == "running"
    scene.let_go(bystander)
    assert bystander.result(timeout=SOON) == "unharmed"
    if isolation in {"process", "shell"} and (pid := int(scene.words(handle, "begun")[0])):
        gone = pid not in scene.alive
        assert gone == ends.renewed, "its child process is used again, unless it cannot be"


def goes_its_own_way(scene: Stage, handle: JobHandle, ends: Ends) -> None:
    """It was told to stop and goes on: seat and session are its own until it returns (C4)."""
    wait_until(lambda: scene.told(handle, "told"), SOON)
    if ends.overdue:
        wait_until(lambda: handle.record().overdue, SOON)
        others = scene.queue.enqueue(f"{scene.isolation}.do", {"do": "return"})
        assert others.result(timeout=SOON) == "done", "its slot goes to others"
    record = handle.record()
    assert (record.state, record.overdue) == ("running", ends.overdue)
    assert scene.seats == (1, 1)
    assert not scene.told(handle, "logout")


def ended_as_said(record: JobRecord, ends: Ends) -> None:
    assert (record.state, record.losses) == (ends.state, ends.losses), record
    if ends.error is None:
        assert (record.error_type, record.error) == (None, None)
    else:
        kind, message = ends.error
        assert record.error_type == kind
        assert re.search(message, record.error or ""), record.error
    assert (record.reason if ends.state == "skipped" else record.result) == ends.value
