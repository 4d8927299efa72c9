"""`seatline schedules` and `seatline types window`: what is planned, as people see and change it (T6 to T10)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer

from seatline.producer import Queue
from seatline.worker import Context, Handlers, Worker

Cli = Callable[..., Any]


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


def test_t6_add_list_pause_resume_run_remove(cli: Cli, queue: Queue) -> None:
    """T6: one schedule's life."""
    done = cli("schedules", "add", "nightly", "vault.backup", "site=lyon", "n:=[1]", "--cron", "30 2 * * Mon-Fri",
               "--zone", "Europe/Paris", "--title", "Backup", "--uses", "vault=1", "--priority", "3")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.startswith("schedule nightly added: 30 2 * * Mon-Fri Europe/Paris, next at 20")
    assert queue.schedules["nightly"].job.params == {"site": "lyon", "n": [1]}
    cli("schedules", "add", "poll", "mail.fetch", "--every", "90s", "--after-end", "--start", "2090-01-01T00:00Z")
    listed = cli("schedules", "list")
    assert [line.split()[0] for line in listed.lines] == ["NAME", "nightly", "poll"]
    assert "every 1m 30s after its end" in listed.out
    assert "no worker is alive: 2 schedules" in listed.err
    assert cli("schedules", "pause", "nightly").lines == ["schedule nightly is paused"]
    assert cli("schedules", "pause", "nightly").lines == ["schedule nightly was paused already"]
    (poll, nightly) = json.loads(cli("schedules", "list", "-o", "json").out)
    assert (nightly["state"], nightly["next"], nightly["cron"], nightly["uses"]) == (
        "paused", None, "30 2 * * Mon-Fri", {"vault": 1},
    )  # fmt: skip
    assert (poll["every"], poll["after_end"], poll["next"]) == (90.0, True, "2090-01-01T00:00:00.000Z")
    assert cli("schedules", "resume", "nightly").out.startswith("schedule nightly goes on, next at 20")
    assert cli("schedules", "run", "nightly").lines == ["1"]
    assert json.loads(cli("schedules", "run", "nightly", "-o", "json").out) == {"id": "2".zfill(16)}
    assert queue.job("1".zfill(16)).schedule == "nightly"
    assert cli("schedules", "remove", "nightly", "poll").lines == ["schedule nightly removed", "schedule poll removed"]
    empty = cli("schedules", "list")
    assert (empty.out, empty.code) == ("", 0)
    assert "No schedules." in empty.err


def test_t10_next_lists_schedules_and_jobs(cli: Cli, queue: Queue) -> None:
    """T10: sorted by time, as far as asked, and as many."""
    start = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    queue.schedules.add("hourly", "a", every=3600, start=start)
    job = queue.enqueue("b", delay=5400, title="Once")
    starts = json.loads(cli("schedules", "next", "--until", "3h30m", "-o", "json").out)
    assert [(each["kind"], each["name"]) for each in starts] == [
        ("schedule", "hourly"), ("job", job.id), ("schedule", "hourly"), ("schedule", "hourly"),
    ]  # fmt: skip
    shown = cli("schedules", "next", "--limit", "2")
    assert [line.split()[3:5] for line in shown.lines[1:]] == [["schedule", "hourly"], ["job", str(int(job.id))]]
    assert "2 shown, there are more" in shown.err
    assert len(cli("schedules", "next", "--limit", "0", "--until", "1d", "-o", "ndjson").lines) == 25
    assert cli("schedules", "next", "--until", "tomorrow").code == 2
    assert "Nothing is planned" in cli("schedules", "next", "--until", "1m").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cron", "61 * * * *"], "seatline: cron: '61 * * * *': the minute '61' is not good."),
        (["--cron", "* * * * *", "--zone", "Mars/Base"], "seatline: zone: 'Mars/Base' is no IANA time zone."),
        (["--every", "0.5"], "seatline: every: 0.5 is not a number of seconds from 1 to ten years."),
        (["--every", "5", "--start", "2090-01-02", "--end", "2090-01-01"], "seatline: start: 2090-01-02"),
        ([], "seatline: cron, every: give one of them"),
    ],
)
def test_t6_what_is_wrong_is_said(words: list[str], told: str, cli: Cli, queue: Queue) -> None:
    """T6, R4: usage errors, one line each, and nothing is stored."""
    done = cli("schedules", "add", "s", "a", *words)
    assert done.code == 2
    assert done.err.startswith(told), done.err
    assert not queue.schedules.list()


def test_t9_types_window(cli: Cli, queue: Queue, server: RealServer, namespace: str) -> None:
    """T9: set, shown, told by why, lifted; with a live worker nothing is said of nobody being there."""
    now = dt.datetime.now(dt.UTC)
    window = f"{now + dt.timedelta(hours=2):%H}:00-{now + dt.timedelta(hours=4):%H}:00 UTC"
    done = cli("types", "window", "heavy", window)
    assert done.out.startswith(f"type heavy starts {window}: shut until ")
    handle = queue.enqueue("heavy")
    (row,) = json.loads(cli("types", "list", "-o", "json").out)
    assert row["window"] == window
    assert row["opens"].endswith(":00:00.000Z")
    assert cli("types", "list").lines[1].endswith(f"{window}  window")
    assert f"window     jobs of type heavy start {window}; it is shut until" in cli("jobs", "why", handle.id).out
    assert " window " in cli("jobs", "list").lines[1]
    assert cli("types", "window", "heavy", "none").lines == ["type heavy may start at any time again"]
    assert cli("types", "window", "heavy", "none").lines == ["type heavy had no window"]
    assert cli("types", "window", "heavy", "always").code == 2
    handlers = Handlers()

    @handlers.handler("heavy")
    def heavy(ctx: Context) -> None: ...

    Worker(handlers, server.url, namespace=namespace).run(burst=True)
    assert handle.state() == "succeeded"
