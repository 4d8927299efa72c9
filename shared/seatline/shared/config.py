"""Settings: from arguments, else from the environment, else the defaults here. Checked once, at the edge.

Every option has a variable: ``SEATLINE_URL``, ``SEATLINE_NAMESPACE``, ``SEATLINE_LEASE`` and so on. An argument wins.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from seatline.shared.errors import InvalidInput

__all__ = ["NAME", "Settings", "check_name"]

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


def check_name(what: str, value: object) -> str:
    """Return ``value`` if it is a good name (R4), else raise :class:`InvalidInput` that names ``what``."""
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."  # noqa: PLR2004 - fits a terminal line
    raise InvalidInput(
        f"{what}: {shown} is not a name. Use 1 to 128 of A-Z a-z 0-9 . _ - and begin with a letter or digit."
    )


def _with_user(url: str, user: str) -> str:
    try:
        parts = urlsplit(url)
        named = unquote(parts.username or "")
    except ValueError:
        return url  # told where it is used
    if named == user:
        return url
    if "@" in parts.netloc:
        raise InvalidInput(f"user: {user!r} is to log in, and the URL names a login of its own. Name one of them.")
    return parts._replace(netloc=f"{quote(user, safe='')}@{parts.netloc}").geturl()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client may tune. Times are in seconds.

    ``url`` may hold a password, and is not shown. Or it holds none: then ``password_file`` is a file whose first line is the
    password, read at every connection, and ``user`` the login, if the URL does not name it.

    ``timeout`` is how long one answer of the server may take; ``deadline`` how long a request is repeated after the
    connection was lost, before the caller is told. ``lease`` is how long a worker may stay silent, ``renew`` how
    often it renews (a third of the lease unless given).

    ``connections`` (1 to 256) is how many an asynchronous client opens at most in one event loop; more requests than that
    stand in line.

    For workers: ``grace`` is how long running jobs may go on after a stop; ``wake_interval`` how long a classic worker
    sleeps; ``watchdog`` after how long without one successful call it ends with an error (0: never); ``refused`` how long
    a pool counts as full after the real licence server refused; ``kill_after`` how long a handler in a process has to
    log out once it must stop; ``cancel_after`` how long it may go on after its job was cancelled.

    ``allow_eviction``: use a server all the same that deletes keys when its memory is full (R5).
    """

    url: str | None = field(default=None, repr=False)
    user: str | None = None
    password_file: str | None = None
    namespace: str = "default"
    tenant: str | None = None
    timeout: float = 5.0
    connect_timeout: float = 2.0
    deadline: float = 10.0
    connections: int = 8
    lease: float = 30.0
    renew: float = field(default=0.0)
    grace: float = 30.0
    wake_interval: float = 600.0
    watchdog: float = 0.0
    refused: float = 30.0
    kill_after: float = 3.0
    cancel_after: float = 10.0
    allow_eviction: bool = False

    def __post_init__(self) -> None:
        check_name("namespace", self.namespace)
        if self.tenant is not None:
            check_name("tenant", self.tenant)
        if self.user and self.url:
            object.__setattr__(self, "url", _with_user(self.url, self.user))
        for name, low, high in (
            ("timeout", 0.05, 300.0),
            ("connect_timeout", 0.05, 300.0),
            ("deadline", 0.0, 300.0),
            ("lease", 0.3, 86_400.0),
            ("grace", 0.0, 86_400.0),
            ("wake_interval", 1.0, 86_400.0),
            ("watchdog", 0.0, 86_400.0),
            ("refused", 1.0, 300.0),
            ("kill_after", 0.0, 300.0),
            ("cancel_after", 0.0, 86_400.0),
        ):
            value: float = getattr(self, name)
            if not low <= value <= high:
                raise InvalidInput(f"{name}: {value} is outside {low} to {high} seconds.")
        if type(self.connections) is not int or not 1 <= self.connections <= 256:  # noqa: PLR2004 - one place
            raise InvalidInput(f"connections: {self.connections!r} is not a whole number from 1 to 256.")
        if not self.renew:
            object.__setattr__(self, "renew", self.lease / 3)
        if not 0 < self.renew <= self.lease / 2:
            raise InvalidInput(f"renew: {self.renew} must be more than 0 and at most half the lease ({self.lease} s).")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, /, **given: Any) -> Settings:
        """Merge ``given`` (None means not given) over the environment over the defaults.

        Raises:
            InvalidInput: a value is no number or outside its limits; the message names the option or variable.

        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for spec in fields(cls):
            name, variable = spec.name, f"SEATLINE_{spec.name.upper()}"
            value = given.pop(name, None)
            source = name
            if value is None and environ.get(variable):
                value, source = environ[variable], variable
            if value is None:
                continue
            if spec.type == "float":
                try:
                    value = float(value)
                except (TypeError, ValueError):
                    raise InvalidInput(f"{source}: {value!r} is not a number of seconds.") from None
            elif spec.type == "bool" and isinstance(value, str):
                if value.lower() not in _YES + _NO:
                    raise InvalidInput(f"{source}: {value!r} is not yes or no: use 1 or 0.")
                value = value.lower() in _YES
            elif spec.type == "int" and isinstance(value, str):
                try:
                    value = int(value)
                except ValueError:
                    raise InvalidInput(f"{source}: {value!r} is not a whole number.") from None
            values[name] = value
        if given:
            raise InvalidInput(f"unknown setting: {', '.join(sorted(given))}.")
        return cls(**values)
