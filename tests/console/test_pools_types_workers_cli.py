"""`seatline pools`, `types`, `workers`, `scripts`, `verify`: what operators see and set."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.producer import Queue
from seatline.shared.scripts import names, script
from seatline.worker import Context, Handlers, Worker

Cli = Callable[..., Any]
handlers = Handlers()
go_on = threading.Event()


@handlers.handler("seated", uses={"vault": 1}, if_lost="rerun", isolation="thread")
def seated(ctx: Context) -> None:
    go_on.wait(20)


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def holding(queue: Queue) -> Iterator[Worker]:
    """A worker that runs job 1 with the only seat; job 2 waits for it."""
    go_on.clear()
    queue.pools.set("vault", 1)
    worker = Worker(handlers, queue.settings.url, namespace=queue.settings.namespace, slots=2)
    thread = threading.Thread(target=worker.run)
    first = queue.enqueue("seated", title="The first")
    queue.enqueue("seated", title="The second")
    thread.start()
    wait_until(lambda: first.state() == "running")
    wait_until(lambda: queue.pools["vault"].waiting)
    yield worker
    go_on.set()
    worker.stop()
    thread.join(20)


def rows(done: Any) -> list[list[str]]:
    assert done.code == 0, done
    return [line.split() for line in done.lines]


# pools


def test_s12_show_lists_holders_and_waiters_in_order(cli: Cli, queue: Queue, holding: Worker) -> None:
    """S12: who, how many seats, where, since, until; and who waits."""
    done = cli("pools", "show", "vault")
    assert done.lines[0] == "pool vault: 1 of 1 seats in use, 0 free, 1 waiting"
    assert "job 1" in done.out
    assert "seated: The first" in done.out
    assert "pid " in done.out
    assert done.lines[-1].split()[:5] == ["1", "job", "2", "10", "1"]
    told = json.loads(cli("pools", "show", "vault", "-o", "json").out)
    assert (told["in_use"], told["holders"][0]["who"], told["waiters"][0]["who"]) == (1, "job 1", "job 2")
    assert told["holders"][0]["since"].endswith("Z")


def test_s10_a_program_is_shown_by_its_name(cli: Cli, queue: Queue) -> None:
    """S10, S12: programs hold seats too."""
    queue.pools.set("vault", 3)
    with queue.pools.session("vault", 2, name="reader"):
        assert "program reader      2  -" in cli("pools", "show", "vault").out


def test_list_set_external_remove(cli: Cli) -> None:
    assert cli("pools", "list").err == "No pools. `seatline pools set NAME CAPACITY` makes one.\n"
    assert cli("pools", "set", "vault", "5", "--keep", "1", "--for", "10").out == "pool vault has 5 seats\n"
    assert cli("pools", "set", "vault", "6").out == "pool vault now has 6 seats\n"
    assert "pool vault: 2 of 6 seats are withheld until" in cli("pools", "external", "vault", "2", "--for", "10m").out
    assert rows(cli("pools", "list"))[1] == ["vault", "6", "0", "2", "4", "0", "1", "for", "<=", "10"]
    (told,) = json.loads(cli("pools", "list", "-o", "json").out)
    assert (told["capacity"], told["external"], told["free"], told["keep"]) == (6, 2, 4, 1)
    assert cli("pools", "set", "vault", "6", "--keep", "0").code == 0
    assert rows(cli("pools", "list"))[1][-1] == "-"
    assert cli("pools", "remove", "vault").out == "pool vault removed\n"


def test_what_does_not_exist_or_is_held_is_refused(cli: Cli, holding: Worker) -> None:
    for words in (("show", "x"), ("external", "x", "1"), ("remove", "x")):
        done = cli("pools", *words)
        assert done.code == 1
        assert "pool x: no such pool. `seatline pools set x CAPACITY` makes it." in done.err
    busy = cli("pools", "remove", "vault")
    assert busy.code == 1
    assert "`seatline pools show vault`" in busy.err
    assert "1 are in use, so nobody new gets in" in cli("pools", "set", "vault", "0").out


# types


def test_q15_types_are_listed_with_what_waits_and_who_serves(cli: Cli, queue: Queue, holding: Worker) -> None:
    """Q15: a type without a live worker is flagged, with the age of its oldest job."""
    queue.enqueue("nobody", priority=3)
    queue.enqueue("nobody", priority=1)
    cli("types", "pause", "other")
    listed = {row[0]: row[1:] for row in rows(cli("types", "list"))}
    assert listed["nobody"][0] == "2"
    assert listed["nobody"][1] != "-"
    assert listed["nobody"][-1] == "no-worker"
    assert (listed["seated"][0], listed["seated"][-4:]) == ("1", ["1", "vault=1", "rerun", "-"])
    assert listed["other"][-1] == "paused"
    told = {row["type"]: row for row in json.loads(cli("types", "list", "-o", "json").out)}
    assert told["other"]["paused"] is True
    assert told["nobody"]["oldest"] == json.loads(cli("jobs", "show", "3", "-o", "json").out)["created"]


def test_q19_pause_and_resume(cli: Cli, queue: Queue) -> None:
    """Q19: of types and of the namespace."""
    queue.enqueue("a")
    done = cli("types", "pause", "a", "b")
    assert (done.code, done.out) == (
        0,
        "type a is paused: jobs are accepted, none starts\ntype b is paused: jobs are accepted, none starts\n",
    )
    assert done.err == "seatline: no such type yet: b; it is paused from now on.\n", "the name may be a slip"
    again = cli("types", "pause", "a")
    assert (again.out, again.err) == ("type a was paused already\n", "")
    assert cli("types", "resume", "a", "b").out == "type a goes on\ntype b goes on\n"
    assert cli("types", "resume", "a").out == "type a was not paused\n"
    assert "is paused: jobs are accepted" in cli("types", "pause", "--all").out
    cli("jobs", "close")
    told = cli("types", "list").err
    assert "`seatline types resume --all`" in told
    assert "`seatline jobs reopen`" in told
    assert "goes on" in cli("types", "resume", "--all").out


def test_types_of_an_empty_namespace(cli: Cli) -> None:
    done = cli("types", "list")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("No types yet")


# workers


def test_workers_are_listed_with_what_they_do(cli: Cli, holding: Worker) -> None:
    (_, row) = rows(cli("workers", "list"))
    assert row[0] == holding.id
    assert row[1:4] == ["awake", "1/2", "0"]
    assert row[-1] == "seated"
    (told,) = json.loads(cli("workers", "list", "-o", "json").out)
    assert (told["id"], told["state"], told["slots"], told["busy"], told["types"]) == (
        holding.id,
        "awake",
        2,
        1,
        ["seated"],
    )


def test_a_worker_that_went_without_a_word_is_lost(cli: Cli, queue: Queue, redis: Any) -> None:
    """Its presence has expired, its line in `workers` has not."""
    now = redis.time()[0] * 1000
    redis.zadd(queue.store.keys("workers"), {"ghost": now - 60_000})
    (_, row) = rows(cli("workers", "list"))
    assert row[:4] == ["ghost", "lost", "-", "-"]
    assert "over 1m ago" in cli("workers", "list").out
    (told,) = json.loads(cli("workers", "list", "-o", "json").out)
    assert (told["state"], told["pid"]) == ("lost", None)


def test_no_workers(cli: Cli) -> None:
    assert cli("workers", "list").err == "No workers. `seatline worker MODULE:HANDLERS` starts one.\n"


# scripts, verify


def test_scripts_are_shown_as_the_server_runs_them(cli: Cli) -> None:
    assert [row[0] for row in rows(cli("scripts", "list"))[1:]] == names()
    assert cli("scripts", "show", "turn").out == script("turn").text
    assert json.loads(cli("scripts", "list", "-o", "json").out)[0]["keys"][0] == "about"


def test_verify_says_what_it_looked_at(cli: Cli, queue: Queue) -> None:
    queue.enqueue("a")
    done = cli("verify")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("nothing is wrong in namespace")
    assert json.loads(cli("verify", "-o", "json").out) == []


@pytest.mark.damaged
def test_verify_lists_what_is_broken_and_exits_with_1(cli: Cli, queue: Queue, redis: Any) -> None:
    queue.enqueue("a")
    redis.incr(queue.store.keys("seq"))
    done = cli("verify")
    assert done.code == 1
    assert done.out == "R1 ids: 1 ids are nowhere: 2 were given, 1 are in a place, 0 trimmed, 0 removed.\n"
    assert "1 rules are broken" in done.err
    (told,) = json.loads(cli("verify", "-o", "json").out)
    assert (told["rule"], told["subject"]) == ("R1", "ids")
