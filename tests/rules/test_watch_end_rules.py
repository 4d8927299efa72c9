"""A watched folder: what becomes of a file when its job has ended, and the move itself where the file system says no."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.waiting import wait_until
from rules.support import Gate, ThreadWorker
from rules.watched import Burst, MakeWatch, handlers_for, write

from seatline.producer.watch_ends import ending_of, put_away
from seatline.producer.watch_folder import Version
from seatline.worker import Handlers, Skip


class TestEnds:
    def test_moved_after_success_and_after_failure(
        self, inbox: Path, tmp_path: Path, make_watch: MakeWatch, burst: Burst
    ) -> None:
        """A skipped job is no failure (Q21); one that waits leaves its file alone."""
        for name in ("good", "bad", "void"):
            write(inbox / f"{name}.dxf", name)
        watch = make_watch(then=f"move:{tmp_path / 'done'}", failed=f"move:{tmp_path / 'broken'}")
        watch.look()
        burst(handlers_for(bad=ValueError("no"), void=Skip("nothing in it")))
        write(inbox / "late.dxf")
        watch.look()
        assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["good.dxf", "void.dxf"]
        assert [path.name for path in (tmp_path / "broken").iterdir()] == ["bad.dxf"]
        assert [path.name for path in inbox.iterdir()] == ["late.dxf"]

    def test_after_a_restart_too(self, inbox: Path, make_watch: MakeWatch, burst: Burst) -> None:
        write(inbox / "a")
        make_watch(then="delete").look()
        burst(handlers_for())
        make_watch(then="delete").look()
        assert list(inbox.iterdir()) == []

    def test_what_was_kept_is_ended_when_a_later_watch_says_so(
        self, inbox: Path, make_watch: MakeWatch, burst: Burst
    ) -> None:
        """At its first look, and although the queue has forgotten the job."""
        write(inbox / "a")
        watch = make_watch()
        (handle,) = watch.look()
        burst(handlers_for())
        watch.look()
        handle.remove()
        assert make_watch(settle=60, then="delete").look() == []
        assert list(inbox.iterdir()) == []

    def test_a_cancelled_job_counts_as_failed(self, inbox: Path, tmp_path: Path, make_watch: MakeWatch) -> None:
        write(inbox / "a")
        watch = make_watch(then="delete", failed=f"move:{tmp_path / 'broken'}")
        (handle,) = watch.look()
        handle.cancel()
        watch.look()
        assert (tmp_path / "broken" / "a").exists()

    def test_an_interrupted_job_waits_for_a_person(
        self,
        inbox: Path,
        tmp_path: Path,
        make_watch: MakeWatch,
        burst: Burst,
        start_worker: Callable[..., ThreadWorker],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        path = write(inbox / "a")
        watch = make_watch(then="delete", failed=f"move:{tmp_path / 'broken'}")
        (handle,) = watch.look()
        gate, handlers = Gate(deaf=True), Handlers()

        @handlers.handler("t", isolation="thread")
        def run(ctx: Any, **_: Any) -> None:
            gate.run(ctx)

        worker = start_worker(handlers, grace=0.1)
        wait_until(lambda: gate.begun, 10)
        worker.worker.stop(now=True)
        wait_until(lambda: handle.state() == "interrupted", 10)
        gate.opened.set()
        watch.look()
        watch.look()
        assert path.exists()
        assert caplog.text.count("was interrupted; `seatline jobs resubmit 1` runs it") == 1
        handle.resubmit()
        watch.look()
        assert watch.complaints == {}
        burst(handlers_for())
        watch.look()
        assert not path.exists()

    def test_a_failed_file_that_is_kept_is_ended_when_its_job_is_resubmitted(
        self, inbox: Path, make_watch: MakeWatch, burst: Burst
    ) -> None:
        """Also by a watch that was started after the failure."""
        path = write(inbox / "a")
        watch = make_watch(then="delete")
        (handle,) = watch.look()
        burst(handlers_for(a=ValueError("no")))
        watch.look()
        assert path.exists()
        again = make_watch(then="delete")
        assert again.look() == []
        handle.resubmit()
        burst(handlers_for())
        again.look()
        assert not path.exists()

    def test_nothing_is_overwritten(self, inbox: Path, tmp_path: Path, make_watch: MakeWatch, burst: Burst) -> None:
        done = tmp_path / "done"
        write(done / "a.dxf", "older")
        write(done / "a-1.dxf", "older too")
        watch = make_watch(then=f"move:{done}")
        for number in range(2, 5):
            write(inbox / "a.dxf", f"version {number}", number)
            watch.look()
            burst(handlers_for())
            watch.look()
        assert {path.name: path.read_text() for path in done.iterdir()} == {
            "a.dxf": "older",
            "a-1.dxf": "older too",
            "a-2.dxf": "version 2",
            "a-3.dxf": "version 3",
            "a-4.dxf": "version 4",
        }

    def test_copies_of_a_content_are_ended_together(
        self, inbox: Path, tmp_path: Path, make_watch: MakeWatch, burst: Burst
    ) -> None:
        for name in "abc":
            write(inbox / name, "same")
        watch = make_watch(by_content=True, then=f"move:{tmp_path / 'done'}")
        assert len(watch.look()) == 1
        burst(handlers_for())
        watch.look()
        assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["a", "b", "c"]

    def test_many_are_asked_for_in_turn(
        self, inbox: Path, make_watch: MakeWatch, burst: Burst, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of ten jobs three at a time: those that go on waiting do not stand in the way."""
        monkeypatch.setattr("seatline.producer.watch_jobs.FOLLOWED_AT_ONCE", 3)
        for number in range(10):
            write(inbox / f"{number}", mtime=number)
        watch = make_watch(then="delete")
        for handle in watch.look()[5:]:
            handle.cancel()
        for _ in range(5):
            watch.look()
        assert sum(file.ended == "cancelled" for file in watch._files.values()) == 5
        burst(handlers_for())
        for _ in range(5):
            watch.look()
        assert sorted(path.name for path in inbox.iterdir()) == ["5", "6", "7", "8", "9"]

    def test_a_target_below_the_folder_is_not_watched_and_folders_are_kept(
        self, inbox: Path, make_watch: MakeWatch, burst: Burst
    ) -> None:
        write(inbox / "x" / "y" / "a.dxf")
        watch = make_watch(recursive=True, then=f"move:{inbox / 'done'}")
        assert len(watch.look()) == 1
        burst(handlers_for())
        assert watch.look() == []
        assert (inbox / "done" / "x" / "y" / "a.dxf").exists()
        assert watch.look() == []

    def test_a_target_that_cannot_be_had_is_said_once(
        self, inbox: Path, tmp_path: Path, make_watch: MakeWatch, burst: Burst, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The folder in which it lies is not made: it may be a share that is not mounted."""
        target = tmp_path / "share" / "done"
        for name in "abc":
            write(inbox / name)
        watch = make_watch(then=f"move:{target}")
        watch.look()
        burst(handlers_for())
        watch.look()
        watch.look()
        assert len(list(inbox.iterdir())) == 3
        assert caplog.text.count("files are not moved there") == 1
        assert list(watch.complaints) == [str(target)]
        target.parent.mkdir()
        watch.look()
        assert len(list(target.iterdir())) == 3
        assert watch.complaints == {}

    def test_a_link_is_moved_as_a_link(self, inbox: Path, tmp_path: Path, make_watch: MakeWatch, burst: Burst) -> None:
        real = write(tmp_path / "real", "real")
        (inbox / "link").symlink_to("../real")
        watch = make_watch(then=f"move:{tmp_path / 'far'}")
        watch.look()
        burst(handlers_for())
        watch.look()
        moved = tmp_path / "far" / "link"
        assert moved.is_symlink()
        assert moved.read_text() == "real"
        assert real.exists()


class TestMoving:
    """The move itself, where the file system says no."""

    def move(self, path: Path, target: Path) -> str | None:
        ending = ending_of("then", f"move:{target}", str(path.parent))
        return put_away(ending, path, Path(path.name), Version.of(path.stat()))

    def test_across_devices(self, tmp_path: Path) -> None:
        other = Path("/dev/shm")
        if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no second file system here")
        target = other / f"seatline-{os.getpid()}"
        try:
            path = write(tmp_path / "a.dxf", "content", 1234)
            assert self.move(path, target) == f"moved to {target / 'a.dxf'}"
            moved = target / "a.dxf"
            assert (moved.read_text(), moved.stat().st_mtime, path.exists()) == ("content", 1234, False)
            assert self.move(write(path, "another", 1234), target) == f"moved to {target / 'a-1.dxf'}"
            assert sorted(each.name for each in target.iterdir()) == ["a-1.dxf", "a.dxf"]
            assert self.move(write(path, "content", 1234), target) == f"moved to {target / 'a.dxf'}"  # it was killed
            assert sorted(each.name for each in target.iterdir()) == ["a-1.dxf", "a.dxf"]
        finally:
            for each in target.iterdir():
                each.unlink()
            target.rmdir()

    @pytest.mark.parametrize("taken", [False, True])
    def test_without_hard_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
        def no_links(*_: Any, **__: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        target = tmp_path / "done"
        if taken:
            write(target / "a", "older")
        path = write(tmp_path / "in" / "a", "content")
        monkeypatch.setattr(os, "link", no_links)
        name = "a-1" if taken else "a"
        assert self.move(path, target) == f"moved to {target / name}"
        assert (target / name).read_text() == "content"
        assert not path.exists()

    def test_killed_between_the_two_names(self, tmp_path: Path) -> None:
        path = write(tmp_path / "in" / "a", "content")
        (tmp_path / "done").mkdir()
        (tmp_path / "done" / "a").hardlink_to(path)
        self.move(path, tmp_path / "done")
        assert [each.name for each in (tmp_path / "done").iterdir()] == ["a"]
        assert not path.exists()

    def test_another_version_is_left_alone(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a", "content")
        ending = ending_of("then", "delete", str(tmp_path))
        assert put_away(ending, path, Path("a"), Version(1, 1)) is None
        assert path.exists()
        path.unlink()
        assert put_away(ending, path, Path("a"), Version(1, 1)) is None
