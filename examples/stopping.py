"""A graceful stop: of three running jobs one ends in time, one is handed back, one waits for a person.

::

    python -m examples.stopping

It starts workers of its own, on the server that SEATLINE_URL names, else on the one that Seatline starts by itself. It
prints::

    three jobs run; SIGTERM to their worker, whose grace is 2 s
    the first job may end now
    the worker ends with exit code 1: not all that it had taken has ended here
      first   succeeded
      second  ready, attempts counted: 0
      third   interrupted
    another worker comes, and ends with exit code 0
      first   succeeded
      second  succeeded, attempts counted: 1
      third   interrupted
    somebody says: seatline jobs resubmit
    another worker comes, and ends with exit code 0
      third   succeeded
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from seatline.producer import JobHandle, Queue
from seatline.worker import Context, Handlers

NAMESPACE = "example-stopping"
MODULE = "examples.stopping"

handlers = Handlers()


@handlers.handler("export.await", if_lost="rerun")
def await_export(ctx: Context, file: str) -> None:
    """Wait for a file that another program writes; may be done again."""
    while not Path(file).exists():
        ctx.sleep(0.05)  # leaves when the worker hands the job back


@handlers.handler("export.sign", if_lost="interrupt")
def sign(ctx: Context, file: str) -> None:
    """Do the same; but whether it may be done again, a person has to say."""
    await_export(ctx, file)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Queue(namespace=NAMESPACE) as queue:
        files = [Path(folder, name) for name in ("first", "second", "third")]
        first = queue.enqueue("export.await", {"file": str(files[0])})
        second = queue.enqueue("export.await", {"file": str(files[1])})
        third = queue.enqueue("export.sign", {"file": str(files[2])})

        stopped = worker("--slots", "3", "--grace", "2s")
        wait_until_running(first, second, third)
        print("three jobs run; SIGTERM to their worker, whose grace is 2 s")
        stopped.terminate()
        print("the first job may end now")
        files[0].touch()
        print(f"the worker ends with exit code {stopped.wait(30)}: not all that it had taken has ended here")
        tell(first=first, second=second, third=third)

        files[1].touch()
        files[2].touch()
        print(f"another worker comes, and ends with exit code {worker('--burst').wait(30)}")
        tell(first=first, second=second, third=third)

        print("somebody says: seatline jobs resubmit")
        third.resubmit()
        print(f"another worker comes, and ends with exit code {worker('--burst').wait(30)}")
        tell(third=third)


def worker(*options: str) -> subprocess.Popen[bytes]:
    """Start ``seatline worker``; its log is left out here."""
    line = [sys.executable, "-m", "seatline.console.main", "-n", NAMESPACE, "worker", f"{MODULE}:handlers", *options]
    return subprocess.Popen(line, stderr=subprocess.DEVNULL)


def wait_until_running(*handles: JobHandle) -> None:
    end = time.monotonic() + 30
    while any(handle.state() != "running" for handle in handles):
        if time.monotonic() > end:
            raise TimeoutError("the jobs do not start")
        time.sleep(0.05)


def tell(**handles: JobHandle) -> None:
    for name, handle in handles.items():
        record = handle.record()
        counted = f", attempts counted: {record.attempt}" if name == "second" else ""
        print(f"  {name:7} {record.state}{counted}")


if __name__ == "__main__":
    main()
