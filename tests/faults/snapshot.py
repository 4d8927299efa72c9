"""A namespace as a value, to be compared: bit for bit with itself, or with a twin that went through the same calls.

Twins differ in what nobody may rely on: moments, the digest of a request that held a moment, the creation id, the ids
of stream entries. All else must be equal, ids, tokens, lanes and events too: the twins' clients bear the same names.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import Any

__all__ = ["exact", "keys_of", "normal", "plain"]

MOMENT = re.compile(r"(?<!\d)1[6-9]\d{11}(?!\d)")


def keys_of(client: Any, namespace: str) -> list[str]:
    """Return the namespace's keys, sorted."""
    return sorted(key.decode() for key in client.scan_iter(match=f"{{{namespace}}}:*", count=1000))


def exact(client: Any, namespace: str) -> dict[str, tuple[bytes | None, bool]]:
    """Return every key with its DUMP and whether it expires."""
    names = keys_of(client, namespace)
    pipeline = client.pipeline(transaction=False)  # a full Redis 7.0 refuses a MULTI; nothing else goes on here
    for name in names:
        pipeline.dump(name)
        pipeline.pttl(name)
    replies = pipeline.execute()
    return {name: (replies[2 * i], replies[2 * i + 1] > 0) for i, name in enumerate(names)}


def plain(value: Any) -> Any:
    """Return an answer or a stored value as text, with ``<ms>`` for each moment."""
    if isinstance(value, bytes):
        return plain(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, str):
        return MOMENT.sub("<ms>", value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return plain(f"{value:.0f}") if value > 1e12 else value
    if isinstance(value, dt.datetime):
        return "<ms>"
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {plain(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def normal(client: Any, namespace: str) -> dict[str, Any]:
    """Return every key, without the prefix, with its type, whether it expires, and its content without moments."""
    found: dict[str, Any] = {}
    for name in keys_of(client, namespace):
        short = name.partition("}:")[2]
        kind = client.type(name).decode()
        found[short] = (kind, client.pttl(name) > 0, _content(client, kind, name, short))
    return found


def _content(client: Any, kind: str, name: str, short: str) -> Any:
    if kind == "hash":
        fields = plain(client.hgetall(name))
        if short == "about":
            fields["creation"] = "<creation>"
        return fields
    if kind == "zset":
        return plain(dict(client.zrange(name, 0, -1, withscores=True)))
    if kind == "set":
        return sorted(plain(list(client.smembers(name))))
    if kind == "list":
        return plain(client.lrange(name, 0, -1))
    if kind == "stream":
        return [plain(fields) for _, fields in client.xrange(name)]
    text = client.get(name)
    if short.startswith("lane:"):
        number, _, reply = text.decode().split(" ", 2)
        return [number, plain(reply)]
    return plain(text)
