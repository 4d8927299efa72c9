"""fakeredis gives the answers of a real server, for every script: so the users' test kit may run the real scripts on it.

Each request goes to both; the replies and all that is kept must be equal. Both live on the clock of the test
(`model/real.py`), so that not even the times differ.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import fakeredis
import pytest
from faults.corpus import REPAIRS
from harness.server import RealServer
from model.compare import difference
from model.event_stories import EVENT_STORIES, Facts
from model.machine import Machine
from model.order_stories import ORDER_STORIES, Orders
from model.real import START, Real
from model.stories import STORIES
from redis import Redis

from seatline.shared import scripts
from seatline.shared.calls import jobs, keeping, loads, pools, schedules, triggers, workers
from seatline.shared.calls.base import Call, Word
from seatline.shared.calls.contact import contact
from seatline.shared.calls.repair import repair
from seatline.shared.calls.schedules import ScheduleRecord, Shot
from seatline.shared.calls.triggers import TriggerRecord
from seatline.shared.calls.workers import Kept, Note, Report, Suspect
from seatline.shared.codec import pack_params
from seatline.shared.job import Job, attempt_text, job_words
from seatline.shared.times import NEVER, Plan

TYPES = {"seated": ("vault=1", "rerun"), "plain": ("none", "interrupt"), "both": ("gpu=1,vault=2", "rerun")}
LEASE, BLOCK = 30_000, 5_000

#: The keys that expire, in one round trip.
TERMS = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  if redis.call('PTTL', key) > 0 then found[#found + 1] = key end
end
return found
"""


def unordered(reply: Any) -> Any:
    """Return a reply with the fields of hashes sorted: a server puts those of a large one in any order."""
    if not isinstance(reply, list):
        return reply
    words: list[Any] = [unordered(word) for word in reply]
    if len(words) < 10 or len(words) % 2 or not all(isinstance(word, bytes) for word in words):
        return words
    return sorted(zip(words[::2], words[1::2], strict=True))


class Twins(Real):
    """A real namespace and its twin in fakeredis, which are told the same."""

    def __init__(self, client: Redis, namespace: str) -> None:
        super().__init__(client, namespace)
        self.fake = Real(fakeredis.FakeRedis(server=fakeredis.FakeServer(version=(7,))), namespace)
        self.told = 0

    def found(self, seq: int) -> None:
        super().found(seq)
        self.fake.found(seq)

    def advance(self, clock: int) -> None:
        super().advance(clock)
        self.fake.advance(clock)
        self.compare("the clock")

    def forget(self, name: str) -> None:
        super().forget(name)
        self.fake.forget(name)

    def _send(self, name: str, keys: Sequence[str], words: Sequence[Any]) -> Any:
        reply = super()._send(name, keys, words)
        same = self.fake._send(name, keys, words)
        equal = same == reply or unordered(same) == unordered(reply)
        assert equal, f"{name} {words}: the server says {reply}, fakeredis {same}"
        self.compare(name)
        self.told += 1
        return reply

    def compare(self, after: str) -> None:
        mine, theirs = self.fake.read(), self.read()
        wrong = difference(mine, theirs)
        assert not wrong, "\n".join([f"after {after}; expected is what fakeredis has", *wrong])
        assert self.events(self.fake) == self.events(self), f"events after {after}"
        assert self.terms(self.fake) == self.terms(self), f"what expires after {after}"

    @staticmethod
    def events(side: Real) -> list[Any]:
        found: list[Any] = [side.client.xrange(side.keys(name)) for name in ("events", "audit", "acts")]
        return [fields for stream in found for _, fields in stream]

    @staticmethod
    def terms(side: Real) -> set[bytes]:
        found: Any = side.client.eval(TERMS, 0, side.keys("*"))
        return set(found)


@pytest.fixture
def twins(server: RealServer) -> Iterator[Twins]:
    with contextlib.closing(server.client()) as client:
        yield Twins(client, "twin")
        client.flushall()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_same_story(story: Callable[[Machine], None], twins: Twins) -> None:
    class Told(Machine):
        real = twins

    machine = Told()
    story(machine)
    machine.equal()


