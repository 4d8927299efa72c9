"""Typed jobs: one class for the params, which the type checker sees at both ends of the queue.

::

    python -m examples.typed

It starts a worker of its own, on the server that SEATLINE_URL names, else on the one that Seatline starts by itself. It
prints::

    plot       pump.dwg on A0: 2 sheets, 160 g of paper
    told       the plot of pump.dwg is ready: pump-1.pdf, pump-2.pdf
    refused    params['sheets'][1]['scale']: '1:5' is not of type float.
    failed     BadParams: the handler of sheet.plot does not take papr, which the params have.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import TypedDict

from seatline.producer import JobType, Queue
from seatline.shared.errors import InvalidInput
from seatline.worker import Context, Handlers

NAMESPACE = "example-typed"
MODULE = "examples.typed"


class Paper(Enum):
    """Stored is its value."""

    A4 = "A4"
    A0 = "A0"

    @property
    def grams(self) -> float:
        """Of one sheet."""
        return 80 * (1 if self is Paper.A0 else 1 / 16)


@dataclass
class Sheet:
    """A part of the params may be such a class too."""

    name: str
    scale: float = 1.0


@dataclass
class Plot:
    """What sheet.plot is given."""

    file: str
    sheets: list[Sheet] = field(default_factory=list[Sheet])
    paper: Paper = Paper.A4


class Notice(TypedDict):
    """What mail.send is given: a dict."""

    subject: str
    files: list[str]


plot = JobType("sheet.plot", Plot)
notice = JobType("mail.send", Notice)
handlers = Handlers()


@handlers.handler(plot)
def run(ctx: Context, params: Plot) -> dict[str, object]:
    """Is given a Plot, whoever has enqueued it."""
    stem = params.file.removesuffix(".dwg")
    files = [f"{stem}-{number}.pdf" for number, _ in enumerate(params.sheets, 1)]
    ctx.enqueue(notice, Notice(subject=f"the plot of {params.file} is ready", files=files), token=f"told-{ctx.id}")
    return {"paper": params.paper.value, "sheets": len(files), "grams": params.paper.grams * len(files)}


@handlers.handler(notice)
def send(_: Context, params: Notice) -> str:
    return f"{params['subject']}: {', '.join(params['files'])}"


def main() -> None:
    words = [sys.executable, "-m", "seatline.console.main", "-n", NAMESPACE, "worker", f"{MODULE}:handlers"]
    worker = subprocess.Popen([*words, "--slots", "2"], stderr=subprocess.DEVNULL)
    try:
        with Queue(namespace=NAMESPACE) as queue:
            tell(queue)
    finally:
        worker.terminate()
        worker.wait(30)


def tell(queue: Queue) -> None:
    handle = queue.enqueue(plot, Plot("pump.dwg", [Sheet("plan"), Sheet("section", 0.5)], Paper.A0), title="The pump")
    made = handle.result(timeout=40)
    print(f"plot       pump.dwg on {made['paper']}: {made['sheets']} sheets, {made['grams']:g} g of paper")
    told = queue.find(f"told-{handle.id}")
    assert told
    print("told      ", told.result(timeout=20))
    try:  # a type checker sees this one, too
        queue.enqueue(plot, Plot("nut.dwg", [Sheet("plan"), Sheet("section", "1:5")]))  # type: ignore[arg-type]
    except InvalidInput as error:
        print("refused   ", error)
    wrong = queue.enqueue("sheet.plot", {"file": "nut.dwg", "papr": "A0"}).wait(timeout=20)
    print(f"failed     {wrong.error_type}: {wrong.error}")


if __name__ == "__main__":
    main()
