"""Where one message ends in a stream of RESP 2 or 3: enough to act on whole requests and whole replies."""

from __future__ import annotations

__all__ = ["take_replies", "take_requests", "words"]

CRLF = b"\r\n"


def take_requests(buffer: bytearray) -> list[bytes]:
    """Remove the complete requests from the front of ``buffer`` and return them, each as it came."""
    return _take(buffer, inline=True)


def take_replies(buffer: bytearray) -> list[bytes]:
    """Remove the complete replies from the front of ``buffer`` and return them, each as it came."""
    return _take(buffer, inline=False)


def words(request: bytes) -> list[bytes]:
    """Return a request's words; the first is the command."""
    if not request.startswith(b"*"):
        return request.split()
    found, at = [], request.index(CRLF) + 2
    while at < len(request):
        start = request.index(CRLF, at) + 2
        size = int(request[at + 1 : start - 2])
        found.append(request[start : start + size])
        at = start + size + 2
    return found


def _take(buffer: bytearray, *, inline: bool) -> list[bytes]:
    messages, start = [], 0
    while start < len(buffer):
        bare = inline and buffer[start : start + 1] != b"*"  # a request may be a line of words
        end = buffer.find(b"\n", start) + 1 if bare else _end(buffer, start)
        if not end:
            break
        messages.append(bytes(buffer[start:end]))
        start = end
    del buffer[:start]
    return messages


def _end(buffer: bytearray, at: int) -> int:
    """Return where the message that begins at ``at`` ends, 0 when it is not complete.

    Nesting needs no recursion: an aggregate only adds to the number of elements still to come.
    """
    missing = 1
    while missing:
        line = buffer.find(CRLF, at)
        if line < 0:
            return 0
        kind, head = chr(buffer[at]), buffer[at + 1 : line]
        at, missing = line + 2, missing - 1
        if kind in "$=!" and head != b"-1":
            at += int(head) + 2
            if at > len(buffer):
                return 0
        elif kind in "*~>":
            missing += max(0, int(head))
        elif kind == "%":
            missing += 2 * int(head)
        elif kind == "|":  # attributes come before the reply that they describe
            missing += 2 * int(head) + 1
    return at
