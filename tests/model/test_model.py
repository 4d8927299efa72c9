"""The scripts do what the model says, in random histories; each failure prints a shortest one.

Workers of few types look at each line, those of many at an index of heads: both are tried. A default run takes less than
a minute; `HYPOTHESIS_PROFILE=nightly` looks much longer. With `CI` set the histories are
the same each time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest
from harness.server import RealServer
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from model.machine import Machine
from model.real import Real, assemble, many_types
from model.stories import STORIES
from seatline.console.audit import audit
from seatline.shared import scripts
from seatline.shared.config import Settings
from seatline.shared.store import Store

NAMESPACE = "model"
Verify = Callable[[], list[str]]
PROFILES = {"default": (100, 40), "nightly": (2_500, 80)}


@pytest.fixture
def client(server: RealServer) -> Iterator[Redis]:
    with contextlib.closing(server.client()) as client:
        yield client
        client.flushall()


@pytest.fixture
def verify(server: RealServer) -> Iterator[Verify]:
    """Say what `seatline verify` would, over one connection: a look at each step would make one each time."""
    with contextlib.closing(Store(Settings(url=server.url, namespace=NAMESPACE), role="verify")) as store:
        yield lambda: [str(violation) for violation in audit(store).violations]


def test_the_test_build_is_what_the_server_is_sent() -> None:
    for name in scripts.names():
        assert assemble(name) == scripts.script(name).text


@pytest.mark.parametrize("few", [30, 2], ids=["lines", "index"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story(story: Callable[[Machine], None], few: int, client: Redis, verify: Verify) -> None:
    class Told(Machine):
        real = Real(client, NAMESPACE, {"offer": assemble("offer", many_types(few))})

    Told.verify = staticmethod(verify)
    machine = Told()
    story(machine)
    machine.equal()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("few", [30, 2], ids=["lines", "index"])
def test_the_scripts_do_what_the_model_says(few: int, client: Redis, verify: Verify) -> None:
    """Q1, Q2, Q3, Q9, Q10, Q12, Q14, Q19, Q22, Q23, S1, S2, S6, S7, S8, S10, T2, T3, T5, W2, R1, R2."""

    class Checked(Machine):
        real = Real(client, NAMESPACE, {"offer": assemble("offer", many_types(few))})

    Checked.verify = staticmethod(verify)
    examples, steps = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "default")]
    run_state_machine_as_test(
        Checked,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize="CI" in os.environ,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.reuse, Phase.generate, Phase.shrink],
            database=None,
        ),
    )
