"""An order through the chain of release.toml: a code leads aside, branches run at once, a step runs for each file.

::

    python -m examples.release

It starts a worker of its own, on the server that SEATLINE_URL names, else on the one that Seatline starts by itself. It
prints::

    chain release, version 1: check, publish, render, announce, repair
    the order has succeeded
      check     succeeded, to repair
      repair    succeeded
      check     succeeded
      announce, publish, render: each once
    check       found 3 files
    publish     made pump.pdf
    render      made nut.png, nothing, pump.png
    render[1]   failed: ValueError: bolt.dwg has no layer to render
    announce    told of pump.pdf, with 2 pictures
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatline.producer import Queue, Run
from seatline.shared.chain_file import chain_from_toml
from seatline.worker import Context, Handlers

NAMESPACE = "example-release"
MODULE = "examples.release"
CHAIN = Path(__file__).with_name("release.toml")

handlers = Handlers()

CHECK = """
import json, sys
drawing, sound = sys.argv[1:]
if sound != "true":
    sys.exit(2)
print("seatline:result", json.dumps(dict(files=["nut.dwg", "bolt.dwg", drawing + ".dwg"])))
"""

#: A command: its exit code 2 is no failure, for the step's codes say where it leads.
handlers.shell("drawing.check", [sys.executable, "-c", CHECK, "{drawing}", "{sound}"])


@handlers.handler("drawing.repair")
def repair(_: Context, drawing: str) -> dict[str, object]:
    """What it returns goes over the order's params, so the next check finds the drawing sound."""
    return {"sound": True, "repaired": drawing}


@handlers.handler("drawing.publish", uses={"vault": 1})
def publish(_: Context, drawing: str) -> dict[str, str]:
    """Needs a seat of the vault, as the step says too."""
    return {"pdf": f"{drawing}.pdf"}


@handlers.handler("drawing.render")
def render(_: Context, file: str) -> str:
    """Render one of the files that check has found."""
    if file == "bolt.dwg":
        raise ValueError(f"{file} has no layer to render")
    return file.replace(".dwg", ".png")


@handlers.handler("mail.send")
def send(ctx: Context, pdf: str) -> str:
    """Run once, when both branches have ended; ctx.order has what each step returned."""
    assert ctx.order
    pictures = [picture for picture in ctx.order.outputs["render"] if picture]
    return f"{pdf}, with {len(pictures)} pictures"


def main() -> None:
    words = [sys.executable, "-m", "seatline.console.main", "-n", NAMESPACE, "worker", f"{MODULE}:handlers"]
    with Queue(namespace=NAMESPACE) as queue:
        queue.pools.set("vault", 1)
        chain = chain_from_toml(CHAIN.read_text("utf-8"))
        print(f"chain {chain.name}, version {queue.define(chain)}: {', '.join(step.name for step in chain.steps)}")
        order = queue.start("release", {"drawing": "pump", "sound": False}, title="The pump")
        worker = subprocess.Popen([*words, "--slots", "4"], stderr=subprocess.DEVNULL)
        try:
            outputs = order.result(timeout=40)
        finally:
            worker.terminate()
            worker.wait(30)
        print("the order has", order.state())
        tell(order.history(), outputs)


def tell(history: Sequence[Run], outputs: Mapping[str, Any]) -> None:
    runs = [run for run in history if run.step and run.element is None]
    for run in runs[:3]:
        print(f"  {run.step:9} {run.outcome}{', to repair' if run.text == 'to repair' else ''}")
    print(f"  {', '.join(sorted(run.step or '' for run in runs[3:]))}: each once")
    print(f"check       found {len(outputs['check']['files'])} files")
    print(f"publish     made {outputs['publish']['pdf']}")
    print(f"render      made {', '.join(picture or 'nothing' for picture in outputs['render'])}")
    for run in history:
        if run.element is not None:
            print(f"{run.step}[{run.element}]   {run.outcome}: {run.text}")
    print(f"announce    told of {outputs['announce']}")


if __name__ == "__main__":
    main()
