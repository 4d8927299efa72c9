"""Walk the orders of a large namespace in bites; see :mod:`seatline.console.walk`.

What stands around an order (its places, its jobs, its elements) is found out a moment before it is all read together; of
one that has moved on meanwhile nothing is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from seatline.console.bites import Found, confirmed, record, together
from seatline.console.invariants import wrong_key
from seatline.console.moment import EACH_FIELDS, JOB_FIELDS, ORDER_FIELDS, Elements, order_of
from seatline.console.order_invariants import Around, order_member, order_wrong, orphan, places
from seatline.console.violation import Violation
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.store import Store

__all__ = ["members_are_orders", "walk_orders"]

#: An order may have 200 elements under way.
BITE = 50
_GONE = -2


def walk_orders(store: Store, names: Collection[str]) -> Iterator[Violation]:
    """Judge the orders to which these keys belong, and the keys."""
    parts: dict[str, list[str]] = {}
    for name in sorted(names):
        parts.setdefault(name.split(":")[1], []).append(name)
    return confirmed(partial(_orders, store, parts), parts, BITE)


class _Guess:
    """What to ask for, by what an order and its lists said a moment ago."""

    def __init__(self, order_id: str, order: dict[str, str]) -> None:
        self.id, self.order = order_id, order
        self.held = [step for step, word in places(order).items() if word.startswith("held")]
        self.steps = order.get("eached", "").split()
        self.jobs = [word for word in places(order).values() if word.isdigit()]

    def commands(self, store: Store, names: Sequence[str]) -> list[Command]:
        keys, order = store.keys, self.order
        chain, key = order.get("chain", ""), store.keys.order(self.id)
        mark = f"{order.get('number')} {self.id}"
        return [
            ("HMGET", key, *ORDER_FIELDS),
            ("ZSCORE", keys(f"orders:{order.get('state')}"), self.id),
            ("ZSCORE", keys.chain(chain, "started"), self.id),
            ("ZSCORE", keys.chain(chain, "waiting"), mark),
            ("EXISTS", keys.chain(chain, order.get("version", ""))),
            *(("ZSCORE", keys.chain(chain, f"held:{step}"), mark) for step in self.held),
            *(("HMGET", keys.job(job_id), *JOB_FIELDS) for job_id in self.jobs),
            *(command for step in self.steps for command in _list_of(f"{key}:each:{step}")),
            *(("PTTL", keys(name)) for name in names),
        ]

    def read(self, answers: Iterator[Any]) -> tuple[dict[str, str], Around]:
        order = record(next(answers), ORDER_FIELDS)
        score, started, waiting, version = next(answers), next(answers), next(answers), next(answers)
        held = [step for step in self.held if next(answers) is not None]
        jobs = {job_id: record(next(answers), JOB_FIELDS) for job_id in self.jobs}
        lists = {step: _read_list(answers) for step in self.steps}
        return order, Around(
            None if score is None else float(score),
            started is not None,
            waiting is not None,
            frozenset(held),
            jobs,
            lists,
            bool(version),
        )


def _list_of(key: str) -> list[Command]:
    return [
        ("HMGET", key, *EACH_FIELDS),
        ("ZRANGE", key + ":jobs", 0, -1, "WITHSCORES"),
        ("ZRANGE", key + ":bad", 0, -1, "WITHSCORES"),
    ]


def _read_list(answers: Iterator[Any]) -> Elements:
    fields, jobs, bad = record(next(answers), EACH_FIELDS), next(answers), next(answers)
    return Elements(fields, _scores(jobs), _scores(bad))


def _scores(flat: Any) -> dict[str, float]:
    if isinstance(flat, Exception):
        return {}
    return {text(member): float(score) for member, score in zip(flat[::2], flat[1::2], strict=True)}


def _orders(store: Store, parts: dict[str, list[str]], ids: Sequence[str]) -> Found:
    first = store.read(Read([("HMGET", store.keys.order(order_id), *ORDER_FIELDS) for order_id in ids], list[Any]))
    guesses = [_Guess(order_id, record(reply, ORDER_FIELDS)) for order_id, reply in zip(ids, first, strict=True)]
    keys = [f"{store.keys.order(guess.id)}:each:{step}:jobs" for guess in guesses for step in guess.steps]
    elements = iter(store.read(Read([("ZRANGE", key, 0, -1) for key in keys], list[Any])) if keys else [])
    for guess in guesses:
        for _ in guess.steps:
            reply = next(elements)
            guess.jobs += [] if isinstance(reply, Exception) else [text(job_id) for job_id in reply]
    commands = [command for guess in guesses for command in guess.commands(store, parts[guess.id])]
    answers, found = together(store, commands), Found()
    for guess in guesses:
        order, around = guess.read(answers)
        wrong: list[Violation] = []
        for name in parts[guess.id]:
            left = int(next(answers))
            if left != _GONE:
                wrong += wrong_key(name, left)
                wrong += orphan(name, order) if name.count(":") > 1 else ()
        if order and order == guess.order:
            wrong += order_wrong(guess.id, order, around)
        if wrong:
            found[guess.id] = wrong
    return found


def members_are_orders(store: Store, place: str, members: Sequence[str]) -> Found:
    """I1, I2, O10, O11: what is in a place of orders, or in a line of a chain, is an order that says so."""
    commands: list[Command] = []
    for member in members:
        order_id, _ = order_of(place, member)
        commands += [("ZSCORE", store.keys(place), member), ("HMGET", store.keys.order(order_id), *ORDER_FIELDS)]
    answers, found = together(store, commands), Found()
    for member in members:
        score, order = next(answers), record(next(answers), ORDER_FIELDS)
        if score is not None and (wrong := list(order_member(place, member, float(score), order))):
            found[member] = wrong
    return found
