"""A listener: one connection that waits on one bell.

Every connection has a bell of its own, with a new name after each reconnection: a half-open old connection that the
server still believes in must not swallow the ring. Whoever meets a lost connection registers the new name and looks
first.

A bell brings one of two words. ``ring``: there may be work, or an end. ``look``: somebody asks something of this worker
(to stop a job, to pause, to stop), and its next renewal brings it.
"""

from __future__ import annotations

import contextlib
from typing import Literal

from seatline.shared.keys import Keys
from seatline.shared.store.lane import client_id
from seatline.shared.store.link import Link, Lost, NotNow

__all__ = ["LONGEST", "Listener"]

#: A block lasts at most so long (seconds): a dead connection is noticed, and a lost ring costs no more.
LONGEST = 5.0


class Listener:
    """Waits on a bell; its ``name`` is what to register. A name that is given stays."""

    def __init__(self, link: Link, keys: Keys, name: str | None = None) -> None:
        self._link, self._keys, self._fixed = link, keys, name is not None
        self.name = name or client_id()

    def wait(self, seconds: float) -> Literal["", "ring", "look"]:
        """Wait for at most ``seconds`` (5 at most); returns what came, "" if nothing did.

        Raises:
            Lost, NotNow: the server is away; the name has changed, so register again before the next wait.

        """
        try:
            if not self._link.connected:
                self._link.open(meet=False)
            came = self._link.block(self._keys.bell(self.name), max(0.01, min(seconds, LONGEST)))
        except (Lost, NotNow):
            if not self._fixed:
                self.name = client_id()
            raise
        if came == b"look":
            return "look"
        return "ring" if came else ""

    def rest(self, seconds: float) -> str:
        """Wait, or return at once when the server is away: whoever asks next will be patient, or told. Returns the name."""
        if seconds > 0:
            with contextlib.suppress(Lost, NotNow):
                self.wait(seconds)
        return self.name

    def close(self) -> None:
        """Close the connection; a wait in another thread ends."""
        with contextlib.suppress(Exception):
            self._link.close()
