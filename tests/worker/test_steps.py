"""Steps of orders as a worker runs them: params and outputs, Goto and codes, a step's own timeout and retry (O4, O5, O15).

The jobs are made by hand, as the scripts hand them over; they run through the crew of a worker that meets no server.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest
from harness.processes import no_child_left

from seatline.shared.calls.workers import Report, Taken
from seatline.shared.codec import pack_params, pack_value, pieces, unpack_value
from seatline.shared.errors import InvalidInput, PayloadError
from seatline.shared.job import JobRecord
from seatline.shared.order_params import Handed, step_of_code
from seatline.worker import Context, Goto, Handlers, Retry, Skip, Worker
from seatline.worker.loop import Task
from seatline.worker.steps import MADE_MOST, StepHandlers

STEP: Final[dict[str, Any]] = {"order": "R-7", "chain": "release", "step": "publish", "if_lost": "rerun"}
KINDS: Final = ("thread", "process", "async", "shell")
PYTHON_KINDS: Final = KINDS[:-1]
CODES: Final = "2:repair,3-5:check"


def flat_of(
    type_: str = "a",
    params: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    *,
    value: object = None,
    **fields: object,
) -> list[bytes]:
    """Return a job's fields, and behind them what the scripts append; ``params=None``: nothing is."""
    record: dict[str, object] = {"type": type_, "state": "running", "priority": 10, **fields}
    words: list[str | bytes] = []
    for name, each in record.items():
        words += (name, str(each))
    if params is not None:
        words += pieces("params", pack_params(params))
    for name, each in (outputs or {}).items():
        words += (f"out.{name}", pack_value("output", each))
    if "element" in fields:
        words += ("item.value", pack_value("element", value))
    return [word.encode() if isinstance(word, str) else word for word in words]


def handed(flat: list[bytes]) -> Handed:
    return Handed.read({name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)})


class Bench:
    """The crew of a worker, given one job at a time."""

    def __init__(self, handlers: Handlers) -> None:
        self.worker = Worker(handlers, "redis://localhost:1/0", kill_after=0.4)  # nobody connects
        self.crew = self.worker._crew
        self.ids = itertools.count(1)

    def run(
        self,
        params: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        *,
        attempt: int = 1,
        **fields: object,
    ) -> Report:
        """Run a job of type ``a``, which is a step unless ``order`` is None."""
        fields = {name: word for name, word in {**STEP, **fields}.items() if word is not None}
        flat = flat_of("a", params or {}, outputs, **fields)
        made = self.crew._make(Taken(f"{next(self.ids):016}", "w1:1", attempt, flat))
        return asyncio.run(made.attempt) if isinstance(made, Task) else made()


@contextmanager
def bench(handlers: Handlers) -> Iterator[Bench]:
    with no_child_left():
        made = Bench(handlers)
        made.crew.fork()
        made.crew.start()
        try:
            yield made
        finally:
            made.crew.close()


def declare(kind: str, work: Any, **options: Any) -> Handlers:
    """Return handlers with one for type ``a``: ``work(ctx, **params)``; for ``shell`` the code of a program."""
    handlers = Handlers()
    if kind == "shell":
        code = str(work).replace("{", "{{").replace("}", "}}")
        handlers.shell("a", [sys.executable, "-c", code], **options)
    elif kind == "async":

        @handlers.handler("a", **options)
        async def later(ctx: Context, **params: Any) -> Any:
            return work(ctx, **params)

    else:
        isolation: Any = kind
        handlers.handler("a", isolation=isolation, **options)(work)
    return handlers


def result(report: Report) -> Any:
    assert report.outcome == "succeeded", report
    return unpack_value(report.result) if report.result else None


def field(report: Report, name: str) -> Any:
    return dict(zip(report.fields[::2], report.fields[1::2], strict=True)).get(name)


