"""What the workers run.

Reading strangers' files may take for ever, eat all memory or crash: `check`, `publish` and `index` run in processes of their
own, with a time-out. `publish` holds a seat of the CAD program, and its login takes the licence that belongs to the seat.
The others talk to the queue, so they run in the worker itself.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from examples.drawing_vault import drawings, page, vault
from examples.drawing_vault.entries import enter, entry_of, whole
from examples.drawing_vault.licences import NoLicence, licence
from examples.drawing_vault.vault import Folders

from seatline.producer import OrderRecord, Queue
from seatline.worker import Context, Goto, Handlers, NoSeat, Retry, Session, Skip

#: Bytes of address space of a process that reads drawings.
MEMORY_MOST: Final = 2 * 2**30

handlers = Handlers()


@handlers.handler(vault.CHECK, isolation="process", timeout=vault.CHECK_SECONDS)
def check(ctx: Context, path: str, size: int, mtime: float) -> object:
    """Look whether the drawing is sound, or can be made so; what is not worth reading is set aside."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return Goto("aside", {"aside": "the file is gone"})
    if (found.st_size, found.st_mtime) != (size, mtime):
        return Goto("aside", {"aside": "there is a newer version of the file"})
    if size == 0:
        return Goto("aside", {"aside": "the file is empty"})
    if size > vault.BYTES_MOST:
        return Goto("aside", {"aside": f"{size / 2**20:.1f} MiB; more than {vault.BYTES_MOST // 2**20} are not read"})
    limit_memory()
    document, auditor = drawings.read(Path(path))
    for fix in auditor.fixes[:20]:
        ctx.log(f"repaired: {fix.message}")
    return {"version": document.acad_release, "repaired": len(auditor.fixes)}


@handlers.login(vault.POOL)
@contextmanager
def log_in(_: Session) -> Generator[str]:
    """Take a licence of the CAD program, for as long as the job has its seat.

    Seatline has a seat to give, so there should be a licence; if somebody else has it, the job goes back to its place.
    """
    with ExitStack() as until_the_end:
        try:
            held = until_the_end.enter_context(licence(folders().licences))
        except NoLicence as refused:
            raise NoSeat(str(refused)) from refused
        yield held


@handlers.handler(vault.PUBLISH, uses={vault.POOL: 1}, isolation="process", timeout=vault.PUBLISH_SECONDS)
def publish(ctx: Context, path: str) -> dict[str, str]:
    """Draw it, as SVG and as a small PNG."""
    limit_memory()
    assert ctx.order
    folder = folders().release(ctx.order.id)
    document, _ = drawings.read(Path(path))
    with whole(folder / "drawing.svg") as svg, whole(folder / "drawing.png") as png:
        try:
            layout = drawings.draw(document, svg, png)
        except drawings.Empty as nothing:
            raise Skip(str(nothing)) from None
    return {"layout": layout}


@handlers.handler(vault.INDEX, isolation="process", timeout=vault.INDEX_SECONDS)
def index(ctx: Context, path: str) -> dict[str, Any]:
    """Write down what is in it; what is returned is for the report."""
    limit_memory()
    assert ctx.order
    document, _ = drawings.read(Path(path))
    found = drawings.index(document)
    with whole(folders().release(ctx.order.id) / "index.json") as part:
        part.write_text(json.dumps(found, indent=2), "utf-8")
    told = ("version", "entities", "layer_count", "block_count", "extents")
    return {name: found[name] for name in told} | {"texts": found["texts"][:3]}


@handlers.handler(vault.REPORT, retry=Retry(attempts=5, first=1))
def report(ctx: Context) -> str:
    """Enter in the vault's book what became of the drawing, and tell everybody."""
    assert ctx.order
    order = queue().order(ctx.order.id)
    entry = entry_of(order.record(), order.history(), ctx.attempt)
    enter(folders(), entry)
    event = vault.RELEASED if entry.outcome == "released" else vault.REJECTED
    ctx.emit(event, {"release": entry.release, "name": entry.name})  # with the end of this step, or not at all
    return entry.outcome


@handlers.handler(vault.PAGE, if_lost="rerun", retry=Retry(attempts=5, first=1))
def write_page(ctx: Context, events: list[dict[str, str]] | None = None, nightly: bool = False) -> int:
    """Write the one page: after the drawings of the last second, or of the night, which also keeps a copy with the date."""
    for state in ("failed", "cancelled"):
        for found in queue().orders(state=state, chain=vault.RELEASE.name):
            if isinstance(found, OrderRecord) and not (folders().release(found.id) / "entry.json").exists():
                order = queue().order(found.id)  # it was interrupted or cancelled: nothing led it to its report
                enter(folders(), entry_of(order.record(), order.history()))
    ctx.log(f"{len(events or [])} drawings are new")
    day = f"{ctx.job.created:%Y-%m-%d}" if nightly and ctx.job.created else None
    return page.write(folders(), day)


@cache
def queue() -> Queue:
    """Return this worker's own way to the queue, by SEATLINE_URL and SEATLINE_NAMESPACE; made at the first job."""
    return Queue()


@cache
def folders() -> Folders:
    """Return where everything lies."""
    return Folders(Path(os.environ[vault.HOME]))


def limit_memory() -> None:
    """Have this process run into a MemoryError, which fails its own job, before the machine runs out of memory."""
    with suppress(ValueError, OSError):  # not every system lets itself be told
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MOST, hard))
