"""``seatline acl``: prints, sets, compares, keeps, removes; and where no password is ever found (Q18, Q19)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from harness.processes import Child
from harness.server import RealServer
from harness.waiting import wait_until
from redis import Redis

from roles.conftest import PASSWORD, send
from seatline.console import acl_apply, acl_rules
from seatline.console.acl_passwords import LEAST
from seatline.console.acl_rules import flavour_of
from seatline.producer import Queue
from seatline.shared.config import Settings
from seatline.shared.errors import ServerRefused
from seatline.shared.roles import ROLES, user_name
from seatline.shared.store import Store

#: The password as it stands, and as a URL has it.
CANARIES = (PASSWORD.encode(), quote(PASSWORD, safe="").encode())
DIGEST = hashlib.sha256(PASSWORD.encode()).hexdigest()


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


class Console:
    """Runs command lines in processes of their own, in a folder, and remembers all that they printed."""

    def __init__(self, server: RealServer, namespace: str, folder: Path) -> None:
        self.server, self.namespace, self.folder = server, namespace, folder
        self.said = ""

    def env(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        mine = {"SEATLINE_URL": self.server.url, "SEATLINE_NAMESPACE": self.namespace, "PYTHONWARNINGS": "error"}
        return {**kept, **mine, **more}

    def __call__(self, *words: str, stdin: str = "", **environ: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "seatline.console.main", *words], cwd=self.folder, env=self.env(**environ), input=stdin,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        self.said += done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def on_terminal(self, answers: Mapping[str, str], *words: str, **environ: str) -> Done:
        """Run one on a terminal; each prompt that contains a key is answered with its value."""
        ours, theirs = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "seatline.console.main", *words], cwd=self.folder, env=self.env(**environ),
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        shown, asked = b"", 0
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65_536):
                shown += piece
                for prompt, answer in answers.items():
                    if re.search(prompt.encode(), shown[asked:]) and not shown.endswith(b"\n"):
                        asked = len(shown)
                        os.write(ours, answer.encode() + b"\n")
        os.close(ours)
        self.said += shown.decode()
        return Done(child.wait(20), shown.decode().replace("\r\n", "\n"), "")


@pytest.fixture
def console(server: RealServer, redis: Redis, namespace: str, tmp_path: Path) -> Iterator[Console]:
    yield Console(server, namespace, tmp_path)
    send(redis, "ACL", "DELUSER", *(user_name(namespace, role) for role in ROLES))


def users(redis: Redis, namespace: str) -> dict[str, str]:
    """Return the namespace's users, as the server lists them, by role."""
    lines = [line.decode() if isinstance(line, bytes) else line for line in redis.acl_list()]
    return {role: line for role in ROLES for line in lines if line.startswith(f"user {user_name(namespace, role)} ")}


