"""`seatline server`: start, stop and look at the embedded server; and `seatline cli`: talk to the current server.

The embedded server is the one of the user's state folder (``seatline.shared.embedded``). The *current* server is the
one that queues and workers would use: SEATLINE_URL, else the embedded server, started if need be.

Where neither redis-cli nor valkey-cli is installed, `seatline cli` sends commands itself: one command a line, one
reply each, printed for people. The password never enters a command line; redis-cli reads it from its environment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

import click

from seatline.console.target import embedded_url, with_password
from seatline.shared.errors import InvalidInput, LoginRefused, ServerError, ServerRefused, ServerUnavailable

if TYPE_CHECKING:
    from seatline.console.server_busy import Busy
    from seatline.shared.embedded import EmbeddedServer
    from seatline.shared.embedded.resp import Connection, Reply

__all__ = ["cli", "server"]

NO_SERVER = 69
"""The exit code of `server status` when none runs, as of every command that finds no server."""

CONNECT_SECONDS = 5.0

_REDIS_PORT = 6379
_KNOWS_E = 7

_output = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print it."
)


@click.group(epilog="Example: seatline server status")
def server() -> None:
    """Start, stop or show the embedded server of this user.

    Seatline starts it by itself when no SEATLINE_URL names a server. Its data, log and password lie in the state
    folder: SEATLINE_STATE, else XDG_STATE_HOME/seatline, else ~/.local/state/seatline.
    """


@server.command(epilog="Example: SEATLINE_STATE=/data/queue seatline server start")
@_output
def start(output: str) -> None:
    """Start the embedded server, unless it runs, and show it."""
    from seatline.shared.embedded import ensure  # noqa: PLC0415 - `seatline --help` stays fast

    started: list[str] = []
    found = ensure(announce=started.append)
    click.echo(started[0] if started else "The embedded server runs already.", err=True)
    _show(found, output)


@server.command(epilog="Example: seatline server stop")
def stop() -> None:
    """Stop the embedded server; its data stays.

    What it accepted is on disk when this returns, and comes back with the next start. Workers and producers that still
    use it start it again at once: stop them first. It is no error when none runs.
    """
    from seatline.console.server_busy import busy  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.embedded import status as find_server  # noqa: PLC0415 - as above
    from seatline.shared.embedded import stop as stop_server  # noqa: PLC0415 - as above

    found_busy: list[Busy] = []
    with suppress(ServerError):
        found_busy = busy(found) if (found := find_server()) else []
    click.echo("Stopped." if stop_server() else "No embedded server runs.")
    for namespace, workers, jobs in found_busy:
        live = f"{workers} worker{'s live and start' if workers > 1 else ' lives and starts'} it again"
        run = f"; {jobs} job{'s run' if jobs > 1 else ' runs'}" if jobs else ""
        click.echo(
            f"seatline: {live}{run}. For good: `seatline workers stop --all -n {namespace}`, then `seatline server stop`.",
            err=True,
        )


@server.command(epilog="Example: seatline server status -o json")
@_output
@click.pass_context
def status(context: click.Context, output: str) -> None:
    """Show the embedded server and how to open it.

    The last two lines are ready to paste: `url` has programs in this shell use this server by its address, and `cli` opens
    redis-cli on it; the password is not shown. Exit code 0 when it runs, 69 when it does not.
    """
    from seatline.shared.embedded import status as find_server  # noqa: PLC0415 - `seatline --help` stays fast

    found = find_server()
    if found:
        _show(found, output)
    elif output == "json":
        click.echo(json.dumps({"running": False}))
    else:
        click.echo("No embedded server runs. `seatline server start` starts one.")
    context.exit(0 if found else NO_SERVER)


def _show(found: EmbeddedServer, output: str) -> None:
    from seatline.shared.store.password import with_login, without_user  # noqa: PLC0415 - `seatline --help` stays fast

    where = without_user(with_login(found.url, "default", None))
    facts: dict[str, Any] = {
        "running": True,
        "flavour": found.flavour,
        "version": found.version,
        "pid": found.pid,
        "port": found.port,
        "socket": str(found.socket) if found.socket else None,
        "binary": str(found.binary),
        "folder": str(found.folder),
        "data": str(found.data),
        "password_file": str(found.password_file),
        "url": where,
        "cli": found.cli_line(),
    }
    if output == "json":
        click.echo(json.dumps(facts))
        return
    rows = {
        "server": f"{found.flavour.capitalize()} {found.version}, pid {found.pid}",
        "socket": facts["socket"] or "none: its path would be too long, or its folder is not safe",
        "port": f"127.0.0.1:{found.port}",
        "binary": facts["binary"],
        "data": facts["data"],
        "password": f"in {found.password_file}",
        "url": f"export SEATLINE_URL={shlex.quote(where)} SEATLINE_PASSWORD_FILE={shlex.quote(str(found.password_file))}",
        "cli": facts["cli"],
    }
    for name, value in rows.items():
        click.echo(f"{name:<10}{value}")
    if os.environ.get("SEATLINE_URL"):
        click.echo("SEATLINE_URL is set: queues and workers use the server it names, not this one.", err=True)


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: seatline cli HGETALL '{default}:job:0000000000000042'",
)
@click.option("--url", envvar="SEATLINE_URL", help="The server. Default: SEATLINE_URL, else the embedded server.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def cli(url: str | None, words: tuple[str, ...]) -> None:
    """Open redis-cli on the current server.

    With WORDS, run one command there. WORDS go to redis-cli as they are, its own options included. Without redis-cli
    (or valkey-cli) on PATH, WORDS are one command, and without WORDS a simple prompt opens. Exit code 1 when the server
    refuses the command (a redis-cli before 7.0 has 0 then).
    """
    target = _logged_in(_Target.parse(with_password(url or embedded_url()) or ""))
    program = next(filter(None, map(shutil.which, ("redis-cli", "valkey-cli"))), None)
    if program:
        _become(program, target, words)
    with _connect(target) as connection:
        if words:
            sys.exit(0 if _run(connection, words) else 1)
        _prompt(connection, target)


def _logged_in(target: _Target) -> _Target:
    """Add the login that the environment says; whoever names a user and no password must not become another one."""
    user = target.username or os.environ.get("SEATLINE_USER")
    if target.password:
        return target
    if path := os.environ.get("SEATLINE_PASSWORD_FILE"):
        from seatline.shared.store.password import FromFile  # noqa: PLC0415 - `seatline --help` stays fast

        user, password = FromFile(user or "default", path).get_credentials()
        return replace(target, username=user, password=password)
    if user:
        raise LoginRefused(
            f"user {user} is to log in, and no password was said: name its file in SEATLINE_PASSWORD_FILE."
        )
    return target


@dataclass(frozen=True, slots=True)
class _Target:
    """What a server's URL says."""

    host: str
    port: int
    socket: str | None
    username: str | None
    password: str | None = field(repr=False)
    database: int
    tls: bool

    @classmethod
    def parse(cls, url: str) -> _Target:
        """Read redis://, rediss:// and unix:// URLs, with the options that redis-py reads from the query too."""
        try:
            parts = urlsplit(url)
            port = parts.port or _REDIS_PORT
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            path = unquote(parts.path)
            by_socket = parts.scheme == "unix"
            database = int(query.get("db") or ("" if by_socket else path.strip("/")) or 0)
        except ValueError:
            raise InvalidInput("SEATLINE_URL: its port or database is not a number.") from None
        if parts.scheme not in {"redis", "rediss", "unix"} or (by_socket and not path):
            raise InvalidInput(
                "SEATLINE_URL: not a server's address. Use redis://HOST:6379/0, rediss://HOST:6379/0 or unix:///PATH?db=0."
            )
        return cls(
            host=parts.hostname or "localhost",
            port=port,
            socket=path if by_socket else None,
            username=unquote(parts.username or "") or query.get("username"),
            password=unquote(parts.password or "") or query.get("password"),
            database=database,
            tls=parts.scheme == "rediss",
        )

    def __str__(self) -> str:
        """Return where it is, without secrets."""
        return self.socket or f"{self.host}:{self.port}"


