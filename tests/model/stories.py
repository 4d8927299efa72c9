"""Short histories told on purpose: those that chance walks into too seldom. The machine compares after each step, too.

Types: a uses nothing and is interrupted when lost; b uses one seat of vault, c two of vault and one of gpu, d nothing;
these three run again. Workers: w1 for a, b with two slots; w2 for b, c, d with one; w3 for all with three.
"""

from __future__ import annotations

from collections.abc import Callable

from model.machine import BLOCK, LEASE, Machine
from model.model import Program

__all__ = ["STORIES"]

PROGRAM = Program("vault", "program:p:tok1", 1, 10)


def a_zombie_reports(m: Machine) -> None:
    """Q14: a worker was given up, its job runs elsewhere; then it speaks."""
    m.begin(0, 2, 1, ["w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w2", [])
    m.lose(0, zombie=True)


def a_program_closes_late(m: Machine) -> None:
    """S2, S10: a session was reaped, somebody else has the seat; then the program closes it."""
    m.begin(0, 1, 1, ["w2", "w3"])
    m.open(PROGRAM, 0)
    m.advance(LEASE)
    m.renew("w2", alive=True)
    m.reap(0, early=False)
    m.equal()
    m.enqueue("b", 5, None, 2)
    m.turn("w3", [])
    m.equal()
    m.close_session(PROGRAM)
    m.equal()
    m.turn("w2", [])


def a_late_renewal_counts(m: Machine) -> None:
    """DESIGN 5.5: seen as expired once, renewed, and so alive at the second look."""
    m.begin(0, 2, 1, ["w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w2", [])
    m.advance(LEASE)
    m.renew("w3", alive=True)
    m.equal()
    m.renew("w2", alive=True)
    m.reap(0, early=False)


def lost_again_and_again(m: Machine) -> None:
    """DESIGN 5.5: three losses, and a person decides."""
    m.begin(0, 2, 1, ["w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w2", [])
    for _ in range(3):
        m.lose(0, zombie=False)
        m.equal()
    assert [job.state for job in m.model.jobs.values()] == ["interrupted"]


def lost_for_good(m: Machine) -> None:
    """T4: what does not say that it may run again does not."""
    m.begin(0, 2, 1, ["w1", "w3"])
    m.enqueue("a", 5, None, 1)
    m.turn("w1", [])
    m.lose(0, zombie=False)
    assert [job.state for job in m.model.jobs.values()] == ["interrupted"]


def the_urgent_waits_for_two(m: Machine) -> None:
    """S6: what needs two seats is not starved by those that need one."""
    m.begin(0, 2, 1, ["w1", "w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w3", [], want=1)
    m.equal()
    m.enqueue("c", 1, None, 1)
    m.turn("w2", [])
    m.equal()
    m.enqueue("b", 10, None, 1)
    m.turn("w1", [])
    m.equal()
    assert not m.fleet["w1"].held
    m.turn("w3", ["succeeded"], want=0)
    m.equal()
    m.answer_bells()
    assert m.fleet["w2"].held


def a_claim_lapses_with_its_worker(m: Machine) -> None:
    """S6: no seat is kept for a job that no idle worker could take."""
    m.begin(0, 2, 1, ["w1", "w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w3", [], want=1, wait=False)
    m.equal()
    m.enqueue("c", 1, None, 1)
    m.turn("w2", [])
    m.equal()
    m.advance(BLOCK + 2_000)
    m.enqueue("b", 10, None, 1)
    m.turn("w1", [])
    assert m.fleet["w1"].held


def a_claim_on_what_is_gone(m: Machine) -> None:
    """DESIGN 5.2: a job that could not start even if nobody held a seat claims nothing."""
    m.begin(0, 2, 1, ["w1", "w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w3", [], want=1, wait=False)
    m.equal()
    m.enqueue("c", 1, None, 1)
    m.turn("w2", [])
    m.equal()
    m.set_pool("gpu", 0, None)
    m.equal()
    m.enqueue("b", 10, None, 1)
    m.turn("w1", [])
    assert m.fleet["w1"].held


def a_counter_expires(m: Machine) -> None:
    """S2: a missing counter is counted anew, never taken for zero."""
    m.begin(0, 2, 1, ["w2", "w3"])
    m.enqueue("b", 5, None, 3)
    m.turn("w3", [])
    m.equal()
    m.lose_counter("vault")
    m.turn("w2", [])
    assert not m.fleet["w2"].held


def a_job_comes_back(m: Machine) -> None:
    """Q12, C13, W2: handed back, it is at its old place, uncounted, and whoever sleeps is woken for it."""
    m.begin(0, 2, 1, ["w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w3", [], wait=False)
    m.equal()
    m.turn("w2", [])
    m.equal()
    m.turn("w3", ["returned"], want=0, wait=False)
    m.equal()
    m.answer_bells()
    assert m.fleet["w2"].held


def a_seat_comes_back(m: Machine) -> None:
    """S9: a freed seat wakes who waits for it."""
    m.begin(0, 1, 1, ["w2", "w3"])
    m.enqueue("b", 5, None, 2)
    m.turn("w3", [], want=1, wait=False)
    m.equal()
    m.turn("w2", [])
    m.equal()
    m.turn("w3", ["succeeded"], want=0, wait=False)
    m.equal()
    m.answer_bells()
    assert m.fleet["w2"].held


def first_come(m: Machine) -> None:
    """Q1, Q2, Q10: priority first, then sequence, over all types."""
    m.begin(0, 3, 2, ["w3"])
    for type_, priority in [("d", 5), ("a", 5), ("b", 10), ("a", 1), ("d", 5)]:
        m.enqueue(type_, priority, None, 1)
        m.equal()
    m.turn("w3", [])
    assert [int(job_id) for job_id, _ in m.fleet["w3"].held] == [4, 1, 2]


def beyond_the_digits(m: Machine) -> None:
    """Ids keep all their digits, and priorities theirs."""
    m.begin(10**14 - 2, 3, 2, ["w3"])
    m.enqueue("d", 2**53 - 1, None, 3)
    m.equal()
    m.turn("w3", [])
    assert [int(job_id) for job_id, _ in m.fleet["w3"].held] == [10**14 - 1, 10**14, 10**14 + 1]


def sent_twice(m: Machine) -> None:
    """R2: each kind of request again, at once and too late."""
    m.begin(0, 2, 1, ["w1", "w2", "w3"])
    m.enqueue("b", 5, None, 2)
    m.equal()
    for how in ("same", "past", "other"):
        m.repeat("c", how)
        m.equal()
    m.turn("w3", [])
    m.equal()
    m.repeat("w3", "same")
    m.equal()
    m.turn("w3", ["succeeded"])
    m.equal()
    for how in ("same", "past", "other"):
        m.repeat("w3", how)
        m.equal()


def what_is_kept_and_withheld(m: Machine) -> None:
    """S7, S8: seats kept for the urgent, and seats that others use outside."""
    m.begin(0, 2, 1, ["w2", "w3"])
    m.set_pool("vault", 2, (1, 5))
    m.enqueue("b", 10, None, 2)
    m.turn("w3", [])
    m.equal()
    assert len(m.fleet["w3"].held) == 1
    m.external("vault", 1, 5_000)
    m.enqueue("b", 1, None, 1)
    m.turn("w2", [])
    m.equal()
    assert not m.fleet["w2"].held
    m.advance(5_000)
    m.turn("w2", [])
    assert m.fleet["w2"].held


def shut_and_open(m: Machine) -> None:
    """Q19: paused is accepted and does not run; closed is not accepted."""
    m.begin(0, 2, 1, ["w1", "w3"])
    m.shut("a")
    m.enqueue("a", 5, None, 1)
    m.enqueue("d", 5, None, 1)
    m.turn("w1", [])
    m.equal()
    m.turn("w3", [])
    m.equal()
    m.shut("closed")
    m.enqueue("d", 5, None, 1)
    m.equal()
    m.lift()
    m.answer_bells()
    assert m.model.jobs["0000000000000001"].state == "running"


def later(m: Machine) -> None:
    """T1, T5: due, promoted, run, once; somebody who sleeps holds the alarm."""
    m.begin(0, 2, 1, ["w1", "w3"])
    m.turn("w3", [])
    m.equal()
    m.submit("d", 5, None, 2, 3_000, "")
    m.equal()
    m.answer_bells()
    m.advance(3_000)
    m.turn("w3", [])
    m.equal()
    assert len(m.fleet["w3"].held) == 2


def somebody_waits_for_the_end(m: Machine) -> None:
    """DESIGN 5.6: who waits for a result is rung, by settling and by cancelling."""
    m.begin(0, 2, 1, ["w3"])
    m.enqueue("d", 5, None, 2)
    m.wait(0, "ear1")
    m.wait(1, "ear2")
    m.equal()
    m.turn("w3", [], want=1)
    m.equal()
    m.cancel(1, waiting=False)
    m.equal()
    m.turn("w3", ["succeeded"])
    m.equal()


def handed_back(m: Machine) -> None:
    """C13: not begun, it is ready; begun, it is as its type says; asked to stop, it has stopped."""
    m.begin(0, 2, 1, ["w3"])
    for type_ in "add":
        m.enqueue(type_, 5, None, 1)
    m.turn("w3", [])
    m.equal()
    m.cancel(2, waiting=False)
    m.equal()
    m.turn("w3", ["abandoned"] * 3, want=0)
    m.equal()
    assert [job.state for job in m.model.jobs.values()] == ["interrupted", "ready", "cancelled"]
    m.cancel(0, waiting=True)
    m.equal()
    m.turn("w3", [])


def another_attempt(m: Machine) -> None:
    """C16: it failed, its seat is somebody else's during the delay, its moment wakes who sleeps; then it runs again."""
    m.begin(0, 1, 1, ["w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w3", [], wait=False)
    m.equal()
    m.turn("w2", [])
    m.equal()
    m.turn("w3", ["soon"], want=0, wait=False)
    m.equal()
    m.answer_bells()
    m.enqueue("b", 10, None, 1)
    m.equal()
    m.answer_bells()
    assert [int(job_id) for job_id, _ in m.fleet["w2"].held] == [2]
    m.turn("w2", ["succeeded"])
    m.equal()
    m.answer_bells()
    m.advance(3_000)
    m.turn("w2", [])
    m.equal()
    assert m.model.jobs[f"{1:016}"].attempt == 2
    m.repeat("w2", "same")
    m.equal()
    m.turn("w2", ["succeeded"])


def asked_to_stop_and_failed(m: Machine) -> None:
    """Q23: who was asked to stop makes no further attempt."""
    m.begin(0, 2, 1, ["w3"])
    m.enqueue("d", 5, None, 2)
    m.turn("w3", [])
    m.equal()
    m.cancel(0, waiting=False)
    m.equal()
    m.turn("w3", ["again", "again"], want=0)
    m.equal()
    assert [job.state for job in m.model.jobs.values()] == ["cancelled", "ready"]


def too_late(m: Machine) -> None:
    """Not to start after a moment: ended by who is about to take it, and by who looks after time; its seat is free."""
    m.begin(0, 1, 1, ["w2", "w3"])
    m.submit("b", 1, None, 1, None, "", 500)
    m.submit("d", 1, None, 1, 3_000, "", 4_000)
    m.enqueue("b", 5, None, 1)
    m.wait(0, "ear1")
    m.equal()
    m.advance(1_000)
    m.turn("w3", [], want=1, wait=False)
    m.equal()
    assert [int(job_id) for job_id, _ in m.fleet["w3"].held] == [3]
    m.turn("w3", ["succeeded"], want=0, wait=False)
    m.equal()
    m.advance(4_000)
    m.renew("w2", alive=True)
    m.equal()
    assert [job.state for job in m.model.jobs.values()] == ["expired", "expired", "succeeded"]
    m.resubmit(1, ended=True)
    m.equal()
    m.turn("w2", [])
    assert m.fleet["w2"].held


def late_and_in_nobodys_way(m: Machine) -> None:
    """S6: what has expired claims no seats: those behind it are rung."""
    m.begin(0, 2, 1, ["w1", "w2", "w3"])
    m.enqueue("b", 5, None, 1)
    m.turn("w3", [], want=1, wait=False)
    m.equal()
    m.submit("c", 1, None, 1, None, "", 500)
    m.turn("w2", [])
    m.equal()
    m.enqueue("b", 10, None, 1)
    m.turn("w1", [])
    m.equal()
    assert not m.fleet["w1"].held
    m.advance(1_000)
    m.renew("w3", alive=True)
    m.equal()
    m.answer_bells()
    assert m.fleet["w1"].held or m.fleet["w2"].held


def handed_back_too_late(m: Machine) -> None:
    """It had started in time, and would have to start again: looked after again, it ends."""
    m.begin(0, 2, 1, ["w2", "w3"])
    m.submit("d", 5, None, 1, None, "", 500)
    m.turn("w3", [], wait=False)
    m.equal()
    m.advance(1_000)
    m.renew("w2", alive=True)
    m.equal()
    m.turn("w3", ["abandoned"], want=0, wait=False)
    m.equal()
    m.renew("w2", alive=True)
    m.equal()
    assert [job.state for job in m.model.jobs.values()] == ["expired"]


def no_attempt_after_its_moment(m: Machine) -> None:
    """C16: a next attempt in time is made, one that would be too late is none."""
    m.begin(0, 2, 1, ["w3"])
    m.submit("d", 5, None, 2, None, "", 4_000)
    m.turn("w3", [])
    m.equal()
    m.turn("w3", ["soon", "later"], want=0, wait=False)
    m.equal()
    assert [job.state for job in m.model.jobs.values()] == ["scheduled", "failed"]


def what_a_job_sets_going(m: Machine) -> None:
    """Jobs come with a good end, once, and wake who sleeps; a token that says no leaves out its job alone."""
    m.begin(0, 2, 1, ["w2", "w3"])
    m.enqueue("a", 5, None, 3)
    m.turn("w3", [], wait=False)
    m.equal()
    m.turn("w2", [])
    m.equal()
    m.submit("d", 5, "none", 1, 20_000, "t1")
    m.equal()
    m.turn("w3", ["enqueues", "fails-it", "enqueues-one"], want=0, wait=False)
    m.equal()
    assert sorted(job.type for job in m.model.jobs.values()) == list("aaabcdd")
    for how in ("same", "past", "other"):
        m.repeat("w3", how)
        m.equal()
    m.turn("w3", [], stale=True, want=0, wait=False)
    m.equal()
    m.answer_bells()
    assert [m.model.jobs[job_id].type for job_id, _ in m.fleet["w2"].held] == ["d"]


STORIES: list[Callable[[Machine], None]] = [
    a_zombie_reports,
    a_program_closes_late,
    a_late_renewal_counts,
    lost_again_and_again,
    lost_for_good,
    the_urgent_waits_for_two,
    a_claim_lapses_with_its_worker,
    a_claim_on_what_is_gone,
    a_counter_expires,
    a_job_comes_back,
    a_seat_comes_back,
    first_come,
    beyond_the_digits,
    sent_twice,
    what_is_kept_and_withheld,
    shut_and_open,
    later,
    somebody_waits_for_the_end,
    handed_back,
    another_attempt,
    asked_to_stop_and_failed,
    too_late,
    late_and_in_nobodys_way,
    handed_back_too_late,
    no_attempt_after_its_moment,
    what_a_job_sets_going,
]
