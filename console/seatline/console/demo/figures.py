"""What came of the demo, each figure against what it should be. Pure: evidence in, figures out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from seatline.console.demo.plan import COMPRESS, EMPTY, SEATS
from seatline.console.demo.witness import Counts
from seatline.shared.job import JobRecord

__all__ = ["PICK_UP_MOST", "Evidence", "Figure", "Row", "figures", "rows"]

#: Milliseconds. An idle worker is rung and starts within one or two; found by a look of its own it would take seconds.
PICK_UP_MOST: Final = 500.0


@dataclass(slots=True, kw_only=True)
class Evidence:
    """All that was seen: of the queue, of the witness, of the disk, of the clock."""

    enqueued: dict[str, list[str]]
    records: dict[str, list[JobRecord]]
    #: Names in ``enqueued``: of the empty jobs, of the batch, of what overtakes it. Then the two jobs with a story.
    empty: str
    batch: str
    urgent: str
    long_job: str
    missing_job: str
    killed: str
    killed_at_ms: int
    witness: Counts
    held_in_the_end: int
    server_counts: dict[str, int]
    files_written: int
    pick_ups_ms: list[float]
    findings: list[str] = field(default_factory=list[str])

    @property
    def all_records(self) -> list[JobRecord]:
        """Of every kind."""
        return [record for records in self.records.values() for record in records]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: what it says, and whether that is right."""

    name: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Row:
    """Jobs of one kind by where they ended."""

    name: str
    enqueued: int
    succeeded: int
    failed: int

    @property
    def elsewhere(self) -> int:
        """Neither succeeded nor failed: there should be none."""
        return self.enqueued - self.succeeded - self.failed


def rows(evidence: Evidence) -> list[Row]:
    """Return a row for each kind, and their sum."""
    kinds = [_row(name, ids, evidence.records[name]) for name, ids in evidence.enqueued.items()]
    total = Row(
        "all", *(sum(column) for column in zip(*((r.enqueued, r.succeeded, r.failed) for r in kinds), strict=True))
    )
    return [*kinds, total]


def _row(name: str, ids: Sequence[str], records: Sequence[JobRecord]) -> Row:
    states = Counter(record.state for record in records)
    return Row(name, len(ids), states["succeeded"], states["failed"])


def figures(evidence: Evidence) -> list[Figure]:
    """Judge everything, in the order of the story."""
    return [
        _jobs(evidence),
        _files(evidence),
        _seats(evidence),
        _overtaking(evidence),
        _rescue(evidence),
        _failure(evidence),
        _pick_up(evidence),
        _speed(evidence),
        _verify(evidence),
    ]


def _jobs(seen: Evidence) -> Figure:
    total, counts = rows(seen)[-1], seen.server_counts
    ended = {"succeeded": total.succeeded, "failed": total.failed}
    others = sum(number for state, number in counts.items() if state not in ended)
    right = total.elsewhere == 0 and others == 0 and all(counts[state] == n for state, n in ended.items())
    right = right and total.failed == 1
    text = f"{counts['succeeded']:,} succeeded + {counts['failed']} failed = {total.enqueued:,} enqueued"
    text += f", {others} elsewhere" if others else ""
    surprise = next((r for r in seen.all_records if r.state != "succeeded" and r.id != seen.missing_job), None)
    if surprise:
        text += f"; job {int(surprise.id)} {surprise.state}: {surprise.error_type}: {surprise.error}"
    return Figure("jobs", text, right)


def _files(seen: Evidence) -> Figure:
    done = [r.result for r in seen.all_records if r.type == COMPRESS and r.state == "succeeded"]
    size, packed = (sum(result[name] for result in done) / 1e6 for name in ("bytes", "packed"))
    text = f"{seen.files_written} FILE.xz read back, SHA-256 equal; {size:.1f} MB -> {packed:.1f} MB"
    return Figure("files", text, seen.files_written == len(done) > 0)


