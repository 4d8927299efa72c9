"""Faults that the model has found in the scripts, each as the shortest story that shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from harness.server import RealServer
from model.real import START, Real

from scripts.test_parity import offer, renew, report, submit, turn
from seatline.shared.calls import pools
from seatline.shared.job import Job


@pytest.fixture
def real(server: RealServer) -> Iterator[Real]:
    with contextlib.closing(server.client()) as client:
        real = Real(client, "regress")
        real.found(0)
        yield real
        client.flushall()


def test_a_worker_that_was_away_leaves_no_presence_for_ever(real: Real) -> None:
    """Its hash had expired; a turn that registered it idle wrote it anew, without a term (I13)."""
    real.run(offer("w1"))
    real.run(offer("w2"))
    real.advance(START + 80_000)
    real.run(renew("w2"))
    real.advance(START + 100_000)
    word, _ = real.run(turn("w1", 1, bell="b1"), "w1")
    assert word == "ok"
    assert int(real.client.pttl(real.keys("worker:w1"))) > 0
    _, told = real.run(renew("w1"))
    assert not told.known, "nothing is known of it but its bell: it must register again"


def test_who_is_rung_first_is_the_same_on_every_server(real: Real) -> None:
    """Jobs of several types in one call rang in the order of a Lua table: another one on another build of Lua."""
    real.run(offer("w1", "aaaa", {"x": ("none", "rerun"), "y": ("none", "rerun")}))
    real.run(offer("w2", "bbbb", {"y": ("none", "rerun"), "z": ("none", "rerun")}))
    for name, digest in [("w1", "aaaa"), ("w2", "bbbb")]:
        real.run(turn(name, 1, digest=digest, bell=f"b{name}"), name)
    real.run(submit(Job("y"), Job("x"), Job("z")))
    read = real.read()
    assert read["idle:bbbb"] == {"w2": 0}, "y came first, and the offer that supports it last is asked first"
    assert read["idle:aaaa"] == {"w1": 0}


def test_seats_of_an_earlier_attempt_are_not_remembered(real: Real) -> None:
    """Its type used a seat once and no longer does: the job said that it held one (I3)."""
    real.run(pools.set_pool("vault", 1))
    real.run(offer("w1", "aaaa", {"x": ("vault=1", "rerun")}))
    real.run(submit(Job("x")))
    _, told = real.run(turn("w1", 1, digest="aaaa"), "w1")
    real.run(turn("w1", 0, report(1, told.jobs[0].token, "returned"), digest="aaaa"), "w1")
    real.advance(START + 100_000)
    real.run(offer("w2", "bbbb", {"x": ("none", "rerun")}))
    _, told = real.run(turn("w2", 1, digest="bbbb"), "w2")
    assert told.jobs
    assert "seats" not in real.read()[f"job:{1:016}"]


def test_a_lease_is_settled_once_in_a_turn(real: Real) -> None:
    """Two reports of one lease put the job into two places."""
    real.run(offer("w1", "aaaa", {"x": ("none", "rerun")}))
    real.run(submit(Job("x")))
    _, told = real.run(turn("w1", 1, digest="aaaa"), "w1")
    twice = [report(1, told.jobs[0].token, outcome) for outcome in ("succeeded", "returned")]
    _, told = real.run(turn("w1", 0, *twice, digest="aaaa"), "w1")
    assert list(told.states) == ["succeeded", "stale"]
    read = real.read()
    assert "ready:x" not in read
    assert list(read["finished:succeeded"]) == [f"{1:016}"]
