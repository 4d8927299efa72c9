"""Why do the jobs of a type not run? The next job of each of its lines, with all that keeps it (W1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from seatline.producer.why import Obstacle, Scene, obstacles
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.calls.moment import at_one_moment
from seatline.shared.calls.talk import Talk, ask
from seatline.shared.errors import InvalidInput
from seatline.shared.job import DEFAULT_PRIORITY, JobRecord
from seatline.shared.keys import Keys

__all__ = ["LineWhy", "why_type"]

#: A job that is not there stands behind all others.
LATEST: Final = "9" * 16


@dataclass(frozen=True, slots=True)
class LineWhy:
    """The waiting jobs of a type that use the same.

    Attributes:
        uses: ``pool=n,...`` or ``none``; None: what the type uses.
        waiting: how many there are.
        next: the one that would be reserved first; None: none waits.
        obstacles: all that keeps that one, or would keep one of the usual priority if it came now.

    """

    uses: str | None
    waiting: int
    next: JobRecord | None
    obstacles: list[Obstacle]


def why_type(keys: Keys, name: str) -> Talk[list[LineWhy]]:
    """Explain a type at one moment: each of its lines in which jobs wait, or what would keep a job of it.

    Raises:
        InvalidInput: there is no such type.

    """
    return at_one_moment(lambda: _look(keys, name))


def _look(keys: Keys, name: str) -> Talk[list[LineWhy]]:
    scene = yield from Scene.look(keys)
    if name not in scene.types:
        raise InvalidInput(f"type: no job of type {name!r} was ever here, and no worker supports it.")
    found: list[LineWhy] = []
    for uses in scene.types[name].lines:
        line = keys.ready(name, uses)
        commands: list[Command] = [("ZCARD", line), ("ZRANGE", line, 0, 0)]
        count, heads = yield from ask(
            Read(commands, lambda replies: (int(replies[0]), [text(each) for each in replies[1]]))
        )
        (record,) = (yield from ask(reads.job_records(keys, heads))) if heads else (None,)
        if record is not None:
            found.append(LineWhy(uses, count, record, (yield from _why(keys, scene, record))))
    if not found:
        to_come = JobRecord(id=LATEST, type=name, priority=DEFAULT_PRIORITY, state="ready", created=scene.now)
        found.append(LineWhy(None, 0, None, (yield from obstacles(keys, scene, to_come))))
    return found


def _why(keys: Keys, scene: Scene, job: JobRecord) -> Talk[list[Obstacle]]:
    """As of a single job, without reading the scene once more."""
    found: list[Obstacle] = []
    if job.order is not None:
        from seatline.producer.why_order import why_step  # noqa: PLC0415 - most jobs are of no order

        found += yield from why_step(keys, job)
    return found + (yield from obstacles(keys, scene, job))
