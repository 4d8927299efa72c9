"""The programs of README.md and docs/ are as typed as they look; ``.ci/run`` has pyright say so too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs.typed_blocks import PAGES, ROOT, files_of, write

FLOORS = ("shared", "producer", "worker", "console")

PAGE = """
## A mill

`stones.py`, what it is made of:

```python
def turn(times: int) -> str:
    return "rye" * times
```

`mill.py`, whose last line is wrong:

<!-- run: producer -->
```python
from seatline.producer import Queue
from stones import turn

queue = Queue()
queue.enqueue("mill", {"corn": turn(3)}, priority="soon")
```

It goes on:

```python
from seatline.producer import Queue

queue = Queue()
```

```python
print(queue.enqueue("mill").result(timeout="long"))
```
"""


def test_mypy_finds_nothing_but_what_is_wrong(tmp_path: Path) -> None:
    """One run, over all pages and one that shows that it finds something, at the page's own lines."""
    (tmp_path / "mill.md").write_text(PAGE)
    write(tmp_path / "programs", [*PAGES, tmp_path / "mill.md"])
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "."],
        cwd=tmp_path / "programs",
        env=os.environ | {"MYPYPATH": os.pathsep.join(str(ROOT / floor) for floor in FLOORS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    found = re.findall(r"^(.+:\d+): error: ", done.stdout, re.MULTILINE)
    assert sorted(found) == ["mill_md/page.py:31", "mill_md/section_1/mill.py:19"], done.stdout + done.stderr


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "python" in page.read_text("utf-8")], ids=lambda page: page.name
)
def test_every_line_of_a_python_fence_is_in_a_file(page: Path) -> None:
    text = page.read_text("utf-8")
    files = [file.splitlines() for file in files_of(text).values()]
    inside = False
    for number, line in enumerate(text.splitlines()):
        if re.match(r" *(```|~~~)", line):
            inside = re.match(r" *(```|~~~) *py", line) is not None
        elif inside and line:
            there = [file[number] for file in files if number < len(file) and file[number]]
            assert [each.replace("from .", "from ") for each in there] == [line], f"{page.name}:{number + 1}"


def test_no_file_takes_the_place_of_another() -> None:
    assert len({page.name for page in PAGES}) == len(PAGES)
    with pytest.raises(ValueError, match=r"section_1/mill\.py stands there twice"):
        files_of(PAGE.replace("`stones.py`", "`mill.py`"))
