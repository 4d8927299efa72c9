"""`seatline enqueue` and `seatline jobs`: what people see of jobs, and what they can do to them."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from seatline.producer import Job, Queue
from seatline.shared.calls import reads
from seatline.worker import Context, Handlers, Worker

Cli = Callable[..., Any]
handlers = Handlers()
go_on = threading.Event()


@handlers.handler("add")
def add(ctx: Context, a: int, b: int = 0) -> int:
    return a + b


@handlers.handler("fail")
def fail(ctx: Context) -> None:
    raise ValueError("first line\nsecond \x1b[31mline")


@handlers.handler("seated", uses={"vault": 1}, if_lost="rerun", isolation="thread")
def seated(ctx: Context) -> None:
    go_on.wait(20)


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


def drain(queue: Queue) -> None:
    Worker(handlers, queue.settings.url, namespace=queue.settings.namespace).run(burst=True)


@pytest.fixture
def worker(queue: Queue) -> Iterator[Worker]:
    """A worker with two slots that runs in this process."""
    go_on.clear()
    worker = Worker(handlers, queue.settings.url, namespace=queue.settings.namespace, slots=2)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: queue.store.read(reads.name_set(queue.store.keys, "offers")))
    yield worker
    go_on.set()
    worker.stop()
    thread.join(20)


# seatline enqueue


def test_enqueue_prints_the_id_and_stores_all_it_was_told(cli: Cli, queue: Queue) -> None:
    done = cli(
        "enqueue", "add", "a=1", "b:=[2]", "--params", '{"a": 9, "c": "x"}', "--priority", "3", "--uses", "vault=2",
        "--title", "A title", "--tag", "x", "--tag", "y", "--token", "mine", "--delay", "1h", "--tenant", "Engineering",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "1\n")
    job = queue.job(1)
    assert job.params == {"a": 1, "b": [2], "c": "x"}
    assert (job.priority, job.uses, job.title, job.tags) == (3, {"vault": 2}, "A title", ("x", "y"))
    assert (job.token, job.state, job.tenant) == ("mine", "scheduled", "Engineering")


def test_enqueue_warns_of_what_would_keep_it_for_long(cli: Cli) -> None:
    """S5, Q15: accepted, and said at once."""
    told = cli("enqueue", "add", "a=1", "--uses", "vault=3").err
    assert "job 1: no live worker supports add yet" in told
    assert "pool vault: 3 seats are needed, there is no such pool. `seatline pools set vault CAPACITY`" in told
    cli("pools", "set", "vault", "2")
    assert "3 seats are needed, its capacity is 2" in cli("enqueue", "add", "--uses", "vault=3").err
    refused = cli("enqueue", "add", "--uses", "vault=3", "--strict")
    assert (refused.code, refused.out) == (1, "")
    assert "3 seats are needed, its capacity is 2" in refused.err


def test_a_namespace_that_requires_a_tenant(cli: Cli) -> None:
    """Q26: refused with the way out, until it is lifted."""
    assert "requires a tenant" in cli("jobs", "require-tenant").out
    refused = cli("enqueue", "add")
    assert (refused.code, refused.out) == (2, "")
    assert "--tenant" in refused.err
    assert cli("enqueue", "add", "--tenant", "north").out == "1\n"
    assert "without a tenant" in cli("jobs", "require-tenant", "--off").out
    assert cli("enqueue", "add").out == "2\n"


def test_enqueue_says_nothing_when_all_is_well(cli: Cli, worker: Worker) -> None:
    done = cli("enqueue", "add", "a=1", "--wait", "--timeout", "20s")
    assert (done.code, done.out, done.err) == (0, "1\n", "")


def test_q15_a_schedule_of_a_type_that_nobody_runs_warns_as_enqueue_does(cli: Cli, worker: Worker) -> None:
    """Q15: at once, not when its first job waits; nothing is said of a type that is run."""
    done = cli("schedules", "add", "y", "nosuch.type", "--every", "1h")
    assert done.code == 0
    assert done.err == "seatline: schedule y: no live worker supports nosuch.type yet; its jobs wait for one.\n"
    assert cli("schedules", "add", "z", "add", "a=1", "--every", "1h").err == ""


def test_enqueue_with_a_token_is_the_same_job(cli: Cli) -> None:
    assert (
        cli("enqueue", "add", "a=1", "--token", "t", "-o", "json").out
        == '{"id": "0000000000000001", "existed": false}\n'
    )
    again = cli("enqueue", "add", "a=1", "--token", "t")
    assert again.out == "1\n"
    assert "token t stands for job 1 already; nothing new was stored." in again.err
    other = cli("enqueue", "add", "a=2", "--token", "t")
    assert other.code == 1
    assert "was already used for a job with other content" in other.err


def test_params_from_stdin(cli: Cli, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 5}'))
    cli("enqueue", "add", "--params", "-")
    assert queue.job(1).params == {"a": 5}


def test_wait_for_a_failure_is_exit_code_1(cli: Cli, worker: Worker) -> None:
    done = cli("enqueue", "fail", "--wait")
    assert (done.code, done.out) == (1, "")
    # The worker of this process logs to the same place, before or after: both hear of the end at the same moment.
    said = "seatline: job 1 failed: ValueError: first line. `seatline jobs show 1` tells more."
    assert said in done.err.splitlines()
    told = json.loads(cli("enqueue", "fail", "--wait", "-o", "json").out)
    assert (told["state"], told["result"]) == ("failed", None)


def test_wait_that_takes_too_long_is_exit_code_124(cli: Cli) -> None:
    done = cli("enqueue", "add", "a=1", "--wait", "--timeout", "50ms")
    assert (done.code, done.out) == (124, "")
    assert done.err.endswith("seatline: job 1 has not ended in time; it goes on.\n")


# seatline jobs list


def test_q25_the_list_is_in_reserve_order_with_priority_and_reason(cli: Cli, queue: Queue, worker: Worker) -> None:
    """Q25: every waiting job with its priority, in reserve order over all types."""
    queue.pools.set("vault", 1)
    first = queue.enqueue("seated", title="Holds the seat")
    wait_until(lambda: first.state() == "running")
    queue.enqueue("nobody", priority=5)
    queue.enqueue("seated", priority=7)
    queue.enqueue("add", {"a": 1}, priority=1, uses={"nowhere": 1})
    queue.enqueue("later", delay=3600)
    done = cli("jobs", "list")
    assert done.code == 0
    rows = [line.split() for line in done.lines]
    assert rows[0] == ["ID", "TYPE", "PRIORITY", "STATE", "REASON", "AGE", "PROGRESS", "TITLE"]
    assert [row[:5] for row in rows[1:]] == [
        ["1", "seated", "10", "running", "-"],
        ["4", "add", "1", "ready", "no-pool"],
        ["2", "nobody", "5", "ready", "no-worker"],
        ["3", "seated", "7", "ready", "seats"],
        ["5", "later", "10", "scheduled", "due"],
    ]
    told = [json.loads(line) for line in cli("jobs", "list", "-o", "ndjson").lines]
    assert [(job["id"], job["reason"]) for job in told][:2] == [
        ("0000000000000001", "-"),
        ("0000000000000004", "no-pool"),
    ]
    assert [job["id"] for job in json.loads(cli("jobs", "list", "-o", "json").out)] == [job["id"] for job in told]


def test_a_list_that_is_cut_says_so(cli: Cli, queue: Queue) -> None:
    queue.enqueue_many(Job("add" if n % 2 else "other") for n in range(60))
    done = cli("jobs", "list")
    assert len(done.lines) == 51
    assert done.err == "50 of 60 shown; --limit 0 lists all.\n"
    assert len(cli("jobs", "list", "--limit", "0").lines) == 61
    some = cli("jobs", "list", "--limit", "3", "--type", "add")
    assert [line.split()[1] for line in some.lines[1:]] == ["add"] * 3
    assert some.err == "3 shown, there are more; --limit 0 lists all.\n"
    exact = cli("jobs", "list", "--limit", "60")
    assert (len(exact.lines), exact.err) == (61, "")


def test_the_list_by_state_tenant_and_type(cli: Cli, queue: Queue) -> None:
    queue.enqueue("add", {"a": 1}, tenant="North")
    queue.enqueue("fail", tenant="South")
    drain(queue)
    queue.enqueue("add", {"a": 1}, tenant="South")

    def ids(*words: str) -> list[int]:
        return [int(job["id"]) for job in json.loads(cli("jobs", "list", *words, "-o", "json").out)]

    assert ids("--state", "failed") == [2]
    assert ids("--state", "succeeded") == [1]
    assert ids("--state", "all") == [3, 1, 2]
    assert ids("--state", "all", "--tenant", "South") == [3, 2]
    assert ids("--type", "fail") == []
    none = cli("jobs", "list", "--state", "interrupted")
    assert (none.code, none.out, none.err) == (0, "", "No such jobs.\n")


def test_ended_jobs_say_when_they_ended_and_why_they_failed(
    cli: Cli, queue: Queue, redis: Redis, namespace: str
) -> None:
    """Q25: by state or by time, over all ends the newest first; AGE is since they were enqueued."""
    for type_ in ("add", "fail", "add", "fail"):
        queue.enqueue(type_, {"a": 1} if type_ == "add" else {}, title=f"{type_} it")
        drain(queue)
    hours_ago = int((time.time() - 7200) * 1000)
    for job_id, state in ((1, "succeeded"), (2, "failed")):
        redis.zadd(f"{{{namespace}}}:finished:{state}", {f"{job_id:016}": hours_ago + job_id})
        redis.hset(f"{{{namespace}}}:job:{job_id:016}", "finished", hours_ago + job_id)
    queue.enqueue("add")

    def ids(*words: str) -> list[int]:
        return [int(job["id"]) for job in json.loads(cli("jobs", "list", *words, "-o", "json").out)]

    assert ids("--since", "1h") == [4, 3]
    assert ids("--since", "3h", "--state", "all") == ids("--since", "3h") == [4, 3, 2, 1]
    assert ids("--since", "1h", "--state", "failed") == ids("--since", "1h", "--type", "fail") == [4]
    assert ids("--since", "1h", "--tenant", "x") == []
    failed = cli("jobs", "list", "--state", "failed").lines
    assert failed[0].split() == [
        "ID",
        "TYPE",
        "PRIORITY",
        "STATE",
        "REASON",
        "AGE",
        "ENDED",
        "PROGRESS",
        "ERROR",
        "TITLE",
    ]
    assert failed[2].endswith("2h ago  -         ValueError: first line  fail it")
    assert "ERROR" not in cli("jobs", "list", "--state", "succeeded").lines[0]
    assert "ENDED" not in cli("jobs", "list").lines[0]
    some = cli("jobs", "list", "--since", "1d", "--limit", "3")
    assert (len(some.lines), some.err) == (4, "3 shown, there are more; --limit 0 lists all.\n")
    for words, count in (
        ([], 1), (["--state", "all"], 5), (["--since", "1h"], 2), (["--since", "3h", "--state", "failed"], 2),
        (["--since", "1h", "--type", "fail"], 1), (["--tenant", "x"], 0), (["--state", "ready", "--type", "add"], 1),
    ):  # fmt: skip
        assert cli("jobs", "list", "--count", *words).out == f"{count}\n", words
    assert "ready ones have not" in cli("jobs", "list", "--since", "1h", "--state", "ready").err
    assert cli("jobs", "list", "--count", "--state", "nope").code == 2


def test_an_empty_list(cli: Cli) -> None:
    assert cli("jobs", "list").err == "No job runs or waits; --state all lists ended ones too.\n"
    assert cli("jobs", "list", "-o", "json").out == "[]\n"
    assert cli("jobs", "list", "-o", "ndjson").out == ""


def test_nothing_is_cut_or_wrapped_in_a_pipe(cli: Cli, queue: Queue) -> None:
    queue.enqueue("add", title="long " * 39)
    assert cli("jobs", "list", COLUMNS="40").lines[1].rstrip().endswith("long long")
    assert len(cli("jobs", "list").lines) == 2


# seatline jobs show, why


def test_show_tells_the_story(cli: Cli, queue: Queue) -> None:
    queue.enqueue("fail", {}, title="To fail", tags=["x"], token="mine", tenant="North")
    drain(queue)
    cli("jobs", "resubmit", "1")
    drain(queue)
    done = cli("jobs", "show", "1")
    assert done.lines[0] == "Job 1  fail  failed"
    for part in ("To fail", "North", "mine", "enqueued", "started", "attempt   1, by worker", "ended", "after running"):
        assert part in done.out
    assert "  ValueError: first line\n  second \\x1b[31mline\n" in done.out
    assert "Traceback (most recent call last):" in done.out
    assert "resubmitted by" in done.out
    assert "UTC" in done.out
    assert "\x1b" not in done.out


def test_show_says_what_seats_a_job_uses(cli: Cli, queue: Queue) -> None:
    """S11: its own, or its type's as far as a worker has told of them."""
    queue.enqueue("seated")
    queue.enqueue("seated", uses={"gpu": 2})
    assert "  uses      what its type uses; no worker has told yet\n" in cli("jobs", "show", "1").out
    seated = Handlers()

    @seated.handler("seated", uses={"vault": 1, "cad": 2})
    def run(ctx: Context) -> None: ...

    Worker(seated, queue.settings.url, namespace=queue.settings.namespace).run(burst=True)
    assert "  uses      cad=2, vault=1 (its type's)\n" in cli("jobs", "show", "1").out
    assert "  uses      gpu=2\n" in cli("jobs", "show", "2").out