class TestParams:
    """O5: a step's params are the order's, updated by the results of the steps before it."""

    def test_o5_results_are_merged_in_the_order_in_which_their_steps_ended(self) -> None:
        outputs = {"a": {"x": 1, "y": 1}, "b": {"y": 2, "z": 2}, "late": {"x": 9}}
        params = {"file": "a.dwg", "x": 0}
        merged = handed(flat_of(params=params, outputs=outputs, **STEP, before="a b")).merged()
        assert merged == {"file": "a.dwg", "x": 1, "y": 2, "z": 2}
        merged = handed(flat_of(params=params, outputs=outputs, **STEP, before="b a")).merged()
        assert merged == {"file": "a.dwg", "x": 1, "y": 1, "z": 2}
        assert handed(flat_of(params=params, outputs=outputs, **STEP)).merged() == params

    @pytest.mark.parametrize("output", [None, 3, "text", [1, 2], b"bytes"])
    def test_o5_what_is_no_mapping_is_left_out(self, output: object) -> None:
        assert handed(flat_of(params={"x": 1}, outputs={"a": output}, **STEP, before="a gone")).merged() == {"x": 1}

    @pytest.mark.parametrize("size", [0, 40, 64, 65, 900, 5000])
    def test_o5_params_of_any_size(self, size: int) -> None:
        params = {"text": "x" * size}
        assert handed(flat_of(params=params, **STEP)).merged() == params

    def test_o14_an_element_is_a_param_of_its_run(self) -> None:
        flat = flat_of(params={"x": 1, "item": "of the order"}, **STEP, element=3, value=["a", 1], before="a")
        assert handed(flat).merged() == {"x": 1, "item": ["a", 1]}
        flat = flat_of(params={"x": 1}, **STEP, element=3, value=None, item="file")
        assert handed(flat).merged() == {"x": 1, "file": None}

    def test_o5_what_cannot_be_read_is_said(self) -> None:
        with pytest.raises(PayloadError, match="stored is a list, not a mapping"):
            handed([*flat_of(**STEP), b"params", pack_value("params", [1])]).merged()
        with pytest.raises(PayloadError, match="cannot be read"):
            handed([*flat_of(params={}, **STEP, before="a"), b"out.a", b"\xc1"]).merged()

    def test_o5_the_record_of_a_step(self) -> None:
        flat = flat_of(params={"x": 1}, outputs={"a": {"y": 2}}, **STEP, element=12, value=5, goto="repair")
        record = JobRecord.read("0000000000000001", flat)
        assert (record.order, record.chain, record.step) == ("R-7", "release", "publish")
        assert (record.element, record.goto) == (12, "repair")
        assert record.params == {"x": 1, "item": 5}

    def test_o5_the_record_of_a_step_whose_order_is_gone(self) -> None:
        assert JobRecord.read("0000000000000001", flat_of(**STEP, before="a")).params == {}

    def test_a_plain_job_is_no_step(self) -> None:
        record = JobRecord.read("0000000000000001", flat_of(params={"x": 1}))
        assert (record.order, record.chain, record.step, record.element, record.goto) == (None,) * 5
        assert record.params == {"x": 1}

    @pytest.mark.parametrize(
        ("code", "step"), [(0, None), (1, None), (2, "repair"), (3, "check"), (4, "check"), (5, "check"), (6, None)]
    )
    def test_o15_codes(self, code: int, step: str | None) -> None:
        assert step_of_code(CODES, code) == step

    def test_o15_no_codes(self) -> None:
        assert step_of_code("", 0) is None
        assert step_of_code(CODES, -15) is None
        with pytest.raises(PayloadError, match="codes: 'two:repair' cannot be read"):
            step_of_code("two:repair", 2)


