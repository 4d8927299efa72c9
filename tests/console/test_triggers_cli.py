"""`seatline triggers`: what events enqueue, as people see and change it (Q20)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.server import RealServer
from rules.fake_worker import FakeWorker

from seatline.producer import Queue
from seatline.shared.calls.triggers import BUILT_IN
from seatline.worker import Context, Handlers, Worker

Cli = Callable[..., Any]
FILE = """
coalesce = "10s"

[[jobs]]
type = "mail.send"
priority = 10
params = { to = "team" }

[[jobs]]
type = "drawing.index"
uses = { vault = 1 }
tags = ["x"]
"""


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


def test_q20_set_list_show_emit_remove(cli: Cli, queue: Queue) -> None:
    """Q20: one trigger's life."""
    done = cli(
        "triggers", "set", "drawing.released", "publish", "format=pdf", "--uses", "vault=1", "--title", "Release"
    )
    assert (done.code, done.out) == (0, "trigger drawing.released set: publish\n"), done.err
    done = cli("triggers", "emit", "drawing.released", "format=any", "file=a.dwg")
    assert (done.code, done.lines) == (0, ["1"]), done.err
    job = queue.job(1)
    assert (job.params, job.priority, job.title, job.event) == (
        {"format": "pdf", "file": "a.dwg"}, 100, "Release", "drawing.released",
    )  # fmt: skip
    assert "  event     drawing.released" in cli("jobs", "show", "1").lines
    listed = cli("triggers", "list")
    assert listed.lines[1].split()[:2] == ["drawing.released", "-"]
    assert listed.lines[1].endswith(" publish")
    shown = cli("triggers", "show", "drawing.released")
    assert shown.lines[0] == "Event drawing.released"
    assert shown.lines[3:] == [
        "Job  publish", "  priority  100", '  params    {"format": "pdf"}', '  uses      {"vault": 1}', "  title     Release",
    ]  # fmt: skip
    assert cli("triggers", "set", "drawing.released", "a", "--priority", "10").out.startswith(
        "trigger drawing.released replaced"
    )
    assert json.loads(cli("triggers", "emit", "drawing.released", "-o", "json").out) == ["2".zfill(16)]
    assert queue.job(2).priority == 10
    assert cli("triggers", "remove", "drawing.released").lines == ["trigger drawing.released removed"]
    gone = cli("triggers", "remove", "drawing.released")
    assert gone.code == 1
    assert gone.err.startswith("seatline: trigger drawing.released: nothing is triggered by that event. `seatline")
    nothing = cli("triggers", "emit", "drawing.released")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "seatline: nothing is triggered by drawing.released.\n")
    assert "No triggers." in cli("triggers", "list").err


def test_q20_a_file_says_several_jobs(cli: Cli, queue: Queue, tmp_path: Path) -> None:
    """Q20: TOML, or the JSON that `show` tells; priorities are those of the file, else 100."""
    path = tmp_path / "released.toml"
    path.write_text(FILE)
    done = cli("triggers", "set", "drawing.released", "--file", str(path))
    assert (done.code, done.out) == (0, "trigger drawing.released set: 2 jobs: mail.send, drawing.index\n"), done.err
    record = queue.triggers["drawing.released"]
    assert [job.priority for job in record.jobs] == [10, 100]
    assert (record.coalesce, record.jobs[0].params, record.jobs[1].uses) == (10.0, {"to": "team"}, {"vault": 1})
    told = json.loads(cli("triggers", "show", "drawing.released", "-o", "json").out)
    assert (told["event"], told["coalesce"], told["jobs"][1]["tags"]) == ("drawing.released", 10.0, ["x"])
    again = tmp_path / "again.json"
    again.write_text(json.dumps({"jobs": told["jobs"]}))
    assert cli("triggers", "set", "other", "--file", str(again), "--coalesce", "1m").code == 0
    assert queue.triggers["other"].jobs == record.jobs
    assert queue.triggers["other"].coalesce == 60.0
    assert [row["event"] for row in json.loads(cli("triggers", "list", "-o", "json").out)] == [
        "drawing.released",
        "other",
    ]


def test_q20_many_events_from_a_file(cli: Cli, queue: Queue, tmp_path: Path) -> None:
    """Q20: a line, an event; gathered they are one job, which says how many it has."""
    path = tmp_path / "files.jsonl"
    path.write_text('{"file": "a"}\n\n{"file": "ü", "site": "own"}\n')
    cli("triggers", "set", "one", "a")
    assert cli("triggers", "emit", "one", "site=lyon", "--many", str(path)).lines == ["1", "2"]
    assert [queue.job(number).params for number in (1, 2)] == [
        {"site": "lyon", "file": "a"}, {"site": "own", "file": "ü"},
    ]  # fmt: skip
    assert cli("triggers", "set", "all", "a", "to=me", "--coalesce", "1m", "--tenant", "T").code == 0
    assert cli("triggers", "emit", "all", "--many", str(path)).lines == ["3"]
    assert cli("triggers", "emit", "all", "--many", str(path), "--key", "x").lines == ["4"]
    assert cli("triggers", "emit", "all", "n:=[1]").lines == ["3"]
    assert queue.job(3).tenant == "T"
    shown = cli("jobs", "show", "3")
    assert "  event     all, 3 gathered" in shown.lines
    assert '"n": [' in shown.out
    data = json.loads(cli("jobs", "show", "3", "-o", "json").out)
    assert (data["event"], data["gathered"], data["params"]["events"][2]) == ("all", 3, {"n": [1]})


