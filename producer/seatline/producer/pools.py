"""Pools of seats, and the seats a program holds itself."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from seatline.shared.calls import pools as verbs
from seatline.shared.calls import reads
from seatline.shared.calls.base import Call
from seatline.shared.calls.reads import PoolRecord
from seatline.shared.calls.talk import Talk, ask, rest
from seatline.shared.config import check_name
from seatline.shared.errors import InvalidInput, NoSuchPool, OutcomeUnknown, SeatlineError, StaleLease
from seatline.shared.job import DEFAULT_PRIORITY, SEATS_MOST, check_priority
from seatline.shared.keys import Keys
from seatline.shared.store.lane import client_id

if TYPE_CHECKING:
    from seatline.producer.queue import Queue

__all__ = ["Pools", "ProgramSession", "Wanted", "pool_record", "pool_records", "set_external", "set_pool"]

#: How long a waiting program's claim counts without being asked again (seconds); it asks at least every 5.
ASKS: Final = 8.0
DAY: Final = 86_400.0


def _count(what: str, value: object, low: int = 0) -> int:
    if type(value) is int and low <= value <= SEATS_MOST:
        return value
    raise InvalidInput(f"{what}: {value!r} is not a whole number from {low} to {SEATS_MOST:,}.")


def _keep_priority(value: object) -> int:
    try:
        return check_priority(value)
    except InvalidInput as error:
        raise InvalidInput(f"keep_{error}") from None


def _span(what: str, value: float, most: float, said: str) -> int:
    """Return seconds as ms, if they are a number from 1 to ``most``."""
    if type(value) in {int, float} and 1 <= value <= most:
        return int(value * 1000)
    raise InvalidInput(f"{what}: {value!r} is not a number of seconds from 1 to {said}.")


class Pools:
    """The licence pools of a namespace: ``queue.pools["vault"]`` shows one, ``set`` makes one."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._store = queue, queue.store

    def set(self, name: str, capacity: int, *, keep: int | None = None, keep_priority: int | None = None) -> bool:
        """Make a pool or change its capacity; returns True if it is new.

        A refusal of the licence server is forgotten: jobs that wait for it try again at once (C16).

        Args:
            name: of the pool.
            capacity: seats, 0 to a million. Lowered below what is held, nobody new gets in until it fits (S2).
            keep: the last so many seats go only to jobs of ``keep_priority`` or more urgent (S7).
            keep_priority: see ``keep``.

        """
        return self._store.run(set_pool(name, capacity, keep, keep_priority, self._queue.by))

    def remove(self, name: str) -> None:
        """Forget a pool. Raises PoolBusy while somebody holds seats of it, NoSuchPool if there is none."""
        self._store.run(verbs.remove_pool(check_name("pool", name), by=self._queue.by))

    def external(self, name: str, seats: int, *, ttl: float = 300.0) -> None:
        """Tell how many seats are used outside Seatline; they are withheld for ``ttl`` seconds (S8)."""
        self._store.run(set_external(name, seats, ttl, self._queue.by))

    def __getitem__(self, name: str) -> PoolRecord:
        """Return a pool: capacity, in_use, holders, waiting.

        Raises:
            NoSuchPool: there is none.

        """
        return self._store.talk(pool_record(self._store.keys, name))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the pools' names."""
        names = self._store.read(reads.name_set(self._store.keys, "pools"))
        return iter(names)

    def list(self) -> list[PoolRecord]:
        """Return all pools, by name."""
        return self._store.talk(pool_records(self._store.keys))

    def session(
        self,
        pool: str,
        seats: int = 1,
        *,
        ttl: float = 60.0,
        priority: int = DEFAULT_PRIORITY,
        timeout: float | None = None,
        name: str = "program",
    ) -> ProgramSession:
        """Hold seats in this program: ``with queue.pools.session("vault"): ...`` (S10).

        Args:
            pool: its name.
            seats: how many, all or none.
            ttl: seconds after which the seats are free again if this program dies; it renews itself every third of that.
            priority: its place in the pool's line, among waiting jobs too.
            timeout: seconds to wait for the seats; None: as long as it takes; 0: now or never.
            name: how holders' lists call it.

        """
        return ProgramSession(self._queue, Wanted.of(pool, seats, ttl, priority, timeout, name))


