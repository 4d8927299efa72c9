"""The first words on a new connection."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from seatline.shared.calls.base import Call, text
from seatline.shared.errors import ServerRefused
from seatline.shared.keys import SCHEMA

__all__ = ["Contact", "contact"]


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
        {
            "newer": lambda reply: ServerRefused(
                f"this namespace has key layout {text(reply[1])}, newer than {SCHEMA} of this Seatline. Upgrade it here."
            )
        },
        numbered=False,
    )
