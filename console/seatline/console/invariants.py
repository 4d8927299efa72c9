"""What must be true of a namespace at every moment, as pure functions of a :class:`~seatline.console.moment.Moment`.

* **R1 conservation**: ids given = jobs in a place + orders + trimmed + removed + never given (gaps)
* **I1, I2 places**: each job is in exactly the place that its state names, with the score that its fields say; each
  member of a place is a job; one that waits and is not to start after a moment stands in ``expiring`` with that moment
* **I3, S2 seats**: a running job holds exactly its seats, under its token; each session has a living owner; the
  counter, where there is one, is the sum of the sessions; no more is held than there is, unless the pool was changed
* **I4 leases**: state running and a token, or no lease
* **T6 plans**: each schedule and each window stands in ``schedules`` at its next moment, and nothing else does
* **Q20 facts**: those that wait for a trigger have one, and stand in ``schedules``, so that a worker makes their jobs
* **O2 to O14** chains and orders: see :mod:`seatline.console.order_invariants`
* **I13 keys**: nothing but what ``keys.PATTERNS`` draws; what must expire has a term; no key without its owner

A job keeps the token of its last attempt after it has ended: that proves no lease, its state does. A registration in
``idle:`` may outlive its worker, a claim in a pool's line its job, and an entry in ``expiring`` the wait of its job; they
are dropped when they are next looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from seatline.console.moment import Moment, place_of
from seatline.console.order_invariants import chains_and_orders
from seatline.console.violation import Violation
from seatline.shared.job import uses_map
from seatline.shared.keys import PATTERNS, SCHEMA
from seatline.shared.times import NEVER

__all__ = [
    "broken",
    "conservation",
    "forgotten_token",
    "intruder",
    "misplaced",
    "strange_token",
    "unlimited",
    "wrong_key",
]

#: The stream is trimmed by about, in whole blocks.
EVENTS_MOST = 20_000
_NO_EXPIRY = -1
#: What a moment was not asked for is judged by nobody: it came while the moment was read.
ID = re.compile(r"\d{16}", re.ASCII)
_PATTERNS = [(re.compile(pattern, re.ASCII), form) for pattern, form in PATTERNS.items()]
_MEMBER = re.compile(r"(?P<owner>(?P<kind>job|worker|program):(?P<rest>.+))\|(?P<seats>\d+)")


def broken(moment: Moment) -> list[Violation]:
    """Return all that is wrong."""
    schema = int(moment.about.get("schema", SCHEMA))
    if schema != SCHEMA:
        return [Violation("I13", "about", f"key layout {schema}; this Seatline can judge layout {SCHEMA} only.")]
    found = [
        *conservation(moment),
        *_members(moment),
        *_jobs(moment),
        *_tokens(moment),
        *_pools(moment),
        *_programs(moment),
        *_lines(moment),
        *_plans(moment),
        *_facts(moment),
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
    counts = {name: int(moment.about.get(name, "0")) for name in ("gaps", "trimmed", "removed")}
    given = moment.seq - counts["gaps"]
    # An order takes a number of the same sequence; lines of chains list orders a second time.
    here = sum(size for place, size in moment.sizes.items() if not place.startswith("chain:"))
    known = here + counts["trimmed"] + counts["removed"]
    if given != known:
        what = f"{given - known} ids are nowhere" if given > known else f"{known - given} ids too many"
        yield Violation(
            "R1",
            "ids",
            f"{what}: {given} were given, {here} are in a place, {counts['trimmed']} trimmed, {counts['removed']} removed.",
        )


def _members(moment: Moment) -> Iterator[Violation]:
    """I1, I2: each member of a place is a job that says so."""
    for place, members in moment.places.items():
        for job_id in members:
            if f"job:{job_id}" in moment.asked or not ID.fullmatch(job_id):
                yield from intruder(place, job_id, moment.jobs.get(job_id, {}), moment.seq)


def intruder(place: str, job_id: str, job: Mapping[str, str], seq: int) -> Iterator[Violation]:
    """I1, I2: what is in a place is a job whose record says so, with an id that was given."""
    if not job:
        yield Violation("I1", f"{place} {job_id}", "it is there and has no record.")
    elif place_of(job) != place:
        yield Violation(
            "I2", _short(job_id), f"it is in {place}, its record says {place_of(job)} (state {job.get('state')})."
        )
    if job_id.isdigit() and int(job_id) > seq:
        yield Violation("R1", _short(job_id), f"its id was not given yet: the last is {seq}.")


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
            yield from _lease(moment, job_id, job)


def misplaced(job_id: str, job: Mapping[str, str], score: float | None) -> Iterator[Violation]:
    """I1, I2: a job is in the place that its fields name (``score`` is None if not), with the score that they say."""
    place, name = place_of(job), _short(job_id)
    if score is None:
        yield Violation("I1", name, f"its record says {place}, where it is not.")
        return
    said = {"ready": "priority", "scheduled": "due", "running": None}.get(job.get("state", ""), "finished")
    if said and score != float(job.get(said, "nan")):
        yield Violation("I2", name, f"its score in {place} is {score:.0f}, its {said} {job.get(said)}.")


def unlimited(job_id: str, job: Mapping[str, str], limit: float | None) -> Iterator[Violation]:
    """I1: what waits and is not to start after a moment stands in ``expiring`` with that moment, its ``limit``."""
    expires = job.get("expires")
    if expires is not None and job.get("state") in {"ready", "scheduled"} and limit != float(expires):
        yield Violation("I1", _short(job_id), f"it is not to start after {expires}, which expiring does not say.")


def _lease(moment: Moment, job_id: str, job: Mapping[str, str]) -> Iterator[Violation]:
    """I3, I4: a running job has a token, a worker and exactly its seats."""
    lacking = [name for name in ("token", "worker") if not job.get(name)]
    if lacking:
        yield Violation("I4", _short(job_id), f"it is running without {' and '.join(lacking)}.")
    for pool, seats in uses_map(job.get("seats", "")).items():
        if f"job:{job_id}:{job.get('token')}|{seats}" not in moment.sessions.get(pool, {}):
            yield Violation(
                "I3", _short(job_id), f"it runs with {seats} seats of pool {pool} and has no session there."
            )


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
    """I1: a job's token is kept as long as the job."""
    return Violation("I1", _short(job_id), f"its token {token} is not kept.")


