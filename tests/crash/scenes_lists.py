"""Crashes where several runs belong together: the elements of a list, branches that meet."""

from __future__ import annotations

from crash.judge import judge
from crash.moments import WHEN, moment
from crash.runner import WORK
from crash.stage import SOON, Stage, report_of, sha

from seatline.producer import Chain, OrderHandle, Step


def listing(stage: Stage) -> None:
    """Define a chain whose second step runs for each element of a list that the first one returns."""
    stage.queue.define(Chain("listing", [Step("list", WORK), Step("scan", WORK, each="files"), Step("end", WORK)]))
    stage.worker()


def scanned(stage: Stage, **params: str) -> None:
    """Start an order through it, and see every element's result in its place."""
    order = stage.queue.start("listing", {"give": {"list": {"files": ["a", "b", "c"]}}, **params})
    stage.recover()
    finish_scan(stage, order)


def finish_scan(stage: Stage, order: OrderHandle) -> None:
    """See that a scan ended well."""
    record = order.wait(SOON)
    assert (record.state, record.ended) == ("succeeded", ("list", "scan", "end")), order.history()
    assert record.outputs["scan"] == ["made-scan-0", "made-scan-1", "made-scan-2"]
    assert record.outputs["end"]["path"] == ["list", "end"]
    judge(stage, order, elements={"scan": 3})


@moment("{when}-expansion", "O14", when=WHEN)
def at_expansion(stage: Stage, *, when: str) -> None:
    """The worker stores the first elements of a list."""
    listing(stage)
    stage.strike(when, sha("order_expand"))
    scanned(stage)


@moment("{when}-second-part-of-expansion", "O14", when=WHEN)
def in_expansion(stage: Stage, *, when: str) -> None:
    """Some of the elements are stored, some are not."""
    listing(stage)
    stage.strike(when, sha("order_expand"), skip=1)
    scanned(stage)


@moment("{when}-report-of-expansion", "O14", "O2", when=WHEN)
def after_expansion(stage: Stage, *, when: str) -> None:
    """All elements are stored, and become jobs with the script that ends the expansion."""
    listing(stage)
    stage.strike(when, report_of(b"succeeded", b"count\r\n$1\r\n3"))
    scanned(stage)


@moment("{when}-report-of-element", "O14", "O2", when=WHEN)
def at_element(stage: Stage, *, when: str) -> None:
    """One element in the middle has ended."""
    listing(stage)
    stage.strike(when, report_of(b"succeeded", b"made-scan-1"))
    scanned(stage)


@moment("{when}-join-of-elements", "O14", "O2", when=WHEN)
def at_join_of_elements(stage: Stage, *, when: str) -> None:
    """The last element has ended: the results are joined and the order moves on in one script."""
    listing(stage)
    stage.strike(when, report_of(b"succeeded", b"made-scan-2"))
    scanned(stage)


@moment("during-element", "O1", "O14")
def during_element(stage: Stage) -> None:
    """One element in the middle runs."""
    listing(stage)
    order = stage.queue.start("listing", {"give": {"list": {"files": ["a", "b", "c"]}}, "hold": "scan-1"})
    stage.begun("scan", 1)
    stage.crash_now()
    stage.recover()
    stage.go("scan-1")
    finish_scan(stage, order)


def branches(stage: Stage, hold: str) -> OrderHandle:
    """Start an order of two branches that meet, both under way; one of them holds."""
    join = Step("join", WORK, after=["left", "right"])
    steps = [Step("first", WORK), Step("left", WORK, after="first"), Step("right", WORK, after="first"), join]
    stage.queue.define(Chain("branches", steps))
    stage.worker(slots=2)
    order = stage.queue.start("branches", {"hold": hold})
    stage.begun("left")
    stage.begun("right")
    return order


def joined(stage: Stage, order: OrderHandle) -> None:
    """See both branches joined, once."""
    record = order.wait(SOON)
    assert record.state == "succeeded"
    assert sorted(record.ended[1:3]) == ["left", "right"]
    assert record.outputs["left"]["path"] == ["first", "left"]
    assert record.outputs["right"]["path"] == ["first", "right"]
    assert record.outputs["join"]["path"] == ["first", record.ended[2], "join"]
    judge(stage, order)


@moment("{when}-join-of-branches", "O14", "O2", when=WHEN)
def at_join(stage: Stage, *, when: str) -> None:
    """The second of two branches has ended, and the step that waits for both starts with that script."""
    order = branches(stage, "right")
    stage.until(lambda: "left" in order.record().ended, "the end of one branch")
    stage.strike(when, report_of(b"succeeded", b"made-right"))
    stage.go("right")
    stage.recover()
    joined(stage, order)


@moment("during-branches", "O1", "O14")
def in_branches(stage: Stage) -> None:
    """One branch has ended, the other runs."""
    order = branches(stage, "right")
    stage.until(lambda: "left" in order.record().ended, "the end of one branch")
    stage.crash_now()
    stage.recover()
    stage.go("right")
    joined(stage, order)
