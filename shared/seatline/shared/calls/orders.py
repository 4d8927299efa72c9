"""The verbs of chains and orders: define, gate, admit, start, act, expand, wait; and how they are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from seatline.shared.calls.base import Call, Command, Read, Refusal, Word, text
from seatline.shared.errors import (
    Closed,
    NoSuchChain,
    NoSuchOrder,
    NoSuchStep,
    OrderExists,
    PayloadError,
    TenantRequired,
    WrongState,
)
from seatline.shared.keys import Keys
from seatline.shared.order import OrderRecord, Run
from seatline.shared.plan import Plan

__all__ = [
    "CHAIN",
    "Act",
    "ChainRecord",
    "Gate",
    "Started",
    "act",
    "admit",
    "chain_names",
    "chain_records",
    "chain_versions",
    "define",
    "elements",
    "expand",
    "gate",
    "history",
    "no_chain",
    "no_order",
    "order_records",
    "plans",
    "start",
    "wait",
]

#: Among the names of what is due (``schedules``): a chain in front of which orders may go on.
CHAIN: Final = "chain:"

Gate = Literal["stop", "skip"]
Act = Literal["suspend", "resume", "skip", "goto", "reset", "remove", "cancel"]


def no_chain(name: str) -> NoSuchChain:
    """Say that there is none."""
    return NoSuchChain(f"chain {name}: there is no chain of that name. `seatline chains list` shows what there is.")


def no_order(order_id: str) -> NoSuchOrder:
    """Say that there is none."""
    said = str(int(order_id)) if order_id.isdigit() else order_id
    return NoSuchOrder(
        f"order {said}: no such order. It never existed, was removed or replaced, or was trimmed by retention. `seatline "
        "orders list --state all` shows what there is."
    )


def _no_step(noun: str, name: str, step: str) -> NoSuchStep:
    return NoSuchStep(f"step {step}: {noun} {name} has no such step. `seatline {noun}s show {name}` draws its steps.")


def define(
    name: str, words: Sequence[str], digest: str, title: str | None, max_orders: int | None, by: str
) -> Call[tuple[int, bool]]:
    """Store a chain; returns its version, and whether that is new. ``words``, ``digest``: as ``chain_words`` wrote them."""
    sent: list[Word] = [name, digest, by, title or "", "" if max_orders is None else max_orders, *words]
    return Call("chain_define", sent, lambda reply: (int(reply[1]), text(reply[2]) != "same"))


def gate(name: str, kind: Gate, step: str | None, by: str, lifter: str = "") -> Call[bool]:
    """Stop a chain or a step of it, or have the step skipped; ``by`` '': lift that. Returns whether it changed anything.

    ``lifter``: who lifts it, for the audit.

    Raises:
        NoSuchChain, NoSuchStep: there is none of that name.

    """
    refusals: dict[str, Refusal] = {
        "missing": lambda _: no_chain(name),
        "step": lambda _: _no_step("chain", name, step or ""),
    }
    return Call("chain_gate", (name, kind, step or "", by, lifter), lambda reply: text(reply[1]) == "now", refusals)


def admit(name: str) -> Call[bool]:
    """Let a bite of orders go on that stand in front of a chain, or of a step of it; returns whether there may be more."""
    return Call("chain_admit", (name,), lambda reply: text(reply[1]) == "1", numbered=False)


@dataclass(frozen=True, slots=True)
class Started:
    """An order as it was started; ``number`` tells it from another one that gets its id later."""

    id: str
    number: str
    state: str


def start(chain: str, words: Sequence[Word], *, replace: bool) -> Call[Started]:
    """Start an order; ``words`` as ``order_words`` wrote them.

    Raises:
        NoSuchChain: there is no chain of that name.
        OrderExists: there is an order of that id.
        WrongState: it is to be replaced, and a step of it is under way.
        Closed, TenantRequired: as for a job.

    """
    own = text(words[2])

    def exists(reply: Sequence[Any]) -> OrderExists:
        return OrderExists(
            f"order {own}: there is one of that id, which is {text(reply[1])}. Take another id, leave it out, or replace the "
            "order (replace=True, --replace)."
        )

    def running(reply: Sequence[Any]) -> WrongState:
        return WrongState(
            f"order {own}: its step {text(reply[1])} is under way, so it cannot be replaced now. Wait for the step, or cancel "
            f"the order: seatline orders cancel {own}"
        )

    refusals: dict[str, Refusal] = {
        "missing": lambda _: no_chain(chain),
        "exists": exists,
        "running": running,
        "closed": lambda _: Closed(),
        "tenant": lambda _: TenantRequired(),
    }
    sent: list[Word] = ["1" if replace else "", *words]
    return Call("order_start", sent, lambda reply: Started(text(reply[1]), text(reply[2]), text(reply[3])), refusals)


_DONE: Final[Mapping[Act, str]] = {
    "suspend": "suspended",
    "resume": "resumed",
    "skip": "changed",
    "goto": "sent to another step",
    "reset": "reset",
    "remove": "removed",
    "cancel": "cancelled",
}
_WAY_OUT: Final[Mapping[str, str]] = {
    "scheduled": "It has not begun: `seatline orders why {0}` says when it does. Else remove it, and start another.",
    "waiting": "`seatline orders why {0}` says what it waits for.",
    "running": "It is on its way. To send it to another step: seatline orders goto {0} STEP",
    "suspended": "To have it go on: seatline orders resume {0}",
    "failed": "To have it go on there: seatline orders resume {0}",
    "succeeded": "To run it again: seatline orders reset {0}, or from a step: seatline orders goto {0} STEP",
    "cancelled": "To begin again: seatline orders reset {0}, or at a step: seatline orders goto {0} STEP",
}


def act(order_id: str, verb: Act, step: str | None, by: str, number: str | None = None) -> Call[str]:
    """Do to an order what people do; returns its state then, ``removed``, or ``asked``: once its running step has ended.

    ``number``: what its start was told; None: whichever order has the id.

    Raises:
        NoSuchOrder, NoSuchStep: there is none.
        WrongState: not in this state, or not while a step is under way.

    """
    name = str(int(order_id)) if order_id.isdigit() else order_id

    def running(reply: Sequence[Any]) -> WrongState:
        return WrongState(
            f"order {name}: its step {text(reply[1])} is under way, so the order cannot be {_DONE[verb]} now. Suspend the "
            f"order and wait for the step (seatline orders suspend {name}), or cancel it."
        )

    def state(reply: Sequence[Any]) -> WrongState:
        found = text(reply[1])
        return WrongState(
            f"order {name} is {found}: it cannot be {_DONE[verb]}. {_WAY_OUT.get(found, '').format(name)}"
        )

    refusals: dict[str, Refusal] = {
        "missing": lambda _: no_order(order_id),
        "state": state,
        "running": running,
        "step": lambda _: _no_step("order", name, step or ""),
        "ended": lambda _: WrongState(
            f"order {name}: step {step} has ended already, there is nothing to skip. To run it again: seatline orders goto "
            f"{name} {step}"
        ),
    }
    return Call("order_act", (order_id, verb, step or "", by, number or ""), lambda reply: text(reply[1]), refusals)


def expand(
    job_id: str, token: str, order: str, step: str, start: int, base: bytes | None, elements: Sequence[bytes]
) -> Call[bool]:
    """Keep the elements of a list, from index ``start`` on; False: the lease is not the sender's any more (O14)."""
    words: list[Word] = [job_id, token, order, step, start, base or b"", *elements]
    return Call("order_expand", words, lambda _: True, numbered=False, also={"stale": lambda _: False})


