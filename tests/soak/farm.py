"""The worker processes of a soak: always as many as the plan says, whoever was killed last."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.processes import Child
from harness.waiting import wait_until

__all__ = ["Farm", "python_path"]

TESTS = Path(__file__).parents[1]
Spawn = Callable[..., Child]


class Farm:
    """Starts workers, kills them, stops one for a while; remembers when each died."""

    def __init__(self, spawn: Spawn, options: dict[str, Any], count: int) -> None:
        self._spawn, self._options = spawn, json.dumps(options)
        self._lock = threading.Lock()
        self._spared: Child | None = None
        self.all: list[Child] = []
        self.died: dict[int, float] = {}
        self.live = [self._start() for _ in range(count)]

    def kill_one(self, rng: random.Random) -> int:
        """SIGKILL a random worker, at once put another one in its place, and return its pid."""
        with self._lock:
            self.expect_alive()
            child = rng.choice([child for child in self.live if child is not self._spared])
            self._kill(child)
            self.live[self.live.index(child)] = self._start()
            return child.pid

    def replace_all(self) -> None:
        """SIGKILL every worker, then start as many fresh ones."""
        with self._lock:
            self.expect_alive()
            for child in self.live:
                self._kill(child)
            self.live = [self._start() for _ in self.live]

    def spare(self, pid: int | None) -> Child | None:
        """Keep this worker from being killed, or nobody; None if it is gone."""
        with self._lock:
            self._spared = next((child for child in self.live if child.pid == pid and child.running), None)
            return self._spared

    def finish(self) -> None:
        """Let all end by themselves (SIGTERM): they hold nothing any more."""
        for child in self.live:
            wait_until(lambda child=child: "startup: worker" in child.errors(), 15, "a worker's start")  # type: ignore[misc]
            child.signal(signal.SIGTERM)
        for child in self.live:
            assert child.wait(15) == 0, child.errors()[-3000:]

    def expect_alive(self) -> None:
        """Nobody but the soak may end a worker (R3: none stays dead, none falls over)."""
        for child in self.live:
            assert child.running, f"worker {child.pid} ended by itself ({child.returncode}):\n{child.errors()[-3000:]}"

    def said(self, words: str) -> list[str]:
        """Return the lines with these words in the logs of all workers there ever were."""
        return [f"{child.pid}: {line}" for child in self.all for line in child.errors().splitlines() if words in line]

    def _start(self) -> Child:
        child = self._spawn([sys.executable, "-m", "soak.runner", self._options], env=python_path())
        self.all.append(child)
        return child

    def _kill(self, child: Child) -> None:
        child.kill()
        self.died[child.pid] = time.monotonic()


def python_path() -> dict[str, str]:
    """Return the environment in which a child finds this folder's modules."""
    return {"PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])}
