"""The first words on a new connection."""

from __future__ import annotations

import secrets

from seatline.shared.calls.base import Call, text
from seatline.shared.errors import ServerRefused
from seatline.shared.keys import SCHEMA

__all__ = ["contact"]


def contact(run: str) -> Call[str]:
    """Found the namespace, or note that the server runs anew; returns the namespace's creation id."""
    return Call(
        "contact",
        (SCHEMA, run, secrets.token_hex(8)),
        lambda reply: text(reply[3]),
        {
            "newer": lambda reply: ServerRefused(
                f"this namespace has key layout {text(reply[1])}, newer than {SCHEMA} of this Seatline. Upgrade it here."
            )
        },
        numbered=False,
    )
