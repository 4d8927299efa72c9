"""compose.yaml does what it says: its own command lines are run here, with local programs in place of images.

What only Docker can show (the build itself, the network between services) is judged by reading the file.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import yaml
from harness.processes import Child, Children, free_port
from harness.server import find_binary
from harness.waiting import wait_until

from seatline.console.target import DEADLINE
from seatline.console.values import duration
from seatline.producer import Queue
from seatline.shared.config import Settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "compose.yaml").read_text("utf-8")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
START_SECONDS = 20
JOB_SECONDS = 30


def compose(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file as Compose reads it: ${NAME:-default} is put in, nothing else is used in it."""
    values = environ or {}
    parsed: dict[str, Any] = yaml.safe_load(VARIABLE.sub(lambda found: values.get(found[1]) or found[2], TEXT))
    assert "$" not in yaml.safe_dump(parsed)
    return parsed


SERVICES = compose()["services"]


def seconds(duration: str) -> float:
    assert duration.endswith("s")
    return float(duration.removesuffix("s"))


def option(name: str) -> str:
    command: list[str] = SERVICES["redis"]["command"]
    return command[command.index(f"--{name}") + 1]


class TestReadAsText:
    def test_the_services_are_a_server_a_worker_and_a_producer(self) -> None:
        assert set(SERVICES) == {"redis", "worker", "producer"}
        command = SERVICES["worker"]["command"]
        assert command[:5] == ["seatline", "worker", "examples.hello:handlers", "--slots", "4"]

    def test_the_server_keeps_what_it_was_given(self) -> None:
        assert option("appendonly") == "yes"
        assert option("appendfsync") == "everysec"
        assert option("maxmemory-policy") == "noeviction"
        assert option("hash-max-listpack-value") == "1024"
        volume, folder = SERVICES["redis"]["volumes"][0].split(":")
        assert option("dir") == folder
        assert volume in compose()["volumes"]

    def test_only_this_machine_reaches_the_server(self) -> None:
        ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
        assert ports == ["127.0.0.1:6379:6379"]
        assert not [name for name, service in SERVICES.items() if "network_mode" in service]

    def test_one_variable_sets_the_password_everywhere(self) -> None:
        assert TEXT.count(option("requirepass")) == TEXT.count("${SEATLINE_PASSWORD:-trial-only}") + 1, "once in words"
        changed = compose({"SEATLINE_PASSWORD": "another"})
        assert "trial-only" not in yaml.safe_dump(changed)
        assert urlsplit(changed["services"]["worker"]["environment"]["SEATLINE_URL"]).password == "another"

    def test_the_default_password_is_said_plainly(self) -> None:
        head = TEXT[: TEXT.index("\nname:")]
        assert 'the password is "trial-only"' in head
        assert "SEATLINE_PASSWORD" in head

    def test_workers_can_be_many(self) -> None:
        assert not {"container_name", "ports", "hostname"} & set(SERVICES["worker"])

    @pytest.mark.parametrize("name", ["worker", "producer"])
    def test_clients_wait_for_a_healthy_server_and_never_start_their_own(self, name: str) -> None:
        service = SERVICES[name]
        assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
        assert "healthcheck" in SERVICES["redis"]
        assert urlsplit(service["environment"]["SEATLINE_URL"]).hostname == "redis"
        assert service["environment"]["SEATLINE_EMBEDDED"] == "never"

    def test_running_jobs_may_end_before_docker_kills(self) -> None:
        assert seconds(SERVICES["worker"]["stop_grace_period"]) > Settings().grace

    def test_a_worker_that_hangs_is_started_anew(self) -> None:
        """Its watchdog ends it, later than a missing answer is told but long before a person looks; Docker starts it."""
        command: list[str] = SERVICES["worker"]["command"]
        assert 2 * Settings().renew < duration(command[command.index("--watchdog") + 1]) <= 300
        assert SERVICES["worker"]["restart"] == "unless-stopped"
        check = SERVICES["worker"]["healthcheck"]
        assert seconds(check["timeout"]) > DEADLINE, "the probe itself tells why"
        assert "healthcheck" not in SERVICES["producer"]

    def test_what_serves_comes_back_and_the_producer_runs_when_asked(self) -> None:
        restart = {name: service["restart"] for name, service in SERVICES.items()}
        assert restart == {"redis": "unless-stopped", "worker": "unless-stopped", "producer": "no"}
        assert [name for name, service in SERVICES.items() if "profiles" in service] == ["producer"]

    def test_the_image_is_made_of_what_is_there(self) -> None:
        recipe = SERVICES["worker"]["build"]["dockerfile_inline"]
        copied = [word for line in recipe.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]
        assert copied
        assert not [name for name in copied if not (ROOT / name).exists()]
        assert {"shared", "producer", "worker", "console", "examples"} <= set(copied)


