"""The model sees: each bug of `mutants.py` is caught, by a story or by random histories that are the same each time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from harness.server import RealServer
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis
from redis.exceptions import ResponseError

from model.machine import Machine
from model.mutants import MUTANTS, Mutant, broken_scripts
from model.real import Real
from model.stories import STORIES

HISTORIES, STEPS = 100, 40


@pytest.fixture(scope="module")
def client(server: RealServer) -> Iterator[Redis]:
    with contextlib.closing(server.client()) as client:
        yield client
        client.flushall()


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 18
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_model_catches(mutant: Mutant, client: Redis) -> None:
    texts = broken_scripts(mutant)
    assert texts

    class Watched(Machine):
        real = Real(client, "mutant", texts)

    assert _told(Watched) or _random(Watched), f"nothing saw {mutant.name}: {mutant.breaks}"


def _told(machine: type[Machine]) -> str:
    """Return the name of the first story that goes wrong."""
    for story in STORIES:
        told = machine()
        try:
            story(told)
            told.equal()
        except (AssertionError, ResponseError):
            return story.__name__
    return ""


def _random(machine: type[Machine]) -> bool:
    """Return whether a random history goes wrong."""
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=HISTORIES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                database=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            ),
        )
    except (AssertionError, ResponseError):
        return True
    return False
