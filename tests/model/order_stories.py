"""Histories of orders told on purpose, with what each rule asks for: what the order scripts must do, and their mutants do not.

After each call the whole namespace must be sound, as ``seatline verify`` judges it. The clock is the test's own.
Types: plain uses nothing, seated one seat of vault (of two). One worker, w1, takes what it is told to and ends each step
as the story says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from model.real import Real
from seatline.shared.calls import jobs, orders, pools, schedules, workers
from seatline.shared.calls.base import Call, text
from seatline.shared.calls.schedules import ScheduleRecord, Shot
from seatline.shared.calls.workers import Kept, Report, Taken
from seatline.shared.chain import Chain, Step
from seatline.shared.job import attempt_text
from seatline.shared.order import order_words
from seatline.shared.plan import chain_words
from seatline.shared.times import NEVER, Plan

__all__ = ["ORDER_STORIES", "Orders"]

TYPES = {"seated": ("vault=1", "rerun"), "plain": ("none", "interrupt")}
ERROR = ("error_type", "Sad", "error", "no", "traceback", "line 1\nline 2")
LEASE = 30_000
MAP = b"\x81\xa1a\x00"
TWO = (Step("one", "plain"), Step("two", "plain"))


class Orders:
    """Tells a namespace of orders. ``look`` is called after each call; what it raises is the story's."""

    def __init__(self, real: Real, look: Callable[[], None] = lambda: None) -> None:
        self.real, self.look, self.held = real, look, list[Taken]()
        real.found(0)
        self.clock = int(real.client.hget(real.keys.about, "clock") or 0)
        self.do(pools.set_pool("vault", 2))
        self.do(workers.offer("w1", "abcd", 90_000, {"host": "here", "pid": 7}, TYPES))

    # What is done.

    def do(self, call: Call[Any], client: str = "c") -> Any:
        """Make a call, and a numbered one twice under its number (R2); returns what a good answer means, else its word."""
        word, value = self.real.run(call, client)
        if call.numbered:
            self.real.run(call, client, number=self.real.number(client))
        self.look()
        return value if word == "ok" else word

    def act(self, own: str, verb: orders.Act, step: str | None = None) -> Any:
        return self.do(orders.act(own, verb, step, "me"))

    def gate(self, step: str | None, *, by: str = "me", kind: orders.Gate = "stop") -> Any:
        return self.do(orders.gate("c", kind, step, by))

    def define(self, *steps: Step, most: int | None = None) -> Any:
        words, digest = chain_words(Chain("c", steps or TWO, max_orders=most))
        return self.do(orders.define("c", words, digest, None, most, "me"))

    def start(self, *owns: str, replace: bool = False, **more: Any) -> Any:
        for own in owns:
            words = order_words("c", {"files": [1, 2, 3], "ü": None}, id=own, **more)
            answer = self.do(orders.start("c", words, replace=replace))
        return answer

    def take(self, want: int) -> list[str]:
        """Take so many; returns their steps."""
        before = len(self.held)
        self.turn(want, [])
        return [self.fields(taken)["step"] for taken in self.held[before:]]

    def end(self, how: str = "succeeded", want: int = 0, *, most: int = 1000) -> list[str]:
        """End what is held (or the first of it) alike, and take so many; returns their steps."""
        ending, self.held = self.held[:most], self.held[most:]
        self.turn(want, [self.ended(taken, how) for taken in ending])
        return [self.fields(taken)["step"] for taken in self.held]

    def rest(self) -> None:
        """Work until nothing is left that can be taken now; all ends well."""
        for _ in range(30):
            if not self.end(want=3):
                return
        raise AssertionError(self.held)

    def turn(self, want: int, reports: Sequence[Report]) -> None:
        call = workers.turn(
            worker="w1", digest="abcd", lease_ms=LEASE, want=want, bell="b1", block_ms=5_000, listed=True, kept=Kept(),
            reports=reports,
        )  # fmt: skip
        self.held += self.do(call, "w1").jobs

    def ended(self, taken: Taken, how: str) -> Report:
        fields = self.fields(taken)
        if "expand" in fields:
            for start, bite in ((0, [b"\x01", b"\x02"]), (2, [b"\x03"])):
                base = None if start else b"\x80"
                self.do(orders.expand(taken.id, taken.token, fields["order"], fields["step"], start, base, bite))
            return Report(taken.id, taken.token, "succeeded", ["count", 3])
        if how.startswith("goto "):
            return Report(taken.id, taken.token, "succeeded", ["goto", how[5:]], MAP, 60_000)
        if how == "succeeded":
            element = fields.get("element")
            return Report(taken.id, taken.token, how, [], bytes([int(element)]) if element else MAP, 60_000)
        if how == "retry":
            tried = attempt_text(1, "w1", "Sad", "no", "").encode()
            return Report(taken.id, taken.token, how, [*ERROR], tried, 1_000)
        return Report(taken.id, taken.token, how, [*ERROR] if how == "failed" else [])

    def renew(self, keep: int = 100) -> Any:
        call = workers.renew(
            worker="w2", digest="abcd", lease_ms=LEASE, presence_ms=90_000, kept=Kept(count=keep), fields={}, held=[]
        )
        return self.do(call)

    def admit(self) -> None:
        """Do what workers are told of."""
        for _ in range(10):
            if b"chain:c" not in self.real.client.zrangebyscore(self.real.keys("schedules"), "-inf", self.clock):
                return
            self.do(orders.admit("c"))
        raise AssertionError("there is always more to do")

    def passes(self, ms: int) -> None:
        self.clock += ms
        self.real.advance(self.clock)

    def lose(self) -> None:
        """The worker is gone: its leases run out, and are taken back."""
        self.held = []
        self.passes(LEASE)
        suspects = self.renew().suspects
        self.passes(10_000)
        self.do(workers.reap("w2", suspects))
        self.do(workers.offer("w1", "abcd", 90_000, {"host": "here", "pid": 7}, TYPES))

    # What is there.

    @staticmethod
    def fields(taken: Taken) -> dict[str, str]:
        pairs = zip(taken.flat[::2], taken.flat[1::2], strict=True)
        return {
            text(name): text(value) for name, value in pairs if not name.startswith((b"params", b"out.", b"item.v"))
        }

    def says(self, own: str, name: str = "state") -> str:
        found: Any = self.real.client.hget(self.real.keys.order(own), name)
        return text(found) if found is not None else ""

    def now(self, own: str) -> str:
        """Return where it is: a job's id is shown as its state."""
        words: list[str] = []
        for pair in self.says(own, "now").split():
            step, _, word = pair.partition("=")
            state: Any = self.real.client.hget(self.real.keys.job(word), "state") if word.isdigit() else None
            words.append(f"{step}={text(state) if state else word.partition('@')[0]}")
        return " ".join(words)

    def out(self, own: str, step: str) -> bytes | None:
        found: Any = self.real.client.hget(self.real.keys.order(own, "data"), f"out.{step}")
        return None if found is None else bytes(found)

    def history(self, own: str) -> list[str]:
        """Return what has become of it, without the moments."""
        lines: Any = self.real.client.lrange(self.real.keys.order(own, "history"), 0, -1)
        return [text(line).partition(" ")[2] for line in lines]

    def members(self, name: str) -> list[str]:
        """Return a line or place, each member by the order's id."""
        found: Any = self.real.client.zrange(self.real.keys(name), 0, -1)
        return [text(member).rpartition(" ")[2] for member in found]


