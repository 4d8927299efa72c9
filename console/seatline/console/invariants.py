"""What must be true of a namespace at every moment, as pure functions of a :class:`~seatline.console.moment.Moment`.

* **R1 conservation**: ids given = jobs in a place + orders + trimmed + removed + never given (gaps)
* **I1, I2 places**: each job is in exactly the place that its state names, with the score that its fields say; each
  member of a place is a job; one that waits and is not to start after a moment stands in ``expiring`` with that moment
* **I3, S2 seats**: a running job holds exactly its seats, under its token; no more is held than there is, unless the pool
  was changed; see :mod:`seatline.console.seat_invariants`
* **I4 leases**: state running and a token, or no lease
* **Q16 keys of jobs**: a living job has its key, and a key stands for a living job that says so
* **T6, T9, Q20** types, schedules, windows and facts: see :mod:`seatline.console.plan_invariants`
* **O2 to O14** chains and orders: see :mod:`seatline.console.order_invariants`
* **I13 keys**: nothing but what ``keys.PATTERNS`` draws, of its kind; what must expire has a term; no key without its owner;
  see :mod:`seatline.console.key_invariants`

Each violation brings along what ``verify --repair`` would do about it (:mod:`seatline.console.mends`), or what a person can.

A job keeps the token of its last attempt after it has ended: that proves no lease, its state does. A registration in
``idle:`` may outlive its worker, a claim in a pool's line its job, and an entry in ``expiring`` the wait of its job; they
are dropped when they are next looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from seatline.console import mends
from seatline.console.key_invariants import orphan_part, wrong_key
from seatline.console.moment import Moment, number, place_of
from seatline.console.order_invariants import chains_and_orders
from seatline.console.plan_invariants import types_and_plans
from seatline.console.seat_invariants import seats, without_session
from seatline.console.violation import Violation
from seatline.shared.calls.repair import Mend, Part
from seatline.shared.job import uses_map
from seatline.shared.keys import SCHEMA

__all__ = [
    "broken",
    "conservation",
    "forgotten_token",
    "intruder",
    "lease_wrong",
    "misplaced",
    "never_given",
    "strange_key",
    "strange_token",
    "unkeyed",
    "unlimited",
]

#: The stream is trimmed by about, in whole blocks.
EVENTS_MOST = 20_000
#: What a moment was not asked for is judged by nobody: it came while the moment was read.
ID = re.compile(r"\d{16}", re.ASCII)
_ALIVE = ("ready", "scheduled", "running")


def broken(moment: Moment) -> list[Violation]:
    """Return all that is wrong."""
    schema = int(number(moment.about.get("schema"), SCHEMA))
    if schema != SCHEMA:
        said = f"key layout {schema}; this Seatline can judge layout {SCHEMA} only."
        return [
            Violation("I13", "about", said, advice="use a Seatline that knows this layout, or mend the field by hand")
        ]
    found = [
        *conservation(moment),
        *_members(moment),
        *_jobs(moment),
        *_tokens(moment),
        *_keyed(moment),
        *seats(moment),
        *types_and_plans(moment),
        *chains_and_orders(moment),
        *_keys(moment),
    ]
    return sorted(set(found), key=lambda violation: (violation.rule, violation.subject, violation.said))


def _short(job_id: str) -> str:
    return f"job {int(job_id)}"


def conservation(moment: Moment) -> Iterator[Violation]:
    """R1: counted, not listed, so that it holds for any number of jobs."""
    if not moment.all_lines():
        return
    counts = {name: int(number(moment.about.get(name))) for name in ("gaps", "trimmed", "removed")}
    given = moment.seq - counts["gaps"]
    # An order takes a number of the same sequence; lines of chains list orders a second time.
    here = sum(size for place, size in moment.sizes.items() if not place.startswith("chain:"))
    known = here + counts["trimmed"] + counts["removed"]
    if given != known:
        if given > known:
            what = f"{given - known} ids are nowhere"
            mend = mends.shifted("about", "gaps", given - known, moment.about.get("gaps"))
        else:
            what = f"{known - given} ids too many"
            bases = (("field", "about", "gaps", mends.value_of(moment.about.get("gaps"))),)
            mend = Mend(
                f"the sequence goes on {known - given} later", bases, (("incrby", "seq", "", str(known - given)),)
            )
        yield Violation(
            "R1",
            "ids",
            f"{what}: {given} were given, {here} are in a place, {counts['trimmed']} trimmed, {counts['removed']} removed.",
            mend,
        )


def never_given(newest: str, seq: str | None) -> Iterator[Violation]:
    """R1: a job has an id that was given: else the next jobs would take the places of those that are there."""
    if newest and int(newest) > number(seq):
        bases: tuple[Part, ...] = (("kind", f"job:{newest}", "", "hash"), ("text", "seq", "", mends.value_of(seq)))
        mend = Mend(f"the sequence goes on behind {int(newest)}", bases, (("set", "seq", "", str(int(newest))),))
        yield Violation("R1", "seq", f"job {int(newest)} is there, and the last id given is {seq or 'lost'}.", mend)


def _members(moment: Moment) -> Iterator[Violation]:
    """I1, I2: each member of a place is a job that says so."""
    newest = max((job_id for job_id, job in moment.jobs.items() if job), default="")
    yield from never_given(newest, moment.seq_text)
    for place, members in moment.places.items():
        for job_id in members:
            if f"job:{job_id}" in moment.asked or not ID.fullmatch(job_id):
                yield from intruder(place, job_id, moment.jobs.get(job_id, {}))


def intruder(place: str, job_id: str, job: Mapping[str, str]) -> Iterator[Violation]:
    """I1, I2: what is in a place is a job whose record says so."""
    if not job:
        mend = mends.out_of(place, job_id, ("kind", f"job:{job_id}", "", "none"))
        said, advice = "it is there and has no record.", "the job is lost: enqueue it anew"
        yield Violation("I1", f"{place} {job_id}", said, mend, advice)
    elif place_of(job) != place:
        yield Violation(
            "I2",
            _short(job_id),
            f"it is in {place}, its record says {place_of(job)} (state {job.get('state')}).",
            mends.out_of(place, job_id, *mends.place_bases(job_id, job)),
        )


def _jobs(moment: Moment) -> Iterator[Violation]:
    """I1, I2, I4: each job is in its place, and a running one has its lease and its seats."""
    for job_id, job in moment.jobs.items():
        place = place_of(job)
        if not job or place in moment.counted:
            continue
        score = moment.places.get(place, {}).get(job_id)
        yield from misplaced(job_id, job, score)
        if moment.expiring is not None:
            yield from unlimited(job_id, job, moment.expiring.get(job_id))
        if score is not None and job.get("state") == "running":
            yield from lease_wrong(job_id, job)
            for pool, count in uses_map(job.get("seats", "")).items():
                if f"job:{job_id}:{job.get('token')}|{count}" not in moment.sessions.get(pool, {}):
                    yield without_session(job_id, job, pool, count)


def misplaced(job_id: str, job: Mapping[str, str], score: float | None) -> Iterator[Violation]:
    """I1, I2: a job is in the place that its fields name (``score`` is None if not), with the score that they say."""
    place, name, advice = (
        place_of(job),
        _short(job_id),
        "its record is damaged: seatline jobs remove, and enqueue it anew",
    )
    if score is None:
        said = f"its record says {place}, where it is not."
        yield Violation("I1", name, said, mends.line_of(job_id, job, place, None), advice)
        return
    field = {"ready": "priority", "scheduled": "due", "running": None}.get(job.get("state", ""), "finished")
    if field and score != number(job.get(field), float("nan")):
        said = f"its score in {place} is {score:.0f}, its {field} {job.get(field)}."
        yield Violation("I2", name, said, mends.line_of(job_id, job, place, score), advice)


def unlimited(job_id: str, job: Mapping[str, str], limit: float | None) -> Iterator[Violation]:
    """I1: what waits and is not to start after a moment stands in ``expiring`` with that moment, its ``limit``."""
    expires = job.get("expires")
    if expires is not None and job.get("state") in {"ready", "scheduled"} and limit != number(expires, float("nan")):
        mend = mends.placed(
            "expiring", job_id, expires, *mends.fields(f"job:{job_id}", job, "state", "expires"), was=limit
        )
        said = f"it is not to start after {expires}, which expiring does not say."
        yield Violation("I1", _short(job_id), said, mend if expires.isdigit() else None, "its record is damaged")


def lease_wrong(job_id: str, job: Mapping[str, str]) -> Iterator[Violation]:
    """I4: a running job has a token and a worker; without them nobody could settle it, or take it back."""
    for name in ("token", "worker"):
        if not job.get(name):
            bases = mends.fields(f"job:{job_id}", job, "state", name)
            # Nobody's lease: whoever runs it is told that it is lost, and when it is over it is taken back as others are.
            write: Part = ("hset", f"job:{job_id}", name, f"repaired:{job_id}:1" if name == "token" else "nobody")
            mend = Mend("its lease is nobody's, so that it is taken back", bases, (write,))
            yield Violation("I4", _short(job_id), f"it is running without {name}.", mend)


def _tokens(moment: Moment) -> Iterator[Violation]:
    """A producer's token and its job know each other."""
    for token, value in moment.tokens.items():
        job_id = value.partition(" ")[0]
        if f"job:{job_id}" in moment.asked or not ID.fullmatch(job_id):
            yield from strange_token(token, value, moment.jobs.get(job_id, {}))
    for job_id, job in moment.jobs.items():
        submission = job.get("submission")
        if submission is not None and f"token:{submission}" in moment.asked and submission not in moment.tokens:
            yield forgotten_token(job_id, submission)


