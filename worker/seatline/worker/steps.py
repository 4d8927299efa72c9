"""What a step of a chain says itself of how it runs, over what its type's handler says: timeout and retry rule (O4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from seatline.shared.errors import PayloadError
from seatline.shared.retry import retry_read
from seatline.worker.handlers import Handler

__all__ = ["StepHandlers"]

#: Handlers made for steps: so many are kept.
MADE_MOST: Final = 1_000


class StepHandlers:
    """Handlers with what their step says itself, which goes over what was declared with them."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bytes, bytes], Handler] = {}

    def of(self, handler: Handler, fields: Mapping[bytes, bytes]) -> Handler:
        """Return the handler for a step's job.

        Raises:
            PayloadError: what the job says cannot be read.

        """
        timeout, retry = fields.get(b"timeout", b""), fields.get(b"retry", b"")
        if not timeout and not retry:
            return handler
        key = (handler.type, timeout, retry)
        made = self._made.get(key)
        if made is None:
            made = handler
            if timeout:
                made = dataclasses.replace(made, timeout=_seconds(timeout))
            if retry:
                made = dataclasses.replace(made, retry=retry_read(retry.decode("utf-8", "replace")))
            if len(self._made) >= MADE_MOST:
                self._made.clear()
            self._made[key] = made
        return made


def _seconds(ms: bytes) -> float:
    if ms.isdigit() and int(ms):
        return int(ms) / 1000
    raise PayloadError(f"timeout: {ms[:40]!r} is no number of milliseconds.")
