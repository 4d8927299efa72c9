"""The state folder and the run folder: where they are, that they are private, and what lies in them by which name."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seatline.shared.errors import InvalidInput, NoEmbeddedServer

__all__ = ["SOCKET_PATH_BYTES", "StateFolder", "socket_path", "write_private"]

SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
"""What sun_path holds beside its closing zero."""

_PRINTABLE_FROM = " "


@dataclass(frozen=True, slots=True)
class StateFolder:
    """A private folder, and the names in it (drawn in the essay of the package)."""

    path: Path

    @classmethod
    def locate(cls, folder: Path | None = None, environ: Mapping[str, str] | None = None) -> StateFolder:
        """Return the folder given, else the one that the environment or the user's home says; touch nothing.

        The path is resolved, so that two spellings of one folder lead to one server.

        Raises:
            InvalidInput: the path has control characters, which the server cannot report back.

        """
        environ = os.environ if environ is None else environ
        if folder is None:
            if environ.get("SEATLINE_STATE"):
                folder = Path(environ["SEATLINE_STATE"])
            elif environ.get("XDG_STATE_HOME"):
                folder = Path(environ["XDG_STATE_HOME"]) / "seatline"
            else:
                folder = Path.home() / ".local" / "state" / "seatline"
        path = folder.expanduser().resolve()
        if min(str(path)) < _PRINTABLE_FROM:
            raise InvalidInput(f"state folder: {str(path)!r} has control characters. Use another SEATLINE_STATE.")
        return cls(path)

    def make(self) -> None:
        """Create the folder, closed to everybody else, and check it.

        Raises:
            NoEmbeddedServer: it cannot be made, or is not private (as :meth:`check`).

        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise NoEmbeddedServer(
                f"The state folder {self.path} cannot be made ({error.strerror}). "
                "Set SEATLINE_STATE to a folder of yours."
            ) from None
        self.check()

    def check(self) -> bool:
        """Return whether the folder exists.

        Raises:
            NoEmbeddedServer: it is no folder, belongs to somebody else, or is open to others: who may write here may
                read the password or take the server's place.

        """
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise NoEmbeddedServer(
                f"The state folder {self.path} cannot be read ({error.strerror}). "
                "Set SEATLINE_STATE to a folder of yours."
            ) from None
        if complaint := _not_private(found):
            raise NoEmbeddedServer(
                f"The state folder {self.path} {complaint}. Close it with chmod 700 (it must be yours), "
                "or set SEATLINE_STATE to another folder."
            )
        return True

    @property
    def password_file(self) -> Path:
        """The password, 0600."""
        return self.path / "password"

    @property
    def configuration(self) -> Path:
        """The server's configuration, 0600: its path, which the server reports, is what makes a server ours."""
        return self.path / "server.conf"

    @property
    def record(self) -> Path:
        """Where the last server listens."""
        return self.path / "server.json"

    @property
    def versions(self) -> Path:
        """Which flavour and version wrote the data."""
        return self.path / "data.json"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / "server.log"

    @property
    def pid_file(self) -> Path:
        """The server's own note of its pid; we do not read it."""
        return self.path / "server.pid"

    @property
    def start_lock(self) -> Path:
        """Locked by who starts or stops the server."""
        return self.path / "start.lock"

    @property
    def alive_lock(self) -> Path:
        """Locked by the living server."""
        return self.path / "alive.lock"

    def data(self, flavour: str) -> Path:
        """Return the folder of the data that servers of this flavour write."""
        return self.path / flavour

    def users(self, flavour: str) -> Path:
        """Return the file of the logins that a server of this flavour keeps: another one may not know its rules."""
        return self.data(flavour) / "users.acl"

    def read_password(self) -> str | None:
        """Return the password, None before the first start."""
        try:
            return self.password_file.read_text("ascii").strip() or None
        except (OSError, ValueError):
            return None


def write_private(path: Path, text: str) -> None:
    """Replace the file at once (a reader sees the old text or the new), readable by its owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(text, "utf-8", "surrogateescape")
    draft.replace(path)


def socket_path(state: StateFolder, environ: Mapping[str, str] | None = None) -> Path | None:
    """Return a path for the socket of this state folder's server, its folder made and checked; None if there is none.

    None means that every run folder is too deep for a socket or not safely ours: somebody else may have made a folder
    of our name in the shared temp folder. Then the server is used over 127.0.0.1, where its password protects it.
    """
    import tempfile  # noqa: PLC0415 - needed only by a start

    environ = os.environ if environ is None else environ
    name = hashlib.sha256(os.fsencode(state.path)).hexdigest()[:16] + ".sock"
    homes = [Path(tempfile.gettempdir()) / f"seatline-{os.geteuid()}"]
    if environ.get("XDG_RUNTIME_DIR"):
        homes.insert(0, Path(environ["XDG_RUNTIME_DIR"]) / "seatline")
    for home in homes:
        path = home / name
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            continue
        try:
            home.mkdir(mode=0o700, exist_ok=True)
            if not _not_private(home.lstat()):  # lstat: a link in the shared temp folder may lead anywhere
                return path
        except OSError:
            continue
    return None


def _not_private(found: os.stat_result) -> str | None:
    if not stat.S_ISDIR(found.st_mode):
        return "is not a folder"
    if found.st_uid != os.geteuid():
        return f"belongs to another user (uid {found.st_uid})"
    if found.st_mode & 0o077:
        return f"is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
    return None
