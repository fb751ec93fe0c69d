"""Single images of a source, at any time: for a calibration, a reference, a thumbnail."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgevid.errors import InputError, SourceError
from edgevid.types import Frame
from edgevid.types.closing import Closing
from edgevid.video.files import DEFAULT_FPS, FileSource
from edgevid.video.images import IMAGES, read_image
from edgevid.video.open import Source, open_video

BACK_S = 5.0  # How far before a moment the key frame is looked for that the container's index does not name


class FrameSeeker(Closing):
    """Random access to a source's frames: `at(seconds)`. Live sources give their newest one."""

    def __init__(self, uri: str | Path) -> None:
        """A video, an image, a folder of them, a camera or a stream; SourceError where none can be read."""
        self.uri, self.duration = str(uri), 0.0  # Seconds, 0 for one image and for live sources
        self._image: Frame | None = None
        self._source: Source | None = None
        if Path(self.uri).suffix.lower() in IMAGES and Path(self.uri).is_file():
            image = read_image(Path(self.uri))
            if image is None:
                raise SourceError(f"{uri}: expected an image, this file does not decode; save it again")
            self._image = Frame(image, 0.0, 0)
            return
        source = self._source = open_video(uri)
        length = source.duration if isinstance(source, FileSource) else None
        count, fps = source.frame_count, source.fps
        self.duration = length or (count / fps if count and fps else 0.0)

    @property
    def live(self) -> bool:
        """Whether the source cannot go back."""
        return self._source is not None and self._source.live

    def at(self, seconds: float) -> Frame:
        """The first frame at or after `seconds` (the last one where the source ends before)."""
        if not (np.isfinite(seconds) and seconds >= 0):
            raise InputError(f"time: expected seconds of 0 or more, got {seconds}")
        if self._source is None:
            assert self._image is not None
            return self._image
        if isinstance(self._source, FileSource):
            return self._seek(self._source, seconds)
        if self.live:
            return self._read(self._source, 0.0)
        with open_video(self.uri) as images:  # read on from the first one
            return self._read(images, seconds)

    def close(self) -> None:
        """Closes the source."""
        if self._source is not None:
            self._source.close()

    def _read(self, frames: Iterable[Frame], seconds: float) -> Frame:
        frame, _ = _first_at(frames, seconds)
        if frame is None:
            raise SourceError(f"{self.uri}: expected an image, the source gave none")
        return frame

    def _seek(self, source: FileSource, seconds: float) -> Frame:
        """By the container's index to the key frame before, then forward; from the start without one."""
        seconds -= 0.5 / (source.fps or DEFAULT_FPS)
        for start in (seconds, seconds - BACK_S):
            if start > 0 and source.seek(start):
                frame, earlier = _first_at(source, seconds)
                if frame is not None and earlier and frame.time >= seconds:
                    return frame
        with FileSource(source.path) as reopened:
            return self._read(reopened, seconds)


def _first_at(frames: Iterable[Frame], seconds: float) -> tuple[Frame | None, bool]:
    """The first frame at or after `seconds`, else the last one, None where there is none.

    And whether an earlier frame came before it: without one, the frame at that time may lie before.
    """
    last: Frame | None = None
    for number, last in enumerate(frames):
        if last.time >= seconds:
            return last, number > 0
    return last, False
