"""No script stops half way (I15): Redis does not roll back, so what fails must fail before its first write.

By enumeration: each case of the corpus, each key its script touches (as MONITOR saw it), that key gone, or one of its
fields gone, or the key of a wrong type. Either the call fails and every key is equal bit for bit, or it succeeds.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.corpus import CASES, Case, Scene
from faults.snapshot import exact, keys_of
from harness.leaks import find_leaks
from harness.server import RealServer
from redis import Redis

from seatline.shared.calls.base import Call
from seatline.shared.errors import PayloadError, Refused, ServerRefused
from seatline.shared.keys import PATTERNS

pytestmark = pytest.mark.damaged

#: Kinds of keys that are strings, for which a list is the wrong type; for all others a string is.
TEXTS = re.compile(r"seq|alarm|token:.*|lane:.*|pool:[^:]+:(in_use|refused)|job:\d+:result")

#: Kinds of keys whose wrong type some script meets only after its first write. Known and left so: no call of ours makes a
#: key of another type, to ask for the TYPE of each key first would cost every turn a command a key, and the failure is
#: loud (the server's WRONGTYPE reaches the caller). What decides whether a request is made at all, and under which id, is
#: not among them: lanes, tokens; nor the sequence, but for the next step of an order.
HALF = {
    "about", "acts", "alarm", "audit", "bell", "events", "expiring", "finished", "heads", "idle", "job", "job:attempts",
    "job:events", "job:history", "offers", "pool", "pool:sessions", "pool:waiting", "pools", "programs",
    "ready", "schedule", "scheduled", "schedules", "seq", "type", "types", "worker", "workers", "chain", "chain:held",
    "chain:started", "chain:waiting", "chains", "deep", "happened", "lost", "trigger", "order", "order:data",
    "order:each", "order:history", "orders",
}  # fmt: skip


@pytest.fixture
def prepared(
    new_namespace: Callable[[], str], server: RealServer
) -> Iterator[Callable[[Case], tuple[Scene, Call[object]]]]:
    """Prepare a case in a namespace of its own, up to the call under test; the last such scene is closed by the next."""
    with contextlib.ExitStack() as scenes:

        def prepare(case: Case) -> tuple[Scene, Call[object]]:
            scenes.close()
            scene = scenes.enter_context(Scene(new_namespace(), server.url))
            call = case.prepare(scene)
            if case.script != "contact":
                scene.caller.meet()
            return scene, call

        yield prepare


Prepared = Callable[[Case], tuple[Scene, Call[object]]]


def touched(client: Any, scene: Scene, call: Call[object]) -> list[str]:
    """Make the call and return the keys its scripts used, without the prefix."""
    prefix, found = f"{{{scene.namespace}}}:", set[str]()
    with client.monitor() as monitor:
        with contextlib.suppress(Refused):
            scene.caller.run(call)
        client.echo("that was it")
        for event in monitor.listen():
            if "that was it" in event["command"]:
                break
            if event["client_type"] == "lua":
                found |= {w.removeprefix(prefix) for w in event["command"].split() if w.startswith(prefix)}
    return sorted(found)


def breaks(client: Redis, scene: Scene, call: Call[object]) -> str | None:
    """Make the call; say why if it failed after a write. A refusal is a success: it may keep its answer in the lane.

    So is what the caller itself finds out: that an order's record cannot be read (O13).
    """
    before = exact(client, scene.namespace)
    try:
        scene.caller.run(call)
    except (Refused, PayloadError):
        pass
    except ServerRefused as error:
        after = exact(client, scene.namespace)
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        return f"{changed} changed, then {error}" if changed else None
    return None


def leaves(client: Redis, scene: Scene) -> str | None:
    """Say what is there that nobody will take away: a key that should expire and does not."""
    ttls = {name: 1 if expires else -1 for name, (_, expires) in exact(client, scene.namespace).items()}
    return "; ".join(find_leaks(ttls, [scene.namespace], PATTERNS)) or None


def kind(key: str) -> str:
    """Return a key's kind, as the table in ``keys.py`` calls it."""
    pool = re.fullmatch(r"pool:[^:]+(:\w+)?", key)
    if pool:
        return f"pool{pool[1] or ''}"
    part = re.fullmatch(
        r"(?:job|order|chain):[^:]+(:history|:attempts|:events|:data|:each|:started|:waiting|:held)?.*", key
    )
    return key.partition(":")[0] + (part[1] or "" if part else "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestLost:
    """Keys or fields that somebody removed, evicted or forgot to restore (F50, F77, F86)."""

    def test_a_key(self, case: Case, prepared: Prepared, redis: Redis) -> None:
        scene, call = prepared(case)
        there = {key.partition("}:")[2] for key in keys_of(redis, scene.namespace)}
        found = {}
        for key in there & set(touched(redis, scene, call)):
            scene, call = prepared(case)
            assert redis.delete(scene.caller.keys(key)) == 1
            found[key] = breaks(redis, scene, call) or leaves(redis, scene)
        assert {key: why for key, why in found.items() if why} == {}

    def test_a_field(self, case: Case, prepared: Prepared, redis: Redis) -> None:
        scene, call = prepared(case)
        hashes = {
            key.partition("}:")[2]: redis.hkeys(key)
            for key in keys_of(redis, scene.namespace)
            if redis.type(key) == b"hash"
        }
        found = {}
        for key in set(touched(redis, scene, call)) & hashes.keys():
            for field in hashes[key]:
                scene, call = prepared(case)
                assert redis.hdel(scene.caller.keys(key), field) == 1
                found[key, field] = breaks(redis, scene, call) or leaves(redis, scene)
        assert {key: why for key, why in found.items() if why} == {}


def test_a_wrong_type(prepared: Prepared, redis: Redis) -> None:
    """``HALF`` is exact: nothing else stops half way, and what no longer does is struck from it."""
    found: dict[str, list[str]] = {}
    kinds = set()
    for case in CASES:
        for key in touched(redis, *prepared(case)):
            if case.script == "contact" and key not in {"about", "seq"}:
                continue  # of the call that came with the first contact
            if kind(key) in HALF and kind(key) in found:
                continue  # known, and seen
            scene, call = prepared(case)
            name = scene.caller.keys(key)
            redis.delete(name)
            if TEXTS.fullmatch(key):
                redis.rpush(name, "x")
            else:
                redis.set(name, "x")
            kinds.add(kind(key))
            if breaks(redis, scene, call):
                found.setdefault(kind(key), []).append(case.name)
    assert {known: cases for known, cases in found.items() if known not in HALF} == {}
    assert found.keys() == HALF
    assert {"lane", "seq", "token", "offer"} <= kinds
