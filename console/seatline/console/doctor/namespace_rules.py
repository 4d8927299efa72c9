"""What is right and wrong in a namespace, as pure functions of what was read (``namespace_look.py``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from seatline.console.doctor import namespace_kinds as kinds
from seatline.console.doctor.namespace_look import DAY, NamespaceFacts, TypeFacts
from seatline.producer.why import stamped
from seatline.shared.findings import Finding, Kind
from seatline.shared.keys import SCHEMA
from seatline.shared.server_rules import ms_shown, span_shown

__all__ = ["judge"]

#: Of each kind so many are told one by one.
EACH: Final = 10
#: A job that waits so long may be forgotten; and one that surely is (ms).
LONG, TOO_LONG = 3_600_000, DAY

Findings = Iterator[Finding]


def judge(facts: NamespaceFacts) -> list[Finding]:
    """Return all that is to be said of a namespace, in the order of :data:`kinds.KINDS`."""
    if facts.newer:
        return list(_layout(facts))
    rules: tuple[Callable[[NamespaceFacts], Findings], ...] = (
        _layout, _restarted, _clock_back, _gates, _no_worker, _workers, _resting, _lost, _versions, _overdue, _leases,
        _seats_late, _pools, _needs, _waiting, _due, _schedules, _orders, _ended, _keys,
    )  # fmt: skip
    return [finding for rule in rules for finding in rule(facts)]


def _capped(findings: Findings, kind: Kind, what: str) -> Findings:
    """Tell some one by one, and of the rest how many there are, as bad as the worst of them."""
    yield from islice(findings, EACH)
    if rest := list(findings):
        worst = max(rest, key=lambda each: each.severity)
        yield Finding(kind, worst.severity, f"and {len(rest):,} more {what}.", worst.cure)


def _layout(facts: NamespaceFacts) -> Findings:
    layout = facts.about.get("schema")
    if layout is None:
        yield kinds.LAYOUT.ok("nobody has written in this namespace yet")
    elif facts.newer:
        yield kinds.LAYOUT.error(f"key layout {layout}; this Seatline knows {SCHEMA}. Nothing else can be told.")
    else:
        yield kinds.LAYOUT.ok(f"key layout {layout}")
    for what in facts.cut:
        if what != "offers":  # people know them by their workers
            yield kinds.PART.note(f"there are so many {what} that only a part was looked at.", what=what)


def _restarted(facts: NamespaceFacts) -> Findings:
    at = facts.about.get("restarted", "")
    if at.isdecimal() and facts.now - int(at) < DAY:
        yield kinds.RESTARTED.note(f"the server was restarted {_ago(facts, int(at))}.")


def _clock_back(facts: NamespaceFacts) -> Findings:
    ahead = (facts.newest_event or 0) - facts.now
    # The id of an entry never goes back: the server counts on from the greatest.
    if ahead > 1_000:  # noqa: PLR2004 - a second
        yield kinds.CLOCK_BACK.error(f"the newest event is {ms_shown(ahead)} later than the server's clock.")


def _gates(facts: NamespaceFacts) -> Findings:
    if stamp := facts.about.get("paused"):
        yield kinds.PAUSED.warning(f"the namespace is paused ({stamped(stamp)}).", what="--all")
    paused = (each for each in facts.types if each.record.paused)
    yield from _capped((_paused(each) for each in paused), kinds.PAUSED, "types")
    if stamp := facts.about.get("closed"):
        yield kinds.CLOSED.note(f"the namespace is closed for new jobs ({stamped(stamp)}).")


def _paused(each: TypeFacts) -> Finding:
    name, stamp = each.record.name, each.record.paused or ""
    return kinds.PAUSED.note(f"type {name} is paused ({stamped(stamp)}); waiting: {_jobs(each.waiting)}.", what=name)


def _no_worker(facts: NamespaceFacts) -> Findings:
    yield from _capped(
        (
            kinds.NO_WORKER.warning(
                f"no live worker supports type {each.record.name}: {_wait(each.waiting)}{_since(facts, each)}.",
                type=each.record.name,
            )
            for each in facts.types
            if each.waiting and not each.served
        ),
        kinds.NO_WORKER,
        "types",
    )


def _workers(facts: NamespaceFacts) -> Findings:
    live = len(facts.live)
    said = f"{live:,} live, {_jobs(facts.running)} running"
    if live:
        yield kinds.WORKERS.ok(said)
    elif facts.running or any(each.waiting for each in facts.types):
        yield kinds.WORKERS.warning(f"{said}.")
    else:
        yield kinds.WORKERS.note(f"{said}.")


def _resting(facts: NamespaceFacts) -> Findings:
    states = [worker.said.get("state", "awake") for worker in facts.live]
    waiting = sum(each.waiting for each in facts.types)
    if waiting and states and all(state.startswith(("paused", "stopping")) for state in states):
        yield kinds.RESTING.warning(f"all {len(states)} live workers are paused or stopping, {_wait(waiting)}.")


def _lost(facts: NamespaceFacts) -> Findings:
    lost = sorted((each for each in facts.workers if each.until < facts.now), key=lambda each: -each.until)
    yield from _capped(
        (
            kinds.LOST.warning(f"worker {each.id} went without a word: it was to renew {_ago(facts, each.until)}.")
            for each in lost
        ),
        kinds.LOST,
        "workers",
    )


def _versions(facts: NamespaceFacts) -> Findings:
    versions = Counter(worker.said["version"] for worker in facts.live if worker.said.get("version"))
    if len(versions) > 1:
        yield kinds.VERSIONS.warning(
            "live workers run " + ", ".join(f"{v} ({n})" for v, n in sorted(versions.items())) + "."
        )


def _overdue(facts: NamespaceFacts) -> Findings:
    for worker in facts.live:
        count = worker.said.get("overdue", "0")
        if count not in {"", "0"}:
            yield kinds.OVERDUE.warning(
                f"worker {worker.id}: {_jobs(int(count))} went past the time-out and cannot be stopped.",
                worker=worker.id,
            )


def _leases(facts: NamespaceFacts) -> Findings:
    if facts.late_leases:
        said = f"the leases of {_jobs(facts.late_leases)} ran out over a minute ago"
        yield kinds.LEASES.warning(f"{said}.") if facts.live else kinds.LEASES.error(f"{said}, and no worker lives.")


def _seats_late(facts: NamespaceFacts) -> Findings:
    for pool, owners in facts.late_seats.items():
        said = f"pool {pool}: {_some(owners)} should have renewed over a minute ago"
        yield (
            kinds.SEATS_LATE.warning(f"{said}.", pool=pool)
            if facts.live
            else kinds.SEATS_LATE.error(f"{said}, and no worker lives to free them.", pool=pool)
        )


def _pools(facts: NamespaceFacts) -> Findings:
    for pool in facts.pools.values():
        if pool.in_use > pool.capacity:
            said = f"pool {pool.name}: {pool.in_use} seats are held, {pool.capacity} are all it has."
            yield kinds.POOL_OVER.warning(said, pool=pool.name, seats=pool.in_use)
        elif pool.refused_until is not None:
            said = f"pool {pool.name}: the licence server refused; tried again at {pool.refused_until:%T} UTC."
            yield kinds.POOL_SHUT.note(said, pool=pool.name)
        elif pool.external and pool.in_use < pool.capacity and not pool.free:
            said = f"pool {pool.name}: {pool.external} of {pool.capacity} seats are used outside, none is left."
            yield kinds.POOL_SHUT.note(said, pool=pool.name)


def _needs(facts: NamespaceFacts) -> Findings:
    wanted: dict[str, list[str]] = {}
    small: dict[str, list[str]] = {}
    waiting, most = set[str](), dict[str, int]()
    for need in facts.needs:
        pool = facts.pools.get(need.pool)
        if pool is not None and need.seats <= pool.capacity:
            continue
        if pool is None and "pools" in facts.cut:
            continue  # it may be one that was not looked at
        (wanted if pool is None else small).setdefault(need.pool, []).append(need.whose)
        most[need.pool] = max(most.get(need.pool, 0), need.seats)
        if need.waiting:
            waiting.add(need.pool)
    for name, whose in wanted.items():
        found = kinds.POOL_MISSING.error if name in waiting else kinds.POOL_MISSING.warning
        yield found(f"there is no pool {name}; it is wanted by {_some(whose)}.", pool=name)
    for name, whose in small.items():
        found = kinds.POOL_SMALL.error if name in waiting else kinds.POOL_SMALL.warning
        capacity = facts.pools[name].capacity
        said = f"pool {name} has {capacity} seats, {_some(whose)} want up to {most[name]}."
        yield found(said, pool=name, seats=most[name])


def _waiting(facts: NamespaceFacts) -> Findings:
    count = sum(each.waiting for each in facts.types)
    waits = [each for each in facts.types if each.oldest is not None]
    old = sorted((each for each in waits if facts.now - (each.oldest or 0) >= LONG), key=lambda each: each.oldest or 0)
    yield from _capped((_old(facts, each) for each in old), kinds.WAITING, "types")
    if not old:
        oldest = min((each.oldest or 0 for each in waits), default=None)
        yield kinds.WAITING.ok(
            "nothing waits"
            if oldest is None
            else f"{_jobs(count)}, the oldest since {span_shown((facts.now - oldest) / 1000)}"
        )


def _old(facts: NamespaceFacts, each: TypeFacts) -> Finding:
    name, age = each.record.name, facts.now - (each.oldest or 0)
    said = f"type {name}: {_wait(each.waiting)}, the oldest since {span_shown(age / 1000)}."
    return kinds.WAITING.warning(said, type=name) if age >= TOO_LONG else kinds.WAITING.note(said, type=name)


def _due(facts: NamespaceFacts) -> Findings:
    count, since = facts.due
    if count:
        said = f"{_jobs(count)} should be in line since {span_shown((facts.now - since) / 1000)}"
        yield (
            kinds.DUE.warning(f"{said}.")
            if facts.live
            else kinds.DUE.error(f"{said}, and no worker lives to put them there.")
        )


def _schedules(facts: NamespaceFacts) -> Findings:
    for each in facts.plans:
        if each.error:
            yield kinds.SCHEDULE_BROKEN.error(f"schedule {each.name}: {each.error}", schedule=each.name)
        else:
            said = f"schedule {each.name} was due {_ago(facts, each.next)} and nobody has fired it."
            yield kinds.SCHEDULES.warning(said) if facts.live else kinds.SCHEDULES.error(said)


def _orders(facts: NamespaceFacts) -> Findings:
    for state, make in (("failed", kinds.ORDERS.warning), ("suspended", kinds.ORDERS.note)):
        count, ids = facts.orders.get(state, (0, ()))
        if count:
            shown = ", ".join(each.lstrip("0") or each if each.isdigit() else each for each in ids)
            more = ", ..." if count > len(ids) else ""
            yield make(f"{count:,} order{'' if count == 1 else 's'} {state}: {shown}{more}.", state=state)


def _ended(facts: NamespaceFacts) -> Findings:
    if count := facts.ended.get("interrupted", 0):
        yield kinds.INTERRUPTED.warning(f"{_jobs(count)} interrupted.")
    if count := facts.ended.get("failed", 0):
        yield kinds.FAILED.note(f"{_jobs(count)} failed in the last day.")


def _keys(facts: NamespaceFacts) -> Findings:
    sample = facts.keys
    if sample is None:
        yield kinds.KEYS.note("this login may not walk the keys (SCAN).")
        return
    covered = f"{sample.looked:,} keys looked at, {'all there are' if sample.all else 'not all there are'}"
    if sample.ownerless:
        yield kinds.KEYS.warning(f"{len(sample.ownerless):,} belong to nothing: {_some(sample.ownerless)}; {covered}.")
    else:
        yield kinds.KEYS.ok(covered)


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"


def _wait(count: int) -> str:
    return f"{_jobs(count)} wait{'s' if count == 1 else ''}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5:,} more"  # noqa: PLR2004 - one line


def _ago(facts: NamespaceFacts, at: int) -> str:
    return f"{span_shown((facts.now - at) / 1000)} ago"


def _since(facts: NamespaceFacts, each: TypeFacts) -> str:
    return "" if each.oldest is None else f", the oldest since {span_shown((facts.now - each.oldest) / 1000)}"
