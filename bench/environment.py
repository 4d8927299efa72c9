"""What a run was measured on: without it a number means nothing, and numbers of two machines are never compared."""

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.server import Server

PACKAGES = ("redis", "hiredis", "msgpack", "rq", "huey")


@dataclass(frozen=True)
class Environment:
    """The machine, the programs and the moment of one run."""

    date: str
    processor: str
    cores: int
    system: str
    load_average: str
    python: str
    node: str
    server: str
    transport: str
    placement: str
    packages: dict[str, str]
    revision: str

    def markdown(self) -> str:
        """Return the environment as a list for the README."""
        rows = asdict(self)
        rows["packages"] = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in rows.items())


def look(server: Server, *, transport: str, placement: str, aof: bool, node_packages: dict[str, str]) -> Environment:
    """Describe this machine and what is installed on it.

    Args:
        server: A running server, asked for its own version.
        transport: How the measured processes reach it, ``tcp`` or ``unix``.
        placement: On which cores server and clients run (a list of names), see `bench.placement`.
        aof: Whether the server writes an append-only file.
        node_packages: Names and versions of the Node packages that are measured.

    """
    persistence = "append-only file, everysec" if aof else "no persistence"
    return Environment(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        system=f"{platform.system()} {platform.machine()}",
        load_average=" ".join(f"{value:.2f}" for value in os.getloadavg()) + " (1, 5, 15 min, before the run)",
        python=platform.python_version(),
        node=_output("node", "--version").removeprefix("v") or "none",
        server=f"{server_name(server)}, {persistence}",
        transport=f"{transport}, one host: clients and server share its cores",
        placement=placement,
        packages=_versions() | node_packages,
        revision=_revision(),
    )


def server_name(server: Server) -> str:
    """Return the server's flavour, version and allocator, such as ``valkey 9.1.2 (libc)``."""
    info = server.info()
    name = f"valkey {info['valkey_version']}" if "valkey_version" in info else f"redis {info['redis_version']}"
    return f"{name} (allocator {info.get('mem_allocator', 'unknown')})"


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _revision() -> str:
    revision = _output("git", "rev-parse", "--short", "HEAD")
    changed = _output("git", "status", "--porcelain", "--untracked-files=no")
    return f"{revision} with uncommitted changes" if changed else revision


def _output(*command: str) -> str:
    program = shutil.which(command[0])
    if program is None:
        return ""
    here = Path(__file__).parent
    done = subprocess.run([program, *command[1:]], cwd=here, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip()
