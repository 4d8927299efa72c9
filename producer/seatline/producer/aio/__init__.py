"""The queue for event loops: the methods of :class:`~seatline.producer.Queue`, awaited.

Nothing is decided here. What is asked, and what the answers mean, is the same code for both (``requests.py``, ``handle.py``,
``orders.py``, ``pools.py``, ``planning.py``, ``chains.py``, ``selection.py``); each method here builds, awaits and wraps. That
the methods and their arguments are the same is compared by ``tests/rules/test_async_parity.py``.
"""

from seatline.producer.aio.chains import AsyncChains
from seatline.producer.aio.handles import AsyncJobHandle, AsyncOrderHandle
from seatline.producer.aio.pools import AsyncPools, AsyncProgramSession
from seatline.producer.aio.queue import AsyncQueue
from seatline.producer.aio.retention import AsyncRetention
from seatline.producer.aio.schedules import AsyncSchedules
from seatline.producer.aio.selection import AsyncSelection
from seatline.producer.aio.triggers import AsyncTriggers

__all__ = [
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
]
