"""Random containers, codecs, groups of pictures, time bases, cuts and joins: every frame, in rising time.

The clips are made by FFmpeg's muxers and encoders, as many as this PyAV has; how many frames they have
is what FFmpeg's own decoder gives.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from long_run import examples

from edgevid.errors import SourceError
from edgevid.video.files import FileSource

FORMATS = {
    "mp4": ("libx264", "libx265", "mpeg4", "libvpx-vp9"),
    "mov": ("libx264", "mjpeg", "mpeg4"),
    "matroska": ("libx264", "libx265", "ffv1", "mpeg2video", "mjpeg"),
    "webm": ("libvpx", "libvpx-vp9"),
    "avi": ("libx264", "mpeg4", "mjpeg", "ffv1"),
    "mpegts": ("libx264", "libx265", "mpeg2video"),
    "flv": ("libx264",),
    "h264": ("libx264",),
    "hevc": ("libx265",),
    "m4v": ("mpeg4",),
    "mpeg2video": ("mpeg2video",),
}
JOINABLE = ("mpegts", "h264", "hevc", "m4v", "mpeg2video", "flv")
"""Formats that stay readable when one file is appended to another."""
CHOICES = [(form, codec) for form, codecs in FORMATS.items() for codec in codecs if codec in av.codecs_available]
OPTIONS = {
    "libx264": {"preset": "ultrafast", "threads": "1"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}
RATES = (Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(10), Fraction(7))


@dataclass(frozen=True)
class Clip:
    """How a clip is made."""

    form: str
    codec: str
    frames: int
    group: int
    b_frames: int
    rate: Fraction
    steps: tuple[int, ...]
    """Frame times between two frames, repeated: uneven where they differ."""
    begin: int
    """The first time stamp, in frames; negative ones become an edit list in MP4."""
    parts: int
    """How often it is joined to itself."""
    cut: float
    """The share of the bytes that is kept."""


clips = st.builds(
    lambda choice, **rest: Clip(*choice, **rest),
    st.sampled_from(CHOICES),
    frames=st.integers(1, 14),
    group=st.integers(1, 8),
    b_frames=st.integers(0, 3),
    rate=st.sampled_from(RATES),
    steps=st.sampled_from([(1,), (1,), (1, 2), (1, 1, 9)]),
    begin=st.sampled_from([0, 0, 3, 1000, -4]),
    parts=st.sampled_from([1, 1, 2]),
    cut=st.sampled_from([1.0, 1.0, 1.0, 0.7]),
)


def made(clip: Clip) -> bytes:
    """The bytes of a clip."""
    memory = io.BytesIO()
    with av.open(memory, "w", format=clip.form) as container:
        rate = Fraction(25) if clip.codec == "mpeg2video" else clip.rate  # it has a few rates only
        stream: Any = container.add_stream(clip.codec, rate=rate)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if clip.codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = clip.group
        stream.codec_context.time_base = 1 / rate
        options = dict(OPTIONS.get(clip.codec, {}))
        if clip.codec in ("libx264", "mpeg4", "mpeg2video"):
            options["bf"] = str(clip.b_frames)
        if clip.codec == "libx265":
            options["x265-params"] += f":bframes={clip.b_frames}"
        stream.options = options
        raw = clip.form in ("h264", "hevc", "m4v", "mpeg2video")
        at = 0 if raw else clip.begin
        for n in range(clip.frames):
            image = np.full((48, 64, 3), 40, np.uint8)
            image[:, 3 * n % 56 : 3 * n % 56 + 8] = 250
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = at, 1 / rate
            at += clip.steps[n % len(clip.steps)]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = memory.getvalue() * (clip.parts if clip.form in JOINABLE else 1)
    return data[: int(len(data) * clip.cut)]


def ffmpeg_stamps(path: Path) -> list[Fraction | None]:
    """The time stamp of each frame that FFmpeg decodes, None where it has none."""
    found: list[Fraction | None] = []
    with contextlib.suppress(av.FFmpegError, ValueError), av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0]) if container.streams.video else ()
        for packet in packets:
            with contextlib.suppress(av.FFmpegError):
                found += [None if f.pts is None else f.pts * f.time_base for f in packet.decode()]
    return found


@given(clips)
@settings(
    max_examples=examples(1000),
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking takes minutes, and a clip is small as it is
    suppress_health_check=[HealthCheck.too_slow],
)
def test_each_frame_comes_once_and_its_time_rises(clip: Clip) -> None:
    try:
        data = made(clip)
    except av.FFmpegError:  # an encoder does not take this combination
        reject()
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "clip.bin").write_bytes(data)
        expected = ffmpeg_stamps(path)
        try:
            with FileSource(path) as source:
                times = [frame.time for frame in source]
                repaired = source.repaired.total()
        except SourceError:
            times, repaired = [], 0
    assert len(times) == len(expected)
    assert all(a < b for a, b in pairwise(times))
    if not repaired and times and clip.form != "avi":  # sound stamps are left as they are
        assert times == [float(s) - float(expected[0]) for s in expected]  # type: ignore[arg-type]
