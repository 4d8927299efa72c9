"""Run command lines in this process, as `seatline` does in its own."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from harness.server import RealServer

from seatline.console.main import main


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Cli = Callable[..., Done]


@pytest.fixture
def bare_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Run a command line with these SEATLINE_ variables and no others."""
    loggers = [logging.getLogger(), logging.getLogger("seatline"), logging.getLogger("seatline.guard")]
    before = [(log, list(log.handlers), log.level, log.propagate) for log in loggers]

    def run(*words: str, **environ: str) -> Done:
        for name in [name for name in os.environ if name.startswith("SEATLINE_")]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(words)
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Done(end.value.code, out, err)

    yield run
    for log, handlers, level, propagate in before:
        log.handlers[:] = handlers
        log.setLevel(level)
        log.propagate = propagate


@pytest.fixture
def cli(bare_cli: Cli, server: RealServer, namespace: str) -> Cli:
    """Run a command line on the test's own namespace."""
    return lambda *words, **environ: bare_cli(
        *words, **{"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace, "TZ": "UTC", **environ}
    )


@pytest.fixture
def screen(server: RealServer, namespace: str) -> Callable[..., Done]:
    """Run a command line in a process of its own, on a terminal of so many columns; ``out`` is all that it shows."""

    def run(columns: int, *words: str) -> Done:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        child = subprocess.Popen(
            [sys.executable, "-m", "seatline.console.main", *words],
            env={
                **inherited,
                "TERM": "xterm",
                "TZ": "UTC",
                "SEATLINE_URL": server.url,
                "SEATLINE_NAMESPACE": namespace,
            },
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(ours)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))
        return Done(child.wait(20), text.replace("\r\n", "\n"), "")

    return run
