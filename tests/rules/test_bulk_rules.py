"""Many jobs at once: which they are, what is done to them, and what is left alone (Q6, Q22, Q23)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.corpus import Scene, expanded
from faults.snapshot import exact, keys_of, normal
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import ThreadWorker, Trace, assert_one_place, client_calls

from seatline.console.verify import check_namespace
from seatline.producer import AsyncQueue, Chain, Job, JobRecord, Queue
from seatline.producer.alike import alike
from seatline.producer.load import Input, Load, Shape
from seatline.shared.calls import jobs as verbs
from seatline.shared.calls.reads import server_time
from seatline.shared.calls.workers import Report
from seatline.shared.chain import Step
from seatline.shared.errors import InvalidInput, NoSuchJob
from seatline.shared.keys import STATES

ENDED = STATES[3:]
ERRORS = [("OSError", "cannot open /vault/{}.dwg"), ("ValueError", "part {} is Odd"), ("Timeout", "after {} s")]
MakeQueue = Callable[..., Queue]


def populate(queue: Queue, url: str, seed: int, count: int = 150) -> FakeWorker:
    """Jobs of all states: of three types in several lines, with tenants, tags, errors; returns who runs some of them."""
    rng = random.Random(seed)
    queue.pools.set("vault", 30)
    worker = FakeWorker(url, queue.settings.namespace, {"a": {}, "b": {"vault": 1}}, slots=40)

    def new() -> Job:
        return Job(
            rng.choice("abc"),
            {"n": rng.randrange(9)},
            rng.choice([1, 10, 10, 100]),
            rng.choice([None, None, {}, {"vault": 2}]),
            tenant=rng.choice([None, "east", "west"]),
            tags=rng.sample(["red", "blue", "dark:blue"], rng.randrange(3)),
            delay=rng.choice([None, None, 3600]),
        )

    for _ in range(3):
        ids = queue.enqueue_many(new() for _ in range(count // 3))
        worker.turn()
        for job_id in rng.sample(list(worker.held), len(worker.held) * 3 // 4):
            kind, said = rng.choice(ERRORS)
            outcome = rng.choice(["succeeded", "failed", "failed", "skipped"])
            fields = ["error_type", kind, "error", said.format(rng.randrange(50))] if outcome == "failed" else []
            worker.turn(worker.report(job_id, outcome, *fields), want=0)
        for job_id in rng.sample(ids, 6):
            with contextlib.suppress(Exception):
                queue.handle(job_id).cancel()
        for job_id in rng.sample(ids, 4):
            with contextlib.suppress(Exception):
                queue.handle(job_id).remove()
    return worker


def all_jobs(queue: Queue) -> list[JobRecord]:
    """Each job there is, by its id: no listing is asked."""
    found: list[JobRecord] = []
    last = queue.enqueue("z")
    for number in range(1, int(last.id)):
        with contextlib.suppress(NoSuchJob):
            found.append(queue.job(number))
    last.remove()
    return found


def fits(job: JobRecord, moment: dt.datetime, wanted: dict[str, Any]) -> bool:
    """Say it once more, in other words than the product."""
    states = wanted.get("state") or ["ready", "scheduled", "running"]
    since = job.finished if job.state in ENDED else job.created
    assert since is not None
    return all(
        [
            job.state in ([states] if isinstance(states, str) else states),
            wanted.get("type") in {None, job.type},
            wanted.get("tenant") in {None, job.tenant},
            wanted.get("tag") is None or wanted["tag"] in job.tags,
            str(wanted.get("error", "")).lower() in f"{job.error_type}: {job.error}".lower(),
            moment - since >= dt.timedelta(seconds=wanted.get("older_than", 0)),
        ]
    )


def some_wish(rng: random.Random, jobs: list[JobRecord]) -> dict[str, Any]:
    """Return filters, each of them there or not; an age is about that of one of the jobs."""
    one = rng.choice(jobs)
    since = one.finished or one.created
    assert since is not None
    wish: dict[str, Any] = {
        "state": rng.choice([*STATES, rng.sample(STATES, 3), list(STATES)]),
        "type": rng.choice("abcd"),
        "tenant": rng.choice(["east", "west", "north"]),
        "tag": rng.choice(["red", "blue", "dark:blue", "blu"]),
        "error": rng.choice(["odd", "OSError: cannot", "vault/1", "nothing"]),
        "older_than": rng.choice([0.0, max(0, int((time.time() - since.timestamp()) * 1000)) / 1000, 1000.0]),
    }
    return {name: wish[name] for name in rng.sample(sorted(wish), rng.choice([0, 1, 1, 2, 2, 3]))}


class TestWhich:
    """What is selected."""

    @pytest.mark.parametrize("seed", range(3))
    def test_q22_all_that_match_and_no_others(self, seed: int, queue: Queue, server: RealServer) -> None:
        """Q22: against a random population, compared with a model that looks at each job by its id."""
        with contextlib.closing(populate(queue, server.url, seed)) as worker:
            jobs, rng = all_jobs(queue), random.Random(seed)
            assert {job.state for job in jobs} >= {
                "ready", "scheduled", "running", "succeeded", "failed", "skipped", "cancelled",
            }  # fmt: skip
            sizes = Counter[bool]()
            for _ in range(120):
                wish = some_wish(rng, jobs)
                chosen = queue.select(**wish)
                assert chosen.ids == [job.id for job in jobs if fits(job, chosen.moment, wish)], wish
                assert len(chosen) == len(chosen.ids)
                sizes[bool(chosen.ids)] += 1
            assert min(sizes.values()) > 10
            worker.leave(last_turn=False)

    def test_q22_the_moment_is_fixed(self, queue: Queue) -> None:
        """Q22: what comes while it looks is not among them, nor what comes later."""
        queue.enqueue_many(Job("t") for _ in range(2500))
        more = [Job("t", priority=1)] * 900
        chosen = queue.select(type="t", on=lambda _: queue.enqueue_many(more))
        assert [int(each) for each in chosen.ids] == list(range(1, 2501))
        assert chosen.cancel().done == {"cancelled": 2500}
        assert len(list(queue.jobs())) > 1

    def test_q22_nothing_is_missed_because_others_leave(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """Q22: while it reads, the head of the line is reserved: pages by rank would pass over as many behind it."""
        queue.enqueue_many(Job("t") for _ in range(5000))
        with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}}, slots=250)) as worker:

            def reserve(_: int) -> None:
                worker.turn(*worker.held, want=250)

            chosen = queue.select(state="ready", on=reserve)
            still = {record.id for record in queue.jobs(state="ready")}
            assert 1000 < len(still) < 4500
            assert set(chosen.ids) >= still
            worker.leave()

    def test_q22_a_load(self, queue: Queue, redis: Redis, tmp_path: Path) -> None:
        """Q22: of a small load among many others only its own jobs are read; of a large one only what is left of it."""
        (tmp_path / "small").write_text('{"n": 1}\n' * 30)
        (tmp_path / "large").write_text('{"n": 1}\n' * 3000)
        Load(Input(tmp_path / "small"), Shape(format="jsonl", type="t"), id="small").run(queue)
        queue.enqueue("t", tags=("load:other",))
        Load(Input(tmp_path / "large"), Shape(format="jsonl", type="t"), id="large").run(queue)
        whole = client_calls(redis, "keys", "scan", "sort")
        before = client_calls(redis, "hmget")
        assert [int(each) for each in queue.select(tag="load:small").ids] == list(range(1, 31))
        assert client_calls(redis, "hmget") - before <= 31
        assert [int(each) for each in queue.select(tag="load:other").ids] == [31]
        assert queue.select(state="ready", tag="load:large", type="t").cancel().done == {"cancelled": 3000}
        queue.select(state="cancelled").remove()
        before = client_calls(redis, "hmget")
        assert queue.select(tag="load:large").ids == []
        assert client_calls(redis, "hmget") - before <= 31
        assert client_calls(redis, "keys", "scan", "sort") == whole

    def test_q22_looking_writes_nothing(
        self, queue: Queue, make_queue: MakeQueue, server: RealServer, redis: Redis, namespace: str
    ) -> None:
        """Q22, Q18: whoever only looks changes no key."""
        with contextlib.closing(populate(queue, server.url, 7)) as worker:
            before = exact(redis, namespace)
            other = make_queue()
            assert len(other.select(state=STATES, tag="red", error="o", older_than=0.01))
            assert other.failures()
            assert exact(redis, namespace) == before
            worker.leave(last_turn=False)

    @pytest.mark.parametrize(
        ("wish", "said"),
        [
            ({"state": "sleeping"}, "state: 'sleeping' is none of"),
            ({"state": ["ready", "x"]}, "state: 'x' is none of"),
            ({"state": []}, "state: none is given"),
            ({"type": "a b"}, "type"),
            ({"tenant": ""}, "tenant"),
            ({"tag": " "}, "tag"),
            ({"error": ""}, "error"),
            ({"error": 5}, "error"),
            ({"older_than": -1}, "older_than"),
            ({"older_than": float("nan")}, "older_than"),
            ({"older_than": float("inf")}, "older_than"),
            ({"older_than": True}, "older_than"),
        ],
    )
    def test_q22_nonsense(self, queue: Queue, redis: Redis, namespace: str, wish: dict[str, Any], said: str) -> None:
        """Q22: refused by name, before anything is asked."""
        with pytest.raises(InvalidInput, match=said):
            queue.select(**wish)
        assert not exact(redis, namespace)


class TestActs:
    """What is done to them."""

    @pytest.mark.parametrize("verb", ["cancel", "remove", "resubmit", "move"])
    @pytest.mark.parametrize("seed", range(2))
    def test_q22_many_are_as_one_after_the_other(
        self, verb: str, seed: int, server: RealServer, redis: Redis, new_namespace: Callable[[], str]
    ) -> None:
        """Q22, Q23, Q6: one call for all leaves what as many calls for one leave: places, orders, claims, rings, history."""
        told, left = list[Any](), list[Any]()
        for together in (True, False):
            with Scene(new_namespace(), server.url, timeout=5.0) as scene:
                ids = crowd(scene, redis)
                random.Random(seed).shuffle(ids)
                calls = [call_of(verb, ids)] if together else [call_of(verb, [each]) for each in ids]
                told.append([said for call in calls for said in scene.caller.run(call)])
                left.append(normal(redis, scene.namespace))
                assert check_namespace(server.url, scene.namespace) == []
        (mine, theirs), (one, other) = told, left
        assert mine == theirs
        assert len({said.split()[0] for said in mine}) > 1
        for found in (one, other):
            found["events"] = (*found["events"][:2], sorted(found["events"][2], key=str))
        # The lane keeps the last call, the audit tells each of them.
        keys = {key for key in one.keys() | other.keys() if not key.startswith(("lane:", "audit", "acts"))}
        wrong = [key for key in keys if one.get(key) != other.get(key)]
        assert {key: (one.get(key), other.get(key)) for key in wrong} == {}

    @pytest.mark.parametrize("verb", ["cancel", "remove", "move"])
    def test_s6_who_stood_behind_is_woken(self, verb: str, queue: Queue, server: RealServer, namespace: str) -> None:
        """S6, S9: a job that claimed seats leaves its place: whoever can have them now is rung."""
        queue.pools.set("vault", 2)
        with contextlib.ExitStack() as workers:
            first = workers.enter_context(contextlib.closing(FakeWorker(server.url, namespace, {"x": {"vault": 2}})))
            behind = workers.enter_context(contextlib.closing(FakeWorker(server.url, namespace, {"y": {"vault": 1}})))
            workers.enter_context(queue.pools.session("vault", seats=1, ttl=60))
            queue.enqueue_many(Job("x", priority=1) for _ in range(3))
            waits = queue.enqueue("y", priority=5)
            assert first.turn() == behind.turn() == []
            assert not behind.rung()
            chosen = queue.select(type="x")
            told = chosen.move(priority=9) if verb == "move" else getattr(chosen, verb)()
            assert told.done.total() == 3
            assert behind.rung()
            assert behind.turn() == [waits.id]
            behind.settle()
            first.leave()
            behind.leave()

    def test_q22_all_others_are_untouched(self, queue: Queue, server: RealServer, redis: Redis, namespace: str) -> None:
        """Q22: of every job that was not chosen each key is the same, bit for bit."""
        with contextlib.closing(populate(queue, server.url, 5)) as worker:
            before = exact(redis, namespace)
            chosen = {
                "remove": queue.select(state="failed", type="a"),
                "resubmit": queue.select(state="failed", type="b"),
                "move": queue.select(state=["ready", "scheduled"], tag="red"),
                "cancel": queue.select(state=["ready", "scheduled"], type="c", tenant="east"),
            }
            mine = {job_id for each in chosen.values() for job_id in each.ids}
            assert all(map(len, chosen.values()))
            chosen["remove"].remove()
            chosen["resubmit"].resubmit()
            chosen["move"].move(priority=3)
            chosen["cancel"].cancel()
            after = exact(redis, namespace)
            of_jobs = {key for key in before.keys() | after.keys() if ":job:" in key and key.split(":")[2] not in mine}
            assert len(of_jobs) > 50
            assert {key: before.get(key) for key in of_jobs} == {key: after.get(key) for key in of_jobs}
            assert check_namespace(server.url, namespace) == []
            worker.leave(last_turn=False)

    def test_q22_what_has_moved_on_is_left_alone(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """Q22: removed, run again, failed anew: none of these is what was chosen."""
        queue.enqueue_many(Job("t") for _ in range(6))
        with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}}, slots=6)) as worker:
            failed = worker.turn()
            worker.settle(outcome="failed")
            chosen = queue.select(state="failed")
            moment = chosen.moment.timestamp() * 1000
            wait_until(
                lambda: queue.store.read(server_time()) > moment + 1
            )  # moments are told apart by the millisecond
            queue.handle(failed[0]).remove()
            for each in failed[1:4]:
                queue.handle(each).resubmit()
            worker.turn(want=2)
            worker.settle(failed[1], outcome="failed")
            told = chosen.remove()
            assert told.done == {"failed": 2}
            assert told.left == {"missing": 1, "failed": 1, "running": 1, "ready": 1}
            assert told.examples == {
                "missing": failed[0],
                "failed": failed[1],
                "running": failed[2],
                "ready": failed[3],
            }
            assert [queue.job(each).state for each in failed[1:4]] == ["failed", "running", "ready"]
            assert queue.select(state="failed").ids == [failed[1]]
            worker.leave(last_turn=True)

    def test_q23_running_ones_are_asked_if_they_were_chosen(
        self, queue: Queue, server: RealServer, namespace: str
    ) -> None:
        """Q23: one that began meanwhile is left to run unless running ones were asked for."""
        queue.enqueue_many(Job("t") for _ in range(5))
        with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}}, slots=2)) as worker:
            waiting, live = queue.select(state=["ready", "scheduled"]), queue.select()
            first, second = worker.turn()
            assert waiting.cancel().left == {"running": 2}
            assert not queue.job(first).cancel_asked
            worker.settle(second)
            told = live.cancel()
            assert (told.done, told.left) == ({"asked": 1}, {"succeeded": 1, "cancelled": 3})
            assert queue.job(first).cancel_asked
            assert worker.hear() == "look"
            worker.leave()

    def test_q22_steps_and_keys_are_refused_as_for_one(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """Q22, Q16: counted by the reason, each with an example."""
        queue.define(Chain("c", [Step("one", "t")]))
        queue.start("c")
        (first, second) = (queue.enqueue("t", unique="u"), None)
        with contextlib.closing(FakeWorker(server.url, namespace, {"t": {}}, slots=9)) as worker:
            worker.turn()
            worker.settle(outcome="failed")
            second = queue.enqueue("t", unique="u")
            told = queue.select(state="failed").resubmit()
            assert told.done.total() == 0
            assert told.left == {"order": 1, "duplicate": 1}
            assert told.examples["duplicate"] == first.id
            queue.start("c")
            assert queue.select(state="ready").remove().left == {"order": 1}
            assert second.id not in {each.id for each in queue.jobs()}
            worker.leave(last_turn=True)

    def test_q22_workers_race(
        self, queue: Queue, redis: Redis, namespace: str, start_worker: Callable[..., ThreadWorker]
    ) -> None:
        """Q22, Q8: while workers run them: each job either ran or was cancelled, and the sums say so."""
        queue.enqueue_many(Job("t") for _ in range(3000))
        other = queue.enqueue_many(Job("other") for _ in range(50))
        trace = Trace("t")
        workers = [start_worker(trace.handlers, slots=4) for _ in range(2)]
        chosen = queue.select(type="t", state=["ready", "scheduled"])
        told = chosen.cancel()
        for each in workers:
            each.stop()
        assert told.done.total() + told.left.total() == told.total == len(chosen)
        cancelled = {job.id for job in queue.jobs(state="cancelled")}
        assert told.done == {"cancelled": len(cancelled)}
        assert cancelled.isdisjoint(trace.ids)
        assert len(cancelled) + len(trace.ids) == 3000
        assert set(told.left) <= {"running", "succeeded"}
        assert [job.id for job in queue.jobs(state="ready")] == other
        assert_one_place(redis, namespace, 3050)

    def test_q22_it_tells_how_far_it_is(self, queue: Queue) -> None:
        """Q22: after each call of fifty; an error in the middle leaves what is done done."""
        queue.enqueue_many(Job("t") for _ in range(125))
        seen: list[int] = []

        def enough(acted: Any) -> None:
            seen.append(acted.done.total())
            if len(seen) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            queue.select(type="t").cancel(enough)
        assert seen == [50, 100]
        assert len(queue.select(type="t")) == 25
        assert queue.select(type="t").cancel().done == {"cancelled": 25}

    def test_q5_a_bad_priority_moves_none(self, queue: Queue) -> None:
        """Q5."""
        queue.enqueue("t")
        with pytest.raises(InvalidInput, match="priority"):
            queue.select().move(priority=0)
        assert [job.priority for job in queue.jobs()] == [10]

    def test_the_same_awaited(self, queue: Queue, server: RealServer, namespace: str) -> None:
        """Q22: AsyncQueue."""
        queue.enqueue_many(Job("t", {}, 10 + n % 2) for n in range(150))

        async def act() -> None:
            async with AsyncQueue(server.url, namespace=namespace) as other:
                chosen = await other.select(type="t")
                assert (len(chosen), chosen.ids[0], repr(chosen)) == (150, f"{1:016}", "<AsyncSelection of 150 jobs>")
                assert (await chosen.move(priority=3)).done == {"ready": 150}
                assert (await chosen.cancel()).done == {"cancelled": 150}
                assert (await (await other.select(state="cancelled")).resubmit()).done == {"cancelled": 150}
                assert (await (await other.select()).remove()).done == {"ready": 150}
                assert await other.failures() == []

        asyncio.run(act())
        assert list(queue.jobs()) == []


class TestFailures:
    """What has failed, by kind."""

    def test_q22_by_type_and_message(self, queue: Queue, server: RealServer) -> None:
        """Q22, Q11: against a count by hand; the message finds the same jobs again."""
        with contextlib.closing(populate(queue, server.url, 11, 300)) as worker:
            jobs = [job for job in all_jobs(queue) if job.state == "failed"]
            wanted = Counter((job.type, f"{job.error_type}: {alike(job.error or '', job.type)}") for job in jobs)
            assert len(wanted) == 6
            found = queue.failures()
            assert {(each.type, each.message): each.count for each in found} == dict(wanted)
            assert [each.count for each in found] == sorted(wanted.values(), reverse=True)
            for each in found:
                mine = queue.select(state="failed", type=each.type, error=each.message)
                assert len(mine) == each.count
                ends = {job.id: job.finished for job in jobs if job.id in mine.ids}
                assert (min(ends.values()), max(ends.values())) == (each.first, each.last)  # type: ignore[type-var]
                assert ends[each.example] == each.last
            assert {each.type for each in queue.failures(type="a")} == {"a"}
            assert {each.message for each in queue.failures(error="part 1")} == {"ValueError: part <n> is Odd"}
            assert queue.failures(tenant="north") == queue.failures(tag="green") == []
            assert sum(each.count for each in queue.failures(state=["failed", "cancelled"])) > len(jobs)
            recent = queue.failures(newer_than=dt.timedelta(hours=1))
            assert recent == found
            worker.leave(last_turn=False)

    @pytest.mark.parametrize(
        ("wish", "said"),
        [
            ({"state": "ready"}, "state: 'ready' is no end"),
            ({"state": "x"}, "state"),
            ({"newer_than": 0}, "newer_than"),
            ({"newer_than": -5}, "newer_than"),
            ({"error": " "}, "error"),
        ],
    )
    def test_q22_nonsense(self, queue: Queue, wish: dict[str, Any], said: str) -> None:
        """Q22."""
        with pytest.raises(InvalidInput, match=said):
            queue.failures(**wish)

    @pytest.mark.parametrize(
        ("message", "told"),
        [
            ("cannot open /vault/a-17.dwg after 30 s", "cannot open <path> after <n> s"),
            ("cannot open C:\\work\\b.dwg after 31.5 s", "cannot open <path> after <n> s"),
            ("[Errno 2] No such file: '/tmp/a b/c.txt'\nmore", "[Errno <n>] No such file: '<path>'"),
            ("a.dwg is locked by parts/b.dwg", "<path> is locked by <path>"),
            ("GET http://cad-01:80/x?y=1 refused", "GET <url> refused"),
            ("10.0.0.1:6379: 3/4 seats", "<n>: <n>/<n> seats"),
            ("lock k3v9m2hx0q7t, 123e4567-e89b-12d3-a456-426614174000", "lock <id>, <id>"),
            ("'NoneType' object has no attribute 'x'", "'NoneType' object has no attribute 'x'"),
            ("the mail server is away", "the mail server is away"),
            ("the handler of cad.check needs n, in a.check", "the handler of cad.check needs n, in <path>"),
            ("type cad.check: 'cad.check', /in/cad.check.", "type cad.check: 'cad.check', <path>"),
            ("worker vm.12g.4242.k3v9m2 (pid 4242)", "worker <id> (pid <n>)"),
            ("its worker vm.4.907.60wq5d stopped", "its worker <id> stopped"),
            ("its worker cad-01.4242.123456: lost", "its worker <id>: lost"),
            ("", ""),
        ],
    )
    def test_messages_that_are_alike(self, message: str, told: str) -> None:
        """Q22: what differs from job to job is left out, and nothing else; once more changes nothing."""
        assert alike(message, "cad.check") == told
        assert alike(told, "cad.check") == told

    def test_a_long_message_costs_little(self) -> None:
        """R4: only its beginning counts."""
        assert len(alike("x" * 1_000_000, "t")) == 300


def crowd(scene: Scene, redis: Redis) -> list[str]:
    """Jobs of every kind: that claim seats, are waited for, have keys, are steps and elements; returns their ids."""
    scene.pool(2)
    scene.chain(Step("all", "free", each="files"), Step("last", "seated"), most=2)
    scene.offer()
    for own in ("one", "two", "three"):
        scene.order(own, files=4)
    expanding = scene.reserve(2)
    for taken in expanding:
        scene.do(expanded(taken, 4))
    scene.reserve(0, reports=[Report(each.id, each.token, "succeeded", ["count", 4]) for each in expanding])
    scene.submit(Job("free", unique="u"), Job("free", token="mine", priority=1), Job("free", delay=500))
    scene.submit(*[Job("seated", priority=n) for n in (1, 2, 2, 3)], Job("free", {}, 4, {"vault": 2}))
    scene.submit(Job("other", expires=900), Job("free", delay=800, supersede="s"))
    ended = [taken for taken in scene.reserve(4) if taken.id in scene.ids]
    scene.end("failed", 0, *ended[:1])
    scene.end("succeeded", 0, *ended[1:2])
    scene.offer("w2")
    scene.reserve(1, worker="w2", bell="bell2")
    keys = [key.partition("}:")[2].split(":") for key in keys_of(redis, scene.namespace)]
    ids = sorted(key[1] for key in keys if key[0] == "job" and len(key) == 2)
    for each in ids[::4]:
        scene.do(verbs.wait(each, None, "waiter"))
    return [*ids, f"{999:016}"]


def call_of(verb: str, ids: list[str]) -> Any:
    chosen = verbs.Chosen(ids, () if verb != "cancel" else ("ready", "running", "scheduled", "failed"))
    if verb == "move":
        return verbs.move_many(chosen, "me", 5)
    return {"cancel": verbs.cancel_many, "remove": verbs.remove_many, "resubmit": verbs.resubmit_many}[verb](
        chosen, "me"
    )
