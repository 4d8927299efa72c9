"""Shapes: what an annotation allows, how that is stored, and how it comes back. For the params of typed jobs.

A shape is made once for each annotation of a dataclass or TypedDict (``annotations.py``), so that one which could never be
stored is refused when the job type is declared. Then a value goes through it one of three ways::

    store   the producer's: nothing is converted that a type checker would not let pass; a dataclass becomes a mapping
    exact   back again: only what is as it would have been stored, so that a union finds the member it was
    load    back again, also as other languages write it: text for moments, Decimal, UUID and paths, lists for sets

Pydantic models validate themselves. They are known by their methods: pydantic is never imported here.
"""

from __future__ import annotations

import datetime as dt
import inspect
import types
from abc import ABC, abstractmethod
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path, PosixPath, PurePath, PurePosixPath
from typing import Any, Final, Literal, cast
from uuid import UUID

from seatline.shared.errors import InvalidInput

__all__ = [
    "PATHS",
    "PLAIN",
    "SEQUENCES",
    "APath",
    "Anything",
    "Choice",
    "DataclassShape",
    "DictShape",
    "Either",
    "FieldsShape",
    "Many",
    "ModelShape",
    "Named",
    "OneOf",
    "Plain",
    "RecordShape",
    "Shape",
    "Way",
    "shown",
]

Way = Literal["store", "exact", "load"]
SHOWN_MOST: Final = 60
TOLD_MOST: Final = 5

#: Kind -> what makes one of text that another language wrote; None: it is what it is.
PLAIN: Final[dict[Any, Callable[[str], Any] | None]] = {
    str: None,
    bytes: None,
    bool: None,
    int: None,
    float: None,
    types.NoneType: None,
    dt.datetime: dt.datetime.fromisoformat,
    dt.date: dt.date.fromisoformat,
    dt.time: dt.time.fromisoformat,
    dt.timedelta: None,
    UUID: UUID,
    Decimal: Decimal,
}
PATHS: Final = frozenset({PurePath, PurePosixPath, Path, PosixPath})
SEQUENCES: Final[dict[Any, tuple[type, tuple[type, ...]]]] = {
    list: (list, (list,)),
    set: (set, (set,)),
    frozenset: (frozenset, (frozenset,)),
    abc.Sequence: (list, (list, tuple)),
    abc.Collection: (list, (list, tuple, set, frozenset)),
    abc.MutableSequence: (list, (list,)),
    abc.Set: (frozenset, (set, frozenset)),
    abc.MutableSet: (set, (set,)),
}
_ARRIVES: Final[tuple[type, ...]] = (list, tuple, set, frozenset)


class Shape(ABC):
    """What one annotation allows; ``says`` is how errors call it."""

    says: str

    def turn(self, value: Any, place: str, way: Way) -> Any:
        """Return the value as it is stored, or as it comes back.

        Raises:
            InvalidInput: it is something else; names the place.

        """
        return self._turn(value, place, way)

    @abstractmethod
    def _turn(self, value: Any, place: str, way: Way) -> Any: ...

    def misfit(self, value: object, place: str) -> InvalidInput:
        """Say that a value is something else."""
        return InvalidInput(f"{place}: {shown(value)} is not of type {self.says}.")


class Anything(Shape):
    """Left to the codec, which knows what can be stored."""

    says = "Any"

    def _turn(self, value: Any, place: str, way: Way) -> Any:  # noqa: ARG002 - as it comes
        return value


class Plain(Shape):
    """A value that the codec stores as it is."""

    def __init__(self, kind: type) -> None:
        self.says = "None" if kind is types.NoneType else kind.__name__
        self._kind, self._of_text = kind, PLAIN[kind]
        self._takes = (float, int) if kind is float else (kind,)

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if isinstance(value, self._takes) and (type(value) is not bool or self._kind is bool):
            return value
        if way == "load" and self._of_text and isinstance(value, str):
            try:
                return self._of_text(value)
            except (ValueError, InvalidOperation):
                raise self.misfit(value, place) from None
        raise self.misfit(value, place)


class APath(Shape):
    """A path: it is stored as what it is anywhere, it comes back as the kind that was asked for."""

    def __init__(self, kind: type[PurePath]) -> None:
        self.says, self._kind = kind.__name__, kind

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if way == "store" and isinstance(value, self._kind):
            return value
        if way != "store" and isinstance(value, (PurePath, str) if way == "load" else PurePath):
            return self._kind(value)
        raise self.misfit(value, place)


