"""The Lua scripts: found beside this file, their headers read, their fragments assembled.

A script is one verb. Its header is its contract, in a fixed form that :func:`parse` reads and a test checks: intent,
``Needs`` (fragments, put in front of it), ``KEYS``, ``ARGV``, ``Returns`` with every status word, ``Events``. A name
that begins with ``_`` is a fragment. ``seatline scripts show NAME`` prints what the server is sent.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Script", "names", "parse", "script"]

_SLOT = re.compile(r"^-- (KEYS|ARGV)\[(\d+)\]\s+(\w+)\s+\S", re.ASCII)
_NAME = re.compile(r"\w+")
_COMMENT = re.compile(r"--.*")
_FUNCTION = re.compile(
    r"(?:(?<=\n\n)(?:--.*\n)+)?^local function (?P<name>\w+)\((?:.* end\n|(?:.*\n)*?end\n)", re.MULTILINE
)
_WORDS = re.compile(r"^-- (?:Returns  |         )([a-z-]+(?: [a-z-]+)*)(?:  +\S|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Script:
    """One script as the server runs it, with its contract."""

    name: str
    text: str
    sha: str
    intent: str
    needs: tuple[str, ...]
    keys: tuple[str, ...]
    words: tuple[str, ...]
    returns: tuple[str, ...]


def _source(name: str) -> str:
    return resources.files("seatline.shared").joinpath("lua", f"{name}.lua").read_text("utf-8")


def names() -> list[str]:
    """Return the names of all scripts, sorted."""
    folder = resources.files("seatline.shared").joinpath("lua")
    return sorted(
        entry.name.removesuffix(".lua")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua") and not entry.name.startswith("_")
    )


def parse(name: str, source: str) -> tuple[str, tuple[str, ...], dict[str, list[str]], list[str]]:
    """Read a header: intent, needs, slots (KEYS and ARGV in order) and status words.

    Raises:
        ValueError: it is not in the fixed form, or slots are not numbered from 1 without gaps.

    """
    header: list[str] = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        header.append(line)
    if not header or not header[0].startswith(f"-- {name}: "):
        raise ValueError(f"{name}.lua must begin with '-- {name}: ' and its intent")
    slots: dict[str, list[str]] = {"KEYS": [], "ARGV": []}
    needs: tuple[str, ...] = ()
    returned: list[str] = []
    section = ""
    for line in header[1:]:
        if line.startswith("-- Needs "):
            needs = tuple(line.split()[2:])
        if line.startswith("-- Returns "):
            section = "Returns"
        elif line == "--" or line.startswith("-- Events"):
            section = "Events" if line.startswith("-- Events") else ""
        if section == "Returns" and (found := _WORDS.match(line)):
            returned += found[1].split()
        if slot := _SLOT.match(line):
            kind, number, word = slot.groups()
            slots[kind].append(word)
            if len(slots[kind]) != int(number):
                raise ValueError(f"{name}.lua: {kind}[{number}] is out of order")
    if not returned or section != "Events":
        raise ValueError(f"{name}.lua: the header must end with Returns and Events")
    return header[0].removeprefix(f"-- {name}: "), needs, slots, returned


def _used(fragments: str, body: str) -> str:
    """Leave out the functions that this script does not use: to define one costs each call about 0.3 us."""
    while True:
        named = Counter(_NAME.findall(_COMMENT.sub("", fragments + body)))
        unused = [function for function in _FUNCTION.finditer(fragments) if named[function["name"]] == 1]
        if not unused:
            return re.sub(r"\n{3,}", "\n\n", fragments)
        for function in reversed(unused):
            fragments = fragments[: function.start()] + fragments[function.end() :]


@cache
def script(name: str) -> Script:
    """Assemble a script: its fragments in the order it needs them, without what it does not use, then itself.

    All but the first fragment (prefix and time) stands in a function of its own: to such names as are defined outside it
    a function inside is bound in constant time, to those beside it in a time that grows with their number.
    """
    source = _source(name)
    intent, needs, slots, returned = parse(name, source)
    header_end = source.index("\nlocal ") + 1
    body = source[header_end:]
    fragments = _used("".join(_source(need) for need in needs[1:]), body)
    text = f"{source[:header_end]}{_source(needs[0])}return (function()\n{fragments}{body}end)()\n"
    return Script(
        name=name,
        text=text,
        sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
        intent=intent,
        needs=needs,
        keys=tuple(slots["KEYS"]),
        words=tuple(slots["ARGV"]),
        returns=tuple(returned),
    )
