"""Where the passwords of ``seatline acl`` come from: files, the environment, a prompt, or chance. Never a command line.

All that leaves this module is the SHA-256 of a password, which is also all that the server is sent and keeps: so no
password stands in its log, its MONITOR or its file. That digest has no salt, hence the least length: what can be guessed
can be found. One that is made here goes to a file that only its owner can read, and is shown nowhere.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from seatline.shared.errors import InvalidInput
from seatline.shared.roles import ROLES

__all__ = ["LEAST", "VARIABLE", "Secret", "gather", "roles_and_files"]

#: Letters that a password has at least. Chance gives 43, of 256 bits.
LEAST: Final = 12
VARIABLE: Final = "SEATLINE_ACL_PASSWORD_"
_MOST_BYTES: Final = 4096


class Secret:
    """The digest of a password, and where that came from; one that was made here is in no file before :meth:`write`."""

    __slots__ = ("_made", "digest", "source")

    def __init__(self, password: str, source: str, file: Path | None = None) -> None:
        if len(password) < LEAST:
            raise InvalidInput(
                f"{source}: a password has at least {LEAST} letters, as the server keeps an unsalted digest of it."
            )
        if any(ord(letter) <= ord(" ") for letter in password):
            raise InvalidInput(
                f"{source}: a password has no blanks and no control characters, so that a URL can hold it."
            )
        self.digest, self.source = hashlib.sha256(password.encode()).hexdigest(), source
        self._made = (file, password) if file else None

    def write(self) -> None:
        """Put a password that was made here into its file, for nobody else to read; any other lies somewhere already.

        Raises:
            InvalidInput: the file cannot be made, or was made meanwhile.

        """
        if self._made is None:
            return
        path, password = self._made
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise InvalidInput(f"--passwords: {path} cannot be made ({error.strerror}).") from None
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(password + "\n")
        self._made = None


def roles_and_files(words: Sequence[str]) -> dict[str, Path]:
    """Read ``ROLE=FILE`` words."""
    found: dict[str, Path] = {}
    for word in words:
        role, _, name = word.partition("=")
        if role not in ROLES or not name:
            raise click.BadParameter(f"not ROLE=FILE; the roles are {', '.join(ROLES)}", param_hint="--password-file")
        found[role] = Path(name)
    return found


def gather(
    roles: Collection[str], files: Mapping[str, Path], folder: Path | None, environ: Mapping[str, str], *, ask: bool
) -> dict[str, Secret]:
    """Return what is said for each role: by a file of its own, else by the environment, the prompt, the folder.

    Raises:
        InvalidInput: a password is too short, or cannot be read.

    """
    found: dict[str, Secret] = {}
    for role in roles:
        if role in files:
            found[role] = Secret(_read(files[role]), f"from {files[role]}")
        elif environ.get(VARIABLE + role.upper()):
            found[role] = Secret(environ[VARIABLE + role.upper()], f"from {VARIABLE}{role.upper()}")
        elif ask:
            found[role] = Secret(_ask(role), "as typed")
        elif folder is not None:
            found[role] = _of_folder(folder, role)
    return found


def _ask(role: str) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(
            "--prompt needs a terminal; without one use --password-file or --passwords.", click.get_current_context()
        )
    password: str = click.prompt(f"Password of the {role}", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _of_folder(folder: Path, role: str) -> Secret:
    """Return what the folder has for a role, else a new one, which is written there once people have agreed."""
    path = folder / role
    if path.exists():
        return Secret(_read(path), f"from {path}")
    return Secret(secrets.token_urlsafe(32), f"made, in {path}", path)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
            mode = os.fstat(file.fileno()).st_mode
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: not a text of UTF-8.") from None
    if not lines or any(lines[1:]):
        raise InvalidInput(f"{path}: a password is the first line of its file, and there is no other.")
    if mode & 0o044:
        click.echo(f"seatline: {path} can be read by other users of this machine; chmod 600 it.", err=True)
    return lines[0]
