"""Triggers (Q20): an event enqueues the jobs that are stored for it, all or none; or is gathered with others into one."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import ThreadWorker, client_calls

from seatline.producer import Job, Queue
from seatline.producer.triggers import emitted
from seatline.shared.calls import triggers as verbs
from seatline.shared.calls.base import Call
from seatline.shared.errors import (
    Closed,
    InvalidInput,
    JobFailed,
    NoSuchTrigger,
    OutcomeUnknown,
    PayloadError,
    SeatsLacking,
    ServerFull,
    TenantRequired,
)
from seatline.shared.job import events_of
from seatline.worker import Context, Handlers, Worker

EVENT = "drawing.released"
Fake = Callable[..., FakeWorker]
Burst = Callable[..., Worker]


@pytest.fixture
def fake(server: RealServer, namespace: str) -> Iterator[Fake]:
    with contextlib.ExitStack() as workers:

        def make(**options: Any) -> FakeWorker:
            return workers.enter_context(contextlib.closing(FakeWorker(server.url, namespace, {"a": {}}, **options)))

        yield make


def stored(queue: Queue) -> int:
    return sum(1 for _ in queue.jobs())


def given(worker: FakeWorker, job_id: str) -> list[int]:
    """Return the events that a reserved job was handed, by their number."""
    fields = dict(zip(worker.held[job_id].flat[::2], worker.held[job_id].flat[1::2], strict=True))
    return [event["n"] for event in events_of(int(fields[b"gathered"]), fields[b"events"])]


def numbers(queue: Queue, job_id: str) -> list[int]:
    return [event["n"] for event in queue.job(job_id).params["events"]]


def ran(burst: Burst, handlers: Handlers, queue: Queue, job_id: str) -> str:
    """Run what there is to run, and return the state of a job."""
    burst(handlers)
    return queue.job(job_id).state


class TestEmit:
    """An event and its jobs."""

    def test_q20_n_events_give_n_times_k_jobs(self, queue: Queue, redis: Redis) -> None:
        """Q20, Q4: in the order of events and jobs, at priority 100; the trigger's params win; one script call."""
        assert queue.triggers.set(EVENT, [Job("index", {"vault": "main"}), Job("publish", title="To publish")])
        queue.emit(EVENT)  # the server knows the script from now on
        before = client_calls(redis, "evalsha")
        ids = queue.emit_many(EVENT, [{"file": f"{n}.dwg", "vault": "event's"} for n in range(3)])
        assert client_calls(redis, "evalsha") == before + 1
        jobs = [queue.job(job_id) for job_id in ids]
        assert [job.id for job in jobs] == sorted(ids)
        assert [(job.type, job.priority, job.event, job.state) for job in jobs] == [
            ("index", 100, EVENT, "ready"), ("publish", 100, EVENT, "ready"),
        ] * 3  # fmt: skip
        assert [job.params for job in jobs[2:4]] == [
            {"file": "1.dwg", "vault": "main"},
            {"file": "1.dwg", "vault": "event's"},
        ]
        assert jobs[1].title == "To publish"

    def test_q4_another_priority_is_said(self, queue: Queue) -> None:
        """Q4: by the job, or for all that leave theirs at the default."""
        queue.triggers.set(EVENT, [Job("a"), Job("a", priority=3)])
        assert [queue.job(job_id).priority for job_id in queue.emit(EVENT)] == [100, 3]
        queue.triggers.set(EVENT, [Job("a"), Job("a", priority=3)], priority=10)
        assert [queue.job(job_id).priority for job_id in queue.emit(EVENT)] == [10, 3]

    def test_q20_no_jobs(self, queue: Queue, redis: Redis) -> None:
        """Q20: k = 0 gives none, and so does n = 0."""
        assert queue.emit("nothing", {"n": 1}) == []
        queue.triggers.set(EVENT, [Job("a")])
        assert queue.emit_many(EVENT, []) == []
        queue.triggers.remove(EVENT)
        assert queue.emit(EVENT) == []
        assert stored(queue) == 0
        assert redis.get(queue.store.keys("seq")) in {None, b"0"}

    def test_q20_at_most_a_thousand_jobs(self, queue: Queue) -> None:
        """Q20: else it is refused, with the number."""
        queue.triggers.set(EVENT, [Job("a"), Job("b")])
        with pytest.raises(InvalidInput, match="501 events x 2 jobs are 1,002, more than the limit of 1,000"):
            queue.emit_many(EVENT, [{"n": n} for n in range(501)])
        assert stored(queue) == 0
        assert len(queue.emit_many(EVENT, [{"n": n} for n in range(500)])) == 1_000
        assert stored(queue) == 1_000
        queue.triggers.set(EVENT, [Job("a"), Job("b")], coalesce=60)
        with pytest.raises(InvalidInput, match="1,002"):
            queue.emit_many(EVENT, [{"n": n} for n in range(501)])

    @pytest.mark.parametrize("coalesce", [None, 60])
    def test_q20_all_or_none(self, queue: Queue, make_queue: Callable[..., Queue], coalesce: float | None) -> None:
        """Q20: a closed namespace, a tenant or seats that one of the jobs lacks, params that cannot be stored."""
        queue.triggers.set(EVENT, [Job("a", tenant="T"), Job("b", uses={"moon": 1})], coalesce=coalesce)
        queue.shut()
        with pytest.raises(Closed):
            queue.emit_many(EVENT, [{"n": 1}, {"n": 2}])
        queue.reopen()
        queue.require_tenant()
        with pytest.raises(TenantRequired):
            queue.emit_many(EVENT, [{"n": 1}, {"n": 2}])
        with pytest.raises(SeatsLacking, match="pool moon"):
            make_queue(strict=True).emit(EVENT, tenant="U")
        with pytest.raises(InvalidInput, match=r"params\['n'\]"):
            queue.emit_many(EVENT, [{"n": 1}, {"n": object()}], tenant="U")
        assert stored(queue) == 0
        assert [queue.job(job_id).tenant for job_id in queue.emit(EVENT, tenant="U")] == ["T", "U"]

    def test_q20_a_full_server_takes_none(self, private_server: Callable[..., RealServer], namespace: str) -> None:
        """Q20: neither at once nor to be gathered; nor are more added to what is being gathered."""
        server = private_server()
        with Queue(server.url, namespace=namespace) as queue, contextlib.closing(server.client()) as client:
            queue.triggers.set("now", [Job("a"), Job("b")])
            queue.triggers.set("later", [Job("a"), Job("b")], coalesce=60)
            ids = queue.emit("later", {"n": 1})
            client.config_set("maxmemory", "1mb")
            for event in ("now", "later"):
                with pytest.raises(ServerFull):
                    queue.emit_many(event, [{"n": 2}, {"n": 3}])
            client.config_set("maxmemory", "0")
            assert [numbers(queue, job_id) for job_id in ids] == [[1], [1]]
            assert stored(queue) == 2

    def test_q20_a_trigger_that_was_changed_meanwhile(self, queue: Queue) -> None:
        """Q20: the jobs are those of one version of it, never of one that is no more."""
        queue.triggers.set(EVENT, [Job("old"), Job("old")])
        talk = emitted(queue.store.keys, EVENT, [{}], None, None, strict=False)
        read = queue.store.read(next(talk))  # type: ignore[arg-type]
        queue.triggers.set(EVENT, [Job("new")])
        call = talk.send(read)
        assert isinstance(call, Call)
        again = talk.send(queue.store.run(call))
        assert stored(queue) == 0
        call = talk.send(queue.store.read(again))  # type: ignore[arg-type]
        assert isinstance(call, Call)
        with pytest.raises(StopIteration):
            talk.send(queue.store.run(call))
        assert [job.type for job in queue.jobs()] == ["new"]

    @pytest.mark.parametrize("coalesce", [None, 60])
    def test_q20_removed_meanwhile_or_set_again_and_again(self, queue: Queue, coalesce: float | None) -> None:
        """Q20: one that is gone enqueues nothing; somebody who changes it for ever is told of."""
        queue.triggers.set(EVENT, [Job("a")], coalesce=coalesce)
        talk = emitted(queue.store.keys, EVENT, [{}], None, None, strict=False)
        asked: Any = next(talk)
        for _ in range(4):
            asked = talk.send(queue.store.read(asked))
            queue.triggers.set(EVENT, [Job("a")], coalesce=coalesce)
            asked = talk.send(queue.store.run(asked))
        asked = talk.send(queue.store.read(asked))
        queue.triggers.remove(EVENT)
        queue.triggers.set(EVENT, [Job("a")], coalesce=coalesce)
        with pytest.raises(OutcomeUnknown, match="nothing was done"):
            talk.send(queue.store.run(asked))
        assert stored(queue) == 0

    def test_q20_what_a_job_of_it_may_have(self, queue: Queue) -> None:
        """Q20, Q16, T2: seats, tags, a delay, a key; the tenant of the trigger, else the emitter's."""
        job = Job(
            "a", {"n": 1}, uses={}, tags=["x", "y"], delay=60, expires=90, result_ttl=5, unique=True, supersede="s"
        )
        queue.triggers.set(EVENT, [job, Job("b", unique="one", tenant="T")])
        (record,) = queue.triggers.list()
        assert record == queue.triggers[EVENT]
        assert (record.event, record.coalesce, record.jobs[0].unique, record.jobs[1].unique) == (
            EVENT,
            None,
            True,
            "one",
        )
        first, second = queue.emit(EVENT, {"m": 1}, tenant="U")
        one = queue.job(first)
        assert (one.state, one.tags, one.uses, one.tenant, one.supersede) == ("scheduled", ("x", "y"), {}, "U", "s")
        assert one.due is not None
        assert one.created is not None
        assert one.due - one.created == dt.timedelta(seconds=60)
        assert one.expires == one.created + dt.timedelta(seconds=90)
        assert queue.emit(EVENT, {"m": 1}, tenant="U") == [first, second]
        assert queue.emit(EVENT, {"m": 2}, tenant="U")[1] == second
        assert queue.job(second).tenant == "T"

    def test_q20_set_list_remove(self, queue: Queue, redis: Redis) -> None:
        """Q20: who set it and when; set again it is another version, and the jobs of before are gone."""
        assert queue.triggers.list() == []
        assert queue.triggers.set("b", [Job("a"), Job("b")]) is True
        before = queue.triggers["b"]
        assert queue.triggers.set("b", [Job("c")], coalesce=dt.timedelta(minutes=1)) is False
        after = queue.triggers["b"]
        assert [job.type for job in after.jobs] == ["c"]
        assert (after.coalesce, after.by, after.created) == (60.0, queue.by, before.created)
        assert after.version != before.version
        queue.triggers.set("a", [Job("a")], coalesce="10s")
        assert [(record.event, record.coalesce) for record in queue.triggers.list()] == [("a", 10.0), ("b", 60.0)]
        queue.triggers.remove("b")
        with pytest.raises(NoSuchTrigger):
            queue.triggers.remove("b")
        with pytest.raises(NoSuchTrigger, match="trigger b: nothing"):
            queue.triggers["b"]
        redis.hdel(queue.store.keys("trigger:a"), "1.type")
        with pytest.raises(PayloadError, match="Set it again"):
            queue.emit("a")

    @pytest.mark.parametrize(
        ("jobs", "options", "told"),
        [
            ([], {}, "0 are not 1 to 100"),
            ([Job("a")] * 101, {}, "101 are not 1 to 100"),
            (["a"], {}, "'a' is not a Job"),
            ([Job("a"), Job("a b")], {}, "job 2: type"),
            ([Job("a", at=dt.datetime.now(dt.UTC))], {}, "job 1: at: "),
            ([Job("a", token="t")], {}, "job 1: token: "),
            ([Job("a", unique="u", on_duplicate="refuse")], {}, "job 1: on_duplicate: "),
            ([Job("a", expires=dt.datetime.now(dt.UTC))], {}, "job 1: expires: "),
            ([Job("a", priority=0)], {}, "job 1: priority: 0"),
            ([Job("a")], {"priority": 0}, "priority: 0"),
            *(([Job("a")], {"coalesce": span}, "coalesce: ") for span in (0, -1, True, "10", "s", "x", 86_401, "25h", ())),
            ([Job("a", delay=5)], {"coalesce": 1}, "job 1: delay: it does not go with coalesce"),
            ([Job("a", unique=True)], {"coalesce": 1}, "job 1: unique: "),
            ([Job("a", supersede="u")], {"coalesce": 1}, "job 1: supersede: "),
            ([Job("a", expires=5)], {"coalesce": 1}, "job 1: expires: "),
            ([Job("a", {"events": 1})], {"coalesce": 1}, "job 1: params: 'events'"),
        ],
    )  # fmt: skip
    def test_q20_what_is_wrong_is_said(self, queue: Queue, jobs: Any, options: Any, told: str) -> None:
        """Q20, R4: before anything is stored."""
        with pytest.raises(InvalidInput) as error:
            queue.triggers.set(EVENT, jobs, **options)
        assert told in str(error.value)
        assert queue.triggers.list() == []

    @pytest.mark.parametrize(
        ("event", "params", "options", "told"),
        [
            ("a b", {}, {}, "event: "),
            (EVENT, {}, {"tenant": "a b"}, "tenant: "),
            (EVENT, {}, {"key": ""}, "key: "),
            (EVENT, {}, {"key": "x" * 201}, "key: "),
            (EVENT, [("a", 1)], {}, "event 0: a list is not a mapping"),
            (EVENT, {"n": object()}, {}, "event 0, job a: params['n']"),
            (EVENT, {1: 2}, {}, "event 0, job a: params: the key 1"),
        ],
    )
    def test_q20_what_is_wrong_with_an_event_is_said(
        self, queue: Queue, event: str, params: Any, options: Any, told: str
    ) -> None:
        """Q20, R4."""
        queue.triggers.set(EVENT, [Job("a")])
        with pytest.raises(InvalidInput) as error:
            queue.emit(event, params, **options)
        assert told in str(error.value)
        assert stored(queue) == 0


