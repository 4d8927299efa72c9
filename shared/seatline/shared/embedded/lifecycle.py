"""Ensure, status, stop: the life of the embedded server as its users see it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from seatline.shared.embedded.folders import StateFolder
from seatline.shared.embedded.found import EmbeddedServer, Record, look, runs_from
from seatline.shared.embedded.locks import is_alive, start_lock
from seatline.shared.embedded.resp import Connection, ErrorReply
from seatline.shared.errors import InvalidInput, NoEmbeddedServer, ServerError, ServerUnavailable

__all__ = ["ensure", "status", "stop"]

SILENCE_SECONDS = 10.0
"""How long a living server may be silent before a caller is told."""

LOADING_SECONDS = 120.0
STOP_SECONDS = 30.0

_PAUSE_SECONDS = 0.02
_LOADING_PAUSE_SECONDS = 0.05


def ensure(folder: Path | None = None, *, announce: Callable[[str], None] | None = None) -> EmbeddedServer:
    """Join the embedded server of a state folder, or start it; return it once it takes commands.

    Args:
        folder: the state folder. Default: SEATLINE_STATE, else XDG_STATE_HOME/seatline, else ~/.local/state/seatline.
        announce: called with one line when a server was started, never when one was joined. Default: silence.

    Raises:
        NoEmbeddedServer: SEATLINE_EMBEDDED=never, no server program, one too old for the data, or a folder that is not
            private.
        ServerUnavailable: it was started or is alive, but does not answer (10 s) or has not loaded its data (120 s).

    """
    _refuse_where_forbidden()
    state = StateFolder.locate(folder)
    state.make()
    server = _running(state) or _join_or_start(state, announce)
    _wait_until_loaded(server, state)
    return server


def status(folder: Path | None = None) -> EmbeddedServer | None:
    """Return the embedded server of a state folder, None when none runs; start nothing, make nothing.

    Args:
        folder: the state folder. Default: as :func:`ensure`.

    Raises:
        ServerUnavailable: a server lives, but does not answer.
        NoEmbeddedServer: the folder is not private.

    """
    state = StateFolder.locate(folder)
    if not state.check():
        return None
    if server := _running(state):
        return server
    return _wait_for_answer(state) if is_alive(state) else None


def stop(folder: Path | None = None) -> bool:
    """Stop the embedded server of a state folder; all it accepted is on disk when this returns.

    Args:
        folder: the state folder. Default: as :func:`ensure`.

    Returns:
        True when a server was stopped, False when none ran.

    Raises:
        ServerUnavailable: it is still there after 30 s, or lives where we cannot reach it.
        NoEmbeddedServer: the folder is not private.

    """
    state = StateFolder.locate(folder)
    if not state.check():
        return False
    with start_lock(state):
        server = _running(state)
        if server is None and not is_alive(state):
            return False
        _end(state, server)
        return True


def _refuse_where_forbidden() -> None:
    if sys.platform == "win32":
        raise NoEmbeddedServer("There is no embedded server on Windows. Set SEATLINE_URL to a server elsewhere.")
    wish = os.environ.get("SEATLINE_EMBEDDED", "").lower()
    if wish == "never":
        raise NoEmbeddedServer(
            "SEATLINE_EMBEDDED=never forbids the embedded server, and no other was named. Set SEATLINE_URL."
        )
    if wish not in {"", "auto"}:
        # Who writes "no" means never; a typing error must not start a server in production.
        raise InvalidInput(f"SEATLINE_EMBEDDED: {wish!r} is not known. Use never, or auto (the default).")


def _running(state: StateFolder) -> EmbeddedServer | None:
    try:
        return look(state)
    except ServerError:
        return None


def _join_or_start(state: StateFolder, announce: Callable[[str], None] | None) -> EmbeddedServer:
    with start_lock(state):
        if server := _running(state):
            return server
        if is_alive(state) and (server := _wait_for_answer(state)):
            return server
        from seatline.shared.embedded.launch import start  # noqa: PLC0415 - joining needs none of its imports

        server = start(state)
    if announce:
        announce(_announcement(server))
    return server


def _wait_for_answer(state: StateFolder) -> EmbeddedServer | None:
    """Wait for a server that lives and is silent: it starts, is busy or is ending. None when it has ended.

    Raises:
        ServerUnavailable: it lived on in silence.

    """
    deadline = time.monotonic() + SILENCE_SECONDS
    while True:
        try:
            return look(state)
        except ServerError as error:
            reason = error
        if not is_alive(state):
            return None
        if time.monotonic() >= deadline:
            raise ServerUnavailable(f"{_whereabouts(state)} lives but does not answer: {reason}. See {state.log}.")
        time.sleep(_PAUSE_SECONDS)


def _wait_until_loaded(server: EmbeddedServer, state: StateFolder) -> None:
    deadline = time.monotonic() + LOADING_SECONDS
    while True:
        try:
            with Connection(server.address, timeout=SILENCE_SECONDS) as connection:
                connection.call("AUTH", state.read_password() or "")
                reply = connection.call("PING")
        except OSError as error:
            if not is_alive(state):
                raise ServerUnavailable(f"The embedded server (pid {server.pid}) ended. See {state.log}.") from None
            reply = ErrorReply(error)
        # Any other answer, an error too, is for the caller's own connection to judge.
        if not isinstance(reply, ErrorReply) or not reply.startswith("LOADING"):
            return
        if time.monotonic() >= deadline:
            raise ServerUnavailable(
                f"The embedded server (pid {server.pid}) is still loading its data after {LOADING_SECONDS:g} s. "
                "It goes on: try again."
            )
        time.sleep(_LOADING_PAUSE_SECONDS)


def _announcement(server: EmbeddedServer) -> str:
    elsewhere = server.folder != StateFolder.locate().path
    prefix = f"SEATLINE_STATE={shlex.quote(str(server.folder))} " if elsewhere else ""
    return (
        f"Started an embedded {server.flavour.capitalize()} {server.version} (pid {server.pid}), "
        f"data in {server.data}; `{prefix}seatline server stop` stops it."
    )


def _whereabouts(state: StateFolder) -> str:
    record = Record.read(state)
    where = f" (pid {record.pid} on {record.host})" if record and record.pid else ""
    return f"The embedded server of {state.path}{where}"


def _end(state: StateFolder, server: EmbeddedServer | None) -> None:
    record = Record.read(state)
    pid = server.pid if server else record.pid if record else 0
    deadline = time.monotonic() + STOP_SECONDS
    refusal = "" if server else _terminate(state, pid)
    while is_alive(state) or runs_from(pid, state):
        if server:
            # It may refuse for a moment (the very first append-only file is being written): ask again.
            refusal = _shut_down(server, state) or refusal
        if time.monotonic() >= deadline:
            raise ServerUnavailable(
                f"{_whereabouts(state)} did not end within {STOP_SECONDS:g} s. {refusal} See {state.log}; "
                "ending it by force loses at most its last two seconds."
            )
        time.sleep(_PAUSE_SECONDS)
    if record:
        replace(record, pid=0).write(state)  # the port stays, for the next start to prefer


def _shut_down(server: EmbeddedServer, state: StateFolder) -> str:
    """Ask for a clean end, which writes and syncs the append-only file; return what the server said against it."""
    with suppress(OSError), Connection(server.address, timeout=STOP_SECONDS) as connection:
        connection.call("AUTH", state.read_password() or "")
        return f"It said: {connection.call('SHUTDOWN')!s}."
    return ""


def _terminate(state: StateFolder, pid: int) -> str:
    """Signal a server that does not answer, once its command line has proved that it is ours."""
    if not runs_from(pid, state):
        raise ServerUnavailable(
            f"{_whereabouts(state)} lives where it cannot be reached: in another container, "
            "or on another host that shares the folder. Stop it there."
        )
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return "It does not answer."
