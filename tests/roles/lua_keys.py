"""Which keys a script writes, read from its text: for each writing command the pattern of the key, such as ``pool:*:in_use``.

A key is written as an expression: ``ns .. 'pool:' .. name``, or a name for one. A name is looked up backwards: to where it
was last given a value, or to the function it is handed to, of which `HANDED` says what that is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["COMMANDS", "Written", "commands_of", "keys_written"]

#: Commands of which every argument is a key; of all others it is the first.
ALL_KEYS = {"DEL", "UNLINK"}
COMMANDS = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'")
WRITING = {
    "DECRBY", "DEL", "EXPIRE", "GETDEL", "HDEL", "HINCRBY", "HSET", "HSETNX", "INCR", "INCRBY", "LPOP", "LPUSH", "LREM",
    "LTRIM", "PERSIST", "PEXPIRE", "PEXPIREAT", "RPOP", "RPUSH", "SADD", "SET", "SREM", "UNLINK", "XADD", "XDEL", "XTRIM",
    "ZADD", "ZINCRBY", "ZPOPMIN", "ZREM", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE",
}  # fmt: skip
READING = {
    "EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "HSTRLEN", "LINDEX", "LLEN", "LRANGE", "MGET", "PTTL",
    "SISMEMBER", "SMEMBERS", "SCARD", "STRLEN", "TIME", "TYPE", "XLEN", "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT", "ZRANGE",
    "ZRANGEBYSCORE", "ZRANK", "ZREVRANGE", "ZREVRANGEBYSCORE", "ZSCORE",
}  # fmt: skip

#: Names that no line of a script gives a value in a form that is read here.
HANDED = {
    "ns": "",
    "lane": "lane:*",
    "pool.key": "pool:*",
    "o.key": "order:*",
    "job.key": "job:*",
    "group.key": "ready:*",
    "source.key": "ready:*",
    "group.index": "heads:*",
    "given": "*",  # whatever key an admin wants repaired
    "shot.run and ns": "order:",  # it writes to an order's only
    "order.key": "order:*",
}
_BLOCK = re.compile(r"function\s*([\w.:]*)\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Written:
    """A writing command: what it is, the pattern of its key, the line it stands in."""

    command: str
    key: str
    line: str


def commands_of(text: str) -> set[str]:
    """Return the commands that a script may send."""
    return set(COMMANDS.findall(_plain(text)))


def keys_written(text: str) -> list[Written]:
    """Return every writing command of an assembled script.

    Raises:
        ValueError: a key is given in a form that is not read here; say in `HANDED` what it is.

    """
    text = _plain(text)
    found: list[Written] = []
    for call in COMMANDS.finditer(text):
        command = call[1]
        if command not in WRITING | READING:
            raise ValueError(f"{command}: is it a command that writes? Say so in {__name__}")
        if command not in WRITING:
            continue
        words = _split(text[call.end() :].lstrip().removeprefix(","))
        line = text[text.rfind("\n", 0, call.start()) + 1 : text.find("\n", call.start())].strip()
        for word in words if command in ALL_KEYS else words[:1]:
            found += [Written(command, key, line) for key in _patterns(word, call.start(), text)]
    return found


def _plain(text: str) -> str:
    return re.sub(r"--.*", "", text)


def _split(text: str) -> list[str]:
    """Return the arguments that begin here, up to the bracket that closes them."""
    depth, words, quoted = 0, [""], False
    for letter in text:
        if letter == "'":
            quoted = not quoted
        if not quoted and letter in "({":
            depth += 1
        if not quoted and letter in ")}":
            depth -= 1
        if depth < 0:
            break
        if letter == "," and not depth and not quoted:
            words.append("")
        else:
            words[-1] += letter
    return [word.strip() for word in words]


def _patterns(word: str, at: int, text: str) -> list[str]:
    """Return what an expression that stands at a place of the text may name: its texts, with * for what is not known."""
    if choice := re.match(r"ns \.\. \((.* and '([^']*)' or '([^']*)')\)(.*)$", word):
        return [p for head in choice.group(2, 3) for p in _patterns(f"ns .. '{head}'{choice[4]}", at, text)]
    parts = [part.strip() for part in re.split(r"\.\.", word)]
    names = _patterns_of_name(parts[0], at, text)
    tail = "".join(part.strip("'") if part.startswith("'") else "*" for part in parts[1:])
    return sorted({re.sub(r"\*+", "*", name + tail) for name in names})


def _patterns_of_name(name: str, at: int, text: str) -> list[str]:
    if name in HANDED:
        return [HANDED[name]]
    if name.startswith("line_key("):
        return ["ready:*"]
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"which key is {name!r}? Say so in {__name__}.HANDED")
    handed = [b for b in _BLOCK.finditer(text, 0, at) if name in re.findall(r"\w+", b[2])]
    given = re.compile(rf"(?:^|\n)[ \t]*(?:local )?((?:\w+, )*{name}(?:, \w+)*) = (.*)")
    for match in reversed(list(given.finditer(text, 0, at))):
        if handed and handed[-1].start() > match.start():
            break
        values = _split(match[2])
        place = match[1].split(", ").index(name)
        if place < len(values) and values[place] not in {"nil", "", "{}"}:
            return _patterns(values[place], match.start(), text)
    if handed:
        found = _handed_by_callers(handed[-1], name, text)
        if found:
            return found
    raise ValueError(f"which key is {name!r} here: ...{text[max(0, at - 160) : at]!r}")


def _handed_by_callers(function: re.Match[str], name: str, text: str) -> list[str]:
    """Return what a parameter may be: what the callers of its function hand to it."""
    place = re.findall(r"\w+", function[2]).index(name)
    calls = re.compile(rf"(?<![\w.:]){re.escape(function[1])}\(")
    found: list[str] = []
    for call in calls.finditer(text, function.end()) if function[1] else ():
        if text[: call.start()].endswith("function "):
            break  # another function of that name
        words = _split(text[call.end() :])
        if place < len(words):
            found += _patterns(words[place], call.start(), text)
    return found
