"""The command line: ``python -m examples.drawing_vault [FOLDER]``."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from seatline.shared.errors import SeatlineError

if TYPE_CHECKING:
    from examples.drawing_vault.screen import Screen
    from examples.drawing_vault.vault import Folders

NEEDED: Final = {"ezdxf": "ezdxf", "PIL": "pillow"}
EXAMPLE: Final = """\b
Examples:
  python -m examples.drawing_vault                      eleven sample drawings
  python -m examples.drawing_vault ~/drawings --out ~/vault
  python -m examples.drawing_vault ~/drawings --urgent pump.dxf --stay
"""


@click.command(epilog=EXAMPLE, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default="drawing-vault", show_default=True, help="The vault's folder."
)
@click.option("--urgent", metavar="NAME", help="The drawing that overtakes the batch. [default: the last one]")
@click.option("--stay", is_flag=True, help="Go on watching until Ctrl-C.")
def main(folder: Path | None, out: Path, urgent: str | None, stay: bool) -> None:
    """Release the DXF drawings of FOLDER: check, publish, index and report each, two at a time on the CAD seats.

    Without FOLDER it makes sample drawings, good and bad ones. Everything is kept in the vault's folder: the report, what was
    published, and a private Seatline server. Nothing in FOLDER is changed, and no version of a file is released twice.

    Exit code 0: every drawing was released, skipped or has failed, the reason is in the report. 1: one could not be taken, or
    something broke. 2: it cannot begin. 130: Ctrl-C; what was not done is done by the next run.
    """
    if os.name != "posix":
        raise click.UsageError("it needs Linux or macOS, for the private server.")
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise click.UsageError(
            f"{' and '.join(missing)} not installed. In the cloned folder: pip install '.[drawings]'"
        )
    click.get_current_context().exit(release(_inbox(folder, stay=stay), out.absolute(), urgent, stay=stay))


def release(inbox: Path | None, out: Path, urgent: str | None, *, stay: bool) -> int:
    """Run it; returns the exit code."""
    from examples.drawing_vault import run, stage, vault  # noqa: PLC0415 - likewise
    from examples.drawing_vault.screen import Screen  # noqa: PLC0415 - likewise
    from rich.console import Console  # noqa: PLC0415 - after the look for what is not installed

    folders = vault.Folders(out)
    stop, told = threading.Event(), list[int]()
    others = [f"{name}=" for name in ("SEATLINE_EMBEDDED", "SEATLINE_URL", "SEATLINE_TENANT") if os.environ.get(name)]

    def end(number: int, _: object) -> None:
        told.append(number)
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    screen = Screen()
    try:
        _make(folders.home)
        if inbox is None and not folders.inbox.exists():
            from examples.drawing_vault import samples  # noqa: PLC0415 - ezdxf takes its time

            samples.make(folders.inbox)
        source = inbox or folders.inbox
        names = [file.name for file in run.scan(source)]
        if urgent and urgent not in names:
            raise click.UsageError(f"--urgent: there is no {urgent!r} in {source}.")
        count = len(names)
        screen.title(inbox=f"{source} ({count} drawing{'s' if count != 1 else ''})", vault=str(folders.home))
        with stage.Stage(folders, source) as running, screen:
            good = run.Run(running, screen, stop, urgent).go(stay=stay)
    except (SeatlineError, stage.CannotBegin, stage.Broken, OSError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"drawing vault: {error}", markup=False)
        return 2 if isinstance(error, stage.CannotBegin) else 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _what_next(screen, folders, others)
    if told and not (stay and good):
        return 128 + told[0]
    return 0 if good else 1


def _inbox(folder: Path | None, *, stay: bool) -> Path | None:
    if folder is None:
        return None
    if not folder.exists():
        raise click.UsageError(
            f"there is no folder {str(folder)!r}. Name one with DXF drawings, or none: then samples are made."
        )
    if not folder.is_dir():
        raise click.UsageError(f"{str(folder)!r} is not a folder. Name the one that it is in: {str(folder.parent)!r}.")
    try:
        drawings = [path for path in folder.iterdir() if path.suffix.lower() == ".dxf"]
    except OSError as error:
        raise click.UsageError(f"{str(folder)!r} cannot be read: {error.strerror}.") from None
    if not drawings and not stay:
        raise click.UsageError(
            f"there is no drawing (*.dxf) in {str(folder)!r}. Put one there, wait for one with --stay, or name no folder: "
            "then samples are made."
        )
    return folder.absolute()


def _make(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--out: {str(home)!r} cannot be made: {error.strerror}. Name another folder.") from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise click.UsageError(f"--out: nothing can be written in {str(home)!r}. Name another folder.")


def _what_next(screen: Screen, folders: Folders, others: list[str]) -> None:
    """Name what to look at; ``others``: what leads elsewhere in this environment, and is to be passed over."""
    if folders.page.exists():
        screen.hint("report", folders.page.as_uri())
    at = " ".join([*others, f"SEATLINE_STATE={shlex.quote(str(folders.server))}", "seatline"])
    screen.hint("look", f"{at} -n vault orders list --state failed")
    screen.hint("stop", f"{at} server stop")


if __name__ == "__main__":
    main(prog_name="python -m examples.drawing_vault")
