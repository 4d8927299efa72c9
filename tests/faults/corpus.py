"""A valid call for every verb, and for every way a verb can go: what the faults are thrown at.

A `Scene` is one namespace with two clients. The first prepares; the second makes the one call under test. Both have
names of their own instead of random ones, so two scenes that went the same way are equal to the last lane and token.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from faults.snapshot import plain
from harness.waiting import wait_until

from seatline.console import mends
from seatline.shared.calls import jobs, keeping, loads, orders, pools, reads, schedules, triggers, workers
from seatline.shared.calls.base import Call, Read
from seatline.shared.calls.jobs import Chosen
from seatline.shared.calls.repair import Mend, repair
from seatline.shared.calls.schedules import ScheduleRecord, Shot
from seatline.shared.calls.triggers import TriggerRecord
from seatline.shared.calls.workers import Kept, Note, Report, Suspect, Taken, Turn
from seatline.shared.chain import Chain, Step
from seatline.shared.codec import pack_params
from seatline.shared.config import Settings
from seatline.shared.job import Job, attempt_text, job_words
from seatline.shared.order import order_words
from seatline.shared.plan import chain_words
from seatline.shared.store import Store
from seatline.shared.times import Plan

__all__ = ["CASES", "REPAIRS", "Case", "Scene", "same_answer"]

KEPT = Kept()
OFFER = "0ff1ce"
TYPES = {"seated": ("vault=1", "rerun"), "free": ("none", "interrupt")}
AN_HOUR = 3_600_000


class Scene:
    """One namespace, the client that prepares it (at ``url``) and the one under test (at ``caller_url``)."""

    def __init__(self, namespace: str, url: str, caller_url: str | None = None, *, timeout: float = 0.5) -> None:
        self.namespace = namespace
        self._before = Store(Settings(url=url, namespace=namespace))
        self._before.client = "before"
        self.caller = Store(
            Settings(url=caller_url or url, namespace=namespace, timeout=timeout, connect_timeout=1.0, deadline=5.0)
        )
        self.caller.client = "caller"
        self.ids: list[str] = []
        self.taken: list[Taken] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._before.close()
            self.caller.close()

    def do(self, call: Call[Any]) -> Any:
        """Make a call that belongs to the preparation."""
        return self._before.run(call)

    # The steps of which preparations are made.

    def submit(self, *submitted: Job) -> list[str]:
        new = [accepted.id for accepted in self.do(jobs.submit([job_words(job) for job in submitted]))]
        self.ids += new
        return new

    def pool(self, capacity: int = 2) -> None:
        self.do(pools.set_pool("vault", capacity))

    def offer(self, worker: str = "w1") -> None:
        self.do(offered(worker))

    def reserve(self, want: int, *, worker: str = "w1", lease_ms: int = AN_HOUR, reports: list[Report] | None = None,
                bell: str = "") -> list[Taken]:  # fmt: skip
        told: Turn = self.do(turned(worker, want, reports or [], lease_ms=lease_ms, bell=bell))
        self.taken += told.jobs
        return list(told.jobs)

    def finish(self, outcome: str = "failed") -> str:
        """Run one job of type ``free`` to its end, and return its id."""
        self.offer()
        (job,) = self.submit(Job("free"))
        (taken,) = self.reserve(1)
        report = Report(taken.id, taken.token, outcome, ["error_type", "Sad", "error", "no"], b"\xc0", AN_HOUR)
        self.reserve(0, reports=[report])
        return job

    def hold(self, ttl_ms: int = AN_HOUR, seats: int = 1) -> None:
        """Open a program's session."""
        self.do(pools.open_session("vault", "program:p:tok", seats, ttl_ms=ttl_ms, priority=10))

    def schedule(
        self, name: str, next_in: int, *more: str, replace: bool = False, words: list[str | bytes] | None = None
    ) -> ScheduleRecord:
        """Store a schedule of type ``free``, or of an order's words, whose next moment is so many ms from now; returns it
        as a worker reads it."""
        coming = self.clock() + next_in
        fields = [
            "every",
            "60000",
            "anchor",
            str(coming),
            "missed",
            "once",
            "most",
            "1",
            *more,
            *(words or job_words(Job("free")))[5:],
        ]
        self.do(schedules.set_schedule(name, fields, coming, "me", replace=replace))
        (record,) = self._before.read(schedules.schedule_records(self._before.keys, [name]))
        assert record is not None
        return record

    def trigger(self, *wanted: Job, coalesce: float | None = None) -> TriggerRecord:
        """Store what the event ``e`` enqueues; returns it as an emitter reads it."""
        self.do(triggers.set_trigger("e", wanted, coalesce, "me"))
        (record,) = self._before.read(triggers.trigger_records(self._before.keys, ["e"]))
        assert record is not None
        return record

    # Of orders.

    def chain(self, *steps: Step, most: int | None = None) -> None:
        self.do(defined(Chain("c", steps or TWO, max_orders=most)))

    def order(self, own: str, files: int = 0, **more: Any) -> str:
        """Start an order of the chain."""
        self.do(started(own, {"files": list(range(files))}, **more))
        return own

    def end(self, outcome: str, want: int = 0, *taken: Taken, goto: str = "") -> list[Taken]:
        """Settle the last step's job that was reserved, or these, all alike."""
        ended = taken or self.taken[-1:]
        return self.reserve(want, reports=[ended_by(each, outcome, goto=goto) for each in ended])

    def expand(self, count: int) -> None:
        """Do what a worker does with the job that expands a list, up to its report."""
        taken = self.taken[-1]
        self.do(expanded(taken, count))

    def each(self, count: int, want: int, *, partial: Literal["fail", "join"] = "fail") -> list[Taken]:
        """Have the elements of an order of one step under way; returns those that run."""
        self.offer()
        self.chain(Step("all", "free", each="files", partial=partial), *TWO)
        self.order("my", files=count)
        (taken,) = self.reserve(1)
        self.expand(count)
        return self.reserve(want, reports=[Report(taken.id, taken.token, "succeeded", ["count", count])])

    def clock(self) -> int:
        """Return the server's time in ms."""
        return self._before.read(reads.server_time())

    def run_of_old(self) -> None:
        """Let the namespace look as if an earlier run of the server had been the last to be met."""
        self._before.read(Read([("HSET", self._before.keys.about, "run", "0" * 40)], list))

    def put(self, key: str, field: str, value: int) -> None:
        """Set a field of a hash."""
        self._before.read(Read([("HSET", self._before.keys(key), field, value)], list))

    def silence(self, worker: str) -> None:
        """Let a worker look as if nothing had been heard of it for a minute."""
        until = self.clock() - 60_000
        self._before.read(Read([("ZADD", self._before.keys("workers"), until, worker)], list))

    def waiting(self, event: str) -> tuple[TriggerRecord, list[bytes]]:
        """Return a trigger and the facts that wait for it."""
        record, packed = self._before.read(triggers.waiting_facts(self._before.keys, event, 10))
        assert record is not None
        return record, packed

    def lose(self, key: str) -> None:
        """Let a key be gone, as if it had expired."""
        self._before.read(Read([("DEL", self._before.keys(key))], list))

    def suspects(self, count: int) -> list[Suspect]:
        """Return what a renewing worker sees as expired, once there is as much of it."""
        call = renewed("w2", [])
        return list(wait_until(lambda: (s := self.do(call).suspects)[count - 1 :] and s, message="expired leases"))


TWO = (Step("one", "free"), Step("two", "seated"))


def defined(chain: Chain) -> Call[tuple[int, bool]]:
    words, digest = chain_words(chain)
    return orders.define(chain.name, words, digest, chain.title, chain.max_orders, "me")


def started(own: str, params: dict[str, Any] | None = None, *, replace: bool = False, **more: Any) -> Call[Any]:
    return orders.start("c", order_words("c", params or {}, id=own or None, **more), replace=replace)


