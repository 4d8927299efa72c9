"""The frames between a worker and a child: whole whatever signal comes amid them (C15), and refused when they are none."""

from __future__ import annotations

import signal
import socket
from typing import Any

import pytest

from seatline.shared.codec import pack_frame, unpack_frame
from seatline.shared.errors import PayloadError
from seatline.worker.children.frames import Frames, packed
from seatline.worker.children.link import ChildLink
from seatline.worker.context import Cancelled


@pytest.mark.parametrize("told", [True, False])
def test_c15_a_stop_amid_a_frame_is_raised_behind_it(told: bool) -> None:
    """C15: half a frame would end the connection; a signal without a word of the worker raises nothing (C13)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker = Frames(ours)

        class Interrupted(Frames):
            """A connection on which a signal arrives amid each frame."""

            def send(self, *frames: list[Any]) -> None:
                data = b"".join(map(packed, frames))
                self.sock.sendall(data[:5])
                if not heard:
                    heard.append(data)
                    link.on_sigterm(signal.SIGTERM, None)
                self.sock.sendall(data[5:])

        heard = list[bytes]()
        link = ChildLink(Interrupted(theirs), "w1")
        link.begin("1", "t", events=True)
        if told:
            worker.send(["stop", "late"])
        link.arm()
        if told:
            with pytest.raises(Cancelled):
                link.note({}, "a line")
        else:
            link.note({}, "a line")
        link.event("execute", "")
        assert worker.receive() == ["note", {}, ["a line"]]
        if not told:
            assert worker.receive() == ["note", {}, ["SIGTERM ignored: its worker did not send it"]]
        assert worker.receive() == ["event", "execute", ""]
        assert (link.over, link.late, link.cancel) == (told, told, False)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\x81\xa1a\x01", b"\x92\x01"])
def test_frames_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(PayloadError, match="frame cannot be read"):
        unpack_frame(data)


def test_frames_keep_text_and_bytes_apart() -> None:
    frame = ["done", "a\udcff", b"\xff", 1, None, [["x", b"y"]], {"progress": "1/2"}]
    assert unpack_frame(pack_frame(frame)) == ["done", "a?", b"\xff", 1, None, [["x", b"y"]], {"progress": "1/2"}]
