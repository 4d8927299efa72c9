"""The house: four floors, imports only go down, each folder holds one package, each client library has one home.

The guard is a few functions over a root folder, so that it can be shown planted violations: a guard that was never
seen to bark proves nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAME = "seatline"
MAY_IMPORT: dict[str, set[str]] = {
    "shared": set(),
    "producer": {"shared"},
    "worker": {"shared", "producer"},
    "console": {"shared", "producer", "worker"},
}
# Library -> the modules that may import it: a file, or a package of that name.
HOMES: dict[str, str] = {
    "redis": f"shared/{NAME}/shared/store",
    "msgpack": f"shared/{NAME}/shared/codec",
}


def imported(path: Path, root: Path) -> set[str]:
    """Return the dotted names that a file imports: late, typing-only and relative imports too, and by string."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                module = _absolute(node, path, root)
                names |= {f"{module}.{alias.name}" for alias in node.names}
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                names.add(name)
            case _:
                pass
    return names


def _absolute(node: ast.ImportFrom, path: Path, root: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(root).parts[1:-1]  # the first part is the source root, not a package
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def looks_up(root: Path) -> Iterator[str]:
    """Yield each import that does not go down."""
    for floor, below in MAY_IMPORT.items():
        for path in sorted((root / floor).rglob("*.py")):
            seen = {name.split(".")[1] for name in imported(path, root) if name.startswith(f"{NAME}.")}
            for above in sorted((seen & set(MAY_IMPORT)) - below - {floor}):
                yield f"{_shown(path, root)} looks up at {NAME}.{above}"


def strays(root: Path) -> Iterator[str]:
    """Yield each file of a source root that is not in its one package, and each link."""
    for floor in MAY_IMPORT:
        home = root / floor / NAME / floor
        for path in sorted((root / floor).rglob("*")):
            if "__pycache__" in path.parts:
                continue
            if path.is_symlink():
                yield f"{_shown(path, root)} is a link: it would be lost on the way through the source archive"
            elif path.is_file() and home not in path.parents:
                yield f"{_shown(path, root)} belongs into {_shown(home, root)}"


def out_of_home(root: Path) -> Iterator[str]:
    """Yield each import of a client library outside its one module."""
    for floor in MAY_IMPORT:
        for path in sorted((root / floor).rglob("*.py")):
            libraries = {name.split(".")[0] for name in imported(path, root)}
            for library in sorted(libraries & set(HOMES)):
                home = root / HOMES[library]
                if path != home.with_suffix(".py") and home not in path.parents:
                    yield f"{_shown(path, root)} imports {library}; only {HOMES[library]} may"


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def test_imports_only_go_down() -> None:
    assert not list(looks_up(ROOT))


def test_each_folder_holds_its_one_package() -> None:
    assert not list(strays(ROOT))


def test_nothing_turns_the_namespace_into_a_package() -> None:
    assert not [floor for floor in MAY_IMPORT if (ROOT / floor / NAME / "__init__.py").exists()]


def test_each_client_library_has_one_home() -> None:
    assert not list(out_of_home(ROOT))


@pytest.mark.parametrize("floor", MAY_IMPORT)
def test_each_floor_is_a_typed_package(floor: str) -> None:
    home = ROOT / floor / NAME / floor
    assert (home / "__init__.py").is_file()
    assert (home / "py.typed").is_file()


STORE = "redis; only shared/seatline/shared/store may"
CODEC = "msgpack; only shared/seatline/shared/codec may"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A house in order, to plant violations in."""
    for floor, below in MAY_IMPORT.items():
        text = "".join(f"import {NAME}.{other}.part\nfrom {NAME}.{other} import part\n" for other in sorted(below))
        plant(tmp_path, f"{floor}/{NAME}/{floor}/__init__.py", text + "from . import part\n")
        plant(tmp_path, f"{floor}/{NAME}/{floor}/part.py", "import json\n")
        plant(tmp_path, f"{floor}/{NAME}/{floor}/py.typed", "")
    plant(tmp_path, f"shared/{NAME}/shared/store/driver.py", "import redis.asyncio\nfrom ..part import json\n")
    plant(tmp_path, f"shared/{NAME}/shared/codec.py", "from msgpack import packb\n")
    return tmp_path


def plant(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_house_in_order_passes(house: Path) -> None:
    assert not [*looks_up(house), *strays(house), *out_of_home(house)]


@pytest.mark.parametrize(
    "text",
    [
        "import seatline.worker\n",
        "import seatline.worker.cycle as cycle\n",
        "from seatline import worker\n",
        "from seatline.worker import Worker\n",
        "from seatline.worker.cycle import *\n",
        "from .. import worker\n",
        "from ..worker.cycle import Cycle\n",
        "def late():\n    from seatline.worker import Worker\n",
        "if TYPE_CHECKING:\n    from seatline.worker import Worker\n",
        'importlib.import_module("seatline.worker.cycle")\n',
        '__import__("seatline.worker")\n',
    ],
)
def test_an_import_that_looks_up_is_caught(house: Path, text: str) -> None:
    plant(house, "producer/seatline/producer/queue.py", text)
    assert list(looks_up(house)) == ["producer/seatline/producer/queue.py looks up at seatline.worker"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("shared/seatline/__init__.py", "shared/seatline/__init__.py belongs into shared/seatline/shared"),
        ("worker/seatline/producer/queue.py", "worker/seatline/producer/queue.py belongs into worker/seatline/worker"),
        ("console/notes.txt", "console/notes.txt belongs into console/seatline/console"),
    ],
)
def test_a_stray_file_is_caught(house: Path, path: str, told: str) -> None:
    plant(house, path, "")
    assert list(strays(house)) == [told]


def test_a_link_is_caught(house: Path) -> None:
    link = house / "worker/seatline/worker/part_again.py"
    link.symlink_to("part.py")
    assert [told.split(":")[0] for told in strays(house)] == ["worker/seatline/worker/part_again.py is a link"]


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("worker/seatline/worker/cycle.py", "import redis\n", STORE),
        ("shared/seatline/shared/storehouse.py", "from redis import Redis\n", STORE),
        ("shared/seatline/shared/store/values.py", "import msgpack\n", CODEC),
        ("console/seatline/console/top.py", "def late():\n    from redis.asyncio import Redis\n", STORE),
    ],
)
def test_a_client_library_away_from_home_is_caught(house: Path, path: str, text: str, told: str) -> None:
    plant(house, path, text)
    (found,) = out_of_home(house)
    assert found == f"{path} imports {told}"
