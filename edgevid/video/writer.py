"""Writing video: H.264 MP4 that browsers play, with the stream's own times."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from edgevid.errors import InputError, SourceError
from edgevid.types import Array
from edgevid.types.closing import Closing

log = logging.getLogger("edgevid")

CODECS = ("libx264", "libopenh264", "mpeg4")
"""Encoders, best first; the last one plays in players but not in every browser."""
SUFFIXES = (".mp4", ".m4v", ".mov")
TICKS = 90_000
BT709, LIMITED = 1, 1
"""FFmpeg's numbers of the color matrix and of the range 16..235."""


class VideoWriter(Closing):
    """Writes RGB images to an MP4 file.

    The file is fragmented: every two seconds of video are complete on disk, so that a program that is
    killed leaves a file that plays up to there.
    """

    def __init__(self, path: str | Path, *, fps: float = 25.0, quality: int = 23) -> None:
        """`fps` is the nominal rate; `quality` is the constant rate factor, 0 best to 51 worst."""
        if not fps > 0:
            raise InputError(f"fps: expected more than 0, got {fps}")
        self.path, self.fps, self.quality = Path(path), fps, quality
        if self.path.suffix and self.path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: expected a name that ends in .mp4")
        if not self.path.parent.is_dir():
            raise SourceError(f"{self.path}: the folder {self.path.parent} does not exist; create it first")
        self.frames = 0
        self._container: Any = None
        self._stream: Any = None
        self._reused: Any = None
        self._start = 0.0
        self._last_tick = -1
        self._failed = False  # after FFmpeg failed on a frame it must get no more

    def write(self, image: Array, time: float) -> None:
        """Adds `image` (H, W, 3) uint8 RGB shown at `time` seconds; sizes are made even, as H.264 needs."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"video image: expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
        if not math.isfinite(time):
            raise InputError(f"time: expected seconds, got {time}")
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        if min(height, width) < 2:
            raise InputError(
                f"video image: expected at least 2x2 pixels, got {image.shape[1]}x{image.shape[0]}"
            )
        if self._failed:
            raise SourceError(f"{self.path}: disk full or not writable: free space and start a new file")
        if self._container is None:
            self._open(width, height, time)
        elif (width, height) != (self._stream.width, self._stream.height):
            raise InputError(
                f"video image: expected {self._stream.width}x{self._stream.height} as before, got "
                f"{width}x{height}; start a new file when the size changes"
            )
        tick = max(round((time - self._start) * TICKS), self._last_tick + 1)
        av_frame = self._rgb(image[:height, :width]).reformat(format="yuv420p", dst_colorspace="ITU709")
        av_frame.pts, av_frame.time_base, self._last_tick = tick, Fraction(1, TICKS), tick
        try:
            for packet in self._stream.encode(av_frame):
                self._container.mux(packet)
        except Exception:  # an interrupt is none: the file is finished after it
            self._failed = True
            raise
        self.frames += 1

    def _rgb(self, image: Array) -> Any:
        """The image in one reused `av.VideoFrame`.

        A new one for each image fragments the heap: at 1080p a program grew by 6 MB per frame.
        """
        if self._reused is None or (self._reused.width, self._reused.height) != image.shape[1::-1]:
            self._reused = av.VideoFrame(image.shape[1], image.shape[0], "rgb24")
        plane = self._reused.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[: image.shape[0], : 3 * image.shape[1]] = image.reshape(image.shape[0], -1)
        return self._reused

    def _open(self, width: int, height: int, time: float) -> None:
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        try:
            with open(self.path, "wb"):  # FFmpeg opens it later, within the first image
                pass
        except OSError as error:
            raise SourceError(
                f"{self.path}: cannot be written: {error.strerror}; choose another path"
            ) from None
        self._container = av.open(str(self.path), "w", format="mp4", container_options=flags)
        codec = next(name for name in CODECS if _has_encoder(name))
        if codec != CODECS[0]:
            log.warning("%s: this FFmpeg has no libx264, writing with %s", self.path, codec)
        self._stream = stream = self._container.add_stream(
            codec, rate=Fraction(self.fps).limit_denominator(1001)
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        # Stated, because players guess an unstated matrix by the height, and guess differently.
        stream.codec_context.colorspace, stream.codec_context.color_range = BT709, LIMITED
        stream.codec_context.gop_size = max(1, round(2 * self.fps))
        if codec == "libx264":
            stream.options = {"crf": str(self.quality), "preset": "veryfast"}
        else:
            stream.bit_rate = int(width * height * self.fps * 0.12)
        self._start = time

    def close(self) -> None:
        """Finishes the file; a writer that got no image leaves none."""
        if self._container is None:
            return
        container, self._container = self._container, None
        if self._failed:  # the error was raised when it came
            with suppress(OSError):
                container.close()
            return
        try:
            for packet in self._stream.encode():
                container.mux(packet)
        finally:
            container.close()


def _has_encoder(codec: str) -> bool:
    try:
        av.Codec(codec, "w")
    except Exception:  # PyAV raises a class of its own that moved between versions
        return False
    return True
