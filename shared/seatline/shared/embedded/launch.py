"""Start a server: choose program and addresses, write its configuration, launch it, wait until it says who it is.

Called with ``start.lock`` held and no server alive. The server makes itself a daemon (its own session and process
group, no child of ours, so no zombie either); what it says before it can open its log goes to the log all the same.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from seatline.shared.embedded.binary import Binary, Written, choose
from seatline.shared.embedded.folders import StateFolder, socket_path, write_private
from seatline.shared.embedded.found import LOOPBACK, EmbeddedServer, Record, look
from seatline.shared.embedded.locks import is_alive, life_lock
from seatline.shared.errors import ServerError, ServerUnavailable

__all__ = ["configuration", "start", "users"]

START_SECONDS = 15.0
"""From launch to the first answer; loading data comes after it."""

PORTS_TRIED = 5

_PAUSE_SECONDS = 0.005
_LOG_LINES = 3
_PORT_TAKEN = "ailed listening on port"  # "Failed" or "failed", as the version has it


class _PortTakenError(Exception):
    """Another process took the port between our choice and the server's bind."""


def start(state: StateFolder) -> EmbeddedServer:
    """Start a server on this folder's data and return it, perhaps still loading.

    Raises:
        NoEmbeddedServer: no program, or none that may take over the data.
        ServerUnavailable: it ended at once, or did not answer in time; the message has the last lines of its log.

    """
    binary = choose(state)
    password = state.read_password() or _make_password(state)
    socket_file = socket_path(state)
    state.data(binary.flavour).mkdir(mode=0o700, exist_ok=True)
    for port in _ports(state):
        write_private(state.users(binary.flavour), users(state, binary, password))
        write_private(state.configuration, configuration(state, binary, port, socket_file, password))
        record = Record(
            pid=0,
            port=port,
            socket=str(socket_file) if socket_file else None,
            binary=str(binary.path),
            flavour=binary.flavour,
            version=binary.version,
        )
        record.write(state)
        try:
            server = _launch(state, binary)
        except _PortTakenError:
            continue
        Written.read(state).note(binary, state)
        replace(record, pid=server.pid).write(state)
        return server
    raise ServerUnavailable(f"No free port for a server on {LOOPBACK}: {PORTS_TRIED} were taken while it started.")


def configuration(state: StateFolder, binary: Binary, port: int, socket_file: Path | None, password: str) -> str:
    """Return the text of ``server.conf``: private, durable to about a second, never evicting."""
    since_seven = binary.flavour == "valkey" or binary.series >= (7, 0)
    settings = [
        ("bind", LOOPBACK),
        ("port", str(port)),
        ("protected-mode", "yes"),
        ("requirepass", password),
        ("aclfile", str(state.users(binary.flavour))),
        # DEBUG can crash a server and was the way in of several flaws.
        ("enable-debug-command", "no") if since_seven else ("rename-command", "DEBUG", ""),
        ("daemonize", "yes"),
        ("supervised", "no"),
        ("pidfile", str(state.pid_file)),
        ("logfile", str(state.log)),
        # The command line stays as launched: it names this file, by which a silent server is known as ours.
        ("set-proc-title", "no"),
        ("always-show-logo", "no"),
        ("dir", str(state.data(binary.flavour))),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        # A job is a hash with a field for its params: up to 1 kB of them it stays one compact block.
        ("hash-max-listpack-value" if since_seven else "hash-max-ziplist-value", "1024"),
    ]
    if socket_file:
        settings += [("unixsocket", str(socket_file)), ("unixsocketperm", "700")]
    head = "# Written by Seatline before every start: changes are lost. It holds the password.\n"
    return head + "".join(f"{name} {' '.join(map(_quoted, values))}\n" for name, *values in settings)


def users(state: StateFolder, binary: Binary, password: str) -> str:
    """Return the text of ``users.acl``: the users that the server was told to keep, and the operator with our password.

    A server that has this file takes all users from it; were the operator left out, he would need no password.
    """
    try:
        kept = state.users(binary.flavour).read_text("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        kept = []
    others = [line for line in kept if line.strip() and line.split()[:2] != ["user", "default"]]
    digest = hashlib.sha256(password.encode()).hexdigest()
    return "\n".join([f"user default on #{digest} ~* &* +@all", *others]) + "\n"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _make_password(state: StateFolder) -> str:
    password = secrets.token_urlsafe(32)
    write_private(state.password_file, password + "\n")
    return password


def _ports(state: StateFolder) -> Iterator[int]:
    """Yield ports that were free a moment ago, the former one first: addresses given to other tools stay good."""
    former = Record.read(state)
    tried = 0
    if former and _is_free(former.port):
        tried += 1
        yield former.port
    for _ in range(tried, PORTS_TRIED):
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        yield port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: without it the connections of the last server, in TIME_WAIT, would hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
        return port > 0


def _launch(state: StateFolder, binary: Binary) -> EmbeddedServer:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SEATLINE_", "REDISCLI_", "VALKEYCLI_"))
    }
    state.log.touch(mode=0o600)
    with state.log.open("ab") as log:
        begin = log.tell()
        with life_lock(state) as alive:
            try:
                process = subprocess.Popen(  # noqa: S603 - no shell; the program was chosen and checked
                    [binary.path, state.configuration],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=state.data(binary.flavour),
                    env=kept,
                    umask=0o077,
                    start_new_session=True,
                    pass_fds=(alive,),
                )
            except OSError as error:
                raise ServerUnavailable(f"{binary} does not start: {error}.") from None
    deadline = time.monotonic() + START_SECONDS
    # What we launched is only the daemon's parent; it ends at once, and must be collected here.
    try:
        process.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    reason: object = "no answer"
    while time.monotonic() < deadline:
        try:
            return look(state)
        except ServerError as error:
            reason = error
        if not is_alive(state):
            raise _death(state, binary, begin)
        time.sleep(_PAUSE_SECONDS)
    raise ServerUnavailable(
        f"{binary} was started but does not answer within {START_SECONDS:g} s: {reason}. See {state.log}."
    )


def _death(state: StateFolder, binary: Binary, begin: int) -> Exception:
    with state.log.open("rb") as log:
        log.seek(begin)
        said = log.read().decode("utf-8", "replace")
    if _PORT_TAKEN in said:
        return _PortTakenError()
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return ServerUnavailable(
        f"{binary} ended while it started: {' / '.join(lines[-_LOG_LINES:]) or 'it said nothing'}. See {state.log}."
    )