class TestHanded:
    """O5: what a handler is given, wherever it runs."""

    PARAMS: Final = {"file": "a.dwg", "sheets": 1}
    OUTPUTS: Final = {"check": {"sheets": 3}, "count": 7, "beside": {"sheets": 9}}

    @pytest.mark.parametrize("kind", PYTHON_KINDS)
    def test_o5_params_and_outputs(self, kind: str) -> None:
        """O5: merged params as arguments and in the record; the order's own, and each output by name, in ctx.order."""

        def work(ctx: Context, file: str, sheets: int) -> list[Any]:
            order = ctx.order
            assert order is not None
            assert order is ctx.order
            assert order.params is order.params
            with pytest.raises(KeyError, match="step 'publish' has not ended; there are: check, count, tidy"):
                order.outputs["publish"]
            told = [order.id, order.chain, order.step, order.element, order.params, dict(order.outputs)]
            return [file, sheets, ctx.job.params, *told]

        with bench(declare(kind, work)) as made:
            found = result(made.run(self.PARAMS, self.OUTPUTS, before="check count tidy"))
        assert found[:3] == ["a.dwg", 3, {"file": "a.dwg", "sheets": 3}]
        assert found[3:7] == ["R-7", "release", "publish", None]
        assert found[7:] == [self.PARAMS, {"check": {"sheets": 3}, "count": 7, "tidy": None}]  # not what is beside it

    @pytest.mark.parametrize("kind", PYTHON_KINDS)
    def test_o14_the_run_of_an_element(self, kind: str) -> None:
        def work(ctx: Context, file: str, scale: int) -> list[Any]:
            assert ctx.order is not None
            return [file, scale, ctx.order.element, ctx.order.params, dict(ctx.order.outputs)]

        with bench(declare(kind, work)) as made:
            found = result(made.run({"scale": 2}, element=4, item="file", value="a.dwg", before="check"))
        assert found == ["a.dwg", 2, 4, {"scale": 2}, {}]

    def test_o5_the_environment_of_a_command(self) -> None:
        names = ["PARAM_FILE", "PARAM_SHEETS", "SEATLINE_ORDER", "SEATLINE_CHAIN", "SEATLINE_STEP"]
        code = f"import json, os; print('seatline:result', json.dumps([os.environ.get(n) for n in {names!r}]))"
        with bench(declare("shell", code)) as made:
            found = result(made.run(self.PARAMS, self.OUTPUTS, before="check"))
            assert found == ["a.dwg", "3", "R-7", "release", "publish"]
            assert result(made.run({"file": "b"}, order=None)) == ["b", None, None, None, None]

    @pytest.mark.parametrize("kind", PYTHON_KINDS)
    def test_a_plain_job_has_no_order(self, kind: str) -> None:
        with bench(declare(kind, lambda ctx: ctx.order)) as made:
            assert result(made.run({}, order=None)) is None

    def test_o5_a_handler_is_given_what_it_takes(self) -> None:
        """O5: an order gathers params that not every step knows; what one needs and nobody has given fails it."""

        def work(ctx: Context, file: str, scale: int = 1) -> list[Any]:
            return [file, scale, sorted(ctx.job.params)]

        with bench(declare("thread", work, retry=Retry())) as made:
            assert result(made.run({"file": "a", "more": 1}, {"check": {"sheets": 3}}, before="check")) == [
                "a",
                1,
                ["file", "more", "sheets"],
            ]
            report = made.run({"more": 1})
            assert (report.outcome, report.error) == (
                "failed",
                ("BadParams", "the handler of a needs file, which the params do not have."),
            )
            report = made.run({"file": "a", "more": 1}, order=None)
            assert report.error == ("BadParams", "the handler of a does not take more, which the params have.")

    @pytest.mark.parametrize("kind", ["thread", "process"])
    def test_o13_what_an_order_has_lost_fails_its_step(self, kind: str) -> None:
        """O13: never run with params that are not there; and not again, which would end the same."""
        with bench(declare(kind, lambda _ctx, **params: params, retry=Retry())) as made:
            for flat, what in (
                (flat_of(**STEP), "params"),
                ([*flat_of(**STEP), b"params", b""], "params"),
                ([*flat_of(params={}, **STEP), b"element", b"1", b"item.value", b""], "element"),
            ):
                work = made.crew._make(Taken(f"{1:016}", "w1:1", 1, flat))
                assert not isinstance(work, Task)
                report = work()
                assert report.outcome == "failed"
                assert report.error == (
                    "PayloadError",
                    f"the {what} of its order cannot be found: removed or edited by hand, or lost by the server.",
                )


