"""Sessions: a log-in for each job, closed whatever happens, and of no use afterwards (C4 to C6, C10)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import pytest
from harness.proxy import FaultProxy
from harness.waiting import wait_until
from rules.support import EventLog, ThreadWorker

from seatline.producer import Queue
from seatline.shared.errors import InvalidInput, SessionClosed, UnknownHandlers
from seatline.worker import Context, Handlers, HookContext, NoSeat, Retry, Session, Skip, Worker

Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]


class Client:
    """What a log-in to the vault yields."""

    class Broken(Exception):
        """As database clients have it: an exception class among the attributes."""

    def __init__(self) -> None:
        self.name, self.files = "vault client", ["a.dwg"]
        self.checked_out = False

    def publish(self, file: str) -> str:
        return f"published {file}"

    async def fetch(self, file: str) -> str:
        await asyncio.sleep(0)
        return f"fetched {file}"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> str:
        return self.files[at]

    def __contains__(self, file: str) -> bool:
        return file in self.files

    def __enter__(self) -> Self:
        self.checked_out = True
        return self

    def __exit__(self, *_: object) -> None:
        self.checked_out = False


class Vault:
    """The licence server of these tests: notes each log-in and log-out, and counts who is in."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.sessions: list[Session] = []
        self.inside = 0

    def enter(self, session: Session) -> Client:
        self.sessions.append(session)
        self.told.append(f"in {_who(session)}")
        self.inside += 1
        return Client()

    def leave(self, session: Session) -> None:
        self.told.append(f"out {_who(session)}")
        self.inside -= 1

    @contextmanager
    def login(self, session: Session) -> Generator[Client]:
        """Log in; no try and no finally, as the author of a login would have it."""
        yield self.enter(session)
        self.leave(session)

    @asynccontextmanager
    async def alogin(self, session: Session) -> AsyncGenerator[Client]:
        await asyncio.sleep(0)
        yield self.enter(session)
        await asyncio.sleep(0)
        self.leave(session)


def _who(session: Session) -> str:
    return f"{session.pool} {session.hook or (session.job and int(session.job.id))}"


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def handlers(vault: Vault, queue: Queue) -> Handlers:
    """A set with a login for the pool ``vault``, which has two seats."""
    queue.pools.set("vault", 2)
    declared = Handlers()
    declared.login("vault")(vault.login)
    return declared


def declare(handlers: Handlers, kind: str, work: Callable[[Context], Any], **options: Any) -> None:
    """Declare type ``a`` with one seat of the vault, as a thread or as an async def."""
    options = {"uses": {"vault": 1}, **options}
    if kind == "async":

        @handlers.handler("a", **options)
        async def later(ctx: Context) -> Any:
            value = work(ctx)
            return await value if asyncio.iscoroutine(value) else value
    else:
        handlers.handler("a", isolation="thread", **options)(work)


def in_use(queue: Queue) -> int:
    pool = queue.pools["vault"]
    assert pool.counter in {None, pool.in_use}
    return pool.in_use


kinds = pytest.mark.parametrize("kind", ["thread", "async"])


