"""Handlers: which function runs which type, what the type uses, what happens when its worker is lost."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from seatline.shared.config import check_name
from seatline.shared.errors import BadParams, InvalidInput, UnknownHandlers
from seatline.shared.job import uses_text

__all__ = ["Handler", "Handlers", "load"]

F = TypeVar("F", bound=Callable[..., Any])
IfLost = Literal["interrupt", "rerun"]


@dataclass(frozen=True, slots=True)
class Handler:
    """The function of one type, and what was declared with it."""

    type: str
    function: Callable[..., Any]
    uses: str
    if_lost: IfLost
    accepts: frozenset[str]
    requires: frozenset[str]
    open_ended: bool

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Raise :class:`BadParams` if they do not bind to the function's signature."""
        names = params.keys()
        if not self.requires <= names:
            missing = ", ".join(sorted(self.requires - names))
            raise BadParams(f"the handler of {self.type} needs {missing}, which the params do not have.")
        if not self.open_ended and not names <= self.accepts:
            extra = ", ".join(sorted(names - self.accepts))
            raise BadParams(f"the handler of {self.type} does not take {extra}, which the params have.")


class Handlers:
    """A set of handlers; a module's ``handlers`` is what ``seatline worker MODULE:HANDLERS`` runs."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}

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

    def handler(
        self,
        type: str,
        *,
        uses: Mapping[str, int] | None = None,
        if_lost: IfLost = "interrupt",
    ) -> Callable[[F], F]:
        """Declare the function for one type: ``function(ctx, **params)``.

        Its return value is the job's result; an exception fails the job with type, message and traceback.

        Args:
            type: the job type.
            uses: seats by pool which a job of this type takes while it runs; a job's own ``uses`` wins (S13).
            if_lost: when its worker dies: ``interrupt`` (a person decides) or ``rerun`` (T4).

        Raises:
            UnknownHandlers: a second handler for the type (C14), or a signature that params cannot bind to.

        """
        check_name("type", type)
        text = uses_text(uses or {})
        if if_lost not in {"interrupt", "rerun"}:
            raise InvalidInput(f"if_lost: {if_lost!r} is neither 'interrupt' nor 'rerun'.")

        def declare(function: F) -> F:
            if type in self._by_type:
                first = self._by_type[type].function
                raise UnknownHandlers(f"type {type}: two handlers, {_name(first)} and {_name(function)}. Keep one.")
            self._by_type[type] = _read(type, function, text, if_lost)
            return function

        return declare

    def narrowed(self, globs: Sequence[str]) -> Handlers:
        """Return the handlers whose type matches one of the patterns (C14).

        Raises:
            UnknownHandlers: nothing matches, or a pattern matches nothing.

        """
        chosen = Handlers()
        for glob in globs:
            found = fnmatch.filter(self._by_type, glob)
            if not found:
                raise UnknownHandlers(f"types: {glob!r} matches none of {', '.join(self.types) or 'no handlers'}.")
            for type_ in found:
                chosen._by_type[type_] = self._by_type[type_]
        return chosen

    def declared(self) -> dict[str, tuple[str, str]]:
        """Return type -> (uses text, if_lost): what a worker offers."""
        return {type_: (self._by_type[type_].uses, self._by_type[type_].if_lost) for type_ in self.types}

    def digest(self) -> str:
        """Return the name of this offer: equal offers have equal digests."""
        return hashlib.blake2b(repr(self.declared()).encode(), digest_size=6).hexdigest()


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"


def _read(type_: str, function: Callable[..., Any], uses: str, if_lost: IfLost) -> Handler:
    if inspect.iscoroutinefunction(function):
        raise UnknownHandlers(f"type {type_}: {_name(function)} is async; this version runs plain functions only.")
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
    return Handler(
        type=type_,
        function=function,
        uses=uses,
        if_lost=if_lost,
        accepts=frozenset(p.name for p in named),
        requires=frozenset(p.name for p in named if p.default is kinds.empty),
        open_ended=any(p.kind is kinds.VAR_KEYWORD for p in parameters),
    )


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
        raise UnknownHandlers(
            f"handlers: module {module_name!r} cannot be imported ({type(error).__name__}: {error}). "
            "Give it as MODULE:HANDLERS, from the folder that holds it."
        ) from error
    found = getattr(module, attribute or "handlers", None)
    if not isinstance(found, Handlers):
        raise UnknownHandlers(f"handlers: {module_name} has no Handlers() named {attribute or 'handlers'!r}.")
    if not found:
        raise UnknownHandlers(f"handlers: {name} declares no handler.")
    return found
