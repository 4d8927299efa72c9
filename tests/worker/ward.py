"""What the tests of child processes share: children without a server, one job at a time or many, and what became of it."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from seatline.shared.calls.base import Word
from seatline.shared.calls.workers import Report
from seatline.shared.codec import pack_params, pieces, unpack_value
from seatline.shared.errors import SeatlineError
from seatline.worker.children import Children
from seatline.worker.context import Context, Hold
from seatline.worker.handlers import Handlers
from seatline.worker.timers import Timers

__all__ = ["Run", "Ward", "alive", "daemonize", "hang_in_c"]


class Run:
    """One attempt: begun in a thread of its own, as in a slot."""

    def __init__(
        self, ward: Ward, type_: str, params: Mapping[str, Any], fields: Mapping[str, Word], attempt: int
    ) -> None:
        flat: list[bytes] = []
        record: dict[str, Word] = {"type": type_, "state": "running", "priority": 10, **fields}
        for name, value in record.items():
            flat += (name.encode(), value if isinstance(value, bytes) else str(value).encode())
        packed = pieces("params", pack_params(params))
        flat += [word if isinstance(word, bytes) else word.encode() for word in packed]
        self.notes: list[tuple[dict[str, Word], str]] = []
        self.events: list[str] = []
        self.seconds = 0.0
        self._report: Report | None = None
        self._heard = threading.Condition()
        self.hold = Hold(f"{next(ward.numbers):016}", "w1:1", "w1")
        self.hold.told, self.hold.events = self._note, self._event
        handler = ward.handlers[type_]
        ctx = Context(self.hold, type_, attempt, flat)
        fields_ = dict(zip(flat[::2], flat[1::2], strict=True))
        self._call: Callable[[], Report] = lambda: ward.children.run(handler, self.hold, ctx, fields_, flat)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def begin(self) -> Self:
        self._thread.start()
        return self

    def until(self, line: str, seconds: float = 10) -> Self:
        """Wait for a line of its log."""
        with self._heard:
            assert self._heard.wait_for(lambda: line in self.log or self._report, seconds), (line, self.notes)
        assert line in self.log, (line, self.log, self._report)
        return self

    def end(self, seconds: float = 20) -> Self:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"no report after {seconds} s; {self.notes}"
        return self

    @property
    def report(self) -> Report:
        assert self._report is not None
        return self._report

    @property
    def outcome(self) -> str:
        return self.report.outcome

    @property
    def result(self) -> Any:
        return unpack_value(self.report.result) if self.report.result else None

    @property
    def error(self) -> tuple[str, str]:
        assert self.report.error is not None, self.report
        return self.report.error

    @property
    def field(self) -> dict[Any, Any]:
        words = self.report.fields
        return dict(zip(words[::2], words[1::2], strict=True))

    @property
    def log(self) -> list[str]:
        return [line for _, line in self.notes if line]

    def _work(self) -> None:
        begun = time.monotonic()
        report = self._call()
        self.seconds = time.monotonic() - begun
        with self._heard:
            self._report = report
            self._heard.notify_all()

    def _note(self, hold: Hold, fields: Mapping[str, Word], line: str) -> None:
        assert hold is self.hold
        with self._heard:
            self.notes.append((dict(fields), line))
            self._heard.notify_all()

    def _event(self, name: str, detail: str) -> None:
        self.events.append(f"{name} {detail}".strip())


class Ward:
    """Children of this process for some handlers; leaving the context ends them all."""

    def __init__(self, handlers: Handlers, **options: Any) -> None:
        self.handlers = handlers
        self.numbers = itertools.count(1)
        self.broken: list[SeatlineError] = []
        self.timers = Timers("test-timers")
        options = {"kill_after": 0.4, "cancel_after": 0.4, "broken": self.broken.append, **options}
        self.children = Children(handlers, "w1", self.timers, **options)

    def __enter__(self) -> Self:
        self.children.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.children.close()
        self.timers.close()

    @property
    def nursery(self) -> int:
        return self.children._nursery

    def begin(self, type_: str, params: Mapping[str, Any] | None = None, *, attempt: int = 1, **fields: Word) -> Run:
        return Run(self, type_, params or {}, fields, attempt).begin()

    def run(self, type_: str, params: Mapping[str, Any] | None = None, *, attempt: int = 1, **fields: Word) -> Run:
        return self.begin(type_, params, attempt=attempt, **fields).end()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def hang_in_c() -> None:
    """Wait for a lock for ever, in C, with the GIL held, deaf to every signal but SIGKILL."""
    import ctypes

    lock = ctypes.create_string_buffer(64)
    take: Callable[[Any], int] = ctypes.PyDLL(None).pthread_mutex_lock
    take(lock)
    take(lock)


def daemonize(path: str) -> None:
    """Leave a process behind that has left session and group, whose parent has ended; its pid is in ``path``."""
    if (pid := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            Path(path).write_text(str(os.getpid()))
            time.sleep(1000)
        os._exit(0)
    os.waitpid(pid, 0)