@pytest.mark.parametrize(
    ("words", "content", "told"),
    [
        (["set", "e"], "", "give a TYPE, or --file"),
        (["set", "e", "n=1"], "", "give a TYPE, or --file"),
        (["set", "e", "a", "--file", "FILE"], "", "with --file the jobs are said by the file alone"),
        (["set", "e", "--file", "FILE", "--title", "x"], "", "with --file the jobs are said by the file alone"),
        (["set", "e", "--file", "FILE"], "jobs = 1", "FILE: jobs: it is not a list of tables"),
        (["set", "e", "--file", "FILE"], "jobs = [", "FILE: this is no TOML"),
        (["set", "e", "--file", "FILE"], "{", "FILE: this is no JSON"),
        (["set", "e", "--file", "FILE"], "coalese = 1", "FILE: coalese: it is not known here"),
        (["set", "e", "--file", "FILE"], "[[jobs]]\ntypo = 1", "FILE: job 1: typo: it is not known here"),
        (["set", "e", "--file", "FILE"], "[[jobs]]\npriority = 1", "FILE: job 1: type: it is missing"),
        (["set", "e", "--file", "FILE"], "[[jobs]]\ntype = 5", "job 1: type: 5"),
        (["set", "e", "--file", "FILE"], "coalesce = 'x'\n[[jobs]]\ntype = 'a'", "coalesce: 'x'"),
        (["set", "e", "a", "--coalesce", "2d"], "", "coalesce: 172800.0"),
        (["emit", "e", "--many", "FILE"], '{"a": 1}\n[]\n', "line 2: not a JSON object but []"),
        (["emit", "e", "--many", "FILE"], '{"a": 1}\n{\n', "line 2: "),
        (["emit", "a b"], "", "event: "),
    ],
)
def test_q20_what_is_wrong_is_said(
    words: list[str], content: str, told: str, cli: Cli, queue: Queue, tmp_path: Path
) -> None:
    """Q20, R4: usage errors, one line each, and nothing is stored."""
    path = tmp_path / "FILE"
    path.write_text(content)
    done = cli("triggers", *[str(path) if word == "FILE" else word for word in words])
    assert done.code == 2, done.err
    assert told.replace("FILE", str(path) if told.startswith("FILE") else "FILE") in done.err
    assert done.err.count("\n") == 1
    assert not queue.triggers.list()


def test_q20_built_in_events(cli: Cli, queue: Queue, server: RealServer, namespace: str) -> None:
    """Q20: help names them; they are set as any event; lists say what waits; nobody else emits them."""
    for words in (["--help"], ["set", "--help"]):
        told = cli("triggers", *words).out
        for event in BUILT_IN:
            assert event in told
    assert cli("triggers", "set", "job.failed", "mail", "to=team").out == "trigger job.failed set: mail\n"
    with contextlib.closing(FakeWorker(server.url, namespace, {"bad": {}})) as worker:
        for _ in range(2):
            job_id = queue.enqueue("bad").id
            worker.turn(waits=False)
            worker.turn(worker.report(job_id, "failed", "error", "no"), want=0)
    listed = cli("triggers", "list")
    assert listed.lines[0].split() == ["EVENT", "COALESCE", "WAIT", "CHANGED", "BY", "JOBS"]
    assert listed.lines[1].split()[:3] == ["job.failed", "-", "2"]
    (row,) = json.loads(cli("triggers", "list", "-o", "json").out)
    assert (row["waiting"], row["taken"], row["missed"]) == (2, 0, 0)
    assert (
        "  waiting   2 that have happened, for a worker to make their jobs"
        in cli("triggers", "show", "job.failed").lines
    )
    refused = cli("triggers", "emit", "job.failed")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(
        "seatline: event: job.failed is Seatline's own: it is told when a job has failed for good"
    )
    removed = cli("triggers", "remove", "job.failed")
    assert removed.out == "trigger job.failed removed, with 2 that waited for a worker\n"


def test_q20_a_loop_is_seen(cli: Cli, queue: Queue, server: RealServer, namespace: str) -> None:
    """Q20: how many triggers lie before a job, and what none could be made of."""
    handlers = Handlers()
    handlers.handler("bad", isolation="thread")(_bad)
    cli("triggers", "set", "job.failed", "bad")
    queue.enqueue("bad")
    Worker(handlers, server.url, namespace=namespace).run(burst=True)
    assert "  event     job.failed, trigger 8 in a row" in cli("jobs", "show", "9").lines
    assert json.loads(cli("jobs", "show", "9", "-o", "json").out)["depth"] == 8
    assert (
        "event job.failed triggers nothing: 8 triggers lie before it, which is the limit"
        in cli("jobs", "show", "9").out
    )
    listed = cli("triggers", "list")
    assert listed.lines[0].split() == ["EVENT", "COALESCE", "WAIT", "MISSED", "CHANGED", "BY", "JOBS"]
    assert listed.lines[1].split()[:4] == ["job.failed", "-", "-", "1"]
    shown = cli("triggers", "show", "job.failed").lines
    assert "  taken     8 that have happened since it was set, by workers" in shown
    assert any(line.startswith("  missed    1 that have made none: 8 triggers lay before, ") for line in shown)


def _bad(ctx: Context, **_: Any) -> None:
    raise ValueError("no")