class TestPrinting:
    def test_q18_lines_of_an_acl_file(
        self, console: Console, private_server: Callable[..., RealServer], tmp_path: Path, namespace: str
    ) -> None:
        """Q18: what is printed is an ACL file that a server starts with, and that means the same."""
        printed = console("acl", "--passwords", "secrets")
        assert printed.code == 0
        assert [line.split()[:3] for line in printed.out.splitlines()] == [
            ["user", user_name(namespace, role), "on"] for role in ROLES
        ]
        (tmp_path / "users.acl").write_text("user default on nopass ~* &* +@all\n" + printed.out)
        other = private_server(config=[f"aclfile {tmp_path / 'users.acl'}"])
        applied = console("acl", "--apply", "--yes", SEATLINE_URL=other.url)
        assert applied.out.count("is as it should be") == 4, applied
        login = {"SEATLINE_USER": user_name(namespace, "producer"), "SEATLINE_PASSWORD_FILE": "secrets/producer"}
        assert console("enqueue", "a", SEATLINE_URL=other.url, **login).out == "1\n"

    def test_q18_without_a_password_nobody_logs_in(self, console: Console, namespace: str) -> None:
        printed = console("acl", "--role", "viewer", "--offline", SEATLINE_URL="redis://127.0.0.1:1/0")
        assert printed.out.startswith(
            f"user {namespace}-viewer off %R~{{{namespace}}}:* resetchannels -@all +client|setname "
        )
        assert "no password was given" in printed.err

    def test_q18_the_verbs(self, console: Console) -> None:
        table = console("acl", "--verbs").out.splitlines()
        assert table[0].split() == ["VERB", "VIEWER", "PRODUCER", "WORKER", "ADMIN", "SCRIPTS"]
        assert re.search(r"^set pools +- +- +- +yes +pool_set", "\n".join(table), re.MULTILINE)
        assert '"roles"' in console("acl", "--verbs", "-o", "json").out

    def test_q18_an_old_server_is_refused(self) -> None:
        with pytest.raises(ServerRefused, match=r"Redis 6.2.14 has no keys that a user may only read"):
            flavour_of({"redis_version": "6.2.14"})
        assert str(flavour_of({"redis_version": "7.2.4", "valkey_version": "9.1.2"})) == "Valkey 9.1.2"
        assert not flavour_of({"redis_version": "8.2.1"}).databases


