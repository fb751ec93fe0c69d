"""Still images: a folder or a glob of them, and arrays from memory."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from edgevid.errors import InputError, SourceError
from edgevid.types import Array, Frame, as_frame
from edgevid.video.base import SourceBase

IMAGES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
"""Suffixes of the image files that are read."""


class ImageSource(SourceBase):
    """The images of a folder or a glob in natural order, at `fps`."""

    def __init__(self, where: str | Path, *, fps: float = 10.0) -> None:
        """`fps` gives the images their times; sizes may differ from image to image."""
        super().__init__()
        if not fps > 0:
            raise InputError(f"fps: expected more than 0, got {fps}")
        folder = Path(where)
        found = folder.iterdir() if folder.is_dir() else map(Path, glob.glob(str(where)))
        self.paths = sorted((p for p in found if p.suffix.lower() in IMAGES), key=_natural)
        if not self.paths:
            raise SourceError(f"{where}: expected images ({', '.join(sorted(IMAGES))}), found none")
        self.fps, self.frame_count, self._gap = fps, len(self.paths), 1.0 / fps
        first = next((image for p in self.paths if (image := read_image(p)) is not None), None)
        if first is None:
            raise SourceError(f"{where}: expected images, none of the {len(self.paths)} can be decoded")
        self.size = (first.shape[1], first.shape[0])

    def __iter__(self) -> Iterator[Frame]:
        for number, path in enumerate(self.paths):
            image = read_image(path)
            if image is None:
                self.corrupted += 1
                continue
            yield Frame(image, number * self._gap, self.decoded)
            self.decoded += 1


class ArraySource(SourceBase):
    """Frames from memory: (H, W, 3) uint8 BGR arrays, (seconds, array) pairs, PIL images, or Frames."""

    def __init__(self, arrays: Iterable[Any], *, fps: float = 25.0) -> None:
        """`fps` gives arrays without a time their times."""
        super().__init__()
        if not fps > 0:
            raise InputError(f"fps: expected more than 0, got {fps}")
        self.fps, self._gap = fps, 1.0 / fps
        try:
            self.frame_count = len(arrays)  # type: ignore[arg-type]
        except TypeError:
            self.frame_count = None
        self._arrays = iter([arrays] if isinstance(arrays, np.ndarray) and arrays.ndim < 4 else arrays)

    def __iter__(self) -> Iterator[Frame]:
        last = -np.inf
        for number, item in enumerate(self._arrays):
            if isinstance(item, Frame):
                frame = item
            else:
                time, image = item if isinstance(item, tuple) else (number * self._gap, item)
                frame = as_frame(image, time, self.decoded)
            if frame.time <= last:
                self.dropped += 1
                continue
            last, self.size = frame.time, frame.size
            self.decoded += 1
            yield frame


def read_image(path: Path | BinaryIO) -> Array | None:
    """(H, W, 3) uint8 RGB of an image file, None where it does not decode."""
    try:
        with av.open(str(path) if isinstance(path, Path) else path, "r") as container:
            for av_frame in container.decode(video=0):
                return np.ascontiguousarray(av_frame.to_ndarray(format="rgb24"))
    except (av.FFmpegError, OSError, ValueError):
        return None
    return None


def resize_area(image: Array, size: tuple[int, int]) -> Array:
    """`image` (H, W, 3) uint8 RGB at `size` (width, height), averaged over areas where it shrinks."""
    av_frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    resized = av_frame.reformat(*size, interpolation="AREA").to_ndarray(format="rgb24")
    return np.ascontiguousarray(resized)


def to_jpeg(image: Array, *, qscale: int = 1) -> bytes:
    """The JPEG of `image` (H, W, 3) uint8 RGB.

    `qscale` is FFmpeg's: 1 is as good as libjpeg's quality of 95, 3 as 87, 31 the smallest.
    """
    av_frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    av_frame = av_frame.reformat(format="yuvj420p", dst_colorspace="ITU601")
    av_frame.pts = 0
    encoder = av.VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = av_frame.width, av_frame.height, "yuvj420p"
    encoder.time_base, encoder.thread_count = Fraction(1), 1
    encoder.options = {"qmin": str(qscale), "qmax": str(qscale)}
    return b"".join(bytes(packet) for packet in [*encoder.encode(av_frame), *encoder.encode(None)])


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]
