"""Logins of the four roles on the test's server, made by the rules of ``seatline acl``."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from harness.server import RealServer
from redis import Redis

from seatline.console.acl_rules import Options, flavour_of, rules
from seatline.shared.roles import ROLES, user_name

#: A canary: wherever it is found, a secret got out. One that a URL has to quote.
PASSWORD = "c4nary/of:Q18@s3cret"


def send(client: Any, *words: object) -> Any:
    """Send a command as it stands."""
    return client.execute_command(*words)


class Logins:
    """The users of one namespace."""

    def __init__(self, server: RealServer, namespace: str, **options: Any) -> None:
        self.server, self.namespace = server, namespace
        with contextlib.closing(server.client()) as client:
            databases = flavour_of({name: str(value) for name, value in client.info("server").items()}).databases
            for role in ROLES:
                digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
                name = user_name(namespace, role)
                user = rules(role, name, namespace, [digest], databases=databases, options=Options(**options))
                send(client, "ACL", "SETUSER", name, "reset", *user.words())

    def url(self, role: str) -> str:
        """Return the server's address with a role's login; ``operator`` is who started it."""
        if role == "operator":
            return self.server.tcp_url
        return f"redis://{user_name(self.namespace, role)}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.server.port}/0"

    def client(self, role: str) -> Redis:
        """Return a raw client with a role's login."""
        return Redis.from_url(self.url(role), retry=None, protocol=2, driver_info=None)

    def remove(self) -> None:
        with contextlib.closing(self.server.client()) as client:
            send(client, "ACL", "DELUSER", *(user_name(self.namespace, role) for role in ROLES))


@pytest.fixture
def logins_at() -> Iterator[Callable[..., Logins]]:
    """Make the logins of a namespace on a server; they go with the test."""
    made: list[Logins] = []

    def make(server: RealServer, namespace: str, **options: bool) -> Logins:
        made.append(Logins(server, namespace, **options))
        return made[-1]

    yield make
    for logins in made:
        if logins.server.running:
            logins.remove()


@pytest.fixture
def logins(logins_at: Callable[..., Logins], server: RealServer, namespace: str) -> Logins:
    """The logins of the test's namespace."""
    return logins_at(server, namespace)
