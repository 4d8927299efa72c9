"""Commands as handlers (C18): what a program is given, what becomes of what it prints, and how its end is read."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from harness.processes import no_child_left
from harness.waiting import wait_until
from worker.ward import Run, Ward, alive

from seatline.shared.codec import unpack_value
from seatline.shared.errors import InvalidInput
from seatline.worker.handlers import Handlers
from seatline.worker.outcomes import Retry
from seatline.worker.printed import AT_ONCE, LINE_MOST, Lines
from seatline.worker.sessions import Session
from seatline.worker.shell import Command, ExitCode

Shell = Callable[..., Run]
DUMP = [
    sys.executable,
    "-c",
    "import json, os, sys; print('seatline:result', json.dumps([sys.argv[1:], dict(os.environ)]))",
]


@pytest.fixture
def ward() -> Iterator[Callable[..., Ward]]:
    """Make children for some handlers; in the end no process may be left."""
    with no_child_left():
        made: list[Ward] = []

        def make(handlers: Handlers, **options: Any) -> Ward:
            made.append(Ward(handlers, **options).__enter__())
            return made[-1]

        yield make
        for each in made:
            each.__exit__()


@pytest.fixture
def shell(ward: Callable[..., Ward]) -> Shell:
    """Run one command, with some params; ``begin=True``: only begin it."""

    def run(
        command: list[str],
        params: dict[str, Any] | None = None,
        *,
        begin: bool = False,
        fields: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        **declared: Any,
    ) -> Run:
        handlers = Handlers()
        handlers.shell("run", command, timeout=9, **declared)
        begun = ward(handlers, **(options or {})).begin("run", params, **(fields or {}))
        return begun if begin else begun.end()

    return run


def python(code: str) -> list[str]:
    """Return the command of a program in Python; braces are for it, not for us."""
    return [sys.executable, "-uc", code.replace("{", "{{").replace("}", "}}")]


# -- what it is given


def test_c18_params_are_arguments_never_shell_text(shell: Shell) -> None:
    """C18: each placeholder stays within its argument, whatever the text; other values are JSON."""
    evil = "a b; touch /tmp/x $(id) `id` \"'\n*"
    run = shell(
        [*DUMP, "{text}", "--n={number}", "{flag}{list}", "{{text}}", "plain", "{none}", ""],
        {"text": evil, "number": 1.5, "flag": True, "list": [1, {"a": None}], "none": None},
    )
    assert run.outcome == "succeeded", run.report
    assert run.result[0] == [evil, "--n=1.5", 'true[1, {"a": null}]', "{text}", "plain", "null", ""]


def test_c18_params_and_the_job_are_in_the_environment(shell: Shell) -> None:
    """C18: PARAM_<NAME>, SEATLINE_*; values that JSON lacks as their usual text."""
    params = {
        "text": "ä b",
        "some-name": 7,
        "größe": [1],
        "when": dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC),
        "cost": Decimal("1.10"),
        "id": UUID(int=5),
        "raw": b"\xffa",
        "set": {2, 1},
        "pair": (1, "x"),
        "span": dt.timedelta(minutes=1),
    }
    run = shell(DUMP, params, env={"EXTRA": "1", "PATH": os.environ["PATH"]}, fields={"tenant": "Lyon"})
    env = run.result[1]
    assert {
        name: env[name] for name in env if name.startswith(("PARAM_", "SEATLINE_")) and name != "SEATLINE_PARAMS"
    } == {
        "PARAM_TEXT": "ä b",
        "PARAM_SOME_NAME": "7",
        "PARAM_GR__E": "[1]",
        "PARAM_WHEN": "2026-01-02T03:04:00+00:00",
        "PARAM_COST": "1.10",
        "PARAM_ID": str(UUID(int=5)),
        "PARAM_RAW": "\\xffa",
        "PARAM_SET": "[1, 2]",
        "PARAM_PAIR": '[1, "x"]',
        "PARAM_SPAN": "60.0",
        "SEATLINE_JOB": run.hold.id,
        "SEATLINE_TYPE": "run",
        "SEATLINE_ATTEMPT": "1",
        "SEATLINE_TENANT": "Lyon",
        "SEATLINE_EMBEDDED": "never",
    }
    assert json.loads(env["SEATLINE_PARAMS"])["pair"] == [1, "x"]
    assert env["EXTRA"] == "1"


def test_c18_a_command_gets_no_secret_of_the_worker(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """C18, F19: no SEATLINE_URL, SEATLINE_... of the worker; all else of its environment."""
    monkeypatch.setenv("SEATLINE_URL", "redis://:canary@h")
    monkeypatch.setenv("SEATLINE_LEASE", "canary")
    monkeypatch.setenv("OTHER", "kept")
    env = shell(DUMP).result[1]
    assert "canary" not in str(env)
    assert env["OTHER"] == "kept"


def test_c18_a_command_gets_what_its_login_yielded(ward: Callable[..., Ward]) -> None:
    """C18, C10: text as it is, plain data as JSON, a client object not at all; logged out after its end."""
    handlers, ends = Handlers(), dict[str, Any](text="ticket 5", data={"seat": 1}, client=object())

    def login(pool: str) -> None:
        @handlers.login(pool)
        @contextmanager
        def session(_: Session) -> Iterator[Any]:
            yield ends[pool]

    for pool in ends:
        login(pool)
    handlers.shell("run", DUMP, uses=dict.fromkeys([*ends, "bare"], 1))
    run = ward(handlers).run("run")
    sessions = {name: value for name, value in run.result[1].items() if name.startswith("SEATLINE_SESSION_")}
    assert sessions == {"SEATLINE_SESSION_TEXT": "ticket 5", "SEATLINE_SESSION_DATA": '{"seat": 1}'}
    assert run.events[-1] == "session-close bare"


def test_c18_a_command_runs_in_its_folder_with_empty_input(shell: Shell, tmp_path: Path) -> None:
    """C18: cwd; nobody types."""
    code = "import os, sys, json; print('seatline:result', json.dumps([os.getcwd(), sys.stdin.read()]))"
    assert shell(python(code), cwd=tmp_path).result == [str(tmp_path), ""]


def test_c18_what_does_not_fit_into_an_environment(shell: Shell) -> None:
    """C18: a variable beyond the kernel's limit is left out, and said; an argument beyond it fails the job."""
    run = shell(DUMP, {"big": "x" * 200_000, "small": "y"})
    assert run.outcome == "succeeded"
    assert [line.split(" is left out")[0] for line in run.log] == ["PARAM_BIG", "SEATLINE_PARAMS"]
    assert run.result[1]["PARAM_SMALL"] == "y"
    assert shell([*DUMP, "{big}"], {"big": "x" * 200_000}).error[0] == "BadParams"
    assert shell([*DUMP, "{text}"], {"text": "a\0b"}).error == (
        "BadParams",
        "text: holds a NUL character, which no argument can",
    )
    assert "PARAM_TEXT holds a NUL" in shell(DUMP, {"text": "a\0b"}).error[1]
    assert shell([*DUMP, "{text}"], {}).error[0] == "BadParams"


