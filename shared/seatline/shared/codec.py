"""Values to bytes and back: msgpack with a few more kinds, checked before anything is sent. Nothing is ever unpickled.

Plain msgpack, so that any language can write it. Kinds that msgpack lacks travel as extensions with codes that never
change (R6: data only, never a class by name)::

    1 datetime (ISO)   2 date   3 time   4 timedelta (days, s, us)   5 UUID   6 Decimal   7 big int   8 path
    9 set   10 tuple   11 frozenset

A payload of up to 1 KiB is stored in pieces of 64 bytes (``params``, ``params2``, ...), so that a job's hash stays in
Redis' compact form on stock settings; larger ones in one piece.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath, PurePosixPath
from typing import Any, Final, cast
from uuid import UUID

import msgpack as untyped_msgpack

from seatline.shared.errors import InvalidInput, PayloadError

__all__ = [
    "DEEPEST",
    "PARAMS_MOST",
    "RESULT_MOST",
    "join_params",
    "join_pieces",
    "pack_frame",
    "pack_params",
    "pack_value",
    "pieces",
    "unpack_frame",
    "unpack_sequence",
    "unpack_value",
]

msgpack: Any = untyped_msgpack  # it ships no types; this is the only module that uses it

PARAMS_MOST: Final = 256 * 1024
RESULT_MOST: Final = 8 * 1024 * 1024
DEEPEST: Final = 64
PIECE: Final = 64
IN_PIECES: Final = 1024

_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_COLLECTIONS: Final[dict[type, int]] = {set: 9, tuple: 10, frozenset: 11}
_NESTS: Final = frozenset({list, tuple, set, frozenset})


def _collection(value: object) -> int | None:
    return _COLLECTIONS.get(type(value))


def _default(value: Any) -> Any:
    match value:
        case dt.datetime():
            return msgpack.ExtType(1, value.isoformat().encode())
        case dt.date():
            return msgpack.ExtType(2, value.isoformat().encode())
        case dt.time():
            return msgpack.ExtType(3, value.isoformat().encode())
        case dt.timedelta():
            return msgpack.ExtType(4, msgpack.packb((value.days, value.seconds, value.microseconds)))
        case UUID():
            return msgpack.ExtType(5, value.bytes)
        case Decimal():
            return msgpack.ExtType(6, str(value).encode())
        case int() if type(value) is int:
            return msgpack.ExtType(7, str(value).encode())
        case PurePath():
            return msgpack.ExtType(8, value.as_posix().encode())
        case _ if code := _collection(value):
            return msgpack.ExtType(code, _pack(list(value)))
        case _:
            raise TypeError(type(value).__name__)


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, default=_default, strict_types=True)
    return packed


def _ext(code: int, data: bytes) -> Any:
    match code:
        case 1:
            return dt.datetime.fromisoformat(data.decode())
        case 2:
            return dt.date.fromisoformat(data.decode())
        case 3:
            return dt.time.fromisoformat(data.decode())
        case 4:
            days, seconds, micros = _unpack(data)
            return dt.timedelta(days, seconds, micros)
        case 5:
            return UUID(bytes=data)
        case 6:
            return Decimal(data.decode())
        case 7:
            return int(data.decode())
        case 8:
            return PurePosixPath(data.decode())
        case 9:
            return set(_unpack(data))
        case 10:
            return tuple(_unpack(data))
        case 11:
            return frozenset(_unpack(data))
        case _:
            raise PayloadError(f"extension {code} is not one of Seatline's; was it written by a newer version?")


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, ext_hook=_ext, strict_map_key=True, raw=False)


def _look(what: str, value: Any, depth: int) -> None:
    """Walk the containers: depth and keys are checked here, at the edge, so the producer sees it and not a worker."""
    if depth > DEEPEST:
        raise InvalidInput(
            f"{what[:80]}: nested deeper than {DEEPEST} levels. Flatten it, or store a file and pass its path."
        )
    if type(value) is dict:
        entries: dict[Any, Any] = cast("Any", value)
        for key, item in entries.items():
            if type(key) is not str:
                raise InvalidInput(f"{what}: the key {key!r} is a {type(key).__name__}; keys must be text.")
            if type(item) not in _SCALARS:
                _look(f"{what}[{key!r}]", item, depth + 1)
    elif type(value) in _NESTS:
        for index, item in enumerate(cast("list[Any]", value)):
            if type(item) not in _SCALARS:
                _look(f"{what}[{index}]", item, depth + 1)
    elif type(value) not in _SCALARS:
        try:
            _default(value)
        except TypeError:
            raise InvalidInput(
                f"{what}: a {type(value).__module__}.{type(value).__qualname__} cannot be stored. Use plain values (text, "
                "numbers, bytes, lists, dicts, dates, Decimal, UUID, paths, sets) or pass a file's path."
            ) from None


def pack_value(what: str, value: Any, most: int = RESULT_MOST) -> bytes:
    """Turn a value into bytes.

    Args:
        what: how errors call it, such as ``params``.
        value: anything of the kinds above.
        most: the largest size allowed, in bytes.

    Raises:
        InvalidInput: too deep, too large, a kind that cannot be stored, text that is no Unicode; names the place (R4).

    """
    if type(value) not in _SCALARS:
        _look(what, value, 1)
    try:
        packed = _pack(value)
    except UnicodeError:
        raise InvalidInput(f"{what}: holds text that is not Unicode (a lone surrogate). Pass it as bytes.") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{what}: cannot be stored: {error}") from None
    if len(packed) > most:
        raise InvalidInput(
            f"{what}: {len(packed):,} bytes are more than the limit of {most:,}. Store the data in a file and pass its path."
        )
    return packed


def pack_params(params: Mapping[str, Any]) -> bytes:
    """Turn a job's params into bytes; see :func:`pack_value`. Limit: 256 KiB, 64 levels."""
    if not isinstance(params, Mapping):
        raise InvalidInput(f"params: a {type(params).__name__} is not a mapping of names to values.")
    return pack_value("params", dict(params) if type(params) is not dict else params, PARAMS_MOST)


