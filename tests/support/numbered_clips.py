"""Small clips whose frames carry their number, in any container; and MPEG-TS segments of them."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SIDE, BITS = 8, 10
LEAD = 10
"""Stamps begin with so many frames, so that no decoding stamp is negative and shifts the clip."""


def numbered_image(number: int, width: int = 96, height: int = 48) -> np.ndarray:
    """Noise, with the number in black and white squares in the upper left corner."""
    image = np.random.default_rng(number).integers(60, 200, (height, width, 3), np.uint8)
    for bit in range(BITS):
        image[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 255 * (number >> bit & 1)
    return image


def number_in(image: np.ndarray) -> int:
    """The number of a decoded image."""
    row = image[SIDE // 2, :, 1]
    return sum(int(row[int((bit + 0.5) * SIDE)] > 128) << bit for bit in range(BITS))


def clip(
    count: int, *, format: str = "mp4", codec: str = "mpeg4", first: int = 0, fps: int = 25, **options: str
) -> bytes:
    """`count` frames with the numbers from `first` on, at the stamps that their numbers have at `fps`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        with av.open(str(path), "w", format=format, options=options) as container:
            stream: Any = container.add_stream(codec, rate=fps)
            stream.width, stream.height, stream.bit_rate = 96, 48, 400_000
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.codec_context.gop_size = 5
            for n in range(first, first + count):
                frame = av.VideoFrame.from_ndarray(numbered_image(n), format="rgb24")
                frame.pts, frame.time_base = n + LEAD, Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def with_sound(*, video_s: float, sound_s: float) -> bytes:
    """MPEG-TS whose sound goes on after its picture has stopped."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        with av.open(str(path), "w", format="mpegts") as container:
            stream: Any = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 48, "yuv420p", 400_000
            sound: Any = container.add_stream("mp2", rate=48000, layout="mono")
            for n in range(round(25 * video_s)):
                frame = av.VideoFrame.from_ndarray(numbered_image(n), format="rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            random = np.random.default_rng(0)
            for n in range(round(sound_s * 48000 / 1152)):
                noise = random.integers(-9000, 9000, (1, 1152), np.int16)
                block = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
                block.sample_rate, block.pts = 48000, n * 1152
                container.mux(sound.encode(block))
            container.mux(sound.encode())
        return path.read_bytes()
