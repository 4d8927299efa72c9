"""One run: the batch that the watch takes, the urgent release that overtakes it, and how far all of it is."""

from __future__ import annotations

import os
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from examples.drawing_vault import vault
from examples.drawing_vault.entries import Entry, entry_of
from examples.drawing_vault.screen import Screen, State
from examples.drawing_vault.stage import Broken, Stage

from seatline.producer import OrderRecord, Watch
from seatline.shared.errors import NoSuchOrder, WrongState

#: Seconds between two looks at what has become of everything; a look is followed by a rest so many times as long as it took.
LOOK: Final = 0.1
REST: Final = 4
ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})
#: With fewer drawings there is nothing to overtake.
BATCH_LEAST: Final = 3
PAGE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class File:
    """A version of a drawing in the inbox, and the name of its release."""

    name: str
    path: str
    size: int
    mtime: float
    release: str


@dataclass(slots=True)
class Run:
    """What is known so far.

    Attributes:
        stage: what it runs on.
        screen: where it is shown.
        stop: set when somebody wants it to end.
        urgent: which drawing shall overtake; None: the last of the batch.
        ended: release -> its order and entry, of those in a definite state.
        before: how many of them an earlier run had done.

    """

    stage: Stage
    screen: Screen
    stop: threading.Event
    urgent: str | None = None
    ended: dict[str, tuple[OrderRecord, Entry]] = field(default_factory=dict[str, tuple[OrderRecord, Entry]])
    before: int = 0
    _hurried: File | None = None
    _away: str | None = None
    _asked: bool = False

    def go(self, *, stay: bool = False) -> bool:
        """Go on until every drawing is in a definite state; with ``stay``, until it is stopped. Returns whether all are.

        Raises:
            Broken: it cannot go on.

        """
        files = scan(self.stage.inbox)
        self._look(files, quiet=True)
        self.before = len(self.ended)
        reported, took = -1, 0.0
        while not self.stop.wait(max(LOOK, REST * took)):
            began = time.monotonic()
            for line in self.stage.mend():
                self.screen.say("worker", line)
            files = scan(self.stage.inbox)
            self._say_if_away()
            live = self._look(files)
            self._hurry(files, live)
            took = time.monotonic() - began
            if not self._done(files) or any(self.stage.queue.jobs(type=vault.PAGE)):
                continue
            if len(self.ended) != reported:
                reported = len(self.ended)
                self._last_page()
            elif not stay:
                break
        self._tell(files)
        return self._done(files) and not self._left(files)

    def _look(self, files: list[File], *, quiet: bool = False) -> dict[str, OrderRecord]:
        """Find what has become of each; returns the orders that are under way."""
        queue = self.stage.queue
        found = queue.orders(chain=vault.RELEASE.name)
        live = {order.id: order for order in found if isinstance(order, OrderRecord)}
        missing = [file for file in files if file.release not in self.ended and file.release not in live]
        for file in missing:
            try:
                order = queue.order(file.release).record()
            except NoSuchOrder:
                continue  # the watch waits until the file has settled
            if order.state in ENDED:
                entry = entry_of(order, queue.order(order.id).history())
                self.ended[file.release] = order, entry
                if entry.outcome != "released" and not quiet:
                    self.screen.say(entry.outcome, f"{entry.name}: {entry.reason}")
        pool = queue.pools[vault.POOL]
        running = [f"{job.title} ({job.step})" for job in queue.jobs(state="running") if job.step]
        self.screen.draw(State(len(files), self._counts(files), pool.in_use, pool.capacity, running))
        return live

    def _hurry(self, files: list[File], live: dict[str, OrderRecord]) -> None:
        """Release one drawing at priority 1 once the batch is under way.

        Its order takes the place of the one that waits; if the batch has not come to it yet, it will find it there.
        """
        new = [file for file in files if file.release not in self.ended]
        least = 1 if self.urgent else BATCH_LEAST
        if self._asked or min(len(new), len(live)) < least:
            return
        self._asked = True
        file = next((file for file in files if file.name == self.urgent), new[-1])
        params = {"path": file.path, "name": file.name, "size": file.size, "mtime": file.mtime}
        if file.release in self.ended:
            self.screen.say("urgent", f"{file.name} has been released already")
            return
        try:
            self.stage.queue.start(
                vault.RELEASE.name,
                params,
                id=file.release,
                title=vault.title_of(file.name),
                priority=vault.URGENT,
                replace=True,
            )
        except WrongState:
            self.screen.say("urgent", f"{file.name} is under way already")
            return
        self._hurried = file
        others = f"{len(new) - 1} others are on their way at {vault.BATCH}"
        self.screen.say("urgent", f"{file.name} is released at priority {vault.URGENT}; {others}")

    def _done(self, files: list[File]) -> bool:
        left = self._left(files)
        return bool(files) and all(file.release in self.ended or file.path in left for file in files)

    def _say_if_away(self) -> None:
        """Say once that the folder is away, such as a share; the watch waits for it, and so does the run."""
        away = self.stage.watch.away
        if away != self._away:
            self.screen.say("inbox", f"cannot be read ({away}); it is waited for" if away else "is back")
        self._away = away

    def _left(self, files: list[File]) -> dict[str, str]:
        """Of these files, those that could not be taken, with the reason."""
        wrong = self.stage.watch.complaints
        return {file.path: wrong[file.path] for file in files if file.path in wrong and file.release not in self.ended}

    def _counts(self, files: list[File]) -> dict[str, int]:
        outcomes = [self.ended[file.release][1].outcome for file in files if file.release in self.ended]
        return {name: outcomes.count(name) for name in ("released", "skipped", "failed")}

    def _last_page(self) -> None:
        """Have tonight's page written now: it has everything, also what no event has told of, and is kept with its date."""
        nightly = self.stage.queue.schedules.run(vault.NIGHTLY)
        try:
            nightly.result(timeout=PAGE_SECONDS)
        except TimeoutError:
            raise Broken(f"the report was not written in {PAGE_SECONDS:g} s: see {self.stage.folders.logs}.") from None

    def _tell(self, files: list[File]) -> None:
        """Say how it has ended."""
        for file in files:
            if file.path in self._left(files):
                self.screen.say("left", f"{file.name}: {self._left(files)[file.path]}")
        if self._hurried and self._hurried.release in self.ended:
            order = self.ended[self._hurried.release][0]
            ends = [other.finished for other, _ in self.ended.values() if other.finished]
            later = sum(end > order.finished for end in ends) if order.finished else 0
            seconds = (order.finished - order.created).total_seconds() if order.finished and order.created else 0.0
            self.screen.say("urgent", f"{self._hurried.name} was done after {seconds:.1f} s, before {later} others")
        self.screen.summary(self._counts(files), len(files), self.before, stopped=self.stop.is_set())


def scan(inbox: Path) -> list[File]:
    """Return the drawings of a folder, in the order in which the watch takes them: the oldest first; none, if it is away."""
    found: list[File] = []
    try:
        paths = list(inbox.iterdir())
    except OSError:
        return []
    for path in paths:
        if path.suffix.lower() != ".dxf" or path.name.startswith((".", "~$")):
            continue
        try:
            about = path.stat()
        except OSError:  # it has just gone, or leads nowhere
            continue
        if not stat.S_ISREG(about.st_mode):
            continue
        absolute = os.path.abspath(path)  # noqa: PTH100 - as the watch names it: links keep their names
        release = Watch.order_id(vault.RELEASE.name, absolute, about)
        found.append(File(path.name, absolute, about.st_size, about.st_mtime, release))
    return sorted(found, key=lambda file: (file.mtime, file.path))
