"""O4, O14, O15: chains as they are defined, checked, stored and read; pure functions, compared with a naive computation."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatline.shared.chain import Chain, Step
from seatline.shared.chain_file import chain_from_toml
from seatline.shared.errors import InvalidInput, PayloadError
from seatline.shared.plan import Plan, PlanStep, chain_words
from seatline.shared.retry import Retry, retry_read, retry_text

EXAMPLE = Path(__file__).parents[2] / "examples" / "release.toml"

RELEASE = Chain(
    "release",
    [
        Step("check", "drawing.check"),
        Step("publish", "drawing.publish", on_error="repair", timeout=600, uses={"vault": 1}),
        Step("repair", "drawing.repair", aside=True, then="check"),
    ],
    title="Release",
    max_orders=4,
)


def stored(chain: Chain) -> dict[str, str]:
    words, digest = chain_words(chain)
    assert re.fullmatch(r"[0-9a-f]{16}", digest)
    return dict(zip(words[::2], words[1::2], strict=True))


def plan(*steps: Step) -> Plan:
    return Plan.read(stored(Chain("c", steps)))


def refused(chain: Chain) -> str:
    with pytest.raises(InvalidInput) as caught:
        chain_words(chain)
    return str(caught.value)


class TestStored:
    """O4, O14: the words of the plan."""

    def test_o14_the_text_of_a_linear_chain(self) -> None:
        assert stored(RELEASE) == {
            "steps": "check publish repair",
            "first": "check",
            "title": "Release",
            "step.check": "type=drawing.check next=publish",
            "step.publish": "type=drawing.publish after=check on_error=repair uses=vault=1 timeout=600000",
            "step.repair": "type=drawing.repair aside=1 then=check",
        }

    def test_o14_the_text_where_steps_run_side_by_side(self) -> None:
        """O14: also what each is handed (O5), which is none for those that begin at once."""
        words = stored(
            Chain(
                "c",
                [Step("a", "t"), Step("b", "t"), Step("join", "t", after=("b", "a")), Step("end", "t", after="join")],
            )
        )
        assert words["first"] == "a b"
        assert words["step.a"] == "type=t next=join before="
        assert words["step.join"] == "type=t next=end after=a,b before=a,b"
        assert words["step.end"] == "type=t after=join before=a,b,join"

    def test_o4_o14_o15_the_text_of_everything(self) -> None:
        words = stored(
            Chain(
                "c",
                [
                    Step(
                        "scan",
                        "t",
                        priority=5,
                        uses={"vault": 1, "gpu": 2},
                        timeout=0.5,
                        retry=Retry(),
                        if_lost="interrupt",
                        each="files",
                        item="file",
                        partial="join",
                        on_error="setback",
                        setback=[60, 300.25],
                        setbacks=5,
                    ),
                    Step("check", "t", codes={"3-5": "scan", 2: "fix", "7": "check"}, uses={}, on_error="suspend"),
                    Step("fix", "t", aside=True),
                ],
            )
        )
        assert words["step.scan"] == (
            "type=t next=check on_error=setback setback=60000,300250 setbacks=5 each=files item=file partial=join priority=5 "
            "uses=gpu=2,vault=1 timeout=500 retry=attempts:3,first:10,factor:2,most:3600,jitter:0.1 if_lost=interrupt"
        )
        assert words["step.check"] == "type=t after=scan on_error=suspend codes=2:fix,3-5:scan,7:check uses=none"
        assert words["step.fix"] == "type=t aside=1"

    def test_o14_steps_that_are_named_may_still_stand_one_behind_the_other(self) -> None:
        """O14: a linear chain, in whatever order it was written, hands on all that has ended."""
        found = plan(Step("b", "t", after="a"), Step("a", "t"), Step("c", "t", after=["b"]))
        assert found.first == ("a",)
        assert [step.next for step in found.steps] == [("c",), ("b",), ()]
        assert all(step.before is None for step in found.steps)

    def test_o14_a_step_aside_does_not_interrupt_a_linear_chain(self) -> None:
        found = plan(Step("fix", "t", aside=True), Step("a", "t"), Step("tidy", "t", aside=True), Step("b", "t"))
        assert found.first == ("a",)
        assert (found["a"].next, found["b"].after) == (("b",), ("a",))

    def test_o14_what_comes_from_aside_is_handed_on(self) -> None:
        """O5, O14: what leads to a step by ``then`` lies before it, also by way of another step aside."""
        found = plan(
            Step("a", "t", on_error="look"),
            Step("b", "t"),
            Step("end", "t", after=["a", "b"]),
            Step("fix", "t", aside=True, then="a"),
            Step("look", "t", aside=True, then="fix"),
        )
        assert found["a"].before == ("look", "fix")
        assert found["b"].before == ()
        assert found["end"].before == ("b", "look", "fix", "a")
        assert found["fix"].before is None

    def test_the_same_definition_has_the_same_digest(self) -> None:
        """O13: a version is new only if the definition is."""
        one = Chain("c", (Step("a", "t"), Step("b", "t"), Step("z", "t", after=["a", "b"], codes={2: "a", "3-4": "b"})))
        two = Chain(
            "c", [Step("a", "t"), Step("b", "t"), Step("z", "t", after=("b", "a"), codes={"3-4": "b", "2": "a"})]
        )
        assert chain_words(one) == chain_words(two)
        assert chain_words(one)[1] == chain_words(replace(one, max_orders=1))[1]
        assert chain_words(one)[1] != chain_words(replace(one, title="C"))[1]
        assert chain_words(one)[1] != chain_words(replace(one, steps=one.steps[:2]))[1]


class TestRead:
    """O13: what is stored is read again, or it is said why not."""

    def test_every_value_comes_back(self) -> None:
        step = Step(
            "a",
            "x.y",
            on_error="setback",
            setback=(1.5, 60),
            each="files",
            partial="join",
            priority=3,
            uses={"vault": 2},
            timeout=12.25,
            retry=Retry(attempts=7, first=0.5, jitter=0),
            if_lost="interrupt",
        )
        found = plan(step, Step("b", "t", codes={9: "fix", "1-3": "a"}), Step("fix", "t", aside=True, then="b"))
        assert found["a"] == PlanStep(
            "a",
            "x.y",
            next=("b",),
            on_error="setback",
            setback=(1.5, 60.0),
            setbacks=2,
            each="files",
            item="item",
            partial="join",
            priority=3,
            uses={"vault": 2},
            timeout=12.25,
            retry=Retry(attempts=7, first=0.5, jitter=0),
            if_lost="interrupt",
        )
        assert found["b"] == PlanStep("b", "t", after=("a",), codes={"1-3": "a", "9": "fix"})
        assert found["fix"] == PlanStep("fix", "t", aside=True, then="b")

    def test_the_rest_of_the_hash(self) -> None:
        found = Plan.read({**stored(RELEASE), "digest": "d", "made": "1785312030000", "by": "anna@host", "orders": "3"})
        assert (found.title, found.digest, found.made_ms, found.by, found.orders) == (
            "Release",
            "d",
            1785312030000,
            "anna@host",
            3,
        )
        assert "publish" in found
        assert "tidy" not in found
        with pytest.raises(KeyError):
            found["tidy"]

    @pytest.mark.parametrize(
        ("field", "value", "told"),
        [
            ("steps", "", "plan: its steps are missing"),
            ("steps", "check tidy", "plan: step tidy is missing"),
            ("step.check", "next=publish", "step check: 'next=publish' cannot be read"),
            ("step.check", "type=t timeout=soon", "step check: "),
            ("step.check", "type=t codes=2", "step check: "),
            ("step.check", "type=t uses=vault", "step check: "),
            ("step.check", "type=t retry=often", "retry: 'often' is no rule of Seatline's"),
            ("orders", "many", "plan: made, orders: "),
        ],
    )
    def test_what_is_not_ours_is_said(self, field: str, value: str, told: str) -> None:
        with pytest.raises(PayloadError, match=re.escape(told)):
            Plan.read({**stored(RELEASE), field: value})


A, B = Step("a", "t"), Step("b", "t")


def one(**given: Any) -> list[Step]:
    """Return two steps, of which the second is given something."""
    return [A, Step("b", "t", **given)]


BAD_STEPS: list[tuple[Any, str]] = [
    # the list
    ([], "chain c: steps: 0 of them"),
    (None, "chain c: steps: None is not a list"),
    ("ab", "chain c: steps: 'ab' is not a list"),
    ([Step(f"s{n}", "t") for n in range(101)], "chain c: steps: 101 of them; a chain has 1 to 100"),
    ([A, "b"], "chain c, step 2: 'b' is not a Step"),
    # names
    ([A, Step("a", "u")], "chain c, step 2: name: there is a step a before it"),
    ([A, Step("b c", "t")], "chain c, step 2: name: 'b c' is not a name"),
    *(
        ([Step(word, "t")], f"chain c, step 1: name: '{word}' is a word")
        for word in ("fail", "suspend", "setback", "finish")
    ),
    ([A, Step("b", "no type")], "chain c, step b: type: 'no type' is not a name"),
    # who follows whom
    (one(after="x"), "chain c, step b: after: 'x' is no step of this chain; its steps are a, b."),
    (one(after=""), "chain c, step b: after: '' is no step"),
    (one(after=["a", "a"]), "chain c, step b: after: a, a: one is named twice"),
    (one(after=[1]), "chain c, step b: after: 1 is no step"),
    (one(after=7), "chain c, step b: after: 7 is not the name of a step"),
    (one(after="b"), "chain c, step b: after: b -> b: each waits"),
    ([Step("a", "t", after="b"), Step("b", "t", after="a")], "chain c, step a: after: a -> b -> a: each waits"),
    (
        [
            A,
            Step("b", "t", after=["a", "d"]),
            Step("c", "t", after="b"),
            Step("d", "t", after="c"),
            Step("e", "t", after="d"),
        ],
        "chain c, step b: after: b -> c -> d -> b: each waits",
    ),
    ([A, Step("x", "t", aside=True), Step("b", "t", after="x")], "chain c, step b: after: x is aside"),
    (one(after="a", aside=True), "chain c, step b: after: a step aside follows none"),
    ([Step("a", "t", aside=True), Step("b", "t", aside=True)], "chain c: steps: all are aside"),
    (one(aside="yes"), "chain c, step b: aside: 'yes' is neither"),
    (one(then="a"), "chain c, step b: then: only a step aside"),
    (one(aside=True, then="x"), "chain c, step b: then: 'x' is no step"),
    (one(aside=True, then="b"), "chain c, step b: then: b -> b: an order would never end"),
    (
        [A, Step("x", "t", aside=True, then="y"), Step("y", "t", aside=True, then="x")],
        "chain c, step x: then: x -> y -> x: an order would never end",
    ),
    # errors, codes
    (one(on_error="x"), "chain c, step b: on_error: 'x' is no step of this chain; its steps are a, b. To end or"),
    (one(on_error="b"), "chain c, step b: on_error: it names itself"),
    (one(on_error=None), "chain c, step b: on_error: None is no step"),
    (one(on_error="finish"), "chain c, step b: on_error: 'finish' is no step"),
    (one(codes={2: "x"}), "chain c, step b: codes: 'x' is no step"),
    (one(codes={2: "a", "1-3": "a"}), "chain c, step b: codes: 1-3 and 2 overlap"),
    (one(codes={2: "a", "2": "a"}), "chain c, step b: codes: 2 and 2 overlap"),
    (one(codes={"5-3": "a"}), "chain c, step b: codes: '5-3' is not a whole number from 0 to 255"),
    (one(codes={256: "a"}), "chain c, step b: codes: 256 is not a whole number"),
    (one(codes={-1: "a"}), "chain c, step b: codes: -1 is not a whole number"),
    (one(codes={True: "a"}), "chain c, step b: codes: True is not a whole number"),
    (one(codes={2.0: "a"}), "chain c, step b: codes: 2.0 is not a whole number"),
    (one(codes=["a"]), "chain c, step b: codes: ['a'] is not a mapping"),
    (one(codes={2: "a"}, each="files"), "chain c, step b: codes: not together with each"),
    # setback
    (one(on_error="setback"), "chain c, step b: setback: on_error='setback' needs the delays"),
    (one(setback=[60]), "chain c, step b: setback: it goes with on_error='setback' only; here on_error is 'fail'"),
    (one(setbacks=3), "chain c, step b: setbacks: it goes with"),
    (one(on_error="setback", setback=60), "chain c, step b: setback: 60 is not a list of 1 to 50"),
    (one(on_error="setback", setback=[60] * 51), "chain c, step b: setback: [60, 60"),
    (one(on_error="setback", setback=[60, 0]), "chain c, step b: setback: 0 is not a number of seconds above 0"),
    (one(on_error="setback", setback=[2592001]), "chain c, step b: setback: 2592001 is not"),
    (one(on_error="setback", setback=[60], setbacks=0), "chain c, step b: setbacks: 0 is not a whole number from 1"),
    (one(on_error="setback", setback=[60], setbacks=1001), "chain c, step b: setbacks: 1001 is not"),
    (one(on_error="setback", setback=[60], setbacks=True), "chain c, step b: setbacks: True is not"),
    # each
    (one(each="no param"), "chain c, step b: each: 'no param' is not the name of a param"),
    (one(each="a=b"), "chain c, step b: each: 'a=b' is not"),
    (one(each="files", item=""), "chain c, step b: item: '' is not the name of a param"),
    (one(each="files", partial="skip"), "chain c, step b: partial: 'skip' is neither"),
    (one(item="file"), "chain c, step b: item: it goes with each"),
    (one(partial="join"), "chain c, step b: partial: it goes with each"),
    # values
    (one(priority=0), "chain c, step b: priority: 0 is not allowed"),
    (one(uses={"vault": 0}), "chain c, step b: uses: vault=0 is not"),
    (one(uses="vault"), "chain c, step b: uses: 'vault' is not a mapping"),
    (one(timeout=0), "chain c, step b: timeout: 0 is not a number of seconds above 0, at most 30 days"),
    (one(timeout=float("nan")), "chain c, step b: timeout: nan is not"),
    (one(timeout="1m"), "chain c, step b: timeout: '1m' is not"),
    (one(retry=3), "chain c, step b: retry: 3 is not a Retry"),
    (one(retry=Retry(only=OSError)), "chain c, step b: retry only: a stored rule cannot name exceptions"),
    (one(retry=Retry(never=(OSError,))), "chain c, step b: retry never: a stored rule"),
    (one(if_lost="wait"), "chain c, step b: if_lost: 'wait' is neither"),
]


class TestRefused:
    """O4, O14, O15: a bad definition is refused, with the place named."""

    @pytest.mark.parametrize(("steps", "told"), BAD_STEPS, ids=[told for _, told in BAD_STEPS])
    def test_o4_o14_o15_a_bad_step(self, steps: Any, told: str) -> None:
        assert refused(Chain("c", steps)).startswith(told)

    @pytest.mark.parametrize(
        ("chain", "told"),
        [
            (Chain("no name", [A]), "chain: 'no name' is not a name"),
            (Chain("c", [A], title="two\nlines"), "chain c: title: 'two\\nlines' is not one line"),
            (Chain("c", [A], title=""), "chain c: title: '' is not one line"),
            (Chain("c", [A], max_orders=0), "chain c: max_orders: 0 is not a whole number from 1 to 1,000,000"),
            (Chain("c", [A], max_orders=True), "chain c: max_orders: True is not"),
            ("release", "chain: 'release' is not a Chain"),
        ],
        ids=["name", "title", "no-title", "no-orders", "bool", "type"],
    )
    def test_r4_a_bad_chain(self, chain: Any, told: str) -> None:
        assert refused(chain).startswith(told)

    def test_a_hundred_steps_may_stand_one_behind_the_other(self) -> None:
        found = plan(*(Step(f"s{n}", "t", after=[f"s{n + 1}"] if n < 99 else ()) for n in range(100)))
        assert found.first == ("s99",)
        assert found["s98"].next == ("s97",)


# -- the independent computation: follow every way backwards, one step at a time


def all_before(name: str, after: dict[str, list[str]]) -> Iterator[str]:
    for other in after[name]:
        yield other
        yield from all_before(other, after)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Make step -> what it comes after, without a circle, written down in any order."""
    names = [f"s{n}" for n in range(draw(st.integers(1, 8)))]
    after = {name: draw(st.lists(st.sampled_from(names[:n]), unique=True)) if n else [] for n, name in enumerate(names)}
    return {name: after[name] for name in draw(st.permutations(names))}


