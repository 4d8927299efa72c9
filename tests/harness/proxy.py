"""A proxy between clients and a real server that loses, cuts, delays and repeats, at the request a test names.

A TCP port in front, a server's unix socket or TCP port behind. It splits both streams into whole RESP messages and
pairs each reply with its request, so a fault strikes one request even when a pipeline sent twenty in one packet.

The faults that matter for writing exactly once, by what the server and the client come to know:

    fault            server            client
    cut_before       nothing           connection lost
    half_request     half, so nothing  connection lost
    swallow_reply    executes          connection lost
    cut_mid_reply    executes          half a reply, then the end
    delay            executes late     waits, or gave up before
    duplicate_late   executes          its reply; the test sends the kept copy again, as a network may

A rule is used ``times`` times, after ``skip`` matching requests went by; rules are asked in the order they were made. A
rule may carry a ``hook``, such as the kill of a process: it is called in a thread of its own as the fault strikes,
before the client can notice. An EVALSHA counts although its reply may be NOSCRIPT: load scripts before making the rule.

Pairing wants one reply a request: not for MONITOR, CLIENT REPLY or RESP2 subscriptions. RESP3 pushes go through.

One thread runs one event loop, and all connections live in it; the public methods hand their work to that loop.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Self, TypeVar
from urllib.parse import quote

from redis.connection import parse_url

from harness.link import Hook, Link, Match, Rule
from harness.resp import take_replies, take_requests, words

__all__ = ["FaultProxy", "Hook", "Match"]

T = TypeVar("T")

CHUNK = 1 << 16
CALL_SECONDS = 10.0


class FaultProxy:
    """Stands in front of one server; works from construction until `close` or the end of its context.

    Args:
        upstream: the server's URL, unix or TCP; its login and database also serve `replay`.

    Attributes:
        port: the loopback port in front; `refuse` closes it and opens the same again.
        requests: whole requests seen, handshakes included.
        commands: the same by command, such as ``commands[b"EVALSHA"]``.
        faults: faults applied, by the rule's name; ``silence`` counts what a blackhole or a stranding lost.
        kept: the raw requests that `duplicate_late` kept.

    """

    def __init__(self, upstream: str) -> None:
        self.upstream: dict[str, Any] = parse_url(upstream)  # type: ignore[no-untyped-call]
        self.port = 0
        self.requests = 0
        self.commands: Counter[bytes] = Counter()
        self.faults: Counter[str] = Counter()
        self.kept: list[bytes] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds tasks only weakly
        self._listener: socket.socket | None = None
        self._dark = self._ending = False
        self._broken: list[Exception] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._call(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients find the proxy, with the upstream's login and database."""
        user, password = (quote(self.upstream.get(part, ""), safe="") for part in ("username", "password"))
        login = f"{user}:{password}@" if password else ""
        return f"redis://{login}127.0.0.1:{self.port}/{self.upstream.get('db', 0)}"

    @property
    def connections(self) -> int:
        """How many clients are connected, silenced ones included."""
        return len(self._links)

    def cut_before(self, match: Match = None, *, times: int = 1, skip: int = 0, hook: Hook | None = None) -> None:
        """Reset the connection instead of passing the request on: the server never sees it."""
        self._add(Rule("cut_before", match, times, skip, hook))

    def half_request(self, match: Match = None, *, times: int = 1, skip: int = 0, hook: Hook | None = None) -> None:
        """Pass on the first half of the request, then reset both connections."""
        self._add(Rule("half_request", match, times, skip, hook))

    def swallow_reply(self, match: Match = None, *, times: int = 1, skip: int = 0, hook: Hook | None = None) -> None:
        """Let the server execute the request, and reset the connection once its reply has come."""
        self._add(Rule("swallow_reply", match, times, skip, hook, on_reply=True))

    def cut_mid_reply(self, match: Match = None, *, times: int = 1, skip: int = 0, hook: Hook | None = None) -> None:
        """Pass on the first half of the reply, then end the connection: orderly, so that the half surely arrives."""
        self._add(Rule("cut_mid_reply", match, times, skip, hook, on_reply=True))

    def delay(
        self,
        seconds: float,
        match: Match = None,
        *,
        times: int = 1,
        skip: int = 0,
        hook: Hook | None = None,
        reply: bool = False,
    ) -> None:
        """Hold the request, or with ``reply`` its reply, until the hook is done and some seconds more, and all behind it.

        A held request reaches the server even if its client has given up meanwhile.
        """
        self._add(Rule("delay", match, times, skip, hook, seconds, on_reply=reply))

    def duplicate_late(self, match: Match = None, *, times: int = 1, skip: int = 0) -> None:
        """Pass the request on and keep a copy in `kept`, for `replay` at a moment of the test's choice."""
        self._add(Rule("duplicate_late", match, times, skip))

    def replay(self, index: int = -1) -> bytes:
        """Send a kept request to the server once more, on a fresh authenticated connection; return the raw reply."""
        upstream = self.upstream
        login = [b"AUTH", *(upstream[part].encode() for part in ("username", "password") if upstream.get(part))]
        select = [b"SELECT", str(upstream.get("db", 0)).encode()]
        with _dial(upstream) as connection:
            for request in [*([login] if login[1:] else []), select]:
                reply = _ask(connection, _encode(request))
                if reply != b"+OK\r\n":
                    raise RuntimeError(f"the server refused the replay's {request[0].decode()}: {reply!r}")
            return _ask(connection, self.kept[index])

    def blackhole(self, on: bool = True) -> None:
        """Lose all bytes both ways, and the news of closed connections; new clients get no answer either.

        Once off, each connection that lost something is reset: TCP never goes on behind a gap.
        """
        self._call(self._blackhole(on))

    def strand_all(self) -> int:
        """Silence today's connections for ever, half open towards the server; new ones work. Return their number.

        So it looks to a server when a client's host lost its power.
        """
        return self._call(self._strand_all())

    def refuse(self, on: bool = True) -> None:
        """Close the listening port, or open it again; connections that exist go on."""
        self._call(self._unlisten() if on else self._listen())

    def reset_all(self) -> int:
        """Reset every connection (RST) and return how many there were."""
        return self._call(self._reset_all())

    def clear(self) -> None:
        """Forget the rules that are not used up."""
        with self._lock:
            self._rules.clear()

    def close(self) -> None:
        """End everything; may be called twice. Raises what a hook or predicate raised, which nobody else saw."""
        if not self._thread.is_alive():
            return
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._broken:
            raise self._broken[0]

    def _add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    # From here on everything runs in the proxy's thread.

    async def _listen(self) -> None:
        """Accept by hand: asyncio's own server loses the socket of a client that comes while it is closed."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._loop.add_reader(self._listener, self._door, self._listener)

    async def _unlisten(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _door(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it gave up before we looked
        task = self._loop.create_task(self._accept(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _blackhole(self, on: bool) -> None:
        self._dark = on
        for link in list(self._links):
            if not on and link.gap and not link.stranded:
                link.reset()

    async def _strand_all(self) -> int:
        for link in self._links:
            link.stranded = True
        return len(self._links)

    async def _reset_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    async def _end(self) -> None:
        self._ending = True
        await self._unlisten()
        while self._tasks:
            for task in self._links.values():
                task.cancel()
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)  # transports that were aborted close their sockets one turn later
        await self._loop.shutdown_default_executor()

    async def _accept(self, connection: socket.socket) -> None:
        # As a server does: else two replies to requests sent together wait for each other, 40 ms (asyncio sees to it only
        # for sockets that say what they speak).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(*await asyncio.open_connection(sock=connection))
        if self._ending:
            link.reset()
            return
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            await self._carry(link)
            await link.flush()
        except (_Cut, OSError, asyncio.CancelledError):
            pass  # a fault, a connection that was lost by itself, or `_end`
        except Exception as error:  # noqa: BLE001 - `close` raises it in the test's thread
            self._broken.append(error)
        finally:
            link.reset()
            del self._links[link]

    async def _carry(self, link: Link) -> None:
        """Carry bytes both ways until one side ends; the first exception of either way goes up."""
        if self._dark:
            link.gap = True
            await link.ended.wait()
            return
        await link.connect(self.upstream)
        ways = [asyncio.ensure_future(self._to_server(link)), asyncio.ensure_future(self._to_client(link))]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _to_server(self, link: Link) -> None:
        buffer = bytearray()
        while data := await self._read(link, link.reader):
            buffer += data
            for request in take_requests(buffer):
                await self._request(link, request)

    async def _to_client(self, link: Link) -> None:
        buffer = bytearray()
        while data := await self._read(link, link.upstream_reader):
            buffer += data
            for reply in take_replies(buffer):
                await self._reply(link, reply)

    async def _read(self, link: Link, reader: asyncio.StreamReader) -> bytes:
        """Return what came, b"" at the end. While silent all of it is lost, and the end is not told until a reset."""
        while True:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = b""
            if not self._silent(link):
                return data
            if not data:
                await link.ended.wait()
                return b""

    async def _request(self, link: Link, request: bytes) -> None:
        self.requests += 1
        self.commands.update(word.upper() for word in words(request)[:1])
        rule = self._take_rule(request)
        if rule and not rule.on_reply:
            if rule.fault == "half_request":
                await link.to_server(request[: len(request) // 2])
            await self._strike(rule)
            if rule.cuts:
                raise _Cut
            if rule.fault == "duplicate_late":
                self.kept.append(request)
        if not self._silent(link):  # it may have begun while the request was held
            link.expected.append(rule if rule and rule.on_reply else None)
            await link.to_server(request)

    async def _reply(self, link: Link, reply: bytes) -> None:
        push = reply.startswith(b">")
        rule = link.expected.popleft() if link.expected and not push else None
        if rule:
            await self._strike(rule)
            if rule.fault == "cut_mid_reply":
                await link.to_client(reply[: len(reply) // 2])
                await link.flush()
            if rule.cuts:
                raise _Cut
        if not self._silent(link):
            await link.to_client(reply)

    async def _strike(self, rule: Rule) -> None:
        """Count the fault, call its hook, wait if it is a delay; all before the client can notice."""
        self.faults[rule.fault] += 1
        if rule.hook is not None:
            await asyncio.to_thread(rule.hook)
        await asyncio.sleep(rule.seconds)

    def _take_rule(self, request: bytes) -> Rule | None:
        with self._lock:
            rule = next((rule for rule in self._rules if rule.takes(request)), None)
            if rule is not None and not rule.times:
                self._rules.remove(rule)
            return rule

    def _silent(self, link: Link) -> bool:
        """Whether what just moved on this connection must be lost; then it is counted."""
        if not (self._dark or link.stranded):
            return False
        link.gap = True
        self.faults["silence"] += 1
        return True


class _Cut(Exception):
    """Not an error: it unwinds to where the connection is reset."""


def _dial(upstream: dict[str, Any]) -> socket.socket:
    if "path" not in upstream:
        return socket.create_connection((upstream["host"], upstream["port"]), CALL_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(CALL_SECONDS)
        connection.connect(upstream["path"])
    except OSError:
        connection.close()
        raise
    return connection


def _encode(request: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(request) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in request)


def _ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    buffer = bytearray()
    while True:
        data = connection.recv(CHUNK)
        if not data:
            raise ConnectionError("the server closed the replay's connection")
        buffer += data
        for reply in take_replies(buffer):
            return reply
