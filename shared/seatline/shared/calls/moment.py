"""What a talk reads, read at one moment.

A talk that looks at many things asks one after the other, because what was read names what is to be read next; meanwhile the
server goes on, and what is put together from such looks may never have been. Here the same talk is held again and again with
what one transaction has said: whatever it wants beyond that is read in the next transaction, together with all the rest, until
it gets to its end with the answers of a single one. It needs no more rights than looking does: ``MULTI`` of plain reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from seatline.shared.calls.base import Command, Read
from seatline.shared.calls.talk import Held, Talk, ask
from seatline.shared.errors import ServerFull

__all__ = ["at_one_moment", "together"]

T = TypeVar("T")

#: So many transactions at most. A namespace whose keys to read change from look to look is then read one after the other.
ROUNDS: Final = 16


def at_one_moment(talk: Callable[[], Talk[T]]) -> Talk[T]:
    """Hold a talk that only reads, as if the server stood still meanwhile.

    Args:
        talk: begins it anew; what it asks may depend on the answers alone.

    """
    known: dict[Command, Any] = {}
    for _ in range(ROUNDS):
        held, wanted = Held(talk()), dict[Command, None]()
        while isinstance(read := held.asked, Read):
            wanted.update(dict.fromkeys(read.commands))
            if not known.keys() >= wanted.keys():
                break
            _answer(held, read, [known[command] for command in read.commands])
        else:
            assert held.asked is None, "only what reads can be held at one moment"  # noqa: S101
            return held.outcome
        try:
            known = yield from ask(_transaction(list(wanted)))
        except ServerFull:
            break  # a full Redis before 7.2 refuses even to read in a MULTI
    return (yield from talk())


def together(reads: Sequence[Read[Any]]) -> Read[list[Any]]:
    """Ask several things that do not depend on each other: each question of a talk costs a transaction."""

    def parse(replies: Sequence[Any]) -> list[Any]:
        at, values = 0, list[Any]()
        for read in reads:
            values.append(read.parse(replies[at : at + len(read.commands)]))
            at += len(read.commands)
        return values

    return Read([command for read in reads for command in read.commands], parse)


def _answer(held: Held[Any], read: Read[Any], replies: Sequence[Any]) -> None:
    try:
        answer = read.parse(replies)
    except Exception as unreadable:  # noqa: BLE001 - the talk is told, as by a store
        held.fail(unreadable)
    else:
        held.answer(answer)


def _transaction(commands: Sequence[Command]) -> Read[dict[Command, Any]]:
    def parse(replies: Sequence[Any]) -> dict[Command, Any]:
        answers = replies[-1]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return dict(zip(commands, answers, strict=True))

    return Read([("MULTI",), *commands, ("EXEC",)], parse)
