"""Sessions: the log-in of one job to what its seats are for, and the guard round what the log-in yields.

A login is a context manager, declared once a pool: ``handlers.login("vault")``. Each job that uses the pool gets a
session of its own (C5): opened before its handler runs, closed whatever happens (C10), closed for good. Who is
authoritative for the *seats* is the server: they go with the job's lease, not with this object.

* the log-in raises: the handler does not run; sessions opened before it are closed; ``NoSeat`` or a failed attempt (C16)
* the log-out raises: told and logged; the job's own outcome stands
* the client (or a method of it) is kept and used later: :class:`SessionClosed`, never a silent success. What the client
  itself hands out (a cursor, a document) is beyond the guard
"""

# pyright: reportPrivateUsage=false
# A session's life is led here, not by who holds it.
from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from seatline.shared.errors import InvalidInput, SessionClosed
from seatline.worker.outcomes import NoSeat

if TYPE_CHECKING:
    from seatline.shared.job import JobRecord

__all__ = ["Login", "Session", "opened", "opened_async"]

log = logging.getLogger("seatline.worker")

Login = Callable[["Session"], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]
Tell = Callable[[str, str], None]


class Session:
    """One log-in.

    Attributes:
        pool: the pool whose seats it stands for.
        seats: how many.
        tenant: of the job: which vault or site to log in to.
        job: the job it is for; None in a hook.
        hook: the name of the hook it is for, else None.

    """

    __slots__ = ("_client", "_closed", "hook", "job", "pool", "seats", "tenant")

    def __init__(self, pool: str, seats: int, *, job: JobRecord | None = None, hook: str | None = None) -> None:
        self.pool, self.seats, self.job, self.hook = pool, seats, job, hook
        self.tenant = job.tenant if job else None
        self._client: Any = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Session {self.pool}={self.seats}{' (closed)' if self._closed else ''}>"

    @property
    def client(self) -> Any:
        """What the login yielded, guarded: once the session is closed, every use raises :class:`SessionClosed`."""
        self.check()
        return self._client

    @property
    def closed(self) -> bool:
        """Whether its job has ended."""
        return self._closed

    def check(self) -> None:
        """Raise :class:`SessionClosed` if it is closed."""
        if self._closed:
            raise SessionClosed(
                f"the session of pool {self.pool} ended with its job. Ask ctx.session() for this job's."
            )

    def _open(self, client: object) -> None:
        self._client = None if client is None else _Guard(self, client)

    def _close(self) -> None:
        self._closed = True


class _Guard:
    """Passes everything on to the client while the session is open; methods taken from it are guarded too."""

    __slots__ = ("_seatline_client", "_seatline_session")

    def __init__(self, session: Session, client: object) -> None:
        object.__setattr__(self, "_seatline_session", session)
        object.__setattr__(self, "_seatline_client", client)

    def __getattr__(self, name: str) -> Any:
        found = getattr(_inside(self), name)
        if not callable(found) or isinstance(found, type):  # a class, such as an exception to catch, is no way in
            return found
        return _Guard(object.__getattribute__(self, "_seatline_session"), found)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_inside(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_inside(self), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _inside(self)(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return _inside(self)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        _inside(self)[key] = value

    def __delitem__(self, key: Any) -> None:
        del _inside(self)[key]

    def __contains__(self, item: object) -> bool:
        return item in _inside(self)

    def __iter__(self) -> Iterator[Any]:
        return iter(_inside(self))

    def __len__(self) -> int:
        return len(_inside(self))

    def __bool__(self) -> bool:
        return bool(_inside(self))

    def __enter__(self) -> Any:
        return _inside(self).__enter__()

    def __exit__(self, *error: object) -> Any:
        return _inside(self).__exit__(*error)

    async def __aenter__(self) -> Any:
        return await _inside(self).__aenter__()

    async def __aexit__(self, *error: object) -> Any:
        return await _inside(self).__aexit__(*error)

    def __eq__(self, other: object) -> bool:
        other = object.__getattribute__(other, "_seatline_client") if isinstance(other, _Guard) else other
        return bool(_inside(self) == other)

    def __hash__(self) -> int:
        return hash(_inside(self))

    def __str__(self) -> str:
        return str(_inside(self))

    def __repr__(self) -> str:
        session: Session = object.__getattribute__(self, "_seatline_session")
        if session.closed:
            return f"<client of a closed session of pool {session.pool}>"
        return repr(object.__getattribute__(self, "_seatline_client"))


def _inside(guard: _Guard) -> Any:
    session: Session = object.__getattribute__(guard, "_seatline_session")
    session.check()
    return object.__getattribute__(guard, "_seatline_client")


@contextmanager
def opened(session: Session, login: Login | None, tell: Tell) -> Generator[Session]:
    """Log in, and out whatever happens; ``tell(event, detail)`` hears of session-open, session-close, logout-failed."""
    tell("session-open", session.pool)
    try:
        manager = _plain(session, login(session)) if login else None
        with _pool_named(session):
            session._open(manager.__enter__() if manager else None)  # noqa: SLF001 - left below, without the job's error
        try:
            yield session
        finally:
            session._close()  # noqa: SLF001 - this module is the session's life
            try:
                # The job's own error is not thrown into the login: one without try/finally logs out all the same.
                if manager:
                    manager.__exit__(None, None, None)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - never hides the job's own outcome
                tell("logout-failed", _said(session, error))
    finally:
        session._close()  # noqa: SLF001 - as above
        tell("session-close", session.pool)


@asynccontextmanager
async def opened_async(session: Session, login: Login | None, tell: Tell) -> AsyncGenerator[Session]:
    """Do the same for an async handler, whose login may be async or not."""
    found: object = login(session) if login else None
    if login and not isinstance(found, AbstractAsyncContextManager):
        with opened(session, lambda _: cast("AbstractContextManager[Any]", found), tell):
            yield session
        return
    manager = cast("AbstractAsyncContextManager[Any] | None", found)
    tell("session-open", session.pool)
    try:
        with _pool_named(session):
            session._open(await manager.__aenter__() if manager else None)  # noqa: SLF001 - as above
        try:
            yield session
        finally:
            session._close()  # noqa: SLF001 - as above
            try:
                if manager:
                    await manager.__aexit__(None, None, None)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
                tell("logout-failed", _said(session, error))
    finally:
        session._close()  # noqa: SLF001 - as above
        tell("session-close", session.pool)


def _plain(session: Session, made: object) -> AbstractContextManager[Any]:
    """Refuse what a login returned if it is no plain context manager."""
    if isinstance(made, AbstractContextManager):
        return cast("AbstractContextManager[Any]", made)
    if isinstance(made, AbstractAsyncContextManager):
        raise InvalidInput(f"the login of pool {session.pool} is async: only an async def handler can use it.")
    raise InvalidInput(
        f"the login of pool {session.pool} returned {made!r}, no context manager. Put @contextmanager on it, and yield."
    )


@contextmanager
def _pool_named(session: Session) -> Generator[None]:
    """A ``NoSeat`` from a log-in speaks of that login's pool."""
    try:
        yield
    except NoSeat as refused:
        refused.pool = refused.pool or session.pool
        raise


def _said(session: Session, error: BaseException) -> str:
    text = f"log-out of {session.pool}: {type(error).__name__}: {error}"
    log.warning("%s (the job's own outcome stands)", text)
    return text


def sessions_of(needs: Mapping[str, int], job: JobRecord) -> dict[str, Session]:
    """Make the sessions of one job, not yet open, by pool."""
    return {pool: Session(pool, seats, job=job) for pool, seats in sorted(needs.items())}
