"""`seatline demo` as a program: it adds up, it notices what does not, and it leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness.processes import Child, Children, no_child_left
from harness.waiting import wait_until

from seatline.console.demo import witness
from seatline.console.demo.figures import Evidence, figures, rows
from seatline.console.demo.plan import BATCH, CLOCK, COMPRESS, EMPTY, SEATS
from seatline.console.demo.show import Picture, Screen, WorkerLine
from seatline.console.demo.witness import Counts
from seatline.shared.codec import pack_value
from seatline.shared.embedded import status, stop
from seatline.shared.job import JobRecord

SECONDS = 60.0  # on a loaded machine; alone it takes about ten
DEMO = [sys.executable, "-m", "seatline.console.main", "demo"]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The temporary folder of a demo, short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp")).resolve()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def family() -> Iterator[Children]:
    with no_child_left() as children:
        yield children


@pytest.fixture
def start(temporary: Path, family: Children) -> Callable[..., Child]:
    def spawn(*words: str, **environ: str) -> Child:
        return family.spawn([*DEMO, *words], {"TMPDIR": str(temporary), "XDG_RUNTIME_DIR": str(temporary), **environ})

    return spawn


def left_in(temporary: Path) -> list[str]:
    """What a demo left in its temporary folder; the run folder of sockets is nobody's demo."""
    return [path.name for path in temporary.iterdir() if path.name.startswith("seatline-demo-")]


# The whole of it


def test_it_adds_up_and_leaves_nothing_behind(start: Callable[..., Child], temporary: Path) -> None:
    # A user's own settings are not for the demo's server; SEATLINE_RENEW=20 would not even fit its lease.
    demo = start(SEATLINE_URL="redis://localhost:1/0", SEATLINE_NAMESPACE="farm", SEATLINE_RENEW="20")
    assert demo.wait(SECONDS) == 0, demo.output() + demo.errors()
    told = demo.output()
    found = re.findall(r"^  \S.*?((?: +\d+){4})$", told.replace(",", ""), re.MULTILINE)
    table = [[int(cell) for cell in cells.split()] for cells in found]
    *kinds, total = table
    assert [sum(column) for column in zip(*kinds, strict=True)] == total
    assert all(enqueued == succeeded + failed and elsewhere == 0 for enqueued, succeeded, failed, elsewhere in table)
    assert total[2] == 1
    assert f"{SEATS} of {SEATS} at most, counted by the witness" in told
    assert "Every figure is right" in told
    assert "✗" not in told
    assert not demo.errors()
    assert not left_in(temporary)


def test_a_kept_server_answers_to_the_lines_printed(start: Callable[..., Child], temporary: Path) -> None:
    demo = start("--keep")
    assert demo.wait(SECONDS) == 0, demo.output() + demo.errors()
    (left,) = left_in(temporary)
    state = temporary / left / "state"
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    try:
        lines = [line.strip() for line in demo.output().split("Next:")[1].splitlines() if line.startswith("  ")]
        listing, pool, ending, cli = lines

        def shell(line: str) -> str:
            return subprocess.run(line, shell=True, env=environ, capture_output=True, text=True, check=True).stdout

        assert "no_such_module.py" in shell(listing)
        assert "lzma" in shell(pool)
        if "redis-cli" in cli or "valkey-cli" in cli:
            assert shell(f"{cli} GET '{{default}}:seq'").strip().isdigit()
        assert shell(ending) == "Stopped.\n"
        assert not left_in(temporary)
    finally:
        if state.exists() and status(state):
            stop(state)


def test_a_wrong_figure_is_seen(start: Callable[..., Child], temporary: Path) -> None:
    demo = start("--licences", "1")
    assert demo.wait(SECONDS) == 1, demo.output() + demo.errors()
    told = demo.output()
    assert "✗ seats" in told
    assert "NoLicence" in told
    assert "Every figure is right" not in told
    assert not left_in(temporary)


@pytest.mark.parametrize(
    ("number", "after"),
    [(signal.SIGINT, "urgent jobs arrive"), (signal.SIGINT, "SIGKILL"), (signal.SIGTERM, "to compress")],
)
def test_a_signal_ends_all_of_it(
    start: Callable[..., Child], temporary: Path, number: signal.Signals, after: str
) -> None:
    demo = start()
    wait_until(lambda: after in demo.output() or not demo.running, SECONDS, f"the demo says {after!r}")
    demo.signal(number, group=True)
    assert demo.wait(SECONDS) == 128 + number
    assert "has been ended" in demo.output()
    assert not demo.errors()
    assert not left_in(temporary)