class TestEachJob:
    """C10: the login wraps each job that uses the pool."""

    @pytest.mark.parametrize(("kind", "login"), [("thread", "plain"), ("async", "plain"), ("async", "async")])
    def test_c10_its_client_is_there_and_it_knows_whom_it_is_for(
        self, queue: Queue, burst: Burst, vault: Vault, kind: str, login: str
    ) -> None:
        """C10: pool, seats, tenant and job are the session's; what it yields is the client."""
        queue.pools.set("vault", 3)
        handlers = Handlers()
        handlers.login("vault")(vault.alogin if login == "async" else vault.login)

        def work(ctx: Context) -> Any:
            client = ctx.session("vault").client
            return client.fetch("a.dwg") if kind == "async" else client.publish("a.dwg")

        declare(handlers, kind, work)
        handle = queue.enqueue("a", uses={"vault": 3}, tenant="Engineering")
        burst(handlers)
        assert handle.result(timeout=1) == ("fetched a.dwg" if kind == "async" else "published a.dwg")
        (session,) = vault.sessions
        assert (session.pool, session.seats, session.tenant, session.hook) == ("vault", 3, "Engineering", None)
        assert session.job is not None
        assert (session.job.id, session.job.type, session.job.uses) == (handle.id, "a", {"vault": 3})
        assert vault.told == ["in vault 1", "out vault 1"]
        assert session.closed

    @kinds
    def test_c10_two_pools_are_two_sessions(
        self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault, kind: str
    ) -> None:
        """C10, S1: logged in one after the other, out in reverse; a pool without a login has a session and no client."""
        for pool in ("bench", "archive"):
            queue.pools.set(pool, 1)
        handlers.login("archive")(vault.login)
        clients: list[Any] = []

        def work(ctx: Context) -> None:
            clients.extend(ctx.session(pool).client for pool in ("vault", "archive", "bench"))

        declare(handlers, kind, work, uses={"vault": 1, "archive": 1, "bench": 1})
        queue.enqueue("a")
        log = EventLog()
        burst(handlers, sink=log)
        assert vault.told == ["in archive 1", "in vault 1", "out vault 1", "out archive 1"]
        assert clients[2] is None
        pools = [fields["pool"] for event, fields in log.events if event == "session-open"]
        assert pools == ["archive", "bench", "vault"]
        assert [fields["pool"] for event, fields in log.events if event == "session-close"] == pools[::-1]

    def test_c10_only_for_seats_that_the_job_uses(
        self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault
    ) -> None:
        """C10, S13: ``uses={}`` logs in nowhere; asked for all the same, the session says so."""
        said: list[str] = []

        def work(ctx: Context) -> None:
            try:
                ctx.session("vault")
            except InvalidInput as error:
                said.append(str(error))

        declare(handlers, "thread", work)
        queue.pools.set("other", 1)
        queue.enqueue("a", uses={})
        queue.enqueue("a", uses={"other": 1})
        burst(handlers)
        assert vault.told == []
        assert "no seat of pool 'vault'" in said[1]
        assert "it uses other" in said[1]

    def test_c10_a_login_must_fit_its_handlers(self, queue: Queue, handlers: Handlers, vault: Vault) -> None:
        """C10, C14: an async login for a plain handler, or a second one for a pool, is refused before the worker starts."""

        def bare(session: Session) -> Generator[None]:
            yield

        with pytest.raises(UnknownHandlers, match="pool vault: two logins"):
            handlers.login("vault")(vault.login)
        other = Handlers()
        with pytest.raises(UnknownHandlers, match=r"pool vault: put @contextmanager .* on .*\.bare"):
            other.login("vault")(bare)
        other.login("vault")(vault.alogin)
        other.handler("a", uses={"vault": 1})(lambda _: None)
        with pytest.raises(UnknownHandlers, match=r"pool vault: its login is async, and type a is not"):
            Worker(other, queue.store.url)

    def test_c10_an_async_login_that_a_job_asks_for_is_told(self, queue: Queue, burst: Burst, vault: Vault) -> None:
        """C10: a job's own ``uses`` brings a plain handler to an async login: it fails, and says why."""
        queue.pools.set("vault", 1)
        handlers = Handlers()
        handlers.login("vault")(vault.alogin)
        handlers.handler("a")(lambda _: None)
        handle = queue.enqueue("a", uses={"vault": 1})
        burst(handlers)
        record = handle.record()
        assert (record.state, record.error_type) == ("failed", "InvalidInput")
        assert "login of pool vault is async" in (record.error or "")
        assert in_use(queue) == 0


ENDS: dict[str, tuple[Callable[[Context], Any], str]] = {
    "returns": (lambda _: 1, "succeeded"),
    "raises": (lambda _: _throw(ValueError("no")), "failed"),
    "skips": (lambda _: _throw(Skip("nothing to do")), "skipped"),
    "exits": (lambda _: _throw(SystemExit(3)), "failed"),
    "returns what cannot be stored": (lambda _: object(), "failed"),
    "fails, to run again": (lambda _: _throw(Retry.after(60)), "scheduled"),
    "finds no seat": (lambda _: _throw(NoSeat()), "ready"),
}


