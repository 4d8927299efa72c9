"""docs/doctor.md has every finding of `seatline doctor`, with its meaning and its cure, and no other (R5)."""

from __future__ import annotations

import re

from docs.doctor_page import PAGE, TABLES, page

from seatline.console.doctor import kinds


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(PAGE.read_text("utf-8")), "python tests/docs/doctor_page.py --write"


def test_every_finding_stands_there_once() -> None:
    listed = re.findall(r"(?m)^\| `([a-z-]+)` \|", PAGE.read_text("utf-8"))
    assert listed == [kind.code for kind in kinds()]
    assert listed == [kind.code for table in TABLES.values() for kind in table]


def test_a_table_that_says_something_else_is_caught() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text.replace("deletes keys", "keeps keys", 1)) == text
