"""Count words on a queue: two handlers for a worker, and a producer that enqueues and prints what came back.

::

    seatline worker examples.hello:handlers --slots 4       one worker, or several
    python -m examples.hello [FILE...]                      the producer; without files it takes those of docs/

Both find the server by SEATLINE_URL, else they share the one that Seatline starts by itself.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from seatline.producer import Queue
from seatline.worker import Context, Handlers

DOCS = Path(__file__).parents[1] / "docs"

handlers = Handlers()


@handlers.handler("text.count")
def count(ctx: Context, file: str) -> dict[str, int | str]:
    """Count the lines and words of a text file."""
    text = Path(file).read_text("utf-8")
    return {"lines": len(text.splitlines()), "words": len(text.split()), "by": whoami(), "attempt": ctx.attempt}


@handlers.handler("text.read")
def read(ctx: Context, file: str, words: int = 60, pace: float = 120) -> dict[str, int | str]:
    """Read the first ``words`` of a text file at ``pace`` words a second: slow work that can be stopped."""
    opening = Path(file).read_text("utf-8").split()[:words]
    for _ in opening:
        ctx.sleep(1 / pace)  # ends the handler when the job is cancelled
    return {"words": len(opening), "by": whoami()}


def whoami() -> str:
    """Return the host and process that does the work: with several workers the results name several."""
    return f"{platform.node()}:{os.getpid()}"


def main() -> None:
    """Enqueue a job for each file, then wait for the results in order."""
    files = sys.argv[1:] or sorted(str(path) for path in DOCS.rglob("*.md"))
    queue = Queue()
    counts = [queue.enqueue("text.count", {"file": file}) for file in files]
    reading = queue.enqueue("text.read", {"file": files[0]}, priority=1)  # 1 is the most urgent
    for file, handle in zip(files, counts, strict=True):
        counted = handle.result(timeout=60)
        print(f"{counted['words']:6} words in {counted['lines']:4} lines  {Path(file).name}  (by {counted['by']})")
    print(f"{reading.result(timeout=60)['words']:6} words read of {Path(files[0]).name}")


if __name__ == "__main__":
    main()
