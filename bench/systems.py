"""The measured systems: how each is started, what it can do, and the error when it is missing.

A peer that is not installed is an error, never a gap in the table: a comparison without its peer is no comparison.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HUEY = "bench.peers.huey_peer"
BULLMQ = HERE / "peers" / "bullmq_peer"
NODE_MAJOR = 20
INSTALL_SECONDS = 300
ALL_SLOTS = (1, 8, 50)
EXECUTOR_SLOTS = (8, 50)
OURS = "bench.seatline_case"
DUE = ("due", "due-order", "due-schedule")
PEER_GROUPS = ("enqueue", "drain", "latency", "idle", "memory")


class MissingPeerError(RuntimeError):
    """A peer, or what it needs, is not installed."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One system under measurement.

    Args:
        name: Its name in the tables.
        module: The Python module that is its program; empty for a Node system.
        variant: Handed to the program, see `bench.agent.Spec`.
        share: Its number of jobs as a share of ``--jobs``, so that slow systems do not take all the time. BullMQ gets as
            many as Seatline: Node's compiler needs a second or two to warm up (measured: 20,000 jobs instead of 60,000
            cost it a tenth of its rate).
        slots: How many jobs at once one of its worker processes can run; empty when it has no worker.
        groups: The groups of cases it takes part in.
        needs: The Python package that must be installed.

    """

    name: str
    module: str = ""
    variant: str = ""
    share: float = 1.0
    slots: tuple[int, ...] = ALL_SLOTS
    groups: tuple[str, ...] = PEER_GROUPS
    needs: str = ""

    @property
    def is_node(self) -> bool:
        """Whether the system runs on Node."""
        return not self.module

    @property
    def is_ours(self) -> bool:
        """Whether this is Seatline."""
        return self.module == OURS

    def jobs(self, asked: int) -> int:
        """Return how many jobs to give the system where ``--jobs`` asked for so many."""
        return max(200, int(asked * self.share))

    def command(self, act: str) -> list[str]:
        """Return the command line for a role, without its order."""
        if not self.is_node:
            return [sys.executable, "-m", self.module]
        role = "worker.mjs" if act in {"drain", "listen"} else "producer.mjs"
        return [_program("node"), str(BULLMQ / role)]

    def require(self) -> None:
        """Make sure that the system can run, installing the Node packages on first use.

        Raises:
            MissingPeerError: It cannot.

        """
        if self.is_node:
            install_bullmq()
        elif self.needs and importlib.util.find_spec(self.needs) is None:
            raise MissingPeerError(f"{self.name} needs the package {self.needs}: pip install 'seatline[bench]'")


SYSTEMS = {
    system.name: system
    for system in (
        System(
            name="seatline",
            module=OURS,
            share=2.0,
            groups=(*PEER_GROUPS, "life", "backlog", "types", "recovery", "executors", "orders"),
        ),
        System(name="scripts", module="bench.scripts_case", groups=("enqueue", "drain")),
        System(name="seatline-seats", module=OURS, variant="seats", groups=("drain", "life")),
        System(
            name="scripts-seats",
            module="bench.scripts_case",
            variant="seats",
            slots=(50,),
            groups=("drain",),
        ),
        System(name="seatline-trim", module=OURS, variant="trim", slots=(50,), groups=("drain",)),
        System(name="seatline-async", module=OURS, variant="async", share=2.0, groups=("executors",)),
        System(name="seatline-process", module=OURS, variant="process", slots=(1, 8), groups=("executors",)),
        System(name="seatline-shell", module=OURS, variant="shell", share=0.05, slots=(8,), groups=("executors",)),
        System(name="seatline-results", module=OURS, variant="results", slots=(8, 50), groups=("orders",)),
        System(name="seatline-orders", module=OURS, variant="orders", slots=(8, 50), groups=("orders",)),
        *(System(name=f"seatline-{due}", module=OURS, variant=due, groups=("due",)) for due in DUE),
        System(name="bullmq", share=2.0, groups=(*PEER_GROUPS, "life", "backlog")),
        System(name="bullmq-priority", variant="priority"),
        System(name="huey", module=HUEY, share=0.4, needs="huey"),
        System(name="huey-priority", module=HUEY, variant="priority", share=0.4, needs="huey"),
        System(name="rq", module="bench.peers.rq_peer", share=0.06, slots=(1,), needs="rq"),
        System(name="bare", module="bench.bare_case", slots=(), groups=("enqueue", "life", "memory")),
    )
}
EXECUTORS = ("seatline-async", "seatline-process", "seatline-shell")
OURS_DUE = tuple(f"seatline-{due}" for due in DUE)
PEERS = ("bullmq", "huey", "rq", "bare")
STOCK = (
    "seatline",
    "scripts",
    "seatline-seats",
    "scripts-seats",
    "seatline-trim",
    *EXECUTORS,
    "seatline-results",
    "seatline-orders",
    *OURS_DUE,
    *PEERS,
)
REQUIRED = (
    "seatline",
    "scripts",
    "seatline-seats",
    *EXECUTORS,
    "seatline-results",
    "seatline-orders",
    *OURS_DUE,
    *PEERS,
)  # without one there is no README


def install_bullmq() -> None:
    """Install BullMQ's packages beside its programs unless they are there.

    Raises:
        MissingPeerError: node or npm is missing or too old, or the installation failed.

    """
    said = subprocess.run([_program("node"), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(said.removeprefix("v").partition(".")[0]) < NODE_MAJOR:
        raise MissingPeerError(f"bullmq needs Node {NODE_MAJOR} or newer, found {said}")
    if (BULLMQ / "node_modules" / "bullmq" / "package.json").exists():
        return
    sys.stderr.write("installing bullmq\n")
    command = [_program("npm"), "install", "--no-package-lock", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=BULLMQ, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    if done.returncode:
        raise MissingPeerError(f"npm could not install bullmq:\n{done.stderr}")


def node_packages() -> dict[str, str]:
    """Return the versions of the Node packages that are installed."""
    found = {}
    for name in ("bullmq", "ioredis"):
        manifest = BULLMQ / "node_modules" / name / "package.json"
        if manifest.exists():
            found[name] = str(json.loads(manifest.read_text())["version"])
    return found


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingPeerError(f"bullmq needs {name} on PATH")
    return found
