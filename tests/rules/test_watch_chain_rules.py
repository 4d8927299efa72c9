"""A watched folder whose files become orders of a chain: each version of each file one (Q16, O9), of priority 100 (Q4).

What watches of a type and of a chain have in common, which is most of it, is shown in test_watch_rules.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until
from rules.step_worker import MakeSteps
from rules.watched import Burst, MakeWatch, handlers_for, write

from seatline.producer import Chain, OrderHandle, OrderRecord, Queue, Step
from seatline.producer.watch import Watch
from seatline.producer.watch_folder import Version
from seatline.producer.watch_params import order_id_of
from seatline.shared.errors import InvalidInput, NoSuchChain, TenantRequired
from seatline.shared.order import own_order_id

LINE = Chain("release", [Step("check", "t"), Step("publish", "t")])
FORK = Chain("fork", [Step("check", "t"), Step("a", "t", after="check"), Step("b", "u", after="check")])

MakeOrders = Callable[..., "Watch[OrderHandle]"]


@pytest.fixture
def make(queue: Queue, make_watch: MakeWatch) -> MakeOrders:
    """Make watches for the chain ``release``, which is defined, as is ``fork``."""
    queue.define(LINE)
    queue.define(FORK)

    def watch(**options: Any) -> Any:
        return make_watch(**{"chain": "release", **options})

    return watch


@pytest.fixture
def running() -> Iterator[Callable[[Watch[Any]], threading.Thread]]:
    """Run watches in threads; they are stopped in the end."""
    begun: list[tuple[Watch[Any], threading.Thread]] = []

    def run(watch: Watch[Any]) -> threading.Thread:
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        begun.append((watch, thread))
        return thread

    yield run
    for watch, thread in begun:
        watch.stop()
        thread.join(10)
        assert not thread.is_alive()


def orders(queue: Queue) -> list[OrderRecord]:
    """Return all orders, whatever their state, with params."""
    found = [order for state in (None, "succeeded", "failed", "cancelled") for order in queue.orders(state=state)]
    return [queue.order(order.id).record() for order in found if isinstance(order, OrderRecord)]


def versions(queue: Queue) -> Counter[str]:
    """Return how many orders there are for each name and time."""
    return Counter(f"{order.params['name']} {order.params['mtime']:.0f}" for order in orders(queue))


class TestTaking:
    def test_q4_a_file_becomes_an_order_of_priority_100(self, inbox: Path, make: MakeOrders, burst: Burst) -> None:
        """Q4, O5: its steps are handed path, name, size and time of change."""
        path = write(inbox / "Ground floor (2).dxf", "drawing")
        (order,) = make(tenant="north").look()
        record = order.record()
        assert (record.chain, record.priority, record.tenant) == ("release", 100, "north")
        assert record.title == "Ground floor (2).dxf"
        assert record.params == {"path": str(path), "name": path.name, "size": 7, "mtime": path.stat().st_mtime}
        assert record.id.startswith("Ground-floor-2.")
        assert record.id == Watch.order_id("release", path, path.stat())
        burst(handlers_for())
        assert order.outputs() == {"check": 7, "publish": 7}

    def test_oldest_first_and_at_the_priority_that_is_said(self, inbox: Path, make: MakeOrders) -> None:
        for name, mtime in (("new", 3000), ("old", 1000), ("mid", 2000)):
            write(inbox / name, mtime=mtime)
        handles = make(priority=7, params={"file": "{path}"}, title="Release {stem}").look()
        assert [order.record().title for order in handles] == ["Release old", "Release mid", "Release new"]
        assert {order.record().priority for order in handles} == {7}
        assert handles[0].record().params == {"file": str(inbox / "old")}

    def test_a_title_is_one_line(self, inbox: Path, make: MakeOrders) -> None:
        """A file's name may hold what the start of an order refuses as its title."""
        for name in ("x" * 240, "a\tb", "\x1b[31mred\nand <b>.dxf", "Zeichnung ä.dxf"):
            write(inbox / name)
        watch = make()
        titles = {order.record().title for order in watch.look()}
        assert titles == {"x" * 200, r"a\tb", r"\x1b[31mred\nand <b>.dxf", "Zeichnung ä.dxf"}
        assert watch.complaints == {}

    @pytest.mark.parametrize(
        ("name", "begins"),
        [
            ("pump.dxf", "pump"),
            ("pump_1.a.dxf", "pump_1-a"),
            ("42.dxf", "42"),
            ("Zeichnung ä.dxf", "Zeichnung"),
            ("-rf", "rf"),
            ("__x__", "x"),
            ("图纸.dxf", "file"),
            ("\x1b[31m.dxf", "31m"),
            ("x" * 240, "x" * 40),
            ("y" * 39 + ". z", "y" * 39),
        ],
    )
    def test_an_id_that_people_can_read(self, name: str, begins: str) -> None:
        """It begins with the file's name, is one that may be given to an order, and differs by chain, path and version."""
        made = {
            order_id_of(chain, f"/{folder}/{name}", version, None)[0]
            for chain in ("release", "other")
            for folder in ("in", "out")
            for version in (Version(1, 1), Version(1, 2), Version(2, 1))
        }
        assert len(made) == 12
        for order_id in made:
            assert own_order_id(order_id) == order_id
            assert order_id.rpartition(".")[0] == begins
            assert len(order_id.rpartition(".")[2]) == 16

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"type": None, "chain": None}, "type, chain: neither is given. A file becomes"),
            ({"type": "t", "chain": "release"}, "type, chain: both are given. A file becomes"),
            ({"chain": "a b"}, "chain: 'a b' is not a name"),
            ({"priority": 0}, "priority: 0 is not allowed"),
            ({"tenant": "a b"}, "tenant: 'a b' is not a name"),
        ],
    )
    def test_what_is_no_watch_is_refused_at_once(self, make: MakeOrders, options: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidInput) as told:
            make(**options)
        assert str(told.value).startswith(said)

    def test_an_unknown_chain_is_an_error_at_the_start(self, inbox: Path, make: MakeOrders) -> None:
        """Also when there is no file, or no folder, yet."""
        for folder in (inbox, inbox / "later"):
            for way in (make(chain="relaese", folder=folder).look, make(chain="relaese", folder=folder).run):
                with pytest.raises(NoSuchChain, match="relaese: there is no chain of that name"):
                    way()

    def test_a_namespace_that_wants_a_tenant_is_an_error(self, queue: Queue, inbox: Path, make: MakeOrders) -> None:
        queue.require_tenant()
        write(inbox / "a")
        with pytest.raises(TenantRequired):
            make().run()
        assert len(make(tenant="north").look()) == 1


