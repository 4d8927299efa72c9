"""What ``seatline jobs`` does to many jobs: how they are chosen, and what is said of each and of all (Q22)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatline.console.many import Act, Kind, act_on, choosing
from seatline.console.target import Target

if TYPE_CHECKING:
    from seatline.producer import Acted, JobHandle, Queue, Selection

__all__ = ["FILTERS", "act_on_jobs", "jobs_told", "some_jobs"]

F = TypeVar("F", bound=Callable[..., Any])

#: The filters that jobs have beside those of all kinds.
FILTERS = (
    click.option("--type", "type_", metavar="TYPE", help="All of this type."),
    click.option("--tag", metavar="NAME", help="All of this tag, such as load:ID."),
)


def some_jobs(*states: str) -> Callable[[F], F]:
    """Give a command ids of jobs, or filters; ``states``: those of ``--all`` unless ``--state`` says others."""
    return choosing("job", *states, filters=FILTERS)


def act_on_jobs(
    target: Target,
    usual: Sequence[str],
    one: Callable[[JobHandle], str],
    all_: Callable[[Selection, Callable[[Acted], None]], Acted],
    told: Callable[[Acted], str],
    never: Mapping[str, str],
    **chosen: Any,
) -> None:
    """Do it to the jobs that are named, or to all that match; ``usual``: of these states unless others are said.

    ``never``: states in which it cannot be done, and why.
    """
    from seatline.shared.job import job_id  # noqa: PLC0415 - `seatline --help` stays fast

    kind: Kind[JobHandle, Selection] = Kind(
        noun="job",
        filters={"type_": "of type", "tag": "of tag"},
        read_id=job_id,
        shown=lambda each: str(int(each)),
        handle=lambda queue, each: queue.handle(each),
        look=_look,
        some=lambda found, most: found.ids[:most],
    )
    act_on(target, kind, Act(one, all_, told, usual, never), **chosen)


def _look(queue: Queue, states: Sequence[str], said: dict[str, Any], on: Callable[[int], None]) -> Selection:
    return queue.select(
        state=states,
        type=said.get("type_"),
        tenant=queue.settings.tenant,
        tag=said.get("tag"),
        error=said.get("error"),
        older_than=said.get("older_than"),
        on=on,
    )


def jobs_told(acted: Acted, word: str | None = None) -> str:
    """Say how many jobs were acted on, of which ``word`` came."""
    count = acted.done.total() if word is None else acted.done[word]
    return f"{count:,} job{'' if count == 1 else 's'}"