def offer(worker: str, digest: str = "abcd", types: dict[str, tuple[str, str]] | None = None) -> Call[Any]:
    return workers.offer(worker, digest, 90_000, {"host": "here", "pid": 7}, types or TYPES)


def turn(
    worker: str, want: int, *reports: Report, digest: str = "abcd", bell: str = "", listed: bool = False
) -> Call[Any]:
    return workers.turn(
        worker=worker, digest=digest, lease_ms=LEASE, want=want, bell=bell, block_ms=BLOCK, listed=listed,
        kept=Kept(), reports=reports,
    )  # fmt: skip


def renew(worker: str, *held: tuple[str, str], keep: int = 100) -> Call[Any]:
    return workers.renew(
        worker=worker, digest="abcd", lease_ms=LEASE, presence_ms=90_000, kept=Kept(count=keep), fields={"busy": 1},
        held=held,
    )  # fmt: skip


def submit(*wanted: Job) -> Call[Any]:
    return jobs.submit([job_words(job) for job in wanted])


def report(number: int, token: str, outcome: str, *fields: Word, result: bytes = b"") -> Report:
    return Report(f"{number:016}", token, outcome, list(fields), result, 60_000 if result else 0)


def hourly(*more: str) -> list[str | bytes]:
    return ["every", "3600000", "anchor", str(START), *more, *job_words(Job("plain", {"x": 1}))[5:]]


def record(version: int, planned: int, *more: str) -> ScheduleRecord:
    words = ["version", str(version), "next", str(planned), *hourly(*more)]
    return ScheduleRecord.read("s", [word if isinstance(word, bytes) else word.encode() for word in words])


def trigger(version: int, *wanted: Job, coalesce: float | None = None) -> TriggerRecord:
    then = dt.datetime.fromtimestamp(0, dt.UTC)
    return TriggerRecord("e", wanted, coalesce, str(version), then, then, "me")


def emit(record: TriggerRecord, *params: int) -> Call[Any]:
    wanted = [triggers.event_words("e", job) for n in params for job in record.wanted({"n": n, "who": "ü"}, None)]
    return triggers.emit(record, wanted, strict=False)


def gather(record: TriggerRecord, *params: int) -> Call[Any]:
    events = [pack_params({"n": n, "bytes": bytes([0, 10, 255, n % 256])}) for n in params]
    return triggers.gather(record, record.gathering("", "T"), events, strict=False)


PAIR = (Job("plain", {"n": 1}, 1), Job("seated", {}, 2, {}))


def many(*numbers: int, states: Sequence[str] = (), moment: int | None = None) -> jobs.Chosen:
    return jobs.Chosen([f"{number:016}" for number in numbers], states, moment)


ERROR = ("error_type", "Sad", "error", "no", "traceback", "line 1\nline 2")
FOUR = "program:p:tok4"

