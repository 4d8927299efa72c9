"""What the job of an order's step is handed beside its own fields, and the params that come of it (O5). No I/O.

The order has it, not the job: the server appends it to the job's fields when the job is reserved or read::

    a step        params, params2, ...   the order's params
                  out.<step>             the result of each step that has ended; of those that returned nothing, nothing
    an element    params                 the params of its step as they were merged, without the list
                  item.value             the element

A step's params are the order's, updated by the results of the steps before it (``before``, in the order in which they
ended) as far as these are mappings. An element's params are its step's, and the element under the name ``item``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, cast

from seatline.shared.codec import join_params, join_pieces, unpack_value
from seatline.shared.errors import PayloadError

__all__ = ["Handed", "params_of_step", "step_of_code"]

ITEM: Final = "item"
OUTPUT: Final = "out."


@dataclass(frozen=True, slots=True)
class Handed:
    """What one job of an order is handed; all values packed.

    Attributes:
        params: the order's, or for an element its step's; empty if they were not handed: the order is gone.
        outputs: results by the name of their step.
        before: the steps whose results go into the params, in the order in which they ended.
        codes: which exit code goes to which step, as in the plan: ``2:repair,3-5:check``.
        item: the name of the param that holds the element.
        value: the element; None: the job is no element's.
        lacking: it is an element's, and that was not handed.

    """

    params: bytes = b""
    outputs: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    before: tuple[str, ...] = ()
    codes: str = ""
    item: str = ITEM
    value: bytes | None = None
    lacking: bool = False

    @classmethod
    def read(cls, fields: Mapping[str, bytes]) -> Self:
        """Find it among the fields of a job that has an ``order``."""
        element = "element" in fields
        value = fields.get("item.value") or None if element else None
        return cls(
            params=join_pieces("params", fields),
            outputs={name.removeprefix(OUTPUT): value for name, value in fields.items() if name.startswith(OUTPUT)},
            before=() if element else tuple(_text(fields, "before").split()),
            codes=_text(fields, "codes"),
            item=_text(fields, "item") or ITEM,
            value=value,
            lacking=element and value is None,
        )

    def filled(self, fields: Mapping[str, bytes]) -> Self:
        """Return the same with what the order hands now: a job that was read by itself has none of it."""
        found = type(self).read(fields if self.value is None and not self.lacking else {**fields, "element": b""})
        return replace(self, params=found.params, outputs=found.outputs, value=found.value, lacking=found.lacking)

    def check(self) -> None:
        """Raise :class:`PayloadError` if what the handler must have was not handed."""
        if not self.params or self.lacking:
            what = "element" if self.params else "params"
            raise PayloadError(
                f"the {what} of its order cannot be found: removed or edited by hand, or lost by the server."
            )

    def own(self) -> dict[str, Any]:
        """Return the params as they were handed; empty if they were not.

        Raises:
            PayloadError: they cannot be read.

        """
        return _mapping(unpack_value(self.params)) if self.params else {}

    def merged(self) -> dict[str, Any]:
        """Return the params that the handler is given (O5).

        Raises:
            PayloadError: something of it cannot be read.

        """
        params = self.own()
        _update(params, map(self.outputs.get, self.before))
        if self.value is not None:
            params[self.item] = unpack_value(self.value)
        return params


def params_of_step(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Return the params for the handler of a job with an ``order``, from the fields as a worker gets them (O5).

    Raises:
        PayloadError: something of it was not handed, or cannot be read.

    """
    packed = join_params(fields)
    if packed and b"element" not in fields:  # in a fifth of the time
        params = _mapping(unpack_value(packed))
        _update(params, (fields.get(b"out." + name) for name in fields.get(b"before", b"").split()))
        return params
    handed = Handed.read({name.decode(): value for name, value in fields.items()})
    handed.check()
    return handed.merged()


def _update(params: dict[str, Any], outputs: Iterable[bytes | None]) -> None:
    for packed in outputs:
        if packed is not None and isinstance(output := unpack_value(packed), dict):
            params.update(cast("dict[str, Any]", output))


def step_of_code(codes: str, code: int) -> str | None:
    """Return the step that a code goes to by a text such as ``2:repair,3-5:check``; None: to none.

    Raises:
        PayloadError: the text is none such.

    """
    for entry in codes.split(",") if codes else ():
        span, _, step = entry.partition(":")
        low, _, high = span.partition("-")
        try:
            found = int(low) <= code <= int(high or low)
        except ValueError:
            raise PayloadError(f"codes: {codes[:80]!r} cannot be read.") from None
        if found:
            return step
    return None


def _text(fields: Mapping[str, bytes], name: str) -> str:
    return fields.get(name, b"").decode("utf-8", "replace")


def _mapping(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise PayloadError(f"params: stored is a {type(value).__name__}, not a mapping.")
