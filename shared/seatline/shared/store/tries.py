"""One request on its way, whichever driver sends it: its number, when it is sent again, when that ends, what the reply says.

Pure but for the clock: :class:`Store` and :class:`AsyncStore` do the sending.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from seatline.shared.calls.base import Call, Word, text
from seatline.shared.errors import BrokenInvariant, OutcomeUnknown, SeatlineError, ServerUnavailable
from seatline.shared.keys import Keys
from seatline.shared.store.lane import Lane, digest
from seatline.shared.store.link import Lost, NotNow, explain, where

__all__ = ["Patience", "Tries", "request"]

#: Jitter, no secret. Not the stream that everybody shares: a handler that seeds that one gets what it expects.
CHANCE: Final = random.Random()  # noqa: S311

T = TypeVar("T")
#: What to send: keys and words of the script.
Sending = tuple[Sequence[str], Sequence[Word]]

#: A blip is not worth a word; so many tries are.
WORTH_A_WORD = 3


@dataclass(slots=True)
class Patience:
    """How long to go on sending: ``seconds`` (None: for ever), until ``enough`` says so.

    After a few tries ``waits`` is told once why, and only then ``again`` when the server is back.
    """

    seconds: float | None
    enough: Callable[[], bool] = lambda: False
    waits: Callable[[str], None] = lambda _: None
    again: Callable[[], None] = lambda: None


class Tries:
    """The tries of one request; ``perhaps``: an earlier copy may have been executed.

    ``doubt``: if nobody can know whether it happened, that is worth an error of its own.
    """

    __slots__ = ("_doubt", "_end", "_patience", "_tries", "perhaps")

    def __init__(self, patience: Patience, *, doubt: bool) -> None:
        self._patience, self._doubt = patience, doubt
        self._end = None if patience.seconds is None else time.monotonic() + patience.seconds
        self._tries, self.perhaps = 0, False

    def answered(self) -> None:
        """Say so, if it took long."""
        if self._tries >= WORTH_A_WORD:
            self._patience.again()

    def failed(self, failure: Lost | NotNow, url: str) -> float:
        """Return how long to wait before the next try, in seconds.

        Raises:
            SeatlineError: patience has ended.

        """
        if isinstance(failure, Lost):
            self.perhaps, reason = self.perhaps or failure.sent, explain(failure.cause, url)
        else:
            reason = ServerUnavailable(f"{where(url)} cannot answer yet ({failure}). Try again in a moment.")
        self._tries += 1
        pause: float = min(2.0, 0.02 * 2 ** min(self._tries, 10)) * CHANCE.uniform(0.5, 1.0)
        if (self._end is not None and time.monotonic() + pause > self._end) or self._patience.enough():
            raise self._gave_up(reason) from None
        if self._tries == WORTH_A_WORD:
            self._patience.waits(str(reason))
        return pause

    def _gave_up(self, reason: SeatlineError) -> SeatlineError:
        if not (self.perhaps and self._doubt):
            return reason
        return OutcomeUnknown(
            f"{reason} The request may or may not have happened: look before repeating it, "
            "or use token=... which is safe to repeat."
        )


def request(call: Call[T], lane: Lane, keys: Keys) -> Generator[Sending, tuple[list[Any], bool], T]:
    """Give what to send, be sent the reply and whether an earlier copy may have been executed; returns what it says."""
    if not call.numbered:
        reply, _ = yield [keys.about], call.words
        return _answer(call, reply)
    known, number = digest(call.script, call.words), lane.step()
    reply, again = yield (keys.about, keys.lane(lane.client, lane.index)), [number, known, *call.words]
    if reply[0] == b"forgotten":
        if again:
            raise OutcomeUnknown
        number = lane.anew()
        reply, _ = yield (keys.about, keys.lane(lane.client, lane.index)), [number, known, *call.words]
    lane.kept = True
    return _answer(call, reply)


def _answer(call: Call[T], reply: Sequence[Any]) -> T:
    word = text(reply[0])
    if word == "ok":
        return call.parse(reply)
    if word in call.also:
        return call.also[word](reply)
    if word in call.refusals:
        raise call.refusals[word](reply)
    if word in {"past", "conflict"}:
        raise BrokenInvariant(
            f"{call.script}: the lane says {word!r}: another request of this client was executed under its number. "
            "Please report it."
        )
    raise BrokenInvariant(f"{call.script}: unexpected answer {word!r}. Please report it.")
