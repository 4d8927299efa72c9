"""Run command lines in this process, as `seatline` does in its own."""

from __future__ import annotations

import logging
import os
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
    loggers = [logging.getLogger(), logging.getLogger("seatline")]
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
