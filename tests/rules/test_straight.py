"""The common case of a step's end (`_straight.lua`) comes to the same as the long way."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from faults.snapshot import keys_of, normal
from redis import Redis
from rules.step_worker import MakeSteps, StepWorker

from seatline.producer import Chain, Queue, Step
from seatline.shared.scripts import Script, script
from seatline.shared.store import link

CLIENT = r"(?<!\w)b?[0-9a-z]{12}(?!\w)"
CALL = "self.straight_on(id, order, stored, job, result, said)"
CHAINS = [
    Chain("plain", [Step("a", "t"), Step("b", "t"), Step("c", "t")]),
    Chain("short", [Step("a", "t")]),
    Chain(
        "rich",
        [
            Step("a", "t"),
            Step("b", "t", priority=3, uses={"vault": 1}, timeout=60, if_lost="interrupt", codes={2: "c"}),
            Step("c", "t", uses={}),
        ],
    ),
    Chain("room", [Step("a", "t"), Step("b", "t")], max_orders=1),
    Chain(
        "branches",
        [Step("a", "t"), Step("b", "t", after="a"), Step("c", "t", after="a"), Step("d", "t", after=["b", "c"])],
    ),
    Chain("aside", [Step("a", "t", on_error="mend"), Step("b", "t"), Step("mend", "t", aside=True, then="b")]),
    Chain("gated", [Step("a", "t"), Step("b", "t"), Step("c", "t")]),
]


def long_way() -> Script:
    """The script of a turn, without the short way."""
    turn = script("turn")
    assert turn.text.count(CALL) == 1
    text = turn.text.replace(CALL, "false")
    return replace(turn, text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def flows(queue: Queue, steps: StepWorker) -> None:
    queue.pools.set("vault", 2)
    for chain in CHAINS:
        queue.define(chain)
        for number in range(4):
            title, tenant = [None, "Door"][number % 2], [None, "North"][number // 2]
            queue.start(chain.name, {"file": f"{number}.dwg"}, id=f"{chain.name}-{number}", title=title, tenant=tenant)
    queue.chains.stop("gated", "b")
    queue.chains.skip("gated", "c")
    queue.order("plain-1").skip("b")
    for number in range(200):
        got = steps.take(1)
        if not got:
            break
        ((order, step),) = got
        steps.end(order, step, value=[None, {"pages": number}, "text"][number % 3])


def test_o2_the_short_way_comes_to_the_same(
    make_queue: Callable[..., Queue],
    make_steps: MakeSteps,
    redis: Redis,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """O2: the same flows, first by the short way, then without it; what they leave behind is compared, key by key."""
    left: list[dict[str, Any]] = []
    for turn in (script("turn"), long_way()):

        def other(name: str, turn: Script = turn) -> Script:
            return turn if name == "turn" else script(name)

        with monkeypatch.context() as patch:
            patch.setattr(link, "script", other)
            steps = make_steps()
            flows(make_queue(), steps)
            steps.leave()
        states = [make_queue().order(f"{chain.name}-{number}").state() for chain in CHAINS for number in range(4)]
        assert states == ["succeeded"] * 4 * (len(CHAINS) - 1) + ["running"] * 4
        text = re.sub(CLIENT, "<client>", json.dumps(normal(redis, namespace), sort_keys=True))
        left.append(json.loads(text))
        redis.delete(*keys_of(redis, namespace))
    short, long = left
    assert short.keys() == long.keys()
    for key, value in long.items():
        assert key.startswith("lane:") or short[key] == value, key  # lanes bear names that no two clients share
