"""`seatline orders`: orders as people start, see, change and await them (O4 to O11, O13, O14, W1).

Pictures are compared without what differs from run to run: times of day and durations are ``..``, the worker is ``W``, and
more than two spaces in a line are two.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.server import RealServer
from redis import Redis
from rules.step_worker import StepWorker

from seatline.producer import Chain, Queue, Step
from seatline.worker import Context, Handlers, Worker

Cli = Callable[..., Any]
Picture = Callable[..., list[str]]
TYPES = ("check", "publish", "render", "repair")

LINE = Chain(
    "release",
    [
        Step("check", "check"),
        Step("publish", "publish", on_error="repair"),
        Step("tell", "publish"),
        Step("repair", "repair", aside=True),
    ],
)
SIDE = Chain(
    "side",
    [
        Step("check", "check"),
        Step("publish", "publish", after="check"),
        Step("sign", "publish", after="publish"),
        Step("render", "render", after="check", on_error="setback", setback=[3600]),
        Step("tell", "publish", after=["sign", "render"]),
    ],
)
EACH = Chain("each", [Step("render", "render", each="files", partial="join"), Step("tell", "publish")])


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        queue.define(LINE)
        queue.define(SIDE)
        queue.define(EACH)
        yield queue


@pytest.fixture
def worker(queue: Queue, server: RealServer, namespace: str) -> Iterator[StepWorker]:
    worker = StepWorker(server.url, namespace, TYPES)
    yield worker
    worker.store.close()


@pytest.fixture
def picture(cli: Cli, worker: StepWorker) -> Picture:
    """The table of steps that ``orders show`` draws."""

    def draw(order: str) -> list[str]:
        done = cli("orders", "show", order)
        assert done.code == 0, done.err
        lines = done.out.replace(worker.id, "W").partition("\n\n")[2].partition("\n\n")[0].splitlines()
        lines = [re.sub(r"\d\d:\d\d:\d\d|\b\d+\.\ds", "..", line) for line in lines]
        return [re.sub(r"(?<=\S) {2,}", "  ", line) for line in lines]

    return draw


class TestPictures:
    """What `orders show` draws, moment by moment."""

    def test_o4_a_line(self, queue: Queue, worker: StepWorker, picture: Picture, cli: Cli) -> None:
        """O4: from the first step to the failure that an error step could not mend."""
        queue.start("release", id="a")
        assert picture("a") == [
            "  STEP  STATE  JOB  ATTEMPT  STARTED  TOOK  WORKER  NOTE",
            "> check  waiting  2  -  -  -  -",
            "  publish  -  -  -  -  -  -",
            "  tell  -  -  -  -  -  -",
            "  repair  -  -  -  -  -  -  aside",
        ]
        worker.take()
        assert picture("a")[1] == "> check  running  2  1  ..  ..  W"
        worker.end("a", "check", value={"size": 3})
        worker.take()
        worker.end("a", "publish", outcome="failed")
        assert picture("a")[1:] == [
            "  check  done  2  1  ..  ..  W",
            "  publish  failed  3  1  ..  ..  W  Boom: it broke",
            "  tell  -  -  -  -  -  -",
            "> repair  waiting  4  -  -  -  -",
        ]
        worker.take()
        worker.end("a", "repair")
        assert picture("a")[1:] == [
            "  check  done  2  1  ..  ..  W",
            "> publish  failed  3  1  ..  ..  W  Boom: it broke",
            "  tell  -  -  -  -  -  -",
            "  repair  done  4  1  ..  ..  W",
        ]
        shown = cli("orders", "show", "a").out
        assert shown.startswith("Order a  release  failed\n  priority   10\n")
        assert "\nError\n  step publish: Boom: it broke\n  -> seatline orders resume a goes on at that step.\n" in shown
        assert '\nOutputs\n  check   {"size": 3}\n' in shown
        assert "Why it waits" not in shown
        queue.order("a").go_to("tell")
        assert picture("a")[1:4] == [
            "  check  done  2  1  ..  ..  W",
            "  publish  -  -  -  -  -  -",
            "> tell  waiting  5  -  -  -  -",
        ]

    def test_o14_branches(self, queue: Queue, worker: StepWorker, picture: Picture) -> None:
        """O14, O7, O6: two branches, one set back; the join waits; suspended and stopped."""
        queue.start("side", id="a")
        worker.take()
        worker.end("a", "check")
        worker.take()
        assert picture("a")[1:] == [
            "  check  done  2  1  ..  ..  W",
            "> |- publish  running  3  1  ..  ..  W",
            "  |  sign  -  -  -  -  -  -",
            "> |- render  running  4  1  ..  ..  W",
            "  tell  -  -  -  -  -  -",
        ]
        queue.chains.stop("side", "sign")
        queue.chains.skip("side", "tell")
        worker.end("a", "publish")
        worker.end("a", "render", outcome="failed")
        assert picture("a")[2:] == [
            "  |- publish  done  3  1  ..  ..  W",
            "> |  sign  held  -  -  -  -  -  the step is stopped",
            "> |- render  waiting  5  -  -  -  -  until ..; set back, 1 of 1: Boom: it broke",
            "  tell  -  -  -  -  -  -  to be passed",
        ]
        queue.order("a").suspend()
        assert picture("a")[3:5] == [
            "> |  sign  held  -  -  -  -  -  the order is suspended; the step is stopped",
            "> |- render  held  -  -  -  -  -  the order is suspended; not before ..",
        ]
        queue.order("a").skip("render")
        queue.order("a").skip("sign")
        assert picture("a")[3:] == [
            "  |  sign  passed  -  -  -  -  -",
            "  |- render  passed  -  -  -  -  -",
            "  tell  passed  -  -  -  -  -",
        ]

    def test_o14_each(self, queue: Queue, worker: StepWorker, picture: Picture) -> None:
        """O14: how many elements have ended; then when they were joined."""
        queue.start("each", {"files": ["x", "y", "z"]}, id="a")
        worker.take()
        assert picture("a")[1] == "> render  running  2  1  ..  ..  W"
        worker.expand("a", "render", ["x", "y", "z"])
        worker.take(1)
        worker.end("a", "render", 0, outcome="failed")
        assert (
            picture("a")[1] == "> render  running  -  -  ..  ..  -  1 of 3 elements ended, 1 of them badly; 2 under way"
        )
        worker.take()
        worker.end_all(("a", "render", 1), ("a", "render", 2))
        assert picture("a")[1:] == [
            "  render  done  2  1  ..  ..  W  3 elements, 1 failed",
            "> tell  waiting  6  -  -  -  -",
        ]

    def test_skipped_lost_and_retried(
        self, queue: Queue, server: RealServer, namespace: str, picture: Picture, redis: Redis
    ) -> None:
        """Q21: a handler that found nothing to do; C16: an attempt that failed; R1: a job that is gone is said."""
        handlers = Handlers()

        @handlers.handler("check")
        def check(ctx: Context) -> None:
            from seatline.worker import Skip

            raise Skip("nothing new")

        @handlers.handler("publish")
        def publish(ctx: Context) -> None:
            from seatline.worker import Retry

            raise Retry.after(3600, "later")

        queue.start("release", id="a")
        Worker(handlers, server.url, namespace=namespace).run(burst=True)
        check_line, publish_line = [re.sub(r"  \S+\.\S+\.\S+  ", "  W  ", line) for line in picture("a")[1:3]]
        assert check_line == "  check  skipped  2  1  ..  ..  W  nothing new"
        assert publish_line.startswith("> publish  waiting  3  1  -  -  -  until ..; attempt 1 failed: ")
        job = f"{{{namespace}}}:job:{3:016}"
        kept = redis.dump(job)
        assert kept is not None
        redis.delete(job)
        assert picture("a")[2] == "> publish  lost  3  -  -  -  -  its job is gone"
        redis.restore(job, 0, kept)

    def test_on_a_narrow_terminal(self, queue: Queue, worker: StepWorker, screen: Callable[..., Any]) -> None:
        """Below 100 columns who ran a step is left out, so that there is room for what is said of it."""
        queue.start("release", id="a")
        worker.take()
        worker.end("a", "check")
        narrow, wide = screen(80, "orders", "show", "a"), screen(120, "orders", "show", "a")
        assert worker.id not in narrow.out
        assert worker.id in wide.out
        table = [line for line in narrow.lines if line[:2] in {"> ", "  "} and "check" in line]
        assert max(map(len, table)) <= 80


class TestShow:
    """What else is told of an order."""

    def test_params_outputs_and_history(self, queue: Queue, worker: StepWorker, cli: Cli) -> None:
        """O8: people are in the history; long values are cut, with --full they are not."""
        queue.start("release", {"file": "x" * 300, "n": 1}, id="a", title="Pump", tenant="Lyon")
        worker.take()
        queue.order("a").suspend()
        worker.end("a", "check", value=[1, 2])
        shown = cli("orders", "show", "a").lines
        assert shown[:3] == ["Order a  release  suspended", "  title      Pump", "  priority   10"]
        assert any(re.fullmatch(rf"  suspended  since \S+ \S+ UTC by {queue.by}", line) for line in shown)
        cut = next(line for line in shown if line.startswith("  file"))
        assert cut == f'  file  "{"x" * 199} ... 102 characters more; --full shows them'
        assert f'  file  "{"x" * 300}"' in cli("orders", "show", "a", "--full").lines
        assert "  check  [1, 2]" in shown
        assert "History" not in shown
        history = cli("orders", "show", "a", "--history").lines
        history = history[history.index("History") + 1 :]
        assert history[0].endswith(f" UTC  suspend by {queue.by}")
        told = rf"  .* UTC  step check succeeded after \d+\.\ds, job 2 attempt 1 by {re.escape(worker.id)}"
        assert re.fullmatch(told, history[1])

    def test_w1_why_it_waits(self, queue: Queue, cli: Cli) -> None:
        """W1: by show and by why, which says the rest in words."""
        queue.start("release", id="a")
        queue.chains.stop("release", "check")
        shown = cli("orders", "show", "a").lines
        why = shown[shown.index("Why it waits") + 1 :]
        assert why[0].startswith("  stopped: step check of chain release is stopped (since 20")
        assert why[1].startswith("  no-worker: step check: no live worker supports type check")
        told = cli("orders", "why", "a").lines
        assert told[0] == "order a (release, priority 10) is running"
        assert told[1].startswith("  stopped    step check of chain release is stopped")
        assert told[2] == "             -> seatline chains start release check"
        data = json.loads(cli("orders", "why", "a", "-o", "json").out)
        assert (data["id"], data["state"]) == ("a", "running")
        assert [each["reason"] for each in data["why"]] == ["stopped", "no-worker"]
        queue.order("a").cancel()
        assert cli("orders", "why", "a").lines[1].startswith("  It ended at 20")

    def test_w1_nothing_waits_of_what_has_failed_or_ended(self, queue: Queue, worker: StepWorker, cli: Cli) -> None:
        """W1: although nobody is left to run the step; what would keep it once it is resumed is said by why."""
        queue.start("release", id="a")
        worker.take()
        worker.end("a", "check", outcome="failed")
        worker.leave()
        queue.chains.stop("release")
        assert "Why it waits" not in cli("orders", "show", "a").out
        told = cli("orders", "why", "a").out
        assert "no-worker" not in told
        assert "stopped    chain release is stopped" in told
        queue.order("a").cancel()
        assert "Why it waits" not in cli("orders", "show", "a").out

    def test_w1_nothing_keeps_it(self, queue: Queue, worker: StepWorker, cli: Cli) -> None:
        queue.start("release", id="a")
        worker.take()
        assert cli("orders", "why", "a").lines[1:] == ["  Nothing keeps it: it is at check."]

    def test_o13_another_version(self, queue: Queue, cli: Cli, picture: Picture) -> None:
        """O13: it is drawn as the version that it started with, which is said if there is a newer one."""
        queue.start("release", id="a")
        queue.define(Chain("release", [Step("only", "check")]))
        assert "  version    1 (the newest is 2)" in cli("orders", "show", "a").lines
        assert len(picture("a")) == 5

    def test_o13_what_cannot_be_read(self, queue: Queue, cli: Cli, redis: Redis, namespace: str) -> None:
        """O13: listed as orphaned, with the reason; the others are listed too."""
        queue.start("release", id="a")
        queue.start("release", id="b")
        redis.hset(f"{{{namespace}}}:order:a", "version", "?")
        done = cli("orders", "list")
        assert [line.split()[:3] for line in done.lines[1:]] == [["a", "-", "orphaned"], ["b", "release", "running"]]
        assert "its record cannot be read" in done.lines[1]
        (orphan, _) = json.loads(cli("orders", "list", "-o", "json").out)
        assert (orphan["id"], orphan["state"]) == ("a", "orphaned")
        shown = cli("orders", "show", "a")
        assert (shown.code, shown.out) == (1, "")
        assert shown.err.startswith("seatline: order a: its record cannot be read")
        redis.hset(f"{{{namespace}}}:order:a", "version", "1")

    def test_json(self, queue: Queue, worker: StepWorker, cli: Cli) -> None:
        queue.start("release", {"file": "a"}, id="a", title="Pump")
        worker.take()
        worker.end("a", "check", value=7)
        data = json.loads(cli("orders", "show", "a", "-o", "json").out)
        assert (data["id"], data["chain"], data["version"], data["state"]) == ("a", "release", 1, "running")
        assert (data["params"], data["outputs"], data["ended"]) == ({"file": "a"}, {"check": 7}, ["check"])
        check, publish, *_ = data["steps"]
        assert (check["state"], check["here"], check["job"], check["attempt"]) == ("done", False, "2".zfill(16), 1)
        assert (publish["state"], publish["here"], publish["attempt"]) == ("waiting", True, None)
        assert [(line["step"], line["outcome"]) for line in data["history"]] == [("check", "succeeded")]
        assert [each["reason"] for each in data["why"]] == ["behind"]

    def test_a_job_tells_its_step(self, queue: Queue, worker: StepWorker, cli: Cli) -> None:
        """`jobs show` of a step, and of the run for one element of it."""
        queue.start("each", {"files": ["x"]}, id="a")
        worker.take()
        worker.expand("a", "render", ["x"])
        assert "  order     a (each), step render, element 0" in cli("jobs", "show", "3").lines
        data = json.loads(cli("jobs", "show", "2", "-o", "json").out)
        assert (data["order"], data["chain"], data["step"], data["element"]) == ("a", "each", "render", None)


class TestStart:
    """`orders start`."""

    def test_params_as_words_and_json(self, queue: Queue, cli: Cli) -> None:
        """O9, T2: params as for `enqueue`; id, priority, title, tenant, delay."""
        done = cli("orders", "start", "release", "file=a.dwg", "--param", "n=2", "--params", '{"file": "b", "k": [1]}',
                   "l:=[2]", "--id", "R-7", "--priority", "3", "--title", "Pump", "--tenant", "Lyon",
                   "--delay", "1h")  # fmt: skip
        assert done.lines == ["R-7"], done.err
        order = queue.order("R-7").record()
        assert order.params == {"file": "a.dwg", "k": [1], "l": [2], "n": 2}
        assert (order.priority, order.title, order.tenant, order.state) == (3, "Pump", "Lyon", "scheduled")
        assert cli("orders", "start", "release", "--at", "2030-01-01T00:00Z").lines == ["3"]
        assert queue.order(3).record().due is not None
        assert json.loads(cli("orders", "start", "release", "-o", "json").out) == {"id": "5".zfill(16)}

    def test_q15_what_keeps_it_is_said_at_once(self, queue: Queue, cli: Cli) -> None:
        """Q15, O10, O11: nobody would run it; its chain is stopped, or full."""
        done = cli("orders", "start", "release")
        assert done.err.startswith("seatline: order 1: step check: no live worker supports type check")
        queue.define(Chain("one", LINE.steps, max_orders=1))
        cli("orders", "start", "one")
        assert "seatline: order 5: chain one is full: 1 of at most 1" in cli("orders", "start", "one").err
        queue.chains.stop("one")
        assert "seatline: order 6: chain one is stopped (since" in cli("orders", "start", "one").err
        assert "  waits      its chain is stopped since 20" in cli("orders", "show", "6").out

    def test_o9_an_id_that_exists(self, queue: Queue, cli: Cli) -> None:
        """O9: refused, or replaced."""
        queue.start("release", id="a")
        done = cli("orders", "start", "release", "--id", "a")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("seatline: order a: there is one of that id, which is running.")
        assert cli("orders", "start", "release", "--id", "a", "--replace").lines == ["a"]

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (["relase"], 1, "seatline: chain relase: there is no chain of that name. `seatline chains list` shows"),
            (["release", "file"], 2, "seatline: 'file' is neither name=value nor name:=JSON."),
            (["release", "--params", "[1]"], 2, "seatline: Invalid value for --params: not a JSON object"),
            (["release", "--id", "42"], 2, "seatline: id: '42' is a number, and numbers are given by the server."),
            (["release", "--replace"], 2, "seatline: --replace goes with --id; without one every start is another order."),
            (["release", "--at", "noon"], 2, "seatline: Invalid value for '--at': 'noon' is not a moment"),
        ],
    )  # fmt: skip
    def test_r4_slips_are_told(self, words: list[str], code: int, told: str, queue: Queue, cli: Cli) -> None:
        """R4: and nothing is started."""
        done = cli("orders", "start", *words)
        assert (done.code, done.out) == (code, "")
        assert done.err.startswith(told)
        assert not list(queue.orders())


class TestList:
    """`orders list`."""

    def test_where_they_are(self, queue: Queue, worker: StepWorker, cli: Cli) -> None:
        queue.start("side", id="a", title="Pump")
        worker.take()
        worker.end("a", "check")
        queue.start("release", priority=3, delay=3600)
        queue.start("release", id="c").cancel()
        lines = [line.split() for line in cli("orders", "list").lines]
        assert lines[0] == ["ID", "CHAIN", "STATE", "AT", "DONE", "PRIORITY", "AGE", "TITLE"]
        assert lines[1][:7] == ["a", "side", "running", "publish", "render", "1/5", "10"]
        assert lines[1][-1] == "Pump"
        assert lines[2][:6] == ["5", "release", "scheduled", "check", "0/3", "3"]
        assert len(lines) == 3
        assert [line.split()[0] for line in cli("orders", "list", "--state", "all").lines[1:]] == ["a", "5", "c"]
        assert [line.split()[0] for line in cli("orders", "list", "--chain", "side").lines[1:]] == ["a"]
        limited = cli("orders", "list", "--limit", "1", "-o", "ndjson")
        assert [json.loads(line)["at"] for line in limited.lines] == [
            {"publish": "3".zfill(16), "render": "4".zfill(16)}
        ]
        assert limited.err == "1 shown, there are more; --limit 0 lists all.\n"
        assert cli("orders", "list", "--tenant", "Lyon").err == "No such orders.\n"
        assert cli("orders", "list", "--state", "done").code == 2

    def test_none_yet(self, cli: Cli) -> None:
        done = cli("orders", "list")
        assert (done.code, done.out) == (0, "")
        assert done.err == "No order is under way; --state all lists ended ones too.\n"


class TestActs:
    """What people do to orders."""

    def test_o6_o8_one_by_one(self, queue: Queue, worker: StepWorker, cli: Cli) -> None:
        """O6, O8: each says what it did, and where the order is."""
        queue.start("release", id="a")
        worker.take()
        assert cli("orders", "suspend", "a").lines == ["order a is suspended; what runs of check ends first"]
        worker.end("a", "check")
        assert cli("orders", "resume", "a").lines == ["order a goes on; it is at publish"]
        assert cli("orders", "skip", "a", "publish").lines == ["order a passes step publish; it is at tell"]
        assert cli("orders", "goto", "a", "check").lines == ["order a is sent to step check; it is at check"]
        assert cli("orders", "suspend", "a").lines == ["order a is suspended"]
        assert cli("orders", "goto", "a", "publish").lines == ["order a is sent to step publish; it is suspended"]
        assert cli("orders", "resume", "a", "--from", "tell").lines == ["order a goes on; it is at tell"]
        assert cli("orders", "reset", "a").lines == ["order a begins again; it is at check"]
        worker.take()
        assert cli("orders", "cancel", "a").lines == [
            "order a asked to stop; it is cancelled once what runs of it has ended"
        ]
        assert "  leaving    to be cancelled once what runs of it has ended" in cli("orders", "show", "a").lines
        assert cli("orders", "remove", "a").lines == ["order a is removed once what runs of it has ended"]
        worker.end("a", "check")
        assert cli("orders", "show", "a").code == 1

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["show", "b"], "seatline: order b: no such order."),
            (["show", "42"], "seatline: order 42: no such order."),
            (["why", "b"], "seatline: order b: no such order."),
            (["suspend", "b"], "seatline: order b: no such order."),
            (["resume", "a"], "seatline: order a is running: it cannot be resumed."),
            (["resume", "a", "--from", "tell"], "seatline: order a: its step check is under way, so"),
            (["goto", "a", "nowhere"], "seatline: step nowhere: order a has no such step."),
            (["skip", "a", "check"], "seatline: order a: its step check is under way, so"),
            (["reset", "a"], "seatline: order a: its step check is under way, so"),
        ],
    )
    def test_what_cannot_be_is_told(
        self, words: list[str], told: str, queue: Queue, worker: StepWorker, cli: Cli
    ) -> None:
        queue.start("release", id="a")
        worker.take()
        done = cli("orders", *words)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(told)
        assert queue.order("a").state() == "running"

    def test_q22_many(self, queue: Queue, cli: Cli) -> None:
        """Q22: several ids, of which one is refused; all of a chain, counted first."""
        for name in ("a", "b", "c"):
            queue.start("release", id=name)
        queue.start("side", id="d")
        done = cli("orders", "suspend", "a", "x", "b")
        assert (done.code, done.lines) == (1, ["order a is suspended", "order b is suspended"])
        assert done.err.startswith("seatline: order x: no such order.")
        assert cli("orders", "cancel", "--all", "--chain", "release", "--dry-run").lines == [
            "3 running or suspended or waiting or scheduled orders of chain release: a, b, c"
        ]
        done = cli("orders", "cancel", "--all", "--chain", "release", "--yes")
        assert (done.code, done.lines[-1]) == (0, "cancelled 3 orders")
        assert [each.id for each in queue.orders() if not isinstance(each, Exception)] == ["d"]
        assert cli("orders", "remove", "--all").code == 2
        assert cli("orders", "cancel", "--all").code == 2  # nobody is there to answer
        assert cli("orders", "cancel", "d", "--all").code == 2
        assert cli("orders", "cancel", "d", "--chain", "side").code == 2
        assert cli("orders", "cancel", "--state", "asleep", "--yes").code == 2
        assert cli("orders", "cancel", "--chain", "a b", "--yes").code == 2
        done = cli("orders", "remove", "--all", "--state", "cancelled", "--yes")
        assert done.lines[-1] == "removed 3 orders"
        assert not list(queue.orders(state="cancelled"))


class TestWait:
    """`orders wait`."""

    def test_exit_codes(self, queue: Queue, worker: StepWorker, cli: Cli) -> None:
        """0 succeeded, 1 failed, cancelled or unknown, 124 not in time."""
        queue.define(Chain("short", [Step("check", "check")]))
        for name in ("a", "b", "c", "d"):
            queue.start("short", id=name)
        worker.take(3)
        worker.end("a", "check")
        worker.end("b", "check", outcome="failed")
        queue.order("d").cancel()
        done = cli("orders", "wait", "a")
        assert (done.code, done.lines) == (0, ["order a succeeded"])
        done = cli("orders", "wait", "a", "b", "d", "x")
        assert done.code == 1
        assert done.lines == ["order a succeeded", "order b failed: step check: Boom: it broke", "order d cancelled"]
        assert done.err.startswith("seatline: order x: the server does not have it")
        done = cli("orders", "wait", "c", "--timeout", "0.1")
        assert (done.code, done.err) == (124, "seatline: order c has not ended in time; it goes on.\n")

    def test_it_is_woken(self, queue: Queue, server: RealServer, namespace: str, cli: Cli) -> None:
        """A real worker runs the chain meanwhile."""
        handlers = Handlers()

        @handlers.handler("check")
        @handlers.handler("publish")
        def step(ctx: Context) -> str:
            return "fine"

        queue.start("release", id="a")
        worker = Worker(handlers, server.url, namespace=namespace)
        thread = threading.Thread(target=worker.run, kwargs={"burst": True})
        thread.start()
        done = cli("orders", "wait", "a", "--timeout", "30")
        thread.join()
        assert (done.code, done.lines) == (0, ["order a succeeded"])
        assert '  tell     "fine"' in cli("orders", "show", "a").lines


class TestSchedules:
    """`schedules` of orders."""

    def test_o3_add_run_next(self, queue: Queue, cli: Cli) -> None:
        """O3, T6, T10: a chain in the place of the type."""
        done = cli("schedules", "add", "weekly", "--chain", "release", "file=a", "n:=[1]", "--every", "1h",
                   "--title", "Weekly")  # fmt: skip
        assert done.code == 0, done.err
        record = queue.schedules["weekly"]
        assert (record.chain, record.job.params, record.job.title) == ("release", {"file": "a", "n": [1]}, "Weekly")
        assert cli("schedules", "list").lines[1].split()[:3] == ["weekly", "chain", "release"]
        assert cli("schedules", "run", "weekly").lines == ["1"]
        assert "  schedule   weekly, planned for 20" in cli("orders", "show", "1").out
        queue.start("release", id="later", delay=60)
        (first, second) = (line.split()[3:7] for line in cli("schedules", "next", "--until", "1h").lines[1:])
        assert first == ["order", "later", "chain", "release"]
        assert second == ["schedule", "weekly", "chain", "release"]

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (["check", "--chain", "release"], 2, "seatline: give a TYPE, or --chain to start orders, one of the two."),
            (["file=a"], 2, "seatline: give a TYPE, or --chain to start orders, one of the two."),
            ([], 2, "seatline: give a TYPE, or --chain to start orders, one of the two."),
            (["--chain", "relase"], 1, "seatline: chain relase: there is no chain of that name."),
            (["--chain", "release", "--uses", "vault=1"], 2, "seatline: uses: it goes with a type."),
        ],
    )
    def test_slips_are_told(self, words: list[str], code: int, told: str, queue: Queue, cli: Cli) -> None:
        done = cli("schedules", "add", "weekly", *words, "--every", "1h")
        assert done.code == code
        assert done.err.startswith(told)
        assert not queue.schedules.list()
