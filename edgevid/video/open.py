"""Images in: files, folders of images, cameras, streams and arrays, each with the stream's own times.

`open_video(uri)` gives a source that is iterated for frames. Files never drop a frame; live sources
(video_live.py) keep only the newest one. Times come from the container's presentation stamps, never
from index / fps. Decoded YUV planes are handed on as they are: RGB is made only when someone looks.
"""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import av
import numpy as np

from edgevid import kernels
from edgevid.errors import InputError, SourceError
from edgevid.errors import masked as masked
from edgevid.types import Array, Frame

log = logging.getLogger("edgevid")
# PyAV's log level stays at its default, None: any other installs a callback that wants the GIL from decoder
# threads, and closing a damaged file then deadlocks now and then. FFmpeg prints nothing either way.

IMAGES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
PLANAR = {"yuv420p": False, "yuvj420p": True}
"""Pixel formats whose planes are handed on, and whether they use the full range."""


DAMAGE_LIMIT = 100
"""Reads in a row that may fail before the rest of a file is given up."""


class Source(Protocol):
    """Where frames come from: iterate it, once, inside `with`."""

    size: tuple[int, int]
    fps: float | None
    frame_count: int | None
    live: bool
    decoded: int
    corrupted: int
    dropped: int

    def __iter__(self) -> Iterator[Frame]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Source: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_video(uri: str | Path | int | Iterable[Any], **options: Any) -> Source:
    """The source behind `uri`: a file, a folder or glob of images, a camera, a stream, or arrays.

    A camera is a number or /dev/videoN; a stream is rtsp://, http:// or the like; arrays are an iterable
    of (H, W, 3) uint8 RGB or of (seconds, array) pairs. `options` go to the source's class.
    Raises SourceError that says what was wanted, what came and what to do next.
    """
    if not isinstance(uri, (str, Path, int)):
        return ArraySource(uri, **options)
    text = str(uri)
    if Path(text).is_file():  # before any pattern: "clip[1].mp4" is a good name for a file
        return FileSource(text, **options)
    if re.match(r"(/dev/video)?\d+$", text) or _is_stream(text):
        from edgevid.video.live import LiveSource

        return LiveSource(text, **options)
    if Path(text).is_dir() or any(c in text for c in "*?["):
        return ImageSource(text, **options)
    return FileSource(text, **options)


def _is_stream(text: str) -> bool:
    return bool(re.match(r"(?i)[a-z][a-z0-9+]*://", text)) and not text.startswith("file://")


class _Counted:
    """What all sources count, and their life as a context manager."""

    live = False

    def __init__(self) -> None:
        self.size: tuple[int, int] = (0, 0)
        """(width, height) in pixels of the frames as they are handed on."""
        self.fps: float | None = None
        """Average frame rate, for display only."""
        self.frame_count: int | None = None
        """How many frames the container announces; None where it does not."""
        self.decoded = 0
        self.corrupted = 0
        """Packets or images that could not be decoded and were skipped."""
        self.dropped = 0
        """Frames left out because their time did not go forward (or, live, because a newer one was there)."""

    def close(self) -> None:
        """Gives the source's resources back."""

    def __enter__(self: Any) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileSource(_Counted):
    """A video file, to its end, every frame once."""

    def __init__(self, path: str | Path, *, loop: bool = False, threads: int = 0) -> None:
        """`loop` starts again at the end, times going on; `threads` 0 lets the decoder choose."""
        super().__init__()
        self.path, self._loop, self._threads = Path(str(path).removeprefix("file://")), loop, threads
        self._container, self._stream = self._open()
        self._turns = 0
        self.fps = float(self._stream.average_rate) if self._stream.average_rate else None
        self.frame_count = self._stream.frames or self._guess_count()
        self.duration = (
            float(self._stream.duration * self._stream.time_base) if self._stream.duration else None
        )
        """Seconds, None where unknown."""
        self._first = self._pull()
        if self._first is None:
            self.close()
            raise SourceError(
                f"{self.path}: expected a video with at least one frame, none could be decoded "
                f"({self.corrupted} packets were damaged)"
            )
        self.size = self._first.size

    def _open(self) -> tuple[Any, Any]:
        if not self.path.exists():
            raise SourceError(f"{self.path}: there is no such file; check the path")
        if self.path.stat().st_size == 0:
            raise SourceError(f"{self.path}: expected a video, the file is empty; copy it again")
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise SourceError(
                f"{self.path}: expected a video file, FFmpeg cannot read this one ({_short(error)}); "
                "check that it plays, or convert it to MP4"
            ) from None
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self.path}: expected a video, the file has no video stream")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            container.close()
            raise SourceError(
                f"{self.path}: expected a video, its codec is unknown to this FFmpeg; convert it to H.264 MP4"
            )
        stream.thread_type = "AUTO"
        if self._threads:
            stream.codec_context.thread_count = self._threads
        self._frames = self._decode(container, stream)
        self._start: float | None = None
        self._last = -np.inf
        return container, stream

    def _guess_count(self) -> int | None:
        length = self._container.duration
        return round(length / av.time_base * self.fps) if length and self.fps else None

    def _decode(self, container: Any, stream: Any) -> Iterator[Any]:
        """Decoded images; damaged packets are counted and passed over, a cut-off file just ends."""
        packets, failed = container.demux(stream), 0
        while failed < DAMAGE_LIMIT:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, IndexError):  # IndexError: a damaged packet names a stream that is not
                self.corrupted += 1
                failed += 1
                packets = container.demux(stream)  # a generator that raised is spent; the file goes on
                continue
            failed = 0
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self.corrupted += 1

    def _pull(self) -> Frame | None:
        """The next frame whose time goes forward, None at the end."""
        for picture in self._frames:
            if getattr(picture, "is_corrupt", False):
                self.corrupted += 1
                continue
            stamp = self._time(picture)
            if stamp <= self._last:
                self.dropped += 1
                continue
            self._last = stamp
            frame = to_frame(picture, stamp, self.decoded)
            self.decoded += 1
            return frame
        return None

    def _time(self, picture: Any) -> float:
        """Seconds since the first frame, by the presentation stamp (else the decoding one, else the rate)."""
        stamp = picture.pts if picture.pts is not None else picture.dts
        if stamp is not None:
            seconds = float(stamp * (picture.time_base or self._stream.time_base))
        else:  # a raw stream without any stamps: the announced rate is all there is
            seconds = (self._last if np.isfinite(self._last) else 0.0) + 1.0 / (self.fps or 25.0)
        if self._start is None:
            self._start = seconds - self._offset
        return seconds - self._start

    @property
    def _offset(self) -> float:
        return getattr(self, "_resume_at", 0.0)

    def __iter__(self) -> Iterator[Frame]:
        frame, self._first = self._first, None
        while True:
            while frame is not None:
                yield frame
                frame = self._pull()
            if not self._loop:
                return
            step = 1.0 / (self.fps or 25.0)
            self._resume_at = self._last + step
            before = self._last
            self._container.close()
            self._container, self._stream = self._open()
            self._last = before
            frame = self._pull()

    def close(self) -> None:
        """Closes the file."""
        self._container.close()