# -- how its end is read


def test_c18_exit_codes(shell: Shell) -> None:
    """C18: 0 succeeded, a listed one skipped, others failed with the last lines of standard error; by the retry rule."""
    assert (shell(["true"]).outcome, shell(["true"]).result) == ("succeeded", None)
    skipped = shell(["sh", "-c", "exit 7"], skip_codes=[7])
    assert (skipped.outcome, skipped.field) == ("skipped", {"reason": "exit code 7"})
    failed = shell(
        python("import sys; [print('line', n, file=sys.stderr) for n in range(99)]; print('out'); sys.exit(3)")
    )
    assert failed.error[0] == "ExitCode"
    first, *lines = failed.error[1].splitlines()
    assert (first, lines) == ("exit code 3: line 98", ["stderr ended:", *(f"line {n}" for n in range(89, 99))])
    retried = shell(["false"], retry=Retry(attempts=2, only=ExitCode))
    assert (retried.outcome, retried.error) == ("retry", ("ExitCode", "exit code 1"))


def test_c18_a_command_that_crashes(shell: Shell) -> None:
    """C18, C12: its signal is told; only the command died, its child did not."""
    run = shell(["sh", "-c", "kill -SEGV $$"])
    assert (run.outcome, run.error) == ("failed", ("ExitCode", "killed by SIGSEGV"))


def test_c18_a_command_that_cannot_be_started(shell: Shell, tmp_path: Path) -> None:
    """C18: named, with where it was looked for."""
    assert "'no-such-program' cannot be found in PATH (" in shell(["no-such-program"]).error[1]
    assert f"'./no-such' cannot be found in {tmp_path}" in shell(["./no-such"], cwd=tmp_path).error[1]
    assert "does not exist" in shell(["true"], cwd=tmp_path / "gone").error[1]
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    assert "cannot be started: Exec format error" in shell([str(tmp_path / "text")]).error[1]
    (tmp_path / "text").chmod(0o644)
    assert shell([str(tmp_path / "text")]).error[0] == "PermissionError"