def strange_token(token: str, value: str, job: Mapping[str, str]) -> Iterator[Violation]:
    """I13: a token stands for a job that says so."""
    if job.get("submission") != token:
        yield Violation("I13", f"token {token}", f"it stands for {value.partition(' ')[0]}, which does not say so.")


def _pools(moment: Moment) -> Iterator[Violation]:
    """S2, I3: who holds seats, how many, and whether he is alive."""
    listed = moment.sets.get("pools", set[str]())
    for pool in sorted(listed ^ set(moment.pools)):
        if f"pool:{pool}" not in moment.asked:
            continue
        yield Violation("I13", f"pool {pool}", "it is in only one of pools and pool:<name>.")
    for pool, members in moment.sessions.items():
        if members and pool not in listed:
            yield Violation("I3", f"pool {pool}", f"{len(members)} sessions hold seats of a pool that does not exist.")
        held = 0
        for member in members:
            match = _MEMBER.fullmatch(member)
            if not match:
                yield Violation("I3", f"pool {pool}", f"{member} is no session.")
                continue
            held += int(match["seats"])
            yield from _owner(moment, pool, match)
        counter = moment.counters.get(pool)
        if counter is not None and counter != held:
            yield Violation("S2", f"pool {pool}", f"its counter says {counter} seats in use, its sessions hold {held}.")
    for pool, counter in moment.counters.items():
        if counter and not moment.sessions.get(pool):
            yield Violation("S2", f"pool {pool}", f"its counter says {counter} seats in use, and nobody holds any.")


def _owner(moment: Moment, pool: str, match: re.Match[str]) -> Iterator[Violation]:
    member, seats = match[0], int(match["seats"])
    subject = f"pool {pool} {member}"
    if match["kind"] == "program" and f"{pool}|{member}" not in moment.programs:
        yield Violation("I3", subject, "it is not in programs: nobody would take its seats back.")
    job_id, _, token = match["rest"].partition(":")
    if match["kind"] != "job" or (ID.fullmatch(job_id) and f"job:{job_id}" not in moment.asked):
        return
    job = moment.jobs.get(job_id, {})
    if job.get("state") != "running" or job.get("token") != token:
        yield Violation("I3", subject, f"it holds seats, and that lease is over ({job.get('state', 'no such job')}).")
    elif uses_map(job.get("seats", "")).get(pool) != seats:
        yield Violation("I3", subject, f"it holds {seats}, its job says {job.get('seats', 'none')}.")


