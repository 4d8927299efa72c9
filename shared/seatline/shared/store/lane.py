"""A lane: one client's line of numbered requests, one outstanding at a time.

The server keeps the last number, the digest of that request and its reply (``_lane.lua``). So a request that is sent
again after a lost reply is answered, not executed again; a late copy of an older one never executes. The lane's own
knowledge is only the next number: whoever loses it (a fork, a record that expired) takes a new lane.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from seatline.shared.calls.base import Word

__all__ = ["Lane", "client_id"]

_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


def client_id() -> str:
    """Return a random id of 60 bits in letters that are easy to read and to say."""
    number = secrets.randbits(60)
    return "".join(_LETTERS[number >> shift & 31] for shift in range(0, 60, 5))


class Lane:
    """Numbers the requests of one thread of one client; ``kept``: the server has answered one, so it has a record."""

    __slots__ = ("client", "index", "kept", "number")

    def __init__(self, client: str, index: int) -> None:
        self.client, self.index, self.number, self.kept = client, index, 0, False

    def step(self) -> int:
        """Return the number of the next request."""
        self.number += 1
        return self.number

    def anew(self) -> int:
        """Begin a new lane under the same index: a fresh client id, number 1."""
        self.client, self.number, self.kept = client_id(), 1, False
        return 1

    def give_up(self) -> None:
        """Go on without the last request, of which nobody waits for the answer.

        A lane with a record goes on with the next number, after which a late copy of that one is past. One without begins
        anew: else its next request, if that had to be sent again, would be ``forgotten``, as if it had perhaps happened.
        """
        if not self.kept:
            self.anew()
            self.number = 0


def digest(script: str, words: Sequence[Word]) -> str:
    """Digest a request, so that another request under the same number is noticed."""
    state = hashlib.blake2b(script.encode(), digest_size=8)
    state.update(b"\0".join([word if isinstance(word, bytes) else str(word).encode() for word in words]))
    return state.hexdigest()