@pytest.mark.parametrize("verb", ["show", "why", "cancel", "resubmit", "log", "history"])
def test_a_job_that_is_not_there_is_told_in_one_way(cli: Cli, verb: str) -> None:
    """W1: whoever looks, and whoever acts, is told the same."""
    done = cli("jobs", verb, "99")
    said = "no such job. It never existed, was removed, was trimmed by retention, or was lost in a crash."
    assert (done.code, done.out, done.err) == (1, "", f"seatline: job 99: {said}\n")


def test_resubmit_says_that_it_had_succeeded(cli: Cli, queue: Queue) -> None:
    """Q22: a job that has done its work is not run again without a word."""
    queue.enqueue("add", {"a": 1, "b": 2})
    queue.enqueue("fail")
    drain(queue)
    assert cli("jobs", "resubmit", "1", "2").lines == [
        "job 1 resubmitted: it had succeeded, and runs once more",
        "job 2 ready again (it had failed)",
    ]


def test_show_cuts_what_is_long_and_says_so(cli: Cli, queue: Queue) -> None:
    queue.enqueue("add", {"a": "x" * 5000})
    assert "characters more; --full shows them" in cli("jobs", "show", "1").out
    assert "x" * 5000 in cli("jobs", "show", "1", "--full").out


def test_show_as_json_has_utc_and_text_ids(cli: Cli, queue: Queue) -> None:
    queue.enqueue("add", {"a": 1, "b": 2})
    drain(queue)
    told = json.loads(cli("jobs", "show", "1", "-o", "json", TZ="Asia/Tokyo").out)
    assert (told["id"], told["state"], told["result"], told["params"]) == (
        "0000000000000001",
        "succeeded",
        3,
        {"a": 1, "b": 2},
    )
    assert told["created"].endswith("Z")
    assert told["why"] == told["history"] == []