def database_of(url: str) -> int:
    """Return the number of the database that a server's URL names.

    Raises:
        InvalidInput: it is no URL of a server.

    """
    return _Target.parse(url).database


def _become(program: str, target: _Target, words: tuple[str, ...]) -> NoReturn:
    """Replace this process by redis-cli, so that signals and exit codes are its own."""
    where = ["-s", target.socket] if target.socket else ["-h", target.host, "-p", str(target.port)]
    if target.database:
        where += ["-n", str(target.database)]
    if target.username:
        where += ["--user", target.username]
    if target.tls:
        where += ["--tls"]
    if words and _tells_failure(program):
        where += ["-e"]
    if target.username and not target.tls:
        # redis-cli goes on as the user default when its login is refused: here that is an error.
        with suppress(ServerUnavailable):
            _connect(target).close()
    # valkey-cli prefers a variable of its own name; one that was inherited belongs to another server.
    strangers = {"REDISCLI_AUTH", "VALKEYCLI_AUTH"}
    environment = {name: value for name, value in os.environ.items() if name not in strangers}
    if target.password:
        environment["REDISCLI_AUTH"] = target.password
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [os.path.basename(program), *where, *words], environment)  # noqa: S606, PTH119 - no shell wanted


def _tells_failure(program: str) -> bool:
    """Whether this redis-cli has an exit code for a command that the server refused: since 7.0, with -e."""
    import subprocess  # noqa: PLC0415 - only where there is a redis-cli

    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.search(r"-cli (\d+)\.", shown)
    return bool(version and int(version[1]) >= _KNOWS_E)


