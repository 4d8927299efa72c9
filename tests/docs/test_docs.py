"""The books: the tour names every module, and every path that a page names exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FLOORS = ("shared", "producer", "worker", "console")
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

LINK = re.compile(r"\]\(([^)\s]+)\)")
SHOWN = re.compile(r"\[[^\]]*\]\([^)]*\)")
CODE = re.compile(r"`([^`\n]+)`")
#: What is meant as a path from the root when it stands in code.
OURS = re.compile(r"(shared|producer|worker|console|tests|docs|examples|bench|\.ci)/[\w./-]*")
#: ``docs/decisions/NNNN-title.md``, ``lua/VERB.lua``: not meant to the letter.
PLACEHOLDER = re.compile(r"NNNN|VERB")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[Path]:
    """Yield where the links of a page lead, if into the repository."""
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            yield (page.parent / target.partition("#")[0]).resolve()


def modules() -> list[Path]:
    """Return every module of the four floors, scripts included."""
    return sorted(
        path
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*")
        if path.suffix in {".py", ".lua"} and "__pycache__" not in path.parts
    )


def test_the_tour_names_every_module() -> None:
    named = set(links(DOCS / "tour.md"))
    assert not [path.relative_to(ROOT).as_posix() for path in modules() if path not in named], (
        "docs/tour.md lacks these"
    )


def test_every_module_is_named_by_its_own_path() -> None:
    """A link's text is the end of its path, so that the tour can be searched for a file."""
    text = (DOCS / "tour.md").read_text("utf-8")
    for shown, target in re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", text):
        if "/seatline/" in target and not target.endswith("__init__.py"):
            assert target.endswith(f"/{shown}"), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_on_a_page_exists(page: Path) -> None:
    text = SHOWN.sub("", FENCE.sub("", page.read_text("utf-8")))
    paths = {path for path in links(page) if not path.exists()}
    for word in CODE.findall(text):
        shown = word.strip().partition(":")[0]
        if OURS.fullmatch(shown) and not PLACEHOLDER.search(shown) and not (ROOT / shown).exists():
            paths.add(ROOT / shown)
    assert not sorted(path.relative_to(ROOT).as_posix() for path in paths)


def test_each_decision_has_its_number() -> None:
    numbers = [path.name[:4] for path in sorted((DOCS / "decisions").glob("*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    for path in (DOCS / "decisions").glob("*.md"):
        text = path.read_text("utf-8")
        assert text.startswith(f"# {path.name[:4]}: ")
        assert [part for part in ("**Context.**", "**Decision.**", "**Consequences.**") if part in text] == [
            "**Context.**",
            "**Decision.**",
            "**Consequences.**",
        ]
