"""The server, the workers and the watch of one run, and the promise that none of them is left behind.

The server is private: it lives in the vault's own folder, whatever SEATLINE_ settings the user has. Processes are ended by
their own pids. Each leads a session of its own, so Ctrl-C in the terminal reaches the run alone, which ends the others in
order; and if the run itself is killed, its workers end with it. What was not done then is done by the next run.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from examples.drawing_vault import vault
from examples.drawing_vault.vault import Folders

from seatline.producer import OrderHandle, Queue, Watch
from seatline.shared import embedded

WORKERS: Final = 2
#: Seconds. Shorter than the default of 30, so that you can watch a killed worker's drawings come back.
LEASE: Final = 5.0
#: What runs when it is to end may go on for so many seconds; then it is handed back.
GRACE: Final = 2.0
PATIENCE: Final = 10.0
#: Workers that die by themselves are replaced so often.
REPLACED_MOST: Final = 10
SETTLE: Final = 0.5


class CannotBegin(Exception):
    """The run cannot begin; the text says why, and what to do."""


class Broken(Exception):
    """The run cannot go on; the text says where to look."""


@dataclass(slots=True)
class WorkerProcess:
    """A worker, and which one of the run's it is."""

    number: int
    process: subprocess.Popen[bytes]


class Stage:
    """All that runs beside the main thread: enter it to start everything, leave it to end everything."""

    def __init__(self, folders: Folders, inbox: Path) -> None:
        self.folders, self.inbox = folders, inbox
        self._ending = ExitStack()
        self._workers: list[WorkerProcess] = []
        self._replaced = 0

    def __enter__(self) -> Self:
        with self._ending:  # whatever goes wrong from here on, what was started is ended
            self._lock()
            for name in [name for name in os.environ if name.startswith("SEATLINE_")]:
                del os.environ[name]  # they are meant for other servers
            self.folders.logs.mkdir(exist_ok=True)
            self._ending.callback(embedded.stop, self.folders.server)
            self.server = embedded.ensure(self.folders.server)
            self.queue = self._ending.enter_context(Queue(self.server.url, namespace=vault.NAMESPACE))
            vault.prepare(self.queue)
            self._ending.callback(self._end_workers)
            self._workers = [self._start(number + 1) for number in range(WORKERS)]
            self.watch = self._watch()
            self._ending = self._ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    @property
    def pids(self) -> list[int]:
        """Of the workers."""
        return [worker.process.pid for worker in self._workers]

    def mend(self) -> list[str]:
        """Start another worker for each that has died; returns what is to be said of it.

        Raises:
            Broken: it happens again and again, or the watch has ended.

        """
        if not self._watching.is_alive():
            raise Broken(f"the watch has ended: see {self.folders.logs / 'watch.log'}.")
        told: list[str] = []
        for index, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is None:
                continue
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            self._replaced += 1
            if self._replaced > REPLACED_MOST:
                raise Broken(f"a worker {how}, the {self._replaced}th: see {self.folders.logs}.")
            self._workers[index] = self._start(worker.number)
            told.append(
                f"worker {worker.number} (pid {worker.process.pid}) {how}; what it held runs again within {LEASE * 5 / 3:.0f} s"
            )
        return told

    def _lock(self) -> None:
        lock = self._ending.enter_context((self.folders.home / ".lock").open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotBegin(
                f"another run uses the vault {self.folders.home}. Wait for it, or name another one: --out DIR."
            ) from None

    def _start(self, number: int) -> WorkerProcess:
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]).strip(
                ":"
            ),
            "SEATLINE_URL": self.server.url,
            "SEATLINE_NAMESPACE": vault.NAMESPACE,
            "SEATLINE_LEASE": str(LEASE),
            "SEATLINE_RENEW": str(LEASE / 3),
            "SEATLINE_GRACE": str(GRACE),
            vault.HOME: str(self.folders.home),
        }
        with (self.folders.logs / f"worker-{number}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "examples.drawing_vault.worker"],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return WorkerProcess(number, process)

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            try:
                worker.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            if worker.process.stdin:
                worker.process.stdin.close()

    def _watch(self) -> Watch[OrderHandle]:
        log = logging.getLogger("seatline.producer")
        file = logging.FileHandler(self.folders.logs / "watch.log")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(file)
        log.setLevel(logging.INFO)
        log.propagate = False
        self._ending.callback(file.close)
        watch = Watch(
            self.queue,
            self.inbox,
            chain=vault.RELEASE.name,
            patterns=["*.dxf"],
            priority=vault.BATCH,
            settle=SETTLE,
            memory=self.folders.home / ".watch.db",
        )
        self._watching = threading.Thread(target=watch.run, name="watch")
        self._watching.start()
        self._ending.callback(self._watching.join)
        self._ending.callback(watch.stop)
        return watch
