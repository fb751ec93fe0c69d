"""Streams whose senders are not asked and do not answer: the description of a session (.sdp), UDP and RTP."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgevid.errors import SourceError
from edgevid.site.check_camera import check_camera
from edgevid.video.connect import remedy_for
from edgevid.video.live import LiveSource
from edgevid.video.open import open_video

SILENT: dict[str, Any] = {"stall_s": 1.5, "min_backoff_s": 0.05, "max_backoff_s": 0.1, "give_up_s": 2.0}


def free_port() -> int:
    """An even UDP port whose neighbor, which RTCP takes, is free as well."""
    while True:
        with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            with suppress(OSError, OverflowError):
                two.bind(("127.0.0.1", port + 1))
                if port % 2 == 0:
                    return port


def session(folder: Path, port: int) -> Path:
    path = folder / "gate.sdp"
    lines = "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=gate", "c=IN IP4 127.0.0.1", "t=0 0", f"m=video {port} RTP/AVP 32"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["sdp", "udp", "rtp"])
def test_a_stream_that_never_comes_is_named_like_a_stalled_one_and_given_up(tmp_path: Path, kind: str) -> None:
    port = free_port()
    uri = str(session(tmp_path, port)) if kind == "sdp" else f"{kind}://127.0.0.1:{port}"
    with LiveSource(uri, **SILENT) as source:
        with pytest.raises(SourceError, match="no frame for 2 s"):
            source.wait(30)
        first = source.events[0]
    assert (first.kind, first.detail) == ("stalled", "no frame came for 1.5 s")
    assert first.time < 2.9  # once the limit, not twice
    assert "destination" in remedy_for(first.detail)


@pytest.mark.parametrize("text", ["", "nothing of the kind\n", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\n"])
def test_a_file_that_describes_no_video_ends_the_program(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gate.sdp"
    path.write_text(text)
    with LiveSource(str(path)) as source, pytest.raises(SourceError, match=r"the description of a session.*v=0"):
        source.wait(30)


def test_a_port_that_another_program_has_is_named(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with LiveSource(str(session(tmp_path, port)), **SILENT) as source, pytest.raises(SourceError):
            source.wait(30)
    assert "another program has its port" in source.events[0].detail
    assert "ss -ulpn" in remedy_for(source.events[0].detail)


def test_a_session_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_video(tmp_path / "gate.sdp")
    (found,) = check_camera(str(tmp_path / "gate.sdp")).findings
    assert "no such file" in found.state


def test_a_session_is_read(tmp_path: Path) -> None:
    port, over = free_port(), threading.Event()

    def send() -> None:
        with av.open(f"rtp://127.0.0.1:{port}", "w", format="rtp") as container:
            stream: Any = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 160, 96, "yuv420p", 500_000
            stream.codec_context.gop_size = 5
            for n in range(2000):
                image = np.full((96, 160, 3), 2 * n % 200, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                container.mux(stream.encode(frame))
                if over.wait(0.04):
                    break

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        with open_video(session(tmp_path, port), give_up_s=30) as source:
            frames = list(islice(source, 5))
        assert [frame.size for frame in frames] == [(160, 96)] * 5
        assert all(a.time < b.time for a, b in pairwise(frames))
    finally:
        over.set()
        sender.join(10)
