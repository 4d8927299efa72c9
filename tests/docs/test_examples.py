"""The programs of examples/ run, and print what they say (C1, C6, C9, C12, C13, C16 to C18, O5, O14, O15, T4)."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.processes import Child
from harness.server import RealServer

from seatline.console.verify import check_namespace

EXAMPLES = Path(__file__).parents[2] / "examples"
#: hello.py is a producer for other people's files; its worker is started by hand.
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "hello")


def promised(program: str) -> str:
    """Return what its docstring says that it prints: the indented text behind ``prints::``."""
    text = inspect.cleandoc(ast.get_docstring(ast.parse((EXAMPLES / f"{program}.py").read_text("utf-8"))) or "")
    assert re.search(rf"^ +python -m examples\.{program}$", text, re.MULTILINE), "it does not say how it is run"
    found = re.search(r"prints::\n\n(.*)", text, re.DOTALL)
    assert found, "it does not say what it prints"
    return f"{textwrap.dedent(found[1]).rstrip()}\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_example_prints_what_it_says(
    program: str, private_server: Callable[..., RealServer], spawn: Callable[..., Child]
) -> None:
    server = private_server()
    env = {"SEATLINE_URL": server.url, "SEATLINE_EMBEDDED": "never", "PYTHONPATH": str(EXAMPLES.parent)}
    for _ in range(2):  # a second time it meets what the first has left
        child = spawn([sys.executable, "-W", "error", "-m", f"examples.{program}"], env=env)
        assert child.wait(60) == 0, child.errors()
        assert child.output() == promised(program)
    assert not check_namespace(server.url, f"example-{program}")


def test_hello_counts_words(private_server: Callable[..., RealServer], spawn: Callable[..., Child]) -> None:
    env = {"SEATLINE_URL": private_server().url, "SEATLINE_EMBEDDED": "never", "PYTHONPATH": str(EXAMPLES.parent)}
    worker = spawn([sys.executable, "-m", "seatline.console.main", "worker", "examples.hello:handlers"], env=env)
    child = spawn([sys.executable, "-W", "error", "-m", "examples.hello", str(EXAMPLES / "hello.py")], env=env)
    assert child.wait(60) == 0, child.errors()
    assert re.fullmatch(
        r" +\d+ words in +\d+ lines  hello\.py  \(by .+:\d+\)\n +60 words read of hello\.py\n", child.output()
    )
    worker.terminate()
    assert worker.wait(20) == 0, worker.errors()