def ended_by(taken: Taken, outcome: str, *, goto: str = "") -> Report:
    """A report of a step's job; ``outcome`` may be 'retry'."""
    if outcome == "succeeded":
        return Report(taken.id, taken.token, outcome, ["goto", goto] if goto else [], b"\x81\xa1a\x01", AN_HOUR)
    if outcome == "retry":
        return Report(
            taken.id, taken.token, outcome, ["error", "no"], attempt_text(1, "w1", "Sad", "no", "").encode(), 5000
        )
    return Report(taken.id, taken.token, outcome, ["error_type", "Sad", "error", "no"])


def expanded(taken: Taken, count: int) -> Call[bool]:
    fields = dict(zip(taken.flat[::2], taken.flat[1::2], strict=True))
    order, step = fields[b"order"].decode(), fields[b"step"].decode()
    return orders.expand(taken.id, taken.token, order, step, 0, b"\x80", [bytes([n]) for n in range(count)])


def offered(worker: str) -> Call[None]:
    return workers.offer(worker, OFFER, AN_HOUR, {"host": "here", "pid": 1}, TYPES)


def turned(
    worker: str, want: int, reports: list[Report], *, lease_ms: int = AN_HOUR, bell: str = "", listed: bool = False
) -> Call[Turn]:
    return workers.turn(
        worker=worker, digest=OFFER, lease_ms=lease_ms, want=want, bell=bell, block_ms=5000, listed=listed, kept=KEPT,
        reports=reports,
    )  # fmt: skip


