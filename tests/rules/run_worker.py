"""A worker process of the tests: ``python -m rules.run_worker '{"url": ..., "namespace": ..., "types": [...]}'``.

Writes its id and pid as one line of JSON before it begins, and the summary of its run as another when it has ended.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from typing import Any

from rules.handlers import handlers

from seatline.worker import Worker


def say(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    options: dict[str, Any] = json.loads(sys.argv[1])
    burst = options.pop("burst", False)
    worker = Worker(handlers, options.pop("url"), **options)
    say(id=worker.id, pid=os.getpid())
    say(**dataclasses.asdict(worker.run(burst=burst)))


if __name__ == "__main__":
    main()
