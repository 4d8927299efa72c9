"""What a handler sees of the order whose step it runs (O5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from seatline.shared.codec import unpack_value
from seatline.shared.job import JobRecord
from seatline.shared.order_params import Handed

__all__ = ["OrderView"]


class OrderView:
    """The order that a job is a step of, as it was when the job was reserved: ``ctx.order``.

    Attributes:
        id: of the order.
        chain: its chain's name.
        step: this step's name.
        element: which element of the step's list this run is for (0, 1, ...); None: for the step as a whole.
        outputs: what the steps before it returned, by name; None for one that returned nothing or was passed. Those are
            all that have ended; where steps run side by side, only those that lie before it, so that it does not matter
            which was faster (O14). Empty in a run for one element.

    """

    __slots__ = ("_handed", "_params", "chain", "element", "id", "outputs", "step")

    def __init__(self, record: JobRecord, handed: Handed) -> None:
        self.id, self.chain, self.step = record.order or "", record.chain or "", record.step or ""
        self.element = record.element
        self.outputs: Mapping[str, Any] = _Outputs(handed)
        self._handed = handed
        self._params: dict[str, Any] | None = None

    def __repr__(self) -> str:
        element = "" if self.element is None else f"[{self.element}]"
        return f"<Order {self.id} of chain {self.chain}, step {self.step}{element}>"

    @property
    def params(self) -> dict[str, Any]:
        """The order's own params, without what its steps returned; for one element its step's, without the list.

        Raises:
            PayloadError: they cannot be read.

        """
        if self._params is None:
            self._params = self._handed.own()
        return self._params


class _Outputs(Mapping[str, Any]):
    """Results by step, each unpacked when it is first asked for."""

    def __init__(self, handed: Handed) -> None:
        self._packed = handed.outputs
        self._names = dict.fromkeys(handed.before)
        self._values: dict[str, Any] = {}

    def __getitem__(self, step: str) -> Any:
        if step not in self._values:
            if step not in self._names:
                raise KeyError(f"step {step!r} has not ended; there are: {', '.join(self._names) or 'none'}")
            packed = self._packed.get(step)
            self._values[step] = None if packed is None else unpack_value(packed)
        return self._values[step]

    def __contains__(self, step: object) -> bool:
        return step in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<outputs of {', '.join(self._names) or 'no step'}>"
