"""Every command line with the login of every role: it does its work, or is refused in one line and changes nothing (Q18)."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.corpus import Scene
from faults.snapshot import exact
from harness.processes import Child
from harness.server import RealServer
from redis import Redis

from roles.conftest import PASSWORD, Logins
from seatline.console.main import main
from seatline.producer import Queue
from seatline.shared.job import Job
from seatline.shared.roles import ROLES, user_name


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Cli = Callable[..., Done]

#: Command line -> (the least role that may, the exit code then). 1 is failed, the jobs that is waited for; 124 is in time.
LINES: dict[str, tuple[str, int]] = {
    **dict.fromkeys(
        (
            "jobs list", "jobs list --state failed -o json", "jobs show 2", "jobs why 2", "jobs log 1", "jobs failures",
            "jobs history 1", "jobs keep", "audit", "report", "report -o json", "report --html report.html",
            "orders list", "orders show my", "orders why my", "types list", "types show free",
            "jobs why --type free", "pools list", "pools show vault", "workers list",
            "workers show w1", "workers ping w1", "chains list", "chains show c", "schedules list", "schedules next",
            "triggers list", "triggers show e", "verify",
        ),
        ("viewer", 0),
    ),
    **dict.fromkeys(
        (
            "enqueue free n=1", "load lines.jsonl", "triggers emit e", "orders start c", "jobs cancel 2",
            "watch folder --type free --once --settle 0s", "watch folder --chain c --once --settle 0s",
        ),
        ("producer", 0),
    ),
    "doctor": ("viewer", 1),
    "jobs wait 1": ("producer", 1),
    "jobs wait 2 --timeout 0.05": ("producer", 124),
    "orders wait my --timeout 0.05": ("producer", 124),
    "types window free 'Mon-Fri 20:00-05:00 Europe/Paris'": ("worker", 0),
    **dict.fromkeys(
        (
            "jobs remove 1", "jobs resubmit 1", "jobs move 2 --priority 3", "jobs close", "jobs reopen",
            "jobs require-tenant", "orders suspend my", "orders skip my two", "orders goto my two", "orders reset my",
            "orders cancel my", "orders remove my", "types pause free", "types resume paused", "pools set vault 9",
            "pools set fresh 1", "pools external vault 1",
            "pools external vault --exec 'echo 1'", "pools remove spare", "chains define d.toml", "chains stop c",
            "chains start c", "chains skip c two", "schedules add weekly free --every 1m", "schedules pause nightly",
            "schedules resume nightly", "schedules run nightly", "schedules remove nightly", "triggers set f free",
            "triggers remove e", "workers pause w1", "workers resume w1", "workers stop w1", "scripts load",
            "jobs keep --state failed --for 3d", "jobs keep --state failed --lift",
        ),
        ("admin", 0),
    ),
}  # fmt: skip
#: Verbs that any login may try: loading scripts is no right over the namespace.
LOADS = {"scripts load": "producer"}


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, logins: Logins
) -> Iterator[Cli]:
    """Run a command line in this process with a role's login, in a folder with the files that the lines name."""
    before = [
        (log, list(log.handlers), log.level) for log in map(logging.getLogger, ("", "seatline", "seatline.guard"))
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.jsonl").write_text('{"type": "free", "params": {}}\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.dwg").write_text("x")
    (tmp_path / "d.toml").write_text('name = "d"\n[[steps]]\nname = "one"\ntype = "free"\n')

    def run(role: str, line: str) -> Done:
        for name in [name for name in os.environ if name.startswith("SEATLINE_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("SEATLINE_URL", logins.url(role))
        monkeypatch.setenv("SEATLINE_NAMESPACE", logins.namespace)
        monkeypatch.setenv("SEATLINE_STATE", str(tmp_path / "state"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)])
        assert isinstance(end.value.code, int)
        return Done(end.value.code, *capsys.readouterr())

    yield run
    for log, handlers, level in before:
        log.handlers[:] = handlers
        log.setLevel(level)


@pytest.fixture
def scene(server: RealServer, namespace: str) -> Iterator[Scene]:
    """A namespace in which each line finds what it names: job 1 has failed, job 2 waits, and so on."""
    with Scene(namespace, server.url) as scene:
        scene.pool(3)
        assert int(scene.finish()) == 1
        scene.submit(Job("free", {"n": 2}))
        scene.chain()
        scene.order("my")
        scene.schedule("nightly", 3_600_000)
        scene.trigger(Job("free"))
        with Queue(server.url, namespace=namespace) as queue:
            queue.pools.set("spare", 1)
            queue.enqueue("paused", {}, delay=3600)
            queue.pause("paused")
        yield scene


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("line", LINES)
def test_q18_a_command_line(line: str, role: str, cli: Cli, scene: Scene, logins: Logins, redis: Redis) -> None:
    """Q18: who may gets it done; who may not reads who he is, what it takes and what to type, and finds all as it was."""
    least, code = LINES[line]
    least = LOADS.get(line, least)
    before = exact(redis, scene.namespace)
    done = cli(role, line)
    if ROLES.index(role) >= ROLES.index(least):
        assert done.code == code, done
        assert "may not" not in done.err
        return
    user = user_name(logins.namespace, role)
    assert done.code == 77, done
    assert done.err.count("\n") == 1
    assert f"user {user} may not" in done.err
    assert "seatline acl --apply" in done.err or "seatline scripts load" in done.err
    if line not in LOADS:
        assert f"takes the role {least}{'' if least == 'admin' else ' or more'}" in done.err
    assert PASSWORD not in done.err + done.out
    assert exact(redis, scene.namespace) == before


@pytest.mark.parametrize("role", ["viewer", "producer"])
def test_q18_a_worker_with_less_than_its_login_ends_at_once(
    role: str, logins: Logins, scene: Scene, spawn: Callable[..., Child], tmp_path: Path, redis: Redis
) -> None:
    """Q18: it registers nothing, and says in one line what its login lacks."""
    (tmp_path / "farm.py").write_text(
        "from seatline.worker import Handlers\nhandlers = Handlers()\n@handlers.handler('a')\ndef a(ctx): ...\n"
    )
    env = {"SEATLINE_URL": logins.url(role), "SEATLINE_NAMESPACE": logins.namespace, "PATH": os.environ["PATH"]}
    before = exact(redis, scene.namespace)
    child = spawn(
        ["/bin/sh", "-c", f"cd {tmp_path} && exec {sys.executable} -m seatline.console.main worker farm"], env=env
    )
    assert child.wait(20) == 77
    assert (
        f"user {user_name(logins.namespace, role)} may not run jobs (script offer): that takes the role worker"
        in child.errors()
    )
    assert PASSWORD not in child.errors() + child.output()
    assert exact(redis, scene.namespace) == before
