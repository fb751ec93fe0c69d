"""Still images: a folder or a glob of them, and arrays from memory."""

import glob
import io
import re
from collections.abc import Iterable, Iterator, Sized
from contextlib import nullcontext
from fractions import Fraction
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import av
import numpy as np

from edgevid.errors import InputError, SourceError, log
from edgevid.types import Array, Frame, as_frame
from edgevid.video.frames import Source, exif_matrix, matrix_of, upright
from edgevid.video.packets import ffmpeg_limits, has_many_scans, limit_pixels, too_large

IMAGES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
"""Suffixes of the image files that are read."""
MOST_BYTES = 1 << 28  # Of an image's file
PATTERN = re.compile(r"%0?(\d*)d")  # A number in the names of a sequence: img_%04d.jpg
PAIRS, SMALL, SAME_SCENE = 8, 16, 0.6
"""The first so many images, at so many pixels, are compared each with the next; correlation of one scene."""


Images = Literal["independent", "sequence"]  # Whether images are unrelated photos, or the frames of one scene


class ImageSource(Source):
    """The images of a folder, a glob or a pattern (img_%04d.jpg) in natural order, at `fps`; or one image."""

    def __init__(self, where: str | Path, *, fps: float = 10.0, images: str | None = None) -> None:
        """`fps` gives the images their times; sizes may differ from image to image. `images` "independent":
        nothing is tracked from one to the next; "sequence": they are the frames of one scene; None: whether
        successive ones show the same is looked at, and noted on the log."""
        super().__init__()
        if not fps > 0:
            raise InputError(f"fps: expected more than 0, got {fps}")
        if images not in (None, *get_args(Images)):
            raise InputError(f"images: expected {' or '.join(get_args(Images))}, got {images!r}")
        self.paths = sorted((p for p in _found(where) if p.suffix.lower() in IMAGES), key=_natural)
        if not self.paths:
            raise SourceError(f"{where}: expected images ({', '.join(sorted(IMAGES))}), found none")
        self.fps, self.frame_count, self._gap = fps, len(self.paths), 1.0 / fps
        self._too_large = ""
        first = next((image for p in self.paths if (image := self._read(p)) is not None), None)
        if first is None:
            why = f": {self._too_large}" if self._too_large else ""
            raise SourceError(f"{where}: expected images, none of the {len(self.paths)} can be decoded{why}")
        self.size = (first.shape[1], first.shape[0])
        self.independent = images == "independent" if images else self._unrelated()
        """Whether objects are not tracked from one image to the next."""
        if images is None and len(self.paths) > 1:
            kind, other = ("unrelated photos", "sequence") if self.independent else ("frames", "independent")
            log.info("%s: taken for %s; if not so: --images %s", where, kind, other)

    def __iter__(self) -> Iterator[Frame]:
        for number, path in enumerate(self.paths):
            image = self._read(path)
            if image is None:
                self.corrupted += 1
                continue
            yield Frame(image, number * self._gap, number)
            self.decoded += 1

    def _read(self, path: Path) -> Array | None:
        try:
            return read_image(path)
        except SourceError as error:  # one of many
            if not self._too_large:
                log.warning("%s", error)
            self._too_large = str(error)
            return None

    def _unrelated(self) -> bool:
        """Whether the first images show different things, by the correlation of each with the one before."""
        small = []
        for path in self.paths[: PAIRS + 1]:
            if (image := self._read(path)) is not None:
                gray = resize_area(image, (SMALL, SMALL)).astype(np.float64).mean(2)
                small.append((image.shape, gray - gray.mean()))
        if len(small) < 2:
            return False
        if len({shape for shape, _ in small}) > 1:
            return True
        pairs = [(a * b).sum() / max(1e-9, np.sqrt((a * a).sum() * (b * b).sum())) for (_, a), (_, b) in
                 pairwise(small)]  # fmt: skip
        return bool(np.median(pairs) < SAME_SCENE)


