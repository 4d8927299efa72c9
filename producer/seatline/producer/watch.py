"""Watch a folder: each version of each file becomes a job, or an order, once, whoever watches and however often it is killed.

Terms: a *version* of a file is its path, size and time of change (or its content, if that is to count). A version *counts* when
two looks that are at least the settle time apart, and all between, have seen the same. It is *taken* when it has a job. The
job's token is made from the type and the version. With a chain in place of the type it is an order, whose id is made from
chain and version; what is said of jobs and tokens holds for orders and ids (:mod:`watch_work`).

Who is authoritative: the queue. A version is taken by enqueuing its job with its token, and a token is accepted once; so
it does not matter who else watches the folder, or that we were killed just before or just after. A look begins with nothing
but the folder: for a version that it does not know it enqueues, and is told of the job that is there already. The queue
keeps a token as long as its job; for files that stay where they are longer than that, see :mod:`watch_memory`.

What happens at each failure:

* we are killed: the next watch finds the jobs of the files that are still there by their tokens, and follows them
* a file is renamed or deleted before its job has run: its handler meets that; a renamed one is another file
* a newer version comes while the job of the older one waits: it is another version, and has a job of its own. What is said
  of the older one's end is not done to the newer one
* the folder is away: it is waited for; what was known of its files stays known
* the server is away: it is waited for. If it has lost a job in a crash, its file is taken again
* a job was removed by a person: its file is left. An order that a person has replaced is the version's as before
"""

from __future__ import annotations

import logging
import os
import queue as queues
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Unpack, cast, overload

from seatline.producer.watch_ends import ending_of
from seatline.producer.watch_events import FolderEvents
from seatline.producer.watch_files import File, Said, told
from seatline.producer.watch_folder import IGNORED, Folder, Version, shown
from seatline.producer.watch_jobs import WatchedJobs
from seatline.producer.watch_memory import Memory
from seatline.producer.watch_params import PARAMS, Template, digest_of, order_id_of
from seatline.producer.watch_work import H, WatchOptions, Work, work_of
from seatline.shared.errors import Closed, InvalidInput, NoSuchChain, OutcomeUnknown, ServerError
from seatline.shared.job import BULK_PRIORITY

if TYPE_CHECKING:
    from seatline.producer.handle import JobHandle
    from seatline.producer.orders import OrderHandle
    from seatline.producer.queue import Queue

__all__ = ["Watch"]

log = logging.getLogger("seatline.producer")

SETTLE: Final = 2.0
#: Seconds between two looks; the second: where the file system tells us of changes.
INTERVAL: Final = 1.0
INTERVAL_BESIDE_EVENTS: Final = 10.0
#: Seconds between two questions for what became of jobs.
FOLLOW: Final = 1.0
#: A look is followed by a rest so many times as long as it took.
REST: Final = 4


