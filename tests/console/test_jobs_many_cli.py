"""``--all``: acting on all that match up to a moment fixed at the start (Q22)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness.server import RealServer

from seatline.producer import Job, Queue
from seatline.worker import Context, Handlers, Worker

Cli = Callable[..., Any]
handlers = Handlers()


@handlers.handler("bad")
@handlers.handler("worse")
def fail(ctx: Context) -> None:
    raise ValueError("no")


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Queue:
    return Queue(server.url, namespace=namespace)


def states(queue: Queue, state: str) -> list[int]:
    return sorted(int(job.id) for job in queue.jobs(state=state))


def drain(queue: Queue) -> None:
    Worker(handlers, queue.settings.url, namespace=queue.settings.namespace, slots=4).run(burst=True)


def test_q22_all_that_failed_run_again_once(cli: Cli, queue: Queue) -> None:
    """Q22: says how many first, acts on each of 250 once, also over several pages of the listing."""
    queue.enqueue_many(Job("bad") for _ in range(250))
    queue.enqueue("worse")
    drain(queue)
    looked = cli("jobs", "resubmit", "--all", "--type", "bad", "--dry-run")
    assert looked.code == 0
    assert looked.out.startswith("250 failed or interrupted jobs of type bad: ")
    assert len(states(queue, "failed")) == 251
    done = cli("jobs", "resubmit", "--all", "--type", "bad", "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, "resubmitted 250 jobs")
    assert len(states(queue, "ready")) == 250
    assert states(queue, "failed") == [251]


def test_q22_what_fails_again_meanwhile_is_not_taken_twice(queue: Queue, cli: Cli) -> None:
    """Q22: the moment is fixed: the ids are known before the first is touched."""
    queue.enqueue_many(Job("bad") for _ in range(3))
    drain(queue)
    found = queue.select(state="failed").ids
    for each in found:
        queue.handle(each).resubmit()
        drain(queue)
    assert len(found) == 3
    assert [queue.job(each).attempt for each in found] == [1, 1, 1]


def test_q22_move_cancel_and_remove(cli: Cli, queue: Queue) -> None:
    """Q22: each verb on its own kind of jobs; remove must be told which."""
    queue.enqueue_many(Job("bad", priority=100) for _ in range(5))
    assert cli("jobs", "move", "--all", "--priority", "7", "--yes").out.splitlines()[-1] == "moved 5 jobs to priority 7"
    assert {job.priority for job in queue.jobs()} == {7}
    assert cli("jobs", "cancel", "--all", "--state", "ready", "--yes").code == 0
    assert len(states(queue, "cancelled")) == 5
    assert cli("jobs", "remove", "--all", "--yes").code == 2
    assert cli("jobs", "remove", "--all", "--state", "cancelled", "--yes").out.splitlines()[-1] == "removed 5 jobs"
    assert states(queue, "cancelled") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cancel",), "give job ids, or filters such as --state, or --all"),
        (("cancel", "1", "--all"), "one or the other"),
        (("cancel", "1", "--tag", "red"), "one or the other"),
        (("cancel", "1", "--dry-run"), "one or the other"),
        (("cancel", "--dry-run"), "give job ids, or filters"),
        (("cancel", "--yes"), "give job ids, or filters"),
        (("cancel", "--all"), "add --yes"),
        (("cancel", "--all", "--state", "sleeping", "--yes"), "sleeping"),
        (("cancel", "--state", "failed", "--yes"), "--state failed: such jobs have ended already"),
        (("remove", "--state", "ready", "--state", "running", "--yes"), "--state running: such jobs cannot be removed"),
        (("resubmit", "--state", "ready", "--yes"), "--state ready: such jobs have not ended"),
        (("move", "--state", "running", "--priority", "1", "--yes"), "--state running: only jobs that wait"),
        (("cancel", "--type", "a b", "--yes"), "type"),
        (("cancel", "--tag", "", "--yes"), "tag"),
        (("cancel", "--error", " ", "--yes"), "error"),
        (("cancel", "--older-than", "soon", "--yes"), "'soon' is not a duration"),
        (("cancel", "--older-than", "-1", "--yes"), "'-1' is not a duration"),
        (("cancel", "--type", "bad"), "add --yes"),
        (("remove", "--type", "bad", "--yes"), "needs a --state"),
        (("move", "--type", "bad", "--yes"), "--priority"),
        (("move", "--type", "bad", "--priority", "0", "--yes"), "priority"),
        (("cancel", "x", "--yes"), "'x'"),
    ],
)
def test_q22_what_is_unclear_is_refused(cli: Cli, queue: Queue, words: tuple[str, ...], said: str) -> None:
    """Q22: and nothing is done."""
    queue.enqueue("bad")
    refused = cli("jobs", *words)
    assert refused.code == 2
    assert said in refused.err
    assert states(queue, "ready") == [1]


def test_q22_nothing_that_matches(cli: Cli, queue: Queue) -> None:
    done = cli("jobs", "resubmit", "--all")
    assert (done.code, done.out) == (0, "0 failed or interrupted jobs\n")
