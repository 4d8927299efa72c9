"""A real bash completes command lines: commands, names and ids from the server; silently none if it does not answer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.server import RealServer

from seatline.producer import Chain, Queue, Step
from seatline.shared.keys import STATES

#: Each line of the answer: the words that fit at the end of one command line.
BASH = r"""
eval "$(_SEATLINE_COMPLETE=bash_source seatline)"
complete -p seatline >&2
for line in "$@"; do
  read -ra COMP_WORDS <<< "$line"
  [[ "$line" == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
  COMPREPLY=()
  _seatline_completion seatline
  echo "${COMPREPLY[*]}"
done
"""
Complete = Callable[..., list[list[str]]]


@pytest.fixture
def complete(server: RealServer, namespace: str, tmp_path: Path) -> Complete:
    """Complete several command lines in one bash, with `seatline` on its path."""
    bash = shutil.which("bash")
    assert bash, "these tests need bash 4.4 or newer"
    program = tmp_path / "bin" / "seatline"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m seatline.console.main "$@"\n')
    program.chmod(0o755)

    def run(*lines: str, **environ: str) -> list[list[str]]:
        inherited = {name: os.environ[name] for name in ("HOME", "LANG", "PYTHONPATH") if name in os.environ}
        done = subprocess.run(
            [bash, "-c", BASH, "bash", *lines],
            env={
                **inherited,
                "PATH": f"{program.parent}:{os.environ['PATH']}",
                "SEATLINE_URL": server.url,
                "SEATLINE_NAMESPACE": namespace,
                **environ,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr.splitlines() == ["complete -o nosort -F _seatline_completion seatline"]
        return [line.split() for line in done.stdout.split("\n")[:-1]]

    return run


def test_bash_completes_what_the_server_knows(
    complete: Complete, server: RealServer, namespace: str, new_namespace: Callable[[], str]
) -> None:
    """Commands and options; names of types, pools, chains; ids; what was typed already is not offered again."""
    other = new_namespace()
    with Queue(server.url, namespace=namespace) as queue, Queue(server.url, namespace=other) as elsewhere:
        queue.pools.set("vault", 3)
        queue.define(Chain("release", [Step("check", "drawing.check")]))
        for type_ in ("drawing.publish", "report.daily"):
            queue.enqueue(type_)
        queue.start("release", id="eco-7")
        elsewhere.pools.set("solver", 1)
    told = complete(
        "seatline po",
        "seatline jobs why --ty",
        "seatline pools show ",
        "seatline types pause report.daily ",
        "seatline jobs list --type d",
        "seatline jobs why ",
        "seatline orders why e",
        "seatline orders start ",
        "seatline jobs list --state ",
        f"seatline pools -n {other} show ",
        "seatline workers stop ",
        "seatline jobs list -o ",
    )
    assert told == [
        ["pools"],
        ["--type"],
        ["vault"],
        ["drawing.check", "drawing.publish"],
        ["drawing.check", "drawing.publish"],
        ["1", "2", "4"],
        ["eco-7"],
        ["release"],
        [*STATES],
        ["solver"],
        [],
        ["table", "json", "ndjson"],
    ]


def test_a_server_that_is_away_or_silent_completes_nothing(complete: Complete, tmp_path: Path) -> None:
    """No word on the terminal, and no server is started for it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert complete("seatline pools show ", SEATLINE_URL=f"redis://127.0.0.1:{port}/0") == [[]]
    assert complete("seatline pools show ", "seatline po", SEATLINE_URL="nonsense") == [[], ["pools"]]
    home = tmp_path / "home"
    home.mkdir()
    alone = {"SEATLINE_URL": "", "HOME": str(home), "XDG_STATE_HOME": str(home)}
    assert complete("seatline types show ", **alone) == [[]]
    assert not list(home.rglob("*"))


@pytest.mark.parametrize(("shell", "first"), [("zsh", "#compdef seatline"), ("fish", "function _seatline_completion;")])
def test_other_shells_are_told_what_to_do(shell: str, first: str) -> None:
    """What zsh and fish evaluate; then they ask as bash does."""
    done = subprocess.run(
        [sys.executable, "-m", "seatline.console.main"],
        env={**os.environ, "_SEATLINE_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(first)
    assert f"_SEATLINE_COMPLETE={shell}_complete" in done.stdout
