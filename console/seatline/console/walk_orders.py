"""Walk the orders of a large namespace in bites; see :mod:`seatline.console.walk`.

What stands around an order (its places, its jobs, its elements) is found out a moment before it is all read together; of
one that has moved on meanwhile nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from seatline.console import mends
from seatline.console.bites import Found, confirmed, record, together
from seatline.console.key_invariants import wrong_key
from seatline.console.moment import EACH_FIELDS, JOB_FIELDS, ORDER_FIELDS, Elements, Moment, number, order_of
from seatline.console.order_invariants import Around, order_member, order_wrong, orphan, places
from seatline.console.violation import Violation
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.calls.repair import Mend, Part
from seatline.shared.store import Store

__all__ = ["members_are_orders", "miscounted", "walk_orders"]

#: An order may have 200 elements under way.
BITE = 20
_PAGE = 500
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
            *(command for name in names for command in (("PTTL", keys(name)), ("TYPE", keys(name)))),
        ]

    def read(self, answers: Iterator[Any]) -> tuple[dict[str, str], Around]:
        order = record(next(answers), ORDER_FIELDS)
        score, started, waiting, version = next(answers), next(answers), next(answers), next(answers)
        held = [step for step in self.held if isinstance(next(answers), bytes)]
        jobs = {job_id: record(next(answers), JOB_FIELDS) for job_id in self.jobs}
        lists = {step: _read_list(answers) for step in self.steps}
        return order, Around(
            float(score) if isinstance(score, bytes) else None,
            isinstance(started, bytes),
            isinstance(waiting, bytes),
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
    records: list[Command] = [("HMGET", store.keys.order(order_id), *ORDER_FIELDS) for order_id in ids]
    first = store.read(Read(records, list[Any], lenient=True))
    guesses = [_Guess(order_id, record(reply, ORDER_FIELDS)) for order_id, reply in zip(ids, first, strict=True)]
    keys = [f"{store.keys.order(guess.id)}:each:{step}:jobs" for guess in guesses for step in guess.steps]
    lists: list[Command] = [("ZRANGE", key, 0, -1) for key in keys]
    elements = iter(store.read(Read(lists, list[Any], lenient=True)) if keys else [])
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
            left, kind = int(next(answers)), text(next(answers))
            if left != _GONE:
                wrong += wrong_key(name, left, kind)
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
        if isinstance(score, bytes) and (wrong := list(order_member(place, member, float(score), order))):
            found[member] = wrong
    return found


def miscounted(store: Store, moment: Moment) -> Iterator[Violation]:
    """O13: if the versions of chains count other orders than there are, say which of them does; it takes a quiet moment.

    Orders are counted one bite after the other. That is true of one moment if none came or went meanwhile, which the sequence
    and the counts of what was removed and trimmed tell.
    """
    totals = {place: size for place, size in moment.sizes.items() if place.startswith("orders:")}
    if sum(int(number(plan.get("orders"))) for plan in moment.plans.values()) == sum(totals.values()):
        return
    before, each = _given(store), Counter[str]()
    for place, size in totals.items():
        for start in range(0, size, _PAGE):
            ids = [order_id for order_id, _ in store.read(reads.page(store.keys, place, start, _PAGE))]
            records: list[Command] = [("HMGET", store.keys.order(order_id), "chain", "version") for order_id in ids]
            for reply in store.read(Read(records, list[Any], lenient=True)) if records else []:
                order = record(reply, ("chain", "version"))
                each[f"chain:{order.get('chain')}:{order.get('version')}"] += 1
    if _given(store) != before:
        return
    seq, removed, trimmed = before
    so: tuple[Part, ...] = (
        ("text", "seq", "", mends.value_of(seq)),
        ("field", "about", "removed", mends.value_of(removed)),
        ("field", "about", "trimmed", mends.value_of(trimmed)),
    )
    for name, plan in moment.plans.items():
        if plan and number(plan.get("orders")) != each[name]:
            says, write = f"it counts {each[name]} orders", ("hset", name, "orders", str(each[name]))
            said = f"it counts {plan.get('orders', '0')} orders, {each[name]} have it."
            bases = (*so, *mends.fields(name, plan, "orders"))
            yield Violation("O13", name, said, Mend(says, bases, (write,)))


def _given(store: Store) -> tuple[str | None, str | None, str | None]:
    """Return the last id given, and how many were removed and trimmed."""
    counts: list[Command] = [("GET", store.keys("seq")), ("HMGET", store.keys("about"), "removed", "trimmed")]

    def parse(replies: Sequence[Any]) -> tuple[str | None, str | None, str | None]:
        seq, removed, trimmed = (None if value is None else text(value) for value in (replies[0], *replies[1]))
        return seq, removed, trimmed

    return store.read(Read(counts, parse))
