"""The root of the command line: help, slips, errors as one line, exit codes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from seatline.console import main as console
from seatline.console.main import SECTIONS, seatline
from seatline.shared import errors
from seatline.shared.errors import SeatlineError

Cli = Callable[..., Any]
COMMANDS = {name: where for section in SECTIONS.values() for name, where in section.items()}


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    paths = [path] if path else []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        paths += every_command(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return paths


@pytest.mark.parametrize("words", every_command(seatline), ids=" ".join)
def test_every_help_has_an_example(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(seatline, [*words, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Example" in shown.output
    assert f"Usage: seatline {' '.join(words)}".split() == shown.output.split()[: len(words) + 2]


def test_the_list_of_commands_says_what_they_say() -> None:
    for name, (where, line) in COMMANDS.items():
        module, _, attribute = where.partition(":")
        command: click.Command = getattr(import_module(f"seatline.console.{module}"), attribute)
        assert command.name == name
        assert command.get_short_help_str(200) == line


def test_help_is_quick_and_imports_no_client() -> None:
    code = (
        "import sys; from seatline.console.main import main; sys.argv=['seatline','--help']\ntry: main()\nfinally: "
        "print([n for n in ('redis','rich','msgpack','seatline.producer','asyncio') if n in sys.modules], file=sys.stderr)"
    )
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # What it computes: it waits for nothing but its turn, of which other tests take their part.
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert shown.stderr == "[]\n"
        assert shown.stdout.startswith("Usage: seatline")
    assert min(took) < 0.15, took


def test_version(bare_cli: Cli) -> None:
    assert bare_cli("--version").out == f"seatline {version('seatline')}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["jbos"], "there is no command 'jbos'; did you mean 'jobs'? See `seatline --help`."),
        (["xyzzy"], "there is no command 'xyzzy'. See `seatline --help`."),
        (["jobs", "cancle", "1"], "there is no command 'cancle'; did you mean 'cancel'? See `seatline jobs --help`."),
        (["jobs", "lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["jobs", "result", "1"], "there is no command 'result'. See `seatline jobs --help`."),
        (["jobs", "remoev", "1"], "there is no command 'remoev'; did you mean 'remove'?"),
        (["types", "pouse", "t"], "there is no command 'pouse'; did you mean 'pause'?"),
        (["types", "resum"], "there is no command 'resum'; did you mean 'resume'?"),
        (["jobs", "reset", "1"], "there is no command 'reset'. See"),
        (["jobs", "list", "--wrong"], "No such option '--wrong'. See `seatline jobs list --help`."),
        (["enqueue"], "Missing argument 'TYPE'. See `seatline enqueue --help`."),
        (["jobs", "cancel"], "give job ids, or filters such as --state, or --all."),
        (["jobs", "cancel", "4x"], "id: '4x' is not a job id. Use its number, such as 42."),
        (["jobs", "list", "-o", "xml"], "Invalid value for '-o' / '--output'"),
        (["jobs", "list", "--limit", "-1"], "Invalid value for '--limit'"),
        (["-n", "bad name", "jobs", "list"], "namespace: 'bad name' is not a name."),
        (["-u", "http://x", "jobs", "list"], "url: 'http://x' must begin with redis://, rediss:// or unix://."),
        (["enqueue", "a", "b"], "'b' is neither name=value nor name:=JSON"),
        (["enqueue", "a", "b:=[1"], "Invalid value for b: not JSON"),
        (["enqueue", "a", "--delay", "soon"], "Invalid value for '--delay': 'soon' is not a duration; use 30s"),
        (["enqueue", "a", "--at", "noon"], "Invalid value for '--at': 'noon' is not a moment"),
        (["enqueue", "a", "--uses", "vault=x"], "Invalid value for --uses: 'vault=x' is not POOL=SEATS"),
        (["enqueue", "a", "--timeout", "3"], "--timeout is of use with --wait only"),
        (["enqueue", "a", "--priority", "0"], "priority: 0 is not allowed."),
        (["enqueue", "a b"], "type: 'a b' is not a name."),
        (["types", "pause"], "name types, or give --all, not both"),
        (["pools", "set", "vault", "many"], "Invalid value for 'CAPACITY'"),
        (["pools", "set", "vault", "3", "--keep", "1"], "--keep N and --for PRIORITY go together"),
        (["scripts", "show", "nope"], "there is no script 'nope'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nonsense_is_one_line_and_exit_code_2(cli: Cli, words: list[str], said: str) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"seatline: {said}"), done.err
    assert done.err.count("\n") == 1


def test_a_noun_alone_shows_its_help(bare_cli: Cli) -> None:
    done = bare_cli("jobs")
    assert done.code == 2
    assert "resubmit" in done.err


def every_error() -> list[type[SeatlineError]]:
    return [getattr(errors, name) for name in errors.__all__ if name != "PartialEnqueue"]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: str(kind.__name__))
def test_each_error_is_one_line_and_its_exit_code(
    bare_cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: type[SeatlineError]
) -> None:
    def fail(**_: object) -> None:
        raise kind

    monkeypatch.setattr(console.seatline, "main", fail)
    done = bare_cli("jobs")
    assert (done.code, done.out) == (kind.exit_code, "")
    assert done.err.startswith("seatline: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TimeoutError("job 1 has not ended."), 124, "job 1 has not ended."),
        (KeyboardInterrupt(), 130, "interrupted."),
        (click.Abort(), 130, "interrupted."),
        (FileNotFoundError(2, "No such file or directory", "x.json"), 1, "No such file or directory: x.json."),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero This is a bug"),
    ],
)
def test_other_ends(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(console.seatline, "main", fail)
    done = bare_cli("jobs")
    assert done.code == code
    assert done.err.startswith(f"seatline: {said}")
    assert done.err.count("\n") == 1


def test_tracebacks_only_for_who_asks_twice(cli: Cli) -> None:
    assert "Traceback" not in cli("jobs", "show", "1").err
    assert "Traceback" not in cli("jobs", "show", "1", "-v").err
    assert "Traceback" in cli("jobs", "show", "1", "-vv").err
    assert "Traceback" in cli("-vv", "jobs", "show", "1").err


def test_shared_options_may_stand_anywhere(bare_cli: Cli, server: Any, namespace: str) -> None:
    ids = [
        bare_cli("-u", server.url, "-n", namespace, "enqueue", "a").out,
        bare_cli("enqueue", "a", "-u", server.url, "-n", namespace).out,
        bare_cli("enqueue", "-n", namespace, "a", SEATLINE_URL=server.url).out,
    ]
    assert ids == ["1\n", "2\n", "3\n"]
    shown = bare_cli("jobs", "-n", namespace, "list", "-o", "json", SEATLINE_URL=server.url, SEATLINE_NAMESPACE="other")
    assert len(json.loads(shown.out)) == 3


def test_q18_a_password_on_the_command_line_is_refused(bare_cli: Cli) -> None:
    """Q18: other users could read it there, for as long as the process lives."""
    for url in ("redis://:sesame@127.0.0.1:1/0", "unix:///nowhere?password=sesame"):
        done = bare_cli("-u", url, "jobs", "list", SEATLINE_DEADLINE="0")
        assert done.err.startswith(
            "seatline: --url: other users of this machine can read a password on a command line."
        )
        assert done.code == 2
        assert "sesame" not in done.err


def test_a_reader_that_goes_away_is_no_error(server: Any, namespace: str) -> None:
    code = (
        "import sys; from seatline.console.main import main\nsys.argv = ['seatline', 'scripts', 'show', 'turn']\nmain()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        child.stdout.close()
        assert child.stderr
        assert child.stderr.read() == ""
        assert child.wait(20) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_that_cannot_be_printed_keeps_its_exit_code() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>/dev/full', "sh", sys.executable, "-m", "seatline.console.main", "enqueue"],
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 2


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "seatline.console.main", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith("seatline ")
