"""Loads: each line of a file becomes a job exactly once, whoever is killed, however often it is begun again (Q4, R2)."""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis
from rules.support import job_hash

from seatline.producer import Queue
from seatline.producer.load import Bad, Input, Load, Outcome, Shape
from seatline.producer.load_lines import LINE_MOST
from seatline.shared.calls import loads
from seatline.shared.codec import join_pieces, unpack_value
from seatline.shared.errors import Closed, Conflict, InvalidInput, OutcomeUnknown
from seatline.shared.job import Job

SHAPE = Shape(type="t")
KILLS = 20


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of lines ``{"n": 1}``, ``{"n": 2}``, ..., or of these bytes."""

    def write(content: int | bytes, name: str = "jobs.jsonl") -> Path:
        path = tmp_path / name
        if isinstance(content, int):
            content = b"".join(b'{"n": %d}\n' % n for n in range(1, content + 1))
        path.write_bytes(content)
        return path

    return write


def load(queue: Queue, source: Path | bytes, shape: Shape = SHAPE, **options: Any) -> tuple[Outcome, list[Bad]]:
    """Load it; returns what came of it and the bad lines that were told."""
    told: list[Bad] = []
    given = Input(source if isinstance(source, Path) else io.BytesIO(source))
    return Load(given, shape, bad=told.append, **options).run(queue), told


def stored(client: Redis, namespace: str) -> Iterator[dict[str, Any]]:
    """Yield the params of every job there is."""
    names = list(client.scan_iter(match=f"{{{namespace}}}:job:????????????????", count=5_000))
    for start in range(0, len(names), 5_000):
        pipeline = client.pipeline(transaction=False)
        for name in names[start : start + 5_000]:
            pipeline.hgetall(name)
        for found in pipeline.execute():
            params = unpack_value(join_pieces("params", {field.decode(): value for field, value in found.items()}))
            assert isinstance(params, dict)
            yield params


def assert_each_once(client: Redis, namespace: str, count: int) -> None:
    assert Counter(params["n"] for params in stored(client, namespace)) == Counter(range(1, count + 1))


def line_of(queue: Queue, id: str) -> int:
    record = queue.store.read(loads.load_record(queue.store.keys, id))
    return 0 if record is None else record.position.line


def start(spawn: Callable[..., Child], url: str, namespace: str, *words: object) -> Child:
    args = [sys.executable, "-m", "seatline.console.main", "load", *map(str, words), "--type", "t"]
    return spawn(args, env={"SEATLINE_URL": url, "SEATLINE_NAMESPACE": namespace})


def passed(queue: Queue, id: str, line: int, child: Child) -> bool:
    return line_of(queue, id) > line or not child.running


class TestEachLineOnce:
    def test_q4_a_line_becomes_a_job_at_priority_100(self, queue: Queue, file: Callable[..., Path]) -> None:
        """Q4: the default priority of a load is 100; its jobs are tagged."""
        outcome, told = load(queue, file(3))
        records = list(queue.jobs())
        assert [(record.params, record.priority, record.type) for record in records] == [
            ({"n": n}, 100, "t") for n in (1, 2, 3)
        ]
        assert {record.tags for record in records} == {(f"load:{outcome.id}",)}
        assert (outcome.accepted, outcome.there, outcome.rejected, outcome.ended, told) == (3, 0, 0, True, [])

    def test_again_adds_nothing(self, queue: Queue, file: Callable[..., Path], redis: Redis, namespace: str) -> None:
        """R2: the same file is the same load, whatever its name and however it is packed."""
        first, _ = load(queue, file(2_500))
        again, _ = load(queue, file(2_500, "other.jsonl"))
        path = file(gzip.compress(b"".join(b'{"n": %d}\n' % n for n in range(1, 2_501))), "jobs.jsonl.gz")
        packed, _ = load(queue, path)
        assert (again.id, again.accepted, again.there, again.ended) == (first.id, 0, 2_500, True)
        assert (packed.id, packed.accepted, packed.there) == (first.id, 0, 2_500)
        assert_each_once(redis, namespace, 2_500)

    @pytest.mark.parametrize(
        "other", [{"type": "u"}, {"priority": 5}, {"tags": ("x",)}, {"tenant": "v"}, {"title": "T"}]
    )
    def test_other_options_are_another_load(
        self, queue: Queue, file: Callable[..., Path], other: dict[str, Any]
    ) -> None:
        first, _ = load(queue, file(3))
        second, _ = load(queue, file(3), Shape(**{"type": "t", **other}))
        assert first.id != second.id
        assert second.accepted == 3
        with pytest.raises(Conflict, match="other options"):
            load(queue, file(3), Shape(**{"type": "t", **other}), id=first.id)

    def test_other_content_under_the_same_id_is_refused(self, queue: Queue, file: Callable[..., Path]) -> None:
        load(queue, file(2_500), id="mine")
        for content in (b'{"n": 0}\n' * 2_500, b'{"n": 1}\n'):
            with pytest.raises(Conflict, match="another content"):
                load(queue, file(content), id="mine")
        assert len(list(queue.jobs())) == 2_500

    def test_a_file_with_a_name_may_grow(
        self, queue: Queue, file: Callable[..., Path], redis: Redis, namespace: str
    ) -> None:
        assert load(queue, file(1_200), id="log")[0].accepted == 1_200
        grown, _ = load(queue, file(3_100), id="log")
        assert (grown.accepted, grown.there) == (1_900, 1_200)
        assert_each_once(redis, namespace, 3_100)

    def test_a_limit_takes_the_first_jobs(
        self, queue: Queue, file: Callable[..., Path], redis: Redis, namespace: str
    ) -> None:
        lines = b'\n{"n": 1}\nbad\n' + b"".join(b'{"n": %d}\n' % n for n in range(2, 2_501))
        taken, told = load(queue, file(lines), limit=1_500)
        assert (taken.accepted, taken.ended, [bad.line for bad in told]) == (1_500, False, [3])
        again, _ = load(queue, file(lines), limit=1_500)
        assert (again.accepted, again.there) == (0, 1_500)
        rest, told = load(queue, file(lines))
        assert (rest.accepted, rest.there, rest.rejected, rest.ended) == (1_000, 1_500, 1, True)
        assert [bad.line for bad in told] == [3]
        assert_each_once(redis, namespace, 2_500)

    def test_it_outlives_its_jobs(self, queue: Queue, file: Callable[..., Path], redis: Redis, namespace: str) -> None:
        """Jobs that were removed, or trimmed, do not come back."""
        outcome, _ = load(queue, file(3))
        for record in list(queue.jobs()):
            queue.handle(record.id).cancel()
            queue.handle(record.id).remove()
        again, _ = load(queue, file(3))
        assert (again.accepted, again.there, list(queue.jobs())) == (0, 3, [])
        left = redis.pttl(f"{{{namespace}}}:load:{outcome.id}")
        assert 0.99 * loads.LOAD_LIFE < left / 1000 <= loads.LOAD_LIFE

    def test_two_at_the_same_time(
        self, make_queue: Callable[..., Queue], file: Callable[..., Path], redis: Redis, namespace: str
    ) -> None:
        """Of two runs one takes a batch; the other says so, or goes on behind it."""
        path, ends = file(8_000), list[Any]()

        def run() -> None:
            try:
                ends.append(load(make_queue(), path)[0].ended)
            except Conflict as error:
                ends.append(str(error))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        assert True in ends
        assert all(end is True or "at the same time" in end for end in ends)
        assert_each_once(redis, namespace, 8_000)

    def test_a_stream_of_another_place_is_told(self, make_queue: Callable[..., Queue]) -> None:
        """What cannot be read again ends with an error, and says how to go on."""

        class Slow(io.RawIOBase):
            """Lets somebody else load the same lines while it is read."""

            def __init__(self) -> None:
                self.lines = iter([b'{"n": 1}\n'] * 1_000 + [b'{"n": 2}\n'] * 1_000 + [b""])
                self.count = 0

            def readline(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002
                self.count += 1
                if self.count == 1_900:
                    Load(Input(io.BytesIO(b'{"n": 1}\n' * 1_000 + b'{"n": 2}\n' * 500)), SHAPE, id="s").run(
                        make_queue()
                    )
                return next(self.lines)

        slow: Any = Slow()
        with pytest.raises(OutcomeUnknown, match="the same id"):
            Load(Input(slow), SHAPE, id="s").run(make_queue())


class TestKilled:
    @pytest.mark.timeout(300)
    def test_r2_killed_at_random_points_and_repeated(
        self, queue: Queue, file: Callable[..., Path], spawn: Callable[..., Child], server: RealServer, redis: Redis,
        namespace: str,
    ) -> None:  # fmt: skip
        """R2: SIGKILL 20 times in the middle, then once to the end: each line is a job, once."""
        count, chance = 80_000, random.Random(20)
        path = file(count)
        id_, last, killed = Load(Input(path), SHAPE).outcome.id, 0, 0
        for _ in range(KILLS):
            child = start(spawn, server.url, namespace, path)
            wait_until(partial(passed, queue, id_, last + chance.randint(0, 1_500), child), 30)
            killed += child.running
            child.kill()
            last = line_of(queue, id_)
        assert killed == KILLS
        assert 0 < last < count
        child = start(spawn, server.url, namespace, path, "-o", "json")
        assert child.wait(60) == 0, child.errors()
        told = json.loads(child.output())
        assert (told["accepted"], told["there"], told["rejected"]) == (count - last, last, 0)
        assert_each_once(redis, namespace, count)

    @pytest.mark.timeout(300)
    def test_r3_the_server_is_killed_meanwhile(
        self, durable_server: RealServer, make_queue: Callable[..., Queue], file: Callable[..., Path],
        spawn: Callable[..., Child], namespace: str,
    ) -> None:  # fmt: skip
        """R3: the load waits for the server and goes on; then it is killed itself, and repeated."""
        count, path = 60_000, file(60_000)
        queue = make_queue(durable_server.url, deadline=20)
        id_ = Load(Input(path), SHAPE).outcome.id
        child = start(spawn, durable_server.url, namespace, path)
        wait_until(partial(passed, queue, id_, 5_000, child), 30)
        durable_server.restart(kill=True)
        wait_until(partial(passed, queue, id_, 20_000, child), 30)
        assert child.running, child.errors()
        child.kill()
        child = start(spawn, durable_server.url, namespace, path)
        assert child.wait(60) == 0, child.errors()
        with durable_server.client() as client:
            assert_each_once(client, namespace, count)

    def test_a_server_that_has_lost_its_last_writes(
        self, private_server: Callable[..., RealServer], make_queue: Callable[..., Queue], file: Callable[..., Path],
        namespace: str,
    ) -> None:  # fmt: skip
        """The load is less far than we thought: the file is read again from there."""
        server = private_server()  # it keeps nothing
        queue, restarted = make_queue(server.url, deadline=20), list[int]()

        def on(outcome: Outcome) -> None:
            if outcome.line > 4_000 and not restarted:
                restarted.append(outcome.line)
                server.restart(kill=True)

        outcome = Load(Input(file(10_000)), SHAPE, on=on).run(queue)
        assert restarted
        assert (outcome.ended, outcome.accepted) == (True, 10_000)
        with server.client() as client:
            assert_each_once(client, namespace, 10_000)


class TestRejected:
    def test_the_rest_goes_on(self, queue: Queue, file: Callable[..., Path]) -> None:
        lines = [
            '{"type": "a", "params": {"x": 1}}', "not json", "", '{"type": "a b"}', '{"type": "a", "prio": 3}', "[1]",
            '{"params": {}}', '{"type": "a", "params": 5}', '{"type": "a", "priority": 0}', '{"type": "a"} x',
            '{"type": "a", "params": {"x": NaN}}', '{"type": "a", "at": "tomorrow"}', '{"type": "a", "tags": "red"}',
            '{"type": "a", "params": {"\\ud800": 1}}', "[" * 100_000, '{"type": null}', '{"type": "a", "uses": 5}',
            '{"type": "a", "params": {"x": ' + "9" * 5_000 + "}}", '{"type": "b", "params": {"x": 2}}',
        ]  # fmt: skip
        outcome, told = load(queue, file("\n".join(lines).encode()), Shape())
        assert [(record.type, record.params) for record in queue.jobs()] == [("a", {"x": 1}), ("b", {"x": 2})]
        assert [bad.line for bad in told] == [2, *range(4, 19)]
        assert outcome.rejected == len(told) == 16
        assert told[0] == Bad(2, "not JSON: nothing that can be read at column 1.", "not json")
        for bad, said in zip(
            told,
            ("not JSON", "type", "'prio' is no field", "no object", "--type", "params", "priority", "more behind",
             "NaN", "time zone", "tags", "Unicode", "nested", "type", "uses", "not JSON"),
            strict=True,
        ):  # fmt: skip
            assert said in bad.reason, bad

    def test_what_only_the_server_can_see(self, queue: Queue, file: Callable[..., Path]) -> None:
        """Tokens and keys that stand for other jobs, tenants that are missing: these lines, not their batch."""
        queue.enqueue("a", {"n": 1}, token="mine")
        key = queue.enqueue("a", {"n": 2}, unique="key").id
        queue.require_tenant()
        said: Sequence[dict[str, Any]] = [
            {"params": {"n": 3}, "tenant": "v"},
            {"params": {"n": 4}},
            {"params": {"n": 5}, "tenant": "v", "token": "mine"},
            {"params": {"n": 6}, "tenant": "v", "unique": "key", "on_duplicate": "refuse"},
            {"params": {"n": 7}, "tenant": "v", "unique": "key"},
            {"params": {"n": 8}},
            {"params": {"n": 9}, "tenant": "v", "supersede": "s"},
            {"params": {"n": 10}, "tenant": "v", "supersede": "s"},
        ]
        path = file("\n".join(map(json.dumps, said)).encode())
        outcome, told = load(queue, path, Shape(type="a"))
        assert (outcome.accepted, outcome.existed, outcome.rejected) == (3, 1, 4)
        assert [(bad.line, bad.reason.partition(":")[0]) for bad in told] == [
            (2, "tenant"), (3, "token"), (4, "unique"), (6, "tenant"),
        ]  # fmt: skip
        assert str(int(key)) in told[2].reason
        assert [record.params["n"] for record in queue.jobs()] == [1, 2, 3, 10]
        assert [record.reason for record in queue.jobs(state="skipped")]
        again, told = load(queue, path, Shape(type="a"))
        assert (again.accepted, again.rejected, again.untold, told) == (0, 4, 4, [])

    def test_a_closed_namespace_takes_none(self, queue: Queue, file: Callable[..., Path]) -> None:
        queue.shut()
        with pytest.raises(Closed):
            load(queue, file(3))
        queue.reopen()
        assert load(queue, file(3))[0].accepted == 3

    def test_they_are_told_again_when_it_is_repeated(self, queue: Queue, file: Callable[..., Path]) -> None:
        content = b'bad\n{"n": 1}\n' * 1_500
        first, told = load(queue, file(content), limit=600)
        assert (first.accepted, len(told)) == (600, 600)
        rest, told = load(queue, file(content))
        assert (rest.accepted, rest.there, rest.rejected, len(told)) == (900, 600, 1_500, 1_500)

    def test_check_sends_nothing(self, redis: Redis, file: Callable[..., Path]) -> None:
        outcome = Load(Input(file(b'bad\n{"n": 1}\n' * 1_500)), SHAPE).check()
        assert (outcome.accepted, outcome.rejected, outcome.ended) == (1_500, 1_500, True)
        assert redis.dbsize() == 0


class TestText:
    @pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\n", b"\xef\xbb\xbf"])
    def test_empty(self, queue: Queue, file: Callable[..., Path], content: bytes) -> None:
        outcome, told = load(queue, file(content))
        assert (outcome.accepted, told) == (0, [])

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
    @pytest.mark.parametrize("last", [True, False])
    def test_line_ends_and_a_mark_in_front(
        self, queue: Queue, file: Callable[..., Path], end: bytes, last: bool
    ) -> None:
        content = b"\xef\xbb\xbf" + end.join([b'{"n": 1}', b'{"n": "\xc3\xbc"}']) + (end if last else b"")
        assert load(queue, file(content))[0].accepted == 2
        assert [record.params["n"] for record in queue.jobs()] == [1, "ü"]

    def test_not_utf_8(self, queue: Queue, file: Callable[..., Path]) -> None:
        outcome, (bad,) = load(queue, file('{"n": 1}\n{"n": "ü"}\n{"n": 3}\n'.encode("latin-1")))
        assert (outcome.accepted, bad.line, bad.text) == (2, 2, '{"n": "\\xfc"}')
        assert "not UTF-8: byte 8 of the line is 0xfc" in bad.reason
        for codec in ("utf-16", "utf-16-be"):
            text = ("\ufeff" if codec.endswith("be") else "") + '{"n": 1}\n'
            with pytest.raises(InvalidInput, match="iconv"):
                load(queue, file(text.encode(codec)))

    def test_a_huge_line(self, queue: Queue, file: Callable[..., Path], redis: Redis, namespace: str) -> None:
        """It is told and passed over, in bounded memory; the lines behind it have their numbers."""
        huge = b'{"n": "' + b"x" * 2 * LINE_MOST + b'"}'
        content = b'{"n": 1}\n' + huge + b"\nbad\n" + b'{"n": "' + b"y" * 300_000 + b'"}\n{"n": 2}\n' + huge
        path = file(content)
        outcome, told = load(queue, path)
        assert [(bad.line, bad.cut, len(bad.text)) for bad in told if bad.cut] == [
            (2, True, 65_536), (4, True, 65_536), (6, True, 65_536),
        ]  # fmt: skip
        assert "4,194,304 bytes" in told[0].reason
        assert "262,144" in told[2].reason
        assert (outcome.accepted, outcome.rejected, outcome.line) == (2, 4, 6)
        assert load(queue, path)[0].there == 2
        assert_each_once(redis, namespace, 2)

    def test_one_array_is_no_lines(self, queue: Queue, file: Callable[..., Path]) -> None:
        for content in (b'[{"n": 1}, {"n": 2}]', b'[\n{"n": 1}\n]'):
            with pytest.raises(InvalidInput, match=r"jq -c '\.\[\]'"):
                load(queue, file(content))

    def test_a_file_that_cannot_be_unpacked(self, file: Callable[..., Path]) -> None:
        for content in (b"no", gzip.compress(b'{"n": 1}\n' * 100)[:-9]):
            with pytest.raises(InvalidInput, match="unpacked"):
                Input(file(content, "x.jsonl.gz"))

    def test_a_file_that_changes_meanwhile(self, queue: Queue, file: Callable[..., Path]) -> None:
        path = file(3)
        source = Input(path)
        with path.open("ab") as grown:
            grown.write(b'{"n": 4}\n')
        assert Load(source, SHAPE).run(queue).accepted == 3  # what it was when it got its id
        source = Input(path)
        path.write_bytes(b'{"n": 5}\n' * 4)
        with pytest.raises(InvalidInput, match="changed"):
            Load(source, SHAPE).run(queue)


class TestCsv:
    def read(self, queue: Queue, content: bytes, **shape: Any) -> tuple[list[dict[str, Any]], list[Bad]]:
        _, told = load(queue, content, Shape(**{"format": "csv", "type": "t", **shape}))
        return [record.params for record in queue.jobs()], told

    def test_columns_are_params(self, queue: Queue) -> None:
        params, told = self.read(queue, b'\xef\xbb\xbffile,rev\r\na.dwg,1\r\n\r\n"b, ""2"".dwg",\r\n"two\nlines",x\r\n')
        assert params == [
            {"file": "a.dwg", "rev": "1"}, {"file": 'b, "2".dwg', "rev": ""}, {"file": "two\nlines", "rev": "x"},
        ]  # fmt: skip
        assert not told

    def test_values_may_be_json(self, queue: Queue) -> None:
        params, _ = self.read(queue, b"a;b;c;d\n1;2.5;true;[1]\nnull;x;;1e999\n", json_values=True, delimiter=";")
        assert params == [{"a": 1, "b": 2.5, "c": True, "d": "[1]"}, {"a": None, "b": "x", "c": "", "d": "1e999"}]

    def test_columns_may_have_other_names_or_none(self, queue: Queue) -> None:
        content = b"part no,junk,urgency,who\n7,x,3,v\n8,x,,\n9,x,low,\n"
        columns = {"part no": "part", "junk": "", "urgency": "@priority", "who": "@tenant"}
        params, (bad,) = self.read(queue, content, columns=columns)
        assert params == [{"part": "7"}, {"part": "8"}]
        assert [(record.priority, record.tenant) for record in queue.jobs()] == [(3, "v"), (100, None)]
        assert (bad.line, bad.reason) == (4, "priority: 'low' is not a number.")

    def test_bad_rows(self, queue: Queue) -> None:
        content = b'a,b\n1,2\n1\n1,2,3\n1,"2"x\n1,\xfc\n3,4\n5,"6\n7,8\n9,10\n'
        params, told = self.read(queue, content)
        assert params == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
        assert [(bad.line, bad.reason[:8]) for bad in told] == [
            (3, "1 values"), (4, "3 values"), (5, "not CSV:"), (6, "not UTF-"), (8, "not CSV:"),
        ]  # fmt: skip
        assert "lines 8 to 10" in told[-1].reason
        assert told[-1].text == '5,"6\n7,8\n9,10'

    @pytest.mark.parametrize(
        ("content", "shape", "said"),
        [
            (b"a,a\n1,2\n", {}, "for a second time"),
            (b"a,\n1,2\n", {}, "column 2 has no name"),
            (b"a\n1\n", {"columns": {"b": "c"}}, "none of the header's"),
            (b"a\n1\n", {"columns": {"a": "@uses"}}, "no field"),
            (b"a\n1\n", {"delimiter": ";;"}, "one character"),
            (b'"a\n1\n', {}, "header"),
            (b"\xfc\n1\n", {}, "UTF-8"),
        ],
    )
    def test_a_bad_header_is_an_error_of_the_file(
        self, queue: Queue, content: bytes, shape: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(InvalidInput, match=said):
            self.read(queue, content, **shape)

    def test_it_goes_on_in_the_middle_of_rows_over_several_lines(
        self, queue: Queue, file: Callable[..., Path], redis: Redis, namespace: str
    ) -> None:
        path = file(b"n,text\n" + b"".join(b'%d,"one\ntwo"\n' % n for n in range(1, 3_001)), "rows.csv")
        shape = Shape(format="csv", type="t", json_values=True)
        for limit in (1, 777, 2_000, None):
            load(queue, path, shape, limit=limit)
        assert_each_once(redis, namespace, 3_000)


def test_words_are_those_of_a_job(queue: Queue, file: Callable[..., Path], redis: Redis, namespace: str) -> None:
    """What a load stores for a line is what `enqueue` stores for the same job, field by field."""
    wanted: list[dict[str, Any]] = [
        {"params": {}}, {"params": {"file": "x" * 50}}, {"params": {"file": "x" * 62}}, {"params": {"file": "x" * 900}},
        {"params": {"file": "x" * 2_000, "n": [1, {"a": None}]}}, {"params": {"n": 1}, "priority": 3},
        {"params": {"n": 1}, "result_ttl": 5, "uses": {"vault": 1}}, {"params": {"n": 1}, "type": "b", "tags": ["y"]},
    ]  # fmt: skip
    lines = "\n".join(json.dumps({"type": "a", **each}) for each in wanted)
    outcome, _ = load(queue, file(lines.encode()), Shape(tenant="v", title="T", tags=("x",)))
    for each in wanted:
        each["tags"] = ["x", f"load:{outcome.id}", *each.get("tags", ())]
    ids = queue.enqueue_many(
        Job(**{"type": "a", "priority": 100, "tenant": "v", "title": "T", **each}) for each in wanted
    )
    for number, id_ in enumerate(ids, 1):
        loaded, enqueued = (list(job_hash(redis, namespace, each).items()) for each in (f"{number:016}", id_))
        assert [pair for pair in loaded if pair[0] != b"created"] == [
            pair for pair in enqueued if pair[0] != b"created"
        ]
