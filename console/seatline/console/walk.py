"""Walk a large namespace in bites: its jobs, its orders, the members of its places, its tokens, its short-lived keys.

A bite is read in one MULTI, so what it tells was true at once; which place to ask for a job is found out a moment
before, and a job that has moved on meanwhile is left to others. What is broken is looked at again at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from seatline.console.bites import BITE, Found, confirmed, record, together
from seatline.console.invariants import (
    forgotten_token,
    intruder,
    misplaced,
    strange_token,
    unlimited,
    wrong_key,
)
from seatline.console.moment import JOB_FIELDS, ORDER_FIELDS, Moment, place_of
from seatline.console.order_invariants import strange_job
from seatline.console.violation import Violation
from seatline.console.walk_orders import members_are_orders, walk_orders
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.store import Store

__all__ = ["walk"]

_GONE = -2
_PARTS = ("", ":history", ":attempts", ":log", ":events", ":result")


def walk(store: Store, names: Collection[str], moment: Moment) -> list[Violation]:
    """Return what is wrong with the jobs, the counted places and the tokens of a namespace."""
    jobs = sorted({name.split(":")[1] for name in names if name.startswith("job:")})
    tokens = sorted(name.removeprefix("token:") for name in names if name.startswith("token:"))
    short = sorted(name for name in names if name.startswith(("bell:", "lane:", "load:")))
    found = [
        *confirmed(partial(_jobs, store), jobs),
        *walk_orders(store, [name for name in names if name.startswith("order:")]),
        *confirmed(partial(_tokens, store), tokens),
        *confirmed(partial(_terms, store), short),
    ]
    for place in sorted(moment.counted):
        look = members_are_orders if place.startswith(("orders:", "chain:")) else _members
        found += confirmed(partial(look, store, place), _ids(store, place, moment.sizes.get(place, 0)))
    return list(dict.fromkeys(found))


def _ids(store: Store, place: str, size: int) -> Iterator[str]:
    """Page through a place, as far as it went when the walk began: one that grows would never end."""
    for start in range(0, size, 4 * BITE):
        yield from (job_id for job_id, _ in store.read(reads.page(store.keys, place, start, 4 * BITE)))


def _record_of(store: Store, job_id: str) -> Command:
    return ("HMGET", store.keys.job(job_id), *JOB_FIELDS)


def _jobs(store: Store, ids: Sequence[str]) -> Found:
    """I1, I2, I13: a job is where it says, and its keys expire or not as they must."""
    replies = store.read(Read([_record_of(store, job_id) for job_id in ids], list[Any]))
    first = [record(reply, JOB_FIELDS) for reply in replies]
    guesses = [place_of(job) for job in first]
    commands: list[Command] = []
    for job_id, guess, before in zip(ids, guesses, first, strict=True):
        key, token = store.keys.job(job_id), before.get("submission", "")
        commands += [_record_of(store, job_id), ("ZSCORE", store.keys(guess), job_id)]
        commands += [("EXISTS", store.keys(f"token:{token}")), ("ZSCORE", store.keys("expiring"), job_id)]
        commands += [("PTTL", key + part) for part in _PARTS]
        owner = store.keys.order(before.get("order", ""))
        commands += [("HMGET", owner, *ORDER_FIELDS), ("ZSCORE", f"{owner}:each:{before.get('step')}:jobs", job_id)]
    answers, found = together(store, commands), Found()
    for job_id, guess in zip(ids, guesses, strict=True):
        job, score = record(next(answers), JOB_FIELDS), next(answers)
        kept, limit, mine = bool(next(answers)), next(answers), job.get("submission")
        here = bool(job) and place_of(job) == guess
        wrong = list(misplaced(job_id, job, None if score is None else float(score))) if here else []
        if here:
            wrong += unlimited(job_id, job, None if limit is None else float(limit))
        if mine is not None and not kept:
            wrong.append(forgotten_token(job_id, mine))
        for name in (f"job:{job_id}{part}" for part in _PARTS):
            left = int(next(answers))
            if left != _GONE:
                wrong += wrong_key(name, left)
                if not job:
                    wrong.append(Violation("I13", name, "the job it belongs to has no record."))
        order, index = record(next(answers), ORDER_FIELDS), next(answers)
        if here:
            wrong += strange_job(job_id, job, order, None if index is None else float(index))
        if wrong:
            found[job_id] = wrong
    return found


def _members(store: Store, place: str, ids: Sequence[str]) -> Found:
    """I1, I2: what is in a place is a job that says so."""
    commands: list[Command] = [("GET", store.keys("seq"))]
    for job_id in ids:
        commands += [("ZSCORE", store.keys(place), job_id), _record_of(store, job_id)]
    answers, found = together(store, commands), Found()
    seq = int(next(answers) or 0)
    for job_id in ids:
        score, job = next(answers), record(next(answers), JOB_FIELDS)
        if score is not None and (wrong := list(intruder(place, job_id, job, seq))):
            found[job_id] = wrong
    return found


def _tokens(store: Store, tokens: Sequence[str]) -> Found:
    """I13: a token stands for a job that says so."""
    values = store.read(Read([("GET", store.keys(f"token:{token}")) for token in tokens], list[Any]))
    ids = [text(value or b"").partition(" ")[0] for value in values]
    commands: list[Command] = []
    for token, job_id in zip(tokens, ids, strict=True):
        commands += [("GET", store.keys(f"token:{token}")), _record_of(store, job_id)]
    answers, found = together(store, commands), Found()
    for token in tokens:
        value, job = next(answers), record(next(answers), JOB_FIELDS)
        if value is not None and (wrong := list(strange_token(token, text(value), job))):
            found[token] = wrong
    return found


def _terms(store: Store, names: Sequence[str]) -> Found:
    """I13: what is short-lived has a term."""
    lefts = store.read(Read([("PTTL", store.keys(name)) for name in names], list[Any]))
    looked = {name: list(wrong_key(name, int(left))) for name, left in zip(names, lefts, strict=True) if left != _GONE}
    return {name: wrong for name, wrong in looked.items() if wrong}
