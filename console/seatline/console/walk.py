"""Walk a large namespace in bites: the members of its places, its jobs, its orders, its tokens, its short-lived keys.

A bite is read in one MULTI, so what it tells was true at once. First come the places: page by page, each member with its
record and its score. That is all there is to most jobs. Those that no page has shown, because they moved on meanwhile or
stand nowhere, and those that have more to them (a token, a key, an order, a lease) are then looked at with all that belongs to
them: what to ask for is found out a moment before, and a job that has moved on since is left to others. What is broken is
looked at again at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from seatline.console import mends
from seatline.console.bites import Found, confirmed, record, together
from seatline.console.invariants import (
    forgotten_token,
    intruder,
    misplaced,
    never_given,
    strange_key,
    strange_token,
    unkeyed,
    unlimited,
)
from seatline.console.key_invariants import orphan_part, wrong_key
from seatline.console.moment import JOB_FIELDS, ORDER_FIELDS, Moment, place_of
from seatline.console.order_invariants import strange_job
from seatline.console.violation import Violation
from seatline.console.walk_orders import members_are_orders, miscounted, walk_orders
from seatline.shared.calls import reads
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.store import Store

__all__ = ["apart", "kept_by_type", "walk"]

_GONE = -2
_STAYS = -1
_PAGE = 1000
#: Of these each takes ten commands.
_BITE_OF_JOBS = 100
#: Of these there may be as many as jobs, or they come and go: they are walked, and not read in one moment.
_WALKED = ("job:", "order:", "token:", "unique:", "newest:", "bell:", "lane:", "load:")
#: A job that waits and has one of these has more to it than its place.
_MORE = ("submission", "expires", "order", "unique")


def apart(names: Collection[str]) -> set[str]:
    """Return the names that are read in one moment, those apart that are walked."""
    return {name for name in names if not name.startswith(_WALKED)}


def walk(store: Store, names: Collection[str], moment: Moment) -> list[Violation]:
    """Return what is wrong with the jobs, the counted places and the tokens of a namespace."""
    by_kind: dict[str, list[str]] = {kind: [] for kind in _WALKED}
    records, parts = set[str](), list[str]()
    for name in names:
        kind, _, rest = name.partition(":")
        if kind != "job":
            by_kind.get(f"{kind}:", []).append(name)
        elif ":" in rest:
            parts.append(name)
        else:
            records.add(rest)
    found: list[Violation] = []
    more: list[str] = []
    for place in sorted(moment.counted):
        size = moment.sizes.get(place, 0)
        if place.startswith(("orders:", "chain:")):
            found += confirmed(partial(members_are_orders, store, place), _members(store, place, size))
        else:
            found += confirmed(partial(_in_place, store, place, records, more), _members(store, place, size))
    seq = store.read(Read([("GET", store.keys("seq"))], lambda replies: replies[0], lenient=True))
    return list(
        dict.fromkeys(
            [
                *never_given(max(records, default=""), text(seq) if isinstance(seq, bytes) else None),
                *found,
                *confirmed(partial(_jobs, store), sorted({*more, *records}), _BITE_OF_JOBS),
                *confirmed(partial(_parts, store), parts),
                *walk_orders(store, by_kind["order:"]),
                *miscounted(store, moment),
                *confirmed(partial(_tokens, store), by_kind["token:"]),
                *confirmed(partial(_keyed, store), by_kind["unique:"] + by_kind["newest:"]),
                *confirmed(partial(_terms, store), by_kind["bell:"] + by_kind["lane:"] + by_kind["load:"]),
            ]
        )
    )


def _members(store: Store, place: str, size: int) -> Iterator[str]:
    """Page through a place, as far as it went when the walk began: one that grows would never end."""
    for start in range(0, size, _PAGE):
        yield from (job_id for job_id, _ in store.read(reads.page(store.keys, place, start, _PAGE)))


def kept_by_type(store: Store, names: Collection[str]) -> Iterator[Violation]:
    """R7: ``finished:<state>|<type>`` lists jobs that have ended so: retention forgets whom it lists."""
    for name in sorted(name for name in names if name.startswith("finished:") and "|" in name):
        size = store.read(Read([("ZCARD", store.keys(name))], lambda replies: replies[0], lenient=True))
        if isinstance(size, int):
            yield from confirmed(partial(_of_type, store, name), _members(store, name, size))


def _of_type(store: Store, name: str, ids: Sequence[str]) -> Found:
    commands: list[Command] = []
    for job_id in ids:
        commands += [("ZSCORE", store.keys(name), job_id), ("HMGET", store.keys.job(job_id), "state", "type")]
    answers, found = together(store, commands), Found()
    for job_id in ids:
        score, job = next(answers), record(next(answers), ("state", "type"))
        if isinstance(score, bytes) and name != f"finished:{job.get('state')}|{job.get('type')}":
            mend = mends.out_of(name, job_id, *mends.fields(f"job:{job_id}", job, "state", "type"))
            said = f"job {job_id} stands there, and is {job.get('state', 'no job')} of type {job.get('type', '?')}."
            found[job_id] = [Violation("R7", name, said, mend)]
    return found


def _record_of(store: Store, job_id: str) -> Command:
    return ("HMGET", store.keys.job(job_id), *JOB_FIELDS)


def _in_place(store: Store, place: str, unseen: set[str], more: list[str], ids: Sequence[str]) -> Found:
    """I1, I2: what is in a place is a job that says so. Whom that settles leaves ``unseen``; who has ``more`` is noted.

    Of most jobs the few fields are what they must be, to the byte; the others are read again, with all that is judged.
    """
    fields, must = _fields_of(place)
    commands: list[Command] = [("ZMSCORE", store.keys(place), *ids)]
    for job_id in ids:
        key = store.keys.job(job_id)
        commands += [("HMGET", key, *fields), ("PTTL", key)]
    answers, doubtful = together(store, commands), list[str]()
    scores = next(answers)
    if isinstance(scores, Exception):
        return {}
    known, nothing = len(must) + 1, [None] * (len(fields) - len(must) - 1)
    for job_id, score in zip(ids, scores, strict=True):
        reply, left = next(answers), next(answers)
        if score is None:
            continue  # it has moved on; who it is, is looked at elsewhere
        unseen.discard(job_id)
        if left != _STAYS or isinstance(reply, Exception) or reply[:known] != [*must, score]:
            doubtful.append(job_id)
        elif reply[known:] != nothing:
            more.append(job_id)
    return _doubtful(store, place, doubtful) if doubtful else {}


def _fields_of(place: str) -> tuple[tuple[str, ...], list[bytes | None]]:
    """Return the fields to ask for of each job in a place, and what the first of them must be; the next is its score."""
    kind, _, rest = place.partition(":")
    if kind == "ready":
        type_, own, uses = rest.partition("|")
        return ("state", "type", "uses", "priority", *_MORE), [b"ready", type_.encode(), uses.encode() if own else None]
    if kind == "scheduled":
        return ("state", "due", *_MORE), [b"scheduled"]
    return ("state", "finished", "submission"), [rest.encode()]


def _doubtful(store: Store, place: str, ids: Sequence[str]) -> Found:
    commands: list[Command] = []
    for job_id in ids:
        key = store.keys.job(job_id)
        commands += [("ZSCORE", store.keys(place), job_id), _record_of(store, job_id), ("PTTL", key), ("TYPE", key)]
    answers, found = together(store, commands), Found()
    for job_id in ids:
        score, job = _score(next(answers)), record(next(answers), JOB_FIELDS)
        left, kind = int(next(answers)), text(next(answers))
        wrong = [] if left == _GONE else list(wrong_key(f"job:{job_id}", left, kind))
        if score is not None and kind in {"hash", "none"}:
            strange = list(intruder(place, job_id, job))
            wrong += strange or misplaced(job_id, job, score)
        if wrong:
            found[job_id] = wrong
    return found


def _jobs(store: Store, ids: Sequence[str]) -> Found:
    """I1, I2, I13, Q16: a job is where it says, with all that belongs to it."""
    replies = store.read(Read([_record_of(store, job_id) for job_id in ids], list[Any], lenient=True))
    first = [record(reply, JOB_FIELDS) for reply in replies]
    commands: list[Command] = []
    for job_id, before in zip(ids, first, strict=True):
        key, owner = store.keys.job(job_id), store.keys.order(before.get("order", ""))
        commands += [
            _record_of(store, job_id),
            ("PTTL", key),
            ("TYPE", key),
            ("ZSCORE", store.keys(place_of(before)), job_id),
        ]
        if "expires" in before:
            commands.append(("ZSCORE", store.keys("expiring"), job_id))
        if "submission" in before:
            commands.append(("EXISTS", store.keys(f"token:{before['submission']}")))
        if "unique" in before:
            commands.append(("GET", store.keys(f"unique:{before['unique']}")))
        if "order" in before:
            commands += [("HMGET", owner, *ORDER_FIELDS), ("ZSCORE", f"{owner}:each:{before.get('step')}:jobs", job_id)]
    answers, found = together(store, commands), Found()
    for job_id, before in zip(ids, first, strict=True):
        job, left, kind = record(next(answers), JOB_FIELDS), int(next(answers)), text(next(answers))
        score = _score(next(answers))
        limit = _score(next(answers)) if "expires" in before else None
        kept = bool(next(answers)) if "submission" in before else True
        keyed = next(answers) if "unique" in before else None
        order = record(next(answers), ORDER_FIELDS) if "order" in before else {}
        index = _score(next(answers)) if "order" in before else None
        wrong = [] if left == _GONE else list(wrong_key(f"job:{job_id}", left, kind))
        if job and job == before:
            wrong += misplaced(job_id, job, score)
            wrong += unlimited(job_id, job, limit)
            if not kept:
                wrong.append(forgotten_token(job_id, job["submission"]))
            wrong += unkeyed(job_id, job, text(keyed) if isinstance(keyed, bytes) else None)
            wrong += strange_job(job_id, job, order, index)
        if wrong:
            found[job_id] = wrong
    return found


def _score(reply: Any) -> float | None:
    return None if reply is None or isinstance(reply, Exception) else float(reply)


def _parts(store: Store, names: Sequence[str]) -> Found:
    """I13: a part of a job belongs to one, and expires or not as it must."""
    commands: list[Command] = []
    for name in names:
        key = store.keys(name)
        commands += [("PTTL", key), ("TYPE", key), ("EXISTS", key.rpartition(":")[0])]
    answers, found = together(store, commands), Found()
    for name in names:
        left, kind, owned = int(next(answers)), text(next(answers)), bool(next(answers))
        wrong = [] if left == _GONE else list(wrong_key(name, left, kind))
        if left != _GONE and not owned:
            wrong.append(orphan_part(name, name.rpartition(":")[0], "job"))
        if wrong:
            found[name] = wrong
    return found


def _named_jobs(store: Store, names: Sequence[str]) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Read keys that stand for a job each, and these: name, kind, value, record; of those that there are."""
    values = store.read(Read([("GET", store.keys(name)) for name in names], list[Any], lenient=True))
    ids = ["" if isinstance(value, Exception) else text(value or b"").partition(" ")[0] for value in values]
    commands: list[Command] = []
    for name, job_id in zip(names, ids, strict=True):
        commands += [("TYPE", store.keys(name)), ("GET", store.keys(name)), _record_of(store, job_id)]
    answers = together(store, commands)
    for name, job_id in zip(names, ids, strict=True):
        kind, value, job = text(next(answers)), next(answers), record(next(answers), JOB_FIELDS)
        if kind != "none" and (not isinstance(value, bytes) or text(value).partition(" ")[0] == job_id):
            yield name, kind, text(value) if isinstance(value, bytes) else "", job


def _tokens(store: Store, names: Sequence[str]) -> Found:
    """I13: a token stands for a job that says so."""
    found = Found()
    for name, kind, value, job in _named_jobs(store, names):
        wrong = list(wrong_key(name, _STAYS, kind)) or list(strange_token(name.removeprefix("token:"), value, job))
        if wrong:
            found[name] = wrong
    return found


def _keyed(store: Store, names: Sequence[str]) -> Found:
    """Q16: a key stands for a living job that has it."""
    found = Found()
    for name, kind, value, job in _named_jobs(store, names):
        if wrong := list(wrong_key(name, _STAYS, kind)) or list(strange_key(name, value, job)):
            found[name] = wrong
    return found


def _terms(store: Store, names: Sequence[str]) -> Found:
    """I13: what is short-lived has a term."""
    commands: list[Command] = [(word, store.keys(name)) for name in names for word in ("PTTL", "TYPE")]
    answers, found = together(store, commands), Found()
    for name in names:
        left, kind = int(next(answers)), text(next(answers))
        if left != _GONE and (wrong := list(wrong_key(name, left, kind))):
            found[name] = wrong
    return found