def unpack_value(data: bytes) -> Any:
    """Turn bytes back into a value.

    Raises:
        PayloadError: whatever is wrong with them.

    """
    try:
        return _unpack(data)
    except PayloadError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever msgpack or a kind says about bad bytes
        raise PayloadError(f"stored bytes cannot be read as a value ({type(error).__name__}: {error})") from None


def unpack_sequence(data: bytes) -> list[Any]:
    """Turn values that were packed one by one and lie behind each other back into a list of them.

    Raises:
        PayloadError: whatever is wrong with them.

    """
    unpacker = msgpack.Unpacker(ext_hook=_ext, strict_map_key=True, raw=False, max_buffer_size=0)
    try:
        unpacker.feed(data)
        values: list[Any] = list(unpacker)
        if unpacker.tell() != len(data):
            raise ValueError(f"it ends at byte {unpacker.tell()} of {len(data)}")
    except PayloadError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise PayloadError(f"stored bytes cannot be read as values ({type(error).__name__}: {error})") from None
    return values


def pack_frame(words: list[Any]) -> bytes:
    """Write what two processes of one worker say to each other: text, bytes, numbers, lists and dicts of them, no more."""
    packed: bytes = msgpack.packb(words, unicode_errors="replace")
    return packed


def unpack_frame(data: bytes | bytearray | memoryview) -> list[Any]:
    """Read what :func:`pack_frame` wrote.

    Raises:
        PayloadError: it is something else.

    """
    try:
        words: list[Any] = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except Exception as error:  # noqa: BLE001 - as above
        raise PayloadError(f"a frame cannot be read ({type(error).__name__}: {error})") from None
    if type(words) is not list:
        raise PayloadError("a frame cannot be read: it is no list")
    return words


def pieces(field: str, data: bytes) -> list[str | bytes]:
    """Return the hash fields and values that store ``data``, flat: compact up to 1 KiB, else in one."""
    if len(data) <= PIECE or len(data) > IN_PIECES:
        return [field, data]
    flat: list[str | bytes] = [field, data[:PIECE]]
    for number, start in enumerate(range(PIECE, len(data), PIECE), 2):
        flat += (f"{field}{number}", data[start : start + PIECE])
    return flat


def join_pieces(field: str, fields: Mapping[str, bytes]) -> bytes:
    """Put together what :func:`pieces` cut."""
    data = fields.get(field, b"")
    number = 2
    while (piece := fields.get(f"{field}{number}")) is not None:
        data += piece
        number += 1
    return data


def join_params(fields: Mapping[bytes, bytes]) -> bytes:
    """Put together the params of a job from its fields as the server sends them; for each job that a worker runs."""
    data, number = fields.get(b"params", b""), 2
    while (piece := fields.get(b"params%d" % number)) is not None:
        data += piece
        number += 1
    return data
