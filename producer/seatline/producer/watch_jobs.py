"""What becomes of the jobs, or orders, of watched files, and what is done with the files then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from seatline.producer.watch_ends import KEEP, Ending, NoTargetError, put_away
from seatline.producer.watch_files import File, Said, told
from seatline.producer.watch_folder import Folder
from seatline.producer.watch_memory import Memory
from seatline.producer.watch_work import Work
from seatline.shared.calls import reads
from seatline.shared.store import Store

__all__ = ["WatchedJobs"]

GOOD: Final = frozenset({"succeeded", "skipped"})
BAD: Final = frozenset({"failed", "cancelled", "expired"})
#: How many jobs one question is about.
FOLLOWED_AT_ONCE: Final = 1000


class WatchedJobs:
    """Follows the jobs of a watch, or its orders; both are called jobs here.

    Args:
        store: of the queue.
        work: which of both.
        memory: where the ends of files that are kept are noted.
        said: what is told of them.
        then: what is done with a file after success.
        failed: likewise after failure.

    Attributes:
        creation: the namespace's id, as it was said last.

    """

    def __init__(
        self, store: Store, work: Work[object], memory: Memory, said: Said, then: Ending, failed: Ending
    ) -> None:
        self._store, self._work, self._memory, self._said = store, work, memory, said
        self._then, self._failed = then, failed
        self.creation, self._turn = "", 0

    def is_last(self, ended: str | None) -> bool:
        """Whether nothing that becomes of the job hereafter matters: an ended job may still be resubmitted."""
        if ended in BAD:
            return self._failed != KEEP or self._then == KEEP
        return ended in GOOD or ended == "removed"

    def followed(self, file: File) -> bool:
        """Whether it matters what becomes of its job."""
        return file.job is not None and not self.is_last(file.ended)

    def follow(self, files: Mapping[str, File]) -> None:
        """Ask what became of the jobs whose end is not known."""
        pending = [(path, file) for path, file in files.items() if self.followed(file)]
        if not pending:
            return
        start = self._turn % len(pending)
        some = (pending[start:] + pending[:start])[:FOLLOWED_AT_ONCE]
        self._turn = start + len(some)
        store = self._store
        found = self._work.ends([file.job or "" for _, file in some])
        if None in found:
            self.creation = store.meet()  # the read may have met a server that runs anew, and would not know
        contact = store.contact
        run = (self.creation, contact.restarted if contact else None)
        ended: list[tuple[bytes, str, str]] = []
        for (path, file), job in zip(some, found, strict=True):
            before = file.ended
            self._hear(path, file, job, run)
            if file.ended not in {None, before} and self._ending(file) == KEEP:
                ended.append((file.key, file.token, file.ended or ""))
        self._memory.note(self.creation, ended)

    def _hear(self, path: str, file: File, job: reads.End | None, run: tuple[str, int | None]) -> None:
        name = self._work.said(file.job or "0")
        if job is None or file.created not in {None, job.created}:
            if file.ended is not None:
                file.job, file.asked = None, True
            elif job is not None or file.created is None or file.run != run:
                self._said.of(logging.WARNING, "lost", path, file, f"the server has lost {name}; it is taken again")
                file.job = None
            else:
                self._said.of(logging.WARNING, "removed", path, file, f"{name} was removed; the file is left")
                file.ended = "removed"
            return
        file.created, file.run = job.created, run
        if job.state == file.ended:
            return
        if job.state in GOOD | BAD:
            file.ended = job.state
            level = logging.INFO if job.state in GOOD else logging.WARNING
            self._said.of(level, job.state, path, file, f"{name} {job.state}{job.said and f': {job.said}'}")
        elif job.state == "interrupted":
            self._said.complain(
                path,
                f"{name} was interrupted; `seatline jobs resubmit {int(file.job or 0)}` runs it. Until then the file is left",
            )
        else:
            file.ended = None
            self._said.withdraw(path)

    def _ending(self, file: File) -> Ending:
        return self._then if file.ended in GOOD else self._failed if file.ended in BAD else KEEP

    def end_files(self, folder: Folder, files: dict[str, File], stopped: Callable[[], bool]) -> None:
        """Move or delete the files whose jobs have ended."""
        for path, file in list(files.items()):
            ending = self._ending(file)
            if ending == KEEP:
                continue
            if stopped():
                return
            try:
                done = put_away(ending, Path(path), Path(folder.inside(path)), file.version)
            except NoTargetError as error:
                self._said.complain(ending.folder, f"{told(error)}; files are not moved there until it can be had")
                continue
            except OSError as error:
                self._said.complain(path, f"{told(error)}; it stays for now")
                continue
            self._said.withdraw(ending.folder)
            del files[path]
            self._said.withdraw(path)
            if done is not None:
                self._said.of(logging.INFO, "put-away", path, file, done)