class TestApplying:
    def test_q18_again_changes_nothing(self, console: Console, redis: Redis, namespace: str) -> None:
        """Q18: it shows what it does, and does it once."""
        first = console("acl", "--apply", "--yes", "--passwords", "secrets")
        assert (first.code, first.out.count("  new; password made, in secrets/")) == (0, 4)
        before = users(redis, namespace)
        for more in ((), ("--passwords", "secrets")):
            again = console("acl", "--apply", "--yes", *more)
            assert again.out.count("is as it should be") == 4
            assert "nothing to change" in again.out
        assert users(redis, namespace) == before

    def test_q18_it_asks_first(self, console: Console, redis: Redis, namespace: str) -> None:
        assert console("acl", "--apply").code == 2  # nobody is there to answer
        assert console.on_terminal({r"Go on": "n"}, "acl", "--apply").code == 0
        assert users(redis, namespace) == {}
        assert console.on_terminal({r"Go on": "y"}, "acl", "--apply", "--role", "viewer").code == 0
        assert list(users(redis, namespace)) == ["viewer"]
        assert console.on_terminal({r"Go on": "n"}, "acl", "--remove").code == 0
        assert list(users(redis, namespace)) == ["viewer"]

    def test_q18_what_differs_is_told_and_mended(self, console: Console, redis: Redis, namespace: str) -> None:
        """Q18: rights that somebody has added or taken by hand."""
        console("acl", "--apply", "--yes", "--passwords", "secrets")
        before = users(redis, namespace)
        name = user_name(namespace, "producer")
        send(redis, "ACL", "SETUSER", name, "+flushall", "+config|get", "-hset", f"~{{{namespace}}}:pool:*")
        done = console("acl", "--apply", "--yes")
        assert re.search(rf"{name} +1 command more; 2 commands less; 1 key pattern less$", done.out, re.MULTILINE), (
            done.out
        )
        assert "1 users set" in done.out
        send(redis, "ACL", "SETUSER", name, "(+flushall ~*)")
        assert "other rules reset" in console("acl", "--apply", "--yes").out
        send(redis, "ACL", "SETUSER", name, "nopass")
        assert "other rules reset" in console("acl", "--apply", "--yes", "--passwords", "secrets").out
        assert users(redis, namespace) == before

    def test_q18_scripts_of_another_version_stay(self, console: Console, redis: Redis, namespace: str) -> None:
        """Q18: two versions run while one is taken for the other; then --drop-scripts."""
        console("acl", "--apply", "--yes", "--passwords", "secrets")
        older = "a1" * 20
        for role in ("producer", "worker"):
            send(redis, "ACL", "SETUSER", user_name(namespace, role), f"+evalsha|{older}")
        assert "nothing to change" in console("acl", "--apply", "--yes").out
        done = console("acl", "--apply", "--yes", "--drop-scripts")
        assert done.out.count("1 script less") == 2
        assert older not in "".join(users(redis, namespace).values())

    def test_q18_a_user_of_somebody_else_is_left_alone(self, console: Console, redis: Redis, namespace: str) -> None:
        name = user_name(namespace, "admin")
        send(redis, "ACL", "SETUSER", name, "on", "nopass", "~*", "+@all")
        before = users(redis, namespace)
        for act in ("--apply", "--remove"):
            done = console("acl", act, "--yes")
            assert (done.code, f"user {name} is there, and was not made for namespace" in done.err) == (69, True), done
        assert users(redis, namespace) == before

    def test_q18_none_of_the_roles_may(self, console: Console, redis: Redis, namespace: str) -> None:
        console("acl", "--apply", "--yes", "--passwords", "secrets")
        before = users(redis, namespace)
        for role in ROLES:
            login = {"SEATLINE_USER": user_name(namespace, role), "SEATLINE_PASSWORD_FILE": f"secrets/{role}"}
            for act in ("--apply", "--remove"):
                done = console("acl", act, "--yes", **login)
                assert (done.code, "that takes the operator's own login" in done.err) == (77, True), done
        assert users(redis, namespace) == before

    def test_q18_kept_over_a_restart(
        self, private_server: Callable[..., RealServer], tmp_path: Path, namespace: str
    ) -> None:
        """Q18: --save has the server write them: to its ACL file, else to its configuration."""
        path = tmp_path / "users.acl"
        path.write_text("user default on nopass ~* &* +@all\n")
        for config, where in ((["aclfile " + str(path)], "its ACL file"), ([], "its configuration file")):
            console = Console(private_server(config=config), namespace, tmp_path)
            done = console("acl", "--apply", "--yes", "--passwords", "secrets", "--save")
            assert f"the server keeps its users in {where}" in done.out
        with_file = Console(private_server(config=["aclfile " + str(path)]), namespace, tmp_path)
        assert "nothing to change" in with_file("acl", "--apply", "--yes").out

    def test_q18_removed(self, console: Console, redis: Redis, namespace: str) -> None:
        """Q18: who is logged in as one of them is cut off."""
        console("acl", "--apply", "--yes", "--passwords", "secrets")
        user = user_name(namespace, "producer")
        with Queue(
            console.server.url,
            user=user,
            password_file=str(console.folder / "secrets/producer"),
            namespace=namespace,
            deadline=1.0,
        ) as queue:
            queue.enqueue("a")
            done = console("acl", "--remove", "--yes")
            assert "4 users removed" in done.out
            assert users(redis, namespace) == {}
            with pytest.raises(ServerRefused):
                queue.enqueue("a")
        assert "there is none of" in console("acl", "--remove", "--yes").out

    def test_q18_an_open_server_is_warned_of(self, console: Console, private_server: Callable[..., RealServer]) -> None:
        assert "the user default needs no password" in console("acl", "--apply", "--yes").err
        closed = private_server(password="of-the-operator")
        done = console("acl", "--apply", "--yes", SEATLINE_URL=closed.url)
        assert done.code == 0
        assert "the user default" not in done.err
        assert "of-the-operator" not in done.out + done.err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--save",), "go with --apply or --remove"),
            (("--apply", "--offline"), "--offline only prints"),
            (("-o", "json"), "-o goes with --verbs"),
            (("--password-file", "boss=x"), "the roles are viewer, producer, worker, admin"),
            (("--role", "viewer", "--password-file", "admin=x"), "admin is not among the roles asked for"),
            (("--prompt",), "--prompt needs a terminal"),
            (("--role", "boss"), "'boss' is not one of"),
            (("--password-file", "viewer=none"), "No such file"),
        ],
    )
    def test_nonsense(self, words: tuple[str, ...], said: str, console: Console) -> None:
        done = console("acl", *words)
        assert done.code in {1, 2}
        assert said in done.err
        assert done.err.count("\n") == 1


