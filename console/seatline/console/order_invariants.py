"""What must be true of chains and orders at every moment, as pure functions.

* **R1, I1, I2** an order is in ``orders:<state>`` of its state and nowhere else, with the score that its fields say
* **O2** it is somewhere, or has ended: each step in ``now`` has its job, its elements, or is one in front of which it
  stands; and each job of a step that waits or runs is the one that its order names
* **O10** ``started`` lists what has entered its chain and not ended, ``waiting`` what stands in front of it; if one of
  these may enter, workers are told
* **O11** a running order that stands in front of a step is among those held there: else nobody would start it again
* **O13** its record, its chain and its version are there; a version knows how many orders have it
* **O14** of a list, each element is still to come, under way, has ended, or is to be run again
* **I13** nothing of an order or a version outlives it

What was not read of a moment nobody judges: it came while that was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from seatline.console import mends
from seatline.console.key_invariants import orphan_part
from seatline.console.moment import Elements, Moment, number, order_of
from seatline.console.violation import Violation
from seatline.shared.calls.repair import Mend, Part
from seatline.shared.order import ENDED, ORDER_STATES

__all__ = ["Around", "chains_and_orders", "order_member", "order_wrong", "orphan", "strange_job"]

_ENTERED = ("running", "suspended")
_ALIVE = ("ready", "scheduled", "running")
_NAN = float("nan")
_LOST = "seatline orders remove forgets it; then start it anew"
#: What a person can do about an order and its steps that do not agree: which of them is right only he can say.
_ACT = "seatline orders show tells its steps; seatline orders reset, cancel or remove"
_NEEDED = ("number", "chain", "version", "state", "priority")


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around an order, in the same moment.

    Attributes:
        score: in ``orders:<state>`` of its state; None: it is not there.
        started: it is in ``chain:<name>:started``; ``waiting``: in ``chain:<name>:waiting``.
        held: the steps of which ``chain:<name>:held:<step>`` lists it.
        jobs: what was read of the jobs that it names, and that its elements are.
        lists: its steps that run for each element of a list.
        version: whether the version that it keeps is stored; None: not read.

    """

    score: float | None
    started: bool
    waiting: bool
    held: frozenset[str] = frozenset()
    jobs: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    lists: Mapping[str, Elements] = field(default_factory=dict[str, Elements])
    version: bool | None = True


def places(order: Mapping[str, str]) -> dict[str, str]:
    """Return where an order is: step -> word."""
    return {step: word for step, _, word in (pair.partition("=") for pair in order.get("now", "").split())}


def order_wrong(order_id: str, order: Mapping[str, str], around: Around) -> Iterator[Violation]:
    """Judge one order by its record and by what stands around it."""
    name = _said(order_id)
    if lacking := [needed for needed in _NEEDED if needed not in order]:
        yield Violation("O13", name, f"its record cannot be read: {', '.join(lacking)} missing.", advice=_LOST)
        return
    state, key, chain = order["state"], f"order:{order_id}", f"chain:{order['chain']}"
    field_ = "finished" if state in ENDED else "number"
    said = order.get(field_, "")
    mend = None
    if said.isdigit():
        bases = mends.fields(key, order, "state", "number", "finished")
        mend = mends.placed(f"orders:{state}", order_id, str(int(said)), *bases, was=around.score)
    if around.score is None:
        yield Violation("I1", name, f"its record says {state}, and it is not in orders:{state}.", mend, _LOST)
    elif around.score != number(order.get(field_), _NAN):
        wrong = f"its score in orders:{state} is {around.score:.0f}, its {field_} {order.get(field_)}."
        yield Violation("I2", name, wrong, mend, _LOST)
    if "odd" not in order and (hidden := [rare for rare in ("finished", "leaving", "eached") if rare in order]):
        mend = Mend("it says that it has rare fields", mends.fields(key, order, "odd"), (("hset", key, "odd", "1"),))
        yield Violation("O13", name, f"without odd nobody reads that it has {' and '.join(hidden)}.", mend)
    if around.version is False:
        said = f"version {order['version']} of chain {order['chain']}, which it keeps, is lost."
        yield Violation("O13", name, said, advice=f"it cannot go on: {_LOST}")
    bases = mends.fields(key, order, "state", "chain", "number", "priority")
    if state == "running" and not around.started:
        mend = mends.placed(f"{chain}:started", order_id, number(order["number"]), *bases)
        yield Violation("O10", name, f"it is running, and {chain}:started does not list it.", mend)
    if state == "waiting" and not around.waiting:
        mend = mends.placed(f"{chain}:waiting", f"{order['number']} {order_id}", order["priority"], *bases)
        yield Violation("O10", name, f"it is waiting, and {chain}:waiting does not list it.", mend)
    yield from _where(order_id, order, around)