@settings(max_examples=300, deadline=None)
@given(after=graphs())
def test_o14_who_follows_whom_and_what_is_handed_on(after: dict[str, list[str]]) -> None:
    """O14: next, after, first and before are those that a walk along every way finds."""
    if not any(after.values()):
        after = {name: [] for name in list(after)[:1]}  # a chain that names nothing is linear: another test
    found = plan(*(Step(name, "t", after=names) for name, names in after.items()))
    linear = len(found.first) == 1 and all(len(step.next) <= 1 for step in found.steps)
    assert set(found.first) == {name for name, names in after.items() if not names}
    for step in found.steps:
        assert set(step.after) == set(after[step.name])
        assert set(step.next) == {name for name, names in after.items() if step.name in names}
        if linear:
            assert step.before is None
            continue
        assert step.before is not None
        assert len(set(step.before)) == len(step.before)
        assert set(step.before) == set(all_before(step.name, after))
        for place, name in enumerate(step.before):
            assert set(after[name]) <= set(step.before[:place])


@settings(max_examples=200, deadline=None)
@given(after=graphs(), data=st.data())
def test_o14_every_circle_is_found_and_shown(after: dict[str, list[str]], data: st.DataObject) -> None:
    """O14: one more arrow, from a step to one that lies before it (or to itself), and the way round is told."""
    late = data.draw(st.sampled_from(sorted(after)))
    early = data.draw(st.sampled_from([late, *dict.fromkeys(all_before(late, after))]))
    after[early] = [*after[early], late]
    told = refused(Chain("c", [Step(name, "t", after=names) for name, names in after.items()]))
    found = re.fullmatch(r"chain c, step (\w+): after: ([\w >-]+): each waits for another, so none can begin\.", told)
    assert found, told
    path = found[2].split(" -> ")
    assert path[0] == path[-1] == found[1]
    assert len(path) > 1
    for before, behind in itertools.pairwise(path):
        assert before in after[behind]


