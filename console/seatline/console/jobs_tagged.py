"""Wait for all jobs of a tag: those of a load by the ids that it was given, others by what there was at the start.

A look asks for the states of those that have not ended. They end roughly in the order of their ids, so it begins at the
front and goes on while it finds ends; behind that it looks at a few, in turns, so that none is forgotten. A million waiting
jobs cost the server about as much as ten.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from seatline.console.bar import Bar
from seatline.console.waiting import GOOD_ENDS

if TYPE_CHECKING:
    from seatline.producer import Queue

__all__ = ["wait_for_tag"]

PAGE: Final = 500
#: Pages without an end after which a look goes no further; pages that it looks at in turns; the most from the front.
QUIET_PAGES, TURN_PAGES, MOST_PAGES = 4, 8, 40
BETWEEN: Final = 0.5  # seconds between two looks
#: A load that has not ended and has not moved for so long, in seconds, is not waited for.
STALLED: Final = 15.0
GONE: Final = "no longer kept"


class _Tagged:
    """The jobs of a tag: how many, how they ended, which have not."""

    def __init__(self, queue: Queue, tag: str) -> None:
        self.queue, self.tag = queue, tag
        self.ends: Counter[str] = Counter()
        self.total = 0
        self.loading: str | None = None
        self._pending: list[int] = []
        self._last = 0
        self._turn = 0
        self._name = tag.removeprefix("load:") if tag.startswith("load:") else None
        if not self.grow():
            self._name = None
            self._add([int(record.id) for record in queue.jobs(tag=tag)])

    def _add(self, numbers: Sequence[int]) -> None:
        self._pending += numbers
        self.total += len(numbers)

    def grow(self) -> bool:
        """Take up what the load has brought meanwhile; returns False if it is no load's tag."""
        from seatline.producer.listing import load_ranges  # noqa: PLC0415 - `seatline --help` stays fast
        from seatline.shared.calls import loads, reads  # noqa: PLC0415 - as above

        if self._name is None:
            return False
        store = self.queue.store
        record = store.read(loads.load_record(store.keys, self._name))
        if record is None:
            return False
        if record.position.jobs != self.total:
            for first, last in store.talk(load_ranges(store.keys, self.tag)):
                self._add(range(max(first, self._last + 1), last + 1))
                self._last = max(self._last, last)
        quiet = store.read(reads.server_time()) / 1000 - record.changed.timestamp()
        self.loading = None if record.ended else "stalled" if quiet > STALLED else "moves"
        return True

    @property
    def left(self) -> int:
        """How many have not ended."""
        return len(self._pending)

    def more(self) -> bool:
        """Whether more is to be waited for: the load goes on, or has brought more."""
        self.grow()
        return bool(self._pending) or self.loading == "moves"

    def look(self) -> bool:
        """Look once; returns whether there is more to be found at once."""
        at = quiet = pages = 0
        while at < len(self._pending) and quiet < QUIET_PAGES and pages < MOST_PAGES:
            pages += 1
            kept = self._still(self._pending[at : at + PAGE])
            quiet = quiet + 1 if len(kept) == len(self._pending[at : at + PAGE]) else 0
            self._pending[at : at + PAGE] = kept
            at += len(kept)
        for _ in range(TURN_PAGES):
            self._turn = at if self._turn < at or self._turn >= len(self._pending) else self._turn
            kept = self._still(self._pending[self._turn : self._turn + PAGE])
            self._pending[self._turn : self._turn + PAGE] = kept
            self._turn += max(1, len(kept))
        return pages == MOST_PAGES

    def _still(self, numbers: list[int]) -> list[int]:
        """Count the ends among these; returns those that have not ended."""
        from seatline.shared.calls.base import Read, text  # noqa: PLC0415 - `seatline --help` stays fast

        keys = self.queue.store.keys
        if not numbers:
            return []
        replies: list[Any] = self.queue.store.read(
            Read([("HGET", keys.job(f"{number:016}"), "state") for number in numbers], list[Any])
        )
        states = [GONE if reply is None else text(reply) for reply in replies]
        living = {"ready", "scheduled", "running"}
        self.ends.update(state for state in states if state not in living)
        return [number for number, state in zip(numbers, states, strict=True) if state in living]


def wait_for_tag(queue: Queue, tag: str, timeout: float | None) -> bool:
    """Wait for the end of all jobs of a tag, with a bar; returns whether none had a bad end.

    Raises:
        TimeoutError: not in time; the jobs go on.

    """
    until = None if timeout is None else time.monotonic() + timeout
    with Bar(f"waiting for {tag}", None) as bar:
        tagged = _Tagged(queue, tag)
        while True:
            at_once = tagged.look()
            bar.show(tagged.total - tagged.left, tagged.total)
            if not tagged.left and not tagged.more():
                break
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(
                    f"{tag}: {tagged.left:,} of {tagged.total:,} jobs have not ended in time; they go on."
                )
            if not at_once:
                time.sleep(BETWEEN)
                tagged.grow()
    return _say(tagged)


def _say(tagged: _Tagged) -> bool:
    if not tagged.total:
        click.echo(f"{tagged.tag}: no job of that tag runs or waits", err=True)
        return True
    ends = ", ".join(f"{count:,} {state}" for state, count in tagged.ends.most_common())
    click.echo(f"{tagged.tag}: {tagged.total:,} jobs have ended: {ends}")
    if tagged.loading:
        click.echo("seatline: the load itself was stopped; load the file again to bring the rest.", err=True)
    bad = [state for state in tagged.ends if state not in {*GOOD_ENDS, GONE}]
    if bad:
        click.echo(f"seatline: `seatline jobs list --tag {tagged.tag} --state {bad[0]}` shows which.", err=True)
    return not bad