def _where(order_id: str, order: Mapping[str, str], around: Around) -> Iterator[Violation]:
    name, state, now = _said(order_id), order["state"], places(order)
    if not now and state not in {"succeeded", "cancelled"}:
        yield Violation("O2", name, f"it is {state}, and at no step: nobody would move it on.", advice=_ACT)
    if now and state in {"succeeded", "cancelled"}:
        yield Violation("O2", name, f"it is {state}, and still at {' '.join(now)}.", advice=_ACT)
    for step, word in now.items():
        if word.isdigit():
            yield from _job_of(order_id, step, word, None, around.jobs.get(word))
        elif word == "each":
            yield from _elements(order_id, order, step, around)
        elif word == "failed":
            if state != "failed":
                yield Violation("O4", name, f"it has failed at step {step}, and is {state}.", advice=_ACT)
        elif not word.startswith("held"):
            yield Violation("O2", name, f"at step {step} stands {word}, which is no place.", advice=_ACT)
        elif state == "running" and "leaving" not in order and step not in around.held:
            line, mark = f"chain:{order['chain']}:held:{step}", f"{order['number']} {order_id}"
            bases = mends.fields(f"order:{order_id}", order, "state", "chain", "number", "priority", "now", "leaving")
            mend = mends.placed(line, mark, order["priority"], *bases)
            yield Violation("O11", name, f"it stands in front of step {step}, and nobody would start it.", mend)
    for step, found in around.lists.items():
        for job_id, index in found.jobs.items():
            yield from _job_of(order_id, step, job_id, f"{index:.0f}", around.jobs.get(job_id))


def _job_of(
    order_id: str, step: str, job_id: str, element: str | None, job: Mapping[str, str] | None
) -> Iterator[Violation]:
    if job is None:
        return
    what = f"step {step}" + (f"[{element}]" if element else "")
    if not job:
        yield Violation(
            "O2", _said(order_id), f"it is at {what} with job {int(job_id)}, which has no record.", advice=_ACT
        )
    elif (job.get("order"), job.get("step"), job.get("element")) != (order_id, step, element):
        said = f"it is at {what} with job {int(job_id)}, which says something else."
        yield Violation("O2", _said(order_id), said, advice=_ACT)
    elif job.get("state") not in _ALIVE:
        yield Violation(
            "O2",
            _said(order_id),
            f"it is at {what} with job {int(job_id)}, which is {job.get('state')} already.",
            advice=_ACT,
        )


def _elements(order_id: str, order: Mapping[str, str], step: str, around: Around) -> Iterator[Violation]:
    """O14: count = to come + under way + ended well + failed, or to be run again."""
    found = around.lists.get(step)
    if found is None or "leaving" in order:
        return
    name = f"{_said(order_id)} step {step}"
    if "count" not in found.fields:
        yield Violation("O14", name, "the record of its elements is lost.", advice=_ACT)
        return
    count, begun, done, failed = (int(number(found.fields.get(word))) for word in ("count", "next", "done", "failed"))
    under_way, again = len(found.jobs), len(found.bad)
    # What failed is to be run again, or, if the list is joined without it, not.
    if begun > count or begun - done - under_way not in {again, again + failed}:
        yield Violation(
            "O14",
            name,
            f"{begun} of {count} elements have begun; {under_way} are under way, {done} have ended well, {failed} failed, "
            f"{again} are to be run again.",
            advice=_ACT,
        )
    elif order["state"] == "running" and not under_way:
        yield Violation(
            "O14", name, f"{done} of {count} elements have ended, and nothing of it is under way.", advice=_ACT
        )


