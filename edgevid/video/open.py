"""The source behind an address: file, folder of images, camera, stream or arrays. Files never drop a frame;
live sources keep only the newest one. Times come from the stream's own stamps, never from index / fps."""

import io
import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError, SourceError, check_type, log
from edgevid.types import Closing, Frame
from edgevid.video.connect import NETWORK
from edgevid.video.files import DEFAULT_FPS, FileSource, local_path
from edgevid.video.frames import Source
from edgevid.video.images import IMAGES, PATTERN, ArraySource, ImageSource
from edgevid.video.live import LiveSource
from edgevid.video.packets import PacketTap

STANDARD_INPUT = "-"
BACK_S = 5.0  # How far before a moment the key frame is looked for that the container's index does not name


def is_pipe(text: str) -> bool:
    """Whether `text` names standard input or a pipe."""
    return text == STANDARD_INPUT or Path(text).is_fifo()


class Pipe(io.FileIO):
    """A pipe as a binary file for FFmpeg; Ctrl-C ends a read that waits."""

    def __init__(self, text: str) -> None:
        """Opens the pipe, which waits for a program that writes into it."""
        if text == STANDARD_INPUT and sys.stdin.isatty():
            raise SourceError("-: expected a video on standard input, got a terminal: PROGRAM | edgevid run -")
        if text != STANDARD_INPUT:
            log.info("%s: waiting for a program that writes into the pipe", text)
        super().__init__(os.dup(sys.stdin.fileno()) if text == STANDARD_INPUT else text)
        self.name, self.received = "standard input" if text == STANDARD_INPUT else text, 0

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes as they come, b"" at the end."""
        data = super().read(size) or b""
        self.received += len(data)
        return data


def open_video(uri: str | Path | int | Iterable[Any], **options: Any) -> Source:
    """The source behind `uri`: a file, a folder or glob of images, a camera, a stream, or arrays.

    A folder, a glob or a pattern (img_%04d.jpg) names images; a camera is a number or /dev/videoN; a stream is
    rtsp://, http://, an .sdp file or the like; "-" is standard input, and a named pipe is read like it; arrays are
    an iterable of (H, W, 3) uint8 BGR, as OpenCV reads them, or of (seconds, array) pairs. `options` go to the
    source's class. Raises SourceError where nothing can be read, InputError for any other type."""
    if not isinstance(uri, (str, Path, int)):
        check_type(uri, Iterable, "open_video", "a file, folder, camera number, address or arrays")
        return ArraySource(uri, **options)
    text = str(uri)
    if is_live(text):
        return LiveSource(text, **options)
    if is_pipe(text):
        return _piped(text, options)
    if are_images(text):
        return ImageSource(text, **options)
    return FileSource(text, **options)


def source_options(uri: str, *, decode: str = "cpu", give_up_s: float | None = None, rtsp_transport: str = "tcp",
                   images: str | None = None, packets: PacketTap | None = None,
                   follow_host: Collection[str] = ()) -> dict[str, Any]:  # fmt: skip
    """Those of a program's options for `open_video` that mean something for `uri`."""
    tap = {} if packets is None else {"packets": packets}
    if is_live(uri):
        network = {"give_up_s": give_up_s, "rtsp_transport": rtsp_transport, "follow_hosts": follow_host}
        return tap | {"decode": decode} | network
    if are_images(uri):
        return {"images": images} if images else {}
    if not (is_pipe(uri) or local_path(uri).is_file()):
        return {}
    return tap | ({"decode": decode} if decode != "cpu" else {})


def are_images(text: str) -> bool:
    """Whether `text` names an image, a folder or glob of them, or a pattern such as img_%04d.jpg."""
    path = Path(text)
    if path.is_file():  # before any pattern: "clip[1].mp4" is a good name for a file
        return path.suffix.lower() in IMAGES
    return path.is_dir() or any(c in text for c in "*?[") or PATTERN.search(path.name) is not None


def is_live(text: str) -> bool:
    """Whether `text` is the address of a camera or stream: frames come by themselves, or by a network."""
    if text.startswith("file://"):
        return False
    camera = text.startswith("/dev/video") or (text.isdecimal() and not Path(text).exists())
    session = text.lower().endswith(".sdp") and Path(text).is_file()
    return camera or session or NETWORK.match(text) is not None


def _piped(text: str, options: dict[str, Any]) -> FileSource:
    pipe = Pipe(text)
    try:
        return FileSource(pipe.name, opened=pipe, **options)
    except SourceError as error:
        pipe.close()
        if pipe.received:
            raise
        raise SourceError(f"{pipe.name}: expected a video, the pipe was closed without data; is the program that "
                          "writes into it running?") from error  # fmt: skip


class FrameSeeker(Closing):
    """Random access to a source's frames: `at(seconds)`. Live sources give their newest one."""

    def __init__(self, uri: str | Path) -> None:
        """A video, an image, a folder of them, a camera or a stream; SourceError where none can be read."""
        self.uri, self.duration = str(uri), 0.0  # Seconds, 0 for one image and for live sources
        source = self._source = open_video(uri)
        length = source.duration if isinstance(source, FileSource) else None
        count, fps = source.frame_count, source.fps
        self.duration = length or (count / fps if count and count > 1 and fps else 0.0)

    @property
    def live(self) -> bool:
        """Whether the source cannot go back."""
        return self._source.live

    def at(self, seconds: float) -> Frame:
        """The first frame at or after `seconds` (the last one where the source ends before)."""
        if not (np.isfinite(seconds) and seconds >= 0):
            raise InputError(f"time: expected seconds of 0 or more, got {seconds}")
        if isinstance(self._source, FileSource):
            return self._seek(self._source, seconds)
        if self.live:
            return self._read(self._source, 0.0)
        with open_video(self.uri) as images:  # read on from the first one
            return self._read(images, seconds)

    def close(self) -> None:
        """Closes the video."""
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
    """The first frame at or after `seconds`, else the last one, None where there is none. And whether an
    earlier frame came before it: without one, the frame at that time may lie before."""
    last: Frame | None = None
    for number, last in enumerate(frames):
        if last.time >= seconds:
            return last, number > 0
    return last, False