def _seats(seen: Evidence) -> Figure:
    witness = seen.witness
    begun = sum(record.attempt for record in seen.all_records if record.type == COMPRESS)
    # A worker may be killed between its reservation and its handler's first line, so that the witness saw one less.
    lost = sum(record.losses for record in seen.all_records if record.type == COMPRESS)
    right = (
        witness.capacity == SEATS
        and 1 <= witness.peak <= SEATS
        and witness.refused == 0
        and witness.now == seen.held_in_the_end == 0
        and witness.admitted == witness.left + witness.cut
        and 1 <= witness.cut <= lost
        and begun - lost < witness.admitted <= begun
    )
    text = (
        f"{witness.peak} of {witness.capacity} at most, counted by the witness; "
        f"{witness.admitted} came, {witness.refused} refused"
    )
    return Figure("seats", text, right)


def _overtaking(seen: Evidence) -> Figure:
    batch = [record for record in seen.records[seen.batch] if record.started]
    urgent = seen.records[seen.urgent]
    waits, overtook, passed = [0.0], [0], 0
    for job in urgent:
        if not (job.started and job.created):
            continue
        waits.append((job.started - job.created).total_seconds() * 1000)
        overtook.append(sum(other.started > job.started for other in batch if other.started))
        passed += sum(job.created < other.started < job.started for other in batch if other.started)
    right = passed == 0 and len(overtook) == len(urgent) + 1 and min(overtook[1:]) > 0
    text = (
        f"{len(urgent)} overtook {max(overtook)} waiting jobs, {passed} passed them, longest wait {max(waits):.0f} ms"
    )
    return Figure("urgent", text, right)


def _rescue(seen: Evidence) -> Figure:
    lost = [record for record in seen.all_records if record.losses]
    long_job = next(record for record in seen.records[seen.batch] if record.id == seen.long_job)
    right = long_job in lost and all(
        record.state == "succeeded" and record.worker != seen.killed and record.attempt == record.losses + 1
        for record in lost
    )
    if not lost or not long_job.started:
        return Figure("crash", "no job was lost with the killed worker", right=False)
    back = long_job.started.timestamp() - seen.killed_at_ms / 1000
    jobs = "1 job" if len(lost) == 1 else f"{len(lost)} jobs"
    text = f"{jobs} of the killed worker ended elsewhere, begun again after {back:.1f} s"
    return Figure("crash", text, right and back > 0)


def _failure(seen: Evidence) -> Figure:
    job = next(record for record in seen.records[seen.batch] if record.id == seen.missing_job)
    right = job.state == "failed" and job.error_type == "FileNotFoundError"
    must = "as it must" if right else "not as it must"
    text = f"job {int(job.id)} {job.state}, {must}: {job.error_type or 'no error'}, {job.title}"
    return Figure("error", text, right)


def _pick_up(seen: Evidence) -> Figure:
    median, most = statistics.median(seen.pick_ups_ms), max(seen.pick_ups_ms)
    text = f"an idle worker begins after {median:.1f} ms (median of {len(seen.pick_ups_ms)}), {most:.1f} ms at most"
    return Figure("pick-up", text, 0 < median < PICK_UP_MOST)


def _speed(seen: Evidence) -> Figure:
    begin = min(record.created_ms for record in seen.records[seen.batch])
    real = [record for record in seen.all_records if record.created_ms >= begin]
    # The samples of the pick-up were enqueued one by one; only what was enqueued together tells of speed.
    last = max(record.created_ms for record in seen.records[seen.empty])
    empty = [record for record in seen.records[seen.empty] if record.created_ms == last]
    seconds, all_of_it = _span(empty), _span(real)
    text = (
        f"{len(empty) / seconds:,.0f} empty jobs/s; {len(real) / all_of_it:.0f} real ones/s "
        f"({len(real)} in {all_of_it:.1f} s, crash included)"
    )
    return Figure("speed", text, len(empty) == EMPTY and all(record.finished for record in real))


def _span(records: Sequence[JobRecord]) -> float:
    """Seconds from the first one's creation to the last one's end; never 0, for it is a divisor."""
    ends = [record.finished.timestamp() for record in records if record.finished]
    return max(0.001, max(ends, default=0.0) - min(record.created_ms for record in records) / 1000)


def _verify(seen: Evidence) -> Figure:
    text = "nothing lost, doubled or held twice" if not seen.findings else "; ".join(seen.findings)
    return Figure("verify", text, not seen.findings)