def step_by_step(o: Orders) -> None:
    """O2, O5: one script ends a step, keeps its result and makes the next; it is handed what came before."""
    o.define(*TWO, Step("three", "seated", priority=3, timeout=60))
    o.start("a", priority=7, tenant="T", title="ü")
    assert (o.says("a"), o.now("a"), o.members("chain:c:started")) == ("running", "one=ready", ["a"])
    assert o.take(1) == ["one"]
    assert o.end(want=1) == ["two"]
    assert o.out("a", "one") == MAP
    assert dict(zip(o.held[0].flat[::2], o.held[0].flat[1::2], strict=True))[b"out.one"] == MAP
    assert [o.fields(o.held[0])[name] for name in ("before", "priority", "tenant")] == ["one", "7", "T"]
    assert o.end("retry") == []
    assert o.now("a") == "two=scheduled"
    o.passes(1_000)
    assert o.take(1) == ["two"]
    assert o.end(want=1) == ["three"]
    assert [o.fields(o.held[0])[name] for name in ("before", "priority", "timeout")] == ["one two", "3", "60000"]
    o.do(orders.wait("a", None, "ear"))
    o.end()
    assert (o.says("a"), o.now("a"), o.says("a", "ended")) == ("succeeded", "", "one two three")
    assert o.members("chain:c:started") == []
    assert o.real.client.lrange(o.real.keys.bell("ear"), 0, -1), "nobody was rung"
    ends = ["succeeded", "failed, to run again: Sad: no", "succeeded", "succeeded"]
    assert [line.partition(": ")[2] for line in o.history("a")] == ends


