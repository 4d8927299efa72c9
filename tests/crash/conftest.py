"""The process that the workers of a run are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crash.nest import Nest


@pytest.fixture(scope="session")
def nest() -> Iterator[Nest]:
    """Start it when it is first wanted; it ends with the run, and its workers with it."""
    with Nest() as made:
        yield made