def forgotten_token(job_id: str, token: str) -> Violation:
    """I1: a job's token is kept as long as the job. The digest of the content is lost: a repeat is refused, never doubled."""
    key = f"token:{token}"
    bases: tuple[Part, ...] = (("field", f"job:{job_id}", "submission", f"={token}"), ("kind", key, "", "none"))
    mend = Mend("it is kept again; to enqueue it anew is refused", bases, (("set", key, "", f"{job_id} lost"),))
    return Violation("I1", _short(job_id), f"its token {token} is not kept.", mend)


def strange_token(token: str, value: str, job: Mapping[str, str]) -> Iterator[Violation]:
    """I13: a token stands for a job that says so."""
    if job.get("submission") != token:
        job_id, key = value.partition(" ")[0], f"token:{token}"
        mend = mends.gone(key, ("text", key, "", f"={value}"), *mends.fields(f"job:{job_id}", job, "submission"))
        yield Violation("I13", f"token {token}", f"it stands for {job_id}, which does not say so.", mend)


def _keyed(moment: Moment) -> Iterator[Violation]:
    for name, job_id in moment.keyed.items():
        if f"job:{job_id}" in moment.asked or not ID.fullmatch(job_id):
            yield from strange_key(name, job_id, moment.jobs.get(job_id, {}))
    for job_id, job in moment.jobs.items():
        if f"unique:{job.get('unique')}" in moment.asked:
            yield from unkeyed(job_id, job, moment.keyed.get(f"unique:{job['unique']}"))


