"""The kind of command this command line is made of: the shared options may stand behind any of them.

``seatline -n farm jobs list`` and ``seatline jobs list -n farm`` are the same; the last one given wins. The root's
help shows these options, the others keep theirs short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from seatline.console.target import target_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["Command", "Group", "output_option"]

T = TypeVar("T")
#: Commands that change nothing, and nouns.
_LOOK: Final = frozenset({
    "acl", "audit", "chains", "cli", "demo", "doctor", "failures", "history", "jobs", "list", "log", "logs", "next", "orders",
    "ping", "pools", "report", "schedules", "scripts", "server", "show", "status", "triggers", "types", "verify", "wait", "why",
    "workers",
})  # fmt: skip


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is None or value == 0:
        return
    if option.name == "url" and not context.resilient_parsing:
        _refuse_password(value, context)
    setattr(target_of(context), str(option.name), value)


def _refuse_password(url: str, context: click.Context) -> None:
    """Whoever can list processes reads command lines, for as long as the process lives: a worker's for months (Q18)."""
    try:
        secret = urlsplit(url).password or "password=" in urlsplit(url).query
    except ValueError:
        return  # said later, as what it is
    if secret:
        raise click.UsageError(
            "--url: other users of this machine can read a password on a command line. Put the URL in SEATLINE_URL, or leave "
            "the password out and name its file in SEATLINE_PASSWORD_FILE.",
            context,
        )


def _shared(*, hidden: bool) -> list[click.Parameter]:
    def option(*names: str, **how: Any) -> click.Parameter:
        return click.Option(names, callback=_keep, expose_value=False, hidden=hidden, **how)

    return [
        option("-u", "--url", metavar="URL", help="The server, without a password [SEATLINE_URL]."),
        option("-n", "--namespace", metavar="NAME", help="The namespace [SEATLINE_NAMESPACE; default]."),
        option("--tenant", metavar="NAME", help="Put on new jobs; only its jobs are listed [SEATLINE_TENANT]."),
        option("--comment", metavar="TEXT", help="Why you do it: kept with your name in histories and the audit."),
        option("-v", "--verbose", count=True, help="Say more; twice: also tracebacks."),
    ]


class Command(click.Command):
    """A command with the shared options; one whose short name the command has for itself keeps its long one."""

    def __init__(self, *args: Any, shared_hidden: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        own = {name for param in self.params for name in param.opts}
        for param in _shared(hidden=shared_hidden):
            if not own & {name for name in param.opts if name.startswith("--")}:
                param.opts = [name for name in param.opts if name not in own]
                self.params.append(param)
        for param in self.params:
            if param.type is click.STRING:
                param.shell_complete = partial(_complete, param)  # type: ignore[method-assign]


def _complete(param: click.Parameter, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Tell the shell what a word may be; click's own way needs a word at each of a hundred params."""
    from seatline.console.completion import completed  # noqa: PLC0415 - only who presses Tab

    return completed(ctx, param, incomplete)


class Group(Command, click.Group):
    """A noun; its verbs are commands with the shared options too."""

    command_class = Command
    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a slip is told with the nearest name."""
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            raise click.UsageError(f"there is no command {args[0]!r}{_near(args[0], names)}", ctx)
        return super().resolve_command(ctx, args)


def _near(word: str, known: Iterable[str]) -> str:
    """Name the nearest command; one that may change something only if it is one slip of a key away."""
    from difflib import get_close_matches  # noqa: PLC0415 - only after a slip

    found = get_close_matches(word, [name for name in known if name in _LOOK or _one_slip(word, name)], 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _one_slip(word: str, name: str) -> bool:
    """Whether one letter is missing, too many or another one, or two have changed places."""
    while word and name and word[0] == name[0]:
        word, name = word[1:], name[1:]
    while word and name and word[-1] == name[-1]:
        word, name = word[:-1], name[:-1]
    return max(len(word), len(name)) <= 1 or (len(word) == 2 and word == name[::-1])  # noqa: PLR2004 - a pair


def output_option(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``-o``: how to print."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "ndjson"]),
        default="table",
        help="How to print it: json is one array, ndjson one object a line.",
    )(function)
