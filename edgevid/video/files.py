"""Video files: every frame once, in order, with the times of the container's presentation stamps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from edgevid.errors import SourceError
from edgevid.types import Frame
from edgevid.video.base import SourceBase
from edgevid.video.frames import short_reason, to_frame
from edgevid.video.hwaccel import hardware

# PyAV's log level stays at its default, None: any other installs a callback that wants the GIL from decoder
# threads, and closing a damaged file then deadlocks now and then. FFmpeg prints nothing either way.

DAMAGE_LIMIT = 100
"""Reads in a row that may fail before the rest of a file is given up."""
DEFAULT_FPS = 25.0
"""The rate of a file that states none."""


class FileSource(SourceBase):
    """A video file, to its end, every frame once."""

    def __init__(
        self,
        path: str | Path,
        *,
        loop: bool = False,
        threads: int = 0,
        opened: Any = None,
        decode: str = "cpu",
    ) -> None:
        """`loop` starts again at the end, times going on; `threads` 0 lets the decoder choose.

        `opened` is what to read instead of the file: a binary file object, or an open container of PyAV.
        `decode` names the decoder's device.
        """
        super().__init__()
        self.path, self._loop, self._threads = Path(str(path).removeprefix("file://")), loop, threads
        self._given, self._hwaccel = opened, hardware(decode)
        self._last, self._resume_at = -np.inf, 0.0
        self._open()
        self.fps = float(self._stream.average_rate) if self._stream.average_rate else None
        self.frame_count = self._stream.frames or self._estimated_count()
        self.duration = (
            float(self._stream.duration * self._stream.time_base) if self._stream.duration else None
        )
        """Seconds, None where unknown."""
        self._first = self._read()
        if self._first is None:
            self.close()
            raise SourceError(
                f"{self.path}: expected a video with at least one frame, none could be decoded "
                f"({self.corrupted} packets were damaged)"
            )
        self.size = self._first.size

    def seek(self, seconds: float) -> bool:
        """Continues from the key frame at or before `seconds`; False where the container cannot seek.

        Iterate again afterwards: times then go on from there, and may lie before those already read.
        """
        first = self._stream.start_time or 0
        try:
            self._container.seek(
                first + int(seconds / self._stream.time_base), stream=self._stream, backward=True
            )
        except (av.FFmpegError, OverflowError):
            return False
        self._decoding, self._last, self._first = _decode(self._container, self._stream), -np.inf, None
        return True

    def __iter__(self) -> Iterator[Frame]:
        frame, self._first = self._first, None
        if frame is not None:
            yield frame
        while True:
            while (frame := self._read()) is not None:
                yield frame
            if not self._loop:
                return
            self._resume_at = self._last + 1.0 / (self.fps or DEFAULT_FPS)
            self._container.close()
            self._open()

    def close(self) -> None:
        """Closes the file."""
        self._container.close()
        if self._given is not None:
            self._given.close()

    def _open(self) -> None:
        self._container = _opened(self.path, self._given, self._hwaccel)
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        if self._threads:
            self._stream.codec_context.thread_count = self._threads
        self._decoding = _decode(self._container, self._stream)
        self._start: float | None = None

    def _estimated_count(self) -> int | None:
        length = self._container.duration
        return round(length / av.time_base * self.fps) if length and self.fps else None

    def _read(self) -> Frame | None:
        """The next frame whose time goes forward, None at the end."""
        for av_frame in self._decoding:
            if av_frame is None or getattr(av_frame, "is_corrupt", False):
                self.corrupted += 1
                continue
            time = self._time(av_frame)
            if time <= self._last:
                self.dropped += 1
                continue
            self._last = time
            frame = to_frame(av_frame, time, self.decoded)
            self.decoded += 1
            return frame
        return None

    def _time(self, av_frame: Any) -> float:
        """Seconds since the first frame, by the presentation stamp (else the decoding one, else the rate)."""
        stamp = av_frame.pts if av_frame.pts is not None else av_frame.dts
        if stamp is not None:
            seconds = float(stamp * (av_frame.time_base or self._stream.time_base))
        else:  # a raw stream without any stamps: the announced rate is all there is
            seconds = (self._last if np.isfinite(self._last) else 0.0) + 1.0 / (self.fps or DEFAULT_FPS)
        if self._start is None:
            self._start = seconds - self._resume_at
        return seconds - self._start


def _opened(path: Path, given: Any = None, hwaccel: Any = None) -> Any:
    """The open container of a file with a video stream that FFmpeg can decode; else SourceError.

    `given` is read instead of the file where it is not None: a file object or a container.
    """
    if given is None and not path.exists():
        raise SourceError(f"{path}: there is no such file; check the path")
    if given is None and path.stat().st_size == 0:
        raise SourceError(f"{path}: expected a video, the file is empty; copy it again")
    try:
        options = {} if hwaccel is None else {"hwaccel": hwaccel}
        whole = hasattr(given, "demux")
        container = given if whole else av.open(str(path) if given is None else given, **options)
    except (av.FFmpegError, ValueError) as error:
        raise SourceError(
            f"{path}: expected a video file, FFmpeg cannot read this one ({short_reason(error)}); "
            "check that it plays, or convert it to MP4"
        ) from None
    streams = container.streams.video
    if streams and streams[0].codec_context is not None:
        return container
    container.close()
    unknown = "its codec is unknown to this FFmpeg; convert it to H.264 MP4"
    raise SourceError(f"{path}: expected a video, {unknown if streams else 'the file has no video stream'}")


def _decode(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames, None for each damaged packet; a truncated file just ends.

    It holds no reference to the source: the buffers of a source that is dropped are freed at once.
    """
    packets, failed = container.demux(stream), 0
    while failed < DAMAGE_LIMIT:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, IndexError):  # IndexError: a damaged packet names a stream that is not
            failed += 1
            packets = container.demux(stream)  # a generator that raised is spent; the file goes on
            yield None
            continue
        failed = 0
        try:
            yield from packet.decode()
        except av.FFmpegError:
            yield None
