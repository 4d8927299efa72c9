"""Each script keeps its header's word, and the house rules for Lua (STYLE, DESIGN section 4)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.corpus import CASES, Case, Scene
from harness.server import RealServer
from redis import Redis

from scripts.luac import global_names
from seatline.shared import scripts
from seatline.shared.errors import Refused
from seatline.shared.keys import PATTERNS

LINES_MOST = 120
#: What a library may be: each of these is in the Lua of every server, and of fakeredis.
GLOBALS = {
    "KEYS",
    "ARGV",
    "redis",
    "string",
    "table",
    "math",
    "tonumber",
    "tostring",
    "ipairs",
    "pairs",
    "unpack",
    "type",
}
#: A slot whose plain name is taken in the body.
ALSO = {"pool": "name", "losses": "most"}
#: Everything the scripts send; all of it is in Redis 6.2. A new one is to be thought about: is it there, is it bounded?
COMMANDS = {
    "TIME", "DEL", "EXISTS", "PERSIST", "PEXPIRE", "PTTL", "TYPE", "GET", "MGET", "SET", "INCRBY",
    "HGET", "HMGET", "HGETALL", "HSET", "HSETNX", "HDEL", "HEXISTS", "HSTRLEN", "HINCRBY",
    "LINDEX", "LLEN", "LPUSH", "LRANGE", "RPUSH", "LTRIM", "SADD", "SISMEMBER", "SREM", "SMEMBERS", "UNLINK",
    "XADD", "XDEL", "XREVRANGE",
    "ZADD", "ZREM", "ZCARD", "ZSCORE", "ZRANK", "ZINCRBY", "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREMRANGEBYSCORE",
}  # fmt: skip
#: Scripts that end, free or forget something: a server without memory lets them through, as their first write asks for
#: none and the rest follows. `submit` must not get through: it begins with one that asks.
DRAINING = {"turn", "renew", "reap", "cancel", "remove", "leave", "session_close", "session_renew", "pool_remove",
            "ask", "sleep", "pool_refused", "order_act", "chain_admit", "order_wait", "repair"}  # fmt: skip
#: ... and cases of theirs that store an answer and nothing else.
ANSWER_ONLY = {
    "turn-no_offer", "pool_remove-busy", "remove-step", "order_act-missing", "order_act-goto_running", "order_wait-ended",
}  # fmt: skip

NAMES = scripts.names()
FRAGMENTS = sorted({need for name in NAMES for need in scripts.script(name).needs})


def body(name: str) -> str:
    """Return a script without its header, or a fragment, and without comments."""
    lines = scripts._source(name).splitlines()
    return "\n".join(re.sub(r"(^|\s)--.*$", "", line) for line in lines)


def parts(text: str) -> list[str]:
    """Split at commas that are in no brackets."""
    found, depth, last = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            found.append(text[last:at])
            last = at + 1
    return [part.strip() for part in [*found, text[last:]]]


def bindings(name: str) -> tuple[dict[str, str], str]:
    """Return what the first lines bind ('ARGV[3]' -> name, 'FIRST' -> number), and the rest of the body."""
    lines = [line for line in body(name).splitlines() if line.strip()]
    bound: dict[str, str] = {}
    while lines and (match := re.fullmatch(r"local ([\w, ]+) = (.*)", lines[0])):
        names, values = parts(match[1]), parts(match[2])
        if len(names) != len(values) or not any("ARGV[" in v or v.isdigit() for v in values):
            break
        for local, value in zip(names, values, strict=True):
            slot = re.search(r"(?:KEYS|ARGV)\[\d+\]", value)
            if slot:
                bound[slot[0]] = local
            else:
                bound[local] = value
        lines.pop(0)
    return bound, "\n".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_each_slot_is_bound_to_its_name_and_used(name: str) -> None:
    script = scripts.script(name)
    bound, rest = bindings(name)
    assert not re.search(r"(KEYS|ARGV)\[\d+\]", rest), "the body calls a slot by its number"
    assert script.keys[0] == "about"
    for number, word in enumerate(script.words, 1):
        local = bound.get(f"ARGV[{number}]")
        if local is None:
            assert bound.get("FIRST") == str(number), f"ARGV[{number}] {word} is bound to nothing"
            assert number == len(script.words), "a list comes last"
            local = "FIRST"
        else:
            assert local in {word, ALSO.get(word)}, f"ARGV[{number}] is {word} in the header and {local} in the body"
        assert re.search(rf"\b{local}\b", rest), f"{local} is not used"
    for number, word in enumerate(script.keys[1:], 2):
        assert bound[f"KEYS[{number}]"] == word
    assert len(set(bound.values())) == len(bound)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_lists_the_words_it_returns(name: str) -> None:
    script = scripts.script(name)
    said: set[str] = set()
    for source in [body(name), *(body(need) for need in script.needs if need in {"_lane", "_submit"})]:
        for line in source.splitlines():
            if re.search(r"\breturn\b|\breply\b", line):
                said |= set(re.findall(r"(?<!\w)\{'([a-z-]+)'", line))
    assert said == set(script.returns)
    assert len(set(script.returns)) == len(script.returns)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short_and_begins_with_its_intent(name: str) -> None:
    script = scripts.script(name)
    assert len(scripts._source(name).splitlines()) <= LINES_MOST
    assert len(script.intent) > 10
    assert script.needs[0] == "_base"


@pytest.mark.parametrize("name", NAMES)
def test_its_fragments_exist_and_come_after_what_they_need(name: str) -> None:
    before: list[str] = []
    for need in scripts.script(name).needs:
        told = re.search(r"Needs ([^.]*)\.\n", scripts._source(need))
        for other in re.findall(r"_\w+", told[1]) if told else []:
            assert other in before, f"{need} needs {other} in front of it"
        before.append(need)


@pytest.mark.parametrize("name", NAMES)
def test_each_fragment_is_used(name: str) -> None:
    """A fragment is there for something that it defines: in the script, or in a fragment after it."""
    needs = scripts.script(name).needs
    for at, need in enumerate(needs):
        later = "\n".join([*(body(other) for other in needs[at + 1 :]), body(name)])
        defined = re.findall(r"^local function (\w+)|^local ([\w, ]+) =", body(need), re.MULTILINE)
        words = [word.strip() for pair in defined for names in pair for word in names.split(",") if word.strip()]
        assert any(re.search(rf"\b{word}\b", later) for word in words), f"{need} is not used"


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_fragment_says_what_it_is_for(name: str) -> None:
    assert scripts._source(name).startswith(f"-- {name}: ")


@pytest.mark.parametrize("name", NAMES)
def test_no_global_but_those_of_every_server(name: str) -> None:
    read, written = global_names(scripts.script(name).text)
    assert read <= GLOBALS, f"undefined: {read - GLOBALS}"
    assert not written


@pytest.mark.parametrize("name", [*NAMES, *FRAGMENTS])
def test_only_known_commands(name: str) -> None:
    text = body(name)
    sent = re.findall(r"redis\.call\(\s*'([A-Z]+)'", text)
    assert len(sent) == len(re.findall(r"\bredis\b", text)), (
        "redis is used for something else than redis.call('COMMAND'"
    )
    assert set(sent) <= COMMANDS
    assert sent.count("TIME") == (name == "_base")


@pytest.mark.parametrize("name", [*NAMES, *FRAGMENTS])
def test_each_key_is_drawn_in_keys(name: str) -> None:
    """Names are built as ``ns .. 'pool:' .. name .. ':in_use'``: heads and tails must be those of `keys.PATTERNS`."""
    drawn = "|".join(PATTERNS)
    fixed = {word for pattern in PATTERNS for word in pattern.split("|") if re.fullmatch(r"[a-z]+", word)}
    heads = {f"{head}:" for head in re.findall(r"([a-z]+):", drawn)}
    text = body(name)
    for built in re.findall(r"\bns \.\. '([^']*)'", text):
        assert built in fixed or built in heads, f"{built} is no key of keys.PATTERNS"
    tails = set(re.findall(r":([a-z_]+)", drawn))
    for tail in re.findall(r"(?:key|id|name|pool) \.\. ':([a-z_]+)'", text):
        assert tail in tails, f":{tail} is no part of a key of keys.PATTERNS"


@pytest.mark.parametrize("name", [*NAMES, *FRAGMENTS])
def test_no_long_number_becomes_text_by_itself(name: str) -> None:
    """A sum with ``now`` may be handed to redis.call, which keeps 17 digits; ``..`` and tostring keep 14."""
    for line in body(name).splitlines():
        assert not re.search(r"tostring\((?!reply)", line)
        assert not re.search(r"(seq|first|next|due|deadline) \.\. |\.\. (first|next|deadline)\b", line)


@pytest.fixture
def scene(namespace: str, server: RealServer) -> Iterator[Scene]:
    with Scene(namespace, server.url, timeout=5.0) as scene:
        yield scene


def writes(client: Redis, scene: Scene, case: Case) -> list[str]:
    """Make the case's call; return the writing commands that its script sent, in order."""
    call = case.prepare(scene)
    scene.caller.meet()
    writing = {name.upper() for name, info in client.command().items() if "write" in map(str.lower, _flags(info))}
    sent = []
    monitor: Any = client.monitor()  # type: ignore[no-untyped-call]
    with monitor:
        with contextlib.suppress(Refused):
            scene.caller.run(call)
        client.echo("that was it")
        for event in monitor.listen():
            if "that was it" in event["command"]:
                break
            command = event["command"].split()[0].upper()
            if event["client_type"] == "lua" and command in writing:
                sent.append(command)
    return sent


