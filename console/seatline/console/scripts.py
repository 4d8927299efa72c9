"""``seatline scripts``: the Lua scripts, as the server runs them."""

from __future__ import annotations

import click

from seatline.console.command import Group, output_option

__all__ = ["scripts"]


@click.group(cls=Group, epilog="Example: seatline scripts show turn")
def scripts() -> None:
    """Show the scripts that the server runs."""


@scripts.command("list", epilog="Example: seatline scripts list")
@output_option
def list_scripts(output: str) -> None:
    """List the scripts with their intents."""
    from seatline.console.output import Column, show  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.scripts import Script, names, script  # noqa: PLC0415 - as above

    columns: list[Column[Script]] = [
        Column("NAME", lambda one: one.name),
        Column("SHA1", lambda one: one.sha[:12]),
        Column("INTENT", lambda one: one.intent, cuts=True),
    ]
    show(
        map(script, names()),
        output,
        columns,
        lambda one: {
            "name": one.name,
            "sha": one.sha,
            "intent": one.intent,
            "keys": one.keys,
            "argv": one.words,
            "returns": one.returns,
        },
    )


@scripts.command("show", epilog="Example: seatline scripts show turn > turn.lua")
@click.argument("name")
def show_script(name: str) -> None:
    """Print a script, assembled; it runs with redis-cli --eval."""
    from seatline.shared.scripts import names, script  # noqa: PLC0415 - `seatline --help` stays fast

    if name not in names():
        raise click.UsageError(
            f"there is no script {name!r}; there are {', '.join(names())}", click.get_current_context()
        )
    click.echo(script(name).text, nl=False)