def wait(order_id: str, number: str | None, bell: str) -> Call[OrderRecord | str]:
    """Return the ended order, or 'waits' once ``bell`` is registered, or 'missing'."""

    def ended(reply: Sequence[Any]) -> OrderRecord | str:
        return OrderRecord.read(order_id, reply[2], reply[3])

    def word(reply: Sequence[Any]) -> OrderRecord | str:
        return text(reply[0])

    return Call(
        "order_wait",
        (order_id, number or "", bell),
        ended,
        numbered=False,
        also={"ended": ended, "waits": word, "missing": word},
    )


# -- reading


def order_records(
    keys: Keys, ids: Sequence[str], *, whole: bool = True
) -> Read[list[OrderRecord | PayloadError | None]]:
    """Return orders; None: there is none; an error: its record cannot be read (O13).

    ``whole``: with params and outputs, which may be megabytes; a listing is read without.
    """
    parts = ("", "data") if whole else ("",)
    commands: list[Command] = [("HGETALL", keys.order(order_id, part)) for order_id in ids for part in parts]

    def parse(replies: Sequence[Any]) -> list[OrderRecord | PayloadError | None]:
        found: list[OrderRecord | PayloadError | None] = []
        for at, order_id in enumerate(ids):
            flat, *data = replies[at * len(parts) : (at + 1) * len(parts)]
            try:
                found.append(OrderRecord.read(order_id, flat, *data) if flat else None)
            except PayloadError as error:
                found.append(error)
        return found

    return Read(commands, parse)


