"""README.md: its worker and its producer do what it says, against a real server, and so does its chain (O1, O2).

A fence after the line ``<!-- run: worker -->`` or ``<!-- run: producer -->`` is a module, with the name that the line above
has in code, else ``farm.py`` or ``produce.py``. A ``text`` fence right after it is what it prints; a line ``...`` there is
any lines. The section of the chain is played as the pages of docs/ are (``transcript``).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from docs.transcript import play, sections_of
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.console.verify import check_namespace
from seatline.producer import Queue

README = Path(__file__).parents[2] / "README.md"
NAMES = {"worker": "farm.py", "producer": "produce.py"}
BLOCK = re.compile(
    r"(?:`(?P<name>[\w]+\.py)`[^\n]*\n+)?<!-- run: (?P<kind>worker|producer) -->\n```python\n(?P<source>.*?)^```\n"
    r"(?:\n*(?P<says>```text\n(?P<output>.*?)^```\n))?",
    re.MULTILINE | re.DOTALL,
)

Spawn = Callable[..., Child]


@dataclass(frozen=True, slots=True)
class Block:
    """A module of the README; ``output`` is what it prints, if the README says so."""

    kind: str
    name: str
    source: str
    output: str | None

    @property
    def module(self) -> str:
        return self.name.removesuffix(".py")


def blocks_of(text: str) -> list[Block]:
    """Return the modules of a page, in order."""
    return [
        Block(found["kind"], found["name"] or NAMES[found["kind"]], found["source"], found["output"])
        for found in BLOCK.finditer(text)
    ]


def worker_words(text: str, module: str) -> list[str]:
    """Return the line with which the page starts its worker, as the words behind ``seatline``."""
    found = re.search(rf"^seatline( .*?\bworker {module}(?::\w+)?.*)$", text, re.MULTILINE)
    assert found, f"the README does not start a worker for {module}"
    return found[1].split()


def output_pattern(output: str) -> re.Pattern[str]:
    parts = [
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()) + r"\s*?\n" for line in output.splitlines()
    ]
    return re.compile("".join(parts))


def says(block: Block, child: Child) -> None:
    if block.output is not None:
        assert output_pattern(block.output).fullmatch(child.output()), child.output()


def run_page(text: str, folder: Path, server: RealServer, spawn: Spawn) -> list[str]:
    """Run the modules of a page as it says; returns what its producers printed."""
    blocks = blocks_of(text)
    for block in blocks:
        (folder / block.name).write_text(block.source, "utf-8")
    env = {"SEATLINE_URL": server.url, "SEATLINE_EMBEDDED": "never", "PYTHONPATH": str(folder)}
    seatline = [sys.executable, "-m", "seatline.console.main"]
    workers = [block for block in blocks if block.kind == "worker"]
    producers = [block for block in blocks if block.kind == "producer"]
    running: list[tuple[Block, Child]] = []
    lines = {block.module: worker_words(text, block.module) for block in workers}
    for block in workers:  # nothing is there yet: it loads, looks and goes
        first = spawn([*seatline, *lines[block.module], "--burst"], env=env)
        assert first.wait(20) == 0, first.errors()
        running.append((block, spawn([*seatline, *lines[block.module]], env=env)))
    printed = []
    for block in producers:
        child = spawn([sys.executable, "-W", "error", str(folder / block.name)], env=env)
        assert child.wait(40) == 0, child.errors()
        says(block, child)
        printed.append(child.output())
    for namespace in namespaces(server):
        with Queue(server.url, namespace=namespace) as queue:
            wait_until(partial(nothing_left, queue), 20, f"the end of all jobs of {namespace}")
            assert any(queue.jobs(state="succeeded"))
            assert not any(queue.jobs(state="failed"))
    for block, child in running:
        child.terminate()
        assert child.wait(20) == 0, child.errors()
        says(block, child)
    for namespace in namespaces(server):
        assert not check_namespace(server.url, namespace)
    return printed


def nothing_left(queue: Queue) -> bool:
    return not any(queue.jobs())


def namespaces(server: RealServer) -> Sequence[str]:
    with server.client() as client:
        keys = [key.decode() for key in client.scan_iter(match="{*}:about", count=1000)]
    assert keys, "nothing came to the server"
    return [key[1:].partition("}")[0] for key in keys]


def test_the_readme_has_a_worker_and_a_producer() -> None:
    assert {block.kind for block in blocks_of(README.read_text("utf-8"))} == {"worker", "producer"}
    marks = re.findall(r"^<!-- run: ", README.read_text("utf-8"), re.MULTILINE)
    assert len(marks) == len(blocks_of(README.read_text("utf-8"))), "a mark is not followed by a python fence"


def test_the_readme_works(tmp_path: Path, private_server: Callable[..., RealServer], spawn: Spawn) -> None:
    printed = run_page(README.read_text("utf-8"), tmp_path, private_server(), spawn)
    assert all(printed), "a producer of the README shows nothing"


def test_its_chain_survives_a_kill(tmp_path: Path, private_server: Callable[..., RealServer], spawn: Spawn) -> None:
    _, heading, rest = README.read_text("utf-8").partition("## A chain that survives a kill\n")
    (section,) = sections_of(heading + rest.partition("\n## ")[0])
    server = private_server()
    play(section, tmp_path, server, spawn)
    (namespace,) = namespaces(server)
    with Queue(server.url, namespace=namespace) as queue:
        runs = [(run.step, run.outcome, run.attempt) for run in queue.order(1).history() if run.step]
    assert runs == [("check", "succeeded", 1), ("publish", "lost", 1), ("publish", "succeeded", 2)]


PAGE = """
`mill.py`, what can be done:

<!-- run: worker -->
```python
from seatline.worker import Context, Handlers

handlers = Handlers()


@handlers.handler("mill")
def mill(ctx: Context, corn: str) -> str:
    return corn.upper()
```

<!-- run: producer -->
```python
from seatline.producer import Queue

queue = Queue(namespace="mill")
print(queue.enqueue("mill", {"corn": "rye"}).result(timeout=20))
print("done")
```

```text
RYE
...
```

seatline -n mill worker mill:handlers
"""


def test_a_page_is_read_and_run(tmp_path: Path, private_server: Callable[..., RealServer], spawn: Spawn) -> None:
    assert [(block.kind, block.name) for block in blocks_of(PAGE)] == [
        ("worker", "mill.py"),
        ("producer", "produce.py"),
    ]
    assert run_page(PAGE, tmp_path, private_server(), spawn) == ["RYE\ndone\n"]


def test_a_page_that_promises_something_else_is_caught(
    tmp_path: Path, private_server: Callable[..., RealServer], spawn: Spawn
) -> None:
    with pytest.raises(AssertionError, match="RYE"):
        run_page(PAGE.replace("RYE\n...", "WHEAT\n..."), tmp_path, private_server(), spawn)
