"""The store: runs calls and reads, sends again what was lost, and says plainly when it cannot know.

Who is authoritative: the server. Its lane record tells whether a numbered request was executed; we only ever send the
same number again (never the next one) until it answers or the deadline passes. What happens at each failure:

* not connected, or the server says *not now* (loading, busy): nothing was executed; wait with growing jitter, try again
* the connection was lost after sending: perhaps executed; send the **same** number again: the lane answers either way
* ``forgotten`` on a first send: our lane's record expired while we were idle; take a new lane
* ``forgotten`` on a resend: nobody can know: :class:`OutcomeUnknown`
* the deadline passed: :class:`ServerUnavailable` if it was never sent, else :class:`OutcomeUnknown`. A late copy cannot
  execute after the next request of this lane has.

Threads use different links and lanes; a fork renews them all.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from redis import exceptions

from seatline.shared.calls.base import Call, Read, text
from seatline.shared.calls.contact import Contact
from seatline.shared.config import Settings
from seatline.shared.errors import BrokenInvariant, OutcomeUnknown, SeatlineError, ServerUnavailable
from seatline.shared.keys import Keys
from seatline.shared.store.lane import Lane, client_id, digest
from seatline.shared.store.link import Link, Lost, NotNow, explain, where
from seatline.shared.store.listener import Listener

__all__ = ["Patience", "Store", "Wire"]

T = TypeVar("T")
Wire = tuple[Link, Lane]
log = logging.getLogger("seatline.store")

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


class Store:
    """One client of one namespace; safe to share between threads."""

    def __init__(self, settings: Settings, *, role: str = "client") -> None:
        self.settings, self.keys, self.role = settings, Keys(settings.namespace), role
        self._begin()
        self.url  # noqa: B018 - a bad URL, or no server to be had, is told here and not at the first use

    def _begin(self) -> None:
        self._pid, self.client, self._lanes = os.getpid(), client_id(), 0
        self._local = threading.local()
        self._lock = threading.Lock()
        self._links: list[Link] = []
        self._url: str | None = None

    @property
    def url(self) -> str:
        """Where the server is: the setting, else the embedded server, which is started if need be (said in the log)."""
        if self.settings.url:
            return self.settings.url
        if self._url is None:
            from seatline.shared import embedded  # noqa: PLC0415 - only who names no server needs it

            self._url = embedded.ensure(announce=logging.getLogger("seatline").warning).url
        return self._url

    @property
    def place(self) -> str:
        """The URL without its password."""
        return where(self.url)

    def _link(self) -> Wire:
        if os.getpid() != self._pid:
            self._begin()
        mine: Wire | None = getattr(self._local, "mine", None)
        if mine is None:
            mine = self._local.mine = self.wire()
        return mine

    def wire(self) -> Wire:
        """Return a link and a lane of their own, for threads that take turns under a lock of theirs."""
        link = Link(self.url, self.settings, name=f"seatline:{self.role}:{self.client}")
        with self._lock:
            self._lanes += 1
            self._links.append(link)
            return link, Lane(self.client, self._lanes)

    def close(self) -> None:
        """Close all connections; using the store again opens new ones."""
        with self._lock:
            links, self._links = self._links, []
            self._local = threading.local()
        for link in links:
            link.close()

    def hang_up(self) -> None:
        """Close all connections for now: whoever uses a link again opens it again. Nobody may be using one meanwhile."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def listener(self) -> Listener:
        """Return a bell to wait on, with a connection of its own."""
        return Listener(lambda: Link(self.url, self.settings, name=f"seatline:{self.role}:{self.client}"), self.keys)

    def run(self, call: Call[T], patience: Patience | None = None, wire: Wire | None = None) -> T:
        """Run a script exactly once and return what it says; over ``wire``, else over this thread's own link and lane.

        Raises:
            Refused: the script refused; nothing changed.
            ServerError: it was not executed.
            OutcomeUnknown: nobody can know whether it was.

        """
        link, lane = wire or self._link()
        if not call.numbered:
            # It may be sent again for ever: that it perhaps happened needs no word.
            known = self._send(
                link, lambda: link.run(call.script, [self.keys.about], call.words), patience, doubt=False
            )
            return self._answer(call, known[0])
        request, number = digest(call.script, call.words), lane.step()

        def send() -> list[Any]:
            keys = (self.keys.about, self.keys.lane(lane.client, lane.index))
            return link.run(call.script, keys, [number, request, *call.words])

        reply, again = self._send(link, send, patience)
        if reply[0] == b"forgotten":
            if again:
                raise OutcomeUnknown
            number = lane.anew()
            reply, again = self._send(link, send, patience)
        return self._answer(call, reply)

    def read(self, read: Read[T], patience: Patience | None = None) -> T:
        """Send plain commands together; changes nothing, needs the right to read only."""
        link, _ = self._link()

        def send() -> list[Any]:
            try:
                return link.send(read.commands)
            except exceptions.ResponseError as error:
                raise link.said_no(error) from None

        return read.parse(self._send(link, send, patience, meet=False, doubt=False)[0])

    def meet(self, patience: Patience | None = None) -> str:
        """Make the first contact; returns the namespace's creation id."""
        link, _ = self._link()
        self._send(link, list, patience, doubt=False)
        return link.contact.creation if link.contact else ""

    @property
    def contact(self) -> Contact | None:
        """What the server said of itself at the newest of this client's contacts; None: there was none."""
        with self._lock:
            said = [link.contact for link in self._links if link.contact is not None]
        return max(said, key=lambda contact: contact.now, default=None)

    def _send(
        self,
        link: Link,
        send: Callable[[], list[Any]],
        patience: Patience | None,
        *,
        meet: bool = True,
        doubt: bool = True,
    ) -> tuple[list[Any], bool]:
        """Send until there is an answer; returns it and whether an earlier copy may have been executed."""
        patience = patience or Patience(self.settings.deadline)
        end = None if patience.seconds is None else time.monotonic() + patience.seconds
        perhaps, tries = False, 0
        while True:
            try:
                link.open(meet=meet)
                reply = send()
            except Lost as lost:
                perhaps, reason = perhaps or lost.sent, explain(lost.cause, link.url)
            except NotNow as not_now:
                reason = ServerUnavailable(f"{where(link.url)} cannot answer yet ({not_now}). Try again in a moment.")
            else:
                if tries >= WORTH_A_WORD:
                    patience.again()
                return reply, perhaps
            tries += 1
            pause = min(2.0, 0.02 * 2 ** min(tries, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
            out_of_time = end is not None and time.monotonic() + pause > end
            if out_of_time or patience.enough():
                raise self._gave_up(reason, perhaps=perhaps and doubt) from None
            if tries == WORTH_A_WORD:
                patience.waits(str(reason))
            time.sleep(pause)
            self._find_again(link)

    @staticmethod
    def _gave_up(reason: SeatlineError, *, perhaps: bool) -> SeatlineError:
        if not perhaps:
            return reason
        return OutcomeUnknown(
            f"{reason} The request may or may not have happened: look before repeating it, "
            "or use token=... which is safe to repeat."
        )

    def _find_again(self, link: Link) -> None:
        """Start the embedded server again if it is gone; it may have another address then."""
        if self.settings.url or link.connected:
            return
        self._url = None
        link.move_to(self.url, self.settings)

    @staticmethod
    def _answer(call: Call[T], reply: list[Any]) -> T:
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
