"""Handlers: what a worker can run. Functions by type, the logins of pools, and hooks of the worker's cycle.

Everything is declared before the worker starts, and checked when it is declared: a type has one handler (C14), a login
fits the kind of handler that it serves.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack, overload

from seatline.shared.config import check_name
from seatline.shared.errors import BadParams, InvalidInput, UnknownHandlers
from seatline.shared.job import uses_map, uses_text
from seatline.shared.job_type import JobType
from seatline.worker.context import Context
from seatline.worker.outcomes import Retry
from seatline.worker.sessions import Login
from seatline.worker.shell import Command

__all__ = ["HOOKS", "Handler", "Handlers", "load"]

F = TypeVar("F", bound=Callable[..., Any])
P = TypeVar("P")
R = TypeVar("R")
IfLost = Literal["interrupt", "rerun"]
Isolation = Literal["thread", "process", "async", "shell"]
HOOKS: Final = ("on_startup", "on_wake", "on_sleep", "on_shutdown")
TIMEOUT_MOST: Final = 30 * 24 * 3600.0


class Declared(TypedDict, total=False):
    """What is declared with a function; see :meth:`Handlers.handler`."""

    uses: Mapping[str, int] | None
    if_lost: IfLost
    isolation: Literal["thread", "process"] | None
    timeout: float | None
    retry: Retry | None


@dataclass(frozen=True, slots=True)
class Handler:
    """The function of one type, and what was declared with it."""

    type: str
    function: Callable[..., Any]
    uses: str
    if_lost: IfLost
    isolation: Isolation
    timeout: float | None
    retry: Retry | None
    accepts: frozenset[str]
    requires: frozenset[str]
    open_ended: bool
    needs: Mapping[str, int]
    job_type: JobType[Any] | None = None
    argument: str = ""

    @property
    def in_child(self) -> bool:
        """Whether it runs in a child process."""
        return self.isolation in {"process", "shell"}

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Raise :class:`BadParams` if they do not bind to the function's signature."""
        names = params.keys()
        if not self.requires <= names:
            missing = ", ".join(sorted(self.requires - names))
            raise BadParams(f"the handler of {self.type} needs {missing}, which the params do not have.")
        if not self.open_ended and not names <= self.accepts:
            extra = ", ".join(sorted(names - self.accepts))
            raise BadParams(f"the handler of {self.type} does not take {extra}, which the params have.")

    def bound(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return what the function is called with beside the context: the params, or the one instance of their class.

        Raises:
            BadParams: they do not fit.

        """
        self.check_params(params)
        if self.job_type is None:
            return params
        try:
            return {self.argument: self.job_type.read(params)}
        except InvalidInput as error:
            raise BadParams(f"the handler of {self.type} does not take these params: {error}") from error


class Handlers:
    """A set of handlers; a module's ``handlers`` is what ``seatline worker MODULE:HANDLERS`` runs."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}
        self.logins: dict[str, Login] = {}
        self.hooks: dict[str, list[Callable[..., Any]]] = {name: [] for name in HOOKS}

    def __len__(self) -> int:
        return len(self._by_type)

    def __contains__(self, type_: object) -> bool:
        return type_ in self._by_type

    def __getitem__(self, type_: str) -> Handler:
        return self._by_type[type_]

    @property
    def types(self) -> list[str]:
        """All types, sorted."""
        return sorted(self._by_type)

    @overload
    def handler(
        self, type: JobType[P], **declared: Unpack[Declared]
    ) -> Callable[[Callable[[Context, P], R]], Callable[[Context, P], R]]: ...
    @overload
    def handler(self, type: str, **declared: Unpack[Declared]) -> Callable[[F], F]: ...
    def handler(
        self,
        type: str | JobType[Any],
        *,
        uses: Mapping[str, int] | None = None,
        if_lost: IfLost = "interrupt",
        isolation: Literal["thread", "process"] | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
    ) -> Callable[[Any], Any]:
        """Declare the function for one type: ``function(ctx, **params)``, plain or ``async def``.

        Its return value is the job's result; an exception fails the attempt with type, message and traceback.

        Args:
            type: the job type; of a :class:`~seatline.shared.job_type.JobType` the function is ``function(ctx, params)``
                and is given an instance of its class.
            uses: seats by pool which a job of this type takes while it runs; a job's own ``uses`` wins (S13).
            if_lost: when its worker dies: ``interrupt`` (a person decides) or ``rerun`` (T4).
            isolation: of a plain function: ``process`` (a child that can be killed; the default for types with seats) or
                ``thread``. An ``async def`` runs in the worker's event loop.
            timeout: seconds an attempt may take (C15); None: as long as it likes.
            retry: when a failed attempt runs again (C16); None: never by itself (Q11).

        Raises:
            UnknownHandlers: a second handler for the type (C14), or a signature that params cannot bind to.

        """
        if isolation not in {None, "thread", "process"}:
            raise InvalidInput(
                f"isolation: {isolation!r} is neither 'thread' nor 'process' (handlers.shell runs commands)."
            )
        job_type = type if isinstance(type, JobType) else None
        name = type.type if isinstance(type, JobType) else type
        text = _checked(name, uses, if_lost, timeout, retry)

        def declare(function: F) -> F:
            chosen: Isolation
            if inspect.iscoroutinefunction(function):
                if isolation:
                    raise UnknownHandlers(f"type {name}: an async def runs in the event loop; leave isolation out.")
                chosen = "async"
            else:
                chosen = isolation or ("process" if uses else "thread")
            self._declare(name, function, text, if_lost, chosen, timeout, retry, job_type)
            return function

        return declare

    def shell(
        self,
        type: str,
        command: Sequence[str],
        *,
        uses: Mapping[str, int] | None = None,
        if_lost: IfLost = "interrupt",
        timeout: float | None = None,
        retry: Retry | None = None,
        skip_codes: Collection[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        """Declare a command for one type (C18); never run through a shell: each item is one argument.

        ``{name}`` in an item is replaced by that param. All params are in its environment too: ``PARAM_<NAME>`` (text as it
        is, other values as JSON), with ``SEATLINE_JOB``, ``SEATLINE_TYPE``, ``SEATLINE_ATTEMPT``, ``SEATLINE_TENANT``.
        Output goes to the job's log. Exit code 0: succeeded.

        Args:
            type: the job type.
            command: program and arguments, such as ``["convert", "{file}", "out.png"]``.
            uses: as for :meth:`handler`.
            if_lost: as for :meth:`handler`.
            timeout: as for :meth:`handler`; it is ended with all its processes.
            retry: as for :meth:`handler`; exit codes other than 0 and these are failures of type ``ExitCode``.
            skip_codes: exit codes that end the job as skipped.
            env: further variables.
            cwd: the folder to run in.

        Raises:
            UnknownHandlers: a second handler for the type.
            InvalidInput: an argument is not what it should be.

        """
        text = _checked(type, uses, if_lost, timeout, retry)
        self._declare(type, Command(command, skip_codes, env, cwd), text, if_lost, "shell", timeout, retry)

    def login(self, pool: str) -> Callable[[F], F]:
        """Declare how to log in to what a pool's seats are for: a context manager ``login(session)`` (C10).

        It wraps every job that uses the pool, in the thread or process of its handler; what it yields is
        ``ctx.session(pool).client``. For ``async def`` handlers it may be an async context manager.
        """
        check_name("pool", pool)

        def declare(function: F) -> F:
            if pool in self.logins:
                raise UnknownHandlers(f"pool {pool}: two logins. Keep one.")
            if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
                raise UnknownHandlers(
                    f"pool {pool}: put @contextmanager (or @asynccontextmanager) on {_name(function)}."
                )
            self.logins[pool] = function
            return function

        return declare

    def on_startup(self, function: F) -> F:
        """Declare what runs once, before the worker's first cycle: ``function(ctx)`` (C8)."""
        return self._hook("on_startup", function)

    def on_wake(self, function: F) -> F:
        """Declare what runs at the beginning of every cycle, also when there is nothing to do (C8)."""
        return self._hook("on_wake", function)

    def on_sleep(self, function: F) -> F:
        """Declare what runs at the end of every cycle, before the worker sleeps (C8); what it enqueues runs in the next."""
        return self._hook("on_sleep", function)

    def on_shutdown(self, function: F) -> F:
        """Declare what runs once, when the worker ends (C8)."""
        return self._hook("on_shutdown", function)

    def _hook(self, name: str, function: F) -> F:
        if inspect.iscoroutinefunction(function) or not callable(function):
            raise UnknownHandlers(f"{name}: {_name(function)} must be a plain function: def hook(ctx).")
        self.hooks[name].append(function)
        return function

    def _declare(
        self,
        type_: str,
        function: Callable[..., Any],
        uses: str,
        if_lost: IfLost,
        isolation: Isolation,
        timeout: float | None,
        retry: Retry | None,
        job_type: JobType[Any] | None = None,
    ) -> None:
        if isolation in {"process", "shell"} and not hasattr(os, "fork"):
            raise InvalidInput(f"isolation: this system cannot fork; declare type {type_} with isolation='thread'.")
        if type_ in self._by_type:
            first = self._by_type[type_].function
            raise UnknownHandlers(f"type {type_}: two handlers, {_name(first)} and {_name(function)}. Keep one.")
        accepts, requires, open_ended = _read(type_, function)
        argument = ""
        if job_type:
            argument = _the_one(type_, function)
            accepts, requires, open_ended = job_type.accepts, job_type.requires, job_type.open_ended
        declared = (type_, function, uses, if_lost, isolation, timeout, retry)
        self._by_type[type_] = Handler(*declared, accepts, requires, open_ended, uses_map(uses), job_type, argument)

    def narrowed(self, globs: Sequence[str]) -> Handlers:
        """Return the handlers whose type matches one of the patterns (C14).

        Raises:
            UnknownHandlers: nothing matches, or a pattern matches nothing.

        """
        chosen = Handlers()
        chosen.logins, chosen.hooks = self.logins, self.hooks
        for glob in globs:
            found = fnmatch.filter(self._by_type, glob)
            if not found:
                raise UnknownHandlers(f"types: {glob!r} matches none of {', '.join(self.types) or 'no handlers'}.")
            for type_ in found:
                chosen._by_type[type_] = self._by_type[type_]
        return chosen

    def check_logins(self) -> None:
        """Refuse a login that fits no handler of its pool, before the worker starts.

        Raises:
            UnknownHandlers: an async login, and a plain handler that uses its pool.

        """
        for handler in self._by_type.values():
            for pool in handler.needs:
                login = self.logins.get(pool)
                wrapped = getattr(login, "__wrapped__", login)
                if handler.isolation != "async" and (
                    inspect.isasyncgenfunction(wrapped) or inspect.iscoroutinefunction(wrapped)
                ):
                    raise UnknownHandlers(
                        f"pool {pool}: its login is async, and type {handler.type} is not. Use @contextmanager for it."
                    )

    def declared(self) -> dict[str, tuple[str, str]]:
        """Return type -> (uses text, if_lost): what a worker offers."""
        return {type_: (self._by_type[type_].uses, self._by_type[type_].if_lost) for type_ in self.types}

    def digest(self) -> str:
        """Return the name of this offer: equal offers have equal digests."""
        return hashlib.blake2b(repr(self.declared()).encode(), digest_size=6).hexdigest()


def _checked(type_: str, uses: Mapping[str, int] | None, if_lost: object, timeout: object, retry: object) -> str:
    """Refuse what is outside its limits; returns the text of ``uses``."""
    check_name("type", type_)
    if if_lost not in {"interrupt", "rerun"}:
        raise InvalidInput(f"if_lost: {if_lost!r} is neither 'interrupt' nor 'rerun'.")
    if timeout is not None and not (
        isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 < timeout <= TIMEOUT_MOST
    ):
        raise InvalidInput(f"timeout: {timeout!r} is not a number of seconds above 0, at most 30 days.")
    if retry is not None and not isinstance(retry, Retry):
        raise InvalidInput(f"retry: {retry!r} is not a Retry(...).")
    return uses_text({} if uses is None else uses)


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", None)
    return f"{function.__module__}.{name}" if name else repr(function)


def _read(type_: str, function: Callable[..., Any]) -> tuple[frozenset[str], frozenset[str], bool]:
    """Return the params a function accepts, those it requires, and whether it takes any."""
    if isinstance(function, Command):
        return frozenset(), function.requires, True
    kinds = inspect.Parameter
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise UnknownHandlers(f"type {type_}: {function!r} has no signature to bind params to.") from None
    if not parameters or parameters[0].kind not in {kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD}:
        raise UnknownHandlers(f"type {type_}: {_name(function)} must take the context first: def handler(ctx, ...).")
    named = [p for p in parameters[1:] if p.kind in {kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY}]
    if any(p.kind is kinds.POSITIONAL_ONLY for p in parameters[1:]):
        raise UnknownHandlers(f"type {type_}: {_name(function)}: params arrive as keywords; remove the '/'.")
    return (
        frozenset(p.name for p in named),
        frozenset(p.name for p in named if p.default is kinds.empty),
        any(p.kind is kinds.VAR_KEYWORD for p in parameters),
    )


def _the_one(type_: str, function: Callable[..., Any]) -> str:
    """Return the name under which a function takes the instance that a job type gives it."""
    rest = list(inspect.signature(function).parameters.values())[1:]
    kinds = inspect.Parameter
    named = [p for p in rest if p.kind in {kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY}]
    if not named or any(p.default is kinds.empty for p in named[1:]):
        raise UnknownHandlers(
            f"type {type_}: {_name(function)} must take the context and the params of its job type: "
            "def handler(ctx, params)."
        )
    return named[0].name


def _instead_of(module: ModuleType) -> str:
    """Say what a module has that is no set of handlers by that name, and what was imported."""
    if getattr(module, "__file__", None) is None and getattr(module, "__path__", None):
        return (
            f"It is a folder without an __init__.py: {', '.join(module.__path__)}. Name a module in it, or another one."
        )
    names = [name for name, value in vars(module).items() if isinstance(value, Handlers)]
    has = f"It has {', '.join(f'{module.__name__}:{name}' for name in names)}" if names else "It has none"
    return f"{has} (imported from {getattr(module, '__file__', None) or 'Python itself'})."


def load(name: str) -> Handlers:
    """Import ``MODULE:HANDLERS`` (``:handlers`` if left out), from the working folder too.

    Raises:
        UnknownHandlers: it cannot be imported, or is no set of handlers; says what went wrong (C14).

    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        way_out = "Give it as MODULE:HANDLERS, from the folder that holds it."
        if module_name.endswith(".py"):
            way_out = f"Leave out .py: {Path(module_name).stem}{':' + attribute if attribute else ''}."
            if Path(module_name).parent != Path():
                way_out += f" Give it from the folder {Path(module_name).parent}."
        raise UnknownHandlers(
            f"handlers: module {module_name!r} cannot be imported ({type(error).__name__}: {error}). {way_out}"
        ) from error
    found = getattr(module, attribute or "handlers", None)
    if not isinstance(found, Handlers):
        raise UnknownHandlers(
            f"handlers: {module_name} has no Handlers() named {attribute or 'handlers'!r}. {_instead_of(module)}"
        )
    if not found:
        raise UnknownHandlers(f"handlers: {name} declares no handler.")
    return found
