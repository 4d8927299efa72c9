"""Messages that are alike: the same but for numbers, ids, and the names of files.

``cannot open /vault/a-17.dwg after 30 s`` and ``cannot open /vault/b.dwg after 31 s`` both become ``cannot open <path>
after <n> s``. It is a guess by the look of words, made for people who ask how many kinds of failures there are; nothing
hangs on it.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MESSAGE_MOST", "alike"]

#: Characters of a message that count.
MESSAGE_MOST: Final = 300

#: Stands for the type meanwhile; no pattern touches it.
_TYPE: Final = "\0"

#: What is found -> what stands for it, in this order. A file's name has an ending that begins with a letter, unlike 3.5.
_PLAIN: Final = [
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE | re.ASCII), "<id>"),
    # A worker: host.pid.abc123
    (
        re.compile(r"(?<![\w./\\-])(?=[\w.-]*[A-Za-z])[\w-]+(?:\.[\w-]+)*\.\d+\.[0-9a-z]{6}(?![\w-]|\.\w)", re.ASCII),
        "<id>",
    ),
    (re.compile(r"\b[a-z][a-z0-9+.-]+://[^\s'\"<>),;]+", re.IGNORECASE | re.ASCII), "<url>"),
    (re.compile(r"(?<=')[^']*[/\\][^']*(?=')"), "<path>"),
    (re.compile(r"(?<=\")[^\"]*[/\\][^\"]*(?=\")"), "<path>"),
    (re.compile(r"(?<![\w/\\.])(?:[A-Za-z]:|\.{1,2})?[/\\][\w.~$/\\-]+"), "<path>"),
    (re.compile(r"(?<=')[^'<>]*\.[A-Za-z][A-Za-z0-9]{1,4}(?=')"), "<path>"),
    (re.compile(r"(?<=\")[^\"<>]*\.[A-Za-z][A-Za-z0-9]{1,4}(?=\")"), "<path>"),
    (re.compile(r"(?<![\w.])[\w-]+(?:[/\\][\w-]+)*\.[A-Za-z][A-Za-z0-9]{1,4}\b(?![\w(.])"), "<path>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE | re.ASCII), "<n>"),
    (re.compile(r"\b(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{8,}\b", re.IGNORECASE | re.ASCII), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
]


def alike(message: str, type_: str) -> str:
    """Return the first line of a message with ``<n>``, ``<id>``, ``<path>``, ``<url>`` for what differs from job to job.

    The type of the job is the same in all of them, and stays, though ``cad.check`` looks like the name of a file.
    """
    line = next(iter(message.strip().splitlines()), "")[:MESSAGE_MOST].replace(_TYPE, " ")
    line = re.sub(rf"(?<![\w./\\-]){re.escape(type_)}(?![\w/\\-]|\.\w)", _TYPE, line)
    for pattern, word in _PLAIN:
        line = pattern.sub(word, line)
    return " ".join(line.replace(_TYPE, type_).split())
