"""A valid call for every verb, and for every way a verb can go: what the faults are thrown at.

A `Scene` is one namespace with two clients. The first prepares; the second makes the one call under test. Both have
names of their own instead of random ones, so two scenes that went the same way are equal to the last lane and token.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from faults.snapshot import plain
from harness.waiting import wait_until

from seatline.shared.calls import jobs, pools, reads, schedules, workers
from seatline.shared.calls.base import Call, Read
from seatline.shared.calls.schedules import ScheduleRecord, Shot
from seatline.shared.calls.workers import Kept, Note, Report, Suspect, Taken, Turn
from seatline.shared.config import Settings
from seatline.shared.job import Job, attempt_text, job_words
from seatline.shared.store import Store
from seatline.shared.times import Plan

__all__ = ["CASES", "Case", "Scene", "same_answer"]

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

    def schedule(self, name: str, next_in: int, *more: str, replace: bool = False) -> ScheduleRecord:
        """Store a schedule of type ``free`` whose next moment is so many ms from now; returns it as a worker reads it."""
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
            *job_words(Job("free"))[5:],
        ]
        self.do(schedules.set_schedule(name, fields, coming, "me", replace=replace))
        (record,) = self._before.read(schedules.schedule_records(self._before.keys, [name]))
        assert record is not None
        return record

    def clock(self) -> int:
        """Return the server's time in ms."""
        return self._before.read(reads.server_time())

    def run_of_old(self) -> None:
        """Let the namespace look as if an earlier run of the server had been the last to be met."""
        self._before.read(Read([("HSET", self._before.keys.about, "run", "0" * 40)], list))

    def lose(self, key: str) -> None:
        """Let a key be gone, as if it had expired."""
        self._before.read(Read([("DEL", self._before.keys(key))], list))

    def suspects(self, count: int) -> list[Suspect]:
        """Return what a renewing worker sees as expired, once there is as much of it."""
        call = renewed("w2", [])
        return list(wait_until(lambda: (s := self.do(call).suspects)[count - 1 :] and s, message="expired leases"))


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
    return {name: pairs[name] for name in (b"type", b"priority", b"params", b"uses") if name in pairs}


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


def _gate(scene: Scene) -> Call[Any]:
    return jobs.gate("free", "paused", "me")


def _gate_lifted(scene: Scene) -> Call[Any]:
    scene.offer()
    scene.reserve(2, bell="bell1")
    scene.do(jobs.gate("", "paused", "me"))
    return jobs.gate("", "paused", "")


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
    Case("ask", _ask),
    Case("ask-resume", _ask_resume),
    Case("sleep", _sleep),
    Case("note", _note),
    Case("remove", _remove),
    Case("remove-ended", _remove_ended),
    Case("resubmit", _resubmit),
    Case("resubmit-refused", _resubmit_refused),
    Case("move", _move),
    Case("move-scheduled", _move_scheduled),
    Case("gate", _gate),
    Case("gate-lifted", _gate_lifted),
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
    Case("contact", _contact),
]