def strange_job(
    job_id: str, job: Mapping[str, str], order: Mapping[str, str], index: float | None
) -> Iterator[Violation]:
    """O2: a job of a step that waits or runs is its order's; ``index``: its score among the elements under way."""
    order_id, step, element = job.get("order"), job.get("step", ""), job.get("element")
    if order_id is None or job.get("state") not in _ALIVE:
        return
    if not order:
        advice = f"seatline orders remove {order_id}, and seatline jobs cancel {int(job_id)}"
        said = f"it is a step of order {order_id}, which has no record."
        yield Violation("O13", f"job {int(job_id)}", said, advice=advice)
    elif element is None and places(order).get(step) != job_id:
        said = f"it is step {step} of order {order_id}, which is not there with it."
        yield Violation("O2", f"job {int(job_id)}", said, advice=_ACT)
    elif element is not None and index != number(element, _NAN):
        line, mend = f"order:{order_id}:each:{step}:jobs", None
        if element.isdigit() and step in order.get("eached", "").split():
            bases = mends.fields(f"job:{job_id}", job, "state", "order", "step", "element")
            bases += mends.fields(f"order:{order_id}", order, "eached")
            mend = mends.placed(line, job_id, element, *bases, was=index)
        said = f"it is step {step}[{element}] of order {order_id}, which does not know of it."
        yield Violation("O2", f"job {int(job_id)}", said, mend, _ACT)


def order_member(place: str, member: str, score: float, order: Mapping[str, str]) -> Iterator[Violation]:
    """I1, I2, O10, O11: what is in ``orders:<state>`` or in a line of a chain is an order that says so."""
    order_id, mark = order_of(place, member)
    name = _said(order_id)
    if not order:
        mend = None  # `orders remove` takes it out of there, and counts it
        if place.startswith("chain:"):
            mend = mends.out_of(place, member, ("kind", f"order:{order_id}", "", "none"))
        advice = "the order is lost: seatline orders remove forgets what is left of it; then start it anew"
        yield Violation("I1", f"{place} {order_id}", "it is there and has no record.", mend, advice)
        return
    state, kind = order.get("state", "?"), place.split(":")
    bases = mends.fields(f"order:{order_id}", order, "state", "chain", "number", "priority", "now")
    mend = mends.out_of(place, member, *bases)
    if kind[0] == "orders":
        if state != kind[1]:
            yield Violation("I2", name, f"it is in {place}, its record says {state}.", mend)
        return
    line, rule = kind[2], "O11" if kind[2] == "held" else "O10"
    fits = {"started": state in _ENTERED, "waiting": state == "waiting", "held": state == "running"}[line]
    coming = order.get("number" if line == "started" else "priority", "")
    if order.get("chain") != kind[1] or not fits or (mark and mark != order.get("number")):
        yield Violation(rule, name, f"it is in {place}, and is {state} in chain {order.get('chain')}.", mend)
    elif line == "held" and not places(order).get(kind[3], "").startswith("held"):
        yield Violation(rule, name, f"it is in {place}, and does not stand in front of that step.", mend)
    elif score != number(coming, _NAN):
        mend = mends.placed(place, member, str(int(coming)), *bases, was=score) if coming.isdigit() else None
        yield Violation("I2", name, f"its score in {place} is {score:.0f}.", mend, _LOST)