class TestGoto:
    """O15: a handler chooses the next step."""

    @pytest.mark.parametrize("kind", PYTHON_KINDS)
    @pytest.mark.parametrize("raised", [False, True], ids=["returned", "raised"])
    def test_o15_by_name_or_code(self, kind: str, raised: bool) -> None:
        def work(ctx: Context, step: Any, output: Any = None) -> Any:
            ctx.enqueue("b")
            goto = Goto(step, output)
            if raised:
                raise goto
            return goto

        with bench(declare(kind, work)) as made:
            for step, output, name in (("repair", {"x": 1}, "repair"), (2, None, "repair"), (4, [], "check")):
                report = made.run({"step": step, "output": output}, codes=CODES)
                assert result(report) == output
                assert report.fields == ["goto", name]
                assert len(report.jobs) == 1, "it has ended well: what it has enqueued comes"

    @pytest.mark.parametrize("kind", PYTHON_KINDS)
    def test_o15_a_code_that_is_not_mapped_fails(self, kind: str) -> None:
        with bench(declare(kind, lambda _ctx: Goto(6), retry=Retry())) as made:
            report = made.run(codes=CODES)
            assert report.outcome == "failed"
            assert report.error == (
                "InvalidInput",
                "Goto(6): step publish maps 2:repair,3-5:check. Map the code in its chain, or name the step.",
            )
            assert made.run().error == (
                "InvalidInput",
                "Goto(6): step publish has no codes. Map the code in its chain, or name the step.",
            )

    @pytest.mark.parametrize("kind", PYTHON_KINDS)
    def test_o15_nobody_else_can_choose(self, kind: str) -> None:
        """O15: a plain job belongs to no chain, and many elements could not agree."""
        with bench(declare(kind, lambda _ctx, **_: Goto("repair", 1), retry=Retry())) as made:
            report = made.run(order=None)
            assert (report.outcome, report.result, report.fields[:2]) == ("failed", b"", ["error_type", "InvalidInput"])
            assert report.error == (
                "InvalidInput",
                "Goto('repair'): this job is no step of an order. Return its output instead.",
            )
            report = made.run(element=0, value=1)
            assert report.outcome == "failed"
            assert report.error
            assert report.error[1].startswith("Goto('repair'): the run for one element of a list cannot choose")

    def test_o15_its_output_must_be_data(self) -> None:
        with bench(declare("thread", lambda _ctx: Goto("repair", object()))) as made:
            report = made.run()
        assert report.outcome == "failed"
        assert report.error
        assert report.error[1].startswith("result: a builtins.object cannot be stored.")

    @pytest.mark.parametrize("step", ["", "no name", "a/b", None, 1.5, True, -1, 256])
    def test_o15_what_is_no_step(self, step: Any) -> None:
        with pytest.raises(InvalidInput, match=r"^step: "):
            Goto(step)

    @pytest.mark.parametrize(
        ("code", "goto", "value"),
        [
            ("import sys; print('seatline:result 5'); sys.exit(2)", "repair", 5),
            ("import sys; sys.exit(3)", "check", None),
            ("import sys; print('seatline:skip nothing to do'); sys.exit(5)", "check", None),
            ("print('seatline:result 5')", None, 5),
        ],
        ids=["with a result", "one that the handler skips", "over a word", "unmapped"],
    )
    def test_o15_exit_codes_of_a_command(self, code: str, goto: str | None, value: object) -> None:
        """O15: a mapped code is a success, whatever the handler says of it."""
        with bench(declare("shell", code, skip_codes=[3])) as made:
            report = made.run(codes=CODES)
        assert result(report) == value
        assert field(report, "goto") == goto

    def test_o15_exit_code_0_may_be_mapped(self) -> None:
        with bench(declare("shell", "pass")) as made:
            assert made.run(codes="0:check").fields == ["goto", "check"]

    def test_o15_exit_codes_that_go_nowhere(self) -> None:
        with bench(declare("shell", "import sys; sys.exit(2)")) as made:
            ways: list[dict[str, Any]] = [{"codes": "3:repair"}, {}, {"codes": CODES, "order": None}]
            for fields in ways:
                report = made.run(**fields)
                assert report.outcome == "failed"
                assert report.error
                assert report.error[0] == "ExitCode"
        with bench(declare("shell", "print('seatline:result {'); exit(2)")) as made:
            report = made.run(codes=CODES)
            assert report.error
            assert report.error[1].startswith("seatline:result not understood")

    def test_o15_a_command_that_is_killed_goes_nowhere(self) -> None:
        with bench(declare("shell", "import os; os.kill(os.getpid(), 9)")) as made:
            report = made.run(codes="0-255:repair")
        assert report.outcome == "failed"
        assert report.error
        assert report.error[0] == "ExitCode"


