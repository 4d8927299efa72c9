"""Claims on seats: freed ones are left for the most urgent job that waits for them, and not for longer (S6)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from harness.waiting import wait_until
from rules.fake_worker import FakeWorker
from rules.support import ThreadWorker, add, waiters

from seatline.producer import Queue
from seatline.worker import Context, Handlers

Fakes = Callable[..., FakeWorker]


class TestNoStarvation:
    def test_s6_two_seats_against_a_stream_of_single_seats(self, queue: Queue, idle: Fakes) -> None:
        """S6: freed seats are left for the most urgent job, until there are as many as it needs; also between the ring
        and the look of its worker."""
        queue.pools.set("vault", 2)
        small = [idle(small={"vault": 1}), idle(small={"vault": 1})]
        big = idle(big={"vault": 2})
        stream = [add(queue, "small", 50) for _ in range(10)]
        held = [worker.turn()[0] for worker in small]
        urgent = add(queue, "big", 1)
        assert big.turn() == []
        assert small[0].turn(held[0]) == []
        assert not big.rung()
        assert small[0].turn() == []
        assert small[1].turn(held[1]) == []
        assert big.rung()
        assert [*small[0].turn(), *small[1].turn()] == []
        assert big.turn() == [urgent]
        assert big.turn(urgent) == []
        assert small[0].rung() or small[1].rung()
        assert [worker.turn()[0] for worker in small] == stream[2:4]

    def test_s6_between_real_workers(self, queue: Queue, start_worker: Callable[..., ThreadWorker]) -> None:
        """S6: while one worker drains less urgent jobs of a seat each, a job that needs all seats starts at once."""
        queue.pools.set("vault", 2)
        started: list[str] = []
        nap = threading.Event()

        def small(ctx: Context) -> None:
            started.append("small")
            nap.wait(0.005)

        def big(ctx: Context) -> None:
            started.append("big")

        stream, urgent = Handlers(), Handlers()
        stream.handler("small", uses={"vault": 1}, isolation="thread")(small)
        urgent.handler("big", uses={"vault": 2}, isolation="thread")(big)
        start_worker(stream, slots=4)
        start_worker(urgent)
        ids = [add(queue, "small", 50) for _ in range(400)]
        wait_until(lambda: len(started) > 20)
        for _ in range(5):
            began = len(started)
            queue.enqueue("big", priority=1).result(timeout=10)
            assert started[began:].index("big") < 40  # 0.1 s; none of them is meant to start once it has looked
        assert len(started) < len(ids)
        nap.set()

    def test_s6_the_next_of_the_line_claims_too(self, queue: Queue, idle: Fakes, fake: Fakes) -> None:
        """S6: when a worker takes the claimant, the job behind it claims for another worker that is idle."""
        queue.pools.set("vault", 2)
        small, one, two = fake(small={"vault": 1}), idle(a={"vault": 1}), idle(a={"vault": 1})
        long, held = add(queue, "small", 50), add(queue, "small", 50)
        other = fake(small={"vault": 1})
        assert [*other.turn(), *small.turn()] == [long, held]
        first, second = add(queue, "a", 1), add(queue, "a", 1)
        assert [*one.turn(), *two.turn()] == []
        add(queue, "small", 50)
        assert small.turn(held) == []
        assert one.turn() == [first]
        assert other.turn(long) == []
        assert two.rung()
        assert two.turn() == [second]

    def test_s6_a_claim_ends_where_it_is_taken(self, queue: Queue, idle: Fakes) -> None:
        """S6: a job that takes its seats claims none any more: the next one is not held back for it."""
        queue.pools.set("vault", 2)
        holder, one, two = idle(h={"vault": 2}), idle(a={"vault": 1}, slots=2), idle(a={"vault": 1})
        add(queue, "h", 90)
        assert len(holder.turn()) == 1
        jobs = [add(queue, "a"), add(queue, "a")]
        assert [*one.turn(), *two.turn()] == []
        holder.settle()
        assert one.turn() == jobs

    @pytest.mark.parametrize("way", ["leaves", "dies", "busy", "paused", "all paused", "cancelled", "moved"])
    def test_s6_a_claim_lapses(self, queue: Queue, idle: Fakes, way: str) -> None:
        """S6: a claim counts only while its job could start and a worker of its type waits for it. What it held back
        starts then, without anybody's look by himself; only a death has to be noticed first."""
        queue.pools.set("vault", 2)
        small = idle(small={"vault": 1}, slots=2)
        big = idle(big={"vault": 2}, other={}, block=0.01 if way == "dies" else 60)
        small_ids = [add(queue, "small", 50), add(queue, "small", 50)]
        assert small.turn(want=1) == small_ids[:1]
        claimant = queue.enqueue("big", priority=1)
        assert big.turn() == []
        assert small.turn() == []
        match way:
            case "leaves":
                big.leave()
            case "busy":
                add(queue, "other", 1)
                assert len(big.turn()) == 1
            case "paused":
                queue.pause("big")
            case "all paused":
                queue.pause()
                with queue.pools.session("vault", timeout=0):
                    pass
                queue.resume()
                queue.pause("big")
            case "cancelled":
                claimant.cancel()
            case "moved":
                claimant.move(priority=99)
        if way == "dies":
            wait_until(lambda: small.turn() == small_ids[1:], 3)
        else:
            assert small.rung()
            assert small.turn() == small_ids[1:]

    def test_s6_a_job_that_could_never_start_claims_nothing(self, queue: Queue, idle: Fakes) -> None:
        """S6: neither one that needs too much, nor one that is kept out, nor one whose other pool is not there."""
        queue.pools.set("vault", 2, keep=1, keep_priority=1)
        worker = idle(big={"vault": 3}, kept={"vault": 2}, lone={"vault": 1, "none": 1}, small={"vault": 1})
        for type_ in ("big", "kept", "lone"):
            add(queue, type_, 5)
        easy = add(queue, "small", 50)
        assert worker.turn() == [easy]
        assert waiters(queue, "vault") == []

    def test_s6_a_claim_that_became_impossible_does_not_count(self, queue: Queue, idle: Fakes) -> None:
        """S6: it was claimed when it could be had; then the pool was made smaller."""
        queue.pools.set("vault", 3)
        big, small = idle(big={"vault": 3}), idle(small={"vault": 1}, slots=3)
        held, next_, last = (add(queue, "small", 50) for _ in range(3))
        assert small.turn(want=1) == [held]
        add(queue, "big", 1)
        assert [*big.turn(), *small.turn()] == []
        queue.pools.set("vault", 2)
        big.turn()
        assert small.rung()
        assert small.turn() == [next_]
        assert small.turn(held) == [last]

    def test_s6_an_overtaken_head_does_not_claim_as_well(self, queue: Queue, idle: Fakes) -> None:
        """S6: of a line only the most urgent job claims; what others may have is not withheld for the whole line."""
        queue.pools.set("p", 1)
        queue.pools.set("q", 2)
        big, small = idle(big={"p": 1, "q": 1}), idle(small={"q": 1})
        with queue.pools.session("p"):
            add(queue, "big", 9)
            big.turn()
            add(queue, "big", 5)
            big.turn()
            easy = add(queue, "small", 50)
            assert small.turn() == [easy]
            small.settle()

    def test_s6_many_lapsed_claims_hide_none_that_counts(self, queue: Queue, fake: Fakes, idle: Fakes) -> None:
        """S6: more waiters than are looked at, all of workers that are gone, before the one that counts."""
        queue.pools.set("vault", 2)
        types = {f"t{number}": {"vault": 2} for number in range(40)}
        small = fake(small={"vault": 1}, slots=2)
        held = [add(queue, "small", 90), add(queue, "small", 90)]
        assert small.turn() == held
        names = list(types)
        many = [idle({name: types[name] for name in half}) for half in (names[:20], names[20:])]
        for type_ in types:
            add(queue, type_, 5)
        assert [worker.turn() for worker in many] == [[], []]
        assert len(waiters(queue, "vault")) == 40
        for worker in many:
            worker.leave()
        last = idle(last={"vault": 2})
        urgent = add(queue, "last", 9)
        assert last.turn() == []
        add(queue, "small", 90)
        small.settle(held[0])
        assert small.turn() == []
        assert small.turn(held[1]) == []
        assert last.rung()
        assert last.turn() == [urgent]
