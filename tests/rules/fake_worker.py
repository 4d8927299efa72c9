"""A worker without threads: each of its exchanges with the server happens when the test says so, so every order of
events can be had. It waits on no bell; whether its bell was rung is looked up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from seatline.shared.calls import workers as verbs
from seatline.shared.calls.base import Read, Word
from seatline.shared.calls.workers import Kept, Report, Suspect, Taken
from seatline.shared.config import Settings
from seatline.shared.job import uses_text
from seatline.shared.store import Store
from seatline.shared.store.lane import client_id

__all__ = ["FakeWorker"]


class FakeWorker:
    """One worker; ``types``: type -> what it uses.

    Attributes:
        held: what it runs, by id, in the order reserved.
        listed: whether its last turn may have registered it idle.

    """

    def __init__(
        self,
        url: str,
        namespace: str,
        types: Mapping[str, Mapping[str, int]],
        *,
        slots: int = 1,
        lease: float = 60.0,
        block: float = 60.0,
        if_lost: str = "interrupt",
    ) -> None:
        self.store = Store(Settings(url=url, namespace=namespace, lease=lease), role="worker")
        self.id, self.slots = client_id(), slots
        self.bell = f"b{self.id}"
        self.lease_ms, self.block_ms = int(lease * 1000), int(block * 1000)
        self.held: dict[str, Taken] = {}
        self.listed = False
        self._types = {name: (uses_text(uses), if_lost) for name, uses in sorted(types.items())}
        self.digest = hashlib.blake2b(repr(self._types).encode(), digest_size=6).hexdigest()
        self.offer()

    @property
    def types(self) -> list[str]:
        return list(self._types)

    def offer(self, presence: float = 60.0) -> None:
        fields: dict[str, Word] = {"host": "here", "pid": 1, "slots": self.slots, "bell": self.bell}
        self.store.run(verbs.offer(self.id, self.digest, int(presence * 1000), fields, self._types))

    def report(self, job_id: str, outcome: str, *fields: Word, **more: Any) -> Report:
        """Make a report of a job that it runs, for :meth:`turn`."""
        return Report(job_id, self.held.pop(job_id).token, outcome, list(fields), **more)

    def turn(
        self,
        *done: str | Report,
        outcome: str = "succeeded",
        want: int | None = None,
        waits: bool = True,
    ) -> list[str]:
        """Settle the jobs ``done`` and reserve for the free slots, or ``want``; returns the ids reserved.

        It takes its own bell off first, as the thread that waits on it would have.
        """
        reports = [each if isinstance(each, Report) else self.report(each, outcome) for each in done]
        want = self.slots - len(self.held) if want is None else want
        waits = waits and want > 0
        self.answer()
        told = self.store.run(
            verbs.turn(
                worker=self.id,
                digest=self.digest,
                lease_ms=self.lease_ms,
                want=want,
                bell=self.bell if waits else "",
                block_ms=self.block_ms,
                listed=self.listed,
                kept=Kept(),
                reports=reports,
            )
        )
        assert not told.no_offer
        self.due, self.states, self.planned = told.due, list(told.states), list(told.planned)
        self.listed = waits
        for taken in told.jobs:
            self.held[taken.id] = taken
        return [taken.id for taken in told.jobs]

    def settle(self, *done: str, outcome: str = "succeeded") -> None:
        """End these jobs, or all it holds, and take no other."""
        self.turn(*(done or tuple(self.held)), outcome=outcome, want=0)

    def answer(self) -> bool:
        """Take the ring off the bell, as BLPOP does; tells whether there was one."""
        return self.store.read(_pop(self.store.keys.bell(self.bell)))

    def hear(self) -> str:
        """Take the next word off the bell: ``ring``, ``look`` or ""."""
        came = self.store.read(Read([("LPOP", self.store.keys.bell(self.bell))], lambda replies: replies[0]))
        return "look" if came == b"look" else "ring" if came else ""

    def rung(self) -> bool:
        """Whether its bell holds a ring."""
        return self.store.read(_length(self.store.keys.bell(self.bell))) > 0

    def renew(self) -> verbs.Renewal:
        held = [(job_id, taken.token) for job_id, taken in self.held.items()]
        return self.store.run(
            verbs.renew(
                worker=self.id,
                digest=self.digest,
                lease_ms=self.lease_ms,
                presence_ms=60_000,
                kept=Kept(),
                fields={"bell": self.bell},
                held=held,
            )
        )

    def sleep(self, seconds: float, presence: float = 60.0) -> int:
        """Log out as a classic worker does; it has closed its bell. Its next turn ends the registration."""
        self.listed = True
        fields: dict[str, Word] = {"state": "sleeping"}
        return self.store.run(verbs.sleep(self.id, self.digest, int(seconds * 1000), int(presence * 1000), fields))

    def reap(self, *suspects: Suspect) -> list[str]:
        return self.store.run(verbs.reap(self.id, suspects))

    def leave(self, *, last_turn: bool = True) -> None:
        """End as a worker does: off the list of the idle, then goodbye; or without that last turn."""
        if last_turn and (self.listed or self.held):
            self.turn(*self.held, outcome="abandoned", want=0)
        self.store.run(verbs.leave(self.id, self.digest, self.bell))

    def close(self) -> None:
        self.store.close()


def _pop(bell: str) -> Read[bool]:
    return Read([("LPOP", bell)], lambda replies: replies[0] is not None)


def _length(bell: str) -> Read[int]:
    return Read([("LLEN", bell)], lambda replies: int(replies[0]))