class ArraySource(Source):
    """Frames from memory: (H, W, 3) uint8 BGR arrays, (seconds, array) pairs, PIL images, or Frames."""

    def __init__(self, arrays: Iterable[Any], *, fps: float = 25.0) -> None:
        """`fps` gives arrays without a time their times."""
        super().__init__()
        if not fps > 0:
            raise InputError(f"fps: expected more than 0, got {fps}")
        self.fps, self._gap = fps, 1.0 / fps
        items = [arrays] if isinstance(arrays, np.ndarray) and arrays.ndim < 4 else arrays
        self.frame_count = len(items) if isinstance(items, Sized) else None
        self._arrays = iter(items)

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
    """(H, W, 3) uint8 RGB of an image file, upright; None where it does not decode. SourceError: it is too large."""
    name = f"{path}: " * isinstance(path, Path)
    try:
        if isinstance(path, Path) and path.exists() and not path.is_file():  # a pipe may never end
            return None
        with path.open("rb") if isinstance(path, Path) else nullcontext(path) as file:
            data = file.read(MOST_BYTES)
        with av.open(io.BytesIO(_without_texts(data)), "r", options=ffmpeg_limits()) as container:
            codec = container.streams.video[0].codec_context
            codec.options = limit_pixels()
            if has_many_scans(codec, data):
                return None
            av_frame = next(container.decode(video=0))
            return upright(av_frame.to_ndarray(format="rgb24"), exif_matrix(data) or matrix_of(av_frame))
    except av.ArgumentError:  # what FFmpeg says of a size
        raise SourceError(f"{name}{too_large()}") from None
    except (av.FFmpegError, OSError, ValueError, StopIteration):
        return None


def _without_texts(data: bytes) -> bytes:
    """A PNG without what FFmpeg would unpack into memory without a limit: compressed texts and color profiles."""
    kept, at = [data[:8]], 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in (b"zTXt", b"iTXt", b"iCCP"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept) if len(kept) > 1 else data


def resize_area(image: Array, size: tuple[int, int]) -> Array:
    """`image` (H, W, 3) uint8 RGB at `size` (width, height), averaged over areas where it shrinks."""
    av_frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return np.ascontiguousarray(av_frame.reformat(*size, interpolation="AREA").to_ndarray(format="rgb24"))


def to_jpeg(image: Array, *, qscale: int = 1) -> bytes:
    """The JPEG of `image` (H, W, 3) uint8 RGB. `qscale` is FFmpeg's: 1 is as good as libjpeg's quality of 95, 3
    as 87, 31 the smallest."""
    av_frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    av_frame = av_frame.reformat(format="yuvj420p", dst_colorspace="ITU601")
    av_frame.pts = 0
    encoder = av.VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = av_frame.width, av_frame.height, "yuvj420p"
    encoder.time_base, encoder.thread_count = Fraction(1), 1
    encoder.options = {"qmin": str(qscale), "qmax": str(qscale)}
    return b"".join(bytes(packet) for packet in [*encoder.encode(av_frame), *encoder.encode(None)])


def thumbnail(image: Array, side: int, *, qscale: int = 2) -> bytes:
    """The JPEG of `image` (H, W, 3) uint8 RGB, shrunk until its longer side is at most `side` pixels."""
    scale = min(1.0, side / max(image.shape[:2]))
    width, height = (max(2, round(edge * scale)) for edge in image.shape[1::-1])
    return to_jpeg(resize_area(image, (width, height)), qscale=qscale)


def _found(where: str | Path) -> Iterable[Path]:
    """The files that a folder, a glob, a printf pattern of numbers or a file's name means."""
    path = Path(where)
    if path.is_dir():
        return path.iterdir()
    if path.is_file():
        return [path]
    if PATTERN.search(path.name):
        parts = [re.escape(part.replace("%%", "%")) for part in PATTERN.split(path.name)[::2]]
        widths = [f"\\d{{{max(1, int(width or 1))},}}" for width in PATTERN.split(path.name)[1::2]]
        name = "".join(a + b for a, b in zip_longest(parts, widths, fillvalue=""))
        return [found for found in path.parent.glob("*") if re.fullmatch(name, found.name)]
    return map(Path, glob.glob(str(where)))


def _natural(path: Path) -> str:
    """Sorts frame_2 before frame_10."""
    return re.sub(r"\d+", lambda number: number[0].zfill(20), str(path))
