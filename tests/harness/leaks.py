"""The closing look at keys: whose they are, and whether each one has an owner or an expiry."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Mapping
from typing import Any

import redis

__all__ = ["find_leaks", "optional", "read_ttls"]

NO_EXPIRY = -1
GONE = -2
FORMS = {"persistent", "expires"}


def read_ttls(client: redis.Redis) -> dict[str, int]:
    """Return every key of the server with its PTTL, -1 for none; what expires during the look is left out."""
    keys: list[bytes] = list(client.scan_iter(count=1000))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.pttl(key)
    ttls: list[int] = pipeline.execute()
    found = zip(keys, ttls, strict=True)
    return {key.decode(errors="backslashreplace"): ttl for key, ttl in found if ttl != GONE}


def find_leaks(ttls: Mapping[str, int], namespaces: Collection[str], patterns: Mapping[str, str] | None) -> list[str]:
    """Say what is wrong with the keys in ``ttls``.

    Args:
        ttls: key -> PTTL, as from `read_ttls`.
        namespaces: those the test was given; a key outside of them is a leak.
        patterns: regex of a key without its prefix -> 'persistent' or 'expires'; None leaves the names unjudged.
            A key that matches several must satisfy each.

    """
    wrong = []
    for key, ttl in sorted(ttls.items()):
        namespace, separator, name = key.partition("}:")
        if not (separator and namespace[:1] == "{" and namespace[1:] in namespaces):
            wrong.append(f"{key}: outside of the test's namespaces")
        elif patterns is not None:
            forms = {form for pattern, form in patterns.items() if re.fullmatch(pattern, name, re.DOTALL)}
            if not forms:
                wrong.append(f"{key}: no pattern of keys.PATTERNS knows it")
            elif forms - FORMS:
                wrong.append(f"{key}: keys.PATTERNS says {forms - FORMS}, which is neither of {FORMS}")
            elif ttl == NO_EXPIRY and "expires" in forms:
                wrong.append(f"{key}: must expire and does not")
    return wrong


def optional(module: str, attribute: str) -> Any:
    """Return ``module.attribute``, or None while the module is not written; then it must import and have it."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            return None
        raise
    return getattr(found, attribute)
