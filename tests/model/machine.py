"""Random histories, walked by the model and by a real server side by side; after each step the two must be equal.

Workers are only names here: each has an offer, a lane, slots, a bell, and does what a worker process would do, or has
it done to it. The rules are biased towards what goes wrong in such systems: leases that run out and reports that come
all the same, requests sent again, pools that shrink, counters that vanish, jobs that are lost again and again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from model.compare import claims_of_server, difference, of_model, of_server
from model.model import ENDED, Job, Model, Program, Report
from model.real import START, Real
from seatline.shared.calls import jobs as job_calls
from seatline.shared.calls import pools as pool_calls
from seatline.shared.calls import workers as worker_calls
from seatline.shared.calls.base import Call
from seatline.shared.calls.workers import Kept, Suspect, Turn
from seatline.shared.job import attempt_text

__all__ = ["Machine"]

LEASE, BLOCK, PRESENCE, INTERVAL = 30_000, 5_000, 90_000, 10_000
LANE_LIFE = 900_000
MOST = 2**53 - 1

#: What the types use, and whether a lost job of theirs runs again.
TYPES = {"a": ("none", "interrupt"), "b": ("vault=1", "rerun"), "c": ("gpu=1,vault=2", "rerun"), "d": ("none", "rerun")}
OFFERS = {"aaaa": "ab", "bbbb": "bcd", "cccc": "abcd"}


@dataclass
class Fake:
    """A worker as the test plays it."""

    name: str
    offer: str
    slots: int
    held: list[tuple[str, str]] = field(default_factory=list)
    past: list[tuple[str, str]] = field(default_factory=list)
    listed: bool = False
    looks: list[tuple[int, list[Suspect]]] = field(default_factory=list)

    @property
    def bell(self) -> str:
        return f"bell-{self.name}"

    @property
    def types(self) -> dict[str, tuple[str, str]]:
        return {name: TYPES[name] for name in OFFERS[self.offer]}


@dataclass
class Sent:
    """The last numbered request of a client, to be sent again."""

    call: Call[Any]
    answer: Any
    at: int


FLEET = [("w1", "aaaa", 2), ("w2", "bbbb", 1), ("w3", "cccc", 3), ("w4", "bbbb", 2)]

worker_names = st.sampled_from([name for name, _, _ in FLEET])
priorities = st.sampled_from([5, 5, 1, 10, MOST])
uses = st.sampled_from([None, None, None, "none", "vault=1", "vault=2", "gpu=1,vault=1", "gpu=2"])
limits = st.sampled_from([None, None, None, None, 500, 4_000, 25_000])
#: What a worker says of a job: the outcome, the delay of its next attempt, what it enqueues: (type, delay, token, expires).
SAYS: dict[str, tuple[str, int, tuple[tuple[str, int | None, str, int | None], ...]]] = {
    **{word: (word, 0, ()) for word in ("succeeded", "abandoned", "returned", "failed", "skipped", "cancelled")},
    "again": ("retry", 0, ()),
    "soon": ("retry", 3_000, ()),
    "later": ("retry", 20_000, ()),
    "enqueues": ("succeeded", 0, (("d", None, "", None), ("b", 3_000, "", 25_000), ("b", None, "t1", None))),
    "enqueues-one": ("skipped", 0, (("a", None, "t1", None), ("c", 2_000, "", None))),
    "fails-it": ("failed", 0, (("d", None, "", None),)),
}
outcomes = st.sampled_from([*SAYS, "succeeded", "succeeded", "abandoned"])
pools = st.sampled_from(["vault", "vault", "gpu"])
programs = st.builds(
    Program,
    pools,
    st.sampled_from(["program:p:tok1", "program:p:tok2", "program:q:tok3"]),
    st.sampled_from([1, 1, 2]),
    st.sampled_from([1, 10]),
)


class Machine(RuleBasedStateMachine):
    """The rules. `real` is set by the test that runs it; `verify`, if set, is asked after each step too."""

    real: ClassVar[Real]
    verify: Callable[[], list[str]] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(START)
        self.fleet = {name: Fake(name, offer, slots) for name, offer, slots in FLEET}
        self.sent: dict[str, Sent] = {}
        self.places: dict[Program, str] = {}
        self.bells: set[str] = set()
        self.alarm: str | None = None
        self.used: dict[str, int] = {}
        self.fresh = True

    @initialize(
        seq=st.sampled_from([0, 0, 10**14 - 3, MOST - 10_000]),
        vault=st.sampled_from([2, 1, 3]),
        gpu=st.sampled_from([1, 2]),
        present=st.sampled_from([["w1", "w2", "w3"], ["w1", "w2", "w3", "w4"], ["w2", "w3"], ["w1", "w4"]]),
    )
    def begin(self, seq: int, vault: int, gpu: int, present: list[str]) -> None:
        self.model = Model(START, seq)
        self.real.found(seq)
        self.set_pool("vault", vault, None)
        self.set_pool("gpu", gpu, None)
        for name in present:
            self.register(name)

    # The two sides.

    def do(self, call: Call[Any], client: str = "c") -> tuple[str, Any]:
        word, value = self.real.run(call, client)
        if call.numbered:
            self.sent[client] = Sent(call, (word, value), self.model.clock)
        return word, value

    def same(self, mine: tuple[str, Any], theirs: tuple[str, Any]) -> None:
        assert theirs == mine, f"the answer: expected {mine}, the server says {theirs}"

    @invariant()
    def equal(self) -> None:
        read = self.real.read()
        wrong = difference(of_model(self.model), of_server(read, self.model))
        assert not wrong, "\n".join(wrong)
        self.adopt_claims(claims_of_server(read, self.model))
        silent = {bell for bell in self.model.rung if f"bell:{bell}" not in read}
        assert not silent, f"not rung: {silent}"
        self.bells = {name.removeprefix("bell:") for name in read if name.startswith("bell:")}
        self.alarm = read.get("alarm")
        for name, pool in self.model.pools.items():
            grown = pool.used > max(pool.capacity, self.used.get(name, 0))
            assert not grown, f"pool {name}: {pool.used} seats in use of {pool.capacity}"
        self.used = {name: pool.used for name, pool in self.model.pools.items()}
        if self.verify is not None:
            found = self.verify()
            assert not found, "\n".join(found)
        self.model.begin()

    def adopt_claims(self, kept: dict[str, dict[str, int]]) -> None:
        """Hold the claims that the server keeps against the bounds, and go on from them."""
        for name, claims in kept.items():
            pool = self.model.pools[name]
            before = {m for m in pool.waiting if m in self.model.jobs and self.model.jobs[m].state == "ready"}
            lost = {m for m in before - claims.keys() if (name, m) not in self.model.may}
            assert not lost, f"pool {name}: the claims of {lost} are gone, and they wait"
            for pool_name, member in self.model.must:
                assert pool_name != name or member in claims, f"pool {name}: {member} found no seat and claims none"
            new = {m for m in claims.keys() - before if (name, m) not in self.model.may | self.model.must}
            assert not new, f"pool {name}: {new} claim seats, and nobody looked for them"
            for member, priority in claims.items():
                assert priority == self.model.jobs[member].priority, f"pool {name}: {member} has a false place"
            pool.waiting = {m: p for m, p in pool.waiting.items() if m not in self.model.jobs and ":" in m} | claims

    # Jobs.

    @rule(type_=st.sampled_from("badc"), priority=priorities, uses=uses, count=st.sampled_from([2, 1, 3]))
    def enqueue(self, type_: str, priority: int, uses: str | None, count: int) -> None:
        self.submit(type_, priority, uses, count, None, "")

    @rule(types=st.sampled_from(["ba", "bcb", "dad", "abcd"]), priority=priorities)
    def enqueue_some(self, types: str, priority: int) -> None:
        for type_ in types:
            self.submit(type_, priority, None, 1, None, "")
            self.equal()

    @rule(
        type_=st.sampled_from("badc"),
        priority=priorities,
        uses=uses,
        count=st.sampled_from([1, 2, 5]),
        delay=st.sampled_from([None, 0, 3_000, 20_000]),
        token=st.sampled_from(["", "t1", "t2"]),
        expires=limits,
    )
    def submit(
        self, type_: str, priority: int, uses: str | None, count: int, delay: int | None, token: str,
        expires: int | None = None,
    ) -> None:  # fmt: skip
        batch = []
        for i in range(count):
            job = Job("", type_, priority, uses, submission=token if i < 2 else "", expires=expires or 0)
            batch.append((job, delay, f"{type_}-{uses}"))
        word, value = self.do(job_calls.submit([_words(*each) for each in batch]))
        if word == "ok":
            value = [(accepted.id, accepted.existed) for accepted in value]
        self.same(self.model.submit(batch), (word, value))

    def some_job(self, pick: int, *states: str) -> str:
        ids = [job.id for job in self.model.jobs.values() if not states or job.state in states]
        return sorted(ids)[pick % len(ids)] if ids else f"{self.model.seq + 7:016}"

    @rule(pick=st.integers(0, 30), waiting=st.booleans())
    def cancel(self, pick: int, waiting: bool) -> None:
        job_id = self.some_job(pick, *(["ready", "scheduled"] if waiting else []))
        answer = self.do(job_calls.cancel(job_id, "me"))
        self.same(self.model.cancel(job_id), answer)

    @rule(pick=st.integers(0, 30))
    def remove(self, pick: int) -> None:
        job_id = self.some_job(pick)
        answer = self.do(job_calls.remove(job_id, "me"))
        self.same(self.model.remove(job_id), answer)

    @rule(pick=st.integers(0, 30), ended=st.booleans())
    def resubmit(self, pick: int, ended: bool) -> None:
        job_id = self.some_job(pick, *(ENDED if ended else []))
        answer = self.do(job_calls.resubmit(job_id, "me"))
        self.same(self.model.resubmit(job_id), answer)

    @rule(pick=st.integers(0, 30), priority=priorities)
    def move(self, pick: int, priority: int) -> None:
        job_id = self.some_job(pick, "ready", "scheduled")
        answer = self.do(job_calls.move(job_id, "me", priority))
        self.same(self.model.move(job_id, priority), answer)

    @rule(pick=st.integers(0, 30), bell=st.sampled_from(["ear1", "ear2"]))
    def wait(self, pick: int, bell: str) -> None:
        job_id = self.some_job(pick)
        word, _ = self.do(job_calls.wait(job_id, None, bell))
        self.same(self.model.wait(job_id, bell), (word, None))

    @rule(type_=st.sampled_from(["b", "a", "c", "", "closed"]))
    def shut(self, type_: str) -> None:
        if type_ == "closed":
            self.gate("", "closed", True)
        else:
            self.gate(type_, "paused", True)

    @precondition(
        lambda self: self.model.paused or self.model.closed or any(t.paused for t in self.model.types.values())
    )
    @rule()
    def lift(self) -> None:
        """Most of the time nothing is paused or closed, or little would be seen."""
        for type_ in [name for name, type_ in self.model.types.items() if type_.paused]:
            self.gate(type_, "paused", False)
        if self.model.paused:
            self.gate("", "paused", False)
        if self.model.closed:
            self.gate("", "closed", False)

    def gate(self, type_: str, kind: str, shut: bool) -> None:
        answer = self.do(job_calls.gate(type_, kind, "me" if shut else ""))
        self.same(self.model.gate(type_, kind, shut), answer)
        self.equal()

    # Workers.

    @rule(name=worker_names)
    def register(self, name: str) -> None:
        fake = self.fleet[name]
        answer = self.do(worker_calls.offer(name, fake.offer, PRESENCE, {"host": "here", "pid": 1}, fake.types))
        self.same(self.model.offer(name, fake.offer, PRESENCE, fake.types), answer)

    @rule(name=worker_names, outcome=outcomes)
    def work(self, name: str, outcome: str) -> None:
        """End all it has, take what there is, wait if it is too little: what most turns are."""
        self.turn(name, [outcome] * 3)

    @rule(name=worker_names)
    def take(self, name: str) -> None:
        self.turn(name, [])

    @rule(name=worker_names, outcome=outcomes)
    def report_twice(self, name: str, outcome: str) -> None:
        """What no worker of ours does: the same lease in two reports of a turn. The second is stale."""
        fake = self.fleet[name]
        fake.past += fake.held[:1]
        self.turn(name, [outcome], stale=True, want=0)

    @rule(names=st.permutations([name for name, _, _ in FLEET]), outcome=outcomes)
    def all_work(self, names: list[str], outcome: str) -> None:
        for name in names:
            self.turn(name, [outcome] * 3)
            self.equal()

    @rule(name=worker_names, replies=st.lists(outcomes, max_size=3), stale=st.booleans(), wait=st.booleans())
    def turn(
        self, name: str, replies: list[str], stale: bool = False, wait: bool = True, want: int | None = None
    ) -> None:
        fake = self.fleet[name]
        reports = [_report(held, says) for held, says in zip(list(fake.held), replies, strict=False)]
        if stale and fake.past:
            reports.append(_report(fake.past[-1], "enqueues"))
        free = fake.slots - len(fake.held) + len([r for r in reports if (r.id, r.token) in fake.held])
        want = free if want is None else min(want, free)
        bell = fake.bell if wait else ""
        call = worker_calls.turn(
            worker=name, digest=fake.offer, lease_ms=LEASE, want=want, bell=bell, block_ms=BLOCK, listed=fake.listed,
            kept=Kept(), reports=[_told(report) for report in reports],
        )  # fmt: skip
        word, told = self.do(call, name)
        token = f"{name}:1:{self.real.number(name)}"
        due = self.model.due()
        promotes = fake.listed or not self.real.scheduled(due)  # who was not idle may leave that to others
        mine = self.model.turn(
            name, fake.offer, reports, token=token, lease=LEASE, want=want, bell=bell, block=BLOCK, listed=fake.listed,
            promotes=promotes, expires=fake.listed or self.real.number(name) % 16 == 0,
        )  # fmt: skip
        self.same(mine, (word, _turn(told)))
        if word == "no-offer":
            self.register(name)
            return
        fake.listed = bool(bell) and len(told.jobs) < want
        fake.past += [(r.id, r.token) for r in reports]
        fake.held = [held for held in fake.held if held not in [(r.id, r.token) for r in reports]]
        fake.held += [(taken.id, taken.token) for taken in told.jobs]
        assert all(taken.token == token for taken in told.jobs)

    def look(self, name: str) -> None:
        self.turn(name, ["succeeded"] * 3)

    @rule(name=worker_names, alive=st.booleans())
    def renew(self, name: str, alive: bool) -> None:
        fake = self.fleet[name]
        if not alive:  # what a worker that came back after long would ask for
            self._renew(fake, fake.past[-2:])
        self._renew(fake, fake.held)

    def _renew(self, fake: Fake, held: list[tuple[str, str]]) -> None:
        call = worker_calls.renew(
            worker=fake.name, digest=fake.offer, lease_ms=LEASE, presence_ms=PRESENCE,
            kept=Kept(count=4), fields={"busy": 1}, held=held,
        )  # fmt: skip
        word, told = self.do(call)
        mine = self.model.renew(fake.name, fake.offer, LEASE, PRESENCE, 4, held)
        suspects = sorted((s.kind, s.a, s.b, s.deadline) for s in told.suspects)
        words, late, known = mine[1]
        self.same((mine[0], (words, sorted(late), known)), (word, (list(told.words), suspects, told.known)))
        fake.held = [
            mine for mine, said in zip(held, told.words, strict=True) if said != "lost" or held is not fake.held
        ]
        if told.suspects:
            fake.looks.append((self.model.clock, list(told.suspects)))
        self.equal()

    @precondition(lambda self: any(fake.looks for fake in self.fleet.values()))
    @rule(pick=st.integers(0, 10), early=st.booleans())
    def reap(self, pick: int, early: bool) -> None:
        """The second look, at times much later or much too early: the script must judge by itself."""
        looks = [(fake, look) for fake in self.fleet.values() for look in fake.looks]
        fake, (at, suspects) = looks[pick % len(looks)]
        if not early:
            self.advance(max(0, at + INTERVAL - self.model.clock))
        fake.looks.remove((at, suspects))
        self._reap(fake, suspects)

    def _reap(self, fake: Fake, suspects: list[Suspect]) -> None:
        answer = self.do(worker_calls.reap(fake.name, suspects))
        self.same(self.model.reap([(s.kind, s.a, s.b, s.deadline) for s in suspects]), answer)

    @rule(name=worker_names, how=st.sampled_from(["leave", "die", "die"]))
    def go(self, name: str, how: str) -> None:
        """Goodbye with everything handed back, or none: the process is gone and its jobs are nobody's."""
        fake = self.fleet[name]
        if how == "leave":
            self.turn(name, ["returned"] * 3, wait=False, want=0)
            self.equal()
            self.do(worker_calls.leave(name, fake.offer, fake.bell))
            self.model.begin()
            self.model.leave(name, fake.offer)
            fake.listed = False
        fake.past += fake.held
        fake.held = []

    @precondition(lambda self: any(fake.held for fake in self.fleet.values()))
    @rule(pick=st.integers(0, 3), zombie=st.booleans())
    def lose(self, pick: int, zombie: bool) -> None:
        """A worker with jobs is lost with them; others notice, and take them. It may come back and report what it had."""
        fakes = [fake for fake in self.fleet.values() if fake.held]
        fake = fakes[pick % len(fakes)]
        other = self.fleet["w3" if fake.name != "w3" else "w2"]
        mine, fake.held = fake.held, []
        fake.past += mine
        self._renew(other, other.held)
        self.advance(LEASE)
        self.equal()
        self._renew(other, other.held)
        self.advance(INTERVAL)
        if other.looks:
            _, suspects = other.looks.pop()
            self._reap(other, suspects)
            self.equal()
        self.turn(other.name, ["succeeded"] * 3)
        self.equal()
        if zombie:
            self._renew(fake, mine)
            fake.past += [held for held in mine if held not in fake.past[-3:]]
            self.turn(fake.name, [], stale=True, want=0, wait=False)

    # Requests sent again.

    @precondition(lambda self: self.sent)
    @rule(
        client=st.sampled_from(["c", *[name for name, _, _ in FLEET]]), how=st.sampled_from(["same", "past", "other"])
    )
    def repeat(self, client: str, how: str) -> None:
        sent, number = self.sent.get(client), self.real.number(client)
        if not sent or self.model.clock - sent.at >= LANE_LIFE or (how == "past" and number < 2):
            return
        number -= how == "past"
        word, value = self.real.run(sent.call, client, number=number, spoil="0" if how == "other" else "")
        if how != "same":
            assert (word, value) == ({"past": "past", "other": "conflict"}[how], ())
        elif isinstance(value, Turn) and word == "ok":
            was = sent.answer[1]
            still = [job.id for job in was.jobs if self.model.holds(job.id, job.token)]
            assert list(value.states) == list(was.states)
            assert [job.id for job in value.jobs] == still
            assert [job.token for job in value.jobs] == [job.token for job in was.jobs if job.id in still]
        else:
            assert _plain(value) == _plain(sent.answer[1])
            assert word == sent.answer[0]

    # Pools and programs.

    @rule(
        name=pools,
        capacity=st.sampled_from([2, 3, 1, 4, 0]),
        keep=st.sampled_from([None, (1, 5), (0, 0), (2, 10)]),
    )
    def set_pool(self, name: str, capacity: int, keep: tuple[int, int] | None) -> None:
        answer = self.do(pool_calls.set_pool(name, capacity, *(keep or (None, None))))
        self.same(self.model.pool_set(name, capacity, keep), answer)

    @rule(name=pools)
    def remove_pool(self, name: str) -> None:
        answer = self.do(pool_calls.remove_pool(name))
        self.same(self.model.pool_remove(name), answer)
        if answer[0] == "ok":
            self.equal()
            self.set_pool(name, 2, None)

    @rule(name=pools, seats=st.integers(0, 3), ttl=st.sampled_from([5_000, 40_000]))
    def external(self, name: str, seats: int, ttl: int) -> None:
        answer = self.do(pool_calls.set_external(name, seats, ttl))
        self.same(self.model.pool_external(name, seats, ttl), answer)

    @rule(asked=programs, asks=st.sampled_from([0, 8_000, 8_000]))
    def open(self, asked: Program, asks: int) -> None:
        place = self.places.get(asked, "")
        answer = self.do(
            pool_calls.open_session(
                asked.pool, asked.owner, asked.seats, ttl_ms=LEASE, priority=asked.priority, place=place, asks_ms=asks
            )
        )
        word, said = answer
        value = () if word == "missing" else said[1]
        self.same(self.model.session_open(asked, LEASE, place, asks), (word, value))
        self.places[asked] = str(value) if word == "waits" else ""

    @rule(asked=programs)
    def renew_session(self, asked: Program) -> None:
        answer = self.do(pool_calls.renew_session(asked.pool, asked.owner, asked.seats, LEASE))
        word, value = self.model.session_renew(asked, LEASE)
        self.same((word, value), answer)

    @rule(asked=programs)
    def close_session(self, asked: Program) -> None:
        place = self.places.pop(asked, "")
        answer = self.do(pool_calls.close_session(asked.pool, asked.owner, asked.seats, place))
        self.same(self.model.session_close(asked, place), answer)

    @rule(name=pools)
    def lose_counter(self, name: str) -> None:
        """The counter expires. Whoever needs it counts anew."""
        self.real.forget(f"pool:{name}:in_use")

    # Time.

    @rule(ms=st.sampled_from([1, 1_000, 3_000, 6_000, 12_000, 31_000, 95_000]))
    def pass_time(self, ms: int) -> None:
        self.advance(ms)

    def advance(self, ms: int) -> None:
        self.model.advance(ms)
        self.real.advance(self.model.clock)
        if ms:
            self.fresh = False

    # Nobody sleeps while there is work for him (W2, S9).

    @rule()
    def answer_bells(self) -> None:
        """Who was rung looks, until no bell is left. Then none of those who wait could start anything."""
        if not self.fresh:  # what time changes rings nobody: whoever waits looks by himself after BLOCK
            for fake in self.fleet.values():
                if fake.listed:
                    self.look(fake.name)
                    self.equal()
            self.fresh = True
        for _ in range(60):
            rung = [fake for fake in self.fleet.values() if fake.bell in self.bells]
            for fake in rung:
                self.real.forget(f"bell:{fake.bell}")
                self.turn(fake.name, [])
                self.equal()
            if not rung:
                break
        else:
            raise AssertionError(f"{[fake.name for fake in rung]} ring each other for ever")
        # One whose presence had expired may be forgotten with the last other worker of its offer: it finds out when it
        # looks, after BLOCK.
        known = {name for idle in self.model.idle.values() for name in idle if self.model.waits(name)}
        sleepers = [fake for fake in self.fleet.values() if fake.listed and fake.name in known]
        for fake in sleepers:
            could = self.model.startable(OFFERS[fake.offer])
            assert not could, f"{fake.name} sleeps and could start {could}"
        soon = self.model.next_due()
        if sleepers and soon and soon.due < self.model.clock + BLOCK:
            names = [
                fake.name for fake in self.fleet.values() if fake.listed
            ]  # also one that was forgotten wakes by itself
            assert self.alarm in names, f"{soon.id} is due soon, {names} sleep and {self.alarm} holds the alarm"


