"""`jobs keep`, `jobs history`, `audit` and `report` on the command line (R7, H1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from console.conftest import Cli
from harness.server import RealServer
from rules.fake_worker import FakeWorker

from seatline.producer import Queue

NASTY = "<script>alert(document)<img src=x onerror=alert()>"


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def night(queue: Queue) -> Queue:
    """Some jobs that ended: of each of 30 types with long names one, and failures with nasty words in them."""
    queue.pools.set("vault", 4)
    types = {f"drawing.publish.{'long-name.' * 8}{n}": {"vault": 1} for n in range(30)}
    worker = FakeWorker(queue.settings.url or "", queue.settings.namespace, {**types, "a": {}}, slots=50)
    for type_ in types:
        queue.enqueue(type_)
    queue.enqueue("a")
    while worker.turn():
        words = ["error_type", "ValueError", "error", NASTY + "x" * 300]
        for job_id in list(worker.held):
            last = len(worker.held) % 3 == 1
            report = worker.report(job_id, "failed" if last else "succeeded", *(words if last else ()))
            worker.turn(report, want=0)
    worker.close()
    return queue


class Page(HTMLParser):
    """What a page is made of."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_h1_the_page_is_one_file_without_scripts(cli: Cli, night: Queue, tmp_path: Path) -> None:
    """H1: nothing in it runs or is loaded, whatever the words of errors are."""
    file = tmp_path / "report.html"
    done = cli("report", "--since", "1h", "--html", str(file))
    assert (done.code, done.out) == (0, f"wrote {file}\n")
    text = file.read_text("utf-8")
    page = Page(text)
    assert set(page.tags) <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody",
                              "tr", "th", "td", "div", "i"}  # fmt: skip
    assert page.attributes <= {"lang", "charset", "name", "content", "class", "style"}
    assert not any(word in text for word in ("http:", "https:", "url(", "@import", "javascript:"))
    assert NASTY in "".join(page.words)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert night.settings.namespace in "".join(page.words)


def test_h1_text_and_json_say_the_same(cli: Cli, night: Queue) -> None:
    data = json.loads(cli("report", "--since", "1h", "-o", "json").out)
    found = night.report(0)
    assert data["ended"] == dict(found.ended)
    assert sum(sum(each["ended"].values()) for each in data["types"]) == 31
    assert sum(each["seat_hours"].get("vault", 0) for each in data["types"]) == pytest.approx(
        data["pools"][0]["seat_hours"]
    )
    told = cli("report", "--since", "1h")
    assert told.code == 0
    assert (
        f"31 jobs ended ({found.ended['succeeded']} succeeded, {found.ended['failed']} failed). Now 0 running"
        in told.out
    )
    assert "<script>" in told.out
    assert any(line.split()[0] == "vault" for line in told.lines if line.split())


def test_h1_an_empty_namespace(cli: Cli, tmp_path: Path) -> None:
    assert "0 jobs ended. Now 0 running, 0 scheduled." in cli("report").out
    assert cli("report", "--html", str(tmp_path / "a.html")).code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("report", "--since", "yesterday"), 2, "neither a duration"),
        (("report", "--since", "1h", "--until", "2h"), 1, "is not before"),
        (("report", "--since", "9999w"), 2, "before 1970"),
        (("report", "--html", "/no/such/folder/x.html"), 1, "No such file"),
        (("jobs", "keep", "--for", "3d"), 2, "--state says"),
        (("jobs", "keep", "--state", "failed"), 2, "give --for"),
        (("jobs", "keep", "--state", "failed", "--lift", "--most", "3"), 2, "give --for"),
        (("jobs", "keep", "--state", "ready", "--most", "3"), 1, "is no end"),
        (("jobs", "history", "42"), 1, "no such job"),
        (("jobs", "history", "nonsense"), 1, "not a job id"),
        (("audit", "--since", "x"), 2, "not a duration"),
        (("types", "pause", "a", "--comment", ""), 1, "comment"),
    ],
)
def test_nonsense_is_one_line(words: tuple[str, ...], code: int, said: str, cli: Cli) -> None:
    done = cli(*words)
    assert done.code == code or (done.code in {1, 2} and code in {1, 2})
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_rules_are_shown_and_lifted(cli: Cli) -> None:
    """R7: what is set is what is shown."""
    cli("jobs", "keep", "--state", "succeeded", "--for", "12h", "--type", "a")
    cli("jobs", "keep", "--state", "succeeded", "--most", "5")
    rules = json.loads(cli("jobs", "keep", "-o", "json").out)
    assert rules == [
        {"state": "succeeded", "type": None, "for": 604800.0, "most": 5},
        {"state": "succeeded", "type": "a", "for": 43200.0, "most": 100_000},
    ]
    assert cli("jobs", "keep", "--state", "succeeded", "--type", "a", "--lift").out.endswith("no rule any more\n")
    assert cli("jobs", "keep", "--state", "succeeded", "--type", "a", "--lift").out.endswith("there was no rule\n")
    assert len(json.loads(cli("jobs", "keep", "-o", "json").out)) == 1


def test_the_audit_is_narrowed(cli: Cli, queue: Queue) -> None:
    for name in "abc":
        cli("types", "pause", name, "--comment", f"because of {name}")
    cli("pools", "set", "vault", "3")
    assert len(cli("audit").lines) == 5
    (only,) = json.loads(cli("audit", "--on", "type b", "-o", "json").out)
    assert (only["act"], only["comment"], only["by"]) == ("pause", "because of b", queue.by)
    assert [act["on"] for act in json.loads(cli("audit", "--limit", "1", "-o", "json").out)] == ["pool vault"]
    assert cli("audit", "--by", "nobody").err == "No such acts.\n"


def test_history_of_a_job(cli: Cli, queue: Queue) -> None:
    handle = queue.enqueue("a")
    cli("jobs", "move", handle.id, "--priority", "1", "--comment", "in a hurry")
    data = json.loads(cli("jobs", "history", handle.id, "-o", "json").out)
    assert data[0]["what"] == "accepted at priority 1"
    assert data[1]["by"] == f"{queue.by} (in a hurry)"
    assert "in a hurry" in cli("jobs", "history", "1").out