def it_fails_and_goes_on(o: Orders) -> None:
    """O4: failed at a step, it is resumed there; what has ended is not run again."""
    o.define()
    o.start("a")
    o.take(1)
    o.end(want=1)
    o.end("failed")
    assert (o.says("a"), o.now("a"), o.says("a", "error_step")) == ("failed", "two=failed", "two")
    assert o.says("a", "error") == "step two: Sad: no"
    assert o.members("chain:c:started") == []
    assert o.act("a", "suspend") == "state"
    assert o.act("a", "resume") == "running"
    assert (o.now("a"), o.says("a", "error"), o.members("chain:c:started")) == ("two=ready", "", ["a"])
    o.rest()
    assert (o.says("a"), o.says("a", "ended")) == ("succeeded", "one two")


def set_back(o: Orders) -> None:
    """O7: it waits by the table, and fails beyond the most; a good end forgets the count."""
    o.define(Step("one", "plain", on_error="setback", setback=[2, 4]), Step("two", "plain"))
    o.start("a")
    for count, delay in ((1, 2_000), (2, 4_000)):
        o.take(1)
        o.end("failed")
        assert (o.says("a"), o.now("a"), o.says("a", "setbacks")) == ("running", "one=scheduled", f"one={count}")
        o.passes(delay - 1)
        assert o.take(1) == []
        o.passes(1)
    o.take(1)
    o.end("failed")
    assert (o.says("a"), o.now("a")) == ("failed", "one=failed")
    o.act("a", "resume")
    o.take(1)
    o.end(want=1)
    assert (o.says("a", "setbacks"), o.now("a")) == ("", "two=running")


def aside_and_back(o: Orders) -> None:
    """O4, O15: a step that repairs leads back; Goto chooses; an aside step that leads nowhere ends it as it failed."""
    o.define(
        Step("one", "plain", on_error="repair"), Step("two", "plain", on_error="tell"), Step("three", "plain"),
        Step("repair", "plain", aside=True, then="one"), Step("tell", "plain", aside=True),
    )  # fmt: skip
    o.start("a")
    o.take(1)
    assert o.end("failed", 1) == ["repair"]
    assert o.end(want=1) == ["one"]
    assert o.end(want=1) == ["two"]
    assert o.end("goto one", 1) == ["one"]
    assert (o.says("a", "ended"), o.out("a", "two")) == ("repair", None)
    assert o.end("goto three", 1) == ["three"]
    assert o.end("goto two", 1) == ["two"]
    assert o.end("failed", 1) == ["tell"]
    o.end()
    assert (o.says("a"), o.says("a", "error_step")) == ("failed", "two")
    o.act("a", "resume")
    o.take(1)
    o.end("goto nowhere")
    assert (o.says("a"), o.now("a")) == ("failed", "two=failed")


def side_by_side(o: Orders) -> None:
    """O14: the step that waits for two starts once, when both have ended; each is handed only what lies before it."""
    o.define(
        Step("left", "plain"), Step("right", "seated", on_error="suspend"), Step("far", "plain", after=["right"]),
        Step("join", "plain", after=["left", "far"]),
    )  # fmt: skip
    o.start("a", "b")
    assert sorted(o.take(2)) == ["left", "right"]
    assert o.end(want=1, most=1) == ["right", "left"]
    assert o.now("a") == "right=running"
    o.end()
    assert o.now("a") == "far=ready"
    assert o.take(3) == ["right", "far"]
    assert o.fields(o.held[1])["before"] == "right"
    assert o.end("failed", most=1) == ["far"]
    assert (o.says("b"), o.now("b")) == ("suspended", "right=held")
    assert o.end(want=1) == ["join"]
    assert o.fields(o.held[0])["before"] == "left right far"
    o.end()
    o.act("b", "resume")
    o.rest()
    assert [(o.says(own), o.says(own, "ended")) for own in "ab"] == [("succeeded", "left right far join")] * 2