class OneOf(Shape):
    """A Literal."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.says = ", ".join(map(repr, values))
        self._values = values

    def _turn(self, value: Any, place: str, way: Way) -> Any:  # noqa: ARG002 - the same in all
        for one in self._values:
            if type(value) is type(one) and value == one:
                return value
        raise InvalidInput(f"{place}: {shown(value)} is none of {self.says}.")


class Choice(Shape):
    """An enum: its member's value is stored."""

    def __init__(self, kind: type[Enum]) -> None:
        self.says, self._kind = kind.__name__, kind

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if way == "store":
            if isinstance(value, self._kind):
                return value.value
            raise self.misfit(value, place)
        for member in self._kind:
            if type(member.value) is type(value) and member.value == value:
                return member
        values = ", ".join(repr(member.value) for member in self._kind)
        raise InvalidInput(f"{place}: {shown(value)} is none of {values}.")


class Either(Shape):
    """A union: the first member that fits; what would come back as another one is refused."""

    def __init__(self, members: list[Shape]) -> None:
        self.says = " | ".join(member.says for member in members)
        self._members = members
        inner = [member for member in members if member.says != "None"]
        #: The one that can say better what is wrong inside.
        self._inner = inner[0] if len(inner) == 1 and isinstance(inner[0], RecordShape | Many | Named) else None

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if way != "store":
            return self._back(value, place, way)[1]
        for member in self._members:
            try:
                stored = member.turn(value, place, "store")
            except InvalidInput:
                continue
            other = self._back(stored, place, "load")[0]
            if other is not member:
                raise InvalidInput(
                    f"{place}: a {member.says} would come back as a {other.says}, for both are stored alike. "
                    "Let them differ by a field, such as a Literal that names the kind."
                )
            return stored
        raise self._misfit(value, place, way)

    def _back(self, value: Any, place: str, way: Way) -> tuple[Shape, Any]:
        ways: tuple[Way, ...] = ("exact",) if way == "exact" else ("exact", "load")
        for each in ways:
            for member in self._members:
                try:
                    return member, member.turn(value, place, each)
                except InvalidInput:
                    continue
        raise self._misfit(value, place, way)

    def _misfit(self, value: Any, place: str, way: Way) -> InvalidInput:
        try:
            if self._inner and way != "exact":
                self._inner.turn(value, place, way)
        except InvalidInput as error:
            return error
        return self.misfit(value, place)


class Many(Shape):
    """A list, set or the like, of one kind of items; ``items`` None: a tuple with a kind for each place."""

    _kind: Any
    _takes: tuple[type, ...]

    def __init__(self, origin: Any, item: Shape | None, items: list[Shape]) -> None:
        self._kind, self._takes = SEQUENCES.get(origin, (tuple, (tuple,)))
        self._item, self._items = item, items
        inside = ", ".join(one.says for one in items) if item is None else item.says
        self.says = f"{getattr(origin, '__name__', origin)}[{inside}{', ...' if self._kind is tuple and item else ''}]"

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if not isinstance(value, _ARRIVES if way == "load" else self._takes):
            raise self.misfit(value, place)
        given = list(cast("Iterable[Any]", value))
        if self._item is None and len(given) != len(self._items):
            raise InvalidInput(f"{place}: {len(given)} items are not the {len(self._items)} of {self.says}.")
        shapes = self._items if self._item is None else [self._item] * len(given)
        made = [
            shape.turn(one, f"{place}[{at}]", way) for at, (shape, one) in enumerate(zip(shapes, given, strict=True))
        ]
        # One that its annotation leaves open (a Sequence) stays what it is.
        kind: Any = value.__class__ if isinstance(value, self._takes) else self._kind
        try:
            return made if kind is list else kind(made)
        except TypeError:  # a mapping in a set
            raise InvalidInput(f"{place}: {self.says} holds what cannot be stored in a set. Use a list.") from None


class Named(Shape):
    """A mapping of text to one kind of values."""

    def __init__(self, key: Shape, value: Shape) -> None:
        self.says = f"dict[{key.says}, {value.says}]"
        self._key, self._value = key, value

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if not isinstance(value, Mapping):
            raise self.misfit(value, place)
        given = dict[Any, Any](cast("Any", value))
        made: dict[Any, Any] = {}
        for name, one in given.items():
            at = f"{place}[{name!r}]"
            made[self._key.turn(name, f"the key {at}", way)] = self._value.turn(one, at, way)
        return made


