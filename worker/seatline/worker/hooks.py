"""Hooks of the worker's cycle, and what they are given. One that raises is told and does not stop the worker (C8)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from seatline.producer import Queue
from seatline.shared.config import Settings
from seatline.shared.errors import InvalidInput
from seatline.worker.events import Events
from seatline.worker.handlers import Handlers
from seatline.worker.sessions import Session, opened

__all__ = ["HookContext", "Hooks"]

log = logging.getLogger("seatline.worker")

WAIT: Final = 30.0


class HookContext:
    """What a hook is given: it holds no session of its own accord (C6).

    Attributes:
        name: of the hook: on_startup, on_wake, on_sleep, on_shutdown.
        worker: id of the worker.

    """

    def __init__(self, name: str, worker: str, settings: Settings, handlers: Handlers, url: str) -> None:
        self.name, self.worker = name, worker
        self._settings, self._handlers, self._url = settings, handlers, url
        self._queue: Queue | None = None

    def __repr__(self) -> str:
        return f"<HookContext {self.name} of worker {self.worker}>"

    @property
    def queue(self) -> Queue:
        """A producer on the worker's server and namespace: its own login, made at first use, closed after the hook."""
        if self._queue is None:
            self._queue = Queue(
                self._url,
                namespace=self._settings.namespace,
                password_file=self._settings.password_file,
                allow_eviction=self._settings.allow_eviction,
            )
        return self._queue

    def enqueue(self, type: str, params: dict[str, Any] | None = None, **more: Any) -> Any:
        """Enqueue a job now; see :meth:`seatline.producer.Queue.enqueue`. From on_sleep it runs in the next cycle (C9)."""
        return self.queue.enqueue(type, params or {}, **more)

    @contextmanager
    def open_session(self, pool: str, seats: int = 1, *, timeout: float | None = WAIT) -> Generator[Session]:
        """Take seats in the hook's own name and log in with the pool's login: ``with ctx.open_session("vault") as s:``.

        ``session.hook`` tells the login that it is for this hook. It stands in the pool's line like a program (S10).

        Args:
            pool: whose seats.
            seats: how many.
            timeout: seconds to wait for them; None: as long as it takes. Then TimeoutError.

        """
        login = self._handlers.logins.get(pool)
        if login is None:
            raise InvalidInput(f"open_session: no login is declared for pool {pool!r}; see handlers.login({pool!r}).")
        name = f"{self.name}.{self.worker}"[:128]
        session = Session(pool, seats, hook=self.name)
        with (
            self.queue.pools.session(pool, seats, timeout=timeout, name=name),
            opened(session, login, _nobody),
        ):
            yield session

    def close(self) -> None:
        """Close the queue, if it was used."""
        if self._queue:
            self._queue.close()


class Hooks:
    """Runs the hooks of one worker."""

    def __init__(
        self, worker: str, settings: Settings, handlers: Handlers, events: Events, url: Callable[[], str]
    ) -> None:
        self._worker, self._settings, self._handlers = worker, settings, handlers
        self._events, self._url = events, url

    def declared(self, name: str) -> bool:
        """Whether there is any of this name."""
        return bool(self._handlers.hooks[name])

    def run(self, name: str) -> None:
        """Run all hooks of this name, in the order in which they were declared."""
        self._events.tell(name)
        for hook in self._handlers.hooks[name]:
            ctx = HookContext(name, self._worker, self._settings, self._handlers, self._url())
            try:
                hook(ctx)
            except (Exception, SystemExit) as error:
                self._events.tell("hook-failed", f"{name}: {type(error).__name__}: {error}", hook=name)
                log.debug("%s", name, exc_info=True)
            finally:
                ctx.close()


def _nobody(_event: str, _detail: str) -> None:
    """Hear of a hook's session: the hook itself is told, that is enough."""
