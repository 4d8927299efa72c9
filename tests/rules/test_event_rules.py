"""Built-in events, and events of handlers (Q20): what has happened is written down with it, and triggers jobs once."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.fake_worker import FakeWorker
from rules.support import ProcessWorker, ThreadWorker, run_lines

from seatline.console.verify import check_namespace
from seatline.producer import Chain, Job, Queue, Step
from seatline.producer.triggers import facts_emitted
from seatline.shared.calls import reads
from seatline.shared.calls.base import Call, Read
from seatline.shared.calls.triggers import BUILT_IN, DEPTH_MOST, GATHERED_BYTES
from seatline.shared.calls.workers import Suspect
from seatline.shared.errors import InvalidInput, JobFailed, NoSuchTrigger, TenantRequired
from seatline.shared.scripts import script
from seatline.worker import Context, Handlers, Retry, Skip, Worker
from seatline.worker.context import AsyncContext

Fake = Callable[..., FakeWorker]
Burst = Callable[..., Worker]
StartWorker = Callable[..., ThreadWorker]
StartProcess = Callable[..., ProcessWorker]

#: Facts that may wait for a trigger; _finish.lua says the same.
FACTS_MOST = 100_000


class Farm:
    """Handlers that fail, end well or emit, and one that hears of it.

    Attributes:
        heard: what it was given, with the depth of its job.

    """

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.heard: list[tuple[int, dict[str, Any]]] = []
        self.handlers.handler("bad", isolation="thread")(self.bad)
        self.handlers.handler("good", isolation="thread")(self.good)
        self.handlers.handler("mail", isolation="thread")(self.mail)
        self.handlers.handler("emits", isolation="thread")(self.emits)

    def bad(self, ctx: Context, **_: Any) -> None:
        raise ValueError(f"no\nnever {ctx.attempt}")

    def good(self, ctx: Context, **_: Any) -> None:
        pass

    def mail(self, ctx: Context, **params: Any) -> None:
        self.heard.append((ctx.job.depth, params))

    def emits(self, ctx: Context, event: str = "drawn", **more: Any) -> None:
        ctx.emit(event, {"n": 1}, **more)

    @property
    def params(self) -> list[dict[str, Any]]:
        return [params for _, params in self.heard]


@pytest.fixture
def farm() -> Farm:
    return Farm()


def fail(worker: FakeWorker, queue: Queue, count: int = 1, **options: Any) -> list[str]:
    """Have jobs fail for good; returns their ids."""
    ids = [queue.enqueue("a", **options).id for _ in range(count)]
    for job_id in ids:
        assert worker.turn(want=1, waits=False) == [job_id]
        worker.turn(worker.report(job_id, "failed", "error_type", "Sad", "error", "no"), want=0)
    return ids


def made(queue: Queue, event: str) -> list[Any]:
    """Return the jobs of an event, in the order in which they were made."""
    found = [job for state in ("ready", "scheduled", "succeeded", "failed") for job in queue.jobs(state=state)]
    return sorted((job for job in found if job.event == event), key=lambda job: job.id)


def ended(queue: Queue, state: str) -> int:
    return sum(1 for _ in queue.jobs(state=state))


def now(queue: Queue) -> int:
    return queue.store.read(reads.server_time())


def until(queue: Queue, worker: str) -> float:
    """Return until when a worker counts as live."""
    found = queue.store.read(reads.page(queue.store.keys, "workers", 0, 100))
    return next((score for name, score in found if name == worker), 0.0)


def unheard(queue: Queue) -> Read[Any]:
    return Read([("LRANGE", queue.store.keys("happened:unheard"), 0, -1)], lambda replies: replies[0])


def ran(burst: Burst, farm: Farm, condition: Callable[[], Any], what: str) -> None:
    """Run what there is to run, again and again, until something is so."""

    def once_more() -> Any:
        burst(farm.handlers)
        return condition()

    wait_until(once_more, 30, what)


def emit_facts(queue: Queue, event: str = "job.failed") -> Any:
    return queue.store.talk(facts_emitted(queue.store.keys, event))


class TestBuiltIn:
    """What each of them tells, and when."""

    def test_q20_job_failed(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20, Q4: once it has failed for good; its tenant, a priority of 100, the trigger's params win."""
        farm.handlers.handler("again", isolation="thread", retry=Retry(attempts=2, first=0.001))(farm.bad)
        queue.triggers.set("job.failed", [Job("mail", {"to": "team", "title": "Failed"})])
        job = queue.enqueue("again", tenant="T", title="Ü", tags=["x", "y"])
        queue.enqueue("good")
        ran(burst, farm, lambda: farm.heard, "the mail")
        assert farm.heard == [
            (
                1,
                {
                    "job": job.id, "type": "again", "state": "failed", "attempt": 2, "error_type": "ValueError",
                    "error": "no\nnever 2", "worker": job.record().worker, "title": "Failed", "tags": ["x", "y"],
                    "tenant": "T", "order": None, "chain": None, "step": None, "to": "team", "at": job.record().finished,
                },
            )
        ]  # fmt: skip
        (mail,) = made(queue, "job.failed")
        assert (mail.type, mail.priority, mail.tenant, mail.depth) == ("mail", 100, "T", 1)
        assert queue.job(mail.id).depth == 1
        assert queue.triggers["job.failed"].taken == 1

    def test_q20_a_handler_is_given_what_it_takes(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20: of what a built-in event tells; a word of the trigger's own that it does not take is an error as ever."""
        given: list[Any] = []
        farm.handlers.handler("few", isolation="thread")(lambda ctx, job, to: given.append((int(job), to)))  # noqa: ARG005
        queue.triggers.set("job.failed", [Job("few", {"to": "me"}), Job("few", {"to": "me", "cc": "you"})])
        queue.enqueue("bad")
        burst(farm.handlers)
        assert given[0] == (1, "me")
        first = made(queue, "job.failed")[1]
        assert first.error == "the handler of few does not take cc, which the params have."

    def test_q20_job_interrupted(self, queue: Queue, fake: Fake, burst: Burst, farm: Farm) -> None:
        """Q20: it was lost with its worker, and a person is to decide; that is no failure."""
        for event in ("job.failed", "job.interrupted"):
            queue.triggers.set(event, [Job("mail")])
        worker = fake(a={}, lease=0.3)
        job = queue.enqueue("a")
        worker.turn(waits=False)
        other = fake(a={})
        suspects = wait_until(lambda: other.renew().suspects, message="the end of the lease")
        assert other.reap(*suspects) == ["interrupted"]
        burst(farm.handlers)
        (params,) = farm.params
        assert (params["job"], params["state"], params["worker"]) == (job.id, "interrupted", worker.id)
        assert params["error"].startswith(f"its worker {worker.id}")

    def test_q20_order_finished_and_failed(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20: the one tells of each end, the other of a bad one only; also of one that was cancelled."""
        for event in ("order.finished", "order.failed"):
            queue.triggers.set(event, [Job("mail", {"of": event})])
        queue.define(Chain("two", [Step("one", "good"), Step("end", "good")]))
        queue.define(Chain("sad", [Step("one", "bad")]))
        queue.start("two", id="well", title="A", tenant="T")
        queue.start("sad", id="ill")
        queue.start("two", id="never", delay=60).cancel()
        burst(farm.handlers)
        told = {(params["of"], params["order"]): params for params in farm.params}
        assert sorted(told) == [
            ("order.failed", "ill"), ("order.finished", "ill"), ("order.finished", "never"), ("order.finished", "well"),
        ]  # fmt: skip
        assert len(farm.heard) == 4
        well, ill = told["order.finished", "well"], told["order.failed", "ill"]
        assert {name: well[name] for name in ("chain", "state", "error", "step", "title", "tenant")} == {
            "chain": "two", "state": "succeeded", "error": None, "step": None, "title": "A", "tenant": "T",
        }  # fmt: skip
        assert (ill["state"], ill["step"], ill["error"]) == ("failed", "one", "step one: ValueError: no")
        assert told["order.finished", "never"]["state"] == "cancelled"
        assert well["at"] == queue.order("well").record().finished

    def test_q20_worker_lost(
        self, queue: Queue, start_process: StartProcess, start_worker: StartWorker, farm: Farm
    ) -> None:
        """Q20: killed while it ran nothing; told of once, by whichever of those who are left. One that leaves is not lost."""
        queue.triggers.set("worker.lost", [Job("mail")])
        start_worker(farm.handlers), start_worker(farm.handlers)
        leaver, killed = start_process("plain"), start_process("plain")
        wait_until(lambda: until(queue, leaver.id) and until(queue, killed.id), 30, "their first words")
        leaver.child.terminate()
        leaver.wait()
        killed.child.kill(group=True)
        wait_until(lambda: farm.heard, 30, "the mail")
        ((depth, params),) = farm.heard
        host, pid = killed.id.rsplit(".", 2)[:2]
        assert (depth, params["worker"], params["host"], params["pid"]) == (1, killed.id, host, int(pid))
        assert dt.timedelta() < params["at"] - params["until"] < dt.timedelta(minutes=1)
        second = start_process("plain")
        wait_until(lambda: until(queue, second.id), 30, "its first word")
        second.child.kill(group=True)
        wait_until(lambda: len(farm.heard) == 2, 30, "the second mail")
        assert farm.params[1]["worker"] == second.id

    def test_q20_a_lost_worker_is_told_once_and_again_if_it_comes_back(self, queue: Queue, fake: Fake) -> None:
        """Q20: of two that look only one tells; who was silent before anybody wanted to know is not told of."""
        a, b, gone = fake(a={}), fake(a={}), fake(a={})

        def silent(worker: FakeWorker) -> None:
            worker.offer(presence=0.001)
            wait_until(lambda: until(queue, worker.id) < now(queue), message="its end")

        silent(gone)
        assert not a.renew().suspects, "nobody wants to know"
        queue.triggers.set("worker.lost", [Job("mail")])
        assert not a.renew().suspects, "it was lost before that"
        for _ in range(2):
            silent(b)
            (suspect,) = a.renew().suspects
            assert (suspect.kind, suspect.a) == ("worker", b.id)
            back = Suspect("worker", b.id, "", suspect.deadline - 1)
            assert a.reap(back, suspect, suspect) == ["alive", "lost", "alive"]
            assert not gone.renew().suspects
        assert emit_facts(queue, "worker.lost").facts == 2
        queue.triggers.remove("worker.lost")
        silent(b)
        assert a.reap(Suspect("worker", b.id, "", int(until(queue, b.id)))) == ["lost"]

    def test_q20_without_a_trigger_nothing_is_kept(self, queue: Queue, fake: Fake, redis: Redis) -> None:
        """Q20: a job that fails asks once whether somebody wants to know, one that ends well not at all."""
        worker = fake(a={})
        job_id = queue.enqueue("a").id
        worker.turn(waits=False)
        with redis.monitor() as monitor:  # type: ignore[no-untyped-call]
            worker.turn(job_id, want=0)
            failed = fail(worker, queue)
            redis.echo("that was it")
            asked: list[str] = []
            for event in monitor.listen():
                if "that was it" in event["command"]:
                    break
                if "trigger" in event["command"] and event["client_type"] == "lua":
                    asked.append(event["command"])
        assert len(asked) == 1
        assert asked[0].split()[0].upper() == "EXISTS"
        assert queue.job(failed[0]).state == "failed"
        assert not list(redis.scan_iter(queue.store.keys("happened:*")))


class TestOnce:
    """Each is made into jobs once, whoever looks when."""

    def test_q20_who_settles_is_told_and_one_idle_is_rung(self, queue: Queue, fake: Fake) -> None:
        """Q20: neither a lone worker nor an idle one waits for its next look."""
        queue.triggers.set("job.failed", [Job("mail")])
        worker, idle = fake(a={}), fake(b={})
        queue.enqueue("a")
        (job_id,) = worker.turn()
        assert idle.turn() == []
        worker.turn(worker.report(job_id, "failed", "error", "no"))
        assert set(worker.planned) == {"event:job.failed"}
        assert idle.rung()
        idle.turn()
        assert set(idle.planned) == {"event:job.failed"}, "it waits for whoever comes first"

    def test_q20_of_two_workers_one_takes_it(self, queue: Queue, fake: Fake) -> None:
        """Q20: both have read it; and one that comes meanwhile is not taken for it."""
        queue.triggers.set("job.failed", [Job("mail")])
        worker = fake(a={})
        fail(worker, queue, 2)
        slow = facts_emitted(queue.store.keys, "job.failed")
        read: Any = queue.store.read(next(slow))  # type: ignore[arg-type]
        call = slow.send(read)
        assert isinstance(call, Call)
        fail(worker, queue, 1)
        assert emit_facts(queue).facts == 3
        fail(worker, queue, 2)
        assert queue.store.run(call) is None
        assert emit_facts(queue).facts == 2
        assert len(made(queue, "job.failed")) == 5
        assert (queue.triggers["job.failed"].taken, queue.triggers["job.failed"].waiting) == (5, 0)

    def test_q20_no_worker_lives(self, queue: Queue, fake: Fake, burst: Burst, farm: Farm) -> None:
        """Q20: what has happened waits; emit needs no worker."""
        queue.triggers.set("job.failed", [Job("mail")])
        queue.triggers.set("drawn", [Job("mail")])
        failed = fail(fake(a={}), queue, 3)
        assert queue.triggers["job.failed"].waiting == 3
        assert len(queue.emit("drawn")) == 1
        burst(farm.handlers)
        assert [params["job"] for params in farm.params if "job" in params] == failed
        assert queue.triggers["job.failed"].waiting == 0

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_q20_a_worker_is_killed_at_either_side_of_the_script(
        self, queue: Queue, start_process: StartProcess, proxy: FaultProxy, redis: Redis, tmp_path: Path, when: str
    ) -> None:
        """Q20: SIGKILL between what has happened and its jobs, and behind that: each triggers once."""
        for name in ("emit", "turn"):
            redis.script_load(script(name).text)
        queue.triggers.set("job.failed", [Job("heard", {"folder": str(tmp_path)})])
        worker = start_process("plain", "heard", url=proxy.url)
        fault = proxy.cut_before if when == "before" else proxy.swallow_reply
        fault(script("emit").sha.encode(), hook=lambda: worker.child.kill(group=True))
        bad = [queue.enqueue("plain", {"wrong": n}).id for n in range(3)]  # its params do not bind: it fails
        wait_until(lambda: not worker.child.running, 30, "the kill")
        start_process("plain", "heard")
        wait_until(lambda: len([job for job in made(queue, "job.failed") if job.state == "succeeded"]) == 3, 30, "all")
        assert sorted(job.params["job"] for job in made(queue, "job.failed")) == bad
        assert len(run_lines(tmp_path)) <= 4, "one at most was lost with the worker"

    def test_q20_the_server_is_killed(
        self, durable_server: RealServer, make_queue: Callable[..., Queue], start_process: StartProcess, tmp_path: Path
    ) -> None:
        """Q20, R8: killed again and again while jobs fail: each failure is told of once."""
        queue = make_queue(durable_server.url)
        queue.triggers.set("job.failed", [Job("heard", {"folder": str(tmp_path)})])
        start_process("plain", "heard", url=durable_server.url)
        bad: list[str] = []
        for _ in range(4):
            bad += [queue.enqueue("plain", {"wrong": 1}).id for _ in range(40)]
            most = len(bad) - 30
            wait_until(lambda: ended(queue, "failed") > most, 30, "failures")  # noqa: B023 - called at once
            durable_server.restart(kill=True)
        wait_until(
            lambda: len([job for job in made(queue, "job.failed") if job.state == "succeeded"]) >= 160, 60, "all"
        )
        assert sorted(job.params["job"] for job in made(queue, "job.failed")) == bad
        assert queue.triggers["job.failed"].taken == 160

    def test_q20_many_are_gathered(self, queue: Queue, fake: Fake, burst: Burst, farm: Farm) -> None:
        """Q20: by tenant; the job has most triggers before it of all that it gathers."""
        queue.triggers.set("job.failed", [Job("mail", {"to": "team"})], coalesce=0.01)
        worker = fake(a={})
        failed = fail(worker, queue, 3) + fail(worker, queue, 2, tenant="T")
        ran(burst, farm, lambda: len(farm.heard) == 2, "two mails")
        assert [[event["job"] for event in params["events"]] for params in farm.params] == [failed[:3], failed[3:]]
        assert [set(params) for params in farm.params] == [{"to", "events"}] * 2
        assert [depth for depth, _ in farm.heard] == [1, 1]

    def test_q20_a_thousand_at_once(self, queue: Queue, fake: Fake, redis: Redis) -> None:
        """Q20: more than one call takes; all are in the jobs, in order."""
        queue.triggers.set("job.failed", [Job("mail")] * 7)
        (first,) = fail(fake(a={}), queue)
        key = queue.store.keys("happened:job.failed")
        (fact,) = redis.lrange(key, 0, -1)
        redis.rpush(key, *[fact] * 299)
        assert emit_facts(queue).facts == 300
        jobs = made(queue, "job.failed")
        assert len(jobs) == 2_100
        assert {job.params["job"] for job in jobs} == {first}

    def test_q20_what_is_refused_waits(
        self, queue: Queue, start_worker: StartWorker, farm: Farm, redis: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Q20: while the namespace requires a tenant that there is not; it is put off, said once, and made later."""
        queue.triggers.set("job.failed", [Job("mail")])
        start_worker(farm.handlers)
        queue.enqueue("bad")
        wait_until(lambda: farm.heard, 20, "the first")
        job = queue.enqueue("bad", delay=0.2)
        queue.require_tenant()
        with caplog.at_level(logging.WARNING, "seatline.worker"):
            wait_until(lambda: job.state() == "failed", 20, "the failure")
            wait_until(lambda: "event job.failed: what has happened waits" in caplog.text, 20, "the word")
        due = redis.zscore(queue.store.keys("schedules"), "event:job.failed")
        assert due is not None
        assert due > now(queue) + 30_000
        assert (len(farm.heard), queue.triggers["job.failed"].waiting) == (1, 1)
        with pytest.raises(TenantRequired):
            emit_facts(queue)
        queue.triggers.set("job.failed", [Job("mail", tenant="T")])
        wait_until(lambda: len(farm.heard) == 2, 20, "the second, as the trigger is now")
        assert caplog.text.count("what has happened waits") == 1

    def test_q20_what_no_job_can_be_made_of(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20: its params are too long together with the trigger's: it is passed, told, and counted; the next goes on."""
        queue.triggers.set("drawn", [Job("mail", {"long": "x" * 200_000})])
        farm.handlers.handler("long", isolation="thread")(lambda ctx: ctx.emit("drawn", {"n": "y" * 200_000}))
        queue.enqueue("long")
        queue.enqueue("emits")
        burst(farm.handlers)
        assert [params["n"] for params in farm.params] == [1]
        assert (queue.triggers["drawn"].missed, queue.triggers["drawn"].waiting) == (1, 0)

    def test_q20_gathered_bytes_have_an_end(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20: what is too much for one job goes into several."""
        queue.triggers.set("drawn", [Job("count")], coalesce=0.001)
        counts: list[int] = []
        farm.handlers.handler("count", isolation="thread")(lambda ctx, events: counts.append(len(events)))  # noqa: ARG005
        size, count = 250_000, 20
        farm.handlers.handler("long", isolation="thread")(lambda ctx: ctx.emit("drawn", {"n": "y" * size}))
        for _ in range(count):
            queue.enqueue("long")
        ran(burst, farm, lambda: sum(counts) >= count, "all of them")
        assert sum(counts) == count
        assert max(counts) * size <= GATHERED_BYTES

    def test_q20_so_many_may_wait(self, queue: Queue, fake: Fake, redis: Redis) -> None:
        """Q20: a hundred thousand; of more it is only known how many there were."""
        queue.triggers.set("job.failed", [Job("mail")])
        key = queue.store.keys("happened:job.failed")
        for _ in range(10):
            redis.rpush(key, *["x"] * (FACTS_MOST // 10))
        fail(fake(a={}), queue, 2)
        assert redis.llen(key) == FACTS_MOST
        assert queue.triggers["job.failed"].missed == 2
        assert queue.triggers.remove("job.failed") == FACTS_MOST
        assert not redis.exists(key)

    def test_q20_set_anew_and_removed_while_some_wait(self, queue: Queue, fake: Fake, redis: Redis) -> None:
        """Q20: they are for the trigger as it is when their jobs are made; with it they are forgotten."""
        queue.triggers.set("job.failed", [Job("old")])
        fail(fake(a={}), queue, 2)
        talk = facts_emitted(queue.store.keys, "job.failed")
        call = talk.send(queue.store.read(next(talk)))  # type: ignore[arg-type]
        queue.triggers.set("job.failed", [Job("new")])
        assert isinstance(call, Call)
        assert queue.store.run(call) is None
        assert emit_facts(queue).facts == 2
        assert [job.type for job in made(queue, "job.failed")] == ["new", "new"]
        fail(fake(a={}), queue, 3)
        assert queue.triggers.remove("job.failed") == 3
        assert not redis.exists(queue.store.keys("happened:job.failed"))
        assert redis.zscore(queue.store.keys("schedules"), "event:job.failed") is None
        with pytest.raises(NoSuchTrigger):
            queue.triggers.remove("job.failed")
        assert emit_facts(queue).facts == 0

    def test_q20_damaged_ones_stop_no_other(
        self,
        queue: Queue,
        fake: Fake,
        start_worker: StartWorker,
        farm: Farm,
        redis: Redis,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Q20: a fact that cannot be read is passed, told and counted; what waits for a damaged trigger waits."""
        queue.triggers.set("job.failed", [Job("mail")])
        wrong = ("", "5:job,", "x:1,", "3:job,16:1,", "3:job2:17,", "-3:job,")
        key = queue.store.keys("happened:job.failed")
        failed = fail(fake(a={}), queue, 2)
        (second,) = queue.store.read(Read([("LINDEX", key, 1)], list[Any]))
        redis.linsert(key, "before", second, wrong[0])
        for each in wrong[1:]:
            redis.rpush(key, each)
        done = emit_facts(queue)
        assert (done.facts, done.missed) == (2, len(wrong))
        assert "event job.failed: a fact that waits for it is damaged" in done.why
        assert [job.params["job"] for job in made(queue, "job.failed")] == failed
        version = redis.hget(queue.store.keys("trigger:job.failed"), "version")
        fail(fake(a={}), queue)
        redis.hdel(queue.store.keys("trigger:job.failed"), "version")
        start_worker(farm.handlers)
        with caplog.at_level(logging.WARNING, "seatline.worker"):
            wait_until(
                lambda: "what has happened waits: trigger job.failed: its record is damaged" in caplog.text, 20, "it"
            )
        queue.triggers.set("drawn", [Job("mail")])
        queue.enqueue("emits")
        wait_until(lambda: {"n": 1} in farm.params, 20, "another event")
        assert version is not None
        redis.hset(queue.store.keys("trigger:job.failed"), "version", version)

    def test_q20_verify_sees_what_nobody_is_told_of(self, queue: Queue, fake: Fake, redis: Redis) -> None:
        """Q20: facts without a trigger, or that no worker hears of; and a word of some that there are not."""
        queue.triggers.set("job.failed", [Job("mail")])
        fail(fake(a={}), queue)
        keys = queue.store.keys
        url, namespace = queue.store.url, keys.namespace
        assert not check_namespace(url, namespace)
        redis.zrem(keys("schedules"), "event:job.failed")
        redis.zadd(keys("schedules"), {"event:other": 1})
        redis.delete(keys("trigger:job.failed"))
        assert [line for line in check_namespace(url, namespace) if "Q20" in line] == [
            "Q20 event job.failed: facts wait for it, and it triggers nothing.",
            "Q20 event job.failed: facts wait for it, and no worker would hear of them.",
            "Q20 event other: workers are told of facts that there are not.",
        ]
        redis.delete(keys("happened:job.failed"))
        redis.srem(keys("triggers"), "job.failed")
        redis.zrem(keys("schedules"), "event:other")


class TestDepth:
    """A trigger may cause the next, eight times."""

    @pytest.mark.parametrize("coalesce", [None, 0.001])
    def test_q20_a_job_whose_failure_triggers_it_again(
        self, queue: Queue, burst: Burst, farm: Farm, coalesce: float | None
    ) -> None:
        """Q20: it comes to an end, which the history of the last one tells."""
        queue.triggers.set("job.failed", [Job("bad")], coalesce=coalesce)
        queue.enqueue("bad")
        ran(burst, farm, lambda: queue.triggers["job.failed"].missed, "the limit")
        burst(farm.handlers)
        jobs = made(queue, "job.failed")
        assert [job.depth for job in jobs] == list(range(1, DEPTH_MOST + 1))
        (line,) = queue.handle(jobs[-1].id).history()
        assert line.endswith(" event job.failed triggers nothing: 8 triggers lie before it, which is the limit")
        assert queue.triggers["job.failed"].missed == 1

    def test_q20_a_job_in_between_hides_nothing(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20: what a triggered job enqueues has as many triggers before it."""
        farm.handlers.handler("between", isolation="thread")(lambda ctx, **_: ctx.enqueue("bad"))
        queue.triggers.set("job.failed", [Job("between")])
        queue.enqueue("bad")
        burst(farm.handlers)
        assert len(made(queue, "job.failed")) == DEPTH_MOST
        assert queue.triggers["job.failed"].missed == 1

    def test_q20_an_event_that_triggers_who_emits_it(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20: the ninth is refused, with what else can be done; the job fails at once."""
        farm.handlers.handler("again", isolation="thread", retry=Retry(attempts=5))(
            lambda ctx, **_: ctx.emit("drawn", {})
        )
        queue.triggers.set("drawn", [Job("again")])
        queue.enqueue("again")
        burst(farm.handlers)
        jobs = made(queue, "drawn")
        assert [job.depth for job in jobs] == list(range(1, DEPTH_MOST + 1))
        assert [job.state for job in jobs] == ["succeeded"] * (DEPTH_MOST - 1) + ["failed"]
        with pytest.raises(
            JobFailed, match=r"TooDeep: emit: event drawn: 8 triggers lie before job 9 \(again\)"
        ) as error:
            queue.handle(jobs[-1].id).result()
        assert "ctx.enqueue, or emit it from a program with Queue.emit" in str(error.value)
        assert jobs[-1].attempt == 1

    @pytest.mark.parametrize(("depth", "facts"), [(3, 1), (DEPTH_MOST, 0)])
    @pytest.mark.parametrize("first", ["job", "worker"])
    def test_q20_a_job_that_kills_its_worker(
        self, queue: Queue, fake: Fake, redis: Redis, depth: int, facts: int, first: str
    ) -> None:
        """Q20: a lost worker has as many triggers before it as what it ran, whichever is reaped first."""
        queue.triggers.set("worker.lost", [Job("mail")])
        worker, other = fake(a={}, lease=0.3), fake(a={})
        job_id = queue.enqueue("a").id
        redis.hset(queue.store.keys.job(job_id), "depth", depth)
        worker.turn(waits=False)
        worker.offer(presence=0.001)
        wait_until(lambda: len(other.renew().suspects) == 2, message="both")
        found = other.renew().suspects
        job, lost = sorted(found, key=lambda suspect: suspect.kind)
        order = [job, lost] if first == "job" else [lost, job]
        assert sorted(word for suspect in order for word in other.reap(suspect)) == ["interrupted", "lost"]
        assert emit_facts(queue, "worker.lost").facts == facts
        assert [job.depth for job in made(queue, "worker.lost")] == [depth + 1] * facts
        assert queue.triggers["worker.lost"].missed == 1 - facts


class TestReserved:
    """Nobody but Seatline tells of built-in events."""

    @pytest.mark.parametrize("event", sorted(BUILT_IN))
    def test_q20_they_are_refused(self, queue: Queue, event: str, burst: Burst, farm: Farm) -> None:
        """Q20, R4: of programs and of handlers, with a name that may be taken; they can be triggers all the same."""
        queue.triggers.set(event, [Job("mail")])
        with pytest.raises(InvalidInput, match=f"event: {event} is Seatline's own: .* such as my.{event};"):
            queue.emit(event, {})
        with pytest.raises(InvalidInput, match="Seatline's own"):
            queue.emit_many(event, [])
        queue.triggers.remove(event)
        job = queue.enqueue("emits", {"event": event})
        burst(farm.handlers)
        assert job.record().error_type == "InvalidInput"

    @pytest.mark.parametrize(
        "event", ["job.failed.badly", "job.done", "order.paid", "worker.hired", "job", "Job.failed"]
    )
    def test_q20_but_no_other(self, queue: Queue, event: str) -> None:
        """Q20: only these names are taken."""
        queue.triggers.set(event, [Job("mail")])
        assert len(queue.emit(event)) == 1


class TestEmit:
    """``ctx.emit``: an event goes with the end of the job whose handler emits it."""

    @pytest.mark.parametrize("isolation", ["thread", "process"])
    def test_q20_with_a_good_end_only(self, queue: Queue, burst: Burst, farm: Farm, isolation: Any) -> None:
        """Q20, R2: not with an attempt that fails, once with one that ends well or is skipped; nor if nothing is triggered."""

        def emits(ctx: Context, end: str) -> None:
            ctx.emit("drawn", {"end": end, "at": dt.date(2026, 1, 2)})
            ctx.emit("unheard")
            if end == "skip":
                raise Skip("newer")
            if end == "fail" or (end == "later" and ctx.attempt == 1):
                raise ValueError(end)

        retry = Retry(attempts=2, first=0.001)
        farm.handlers.handler("ends", isolation=isolation, retry=retry)(emits)
        queue.triggers.set("drawn", [Job("mail", {"to": "team"})])
        ids = {end: queue.enqueue("ends", {"end": end}, tenant="T").id for end in ("well", "skip", "fail", "later")}
        states = {"well": "succeeded", "skip": "skipped", "fail": "failed", "later": "succeeded"}
        ran(burst, farm, lambda: {end: queue.job(id_).state for end, id_ in ids.items()} == states, "the ends")
        assert sorted(params["end"] for params in farm.params) == ["later", "skip", "well"]
        assert all(depth == 1 and params["at"] == dt.date(2026, 1, 2) for depth, params in farm.heard)
        assert [job.tenant for job in made(queue, "drawn")] == ["T"] * 3
        assert not queue.store.read(unheard(queue)), "of an event that triggers nothing nothing is kept"

    def test_q20_async_and_shell(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20, C18: of an async def; and of a command, which prints it."""

        async def emits(ctx: AsyncContext) -> None:
            ctx.emit("drawn", {"from": "async"}, tenant="U", key="k")

        farm.handlers.handler("async")(emits)
        line = 'seatline:emit {{"event": "drawn", "params": {{"from": "shell"}}}}'
        farm.handlers.shell("shell", ["printf", "%s\\n", line])
        farm.handlers.shell("wrong", ["printf", "%s\\n", 'seatline:emit {{"event": "job.failed"}}'])
        queue.triggers.set("drawn", [Job("mail")])
        ids = [queue.enqueue(type_).id for type_ in ("async", "shell", "wrong")]
        burst(farm.handlers)
        assert sorted(params["from"] for params in farm.params) == ["async", "shell"]
        assert {job.tenant for job in made(queue, "drawn")} == {"U", None}
        assert "job.failed is Seatline's own" in str(queue.job(ids[2]).error)

    def test_q20_keys_and_tenants_are_gathered_apart(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20: events of one key and tenant are one job."""
        queue.triggers.set("drawn", [Job("mail")], coalesce=0.001)
        for more in ({"key": "a"}, {"key": "b"}, {"key": "b"}, {"key": "b", "tenant": "T"}):
            queue.enqueue("emits", more)
        ran(burst, farm, lambda: sum(len(each["events"]) for each in farm.params) == 4, "all four")
        assert sorted(len(params["events"]) for params in farm.params) == [1, 1, 2]

    @pytest.mark.parametrize(
        ("event", "more", "told"),
        [
            ("a b", {}, "event: "),
            ("drawn", {"params": {"n": object()}}, "params"),
            ("drawn", {"params": [1]}, "params"),
            ("drawn", {"tenant": "a b"}, "tenant: "),
            ("drawn", {"key": ""}, "key: "),
        ],
    )
    def test_q20_what_is_wrong_is_said_at_once(
        self, queue: Queue, burst: Burst, event: str, more: Any, told: str
    ) -> None:
        """Q20, R4: where it is called, not when the job has ended."""
        handlers, said = Handlers(), list[str]()

        def emits(ctx: Context) -> None:
            with pytest.raises(InvalidInput) as error:
                ctx.emit(event, **more)
            said.append(str(error.value))

        handlers.handler("emits", isolation="thread")(emits)
        job = queue.enqueue("emits")
        burst(handlers)
        assert job.state() == "succeeded"
        assert told in said[0]

    def test_q20_a_thousand_jobs_and_events(self, queue: Queue, burst: Burst, farm: Farm) -> None:
        """Q20: of one attempt, at most."""

        def many(ctx: Context) -> None:
            for n in range(500):
                ctx.enqueue("good", {"n": n})
                ctx.emit("drawn", {"n": n})
            with pytest.raises(InvalidInput, match="emit: an attempt may enqueue at most 1,000 jobs and events"):
                ctx.emit("drawn", {})

        farm.handlers.handler("many", isolation="thread")(many)
        queue.triggers.set("drawn", [Job("mail")])
        queue.enqueue("many")
        burst(farm.handlers, slots=8)
        assert sorted(params["n"] for params in farm.params) == list(range(500))
        assert ended(queue, "succeeded") == 1_001
