"""A worker's program and its children: what they have of it, who dies with whom, and where their output goes (C13, R6).

F15, F17, F19 and F20 of the failure model. Each worker is a process of its own, with `PROGRAM`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Child
from harness.waiting import wait_until
from worker.ward import alive

PROGRAM = """\
import json, os, signal, socket, subprocess, sys, time
from worker.ward import Ward, daemonize
from seatline.producer import Queue
from seatline.shared.errors import NoEmbeddedServer
from seatline.worker.handlers import Handlers

handlers, listening = Handlers(), None

@handlers.handler("look", isolation="process")
def look(ctx):
    found = {"pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "stdin": os.readlink("/proc/self/fd/0")}
    found["environ"] = {name: value for name, value in os.environ.items() if name.startswith("SEATLINE")}
    try:
        Queue()
    except NoEmbeddedServer as error:
        found["queue"] = str(error)
    found["secret"] = [path for path in (f"/proc/{os.getpid()}/environ", f"/proc/{os.getppid()}/environ")
                       if b"canary" in open(path, "rb").read() or b"farm" in open(path, "rb").read()]
    found["oom"] = [int(open(f"/proc/{pid}/oom_score_adj").read()) for pid in ("self", os.getppid())]
    found["kept"] = os.environ["KEPT"], b"KEPT=kept" in open("/proc/self/environ", "rb").read()
    found["sockets"] = sum("socket:" in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                           if os.path.exists(f"/proc/self/fd/{fd}"))
    return found

@handlers.handler("stay", isolation="process")
def stay(ctx, path):
    daemonize(path)
    while not os.path.exists(path) or not open(path).read():
        time.sleep(0.01)
    ctx.log("asleep")
    time.sleep(1000)
    return "slept"

@handlers.handler("write", isolation="process")
def write(ctx):
    os.write(1, b" ")
    os.write(2, b" ")

@handlers.handler("full", isolation="process")
def full(ctx):
    import logging
    logging.getLogger("any").error("nowhere to go")
    print("nor this")
    return "done"

ward = Ward(handlers).__enter__()
if sys.argv[1] == "stay" and os.fork() == 0:
    time.sleep(1000)  # has copies of all that the worker has: the nursery sees no end of its connection
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())  # as a worker's connection: made after the nursery
for type_ in sys.argv[1].split(","):
    if type_ == "stay":
        run = ward.begin("stay", {"path": sys.argv[2]}).until("asleep")
        words = {"child": ward.children.pids[0], "nursery": ward.nursery, "session": os.getsid(0)}
    else:
        run = ward.run(type_)
        words = {"outcome": run.outcome, "result": run.result, "error": run.report.error}
    os.write(1, json.dumps(words).encode() + b"\\n")
if "stay" in sys.argv[1]:
    signal.signal(signal.SIGINT, lambda *_: os.write(1, b'"interrupted"\\n'))
    run.end(100)
ward.__exit__()
"""


@pytest.fixture
def program(spawn: Callable[..., Child]) -> Callable[..., Child]:
    def start(*words: str, **env: str) -> Child:
        path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        return spawn([sys.executable, "-c", PROGRAM, *words], env={"PYTHONPATH": path, **env})

    return start


def told(child: Child, lines: int = 1) -> list[Any]:
    wait_until(lambda: child.output().count("\n") >= lines or not child.running, 20, "what the program says")
    assert child.output().count("\n") >= lines, child.errors()
    return [json.loads(line) for line in child.output().splitlines()]


def test_f19_a_child_has_neither_secrets_nor_sockets_of_the_worker(program: Callable[..., Child]) -> None:
    """F19, R6: nothing of SEATLINE_* in os.environ or in what the kernel shows of child and nursery; its own socket only.

    So a queue without a URL is an error: a server that it started would end with the job, and what it was given with it.
    """
    url = "redis://:canary@localhost:6379/0"
    child = program("look", SEATLINE_URL=url, SEATLINE_NAMESPACE="farm", KEPT="kept")
    (words,) = told(child)
    look = words["result"]
    assert look["environ"] == {"SEATLINE_EMBEDDED": "never"}
    assert "SEATLINE_EMBEDDED=never" in look["queue"]
    assert look["secret"] == []
    assert look["kept"] == ["kept", True]
    assert look["sockets"] == 1
    assert look["stdin"] == "/dev/null"
    assert look["oom"][0] > look["oom"][1]  # F11: the kernel's first choice when memory runs out
    assert look["session"] == look["pid"] != child.pid
    assert child.wait() == 0


def test_f17_nothing_outlives_a_killed_worker(program: Callable[..., Child], tmp_path: Path) -> None:
    """F17: SIGKILL of the worker ends nursery, child, and a grandchild that has left session and parents."""
    worker = program("stay", str(tmp_path / "pid"))
    (words,) = told(worker)
    pids = [words["nursery"], words["child"], int((tmp_path / "pid").read_text())]
    assert all(alive(pid) for pid in pids)
    worker.kill()
    wait_until(lambda: not [pid for pid in pids if alive(pid)], 2)


#: Asks for a child and does not hear the answer.
ASKER = """
import os, socket
from seatline.worker.children.nursery import ASK, FORK, Nursery
from seatline.worker.handlers import Handlers
ours, theirs = socket.socketpair()
mine, child = socket.socketpair()
socket.send_fds(ours, [ASK.pack(FORK, 0)], [child.fileno()])
ours.close()
worker = os.getpid()
if not (nursery := os.fork()):
    Nursery(theirs, worker, Handlers(), "w", 10, None).live()
