"""The first words on a new connection."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from seatline.shared.calls.base import Call, text
from seatline.shared.errors import ServerRefused
from seatline.shared.keys import SCHEMA

__all__ = ["Contact", "contact", "known_layout"]


@dataclass(frozen=True, slots=True)
class Contact:
    """What the server says of itself; moments are epoch ms by its clock.

    Attributes:
        now: when it said so.
        creation: the namespace's creation id.
        restarted: when it was last seen to run anew; None: it never was.

    """

    now: int
    creation: str
    restarted: int | None


def contact(run: str) -> Call[Contact]:
    """Found the namespace, or note that the server runs anew."""
    return Call(
        "contact",
        (SCHEMA, run, secrets.token_hex(8)),
        lambda reply: Contact(int(text(reply[1])), text(reply[3]), int(text(reply[4])) if reply[4] else None),
        {"newer": lambda reply: _newer(text(reply[1]))},
        numbered=False,
    )


def known_layout(said: object) -> None:
    """Check what ``about`` says of the key layout; one that is older or not told is taken for ours.

    Raises:
        ServerRefused: it is newer.

    """
    layout = text(said) if isinstance(said, bytes) else ""
    if layout.isdecimal() and int(layout) > SCHEMA:
        raise _newer(layout)


def _newer(layout: str) -> ServerRefused:
    return ServerRefused(
        f"this namespace has key layout {layout}, newer than {SCHEMA} of this Seatline. Upgrade it here."
    )
