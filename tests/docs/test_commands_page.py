"""docs/commands.md is what the commands' own help says, and every command's help has an example."""

from __future__ import annotations

import click
import pytest
from docs.commands_page import PAGE, commands, page

COMMANDS = list(commands())


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/docs/commands_page.py --write"


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_has_an_example(path: tuple[str, ...], command: click.Command) -> None:
    told = command.epilog or ""
    assert "Example" in told
    assert f"seatline {path[0]}" in told