class Farm:
    """The services as local processes: the commands and the environment of the file, other addresses and folders."""

    def __init__(self, children: Children, folder: Path) -> None:
        self._children = children
        self._folder = folder
        self._tools = folder / "tools"
        self._port = 0
        self.server: Child | None = None

    @property
    def url(self) -> str:
        url: str = SERVICES["worker"]["environment"]["SEATLINE_URL"]
        return url.replace("@redis:6379/", f"@127.0.0.1:{self._port}/")

    def start_server(self) -> None:
        """Start the server; on the same folder again, if it ran before. Return when its health check passes."""
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        program, *options = SERVICES["redis"]["command"]
        assert program == "valkey-server"
        options = [str(data) if word == "/data" else word for word in options]
        for _ in range(5):  # another process may take the port before the server does
            self._port = free_port()
            self._write_client()
            local = ["--port", str(self._port), "--bind", "127.0.0.1"]
            self.server = server = self._children.spawn([find_binary(), *options, *local])
            wait_until(lambda: self.healthy() or not server.running, START_SECONDS, "the server's health")  # noqa: B023
            if server.running:
                return
        raise AssertionError(server.output())

    def stop_server(self) -> None:
        assert self.server
        self.server.terminate()
        assert self.server.wait() == 0

    def healthy(self, **environ: str) -> bool:
        """Run the health check as the container would."""
        service = SERVICES["redis"]
        check = service["healthcheck"]["test"]
        assert isinstance(check, str), "a string is run by the shell"
        path = f"{self._tools}{os.pathsep}{os.environ['PATH']}"
        values = {"PATH": path, **service["environment"], **environ}
        return subprocess.run(["sh", "-c", check], env=values, capture_output=True, check=False).returncode == 0

    def run(self, service: str) -> Child:
        """Start the command of a service, from this folder's programs."""
        return self._spawn(service, SERVICES[service]["command"])

    def lives(self, service: str) -> bool:
        """Run the health check of a service, as its container would."""
        kind, *command = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD", "the program itself, no shell"
        return self._spawn(service, command).wait() == 0

    def _spawn(self, service: str, command: list[str]) -> Child:
        program, *arguments = command
        local = {"seatline": [sys.executable, "-m", "seatline.console.main"], "python": [sys.executable]}[program]
        environ = {**SERVICES[service]["environment"], "SEATLINE_URL": self.url, "PYTHONPATH": str(ROOT)}
        return self._children.spawn([*local, *arguments], environ)

    def _write_client(self) -> None:
        """Put a `valkey-cli` on the path that knows the server's port: the local one, else a few lines of Python."""
        real = shutil.which("valkey-cli") or shutil.which("redis-cli")
        if real:
            text = f'#!/bin/sh\nexec {shlex.quote(real)} -p {self._port} "$@"\n'
        else:
            ping = f"redis.Redis(port={self._port}, password=os.environ['VALKEYCLI_AUTH']).ping() and print('PONG')"
            text = f"#!{sys.executable}\nimport os, redis\n{ping}\n"
        self._tools.mkdir(exist_ok=True)
        client = self._tools / "valkey-cli"
        client.write_text(text)
        client.chmod(0o755)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    with Children() as children:
        farm = Farm(children, tmp_path)
        farm.start_server()
        yield farm


class TestRunForReal:
    def test_the_health_check_tells_health_from_its_absence(self, farm: Farm) -> None:
        assert farm.healthy()
        assert not farm.healthy(VALKEYCLI_AUTH="wrong", REDISCLI_AUTH="wrong")
        farm.stop_server()
        assert not farm.healthy()

    def test_what_was_written_survives_a_restart(self, farm: Farm) -> None:
        with redis.Redis.from_url(farm.url) as client:
            client.set("kept", "yes")
        farm.stop_server()
        farm.start_server()
        with redis.Redis.from_url(farm.url) as client:
            assert client.get("kept") == b"yes"

    def test_the_producer_gets_its_results_from_the_worker(self, farm: Farm) -> None:
        worker, producer = farm.run("worker"), farm.run("producer")
        wait_until(lambda: not (working(worker) and producer.running), JOB_SECONDS, "the producer's end")
        assert producer.returncode == 0, producer.errors()
        lines = producer.output().splitlines()
        files = sorted((ROOT / "docs").rglob("*.md"))
        assert len(lines) == len(files) + 1
        for file, line in zip(files, lines, strict=False):
            words = len(file.read_text("utf-8").split())
            assert line.split()[:2] == [str(words), "words"]
            assert file.name in line

    def test_two_workers_share_the_jobs_and_stop_cleanly(self, farm: Farm) -> None:
        workers = [farm.run("worker") for _ in range(2)]
        queue = Queue(farm.url)
        by: set[str] = set()

        def both_worked() -> bool:
            """Eight jobs of a quarter of a second for two times four slots."""
            params = {"file": str(ROOT / "LICENSE"), "words": 30}
            handles = [queue.enqueue("text.read", params) for _ in range(8)]
            wait_until(
                lambda: working(*workers) and all(handle.state() not in {"ready", "running"} for handle in handles),
                JOB_SECONDS,
                "the end of eight jobs",
            )
            results = [handle.result(timeout=1) for handle in handles]
            assert [result["words"] for result in results] == [30] * 8
            by.update(result["by"] for result in results)
            return len(by) == 2

        wait_until(both_worked, JOB_SECONDS, "both workers")
        for worker in workers:
            worker.terminate()  # as docker stop does
        codes = [worker.wait(seconds(SERVICES["worker"]["stop_grace_period"])) for worker in workers]
        assert codes == [0, 0], [worker.errors() for worker in workers]

    def test_the_worker_s_health_check_tells_whether_one_lives(self, farm: Farm) -> None:
        assert not farm.lives("worker")
        worker = farm.run("worker")
        wait_until(lambda: working(worker) and farm.lives("worker"), START_SECONDS, "the worker's health")
        worker.terminate()
        assert worker.wait(seconds(SERVICES["worker"]["stop_grace_period"])) == 0
        assert not farm.lives("worker")
        farm.stop_server()
        assert not farm.lives("worker")


def working(*workers: Child) -> bool:
    """Return True; a worker that has ended will end no job, and is told at once with its last words."""
    ended = [worker.errors() for worker in workers if not worker.running]
    assert not ended, ended
    return True
