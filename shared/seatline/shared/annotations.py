"""From an annotation to its shape (``shapes.py``): once for each class, when a job type is declared."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections import abc
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast

from seatline.shared.errors import InvalidInput
from seatline.shared.shapes import (
    PATHS,
    PLAIN,
    SEQUENCES,
    Anything,
    APath,
    Choice,
    DataclassShape,
    DictShape,
    Either,
    FieldsShape,
    Many,
    ModelShape,
    Named,
    OneOf,
    Plain,
    RecordShape,
    Shape,
    shown,
)

__all__ = ["record_of"]

Seen = dict[Any, RecordShape]
_MAPPINGS: Final = frozenset({dict, abc.Mapping, abc.MutableMapping})
#: Words round a hint that do not change what it allows; ReadOnly is younger than the oldest Python here.
_WRAPPERS: Final = (typing.Required, typing.NotRequired, typing.Final, getattr(typing, "ReadOnly", typing.Required))


def record_of(kind: Any, place: str) -> RecordShape:
    """Return the shape of a dataclass, a TypedDict or a pydantic model.

    Raises:
        InvalidInput: it is none, or one of its fields could not be stored; names the place.

    """
    shape = _record(kind, place, {})
    if shape is None or getattr(kind, "__pydantic_root_model__", False):
        raise InvalidInput(
            f"{place}: {shown(kind)} is neither a dataclass, a TypedDict nor a pydantic model (version 2)."
        )
    return shape


def _record(kind: Any, place: str, seen: Seen) -> RecordShape | None:
    """Return the shape of what has names of its own; ``seen``: those that are made already, or being made."""
    if not inspect.isclass(kind) or typing.get_origin(kind):
        return None
    if kind in seen:
        return seen[kind]
    made = _named(kind)
    if not isinstance(made, FieldsShape):
        return made
    seen[kind] = made
    hints = _hints(kind, place)
    if isinstance(made, DictShape):
        names = list(hints)
        requires = [name for name, hint in hints.items() if _required(cast("Any", kind), name, hint)]
    else:
        taken = _init_fields(kind, place)
        names = [field.name for field in taken]
        without = dataclasses.MISSING
        requires = [field.name for field in taken if field.default is without and field.default_factory is without]
    made.set_fields({name: _shape(hints[name], f"{place}.{name}", seen) for name in names}, requires)
    return made


def _named(kind: Any) -> RecordShape | None:
    if hasattr(kind, "__required_keys__") and dict in kind.__mro__:
        return DictShape(kind)
    if hasattr(kind, "__dataclass_fields__"):
        return DataclassShape(kind)
    return ModelShape(kind) if hasattr(kind, "model_validate") and hasattr(kind, "model_fields") else None


def _init_fields(kind: Any, place: str) -> list[dataclasses.Field[Any]]:
    only = [
        name
        for name, field in kind.__dataclass_fields__.items()
        if getattr(field, "_field_type", None) is getattr(dataclasses, "_FIELD_INITVAR", "")
    ]
    if only:
        raise InvalidInput(
            f"{place}.{only[0]}: an InitVar cannot be read back, so it cannot be stored. Make it a field."
        )
    return [field for field in dataclasses.fields(kind) if field.init]


def _hints(kind: Any, place: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception as error:  # noqa: BLE001 - whatever an annotation raises
        raise InvalidInput(
            f"{place}: its annotations cannot be read ({type(error).__name__}: {error}). What they name must stand at the "
            "top of its module, and not only under TYPE_CHECKING."
        ) from None


def _required(kind: Any, name: str, hint: Any) -> bool:
    # Written as text (from __future__ import annotations) the marks are not in __required_keys__.
    while (origin := typing.get_origin(hint)) in _WRAPPERS or origin is Annotated:
        if origin is typing.Required or origin is typing.NotRequired:
            return origin is typing.Required
        hint = typing.get_args(hint)[0]
    return name in kind.__required_keys__


def _shape(hint: Any, place: str, seen: Seen) -> Shape:
    """Return the shape of any annotation."""
    hint = _bare(hint)
    if hint is Any or hint is object or isinstance(hint, TypeVar):
        return Anything()
    hint = types.NoneType if hint is None else hint
    if inspect.isclass(hint) and typing.get_origin(hint) is None:
        if hint in PLAIN:
            return Plain(hint)
        if hint in PATHS:
            return APath(hint)
        if issubclass(hint, Enum):
            return Choice(hint)
        found = _record(hint, place, seen)
        if found:
            return found
    return _generic(hint, place, seen)


def _generic(hint: Any, place: str, seen: Seen) -> Shape:
    origin: Any = typing.get_origin(hint) or hint
    words = typing.get_args(hint)
    if origin is Literal:
        return OneOf(words)
    if origin is Union or origin is types.UnionType:
        return Either([_shape(word, place, seen) for word in words])
    if origin is tuple and words and words[-1] is not ...:
        return Many(tuple, None, [_shape(word, place, seen) for word in words])
    if origin is tuple or origin in SEQUENCES:
        return Many(origin, _shape(words[0], place, seen) if words else Anything(), [])
    if origin in _MAPPINGS:
        key, value = (_shape(word, place, seen) for word in words or (str, Any))
        if not isinstance(key, Anything | OneOf | Choice) and key.says != "str":
            raise InvalidInput(f"{place}: its keys are {key.says}; only text (str) can be stored as keys.")
        return Named(key, value)
    raise InvalidInput(
        f"{place}: a {shown(hint)} cannot be stored. Use str, int, float, bool, bytes, None, dates and times, Decimal, UUID, "
        "paths, enums, Literal, lists, sets, tuples, dicts, dataclasses, TypedDicts or pydantic models."
    )


def _bare(hint: Any) -> Any:
    """Unwrap what only says more about a hint: Annotated, Required, a NewType, the name of an alias."""
    while True:
        if typing.get_origin(hint) is Annotated or typing.get_origin(hint) in _WRAPPERS:
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # younger than the oldest Python here
            hint = hint.__value__
        else:
            return hint
