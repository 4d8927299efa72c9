"""A web service that puts jobs on the queue: AsyncQueue in an event loop, for many requests at once.

::

    python -m examples.async_producer

``lifespan`` is what ``Starlette(lifespan=...)`` and ``FastAPI(lifespan=...)`` take, ``publish`` what a route would call; the
requests are made here, so that it runs without a web server. It starts a worker of its own, on the server that SEATLINE_URL
names, else on the one that Seatline starts by itself. It prints::

    one request     a.dwg has 5 sheets
    200 at once     200 jobs for 200 requests, over at most 8 connections
    a repeated one  is the same job: True
    a bad file      failed: ValueError: b.txt is no drawing
    a client left   and its job went on: succeeded
    the worker      ended with exit code 0
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace

from seatline.producer import AsyncJobHandle, AsyncQueue
from seatline.shared.errors import JobFailed
from seatline.worker import Context, Handlers

NAMESPACE = "example-async-producer"
MODULE = "examples.async_producer"

handlers = Handlers()


@handlers.handler("drawing.sheets")
def sheets(_: Context, file: str) -> int:
    """Run by the worker, in a process of its own."""
    if not file.endswith(".dwg"):
        raise ValueError(f"{file} is no drawing")
    return len(file)


@asynccontextmanager
async def lifespan(app: SimpleNamespace) -> AsyncGenerator[None]:
    """One queue for the whole service: opened when it starts, closed when it ends."""
    async with AsyncQueue(namespace=NAMESPACE) as app.queue:
        yield


async def publish(queue: AsyncQueue, file: str, request: str) -> AsyncJobHandle:
    """Answer a request: its own name is the token, so a client that repeats it is given the same job."""
    return await queue.enqueue("drawing.sheets", {"file": file}, token=request)


def name_of_request() -> str:
    return secrets.token_hex(8)


async def serve() -> None:
    app = SimpleNamespace()
    async with lifespan(app):
        queue: AsyncQueue = app.queue
        handle = await publish(queue, "a.dwg", name_of_request())
        print("one request     a.dwg has", await handle.result(timeout=30), "sheets")

        handles = await asyncio.gather(*(publish(queue, f"{n}.dwg", name_of_request()) for n in range(200)))
        await asyncio.gather(*(each.result(timeout=30) for each in handles))
        print(f"200 at once     {len({each.id for each in handles})} jobs for 200 requests, over at most 8 connections")

        request = name_of_request()
        first, again = await publish(queue, "a.dwg", request), await publish(queue, "a.dwg", request)
        print("a repeated one  is the same job:", first.id == again.id and again.existed)

        try:
            await (await publish(queue, "b.txt", name_of_request())).result(timeout=30)
        except JobFailed as failed:
            print(f"a bad file      failed: {failed.error_type}: {failed.error}")

        handle = await publish(queue, "c.dwg", name_of_request())
        waiting = asyncio.create_task(handle.result())
        await asyncio.sleep(0)
        waiting.cancel()  # as a web server does when a client hangs up
        print("a client left   and its job went on:", (await handle.wait(timeout=30)).state)


def main() -> None:
    command = [sys.executable, "-m", "seatline.console.main", "-n", NAMESPACE, "worker", f"{MODULE}:handlers"]
    worker = subprocess.Popen([*command, "--slots", "4"])
    try:
        asyncio.run(serve())
    finally:
        worker.terminate()
        code = worker.wait(30)
    print("the worker      ended with exit code", code)


if __name__ == "__main__":
    main()
