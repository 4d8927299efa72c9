"""What `seatline doctor` may find, as the tables of docs/doctor.md.

python tests/docs/doctor_page.py           say whether the page is out of date
python tests/docs/doctor_page.py --write   write its tables
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from seatline.console.doctor import namespace_kinds, server_rules
from seatline.shared import server_rules as start_rules
from seatline.shared.findings import Kind

__all__ = ["PAGE", "TABLES", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"
TABLES = {
    "at every start": start_rules.KINDS,
    "of the server": server_rules.KINDS,
    "of the namespace": namespace_kinds.KINDS,
}
_TABLE = re.compile(r"(?m)^<!-- findings ([a-z ]+) -->\n(?:\|.*\n)*")


def page(text: str) -> str:
    """Return the page with its tables as the code has them; what a cure fills in stands in capitals."""
    return _TABLE.sub(lambda match: f"<!-- findings {match[1]} -->\n{_table(TABLES[match[1]])}", text)


def _table(kinds: Sequence[Kind]) -> str:
    rows = ["| finding | what it means | what mends it |", "| --- | --- | --- |"]
    for kind in kinds:
        cure = re.sub(r"\{(\w+)\}", lambda match: match[1].upper(), kind.cure)
        rows.append(f"| `{kind.code}` | {kind.means} | {cure} |")
    return "".join(f"{row}\n" for row in rows)


def main(words: Sequence[str]) -> int:
    """Compare, or write."""
    text = PAGE.read_text("utf-8")
    new = page(text)
    if "--write" in words:
        PAGE.write_text(new, "utf-8")
    elif text != new:
        sys.stdout.write("docs/doctor.md is out of date: python tests/docs/doctor_page.py --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
