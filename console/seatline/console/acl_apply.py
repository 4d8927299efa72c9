"""Set and remove the logins of a namespace's roles, with the operator's own login.

What is there is read first and compared, so that people see what will change, and doing it twice changes nothing. A user
of that name whose rules speak of anything but this namespace was made by somebody else, and is left alone. Each user is
set by one ``ACL SETUSER``, which the server takes whole or not at all; to repeat it does no harm. Afterwards the server is
asked (``ACL DRYRUN``) whether it understood: rules that it takes otherwise than they are meant are switched off again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seatline.console.acl_rules import Flavour, User, categories_of, flavour_of, user_of
from seatline.shared.calls.base import Command, Read, text
from seatline.shared.errors import ServerRefused
from seatline.shared.keys import Keys
from seatline.shared.roles import scripts_of
from seatline.shared.scripts import script
from seatline.shared.store import Store

__all__ = [
    "Change",
    "changes",
    "is_open",
    "keep",
    "misread",
    "read_flavour",
    "read_users",
    "remove",
    "set_users",
    "whoami",
]

_NO_SUCH_SCRIPT: Final = "f" * 40


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one user: as he is (None: he is not there), as he is to be, and that in words."""

    before: User | None
    after: User
    says: str


def read_flavour(store: Store) -> Flavour:
    """Ask the server what it is.

    Raises:
        ServerRefused: it is too old for roles.

    """
    info = text(store.read(Read([("INFO", "server")], lambda replies: replies[0])))
    return flavour_of(dict(line.split(":", 1) for line in info.splitlines() if ":" in line))


def whoami(store: Store) -> str:
    """Return the user that this login is."""
    return store.read(Read([("ACL", "WHOAMI")], lambda replies: text(replies[0])))


def read_users(store: Store, names: Sequence[str]) -> list[User | None]:
    """Return the users of these names, None for those that are not there."""
    said = store.read(Read([("ACL", "GETUSER", name) for name in names], list[Any]))
    categories = sorted({category for reply in said for category in categories_of(reply)})
    commands: list[Command] = [("ACL", "CAT", category) for category in categories]
    lists = store.read(Read(commands, list[Any])) if commands else []
    of = {name: [text(one) for one in some] for name, some in zip(categories, lists, strict=True)}
    return [user_of(name, reply, of) for name, reply in zip(names, said, strict=True)]


def is_open(store: Store) -> bool:
    """Whether anybody may log in without a password: then no role limits anything."""
    (default,) = read_users(store, ["default"])
    return default is not None and default.on and "nopass" in default.others


def changes(
    before: Sequence[User | None], after: Sequence[User], namespace: str, sources: Mapping[str, str]
) -> list[Change]:
    """Say what is to become of each user; ``sources``: where a new password of his comes from.

    Raises:
        ServerRefused: a user of that name is somebody else's.

    """
    for user in before:
        if user and not all(key.partition("~")[2].startswith(f"{{{namespace}}}:") for key in user.keys):
            raise ServerRefused(
                f"user {user.name} is there, and was not made for namespace {namespace}: its keys are "
                f"{' '.join(sorted(user.keys))}. Rename or remove it (ACL DELUSER {user.name}) first."
            )
    return [
        Change(old, new, _difference(old, new, sources.get(new.name, "")))
        for old, new in zip(before, after, strict=True)
    ]


def _difference(old: User | None, new: User, source: str) -> str:
    password = f"password {source}" if source else "" if new.passwords else "no password, so nobody can log in"
    if old is None:
        return f"new; {password}"
    parts = [
        *_counted("command", old.commands - _scripts_of(old), new.commands - _scripts_of(new)),
        *_counted("script", old.scripts, new.scripts),
        *_counted("key pattern", old.keys, new.keys),
    ]
    if old.passwords != new.passwords:
        parts.append(password)
    if old.on != new.on:
        parts.append("switched on" if new.on else "switched off")
    if old.others != new.others:
        parts.append("other rules reset")
    return "; ".join(parts) or "is as it should be"


def _scripts_of(user: User) -> set[str]:
    """Return the scripts of a user as they stand among his commands."""
    return {f"evalsha|{sha}" for sha in user.scripts}


def _counted(what: str, old: Collection[str], new: Collection[str]) -> list[str]:
    more, less = len(set(new) - set(old)), len(set(old) - set(new))
    return [
        f"{count} {what}{'s' if count > 1 else ''} {word}" for count, word in ((more, "more"), (less, "less")) if count
    ]


def set_users(store: Store, users: Sequence[User]) -> None:
    """Set these users; whoever is logged in as one of them has the new rights from his next command on."""
    store.read(Read([("ACL", "SETUSER", user.name, "reset", *user.words()) for user in users], list[Any]))


def remove(store: Store, names: Sequence[str]) -> int:
    """Remove users, and close their connections; returns how many there were."""
    return store.read(Read([("ACL", "DELUSER", *names)], lambda replies: int(replies[0])))


def misread(store: Store, namespace: str, users: Mapping[str, User]) -> list[str]:
    """Ask the server what it makes of the rules of these roles; returns what it takes otherwise than they are meant."""
    keys = Keys(namespace)
    asked: list[tuple[str, bool, Command]] = []
    for role, user in users.items():
        for name in scripts_of("admin"):
            run: Command = ("EVALSHA", script(name).sha, 1, keys.about)
            asked.append((user.name, name in scripts_of(role), run))
        pool = keys.pool("vault")
        asked += [
            (user.name, True, ("HGETALL", pool)),
            (user.name, role == "admin", ("HSET", pool, "capacity", 99)),
            (user.name, False, ("EVALSHA", _NO_SUCH_SCRIPT, 1, keys.about)),
            (user.name, False, ("EVAL", "return 1", 0)),
            (user.name, False, ("GET", f"{{{namespace}x}}:about")),
            (user.name, False, ("FLUSHALL",)),
            (user.name, False, ("CONFIG", "GET", "requirepass")),
            (user.name, False, ("ACL", "LIST")),
        ]
    dry: list[Command] = [("ACL", "DRYRUN", name, *command) for name, _, command in asked]
    answers = store.read(Read(dry, lambda replies: [text(reply) == "OK" for reply in replies]))
    return [
        f"{name} {'may' if answer else 'may not'} {' '.join(str(word) for word in command[:2])}"
        for (name, wanted, command), answer in zip(asked, answers, strict=True)
        if wanted != answer
    ]


def keep(store: Store) -> str:
    """Have the server keep its users over a restart; returns where: its ACL file, else its configuration.

    Raises:
        ServerRefused: it has neither.

    """
    for command, where in ((("ACL", "SAVE"), "its ACL file"), (("CONFIG", "REWRITE"), "its configuration file")):
        try:
            store.read(Read([command], list[Any]))
        except ServerRefused as refused:
            said = str(refused)
        else:
            return where
    raise ServerRefused(f"the users are set, but the server does not keep them: {said}")
