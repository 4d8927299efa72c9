"""Typed jobs: a type's name together with the class of its params.

::

    @dataclass
    class Publish:
        file: str
        sheets: int = 1

    publish = JobType("drawing.publish", Publish)

    queue.enqueue(publish, Publish(file="a.dwg"))      # the producer: checked by its type checker, and when it runs

    @handlers.handler(publish)                         # the worker: is given a Publish
    def run(ctx: Context, params: Publish) -> None: ...

What is stored are plain params, a mapping of names, as if there were no class: plain producers and handlers, other
languages and people see no difference, and either side may be typed without the other. So a worker checks them too:
what does not fit fails the job with ``BadParams``, which is not tried again. A field that the class does not have is
refused by its name: it is a misspelled one, or meant for a newer worker. A step of an order is given those of the
merged params that its class has, as with any handler.

Two things a job type does not say. What its jobs *use*: that is the handlers' word (S13), and would contradict them
sooner or later. What its handler *returns*: a result is whatever came over the wire, which nobody has checked, and a
``JobHandle[Result]`` would ask everybody for a parameter who only names a handle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack, cast

from seatline.shared.annotations import record_of
from seatline.shared.config import check_name
from seatline.shared.job import Job

P = TypeVar("P")

__all__ = ["ChildOptions", "JobOptions", "JobType"]


class ChildOptions(TypedDict, total=False):
    """What a job may be given beside type and params; see :class:`~seatline.shared.job.Job`."""

    priority: int
    uses: Mapping[str, int] | None
    tenant: str | None
    title: str | None
    tags: Sequence[str]
    at: dt.datetime | None
    delay: float | dt.timedelta | None
    token: str | None
    result_ttl: float | None
    expires: float | dt.timedelta | dt.datetime | None
    unique: str | bool | None
    supersede: str | None


class JobOptions(ChildOptions, total=False):
    """The same for a producer, who can be told of a duplicate."""

    on_duplicate: Literal["return", "refuse"]


class JobType(Generic[P]):
    """The name of a type of jobs and the class of its params.

    Args:
        type: a stable dotted name such as ``drawing.publish``.
        params: a dataclass, a TypedDict or a pydantic model (version 2). Their fields may be of any kind that can be
            stored, of enums, Literal, unions and containers of these, and of further such classes.

    Raises:
        InvalidInput: a bad name, another kind of class, or a field of a kind that cannot be stored; names the field.

    """

    __slots__ = ("_shape", "params", "type")

    def __init__(self, type: str, params: type[P]) -> None:
        self.type = check_name("type", type)
        self.params = params
        self._shape = record_of(params, params.__name__ if hasattr(params, "__name__") else "params")

    def __repr__(self) -> str:
        return f"<JobType {self.type}: {self._shape.says}>"

    @property
    def accepts(self) -> frozenset[str]:
        """The names that its params may have."""
        return self._shape.accepts

    @property
    def requires(self) -> frozenset[str]:
        """Those that have no default. A pydantic model says itself what is missing."""
        return self._shape.requires

    @property
    def open_ended(self) -> bool:
        """Whether any further name may be there: a pydantic model that says ``extra="allow"`` or ``"ignore"``."""
        return self._shape.open_ended

    def plain(self, params: P) -> dict[str, Any]:
        """Check params and return them as they are stored: names to plain values.

        Raises:
            InvalidInput: they are no instance of the class, or a field holds another kind of value; names the field.

        """
        return cast("dict[str, Any]", self._shape.turn(params, "params", "store"))

    def read(self, params: Mapping[str, Any]) -> P:
        """Make an instance of stored params.

        Raises:
            InvalidInput: they do not fit; names the field.

        """
        return cast("P", self._shape.turn(dict(params), "params", "load"))

    def job(self, params: P, **options: Unpack[JobOptions]) -> Job:
        """Return a job to be handed to ``enqueue_many`` and wherever else a :class:`Job` is taken.

        Args:
            params: an instance of the class (of a TypedDict: a dict).
            options: as for :class:`~seatline.shared.job.Job`.

        Raises:
            InvalidInput: as :meth:`plain`.

        """
        return Job(self.type, self.plain(params), **options)
