"""The chains of a namespace, as their users see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatline.shared.calls import orders as verbs
from seatline.shared.calls.base import Call
from seatline.shared.calls.orders import ChainRecord
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.config import check_name
from seatline.shared.keys import Keys

if TYPE_CHECKING:
    from seatline.producer.queue import Queue

__all__ = ["Chains", "chain_record", "chain_records", "gate"]


class Chains:
    """The chains of a namespace: ``queue.chains["release"]`` shows one; ``queue.define`` makes one."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._store = queue, queue.store

    def __getitem__(self, name: str) -> ChainRecord:
        """Return a chain.

        Raises:
            NoSuchChain: there is none of that name.

        """
        return self._store.talk(chain_record(self._store.keys, name))

    def list(self) -> Sequence[ChainRecord]:
        """Return all chains, by name."""
        return self._store.talk(chain_records(self._store.keys))

    def stop(self, name: str, step: str | None = None) -> bool:
        """Let orders collect in front of a chain, or of one of its steps; what runs goes on (O11).

        Returns False if it was stopped already.

        Raises:
            NoSuchChain, NoSuchStep: there is none of that name.

        """
        return self._store.run(gate(name, "stop", step, self._queue.by))

    def start(self, name: str, step: str | None = None) -> bool:
        """Let them go on. Returns False if it was not stopped."""
        return self._store.run(gate(name, "stop", step, "", self._queue.by))

    def skip(self, name: str, step: str) -> bool:
        """Have orders pass a step without running it, until :meth:`unskip`. Returns False if that was so already (O11)."""
        return self._store.run(gate(name, "skip", step, self._queue.by))

    def unskip(self, name: str, step: str) -> bool:
        """Have the step run again. Returns False if it was not skipped."""
        return self._store.run(gate(name, "skip", step, "", self._queue.by))


def chain_record(keys: Keys, name: str) -> Talk[ChainRecord]:
    """Return a chain."""
    for record in (yield from _records(keys, [check_name("chain", name)])):
        return record
    raise verbs.no_chain(name)


def chain_records(keys: Keys) -> Talk[list[ChainRecord]]:
    """Return all chains, by name."""
    names = yield from ask(verbs.chain_names(keys))
    return (yield from _records(keys, names))


def _records(keys: Keys, names: Sequence[str]) -> Talk[list[ChainRecord]]:
    versions = (yield from ask(verbs.chain_versions(keys, names))) if names else {}
    found = (yield from ask(verbs.chain_records(keys, versions))) if versions else []
    return [record for record in found if record is not None]


def gate(name: str, kind: verbs.Gate, step: str | None, by: str, lifter: str = "") -> Call[bool]:
    """Check, and make the call that sets a gate, or lifts it (``by`` '')."""
    check_name("chain", name)
    if step is not None:
        check_name("step", step)
    return verbs.gate(name, kind, step, by, lifter)
