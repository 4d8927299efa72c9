"""A trigger as a file: TOML or JSON with the words of :class:`~seatline.shared.job.Job`. Pure: text in, jobs out.

::

    coalesce = "10s"

    [[jobs]]
    type = "drawing.index"

    [[jobs]]
    type = "mail.send"
    priority = 20
    params = { to = "team" }

Durations are in seconds. A word that nobody knows is refused: one that is misspelt must not be passed over.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from typing import Any, cast

from seatline.shared.errors import InvalidInput
from seatline.shared.job import BULK_PRIORITY, Job

__all__ = ["trigger_from_file"]

_WORDS = tuple(spec.name for spec in fields(Job) if spec.name not in {"at", "token", "on_duplicate"})


def trigger_from_file(text: str) -> tuple[list[Job], str | float | None]:
    """Read the jobs of a trigger, of priority 100 unless they say so themselves, and its ``coalesce``.

    Raises:
        InvalidInput: neither TOML nor JSON, or a word that is not known; names the place.

    """
    table = _table(text)
    for word in table:
        if word not in {"jobs", "coalesce"}:
            raise InvalidInput(f"{word}: it is not known here; known are jobs, coalesce.")
    jobs: object = table.get("jobs")
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in cast("list[object]", jobs)):
        raise InvalidInput("jobs: it is not a list of tables. Write [[jobs]] in front of each job.")
    wanted = [_job(number, job) for number, job in enumerate(cast("list[dict[str, Any]]", jobs), 1)]
    return wanted, table.get("coalesce")


def _table(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"this is no TOML: {error}.") from None
    try:
        table: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"this is no JSON: {error}.") from None
    return table


def _job(number: int, table: dict[str, Any]) -> Job:
    for word in table:
        if word not in _WORDS:
            raise InvalidInput(f"job {number}: {word}: it is not known here; known are {', '.join(_WORDS)}.")
    if "type" not in table:
        raise InvalidInput(f"job {number}: type: it is missing.")
    values: dict[str, Any] = {"priority": BULK_PRIORITY, **table}
    return Job(**values)
