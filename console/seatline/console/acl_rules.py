"""The server's rules for the four roles, made of the table in ``roles.py``. Pure: words in, words out.

What a login may do is limited three times over, and each limit holds by itself:

* it may run Seatline's own scripts of its verbs, by their digests, and no other: a text that it loads it cannot run;
* the commands of a script are judged by the rights of whoever runs it, so it may send these commands by hand too, but
  no others;
* and only to the keys that its scripts write. All else of the namespace it may read, of other namespaces nothing.

The rules need Redis 7.0 (keys that may only be read); a database of its own they name from Valkey 9.1 on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from seatline.shared.calls.base import text
from seatline.shared.errors import ServerRefused
from seatline.shared.keys import Keys
from seatline.shared.roles import BLOCKS, CONNECTS, LOOKS, READS, ROLES, WRITES, scripts_of
from seatline.shared.scripts import script

__all__ = ["Flavour", "Options", "User", "categories_of", "commands_of", "flavour_of", "rules", "user_of"]

_COMMAND = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'")
_COMMENT = re.compile(r"--.*")
_OLDEST = (7, 0)
_WITH_DATABASES = (9, 1)
_SHA: Final = re.compile(r"evalsha\|([0-9a-f]{40})")


@dataclass(frozen=True, slots=True)
class Flavour:
    """What kind of server it is; ``databases``: its rules can name the databases that a user may use."""

    name: str
    version: tuple[int, ...]
    databases: bool

    def __str__(self) -> str:
        """Return its name and version."""
        return f"{self.name} {'.'.join(map(str, self.version))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an operator may choose.

    ``database``: the number of the database that the namespace is in. ``scan``: a viewer may walk the names of all keys,
    which ``verify`` needs. ``load``: producers and workers may load Seatline's scripts into a server that has forgotten
    them; without, an admin does (``seatline scripts load``).
    """

    database: int = 0
    scan: bool = True
    load: bool = True


@dataclass(frozen=True, slots=True)
class User:
    """A user of the server: whether he may log in, the SHA-256 of his passwords, and his rules.

    ``commands`` are names such as ``hget`` and ``script|load``, and ``evalsha|<digest>``; ``keys`` patterns such as
    ``%R~{farm}:*``; ``others`` whatever else is said of him.
    """

    name: str
    on: bool = False
    passwords: frozenset[str] = frozenset()
    commands: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    others: frozenset[str] = field(default=frozenset())

    @property
    def scripts(self) -> frozenset[str]:
        """The digests of the scripts that he may run."""
        return frozenset(found[1] for each in self.commands if (found := _SHA.fullmatch(each)))

    def words(self) -> list[str]:
        """Return the rules in the order in which people read them: as they stand behind ``ACL SETUSER`` and in its file."""
        passwords = [f"#{one}" for one in sorted(self.passwords)]
        scripts = sorted(each for each in self.commands if _SHA.fullmatch(each))
        commands = [f"+{each}" for each in (*sorted(self.commands - set(scripts)), *scripts)]
        keys = sorted(self.keys, key=lambda key: (not key.startswith("%"), key))
        others = sorted(self.others, key=lambda word: (not word.startswith("reset"), word))
        return ["on" if self.on else "off", *passwords, *keys, "resetchannels", *others, "-@all", *commands]

    def line(self) -> str:
        """Return the user as a line of a server's ACL file."""
        return " ".join(["user", self.name, *self.words()])


def flavour_of(info: Mapping[str, str]) -> Flavour:
    """Tell the server by what ``INFO server`` says.

    Raises:
        ServerRefused: it is too old: it knows no keys that may only be read.

    """
    valkey = info.get("valkey_version")
    said = valkey or info.get("redis_version", "0")
    version = tuple(int(part) for part in re.findall(r"\d+", said)[:3])
    flavour = Flavour("Valkey" if valkey else "Redis", version, bool(valkey) and version >= _WITH_DATABASES)
    if version < _OLDEST:
        raise ServerRefused(
            f"{flavour} has no keys that a user may only read, so a worker could raise its own pool. Roles need Redis 7.0 "
            "or Valkey."
        )
    return flavour