def lists(o: Orders) -> None:
    """O14: a run for each element, joined in order; what has failed runs again, and only that."""
    o.define(Step("all", "plain", each="files"), Step("some", "plain", each="files", partial="join"))
    o.start("a")
    o.take(1)
    assert o.end(want=2) == ["all", "all"]
    assert o.now("a") == "all=each"
    o.end("failed", most=1)
    assert o.says("a") == "running", "the others end first"
    o.take(2)
    assert o.act("a", "suspend") == "suspended"
    o.end()
    assert (o.says("a"), o.now("a")) == ("failed", "all=failed")
    assert o.act("a", "resume") == "running"
    assert [o.fields(taken)["element"] for taken in o.held] == []
    assert o.take(3) == ["all"]
    assert o.fields(o.held[0])["element"] == "0"
    assert o.end(want=1) == ["some"]
    assert o.out("a", "all") == b"\xdd\0\0\0\3\0\1\2"
    assert o.members("order:a:each:all:jobs") == []
    assert o.end(want=3) == ["some"] * 3
    o.end("failed", most=1)
    o.end()
    assert (o.says("a"), o.out("a", "some")) == ("succeeded", b"\xdd\0\0\0\3\xc0\1\2")
    assert not o.real.client.exists(o.real.keys.order("a", "each:some"))
    # Nothing is left of one that goes while its elements wait.
    o.start("b")
    o.take(1)
    o.end(want=1)
    assert o.act("b", "cancel") == "asked"
    assert o.members("order:b:each:all:jobs") == [taken.id for taken in o.held]
    o.end("cancelled")
    assert (o.says("b"), o.now("b")) == ("cancelled", "")
    # Nor of one that goes after its expansion has failed half way.
    o.start("c")
    o.take(1)
    (half,) = o.held
    o.ended(half, "")
    o.turn(0, [Report(half.id, half.token, "failed", [*ERROR])])
    assert (o.says("c"), o.now("c")) == ("failed", "all=failed")
    for own in ("b", "c"):
        o.act(own, "remove")
        assert o.real.client.keys(o.real.keys.order(own) + "*") == []


def room_for_two(o: Orders) -> None:
    """O10: the others wait in front, by priority and number; whoever leaves makes room."""
    o.define(most=2)
    o.start("a", "b")
    o.start("c", priority=20)
    o.start("d", "e", "f")
    assert [o.says(own) for own in "abc"] == ["running", "running", "waiting"]
    assert o.members("chain:c:waiting") == ["d", "e", "f", "c"]
    assert o.act("a", "suspend") == "suspended"
    assert o.says("d") == "waiting", "a suspended order keeps its place"
    assert o.act("a", "remove") == "removed"
    assert (o.says("d"), o.now("d")) == ("running", "one=ready")
    o.act("e", "cancel")
    assert o.members("chain:c:waiting") == ["f", "c"]
    o.act("b", "cancel")
    assert o.says("f") == "running"
    assert o.act("c", "suspend") == "suspended"
    o.define(most=3)
    o.admit()
    assert o.act("c", "resume") == "running"
    o.start("g", "h")
    o.define(most=9)
    o.admit()
    assert [o.says(own) for own in "gh"] == ["running", "running"]
    assert o.start("g") == "exists"
    assert o.start("g", replace=True).state == "running"
    o.rest()
    assert {o.says(own) for own in "cdfgh"} == {"succeeded"}
    assert o.start("g", replace=True).state == "running"


