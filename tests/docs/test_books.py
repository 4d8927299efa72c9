"""docs/asyncio.md, bulk.md and so on: each section is done as it says, against a real server.

They exhibit O4, O5, O6, O8, O9, O10, O11, O13, O14 and O15 (chains), C1 (what a worker prints), C4 and C5 (seats and
logins), C8 and C9 (hooks), C10, C12 (children), C13 (stopping), C15 (time-outs), C16 and Q21 (failures), C17 (what a handler
can say), C18 (commands), Q20 (triggers), Q22 (many at once), S7 and S8 (kept, used outside), S12 (who holds), W1 (why), W3
(after a restart).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from docs.transcript import Line, Section, play, sections_of
from harness.processes import Child
from harness.server import RealServer

DOCS = Path(__file__).parents[2] / "docs"
BOOKS = (
    "asyncio.md", "bulk.md", "chains.md", "doctor.md", "drawing-vault.md", "handlers.md", "history.md", "lifecycle.md",
    "load.md", "runbook.md", "security.md", "triggers.md", "verify.md", "watch.md",
    "why.md",
)  # fmt: skip
SECTIONS = [(book, section) for book in BOOKS for section in sections_of((DOCS / book).read_text("utf-8"))]

StartServer = Callable[..., RealServer]
Spawn = Callable[..., Child]


def as_embedded(start: StartServer) -> RealServer:
    """Start a server that keeps its data as the embedded one does, which a reader has: it gives no cause to warn."""
    return start(appendonly=True, config=["appendfsync everysec"])


@pytest.mark.parametrize(
    "section", [section for _, section in SECTIONS], ids=[f"{book}: {section.title}" for book, section in SECTIONS]
)
def test_a_section_is_as_it_says(section: Section, tmp_path: Path, private_server: StartServer, spawn: Spawn) -> None:
    play(section, tmp_path, as_embedded(private_server), spawn)


@pytest.mark.parametrize("book", BOOKS)
def test_nothing_on_a_page_is_left_out(book: str) -> None:
    page = (DOCS / book).read_text("utf-8")
    steps = [step for section in sections_of(page) for step in section.steps]
    assert len(re.findall(r"^```(?:python|toml)", page, re.MULTILINE)) == sum(
        not isinstance(step, Line) for step in steps
    )
    assert len(re.findall(r"^\$ ", page, re.MULTILINE)) == sum(isinstance(step, Line) for step in steps)


PAGE = """
## A mill

`mill.py`

```python
from seatline.worker import Context, Handlers

handlers = Handlers()


@handlers.handler("mill")
def mill(ctx: Context, corn: str) -> str:
    return corn.upper()
```

```console
$ seatline worker mill &
$ seatline enqueue mill corn=rye --wait
"RYE"
```
"""


@pytest.mark.parametrize(
    ("said", "instead"), [('"RYE"', '"WHEAT"'), ("corn=rye --wait", 'corn=rye --wait; echo "$SEATLINE_URL"')]
)
def test_a_page_that_promises_something_else_is_caught(
    said: str, instead: str, tmp_path: Path, private_server: StartServer, spawn: Spawn
) -> None:
    (good,), (bad,) = sections_of(PAGE), sections_of(PAGE.replace(said, instead))
    play(good, tmp_path, as_embedded(private_server), spawn)
    with pytest.raises(AssertionError, match="RYE"):
        play(bad, tmp_path, as_embedded(private_server), spawn)


def test_a_python_fence_says_which_file_it_is() -> None:
    with pytest.raises(AssertionError, match="without a file's name"):
        sections_of(PAGE.replace("`mill.py`\n\n", ""))
