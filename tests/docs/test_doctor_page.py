"""docs/doctor.md has every finding of `seatline doctor`, with its meaning and its cure, and no other (R5)."""

from __future__ import annotations

import re

import click
import pytest
from docs.doctor_page import PAGE, TABLES, page

from seatline.console.doctor import kinds
from seatline.console.main import seatline
from seatline.shared.findings import Kind


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(PAGE.read_text("utf-8")), "python tests/docs/doctor_page.py --write"


def test_every_finding_stands_there_once() -> None:
    listed = re.findall(r"(?m)^\| `([a-z-]+)` \|", PAGE.read_text("utf-8"))
    assert listed == [kind.code for kind in kinds()]
    assert listed == [kind.code for table in TABLES.values() for kind in table]


def test_a_table_that_says_something_else_is_caught() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text.replace("deletes keys", "keeps keys", 1)) == text


COMMAND = re.compile(r"seatline ([a-z]+(?: [a-z-]+)?)((?: (?!seatline)[^\s;,]+)*)")


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.code)
def test_what_a_cure_says_to_type_exists(kind: Kind) -> None:
    """Every noun, verb and option of ours in a cure."""
    for words, rest in COMMAND.findall(kind.cure):
        noun, _, verb = words.partition(" ")
        command: click.Command | None = seatline.get_command(click.Context(seatline), noun)
        assert command is not None, words
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), verb)
            assert command is not None, words
        if noun == "cli":
            continue  # what follows is redis-cli's
        options = {name for param in command.params for name in param.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+|(?<!\S)-[a-z]\b", f"{verb} {rest}")) <= options, (words, rest)
