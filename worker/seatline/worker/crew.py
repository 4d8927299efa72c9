"""The crew: what runs the jobs of one worker.

Slots (threads), child processes and an event loop, each only if some handler needs it.

A job that was taken becomes *work* for a slot, or a *task* for the loop. Whoever ends one takes the next turn with the
server, if nobody else is taking one, and goes on with what it brings: no other thread is woken in between. The worker's
main thread waits for a ring, a signal or the next look.

Time-outs (C15). A child is stopped, a task cancelled, a thread told. If a thread, or a task that swallows its cancellation,
has not ended a second later its slot goes to others, and the job fails at once; but if it uses seats it keeps them, and its
session, until it really returns, and is shown as overdue (C4).
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Coroutine, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final

from seatline.shared.calls.workers import REPORTS_MOST, Report, Taken
from seatline.shared.config import Settings
from seatline.shared.errors import PayloadError, SeatlineError, Timeout
from seatline.worker.children import Children
from seatline.worker.context import AsyncContext, Context, Hold, needs_of
from seatline.worker.events import Events
from seatline.worker.execute import execute, execute_async, failed, unbegun
from seatline.worker.expansion import Expander
from seatline.worker.handlers import Handler, Handlers
from seatline.worker.loop import Loop, Task
from seatline.worker.notes import Notes
from seatline.worker.slots import Slots, Work
from seatline.worker.steps import StepHandlers
from seatline.worker.timers import Timers
from seatline.worker.turns import Turns

__all__ = ["Crew"]

#: A thread that was told to stop has so long (seconds) before its slot goes to others.
OVERDUE_AFTER: Final = 1.0

Fields = dict[bytes, bytes]


class Crew:
    """Runs what the turns bring.

    Attributes:
        woken: what wakes the main thread: None, or an error that ends the run.
        one_by_one: only the main thread takes turns (classic mode).
        broken: why it cannot go on, once it cannot.

    """

    def __init__(
        self,
        worker: str,
        handlers: Handlers,
        turns: Turns,
        notes: Notes,
        events: Events,
        settings: Settings,
        expander: Expander,
        *,
        slots: int,
        child_jobs: int,
        child_memory: int | None,
        one_by_one: bool,
    ) -> None:
        self._name, self._handlers, self._slots = f"seatline-{worker}", handlers, slots
        self.turns, self._events, self._settings = turns, events, settings
        self._expander, self._steps = expander, StepHandlers()
        self.woken: SimpleQueue[BaseException | None] = SimpleQueue()
        self.timers = Timers(f"{self._name}-timers")
        self._threads: Slots | None = None
        self._loop: Loop | None = None
        self.one_by_one = one_by_one
        self.broken: SeatlineError | None = None
        self._nudged = False
        self._timed: set[tuple[str, str]] = set()
        self._away: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._last_call: float | None = None
        self._by_type = {type_.encode(): handlers[type_] for type_ in handlers.types}
        self._told = notes.add
        kinds = {handlers[type_].isolation for type_ in handlers.types}
        self._plain, self._async = kinds != {"async"}, "async" in kinds
        self._children: Children | None = None
        if kinds & {"process", "shell"}:
            self._children = Children(
                handlers,
                worker,
                self.timers,
                most_jobs=child_jobs,
                most_memory=child_memory,
                kill_after=settings.kill_after,
                cancel_after=settings.cancel_after,
                broken=self._broken,
            )

    # -- its own life

    def fork(self) -> None:
        """Make the process that makes the children: before any thread and connection of this worker exists."""
        if self._children:
            self._children.start()

    def start(self) -> None:
        """Make threads and loop."""
        if self._plain:
            self._threads = Slots(self._slots, self._ended, self._name)
        if self._async:
            self._loop = Loop(self._ended_tasks, f"{self._name}-loop")

    def close(self) -> None:
        """End children, loop and threads; a handler that still runs in a thread is not waited for."""
        if self._threads:
            self._threads.close()
        if self._loop:
            self._loop.close()
        if self._children:
            self._children.close()
        self.timers.close()

    @property
    def overdue(self) -> int:
        """Handlers that ignore their timeout."""
        return len(self._away)

    # -- what the cycle asks

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing is left to tell."""
        return not self.turns.held and not self.turns.pending

    def take(self, most: int = REPORTS_MOST) -> list[Taken]:
        """Take a turn; returns the jobs to begin."""
        self._nudged = False
        return self.turns.take(most)

    def give(self, jobs: Sequence[Taken]) -> None:
        """Begin these jobs."""
        tasks = self._share(jobs)
        if tasks and self._loop:
            self._loop.give(tasks)

    def wait(self) -> None:
        """Wait for a ring, a signal, a job's end that matters here, or the next look."""
        turns = self.turns
        while not turns.pending:
            try:
                error = self.woken.get(timeout=max(0.0, self._until() - time.monotonic()))
                if error is not None:
                    raise error
                break
            except Empty:
                if time.monotonic() >= self._until():
                    break
        self._events.tell_now()
        if turns.overdue():
            self._hand_back()

    def finish(self) -> None:
        """Wait until all that was begun has ended, and tell it; take nothing new (classic mode)."""
        while self.turns.pending or self.turns.held.keys() - self.turns.replaced:
            if self.turns.pending:
                self.turns.take(0)
            else:
                self.wait()

    def sleep(self, seconds: float) -> bool:
        """Wait so long, or until somebody says stop; returns whether that is so."""
        end = time.monotonic() + seconds
        while self.turns.stopping is None and (left := end - time.monotonic()) > 0:
            try:
                error = self.woken.get(timeout=left)
            except Empty:
                break
            if error is not None:
                raise error
        self._events.tell_now()
        return self.turns.stopping is not None

    def _until(self) -> float:
        turns = self.turns
        if turns.stopping is None:
            return turns.look_at
        return turns.stopping if self._last_call is None else self._last_call

    def _hand_back(self) -> None:
        """Hand back what runs; what must be stopped first (children, tasks) gets a moment to end."""
        now = time.monotonic()
        if self._last_call is None:
            self._last_call = now + self._settings.kill_after + 2.0
            self.turns.abandon(also_stopped=False)
        elif now >= self._last_call:
            self.turns.abandon(also_stopped=True)

    def _broken(self, error: SeatlineError) -> None:
        """No child can be made any more: end as if told to stop, so that nothing it holds counts as lost."""
        self.broken = error
        self.turns.stopping = self.turns.stopping or time.monotonic() + self._settings.grace
        self.woken.put(None)

    # -- one job

    def _share(self, jobs: Sequence[Taken]) -> list[Task]:
        """Give work to the slots; returns the tasks among it."""
        tasks: list[Task] = []
        for taken in jobs:
            made = self._make(taken)
            if isinstance(made, Task):
                tasks.append(made)
            elif self._threads:
                self._threads.give(made)
        return tasks

    def _make(self, taken: Taken) -> Work | Task:
        """Make the work of one job; a record that speaks of no type of ours must not stop the worker."""
        fields = dict(zip(taken.flat[::2], taken.flat[1::2], strict=True))
        hold = self.turns.held.get((taken.id, taken.token)) or Hold(taken.id, taken.token)
        handler = self._by_type.get(fields.get(b"type", b""))
        if handler is None:
            return self._damaged(hold)
        type_ = handler.type
        hold.told, hold.type, hold.attempt = self._told, type_, taken.attempt
        if b"order" in fields:
            try:
                handler = self._steps.of(handler, fields)
            except PayloadError:
                return self._damaged(hold)
            if b"expand" in fields:
                return self._expansion(handler, hold, taken, fields)
        if handler.isolation == "async":
            return Task(hold, self._attempt_async(handler, hold, type_, taken, fields))
        ctx = Context(hold, type_, taken.attempt, taken.flat)
        if self._events.detailed:
            hold.events = functools.partial(self._events.job, ctx)
        if handler.isolation == "thread" and handler.timeout is None and not self._events.detailed:
            logins = self._handlers.logins

            def run() -> Report:
                if hold.over and (report := unbegun(hold)):
                    return report
                hold.begun = True
                return execute(handler, logins, ctx, fields)

            return run
        return lambda: self._attempt(handler, hold, ctx, fields, taken.flat)

    def _attempt(self, handler: Handler, hold: Hold, ctx: Context, fields: Fields, flat: Sequence[bytes]) -> Report:
        """Run one in a slot's thread, with whatever its handler wants."""
        if report := unbegun(hold):
            return report
        hold.begun = True
        lease = (hold.id, hold.token)
        if self._events.detailed and not needs_of(fields, handler.uses):
            hold.event("execute", "")
        timer = None
        if handler.timeout is not None:
            self._timed.add(lease)
            timer = self.timers.after(handler.timeout, lambda: self._late(handler, hold, ctx, fields))
        try:
            if handler.in_child and self._children:
                return self._children.run(handler, hold, ctx, fields, flat)
            return execute(handler, self._handlers.logins, ctx, fields)
        finally:
            if timer:
                timer.cancel()
                self._back(handler, lease)

    def _attempt_async(
        self, handler: Handler, hold: Hold, type_: str, taken: Taken, fields: Fields
    ) -> Coroutine[Any, Any, Report]:
        ctx = AsyncContext(hold, type_, taken.attempt, taken.flat)
        if not self._events.detailed and handler.timeout is None:
            return execute_async(handler, self._handlers.logins, ctx, fields)
        if self._events.detailed:
            hold.events = functools.partial(self._events.job, ctx)
        return self._watched(handler, hold, ctx, fields)

    async def _watched(self, handler: Handler, hold: Hold, ctx: AsyncContext, fields: Fields) -> Report:
        if not needs_of(fields, handler.uses):
            hold.event("execute", "")
        timer, lease = None, (hold.id, hold.token)
        if handler.timeout is not None:
            self._timed.add(lease)
            timer = self.timers.after(handler.timeout, lambda: self._late(handler, hold, ctx, fields))
        try:
            return await execute_async(handler, self._handlers.logins, ctx, fields)
        finally:
            if timer:
                timer.cancel()
                self._back(handler, lease)

    def _back(self, handler: Handler, lease: tuple[str, str]) -> None:
        """One with a timeout has returned."""
        with self._lock:
            self._timed.discard(lease)
            if lease in self._away:
                self._away.discard(lease)
                if self._threads and handler.isolation == "thread":
                    self._threads.remove()

    def _late(self, handler: Handler, hold: Hold, ctx: Context, fields: Fields) -> None:
        hold.say("late")
        if not handler.in_child:
            self.timers.after(OVERDUE_AFTER, lambda: self._overdue(handler, hold, ctx, fields))

    def _overdue(self, handler: Handler, hold: Hold, ctx: Context, fields: Fields) -> None:
        """Its thread, or task, does not listen: others get its slot, as long as there are not too many such."""
        lease, threads = (hold.id, hold.token), self._threads
        with self._lock:
            if lease not in self._timed:
                return
            if len(self._away) >= self._slots:
                self.timers.after(OVERDUE_AFTER, lambda: self._overdue(handler, hold, ctx, fields))
                return
            self._away.add(lease)
            if threads and handler.isolation == "thread":
                threads.add()
        limit = handler.timeout or 0
        said = f"job {int(hold.id)} {handler.type} ignores its timeout of {limit:g} s; its slot goes to others"
        if needs_of(fields, handler.uses):
            said += ", its seats stay taken until it returns"
            self.turns.replaced.add(lease)
            hold.note({"overdue": int(time.time() * 1000)}, "")
        else:
            error = Timeout(f"it ran longer than its timeout of {limit:g} s, and does not end")
            self.turns.tell(failed(handler, ctx, fields, error, told=""))
        self._events.tell("overdue", said, job=hold.id, type=handler.type, attempt=ctx.attempt)
        self.woken.put(None)

    def _expansion(self, handler: Handler, hold: Hold, taken: Taken, fields: Fields) -> Work:
        """Make the work of a job that calls no handler, whatever its handler wants (O14)."""
        ctx = Context(hold, handler.type, taken.attempt, taken.flat)

        def run() -> Report:
            return unbegun(hold) or self._expander.run(handler, hold, ctx, fields)

        if not self._threads:  # all handlers are async: the loop must not wait for the server
            name = f"{self._name}-expansion-{int(hold.id)}"
            threading.Thread(target=lambda: self._ended(run()), name=name, daemon=True).start()
        return run

    def _damaged(self, hold: Hold) -> Work:
        """Make the report of a job that was in a line, but whose record is gone or speaks of another type."""
        kind, message = "BrokenRecord", "its record is damaged: edited or removed by hand, or lost by the server"
        words = ["error_type", kind, "error", message]
        report = Report(hold.id, hold.token, "failed", [*words], error=(kind, message))
        if self._threads:
            return lambda: report
        self.turns.tell(report)
        self.woken.put(None)
        return lambda: report

    # -- what ends

    def _ended(self, report: Report) -> Work | None:
        """Settle, in the thread of a slot; returns what that slot does next."""
        turns, mine = self.turns, None
        turns.tell(report)
        if self._threads and (work := self._threads.poll()):
            # Others are not awake yet: go on here, and let one turn tell what ends meanwhile.
            if not self._nudged:
                self._nudged = True
                self.woken.put(None)
            return work
        if not self.one_by_one:
            try:
                # Whoever holds the turn looks again when it has ended, so that no report stays behind.
                while turns.pending and (jobs := turns.try_take()) is not None:
                    if jobs and mine is None and not self._async:
                        mine, jobs = self._work_of(jobs[0]), jobs[1:]
                    self.give(jobs)
            except BaseException as error:  # noqa: BLE001 - run() raises it in the caller's thread
                self.woken.put(error)
        self._nudge()
        return mine

    def _work_of(self, taken: Taken) -> Work:
        made = self._make(taken)
        assert not isinstance(made, Task)  # noqa: S101 - there is no loop
        return made

    def _ended_tasks(self, reports: list[Report], alone: bool) -> Sequence[Task]:
        """Settle what ended, in the loop's thread; returns what begins there at once."""
        turns = self.turns
        for report in reports:
            turns.tell(report)
        tasks: list[Task] = []
        if alone and not self.one_by_one:
            # Nothing else runs in the loop: nobody waits while this thread takes the turn.
            try:
                while turns.pending and (jobs := turns.try_take()) is not None:
                    tasks += self._share(jobs)
            except BaseException as error:  # noqa: BLE001 - as above
                self.woken.put(error)
            self._nudge()
        else:
            self.woken.put(None)
        return tasks

    def _nudge(self) -> None:
        turns = self.turns
        if not turns.held or turns.pending or time.monotonic() + 1 > turns.look_at:
            self.woken.put(None)  # the end of a burst or a stop, or a look that is due sooner than was known
