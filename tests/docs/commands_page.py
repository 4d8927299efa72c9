"""The command line as its own help tells it: reads the commands, writes docs/commands.md.

python tests/docs/commands_page.py           say whether the page is out of date
python tests/docs/commands_page.py --write   write the page
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from seatline.console.main import SECTIONS, seatline

__all__ = ["PAGE", "commands", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTH = 100

HEAD = """\
# Commands

Every command as `--help` tells it. This page is written by `python tests/docs/commands_page.py --write`; a test compares.

Exit codes: 0 done, 1 failed, 2 usage, 69 no server, 77 the login may not, 124 timed out, 130 interrupted from the keyboard.

## Completion

The shell completes commands and options, and also names of types, pools, chains, schedules and events, and ids of jobs, orders
and workers, which it asks the server for: the one of `-u` or `SEATLINE_URL` and the namespace of `-n` or `SEATLINE_NAMESPACE`,
else the embedded one if it runs; none is started. A server that does not answer within a second completes nothing.

```sh
eval "$(_SEATLINE_COMPLETE=bash_source seatline)"                # bash 4.4 or newer; in ~/.bashrc
eval "$(_SEATLINE_COMPLETE=zsh_source seatline)"                 # zsh; in ~/.zshrc, after compinit
_SEATLINE_COMPLETE=fish_source seatline | source                 # fish; in ~/.config/fish/config.fish
```

"""


def commands(
    group: click.Group = seatline, path: Sequence[str] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with the words that call it, a noun before its verbs."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def _help(path: Sequence[str]) -> str:
    context = click.Context(seatline, info_name="seatline", **seatline.context_settings)
    for word in path:
        group = context.command
        assert isinstance(group, click.Group)
        command = group.get_command(context, word)
        assert command is not None
        context = click.Context(command, info_name=word, parent=context, **seatline.context_settings)
    context.terminal_width = WIDTH
    return "\n".join(line.rstrip() for line in context.get_help().strip().splitlines())


def page() -> str:
    """Return the text of the page."""
    by_noun: dict[str, list[tuple[str, ...]]] = {}
    for path, _ in commands():
        by_noun.setdefault(path[0], []).append(path)
    parts = [HEAD, "## seatline\n\n", _block(_help(()))]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n\n")
        for name in names:
            parts += [
                f"{'#' * (2 + len(path))} seatline {' '.join(path)}\n\n{_block(_help(path))}" for path in by_noun[name]
            ]
    return "".join(parts).rstrip("\n") + "\n"


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n\n"


def main(words: Sequence[str]) -> int:
    """Write the page, or compare."""
    text = page()
    if "--write" in words:
        PAGE.write_text(text, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != text:
        sys.stdout.write("docs/commands.md is out of date: python tests/docs/commands_page.py --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
