"""A watched folder: each version of each file becomes one job (Q16), of priority 100 (Q4); from a hook, too (C6).

What becomes of files when their jobs have ended: test_watch_end_rules.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness.server import RealServer
from harness.waiting import wait_until
from rules.support import ThreadWorker
from rules.watched import Burst, MakeWatch, handlers_for, write

from seatline.producer import JobHandle, Queue
from seatline.producer import watch_events as events
from seatline.producer.watch import Watch
from seatline.producer.watch_folder import Version
from seatline.shared.errors import InvalidInput, SeatlineError, TenantRequired


@pytest.fixture
def running() -> Iterator[Callable[[Watch], threading.Thread]]:
    """Run watches in threads; they are stopped in the end."""
    begun: list[tuple[Watch, threading.Thread]] = []

    def run(watch: Watch) -> threading.Thread:
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        begun.append((watch, thread))
        return thread

    yield run
    for watch, thread in begun:
        watch.stop()
        thread.join(10)
        assert not thread.is_alive()


def names(handles: list[JobHandle]) -> list[str]:
    return [handle.record().params["name"] for handle in handles]


def all_names(queue: Queue) -> Counter[str]:
    """Return how many jobs there are for each name, whatever their state."""
    states = (None, "succeeded", "failed", "skipped", "cancelled")
    return Counter(record.params["name"] for state in states for record in queue.jobs(state=state))


@contextlib.contextmanager
def nobodys_folder() -> Iterator[Path]:
    """Give a folder of a user who may not read everything; root becomes such a one meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="seatline-watch-"))
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, 65_534, -1)
            os.seteuid(65_534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder, ignore_errors=True)


class TestTaking:
    def test_q4_a_file_becomes_a_job_of_priority_100(self, inbox: Path, make_watch: MakeWatch) -> None:
        """Q4: with its path, name, size and time of change."""
        path = write(inbox / "a.dxf", "drawing")
        (handle,) = make_watch(tenant="north").look()
        record = handle.record()
        assert (record.type, record.priority, record.tenant, record.title) == ("t", 100, "north", "a.dxf")
        assert record.params == {"path": str(path), "name": "a.dxf", "size": 7, "mtime": path.stat().st_mtime}

    def test_oldest_first(self, inbox: Path, make_watch: MakeWatch) -> None:
        for name, mtime in (("new", 3000), ("old", 1000), ("b", 2000), ("a", 2000)):
            write(inbox / name, mtime=mtime)
        assert names(make_watch().look()) == ["old", "a", "b", "new"]

    def test_many_at_once(self, inbox: Path, make_watch: MakeWatch) -> None:
        for number in range(300):
            write(inbox / f"{number}.dxf", mtime=1000 + number)
        watch = make_watch()
        handles = watch.look()
        assert names(handles) == [f"{number}.dxf" for number in range(300)]
        assert watch.look() == []
        assert watch.taken == 300

    def test_a_file_that_grows_does_not_count_yet(
        self, queue: Queue, inbox: Path, make_watch: MakeWatch, running: Callable[[Watch], threading.Thread]
    ) -> None:
        """A write every twentieth of the settle time: it is taken once, when it is whole."""
        watch = make_watch(settle=0.4)
        running(watch)
        with (inbox / "slow.dxf").open("w") as file:
            for _ in range(60):
                file.write("x" * 100)
                file.flush()
                with contextlib.suppress(AssertionError):
                    wait_until(lambda: watch.taken, 0.02)
                assert watch.taken == 0
        wait_until(lambda: watch.taken == 1, 10)
        (record,) = queue.jobs()
        assert record.params["size"] == 6000

    def test_look_leaves_what_still_changes(self, inbox: Path, make_watch: MakeWatch) -> None:
        path = write(inbox / "grows")
        watch = make_watch(settle=0.5)
        looks: list[JobHandle] = []
        thread = threading.Thread(target=lambda: looks.extend(watch.look()))
        thread.start()
        while thread.is_alive():
            with path.open("a") as file:
                file.write("x")
            thread.join(0.02)
        assert looks == []
        assert names(watch.look()) == ["grows"]

    def test_a_renamed_file_is_another_one(self, inbox: Path, make_watch: MakeWatch) -> None:
        write(inbox / "a.dxf.part")
        watch = make_watch()
        assert watch.look() == []
        (inbox / "a.dxf.part").rename(inbox / "a.dxf")
        assert names(watch.look()) == ["a.dxf"]
        (inbox / "a.dxf").rename(inbox / "b.dxf")
        assert names(watch.look()) == ["b.dxf"]

    def test_a_file_that_is_gone_in_time_is_not_taken(self, inbox: Path, make_watch: MakeWatch) -> None:
        path = write(inbox / "gone")
        watch = make_watch(settle=0.5)
        looks: list[JobHandle] = []
        thread = threading.Thread(target=lambda: looks.extend(watch.look()))
        thread.start()
        wait_until(lambda: watch._files)
        path.unlink()
        thread.join(10)
        assert looks == []
        assert watch.complaints == {}

    def test_a_newer_version_is_a_new_job_and_is_not_ended_with_the_old_one(
        self, inbox: Path, tmp_path: Path, make_watch: MakeWatch, burst: Burst
    ) -> None:
        path = write(inbox / "a.dxf", "one", 1000)
        watch = make_watch(then=f"move:{tmp_path / 'done'}")
        (first,) = watch.look()
        burst(handlers_for())
        write(path, "two", 2000)
        (second,) = watch.look()
        assert (first.state(), second.state()) == ("succeeded", "ready")
        assert [each.record().params["mtime"] for each in (first, second)] == [1000, 2000]
        assert path.read_text() == "two"
        burst(handlers_for())
        watch.look()
        assert (tmp_path / "done" / "a.dxf").read_text() == "two"
        assert not path.exists()