@given(
    names=st.lists(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True), min_size=1, max_size=9, unique=True
    )
)
def test_o14_a_linear_chain(names: list[str]) -> None:
    """O14: nothing is named, so each step follows the one before it."""
    names = [f"s.{name}" for name in names]
    found = plan(*(Step(name, "t") for name in names))
    assert found.first == (names[0],)
    assert [step.name for step in found.steps] == names
    assert [step.after for step in found.steps] == [(), *((name,) for name in names[:-1])]
    assert [step.next for step in found.steps] == [*((name,) for name in names[1:]), ()]


@given(
    codes=st.lists(st.integers(0, 255), unique=True, max_size=12).map(sorted),
    ranges=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_o15_codes_come_back(codes: list[int], ranges: list[bool]) -> None:
    """O15: codes and ranges that do not overlap are stored in their order, each with its step."""
    given_codes: dict[int | str, str] = {}
    rest = list(codes)
    for is_range in ranges:
        if len(rest) > 1 and is_range:
            given_codes[f"{rest.pop(0)}-{rest.pop(0)}"] = "b"
        elif rest:
            given_codes[rest.pop(0)] = "a"
    found = plan(Step("a", "t", codes=dict(reversed(given_codes.items()))), B)
    assert list(found["a"].codes.items()) == [(str(code), target) for code, target in given_codes.items()]


class TestRetryText:
    """O4: a step's own retry rule is stored as text."""

    @pytest.mark.parametrize(
        ("rule", "text"),
        [
            (Retry(), "attempts:3,first:10,factor:2,most:3600,jitter:0.1"),
            (
                Retry(attempts=1, first=0, factor=1.5, most=0.25, jitter=1),
                "attempts:1,first:0,factor:1.5,most:0.25,jitter:1",
            ),
        ],
    )
    def test_o4_its_words(self, rule: Retry, text: str) -> None:
        assert retry_text(rule) == text
        assert retry_read(text) == rule

    @given(
        rule=st.builds(
            Retry,
            attempts=st.integers(1, 1000),
            first=st.floats(0, 2592000),
            factor=st.floats(1, 100),
            most=st.floats(0, 2592000),
            jitter=st.floats(0, 1),
        )
    )
    def test_o4_what_is_written_is_read(self, rule: Retry) -> None:
        assert retry_read(retry_text(rule)) == rule
        assert not re.search(r"[\s=]", retry_text(rule))

    @pytest.mark.parametrize("text", ["", "often", "attempts:x", "attempts:3,only:OSError", "attempts:0", "first:1:2"])
    def test_what_is_not_ours_is_said(self, text: str) -> None:
        with pytest.raises(PayloadError, match="is no rule of Seatline's"):
            retry_read(text)


FILE = """\
name = "release"
title = "Release"
max_orders = 4

[[steps]]
name = "check"
type = "drawing.check"
retry = { attempts = 5, first = 0.5 }
codes = { 2 = "repair", "3-5" = "check" }

[[steps]]
name = "publish"
type = "drawing.publish"
timeout = 600
uses = { vault = 1 }
on_error = "setback"
setback = [60, 300]

[[steps]]
name = "repair"
type = "drawing.repair"
aside = true
then = "check"
"""


class TestFile:
    """O4, O14, O15: a chain as a file."""

    def test_o4_o15_it_is_the_same_chain(self) -> None:
        chain = Chain(
            "release",
            [
                Step(
                    "check", "drawing.check", retry=Retry(attempts=5, first=0.5), codes={"2": "repair", "3-5": "check"}
                ),
                Step(
                    "publish", "drawing.publish", timeout=600, uses={"vault": 1}, on_error="setback", setback=[60, 300]
                ),
                Step("repair", "drawing.repair", aside=True, then="check"),
            ],
            title="Release",
            max_orders=4,
        )
        assert chain_from_toml(FILE) == chain
        assert chain_from_toml(FILE, "other") == replace(chain, name="other")
        assert chain_from_toml(FILE.partition("\n")[2], "release") == chain

    def test_o14_the_example(self) -> None:
        """O14: examples/release.toml is a chain with two branches and a join."""
        chain = chain_from_toml(EXAMPLE.read_text("utf-8"))
        found = Plan.read(stored(chain))
        assert (chain.name, chain.max_orders) == ("release", 4)
        assert found.first == ("check",)
        assert found["check"].next == ("publish", "render")
        assert found["announce"].after == ("publish", "render")
        assert found["render"].setback == (60.0, 300.0, 3600.0)
        assert found["repair"].then == "check"

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ('name = "release"', "name =", "chain: this is no TOML: Invalid value (at line 1, column 7)"),
            ('name = "release"\n', "", 'chain: name: it is missing. Begin the file with name = "..."'),
            ('name = "release"', "name = 7", "chain: 7 is not a name"),
            (
                "title =",
                "titel =",
                "chain release: titel: it is not known here; known are name, steps, title, max_orders",
            ),
            ("title =", "steps =", "chain: this is no TOML"),
            (
                "timeout =",
                "timout =",
                "chain release, step publish: timout: it is not known here; known are name, type, a",
            ),
            (
                "attempts =",
                "only =",
                "chain release, step check: retry only: it is not known here; known are attempts, f",
            ),
            ("attempts = 5", "attempts = 0", "chain release, step check: retry attempts: 0 is not"),
            ("retry = {", "retry = 5 #", "chain release, step check: retry: 5 is not a table"),
            ('type = "drawing.publish"\n', "", "chain release, step publish: type: it is missing"),
            ('name = "publish"\n', "", "chain release, step 2: name: it is missing"),
            ('name = "publish"', 'name = "a b"', "chain release, step 2: name: 'a b' is not a name"),
            ('then = "check"', 'then = "chek"', "chain release, step repair: then: 'chek' is no step"),
            (
                "timeout = 600",
                'timeout = "10m"',
                "chain release, step publish: timeout: '10m' is not a number of seconds",
            ),
            ("max_orders = 4", "max_orders = 0", "chain release: max_orders: 0 is not"),
            (FILE[FILE.index("[[steps]]") :], "steps = 3", "chain release: steps: 3 is not a list of tables"),
            (FILE[FILE.index("[[steps]]") :], "", "chain release: steps: 0 of them"),
        ],
    )
    def test_o14_a_bad_file(self, old: str, new: str, told: str) -> None:
        """O14: a word that is misspelt is not passed over, and the place is told."""
        assert old in FILE
        with pytest.raises(InvalidInput) as caught:
            chain_from_toml(FILE.replace(old, new, 1))
        assert str(caught.value).startswith(told)
