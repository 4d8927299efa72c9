"""A classic worker, which prints its cycle: it wakes, logs in, does what there is, logs out, sleeps, and wakes again.

::

    python -m examples.classic

It finds the server by SEATLINE_URL, else it uses the one that Seatline starts by itself. It prints::

    startup
    on_startup
    wake 1
      server-login
      on_wake: 0 seats in use
      check
      session-open  1
      execute       1
      session-close 1
      session-open  2
      execute       2
      session-close 2
      server-logout
      on_sleep: one more drawing came in
    sleep
    wake 2
      server-login
      on_wake: 0 seats in use
      check
      session-open  3
      execute       3
      session-close 3
      server-logout
      on_sleep: nothing came in
    sleep
    on_shutdown
    shutdown
    published: ['vault/a.dwg', 'vault/b.dwg', 'vault/late.dwg']
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from seatline.producer import Queue
from seatline.worker import Context, Handlers, HookContext, Session, Worker

NAMESPACE = "example-classic"

handlers = Handlers()


class Vault:
    """Stands for a vendor's client: it is logged in from its making until it is left."""

    def publish(self, file: str) -> str:
        """Return where it stands now."""
        return f"vault/{file}"

    def arrivals(self) -> list[str]:
        """Return what is new since the last time."""
        return coming.pop() if coming else []


#: What people put into the vault meanwhile: something before the first sleep.
coming = [["late.dwg"]]


@handlers.login("vault")
@contextmanager
def log_in(_: Session) -> Generator[Vault]:
    yield Vault()  # log in before this line, log out after it, in a `finally`


@handlers.handler("drawing.publish", uses={"vault": 1}, if_lost="rerun")
def publish(ctx: Context, file: str) -> str:
    published: str = ctx.session("vault").client.publish(file)
    return published


@handlers.on_wake
def tell_seats(ctx: HookContext) -> None:
    """Show that the worker's own login costs no seat."""
    print(f"  on_wake: {ctx.queue.pools['vault'].in_use} seats in use")


@handlers.on_sleep
def enqueue_arrivals(ctx: HookContext) -> None:
    """Look what came in; a hook has no session of a job and takes a seat in its own name. The next cycle does the work."""
    with ctx.open_session("vault") as session:
        files: list[str] = session.client.arrivals()
    for file in files:
        ctx.enqueue("drawing.publish", {"file": file})
    print(f"  on_sleep: {'one more drawing' if files else 'nothing'} came in")


def main() -> None:
    with Queue(namespace=NAMESPACE) as queue:
        queue.pools.set("vault", 1)
        first = queue.enqueue("drawing.publish", {"file": "a.dwg"})
        queue.enqueue("drawing.publish", {"file": "b.dwg"})

        def told(event: str, fields: dict[str, object]) -> None:
            if event == "wake":
                print("wake", fields["cycle"])
            elif "job" in fields:
                if event != "settled":
                    print(f"  {event:13} {int(str(fields['job'])) - int(first.id) + 1}")
            elif event in {"startup", "on_startup", "sleep", "on_shutdown", "shutdown"}:
                print(event)
            elif event not in {"on_wake", "on_sleep"}:  # they print for themselves
                print(f"  {event}")
            if event == "sleep" and not any(queue.jobs()):
                worker.stop()

        worker = Worker(handlers, namespace=NAMESPACE, classic=True, wake_interval=1, sink=told)
        worker.run()
        done = queue.jobs(state="succeeded", limit=3)
        print("published:", sorted(job.result for job in done))


if __name__ == "__main__":
    main()
