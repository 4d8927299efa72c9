"""Run the pages of docs/ that tell a reader what to type: every file is written, every line typed, every answer compared.

A section (``##``) is one story, in a folder and a namespace of its own:

* a python, toml or js fence right below a line that begins with its name in code (```farm.py```) is that file
* in a ``console`` fence, ``$`` begins a line for the shell; what stands below it is what that prints to standard output.
  It must end with exit code 0. One that only looks is typed again until its answer comes
* a line that ends with ``&`` is a worker: the next line is typed once it is there; at the end of the section it gets SIGTERM
  unless it has ended, and must end with 0. ``kill -9 %1`` kills the first of them, as it would in a shell with jobs

Empty lines do not count. In an answer a line ``...`` is any lines, ``...`` at the end of one is any rest of it, and what
differs from run to run (`VARIES`) stands for any of its kind.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.console.verify import check_namespace
from seatline.producer import Queue
from seatline.shared.calls import reads

__all__ = ["Line", "Section", "play", "sections_of"]

Spawn = Callable[..., Child]
SECONDS: Final = 40
LOOK_SECONDS: Final = 10

_PART: Final = re.compile(
    r"(?:^`(?P<name>[\w.]+)`[^\n]*\n\n)?^```(?P<kind>python|toml|js|console)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: What differs from run to run: moments, workers, places, processes, hosts, people, spans; what is made from content.
VARIES: Final = [
    re.compile(each)
    for each in (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{3})?Z?",
        r"\b\d\d:\d\d:\d\d\b",
        r"\b\d{13}\b",
        r"\b[\w.-]+\.\d+\.[0-9a-z]{6}\b",
        r"(?:redis|unix)://\S+",
        r"\bpid \d+",
        r"\bhost [\w.-]+",
        r"\b[\w.-]+@[\w.-]+",
        r"\bafter [\d.]+s\b",
        r"\bload:[0-9a-f]{12}\b",
        r"(?<=\.)[a-z2-7]{16}\b",
    )
]
#: Lines that only look.
_LOOKS: Final = re.compile(
    r"seatline (jobs (list|show|why|log|failures)|orders (list|show|why)|(pools|workers|chains) (list|show))\b"
)
_KILLS: Final = re.compile(r"kill -9 %(\d)")


@dataclass(frozen=True, slots=True)
class Line:
    """What is typed, and the answer below it."""

    typed: str
    answer: list[str] = field(default_factory=list)

    def matches(self, told: str) -> bool:
        """Whether that is what the page says."""
        lines = "".join(f"{line.rstrip()}\n" for line in told.splitlines() if line.strip())
        return _pattern(self.answer).fullmatch(lines) is not None


@dataclass(frozen=True, slots=True)
class Section:
    """A story: files by name, and lines, in the order of the page."""

    title: str
    steps: list[tuple[str, str] | Line]


def sections_of(page: str) -> list[Section]:
    """Return the sections of a page that have anything to run."""
    found: list[Section] = []
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        steps: list[tuple[str, str] | Line] = []
        for fence in _PART.finditer(part):
            if fence["kind"] == "console":
                steps += _lines(fence["text"])
            else:
                assert fence["name"], f"a python fence without a file's name:\n{fence['text']}"
                steps.append((fence["name"], fence["text"]))
        if steps:
            found.append(Section(part.partition("\n")[0], steps))
    return found


def play(section: Section, folder: Path, server: RealServer, spawn: Spawn) -> None:
    """Do as the section says, and look whether it is as it says."""
    namespace = re.sub(r"\W+", "-", section.title).strip("-")
    env = {
        "SEATLINE_URL": server.url,
        "SEATLINE_NAMESPACE": namespace,
        "SEATLINE_EMBEDDED": "never",
        "SEATLINE_STATE": str(folder / ".state"),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parents[2]),  # examples/ is in no wheel
        "PYTHONWARNINGS": "error",
        "COLUMNS": "120",
    }
    workers, left = list[Child](), set[int]()
    for step in section.steps:
        if not isinstance(step, Line):
            name, text = step
            (folder / name).write_text(text, "utf-8")
            continue
        if killed := _KILLS.fullmatch(step.typed):
            workers[int(killed[1]) - 1].kill()
            left -= {int(killed[1]) - 1}
            continue
        typed, behind = (step.typed[:-1].rstrip(), True) if step.typed.endswith("&") else (step.typed, False)
        child = spawn(["/bin/sh", "-c", f"cd '{folder}' && {'exec ' if behind else ''}{typed}"], env=env)
        if behind:
            left |= {len(workers)}
            workers.append(child)
            wait_until(partial(_is_there, child, server, namespace, len(workers)), SECONDS, f"the worker of: {typed}")
            continue
        child.wait(SECONDS)
        until = time.monotonic() + LOOK_SECONDS
        while _LOOKS.match(typed) and not step.matches(child.output()) and time.monotonic() < until:
            child = spawn(child.args, env=env)
            child.wait(SECONDS)
        told = child.output()
        assert step.matches(told), f"$ {typed}\n{told}\n{child.errors()}"
        assert child.returncode == 0, f"$ {typed}\nexit code {child.returncode}\n{told}\n{child.errors()}"
    for child in (workers[number] for number in sorted(left)):
        child.terminate()
        assert child.wait(SECONDS) == 0, child.errors()
    assert not check_namespace(server.url, namespace)


def _is_there(child: Child, server: RealServer, namespace: str, number: int) -> bool:
    assert child.running, child.errors()
    with Queue(server.url, namespace=namespace) as queue:
        return len(queue.store.read(reads.page(queue.store.keys, "workers", 0, 100))) >= number


def _lines(fence: str) -> Iterator[Line]:
    line: Line | None = None
    for text in fence.splitlines():
        if text.startswith("$ "):
            if line:
                yield line
            line = Line(text.removeprefix("$ "))
        elif text.strip():
            assert line, f"an answer to nothing: {text}"
            line.answer.append(text)
    if line:
        yield line


def _pattern(answer: list[str]) -> re.Pattern[str]:
    return re.compile("".join(r"(?:.*\n)*?" if line.strip() == "..." else _any(line.rstrip()) for line in answer))


def _any(line: str) -> str:
    """Return what matches a line."""
    found = sorted(
        ((hit.start(), hit.end(), kind.pattern) for kind in VARIES for hit in kind.finditer(line)),
        key=lambda each: (each[0], -each[1]),
    )
    parts, at = list[str](), 0
    for start, end, stands in found:
        if start >= at:
            parts += (re.escape(line[at:start]), stands)
            at = end
    rest = line[at:]
    open_ended = rest.endswith(" ...")
    return "".join([*parts, re.escape(rest.removesuffix(" ...")), r".*\n" if open_ended else r"\n"])