def gates(o: Orders) -> None:
    """O11: what is stopped collects orders in front of it and loses none; a skipped step is passed."""
    o.define(*TWO, Step("three", "plain"))
    o.gate("two")
    o.start("a", "b", "c", "d")
    assert o.take(4) == ["one"] * 4
    o.end()
    assert o.members("chain:c:held:two") == ["a", "b", "c", "d"]
    assert {o.now(own) for own in "abcd"} == {"two=held"}
    o.act("a", "suspend")
    o.act("b", "cancel")
    o.act("c", "skip", "two")
    assert o.members("chain:c:held:two") == ["d"]
    assert o.now("c") == "three=ready"
    o.act("a", "resume")
    assert o.members("chain:c:held:two") == ["a", "d"]
    o.gate("two", by="")
    o.admit()
    assert [o.now(own) for own in "ad"] == ["two=ready", "two=ready"]
    o.gate("two")
    assert o.take(9) == ["three"], "what waited is stopped too"
    assert o.members("chain:c:held:two") == ["a", "d"]
    o.gate("two", kind="skip")
    o.admit()
    assert [o.now(own) for own in "ad"] == ["three=ready", "three=ready"]
    assert [o.out(own, "two") for own in "ad"] == [None, None]
    o.gate(None)
    o.start("e")
    assert (o.says("e"), o.now("e")) == ("waiting", "one=held")
    o.rest()
    assert o.says("a") == "succeeded"
    o.gate(None, by="")
    o.admit()
    assert (o.says("e"), o.now("e")) == ("running", "one=ready")


def sent_past_the_end(o: Orders) -> None:
    """O8, O10: sent to a step that is skipped, with none behind it, an order ends; it does not wait for room first."""
    o.define(most=1)
    o.start("a")
    o.rest()
    o.gate("two", kind="skip")
    o.admit()
    o.start("b")
    assert o.act("a", "goto", "two") == "succeeded"
    assert o.members("chain:c:waiting") == []
    assert o.act("a", "goto", "one") == "waiting"


def a_seat_given_back(o: Orders) -> None:
    """O11, S2: its seat was taken already when the step turned out to be stopped, or its order to have been removed."""
    o.define(Step("one", "seated"))
    o.start("a", "b")
    o.gate("one")
    assert o.take(2) == []
    assert [o.now(own) for own in "ab"] == ["one=held", "one=held"]
    assert o.real.client.zcard(o.real.keys.pool("vault", "sessions")) == 0
    o.act("a", "remove")
    o.gate("one", by="")
    o.admit()
    assert o.take(2) == ["one"]
    o.rest()
    assert o.says("b") == "succeeded"


def people(o: Orders) -> None:
    """O6, O8: suspended, the running step ends and the order moves on, then waits; each act is one call."""
    o.define()
    o.start("a", "b", "c")
    o.take(1)
    assert o.act("a", "suspend") == "suspended"
    assert o.now("a") == "one=running"
    assert o.act("a", "reset") == "running", "refused while a step runs"
    o.end()
    assert (o.says("a"), o.now("a"), o.says("a", "ended")) == ("suspended", "two=held", "one")
    assert o.act("b", "suspend") == "suspended"
    assert o.now("b") == "one=held"
    assert o.take(3) == ["one"]
    assert o.act("c", "reset") == "running"
    assert o.act("c", "goto", "two") == "running"
    assert o.act("c", "skip", "one") == "running"
    assert o.act("c", "skip", "nowhere") == "step"
    assert o.act("c", "remove") == "asked"
    o.end("returned")
    assert o.act("c", "suspend") in {"missing", "suspended"}
    o.act("c", "remove")
    assert o.says("c") == ""
    assert o.act("a", "goto", "one") == "suspended"
    assert (o.now("a"), o.says("a", "ended"), o.out("a", "one")) == ("one=held", "", None)
    assert o.act("a", "resume", "two") == "running"
    assert o.now("a") == "two=ready"
    assert o.act("a", "skip", "two") == "succeeded"
    assert o.act("a", "skip", "one") == "state"
    assert o.act("a", "reset") == "running"
    assert (o.now("a"), o.says("a", "ended")) == ("one=ready", "")
    o.act("b", "resume")
    o.take(2)
    assert o.act("a", "cancel") == "asked"
    o.end("cancelled", most=1)
    assert o.says("a") == "cancelled"
    o.end("failed")
    assert o.act("b", "cancel") == "cancelled"


