"""Every key Seatline keeps, drawn once: name, type, expiry, content. Meant to be read with redis-cli, without SCAN.

All keys of a namespace begin ``{<namespace>}:``. The braces are a hash tag: a namespace lives in one slot of a Redis
Cluster, several namespaces spread over it. An id is the sequence number as 16 decimal digits, so ids sort as text.

====================================  ======  =======================================================================
about                                 hash    schema, creation, run (server run id last seen), gaps (sequence numbers
                                              skipped), restarted (when run was last seen to change), trimmed,
                                              removed, closed, tenant (required), versions (given to schedules
                                              and triggers), passed.<state> (how far retention has passed over
                                              jobs whose type has a rule of its own), gone.<state> (the latest
                                              end of those that were trimmed)
paused                                string  while the namespace is paused: since when (epoch ms), by whom
seq                                   string  the last sequence given
job:<id>                              hash    one job, plain text; only params (and the result) are msgpack
job:<id>:result                       string  the result, expires (result_until in the job)
job:<id>:history                      list    what people and losses did to it, newest last, at most 100
job:<id>:attempts                     list    failed attempts after which it ran again, newest last, at most 20
job:<id>:log                          list    what its handler logged, newest last, at most 1,000 lines
job:<id>:events                       list    events that it has gathered, oldest first (msgpack), at most 10,000
load:<id>                             hash    a load: line (its last), mark (digest of its lines so far), shape (of what
                                              else makes its jobs), jobs, existed, rejected, by, started, changed,
                                              ended; expires 90 days after its last line
load:<id>:ids                         zset    the ids it was given, in ranges: member = first, score = last; expires too
token:<token>                         string  the producer's own token: id and digest of the content
unique:<key>, newest:<key>            string  the living job with that key; the newest one that was enqueued with it
triggers, trigger:<event>             set,    version, created, changed, by, coalesce (ms), jobs (how many), and of each
                                      hash    <n>.type, <n>.priority, <n>.params (msgpack), ...; taken (facts that workers
                                              have taken since it was set), missed (facts that made no jobs)
happened:<event>                      list    facts that wait for its trigger, oldest first, at most 100,000: names and
                                              values in turn, each as <bytes>:<text>,
ready:<type>, ready:<type>|<uses>     zset    waiting jobs: score = priority, member = id
types, type:<name>                    set,    since, uses, if_lost, paused, offers (who supports it), lines (its
                                      hash    further ready sets), window, opens, closes (its times, epoch ms)
scheduled                             zset    score = due (epoch ms)
schedules                             zset    schedules, window:<type>, chain:<name> where orders may go on, and
                                              event:<event> of which facts wait: score = next moment (epoch ms), or
                                              2^53 - 1: none
schedule:<name>                       hash    cron and zone, or every (ms) and anchor; start, end, missed, most,
                                              after_end, paused, version, next, last (epoch ms), last_job, error, and
                                              what its jobs are: type, priority, params, ...
expiring                              zset    jobs not to start after a moment: score = that (epoch ms); one that has
                                              started or ended stays until then
chains, chain:<name>                  set,    version (the newest), title, max_orders, changed, stopped, stop.<step>,
                                      hash    skip.<step> (since when, by whom), opening (steps started again, or
                                              skipped), passing.<step> (the order with which that goes on)
chain:<name>:<version>                hash    a version: steps, first, title, digest, made, by, orders (that have it), and
                                              step.<step>: type=... next=... on_error=... ...
chain:<name>:started                  zset    its orders that have entered and not ended: score = number
chain:<name>:waiting                  zset    '<number> <order>' in front of it: score = priority
chain:<name>:held:<step>              zset    '<number> <order>' in front of a stopped step: score = priority
order:<id>                            hash    number, chain, version, state, priority, now (where it is: step=job id,
                                              each, held, held@ms or failed), ended, setbacks, skips, runs, bytes,
                                              tenant, title, created, due, started, finished, suspended, leaving, error,
                                              error_step, after_error, eached, schedule, planned, odd (has
                                              rare fields), listeners
order:<id>:data                       hash    its params (msgpack, in pieces), out.<step>: what a step returned (msgpack)
order:<id>:history                    list    runs of its steps, and what people did, newest last, at most 1,000
order:<id>:each:<step>                hash    a step that runs for each element of a list: count, next, done, failed,
                                              error; base, e.<i>, r.<i> (params, elements, results; msgpack)
order:<id>:each:<step>:jobs, ...:bad  zset    its jobs under way; elements to be run again when it is resumed
orders:<state>                        zset    score = number; of failed, succeeded, cancelled: finished (epoch ms)
running                               zset    score = lease deadline (epoch ms)
finished:<state>                      zset    score = finished (epoch ms); trimmed by age and count
finished:<state>|<type>               zset    those of them whose type has a rule of its own in keep
keep                                  string  how long and how many ended jobs are kept: <state>=<ms>/<count>,
                                              <state>|<type>=<ms>/<count>, each between blanks
pools, pool:<name>                    set,    capacity, external, external_until, keep, keep_priority
                                      hash
pool:<name>:sessions                  zset    <owner>|<n> -> deadline: the truth about who holds seats
pool:<name>:in_use                    string  seats in use: a counter that expires and is then counted anew
pool:<name>:refused                   string  until when the licence server's refusal counts, for how long (ms), whom it
                                              refused; expires
pool:<name>:waiting                   zset    who has the next claim: jobs and programs, by (priority, id)
pool:<name>:callers                   zset    programs in that line -> until when their claim counts
programs                              zset    <pool>|<owner>|<n> -> deadline: sessions that no job holds
workers, worker:<id>                  zset,   presence; the hash expires unless renewed
                                      hash
lost                                  zset    workers that were told of as lost: score = until when they were live; a day
deep:<worker>                         string  how many triggers lay before jobs that were taken back from it; expires
offers, offer:<digest>                set,    the types that workers support together; the text expires unless
                                      string  renewed
heads:<digest>, heads:<digest>|<uses> set,    for offers of many types: the heads of their lines, by what they use
                                      zset
idle:<digest>                         zset    idle workers of an offer, by free slots announced
alarm                                 string  the worker that wakes at the next due moment, expires
bell:<name>                           list    rung to wake one connection (a ring, and a look before it), expires
lane:<client>:<n>                     string  last request number, its digest, the reply; expires
events                                stream  transitions, at most about 10,000
audit, acts                           stream  what people did, at most about 10,000 each: by, act, on, more, times; acts:
                                              what a producer or a worker may do too
====================================  ======  =======================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PATTERNS", "SCHEMA", "STATES", "Keys", "id_text"]

SCHEMA = 1

#: Every state a job can be in; those of ``finished:<state>`` from the fourth on.
STATES = ("ready", "scheduled", "running", "succeeded", "skipped", "failed", "cancelled", "expired", "interrupted")

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ID = r"\d{16}"

#: What may exist, without the prefix: pattern -> 'persistent' or 'expires'. A test holds every run against it.
PATTERNS: dict[str, str] = {
    r"about|seq|paused|keep|types|chains|triggers": "persistent",
    r"scheduled|schedules|expiring|running|pools|programs|workers|lost|offers|events|audit|acts": "persistent",
    rf"job:{_ID}(:history|:attempts|:log|:events)?": "persistent",
    rf"job:{_ID}:result": "expires",
    rf"token:{_NAME}": "persistent",
    rf"load:{_NAME}(:ids)?": "expires",
    rf"unique:{_NAME}": "persistent",
    rf"newest:{_NAME}": "persistent",
    rf"ready:{_NAME}(\|[A-Za-z0-9._,=-]+)?": "persistent",
    rf"type:{_NAME}": "persistent",
    rf"schedule:{_NAME}": "persistent",
    rf"trigger:{_NAME}": "persistent",
    rf"happened:{_NAME}": "persistent",
    rf"deep:{_NAME}": "expires",
    rf"chain:{_NAME}(:\d+|:started|:waiting|:held:{_NAME})?": "persistent",
    rf"order:{_NAME}(:data|:history|:each:{_NAME}(:jobs|:bad)?)?": "persistent",
    r"orders:(scheduled|waiting|running|suspended|failed|succeeded|cancelled)": "persistent",
    rf"finished:(succeeded|skipped|failed|cancelled|expired|interrupted)(\|{_NAME})?": "persistent",
    rf"pool:{_NAME}(:sessions|:waiting|:callers)?": "persistent",
    rf"pool:{_NAME}(:in_use|:refused)": "expires",
    rf"worker:{_NAME}": "expires",
    r"offer:[0-9a-f]+": "expires",
    r"idle:[0-9a-f]+": "persistent",
    r"heads:[0-9a-f]+(\|[A-Za-z0-9._,=-]+)?": "persistent",
    r"alarm": "expires",
    r"bell:.+": "expires",
    r"lane:.+": "expires",
}


def id_text(value: str | int) -> str:
    """Return the id in its 16 digits; people may type ``42``. Raises ValueError if it is no id."""
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 16):  # noqa: PLR2004 - the width of an id
        raise ValueError(text)
    return text.zfill(16)


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of one namespace's keys."""

    namespace: str

    def __call__(self, name: str) -> str:
        """Return the full key for a name as written in the table above."""
        return f"{{{self.namespace}}}:{name}"

    @property
    def about(self) -> str:
        """The namespace's own hash; the key every script declares."""
        return self("about")

    def job(self, job_id: str) -> str:
        """The hash of one job."""
        return self(f"job:{job_id}")

    def ready(self, type_: str, uses: str | None = None) -> str:
        """A type's line, or its line of jobs that use something else ('none' or 'pool=n,...')."""
        return self(f"ready:{type_}" if uses is None else f"ready:{type_}|{uses}")

    def pool(self, name: str, part: str = "") -> str:
        """A pool's hash, or a part of it: sessions, in_use, refused, waiting, callers."""
        return self(f"pool:{name}:{part}" if part else f"pool:{name}")

    def order(self, order_id: str, part: str = "") -> str:
        """The hash of one order, or a part of it: data, history, each:<step>."""
        return self(f"order:{order_id}:{part}" if part else f"order:{order_id}")

    def chain(self, name: str, part: str = "") -> str:
        """A chain's hash, or a part of it: a version's number, started, waiting, held:<step>."""
        return self(f"chain:{name}:{part}" if part else f"chain:{name}")

    def load(self, name: str, part: str = "") -> str:
        """The hash of one load, or a part of it: ids."""
        return self(f"load:{name}:{part}" if part else f"load:{name}")

    def lane(self, client: str, index: int) -> str:
        """The record of one lane of numbered requests."""
        return self(f"lane:{client}:{index}")

    def bell(self, name: str) -> str:
        """The list on which one connection blocks."""
        return self(f"bell:{name}")
