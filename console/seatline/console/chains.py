"""``seatline chains``: what orders run through, and the gates in front of it; showing one is in the module beside it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from seatline.console.chains_show import show_chain
from seatline.console.command import Group, output_option
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import Chain, ChainRecord

__all__ = ["chains"]

_name = click.argument("name", metavar="NAME")
_step = click.argument("step", metavar="STEP")
_perhaps = click.argument("step", metavar="[STEP]", required=False)


@click.group(cls=Group, epilog="Example: seatline chains define release.toml")
def chains() -> None:
    """List, define, stop and start the chains that orders run through."""


chains.add_command(show_chain)


@chains.command("list", epilog="Example: seatline chains list -o json")
@output_option
@pass_target
def list_chains(target: Target, output: str) -> None:
    """List all chains.

    STATE is active, stopped, or full (as many orders are started as its MOST allows). STARTED orders have passed the front of
    the chain, WAITING ones stand there, HELD ones stand in front of a stopped step.
    """
    from seatline.console.chains_show import Seen, state_of  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.output import Column, show  # noqa: PLC0415 - as above

    columns: list[Column[Seen]] = [
        Column("NAME", lambda each: each.chain.name),
        Column("VERSION", lambda each: str(each.chain.version), right=True),
        Column("STATE", lambda each: state_of(each.chain)),
        Column("STARTED", lambda each: str(each.chain.started), right=True),
        Column("MOST", lambda each: str(each.chain.max_orders or "-"), right=True, spare=True),
        Column("WAITING", lambda each: str(each.chain.waiting), right=True),
        Column("HELD", lambda each: str(sum(each.held.values())), right=True),
        Column("STOPPED STEPS", lambda each: " ".join(each.chain.stops), spare=True),
        Column("SKIPPED STEPS", lambda each: " ".join(each.chain.skips), spare=True),
        Column("TITLE", lambda each: each.chain.title or "", cuts=True),
    ]
    with target.queue() as queue:
        found = Seen.of(queue.store, queue.chains.list())
    show(found, output, columns, Seen.data)
    if not found and output == "table":
        click.echo("No chains. `seatline chains define FILE.toml` makes one.", err=True)


@chains.command(
    epilog="""\b
Examples:
  seatline chains define release.toml
  seatline chains define - --name release-test < release.toml
"""
)
@click.argument("file", metavar="FILE", type=click.File("rb"))
@click.option("--name", metavar="NAME", help="Of the chain, instead of the one that the file says.")
@pass_target
def define(target: Target, file: Any, *, name: str | None) -> None:
    """Store the chain that a TOML file says; - reads it from stdin.

    Other steps than before are a new version; orders that have started keep theirs.
    """
    from seatline.shared.calls.orders import define as verb  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.errors import NoSuchChain  # noqa: PLC0415 - as above
    from seatline.shared.plan import chain_words  # noqa: PLC0415 - as above

    chain = _read(file, name)
    words, digest = chain_words(chain)
    with target.queue() as queue:
        try:
            before: ChainRecord | None = queue.chains[chain.name]
        except NoSuchChain:
            before = None
        call = verb(chain.name, words, digest, chain.title, chain.max_orders, queue.by)
        version, changed = queue.store.run(call)
    word = "the same" if not changed else "changed" if before else "new"
    most = chain.max_orders
    if before and before.max_orders != most:
        word += f"; now {f'at most {most:,}' if most else 'any number of'} orders at a time"
    click.echo(f"chain {chain.name}: version {version} ({word})")


def _read(file: Any, name: str | None) -> Chain:
    """Read and check it; what is wrong with it is told with the file's name."""
    from seatline.shared.chain_file import chain_from_toml  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.errors import InvalidInput  # noqa: PLC0415 - as above

    place = "stdin" if file is sys.stdin.buffer or file.name == "<stdin>" else file.name
    try:
        text = file.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{place}: this is no text in UTF-8 (byte {error.start}).") from None
    try:
        return chain_from_toml(text, name)
    except InvalidInput as error:
        raise InvalidInput(f"{place}: {error}") from None


@chains.command(epilog="Example: seatline chains stop release publish")
@_name
@_perhaps
@pass_target
def stop(target: Target, name: str, step: str | None) -> None:
    """Let orders collect in front of a chain, or of one of its steps.

    What runs goes on. `seatline chains start` lets them go on.
    """
    with target.queue() as queue:
        _tell(name, step, queue.chains.stop(name, step), "is stopped", "was stopped already")


@chains.command(epilog="Example: seatline chains start release publish")
@_name
@_perhaps
@pass_target
def start(target: Target, name: str, step: str | None) -> None:
    """Let the orders go on that stand in front of a chain or step."""
    with target.queue() as queue:
        _tell(name, step, queue.chains.start(name, step), "goes on", "was not stopped")


@chains.command(epilog="Example: seatline chains skip release announce")
@_name
@_step
@pass_target
def skip(target: Target, name: str, step: str) -> None:
    """Have all orders pass a step without running it.

    `seatline chains unskip` has it run again.
    """
    with target.queue() as queue:
        _tell(
            name, step, queue.chains.skip(name, step), "is passed without running", "was passed already without running"
        )


@chains.command(epilog="Example: seatline chains unskip release announce")
@_name
@_step
@pass_target
def unskip(target: Target, name: str, step: str) -> None:
    """Have orders run a step again that was skipped."""
    with target.queue() as queue:
        _tell(name, step, queue.chains.unskip(name, step), "runs again", "was not skipped")


def _tell(name: str, step: str | None, changed: bool, now: str, before: str) -> None:
    what = f"chain {name}" if step is None else f"step {step} of chain {name}"
    click.echo(f"{what} {now if changed else before}")
