"""Crash points: everything is killed at a named moment, and goes on as if nothing had been (O1 to O3, T1 to T5).

``pytest -m crash`` plays them all; ``pytest -m crash -k before-report-of-two`` those of one moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from crash import scenes_errors, scenes_events, scenes_lists, scenes_people, scenes_steps, scenes_time
from crash.moments import MOMENTS, Point
from crash.nest import Nest
from crash.stage import FSYNCS, KILLED, Stage
from harness.proxy import FaultProxy
from harness.server import RealServer

pytestmark = pytest.mark.crash

#: Their import enters their moments.
SCENES: Final = (scenes_steps, scenes_errors, scenes_lists, scenes_people, scenes_time, scenes_events)
POINTS: Final = [Point(*point) for point in product(MOMENTS, KILLED, FSYNCS)]


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    nest: Nest,
    private_server: Callable[..., RealServer],
    proxy_to: Callable[[RealServer], FaultProxy],
    namespace: str,
    tmp_path: Path,
) -> Iterator[Stage]:
    """The stage of a crash point, which is the fixture's parameter."""
    point: Point = request.param
    server = private_server(appendonly=True, config=[f"appendfsync {point.fsync}"])
    made = Stage(point.killed, server, (proxy_to(server), proxy_to(server)), nest, namespace, tmp_path)
    with contextlib.closing(made):
        yield made


def test_points_are_many() -> None:
    """A hundred crash points at least, each with a name of its own; and moments for each rule that is to survive them."""
    names = {point.name for point in POINTS}
    assert len(names) == len(POINTS) == 6 * len(MOMENTS)
    assert len(names) >= 100
    assert {"O1", "O2", "O3", "T1", "T2", "T3", "T5", "Q20"} <= {rule for moment in MOMENTS for rule in moment.rules}


@pytest.mark.parametrize(
    ("stage", "point"), [(point, point) for point in POINTS], ids=[point.name for point in POINTS], indirect=["stage"]
)
def test_goes_on_as_if_nothing_had_been(stage: Stage, point: Point) -> None:
    """O1, O2, O3, T1, T2, T3, T5: no step skipped, none accepted twice, nothing lost, outputs right, ids new."""
    point.moment.play(stage)
