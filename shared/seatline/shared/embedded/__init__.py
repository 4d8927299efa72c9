"""The embedded server: a real Valkey or Redis that Seatline starts when nobody named one.

Terms. The *state folder* belongs to one user (mode 0700) and holds everything that outlives the server::

    password                   0600, made once; the only secret (server.conf repeats it for the server, 0600)
    server.conf                0600, written before every start
    server.json                where the last server listens; no secret
    server.log, server.pid     the server's own
    data.json                  which flavour and version wrote the data
    start.lock                 flock: who may start or stop a server at this moment
    alive.lock                 flock held by the *server process itself* for as long as it lives
    valkey/ or redis/          the data (append-only file), apart, because neither reads all of the other's; and
                               users.acl: the logins that were saved, and the operator's, written before every start

It is the folder given, else SEATLINE_STATE, else XDG_STATE_HOME/seatline, else ~/.local/state/seatline. The *run
folder* holds only the socket: XDG_RUNTIME_DIR/seatline, else ``seatline-<uid>`` in the temp folder. A socket path has
room for 107 bytes, which a state folder deep in a checkout would exceed; where even the run folder is too deep, or not
safely ours, the server is used over 127.0.0.1 alone. The *starter* is whichever process found no server.

Who is authoritative. The server that answers to our password and says that it runs from our ``server.conf``; its pid,
version and binary are taken from its answer. ``server.json`` merely tells where to ask. That a server *lives* is told
by ``alive.lock``: the starter locks the file and lets the server inherit it, so the kernel gives the lock back at the
very moment the process ends, however it ends, and no pid that was used again can deceive us.

What happens when

* *eight processes find no server*: all queue for ``start.lock``; one starts, seven look again and join;
* *the starter is killed half-way*: the server goes on (own session, own process group, no child of the starter) or
  never came; ``server.json`` was written before it was launched, so the next process finds it;
* *the server is killed*: ``alive.lock`` is free, ``server.json`` is stale, the next ``ensure`` starts one on the same
  data, with the same password and, if it is still free, the same port. Lost: at most the last two seconds (everysec);
* *the server lives and is silent* (stopped, swapping, in a long script): never a second one on the same data, but
  ``ServerUnavailable`` after a deadline, with the pid;
* *the folder was copied*: the copy's ``server.json`` leads to a server that runs from another ``server.conf``, so it is
  not ours, and the copy gets a server of its own;
* *the folder is shared by several hosts or containers*: the lock holds where the file system has locks; who cannot
  reach the living server is told so and starts none;
* *the socket was swept away* (end of a login, a cleaner of temp folders): we join over 127.0.0.1. The password is sent
  there only while ``alive.lock`` is held and the port is this user's: on one that was given up anybody may listen.
  (A client that keeps a redis:// URL and connects again by itself cannot know that. Hence the socket comes first);
* *the state folder is deleted* under a running server: it cannot be found any more; end it by its pid;
* *a service manager* that ends whole control groups ends the server with the service that started it. In production
  run a server of its own and set ``SEATLINE_EMBEDDED=never``.
"""

from __future__ import annotations

from seatline.shared.embedded.found import EmbeddedServer
from seatline.shared.embedded.lifecycle import ensure, status, stop

__all__ = ["EmbeddedServer", "ensure", "status", "stop"]
