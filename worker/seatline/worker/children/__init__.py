"""Child processes that run handlers: one can be killed, leak or crash without harm to anything but its job (C12).

Three kinds of process, each the parent of the next::

    worker      leases, server, slots' threads          children.py, attempt.py
    nursery     forked before the worker has threads    nursery.py
                or connections; makes and ends children
    child       runs one handler after another          child.py, link.py

The worker speaks with the nursery about processes (make one, end one), and with each child about jobs, over a pair of
sockets of their own (``frames.py``). Nothing is pickled: handlers are there by the fork, jobs and reports are msgpack.

Who dies with whom (Linux; elsewhere only by end-of-file on the sockets):

* the worker dies: the nursery is told by the kernel, kills all children and whatever they have left, and ends
* the nursery dies: the kernel kills the children
* a child dies: its process group is killed; what had left that group falls to the nursery, which kills it
* a job ends: what its handler has left running falls to the child, which kills it
"""

from seatline.worker.children.children import Children

__all__ = ["Children"]
