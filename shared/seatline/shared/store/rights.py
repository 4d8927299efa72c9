"""What it means when the server says that a login may not: who it is, what it wanted, what an operator grants (Q18).

The server speaks of commands and keys. A person wants the verb, the role that may do it, and the line to type; so a
refusal is read with the table of ``roles.py``. The server alone decides; nothing here is asked before something is sent.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from seatline.shared.errors import NotAllowed, ScriptsMissing
from seatline.shared.keys import Keys
from seatline.shared.roles import LOOKS, READS, takes, verb_of

__all__ = ["instead", "login_of", "not_allowed"]

#: A command of a script was refused: in the words of Valkey and Redis 7.2, and in those of Redis 7.0.
_WITHIN: Final = ("ACL failure in script", "The user executing the script can't")
_COMMAND: Final = re.compile(r"run the '([^']+)' command")


def login_of(url: str) -> str:
    """Return the user that a URL names; ``default`` if none."""
    try:
        parts = urlsplit(url)
        return unquote(parts.username or "") or parse_qs(parts.query).get("username", [""])[0] or "default"
    except ValueError:
        return "default"


def not_allowed(said: str, url: str, place: str, keys: Keys, script: str = "") -> NotAllowed | ScriptsMissing | None:
    """Return what a refusal means, or None if it is of another kind.

    Args:
        said: the server's words.
        url: where, with the login's name.
        place: the same, to be shown.
        keys: of the namespace in question.
        script: the verb that was wanted; "": plain commands that look.

    """
    within = said.startswith(_WITHIN)
    if not within and not said.startswith("NOPERM") and "no permissions" not in said.lower():
        return None
    who, grant = f"{place}: user {login_of(url)}", f"`seatline acl --apply -n {keys.namespace}`"
    command, verb = _COMMAND.search(said), verb_of(script)
    if within:
        text = (
            f"{who} has rights that do not fit this version of Seatline: the server stopped the script {script} half-way "
            f"({said}). An operator renews them with {grant}; `seatline verify` tells whether anything was left behind."
        )
    elif script and command and command[1] == "script|load":
        return ScriptsMissing(
            f"{who} may not load scripts, and the server has forgotten Seatline's: it was started anew. `seatline scripts "
            f"load -n {keys.namespace}`, with an admin's login, brings them back; nothing was done."
        )
    elif verb:
        text = (
            f"{who} may not {verb.name} (script {script}): that takes {takes(verb.role)}. Use such a login; an "
            f"operator makes one, or renews one of another version, with {grant}."
        )
    elif command:
        whose = (
            takes("viewer")
            if command[1] in READS
            else "the role admin, or rules without --no-scan"
            if command[1] in LOOKS
            else "the role admin, or producer without --no-load"
            if command[1] == "script|load"
            else "the operator's own login"
        )
        text = (
            f"{who} may not send the command {command[1]}: that takes {whose}. An operator makes logins with {grant}."
        )
    else:
        text = f"{who} may not touch the keys of namespace {keys.namespace}. An operator grants it with {grant}."
    return NotAllowed(text, said=said, script=script)


def instead(refused: NotAllowed, url: str, place: str, keys: Keys, script: str) -> NotAllowed | ScriptsMissing:
    """Return the refusal of a verb whose connection was refused its first words already."""
    if refused.script != "contact" or refused.said.startswith(_WITHIN):
        return refused
    return not_allowed(refused.said, url, place, keys, script) or refused
