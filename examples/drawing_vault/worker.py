"""A worker process that ends with whoever started it: ``python -m examples.drawing_vault.worker NAME``.

`seatline worker examples.drawing_vault.handlers` would do as well. This one also ends when its standard input does, so
that not even a killed run leaves a worker behind.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Final

from examples.drawing_vault.handlers import handlers

from seatline.worker import Worker

SLOTS: Final = 2


def main() -> None:
    """Work until told to end, or until nobody is there to tell."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    worker = Worker(handlers, slots=SLOTS)

    def end_with_the_run() -> None:
        while os.read(sys.stdin.fileno(), 1):  # nobody writes: this is the end, however it comes
            pass
        worker.stop()

    threading.Thread(target=end_with_the_run, daemon=True).start()
    worker.run()


if __name__ == "__main__":
    main()