# -- what it prints


def test_c18_output_is_logged_line_by_line(shell: Shell) -> None:
    """C18: as it comes, both streams, also binary, also the last line without an end; a progress bar is one line."""
    run = shell(
        python(
            "import sys, time; o = sys.stdout.buffer; o.write(b'one\\r\\n\\xff\\x00two\\n1%\\r2%\\r100%\\n\\nthr'); o.flush();"
            "time.sleep(.3); o.write(b'ee\\nlast'); print('error', file=sys.stderr)"
        ),
        begin=True,
    )
    run.until("100%")
    assert run.end().outcome == "succeeded"
    assert [line for line in run.log if line != "error"] == ["one", "\ufffd two", "100%", " ", "three", "last"]
    assert "error" in run.log


def test_c18_words_on_standard_output(shell: Shell) -> None:
    """C18: progress, result, enqueue; not logged. The last result counts."""
    words = [
        "progress 3 10 sheet 3",
        "progress 4",
        "progress 5 loading fonts",
        "progress 0.5 1e1",
        'result {"a": [1, null]}',
        'result {"a": [2, null]}',
        'enqueue {"type": "mail", "params": {"to": "x"}, "priority": 3, "at": "2040-01-01T00:00:00+00:00", "tags": ["t"]}',
    ]
    run = shell(python(f"for word in {words!r}: print('seatline:' + word)"))
    assert run.log == []
    assert run.result == {"a": [2, None]}
    assert run.notes[-1][0] == {"progress": "0.5/10"}
    (job,) = run.report.jobs
    assert {"mail", "priority", "3"} <= set(job)
    assert unpack_value(job[job.index("params") + 1]) == {"to": "x"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("progress 3 10 sheet 3", "3/10 sheet 3"),
        ("progress 4", "4"),
        ("progress 5 loading fonts", "5 loading fonts"),
        ("progress .5 10.", "0.5/10"),
    ],
)
def test_c18_progress(shell: Shell, word: str, shown: str) -> None:
    """C18, C17: a total and a text may be left out."""
    run = shell(["echo", f"seatline:{word}"])
    assert run.notes == [({"progress": shown}, "")]


def test_c18_a_command_may_ask_to_be_skipped(shell: Shell) -> None:
    """C18, Q21: if it ends well; what it enqueued is enqueued."""
    code = 'print("seatline:skip newer version there"); print(\'seatline:enqueue {"type": "mail"}\')'
    run = shell(python(code))
    assert (run.outcome, run.field, len(run.report.jobs)) == ("skipped", {"reason": "newer version there"}, 1)
    assert shell(["sh", "-c", "echo seatline:skip x; exit 1"]).error == ("ExitCode", "exit code 1")


@pytest.mark.parametrize(
    ("line", "why", "outcome"),
    [
        ("seatline:progress much", "write seatline:progress DONE [TOTAL] [TEXT]", "succeeded"),
        ("seatline:progress", "write seatline:progress DONE [TOTAL] [TEXT]", "succeeded"),
        ("seatline:progress nan", "write seatline:progress DONE [TOTAL] [TEXT]", "succeeded"),
        ("seatline:finish", "the words are progress, result, enqueue, emit, skip", "succeeded"),
        ("seatline:", "the words are progress, result, enqueue, emit, skip", "succeeded"),
        ("seatline:result {", "Expecting", "failed"),
        ("seatline:result " + "[" * 100_000, "recursion", "failed"),
        ("seatline:enqueue []", 'write seatline:enqueue {"type": ', "failed"),
        ('seatline:enqueue {"type": "a", "colour": 1}', "colour", "failed"),
        ('seatline:enqueue {"type": "a", "priority": 0}', "priority", "failed"),
        ('seatline:enqueue {"type": "a", "at": "soon"}', "soon", "failed"),
    ],
)
def test_c18_a_word_that_is_none_is_logged_with_the_reason(shell: Shell, line: str, why: str, outcome: str) -> None:
    """C18: a result or a job that was asked for in vain also fails the attempt, rather than be lost in silence."""
    run = shell(["printf", "%s\\n", line.replace("{", "{{").replace("}", "}}")])
    assert run.outcome == outcome
    assert why in run.log[1]
    if outcome == "failed":
        assert run.error[0] == "InvalidInput"
        assert why in run.error[1]


