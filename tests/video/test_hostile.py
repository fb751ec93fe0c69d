"""Cameras that send anything but a video: memory stays bounded, the fault is named, and closing takes no time."""

from __future__ import annotations

import re
import time

import av
import pytest
from hostile_camera import KINDS, HostileCamera

from edgevid.video.live import LiveSource
from edgevid.video.wire import Wire

FAULTS = {
    "header by byte": "no end of the HTTP header", "endless header": "no frame for|no end of the HTTP header",
    "body by byte": "no frame for", "image by byte": "no frame for", "noise": "Invalid data",
    "noise as an image": "24 MB came, and no end", "endless playlist": "4 MB came, and no end",
    "nothing": "no frame for", "noise as H.264": "Invalid data", "sound": "the stream has no video",
    "RTSP noise": "Invalid data|UDP is tried", "RTSP silent": "no answer for",
    "RTSP endless SDP": "MB came without a frame", "RTSP sound": "the stream has no video",
    "RTSP announced picture": "no frame for",
}  # fmt: skip
"""The event of each fault; of the others: too much without a frame, or, on a slow machine, too late."""


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_camera_takes_bounded_memory_is_named_and_closes_at_once(kind: str) -> None:
    parts, rtsp = KINDS[kind]
    with HostileCamera(parts, rtsp) as camera:
        uri = camera.uri("/live.m3u8" if "playlist" in kind else "/live")
        if kind == "RTSP noise":
            uri = uri.replace("http://", "rtsp://")
        before = most = resident_mb()
        source = LiveSource(uri, stall_s=2.5, min_backoff_s=5)
        ends = time.monotonic() + 12
        while not source.events and time.monotonic() < ends:
            most = max(most, resident_mb())
            time.sleep(0.02)
        begun = time.monotonic()
        source.close()
        assert time.monotonic() - begun < 2.0
    assert re.search(FAULTS.get(kind, "MB came without a frame|no frame for"), source.events[0].detail), source.events
    assert most - before < 150
    assert source.decoded == 0


@pytest.mark.parametrize("kind", ["RTSP silent", "RTSP endless SDP", "image by byte", "header by byte"])
def test_a_source_that_waits_for_its_camera_closes_at_once_and_its_thread_ends(kind: str) -> None:
    with HostileCamera(*KINDS[kind]) as camera:
        source = LiveSource(camera.uri(), stall_s=60.0)
        time.sleep(0.3)
        begun = time.monotonic()
        source.close()
        assert time.monotonic() - begun < 2.0
        assert not source._thread.is_alive()


def test_a_source_closes_before_its_connection_was_found() -> None:
    """The first look at the open connections may come later than the end, on a busy machine."""
    with HostileCamera(*KINDS["RTSP silent"]) as camera:
        wire = Wire(camera.uri())
        wire.end()
        begun = time.monotonic()
        with wire.watched(), pytest.raises(av.FFmpegError):
            av.open(camera.uri(), timeout=(20.0, 20.0), options={"rtsp_transport": "tcp"})
        assert time.monotonic() - begun < 5.0
        assert not wire.flooded