def renewed(worker: str, held: list[tuple[str, str]]) -> Call[Any]:
    return workers.renew(
        worker=worker, digest=OFFER, lease_ms=AN_HOUR, presence_ms=AN_HOUR, kept=KEPT, fields={"busy": 2}, held=held
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A way a verb can go: ``prepare`` a scene, which returns the call to be made.

    ``repeats`` is what an unnumbered verb answers when it is asked again after it has happened, where that differs.
    """

    name: str
    prepare: Callable[[Scene], Call[Any]]
    repeats: Any = field(default=...)

    @property
    def script(self) -> str:
        return self.name.partition("-")[0]


def same_answer(answer: Any) -> Any:
    """Return an answer as it can be compared: a turn rebuilt from the jobs knows their hashes as they are now."""
    if isinstance(answer, Turn):
        jobs_taken = [(taken.id, taken.token, taken.attempt, _given(taken)) for taken in answer.jobs]
        return (list(answer.states), plain(jobs_taken), answer.no_offer, answer.due >= 0)
    return plain(answer)


def _given(taken: Taken) -> dict[bytes, bytes]:
    """What the producer said; the rest of the hash is the server's."""
    pairs = dict(zip(taken.flat[::2], taken.flat[1::2], strict=True))
    return {name: pairs[name] for name in (b"type", b"priority", b"params", b"uses", b"events") if name in pairs}


# -- preparations, by verb


def _submit(scene: Scene) -> Call[Any]:
    wanted = [Job("free", {"n": 1}), Job("seated", {"n": 2}, priority=3), Job("free", {"n": 3}, uses={"vault": 2})]
    return jobs.submit([job_words(job) for job in wanted])


def _submit_rings(scene: Scene) -> Call[Any]:
    """Somebody idle is rung, once."""
    scene.offer()
    scene.reserve(2, bell="bell1")
    return jobs.submit([job_words(Job("free"))])


def _submit_later(scene: Scene) -> Call[Any]:
    """A job to come rings the holder of the alarm."""
    scene.offer()
    scene.submit(Job("free", delay=4))
    scene.reserve(1, bell="bell1")
    return jobs.submit([job_words(Job("free", delay=2)), job_words(Job("free", delay=4000))])


def _submit_token(scene: Scene) -> Call[Any]:
    scene.submit(Job("free", {"n": 1}, token="mine"))
    return jobs.submit([job_words(Job("free", {"n": n}, token=t)) for n, t in ((1, "mine"), (2, "new"), (2, "new"))])


def _submit_unique(scene: Scene) -> Call[Any]:
    """One with a key that lives, two with one that is new."""
    scene.submit(Job("free", {"n": 1}, unique="a"))
    wanted = [Job("free", {"n": 2}, unique="a"), Job("free", {"n": 3}, unique="b"), Job("free", {"n": 4}, unique="b")]
    return jobs.submit([job_words(job) for job in wanted])


def _submit_duplicate(scene: Scene) -> Call[Any]:
    """A key that lives, and refuses."""
    scene.submit(Job("free", unique="a"))
    return jobs.submit([job_words(Job("free")), job_words(Job("free", unique="a", on_duplicate="refuse"))])


def _supersede(scene: Scene) -> Call[Any]:
    """One takes the place of a waiting one that had claimed a seat, one that of a scheduled one; one waits behind another."""
    scene.pool(1)
    scene.hold()
    scene.offer()
    scene.submit(Job("seated", supersede="a"), Job("free", supersede="b", delay=60))
    scene.reserve(1, bell="bell1")
    wanted = [Job("seated", supersede="a"), Job("free", supersede="b"), Job("free", supersede="b", unique="b")]
    return jobs.submit([job_words(job) for job in wanted])


def _turn_supersedes(scene: Scene) -> Call[Any]:
    """A handler's jobs: one takes the place of another, one is there already, one is refused."""
    scene.offer()
    scene.submit(Job("free", {}, 1), Job("free", {}, 9, unique="a"), Job("free", {}, 9, supersede="b"))
    (taken,) = scene.reserve(1)
    new = [
        Job("free", unique="a"),
        Job("free", supersede="b"),
        Job("free", unique="a", on_duplicate="refuse"),
    ]
    report = Report(taken.id, taken.token, "succeeded", jobs=[job_words(job) for job in new])
    return turned("w1", 0, [report])


def _submit_closed(scene: Scene) -> Call[Any]:
    scene.do(jobs.gate("", "closed", "me"))
    return jobs.submit([job_words(Job("free"))])


def _turn(scene: Scene) -> Call[Any]:
    """Settle two, one with seats and one awaited; reserve two more; be idle for the rest."""
    scene.pool()
    scene.offer()
    scene.submit(Job("seated"), Job("free"), Job("free", {"n": 3}, priority=20), Job("seated", {"n": 4}, priority=20))
    first, second = scene.reserve(2)
    scene.do(jobs.wait(second.id, None, "waiter"))
    reports = [
        Report(first.id, first.token, "succeeded", [], b"\x05", AN_HOUR),
        Report(second.id, second.token, "failed", ["error_type", "Sad", "error", "no"]),
        Report(second.id, "somebody:1:9", "succeeded"),
    ]
    return turned("w1", 3, reports, bell="bell1")


def _turn_alarm(scene: Scene) -> Call[Any]:
    """Nothing to do yet: hold the alarm for what is due next."""
    scene.offer()
    scene.submit(Job("free", delay=3))
    return turned("w1", 1, [], bell="bell1")


def _turn_claim(scene: Scene) -> Call[Any]:
    """No free seat: claim it."""
    scene.pool(1)
    scene.offer()
    scene.submit(Job("seated"), Job("seated"))
    scene.reserve(1)
    return turned("w1", 1, [], bell="bell1")


def _turn_back(scene: Scene) -> Call[Any]:
    """Give back: not begun, begun and rerun, begun and interrupted."""
    scene.pool(3)
    scene.offer()
    scene.submit(Job("seated"), Job("seated"), Job("free"))
    taken = scene.reserve(3)
    outcomes = ("returned", "abandoned", "abandoned")
    return turned("w1", 0, [Report(t.id, t.token, outcome) for t, outcome in zip(taken, outcomes, strict=True)])


def _turn_no_offer(scene: Scene) -> Call[Any]:
    scene.submit(Job("free"))
    return turned("w1", 1, [])


def _turn_offer_lost(scene: Scene) -> Call[Any]:
    """The offer has expired: nothing is settled, nothing is lost, the job still runs."""
    scene.offer()
    scene.submit(Job("free"), Job("free"))
    (taken,) = scene.reserve(1)
    scene.lose(f"offer:{OFFER}")
    return turned("w1", 1, [Report(taken.id, taken.token, "succeeded")], bell="bell1")


def _turn_promotes(scene: Scene) -> Call[Any]:
    """What is due is promoted, and reserved in the same call."""
    scene.offer()
    scene.submit(Job("free", delay=0.001))
    due = scene.clock() + 2
    wait_until(lambda: scene.clock() >= due)
    return turned("w1", 1, [], bell="bell1", listed=True)


def _turn_retry(scene: Scene) -> Call[Any]:
    """Failed attempts: one runs again later, one at once and so in this very turn, one too late; another was to stop."""
    scene.pool(4)
    scene.offer()
    scene.submit(Job("seated"), Job("free"), Job("free", expires=10), Job("seated"))
    taken = scene.reserve(4)
    scene.do(jobs.cancel(taken[3].id, "me"))
    words, delays = ["error_type", "Sad", "error", "no"], (20_000, 0, 20_000, 20_000)
    reports = [
        Report(each.id, each.token, "retry", [*words], attempt_text(1, "w1", "Sad", "no", "").encode(), delay)
        for each, delay in zip(taken, delays, strict=True)
    ]
    return turned("w1", 4, reports, bell="bell1")


def _turn_enqueues(scene: Scene) -> Call[Any]:
    """Jobs come with two good ends, not with a bad one; a token says no to one of them. Somebody idle is rung."""
    scene.offer()
    scene.offer("w2")
    scene.submit(Job("free", {"n": 1}), Job("free"), Job("free"))
    scene.submit(Job("free", {"n": 1}, token="mine", delay=60))
    taken = scene.reserve(3)
    scene.reserve(2, worker="w2", bell="bell2")
    wanted = [
        [Job("free", {"n": 1}, token="mine"), Job("free", {"n": 2}, token="mine"), Job("free", {"n": 3}, delay=2)],
        [Job("seated", {"n": 4}, expires=60), Job("free", {"n": 5}, token="new")],
        [Job("free", {"n": 6})],
    ]
    reports = [
        Report(each.id, each.token, outcome, jobs=[job_words(job) for job in new])
        for each, outcome, new in zip(taken, ("succeeded", "skipped", "failed"), wanted, strict=True)
    ]
    return turned("w1", 1, reports)


def _expired(scene: Scene) -> None:
    """One that has a worker, one that has none, one that is scheduled, and one that may still start."""
    scene.pool()
    scene.offer()
    late = [
        Job("seated", priority=1, expires=0.001),
        Job("other", expires=0.001),
        Job("free", delay=0.001, expires=0.002),
    ]
    ids = scene.submit(*late, Job("seated", expires=60))
    scene.do(jobs.wait(ids[0], None, "waiter"))
    due = scene.clock() + 5
    wait_until(lambda: scene.clock() >= due)


def _turn_expired(scene: Scene) -> Call[Any]:
    _expired(scene)
    return turned("w1", 2, [])


def _turn_expires(scene: Scene) -> Call[Any]:
    _expired(scene)
    return turned("w1", 2, [], bell="bell1", listed=True)


def _renew_expires(scene: Scene) -> Call[Any]:
    _expired(scene)
    return renewed("w1", [])


def _renew(scene: Scene) -> Call[Any]:
    scene.pool()
    scene.offer()
    scene.submit(Job("seated"), Job("free"))
    first, second = scene.reserve(2)
    scene.do(jobs.cancel(second.id, "me"))
    return renewed("w1", [(first.id, first.token), (second.id, second.token), (first.id, "other:1:1")])


def _reap(scene: Scene) -> Call[Any]:
    """One runs again, one is interrupted, one had been asked to stop, and a program's session."""
    scene.pool(3)
    scene.offer()
    scene.submit(Job("seated"), Job("free"), Job("seated"))
    taken = scene.reserve(3, lease_ms=1)
    scene.do(jobs.cancel(taken[2].id, "me"))
    scene.hold(ttl_ms=1)
    return workers.reap("w2", scene.suspects(4))


def _offer(scene: Scene) -> Call[Any]:
    return offered("w1")


def _leave(scene: Scene) -> Call[Any]:
    """It was rung meanwhile and held the alarm: the next worker is rung instead."""
    scene.offer()
    scene.offer("w2")
    scene.submit(Job("free", delay=3))
    scene.reserve(1, bell="bell1")
    scene.reserve(1, worker="w2", bell="bell2")
    scene.submit(Job("free"))
    return workers.leave("w1", OFFER, "bell1")


def _leave_last(scene: Scene) -> Call[Any]:
    scene.offer()
    scene.reserve(1, bell="bell1")
    return workers.leave("w1", OFFER, "bell1")


def _wait(scene: Scene) -> Call[Any]:
    (job,) = scene.submit(Job("free"))
    return jobs.wait(job, None, "waiter")


def _wait_ended(scene: Scene) -> Call[Any]:
    return jobs.wait(scene.finish("succeeded"), None, "waiter")


def _cancel(scene: Scene) -> Call[Any]:
    """It had claimed a seat, and somebody waits for it."""
    _turn_claim(scene)
    scene.reserve(1, bell="bell1")
    scene.do(jobs.wait(scene.ids[1], None, "waiter"))
    return jobs.cancel(scene.ids[1], "me")


def _cancel_scheduled(scene: Scene) -> Call[Any]:
    (job,) = scene.submit(Job("free", delay=100))
    return jobs.cancel(job, "me")


def _cancel_running(scene: Scene) -> Call[Any]:
    scene.offer()
    (job,) = scene.submit(Job("free"))
    scene.reserve(2, bell="bell1")
    return jobs.cancel(job, "me")


def _ask(scene: Scene) -> Call[Any]:
    """It is busy, and was rung for more."""
    scene.offer()
    scene.submit(Job("free"))
    scene.reserve(2, bell="bell1")
    scene.submit(Job("free"))
    return workers.ask("w1", "pause", "me")


def _ask_resume(scene: Scene) -> Call[Any]:
    scene.do(_ask(scene))
    return workers.ask("w1", "resume", "me")


def _sleep(scene: Scene) -> Call[Any]:
    """It held the alarm; what it leaves claims a seat."""
    scene.pool(1)
    scene.hold()
    scene.offer()
    scene.offer("w2")
    scene.submit(Job("free", delay=4), Job("seated"))
    scene.reserve(1, bell="bell1")
    scene.reserve(1, worker="w2", bell="bell2")
    return workers.sleep("w1", OFFER, 600_000, 90_000, {"state": "sleeping"})


def _note(scene: Scene) -> Call[Any]:
    """One that runs, one whose lease is another's."""
    scene.offer()
    scene.submit(Job("free"))
    (taken,) = scene.reserve(1)
    notes = [Note(taken.id, taken.token, {"progress": "1"}, ["one", "two"]), Note(taken.id, "other:1:1", {}, ["three"])]
    return workers.note(notes)


def _cancel_missing(scene: Scene) -> Call[Any]:
    return jobs.cancel("0000000000000042", "me")


def _remove(scene: Scene) -> Call[Any]:
    (job,) = scene.submit(Job("free", token="mine"))
    scene.do(jobs.wait(job, None, "waiter"))
    return jobs.remove(job, "me")


def _remove_ended(scene: Scene) -> Call[Any]:
    return jobs.remove(scene.finish("succeeded"), "me")


def _resubmit(scene: Scene) -> Call[Any]:
    job = scene.finish()
    scene.reserve(1, bell="bell1")
    return jobs.resubmit(job, "me")


def _resubmit_refused(scene: Scene) -> Call[Any]:
    (job,) = scene.submit(Job("free"))
    return jobs.resubmit(job, "me")


def _move(scene: Scene) -> Call[Any]:
    _turn_claim(scene)
    scene.reserve(1, bell="bell1")
    return jobs.move(scene.ids[1], "me", 1)


def _move_scheduled(scene: Scene) -> Call[Any]:
    (job,) = scene.submit(Job("free", delay=100))
    return jobs.move(job, "me", 1)


def _many(scene: Scene, *states: str) -> Chosen:
    """One that has ended, two that run, one that claims a seat, one that is scheduled, one that is not there."""
    scene.finish()
    _turn_claim(scene)
    scene.reserve(1, bell="bell1")
    scene.submit(Job("free", delay=100))
    return Chosen([*scene.ids, "0000000000000042"], states, scene.clock() + AN_HOUR)


def _cancel_many(scene: Scene) -> Call[Any]:
    return jobs.cancel_many(_many(scene, "ready", "scheduled", "running"), "me")


def _remove_many(scene: Scene) -> Call[Any]:
    return jobs.remove_many(_many(scene), "me")


def _resubmit_many(scene: Scene) -> Call[Any]:
    return jobs.resubmit_many(_many(scene, "failed"), "me")


def _move_many(scene: Scene) -> Call[Any]:
    return jobs.move_many(_many(scene, "ready"), "me", 1)


def _gate(scene: Scene) -> Call[Any]:
    return jobs.gate("free", "paused", "me")


def _gate_lifted(scene: Scene) -> Call[Any]:
    scene.offer()
    scene.reserve(2, bell="bell1")
    scene.do(jobs.gate("", "paused", "me"))
    return jobs.gate("", "paused", "")


def _keep(scene: Scene) -> Call[Any]:
    scene.do(keeping.keep("failed", "free", 60, 10, "me"))
    return keeping.keep("succeeded", "", 3600, 5, "me")


def _keep_lifted(scene: Scene) -> Call[Any]:
    scene.do(keeping.keep("failed", "free", 60, 10, "me"))
    scene.finish()
    return keeping.keep("failed", "free", None, None, "me")


#: Each kind of base and of write; what is written is nobody's and goes again, or is right, so that nothing is broken then.
REPAIRS = [
    Mend("", (("kind", "deep:z", "", "none"),), (("set", "deep:z", "", "4"), ("term", "deep:z", "", "90000"))),
    Mend("", (("text", "deep:z", "", "=4"), ("term", "deep:z", "", "*")), (("incrby", "deep:z", "", "3"),)),
    Mend("", (("kind", "deep:z", "", "!zset"),), (("persist", "deep:z", "", ""), ("del", "deep:z", "", ""))),
    Mend("", (("score", "lost", "z", ""),), (("zadd", "lost", "z", "5"), ("lease", "lost", "y", "w1"))),
    Mend("", (("score", "lost", "z", "=5.0"), ("head", "lost", "", "=z 5")), (("zrem", "lost", "z", ""),)),
    Mend("", (("kind", "lost", "", "zset"),), (("del", "lost", "", ""),)),
    Mend("", (("member", "pools", "z", ""),), (("sadd", "pools", "z", ""), ("srem", "pools", "z", ""))),
    Mend("", (("field", "about", "versions", ""),), (("hset", "about", "versions", "99"),)),
    Mend("an id more is given, and skipped", (), (("incrby", "seq", "", "1"), ("hincrby", "about", "gaps", "1"))),
    Mend("of another kind", (("kind", "about", "", "hash"),), (("incrby", "about", "", "1"),)),
    Mend("no number", (), (("hincrby", "about", "creation", "1"),)),
    Mend("no set", (("member", "about", "schema", "*"),), (("del", "about", "", ""),)),
]


def _repair(scene: Scene) -> Call[Any]:
    """All that a mend may be, in one call."""
    scene.submit(Job("free"))
    return repair(REPAIRS, "me")


def _repair_late(scene: Scene) -> Call[Any]:
    """All of it has been put right by somebody else."""
    (job,) = scene.submit(Job("free"))
    return repair([mends.placed("ready:free", job, 10), mends.listed("types", "free", "hash", "type:free")], "me")


def _pool_set(scene: Scene) -> Call[Any]:
    scene.offer()
    scene.reserve(2, bell="bell1")
    return pools.set_pool("vault", 5, 1, 3)


def _pool_remove(scene: Scene) -> Call[Any]:
    scene.pool()
    scene.hold()
    scene.do(pools.close_session("vault", "program:p:tok", 1))
    return pools.remove_pool("vault")


def _pool_remove_busy(scene: Scene) -> Call[Any]:
    scene.pool()
    scene.hold()
    return pools.remove_pool("vault")


def _pool_external(scene: Scene) -> Call[Any]:
    scene.pool()
    return pools.set_external("vault", 1, AN_HOUR)


def _pool_refused(scene: Scene) -> Call[Any]:
    """One that waits had claimed a seat."""
    _turn_claim(scene)
    scene.reserve(1, bell="bell1")
    return pools.refused_pool("vault", AN_HOUR, AN_HOUR, "w1")


def _session_open(scene: Scene) -> Call[Any]:
    scene.pool()
    return pools.open_session("vault", "program:p:tok", 1, ttl_ms=AN_HOUR, priority=10)


def _session_open_waits(scene: Scene) -> Call[Any]:
    scene.pool(1)
    scene.hold()
    return pools.open_session("vault", "program:q:tik", 1, ttl_ms=AN_HOUR, priority=10, asks_ms=AN_HOUR)


def _session_renew(scene: Scene) -> Call[Any]:
    scene.pool()
    scene.hold()
    return pools.renew_session("vault", "program:p:tok", 1, AN_HOUR)


def _session_close(scene: Scene) -> Call[Any]:
    """A worker that claimed the seat is rung."""
    scene.pool(1)
    scene.hold()
    scene.offer()
    scene.submit(Job("seated"))
    scene.reserve(1, bell="bell1")
    scene.reserve(1, bell="bell1")
    return pools.close_session("vault", "program:p:tok", 1)


def _fire(scene: Scene) -> Call[Any]:
    """One fires two jobs and rings; one was fired by another; one counts from its run's end, which it has not seen; one is
    told to be beyond this worker; one has missed all and ends."""
    scene.offer()
    shots: list[Shot] = []
    for name in ("two", "past", "busy", "stuck", "none"):
        record = scene.schedule(name, -5, *(["after_end", "1"] if name == "busy" else []))
        if name == "busy":
            scene.do(schedules.act(name, "run", "me", record, job=record.words(1)))
            record = scene.schedule(name, -5, "after_end", "1", replace=True)
        coming = int(record.fields["next"])
        plan = {"two": Plan((coming - 1, coming), coming + 900), "none": Plan((), None), "stuck": Plan((), None)}
        shots.append(
            Shot(record, plan.get(name, Plan((coming,), coming + 60_000)), "no zone" if name == "stuck" else "")
        )
    scene.schedule("past", 60_000, replace=True)
    scene.reserve(3, bell="bell1")
    return schedules.fire("w1", shots)


def _fire_closed(scene: Scene) -> Call[Any]:
    record = scene.schedule("s", -5)
    scene.do(jobs.gate("", "closed", "me"))
    return schedules.fire("w1", [Shot(record, Plan((1,), 2))])


def _schedule_set(scene: Scene) -> Call[Any]:
    """It comes before all else: the holder of the alarm is rung."""
    scene.offer()
    scene.submit(Job("free", delay=4))
    scene.reserve(1, bell="bell1")
    fields = ["every", "60000", "anchor", "1", *job_words(Job("free"))[5:]]
    return schedules.set_schedule("s", fields, scene.clock() + 2000, "me", replace=False)


def _schedule_set_replace(scene: Scene) -> Call[Any]:
    record = scene.schedule("s", 60_000)
    scene.do(schedules.act("s", "run", "me", record, job=record.words(1)))
    scene.do(schedules.act("s", "pause", "me"))
    fields = ["every", "60000", "anchor", "1", *job_words(Job("free"))[5:]]
    return schedules.set_schedule("s", fields, scene.clock() + 60_000, "me", replace=True)


def _schedule_act_run(scene: Scene) -> Call[Any]:
    scene.offer()
    scene.reserve(1, bell="bell1")
    record = scene.schedule("s", 60_000, "after_end", "1")
    return schedules.act("s", "run", "me", record, job=record.words(1))


def _schedule_act_pause(scene: Scene) -> Call[Any]:
    scene.schedule("s", 60_000)
    return schedules.act("s", "pause", "me")


def _schedule_act_resume(scene: Scene) -> Call[Any]:
    scene.offer()
    scene.reserve(1, bell="bell1")
    record = scene.schedule("s", 60_000)
    scene.do(schedules.act("s", "pause", "me"))
    return schedules.act("s", "resume", "me", record, scene.clock() + 2000)


def _schedule_act_remove(scene: Scene) -> Call[Any]:
    scene.schedule("s", 60_000)
    return schedules.act("s", "remove", "me")


def _turn_after_end(scene: Scene) -> Call[Any]:
    """The run of a schedule that counts from its end ends."""
    scene.offer()
    record = scene.schedule("s", 60_000, "after_end", "1")
    scene.do(schedules.act("s", "run", "me", record, job=record.words(1)))
    (taken,) = scene.reserve(1)
    return turned("w1", 0, [Report(taken.id, taken.token, "succeeded")])


def _turn_opens(scene: Scene) -> Call[Any]:
    """A window opens: its jobs may start; a schedule is due: its name is told."""
    scene.offer()
    scene.submit(Job("free"))
    scene.schedule("s", -5)
    opens = scene.clock() + 3
    scene.do(schedules.set_window("free", "00:00-23:00 UTC", (opens, opens + AN_HOUR), "me"))
    wait_until(lambda: scene.clock() > opens)
    return turned("w1", 1, [], bell="bell1", listed=True)


def _window_set(scene: Scene) -> Call[Any]:
    """It shuts, and what had claimed seats claims them no longer."""
    _turn_claim(scene)
    scene.reserve(1, bell="bell1")
    opens = scene.clock() + 2000
    return schedules.set_window("seated", "00:00-23:00 UTC", (opens, opens + AN_HOUR), "me")


def _window_set_lift(scene: Scene) -> Call[Any]:
    scene.offer()
    scene.submit(Job("free"))
    opens = scene.clock() + AN_HOUR
    scene.do(schedules.set_window("free", "00:00-23:00 UTC", (opens, opens + AN_HOUR), "me"))
    scene.reserve(1, bell="bell1")
    return schedules.set_window("free", "", (0, 0), "me")


# -- of chains and orders


def _chain_define(scene: Scene) -> Call[Any]:
    return defined(Chain("c", TWO, title="Both", max_orders=2))


def _chain_define_same(scene: Scene) -> Call[Any]:
    scene.chain()
    return defined(Chain("c", TWO))


def _chain_define_changed(scene: Scene) -> Call[Any]:
    """An order keeps the version before; another one waited, and may enter now: somebody is rung."""
    scene.offer()
    scene.chain(most=1)
    scene.order("my")
    scene.order("next")
    scene.reserve(2, bell="bell1")
    return defined(Chain("c", [*TWO, Step("three", "free")]))


def _chain_gate(scene: Scene) -> Call[Any]:
    scene.chain()
    return orders.gate("c", "stop", None, "me")


def _chain_gate_lifted(scene: Scene) -> Call[Any]:
    """An order stands in front of the step; somebody idle is rung."""
    _held(scene)
    scene.reserve(1, bell="bell1")
    return orders.gate("c", "stop", "two", "")


def _chain_gate_skip(scene: Scene) -> Call[Any]:
    scene.chain()
    return orders.gate("c", "skip", "two", "me")


def _chain_gate_missing(scene: Scene) -> Call[Any]:
    scene.chain()
    return orders.gate("c", "stop", "three", "me")


def _held(scene: Scene) -> None:
    """An order stands in front of its second step, which is stopped."""
    scene.offer()
    scene.chain()
    scene.do(orders.gate("c", "stop", "two", "me"))
    scene.order("my")
    scene.reserve(1)
    scene.end("succeeded")


def _chain_admit(scene: Scene) -> Call[Any]:
    """One enters, one goes on at a step that is open again, one had been cancelled meanwhile."""
    _held(scene)
    scene.pool()
    scene.order("gone")
    scene.reserve(1)
    scene.end("succeeded")
    scene.do(orders.gate("c", "stop", None, "me"))
    scene.order("next")
    for step in (None, "two"):
        scene.do(orders.gate("c", "stop", step, ""))
    scene.do(orders.act("gone", "cancel", None, "me"))
    return orders.admit("c")


def _order_start(scene: Scene) -> Call[Any]:
    """It is somebody's, and rings."""
    scene.offer()
    scene.chain()
    scene.reserve(1, bell="bell1")
    return started("my", {"file": "a"}, priority=3, tenant="T", title="Mine")


def _order_start_later(scene: Scene) -> Call[Any]:
    scene.chain()
    return started("", {"file": "a"}, delay=100)


def _order_start_waits(scene: Scene) -> Call[Any]:
    """There is no room in the chain."""
    scene.chain(most=1)
    scene.order("my")
    return started("next")


def _order_start_exists(scene: Scene) -> Call[Any]:
    scene.chain()
    return started(scene.order("my"))


def _order_start_replace(scene: Scene) -> Call[Any]:
    """What it replaces had made room for another one, and its step waited; somebody waits for its end."""
    scene.chain(most=1)
    scene.order("my")
    scene.order("next")
    scene.do(orders.wait("my", None, "waiter"))
    return started("my", replace=True)


def _order_start_missing(scene: Scene) -> Call[Any]:
    return started("my")


def _under_way(scene: Scene, *, running: bool) -> None:
    """An order is at its second step, the first has ended; another one waits for room."""
    scene.offer()
    scene.pool()
    scene.chain(most=1)
    scene.order("my")
    scene.order("next")
    scene.do(orders.wait("my", None, "waiter"))
    scene.reserve(1)
    scene.end("succeeded", 1 if running else 0)


def _order_act_suspend(scene: Scene) -> Call[Any]:
    _under_way(scene, running=False)
    return orders.act("my", "suspend", None, "me")


def _order_act_suspend_running(scene: Scene) -> Call[Any]:
    _under_way(scene, running=True)
    return orders.act("my", "suspend", None, "me")


def _order_act_resume(scene: Scene) -> Call[Any]:
    _under_way(scene, running=False)
    scene.do(orders.act("my", "suspend", None, "me"))
    scene.reserve(1, bell="bell1")
    return orders.act("my", "resume", None, "me")


def _order_act_resume_failed(scene: Scene) -> Call[Any]:
    """It failed; another one has taken its room since."""
    _under_way(scene, running=True)
    scene.end("failed")
    return orders.act("my", "resume", None, "me")


def _order_act_resume_from(scene: Scene) -> Call[Any]:
    _under_way(scene, running=True)
    scene.do(orders.act("my", "cancel", None, "me"))
    scene.end("cancelled")
    return orders.act("my", "resume", "one", "me")


def _order_act_skip(scene: Scene) -> Call[Any]:
    """The last step, so it ends, and the next one enters."""
    _under_way(scene, running=False)
    return orders.act("my", "skip", "two", "me")


def _order_act_goto(scene: Scene) -> Call[Any]:
    _under_way(scene, running=False)
    return orders.act("my", "goto", "one", "me")


def _order_act_goto_running(scene: Scene) -> Call[Any]:
    _under_way(scene, running=True)
    return orders.act("my", "goto", "one", "me")


def _order_act_reset(scene: Scene) -> Call[Any]:
    _under_way(scene, running=False)
    return orders.act("my", "reset", None, "me")


def _order_act_remove(scene: Scene) -> Call[Any]:
    """It makes room."""
    _under_way(scene, running=False)
    return orders.act("my", "remove", None, "me")


def _order_act_remove_running(scene: Scene) -> Call[Any]:
    _under_way(scene, running=True)
    return orders.act("my", "remove", None, "me")


def _order_act_cancel(scene: Scene) -> Call[Any]:
    _under_way(scene, running=False)
    return orders.act("my", "cancel", None, "me")


def _order_act_cancel_each(scene: Scene) -> Call[Any]:
    """Two elements run and are asked to stop, one waits and is taken back."""
    scene.each(3, 2)
    return orders.act("my", "cancel", None, "me")


def _order_act_held(scene: Scene) -> Call[Any]:
    _held(scene)
    return orders.act("my", "remove", None, "me")


def _order_act_missing(scene: Scene) -> Call[Any]:
    return orders.act("my", "suspend", None, "me")


def _order_expand(scene: Scene) -> Call[Any]:
    scene.offer()
    scene.chain(Step("all", "free", each="files"))
    scene.order("my", files=3)
    (taken,) = scene.reserve(1)
    return expanded(taken, 3)


def _order_wait(scene: Scene) -> Call[Any]:
    scene.chain()
    return orders.wait(scene.order("my"), None, "waiter")


def _order_wait_ended(scene: Scene) -> Call[Any]:
    _under_way(scene, running=True)
    scene.end("succeeded")
    return orders.wait("my", None, "waiter")


def _turn_step(scene: Scene) -> Call[Any]:
    """A step ends, and the next one is reserved in the same call."""
    scene.offer()
    scene.pool()
    scene.chain()
    scene.order("my", priority=3)
    scene.submit(Job("free"))
    (taken,) = scene.reserve(1)
    return turned("w1", 2, [ended_by(taken, "succeeded")], bell="bell1")


def _turn_order(scene: Scene) -> Call[Any]:
    """The last step ends, and the order; the next one enters, and somebody waited."""
    _under_way(scene, running=True)
    return turned("w1", 1, [ended_by(scene.taken[-1], "succeeded")], bell="bell1")


def _turn_step_retry(scene: Scene) -> Call[Any]:
    _under_way(scene, running=True)
    return turned("w1", 1, [ended_by(scene.taken[-1], "retry")], bell="bell1")


def _turn_step_fails(scene: Scene) -> Call[Any]:
    """Each of five orders fails at another one of its steps that run side by side; of one the worker goes to another step."""
    scene.offer()
    steps = ("fails", "suspends", "back", "repaired", "chooses")
    scene.chain(
        Step("fails", "free"),
        Step("suspends", "free", on_error="suspend"),
        Step("back", "free", on_error="setback", setback=[5]),
        Step("repaired", "free", on_error="repair"),
        Step("chooses", "free"),
        Step("repair", "free", aside=True, then="last"),
        Step("last", "free", after=steps),
    )
    for n in range(5):
        scene.order(f"my{n}")
    taken = scene.reserve(25)
    reports = [ended_by(taken[5 * n + n], "failed") for n in range(4)]
    return turned("w1", 0, [*reports, ended_by(taken[24], "succeeded", goto="repair")])


def _turn_step_held(scene: Scene) -> Call[Any]:
    """The next step is stopped; and one that waits already is taken from the worker's hand."""
    scene.offer()
    scene.pool()
    scene.chain(*TWO, Step("three", "free"))
    for own in ("my", "other"):
        scene.order(own)
    first, second = scene.reserve(2)
    scene.end("succeeded", 0, first)
    scene.do(orders.gate("c", "stop", "two", "me"))
    return turned("w1", 1, [ended_by(second, "succeeded")], bell="bell1")


def _turn_expanded(scene: Scene) -> Call[Any]:
    """A list is known: its elements become jobs, and two of them are reserved."""
    scene.offer()
    scene.chain(Step("all", "free", each="files"))
    scene.order("my", files=3)
    (taken,) = scene.reserve(1)
    scene.expand(3)
    return turned("w1", 2, [Report(taken.id, taken.token, "succeeded", ["count", 3])], bell="bell1")


def _turn_joined(scene: Scene) -> Call[Any]:
    """The last elements end, one badly; the list is joined."""
    first, *rest = scene.each(3, 3, partial="join")
    return turned("w1", 1, [ended_by(first, "failed"), *(ended_by(each, "succeeded") for each in rest)], bell="bell1")


def _turn_element_fails(scene: Scene) -> Call[Any]:
    first, *rest = scene.each(3, 3)
    return turned("w1", 1, [ended_by(first, "failed"), *(ended_by(each, "succeeded") for each in rest)], bell="bell1")


def _turn_order_due(scene: Scene) -> Call[Any]:
    """Two orders come due; there is room for one."""
    scene.offer()
    scene.chain(most=1)
    for own in ("my", "other"):
        scene.order(own, delay=0.001)
    due = scene.clock() + 2
    wait_until(lambda: scene.clock() >= due)
    return turned("w1", 2, [], bell="bell1", listed=True)


def _turn_leaves(scene: Scene) -> Call[Any]:
    """It was to be cancelled once its step has ended."""
    _under_way(scene, running=True)
    scene.do(orders.act("my", "cancel", None, "me"))
    return turned("w1", 0, [ended_by(scene.taken[-1], "cancelled")])


def _renew_order(scene: Scene) -> Call[Any]:
    """One has ended and is trimmed, one runs."""
    _under_way(scene, running=True)
    scene.end("succeeded", 1)
    taken = scene.taken[-1]
    return workers.renew(
        worker="w1", digest=OFFER, lease_ms=AN_HOUR, presence_ms=AN_HOUR, kept=Kept(count=0), fields={"busy": 1},
        held=[(taken.id, taken.token)],
    )  # fmt: skip


def _reap_step(scene: Scene) -> Call[Any]:
    """A step runs again, one is for a person to decide, one of an order that is to be cancelled."""
    scene.offer()
    beside = Step("other", "free", if_lost="interrupt")
    scene.chain(Step("one", "free"), beside, Step("last", "free", after=["one", "other"]))
    for own in ("my", "gone"):
        scene.order(own)
    scene.reserve(4, lease_ms=1)
    scene.do(orders.act("gone", "cancel", None, "me"))
    return workers.reap("w2", scene.suspects(4))


def _cancel_step(scene: Scene) -> Call[Any]:
    """A step's job that waits: its order fails there, and the next one enters."""
    _under_way(scene, running=False)
    return jobs.cancel("0000000000000004", "me")


def _remove_step(scene: Scene) -> Call[Any]:
    _under_way(scene, running=False)
    return jobs.remove("0000000000000004", "me")


def _resubmit_step(scene: Scene) -> Call[Any]:
    _under_way(scene, running=False)
    return jobs.resubmit("0000000000000002", "me")


def _planned(scene: Scene, next_in: int, *more: str) -> ScheduleRecord:
    return scene.schedule("s", next_in, *more, words=order_words("c", {"n": 1}))


def _fire_order(scene: Scene) -> Call[Any]:
    """Two orders of a chain that has room for one."""
    scene.offer()
    scene.chain(most=1)
    record = _planned(scene, -5)
    coming = int(record.fields["next"])
    scene.reserve(1, bell="bell1")
    return schedules.fire("w1", [Shot(record, Plan((coming - 1, coming), coming + 60_000))])


def _fire_chain(scene: Scene) -> Call[Any]:
    """There is no such chain."""
    record = _planned(scene, -5)
    return schedules.fire("w1", [Shot(record, Plan((1,), 2))])


def _schedule_act_order(scene: Scene) -> Call[Any]:
    scene.chain()
    record = _planned(scene, 60_000, "after_end", "1")
    return schedules.act("s", "run", "me", record, job=record.words(1))


def _schedule_act_chain(scene: Scene) -> Call[Any]:
    record = _planned(scene, 60_000)
    return schedules.act("s", "run", "me", record, job=record.words(1))


def loaded(start: int, end: int, *wanted: Job, last: bool = False) -> Call[Any]:
    """The lines behind ``start`` up to ``end`` of a load, one of which is no good job."""
    lines = loads.Lines(start, f"mark{start}" if start else "", end, f"mark{end}", 1, last)
    return loads.load("big", "shape", "me", lines, [job_words(job) for job in wanted])


def _load(scene: Scene) -> Call[Any]:
    """A second batch, somebody having submitted in between; a worker waits for its jobs."""
    scene.do(loaded(0, 2, Job("free", {"n": 1})))
    scene.submit(Job("free"))
    scene.offer()
    scene.reserve(4, bell="w1bell")
    return loaded(2, 5, Job("free", {"n": 2}, token="mine"), Job("free", {"n": 3}, delay=60), last=True)


def _load_elsewhere(scene: Scene) -> Call[Any]:
    scene.do(loaded(0, 2, Job("free", {"n": 1})))
    return loaded(1, 3, Job("free", {"n": 2}))


def _load_unfit(scene: Scene) -> Call[Any]:
    scene.submit(Job("free", {"n": 1}, token="mine"))
    return loaded(0, 2, Job("free"), Job("free", {"n": 2}, token="mine"))


PAIR = (Job("free", {"to": "me"}), Job("seated", {"n": 9}, 7))


def emitted(record: TriggerRecord, *params: dict[str, Any]) -> Call[Any]:
    wanted = [triggers.event_words("e", job) for each in params for job in record.wanted(each, None)]
    return triggers.emit(record, wanted, strict=False)


def gathered(record: TriggerRecord, *params: dict[str, Any]) -> Call[Any]:
    packed = [pack_params(each) for each in params]
    return triggers.gather(record, record.gathering("", None), packed, strict=False)


def _emit(scene: Scene) -> Call[Any]:
    """Two events with two jobs each; a worker waits for them."""
    record = scene.trigger(*PAIR)
    scene.offer()
    scene.reserve(3, bell="w1bell")
    return emitted(record, {"n": 1}, {"n": 2})


def _emit_changed(scene: Scene) -> Call[Any]:
    record = scene.trigger(*PAIR)
    scene.trigger(PAIR[0])
    return emitted(record, {"n": 1})


def _emit_closed(scene: Scene) -> Call[Any]:
    record = scene.trigger(*PAIR)
    scene.do(jobs.gate("", "closed", "me"))
    return emitted(record, {"n": 1})


def _under_gathering(scene: Scene) -> TriggerRecord:
    """A job for each of the pair, which are due."""
    record = scene.trigger(*PAIR, coalesce=0.001)
    scene.do(gathered(record, {"n": 1}, {"n": 2}))
    scene.offer()
    due = scene.clock() + 2
    wait_until(lambda: scene.clock() >= due)
    return record


def _gather(scene: Scene) -> Call[Any]:
    """Both begin, and are what the alarm is held for."""
    record = scene.trigger(*PAIR, coalesce=10)
    scene.offer()
    scene.submit(Job("free", delay=60))
    scene.reserve(1, bell="bell1")
    return gathered(record, {"n": 1}, {"n": 2})


def _gather_joins(scene: Scene) -> Call[Any]:
    """One gathers on; the other runs, so the next begins."""
    scene.pool()
    record = _under_gathering(scene)
    scene.reserve(1)
    return gathered(record, {"n": 3})


def _gather_changed(scene: Scene) -> Call[Any]:
    record = _under_gathering(scene)
    scene.trigger(PAIR[0], coalesce=1)
    return gathered(record, {"n": 3})


def _turn_gathered(scene: Scene) -> Call[Any]:
    """What was gathered goes with its job; with one that was given back, again."""
    scene.pool()
    _under_gathering(scene)
    (taken,) = scene.reserve(1)
    return turned("w1", 2, [Report(taken.id, taken.token, "returned")], bell="bell1")


def _remove_gathered(scene: Scene) -> Call[Any]:
    """Its list and its key go with it."""
    _under_gathering(scene)
    return jobs.remove("0000000000000001", "me")


def _failing(scene: Scene, event: str = "job.failed", coalesce: float | None = None) -> Taken:
    """A job that is about to fail, of which a trigger is to hear; another worker waits, so that it is rung."""
    scene.do(triggers.set_trigger(event, PAIR, coalesce, "me"))
    scene.offer()
    scene.submit(Job("free", {"n": 1}, title="ü", tags=["x", "y"]))
    (taken,) = scene.reserve(1)
    scene.offer("w2")
    scene.reserve(1, worker="w2", bell="bell2")
    return taken


def _turn_fails(scene: Scene) -> Call[Any]:
    """What has happened is written down with the end of the job."""
    return turned("w1", 1, [ended_by(_failing(scene), "failed")], bell="bell1")


def _turn_fails_deep(scene: Scene) -> Call[Any]:
    """Eight triggers lie before it: there is no ninth."""
    taken = _failing(scene)
    scene.put("job:" + taken.id, "depth", 8)
    return turned("w1", 1, [ended_by(taken, "failed")], bell="bell1")


def _turn_emits(scene: Scene) -> Call[Any]:
    """Its handler has emitted two events, of which one triggers something, and enqueued a job."""
    taken = _failing(scene, "e")
    said = [triggers.emitted_words(event, {"n": 1}, "T", "k") for event in ("e", "f")]
    report = Report(taken.id, taken.token, "succeeded", jobs=[said[0], job_words(Job("free")), said[1]])
    return turned("w1", 0, [report])


def _turn_order_fails(scene: Scene) -> Call[Any]:
    """An order ends badly, and two triggers are to hear of it."""
    for event in ("order.failed", "order.finished"):
        scene.do(triggers.set_trigger(event, PAIR, None, "me"))
    scene.offer()
    scene.chain()
    scene.order("my")
    (taken,) = scene.reserve(1)
    return turned("w1", 0, [ended_by(taken, "failed")])


def _with_facts(scene: Scene, coalesce: float | None = None) -> tuple[TriggerRecord, list[triggers.Fact]]:
    """A fact that waits; returns it with its trigger as a worker reads them."""
    scene.reserve(0, reports=[ended_by(_failing(scene, coalesce=coalesce), "failed")])
    record, packed = scene.waiting("job.failed")
    return record, [triggers.Fact.read("job.failed", each) for each in packed]


def _emit_facts(scene: Scene) -> Call[Any]:
    record, (fact,) = _with_facts(scene)
    wanted = [triggers.event_words(record.event, job, 1) for job in record.wanted({"job": fact.params["job"]}, None)]
    return triggers.emit(record, wanted, strict=False, taking=triggers.Taking(1, record.taken))


def _emit_facts_closed(scene: Scene) -> Call[Any]:
    """They are put off."""
    record, (fact,) = _with_facts(scene)
    scene.do(jobs.gate("", "closed", "me"))
    wanted = [triggers.event_words(record.event, job, 1) for job in record.wanted({"job": fact.params["job"]}, None)]
    return triggers.emit(record, wanted, strict=False, taking=triggers.Taking(1, record.taken))


def _emit_facts_taken(scene: Scene) -> Call[Any]:
    """Another worker was faster."""
    call = _emit_facts(scene)
    scene.do(call)
    return call


def _emit_facts_missed(scene: Scene) -> Call[Any]:
    """No jobs can be made of it."""
    record, _ = _with_facts(scene)
    return triggers.emit(record, [], strict=False, taking=triggers.Taking(1, record.taken))


def _gather_facts(scene: Scene) -> Call[Any]:
    record, (fact,) = _with_facts(scene, coalesce=10)
    taking = triggers.Taking(1, record.taken, fact.depth)
    packed = [pack_params({"job": fact.params["job"]})]
    return triggers.gather(record, record.gathering("", None), packed, strict=False, taking=taking)


def _reap_told(scene: Scene) -> Call[Any]:
    """A job is interrupted, and its worker is lost; triggers hear of both."""
    for event in ("job.interrupted", "worker.lost"):
        scene.do(triggers.set_trigger(event, PAIR, None, "me"))
    scene.offer()
    (job,) = scene.submit(Job("free"))
    scene.put("job:" + job, "depth", 3)
    scene.reserve(1, lease_ms=1)
    scene.silence("w1")
    return workers.reap("w2", scene.suspects(2))


def _renew_silent(scene: Scene) -> Call[Any]:
    """A worker that is silent is suspected of being lost."""
    scene.do(triggers.set_trigger("worker.lost", PAIR, None, "me"))
    scene.offer()
    scene.offer("w2")
    scene.silence("w1")
    return renewed("w2", [])


def _leave_back(scene: Scene) -> Call[Any]:
    """It had been told of as lost."""
    scene.do(_reap_told(scene))
    scene.offer()
    return workers.leave("w1", OFFER, "bell1")


def _trigger_set_facts(scene: Scene) -> Call[Any]:
    """What has happened waits for this one now."""
    _with_facts(scene)
    return triggers.set_trigger("job.failed", PAIR[:1], None, "you")


def _trigger_set_lost(scene: Scene) -> Call[Any]:
    """Who was lost before is not told of."""
    scene.offer()
    scene.silence("w1")
    return triggers.set_trigger("worker.lost", PAIR, None, "me")


def _trigger_remove_facts(scene: Scene) -> Call[Any]:
    """What has happened and waits for it is forgotten."""
    _with_facts(scene)
    return triggers.remove_trigger("job.failed", "me")


def _trigger_set(scene: Scene) -> Call[Any]:
    scene.trigger(PAIR[0])
    return triggers.set_trigger("f", PAIR, 10.0, "me")


def _trigger_set_again(scene: Scene) -> Call[Any]:
    scene.trigger(*PAIR)
    return triggers.set_trigger("e", PAIR[:1], None, "you")


def _trigger_remove(scene: Scene) -> Call[Any]:
    scene.trigger(*PAIR)
    return triggers.remove_trigger("e", "me")


def _trigger_remove_missing(scene: Scene) -> Call[Any]:
    return triggers.remove_trigger("e", "me")


def _contact(scene: Scene) -> Call[Any]:
    """The server runs anew; the client under test is the first to tell, with its first call."""
    scene.submit(Job("free"))
    scene.run_of_old()
    return jobs.wait("0000000000000042", None, "waiter")


CASES = [
    Case("submit", _submit),
    Case("submit-rings", _submit_rings),
    Case("submit-later", _submit_later),
    Case("submit-token", _submit_token),
    Case("submit-closed", _submit_closed),
    Case("submit-unique", _submit_unique),
    Case("submit-duplicate", _submit_duplicate),
    Case("supersede", _supersede),
    Case("turn-supersedes", _turn_supersedes),
    Case("turn", _turn),
    Case("turn-alarm", _turn_alarm),
    Case("turn-claim", _turn_claim),
    Case("turn-back", _turn_back),
    Case("turn-no_offer", _turn_no_offer),
    Case("turn-offer_lost", _turn_offer_lost),
    Case("turn-promotes", _turn_promotes),
    Case("turn-retry", _turn_retry),
    Case("turn-enqueues", _turn_enqueues),
    Case("turn-expired", _turn_expired),
    Case("turn-expires", _turn_expires),
    Case("renew", _renew),
    Case("renew-expires", _renew_expires),
    Case("reap", _reap, repeats=["alive"] * 4),
    Case("offer", _offer),
    Case("leave", _leave),
    Case("leave-last", _leave_last),
    Case("wait", _wait),
    Case("wait-ended", _wait_ended),
    Case("cancel", _cancel),
    Case("cancel-scheduled", _cancel_scheduled),
    Case("cancel-running", _cancel_running),
    Case("cancel-missing", _cancel_missing),
    Case("cancel-many", _cancel_many),
    Case("ask", _ask),
    Case("ask-resume", _ask_resume),
    Case("sleep", _sleep),
    Case("note", _note),
    Case("remove", _remove),
    Case("remove-ended", _remove_ended),
    Case("remove-many", _remove_many),
    Case("resubmit", _resubmit),
    Case("resubmit-refused", _resubmit_refused),
    Case("resubmit-many", _resubmit_many),
    Case("move", _move),
    Case("move-scheduled", _move_scheduled),
    Case("move-many", _move_many),
    Case("gate", _gate),
    Case("gate-lifted", _gate_lifted),
    Case("keep", _keep),
    Case("keep-lifted", _keep_lifted),
    Case("repair", _repair),
    Case("repair-late", _repair_late),
    Case("pool_set", _pool_set),
    Case("pool_remove", _pool_remove),
    Case("pool_remove-busy", _pool_remove_busy),
    Case("pool_external", _pool_external),
    Case("pool_refused", _pool_refused),
    Case("session_open", _session_open),
    Case("session_open-waits", _session_open_waits),
    Case("session_renew", _session_renew),
    Case("session_close", _session_close),
    Case("fire", _fire),
    Case("fire-closed", _fire_closed),
    Case("schedule_set", _schedule_set),
    Case("schedule_set-replace", _schedule_set_replace),
    Case("schedule_act-run", _schedule_act_run),
    Case("schedule_act-pause", _schedule_act_pause),
    Case("schedule_act-resume", _schedule_act_resume),
    Case("schedule_act-remove", _schedule_act_remove),
    Case("turn-after_end", _turn_after_end),
    Case("turn-opens", _turn_opens),
    Case("window_set", _window_set),
    Case("window_set-lift", _window_set_lift),
    Case("chain_define", _chain_define),
    Case("chain_define-same", _chain_define_same),
    Case("chain_define-changed", _chain_define_changed),
    Case("chain_gate", _chain_gate),
    Case("chain_gate-lifted", _chain_gate_lifted),
    Case("chain_gate-skip", _chain_gate_skip),
    Case("chain_gate-missing", _chain_gate_missing),
    Case("chain_admit", _chain_admit),
    Case("order_start", _order_start),
    Case("order_start-later", _order_start_later),
    Case("order_start-waits", _order_start_waits),
    Case("order_start-exists", _order_start_exists),
    Case("order_start-replace", _order_start_replace),
    Case("order_start-missing", _order_start_missing),
    Case("order_act-suspend", _order_act_suspend),
    Case("order_act-suspend_running", _order_act_suspend_running),
    Case("order_act-resume", _order_act_resume),
    Case("order_act-resume_failed", _order_act_resume_failed),
    Case("order_act-resume_from", _order_act_resume_from),
    Case("order_act-skip", _order_act_skip),
    Case("order_act-goto", _order_act_goto),
    Case("order_act-goto_running", _order_act_goto_running),
    Case("order_act-reset", _order_act_reset),
    Case("order_act-remove", _order_act_remove),
    Case("order_act-remove_running", _order_act_remove_running),
    Case("order_act-cancel", _order_act_cancel),
    Case("order_act-cancel_each", _order_act_cancel_each),
    Case("order_act-held", _order_act_held),
    Case("order_act-missing", _order_act_missing),
    Case("order_expand", _order_expand),
    Case("order_wait", _order_wait),
    Case("order_wait-ended", _order_wait_ended),
    Case("turn-step", _turn_step),
    Case("turn-order", _turn_order),
    Case("turn-step_retry", _turn_step_retry),
    Case("turn-step_fails", _turn_step_fails),
    Case("turn-step_held", _turn_step_held),
    Case("turn-expanded", _turn_expanded),
    Case("turn-joined", _turn_joined),
    Case("turn-element_fails", _turn_element_fails),
    Case("turn-order_due", _turn_order_due),
    Case("turn-leaves", _turn_leaves),
    Case("renew-order", _renew_order),
    Case("reap-step", _reap_step, repeats=["alive"] * 4),
    Case("cancel-step", _cancel_step),
    Case("remove-step", _remove_step),
    Case("resubmit-step", _resubmit_step),
    Case("fire-order", _fire_order),
    Case("fire-chain", _fire_chain),
    Case("schedule_act-order", _schedule_act_order),
    Case("schedule_act-chain", _schedule_act_chain),
    Case("load", _load, repeats=plain(loads.Position(5, "mark5", "shape", 3, 0, 2, taken=False))),
    Case("load-elsewhere", _load_elsewhere),
    Case("load-unfit", _load_unfit),
    Case("emit", _emit),
    Case("emit-changed", _emit_changed),
    Case("emit-closed", _emit_closed),
    Case("gather", _gather),
    Case("gather-joins", _gather_joins),
    Case("gather-changed", _gather_changed),
    Case("turn-gathered", _turn_gathered),
    Case("remove-gathered", _remove_gathered),
    Case("turn-fails", _turn_fails),
    Case("turn-fails_deep", _turn_fails_deep),
    Case("turn-emits", _turn_emits),
    Case("turn-order_fails", _turn_order_fails),
    Case("emit-facts", _emit_facts),
    Case("emit-facts_closed", _emit_facts_closed),
    Case("emit-facts_taken", _emit_facts_taken),
    Case("emit-facts_missed", _emit_facts_missed),
    Case("gather-facts", _gather_facts),
    Case("reap-told", _reap_told, repeats=["alive"] * 2),
    Case("renew-silent", _renew_silent),
    Case("leave-back", _leave_back),
    Case("trigger_set-facts", _trigger_set_facts),
    Case("trigger_set-lost", _trigger_set_lost),
    Case("trigger_remove-facts", _trigger_remove_facts),
    Case("trigger_set", _trigger_set),
    Case("trigger_set-again", _trigger_set_again),
    Case("trigger_remove", _trigger_remove),
    Case("trigger_remove-missing", _trigger_remove_missing),
    Case("contact", _contact),
]
