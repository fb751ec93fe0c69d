"""Single images of a source, at any time: for a calibration, a reference, a thumbnail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from edgevid.errors import InputError, SourceError
from edgevid.types import Frame
from edgevid.video.open import IMAGES, FileSource, open_video, read_image


class FrameSeeker:
    """Random access to a source's images: `at(seconds)`. Live sources give their newest one."""

    def __init__(self, uri: str | Path) -> None:
        """A video, an image, a folder of them, a camera or a stream; SourceError where none can be had."""
        self._frame: Frame | None = None
        self._source: Any = None
        self.uri = str(uri)
        if Path(self.uri).suffix.lower() in IMAGES and Path(self.uri).is_file():
            image = read_image(Path(self.uri))
            if image is None:
                raise SourceError(f"{uri}: expected an image, this file does not decode; save it again")
            self._frame, self.duration = Frame(image, 0.0, 0), 0.0
            return
        self._source = open_video(uri)
        length = getattr(self._source, "duration", None)
        count, fps = self._source.frame_count, self._source.fps
        self.duration = length or (count / fps if count and fps else 0.0)
        """Seconds, 0 for one image and for live sources."""

    @property
    def live(self) -> bool:
        """Whether the source cannot go back."""
        return bool(self._source is not None and self._source.live)

    def at(self, seconds: float) -> Frame:
        """The first frame at or after `seconds` (the last one where the source ends before)."""
        if not (np.isfinite(seconds) and seconds >= 0):
            raise InputError(f"time: expected seconds of 0 or more, got {seconds}")
        if self._frame is not None:
            return self._frame
        if isinstance(self._source, FileSource):
            return self._seek(self._source, seconds)
        if self.live:
            return self._next(iter(self._source))
        with open_video(self.uri) as frames:  # images: read on from the first one
            return self._next(frames, seconds)

    def _next(self, frames: Any, seconds: float = 0.0) -> Frame:
        last: Frame | None = None
        for last in frames:
            if last.time >= seconds:
                break
        if last is None:
            raise SourceError(f"{self.uri}: expected an image, the source gave none")
        return last

    def _seek(self, source: FileSource, seconds: float) -> Frame:
        """By the container's index to the key frame before, then forward; from the start without one."""
        half = 0.5 / (source.fps or 25.0)
        for back in (0.0, 5.0, np.inf):
            found = self._from(source, max(0.0, seconds - back), seconds - half)
            if found is not None and (found.time <= seconds + 2 * half or back == np.inf):
                return found
        with FileSource(source.path) as fresh:
            return self._next(fresh, seconds - half)

    @staticmethod
    def _from(source: FileSource, start: float, expected: float) -> Frame | None:
        container, stream = source._container, source._stream
        first = stream.start_time or 0
        try:
            container.seek(first + int(start / stream.time_base), stream=stream, backward=True)
        except (av.FFmpegError, OverflowError):
            return None
        source._frames, source._last = source._decode(container, stream), -np.inf
        last = None
        while (frame := source._pull()) is not None:
            last = frame
            if frame.time >= expected:
                return frame
        return last if start > 0 else None

    def close(self) -> None:
        """Closes the source."""
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> FrameSeeker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
