"""docs/deploy.md: the server's settings are good ones, the unit is one, and a copy can be made and put back."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.processes import Child
from harness.server import RealServer

from seatline.producer import Queue

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text("utf-8")
SEATLINE = Path(sys.executable).with_name("seatline")

StartServer = Callable[..., RealServer]


def block(name: str) -> str:
    """Return the fenced block below a line that is a file's name."""
    found = re.search(rf"^`{re.escape(name)}`\n\n```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def typed(section: str) -> list[str]:
    """Return what a section has its reader type."""
    part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert part
    return re.findall(r"^\$ (.*)$", part[1], re.MULTILINE)


def shell(line: str, server: RealServer, folder: Path, namespace: str) -> str:
    environ = {
        **os.environ,
        "PATH": f"{SEATLINE.parent}{os.pathsep}{os.environ['PATH']}",
        "SEATLINE_URL": server.url,
        "SEATLINE_NAMESPACE": namespace,
        "DATA": str(server.folder),
    }
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_servers_settings_are_good(private_server: StartServer, tmp_path: Path, namespace: str) -> None:
    lines = [line for line in block("server.conf").splitlines() if line and not line.startswith("#")]
    server = private_server(appendonly=True, config=lines)
    found = json.loads(shell("seatline doctor -o json", server, tmp_path, namespace))
    by_name = {finding["finding"]: finding["severity"] for finding in found}
    assert {name: by_name[name] for name in ("eviction", "persistence", "hashes")} == dict.fromkeys(
        ("eviction", "persistence", "hashes"), "ok"
    )


class TestUnit:
    def unit(self) -> configparser.ConfigParser:
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # names as they stand
        parser.read_string(block("seatline-worker@.service"))
        return parser

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
    def test_systemd_takes_it(self, tmp_path: Path) -> None:
        file = tmp_path / "seatline-worker@.service"
        command = self.unit()["Service"]["ExecStart"].split()[0]
        file.write_text(block(file.name).replace(command, str(SEATLINE)))
        done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def test_its_command_works_and_stops_in_time(
        self, server: RealServer, tmp_path: Path, spawn: Callable[..., Child], namespace: str
    ) -> None:
        service = self.unit()["Service"]
        program, *words = shlex.split(service["ExecStart"])
        assert Path(program).name == "seatline"
        assert int(service["TimeoutStopSec"]) > int(words[words.index("--grace") + 1].removesuffix("s"))
        (tmp_path / "farm.py").write_text(
            "from seatline.worker import Handlers\nhandlers = Handlers()\n"
            "@handlers.handler('drawing.publish')\ndef publish(ctx, file):\n    return file.upper()\n"
        )
        (tmp_path / "password").write_text("none is asked for\n")
        environ = dict(pair.replace("%d", str(tmp_path)).split("=", 1) for pair in service["Environment"].split())
        assert set(environ) == {"SEATLINE_PASSWORD_FILE", "SEATLINE_EMBEDDED"}
        del environ["SEATLINE_PASSWORD_FILE"]  # this server asks for none
        environ |= {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace}
        worker = spawn(["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path), str(SEATLINE), *words], env=environ)
        with Queue(server.url, namespace=namespace) as queue:
            assert queue.enqueue("drawing.publish", {"file": "a.dwg"}).result(timeout=30) == "A.DWG"
        worker.signal(signal.SIGTERM)
        assert worker.wait(30) in {0, *map(int, service["SuccessExitStatus"].split())}


def test_a_copy_is_made_and_put_back(private_server: StartServer, tmp_path: Path, namespace: str) -> None:
    server = private_server(appendonly=True)
    with Queue(server.url, namespace=namespace) as queue:
        before = queue.enqueue("drawing.publish", {"file": "a.dwg"})
        for line in typed("Backup"):
            shell(line, server, tmp_path, namespace)
        queue.enqueue("drawing.publish", {"file": "b.dwg"})
    server.stop()
    copied, *rest = typed("Restore")
    anew = RealServer(appendonly=False)
    shell(copied, anew, tmp_path, namespace)
    with anew:
        for line in rest:
            shell(line, anew, tmp_path, namespace)
        assert (anew.folder / "appendonlydir").is_dir()
        with Queue(anew.url, namespace=namespace) as queue:
            assert [job.id for job in queue.jobs()] == [before.id]
