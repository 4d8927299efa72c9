"""Workers die all the time, the server now and then: nothing is lost, nothing doubled, no seat over capacity (R1, R3, S2).

``SOAK_SEED=7 pytest -m soak`` repeats the faults of a run; who meets whom when is the machine's choice.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.processes import Child
from harness.server import RealServer
from soak.judge import judge
from soak.plan import CAPACITY, FULL, MINI, Plan
from soak.storm import Storm


@pytest.fixture
def weather(
    private_server: Callable[..., RealServer],
    new_namespace: Callable[[], str],
    spawn: Callable[..., Child],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[Plan], Storm]:
    """Run a plan and hand it over judged; what was seen is kept in the test's folder."""

    def run(plan: Plan) -> Storm:
        seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(10_000))
        server = private_server(appendonly=True, config=["appendfsync always"])
        storm = Storm(plan, seed, server, new_namespace(), spawn, tmp_path)
        try:
            storm.run()
            figures, wrong = judge(storm)
        finally:
            (tmp_path / "events.json").write_text(json.dumps(storm.events))
            for child in storm.farm.all:
                (tmp_path / f"worker-{child.pid}.log").write_text(child.errors())
        with capsys.disabled():
            sys.stdout.write(f"\n{json.dumps(figures)}\n")
        assert not wrong, "\n".join([f"seed {seed}, {len(wrong)} anomalies:", *wrong[:50]])
        return storm

    return run


def test_short_storm_loses_nothing(weather: Callable[[Plan], Storm]) -> None:
    """R1, R3, S2: two workers, six kills, a restart of the server."""
    storm = weather(MINI)
    assert storm.kills >= MINI.kills_least
    assert len(storm.ids) >= MINI.jobs


@pytest.mark.soak
@pytest.mark.timeout(150)
def test_long_storm_loses_nothing(weather: Callable[[Plan], Storm]) -> None:
    """R1, R3, S2: four workers of eight slots, more than a kill a second for a minute, 5,000 jobs and more."""
    storm = weather(FULL)
    assert storm.kills >= FULL.kills_least
    assert len(storm.ids) >= 5_000
    assert storm.seen["restarts"] == len(FULL.restarts)
    assert storm.frozen, "no worker was stopped with leases: nothing was shown of that"
    for pool in CAPACITY:
        assert storm.seen[f"most held of {pool}"] == CAPACITY[pool], "the pool was never full: nothing was shown"
