"""The chains of a namespace, as their users see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatline.shared.calls import orders as verbs
from seatline.shared.calls.orders import ChainRecord
from seatline.shared.config import check_name

if TYPE_CHECKING:
    from seatline.producer.queue import Queue

__all__ = ["Chains"]


class Chains:
    """The chains of a namespace: ``queue.chains["release"]`` shows one; ``queue.define`` makes one."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._store = queue, queue.store

    def __getitem__(self, name: str) -> ChainRecord:
        """Return a chain.

        Raises:
            NoSuchChain: there is none of that name.

        """
        for record in self._read([check_name("chain", name)]):
            return record
        raise verbs.no_chain(name)

    def list(self) -> Sequence[ChainRecord]:
        """Return all chains, by name."""
        names = self._store.read(verbs.chain_names(self._store.keys))
        return self._read(names)

    def _read(self, names: Sequence[str]) -> Sequence[ChainRecord]:
        keys = self._store.keys
        versions = self._store.read(verbs.chain_versions(keys, names)) if names else {}
        found = self._store.read(verbs.chain_records(keys, versions)) if versions else []
        return [record for record in found if record is not None]

    def stop(self, name: str, step: str | None = None) -> bool:
        """Let orders collect in front of a chain, or of one of its steps; what runs goes on (O11).

        Returns False if it was stopped already.

        Raises:
            NoSuchChain, NoSuchStep: there is none of that name.

        """
        return self._gate(name, "stop", step, self._queue.by)

    def start(self, name: str, step: str | None = None) -> bool:
        """Let them go on. Returns False if it was not stopped."""
        return self._gate(name, "stop", step, "")

    def skip(self, name: str, step: str) -> bool:
        """Have orders pass a step without running it, until :meth:`unskip`. Returns False if that was so already (O11)."""
        return self._gate(name, "skip", step, self._queue.by)

    def unskip(self, name: str, step: str) -> bool:
        """Have the step run again. Returns False if it was not skipped."""
        return self._gate(name, "skip", step, "")

    def _gate(self, name: str, kind: verbs.Gate, step: str | None, by: str) -> bool:
        check_name("chain", name)
        if step is not None:
            check_name("step", step)
        return self._store.run(verbs.gate(name, kind, step, by))