def test_q18_the_doctor_for_every_role(
    private_server: Callable[..., RealServer], namespace: str, tmp_path: Path
) -> None:
    """Q18: it says what a login may not see, changes nothing, and takes no server for open because of a password file."""
    console = Console(private_server(password="of-the-operator"), namespace, tmp_path)
    console("acl", "--apply", "--yes", "--passwords", "secrets")
    bare = console.server.tcp_url.replace(":of-the-operator@", "")
    for role in ROLES:
        login = {"SEATLINE_USER": user_name(namespace, role), "SEATLINE_PASSWORD_FILE": f"secrets/{role}"}
        done = console("doctor", "-o", "json", SEATLINE_URL=bare, **login)
        found = {each["finding"]: each for each in json.loads(done.out)}
        assert done.code in {0, 1}, done
        assert "CONFIG" in found["rights"]["said"]
        assert found.get("access", {"severity": "ok"})["severity"] == "ok"


class TestPasswords:
    """Q18: by environment, file or prompt; and found nowhere else."""

    def test_q18_made_ones_are_long_and_private(self, console: Console) -> None:
        console("acl", "--apply", "--yes", "--passwords", "deep/secrets")
        files = sorted((console.folder / "deep/secrets").iterdir())
        assert [file.name for file in files] == sorted(ROLES)
        made = {file.read_text().strip() for file in files}
        assert len(made) == 4
        assert {len(password) for password in made} == {43}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
        assert not any(password in console.said for password in made)

    def test_q18_none_are_made_before_the_answer(self, console: Console, redis: Redis, namespace: str) -> None:
        """Q18: who is refused for want of a terminal, or says no, finds neither files nor users."""
        words = ("acl", "--apply", "--passwords", "deep/secrets")
        refused = console(*words)
        assert (refused.code, "add --yes" in refused.err) == (2, True), refused
        assert console.on_terminal({"Go on": "n"}, *words).code == 0
        assert not (console.folder / "deep").exists()
        assert users(redis, namespace) == {}
        assert console.on_terminal({"Go on": "y"}, *words).code == 0
        assert len(list((console.folder / "deep/secrets").iterdir())) == len(users(redis, namespace)) == 4

    def test_q18_a_folder_that_cannot_be_made(self, console: Console, redis: Redis, namespace: str) -> None:
        (console.folder / "deep").write_text("no folder")
        done = console("acl", "--apply", "--yes", "--passwords", "deep/secrets")
        assert (done.code, "deep/secrets/viewer cannot be made" in done.err) == (2, True), done
        assert users(redis, namespace) == {}

    def test_q18_where_they_come_from(self, console: Console, redis: Redis, namespace: str) -> None:
        """Q18: a file of its own wins over the environment, that over the prompt, that over the folder."""
        (console.folder / "mine").write_text(PASSWORD + "\n")
        (console.folder / "mine").chmod(0o600)
        words = ("acl", "--apply", "--role", "producer", "--passwords", "secrets")
        other = {"SEATLINE_ACL_PASSWORD_PRODUCER": "another-one-5"}
        file = ("--password-file", "producer=mine", "--prompt")
        said = console.on_terminal({"Go on": "y"}, *words, *file, **other)
        assert "password from mine" in said.out
        assert DIGEST in users(redis, namespace)["producer"]
        said = console.on_terminal({"Go on": "y"}, *words, "--prompt", **other)
        assert "password from SEATLINE_ACL_PASSWORD_PRODUCER" in said.out
        said = console.on_terminal({"Password|Repeat": PASSWORD, "Go on": "y"}, *words, "--prompt")
        assert "password as typed" in said.out
        assert DIGEST in users(redis, namespace)["producer"]
        assert not (console.folder / "secrets").exists()
        assert PASSWORD not in console.said
        assert "another-one-5" not in console.said

    def test_q18_a_new_one_beside_the_old(self, console: Console, redis: Redis, namespace: str) -> None:
        words = ("acl", "--apply", "--yes", "--role", "viewer")
        console(*words, SEATLINE_ACL_PASSWORD_VIEWER=PASSWORD)
        console(*words, "--keep-passwords", SEATLINE_ACL_PASSWORD_VIEWER="the-second-one")
        assert users(redis, namespace)["viewer"].count("#") == 2
        console(*words, SEATLINE_ACL_PASSWORD_VIEWER="the-second-one")
        line = users(redis, namespace)["viewer"]
        assert (line.count("#"), DIGEST in line) == (1, False)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("short", f"at least {LEAST} letters"),
            ("", "is the first line of its file"),
            ("one-password-here\nanother-password", "is the first line of its file"),
            ("pass word with blanks", "no blanks"),
        ],
    )
    def test_q18_bad_ones(self, content: str, said: str, console: Console, redis: Redis, namespace: str) -> None:
        """Q18: the message names the file, and never what is in it."""
        (console.folder / "bad").write_text(content)
        done = console("acl", "--apply", "--yes", "--password-file", "viewer=bad")
        assert (done.code, said in done.err) == (2, True), done
        assert not content or content.splitlines()[0] not in done.err
        assert users(redis, namespace) == {}

    def test_q18_a_file_that_others_can_read_is_told(self, console: Console) -> None:
        (console.folder / "open").write_text(PASSWORD)
        (console.folder / "open").chmod(0o644)
        assert (
            "open can be read by other users"
            in console("acl", "--password-file", "viewer=open", "--role", "viewer").err
        )

    def test_q18_the_server_is_sent_digests_only(self, console: Console, redis: Redis, namespace: str) -> None:
        """Q18: so nobody finds a password in MONITOR, the slow log, or the ACL log."""
        heard: list[str] = []
        monitor: Any = redis.monitor()  # type: ignore[no-untyped-call]
        with monitor:
            console("acl", "--apply", "--yes", "--role", "viewer", SEATLINE_ACL_PASSWORD_VIEWER=PASSWORD)
            redis.echo("that was it")
            for event in monitor.listen():
                heard.append(event["command"])
                if "that was it" in event["command"]:
                    break
        assert any("SETUSER" in command.upper() for command in heard) or users(redis, namespace)
        assert not any(PASSWORD in command for command in heard)

    @pytest.mark.parametrize("by", ["url", "file"])
    def test_q18_no_process_shows_it(
        self, by: str, console: Console, spawn: Callable[..., Child], redis: Redis, namespace: str
    ) -> None:
        """Q18: neither a worker nor its children have it on their command line or in their log; children nowhere."""
        (console.folder / "secrets").mkdir()
        (console.folder / "secrets/worker").write_text(PASSWORD)
        (console.folder / "secrets/worker").chmod(0o600)
        console("acl", "--apply", "--yes", "--role", "worker", "--passwords", "secrets")
        assert DIGEST in users(redis, namespace)["worker"]
        (console.folder / "farm.py").write_text(
            "import time\nfrom seatline.worker import Handlers\nhandlers = Handlers()\n"
            "@handlers.handler('slow', isolation='process')\ndef slow(ctx):\n    time.sleep(60)\n"
            "@handlers.handler('bad')\ndef bad(ctx):\n    raise RuntimeError('no')\n"
        )
        user = user_name(namespace, "worker")
        logins = {
            "url": {"SEATLINE_URL": f"redis://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{console.server.port}/0"},
            "file": {"SEATLINE_USER": user, "SEATLINE_PASSWORD_FILE": "secrets/worker"},
        }
        line = f"cd {console.folder} && exec {sys.executable} -m seatline.console.main -vv worker farm --slots 2"
        child = spawn(["/bin/sh", "-c", line], env=console.env(**logins[by]))
        with Queue(console.server.url, namespace=namespace) as queue:
            slow, bad = queue.enqueue("slow"), queue.enqueue("bad")
            assert bad.wait(timeout=20).error == "no"
            wait_until(lambda: slow.state() == "running" and len(_family(child.pid)) > 1, 20)
            family = _family(child.pid)
            for pid in family:
                told = Path(f"/proc/{pid}/cmdline").read_bytes()
                assert not any(secret in told for secret in CANARIES)
            for pid in family - {child.pid}:
                told = Path(f"/proc/{pid}/environ").read_bytes()
                assert not any(secret in told for secret in CANARIES)
            slow.cancel()
        child.terminate()
        child.wait(20)
        said = (child.output() + child.errors()).encode()
        assert b"bad" in said
        assert not any(secret in said for secret in CANARIES)

    def test_q18_asked_on_a_terminal(self, console: Console, namespace: str) -> None:
        """Q18: a login without a password is asked for it, unseen."""
        console("acl", "--apply", "--yes", "--role", "viewer", SEATLINE_ACL_PASSWORD_VIEWER=PASSWORD)
        login = {"SEATLINE_USER": user_name(namespace, "viewer")}
        done = console.on_terminal({"Password of": PASSWORD}, "pools", "list", **login)
        assert (done.code, "No pools." in done.out) == (0, True), done
        assert PASSWORD not in done.out
        wrong = console.on_terminal({"Password of": "wrong-s3cret"}, "pools", "list", **login)
        assert (wrong.code, "refused the login" in wrong.out) == (69, True), wrong
        assert "wrong-s3cret" not in wrong.out

    @pytest.mark.parametrize(
        "url", ["redis://me:s3cret-1@127.0.0.1:1/0", "unix:///nowhere/s?password=s3cret-1&username=me"]
    )
    def test_q18_no_error_shows_it(self, url: str, console: Console) -> None:
        """Q18: neither an address that does not answer, nor one that is refused, nor -vv with its tracebacks."""
        lines = (("jobs", "list"), ("-vv", "enqueue", "a"), ("acl", "--apply"), ("scripts", "load"))
        for bad in (url, url.replace("redis://", "http://"), console.server.tcp_url.replace("//", "//me:s3cret-1@")):
            for words in lines:
                done = console(*words, SEATLINE_URL=bad, SEATLINE_DEADLINE="0.1")
                assert done.code != 0, done
        assert "s3cret-1" not in console.said