def test_w1_why_lists_every_obstacle_with_what_to_do(cli: Cli, queue: Queue, worker: Worker) -> None:
    """W1: all of them, not the first."""
    queue.pools.set("vault", 1)
    first = queue.enqueue("seated")
    wait_until(lambda: first.state() == "running")
    queue.enqueue("seated")
    cli("types", "pause", "seated")
    cli("types", "pause", "--all")
    done = cli("jobs", "why", "2")
    assert done.lines[0] == "job 2 (seated, priority 10) is ready"
    assert [line.split()[0] for line in done.lines[1::2]][:3] == ["paused", "paused", "seats"]
    assert "-> seatline types resume --all" in done.out
    assert "-> seatline types resume seated" in done.out
    assert "held by job 1 (1)" in done.out
    told = json.loads(cli("jobs", "why", "2", "-o", "json").out)
    assert [obstacle["reason"] for obstacle in told["why"]][:3] == ["paused", "paused", "seats"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda q: q.enqueue("add", {"a": 1}), "It ended at"),
        (lambda q: q.enqueue("fail"), "It failed at"),
        (lambda q: q.enqueue("nobody").cancel(), "It ended at"),
        (lambda q: q.enqueue("nobody"), "no live worker supports type nobody"),
    ],
)
def test_why_of_any_job(cli: Cli, queue: Queue, make: Callable[[Queue], object], said: str) -> None:
    make(queue)
    drain(queue)
    assert said in cli("jobs", "why", "1").out


