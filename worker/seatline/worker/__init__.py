"""Run jobs: declare handlers, start workers.

::

    handlers = Handlers()

    @handlers.handler("drawing.publish", uses={"vault": 1}, if_lost="rerun", timeout=600, retry=Retry(attempts=3))
    def publish(ctx: Context, file: str) -> dict: ...

    Worker(handlers, "redis://localhost:6379/0", namespace="farm", slots=4).run()
"""

from seatline.shared.errors import HandlerDied, SessionClosed, Timeout
from seatline.shared.job_type import JobType
from seatline.worker.context import Cancelled, Context
from seatline.worker.handlers import Handlers
from seatline.worker.hooks import HookContext
from seatline.worker.outcomes import Goto, NoSeat, Retry, Skip
from seatline.worker.sessions import Session
from seatline.worker.shell import ExitCode
from seatline.worker.worker import RunSummary, Worker

__all__ = [
    "Cancelled",
    "Context",
    "ExitCode",
    "Goto",
    "HandlerDied",
    "Handlers",
    "HookContext",
    "JobType",
    "NoSeat",
    "Retry",
    "RunSummary",
    "Session",
    "SessionClosed",
    "Skip",
    "Timeout",
    "Worker",
]