def commands_of(text: str) -> frozenset[str]:
    """Return the commands that a script sends, in small letters."""
    return frozenset(name.lower() for name in _COMMAND.findall(_COMMENT.sub("", text)))


def rules(
    role: str,
    name: str,
    namespace: str,
    passwords: Collection[str],
    *,
    databases: bool,
    options: Options,
    more_scripts: Collection[str] = (),
) -> User:
    """Return a role's user.

    Args:
        role: one of `ROLES`.
        name: the user's.
        namespace: in which he has the role.
        passwords: their SHA-256 in hex; without one he may not log in.
        databases: whether the server knows rules that name databases.
        options: what the operator has chosen.
        more_scripts: digests of further scripts that he may run: those of another version of Seatline.

    """
    keys = Keys(namespace)
    scripts = scripts_of(role)
    commands: set[str] = {*CONNECTS, *READS}
    if options.scan or role == "admin":
        commands.update(LOOKS)
    if options.database:
        commands.add("select")
    for each in scripts:
        commands |= commands_of(script(each).text)
    if scripts:
        commands.update(BLOCKS)
    if (scripts and options.load) or role == "admin":
        commands |= {"script|load", "script|exists"}
    shas = {script(each).sha for each in scripts} | set(more_scripts if scripts else ())
    may = ROLES[: ROLES.index(role) + 1]
    patterns = {pattern for each in may for pattern in WRITES[each]}
    writes = {f"~{keys(one)}" for one in patterns if not any(_covers(other, one) for other in patterns - {one})}
    everything = f"~{keys('*')}"
    return User(
        name,
        on=bool(passwords),
        passwords=frozenset(passwords),
        commands=frozenset(commands | {f"evalsha|{sha}" for sha in shas}),
        keys=frozenset(writes if everything in writes else {f"%R{everything}", *writes}),
        others=frozenset({"resetdbs", f"db={options.database}"} if databases else ()),
    )


def _covers(wide: str, narrow: str) -> bool:
    """Whether all keys of a pattern are also keys of another."""
    return re.fullmatch(re.escape(wide).replace(r"\*", ".*"), narrow) is not None


def categories_of(reply: Any) -> list[str]:
    """Return the categories of commands that ``ACL GETUSER`` speaks of: a server may say so what was said by names."""
    if reply is None:
        return []
    return sorted({rule[2:] for rule in _said(reply)["commands"].split() if rule[1:2] == "@"} - {"all"})


def user_of(name: str, reply: Any, categories: Mapping[str, Collection[str]]) -> User | None:
    """Read what ``ACL GETUSER`` says, with the commands of each category it speaks of; None: there is no such user."""
    if reply is None:
        return None
    said = _said(reply)
    commands: set[str] = set()
    others = set(said["flags"].split()) - {"on", "off", "sanitize-payload"} | set(said.get("channels", "").split())
    for rule in said["commands"].split():
        some = set(categories.get(rule[2:], ())) if rule[1] == "@" else {rule[1:]}
        if rule == "+@all":
            others.add("allcommands")
        commands = commands | some if rule[0] == "+" else commands - some
    if (databases := said.get("databases", "alldbs")) != "alldbs":
        others |= {"resetdbs", databases}
    if said.get("selectors"):
        others.add(f"({said['selectors']})")
    on = "on" in said["flags"].split()
    passwords, keys = frozenset(said["passwords"].split()), frozenset(said["keys"].split())
    return User(name, on=on, passwords=passwords, commands=frozenset(commands), keys=keys, others=frozenset(others))


def _said(reply: Any) -> dict[str, str]:
    """Return the fields of a user, each as one text."""

    def flat(value: Any) -> str:
        return " ".join(map(flat, cast("Sequence[Any]", value))) if isinstance(value, list) else text(value)

    return {text(reply[i]): flat(reply[i + 1]) for i in range(0, len(reply), 2)}
