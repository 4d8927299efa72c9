"""``seatline acl``: logins for the four roles of a namespace, printed as the server's rules, or set."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatline.console.command import Command, output_option
from seatline.console.target import Target, pass_target
from seatline.shared.roles import ROLES, user_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seatline.console.acl_apply import Change
    from seatline.console.acl_passwords import Secret
    from seatline.console.acl_rules import Flavour, Options, User
    from seatline.shared.store import Store

__all__ = ["acl"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  seatline acl -n farm --passwords secrets --apply
  seatline acl -n farm --role producer --password-file producer=secrets/producer > users.acl
  seatline acl --verbs
  seatline acl -n farm --remove
""",
)
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="Only this role; may be repeated.")
@click.option("--apply", "act", flag_value="apply", help="Set the users on the server, after showing what changes.")
@click.option("--remove", "act", flag_value="remove", help="Remove the users from the server.")
@click.option("--verbs", "act", flag_value="verbs", help="Show which role may do what.")
@click.option("--passwords", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False),
              help="A file a role, named as it; what is missing is made there.")  # fmt: skip
@click.option("--password-file", "files", metavar="ROLE=FILE", multiple=True, help="The password of a role.")
@click.option("--prompt", is_flag=True, help="Ask for the passwords.")
@click.option("--keep-passwords", is_flag=True, help="Old passwords stay good beside the new ones.")
@click.option("--no-scan", is_flag=True, help="Viewers may not walk the names of all keys: no `verify` for them.")
@click.option("--no-load", is_flag=True, help="Only admins may load scripts: `seatline scripts load` after each start.")
@click.option("--drop-scripts", is_flag=True, help="Take away the scripts of other versions of Seatline.")
@click.option("--save", is_flag=True, help="With --apply or --remove: have the server keep it over a restart.")
@click.option("--offline", is_flag=True, help="Print rules for any server from Redis 7.0 on, without asking one.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
@pass_target
def acl(
    target: Target,
    roles: Sequence[str],
    act: str | None,
    passwords: Path | None,
    files: Sequence[str],
    output: str,
    *,
    prompt: bool,
    keep_passwords: bool,
    no_scan: bool,
    no_load: bool,
    drop_scripts: bool,
    save: bool,
    offline: bool,
    yes: bool,
) -> None:
    """Make logins that may only look, add, work, or manage one namespace.

    Prints the users NAMESPACE-viewer, -producer, -worker and -admin as lines of a server's ACL file; with --apply sets
    them, with the login of the server's operator in SEATLINE_URL. Doing it again changes what differs, and nothing else.

    Passwords come from --password-file, else SEATLINE_ACL_PASSWORD_PRODUCER and so on, else --prompt, else --passwords. Only
    their SHA-256 is printed or sent. A user that has one and is given none keeps it; without any nobody can log in.

    What the roles can promise, and what not, is told in docs/security.md.
    """
    from seatline.console.acl_rules import Options  # noqa: PLC0415 - `seatline --help` stays fast

    context = click.get_current_context()
    if act == "verbs":
        _show_verbs(output)
        return
    if output != "table":
        raise click.UsageError("-o goes with --verbs.", context)
    if act is None and (save or yes or keep_passwords or drop_scripts):
        raise click.UsageError(
            "--save, --yes, --keep-passwords and --drop-scripts go with --apply or --remove.", context
        )
    if act is not None and offline:
        raise click.UsageError("--offline only prints.", context)
    wanted = [role for role in ROLES if role in roles or not roles]
    if act == "remove":
        _remove(target, wanted, yes=yes, save=save)
        return
    secrets = _secrets(wanted, passwords, files, ask=prompt)
    options = Options(scan=not no_scan, load=not no_load)
    if act == "apply":
        _apply(target, wanted, secrets, options, keep_passwords=keep_passwords, drop=drop_scripts, save=save, yes=yes)
    else:
        _print(target, wanted, secrets, options, offline=offline)


def _secrets(roles: Sequence[str], folder: Path | None, files: Sequence[str], *, ask: bool) -> dict[str, Secret]:
    from seatline.console.acl_passwords import gather, roles_and_files  # noqa: PLC0415 - `seatline --help` stays fast

    given = roles_and_files(files)
    if strange := sorted(given.keys() - set(roles)):
        raise click.UsageError(
            f"--password-file: {strange[0]} is not among the roles asked for.", click.get_current_context()
        )
    return gather(roles, given, folder, os.environ, ask=ask)


def _write(secrets: Mapping[str, Secret]) -> None:
    for secret in secrets.values():
        secret.write()


def _database(url: str) -> int:
    from seatline.console.server import database_of  # noqa: PLC0415 - `seatline --help` stays fast

    return database_of(url)


def _namespace(target: Target) -> str:
    from seatline.shared.config import Settings  # noqa: PLC0415 - `seatline --help` stays fast

    return Settings.load(url=target.url, namespace=target.namespace).namespace


def _print(
    target: Target, roles: Sequence[str], secrets: Mapping[str, Secret], options: Options, *, offline: bool
) -> None:
    from dataclasses import replace  # noqa: PLC0415 - beside its only use

    from seatline.console.acl_apply import read_flavour  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.acl_rules import rules  # noqa: PLC0415 - as above

    namespace, databases = _namespace(target), False
    if not offline:
        with target.queue() as queue:
            databases = read_flavour(queue.store).databases
            options = replace(options, database=_database(queue.store.url))
    _write(secrets)
    for role in roles:
        given = [secrets[role].digest] if role in secrets else []
        user = rules(role, user_name(namespace, role), namespace, given, databases=databases, options=options)
        click.echo(user.line())
    without = [user_name(namespace, role) for role in roles if role not in secrets]
    if without:
        click.echo(
            f"seatline: no password was given for {', '.join(without)}: switched off. --passwords FOLDER makes some.",
            err=True,
        )


def _apply(
    target: Target,
    roles: Sequence[str],
    secrets: Mapping[str, Secret],
    options: Options,
    *,
    keep_passwords: bool,
    drop: bool,
    save: bool,
    yes: bool,
) -> None:
    from dataclasses import replace  # noqa: PLC0415 - beside its only use

    from seatline.console import acl_apply  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.console.acl_rules import rules  # noqa: PLC0415 - as above
    from seatline.shared.errors import ServerRefused  # noqa: PLC0415 - as above

    namespace = _namespace(target)
    names = {role: user_name(namespace, role) for role in roles}
    with target.queue() as queue:
        store = queue.store
        flavour = acl_apply.read_flavour(store)
        options = replace(options, database=_database(store.url))
        _not_oneself(store, list(names.values()))
        before = acl_apply.read_users(store, list(names.values()))
        users: dict[str, User] = {}
        for role, old in zip(roles, before, strict=True):
            given = {secrets[role].digest} if role in secrets else set[str]()
            if old and (keep_passwords or not given):
                given |= old.passwords
            others = old.scripts if old and not drop else ()
            users[role] = rules(
                role, names[role], namespace, given, databases=flavour.databases, options=options, more_scripts=others
            )
        sources = {names[role]: secret.source for role, secret in secrets.items()}
        plan = acl_apply.changes(before, list(users.values()), namespace, sources)
        _show_plan(plan, flavour, store.place, namespace)
        differs = [change.after for change in plan if change.before != change.after]
        if not differs:
            click.echo("nothing to change")
        elif not _agreed(yes=yes):
            return
        else:
            _write(secrets)
            acl_apply.set_users(store, differs)
            if wrong := acl_apply.misread(store, namespace, users):
                acl_apply.set_users(store, [replace(user, on=False) for user in differs])
                raise ServerRefused(
                    f"{store.place} takes the rules otherwise than they are meant ({'; '.join(wrong[:3])}), so the users are "
                    "switched off again. Please report it, with the server's version."
                )
            click.echo(f"{len(differs)} users set")
        _kept(store, save=save, changed=bool(differs))
        if acl_apply.is_open(store):
            click.echo(
                "seatline: the user default needs no password on this server, so everybody may do everything: give it one "
                "(requirepass), or switch it off (ACL SETUSER default off).",
                err=True,
            )


def _remove(target: Target, roles: Sequence[str], *, yes: bool, save: bool) -> None:
    from seatline.console import acl_apply  # noqa: PLC0415 - `seatline --help` stays fast

    namespace = _namespace(target)
    names = [user_name(namespace, role) for role in roles]
    with target.queue() as queue:
        store = queue.store
        _not_oneself(store, names)
        there = [user for user in acl_apply.read_users(store, names) if user]
        acl_apply.changes(there, there, namespace, {})  # that they are ours
        if not there:
            click.echo(f"there is none of {', '.join(names)} at {store.place}")
            return
        click.echo(f"{store.place}: {', '.join(user.name for user in there)} go, and their connections are closed")
        if not _agreed(yes=yes):
            return
        click.echo(f"{acl_apply.remove(store, [user.name for user in there])} users removed")
        _kept(store, save=save, changed=True)


def _not_oneself(store: Store, names: Sequence[str]) -> None:
    from seatline.console.acl_apply import whoami  # noqa: PLC0415 - `seatline --help` stays fast

    if (me := whoami(store)) in names:
        raise click.UsageError(f"this is the login {me} itself; use the operator's own.", click.get_current_context())


def _show_plan(plan: Sequence[Change], flavour: Flavour, place: str, namespace: str) -> None:
    click.echo(f"{flavour} at {place}, namespace {namespace}")
    width = max(len(change.after.name) for change in plan)
    for change in plan:
        click.echo(f"  {change.after.name:<{width}}  {change.says}")


def _agreed(*, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(
            "this asks before it acts; where nobody can answer, add --yes.", click.get_current_context()
        )
    return click.confirm("Go on?")


def _kept(store: Store, *, save: bool, changed: bool) -> None:
    from seatline.console.acl_apply import keep  # noqa: PLC0415 - `seatline --help` stays fast

    if save:
        click.echo(f"the server keeps its users in {keep(store)}")
    elif changed:
        click.echo(
            "seatline: the server forgets this when it starts anew. --save has it keep its users; where its ACL file is "
            "written by hand, put the lines of `seatline acl` there.",
            err=True,
        )


def _show_verbs(output: str) -> None:
    from seatline.console.output import Column, show  # noqa: PLC0415 - `seatline --help` stays fast
    from seatline.shared.roles import VERBS, Verb  # noqa: PLC0415 - as above

    def mark(verb: Verb, role: str) -> str:
        return "yes" if ROLES.index(role) >= ROLES.index(verb.role) else "-"

    columns: list[Column[Verb]] = [
        Column("VERB", lambda verb: verb.name),
        *(Column(role.upper(), lambda verb, role=role: mark(verb, role)) for role in ROLES),  # type: ignore[misc]
        Column("SCRIPTS", lambda verb: " ".join(verb.scripts) or "-", cuts=True),
    ]
    show(
        VERBS,
        output,
        columns,
        lambda verb: {
            "verb": verb.name,
            "roles": list(ROLES[ROLES.index(verb.role) :]),
            "scripts": list(verb.scripts),
            "found": verb.found,
        },
    )
