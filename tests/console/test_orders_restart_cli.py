"""`seatline orders list --since-restart`: what became of orders and jobs at the last restart of the server (W3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from harness.server import RealServer

from seatline.producer import Chain, Queue, Step

Cli = Callable[..., Any]


def test_w3_since_restart(bare_cli: Cli, private_server: Callable[..., RealServer], namespace: str) -> None:
    """W3: none seen: said so. After one, this very command notices it, and lists what is the matter first."""
    server = private_server(appendonly=True, config=["appendfsync always"])
    environ = {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace}
    with Queue(server.url, namespace=namespace) as queue:
        queue.define(Chain("release", [Step("check", "t")]))
        queue.start("release", id="mine", title="Mine")
        queue.start("release", delay=3600)
        queue.enqueue("t")
    none = bare_cli("orders", "list", "--since-restart", **environ)
    assert (none.code, none.out) == (0, "")
    assert "The server was not restarted" in none.err
    server.kill()
    server.start()
    listed = bare_cli("orders", "list", "--since-restart", **environ)
    assert listed.code == 0
    assert listed.lines[0].split() == ["WHAT", "KIND", "ID", "OF", "STATE", "NOTE", "TITLE"]
    assert listed.lines[1].split() == ["restored", "order", "mine", "release", "running", "at", "check", "Mine"]
    assert len(listed.lines) == 3
    assert "2 orders and 1 waiting jobs restored, 0 started at once, 0 interrupted, 0 orphaned." in listed.err
    (first, _) = json.loads(bare_cli("orders", "list", "--since-restart", "-o", "json", **environ).out)
    assert first == {
        "what": "restored", "kind": "order", "id": "mine", "of": "release", "state": "running", "title": "Mine",
        "note": "at check",
    }  # fmt: skip
    one = bare_cli("orders", "list", "--since-restart", "--limit", "1", **environ)
    assert len(one.lines) == 2
    assert "1 shown, there are more; --limit 0 lists all." in one.err
    wrong = bare_cli("orders", "list", "--since-restart", "--state", "failed", **environ)
    assert wrong.code == 2