class TestOnce:
    """Q16, O9: one order a version, whoever looks."""

    def test_q16_a_restarted_watch_takes_nothing_again(self, inbox: Path, make: MakeOrders, burst: Burst) -> None:
        write(inbox / "a")
        assert len(make().look()) == 1
        assert make().look() == []
        burst(handlers_for())
        write(inbox / "b")
        assert [order.record().title for order in make().look()] == ["b"]
        assert make(memory=inbox.parent / "other.db").look() == []

    def test_a_newer_version_is_another_order(self, queue: Queue, inbox: Path, make: MakeOrders) -> None:
        watch = make()
        for number in range(1, 4):
            write(inbox / "a", f"version {number}", number)
            assert len(watch.look()) == 1
        assert versions(queue) == {f"a {number}": 1 for number in range(1, 4)}

    def test_q16_two_watches_at_once(self, queue: Queue, inbox: Path, make: MakeOrders, running: Any) -> None:
        watches = [make(settle=0.05, memory=inbox.parent / f"{number}.db") for number in range(2)]
        for watch in watches:
            running(watch)
        for number in range(60):
            write(inbox / f"{number}", mtime=number)
        wait_until(lambda: sum(watch.taken for watch in watches) >= 60, 20)
        wait_until(lambda: all(len(watch._files) == 60 for watch in watches), 10)
        wait_until(lambda: all(file.job for watch in watches for file in watch._files.values()), 10)
        assert versions(queue) == {f"{number} {number}": 1 for number in range(60)}

    def test_another_chain_and_a_type_of_its_name_are_others(
        self, queue: Queue, inbox: Path, make: MakeOrders, burst: Burst
    ) -> None:
        """In the queue, and in what is remembered of them."""
        write(inbox / "a")
        queue.define(Chain("t", [Step("check", "t")]))
        kinds: list[dict[str, Any]] = [{}, {"chain": "t"}, {"chain": None, "type": "t"}]
        watches = [make(**kind) for kind in kinds]
        handles = [handle for watch in watches for handle in watch.look()]
        assert len(handles) == 3
        burst(handlers_for())
        for watch in watches:
            watch.look()
        for handle in handles:
            handle.remove()
        assert [make(**kind).look() for kind in kinds] == [[], [], []]

    def test_by_content(self, inbox: Path, make: MakeOrders) -> None:
        write(inbox / "a", "same", 1000)
        write(inbox / "b", "same", 2000)
        write(inbox / "c", "other", 3000)
        watch = make(by_content=True)
        handles = watch.look()
        assert [order.record().title for order in handles] == ["a", "c"]
        assert {order.id.partition(".")[0] for order in handles} == {"content"}
        os.utime(inbox / "a", (5, 5))
        assert watch.look() == make(by_content=True, memory=inbox.parent / "other.db").look() == []

    def test_o9_one_that_a_person_has_started_or_replaced(
        self, queue: Queue, inbox: Path, make: MakeOrders, burst: Burst, caplog: pytest.LogCaptureFixture
    ) -> None:
        """O9: an urgent one overtakes by its id, before the watch comes to it or afterwards; it is the version's order."""
        early, late = write(inbox / "early"), write(inbox / "late")
        ids = [Watch.order_id("release", path, path.stat()) for path in (early, late)]
        params = {"path": "x", "name": "x", "size": 1, "mtime": 1.0}
        queue.start("release", params, id=ids[0], priority=1)
        watch = make(then="delete")
        assert [order.id for order in watch.look()] == [ids[1]]
        queue.start("release", params, id=ids[1], priority=1, replace=True)
        assert watch.look() == []
        assert [order.priority for order in orders(queue)] == [1, 1]
        burst(handlers_for())
        watch.look()
        assert list(inbox.iterdir()) == []
        assert "lost" not in caplog.text

    def test_what_is_done_is_remembered_longer_than_its_order(
        self, inbox: Path, make: MakeOrders, burst: Burst
    ) -> None:
        for name in ("good", "bad"):
            write(inbox / name)
        watch = make()
        handles = watch.look()
        burst(handlers_for(bad=ValueError("no")))
        watch.look()
        for order in handles:
            order.remove()
        assert make().look() == watch.look() == []
        assert len(make(memory=inbox.parent / "other.db").look()) == 2

    def test_an_order_that_was_removed_is_left(
        self, inbox: Path, make: MakeOrders, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(inbox / "a")
        watch = make()
        (order,) = watch.look()
        order.remove()
        assert watch.look() == watch.look() == make().look() == []
        assert caplog.text.count(f"order {order.id} was removed; the file is left") == 1

    def test_what_the_server_lost_is_taken_again_once_there_is_a_chain(
        self,
        make_queue: Callable[..., Queue],
        private_server: Callable[..., RealServer],
        inbox: Path,
        make: MakeOrders,
        running: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A server without persistence has lost the chain as well: that is waited for."""
        server = private_server()
        queue = make_queue(server.url, deadline=0.2)
        queue.define(LINE)
        watch = make(queue=queue)
        running(watch)
        write(inbox / "a", mtime=1)
        wait_until(lambda: all(file.created is not None for file in watch._files.values()) and watch.taken == 1, 10)
        server.kill()
        server.start()
        wait_until(lambda: "chain release: there is no chain of that name" in caplog.text, 20)
        make_queue(server.url).define(LINE)
        wait_until(lambda: watch.taken == 2, 20)
        assert "has lost order a." in caplog.text
        assert versions(queue) == {"a 1": 1}


class TestEnds:
    """What becomes of a file when its order has come to an end."""

    def test_moved_after_success_and_after_failure(
        self, inbox: Path, tmp_path: Path, make: MakeOrders, burst: Burst
    ) -> None:
        """Also by a watch that was started afterwards; a cancelled order counts as failed, one that waits is left alone."""
        for name in ("good.dxf", "bad.dxf"):
            write(inbox / name, name)
        ends = {"then": f"move:{tmp_path / 'done'}", "failed": f"move:{tmp_path / 'broken'}"}
        make(**ends).look()
        burst(handlers_for(bad=ValueError("no")))
        for name in ("late.dxf", "gone.dxf"):
            write(inbox / name)
        for order in make(**ends).look():
            if order.record().title == "gone.dxf":
                order.cancel()
        make(**ends).look()
        assert [path.name for path in (tmp_path / "done").iterdir()] == ["good.dxf"]
        assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["bad.dxf", "gone.dxf"]
        assert [path.name for path in inbox.iterdir()] == ["late.dxf"]

    def test_it_has_not_ended_between_its_steps_nor_while_it_is_suspended(
        self, inbox: Path, make: MakeOrders, make_steps: MakeSteps
    ) -> None:
        path, worker = write(inbox / "a"), make_steps("t")
        watch = make(then="delete")
        (order,) = watch.look()
        worker.take()
        worker.end(order.id, "check")
        watch.look()
        order.suspend()
        watch.look()
        assert path.exists()
        order.resume()
        worker.drain()
        watch.look()
        assert not path.exists()

    def test_o4_one_that_failed_has_not_ended_while_another_branch_runs(
        self, inbox: Path, tmp_path: Path, make: MakeOrders, make_steps: MakeSteps
    ) -> None:
        """O4: that branch may still read the file."""
        path, worker = write(inbox / "a"), make_steps("t", "u")
        watch = make(chain="fork", failed=f"move:{tmp_path / 'broken'}")
        (order,) = watch.look()
        worker.take()
        worker.end(order.id, "check")
        worker.take()
        worker.end(order.id, "a", outcome="failed")
        assert order.state() == "failed"
        watch.look()
        assert path.exists()
        worker.end(order.id, "b")
        watch.look()
        assert (tmp_path / "broken" / "a").exists()

    def test_o14_one_that_failed_has_ended_although_elements_are_left(
        self, queue: Queue, inbox: Path, tmp_path: Path, make: MakeOrders, make_steps: MakeSteps
    ) -> None:
        """O14: elements under way are awaited; those that begin only if it is resumed are not."""
        join = Step("z", "t", after=["scan", "b"])
        queue.define(Chain("each", [Step("scan", "t", each="files", after=()), Step("b", "t", after=()), join]))
        path, worker = write(inbox / "a"), make_steps("t")
        watch = make(chain="each", params={"files": [1, 2, 3]}, failed=f"move:{tmp_path / 'broken'}")
        (order,) = watch.look()
        worker.take()
        worker.expand(order.id, "scan", [1, 2, 3])
        worker.take(1)
        worker.end(order.id, "b", outcome="failed")
        assert order.state() == "failed"
        watch.look()
        assert path.exists()
        worker.end_all(*worker.runs)
        assert dict(order.record().now) == {"b": "failed", "scan": "each"}
        watch.look()
        assert (tmp_path / "broken" / "a").exists()

    def test_a_failed_file_that_is_kept_is_ended_when_its_order_is_resumed(
        self, inbox: Path, make: MakeOrders, burst: Burst, caplog: pytest.LogCaptureFixture
    ) -> None:
        """O8: also by a watch that was started after the failure."""
        path = write(inbox / "a")
        watch = make(then="delete")
        (order,) = watch.look()
        burst(handlers_for(a=ValueError("no such block")))
        watch.look()
        assert path.exists()
        assert f"order {order.id} failed: step check: ValueError: no such block" in caplog.text
        again = make(then="delete")
        assert again.look() == []
        order.resume()
        burst(handlers_for())
        again.look()
        assert not path.exists()


class TestKilled:
    def test_q16_killed_at_random_and_started_again_each_version_is_one_order(
        self,
        queue: Queue,
        server: RealServer,
        namespace: str,
        spawn: Callable[..., Child],
        inbox: Path,
        tmp_path: Path,
        burst: Burst,
    ) -> None:
        """Q16, O9: eight kills of one of two watches, while files come, change, and are moved away after their orders."""
        queue.define(LINE)
        dice, done, written = random.Random(5), tmp_path / "done", set[str]()

        def start(state: str) -> Child:
            words = ["--chain", "release", "--settle", "100ms", "--every", "50ms", "--then", f"move:{done}"]
            child = spawn(
                [sys.executable, "-m", "seatline.console.main", "watch", str(inbox), *words],
                {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace, "SEATLINE_STATE": str(tmp_path / state)},
            )
            wait_until(lambda: "for chain release" in child.errors(), 20)
            return child

        other = start("other")
        for round_ in range(8):
            child = start("state")
            before = sum(versions(queue).values())
            for number in range(6):
                mtime = 1000 * (round_ + 1) + number
                name = f"{round_}-{number}.dxf" if number < 4 else f"again-{number}.dxf"
                hidden = write(inbox / f".{name}.part", f"{name} {mtime}", mtime)
                hidden.rename(inbox / name)
                written.add(f"{name} {mtime}")
            goal = before + dice.randrange(1, 7)
            wait_until(lambda: sum(versions(queue).values()) >= goal, 20)  # noqa: B023
            if round_ % 2:
                burst(handlers_for())
            child.kill()
            if round_ % 3 == 2:
                other.kill()
                other = start("other")
            wait_until(lambda: written <= versions(queue).keys(), 20)  # before a version is written over
        burst(handlers_for())
        start("state")
        wait_until(lambda: not [path for path in inbox.iterdir() if not path.name.startswith(".")], 20)
        assert versions(queue) == dict.fromkeys(written, 1)
        texts = Counter(path.read_text() for path in done.iterdir())
        assert max(texts.values()) == 1
        assert {f"{n}-{m}.dxf {1000 * (n + 1) + m}" for n in range(8) for m in range(4)} <= texts.keys()

    def test_q16_killed_while_it_only_takes(
        self, queue: Queue, server: RealServer, namespace: str, spawn: Callable[..., Child], inbox: Path, tmp_path: Path
    ) -> None:
        """Q16, O9: 800 files, a watch that is killed after some of them, six times over."""
        queue.define(LINE)
        dice, most, cut = random.Random(11), 800, 0
        for number in range(most):
            write(inbox / f"{number}.dxf", mtime=1000 + number)

        def start(*words: str) -> Child:
            words = ("--chain", "release", "--settle", "20ms", *words)
            env = {"SEATLINE_URL": server.url, "SEATLINE_NAMESPACE": namespace, "SEATLINE_STATE": str(tmp_path / "s")}
            return spawn([sys.executable, "-m", "seatline.console.main", "watch", str(inbox), *words], env)

        def taken() -> int:
            return sum(1 for _ in queue.orders())

        for _ in range(6):
            child = start()
            goal = min(most, taken() + dice.randrange(1, 40))
            wait_until(lambda: taken() >= goal, 20)  # noqa: B023
            child.kill()
            cut += taken() < most
        assert cut >= 2, "it was too quick to be killed in the middle"
        assert start("--once").wait(30) == 0
        assert versions(queue) == {f"{number}.dxf {1000 + number}": 1 for number in range(most)}