def to_come(o: Orders) -> None:
    """T1, T2, O10: due, its first step starts; if there is no room, it waits in front."""
    o.define(most=1)
    o.start("a", "b", delay=2)
    o.start("c", delay=60)
    assert [(o.says(own), o.now(own)) for own in "ab"] == [("scheduled", "one=scheduled")] * 2
    assert o.members("chain:c:started") == []
    o.passes(2_000)
    assert o.take(2) == ["one"]
    assert [(o.says(own), o.now(own)) for own in "ab"] == [("running", "one=running"), ("waiting", "one=held")]
    o.end(want=1)
    o.end()
    assert [(o.says(own), o.now(own)) for own in "ab"] == [("succeeded", ""), ("running", "one=ready")]
    assert o.act("c", "reset") == "state"
    o.act("c", "remove")
    o.rest()


def a_lost_worker(o: Orders) -> None:
    """O12, O4: the order stays where it is; a step that is not to run again is for a person to decide."""
    o.define(Step("one", "plain"), Step("two", "plain", if_lost="interrupt"))
    o.start("a")
    o.take(1)
    o.lose()
    assert (o.says("a"), o.now("a")) == ("running", "one=ready")
    assert o.history("a")[-1].endswith(": lost, to run again")
    o.take(1)
    o.end(want=1)
    o.lose()
    assert (o.says("a"), o.now("a")) == ("failed", "two=failed")
    assert o.act("a", "resume") == "running"
    assert o.do(jobs.cancel(o.says("a", "now").partition("=")[2], "me")) == "cancelled"
    assert o.says("a") == "failed"


def of_a_schedule(o: Orders) -> None:
    """O3, T7, T8: a schedule starts orders; one that counts from the end of its run waits for the order's end."""

    def stored(version: int, *more: str) -> ScheduleRecord:
        fields = ["every", "3600000", "anchor", str(o.clock), *more, *order_words("c", {"x": 1})[5:]]
        o.do(schedules.set_schedule("s", fields, o.clock, "me", replace=version > 1))
        words = ["version", str(version), "next", str(o.clock), *fields]
        return ScheduleRecord.read("s", [word if isinstance(word, bytes) else word.encode() for word in words])

    def fired(record: ScheduleRecord) -> Any:
        return o.do(schedules.fire("w1", [Shot(record, Plan((o.clock - 1, o.clock), NEVER))]), "w1").words

    record = stored(1)
    assert fired(record) == ["chain"]
    o.define(most=1)
    assert fired(record) == ["fired"]
    assert fired(record) == ["past"]
    assert sorted(o.says(own) for own in (f"{1:016}", f"{3:016}")) == ["running", "waiting"]
    o.rest()
    record = stored(2, "after_end", "1")
    own = o.do(schedules.act("s", "run", "me", record, job=record.words(o.clock)))
    assert o.says(own) == "running"
    assert o.do(schedules.act("s", "run", "me", record, job=record.words(o.clock))) == "busy"
    o.passes(5_000)
    o.rest()
    assert o.says(own) == "succeeded"
    assert o.real.client.zscore(o.real.keys("schedules"), "s") == o.clock + 3_600_000


def forgotten(o: Orders) -> None:
    """O13, R7: an order keeps its version, which goes with the last that has it; ended orders are trimmed."""
    o.define()
    o.start("a")
    assert o.define(Step("one", "plain"), Step("other", "plain")) == (2, True)
    o.start("b")
    o.take(2)
    assert sorted(o.end(want=2)) == ["other", "two"]
    o.end()
    assert o.real.client.exists(o.real.keys.chain("c", "1"))
    o.renew(keep=1)
    assert (o.says("a"), o.says("b")) == ("", "succeeded")
    assert not o.real.client.exists(o.real.keys.chain("c", "1"))
    o.renew(keep=0)
    assert o.real.client.exists(o.real.keys.chain("c", "2"))
    assert o.real.client.keys(o.real.keys("order*")) == []


ORDER_STORIES: list[Callable[[Orders], None]] = [
    step_by_step,
    it_fails_and_goes_on,
    set_back,
    aside_and_back,
    side_by_side,
    lists,
    room_for_two,
    gates,
    sent_past_the_end,
    a_seat_given_back,
    people,
    to_come,
    a_lost_worker,
    of_a_schedule,
    forgotten,
]