class TestOwnRules:
    """O4: what a step says of its runs goes over what was declared with the handler."""

    RULE: Final = "attempts:2,first:7,factor:2,most:60,jitter:0"

    @pytest.mark.parametrize("kind", KINDS)
    def test_o4_retry(self, kind: str) -> None:
        def work(ctx: Context) -> None:
            raise ValueError("on purpose")

        code = "exit('on purpose')"
        with bench(
            declare(kind, code if kind == "shell" else work, retry=Retry(attempts=9, first=1, jitter=0))
        ) as made:
            report = made.run()
            assert (report.outcome, report.result_ms) == ("retry", 1000)
            report = made.run(retry=self.RULE)
            assert (report.outcome, report.result_ms) == ("retry", 7000)
            assert made.run(retry=self.RULE, attempt=2).outcome == "failed"
            assert made.run(retry=self.RULE, attempt=2, order=None).outcome == "retry", "no step: the handler's"
            assert made.run(attempt=2).outcome == "retry"

    def test_o4_retry_of_a_handler_that_has_none(self) -> None:
        with bench(declare("process", lambda _ctx: 1 / 0)) as made:
            assert made.run().outcome == "failed"
            assert made.run(retry=self.RULE).outcome == "retry"

    @pytest.mark.parametrize("kind", ["thread", "process"])
    @pytest.mark.parametrize("declared", [None, 60.0])
    def test_o4_timeout(self, kind: str, declared: float | None) -> None:
        def work(ctx: Context) -> None:
            ctx.sleep(30)

        with bench(declare(kind, work, timeout=declared)) as made:
            report = made.run(timeout=150)
            assert report.outcome == "failed"
            assert report.error == ("Timeout", "it ran longer than its timeout of 0.15 s")
            assert made.run(timeout=150, retry=self.RULE).outcome == "retry"

    def test_o4_a_longer_timeout(self) -> None:
        """O4: the step's own may also be the longer one."""
        with bench(declare("thread", lambda ctx: ctx.sleep(0.3), timeout=0.1)) as made:
            assert made.run().outcome == "failed"
            assert made.run(timeout=30_000).outcome == "succeeded"

    def test_o4_a_command_past_its_timeout(self) -> None:
        with bench(declare("shell", "import time; time.sleep(30)")) as made:
            report = made.run(timeout=200)
        assert report.error == ("Timeout", "it ran longer than its timeout of 0.2 s")

    @pytest.mark.parametrize("words", [{"retry": "often"}, {"timeout": "soon"}, {"timeout": "0"}])
    def test_o13_what_cannot_be_read_fails_its_own_step(self, words: dict[str, Any]) -> None:
        with bench(declare("thread", lambda _ctx: 1)) as made:
            report = made.run(**words)
            assert report.outcome == "failed"
            assert report.error
            assert report.error[0] == "BrokenRecord"
            assert result(made.run()) == 1

    def test_o4_handlers_made_for_steps_are_few(self) -> None:
        handler = declare("thread", lambda _ctx: 1)["a"]
        steps = StepHandlers()
        assert steps.of(handler, {}) is handler
        first = steps.of(handler, {b"timeout": b"1"})
        assert first is steps.of(handler, {b"timeout": b"1"})
        assert first.timeout == 0.001
        for ms in range(1, 3 * MADE_MOST):
            steps.of(handler, {b"timeout": b"%d" % ms})
            assert len(steps._made) <= MADE_MOST


def test_o5_a_skip_stays_a_skip() -> None:
    def work(ctx: Context) -> None:
        raise Skip("nothing to do")

    with bench(declare("thread", work)) as made:
        assert made.run().outcome == "skipped"


def test_what_is_printed_of_it() -> None:
    flat = flat_of(params={}, outputs={"check": 1}, **STEP, element=3, value=1)
    with bench(declare("thread", lambda ctx: [repr(ctx.order), repr(ctx.order.outputs)])) as made:
        work = made.crew._make(Taken(f"{1:016}", "w1:1", 1, flat))
        assert not isinstance(work, Task)
        assert result(work())[0] == "<Order R-7 of chain release, step publish[3]>"
        assert json.loads(json.dumps(result(made.run({}, {"check": 1}, before="check"))[1])) == "<outputs of check>"