def _flags(info: dict[str, object]) -> list[str]:
    flags = info["flags"]
    assert isinstance(flags, list)
    return [flag.decode() if isinstance(flag, bytes) else str(flag) for flag in flags]


@pytest.mark.parametrize("case", [c for c in CASES if c.script in DRAINING | {"submit"}], ids=lambda case: case.name)
def test_what_drains_asks_for_no_memory_first(case: Case, scene: Scene, redis: Redis) -> None:
    """DESIGN 4: a full server refuses new jobs and still finishes old ones."""
    info = redis.command()
    asking = {name.upper() for name in info if "denyoom" in _flags(info[name])}
    sent = writes(redis, scene, case)
    if case.script == "submit":
        assert all(command in asking for command in sent[:1])
    elif case.name not in ANSWER_ONLY:
        assert sent, "it wrote nothing"
        assert sent[0] not in asking, f"its first write is {sent[0]}"


@pytest.fixture
def full(private_server: Callable[..., RealServer]) -> RealServer:
    return private_server()


def test_a_full_server_refuses_jobs_and_ends_them(full: RealServer, namespace: str) -> None:
    """R6 of the reference, run for real: memory at its limit, a running job is settled, a new one refused."""
    from seatline.shared.calls import jobs
    from seatline.shared.calls.workers import Report
    from seatline.shared.errors import ServerFull
    from seatline.shared.job import Job, job_words

    with Scene(namespace, full.url, timeout=5.0) as scene, contextlib.closing(full.client()) as client:
        scene.offer()
        (done,) = scene.submit(Job("free"))
        (taken,) = scene.reserve(1)
        client.config_set("maxmemory", "1mb")
        with pytest.raises(ServerFull):
            scene.do(jobs.submit([job_words(Job("free"))]))
        scene.reserve(0, reports=[Report(taken.id, taken.token, "succeeded")])
        assert client.zscore(f"{{{namespace}}}:finished:succeeded", done) is not None
        client.config_set("maxmemory", "0")