def _words(job: Job, delay: int | None, content: str) -> list[str | bytes]:
    """Write a job as a producer sends it; its ``expires`` counts from now."""
    hash_ = ["type", job.type, "priority", str(job.priority), "params", "\x80"]
    hash_ += ["uses", job.uses] if job.uses is not None else []
    hash_ += ["submission", job.submission] if job.submission else []
    due = "" if delay is None else f"+{delay}"
    if job.expires:
        due += f"/+{job.expires}"
    return [str(len(hash_)), due, job.submission, content, job.uses or "", *hash_]


def _report(held: tuple[str, str], says: str) -> Report:
    outcome, ms, wanted = SAYS[says]
    jobs = tuple(
        (Job("", type_, 5, None, submission=token, expires=expires or 0), delay, f"{type_}-None")
        for type_, delay, token, expires in wanted
    )
    return Report(*held, outcome, ms, attempt_text(1, "w", "Sad", says, "") if outcome == "retry" else "", jobs)


def _told(report: Report) -> worker_calls.Report:
    """Write a report as a worker sends it."""
    fields = ["error_type", "Sad", "error", "no"] if report.outcome == "retry" else []
    return worker_calls.Report(
        report.id, report.token, report.outcome, [*fields], report.text.encode(), report.ms,
        jobs=[_words(*each) for each in report.jobs],
    )  # fmt: skip


def _turn(told: Turn) -> Any:
    if told.no_offer:
        return None
    return list(told.states), [(taken.id, taken.attempt) for taken in told.jobs]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [dataclasses.astuple(item) if dataclasses.is_dataclass(item) else item for item in value]  # type: ignore[arg-type]
    return value
