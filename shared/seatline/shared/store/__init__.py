"""The wire: the only place that imports redis. A store runs calls and reads, whichever thread asks."""

from seatline.shared.store.link import where
from seatline.shared.store.listener import Listener
from seatline.shared.store.store import Store, Wire
from seatline.shared.store.tries import Patience

__all__ = ["Listener", "Patience", "Store", "Wire", "where"]