#: What is told, in order: a call of a client, or ms that pass.
CORPUS: list[tuple[str, Call[Any]] | int] = [
    ("c", contact("run1")),
    ("c", contact("run2")),
    ("c", contact("run2")),
    ("c", turn("w1", 2)),
    ("c", pools.set_pool("vault", 2)),
    ("c", pools.set_pool("vault", 3, 1, 5)),
    ("c", pools.set_pool("gpu", 1)),
    ("c", pools.remove_pool("nowhere")),
    ("c", offer("w1")),
    ("c", offer("w2")),
    ("c", offer("w3", "ef01", {"seated": ("none", "interrupt")})),
    ("c", offer("w3", "ef01", {"plain": ("none", "interrupt"), "other": ("none", "rerun")})),
    ("w1", turn("w1", 2, bell="b1")),
    ("w2", turn("w2", 1, bell="b2")),
    ("w3", turn("w3", 1, digest="ef01", bell="b3")),
    ("c", submit(Job("plain", {"x": 1}, 5), Job("seated", {}, 5, {"vault": 2}), Job("other", {}, 2**53 - 1, {}))),
    ("c", submit(Job("plain", {"x": "ü"}, 1, token="t1", title="ü", tags=["a", "b"], tenant="T", result_ttl=60))),
    ("c", submit(Job("plain", {"x": "ü"}, 1, token="t1", tenant="T"), Job("plain", token="t2"), Job("plain", token="t2"))),
    ("c", submit(Job("plain", {"x": 2}, 1, token="t1"))),
    ("c", submit(Job("plain", {}, 3, unique="u"), Job("plain", {}, 4, unique="u"), Job("plain", {}, 3, unique=True))),
    ("c", submit(Job("plain", {}, 3, unique="u", on_duplicate="refuse"))),
    ("c", submit(*[Job("plain", {"n": n}, 6, supersede="s") for n in range(3)], Job("seated", supersede="s", delay=9))),
    ("c", submit(Job("plain", {}, 6, supersede="s", unique="s"))),
    ("c", submit(Job("plain", delay=3), Job("seated", delay=60), Job("plain", delay=0))),
    ("c", submit(*[Job("both", {"n": n}, 7) for n in range(450)])),
    ("w1", turn("w1", 3, bell="b1", listed=True)),
    ("c", jobs.wait("1".zfill(16), None, "ear")),
    ("c", jobs.wait("1".zfill(16), None, "ear")),
    ("c", jobs.wait("1".zfill(16), 1, "ear")),
    ("c", jobs.wait("999".zfill(16), None, "ear")),
    ("c", jobs.cancel("4".zfill(16), "me")),
    ("w1", renew("w1", ("4".zfill(16), "w1:1:2"), ("1".zfill(16), "w1:1:2"), ("1".zfill(16), "other:1:1"))),
    ("c", workers.ask("w1", "resume", "me")),
    ("c", workers.ask("w1", "pause", "me")),
    ("c", workers.ask("w1", "resume", "me")),
    ("c", workers.ask("w1", "stop", "me")),
    ("c", workers.ask("w1", "pause", "me")),
    ("c", workers.ask("w1", "stop-now", "me")),
    ("c", workers.ask("nobody", "stop", "me")),
    ("w1", renew("w1")),
    ("w1", workers.note([Note("4".zfill(16), "w1:1:2", {"progress": "1 of 2"}, ["a ü", "b"]), Note("1".zfill(16), "x:1:1")])),
    ("w1", workers.note([Note("4".zfill(16), "w1:1:2", {}, ["c"] * 1000)])),
    ("w1", turn("w1", 3, report(4, "w1:1:2", "returned"), report(1, "w1:1:2", "failed", *ERROR), report(1, "x:1:1", "failed"))),
    ("c", jobs.wait("1".zfill(16), None, "ear")),
    ("c", jobs.resubmit("1".zfill(16), "me")),
    ("c", jobs.resubmit("1".zfill(16), "me")),
    ("c", jobs.resubmit("999".zfill(16), "me")),
    ("c", jobs.move("1".zfill(16), "me", 2)),
    ("c", jobs.move("7".zfill(16), "me", 2**53 - 1)),
    ("c", jobs.move("4".zfill(16), "me", 2)),
    ("c", jobs.move("999".zfill(16), "me", 2)),
    ("c", repair(REPAIRS, "me")),
    ("c", repair(REPAIRS, "me")),
    ("c", keeping.keep("failed", "plain", 0, 0, "me")),
    ("c", keeping.keep("failed", "", 60, 1, "me")),
    ("c", keeping.keep("failed", "", 60, 1, "me")),
    ("c", keeping.keep("skipped", "none.such", 60, 1, "me")),
    ("c", keeping.keep("skipped", "none.such", None, None, "me")),
    ("w1", renew("w1")),
    ("c", jobs.gate("plain", "paused", "me")),
    ("c", jobs.gate("", "paused", "me")),
    ("w2", turn("w2", 1, bell="b2", listed=True)),
    ("c", jobs.gate("", "paused", "")),
    ("w2", turn("w2", 1, bell="b2", listed=True)),
    ("c", jobs.gate("plain", "paused", "")),
    ("c", jobs.gate("plain", "paused", "")),
    ("c", jobs.gate("", "closed", "me")),
    ("c", submit(Job("plain"))),
    ("c", jobs.gate("", "closed", "")),
    3_000,
    ("w3", turn("w3", 2, digest="ef01", bell="b3", listed=True)),
    ("c", pools.set_external("vault", 1, 20_000)),
    ("c", pools.set_external("nowhere", 1, 20_000)),
    ("w1", pools.refused_pool("gpu", 2_000, 3_000, "w1")),
    ("w1", pools.refused_pool("gpu", 2_000, 3_000, "w1")),
    ("w1", pools.refused_pool("nowhere", 2_000, 3_000, "w1")),
    ("c", pools.open_session("gpu", FOUR, 1, ttl_ms=LEASE, priority=1, asks_ms=8_000)),
    2_500,
    ("w1", pools.refused_pool("gpu", 2_000, 3_000, "w1")),
    ("c", pools.set_pool("gpu", 1)),
    ("c", pools.open_session("gpu", FOUR, 1, ttl_ms=LEASE, priority=1)),
    ("c", pools.open_session("vault", FOUR, 1, ttl_ms=LEASE, priority=1)),
    ("c", pools.open_session("vault", FOUR, 9, ttl_ms=LEASE, priority=1)),
    ("c", pools.open_session("vault", "program:q:tok5", 2, ttl_ms=LEASE, priority=1, asks_ms=8_000)),
    ("c", pools.open_session("vault", "program:r:tok6", 2, ttl_ms=LEASE, priority=9)),
    ("c", pools.open_session("nowhere", FOUR, 1, ttl_ms=LEASE, priority=1)),
    ("c", pools.renew_session("vault", FOUR, 1, LEASE)),
    ("c", pools.renew_session("vault", FOUR, 2, LEASE)),
    ("c", pools.remove_pool("vault")),
    ("w1", turn("w1", 3, bell="b1")),
    ("c", pools.close_session("vault", FOUR, 1)),
    ("c", pools.close_session("vault", FOUR, 1)),
    ("w1", turn("w1", 3, bell="b1", listed=True)),
    ("w2", turn("w2", 1, bell="b2", listed=True)),
    LEASE,
    ("c", renew("w4", keep=0)),
    ("c", workers.reap("w4", [Suspect("job", "2".zfill(16), "w1:1:2", 0), Suspect("session", "gpu", f"{FOUR}|1", 0)])),
    ("w2", turn("w2", 1, bell="b2", listed=True)),
    ("c", jobs.cancel("7".zfill(16), "me")),
    ("c", jobs.cancel("300".zfill(16), "me")),
    ("c", jobs.cancel("300".zfill(16), "me")),
    ("c", jobs.cancel("999".zfill(16), "me")),
    ("c", jobs.remove("301".zfill(16), "me")),
    ("c", jobs.remove("300".zfill(16), "me")),
    ("c", jobs.remove("999".zfill(16), "me")),
    ("c", jobs.move_many(many(*range(8, 40), 999, states=("ready",)), "me", 4)),
    ("c", jobs.cancel_many(many(*range(1, 40), states=("ready", "scheduled")), "me")),
    ("c", jobs.resubmit_many(many(*range(1, 40), moment=START + 10_000_000), "me")),
    ("c", jobs.resubmit_many(many(*range(1, 40), moment=START), "me")),
    ("c", jobs.remove_many(many(*range(20, 60), 999), "me")),
    ("w2", turn("w2", 1, *[report(n, "x:1:1", "succeeded", result=b"\x00\xff") for n in range(1, 200)])),
    ("c", workers.sleep("w2", "abcd", 600_000, 90_000, {"state": "sleeping"})),
    ("w3", renew("w3")),
    ("w2", turn("w2", 1, listed=True)),
    ("c", schedules.set_schedule("s", hourly(), START, "me", replace=False)),
    ("c", schedules.set_schedule("s", hourly(), START, "me", replace=False)),
    ("w1", turn("w1", 1, bell="b1", listed=True)),
    ("w1", schedules.fire("w1", [Shot(record(1, START), Plan((START - 1, START), NEVER))])),
    ("w1", schedules.fire("w1", [Shot(record(1, START), Plan((START,), None))])),
    ("w1", schedules.fire("w1", [Shot(record(1, NEVER), Plan((), None), "no zone")])),
    ("c", schedules.set_schedule("s", hourly("after_end", "1"), START, "me", replace=True)),
    ("c", schedules.act("s", "run", "me", record(2, START), job=record(2, START, "after_end", "1").words(1))),
    ("c", schedules.act("s", "run", "me", record(2, START), job=record(2, START, "after_end", "1").words(1))),
    ("c", schedules.act("s", "run", "me", record(1, START), job=record(2, START).words(1))),
    ("c", schedules.act("s", "pause", "me")),
    ("c", schedules.act("s", "pause", "me")),
    ("c", schedules.act("s", "resume", "me", record(2, START), START)),
    ("c", schedules.act("s", "remove", "me")),
    ("c", schedules.act("s", "remove", "me")),
    ("c", schedules.set_window("plain", "00:00-23:00 UTC", (START, START + 1), "me")),
    ("w1", schedules.set_window("plain", "00:00-22:00 UTC", (START, START + 1), "")),
    ("w1", schedules.set_window("plain", "00:00-23:00 UTC", (START, NEVER), "")),
    ("c", schedules.set_window("plain", "", (0, 0), "me")),
    ("c", loads.load("big", "s", "me", loads.Lines(0, "", 2, "m2", 1, last=False), [job_words(Job("plain"))])),
    ("c", loads.load("big", "s", "me", loads.Lines(0, "", 2, "m2", 1, last=False), [job_words(Job("plain"))])),
    ("c", loads.load("big", "s", "me", loads.Lines(2, "m2", 4, "m4", 0, last=True), [job_words(Job("new"))] * 2)),
    ("c", loads.load("big", "s", "me", loads.Lines(4, "m4", 4, "m4", 0, last=False),
        [["=0:2", b"a" * 64, b"b"], job_words(Job("plain", token="own")), ["=0:1", b"c"]],
        [["", "", "", "", "type", "plain", "priority", "7", "tags", "x"]])),
    ("c", loads.load("big", "s", "me", loads.Lines(4, "m4", 4, "m4", 0, last=True), [])),
    ("c", triggers.remove_trigger("e", "me")),
    ("c", triggers.set_trigger("e", PAIR, None, "me")),
    ("c", emit(trigger(3, *PAIR), *range(3))),
    ("c", emit(trigger(9, *PAIR), 1)),
    ("c", triggers.set_trigger("e", PAIR, 0.01, "me")),
    ("c", emit(trigger(3, *PAIR), 1)),
    ("c", gather(trigger(3, *PAIR, coalesce=0.01), 1)),
    ("c", gather(trigger(4, *PAIR, coalesce=0.01), 1)),
    ("c", gather(trigger(4, *PAIR, coalesce=0.01), *range(2, 900))),
    20,
    ("w2", turn("w2", 2, bell="b2")),
    ("c", gather(trigger(4, *PAIR, coalesce=0.01), 1)),
    ("c", triggers.remove_trigger("e", "me")),
    ("c", workers.leave("w1", "abcd", "b1")),
    ("c", workers.leave("w2", "abcd", "b2")),
    ("c", workers.leave("w3", "ef01", "b3")),
]  # fmt: skip