class TestOnce:
    """Q16: one job a version, whoever looks."""

    def test_q16_a_restarted_watch_takes_nothing_again(self, inbox: Path, make_watch: MakeWatch) -> None:
        write(inbox / "a")
        assert len(make_watch().look()) == 1
        assert make_watch().look() == []
        write(inbox / "b")
        assert names(make_watch().look()) == ["b"]

    def test_q16_two_watches_at_once(self, queue: Queue, inbox: Path, make_watch: MakeWatch, running: Any) -> None:
        watches = [make_watch(settle=0.05, memory=inbox.parent / f"{number}.db") for number in range(2)]
        for watch in watches:
            running(watch)
        for number in range(100):
            write(inbox / f"{number}")
        wait_until(lambda: sum(watch.taken for watch in watches) >= 100, 20)
        wait_until(lambda: all(len(watch._files) == 100 for watch in watches), 10)
        wait_until(lambda: all(file.job for watch in watches for file in watch._files.values()), 10)
        assert all_names(queue) == {str(number): 1 for number in range(100)}

    def test_another_type_is_another_job(self, inbox: Path, make_watch: MakeWatch) -> None:
        write(inbox / "a")
        assert len(make_watch().look()) == len(make_watch(type="other").look()) == 1

    def test_other_params_are_no_other_version(self, inbox: Path, make_watch: MakeWatch) -> None:
        write(inbox / "a")
        assert len(make_watch().look()) == 1
        watch = make_watch(params={"file": "{path}"}, memory=inbox.parent / "other.db")
        assert watch.look() == []
        assert watch.complaints == {}

    def test_by_content(self, inbox: Path, make_watch: MakeWatch) -> None:
        write(inbox / "a", "same", 1000)
        write(inbox / "b", "same", 2000)
        write(inbox / "c", "other", 3000)
        watch = make_watch(by_content=True)
        assert names(watch.look()) == ["a", "c"]
        os.utime(inbox / "a", (5, 5))
        assert watch.look() == []
        assert make_watch(by_content=True, memory=inbox.parent / "other.db").look() == []
        write(inbox / "a", "new")
        assert names(watch.look()) == ["a"]

    def test_what_is_done_is_remembered_longer_than_its_job(
        self, inbox: Path, make_watch: MakeWatch, burst: Burst
    ) -> None:
        """The file is kept and its job is forgotten: it is not done again."""
        write(inbox / "good")
        write(inbox / "bad")
        watch = make_watch()
        handles = watch.look()
        burst(handlers_for(bad=ValueError("no")))
        watch.look()
        for handle in handles:
            handle.remove()
        assert make_watch().look() == watch.look() == []
        assert len(make_watch(memory=inbox.parent / "other.db").look()) == 2
        write(inbox / "good", "a new version")
        assert names(make_watch().look()) == ["good"]

    def test_what_waits_is_not_remembered(self, inbox: Path, make_watch: MakeWatch) -> None:
        """So a job that the server lost is not taken for done."""
        write(inbox / "a")
        (handle,) = make_watch().look()
        handle.remove()
        assert len(make_watch().look()) == 1

    def test_a_job_that_was_removed_is_left(
        self, inbox: Path, make_watch: MakeWatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(inbox / "a")
        watch = make_watch()
        (handle,) = watch.look()
        handle.remove()
        assert watch.look() == watch.look() == make_watch().look() == []
        assert caplog.text.count("was removed; the file is left") == 1

    def test_another_namespace_knows_nothing_of_it(
        self, server: RealServer, new_namespace: Callable[[], str], inbox: Path, make_watch: MakeWatch, burst: Burst
    ) -> None:
        write(inbox / "a")
        watch = make_watch()
        watch.look()
        burst(handlers_for())
        watch.look()
        with Queue(server.url, namespace=new_namespace()) as other:
            assert len(make_watch(queue=other).look()) == 1

    @pytest.mark.parametrize("broken", ["no folder", "no database"])
    def test_without_a_memory_it_goes_on_and_says_so_once(
        self, inbox: Path, make_watch: MakeWatch, caplog: pytest.LogCaptureFixture, broken: str
    ) -> None:
        memory = inbox.parent / "none" / "memory.db"
        if broken == "no database":
            memory = write(inbox.parent / "memory.db", "no database at all " * 100)
        write(inbox / "a")
        watch = make_watch(memory=memory)
        assert len(watch.look()) == 1
        assert watch.look() == []
        assert caplog.text.count("what is done cannot be kept") == 1

    def test_the_memory_has_a_row_a_file(self, inbox: Path, make_watch: MakeWatch, burst: Burst) -> None:
        watch = make_watch()
        for text in ("one", "three", "seven"):
            write(inbox / "a", text)
            watch.look()
            burst(handlers_for())
            watch.look()
        with contextlib.closing(sqlite3.connect(inbox.parent / "memory.db")) as base:
            assert base.execute("SELECT count(*), max(ended) FROM done").fetchall() == [(1, "succeeded")]


class TestWhatCounts:
    def test_patterns_and_what_is_passed_over(self, inbox: Path, make_watch: MakeWatch) -> None:
        for name in ("a.dxf", "B.DXF", "c.dwg", "d.txt", ".e.dxf", "~$f.dxf", "g.dxf.tmp", "h.part", "sub/i.dxf"):
            write(inbox / name)
        assert sorted(names(make_watch(patterns=["*.dxf", "*.dwg"]).look())) == ["B.DXF", "a.dxf", "c.dwg"]
        assert sorted(names(make_watch(ignore=[]).look())) == [".e.dxf", "d.txt", "g.dxf.tmp", "h.part", "~$f.dxf"]

    def test_recursive(self, inbox: Path, make_watch: MakeWatch) -> None:
        for name in ("a.dxf", "x/b.dxf", "x/y/c.dxf", ".git/d.dxf", "x/e.txt"):
            write(inbox / name)
        assert sorted(names(make_watch(recursive=True, patterns=["*.dxf"]).look())) == ["a.dxf", "b.dxf", "c.dxf"]
        watch = make_watch(recursive=True, patterns=["x/*.txt"], type="other")
        assert names(watch.look()) == ["e.txt"]

    def test_links(self, inbox: Path, make_watch: MakeWatch) -> None:
        """Those to files are followed, those to folders are not: nothing leads round."""
        real = write(inbox.parent / "real", "12345")
        write(inbox.parent / "elsewhere" / "no")
        (inbox / "file").symlink_to(real)
        (inbox / "folder").symlink_to(inbox.parent / "elsewhere")
        (inbox / "sub").mkdir()
        (inbox / "sub" / "round").symlink_to(inbox)
        (inbox / "broken").symlink_to("nowhere")
        (inbox / "self").symlink_to("self")
        os.mkfifo(inbox / "pipe")
        watch = make_watch(recursive=True)
        (handle,) = watch.look()
        assert handle.record().params["size"] == 5
        assert handle.record().params["path"] == str(inbox / "file")
        write(real, "another version")
        assert len(watch.look()) == 1

    def test_names_of_any_bytes(self, inbox: Path, make_watch: MakeWatch, caplog: pytest.LogCaptureFixture) -> None:
        """One that is no Unicode text cannot be a param: it is said once, and left."""
        bad = os.fsencode(inbox) + b"/bad\xff.dxf"
        os.close(os.open(bad, os.O_CREAT))
        for name in ("Zeichnung ä.dxf", "a\nb.dxf", "'; rm -rf.dxf", "emoji \U0001f600"):
            write(inbox / name)
        watch = make_watch()
        assert sorted(names(watch.look())) == sorted(
            ["Zeichnung ä.dxf", "a\nb.dxf", "'; rm -rf.dxf", "emoji \U0001f600"]
        )
        assert watch.look() == []
        assert list(watch.complaints) == [os.fsdecode(bad)]
        assert caplog.text.count("is no Unicode text") == 1
        assert r"bad\udcff.dxf" in caplog.text

    def test_an_empty_file_counts(self, inbox: Path, make_watch: MakeWatch) -> None:
        write(inbox / "empty", "")
        assert names(make_watch().look()) == ["empty"]

    def test_what_may_not_be_read_is_said_once(
        self, queue: Queue, make_watch: MakeWatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue.store.meet()
        with nobodys_folder() as inbox:
            path = write(inbox / "secret", "another content")
            path.chmod(0)
            write(inbox / "shut" / "b")
            (inbox / "shut").chmod(0)
            watch = make_watch(folder=inbox, by_content=True, recursive=True, memory=inbox / ".memory")
            assert watch.look() == watch.look() == []
            assert watch.complaints.keys() == {str(path), str(inbox / "shut")}
            assert caplog.text.count("permission denied") == 2
            path.chmod(0o600)
            (inbox / "shut").chmod(0o700)
            assert sorted(names(watch.look())) == ["b", "secret"]
            assert watch.complaints == {}

    @pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that nobody can read is needed")
    def test_what_cannot_be_read_is_said_once(
        self, inbox: Path, make_watch: MakeWatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Root neither: the first bytes of a process's memory are an error of the device."""
        (inbox / "odd").symlink_to("/proc/self/mem")
        write(inbox / "good")
        watch = make_watch(by_content=True)
        assert names(watch.look()) == ["good"]
        watch.look()
        assert watch.complaints == {str(inbox / "odd"): "input/output error; it is left until it can be read"}
        assert caplog.text.count("it is left") == 1


class TestParams:
    def test_fields(self, inbox: Path, make_watch: MakeWatch) -> None:
        path = write(inbox / "a.b.dxf", "text")
        params = {
            "file": "{path}",
            "title": "{stem} of {size} bytes",
            "size": "{size}",
            "mtime": "{mtime}",
            "sha256": "{sha256}",
            "braces": "{{path}}",
            "copies": 3,
            "deep": ["{path}"],
        }
        (handle,) = make_watch(params=params, title="{stem}!").look()
        record = handle.record()
        assert record.title == "a.b!"
        assert record.params == {
            "file": str(path),
            "title": "a.b of 4 bytes",
            "size": 4,
            "mtime": path.stat().st_mtime,
            "sha256": hashlib.sha256(b"text").hexdigest(),
            "braces": "{path}",
            "copies": 3,
            "deep": ["{path}"],
        }

    @pytest.mark.parametrize("ns", [1, 999_999_999, 1_700_000_000_123_456_789, 4_102_444_800_999_999_999])
    def test_the_time_is_the_number_that_stat_gives(self, tmp_path: Path, ns: int) -> None:
        path = write(tmp_path / "a")
        os.utime(path, ns=(ns, ns))
        assert Version.of(path.stat()).mtime == path.stat().st_mtime

    def test_a_title_is_one_line(self, inbox: Path, make_watch: MakeWatch) -> None:
        write(inbox / ("x" * 240))
        write(inbox / "a\tb")
        titles = {handle.record().title for handle in make_watch().look()}
        assert titles == {"x" * 200, r"a\tb"}
        write(inbox / "c")
        assert make_watch(title=None).look()[0].record().title is None

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"params": {"a": "{nothing}"}}, "params: '{nothing}': there is {path}, {name}"),
            ({"params": {"a": "{path.parent}"}}, "params: '{path.parent}'"),
            ({"params": {"a": "{size:3}"}}, "params: '{size:3}'"),
            ({"params": {"a": "{path"}}, "params: '{path'"),
            ({"params": ["a"]}, "params: "),
            ({"title": "{x}"}, "title: '{x}'"),
            ({"then": "burn"}, "then: 'burn' is neither keep nor move:DIR nor delete."),
            ({"then": "move:"}, "then: 'move:' is neither"),
            ({"failed": "delete"}, "failed: 'delete' is neither keep nor move:DIR."),
            ({"patterns": "*.dxf"}, "pattern: '*.dxf' is not a list"),
            ({"ignore": [""]}, "ignore: [''] is not a list"),
            ({"settle": -1}, "settle: -1 is not a number of seconds"),
            ({"interval": "1"}, "interval: '1' is not a number"),
            ({"priority": 0}, "priority: 0 is not allowed"),
            ({"type": "a b"}, "type: 'a b' is not a name"),
            ({"tenant": "a b"}, "tenant: 'a b' is not a name"),
        ],
    )
    def test_what_is_no_watch_is_refused_at_once(
        self, make_watch: MakeWatch, options: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(InvalidInput) as told:
            make_watch(**options)
        assert str(told.value).startswith(said)

    def test_a_target_is_not_the_folder_itself(self, inbox: Path, make_watch: MakeWatch) -> None:
        with pytest.raises(InvalidInput, match="is the folder that is watched"):
            make_watch(then=f"move:{inbox}/../inbox")


class TestAway:
    def test_a_folder_that_goes_and_comes_back(
        self, queue: Queue, inbox: Path, make_watch: MakeWatch, running: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One line each; what was known of its files is not taken again, what came meanwhile is."""
        caplog.set_level("INFO")
        write(inbox / "a")
        watch = make_watch()
        running(watch)
        wait_until(lambda: watch.taken == 1, 10)
        gone = inbox.rename(inbox.parent / "gone")
        wait_until(lambda: watch.away, 10)
        write(gone / "b")
        gone.rename(inbox)
        wait_until(lambda: watch.taken == 2, 10)
        assert watch.away is None
        assert all_names(queue) == {"a": 1, "b": 1}
        assert caplog.text.count("it is waited for") == caplog.text.count("is back") == 1
        assert "No such file or directory" in caplog.text

    def test_a_folder_that_is_not_there_yet(self, inbox: Path, make_watch: MakeWatch) -> None:
        watch = make_watch(folder=inbox / "later")
        assert watch.look() == []
        assert watch.away == "No such file or directory"
        write(inbox / "later" / "a")
        assert len(watch.look()) == 1
        assert watch.away is None

    def test_a_server_that_is_away_is_waited_for(
        self,
        make_queue: Callable[..., Queue],
        private_server: Callable[..., RealServer],
        inbox: Path,
        make_watch: MakeWatch,
        running: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        server = private_server(appendonly=True, config=["appendfsync always"])
        queue = make_queue(server.url, deadline=0.2)
        watch = make_watch(queue=queue)
        running(watch)
        write(inbox / "a")
        wait_until(lambda: watch.taken == 1, 10)
        server.kill()
        wait_until(lambda: watch._waits, 10)
        write(inbox / "b")
        server.start()
        wait_until(lambda: watch.taken == 2, 20)
        assert all_names(queue) == {"a": 1, "b": 1}
        assert caplog.text.count("waits: ") == caplog.text.count("goes on") == 1

    def test_a_job_that_the_server_lost_is_taken_again(
        self,
        make_queue: Callable[..., Queue],
        private_server: Callable[..., RealServer],
        inbox: Path,
        make_watch: MakeWatch,
        running: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A server without persistence: after its end nobody knows of the file."""
        server = private_server()
        queue = make_queue(server.url, deadline=0.2)
        watch = make_watch(queue=queue)
        queue.enqueue("other")
        assert queue.store.meet()
        running(watch)
        write(inbox / "a")
        wait_until(lambda: watch.taken == 1, 10)
        wait_until(lambda: all(file.created for file in watch._files.values()), 10)
        server.kill()
        server.start()
        wait_until(lambda: watch.taken == 2, 20)
        assert "has lost job" in caplog.text
        assert all_names(queue) == {"a": 1}

    def test_without_a_server_it_does_not_begin(self, make_watch: MakeWatch) -> None:
        with Queue("redis://127.0.0.1:1", deadline=0.1) as queue, pytest.raises(SeatlineError):
            make_watch(queue=queue).run()

    def test_a_namespace_that_wants_a_tenant_is_an_error(
        self, queue: Queue, inbox: Path, make_watch: MakeWatch
    ) -> None:
        """To wait would not mend it."""
        queue.require_tenant()
        write(inbox / "a")
        with pytest.raises(TenantRequired):
            make_watch().run()
        assert len(make_watch(tenant="north").look()) == 1

    def test_a_closed_namespace_is_waited_for(
        self, queue: Queue, inbox: Path, make_watch: MakeWatch, running: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue.shut()
        write(inbox / "a")
        watch = make_watch()
        running(watch)
        wait_until(lambda: watch._waits, 10)
        queue.reopen()
        wait_until(lambda: watch.taken == 1, 10)
        assert caplog.text.count("waits: ") == 1


class TestEvents:
    """With ``watchfiles``: events wake it, and it looks by itself as well."""

    def test_an_event_wakes_it(self, inbox: Path, make_watch: MakeWatch, running: Any) -> None:
        """It looks by itself once an hour only."""
        watch = make_watch(interval=3600, recursive=True)
        running(watch)
        write(inbox / "there")
        wait_until(lambda: watch.taken == 1, 10)
        write(inbox / "sub" / "new")
        wait_until(lambda: watch.taken == 2, 10)

    def test_a_folder_that_was_replaced_is_heard_too(
        self, inbox: Path, make_watch: MakeWatch, running: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("seatline.producer.watch.INTERVAL_BESIDE_EVENTS", 0.5)
        watch = make_watch(interval=None)
        running(watch)
        write(inbox / "a")
        wait_until(lambda: watch.taken == 1, 10)
        inbox.rename(inbox.parent / "old")
        inbox.mkdir()
        write(inbox / "b")
        wait_until(lambda: watch.taken == 2, 10)
        write(inbox / "c")
        wait_until(lambda: watch.taken == 3, 10)

    def test_without_events_it_looks_by_itself(
        self, inbox: Path, make_watch: MakeWatch, running: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "find_spec", lambda _: None)
        monkeypatch.setattr("seatline.producer.watch.INTERVAL", 0.1)
        watch = make_watch(interval=None)
        running(watch)
        write(inbox / "a")
        wait_until(lambda: watch.taken == 1, 10)
        write(inbox / "b")
        wait_until(lambda: watch.taken == 2, 10)


class TestFromAHook:
    def test_c6_on_wake_takes_files_with_a_login_of_its_own(
        self, queue: Queue, inbox: Path, tmp_path: Path, start_worker: Callable[..., ThreadWorker]
    ) -> None:
        """C6: a watch that lives for one wake only; the share's login is the hook's, counted to its own name."""
        handlers = handlers_for(bad=ValueError("no"))
        queue.pools.set("share", 1)
        held: list[int] = []

        @handlers.login("share")
        @contextlib.contextmanager
        def login(session: Any) -> Iterator[SimpleNamespace]:
            assert session.hook == "on_wake"
            yield SimpleNamespace(inbox=inbox)

        @handlers.on_wake
        def look(ctx: Any) -> None:
            with ctx.open_session("share") as session:
                held.append(queue.pools["share"].in_use)
                options: dict[str, Any] = {"settle": 0.05, "then": "delete", "memory": tmp_path / "memory.db"}
                Watch(ctx.queue, session.client.inbox, "t", **options).look()

        for name in ("good", "bad"):
            write(inbox / name)
        worker = start_worker(handlers, classic=True, wake_interval=1)
        wait_until(lambda: [path.name for path in inbox.iterdir()] == ["bad"], 20)
        worker.stop()
        assert set(held) == {1}
        assert all_names(queue) == {"good": 1, "bad": 1}


def test_a_stop_ends_a_long_look(inbox: Path, make_watch: MakeWatch) -> None:
    write(inbox / "a")
    watch = make_watch(settle=600)
    thread = threading.Thread(target=watch.look)
    thread.start()
    wait_until(lambda: watch._files)
    watch.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_stop_is_safe_in_a_signal_handler(inbox: Path, make_watch: MakeWatch) -> None:
    watch = make_watch(settle=600)
    before = signal.signal(signal.SIGALRM, lambda *_: watch.stop())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        watch.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
