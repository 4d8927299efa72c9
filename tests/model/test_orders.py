"""Orders do in each story what the rules ask for, sound after every call (R1, O2 to O15); and bugs sown on purpose show."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pytest
from harness.server import RealServer
from redis.exceptions import ResponseError

from model.mutants import MUTANTS, ORDER_MUTANTS, Mutant, broken_scripts
from model.order_stories import ORDER_STORIES, Orders
from model.order_storm import storm
from model.real import Real
from seatline.console.invariants import broken
from seatline.console.moment import read_moment
from seatline.shared.config import Settings
from seatline.shared.store import Store

NAMESPACE = "stories"
Tell = Callable[[Callable[[Orders], None], Mapping[str, str]], None]


@pytest.fixture(scope="module")
def tell(server: RealServer) -> Iterator[Tell]:
    """Tell a story, with scripts that differ from the good ones; after each call all must be sound."""
    with (
        contextlib.closing(server.client()) as client,
        contextlib.closing(Store(Settings(url=server.url, namespace=NAMESPACE))) as store,
    ):

        def sound() -> None:
            found = broken(read_moment(store, set()))
            assert not found, "; ".join(str(violation) for violation in found)

        yield lambda story, changed: story(Orders(Real(client, NAMESPACE, changed), sound))
        client.flushall()


@pytest.mark.parametrize("story", ORDER_STORIES, ids=lambda story: story.__name__)
def test_o2_o15_the_story_goes_as_told(story: Callable[[Orders], None], tell: Tell) -> None:
    tell(story, {})


@pytest.mark.parametrize("seed", range(0, 60, 10))
def test_o2_r1_whatever_is_done_all_is_sound(seed: int, tell: Tell) -> None:
    for each in range(seed, seed + 10):
        tell(partial(storm, seed=each), {})


def test_there_are_enough_bugs() -> None:
    assert len(ORDER_MUTANTS) >= 20
    names = [mutant.name for mutant in (*MUTANTS, *ORDER_MUTANTS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", ORDER_MUTANTS, ids=lambda mutant: mutant.name)
def test_the_stories_catch(mutant: Mutant, tell: Tell) -> None:
    texts = broken_scripts(mutant)
    assert texts
    assert any(goes_wrong(tell, story, texts) for story in ORDER_STORIES), f"nothing saw {mutant.name}: {mutant.breaks}"


def goes_wrong(tell: Tell, story: Callable[[Orders], None], texts: Mapping[str, str]) -> bool:
    try:
        tell(story, texts)
    except (AssertionError, ResponseError):
        return True
    return False
