"""The built wheel: what is in it, and that it works where no source file can be reached.

``python -S`` leaves out the site folders, and with them whatever installation of this package the tests run from; the
dependencies come back through PYTHONPATH, behind the wheel, as links to them alone. The site folder itself would not do:
it may hold this package, or what is left of it. pip leaves an empty ``seatline`` behind where an editable installation
takes the place of a plain one, and that is a piece of the namespace as good as any.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("shared", "producer", "worker", "console")


class Built(NamedTuple):
    wheel: Path
    source: Path  # the source archive
    site: Path  # where the wheel is installed, alone
    libraries: Path  # what it depends on, without it

    @property
    def files(self) -> set[str]:
        return set(zipfile.ZipFile(self.wheel).namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both archives of this checkout, and the wheel installed by pip into a folder of its own."""
    home = tmp_path_factory.mktemp("built")
    build(ROOT, home)
    (wheel,), (source,) = home.glob("*.whl"), home.glob("*.tar.gz")
    site = home / "site"
    alone = ["--no-index", "--no-deps", "--target", str(site)]
    run([sys.executable, "-m", "pip", "install", "--quiet", *alone, str(wheel)])
    libraries = home / "libraries"
    link_others({Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}, libraries)
    return Built(wheel, source, site, libraries)


def build(tree: Path, into: Path, *targets: str) -> None:
    """Build ``targets`` (default: both) with the tool of pyproject.toml, which is among the tests' dependencies."""
    chosen = [word for target in targets for word in ("-t", target)]
    run([sys.executable, "-m", "hatchling", "build", *chosen, "-d", str(into)], cwd=tree)


def link_others(sites: set[Path], into: Path) -> None:
    """Make ``into``, and in it a link to all that is installed in the site folders but this package."""
    into.mkdir()
    for name, path in {each.name: each for site in sites for each in site.iterdir()}.items():
        if not name.lstrip("_").startswith("seatline"):
            (into / name).symlink_to(path)


def run(command: list[str], *, cwd: Path = ROOT, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def outside(built: Built, tmp_path: Path, *command: str) -> str:
    """Run Python on the installed wheel and its dependencies, from an empty folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SEATLINE_", "PYTHON"))}
    environ["PYTHONPATH"] = os.pathsep.join([str(built.site), str(built.libraries)])
    return run([sys.executable, "-S", *command], cwd=tmp_path, environ=environ)


def metadata(built: Built) -> Message:
    (name,) = (name for name in built.files if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(zipfile.ZipFile(built.wheel).read(name).decode())


def sources() -> set[str]:
    """Return every file of the four roots, as the wheel should name it."""
    return {
        path.relative_to(ROOT / floor).as_posix()
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_one_name_beside_its_metadata(built: Built) -> None:
    version = metadata(built)["Version"]
    assert {name.split("/")[0] for name in built.files} == {"seatline", f"seatline-{version}.dist-info"}
    assert {name.split("/")[1] for name in built.files if name.startswith("seatline/")} == set(FLOORS)
    assert "seatline/__init__.py" not in built.files


def test_the_wheel_holds_every_source_file_and_nothing_else(built: Built) -> None:
    assert {name for name in built.files if name.startswith("seatline/")} == sources()


def test_the_wheel_holds_every_script(built: Built) -> None:
    scripts = {f"seatline/shared/lua/{path.name}" for path in (ROOT / "shared/seatline/shared/lua").glob("*.lua")}
    assert scripts
    assert scripts <= built.files


def test_the_wheel_is_typed(built: Built) -> None:
    assert {f"seatline/{floor}/py.typed" for floor in FLOORS} <= built.files


def test_the_wheel_says_its_licence(built: Built) -> None:
    told = metadata(built)
    assert told["Name"] == "seatline"
    assert told["License-Expression"] == "Apache-2.0"
    assert told["License-File"] == "LICENSE"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in built.files)


def test_the_way_through_the_source_archive_loses_nothing(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.source) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    build(tree, tmp_path / "again", "wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    assert set(zipfile.ZipFile(again).namelist()) == built.files


def test_the_sources_are_out_of_reach(built: Built, tmp_path: Path) -> None:
    """What the tests below rest on."""
    told = outside(built, tmp_path, "-c", "import seatline; print(*seatline.__path__, sep='\\n')")
    assert told.split("\n") == [str(built.site / "seatline"), ""]


def test_what_another_installation_left_is_out_of_reach(tmp_path: Path) -> None:
    site, into = tmp_path / "site", tmp_path / "libraries"
    for name in ("click", "seatline", "seatline-0.1.0.dist-info"):
        (site / name).mkdir(parents=True)
    (site / "_seatline.pth").touch()
    link_others({site}, into)
    assert [each.name for each in into.iterdir()] == ["click"]


@pytest.mark.parametrize("command", [("-m", "seatline.console.main"), ("{site}/bin/seatline",)])
def test_the_command_line_runs_from_the_wheel(built: Built, tmp_path: Path, command: tuple[str, ...]) -> None:
    told = outside(built, tmp_path, *(word.format(site=built.site) for word in command), "--help")
    assert told.startswith("Usage: ")
    assert "worker" in told


@pytest.mark.parametrize(
    ("package", "above"),
    [("producer", {"worker", "console"}), ("worker", {"console"})],
)
def test_a_package_loads_nothing_above_it(built: Built, tmp_path: Path, package: str, above: set[str]) -> None:
    show = f"import sys, seatline.{package}; print(*sys.modules)"
    loaded = set(outside(built, tmp_path, "-c", show).split())
    assert f"seatline.{package}" in loaded
    assert not loaded & {f"seatline.{name}" for name in above}
