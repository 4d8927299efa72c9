"""What the vault knows of each release: entry.json in its folder, taken from its order when that has come to an end."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from examples.drawing_vault.vault import Folders

from seatline.producer import OrderRecord, Run

#: Where our own errors are from, as their full names begin.
OURS: Final = "examples.drawing_vault."

Outcome = Literal["failed", "skipped", "released"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one version of a drawing; ``reason`` is empty if it was released."""

    release: str
    path: str
    name: str
    size: int
    mtime: float
    outcome: Outcome
    reason: str
    attempts: int
    repaired: int = 0
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


def entry_of(order: OrderRecord, history: Sequence[Run], attempt: int = 1) -> Entry:
    """Say what became of a drawing; ``attempt`` is that of the step that asks, which has not ended."""
    last = {run.step: run for run in history if run.step and run.outcome not in {None, "lost"}}
    bad = next((run for run in last.values() if run.outcome in {"failed", "interrupted", "cancelled"}), None)
    passed = next((run for run in last.values() if run.outcome == "skipped"), None)
    outputs, params = order.outputs, order.params
    check: dict[str, Any] = outputs.get("check") or {}
    outcome: Outcome = "released"
    reason = ""
    if bad or order.state in {"failed", "cancelled"}:
        outcome = "failed"
        reason = f"{bad.step}: {_short(bad.text or str(bad.outcome))}" if bad else _short(order.error or order.state)
    elif "aside" in check:
        outcome, reason = "skipped", str(check["aside"])
    elif passed:
        outcome, reason = "skipped", passed.text
    return Entry(
        release=order.id,
        path=params["path"],
        name=params["name"],
        size=params["size"],
        mtime=params["mtime"],
        outcome=outcome,
        reason=reason,
        attempts=max([attempt, *(run.attempt for run in history)]),
        repaired=check.get("repaired", 0),
        facts=outputs.get("index") or {},
    )


def enter(folders: Folders, entry: Entry) -> None:
    """Write an entry, as a whole."""
    with whole(folders.release(entry.release) / "entry.json") as part:
        part.write_text(json.dumps(asdict(entry), indent=2), "utf-8")


def entries(folders: Folders) -> list[Entry]:
    """Return the newest version of each drawing: failures first, then what was set aside, then by name."""
    newest: dict[str, Entry] = {}
    for path in folders.releases.glob("*/entry.json"):
        entry = Entry(**json.loads(path.read_text("utf-8")))
        if entry.path not in newest or (newest[entry.path].mtime, newest[entry.path].release) < (
            entry.mtime,
            entry.release,
        ):
            newest[entry.path] = entry
    rank = {"failed": 0, "skipped": 1, "released": 2}
    return sorted(newest.values(), key=lambda entry: (rank[entry.outcome], entry.name.casefold(), entry.path))


@contextmanager
def whole(path: Path) -> Generator[Path]:
    """Have a file written under another name, and name it when it is whole: a step that is killed leaves no half one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _short(text: str) -> str:
    """Say an error as people do: ours by its message alone, others without the modules before their name."""
    name, colon, message = text.partition(": ")
    if not colon or " " in name:
        return text
    return message if name.startswith(OURS) else f"{name.rpartition('.')[2]}: {message}"