def test_w2_a_job_that_can_start_has_no_obstacle(cli: Cli, queue: Queue, worker: Worker) -> None:
    """W2: nothing is said to keep it. (A paused type keeps it from starting while we look.)"""
    first = queue.enqueue("seated", uses={})
    wait_until(lambda: first.state() == "running")
    assert "It runs since" in cli("jobs", "why", "1").out


# seatline jobs wait, cancel, remove, resubmit, move, close


def test_wait_for_several(cli: Cli, queue: Queue) -> None:
    queue.enqueue("add", {"a": 1})
    queue.enqueue("fail")
    queue.enqueue("add", {"a": 2})
    drain(queue)
    assert cli("jobs", "wait", "1", "3").out == "job 1 succeeded\njob 3 succeeded\n"
    done = cli("jobs", "wait", "1", "2", "99", "3")
    assert done.code == 1
    assert done.out == "job 1 succeeded\njob 2 failed: ValueError: first line\njob 3 succeeded\n"
    assert done.err.startswith("seatline: job 99: ")


def test_q18_wait_prints_the_result_of_a_job(cli: Cli, queue: Queue) -> None:
    """Q18, issue 5: as `enqueue --wait` does, also long after the end; the exit code is that of its end."""
    queue.enqueue("add", {"a": 1, "b": 2})
    queue.enqueue("fail")
    queue.enqueue("add", {"a": 7}, result_ttl=1)
    drain(queue)
    done = cli("jobs", "wait", "1", "--result")
    assert (done.code, done.out, done.err) == (0, "3\n", "")
    done = cli("jobs", "wait", "2", "1", "--result")
    assert (done.code, done.out) == (1, "3\n")
    assert done.err == "seatline: job 2 failed: ValueError: first line. `seatline jobs show 2` tells more.\n"
    wait_until(lambda: not queue.job(3).result_packed)
    done = cli("jobs", "wait", "3", "--result")
    assert (done.code, done.out) == (1, ""), "what was asked for is not there"
    assert done.err.startswith("seatline: job 3 (add) succeeded, but its result was kept only until 20")
    assert cli("jobs", "wait", "3").code == 0
    assert cli("jobs", "wait", "--tag", "x", "--result").code == 2