def history(keys: Keys, order_id: str) -> Read[list[Run]]:
    """Return what has become of an order, oldest first, at most 1,000 lines."""

    def parse(replies: Sequence[Any]) -> list[Run]:
        lines = [text(line).partition(" ") for line in replies[0]]
        return [Run.read(dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC), what) for ms, _, what in lines]

    return Read([("LRANGE", keys.order(order_id, "history"), 0, -1)], parse)


def elements(keys: Keys, order_id: str, step: str) -> Read[tuple[int, int, int, int]]:
    """Return of a step that runs for each element: how many there are, have ended well, have failed, are jobs now."""
    key = keys.order(order_id, f"each:{step}")
    return Read(
        [("HMGET", key, "count", "done", "failed"), ("ZCARD", key + ":jobs")],
        lambda r: (int(r[0][0] or 0), int(r[0][1] or 0), int(r[0][2] or 0), int(r[1])),
    )


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """A chain as it is stored.

    Attributes:
        stopped: since when (epoch ms) and by whom it is stopped, or None; ``stops``, ``skips``: the same by step.
        started: orders that have entered and not ended; ``waiting``: in front of it; ``held``: in front of a stopped step.
        plan: its newest version; an error: that cannot be read.

    """

    name: str
    version: int
    title: str | None
    max_orders: int | None
    stopped: str | None
    stops: Mapping[str, str]
    skips: Mapping[str, str]
    started: int
    waiting: int
    plan: Plan | PayloadError


def chain_names(keys: Keys) -> Read[list[str]]:
    """Return the names of all chains, sorted."""
    return Read([("SMEMBERS", keys("chains"))], lambda replies: sorted(text(name) for name in replies[0]))


def chain_records(keys: Keys, found: Mapping[str, int]) -> Read[list[ChainRecord | None]]:
    """Return chains (name -> version); see :func:`chain_versions`."""
    commands: list[Command] = []
    for name, version in found.items():
        commands += [
            ("HGETALL", keys.chain(name)),
            ("HGETALL", keys.chain(name, str(version))),
            ("ZCARD", keys.chain(name, "started")),
            ("ZCARD", keys.chain(name, "waiting")),
        ]

    def parse(replies: Sequence[Any]) -> list[ChainRecord | None]:
        parts = zip(found.items(), replies[::4], replies[1::4], replies[2::4], replies[3::4], strict=True)
        return [_chain(name, version, own, plan, int(a), int(b)) for (name, version), own, plan, a, b in parts]

    return Read(commands, parse)


def chain_versions(keys: Keys, names: Sequence[str]) -> Read[dict[str, int]]:
    """Return the newest version of each of these chains that exists."""
    return Read(
        [("HGET", keys.chain(name), "version") for name in names],
        lambda replies: {name: int(version) for name, version in zip(names, replies, strict=True) if version},
    )


def plans(keys: Keys, wanted: Sequence[tuple[str, int]]) -> Read[list[Plan | PayloadError]]:
    """Return versions of chains."""
    return Read(
        [("HGETALL", keys.chain(name, str(version))) for name, version in wanted],
        lambda replies: [_plan(flat) for flat in replies],
    )


def _plan(flat: Sequence[bytes]) -> Plan | PayloadError:
    try:
        return Plan.read({text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)})
    except PayloadError as error:
        return error


def _chain(
    name: str, version: int, flat: Sequence[bytes], plan: Sequence[bytes], started: int, waiting: int
) -> ChainRecord | None:
    fields = {text(word): text(value) for word, value in zip(flat[::2], flat[1::2], strict=True)}
    if not fields:
        return None
    most = fields.get("max_orders")
    return ChainRecord(
        name,
        version,
        fields.get("title"),
        int(most) if most else None,
        fields.get("stopped"),
        {word.removeprefix("stop."): by for word, by in fields.items() if word.startswith("stop.")},
        {word.removeprefix("skip."): by for word, by in fields.items() if word.startswith("skip.")},
        started,
        waiting,
        _plan(plan),
    )