def _throw(error: BaseException) -> None:
    raise error


class TestClosed:
    """C4, C10: the session is closed and the seat free, whatever happens."""

    @kinds
    @pytest.mark.parametrize("end", ENDS)
    def test_c4_however_it_ends(
        self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault, kind: str, end: str
    ) -> None:
        """C4: logged out once, before the end is told; a login without try and finally is no exception."""
        work, state = ENDS[end]
        log = EventLog()
        declare(handlers, kind, work)
        handle = queue.enqueue("a")
        burst(handlers, sink=log)
        assert handle.state() == state
        assert vault.told == ["in vault 1", "out vault 1"]
        assert (vault.inside, in_use(queue)) == (0, 0)
        assert vault.sessions[0].closed
        told = [line.split(" ")[0] for line in log.lines if line.endswith(" J1")]
        assert told[:3] == ["session-open", "execute", "session-close"]
        assert len(told) == 4 + (state == "ready"), told  # its end, and that the pool is refused

    @kinds
    @pytest.mark.parametrize("end", ["timeout", "cancel", "hand back"])
    def test_c4_stopped_from_outside(
        self, queue: Queue, start_worker: StartWorker, handlers: Handlers, vault: Vault, kind: str, end: str
    ) -> None:
        """C4, C15, Q23, C13: past its timeout, cancelled, or handed back by a worker that stops."""

        def work(ctx: Context) -> Any:
            begun.set()
            return asyncio.sleep(30) if kind == "async" else ctx.sleep(30)

        begun = threading.Event()
        declare(handlers, kind, work, timeout=0.2 if end == "timeout" else None, if_lost="rerun")
        worker = start_worker(handlers, grace=0)
        handle = queue.enqueue("a")
        wait_until(begun.is_set)
        assert (vault.inside, in_use(queue)) == (1, 1)
        if end == "cancel":
            handle.cancel()
        elif end == "hand back":
            worker.stop()
        wait_until(lambda: handle.state() != "running")
        state = {"timeout": "failed", "cancel": "cancelled", "hand back": "ready"}[end]
        assert (handle.state(), in_use(queue)) == (state, 0)
        wait_until(lambda: vault.told == ["in vault 1", "out vault 1"])

    @kinds
    @pytest.mark.parametrize("error", [OSError("the vault is away"), SystemExit(1)], ids=["OSError", "SystemExit"])
    @pytest.mark.parametrize("end", ["returns", "raises", "skips"])
    def test_c10_a_log_out_that_fails_hides_nothing(
        self, queue: Queue, burst: Burst, kind: str, end: str, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        """C10: it is told, and the job's own outcome stands."""
        queue.pools.set("vault", 1)
        handlers, log = Handlers(), EventLog()

        @handlers.login("vault")
        @contextmanager
        def login(session: Session) -> Any:
            yield Client()
            raise error

        work, state = ENDS[end]
        declare(handlers, kind, work)
        handle = queue.enqueue("a")
        burst(handlers, sink=log)
        record = handle.record()
        assert record.state == state
        assert record.error_type == ("ValueError" if end == "raises" else None)
        assert in_use(queue) == 0
        assert str(log.fields("logout-failed")["detail"]).startswith(f"log-out of vault: {type(error).__name__}")
        assert "the job's own outcome stands" in caplog.text

    @kinds
    def test_c16_a_log_in_that_fails_is_a_failed_attempt(
        self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault, kind: str
    ) -> None:
        """C16, C10: the handler does not run; what was opened before is closed; the retry rule decides."""
        queue.pools.set("archive", 1)
        queue.pools.set("zoo", 1)
        handlers.login("archive")(vault.login)
        ran: list[str] = []

        @handlers.login("zoo")
        @contextmanager
        def login(session: Session) -> Any:
            if len(vault.told) < 3:
                raise ConnectionError("the zoo is shut")
            yield "the zoo's client"

        declare(
            handlers, kind, lambda ctx: ran.append(str(ctx.session("zoo").client)), uses={"archive": 1, "zoo": 1},
            retry=Retry(attempts=2, first=0),
        )  # fmt: skip
        handle = queue.enqueue("a")
        burst(handlers)
        assert handle.state() == "succeeded"
        assert ran == ["the zoo's client"]
        assert vault.told == ["in archive 1", "out archive 1"] * 2
        (attempt,) = handle.attempts()
        assert (attempt.attempt, attempt.error_type, attempt.error) == (1, "ConnectionError", "the zoo is shut")

    def test_c10_a_login_that_is_none_is_told(self, queue: Queue, burst: Burst) -> None:
        """C10: a function that is no context manager fails its jobs by name, and nothing else."""
        queue.pools.set("vault", 1)
        handlers = Handlers()
        handlers.login("vault")(lambda _: None)
        declare(handlers, "thread", lambda _: 1)
        handle = queue.enqueue("a")
        burst(handlers)
        assert handle.state() == "failed"
        assert "login of pool vault" in (handle.record().error or "")
        assert in_use(queue) == 0


class TestKept:
    """C5: what is kept from a job is of no use in the next."""

    def test_c5_everything_that_was_kept_says_so(
        self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault
    ) -> None:
        """C5: the session, its client, a method taken from it, and the old context; each job has its own object."""
        kept: dict[str, Any] = {}
        refused: list[str] = []

        def work(ctx: Context) -> None:
            session = ctx.session("vault")
            client = session.client
            if not kept:
                assert client.publish("a") == "published a"
                kept.update(session=session, client=client, publish=client.publish, ctx=ctx)
                return
            assert session is not kept["session"]
            assert client is not kept["client"]
            uses: dict[str, Callable[[], object]] = {
                "session.client": lambda: kept["session"].client,
                "session.check": kept["session"].check,
                "client.publish": lambda: kept["client"].publish("b"),
                "client.name": lambda: kept["client"].name,
                "client.name =": lambda: setattr(kept["client"], "name", "x"),
                "del client.name": lambda: delattr(kept["client"], "name"),
                "publish": lambda: kept["publish"]("b"),
                "len": lambda: len(kept["client"]),
                "[0]": lambda: kept["client"][0],
                "in": lambda: "a" in kept["client"],
                "with": kept["client"].__enter__,
                "for": lambda: list(kept["client"]),
                "==": lambda: kept["client"] == client,
                "str": lambda: str(kept["client"]),
                "bool": lambda: bool(kept["client"]),
                "ctx.session": lambda: kept["ctx"].session("vault"),
            }
            for name, use in uses.items():
                with pytest.raises(SessionClosed, match="ended"):
                    use()
                refused.append(name)
            assert repr(kept["client"]) == "<client of a closed session of pool vault>"
            assert repr(kept["session"]) == "<Session vault=1 (closed)>"

        declare(handlers, "thread", work)
        handles = [queue.enqueue("a") for _ in range(2)]
        burst(handlers)
        assert [handle.record().error for handle in handles] == [None, None]
        assert len(refused) == 16
        assert vault.told == ["in vault 1", "out vault 1", "in vault 2", "out vault 2"]

    def test_c5_a_thread_that_outlives_its_job(self, queue: Queue, burst: Burst, handlers: Handlers) -> None:
        """C5: whatever a handler left running works with the client no longer."""
        over, outcome = threading.Event(), list[BaseException]()

        def later(client: Any) -> None:
            over.wait(5)
            try:
                client.publish("b")
            except SessionClosed as error:
                outcome.append(error)

        def work(ctx: Context) -> None:
            thread = threading.Thread(target=later, args=(ctx.session("vault").client,))
            thread.start()
            threads.append(thread)

        threads: list[threading.Thread] = []
        declare(handlers, "thread", work)
        queue.enqueue("a")
        burst(handlers)
        over.set()
        threads[0].join(5)
        assert len(outcome) == 1

    def test_c5_an_open_client_is_as_it_is(self, queue: Queue, burst: Burst, handlers: Handlers) -> None:
        """C5: the guard is in nobody's way while the session is open; exception classes among the attributes can be caught."""

        def work(ctx: Context) -> list[Any]:
            client = ctx.session("vault").client
            client.name = "renamed"
            try:
                raise Client.Broken
            except client.Broken:
                caught = True
            with client as inside:
                out = inside.checked_out
            return [
                client.name, client.files, len(client), client[0], "a.dwg" in client, bool(client), list(client), caught, out,
                client == ctx.session("vault").client, hash(client) == hash(client),
                str(client).startswith("<"), callable(client.publish),
            ]  # fmt: skip

        declare(handlers, "thread", work)
        handle = queue.enqueue("a")
        burst(handlers)
        assert handle.record().traceback is None
        assert handle.result(timeout=1) == ["renamed", ["a.dwg"], 1, "a.dwg", True, True, ["a.dwg"], *[True] * 6]

    def test_c5_the_logins_of_worker_and_job_are_separate(
        self, queue: Queue, start_worker: StartWorker, handlers: Handlers, proxy: FaultProxy
    ) -> None:
        """C5: the worker's connections are cut while a job runs: its client goes on; its log-out leaves the worker's alone."""
        begun, go = threading.Event(), threading.Event()

        def work(ctx: Context) -> str:
            begun.set()
            go.wait(10)
            said: str = ctx.session("vault").client.publish("a")
            return said

        declare(handlers, "thread", work)
        worker = start_worker(handlers, proxy.url)
        first, second = queue.enqueue("a"), queue.enqueue("a")
        wait_until(begun.is_set)
        proxy.reset_all()
        go.set()
        assert first.result(timeout=5) == second.result(timeout=5) == "published a"
        assert worker.stop().succeeded == 2


class TestHooks:
    """C6: hooks hold no session of their own accord, and may open one."""

    def test_c6_a_hook_has_no_session(self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault) -> None:
        """C6: in on_wake and on_sleep nobody is logged in to the vault, and there is none to ask for."""
        seen: list[tuple[int, int, bool]] = []

        def look(ctx: HookContext) -> None:
            seen.append((vault.inside, in_use(queue), hasattr(ctx, "session")))

        handlers.on_wake(look)
        handlers.on_sleep(look)
        declare(handlers, "thread", lambda _: 1)
        queue.enqueue("a")
        burst(handlers)
        assert seen == [(0, 0, False)] * 2
        assert vault.told == ["in vault 1", "out vault 1"]

    @pytest.mark.parametrize("classic", [False, True], ids=["normal", "classic"])
    @pytest.mark.parametrize("hook", ["on_startup", "on_wake", "on_sleep", "on_shutdown"])
    def test_c6_its_own_session_is_counted_in_its_own_name(
        self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault, hook: str, classic: bool
    ) -> None:
        """C6, S12: with the login declared for the pool, which is told the hook; given back at the end."""
        seen: list[Any] = []

        def use(ctx: HookContext) -> None:
            with ctx.open_session("vault", 2) as session:
                (holder,) = queue.pools["vault"].holders
                seen.append((holder.owner, holder.seats, session.client.publish("a"), session.hook, session.job))
            seen.append(in_use(queue))

        getattr(handlers, hook)(use)
        declare(handlers, "thread", lambda _: 1)
        log = EventLog()
        worker = burst(handlers, classic=classic, sink=log)
        assert log.count("hook-failed") == 0
        (owner, *rest), after = seen
        assert owner.startswith(f"program:{hook}.{worker.id}:")
        assert rest == [2, "published a", hook, None]
        assert after == 0
        assert vault.told == [f"in vault {hook}", f"out vault {hook}"]

    def test_c6_on_wake_can_have_the_seat_of_the_job_that_woke_it(
        self, queue: Queue, start_worker: StartWorker, handlers: Handlers, vault: Vault
    ) -> None:
        """C6, C1, C3: on_wake comes before the check: what the bell brought waits in its place, and holds no seat meanwhile."""
        queue.pools.set("vault", 1)
        seen: list[tuple[int, list[str]]] = []

        @handlers.on_wake
        def wake(ctx: HookContext) -> None:
            waiting = [record.state for record in queue.jobs()]
            with ctx.open_session("vault", timeout=2):
                seen.append((in_use(queue), waiting))

        declare(handlers, "thread", lambda ctx: ctx.attempt)
        log = EventLog()
        worker = start_worker(handlers, sink=log, lease=60, renew=20)
        wait_until(lambda: log.count("sleep") == 1)
        handle = queue.enqueue("a")
        assert handle.result(timeout=3) == 1, "its first attempt"
        assert seen == [(1, []), (1, ["ready"])]
        assert vault.told == ["in vault on_wake", "out vault on_wake"] * 2 + ["in vault 1", "out vault 1"]
        assert log.count("hook-failed") == 0
        assert worker.stop().handed_back == 0

    def test_c6_on_sleep_enqueues_with_a_session(
        self, start_worker: StartWorker, handlers: Handlers, vault: Vault
    ) -> None:
        """C6, C9: it looks into the vault and enqueues what it finds there; the next cycle runs it."""
        ran: list[Any] = []

        @handlers.on_sleep
        def sweep(ctx: HookContext) -> None:
            if not ran:
                with ctx.open_session("vault") as session:
                    ctx.enqueue("a", uses={"vault": len(session.client)})

        declare(handlers, "thread", lambda ctx: ran.append(ctx.session("vault").seats))
        log = EventLog()
        start_worker(handlers, sink=log)
        wait_until(lambda: log.count("sleep") == 2)
        assert ran == [1]
        assert vault.told == ["in vault on_sleep", "out vault on_sleep", "in vault 1", "out vault 1"]

    def test_c6_a_hook_that_raises_inside_gives_all_back(
        self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault
    ) -> None:
        """C6, C8: logged out, seat free, told."""

        @handlers.on_wake
        def wake(ctx: HookContext) -> None:
            with ctx.open_session("vault"):
                raise ValueError("in between")

        declare(handlers, "thread", lambda _: 1)
        handle = queue.enqueue("a")
        log = EventLog()
        burst(handlers, sink=log)
        assert log.count("hook-failed") == 1
        assert handle.state() == "succeeded"
        assert vault.told[:2] == ["in vault on_wake", "out vault on_wake"]
        assert in_use(queue) == 0

    def test_c6_what_a_hook_cannot_have_is_told(
        self, queue: Queue, burst: Burst, handlers: Handlers, vault: Vault, caplog: pytest.LogCaptureFixture
    ) -> None:
        """C6, C8: no login, no seat in time, a login that is async: each by name; the worker goes on."""
        queue.pools.set("full", 0)
        queue.pools.set("later", 1)
        handlers.login("full")(vault.login)
        handlers.login("later")(vault.alogin)

        @handlers.on_wake
        def none(ctx: HookContext) -> None:
            with ctx.open_session("nowhere"):
                raise AssertionError

        @handlers.on_wake
        def full(ctx: HookContext) -> None:
            with queue.pools.session("vault", 2), ctx.open_session("vault", timeout=0.1):
                raise AssertionError

        @handlers.on_wake
        def later(ctx: HookContext) -> None:
            with ctx.open_session("later"):
                raise AssertionError

        declare(handlers, "thread", lambda _: 1)
        handle = queue.enqueue("a")
        log = EventLog()
        burst(handlers, sink=log)
        assert handle.state() == "succeeded"
        assert log.count("hook-failed") == 3
        assert "no login is declared for pool 'nowhere'" in caplog.text
        assert "on_wake: TimeoutError: " in caplog.text
        assert "login of pool later is async" in caplog.text
        assert queue.pools["later"].in_use == 0
