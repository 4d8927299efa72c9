"""Load a file: each of its lines becomes a job, exactly once, however often the load is killed and begun again.

Terms: a *load* has an id; a line's request is the load's id and the line's number. The server keeps how far a load has come
(``load:<id>``: the last line that it took, and a digest of all lines up to there) and moves that on in the same step in which
it takes the jobs of a batch (``load.lua``). So whoever begins again goes on behind that line, and nobody can take one twice.

Who is authoritative: the server. What happens at each failure:

* we are killed: the batch under way was taken or not; the next run is told, and goes on there
* the connection is lost: the batch is sent again; the load is behind it by then, or not
* the server is killed and has lost its last writes: the load has come less far than we thought; a file is read again from
  there, an input that cannot be read again ends with an error
* somebody else runs the same load at the same time: of two batches of the same lines one is taken; the other run goes on
  behind it
* another content under the same id: the digests differ, and it is refused
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from seatline.producer.load_lines import Bad, Batch, Input, Lines, Shape
from seatline.producer.load_rows import bad_line, batches, lacks_tenant
from seatline.shared.calls import loads
from seatline.shared.calls.loads import LoadRecord, Position, Unfit
from seatline.shared.config import check_name
from seatline.shared.errors import Conflict, InvalidInput, OutcomeUnknown
from seatline.shared.store import Patience

if TYPE_CHECKING:
    from seatline.producer.queue import Queue

__all__ = ["Bad", "Input", "Load", "Outcome", "Shape"]

log = logging.getLogger("seatline.producer")

NAME_MOST: Final = 100
#: Batches that are made or under way at the same time.
AHEAD: Final = 3
#: Seconds for which a server that has taken lines before is waited for.
PATIENCE: Final = 60.0
ROUNDS: Final = 5
_START: Final = Position(0, "", "", 0, 0, 0)


@dataclass(slots=True)
class Outcome:
    """How far a load has come.

    Attributes:
        id: of the load; its jobs are tagged ``load:<id>``.
        line: the last line that is done.
        accepted: new jobs of this run.
        there: jobs that earlier runs had brought (or others meanwhile).
        existed: lines whose own token or unique key stood for another job already, of this run.
        rejected: lines that are no good jobs, of all runs.
        untold: rejected lines of earlier runs that this run cannot tell (the server had refused them).
        ended: the last line is done.
        seconds: since this run began.

    """

    id: str
    line: int = 0
    accepted: int = 0
    there: int = 0
    existed: int = 0
    rejected: int = 0
    untold: int = 0
    ended: bool = False
    seconds: float = 0.0


class _ElsewhereError(Exception):
    """The server has another position of this load than we thought."""


class Load:
    """One run of a load.

    Args:
        source: what is loaded.
        shape: how its lines become jobs.
        id: of the load: a name. By default of a file: made from its content and the shape; of a stream: random.
        limit: only the first so many jobs of the input.
        bad: told of each line that is rejected, in order.
        on: told how far it is, after each batch.

    Raises:
        InvalidInput: an argument is bad.

    """

    def __init__(
        self,
        source: Input,
        shape: Shape,
        *,
        id: str | None = None,
        limit: int | None = None,
        bad: Callable[[Bad], None] = lambda _: None,
        on: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self._source, self._shape, self._limit = source, shape.checked(), limit
        self._bad, self._on = bad, on
        self._digest = self._shape.digest()
        self._own = id is None and source.digest is not None
        if id is not None and len(check_name("id", id)) > NAME_MOST:
            raise InvalidInput(f"id: {len(id)} characters are more than the limit of {NAME_MOST}.")
        said = f"{source.digest} {self._digest}".encode()
        made = hashlib.blake2b(said, digest_size=6).hexdigest() if self._own else secrets.token_hex(6)
        self.outcome = Outcome(id or made)
        self._said: set[str] = set()
        self._queue: Queue  # of the run
        self._base: Position | None = None
        self._told = self._told_to = 0
        self._began = time.monotonic()
        self._stopped = False

    @property
    def tag(self) -> str:
        """The tag of all its jobs."""
        return f"load:{self.outcome.id}"

    def check(self) -> Outcome:
        """Look at all lines and send none: ``accepted`` are those that would be, if none is there."""
        self._began, outcome = time.monotonic(), self.outcome
        for batch in self._batches(0, check=True, limit=self._limit):
            outcome.accepted += len(batch.jobs)
            self._tell(batch)
            outcome.line, outcome.ended, outcome.rejected = batch.end, batch.last, self._told
            outcome.seconds = time.monotonic() - self._began
            self._on(outcome)
        return outcome

    def run(self, queue: Queue) -> Outcome:
        """Load all lines that are not there yet.

        Whatever ends it early, ``outcome`` says how far it came; to run it again goes on there.

        Raises:
            Closed: the namespace takes no new jobs.
            Conflict: the load of that id has another content, or another shape.
            InvalidInput: the file as a whole is not what its shape says, or has changed meanwhile.
            OutcomeUnknown: a stream cannot be read again from where the load is now.
            ServerError: the server cannot be had.

        """
        self._queue, self._began = queue, time.monotonic()
        look = loads.load_record(queue.store.keys, self.outcome.id)
        record = queue.store.read(look)
        for _ in range(ROUNDS):
            try:
                self._round(record)
            except _ElsewhereError:
                if not self._source.is_file:
                    raise OutcomeUnknown(
                        f"load {self.outcome.id}: the server is not at the line at which we are: it has lost its last writes, "
                        "or somebody else runs the same load. Repeat it with the same id: it goes on where the server is."
                    ) from None
                record = queue.store.read(look)
            else:
                return self.outcome
        raise Conflict(
            f"load {self.outcome.id}: somebody else runs it at the same time. Wait for its end, then repeat it."
        )

    def _round(self, record: LoadRecord | None) -> None:
        start = _START if record is None else record.position
        if record is not None and start.shape != self._digest:
            raise Conflict(
                f"load {self.outcome.id}: it was begun with other options (type, priority, tags, format, ...); nothing was "
                "sent. Repeat it with the same ones, or give another --id."
            )
        if self._base is None or start.line < self._base.line:  # the second: the server has lost its last writes
            self._base = start
        self._told = 0
        self._note(start, ended=record is not None and record.ended is not None)
        limit = None if self._limit is None else self._limit - start.jobs - start.existed
        if limit is not None and limit <= 0:
            return
        newest = Batch(0, "")
        with ThreadPoolExecutor(1, "load") as sender:
            under_way: deque[tuple[Batch, Future[Position]]] = deque()
            try:
                for batch in self._batches(start.line, check=start.rejected > 0, limit=limit):
                    newest = batch
                    if batch.end <= start.line:
                        self._passed(batch, start)
                        if not batch.last or self.outcome.ended or not batch.end:
                            continue
                        batch = Batch(batch.end, batch.mark, batch.end, batch.mark, last=True)  # noqa: PLW2901 - to be sent
                    under_way.append((batch, sender.submit(self._send, batch)))
                    while len(under_way) >= AHEAD:
                        self._taken(*under_way.popleft())
                while under_way:
                    self._taken(*under_way.popleft())
            except BaseException:
                self._stopped = True  # Ctrl-C too
                self._wait_for([future for _, future in under_way if not future.cancel()])
                raise
        self._look_back(newest, start)

    def _wait_for(self, under_way: list[Future[Position]]) -> None:
        """Hear of what was under way when something went wrong, so that we can say how far the load came."""
        for future in under_way:
            if future.exception() is None:
                self._note(future.result())

    def _look_back(self, newest: Batch, start: Position) -> None:
        """Say so if the input was not what it was to be."""
        if newest.end < start.line:
            raise self._other_content(f"it has {newest.end:,} lines, the load took {start.line:,}")
        if self._own and newest.last and newest.mark != self._source.digest:
            raise InvalidInput("the file changed while it was read. Load it again when nobody writes it.")
        self.outcome.untold = max(0, self.outcome.rejected - self._told)

    def _batches(self, after: int, *, check: bool, limit: int | None) -> Iterator[Batch]:
        with closing(self._source.open()) as stream:
            lines = Lines(stream, self._source.lines if self._own else None)
            yield from batches(lines, self._shape, self.tag, after=after, check=check, limit=limit)

    def _send(self, batch: Batch) -> Position:
        """Have the server take a batch; jobs that it cannot take are put to the bad ones, and the others sent again."""
        store = self._queue.store
        while True:
            lines = loads.Lines(batch.start, batch.before, batch.end, batch.mark, len(batch.bad), batch.last)
            call = loads.load(self.outcome.id, self._digest, self._queue.by, lines, batch.jobs, batch.frames)
            answer = store.run(call, self._patience())
            if isinstance(answer, Unfit):
                _put_aside(batch, answer)
                continue
            if not answer.taken and (answer.line, answer.mark, answer.shape) != (batch.end, batch.mark, self._digest):
                raise _ElsewhereError
            return answer

    def _patience(self) -> Patience:
        deadline = self._queue.settings.deadline
        seconds = max(PATIENCE, deadline) if self.outcome.accepted else deadline
        return Patience(
            seconds,
            lambda: self._stopped,
            lambda why: log.warning("load %s waits: %s", self.outcome.id, why),
            lambda: log.warning("load %s goes on.", self.outcome.id),
        )

    def _taken(self, batch: Batch, future: Future[Position]) -> None:
        position = future.result()
        for lacking in position.lacking:
            if lacking not in self._said:
                self._said.add(lacking)
                log.warning("%s; until then its jobs wait.", lacking)
        self._tell(batch)
        self._note(position, ended=batch.last)
        self._on(self.outcome)

    def _passed(self, batch: Batch, start: Position) -> None:
        """Pass over a batch that is there already."""
        if batch.end == start.line and batch.mark != start.mark:
            raise self._other_content(f"its first {start.line:,} lines are others")
        self._tell(batch)
        self._on(self.outcome)

    def _tell(self, batch: Batch) -> None:
        for bad in sorted(batch.bad, key=lambda each: each.line):
            self._told += 1
            if bad.line > self._told_to:  # when lines are read anew, each is told once
                self._told_to = bad.line
                self._bad(bad)

    def _note(self, position: Position, *, ended: bool | None = None) -> None:
        base, outcome = self._base or position, self.outcome
        outcome.line, outcome.there = position.line, base.jobs + base.existed
        outcome.accepted, outcome.existed = position.jobs - base.jobs, position.existed - base.existed
        outcome.rejected, outcome.seconds = position.rejected, time.monotonic() - self._began
        outcome.ended = outcome.ended if ended is None else ended

    def _other_content(self, how: str) -> Conflict:
        return Conflict(
            f"load {self.outcome.id}: that id was given to another content: {how}; nothing was sent. Give another --id."
        )


def _put_aside(batch: Batch, unfit: Unfit) -> None:
    """Take the job that the server cannot take out of its batch, and all that have the same fault, where we can see it."""
    wrong = {unfit.index}
    if unfit.word == "tenant":
        wrong |= {at for at, words in enumerate(batch.jobs) if lacks_tenant(batch, words)}
    for at in sorted(wrong):
        batch.bad.append(bad_line(batch.numbers[at], batch.texts[at], unfit.reason))
    kept = [at for at in range(len(batch.jobs)) if at not in wrong]
    batch.jobs = [batch.jobs[at] for at in kept]
    batch.numbers = [batch.numbers[at] for at in kept]
    batch.texts = [batch.texts[at] for at in kept]
