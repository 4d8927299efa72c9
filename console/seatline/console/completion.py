"""What a shell completes words with: names and ids that the server knows, asked for while somebody types.

Whoever presses Tab waits, and must not be told of errors in the middle of his line: the server has a second to answer, after
that (or if it refuses, or is not there) nothing is offered. No server is started for it. What a word is, its place in the help
says: ``TYPE`` is a type everywhere, ``ID`` a job among the jobs and a worker among the workers.
"""

from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, cast

import click
from click.shell_completion import CompletionItem

from seatline.console.target import Target, target_of

if TYPE_CHECKING:
    from seatline.shared.calls.base import Command, Read
    from seatline.shared.keys import Keys

__all__ = ["completed", "kind_of"]

#: The server's time (seconds), and so many words at most.
PATIENCE: Final = 1.0
MOST: Final = 200

#: By (noun, what the help calls it): what it names. A noun of "" stands for all others.
_KINDS: Final[dict[tuple[str, str], str]] = {
    ("", "TYPE"): "types",
    ("", "CHAIN"): "chains",
    ("", "EVENT"): "triggers",
    ("chains", "NAME"): "chains",
    ("pools", "NAME"): "pools",
    ("schedules", "NAME"): "schedules",
    ("jobs", "ID"): "jobs",
    ("jobs", "STATE"): "states of jobs",
    ("orders", "ID"): "orders",
    ("orders", "STATE"): "states of orders",
    ("workers", "ID"): "workers",
}


def kind_of(noun: str, param: click.Parameter) -> str | None:
    """Return what the words of a param name, or None if no server knows that."""
    if param.name == "chain":
        return "chains"
    if isinstance(param, click.Option) and param.metavar == "NAME":
        return None  # a name that is about to be given
    word = (param.metavar or "").strip("[].")
    return _KINDS.get((noun, word)) or _KINDS.get(("", word))


def completed(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the words that may stand there, those first that are most likely meant."""
    noun = (context.parent or context).info_name or ""
    kind = kind_of(noun, param)
    if kind is None:
        return param.type.shell_complete(context, param, incomplete)
    if kind.startswith("states of "):
        from seatline.shared.keys import STATES  # noqa: PLC0415 - `seatline --help` stays fast
        from seatline.shared.order import ORDER_STATES  # noqa: PLC0415 - as above

        words = list(STATES if kind == "states of jobs" else ORDER_STATES)
    else:
        words = _in_time(target_of(context), kind)
    given = _given(context.params.get(param.name or ""))
    fitting = dict.fromkeys(word for word in words if word.startswith(incomplete) and word not in given)
    return [CompletionItem(word) for word in list(fitting)[:MOST]]


def _given(values: Any) -> set[str]:
    """Return what stands on the line already, where a word may be given several times."""
    return {str(value) for value in cast("tuple[object, ...]", values)} if isinstance(values, tuple) else set()


def _in_time(target: Target, kind: str) -> list[str]:
    """Ask the server, for as long as somebody who types may wait."""
    found: list[str] = []
    asking = Thread(target=_ask, args=(target, kind, found), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return list(found)


def _ask(target: Target, kind: str, found: list[str]) -> None:
    import logging  # noqa: PLC0415 - only who asks a server

    logging.disable()
    try:
        from seatline.producer import Queue  # noqa: PLC0415 - `seatline --help` stays fast
        from seatline.shared.embedded.lifecycle import status  # noqa: PLC0415 - as above
        from seatline.shared.store.password import with_login  # noqa: PLC0415 - as above

        url = target.url or os.environ.get("SEATLINE_URL")
        if not url:
            server = status()
            if server is None:
                return
            url = with_login(server.url, os.environ.get("SEATLINE_USER"), os.environ.get("SEATLINE_PASSWORD_FILE"))
        with Queue(url, namespace=target.namespace, deadline=PATIENCE) as queue:
            if kind == "jobs":
                found += [str(int(job.id)) for job in queue.jobs(limit=MOST)]
            words = queue.store.read(_words(queue.store.keys, kind))
            found += words
    except Exception:  # noqa: BLE001, S110 - whatever it is: the person has asked for words, and there are none
        pass


def _words(keys: Keys, kind: str) -> Read[list[str]]:
    from seatline.shared.calls.base import Read, text  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.order import LIVE  # noqa: PLC0415 - as above

    commands: list[Command]
    match kind:
        case "types" | "pools" | "chains" | "triggers":
            commands = [("SMEMBERS", keys(kind))]
        case "schedules":
            commands = [("ZRANGE", keys(kind), 0, 9 * MOST)]
        case "workers":
            commands = [("ZREVRANGE", keys(kind), 0, MOST)]
        case "orders":
            commands = [("ZRANGE", keys(f"orders:{state}"), 0, MOST) for state in LIVE]
            commands += [("ZREVRANGE", keys("orders:failed"), 0, MOST)]
        case _:
            commands = [("ZREVRANGE", keys(f"finished:{state}"), 0, MOST) for state in ("failed", "interrupted")]

    def parse(replies: Any) -> list[str]:
        words = [text(word) for reply in replies for word in (sorted(reply) if len(commands) == 1 else reply)]
        if kind == "schedules":  # windows of types and the like stand there too
            return sorted(word for word in words if ":" not in word)
        return [str(int(word)) if kind in {"jobs", "orders"} and word.isdigit() else word for word in words]

    return Read(commands, parse)