def _family(pid: int) -> set[int]:
    """Return a process and all its descendants."""
    found, todo = set[int](), [pid]
    while todo:
        one = todo.pop()
        found.add(one)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
    return found


def test_q18_rules_that_a_server_reads_otherwise_are_found(
    private_server: Callable[..., RealServer], namespace: str
) -> None:
    """Q18: `--apply` asks the server what it made of them, and says so if a login may more, or less, than is meant."""
    with contextlib.closing(Store(Settings(url=private_server().url, namespace=namespace))) as store:
        databases = acl_apply.read_flavour(store).databases
        made = {
            role: acl_rules.rules(role, role, namespace, [DIGEST], databases=databases, options=acl_rules.Options())
            for role in ROLES
        }
        acl_apply.set_users(store, list(made.values()))
        assert acl_apply.misread(store, namespace, made) == []
        for commands, said in (
            (made["worker"].commands | {"evalsha"}, "worker may EVALSHA"),
            (made["worker"].commands - {"hgetall"}, "worker may not HGETALL"),
        ):
            acl_apply.set_users(store, [replace(made["worker"], commands=frozenset(commands))])
            assert said in "; ".join(acl_apply.misread(store, namespace, made))
        acl_apply.set_users(store, [replace(made["worker"], keys=made["admin"].keys)])
        assert "worker may HSET" in "; ".join(acl_apply.misread(store, namespace, made))
