"""What a compiled Lua 5.1 chunk says of itself: the globals it reads and writes, in all its functions.

The server's Lua refuses globals when a script meets them, perhaps only on a path that no test walks; this reads them
off the byte code (``string.dump``, of the very Lua that Redis embeds).
"""

from __future__ import annotations

import struct
from typing import Any

from lupa import lua51  # type: ignore[import-untyped]

__all__ = ["global_names"]

HEADER = 12
GETGLOBAL, SETGLOBAL = 5, 7
NIL, BOOLEAN, NUMBER = 0, 1, 3


def global_names(source: str) -> tuple[set[str], set[str]]:
    """Return the names of the globals that a chunk reads, and those that it writes.

    Raises:
        lupa.LuaError: it does not compile.

    """
    lua: Any = lua51.LuaRuntime(encoding=None)
    dump = lua.eval(b"function(source) return string.dump(assert(loadstring(source))) end")
    reader = _Reader(bytes(dump(source.encode())))
    reader.function()
    return reader.read, reader.written


class _Reader:
    def __init__(self, dumped: bytes) -> None:
        assert dumped[:5] == b"\x1bLuaQ", "not Lua 5.1"
        self.dumped, self.at = dumped, HEADER
        self.read: set[str] = set()
        self.written: set[str] = set()

    def take(self, form: str) -> Any:
        size = struct.calcsize("<" + form)
        (value,) = struct.unpack("<" + form, self.dumped[self.at : self.at + size])
        self.at += size
        return value

    def text(self) -> str:
        size = self.take("Q")
        raw = self.dumped[self.at : self.at + size]
        self.at += size
        return raw.rstrip(b"\0").decode()

    def function(self) -> None:
        self.text()
        self.at += 4 + 4 + 4  # first and last line; upvalues, params, varargs, stack
        code = [self.take("I") for _ in range(self.take("i"))]
        constants = [self.constant() for _ in range(self.take("i"))]
        for _ in range(self.take("i")):
            self.function()
        for _ in range(self.take("i")):
            self.at += 4  # line numbers
        for _ in range(self.take("i")):
            self.text()
            self.at += 8
        for _ in range(self.take("i")):
            self.text()
        for word in code:
            if word & 0x3F == GETGLOBAL:
                self.read.add(str(constants[word >> 14]))
            if word & 0x3F == SETGLOBAL:
                self.written.add(str(constants[word >> 14]))

    def constant(self) -> Any:
        kind = self.take("B")
        if kind == NIL:
            return None
        if kind == BOOLEAN:
            return self.take("B")
        return self.take("d") if kind == NUMBER else self.text()
