"""A worker's control: what people ask of it reaches it at once, idle, busy or asleep (C2, C13, C17, Q23).

Fake workers act only when the test says so, so every order of events can be had.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from harness.server import RealServer
from redis import Redis
from rules.fake_worker import FakeWorker

from seatline.producer import Queue
from seatline.shared.calls import workers
from seatline.shared.errors import NoSuchWorker

Fakes = Callable[..., FakeWorker]
Word = Literal["pause", "resume", "stop", "stop-now"]


@pytest.fixture
def fake(server: RealServer, namespace: str) -> Iterator[Fakes]:
    """Make fake workers for types that use nothing: ``fake("a", "b", slots=2)``."""
    with contextlib.ExitStack() as made:

        def make(*types: str, **options: Any) -> FakeWorker:
            worker = FakeWorker(server.url, namespace, {type_: {} for type_ in types}, **options)
            made.callback(worker.close)
            return worker

        yield make


def ask(queue: Queue, worker: FakeWorker, word: Word, by: str = "me") -> str:
    return queue.store.run(workers.ask(worker.id, word, by))


def presence(queue: Queue, redis: Redis, worker: FakeWorker) -> dict[str, str]:
    """Return what is stored of a worker."""
    known: Any = redis.hgetall(queue.store.keys(f"worker:{worker.id}"))
    return {name.decode(): value.decode() for name, value in known.items()}


def events(queue: Queue, redis: Redis) -> list[dict[bytes, bytes]]:
    """Return all that was told, in order."""
    told: Any = redis.xrange(queue.store.keys("events"))
    return [fields for _, fields in told]


class TestTheBell:
    def test_c13_a_look_and_a_ring_do_not_hide_each_other(self, queue: Queue, fake: Fakes) -> None:
        """C13: in whatever order they come, the worker hears the look, then the ring; each once."""
        first, second = fake("a"), fake("b")
        for worker in (first, second):
            worker.turn()
        queue.enqueue("a")
        ask(queue, first, "pause")
        ask(queue, first, "pause")
        ask(queue, second, "pause")
        ask(queue, second, "stop")
        queue.enqueue("b")
        queue.enqueue("b")
        for worker in (first, second):
            assert [worker.hear() for _ in range(3)] == ["look", "ring", ""]

    def test_c13_a_look_expires(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C13, DESIGN 4: a worker that does not hear collects nothing, and leaves nothing."""
        worker = fake("a")
        for word in ("pause", "resume", "pause"):
            ask(queue, worker, word)
        bell = queue.store.keys.bell(worker.bell)
        assert redis.lrange(bell, 0, -1) == [b"look"]
        assert 0 < int(redis.pttl(bell)) <= 30_000

    def test_c13_the_listener_tells_which_it_was(self, queue: Queue, fake: Fakes) -> None:
        """C13: on a real connection: a look, a ring, nothing."""
        worker = fake("a")
        listener = queue.store.listener()
        try:
            listener.name = worker.bell
            worker.turn()
            queue.enqueue("a")
            ask(queue, worker, "pause")
            assert [listener.wait(0.05) for _ in range(3)] == ["look", "ring", ""]
        finally:
            listener.close()

    def test_a_goodbye_passes_on_a_ring_and_no_look(self, queue: Queue, fake: Fakes) -> None:
        """DESIGN 5.6, C13: of what lay on the bell of one that leaves, only a ring is for others."""
        for rung in (False, True):
            leaving, other = fake("a", slots=2), fake("a")
            leaving.turn()
            other.turn()
            ask(queue, leaving, "stop")
            if rung:
                queue.enqueue("a")
            leaving.leave(last_turn=False)
            assert other.rung() == rung
            for job_id in other.turn():
                other.settle(job_id)
            other.leave()

    def test_i13_presence_that_expired_comes_back_with_a_term(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """I13: registered idle after its presence has expired, a worker that told its bell is not kept for ever."""
        worker = fake("a", lease=60)
        worker.turn()
        assert 0 < int(redis.pttl(queue.store.keys(f"worker:{worker.id}"))) <= 60_000
        redis.delete(queue.store.keys(f"worker:{worker.id}"))
        worker.turn()
        assert 0 < int(redis.pttl(queue.store.keys(f"worker:{worker.id}"))) <= 60_000
        assert not worker.renew().known, "nothing is known of it but its bell: it must register again"


class TestCancel:
    def test_q23_the_worker_that_runs_it_is_told_at_once(self, queue: Queue, fake: Fakes) -> None:
        """Q23: busy in all its slots, its bell is rung, and the renewal that follows brings the cancellation."""
        busy, other = fake("a"), fake("a")
        handle = queue.enqueue("a")
        assert busy.turn() == [handle.id]
        other.turn()
        assert handle.cancel() == "asked"
        assert busy.hear() == "look"
        assert busy.renew().words == ["cancel"]
        assert (busy.hear(), other.hear()) == ("", "")

    def test_q23_a_bell_that_has_another_name_now_is_rung(self, queue: Queue, fake: Fakes) -> None:
        """Q23: after a lost connection the bell has another name; the next renewal tells it."""
        worker = fake("a")
        handle = queue.enqueue("a")
        worker.turn()
        worker.bell = f"c{worker.id}"
        worker.renew()
        handle.cancel()
        assert worker.hear() == "look"

    def test_q23_a_job_whose_worker_is_gone_is_asked(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """Q23: nobody can be rung; the reaping sees that it was asked."""
        worker = fake("a")
        handle = queue.enqueue("a")
        worker.turn()
        redis.delete(queue.store.keys(f"worker:{worker.id}"))
        assert handle.cancel() == "asked"
        assert worker.hear() == ""

    def test_q23_a_waiting_job_rings_nobody(self, queue: Queue, fake: Fakes) -> None:
        """Q23: whoever ran it before has nothing to do with it any more."""
        worker = fake("a")
        handle = queue.enqueue("a")
        worker.turn()
        worker.turn(handle.id, outcome="returned", want=0)
        assert handle.cancel() == "cancelled"
        assert worker.hear() == ""


class TestAsk:
    def test_c13_the_renewal_brings_the_word(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C13: pause stands until resume; who asked, and when, stands beside it."""
        worker = fake("a")
        assert worker.renew().asked == ""
        assert ask(queue, worker, "pause", "anna@cad-01") == "pause"
        assert worker.renew().asked == "pause"
        known = presence(queue, redis, worker)
        assert known["asked_by"] == "anna@cad-01"
        assert re.fullmatch(r"\d{13}", known["asked_at"])
        worker.offer()
        assert worker.renew().asked == "pause", "to register again is no resume"
        assert ask(queue, worker, "resume") == "resume"
        assert worker.renew().asked == ""
        assert not {"asked", "asked_by", "asked_at"} & set(presence(queue, redis, worker))

    @pytest.mark.parametrize(
        ("before", "word", "stands"),
        [
            ("pause", "stop", "stop"),
            ("pause", "stop-now", "stop-now"),
            ("stop", "stop-now", "stop-now"),
            ("stop", "stop", "stop"),
            ("stop", "pause", "stop"),
            ("stop", "resume", "stop"),
            ("stop-now", "stop", "stop-now"),
            ("stop-now", "resume", "stop-now"),
        ],
    )
    def test_c13_a_stop_is_hastened_and_not_taken_back(
        self, queue: Queue, fake: Fakes, before: Word, word: Word, stands: str
    ) -> None:
        """C13: whoever asks for less is told what stands."""
        worker = fake("a")
        ask(queue, worker, before)
        assert ask(queue, worker, word) == stands
        assert worker.renew().asked == stands

    def test_c13_a_worker_that_is_not_there(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C13: one that never was, has left or was lost: the answer names where to look."""
        gone, lost = fake("a"), fake("a")
        gone.leave()
        redis.delete(queue.store.keys(f"worker:{lost.id}"))
        for worker in (gone, lost):
            with pytest.raises(NoSuchWorker, match=rf"worker {worker.id}: .*`seatline workers list`"):
                ask(queue, worker, "stop")
        assert not presence(queue, redis, lost), "nothing was written"

    def test_r2_asked_again_it_has_one_effect(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """R2: a word that stands is told once, and rings again: the first ring may have been lost."""
        worker = fake("a")
        ask(queue, worker, "pause", "anna")
        assert worker.hear() == "look"
        before = presence(queue, redis, worker)
        ask(queue, worker, "pause", "bert")
        assert worker.hear() == "look"
        assert presence(queue, redis, worker) == before
        told = [event for event in events(queue, redis) if b"asked" in event]
        assert told == [{b"asked": worker.id.encode(), b"word": b"pause", b"by": b"anna"}]
