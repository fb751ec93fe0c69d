"""Images into the packets of a stream, with the times that they are shown at."""

import logging
from fractions import Fraction
from typing import Any

import av
import numpy as np

from edgevid.runtime.log import log_once
from edgevid.types import Array
from edgevid.video.encoders import ENCODERS, TICKS, choose_encoder, set_up

BT709, LIMITED = 1, 1  # FFmpeg's numbers of the color matrix and of the range 16..235


class FrameEncoder:
    """Encodes RGB images of one size for a container that is open for writing."""

    def __init__(
        self, container: Any, size: tuple[int, int], *, fps: float, quality: int, codec: str, start: float
    ) -> None:
        """`size` is (width, height), `start` the time of the first image; the rest as of `VideoWriter`."""
        name = choose_encoder(codec, *size)
        level = logging.WARNING if name == "mpeg4" else logging.INFO
        log_once(f"video is written as {ENCODERS[name].codec} by {name} ({ENCODERS[name].kind})", level)
        self.size, self._start, self._last = size, start, -1
        self.stream = container.add_stream(name)
        set_up(self.stream.codec_context, name, *size, fps=fps, quality=quality)
        self.stream.time_base = Fraction(1, TICKS)
        # Stated, because players guess an unstated matrix by the height, and guess differently.
        context = self.stream.codec_context
        context.colorspace, context.color_range = BT709, LIMITED
        self._reused: Any = None

    def frame(self, image: Array, time: float) -> Any:
        """The `av.VideoFrame` to encode for an image (H, W, 3) uint8 RGB."""
        tick = max(round((time - self._start) * TICKS), self._last + 1)
        av_frame = self._rgb(image).reformat(format=self.stream.pix_fmt, dst_colorspace="ITU709")
        av_frame.pts, av_frame.time_base, self._last = tick, Fraction(1, TICKS), tick
        return av_frame

    def _rgb(self, image: Array) -> Any:
        """The image in one reused `av.VideoFrame`.

        A new one for each image fragments the heap: at 1080p a program grew by 6 MB per frame.
        """
        if self._reused is None:
            self._reused = av.VideoFrame(*self.size, "rgb24")
        plane = self._reused.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[: image.shape[0], : 3 * image.shape[1]] = image.reshape(image.shape[0], -1)
        return self._reused
