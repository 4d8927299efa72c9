"""``seatline jobs``: what people do to jobs and to the gate of a namespace; looking is in the modules beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from seatline.console.command import Group
from seatline.console.jobs_list import list_jobs
from seatline.console.jobs_show import show_job
from seatline.console.jobs_wait import wait_jobs
from seatline.console.jobs_why import why_job
from seatline.console.target import Target, pass_target

if TYPE_CHECKING:
    from seatline.producer import JobHandle

__all__ = ["jobs"]

_ids = click.argument("ids", metavar="ID...", nargs=-1, required=True)


@click.group(cls=Group, epilog="Example: seatline jobs list --state failed")
def jobs() -> None:
    """List, explain, wait for and change jobs.

    An ID may be typed without its zeros: 42.
    """


for command in (list_jobs, show_job, why_job, wait_jobs):
    jobs.add_command(command)


def _each(target: Target, ids: Iterable[str], act: Callable[[JobHandle], str]) -> None:
    """Do it to each job, one line a job; a refusal does not keep the others from it."""
    from seatline.shared.errors import Refused  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.job import job_id  # noqa: PLC0415 - as above

    refused = False
    known = [job_id(text) for text in ids]  # all are read before the first is touched
    with target.queue() as queue:
        for each in known:
            try:
                click.echo(f"job {int(each)} {act(queue.handle(each))}")
            except Refused as error:
                refused = True
                click.echo(f"seatline: {error}", err=True)
    if refused:
        click.get_current_context().exit(1)


@jobs.command(epilog="Example: seatline jobs cancel 42 43")
@_ids
@pass_target
def cancel(target: Target, ids: tuple[str, ...]) -> None:
    """End waiting jobs, ask running ones to stop.

    A running job is told with its worker's next renewal; a success that was settled before that stands.
    """
    words = {"cancelled": "cancelled", "asked": "asked to stop; it runs until its handler notices"}
    _each(target, ids, lambda handle: words[handle.cancel()])


@jobs.command(epilog="Example: seatline jobs remove 42")
@_ids
@pass_target
def remove(target: Target, ids: tuple[str, ...]) -> None:
    """Forget jobs that wait or have ended, with their results and history."""
    _each(target, ids, lambda handle: f"removed (it was {handle.remove()})")


@jobs.command(epilog="Example: seatline jobs resubmit 42")
@_ids
@pass_target
def resubmit(target: Target, ids: tuple[str, ...]) -> None:
    """Make ended jobs ready again: same params and priority, attempts counted anew."""
    _each(target, ids, lambda handle: f"ready again (it had {_ended(handle.resubmit())})")


@jobs.command(epilog="Example: seatline jobs move 42 --priority 1")
@_ids
@click.option("--priority", type=int, required=True, help="The new one; 1 is the most urgent.")
@pass_target
def move(target: Target, ids: tuple[str, ...], *, priority: int) -> None:
    """Give waiting jobs another priority; they keep their ids and their order among equals."""

    def act(handle: JobHandle) -> str:
        ahead = handle.move(priority=priority)
        place = "not due yet" if ahead < 0 else "next of its line" if not ahead else f"{ahead} ahead of it in its line"
        return f"moved to priority {priority}: {place}"

    _each(target, ids, act)


def _ended(state: str) -> str:
    return {"succeeded": "succeeded", "failed": "failed", "expired": "expired"}.get(state, f"been {state}")


@jobs.command(epilog="Example: seatline jobs close -n farm")
@pass_target
def close(target: Target) -> None:
    """Refuse new jobs in this namespace; those there go on."""
    with target.queue() as queue:
        changed, name = queue.shut(), queue.settings.namespace
    click.echo(f"namespace {name} is closed for new jobs" if changed else f"namespace {name} was closed already")


@jobs.command("require-tenant", epilog="Example: seatline jobs require-tenant -n farm")
@click.option("--off", is_flag=True, help="Take jobs without a tenant again.")
@pass_target
def require_tenant(target: Target, *, off: bool) -> None:
    """Refuse new jobs that name no tenant."""
    with target.queue() as queue:
        changed, name = queue.require_tenant(required=not off), queue.settings.namespace
    now = "takes jobs without a tenant" if off else "requires a tenant of every new job"
    click.echo(f"namespace {name} {now}" + ("" if changed else " already"))


@jobs.command(epilog="Example: seatline jobs reopen -n farm")
@pass_target
def reopen(target: Target) -> None:
    """Take new jobs in this namespace again."""
    with target.queue() as queue:
        changed, name = queue.reopen(), queue.settings.namespace
    click.echo(f"namespace {name} takes new jobs again" if changed else f"namespace {name} was not closed")
