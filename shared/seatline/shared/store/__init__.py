"""The wire: the only place that imports redis. A store runs calls and reads, whichever thread or task asks."""

from seatline.shared.store.async_listener import AsyncListener, Bell
from seatline.shared.store.async_store import AsyncStore
from seatline.shared.store.link import where
from seatline.shared.store.listener import Listener
from seatline.shared.store.store import Store, Wire
from seatline.shared.store.tries import Patience

__all__ = ["AsyncListener", "AsyncStore", "Bell", "Listener", "Patience", "Store", "Wire", "where"]