class TestCoalesce:
    """Many events of one key become one job with the list of them."""

    def test_q20_one_job_for_many_events(self, queue: Queue) -> None:
        """Q20: a thousand files released at once do not become a thousand mails."""
        queue.triggers.set(EVENT, [Job("mail", {"to": "team"}), Job("index", priority=7)], coalesce=60)
        ids = queue.emit_many(EVENT, [{"n": n} for n in range(500)])
        assert queue.emit(EVENT, {"n": 500}) == ids
        assert queue.emit_many(EVENT, [{"n": 501}, {"n": 502}]) == ids
        mail, index = (queue.job(job_id) for job_id in ids)
        assert (mail.type, mail.priority, mail.event, mail.gathered, mail.state) == (
            "mail",
            100,
            EVENT,
            503,
            "scheduled",
        )
        assert mail.params == {"to": "team", "events": [{"n": n} for n in range(503)]}
        assert (index.priority, numbers(queue, index.id)) == (7, list(range(503)))
        assert mail.due is not None
        assert mail.created is not None
        assert mail.due - mail.created == dt.timedelta(seconds=60), "counted from the first"
        assert [job.params for job in queue.jobs(type="mail")] == [{"to": "team"}], "a listing reads no events"

    def test_q20_each_key_and_tenant_has_its_own(self, queue: Queue) -> None:
        """Q20: and so has each version of the trigger."""
        queue.triggers.set(EVENT, [Job("a")], coalesce=60)
        keys: list[dict[str, Any]] = [{}, {"key": "x"}, {"key": "y"}, {"tenant": "T"}, {"tenant": "T", "key": "x"}]
        ids = [queue.emit(EVENT, {"n": 1}, **options)[0] for options in keys]
        assert len(set(ids)) == len(keys)
        assert [queue.emit(EVENT, {"n": 2}, **options)[0] for options in keys] == ids
        assert [numbers(queue, job_id) for job_id in ids] == [[1, 2]] * len(keys)
        queue.triggers.set("other", [Job("a")], coalesce=60)
        assert queue.emit("other")[0] not in ids
        queue.triggers.set(EVENT, [Job("a", {"new": 1})], coalesce=60)
        assert queue.emit(EVENT)[0] not in ids

    def test_q20_one_that_was_reserved_takes_no_more(self, queue: Queue, fake: Fake) -> None:
        """Q20: it has what it was handed, then and when it is handed over again; the next event begins another job."""
        queue.triggers.set(EVENT, [Job("a")], coalesce=0.001)
        worker = fake(slots=2)
        (first,) = queue.emit_many(EVENT, [{"n": 1}, {"n": 2}])
        wait_until(lambda: worker.turn(want=1), message="it is due")
        assert given(worker, first) == [1, 2]
        worker.turn(first, outcome="returned", want=0)
        assert queue.job(first).state == "ready"
        (second,) = queue.emit(EVENT, {"n": 3})
        assert second != first, "it waits, but has been handed over"
        assert queue.emit(EVENT, {"n": 4}) == [second]
        wait_until(lambda: {first, second} <= worker.held.keys() or worker.turn() is None, message="both")
        assert (given(worker, first), given(worker, second)) == ([1, 2], [3, 4])

    def test_q20_a_lost_worker_loses_no_event(self, queue: Queue, fake: Fake) -> None:
        """Q20, C12: another one is handed the same list; events that came meanwhile are in a job of their own."""
        queue.triggers.set(EVENT, [Job("a")], coalesce=0.001)
        lost, heir = fake(lease=0.3, if_lost="rerun"), fake(slots=2, if_lost="rerun")
        (first,) = queue.emit_many(EVENT, [{"n": 1}, {"n": 2}])
        wait_until(lambda: lost.turn(want=1), message="it is due")
        (second,) = queue.emit(EVENT, {"n": 3})
        suspects = wait_until(lambda: heir.renew().suspects, message="the lease runs out")
        assert heir.reap(*suspects) == ["ready"]
        assert queue.emit(EVENT, {"n": 4}) == [second]
        wait_until(lambda: {first, second} <= heir.held.keys() or heir.turn() is None, message="both")
        assert (given(heir, first), given(heir, second)) == ([1, 2], [3, 4])

    def test_q20_each_event_is_in_exactly_one_job(
        self, make_queue: Callable[..., Queue], start_worker: Callable[..., ThreadWorker]
    ) -> None:
        """Q20: while many emit and workers reserve as soon as they can."""
        seen = list[int]()
        handlers = Handlers()

        @handlers.handler("a", isolation="thread")
        def gathered(ctx: Context, events: list[dict[str, int]]) -> None:
            seen.extend(event["n"] for event in events)

        queue = make_queue()
        queue.triggers.set(EVENT, [Job("a")], coalesce=0.005)
        for _ in range(2):
            start_worker(handlers, slots=2)
        ids = set[str]()

        def emit(start: int) -> None:
            for n in range(start, start + 600, 3):
                ids.update(queue.emit_many(EVENT, [{"n": n + i} for i in range(3)]))

        threads = [threading.Thread(target=emit, args=(start,)) for start in range(0, 2_400, 600)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(seen) >= 2_400, 20, "all events")
        wait_until(lambda: stored(queue) == 0, 20, "all jobs have ended")
        assert Counter(seen) == Counter(range(2_400))
        assert 1 < len(ids) < 800, "some were gathered, and not all by one"

    @pytest.mark.parametrize("kind", ["thread", "process"])
    def test_q20_a_handler_is_given_the_list(self, queue: Queue, burst: Burst, kind: Any) -> None:
        """Q20, Q22: as the param ``events``; run again it is the same list."""
        handlers = Handlers()

        @handlers.handler("a", isolation=kind)
        def mail(ctx: Context, to: str, events: list[dict[str, Any]]) -> Any:
            assert ctx.job.params == {"to": to, "events": events}
            assert ctx.job.event == EVENT
            return [to, *events]

        queue.triggers.set(EVENT, [Job("a", {"to": "me"})], coalesce=0.001)
        moment = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
        (job_id,) = queue.emit_many(EVENT, [{"file": "ü.dwg", "at": moment}, {}])
        wait_until(lambda: ran(burst, handlers, queue, job_id) == "succeeded", message="it is due and done")
        expected = ["me", {"file": "ü.dwg", "at": moment}, {}]
        assert queue.handle(job_id).result() == expected
        queue.handle(job_id).resubmit()
        assert queue.emit(EVENT) != [job_id]
        burst(handlers)
        assert queue.handle(job_id).result() == expected

    def test_q20_a_list_has_an_end(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        """Q20: of so many events, or bytes, the next begins another job; too much for one is refused."""
        monkeypatch.setattr(verbs, "GATHERED_MOST", 5)
        queue.triggers.set(EVENT, [Job("a")], coalesce=60)
        first, first_again = queue.emit_many(EVENT, [{"n": n} for n in range(3)]), queue.emit(EVENT, {"n": 3})
        second = queue.emit_many(EVENT, [{"n": 4}, {"n": 5}])
        assert first == first_again != second
        assert queue.emit(EVENT, {"n": 6}) == second
        assert [numbers(queue, *ids) for ids in (first, second)] == [[0, 1, 2, 3], [4, 5, 6]]
        monkeypatch.setattr(verbs, "GATHERED_BYTES", 100)
        third = queue.emit(EVENT, {"n": "x" * 94})
        assert third != second
        assert queue.emit(EVENT, {"n": "y" * 80}) != third
        with pytest.raises(InvalidInput, match="more than the 100 that one job may gather"):
            queue.emit_many(EVENT, [{"n": "x" * 80}, {"n": "y" * 80}])

    def test_q20_what_ended_gathers_nothing_and_leaves_nothing(self, queue: Queue, redis: Redis) -> None:
        """Q20: cancelled, or removed: its key is free, and its list goes with its record."""
        queue.triggers.set(EVENT, [Job("a")], coalesce=60)
        (first,) = queue.emit(EVENT, {"n": 1})
        queue.handle(first).cancel()
        (second,) = queue.emit(EVENT, {"n": 2})
        assert second != first
        assert numbers(queue, first) == [1]
        for job_id in (first, second):
            queue.handle(job_id).remove()
            assert not redis.exists(queue.store.keys.job(job_id) + ":events")
        assert not list(redis.scan_iter(queue.store.keys("newest:*")))

    def test_q20_a_list_that_is_lost_is_told(self, queue: Queue, burst: Burst, redis: Redis) -> None:
        """Q20: no handler is called with fewer events than there were, and none are added to what is left."""
        handlers = Handlers()
        handlers.handler("a", isolation="thread")(lambda ctx, events: len(events))  # noqa: ARG005
        queue.triggers.set(EVENT, [Job("a")], coalesce=0.001)
        (job_id,) = queue.emit_many(EVENT, [{"n": 1}, {"n": 2}])
        redis.delete(queue.store.keys.job(job_id) + ":events")
        assert queue.emit(EVENT, {"n": 3}) != [job_id]
        wait_until(lambda: ran(burst, handlers, queue, job_id) == "failed", message="it is due and fails")
        with pytest.raises(JobFailed, match="0 of 2 that it gathered"):
            queue.handle(job_id).result()