def test_wait_for_a_job_that_ends_meanwhile(cli: Cli, queue: Queue, worker: Worker) -> None:
    handle = queue.enqueue("seated", uses={})
    wait_until(lambda: handle.state() == "running")
    threading.Timer(0.2, go_on.set).start()
    assert cli("jobs", "wait", "1", "--timeout", "20s").out == "job 1 succeeded\n"


def test_wait_too_long_is_exit_code_124(cli: Cli, queue: Queue) -> None:
    queue.enqueue("add")
    done = cli("jobs", "wait", "1", "--timeout", "50ms")
    assert (done.code, done.err) == (124, "seatline: job 1 has not ended in time; it goes on.\n")


def test_each_of_several_is_one_line_and_a_refusal_stops_no_other(cli: Cli, queue: Queue) -> None:
    for _ in range(3):
        queue.enqueue("add")
    done = cli("jobs", "cancel", "1", "99", "0000000000000003")
    assert (done.code, done.out) == (1, "job 1 cancelled\njob 3 cancelled\n")
    assert done.err.count("\n") == 1
    assert "job 99: no such job" in done.err
    assert cli("jobs", "move", "2", "--priority", "1").out == "job 2 moved to priority 1: next of its line\n"
    assert cli("jobs", "resubmit", "1").out == "job 1 ready again (it had been cancelled)\n"
    assert cli("jobs", "remove", "1", "2", "3").out == (
        "job 1 removed (it was ready)\njob 2 removed (it was ready)\njob 3 removed (it was cancelled)\n"
    )


def test_a_bad_id_touches_none(cli: Cli, queue: Queue) -> None:
    queue.enqueue("add")
    assert cli("jobs", "remove", "1", "one").code == 2
    assert queue.job(1).state == "ready"


def test_cancel_of_a_running_job_says_what_that_means(cli: Cli, queue: Queue, worker: Worker) -> None:
    """Q23: for a running one it is a request."""
    handle = queue.enqueue("seated", uses={})
    wait_until(lambda: handle.state() == "running")
    assert "asked to stop" in cli("jobs", "cancel", "1").out
    assert "(asked to stop)" in cli("jobs", "show", "1").lines[0]
    assert cli("jobs", "remove", "1").code == 1


def test_q19_a_closed_namespace(cli: Cli) -> None:
    """Q19: new jobs are refused with a clear error, which names the way out."""
    assert "is closed for new jobs" in cli("jobs", "close").out
    assert "was closed already" in cli("jobs", "close").out
    done = cli("enqueue", "add")
    assert done.code == 1
    assert "`seatline jobs reopen`" in done.err
    assert "takes new jobs again" in cli("jobs", "reopen").out
    assert cli("enqueue", "add").code == 0
