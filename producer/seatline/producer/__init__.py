"""Put jobs on the queue and follow them. Needs no handler code.

::

    queue = Queue("redis://localhost:6379/0", namespace="farm")
    handle = queue.enqueue("drawing.publish", {"file": "a.dwg"}, uses={"vault": 1})
    handle.result(timeout=30)
"""

from seatline.producer.aio import (
    AsyncChains,
    AsyncJobHandle,
    AsyncOrderHandle,
    AsyncPools,
    AsyncProgramSession,
    AsyncQueue,
    AsyncRetention,
    AsyncSchedules,
    AsyncSelection,
    AsyncTriggers,
)
from seatline.producer.chains import Chains
from seatline.producer.failures import Failure
from seatline.producer.handle import JobHandle
from seatline.producer.orders import OrderHandle
from seatline.producer.pools import Pools, ProgramSession
from seatline.producer.queue import Queue
from seatline.producer.report import FailureReport, PoolReport, Report, TypeReport
from seatline.producer.retention import Retention
from seatline.producer.schedules import PlannedStart, Schedules
from seatline.producer.selection import Acted, Selection
from seatline.producer.timeline import Transition
from seatline.producer.triggers import Triggers
from seatline.producer.watch import Watch
from seatline.producer.why import Obstacle
from seatline.shared.calls.acts import Act
from seatline.shared.calls.keeping import Rule
from seatline.shared.calls.orders import ChainRecord
from seatline.shared.calls.schedules import ScheduleRecord
from seatline.shared.calls.triggers import TriggerRecord
from seatline.shared.chain import Chain, Step
from seatline.shared.job import Attempt, Job, JobRecord
from seatline.shared.job_type import JobType
from seatline.shared.order import OrderRecord, Run
from seatline.shared.plan import Plan, PlanStep
from seatline.shared.retry import Retry

__all__ = [
    "Act",
    "Acted",
    "AsyncChains",
    "AsyncJobHandle",
    "AsyncOrderHandle",
    "AsyncPools",
    "AsyncProgramSession",
    "AsyncQueue",
    "AsyncRetention",
    "AsyncSchedules",
    "AsyncSelection",
    "AsyncTriggers",
    "Attempt",
    "Chain",
    "ChainRecord",
    "Chains",
    "Failure",
    "FailureReport",
    "Job",
    "JobHandle",
    "JobRecord",
    "JobType",
    "Obstacle",
    "OrderHandle",
    "OrderRecord",
    "Plan",
    "PlanStep",
    "PlannedStart",
    "PoolReport",
    "Pools",
    "ProgramSession",
    "Queue",
    "Report",
    "Retention",
    "Retry",
    "Rule",
    "Run",
    "ScheduleRecord",
    "Schedules",
    "Selection",
    "Step",
    "Transition",
    "TriggerRecord",
    "Triggers",
    "TypeReport",
    "Watch",
]