def orphan(name: str, order: Mapping[str, str]) -> Iterator[Violation]:
    """I13: a part of an order belongs to one, and a list to one that knows of it."""
    parts = name.split(":")
    if not order and parts[2] == "data":
        advice = f"its params are all that is left: seatline orders remove {parts[1]} forgets them"
        yield Violation("I13", name, "the order it belongs to has no record.", advice=advice)
    elif not order:
        yield orphan_part(name, f"order:{parts[1]}", "order")
    elif parts[2] == "each" and parts[3] not in order.get("eached", "").split():
        mend = mends.gone(name, *mends.fields(f"order:{parts[1]}", order, "eached", "state"))
        yield Violation("I13", name, "its order does not know of it: nobody would remove it.", mend)


def chains_and_orders(moment: Moment) -> Iterator[Violation]:
    """Judge all that a moment tells of chains and orders."""
    yield from _orders(moment)
    yield from _chains(moment)
    yield from _counts(moment)


def _orders(moment: Moment) -> Iterator[Violation]:
    for order_id, order in moment.orders.items():
        state, chain = order.get("state"), order.get("chain")
        place = f"orders:{state}"
        if not order or place in moment.counted:
            continue
        mark = f"{order.get('number')} {order_id}"
        version = f"chain:{chain}:{order.get('version')}"
        around = Around(
            moment.order_places.get(place, {}).get(order_id),
            order_id in moment.order_places.get(f"chain:{chain}:started", {}),
            mark in moment.order_places.get(f"chain:{chain}:waiting", {}),
            frozenset(
                step for step in places(order) if mark in moment.order_places.get(f"chain:{chain}:held:{step}", {})
            ),
            {
                job_id: moment.jobs.get(job_id, {})
                for job_id in moment.jobs_of(order_id)
                if f"job:{job_id}" in moment.asked
            },
            {step: found for (owner, step), found in moment.lists.items() if owner == order_id},
            version in moment.kinds if version in moment.asked else None,
        )
        yield from order_wrong(order_id, order, around)
    for job_id, job in moment.jobs.items():
        order_id, found = job.get("order", ""), moment.lists.get((job.get("order", ""), job.get("step", "")))
        if f"order:{order_id}" in moment.asked:
            yield from strange_job(
                job_id, job, moment.orders.get(order_id, {}), found.jobs.get(job_id) if found else None
            )
    for place, members in moment.order_places.items():
        for member, score in members.items():
            order_id, _ = order_of(place, member)
            if f"order:{order_id}" in moment.asked:
                yield from order_member(place, member, score, moment.orders.get(order_id, {}))
    for name in moment.kinds:
        if name.startswith("order:") and name.count(":") > 1:
            yield from orphan(name, moment.orders.get(name.split(":")[1], {}))


def _chains(moment: Moment) -> Iterator[Violation]:
    """O10, O13: chains and their versions."""
    listed = moment.sets.get("chains", set[str]())
    for chain in sorted(listed ^ {name for name, fields in moment.chains.items() if fields}):
        if f"chain:{chain}" in moment.asked:
            mend = (
                _chain_again(moment, chain)
                if chain in listed
                else mends.listed("chains", chain, "hash", f"chain:{chain}")
            )
            advice = f"seatline chains define, of the same steps, makes chain {chain} anew"
            yield Violation("I13", f"chain {chain}", "it is in only one of chains and chain:<name>.", mend, advice)
    for chain, fields in moment.chains.items():
        newest = f"chain:{chain}:{fields.get('version')}"
        if fields and newest in moment.asked and "first" not in moment.plans.get(newest, {}):
            said = f"its newest version, {fields.get('version')}, is lost."
            advice = "no order of it can be started: seatline chains define makes a version of the same steps"
            yield Violation("O13", f"chain {chain}", said, advice=advice)
        most, told = fields.get("max_orders"), f"chain:{chain}" in moment.planned
        line, inside = f"chain:{chain}:waiting", f"chain:{chain}:started"
        room = "stopped" not in fields and (most is None or moment.sizes.get(inside, 0) < number(most))
        tell: Part = ("zadd", "schedules", f"chain:{chain}", str(moment.now))
        untold: Part = ("score", "schedules", f"chain:{chain}", "")
        if not told and {line, inside} <= moment.asked and moment.sizes.get(line) and room:
            mend = Mend("workers are told", (("kind", line, "", "zset"), untold), (tell,))
            yield Violation(
                "O10", f"chain {chain}", f"{moment.sizes[line]} orders may enter, and nobody is told.", mend
            )
        if "opening" in fields and not told:
            mend = Mend("workers are told", (*mends.fields(f"chain:{chain}", fields, "opening"), untold), (tell,))
            said = f"orders may go on at {fields['opening']}, and nobody is told."
            yield Violation("O11", f"chain {chain}", said, mend)


