"""House rules that no linter knows: what the public packages export, what a start may cost, what is never imported."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("shared", "producer", "worker", "console")
# tests/test_floors.py demands that they exist; here each is judged as soon as it does.
PUBLIC = [name for name in ("producer", "worker") if (ROOT / name / "seatline" / name / "__init__.py").exists()]

# R6: each of these turns stored bytes into running code.
FORBIDDEN_MODULES = {"cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec"}
FORBIDDEN_YAML = {"full_load", "load", "load_all", "unsafe_load", "unsafe_load_all"}


@pytest.fixture(params=PUBLIC)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"seatline.{request.param}")


def test_all_is_sorted_and_is_what_is_exported(module: ModuleType) -> None:
    exported: list[str] = module.__all__
    assert exported == sorted(set(exported))
    assert not [name for name in exported if not hasattr(module, name)]
    assert not public_names(module) - set(exported)


def test_whatever_is_public_says_what_it_is(module: ModuleType) -> None:
    objects = {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
    assert objects
    assert not [lacking for path, item in objects.items() for lacking in undocumented(path, item)]


def public_names(module: ModuleType) -> set[str]:
    """Return the names of a module that a user would take for its own: no modules, no ``annotations``."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }


def undocumented(path: str, item: object) -> Iterator[str]:
    """Yield ``path`` if it is a class or function without a text of its own, and likewise a class's public members."""
    if not (inspect.isclass(item) or inspect.isroutine(item)):
        return
    text = inspect.getdoc(item) or ""
    if not text or (inspect.isclass(item) and text.startswith(f"{item.__name__}(")):  # a dataclass writes that itself
        yield path
    if inspect.isclass(item):
        for name in vars(item):
            member = getattr(item, name)  # asked through the class: what overrides a method inherits its text
            routine = inspect.isroutine(member) or isinstance(member, property)
            if routine and not name.startswith("_") and not inspect.getdoc(member):
                yield f"{path}.{name}"


def test_help_imports_no_client() -> None:
    script = """\
import json, sys
from seatline.console.main import main
sys.argv = ["seatline", "--help"]
try:
    main()
except SystemExit as end:
    code = end.code
json.dump({"code": code or 0, "modules": sorted(sys.modules)}, sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("Usage: "), done.stderr
    told = json.loads(done.stderr)
    assert told["code"] == 0
    assert not {"hiredis", "msgpack", "redis"} & set(told["modules"])


@pytest.mark.parametrize("floor", FLOORS)
def test_r6_nothing_is_ever_unpickled_or_evaluated(floor: str) -> None:
    """R6: nothing that was stored is turned into code."""
    files = sorted((ROOT / floor).rglob("*.py"))
    found = {path.relative_to(ROOT).as_posix(): list(dangerous(path.read_text("utf-8"))) for path in files}
    assert files
    assert not {path: lines for path, lines in found.items() if lines}


def dangerous(source: str) -> Iterator[str]:
    """Yield what a source text does against R6."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                for alias in node.names:
                    if alias.name.split(".")[0] in FORBIDDEN_MODULES:
                        yield f"line {node.lineno}: import {alias.name}"
            case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] in FORBIDDEN_MODULES:
                yield f"line {node.lineno}: from {module}"
            case ast.ImportFrom(module="yaml") if {alias.name for alias in node.names} & FORBIDDEN_YAML:
                yield f"line {node.lineno}: from yaml"
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                yield f"line {node.lineno}: {name}("
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr=name)) if name in FORBIDDEN_YAML:
                yield f"line {node.lineno}: yaml.{name}("
            case _:
                pass


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, marshal as m",
        "def late():\n    from shelve import open",
        "from dill.source import getsource",
        "yaml.load(text, Loader=yaml.Loader)",
        "from yaml import unsafe_load",
        "eval(text)",
        "exec(text)",
    ],
)
def test_r6_the_guard_sees_a_planted_violation(source: str) -> None:
    """R6: the check above is worth something."""
    assert list(dangerous(source))


def test_r6_the_guard_leaves_the_harmless_alone() -> None:
    """R6: scripts of the server are evaluated there, not here."""
    assert not list(dangerous("client.eval(script)\nyaml.safe_load(text)\njson.load(file)\nimport pickletools_like"))
