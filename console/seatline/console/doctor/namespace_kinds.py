"""The kinds of finding that a namespace has (``namespace_rules.py``): what each means, and what mends it."""

from __future__ import annotations

from typing import Final

from seatline.shared.findings import Kind

__all__ = [
    "CLOCK_BACK",
    "CLOSED",
    "DUE",
    "FAILED",
    "INTERRUPTED",
    "KEYS",
    "KINDS",
    "LAYOUT",
    "LEASES",
    "LOST",
    "NO_WORKER",
    "ORDERS",
    "OVERDUE",
    "PART",
    "PAUSED",
    "POOL_MISSING",
    "POOL_OVER",
    "POOL_SHUT",
    "POOL_SMALL",
    "RESTARTED",
    "RESTING",
    "SCHEDULES",
    "SCHEDULE_BROKEN",
    "SEATS_LATE",
    "VERSIONS",
    "WAITING",
    "WORKERS",
]

LAYOUT = Kind(
    "layout",
    "The version of the key layout in which the namespace is written. A newer one is refused by every start and every look, "
    "because this Seatline does not know what it means.",
    "Install the newer Seatline here: pip install -U seatline",
)
PART = Kind(
    "part",
    "There is more of something than is looked at, 1,000 of each, so that the answer comes at once. The rest is not judged.",
    "seatline {what} list shows all.",
)
RESTARTED = Kind(
    "restarted",
    "The server was restarted in the last day. What it had not written to its disk is lost; jobs that ran are interrupted or "
    "run again, as their types say.",
    "seatline doctor --since-restart",
)
CLOCK_BACK = Kind(
    "clock-back",
    "The server's clock was set back: what was due then is due later, and leases and seats of lost workers are held longer.",
    "Wait until the clock has caught up; have it slewed, not set (chrony, systemd-timesyncd).",
)
PAUSED = Kind(
    "paused",
    "Somebody has paused the namespace or a type: jobs are accepted and none starts.",
    "seatline types resume {what}",
)
CLOSED = Kind("closed", "Somebody has closed the namespace: new jobs are refused.", "seatline jobs reopen")
NO_WORKER = Kind(
    "no-worker",
    "Jobs of a type wait, and no live worker supports it. They stay where they are until one does (Q15).",
    "seatline worker MODULE --types {type}",
)
WORKERS = Kind(
    "workers",
    "How many workers live and how many jobs they run. Without one nothing starts, nothing is promoted and nothing that was "
    "lost is taken back.",
    "seatline worker MODULE",
)
RESTING = Kind(
    "resting",
    "All live workers are paused or stopping, and jobs wait.",
    "seatline workers resume --all, or start another: seatline worker MODULE",
)
LOST = Kind(
    "lost",
    "A worker has gone without a word, as one does that is killed or cut off. Its jobs are taken back by another worker: they "
    "run again or are interrupted, as their types say.",
    "seatline workers list; start another: seatline worker MODULE",
)
VERSIONS = Kind(
    "versions",
    "Live workers run different versions of Seatline. That is meant for the time of an upgrade, not for ever.",
    "seatline workers list -o json tells which; seatline workers stop ID, and start it anew.",
)
OVERDUE = Kind(
    "overdue",
    "A handler goes on after its time-out, in a thread that cannot be stopped; it keeps its slot and its seats.",
    "seatline workers show {worker}; seatline workers stop {worker} --now gives its jobs back.",
)
LEASES = Kind(
    "leases",
    "Jobs count as running whose worker has not renewed them for over a minute beyond their term. Any live worker takes them "
    "back within two of its renewals.",
    "Start a worker, of any type: seatline worker MODULE",
)
SEATS_LATE = Kind(
    "seats-late",
    "Seats are held by somebody who should have renewed them over a minute ago. Any live worker frees them within two of its "
    "renewals.",
    "seatline pools show {pool}; if no worker lives: seatline worker MODULE",
)
POOL_OVER = Kind(
    "pool-over",
    "More seats are held than the pool has, as after its capacity was lowered. Nobody new gets in until it fits.",
    "Wait, or: seatline pools set {pool} {seats}",
)
POOL_MISSING = Kind(
    "pool-missing",
    "A job, a type or a step of a chain names a pool that does not exist; such jobs cannot start (S5).",
    "seatline pools set {pool} CAPACITY",
)
POOL_SMALL = Kind(
    "pool-small",
    "A job, a type or a step of a chain wants more seats than the pool has at all; such jobs cannot start (S5).",
    "seatline pools set {pool} {seats}",
)
POOL_SHUT = Kind(
    "pool-shut",
    "A pool gives no seat although some are free: the licence server has refused, or all are used outside.",
    "seatline pools show {pool}; if that is no longer so: seatline pools external {pool} 0",
)
WAITING = Kind(
    "waiting",
    "Since when the oldest job of a type waits, from an hour on; a day is taken for a mistake.",
    "seatline jobs list --type {type} --limit 1; then: seatline jobs why ID",
)
DUE = Kind(
    "due",
    "Jobs were due over a minute ago and stand among those to come. A live worker of any type puts them in line.",
    "Start a worker, of any type: seatline worker MODULE",
)
SCHEDULES = Kind(
    "schedules",
    "The moment of a schedule has passed over a minute ago and nobody has fired it. A live worker of any type does.",
    "Start a worker, of any type: seatline worker MODULE; see: seatline schedules list",
)
SCHEDULE_BROKEN = Kind(
    "schedule-broken",
    "A schedule cannot be fired, for the reason that stands with it; it is tried again now and then.",
    "Mend it: seatline schedules add {schedule} ... --replace; or: seatline schedules remove {schedule}",
)
ORDERS = Kind(
    "orders",
    "Orders that wait for a person: failed at a step, or suspended.",
    "seatline orders list --state {state}; then: seatline orders resume ID",
)
INTERRUPTED = Kind(
    "interrupted",
    "Jobs whose worker died while they ran, and of which a person decides whether they run again (T4). They are kept until "
    "then.",
    "seatline jobs list --state interrupted; then: seatline jobs resubmit ID, or seatline jobs remove ID",
)
FAILED = Kind(
    "failed",
    "Jobs that have failed for good in the last day.",
    "seatline jobs list --state failed; then: seatline jobs resubmit ID",
)
KEYS = Kind(
    "keys",
    "Keys of the namespace that belong to nothing, in a sample of some thousand. Nobody uses them; they take memory.",
    "seatline verify looks at all of them; seatline cli DEL KEY removes one.",
)

#: In the order in which they are told.
KINDS: Final = (
    LAYOUT,
    PART,
    RESTARTED,
    CLOCK_BACK,
    PAUSED,
    CLOSED,
    NO_WORKER,
    WORKERS,
    RESTING,
    LOST,
    VERSIONS,
    OVERDUE,
    LEASES,
    SEATS_LATE,
    POOL_OVER,
    POOL_MISSING,
    POOL_SMALL,
    POOL_SHUT,
    WAITING,
    DUE,
    SCHEDULES,
    SCHEDULE_BROKEN,
    ORDERS,
    INTERRUPTED,
    FAILED,
    KEYS,
)
