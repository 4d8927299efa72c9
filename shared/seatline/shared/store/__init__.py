"""The wire: the only place that imports redis. A store runs calls and reads, whichever thread asks."""

from seatline.shared.store.link import where
from seatline.shared.store.listener import Listener
from seatline.shared.store.store import Patience, Store, Wire

__all__ = ["Listener", "Patience", "Store", "Wire", "where"]