print(os.waitpid(nursery, 0)[1])
"""


def test_f17_a_nursery_whose_worker_died_while_it_asked_says_nothing(spawn: Callable[..., Child]) -> None:
    """F17: nobody is there to be told: it ends, and writes no traceback into a dead worker's log."""
    asker = spawn([sys.executable, "-c", ASKER], env={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert (asker.wait(), asker.output(), asker.errors()) == (0, "0\n", "")


def test_f17_a_killed_nursery_takes_the_children_along(program: Callable[..., Child], tmp_path: Path) -> None:
    """F17: the kernel sees to it, whatever the child does."""
    worker = program("stay", str(tmp_path / "pid"))
    (words,) = told(worker)
    os.kill(words["nursery"], signal.SIGKILL)
    wait_until(lambda: not alive(words["child"]), 2)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert worker.wait() == 0
    worker.kill(group=True)


def test_c13_ctrl_c_reaches_the_worker_alone(program: Callable[..., Child], tmp_path: Path) -> None:
    """C13: a terminal signals the foreground group; nursery and children are in none of its."""
    worker = program("stay", str(tmp_path / "pid"))
    (words,) = told(worker)
    assert {os.getsid(pid) for pid in (words["nursery"], words["child"])} == {words["nursery"], words["child"]}
    worker.signal(signal.SIGINT, group=True)
    assert told(worker, 2)[1] == "interrupted"
    assert alive(words["child"])
    assert alive(words["nursery"])
    worker.kill()


def test_f20_a_full_disk_under_the_output_fails_no_job(
    spawn: Callable[..., Child], program: Callable[..., Child]
) -> None:
    """F20: what cannot be printed is lost, the job is not."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    text = 'exec 3>&1; exec "$0" -c "$1" full,full > /dev/full 2> /dev/full'
    code = PROGRAM.replace("os.write(1,", "os.write(3,")
    child = spawn(["sh", "-c", text, sys.executable, code], env={"PYTHONPATH": path, "PYTHONUNBUFFERED": ""})
    assert told(child, 2) == [{"outcome": "succeeded", "result": "done", "error": None}] * 2


def test_f15_a_worker_without_standard_streams_has_sound_children(spawn: Callable[..., Child]) -> None:
    """F15: their numbers are not given to a connection, which a handler that prints would break."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    text = 'exec 3>&1; exec "$0" -c "$1" write,full,write 0<&- 1>&- 2>&-'
    child = spawn(
        ["sh", "-c", text, sys.executable, PROGRAM.replace("os.write(1,", "os.write(3,")], env={"PYTHONPATH": path}
    )
    assert [words["error"] for words in told(child, 3)] == [None] * 3


def test_what_was_printed_before_the_fork_is_printed_once(spawn: Callable[..., Child]) -> None:
    """F15: buffers are copied by a fork; what a handler prints is there when its job has ended."""
    code = PROGRAM.partition("ward = Ward")[0] + (
        "handlers.handler('print', isolation='process')(lambda _: print('from a child'))\n"
        "print('before')\nward = Ward(handlers).__enter__()\nward.run('print')\nward.run('print')\nward.__exit__()\n"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    child = spawn([sys.executable, "-c", code], env={"PYTHONPATH": path, "PYTHONUNBUFFERED": ""})
    assert child.wait() == 0, child.errors()
    assert child.output().splitlines() == ["before", "from a child", "from a child"]
