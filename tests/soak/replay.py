"""The server's own account, replayed: each script writes one entry to the stream ``events``, so the stream is the order
in which things really happened, and each job's life can be followed in it as a small state machine.

::

    submitted -> waiting -> running (reserved) -> ended (settled, or reaped as interrupted or cancelled)
                    ^          |  reaped, handed back, or failed and to run again
                    '----------'
    ended -> waiting (resubmitted),   waiting -> ended (cancelled, expired)

Anything else is an anomaly: a job that ends twice, is reserved while it runs, is settled by a worker that does not hold
it. A report that the server refused as stale is in the account as such and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["LOSSES_MOST", "Account", "Life", "replay"]

#: A job lost so often is interrupted whatever it says.
LOSSES_MOST = 3
WAITING, RUNNING = "waiting", "running"
Entry = tuple[str, Mapping[str, str]]


@dataclass(slots=True)
class Life:
    """What happened to one job; counts since its last resubmission, reservations in all too."""

    state: str = WAITING
    worker: str = ""
    reserved: int = 0
    reserved_since: int = 0
    handed_back: int = 0
    losses: int = 0
    ends: int = 0
    resubmitted: int = 0


@dataclass(slots=True)
class Account:
    """All lives, what was refused, and what should not have happened."""

    lives: dict[str, Life] = field(default_factory=dict[str, Life])
    stale: int = 0
    interrupted: int = 0
    poisoned: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    anomalies: list[str] = field(default_factory=list[str])

    @property
    def reruns(self) -> int:
        """Runs beyond the first of each job."""
        return sum(max(0, life.reserved - 1) for life in self.lives.values())


def replay(entries: Iterable[Entry]) -> Account:
    """Follow every job through the entries, oldest first."""
    account = Account()
    for entry_id, fields in entries:
        verb = next((verb for verb in _VERBS if verb in fields), "")
        account.counts[verb or "other"] += 1
        if verb:
            _VERBS[verb](_Scribe(account, entry_id), fields)
    return account


class _Scribe:
    """Writes one entry into the account."""

    def __init__(self, account: Account, entry: str) -> None:
        self.account, self.entry = account, entry

    def submitted(self, fields: Mapping[str, str]) -> None:
        first, count = int(fields["submitted"]), int(fields["count"])
        for number in range(first, first + count):
            job_id = f"{number:016}"
            if job_id in self.account.lives:
                self._odd(job_id, "submitted, and known before")
            self.account.lives[job_id] = Life()

    def turn(self, fields: Mapping[str, str]) -> None:
        for job_id, state in (told.split(":") for told in fields["settled"].split()):
            if state == "stale":
                self.account.stale += 1
                continue
            life = self._expect(job_id, RUNNING, f"settled as {state}")
            if life.worker != fields["worker"]:
                self._odd(job_id, f"settled by {fields['worker']}, held by {life.worker}")
            if state == "ready":
                life.state, life.handed_back = WAITING, life.handed_back + 1
            elif state == "scheduled":
                life.state = WAITING
            else:
                self._end(life, state)
        for job_id in fields["reserved"].split():
            life = self._expect(job_id, WAITING, "reserved")
            life.state, life.worker = RUNNING, fields["worker"]
            life.reserved, life.reserved_since = life.reserved + 1, life.reserved_since + 1

    def reaped(self, fields: Mapping[str, str]) -> None:
        for job_id, word in (told.split(":") for told in fields["reaped"].split()):
            if word == "freed":
                continue
            life = self._expect(job_id, RUNNING, f"reaped as {word}")
            life.losses += 1
            if word == "ready":
                life.state = WAITING
            else:
                self.account.poisoned += life.losses >= LOSSES_MOST
                self._end(life, word)

    def cancelled(self, fields: Mapping[str, str]) -> None:
        self._end(self._expect(fields["cancelled"], WAITING, "cancelled"), "cancelled")

    def expired(self, fields: Mapping[str, str]) -> None:
        self._end(self._expect(fields["expired"], WAITING, "expired"), "expired")

    def moved(self, fields: Mapping[str, str]) -> None:
        self._expect(fields["moved"], WAITING, "moved")

    def resubmitted(self, fields: Mapping[str, str]) -> None:
        job_id = fields["resubmitted"]
        life = self.account.lives[job_id]
        if life.state in {WAITING, RUNNING}:
            self._odd(job_id, f"resubmitted while {life.state}")
        life.state, life.reserved_since, life.handed_back, life.losses, life.ends = WAITING, 0, 0, 0, 0
        life.resubmitted += 1

    def _end(self, life: Life, state: str) -> None:
        life.state, life.ends = state, life.ends + 1
        self.account.interrupted += state == "interrupted"

    def _expect(self, job_id: str, state: str, what: str) -> Life:
        life = self.account.lives.get(job_id)
        if life is None:
            self._odd(job_id, f"{what}, and never submitted")
            life = self.account.lives[job_id] = Life()
        elif life.state != state:
            self._odd(job_id, f"{what} while {life.state}")
        return life

    def _odd(self, job_id: str, what: str) -> None:
        self.account.anomalies.append(f"event {self.entry}: job {int(job_id)} was {what}")


_VERBS = {
    "submitted": _Scribe.submitted,
    "settled": _Scribe.turn,
    "reaped": _Scribe.reaped,
    "cancelled": _Scribe.cancelled,
    "expired": _Scribe.expired,
    "moved": _Scribe.moved,
    "resubmitted": _Scribe.resubmitted,
}
