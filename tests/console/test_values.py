"""Words that people type, as values; and values as words that people read."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import click
import pytest

from seatline.console.output import clean, plain_data, span
from seatline.console.values import duration, moment, params_of, uses_of


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1", 1),
        ("a=-1.5", -1.5),
        ("a=true", True),
        ("a=null", None),
        ("a=", ""),
        ("a=007", "007"),
        ("a=1e999", "1e999"),
        ("a=NaN", "NaN"),
        ("a=[1]", "[1]"),
        ('a="x"', '"x"'),
        ("a=b=c", "b=c"),
        ("a=:=", ":="),
        ("a=two words", "two words"),
        ("a:=[1, 2]", [1, 2]),
        ('a:="1"', "1"),
        ('a:={"b": null}', {"b": None}),
        ("a=é", "é"),
    ],
)
def test_params(word: str, value: Any) -> None:
    found = params_of(None, [word])["a"]
    assert (found, type(found)) == (value, type(value))


def test_words_win_over_the_object() -> None:
    assert params_of('{"a": 1, "b": 2}', ["b=3"]) == {"a": 1, "b": 3}


@pytest.mark.parametrize("text", ["[1]", "3", "{", "{'a': 1}", "[" * 100_000])
def test_params_that_are_no_object(text: str) -> None:
    with pytest.raises(click.BadParameter):
        params_of(text, [])


@pytest.mark.parametrize("word", ["=1", ":=1", "a", ""])
def test_words_that_are_none(word: str) -> None:
    with pytest.raises(click.UsageError):
        params_of(None, [word])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("90", 90),
        ("0.5", 0.5),
        ("250ms", 0.25),
        ("1 h", 3600),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "5s!", "1h-30m", "\u0663s", "inf", "nan"])
def test_no_durations(text: str) -> None:
    with pytest.raises(click.BadParameter, match="use 30s"):
        duration(text)


def test_a_moment_without_a_zone_is_local() -> None:
    assert moment("2030-01-31T18:00+01:00") == dt.datetime(2030, 1, 31, 17, tzinfo=dt.UTC)
    assert moment("2030-01-31T18:00") == dt.datetime(2030, 1, 31, 18).astimezone()


@pytest.mark.parametrize(
    ("words", "uses"),
    [
        ((), None),
        (("none",), {}),
        (("vault",), {"vault": 1}),
        (("a=1,b=2",), {"a": 1, "b": 2}),
        (("a=1", "b=2"), {"a": 1, "b": 2}),
    ],
)
def test_uses(words: tuple[str, ...], uses: dict[str, int] | None) -> None:
    assert uses_of(words) == uses


@pytest.mark.parametrize("word", ["=1", "a=x", "a=-1", "a=1.5"])
def test_no_uses(word: str) -> None:
    with pytest.raises(click.BadParameter):
        uses_of([word])


def test_what_json_cannot_hold_becomes_text() -> None:
    value = {
        "a": dt.datetime(2030, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        "b": {3, 1},
        "c": (1, Decimal("1.10")),
        "d": b"\xff",
        "e": float("nan"),
        "f": PurePosixPath("/x"),
        "g": dt.timedelta(seconds=90),
        "h": dt.date(2030, 1, 1),
    }
    assert json.loads(json.dumps(plain_data(value), allow_nan=False)) == {
        "a": "2029-12-31T23:00:00.000Z",
        "b": [1, 3],
        "c": [1, "1.10"],
        "d": "/w==",
        "e": "nan",
        "f": "/x",
        "g": 90.0,
        "h": "2030-01-01",
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é", "plain é"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb", "a\\nb"),
        ("\u202eabc", "\\u202eabc"),
        ("a\u00a0b", "a b"),
    ],
)
def test_nothing_stored_steers_the_terminal(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0s"), (0.44, "0.4s"), (12.9, "12s"), (61, "1m 1s"), (3600, "1h"), (3661, "1h 1m"), (200_000, "2d 7h")],
)
def test_spans(seconds: float, shown: str) -> None:
    assert span(seconds) == shown
