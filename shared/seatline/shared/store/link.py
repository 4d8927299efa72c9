"""One thread's connection to the server, and what its errors mean.

redis-py repeats commands by itself after a lost connection, scripts too (measured: one lost reply ran a script twice).
So its retries are off here, its time-outs are ours, and whether to send again is decided in one place, ``store.py``.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis import exceptions
from redis.connection import ConnectionPool

from seatline.shared.calls.base import Call, Command
from seatline.shared.calls.contact import Contact, contact, known_layout
from seatline.shared.config import Settings
from seatline.shared.errors import (
    InvalidInput,
    LoginRefused,
    SeatlineError,
    ServerFull,
    ServerReadOnly,
    ServerRefused,
    ServerUnavailable,
)
from seatline.shared.keys import Keys
from seatline.shared.scripts import script
from seatline.shared.store import guard
from seatline.shared.store.password import FromFile, has_password, joined, without_user
from seatline.shared.store.rights import login_of, not_allowed

__all__ = [
    "Link",
    "Lost",
    "NotNow",
    "check",
    "connection_to",
    "explain",
    "greeted",
    "greeting",
    "not_opened",
    "said_no",
    "where",
]

_SCHEMES = ("redis", "rediss", "unix")
#: The server says so without having executed anything, and may not say so in a moment.
_NOT_NOW = ("LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS", "ERR max number of clients")
_RUN_ID = re.compile(rb"run_id:(\w+)")


class Lost(Exception):
    """The connection failed; ``sent`` tells whether the request may have been executed."""

    def __init__(self, cause: BaseException, *, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause, self.sent = cause, sent


class NotNow(Exception):
    """The server answered that it cannot just now; nothing was executed."""


def where(url: str) -> str:
    """Return a URL that can be shown: no password in it."""
    try:
        parts = urlsplit(url)
        shown = parts
        if "password" in parse_qs(parts.query):
            shown = shown._replace(query=re.sub(r"(?<![^&])password=[^&]*", "password=***", parts.query))
        if parts.password is not None:
            shown = shown._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}")
        return url if shown == parts else joined(shown)
    except ValueError:
        return f"{url.partition('://')[0]}://..."


def check(url: str) -> None:
    """Refuse a URL that redis-py would read in its own way, or not at all."""
    try:
        parts = urlsplit(url)
        port = parts.port if parts.scheme != "unix" else None
    except ValueError as error:
        raise InvalidInput(f"url: {where(url)!r} cannot be read ({error}).") from None
    if parts.scheme not in _SCHEMES:
        raise InvalidInput(f"url: {where(url)!r} must begin with redis://, rediss:// or unix://.")
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/\d+", parts.path, re.ASCII):
        raise InvalidInput(
            f"url: {where(url)!r}: the database must be a number, such as redis://host:{port or 6379}/0."
        )


def connection_to(url: str, settings: Settings, pool: Any, **options: Any) -> Any:
    """Make a connection of redis-py, a blocking one or one of asyncio, that repeats nothing by itself."""
    check(url)
    if settings.password_file:
        options["credential_provider"] = FromFile(login_of(url), settings.password_file)
        url = without_user(url)
    try:
        return pool.from_url(
            url,
            **{
                "protocol": 2,
                "retry": None,
                "retry_on_error": [],
                "decode_responses": False,
                "socket_timeout": settings.timeout,
                "socket_connect_timeout": settings.connect_timeout,
                "driver_info": None,
                **options,
            },
        ).make_connection()
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"url: {where(url)!r} cannot be read ({error}).") from None


def explain(error: BaseException, url: str) -> SeatlineError:
    """Turn an error of the wire into ours: one line, the reason, the next step. Passwords are never shown."""
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    place = where(url)
    if isinstance(error, exceptions.AuthenticationError) or said.startswith(("WRONGPASS", "NOAUTH")):
        return LoginRefused(f"{place} refused the login ({said}). {_to_check(said, url)}")
    if isinstance(error, exceptions.NoPermissionError) or said.startswith("NOPERM"):
        return ServerRefused(f"{place} refused a command ({said}). Check the rights of the user in SEATLINE_URL.")
    if isinstance(error, exceptions.ReadOnlyError) or said.startswith(("READONLY", "-READONLY")):
        return ServerReadOnly(f"{place} is a read-only replica. Use the address of the primary.")
    if said.startswith("MISCONF"):
        return ServerReadOnly(
            f"{place} has stopped taking writes: it cannot save to its disk. Free space there, then try again."
        )
    if isinstance(error, exceptions.OutOfMemoryError) or said.startswith("OOM"):
        return ServerFull(
            f"{place} has no memory left: nothing was stored. Running jobs still end; raise maxmemory or let workers drain."
        )
    if isinstance(error, exceptions.TimeoutError):
        return ServerUnavailable(f"{place} did not answer in time ({said}). Is it overloaded or stopped?")
    if isinstance(error, exceptions.ConnectionError | OSError):
        return ServerUnavailable(f"{place} cannot be reached ({said}). Check the URL and that the server runs.")
    return ServerRefused(f"{place}: {said}")


def _to_check(said: str, url: str) -> str:
    """Say where a login that was refused comes from: the URL, or what is said beside it."""
    if has_password(url):
        where_from = "Check user and password in SEATLINE_URL (or as typed)."
    elif login_of(url) == "default" and not said.startswith("WRONGPASS") and "invalid" not in said.lower():
        where_from = (
            "It wants a password: put it in SEATLINE_URL, or name its file in SEATLINE_PASSWORD_FILE, and whose it is in "
            "SEATLINE_USER."
        )
    else:
        where_from = (
            "Check the user (SEATLINE_USER, user=, or in the URL) and the file of his password (SEATLINE_PASSWORD_FILE, "
            "password_file=)."
        )
    if login_of(url) == "default":
        return where_from
    return (
        f"{where_from} A server that was started anew has forgotten users that were not saved "
        "(`seatline acl --apply --save`)."
    )


def not_opened(error: Exception, url: str) -> Exception:
    """Say what an error of connecting means; nothing was sent."""
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return explain(error, url)
    if str(error).startswith(_NOT_NOW):
        return NotNow(str(error))
    return explain(error, url) if isinstance(error, exceptions.ResponseError) else Lost(error, sent=False)


def said_no(error: Exception, url: str, keys: Keys, script: str = "") -> Exception:
    """Turn a refusal of the server into what to raise: not now, or what it means to whoever wanted this script run."""
    if str(error).startswith(_NOT_NOW) or isinstance(error, exceptions.BusyLoadingError):
        return NotNow(str(error))
    return not_allowed(str(error), url, where(url), keys, script) or explain(error, url)


def greeting(info: bytes) -> Call[Contact]:
    """Return the first words on a connection, to the server that says this of itself."""
    found = _RUN_ID.search(info)
    return contact(found[1].decode() if found else "")


def greeted(call: Call[Contact], reply: Sequence[Any]) -> Contact:
    """Read the answer to the first words."""
    refusal = call.refusals.get(reply[0].decode())
    if refusal:
        raise refusal(reply)
    return call.parse(reply)


class Link:
    """A connection that is opened when needed, by one thread.

    ``any_layout``: it also reads a namespace of a newer Seatline, whose keys it may not understand.
    """

    def __init__(self, url: str, settings: Settings, *, name: str, any_layout: bool = False) -> None:
        self.keys, self.name = Keys(settings.namespace), name
        self.contact: Contact | None = None
        self.any_layout, self._allow_eviction = any_layout, settings.allow_eviction
        self.move_to(url, settings)

    def move_to(self, url: str, settings: Settings) -> None:
        """Use this address from the next connection on."""
        self.url = url
        self._connection = connection_to(url, settings, ConnectionPool, client_name=self.name)
        self._met = self._read = False

    @property
    def connected(self) -> bool:
        """Whether a socket is open (as far as this side knows)."""
        return self._connection._sock is not None  # noqa: SLF001 - redis-py has no public way to ask

    def close(self) -> None:
        """Close the socket; the next use opens a new one."""
        self._met = self._read = False
        with contextlib.suppress(Exception):
            self._connection.disconnect()

    def open(self, *, meet: bool) -> None:
        """Connect, and on a new connection exchange the first words (``meet``: the caller will write).

        Raises:
            Lost: not reached; nothing was sent.
            SeatlineError: the server refused.

        """
        if not self.connected:
            self._met = self._read = False
            try:
                self._connection.connect()
            except (exceptions.RedisError, OSError) as error:
                raise not_opened(error, self.url) from None
        if meet and not self._met:
            try:
                self._meet()
            except Lost as lost:  # the first words may be said again for ever; the request itself was not sent
                raise Lost(lost.cause, sent=False) from None

    def _meet(self) -> None:
        said: list[Any] = []
        place, admitted = where(self.url), False
        while not admitted:
            began = time.time()
            try:
                said = self.send(guard.questions(place))
            except exceptions.ResponseError:
                said = []  # this login may not ask: somebody else's contact will notice a new run
            admitted = guard.admit(said, began, time.time(), place, allow_eviction=self._allow_eviction)
        call = greeting(b"".join(said))
        self.contact = greeted(call, self.run(call.script, [self.keys.about], call.words))
        self._met = True

    def read(self, commands: Sequence[Command], *, lenient: bool = False) -> list[Any]:
        """Send plain commands that change nothing; the first on a connection ask for the key layout in the same exchange.

        ``lenient``: what the server refuses stands among the replies, as an exception.

        Raises:
            Lost, exceptions.ResponseError: as :meth:`send`.
            ServerRefused: a newer Seatline has written the namespace.

        """
        if self._met or self._read or self.any_layout:
            return self.send(commands, spare=len(commands) if lenient else 0)
        layout, *replies = self.send(
            [("HGET", self.keys.about, "schema"), *commands], spare=1 + len(commands) if lenient else 1
        )
        known_layout(layout)
        self._read = True
        return replies

    def send(self, commands: Sequence[Command], *, spare: int = 0) -> list[Any]:
        """Send commands together and read their replies; a refusal of one of the first ``spare`` is a reply.

        Raises:
            Lost: the connection failed in between.
            exceptions.ResponseError: the server's answer to one of them.

        """
        connection = self._connection
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            replies: list[Any] = []
            error: Exception | None = None
            for number in range(len(commands)):
                try:
                    replies.append(connection.read_response())
                except exceptions.ResponseError as refused:
                    replies.append(refused)
                    error = error or (refused if number >= spare else None)
            if error:
                raise error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as lost:
            self.close()
            raise Lost(lost, sent=True) from None
        except BaseException as other:
            if not isinstance(other, exceptions.ResponseError):
                self.close()
            raise
        return replies

    def run(self, name: str, keys: Sequence[str], words: Sequence[Any]) -> list[Any]:
        """Run a script, loading it if the server does not know it (then nothing was executed)."""
        known = script(name)
        command = ("EVALSHA", known.sha, len(keys), *keys, *words)
        try:
            try:
                (reply,) = self.send([command])
            except exceptions.NoScriptError:
                self.send([("SCRIPT", "LOAD", known.text)])
                (reply,) = self.send([command])
        except exceptions.ResponseError as error:
            raise said_no(error, self.url, self.keys, name) from None
        result: list[Any] = reply
        return result

    def block(self, key: str, seconds: float) -> bytes:
        """Wait for a bell; returns what rang it, or b"". The answer may take ``seconds`` longer than others may."""
        connection = self._connection
        usual = connection.socket_timeout
        try:
            connection.send_command("BLPOP", key, f"{seconds:.3f}", check_health=False)
            reply = connection.read_response(timeout=seconds + usual)
        except exceptions.ResponseError as error:
            self.close()
            raise said_no(error, self.url, self.keys) from None
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as lost:
            self.close()
            raise Lost(lost, sent=True) from None
        except BaseException:
            self.close()
            raise
        return b"" if reply is None else bytes(reply[1])
