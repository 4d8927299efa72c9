"""What is done with a file once its job has ended: it is kept, deleted, or moved, and never in the place of another one.

A move is a link to the new name and the end of the old one: the new name is never there half written, and what has that name
already stays. Across devices the file is copied under a hidden name first. Whoever is killed in the middle leaves the
file at its old place, perhaps at the new one too; the next look finds the same file there and only ends the old name.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final, Literal

from seatline.producer.watch_folder import Version, shown
from seatline.shared.errors import InvalidInput

__all__ = ["KEEP", "Ending", "NoTargetError", "ending_of", "put_away"]

#: The file system has no hard links, or not for this file.
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EINVAL}
)


@dataclass(frozen=True, slots=True)
class Ending:
    """What is done with a file: kept, deleted, or moved to ``folder`` (absolute)."""

    kind: Literal["keep", "move", "delete"] = "keep"
    folder: str = ""


KEEP: Final = Ending()


class NoTargetError(OSError):
    """The folder to which files are moved cannot be had."""


def ending_of(what: str, text: object, watched: str, *, delete: bool = True) -> Ending:
    """Read ``keep``, ``delete`` or ``move:DIR``; ``watched`` is the folder that is watched.

    Raises:
        InvalidInput: it is something else, or the file would stay where it is.

    """
    kind, _, folder = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind == "move" and folder:
        target = Path(folder).absolute()
        if target.resolve() == Path(watched).resolve():
            raise InvalidInput(f"{what}: {folder} is the folder that is watched. Name another one.")
        return Ending("move", str(target))
    if text == "keep":
        return KEEP
    if delete and text == "delete":
        return Ending("delete")
    raise InvalidInput(f"{what}: {text!r} is neither keep nor move:DIR{' nor delete' if delete else ''}.")


def put_away(ending: Ending, file: Path, inside: Path, version: Version) -> str | None:
    """End a file as it is said; returns in words what was done, None if that version is not there any more.

    Args:
        ending: what to do.
        file: its path.
        inside: its path from the watched folder on: folders in between are made in the target too.
        version: another one is left alone.

    Raises:
        NoTargetError: the target's folder cannot be had.
        OSError: it cannot be done.

    """
    try:
        if Version.of(file.stat()) != version:
            return None
        if ending.kind == "delete":
            file.unlink()
            return "deleted"
        return f"moved to {shown(str(_move(file, _made(Path(ending.folder), inside.parent), version)))}"
    except FileNotFoundError:
        if os.path.lexists(file):
            raise
        return None  # another watcher was quicker, or somebody took it away


def _made(folder: Path, between: Path) -> Path:
    """Make the target's folder, but not what it lies in: where a share is not mounted, nothing is to be made."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        target = folder / between
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NoTargetError(error.errno, error.strerror, str(folder)) from None
    return target


def _move(file: Path, folder: Path, version: Version) -> Path:
    if file.is_symlink():
        leads = file.parent / file.readlink()
        to, _ = _first_free(file, folder, file.name, lambda to: to.symlink_to(leads))
        file.unlink()
        return to
    try:
        return _rename(file, folder, file.name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    copy = folder / f".seatline-{secrets.token_hex(8)}.part"
    try:
        shutil.copy2(file, copy)
        if Version.of(file.stat()) != version:
            raise OSError(errno.EBUSY, "it was changed while it was copied", str(file))
        to = _rename(copy, folder, file.name)
    finally:
        copy.unlink(missing_ok=True)
    file.unlink()
    return to


def _rename(file: Path, folder: Path, name: str) -> Path:
    """Give a file the first name that is free in a folder of the same device."""
    try:
        to, _ = _first_free(file, folder, name, lambda to: to.hardlink_to(file))
        held = False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        to, held = _first_free(file, folder, name, lambda to: to.touch(exist_ok=False))
    if not held:
        file.unlink()
        return to
    try:
        return file.replace(to)
    except BaseException:
        to.unlink()  # it was only to hold the name
        raise


def _first_free(file: Path, folder: Path, name: str, take: Callable[[Path], None]) -> tuple[Path, bool]:
    """Take the first name that nobody has; returns it, and False if the same file has it already."""
    for to in _names(folder / name):
        try:
            take(to)
        except FileExistsError:
            if _same(file, to):
                return to, False
        else:
            return to, True
    raise AssertionError  # names do not end


def _names(first: Path) -> Iterator[Path]:
    yield first
    for number in count(1):
        yield first.with_name(f"{first.stem}-{number}{first.suffix}")


def _same(file: Path, other: Path) -> bool:
    """Whether both are the same version with the same content."""
    try:
        if file.is_symlink() or other.is_symlink():
            return other.is_symlink() and file.resolve() == other.resolve()
        one, two = file.stat(), other.stat()
        return os.path.samestat(one, two) or (
            Version.of(one) == Version.of(two) and filecmp.cmp(file, other, shallow=False)
        )
    except OSError:
        return False
