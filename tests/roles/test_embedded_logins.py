"""Logins on the embedded server: the one that is said is used, it limits, and it is kept over a restart (Q18)."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from roles.test_acl import Console
from seatline.console.target import with_password
from seatline.producer import AsyncQueue, Queue
from seatline.shared.embedded import ensure, status, stop
from seatline.shared.errors import LoginRefused, NotAllowed
from seatline.worker import Handlers, Worker

NAMESPACE = "farm"
PRODUCER, ADMIN = f"{NAMESPACE}-producer", f"{NAMESPACE}-admin"


class Embedded(Console):
    """Command lines that name no server."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, ""

    def env(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_RUNTIME_DIR") if name in os.environ}
        mine = {"SEATLINE_STATE": os.environ["SEATLINE_STATE"], "SEATLINE_NAMESPACE": NAMESPACE}
        return {**kept, **mine, "PYTHONWARNINGS": "error", **more}

    def login(self, role: str) -> dict[str, str]:
        return {"SEATLINE_USER": f"{NAMESPACE}-{role}", "SEATLINE_PASSWORD_FILE": f"secrets/{role}"}


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    """An embedded server of the test's own, by SEATLINE_STATE, in a folder short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp")).resolve()
    for name in [name for name in os.environ if name.startswith("SEATLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    monkeypatch.setenv("SEATLINE_STATE", str(path / "state"))
    ensure()
    yield Embedded(path)
    stop()
    shutil.rmtree(path)


@pytest.fixture
def limited(console: Embedded) -> Embedded:
    """The same, with a login for each role."""
    made = console("acl", "--apply", "--yes", "--passwords", "secrets")
    assert (made.code, "4 users set" in made.out) == (0, True), made
    return console


def test_q18_a_login_without_a_url_is_used_by_commands(limited: Embedded) -> None:
    """Q18: SEATLINE_USER and its password file limit on the embedded server as on any other."""
    assert limited("enqueue", "drawing.publish", **limited.login("producer")).out == "1\n"
    refused = limited("pools", "set", "vault", "100", **limited.login("producer"))
    assert (refused.code, "farm-producer may not set pools" in refused.err) == (77, True), refused
    looked = limited("jobs", "list", **limited.login("viewer"))
    assert (looked.code, "drawing.publish" in looked.out) == (0, True), looked
    assert limited("enqueue", "drawing.publish", **limited.login("viewer")).code == 77
    whoami = limited("cli", "ACL", "WHOAMI", **limited.login("admin"))
    assert "NOPERM" in whoami.out + whoami.err
    assert limited("cli", "ACL", "WHOAMI").out == "default\n"


def test_q18_a_login_without_a_url_is_used_by_programs(limited: Embedded) -> None:
    """Q18: the arguments of Queue, AsyncQueue and Worker too; after a restart of the server as before it."""
    file = str(limited.folder / "secrets/producer")
    with Queue(namespace=NAMESPACE, user=PRODUCER, password_file=file) as queue:
        assert f"{PRODUCER}@" in queue.store.place
        queue.enqueue("a")
        with pytest.raises(NotAllowed):
            queue.pools.set("vault", 100)

    async def main() -> None:
        async with AsyncQueue(namespace=NAMESPACE, user=PRODUCER, password_file=file) as queue:
            await queue.enqueue("a")
            with pytest.raises(NotAllowed):
                await queue.pools.set("vault", 100)

    asyncio.run(main())
    handlers = Handlers()

    @handlers.handler("a")
    def a(ctx: object) -> None: ...

    with pytest.raises(NotAllowed, match=f"{PRODUCER} may not run jobs"):
        Worker(handlers, namespace=NAMESPACE, user=PRODUCER, password_file=file).run(burst=True)
    mine = str(limited.folder / "secrets/worker")
    hooked: list[str] = []

    @handlers.on_startup
    def start(ctx: object) -> None:
        hooked.append(ctx.queue.store.place)  # type: ignore[attr-defined]

    worker = Worker(handlers, namespace=NAMESPACE, user=f"{NAMESPACE}-worker", password_file=mine)
    assert worker.run(burst=True).done == 2
    assert f"{NAMESPACE}-worker@" in hooked[0]


@pytest.mark.parametrize("said", ["a user alone", "a file alone"])
def test_q18_half_a_login_is_nobody(said: str, limited: Embedded) -> None:
    """Q18: who says half of a login is refused, and not the operator; on a terminal he is asked."""
    half = {"SEATLINE_USER": PRODUCER} if said == "a user alone" else {"SEATLINE_PASSWORD_FILE": "secrets/producer"}
    for words in (("pools", "set", "vault", "1"), ("pools", "list"), ("worker", "mill", "--burst")):
        (limited.folder / "mill.py").write_text(
            "from seatline.worker import Handlers\nhandlers = Handlers()\n@handlers.handler('a')\ndef a(ctx): ...\n"
        )
        done = limited(*words, **half)
        assert done.code == 69, done
        assert "SEATLINE_USER" in done.err
    assert limited("cli", "ACL", "WHOAMI", **half).code != 0
    assert "default" not in limited("cli", "ACL", "WHOAMI", **half).out
    assert "No pools." in limited("pools", "list").err


def test_q18_a_password_is_asked_for_on_a_terminal(limited: Embedded) -> None:
    password = (limited.folder / "secrets/viewer").read_text().strip()
    done = limited.on_terminal({"Password of": password}, "pools", "list", SEATLINE_USER=f"{NAMESPACE}-viewer")
    assert (done.code, "No pools." in done.out, "Password of" in done.out) == (0, True, True), done
    done = limited.on_terminal({"Password of": password}, "cli", "PING", SEATLINE_USER=f"{NAMESPACE}-viewer")
    assert (done.code, "PONG" in done.out) == (0, True), done
    assert password not in done.out


def test_q18_nobody_is_asked_for_the_operators_own(console: Embedded) -> None:
    assert with_password(None) is None


def test_q18_the_refusal_names_where_the_login_comes_from(limited: Embedded, tmp_path: Path) -> None:
    """Q18: a wrong password in the file is not sought in SEATLINE_URL; users that were not saved are thought of."""
    wrong = tmp_path / "wrong"
    wrong.write_text("not-this-one-1")
    done = limited("pools", "list", SEATLINE_USER=PRODUCER, SEATLINE_PASSWORD_FILE=str(wrong))
    assert done.code == 69
    assert "SEATLINE_PASSWORD_FILE" in done.err
    assert "in SEATLINE_URL" not in done.err
    assert "`seatline acl --apply --save`" in done.err
    found = status()
    assert found
    assert found.socket
    done = limited("pools", "list", SEATLINE_URL=f"unix://{PRODUCER}:not-this-one-1@{found.socket}")
    assert "in SEATLINE_URL" in done.err
    with (
        Queue(namespace=NAMESPACE, user=PRODUCER, password_file=str(wrong)) as queue,
        pytest.raises(LoginRefused, match="password_file"),
    ):
        queue.enqueue("a")


def test_q18_the_embedded_server_keeps_its_users(console: Embedded) -> None:
    """Q18: with --save they are there after a stop and a start, those without are not; the operator's login stays."""
    console("acl", "--apply", "--yes", "--passwords", "secrets", "--role", "viewer")
    made = console("acl", "--apply", "--yes", "--save", "--passwords", "secrets", "--role", "producer")
    assert "the server keeps its users" in made.out, made
    assert console("acl", "--apply", "--yes", "--passwords", "secrets", "--role", "worker").code == 0
    for _ in range(2):
        assert console("server", "stop").code == 0
        assert console("enqueue", "a", **console.login("producer")).code == 0
        assert console("pools", "set", "vault", "1", **console.login("producer")).code == 77
        assert console("jobs", "list", **console.login("viewer")).code == 0
        assert console("jobs", "list", **console.login("worker")).code == 69
        assert console("pools", "set", "vault", "1").code == 0
    removed = console("acl", "--remove", "--save", "--yes")
    assert "2 users removed" in removed.out, removed
    console("server", "stop")
    assert console("enqueue", "a", **console.login("producer")).code == 69


def test_q18_whoever_is_in_the_file_the_operator_needs_his_password(console: Embedded) -> None:
    """Q18: a file of users in which the operator was left out, or had another password, opens the server to nobody."""
    found = ensure()
    stop()
    users = found.data / "users.acl"
    for text in ("", "user default on nopass ~* &* +@all\n", "user default off\n"):
        users.write_text(text)
        again = ensure()
        bare = f"redis://127.0.0.1:{again.port}/0"
        refused = subprocess.run(
            [sys.executable, "-m", "seatline.console.main", "pools", "list"],
            env=console.env(SEATLINE_URL=bare), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert refused.returncode == 69, refused
        assert re.search("NOAUTH|Authentication required", refused.stderr, re.IGNORECASE)
        assert console("pools", "list").code == 0
        stop()
    assert users.stat().st_mode & 0o077 == 0
