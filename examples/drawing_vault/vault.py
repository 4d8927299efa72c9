"""The plan: what is stored on the server before the first drawing comes, and which file lies where.

A drawing's way::

    each version of each file in the inbox --watch--> an order of the chain `release`

        check --> publish (1 of 2 `cad` seats) --> index --> report
          |          |                               |
          +----------+---- fails, or is skipped -----+-----> aside

    report and aside are of one type, release.report: they enter in the vault's book what became of the drawing, and emit

        drawing.released or drawing.rejected --trigger: those of a second in one job--> release.page
        every night                          --schedule-------------------------------> release.page
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seatline.producer import Chain, Job, Queue, Step

NAMESPACE: Final = "vault"
#: The environment variable that tells a worker and its handlers where the vault is.
HOME: Final = "DRAWING_VAULT"
POOL: Final = "cad"
SEATS: Final = 2

CHECK, PUBLISH, INDEX = "drawing.check", "drawing.publish", "drawing.index"
REPORT, PAGE = "release.report", "release.page"
RELEASED, REJECTED = "drawing.released", "drawing.rejected"
NIGHTLY: Final = "nightly-report"

BATCH, URGENT = 100, 1
#: So many drawings are under way at a time, a few more than there are slots: what was begun is done before the next begins.
ORDERS: Final = 6
#: A drawing larger than this is set aside unread; a step that takes longer is killed. Both are for pathological files.
BYTES_MOST: Final = 50 * 2**20
CHECK_SECONDS, PUBLISH_SECONDS, INDEX_SECONDS = 60, 120, 60
#: Events of so many seconds make one page.
GATHER: Final = 1.0

RELEASE: Final = Chain(
    "release",
    [
        Step("check", CHECK, on_error="aside"),
        Step("publish", PUBLISH, on_error="aside"),
        Step("index", INDEX, on_error="aside"),
        Step("report", REPORT),
        Step("aside", REPORT, aside=True),
    ],
    title="A drawing is released",
    max_orders=ORDERS,
)


def prepare(queue: Queue) -> None:
    """Store pool, chain, triggers and schedule; again at each start, for that changes nothing."""
    queue.pools.set(POOL, SEATS)
    queue.define(RELEASE)
    for event in (RELEASED, REJECTED):
        queue.triggers.set(event, [Job(PAGE)], coalesce=GATHER)
    queue.schedules.add(NIGHTLY, PAGE, {"nightly": True}, cron="0 2 * * *", missed="skip", replace=True)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where everything lies, below the vault's own folder."""

    home: Path

    @property
    def inbox(self) -> Path:
        """Sample drawings, where no folder was given."""
        return self.home / "inbox"

    @property
    def page(self) -> Path:
        """The report."""
        return self.home / "report.html"

    @property
    def licences(self) -> Path:
        """What the stand-in for a licence server keeps."""
        return self.home / "licences"

    @property
    def server(self) -> Path:
        """The private server's state folder: SEATLINE_STATE."""
        return self.home / ".server"

    @property
    def logs(self) -> Path:
        """What the workers and the watch say."""
        return self.home / "logs"

    @property
    def releases(self) -> Path:
        """A folder for each release: drawing.svg, drawing.png, index.json, entry.json."""
        return self.home / "releases"

    def release(self, release: str) -> Path:
        """Return the folder of one release."""
        return self.releases / release


def title_of(name: str) -> str:
    """Return a file's name as a title: one line that can be shown."""
    return "".join(char if char.isprintable() else "?" for char in name)[:200]
