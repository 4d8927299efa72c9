"""How a file's version becomes a job or an order: params and title made from templates, and the name of the version."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from string import Formatter
from typing import Any, Final

from seatline.producer.watch_folder import Version, shown
from seatline.shared.errors import InvalidInput

__all__ = ["PARAMS", "Template", "digest_of", "order_id_of", "token_of"]

FIELDS: Final = ("path", "name", "stem", "size", "mtime", "sha256")
#: The params of a watch that says nothing else.
PARAMS: Final = {"path": "{path}", "name": "{name}", "size": "{size}", "mtime": "{mtime}"}
_CHUNK: Final = 1024 * 1024
TITLE_MOST: Final = 200
_STEM_MOST: Final = 40


class Template:
    """Params whose text may have ``{path}``, ``{name}``, ``{stem}``, ``{size}``, ``{mtime}`` and ``{sha256}`` in it.

    A text that is one field and nothing else becomes that value: ``{size}`` (bytes) and ``{mtime}`` (epoch seconds) stay
    numbers. ``{{`` and ``}}`` stand for braces. Only the values of the params themselves are templates, not what is in lists.

    Raises:
        InvalidInput: it is no mapping, or names another field.

    """

    def __init__(self, params: Mapping[str, Any], title: str | None) -> None:
        if not isinstance(params, Mapping):
            raise InvalidInput(f"params: {params!r} is not a mapping of names to values.")
        self._params = {name: _Value.read("params", value) for name, value in params.items()}
        self._title = None if title is None else _Value.read("title", title)

    @property
    def wants_digest(self) -> bool:
        """Whether it names the content's digest, so that files must be read."""
        return any("sha256" in each.names for each in (*self._params.values(), *filter(None, [self._title])))

    def fill(self, path: str, version: Version, sha256: str | None) -> tuple[dict[str, Any], str | None]:
        """Return the params and the title of a job or an order for this version of this file."""
        name = PurePath(path).name
        facts = {
            "path": path,
            "name": name,
            "stem": PurePath(path).stem,
            "size": version.size,
            "mtime": version.mtime,
            "sha256": sha256,
        }
        params = {key: value.filled(facts) for key, value in self._params.items()}
        title = None if self._title is None else shown(str(self._title.filled(facts)))
        return params, (title[:TITLE_MOST] or None) if title else None


@dataclass(frozen=True, slots=True)
class _Value:
    """A text as pairs of fixed text and field, or (no parts) a value that stays as it is."""

    value: Any
    parts: tuple[tuple[str, str | None], ...] = ()

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.parts if name is not None]

    @classmethod
    def read(cls, what: str, value: Any) -> _Value:
        if not isinstance(value, str):
            return cls(value)
        try:
            parts = list(Formatter().parse(value))
        except ValueError as error:
            raise InvalidInput(f"{what}: {value!r}: {error}. Write {{{{ and }}}} for braces.") from None
        for _, name, form, conversion in parts:
            if name is not None and (name not in FIELDS or form or conversion):
                known = ", ".join(f"{{{each}}}" for each in FIELDS)
                raise InvalidInput(f"{what}: {value!r}: there is {known}, and {{{{ and }}}} for braces.")
        return cls(value, tuple((text, name) for text, name, _, _ in parts))

    def filled(self, facts: Mapping[str, Any]) -> Any:
        match self.parts:
            case ():
                return self.value
            case (("", str(name)),):
                return facts[name]
            case parts:
                return "".join(text + ("" if name is None else str(facts[name])) for text, name in parts)


def token_of(type_: str, path: str, version: Version, sha256: str | None) -> tuple[str, bytes]:
    """Return the token that names a version for a type, and a key for the file: its path, or its content if that counts."""
    named, key = _digests(f"{type_}\0", path, version, sha256)
    return f"watch-{named.hex()}", key


def order_id_of(chain: str, path: str, version: Version, sha256: str | None) -> tuple[str, bytes]:
    """Return the id of a version's order in a chain, and a key for the file, likewise.

    People read it, so it begins with the file's name; what follows, 80 bits, makes it the version's own. Where the content
    counts, copies under other names have the same order: there it begins with ``content``.
    """
    named, key = _digests(f"chain {chain}\0", path, version, sha256)  # no type has such a name
    stem = "content" if sha256 is not None else PurePath(path).stem
    begins = re.sub(r"[^A-Za-z0-9_]+", "-", stem).lstrip("-_")[:_STEM_MOST].rstrip("-_") or "file"
    return f"{begins}.{base64.b32encode(named[:10]).decode().lower()}", key


def _digests(kind: str, path: str, version: Version, sha256: str | None) -> tuple[bytes, bytes]:
    if sha256 is not None:
        content = _short(kind.encode() + b"content\0" + sha256.encode())
        return content, content
    where = kind.encode() + b"path\0" + os.fsencode(path)
    return _short(where + b"%c%d %d" % (0, *version)), _short(where)


def _short(words: bytes) -> bytes:
    return hashlib.blake2b(words, digest_size=16).digest()


def digest_of(path: str, version: Version, stopped: Callable[[], bool]) -> str | None:
    """Return the SHA-256 of a file's content in hex; None if it is not that version (any more), or we are to stop.

    Raises:
        OSError: it cannot be read.

    """
    made = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - paths are plain text here
        if Version.of(os.fstat(file.fileno())) != version:
            return None
        while chunk := file.read(_CHUNK):
            if stopped():
                return None
            made.update(chunk)
        return made.hexdigest() if Version.of(os.fstat(file.fileno())) == version else None
