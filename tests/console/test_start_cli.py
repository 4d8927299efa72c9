"""What the command line says of the server at its start (R5), and to a namespace of a newer Seatline (issue 6.9)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.server import RealServer
from redis import Redis

from seatline.shared.keys import SCHEMA
from seatline.shared.store import guard

Cli = Callable[..., Any]
HANDLERS = """
from seatline.worker import Context, Handlers
handlers = Handlers()

@handlers.handler("quick")
def quick(ctx: Context) -> None: ...
"""


def test_r5_a_command_is_quiet_unless_asked(cli: Cli) -> None:
    """R5: with -v it says what could be better; each command would only repeat it."""
    for more, lines in (([], 0), (["-v"], 1)):
        guard._known.clear()
        guard._told.clear()
        assert cli("enqueue", "quick", *more).err.count("no append-only file") == lines


def test_r5_a_worker_says_it(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R5: once, at its start."""
    (tmp_path / "mill_r5.py").write_text(HANDLERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    guard._known.clear()
    guard._told.clear()
    logging.getLogger("seatline.guard").setLevel(logging.NOTSET)
    done = cli("worker", "mill_r5", "--burst")
    assert done.code == 0
    assert done.err.count("no append-only file") == 1


def test_r5_a_worker_is_refused(
    bare_cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    private_server: Callable[..., RealServer],
    namespace: str,
) -> None:
    """R5: by a server that evicts: exit code 69, one line with the ways out."""
    (tmp_path / "mill_r5.py").write_text(HANDLERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    url = private_server(config=["maxmemory 50mb", "maxmemory-policy volatile-ttl"]).url
    done = bare_cli("worker", "mill_r5", "--burst", SEATLINE_URL=url, SEATLINE_NAMESPACE=namespace)
    assert done.code == 69
    assert "SEATLINE_ALLOW_EVICTION=1" in done.err.splitlines()[-1]
    forced = bare_cli(
        "worker", "mill_r5", "--burst", SEATLINE_URL=url, SEATLINE_NAMESPACE=namespace, SEATLINE_ALLOW_EVICTION="1"
    )
    assert forced.code == 0


@pytest.mark.damaged
@pytest.mark.parametrize("command", [["jobs", "list"], ["verify"], ["pools", "list"], ["enqueue", "quick"]])
def test_a_namespace_of_a_newer_layout(cli: Cli, command: list[str], namespace: str, redis: Redis) -> None:
    """Issue 6.9: one line, exit code 69, whether it would read or write."""
    redis.hset(f"{{{namespace}}}:about", "schema", SCHEMA + 1)
    done = cli(*command)
    assert done.code == 69
    assert done.err.startswith(f"seatline: this namespace has key layout {SCHEMA + 1}, newer than {SCHEMA}")
    assert done.err.count("\n") == 1