class ImageSource(_Counted):
    """The images of a folder or a glob, in natural order, `fps` a second."""

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
        self.fps, self.frame_count = fps, len(self.paths)
        first = next((image for p in self.paths if (image := read_image(p)) is not None), None)
        if first is None:
            raise SourceError(f"{where}: none of the {len(self.paths)} images can be decoded")
        self.size = (first.shape[1], first.shape[0])

    def __iter__(self) -> Iterator[Frame]:
        assert self.fps is not None
        for number, path in enumerate(self.paths):
            image = read_image(path)
            if image is None:
                self.corrupted += 1
                continue
            yield Frame(image, number / self.fps, self.decoded)
            self.decoded += 1


def read_image(path: Path) -> Array | None:
    """(H, W, 3) uint8 RGB of an image file, None where it does not decode."""
    try:
        with av.open(str(path)) as container:
            for picture in container.decode(video=0):
                return np.ascontiguousarray(picture.to_ndarray(format="rgb24"))
    except (av.FFmpegError, OSError, ValueError):
        return None
    return None


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sorts frame_2 before frame_10."""
    words = re.split(r"(\d+)", str(path))
    return [(0, int(word)) if word.isdigit() else (1, word) for word in words]


class ArraySource(_Counted):
    """Frames from memory: (H, W, 3) uint8 RGB arrays, (seconds, array) pairs, or Frames."""

    def __init__(self, arrays: Iterable[Any], *, fps: float = 25.0) -> None:
        """`fps` gives arrays without a time their times."""
        super().__init__()
        self.fps = fps
        try:
            self.frame_count = len(arrays)  # type: ignore[arg-type]
        except TypeError:
            self.frame_count = None
        self._arrays = iter(arrays)

    def __iter__(self) -> Iterator[Frame]:
        last = -np.inf
        for number, given in enumerate(self._arrays):
            if isinstance(given, Frame):
                frame = given
            else:
                time, image = given if isinstance(given, tuple) else (number / (self.fps or 25.0), given)
                frame = Frame(image, time, self.decoded)
            if frame.time <= last:
                self.dropped += 1
                continue
            last, self.size = frame.time, frame.size
            self.decoded += 1
            yield frame


def to_frame(picture: Any, time: float, index: int) -> Frame:
    """The Frame of a decoded image, upright: its planes where it is YUV 4:2:0, else its RGB."""
    turn = int(getattr(picture, "rotation", 0) or 0) % 360
    if picture.format.name in PLANAR and turn == 0:
        planes = _plane(picture, 0), _plane(picture, 1), _plane(picture, 2)
        full = PLANAR[picture.format.name] or int(picture.color_range or 0) == 2
        matrix = "bt709" if _is_bt709(picture) else "bt601"
        return Frame.from_yuv420(planes, time, index, to_rgb=_to_rgb, full_range=full, matrix=matrix)
    image = _rgb(picture)
    return Frame(np.ascontiguousarray(np.rot90(image, turn // 90)), time, index)


def _is_bt709(picture: Any) -> bool:
    """Whether the stream says so, or says nothing and is high enough that it commonly is."""
    said = int(picture.colorspace or 2)
    return said == 1 or (said == 2 and picture.height >= 720)


def _rgb(picture: Any) -> Array:
    """(H, W, 3) RGB by FFmpeg, which takes BT.601 for everything unless it is told."""
    if picture.format.is_rgb or int(picture.colorspace or 2) not in (1, 2):
        return np.asarray(picture.to_ndarray(format="rgb24"))
    space = "ITU709" if _is_bt709(picture) else "ITU601"
    return np.asarray(picture.reformat(format="rgb24", src_colorspace=space).to_ndarray())


def _plane(picture: Any, number: int) -> Array:
    """One plane as a view; the array keeps the image's memory alive."""
    plane = picture.planes[number]
    high = picture.height if number == 0 else (picture.height + 1) // 2
    wide = picture.width if number == 0 else (picture.width + 1) // 2
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[:high, :wide]


def _to_rgb(frame: Frame) -> Array:
    assert frame.planes is not None
    return kernels.yuv420_to_rgb(*frame.planes, frame.full_range, frame.matrix)


def _short(error: BaseException) -> str:
    """The reason without FFmpeg's error number and without the file's name."""
    return re.sub(r"^\[Errno \d+\] ", "", masked(str(error))).split(":")[0]
