"""The source behind an address: file, folder of images, camera, stream or arrays.

Files never drop a frame; live sources keep only the newest one. Times come from the stream's own stamps,
never from index / fps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from edgevid.errors import SourceError, check_type
from edgevid.types import Frame
from edgevid.video.address import NETWORK
from edgevid.video.files import FileSource, local_path
from edgevid.video.images import IMAGES, PATTERN, ArraySource, ImageSource
from edgevid.video.live import LiveSource
from edgevid.video.packets import PacketTap
from edgevid.video.pipe import Pipe, is_pipe


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

    A folder, a glob or a pattern (img_%04d.jpg) names images; a camera is a number or /dev/videoN; a stream
    is rtsp://, http://, an .sdp file or the like; "-" is standard input, and a named pipe is read like it;
    arrays are an iterable of (H, W, 3) uint8 BGR, as OpenCV reads them, or of (seconds, array) pairs.
    `options` go to the source's class. Raises SourceError where nothing can be read, InputError for any other
    type.
    """
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


def source_options(
    uri: str,
    *,
    decode: str = "cpu",
    give_up_s: float | None = None,
    rtsp_transport: str = "tcp",
    images: str | None = None,
    packets: PacketTap | None = None,
) -> dict[str, Any]:
    """Those of a program's options for `open_video` that mean something for `uri`."""
    tap = {} if packets is None else {"packets": packets}
    if is_live(uri):
        return tap | {"decode": decode, "give_up_s": give_up_s, "rtsp_transport": rtsp_transport}
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
        raise SourceError(
            f"{pipe.name}: expected a video, the pipe was closed without data; is the program that writes "
            "into it running?"
        ) from error
