"""A worker's control: what people ask of it, how it sleeps, what its jobs tell.

Fake workers act only when the test says so, so every order of events can be had.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import Gate, ThreadWorker

from seatline.producer import Job, Queue
from seatline.producer.why import Scene
from seatline.shared import scripts
from seatline.shared.calls import reads, workers
from seatline.shared.calls.workers import Note
from seatline.shared.errors import InvalidInput, NoSuchWorker
from seatline.worker import Handlers

Fakes = Callable[..., FakeWorker]
Word = Literal["pause", "resume", "stop", "stop-now"]


@pytest.fixture
def fake(server: RealServer, namespace: str) -> Iterator[Fakes]:
    """Make fake workers: ``fake("a", "b", slots=2)`` for types that use nothing, or ``fake(vault={"vault": 1})``."""
    with contextlib.ExitStack() as made:

        def make(
            *types: str, slots: int = 1, lease: float = 60.0, if_lost: str = "interrupt", **uses: Any
        ) -> FakeWorker:
            needs = {**{type_: {} for type_ in types}, **uses}
            worker = FakeWorker(server.url, namespace, needs, slots=slots, lease=lease, if_lost=if_lost)
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

    def test_q23_a_real_handler_is_told_within_a_second(
        self, queue: Queue, start_worker: Callable[..., ThreadWorker]
    ) -> None:
        """Q23: renewals are 10 s apart, and the flag arrives with the bell."""
        gate, handlers = Gate(), Handlers()
        handlers.handler("gate")(gate.run)
        start_worker(handlers, lease=30, renew=10)
        handle = queue.enqueue("gate")
        wait_until(lambda: gate.begun)
        before = time.monotonic()
        assert handle.cancel() == "asked"
        assert handle.wait(timeout=5).state == "cancelled"
        assert time.monotonic() - before < 1

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
        assert ask(queue, worker, "pause", "someone@host") == "pause"
        assert worker.renew().asked == "pause"
        known = presence(queue, redis, worker)
        assert known["asked_by"] == "someone@host"
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
        ask(queue, worker, "pause", "someone")
        assert worker.hear() == "look"
        before = presence(queue, redis, worker)
        ask(queue, worker, "pause", "bert")
        assert worker.hear() == "look"
        assert presence(queue, redis, worker) == before
        told = [event for event in events(queue, redis) if b"asked" in event]
        assert told == [{b"asked": worker.id.encode(), b"word": b"pause", b"by": b"someone"}]


class TestSleep:
    """Classic mode: a worker that is away until it wakes by itself."""

    def test_c2_asleep_it_counts_as_live(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C2, Q15, W1: until it wakes, and its presence longer, its types are supported; it holds no bell."""
        worker = fake("a")
        assert worker.turn(waits=False) == []
        before = time.time()
        until = worker.sleep(600, presence=30)
        assert before + 599 < until / 1000 < time.time() + 601
        keys = queue.store.keys
        for name in (f"worker:{worker.id}", f"offer:{worker.digest}"):
            assert 600_000 < int(redis.pttl(keys(name))) <= 630_000
        assert presence(queue, redis, worker)["state"] == "sleeping"
        assert until + 29_000 < float(redis.zscore(keys("workers"), worker.id) or 0) < until + 31_000
        handle = queue.enqueue("a")
        assert "no-worker" not in {obstacle.reason for obstacle in handle.why()}
        assert list(redis.scan_iter(keys("bell:*"))) == []

    def test_w1_why_says_that_all_its_workers_sleep(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """W1, C2: a job whose workers are all asleep, or all paused, is told so; one that is awake ends that."""
        worker = fake("a")
        worker.sleep(600)
        key = queue.store.keys(f"worker:{worker.id}")
        redis.hset(key, "state", "sleeping until 2030-01-01T00:00:00Z")
        handle = queue.enqueue("a")
        (asleep,) = handle.why()
        assert (asleep.reason, "the first until 2030-01-01T00:00:00Z" in asleep.message) == ("asleep", True)
        redis.hset(key, "state", "paused")
        (paused,) = handle.why()
        assert "paused or stopping" in paused.message
        awake = fake("a")
        assert awake.turn() == [handle.id]
        (behind,) = queue.enqueue("a").why()
        assert "every slot" in behind.message

    def test_c2_awake_again_it_is_as_before(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C2: it makes its offer, takes its turn, and is registered no longer; its presence has the usual term."""
        worker = fake("a")
        worker.sleep(600)
        handle = queue.enqueue("a")
        worker.offer(presence=60)
        assert worker.turn(waits=False) == [handle.id]
        assert redis.zcard(queue.store.keys(f"idle:{worker.digest}")) == 0
        assert int(redis.pttl(queue.store.keys(f"worker:{worker.id}"))) <= 60_000
        assert worker.renew().words == ["held"]

    @pytest.mark.parametrize("what", ["renew", "offer", "sleep less"])
    def test_q15_one_that_is_awake_does_not_shorten_it(
        self, queue: Queue, redis: Redis, fake: Fakes, what: str
    ) -> None:
        """Q15: of two workers of the same types the one that wakes last says how long these are supported."""
        asleep, awake = fake("a"), fake("a")
        asleep.sleep(600)
        acts: dict[str, Callable[[], object]] = {
            "renew": awake.renew, "offer": awake.offer, "sleep less": lambda: awake.sleep(5)
        }  # fmt: skip
        acts[what]()
        assert int(redis.pttl(queue.store.keys(f"offer:{asleep.digest}"))) > 600_000
        awake.leave()
        assert Scene.of(queue.store).served("a")

    def test_c2_it_is_not_rung_in_place_of_one_that_can_come(self, queue: Queue, fake: Fakes) -> None:
        """C2, DESIGN 5.6: whoever is awake is rung, with however many asleep beside it."""
        sleepers = [fake("a") for _ in range(3)]
        for worker in sleepers:
            worker.sleep(600)
        awake = fake("a", slots=2)
        assert awake.turn() == []
        handles = [queue.enqueue("a") for _ in range(3)]
        assert awake.hear() == "ring"
        assert awake.turn() == [handle.id for handle in handles[:2]]
        assert [worker.hear() for worker in sleepers] == ["", "", ""]

    def test_c2_the_alarm_is_passed_on(self, queue: Queue, fake: Fakes) -> None:
        """C2, DESIGN 5.6: who sleeps wakes nobody at a due moment; one that is awake takes the alarm."""
        sleeper, awake = fake("a"), fake("a")
        queue.enqueue("a", delay=30)
        assert sleeper.turn() == awake.turn() == []
        assert (sleeper.due >= 0, awake.due) == (True, -1)
        sleeper.sleep(600)
        assert awake.hear() == "ring"
        awake.turn()
        assert awake.due >= 0

    def test_c13_what_is_asked_of_a_sleeper_waits_for_it(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C13: it cannot be rung; its first renewal brings the word."""
        worker = fake("a")
        worker.sleep(600)
        assert ask(queue, worker, "stop") == "stop"
        assert list(redis.scan_iter(queue.store.keys("bell:*"))) == []
        worker.offer()
        assert worker.renew().asked == "stop"

    @pytest.mark.parametrize("comes", ["before its last look", "after its last look"])
    def test_s6_a_stream_does_not_starve_what_waits_for_a_sleeper(self, queue: Queue, fake: Fakes, comes: str) -> None:
        """S6, C2: a job for two seats of two, whose only worker sleeps: seats that come free stay free until it wakes."""
        queue.pools.set("vault", 2)
        stream = fake(small={"vault": 1}, slots=2)
        bulk = [queue.enqueue("small", priority=100).id for _ in range(9)]
        assert stream.turn() == bulk[:2]
        sleeper = fake(large={"vault": 2})
        if comes == "after its last look":
            assert sleeper.turn(waits=False) == []
        urgent = queue.enqueue("large", priority=1)
        if comes == "before its last look":
            assert sleeper.turn(waits=False) == []
        sleeper.sleep(600)
        assert stream.turn(bulk[0]) == []
        assert stream.turn(bulk[1]) == []
        stream.renew()
        assert stream.turn() == []
        assert (queue.pools["vault"].in_use, queue.pools["vault"].free) == (0, 2)
        assert not stream.rung()
        sleeper.offer()
        assert sleeper.turn(waits=False) == [urgent.id]
        sleeper.settle(urgent.id)
        assert stream.rung()
        assert stream.turn() == bulk[2:4]

    def test_s6_a_sleeper_that_never_wakes_keeps_no_seats(self, queue: Queue, fake: Fakes) -> None:
        """S6: its claims lapse with its presence."""
        queue.pools.set("vault", 1)
        stream, sleeper = fake(small={"vault": 1}), fake(large={"vault": 1})
        (first, second) = (queue.enqueue("small") for _ in range(2))
        assert stream.turn() == [first.id]
        queue.enqueue("large", priority=1)
        sleeper.sleep(0.1, presence=0.1)
        assert stream.turn(first.id) == []
        assert wait_until(stream.turn, 5, "the end of the claim") == [second.id]

    def test_c2_a_paused_namespace_claims_nothing(self, queue: Queue, fake: Fakes) -> None:
        """C2, Q19: what is held back keeps no seats, asleep or awake."""
        queue.pools.set("vault", 1)
        queue.pause()
        sleeper = fake(large={"vault": 1})
        queue.enqueue("large")
        with queue.pools.session("vault"):
            sleeper.sleep(600)
            assert queue.pools["vault"].waiting == ()


def note(worker: FakeWorker, *notes: Note) -> list[str]:
    return worker.store.run(workers.note(notes))


def told(worker: FakeWorker, job_id: str, *lines: str, **fields: str | int) -> Note:
    """Make a note of a job that the worker holds."""
    return Note(job_id, worker.held[job_id].token, fields, lines)


class TestNotes:
    def test_c17_lines_and_progress_are_kept(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C17: each line with the server's time in front, oldest first; progress stands in the job's hash."""
        worker = fake("a", slots=2)
        one, two = queue.enqueue("a"), queue.enqueue("a")
        worker.turn()
        assert note(
            worker, told(worker, one.id, "first ü", "", progress="1 of 3"), told(worker, two.id, overdue=1)
        ) == ["kept", "kept"]
        assert note(worker, told(worker, one.id, "with  blanks\nand a second line", progress="2 of 3")) == ["kept"]
        kept = queue.store.read(reads.log_lines(queue.store.keys, one.id))
        assert ([line for _, line in kept.lines], kept.cut) == (["first ü", "", "with  blanks\nand a second line"], 0)
        clock = queue.store.read(reads.server_time())
        assert all(0 <= clock - when.timestamp() * 1000 < 5_000 for when, _ in kept.lines)
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:]+\.\d{3}\+00:00 first ü", one.log()[0])
        assert redis.hget(queue.store.keys.job(one.id), "progress") == b"2 of 3"
        assert redis.hget(queue.store.keys.job(two.id), "overdue") == b"1"
        assert two.log() == []

    def test_c17_a_stale_lease_leaves_no_note(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C17, Q14: of a lease that was given back, or whose job has ended, nothing is kept; of the others all is."""
        before, after = fake("a"), fake("a", slots=3)
        lost, ended, good = (queue.enqueue("a") for _ in range(3))
        before.turn()
        zombie = told(before, lost.id, "nobody reads this", progress="99 of 100")
        before.turn(lost.id, outcome="returned", want=0)
        after.turn()
        over = told(after, ended.id, "too late")
        after.turn(ended.id, want=0)
        never = Note("0000000000009999", "w:1:1", {"progress": "1"}, ["no such job"])
        assert note(before, zombie, over, never, told(after, good.id, "here")) == ["stale", "stale", "stale", "kept"]
        assert lost.log() == ended.log() == []
        assert redis.hget(queue.store.keys.job(lost.id), "progress") is None
        assert [line.partition(" ")[2] for line in good.log()] == ["here"]
        assert not redis.exists(queue.store.keys.job("0000000000009999"))

    def test_c17_the_newest_lines_are_kept(self, queue: Queue, fake: Fakes) -> None:
        """C17, R4: a thousand; how many were cut is said in the first line."""
        worker = fake("a")
        handle = queue.enqueue("a")
        worker.turn()
        for start in (0, 1000, 2000):
            note(worker, told(worker, handle.id, *(f"line {n}" for n in range(start, min(start + 1000, 2300)))))
        log = handle.log()
        assert log[0] == "... 1300 older lines were cut"
        assert [line.partition(" ")[2] for line in log[1:]] == [f"line {n}" for n in range(1300, 2300)]

    def test_c17_a_call_is_bounded(self, queue: Queue, fake: Fakes) -> None:
        """C17: 64 jobs and 1,000 lines go into one call; more is refused before it is sent."""
        worker = fake("a", slots=64)
        ids = queue.enqueue_many(Job("a") for _ in range(64))
        assert worker.turn() == ids
        most = [
            told(worker, job_id, *(["x" * 500] * (15 + 40 * (at == 0))), progress="1") for at, job_id in enumerate(ids)
        ]
        assert sum(len(each.lines) for each in most) == 1000
        assert note(worker, *most) == ["kept"] * 64
        with pytest.raises(InvalidInput, match="64 jobs with 1001 lines"):
            note(worker, *most[:-1], told(worker, ids[-1], *(["x"] * 16)))
        with pytest.raises(InvalidInput, match="65 jobs"):
            note(worker, *([told(worker, ids[0])] * 65))
        assert note(worker) == []

    def test_c17_the_log_lives_and_dies_with_its_job(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """C17: it goes on in the next attempt and over a resubmit; removed, nothing is left."""
        worker = fake("a")
        handle = queue.enqueue("a")
        for attempt in (1, 2):
            worker.turn(waits=False)
            note(worker, told(worker, handle.id, f"attempt {attempt}"))
            worker.settle(handle.id, outcome="failed")
            if attempt == 1:
                handle.resubmit()
        assert [line.partition(" ")[2] for line in handle.log()] == ["attempt 1", "attempt 2"]
        assert redis.pttl(queue.store.keys.job(handle.id) + ":log") == -1
        handle.remove()
        assert not redis.exists(queue.store.keys.job(handle.id) + ":log")

    def test_r2_a_note_sent_again_is_kept_once(self, queue: Queue, redis: Redis, fake: Fakes) -> None:
        """R2, C17: numbered in its lane, a repeat writes no line twice."""
        worker = fake("a")
        handle = queue.enqueue("a")
        worker.turn()
        call = workers.note([told(worker, handle.id, "once")])
        keys = [queue.store.keys.about, queue.store.keys.lane("again", 1)]
        for _ in range(2):
            reply: Any = redis.eval(scripts.script("note").text, 2, *keys, 1, "digest", *call.words)
            assert reply == [b"ok", b"kept"]
        assert len(handle.log()) == 1


class TestLost:
    """What an interrupted job says of who lost it (T4)."""

    def lose(self, lost: FakeWorker, finder: FakeWorker) -> list[str]:
        """Let a worker's lease run out and be reaped."""
        job_ids = lost.turn()
        assert job_ids
        lost.held.clear()
        suspects = wait_until(lambda: finder.renew().suspects, 5, "the end of the lease")
        return finder.reap(*suspects)

    @pytest.mark.parametrize("known", [True, False], ids=["presence", "no presence"])
    def test_t4_the_error_names_the_worker_and_its_host(
        self, queue: Queue, redis: Redis, fake: Fakes, known: bool
    ) -> None:
        """T4: by its presence, or, if that has expired meanwhile, by its id, which begins with the host."""
        lost, finder = fake("a", lease=0.3), fake("b")
        lost.id = "cad-01.lab.4242.k3v9m2"
        lost.offer()
        handle = queue.enqueue("a")
        if not known:
            redis.delete(queue.store.keys(f"worker:{lost.id}"))
        assert self.lose(lost, finder) == ["interrupted"]
        where = "here" if known else "cad-01.lab"
        error = f"its worker cad-01.lab.4242.k3v9m2 on {where} was lost while it ran (lost once)"
        assert handle.record().error == error

    def test_t4_the_error_counts_the_losses(self, queue: Queue, fake: Fakes) -> None:
        """T4, DESIGN 5.5: a job that is run again when lost is interrupted the third time, and says so."""
        lost, finder = fake("a", lease=0.3, if_lost="rerun"), fake("b")
        handle = queue.enqueue("a")
        assert [self.lose(lost, finder) for _ in range(3)] == [["ready"], ["ready"], ["interrupted"]]
        assert handle.record().error == f"its worker {lost.id} on here was lost while it ran (lost 3 times)"
