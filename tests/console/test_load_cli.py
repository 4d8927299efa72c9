"""seatline load, and jobs list|wait|cancel --tag: what is typed, what is said, and how it ends (Q4)."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from console.conftest import Cli, Done
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import Queue
from seatline.worker import Context, Handlers, Skip, Worker

LINES = '{"file": "a.dwg"}\n\nnot json\n{"file": "b.dwg"}\n{"params": {"file": "c.dwg"}, "priority": 3}\n'


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(content: str | bytes = LINES, name: str = "jobs.jsonl") -> str:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return str(tmp_path / name)

    return write


def tag_of(done: Done) -> str:
    found = re.match(r"load:[\w.-]+", done.out)
    assert found, done
    return found[0]


def params(queue: Queue) -> list[dict[str, Any]]:
    return [record.params for record in queue.jobs()]


class TestLoad:
    def test_q4_lines_become_jobs_and_bad_ones_are_told(self, cli: Cli, file: Callable[..., str], queue: Queue) -> None:
        """Q4: at priority 100, unless a line says otherwise; exit code 1 says that lines were rejected."""
        done = cli("load", file(), "--type", "drawing.publish")
        assert done.code == 1
        assert re.fullmatch(
            r"load:[0-9a-f]{12}: 3 jobs accepted, 0 already there, 1 rejected, in \S+ \([\d,]+/s\)\n", done.out
        )
        assert done.err == "seatline: line 3 was rejected: not JSON: nothing that can be read at column 1.\n"
        assert [(record.params["file"], record.priority, record.type) for record in queue.jobs()] == [
            ("c.dwg", 3, "drawing.publish"), ("a.dwg", 100, "drawing.publish"), ("b.dwg", 100, "drawing.publish"),
        ]  # fmt: skip
        assert {record.tags for record in queue.jobs()} == {(tag_of(done),)}

    def test_repeated_it_says_what_is_there(self, cli: Cli, file: Callable[..., str], queue: Queue) -> None:
        first, again = (cli("load", file(), "--type", "t") for _ in range(2))
        assert tag_of(first) == tag_of(again)
        assert ": 0 jobs accepted, 3 already there, 1 rejected" in again.out
        assert again.code == 1
        assert first.err == again.err
        assert len(params(queue)) == 3

    def test_all_accepted_is_exit_code_0(self, cli: Cli, file: Callable[..., str], queue: Queue) -> None:
        path = file(gzip.compress(b'{"type": "a", "params": {"n": 1}}\n'), "jobs.ndjson.gz")
        words = ("--priority", "7", "--title", "T", "--tag", "red", "--tenant", "v", "-o", "json")
        done = cli("load", path, *words)
        told = json.loads(done.out)
        assert (done.code, told["accepted"], told["ended"], told["tag"]) == (0, 1, True, f"load:{told['id']}")
        (record,) = queue.jobs()
        assert (record.priority, record.title, record.tenant) == (7, "T", "v")
        assert record.tags == ("red", told["tag"])

    def test_rejected_lines_go_to_a_file(self, cli: Cli, file: Callable[..., str], tmp_path: Path) -> None:
        rejected = tmp_path / "bad.jsonl"
        for _ in range(2):
            done = cli("load", file("x\n" * 1_200 + '{"a": "ü'), "--type", "t", "--rejected", str(rejected))
            said = [json.loads(line) for line in rejected.read_text("utf-8").splitlines()]
            assert (len(said), said[0]["line"], said[0]["text"]) == (1_201, 1, "x")
            assert (said[-1]["line"], said[-1]["text"]) == (1_201, '{"a": "ü')
            assert "Unterminated string" in said[-1]["reason"]
            assert done.err == f"seatline: 1,201 rejected lines are in {rejected}\n"
            assert done.code == 1

    def test_only_the_first_ones_are_told(self, cli: Cli, file: Callable[..., str]) -> None:
        done = cli("load", file("x\n" * 25), "--type", "t")
        assert done.err.count("was rejected") == 10
        assert "and 15 more; --rejected FILE" in done.err

    def test_a_dry_run_needs_no_server(self, bare_cli: Cli, file: Callable[..., str]) -> None:
        done = bare_cli("load", file(), "--type", "t", "--dry-run", SEATLINE_EMBEDDED="never")
        assert done.code == 1
        assert re.fullmatch(r"load:\w+: 3 jobs could be accepted, 1 rejected; nothing was sent\n", done.out)

    def test_csv(self, cli: Cli, file: Callable[..., str], queue: Queue) -> None:
        path = file("part no;pages;x\n7;3;y\n", "parts.csv")
        words = (
            "--type",
            "t",
            "--delimiter",
            ";",
            "--column-map",
            "part no=part",
            "--column-map",
            "x=",
            "--json-values",
        )
        assert cli("load", path, *words).code == 0
        assert cli("load", file("a\tb\n1\t2\n", "parts.tsv"), "--type", "t").code == 0
        assert cli("load", file("a\n1\n", "parts.txt"), "--type", "t", "--format", "csv").code == 0
        assert params(queue) == [{"part": 7, "pages": 3}, {"a": "1", "b": "2"}, {"a": "1"}]

    def test_stdin_has_a_name(self, cli: Cli, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        def given(*words: str) -> Done:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"n": 1}\n{"n": 2}\n')))
            return cli("load", "-", "--type", "t", *words)

        done = given()
        assert done.err == f"seatline: to be able to repeat it, add --id {tag_of(done)[5:]}\n"
        assert ": 0 jobs accepted, 2 already there" in given("--id", tag_of(done)[5:]).out
        assert given("--id", "monday").err == ""
        assert "load:monday: 0 jobs accepted, 2 already there" in given("--id", "monday").out
        assert len(params(queue)) == 4

    def test_limit(self, cli: Cli, file: Callable[..., str], queue: Queue) -> None:
        assert ": 2 jobs accepted" in cli("load", file(), "--type", "t", "--limit", "2").out
        assert params(queue) == [{"file": "a.dwg"}, {"file": "b.dwg"}]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("{file}.none", "--type", "t"), "does not exist"),
            (("{txt}",), "--format"),
            (("{file}", "--delimiter", ";"), "go with CSV"),
            (("{csv}", "--type", "t", "--column-map", "x"), "COLUMN=PARAM"),
            (("{csv}", "--type", "t", "--column-map", "x=y"), "none of the header's: a"),
            (("{csv}", "--type", "t", "--delimiter", "||"), "one character"),
            (("{file}", "--type", "a b"), "type: 'a b' is not a name"),
            (("{file}", "--priority", "0"), "priority: 0"),
            (("{file}", "--tag", "a b"), "tags: 'a b'"),
            (("{file}", "--id", "a b"), "id: 'a b'"),
            (("{file}", "--id", "x" * 101), "limit of 100"),
            (("{file}", "--limit", "0"), "--limit"),
            (("{file}", "--rejected", "{file}"), "give another"),
            (("{gz}", "--type", "t"), "unpacked"),
        ],
    )
    def test_what_is_wrong_is_exit_code_2(
        self, cli: Cli, file: Callable[..., str], words: tuple[str, ...], said: str, redis: Redis, namespace: str
    ) -> None:
        paths = {
            "file": file(), "txt": file("", "a.txt"), "csv": file("a\n1\n", "a.csv"), "gz": file("no", "a.jsonl.gz"),
        }  # fmt: skip
        done = cli("load", *(word.format(**paths) for word in words))
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert len(done.err.splitlines()) == 1
        assert not list(redis.scan_iter(match=f"{{{namespace}}}:job:*"))

    def test_no_server_is_exit_code_69(self, bare_cli: Cli, file: Callable[..., str], tmp_path: Path) -> None:
        done = bare_cli(
            "load", file(), "--type", "t", SEATLINE_URL=f"unix://{tmp_path}/none?db=0", SEATLINE_DEADLINE="0.1"
        )
        assert (done.code, done.out) == (69, "")

    def test_a_closed_namespace_is_told(self, cli: Cli, file: Callable[..., str]) -> None:
        cli("jobs", "close")
        done = cli("load", file(), "--type", "t")
        assert done.code == 1
        assert "jobs reopen" in done.err


class TestStopped:
    def test_ctrl_c_says_what_is_there_and_how_to_go_on(
        self, spawn: Callable[..., Child], server: RealServer, namespace: str, tmp_path: Path, queue: Queue, cli: Cli
    ) -> None:
        fifo = tmp_path / "lines"
        os.mkfifo(fifo)
        args = [sys.executable, "-m", "seatline.console.main", "load", str(fifo), "--type", "t", "--format", "jsonl"]
        child = spawn([*args, "--id", "pipe"], env={"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace})
        lines = [b'{"n": %d}\n' % n for n in range(3_000)]
        with fifo.open("wb") as pipe:
            pipe.writelines(lines[:2_500])
            pipe.flush()
            wait_until(lambda: len(list(queue.jobs(limit=2_000))) == 2_000, 20)
            child.signal(signal.SIGINT)
            assert child.wait(20) == 130
        assert "load pipe was stopped behind line 2,000: 2,000 jobs are on the queue." in child.errors()
        assert "--id pipe" in child.errors()
        whole = tmp_path / "whole.jsonl"
        whole.write_bytes(b"".join(lines))
        done = cli("load", str(whole), "--type", "t", "--id", "pipe")
        assert ": 1,000 jobs accepted, 2,000 already there" in done.out
        assert sorted(each["n"] for each in params(queue)) == list(range(3_000))

    def test_a_bar_on_a_terminal(self, screen: Callable[..., Done], tmp_path: Path) -> None:
        path = tmp_path / "jobs.jsonl"
        path.write_bytes(b'{"n": 1}\n' * 20_000)
        done = screen(100, "load", str(path), "--type", "t")
        assert done.code == 0
        assert "loading" in done.out
        assert "of 20,000" in done.out
        assert "20,000 jobs accepted" in done.out


class TestTag:
    @pytest.fixture
    def tag(self, cli: Cli, file: Callable[..., str]) -> str:
        """Ten jobs of a load among others."""
        cli("enqueue", "t", "n=-1", "--tag", "red")
        done = cli("load", file("".join(f'{{"n": {n}}}\n' for n in range(10))), "--type", "t", "--tag", "blue")
        cli("enqueue", "t", "n=-2", "--tag", "red", "--priority", "200")
        return tag_of(done)

    def run(self, queue: Queue, server: RealServer, bad: int = -9) -> None:
        handlers = Handlers()

        @handlers.handler("t")
        def t(ctx: Context, n: int) -> None:
            if n == bad:
                raise ValueError("no")
            if n == 3:
                raise Skip("nothing to do")

        Worker(handlers, server.url, namespace=queue.settings.namespace).run(burst=True)

    def test_list(self, cli: Cli, tag: str) -> None:
        ids = [line.split()[0] for line in cli("jobs", "list", "--tag", tag).lines[1:]]
        assert ids == [str(n) for n in range(2, 12)]
        assert [line.split()[0] for line in cli("jobs", "list", "--tag", "red").lines[1:]] == ["1", "12"]
        done = cli("jobs", "list", "--tag", tag, "--limit", "3")
        assert (len(done.lines), done.err) == (4, "3 shown, there are more; --limit 0 lists all.\n")
        assert cli("jobs", "list", "--tag", "load:none").err == "No such jobs.\n"

    def test_cancel(self, cli: Cli, tag: str, queue: Queue) -> None:
        assert cli("jobs", "cancel", "--tag", tag, "--dry-run").out.startswith(
            f"10 ready or scheduled jobs of tag {tag}: 2, 3"
        )
        done = cli("jobs", "cancel", "--tag", tag, "--yes")
        assert (done.code, done.lines[-1]) == (0, "cancelled 10 jobs")
        assert [record.params["n"] for record in queue.jobs()] == [-1, -2]
        assert cli("jobs", "cancel", "--tag", tag).out == f"0 ready or scheduled jobs of tag {tag}\n"
        assert cli("jobs", "cancel", "1", "--tag", tag).code == 2

    def test_wait_until_all_have_ended(
        self, cli: Cli, tag: str, queue: Queue, server: RealServer, spawn: Callable[..., Child]
    ) -> None:
        done = cli("jobs", "wait", "--tag", tag, "--timeout", "0.1s")
        assert (done.code, done.err) == (124, f"seatline: {tag}: 10 of 10 jobs have not ended in time; they go on.\n")
        args = [sys.executable, "-m", "seatline.console.main", "jobs", "wait", "--tag", tag]
        child = spawn(args, env={"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": queue.settings.namespace})
        self.run(queue, server)
        assert child.wait(20) == 0, child.errors()
        assert child.output() == f"{tag}: 10 jobs have ended: 9 succeeded, 1 skipped\n"

    def test_wait_tells_of_bad_ends(self, cli: Cli, tag: str, queue: Queue, server: RealServer) -> None:
        self.run(queue, server, bad=5)
        done = cli("jobs", "wait", "--tag", tag)
        assert (done.code, done.out) == (1, f"{tag}: 10 jobs have ended: 8 succeeded, 1 skipped, 1 failed\n")
        assert done.err == f"seatline: `seatline jobs list --tag {tag} --state failed` shows which.\n"
        assert cli("jobs", "list", "--tag", tag, "--state", "failed").lines[1].split()[0] == "7"

    def test_wait_counts_those_that_are_no_longer_kept(self, cli: Cli, tag: str, queue: Queue) -> None:
        cli("jobs", "cancel", "--tag", tag, "--yes")
        cli("jobs", "remove", "--tag", tag, "--state", "cancelled", "--yes")
        done = cli("jobs", "wait", "--tag", tag)
        assert (done.code, done.out) == (0, f"{tag}: 10 jobs have ended: 10 no longer kept\n")
        assert len(list(queue.jobs())) == 2

    def test_wait_for_another_tag(self, cli: Cli, tag: str) -> None:
        assert cli("jobs", "wait", "--tag", "nobody").err == "nobody: no job of that tag runs or waits\n"
        assert cli("jobs", "wait", "--tag", "red", "--timeout", "0.1s").err.startswith("seatline: red: 2 of 2 jobs")
        assert cli("jobs", "wait", "--tag", tag, "5").code == 2
        assert cli("jobs", "wait").code == 2
