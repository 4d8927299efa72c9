"""Histories of built-in events, and of events of handlers (Q20): what the scripts must do, and their mutants do not.

After each call the whole namespace must be sound, as ``seatline verify`` judges it. The clock is the test's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model.order_stories import LEASE, TYPES, Orders
from seatline.producer import Job, Step
from seatline.producer.triggers import FactsEmitted, facts_emitted
from seatline.shared.calls import jobs, triggers, workers
from seatline.shared.calls.base import Call, Read, text
from seatline.shared.calls.jobs import Batch
from seatline.shared.job import job_words

__all__ = ["EVENT_STORIES", "Facts"]

PAIR = (Job("plain", {"to": "me"}), Job("seated", {"n": 9}, 7))
ROUNDS_MOST = 40  # of asking and answering in one telling of facts


class Facts(Orders):
    """Tells a namespace of what happens in it."""

    def trigger(self, event: str, *wanted: Job, coalesce: float | None = None) -> None:
        self.do(triggers.set_trigger(event, wanted or PAIR, coalesce, "me"))

    def submit(self, *wanted: Job, depth: int = 0) -> list[str]:
        """Enqueue jobs before which so many triggers lie."""
        words = [job_words(job) for job in wanted]
        if depth:
            words = [[str(int(each[0]) + 2), *each[1:], "depth", str(depth)] for each in words]
        return [each.id for each in self.do(jobs.submit(words))]

    def take_ids(self, want: int) -> list[str]:
        before = len(self.held)
        self.turn(want, [])
        return [taken.id for taken in self.held[before:]]

    def report(self, outcome: str, *emits: str) -> list[str]:
        """End what is held, with a word on what its handler has emitted; returns what the turn says is due."""
        told = [triggers.emitted_words(event, {"of": event}, None, None) for event in emits]
        made = [self.ended(taken, outcome) for taken in self.held]
        for report in made:
            report.jobs = list(told)
        self.held = []
        call = workers.turn(
            worker="w1", digest="abcd", lease_ms=LEASE, want=0, bell="b1", block_ms=5_000, listed=False, kept=workers.Kept(),
            reports=made,
        )  # fmt: skip
        return sorted(set(self.do(call, "w1").planned))

    def fail(self, count: int = 1, *, depth: int = 0) -> list[str]:
        """Have jobs fail for good, one after the other; returns their ids."""
        ids: list[str] = []
        for _ in range(count):
            (job_id,) = self.submit(Job("plain", priority=1), depth=depth)
            assert self.take_ids(1) == [job_id]
            self.report("failed")
            ids.append(job_id)
        return ids

    def asked(self, call: Call[Any] | Read[Any]) -> Any:
        """Answer what a talk asks; a numbered call is made twice (R2)."""
        if isinstance(call, Call):
            word, value = self.real.run(call)
            assert word in {"ok", "changed"}, word
            again = self.real.run(call, number=self.real.number("c"))
            assert again[0] == word
            self.look()
            return value
        return call.parse([self._reply(*command) for command in call.commands])

    def _reply(self, verb: Any, key: Any, *more: Any) -> Any:
        if verb == "HGETALL":
            found: Any = self.real.client.hgetall(key)
            return [word for pair in found.items() for word in pair]
        return self.real.client.lrange(key, *more)

    def emit(self, event: str = "job.failed") -> FactsEmitted:
        """Do what a worker does that is told of an event."""
        talk, answer = facts_emitted(self.real.keys, event), None
        for _ in range(ROUNDS_MOST):
            try:
                asked = talk.send(answer)
            except StopIteration as end:
                done: FactsEmitted = end.value
                return done
            assert isinstance(asked, Call | Read)
            answer = self.asked(asked)
        raise AssertionError(f"the facts of {event} do not come to an end")

    def read(self, event: str = "job.failed") -> Call[Batch | None]:
        """Do the first half of that: the call that a worker is about to make."""
        talk = facts_emitted(self.real.keys, event)
        asked = talk.send(self.asked(next(talk)))  # type: ignore[arg-type]
        assert isinstance(asked, Call)
        return asked

    def waiting(self, event: str = "job.failed") -> int:
        found: Any = self.real.client.llen(self.real.keys(f"happened:{event}"))
        return int(found)

    def due(self, event: str = "job.failed") -> int | None:
        found: Any = self.real.client.zscore(self.real.keys("schedules"), f"event:{event}")
        return None if found is None else int(found)

    def field(self, key: str, name: str) -> str:
        found: Any = self.real.client.hget(self.real.keys(key), name)
        return "" if found is None else text(found)

    def made(self, event: str = "job.failed") -> list[dict[str, str]]:
        """Return the jobs of an event, without their params."""
        found = []
        for key in sorted(self.real.client.scan_iter(self.real.keys("job:" + 16 * "?"))):
            hash_: Any = self.real.client.hgetall(key)
            job = {text(name): text(value) for name, value in hash_.items() if name != b"params"}
            if job.get("event") == event:
                found.append(job)
        return found


def each_failure_is_told_once(f: Facts) -> None:
    """Q20: it waits from its end on until its jobs are accepted, in one step; whoever settles is told of it."""
    f.trigger("job.failed")
    f.submit(Job("plain"))
    f.take_ids(1)
    assert f.report("failed") == ["event:job.failed"]
    assert (f.waiting(), f.due()) == (1, f.clock)
    f.fail(2)
    assert f.emit() == FactsEmitted(3)
    assert (f.waiting(), f.due(), f.field("trigger:job.failed", "taken")) == (0, None, "3")
    made = f.made()
    assert [(job["type"], job.get("depth")) for job in made] == [("plain", "1"), ("seated", "1")] * 3
    assert f.emit() == FactsEmitted()


def nothing_is_told_of_what_goes_well(f: Facts) -> None:
    """Q20: nor of an attempt that runs again, nor to an event that triggers nothing."""
    f.trigger("job.failed")
    for outcome in ("succeeded", "skipped", "cancelled", "interrupted", "retry"):
        f.submit(Job("plain"))
        f.take_ids(1)
        assert f.report(outcome) == []
    f.submit(Job("plain"))
    f.take_ids(1)
    f.report("succeeded", "unheard")
    assert (f.waiting(), f.due(), f.waiting("unheard"), f.waiting("job.interrupted")) == (0, None, 0, 0)


def two_workers_have_read_it(f: Facts) -> None:
    """Q20: one makes its jobs; the other one, whose facts they were, takes none that came meanwhile."""
    f.trigger("job.failed")
    f.fail()
    slow = f.read()
    f.emit()
    f.fail()
    assert f.asked(slow) is None
    assert (f.waiting(), len(f.made())) == (1, 2)
    f.emit()
    assert len(f.made()) == 4


def many_are_one_job(f: Facts) -> None:
    """Q20: of those that are gathered the job has the deepest; a repeat adds nothing."""
    f.trigger("job.failed", Job("plain", {"to": "me"}), coalesce=10.0)
    f.fail(2)
    assert f.emit() == FactsEmitted(2)
    f.fail(depth=3)
    slow = f.read()
    assert f.emit() == FactsEmitted(1)
    assert f.asked(slow) is None
    f.fail()
    f.emit()
    (job,) = f.made()
    assert (job["gathered"], job.get("depth"), f.waiting()) == ("4", "4", 0)


def what_is_refused_waits(f: Facts) -> None:
    """Q20: it is put off for a minute, and made later; or at once with another trigger."""
    f.trigger("job.failed")
    f.fail()
    f.do(jobs.gate("", "closed", "me"))
    word, _ = f.real.run(f.read())
    assert (word, f.waiting(), f.due()) == ("closed", 1, f.clock + 60_000)
    f.look()
    f.do(jobs.gate("", "closed", ""))
    f.passes(1_000)
    old = f.read()
    f.trigger("job.failed", PAIR[0])
    assert f.asked(old) is None
    assert f.due() == f.clock
    f.emit()
    assert [job["type"] for job in f.made()] == ["plain"]
    f.fail(2)
    assert f.do(triggers.remove_trigger("job.failed", "me")) == 2
    assert (f.waiting(), f.due()) == (0, None)


def a_loop_ends(f: Facts) -> None:
    """Q20: eight triggers lie before the last one, and its history says so."""
    f.trigger("job.failed", PAIR[0])
    for depth, facts in ((7, 1), (8, 0)):
        (job_id,) = f.fail(depth=depth)
        assert f.emit() == FactsEmitted(facts)
        history: Any = f.real.client.lrange(f.real.keys.job(job_id) + ":history", 0, -1)
        assert ["event job.failed triggers nothing" in text(line) for line in history] == [True] * (1 - facts)
    assert [job.get("depth") for job in f.made()] == ["8"]
    assert f.field("trigger:job.failed", "missed") == "1"


def a_handler_emits(f: Facts) -> None:
    """Q20: with a good end of its job, of which it has one trigger more before it."""
    f.trigger("drawn")
    for outcome, facts in (("failed", 0), ("retry", 0), ("succeeded", 2), ("skipped", 4)):
        f.submit(Job("plain"), depth=2)
        f.take_ids(1)
        f.report(outcome, "drawn", "unheard", "drawn")
        assert (f.waiting("drawn"), f.waiting("unheard")) == (facts, 0)
    assert f.emit("drawn") == FactsEmitted(4)
    assert {job.get("depth") for job in f.made("drawn")} == {"3"}


def orders_end(f: Facts) -> None:
    """Q20: any end is told, a bad one twice."""
    f.trigger("order.finished", PAIR[0])
    f.trigger("order.failed", PAIR[0])
    f.define(Step("one", "plain"))
    for how, finished, failed in (("succeeded", 1, 0), ("failed", 2, 1)):
        f.start(how)
        f.take(1)
        f.end(how)
        assert (f.waiting("order.finished"), f.waiting("order.failed")) == (finished, failed)
    f.act("failed", "cancel")
    f.start("away", delay=60)
    f.act("away", "cancel")
    assert f.emit("order.finished") == FactsEmitted(4)
    assert f.emit("order.failed") == FactsEmitted(1)


def a_worker_is_lost(f: Facts) -> None:
    """Q20: told of once, with as many triggers before it as what it ran; again if it came back."""
    for event in ("worker.lost", "job.interrupted"):
        f.trigger(event, PAIR[0])
    for lost in (1, 2):
        (job_id,) = f.submit(Job("plain"), depth=4)
        f.take_ids(1)
        f.passes(91_000)
        found = [each for each in f.renew().suspects if (each.kind, each.a) in {("worker", "w1"), ("job", job_id)}]
        assert len(found) == 2
        early = [workers.Suspect("worker", "w1", "", found[-1].deadline - 1)]
        assert f.do(workers.reap("w2", early)) == ["alive"]
        assert f.do(workers.reap("w2", found)) == ["interrupted", "lost"]
        assert f.do(workers.reap("w2", found)) == ["alive", "alive"]
        assert [each.kind for each in f.renew().suspects] == []
        assert (f.emit("worker.lost"), f.emit("job.interrupted")) == (FactsEmitted(1), FactsEmitted(1))
        assert len(f.made("worker.lost")) == len(f.made("job.interrupted")) == lost
        f.held = []
        f.do(workers.offer("w1", "abcd", 90_000, {"host": "here", "pid": 7}, TYPES))
        while f.take_ids(3):
            f.report("succeeded")
    assert {job.get("depth") for job in f.made("worker.lost")} == {"5"}


#: All of them.
EVENT_STORIES: list[Callable[[Facts], None]] = [
    each_failure_is_told_once,
    nothing_is_told_of_what_goes_well,
    two_workers_have_read_it,
    many_are_one_job,
    what_is_refused_waits,
    a_loop_ends,
    a_handler_emits,
    orders_end,
    a_worker_is_lost,
]