def _programs(moment: Moment) -> Iterator[Violation]:
    """I3: each program's session is listed in both places, with one deadline."""
    for entry, deadline in moment.programs.items():
        pool, _, member = entry.partition("|")
        if moment.sessions.get(pool, {}).get(member) != deadline:
            yield Violation(
                "I3", f"pool {pool}", f"programs lists {member}, the pool's sessions do not (with its deadline)."
            )


def _lines(moment: Moment) -> Iterator[Violation]:
    """I2: a line that its type does not list would never be looked at."""
    types = moment.sets.get("types", set[str]())
    for type_ in sorted(types ^ {name for name, fields in moment.types.items() if fields}):
        if f"type:{type_}" not in moment.asked:
            continue
        yield Violation("I13", f"type {type_}", "it is in only one of types and type:<name>.")
    for place, size in moment.sizes.items():
        if not place.startswith("ready:") or not size:
            continue
        type_, _, uses = place.removeprefix("ready:").partition("|")
        if type_ not in types or (uses and uses not in moment.types.get(type_, {}).get("lines", "").split()):
            yield Violation("I2", place, f"no worker would look there: type {type_} does not list it.")


def _plans(moment: Moment) -> Iterator[Violation]:
    """T6, T9: what has a next moment stands there, so that somebody wakes for it."""
    for name, fields in moment.schedules.items():
        score = moment.planned.get(name)
        if not fields.get("version") or not (fields.get("type") or fields.get("chain")):
            yield Violation("T6", f"schedule {name}", "it is planned and has no record, or a damaged one.")
        elif score is None:
            yield Violation("T6", f"schedule {name}", "it is not in schedules: nobody would fire it.")
        elif "error" in fields and "paused" not in fields:
            continue  # put off, so that others may try
        else:
            coming = float(fields.get("next", NEVER)) if "paused" not in fields else NEVER
            if score != coming:
                yield Violation("T6", f"schedule {name}", f"it is planned for {score:.0f}, its next is {coming:.0f}.")
    for type_, fields in moment.types.items():
        if f"type:{type_}" not in moment.asked or ("window" not in fields and f"window:{type_}" not in moment.planned):
            continue
        score = moment.planned.get(f"window:{type_}")
        if score is None or str(int(score)) not in {fields.get("opens"), fields.get("closes")}:
            yield Violation("T9", f"type {type_}", f"its window is planned for {score}, and does not change then.")


def _facts(moment: Moment) -> Iterator[Violation]:
    """Q20: whoever looks at ``schedules`` hears of facts that wait, and of no others."""
    for name in moment.kinds:
        event = name.removeprefix("happened:")
        if event == name:
            continue
        if f"trigger:{event}" not in moment.kinds and f"trigger:{event}" in moment.asked:
            yield Violation("Q20", f"event {event}", "facts wait for it, and it triggers nothing.")
        if f"event:{event}" not in moment.planned:
            yield Violation("Q20", f"event {event}", "facts wait for it, and no worker would hear of them.")
    for name in moment.planned:
        event = name.removeprefix("event:")
        if event != name and f"happened:{event}" not in moment.kinds and f"happened:{event}" in moment.asked:
            yield Violation("Q20", f"event {event}", "workers are told of facts that there are not.")


def _keys(moment: Moment) -> Iterator[Violation]:
    """I13: names, terms, owners."""
    for name, (left, complaint) in moment.kinds.items():
        yield from wrong_key(name, left, complaint)
        if name.startswith("job:") and name.count(":") == 2 and not moment.jobs.get(name.split(":")[1]):  # noqa: PLR2004
            yield Violation("I13", name, "the job it belongs to has no record.")
    if moment.events > EVENTS_MOST:
        yield Violation("I13", "events", f"{moment.events} entries, meant are about 10,000.")


def wrong_key(name: str, left: int, complaint: str = "") -> Iterator[Violation]:
    """I13: a key is drawn in ``keys.PATTERNS`` and expires if that says so; ``left`` is its PTTL."""
    form = next((form for pattern, form in _PATTERNS if pattern.fullmatch(name)), None)
    if form is None:
        yield Violation("I13", name, "no such key is drawn in keys.PATTERNS.")
    elif form == "expires" and left == _NO_EXPIRY:
        yield Violation("I13", name, "it has no term and must expire.")
    elif form == "persistent" and left != _NO_EXPIRY:
        yield Violation("I13", name, f"it would expire in {left} ms and must stay.")
    if complaint:
        yield Violation("I13", name, f"it holds another kind of value ({complaint}).")