def _chain_again(moment: Moment, chain: str) -> Mend | None:
    """A chain's record is lost: it has the newest of its versions again; who may enter, title and gates a person says."""
    key = f"chain:{chain}"
    versions = [
        int(name.rpartition(":")[2]) for name, plan in moment.plans.items() if name.startswith(f"{key}:") and plan
    ]
    if not versions:
        return None
    says = (
        f"it has version {max(versions)} again; define it anew for its title and max_orders, and stop what was stopped"
    )
    return Mend(says, (("kind", key, "", "none"),), (("hset", key, "version", str(max(versions))),))


def _counts(moment: Moment) -> Iterator[Violation]:
    """O10, O13: how many there are, counted and not listed, so that it holds for any number of orders."""
    if not moment.all_chains():
        return
    count = {state: moment.sizes.get(f"orders:{state}", 0) for state in ORDER_STATES}
    lines = Counter[str]()
    for place, size in moment.sizes.items():
        if place.startswith("chain:"):
            lines[place.split(":")[2]] += size
    each_below = "what is told of the orders themselves mends it"
    if lines["waiting"] != count["waiting"]:
        said = f"{count['waiting']} are waiting, {lines['waiting']} stand in front of chains."
        yield Violation("O10", "orders", said, advice=each_below)
    if not count["running"] <= lines["started"] <= count["running"] + count["suspended"]:
        yield Violation(
            "O10",
            "orders",
            f"{count['running']} are running and {count['suspended']} suspended, {lines['started']} have entered chains.",
            advice=each_below,
        )
    for name, plan in moment.plans.items():
        _, chain, version = name.split(":")
        newest = moment.chains.get(chain, {}).get("version")
        if plan and number(plan.get("orders")) <= 0 and newest != version:
            mend = mends.gone(
                name,
                *mends.fields(name, plan, "orders"),
                *mends.fields(f"chain:{chain}", {"version": newest or ""}, "version"),
            )
            said = "no order has it, and it is not the newest version of its chain."
            yield Violation("I13", name, said, mend if newest else None, f"see chain {chain}")
    known = sum(int(number(plan.get("orders"))) for plan in moment.plans.values())
    each = _each_version(moment)
    if known != sum(count.values()):
        said, advice = f"there are {sum(count.values())}, and versions of chains count {known}.", ""
        if each is None:
            advice = "repair counts them where no jobs and orders come or go meanwhile"
        yield Violation("O13", "orders", said, advice=advice)
    for name, plan in moment.plans.items():
        if each is not None and plan and number(plan.get("orders")) != each[name]:
            by = each[name] - int(number(plan.get("orders")))
            said = f"it counts {plan.get('orders', '0')} orders, {each[name]} have it."
            yield Violation("O13", name, said, mends.shifted(name, "orders", by, plan.get("orders")))


def _each_version(moment: Moment) -> Counter[str] | None:
    """Return how many orders have each version; None: not all of them were read."""
    if not all(f"orders:{state}" in moment.order_places for state in ORDER_STATES) or not moment.all_orders():
        return None
    return Counter(f"chain:{order.get('chain')}:{order.get('version')}" for order in moment.orders.values() if order)


def _said(order_id: str) -> str:
    return f"order {int(order_id) if order_id.isdigit() else order_id}"
