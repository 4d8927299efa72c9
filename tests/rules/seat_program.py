"""A program that holds a seat until it dies: ``python -m rules.seat_program URL NAMESPACE POOL TTL``."""

from __future__ import annotations

import sys
import threading

from seatline.producer import Queue


def main() -> None:
    url, namespace, pool, ttl = sys.argv[1:]
    with Queue(url, namespace=namespace).pools.session(pool, ttl=float(ttl), name="report"):
        sys.stdout.write("holds\n")
        sys.stdout.flush()
        threading.Event().wait(60)


if __name__ == "__main__":
    main()
