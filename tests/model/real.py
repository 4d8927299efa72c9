"""A namespace on a real server whose scripts live on a clock of the test's own, and whose whole state can be read.

The scripts run as the loader assembles them, with one change: where they say ``redis.call`` they reach a few lines
that answer TIME from a field of the namespace and count expiries from there. That clock begins many years ahead, so
nothing expires by itself; `Real.advance` removes what would have, and no test sleeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any
from unittest import mock

from redis import Redis
from redis.exceptions import NoScriptError

from seatline.shared import scripts
from seatline.shared.calls.base import Call, text
from seatline.shared.keys import SCHEMA, Keys
from seatline.shared.store.lane import digest

__all__ = ["START", "Real", "assemble", "clocked", "many_types"]

START = 4_000_000_000_000  # in the year 2096
#: Their replies say of each job what came of it.
ACTS = {"cancel", "remove", "resubmit", "move"}

CLOCK = """\
local function clocked(command, key, ...)
  local clock = redis.call('HGET', KEYS[1], 'clock')
  if command == 'TIME' then return {string.sub(clock, 1, -4), string.sub(clock, -3) .. '000'} end
  if command == 'PTTL' then
    local left, time = redis.call('PTTL', key), redis.call('TIME')
    return left < 0 and left or left + time[1] * 1000 + math.floor(time[2] / 1000) - clock
  end
  if command == 'PEXPIRE' then return redis.call('PEXPIREAT', key, string.format('%.0f', clock + ...)) end
  local words = {...}
  if command == 'SET' and words[2] == 'PX' then
    words[2], words[3] = 'PXAT', string.format('%.0f', clock + words[3])
  end
  return redis.call(command, key, unpack(words))
end
"""

#: What the scripts keep, in one round trip: each key with its kind, its content and whether it expires.
READ = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local kind = redis.call('TYPE', key)['ok']
  local content = {}
  if kind == 'string' then content = {redis.call('GET', key)}
  elseif kind == 'hash' then content = redis.call('HGETALL', key)
  elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then content = redis.call('SMEMBERS', key)
  elseif kind == 'list' then content = redis.call('LRANGE', key, 0, -1) end
  found[#found + 1] = {string.sub(key, #ARGV[1]), kind, content}
end
return found
"""

#: Set the clock and remove what has expired by it; half a second covers that PTTL and TIME are read one after another.
ADVANCE = """
local time = redis.call('TIME')
local real = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'clock', ARGV[2])
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local left = redis.call('PTTL', key)
  if left >= 0 and real + left <= ARGV[2] + 5 then redis.call('DEL', key) end
end
"""


def assemble(name: str, change: Callable[[str, str], str] | None = None) -> str:
    """Return a script as the loader assembles it, after ``change(file, source)`` of each of its files."""
    source = scripts._source
    changed = (lambda file: change(file, source(file))) if change else source
    with mock.patch.object(scripts, "_source", changed):
        return scripts.script.__wrapped__(name).text


def many_types(count: int) -> Callable[[str, str], str]:
    """Return a change: workers of more than ``count`` types are those that read the index of heads."""

    def change(file: str, source: str) -> str:
        if file != "offer":
            return source
        assert source.count("local MANY = 30\n") == 1
        return source.replace("local MANY = 30\n", f"local MANY = {count}\n")

    return change


def clocked(script: str) -> str:
    """Return a script that lives on the namespace's own clock."""
    return CLOCK + script.replace("redis.call", "clocked")


@cache
def _good(name: str) -> str:
    return clocked(assemble(name))


class Real:
    """One namespace of a server, driven by calls as the store would send them, but told the time.

    Args:
        client: of a server that this may empty.
        changed: texts of scripts that differ from the good ones.

    """

    def __init__(self, client: Redis, namespace: str, changed: Mapping[str, str] | None = None) -> None:
        self.client, self.keys, self.changed = client, Keys(namespace), changed or {}
        self._lanes: dict[str, int] = {}
        self._shas: dict[str, tuple[str, str]] = {}

    def found(self, seq: int) -> None:
        """Begin anew: an empty namespace that has given ``seq`` ids before."""
        self.client.flushdb()
        self._lanes = {}
        about: dict[Any, Any] = {"schema": SCHEMA, "creation": "here", "run": "", "clock": START, "gaps": seq}
        self.client.hset(self.keys.about, mapping=about)
        if seq:
            self.client.set(self.keys("seq"), seq)

    def advance(self, clock: int) -> None:
        self.client.eval(ADVANCE, 1, self.keys.about, self.keys("*"), clock)

    def forget(self, name: str) -> None:
        """Let a key be gone: a bell was heard, a counter has expired."""
        self.client.delete(self.keys(name))

    def run(self, call: Call[Any], client: str = "c", *, number: int | None = None, spoil: str = "") -> tuple[str, Any]:
        """Make a call under the client's next number, or ``number``; returns the status word and what it means."""
        keys, words = [self.keys.about], list(call.words)
        if call.numbered:
            if number is None:
                number = self._lanes[client] = self._lanes.get(client, 0) + 1
            keys.append(self.keys.lane(client, 1))
            words = [number, digest(call.script, call.words) + spoil, *words]
        reply = self._send(call.script, keys, words)
        word = text(reply[0])
        if word == "ok" and call.script in ACTS:
            told, *rest = text(reply[1]).split(" ")  # of the one job that these calls name
            if told != "ok":
                return told, tuple(rest)
        if word == "ok":
            return word, call.parse(reply)
        if word in call.also:
            return word, call.also[word](reply)
        return word, tuple(text(part) for part in reply[1:])

    def number(self, client: str) -> int:
        """The number of the client's last request, 0 before the first."""
        return self._lanes.get(client, 0)

    def _send(self, name: str, keys: Sequence[str], words: Sequence[Any]) -> Any:
        if name not in self._shas:
            script = clocked(self.changed[name]) if name in self.changed else _good(name)
            self._shas[name] = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest(), script
        sha, script = self._shas[name]
        try:
            return self.client.evalsha(sha, len(keys), *keys, *words)
        except NoScriptError:
            return self.client.eval(script, len(keys), *keys, *words)

    def scheduled(self, ids: Sequence[str]) -> bool:
        """Whether any of these jobs is still scheduled."""
        return any(self.client.zscore(self.keys("scheduled"), job_id) is not None for job_id in ids)

    def read(self) -> dict[str, Any]:
        """Return every key: a text, or a dict of fields or scores, or a list."""
        found: dict[str, Any] = {}
        for key, of_kind, words in self.client.eval(READ, 0, self.keys("*")):
            name, kind, content = key.decode(), of_kind.decode(), [text(word) for word in words]
            if kind == "string":
                found[name] = content[0]
            elif kind == "hash":
                found[name] = dict(zip(content[::2], content[1::2], strict=True))
            elif kind == "zset":
                found[name] = {m: int(float(s)) for m, s in zip(content[::2], content[1::2], strict=True)}
            else:
                found[name] = sorted(content) if kind == "set" else content
        return found