#: Those that only orders need: see `test_the_same_orders`.
OF_ORDERS = {
    "chain_define", "chain_gate", "chain_admit", "order_start", "order_act", "order_expand", "order_wait",
}  # fmt: skip


def test_the_corpus_knows_every_script() -> None:
    calls = [told[1] for told in CORPUS if not isinstance(told, int)]
    assert {call.script for call in calls} == set(scripts.names()) - OF_ORDERS
    assert len(calls) >= 60


def test_the_same_requests(twins: Twins) -> None:
    twins.found(0)
    clock = int(twins.client.hget(twins.keys.about, "clock") or 0)
    suspects: list[Suspect] = []
    for told in CORPUS:
        if isinstance(told, int):
            clock += told
            twins.advance(clock)
            continue
        client, call = told
        word, value = twins.run(call, client)
        if call.script == "renew":
            suspects = list(value.suspects)
        if word == "ok" and call.numbered:
            twins.run(call, client, number=twins.number(client))
            twins.run(call, client, number=twins.number(client), spoil="0")
    assert suspects, "nothing expired"
    twins.run(workers.reap("w4", suspects))
    assert twins.told > 100


def _many_ends() -> list[tuple[str, Call[Any]] | int]:
    """Ends of attempts: again at once and later, too late, with hundreds of jobs, with tokens that say no."""
    text = attempt_text(1, "w1", "Sad", "no\n\nfrom ü", "line 1\n").encode()

    def ended(number: int, turn_: int, outcome: str, ms: int = 0, *wanted: Job) -> Report:
        fields: list[Word] = [*ERROR] if outcome in {"retry", "failed"} else []
        result = text if outcome == "retry" else b""
        return Report(
            f"{number:016}", f"w1:1:{turn_}", outcome, fields, result, ms, jobs=[job_words(j) for j in wanted]
        )

    many = [Job("plain", {"n": n}, expires=9) for n in range(450)] + [Job("both", delay=3, expires=4)] * 3
    told = [Job("other", token="t1"), Job("plain", token="t1"), Job("plain", token="t2"), Job("plain", token="t2")]
    again: list[tuple[str, Call[Any]] | int] = [
        ("w1", turn("w1", 1, ended(1, number, "retry"), bell="b1")) for number in range(4, 28)
    ]
    return [
        ("c", pools.set_pool("vault", 3)),
        ("c", pools.set_pool("gpu", 1)),
        ("w1", offer("w1")),
        (
            "c",
            submit(
                Job("plain", {}, 1),
                Job("plain", {}, 2, token="t1"),
                Job("seated", {}, 2, expires=5),
                Job("both", {}, 2),
            ),
        ),
        ("c", submit(*[Job("seated", {}, 1, expires=2)] * 3, Job("seated", {}, 9, delay=1, expires=20))),
        3_000,
        ("w1", turn("w1", 4)),
        ("w2", turn("w2", 1, bell="b2")),
        ("w1", turn("w1", 0, ended(1, 1, "retry"), ended(3, 1, "retry", 1_000), ended(4, 1, "retry", 7_000))),
        ("w1", turn("w1", 1, ended(2, 1, "succeeded", 0, *many, *told), bell="b1")),
        *again,
        ("c", renew("w2")),
        2_500,
        ("c", renew("w2")),
        ("w1", turn("w1", 3, ended(1, 27, "skipped", 0, Job("plain", {}, 1)), listed=True)),
        7_000,
        ("c", renew("w2")),
        ("w1", turn("w1", 256)),
        ("c", jobs.resubmit("3".zfill(16), "me")),
        ("c", jobs.resubmit("6".zfill(16), "me")),
        ("c", jobs.remove("1".zfill(16), "me")),
        ("c", jobs.wait("7".zfill(16), None, "ear")),
    ]


