"""The programs of README.md and of the pages of docs/, as files for type checkers.

    python tests/docs/typed_blocks.py FOLDER     write them there

A python fence below a line that begins with a file's name in code is that file; each section (``##``) is a folder, as it is
for a reader, and imports its own files from there. Fences without a name are one program a page, each going on where the one
before it ended. Lines keep their numbers: ``chains_md/section_4/states.py:150`` is line 150 of docs/chains.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["PAGES", "ROOT", "files_of", "write"]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(
    r"(?:^`(?P<name>\w+)\.py`[^\n]*\n\n)?(?:^<!-- [^\n]* -->\n)?^```python\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def files_of(page: str) -> dict[str, str]:
    """Return the programs of a page by their paths.

    Raises:
        ValueError: a section has two files of one name.

    """
    files: dict[str, str] = {}
    for fence in FENCE.finditer(page):
        section = f"section_{len(re.findall('^## ', page[: fence.start()], re.MULTILINE))}"
        path = f"{section}/{fence['name']}.py" if fence["name"] else "page.py"
        if fence["name"] and path in files:
            raise ValueError(f"{path} stands there twice")
        before = files.get(path, "")
        files[path] = before + "\n" * (page.count("\n", 0, fence.start("text")) - before.count("\n")) + fence["text"]
    for path, text in files.items():
        beside = "|".join(Path(other).stem for other in files if Path(other).parent == Path(path).parent)
        files[path] = re.sub(rf"^from ({beside}) import\b", r"from .\1 import", text, flags=re.MULTILINE)
    return files


def write(folder: Path, pages: list[Path] = PAGES) -> None:
    """Write the programs of the pages into a folder."""
    for page in pages:
        for name, text in files_of(page.read_text("utf-8")).items():
            path = folder / page.name.replace(".", "_") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