def strange_key(name: str, job_id: str, job: Mapping[str, str]) -> Iterator[Violation]:
    """Q16: ``unique:`` and ``newest:`` stand for a living job that has that key."""
    kind, _, key = name.partition(":")
    owned = ("unique",) if kind == "unique" else ("supersede", "gathers")
    if job.get("state") not in _ALIVE or key not in {job.get(field) for field in owned}:
        bases = mends.fields(f"job:{job_id}", job, "state", *owned)
        said = f"it stands for job {job_id}, which has ended, or does not say so."
        yield Violation("Q16", name, said, mends.gone(name, ("text", name, "", f"={job_id}"), *bases))


def unkeyed(job_id: str, job: Mapping[str, str], owner: str | None) -> Iterator[Violation]:
    """Q16: a living job has its key, else a second one might come beside it."""
    key = job.get("unique")
    if key is None or job.get("state") not in _ALIVE or owner == job_id:
        return
    if owner is None:
        name = f"unique:{key}"
        bases = (*mends.fields(f"job:{job_id}", job, "state", "unique"), ("kind", name, "", "none"))
        mend = Mend("it has its key again", bases, (("set", name, "", job_id),))
        yield Violation("Q16", _short(job_id), f"its key {key} is not kept.", mend)
    else:
        advice = f"if that one lives, cancel one of them: seatline jobs cancel {int(job_id)}"
        yield Violation("Q16", _short(job_id), f"its key {key} stands for job {owner}.", advice=advice)


def _keys(moment: Moment) -> Iterator[Violation]:
    """I13: names, kinds, terms, owners."""
    for name, (left, kind) in moment.kinds.items():
        yield from wrong_key(name, left, kind)
        if name.startswith("job:") and name.count(":") == 2 and not moment.jobs.get(name.split(":")[1]):  # noqa: PLR2004
            yield orphan_part(name, name.rpartition(":")[0], "job")
    if moment.events > EVENTS_MOST:
        advice = "the next transition trims it; if none does: seatline cli XTRIM"
        yield Violation("I13", "events", f"{moment.events} entries, meant are about 10,000.", advice=advice)
