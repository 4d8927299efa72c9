"""What the versions of a watched folder become: jobs of a type, or orders of a chain.

Each has a *name* that is made from the version: a job its token, an order its id. The queue takes a name once, for as long as
it keeps what bears it; so whoever begins a version that was begun before is told so, and begins nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from seatline.producer.orders import OrderHandle
from seatline.producer.watch_folder import Version
from seatline.producer.watch_params import order_id_of, token_of
from seatline.shared.calls import orders as verbs
from seatline.shared.calls import reads
from seatline.shared.config import check_name
from seatline.shared.errors import Conflict, InvalidInput, OrderExists
from seatline.shared.job import check_priority

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # for its default; only type checkers come here

    from seatline.producer.handle import JobHandle
    from seatline.producer.queue import Queue

    #: What a watch takes files as; `Watch` alone is one of jobs.
    H = TypeVar("H", bound=JobHandle | OrderHandle, default=JobHandle)
    Handle_co = TypeVar("Handle_co", covariant=True)
else:
    from typing import TypeVar

    H = TypeVar("H")
    Handle_co = TypeVar("Handle_co", covariant=True)

__all__ = ["H", "Jobs", "Orders", "WatchOptions", "Work", "work_of"]


class WatchOptions(TypedDict, total=False):
    """What may be said of a watch beside its queue, its folder and its type or chain; see :class:`Watch`."""

    patterns: Sequence[str]
    ignore: Sequence[str]
    recursive: bool
    settle: float
    params: Mapping[str, Any] | None
    priority: int
    tenant: str | None
    title: str | None
    by_content: bool
    then: str
    failed: str
    interval: float | None
    memory: str | os.PathLike[str] | None


class Work(Protocol[Handle_co]):
    """Jobs or orders, as a watch begins and follows them; as a text: what the log calls them.

    Attributes:
        kind: ``type`` or ``chain``; ``of``: its name; ``noun``: ``job`` or ``order``.

    """

    kind: str
    of: str
    noun: str

    def check(self) -> None:
        """Ask the server whether there is such a thing, so that a slip is told at the start.

        Raises:
            NoSuchChain: there is no chain of that name.

        """

    def name(self, path: str, version: Version, sha256: str | None) -> tuple[str, bytes]:
        """Return the name of a version, and a key for its file: its path, or its content if that counts."""
        ...

    def begin(self, name: str, params: Mapping[str, Any], title: str | None) -> tuple[Handle_co | None, bool]:
        """Begin a version, or find what it has; returns that, and whether it is new. None: it is gone by now."""
        ...

    def find(self, name: str) -> Handle_co | None:
        """Return what bears a name, or None."""
        ...

    def ends(self, ids: Sequence[str]) -> list[reads.End | None]:
        """Ask what became of these; None for those that do not exist."""
        ...

    def said(self, id: str) -> str:
        """Return an id for people."""
        ...


class Jobs:
    """A job of one type for each version."""

    kind, noun = "type", "job"

    def __init__(self, queue: Queue, type: str, priority: int, tenant: str | None) -> None:
        self._queue, self.of, self._priority = queue, check_name("type", type), check_priority(priority)
        self._tenant = None if tenant is None else check_name("tenant", tenant)

    def __str__(self) -> str:
        return self.of

    def check(self) -> None:
        """Any name is a type."""

    def name(self, path: str, version: Version, sha256: str | None) -> tuple[str, bytes]:
        """Return the job's token, and the file's key."""
        return token_of(self.of, path, version, sha256)

    def begin(self, name: str, params: Mapping[str, Any], title: str | None) -> tuple[JobHandle | None, bool]:
        """Enqueue the job, or find the one that has the token."""
        try:
            job = self._queue.enqueue(
                self.of, params, priority=self._priority, tenant=self._tenant, title=title, token=name
            )
        except Conflict:  # taken by a watch with other params, or the same content under another name
            return self.find(name), False
        return job, not job.existed

    def find(self, name: str) -> JobHandle | None:
        """Return the job that has this token."""
        return self._queue.find(name)

    def ends(self, ids: Sequence[str]) -> list[reads.End | None]:
        """Ask what became of jobs."""
        return self._queue.store.read(reads.job_ends(self._queue.store.keys, ids))

    def said(self, id: str) -> str:
        """Return ``job 42``."""
        return f"job {int(id)}"


class Orders:
    """An order of one chain for each version."""

    kind, noun = "chain", "order"

    def __init__(self, queue: Queue, chain: str, priority: int, tenant: str | None) -> None:
        self._queue, self.of, self._priority = queue, check_name("chain", chain), check_priority(priority)
        self._tenant = None if tenant is None else check_name("tenant", tenant)

    def __str__(self) -> str:
        return f"chain {self.of}"

    def check(self) -> None:
        """Raise NoSuchChain if there is none of that name."""
        self._queue.chains[self.of]

    def name(self, path: str, version: Version, sha256: str | None) -> tuple[str, bytes]:
        """Return the order's id, and the file's key."""
        return order_id_of(self.of, path, version, sha256)

    def begin(self, name: str, params: Mapping[str, Any], title: str | None) -> tuple[OrderHandle | None, bool]:
        """Start the order, or find the one that has the id."""
        try:
            order = self._queue.start(
                self.of, params, id=name, priority=self._priority, tenant=self._tenant, title=title
            )
        except OrderExists:  # of another watch, of an earlier one, or of a person who was in a hurry
            return self._queue.order(name), False
        return order, True

    def find(self, name: str) -> OrderHandle | None:
        """Return the order that has this id."""
        (found,) = self.ends([name])
        return None if found is None else self._queue.order(name)

    def ends(self, ids: Sequence[str]) -> list[reads.End | None]:
        """Ask what became of orders; one that has failed and of which an element is under way is running."""
        found = self._queue.store.read(reads.order_ends(self._queue.store.keys, ids))
        return [
            end._replace(state="running") if end and any(self._begun(order_id, step) for step in end.each) else end
            for order_id, end in zip(ids, found, strict=True)
        ]

    def _begun(self, order_id: str, step: str) -> bool:
        """Whether elements of a step are under way; the others begin only if the order is resumed."""
        *_, jobs = self._queue.store.read(verbs.elements(self._queue.store.keys, order_id, step))
        return jobs > 0

    def said(self, id: str) -> str:
        """Return ``order pump.k3mzx...``."""
        return f"order {id}"


def work_of(queue: Queue, type: str | None, chain: str | None, priority: int, tenant: str | None) -> Jobs | Orders:
    """Return what the files of a watch become.

    Raises:
        InvalidInput: a bad name; neither a type nor a chain, or both.

    """
    if type is not None and chain is None:
        return Jobs(queue, type, priority, tenant)
    if chain is not None and type is None:
        return Orders(queue, chain, priority, tenant)
    said = "neither is given" if type is None else "both are given"
    raise InvalidInput(f"type, chain: {said}. A file becomes a job of a type, or an order of a chain: say which.")
