"""Every role runs every script, on a real server: what the table allows goes to its end, what not changes nothing (Q18)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from faults.corpus import CASES, Case, Scene
from faults.snapshot import exact, keys_of
from harness.server import RealServer
from redis import Redis

from roles.conftest import Logins
from seatline.shared.errors import Refused, ServerRefused
from seatline.shared.roles import ROLES, role_of, scripts_of

NewNamespace = Callable[[], str]


def kinds(client: Redis, namespace: str) -> dict[str, object]:
    """Return every key, without the prefix, with its type."""
    return {key.partition("}:")[2]: client.type(key) for key in keys_of(client, namespace)}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_q18_a_role_runs_what_it_may_and_nothing_else(
    case: Case, role: str, server: RealServer, redis: Redis, new_namespace: NewNamespace, logins_at: Callable[..., Logins],
) -> None:  # fmt: skip
    """Q18: each way of each verb, with the login of each role: the same as the operator's own, or nothing at all."""
    namespace = new_namespace()
    logins = logins_at(server, namespace)
    with Scene(namespace, server.url, logins.url(role), timeout=5.0) as scene:
        call = case.prepare(scene)
        if case.script in scripts_of(role):
            with contextlib.suppress(Refused):
                scene.caller.run(call)
            twin = new_namespace()
            with Scene(twin, server.url, timeout=5.0) as other, contextlib.suppress(Refused):
                other.caller.run(case.prepare(other))
            assert kinds(redis, namespace) == kinds(redis, twin)
        else:
            scene.caller.meet() if role != "viewer" else None
            before = exact(redis, namespace)
            with pytest.raises(ServerRefused, match=role_of(case.script)):
                scene.caller.run(call)
            assert exact(redis, namespace) == before