def _connect(target: _Target) -> Connection:
    """Connect and log in without redis-cli."""
    from seatline.shared.embedded.resp import Connection, ErrorReply  # noqa: PLC0415 - only without redis-cli

    if target.tls:
        raise InvalidInput("A rediss:// server needs redis-cli here, which is not installed (apt install redis-tools).")
    try:
        connection = Connection(target.socket or (target.host, target.port), timeout=CONNECT_SECONDS)
    except OSError as error:
        raise ServerUnavailable(f"The server at {target} cannot be reached: {error}.") from None
    greetings = [["AUTH", *filter(None, [target.username]), target.password]] if target.password else []
    greetings += [["SELECT", str(target.database)]] if target.database else []
    for greeting in greetings:
        if isinstance(reply := connection.call(*greeting), ErrorReply):
            connection.close()
            raise ServerRefused(f"The server at {target} refused {greeting[0]}: {reply}.")
    connection.wait_for_ever()  # BLPOP and its like answer when they please
    return connection


def _prompt(connection: Connection, target: _Target) -> None:
    if sys.stdin.isatty():
        click.echo(
            "Neither redis-cli nor valkey-cli is installed; this prompt sends one command a line. Ctrl-D ends it."
        )
    while True:
        try:
            line = input(f"{target}> " if sys.stdin.isatty() else "")
            words = tuple(shlex.split(line))
        except EOFError:
            return
        except ValueError as error:
            click.echo(f"(error) {error}")
            continue
        if words:
            _run(connection, words)


def _run(connection: Connection, words: tuple[str, ...]) -> bool:
    """Send one command, print its reply, return whether it was no error."""
    from seatline.shared.embedded.resp import ErrorReply  # noqa: PLC0415 - only without redis-cli

    try:
        reply = connection.call(*words)
    except OSError as error:
        raise ServerUnavailable(f"The connection was lost: {error}.") from None
    click.echo("\n".join(_lines(reply)))
    return not isinstance(reply, ErrorReply)


def _lines(reply: Reply) -> list[str]:
    """Print a reply as redis-cli does, except that plain text stands without quotes."""
    if not isinstance(reply, list):
        return _scalar(reply)
    width = len(str(len(reply)))
    lines: list[str] = []
    for number, element in enumerate(reply, 1):
        first, *others = _lines(element)
        lines.append(f"{number:>{width}}) {first}")
        lines += [" " * (width + 2) + other for other in others]
    return lines or ["(empty)"]


def _scalar(reply: str | bytes | int | None) -> list[str]:
    from seatline.shared.embedded.resp import ErrorReply  # noqa: PLC0415 - only without redis-cli

    match reply:
        case None:
            return ["(nil)"]
        case ErrorReply():
            return [f"(error) {reply}"]
        case str():
            return [str(reply)]
        case int():
            return [f"(integer) {reply}"]
        case _:
            return _text(reply)


def _text(value: bytes) -> list[str]:
    """Return text as its lines, and anything that is not text as an escaped literal."""
    try:
        lines = value.decode().splitlines() or [""]
    except UnicodeDecodeError:
        return [repr(value)]
    return lines if all(line.isprintable() for line in lines) else [repr(value)]
