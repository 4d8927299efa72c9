"""``seatline workers ping``: the probe of a container: is a worker of this host alive? One read, one line, an exit code."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Command
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.shared.store import Store

__all__ = ["host_part", "ping"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  seatline workers ping
  seatline workers ping --host build-7
""",
)
@click.argument("worker", metavar="[ID]", required=False)
@click.option("--host", metavar="HOST", help="Any worker of this host.  [default: the host this runs on]")
@pass_target
def ping(target: Target, worker: str | None, *, host: str | None) -> None:
    """Tell whether a worker lives; for health checks.

    It lives if it has been heard of within three renewals; a classic worker that sleeps lives until it should have
    woken. Without an ID, one worker of the host is enough.

    Exit code 0: it lives. 1: it does not; the reason is told. 69: the server cannot be asked.
    """
    if worker is not None and host is not None:
        raise click.UsageError("give an ID or --host, not both.", click.get_current_context())
    if "" in {worker, host}:
        raise click.UsageError("the id or host is empty.", click.get_current_context())
    with target.queue() as queue:
        now, until = _presence(queue.store)
    part = host_part(socket.gethostname() if host is None else host)
    found = {
        each: ms
        for each, ms in until.items()
        if (each.rpartition(".")[0].rpartition(".")[0] == part if worker is None else each.startswith(worker))
    }
    if worker in found:
        found = {worker: found[worker]}
    live = [each for each, ms in found.items() if ms >= now]
    if live and (worker is None or len(live) == 1):
        click.echo(f"worker {live[0]} lives" + (f", and {len(live) - 1} more here" if len(live) > 1 else ""))
        return
    whom = f"worker of host {part}" if worker is None else f"worker {worker}"
    click.echo(f"seatline: {_reason(whom, live, found, now)}", err=True)
    click.get_current_context().exit(1)


def _reason(whom: str, live: Sequence[str], found: dict[str, float], now: int) -> str:
    from seatline.console.output import clean, span  # noqa: PLC0415 - `seatline --help` stays fast

    if live:
        return clean(
            f"{whom}: {len(live)} live workers' ids begin so ({', '.join(sorted(live)[:5])}). Type more of it."
        )
    if not found:
        return clean(f"no {whom} is there: it has not registered yet, or has stopped.")
    last = max(found, key=lambda each: found[each])
    return clean(f"{whom} is lost: {last} should have been heard of {span((now - found[last]) / 1000)} ago.")


def _presence(store: Store) -> tuple[int, dict[str, float]]:
    """Return the server's time, and until when each worker counts as live (epoch ms)."""
    from seatline.shared.calls.base import Read  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.calls.reads import page, server_time  # noqa: PLC0415 - as above

    time, workers = server_time(), page(store.keys, "workers", 0, 10_000, newest_first=True)

    def parse(replies: Sequence[Any]) -> tuple[int, dict[str, float]]:
        return time.parse(replies[:1]), dict(workers.parse(replies[1:]))

    return store.read(Read([*time.commands, *workers.commands], parse))


def host_part(host: str) -> str:
    """Return what a worker's id says of its host: HOST.PID.RANDOM (``_identity`` in worker.py)."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", host).strip(".-")[:40] or "host"
