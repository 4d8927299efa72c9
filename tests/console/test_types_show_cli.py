"""`seatline types show`, `seatline jobs why --type`, and `orders why` of what cannot be read (Q15, Q19, W1)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Chain, Queue, Step

Cli = Callable[..., Any]


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def worker(server: RealServer, namespace: str) -> Iterator[FakeWorker]:
    """A worker of two types with two slots."""
    types = {"a": {"vault": 1}, "b": {}}
    with contextlib.closing(FakeWorker(server.url, namespace, types, slots=2, if_lost="rerun")) as one:
        yield one
        one.leave()


class TestShow:
    """All of one type."""

    def test_q15_what_waits_and_runs_and_ended(self, cli: Cli, queue: Queue, worker: FakeWorker) -> None:
        """Q15: waiting by what it uses, the oldest, running, due later, the rate, what handlers declare, who runs it."""
        queue.pools.set("vault", 1)
        for type_ in ("a", "a", "b", "a"):
            queue.enqueue(type_)
        queue.enqueue("a", uses={"gpu": 2}, priority=3)
        queue.enqueue("a", delay=900)
        first, other = worker.turn()
        worker.turn(first)
        worker.turn(worker.report(other, "failed", "error_type", "Boom", "error", "no"))
        told = dict(line.split("  ", 1) for line in cli("types", "show", "a").lines if line[0] != " ")
        said = {name: text.strip() for name, text in told.items()}
        assert said["type"] == "a"
        assert said["waiting"].startswith("2, the oldest for ")
        assert (said["running"], said["scheduled"]) == ("1", "1")
        assert said["ended"].startswith("1 succeeded in the last 10m, 0.1 a minute, a run takes ")
        assert (said["uses"], said["if lost"]) == ("vault=1", "rerun")
        assert said["workers"].startswith(f"{worker.id}: ")
        out = cli("types", "show", "a").out
        assert "1 use what the type uses; next is job 4, priority 10" in out
        assert "1 use gpu=2; next is job 5, priority 3" in out
        data = json.loads(cli("types", "show", "a", "-o", "json").out)
        assert (data["waiting"], data["running"], data["scheduled"], data["ended"]["succeeded"]) == (2, 1, 1, 1)
        assert [worker["id"] for worker in data["workers"]] == [worker.id]

    def test_q19_t9_its_gates(self, cli: Cli, queue: Queue) -> None:
        """Q19, T9: paused since when and by whom, and its window; what nobody has declared yet is said to be so."""
        queue.enqueue("a")
        queue.window("a", "Mon-Sun 00:00-24:00 UTC")
        cli("types", "pause", "a")
        out = cli("types", "show", "a").out
        assert f"by {queue.by}; seatline types resume a" in out
        assert "window     Mon-Sun 00:00-24:00 UTC: open now" in out
        assert "uses       not declared yet" in out
        assert "workers    none is live: seatline worker MODULE --types a" in out

    @pytest.mark.parametrize("words", [("types", "show"), ("jobs", "why", "--type")])
    def test_r4_no_such_type(self, cli: Cli, words: tuple[str, ...]) -> None:
        """R4: said in one line."""
        done = cli(*words, "nowhere")
        assert (done.code, done.out) == (2, "")
        assert done.err == "seatline: type: no job of type 'nowhere' was ever here, and no worker supports it.\n"


class TestWhy:
    """W1: explained in the terminal."""

    def test_w1_of_a_type(self, cli: Cli, queue: Queue, worker: FakeWorker) -> None:
        """W1: the next job of each of its lines; also if none waits; and for programs."""
        worker.turn()
        assert cli("jobs", "why", "--type", "b").lines == [
            "type b: no job of it waits",
            "  One that came now would start at once.",
        ]
        queue.enqueue("a")
        queue.enqueue("a", uses={})
        done = cli("jobs", "why", "--type", "a")
        assert done.lines == [
            "type a: 1 job waits; the next is job 1 (priority 10)",
            "  no-pool    pool vault does not exist.",
            "             -> seatline pools set vault CAPACITY",
            "type a: 1 job waits, using none; the next is job 2 (priority 10)",
            "  Nothing keeps it: the next worker that looks takes it.",
        ]
        data = json.loads(cli("jobs", "why", "--type", "a", "-o", "json").out)
        assert data["waiting"] == 2
        assert [[why["reason"] for why in line["why"]] for line in data["lines"]] == [["no-pool"], []]

    @pytest.mark.parametrize("words", [(), ("1", "--type", "a")])
    def test_w1_r4_a_job_or_a_type(self, cli: Cli, words: tuple[str, ...]) -> None:
        """W1, R4: one of both."""
        done = cli("jobs", "why", *words)
        assert (done.code, "give the ID of a job, or --type TYPE" in done.err) == (2, True)

    def test_w1_holders_for_programs(self, cli: Cli, queue: Queue, worker: FakeWorker) -> None:
        """W1, S12: as JSON the holders, the numbers and the position are there as such."""
        queue.pools.set("vault", 1)
        for _ in range(3):
            queue.enqueue("a")
        (first,) = worker.turn()
        worker.turn()
        seats, behind = json.loads(cli("jobs", "why", "3", "-o", "json").out)["why"]
        assert (seats["pool"], seats["needed"], seats["free"]) == ("vault", 1, 0)
        assert [(holder["kind"], holder["name"]) for holder in seats["holders"]] == [("job", first)]
        assert (behind["reason"], behind["ahead"]) == ("behind", 1)

    @pytest.mark.damaged
    def test_w1_o13_an_order_that_cannot_be_read(self, cli: Cli, queue: Queue, redis: Redis) -> None:
        """W1, O13: orphaned with the reason, not an error of the command."""
        queue.define(Chain("c", [Step("s", "a")]))
        order = queue.start("c", id="eco-7")
        redis.hset(queue.store.keys.order(order.id), "number", "x")
        done = cli("orders", "why", "eco-7")
        assert (done.code, done.err) == (0, "")
        assert done.lines[0] == "order eco-7 is unreadable"
        assert done.lines[1].startswith("  orphaned   order eco-7: its record cannot be read")
        data = json.loads(cli("orders", "why", "eco-7", "-o", "json").out)
        assert (data["id"], data["state"], data["why"][0]["reason"]) == ("eco-7", "unreadable", "orphaned")

    def test_w1_q25_a_stopped_step_in_the_listing(self, cli: Cli, queue: Queue, worker: FakeWorker) -> None:
        """W1, O11, Q25: its job has the word too."""
        worker.turn()
        queue.define(Chain("c", [Step("s", "b")]))
        queue.start("c")
        queue.chains.stop("c", "s")
        (job,) = json.loads(cli("jobs", "list", "-o", "json").out)
        assert job["reason"] == "stopped"
