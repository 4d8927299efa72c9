"""``seatline scripts``: the Lua scripts, as the server runs them."""

from __future__ import annotations

import click

from seatline.console.command import Group, output_option
from seatline.console.target import Target, pass_target

__all__ = ["scripts"]


@click.group(cls=Group, epilog="Example: seatline scripts show turn")
def scripts() -> None:
    """Show the scripts that the server runs, and load them."""


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


@scripts.command("load", epilog="Example: seatline scripts load")
@pass_target
def load_scripts(target: Target) -> None:
    """Load all scripts into the server, which forgets them when it starts anew.

    Clients do so by themselves when their login may. After `seatline acl --no-load` only an admin's may: put this behind
    the start of the server.
    """
    from seatline.shared.calls.base import Command as Words  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.base import Read  # noqa: PLC0415 - as above
    from seatline.shared.scripts import names, script  # noqa: PLC0415 - as above

    loads: list[Words] = [("SCRIPT", "LOAD", script(name).text) for name in names()]
    with target.queue() as queue:
        known = queue.store.read(Read(loads, lambda replies: len(set(map(bytes, replies)))))
        click.echo(f"{known} scripts loaded at {queue.store.place}")
