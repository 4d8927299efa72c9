"""Run jobs: declare handlers, start workers.

::

    handlers = Handlers()

    @handlers.handler("drawing.publish", uses={"vault": 1}, if_lost="rerun")
    def publish(ctx: Context, file: str) -> dict: ...

    Worker(handlers, "redis://localhost:6379/0", namespace="farm", slots=4).run()
"""

from seatline.worker.context import Cancelled, Context
from seatline.worker.handlers import Handlers
from seatline.worker.worker import RunSummary, Worker

__all__ = ["Cancelled", "Context", "Handlers", "RunSummary", "Worker"]