def test_c18_words_are_for_standard_output_only(shell: Shell) -> None:
    """C18: what others print to standard error is not for us."""
    run = shell(["sh", "-c", "echo seatline:result 1 >&2; echo ' seatline:result 1'"])
    assert run.result is None
    assert sorted(run.log) == [" seatline:result 1", "seatline:result 1"]


def test_c18_memory_is_bounded_whatever_it_prints(shell: Shell) -> None:
    """C18: 300,000 lines, then 60 MB without a line end: the child stays small, the newest lines are kept."""
    code = (
        "import os, sys; o = sys.stdout.buffer; [o.write(b'line %d\\n' % n) for n in range(300000)];"
        "[o.write(b'x' * 1000000) for _ in range(60)]; o.write(b'\\n'); o.flush();"
        "status = open(f'/proc/{os.getppid()}/status').read();"
        "print('seatline:result', status.partition('VmHWM:')[2].split()[0])"
    )
    before = shell(python(code.replace("range(60)", "range(0)").replace("range(300000)", "range(0)"))).result
    run = shell(python(code))
    assert run.outcome == "succeeded", run.report
    assert int(run.result) - int(before) < 20_000  # KiB
    assert run.log[-1].startswith("xxx")
    assert run.log[-1].endswith(" ... (59998100 bytes cut)")
    assert run.log[-2] == "line 299999"
    assert any("lines cut here" in line for line in run.log)


def test_c18_output_that_never_stops_starves_nothing(shell: Shell) -> None:
    """C18, Q23: a cancel is heard at once between its lines."""
    run = shell(["yes"], begin=True, options={"kill_after": 30.0}).until("y")
    said = time.monotonic()
    run.hold.say("cancel")
    assert run.end().outcome == "cancelled"
    assert time.monotonic() - said < 5


# -- stops


@pytest.mark.parametrize(("why", "outcome"), [("late", "failed"), ("left", "abandoned"), ("cancel", "cancelled")])
def test_c18_a_stop_is_a_sigterm_to_the_command(shell: Shell, why: str, outcome: str) -> None:
    """C15, C18: at once, also for a cancel; it may end in its own way, and its last lines are logged."""
    code = python(
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('cleaned'), sys.exit(0)));"
        "print('ready'); time.sleep(60)"
    )
    run = shell(code, begin=True, options={"kill_after": 30.0, "cancel_after": 30.0}).until("ready")
    run.hold.say(why)
    assert run.end().outcome == outcome
    assert run.log == ["ready", "cleaned"]
    assert run.seconds < 10


@pytest.mark.parametrize(("why", "outcome"), [("late", "failed"), ("fenced", "abandoned"), ("cancel", "cancelled")])
def test_c18_a_deaf_command_is_killed_with_all_its_processes(
    shell: Shell, tmp_path: Path, why: str, outcome: str
) -> None:
    """C15, F12: the whole group, and what has left it."""
    path = tmp_path / "pids"
    script = (
        f"trap '' TERM; sleep 1000 & echo $! > {path}; setsid sleep 1000 & echo $! >> {path}; echo ready; wait; wait"
    )
    run = shell(["sh", "-c", script], begin=True).until("ready")
    run.hold.say(why)
    assert run.end().outcome == outcome
    assert run.seconds < 8
    if why == "late":
        assert run.error[0] == "Timeout"
    pids = [int(word) for word in path.read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: not [pid for pid in pids if alive(pid)])


def test_f12_what_a_command_leaves_running_is_killed(shell: Shell, tmp_path: Path) -> None:
    """F12, C18: it keeps the output open and prints for ever; the job has ended with the command."""
    path = tmp_path / "pid"
    run = shell(["sh", "-c", f"yes & sleep 1000 & echo $! > {path}; echo ready"])
    assert run.outcome == "succeeded"
    assert run.log[-1].startswith("left running: ")  # the one that prints may have met a closed pipe before
    assert not alive(int(path.read_text()))


def test_f17_a_command_dies_with_its_child(ward: Callable[..., Ward], tmp_path: Path) -> None:
    """F17, C12: the child is killed; so is the command, and the job says how its process ended."""
    handlers, path = Handlers(), tmp_path / "pid"
    handlers.shell("run", ["sh", "-c", f"echo $$ > {path}; echo ready; exec sleep 1000"])
    made = ward(handlers)
    run = made.begin("run").until("ready")
    os.kill(made.children.pids[0], signal.SIGKILL)
    assert run.end().error[0] == "HandlerDied"
    assert not alive(int(path.read_text()))


