"""A process from which workers are forked: it has imported what they need, so that a new one costs milliseconds.

``python -m crash.nest`` reads lines of JSON and answers each with one: ``{"run": options, "log": path}`` with the new
worker's pid, ``{"kill": pid}`` with ``true`` once that worker is dead (SIGKILL). At the end of its input it kills all.
It never has a thread, nor a connection; a worker begins its life as if it had been started by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from crash.runner import run

from seatline.shared.scripts import names, script

__all__ = ["Nest"]

TESTS = Path(__file__).parents[1]


class Nest:
    """Starts and kills workers; may be used from several threads."""

    def __init__(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEATLINE_")}
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crash.nest"], env={**inherited, "PYTHONPATH": path}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def start(self, log: Path, **options: Any) -> int:
        """Start a worker (see `runner.run`) that logs to that file; returns its pid."""
        return int(self._ask({"run": options, "log": str(log)}))

    def kill(self, pid: int) -> None:
        """SIGKILL a worker, and return once it is dead. Harmless when it is."""
        self._ask({"kill": pid})

    def _ask(self, what: Mapping[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


# -- in the nest's process


def _fork(options: dict[str, Any], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        with Path(log).open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        run(options)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def _kill(pids: set[int], pid: int) -> bool:
    if pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        pids.discard(pid)
    return True


def _main() -> None:
    pids = set[int]()
    for name in names():
        script(name)  # read now, and not by each worker
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        if "run" in asked:
            answer: int | bool = _fork(asked["run"], asked["log"])
            pids.add(answer)
        else:
            answer = _kill(pids, asked["kill"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in set(pids):
        _kill(pids, pid)


if __name__ == "__main__":
    _main()
