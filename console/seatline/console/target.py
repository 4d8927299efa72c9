"""What a command talks to: server, namespace, tenant; and how much it says on the way.

A person waits for a command, so a server that is away is given up after 3 seconds (``SEATLINE_DEADLINE`` says otherwise).
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from seatline.producer import Queue

__all__ = ["Target", "embedded_url", "pass_target", "target_of", "with_password"]

DEADLINE = 3.0


@dataclass(slots=True)
class Target:
    """The options that every command has; None leaves it to the environment and the defaults."""

    url: str | None = None
    namespace: str | None = None
    tenant: str | None = None
    verbose: int = 0
    comment: str | None = None

    def queue(self, *, strict: bool = False) -> Queue:
        """Open the queue."""
        from seatline.producer import Queue  # noqa: PLC0415 - `seatline --help` stays fast

        self.log_to_stderr()
        deadline = None if os.environ.get("SEATLINE_DEADLINE") else DEADLINE
        url = with_password(self.url or os.environ.get("SEATLINE_URL") or None)
        return Queue(
            url, namespace=self.namespace, tenant=self.tenant, strict=strict, comment=self.comment, deadline=deadline
        )

    def log_to_stderr(self) -> None:
        """Show warnings of the packages below, with -v more, as lines like our own."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("seatline: %(message)s"))
        log = logging.getLogger("seatline")
        log.handlers[:] = [handler]
        log.propagate = False
        log.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbose, 2)])
        # What every start says of a server (R5) is too much for every command; `seatline doctor` tells all of it.
        logging.getLogger("seatline.guard").setLevel(logging.NOTSET if self.verbose else logging.ERROR)


def with_password(url: str | None) -> str | None:
    """Ask for the password of a login that has none said, if there is somebody to ask; the answer goes nowhere else."""
    from urllib.parse import quote, urlsplit  # noqa: PLC0415 - beside its only use

    if (
        not url
        and os.environ.get("SEATLINE_USER")
        and not os.environ.get("SEATLINE_PASSWORD_FILE")
        and sys.stdin.isatty()
    ):
        url = embedded_url()
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return url  # said later, as what it is
    user = parts.username or quote(os.environ.get("SEATLINE_USER", ""), safe="")
    known = parts.password or "password=" in parts.query or os.environ.get("SEATLINE_PASSWORD_FILE")
    if not url or known or not user or not sys.stdin.isatty():
        return url
    password: str = click.prompt(f"Password of {user}", hide_input=True, default="", show_default=False, err=True)
    login = f"{user}:{quote(password, safe='')}" if password else user
    return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()


def embedded_url() -> str:
    """Start the embedded server if need be (said on stderr), and return its URL with the login that the environment says."""
    from seatline.shared.embedded import ensure  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.store.password import with_login  # noqa: PLC0415 - as above

    url = ensure(announce=lambda line: click.echo(line, err=True)).url
    return with_login(url, os.environ.get("SEATLINE_USER"), os.environ.get("SEATLINE_PASSWORD_FILE"))


def target_of(context: click.Context) -> Target:
    """Return the target of this call, whichever command of it asks."""
    root = context.find_root()
    if not isinstance(root.obj, Target):
        root.obj = Target()
    return root.obj


def pass_target(function: click.decorators.FC) -> click.decorators.FC:
    """Hand the target to a command as its first argument."""
    from functools import update_wrapper  # noqa: PLC0415 - beside its only use

    def called(*args: object, **options: object) -> object:
        return function(target_of(click.get_current_context()), *args, **options)

    return update_wrapper(called, function)  # type: ignore[return-value]