def test_f17_a_command_dies_with_the_nursery(ward: Callable[..., Ward], tmp_path: Path) -> None:
    """F17: the kernel kills the child, and the command with it."""
    handlers, path = Handlers(), tmp_path / "pid"
    handlers.shell("run", ["sh", "-c", f"echo $$ > {path}; echo ready; exec sleep 1000"])
    made = ward(handlers)
    run = made.begin("run").until("ready")
    os.kill(made.nursery, signal.SIGKILL)
    assert run.end().outcome == "abandoned"
    wait_until(lambda: not alive(int(path.read_text())), 2)


def test_c18_the_child_of_a_command_is_used_again(ward: Callable[..., Ward]) -> None:
    """C18: after success, failure, crash and stop."""
    handlers = Handlers()
    handlers.handler("pid", isolation="process")(lambda _: os.getpid())
    for name in ("true", "false"):
        handlers.shell(name, [name])
    handlers.shell("sleep", ["sh", "-c", "echo ready; exec sleep 60"])
    made = ward(handlers)
    child = made.run("pid").result
    assert [made.run(name).outcome for name in ("true", "false")] == ["succeeded", "failed"]
    run = made.begin("sleep").until("ready")
    run.hold.say("late")
    assert run.end().error[0] == "Timeout"
    assert made.run("pid").result == child


# -- its declaration


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ls -l",), "Give a list"),
        (([],), "it is empty"),
        (([""],), "the name of the program is empty"),
        ((["ls", 5],), r"command\[1\]: 5 is not text"),
        ((["ls", "a\0"],), "NUL"),
        ((["{program}"],), "a param may not choose the program"),
        ((["ls", "{"],), "Write {{ and }}"),
        ((["ls", "{}"],), "the plain name of a param"),
        ((["ls", "{a.b}"],), "the plain name of a param"),
        ((["ls", "{a!r}"],), "the plain name of a param"),
        ((["ls", "{a:5}"],), "the plain name of a param"),
        ((["ls"], [0]), "skip_codes: 0"),
        ((["ls"], ["1"]), "skip_codes: '1'"),
        ((["ls"], [True]), "skip_codes: True"),
        ((["ls"], (), {"A": 1}), "env: 'A'=1"),
        ((["ls"], (), {"A=B": "1"}), "env: 'A=B'"),
        ((["ls"], (), {"A": "\0"}), "NUL"),
        ((["ls"], (), None, 5), "cwd: 5"),
    ],
)
def test_c18_a_command_is_checked_when_it_is_declared(arguments: tuple[Any, ...], said: str) -> None:
    """C18, R4."""
    with pytest.raises(InvalidInput, match=said):
        Command(*arguments)


def test_c18_placeholders_are_required_params() -> None:
    """C18: a job without them fails before anything runs."""
    assert Command(["ls", "{a}-{b-c}", "{{d}}"]).requires == {"a", "b-c"}
    assert repr(Command(["ls", "{a}"])) == "<Command ls>"


# -- lines


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_do_not_depend_on_how_the_bytes_come(size: int) -> None:
    data = b"one\n\ntwo\r\n1%\r2%\rthree\r\n\r\nlast"
    lines, found = Lines(), list[bytes]()
    for start in range(0, len(data), size):
        found += lines.feed(data[start : start + size])
    assert [*found, *lines.end()] == [b"one", b"", b"two", b"three", b"", b"last"]
    assert lines.end() == []


def test_a_long_line_is_kept_in_part() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"x" * 10_000) == []
        assert len(lines._rest) <= LINE_MOST
    (line,) = lines.feed(b"\n")
    assert line == b"x" * 1_900 + b" ... (998100 bytes cut)"
    for _ in range(100):
        lines.feed(b"x" * 10_000 + b"\r")
        assert len(lines._rest) <= LINE_MOST + 10_001
    assert lines.feed(b"100%\n") == [b"100%"]
    lines.feed(b"seatline:result " + b"1" * 1_000_000)
    assert len(lines.feed(b"\n")[0]) == 1_000_016


def test_lines_of_a_flood_are_logged_in_part(shell: Shell) -> None:
    run = shell(["seq", "1", "20000"])
    assert run.log[-1] == "20000"
    assert len(run.log) < 20_000
    assert AT_ONCE == 1_000
