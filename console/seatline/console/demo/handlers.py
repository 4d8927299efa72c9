"""What the workers of `seatline demo` run.

A worker of your own may run it too: ``seatline worker seatline.console.demo.handlers``. Without a licence server to
ask, as there, a seat is merely counted.

All types say ``rerun``: whatever a killed worker had begun can simply be done again, its file is written anew.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import time
import tokenize
from collections import Counter
from pathlib import Path

from seatline.console.demo.plan import CLOCK, COMPRESS, COUNT, POOL
from seatline.console.demo.witness import licence
from seatline.worker import Context, Handlers

__all__ = ["handlers"]

handlers = Handlers()

#: Presets above 6 would take hundreds of megabytes each.
_USUAL = [6 | lzma.PRESET_EXTREME]
_ALL = [preset | lzma.PRESET_EXTREME for preset in range(7)]


@handlers.handler(COMPRESS, uses={POOL: 1}, if_lost="rerun")
def compress(_: Context, file: str, target: str, thorough: bool = False) -> dict[str, int | str]:
    """Write FILE.xz, read it back and compare; a thorough job tries every preset and keeps the smallest.

    Raises:
        RuntimeError: what was read back is something else.
        NoLicence: the licence server refused. It never does if seats are handed out right.

    """
    with licence():
        content = Path(file).read_bytes()
        wanted = hashlib.sha256(content).hexdigest()
        packed = min((lzma.compress(content, preset=each) for each in (_ALL if thorough else _USUAL)), key=len)
        written = Path(target)
        written.write_bytes(packed)
        found = hashlib.sha256(lzma.decompress(written.read_bytes())).hexdigest()
        if found != wanted:
            raise RuntimeError(f"{target} holds {found}, not {wanted}.")
    return {"bytes": len(content), "packed": len(packed), "sha256": wanted}


@handlers.handler(COUNT, if_lost="rerun")
def count(_: Context, file: str) -> dict[str, int]:
    """Count the tokens of a Python file by kind; needs no seat."""
    text = Path(file).read_text("utf-8", errors="replace")
    kinds = Counter(token.type for token in tokenize.generate_tokens(io.StringIO(text).readline))
    return {tokenize.tok_name[kind]: number for kind, number in kinds.most_common()}


@handlers.handler(CLOCK, if_lost="rerun")
def read_clock(_: Context) -> int:
    """Return when the handler began (epoch ns), to be compared on the same machine with when it was asked for."""
    return time.time_ns()
