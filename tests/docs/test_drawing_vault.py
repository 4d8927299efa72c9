"""examples/drawing_vault, on sample drawings and on real ones: real servers, real workers, kills, and an outside witness."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from harness.processes import MARK, Child, Children, no_child_left
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.console.verify import check_namespace
from seatline.producer import OrderRecord, Queue
from seatline.shared import embedded

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # examples/ is in no wheel

from examples.drawing_vault import drawings, page, vault  # noqa: E402
from examples.drawing_vault.__main__ import main  # noqa: E402
from examples.drawing_vault.entries import Entry, entry_of  # noqa: E402
from examples.drawing_vault.licences import LICENCES, NoLicence, licence  # noqa: E402
from examples.drawing_vault.samples import SAMPLES  # noqa: E402
from ezdxf.filemanagement import new  # noqa: E402
from PIL import Image  # noqa: E402

REAL = ROOT.parent / "shared" / "data" / "drawings"
SECONDS = 150
ODD = "\x1b[31mred\nand <b>.dxf"

Spawn = Callable[..., Child]


def run(spawn: Spawn, *words: str | Path) -> Child:
    """Start the example as a user does; settings of his own are not for its private server."""
    env = {"PYTHONPATH": str(ROOT), "SEATLINE_URL": "redis://nowhere.invalid:1", "SEATLINE_NAMESPACE": "elsewhere"}
    return spawn([sys.executable, "-W", "error", "-m", "examples.drawing_vault", *words], env=env)


@contextmanager
def queue_of(home: Path) -> Iterator[Queue]:
    """Look into the vault when its run is over: its server is started again, and stopped."""
    server = embedded.ensure(home / ".server")
    try:
        with Queue(server.url, namespace=vault.NAMESPACE) as queue:
            yield queue
            assert not check_namespace(server.url, vault.NAMESPACE)
    finally:
        embedded.stop(home / ".server")


def cards(home: Path) -> dict[str, tuple[str, str]]:
    """Return name -> outcome and all that the report says of it, in the order of the page, but for the attempts."""
    text = (home / "report.html").read_text("utf-8")
    text = re.sub(r'<span class="attempts">\d+ attempts</span>', "", text)
    found = re.findall(r'<article class="card (\w+)" id="[^"]+">(.*?)</article>', text, re.DOTALL)
    named = [(name[1], card) for card in found if (name := re.search(r"<h3[^>]*>(.*?)</h3>", card[1], re.DOTALL))]
    assert len({name for name, _ in named}) == len(named) == len(found), "a drawing twice, or one without a name"
    return dict(named)


def entries(home: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in (home / "releases").glob("*/entry.json")]


def counted(home: Path) -> tuple[int, int]:
    """Return how many files have been released, and how many releases there are."""
    with queue_of(home) as queue:
        assert not list(queue.jobs()), "something is left to be done"
        found = [order for state in ("succeeded", "failed") for order in queue.orders(state=state)]
        orders = [order for order in found if isinstance(order, OrderRecord)]
        assert orders == found
        return len({order.title for order in orders}), len(orders)


@pytest.mark.timeout(200)
def test_samples_are_released_whoever_ends_the_run(tmp_path: Path) -> None:
    """C13, O9: a run is killed, the next one gets Ctrl-C, the third one does the rest; each version is released once."""
    home = tmp_path / "vault"
    with no_child_left() as children:
        bystander = children.spawn([sys.executable, "-c", "import time; time.sleep(1000)"])
        child = run(children.spawn, "--out", home)
        wait_until(lambda: len(entries(home)) > 1, SECONDS, "the first drawings")
        other = run(children.spawn, "--out", home)
        assert other.wait(SECONDS) == 2
        assert f"another run uses the vault {home}" in other.errors()
        child.kill()
        wait_until(lambda: _only_server_and(bystander, children), SECONDS, "the end of the workers of a killed run")
        touched = home / "inbox" / entries(home)[0]["name"]
        os.utime(touched, (1_000_000_000, 1_000_000_000))
        with (home / "inbox" / "huge.dxf").open("wb") as huge:
            huge.truncate(vault.BYTES_MOST + 1)
        (home / "inbox" / ODD).touch()

        child, before = run(children.spawn, "--out", home), len(entries(home))
        wait_until(lambda: len(entries(home)) > before, SECONDS, "one more")
        child.signal(signal.SIGINT)
        assert child.wait(SECONDS) == 130, child.errors()
        assert list(children.left()) == [bystander.pid], "it left something behind, or ended what is not its own"

        child = run(children.spawn, "--out", home)
        assert child.wait(SECONDS) == 0, child.errors()
        assert f"all {len(SAMPLES) + 2} drawings have ended" in child.output()
        assert "\x1b" not in child.output()
        assert list(children.left()) == [bystander.pid]
        bystander.kill()
    _check_samples(home, cards(home))
    assert len(entries(home)) == len(SAMPLES) + 3, (
        "the huge and the odd one, and two versions of the one that was touched"
    )
    assert counted(home) == (len(SAMPLES) + 2, len(SAMPLES) + 3)


def _only_server_and(bystander: Child, children: Children) -> bool:
    """The server stays, for the next run; nobody else does."""
    left = children.left()
    return left.pop(bystander.pid, "") != "" and len(left) == 1 and "valkey-server" in next(iter(left.values()))


def _check_samples(home: Path, told: dict[str, tuple[str, str]]) -> None:
    assert sorted(told) == sorted(map(escape, [*SAMPLES, "huge.dxf", ODD]))
    outcomes = [outcome for outcome, _ in told.values()]
    assert outcomes == sorted(outcomes, key=["failed", "skipped", "released"].index), "failures come first"
    assert Counter(outcomes) == {"released": 7, "skipped": 4, "failed": 2}
    for name, reason in {
        "broken.dxf": "check: it has no end (EOF): it was cut off, or is no drawing",
        "hidden.dxf": "publish: nothing of it shows: 5 LINE",
        "huge.dxf": "50.0 MiB; more than 50 are not read",
        "empty.dxf": "the file is empty",
        escape(ODD): "the file is empty",
        "untouched.dxf": "there is nothing in it",
    }.items():
        assert f'<p class="reason">{reason}</p>' in told[name][1]
    text = (home / "report.html").read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    for source in re.findall(r'<img src="([^"]+)"', text):
        assert (home / source).stat().st_size, source
    assert text.count("<img") == 14, "a thumbnail and a large view each"
    assert "<svg" not in text
    (copy,) = home.glob("report-*.html")
    assert copy.read_text("utf-8") == text, "the nightly copy is another page"
    found, *_ = home.glob("releases/ground-floor.*/index.json")  # two, if it is the one that was touched
    index = json.loads(found.read_text("utf-8"))
    assert index["layers"]["DOORS"] == 4
    assert "DOOR" in index["blocks"]
    assert "Workshop" in index["texts"]
    assert index["extents"][1] == [100, 70]


@pytest.mark.timeout(300)
@pytest.mark.skipif(not REAL.is_dir(), reason=f"there are no real drawings in {REAL}")
@pytest.mark.skipif(sys.platform != "linux", reason="the witness reads /proc/locks")
def test_real_drawings_whoever_is_killed(tmp_path: Path) -> None:
    """S2, O1, O4, O9, O10, Q20, Q21: a worker is killed while it publishes; the report is as if nothing had been.

    Each file is in it once, with the reason if it was not published; no third seat was ever given; a second run adds nothing.
    """
    names = sorted(path.name for path in REAL.glob("*.dxf"))
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    with no_child_left() as children:
        assert run(children.spawn, REAL, "--out", calm).wait(SECONDS) == 0
        witness = children.spawn([sys.executable, Path(__file__).with_name("vault_witness.py"), killed])
        child = run(children.spawn, REAL, "--out", killed)
        wait_until(lambda: len(entries(killed)) > len(names) // 4, SECONDS, "a quarter of the drawings")
        pid = _kill_one_that_publishes(children, killed)
        assert child.wait(SECONDS) == 0, child.errors()
        witness.terminate()
        wait_until(lambda: witness.output().endswith("\n"), SECONDS, "the witness")
        seen = json.loads(witness.output())
        said, report = child.output(), cards(killed)
        child = run(children.spawn, REAL, "--out", killed)
        assert child.wait(SECONDS) == 0, child.errors()
        said_again = child.output()
        witness.kill()

    assert re.search(rf"worker \d \(pid {pid}\) was killed by SIGKILL", said)
    assert f"all {len(names)} drawings have ended" in said
    assert f"all {len(names)} drawings have ended, all of them before" in said_again
    assert seen["seats"] == seen["locks"] == vault.SEATS == LICENCES
    assert seen["looks"] > len(names)
    for home in (calm, killed):
        journal = (home / "licences" / "journal").read_text().splitlines()
        assert len(journal) > len(names)
        assert not [line for line in journal if line.endswith("refused")]

    told = cards(killed)
    assert sorted(told) == sorted(map(escape, names)), "each file, once"
    assert told == cards(calm)
    assert list(told) == list(cards(calm))
    assert all(outcome == "released" or '<p class="reason">' in card for outcome, card in told.values())
    assert Counter(outcome for outcome, _ in told.values()) == {"released": 35, "skipped": 5, "failed": 2}
    assert max(entry["attempts"] for entry in entries(killed)) > 1, "nothing was lost with the killed worker"
    assert report == told, "the second run has changed the report"
    assert counted(killed) == (len(names), len(names))

    urgent = re.search(r"urgent +(\S+) was done after [\d.]+ s, before (\d+) others", said)
    assert urgent
    assert urgent[1] in names
    assert int(urgent[2]) > 0, "it overtook nobody"


def _kill_one_that_publishes(children: Children, home: Path) -> int:
    """SIGKILL a worker of this test, in the middle of a drawing."""
    server = embedded.status(home / ".server")
    assert server
    with Queue(server.url, namespace=vault.NAMESPACE) as queue:
        found = list[int]()

        def publishes() -> bool:
            running = [job for job in queue.jobs(state="running", type=vault.PUBLISH) if job.worker]
            found[:] = [int(job.worker.split(".")[-2]) for job in running if job.worker]
            return bool(found)

        wait_until(publishes, SECONDS, "a worker that publishes")
    assert f"{MARK}={children.mark}".encode() in Path(f"/proc/{found[0]}/environ").read_bytes()
    os.kill(found[0], signal.SIGKILL)
    return found[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no folder 'nowhere'. Name one with DXF drawings, or none"),
        (["file.txt"], "'file.txt' is not a folder. Name the one that it is in"),
        (["empty"], "there is no drawing (*.dxf) in 'empty'. Put one there, wait for one with --stay"),
        (["--out", "file.txt"], "cannot be made: File exists. Name another folder."),
        (["full", "--urgent", "other.dxf"], "--urgent: there is no 'other.dxf'"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_way_out(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "one.dxf").touch()
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "drawing-vault" / ".server").exists()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ezdxf", None)
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "ezdxf not installed. In the cloned folder: pip install '.[drawings]'" in result.output


def test_what_led_to_no_report_is_told_all_the_same(server: RealServer, namespace: str) -> None:
    """O8: an order that a person has cancelled; one that was interrupted is seen in the same way."""
    with Queue(server.url, namespace=namespace) as queue:
        vault.prepare(queue)
        params = {"path": "/in/a.dxf", "name": "a.dxf", "size": 1, "mtime": 2.0}
        order = queue.start(vault.RELEASE.name, params, id="a.1", title="a.dxf")
        order.cancel()
        entry = entry_of(order.record(), order.history())
    assert (entry.release, entry.outcome, entry.attempts) == ("a.1", "failed", 1)
    assert "cancelled" in entry.reason


def test_a_page_shows_only_what_it_was_told() -> None:
    evil = "<img src=x onerror=alert(1)>\"'&"
    found = [
        Entry("a.1", f"/in/{evil}.dxf", f"{evil}.dxf", 7, 1.0, "failed", f"check: {evil}", 3),
        Entry("b.2", "/in/b", "b", 7_000, 1.0, "released", "", 1, 2, _facts(texts=[evil], extents=[[0, 0], [2.5, 1]])),
    ]
    text = page.render(found, dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC))
    assert text.count("<img ") == 2
    assert "onerror" in text
    assert "<img src=x" not in text
    assert text.count(escape(evil)) == 4, "path, name, reason and text"
    assert text.index('class="card failed"') < text.index('class="card released"')
    assert "3 attempts" in text
    assert "2 repaired" in text
    assert "2.5 x 1" in text
    assert "2026-03-01 12:00:00 UTC" in text
    assert "default-src 'none'" in text
    assert "<script" not in text


def _facts(**more: Any) -> dict[str, Any]:
    return {"version": "R2010", "entities": 1, "layer_count": 1, "block_count": 0, "texts": [], "extents": None, **more}


def test_a_drawing_opens_no_other_file(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "#ff0088").save(tmp_path / "other.png")
    document = new("R2010")
    image = document.add_image_def(str(tmp_path / "other.png"), (40, 40))
    document.modelspace().add_image(image, (0, 0), (40, 40))
    document.saveas(tmp_path / "a.dxf")
    read, _ = drawings.read(tmp_path / "a.dxf")
    drawings.draw(read, tmp_path / "a.svg", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        colors = picture.convert("RGB").getcolors() or []
    assert not [color for _, color in colors if isinstance(color, tuple) and color[0] > 200 > color[1] + 100]
    assert "<image" not in (tmp_path / "a.svg").read_text("utf-8")


def test_the_third_licence_is_refused(tmp_path: Path) -> None:
    with licence(tmp_path), licence(tmp_path), pytest.raises(NoLicence), licence(tmp_path):
        pass
    with licence(tmp_path):
        pass
    journal = [line.split(" ", 2)[2] for line in (tmp_path / "journal").read_text().splitlines()]
    assert journal.count("refused") == 1
    assert journal[-2:] == ["licence-1 taken", "licence-1 returned"]
