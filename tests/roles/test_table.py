"""The table of roles is true of the scripts: each has a verb, and what a role may write is what its scripts write (Q18)."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from roles.lua_keys import commands_of, keys_written
from roles.table import END, START, shown
from seatline.console import acl_rules
from seatline.console.acl_rules import Options, rules
from seatline.shared.roles import BLOCKS, CONNECTS, LOOKS, READS, ROLES, VERBS, WRITES, role_of, scripts_of, verb_of
from seatline.shared.scripts import names, script

DOCS = Path(__file__).parents[2] / "docs"

#: What takes seats, or gives them back. A script without it has `seats_done` write what there is of such: nothing.
TAKES = re.compile(r"granted\[#|dirty.* = true")
TAKEN = re.compile(r"pool\.(granted|used)")

#: Examples of keys that are not a role's to write, however its scripts may change.
NEVER = {
    "producer": (
        "pool:vault", "pools", "pool:vault:sessions", "pool:vault:in_use", "pool:vault:refused", "programs", "paused",
        "triggers", "chains", "chain:release", "worker:w1", "workers", "offer:0ff1ce", "offers", "alarm",
    ),
    "worker": ("pool:vault", "pools", "paused", "triggers", "chains"),
}  # fmt: skip


def covered(role: str) -> list[str]:
    """Return the patterns of keys that a role may write."""
    return [pattern for each in ROLES[: ROLES.index(role) + 1] for pattern in WRITES[each]]


def written(name: str) -> set[str]:
    """Return the patterns of the keys that a script writes."""
    text = script(name).text
    takes = TAKES.search(text) is not None
    return {each.key for each in keys_written(text) if takes or not TAKEN.search(each.line)}


def example(pattern: str) -> str:
    return pattern.replace("*", "x")


def test_q18_every_script_has_a_verb() -> None:
    """Q18: a new script is nobody's but an admin's until the table (shared/roles.py) says whose it is."""
    assert sorted(name for verb in VERBS for name in verb.scripts) == names()


@pytest.mark.parametrize("role", ROLES)
def test_q18_a_role_may_write_what_its_scripts_write(role: str) -> None:
    """Q18: else the server would stop one of them half-way, and what it has written would stay."""
    missing = {
        (name, key) for name in scripts_of(role) for key in written(name)
        if not any(fnmatchcase(example(key), pattern) for pattern in covered(role))
    }  # fmt: skip
    assert not missing, f"shared/roles.py, WRITES: what a {role} writes and may not"


@pytest.mark.parametrize("role", ["producer", "worker"])
def test_q18_a_role_may_write_no_more(role: str) -> None:
    """Q18: every pattern has a script that writes such a key."""
    keys = {example(key) for name in scripts_of(role) for key in written(name)}
    idle = [pattern for pattern in WRITES[role] if not any(fnmatchcase(key, pattern) for key in keys)]
    assert not idle, f"shared/roles.py, WRITES: what a {role} may write and does not"
    for key in NEVER[role]:
        assert not any(fnmatchcase(key, pattern) for pattern in covered(role)), key


@pytest.mark.parametrize("role", ROLES)
def test_q18_a_role_may_send_the_commands_of_its_scripts_and_few_others(role: str) -> None:
    user = rules(role, role, "farm", ["0" * 64], databases=True, options=Options())
    sent = {name.lower() for each in scripts_of(role) for name in commands_of(script(each).text)}
    plain = {name for name in user.commands if not name.startswith("evalsha|")}
    own = {"script|load", "script|exists", *BLOCKS} if role != "viewer" else set[str]()
    assert plain == {*CONNECTS, *READS, *LOOKS, *sent, *own}
    assert user.scripts == {script(name).sha for name in scripts_of(role)}


def test_q18_both_readers_of_scripts_see_the_same_commands() -> None:
    """Q18: and no script computes the name of a command, which neither could see."""
    for name in names():
        assert not re.search(r"redis\.p?call\(\s*[^'\s]", re.sub(r"--.*", "", script(name).text)), name
        assert acl_rules.commands_of(script(name).text) == {each.lower() for each in commands_of(script(name).text)}


def test_q18_what_the_table_does_not_know_is_an_admins() -> None:
    assert role_of("turn") == "worker"
    assert role_of("no_such") == "admin"
    assert verb_of("no_such") is None


def test_q18_the_page_shows_the_table() -> None:
    """Q18: `python tests/roles/table.py --write` writes it anew."""
    page = (DOCS / "security.md").read_text("utf-8")
    assert page.partition(START)[2].partition(END)[0] == shown()
