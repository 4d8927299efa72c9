"""One worker, four ways to run a handler: in a thread, in an event loop, in a child process, as a command.

::

    python -m examples.mixed

It starts a worker of its own, on the server that SEATLINE_URL names, else on the one that Seatline starts by itself. It
prints::

    a thread        weighs 3 parts: [4.0, 6.0, 8.0]
    the event loop  made 20 requests at once, the last price is 1.9
    a child process meshed bracket in attempt 2 of 3: 400 cells
                    attempt 1 failed: Degenerate: bracket has an edge of no length
                    its log: repaired, 400 cells
                    how far it came: 4/4 layer 4
    a command       counted 20 letters
                    its log: reading "nut bolt bracket washer"
    a crash         failed: HandlerDied: its process ended under it: killed by SIGSEGV
    the worker      ended with exit code 0
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

from seatline.producer import Job, Queue
from seatline.shared.errors import JobFailed
from seatline.worker import Context, Handlers, Retry

NAMESPACE = "example-mixed"
MODULE = "examples.mixed"
REQUESTS = 20

handlers = Handlers()
all_here = asyncio.Barrier(REQUESTS)


@handlers.handler("part.weigh")
def weigh(_: Context, part: str) -> float:
    """In a thread: short Python that is your own."""
    return len(part) + 1.0


@handlers.handler("part.price")
async def price(_: Context, part: int) -> float:
    """In the event loop: each request waits until all the others are under way."""
    await all_here.wait()
    return part / 10


class Degenerate(Exception):
    """Something that may well go away."""


@handlers.handler("part.mesh", isolation="process", timeout=30, retry=Retry(attempts=3, first=0.2, only=Degenerate))
def mesh(ctx: Context, part: str) -> int:
    """In a child process: computes, and can be killed. Its second attempt succeeds."""
    if ctx.attempt == 1:
        raise Degenerate(f"{part} has an edge of no length")
    cells = 0
    for layer in range(1, 5):
        ctx.check()  # leaves if the job was cancelled
        cells += 100
        ctx.progress(layer, 4, f"layer {layer}")
    ctx.log(f"repaired, {cells} cells")
    return cells


@handlers.handler("part.crash", isolation="process")
def crash(_: Context) -> None:
    """Die as a library in C does; the worker goes on."""
    os.kill(os.getpid(), signal.SIGSEGV)


COUNT = """
import os, sys
parts = os.environ["PARAM_PARTS"]
print(f'reading "{parts}"')
print("seatline:progress 1 1")
print("seatline:result", sum(map(str.isalpha, sys.argv[1])))
"""

#: As a command: a program with arguments, never a line for a shell.
handlers.shell("part.count", [sys.executable, "-c", COUNT, "{parts}"], timeout=30, skip_codes=[3])


def main() -> None:
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "seatline.console.main",
            "-n",
            NAMESPACE,
            "worker",
            f"{MODULE}:handlers",
            "--slots",
            "20",
        ]
    )
    try:
        with Queue(namespace=NAMESPACE) as queue:
            tell(queue)
    finally:
        worker.terminate()  # what runs may end; nothing does any more
        code = worker.wait(30)
    print("the worker      ended with exit code", code)


def tell(queue: Queue) -> None:
    weights = [queue.enqueue("part.weigh", {"part": part}) for part in ("nut", "screw", "bracket")]
    print("a thread        weighs 3 parts:", [handle.result(timeout=30) for handle in weights])

    asked = queue.enqueue_many(Job("part.price", {"part": number}) for number in range(REQUESTS))
    prices = [queue.handle(each).result(timeout=30) for each in asked]
    print(f"the event loop  made {len(prices)} requests at once, the last price is {prices[-1]}")

    meshing = queue.enqueue("part.mesh", {"part": "bracket"})
    cells = meshing.result(timeout=30)
    print(f"a child process meshed bracket in attempt {meshing.record().attempt} of 3: {cells} cells")
    for attempt in meshing.attempts():
        print(f"                attempt {attempt.attempt} failed: {attempt.error_type.split('.')[-1]}: {attempt.error}")
    print("                its log:", *(line.partition(" ")[2] for line in meshing.log()))
    print("                how far it came:", meshing.record().progress)

    counting = queue.enqueue("part.count", {"parts": "nut bolt bracket washer"})
    print(f"a command       counted {counting.result(timeout=30)} letters")
    print("                its log:", *(line.partition(" ")[2] for line in counting.log()))

    try:
        queue.enqueue("part.crash").result(timeout=30)
    except JobFailed as failed:
        print(f"a crash         failed: {failed.error_type}: {failed.error}")


if __name__ == "__main__":
    main()