def test_an_early_signal_ends_all_of_it(start: Callable[..., Child], temporary: Path) -> None:
    demo = start("--keep")  # nothing is kept of what never came to its end
    wait_until(lambda: list(temporary.glob("*/state/server.json")), SECONDS, "the server is being started")
    demo.signal(signal.SIGINT, group=True)
    assert demo.wait(SECONDS) == 130
    assert not left_in(temporary)


def test_it_says_so_where_embedded_servers_are_forbidden(start: Callable[..., Child], temporary: Path) -> None:
    demo = start(SEATLINE_EMBEDDED="never")
    assert demo.wait(SECONDS) == 69
    assert "SEATLINE_EMBEDDED=auto seatline demo" in demo.errors()
    assert not left_in(temporary)


# The witness


@pytest.fixture
def licence_server(family: Children) -> Iterator[tuple[int, Callable[[], Counts], subprocess.Popen[str]]]:
    """A witness of capacity 1: its port, what it counted, its process."""
    words = [sys.executable, "-m", witness.__name__, "1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def counts() -> Counts:
            stdin.write("counts\n")
            stdin.flush()
            return Counts(**json.loads(stdout.readline()))

        yield int(stdout.readline()), counts, process
        stdin.close()
        assert process.wait(10) == 0  # it ends with its owner


def test_the_witness_refuses_above_its_capacity(
    licence_server: tuple[int, Callable[[], Counts], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, counts, _ = licence_server
    monkeypatch.setenv(witness.ADDRESS, str(port))
    with witness.licence():
        with pytest.raises(witness.NoLicence), witness.licence():
            pass
        assert counts() == Counts(capacity=1, now=1, peak=1, admitted=1, refused=1)
    with witness.licence():  # the goodbye was heard before the next one came
        pass
    assert counts() == Counts(capacity=1, now=0, peak=1, admitted=2, refused=1, left=2)


def test_the_witness_sees_who_was_cut_off(licence_server: tuple[int, Callable[[], Counts], object]) -> None:
    port, counts, _ = licence_server
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert client.recv(16) == b"seat\n"
    wait_until(lambda: counts().cut == 1)
    assert counts() == Counts(capacity=1, now=0, peak=1, admitted=1, cut=1)


# The figures: pure


T0 = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def record(number: int, type_: str, created: float, started: float, finished: float, **more: object) -> JobRecord:
    """A job with times in seconds after T0."""
    created_at, started_at, finished_at = (T0 + dt.timedelta(seconds=s) for s in (created, started, finished))
    result = pack_value("result", {"bytes": 1000, "packed": 100, "sha256": ""}) if type_ == COMPRESS else b""
    made = JobRecord(
        id=f"{number:016}",
        type=type_,
        priority=100,
        state="succeeded",
        attempt=1,
        worker="alive",
        result_packed=result,
        created=created_at,
        created_ms=int(created_at.timestamp() * 1000),
        started=started_at,
        finished=finished_at,
    )
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def evidence() -> Evidence:
    """A demo in which all went well: three jobs in the batch, one lost and one failed, and one urgent."""
    empty = [record(n, CLOCK, 0, 0.1, 0.2) for n in range(EMPTY)]
    batch = [
        record(2001, COMPRESS, 1, 1.1, 2),
        record(2002, COMPRESS, 1, 9, 10, attempt=2, losses=1),
        record(
            2003, COMPRESS, 1, 4, 5, state="failed", error_type="FileNotFoundError", title="no.py", result_packed=b""
        ),
    ]
    urgent = [record(2004, COMPRESS, 2, 3, 3.5, priority=1)]
    records = {"empty": empty, "batch": batch, "urgent": urgent}
    return Evidence(
        enqueued={name: [each.id for each in those] for name, those in records.items()},
        records=records,
        empty="empty",
        batch="batch",
        urgent="urgent",
        long_job=batch[1].id,
        missing_job=batch[2].id,
        killed="dead",
        killed_at_ms=int((T0 + dt.timedelta(seconds=5)).timestamp() * 1000),
        witness=Counts(capacity=SEATS, now=0, peak=2, admitted=5, left=4, cut=1),
        held_in_the_end=0,
        server_counts={"succeeded": EMPTY + 3, "failed": 1, "running": 0, "interrupted": 0},
        files_written=3,
        pick_ups_ms=[0.5, 0.7, 9.0],
    )


def wrong(evidence: Evidence) -> list[str]:
    return [figure.name for figure in figures(evidence) if not figure.right]


def test_all_figures_of_a_good_demo_are_right(evidence: Evidence) -> None:
    assert not wrong(evidence)
    assert [(row.enqueued, row.succeeded, row.failed, row.elsewhere) for row in rows(evidence)] == [
        (EMPTY, EMPTY, 0, 0),
        (3, 2, 1, 0),
        (1, 1, 0, 0),
        (EMPTY + 4, EMPTY + 3, 1, 0),
    ]
    assert BATCH >= 200


def change(evidence: Evidence, kind: str, at: int, **fields: object) -> None:
    evidence.records[kind][at] = replace(evidence.records[kind][at], **fields)  # type: ignore[arg-type]


def at(seconds: float) -> dt.datetime:
    return T0 + dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("name", "sabotage"),
    [
        ("jobs", lambda e: e.server_counts.update(succeeded=7)),
        ("jobs", lambda e: e.server_counts.update(interrupted=1)),
        ("jobs", lambda e: e.enqueued["urgent"].append("0000000000009999")),
        ("files", lambda e: setattr(e, "files_written", 2)),
        ("seats", lambda e: setattr(e.witness, "peak", SEATS + 1)),
        ("seats", lambda e: setattr(e.witness, "capacity", SEATS + 1)),
        ("seats", lambda e: setattr(e.witness, "refused", 1)),
        ("seats", lambda e: setattr(e.witness, "cut", 0)),
        ("seats", lambda e: setattr(e.witness, "admitted", 6)),
        ("seats", lambda e: setattr(e, "held_in_the_end", 1)),
        ("urgent", lambda e: change(e, "batch", 0, started=at(2.5))),
        ("urgent", lambda e: change(e, "urgent", 0, started=at(11))),
        ("crash", lambda e: change(e, "batch", 1, worker="dead")),
        ("crash", lambda e: change(e, "batch", 1, attempt=3)),
        ("crash", lambda e: change(e, "batch", 1, started=at(4.5))),
        ("error", lambda e: change(e, "batch", 2, error_type="ValueError")),
        ("pick-up", lambda e: setattr(e, "pick_ups_ms", [4000.0, 5000.0, 5000.0])),
        ("speed", lambda e: e.records["empty"].pop()),
        ("verify", lambda e: e.findings.append("S2 pool lzma: ...")),
    ],
)
def test_each_figure_can_be_wrong(evidence: Evidence, name: str, sabotage: Callable[[Evidence], object]) -> None:
    sabotage(evidence)
    assert name in wrong(evidence)


# What it looks like


@pytest.mark.parametrize(("width", "encoding"), [(60, "utf-8"), (80, "utf-8"), (300, "ascii")])
def test_it_fits_its_terminal(evidence: Evidence, width: int, encoding: str, tmp_path: Path) -> None:
    from rich.console import Console

    with (tmp_path / "screen").open("w", encoding=encoding) as file:
        screen = Screen(
            Console(file=file, width=width, force_terminal=True, highlight=False, _environ={"TERM": "xterm"})
        )
        with screen:
            worker = WorkerLine("worker 1", 4711, running=["a_module_with_a_long_name.py"] * 8)
            screen.say("Something happens, and it takes a good many words to be told to everybody who looks on: …")
            screen.draw(Picture({"batch": (3, 9)}, Counts(capacity=2, now=1), [worker], "until it ends"))
        screen.table(rows(evidence), figures(evidence))
        screen.commands("Next:", "x" * 200)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", (tmp_path / "screen").read_text(encoding))
    lines = [line for part in shown.splitlines() for line in part.split("\r")]
    assert "  " + "x" * 200 in lines  # to be pasted whole
    assert max(len(line) for line in lines if "xxx" not in line) <= min(width, 100)


def test_the_cli_line_of_a_shell_is_quoted() -> None:
    from seatline.console.demo import story
    from seatline.shared.embedded import EmbeddedServer

    folder = Path("/tmp/a folder/state")
    kept = EmbeddedServer("", 1, 1, None, Path("valkey-server"), "valkey", "9.1.2", folder, folder / "password")
    assert shlex.split(story._address(kept))[-1] == f"SEATLINE_STATE={folder}"
