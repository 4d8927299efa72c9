"""A worker that learns late what it was given begins only what is still its own.

Its process may have been stopped, or the reply under way for longer than the lease.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest
from harness.proxy import FaultProxy
from harness.server import RealServer
from harness.waiting import wait_until

from seatline.producer import Queue
from seatline.shared.scripts import script
from seatline.worker import Context, Handlers, Worker


def test_job_lost_before_its_reply_came_is_not_begun(
    server: RealServer, proxy: FaultProxy, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Q14, S2: the lease ran out and the seat is somebody else's before the reply of the turn has arrived."""
    begun: list[str] = []
    over = threading.Event()

    def worker(url: str, name: str) -> Worker:
        handlers = Handlers()

        @handlers.handler("licensed", uses={"vault": 1}, if_lost="rerun", isolation="thread")
        def licensed(ctx: Context) -> None:
            begun.append(name)
            over.wait(10)

        return Worker(handlers, url, namespace=namespace, lease=0.6, renew=0.2, timeout=5.0)

    def start(each: Worker) -> Callable[[], None]:
        thread = threading.Thread(target=each.run)
        thread.start()

        def finish() -> None:
            each.stop()
            thread.join(10)

        return finish

    with Queue(server.url, namespace=namespace) as queue:
        queue.pools.set("vault", 1)
        job = queue.enqueue("licensed")
        with contextlib.closing(server.client()) as client:
            client.script_load(script("turn").text)  # or the reply that is held would be that it is not known
        proxy.delay(2.5, script("turn").sha.encode(), reply=True)
        ends = [start(worker(proxy.url, "late"))]
        try:
            wait_until(lambda: job.state() == "running", 5, "the reservation")
            ends.append(start(worker(server.url, "other")))
            wait_until(lambda: begun == ["other"], 5, "the other worker")
            wait_until(lambda: len(begun) > 1 or "before it could begin" in caplog.text, 5, "the late reply")
            assert begun == ["other"]
        finally:
            over.set()
            for end in ends:
                end()
        assert job.state() == "succeeded"
        assert job.record().losses == 1