class RecordShape(Shape):
    """A mapping with names of its own.

    Attributes:
        accepts: the names that it has.
        requires: those without a default.
        open_ended: it takes any other name too.

    """

    accepts: frozenset[str] = frozenset()
    requires: frozenset[str] = frozenset()
    open_ended = False

    def check_names(self, given: Mapping[str, Any], place: str) -> None:
        """Raise :class:`InvalidInput` if a name is missing or unknown."""
        missing = ", ".join(sorted(self.requires - given.keys()))
        if missing:
            raise InvalidInput(f"{place}: {self.says} needs {missing}.")
        extra = ", ".join(sorted(map(str, given.keys() - self.accepts)))
        if extra and not self.open_ended:
            raise InvalidInput(f"{place}: {self.says} does not have {extra}.")


class FieldsShape(RecordShape):
    """What dataclasses and TypedDicts have in common: fields with annotations."""

    def __init__(self, kind: type) -> None:
        self.says, self._kind = kind.__name__, kind
        self._fields: dict[str, Shape] = {}

    def set_fields(self, fields: dict[str, Shape], requires: Iterable[str]) -> None:
        """Say what it has; apart from its making, so that a field may be of its own kind."""
        self._fields, self.accepts, self.requires = fields, frozenset(fields), frozenset(requires)

    def _turned(self, given: Mapping[str, Any], place: str, way: Way) -> dict[str, Any]:
        return {name: self._fields[name].turn(value, f"{place}[{name!r}]", way) for name, value in given.items()}


class DictShape(FieldsShape):
    """A TypedDict: the same dict there and back."""

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if not isinstance(value, dict):
            raise self.misfit(value, place)
        given = cast("dict[str, Any]", value)
        self.check_names(given, place)
        return self._turned(given, place, way)


class DataclassShape(FieldsShape):
    """A dataclass: a mapping of the fields that its ``__init__`` takes, made anew from them."""

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if way == "store":
            if type(value) is not self._kind:  # what a subclass has more would be lost
                raise self.misfit(value, place)
            return self._turned({name: getattr(value, name) for name in self._fields}, place, way)
        if not isinstance(value, dict):
            raise self.misfit(value, place)
        given = cast("dict[str, Any]", value)
        self.check_names(given, place)
        turned = self._turned(given, place, way)
        try:
            return self._kind(**turned)
        except Exception as error:
            raise InvalidInput(f"{place}: {self.says}: {type(error).__name__}: {error}") from error


class ModelShape(RecordShape):
    """A pydantic model: what it says in JSON, under its aliases, so that it can read it back."""

    def __init__(self, kind: Any) -> None:
        self.says, self._kind = kind.__name__, kind
        config: Mapping[str, Any] = kind.model_config
        self.open_ended = config.get("extra") in {"allow", "ignore"}
        by_name = config.get("populate_by_name") or config.get("validate_by_name")
        names: set[str] = set()
        for name, field in kind.model_fields.items():
            alias: Any = field.validation_alias or field.alias
            names |= {name} if alias is None or by_name else set()
            for one in getattr(alias, "choices", [alias]):
                path = getattr(one, "path", [one])
                names |= {path[0]} if isinstance(path[0], str) else set()
        self.accepts = frozenset(names)  # what it requires, it says better itself

    def _turn(self, value: Any, place: str, way: Way) -> Any:
        if way != "store":
            return self._read(value, place)
        if type(value) is not self._kind:
            raise self.misfit(value, place)
        try:
            stored = value.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)
        except ValueError as error:
            raise InvalidInput(f"{place}: {self.says}: {error}") from None
        again = self._read(stored, place)
        changed = [name for name in self._kind.model_fields if getattr(value, name) != getattr(again, name)]
        if changed or value.model_extra != again.model_extra:
            raise InvalidInput(
                f"{place}: {self.says}: {', '.join(changed) or 'an extra field'} would not come back as given: it is left "
                "out, masked or changed when the model is written as JSON. Nothing was sent."
            )
        return stored

    def _read(self, value: Any, place: str) -> Any:
        try:
            return self._kind.model_validate(value)
        except ValueError as error:
            told = cast("Any", error)
            if not hasattr(told, "errors"):
                raise InvalidInput(f"{place}: {self.says}: {error}") from None
            wrong = told.errors(include_url=False, include_context=False)
            lines = [f"{place}{''.join(f'[{at!r}]' for at in one['loc'])}: {one['msg']}" for one in wrong]
            more = f"; and {len(lines) - TOLD_MOST} more" if len(lines) > TOLD_MOST else ""
            raise InvalidInput(f"{'; '.join(lines[:TOLD_MOST])}{more}.") from None


def shown(value: object) -> str:
    """Return a value for an error's text, not too long."""
    if inspect.isclass(value):
        return value.__name__
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ must not hide what is wrong
        text = f"a {type(value).__qualname__}"
    return text if len(text) <= SHOWN_MOST else f"{text[:SHOWN_MOST]}..."
