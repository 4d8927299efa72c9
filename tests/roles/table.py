"""The table of docs/security.md, made of the one in the code: ``python tests/roles/table.py --write``."""

from __future__ import annotations

import sys
from pathlib import Path

from seatline.shared.roles import ROLES, VERBS, WRITES

__all__ = ["END", "START", "shown"]

START = "<!-- roles: made by tests/roles/table.py -->\n"
END = "<!-- end of roles -->"


def shown() -> str:
    """Return the verbs with who may, and what each role may write."""
    lines = ["", "| verb | viewer | producer | worker | admin | where | scripts |", "| --- " * 7 + "|"]
    for verb in VERBS:
        may = ["yes" if ROLES.index(role) >= ROLES.index(verb.role) else "" for role in ROLES]
        scripts = ", ".join(f"`{name}`" for name in verb.scripts) or "reads only"
        lines.append(f"| {verb.name} | {' | '.join(may)} | {verb.found} | {scripts} |")
    lines += [
        "",
        "| role | may write these keys of its namespace, besides those of the roles before it |",
        "| --- | --- |",
    ]
    lines += [f"| {role} | {', '.join(f'`{key}`' for key in WRITES[role]) or 'none'} |" for role in ROLES]
    return "\n".join([*lines, "", ""])


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "security.md"
    text = page.read_text("utf-8")
    made = text.partition(START)[0] + START + shown() + END + text.partition(END)[2]
    if sys.argv[1:] == ["--write"]:
        page.write_text(made, "utf-8")
    else:
        sys.exit(0 if made == text else f"{page} is not as the code says; --write")
