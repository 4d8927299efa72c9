"""A server that was found: what it says of itself, and how to reach it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname
from typing import Literal
from urllib.parse import quote

from seatline.shared.embedded.folders import StateFolder, write_private
from seatline.shared.embedded.locks import is_alive
from seatline.shared.embedded.resp import Connection, ErrorReply
from seatline.shared.errors import ServerError, ServerRefused, ServerUnavailable

__all__ = ["LOOPBACK", "EmbeddedServer", "Flavour", "Record", "look", "runs_from"]

Flavour = Literal["valkey", "redis"]

LOOPBACK = "127.0.0.1"
LOOK_SECONDS = 1.0
"""How long a living server may take to say who it is, before it counts as silent for this look."""


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running embedded server.

    Attributes:
        url: what clients connect to, password included (so it is not part of ``repr``).
        pid: the server's process.
        port: its TCP port on 127.0.0.1.
        socket: its unix socket; None where it is used over TCP alone.
        binary: the program that runs.
        flavour: ``valkey`` or ``redis``.
        version: such as ``9.1.2``.
        folder: the state folder.
        password_file: the file that holds the password, 0600.

    """

    url: str = field(repr=False)
    pid: int
    port: int
    socket: Path | None
    binary: Path
    flavour: Flavour
    version: str
    folder: Path
    password_file: Path

    @property
    def data(self) -> Path:
        """The folder of the server's data."""
        return self.folder / self.flavour

    @property
    def address(self) -> str | tuple[str, int]:
        """The socket's path, else host and port."""
        return str(self.socket) if self.socket else (LOOPBACK, self.port)

    def cli_line(self) -> str:
        """Return a line to paste into a shell that opens redis-cli (or valkey-cli) on this server.

        The shell reads the password from its file, so that it shows neither here nor in the list of processes.
        """
        program = next((name for name in ("redis-cli", "valkey-cli") if shutil.which(name)), "redis-cli")
        where = f"-s {shlex.quote(str(self.socket))}" if self.socket else f"-h {LOOPBACK} -p {self.port}"
        return f'REDISCLI_AUTH="$(cat {shlex.quote(str(self.password_file))})" {program} {where}'


@dataclass(frozen=True, slots=True)
class Record:
    """``server.json``: where the last server was told to listen. Written before it is launched, then with its pid.

    ``pid`` is 0 until the server has answered; it serves people, and to end a server that no longer answers.
    """

    pid: int
    port: int
    socket: str | None
    binary: str
    flavour: str
    version: str
    host: str = field(default_factory=gethostname)

    @classmethod
    def read(cls, state: StateFolder) -> Record | None:
        """Return the record, None when there is none or it is not one of ours."""
        try:
            values = json.loads(state.record.read_text("utf-8"))
            return cls(
                pid=int(values["pid"]),
                port=int(values["port"]),
                socket=values["socket"] and str(values["socket"]),
                binary=str(values["binary"]),
                flavour=str(values["flavour"]),
                version=str(values["version"]),
                host=str(values["host"]),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, state: StateFolder) -> None:
        """Replace the file at once."""
        values = {name: getattr(self, name) for name in self.__slots__}
        write_private(state.record, json.dumps(values, indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class _Answer:
    pid: int
    configuration: str
    binary: str
    flavour: Flavour
    version: str


def look(state: StateFolder) -> EmbeddedServer:
    """Return the server of this folder that answers, at its socket or else at its port; each has 1 s.

    Raises:
        ServerError: none answers; the message says why, in words that complete "it does not answer: ...".

    """
    record, password = Record.read(state), state.read_password()
    if record is None or password is None:
        raise ServerUnavailable(f"{state.record if record is None else state.password_file} is missing")
    reason: ServerError = ServerUnavailable("it has ended")
    if record.socket:
        try:
            return _meet(state, record, password, record.socket)
        except ServerError as error:
            reason = error
    # Loopback belongs to every local user: the password goes there only while our server lives and the port is ours.
    if not (is_alive(state) and _is_ours(record.port)):
        raise reason
    by_port = _meet(state, record, password, None)
    if record.socket:
        # A server that starts opens its port before its socket. It has answered, so now both are open.
        with suppress(ServerError):
            return _meet(state, record, password, record.socket)
    return by_port


def _meet(state: StateFolder, record: Record, password: str, place: str | None) -> EmbeddedServer:
    """Ask at one address, the socket at ``place`` or else the port, and return the server if it is this folder's."""
    answer = _ask(place or (LOOPBACK, record.port), password, LOOK_SECONDS)
    if answer.configuration != str(state.configuration):
        raise ServerUnavailable("the server at its address belongs to another folder")
    secret = quote(password, safe="")
    return EmbeddedServer(
        url=f"unix://:{secret}@{quote(place)}?db=0" if place else f"redis://:{secret}@{LOOPBACK}:{record.port}/0",
        pid=answer.pid,
        port=record.port,
        socket=Path(place) if place else None,
        binary=Path(answer.binary),
        flavour=answer.flavour,
        version=answer.version,
        folder=state.path,
        password_file=state.password_file,
    )


def _is_ours(port: int) -> bool:
    """Return whether a process of this user listens on the port; True too where the kernel does not show it (macOS).

    A server that starts lives before it binds, and somebody may be quicker to take the port.
    """
    try:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    except OSError:
        return True
    listening, owner = "0A", str(os.geteuid())
    return any(row[1].endswith(f":{port:04X}") and row[3] == listening and row[7] == owner for row in rows)


def _ask(address: str | tuple[str, int], password: str, seconds: float) -> _Answer:
    """Log in and ask who it is; INFO is answered also while the data is loading."""
    try:
        with Connection(address, timeout=seconds) as connection:
            login = connection.call("AUTH", password)
            if isinstance(login, ErrorReply):
                raise ServerRefused(f"it refused the password of its password file ({login})")
            reply = connection.call("INFO", "server")
    except TimeoutError:
        raise ServerUnavailable(f"no answer within {seconds:g} s") from None
    except (OSError, ValueError) as error:
        raise ServerUnavailable(str(error)) from None
    if not isinstance(reply, bytes):
        raise ServerUnavailable(str(reply))
    lines = reply.decode("utf-8", "surrogateescape").splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    try:
        return _Answer(
            pid=int(facts["process_id"]),
            configuration=facts["config_file"],
            binary=facts["executable"],
            flavour="valkey" if "valkey_version" in facts else "redis",
            version=facts.get("valkey_version") or facts["redis_version"],
        )
    except (KeyError, ValueError):
        raise ServerUnavailable("it does not say who it is") from None


def runs_from(pid: int, state: StateFolder) -> bool:
    """Return whether the process ``pid`` is a server launched with this folder's configuration.

    For a server that does not answer. The command line is asked for, since a pid may have been used again; ours keeps
    the one it was launched with (``set-proc-title no``). A process that has ended and was not collected has none.
    """
    if pid <= 0:
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        if Path("/proc/self").exists():
            return False
        import subprocess  # noqa: PLC0415 - only without /proc

        shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)  # noqa: S603, S607
        return os.fsencode(state.configuration) in shown.stdout
    return os.fsencode(state.configuration) in words
