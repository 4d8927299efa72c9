"""A chain as a file: TOML with the words of :class:`~seatline.shared.chain.Chain` and its steps. Pure: text in, chain out.

::

    name = "release"
    max_orders = 4

    [[steps]]
    name = "check"
    type = "drawing.check"
    retry = { attempts = 5, first = 30 }

    [[steps]]
    name = "publish"
    type = "drawing.publish"
    on_error = "suspend"
    uses = { vault = 1 }

Durations are in seconds. What a file says and nobody knows is refused: a word that is misspelt must not be passed over.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, cast

from seatline.shared.chain import Chain, Step, placed
from seatline.shared.config import NAME, check_name
from seatline.shared.errors import InvalidInput
from seatline.shared.plan import chain_words
from seatline.shared.retry import Retry

__all__ = ["chain_from_toml"]

_CHAIN = tuple(spec.name for spec in fields(Chain))
_STEP = tuple(spec.name for spec in fields(Step))
_NEEDED = tuple(spec.name for spec in fields(Step) if spec.default is MISSING and spec.default_factory is MISSING)
_RETRY = tuple(spec.name for spec in fields(Retry) if spec.name not in {"only", "never"})


def chain_from_toml(text: str, name: str | None = None) -> Chain:
    """Read a chain; ``name`` wins over the file's own. The chain is checked in full (O4, O14, O15).

    Raises:
        InvalidInput: no TOML (tells the line), a word that is not known, or the chain is not good. Names the place:
            ``chain release, step publish: after: ...``.

    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"chain: this is no TOML: {error}.") from None
    if name is None and "name" not in table:
        raise InvalidInput('chain: name: it is missing. Begin the file with name = "...".')
    own = check_name("chain", table.get("name") if name is None else name)
    with placed(own):
        _check_words("", table, _CHAIN)
        steps = _tables("steps", table.get("steps", []))
    chain = Chain(
        own,
        [_step(own, number, step) for number, step in enumerate(steps, 1)],
        title=table.get("title"),
        max_orders=table.get("max_orders"),
    )
    chain_words(chain)
    return chain


def _step(chain: str, number: int, table: Mapping[str, Any]) -> Step:
    name: object = table.get("name")
    with placed(chain, name if isinstance(name, str) and NAME.fullmatch(name) else number):
        _check_words("", table, _STEP)
        for word in _NEEDED:
            if word not in table:
                raise InvalidInput(f"{word}: it is missing.")
        values: dict[str, Any] = {**table}
        if "retry" in table:
            values["retry"] = _retry(table["retry"])
        return Step(**values)


def _retry(value: object) -> Retry:
    if not isinstance(value, dict):
        raise InvalidInput(f"retry: {value!r:.60} is not a table such as {{ attempts = 3, first = 10 }}.")
    words = cast("dict[str, Any]", value)
    _check_words("retry ", words, _RETRY)
    return Retry(**words)


def _tables(what: str, value: object) -> list[dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(part, dict) for part in cast("list[object]", value)):
        return cast("list[dict[str, Any]]", value)
    raise InvalidInput(f"{what}: {value!r:.60} is not a list of tables. Write [[steps]] in front of each step.")


def _check_words(what: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
    for word in table:
        if word not in known:
            raise InvalidInput(f"{what}{word}: it is not known here; known are {', '.join(known)}.")
