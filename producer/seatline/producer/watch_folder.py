"""What a watch sees when it looks at its folder: files and their versions. Asks no server.

Terms: a *version* of a file is its size and its time of change (in nanoseconds). Symlinks to files are seen as the files
that they lead to; symlinks to folders are not followed, so nothing can lead round in a circle.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from seatline.shared.errors import InvalidInput

__all__ = ["IGNORED", "Folder", "Version", "shown"]

#: Names that are passed over unless told otherwise: hidden ones, and those under which programs write for the time being.
IGNORED: Final = (".*", "~$*", "*.tmp", "*.part")


class Version(NamedTuple):
    """One version of a file: its size in bytes, and when it was changed (ns)."""

    size: int
    mtime_ns: int

    @property
    def mtime(self) -> float:
        """When it was changed, in epoch seconds: the very number that ``os.stat(path).st_mtime`` is."""
        seconds, rest = divmod(self.mtime_ns, 10**9)
        return seconds + 1e-9 * rest

    @classmethod
    def of(cls, found: os.stat_result) -> Version:
        """Return the version that a look at a file has found."""
        return cls(found.st_size, found.st_mtime_ns)


class Folder:
    """A folder that is looked at again and again.

    Args:
        path: absolute.
        patterns: names that count, such as ``*.dxf``, whatever their case; one with a ``/`` speaks of the path from the
            folder on. None: all.
        ignore: names that do not, of files and folders.
        recursive: look into the folders in it too.
        apart: folders that are not looked into.

    """

    def __init__(
        self,
        path: str,
        *,
        patterns: Sequence[str] = (),
        ignore: Sequence[str] = IGNORED,
        recursive: bool = False,
        apart: Sequence[str] = (),
    ) -> None:
        self.path, self.recursive, self._apart = path, recursive, apart
        self._patterns, self._ignore = _lower("pattern", patterns), _lower("ignore", ignore)

    def look(self, complain: Callable[[str, OSError], None]) -> dict[str, Version]:
        """Return the files that are there now; what cannot be read of it is complained of and left out.

        Raises:
            OSError: the folder itself cannot be read.

        """
        found: dict[str, Version] = {}
        folders = [self.path]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            if self.recursive and self._enters(entry):
                                folders.append(entry.path)
                        elif self._counts(entry.name, entry.path):
                            self._see(entry, found, complain)
            except FileNotFoundError:
                if folder == self.path:
                    raise
            except OSError as error:
                if folder == self.path:
                    raise
                complain(folder, error)
        return found

    def _see(
        self, entry: os.DirEntry[str], found: dict[str, Version], complain: Callable[[str, OSError], None]
    ) -> None:
        try:
            if entry.is_file():
                found[entry.path] = Version.of(entry.stat())
        except FileNotFoundError:
            pass  # renamed or deleted while we look
        except OSError as error:
            complain(entry.path, error)

    def _enters(self, entry: os.DirEntry[str]) -> bool:
        if _matches(entry.name.lower(), self._ignore):
            return False
        return not self._apart or os.path.realpath(entry.path) not in map(os.path.realpath, self._apart)

    def _counts(self, name: str, path: str) -> bool:
        if _matches(name.lower(), self._ignore):
            return False
        return not self._patterns or _matches(name.lower(), self._patterns, self.inside(path).lower())

    def inside(self, path: str) -> str:
        """Return a file's path from the folder on."""
        return os.path.relpath(path, self.path)


def _lower(what: str, patterns: Iterable[str]) -> tuple[str, ...]:
    if isinstance(patterns, str) or not all(isinstance(each, str) and each for each in _each(what, patterns)):
        raise InvalidInput(f"{what}: {patterns!r} is not a list of patterns such as ['*.dxf'].")
    return tuple(each.lower() for each in patterns)


def _each(what: str, patterns: Iterable[object]) -> Iterator[object]:
    try:
        return iter(patterns)
    except TypeError:
        raise InvalidInput(f"{what}: {patterns!r} is not a list of patterns such as ['*.dxf'].") from None


def _matches(name: str, patterns: Sequence[str], inside: str = "") -> bool:
    return any(fnmatchcase(inside if "/" in pattern else name, pattern) for pattern in patterns)


def shown(path: str) -> str:
    """Return a path for people: on one line, with escapes for what cannot be printed."""
    return path if path.isprintable() else ascii(path)[1:-1]
