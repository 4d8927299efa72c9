"""Who may do what (Q18): every verb with the least role that may do it, and what each role needs of the server for that.

There are four roles, and each may do all that the one before it may: a *viewer* looks, a *producer* adds, a *worker* runs
jobs, an *admin* changes everything in the namespace. Whoever makes their logins is none of them: the operator of the server.

The table is the only one. ``seatline acl`` makes the server's rules of it (console, ``acl_rules.py``), a refusal is
explained with it, ``docs/security.md`` shows it, and tests hold it against what the scripts really send:

* a script belongs to exactly one verb;
* `WRITES` covers every key that a role's scripts write, for a refusal in the middle of a script would leave half of its
  writes behind (the server rolls nothing back), and no more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = [
    "BLOCKS",
    "CONNECTS",
    "LOOKS",
    "READS",
    "ROLES",
    "VERBS",
    "WRITES",
    "Verb",
    "role_of",
    "scripts_of",
    "takes",
    "user_name",
    "verb_of",
]

ROLES: Final = ("viewer", "producer", "worker", "admin")


@dataclass(frozen=True, slots=True)
class Verb:
    """What people do: its words, the least role that may, the scripts it runs (none: it only reads), where it is found."""

    name: str
    role: str
    scripts: tuple[str, ...]
    found: str


VERBS: Final[tuple[Verb, ...]] = (
    Verb(
        "look", "viewer", (), "every `list` and `show`, `why`, `jobs log`, `verify`, `doctor`, `report`, `audit`, ..."
    ),
    Verb("enqueue jobs", "producer", ("submit", "supersede"), "`enqueue`, `watch`, `Queue.enqueue`"),
    Verb("load a file", "producer", ("load",), "`load`"),
    Verb("emit events", "producer", ("emit", "gather"), "`triggers emit`, `Queue.emit`"),
    Verb("start orders", "producer", ("order_start",), "`orders start`, `Queue.start`"),
    Verb("wait for ends", "producer", ("wait", "order_wait"), "`jobs wait`, `orders wait`, `handle.result`"),
    Verb("cancel jobs", "producer", ("cancel",), "`jobs cancel`, `handle.cancel`"),
    Verb("connect to write", "producer", ("contact",), "the first words of whoever is no viewer"),
    Verb("run jobs", "worker", ("offer", "turn", "renew", "note", "sleep", "leave", "order_expand"), "`worker`"),
    Verb("take back what was lost", "worker", ("reap",), "`worker`"),
    Verb("fire what is planned", "worker", ("fire", "chain_admit"), "`worker`"),
    Verb("set windows", "worker", ("window_set",), "`types window`; workers move windows on by the same script"),
    Verb("hold seats", "worker", ("session_open", "session_renew", "session_close"), "`Queue.pools.session`"),
    Verb("report a refused licence", "worker", ("pool_refused",), "`NoSeat`"),
    Verb("change jobs", "admin", ("remove", "resubmit", "move"), "`jobs remove`, `resubmit`, `move`"),
    Verb("change orders", "admin", ("order_act",), "`orders suspend`, `resume`, `skip`, `reset`, `cancel`, ..."),
    Verb("pause and close", "admin", ("gate",), "`types pause`, `Queue.pause`, `Queue.shut`"),
    Verb("set pools", "admin", ("pool_set", "pool_external", "pool_remove"), "`pools set`, `external`, `remove`"),
    Verb("define chains", "admin", ("chain_define", "chain_gate"), "`chains define`, `stop`, `start`, ..."),
    Verb("set schedules", "admin", ("schedule_set", "schedule_act"), "`schedules add`, `pause`, `run`, ..."),
    Verb("set triggers", "admin", ("trigger_set", "trigger_remove"), "`triggers set`, `remove`"),
    Verb("set retention", "admin", ("keep",), "`jobs keep`, `Queue.retention`"),
    Verb("repair", "admin", ("repair",), "`verify --repair`"),
    Verb("ask workers", "admin", ("ask",), "`workers pause`, `resume`, `stop`"),
)

#: What everybody sends on a connection, whatever the key.
CONNECTS: Final = ("client|setname", "discard", "echo", "exec", "info", "multi", "ping", "time")

#: What looks at one key or a few: of these no one changes anything, and none tells of keys that one may not read.
READS: Final = (
    "exists", "get", "hexists", "hget", "hgetall", "hlen", "hmget", "hscan", "hstrlen", "lindex", "llen", "lrange", "mget",
    "pttl", "scard", "sismember", "smembers", "sscan", "strlen", "ttl", "type", "xlen", "xrange", "xrevrange", "zcard",
    "zcount", "zmscore", "zrange", "zrangebyscore", "zrank", "zrevrange", "zrevrangebyscore", "zscan", "zscore", "zunion",
)  # fmt: skip

#: What ``verify`` walks a namespace with. It tells the names of all keys of the database, other namespaces' too.
LOOKS: Final = ("scan",)

#: Waiting on a bell, for whoever waits at all.
BLOCKS: Final = ("blpop",)

#: Keys that a role's scripts write, besides those of the roles before it; whoever may look may read all of the namespace.
#: ``*`` stands for any text. Of an admin it is all.
WRITES: Final[dict[str, tuple[str, ...]]] = {
    "viewer": (),
    "producer": (
        "about", "acts", "bell:*", "chain:*:*", "events", "expiring", "finished:*", "happened:*", "heads:*", "idle:*", "job:*",
        "lane:*", "load:*", "newest:*", "order:*", "orders:*", "pool:*:callers", "pool:*:waiting", "ready:*", "running",
        "schedule:*", "scheduled", "schedules", "seq", "token:*", "trigger:*", "type:*", "types", "unique:*",
    ),
    "worker": (
        "alarm", "chain:*", "deep:*", "lost", "offer:*", "offers", "pool:*:in_use", "pool:*:refused", "pool:*:sessions",
        "programs", "worker:*", "workers",
    ),
    "admin": ("*",),
}  # fmt: skip


def verb_of(script: str) -> Verb | None:
    """Return the verb that runs a script; None if the table does not know it."""
    return next((verb for verb in VERBS if script in verb.scripts), None)


def role_of(script: str) -> str:
    """Return the least role that may run a script; what the table does not know is an admin's."""
    verb = verb_of(script)
    return verb.role if verb else "admin"


def takes(role: str) -> str:
    """Return the roles that may what this one may, in words."""
    return f"the role {role}" + (" or more" if role != ROLES[-1] else "")


def scripts_of(role: str) -> list[str]:
    """Return the scripts that a role may run, sorted."""
    may = ROLES[: ROLES.index(role) + 1]
    return sorted({script for verb in VERBS if verb.role in may for script in verb.scripts})


def user_name(namespace: str, role: str) -> str:
    """Return the name of a role's login: users belong to the whole server, so the namespace stands in front."""
    return f"{namespace}-{role}"