class Watch(Generic[H]):
    """Takes the files of a folder, and follows their jobs, or orders.

    Args:
        queue: where to.
        folder: it may come later.
        type: of the jobs.
        chain: of the orders, in place of ``type``; what is said of jobs below is true of orders then.
        patterns: names that count, such as ``["*.dxf"]``, whatever their case; none given: all.
        ignore: names that do not, of files and folders: hidden and temporary ones by default.
        recursive: also the folders in it. Symlinks to folders are not followed.
        settle: seconds for which size and time of change must have stayed the same.
        params: of the jobs, with fields such as ``{path}``; see :class:`~seatline.producer.watch_params.Template`. By default
            ``path``, ``name``, ``size`` (bytes), ``mtime`` (epoch seconds).
        priority: 100 by default (Q4).
        tenant: of the jobs.
        title: of the jobs, with the same fields; None: none.
        by_content: one for a content, whatever its name and time; every new file is read.
        then: what is done with a file whose job has succeeded or was skipped: ``keep``, ``delete`` or ``move:DIR``.
        failed: likewise if it failed, was cancelled or expired: ``keep`` or ``move:DIR``.
        interval: seconds between looks; by default 1, or 10 if ``watchfiles`` tells of changes.
        memory: a file that remembers what was done of files that are kept; by default one in the state folder of this user.

    Attributes:
        taken: how many new jobs it has enqueued, or orders started.
        away: why the folder could not be read at the last look, or None.
        complaints: path -> what is wrong with it, of what was left.

    Raises:
        InvalidInput: an argument is bad.

    """

    @overload
    def __init__(
        self: Watch[JobHandle],
        queue: Queue,
        folder: str | os.PathLike[str],
        type: str,
        *,
        chain: None = None,
        **options: Unpack[WatchOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: Watch[OrderHandle],
        queue: Queue,
        folder: str | os.PathLike[str],
        type: None = None,
        *,
        chain: str,
        **options: Unpack[WatchOptions],
    ) -> None: ...

    def __init__(
        self,
        queue: Queue,
        folder: str | os.PathLike[str],
        type: str | None = None,
        *,
        chain: str | None = None,
        patterns: Sequence[str] = (),
        ignore: Sequence[str] = IGNORED,
        recursive: bool = False,
        settle: float = SETTLE,
        params: Mapping[str, Any] | None = None,
        priority: int = BULK_PRIORITY,
        tenant: str | None = None,
        title: str | None = "{name}",
        by_content: bool = False,
        then: str = "keep",
        failed: str = "keep",
        interval: float | None = None,
        memory: str | os.PathLike[str] | None = None,
    ) -> None:
        path = os.path.abspath(Path(folder))  # noqa: PTH100 - unlike resolve() it keeps the names of links
        self._queue = queue
        self._work = cast("Work[H]", work_of(queue, type, chain, priority, tenant))
        endings = ending_of("then", then, path), ending_of("failed", failed, path, delete=False)
        apart = [ending.folder for ending in endings if ending.folder]
        self._folder = Folder(path, patterns=patterns, ignore=ignore, recursive=recursive, apart=apart)
        self._settle = _seconds("settle", settle)
        self._interval = None if interval is None else _seconds("interval", interval)
        self._template, self._by_content = Template(PARAMS if params is None else params, title), by_content
        self._reads = by_content or self._template.wants_digest
        self._memory, self._said = Memory(memory), Said(self._work.noun, self._work.kind, self._work.of)
        self._jobs = WatchedJobs(queue.store, self._work, self._memory, self._said, *endings)
        self._files: dict[str, File] = {}
        self._unseen: dict[str, str] = {}
        self._lock = threading.Lock()
        self._wake: queues.SimpleQueue[None] = queues.SimpleQueue()  # may be put to in a signal handler
        self._stopped = self._waits = self._checked = False
        self.taken = 0
        self.away: str | None = None

    def __repr__(self) -> str:
        return f"<Watch {self._folder.path} for {self._work}>"

    @staticmethod
    def order_id(chain: str, path: str | os.PathLike[str], found: os.stat_result) -> str:
        """Return the id of the order that a watch starts for this version of a file, or has started; not ``by_content``.

        Args:
            chain: its name.
            path: of the file, by the folder as the watch was told it.
            found: what ``os.stat(path)`` says of the version.

        """
        return order_id_of(chain, os.path.abspath(path), Version.of(found), None)[0]  # noqa: PTH100 - as in __init__

    @property
    def complaints(self) -> dict[str, str]:
        """Path -> what is wrong with it, of what was left."""
        return {**self._unseen, **self._said.wrong}

    def stop(self) -> None:
        """End the run, or the look that is under way; from any thread or signal handler. It is not run again."""
        self._stopped = True
        self._wake.put(None)

    def look(self) -> list[H]:
        """Take one settled look: wait until what is new has stayed the same for the settle time, take it, and follow jobs.

        Returns at once if nothing is new. What still changes is left for the next look. A folder that is away is said in the
        log once, and in :attr:`away`.

        Returns:
            the new jobs, or orders, the oldest file first.

        Raises:
            ServerError, OutcomeUnknown: the server cannot be had; to look again is safe.
            Closed, TenantRequired: the namespace takes no such jobs.
            NoSuchChain: there is no chain of that name.

        """
        with self._lock, self._memory.open():
            self._check()
            began = time.monotonic()
            taken = self._step()
            if any(not self._known(file) and began - file.since < self._settle for file in self._files.values()):
                self._rest(began + self._settle, began + self._settle)
                taken += self._step()
            return taken

    def run(self) -> None:
        """Go on until :meth:`stop`. A server or folder that is away later is waited for.

        Raises:
            ServerError: the server cannot be had at the start.
            TenantRequired: the namespace takes no such jobs.
            NoSuchChain: there is no chain of that name at the start; one that is lost later is waited for.

        """
        events = FolderEvents(self._folder.path, lambda: self._wake.put(None), recursive=self._folder.recursive)
        with self._lock, self._memory.open():
            self._queue.store.meet()
            self._check()
            self._said.say(logging.INFO, "watching", f"watching {shown(self._folder.path)} for {self._work}")
            try:
                self._go_on(events)
            finally:
                events.end()
            self._said.say(logging.INFO, "stopped", f"stopped; {self.taken} files were taken")

    def _check(self) -> None:
        if not self._checked:
            self._work.check()
            self._checked = True

    def _go_on(self, events: FolderEvents) -> None:
        home: tuple[int, int] | None = None
        look_at = 0.0
        while not self._stopped:
            began = time.monotonic()
            if began >= look_at:
                self._guarded(self._step)
                took = time.monotonic() - began
                if (found := self._home()) != home:
                    home = found
                    events.begin() if home else events.end()
                    continue  # what came before the events could be heard
                look_at = self._next_look(began, events)
            else:
                took = 0.0
                self._guarded(self._end)
            follow_at = time.monotonic() + FOLLOW if any(map(self._jobs.followed, self._files.values())) else look_at
            if self._rest(min(look_at, follow_at), began + took * (1 + REST)):
                look_at = 0.0

    def _next_look(self, began: float, events: FolderEvents) -> float:
        often = INTERVAL_BESIDE_EVENTS if events.alive and self.away is None and not self._waits else INTERVAL
        unsettled = [file.since + self._settle for file in self._files.values() if file.since + self._settle > began]
        return min([began + (often if self._interval is None else self._interval), *unsettled])

    def _home(self) -> tuple[int, int] | None:
        try:
            found = Path(self._folder.path).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _rest(self, until: float, earliest: float) -> bool:
        """Rest until a moment; returns whether something woke us, which is not before ``earliest``."""
        woken = False
        while not self._stopped:
            left = (earliest if woken else max(until, earliest)) - time.monotonic()
            if left <= 0:
                break
            try:
                self._wake.get(timeout=left)
                woken = True
            except queues.Empty:
                break
        return woken

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except (ServerError, OutcomeUnknown, Closed, NoSuchChain) as error:
            if not self._waits:
                self._said.say(logging.WARNING, "waits", f"waits: {error}")
            self._waits = True
        else:
            if self._waits:
                self._said.say(logging.WARNING, "goes-on", f"the server takes {self._work.noun}s again; goes on")
            self._waits = False

    def _step(self) -> list[H]:
        unseen: dict[str, str] = {}
        began = time.monotonic()
        try:
            there = self._folder.look(lambda path, error: unseen.update({path: told(error)}))
        except OSError as error:
            self._is_away(error)
            return []
        self._is_back()
        for path in unseen.keys() - self._unseen.keys():
            self._said.say(logging.WARNING, "left", f"{shown(path)}: {unseen[path]}; it is left", path=path)
        self._unseen = unseen
        self._jobs.creation = self._queue.store.meet()
        self._compare(there, began)
        taken = self._take(began)
        self._end()
        return taken

    def _end(self) -> None:
        self._jobs.follow(self._files)
        self._jobs.end_files(self._folder, self._files, lambda: self._stopped)

    def _is_away(self, error: OSError) -> None:
        if self.away is None:
            self._said.say(
                logging.WARNING,
                "away",
                f"{shown(self._folder.path)} cannot be read ({error.strerror or error}); it is waited for",
            )
        self.away = error.strerror or str(error)

    def _is_back(self) -> None:
        if self.away is not None:
            self._said.say(logging.WARNING, "back", f"{shown(self._folder.path)} is back")
        self.away = None

    def _compare(self, there: Mapping[str, Version], now: float) -> None:
        for path in self._files.keys() - there.keys():
            del self._files[path]
            self._said.withdraw(path)
        for path, version in there.items():
            file = self._files.get(path)
            if file is None or file.version != version:
                self._said.withdraw(path)
                file = self._files[path] = File(version, now)
                if not self._by_content:
                    file.token, file.key = self._work.name(path, version, None)
                    file.ended = self._memory.ended(self._jobs.creation, file.key, file.token)

    def _take(self, now: float) -> list[H]:
        ready = [
            (file.version.mtime_ns, path, file)
            for path, file in self._files.items()
            if not self._known(file) and now - file.since >= self._settle
        ]
        taken: list[H] = []
        for _, path, file in sorted(ready, key=lambda each: each[:2]):
            if self._stopped:
                break
            handle, new = self._begin(path, file)
            if handle is not None:
                self._said.withdraw(path)
                file.job, file.created = handle.id, None
                if new:
                    taken.append(handle)
                    self.taken += 1
                    self._said.of(logging.INFO, "taken", path, file, f"taken as {self._work.said(handle.id)}")
        return taken

    def _begin(self, path: str, file: File) -> tuple[H | None, bool]:
        """Enqueue the job of a version, or find the one that it has; says whether it is new. None: not now, or not at all."""
        try:
            path.encode()
        except UnicodeEncodeError:
            file.refused = True
            self._said.complain(path, "its path is no Unicode text, so it cannot be a param; it is left. Rename it")
            return None, False
        if self._reads and file.sha256 is None:
            try:
                file.sha256 = digest_of(path, file.version, lambda: self._stopped)
            except OSError as error:
                self._said.complain(path, f"{told(error)}; it is left until it can be read")
            if file.sha256 is None:
                return None, False
        if not file.token:
            file.token, file.key = self._work.name(path, file.version, file.sha256)
            file.ended = self._memory.ended(self._jobs.creation, file.key, file.token)
        if file.ended is not None:  # done; all there may be is a job that a person has resubmitted
            file.asked = True
            return self._work.find(file.token), False
        params, title = self._template.fill(path, file.version, file.sha256)
        try:
            return self._work.begin(file.token, params, title)
        except InvalidInput as error:
            file.refused = True
            self._said.complain(path, f"it is left: {error}")
            return None, False

    def _known(self, file: File) -> bool:
        """Whether there is nothing to be taken."""
        if file.job is not None or file.refused:
            return True
        return file.ended is not None and (file.asked or self._jobs.is_last(file.ended))


def _seconds(name: str, value: float) -> float:
    if type(value) not in {int, float} or not 0 <= value <= 86_400:  # noqa: PLR2004 - one place
        raise InvalidInput(f"{name}: {value!r} is not a number of seconds from 0 to a day.")
    return float(value)