def test_the_same_ends(twins: Twins) -> None:
    twins.found(0)
    clock = int(twins.client.hget(twins.keys.about, "clock") or 0)
    for told in _many_ends():
        if isinstance(told, int):
            clock += told
            twins.advance(clock)
            continue
        client, call = told
        twins.run(call, client)
        if call.numbered:
            twins.run(call, client, number=twins.number(client))
    read = twins.read()
    assert len(read["finished:expired"]) > 250
    assert [len(read[f"job:{n:016}:attempts"]) for n in (3, 4)] == [1, 1]
    assert len(read[f"job:{2:016}:history"]) == 1


def test_the_same_orders(twins: Twins) -> None:
    """All that is told of orders, and so every script that only they need."""
    sent: set[str] = set()
    send = twins._send

    def noted(name: str, keys: Sequence[str], words: Sequence[Any]) -> Any:
        sent.add(name)
        return send(name, keys, words)

    twins._send = noted  # type: ignore[method-assign]
    for story in ORDER_STORIES:
        story(Orders(twins))
    assert sent >= OF_ORDERS


@pytest.mark.parametrize("story", EVENT_STORIES, ids=lambda story: story.__name__)
def test_the_same_events(story: Callable[[Facts], None], twins: Twins) -> None:
    """What has happened, how it is told, and what is made of it (Q20)."""
    story(Facts(twins))
