"""Settings short enough for tests of faults, and workers in processes of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from faults.corpus import Scene
from faults.farm import Farm
from harness.processes import Child

from seatline.producer import Queue


@pytest.fixture
def queue_at() -> Iterator[Callable[..., Queue]]:
    """Make queues that give up early: time-out 0.5 s, deadline 5 s unless said otherwise."""
    with contextlib.ExitStack() as queues:

        def make(url: str, namespace: str, *, timeout: float = 0.5, deadline: float = 5.0) -> Queue:
            return queues.enter_context(
                Queue(url, namespace=namespace, timeout=timeout, connect_timeout=0.5, deadline=deadline)
            )

        yield make


@pytest.fixture
def scene_at() -> Iterator[Callable[..., Scene]]:
    """Make scenes (`corpus.Scene`); their connections are closed in the end."""
    with contextlib.ExitStack() as scenes:
        yield lambda *args, **options: scenes.enter_context(Scene(*args, **options))


@pytest.fixture
def farm(spawn: Callable[..., Child], tmp_path_factory: pytest.TempPathFactory) -> Farm:
    """Start real worker processes and read what their handlers did."""
    return Farm(spawn, tmp_path_factory.mktemp("farm"))
