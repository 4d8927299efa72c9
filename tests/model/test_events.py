"""What has happened triggers its jobs once in each story, sound after every call (Q20); and bugs sown on purpose show."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import pytest
from harness.server import RealServer
from redis.exceptions import ResponseError

from model.event_stories import EVENT_STORIES, Facts
from model.mutants import EVENT_MUTANTS, MUTANTS, ORDER_MUTANTS, Mutant, broken_scripts
from model.real import Real
from seatline.console.invariants import broken
from seatline.console.moment import read_moment
from seatline.shared.config import Settings
from seatline.shared.store import Store

NAMESPACE = "events"
Story = Callable[[Facts], None]
Tell = Callable[[Story, Mapping[str, str]], None]


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

        yield lambda story, changed: story(Facts(Real(client, NAMESPACE, changed), sound))
        client.flushall()


@pytest.mark.parametrize("story", EVENT_STORIES, ids=lambda story: story.__name__)
def test_q20_the_story_goes_as_told(story: Story, tell: Tell) -> None:
    tell(story, {})


def test_there_are_enough_bugs() -> None:
    assert len(EVENT_MUTANTS) >= 12
    names = [mutant.name for mutant in (*MUTANTS, *ORDER_MUTANTS, *EVENT_MUTANTS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", EVENT_MUTANTS, ids=lambda mutant: mutant.name)
def test_q20_the_stories_catch(mutant: Mutant, tell: Tell) -> None:
    texts = broken_scripts(mutant)
    assert texts
    assert any(goes_wrong(tell, story, texts) for story in EVENT_STORIES), f"nothing saw {mutant.name}: {mutant.breaks}"


def goes_wrong(tell: Tell, story: Story, texts: Mapping[str, str]) -> bool:
    try:
        tell(story, texts)
    except (AssertionError, ResponseError):
        return True
    return False
