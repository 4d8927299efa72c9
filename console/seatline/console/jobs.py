"""``seatline jobs``: what people do to jobs and to the gate of a namespace; looking is in the modules beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from seatline.console.command import Group
from seatline.console.jobs_failures import failures
from seatline.console.jobs_history import history
from seatline.console.jobs_keep import keep_jobs
from seatline.console.jobs_list import list_jobs
from seatline.console.jobs_log import log_job, logs_job
from seatline.console.jobs_many import act_on_jobs, jobs_told, some_jobs
from seatline.console.jobs_show import show_job
from seatline.console.jobs_wait import wait_jobs
from seatline.console.jobs_why import why_job
from seatline.console.target import Target, pass_target
from seatline.shared.keys import STATES

if TYPE_CHECKING:
    from seatline.producer import Acted, JobHandle

__all__ = ["jobs"]

LIVE, ENDED = STATES[:3], STATES[3:]


@click.group(cls=Group, epilog="Example: seatline jobs list --state failed")
def jobs() -> None:
    """List, explain, wait for and change jobs.

    An ID may be typed without its zeros: 42.
    """


for command in (list_jobs, failures, show_job, log_job, logs_job, why_job, wait_jobs, history, keep_jobs):
    jobs.add_command(command)


@jobs.command(epilog="Example: seatline jobs cancel --type drawing.publish --dry-run")
@some_jobs("ready", "scheduled")
@pass_target
def cancel(target: Target, **chosen: Any) -> None:
    """End waiting jobs, ask running ones to stop.

    A running job's handler is told at once; a success that is settled before it notices stands.
    """
    words = {"cancelled": "cancelled", "asked": "asked to stop; it runs until its handler notices"}

    def told(acted: Acted) -> str:
        ask = acted.done["asked"]
        return f"cancelled {jobs_told(acted, 'cancelled')}" + (f", asked {ask:,} that run to stop" if ask else "")

    act_on_jobs(
        target,
        ("ready", "scheduled"),
        lambda handle: words[handle.cancel()],
        lambda found, on: found.cancel(on),
        told,
        dict.fromkeys(ENDED, "such jobs have ended already; ready, scheduled and running ones can be cancelled."),
        **chosen,
    )


@jobs.command(epilog="Example: seatline jobs remove --state failed --older-than 30d")
@some_jobs()
@pass_target
def remove(target: Target, **chosen: Any) -> None:
    """Forget jobs that wait or have ended, with their results and history."""
    act_on_jobs(
        target,
        (),
        lambda handle: f"removed (it was {handle.remove()})",
        lambda found, on: found.remove(on),
        lambda acted: f"removed {jobs_told(acted)}",
        {"running": "such jobs cannot be removed. Cancel them first, or wait for their end."},
        **chosen,
    )


@jobs.command(epilog="Example: seatline jobs resubmit --type drawing.publish --error 'vault is away' --dry-run")
@some_jobs("failed", "interrupted")
@pass_target
def resubmit(target: Target, **chosen: Any) -> None:
    """Make ended jobs ready again: same params and priority, attempts counted anew."""
    act_on_jobs(
        target,
        ("failed", "interrupted"),
        lambda handle: _again(handle.resubmit()),
        lambda found, on: found.resubmit(on),
        lambda acted: f"resubmitted {jobs_told(acted)}",
        dict.fromkeys(LIVE, f"such jobs have not ended; those of {', '.join(ENDED)} can run again."),
        **chosen,
    )


@jobs.command(epilog="Example: seatline jobs move --tag load:parts --priority 5")
@some_jobs("ready", "scheduled")
@click.option("--priority", type=int, required=True, help="The new one; 1 is the most urgent.")
@pass_target
def move(target: Target, *, priority: int, **chosen: Any) -> None:
    """Give waiting jobs another priority; they keep their ids and their order among equals."""
    from seatline.shared.job import check_priority  # noqa: PLC0415 - `seatline --help` stays fast

    check_priority(priority)

    def act(handle: JobHandle) -> str:
        ahead = handle.move(priority=priority)
        place = "not due yet" if ahead < 0 else "next of its line" if not ahead else f"{ahead} ahead of it in its line"
        return f"moved to priority {priority}: {place}"

    act_on_jobs(
        target,
        ("ready", "scheduled"),
        act,
        lambda found, on: found.move(priority=priority, on=on),
        lambda acted: f"moved {jobs_told(acted)} to priority {priority}",
        dict.fromkeys(("running", *ENDED), "only jobs that wait have a place: ready and scheduled ones."),
        **chosen,
    )


def _again(state: str) -> str:
    """Say that it runs again, plainly of what was done already."""
    had = {"succeeded": "succeeded", "failed": "failed", "expired": "expired"}.get(state, f"been {state}")
    return f"resubmitted: it had {had}, and runs once more" if state == "succeeded" else f"ready again (it had {had})"


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
