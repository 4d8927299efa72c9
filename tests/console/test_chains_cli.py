"""`seatline chains`: what orders run through, as people define, see and stop it (O10, O11, O13, O14)."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.server import RealServer
from redis import Redis
from rules.step_worker import StepWorker

from seatline.console.chains_flow import drawn
from seatline.producer import Chain, Plan, Queue, Step
from seatline.shared.plan import chain_words

Cli = Callable[..., Any]

LINE = """
name = "release"
[[steps]]
name = "check"
type = "drawing.check"
[[steps]]
name = "publish"
type = "drawing.publish"
"""

RELEASE = Path(__file__).parents[2] / "examples" / "release.toml"


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


@pytest.fixture
def define(cli: Cli, tmp_path: Path) -> Callable[..., Any]:
    """Define a chain by the text of a file."""

    def run(text: str | bytes, *words: str) -> Any:
        path = tmp_path / "chain.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return cli("chains", "define", str(path), *words)

    return run


class TestDefine:
    """O13: versions; bad ones are refused with the place named, and nothing is stored."""

    def test_o13_new_the_same_changed(self, define: Callable[..., Any], queue: Queue) -> None:
        """O13: other steps are another version; how many orders at a time is the chain's, whatever its version."""
        assert define(LINE).lines == ["chain release: version 1 (new)"]
        assert define(LINE).lines == ["chain release: version 1 (the same)"]
        assert define("max_orders = 3\n" + LINE).lines == [
            "chain release: version 1 (the same; now at most 3 orders at a time)"
        ]
        assert define(LINE + "timeout = 5").lines == [
            "chain release: version 2 (changed; now any number of orders at a time)"
        ]
        assert define(LINE, "--name", "other").lines == ["chain other: version 1 (new)"]
        assert [(each.name, each.version) for each in queue.chains.list()] == [("other", 1), ("release", 2)]

    def test_from_stdin(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINE.encode())))
        assert cli("chains", "define", "-").lines == ["chain release: version 1 (new)"]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (LINE.replace('check"\n[', 'check"\nafter = "publish"\n[') + 'after = "check"',
             "chain release, step check: after: check -> publish -> check: each waits for another, so none can begin."),
            (LINE + 'after = "chek"', "chain release, step publish: after: 'chek' is no step of this chain"),
            (LINE + 'on_error = "mend"', "chain release, step publish: on_error: 'mend' is no step of this chain"),
            (LINE + '[[steps]]\nname = "check"\ntype = "a"', "chain release, step 3: name: there is a step check before it"),
            ('name = "release"', "chain release: steps: 0 of them; a chain has 1 to 100."),
            (LINE + 'codes = {"2-4" = "check", 3 = "check"}', "chain release, step publish: codes: 2-4 and 3 overlap"),
            (LINE + "time = 5", "chain release, step publish: time: it is not known here"),
            (LINE + "timeout = \npriority = 1", "chain: this is no TOML: Invalid value (at line 9, column"),
            ("[[steps]]", "chain: name: it is missing."),
            (b'name = "\xff"', "this is no text in UTF-8 (byte 8)."),
        ],
    )  # fmt: skip
    def test_r4_a_bad_one_is_refused(
        self, text: str | bytes, told: str, define: Callable[..., Any], redis: Redis, namespace: str
    ) -> None:
        """R4, O14: exit code 2, one line with file, chain, step and argument; nothing stored."""
        done = define(text)
        assert done.code == 2
        assert done.err.startswith("seatline: /")
        assert f"chain.toml: {told}" in done.err
        assert len(done.err.splitlines()) == 1
        assert not redis.keys(f"{{{namespace}}}:chain*")

    def test_no_such_file(self, cli: Cli) -> None:
        done = cli("chains", "define", "nowhere.toml")
        assert done.code == 2
        assert "nowhere.toml" in done.err


