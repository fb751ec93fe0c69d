"""Writing video: MP4 that browsers play, with the stream's own times."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np

from edgevid.errors import InputError, SourceError
from edgevid.types import Array
from edgevid.types.closing import Closing
from edgevid.video.encoders import check_codec
from edgevid.video.frame_encoder import FrameEncoder

SUFFIXES = (".mp4", ".m4v", ".mov")


class VideoWriter(Closing):
    """Writes RGB images to an MP4 file.

    The file is fragmented: every two seconds of video are complete on disk, so that a program that is
    killed leaves a file that plays up to there.
    """

    def __init__(self, path: str | Path, *, fps: float = 25.0, quality: int = 23, codec: str = "auto") -> None:
        """`fps` is the nominal rate; `quality` is 0 best to 51 worst, on the scale of H.264.

        `codec` is "h264", "vp9", "av1", an encoder of FFmpeg such as "libx264", or "auto": H.264 by hardware
        or OpenH264, else VP9, and x264, which is GPL, where this FFmpeg has none of them.
        """
        if not fps > 0:
            raise InputError(f"fps: expected more than 0, got {fps}")
        if not 0 <= quality <= 51:
            raise InputError(f"quality: expected 0 (best) to 51, got {quality}")
        check_codec(codec)
        self.path, self.fps, self.quality, self.codec = Path(path), fps, quality, codec
        if self.path.suffix and self.path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: expected a name that ends in .mp4")
        if not self.path.parent.is_dir():
            raise SourceError(f"{self.path}: the folder {self.path.parent} does not exist; create it first")
        self.frames = 0
        self._container: Any = None
        self._encoder: Any = None
        self._failed = False  # after FFmpeg failed on a frame it must get no more

    def write(self, image: Array, time: float) -> None:
        """Adds `image` (H, W, 3) uint8 RGB shown at `time` seconds; odd sizes lose a row or column."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"video image: expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
        if not math.isfinite(time):
            raise InputError(f"time: expected seconds, got {time}")
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        if min(height, width) < 2:
            raise InputError(f"video image: expected at least 2x2 pixels, got {image.shape[1]}x{image.shape[0]}")
        if self._failed:
            raise SourceError(f"{self.path}: disk full or not writable: free space and start a new file")
        if self._container is None:
            self._open(width, height, time)
        elif (width, height) != self._encoder.size:
            before = "x".join(map(str, self._encoder.size))
            raise InputError(
                f"video image: expected {before} as before, got {width}x{height}; start a new file when the "
                "size changes"
            )
        av_frame = self._encoder.frame(image[:height, :width], time)
        try:
            for packet in self._encoder.stream.encode(av_frame):
                self._container.mux(packet)
        except Exception:  # an interrupt is none: the file is finished after it
            self._failed = True
            raise
        self.frames += 1

    def _open(self, width: int, height: int, time: float) -> None:
        # Without flush_packets FFmpeg keeps up to 256 kB of a complete fragment in memory.
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        try:
            with open(self.path, "wb"):  # FFmpeg opens it later, within the first image
                pass
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be written: {error.strerror}; choose another path") from None
        address = f"file:{self.path}"  # a name with a colon is no protocol
        self._container = av.open(address, "w", format="mp4", container_options=flags)
        self._encoder = FrameEncoder(
            self._container, (width, height), fps=self.fps, quality=self.quality, codec=self.codec, start=time
        )

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
            for packet in self._encoder.stream.encode():
                container.mux(packet)
        finally:
            container.close()
