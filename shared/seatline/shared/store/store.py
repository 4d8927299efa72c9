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
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from redis import exceptions

from seatline.shared.calls.base import Call, Read
from seatline.shared.calls.contact import Contact
from seatline.shared.calls.talk import Ask, Held, Rest, Talk, Walk, following
from seatline.shared.config import Settings
from seatline.shared.errors import NotAllowed
from seatline.shared.keys import Keys
from seatline.shared.store.lane import Lane, client_id
from seatline.shared.store.link import Link, Lost, NotNow, said_no, where
from seatline.shared.store.listener import Listener
from seatline.shared.store.password import with_login
from seatline.shared.store.rights import instead
from seatline.shared.store.tries import Patience, Tries, request

__all__ = ["Store", "Wire"]

T = TypeVar("T")
Wire = tuple[Link, Lane]


class Store:
    """One client of one namespace; safe to share between threads.

    ``any_layout``: it also reads a namespace of a newer Seatline, whose keys it may not understand.
    """

    def __init__(self, settings: Settings, *, role: str = "client", any_layout: bool = False) -> None:
        self.settings, self.keys, self.role, self._any_layout = settings, Keys(settings.namespace), role, any_layout
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

            found = embedded.ensure(announce=logging.getLogger("seatline").warning)
            self._url = with_login(found.url, self.settings.user, self.settings.password_file)
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
        name = f"seatline:{self.role}:{self.client}"
        link = Link(self.url, self.settings, name=name, any_layout=self._any_layout)
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

    def listener(self, name: str | None = None) -> Listener:
        """Return a bell to wait on, with a connection of its own; one that nobody else could hold may keep its ``name``."""
        link = Link(self.url, self.settings, name=f"seatline:{self.role}:{self.client}")
        return Listener(link, self.keys, name)

    def run(self, call: Call[T], patience: Patience | None = None, wire: Wire | None = None) -> T:
        """Run a script exactly once and return what it says; over ``wire``, else over this thread's own link and lane.

        Raises:
            Refused: the script refused; nothing changed.
            ServerError: it was not executed.
            OutcomeUnknown: nobody can know whether it was.

        """
        link, lane = wire or self._link()
        asked = request(call, lane, self.keys)
        keys, words = next(asked)
        while True:
            # One without a number may be sent again for ever: that it perhaps happened needs no word.
            try:
                reply = self._send(link, lambda: link.run(call.script, keys, words), patience, doubt=call.numbered)  # noqa: B023
            except NotAllowed as refused:
                raise instead(refused, link.url, where(link.url), self.keys, call.script) from None
            try:
                keys, words = asked.send(reply)
            except StopIteration as end:
                value: T = end.value
                return value

    def read(self, read: Read[T], patience: Patience | None = None) -> T:
        """Send plain commands together; changes nothing, needs the right to read only."""
        link, _ = self._link()

        def send() -> list[Any]:
            try:
                return link.read(read.commands, lenient=read.lenient)
            except exceptions.ResponseError as error:
                raise said_no(error, link.url, link.keys) from None

        return read.parse(self._send(link, send, patience, meet=False, doubt=False)[0])

    def talk(self, talk: Talk[T], bell: Listener | None = None) -> T:
        """Hold a talk, and return what came of it; one that rests does so on ``bell``.

        Raises:
            SeatlineError: what the talk raises, and what it was told and did not mind.

        """
        held = Held(talk)
        while held.asked is not None:
            try:
                answer = self._ask(held.asked, bell)
            except BaseException as raised:  # noqa: BLE001 - Ctrl-C too: it may have something to give back
                held.fail(raised)
            else:
                held.answer(answer)
        return held.outcome

    def walk(self, walk: Walk[T]) -> Iterator[T]:
        """Iterate over what a walk finds."""
        while coming := self.talk(following(walk)):
            yield coming[0]

    def _ask(self, asked: Ask, bell: Listener | None = None) -> Any:
        match asked:
            case Call():
                return self.run(asked)
            case Read():
                return self.read(asked)
            case Rest():
                assert bell is not None, "a talk that rests needs a bell"  # noqa: S101
                return bell.rest(asked.seconds)

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
        tries = Tries(patience or Patience(self.settings.deadline), doubt=doubt)
        while True:
            try:
                link.open(meet=meet)
                reply = send()
            except (Lost, NotNow) as failure:
                pause = tries.failed(failure, link.url)
            else:
                tries.answered()
                return reply, tries.perhaps
            time.sleep(pause)
            self._find_again(link)

    def _find_again(self, link: Link) -> None:
        """Start the embedded server again if it is gone; it may have another address then."""
        if self.settings.url or link.connected:
            return
        self._url = None
        link.move_to(self.url, self.settings)