class TestDrawing:
    """O14: what follows what is seen."""

    def test_o14_branches_on_a_page(self, cli: Cli, queue: Queue) -> None:
        """O14, O4, O15: parallel branches and their join; all that a step says."""
        cli("chains", "define", str(RELEASE))
        shown = cli("chains", "show", "release").lines
        assert shown[0] == "Chain release  version 1  active"
        assert shown[1:3] == ["  title    Release drawings", "  orders   0 started of at most 4, 0 waiting, 0 held"]
        assert shown[3].startswith("  defined  20")
        assert shown[3].endswith(f"by {queue.by}")
        assert shown[5:] == [
            "  check       drawing.check    codes: 2 to repair, 10-19 to repair",
            "  |- publish  drawing.publish  on error: suspend; uses vault=1; timeout 10m; 5 attempts, 30s apart at first",
            (
                "  |- render   drawing.render   for each of files, as file, without those that fail; "
                "on error: set back 1m, 5m, 1h, at most 5 times"
            ),
            "  announce    mail.send        after publish, render; priority 50; if lost: interrupt",
            "  repair      drawing.repair   aside, then check",
        ]

    def test_on_a_narrow_terminal_it_is_wrapped(self, cli: Cli, screen: Callable[..., Any]) -> None:
        cli("chains", "define", str(RELEASE))
        shown = screen(72, "chains", "show", "release").lines
        assert max(map(len, shown)) <= 72
        at = next(number for number, line in enumerate(shown) if "|- publish" in line)
        assert shown[at + 1].startswith("  |                            ")

    @pytest.mark.parametrize(
        ("after", "picture"),
        [
            ("a b c", "a/b/c"),
            ("a b:a c:a d:b,c e:d", "a/|- b/|- c/d/e"),
            ("a b:a c:b d:a e:c,d", "a/|- b/|  c/|- d/e"),
            ("a b c:a,b", "|- a/|- b/c"),
            ("a b c:a", "|- a/|  c/`- b"),
            ("a b:a c:a d:c e:c", "a/|- b/`- c/   |- d/   `- e"),
            ("a b:a c:b d:b e:c,d f:a g:e,f", "a/|- b/|  |- c/|  |- d/|  e/|- f/g"),
            ("a b:a c:a d:a e:b,c f:d,e", "a/|- b/|- c/|- d/|- e/f"),
            ("c:b b:a a", "a/b/c"),
        ],
    )
    def test_o14_pictures(self, after: str, picture: str) -> None:
        """O14: a branch stands beneath its fork, the join in line with it; steps stand behind those they come after."""
        steps = [word.partition(":") for word in after.split()]
        words, _ = chain_words(
            Chain("c", [Step(name, "t", after=of.split(",") if of else ()) for name, _, of in steps])
        )
        plan = Plan.read(dict(zip(words[::2], words[1::2], strict=True)))
        assert "/".join(map(str, drawn(plan))) == picture

    def test_json(self, cli: Cli) -> None:
        cli("chains", "define", str(RELEASE))
        data = json.loads(cli("chains", "show", "release", "-o", "json").out)
        assert (data["name"], data["version"], data["state"], data["max_orders"]) == ("release", 1, "active", 4)
        check, publish, render, announce, repair = data["steps"]
        assert check["codes"] == {"2": "repair", "10-19": "repair"}
        assert publish["retry"] == {"attempts": 5, "first": 30.0, "factor": 2.0, "most": 600.0, "jitter": 0.1}
        assert (publish["uses"], publish["timeout"], publish["on_error"]) == ({"vault": 1}, 600.0, "suspend")
        assert (render["each"], render["item"], render["partial"], render["setbacks"]) == ("files", "file", "join", 5)
        assert (announce["after"], announce["priority"], announce["if_lost"]) == (
            ["publish", "render"],
            50,
            "interrupt",
        )
        assert (repair["aside"], repair["then"], data["first"]) == (True, "check", ["check"])


class TestGates:
    """O11: stopped and skipped, and who stands in front."""

    def test_o11_a_chain_and_a_step(
        self, cli: Cli, define: Callable[..., Any], queue: Queue, server: RealServer, namespace: str
    ) -> None:
        """O11: said by list and show with the orders in front; lifted again."""
        define(LINE)
        worker = StepWorker(server.url, namespace, ["drawing.check", "drawing.publish"])
        assert cli("chains", "stop", "release", "publish").lines == ["step publish of chain release is stopped"]
        assert cli("chains", "stop", "release", "publish").lines == [
            "step publish of chain release was stopped already"
        ]
        queue.start("release", id="a")
        worker.take()
        worker.end("a", "check")
        assert cli("chains", "stop", "release").lines == ["chain release is stopped"]
        queue.start("release", id="b")
        assert cli("chains", "skip", "release", "check").lines == [
            "step check of chain release is passed without running"
        ]
        shown = cli("chains", "show", "release").lines
        assert shown[0] == "Chain release  version 1  stopped"
        assert shown[1] == "  orders   1 started, 1 waiting, 1 held"
        assert shown[3].startswith("  stopped  since 20")
        assert shown[3].endswith(f" by {queue.by}")
        assert shown[5].startswith("  check    drawing.check    SKIPPED since 20")
        assert shown[6].startswith("  publish  drawing.publish  STOPPED since 20")
        assert shown[6].endswith("; 1 order held")
        (line,) = cli("chains", "list").lines[1:]
        assert line.split() == ["release", "1", "stopped", "1", "-", "1", "1", "publish", "check"]
        (data,) = json.loads(cli("chains", "list", "-o", "json").out)
        assert (data["started"], data["waiting"], data["held"]) == (1, 1, {"publish": 1})
        assert data["stopped"]["by"] == data["stops"]["publish"]["by"] == data["skips"]["check"]["by"] == queue.by
        assert cli("chains", "unskip", "release", "check").lines == ["step check of chain release runs again"]
        assert cli("chains", "unskip", "release", "check").lines == ["step check of chain release was not skipped"]
        assert cli("chains", "start", "release", "publish").lines == ["step publish of chain release goes on"]
        assert cli("chains", "start", "release").lines == ["chain release goes on"]
        assert cli("chains", "start", "release").lines == ["chain release was not stopped"]
        worker.store.close()

    def test_o10_a_full_chain(self, cli: Cli, define: Callable[..., Any], queue: Queue) -> None:
        """O10: as many as it has are started."""
        define("max_orders = 1\n" + LINE)
        queue.start("release")
        queue.start("release")
        assert cli("chains", "list").lines[1].split() == ["release", "1", "full", "1", "1", "1", "0"]

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["show", "relase"], "seatline: chain relase: there is no chain of that name. `seatline chains list`"),
            (["stop", "relase"], "seatline: chain relase: there is no chain of that name. `seatline chains list`"),
            (
                ["stop", "release", "chek"],
                "seatline: step chek: chain release has no such step. `seatline chains show rel",
            ),
            (
                ["skip", "release", "chek"],
                "seatline: step chek: chain release has no such step. `seatline chains show rel",
            ),
        ],
    )
    def test_slips_are_told(self, words: list[str], told: str, cli: Cli, define: Callable[..., Any]) -> None:
        define(LINE)
        done = cli("chains", *words)
        assert done.code == 1
        assert done.err.startswith(told)

    def test_none_yet(self, cli: Cli) -> None:
        done = cli("chains", "list")
        assert (done.code, done.out) == (0, "")
        assert done.err == "No chains. `seatline chains define FILE.toml` makes one.\n"