class ProgramSession:
    """Seats held by a program, renewed by a thread of their own until closed; lost (``.lost``) if it was away too long."""

    def __init__(self, queue: Queue, wanted: Wanted) -> None:
        self._store, self._wanted = queue.store, wanted
        self.pool, self.seats, self.owner = wanted.pool, wanted.seats, wanted.owner
        self.lost = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Wait for the seats and take them.

        Raises:
            TimeoutError: not free in time.
            NoSuchPool: there is no such pool.
            InvalidInput: more seats than the pool could ever give.

        """
        listener = self._store.listener(self._wanted.token)
        try:
            self._store.talk(self._wanted.taken(self._store.keys), listener)
        finally:
            listener.close()
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, name=f"seatline-session-{self.pool}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the seats back; closing twice does nothing."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        if not self._store.run(self._wanted.given_back()):
            self.lost = True

    def check(self) -> None:
        """Raise :class:`StaleLease` if the seats were taken back because this program was away for too long."""
        if self.lost:
            raise self._wanted.taken_back()

    def _renew(self) -> None:
        while not self._stop.wait(self._wanted.ttl / 3):
            try:
                if not self._store.run(self._wanted.renewed()):
                    self.lost = True
                    return
            except SeatlineError:
                continue  # the server is away; the session lives on there until its deadline, and a late renewal is good


@dataclass(frozen=True, slots=True)
class Wanted:
    """The seats that a program wants, or holds, and what it asks of the server."""

    pool: str
    seats: int
    ttl: float
    priority: int
    timeout: float | None
    token: str
    owner: str

    @classmethod
    def of(cls, pool: str, seats: int, ttl: float, priority: int, timeout: float | None, name: str) -> Wanted:
        """Check what somebody says."""
        check_name("name", name)
        _span("ttl", ttl, DAY, "a day")
        token = client_id()
        return cls(
            check_name("pool", pool),
            _count("seats", seats, 1),
            ttl,
            check_priority(priority),
            timeout,
            token,
            f"program:{name}:{token}",
        )

    def taken(self, keys: Keys) -> Talk[None]:
        """Wait for the seats and take them; whoever is interrupted meanwhile leaves none behind, and no place in the line."""
        end = None if self.timeout is None else time.monotonic() + self.timeout
        # Its place is known before it asks: whoever is interrupted while he asks could not give back one he was not told.
        place, asked = (yield from ask(verbs.place(keys, self.owner, self.seats))), False
        try:
            while True:
                left = 60.0 if end is None else end - time.monotonic()
                asks = 0 if left <= 0 else int(ASKS * 1000)
                asked = True
                word, detail = yield from ask(
                    verbs.open_session(
                        self.pool, self.owner, self.seats, ttl_ms=int(self.ttl * 1000), priority=self.priority,
                        place=place, asks_ms=asks,
                    )
                )  # fmt: skip
                if word == "ok":
                    return
                if word == "never":
                    asked = False
                    raise InvalidInput(
                        f"seats: {self.seats} of pool {self.pool} can never be had; it has {detail} less external use."
                    )
                if left <= 0:
                    asked = False
                    raise TimeoutError(f"pool {self.pool}: {self.seats} seats were not free within {self.timeout} s.")
                yield from rest(left)
        except BaseException as error:
            if asked and (isinstance(error, OutcomeUnknown) or not isinstance(error, SeatlineError)):
                with contextlib.suppress(SeatlineError):  # the server is away: what is held there expires
                    yield from ask(verbs.close_session(self.pool, self.owner, self.seats, place))
            raise

    def renewed(self) -> Call[int]:
        """Keep them; 0 is said if they were taken back."""
        return verbs.renew_session(self.pool, self.owner, self.seats, int(self.ttl * 1000))

    def given_back(self) -> Call[bool]:
        """Give them back; says whether they were still held."""
        return verbs.close_session(self.pool, self.owner, self.seats)

    def taken_back(self) -> StaleLease:
        """Say that they were."""
        return StaleLease(f"pool {self.pool}: this program's session was taken back; its seats may be somebody else's.")


def set_pool(name: str, capacity: int, keep: int | None, keep_priority: int | None, by: str = "") -> Call[bool]:
    """Check, and make the call."""
    if (keep is None) != (keep_priority is None):
        raise InvalidInput("keep, keep_priority: give both or none.")
    if keep is not None and keep_priority is not None:
        _count("keep", keep)
        _keep_priority(keep_priority)
    return verbs.set_pool(check_name("pool", name), _count("capacity", capacity), keep, keep_priority, by=by)


def set_external(name: str, seats: int, ttl: float, by: str = "") -> Call[int]:
    """Check, and make the call."""
    ttl_ms = _span("ttl", ttl, 366 * DAY, "a year")
    return verbs.set_external(check_name("pool", name), _count("seats", seats), ttl_ms, by=by)


def pool_record(keys: Keys, name: str) -> Talk[PoolRecord]:
    """Return a pool."""
    (record,) = yield from ask(reads.pool_records(keys, [check_name("pool", name)]))
    if record is None:
        raise NoSuchPool(f"pool {name}: no such pool. `seatline pools set {name} CAPACITY` makes it.")
    return record


def pool_records(keys: Keys) -> Talk[list[PoolRecord]]:
    """Return all pools, by name."""
    names = yield from ask(reads.name_set(keys, "pools"))
    records = yield from ask(reads.pool_records(keys, names))
    return [record for record in records if record]
